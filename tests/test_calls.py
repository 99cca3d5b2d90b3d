"""How many calls a run makes, and what it reads with them: held to the floor of docs/performance.md, never timed."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import SWEPT
from support import HOME, OTHER, House, client, merge
from test_e2e_interrupted import CHANGED, FULL, USER

from reconciler import running
from reconciler.applier import LAST_FEW
from reconciler.aws import Aws
from reconciler.desired import load
from reconciler.kinds.registry import REGISTRY
from reconciler.model import Plan
from reconciler.observing import declare, observe
from reconciler.resources.email_identity.bulk import TURNS

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
LIMIT = {"sesv2": "ses", "resourcegroupstaggingapi": "tagging"}


def module(name: str) -> ModuleType:
    """A module of the benchmarks, which are no package."""
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


def by_limit(house: House) -> Counter[str]:
    services = [call.partition(":")[0] for call in house.calls()]
    return Counter(LIMIT.get(service, service) for service in services)


def test_a_run_keeps_to_the_floor(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each limit's calls, for a first plan, a first apply, a plan with nothing to do, and one in bulk."""
    floor, stacks = module("floor"), module("stacks")
    monkeypatch.setattr(floor, "SES_REGIONS", len(SWEPT))
    monkeypatch.setattr("reconciler.applier.visibility.RECENT_SECONDS", 600.0)  # a busy machine takes longer than 5
    domains, zones = 24, 3
    stacks.recon(house.home / "many", domains)
    house.sandbox.seed(zones=[{"name": zone} for zone in stacks.zones(domains)])
    for command, line in (
        ("plan, first", "plan many"),
        ("apply, first", "apply many --auto-approve"),
        ("plan, nothing to do", "plan many"),
        ("plan in bulk", "plan many --refresh bulk"),
    ):
        house.clear()
        ran = house.cli(*line.split())
        assert ran.code == 0, ran.err
        least = floor.FLOORS[command](domains, zones)
        found = by_limit(house)
        # an apply asks STS once more, before it writes, and looks at the end whether its last writes can be read
        more = {"sts": 1, "ses": LAST_FEW + 1} if command == "apply, first" else {}
        assert found == {limit: n + more.get(limit, 0) for limit, n in least.items()}, command


def test_a_stack_put_in_place_is_as_an_apply_leaves_it(house: House) -> None:
    """What the benchmark seeds instead of applying: there is nothing to do, in either mode."""
    stacks = module("stacks")
    stacks.applied(house.sandbox, 12)
    stacks.recon(house.home / "many", 12)
    for refresh in ("full", "bulk"):
        plan = running.make(load(house.home / "many").state, refresh=refresh).plan
        assert (plan.outcome, plan.changes) == ("no_changes", ())


# --- targets -------------------------------------------------------------------------------------------------------

WORLD: dict[str, Any] = merge(
    FULL,
    {
        "domains": {
            "shop.acme.com": {"identity": True, "configuration_set_name": "main"},
            "other.example": {"dmarc": {"p": "none"}, "mail_from": {"mail_from_domain": "bounce.other.example"}},
        },
        "configuration_sets": {"main": {}, "lone": {"event_destinations": {}}},
        "smtp_users": USER,
    },
)


def shown(plan: Plan) -> list[dict[str, Any]]:
    return [{k: v for k, v in c.to_json().items() if k != "notes"} for c in plan.changes]


@pytest.mark.slow
@pytest.mark.parametrize("later", [CHANGED, {"domains": {"acme.com": {"dmarc": {"p": "none"}}}}], ids=["new", "less"])
def test_a_target_is_planned_as_if_everything_had_been_read(house: House, later: dict[str, Any]) -> None:
    """Law: for each address of the whole plan, the plan that reads only what it needs says what the whole one says."""
    house.seed_zone()
    house.seed_zone("other.example", {})
    house.settle(WORLD)
    house.write(later)
    state = load(house.home / "state.yaml").state
    whole = running.make(state)
    assert len(whole.plan.changes) > 10
    for change in whole.plan.changes:
        from reconciler.planner import make_plan

        fresh = running.make(state)
        wanted = make_plan(fresh.snapshot, targets=[change.address])
        found = running.make(state, targets=[change.address]).plan
        assert shown(found) == shown(wanted), change.address
        errors = [{n.rule for n in c.notes if n.severity == "error"} for c in wanted.changes]
        assert [{n.rule for n in c.notes if n.severity == "error"} for c in found.changes] == errors


@pytest.mark.parametrize(
    ("target", "reads"),
    [
        ("email_identity/us-east-1/shop.acme.com", {"GetEmailIdentity": 2, "ListResourceRecordSets": 1}),
        ("dedicated_ip_pool/us-east-1/tx", {"GetDedicatedIpPool": 1, "ListTagsForResource": 1, "GetDedicatedIps": 0}),
        ("event_destination/us-east-1/lone/x", {"GetConfigurationSetEventDestinations": 1}),
        ("smtp_user/news", {"GetAccountAuthorizationDetails": 1, "ListAccessKeys": 1}),
        ("email_identity/us-east-1/*.acme.com", {"GetEmailIdentity": 2, "GetResources": len(SWEPT) + 1}),
    ],
)
def test_a_target_reads_only_what_it_needs(house: House, target: str, reads: dict[str, int]) -> None:
    # the set of shop.acme.com has a tracking name below acme.com, whose identity is read for it
    document = merge(WORLD, {"configuration_sets": {"lone": {"event_destinations": {"x": FULL_DESTINATION}}}})
    house.seed_zone()
    house.seed_zone("other.example", {})
    house.settle(document)
    house.clear()
    plan = house.plan(targets=[target])
    assert plan.outcome == "no_changes"
    assert not plan.unread
    found = Counter(call.partition(":")[2] for call in house.calls())
    for operation in ("GetEmailIdentity", "ListAccessKeys"):
        assert found[operation] == reads.get(operation, 0), found
    assert {operation: found[operation] for operation in reads} == reads
    assert sum(found.values()) < 20


FULL_DESTINATION = {"matching_event_types": ["SEND"], "event_bridge_destination": {
    "event_bus_arn": "arn:aws:events:us-east-1:111122223333:event-bus/default"}}  # fmt: skip


def test_what_a_target_passes_by_is_neither_planned_nor_unread(house: House) -> None:
    """The others are gone live and changed in the YAML; a run with a target sees none of it, and says so nowhere."""
    house.seed_zone()
    house.seed_zone("other.example", {})
    house.settle(WORLD)
    client("sesv2").delete_email_identity(EmailIdentity="other.example")
    house.write(merge(WORLD, {"domains": {"acme.com": {"tags": {"team": "new"}}}}))
    plan = house.plan(targets=["email_identity/us-east-1/shop.acme.com"])
    assert (plan.outcome, plan.unread, plan.context["unreadable"]) == ("no_changes", (), 0)


# --- drift in bulk -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_drift_in_bulk_reads_every_identity_whole_within_ten_days(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each day another share is read whole; what it finds there is drift like any other, and the rest is named."""
    stacks = module("stacks")
    stacks.applied(house.sandbox, 40)
    stacks.recon(house.home / "many", 40)
    client("sesv2").put_email_identity_configuration_set_attributes(EmailIdentity=stacks.domain(7))
    whole: Counter[str] = Counter()
    found = 0
    for day in range(TURNS):
        monkeypatch.setenv("RECON_NOW", f"2026-11-{10 + day}T12:00:00Z")
        house.clear()
        ran = house.cli("drift", "many", "--refresh", "bulk", "--format", "json")
        read = [c["params"]["EmailIdentity"] for c in house.sandbox.calls(operation="GetEmailIdentity")]
        assert len(read) < 40 / 2
        whole.update(read)
        unread = {a.split(":")[0].rpartition("/")[2] for a in ran.json["unread"]}
        assert unread == {stacks.domain(n) for n in range(40)} - set(read)
        assert ran.code == (2 if stacks.domain(7) in read else 0), ran.err
        found += ran.code == 2
    assert whole == Counter({stacks.domain(n): 1 for n in range(40)})
    assert found == 1


def test_a_first_plan_asks_for_no_identity_that_the_list_does_not_name(house: House) -> None:
    """A list for each region instead of a call for each; a list that is denied costs the calls, and nothing else."""
    names = {f"d{n}.acme.com": {"regions": [HOME, OTHER], "dkim": {}} for n in range(12)}
    house.seed_zone()
    client("sesv2", OTHER).create_email_identity(EmailIdentity="d3.acme.com")
    document = {"domains": names, "stack": {"regions": [HOME, OTHER]}}
    house.clear()
    plan = house.plan(document)
    assert Counter(house.calls())["sesv2:GetEmailIdentity"] == 1 + 2, (
        "what is there, and one of the rest in each region"
    )
    assert plan.summary["adopt"] == 1
    house.sandbox.fault("denied", service="sesv2", operation="ListEmailIdentities", count=None)
    house.clear()
    again = house.plan(document)
    assert Counter(house.calls())["sesv2:GetEmailIdentity"] == 24
    assert shown(again) == shown(plan)


def test_in_bulk_the_tags_of_pools_and_alarms_come_from_the_search(house: House) -> None:
    """No call for them; but what they would change is read again, since the search may trail behind."""
    alarm = {"metric_name": "Send", "namespace": "AWS/SES", "threshold": 1, "statistic": "Sum", "period": 60,
             "evaluation_periods": 1, "comparison_operator": "GreaterThanThreshold"}  # fmt: skip

    def tagged(team: str) -> dict[str, Any]:
        tags = {"tags": {"team": team}}
        return {"dedicated_ip_pools": {"tx": tags}, "cloudwatch_alarms": {"sent": {**alarm, **tags}}}

    house.settle(tagged("mail"))
    house.clear()
    assert not house.plan(tagged("mail"), refresh="bulk").changes
    assert not [call for call in house.calls() if call.endswith(":ListTagsForResource")]
    house.sandbox.consistency(resourcegroupstaggingapi={"seconds": 600.0})
    house.settle(tagged("news"))
    house.clear()
    assert not house.plan(tagged("news"), refresh="bulk").changes, "not what the search still says"
    assert Counter(house.calls())["sesv2:ListTagsForResource"] == 1


# --- which call tells what -----------------------------------------------------------------------------------------

ARCHIVE = "arn:aws:ses:us-east-1:111122223333:mailmanager-archive"
TOPIC = "arn:aws:sns:us-east-1:111122223333:feedback"
EVERYTHING: dict[str, Any] = merge(
    WORLD,
    {
        "domains": {
            "acme.com": {
                "mail_from": {"behavior_on_mx_failure": "REJECT_MESSAGE"},
                "notification_attributes": {
                    name: value
                    for kind in ("bounce", "complaint", "delivery")
                    for name, value in ((f"{kind}_topic", TOPIC), (f"headers_in_{kind}_notifications_enabled", True))
                },
            },
            "own.acme.com": {
                "dkim": {
                    "signing_attributes_origin": "EXTERNAL",
                    "domain_signing_selector": "s1",
                    "domain_signing_private_key": {"env": "BENCH_DKIM_KEY"},
                },
            },
        },
        "dedicated_ip_pools": {"tx": {"dedicated_ips": ["192.0.2.1"], "tags": {"team": "mail"}}},
        "configuration_sets": {
            "main": {
                "reputation_options": {"reputation_metrics_enabled": True},
                "sending_options": {"sending_enabled": True},
                "suppression_options": {"suppressed_reasons": ["BOUNCE"]},
                "vdm_options": {"dashboard_options": {"engagement_metrics": "ENABLED"}},
                "archiving_options": {"archive_arn": f"{ARCHIVE}/a-{24 * '0'}"},
                "tags": {"tier": "gold"},
            }
        },
        "smtp_users": {
            "news": {
                "path": "/mail/",
                "source_ips": ["192.0.2.0/24"],
                "identities": ["acme.com"],
                "conditions": {"StringEquals": {"aws:SourceVpce": "vpce-1"}},
                "permissions_boundary": "arn:aws:iam::aws:policy/PowerUserAccess",
                "tags": {"owner": "growth"},
            },
            "other": {"from_addresses": ["*@acme.com"], "credentials": {"ssm": {"name": "/recon/other"}}},
        },
    },
)
KEPT = frozenset({"IdentityName", "Name", "UserName", "PolicyName", "Key", "ResourceARN", "AccessKeyId", "ARN", "Id",
                  "Type", "DNSName", "Arn", "NextToken", "Marker", "IsTruncated", "PaginationToken"})  # fmt: skip
"""What names a thing, or says whether there is more: altered, another thing would be read, not another value."""


def altered(value: Any, key: str = "") -> Any:
    """An answer with every value another, of the same type."""
    if isinstance(value, dict):
        if str(value.get("Key", "")).startswith("recon:"):
            return value
        return {k: altered(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [altered(v, key) for v in value]
    if key in KEPT:
        return value
    if isinstance(value, bool):
        return not value
    return "x" + value if isinstance(value, str) else value + 1 if isinstance(value, int) else value


def values_of(world: Any) -> dict[tuple[str, str], Any]:
    """(address, attribute) -> value of all that was read, attributes as ``read_calls`` names them."""
    found: dict[tuple[str, str], Any] = {}
    for live in world.observed.values():
        spec = {**live.spec, **{k: v for k, v in live.facts.items() if k in REGISTRY[live.kind].read_calls}}
        for name, value in spec.items():
            if name in {"dkim", "mail_from", "notification_attributes"} and isinstance(value, dict):
                found.update({(live.address, f"{name}.{field}"): v for field, v in value.items()})
            elif name == "stores":
                for kind in ("secretsmanager", "ssm"):
                    part = {k: v for k, v in value.items() if k.startswith(kind)}
                    found[live.address, f"stores ({kind})"] = part
            else:
                found[live.address, name] = value
    for zone in world.zones.values():
        for (name, type_), sets in zone.records.items():
            address = f"dns_record/{zone.name}/{name}/{type_}"
            found[address, "value"], found[address, "ttl"] = sets[0].values, sets[0].ttl
    return found


@pytest.mark.slow
@pytest.mark.parametrize("refresh", ["full", "bulk"])
def test_each_attribute_is_told_by_the_call_that_is_named_for_it(
    house: House, monkeypatch: pytest.MonkeyPatch, refresh: str, own_key: str
) -> None:
    """Every call's answers are altered in turn: just the attributes that name it are read otherwise."""
    monkeypatch.setenv("BENCH_DKIM_KEY", own_key)
    house.sandbox.seed(dedicated_ips=[{"ip": "192.0.2.1"}])
    house.seed_zone()
    house.seed_zone("other.example", {})
    client("sns").create_topic(Name="feedback")
    house.settle(EVERYTHING)
    state = load(house.home / "state.yaml").state
    before = values_of(running.make(state, refresh=refresh).snapshot)
    table = {
        (kind.name, attribute): call
        for kind in REGISTRY.values()
        if kind.name in {address.partition("/")[0] for address, _ in before}
        for attribute, call in (
            kind.read_calls_bulk if refresh == "bulk" and kind.read_calls_bulk else kind.read_calls
        ).items()
    }
    real = Aws.call
    seen: dict[tuple[str, str], set[str]] = {}
    for call in sorted(set(table.values())):

        def lying(self: Aws, service: str, operation: str, *rest: Any, lie: str = call, **more: Any) -> Any:
            answer = real(self, service, operation, *rest, **more)
            return altered(answer) if f"{service}:{operation}" == lie else answer

        monkeypatch.setattr(Aws, "call", lying)
        after = values_of(Reading.of(state, refresh))
        monkeypatch.setattr(Aws, "call", real)
        for (address, attribute), value in before.items():
            if address in {a for a, _ in after} and after.get((address, attribute), after) != value:
                seen.setdefault((address.partition("/")[0], attribute), set()).add(call)
    seen_by = {key: calls - HANGS_ON.get(key, set()) for key, calls in seen.items() if key in table}
    assert {key: {call} for key, call in table.items() if key in seen} == seen_by
    unseen = {key for key in table if key not in seen}
    assert unseen <= BLIND, unseen


HANGS_ON = {("dedicated_ip_pool", "dedicated_ips"): {"sesv2:GetDedicatedIpPool"}}
"""Only a pool whose mode is STANDARD has addresses to ask for."""
BLIND = {
    ("email_identity", "dkim.domain_signing_private_key"),  # a tag of ours, which is not altered here
    ("smtp_credential", "key"),  # likewise
    ("email_identity", "signing_hosted_zone"),
    *(("event_destination", name) for name in ("cloud_watch_destination", "kinesis_firehose_destination",
                                                "event_bridge_destination", "pinpoint_destination")),
}  # fmt: skip
"""Attributes that nothing in this world shows."""


class Reading:
    """A world as read, without a plan: what is altered need not make sense."""

    @staticmethod
    def of(state: Any, refresh: str) -> Any:
        world = declare(state, "2026-11-22T00:00:00Z")
        world.refresh = refresh
        return observe(world, Aws(state.stack, parallelism=4))


@pytest.fixture(scope="module")
def own_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
