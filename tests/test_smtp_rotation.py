"""The life of a key: created, rotated out step by step, held while it is in use, replaced at once when it leaked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from smtp_support import (
    Clock,
    Crash,
    Crasher,
    Store,
    codes,
    days,
    keys,
    message,
    problem,
    rotate_due,
    step_of,
    stored,
    use,
    users,
)
from support import HOME, OTHER, House, Ran, client, merge, put

SECRET: Store = ("secretsmanager", HOME, "recon/news")
USER: dict[str, Any] = {
    "from_addresses": ["*@acme.com"],
    "credentials": {"secretsmanager": {"name": "recon/news"}},
    "access_key": {"max_age_days": 90, "overlap_days": 7},
}
BASE: dict[str, Any] = {"smtp_users": {"news": USER}}
WEBMAIL = [{"name": "webmail, send-as admin@", "note": "by hand"}, {"name": "printer"}]
LAYOUTS: dict[str, tuple[dict[str, Any], list[Store]]] = {
    "secret": ({"secretsmanager": {"name": "recon/news"}}, [SECRET]),
    "parameter": ({"ssm": {"name": "/recon/news"}}, [("ssm", HOME, "/recon/news")]),
    "secrets": (
        {"secretsmanager": {"name": "recon/${region}/news"}},
        [("secretsmanager", r, f"recon/{r}/news") for r in (HOME, OTHER)],
    ),
    "parameters": (
        {"ssm": {"name": "/recon/${region}/news"}}, [("ssm", r, f"/recon/{r}/news") for r in (HOME, OTHER)],
    ),
}  # fmt: skip


@pytest.fixture
def clock(house: House, monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def tags(user: str = "news") -> dict[str, str]:
    return dict(users()[user].tags)


def document(**more: Any) -> dict[str, Any]:
    return {"smtp_users": {"news": merge(USER, more)}}


def smtp(house: House, *arguments: str, code: int = 0, answer: str | None = None) -> Ran:
    ran = house.cli("smtp", *arguments, answer=answer)
    assert ran.code == code, ran
    return ran


def start_overlap(house: House, clock: Clock, **more: Any) -> tuple[str, str]:
    """Apply, let the key come of age, take the first step; returns the old and the new key."""
    house.settle(document(**more))
    old = stored(SECRET)["username"]
    clock.forward(91)
    assert step_of(rotate_due(house)) == ("done", "create")
    return old, stored(SECRET)["username"]


# --- the cycle -----------------------------------------------------------------------------------------------------


def test_a_cycle_takes_one_step_a_run_and_says_what_comes_next(house: House, clock: Clock) -> None:
    house.settle(BASE)
    old = stored(SECRET)["username"]
    ran = smtp(house, "rotate", "--due", "state.yaml")
    assert "nothing is due" in ran.out
    assert (clock.now + days(90)).date().isoformat() in ran.out
    clock.forward(89)
    assert step_of(rotate_due(house)) == ("waiting", "")
    clock.forward(1)
    ran = smtp(house, "rotate", "--due", "state.yaml")
    new = stored(SECRET)["username"]
    assert new != old
    assert old in ran.out
    assert (clock.now + days(7)).date().isoformat() in ran.out
    assert {k: v.active for k, v in keys().items()} == {old: True, new: True}
    assert tags()["recon:key-old"] == old
    house.quiet()
    clock.forward(6.9)
    assert step_of(rotate_due(house)) == ("waiting", "")
    clock.forward(0.2)
    assert step_of(rotate_due(house)) == ("done", "deactivate")
    assert {k: v.active for k, v in keys().items()} == {old: False, new: True}
    house.quiet()
    assert step_of(rotate_due(house)) == ("waiting", "")
    clock.forward(1)
    assert step_of(rotate_due(house)) == ("done", "delete")
    assert set(keys()) == {new}
    assert not {"recon:key-old", "recon:key-off", "recon:key-intent"} & set(tags())
    assert problem(SECRET, "news") is None
    report = rotate_due(house)[0]
    assert report.state.phase == "waiting"
    assert str(report.next_at)[:10] == (clock.now + days(90 - 8.1)).date().isoformat()


@pytest.mark.parametrize("command", ["rotate news", "rotate news --compromised", "rotate news --force", "ack news C"])
def test_a_user_that_somebody_deleted_is_named_at_once(house: House, clock: Clock, command: str) -> None:
    house.settle(document(consumers=WEBMAIL))
    users().clear()
    house.clear()
    words = [WEBMAIL[0]["name"] if word == "C" else word for word in command.split()]
    ran = smtp(house, *words, "state.yaml", code=1)
    assert "the IAM user news does not exist" in ran.err and "recon apply" in ran.err
    assert house.writes() == []


def test_plan_and_drift_report_what_is_due_and_it_is_not_a_change(house: House, clock: Clock) -> None:
    house.settle(BASE)
    assert not {c for c in codes(house.plan()) if c.startswith("rotation")}
    clock.forward(90)
    plan = house.plan()
    assert not plan.changes
    assert "rotation-due" in codes(plan)
    assert "90 days old; 90 are allowed" in message(plan, "rotation-due")
    clock.forward(3)
    assert "rotation-overdue" in codes(house.plan())
    for command in ("plan", "drift"):
        ran = house.cli(command, "state.yaml", "--format", "json")
        assert ran.code == 0
        assert ran.json["changes"] == []
        assert "rotation-overdue" in {d["code"] for d in ran.json["diagnostics"]}
    house.clear()
    house.cli("drift", "state.yaml")
    assert house.writes() == []


def test_a_key_without_an_age_is_never_rotated(house: House, clock: Clock) -> None:
    house.settle(merge(BASE, {"smtp_users": {"news": {"access_key": {}}}}))
    house.write({"smtp_users": {"news": {k: v for k, v in USER.items() if k != "access_key"}}})
    clock.forward(4000)
    assert step_of(rotate_due(house)) == ("never", "")
    ran = smtp(house, "rotate", "news", "state.yaml")
    assert "create" in ran.out
    assert len(keys()) == 2


def test_one_user_is_rotated_now(house: House, clock: Clock) -> None:
    house.settle(BASE)
    old = stored(SECRET)["username"]
    ran = smtp(house, "rotate", "news", "state.yaml", "--format", "json")
    assert ran.json["outcome"] == "applied"
    found = ran.json["users"][0]
    assert (found["state"], found["step"], found["next_step"]) == ("done", "create", "deactivate")
    assert stored(SECRET)["username"] != old
    again = smtp(house, "rotate", "news", "state.yaml")
    assert "the overlap has not ended" in again.out
    assert len(keys()) == 2
    assert "no SMTP user other is declared" in smtp(house, "rotate", "other", "state.yaml", code=1).err


def test_aws_previous_holds_the_old_password_during_the_overlap(house: House, clock: Clock) -> None:
    old, new = start_overlap(house, clock)
    manager = client("secretsmanager")
    for stage, key in (("AWSCURRENT", new), ("AWSPREVIOUS", old)):
        value = json.loads(manager.get_secret_value(SecretId="recon/news", VersionStage=stage)["SecretString"])
        assert value["username"] == key


# --- never cut off a sender ----------------------------------------------------------------------------------------


def test_a_key_in_use_is_held_and_everybody_says_who_uses_it(house: House, clock: Clock) -> None:
    old, new = start_overlap(house, clock)
    clock.forward(7.5)
    use(old, at=clock.now - days(2), region="eu-west-1")
    reports = rotate_due(house)
    assert step_of(reports) == ("held", "")
    assert keys()[old].active
    for text in (
        smtp(house, "rotate", "--due", "state.yaml").out,
        house.cli("plan", "state.yaml").out,
        house.cli("drift", "state.yaml").out,
    ):
        assert "2 days ago" in text
        assert "ses in eu-west-1" in text
        assert old in text
    assert "rotation-held" in codes(house.plan())
    clock.forward(4)
    assert step_of(rotate_due(house)) == ("held", "")
    clock.forward(1.1)
    assert step_of(rotate_due(house)) == ("done", "deactivate")
    assert problem(SECRET, "news") is None
    assert new == stored(SECRET)["username"]


def test_use_before_the_new_key_was_stored_says_nothing(house: House, clock: Clock) -> None:
    house.settle(document(access_key={"overlap_days": 0}))
    old = stored(SECRET)["username"]
    clock.forward(91)
    use(old)
    clock.forward(0.1)
    assert step_of(rotate_due(house)) == ("done", "create")
    clock.forward(0.1)
    assert step_of(rotate_due(house)) == ("done", "deactivate")


def test_an_unknown_last_use_holds_the_step(house: House, clock: Clock) -> None:
    old, _ = start_overlap(house, clock)
    clock.forward(8)
    house.sandbox.fault("denied", service="iam", operation="GetAccessKeyLastUsed", count=None)
    reports = rotate_due(house)
    assert step_of(reports) == ("held", "")
    assert "could not be read" in reports[0].state.reason
    assert keys()[old].active
    assert house.plan().outcome == "no_changes"


def test_use_between_looking_and_switching_off_holds_the_step(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reconciler.resources.smtp_credential import keys as key_calls

    old, _ = start_overlap(house, clock)
    clock.forward(8)
    look, asked = key_calls.last_used, []

    def later(aws: Any, key: str) -> dict[str, Any]:
        asked.append(key)
        if len(asked) == 3:
            use(old)
        return look(aws, key)

    monkeypatch.setattr(key_calls, "last_used", later)
    assert step_of(rotate_due(house)) == ("held", "")
    assert keys()[old].active


def test_consumers_are_work_by_hand_until_somebody_says_it_is_done(house: House, clock: Clock) -> None:
    house.settle(document(consumers=WEBMAIL))
    plan = house.plan()
    assert "consumer-not-acknowledged" in codes(plan)
    assert not plan.changes
    clock.forward(91)
    ran = smtp(house, "rotate", "--due", "state.yaml")
    assert "by hand: webmail, send-as admin@ (by hand)" in ran.out
    assert 'recon smtp ack news "printer"' in ran.out
    old, new = tags()["recon:key-old"], tags()["recon:key"]
    clock.forward(6)
    use(old)
    ran = smtp(house, "ack", "news", "printer", "state.yaml")
    assert "still without it: webmail, send-as admin@ (by hand)" in ran.out
    clock.forward(2)
    # In use two days ago, and one consumer does not have the new password: held.
    reports = rotate_due(house)
    assert step_of(reports) == ("held", "")
    assert "webmail" in reports[0].state.hint
    assert "printer" not in reports[0].state.hint
    smtp(house, "ack", "news", "webmail, send-as admin@", "state.yaml")
    # All have the new one, and the old one was not used since.
    assert step_of(rotate_due(house)) == ("done", "deactivate")
    assert "consumer-not-acknowledged" not in codes(house.plan())
    house.quiet()
    assert new == tags()["recon:key"]
    assert "no consumer" in smtp(house, "ack", "news", "fax", "state.yaml", code=1).err


def test_use_after_the_acknowledgement_holds_all_the_same(house: House, clock: Clock) -> None:
    old, _ = start_overlap(house, clock, consumers=WEBMAIL)
    for consumer in WEBMAIL:
        smtp(house, "ack", "news", consumer["name"], "state.yaml")
    clock.forward(6.5)
    use(old)
    clock.forward(1)
    assert step_of(rotate_due(house)) == ("held", "")


def test_a_consumer_nobody_acknowledges_holds_the_old_key(house: House, clock: Clock) -> None:
    """However rarely it sends: beyond the overlap, reported every day, and drift exits 2 without a change."""
    old, new = start_overlap(house, clock, consumers=WEBMAIL)
    assert house.cli("drift", "state.yaml").code == 0, "during the overlap it is a note"
    for forward in (7, 1, 40):
        clock.forward(forward)
        assert step_of(rotate_due(house)) == ("held", "")
        ran = house.cli("drift", "state.yaml", "--format", "json")
        assert (ran.code, ran.json["changes"]) == (2, [])
        (said,) = [d for d in ran.json["diagnostics"] if d["code"] == "consumer-unacknowledged"]
        assert "webmail, send-as admin@ (by hand), printer" in said["message"]
        assert 'recon smtp ack news "printer"' in said["hint"]
    assert house.cli("plan", "state.yaml", "--detailed-exitcode").code == 0
    smtp(house, "rotate", "news", "--replace", old, "state.yaml", code=3)
    smtp(house, "rotate", "--due", "--force", "state.yaml", code=1)
    for consumer in WEBMAIL:
        assert keys()[old].active
        smtp(house, "ack", "news", consumer["name"], "state.yaml")
    assert step_of(rotate_due(house)) == ("done", "deactivate")
    assert house.cli("drift", "state.yaml").code == 0
    clock.forward(1)
    assert step_of(rotate_due(house)) == ("done", "delete")
    assert set(keys()) == {new}


def test_a_held_step_is_forced_for_one_user(house: House, clock: Clock) -> None:
    old, new = start_overlap(house, clock, consumers=WEBMAIL)
    assert "nothing is held" in smtp(house, "rotate", "news", "--force", "state.yaml").out
    assert keys()[old].active
    clock.forward(8)
    use(old)
    assert step_of(rotate_due(house)) == ("held", "")
    assert f"{old} was deactivated" in smtp(house, "rotate", "news", "--force", "state.yaml").out
    clock.forward(1)
    assert step_of(rotate_due(house)) == ("done", "delete")
    assert set(keys()) == {new}


@pytest.mark.parametrize(("used_after", "held_until"), [(None, 20), (5, 25)])
def test_a_hold_ends_when_the_key_was_unused_for_max_hold_days(
    house: House, clock: Clock, used_after: int | None, held_until: int
) -> None:
    age = {"max_age_days": 90, "overlap_days": 2, "max_hold_days": 20}
    old, _ = start_overlap(house, clock, consumers=WEBMAIL, access_key=age)
    clock.forward(used_after or 5)
    if used_after:
        use(old)
    clock.forward(held_until - 5 - 0.5)
    assert "at most" in message(house.plan(), "consumer-unacknowledged")
    assert step_of(rotate_due(house)) == ("held", "")
    clock.forward(0.6)
    assert step_of(rotate_due(house)) == ("done", "deactivate")


def test_an_old_key_that_somebody_else_deactivated_is_not_deleted(house: House, clock: Clock) -> None:
    """Whoever needs it can still activate it."""
    old, _ = start_overlap(house, clock, consumers=WEBMAIL)
    clock.forward(9)
    client("iam").update_access_key(UserName="news", AccessKeyId=old, Status="Inactive")
    assert step_of(rotate_due(house)) == ("held", "")
    assert "somebody else has deactivated it" in message(house.plan(), "consumer-unacknowledged")
    smtp(house, "rotate", "news", "--force", "state.yaml")
    assert old not in keys()


@pytest.mark.parametrize("acknowledged", [0, 1, 2])
def test_a_lost_store_cuts_off_no_consumer(house: House, clock: Clock, acknowledged: int) -> None:
    """A new key needs room: the one goes that no consumer has; where each has some, a person chooses."""
    old, new = start_overlap(house, clock, consumers=WEBMAIL)
    for consumer in WEBMAIL[:acknowledged]:
        smtp(house, "ack", "news", consumer["name"], "state.yaml")
    clock.forward(9)
    client("secretsmanager").delete_secret(SecretId="recon/news", ForceDeleteWithoutRecovery=True)
    if acknowledged == 1:
        assert house.cli("apply", "state.yaml", "--auto-approve").code == 3
        assert set(keys()) == {old, new}
        return
    house.apply()
    assert set(keys()) - {old, new} and (old in keys(), new in keys()) == (acknowledged == 0, acknowledged == 2)


def test_a_held_rotation_says_that_the_next_one_waits(house: House, clock: Clock) -> None:
    old, new = start_overlap(house, clock)
    for _ in range(4):
        clock.forward(25)
        use(old)
        assert step_of(rotate_due(house)) == ("held", "")
    words = message(house.plan(), "rotation-held")
    assert f"the current key {new} is 100 days old" in words
    assert len(keys()) == 2


# --- keys that recon did not make ----------------------------------------------------------------------------------


def test_a_foreign_key_is_reported_with_its_last_use_and_rotated_out_when_named(house: House, clock: Clock) -> None:
    house.settle(BASE)
    mine = stored(SECRET)["username"]
    foreign = client("iam").create_access_key(UserName="news")["AccessKey"]["AccessKeyId"]
    clock.forward(3)
    use(foreign)
    clock.forward(2)
    plan = house.plan()
    assert not plan.changes
    assert "last used 2 days ago" in message(plan, "foreign-key")
    # It blocks the rotation, which says so.
    clock.forward(86)
    reports = rotate_due(house)
    assert reports[0].state.phase == "blocked"
    assert foreign in reports[0].state.reason
    assert smtp(house, "rotate", "--due", "state.yaml", code=1)
    assert foreign in smtp(house, "rotate", "news", "state.yaml", code=3).err
    ran = smtp(house, "rotate", "news", "--replace", foreign, "state.yaml")
    assert "rotated out" in ran.out
    assert stored(SECRET)["username"] == mine
    house.quiet()
    clock.forward(6)
    assert step_of(rotate_due(house)) == ("waiting", "")
    clock.forward(1)
    assert step_of(rotate_due(house)) == ("done", "deactivate")
    clock.forward(1)
    assert step_of(rotate_due(house)) == ("done", "delete")
    assert set(keys()) == {mine}
    assert step_of(rotate_due(house)) == ("done", "create")


def test_a_key_from_a_lost_answer_is_reported_and_deleted_when_named(house: House, clock: Clock) -> None:
    """It appears after the run that closed the intent has ended: nothing proves its owner, so a person decides."""
    house.settle(BASE)
    mine = stored(SECRET)["username"]
    late = client("iam").create_access_key(UserName="news")["AccessKey"]["AccessKeyId"]
    clock.forward(2)
    warning = next(d for d in house.plan().diagnostics if d.code == "foreign-key")
    assert "by a run that got no answer from AWS" in warning.message
    assert "or by somebody else" in warning.message
    assert f"recon smtp rotate news --replace {late} (run it three times" in warning.hint
    for step in ("rotated out", "deactivated", "deleted"):
        assert set(keys()) == {mine, late}
        assert step in smtp(house, "rotate", "news", "--replace", late, "state.yaml").out
    assert set(keys()) == {mine}
    house.quiet()
    assert not [d for d in house.plan().diagnostics if d.code == "foreign-key"]


@pytest.mark.parametrize(
    ("hours", "used"), [(-72, False), (-0.5, False), (0, False), (0.5, False), (24, False), (0, True)]
)
def test_a_key_of_somebody_is_not_laid_to_a_lost_answer(
    house: House, clock: Clock, hours: float, used: bool
) -> None:  # fmt: skip
    """Made before recon's own key (by days, or in the same second), or long after it, or used: it is somebody's."""
    client("iam").create_user(UserName="news")
    if hours <= 0:
        foreign = client("iam").create_access_key(UserName="news")["AccessKey"]["AccessKeyId"]
        clock.forward(-hours / 24)
        house.settle(BASE)
    else:
        house.settle(BASE)
        clock.forward(hours / 24)
        foreign = client("iam").create_access_key(UserName="news")["AccessKey"]["AccessKeyId"]
    if used:
        use(foreign)
    found = message(house.plan(), "foreign-key")
    assert foreign in found
    assert "no answer" not in found


def test_two_foreign_keys_wait_until_one_is_named(house: House, clock: Clock) -> None:
    client("iam").create_user(UserName="news")
    first, second = (client("iam").create_access_key(UserName="news")["AccessKey"]["AccessKeyId"] for _ in range(2))
    use(first)
    house.apply(BASE, expect="partial", skip_refused=True)
    assert set(keys()) == {first, second}
    report = smtp(house, "rotate", "--due", "state.yaml", code=1).out
    assert "unhealthy" in report
    assert f"rotate news --replace {min(first, second)} or {max(first, second)}" in report
    assert "two keys already" in smtp(house, "rotate", "news", "state.yaml", code=3).err
    refused = smtp(house, "rotate", "news", "--replace", first, "state.yaml", code=3)
    assert "within two hours" in refused.err
    assert "--force" in refused.err
    assert "no access key AKIANOPE" in smtp(house, "rotate", "news", "--replace", "AKIANOPE", "state.yaml", code=1).err
    assert set(keys()) == {first, second}
    smtp(house, "rotate", "news", "--replace", second, "state.yaml")
    assert problem(SECRET, "news") is None
    assert set(keys()) == {first, stored(SECRET)["username"]}
    house.quiet()


def test_a_key_in_use_gives_way_with_force(house: House, clock: Clock) -> None:
    client("iam").create_user(UserName="news")
    first, second = (client("iam").create_access_key(UserName="news")["AccessKey"]["AccessKeyId"] for _ in range(2))
    use(first)
    house.apply(BASE, expect="partial", skip_refused=True)
    smtp(house, "rotate", "news", "--replace", first, "--force", "state.yaml")
    assert set(keys()) == {second, stored(SECRET)["username"]}


def test_a_lone_foreign_key_gives_way_gently(house: House, clock: Clock) -> None:
    client("iam").create_user(UserName="news")
    foreign = client("iam").create_access_key(UserName="news")["AccessKey"]["AccessKeyId"]
    house.settle(BASE)
    mine = stored(SECRET)["username"]
    smtp(house, "rotate", "news", "--replace", foreign, "state.yaml")
    assert {k: v.active for k, v in keys().items()} == {mine: True, foreign: True}
    assert "is the key that is stored" in smtp(house, "rotate", "news", "--replace", mine, "state.yaml", code=3).err


def test_a_lost_parameter_with_both_keys_in_use_needs_a_person(house: House, clock: Clock) -> None:
    house.settle(merge({"smtp_users": {"news": put(USER, ("credentials",), {"ssm": {"name": "/recon/news"}})}}, {}))
    store: Store = ("ssm", HOME, "/recon/news")
    old = stored(store)["username"]
    clock.forward(91)
    rotate_due(house)
    new = stored(store)["username"]
    client("ssm").put_parameter(Name="/recon/news", Value="mine", Description="mine", Overwrite=True)
    use(old)
    use(new)
    plan = house.plan()
    assert [c.refused.code if c.refused else c.address for c in plan.changes] == ["two-keys"]
    assert old in message(plan, "two-keys")
    assert "in use" in smtp(house, "rotate", "news", "--replace", old, "state.yaml", code=3).err
    smtp(house, "rotate", "news", "--replace", old, "--force", "state.yaml")
    assert problem(store, "news") is None
    assert set(keys()) == {new, stored(store)["username"]}
    assert tags()["recon:key-old"] == new


def test_an_unused_old_key_makes_room_when_a_store_is_lost(house: House, clock: Clock) -> None:
    old, new = start_overlap(house, clock)
    use(new)
    client("secretsmanager").delete_secret(SecretId="recon/news", ForceDeleteWithoutRecovery=True)
    change = house.settle().changes[0]
    assert any(n.rule == "key-makes-room" and old in n.message for n in change.notes)
    assert set(keys()) == {new, stored(SECRET)["username"]}
    assert tags()["recon:key-old"] == new


# --- a leak --------------------------------------------------------------------------------------------------------


def test_a_compromised_key_is_off_at_once_and_replaced(house: House, clock: Clock) -> None:
    old, leaked = start_overlap(house, clock, consumers=WEBMAIL)
    house.clear()
    ran = smtp(house, "rotate", "news", "--compromised", "state.yaml")
    calls = house.writes()
    assert calls.index("iam:PutUserPolicy") < calls.index("iam:UpdateAccessKey") < calls.index("iam:CreateAccessKey")
    assert calls.index("iam:CreateAccessKey") < calls.index("iam:DeleteUserPolicy")
    assert "by hand: printer" in ran.out
    fresh = stored(SECRET)["username"]
    assert fresh not in {old, leaked}
    assert {k: v.active for k, v in keys().items()} == {leaked: False, fresh: True}
    assert set(users()["news"].policies) == {"recon-smtp"}
    assert problem(SECRET, "news") is None
    house.quiet()
    clock.forward(1)
    assert step_of(rotate_due(house)) == ("done", "delete")
    assert set(keys()) == {fresh}


def test_a_locked_user_stays_locked_until_a_new_key(house: House, clock: Clock) -> None:
    house.settle(BASE)
    old = stored(SECRET)["username"]
    foreign = client("iam").create_access_key(UserName="news")["AccessKey"]["AccessKeyId"]
    ran = smtp(house, "lock", "news", "state.yaml", "--auto-approve")
    assert foreign in ran.out
    assert not any(k.active for k in keys().values())
    denied = json.loads(users()["news"].policies["recon-lock"])
    assert denied["Statement"][0]["Effect"] == "Deny"
    plan = house.plan()
    assert not plan.changes
    assert "locked" in codes(plan)
    assert not any("recon-lock" in d.message for d in plan.diagnostics)
    house.quiet()
    assert step_of(rotate_due(house)) == ("locked", "")
    clock.forward(200)
    assert step_of(rotate_due(house)) == ("locked", "")
    ran = smtp(house, "rotate", "news", "state.yaml")
    assert foreign in ran.out
    fresh = stored(SECRET)["username"]
    assert {k: v.active for k, v in keys().items()} == {foreign: False, fresh: True}
    assert old not in keys()
    assert problem(SECRET, "news") is None
    house.quiet()


def test_a_lock_is_undone(house: House, clock: Clock) -> None:
    old, new = start_overlap(house, clock)
    client("iam").update_access_key(UserName="news", AccessKeyId=old, Status="Inactive")
    smtp(house, "lock", "news", "state.yaml", "--auto-approve")
    smtp(house, "lock", "news", "state.yaml", "--auto-approve")
    ran = smtp(house, "lock", "news", "state.yaml", "--auto-approve", "--unlock")
    assert new in ran.out
    assert {k: v.active for k, v in keys().items()} == {old: False, new: True}
    assert set(users()["news"].policies) == {"recon-smtp"}
    assert "recon:key-locked" not in tags()
    assert "was not locked" in smtp(house, "lock", "news", "state.yaml", "--auto-approve", "--unlock").out
    house.quiet()


def test_a_lock_does_what_it_can(house: House, clock: Clock) -> None:
    house.settle(BASE)
    house.sandbox.fault("denied", service="iam", operation="PutUserPolicy", count=None)
    ran = smtp(house, "lock", "news", "state.yaml", "--auto-approve", code=1)
    assert "iam:PutUserPolicy" in ran.err
    assert not any(k.active for k in keys().values())
    assert "locked" in codes(house.plan())


def test_a_lock_is_for_ones_own_users(house: House, clock: Clock) -> None:
    house.settle(BASE)
    client("iam").create_user(UserName="theirs", Tags=[{"Key": "recon:stack", "Value": "other"}])
    client("iam").create_user(UserName="nobodys")
    assert "belongs to other" in smtp(house, "lock", "theirs", "state.yaml", "--auto-approve", code=3).err
    assert "not declared here" in smtp(house, "lock", "nobodys", "state.yaml", "--auto-approve", code=3).err
    assert "no IAM user missing" in smtp(house, "lock", "missing", "state.yaml", "--auto-approve", code=1).err


def test_sending_of_the_account_is_paused_and_resumed(house: House) -> None:
    house.write(BASE)
    ran = house.cli("account", "pause", "--region", HOME, "--region", OTHER, "state.yaml", "--auto-approve")
    assert ran.code == 0, ran
    assert ran.out.count("paused") == 2
    assert client("sesv2", OTHER).get_account()["SendingEnabled"] is False
    ran = house.cli("account", "resume", "--region", HOME, "state.yaml", "--format", "json", "--auto-approve")
    assert ran.json["regions"] == [
        {"region": HOME, "sending_enabled": True, "enforcement_status": "HEALTHY", "production_access": True}
    ]
    assert client("sesv2").get_account()["SendingEnabled"] is True
    assert client("sesv2", OTHER).get_account()["SendingEnabled"] is False
    house.sandbox.seed(accounts=[{"region": OTHER, "enforcement": "SHUTDOWN"}])
    assert "SHUTDOWN" in house.cli("account", "resume", "--region", OTHER, "state.yaml", "--auto-approve").out
    assert house.cli("account", "pause", "--region", "moon-1", "state.yaml").code == 1
    house.sandbox.fault("denied", service="sesv2", operation="PutAccountSendingAttributes", count=None)
    ran = house.cli("account", "pause", "--region", HOME, "state.yaml", "--auto-approve")
    assert ran.code == 1
    assert "ses:PutAccountSendingAttributes" in ran.err


def test_a_run_cut_off_between_two_stores_is_gone_on_with(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials, stores = LAYOUTS["secrets"]
    document = {"smtp_users": {"news": put(USER, ("credentials",), credentials)}, "stack": {"regions": [HOME, OTHER]}}
    house.settle(document)
    old = stored(stores[0])["username"]
    clock.forward(91)
    crasher = Crasher(monkeypatch)
    with pytest.raises(Crash), crasher.armed(lambda number, name: "after" if name == "PutSecretValue" else ""):
        rotate_due(house)
    assert len({stored(store)["username"] for store in stores}) == 2
    assert [problem(store, "news") for store in stores] == [None, None]
    assert step_of(rotate_due(house)) == ("done", "create")
    assert len({stored(store)["username"] for store in stores}) == 1
    assert [problem(store, "news") for store in stores] == [None, None]
    assert set(keys()) == {old, stored(stores[0])["username"]}
    house.quiet()


# --- cut off anywhere ----------------------------------------------------------------------------------------------


def converge(house: House, crasher: Crasher, work: Any, stores: list[Store], *, had: bool) -> int:
    """Run ``work`` from one and the same start, dying at each of its writes in turn, before it and after it; each time
    run it again. Returns how many writes there are."""
    number = 0
    while True:
        for how in ("before", "after"):
            number += how == "before"
            again = work()
            with crasher.armed(lambda n, _, how=how, number=number: how if n == number else ""):
                try:
                    again()
                except Crash:
                    pass
                else:
                    return number - 1
            where = f"{how} write {number} {crasher.writes[number - 1]}"
            assert len(keys()) <= 2, where
            for store in stores if had else ():
                assert problem(store, "news") is None, f"{where}: {problem(store, 'news')}"
            again()
            house.apply(expect=None)
            for store in stores:
                assert problem(store, "news") is None, f"{where}, again: {problem(store, 'news')}"
            house.quiet()
            known = {tags().get("recon:key"), tags().get("recon:key-old")}
            assert set(keys()) <= known, f"{where}: an orphan is left"
            assert "recon:key-intent" not in tags(), where


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_first_key_cut_off_at_every_write(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    credentials, stores = LAYOUTS[layout]

    def fresh() -> Any:
        house.sandbox.reset()
        house.write(
            {"smtp_users": {"news": put(USER, ("credentials",), credentials)}}, stack={"regions": [HOME, OTHER]}
        )
        return lambda: house.apply(expect=None)

    assert converge(house, Crasher(monkeypatch), fresh, stores, had=False) >= 6


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_new_key_cut_off_at_every_write(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    credentials, stores = LAYOUTS[layout]

    def fresh() -> Any:
        house.sandbox.reset()
        clock.sync()
        house.apply(
            {"smtp_users": {"news": put(USER, ("credentials",), credentials)}} | {"stack": {"regions": [HOME, OTHER]}}
        )
        clock.forward(91)
        return lambda: rotate_due(house)

    assert converge(house, Crasher(monkeypatch), fresh, stores, had=True) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("step", ["deactivate", "delete"])
def test_the_end_of_a_cycle_cut_off_at_every_write(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fresh() -> Any:
        house.sandbox.reset()
        clock.sync()
        house.apply(BASE)
        clock.forward(91)
        rotate_due(house)
        clock.forward(8)
        if step == "delete":
            rotate_due(house)
            clock.forward(1)
        return lambda: rotate_due(house)

    assert converge(house, Crasher(monkeypatch), fresh, [SECRET], had=True) == 2


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_renamed_store_cut_off_at_every_write(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    """From a secret to each layout: the key stays, the new store is made before the old one goes."""
    credentials, stores = LAYOUTS[layout]
    if layout == "secret":
        credentials, stores = {"secretsmanager": {"name": "recon/other"}}, [("secretsmanager", HOME, "recon/other")]

    def fresh() -> Any:
        house.sandbox.reset()
        house.apply(merge(BASE, {"stack": {"regions": [HOME, OTHER]}}))
        before = set(keys())
        house.write(
            {"smtp_users": {"news": put(USER, ("credentials",), credentials)}}, stack={"regions": [HOME, OTHER]}
        )

        def work() -> None:
            house.apply(expect=None)
            assert set(keys()) == before

        return work

    assert converge(house, Crasher(monkeypatch), fresh, stores, had=False) >= 4
    with pytest.raises(client("secretsmanager").exceptions.ClientError):
        client("secretsmanager").get_secret_value(SecretId="recon/news")


@pytest.mark.slow
def test_a_compromise_cut_off_at_every_write(house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off, the user stays locked, which a plan says and does not undo; rotating it again goes on."""
    crasher = Crasher(monkeypatch)
    number, done = 0, False
    while not done:
        number += 1
        for how in ("before", "after"):
            house.sandbox.reset()
            clock.sync()
            house.apply(BASE)
            leaked = stored(SECRET)["username"]
            with crasher.armed(lambda n, _, how=how, number=number: how if n == number else ""):
                try:
                    smtp(house, "rotate", "news", "--compromised", "state.yaml")
                    done = True
                    break
                except Crash:
                    pass
            if number > 1:
                # The deny came first, and holds until another key is stored.
                assert problem(SECRET, "news") is not None or stored(SECRET)["username"] != leaked
            ran = house.cli("smtp", "rotate", "news", "--compromised", "state.yaml")
            assert ran.code == 0, ran
            assert problem(SECRET, "news") is None
            assert leaked not in {k for k, v in keys().items() if v.active}
            assert set(users()["news"].policies) == {"recon-smtp"}
            assert len(keys()) <= 2
            house.quiet()
    assert number > 8
