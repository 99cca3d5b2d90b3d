"""Somebody else changes or deletes live resources while recon works: what the rival wrote stands, byte for byte.

A table of rivals (each one deed, what it left, and which addresses may suffer) times every moment of a run: before the
first step and after each of its steps. Whatever the moment, recon may be done with that resource already or must leave
it alone; it never writes over what it has not shown, says what moved, carries out the rest, and the next apply
converges or refuses by name.
"""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from faults import ledger
from faults.scenarios import allow
from support import ACCOUNT, FOREIGN, HOME, House, client, told, words

from reconciler import applier
from reconciler.applier import visibility
from reconciler.errors import Refused
from reconciler.model import Result
from reconciler.resources.smtp_user.kind import POLICY
from reconciler.safeguards import check_safeguards

ARN = f"arn:aws:ses:{HOME}:{ACCOUNT}"
BUS = {"event_bus_arn": f"arn:aws:events:{HOME}:{ACCOUNT}:event-bus/default"}
TOPIC = {"topic_arn": f"arn:aws:sns:{HOME}:{ACCOUNT}:feedback"}
DESTINATION = {"matching_event_types": ["BOUNCE"], "event_bridge_destination": BUS}

BEFORE: dict[str, Any] = {
    "dedicated_ip_pools": {"tx": {"dedicated_ips": ["192.0.2.1"], "tags": {"team": "a"}}},
    "configuration_sets": {
        "main": {
            "delivery_options": {"max_delivery_seconds": 300},
            "reputation_options": {"reputation_metrics_enabled": True},
            "event_destinations": {"out": DESTINATION},
            "tags": {"tier": "a", "x": "1"},
        },
        "other": {},
    },
    "domains": {
        "acme.com": {
            "dkim": {}, "dmarc": {"p": "none"}, "spf": {"include": ["a.example"]}, "tags": {"team": "a", "x": "1"},
            "mail_from": {"mail_from_domain": "b.acme.com"}, "policies": {"partner": allow("222233334444")},
            "configuration_set_name": "other",
        },
        "acme.net": {"identity": False, "dmarc": {"p": "none"}, "null_mx": True},
    },
    "smtp_users": {
        "news": {"from_addresses": ["*@acme.com"], "credentials": {"secretsmanager": {"name": "recon/news"}},
                 "tags": {"owner": "a"}},
    },
}  # fmt: skip
AFTER: dict[str, Any] = {
    "dedicated_ip_pools": {"tx": {"dedicated_ips": ["192.0.2.2"], "tags": {"team": "b"}}},
    "configuration_sets": {
        "main": {
            "delivery_options": {"max_delivery_seconds": 600},
            "reputation_options": {"reputation_metrics_enabled": False},
            "event_destinations": {"out": {**DESTINATION, "matching_event_types": ["COMPLAINT"]}},
            "tags": {"tier": "b"},
        },
        "other": {},
    },
    "domains": {
        "acme.com": {
            "dkim": {"signing_enabled": False}, "dmarc": {"p": "reject"}, "spf": {"include": ["b.example"]},
            "tags": {"team": "b"}, "mail_from": {"mail_from_domain": "c.acme.com"},
            "policies": {"partner": allow("333344445555")}, "configuration_set_name": "main",
        },
        "acme.net": {"identity": False, "dmarc": {"p": "reject"}, "null_mx": True},
    },
    "smtp_users": {
        "news": {"from_addresses": ["shop@acme.com"], "credentials": {"secretsmanager": {"name": "recon/news"}},
                 "tags": {"owner": "b"}},
    },
}  # fmt: skip
IDENTITY = f"email_identity/{HOME}/acme.com"
SET = f"configuration_set/{HOME}/main"
POOL = f"dedicated_ip_pool/{HOME}/tx"
OUT = f"event_destination/{HOME}/main/out"
USER = "smtp_user/news"
MAIL = (IDENTITY, "dns_record/acme.com/")
"""What hangs together: an identity and the records that it derives."""


@dataclass(frozen=True)
class Rival:
    """``act`` is the deed, ``mark`` what it left, as AWS tells it; only ``may_suffer`` (prefixes) may stay undone."""

    name: str
    act: Callable[[House], None]
    mark: Callable[[House], Any]
    may_suffer: tuple[str, ...]
    harmless: bool = False
    """Nothing that this run writes is touched, so that it may end well without having seen it."""


def _ses(operation: str, **parameters: Any) -> Callable[[House], None]:
    return lambda house: getattr(client("sesv2"), operation)(**parameters)


def _claim(resource: str) -> Callable[[House], None]:
    return _ses("tag_resource", ResourceArn=f"{ARN}:{resource}", Tags=[{"Key": "recon:stack", "Value": "rival"}])


def _unclaim(resource: str) -> Callable[[House], None]:
    return _ses("untag_resource", ResourceArn=f"{ARN}:{resource}", TagKeys=["recon:stack"])


def _tags(resource: str) -> Callable[[House], Any]:
    def owner(house: House) -> Any:
        listed = client("sesv2").list_tags_for_resource(ResourceArn=f"{ARN}:{resource}")["Tags"]
        return [t["Value"] for t in listed if t["Key"] == "recon:stack"]

    return owner


def _listed(operation: str, key: str, name: str) -> Callable[[House], Any]:
    """Whether ``name`` is among what a list call gives."""

    def there(house: House) -> bool:
        found = getattr(client("sesv2"), operation)()[key]
        return name in [f["IdentityName"] if isinstance(f, dict) else f for f in found]

    return there


def _mail_from(house: House) -> Any:
    return house.identity()["MailFromAttributes"].get("MailFromDomain")


def _partner(house: House) -> Any:
    return json.loads(house.identity()["Policies"]["partner"])


def _destinations(house: House) -> Any:
    found = client("sesv2").get_configuration_set_event_destinations(ConfigurationSetName="main")["EventDestinations"]
    return {d["Name"]: d["MatchingEventTypes"] for d in found}


def _of_user(field: str) -> Callable[[House], Any]:
    def value(house: House) -> Any:
        if field == "policy":
            return client("iam").get_user_policy(UserName="news", PolicyName=POLICY)["PolicyDocument"]
        user = client("iam").get_user(UserName="news")["User"]
        if field == "path":
            return user["Path"]
        return {t["Key"]: t["Value"] for t in user["Tags"]}.get(field)

    return value


def _tag_user(key: str, value: str) -> Callable[[House], None]:
    return lambda house: client("iam").tag_user(UserName="news", Tags=[{"Key": key, "Value": value}])


def _destroy_user(house: House) -> None:
    iam = client("iam")
    for key in iam.list_access_keys(UserName="news")["AccessKeyMetadata"]:
        iam.delete_access_key(UserName="news", AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName="news", PolicyName=POLICY)
    iam.delete_user(UserName="news")


def _users(house: House) -> Any:
    return [u["UserName"] for u in client("iam").list_users()["Users"]]


def _record(name: str, kind: str, zone: str = "acme.com") -> Callable[[House], Any]:
    return lambda house: [r for r in house.raw_zone(zone) if r["Name"] == name + "." and r["Type"] == kind]


def _put_record(name: str, kind: str, *values: str, zone: str = "acme.com") -> Callable[[House], None]:
    return lambda house: house.change(name, kind, *values, zone=zone, ttl=77)


def _add_value(name: str, value: str) -> Callable[[House], None]:
    def act(house: House) -> None:
        raw = _record(name, "TXT")(house)[0]
        house.change(name, "TXT", *(r["Value"] for r in raw["ResourceRecords"]), value, ttl=raw["TTL"])

    return act


def _drop_record(name: str, kind: str, zone: str = "acme.com") -> Callable[[House], None]:
    def act(house: House) -> None:
        for raw in _record(name, kind, zone)(house):
            values = (r["Value"] for r in raw["ResourceRecords"])
            house.change(name, kind, *values, action="DELETE", ttl=raw["TTL"], zone=zone)

    return act


def _drop_zone(name: str) -> Callable[[House], None]:
    def act(house: House) -> None:
        route53 = client("route53")
        zone_id = next(z["Id"] for z in route53.list_hosted_zones()["HostedZones"] if z["Name"] == name + ".")
        apart = [r for r in house.raw_zone(name) if r["Type"] not in {"NS", "SOA"}]
        changes = [{"Action": "DELETE", "ResourceRecordSet": raw} for raw in apart]
        if changes:
            route53.change_resource_record_sets(HostedZoneId=zone_id, ChangeBatch={"Changes": changes})
        route53.delete_hosted_zone(Id=zone_id)

    return act


def _zones(house: House) -> Any:
    return sorted(z["Name"] for z in client("route53").list_hosted_zones()["HostedZones"])


RIVALS = (
    Rival("MAIL FROM moved", _ses("put_email_identity_mail_from_attributes", EmailIdentity="acme.com",
                                  MailFromDomain="rival.acme.com"), _mail_from, MAIL),
    Rival("default set taken off", _ses("put_email_identity_configuration_set_attributes", EmailIdentity="acme.com"),
          lambda h: h.identity().get("ConfigurationSetName"), MAIL),
    Rival("sending policy edited", _ses("update_email_identity_policy", EmailIdentity="acme.com", PolicyName="partner",
                                        Policy=json.dumps(allow("999988887777"))), _partner, MAIL),
    Rival("identity deleted", _ses("delete_email_identity", EmailIdentity="acme.com"),
          _listed("list_email_identities", "EmailIdentities", "acme.com"), MAIL),
    Rival("identity's owner tag removed", _unclaim("identity/acme.com"), _tags("identity/acme.com"), MAIL),
    Rival("identity claimed by a second stack", _claim("identity/acme.com"), _tags("identity/acme.com"), MAIL),
    Rival("a written option of the set edited", _ses(
        "put_configuration_set_delivery_options", ConfigurationSetName="main", MaxDeliverySeconds=900),
        lambda h: h.set()["DeliveryOptions"].get("MaxDeliverySeconds"), (SET, OUT, *MAIL)),
    Rival("an option beside a written one edited", _ses(
        "put_configuration_set_delivery_options", ConfigurationSetName="main", MaxDeliverySeconds=300,
        TlsPolicy="REQUIRE"),
        lambda h: h.set()["DeliveryOptions"].get("TlsPolicy"), (SET, OUT, *MAIL)),
    Rival("set deleted", _ses("delete_configuration_set", ConfigurationSetName="main"),
          _listed("list_configuration_sets", "ConfigurationSets", "main"), (SET, OUT, *MAIL)),
    Rival("set claimed by a second stack", _claim("configuration-set/main"), _tags("configuration-set/main"),
          (SET, OUT, *MAIL)),
    Rival("destination edited", _ses(
        "update_configuration_set_event_destination", ConfigurationSetName="main", EventDestinationName="out",
        EventDestination={"Enabled": True, "MatchingEventTypes": ["CLICK"],
                          "SnsDestination": {"TopicArn": TOPIC["topic_arn"]}}), _destinations, (OUT,)),
    Rival("destination deleted", _ses(
        "delete_configuration_set_event_destination", ConfigurationSetName="main", EventDestinationName="out"),
        _destinations, (OUT,)),
    Rival("an address put into the pool", _ses("put_dedicated_ip_in_pool", Ip="192.0.2.3", DestinationPoolName="tx"),
          lambda h: client("sesv2").get_dedicated_ip(Ip="192.0.2.3")["DedicatedIp"]["PoolName"], (POOL,)),
    Rival("pool claimed by a second stack", _claim("dedicated-ip-pool/tx"), _tags("dedicated-ip-pool/tx"), (POOL,)),
    Rival("user's policy edited", lambda h: client("iam").put_user_policy(
        UserName="news", PolicyName=POLICY, PolicyDocument=json.dumps(allow("x")).replace("Principal", "NotAction")),
        _of_user("policy"), (USER, "smtp_credential/")),
    Rival("user's tag edited", _tag_user("owner", "rival"), _of_user("owner"), (USER, "smtp_credential/")),
    Rival("user claimed by a second stack", _tag_user("recon:stack", "rival"), _of_user("recon:stack"),
          (USER, "smtp_credential/")),
    Rival("user deleted", _destroy_user, _users, (USER, "smtp_credential/")),
    Rival("DMARC edited", _put_record("_dmarc.acme.com", "TXT", '"v=DMARC1; p=quarantine"', '"vendor-token=zzz"'),
          _record("_dmarc.acme.com", "TXT"), MAIL),
    Rival("DMARC deleted", _drop_record("_dmarc.acme.net", "TXT", "acme.net"),
          _record("_dmarc.acme.net", "TXT", "acme.net"), ("dns_record/acme.net/",)),
    Rival("a value put beside ours", _add_value("acme.com", '"rival-verification=1"'),
          lambda h: '"rival-verification=1"' in h.dns_values("acme.com", "TXT"), MAIL),
    Rival("a CNAME put where a record is to be made", _put_record("c.acme.com", "CNAME", "rival.example."),
          _record("c.acme.com", "CNAME"), MAIL),
    Rival("a second stack's marker", _put_record(
        "_recon.acme.net", "TXT", '"v=recon1; stack=rival; groups=dmarc"', zone="acme.net"),
        _record("_recon.acme.net", "TXT", "acme.net"), ("dns_record/acme.net/",), harmless=True),
    Rival("zone deleted", _drop_zone("acme.net"), _zones, ("dns_record/acme.net/",)),
)  # fmt: skip


GONE: dict[str, Any] = {"configuration_sets": {"other": {}}, "domains": {"acme.com": {"identity": False}}}


def _their_key(house: House) -> None:
    client("iam").create_access_key(UserName="news")


HEIRS = (
    Rival("identity edited", _ses("put_email_identity_feedback_attributes", EmailIdentity="acme.com",
                                  EmailForwardingEnabled=False),
          lambda h: h.identity()["FeedbackForwardingStatus"], MAIL),
    Rival("identity claimed by a second stack", _claim("identity/acme.com"), _tags("identity/acme.com"), MAIL),
    Rival("a destination added to the set", _ses(
        "create_configuration_set_event_destination", ConfigurationSetName="main", EventDestinationName="theirs",
        EventDestination={"Enabled": True, "MatchingEventTypes": ["SEND"],
                          "SnsDestination": {"TopicArn": TOPIC["topic_arn"]}}),
        lambda h: "theirs" in _destinations(h), (SET, OUT, POOL)),
    Rival("a destination of the set edited", _ses(
        "update_configuration_set_event_destination", ConfigurationSetName="main", EventDestinationName="out",
        EventDestination={"Enabled": True, "MatchingEventTypes": ["CLICK"],
                          "SnsDestination": {"TopicArn": TOPIC["topic_arn"]}}), _destinations, (SET, OUT, POOL)),
    Rival("set claimed by a second stack", _claim("configuration-set/main"), _tags("configuration-set/main"),
          (SET, OUT, POOL)),
    Rival("an address put into the pool", _ses("put_dedicated_ip_in_pool", Ip="192.0.2.3", DestinationPoolName="tx"),
          lambda h: client("sesv2").get_dedicated_ip(Ip="192.0.2.3")["DedicatedIp"]["PoolName"], (POOL,)),
    Rival("user claimed by a second stack", _tag_user("recon:stack", "rival"), _of_user("recon:stack"),
          (USER, "smtp_credential/")),
    Rival("user given another key", _their_key,
          lambda h: len(client("iam").list_access_keys(UserName="news")["AccessKeyMetadata"]) >= 1,
          (USER, "smtp_credential/")),
    Rival("a value put beside ours", _add_value("acme.com", '"rival-verification=1"'),
          lambda h: '"rival-verification=1"' in h.dns_values("acme.com", "TXT"), MAIL),
    Rival("DMARC edited", _put_record("_dmarc.acme.net", "TXT", '"v=DMARC1; p=quarantine"', zone="acme.net"),
          _record("_dmarc.acme.net", "TXT", "acme.net"), ("dns_record/acme.net/",)),
    Rival("zone deleted", _drop_zone("acme.net"), _zones, ("dns_record/acme.net/",)),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a rival has undone never shows: a run waits for it half a minute, a table of runs an hour."""
    monkeypatch.setattr(visibility, "VISIBLE_SECONDS", 1.0)


# --- the stage -----------------------------------------------------------------------------------------------------


class Stage:
    """The stack applied and the change written, kept so that every trial begins there; ``steps`` of an unhurt run."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.house = House(Path(tempfile.mkdtemp(prefix="recon-rivals-")))
        house = self.house.begin()
        house.sandbox.seed(dedicated_ips=[{"ip": f"192.0.2.{n}"} for n in (1, 2, 3)])
        house.seed_zone("acme.com", FOREIGN)
        house.seed_zone("acme.net", {("acme.net", "TXT"): ["theirs"]})
        house.settle(BEFORE)
        house.write(document)
        self.kept = ledger.take(house.sandbox)
        self.steps: list[str] = []
        assert self.run(lambda step: self.steps.append(step)).outcome == "applied"

    def run(self, after_step: Callable[[str], None], before: Callable[[], None] = lambda: None) -> Result:
        """Plan; ``before``; apply, calling ``after_step(id)`` after every step that ended well."""
        planned = self.house.make(purpose="apply", parallelism=1)
        check_safeguards(planned.plan, allow_deletes=100)
        before()
        return applier.apply_plan(
            planned.plan, planned.aws, zones=planned.snapshot.zones, verify_timeout=3.0,
            on_step=lambda step, outcome, code: after_step(step) if outcome == "done" else None,
        )  # fmt: skip

    def trial(self, rival: Rival, moment: int) -> Result | None:
        """One run with the rival acting at ``moment`` (0: after the plan); None where nothing was left to act on."""
        ledger.restore(self.house.sandbox, self.kept)
        house, left, count = self.house, [], 0

        def act() -> None:
            try:
                rival.act(house)
            except ClientError:
                return  # What this rival wants cannot be done any more at this moment.
            left.append(rival.mark(house))

        def after(step: str) -> None:
            nonlocal count
            count += 1
            if count == moment:
                act()

        result = self.run(after, act if moment == 0 else lambda: None)
        if not left:
            return None
        now = rival.mark(house)
        assert now == left[0], f"the rival's {left[0]!r} became {now!r}\n{told(result)}"
        undone = [a for a in result.applied if a.status != "done"]
        wrong = [a for a in undone if not a.address.startswith(rival.may_suffer)]
        assert not wrong, f"had nothing to do with it: {wrong}\n{told(result)}"
        if undone:
            assert result.outcome in {"partial", "error"}, told(result)
            said = " ".join(d.message + d.address for d in result.diagnostics)
            assert any(place.rstrip("/") in said for place in rival.may_suffer), told(result)
        return result

    def again(self) -> None:
        """The next apply converges, or refuses with a reason."""
        house = self.house
        try:
            result = house.apply(expect=None, allow_adopt=True)
        except Refused as error:
            assert error.message
            return
        if result.outcome == "partial":
            assert result.diagnostics or result.plan.diagnostics
            return
        assert result.outcome in {"applied", "no_changes"}, told(result)
        left = house.plan()
        assert not left.changes, [words(c) for c in left.changes]


@functools.lru_cache(maxsize=2)
def stage_of(which: str) -> Stage:
    return Stage({"change": AFTER, "removal": GONE}[which])


CASES = [pytest.param(which, rival, id=f"{which}: {rival.name}")
         for which, rivals in (("change", RIVALS), ("removal", HEIRS)) for rival in rivals]  # fmt: skip
FAST = {
    "change: MAIL FROM moved", "change: identity claimed by a second stack", "change: user's policy edited",
    "change: an option beside a written one edited", "change: destination deleted", "change: zone deleted",
    "change: a value put beside ours",
}  # fmt: skip
NARROW = {
    "MAIL FROM moved": (1, 2, 4), "an option beside a written one edited": (1, 2),
    "a CNAME put where a record is to be made": (2,),
}  # fmt: skip
"""Moments that a default run tries, of those rivals that a second look has to find."""


@pytest.mark.parametrize(
    ("which", "rival"),
    [c if c.id in FAST else pytest.param(*c.values, id=c.id, marks=pytest.mark.slow) for c in CASES],
)
def test_a_rival_between_plan_and_apply(house: House, which: str, rival: Rival) -> None:
    stage = stage_of(which)
    result = stage.trial(rival, 0)
    assert result is not None
    assert rival.harmless or [a for a in result.applied if a.status != "done"], "the rival was not noticed"
    stage.again()


@pytest.mark.slow
@pytest.mark.parametrize(("which", "rival"), CASES)
def test_a_rival_after_any_step(house: House, which: str, rival: Rival) -> None:
    stage = stage_of(which)
    for moment in range(1, len(stage.steps) + 1):
        try:
            if stage.trial(rival, moment) is not None:
                stage.again()
        except AssertionError as problem:
            raise AssertionError(f"after step {moment}, {stage.steps[moment - 1]}: {problem}") from None


@pytest.mark.parametrize("rival", [r for r in RIVALS if r.name in NARROW], ids=lambda r: r.name)
def test_a_rival_between_two_steps(house: House, rival: Rival) -> None:
    """A few of the moments of the whole table above."""
    stage = stage_of("change")
    for moment in NARROW[rival.name]:
        stage.trial(rival, moment)
