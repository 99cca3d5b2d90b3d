"""Stores: fixed without a new key wherever the value is proven, and seen as changed by others where it is not."""

from __future__ import annotations

from typing import Any

import pytest
from smtp_support import Clock, Store, keys, message, problem, rotate_due, step_of, stored, stored_text
from support import HOME, OTHER, House, client, put, told

from reconciler.aws import Aws
from reconciler.errors import AwsError
from reconciler.resources.smtp_credential import stores as kept
from reconciler.resources.smtp_credential.kind import KIND as CREDENTIAL

ALL = ("secretsmanager", HOME, "recon/news")
PARAMETER = ("ssm", HOME, "/recon/news")
SECRET = {"secretsmanager": {"name": "recon/news"}}
FLAT = {"secretsmanager": {"name": "recon/${region}/news"}}
USER: dict[str, Any] = {
    "from_addresses": ["*@acme.com"],
    "credentials": SECRET,
    "access_key": {"max_age_days": 90, "overlap_days": 7},
}


def state(credentials: dict[str, Any], *regions: str) -> dict[str, Any]:
    return {
        "smtp_users": {"news": put(USER, ("credentials",), credentials)},
        "stack": {"regions": list(regions or (HOME,))},
    }


def rules(plan: Any) -> set[str]:
    return {n.rule for c in plan.changes for n in c.notes if c.address == "smtp_credential/news"}


def flat(region: str) -> tuple[str, str, str]:
    return ("secretsmanager", region, f"recon/{region}/news")


@pytest.fixture
def clock(house: House, monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


# --- tags of the stack ---------------------------------------------------------------------------------------------


def tags_of(store: Store, own: str = "") -> dict[str, str]:
    """The tags of a store that are not recon's own, and ``own``."""
    kind, region, name = store
    if kind == "ssm":
        listed = client("ssm", region).list_tags_for_resource(ResourceType="Parameter", ResourceId=name)["TagList"]
    else:
        listed = client("secretsmanager", region).describe_secret(SecretId=name)["Tags"]
    return {t["Key"]: t["Value"] for t in listed if t["Key"] == own or not t["Key"].startswith("recon:")}


def retag(store: Store, **tags: str | None) -> None:
    """Somebody sets tags of a store, or takes them off (None)."""
    kind, region, name = store
    put = [{"Key": k, "Value": v} for k, v in tags.items() if v is not None]
    gone = [k for k, v in tags.items() if v is None]
    if kind == "ssm":
        where = {"ResourceType": "Parameter", "ResourceId": name}
        if put:
            client("ssm", region).add_tags_to_resource(Tags=put, **where)
        if gone:
            client("ssm", region).remove_tags_from_resource(TagKeys=gone, **where)
        return
    if put:
        client("secretsmanager", region).tag_resource(SecretId=name, Tags=put)
    if gone:
        client("secretsmanager", region).untag_resource(SecretId=name, TagKeys=gone)


@pytest.mark.parametrize(
    ("credentials", "places"),
    [(FLAT, [flat(HOME), flat(OTHER)]), ({"ssm": {"name": "/recon/news"}}, [PARAMETER])],
    ids=["secrets", "parameter"],
)
def test_the_tags_of_the_stack_are_on_the_stores_too(house: House, credentials: dict[str, Any], places: Any) -> None:
    def tagged(**tags: str) -> dict[str, Any]:
        document = state(credentials, HOME, OTHER)
        document["smtp_users"]["news"]["tags"] = {"owner": "growth"}  # the IAM user's alone
        return {**document, "stack": {**document["stack"], "tags": tags}}

    house.settle(tagged(team="mail", cost="7"))
    (key,), texts = keys(), [stored_text(place) for place in places]
    for place in places:
        assert tags_of(place) == {"team": "mail", "cost": "7"}
        retag(place, theirs="x")
    house.quiet()
    retag(places[-1], team=None)
    plan = house.plan()
    assert [c.address for c in plan.changes] == ["smtp_credential/news"]
    assert [(d.path, d.before, d.after) for d in plan.changes[0].diff if "recon:" not in d.path] == [
        ("tags.team", None, "mail")
    ]
    house.settle()
    house.settle(tagged(team="post"))
    for place in places:
        assert tags_of(place) == {"team": "post", "theirs": "x"}
    assert step_of(rotate_due(house)) == ("waiting", "")
    house.settle(tagged())
    for place in places:
        assert tags_of(place) == {"theirs": "x"}
    assert set(keys()) == {key}
    assert [stored_text(place) for place in places] == texts
    house.settle(tagged(team="mail"))
    client("iam").delete_access_key(UserName="news", AccessKeyId=key)
    house.settle()  # a new key goes into the same stores
    for place in places:
        assert tags_of(place) == {"team": "mail", "theirs": "x"}


@pytest.mark.parametrize(
    ("credentials", "saved"), [(SECRET, True), ({"ssm": {"name": "/recon/news"}}, False)], ids=["secret", "parameter"]
)
def test_a_store_that_stays_is_its_users_after_a_rename(house: House, credentials: Any, saved: bool) -> None:
    house.settle(state(credentials))
    place, (key,) = (PARAMETER if "ssm" in credentials else ALL), keys()
    text = stored_text(place)
    document = state(credentials)
    document["smtp_users"]["press"] = document["smtp_users"].pop("news")
    house.write({**document, "moved": [{"from": "smtp_user/news", "to": "smtp_user/press"}]})
    if saved:
        assert house.cli("plan", "state.yaml", "--out", "plan.json").code == 0
        assert house.cli("apply", "plan.json").code == 0
        house.quiet()
    else:
        house.settle()
    assert tags_of(place, "recon:user") == {"recon:user": "press"}
    assert set(keys("press")) == {key}
    assert stored_text(place) == text


def test_a_store_that_comes_back_has_the_tags_of_the_day(house: House) -> None:
    house.settle({**state(SECRET), "stack": {"tags": {"team": "mail"}}})
    client("secretsmanager").delete_secret(SecretId="recon/news")
    house.settle({**state(SECRET), "stack": {"tags": {"team": "post"}}})
    assert tags_of(ALL) == {"team": "post"}


# --- fixed without a new key ---------------------------------------------------------------------------------------


def test_a_secret_that_waits_for_its_deletion_comes_back_with_the_same_password(house: House) -> None:
    house.settle(state(SECRET))
    text = stored_text(ALL)
    client("secretsmanager").delete_secret(SecretId="recon/news")
    assert rules(house.plan()) == {"store-restored"}
    house.settle()
    assert stored_text(ALL) == text
    assert len(keys()) == 1


def test_a_secret_written_over_again_and_again_gets_its_value_back(house: House) -> None:
    house.settle(state(SECRET))
    right, key = stored(ALL), set(keys())
    for number in range(kept.EDITIONS - 1):
        client("secretsmanager").put_secret_value(SecretId="recon/news", SecretString=f"mine {number}")
        house.settle()
        assert stored(ALL) == right
        assert client("secretsmanager").get_secret_value(SecretId="recon/news")["SecretString"] == stored_text(ALL)
    assert set(keys()) == key


@pytest.mark.parametrize("to", [FLAT, {"ssm": {"name": "/recon/news"}}, {"ssm": {"name": "/recon/${region}/news"}}])
def test_a_store_of_another_form_is_made_from_the_old(house: House, to: dict[str, Any]) -> None:
    house.settle(state(SECRET, HOME, OTHER))
    key, passwords = set(keys()), {r: p["password"] for r, p in stored(ALL)["regions"].items()}
    assert rules(house.plan(state(to, HOME, OTHER))) == {"store-copied"}
    house.settle()
    assert set(keys()) == key
    assert stored_text(ALL) is None
    found: dict[str, str] = {}
    for kind, block in to.items():
        for region in (HOME, OTHER) if "${region}" in block["name"] else (HOME,):
            store = (kind, region, block["name"].replace("${region}", region))
            assert problem(store, "news") is None
            found |= kept.passwords_in(stored(store))
    assert found == passwords


def test_a_region_less_needs_no_new_key(house: House) -> None:
    house.settle(state(SECRET, HOME, OTHER))
    key = set(keys())
    house.settle(state(SECRET, HOME))
    assert set(keys()) == key
    assert set(stored(ALL)["regions"]) == {HOME}


def test_a_region_more_needs_a_new_key_and_the_old_one_keeps_working(house: House, clock: Clock) -> None:
    house.settle(state(FLAT, HOME))
    old = stored(flat(HOME))["username"]
    assert "new-key" in rules(house.plan(state(FLAT, HOME, OTHER)))
    house.settle()
    assert {stored(flat(r))["username"] for r in (HOME, OTHER)} == set(keys()) - {old}
    assert all(k.active for k in keys().values())
    # It is rotated out like any other old key.
    clock.forward(8)
    assert step_of(rotate_due(house)) == ("done", "deactivate")


def test_the_secret_access_key_is_stored_only_when_asked_for(house: House) -> None:
    house.settle(state(SECRET))
    assert "secret_access_key" not in stored(ALL)
    asked = {**SECRET, "include_secret_access_key": True}
    house.settle(state(asked))
    assert stored(ALL)["secret_access_key"] == keys()[stored(ALL)["username"]].secret
    key = set(keys())
    # With it, a region more needs no new key; taken out, it goes from the store and the key stays.
    house.settle(state(asked, HOME, OTHER))
    assert set(stored(ALL)["regions"]) == {HOME, OTHER}
    house.settle(state(SECRET, HOME, OTHER))
    assert "secret_access_key" not in stored(ALL)
    assert set(keys()) == key
    assert problem(ALL, "news", [OTHER, HOME]) is None


# --- written by others ---------------------------------------------------------------------------------------------


def test_a_parameter_written_over_is_seen_although_ssm_keeps_the_description(house: House) -> None:
    house.settle(state({"ssm": {"name": "/recon/news"}}))
    old = stored(PARAMETER)["username"]
    client("ssm").put_parameter(Name="/recon/news", Value="mine", Overwrite=True)
    described = client("ssm").describe_parameters()["Parameters"][0]["Description"]
    assert described.startswith("recon ")
    assert "store-restored" in rules(house.settle())
    assert problem(PARAMETER, "news") is None
    assert list(keys()) == [old]


def test_a_parameter_written_over_with_its_description_needs_a_new_key(house: House) -> None:
    house.settle(state({"ssm": {"name": "/recon/news"}}))
    old = stored(PARAMETER)["username"]
    client("ssm").put_parameter(Name="/recon/news", Value="mine", Description="mine", Overwrite=True)
    assert "new-key" in rules(house.settle())
    assert problem(PARAMETER, "news") is None
    assert old in keys()


def test_a_parameter_whose_old_version_is_not_ours_after_all_is_an_error(house: House) -> None:
    house.settle(state({"ssm": {"name": "/recon/news"}}))
    described = client("ssm").describe_parameters()["Parameters"][0]["Description"]
    lie = described.rpartition(" v")[0] + " v2"
    for text in ("theirs", "mine"):
        client("ssm").put_parameter(Name="/recon/news", Value=text, Description=lie, Overwrite=True)
    assert "no longer keeps the passwords of" in told(house.apply(expect="error"))
    assert stored_text(PARAMETER) == "mine"


def test_a_parameter_that_is_not_a_securestring_is_not_written(house: House) -> None:
    client("ssm").put_parameter(Name="/recon/news", Value="mine", Type="String")
    plan = house.plan(state({"ssm": {"name": "/recon/news"}}))
    assert "not a SecureString" in message(plan, "store-not-secure")
    house.apply(expect="partial", skip_refused=True)
    assert keys() == {}


def test_a_plan_reads_no_value(house: House, clock: Clock) -> None:
    house.settle(state(SECRET))
    client("secretsmanager").put_secret_value(SecretId="recon/news", SecretString="mine")
    house.clear()
    house.plan()
    assert not {"secretsmanager:GetSecretValue", "ssm:GetParameter"} & set(house.calls())


def test_proofs_differ_with_key_regions_and_form() -> None:
    base: dict[str, Any] = {"regions": ["a", "b"], "flat": False}
    others = [{"regions": ["a"], "flat": False}, {"regions": ["a"], "flat": True}, {**base, "secret": True}]
    found = [kept.proof(k, s) for k in ("AKIA1", "AKIA2") for s in (base, *others)]
    found += kept.proofs("AKIA1", base)[1:]
    assert len(set(found)) == len(found)
    assert kept.proof("AKIA1", {**base, "regions": ["b", "a"]}) == kept.proof("AKIA1", base)
    assert all(32 <= len(p) <= 64 for p in found)


# --- making a key --------------------------------------------------------------------------------------------------


def test_after_a_lost_answer_the_next_plan_names_the_key_before_it_goes(house: House) -> None:
    house.write(state(SECRET))
    house.sandbox.fault("lost", service="iam", operation="CreateAccessKey", count=1)
    house.apply(expect=None)
    (lost,) = keys()
    planned = next(c for c in house.plan().changes if c.address == "smtp_credential/news")
    assert any(lost in n.message for n in planned.notes)
    house.apply()
    assert list(keys()) == [stored(ALL)["username"]] != [lost]
    assert problem(ALL, "news") is None
    house.quiet()


@pytest.mark.parametrize("fault", ["error", "reset"])
def test_a_key_made_by_hand_while_the_answer_was_lost_is_not_deleted_unnamed(
    house: House, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    house.write(state(SECRET))
    house.sandbox.fault(fault, service="iam", operation="CreateAccessKey", count=1)
    call, made = Aws.call, []

    def somebody_else(self: Aws, service: str, operation: str, *rest: Any, **given: Any) -> dict[str, Any]:
        try:
            return call(self, service, operation, *rest, **given)
        except AwsError:
            if operation == "CreateAccessKey" and not made:
                made.append(client("iam").create_access_key(UserName="news")["AccessKey"]["AccessKeyId"])
            raise

    monkeypatch.setattr(Aws, "call", somebody_else)
    result = house.apply(expect=None)
    assert list(keys()) == made
    assert result.outcome != "applied"


def test_a_key_that_appears_after_all_is_named_and_goes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS says that CreateAccessKey failed, and its key appears once the next one has been made."""
    house.write(state(SECRET))
    call, tries, late = Aws.call, [], []

    def late_key(self: Aws, service: str, operation: str, *rest: Any, **given: Any) -> dict[str, Any]:
        if operation == "CreateAccessKey":
            tries.append(operation)
            if len(tries) == 1:
                raise AwsError(
                    "failed", service="iam", operation=operation, region="", aws_code="InternalFailure", status=500
                )
            answer = call(self, service, operation, *rest, **given)
            late.append(client("iam").create_access_key(UserName="news")["AccessKey"]["AccessKeyId"])
            return answer
        return call(self, service, operation, *rest, **given)

    monkeypatch.setattr(Aws, "call", late_key)
    result = house.apply(expect="partial")
    assert late[0] in told(result)
    assert problem(ALL, "news") is None
    planned = next(c for c in house.plan().changes if c.address == "smtp_credential/news")
    assert any(late[0] in n.message for n in planned.notes)
    house.apply()
    assert list(keys()) == [stored(ALL)["username"]] != late
    house.quiet()


@pytest.mark.parametrize("waits", [True, False])
def test_a_secret_that_aws_refuses_to_delete_is_not_a_deleted_one(
    house: House, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    """InvalidRequestException says that it waits for its deletion already, or that another service manages it."""
    house.settle(state(SECRET))
    call = Aws.call

    def refusing(self: Aws, service: str, operation: str, *rest: Any, **given: Any) -> dict[str, Any]:
        if operation != "DeleteSecret":
            return call(self, service, operation, *rest, **given)
        if waits:
            client("secretsmanager").delete_secret(SecretId="recon/news")
        raise AwsError(
            "another service manages it", service=service, operation=operation, region=HOME,
            aws_code="InvalidRequestException", status=400,
        )  # fmt: skip

    monkeypatch.setattr(Aws, "call", refusing)
    house.write({"stack": {"regions": [HOME]}})
    result = house.apply(expect="applied" if waits else "error")
    assert ("another service manages it" in told(result)) is not waits


RIVALS: dict[str, tuple[Store, dict[str, Any], Any]] = {
    "secret": (
        ALL,
        SECRET,
        lambda tags: client("secretsmanager").create_secret(Name="recon/news", SecretString="theirs", Tags=tags),
    ),
    "parameter": (
        PARAMETER,
        {"ssm": {"name": "/recon/news"}},
        lambda tags: client("ssm").put_parameter(Name="/recon/news", Value="theirs", Type="SecureString", Tags=tags),
    ),
}


@pytest.mark.parametrize("owner", [None, "other"])
@pytest.mark.parametrize("before", ["CreateUser", "CreateAccessKey"])
@pytest.mark.parametrize("kind", RIVALS)
def test_a_store_that_somebody_made_meanwhile_is_left_alone(
    house: House, monkeypatch: pytest.MonkeyPatch, kind: str, before: str, owner: str | None
) -> None:
    store, credentials, make = RIVALS[kind]
    house.write(state(credentials))
    call, struck = Aws.call, []

    def rival(self: Aws, service: str, operation: str, *rest: Any, **given: Any) -> dict[str, Any]:
        if operation == before and not struck:
            struck.append(operation)
            make([{"Key": "recon:stack", "Value": owner}] if owner else [{"Key": "team", "Value": "crm"}])
        return call(self, service, operation, *rest, **given)

    monkeypatch.setattr(Aws, "call", rival)
    result = house.apply(expect="partial")
    assert struck
    assert ('belongs to the recon stack "other"' if owner else "somebody created") in told(result)
    assert stored_text(store) == "theirs"
    assert keys() == {}
    if owner:
        assert "owned-elsewhere" in {d.code for d in house.plan().diagnostics}
    else:
        assert "secret-taken-over" in rules(house.plan())
        house.apply()
        assert problem(store, "news") is None
        house.quiet()


def test_a_key_that_waits_behind_a_refusal_is_named(house: House) -> None:
    house.write(state(SECRET))
    house.sandbox.fault("lost", service="iam", operation="CreateAccessKey", count=1)
    house.apply(expect=None)
    (lost,) = keys()
    RIVALS["secret"][2]([{"Key": "recon:stack", "Value": "other"}])
    assert lost in message(house.plan(), "orphan-key")


def test_a_working_password_is_replaced_only_once_aws_takes_the_new_key(house: House, clock: Clock) -> None:
    house.settle(state(SECRET))
    clock.forward(91)
    house.sandbox.fault(
        "error", service="sts", operation="GetCallerIdentity", status=403, code="InvalidClientTokenId", count=2
    )
    house.clear()
    assert step_of(rotate_due(house)) == ("done", "create")
    new = stored(ALL)["username"]
    calls = [c for c in house.sandbox.calls() if c["operation"] in {"GetCallerIdentity", "PutSecretValue"}]
    tries = [c for c in calls if c["access_key"] == new]
    assert len(tries) > 1
    assert tries[0]["error"] and not tries[-1]["error"]
    assert calls[-1]["operation"] == "PutSecretValue"


# --- names that go over to somebody else ---------------------------------------------------------------------------


@pytest.mark.parametrize("store", [ALL, PARAMETER])
def test_a_store_goes_over_from_a_user_that_goes_to_one_that_comes(house: House, store: Store) -> None:
    """The delete of one must not take away what the other has just stored there, in whatever order they run."""
    credentials = SECRET if store is ALL else {"ssm": {"name": "/recon/news"}}
    first = state(credentials)
    house.settle(first)
    second = {**first, "smtp_users": {"letters": put(USER, ("credentials",), credentials)}}
    plan = house.plan(second)
    gone = next(c for c in plan.changes if c.address == "smtp_credential/news")
    assert gone.action == "delete"
    assert (gone.before or {})["credentials"] == []
    house.settle(second)
    assert keys("news") == {}
    assert problem(store, "letters", [HOME]) is None


@pytest.mark.parametrize("leaves", ["goes", "moves"])
@pytest.mark.parametrize("store", [ALL, PARAMETER])
def test_what_another_user_stores_first_is_no_change_of_the_one_that_leaves(
    house: House, store: Store, leaves: str
) -> None:
    """The steps of both run side by side: the write of one may come before the other's look at what was planned."""
    credentials = SECRET if store is ALL else {"ssm": {"name": "/recon/news"}}
    first = state(credentials)
    house.settle(first)
    elsewhere = {"secretsmanager": {"name": "recon/elsewhere"}}
    stays = {} if leaves == "goes" else {"news": put(USER, ("credentials",), elsewhere)}
    second = {**first, "smtp_users": {**stays, "letters": put(USER, ("credentials",), credentials)}}
    planned = house.make(second, purpose="apply")
    change = next(c for c in planned.plan.changes if c.address == "smtp_credential/news")
    writer = next(c for c in planned.plan.changes if c.address == "smtp_credential/letters")
    assert change.execution.get("left_to_others") or change.address in writer.execution["waits_for"]
    if change.execution.get("left_to_others"):
        house.apply(second, expect=None, targets=["smtp_credential/letters"])
        assert problem(store, "letters", [HOME]) is None
        assert CREDENTIAL.reread(planned.aws, change) == change.observed_digest
    house.settle(second)
    assert problem(store, "letters", [HOME]) is None


def test_a_store_that_a_user_leaves_to_another_is_not_deleted(house: House) -> None:
    """A moves to another name, B takes the one that A had."""
    first = state(SECRET)
    house.settle(first)
    other = put(USER, ("credentials",), SECRET)
    moved = put(USER, ("credentials",), {"secretsmanager": {"name": "recon/elsewhere"}})
    house.settle({**first, "smtp_users": {"news": moved, "letters": other}})
    assert problem(ALL, "letters", [HOME]) is None
    assert problem(("secretsmanager", HOME, "recon/elsewhere"), "news", [HOME]) is None
    house.settle({**first, "smtp_users": {"letters": other}})
    assert problem(ALL, "letters", [HOME]) is None


@pytest.mark.parametrize("owner", ["other", None])
def test_a_store_that_is_no_longer_ours_outlives_its_user(house: House, owner: str | None) -> None:
    house.settle(state(SECRET))
    client("secretsmanager").untag_resource(SecretId="recon/news", TagKeys=["recon:stack"])
    if owner:
        client("secretsmanager").tag_resource(SecretId="recon/news", Tags=[{"Key": "recon:stack", "Value": owner}])
    text = stored_text(ALL)
    house.settle({**state(SECRET), "smtp_users": {}})
    assert keys() == {}
    assert stored_text(ALL) == text
