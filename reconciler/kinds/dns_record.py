"""Route 53 records: the DNS half of identities, domains and tracking.

Managed:  single values, not record sets: DKIM CNAMEs or key, MAIL FROM MX and SPF, DMARC, BIMI, null MX, our terms in
          the one SPF record, tracking CNAMEs. Every other value at the same name is foreign and stays byte for byte.
Reads:    route53 ListHostedZones, and ListResourceRecordSets of the zones that hold names of this stack (all records
          of a zone in one call per 300).
Writes:   ChangeResourceRecordSets: DELETE of exactly what was read plus CREATE, all changes of a zone in one batch.
Owned:    what the declared state or an owned identity derives; groups named in ``recon:records`` tags; what our marker
          at ``_recon.<domain>`` names.
Source:   Route 53 API and Developer Guide; RFC 7208, 9989, 7505; SES Developer Guide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler import regions
from reconciler.errors import AwsError
from reconciler.kinds import base
from reconciler.kinds.base import Step, World
from reconciler.kinds.dns import intents, marker
from reconciler.kinds.dns.edits import Edit
from reconciler.kinds.dns.intents import Intent
from reconciler.kinds.dns.zones import NoZone, RecordSet, Zone, ZoneIndex, list_zones, load, record_from_aws
from reconciler.mail import bimi, dmarc, spf
from reconciler.model import ActionName, Address, Change, Desired, FieldDiff, Note, Observed, Source, State, digest_of
from reconciler.names import to_route53

if TYPE_CHECKING:
    from reconciler.aws import Aws

NAME = "dns_record"
MAIL_FROM_TERMS = ("include:amazonses.com",)


def address_of(zone: str, name: str, type_: str) -> Address:
    return f"{NAME}/{zone}/{name}/{type_}"


class DnsRecord:
    name = NAME
    reads = ("route53:ListHostedZones", "route53:ListResourceRecordSets", "resourcegroupstaggingapi:GetResources")
    writes = ("route53:ChangeResourceRecordSets", "route53:ChangeTagsForResource", "route53:GetChange")

    # -- desired: derived while planning, since it depends on what SES says (reconciler/kinds/dns/intents.py) ---------

    def desired(self, state: State) -> Iterable[Desired]:
        return ()

    # -- observed ---------------------------------------------------------------------------------------------------

    def observe(self, aws: Aws, world: World) -> None:
        """Read the zones that hold names of this stack, and those that carry its markers."""
        names = names_of_interest(world)
        if not names and not world.facts.get("tagged_zones"):
            return
        try:
            world.zones = list_zones(aws)
        except AwsError as error:
            world.unreadable(NAME, error.message, error.hint)
            return
        index = ZoneIndex(world.zones)
        wanted = set(world.facts.get("tagged_zones") or ()) & world.zones.keys()
        for zone_id in wanted:
            world.zones[zone_id].tagged = True
        for name, hint in names:
            if hint == "manual":
                continue
            zone = index.pick(name, hint)
            if isinstance(zone, Zone):
                wanted.add(zone.id)
            elif hint in {None, "auto"}:
                wanted |= {z.id for z in index.candidates(name)}

        def one(zone_id: str) -> tuple[str, AwsError | None]:
            try:
                load(aws, world.zones[zone_id])
            except AwsError as error:
                return zone_id, error
            return zone_id, None

        for zone_id, problem in aws.parallel(one, sorted(wanted)):
            if problem is not None:
                world.unreadable(f"{NAME}/{world.zones[zone_id].name}", problem.message, problem.hint)
        read = [world.zones[i].name for i in sorted(wanted) if world.zones[i].loaded]
        if read:
            world.scanned.append(
                f"zones read: {', '.join(sorted(read)[:5])}" + (f" and {len(read) - 5} more" if len(read) > 5 else "")
            )

    # -- compared ---------------------------------------------------------------------------------------------------

    def plan(self, world: World) -> Iterable[Change]:
        return _Planner(world).run()

    # -- written ----------------------------------------------------------------------------------------------------

    def reread(self, aws: Aws, change: Change) -> str | None:
        """The fingerprint of one record set as it is now, by a narrow listing."""
        name = change.execution.get("name")
        if not name:
            return None
        answer = aws.call(
            "route53", "ListResourceRecordSets", dns=True, HostedZoneId=change.execution["zone"],
            StartRecordName=to_route53(name), StartRecordType=change.execution["type"], MaxItems="1",
        )  # fmt: skip
        for raw in answer["ResourceRecordSets"]:
            found = record_from_aws(raw)
            if (found.name, found.type) == (name, change.execution["type"]):
                return set_digest(found)
        return None

    def steps(self, change: Change) -> Iterable[Step]:
        run = change.execution
        zone = str(run["zone"])
        if run.get("mark"):
            yield Step(
                change.address, "mark", (), zone=zone, edits=lambda rt: _mark_edits(change, "add"),
                calls=("route53:ChangeResourceRecordSets",),
            )  # fmt: skip
        if run.get("marker"):
            # A marker grows before what it remembers changes, and shrinks after.
            if run.get("add"):
                yield Step(
                    change.address, "mark", tuple(run.get("needs") or ()), zone=zone,
                    edits=lambda rt: [_edit(change, add=run["add"])], calls=("route53:ChangeResourceRecordSets",),
                )  # fmt: skip
            if run.get("remove"):
                yield Step(
                    change.address, "write", (f"{change.address}#mark", *(run.get("after") or ())), zone=zone,
                    edits=lambda rt: [_edit(change, remove=run["remove"], last=True)],
                    calls=("route53:ChangeResourceRecordSets",),
                )  # fmt: skip
            return
        yield Step(
            change.address, "write", (f"{change.address}#mark", *(run.get("needs") or ())), zone=zone,
            edits=lambda rt: list(_write_edits(rt, change)), calls=("route53:ChangeResourceRecordSets",),
        )  # fmt: skip


def names_of_interest(world: World) -> list[tuple[str, str | None]]:
    """Every name whose zone must be read, with the zone that the YAML names for it."""
    names: dict[tuple[str, str | None], None] = {}

    def want(domain: str, zone: str | None) -> None:
        for name in (domain, f"_dmarc.{domain}", f"_domainkey.{domain}", f"_bimi.{domain}", f"_recon.{domain}"):
            names[name, zone] = None

    entries = intents.own_entries(world)
    zones = {name: entry.values.get("zone") for name, entry in entries.items()}
    declared = () if world.removing else zones
    for domain in declared:
        want(domain, zones[domain])
    for desired in world.kind("email_identity"):
        if desired.spec.get("mail_from"):
            names[desired.spec["mail_from"]["mail_from_domain"], zones.get(desired.name)] = None
    for desired in world.kind("configuration_set"):
        redirect = (desired.spec.get("tracking_options") or {}).get("custom_redirect_domain")
        if redirect:
            covering = intents.covering_entry(entries, redirect)
            names[redirect, covering.values.get("zone") if covering else None] = None
    for live in world.observed.values():
        if base.owner_of(live.tags) != world.scope:
            continue
        if live.kind == "email_identity" and "@" not in live.name:
            want(live.name, zones.get(live.name))
            for old in filter(
                None, ((live.spec["mail_from"] or {}).get("mail_from_domain"), live.tags.get(base.MAIL_FROM))
            ):
                names[old, zones.get(live.name)] = None
        elif live.kind == "configuration_set":
            tracked = (live.spec.get("tracking_options") or {}).get("custom_redirect_domain")
            if tracked and "tracking" in base.unpack(live.tags, base.RECORDS):
                names[tracked, None] = None
    return list(names)


# --- planning ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Slot:
    """What this plan does to one address."""

    zone: Zone
    name: str | None
    type: str
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    diff: tuple[FieldDiff, ...] = ()
    remove: list[str] = field(default_factory=list)
    add: list[str] = field(default_factory=list)
    ttl: int | None = None
    notes: list[Note] = field(default_factory=list)
    source: Source | None = None
    needs: list[str] = field(default_factory=list)
    depends: set[Address] = field(default_factory=set)
    after_steps: list[str] = field(default_factory=list)
    unknown: tuple[str, ...] = ()
    token: dict[str, Any] | None = None
    mark: dict[str, str] | None = None
    marker: bool = False
    region: str | None = None


class _Planner:
    """One pass over intents, then over what is ours and no longer wanted, then over markers."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.index = ZoneIndex(world.zones)
        self.entries = intents.own_entries(world)
        self.identities: dict[str, list[Address]] = {}
        for desired in world.kind("email_identity"):
            self.identities.setdefault(desired.name, []).append(desired.address)
        self.of_domain: dict[str, list[_Slot]] = {}
        self.slots: dict[Address, _Slot] = {}
        self.wanted_values: set[tuple[str, str, str]] = set()
        self.wanted: dict[tuple[str, str], Intent] = {}
        self.written: dict[Address, set[str]] = {}  # owner -> groups written by this plan
        self.kept_groups: dict[str, set[str]] = {}  # domain -> groups that stay desired
        self.markers: dict[tuple[str, str], marker.Marker] = {}  # (zone id, domain) -> what it should say
        self.live_markers: dict[tuple[str, str], marker.Marker] = {}
        self.deleted_by: dict[str, list[Address]] = {}  # domain -> delete addresses remembered by its marker
        self.first: dict[Address, set[Address]] = {}
        self.marks: dict[Address, set[Address]] = {}
        self.last: dict[Address, set[Address]] = {}

    def run(self) -> list[Change]:
        world = self.world
        if not world.unknown(NAME):
            self._read_markers()
            for intent in intents.of_state(world):
                self._want(intent)
            self._release_owned()
            self._release_markers()
            self._write_markers()
        self._claims()
        world.facts["dns_first"] = self.first
        world.facts["dns_marks"] = self.marks
        world.facts["dns_last"] = self.last
        return [self._change(address, slot) for address, slot in sorted(self.slots.items())]

    # .. what is wanted .............................................................................................

    def _want(self, intent: Intent) -> None:
        world = self.world
        self.kept_groups.setdefault(intent.domain, set()).add(intent.group)
        if intent.zone == "manual":
            self._publish_by_hand(intent)
            return
        anchor = intent.name or f"token._domainkey.{intent.domain}"
        zone = self.index.pick(anchor, intent.zone)
        if isinstance(zone, NoZone):
            world.refuse(
                zone.code,
                zone.message,
                hint=zone.hint,
                address=f"{NAME}/?/{anchor}/{intent.type}",
                source=intent.source,
            )
            return
        label = f"{intent.domain}:dkim:{intent.region}:{intent.token}" if intent.token else intent.name or anchor
        address = address_of(zone.name, label, intent.type)
        if world.unknown(address) or not zone.loaded:
            return
        if any(world.unknown(owner) for owner in intent.owners):
            return
        if intent.name is not None:
            key = (intent.name, intent.type)
            other = self.wanted.get(key)
            if other is not None:
                if (other.value, other.tags, other.terms, other.all) != (
                    intent.value,
                    intent.tags,
                    intent.terms,
                    intent.all,
                ):
                    world.refuse(
                        "two-values", f"{intent.name} {intent.type} is asked for twice with different values",
                        hint=f"see also {other.source}", address=address, source=intent.source,
                    )  # fmt: skip
                return
            self.wanted[key] = intent
            if not self._may_stand(zone, intent, address):
                return
        before = len(self.slots)
        if intent.name is None:
            self._unknown_token(zone, intent, address)
        elif intent.style == "cname":
            self._cname(zone, intent, address)
        elif intent.style == "mx":
            self._mx(zone, intent, address)
        elif intent.style == "tags":
            self._tags(zone, intent, address)
        elif intent.style == "dkim_key":
            self._dkim_key(zone, intent, address)
        else:
            self._spf(zone, intent, address)
        if len(self.slots) > before:
            self._remember(intent, address)

    def _may_stand(self, zone: Zone, intent: Intent, address: Address) -> bool:
        """Refuse names that DNS would not answer from this zone, or that belong to a CNAME, alias or routed set."""
        name = intent.name or ""
        cut = zone.delegation(name)
        if cut is not None:
            self.world.refuse(
                "delegated", f"{name} lies below {cut}, which zone {zone.name} delegates elsewhere",
                hint=f"use the zone of {cut} (`zone:`), or `zone: manual`", address=address, source=intent.source,
            )  # fmt: skip
            return False
        for record in zone.at(name):
            if record.type == "CNAME" and intent.type != "CNAME":
                self.world.refuse(
                    "cname-in-the-way", f"{name} is a CNAME to {' '.join(record.values)}, so no {intent.type} can stand there",
                    hint="remove the CNAME, or declare the record where it points", address=address, source=intent.source,
                )  # fmt: skip
                return False
            if intent.type == "CNAME" and record.type != "CNAME":
                self.world.refuse(
                    "name-taken", f"{name} has {record.type} records, so the CNAME that is needed cannot stand there",
                    hint=f"remove the {record.type} records of {name}, or choose another name", address=address,
                    source=intent.source,
                )  # fmt: skip
                return False
            if record.type == intent.type and not record.simple:
                self.world.refuse(
                    "not-simple", f"{name} {record.type} is {record.why_not_simple()}, which recon does not edit",
                    hint="make it a simple record, or write `zone: manual`", address=address, source=intent.source,
                )  # fmt: skip
                return False
        return True

    def _unknown_token(self, zone: Zone, intent: Intent, address: Address) -> None:
        ttl = 300 if intent.ttl is None else intent.ttl
        after = {"name": None, "type": "CNAME", "ttl": ttl, "value": None}
        self.slots[address] = _Slot(
            zone, None, "CNAME", None, after, (FieldDiff("name", None, None), FieldDiff("value", None, None)), ttl=ttl,
            source=intent.source, unknown=("name", "value"), region=intent.region,
            token={"identity": intent.owners[0], "number": intent.token, "domain": intent.domain, "region": intent.region},
        )  # fmt: skip

    def _cname(self, zone: Zone, intent: Intent, address: Address) -> None:
        name, target = intent.name or "", intent.value or ""
        live = next(iter(zone.sets(name, "CNAME")), None)
        if intent.maybe:
            self._renewed_token(zone, intent, address, live)
            return
        if live is None:
            self._create(address, zone, intent, f"{target}")
            return
        there = _host(live.values[0]) if live.values else ""
        if (
            there != target
            and intent.bulk
            and there.startswith(target.partition(".")[0] + ".")
            and there.endswith(".amazonses.com")
        ):
            target = there  # Which zone SES signs from is not told in bulk; the token is what must match.
        if there != target:
            if intent.group == "tracking" and not (there.endswith(".awstrack.me") or self._claimed(intent)):
                self.world.refuse(
                    "cname-taken", f"{name} is already a CNAME to {there}, which is not recon's",
                    hint=f"remove it (SES needs {target}), choose another custom_redirect_domain, or set https_policy REQUIRE",
                    address=address, source=intent.source,
                )  # fmt: skip
                return
            self._update(address, zone, intent, live, list(live.values), [target], {"value": there}, {"value": target})
            return
        self._ttl_only(address, zone, intent, live, list(live.values), {"value": target})

    def _renewed_token(self, zone: Zone, intent: Intent, address: Address, live: RecordSet | None) -> None:
        """A key length change may bring new tokens; whether it does is nowhere written, so the run looks again."""
        ttl = intent.ttl if intent.ttl is not None else (live.ttl if live else None) or 300
        before = {"name": intent.name, "type": "CNAME", "ttl": ttl, "value": intent.value} if live else None
        after = {"name": None, "type": "CNAME", "ttl": ttl, "value": None}
        self.slots[address] = _Slot(
            zone, intent.name, "CNAME", before, after,
            (FieldDiff("name", intent.name, None), FieldDiff("value", intent.value, None)),
            remove=list(live.values) if live else [], ttl=ttl, source=intent.source, unknown=("name", "value"),
            region=intent.region, notes=[base.note("dkim-tokens-may-change", "note", "stays as it is unless SES gives new tokens with the new key")],
            token={"identity": intent.owners[0], "number": intent.token, "domain": intent.domain, "region": intent.region},
        )  # fmt: skip

    def _mx(self, zone: Zone, intent: Intent, address: Address) -> None:
        name, value = intent.name or "", intent.value or ""
        live = next(iter(zone.sets(name, "MX")), None)
        if live is None:
            self._create(address, zone, intent, value)
            return
        ours = [v for v in live.values if _mx_value(v) == _mx_value(value)]
        stale = [v for v in live.values if v not in ours and _is_feedback(v)] if intent.group == "mail_from" else []
        foreign = [v for v in live.values if v not in ours and v not in stale]
        if foreign and not ours:
            reason = (
                "SES needs exactly one MX there"
                if intent.group == "mail_from"
                else "a null MX must stand alone (RFC 7505)"
            )
            self.world.refuse(
                "mx-taken", f"{name} already has MX {', '.join(foreign)}; {reason}",
                hint="remove those values, or choose another name" if intent.group == "mail_from" else "this name receives mail: drop null_mx, or remove its MX",
                address=address, source=intent.source,
            )  # fmt: skip
            return
        if foreign:
            self.world.say(
                "warning", "mx-not-alone", f"{name} also has MX {', '.join(foreign)}, which is not recon's: SES fails to set up the MAIL FROM",
                address=address, source=intent.source, hint="remove it by hand",
            )  # fmt: skip
        if not ours or stale:
            gone = [*stale, *ours]
            self._update(
                address,
                zone,
                intent,
                live,
                gone,
                [value],
                {"value": sorted(_mx_value(v) for v in gone)},
                {"value": [value]},
            )
            return
        self._ttl_only(address, zone, intent, live, list(live.values), {"value": value})

    def _tags(self, zone: Zone, intent: Intent, address: Address) -> None:
        codec = dmarc if intent.group == "dmarc" else bimi
        name, wanted = intent.name or "", dict(intent.tags or {})
        text = codec.to_text(wanted)
        found = [(raw, t) for raw, t in zone.texts(name) if codec.is_record(t)]
        if len(found) > 1:
            kind = intent.group.upper()
            self.world.refuse(
                f"two-{intent.group}", f"{name} has {len(found)} {kind} records; receivers ignore them all",
                hint="keep one and remove the others by hand; recon cannot know which one is meant: "
                + " | ".join(t for _, t in found), address=address, source=intent.source,
            )  # fmt: skip
            return
        live = next(iter(zone.sets(name, "TXT")), None)
        if not found:
            self._create(address, zone, intent, intents.encode(text), {**_shown(wanted), "value": text})
            return
        raw, there = found[0]
        old = dict(codec.parse(there))
        if old == wanted and live is not None:
            self._ttl_only(address, zone, intent, live, [raw], {**_shown(wanted), "value": text})
            return
        assert live is not None
        self._update(
            address, zone, intent, live, [raw], [intents.encode(text)], _shown(old), _shown(wanted), there, text,
        )  # fmt: skip

    def _dkim_key(self, zone: Zone, intent: Intent, address: Address) -> None:
        name, public = intent.name or "", intent.value or ""
        found = [(raw, t) for raw, t in zone.texts(name) if _key_of(t) is not None]
        live = next(iter(zone.sets(name, "TXT")), None)
        value = intents.encode(intents.dkim_key_text(public))
        if not found:
            self._create(address, zone, intent, value, {"value": intents.dkim_key_text(public)})
            return
        assert live is not None
        if len(found) == 1 and _key_of(found[0][1]) == public:
            self._ttl_only(address, zone, intent, live, [found[0][0]], {"value": found[0][1]})
            return
        self._update(
            address, zone, intent, live, [raw for raw, _ in found], [value], {"value": found[0][1]},
            {"value": intents.dkim_key_text(public)},
        )  # fmt: skip

    def _spf(self, zone: Zone, intent: Intent, address: Address) -> None:
        name = intent.name or ""
        found = [(raw, t) for raw, t in zone.texts(name) if spf.is_record(t)]
        if len(found) > 1:
            self.world.refuse(
                "two-spf", f"{name} has {len(found)} SPF records, which is a permanent error to receivers",
                hint="join them into one by hand; recon then keeps its terms in it: " + " | ".join(t for _, t in found),
                address=address, source=intent.source,
            )  # fmt: skip
            return
        live = next(iter(zone.sets(name, "TXT")), None)
        remembered = self._live_marker(zone, intent.domain) if intent.group == "spf" else marker.Marker()
        ours_before = list(remembered.spf or [])
        wanted_all = intent.all or ("~all" if remembered.spf_created else None)
        there = found[0][1] if found else None
        try:
            merged = spf.merge(there, intent.terms, wanted_all, ours_before)
        except spf.SpfConflict as conflict:
            self.world.refuse(
                "spf-conflict", f"{name}: {conflict.message}", hint=conflict.hint, address=address, source=intent.source
            )
            return
        except ValueError as problem:
            self.world.refuse("spf-conflict", f"{name}: {problem}", address=address, source=intent.source)
            return
        present = set(spf.terms_present(there, intent.terms)) if there else set()
        added = [t for t in intent.terms if t not in present]
        if intent.group == "spf":
            keep = [t for t in intent.terms if t in ours_before or t in added]
            wanted = self.markers.setdefault((zone.id, intent.domain), marker.Marker())
            created = remembered.spf_created if there is not None else True
            if keep or created:
                wanted.spf, wanted.spf_created = keep, created
        after = _spf_shown(merged, intent.terms)
        if there is None:
            self._create(address, zone, intent, intents.encode(merged), {**after, "value": merged})
            return
        assert live is not None
        if merged == there:
            self._ttl_only(address, zone, intent, live, [found[0][0]], {**after, "value": merged})
            return
        before = _spf_shown(there, (*intent.terms, *ours_before))
        if before == after:
            before, after = {"value": there}, {"value": merged}
        self._update(address, zone, intent, live, [found[0][0]], [intents.encode(merged)], before, after, there, merged)

    # .. building slots .............................................................................................

    def _create(
        self, address: Address, zone: Zone, intent: Intent, value: str, shown: Mapping[str, Any] | None = None
    ) -> None:
        live = next(iter(zone.sets(intent.name or "", intent.type)), None)
        ttl = live.ttl if live is not None else (300 if intent.ttl is None else intent.ttl)
        after = {"name": intent.name, "type": intent.type, "ttl": ttl, **(shown or {"value": value})}
        diff = tuple(FieldDiff(k, None, v) for k, v in after.items() if k not in {"name", "type"})
        self.slots[address] = slot = _Slot(
            zone, intent.name, intent.type, None, after, diff, add=[value], ttl=None if live else ttl, source=intent.source,
            region=intent.region,
        )  # fmt: skip
        self._note_foreign(slot, live, [])

    def _update(
        self, address: Address, zone: Zone, intent: Intent, live: RecordSet, remove: list[str], add: list[str],
        before: Mapping[str, Any], after: Mapping[str, Any], old_text: str = "", new_text: str = "",
    ) -> None:  # fmt: skip
        foreign = [v for v in live.values if v not in remove]
        ttl = intent.ttl if intent.ttl is not None and not foreign else live.ttl
        old = {"ttl": live.ttl, **before}
        new = {"ttl": ttl, **after}
        diff = tuple(FieldDiff(f.path, f.before, f.after, intent.source) for f in base.differences(old, new))
        place = {"name": intent.name, "type": intent.type}
        if old_text:
            old, new = {**old, "value": old_text}, {**new, "value": new_text}
        self.slots[address] = slot = _Slot(
            zone, intent.name, intent.type, {**place, **old}, {**place, **new}, diff, remove, add,
            ttl if ttl != live.ttl else None, source=intent.source, region=intent.region,
        )  # fmt: skip
        self._note_foreign(slot, live, remove)

    def _ttl_only(
        self, address: Address, zone: Zone, intent: Intent, live: RecordSet, ours: list[str], shown: Mapping[str, Any]
    ) -> None:  # fmt: skip
        """The value is right; the TTL is ours only where it was written and nobody else's values share the set."""
        if intent.ttl is None or intent.ttl == live.ttl or any(v not in ours for v in live.values):
            return
        place = {"name": intent.name, "type": intent.type, **shown}
        self.slots[address] = _Slot(
            zone, intent.name, intent.type, {**place, "ttl": live.ttl}, {**place, "ttl": intent.ttl},
            (FieldDiff("ttl", live.ttl, intent.ttl, intent.source),), list(ours), list(ours), intent.ttl,
            source=intent.source, region=intent.region,
        )  # fmt: skip

    def _note_foreign(self, slot: _Slot, live: RecordSet | None, remove: list[str]) -> None:
        kept = [v for v in live.values if v not in remove] if live else []
        if kept:
            slot.notes.append(
                base.note(
                    "others-kept",
                    "note",
                    f"{len(kept)} other value{'s' * (len(kept) > 1)} at this name stay as they are",
                )
            )

    def _remember(self, intent: Intent, address: Address) -> None:
        """Say in a tag or marker that the record's group is ours, and order tag, record and put."""
        slot = self.slots[address]
        self.of_domain.setdefault(intent.domain, []).append(slot)
        for owner in intent.owners:
            slot.depends.add(owner)
            slot.needs += [f"{owner}#create", f"{owner}#claim"]
            if intent.group != "spf":
                self.written.setdefault(owner, set()).add(intent.group)
            live = self.world.observed.get(owner)
            moves = intent.group == "mail_from" or intent.style == "dkim_key"
            if live is not None and moves and slot.token is None:
                self.first.setdefault(owner, set()).add(address)
        if slot.token is not None:
            slot.needs.append(f"{slot.token['identity']}#dkim")
        if not intent.owners and intent.group != "spf":
            self.markers.setdefault((slot.zone.id, intent.domain), marker.Marker()).groups.add(intent.group)

    def _claimed(self, intent: Intent) -> bool:
        return any(
            intent.group in base.unpack(self.world.observed[o].tags, base.RECORDS)
            for o in intent.owners
            if o in self.world.observed
        )

    def _publish_by_hand(self, intent: Intent) -> None:
        value = intent.value
        if intent.style == "tags":
            value = (dmarc if intent.group == "dmarc" else bimi).to_text(dict(intent.tags or {}))
        elif intent.style == "spf":
            value = (
                f"a v=spf1 record with {' '.join(intent.terms)}"
                if intent.group == "spf"
                else spf.merge(None, intent.terms, intent.all)
            )
        elif intent.style == "dkim_key" and value:
            value = intents.dkim_key_text(value)
        name = intent.name or f"(token {intent.token} of SES)._domainkey.{intent.domain}"
        self.world.say(
            "note", "publish-by-hand", f"publish {name} {intent.type} {value or '(known after apply)'}",
            address=f"{NAME}/manual/{name}/{intent.type}", source=intent.source, hint="`zone: manual`: recon does not write it",
        )  # fmt: skip

    # .. what is ours and no longer wanted ..........................................................................

    def _release_owned(self) -> None:
        """Records that an owned identity or set derived and that nothing asks for any more."""
        world = self.world
        for live in [o for o in world.observed.values() if base.owner_of(o.tags) == world.scope]:
            if world.unknown(live.address) or (
                live.tags.get(base.PROTECT) == "true" and live.address not in world.desired
            ):
                continue
            if live.kind == "email_identity" and "@" not in live.name:
                self._release_identity(live)
            elif live.kind == "configuration_set":
                self._release_tracking(live)

    def _release_identity(self, live: Observed) -> None:
        desired = self.world.desired.get(live.address)
        groups = base.unpack(live.tags, base.RECORDS)
        deleted = desired is None
        region = live.region or ""
        if "dkim" not in ((desired.entry.values.get("unmanaged") or ()) if desired else ()):
            origin = live.spec["dkim"]["signing_attributes_origin"]
            new = ((desired.spec.get("dkim") or {}) if desired else {}).get("signing_attributes_origin", origin)
            selector = ((desired.spec.get("dkim") or {}) if desired else {}).get("domain_signing_selector")
            if origin == "AWS_SES" and (deleted or new != origin):
                zone = live.facts.get("signing_hosted_zone") or regions.dkim_zone(region)
                for number, token in enumerate(sorted(live.facts.get("tokens") or ()), 1):
                    self._drop_exact(live, f"{token}._domainkey.{live.name}", "CNAME", f"{token}.{zone}", number)
            elif origin == "EXTERNAL":
                old = live.spec["dkim"].get("domain_signing_selector")
                if old and (deleted or new != origin or selector != old):
                    self._drop_key(live, old)
        old_name = (live.spec["mail_from"] or {}).get("mail_from_domain") or live.tags.get(base.MAIL_FROM)
        new_block = desired.spec.get("mail_from", "unwritten") if desired else None
        if old_name:
            gone = (
                deleted or new_block is None or (new_block == "unwritten" and live.tags.get(base.MAIL_FROM) == old_name)
            )
            moved = isinstance(new_block, Mapping) and new_block["mail_from_domain"] != old_name
            if (gone or moved) and (deleted or "mail_from" in groups):
                self._drop_exact(live, old_name, "MX", regions.feedback_mx(region), 0)
                self._drop_spf(live, old_name)
        kept = self.kept_groups.get(live.name, set())
        for group in sorted(groups - {"dkim", "mail_from", "tracking"} - kept):
            self._drop_group(live.name, group, live)
        if deleted and self._last_identity(live):
            # The domain stays without an identity: the marker takes over what the tag remembered.
            for group in groups & kept - {"dkim", "mail_from"}:
                zone = self._zone_of(live.name)
                if zone:
                    self.markers.setdefault((zone.id, live.name), marker.Marker()).groups.add(group)
                    self.marks.setdefault(live.address, set()).add(
                        address_of(zone.name, marker.name_for(live.name), "TXT")
                    )

    def _last_identity(self, live: Observed) -> bool:
        return live.name not in self.identities

    def _release_tracking(self, live: Observed) -> None:
        domain = (live.spec.get("tracking_options") or {}).get("custom_redirect_domain")
        if not domain or "tracking" not in base.unpack(live.tags, base.RECORDS):
            return
        desired = self.world.desired.get(live.address)
        now = (desired.spec.get("tracking_options") or {}) if desired else {"custom_redirect_domain": None}
        if (domain, "CNAME") in self.wanted or (desired and now.get("custom_redirect_domain", domain) == domain):
            return
        self._drop_exact(live, domain, "CNAME", regions.tracking_target(live.region or ""), 0)

    def _zone_of(self, name: str) -> Zone | None:
        """The zone for a name that nobody may declare any more: the entry's, the longest public one, or the marked one."""
        entry = intents.covering_entry(self.entries, name)
        if entry is not None and entry.values.get("zone") not in {None, "auto", "manual"}:
            picked = self.index.pick(name, entry.values["zone"])
            if isinstance(picked, Zone):
                return picked
        found = [z for z in self.index.candidates(name) if z.loaded]
        return found[0] if len(found) == 1 else next((z for z in found if z.at(name)), None)

    def _drop_exact(self, live: Observed, name: str, type_: str, value: str, number: int) -> None:
        """Delete one derived value, if it stands there, once SES has let go of it; a marker remembers it meanwhile."""
        zone = self._zone_of(name)
        if zone is None or ((name, type_) in self.wanted and self.wanted[name, type_].value == value):
            return
        for record in zone.sets(name, type_):
            if not record.simple:
                continue
            for raw in record.values:
                same = _mx_value(raw) == _mx_value(value) if type_ == "MX" else _host(raw) == value
                if same:
                    label = f"{live.name}:dkim:{live.region}:{number}" if number else name
                    self._delete(address_of(zone.name, label, type_), zone, record, raw, {"value": value}, live)

    def _drop_key(self, live: Observed, selector: str) -> None:
        name = f"{selector}._domainkey.{live.name}"
        zone = self._zone_of(name)
        planned = live.tags.get(base.DKIM_KEY)
        if zone is None or (name, "TXT") in self.wanted:
            return
        from reconciler.secrets import fingerprint

        for record in zone.sets(name, "TXT"):
            for raw, text in zone.texts(name):
                key = _key_of(text)
                if key is not None and (planned is None or fingerprint(key) == planned) and record.simple:
                    self._delete(address_of(zone.name, name, "TXT"), zone, record, raw, {"value": text}, live)

    def _drop_spf(self, live: Observed, name: str) -> None:
        """Take SES's include out of an old MAIL FROM name; the record goes when nothing else is in it."""
        zone = self._zone_of(name)
        if zone is None or (name, "TXT") in self.wanted:
            return
        found = [(raw, t) for raw, t in zone.texts(name) if spf.is_record(t)]
        record = next((r for r in zone.sets(name, "TXT") if r.simple), None)
        if len(found) != 1 or record is None or not spf.terms_present(found[0][1], MAIL_FROM_TERMS):
            return
        left = spf.remove(found[0][1], MAIL_FROM_TERMS, True)
        self._delete(address_of(zone.name, name, "TXT"), zone, record, found[0][0], {"value": found[0][1]}, live, left)

    def _drop_group(self, domain: str, group: str, live: Observed | None) -> None:
        """Delete the domain's own record of a group that we put and that is no longer declared."""
        zone = self._zone_of(domain)
        if zone is None:
            return
        if group in {"dmarc", "bimi"}:
            codec = dmarc if group == "dmarc" else bimi
            name = f"_dmarc.{domain}" if group == "dmarc" else f"default._bimi.{domain}"
            if (name, "TXT") in self.wanted:
                return
            for record in [r for r in zone.sets(name, "TXT") if r.simple]:
                for raw, text in zone.texts(name):
                    if codec.is_record(text):
                        address = address_of(zone.name, name, "TXT")
                        self._delete(
                            address,
                            zone,
                            record,
                            raw,
                            {**_shown(codec.parse(text)), "value": text},
                            live,
                            tag_remembers=True,
                        )
        elif group == "null_mx" and (domain, "MX") not in self.wanted:
            for record in [r for r in zone.sets(domain, "MX") if r.simple]:
                for raw in record.values:
                    if _mx_value(raw) == "0 .":
                        self._delete(
                            address_of(zone.name, domain, "MX"),
                            zone,
                            record,
                            raw,
                            {"value": "0 ."},
                            live,
                            tag_remembers=True,
                        )

    def _delete(
        self, address: Address, zone: Zone, record: RecordSet, raw: str, shown: Mapping[str, Any], live: Observed | None,
        left: str | None = None, *, tag_remembers: bool = False,
    ) -> None:  # fmt: skip
        """Plan to take one value away, or to leave ``left`` of an SPF record in its place."""
        if address in self.slots:
            slot = self.slots[address]
            if raw not in slot.remove and raw not in slot.add:
                slot.remove.append(raw)
            return
        before = {"name": record.name, "type": record.type, "ttl": record.ttl, **shown}
        after = {**before, "value": left} if left is not None else None
        slot = _Slot(
            zone, record.name, record.type, before, after,
            base.differences(before, after) if after else tuple(FieldDiff(k, v, None) for k, v in before.items() if k not in {"name", "type"}),
            [raw], [intents.encode(left)] if left is not None else [], region=live.region if live else None,
        )  # fmt: skip
        self.slots[address] = slot
        self._note_foreign(slot, record, [raw])
        if live is None:
            return
        goes = live.address not in self.world.desired
        slot.depends.add(live.address)
        if goes or not tag_remembers:
            slot.mark = {
                "domain": live.name if live.kind == "email_identity" else record.name,
                "name": record.name,
                "type": record.type,
                "value": raw,
            }
            slot.needs += [f"{live.address}#{label}" for label in ("delete", "mail_from", "dkim", "update", "tracking")]
            self.marks.setdefault(live.address, set()).add(address)
        self.last.setdefault(live.address, set()).add(address)

    # .. markers ....................................................................................................

    def _read_markers(self) -> None:
        for zone in self.world.zones.values():
            if not zone.loaded or zone.private:
                continue
            for name, type_ in list(zone.records):
                if type_ == "TXT" and name.startswith(f"{marker.LABEL}."):
                    found = marker.read((t for _, t in zone.texts(name)), self.world.scope)
                    if found.groups or found.spf is not None or found.own:
                        self.live_markers[zone.id, name.removeprefix(f"{marker.LABEL}.")] = found

    def _live_marker(self, zone: Zone, domain: str) -> marker.Marker:
        return self.live_markers.get((zone.id, domain), marker.Marker())

    def _release_markers(self) -> None:
        """What markers remember and nothing asks for any more; what is still wanted stays remembered."""
        for (zone_id, domain), remembered in sorted(self.live_markers.items()):
            zone = self.world.zones[zone_id]
            kept = self.kept_groups.get(domain, set())
            for group in sorted(remembered.groups):
                if group in kept:
                    for owner in self.identities.get(domain, ()):
                        self.written.setdefault(owner, set()).add(group)
                    if domain not in self.identities:
                        self.markers.setdefault((zone_id, domain), marker.Marker()).groups.add(group)
                    continue
                before = set(self.slots)
                self._drop_group(domain, group, None)
                self.deleted_by.setdefault(domain, []).extend(set(self.slots) - before)
            if remembered.spf is not None and "spf" not in kept:
                self._drop_spf_terms(zone, domain, remembered)
            elif remembered.spf is not None and (zone_id, domain) not in self.markers:
                # Its record could not be judged (refused, unread): what is remembered must not be forgotten.
                wanted = self.markers.setdefault((zone_id, domain), marker.Marker())
                wanted.spf, wanted.spf_created = remembered.spf, remembered.spf_created
            for own in remembered.own:
                self._drop_own(zone, domain, own)

    def _drop_spf_terms(self, zone: Zone, domain: str, remembered: marker.Marker) -> None:
        found = [(raw, t) for raw, t in zone.texts(domain) if spf.is_record(t)]
        record = next((r for r in zone.sets(domain, "TXT") if r.simple), None)
        if len(found) != 1 or record is None:
            return
        text = found[0][1]
        left = spf.remove(text, remembered.spf or (), remembered.spf_created)
        if left == text:
            return
        address = address_of(zone.name, domain, "TXT")
        shown = {**_spf_shown(text, remembered.spf or ()), "value": text}
        self._delete(address, zone, record, found[0][0], shown, None, left)
        self.deleted_by.setdefault(domain, []).append(address)

    def _drop_own(self, zone: Zone, domain: str, own: marker.Own) -> None:
        """A record whose owner is gone already: an earlier run ended between the two."""
        wanted = self.wanted.get((own.name, own.type))
        record = next((r for r in zone.sets(own.name, own.type) if r.simple and own.value in r.values), None)
        if record is None or wanted is not None:
            return
        left = None
        shown: dict[str, Any] = {"value": own.value}
        if own.type == "TXT":
            text = next((t for raw, t in zone.texts(own.name) if raw == own.value), "")
            shown = {"value": text}
            if spf.is_record(text):
                left = spf.remove(text, MAIL_FROM_TERMS, True)
        address = address_of(zone.name, own.name, own.type)
        if address not in self.slots:
            # DKIM deletes of a live identity stand under their token's address; they are the same value.
            if any(s.name == own.name and own.value in s.remove for s in self.slots.values()):
                self.markers.setdefault((zone.id, domain), marker.Marker()).own.append(own)
                return
            self._delete(address, zone, record, own.value, shown, None, left)
        self.deleted_by.setdefault(domain, []).append(address)

    def _write_markers(self) -> None:
        scope = self.world.scope
        own_steps = {
            marker.Own(s.mark["name"], s.mark["type"], s.mark["value"]).text(scope)
            for s in self.slots.values()
            if s.mark
        }
        for zone_id, domain in sorted({*self.markers, *self.live_markers}):
            zone = self.world.zones[zone_id]
            name = marker.name_for(domain)
            wanted = self.markers.get((zone_id, domain), marker.Marker())
            texts = wanted.texts(scope)
            there = [(raw, t) for raw, t in zone.texts(name) if marker.is_ours(t, scope)]
            have = [t for _, t in there]
            # Exact lines that a delete of this very plan puts and takes are its own business.
            add = [intents.encode(t) for t in texts if t not in have]
            remove = [raw for raw, t in there if t not in texts and t not in own_steps]
            if not add and not remove:
                continue
            address = address_of(zone.name, name, "TXT")
            before = {"name": name, "type": "TXT", "value": sorted(have)} if have else None
            after_texts = sorted({*texts, *(t for t in have if t in own_steps)})
            after = {"name": name, "type": "TXT", "value": after_texts} if after_texts else None
            self.slots[address] = _Slot(
                zone, name, "TXT", before, after, (FieldDiff("value", sorted(have) or None, after_texts or None),), remove, add,
                marker=True, notes=[base.note("marker", "note", "remembers which records of this domain are this stack's")],
                after_steps=[f"{a}#write" for a in self.deleted_by.get(domain, ())],
            )  # fmt: skip
            if add:
                for slot in self.of_domain.get(domain, ()):
                    slot.needs.append(f"{address}#mark")

    # .. tags of owners .............................................................................................

    def _claims(self) -> None:
        """The record groups that each owner's ``recon:records`` must name after this plan."""
        world = self.world
        shared: dict[str, set[str]] = {}
        for address in {
            *(d.address for d in world.kind("email_identity")),
            *(o.address for o in world.observed.values() if o.kind == "email_identity"),
        }:
            live = world.observed.get(address)
            if live is not None and base.owner_of(live.tags) == world.scope:
                shared.setdefault(live.name, set()).update(base.unpack(live.tags, base.RECORDS) - {"dkim", "mail_from"})
        for desired in world.kind("email_identity"):
            live = world.observed.get(desired.address)
            mine = set(base.unpack(live.tags, base.RECORDS)) if live else set()
            mine |= self.written.get(desired.address, set())
            kept = self.kept_groups.get(desired.name, set())
            mine |= shared.get(desired.name, set()) & kept if live is None else set()
            # A group that is no longer declared is forgotten once its record is gone; an unread zone forgets nothing.
            if not world.unknown(NAME) and "@" not in desired.name:
                gone = mine - kept
                mine -= {g for g in gone if g != "tracking"}
            world.claims[desired.address] = frozenset(mine)
        for desired in world.kind("configuration_set"):
            live = world.observed.get(desired.address)
            mine = set(base.unpack(live.tags, base.RECORDS)) if live else set()
            mine |= self.written.get(desired.address, set())
            if "tracking_options" in desired.spec and not desired.spec["tracking_options"].get(
                "custom_redirect_domain", "kept"
            ):
                mine.discard("tracking")
            world.claims[f"records:{desired.address}"] = frozenset(mine)

    def _change(self, address: Address, slot: _Slot) -> Change:
        action: ActionName = "create" if slot.before is None else "delete" if slot.after is None else "update"
        live = next(iter(slot.zone.sets(slot.name, slot.type)), None) if slot.name else None
        execution: dict[str, Any] = {
            "zone": slot.zone.id, "name": slot.name, "type": slot.type, "remove": slot.remove, "add": slot.add,
            "ttl": slot.ttl, "needs": sorted(set(slot.needs)), "expect": dict(live.raw) if live else None,
        }  # fmt: skip
        if slot.token:
            execution["token"] = slot.token
        if slot.mark:
            execution["mark"] = {
                **slot.mark,
                "text": marker.Own(slot.mark["name"], slot.mark["type"], slot.mark["value"]).text(self.world.scope),
            }
        if slot.marker:
            execution["marker"] = True
            execution["after"] = slot.after_steps
        return Change(
            address, NAME, action, slot.before, slot.after, slot.diff, slot.unknown, tuple(sorted(slot.depends)),
            tuple(slot.notes), slot.source, set_digest(live) if live else None, slot.region, execution,
        )  # fmt: skip


# --- carrying out --------------------------------------------------------------------------------------------------


def _edit(change: Change, *, add: Iterable[str] = (), remove: Iterable[str] = (), last: bool = False) -> Edit:
    run = change.execution
    return Edit(change.address, str(run["name"]), str(run["type"]), tuple(remove), tuple(add), run.get("ttl"), last)


def _mark_edits(change: Change, verb: str) -> list[Edit]:
    mark = change.execution["mark"]
    value = (intents.encode(mark["text"]),)
    name = marker.name_for(mark["domain"])
    if verb == "add":
        return [Edit(change.address, name, "TXT", add=value)]
    return [Edit(change.address, name, "TXT", remove=value, last=True)]


def _write_edits(rt: base.Runtime, change: Change) -> Iterator[Edit]:
    run = change.execution
    token = run.get("token")
    if token:
        yield from _token_edits(rt, change, token)
    else:
        yield _edit(change, add=run["add"], remove=run["remove"])
    if run.get("mark"):
        yield from _mark_edits(change, "remove")


def _token_edits(rt: base.Runtime, change: Change, token: Mapping[str, Any]) -> Iterator[Edit]:
    """The record of a DKIM token that SES gave during this run."""
    tokens = sorted(rt.result(token["identity"], "tokens") or ())
    if len(tokens) < token["number"]:
        from reconciler.errors import ReconError

        raise ReconError(
            f"{change.address}: SES gave no DKIM token {token['number']} for {token['domain']}",
            hint="run apply again: the identity exists now and its tokens are read",
        )
    value = tokens[token["number"] - 1]
    hosted = rt.result(token["identity"], "signing_hosted_zone") or regions.dkim_zone(token["region"])
    name, target = f"{value}._domainkey.{token['domain']}", f"{value}.{hosted}"
    old = change.execution.get("name")
    if old and old != name and change.execution.get("remove"):
        yield Edit(change.address, str(old), "CNAME", remove=tuple(change.execution["remove"]))
    if old == name and change.execution.get("remove"):
        return  # The tokens stayed.
    yield Edit(change.address, name, "CNAME", add=(target,), ttl=change.execution.get("ttl"))


def set_digest(record: RecordSet) -> str:
    """The fingerprint of a record set as read: TTL and values in any order."""
    return digest_of({"ttl": record.ttl, "values": sorted(record.values)})


# --- small things --------------------------------------------------------------------------------------------------


def _host(value: str) -> str:
    """A CNAME target without final dot, in lower case: the console stores some without the dot."""
    return value.strip().rstrip(".").lower()


def _mx_value(value: str) -> str:
    priority, _, host = value.strip().partition(" ")
    return f"{priority} {host.strip().rstrip('.').lower() or '.'}"


def _is_feedback(value: str) -> bool:
    host = _mx_value(value).partition(" ")[2]
    return host.startswith("feedback-smtp.") and host.endswith((".amazonses.com", ".amazonaws.com"))


def _key_of(text: str) -> str | None:
    """The ``p=`` of a DKIM key record (RFC 6376 section 3.6.1), without white space; None for any other text."""
    tags = dict(part.strip().partition("=")[::2] for part in text.split(";"))
    key = {k.strip(): v for k, v in tags.items()}.get("p")
    return "".join(key.split()) if key is not None else None


def _shown(tags: Mapping[str, str]) -> dict[str, Any]:
    return {k: v for k, v in tags.items() if k != "v"}


def _spf_shown(text: str, ours: Iterable[str]) -> dict[str, Any]:
    """Our terms that stand in a record, by mechanism, and its ``all``; paths as in the YAML's ``spf:``."""
    shown: dict[str, Any] = {}
    for term in spf.terms_present(text, tuple(ours)):
        parsed = spf.parse_term(term)
        shown.setdefault(parsed.name, []).append(parsed.value if parsed.value is not None else True)
    parsed_all = spf.parse(text).all
    shown["all"] = parsed_all.text.lower() if parsed_all else None
    return shown
