"""Sending roles: who may use them, what they may send, and their instance profiles."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import ACCOUNT, HOME, OTHER, House, client, lines, put

STATE = "state.yaml"
ADDRESS = "sending_role/blast"
ANYTHING = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ses:*","Resource":"*"}]}'
GITHUB = "token.actions.githubusercontent.com"


def role(trust: dict[str, Any] | None = None, **values: Any) -> dict[str, Any]:
    entry = {"trust": trust or {"service": "lambda.amazonaws.com"}, "from_addresses": ["*@acme.com"], **values}
    return {"sending_roles": {"blast": entry}}


EC2 = role({"service": "ec2.amazonaws.com"})


def trusting(service: str, **more: Any) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole", **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def live(name: str = "blast") -> dict[str, Any]:
    found: dict[str, Any] = client("iam").get_role(RoleName=name)["Role"]
    return found


def policy(name: str = "recon-send") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client("iam").get_role_policy(RoleName="blast", PolicyName=name)["PolicyDocument"][
        "Statement"
    ]
    return found


def profile() -> dict[str, Any]:
    found: dict[str, Any] = client("iam").get_instance_profile(InstanceProfileName="blast")["InstanceProfile"]
    return found


def codes(house: House, document: dict[str, Any] | None = None) -> set[str]:
    plan = house.plan(document)
    return {d.code for d in plan.diagnostics} | {note.rule for change in plan.changes for note in change.notes}


@pytest.mark.parametrize(
    ("service", "says"),
    [("lambda.amazonaws.com", True), ("ecs-tasks.amazonaws.com", True), ("ec2.amazonaws.com", False)],
)
def test_a_service_that_says_its_account_is_held_to_it(house: House, service: str, says: bool) -> None:
    house.settle(role({"service": service}))
    (statement,) = live()["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": service}
    assert statement["Action"] == "sts:AssumeRole"
    assert statement.get("Condition") == ({"StringEquals": {"aws:SourceAccount": [ACCOUNT]}} if says else None)
    if says:
        house.settle(role({"service": service, "conditions": {}}))
        assert "Condition" not in live()["AssumeRolePolicyDocument"]["Statement"][0]


@pytest.mark.parametrize(
    ("subject", "says"),
    [
        ("*", "subject-of-anybody"),
        ("repo:*", "subject-of-anybody"),
        ("repo:acme*", "subject-of-anybody"),
        ("repo:?cme/app:ref:refs/heads/main", "subject-of-anybody"),
        (["repo:acme/app:ref:refs/heads/main", "*"], "subject-of-anybody"),
        (["repo:acme/app:ref:refs/heads/main", "repo:*"], "subject-of-anybody"),
        ([], "missing-subject"),
        (None, "missing-subject"),
        ("repo:acme/app", "bad-subject"),
        ("repo:acme@1/app:ref:refs/heads/main", "bad-subject"),
        ("repo:acme/app:*", "role-wide-subject"),
        ("repo:acme/*", "role-wide-subject"),
        ("repo:acme@1/app@2:*", "role-wide-subject"),
        ("repo:acme/app:ref:refs/heads/*", "role-wide-subject"),
        ("repo:acme/app:ref:refs/heads/main", "role-name-recycled"),
        ("repo:acme/app:ref:refs/heads/release-*", "role-name-recycled"),
        ("repo:acme@1/app@2:ref:refs/heads/main", ""),
        (["repo:acme/app:environment:production", "repo:acme@1/app@2:environment:production"], ""),
    ],
)
def test_who_a_subject_lets_in(house: House, subject: Any, says: str) -> None:
    oidc = {"provider": GITHUB, **({} if subject is None else {"subject": subject})}
    house.write(role({"oidc": oidc}))
    refused = says.startswith(("subject", "missing", "bad"))
    ran = house.cli("validate", STATE)
    assert ran.code == int(refused), ran
    if refused:
        assert f"[{says}]" in ran.err
        return
    found = {code for code in codes(house) if code.startswith("role-")}
    assert found - {"role-from-unverified"} == ({says} if says else set()) | (
        {"role-name-recycled"} if says == "role-wide-subject" and "@" not in str(subject) else set()
    )
    house.settle()
    (statement,) = live()["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Principal"] == {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{GITHUB}"}
    conditions = statement["Condition"]
    assert conditions["StringEquals"][f"{GITHUB}:aud"] == "sts.amazonaws.com"
    assert f"{GITHUB}:sub" in conditions["StringLike" if "*" in str(subject) else "StringEquals"]


def test_an_instance_profile_is_made_owned_healed_and_deleted_with_its_role(house: House) -> None:
    house.settle(EC2)
    assert profile()["Roles"][0]["RoleName"] == "blast"
    assert {"Key": "recon:stack", "Value": "acme"} in profile()["Tags"]
    writes = [call for call in house.writes() if not call.startswith("sts:")]
    assert not writes, "a second apply writes nothing"
    iam = client("iam")
    iam.remove_role_from_instance_profile(InstanceProfileName="blast", RoleName="blast")
    (change,) = house.plan().changes
    assert lines(change) == {"instance_profile": (None, "blast")}
    house.settle()
    iam.untag_instance_profile(InstanceProfileName="blast", TagKeys=["recon:stack"])
    assert house.plan().changes[0].claims
    house.settle()
    house.settle(role())
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        profile()
    assert not any(tag["Key"] == "recon:parts" for tag in live()["Tags"])
    house.settle(EC2)
    house.settle({})
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        profile()


def test_an_instance_profile_of_others(house: House) -> None:
    iam = client("iam")
    iam.create_instance_profile(InstanceProfileName="blast")
    house.settle(EC2)
    assert profile()["Roles"], "one of nobody is taken"
    house.settle({"released": ["sending_roles.blast"]})
    assert "Tags" not in profile()
    assert "profile-in-use" not in codes(house, EC2)
    iam.remove_role_from_instance_profile(InstanceProfileName="blast", RoleName="blast")
    iam.create_role(RoleName="other", AssumeRolePolicyDocument=trusting("ec2.amazonaws.com"))
    iam.add_role_to_instance_profile(InstanceProfileName="blast", RoleName="other")
    assert "profile-in-use" in codes(house, EC2)
    iam.remove_role_from_instance_profile(InstanceProfileName="blast", RoleName="other")
    iam.tag_instance_profile(InstanceProfileName="blast", Tags=[{"Key": "recon:stack", "Value": "theirs"}])
    assert "owned-elsewhere" in codes(house, EC2)


def test_a_role_in_the_instance_profile_of_others_is_not_deleted(house: House) -> None:
    house.settle(role())
    iam = client("iam")
    iam.create_instance_profile(InstanceProfileName="theirs")
    iam.add_role_to_instance_profile(InstanceProfileName="theirs", RoleName="blast")
    plan = house.plan({})
    assert plan.outcome == "refused"
    assert "delete-blocked" in {d.code for d in plan.diagnostics}
    iam.remove_role_from_instance_profile(InstanceProfileName="theirs", RoleName="blast")
    house.settle()


def test_what_others_added_goes_with_a_role_and_is_shown_with_its_last_use(house: House) -> None:
    house.settle(role())
    iam = client("iam")
    arn = iam.create_policy(PolicyName="more", PolicyDocument=ANYTHING)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="blast", PolicyArn=arn)
    iam.put_role_policy(RoleName="blast", PolicyName="theirs", PolicyDocument=ANYTHING)
    assert "role-wider" in codes(house, role())
    world = house.sandbox._server.gateway.world
    ((_, _, state),) = world.each("iam")
    state.roles["blast"].used = (world.clock.now(), HOME)
    (change,) = house.plan({}).changes
    assert change.before is not None
    assert change.before["inline_policies"] == ["theirs"]
    assert change.before["attached_policies"] == [arn]
    assert {note.rule for note in change.notes} == {"role-deleted", "role-in-use", "role-holds-more"}
    house.settle()


def test_description_and_duration_are_always_sent(house: House) -> None:
    """IAM puts the duration back to an hour where a call leaves it out."""
    house.settle(role(description="one"))
    client("iam").update_role(RoleName="blast", Description="one", MaxSessionDuration=7200)
    house.settle(role(description="two"))
    assert (live()["Description"], live()["MaxSessionDuration"]) == ("two", 7200)
    house.settle(role(description=None, max_session_duration=None))
    assert (live().get("Description", ""), live()["MaxSessionDuration"]) == ("", 3600)


def test_mail_in_bulk_has_a_statement_without_the_from_address(house: House) -> None:
    document = role(actions=["SendEmail", "SendBulkEmail"], identities=["acme.com"], configuration_sets=["marketing"])
    document["domains"] = {"acme.com": {"zone": "manual", "configuration_set_name": "tx"}}
    document["configuration_sets"] = {"tx": {}, "marketing": {}}
    assert "role-bulk-from" in codes(house, document)
    house.settle(document)
    one, bulk = sorted(policy(), key=lambda statement: statement["Sid"])
    base = f"arn:aws:ses:{HOME}:{ACCOUNT}"
    assert one["Action"] == ["ses:SendEmail"]
    assert one["Condition"] == {"StringLike": {"ses:FromAddress": ["*@acme.com"]}}
    assert bulk["Action"] == ["ses:SendBulkEmail"]
    assert "Condition" not in bulk
    assert one["Resource"] == bulk["Resource"] == [
        f"{base}:identity/acme.com", f"{base}:configuration-set/marketing", f"{base}:configuration-set/tx",
        f"arn:aws:ses:*:{ACCOUNT}:template/*",
    ]  # fmt: skip


@pytest.mark.parametrize("section", ["smtp_users", "sending_roles"])
def test_a_missing_boundary_is_found_by_the_plan(house: House, section: str) -> None:
    missing = f"arn:aws:iam::{ACCOUNT}:policy/none"
    user = {"from_addresses": ["*"], "credentials": {"secretsmanager": {"name": "recon/a"}}}
    entry = user if section == "smtp_users" else role()["sending_roles"]["blast"]
    house.settle({section: {"a": entry}})
    bounded = {section: {name: {**entry, "permissions_boundary": missing} for name in ("a", "b")}}
    if section == "smtp_users":
        bounded = put(bounded, (section, "b", "credentials"), {"secretsmanager": {"name": "recon/b"}})
    plan = house.plan(bounded)
    refused = {
        change.address for change in plan.changes if change.refused and change.refused.code == "missing-boundary"
    }
    assert len(refused) == 2
    client("iam").create_policy(PolicyName="none", PolicyDocument=ANYTHING)
    house.settle()
    house.clear()
    house.plan()
    assert "iam:GetPolicy" not in house.calls(), "what somebody has as a boundary exists"


def test_a_role_made_by_hand_is_imported_and_adopted_as_it_is(house: House) -> None:
    iam = client("iam")
    statement = {
        "Effect": "Allow", "Action": ["ses:SendEmail", "ses:SendRawEmail"], "Resource": "*",
        "Condition": {"StringLike": {"ses:FromAddress": "news@acme.com"}},
    }  # fmt: skip
    send = json.dumps({"Version": "2012-10-17", "Statement": statement})
    iam.create_role(RoleName="blast", Path="/service-role/", AssumeRolePolicyDocument=trusting("lambda.amazonaws.com"))
    iam.put_role_policy(RoleName="blast", PolicyName="send", PolicyDocument=send)
    iam.create_role(RoleName="admin", AssumeRolePolicyDocument=trusting("lambda.amazonaws.com"))
    iam.put_role_policy(RoleName="admin", PolicyName="all", PolicyDocument=ANYTHING.replace("ses:*", "*"))
    iam.create_role(RoleName="mixed", AssumeRolePolicyDocument=trusting("lambda.amazonaws.com"))
    iam.put_role_policy(RoleName="mixed", PolicyName="all", PolicyDocument=ANYTHING)
    ran = house.cli("import", "--stack", "acme", "--region", HOME, "--out", "live.yaml")
    assert ran.code == 0, ran
    text = (house.home / "live.yaml").read_text(encoding="utf-8")
    assert "trust: {service: lambda.amazonaws.com, conditions: {}}" in text
    assert "from_addresses: [news@acme.com]" in text
    assert "sending_role/mixed" in text, "what an entry cannot say is a comment"
    assert "admin" not in text
    planned = house.cli("plan", "live.yaml", "--format", "json").json["changes"]
    assert [(c["address"], c["action"]) for c in planned] == [(ADDRESS, "adopt")]
    assert all(d["path"].startswith("tags.recon:") for d in planned[0]["diff"])
    assert house.cli("apply", "live.yaml", "--auto-approve", "--allow-adopt").code == 0
    assert house.cli("plan", "live.yaml", "--detailed-exitcode").code == 0
    (house.home / "live.yaml").write_text(text.replace("news@", "letters@"), encoding="utf-8")
    assert house.cli("apply", "live.yaml", "--auto-approve").code == 0
    assert "letters@acme.com" in str(policy("send")), "the policy that was there is the one that is changed"
    assert iam.list_role_policies(RoleName="blast")["PolicyNames"] == ["send"]


def test_a_state_without_roles_costs_no_further_call(house: House) -> None:
    user = {"from_addresses": ["*"], "credentials": {"secretsmanager": {"name": "recon/a"}}}
    house.settle({"smtp_users": {"a": user}, **role()})
    house.settle({"smtp_users": {"a": user}})
    house.clear()
    house.plan()
    calls = house.sandbox.calls()
    read = [call["params"]["Filter"] for call in calls if call["operation"] == "GetAccountAuthorizationDetails"]
    assert read == [["User", "Role"]]
    assert not [call for call in calls if "Role" in call["operation"] and call["service"] == "iam"]


def test_a_role_of_the_state_may_use_another(house: House) -> None:
    """IAM takes no principal that does not exist: it is made first."""
    document = role({"principals": [f"arn:aws:iam::{ACCOUNT}:role/zed"]})
    document["sending_roles"]["zed"] = role()["sending_roles"]["blast"]
    plan = house.plan(document)
    assert {c.address: c.depends_on for c in plan.changes}[ADDRESS] == ("sending_role/zed",)
    house.settle()


def arn_of(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def test_a_role_that_trusts_itself_trusts_nobody_until_it_is_there(house: House) -> None:
    house.sandbox.fault("denied", service="iam", operation="UpdateAssumeRolePolicy")
    house.write(role({"principals": [arn_of("blast"), ACCOUNT]}))
    assert house.cli("apply", STATE, "--auto-approve").code == 1
    writes = [call["params"] for call in house.sandbox.calls() if call["operation"] == "CreateRole"]
    assert [json.loads(one["AssumeRolePolicyDocument"])["Statement"][0]["Effect"] for one in writes] == ["Deny"]
    house.settle()
    (statement,) = live()["AssumeRolePolicyDocument"]["Statement"]
    assert arn_of("blast") in statement["Principal"]["AWS"]


def test_roles_that_trust_each_other_are_bad_input(house: House) -> None:
    document = role({"principals": [arn_of("zed")]})
    document["sending_roles"]["zed"] = role({"principals": [ACCOUNT, arn_of("yak")]})["sending_roles"]["blast"]
    document["sending_roles"]["yak"] = role({"principals": [arn_of("blast")]})["sending_roles"]["blast"]
    document["sending_roles"]["own"] = role({"principals": [arn_of("own")]})["sending_roles"]["blast"]
    house.write(document)
    ran = house.cli("validate", STATE, "--format", "json")
    assert ran.code == 1
    wrong = [d for d in ran.json["diagnostics"] if d["severity"] == "error"]
    assert all(d["code"] == "circular-trust" and d["file"] and d["line"] for d in wrong)
    places = {(d["address"], d["message"].partition(":")[0]) for d in wrong}
    assert places == {
        ("sending_role/blast", "sending_roles.blast.trust.principals.0"),
        ("sending_role/zed", "sending_roles.zed.trust.principals.1"),
        ("sending_role/yak", "sending_roles.yak.trust.principals.0"),
    }


def test_what_is_left_of_a_role_that_somebody_has_deleted(house: House) -> None:
    """Its instance profile is found by its tag, also by a stack that is elsewhere; with another role it stays."""
    iam = client("iam")

    def vanish() -> None:
        iam.remove_role_from_instance_profile(InstanceProfileName="blast", RoleName="blast")
        iam.delete_role_policy(RoleName="blast", PolicyName="recon-send")
        iam.delete_role(RoleName="blast")

    house.settle(EC2)
    vanish()
    (change,) = house.plan({"stack": {"regions": [OTHER]}}).changes
    assert (change.address, change.action, [n.rule for n in change.notes]) == (ADDRESS, "delete", ["role-gone"])
    house.settle()
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        profile()
    house.settle(EC2)
    vanish()
    house.settle()
    assert profile()["Roles"][0]["RoleName"] == "blast", "a declared one is made anew, and takes its profile"
    vanish()
    house.settle({"released": ["sending_roles.blast"]})
    assert "Tags" not in profile()
    iam.tag_instance_profile(InstanceProfileName="blast", Tags=[{"Key": "recon:stack", "Value": "acme"}])
    iam.create_role(RoleName="theirs", AssumeRolePolicyDocument=trusting("ec2.amazonaws.com"))
    iam.add_role_to_instance_profile(InstanceProfileName="blast", RoleName="theirs")
    plan = house.plan({})
    assert not plan.changes
    assert ("left", ADDRESS) in {(d.code, d.address) for d in plan.diagnostics}


def test_drift_names_who_changed_a_role_and_senders_knows_it_as_declared(house: House) -> None:
    house.settle(role())
    client("iam").update_assume_role_policy(RoleName="blast", PolicyDocument=trusting("ec2.amazonaws.com"))
    ran = house.cli("drift", STATE, "--format", "json")
    assert ran.code == 2
    (change,) = ran.json["changes"]
    assert {d["path"].split(".")[0] for d in change["diff"]} == {"trust"}
    assert "UpdateAssumeRolePolicy" in json.dumps(ran.json)
    senders = house.cli("senders", STATE, "--format", "json").json["senders"]
    assert [(s["type"], s["declared_by"]) for s in senders] == [("role", "acme")]


def test_a_role_does_not_move_to_another_path(house: House) -> None:
    house.settle(role(path="/mail/"))
    assert live()["Path"] == "/mail/"
    assert "path-fixed" in codes(house, role(path="/other/"))
    assert not house.plan(role()).changes


def test_a_profile_that_another_stack_has_taken_is_never_deleted(house: House) -> None:
    """Not even where the role's own tag still names one: the plan does not show it."""
    iam = client("iam")
    house.settle(EC2)
    iam.tag_instance_profile(InstanceProfileName="blast", Tags=[{"Key": "recon:stack", "Value": "another"}])
    house.apply(role())
    assert profile()["InstanceProfileName"] == "blast"
    assert not house.plan().changes


def test_a_role_in_its_own_profile_is_adopted_whatever_its_trust_says(house: House) -> None:
    iam = client("iam")
    allow = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com", "AWS": f"arn:aws:iam::{ACCOUNT}:root"}}
    document = {"Version": "2012-10-17", "Statement": [{**allow, "Action": "sts:AssumeRole"}]}
    iam.create_role(RoleName="blast", AssumeRolePolicyDocument=json.dumps(document))
    iam.create_instance_profile(InstanceProfileName="blast")
    iam.add_role_to_instance_profile(InstanceProfileName="blast", RoleName="blast")
    house.settle(EC2)


def test_what_several_kinds_need_is_asked_once(house: House) -> None:
    """The account's status for its settings, the quota alarm and the rules; policies for users and roles."""
    iam = client("iam")
    arn = iam.create_policy(PolicyName="more", PolicyDocument=ANYTHING)["Policy"]["Arn"]
    house.apply({
        **role(),
        "account": {"suppression_attributes": {"suppressed_reasons": ["BOUNCE"]}},
        "cloudwatch_alarms": {"quota": {"preset": "quota"}},
        "smtp_users": {"news": {"from_addresses": ["*"], "credentials": {"secretsmanager": {"name": "news"}}}},
    })  # fmt: skip
    iam.attach_role_policy(RoleName="blast", PolicyArn=arn)
    iam.create_group(GroupName="all")
    iam.add_user_to_group(GroupName="all", UserName="news")
    for command in (("plan", STATE), ("import", "--stack", "acme", "--region", HOME)):
        house.clear()
        assert house.cli(*command).code == 0
        calls = house.calls()
        assert calls.count("iam:GetAccountAuthorizationDetails") == 2, command
        assert calls.count("sesv2:GetAccount") <= 1, command
