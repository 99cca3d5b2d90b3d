"""What IAM policies allow: one request, and all that a principal may send."""

from __future__ import annotations

import json
import random
import time
from functools import partial
from itertools import product
from typing import Any
from urllib.parse import quote

import pytest

from reconciler.policy_evaluation import Policies, Principal, Reach, about, evaluate, may_send, parsed, reach, sending

ACCOUNT = "111122223333"
USER = Principal(f"arn:aws:iam::{ACCOUNT}:user/news", "user", ACCOUNT, "news", "AIDA1", {"team": "mail"}, "2026-11-29")
ROLE = Principal(f"arn:aws:iam::{ACCOUNT}:role/blast", "role", ACCOUNT, "blast", "AROA1", {}, "2026-11-29T00:00:00Z")
ACME = f"arn:aws:ses:us-east-1:{ACCOUNT}:identity/acme.com"
SHOP = f"arn:aws:ses:us-east-1:{ACCOUNT}:identity/shop.acme.com"
NEWS = f"arn:aws:ses:us-east-1:{ACCOUNT}:configuration-set/news"
FROM, IP = "ses:FromAddress", "aws:SourceIp"


def allow(action: Any = "ses:SendRawEmail", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any = "*", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {**allow(action, resource, **more), "Effect": "Deny"}


def when(operator: str, key: str, *values: str, **more: Any) -> dict[str, Any]:
    return {"Condition": {operator: {key: list(values)}}, **more}


def document(*statements: dict[str, Any], version: str | None = "2012-10-17") -> dict[str, Any]:
    return {"Statement": list(statements)} | ({"Version": version} if version else {})


def policies(*statements: dict[str, Any], boundary: list[dict[str, Any]] | None = None, **more: Any) -> Policies:
    bounded = None if boundary is None else parsed(document(*boundary), "boundary")
    return Policies(parsed(document(*statements), "own"), bounded, **more)


def found(*statements: dict[str, Any], who: Principal = USER, **more: Any) -> Reach:
    return reach(policies(*statements, **more), who, ("us-east-1",))


# --- may it send at all --------------------------------------------------------------------------------------------

CAN_SEND: dict[str, tuple[list[dict[str, Any]], str]] = {
    "the action": ([allow()], "yes"),
    "in another case": ([allow("SES:sendrawemail")], "yes"),
    "a wildcard": ([allow("ses:Send*")], "yes"),
    "a question mark": ([allow("ses:SendRawEmai?")], "yes"),
    "everything": ([allow("*")], "yes"),
    "another service": ([allow("s3:*")], "no"),
    "reading alone": ([allow(["ses:Get*", "ses:List*"])], "no"),
    "NotAction of another service": ([{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}], "yes"),
    "NotAction of SES": ([{"Effect": "Allow", "NotAction": ["ses:*", "iam:*"], "Resource": "*"}], "no"),
    "NotResource": ([{"Effect": "Allow", "Action": "ses:*", "NotResource": ACME}], "yes"),
    "NotResource of everything": ([{"Effect": "Allow", "Action": "ses:*", "NotResource": "*"}], "no"),
    "a resource of another service": ([allow(resource="arn:aws:s3:::bucket/*")], "no"),
    "a set alone is no identity": ([allow(resource=NEWS)], "no"),
    "denied": ([allow(), deny()], "no"),
    "denied by name": ([allow(), deny("ses:SendRawEmail")], "no"),
    "another action denied": ([allow(), deny("ses:SendEmail")], "yes"),
    "denied for its one identity": ([allow(resource=ACME), deny(resource=ACME)], "no"),
    "denied for one of two": ([allow(resource=[ACME, SHOP]), deny(resource=ACME)], "yes"),
    "denied by NotAction": ([allow(), {"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"}], "no"),
    "denied by NotResource": ([allow(), {"Effect": "Deny", "Action": "ses:*", "NotResource": ACME}], "yes"),
    "a From condition": ([allow(**when("StringLike", FROM, "*@acme.com"))], "yes"),
    "a From that is denied again": (
        [allow(**when("StringEquals", FROM, "a@acme.com")), deny(**when("StringLike", FROM, "*@acme.com"))],
        "no",
    ),
    "a From condition on bulk mail, which has none": (
        [allow("ses:SendBulkEmail", **when("StringLike", FROM, "*@acme.com"))],
        "no",
    ),
    "a Deny of other Froms hits bulk mail": (
        [allow("ses:SendBulkEmail"), deny(**when("StringNotLike", FROM, "*@acme.com"))],
        "no",
    ),
    "a Deny of one From misses bulk mail": (
        [allow("ses:SendBulkEmail"), deny(**when("StringLike", FROM, "*"))],
        "yes",
    ),
    "a network": ([allow(**when("IpAddress", IP, "203.0.113.0/24"))], "yes"),
    "a network that is denied": (
        [allow(**when("IpAddress", IP, "203.0.113.0/24")), deny(**when("IpAddress", IP, "203.0.0.0/16"))],
        "no",
    ),
    "a network of which a part is denied": (
        [allow(**when("IpAddress", IP, "203.0.0.0/16")), deny(**when("IpAddress", IP, "203.0.0.0/24"))],
        "yes",
    ),
    "a network whose first, middle and last parts are denied": (
        [allow(**when("IpAddress", IP, "10.0.0.0/8")),
         deny(**when("IpAddress", IP, "10.0.0.0/16", "10.127.0.0/16", "10.128.0.0/16", "10.255.0.0/16"))],
        "yes",
    ),
    "a network that is denied in halves": (
        [allow(**when("IpAddress", IP, "10.0.0.0/8")), deny(**when("IpAddress", IP, "10.0.0.0/9", "10.128.0.0/9"))],
        "no",
    ),
    "addresses of which some are denied": (
        [allow(**when("StringLike", FROM, "*@acme.com")), deny(**when("StringLike", FROM, "x*", "a*", "?@acme.com"))],
        "yes",
    ),
    "an endpoint and an address at once": (
        [allow(Condition={"IpAddress": {IP: "10.0.0.0/8"}, "StringEquals": {"aws:SourceVpce": "vpce-1"}})],
        "no",
    ),
    "an unknown key": ([allow(**when("StringEquals", "aws:PrincipalOrgID", "o-1"))], "unknown"),
    "an unknown operator": ([allow(**when("StringAlmost", FROM, "x"))], "unknown"),
    "a Deny on an unknown key": ([allow(), deny(**when("StringEquals", "aws:ResourceTag/a", "b"))], "unknown"),
    "an unknown key beside a plain Allow": (
        [allow(**when("StringEquals", "aws:PrincipalOrgID", "o-1")), allow()],
        "yes",
    ),
    "a false condition beside an unknown one": (
        [allow(Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1", "aws:username": "other"}})],
        "no",
    ),
    "only with MFA": ([allow(**when("Bool", "aws:MultiFactorAuthPresent", "true"))], "unknown"),
    "denied without MFA": ([allow(), deny(**when("BoolIfExists", "aws:MultiFactorAuthPresent", "false"))], "unknown"),
    "its name": ([allow(**when("StringEquals", "aws:username", "news"))], "yes"),
    "its tag": ([allow(**when("StringEquals", "aws:PrincipalTag/team", "mail"))], "yes"),
    "a tag that it does not have": ([allow(**when("StringEquals", "aws:PrincipalTag/other", "mail"))], "no"),
    "only over TLS": ([allow(), deny(**when("Bool", "aws:SecureTransport", "false"))], "yes"),
    "a time that has passed": ([allow(**when("DateLessThan", "aws:CurrentTime", "2026-01-01T00:00:00Z"))], "no"),
    "a time to come": ([allow(**when("DateLessThan", "aws:CurrentTime", "2027-01-01T00:00:00Z"))], "yes"),
    "revoked sessions, of which a user has none": (
        [allow(), deny(**when("DateLessThan", "aws:TokenIssueTime", "2027-01-01T00:00:00Z"))],
        "yes",
    ),
    "a region": ([allow(**when("StringEquals", "aws:RequestedRegion", "eu-central-1"))], "yes"),
    "a missing key": ([allow(**when("Null", "aws:SourceVpce", "true"))], "yes"),
    "recipients": ([allow(**when("ForAllValues:StringLike", "ses:Recipients", "*@acme.com"))], "yes"),
    "what a client chooses": ([allow(**when("StringEquals", "aws:UserAgent", "letmein"))], "yes"),
    "a variable": ([allow(resource=f"arn:aws:ses:*:{ACCOUNT}:identity/${{aws:username}}.acme.com")], "yes"),
    "a variable that it does not have": ([allow(resource="arn:aws:ses:*:*:identity/${aws:PrincipalTag/x}")], "no"),
}  # fmt: skip


@pytest.mark.parametrize("name", CAN_SEND)
def test_whether_it_may_send(name: str) -> None:
    statements, expected = CAN_SEND[name]
    result = found(*statements)
    assert result.can_send == expected, result
    assert expected == "yes" or result.reasons or not result.concerned


BOUNDARIES: dict[str, tuple[list[dict[str, Any]], str]] = {
    "allows sending": ([allow("ses:*")], "yes"),
    "allows everything": ([allow("*")], "yes"),
    "allows something else": ([allow("s3:*")], "no"),
    "is empty": ([], "no"),
    "denies": ([allow("*"), deny("ses:*")], "no"),
    "allows another identity": ([allow(resource=SHOP)], "no"),
    "allows on an unknown condition": ([allow(**when("StringEquals", "aws:PrincipalOrgID", "o-1"))], "unknown"),
}


@pytest.mark.parametrize("name", BOUNDARIES)
def test_a_boundary_must_allow_it_too(name: str) -> None:
    boundary, expected = BOUNDARIES[name]
    assert found(allow(resource=ACME), boundary=boundary).can_send == expected


def test_a_boundary_grants_nothing() -> None:
    assert found(allow("s3:*"), boundary=[allow("*")]) == Reach("no")


def test_what_could_not_be_read_is_neither_yes_nor_no() -> None:
    assert found(allow(), unread=("the policy p could not be read",)).can_send == "unknown"
    assert found(unread=("the policy p could not be read",)).can_send == "unknown"
    assert found(allow(), deny(), unread=("the policy p could not be read",)).can_send == "no"
    result = found(allow(), boundary_unread="its boundary could not be read")
    assert (result.can_send, result.reasons) == ("unknown", ("its boundary could not be read",))


@pytest.mark.parametrize(("who", "expected"), [(USER, "yes"), (ROLE, "no")])
def test_a_resource_policy_that_names_a_user_is_not_limited_by_its_boundary(who: Principal, expected: str) -> None:
    statement = {**allow(resource=ACME), "Principal": {"AWS": who.arn}}
    resource = about(parsed(document(statement), "policy of acme.com"), who.arn, ACCOUNT)
    result = found(allow("s3:*"), boundary=[allow("s3:*")], who=who, resource=resource, is_user=who.type == "user")
    assert result.can_send == expected


@pytest.mark.parametrize(
    ("principal", "effect", "concerned"),
    [
        ({"AWS": USER.arn}, "Allow", True),
        ({"AWS": [ROLE.arn, USER.arn]}, "Allow", True),
        ("*", "Allow", True),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Allow", False),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Deny", True),
        ({"AWS": ACCOUNT}, "Deny", True),
        ({"AWS": "arn:aws:iam::999900001111:root"}, "Allow", False),
    ],
)
def test_whom_a_resource_policy_is_about(principal: Any, effect: str, concerned: bool) -> None:
    statement = {**allow(resource=ACME), "Effect": effect, "Principal": principal}
    assert bool(about(parsed(document(statement), "p"), USER.arn, ACCOUNT)) is concerned


# --- as what, from where, through what -----------------------------------------------------------------------------

LIMITS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "nothing limits it": (
        [allow()],
        {"from_addresses": ("*",), "networks": ("*",), "resources": ("*",), "sets": ("*",), "recipients": ("*",)},
    ),
    "as recon writes it": (
        [allow(resource=[SHOP, NEWS], Condition={
            "StringLike": {FROM: ["*@shop.acme.com", "ceo@acme.com"]}, "IpAddress": {IP: ["203.0.113.0/24"]}})],
        {"from_addresses": ("*@shop.acme.com", "ceo@acme.com"), "networks": ("203.0.113.0/24",),
         "resources": (SHOP,), "sets": (NEWS,), "actions": ("ses:SendRawEmail",)},
    ),
    "no set": ([allow(resource=SHOP)], {"sets": ()}),
    "a Deny of all other addresses": (
        [allow(), deny(**when("StringNotLike", FROM, "*@acme.com"))],
        {"from_addresses": ("*@acme.com",)},
    ),
    "a Deny of one address": (
        [allow(), deny(**when("StringEquals", FROM, "ceo@acme.com"))],
        {"from_addresses": ("*",), "reasons": ("denied from ceo@acme.com",)},
    ),
    "a Deny of all other networks": (
        [allow(), deny(**when("NotIpAddress", IP, "203.0.113.0/24", "2001:db8::/32"))],
        {"networks": ("2001:db8::/32", "203.0.113.0/24")},
    ),
    "IfExists lets endpoints in": (
        [allow(**when("IpAddressIfExists", IP, "203.0.113.0/24"))],
        {"networks": ("203.0.113.0/24", "any VPC endpoint")},
    ),
    "an endpoint": ([allow(**when("StringEquals", "aws:SourceVpce", "vpce-1"))], {"networks": ("vpce-1",)}),
    "the whole Internet is no limit": ([allow(**when("IpAddress", IP, "0.0.0.0/0"))], {"networks": ("*",)}),
    "a narrower pattern is in a wider one": (
        [allow(**when("StringLike", FROM, "*@acme.com", "ceo@acme.com"))],
        {"from_addresses": ("*@acme.com",)},
    ),
    "two policies add up": (
        [allow(resource=SHOP, **when("StringLike", FROM, "*@shop.acme.com")), allow(resource=ACME)],
        {"resources": (ACME, SHOP), "from_addresses": ("*",)},
    ),
    "one region": (
        [allow(**when("StringEquals", "aws:RequestedRegion", "eu-central-1"))],
        {"resources": (f"arn:aws:ses:eu-central-1:{ACCOUNT}:identity/*",)},
    ),
    "an identity that is denied": (
        [allow(), deny(resource=ACME)],
        {"resources": ("*",), "reasons": (f"denied for {ACME}",)},
    ),
    "one recipient": (
        [allow(**when("ForAllValues:StringLike", "ses:Recipients", "*@acme.com"))],
        {"recipients": ("*@acme.com",)},
    ),
    "a variable": (
        [allow(resource=f"arn:aws:ses:us-east-1:{ACCOUNT}:identity/${{aws:username}}.acme.com")],
        {"resources": (f"arn:aws:ses:us-east-1:{ACCOUNT}:identity/news.acme.com",)},
    ),
    "a wildcard that is meant": (
        [allow(**when("StringLike", FROM, "${*}@acme.com"))],
        {"from_addresses": ("${*}@acme.com",)},
    ),
    "the boundary limits as well": (
        [allow(**when("StringLike", FROM, "*@acme.com"))],
        {"from_addresses": ("*@acme.com",)},
    ),
    "bulk mail goes round a From condition": (
        [allow("ses:SendBulkEmail"), allow("ses:SendEmail", **when("StringLike", FROM, "*@acme.com"))],
        {"from_addresses": ("*",),
         "reasons": ("ses:SendBulkEmail has no ses:FromAddress: no condition on the From address limits it",)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_what_limits_it(name: str) -> None:
    statements, expected = LIMITS[name]
    result = found(*statements)
    assert result.can_send == "yes", result
    assert {key: getattr(result, key) for key in expected} == expected


def test_an_administrator_may_do_everything() -> None:
    assert found(allow("*")).administrator
    assert found(allow(["s3:*", "*"])).administrator
    assert not found({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}).administrator
    assert not found(allow("*"), boundary=[allow("ses:*")]).administrator
    assert not found(allow("*", **when("Bool", "aws:MultiFactorAuthPresent", "true"))).administrator


# --- one message ---------------------------------------------------------------------------------------------------

ONE = [allow(resource=[SHOP, NEWS], Condition={
    "StringLike": {FROM: "*@shop.acme.com"}, "IpAddress": {IP: "203.0.113.0/24"}})]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, "yes"),
        ({"from_address": "a@other.com"}, "no"),
        ({"from_address": "a@SHOP.acme.com"}, "no"),
        ({"source_ip": "198.51.100.1"}, "no"),
        ({"source_ip": ""}, "unknown"),
        ({"source_ip": "", "from_address": "a@other.com"}, "no"),
        ({"resources": [SHOP]}, "yes"),
        ({"resources": [ACME]}, "no"),
        ({"resources": [SHOP, NEWS.replace("news", "other")]}, "no"),
        ({"action": "ses:SendEmail"}, "no"),
    ],
)
def test_one_message(more: dict[str, Any], expected: str) -> None:
    request = {"from_address": "a@shop.acme.com", "source_ip": "203.0.113.9", "resources": [SHOP, NEWS], **more}
    decision = may_send(policies(*ONE), USER, **request)
    assert decision.answer == expected
    assert bool(decision.reasons) is (expected != "yes")


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        (("StringEquals", "ses:FromAddress", "a"), ("a",), True),
        (("StringNotEquals", "ses:FromAddress", "a"), None, True),
        (("StringEquals", "ses:FromAddress", "a"), None, False),
        (("StringEqualsIfExists", "ses:FromAddress", "a"), None, True),
        (("StringEqualsIgnoreCase", "ses:FromAddress", "A"), ("a",), True),
        (("StringNotLike", "ses:FromAddress", "a*"), ("abc",), False),
        (("ForAnyValue:StringLike", "ses:Recipients", "*@b"), ("x@a", "y@b"), True),
        (("ForAllValues:StringLike", "ses:Recipients", "*@b"), ("x@a", "y@b"), False),
        (("ForAllValues:StringLike", "ses:Recipients", "*@b"), None, True),
        (("ForAnyValue:StringLike", "ses:Recipients", "*@b"), None, False),
        (("NumericLessThan", "aws:MultiFactorAuthAge", "3600"), ("60",), True),
        (("DateGreaterThan", "aws:CurrentTime", "2026-01-01T00:00:00Z"), ("2026-11-29T00:00:00Z",), True),
        (("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:user/*"), ("arn:aws:iam::1:user/a",), True),
        (("ArnLike", "aws:PrincipalArn", "arn:aws:*"), ("arn:aws:iam::1:user/a",), False),
        (("ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::*:role/*"), ("arn:aws:iam::1:user/a",), True),
        (("IpAddress", "aws:SourceIp", "2001:db8::/32"), ("203.0.113.1",), False),
        (("NotIpAddress", "aws:SourceIp", "203.0.113.0/24"), None, True),
        (("Null", "aws:SourceIp", "true"), None, True),
        (("Null", "aws:SourceIp", "false"), None, False),
    ],
)
def test_conditions(condition: tuple[str, str, str], value: tuple[str, ...] | None, expected: bool) -> None:
    context = {condition[1].lower(): value}
    decision = evaluate(policies(allow(**when(*condition))), "ses:SendRawEmail", ACME, context)
    assert decision.answer == ("yes" if expected else "no")


def test_variables_belong_to_the_newer_version_alone() -> None:
    statement = allow(resource=f"arn:aws:ses:us-east-1:{ACCOUNT}:identity/${{aws:username}}.com")
    arn = f"arn:aws:ses:us-east-1:{ACCOUNT}:identity/news.com"
    context = USER.context()
    for version, expected in (("2012-10-17", "yes"), ("2008-10-17", "no"), (None, "no")):
        own = Policies(parsed(document(statement, version=version), "own"))
        assert evaluate(own, "ses:SendRawEmail", arn, context).answer == expected
    star = Principal(USER.arn, "user", ACCOUNT, "*")
    own = Policies(parsed(document(statement), "own"))
    assert evaluate(own, "ses:SendRawEmail", arn, star.context()).answer == "no", "a value is no pattern"


def test_documents_in_every_form() -> None:
    text = json.dumps(document(allow()))
    assert parsed(text, "p") == parsed(quote(text, safe=""), "p") == parsed({**document(), "Statement": allow()}, "p")
    for wrong in ("[]", "{", {"Statement": [{"Action": "*"}]}, {"Statement": "x"}, 3):
        with pytest.raises(ValueError):
            parsed(wrong, "p")


# --- against every request, one by one -----------------------------------------------------------------------------

CONDITIONS: list[dict[str, Any]] = [
    {}, when("StringLike", FROM, "*@acme.com", "a@shop.acme.com"), when("StringNotLike", FROM, "*@acme.com"),
    when("IpAddress", IP, "203.0.113.0/24", "10.0.0.0/8"), when("NotIpAddress", IP, "203.0.113.0/25"),
    when("IpAddressIfExists", IP, "10.1.0.0/16"), when("StringEquals", "aws:SourceVpce", "vpce-1"),
    when("StringEquals", "aws:PrincipalOrgID", "o-1"), when("Bool", "aws:MultiFactorAuthPresent", "true"),
    when("BoolIfExists", "aws:MultiFactorAuthPresent", "false"), when("Null", IP, "true"),
    when("ForAllValues:StringLike", "ses:Recipients", "*@acme.com"),
    {"Condition": {"StringLike": {FROM: "*@acme.com"}, "IpAddress": {IP: "203.0.113.0/24"}}},
]  # fmt: skip
ACTIONS: list[Any] = ["ses:*", "ses:SendRawEmail", ["ses:SendBulkEmail", "ses:SendEmail"], "*"]
RESOURCES: list[Any] = ["*", ACME, [ACME, SHOP], f"arn:aws:ses:*:{ACCOUNT}:identity/*", NEWS]


def drawn(chance: random.Random, most: int, denies: float = 0.35) -> list[dict[str, Any]]:
    statements = []
    for _ in range(chance.randint(1, most)):
        made = deny if chance.random() < denies else allow
        statements.append(made(chance.choice(ACTIONS), chance.choice(RESOURCES), **chance.choice(CONDITIONS)))
    return statements


@pytest.mark.parametrize("seed", range(150))
def test_boxes_say_what_every_request_says(seed: int) -> None:
    chance = random.Random(seed)
    bounds = drawn(chance, 3, 0.2) if chance.random() < 0.4 else None
    some = policies(*drawn(chance, 4), boundary=bounds, unread=("p is unread",) if chance.random() < 0.1 else ())
    who = chance.choice([USER, ROLE])
    action = chance.choice(sending.SEND_ACTIONS)
    context = {**who.context(), "aws:resourceaccount": (ACCOUNT,)}
    every = list(sending._all(some))
    for _, arn, region in sending._resources(every, who, context, ("us-east-1",), "identity"):
        about = sending._narrowed(some, lambda s: s.has_action(action))
        near = sending._narrowed(about, partial(sending._is_near, arn=arn, context=context))
        choices = sending._choices(action, tuple(sending._all(near)), region)
        answers: dict[str, set[tuple[str, ...]]] = {"yes": set(), "unknown": set(), "no": set()}
        for chosen in product(*choices.values()):
            request = dict(context)
            for one in chosen:
                request.update(one.context)
            answer: str = evaluate(some, action, arn, request).answer
            answer = "unknown" if answer == "yes" and any(one.doubt for one in chosen) else answer
            answers[answer].add(tuple(one.label for one in chosen))
        expected = "yes" if answers["yes"] else "unknown" if answers["unknown"] else "no"
        found = sending._best(near, action, "", arn, region, context)
        assert found.answer == expected, (arn, action, some)
        if expected != "no":
            for number, key in enumerate(choices):
                assert set(found.seen[key]) == {labels[number] for labels in answers[expected]}, (key, arn, some)


def test_many_addresses_and_networks_cost_little() -> None:
    addresses = [f"a{n}@acme.com" for n in range(200)]
    networks = [f"10.{n}.0.0/16" for n in range(100)]
    conditions = {"StringLike": {FROM: addresses}, "IpAddress": {IP: networks}}
    started = time.monotonic()
    result = found(
        allow(resource=[ACME, SHOP], Condition=conditions), deny(**when("NotIpAddress", IP, *networks[:50]))
    )  # fmt: skip
    assert (len(result.from_addresses), len(result.networks)) == (200, 50)
    assert time.monotonic() - started < 10
