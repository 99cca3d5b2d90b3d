"""`recon senders`: who may send, from an account that nobody declared."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support import ACCOUNT, HOME, OTHER, House, client

from reconciler import senders

TRUST = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}]})  # fmt: skip
SHOP = f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/shop.acme.com"
NEWS = f"arn:aws:ses:{HOME}:{ACCOUNT}:configuration-set/news"
LIMITED = {
    "Resource": [SHOP, NEWS],
    "Condition": {
        "StringLike": {"ses:FromAddress": "*@shop.acme.com"}, "IpAddress": {"aws:SourceIp": "203.0.113.0/24"}
    },
}  # fmt: skip
STORED = {"from_addresses": ["*@shop.acme.com"], "credentials": {"ssm": {"name": "/recon/news"}}}
STATE = {"domains": {"acme.com": {"zone": "manual"}}, "smtp_users": {"news": STORED}}


def policy(effect: str = "Allow", **more: Any) -> str:
    statement = {"Effect": effect, "Action": "ses:SendRawEmail", "Resource": "*", **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def add_user(name: str, document: str | None = None, *, key: bool = False, tags: dict[str, str] | None = None) -> str:
    """A user with an inline policy; returns its access key."""
    iam = client("iam")
    iam.create_user(UserName=name, Tags=[{"Key": k, "Value": v} for k, v in (tags or {}).items()])
    if document:
        iam.put_user_policy(UserName=name, PolicyName="send", PolicyDocument=document)
    return str(iam.create_access_key(UserName=name)["AccessKey"]["AccessKeyId"]) if key else ""


def add_role(name: str, document: str | None = None, managed: str | None = None) -> None:
    iam = client("iam")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    if document:
        iam.put_role_policy(RoleName=name, PolicyName="send", PolicyDocument=document)
    if managed:
        iam.attach_role_policy(RoleName=name, PolicyArn=f"arn:aws:iam::aws:policy/{managed}")


def identity_policy(name: str, principal: Any, **more: Any) -> None:
    document = policy(Action="ses:SendEmail", Principal=principal,
                      Resource=f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/acme.com", **more)  # fmt: skip
    client("sesv2").create_email_identity_policy(EmailIdentity="acme.com", PolicyName=name, Policy=document)


@pytest.fixture
def account(house: House) -> House:
    """The three paths of a mail: the API by a role, SMTP by a user, a stored copy of another user's password."""
    house.sandbox.seed(
        zones=[{"name": "acme.com"}], identities=[{"names": ["acme.com", "shop.acme.com"], "publish": True}]
    )
    client("sesv2").create_configuration_set(ConfigurationSetName="news")
    house.kept = {"key": add_user("old-app", key=True)}  # type: ignore[attr-defined]
    add_user("news", policy(**LIMITED), key=True, tags={"recon:stack": "acme"})
    iam = client("iam")
    iam.create_group(GroupName="AWSSESSendingGroupDoNotRename")
    iam.put_group_policy(GroupName="AWSSESSendingGroupDoNotRename", PolicyName="s", PolicyDocument=policy())
    iam.add_user_to_group(GroupName="AWSSESSendingGroupDoNotRename", UserName="old-app")
    add_role("crm", managed="AmazonSESFullAccess")
    add_role("admin", managed="AdministratorAccess")
    add_user("reader", policy(Action="s3:*"))
    house.clear()
    return house


def found(house: House, *options: str, code: int = 0) -> dict[str, Any]:
    ran = house.cli("senders", "--format", "json", *options)
    assert ran.code == code, ran
    return dict(json.loads(ran.out))


def by_name(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in document["senders"]}


def test_an_account_that_nobody_declared(account: House) -> None:
    client("sesv2", OTHER, account.kept["key"]).get_account()  # type: ignore[attr-defined]
    account.clear()
    document = found(account, "--no-state")
    assert (document["format_version"], document["stack"], document["account"]) == (1, None, ACCOUNT)
    senders = by_name(document)
    assert list(senders) == ["crm", "old-app", "news"], "what nothing declares comes first"
    assert senders["news"] | {"keys": [], "reasons": []} == {
        "arn": f"arn:aws:iam::{ACCOUNT}:user/news", "type": "user", "name": "news", "can_send": "yes",
        "declared_by": "acme", "from_addresses": ["*@shop.acme.com"], "identities": ["shop.acme.com"],
        "networks": ["203.0.113.0/24"], "configuration_sets": ["news"], "recipients": ["*"],
        "actions": ["ses:SendRawEmail"], "resources": [SHOP, NEWS], "ways": ["API", "SMTP"], "keys": [],
        "last_used": None, "used_by": [], "reasons": [],
    }  # fmt: skip
    (key,) = senders["old-app"]["keys"]
    assert (key["id"], key["status"], key["last_service"]) == (account.kept["key"], "Active", "ses")  # type: ignore[attr-defined]
    assert key["created"] and senders["old-app"]["last_used"] == key["last_used"] is not None
    assert (senders["old-app"]["from_addresses"], senders["old-app"]["networks"]) == (["*"], ["*"])
    assert (senders["crm"]["used_by"], senders["crm"]["ways"]) == (["lambda.amazonaws.com"], ["API"])
    assert [one["name"] for one in document["administrators"]] == ["admin"]
    assert account.writes() == []
    text = account.cli("senders", "--no-state").out
    assert text.splitlines()[0].startswith("2 of 3 senders"), text
    assert "user old-app, role crm" in text.splitlines()[0], "who sends now comes first"


def test_without_a_state_and_with_a_broken_one(account: House) -> None:
    assert "there is no state" in account.cli("senders").err
    (account.home / "state.yaml").write_text("domains: [", encoding="utf-8")
    ran = account.cli("senders", "state.yaml", "--check")
    assert (ran.code, "state.yaml cannot be used" in ran.err) == (2, True), ran


@pytest.mark.parametrize(
    ("more", "options", "code"),
    [
        ({}, (), 0),
        ({}, ("--check",), 2),
        ({"rules": {"sender-undeclared": "off"}}, ("--check",), 0),
        ({"waivers": ["*:role/crm", "*:user/old-app"]}, ("--check",), 0),
        ({"waivers": ["*:role/crm"]}, ("--check",), 2),
        ({"waivers": ["*"], "until": "2020-01-01"}, ("--check",), 2),
    ],
)
def test_the_check(account: House, more: dict[str, Any], options: tuple[str, ...], code: int) -> None:
    waivers = [
        {"rule": "sender-undeclared", "address": address, "reason": "known", "until": more.get("until", "2099-01-31")}
        for address in more.get("waivers", ())
    ]
    account.write(STATE | {k: v for k, v in more.items() if k == "rules"} | ({"waivers": waivers} if waivers else {}))
    document = found(account, "state.yaml", *options, code=code)
    errors = [d["address"] for d in document["diagnostics"] if d["code"] == "sender-undeclared"]
    assert bool(errors) is (code == 2)
    assert not any(arn.endswith(("/admin", "/news", "/reader")) for arn in errors)


def test_a_declared_sender_that_may_do_everything(account: House) -> None:
    """Somebody has attached a policy: that it is declared does not make it an administrator whom nobody asks about."""
    client("iam").put_user_policy(UserName="news", PolicyName="more", PolicyDocument=policy(Action="*", Resource="*"))
    account.write(STATE | {"waivers": [
        {"rule": "sender-undeclared", "address": f"*:{name}", "reason": "known", "until": "2099-01-31"}
        for name in ("role/crm", "user/old-app")]})  # fmt: skip
    document = found(account, "state.yaml", "--check", code=2)
    assert [one["name"] for one in document["administrators"]] == ["admin"]
    news = by_name(document)["news"]
    assert (news["declared_by"], news["from_addresses"]) == ("acme", ["*"])
    (error,) = [d for d in document["diagnostics"] if d["severity"] == "error"]
    assert (error["code"], error["address"]) == ("sender-undeclared", news["arn"])
    assert "is declared as a sender, but its policies allow everything" in error["message"]


def test_who_is_declared(account: House) -> None:
    add_user("left", policy(), tags={"recon:stack": "acme"})
    add_user("theirs", policy(), tags={"recon:stack": "other/production"})
    account.write(STATE)
    senders = by_name(found(account, "state.yaml"))
    declared = {name: one["declared_by"] for name, one in senders.items()}
    expected = {"news": "acme", "left": None, "theirs": "other/production", "old-app": None, "crm": None}
    assert declared == expected
    assert "it carries the tag of acme, whose YAML does not declare it" in senders["left"]["reasons"]


def test_consumers_of_the_yaml_are_named(account: House) -> None:
    account.write(STATE | {"smtp_users": {"news": {
        **STORED, "consumers": [{"name": "webmail send-as admin@", "note": "by hand"}]}}})  # fmt: skip
    assert by_name(found(account, "state.yaml"))["news"]["used_by"] == ["webmail send-as admin@"]


def test_unknown_is_not_no(account: House) -> None:
    add_role("org", policy(Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}}))
    add_user("locked", policy())
    client("iam").put_user_policy(UserName="locked", PolicyName="lock", PolicyDocument=policy("Deny", Action="*"))
    senders = by_name(found(account, "--no-state"))
    assert (senders["org"]["can_send"], senders["locked"]["can_send"]) == ("unknown", "no")
    assert "aws:PrincipalOrgID" in senders["org"]["reasons"][0]
    checked = found(account, "--no-state", "--check", code=2)
    notes = [d["severity"] for d in checked["diagnostics"] if d["address"] == f"arn:aws:iam::{ACCOUNT}:role/org"]
    assert notes == ["note"]


@pytest.mark.parametrize(
    ("principal", "names"),
    [
        ({"AWS": "arn:aws:iam::999900001111:root"}, ["arn:aws:iam::999900001111:root"]),
        ({"AWS": "999900001111"}, ["arn:aws:iam::999900001111:root"]),
        ({"AWS": ["arn:aws:iam::999900001111:user/x"]}, ["arn:aws:iam::999900001111:user/x"]),
        ("*", ["*"]),
        ({"Service": "cognito-idp.amazonaws.com"}, ["cognito-idp.amazonaws.com"]),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:user/reader"}, []),
    ],
)
def test_policies_of_identities(account: House, principal: Any, names: list[str]) -> None:
    identity_policy("partner", principal)
    document = found(account, "--no-state")
    external = [one for one in document["senders"] if one["type"] == "external"]
    assert [one["arn"] for one in external] == names
    assert all(one["identities"] == ["acme.com"] and one["can_send"] == "yes" for one in external)
    named_here = principal != "*" and not names
    assert ("reader" in by_name(document)) is (named_here or principal == "*")
    account.write({"domains": {"acme.com": {"zone": "manual", "policies": {"partner": {"Version": "2012-10-17",
                   "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "ses:SendEmail"}]}}}}})  # fmt: skip
    declared = [one["declared_by"] for one in found(account, "state.yaml")["senders"] if one["type"] == "external"]
    assert declared == ["acme"] * len(names)


def test_identities_beyond_the_number_are_named_unread(account: House) -> None:
    identity_policy("partner", {"AWS": "999900001111"})
    account.clear()
    document = found(account, "--no-state", "--identities", "1")
    assert len(account.sandbox.calls(operation="GetEmailIdentityPolicies")) == 1
    (note,) = [d for d in document["diagnostics"] if d["code"] == "identity-policies-not-read"]
    assert "shop.acme.com" in note["message"]
    everything = found(account, "--no-state", "--identities", "all")
    assert not [d for d in everything["diagnostics"] if d["code"] == "identity-policies-not-read"]
    assert account.cli("senders", "--no-state", "--identities", "many").code == 1


def test_who_may_give_the_right_is_named(account: House) -> None:
    add_user("helpdesk", policy(Action="iam:Create*"))
    add_user("tied", policy(Action="iam:*"))
    client("iam").put_user_policy(UserName="tied", PolicyName="no", PolicyDocument=policy("Deny", Action="iam:*"))
    document = found(account, "--no-state")
    (note,) = [d for d in document["diagnostics"] if d["code"] == "may-give-rights"]
    assert note["message"].endswith(": user helpdesk"), note
    assert "helpdesk" not in by_name(document)
    assert note["message"] in account.cli("senders", "--no-state").out


# --- what could not be read ----------------------------------------------------------------------------------------

UNREAD = {
    "everything": ("GetAccountAuthorizationDetails", "principals-unread", 1),
    "identities": ("ListEmailIdentities", "identities-unread", 1),
    "identity policies": ("GetEmailIdentityPolicies", "identity-policies-unread", 1),
    "sets": ("ListConfigurationSets", "sets-unread", 0),
    "keys": ("ListAccessKeys", "keys-unread", 0),
    "last use": ("GetAccessKeyLastUsed", "keys-unread", 0),
}


@pytest.mark.parametrize("name", UNREAD)
def test_unread_is_said(account: House, name: str) -> None:
    operation, code, exit_code = UNREAD[name]
    account.sandbox.fault(operation=operation, do="denied", count=99)
    document = found(account, "--no-state", code=exit_code)
    assert code in [d["code"] for d in document["diagnostics"]]
    hints = [d["hint"] for d in document["diagnostics"] if d["code"] == code]
    assert operation in hints[0]
    if name in {"keys", "last use"}:
        assert by_name(document)["old-app"]["keys"] is None
    if name == "everything":
        text = account.cli("senders", "--no-state")
        assert text.out.startswith(f"Who may send from account {ACCOUNT} could not be read."), text


def test_a_page_that_fails_makes_the_list_a_part(account: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.senders.reading._PAGE", 2)
    whole = found(account, "--no-state")
    account.clear()
    account.sandbox.fault(operation="GetAccountAuthorizationDetails", do="denied", contains="Marker", count=99)
    document = found(account, "--no-state", code=1)
    assert len(document["senders"]) < len(whole["senders"])
    (error,) = [d for d in document["diagnostics"] if d["code"] == "principals-unread"]
    assert error["message"].startswith("only a part"), error


def test_a_policy_that_the_bulk_read_lacks_is_read_alone_or_unknown(account: House) -> None:
    iam = client("iam")
    edge = iam.create_policy(PolicyName="edge", PolicyDocument=policy(Action="s3:*"))["Policy"]["Arn"]
    iam.put_user_permissions_boundary(UserName="old-app", PermissionsBoundary=edge)
    assert by_name(found(account, "--no-state"))["old-app"]["can_send"] == "no"
    aws = "arn:aws:iam::aws:policy/PowerUserAccess"
    iam.put_user_permissions_boundary(UserName="old-app", PermissionsBoundary=aws)
    assert by_name(found(account, "--no-state"))["old-app"]["can_send"] == "yes"
    account.sandbox.fault(operation="GetPolicy", do="denied", count=99)
    document = found(account, "--no-state", code=1)
    assert by_name(document)["old-app"]["can_send"] == "unknown"
    assert any("PowerUserAccess" in why for why in by_name(document)["old-app"]["reasons"])


# --- many ----------------------------------------------------------------------------------------------------------


def test_above_a_hundred_users_the_credential_report_is_read(
    account: House, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr("reconciler.senders.reading.MANY_USERS", 1)
    client("sesv2", access_key=account.kept["key"]).get_account()  # type: ignore[attr-defined]
    client("iam").generate_credential_report()
    add_user("new", policy(), key=True)
    account.clear()
    document = found(account, "--no-state")
    assert not account.sandbox.calls(operation="ListAccessKeys")
    (key,) = by_name(document)["old-app"]["keys"]
    assert (key["id"], key["status"], key["last_service"], key["last_region"]) == (None, "Active", "ses", HOME)
    assert document["credential_report"] in next(
        d["message"] for d in document["diagnostics"] if d["code"] == "credential-report"
    )
    assert by_name(document)["new"]["keys"] is None, "the report is older than the user"
    assert document["credential_report"] in account.cli("senders", "--no-state").out


def test_a_report_that_is_being_made_is_waited_for(account: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.senders.reading.MANY_USERS", 1)
    monkeypatch.setattr("reconciler.senders.reading.REPORT_SECONDS", 0.0)
    account.sandbox.settings(report_delay=3600)
    document = found(account, "--no-state")
    assert by_name(document)["old-app"]["keys"] is None
    assert any("has not finished" in d["message"] for d in document["diagnostics"])
    monkeypatch.setattr("reconciler.senders.reading.REPORT_SECONDS", 60.0)
    account.sandbox.advance(3600)
    assert by_name(found(account, "--no-state"))["old-app"]["keys"]


@pytest.mark.slow
def test_two_thousand_principals(house: House) -> None:
    from reconciler.sandbox.iam_state import IamState, Role, User

    state = house.sandbox._server.gateway.world.current("iam", ACCOUNT, "", IamState)
    for number in range(2000):
        name = f"app-{number:04}"
        user = User(name, f"AIDA{number:016}", "/", 0.0)
        user.policies["p"] = policy(Condition={"StringLike": {"ses:FromAddress": f"*@{name}.acme.com"}})
        state.users[name] = user
        state.roles[f"r-{name}"] = Role(
            f"r-{name}", f"AROA{number:016}", "/", 0.0, TRUST, policies={"p": policy(Action="s3:*")}
        )
    house.clear()
    document = found(house, "--no-state")
    assert len(document["senders"]) == 2000
    assert document["senders"][7]["from_addresses"] == ["*@app-0007.acme.com"]
    assert len(house.sandbox.calls()) < 20


# --- formats -------------------------------------------------------------------------------------------------------


def test_the_page_draws_the_paths(account: House) -> None:
    identity_policy("partner", {"AWS": "999900001111"})
    page = account.cli("senders", "--no-state", "--format", "html").out
    assert "default-src 'none'" in page
    assert not re.search(r"(?:src|href)=\"(?!#)", page), "nothing is loaded from elsewhere"
    drawing = page[page.index("<svg") : page.rindex("</svg>")]
    for box in ("user old-app", "role crm", "through SES SMTP", "through SES API", "identity shop.acme.com",
                "configuration set news", "may assume it lambda.amazonaws.com"):  # fmt: skip
        assert f"<title>{box}</title>" in drawing, box
    assert drawing.count('<path class="edge"') >= 10


def test_hostile_names_are_inert_in_every_format(account: House) -> None:
    client("sesv2").create_configuration_set(ConfigurationSetName="x")
    pattern = "<script>alert(1)</script>\x1b[31m|::error::@acme.com"
    add_user("evil", policy(Condition={"StringLike": {"ses:FromAddress": pattern}}))
    for format in ("text", "markdown", "html"):
        out = account.cli("senders", "--no-state", "-v", "--format", format).out
        assert format == "text" or "<script>alert" not in out.replace("&#8203;", "")
        assert "\x1b" not in out
        assert "\n::error" not in out


def test_markdown_has_a_table(account: House) -> None:
    out = account.cli("senders", "--no-state", "--format", "markdown").out
    assert out.startswith("**2 of 3 senders")
    assert "| `user old-app` | yes | nobody | any address | anywhere |" in out


def test_the_policy_of_the_page_is_enough(account: House) -> None:
    text = (Path(__file__).parent.parent / "docs" / "permissions.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- policy for senders -->\n```json\n(.*?)\n```", text, re.DOTALL)
    assert shown
    account.sandbox.principal("AKIAONCALL", policies=[json.loads(shown[1])])
    ran = account.process(
        "senders", "--no-state", "--format", "json", "--identities", "all", AWS_ACCESS_KEY_ID="AKIAONCALL"
    )
    assert ran.code == 0, ran
    assert len(json.loads(ran.out)["senders"]) == 3
    assert {c["service"].replace("sesv2", "ses") + ":" + c["operation"] for c in account.sandbox.calls()} <= {
        *(read.replace("sesv2", "ses") for read in senders.READS), "sts:GetCallerIdentity"
    }  # fmt: skip
