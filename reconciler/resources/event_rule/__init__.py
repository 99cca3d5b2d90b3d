"""EventBridge rules of the default bus, where they send what they match, and what their presets match and say.

Calls that failed change nothing, so that presets leave them out. A value that an event does not have leaves its place
in a message empty, and a quote in a value would break the message: those named here cannot have one.

Source: EventBridge API reference, PutRule and PutTargets; EventBridge User Guide, "Amazon EventBridge quotas", "AWS
service events delivered via AWS CloudTrail", "Comparison operators for use in event patterns" and "Amazon EventBridge
input transformation"; CloudTrail User Guide, "CloudTrail record contents".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from reconciler.resources.spec import CloudTrail, Field, Named, Phrase, PlainSpec, Section, Service, Words

AT_HOME = ("iam_access_keys", "dns_changes")
"""Presets whose events arrive in the region of the partition's global services alone."""

MOST_TARGETS = 5

MOST_CHARACTERS: Final = 4096
"""Of a pattern as JSON (EventBridge API reference, PutRule)."""

CALLS: Final = "AWS API Call via CloudTrail"

_PATHS: Final = {
    "who": "$.detail.userIdentity.arn", "what": "$.detail.eventName", "when": "$.detail.eventTime",
    "from": "$.detail.sourceIPAddress", "account": "$.account",
}  # fmt: skip


class Preset(NamedTuple):
    """``source`` of the events without ``aws.``, what their ``detail`` has, and the message with its own paths."""

    source: str
    detail: Mapping[str, Any]
    message: str
    paths: Mapping[str, str]

    def pattern(self, **more: Any) -> dict[str, Any]:
        """The event pattern, with ``more`` in its detail."""
        detail = {"eventSource": [f"{self.source}.amazonaws.com"], "errorCode": [{"exists": False}]}
        return {"source": [f"aws.{self.source}"], "detail-type": [CALLS], "detail": {**detail, **self.detail, **more}}

    def transformer(self) -> dict[str, Any]:
        """The ``input_transformer`` of its targets."""
        return {"input_paths_map": {**_PATHS, **self.paths}, "input_template": json.dumps(self.message)}


PRESETS: Final[Mapping[str, Preset]] = {
    "iam_access_keys": Preset(
        "iam",
        {"eventName": ["CreateAccessKey", "UpdateAccessKey", "DeleteAccessKey"]},
        "<who> called <what> for the access key <key><made> of the IAM user <user> at <when> from <from> in account "
        "<account>. If nobody planned this, run recon smtp lock <user>: it stops the user's mail at once. recon drift "
        "shows what else differs.",
        {
            "user": "$.detail.requestParameters.userName", "key": "$.detail.requestParameters.accessKeyId",
            "made": "$.detail.responseElements.accessKey.accessKeyId",
        },
    ),
    "ses_changes": Preset(
        "ses",
        {"eventName": [{"anything-but": {"prefix": "Send"}}]},
        "<who> called <what> of Amazon SES in <region> at <when> from <from> in account <account>. recon drift shows "
        "whether something differs from the declared state; recon apply puts it right.",
        {"region": "$.region"},
    ),
    "dns_changes": Preset(
        "route53",
        {
            "eventName": [
                "ChangeResourceRecordSets", "CreateHostedZone", "DeleteHostedZone", "EnableHostedZoneDNSSEC",
                "DisableHostedZoneDNSSEC",
            ]
        },
        "<who> called <what> of Route 53 for the zone <zone><other> at <when> from <from> in account <account>. recon "
        "drift shows whether a record of mail differs; recon apply puts it right.",
        {"zone": "$.detail.requestParameters.hostedZoneId", "other": "$.detail.requestParameters.id"},
    ),
}  # fmt: skip
"""Sending is no change, and would be told with every message where a trail logs it (SES Developer Guide, "Logging
Amazon SES API calls": data events)."""


def text_of(pattern: Mapping[str, Any]) -> str:
    """A pattern as it is sent: the shortest JSON, always the same."""
    return json.dumps(pattern, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def preset_pattern(name: str, users: Iterable[str]) -> dict[str, Any]:
    """The pattern of a preset. That of access keys lists ``users``, and matches every user where it would be too long
    with them, or where there are none."""
    preset, listed = PRESETS[name], sorted(set(users))
    if name != "iam_access_keys" or not listed:
        return preset.pattern()
    pattern = preset.pattern(requestParameters={"userName": listed})
    return pattern if len(text_of(pattern)) <= MOST_CHARACTERS else preset.pattern()


def preset_of(pattern: Any) -> str:
    """The preset that has a pattern, with whatever users; empty where none has."""
    for name, preset in PRESETS.items():
        if isinstance(pattern, Mapping) and normal(pattern) == normal(preset.pattern(**_users(pattern))):
            return name
    return ""


def _users(pattern: Mapping[str, Any]) -> dict[str, Any]:
    detail = pattern.get("detail")
    found = detail.get("requestParameters") if isinstance(detail, Mapping) else None
    return {} if found is None else {"requestParameters": found}


def normal(pattern: Any, key: str = "") -> Any:
    """A pattern in one form: the order of alternatives has no meaning, that of the parts of a ``numeric`` has."""
    if isinstance(pattern, Mapping):
        return {name: normal(value, name) for name, value in pattern.items()}
    if isinstance(pattern, list | tuple):
        items = [normal(item) for item in pattern]
        return items if key == "numeric" else sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
    return pattern


def needs_a_trail(pattern: Any) -> bool:
    """Whether a pattern is about calls, which arrive only where a trail logs them."""
    return isinstance(pattern, Mapping) and CALLS in (pattern.get("detail-type") or ())


def _about_mail(rule: Mapping[str, Any]) -> bool:
    """Whether a rule of ListRules is about SES, or has the form of a preset; none that AWS manages."""
    try:
        pattern = json.loads(rule.get("EventPattern") or "{}")
    except ValueError:
        return False
    about_ses = isinstance(pattern, Mapping) and "aws.ses" in (pattern.get("source") or ())
    return not rule.get("ManagedBy") and (about_ses or bool(preset_of(pattern)))


SPEC = PlainSpec(
    name="event_rule",
    words="event rule",
    sections=(
        Section(
            "event_rules", "event_rule", "Event rules",
            "An EventBridge rule by its name: who is told when somebody changes access keys of SMTP users, SES or DNS.",
            "watching.yaml", place=80, at_home={"preset": AT_HOME},
        ),
    ),
    named=(Named("targets", "sns_topic", "events", "{user} still publishes to it"),),
    service=Service("events", "events", "events:rule", "rule/", "ResourceARN", deletes=("RemoveTargets",)),
    quota=300,
    pattern=r"[.\-_A-Za-z0-9]{1,64}",
    pattern_words="1 to 64 letters, digits, - _ and .",
    listed=("ListRules", "Rules", "Name"),
    for_mail=_about_mail,
    anywhere=("cloudtrail:DescribeTrails", "cloudtrail:GetTrailStatus", "cloudtrail:GetEventSelectors"),
    key="Name",
    verbs={"Create": "PutRule", "Get": "DescribeRule", "Update": "PutRule", "Delete": "DeleteRule"},
    tags_in_get=False,
    no_fields=("preset", "input_transformer"),
    preset_says=("event_pattern", "input_transformer"),
    fields={
        "event_pattern": Field(),
        "description": Field(),
        "state": Field(default="ENABLED", ours="ENABLED", events=("EnableRule", "DisableRule")),
        "schedule_expression": Field(declared=False),
        "role_arn": Field(declared=False),
        "targets": Field(
            put="PutTargets", after_create=True, read="events:ListTargetsByRule", remembered=True,
            events=("RemoveTargets",),
        ),
    },
    trail=CloudTrail(naming=("rule",)),
    cannot_move="EventBridge has no rename, and a new rule matches only some time after it is made",
    says=Words(
        new=Phrase("{n} event rule begins to watch", "{n} event rules begin to watch", 238),
        changed=Phrase("{n} event rule changes", "{n} event rules change", 239),
        gone=Phrase("{n} event rule watches no more", "{n} event rules watch no more", 392),
        when={
            "state": {
                "DISABLED": Phrase("{n} event rule is disabled", "{n} event rules are disabled", 391),
                "ENABLED": Phrase("{n} event rule is enabled again", "{n} event rules are enabled again", 240),
            },
        },
    ),
)  # fmt: skip
