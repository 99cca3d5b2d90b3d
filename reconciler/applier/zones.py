"""The DNS of one apply: batches the edits of each zone, interprets refusals, and waits until changes are in sync."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reconciler.applier.precondition import PLAN_AGAIN
from reconciler.errors import DENIED, AwsError, ReconError, Stale
from reconciler.kinds.kind import Need, Step, order_of
from reconciler.mail import txt
from reconciler.model import Address, Change, Diagnostic
from reconciler.names import is_at_or_below, to_route53
from reconciler.resources.dns_record import marker
from reconciler.resources.dns_record.edits import Edit, Key, SetChange, batches, compose
from reconciler.resources.dns_record.kind import tag_zone, untag_zone, zone_tags
from reconciler.resources.dns_record.zones import Zone, load, record_from_aws

if TYPE_CHECKING:
    from reconciler.applier.run import ApplyRun
    from reconciler.aws import Aws

INSYNC_SECONDS = 180.0
"""How long a run waits for Route 53 to publish a change; it usually takes less than a minute."""
INSYNC_POLL = 2.0
"""Seconds between two looks at it, at most: Route 53 takes five calls a second."""


class Zones:
    """The zones that one apply writes: ``changes`` are the plan's, by address."""

    def __init__(self, run: ApplyRun, changes: Mapping[Address, Change]) -> None:
        self.run = run
        self.changes = changes
        self.changed: dict[str, str] = {}
        """Zone id -> the id of its last change."""
        self.sent: set[str] = set()
        self.left = Counter[str]()
        """How many steps of each zone have not ended."""
        self.unused: dict[str, list[str]] = {}
        """The stacks for which a zone is tagged although it has no marker of theirs any more, by its id."""
        self.zone_locks: dict[str, threading.Lock] = {}
        self.lock = threading.Lock()

    def expect(self, zone_ids: Iterable[str]) -> None:
        """The zone of each step of this run, so that the records of a zone go with its last step."""
        self.left.update(zone_ids)

    def ended(self, steps: Iterable[Step]) -> None:
        """Count steps that have ended or been skipped. What is known of the records of a zone that no step writes any
        more goes: of ten thousand new domains that is as much as their part of the plan."""
        for step in steps:
            if not step.zone:
                continue
            self.left[step.zone] -= 1
            if not self.left[step.zone] and (zone := self.run.zones.get(step.zone)) is not None:
                self._note_unused(zone)
                zone.unload()

    def load(self, zone_ids: Iterable[str]) -> list[Diagnostic]:
        """Read the zones that are not read yet. Returns an error for each that could not be read."""
        missing = sorted(z for z in set(zone_ids) if z not in self.run.zones or not self.run.zones[z].loaded)

        def read(zone_id: str) -> Diagnostic | None:
            try:
                self.run.zones[zone_id] = read_zone(self.run.aws, zone_id)
            except AwsError as error:
                return Diagnostic("error", "unread", error.message, error.hint)
            return None

        return [problem for problem in self.run.aws.parallel(read, missing) if problem]

    def edit(self, steps: Sequence[Step]) -> dict[Need, ReconError]:
        """Write all edits of these steps, which belong to one zone, in as few batches as the limits allow.

        Returns why a step failed, by its id. One batch per zone at a time: Route 53 refuses a second change while it
        processes one, and each batch is composed from what the one before left.
        """
        with self.lock:
            zone_lock = self.zone_locks.setdefault(steps[0].zone, threading.Lock())
        with zone_lock:
            return self._edit(steps)

    def _edit(self, steps: Sequence[Step]) -> dict[Need, ReconError]:
        zone = self.run.zones.get(steps[0].zone)
        if zone is None or not zone.loaded:
            return {s.id: ReconError(f"{s.address}: its zone could not be read", hint="apply again") for s in steps}
        failed: dict[Need, ReconError] = {}
        edits: list[Edit] = []
        for step in steps:
            try:
                edits += list(step.edits(self.run)) if step.edits else []
                self.run.on_progress(step.address, step.label)
            except ReconError as error:
                failed[step.id] = error
        excluded = {step.address for step in steps if step.id in failed}
        problems = self._write(zone, [e for e in edits if e.address not in excluded])
        for step in steps:
            if step.id not in failed and step.address in problems:
                failed[step.id] = problems[step.address]
        return failed

    def _write(self, zone: Zone, edits: list[Edit]) -> dict[Address, ReconError]:
        """Compose and send. If a batch is refused, read the zone again: the edits may be done already, somebody else
        may have changed a record set, or the batch is invalid."""
        problems: dict[Address, ReconError] = {}
        expected = {e.key: _raw(zone, e.key) for e in edits}
        for attempt in range(4):
            problems, markers_kept = self._blocked(edits, problems)
            pending = [e for e in edits if e.address not in problems and not (e.last and e.address in markers_kept)]
            changes = compose(pending, {k: v for k, v in expected.items() if v is not None})
            if not changes:
                return markers_kept | problems
            error = self._send(zone, changes)
            if error is None:
                return markers_kept | problems
            try:
                load(self.run.aws, zone)
            except AwsError:
                return problems | {a: error for c in changes for a in c.addresses}
            conflicts = self._conflicts(zone, changes)
            for key, addresses in conflicts.items():
                text = f"{key[0]} {key[1]} in zone {zone.name} changed since it was read; it was left alone"
                for address in addresses:
                    problems[address] = Stale(text, hint=PLAN_AGAIN)
            unchanged = not conflicts and all(_same(_raw(zone, c.key), c.before) for c in changes)
            named = _named(error, changes) if unchanged else []
            problems |= {a: error for c in named for a in c.addresses}
            if unchanged and attempt and not named:
                return problems | {a: error for c in changes for a in c.addresses}
            for key in expected:
                expected[key] = _raw(zone, key)
        return problems | {
            e.address: ReconError(f"zone {zone.name} kept changing", hint="apply again")
            for e in edits
            if e.address not in problems
        }

    def _blocked(
        self, edits: Iterable[Edit], problems: Mapping[Address, ReconError]
    ) -> tuple[dict[Address, ReconError], dict[Address, ReconError]]:
        """The addresses that need something of the same batch which has failed: (those that are not written at all,
        markers that must still name what has not been deleted)."""
        blocked, markers_kept = dict(problems), dict[Address, ReconError]()
        changes = {e.address: self.changes[e.address] for e in edits if e.address in self.changes}
        waits = {a: (_needed(change), order_of(change).after) for a, change in changes.items()}
        before = -1
        while before != len(blocked) + len(markers_kept):
            before = len(blocked) + len(markers_kept)
            for address, both in waits.items():
                for addresses, into in zip(both, (blocked, markers_kept), strict=True):
                    need = next((other for other in addresses if other in blocked), None)
                    if need is not None and address not in blocked and address not in into:
                        hint = blocked[need].hint
                        into[address] = ReconError(f"{address} was left alone: it needs {need}", hint=hint)
        return blocked, markers_kept

    def _conflicts(self, zone: Zone, changes: list[SetChange]) -> dict[Key, tuple[Address, ...]]:
        """The record sets that somebody else changed. One that is already as wanted was written by an earlier attempt
        whose response was lost."""
        return {
            change.key: change.addresses
            for change in changes
            if not _same(now := _raw(zone, change.key), change.before) and not _same(now, change.after)
        }

    def _send(self, zone: Zone, changes: list[SetChange]) -> AwsError | None:
        for batch in batches(changes):
            with self.lock:
                self.sent.add(zone.id)
            try:
                self._tag_zone(zone, batch)
                answer = self.run.aws.call(
                    "route53",
                    "ChangeResourceRecordSets",
                    dns=True,
                    HostedZoneId=zone.id,
                    ChangeBatch={"Comment": "recon", "Changes": [c for change in batch for c in change.changes]},
                )
            except AwsError as error:
                if error.aws_code in DENIED and (gone := self._taken_out(batch)):
                    dns = ["--dns"] if self.run.aws.stack.dns_role_arn else []
                    options = " ".join([*dns, *(f"--removing {name}" for name in gone)])
                    error.hint += (
                        f"; it is limited to the names of the YAML: for what was taken out, run recon iam-policy apply "
                        f"{options} and give the role what that prints"
                    )
                return error
            with self.lock:
                self.changed[zone.id] = answer["ChangeInfo"]["Id"]
            for change in batch:
                _remember(zone, change)
        return None

    def _taken_out(self, batch: Sequence[SetChange]) -> list[str]:
        """The domains of the records that a batch takes away, each without those above which it is."""
        found = set()
        for change in batch:
            planned = [self.changes[address] for address in change.addresses if address in self.changes]
            if change.after is None or any(one.action == "delete" for one in planned):
                # Labels such as _dmarc and abc._domainkey stand in front of the domain.
                found.add(re.sub(r"^(?:.*\.)?_[^.]*\.", "", change.key[0]))
        return sorted(n for n in found if not any(n != other and is_at_or_below(n, other) for other in found))

    def _tag_zone(self, zone: Zone, batch: list[SetChange]) -> None:
        """Tag a zone before it gets its first marker, so that the tagging API finds it even when nothing declares it
        any more."""
        if self.run.scope in zone.tagged_for or not any(_has_marker(c.after, self.run.scope) for c in batch):
            return
        tag_zone(self.run.aws, self.run.scope, zone.id)
        zone.tagged_for.add(self.run.scope)

    def untag_unused(self) -> list[Diagnostic]:
        """Remove the tag, ours or a former stack's, from the zones whose last marker this run deleted."""
        found = []
        for zone in self.run.zones.values():
            self._note_unused(zone)
            unused = self.unused.get(zone.id, [])
            try:
                if unused:
                    untag_zone(self.run.aws, unused, zone.id)
            except AwsError as error:
                text = f"zone {zone.name} keeps its tag {', '.join(f'recon:{one}' for one in unused)}: {error.message}"
                found.append(Diagnostic("warning", "zone-tag", text))
        return found

    def _note_unused(self, zone: Zone) -> None:
        """Keep which tags of a zone are unused, before its records go."""
        if zone.tagged_for and zone.loaded and zone.id in self.sent:
            self.unused[zone.id] = marker.unused_tags(zone)

    def wait_insync(self, already: Mapping[str, str] | None = None) -> list[Diagnostic]:
        """Wait until every zone's last change is INSYNC (Route 53 API, GetChange).

        ``already`` are changes, by zone, that need no further wait.
        """
        aws, stop = self.run.aws, self.run.stop
        pending = {z: c for z, c in self.changed.items() if (already or {}).get(z) != c}
        deadline = time.monotonic() + INSYNC_SECONDS
        pause = 0.2
        while pending and time.monotonic() < deadline and not stop.is_set():
            zone_id, change_id = next(reversed(pending.items()))
            try:
                answer = aws.call("route53", "GetChange", dns=True, Id=change_id.rpartition("/")[2])
            except AwsError as error:
                text = f"could not read whether Route 53 has published the changes: {error.message}"
                return [Diagnostic("warning", "insync-unknown", text, error.hint)]
            if answer["ChangeInfo"]["Status"] == "INSYNC":
                del pending[zone_id]
                continue
            self.run.on_progress(
                "route53", f"waiting for {len(pending)} zone{'s' if len(pending) > 1 else ''} to be in sync"
            )
            stop.wait(pause)
            pause = min(pause * 1.7, INSYNC_POLL)
        if not pending or stop.is_set():
            return []
        text = f"{len(pending)} zones are not in sync after {INSYNC_SECONDS / 60:.0f} minutes"
        return [Diagnostic("warning", "insync-late", text, "Route 53 publishes them by itself")]


def read_zone(aws: Aws, zone_id: str) -> Zone:
    """One zone with its records and whether it has our tag."""
    raw = aws.call("route53", "GetHostedZone", dns=True, Id=zone_id)["HostedZone"]
    zone = Zone(zone_id, raw["Name"].rstrip(".").lower(), bool((raw.get("Config") or {}).get("PrivateZone")))
    load(aws, zone)
    zone.tagged_for = zone_tags(aws, zone_id) & {*aws.stack.scopes}
    return zone


def _needed(change: Change) -> tuple[Address, ...]:
    return tuple(need.address for need in change.execution.get("needs") or ())


def _named(error: AwsError, changes: Sequence[SetChange]) -> list[SetChange]:
    """The changes that Route 53's refusal of a batch names, if it names some and not all: a name that somebody else
    gave a CNAME must not block the other names of the zone (Route 53 API, InvalidChangeBatch)."""
    if error.aws_code != "InvalidChangeBatch":
        return []
    # "RRSet of type MX with DNS name x. is not permitted ... in zone y.", "Tried to create ... [name='x.', type='MX']"
    names = {name.rstrip(".").lower() for name in re.findall(r"(?:DNS name |name=')([^\s',\]]+)", error.message)}
    found = [c for c in changes if to_route53(c.key[0]).rstrip(".").lower() in names]
    return found if len(found) < len(changes) else []


def _raw(zone: Zone, key: Key) -> Mapping[str, Any] | None:
    found = zone.sets(*key)
    return found[0].raw if found else None


def _same(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    if one is None or other is None:
        return one is other
    return _values(one) == _values(other) and one.get("TTL") == other.get("TTL")


def _values(raw: Mapping[str, Any]) -> list[str]:
    return sorted(item["Value"] for item in raw.get("ResourceRecords") or ())


def _remember(zone: Zone, change: SetChange) -> None:
    """Update our copy of the zone with what was just written."""
    name, type_ = change.key
    zone.records.pop(change.key, None)
    zone.by_name[name] = [r for r in zone.by_name.get(name, []) if r.type != type_]
    if change.after is not None:
        zone.add(record_from_aws(change.after))


def _has_marker(raw: Mapping[str, Any] | None, scope: str) -> bool:
    for value in _values(raw or {}):
        try:
            if marker.is_ours(txt.decode(value), scope):
                return True
        except ValueError:
            continue
    return False
