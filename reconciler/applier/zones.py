"""DNS in one apply: edits joined into batches of a zone, refusals judged, and the publishing waited for."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reconciler.errors import AwsError, ReconError, Stale
from reconciler.kinds.kind import Need, Step, needs_from_json, order_of
from reconciler.mail import txt
from reconciler.model import Address, Change, Diagnostic
from reconciler.names import to_route53
from reconciler.resources.dns_record import marker
from reconciler.resources.dns_record.edits import Edit, Key, SetChange, batches, compose
from reconciler.resources.dns_record.kind import untag_zone
from reconciler.resources.dns_record.zones import Zone, load, record_from_aws

if TYPE_CHECKING:
    from reconciler.applier.run import ApplyRun
    from reconciler.aws import Aws

INSYNC_SECONDS = 180.0
"""How long Route 53 may take to publish a change before a run ends without it; usually under a minute."""


class Zones:
    """The zones that one apply writes: ``changes`` are the plan's, by address."""

    def __init__(self, run: ApplyRun, changes: Mapping[Address, Change]) -> None:
        self.run = run
        self.changes = changes
        self.changed: dict[str, str] = {}
        """Zone id -> the id of its last change."""
        self.sent: set[str] = set()
        self.writing: dict[str, threading.Lock] = {}
        self.lock = threading.Lock()

    def load(self, zone_ids: Iterable[str]) -> list[Diagnostic]:
        """Read those of the zones that nobody handed in; what could not be read is an error of its own."""
        missing = sorted(z for z in set(zone_ids) if z not in self.run.zones or not self.run.zones[z].loaded)

        def one(zone_id: str) -> Diagnostic | None:
            try:
                self.run.zones[zone_id] = read_zone(self.run.aws, zone_id)
            except AwsError as error:
                return Diagnostic("error", "unread", error.message, error.hint)
            return None

        return [problem for problem in self.run.aws.parallel(one, missing) if problem]

    def edit(self, steps: Sequence[Step]) -> dict[Need, ReconError]:
        """Write all edits of these steps, which are of one zone, in as few batches as the limits allow.

        Returns why a step failed, by its id. One batch a zone at a time: Route 53 refuses a second change while one is
        processed, and what this one leaves is what the next one finds.
        """
        with self.lock:
            mine = self.writing.setdefault(steps[0].zone, threading.Lock())
        with mine:
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
                self.run.say(step.address, step.label)
            except ReconError as error:
                failed[step.id] = error
        unfit = {step.address for step in steps if step.id in failed}
        problems = self._write(zone, [e for e in edits if e.address not in unfit])
        for step in steps:
            if step.id not in failed and step.address in problems:
                failed[step.id] = problems[step.address]
        return failed

    def _write(self, zone: Zone, edits: list[Edit]) -> dict[Address, ReconError]:
        """Compose and send; looks again where a batch is refused: done already, moved by a rival, or wrong."""
        problems: dict[Address, ReconError] = {}
        expected = {e.key: _raw(zone, e.key) for e in edits}
        for attempt in range(4):
            problems, keeping = self._held(edits, problems)
            todo = [e for e in edits if e.address not in problems and not (e.last and e.address in keeping)]
            changes = compose(todo, {k: v for k, v in expected.items() if v is not None})
            if not changes:
                return keeping | problems
            error = self._send(zone, changes)
            if error is None:
                return keeping | problems
            try:
                load(self.run.aws, zone)
            except AwsError:
                return problems | {a: error for c in changes for a in c.addresses}
            moved = self._judge(zone, changes, expected)
            for key, names in moved.items():
                text = f"{key[0]} {key[1]} in zone {zone.name} changed since it was read; it was left alone"
                for address in names:
                    problems[address] = Stale(text, hint="somebody else edited it: plan again and look")
            nothing_moved = not moved and all(_same(_raw(zone, c.key), c.before) for c in changes)
            named = _named(error, changes) if nothing_moved else []
            problems |= {a: error for c in named for a in c.addresses}
            if nothing_moved and attempt and not named:
                return problems | {a: error for c in changes for a in c.addresses}
            for key in expected:
                expected[key] = _raw(zone, key)
        return problems | {
            e.address: ReconError(f"zone {zone.name} kept changing", hint="apply again")
            for e in edits
            if e.address not in problems
        }

    def _held(
        self, edits: Iterable[Edit], problems: Mapping[Address, ReconError]
    ) -> tuple[dict[Address, ReconError], dict[Address, ReconError]]:
        """What waits because something that it needs in the same batch has failed: (whole addresses, markers that may
        not forget yet what has not been written)."""
        held, keeping = dict(problems), dict[Address, ReconError]()
        changes = {e.address: self.changes[e.address] for e in edits if e.address in self.changes}
        waits = {a: (_needed(change), order_of(change).after) for a, change in changes.items()}
        before = -1
        while before != len(held) + len(keeping):
            before = len(held) + len(keeping)
            for address, both in waits.items():
                for addresses, into in zip(both, (held, keeping), strict=True):
                    need = next((other for other in addresses if other in held), None)
                    if need is not None and address not in held and address not in into:
                        into[address] = ReconError(f"{address} was left alone: it needs {need}", hint=held[need].hint)
        return held, keeping

    def _judge(
        self, zone: Zone, changes: list[SetChange], expected: Mapping[Key, Any]
    ) -> dict[Key, tuple[Address, ...]]:
        """Which sets a rival moved. What already is as we want it took effect earlier (a lost answer)."""
        moved = {}
        for change in changes:
            now = _raw(zone, change.key)
            if not _same(now, change.before) and not _same(now, change.after):
                moved[change.key] = change.addresses
        return moved

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
                return error
            with self.lock:
                self.changed[zone.id] = answer["ChangeInfo"]["Id"]
            for change in batch:
                _remember(zone, change)
        return None

    def _tag_zone(self, zone: Zone, batch: list[SetChange]) -> None:
        """A zone that gets its first marker is tagged before, so that one tagging read finds it even when no
        declaration names it any more."""
        if zone.tagged or not any(_has_marker(c.after, self.run.scope) for c in batch):
            return
        self.run.aws.call(
            "route53",
            "ChangeTagsForResource",
            dns=True,
            ResourceType="hostedzone",
            ResourceId=zone.id,
            AddTags=[{"Key": f"recon:{self.run.scope}", "Value": "marker"}],
        )
        zone.tagged = True

    def tidy(self) -> list[Diagnostic]:
        """Take our tag off zones that this run rid of their last marker."""
        found = []
        for zone in self.run.zones.values():
            if not (zone.tagged and zone.loaded and zone.id in self.sent):
                continue
            if any(
                t == "TXT" and n.startswith(f"{marker.LABEL}.") and _has_marker(_raw(zone, (n, t)), self.run.scope)
                for n, t in zone.records
            ):
                continue
            try:
                untag_zone(self.run.aws, self.run.scope, zone.id)
            except AwsError as error:
                text = f"zone {zone.name} keeps its tag recon:{self.run.scope}: {error.message}"
                found.append(Diagnostic("warning", "zone-tag", text))
        return found

    def wait_insync(self, settled: Mapping[str, str] | None = None) -> list[Diagnostic]:
        """Wait until every zone's last change is INSYNC (Route 53 API, GetChange).

        ``settled`` are changes, by zone, that were waited for already.
        """
        aws, stop = self.run.aws, self.run.stop
        pending = {z: c for z, c in self.changed.items() if (settled or {}).get(z) != c}
        deadline = time.monotonic() + INSYNC_SECONDS
        pause = 0.2
        while pending and time.monotonic() < deadline and not stop.is_set():
            zone_id, change_id = next(reversed(pending.items()))
            try:
                answer = aws.call("route53", "GetChange", dns=True, Id=change_id.rpartition("/")[2])
            except AwsError as error:
                text = f"whether DNS is in sync could not be read: {error.message}"
                return [Diagnostic("warning", "insync-unknown", text, error.hint)]
            if answer["ChangeInfo"]["Status"] == "INSYNC":
                del pending[zone_id]
                continue
            self.run.say("route53", f"waiting for {len(pending)} zone{'s' if len(pending) > 1 else ''} to be in sync")
            stop.wait(pause)
            pause = min(pause * 1.7, 10.0)
        if not pending or stop.is_set():
            return []
        text = f"{len(pending)} zones are not in sync after {INSYNC_SECONDS / 60:.0f} minutes"
        return [Diagnostic("warning", "insync-late", text, "Route 53 will finish by itself")]


def read_zone(aws: Aws, zone_id: str) -> Zone:
    """One zone with its records and whether it carries our tag."""
    raw = aws.call("route53", "GetHostedZone", dns=True, Id=zone_id)["HostedZone"]
    zone = Zone(zone_id, raw["Name"].rstrip(".").lower(), bool((raw.get("Config") or {}).get("PrivateZone")))
    load(aws, zone)
    tags = aws.call("route53", "ListTagsForResource", dns=True, ResourceType="hostedzone", ResourceId=zone_id)
    zone.tagged = any(t["Key"] == f"recon:{aws.stack.scope}" for t in tags["ResourceTagSet"].get("Tags") or ())
    return zone


def _needed(change: Change) -> tuple[Address, ...]:
    return tuple(need.address for need in needs_from_json(change.execution.get("needs") or ()))


def _named(error: AwsError, changes: Sequence[SetChange]) -> list[SetChange]:
    """The changes that Route 53 names as why it refused a whole batch, where it names some and not all: a name that
    a rival gave a CNAME must not hold up the other names of the zone (Route 53 API, InvalidChangeBatch)."""
    if error.aws_code != "InvalidChangeBatch":
        return []
    # "RRSet of type MX with DNS name x. is not permitted ... in zone y.", "Tried to create ... [name='x.', type='MX']"
    said = {name.rstrip(".").lower() for name in re.findall(r"(?:DNS name |name=')([^\s',\]]+)", error.message)}
    found = [c for c in changes if to_route53(c.key[0]).rstrip(".").lower() in said]
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
    """Bring the zone as we know it up to what was just written."""
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
