"""Who changed it, and when: events of CloudTrail's history that could have made a difference.

The history is asked by event name, since CloudTrail lists no resources with the events of SES: one look-up for each
call that could have made one of the differences, in each region; users are looked up by their name. What to look up,
and what an event is about, the kinds say (``BaseKind.lookups``, ``BaseKind.concerns``).

Source: CloudTrail API reference, LookupEvents (management events of the last 90 days, one attribute a look-up, 50
events a page, newest first, 2 requests per second); CloudTrail User Guide, "Global service events" (IAM and Route 53
are recorded in us-east-1) and "CloudTrail userIdentity element".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from reconciler.activity import counted
from reconciler.errors import AwsError
from reconciler.kinds.lookups import Lookup, Said
from reconciler.kinds.registry import REGISTRY
from reconciler.model import Address, Change, Diagnostic, address_parts
from reconciler.regions import home_region

if TYPE_CHECKING:
    from reconciler.aws import Aws

MAX_LOOKUPS: Final = 60
"""Look-ups in one run: half a minute at CloudTrail's rate."""
CLOCKS: Final = timedelta(seconds=5)
"""How far the clock of this machine and AWS's may be apart."""

MAX_PAGES: Final = 4
"""Pages of one look-up: the newest 200 events."""


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
class Causes:
    """What the history says: causes by address and by path of the difference; why it could not be read; whether there
    was more to ask."""

    causes: Mapping[Address, Mapping[str, Cause]]
    unread: str = ""
    hint: str = ""
    cut: bool = False


def find(aws: Aws, changes: Sequence[Change], since: str = "", until: str = "") -> Causes:
    """The newest event that could have made each part of each difference. ``since`` and ``until`` (ISO 8601) are when
    the last apply began and ended: what it wrote itself did not cause what differs since.

    Never raises for what AWS answers. Cost: one or a few look-ups a region and kind of difference.
    """
    wanted: dict[Lookup, list[Change]] = {}
    for change in changes:
        for lookup in _lookups(aws, change):
            wanted.setdefault(lookup, []).append(change)
    # What explains most is asked first.
    todo = sorted(wanted, key=lambda one: (-len(wanted[one]), one.region, one.value))
    best: dict[Address, dict[str, Cause]] = {}
    problem: AwsError | None = None
    cut = len(todo) > MAX_LOOKUPS
    todo = todo[:MAX_LOOKUPS]
    for lookup in counted(todo, "look-up in CloudTrail", len(todo)):
        left = {c.address: (c, {one.path for one in c.diff} or {""}) for c in wanted[lookup]}
        try:
            for event in history(aws, lookup, since):
                cause, said = cause_of(event), _said(event)
                if cause is None or (cause.ours and cause.time <= until):
                    continue
                for change, paths in [*left.values()]:
                    made = paths & _made(change, cause, said, lookup)
                    held = best.setdefault(change.address, {})
                    held |= {path: cause for path in made if path not in held or held[path].time < cause.time}
                    paths -= made
                    if not paths:
                        del left[change.address]
                if not left:
                    break
        except AwsError as error:
            problem = error
            if error.aws_code not in {"InvalidLookupAttributesException", "InvalidTimeRangeException"}:
                break
    best = {address: held for address, held in best.items() if held}
    if problem is not None:
        return Causes(best, problem.message, problem.hint, cut)
    return Causes(best, cut=cut)


AGE: Final = timedelta(days=4)
"""How far back it is looked for what began a status."""


def dated(aws: Aws, diagnostics: Iterable[Diagnostic], now: str) -> Iterator[Diagnostic]:
    """The diagnostics, those ``undated`` with their age where the history tells it. Never raises for what AWS answers.
    Cost: a look-up a region that has one."""
    known: dict[Lookup, list[tuple[str, Said]]] = {}
    since = (datetime.fromisoformat(now) - AGE).isoformat()
    for one in diagnostics:
        if not one.undated:
            yield one
            continue
        kind = REGISTRY[address_parts(one.address).kind]
        lookup = kind.began(one)
        if lookup not in known:
            try:
                found = [(cause_of(event), _said(event)) for event in history(aws, lookup, since)]
            except AwsError as error:
                found = []
                yield Diagnostic("note", "causes-unread", f"could not read since when: {error.message}", error.hint)
            known[lookup] = [(cause.time, said) for cause, said in found if cause is not None]
        told = kind.dated(one, known[lookup], now)
        if told is not None:
            yield told


def _made(change: Change, cause: Cause, said: Said, lookup: Lookup) -> set[str]:
    """The paths of a difference that an event can have made: none where it is about another resource."""
    kind = REGISTRY[change.kind]
    return set(kind.explained(change, cause.event, said)) if kind.concerns(change, said, lookup) else set()


# --- what to ask ---------------------------------------------------------------------------------------------------


def _lookups(aws: Aws, change: Change) -> Iterator[Lookup]:
    """The questions of the change's kind, each to a region and an account that there are."""
    stack = aws.stack
    for lookup in REGISTRY[change.kind].lookups(change):
        region = lookup.region or home_region(stack.partition)
        yield replace(lookup, region=region, dns=lookup.dns and bool(stack.dns_role_arn))


def history(aws: Aws, lookup: Lookup, since: str = "") -> Iterator[Mapping[str, Any]]:
    """The events of one look-up, the newest first, at most ``MAX_PAGES`` pages. Raises AwsError."""
    # Events have whole seconds, and the clock that ``since`` is from may be a little ahead of AWS's.
    start: dict[str, Any] = {"StartTime": datetime.fromisoformat(since) - CLOCKS} if since else {}
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


def detail_of(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record of an event; empty where it is no JSON."""
    try:
        found = json.loads(event.get("CloudTrailEvent") or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def cause_of(event: Mapping[str, Any]) -> Cause | None:
    """The event as a cause; None for reads and for calls that failed."""
    detail = detail_of(event)
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


def _said(event: Mapping[str, Any]) -> Said:
    """Every text in the request's parameters, and the key that holds it; values are only compared."""
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

    detail = detail_of(event)
    walk("", detail.get("requestParameters"))
    for resource in event.get("Resources") or ():
        walk("resourcename", resource.get("ResourceName"))
    return found
