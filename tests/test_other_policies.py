"""What the policies of others give an SMTP user or take from it: the rules smtp-wider and smtp-denied, smtp verify, the
doctor, and the size of all inline policies together."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from support import ACCOUNT, HOME, House, client

IDENTITY = f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/acme.com"
USER: dict[str, Any] = {
    "from_addresses": ["*@acme.com"],
    "source_ips": ["203.0.113.0/24"],
    "identities": ["acme.com"],
    "credentials": {"secretsmanager": {"name": "recon/news"}},
}
STATE = {"domains": {"acme.com": {"zone": "manual"}}, "smtp_users": {"news": USER}}
SAME = {
    "Action": "ses:SendRawEmail",
    "Resource": IDENTITY,
    "Condition": {"StringLike": {"ses:FromAddress": "*@acme.com"}, "IpAddress": {"aws:SourceIp": "203.0.113.0/24"}},
}


def document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*", **s} for s in statements]}


class Case(NamedTuple):
    """Statements of one other policy, and what is said of it; empty where nothing is."""

    name: str
    statements: list[dict[str, Any]]
    wider: str = ""
    denied: str = ""


DENY = {"Effect": "Deny", "Action": "ses:SendRawEmail"}
CASES = [
    Case("S3 only", [{"Action": "s3:*"}]),
    Case("reading SES", [{"Action": ["ses:Get*", "ses:List*"]}]),
    Case("the same as ours", [SAME]),
    Case("the same in other words", [{**SAME, "Action": ["SES:sendrawemail"], "Resource": [IDENTITY]}]),
    Case("less than ours", [{**SAME, "Condition": {
        **SAME["Condition"], "IpAddress": {"aws:SourceIp": "203.0.113.7"}}}]),
    Case("everything but SES", [{"NotAction": "ses:*"}]),
    Case("a resource that is no identity of ours", [{"Action": "ses:*", "Resource": "arn:aws:s3:::bucket/*"}]),
    Case("any sender", [{"Action": "ses:SendRawEmail"}], wider="as anybody, from anywhere"),
    Case("all of SES", [{"Action": "ses:*"}], wider="as anybody, from anywhere"),
    Case("everything", [{"Action": "*"}], wider="as anybody, from anywhere"),
    Case("a wildcard in the action", [{"Action": "ses:Send*"}], wider="ses:SendEmail"),
    Case("NotAction", [{"NotAction": "iam:*"}], wider="as anybody, from anywhere"),
    Case("NotResource", [{"Action": "ses:SendRawEmail", "NotResource": "arn:aws:s3:::*"}], wider="as anybody"),
    Case("another address", [{**SAME, "Condition": {
        **SAME["Condition"], "StringLike": {"ses:FromAddress": "*@other.com"}}}], wider="as *@other.com"),
    Case("another network", [{**SAME, "Condition": {
        **SAME["Condition"], "IpAddress": {"aws:SourceIp": "198.51.100.0/24"}}}], wider="network 198.51.100.0/24"),
    Case("another identity", [{**SAME, "Resource": IDENTITY.replace("acme.com", "shop.com")}], wider="shop.com"),
    Case("any sender, and a Deny of it", [{"Action": "ses:SendRawEmail"}, {**DENY, "Condition": {
        "StringNotLike": {"ses:FromAddress": "*@acme.com"}}}, {**DENY, "NotResource": IDENTITY}, {**DENY, "Condition": {
            "NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}}]),
    Case("a Deny of another action", [{"Effect": "Deny", "Action": "ses:DeleteIdentity"}]),
    Case("a Deny of another identity", [{**DENY, "Resource": IDENTITY.replace("acme.com", "shop.com")}]),
    Case("a Deny of another address", [{**DENY, "Condition": {"StringLike": {"ses:FromAddress": "*@other.com"}}}]),
    Case("a Deny of sending", [DENY], denied="denies it to send"),
    Case("a Deny with a wildcard", [{**DENY, "Action": "ses:Send*"}], denied="denies it to send"),
    Case("a Deny of everything", [{**DENY, "Action": "*"}], denied="denies it to send"),
    Case("a Deny by NotAction", [{"Effect": "Deny", "NotAction": "s3:*"}], denied="denies it to send"),
    Case("a Deny of the identity", [{**DENY, "Resource": IDENTITY}], denied="denies it to send"),
    Case("a Deny by NotResource", [{"Effect": "Deny", "Action": "ses:*", "NotResource": "arn:aws:s3:::*"}],
         denied="denies it to send"),
    Case("a Deny of the address", [{**DENY, "Condition": {"StringLike": {"ses:FromAddress": "*@acme.com"}}}],
         denied="denies it to send"),
    Case("a Deny of other networks", [{**DENY, "Condition": {"NotIpAddress": {"aws:SourceIp": "198.51.100.0/24"}}}],
         denied="denies it to send"),
]  # fmt: skip


def drop(document: dict[str, Any]) -> dict[str, Any]:
    """NotResource takes the place of Resource."""
    for statement in document["Statement"]:
        if "NotResource" in statement:
            del statement["Resource"]
    return document


def add(how: str, policy: dict[str, Any]) -> None:
    """Give the user a policy: in its own list, attached, or through a group with an inline or attached one."""
    iam, text = client("iam"), json.dumps(policy)
    if how == "inline policy":
        iam.put_user_policy(UserName="news", PolicyName="theirs", PolicyDocument=text)
        return
    if how == "attached policy":
        iam.attach_user_policy(
            UserName="news", PolicyArn=iam.create_policy(PolicyName="theirs", PolicyDocument=text)["Policy"]["Arn"]
        )
        return
    iam.create_group(GroupName="theirs")
    if how == "group":
        iam.put_group_policy(GroupName="theirs", PolicyName="inner", PolicyDocument=text)
    else:
        arn = iam.create_policy(PolicyName="inner", PolicyDocument=text)["Policy"]["Arn"]
        iam.attach_group_policy(GroupName="theirs", PolicyArn=arn)
    iam.add_user_to_group(GroupName="theirs", UserName="news")


def findings(house: House) -> dict[str, str]:
    report = house.cli("plan", "state.yaml", "--format", "json").json
    rules = ("smtp-wider", "smtp-denied")
    notes = [(n["rule"], n["message"]) for c in report["changes"] for n in c["notes"]]
    found = [(d["code"], d["message"]) for d in report["diagnostics"]] + notes
    return {rule: message for rule, message in found if rule in rules}


def settled(house: House) -> None:
    house.once("other policies", lambda: house.settle(STATE))
    house.write(STATE)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_a_policy_really_allows(house: House, case: Case) -> None:
    settled(house)
    add("inline policy", drop(document(*case.statements)))
    found = findings(house)
    assert set(found) == {rule for rule, said in (("smtp-wider", case.wider), ("smtp-denied", case.denied)) if said}
    assert case.wider in found.get("smtp-wider", "")
    assert case.denied in found.get("smtp-denied", "")


@pytest.mark.parametrize("how", ["inline policy", "attached policy", "group", "group with an attached policy"])
@pytest.mark.parametrize(("action", "rule"), [("Allow", "smtp-wider"), ("Deny", "smtp-denied")])
def test_wherever_a_policy_stands(house: House, how: str, action: str, rule: str) -> None:
    settled(house)
    add(how, document({"Effect": action, "Action": "ses:*"}))
    (found,) = findings(house).items()
    assert found[0] == rule
    assert f"the {how.split(' with')[0]} " in found[1]


def test_a_policy_that_could_not_be_read_is_no_finding(house: House) -> None:
    settled(house)
    client("iam").create_group(GroupName="theirs")
    client("iam").add_user_to_group(GroupName="theirs", UserName="news")
    assert findings(house) == {}


def test_doctor_and_verify_say_what_a_deny_does(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from reconciler.smtp import verify

    settled(house)
    monkeypatch.setattr(verify, "log_in", lambda *given, **more: verify.Verdict(verify.HEALTHY, "logged in"))
    healthy = house.cli("smtp", "verify", "news", "state.yaml", "--format", "json")
    assert (healthy.code, healthy.json["logins"][0]["verdict"]) == (0, "healthy")
    add("inline policy", document(DENY))
    ran = house.cli("smtp", "verify", "news", "state.yaml", "--format", "json")
    assert (ran.code, ran.json["logins"][0]["verdict"]) == (2, "policy")
    assert "the inline policy theirs denies it to send" in ran.json["logins"][0]["message"]
    checks = house.cli("doctor", "acme.com", "state.yaml", "--no-dns", "--format", "json").json["checks"]
    assert any(c["layer"] == "smtp" and c["status"] == "found" and "denies it to send" in c["message"] for c in checks)


def fill(spare: int) -> None:
    """Another inline policy, so that all of the user's together have ``spare`` characters less than IAM takes."""
    own = client("iam").get_user_policy(UserName="news", PolicyName="recon-smtp")["PolicyDocument"]
    empty = document({"Action": "s3:GetObject", "Resource": ""})
    taken = sum(len("".join(json.dumps(one, separators=(",", ":")).split())) for one in (own, empty))
    add("inline policy", document({"Action": "s3:GetObject", "Resource": "x" * (2048 - spare - taken)}))


@pytest.mark.parametrize(("spare", "fits"), [(100, True), (16, True), (15, False), (0, False)])
def test_all_inline_policies_together_must_fit(house: House, spare: int, fits: bool) -> None:
    settled(house)
    fill(spare)
    assert house.cli("drift", "state.yaml").code == 0, "what is as declared is no difference, however long"
    more = [*USER["from_addresses"], "news@acme.com"]  # with quotation marks and a comma 16 characters
    house.write({**STATE, "smtp_users": {"news": {**USER, "from_addresses": more}}})
    ran = house.cli("plan", "state.yaml", "--format", "json", "--detailed-exitcode")
    (change,) = [c for c in ran.json["changes"] if c["kind"] == "smtp_user"]
    assert ran.code == (2 if fits else 3)
    assert (change["refused"] or {}).get("code") == (None if fits else "policy-too-long")
    house.clear()
    assert house.cli("apply", "state.yaml", "--auto-approve").code == (0 if fits else 3)
    assert bool(house.writes()) == fits
