"""Every option of the YAML: created, changed in place, reset with null, taken out. One row of the table is one option.

For each row: a state with value A is applied and leaves an empty plan at the first try; value B shows exactly the
YAML's path with both values, is applied, and leaves an empty plan; a second apply writes nothing; ``null`` resets to
AWS's default; taking the option out leaves it as it is or deletes it, as the contract says. What AWS holds is looked
at with a client of its own, not with recon's readers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from support import ACCOUNT, HOME, House, client, lines, put, words

from reconciler.model import Plan

ABSENT = object()
"""For ``null``: the option does not take null. For live values: the field is not there."""


@dataclass(frozen=True)
class Row:
    """One option. ``at`` is its place in the document, ``path`` its place in the diff of ``address``."""

    id: str
    at: tuple[str, ...]
    a: Any
    b: Any
    address: str
    path: str
    live: Callable[[], Any]
    live_a: Any = ABSENT
    live_b: Any = ABSENT
    default: Any = ABSENT
    """What null means, as the diff shows it; ABSENT where null is not accepted."""
    live_default: Any = None
    removed: str = "stays"
    """What taking it out means: ``stays`` or ``deleted``."""
    shown: tuple[Any, Any] | None = None
    """How the diff shows A and B, where not as written."""
    also: tuple[str, ...] = ()
    """Prefixes of other addresses that may change along."""
    beside: tuple[str, ...] = ()
    """Other paths of the same diff that may change along."""
    base: dict[str, Any] = field(default_factory=dict)
    whole: bool = False
    """The option's block goes with it: it means nothing without the option."""
    gone_address: str = "update"
    """The action that taking it out shows: ``update``, or ``delete`` for a record of its own."""

    def with_(self, value: Any) -> dict[str, Any]:
        return put(self.base, self.at, value)

    def without(self) -> dict[str, Any]:
        if self.whole:
            return put(
                self.base, self.at[:-2], {k: v for k, v in _at(self.base, self.at[:-2]).items() if k != self.at[-2]}
            )
        return put(self.base, self.at[:-1], {k: v for k, v in _at(self.base, self.at[:-1]).items() if k != self.at[-1]})


def _at(document: Any, path: tuple[str, ...]) -> dict[str, Any]:
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


# --- configuration sets --------------------------------------------------------------------------------------------

SET_BASE: dict[str, Any] = {
    "configuration_sets": {"main": {"reputation_options": {"reputation_metrics_enabled": True}}}
}
POOL_BASE: dict[str, Any] = {**SET_BASE, "dedicated_ip_pools": {"one": {}, "two": {}}}
TRACKING_BASE: dict[str, Any] = {**SET_BASE, "domains": {"acme.com": {"dkim": {}}}}
MAIN = f"configuration_set/{HOME}/main"
ARCHIVES = tuple(f"arn:aws:ses:{HOME}:{ACCOUNT}:mailmanager-archive/a-{c * 26}" for c in "ab")


def get_set(*path: str) -> Callable[[], Any]:
    def look() -> Any:
        found: Any = client("sesv2").get_configuration_set(ConfigurationSetName="main")
        for part in path:
            found = (found or {}).get(part)
        return found

    return look


def option(
    path: str, a: Any, b: Any, live: tuple[str, ...], default: Any, live_default: Any = None, **more: Any
) -> Row:
    return Row(
        f"set.{path}",
        ("configuration_sets", "main", *path.split(".")),
        a,
        b,
        MAIN,
        path,
        get_set(*live),
        a,
        b,
        default,
        live_default,
        base=more.pop("base", SET_BASE),
        **more,
    )


SETS = [
    option(
        "delivery_options.tls_policy", "REQUIRE", "OPTIONAL", ("DeliveryOptions", "TlsPolicy"), "OPTIONAL", "OPTIONAL"
    ),
    option(
        "delivery_options.sending_pool_name", "one", "two", ("DeliveryOptions", "SendingPoolName"), None, base=POOL_BASE
    ),
    option("delivery_options.max_delivery_seconds", 3600, 300, ("DeliveryOptions", "MaxDeliverySeconds"), None),
    option(
        "reputation_options.reputation_metrics_enabled",
        False,
        True,
        ("ReputationOptions", "ReputationMetricsEnabled"),
        False,
        False,
    ),
    option("sending_options.sending_enabled", True, False, ("SendingOptions", "SendingEnabled"), True, True),
    option(
        "suppression_options.suppressed_reasons",
        ["BOUNCE", "COMPLAINT"],
        ["COMPLAINT"],
        ("SuppressionOptions", "SuppressedReasons"),
        None,
    ),
    option(
        "suppression_options.suppression_scope", "TENANT", "ACCOUNT", ("SuppressionOptions", "SuppressionScope"), None
    ),
    option(
        "vdm_options.dashboard_options.engagement_metrics",
        "ENABLED",
        "DISABLED",
        ("VdmOptions", "DashboardOptions", "EngagementMetrics"),
        None,
    ),
    option(
        "vdm_options.guardian_options.optimized_shared_delivery",
        "DISABLED",
        "ENABLED",
        ("VdmOptions", "GuardianOptions", "OptimizedSharedDelivery"),
        None,
    ),
    option("archiving_options.archive_arn", *ARCHIVES, ("ArchivingOptions", "ArchiveArn"), None),
    option(
        "tracking_options.custom_redirect_domain",
        "click.acme.com",
        "go.acme.com",
        ("TrackingOptions", "CustomRedirectDomain"),
        None,
        also=("dns_record/acme.com/",),
        base=TRACKING_BASE,
    ),
    option("tags.tier", "gold", "silver", ("Tags",), ABSENT, removed="deleted"),
]


def tag_of(look: Callable[[], Any], key: str) -> Callable[[], Any]:
    return lambda: {t["Key"]: t["Value"] for t in look()}.get(key)


# A set that was never told otherwise may show no delivery options at all, which means OPTIONAL.
SETS[0] = replace(SETS[0], live=lambda: get_set("DeliveryOptions", "TlsPolicy")() or "OPTIONAL")
SETS[-1] = replace(SETS[-1], live=tag_of(get_set("Tags"), "tier"))
SETS.append(
    Row(
        "set.tracking_options.https_policy",
        ("configuration_sets", "main", "tracking_options", "https_policy"),
        "REQUIRE",
        "REQUIRE_OPEN_ONLY",
        MAIN,
        "tracking_options.https_policy",
        get_set("TrackingOptions", "HttpsPolicy"),
        "REQUIRE",
        "REQUIRE_OPEN_ONLY",
        "OPTIONAL",
        "OPTIONAL",
        also=("dns_record/acme.com/click.acme.com/",),
        base=put(
            TRACKING_BASE,
            ("configuration_sets", "main", "tracking_options"),
            {"custom_redirect_domain": "click.acme.com"},
        ),
    )
)


# --- event destinations --------------------------------------------------------------------------------------------

TOPICS = tuple(f"arn:aws:sns:{HOME}:{ACCOUNT}:{name}" for name in ("feedback", "other"))
STREAMS = tuple(f"arn:aws:firehose:{HOME}:{ACCOUNT}:deliverystream/{name}" for name in ("one", "two"))
ROLES = tuple(f"arn:aws:iam::{ACCOUNT}:role/{name}" for name in ("one", "two"))


def destination(path: str, a: Any, b: Any, live: str, base: dict[str, Any], default: Any = ABSENT, **more: Any) -> Row:
    document = put(SET_BASE, ("configuration_sets", "main", "event_destinations", "d"), base)

    def look() -> Any:
        listed = client("sesv2").get_configuration_set_event_destinations(ConfigurationSetName="main")[
            "EventDestinations"
        ]
        found: Any = next((d for d in listed if d["Name"] == "d"), None)
        for part in live.split("."):
            found = (found or {}).get(part)
        return found

    return Row(
        f"destination.{path}",
        ("configuration_sets", "main", "event_destinations", "d", *path.split(".")),
        a,
        b,
        f"event_destination/{HOME}/main/d",
        path,
        look,
        default=default,
        base=document,
        removed="required",
        **more,
    )


def dimension(name: str, source: str = "MESSAGE_TAG", value: str = "acme.com") -> dict[str, str]:
    return {"dimension_name": name, "dimension_value_source": source, "default_dimension_value": value}


SNS = {"matching_event_types": ["BOUNCE"], "sns_destination": {"topic_arn": TOPICS[0]}}
DESTINATIONS = [
    destination("enabled", True, False, "Enabled", SNS, live_a=True, live_b=False),
    destination(
        "matching_event_types",
        ["BOUNCE", "COMPLAINT"],
        ["SEND"],
        "MatchingEventTypes",
        SNS,
        live_a=["BOUNCE", "COMPLAINT"],
        live_b=["SEND"],
    ),
    destination(
        "sns_destination.topic_arn", *TOPICS, "SnsDestination.TopicArn", SNS, live_a=TOPICS[0], live_b=TOPICS[1]
    ),
    destination(
        "kinesis_firehose_destination.delivery_stream_arn",
        *STREAMS,
        "KinesisFirehoseDestination.DeliveryStreamArn",
        {"matching_event_types": ["SEND"], "kinesis_firehose_destination": {"iam_role_arn": ROLES[0]}},
        live_a=STREAMS[0],
        live_b=STREAMS[1],
    ),
    destination(
        "kinesis_firehose_destination.iam_role_arn",
        *ROLES,
        "KinesisFirehoseDestination.IamRoleArn",
        {"matching_event_types": ["SEND"], "kinesis_firehose_destination": {"delivery_stream_arn": STREAMS[0]}},
        live_a=ROLES[0],
        live_b=ROLES[1],
    ),
    destination(
        "cloud_watch_destination.dimension_configurations",
        [dimension("ses:from-domain")],
        [dimension("campaign", "EMAIL_HEADER", "none"), dimension("link", "LINK_TAG", "none")],
        "CloudWatchDestination.DimensionConfigurations",
        {"matching_event_types": ["SEND"]},
    ),
]

# --- pools ---------------------------------------------------------------------------------------------------------

POOLS = [
    Row(
        "pool.dedicated_ips",
        ("dedicated_ip_pools", "one", "dedicated_ips"),
        ["192.0.2.1", "192.0.2.2"],
        ["192.0.2.2", "192.0.2.3"],
        f"dedicated_ip_pool/{HOME}/one",
        "dedicated_ips",
        lambda: sorted(i["Ip"] for i in client("sesv2").get_dedicated_ips(PoolName="one")["DedicatedIps"]),
        ["192.0.2.1", "192.0.2.2"],
        ["192.0.2.2", "192.0.2.3"],
        base=POOL_BASE,
    ),
    Row(
        "pool.tags",
        ("dedicated_ip_pools", "one", "tags", "team"),
        "red",
        "blue",
        f"dedicated_ip_pool/{HOME}/one",
        "tags.team",
        tag_of(
            lambda: client("sesv2").list_tags_for_resource(
                ResourceArn=f"arn:aws:ses:{HOME}:{ACCOUNT}:dedicated-ip-pool/one"
            )["Tags"],
            "team",
        ),
        "red",
        "blue",
        removed="deleted",
        base=POOL_BASE,
    ),
]

# --- identities ----------------------------------------------------------------------------------------------------

DOMAIN_BASE: dict[str, Any] = {
    "domains": {"acme.com": {"dkim": {}, "dmarc": {"p": "none"}}},
    "configuration_sets": {"one": {}, "two": {}},
}
IDENTITY = f"email_identity/{HOME}/acme.com"


def get_identity(*path: str) -> Callable[[], Any]:
    def look() -> Any:
        found: Any = client("sesv2").get_email_identity(EmailIdentity="acme.com")
        for part in path:
            found = (found or {}).get(part)
        return found

    return look


def identity(
    path: str, a: Any, b: Any, live: tuple[str, ...], default: Any = ABSENT, live_default: Any = None, **more: Any
) -> Row:
    base = more.pop("base", DOMAIN_BASE)
    return Row(
        f"identity.{path}",
        ("domains", "acme.com", *path.split(".")),
        a,
        b,
        IDENTITY,
        path,
        get_identity(*live),
        a,
        b,
        default,
        live_default,
        base=base,
        **more,
    )


def allow(account: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "partner",
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
                "Action": "ses:SendEmail",
                "Resource": f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/acme.com",
            }
        ],
    }


IDENTITIES = [
    identity("dkim.signing_enabled", True, False, ("DkimAttributes", "SigningEnabled"), removed="default"),
    identity(
        "dkim.next_signing_key_length",
        "RSA_2048_BIT",
        "RSA_1024_BIT",
        ("DkimAttributes", "NextSigningKeyLength"),
        "RSA_2048_BIT",
        "RSA_2048_BIT",
        also=("dns_record/acme.com/acme.com:dkim:",),
    ),
    identity(
        "mail_from.behavior_on_mx_failure",
        "REJECT_MESSAGE",
        "USE_DEFAULT_VALUE",
        ("MailFromAttributes", "BehaviorOnMxFailure"),
        "USE_DEFAULT_VALUE",
        "USE_DEFAULT_VALUE",
        base=put(DOMAIN_BASE, ("domains", "acme.com", "mail_from"), {"mail_from_domain": "bounce.acme.com"}),
    ),
    identity(
        "mail_from.mail_from_domain",
        "bounce.acme.com",
        "mail.acme.com",
        ("MailFromAttributes", "MailFromDomain"),
        removed="deleted",
        also=("dns_record/acme.com/",),
        whole=True,
    ),
    identity("configuration_set_name", "one", "two", ("ConfigurationSetName",), None),
    identity("email_forwarding_enabled", True, False, ("FeedbackForwardingStatus",), True, True),
    identity("tags.team", "red", "blue", ("Tags",), removed="deleted"),
    identity(
        "policies.partner", allow("222233334444"), allow("333344445555"), ("Policies", "partner"), removed="deleted"
    ),
]
IDENTITIES[-2] = replace(IDENTITIES[-2], live=tag_of(get_identity("Tags"), "team"))
IDENTITIES[-1] = replace(IDENTITIES[-1], live_a=ABSENT, live_b=ABSENT)

ROWS = [*SETS, *DESTINATIONS, *POOLS, *IDENTITIES]


# --- the test ------------------------------------------------------------------------------------------------------


def seen(plan: Plan, row: Row) -> dict[str, tuple[Any, Any]]:
    """The lines of the row's own change; every other change must be one that the row announces."""
    others = [c for c in plan.changes if c.address != row.address]
    assert all(c.address.startswith(row.also) for c in others) if row.also else not others, "\n".join(
        map(words, others)
    )
    mine = [c for c in plan.changes if c.address == row.address]
    assert len(mine) == 1, "\n".join(map(words, plan.changes)) or "no change"
    return {p: v for p, v in lines(mine[0]).items() if not p.startswith(row.beside or ("\0",))}


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def prepared(house: House) -> House:
    house.seed_zone()
    house.sandbox.seed(dedicated_ips=[{"ip": f"192.0.2.{n}"} for n in (1, 2, 3)])
    return house


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_option_is_created_changed_reset_and_taken_out(house: House, row: Row) -> None:
    prepared(house)
    a, b = row.shown or (row.a, row.b)

    house.settle(row.with_(row.a))
    if row.live_a is not ABSENT:
        assert row.live() == row.live_a
    house.sandbox.advance(2 * 86400)

    plan = house.plan(row.with_(row.b))
    found = seen(plan, row)
    if row.id != "identity.policies.partner":
        assert found == {row.path: (a, b)}
    else:
        assert list(found) == [row.path]
    source = next(c for c in plan.changes if c.address == row.address).source
    assert source is not None
    assert source.line > 1
    house.settle()
    if row.live_b is not ABSENT:
        assert row.live() == row.live_b
    house.sandbox.advance(2 * 86400)

    if row.default is not ABSENT:
        plan = house.plan(row.with_(None))
        if b != row.default:
            assert seen(plan, row) == {row.path: (b, row.default)}
        house.settle()
        assert row.live() == row.live_default
        house.sandbox.advance(2 * 86400)
        house.settle(row.with_(row.a))
        house.sandbox.advance(2 * 86400)
        a_or_b = (a, row.live_a)
    else:
        a_or_b = (b, row.live_b)

    if row.removed == "stays":
        house.write(row.without())
        house.quiet()
        if a_or_b[1] is not ABSENT:
            assert row.live() == a_or_b[1]
    elif row.removed == "deleted":
        plan = house.plan(row.without())
        mine = next(c for c in plan.changes if c.address == row.address)
        assert mine.action == row.gone_address
        assert any(p.startswith(row.path.partition(".")[0]) and v[1] is None for p, v in lines(mine).items()), words(
            mine
        )
        house.settle()
        assert row.live() is None
    house.check_foreign()


@pytest.mark.parametrize("row", [r for r in ROWS if r.removed != "required"], ids=lambda row: row.id)
def test_option_is_added_to_what_exists(house: House, row: Row) -> None:
    prepared(house)
    house.settle(row.without())
    house.sandbox.advance(2 * 86400)
    house.settle(row.with_(row.b))
    if row.live_b is not ABSENT:
        assert row.live() == row.live_b
    house.destroy()
    house.check_foreign(alone=True)


def test_auto_validation_of_a_set(house: House) -> None:
    """A block in a block in a block: created, changed in a leaf, kept where it is not written, reset."""
    look = get_set("SuppressionOptions", "ValidationOptions")

    def main(validation: Any) -> dict[str, Any]:
        return {"configuration_sets": {"main": {"suppression_options": {"validation_options": validation}}}}

    high = {"confidence_verdict_threshold": "HIGH"}
    on = {"condition_threshold_enabled": "enabled", "overall_confidence_threshold": high}
    house.settle(main({"condition_threshold": on}))
    assert look() == {
        "ConditionThreshold": {
            "ConditionThresholdEnabled": "ENABLED",
            "OverallConfidenceThreshold": {"ConfidenceVerdictThreshold": "HIGH"},
        }
    }
    plan = house.settle(main({"condition_threshold": {"condition_threshold_enabled": "DISABLED"}}))
    path = "suppression_options.validation_options.condition_threshold.condition_threshold_enabled"
    assert lines(plan.changes[0]) == {path: ("ENABLED", "DISABLED")}
    assert look()["ConditionThreshold"]["OverallConfidenceThreshold"] == {"ConfidenceVerdictThreshold": "HIGH"}
    house.settle({"configuration_sets": {"main": {"suppression_options": {"suppressed_reasons": ["BOUNCE"]}}}})
    assert look()["ConditionThreshold"]["ConditionThresholdEnabled"] == "DISABLED"
    house.settle(main(None))
    assert look() is None
    assert get_set("SuppressionOptions", "SuppressedReasons")() == ["BOUNCE"]
