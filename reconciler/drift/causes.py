"""Who changed it, and when: events of CloudTrail's history that could have made a difference.

The history is asked by event name, since the resources that CloudTrail lists with an event are not there for SES: one
look-up for each call that could have made one of the differences, in each region; users are looked up by their name.

Source: CloudTrail API reference, LookupEvents (management events of the last 90 days, one attribute a look-up, 50
events a page, newest first, 2 requests per second); CloudTrail User Guide, "Global service events" (IAM and Route 53
are recorded in us-east-1) and "CloudTrail userIdentity element".
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import AwsError
from reconciler.model import Address, Change
from reconciler.regions import home_region

if TYPE_CHECKING:
    from reconciler.aws import Aws

MAX_LOOKUPS: Final = 60
"""Look-ups in one run: half a minute at CloudTrail's rate."""
MAX_PAGES: Final = 4
"""Pages of one look-up: the newest 200 events."""


_TAGS: Final = ("TagResource", "UntagResource")
_IDENTITY: Final[Mapping[str, tuple[str, ...]]] = {
    "dkim": (
        "PutEmailIdentityDkimAttributes", "PutEmailIdentityDkimSigningAttributes", "SetIdentityDkimEnabled",
        "VerifyDomainDkim",
    ),
    "mail_from": ("PutEmailIdentityMailFromAttributes", "SetIdentityMailFromDomain"),
    "configuration_set_name": ("PutEmailIdentityConfigurationSetAttributes",),
    "email_forwarding_enabled": ("PutEmailIdentityFeedbackAttributes", "SetIdentityFeedbackForwardingEnabled"),
    "policies": (
        "CreateEmailIdentityPolicy", "UpdateEmailIdentityPolicy", "DeleteEmailIdentityPolicy", "PutIdentityPolicy",
        "DeleteIdentityPolicy",
    ),
    "tags": _TAGS,
}  # fmt: skip
_SET: Final[Mapping[str, tuple[str, ...]]] = {
    "delivery_options": ("PutConfigurationSetDeliveryOptions",),
    "reputation_options": (
        "PutConfigurationSetReputationOptions", "UpdateConfigurationSetReputationMetricsEnabled",
    ),
    "sending_options": ("PutConfigurationSetSendingOptions", "UpdateConfigurationSetSendingEnabled"),
    "suppression_options": ("PutConfigurationSetSuppressionOptions",),
    "tracking_options": (
        "PutConfigurationSetTrackingOptions", "CreateConfigurationSetTrackingOptions",
        "UpdateConfigurationSetTrackingOptions", "DeleteConfigurationSetTrackingOptions",
    ),
    "vdm_options": ("PutConfigurationSetVdmOptions",),
    "archiving_options": ("PutConfigurationSetArchivingOptions",),
    "tags": _TAGS,
}  # fmt: skip
_POOL: Final[Mapping[str, tuple[str, ...]]] = {
    "scaling_mode": ("PutDedicatedIpPoolScalingAttributes",),
    "dedicated_ips": ("PutDedicatedIpInPool",),
    "tags": _TAGS,
}
_FIELDS: Final = {"email_identity": _IDENTITY, "configuration_set": _SET, "dedicated_ip_pool": _POOL}
_GONE: Final[Mapping[str, tuple[str, ...]]] = {
    "email_identity": ("DeleteEmailIdentity", "DeleteIdentity"),
    "configuration_set": ("DeleteConfigurationSet",),
    "dedicated_ip_pool": ("DeleteDedicatedIpPool",),
    "event_destination": ("DeleteConfigurationSetEventDestination", "DeleteConfigurationSet"),
}
_MADE: Final[Mapping[str, tuple[str, ...]]] = {
    "email_identity": ("CreateEmailIdentity", "VerifyDomainIdentity", "VerifyEmailIdentity"),
    "configuration_set": ("CreateConfigurationSet",),
    "dedicated_ip_pool": ("CreateDedicatedIpPool",),
    "event_destination": ("CreateConfigurationSetEventDestination",),
}
_STORE: Final[Mapping[str, tuple[str, ...]]] = {
    "secretsmanager": ("PutSecretValue", "UpdateSecret", "DeleteSecret"),
    "ssm": ("PutParameter", "DeleteParameter"),
}
_STORE_TAGS: Final[Mapping[str, tuple[str, ...]]] = {
    "secretsmanager": _TAGS,
    "ssm": ("AddTagsToResource", "RemoveTagsFromResource"),
}


@dataclass(frozen=True, slots=True)
class Cause:
    """One event: what was called, when (ISO 8601), by whom (ARN or service), from where, with what program."""

    event: str
    time: str
    principal: str
    address: str
    agent: str = ""

    @property
    def ours(self) -> bool:
        """Whether recon made the call: its requests say ``app/recon``."""
        return "app/recon" in self.agent

    def __str__(self) -> str:
        place = f" from {self.address}" if self.address else ""
        through = (
            ", through recon"
            if self.ours
            else ", in the console"
            if "signin" in self.agent.lower() or "console" in self.agent.lower()
            else ""
        )
        return f"{self.event} at {self.time} by {self.principal or 'an unknown principal'}{place}{through}"


@dataclass(frozen=True, slots=True)
class _Lookup:
    region: str
    attribute: str
    value: str
    dns: bool = False


@dataclass(frozen=True, slots=True)
class Causes:
    """What the history told: causes by address; why it told nothing; whether there was more to ask than was asked."""

    causes: Mapping[Address, Cause]
    unread: str = ""
    hint: str = ""
    cut: bool = False


def find(aws: Aws, changes: Sequence[Change], since: str = "") -> Causes:
    """The newest event that could have made each difference; ``since`` (ISO 8601) is when all was as declared.

    Never raises for what AWS answers. Cost: one or a few look-ups a region and kind of difference.
    """
    wanted: dict[_Lookup, list[Change]] = {}
    for change in changes:
        for lookup in _lookups(aws, change):
            wanted.setdefault(lookup, []).append(change)
    # What explains most is asked first.
    todo = sorted(wanted, key=lambda one: (-len(wanted[one]), one.region, one.value))
    best: dict[Address, Cause] = {}
    problem: AwsError | None = None
    cut = len(todo) > MAX_LOOKUPS
    for lookup in todo[:MAX_LOOKUPS]:
        left = {c.address: c for c in wanted[lookup]}
        try:
            for event in _events(aws, lookup, since):
                cause, said = _cause(event), _said(event)
                if cause is None:
                    continue
                for change in [c for c in left.values() if _concerns(change_names(c), said, lookup)]:
                    del left[change.address]
                    held = best.get(change.address)
                    if held is None or held.time < cause.time:
                        best[change.address] = cause
                if not left:
                    break
        except AwsError as error:
            problem = error
            if error.aws_code not in {"InvalidLookupAttributesException", "InvalidTimeRangeException"}:
                break
    if problem is not None:
        return Causes(best, problem.message, problem.hint, cut)
    return Causes(best, cut=cut)


# --- what to ask ---------------------------------------------------------------------------------------------------


def _lookups(aws: Aws, change: Change) -> Iterator[_Lookup]:
    partition = aws.stack.partition
    home = home_region(partition, change.region or "us-east-1")
    if change.kind == "dns_record":
        yield _Lookup(home, "EventName", "ChangeResourceRecordSets", dns=bool(aws.stack.dns_role_arn))
        return
    if change.kind in {"smtp_user", "smtp_credential"}:
        # The tags of a credential are those of its stores; its key, and what is stored, are other calls' doing.
        tagged = [change.kind == "smtp_credential" and d.path.startswith("tags.") for d in change.diff]
        tables = [*([_STORE] if not all(tagged) or not tagged else []), *([_STORE_TAGS] if any(tagged) else [])]
        if _STORE in tables:
            yield _Lookup(home, "ResourceName", change.address.partition("/")[2])
        for store in change.execution.get("stores") or ():
            for name in (name for table in tables for name in table.get(str(store["type"]), ())):
                yield _Lookup(str(store["region"]), "EventName", name)
        return
    names: Iterable[str]
    if change.action == "create":
        names = _GONE.get(change.kind, ())
    elif change.action in {"delete", "adopt"}:
        names = (*_MADE.get(change.kind, ()), *(_TAGS if change.action == "adopt" else ()))
    elif change.kind == "event_destination":
        names = ("UpdateConfigurationSetEventDestination",)
    else:
        table = _FIELDS.get(change.kind, {})
        names = dict.fromkeys(
            itertools.chain.from_iterable(table.get(d.path.partition(".")[0], ()) for d in change.diff)
        )
    for name in names:
        yield _Lookup(change.region or home, "EventName", name)


def _events(aws: Aws, lookup: _Lookup, since: str) -> Iterator[Mapping[str, Any]]:
    start: dict[str, Any] = {"StartTime": datetime.fromisoformat(since)} if since else {}
    token: str | None = None
    for _ in range(MAX_PAGES):
        more: dict[str, Any] = {"NextToken": token} if token else {}
        answer = aws.call(
            "cloudtrail", "LookupEvents", lookup.region, dns=lookup.dns, MaxResults=50, **start, **more,
            LookupAttributes=[{"AttributeKey": lookup.attribute, "AttributeValue": lookup.value}],
        )  # fmt: skip
        yield from answer.get("Events") or ()
        token = answer.get("NextToken")
        if not token:
            return


# --- what an event says --------------------------------------------------------------------------------------------


def _detail(event: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        found = json.loads(event.get("CloudTrailEvent") or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _cause(event: Mapping[str, Any]) -> Cause | None:
    """The event as a cause; None for reads and for calls that failed."""
    detail = _detail(event)
    if detail.get("errorCode") or detail.get("readOnly") is True or event.get("ReadOnly") == "true":
        return None
    who = detail.get("userIdentity") or {}
    principal = str(who.get("arn") or who.get("invokedBy") or event.get("Username") or who.get("type") or "")
    time = event.get("EventTime")
    moment = (
        time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if isinstance(time, datetime) else ""
    )
    return Cause(
        str(event.get("EventName") or ""), moment, principal, str(detail.get("sourceIPAddress") or ""),
        str(detail.get("userAgent") or ""),
    )  # fmt: skip


def _said(event: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every text in the request's parameters with the lower-case key it stands under; values are only compared."""
    found: list[tuple[str, str]] = []

    def walk(key: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for name, inner in value.items():
                walk(str(name).lower(), inner)
        elif isinstance(value, list):
            for inner in value:
                walk(key, inner)
        elif isinstance(value, str):
            found.append((key, value.rstrip(".").lower()))

    detail = _detail(event)
    walk("", detail.get("requestParameters"))
    for resource in event.get("Resources") or ():
        walk("resourcename", resource.get("ResourceName"))
    return found


def change_names(change: Change) -> dict[str, str]:
    """What a request that touches this resource names: role -> lower-case name."""
    if change.kind == "dns_record":
        run = change.execution
        return {"record": str(run.get("name") or "").lower(), "type": str(run.get("type") or "").lower()}
    rest = change.address.partition("/")[2]
    if change.kind in {"smtp_user", "smtp_credential"}:
        stores = " ".join(str(s["name"]).lower() for s in change.execution.get("stores") or ())
        return {"user": rest.lower(), "stores": stores}
    name = rest.partition("/")[2].lower()
    if change.kind == "event_destination":
        set_name, _, own = name.partition("/")
        return {"set": set_name, "destination": own}
    return {"name": name}


_NAMING: Final = frozenset({
    "emailidentity", "identity", "identities", "domain", "emailaddress", "configurationsetname", "poolname",
    "destinationpoolname", "resourcename", "name", "configurationset",
})  # fmt: skip


def _concerns(names: Mapping[str, str], said: Sequence[tuple[str, str]], lookup: _Lookup) -> bool:
    if "record" in names:
        # Names and types stand side by side in a change batch, each record's name before its type or after it.
        records = {v.replace("\\052", "*") for k, v in said if k == "name"}
        return names["record"] in records and names["type"] in {v for k, v in said if k == "type"}
    if "user" in names:
        if lookup.attribute == "ResourceName":
            return ("username", names["user"]) in said
        return any(
            k in {"secretid", "name", "resourceid"} and store in v for k, v in said for store in names["stores"].split()
        )
    if "destination" in names:
        own = {v for k, v in said if k == "eventdestinationname"}
        sets = {v for k, v in said if k in _NAMING}
        return names["set"] in sets and (not own or names["destination"] in own)
    name = names["name"]
    return any(v == name for k, v in said if k in _NAMING) or any(
        v.rpartition(":")[2].partition("/")[2] == name for k, v in said if k == "resourcearn"
    )
