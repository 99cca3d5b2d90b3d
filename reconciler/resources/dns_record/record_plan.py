"""One plan's DNS changes: what it does to each record, and what remembers which records are ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from reconciler import regions
from reconciler.kinds.comparing import differences
from reconciler.kinds.kind import Need, Order, needs_of
from reconciler.kinds.ownership import RECORDS, published, unpack
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.snapshot import RecordOwner, Snapshot
from reconciler.mail import bimi, dmarc, spf, txt
from reconciler.model import ActionName, Address, Change, FieldDiff, Note, Observed, Source
from reconciler.names import is_at_or_below
from reconciler.resources.dns_record import TRACKING_KIND, intents, marker
from reconciler.resources.dns_record.intents import Intent
from reconciler.resources.dns_record.values import (
    NAME,
    address_of,
    mail_from_names,
    mx_value,
    set_digest,
    tracking_option,
)
from reconciler.resources.dns_record.zones import RecordSet, Zone, ZoneIndex


@cache
def _ttl_made(ttl: int) -> FieldDiff:
    return FieldDiff("ttl", None, ttl)


@dataclass(slots=True)
class RecordChange:
    """What this plan does to one address."""

    zone: Zone
    name: str | None
    type: str
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    diff: tuple[FieldDiff, ...] = ()
    remove: Sequence[str] = ()
    add: Sequence[str] = ()
    ttl: int | None = None
    notes: tuple[Note, ...] = ()
    source: Source | None = None
    needs: tuple[Need, ...] = ()
    depends: frozenset[Address] = frozenset()
    after_changes: tuple[Address, ...] = ()
    """For a marker: the changes that must be carried out before it forgets a line."""
    unknown: tuple[str, ...] = ()
    token: dict[str, Any] | None = None
    mark: dict[str, str] | None = None
    leaves_zone: bool = False
    """Whether it is deleted since the YAML's list of zones names its zone no more."""
    claims: bool = False
    """Whether it is live as declared, and only remembered as ours from now on."""
    marker: bool = False
    untag: tuple[str, ...] = ()
    """The stacks whose tag is taken off the zone."""
    tag: str = ""
    """The stack whose tag is put on the zone."""
    adopts: bool = False
    """For a marker: whether it takes over lines of a former stack."""
    region: str | None = None
    may_be_others: frozenset[str] = frozenset()
    """The groups for which the tags of another stack may name the record, where it is deleted, or is taken over
    although nothing of ours names it."""
    domain: str = ""
    """Whose record it is that may be others'; and by which addresses' tags it would become ours."""
    owners: tuple[Address, ...] = ()


class RecordPlan:
    """Filled in one pass: what is created or updated (upserts.py), then what is deleted (removals.py)."""

    def __init__(self, draft: PlanDraft) -> None:
        self.draft = draft
        self.snapshot = snapshot = draft.snapshot
        self.index = ZoneIndex(snapshot.zones)
        self.entries = intents.own_entries(snapshot)
        self.places = intents.zone_places(snapshot)
        self.identities: dict[str, list[Address]] = {}
        for desired in snapshot.kind("email_identity"):
            self.identities.setdefault(desired.name, []).append(desired.address)
        self.of_domain: dict[str, list[RecordChange]] = {}
        self.changes: dict[Address, RecordChange] = {}
        self.alike: dict[tuple[Any, ...], tuple[Any, ...]] = {}  # what the records of an identity wait for, kept once
        self.wanted: dict[tuple[str, str], Intent] = {}
        self.written: dict[Address, set[str]] = {}  # owner -> groups written by this plan
        self.left_to_others: set[Address] = set()  # owners whose tracking name belongs to somebody else
        self.homes: dict[str, set[str | None]] = {}  # domain -> its zones by id; None: one that is not known
        self.left: set[tuple[str, str]] = set()  # (zone id, domain): the YAML's list of zones names it no more
        self.undecided: set[tuple[str, str]] = set()  # (zone id, domain): it is not known which zones stay
        self.refused_of: dict[str, list[Address]] = {}  # domain -> its records that cannot be written
        self.kept_groups: dict[str, set[str]] = {}  # domain -> groups that stay desired
        self.kept_claims: dict[str, set[str]] = {}  # domain -> what its marker may claim and stays desired
        stack = snapshot.state.stack
        self.zones_elsewhere = stack.dns_account not in (None, stack.account)
        self.markers: dict[tuple[str, str], marker.Marker] = {}  # (zone id, domain) -> what it should say
        self.spf_compared: set[tuple[str, str]] = set()  # (zone id, domain): its SPF record was compared with the state
        self.live_markers: dict[tuple[str, str], marker.Marker] = {}
        self.former_markers: dict[tuple[str, str], dict[str, marker.Marker]] = {}  # of declared domains, by scope
        self.released: set[tuple[str, str]] = set()  # (zone id, domain): let go, so that its marker goes
        self.inheriting: dict[str, set[Address]] = {}  # domain -> identities whose tag takes over from its marker
        self.stuck: dict[str, set[str]] = {}  # domain -> groups that are still remembered, since deleting is refused
        self.deleted_by: dict[str, list[Address]] = {}  # domain -> delete addresses remembered by its marker
        self.ours_by_name: dict[str, list[Observed]] = {}  # domain -> live identities of this stack
        for live in snapshot.live("email_identity"):
            if snapshot.owns(live):
                self.ours_by_name.setdefault(live.name, []).append(live)
        self.ours_by_record = remembered_names(snapshot)
        self.zones_of_name = Counter(zone.name for zone in snapshot.zones.values() if not zone.private)

    def read_markers(self) -> None:
        """Our markers, and those of former stacks at what is declared; of what is not declared a note names them."""
        scope, former = self.snapshot.scope, self.snapshot.state.stack.former_scopes
        for zone in self.snapshot.zones.values():
            if not zone.loaded or zone.private:
                continue
            for name, type_ in list(zone.records):
                if type_ != "TXT" or not name.startswith(f"{marker.LABEL}."):
                    continue
                domain, texts = name.removeprefix(f"{marker.LABEL}."), [text for _, text in zone.texts(name)]
                found = {one: there for one in (scope, *former) if (there := marker.read(texts, one))}
                mine = found.pop(scope, None)
                if mine and f"domains.{domain}" in self.snapshot.released:
                    self.released.add((zone.id, domain))
                elif mine:
                    self.live_markers[zone.id, domain] = mine
                if found and domain in self.entries:
                    self.former_markers[zone.id, domain] = found
                for stack in found if domain not in self.entries else ():
                    self.draft.left(self.address(zone, name, type_), stack)

    def markers_of_others(self, zone: Zone, domain: str) -> dict[str, marker.Marker]:
        """What the markers of other stacks say of a domain, by scope; without those that are taken over."""
        texts = [text for _, text in zone.texts(marker.name_for(domain))]
        mine = {self.snapshot.scope, *self.former_markers.get((zone.id, domain), ())}
        scopes = {marker.stack_of(text) for text in texts} - mine - {None}
        return {scope: marker.read(texts, scope) for scope in sorted(filter(None, scopes))}

    def remembered_spf(self, zone: Zone, intent: Intent) -> marker.Marker:
        """Our marker of a domain whose SPF is declared; with the declared terms that former stacks put there."""
        if intent.group != "spf":
            return marker.Marker()
        mine, wanted = self.live_marker(zone, intent.domain), set(intent.terms)
        taken = self.former_markers.get((zone.id, intent.domain), {}).values()
        both = [*(mine.spf or ()), *(term for theirs in taken for term in theirs.spf or () if term in wanted)]
        return replace(
            mine,
            spf=list(dict.fromkeys(both)),
            spf_created=mine.spf_created or any(theirs.spf_created for theirs in taken),
            spf_shared=mine.spf_shared or any(theirs.spf_shared for theirs in taken),
        )

    def goes(self, domain: str) -> bool:
        """Whether the state does not declare a domain any more."""
        return self.snapshot.removing or domain not in self.entries

    def shared_terms(self, zone: Zone, domain: str, ours: Iterable[str], wanted: Iterable[str] = ()) -> set[str]:
        """Those SPF terms that another stack's marker names, too: the last stack that declares a term removes it.

        A note says which of ``ours`` stay for that reason although they are not ``wanted`` any more."""
        shared: dict[str, str] = {
            t: stack for stack, m in self.markers_of_others(zone, domain).items() for t in m.spf or ()
        }
        for term in [t for t in ours if t in shared and t not in wanted]:
            self.draft.say(
                "note",
                "left" if self.goes(domain) else "spf-shared",
                f'{term} stays in the SPF record of {domain}: the recon stack "{shared[term]}" declares it, too',
                address=self.address(zone, domain, "TXT"),
            )
        return set(shared)

    def live_marker(self, zone: Zone, domain: str) -> marker.Marker:
        return self.live_markers.get((zone.id, domain), marker.Marker())

    def find_left_zones(self) -> None:
        """Find the zones that the YAML's list named and names no more, while others hold the domain: what is ours there
        goes. Not while anything of the domain, or what its other zones hold, is unknown: then the list stays known."""
        for place, former in self.former_markers.items():
            if zones := next((theirs.zones for theirs in former.values() if theirs.zones), ()):
                mine = self.live_markers.setdefault(place, marker.Marker())
                mine.zones = mine.zones or zones
        for (zone_id, domain), mine in self.live_markers.items():
            homes = self.homes.get(domain, {None})
            known = not any(self.snapshot.unknown(one) for one in self.identities.get(domain, ()))
            known = known and all(one is not None and self.snapshot.zones[one].loaded for one in homes)
            if mine.zones and known and zone_id not in homes:
                self.left.add((zone_id, domain))
            elif mine.zones and not known and not self.goes(domain):
                self.undecided.add((zone_id, domain))

    def wants(self, zone: Zone, name: str, type_: str) -> Intent | None:
        """The declared record of a name and type; None in a zone that the YAML's list names no more."""
        intent = self.wanted.get((name, type_))
        return None if intent is None or (zone.id, intent.domain) in self.left else intent

    def is_manual(self, domain: str) -> bool:
        """Whether the state says ``zone: manual`` of a domain."""
        return intents.zones_named(self.entries.get(domain)) == ("manual",)

    def zone_of(self, name: str, live: Observed | None = None) -> Zone | None:
        """The zone for a name that may not be declared any more: its entry's, else the longest public one.

        Of several zones of that name it is the one with records that the identity ``live`` derives, or the only one
        with any record of that name; None where that does not decide.
        """
        for hint in intents.zones_named(intents.covering_entry(self.entries, name)):
            picked = self.index.pick(name, hint) if hint not in {None, "auto", "manual"} else None
            if isinstance(picked, Zone):
                return picked
        found = [z for z in self.index.candidates(name) if z.loaded]
        proven = self.zones_with_records_of(found, live) if live is not None else []
        named = [z for z in found if z.at(name)]
        return next((some[0] for some in (found, proven, named) if len(some) == 1), None)

    def zones_of(self, name: str) -> list[Zone]:
        """Where a value that is deleted may be: every zone read that could hold the name, since a record may be left
        from a time before a zone was created or named."""
        found = [z for z in self.snapshot.zones.values() if z.loaded and not z.private and is_at_or_below(name, z.name)]
        return sorted(found, key=lambda z: (-len(z.name), z.id))

    def zones_with_records_of(self, zones: Iterable[Zone], live: Observed) -> list[Zone]:
        """Those of ``zones`` that have a record that only ``live`` derives."""
        derived = _derived(live)
        return [z for z in zones if any(z.sets(*key) for key in derived)]

    def address(self, zone: Zone, label: str, type_: str) -> Address:
        """The address of a record; in a second zone of the same name it has the zone's id."""
        return address_of(self.places.get(zone.id, zone.name), label, type_)

    def create(
        self, address: Address, zone: Zone, intent: Intent, value: str, shown: Mapping[str, Any] | None = None
    ) -> None:
        live = next(iter(zone.sets(intent.name or "", intent.type)), None)
        ttl = live.ttl if live is not None else (300 if intent.ttl is None else intent.ttl)
        after = {"name": intent.name, "type": intent.type, "ttl": ttl, **(shown or {"value": value})}
        made = (_ttl_made(v) if k == "ttl" else FieldDiff(k, None, v) for k, v in after.items())
        diff = tuple(one for one in made if one.path not in {"name", "type"})
        self.changes[address] = planned = RecordChange(
            zone,
            intent.name,
            intent.type,
            None,
            after,
            diff,
            add=[value],
            ttl=None if live else ttl,
            source=intent.source,
            region=intent.region,
        )
        self.note_foreign(planned, live, [])

    def update(
        self,
        address: Address,
        zone: Zone,
        intent: Intent,
        live: RecordSet,
        remove: list[str],
        add: list[str],
        before: Mapping[str, Any],
        after: Mapping[str, Any],
        old_text: str = "",
        new_text: str = "",
    ) -> None:
        foreign = [v for v in live.values if v not in remove]
        ttl = intent.ttl if intent.ttl is not None and not foreign else live.ttl
        old = {"ttl": live.ttl, **before}
        new = {"ttl": ttl, **after}
        diff = tuple(FieldDiff(f.path, f.before, f.after, intent.source) for f in differences(old, new))
        place = {"name": intent.name, "type": intent.type}
        if old_text:
            old, new = {**old, "value": old_text}, {**new, "value": new_text}
        self.changes[address] = planned = RecordChange(
            zone,
            intent.name,
            intent.type,
            {**place, **old},
            {**place, **new},
            diff,
            remove,
            add,
            ttl if ttl != live.ttl else None,
            source=intent.source,
            region=intent.region,
        )
        if not self.is_claimed(zone, intent):
            self._may_be_others(planned, intent)
        self.note_foreign(planned, live, remove)

    def right(
        self,
        address: Address,
        zone: Zone,
        intent: Intent,
        live: RecordSet,
        ours: list[str],
        shown: Callable[[], Mapping[str, Any]],
        claimed: bool | None = None,
    ) -> None:
        """The value is right; the TTL is ours only where it was written and nobody else's values share the set. What is
        right in every way is adopted, where nothing remembers it as ours (``claimed``: whether something does).

        ``shown`` makes what people see of the value: most records are right in every way and do not need it."""
        other_ttl = intent.ttl is not None and intent.ttl != live.ttl and all(v in ours for v in live.values)
        if not other_ttl and (self.is_claimed(zone, intent) if claimed is None else claimed):
            if intent.zones and (claim := intents.claimed_in_marker(intent)):
                self.markers[zone.id, intent.domain].groups.add(claim)
            return
        place = {"name": intent.name, "type": intent.type, **shown()}
        self.changes[address] = planned = RecordChange(
            zone,
            intent.name,
            intent.type,
            {**place, "ttl": live.ttl},
            {**place, "ttl": intent.ttl if other_ttl else live.ttl},
            (FieldDiff("ttl", live.ttl, intent.ttl, intent.source),) if other_ttl else (),
            list(ours) if other_ttl else (),
            list(ours) if other_ttl else (),
            intent.ttl if other_ttl else None,
            source=intent.source,
            region=intent.region,
            claims=not other_ttl,
        )
        if not other_ttl:
            self._may_be_others(planned, intent)

    def _may_be_others(self, planned: RecordChange, intent: Intent) -> None:
        if intents.claimed_in_marker(intent):
            planned.may_be_others = frozenset({intent.group})
            planned.domain, planned.owners = intent.domain, intent.owners

    def other_claimants(self, zone: Zone, domain: str, claim: str) -> list[str]:
        """The stacks whose markers, or whose tags in this account, claim a record of a domain, too: it goes with the
        last of them."""
        found = {scope for scope, theirs in self.markers_of_others(zone, domain).items() if claim in theirs.groups}
        owner = self.snapshot.record_owners.get((intents.name_of_claim(claim, domain), claim.partition(":")[0]))
        if isinstance(owner, RecordOwner):
            found.add(owner.scope)
        return sorted(found)

    def is_in_marker(self, intent: Intent) -> bool:
        """Whether the marker claims a record: where there is no identity to say it, and where stacks of other accounts
        write to the zone, too, which cannot see the tags of an identity; and where the YAML lists several zones, which
        no tag tells apart."""
        listed = bool(intent.zones)
        return bool(intents.claimed_in_marker(intent)) and (self.zones_elsewhere or not intent.owners or listed)

    def is_claimed(self, zone: Zone, intent: Intent) -> bool:
        """Whether the tags and the marker of this stack that should name a record as ours do."""
        claim, mine = intents.claimed_in_marker(intent), self.live_markers.get((zone.id, intent.domain))
        named = mine is not None and claim in mine.groups
        if named or (claim and (self.zones_elsewhere or not intent.owners or (mine is not None and mine.zones))):
            return named
        if claim and not (mine or self._is_zone_of_ours(zone, intent)):
            return False
        if intent.name in self.ours_by_record.get((intent.region, intent.group), ()):
            return True
        for owner in intent.owners:
            live = self.snapshot.observed.get(owner)
            if live is not None and intent.group in unpack(live.tags, RECORDS):
                return True
        others = self.ours_by_name.get(intent.domain, ()) if intent.group in intents.OWN_GROUPS else ()
        return any(intent.group in unpack(live.tags, RECORDS) for live in others)

    def _is_zone_of_ours(self, zone: Zone, intent: Intent) -> bool:
        """Whether tags, which name no zone, can be about a record in this one: our identities have records there. Where
        it alone could hold the domain, or they have no records at all, it is."""
        if not intent.zones and len(self.index.above(intent.domain)) < 2:
            return True
        live = [(one, _derived(one)) for one in self.ours_by_name.get(intent.domain, ())]
        if not intent.zones and not any(names for _, names in live):
            return True
        return any(_holds(zone, one, key) for one, names in live for key in names)

    def delete(
        self,
        address: Address,
        zone: Zone,
        record: RecordSet,
        raw: str,
        shown: Mapping[str, Any],
        live: Observed | None,
        left: str | None = None,
        *,
        tag_remembers: bool = False,
        groups: Iterable[str] = (),
        domain: str = "",
    ) -> None:
        """Plan to delete one value, or to leave ``left`` of an SPF record in its place. ``groups`` of ``domain``: those
        for which other stacks may claim it, too."""
        if address in self.changes:
            planned = self.changes[address]
            planned.may_be_others |= {*groups}
            if raw not in planned.remove and raw not in planned.add:
                planned.remove = (*planned.remove, raw)
            return
        before = {"name": record.name, "type": record.type, "ttl": record.ttl, **shown}
        after = {**before, "value": left} if left is not None else None
        planned = RecordChange(
            zone,
            record.name,
            record.type,
            before,
            after,
            differences(before, after)
            if after
            else tuple(FieldDiff(k, v, None) for k, v in before.items() if k not in {"name", "type"}),
            [raw],
            [intents.encode(left)] if left is not None else (),
            region=live.region if live else None,
            may_be_others=frozenset(groups),
            domain=domain,
        )
        self.changes[address] = planned
        self.note_foreign(planned, record, [raw])
        if live is None:
            return
        deleted = live.address not in self.snapshot.desired
        planned.depends |= {live.address}
        if deleted or not tag_remembers:
            planned.mark = self.mark(address, live, zone, record, raw)
            planned.needs += needs_of((live.address,), "delete", "mail_from", "dkim", "update", "tracking")
        if not deleted:
            self.draft.add_order(live.address, after=[address])

    def mark(self, address: Address, live: Observed, zone: Zone, record: RecordSet, raw: str) -> dict[str, str]:
        """What a marker must remember of a record before its owner ``live`` is changed and forgets it."""
        mark = {"domain": _marked(live, zone, record), "name": record.name, "type": record.type, "value": raw}
        self._refuse_unwritable_mark(mark, address)
        self.draft.add_order(live.address, marks=[address])
        return mark

    def _refuse_unwritable_mark(self, mark: Mapping[str, str], address: Address) -> None:
        """Refuse a deletion whose record is too long to be remembered in a marker until it is done."""
        own = marker.Own(mark["name"], mark["type"], mark["value"])
        try:
            intents.encode(own.text(self.snapshot.scope))
        except txt.NoTxtValue as problem:
            self.draft.refuse(
                "dns-value", f"{own.name} {own.type} cannot be remembered while it is deleted: {problem}",
                hint="take out of it what others put there", address=address,
            )  # fmt: skip

    def show_refused(self, address: Address, zone: Zone, intent: Intent, value: str | None) -> None:
        """Have a record that is refused stand in the plan as the difference that it is, where it does not yet."""
        if address in self.changes:
            return
        live = next((one for one in zone.sets(intent.name, intent.type) if one.simple), None) if intent.name else None
        place = {"name": intent.name, "type": intent.type}
        before = {**place, "ttl": live.ttl, "value": list(live.values)} if live else None
        after = {**place, "ttl": live.ttl if live else intent.ttl or 300, "value": value}
        diff = tuple(FieldDiff(f.path, f.before, f.after, intent.source) for f in differences(before, after))
        self.changes[address] = RecordChange(
            zone,
            intent.name,
            intent.type,
            before,
            after,
            diff,
            source=intent.source,
            region=intent.region,
            depends=frozenset(intent.owners),
            unknown=() if intent.name else ("name", "value"),
        )

    def refuse_several(
        self, group: str, name: str, texts: Iterable[str], address: Address, source: Source | None = None
    ) -> None:
        """Refuse to change records of a kind of which there may be one only: nothing says which of them is meant."""
        texts = list(texts)
        codec = {"spf": spf, "dmarc": dmarc, "bimi": bimi}.get(group)
        read = sum(codec.is_record(text, strict=True) for text in texts) if codec is not None else 0
        why = {"spf": "which is a permanent error to receivers", "keys": "so that verifying may fail"}
        if codec is not None and read < 2:
            why[group] = f"but receivers read {read} of them and discard the others"
        what = {"keys": "DKIM key"}.get(group, group.upper())
        fix = "join them into one" if group == "spf" else "keep one and remove the others"
        self.draft.refuse(
            f"two-{group}",
            f"{name} has {len(texts)} {what} records, {why.get(group, 'and receivers ignore them all')}",
            hint=f"{fix} by hand; recon cannot know which one is meant: " + " | ".join(texts),
            address=address,
            source=source,
        )

    def note_foreign(self, planned: RecordChange, live: RecordSet | None, remove: Sequence[str]) -> None:
        kept = [v for v in live.values if v not in remove] if live else []
        if kept:
            values = "value at this name stays as it is" if len(kept) == 1 else "values at this name stay as they are"
            planned.notes += (Note("others-kept", "note", f"{len(kept)} other {values}"),)

    def _say_zone(self, planned: RecordChange) -> None:
        """Show the id of the zone where the address does not say which of several it is."""
        place = {"zone": planned.zone.id}
        before, after = planned.before, planned.after
        planned.before, planned.after = before and {**before, **place}, after and {**after, **place}
        if not (before and after):
            planned.diff += (FieldDiff("zone", before and planned.zone.id, after and planned.zone.id),)
        words = f"in the zone {planned.zone.id}: there are several zones {planned.zone.name}"
        planned.notes += (Note("zone", "note", words),)

    def change(self, address: Address, planned: RecordChange) -> Change:
        action: ActionName = "create" if planned.before is None else "delete" if planned.after is None else "update"
        if planned.claims or planned.adopts:
            action = "adopt"
        live = next(iter(planned.zone.sets(planned.name, planned.type)), None) if planned.name else None
        if self.zones_of_name[planned.zone.name] > 1:
            self._say_zone(planned)
        needs = tuple(sorted(set(planned.needs)))
        given: dict[str, Any] = {
            "name": planned.name,
            "remove": planned.remove,
            "add": planned.add,
            "ttl": planned.ttl,
            "needs": self.alike.setdefault(needs, needs),
            **Order(after=planned.after_changes).execution(),
        }
        # Only what is there: of a plan's tens of thousands of records, a map of five keys takes half of a larger one.
        execution: dict[str, Any] = {"zone": planned.zone.id, "type": planned.type}
        execution |= {key: value for key, value in given.items() if value not in (None, (), [])}
        depends = tuple(sorted(planned.depends))
        if planned.may_be_others:
            execution["may_be_others"] = tuple(sorted(planned.may_be_others))
        if planned.token:
            execution["token"] = planned.token
        if planned.mark:
            execution["mark"] = {
                **planned.mark,
                "text": marker.Own(planned.mark["name"], planned.mark["type"], planned.mark["value"]).text(
                    self.snapshot.scope
                ),
            }
        if planned.untag or planned.tag:
            execution |= {"untag": planned.untag, "tag": planned.tag}
        if planned.marker:
            execution["marker"] = True
        if planned.leaves_zone:
            execution["leaves_zone"] = True
        return Change(
            address,
            NAME,
            action,
            planned.before,
            planned.after,
            planned.diff,
            planned.unknown,
            self.alike.setdefault(depends, depends),
            planned.notes,
            planned.source,
            set_digest(live) if live else None,
            planned.region,
            execution,
            claims=planned.claims,
        )


def _derived(live: Observed) -> list[tuple[str, str]]:
    """Names and types of records that an identity alone derives: its DKIM names and its MAIL FROM."""
    if live.kind != "email_identity":
        return []
    type_ = "TXT" if live.spec["dkim"]["signing_attributes_origin"] == "EXTERNAL" else "CNAME"
    found = [(f"{token}._domainkey.{live.name}", type_) for token in live.facts.get("tokens") or ()]
    mail_from = (live.spec["mail_from"] or {}).get("mail_from_domain")
    return [*found, *([(mail_from, "MX")] if mail_from else [])]


def _holds(zone: Zone, live: Observed, key: tuple[str, str]) -> bool:
    """Whether a record of a name and type that ``live`` derives is its own: a MAIL FROM name may be another's, too."""
    values = [mx_value(value) for record in zone.sets(*key) for value in record.values]
    return regions.feedback_mx(live.region or "") in values if key[1] == "MX" else bool(values)


def _marked(live: Observed, zone: Zone, record: RecordSet) -> str:
    """Below which name the zone of a record can hold its marker: the identity's, unless that lies in another zone."""
    name = live.name if live.kind == "email_identity" else record.name
    return name if is_at_or_below(name, zone.name) else zone.name


def remembered_names(snapshot: Snapshot) -> dict[tuple[str | None, str], set[str]]:
    """Our MAIL FROM names and tracking domains by region and group: a resource that takes one over inherits its
    records, which are right already and are not written again."""
    found: dict[tuple[str | None, str], set[str]] = {}
    for live in snapshot.observed.values():
        if not snapshot.owns(live):
            continue
        if live.kind == TRACKING_KIND:
            found.setdefault((live.region, "tracking"), set()).update(published(live.tags, tracking_option(live)))
        elif "mail_from" in unpack(live.tags, RECORDS):
            found.setdefault((live.region, "mail_from"), set()).update(mail_from_names(live))
    return found
