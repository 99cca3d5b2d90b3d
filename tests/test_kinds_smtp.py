"""SMTP users and their credentials: every field, every store, one key made once, stored once and never shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from support import ACCOUNT, HOME, OTHER, House, client, lines, merge, put, words

from reconciler import applier
from reconciler.mail.sigv4 import smtp_password
from reconciler.model import Change, Plan

USER = "smtp_user/news"
CREDENTIAL = "smtp_credential/news"
BASE: dict[str, Any] = {
    "domains": {
        "acme.com": {"dkim": {}, "zone": "manual", "regions": [HOME, OTHER]},
        "shop.acme.com": {"zone": "manual"},
    },
    "configuration_sets": {"main": {}},
    "smtp_users": {
        "news": {"from_addresses": ["*@acme.com"], "credentials": {"secretsmanager": {"name": "recon/news"}}}
    },
}
BOUNDARIES = tuple(f"arn:aws:iam::{ACCOUNT}:policy/{name}" for name in ("one", "two"))


def user(**values: Any) -> dict[str, Any]:
    return merge(BASE, {"smtp_users": {"news": values}})


def replaced(**values: Any) -> dict[str, Any]:
    return put(BASE, ("smtp_users", "news"), {"from_addresses": ["*@acme.com"], **values})


def iam() -> Any:
    return client("iam")


def keys() -> list[str]:
    return sorted(k["AccessKeyId"] for k in iam().list_access_keys(UserName="news")["AccessKeyMetadata"])


def statement() -> dict[str, Any]:
    found: dict[str, Any] = iam().get_user_policy(UserName="news", PolicyName="recon-smtp")["PolicyDocument"][
        "Statement"
    ][0]
    return found


def user_tags() -> dict[str, str]:
    return {t["Key"]: t["Value"] for t in iam().list_user_tags(UserName="news")["Tags"]}


def secret(name: str = "recon/news", region: str = HOME) -> Any:
    return json.loads(client("secretsmanager", region).get_secret_value(SecretId=name)["SecretString"])


def of(plan: Plan, address: str) -> Change:
    found = [c for c in plan.changes if c.address == address]
    assert found, "\n".join(map(words, plan.changes))
    return found[0]


def boundaries() -> None:
    for arn in BOUNDARIES:
        document = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ses:*","Resource":"*"}]}'
        iam().create_policy(PolicyName=arn.rpartition("/")[2], PolicyDocument=document)


ANY = object()
ARN = f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/"
ROWS: list[tuple[str, Any, Any, str, Any, Any, Callable[[], Any], Any, Any]] = [
    ("path", "/a/", "/b/", "path", "/a/", "/b/", lambda: iam().get_user(UserName="news")["User"]["Path"], "/b/", "/b/"),
    (
        "from_addresses",
        ["*@acme.com"],
        ["a@acme.com", "b@acme.com"],
        "from_addresses",
        ["*@acme.com"],
        ["a@acme.com", "b@acme.com"],
        lambda: statement()["Condition"]["StringLike"]["ses:FromAddress"],
        ["a@acme.com", "b@acme.com"],
        ANY,
    ),
    (
        "source_ips",
        ["203.0.113.0/24"],
        ["198.51.100.7/32", "2001:db8::/32"],
        "source_ips",
        ["203.0.113.0/24"],
        ["198.51.100.7/32", "2001:db8::/32"],
        lambda: statement()["Condition"].get("IpAddress", {}).get("aws:SourceIp"),
        ["198.51.100.7/32", "2001:db8::/32"],
        None,
    ),
    (
        "identities",
        ["shop.acme.com"],
        ["acme.com"],
        "identities",
        [f"{ARN}shop.acme.com"],
        [f"{ARN}acme.com".replace(HOME, OTHER), f"{ARN}acme.com"],
        lambda: statement()["Resource"],
        [f"{ARN}acme.com".replace(HOME, OTHER), f"{ARN}acme.com"],
        ["*"],
    ),
    (
        "conditions",
        {"StringEquals": {"aws:SourceVpce": "vpce-1"}},
        {"StringEquals": {"aws:SourceVpce": "vpce-2"}},
        "conditions.StringEquals",
        {"aws:SourceVpce": ["vpce-1"]},
        {"aws:SourceVpce": ["vpce-2"]},
        lambda: statement()["Condition"].get("StringEquals"),
        {"aws:SourceVpce": ["vpce-2"]},
        None,
    ),
    ("tags", {"owner": "a"}, {"owner": "b"}, "tags.owner", "a", "b", lambda: user_tags().get("owner"), "b", None),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_option_is_created_changed_and_taken_out(house: House, row: Any) -> None:
    field, a, b, path, shown_a, shown_b, live, live_b, live_removed = row
    boundaries()
    house.settle(put(BASE, ("smtp_users", "news", field), a))
    made = keys()
    plan = house.plan(put(BASE, ("smtp_users", "news", field), b))
    assert lines(of(plan, USER)) == {path: (shown_a, shown_b)}
    assert len(plan.changes) == 1
    house.settle()
    assert live() == live_b
    without = {k: v for k, v in BASE["smtp_users"]["news"].items() if k != field or field == "from_addresses"}
    house.settle(put(BASE, ("smtp_users", "news"), without))
    if live_removed is not ANY:
        assert live() == live_removed
    assert keys() == made
    # What exists gains the option.
    house.settle(put(BASE, ("smtp_users", "news", field), b))
    assert live() == live_b


def boundary() -> str | None:
    found = iam().get_user(UserName="news")["User"].get("PermissionsBoundary", {})
    return found.get("PermissionsBoundaryArn")


def test_a_boundary_is_put_and_changed_before_the_policy(house: House) -> None:
    boundaries()
    house.settle(BASE)
    house.clear()
    house.apply(user(permissions_boundary=BOUNDARIES[0], from_addresses=["news@acme.com"]))
    assert boundary() == BOUNDARIES[0]
    writes = [c for c in house.writes() if c.startswith("iam:Put")]
    assert writes == ["iam:PutUserPermissionsBoundary", "iam:PutUserPolicy"]
    plan = house.plan(user(permissions_boundary=BOUNDARIES[1], from_addresses=["news@acme.com"]))
    assert lines(of(plan, USER)) == {"permissions_boundary": tuple(BOUNDARIES)}
    house.settle()
    assert boundary() == BOUNDARIES[1]


def test_a_boundary_that_iam_does_not_see_at_once_is_waited_for(house: House) -> None:
    """Under the policy of apply, IAM denies a user's policy as long as it does not see the boundary."""
    boundaries()
    house.sandbox.fault("denied", service="iam", operation="PutUserPolicy", count=1)
    assert house.apply(user(permissions_boundary=BOUNDARIES[0]), expect=None).outcome == "applied"
    house.sandbox.fault("denied", service="iam", operation="PutUserPolicy", count=1)
    changed = user(permissions_boundary=BOUNDARIES[1], from_addresses=["news@acme.com"])
    assert house.apply(changed, expect=None).outcome == "applied"
    house.sandbox.fault("denied", service="iam", operation="PutUserPolicy", count=1)
    changed = user(permissions_boundary=BOUNDARIES[1], from_addresses=["other@acme.com"])
    assert house.apply(changed, expect=None).outcome == "error", "the boundary has been there"


@pytest.mark.parametrize("without", [{}, {"permissions_boundary": None}], ids=["taken out", "null"])
def test_a_boundary_is_never_removed(house: House, without: dict[str, Any]) -> None:
    boundaries()
    house.settle(user(permissions_boundary=BOUNDARIES[0]))
    house.write(user(from_addresses=["other@acme.com"], **without))
    house.clear()
    ran = house.cli("apply", "state.yaml", "--auto-approve")
    assert (ran.code, house.writes()) == (3, []), ran
    (change,) = house.plan().changes
    assert change.refused is not None
    assert change.refused.code == "boundary-removed"
    assert lines(change)["permissions_boundary"] == (BOUNDARIES[0], None), "the difference is shown"
    assert "smtp_user/news" in ran.err
    assert "delete-user-permissions-boundary --user-name news" in ran.err, "who can do it, and how"
    # An administrator has removed it: recon forgets that it was declared.
    iam().delete_user_permissions_boundary(UserName="news")
    house.settle()
    assert "recon:boundary" not in user_tags()


def test_a_boundary_that_no_yaml_named_is_not_spoken_of(house: House) -> None:
    boundaries()
    house.settle(BASE)
    iam().put_user_permissions_boundary(UserName="news", PermissionsBoundary=BOUNDARIES[0])
    assert house.plan().changes == ()
    house.settle(user(from_addresses=["other@acme.com"]))
    assert boundary() == BOUNDARIES[0]
    house.write(user(permissions_boundary=None))
    assert house.cli("plan", "state.yaml").code == 3


@pytest.mark.parametrize("command", [("apply", "--auto-approve"), ("destroy", "--allow-deletes", "9")])
def test_a_user_in_a_group_is_not_deleted(house: House, command: tuple[str, ...]) -> None:
    house.settle(BASE)
    iam().create_group(GroupName="senders")
    iam().add_user_to_group(GroupName="senders", UserName="news")
    if command[0] == "apply":
        house.write({})
    house.clear()
    ran = house.cli(command[0], "state.yaml", *command[1:])
    assert (ran.code, house.writes()) == (3, []), ran
    assert "remove-user-from-group --group-name senders --user-name news" in ran.err
    iam().remove_user_from_group(GroupName="senders", UserName="news")
    ran = house.cli(command[0], "state.yaml", *command[1:])
    assert ran.code == 0, ran


def test_identities_bring_the_arns_of_the_sets_they_send_through(house: House) -> None:
    document = merge(user(identities=["acme.com"]), {"domains": {"acme.com": {"configuration_set_name": "main"}}})
    document = merge(document, {"configuration_sets": {"main": {"regions": [HOME, OTHER]}}})
    house.settle(document)
    assert f"arn:aws:ses:{OTHER}:{ACCOUNT}:configuration-set/main" in statement()["Resource"]
    assert f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/acme.com" in statement()["Resource"]


# --- stores --------------------------------------------------------------------------------------------------------


def test_one_secret_for_all_regions(house: House) -> None:
    house.settle(BASE)
    value = secret()
    assert set(value) == {"username", "created_at", "regions"}
    assert value["username"] == keys()[0]
    assert set(value["regions"]) == {HOME, OTHER}
    assert value["regions"][HOME]["host"] == f"email-smtp.{HOME}.amazonaws.com"
    assert value["regions"][HOME]["port"] == 587
    assert value["regions"][HOME]["password"] != value["regions"][OTHER]["password"]
    assert len(value["regions"][HOME]["password"]) == 44


def test_a_flat_secret_for_each_region(house: House) -> None:
    house.settle(replaced(credentials={"secretsmanager": {"name": "recon/${region}/news"}}))
    for region in (HOME, OTHER):
        value = secret(f"recon/{region}/news", region)
        assert set(value) == {"username", "password", "host", "port", "region", "created_at"}
        assert (value["region"], value["host"]) == (region, f"email-smtp.{region}.amazonaws.com")
    assert keys() == [secret(f"recon/{HOME}/news")["username"]]


def test_flat_secrets_in_one_region(house: House) -> None:
    house.settle(replaced(credentials={"secretsmanager": {"name": "recon/${region}/news"}, "region": OTHER}))
    assert secret(f"recon/{HOME}/news", OTHER)["region"] == HOME


@pytest.mark.parametrize("name", ["/recon/news", "/recon/${region}/news"])
def test_parameters_of_ssm(house: House, name: str) -> None:
    house.settle(replaced(credentials={"ssm": {"name": name}}))
    found = client("ssm").get_parameter(Name=name.replace("${region}", HOME), WithDecryption=True)["Parameter"]
    assert found["Type"] == "SecureString"
    assert json.loads(found["Value"])["username"] == keys()[0]
    house.destroy()
    with pytest.raises(client("ssm").exceptions.ParameterNotFound):
        client("ssm").get_parameter(Name=name.replace("${region}", HOME))


def test_the_passwords_are_derived_from_the_key(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from reconciler.aws import Aws

    seen: list[str] = []
    call = Aws.call

    def listen(self: Aws, service: str, operation: str, *arguments: Any, **parameters: Any) -> dict[str, Any]:
        answer = call(self, service, operation, *arguments, **parameters)
        if operation == "CreateAccessKey":
            seen.append(answer["AccessKey"]["SecretAccessKey"])
        return answer

    monkeypatch.setattr(Aws, "call", listen)
    plan = house.settle(BASE)
    assert len(seen) == 1
    for region, entry in secret()["regions"].items():
        assert entry["password"] == smtp_password(seen[0], region)
    texts = json.dumps([c.to_json() for c in plan.changes], default=str)
    for hidden in (seen[0], *(e["password"] for e in secret()["regions"].values())):
        assert hidden not in texts
        assert hidden not in "".join(p.read_text() for p in house.home.rglob("*") if p.is_file())


@pytest.mark.parametrize("store", ["secretsmanager", "ssm"])
def test_the_key_that_encrypts_is_set_and_changed(house: House, store: str) -> None:
    kms = client("kms")
    made = [kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2)]
    name = "recon/news" if store == "secretsmanager" else "/recon/news"

    def document(key: str | None) -> dict[str, Any]:
        return replaced(credentials={store: {"name": name, **({"kms_key_id": key} if key else {})}})

    house.settle(document(made[0]))
    key = keys()
    change = of(house.plan(document(made[1])), CREDENTIAL)
    assert any("kms_key_id" in p and v == (made[0], made[1]) for p, v in lines(change).items()), words(change)
    house.settle()
    if store == "secretsmanager":
        assert client("secretsmanager").describe_secret(SecretId=name)["KmsKeyId"] == made[1]
        assert keys() == key
    else:
        listed = client("ssm").describe_parameters(ParameterFilters=[{"Key": "Name", "Values": [name]}])["Parameters"]
        assert listed[0]["KeyId"] == made[1]
    house.settle(document(None))
    assert keys()


def test_a_renamed_store_keeps_its_key_and_the_old_secret_goes(house: House) -> None:
    house.settle(BASE)
    old, value = keys(), secret()
    change = of(house.plan(replaced(credentials={"secretsmanager": {"name": "recon/other"}})), CREDENTIAL)
    assert change.action == "update"
    assert any(n.rule == "store-copied" for n in change.notes)
    house.settle()
    assert (keys(), secret("recon/other")) == (old, value)
    assert "DeletedDate" in client("secretsmanager").describe_secret(SecretId="recon/news")


def test_a_region_more_is_a_password_more(house: House) -> None:
    home_only = put(BASE, ("domains", "acme.com", "regions"), [HOME])
    house.settle(home_only)
    assert set(secret()["regions"]) == {HOME}
    change = of(house.plan(BASE), CREDENTIAL)
    assert any(n.rule == "new-key" and "all regions" in n.message for n in change.notes), change.notes
    assert lines(change)["regions"] == ([HOME], [OTHER, HOME])
    assert "credentials" not in lines(change)  # the store stays
    house.settle()
    assert set(secret()["regions"]) == {HOME, OTHER}
    assert secret()["username"] in keys()
    fewer = of(house.plan(home_only), CREDENTIAL)
    assert lines(fewer) == {"regions": ([OTHER, HOME], [HOME])}
    house.settle()
    assert set(secret()["regions"]) == {HOME}


def test_a_secret_edited_by_hand_is_drift(house: House) -> None:
    house.settle(BASE)
    client("secretsmanager").put_secret_value(SecretId="recon/news", SecretString='{"username": "me"}')
    stored = "secretsmanager recon/news in us-east-1"
    assert lines(of(house.plan(), CREDENTIAL))["credentials"] == ([f"{stored}, with another value"], [stored])
    house.settle()
    assert secret()["username"] in keys()


def test_a_secret_deleted_by_hand_is_restored_with_a_key_that_works(house: House) -> None:
    house.settle(BASE)
    client("secretsmanager").delete_secret(SecretId="recon/news")
    house.settle()
    assert secret()["username"] in keys()


def test_a_key_switched_off_is_switched_on_again(house: House) -> None:
    house.settle(BASE)
    iam().update_access_key(UserName="news", AccessKeyId=keys()[0], Status="Inactive")
    assert lines(of(house.plan(), CREDENTIAL)) == {"status": ("Inactive", "Active")}
    house.settle()


def test_a_key_deleted_by_hand_is_made_anew(house: House) -> None:
    house.settle(BASE)
    old = keys()[0]
    iam().delete_access_key(UserName="news", AccessKeyId=old)
    house.settle()
    assert [secret()["username"]] == keys()
    assert keys() != [old]


def test_a_foreign_key_is_never_touched(house: House) -> None:
    house.settle(BASE)
    foreign = iam().create_access_key(UserName="news")["AccessKey"]["AccessKeyId"]
    house.quiet()
    client("secretsmanager").delete_secret(SecretId="recon/news", ForceDeleteWithoutRecovery=True)
    for key in keys():
        client("sts", access_key=key).get_caller_identity()
    plan = house.plan()
    refused = of(plan, CREDENTIAL).refused
    assert refused is not None
    assert refused.code == "two-keys"
    assert all(key in refused.message for key in keys())
    assert "not created by recon" in refused.message
    assert "recon smtp rotate news --replace" in refused.hint
    house.clear()
    assert house.cli("apply", "state.yaml", "--auto-approve").code == 3
    assert house.writes() == []
    house.write({})
    plan = house.plan()
    assert "foreign-key" in str(of(plan, USER).refused)
    assert foreign in str(of(plan, USER).refused)


def test_a_user_with_two_foreign_keys_is_blocked(house: House) -> None:
    iam().create_user(UserName="news")
    made = [iam().create_access_key(UserName="news")["AccessKey"]["AccessKeyId"] for _ in range(2)]
    house.write(BASE)
    house.apply(expect="partial", skip_refused=True)
    assert keys() == sorted(made)
    with pytest.raises(client("secretsmanager").exceptions.ResourceNotFoundException):
        secret()


def test_a_store_of_another_stack_is_refused_by_name(house: House) -> None:
    client("secretsmanager").create_secret(
        Name="recon/news", SecretString="{}", Tags=[{"Key": "recon:stack", "Value": "theirs"}]
    )
    plan = house.plan(BASE)
    assert plan.outcome == "refused"
    assert "theirs" in next(d for d in plan.diagnostics if d.code == "owned-elsewhere").message


def test_a_secret_without_owner_is_taken_over_with_consent_only(house: House) -> None:
    client("secretsmanager").create_secret(Name="recon/news", SecretString="old")
    change = of(house.plan(BASE), CREDENTIAL)
    assert change.action == "adopt"
    assert house.cli("apply", "state.yaml", "--auto-approve").code == 3
    house.settle()
    assert secret()["username"] in keys()


def test_a_user_taken_out_is_deleted_with_key_and_secret(house: House) -> None:
    house.settle(BASE)
    gone = merge(BASE, {})
    del gone["smtp_users"]
    plan = house.plan(gone)
    assert {c.address: c.action for c in plan.changes} == {USER: "delete", CREDENTIAL: "delete"}
    house.settle()
    assert [u["UserName"] for u in iam().list_users()["Users"]] == []
    live = client("secretsmanager").describe_secret(SecretId="recon/news")
    assert "DeletedDate" in live
    # The name is taken for 30 days: declared again, it is restored.
    house.settle(BASE)
    assert [secret()["username"]] == keys()


def test_what_others_added_to_a_user_is_shown_before_it_is_deleted(house: House) -> None:
    house.settle(BASE)
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]})
    arn = iam().create_policy(PolicyName="wide", PolicyDocument=policy)["Policy"]["Arn"]
    iam().attach_user_policy(UserName="news", PolicyArn=arn)
    iam().put_user_policy(UserName="news", PolicyName="theirs", PolicyDocument=policy)
    house.write({})
    (change,) = [c for c in house.plan().changes if c.address == "smtp_user/news"]
    (note,) = [n.message for n in change.notes if n.rule == "user-holds-more"]
    assert "theirs" in note and arn in note
    planned = house.make(purpose="apply")
    iam().put_user_policy(UserName="news", PolicyName="late", PolicyDocument=policy)
    result = applier.apply_plan(planned.plan, planned.aws, zones=planned.snapshot.zones)
    assert "plan again" in json.dumps([d.to_json() for d in result.diagnostics])
    assert iam().list_user_policies(UserName="news")["PolicyNames"] == ["late"]
    house.settle({})
    assert iam().list_users()["Users"] == []


def test_a_user_of_another_case_is_refused_by_its_live_name(house: House) -> None:
    house.settle(BASE)
    document = merge(BASE, {})
    document["smtp_users"] = {"News": document["smtp_users"]["news"]}
    plan = house.plan(document)
    assert plan.outcome == "refused"
    assert next(d for d in plan.diagnostics if d.code == "user-case").hint == "declare it as news"


@pytest.mark.parametrize(
    "edit",
    [
        lambda p: p["Statement"][0].update(Action="ses:*"),
        lambda p: p["Statement"][0].update(Resource="*"),
        lambda p: p["Statement"][0].pop("Condition"),
        lambda p: p["Statement"].append({"Effect": "Allow", "Action": "ses:SendEmail", "Resource": "*"}),
        lambda p: p["Statement"][0]["Condition"]["StringLike"].update({"ses:FromAddress": "*"}),
        lambda p: p["Statement"][0].update(Effect="Deny"),
    ],
    ids=["action", "resource", "condition", "statement", "address", "deny"],
)
def test_a_policy_widened_by_hand_is_drift_and_is_healed(house: House, edit: Callable[[Any], Any]) -> None:
    house.settle(user(identities=["shop.acme.com"]))
    document = iam().get_user_policy(UserName="news", PolicyName="recon-smtp")["PolicyDocument"]
    edit(document)
    iam().put_user_policy(UserName="news", PolicyName="recon-smtp", PolicyDocument=json.dumps(document))
    assert lines(of(house.plan(), USER))
    house.settle()
    assert statement()["Resource"] == [f"{ARN}shop.acme.com"]


def test_a_policy_in_other_clothes_is_no_change(house: House) -> None:
    house.settle(user(identities=["shop.acme.com"], source_ips=["203.0.113.0/24"]))
    policy = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Resource": f"{ARN}shop.acme.com",
            "Action": "SES:SendRawEmail",
            "Condition": {
                "IpAddress": {"aws:SourceIp": "203.0.113.0/24"},
                "StringLike": {"ses:FromAddress": "*@acme.com"},
            },
        },
    }
    iam().put_user_policy(UserName="news", PolicyName="recon-smtp", PolicyDocument=json.dumps(policy, indent=4))
    house.quiet()


def test_a_policy_deleted_by_hand_comes_back(house: House) -> None:
    house.settle(BASE)
    iam().delete_user_policy(UserName="news", PolicyName="recon-smtp")
    assert lines(of(house.plan(), USER))
    house.settle()
    assert statement()["Action"] == ["ses:SendRawEmail"]


def test_slow_iam_is_waited_for(house: House) -> None:
    house.sandbox.consistency(iam={"reads": 2})
    house.apply(BASE)
    house.sandbox.consistency(iam=None)
    house.quiet()


def test_consumers_and_key_ages_are_words_for_later_commands(house: House) -> None:
    house.settle(BASE)
    house.write(
        user(consumers=[{"name": "webmail", "note": "by hand"}], access_key={"max_age_days": 30, "overlap_days": 2})
    )
    house.quiet()


@pytest.mark.parametrize(
    "store",
    [
        {"secretsmanager": {"name": "recon/other"}},
        {"secretsmanager": {"name": "recon/old", "kms_key_id": "alias/mail"}},
        {"ssm": {"name": "/recon/other"}},
    ],
)
def test_a_user_and_its_store_are_renamed_in_one_go(house: House, store: dict[str, Any]) -> None:
    def named(name: str, credentials: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"smtp_users": {name: {"from_addresses": ["*@acme.com"], "credentials": credentials}}, **more}

    house.settle(named("old", {"secretsmanager": {"name": "recon/old"}}))
    (key,) = client("iam").list_access_keys(UserName="old")["AccessKeyMetadata"]
    there = named("new", store, moved=[{"from": "smtp_user/old", "to": "smtp_user/new"}])
    if "ssm" in store:
        house.settle(there)
    else:
        house.write(there)
        assert house.cli("plan", "state.yaml", "--out", "plan.json").code == 0
        ran = house.cli("apply", "plan.json")
        assert ran.code == 0, ran
        house.quiet()
    (kept,) = client("iam").list_access_keys(UserName="new")["AccessKeyMetadata"]
    assert kept["AccessKeyId"] == key["AccessKeyId"]
    assert [u["UserName"] for u in client("iam").list_users()["Users"]] == ["new"]
