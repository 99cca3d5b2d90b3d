"""Every rule both ways: a view that trips it, with its severity, and one that does not; how severity comes about."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler import rules
from reconciler.kinds.other_policies import OtherPolicy
from reconciler.model import Change, Desired, Entry, FieldDiff, Observed, Source, Stack, State, Waiver
from reconciler.resources.dns_record.rules import dmarc as dmarc_rules
from reconciler.resources.dns_record.rules import spf as spf_rules
from reconciler.resources.event_rule import preset_pattern
from reconciler.resources.sns_subscription import UNDECLARED
from reconciler.rules import RULES, RecordView, RuleView, Topic, judge, registry
from reconciler.rules.dns_view import HostedZoneView

PAGES = Path(__file__).parent.parent / "docs" / "rules"
NOW = datetime(2026, 11, 22, tzinfo=UTC)
EAST, WEST = "us-east-1", "eu-west-1"
AT = Source("state/mail.yaml", 7)
TOPIC = "arn:aws:sns:us-east-1:111122223333:feedback"
ACME = f"email_identity/{EAST}/acme.com"
TX = f"configuration_set/{EAST}/tx"
TOPIC_ADDRESS = f"sns_topic/{EAST}/{TOPIC.rpartition(':')[2]}"
SES_MAY_USE = {
    "Statement": {
        "Effect": "Allow", "Principal": {"Service": "ses.amazonaws.com"}, "Resource": "*",
        "Action": ["kms:GenerateDataKey*", "kms:Decrypt"],
    }
}  # fmt: skip
SES_MAY_PUBLISH = {
    "Statement": {
        "Effect": "Allow", "Principal": {"Service": "ses.amazonaws.com"}, "Action": "SNS:Publish", "Resource": "*",
        "Condition": {"StringEquals": {"AWS:SourceAccount": "111122223333"}},
    }
}  # fmt: skip

GOOD_IDENTITY: dict[str, Any] = {
    "dkim": {
        "signing_enabled": True, "signing_attributes_origin": "AWS_SES", "next_signing_key_length": "RSA_2048_BIT"
    },
    "mail_from": {"mail_from_domain": "bounce.acme.com", "behavior_on_mx_failure": "USE_DEFAULT_VALUE"},
    "configuration_set_name": None, "email_forwarding_enabled": True, "policies": {}, "tags": {},
}  # fmt: skip
REPLICA = f"email_identity/{WEST}/acme.com"
GOOD_FACTS = {
    "verification_status": "SUCCESS", "dkim_status": "SUCCESS", "mail_from_status": "SUCCESS", "tokens": ["t1"]
}  # fmt: skip
SIGNS_LIKE_ITS_PARENT = (
    {**GOOD_IDENTITY, "dkim": {**GOOD_IDENTITY["dkim"], "signing_attributes_origin": "AWS_SES_US_EAST_1"}},
    {},
    GOOD_FACTS,
)
GOOD_SET: dict[str, Any] = {
    "delivery_options": {"tls_policy": "REQUIRE", "sending_pool_name": None},
    "reputation_options": {"reputation_metrics_enabled": True},
    "sending_options": {"sending_enabled": True},
    "suppression_options": {"suppressed_reasons": ["BOUNCE", "COMPLAINT"]},
    "tracking_options": {"custom_redirect_domain": None, "https_policy": "OPTIONAL"},
}
GOOD_DESTINATION = {
    "enabled": True, "matching_event_types": ["BOUNCE", "COMPLAINT"], "sns_destination": {"topic_arn": TOPIC}
}  # fmt: skip
GOOD_USER = {
    "from_addresses": ["*@acme.com"], "source_ips": ["203.0.113.0/24"], "identities": ["acme.com"],
    "access_key": {"max_age_days": 90, "overlap_days": 7},
}  # fmt: skip
GOOD_DMARC = "v=DMARC1; p=reject; rua=mailto:d@acme.com"
NONE = "v=DMARC1; p=none; rua=mailto:d@acme.com"
GOOD_DNS: dict[tuple[str, str], Any] = {
    ("acme.com", "NS"): ["ns1.example"],
    ("acme.com", "TXT"): ["v=spf1 include:_spf.crm.example ~all", "some-verification=1"],
    ("_dmarc.acme.com", "TXT"): [GOOD_DMARC],
    ("bounce.acme.com", "MX"): ["10 feedback-smtp.us-east-1.amazonses.com"],
    ("bounce.acme.com", "TXT"): ["v=spf1 include:amazonses.com ~all"],
    ("t1._domainkey.acme.com", "CNAME"): ["t1.dkim.amazonses.com"],
    ("shop.acme.com", "A"): ["192.0.2.1"],
}


def about(name: str, region: str = EAST) -> dict[str, Any]:
    resource = f"arn:aws:ses:{region}:111122223333:identity/{name}"
    return {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "1"}, "Action": "ses:*", "Resource": resource}]}


def laid(over: Any, under: Any) -> Any:
    if isinstance(over, Mapping) and isinstance(under, Mapping):
        return {**under, **{k: laid(v, under.get(k)) for k, v in over.items()}}
    return over


def entry(section: str, name: str, region: str | None, values: Mapping[str, Any]) -> Entry:
    return Entry(section, name, region, values, AT, {})


def records(texts: Mapping[tuple[str, str], Any]) -> dict[tuple[str, str], RecordView]:
    return {
        key: value if isinstance(value, RecordView) else RecordView(tuple(value))
        for key, value in texts.items()
        if value is not None
    }


def make(
    *,
    live: Mapping[str, Any] | None = None,
    want: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    more: Mapping[str, tuple[Any, Any] | tuple[Any, Any, Any]] | None = None,
    domains: Mapping[str, Any] | None = None,
    users: Mapping[str, Any] | None = None,
    roles: Mapping[str, Any] | None = None,
    dmarc: tuple[str | None, str | None] | None = None,
    spf: tuple[str | None, str | None] | None = None,
    before: Mapping[tuple[str, str], Any] | None = None,
    after: Mapping[tuple[str, str], Any] | None = None,
    written: tuple[str, ...] = (),
    zones: tuple[str, ...] = ("acme.com",),
    regions: tuple[str, ...] = (EAST, WEST),
    settings: Mapping[str, str] | None = None,
    waivers: tuple[Waiver, ...] = (),
    dns_account: str | None = None,
    entries: tuple[Entry, ...] = (),
    **view: Any,
) -> RuleView:
    """A view in which all is well, with what a case changes.

    ``live``/``want``/``facts`` concern the identity acme.com in us-east-1 (``live=False`` in ``more`` terms: None).
    ``more`` is address -> (live spec, spec afterwards[, facts]); ``dmarc`` and ``spf`` are texts before and after.
    """
    things: dict[str, Any] = {ACME: (laid(live or {}, GOOD_IDENTITY), want or {}, {**GOOD_FACTS, **(facts or {})})}
    things.update(more or {})
    observed, desired, changes = {}, {}, []
    for address, thing in things.items():
        was, will, known = (*thing, {})[:3]
        kind, _, rest = address.partition("/")
        region = None if kind.startswith("smtp") else rest.partition("/")[0]
        name = rest.rpartition("/")[2]
        if was is not None:
            observed[address] = Observed(address, kind, region, name, was, facts=known)
        if will is not None:
            desired[address] = Desired(address, kind, region, name, will, entry("x", name, region, will))
        action = "create" if was is None else "delete" if will is None else "update"
        if was is None or will is None or laid(will, was) != was:
            diff = (FieldDiff("x", was, will),)
            changes.append(Change(address, kind, action, was, will, diff, region=region))  # type: ignore[arg-type]
    changes += [Change(a, "dns_record", "create", None, {}, (FieldDiff("x", None, 1),)) for a in written]
    dns = {**GOOD_DNS, **(before or {})}
    later = {**dns, **(after or {})}
    for key, texts in ((("_dmarc.acme.com", "TXT"), dmarc), (("acme.com", "TXT"), spf)):
        if texts is not None:
            dns[key], later[key] = ([text] if text else None for text in texts)
    declared = [entry("domains", n, None, v) for n, v in {"acme.com": {}, **(domains or {})}.items() if v is not None]
    declared += [entry("smtp_users", n, None, v) for n, v in (users or {}).items()]
    declared += [entry("sending_roles", n, None, v) for n, v in (roles or {}).items()]
    state = State(
        Stack("acme-mail", None, "111122223333", regions, dns_account=dns_account),
        (*declared, *entries),
        rules=settings or {},
        waivers=waivers,
    )
    return RuleView(
        state, tuple(changes), desired, observed, frozenset(zones), records(dns), records(later), now=NOW, **view
    )


def identity(*, mail_from: Any = None, **block: Any) -> dict[str, Any]:
    return {**GOOD_IDENTITY, "mail_from": mail_from, **block}


def new(**block: Any) -> tuple[None, dict[str, Any]]:
    return None, {**GOOD_IDENTITY, "mail_from": None, **block}


def a_set(was: Any = None, will: Any = None, destination: Any = GOOD_DESTINATION) -> dict[str, Any]:
    """The set tx live as good (with ``was``), ``will`` asked for, and one destination that stays as it is."""
    found: dict[str, Any] = {TX: (laid(was or {}, GOOD_SET), will or {})}
    if destination is not None:
        found[f"event_destination/{EAST}/tx/feedback"] = (destination, {})
    return found


def a_topic(*publishers: str) -> dict[str, Any]:
    """The topic of that destination, declared and to be created, for SES unless it says otherwise."""
    return {TOPIC_ADDRESS: (None, {"publishers": list(publishers or ("ses",))})}


EVENTS_MAY_PUBLISH = {"Statement": {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"},
                                    "Action": "SNS:Publish", "Resource": "*"}}  # fmt: skip


def a_rule(preset: str = "", region: str = EAST, users: tuple[str, ...] = ("news",), **values: Any) -> dict[str, Any]:
    """An event rule that tells that topic, to be created: of a preset, or about SES's own events."""
    pattern = preset_pattern(preset, users) if preset else {"source": ["aws.ses"], "detail-type": ["Email Bounced"]}
    spec = {"event_pattern": pattern, "state": "ENABLED", "targets": {TOPIC: {"arn": TOPIC}}, **values}
    return {f"event_rule/{region}/watch": (None, {**spec, "preset": preset or None})}


CLOUDWATCH_MAY_PUBLISH = {"Statement": {"Effect": "Allow", "Principal": {"Service": "cloudwatch.amazonaws.com"},
                                        "Action": "SNS:Publish", "Resource": "*"}}  # fmt: skip


def an_alarm(was: dict[str, Any] | None = None, **values: Any) -> dict[str, Any]:
    """An alarm on the bounce rate of the set tx that tells that topic, to be created, or as it was."""
    spec = {
        "metric_name": "Reputation.BounceRate", "threshold": 0.05, "alarm_actions": [TOPIC],
        "dimensions": [{"name": "ses:configuration-set", "value": "tx"}], **values,
    }  # fmt: skip
    return {f"cloudwatch_alarm/{EAST}/bounces": (was and {**spec, **was}, spec)}


def notified(*kinds: str, **more: Any) -> dict[str, Any]:
    """An identity with a topic of its own for bounces, or the kinds that are named."""
    return {"notification_attributes": {f"{kind}_topic": TOPIC for kind in kinds or ("bounce",)}, **more}


NOT_FORWARDED = {"email_forwarding_enabled": False}
NO_METRICS = {"reputation_options": {"reputation_metrics_enabled": False}}
SENDS = {"live": {"configuration_set_name": "tx"}, "more": a_set()}


def a_dashboard(preset: str, *dimensions: str, rates: bool = False) -> dict[str, Any]:
    """A dashboard to be drawn of acme.com or tx, and the metrics that tx publishes."""
    listed = [{"dimension_name": name} for name in dimensions]
    published = {"metrics": {"cloud_watch_destination": {"dimension_configurations": listed}}} if dimensions else {}
    options = {"event_destinations": published, "reputation_options": {"reputation_metrics_enabled": rates}}
    entries = entry("domains", "acme.com", EAST, {}), entry("configuration_sets", "tx", EAST, options)
    return {"more": {"cloudwatch_dashboard/mail": (None, {"preset": preset})}, "entries": entries}


def user(**values: Any) -> dict[str, Any]:
    return {"users": {"news": {**GOOD_USER, **values}}}


GOOD_ROLE = {"trust": {"service": "lambda.amazonaws.com"}, "from_addresses": ["*@acme.com"]}


def role(subject: str = "", more: Any = None, **values: Any) -> dict[str, Any]:
    """A sending role; of GitHub where there is a subject, with ``more`` as another policy."""
    oidc = {"oidc": {"provider": "token.actions.githubusercontent.com", "subject": subject}}
    entry = {**GOOD_ROLE, **({"trust": oidc} if subject else {}), **values}
    live = {"sending_role/blast": ({}, {**LIMITED, "actions": ["SendRawEmail"]}, {"policies": [more]})}
    return {"roles": {"blast": entry}, **({"more": live} if more else {})}


def policy(*resources: str) -> dict[str, Any]:
    return {"identities": list(resources)}


def other_policy(effect: str) -> OtherPolicy:
    statement = {"Effect": effect, "Action": "ses:SendRawEmail", "Resource": "*"}
    return OtherPolicy("group", "AWSSESSendingGroupDoNotRename", ({"Statement": [statement]},))


LIMITED = {"from_addresses": ["*@acme.com"]}


def odd_policy(*resources: str) -> dict[str, Any]:
    """A live policy that is not of the form that recon writes."""
    return {"policy": {"Statement": [{"Effect": "Allow", "Action": "ses:SendRawEmail", "Resource": list(resources)}]}}


def key(created: str) -> dict[str, Any]:
    return {"keys": [{"id": "AKIA1", "status": "Active", "created": created}], "key": "AKIA1"}


def ses_arn(name: str) -> str:
    return f"arn:aws:ses:us-east-1:111122223333:{name}"


PENDING = {"dkim_status": "PENDING"}
UNALIGNED = {"dkim_status": "PENDING", "mail_from_status": "PENDING"}
KEY = ("t1._domainkey.acme.com", "CNAME")
SHAKEN = {
    "facts": {"dkim_status": "TEMPORARY_FAILURE", "mail_from_status": "PENDING", "tokens": ["t1"]},
    "before": {KEY: None},
}
NO_TRACK = {"tracking_options": {"custom_redirect_domain": "click.acme.com", "https_policy": "OPTIONAL"}}
HTTPS = {"tracking_options": {"custom_redirect_domain": "click.acme.com", "https_policy": "REQUIRE"}}
CLICK = ("click.acme.com", "CNAME")
NET = f"email_identity/{EAST}/acme.net"
SHOP = f"email_identity/{EAST}/shop.acme.com"
ACCOUNT = {"SendQuota": {"Max24HourSend": 50000.0}, "ProductionAccessEnabled": True, "SendingEnabled": True,
           "EnforcementStatus": "HEALTHY"}  # fmt: skip
NEARLY = {"Max24HourSend": 200.0, "SentLast24Hours": 160.0}
METRICS = {"dashboard_options": {"engagement_metrics": "ENABLED"}}
VDM_ON = {"VdmAttributes": {"VdmEnabled": "ENABLED"}}
BEGINS = ({"vdm_attributes": {"vdm_enabled": "DISABLED"}}, {"vdm_attributes": {"vdm_enabled": "ENABLED"}})
IN_WEST = {f"email_identity/{WEST}/acme.com": (GOOD_IDENTITY, {}, GOOD_FACTS)}
WORLDWIDE = {"DeliveryAttributes": {"SharedPoolDeliveryMode": "GLOBAL"}}
REGIONAL = {"DeliveryAttributes": {"SharedPoolDeliveryMode": "REGIONAL"}}
LOGO = ("default._bimi.acme.com", "TXT")
ONE_LOGO = {LOGO: ["v=BIMI1; l=https://acme.com/l.svg; a=https://acme.com/v.pem"]}
CREDENTIAL = "smtp_credential/news"
ELEVEN = "v=spf1 " + " ".join(f"include:s{n}.example" for n in range(11)) + " ~all"


# rule -> (severity, view) that trips it
LEFT = "dns_record/Z1/acme.com/TXT"
NO_MAIL_SENT = {EAST: {"SendingEnabled": True, "SendQuota": {"SentLast24Hours": 0.0}}}
TWO_ZONES = {"acme.com": (HostedZoneView("Z1", ("ns1.example",)), HostedZoneView("Z2", ("ns2.example",)))}
UNUSED_FIRST = {"acme.com": (TWO_ZONES["acme.com"][1], TWO_ZONES["acme.com"][0]._replace(used=False))}
BY_PARENT = {
    "acme.com": (HostedZoneView("Z1", ("ns1.example",), asked=True), HostedZoneView("Z2", ("ns2.example",), False))
}


def rsa_key(bits: int) -> str:
    """An RSA public key of so many bits, as DNS has it (PKCS #1)."""
    number = b"\x00" + (1 << (bits - 1) | 1).to_bytes(bits // 8)
    body = b"\x02\x82" + len(number).to_bytes(2) + number + b"\x02\x03\x01\x00\x01"
    return base64.b64encode(b"\x30\x82" + len(body).to_bytes(2) + body).decode()


FEEDBACK, A_TOPIC = f"event_destination/{EAST}/main/stream", f"sns_topic/{EAST}/ops"
GONE_TARGET = (None, {"enabled": True, "matching_event_types": ["SEND"]})
LACKING = (("arn:aws:firehose:us-east-1:111122223333:deliverystream/x", "does not exist"),)
OWN_KEY = {"dkim": {"signing_attributes_origin": "EXTERNAL", "domain_signing_selector": "s1"}}
OWN_NAME = ("s1._domainkey.acme.com", "TXT")

FIRES: list[tuple[str, str, dict[str, Any]]] = [
    ("dmarc-enforced-unverified", "error", {"facts": UNALIGNED, "dmarc": (NONE, GOOD_DMARC)}),
    ("dmarc-enforced-unverified", "warning", {"facts": UNALIGNED}),
    ("dmarc-enforced-unverified", "error", {**SHAKEN, "dmarc": (NONE, GOOD_DMARC)}),
    ("dmarc-enforced-unverified", "note", {"more": {SHOP: new()}}),
    ("dmarc-enforced-unverified", "error", {"facts": UNALIGNED, "dmarc": (None, GOOD_DMARC)}),
    (
        "dmarc-enforced-unverified",
        "error",
        {
            "more": {SHOP: (identity(), {}, {**GOOD_FACTS, **PENDING})},
            "dmarc": ("v=DMARC1; p=reject; sp=none", GOOD_DMARC),
        },
    ),
    (
        "dmarc-enforced-unverified",
        "note",
        {"facts": {**UNALIGNED, "verification_status": "PENDING"}, "dmarc": (None, GOOD_DMARC)},
    ),
    ("dmarc-spf-only", "warning", {"facts": PENDING}),
    ("dmarc-aspf-strict", "warning", {"dmarc": (GOOD_DMARC, GOOD_DMARC + "; aspf=s")}),
    ("dmarc-aspf-strict", "error", {"facts": PENDING, "dmarc": (GOOD_DMARC, GOOD_DMARC + "; aspf=s")}),
    (
        "dmarc-adkim-strict",
        "error",
        {
            **user(from_addresses=["*@news.acme.com"]),
            "live": {"mail_from": None},
            "dmarc": (GOOD_DMARC, GOOD_DMARC + "; adkim=s"),
        },
    ),
    ("dmarc-jump", "warning", {"dmarc": (NONE, GOOD_DMARC)}),
    ("dmarc-jump", "warning", {"dmarc": (None, GOOD_DMARC)}),
    ("dmarc-weakened", "warning", {"dmarc": (GOOD_DMARC, NONE)}),
    ("dmarc-weakened", "warning", {"dmarc": (GOOD_DMARC, None)}),
    ("dmarc-weakened", "warning", {"dmarc": (GOOD_DMARC, GOOD_DMARC + "; t=y")}),
    ("dmarc-weakened", "warning", {"dmarc": (GOOD_DMARC, GOOD_DMARC + "; sp=none")}),
    ("dmarc-missing", "warning", {"dmarc": (None, None)}),
    ("dmarc-no-rua", "warning", {"dmarc": (GOOD_DMARC, "v=DMARC1; p=none")}),
    ("dmarc-no-rua", "warning", {"zones": (), "domains": {"acme.com": {"dmarc": {"p": "reject"}}}}),
    ("dmarc-pct", "warning", {"dmarc": (GOOD_DMARC, GOOD_DMARC + "; pct=20")}),
    ("dmarc-fo", "warning", {"dmarc": (GOOD_DMARC, GOOD_DMARC + "; fo=1")}),
    ("dmarc-fo", "warning", {"dmarc": (GOOD_DMARC, GOOD_DMARC + "; fo=1:0; ruf=mailto:x@reports.example")}),
    ("dmarc-unknown-tag", "warning", {"dmarc": (GOOD_DMARC, GOOD_DMARC + "; ruas=mailto:x@acme.com")}),
    ("bimi-unknown-tag", "warning", {"domains": {"acme.com": {"bimi": "v=BIMI1; l=https://acme.com/a.svg; x=1"}}}),
    ("dmarc-historic", "note", {"dmarc": (GOOD_DMARC, GOOD_DMARC + "; ri=86400")}),
    (
        "dmarc-forensic-own-mailbox",
        "warning",
        {"dmarc": (GOOD_DMARC, "v=DMARC1; p=quarantine; rua=mailto:d@acme.com; ruf=mailto:owner@acme.com; fo=1")},
    ),
    (
        "dmarc-rua-unauthorized",
        "warning",
        {
            "dmarc": (None, "v=DMARC1; p=none; rua=mailto:d@reports.example"),
            "outside_txt": {"acme.com._report._dmarc.reports.example": (), "*._report._dmarc.reports.example": ()},
        },
    ),
    ("dmarc-duplicate", "error", {"after": {("_dmarc.acme.com", "TXT"): [GOOD_DMARC, NONE]}}),
    ("dmarc-duplicate", "warning", {"before": {("_dmarc.acme.com", "TXT"): [GOOD_DMARC, NONE]}}),
    ("dmarc-invalid", "warning", {"dmarc": ("v=DMARC1; p=rejekt", "v=DMARC1; p=rejekt")}),
    ("dmarc-subdomains-open", "warning", {"dmarc": (GOOD_DMARC, GOOD_DMARC + "; sp=none")}),
    (
        "dmarc-subdomain-tags",
        "note",
        {"domains": {"shop.acme.com": {}}, "after": {("_dmarc.shop.acme.com", "TXT"): ["v=DMARC1; p=none; sp=none"]}},
    ),
    ("dmarc-test-mode", "note", {"dmarc": (GOOD_DMARC, GOOD_DMARC + "; t=y")}),
    ("dmarc-psd", "warning", {"dmarc": (GOOD_DMARC, GOOD_DMARC + "; psd=y")}),
    ("dmarc-many-reports", "note", {"dmarc": (GOOD_DMARC, GOOD_DMARC + ",mailto:e@acme.com,mailto:f@acme.com")}),
    (
        "dmarc-parked-open",
        "warning",
        {"domains": {"acme.net": {"identity": False, "dmarc": {"p": "none"}}}, "zones": ()},
    ),
    (
        "dmarc-parked-open",
        "warning",
        {
            "domains": {"acme.net": {"identity": False, "dmarc": {"p": "reject"}}},
            "zones": ("acme.net",),
            "before": {("_dmarc.acme.net", "TXT"): ["v=DMARC1; p=reject"]},
        },
    ),
    ("spf-two-records", "warning", {"after": {("acme.com", "TXT"): ["v=spf1 -all", "v=spf1 mx -all"]}}),
    (
        "spf-two-records",
        "error",
        {"after": {("bounce.acme.com", "TXT"): ["v=spf1 include:amazonses.com -all", "v=spf1 -all"]}},
    ),
    ("spf-lookups", "error", {"spf": ("v=spf1 ~all", ELEVEN)}),
    ("spf-lookups", "warning", {"spf": (ELEVEN, ELEVEN)}),
    (
        "spf-lookups",
        "error",
        {"spf": ("v=spf1 ~all", "v=spf1 include:big.example ~all"), "outside_txt": {"big.example": (ELEVEN,)}},
    ),
    ("spf-no-end", "warning", {"spf": (None, "v=spf1 mx")}),
    ("spf-open", "warning", {"spf": (None, "v=spf1 +all")}),
    ("spf-open", "warning", {"spf": (None, "v=spf1 ip4:0.0.0.0/0 -all")}),
    ("spf-softened", "warning", {"spf": ("v=spf1 mx -all", "v=spf1 mx ~all")}),
    ("spf-softened", "warning", {"spf": ("v=spf1 mx -all", None)}),
    ("spf-softened", "warning", {"spf": ("v=spf1 redirect=x.example", "v=spf1 mx")}),
    (
        "spf-softened",
        "warning",
        {
            "before": {("bounce.acme.com", "TXT"): ["v=spf1 include:amazonses.com -all"]},
            "after": {("bounce.acme.com", "TXT"): ["v=spf1 include:amazonses.com ~all"]},
        },
    ),
    ("spf-invalid", "warning", {"spf": ("v=spf1 foo -all", "v=spf1 foo -all")}),
    ("spf-ptr", "note", {"spf": (None, "v=spf1 ptr -all")}),
    ("spf-too-long", "warning", {"spf": (None, "v=spf1 " + "ip4:192.0.2.1 " * 40 + "-all")}),
    ("spf-amazon-unused", "note", {"spf": (None, "v=spf1 include:amazonses.com -all")}),
    ("spf-mail-from", "error", {"after": {("bounce.acme.com", "TXT"): ["v=spf1 -all"]}}),
    ("spf-mail-from", "warning", {"before": {("bounce.acme.com", "TXT"): None}}),
    (
        "spf-mail-from",
        "note",
        {
            "more": {
                SHOP: new(
                    mail_from={"mail_from_domain": "b.shop.acme.com", "behavior_on_mx_failure": "USE_DEFAULT_VALUE"}
                )
            }
        },
    ),
    ("spf-include-broken", "warning", {"spf": (None, "v=spf1 redirect=r.example"), "outside_txt": {"r.example": ()}}),
    ("spf-loop", "warning", {"spf": (None, "v=spf1 include:acme.com -all")}),
    ("dns-undelegated", "warning", {"undelegated": {"acme.com": ("nobody sees it", "add the NS set")}}),
    ("dns-undelegated", "warning", {"hosted": TWO_ZONES, "outside_servers": {"acme.com": ("ns.other.example",)}}),
    ("dns-undelegated", "warning", {"hosted": TWO_ZONES, "outside_servers": {"acme.com": ()}}),
    ("dns-undelegated", "warning", {"hosted": UNUSED_FIRST, "outside_servers": {"acme.com": ("ns1.example",)}}),
    ("dns-several-zones", "note", {"hosted": TWO_ZONES}),
    ("dns-several-zones", "note", {"hosted": TWO_ZONES, "outside_servers": {"acme.com": ("ns2.example",)}}),
    (
        "dns-zone-in-use",
        "error",
        {"hosted": TWO_ZONES, "outside_servers": {"acme.com": ("ns1.example",)}, "leaving": {LEFT: "Z1"}},
    ),
    ("dns-zone-in-use", "error", {"hosted": BY_PARENT, "leaving": {LEFT: "Z1"}}),
    ("dns-zone-in-use", "error", {"hosted": BY_PARENT, "leaving": {LEFT: "Z1"}, "accounts": NO_MAIL_SENT}),
    (
        "dns-zone-in-use",
        "error",
        {
            "hosted": BY_PARENT,
            "leaving": {LEFT: "Z1"},
            "accounts": NO_MAIL_SENT,
            "facts": {"verification_status": "PENDING", "dkim_status": "SUCCESS"},
        },
    ),
    (
        "dns-zone-in-use",
        "warning",
        {
            "hosted": BY_PARENT,
            "leaving": {LEFT: "Z1"},
            "facts": {"verification_status": "PENDING", "dkim_status": None},
        },
    ),
    ("dns-zone-in-use", "warning", {"hosted": TWO_ZONES, "leaving": {LEFT: "Z1"}}),
    ("dns-zone-in-use", "warning", {"leaving": {LEFT: "Z1"}}),
    (
        "spf-loop",
        "error",
        {
            "after": {
                ("bounce.acme.com", "TXT"): ["v=spf1 include:amazonses.com redirect=_spf.acme.com"],
                ("_spf.acme.com", "TXT"): ["v=spf1 include:a.example -all"],
            },
            "outside_txt": {"a.example": ("v=spf1 ?include:bounce.acme.com",)},
        },
    ),
    (
        "spf-loop",
        "warning",
        {
            "outside_txt": {
                "_spf.crm.example": ("v=spf1 redirect=b.example",),
                "b.example": ("v=spf1 redirect=b.example",),
            }
        },
    ),
    ("spf-include-broken", "warning", {"outside_txt": {"_spf.crm.example": ("hello",)}}),
    (
        "spf-include-broken",
        "error",
        {"after": {("bounce.acme.com", "TXT"): ["v=spf1 include:amazonses.com include:no.acme.com -all"]}},
    ),
    ("dkim-tokens-removed", "error", {"after": {("t1._domainkey.acme.com", "CNAME"): None}}),
    ("dkim-off", "warning", {"want": {"dkim": {"signing_enabled": False}}}),
    ("dkim-off", "error", {"want": {"dkim": {"signing_enabled": False}}, "facts": {"mail_from_status": "FAILED"}}),
    ("dkim-origin", "warning", {"want": {"dkim": {"signing_attributes_origin": "EXTERNAL"}}}),
    (
        "dkim-origin",
        "error",
        {"live": {"mail_from": None}, "want": {"dkim": {"signing_attributes_origin": "EXTERNAL"}}},
    ),
    ("dkim-off", "note", {"more": {SHOP: new(dkim={"signing_enabled": False})}}),
    ("dkim-key-lowered", "warning", {"want": {"dkim": {"next_signing_key_length": "RSA_1024_BIT"}}}),
    ("dkim-short-key", "note", {"live": {"dkim": {"next_signing_key_length": "RSA_1024_BIT"}}}),
    ("events-target-missing", "warning", {"more": {FEEDBACK: GONE_TARGET}, "unusable": {FEEDBACK: LACKING}}),
    ("smtp-store-key", "warning", {"users": {"news": GOOD_USER}, "unusable": {"smtp_credential/news": LACKING}}),
    ("topic-key-missing", "warning", {"more": {A_TOPIC: (None, {})}, "unusable": {A_TOPIC: LACKING}}),
    ("topic-subscription-undeclared", "note", {"more": {A_TOPIC: ({}, {}, {UNDECLARED: ["email a@b.example"]})}}),
    ("dkim-short-own-key", "warning", {"live": OWN_KEY, "dkim_keys": {ACME: rsa_key(1024)}}),
    ("dkim-short-own-key", "warning", {"live": OWN_KEY, "before": {OWN_NAME: [f"v=DKIM1; p={rsa_key(1536)}"]}}),
    ("identity-mixed-scripts", "warning", {"more": {f"email_identity/{EAST}/xn--pple-43d.com": new()}}),
    ("identity-mixed-scripts", "warning", {"more": {f"email_identity/{EAST}/Me@xn--pple-43d.com": new()}}),
    (
        "dkim-replica",
        "warning",
        {
            "more": {
                f"email_identity/{WEST}/shop.acme.com": new(dkim={"signing_attributes_origin": "AWS_SES_US_EAST_1"})
            }
        },
    ),
    ("dkim-replica", "warning", {"want": {"dkim": {"signing_attributes_origin": "AWS_SES_US_EAST_1"}}}),
    ("dkim-replica", "error", {"more": {ACME: (GOOD_IDENTITY, None), REPLICA: SIGNS_LIKE_ITS_PARENT}}),
    (
        "dkim-replica",
        "error",
        {"more": {ACME: (GOOD_IDENTITY, None), REPLICA: SIGNS_LIKE_ITS_PARENT}, "regions": (WEST,)},
    ),
    (
        "dkim-replica",
        "error",
        {"want": {"dkim": {"signing_attributes_origin": "EXTERNAL"}}, "more": {REPLICA: SIGNS_LIKE_ITS_PARENT}},
    ),
    (
        "dkim-replica",
        "warning",
        {
            "more": {ACME: (GOOD_IDENTITY, None), REPLICA: SIGNS_LIKE_ITS_PARENT},
            "accounts": {WEST: {"SendQuota": {"SentLast24Hours": 0.0}}},
        },
    ),
    (
        "dkim-replica",
        "warning",
        {
            "live": {"dkim": {"signing_attributes_origin": "EXTERNAL"}},
            "more": {f"email_identity/{WEST}/acme.com": new(dkim={"signing_attributes_origin": "AWS_SES_US_EAST_1"})},
        },
    ),
    ("dkim-stale", "note", {"before": {("t0._domainkey.acme.com", "CNAME"): ["t0.dkim.amazonses.com"]}}),
    ("dkim-failing", "warning", {"facts": {"dkim_status": "TEMPORARY_FAILURE"}}),
    (
        "mail-from-reject",
        "error",
        {"want": {"mail_from": {"behavior_on_mx_failure": "REJECT_MESSAGE"}}, "facts": {"mail_from_status": "PENDING"}},
    ),
    (
        "mail-from-reject",
        "error",
        {"want": {"mail_from": {"mail_from_domain": "b2.acme.com", "behavior_on_mx_failure": "REJECT_MESSAGE"}}},
    ),
    (
        "mail-from-reject",
        "warning",
        {
            "live": {"mail_from": None},
            "accounts": {EAST: {"SendQuota": {"SentLast24Hours": 0.0}}},
            "want": {"mail_from": {"mail_from_domain": "b2.acme.com", "behavior_on_mx_failure": "REJECT_MESSAGE"}},
        },
    ),
    (
        "mail-from-reject",
        "error",
        {
            "live": {"mail_from": None},
            "accounts": {EAST: {"SendQuota": {"SentLast24Hours": 12.0}}},
            "want": {"mail_from": {"mail_from_domain": "b2.acme.com", "behavior_on_mx_failure": "REJECT_MESSAGE"}},
        },
    ),
    (
        "mail-from-reject",
        "note",
        {
            "more": {
                SHOP: new(mail_from={"mail_from_domain": "b.shop.acme.com", "behavior_on_mx_failure": "REJECT_MESSAGE"})
            }
        },
    ),
    ("mail-from-mx", "error", {"after": {("bounce.acme.com", "MX"): None}}),
    (
        "mail-from-mx",
        "error",
        {"after": {("bounce.acme.com", "MX"): ["10 feedback-smtp.us-east-1.amazonses.com", "20 mx.example"]}},
    ),
    ("mail-from-mx", "warning", {"before": {("bounce.acme.com", "MX"): ["10 feedback-smtp.eu-west-1.amazonses.com"]}}),
    ("mail-from-moves", "warning", {"want": {"mail_from": {"mail_from_domain": "b2.acme.com"}}}),
    ("mail-from-removed", "warning", {"want": {"mail_from": None}}),
    ("mail-from-none", "note", {"live": {"mail_from": None}}),
    ("mail-from-in-use", "warning", {"more": {f"email_identity/{EAST}/bounce.acme.com": new()}}),
    ("mail-from-in-use", "warning", user(from_addresses=["*@bounce.acme.com"])),
    ("mail-from-failing", "warning", {"facts": {"mail_from_status": "FAILED"}}),
    ("events-nowhere", "warning", {"more": a_set(destination=None)}),
    (
        "events-nowhere",
        "warning",
        {"more": a_set(destination={**GOOD_DESTINATION, "matching_event_types": ["SEND", "BOUNCE"]})},
    ),
    (
        "events-lost",
        "warning",
        {"more": {TX: (GOOD_SET, {}), f"event_destination/{EAST}/tx/feedback": (GOOD_DESTINATION, {"enabled": False})}},
    ),
    (
        "events-lost",
        "warning",
        {"more": {TX: (GOOD_SET, {}), f"event_destination/{EAST}/tx/feedback": (GOOD_DESTINATION, None)}},
    ),
    ("events-feedback-off", "warning", {"want": {"email_forwarding_enabled": False}}),
    ("events-disabled", "note", {"more": a_set(destination={**GOOD_DESTINATION, "enabled": False})}),
    (
        "events-other-region",
        "warning",
        {"more": a_set(destination={**GOOD_DESTINATION, "sns_destination": {"topic_arn": TOPIC.replace(EAST, WEST)}})},
    ),
    (
        "events-default-bus",
        "warning",
        {
            "more": a_set(
                destination={
                    **GOOD_DESTINATION,
                    "event_bridge_destination": {"event_bus_arn": "arn:aws:events:us-east-1:1:event-bus/mine"},
                }
            )
        },
    ),
    ("events-topic-missing", "warning", {"more": a_set(), "topics": {TOPIC: None}}),
    ("events-topic-policy", "warning", {"more": a_set(), "topics": {TOPIC: Topic({"Statement": []})}}),
    ("events-topic-policy", "warning", {"more": a_set(), "topics": {TOPIC: Topic(SES_MAY_PUBLISH, "alias/aws/sns")}}),
    (
        "events-topic-policy",
        "warning",
        {"more": a_set(), "topics": {TOPIC: Topic(SES_MAY_PUBLISH, "key-1", {"Statement": []})}},
    ),
    (
        "events-topic-policy",
        "warning",
        {
            "more": a_set(),
            "topics": {
                TOPIC: Topic(
                    {
                        "Statement": [
                            {
                                "Effect": "Allow",
                                "Principal": {"AWS": "*"},
                                "Action": "SNS:*",
                                "Condition": {"StringEquals": {"AWS:SourceOwner": "111122223333"}},
                            }
                        ]
                    }
                )
            },
        },
    ),
    ("region-sandbox", "warning", {"accounts": {EAST: {**ACCOUNT, "ProductionAccessEnabled": False}}}),
    ("region-paused", "warning", {"accounts": {EAST: {**ACCOUNT, "SendingEnabled": False}}}),
    ("account-paused", "warning", {"accounts": {EAST: {**ACCOUNT, "EnforcementStatus": "SHUTDOWN"}}}),
    ("account-paused", "warning", {"accounts": {"sa-east-1": {**ACCOUNT, "EnforcementStatus": "PROBATION"}}}),
    (
        "region-quota",
        "warning",
        {
            "more": {f"email_identity/{WEST}/acme.com": (GOOD_IDENTITY, {}, GOOD_FACTS)},
            "accounts": {EAST: ACCOUNT, WEST: {**ACCOUNT, "SendQuota": {"Max24HourSend": 200.0}}},
        },
    ),
    ("region-quota-near", "note", {"accounts": {EAST: {**ACCOUNT, "SendQuota": NEARLY}}}),
    ("region-vdm-off", "note", {"more": a_set(was={"vdm_options": METRICS}), "accounts": {EAST: ACCOUNT}}),
    ("region-delivery-global", "note", {"more": IN_WEST, "accounts": {WEST: {**ACCOUNT, **WORLDWIDE}}}),
    ("topic-key", "warning", {"more": a_topic(), "topics": {TOPIC: Topic({}, "alias/aws/sns")}}),
    ("topic-key", "warning", {"more": a_topic("events"), "topics": {TOPIC: Topic({}, "k", SES_MAY_USE)}}),
    ("topic-publisher-lost", "warning", {"more": {**a_set(), **a_topic("events")}}),
    ("topic-publisher-lost", "warning", {"more": {**a_rule(), **a_topic()}}),
    ("event-rule-no-trail", "warning", {"more": a_rule("ses_changes"), "trails": {EAST: False}}),
    ("event-rule-other-region", "warning", {"more": a_rule("dns_changes", WEST), "trails": {WEST: True}}),
    ("event-rule-all-users", "note", {"more": a_rule("iam_access_keys", users=())}),
    ("event-rule-zones-elsewhere", "warning", {"more": a_rule("dns_changes"), "dns_account": "999900001111"}),
    ("event-rule-no-target", "warning", {"more": a_rule(targets={TOPIC: None})}),
    ("alarm-no-action", "warning", {"more": an_alarm(alarm_actions=[])}),
    ("alarm-no-action", "warning", {"more": an_alarm(actions_enabled=False)}),
    ("alarm-disabled", "warning", {"more": an_alarm({"actions_enabled": False})}),
    ("alarm-late", "warning", {"more": an_alarm(threshold=0.1)}),
    ("alarm-late", "warning", {"more": an_alarm(metric_name="Reputation.ComplaintRate", threshold=0.05)}),
    ("alarm-no-metric", "warning", {"more": {**an_alarm(), **a_set(was=NO_METRICS)}}),
    ("alarm-topic", "warning", {"more": an_alarm(), "topics": {TOPIC: None}}),
    ("alarm-topic", "warning", {"more": an_alarm(), "topics": {TOPIC: Topic(SES_MAY_PUBLISH)}}),
    ("alarm-topic", "warning", {"more": an_alarm(), "topics": {TOPIC: Topic(CLOUDWATCH_MAY_PUBLISH, "k", {})}}),
    ("notifications-topic", "warning", {"want": notified(), "topics": {TOPIC: Topic(CLOUDWATCH_MAY_PUBLISH)}}),
    ("notifications-topic", "warning", {"want": notified(), "topics": {TOPIC: None}}),
    ("notifications-twice", "note", {"want": notified()}),
    (
        "notifications-twice",
        "note",
        {"want": notified("complaint", **NOT_FORWARDED, configuration_set_name="tx"), **SENDS},
    ),
    ("events-feedback-off", "warning", {"want": notified("bounce", **NOT_FORWARDED)}),
    ("event-rule-topic", "warning", {"more": a_rule(), "topics": {TOPIC: None}}),
    ("event-rule-topic", "warning", {"more": a_rule(), "topics": {TOPIC: Topic(SES_MAY_PUBLISH)}}),
    ("event-rule-topic", "warning", {"more": a_rule(), "topics": {TOPIC: Topic(EVENTS_MAY_PUBLISH, "k", {})}}),
    ("dashboard-no-metrics", "note", a_dashboard("domains", "ses:configuration-set")),
    ("dashboard-no-metrics", "note", a_dashboard("sets")),
    ("sending-stops", "warning", {"more": a_set(will={"sending_options": {"sending_enabled": False}})}),
    ("sending-stops", "note", {"more": {TX: (None, {**GOOD_SET, "sending_options": {"sending_enabled": False}})}}),
    ("tls-optional", "warning", {"more": a_set(will={"delivery_options": {"tls_policy": "OPTIONAL"}})}),
    ("suppression-off", "warning", {"more": a_set(will={"suppression_options": {"suppressed_reasons": []}})}),
    ("reputation-off", "note", {"more": a_set(was={"reputation_options": {"reputation_metrics_enabled": False}})}),
    ("set-deleted", "warning", {"more": {TX: (GOOD_SET, None)}}),
    ("set-missing", "warning", {"live": {"configuration_set_name": "tx"}, "more": {TX: (GOOD_SET, None)}}),
    ("tracking-cname", "warning", {"more": a_set(was=NO_TRACK)}),
    ("tracking-cname", "warning", {"more": a_set(was=NO_TRACK), "before": {CLICK: ["r.eu-west-1.awstrack.me"]}}),
    ("tracking-https", "warning", {"more": a_set(was=HTTPS), "before": {CLICK: ["r.us-east-1.awstrack.me"]}}),
    (
        "tracking-https",
        "warning",
        {
            "more": a_set(was=HTTPS),
            "before": {CLICK: ["x.cloudfront.net"]},
            "certificates": {CLICK[0]: "past its date"},
        },
    ),
    ("tracking-https-unchecked", "note", {"more": a_set(will=HTTPS), "before": {CLICK: ["x.cloudfront.net"]}}),
    (
        "tracking-identity",
        "warning",
        {"more": a_set(will={"tracking_options": {"custom_redirect_domain": "click.other.com"}})},
    ),
    ("pool-charges", "warning", {"more": {f"dedicated_ip_pool/{EAST}/tx": (None, {"scaling_mode": "MANAGED"})}}),
    (
        "pool-empty",
        "warning",
        {
            "more": {
                **a_set(was={"delivery_options": {"sending_pool_name": "std"}}),
                f"dedicated_ip_pool/{EAST}/std": ({"scaling_mode": "STANDARD", "dedicated_ips": []}, {}),
            }
        },
    ),
    ("pool-switch", "warning", {"more": a_set(will={"delivery_options": {"sending_pool_name": "std"}})}),
    ("identity-deleted", "warning", {"more": {NET: (GOOD_IDENTITY, None)}}),
    ("identity-deleted", "error", {"more": {NET: (GOOD_IDENTITY, None)}, "sent_last_day": {NET: 5}}),
    (
        "identity-deleted",
        "note",
        {"more": {NET: (GOOD_IDENTITY, None)}, "accounts": {EAST: {"SendQuota": {"SentLast24Hours": 0.0}}}},
    ),
    (
        "identity-deleted",
        "warning",
        {"more": {NET: (GOOD_IDENTITY, None)}, "accounts": {EAST: {"SendQuota": {"SentLast24Hours": 9.0}}}},
    ),
    ("identity-covered", "note", {"more": {SHOP: (GOOD_IDENTITY, None)}, "sent_last_day": {SHOP: 5}}),
    ("identity-shadows-parent", "warning", {"more": {SHOP: new()}}),
    ("address-mail", "note", {"more": {f"email_identity/{EAST}/ceo@acme.com": new()}}),
    ("policy-other-identity", "warning", {"want": {"policies": {"p": about("other.com")}}}),
    ("policy-other-identity", "warning", {"want": {"policies": {"p": about("acme.com", WEST)}}}),
    (
        "policy-anyone",
        "warning",
        {
            "want": {
                "policies": {
                    "p": {"Statement": [{"Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": ["ses:sendemail"]}]}
                }
            }
        },
    ),
    ("smtp-any-from", "warning", user(from_addresses=None)),
    ("smtp-any-from", "warning", user(from_addresses=["*"])),
    ("smtp-any-network", "note", user(source_ips=None)),
    ("smtp-wide-network", "warning", user(source_ips=["0.0.0.0/0"])),
    ("smtp-vpc-and-ip", "warning", user(conditions={"StringEquals": {"aws:SourceVpce": "vpce-1"}})),
    ("smtp-any-identity", "note", user(identities=None)),
    ("smtp-from-case", "warning", user(from_addresses=["*@Acme.com"])),
    ("smtp-from-unverified", "warning", user(from_addresses=["*@other.com"])),
    ("smtp-shared-sender", "note", {"users": {"a": GOOD_USER, "b": GOOD_USER}}),
    ("smtp-no-rotation", "note", user(access_key=None)),
    ("smtp-no-overlap", "warning", user(access_key={"overlap_days": 0}, consumers=[{"name": "webmail"}])),
    ("smtp-consumers", "warning", {**user(consumers=[{"name": "webmail"}]), "more": {CREDENTIAL: ({"x": 1}, None)}}),
    (
        "smtp-key-old",
        "warning",
        {**user(), "more": {CREDENTIAL: (key("2026-01-01T00:00:00+00:00"), {})}},
    ),
    ("role-wide-subject", "warning", role("repo:acme/app:*")),
    ("role-wide-subject", "warning", role("repo:acme@1/*")),
    ("role-name-recycled", "note", role("repo:acme/app:ref:refs/heads/main")),
    ("role-bulk-from", "warning", role(actions=["SendBulkEmail"])),
    ("role-from-unverified", "warning", role(from_addresses=["*@other.com"])),
    ("role-wider", "warning", role(more=other_policy("Allow"))),
    ("role-denied", "warning", role(more=other_policy("Deny"))),
    (
        "smtp-wider",
        "warning",
        {**user(), "more": {"smtp_user/news": ({}, LIMITED, {"policies": [other_policy("Allow")]})}},
    ),
    (
        "smtp-denied",
        "warning",
        {**user(), "more": {"smtp_user/news": ({}, LIMITED, {"policies": [other_policy("Deny")]})}},
    ),
    (
        "smtp-set-arn",
        "error",
        {
            "want": {"configuration_set_name": "tx"},
            "more": {"smtp_user/news": (policy(ses_arn("identity/acme.com")), policy(ses_arn("identity/acme.com")))},
        },
    ),
    (
        "smtp-set-arn",
        "error",
        {
            "want": {"configuration_set_name": "tx"},
            "more": {"smtp_user/news": (odd_policy(ses_arn("identity/acme.com")), {})},
        },
    ),
    (
        "smtp-set-arn",
        "note",
        {
            "live": {"configuration_set_name": "tx"},
            "more": {"smtp_user/news": (None, policy(ses_arn("identity/acme.com")))},
        },
    ),
    (
        "smtp-no-endpoint",
        "warning",
        {**user(), "more": {"email_identity/af-south-1/acme.com": (GOOD_IDENTITY, {}, GOOD_FACTS)}},
    ),
    (
        "dns-hidden-by-cname",
        "note",
        {"before": {("x.acme.com", "CNAME"): ["y.example"]}, "written": ("dns_record/acme.com/x.acme.com/TXT",)},
    ),
    (
        "dns-hidden-by-cname",
        "error",
        {"after": {("shop.acme.com", "CNAME"): ["y.example"]}, "written": ("dns_record/acme.com/shop.acme.com/CNAME",)},
    ),
    (
        "dns-below-delegation",
        "warning",
        {
            "before": {("sub.acme.com", "NS"): ["ns.example"]},
            "written": ("dns_record/acme.com/_dmarc.sub.acme.com/TXT",),
        },
    ),
    (
        "dns-ends-wildcard",
        "warning",
        {"before": {("*.acme.com", "A"): ["192.0.2.1"]}, "written": ("dns_record/acme.com/_dmarc.new.acme.com/TXT",)},
    ),
    (
        "dns-null-mx-receives",
        "error",
        {"domains": {"acme.com": {"null_mx": True}}, "before": {("acme.com", "MX"): ["10 mx.example"]}},
    ),
    ("dns-null-mx-sends", "warning", {"domains": {"acme.com": {"null_mx": True}}}),
    ("dns-long-ttl", "note", {"domains": {"acme.com": {"ttl": 604800}}}),
    ("bimi-not-enforced", "warning", {"before": ONE_LOGO, "dmarc": (NONE, NONE)}),
    ("bimi-not-enforced", "warning", {"before": ONE_LOGO, "dmarc": (GOOD_DMARC, GOOD_DMARC + "; sp=none")}),
    ("dns-discarded", "warning", {"spf": ("v=spf1 -all", " v=spf1 -all")}),
    ("dns-discarded", "warning", {"before": {("bounce.acme.com", "TXT"): ["v=spf1\tinclude:amazonses.com ~all"]}}),
    ("dns-discarded", "warning", {"after": {("_dmarc.acme.com", "TXT"): [GOOD_DMARC, '"v=DMARC1; p=none"']}}),
    ("dns-discarded", "warning", {"after": {LOGO: ["\xa0v=BIMI1; l=https://acme.com/l.svg"]}}),
    ("dmarc-invalid", "warning", {"dmarc": (None, "\tv=DMARC1; p=reject; rua=mailto:d@acme.com")}),
    ("dmarc-missing", "warning", {"dmarc": (None, " v=DMARC1; p=reject; rua=mailto:d@acme.com")}),
    ("dmarc-weakened", "warning", {"dmarc": ("v=DMARC1; p=quarantine; t=n", "v=DMARC1; p=quarantine; t=y")}),
    ("dmarc-weakened", "warning", {"dmarc": ("v=DMARC1; p=none; sp=reject", "v=DMARC1; p=none; sp=reject; t=y")}),
    ("dmarc-weakened", "warning", {"dmarc": ("v=DMARC1; p=none; sp=reject", None)}),
    ("dmarc-test-mode", "note", {"dmarc": (NONE, NONE + "; sp=reject; t=y")}),
    ("spf-invalid", "warning", {"spf": (None, "v=spf1 include:_spf.crm.example -all\xa0")}),
    ("bimi-no-certificate", "note", {"domains": {"acme.com": {"bimi": {"l": "https://acme.com/l.svg"}}}}),
]

# rule -> views close to tripping it
QUIET: list[tuple[str, dict[str, Any]]] = [
    ("dmarc-enforced-unverified", {"facts": PENDING, "dmarc": (NONE, GOOD_DMARC)}),
    # SES cannot tell at the moment, and this plan brings the records back beside the policy.
    ("dmarc-enforced-unverified", {**SHAKEN, "dmarc": (NONE, GOOD_DMARC), "after": {KEY: ["t1.dkim.amazonses.com"]}}),
    ("dmarc-enforced-unverified", {"facts": UNALIGNED, "dmarc": (NONE, NONE)}),
    ("dmarc-enforced-unverified", {"facts": UNALIGNED, "zones": ()}),
    (
        "dmarc-enforced-unverified",
        {"facts": UNALIGNED, "dmarc": ("v=DMARC1; p=quarantine; t=y", "v=DMARC1; p=quarantine; t=y")},
    ),
    ("dmarc-spf-only", {"facts": PENDING, "dmarc": (NONE, NONE)}),
    ("dmarc-aspf-strict", {"dmarc": (GOOD_DMARC, GOOD_DMARC + "; aspf=r")}),
    ("dmarc-adkim-strict", {**user(from_addresses=["*@acme.com"]), "dmarc": (GOOD_DMARC, GOOD_DMARC + "; adkim=s")}),
    ("dmarc-adkim-strict", {**user(from_addresses=["*@x.acme.com", "*"]), "dmarc": (GOOD_DMARC, GOOD_DMARC)}),
    ("dmarc-jump", {"dmarc": ("v=DMARC1; p=quarantine", GOOD_DMARC)}),
    ("dmarc-jump", {"dmarc": (NONE, GOOD_DMARC + "; t=y")}),
    ("dmarc-jump", {"dmarc": (None, GOOD_DMARC), "facts": {"verification_status": "PENDING"}}),
    ("dmarc-weakened", {"dmarc": (NONE, GOOD_DMARC)}),
    ("dmarc-weakened", {"dmarc": (NONE, None)}),
    ("dmarc-weakened", {"dmarc": (NONE, GOOD_DMARC + "; t=y")}),
    ("dmarc-weakened", {"dmarc": ("v=DMARC1; p=quarantine", "v=DMARC1; p=reject; t=y")}),
    ("dmarc-weakened", {"dmarc": (NONE, "v=DMARC1; p=quarantine; t=y")}),
    ("dmarc-weakened", {"dmarc": ("v=DMARC1; p=quarantine; t=y", None)}),
    ("dmarc-weakened", {"dmarc": ("v=DMARC1; p=quarantine; t=y", NONE)}),
    ("dns-discarded", {"after": {("_dmarc.acme.com", "TXT"): [GOOD_DMARC, "v=DMARC2; p=none", "hello v=DMARC1"]}}),
    ("dns-discarded", {"spf": (None, "v=spf10 -all")}),
    ("dmarc-missing", {"dmarc": (None, None), "zones": ()}),
    ("dmarc-missing", {"more": {SHOP: new()}}),
    ("dmarc-no-rua", {}),
    ("dmarc-pct", {"dmarc": (GOOD_DMARC, GOOD_DMARC + "; pct=100")}),
    ("dmarc-fo", {"dmarc": (GOOD_DMARC, GOOD_DMARC + "; fo=1:d; ruf=mailto:x@reports.example")}),
    ("dmarc-unknown-tag", {"dmarc": (GOOD_DMARC, GOOD_DMARC + "; junk; psd=n")}),
    ("bimi-unknown-tag", {"domains": {"acme.com": {"bimi": {"l": "https://acme.com/a.svg", "lps": "x"}}}}),
    ("dmarc-historic", {"dmarc": (GOOD_DMARC, GOOD_DMARC + "; np=reject; t=n; psd=n")}),
    ("dmarc-forensic-own-mailbox", {"dmarc": (GOOD_DMARC, GOOD_DMARC + "; ruf=mailto:x@reports.example; fo=1")}),
    ("dmarc-rua-unauthorized", {"dmarc": (None, "v=DMARC1; p=none; rua=mailto:d@reports.example")}),
    (
        "dmarc-rua-unauthorized",
        {
            "dmarc": (None, "v=DMARC1; p=none; rua=mailto:d@reports.example,mailto:x@acme.com"),
            "outside_txt": {
                "acme.com._report._dmarc.reports.example": ("v=DMARC1",),
                "*._report._dmarc.reports.example": (),
            },
        },
    ),
    ("dmarc-duplicate", {"after": {("_dmarc.acme.com", "TXT"): [GOOD_DMARC, "hello"]}}),
    ("dmarc-invalid", {}),
    ("dmarc-subdomains-open", {"dmarc": (GOOD_DMARC, GOOD_DMARC + "; sp=quarantine; np=reject")}),
    ("dmarc-subdomain-tags", {"dmarc": (GOOD_DMARC, GOOD_DMARC + "; sp=reject")}),
    ("dmarc-test-mode", {"dmarc": (GOOD_DMARC, NONE + "; t=y")}),
    ("dmarc-psd", {"dmarc": (GOOD_DMARC, GOOD_DMARC + "; psd=n")}),
    ("dmarc-many-reports", {"dmarc": (GOOD_DMARC, GOOD_DMARC + ",mailto:e@acme.com")}),
    (
        "dmarc-parked-open",
        {"domains": {"acme.net": {"identity": False, "dmarc": {"p": "reject"}, "spf": {"all": "-all"}}}, "zones": ()},
    ),
    ("dmarc-parked-open", {"dmarc": (NONE, NONE)}),
    ("spf-two-records", {"after": {("acme.com", "TXT"): ["v=spf1 -all", "v=spf10 -all"]}}),
    ("spf-lookups", {"spf": ("v=spf1 ~all", "v=spf1 include:big.example ~all")}),
    (
        "spf-lookups",
        {
            "spf": ("v=spf1 ~all", "v=spf1 include:a.example ~all"),
            "outside_txt": {"a.example": ("v=spf1 include:a.example -all",)},
        },
    ),
    ("spf-no-end", {"spf": (None, "v=spf1 redirect=x.example")}),
    ("spf-open", {"spf": (None, "v=spf1 -ip4:0.0.0.0/0 ?all")}),
    ("spf-softened", {"spf": ("v=spf1 mx ~all", "v=spf1 -all")}),
    ("spf-softened", {"spf": ("v=spf1 mx ~all", None), "zones": ()}),
    ("spf-invalid", {}),
    ("spf-ptr", {}),
    ("spf-too-long", {}),
    ("spf-amazon-unused", {}),
    ("spf-mail-from", {}),
    ("spf-mail-from", {"zones": (), "before": {("bounce.acme.com", "TXT"): None}}),
    ("spf-include-broken", {"outside_txt": {"amazonses.com": ()}}),
    ("dns-undelegated", {"undelegated": {"other.com": ("nobody sees it", "add the NS set")}}),
    ("dns-undelegated", {"hosted": TWO_ZONES, "outside_servers": {"acme.com": ("ns2.example",)}}),
    ("dns-undelegated", {"hosted": TWO_ZONES}),
    ("dns-several-zones", {"hosted": {"acme.com": TWO_ZONES["acme.com"][:1]}}),
    ("dns-several-zones", {"hosted": {"other.com": TWO_ZONES["acme.com"]}}),
    ("dns-zone-in-use", {"hosted": BY_PARENT, "leaving": {LEFT: "Z2"}}),
    (
        "dns-zone-in-use",
        {"hosted": TWO_ZONES, "outside_servers": {"acme.com": ("ns2.example",)}, "leaving": {LEFT: "Z1"}},
    ),
    (
        "dns-zone-in-use",
        {
            "hosted": BY_PARENT,
            "leaving": {"dns_record/Z1/_dmarc.shop.acme.com/TXT": "Z1"},
            "before": {("shop.acme.com", "NS"): ["ns.else.example"]},
        },
    ),
    ("spf-loop", {"outside_txt": {"_spf.crm.example": ("v=spf1 -all include:acme.com",)}}),
    (
        "spf-loop",
        {
            "spf": (None, "v=spf1 include:a.example include:b.example"),
            "outside_txt": {"a.example": ("v=spf1 redirect=b.example",), "b.example": ("v=spf1 -all",)},
        },
    ),
    ("spf-include-broken", {"outside_txt": {"_spf.crm.example": ("v=spf1 -all", "x")}}),
    (
        "dkim-tokens-removed",
        {
            "after": {("t1._domainkey.acme.com", "CNAME"): None},
            "want": {"dkim": {"signing_attributes_origin": "EXTERNAL"}},
        },
    ),
    ("dkim-tokens-removed", {"before": {("t1._domainkey.acme.com", "CNAME"): None}}),
    ("dkim-off", {"live": {"dkim": {"signing_enabled": False}}}),
    ("dkim-origin", {"want": {"dkim": {"signing_attributes_origin": "AWS_SES"}}}),
    (
        "dkim-origin",
        {"live": {"dkim": {"signing_enabled": False}}, "want": {"dkim": {"signing_attributes_origin": "EXTERNAL"}}},
    ),
    (
        "dkim-key-lowered",
        {
            "live": {"dkim": {"next_signing_key_length": "RSA_1024_BIT"}},
            "want": {"dkim": {"next_signing_key_length": "RSA_2048_BIT"}},
        },
    ),
    ("dkim-short-key", {}),
    ("events-target-missing", {"more": {FEEDBACK: GONE_TARGET}}),
    ("smtp-store-key", {"users": {"news": GOOD_USER}}),
    ("topic-key-missing", {"more": {A_TOPIC: (None, {})}}),
    ("topic-subscription-undeclared", {"more": {A_TOPIC: ({}, {}, {UNDECLARED: []})}}),
    ("topic-subscription-undeclared", {"more": {A_TOPIC: ({}, None, {UNDECLARED: ["email a@b.example"]})}}),
    ("dkim-short-own-key", {"live": OWN_KEY, "dkim_keys": {ACME: rsa_key(2048)}}),
    ("dkim-short-own-key", {"live": OWN_KEY, "before": {OWN_NAME: ["p="]}}),
    ("identity-mixed-scripts", {"more": {f"email_identity/{EAST}/xn--bcher-kva.com": new()}}),
    (
        "dkim-replica",
        {"more": {f"email_identity/{WEST}/acme.com": new(dkim={"signing_attributes_origin": "AWS_SES_US_EAST_1"})}},
    ),
    ("dkim-replica", {"want": {"dkim": {"signing_attributes_origin": "AWS_SES_SA_EAST_1"}}}),
    ("dkim-replica", {"more": {ACME: (GOOD_IDENTITY, None), REPLICA: (SIGNS_LIKE_ITS_PARENT[0], None)}}),
    (
        "dkim-replica",
        {
            "more": {
                f"email_identity/{WEST}/shop.acme.com": new(dkim={"signing_attributes_origin": "AWS_SES_US_EAST_1"})
            },
            "unread": ("email_identity/us-east-1/shop.acme.com",),
        },
    ),
    ("dkim-failing", {"facts": PENDING}),
    ("dkim-stale", {"before": {("t0._domainkey.acme.com", "CNAME"): ["t0.dkim.vendor.example"]}}),
    ("dkim-stale", {"before": {("t0._domainkey.shop.acme.com", "CNAME"): ["t0.dkim.amazonses.com"]}}),
    (
        "dkim-stale",
        {
            "before": {("t0._domainkey.acme.com", "CNAME"): ["t0.dkim.amazonses.com"]},
            "unread": (f"email_identity/{WEST}",),
        },
    ),
    ("mail-from-reject", {"want": {"mail_from": {"behavior_on_mx_failure": "REJECT_MESSAGE"}}}),
    ("mail-from-reject", {"facts": {"mail_from_status": "PENDING"}}),
    ("mail-from-mx", {}),
    ("mail-from-mx", {"before": {("bounce.acme.com", "MX"): RecordView((), "alias")}}),
    ("mail-from-moves", {"live": {"mail_from": None}, "want": {"mail_from": {"mail_from_domain": "b2.acme.com"}}}),
    ("mail-from-removed", {"live": {"mail_from": None}}),
    ("mail-from-none", {}),
    ("mail-from-in-use", user()),
    ("mail-from-failing", {"facts": {"mail_from_status": "PENDING"}}),
    ("events-nowhere", {"more": a_set()}),
    ("events-lost", {"more": a_set()}),
    (
        "events-lost",
        {"more": {TX: (GOOD_SET, None), f"event_destination/{EAST}/tx/feedback": (GOOD_DESTINATION, None)}},
    ),
    (
        "events-feedback-off",
        {"want": {"email_forwarding_enabled": False, "configuration_set_name": "tx"}, "more": a_set()},
    ),
    ("events-feedback-off", {"want": {"email_forwarding_enabled": False, "configuration_set_name": "unread"}}),
    ("events-disabled", {"more": a_set()}),
    ("events-other-region", {"more": a_set()}),
    (
        "events-default-bus",
        {
            "more": a_set(
                destination={
                    **GOOD_DESTINATION,
                    "event_bridge_destination": {"event_bus_arn": "arn:aws:events:us-east-1:1:event-bus/default"},
                }
            )
        },
    ),
    ("events-topic-missing", {"more": a_set()}),
    ("events-topic-policy", {"more": a_set(), "topics": {TOPIC: Topic(SES_MAY_PUBLISH)}}),
    (
        "events-topic-policy",
        {
            "more": a_set(),
            "topics": {
                TOPIC: Topic(
                    SES_MAY_PUBLISH,
                    "key-1",
                    {
                        "Statement": [
                            {
                                "Effect": "Allow",
                                "Principal": {"Service": ["ses.amazonaws.com"]},
                                "Action": ["kms:GenerateDataKey*", "kms:Decrypt"],
                                "Resource": "*",
                            }
                        ]
                    },
                )
            },
        },
    ),
    ("region-sandbox", {"accounts": {EAST: ACCOUNT}}),
    ("region-paused", {"accounts": {EAST: ACCOUNT, "sa-east-1": {"SendingEnabled": False}}}),
    ("account-paused", {"accounts": {EAST: ACCOUNT}}),
    ("account-paused", {"accounts": {EAST: {**ACCOUNT, "SendingEnabled": False}}}),
    ("region-paused", {"accounts": {EAST: {**ACCOUNT, "SendingEnabled": False, "EnforcementStatus": "SHUTDOWN"}}}),
    (
        "region-quota",
        {
            "more": {f"email_identity/{WEST}/acme.com": (GOOD_IDENTITY, {}, GOOD_FACTS)},
            "accounts": {EAST: ACCOUNT, WEST: ACCOUNT},
        },
    ),
    ("region-quota-near", {"accounts": {EAST: {**ACCOUNT, "SendQuota": {**NEARLY, "SentLast24Hours": 159.0}}}}),
    ("region-quota-near", {"accounts": {EAST: {**ACCOUNT, "SendQuota": {**NEARLY, "Max24HourSend": -1.0}}}}),
    ("region-vdm-off", {"more": a_set(), "accounts": {EAST: ACCOUNT}}),
    ("region-vdm-off", {"more": a_set(was={"vdm_options": METRICS}), "accounts": {EAST: {**ACCOUNT, **VDM_ON}}}),
    (
        "region-vdm-off",
        {
            "more": {**a_set(was={"vdm_options": METRICS}), f"account/{EAST}": BEGINS},
            "accounts": {EAST: ACCOUNT},
        },
    ),
    ("region-delivery-global", {"accounts": {EAST: {**ACCOUNT, **WORLDWIDE}}}),
    ("region-delivery-global", {"more": IN_WEST, "accounts": {WEST: {**ACCOUNT, **REGIONAL}}}),
    ("topic-key", {"more": a_topic(), "topics": {TOPIC: Topic({}, "")}}),
    ("topic-key", {"more": a_topic(), "topics": {TOPIC: Topic({}, "k", SES_MAY_USE)}}),
    ("topic-publisher-lost", {"more": {**a_set(), **a_topic()}}),
    ("topic-publisher-lost", {"more": a_topic("events")}),
    ("topic-publisher-lost", {"more": {**a_rule(), **a_topic("events")}}),
    ("event-rule-no-trail", {"more": a_rule("ses_changes"), "trails": {EAST: True}}),
    ("event-rule-no-trail", {"more": a_rule("ses_changes")}),
    ("event-rule-no-trail", {"more": a_rule(), "trails": {EAST: False}}),
    ("event-rule-other-region", {"more": a_rule("dns_changes")}),
    ("event-rule-other-region", {"more": a_rule("ses_changes", WEST)}),
    ("event-rule-all-users", {"more": a_rule("iam_access_keys")}),
    ("event-rule-zones-elsewhere", {"more": a_rule("dns_changes")}),
    ("event-rule-zones-elsewhere", {"more": a_rule("ses_changes"), "dns_account": "999900001111"}),
    ("event-rule-no-target", {"more": a_rule()}),
    ("event-rule-no-target", {"more": a_rule(targets={}, state="DISABLED")}),
    ("alarm-no-action", {"more": an_alarm()}),
    ("alarm-disabled", {"more": an_alarm({"actions_enabled": True})}),
    ("alarm-disabled", {"more": an_alarm({"actions_enabled": False}, actions_enabled=False)}),
    ("alarm-late", {"more": an_alarm(threshold=0.09)}),
    ("alarm-late", {"more": an_alarm(metric_name="Bounce", threshold=5)}),
    ("alarm-no-metric", {"more": {**an_alarm(), **a_set()}}),
    ("alarm-no-metric", {"more": {**an_alarm(metric_name="Bounce"), **a_set(was=NO_METRICS)}}),
    ("alarm-topic", {"more": an_alarm(), "topics": {TOPIC: Topic(CLOUDWATCH_MAY_PUBLISH)}}),
    ("alarm-topic", {"more": {**an_alarm(), **a_topic("cloudwatch")}, "topics": {TOPIC: Topic({})}}),
    ("notifications-topic", {"want": notified(), "topics": {TOPIC: Topic(SES_MAY_PUBLISH)}}),
    ("notifications-twice", {"want": notified("bounce", "complaint", **NOT_FORWARDED)}),
    ("notifications-twice", {"want": notified("delivery")}),
    ("events-feedback-off", {"want": notified("bounce", "complaint", **NOT_FORWARDED)}),
    ("event-rule-topic", {"more": a_rule(), "topics": {TOPIC: Topic(EVENTS_MAY_PUBLISH)}}),
    ("event-rule-topic", {"more": {**a_rule(), **a_topic("events")}, "topics": {TOPIC: Topic({})}}),
    ("dashboard-no-metrics", a_dashboard("domains", "ses:from-domain", "campaign")),
    ("dashboard-no-metrics", a_dashboard("sets", "ses:configuration-set")),
    ("dashboard-no-metrics", a_dashboard("sets", rates=True)),
    ("dashboard-no-metrics", a_dashboard("account")),
    ("events-topic-missing", {"more": {**a_set(), **a_topic()}, "topics": {TOPIC: None}}),
    ("events-topic-policy", {"more": {**a_set(), **a_topic()}, "topics": {TOPIC: Topic({})}}),
    ("sending-stops", {"more": a_set(was={"sending_options": {"sending_enabled": False}})}),
    ("tls-optional", {"more": a_set(was={"delivery_options": {"tls_policy": "OPTIONAL"}})}),
    ("suppression-off", {"more": a_set(was={"suppression_options": {"suppressed_reasons": None}})}),
    ("reputation-off", {"more": a_set()}),
    ("set-deleted", {"more": a_set()}),
    ("set-missing", {"live": {"configuration_set_name": "tx"}, "more": a_set()}),
    ("tracking-cname", {"more": a_set(was=NO_TRACK), "before": {CLICK: ["r.us-east-1.awstrack.me"]}}),
    ("tracking-cname", {"more": a_set(was=HTTPS), "before": {CLICK: ["x.cloudfront.net"]}}),
    ("tracking-cname", {"more": a_set(was=HTTPS), "before": {("click.acme.com", "A"): RecordView((), "alias")}}),
    ("tracking-https", {"more": a_set(was=HTTPS), "before": {CLICK: ["x.cloudfront.net"]}}),
    ("tracking-https", {"more": a_set(was=HTTPS), "certificates": {CLICK[0]: ""}}),
    ("tracking-https-unchecked", {"more": a_set(was=HTTPS), "before": {CLICK: ["x.cloudfront.net"]}}),
    ("tracking-https-unchecked", {"more": a_set(will=HTTPS), "certificates": {CLICK[0]: ""}}),
    ("tracking-identity", {"more": a_set(will=NO_TRACK)}),
    ("pool-charges", {"more": {f"dedicated_ip_pool/{EAST}/tx": ({"scaling_mode": "MANAGED"}, {})}}),
    (
        "pool-empty",
        {
            "more": {
                **a_set(was={"delivery_options": {"sending_pool_name": "std"}}),
                f"dedicated_ip_pool/{EAST}/std": ({"scaling_mode": "STANDARD", "dedicated_ips": ["192.0.2.1"]}, {}),
            }
        },
    ),
    ("pool-switch", {"more": a_set(will={"delivery_options": {"sending_pool_name": "ses-shared-pool"}})}),
    ("identity-deleted", {"more": {SHOP: (GOOD_IDENTITY, None)}, "sent_last_day": {SHOP: 5}}),
    ("identity-covered", {"more": {NET: (GOOD_IDENTITY, None)}}),
    ("identity-shadows-parent", {"more": {SHOP: new()}, "facts": {"verification_status": "PENDING"}}),
    ("identity-shadows-parent", {"more": {f"email_identity/{EAST}/acme.net": new()}}),
    ("address-mail", {"more": {f"email_identity/{EAST}/ceo@acme.com": (GOOD_IDENTITY, {}, GOOD_FACTS)}}),
    (
        "policy-other-identity",
        {"want": {"policies": {"p": about("acme.com"), "q": about("*"), "r": {"Statement": []}}}},
    ),
    (
        "policy-anyone",
        {
            "want": {
                "policies": {
                    "p": {
                        "Statement": [
                            {
                                "Effect": "Allow",
                                "Principal": {"AWS": ["*"]},
                                "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}},
                            }
                        ]
                    }
                }
            }
        },
    ),
    ("role-wide-subject", role("repo:acme@1/app@2:ref:refs/heads/main")),
    ("role-name-recycled", role("repo:acme@1/app@2:ref:refs/heads/main")),
    ("role-bulk-from", role(actions=["SendBulkEmail"], from_addresses=["*"])),
    ("role-from-unverified", role(from_addresses=["*@shop.acme.com", "*"])),
    ("role-wider", role(more=other_policy("Deny"))),
    ("role-denied", role(more=other_policy("Allow"))),
    ("smtp-any-from", user()),
    ("smtp-any-network", user(source_ips=None, conditions={"StringEquals": {"aws:SourceVpce": "vpce-1"}})),
    ("smtp-wide-network", user()),
    ("smtp-vpc-and-ip", user()),
    ("smtp-any-identity", user()),
    ("smtp-from-case", user(from_addresses=["CEO@acme.com"])),
    ("smtp-from-unverified", user(from_addresses=["*@shop.acme.com", "*"])),
    (
        "smtp-from-unverified",
        {**user(from_addresses=["a@other.com"]), "more": {f"email_identity/{EAST}/a@other.com": new()}},
    ),
    ("smtp-shared-sender", {"users": {"a": GOOD_USER, "b": {**GOOD_USER, "from_addresses": ["b@acme.com"]}}}),
    ("smtp-no-rotation", user()),
    ("smtp-no-overlap", user(consumers=[{"name": "webmail"}])),
    ("smtp-consumers", {**user(consumers=[{"name": "webmail"}]), "more": {CREDENTIAL: ({"x": 1}, {"x": 2})}}),
    ("smtp-key-old", {**user(), "more": {CREDENTIAL: (key("2026-11-01T00:00:00+00:00"), {})}}),
    ("smtp-wider", {**user(), "more": {"smtp_user/news": ({}, LIMITED, {"policies": []})}}),
    ("smtp-denied", {**user(), "more": {"smtp_user/news": ({}, LIMITED, {"policies": [other_policy("Allow")]})}}),
    ("smtp-wider", {**user(), "more": {"smtp_user/news": ({}, LIMITED, {"policies": [other_policy("Deny")]})}}),
    (
        "smtp-set-arn",
        {
            "want": {"configuration_set_name": "tx"},
            "more": {"smtp_user/news": ({}, policy(ses_arn("identity/*"), ses_arn("configuration-set/tx")))},
        },
    ),
    ("smtp-no-endpoint", user()),
    ("dns-hidden-by-cname", {"written": ("dns_record/acme.com/x.acme.com/TXT",)}),
    ("dns-below-delegation", {"written": ("dns_record/acme.com/_dmarc.acme.com/TXT",)}),
    (
        "dns-ends-wildcard",
        {"before": {("*.acme.com", "A"): ["192.0.2.1"]}, "written": ("dns_record/acme.com/_dmarc.shop.acme.com/TXT",)},
    ),
    ("dns-ends-wildcard", {"written": ("dns_record/acme.com/_dmarc.new.acme.com/TXT",)}),
    (
        "dns-ends-wildcard",
        {"before": {("*.acme.com", "TXT"): ["x"]}, "written": ("dns_record/acme.com/_recon.acme.com/TXT",)},
    ),
    ("dns-null-mx-receives", {"domains": {"acme.com": {"null_mx": True}}, "before": {("acme.com", "MX"): ["0 ."]}}),
    ("dns-null-mx-sends", {"domains": {"acme.net": {"null_mx": True, "identity": False}}}),
    ("dns-long-ttl", {"domains": {"acme.com": {"ttl": 3600}}}),
    ("bimi-not-enforced", {"before": ONE_LOGO}),
    ("bimi-no-certificate", {"before": ONE_LOGO}),
]


def findings(rule: str, case: Mapping[str, Any]) -> list[rules.Finding]:
    return [finding for finding in judge(make(**case)) if finding.rule == rule]


@pytest.mark.parametrize(("rule", "severity", "case"), FIRES, ids=[f"{r}-{i}" for i, (r, _, _) in enumerate(FIRES)])
def test_rule_fires(rule: str, severity: str, case: dict[str, Any]) -> None:
    found = findings(rule, case)
    assert [finding.severity for finding in found] == [severity] * len(found)
    assert found
    for finding in found:
        assert re.match(r"[a-z_]+/", finding.address)
        assert finding.message
        assert "None" not in finding.message


@pytest.mark.parametrize(("rule", "case"), QUIET, ids=[f"{r}-{i}" for i, (r, _) in enumerate(QUIET)])
def test_rule_is_quiet(rule: str, case: dict[str, Any]) -> None:
    assert findings(rule, case) == []


def test_nothing_to_say_where_all_is_well() -> None:
    assert judge(make(**user(), more=a_set(), accounts={EAST: ACCOUNT})) == []


# --- the registry --------------------------------------------------------------------------------------------------


def test_every_rule_has_tests_both_ways() -> None:
    assert {rule for rule, _, _ in FIRES} == set(RULES)
    assert {rule for rule, _ in QUIET} == set(RULES)


@pytest.mark.parametrize("rule", sorted(rules.all_rules()))
def test_every_rule_has_a_page(rule: str) -> None:
    text = (PAGES / f"{rule}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {rule}\n")
    for heading in ("## What it finds", "## Why it matters", "Source: ", "## What to do", "## To change or waive it"):
        assert heading in text
    if rule in RULES:
        assert f"**{RULES[rule].title}.** Severity: {RULES[rule].severity}" in text
    assert f"[{rule}]({rule}.md)" in (PAGES / "README.md").read_text(encoding="utf-8")


def test_no_page_without_a_rule() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} - {"README"} == rules.all_rules().keys()


def test_rules_are_well_formed() -> None:
    assert len(RULES) >= 30
    for rule in RULES.values():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)+", rule.id)
        assert rule.severity in ("error", "warning", "note")
        assert rule.title
        assert rule.source
        assert rule.finds
        assert rule.why
        assert rule.fix
        assert re.match(r"[a-z_]+/", rule.example)


def test_the_rules_of_each_kind_are_found() -> None:
    """Those in ``resources/KIND/rules.py`` and in a package of that name, and nothing has to list them."""
    modules = {rule.check.__module__ for rule in RULES.values()}
    root = PAGES.parent.parent / "reconciler" / "resources"
    files = [*root.glob("*/rules.py"), *root.glob("*/rules/*.py")]
    texts = {file: file.read_text(encoding="utf-8") for file in files}
    named = {
        "reconciler.resources." + ".".join(file.relative_to(root).with_suffix("").parts)
        for file, text in texts.items()
        if re.search(r"^@\w*rule\(", text, re.MULTILINE)
    }
    assert len(named) > 8
    assert modules == named | {"reconciler.rules.account"}


TEXTS = {"finds": "It finds something.\n", "Why": "Why: Because.", "Fix": "Fix: Fix it.", "Source": "Source: nowhere"}


@pytest.mark.parametrize("missing", TEXTS)
def test_a_rule_needs_its_texts(missing: str) -> None:
    def check(view: RuleView) -> tuple[()]:
        return ()

    check.__doc__ = "\n".join(text for name, text in TEXTS.items() if name != missing)
    with pytest.raises(ValueError, match="needs a docstring that says what it finds"):
        registry.rule("new-rule", "note", "A title")(check)
    assert "new-rule" not in RULES


def test_theme_and_example_come_from_the_folder_of_the_kind() -> None:
    def check(view: RuleView) -> tuple[()]:
        return ()

    check.__doc__ = "\n".join(TEXTS.values())
    check.__module__ = "reconciler.resources.contact_list.rules"
    registry.rule("new-rule", "note", "A title")(check)
    made = RULES.pop("new-rule")
    assert (made.theme, made.example) == ("Contact lists", "contact_list/us-east-1/example")


def test_an_id_is_registered_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        registry.rule("dmarc-no-rua", "note", "again")(lambda view: ())


# --- severity, waivers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sent", "severity"), [(None, "error"), (12.0, "error"), (0.0, "warning")])
def test_an_error_needs_mail_that_flows(sent: float | None, severity: str) -> None:
    account = {EAST: {"SendQuota": {} if sent is None else {"SentLast24Hours": sent}}}
    found = findings("dmarc-enforced-unverified", {**HURTS, "accounts": account})
    assert [finding.severity for finding in found] == [severity]


def test_a_softened_mail_from_is_said_in_terms_of_mail() -> None:
    name = ("bounce.acme.com", "TXT")
    texts = {end: {name: [f"v=spf1 include:amazonses.com {end}"]} for end in ("-all", "~all", "?all")}
    (found,) = findings("spf-softened", {"before": texts["-all"], "after": texts["~all"]})
    assert "MAIL FROM name bounce.acme.com changes from -all to ~all" in found.message
    assert "mail through SES passes as before" in found.message
    assert "unmanaged: [mail_from]" in found.hint
    assert findings("spf-softened", {"before": texts["?all"], "after": texts["~all"]}) == []
    (found,) = findings("spf-softened", {"before": texts["~all"], "after": texts["?all"]})  # not recon's doing
    assert "add it instead" in found.hint


def test_what_one_identity_sent_counts_before_the_region() -> None:
    account = {EAST: {"SendQuota": {"SentLast24Hours": 0.0}}}
    found = findings("dmarc-enforced-unverified", {**HURTS, "accounts": account, "sent_last_day": {ACME: 3}})
    assert [finding.severity for finding in found] == ["error"]


HURTS = {"facts": UNALIGNED, "dmarc": (NONE, GOOD_DMARC)}


@pytest.mark.parametrize(
    ("rule", "chosen", "case", "severity"),
    [
        ("dmarc-no-rua", "error", {"dmarc": (None, "v=DMARC1; p=none")}, "error"),
        ("dmarc-no-rua", "note", {"dmarc": (None, "v=DMARC1; p=none")}, "note"),
        ("dmarc-no-rua", "off", {"dmarc": (None, "v=DMARC1; p=none")}, None),
        ("dmarc-enforced-unverified", "warning", HURTS, "warning"),
        ("dmarc-enforced-unverified", "note", HURTS, "note"),
        ("dmarc-enforced-unverified", "error", {"more": {SHOP: new()}}, "note"),
        ("dmarc-enforced-unverified", "error", {"facts": UNALIGNED}, "warning"),
        ("dmarc-enforced-unverified", "off", HURTS, None),
    ],
)
def test_severity_is_the_users(rule: str, chosen: str, case: dict[str, Any], severity: str | None) -> None:
    found = [finding.severity for finding in findings(rule, {**case, "settings": {rule: chosen}})]
    assert found == ([severity] if severity else [])


def waiver(until: str, address: str = "dns_record/acme.com/*") -> Waiver:
    return Waiver("dmarc-no-rua", address, "parked", until, AT)


def test_waivers_silence_until_their_day() -> None:
    case: dict[str, Any] = {"dmarc": (None, "v=DMARC1; p=none")}
    for until in ("2026-11-22", "2027-01-31"):
        assert findings("dmarc-no-rua", {**case, "waivers": (waiver(until),)}) == []
    assert findings("dmarc-no-rua", {**case, "waivers": (waiver("2027-01-31", "dns_record/acme.net/*"),)})
    late = judge(make(**case, waivers=(waiver("2026-11-21"),)))
    assert {finding.rule for finding in late} >= {"dmarc-no-rua", "waiver-expired"}
    expired = next(finding for finding in late if finding.rule == "waiver-expired")
    assert "2026-11-21" in expired.message
    assert "parked" in expired.message


def test_a_waiver_that_nothing_needs_any_more_is_a_note() -> None:
    found = judge(make(waivers=(waiver("2026-01-31"),)))
    (note,) = [f for f in found if f.rule == rules.WAIVER_EXPIRED]
    assert (note.severity, note.address) == ("note", "dns_record/acme.com/*")
    assert "remove it" in note.hint
    assert not [f for f in judge(make(waivers=(waiver("2099-01-31"),))) if f.rule == rules.WAIVER_EXPIRED]


def test_the_yaml_knows_every_rule() -> None:
    from reconciler.desired import schema

    assert set(schema.definition("rules")["properties"]) == rules.known_ids()


# --- laws ----------------------------------------------------------------------------------------------------------


def fresh() -> RuleView:
    """A first apply: everything declared with the strictest settings, nothing live, an empty zone."""
    strict = {"mail_from_domain": "bounce.acme.com", "behavior_on_mx_failure": "REJECT_MESSAGE"}
    records_to_come = {key: GOOD_DNS[key] for key in GOOD_DNS if key != ("t1._domainkey.acme.com", "CNAME")}
    return make(
        **user(),
        more={
            ACME: (None, {**GOOD_IDENTITY, "mail_from": strict, "configuration_set_name": "tx"}),
            f"email_identity/{WEST}/acme.com": new(dkim={"signing_attributes_origin": "AWS_SES_US_EAST_1"}),
            TX: (None, GOOD_SET),
            f"event_destination/{EAST}/tx/feedback": (None, GOOD_DESTINATION),
            "smtp_user/news": (None, policy(ses_arn("identity/acme.com"))),
        },
        domains={
            "acme.com": {"dmarc": {"p": "reject", "aspf": "s", "adkim": "s"}},
            "acme.net": {"identity": False, "null_mx": True},
        },
        before=dict.fromkeys(GOOD_DNS),
        after={**records_to_come, ("_dmarc.acme.com", "TXT"): [GOOD_DMARC + "; aspf=s; adkim=s"]},
        zones=("acme.com", "acme.net"),
    )


def test_a_first_apply_of_a_fresh_state_trips_no_error() -> None:
    assert [finding for finding in judge(fresh()) if finding.severity == "error"] == []


def test_an_interrupted_first_apply_trips_no_error() -> None:
    """The identity is there and verified by SES or not, the rest is still to come; nothing was ever sent."""
    quiet = {region: {"SendQuota": {"SentLast24Hours": 0.0}} for region in (EAST, WEST)}
    for facts in (GOOD_FACTS, {"verification_status": "PENDING", "dkim_status": "PENDING"}):
        view = fresh()
        partial = Observed(
            ACME, "email_identity", EAST, "acme.com", identity(), facts={**facts, "mail_from_status": None}
        )
        view = replace(view, observed={ACME: partial}, accounts=quiet)
        assert [finding for finding in judge(view) if finding.severity == "error"] == []


def test_unread_is_never_a_finding() -> None:
    view = replace(fresh(), unread=("email_identity/us-east-1", "configuration_set/us-east-1/tx"), zones=frozenset())
    assert not [f for f in judge(view) if f.address.startswith(("email_identity/us-east-1", "configuration_set/"))]


def test_a_rename_is_one_going_and_one_coming() -> None:
    moved = Change(
        TX.replace("/tx", "/new"), "configuration_set", "replace", GOOD_SET, GOOD_SET, region=EAST,
        moved_from=TX,
    )  # fmt: skip
    view = make(more={TX: (GOOD_SET, None)})
    view = replace(view, changes=(moved,))
    old, fresh_one = view.resource(TX), view.resource(moved.address)
    assert old is not None
    assert old.after is None
    assert fresh_one is not None
    assert fresh_one.is_new


def test_errors_come_first_and_order_is_stable() -> None:
    found = judge(make(**HURTS))
    assert found == judge(make(**HURTS))
    order = ["error", "warning", "note"]
    assert [order.index(f.severity) for f in found] == sorted(order.index(f.severity) for f in found)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([*(case for _, _, case in FIRES), *(case for _, case in QUIET)]), min_size=1, max_size=3),
    st.text(max_size=60),
)
def test_judging_never_crashes(cases: list[dict[str, Any]], text: str) -> None:
    merged: dict[str, Any] = {}
    for case in cases:
        merged.update(case)
    for finding in judge(make(**{**merged, "dmarc": (text, "v=DMARC1; " + text), "spf": ("v=spf1 " + text, text)})):
        assert finding.rule in rules.known_ids()


_LIKE: Final = [rule for rule in (dmarc_rules.tags_rule, spf_rules.record_rule, spf_rules.sender_rule) if rule.alike]
_TEXTS: Final = {
    name: sorted({text for _, _, case in FIRES for text in case.get(key) or () if text})
    for name, key in (("_dmarc.", "dmarc"), ("", "spf"))
}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*(st.sampled_from(texts) for texts in _TEXTS.values())), min_size=2, max_size=6))
def test_records_that_are_alike_are_found_as_if_each_were_judged(texts: list[tuple[str, str]]) -> None:
    """A verdict that depends on more than ``alike`` says would be missed at all but the first of these names."""
    assert len(_LIKE) == 3
    names = [f"{number}.acme.com" for number in range(len(texts))]
    found = {
        (prefix + name, "TXT"): [text]
        for name, both in zip(names, texts, strict=True)
        for prefix, text in zip(_TEXTS, both, strict=True)
    }
    case = {"domains": {name: {} for name in names}, "before": found, "after": found}
    together = judge(make(**case))
    with pytest.MonkeyPatch.context() as patch:
        for rule in _LIKE:
            patch.setitem(rule.__dict__, "alike", None)
        assert judge(make(**case)) == together
    assert {f.address for f in together if f.rule == "spf-open"} >= {
        f"dns_record/acme.com/{name}/TXT" for name, (_, text) in zip(names, texts, strict=True) if text.endswith("+all")
    }
