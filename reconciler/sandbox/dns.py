"""The sandbox's view of public DNS: answers from the public zones of all its accounts.

The most specific public zone answers; of several with one name the oldest does, unless a seed marks another as the
one that the registrar delegates to. A zone's NS set below its apex hides what is under it, unless the sandbox has the
child zone. Private zones are never seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.sandbox.records import BadRecord, normalise_name, text_of

if TYPE_CHECKING:
    from reconciler.sandbox.route53 import Zone
    from reconciler.sandbox.world import World

DELEGATED_TAG = "sandbox:delegated"

PUBLISHED = {
    "amazonses.com.": {
        "Name": "amazonses.com.", "Type": "TXT", "TTL": 900,
        "ResourceRecords": [{"Value": '"v=spf1 ip4:199.255.192.0/22 ip4:199.127.232.0/22 ip4:54.240.0.0/18 -all"'}],
    },
}  # fmt: skip
"""What AWS publishes outside the zones of customers, as far as mail depends on it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a question brought. ``code`` is NOERROR, NXDOMAIN or SERVFAIL; ``changed`` when the name last changed."""

    code: str
    values: tuple[str, ...]
    changed: float
    zone: Zone | None


class Resolver:
    """Looks names up in the zones of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._version = -1
        self._index: dict[str, list[Zone]] = {}

    def _zones_by_name(self) -> dict[str, list[Zone]]:
        """All public zones by normalised name, rebuilt when a zone came or went."""
        if self._version != self.world.zone_version:
            index: dict[str, list[Zone]] = {}
            for _, _, state in self.world.each("route53"):
                for zone in state.zones.values():
                    if not zone.private:
                        index.setdefault(zone.name, []).append(zone)
            self._index, self._version = index, self.world.zone_version
        return self._index

    def zone_of(self, name: str) -> Zone | None:
        """The zone that answers for a normalised name."""
        index = self._zones_by_name()
        labels = name.rstrip(".").split(".")
        for start in range(len(labels)):
            if zones := index.get(".".join(labels[start:]) + "."):
                return min(zones, key=lambda z: (DELEGATED_TAG not in z.tags, z.created))
        return None

    def _sets_at(self, name: str) -> tuple[Zone | None, list[dict[str, Any]], float, bool]:
        """(zone, sets, when they changed, whether the name exists) of a name; wildcards applied."""
        try:
            wanted = normalise_name(name)
        except BadRecord:
            return None, [], 0.0, False
        zone = self.zone_of(wanted)
        if zone is None:
            known = PUBLISHED.get(wanted)
            return None, [known] if known else [], 0.0, known is not None
        labels = wanted[: -len(zone.name)].rstrip(".").split(".") if wanted != zone.name else []
        for start in range(len(labels)):
            cut = ".".join(labels[start:]) + "." + zone.name
            if any(key[1] == "NS" for key in zone.names.get(cut, ())):
                return None, [], zone.touched.get(cut, 0.0), False
        changed = zone.touched.get(wanted, zone.created)
        sets = zone.at(wanted)
        if sets or zone.has_below(wanted):
            return zone, sets, changed, True
        for start in range(1, len(labels) + 1):
            parent = ".".join([*labels[start:], zone.name])
            if parent in zone.names or zone.has_below(parent):
                sets = zone.at("*." + parent)
                return zone, sets, max(changed, zone.touched.get("*." + parent, 0.0)), bool(sets)
        return zone, [], changed, False

    def records(self, name: str, kind: str) -> list[str]:
        """The values of one type at a name as Route 53 stores them, no CNAME followed."""
        _, sets, _, _ = self._sets_at(name)
        return [r["Value"] for s in sets if s["Type"] == kind for r in s.get("ResourceRecords", ())]

    def lookup(self, name: str, kind: str, depth: int = 8) -> Reply:
        """The values of one type at a name, following CNAMEs unless the question is for one.

        TXT values are joined and unescaped; names in values keep the case and dot they were stored with.
        """
        zone, sets, changed, exists = self._sets_at(name)
        if not exists:
            return Reply("NXDOMAIN", (), changed, zone)
        found: list[str] = []
        for record_set in sets:
            values = [r["Value"] for r in record_set.get("ResourceRecords", ())]
            if record_set["Type"] == kind:
                found += [text_of(v) for v in values] if kind in ("TXT", "SPF") else values
            elif record_set["Type"] == "CNAME" and values and depth:
                reply = self.lookup(values[0], kind, depth - 1)
                return Reply(reply.code, reply.values, max(changed, reply.changed), reply.zone)
        return Reply("NOERROR", tuple(found), changed, zone)
