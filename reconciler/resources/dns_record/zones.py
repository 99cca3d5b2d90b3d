"""Hosted zones and their record sets as read, and which zone answers for a name.

Source: Route 53 Developer Guide, "Supported DNS record types", "DNS domain name format", "Quotas"; Route 53 API,
ListHostedZones (100 a page), ListResourceRecordSets (300 a page).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.errors import AwsError
from reconciler.mail import txt
from reconciler.names import from_route53, is_at_or_below, is_below, parents, to_route53

if TYPE_CHECKING:
    from reconciler.aws import Aws


_PLAIN = frozenset({"Name", "Type", "TTL", "ResourceRecords"})


class RecordSet(NamedTuple):
    """One record set as Route 53 returned it, with the name decoded and folded.

    ``ttl`` in seconds, None for an alias; ``values`` in Route 53's presentation form, byte for byte. ``spelled`` is the
    name as returned, and ``given`` the whole answer where it has more than name, type, TTL and values: most have not,
    and a zone is large.
    """

    name: str
    type: str
    ttl: int | None
    values: tuple[str, ...]
    spelled: str
    given: Mapping[str, Any] | None = None

    @property
    def raw(self) -> Mapping[str, Any]:
        """The set exactly as returned."""
        if self.given is not None:
            return self.given
        records = [{"Value": value} for value in self.values]
        return {"Name": self.spelled, "Type": self.type, "TTL": self.ttl, "ResourceRecords": records}

    @property
    def simple(self) -> bool:
        """Neither alias nor routed nor managed by a traffic policy: the only sets that recon edits."""
        return self.given is None or self.given.keys() <= _PLAIN

    def why_not_simple(self) -> str:
        if "AliasTarget" in self.raw:
            return "an alias"
        if "TrafficPolicyInstanceId" in self.raw:
            return "managed by a traffic policy"
        if "SetIdentifier" in self.raw:
            return f'routed (set identifier "{self.raw["SetIdentifier"]}")'
        return "of a form that recon does not edit"


class Delegation(NamedTuple):
    """What a parent zone says of a zone below it: the name servers, none where it has no NS set for it."""

    parent_id: str
    parent_name: str
    servers: tuple[str, ...]


@dataclass(slots=True)
class Zone:
    """One hosted zone; ``records`` is filled only for zones that matter (``loaded``). Ids without /hostedzone/."""

    id: str
    name: str
    private: bool = False
    linked_service: str = ""
    loaded: bool = False
    tagged_for: set[str] = field(default_factory=set)
    """The scopes of the stacks, this one and former ones, whose tag says that the zone has a marker of theirs."""
    records: dict[tuple[str, str], list[RecordSet]] = field(default_factory=dict)
    by_name: dict[str, list[RecordSet]] = field(default_factory=dict)
    cuts: set[str] = field(default_factory=set)
    """The names below the apex that have NS records."""
    delegations: tuple[Delegation, ...] | None = None
    """What the nearest public zones above it in this account say; None where that was not read."""

    def add(self, record: RecordSet) -> None:
        if record.type == "NS" and record.name != self.name:
            self.cuts.add(record.name)
        self.records.setdefault((record.name, record.type), []).append(record)
        self.by_name.setdefault(record.name, []).append(record)

    def unload(self) -> None:
        """Forget its records."""
        self.loaded = False
        self.records.clear()
        self.by_name.clear()
        self.cuts.clear()

    def sets(self, name: str, type_: str) -> list[RecordSet]:
        return self.records.get((name, type_), [])

    def at(self, name: str) -> list[RecordSet]:
        return self.by_name.get(name, [])

    def texts(self, name: str) -> list[tuple[str, str]]:
        """The TXT values at a name as (raw value, decoded text); what cannot be decoded is left out."""
        found = []
        for record in self.sets(name, "TXT"):
            for value in record.values:
                try:
                    found.append((value, txt.decode(value)))
                except ValueError:
                    continue
        return found

    @property
    def servers(self) -> tuple[str, ...]:
        """Its own name servers, in lower case without final dots."""
        return _servers(self.sets(self.name, "NS"))

    def is_asked(self) -> bool | None:
        """Whether a parent zone in its account delegates to it; None where that is not known."""
        says, own = self.delegations or (), set(self.servers)
        # A parent may name the servers of several zones: each of them is asked now and then.
        return any(not own.isdisjoint(one.servers) for one in says) if own and says else None

    def undelegated(self) -> tuple[str, str] | None:
        """What hides the zone, and what to do: a parent zone in its account has no NS set or another one for it. None
        where nothing does, as far as the zones of this account tell."""
        if self.is_asked() is not False:
            return None
        found = (self.delegations or ())[0]
        there = f"delegates it to {', '.join(found.servers)}" if found.servers else "has no NS records for it"
        parent, servers = f"zone {found.parent_id} ({found.parent_name})", ", ".join(self.servers)
        return (
            f"resolvers do not see hosted zone {self.id} ({self.name}): its parent zone {found.parent_name} {there}",
            f"add this NS set in {parent}: {self.name} NS {servers}",
        )

    def delegation(self, name: str) -> str | None:
        """The name below the apex at or above ``name`` that has NS records: this zone does not answer for it."""
        if not self.cuts:
            return None
        current = name
        while current != self.name and is_at_or_below(current, self.name):
            if current in self.cuts:
                return current
            current = current.partition(".")[2]
        return None


def record_from_aws(raw: Mapping[str, Any]) -> RecordSet:
    """A ResourceRecordSet of ListResourceRecordSets."""
    listed = raw.get("ResourceRecords") or ()
    values = tuple([item["Value"] for item in listed])
    plain = raw.keys() == _PLAIN and max(map(len, listed), default=1) == 1
    spelt = raw["Name"]
    return RecordSet(
        from_route53(spelt), sys.intern(raw["Type"]), raw.get("TTL"), values, spelt, None if plain else raw
    )


def list_zones(aws: Aws) -> dict[str, Zone]:
    """Every hosted zone of the DNS account by id: one call per 100."""
    zones: dict[str, Zone] = {}
    for raw in aws.pages(
        "route53", "ListHostedZones", "HostedZones", dns=True, token_in="Marker", token_out="NextMarker"
    ):
        zone = Zone(
            raw["Id"].rpartition("/")[2],
            from_route53(raw["Name"]),
            bool((raw.get("Config") or {}).get("PrivateZone")),
            (raw.get("LinkedService") or {}).get("ServicePrincipal", ""),
        )
        zones[zone.id] = zone
    return zones


def load(aws: Aws, zone: Zone) -> None:
    """Read all record sets of a zone into it: one call per 300. Not ``loaded`` where that fails half-way."""
    zone.unload()
    start: dict[str, Any] = {}
    while True:
        answer = aws.call("route53", "ListResourceRecordSets", dns=True, HostedZoneId=zone.id, **start)
        for raw in answer["ResourceRecordSets"]:
            zone.add(record_from_aws(raw))
        if not answer.get("IsTruncated"):
            break
        start = {"StartRecordName": answer["NextRecordName"], "StartRecordType": answer["NextRecordType"]}
        if answer.get("NextRecordIdentifier"):
            start["StartRecordIdentifier"] = answer["NextRecordIdentifier"]
    zone.loaded = True


def _servers(sets: Iterable[RecordSet]) -> tuple[str, ...]:
    return tuple(sorted({from_route53(value) for record in sets for value in record.values}))


def read_delegations(aws: Aws, zones: Mapping[str, Zone]) -> None:
    """Read what the nearest zones above say of each zone that was loaded, into its ``delegations``.

    Cost: nothing for parents that are loaded, else one call for each zone, or a whole listing of the parent where more
    than ``_MANY`` would be needed. A read that fails leaves ``delegations`` None.
    """
    above: dict[str, list[Zone]] = {}
    for zone in zones.values():
        if not zone.private:
            above.setdefault(zone.name, []).append(zone)
    todo: dict[str, list[Zone]] = {}
    for zone in zones.values():
        if not zone.loaded or zone.private or zone.delegations is not None:
            continue
        parent = next((name for name in parents(zone.name) if name in above), None)
        zone.delegations = ()
        for one in above.get(parent or "", ()):
            todo.setdefault(one.id, []).append(zone)

    def read(parent_id: str) -> list[tuple[Zone, Delegation | None]]:
        parent, children = zones[parent_id], todo[parent_id]
        between = {child.id: [n for n in parents(child.name) if is_below(n, parent.name)] for child in children}
        names = [name for child in children for name in (child.name, *between[child.id])]
        try:
            seen = parent if parent.loaded else _name_servers(aws, parent, names)
        except AwsError:
            return [(child, None) for child in children]
        return [(child, _delegation(seen, child, between[child.id])) for child in children]

    for pairs in aws.parallel(read, sorted(todo)):
        for zone, found in pairs:
            known = zone.delegations
            zone.delegations = None if found is None or known is None else (*known, found)


_MANY = 20
"""With more names, a whole listing of the parent costs less than a call for each."""


def _name_servers(aws: Aws, parent: Zone, names: Sequence[str]) -> Zone:
    """A copy of a zone that is not loaded, with the NS sets at ``names`` at least."""
    copy = Zone(parent.id, parent.name)
    if len(names) > _MANY:
        load(aws, copy)
        return copy
    for name in dict.fromkeys(names):
        answer = aws.call(
            "route53", "ListResourceRecordSets", dns=True, HostedZoneId=parent.id, StartRecordName=to_route53(name),
            StartRecordType="NS", MaxItems="1",
        )  # fmt: skip
        for raw in answer["ResourceRecordSets"]:
            copy.add(record_from_aws(raw))
    return copy


def _delegation(parent: Zone, child: Zone, between: Iterable[str]) -> Delegation | None:
    """None where a name between both is delegated, so that only its zone, elsewhere, can say."""
    if any(parent.sets(name, "NS") for name in between):
        return None
    return Delegation(parent.id, parent.name, _servers(parent.sets(child.name, "NS")))


@dataclass(frozen=True, slots=True)
class NoZone:
    """Why no zone can be written for a name, and what to do."""

    code: str
    message: str
    hint: str


class ZoneIndex:
    """Finds the zone for a name among all public zones in one look-up per label."""

    def __init__(self, zones: Mapping[str, Zone]) -> None:
        self._zones = zones
        self._public: dict[str, list[Zone]] = {}
        self._private: set[str] = set()
        self._found: dict[str, list[Zone]] = {}
        for zone in zones.values():
            self.add(zone)

    def add(self, zone: Zone) -> None:
        """Know one more zone, which is among ``zones``, too."""
        self._found.clear()
        if zone.private:
            self._private.add(zone.name)
        else:
            self._public.setdefault(zone.name, []).append(zone)

    def candidates(self, name: str) -> list[Zone]:
        """The public zones of the longest name at or above ``name``; several when zones share a name."""
        if name in self._public:
            return self._public[name]
        above = name.partition(".")[2]
        # Remembered for names that have others below them: a domain is asked for by each of its records.
        found = self._found.get(above)
        if found is None:
            found = self._found[above] = self.candidates(above) if above else []
        return found

    def above(self, name: str) -> list[Zone]:
        """Every public zone at or above ``name``."""
        found: list[Zone] = []
        current = name
        while current:
            found += self._public.get(current, ())
            current = current.partition(".")[2]
        return found

    def pick(self, name: str, wanted: str | None) -> Zone | NoZone:
        """The zone to write ``name`` into: ``wanted`` is ``auto``/None or a zone id."""
        if wanted and wanted != "auto":
            zone = self._zones.get(wanted.rpartition("/")[2])
            if zone is None:
                return NoZone(
                    "no-such-zone", f"there is no hosted zone {wanted}", "check the id, and stack.dns for the account"
                )
            if not is_at_or_below(name, zone.name):
                return NoZone("zone-mismatch", f"{name} is not in zone {zone.id} ({zone.name})", "name the right zone")
            if zone.private:
                return NoZone(
                    "private-zone",
                    f"zone {zone.id} ({zone.name}) is private",
                    "SES looks records up in public DNS only: name the public zone",
                )
            return zone if not zone.linked_service else _linked(zone)
        found = self.candidates(name)
        if not found:
            private = next((p for p in self._private if is_at_or_below(name, p)), None)
            only = f" (only a private one, {private}, which SES cannot see)" if private else ""
            return NoZone(
                "no-zone",
                f"no public hosted zone holds {name}{only}",
                "create the zone, set stack.dns if it lives in another account, or write `zone: manual`",
            )
        if len(found) > 1:
            ids = ", ".join(sorted(zone.id for zone in found))
            return NoZone(
                "zones-same-name",
                f"several public zones are called {found[0].name}: {ids}",
                "which one is live depends on the registrar's name servers: write its id as `zone:`",
            )
        return found[0] if not found[0].linked_service else _linked(found[0])


def _linked(zone: Zone) -> NoZone:
    return NoZone(
        "linked-zone",
        f"zone {zone.id} ({zone.name}) belongs to the AWS service {zone.linked_service}, which alone may edit it",
        f"use names outside {zone.name}, or write `zone: manual` and create the records through that service",
    )


def names_in_addresses(zones: Mapping[str, Zone], named: Iterable[str | None]) -> dict[str, str]:
    """What stands for each public zone in the addresses of its records: its name; of several zones with one name the
    first has that which the YAML names (``named``, in its order), else the one with the least id; the others their
    id."""
    first: dict[str, str] = {}
    for zone in [*filter(None, (zones.get(one or "") for one in named)), *(zones[one] for one in sorted(zones))]:
        if not zone.private:
            first.setdefault(zone.name, zone.id)
    return {zone.id: zone.name if first.get(zone.name) == zone.id else zone.id for zone in zones.values()}


def texts_at(zones: Mapping[str, Zone], name: str) -> Iterator[str]:
    """The decoded TXT texts at a name over all loaded public zones."""
    for zone in zones.values():
        if zone.loaded and not zone.private and is_at_or_below(name, zone.name):
            for _, text in zone.texts(name):
                yield text
