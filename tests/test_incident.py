"""Incident commands on an account that nobody declared: who confirms, and whom `smtp lock` locks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import ACCOUNT, HOME, House, Ran, client
from test_senders import TRUST, add_role, add_user, policy

from reconciler.sandbox.iam_state import IamState

YES = ("--auto-approve", "--account", ACCOUNT)


def iam_state(house: House) -> IamState:
    return house.sandbox._server.gateway.world.current("iam", ACCOUNT, "", IamState)  # type: ignore[no-any-return]


def lock(house: House, *arguments: str, code: int = 0, **more: Any) -> Ran:
    ran = house.cli("smtp", "lock", *arguments, **more)
    assert ran.code == code, ran
    return ran


@pytest.fixture
def leaked(house: House) -> House:
    house.kept = {"key": add_user("old-app", policy(Action=["ses:*", "s3:Get*"]), key=True)}  # type: ignore[attr-defined]
    add_role("blast", policy(Action=["ses:SendEmail", "dynamodb:*"]))
    house.clear()
    return house


# --- who writes, and who is asked ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "answer", "code", "written"),
    [
        ((), None, 1, False),
        (("--auto-approve",), None, 1, False),
        (YES, None, 0, True),
        (("--auto-approve", "--account", "999900001111"), None, 3, False),
        (("--account", "12"), None, 1, False),
        ((), "yes", 0, True),
        ((), "no", 1, False),
        (("--account", "999900001111"), "yes", 3, False),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ("smtp", "lock", "old-app", "--undeclared"),
        ("account", "pause", "--region", HOME),
        ("suppression", "add", "ann@example.com", "--region", HOME),
        ("suppression", "remove", "bob@example.com", "--region", HOME),
    ],
)
def test_without_yaml_the_account_is_named_or_somebody_answers(
    leaked: House, command: tuple[str, ...], options: tuple[str, ...], answer: str | None, code: int, written: bool
) -> None:
    client("sesv2").put_suppressed_destination(EmailAddress="bob@example.com", Reason="BOUNCE")
    leaked.clear()
    ran = leaked.cli(*command, *options, answer=answer)
    assert ran.code == code, ran
    assert bool(leaked.writes()) is written
    if answer or written:
        assert code == 3 or f"In account {ACCOUNT}" in ran.err
        assert code == 3 or command[0] == "smtp" or HOME in ran.err


def test_with_a_readable_state_auto_approve_is_enough(leaked: House) -> None:
    leaked.write({"domains": {"acme.com": {"zone": "manual"}}})
    lock(leaked, "old-app", "state.yaml", "--undeclared", "--auto-approve")
    assert leaked.cli("smtp", "lock", "old-app", "state.yaml", "--undeclared").code == 1
    other = lock(leaked, "old-app", "state.yaml", "--undeclared", "--auto-approve", "--account", "9" * 12, code=3)
    assert "--no-state ignores the YAML" in other.err


def test_a_broken_state_stops_nothing_and_names_no_account(leaked: House) -> None:
    (leaked.home / "state.yaml").write_text("smtp_users: {news: {from: x}}", encoding="utf-8")
    assert lock(leaked, "old-app", "state.yaml", "--undeclared", "--auto-approve", code=1).err.count("--account")
    ran = lock(leaked, "old-app", "state.yaml", "--undeclared", *YES)
    assert "state.yaml cannot be used" in ran.err
    document = json.loads(lock(leaked, "old-app", "--undeclared", *YES, "--format", "json", "--no-state").out)
    assert (document["stack"], document["account"], document["user"]) == (None, ACCOUNT, "old-app")


# --- lock ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["name", "user/", "arn", "key"])
def test_a_user_that_no_yaml_names_is_locked_and_unlocked(leaked: House, form: str) -> None:
    key = leaked.kept["key"]  # type: ignore[attr-defined]
    forms = {"name": "old-app", "user/": "user/old-app", "arn": f"arn:aws:iam::{ACCOUNT}:user/old-app", "key": key}
    who = forms[form]
    refused = lock(leaked, who, *YES, code=3)
    assert "--undeclared" in refused.err
    for _ in range(2):
        ran = lock(leaked, who, "--undeclared", *YES)
        user = iam_state(leaked).users["old-app"]
        assert (user.keys[key].active, "recon-lock" in user.policies) == (False, True)
    assert "Its policies had allowed: s3." in ran.out
    undo = "recon smtp lock user/old-app --unlock --undeclared"
    assert undo in ran.out
    back = lock(leaked, *undo.split()[3:], *YES)
    assert key in back.out
    user = iam_state(leaked).users["old-app"]
    assert (user.keys[key].active, "recon-lock" in user.policies, user.tags) == (True, False, {})


def test_another_stack_s_user_is_locked_on_demand_alone(leaked: House) -> None:
    add_user("theirs", policy(), key=True, tags={"recon:stack": "other"})
    assert "belongs to other" in lock(leaked, "theirs", *YES, code=3).err
    lock(leaked, "theirs", "--undeclared", *YES)


def test_a_role_may_no_longer_send_and_keeps_the_rest(leaked: House) -> None:
    ran = lock(leaked, "blast", "--undeclared", *YES)
    statements = json.loads(iam_state(leaked).roles["blast"].policies["recon-lock"])["Statement"]
    assert [(s["Effect"], s["Action"]) for s in statements] == [("Deny", "ses:Send*")]
    assert "also allowed: dynamodb" in ran.out
    senders = json.loads(leaked.cli("senders", "--no-state", "--format", "json").out)["senders"]
    assert {s["name"]: s["can_send"] for s in senders}["blast"] == "no"
    lock(leaked, "role/blast", "--undeclared", "--everything", *YES)
    lock(leaked, "role/blast", "--undeclared", *YES)
    statements = json.loads(iam_state(leaked).roles["blast"].policies["recon-lock"])["Statement"]
    assert statements[1]["Condition"]["DateLessThan"]["aws:TokenIssueTime"], "a repeated lock keeps the revocation"
    assert "may send again" in lock(leaked, "role/blast", "--undeclared", "--unlock", *YES).out
    role = iam_state(leaked).roles["blast"]
    assert ("recon-lock" in role.policies, role.tags) == (False, {})
    assert "was not locked" in lock(leaked, "role/blast", "--undeclared", "--unlock", *YES).out


@pytest.mark.parametrize(
    ("document", "words", "could"),
    [
        ({"Action": "*"}, "everything", True),
        ({"NotAction": "ec2:*"}, "everything but ec2:*", True),
        ({"NotAction": ["iam:*", "organizations:*"]}, "everything but iam:*, organizations:*", False),
        ({"Action": ["ses:*", "iam:CreateAccessKey"]}, "iam", True),
    ],
)
def test_what_else_a_role_may_do_is_said(house: House, document: dict[str, Any], words: str, could: bool) -> None:
    statement = {"Effect": "Allow", "Resource": "*", **document}
    add_role("blast", json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    ran = lock(house, "role/blast", "--undeclared", *YES)
    assert f"Its policies also allowed: {words}." in ran.out
    assert ("It could make keys" in ran.out) is could


def test_a_declared_role_of_the_same_name_is_asked_for(leaked: House) -> None:
    client("iam").create_role(RoleName="old-app", AssumeRolePolicyDocument=TRUST)
    assert "user/old-app or role/old-app" in lock(leaked, "old-app", "--undeclared", *YES, code=1).err
    lock(leaked, "user/old-app", "--undeclared", *YES)


@pytest.mark.parametrize(
    ("who", "words"),
    [
        ("nobody", "no IAM user nobody"),
        ("AKIA0000000000000000", "is not in account"),
        ("ASIA0000000000000000", "CloudTrail names the role"),
        ("arn:aws:sts::111122223333:assumed-role/x/y", "a session belongs to its role"),
        ("arn:aws:iam::999900001111:user/x", "another account"),
    ],
)
def test_whom_nobody_can_lock(leaked: House, who: str, words: str) -> None:
    ran = leaked.cli("smtp", "lock", who, "--undeclared", *YES)
    assert ran.code in {1, 3}
    assert words in ran.err, ran
    assert leaked.writes() == []


@pytest.mark.parametrize("operation", ["PutUserPolicy", "TagUser", "UpdateAccessKey", "GetAccountAuthorizationDetails"])
def test_a_lost_call_does_not_stop_the_others(leaked: House, operation: str) -> None:
    leaked.sandbox.fault("denied", service="iam", operation=operation, count=None)
    reading = operation.startswith("Get")
    ran = lock(leaked, "old-app", "--undeclared", *YES, code=0 if reading else 1)
    assert operation in ran.err
    leaked.sandbox.clear_faults()
    lock(leaked, "old-app", "--undeclared", *YES)
    user = iam_state(leaked).users["old-app"]
    assert not any(key.active for key in user.keys.values())
    lock(leaked, "old-app", "--undeclared", "--unlock", *YES)
    assert iam_state(leaked).users["old-app"].policies.keys() == {"send"}


@pytest.mark.parametrize("who", ["old-app", "blast"])
@pytest.mark.parametrize("number", range(4))
def test_a_lost_answer_changes_nothing(leaked: House, who: str, number: int) -> None:
    """Each write of a lock is cut off in turn; what a second run makes of it is what one run makes."""
    writes = {
        "old-app": ["PutUserPolicy", "TagUser", "UpdateAccessKey", "UntagUser"],
        "blast": ["PutRolePolicy", "TagRole", "DeleteRolePolicy", "UntagRole"],
    }[who]
    leaked.sandbox.fault("lost", service="iam", operation=writes[number], count=1)
    leaked.cli("smtp", "lock", who, "--undeclared", *YES)
    lock(leaked, who, "--undeclared", "--region", HOME, *YES)
    state = iam_state(leaked)
    assert "recon-lock" in (state.users[who].policies if who in state.users else state.roles[who].policies)
    assert not any(key.active for user in state.users.values() if user.name == who for key in user.keys.values())
    leaked.cli("smtp", "lock", who, "--undeclared", "--unlock", *YES)
    leaked.cli("smtp", "lock", who, "--undeclared", "--unlock", *YES)
    state = iam_state(leaked)
    assert (state.users.get(who) or state.roles[who]).policies.keys() == {"send"}
    assert (state.users.get(who) or state.roles[who]).tags == {}
    assert all(key.active for user in state.users.values() if user.name == who for key in user.keys.values())
