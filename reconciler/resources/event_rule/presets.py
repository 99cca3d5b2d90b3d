"""What the presets of event rules match, and what their messages say. Pure.

Calls that failed change nothing and are left out. A value that an event does not have leaves its place in a message
empty, and a quote in a value would break the message: those named here cannot have one.

Source: EventBridge User Guide, "AWS service events delivered via AWS CloudTrail", "Comparison operators for use in
event patterns" and "Amazon EventBridge input transformation"; CloudTrail User Guide, "CloudTrail record contents".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

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
