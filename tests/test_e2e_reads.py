"""Reads that are denied or fail: the rest is planned, the unread is named, and nothing that hangs on it is touched."""

from __future__ import annotations

from typing import Any

import pytest
from support import HOME, OTHER, House, client, merge, words
from test_e2e_interrupted import FULL, USER

STATE = "state.yaml"
EVERYTHING: dict[str, Any] = merge(
    FULL, {"smtp_users": USER, "dedicated_ip_pools": {"tx": {"dedicated_ips": ["192.0.2.9"]}}}
)

# Each read, what must be unknown without it, and what must be planned all the same.
READS: list[tuple[str, str, tuple[str, ...]]] = [
    (
        "sesv2",
        "GetEmailIdentity",
        ("email_identity/", "dns_record/acme.com/_dmarc.acme.com/", "dns_record/acme.com/acme.com:dkim"),
    ),
    ("sesv2", "GetConfigurationSet", ("configuration_set/", "event_destination/")),
    ("sesv2", "GetConfigurationSetEventDestinations", ("event_destination/",)),
    ("sesv2", "GetDedicatedIpPool", ("dedicated_ip_pool/",)),
    ("sesv2", "ListTagsForResource", ("dedicated_ip_pool/",)),
    ("sesv2", "GetDedicatedIps", ("dedicated_ip_pool/",)),
    ("route53", "ListHostedZones", ("dns_record/",)),
    ("route53", "ListResourceRecordSets", ("dns_record/",)),
    ("iam", "ListAccessKeys", ("smtp_credential/",)),
    ("secretsmanager", "DescribeSecret", ("smtp_credential/",)),
    ("resourcegroupstaggingapi", "GetResources", ()),
]

AFTER_ANOTHER = {"ListTagsForResource", "GetDedicatedIps", "ListAccessKeys", "GetConfigurationSetEventDestinations"}
"""Reads of details: where another has said that there is no such thing, they are not made."""


def applied(house: House) -> None:
    """Everything is declared, and applied."""

    def make() -> None:
        house.seed_zone()
        house.sandbox.seed(dedicated_ips=[{"ip": "192.0.2.9"}])
        house.settle(EVERYTHING)

    house.once("everything that may be unreadable", make)


@pytest.mark.parametrize("deed", ["denied", "error"])
@pytest.mark.parametrize(("service", "operation", "unknown"), READS, ids=[r[1] for r in READS])
def test_what_cannot_be_read_is_never_taken_for_absent(
    house: House, service: str, operation: str, unknown: tuple[str, ...], deed: str
) -> None:
    """On an applied stack: no creates, no deletes, nothing of the unread part, exit 1, and the read is named."""
    applied(house)
    more = {"code": "InvalidParameterValue", "message": "broken"} if deed == "error" else {}
    house.sandbox.fault(deed, service=service, operation=operation, count=None, **more)
    plan = house.plan()
    assert not plan.changes, "\n".join(map(words, plan.changes))
    told = [d for d in plan.diagnostics if d.code == "unread"]
    assert told
    assert plan.unread
    if deed == "denied":
        assert any(operation in d.hint for d in told), told
    for prefix in unknown[:1]:
        assert any(f"{p}/".startswith(prefix) or p.startswith(prefix) for p in plan.unread), plan.unread
    ran = house.cli("plan", STATE, "--format", "json")
    assert ran.code == 1
    assert ran.json["unread"]
    house.clear()
    assert house.cli("apply", STATE, "--auto-approve").code == 1
    assert house.writes() == []


@pytest.mark.parametrize(("service", "operation", "unknown"), READS, ids=[r[1] for r in READS])
def test_the_rest_is_planned_and_applied(house: House, service: str, operation: str, unknown: tuple[str, ...]) -> None:
    """With everything taken out of the YAML: what is unread is neither deleted nor orphaned; the next run finishes."""
    applied(house)
    house.sandbox.fault("denied", service=service, operation=operation, count=None)
    rest = {"configuration_sets": {"new": {}}}
    plan = house.plan(rest)
    assert not [c.address for c in plan.changes if unknown and c.address.startswith(unknown)]
    if operation not in {"GetConfigurationSet"}:
        assert f"configuration_set/{HOME}/new" in [c.address for c in plan.changes]
    result = house.apply(rest, expect=None)
    assert result.outcome in {"partial", "no_changes"}
    house.sandbox.clear_faults()
    house.check_foreign()
    house.settle(rest)
    house.check_foreign(alone=True)
    assert client("iam").list_users()["Users"] == []


@pytest.mark.parametrize(("service", "operation", "unknown"), READS, ids=[r[1] for r in READS])
def test_a_first_apply_without_a_read_makes_nothing_blindly(
    house: House, service: str, operation: str, unknown: tuple[str, ...]
) -> None:
    house.seed_zone()
    house.sandbox.seed(dedicated_ips=[{"ip": "192.0.2.9"}])
    house.sandbox.fault("denied", service=service, operation=operation, count=None)
    plan = house.plan(EVERYTHING)
    if operation not in AFTER_ANOTHER:
        assert not [c.address for c in plan.changes if unknown and c.address.startswith(unknown[:1])]
    house.apply(expect=None, verify_timeout=0.1)  # here SES verifies at once, or where records are missing, never
    house.sandbox.clear_faults()
    house.check_foreign()
    house.settle()
    house.check_foreign()
    house.destroy()
    house.check_foreign(alone=True)


def test_one_unreadable_zone_does_not_stop_the_others(house: House) -> None:
    first = house.seed_zone()
    house.seed_zone("other.example", {})
    house.sandbox.fault("denied", service="route53", operation="ListResourceRecordSets", contains=first, count=None)
    parked = {"identity": False, "dmarc": {"p": "reject"}}
    plan = house.plan({"domains": {"acme.com": parked, "other.example": parked}})
    assert {c.address.split("/")[1] for c in plan.changes} == {"other.example"}
    assert plan.unread == ("dns_record/acme.com",)


def test_one_unreadable_identity_does_not_stop_the_others(house: House) -> None:
    house.seed_zone()
    document = {"domains": {n: {"zone": "manual"} for n in ("acme.com", "other.example")}}
    house.sandbox.fault("denied", operation="GetEmailIdentity", contains="acme.com", count=None)
    plan = house.plan(document)
    assert [c.address for c in plan.changes] == [f"email_identity/{HOME}/other.example"]
    assert plan.unread == (f"email_identity/{HOME}/acme.com",)


def test_one_unreadable_region_does_not_stop_the_others(house: House) -> None:
    document = {"configuration_sets": {"main": {"regions": [HOME, OTHER]}}}
    house.settle(document)
    house.sandbox.fault("denied", region=OTHER, service="resourcegroupstaggingapi", count=None)
    house.sandbox.fault("denied", region=OTHER, service="sesv2", count=None)
    plan = house.plan({"configuration_sets": {"other": {"regions": [HOME]}}})
    assert {(c.action, c.address) for c in plan.changes} == {
        ("create", f"configuration_set/{HOME}/other"),
        ("delete", f"configuration_set/{HOME}/main"),
    }
    assert OTHER in next(d for d in plan.diagnostics if d.code == "unread").message


def test_users_are_read_one_by_one_where_the_listing_is_denied(house: House) -> None:
    document = {"domains": {"acme.com": {"zone": "manual"}}, "smtp_users": USER}
    house.settle(document)
    house.sandbox.fault("denied", service="iam", operation="GetAccountAuthorizationDetails", count=None)
    plan = house.plan()
    assert not plan.changes
    assert any(d.code == "users-not-swept" for d in plan.diagnostics)


def test_throttled_reads_are_waited_for(house: House) -> None:
    applied(house)
    for service in ("sesv2", "route53", "iam"):
        house.sandbox.fault("throttle", service=service, count=3)
    assert not house.plan().changes


@pytest.mark.parametrize("deed", ["reset", "lost"])
def test_cut_connections_are_tried_again(house: House, deed: str) -> None:
    applied(house)
    house.sandbox.fault(deed, operation="Get*", count=2)
    house.sandbox.fault(deed, operation="List*", count=2)
    assert not house.plan().changes
