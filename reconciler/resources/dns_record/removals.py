"""The second half of DNS planning: which of our records are deleted, and what remembers them until they are gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler import regions
from reconciler.kinds.kind import Need, needs_of
from reconciler.kinds.ownership import (
    DKIM_KEY,
    DKIM_SELECTOR,
    MAIL_FROM,
    PROTECT,
    RECORDS,
    TRACKING,
    left_alone,
    published,
    unpack,
)
from reconciler.kinds.snapshot import Snapshot
from reconciler.mail import bimi, dmarc, spf
from reconciler.model import Desired, FieldDiff, Note, Observed
from reconciler.resources import RECORD_GROUPS
from reconciler.resources.dns_record import TRACKING_KIND, intents, marker
from reconciler.resources.dns_record.record_plan import RecordChange, RecordPlan
from reconciler.resources.dns_record.values import (
    MAIL_FROM_TERMS,
    host,
    is_feedback,
    key_of,
    mail_from_names,
    mx_value,
    serves_others,
    shown_spf,
    shown_tags,
    tracking_option,
)
from reconciler.resources.dns_record.zones import Zone
from reconciler.secrets import fingerprint


class Removals:
    """Adds to the plan what is deleted, the markers that remember it meanwhile, and what the owners' tags must say."""

    def __init__(self, plan: RecordPlan) -> None:
        self.plan = plan
        self.neighbours: dict[tuple[str, str | None, str], list[Observed]] = {}
        for live in plan.snapshot.observed.values():
            for key in _neighbour_keys(live):
                self.neighbours.setdefault(key, []).append(live)

    def plan_owner_removals(self) -> None:
        """Delete the records that an owned identity or set derived and that nothing declares any more."""
        snapshot = self.plan.snapshot
        for live in [o for o in snapshot.observed.values() if snapshot.owns(o)]:
            if snapshot.unknown(live.address) or (
                live.tags.get(PROTECT) == "true" and live.address not in snapshot.desired
            ):
                continue
            if live.kind == "email_identity" and "@" not in live.name:
                self._remove_of_identity(live)
            elif live.kind == TRACKING_KIND:
                self._remove_tracking(live)

    def _remove_of_identity(self, live: Observed) -> None:
        desired = self.plan.snapshot.desired.get(live.address)
        groups = unpack(live.tags, RECORDS)
        deleted = desired is None
        entry = desired.entry if desired else None
        # With `zone: manual` recon deletes only what it wrote before.
        by_hand = self.plan.is_manual(live.name) and "dkim" not in groups
        if not left_alone(entry, "dkim") and not by_hand:
            origin = live.spec["dkim"]["signing_attributes_origin"]
            new = ((desired.spec.get("dkim") or {}) if desired else {}).get("signing_attributes_origin", origin)
            selector = ((desired.spec.get("dkim") or {}) if desired else {}).get("domain_signing_selector")
            if origin == "AWS_SES" and (deleted or new != origin):
                for number, name, target in _tokens(live):
                    self._drop_exact(live, name, "CNAME", target, number)
            elif origin == "EXTERNAL":
                old = live.spec["dkim"].get("domain_signing_selector")
                # A key that the YAML no longer names stays in SES, which still signs with it.
                if old and (deleted or new != origin or selector not in {None, old}):
                    self._drop_key(live, old)
            in_use = live.spec["dkim"].get("domain_signing_selector") if origin == "EXTERNAL" else None
            for tried in sorted(unpack(live.tags, DKIM_SELECTOR) - {in_use, selector if new == "EXTERNAL" else None}):
                self._drop_key(live, tried, in_use=False)
        self._remove_mail_from(live, desired, groups)
        kept = self.plan.kept_groups.get(live.name, set())
        for group in sorted(groups - {"dkim", "mail_from", "tracking"} - kept):
            if not left_alone(entry, group):
                self._drop_group(live.name, group, live)
        if deleted and self._last_identity(live):
            # The domain stays without an identity: the marker takes over what the tag remembered.
            for group in groups & kept - {"dkim", "mail_from"}:
                zone = self.plan.zone_of(live.name)
                if zone:
                    self.plan.markers.setdefault((zone.id, live.name), marker.Marker()).groups.add(group)
                    marked = self.plan.address(zone, marker.name_for(live.name), "TXT")
                    self.plan.draft.add_order(live.address, marks=[marked])

    def _remove_mail_from(self, live: Observed, desired: Desired | None, groups: frozenset[str]) -> None:
        """Delete the records of MAIL FROM names that are no longer declared: the one that SES shows, and those that a
        run wrote without SES ever taking them."""
        deleted = desired is None
        present = (live.spec["mail_from"] or {}).get("mail_from_domain")
        new_block = desired.spec.get("mail_from", "unwritten") if desired else None
        put_by_us = "mail_from" in groups or (deleted and not self.plan.is_manual(live.name))
        for name in sorted(mail_from_names(live)) if put_by_us else ():
            gone = deleted or new_block is None or (new_block == "unwritten" and name in unpack(live.tags, MAIL_FROM))
            moved = isinstance(new_block, Mapping) and new_block["mail_from_domain"] != name
            left = left_alone(desired.entry if desired else None, "mail_from") and not moved
            if (gone or moved) and not left:
                self._drop_mail_from(live, name, in_use=name == present)

    def _last_identity(self, live: Observed) -> bool:
        return live.name not in self.plan.identities

    def _remove_tracking(self, live: Observed) -> None:
        option = tracking_option(live)
        desired = self.plan.snapshot.desired.get(live.address)
        stays = _tracks(desired, option) if desired else None
        for name in sorted(published(live.tags, option) - {stays}):
            if (name, "CNAME") in self.plan.wanted:
                continue
            if any(_still_tracks(self.plan.snapshot, other, name) for other in self._neighbours_of(live, name)):
                continue
            target = regions.tracking_target(live.region or "")
            self._drop_exact(live, name, "CNAME", target, 0, in_use=name == option, group="tracking", domain=name)

    def _neighbours_of(self, live: Observed, name: str) -> list[Observed]:
        """Live resources that may share a record with ``live``: identities of the domain ``name``, or sets of one
        region and tracking domain."""
        key = (live.kind, None if live.kind == "email_identity" else live.region, name)
        return [other for other in self.neighbours.get(key, ()) if other.address != live.address]

    def _is_shared(self, zone: Zone, domain: str, group: str, name: str) -> bool:
        """Whether a record stays, which a note says, since the marker of another stack claims it, too."""
        others, known = self.plan.other_claimants(zone, domain, intents.claim_of(group, name)), RECORD_GROUPS[group][1]
        for scope in others:
            self.plan.draft.say(
                "note",
                "left" if self.plan.goes(domain) else "shared",
                f'the {known.words} of {domain} stays: the recon stack "{scope}" declares it, too',
                hint="it goes with the last stack that declares it",
                address=self.plan.address(zone, name, known.types[0]),
            )
        return bool(others)

    def _drop_exact(
        self,
        live: Observed,
        name: str,
        type_: str,
        value: str,
        number: int,
        *,
        in_use: bool = True,
        group: str = "",
        domain: str = "",
    ) -> None:
        """Delete one derived value from every zone, once SES no longer uses it; a marker remembers it meanwhile. What
        SES never took (not ``in_use``) is remembered by a tag as long as its owner lives. With a ``group`` and the
        ``domain`` of its marker other stacks may claim it, too."""
        if (name, type_) in self.plan.wanted and self.plan.wanted[name, type_].value == value:
            return
        for zone in self.plan.zones_of(name):
            if group and zone.sets(name, type_) and self._is_shared(zone, domain, group, name):
                continue
            for record in [r for r in zone.sets(name, type_) if r.simple]:
                for raw in record.values:
                    same = mx_value(raw) == mx_value(value) if type_ == "MX" else host(raw) == value
                    if same:
                        label = f"{live.name}:dkim:{live.region}:{number}" if number else name
                        address = self.plan.address(zone, label, type_)
                        self.plan.delete(
                            address, zone, record, raw, {"value": value}, live, tag_remembers=not in_use,
                            groups=filter(None, [group]), domain=domain,
                        )  # fmt: skip

    def _drop_key(self, live: Observed, selector: str, *, in_use: bool = True) -> None:
        name = f"{selector}._domainkey.{live.name}"
        planned = live.tags.get(DKIM_KEY, "").split()
        if (name, "TXT") in self.plan.wanted:
            return
        if any(_still_signs(self.plan.snapshot, other, selector) for other in self._neighbours_of(live, live.name)):
            return
        for zone in self.plan.zones_of(name):
            if zone.sets(name, "TXT") and self._is_shared(zone, live.name, "dkim", name):
                continue
            for record in [r for r in zone.sets(name, "TXT") if r.simple]:
                keys = [(raw, text, key) for raw, text in zone.texts(name) if (key := key_of(text)) is not None]
                ours = [(raw, text) for raw, text, key in keys if not planned or fingerprint(key) in planned]
                address = self.plan.address(zone, name, "TXT")
                if len(ours) > 1:
                    self.plan.refuse_several("keys", name, (text for _, text in ours), address)
                for raw, text in ours:
                    self.plan.delete(
                        address, zone, record, raw, {"value": text}, live, tag_remembers=not in_use,
                        groups=["dkim"], domain=live.name,
                    )  # fmt: skip

    def _drop_mail_from(self, live: Observed, name: str, *, in_use: bool) -> None:
        """Delete the MX of an old MAIL FROM name, and SES's include in its SPF record; the whole record where it has
        nothing else."""
        value = regions.feedback_mx(live.region or "")
        several = len(zones := self.plan.zones_of(name)) > 1
        for zone in zones:
            with_mx = any(mx_value(v) == mx_value(value) for r in zone.sets(name, "MX") for v in r.values)
            if (with_mx or not several) and not self._is_shared(zone, live.name, "mail_from", name):
                self._drop_spf(zone, live, name, in_use=in_use)
        self._drop_exact(live, name, "MX", value, 0, in_use=in_use, group="mail_from", domain=live.name)

    def _drop_spf(self, zone: Zone, live: Observed, name: str, *, in_use: bool) -> None:
        if (name, "TXT") in self.plan.wanted:
            return
        found = [(raw, t) for raw, t in zone.texts(name) if spf.is_record(t, strict=False)]
        if len(found) > 1:  # Ours is the one that is exactly as we write it.
            made = spf.merge(None, MAIL_FROM_TERMS, "~all")
            found = [(raw, t) for raw, t in found if t == made]
        record = next((r for r in zone.sets(name, "TXT") if r.simple), None)
        if len(found) != 1 or record is None or not spf.terms_present(found[0][1], MAIL_FROM_TERMS):
            return
        left = spf.remove(found[0][1], MAIL_FROM_TERMS, True)
        address = self.plan.address(zone, name, "TXT")
        shown = {"value": found[0][1]}
        self.plan.delete(
            address, zone, record, found[0][0], shown, live, left, tag_remembers=not in_use,
            groups=["mail_from"], domain=live.name,
        )  # fmt: skip

    def _drop_group(self, domain: str, group: str, live: Observed | None, marked: Zone | None = None) -> None:
        """Delete the domain's own record of a group that we wrote and that is no longer declared; ``marked`` is the
        zone with the marker that says so."""
        zones = [marked] if marked is not None else []
        if live is not None:
            zones = self.plan.zones_with_records_of(self.plan.zones_of(domain), live)
        stays = live is not None and live.address in self.plan.snapshot.desired
        if (stays or not zones) and (nearest := self.plan.zone_of(domain, live)) is not None and nearest not in zones:
            zones.append(nearest)
        for zone in zones:
            self._drop_group_in(zone, domain, group, live)

    def _drop_group_in(self, zone: Zone, domain: str, group: str, live: Observed | None) -> None:
        if self._is_shared(zone, domain, group, intents.name_of_claim(group, domain)):
            return
        if group in {"dmarc", "bimi"}:
            codec = dmarc if group == "dmarc" else bimi
            name = f"_dmarc.{domain}" if group == "dmarc" else f"default._bimi.{domain}"
            if self.plan.wants(zone, name, "TXT"):
                return
            for record in [r for r in zone.sets(name, "TXT") if r.simple]:
                found = [(raw, text) for raw, text in zone.texts(name) if codec.is_record(text)]
                address = self.plan.address(zone, name, "TXT")
                if len(found) > 1:
                    self.plan.refuse_several(group, name, (text for _, text in found), address)
                    self.plan.stuck.setdefault(domain, set()).add(group)
                for raw, text in found:
                    shown = {**shown_tags(codec.parse(text)), "value": text}
                    self.plan.delete(
                        address, zone, record, raw, shown, live, tag_remembers=True, groups=[group], domain=domain
                    )
        elif group == "null_mx" and not self.plan.wants(zone, domain, "MX"):
            for record in [r for r in zone.sets(domain, "MX") if r.simple]:
                for raw in record.values:
                    if mx_value(raw) == "0 .":
                        address = self.plan.address(zone, domain, "MX")
                        self.plan.delete(
                            address, zone, record, raw, {"value": "0 ."}, live, tag_remembers=True, groups=[group],
                            domain=domain,
                        )  # fmt: skip

    def plan_marker_removals(self) -> None:
        """Delete what markers remember and nothing declares any more; what is still declared stays remembered."""
        entries = {e.name: e for e in self.plan.snapshot.state.section("domains") if e.region is None}
        for place, former in self.plan.former_markers.items():
            # The groups that are declared become ours; records whose owner was about to forget them are deleted, too.
            remembered = self.plan.live_markers.setdefault(place, marker.Marker())
            for theirs in former.values():
                remembered.groups |= theirs.groups & self.plan.kept_claims.get(place[1], set())
                remembered.own += theirs.own
                if self._takes_spf(place) and theirs.spf is not None:
                    remembered.spf = [*(remembered.spf or ()), *theirs.spf]
                    remembered.spf_created |= theirs.spf_created
                    remembered.spf_shared |= theirs.spf_shared
        for (zone_id, domain), remembered in sorted(self.plan.live_markers.items()):
            zone, left = self.plan.snapshot.zones[zone_id], (zone_id, domain) in self.plan.left
            kept = set() if left else self.plan.kept_groups.get(domain, set())
            claims = set() if left else self.plan.kept_claims.get(domain, set())
            listed = self._stays_listed(zone_id, domain, remembered)
            known = {*self.plan.changes} if left else set()
            if left:
                self._leave(zone, domain)
            for group in sorted(remembered.groups):
                whole = group in intents.OWN_GROUPS
                if group in claims:
                    for owner in self.plan.identities.get(domain, ()) if whole else ():
                        self.plan.written.setdefault(owner, set()).add(group)
                        self.plan.inheriting.setdefault(domain, set()).add(owner)
                    if domain not in self.plan.identities or self.plan.zones_elsewhere or listed:
                        self.plan.markers.setdefault((zone_id, domain), marker.Marker()).groups.add(group)
                    continue
                if left_alone(entries.get(domain), group.partition(":")[0]):
                    continue
                if whole:
                    self._drop_group(domain, group, None, zone)
                elif not self._drop_claimed(zone, domain, group):
                    self.plan.markers.setdefault((zone_id, domain), marker.Marker()).groups.add(group)
                    continue
                if group in self.plan.stuck.get(domain, ()):
                    self.plan.markers.setdefault((zone_id, domain), marker.Marker()).groups.add(group)
                    continue
                name = intents.name_of_claim(group, domain)
                gone = [address for address, planned in self.plan.changes.items() if planned.name == name]
                self.plan.deleted_by.setdefault(domain, []).extend(gone)
            if remembered.spf is not None and "spf" not in kept and left_alone(entries.get(domain), "spf"):
                pass  # its terms stay, and nothing remembers that they were ours
            elif remembered.spf is not None and "spf" not in kept:
                self._drop_spf_terms(zone, domain, remembered)
            if "spf" in self.plan.stuck.get(domain, ()) or (
                remembered.spf is not None and "spf" in kept and (zone_id, domain) not in self.plan.spf_compared
            ):
                # Its record could not be compared (refused, unread): what is remembered must not be forgotten.
                wanted = self.plan.markers.setdefault((zone_id, domain), marker.Marker())
                wanted.spf, wanted.spf_created = remembered.spf, remembered.spf_created
                wanted.spf_shared = remembered.spf_shared
            for own in remembered.own:
                self._drop_own(zone, domain, own)
            for address in self.plan.changes.keys() - known if left else ():
                self._order_left(self.plan.changes[address], domain)

    def _order_left(self, planned: RecordChange, domain: str) -> None:
        """Have a deletion from a zone that the YAML's list names no more come after what is written to the others, or
        cannot be; a rule judges whether resolvers still ask the zone."""
        planned.leaves_zone = True
        mine = self.plan.of_domain.get(domain, ())
        written = [a for a, c in self.plan.changes.items() if any(c is one for one in mine)]
        planned.needs += needs_of((*written, *self.plan.refused_of.get(domain, ())), "write")
        words = f"zone: of {domain} names {planned.zone.id} no more; apply two days after its name servers were changed"
        planned.notes += (Note("zone-left", "note", words),)

    def _stays_listed(self, zone_id: str, domain: str, remembered: marker.Marker) -> bool:
        """Whether a marker goes on saying that the zone is one of several: the YAML lists it, or what the domain has
        and where is not known (``zone: manual`` among it: what was written before stays ours)."""
        wanted = self.plan.markers.get((zone_id, domain))
        if (zone_id, domain) in self.plan.undecided:
            wanted = self.plan.markers.setdefault((zone_id, domain), marker.Marker())
            wanted.zones = wanted.zones or remembered.zones
        return wanted is not None and bool(wanted.zones)

    def _leave(self, zone: Zone, domain: str) -> None:
        """Delete, from a zone that the YAML's list names no more, the records that no marker names since the identities
        of the domain derive them: their DKIM tokens."""
        entries = {e.region: e for e in self.plan.snapshot.state.section("domains") if e.name == domain}
        for live in self.plan.ours_by_name.get(domain, ()):
            entry = entries.get(live.region, entries.get(None))
            for number, name, target in () if left_alone(entry, "dkim") else _tokens(live):
                for record in [r for r in zone.sets(name, "CNAME") if r.simple]:
                    address = self.plan.address(zone, f"{domain}:dkim:{live.region}:{number}", "CNAME")
                    for raw in [raw for raw in record.values if host(raw) == target]:
                        self.plan.delete(address, zone, record, raw, {"value": target}, None)
                        self.plan.deleted_by.setdefault(domain, []).append(address)

    def _drop_claimed(self, zone: Zone, domain: str, claim: str) -> bool:
        """Delete the records that a marker claims by their name, where no live resource has that name: somebody has
        deleted it with its tags; or where the YAML's list names the zone no more. False where that could not be seen,
        so that the marker must go on claiming them."""
        leaves = (zone.id, domain) in self.plan.left
        group, _, name = claim.partition(":")
        types = RECORD_GROUPS[group][1].types if group in RECORD_GROUPS else ()
        if not any(zone.sets(name, type_) for type_ in types) or any(
            c.name == name and (c.zone is zone or not leaves) for c in self.plan.changes.values()
        ):
            return True
        if self.plan.snapshot.partial and not leaves:
            return False
        if (name in self._live_names() and not leaves) or self._is_shared(zone, domain, group, name):
            return True
        for record in [r for t in types if not self.plan.wants(zone, name, t) for r in zone.sets(name, t)]:
            texts = dict(zone.texts(name)) if record.type == "TXT" else {}
            for raw in [raw for raw in record.values if record.simple and _is_of(group, record.type, raw, texts)]:
                left = spf.remove(texts[raw], MAIL_FROM_TERMS, True) if group == "mail_from" and texts else None
                address, shown = self.plan.address(zone, name, record.type), {"value": texts.get(raw, raw)}
                self.plan.delete(address, zone, record, raw, shown, None, left, groups=[group], domain=domain)
        return True

    def _live_names(self) -> set[str]:
        """The names of records that live resources have, whoever owns them."""
        found: set[str] = set()
        for live in self.plan.snapshot.observed.values():
            if live.kind == "email_identity":
                selector = live.spec["dkim"].get("domain_signing_selector")
                found |= mail_from_names(live)
                found |= {f"{one}._domainkey.{live.name}" for one in {selector, *unpack(live.tags, DKIM_SELECTOR)}}
            elif live.kind == TRACKING_KIND:
                found |= {*unpack(live.tags, TRACKING), *filter(None, [tracking_option(live)])}
        return found

    def _drop_spf_terms(self, zone: Zone, domain: str, remembered: marker.Marker) -> None:
        found = [(raw, t) for raw, t in zone.texts(domain) if spf.is_record(t, strict=False)]
        record = next((r for r in zone.sets(domain, "TXT") if r.simple), None)
        ours = remembered.spf or []
        address = self.plan.address(zone, domain, "TXT")
        if len(found) > 1 and record and (remembered.spf_made or any(spf.terms_present(t, ours) for _, t in found)):
            self.plan.refuse_several("spf", domain, (t for _, t in found), address)
            self.plan.stuck.setdefault(domain, set()).add("spf")
            for raw, text in found:
                self.plan.delete(address, zone, record, raw, {"value": text}, None)
        if len(found) != 1 or record is None:
            return
        text = found[0][1]
        shared = self.plan.shared_terms(zone, domain, ours)
        last = not any(theirs.spf_made for theirs in self.plan.markers_of_others(zone, domain).values())
        left = spf.remove(text, [t for t in ours if t not in shared], last and remembered.spf_made)
        if left == text:
            return
        shown = {**shown_spf(text, remembered.spf or ()), "value": text}
        self.plan.delete(address, zone, record, found[0][0], shown, None, left)
        self.plan.deleted_by.setdefault(domain, []).append(address)

    def _drop_own(self, zone: Zone, domain: str, own: marker.Own) -> None:
        """Delete a record that outlived its owner: an earlier run ended between the two deletions."""
        wanted = self.plan.wants(zone, own.name, own.type)
        record = next((r for r in zone.sets(own.name, own.type) if r.simple and own.value in r.values), None)
        if record is None or wanted is not None:
            return
        left = None
        shown: dict[str, Any] = {"value": own.value}
        if own.type == "TXT":
            text = next((t for raw, t in zone.texts(own.name) if raw == own.value), "")
            shown = {"value": text}
            if spf.is_record(text, strict=False):
                left = spf.remove(text, MAIL_FROM_TERMS, True)
        address = self.plan.address(zone, own.name, own.type)
        groups = _groups_of(own)
        if [group for group in groups if self._is_shared(zone, domain, group, own.name)]:
            return
        if address not in self.plan.changes:
            # DKIM deletions of a live identity have the address of their token; they are the same value.
            if any(s.zone is zone and s.name == own.name and own.value in s.remove for s in self.plan.changes.values()):
                self.plan.markers.setdefault((zone.id, domain), marker.Marker()).own.append(own)
                return
            self.plan.delete(address, zone, record, own.value, shown, None, left, groups=groups, domain=domain)
        self.plan.deleted_by.setdefault(domain, []).append(address)

    def plan_markers(self) -> None:
        scope = self.plan.snapshot.scope
        own_steps = {
            marker.Own(s.mark["name"], s.mark["type"], s.mark["value"]).text(scope)
            for s in self.plan.changes.values()
            if s.mark
        }
        for zone_id, domain in sorted({*self.plan.markers, *self.plan.live_markers, *self.plan.released}):
            zone = self.plan.snapshot.zones[zone_id]
            name = marker.name_for(domain)
            wanted = self.plan.markers.get((zone_id, domain), marker.Marker())
            texts = wanted.texts(scope)
            there = [(raw, t) for raw, t in zone.texts(name) if marker.is_ours(t, scope)]
            for former, lines, left in self._taken_over(zone, domain):
                there += lines
                texts += left.texts(former)
            have = [t for _, t in there]
            # Lines that a deletion of this plan itself writes and removes are left to it.
            add = [intents.encode(t) for t in texts if t not in have]
            remove = [raw for raw, t in there if t not in texts and t not in own_steps]
            if not add and not remove:
                continue
            address = self.plan.address(zone, name, "TXT")
            before = {"name": name, "type": "TXT", "value": sorted(have)} if have else None
            after_texts = sorted({*texts, *(t for t in have if t in own_steps)})
            after = {"name": name, "type": "TXT", "value": after_texts} if after_texts else None
            records = [planned for planned in self.plan.of_domain.get(domain, ()) if planned.zone is zone]
            taken = any(not marker.is_ours(t, scope) for t in {*have} - {*texts})
            self.plan.changes[address] = RecordChange(
                zone,
                name,
                "TXT",
                before,
                after,
                (FieldDiff("value", sorted(have) or None, after_texts or None),),
                remove,
                add,
                claims=bool(records)
                and all(planned.claims for planned in records)
                and marker.read(after_texts, scope).names_more(marker.read(have, scope))
                and not taken,
                marker=True,
                notes=self._marker_notes((zone_id, domain), have),
                adopts=taken,
                after_changes=(*self._of_domain(domain), *sorted(self.plan.inheriting.get(domain, ()))),
            )
            if add:
                for planned in records:
                    planned.needs += (Need(address, "mark"),)

    def _marker_notes(self, place: tuple[str, str], have: list[str]) -> tuple[Note, ...]:
        """What a change of a marker means; of a domain that is let go, which records stay that it remembers."""
        if place not in self.plan.released:
            return (Note("marker", "note", "remembers which records of this domain are this stack's"),)
        was = marker.read(have, self.plan.snapshot.scope)
        parts = [*sorted(was.groups), *(["spf"] if was.spf is not None else []), *(own.name for own in was.own)]
        words = (
            f"{place[1]} is released: its records stay ({', '.join(parts)}), and recon neither changes nor deletes "
            "them from now on; to delete them, do so by hand; to own them again, declare the domain"
        )
        return (Note("left", "note", words),)

    def _taken_over(
        self, zone: Zone, domain: str
    ) -> Iterator[tuple[str, list[tuple[str, str]], marker.Marker]]:  # fmt: skip
        """(former stack, its marker lines at a declared domain, what of them stays that stack's)."""
        place = (zone.id, domain)
        kept = self.plan.kept_claims.get(domain, set())
        spf_terms = (self.plan.markers.get(place) or marker.Marker()).spf or ()
        compared = place in self.plan.spf_compared
        for scope, theirs in self.plan.former_markers.get(place, {}).items():
            terms = theirs.spf or () if self._takes_spf(place) else spf_terms if compared else None
            left = theirs.without(kept, terms)
            if left:
                self.plan.draft.left(self.plan.address(zone, marker.name_for(domain), "TXT"), scope)
            yield scope, [(r, t) for r, t in zone.texts(marker.name_for(domain)) if marker.is_ours(t, scope)], left

    def _takes_spf(self, place: tuple[str, str]) -> bool:
        """Whether SPF terms of a former stack are taken out with all else of a domain that has left the zone."""
        return place in self.plan.left and "spf" in self.plan.kept_groups.get(place[1], ())

    def _of_domain(self, domain: str) -> list[str]:
        """The records of this plan that a domain's marker remembers: written or deleted."""
        mine = self.plan.of_domain.get(domain, [])
        written = [a for a, s in self.plan.changes.items() if any(s is planned for planned in mine)]
        return sorted({*written, *self.plan.deleted_by.get(domain, ())})

    def untag_zones(self) -> None:
        """Take the tags, ours and those of former stacks, off zones that have no marker of theirs: an earlier run ended
        between the two."""
        busy = {zone_id for zone_id, _ in self.plan.markers}
        busy |= {planned.zone.id for planned in self.plan.changes.values() if planned.mark}
        for zone in self.plan.snapshot.zones.values():
            soon = {self.plan.snapshot.scope} if zone.id in busy else set()
            unused = [scope for scope in marker.unused_tags(zone) if scope not in soon] if zone.loaded else []
            name = marker.name_for(zone.name)
            address = self.plan.address(zone, name, "TXT")
            # Where the zone's own marker changes, the run takes unused tags off at its end.
            if not unused or address in self.plan.changes:
                continue
            tag = ", ".join(f"recon:{scope}" for scope in unused)
            self.plan.changes[address] = RecordChange(
                zone,
                None,
                "TXT",
                {"name": name, "type": "TXT", "zone_tag": tag},
                None,
                (FieldDiff("zone_tag", tag, None),),
                untag=tuple(unused),
                notes=(Note("zone-tag", "note", "the tag says that the zone holds a marker, and it holds none"),),
            )

    def tag_zones(self) -> None:
        """Put our tag back on zones with a marker of ours: without it, nothing finds the marker once no name in the
        zone is declared any more. The run itself tags the zones into which it writes markers."""
        scope = self.plan.snapshot.scope
        written = {one.zone.id for one in self.plan.changes.values() if one.mark or (one.marker and one.add)}
        for zone_id in sorted({zone_id for zone_id, _ in self.plan.live_markers} - written):
            zone, name = self.plan.snapshot.zones[zone_id], marker.name_for(self.plan.snapshot.zones[zone_id].name)
            stays = any(place[0] == zone_id and wanted for place, wanted in self.plan.markers.items())
            address = self.plan.address(zone, name, "TXT")
            if not stays or scope in zone.tagged_for or address in self.plan.changes:
                continue
            shown = {"name": name, "type": "TXT", "zone_tag": None}
            words = "the zone holds a marker, and nothing finds it without this tag: let no other tool take it off"
            self.plan.changes[address] = RecordChange(
                zone, None, "TXT", shown, {**shown, "zone_tag": f"recon:{scope}"},
                (FieldDiff("zone_tag", None, f"recon:{scope}"),), tag=scope, notes=(Note("zone-tag", "note", words),),
            )  # fmt: skip

    def remember_groups(self) -> None:
        """Say which record groups each owner's ``recon:records`` must name after this plan."""
        snapshot = self.plan.snapshot
        shared: dict[str, set[str]] = {}
        for address in {
            *(d.address for d in snapshot.kind("email_identity")),
            *(o.address for o in snapshot.observed.values() if o.kind == "email_identity"),
        }:
            live = snapshot.observed.get(address)
            if live is not None and snapshot.owns(live):
                shared.setdefault(live.name, set()).update(unpack(live.tags, RECORDS) - {"dkim", "mail_from"})
        inherited = self.plan.ours_by_record
        for desired in snapshot.kind("email_identity"):
            live = snapshot.observed.get(desired.address)
            mine = set(unpack(live.tags, RECORDS)) if live else set()
            mine |= self.plan.written.get(desired.address, set())
            kept = self.plan.kept_groups.get(desired.name, set())
            if _mail_from(desired.spec, live) & inherited.get((desired.region, "mail_from"), set()):
                mine.add("mail_from")
            mine |= shared.get(desired.name, set()) & kept
            # A group that is no longer declared is forgotten once its record is gone; an unread zone forgets nothing.
            # Nor does `zone: manual`: what was put there before stays ours until recon may write there again.
            if (
                not snapshot.zone_unread(desired.name)
                and "@" not in desired.name
                and not self.plan.is_manual(desired.name)
            ):
                gone = mine - kept - self.plan.stuck.get(desired.name, set())
                stays = {"tracking", *(("dkim",) if live is not None and _own_key_stays(desired, live) else ())}
                mine -= gone - stays
            self.plan.draft.remember(desired.address, RECORDS, mine)
        for desired in snapshot.kind(TRACKING_KIND):
            self._remember_tracking(desired, inherited.get((desired.region, "tracking"), set()))

    def _remember_tracking(self, desired: Desired, inherited: set[str]) -> None:
        """Have the tags of a set name the tracking domain whose record is ours: from before its record is written,
        since SES shows the domain only once it is verified; and later, since other stacks read it there."""
        live = self.plan.snapshot.observed.get(desired.address)
        mine = set(unpack(live.tags, RECORDS)) if live else set()
        mine |= self.plan.written.get(desired.address, set())
        present = tracking_option(live) if live is not None else None
        name = _tracks(desired, present)
        if name in inherited:
            mine.add("tracking")
        if name is None or desired.address in self.plan.left_to_others or self._left_to_cdn(desired, live):
            mine.discard("tracking")
        self.plan.draft.remember(desired.address, RECORDS, mine)
        if name is not None and "tracking" in mine:
            self.plan.draft.remember(desired.address, TRACKING, [name])

    def _left_to_cdn(self, desired: Desired, live: Observed | None) -> bool:
        """Whether a tracking name that was ours serves HTTPS now, and its record sends readers to somebody else."""
        if live is None:
            return False
        spec = {**live.spec, **desired.spec, "tracking_options": {
            **(live.spec.get("tracking_options") or {}), **(desired.spec.get("tracking_options") or {})
        }}  # fmt: skip
        name = str(spec["tracking_options"].get("custom_redirect_domain") or "")
        if not name or not intents.tracks_over_https(spec) or self.plan.snapshot.zone_unread(name):
            return False
        return any(serves_others(zone.at(name)) for zone in self.plan.zones_of(name))


def _tokens(live: Observed) -> Iterator[tuple[int, str, str]]:
    """(number, name, target) of the CNAMEs of an identity that Easy DKIM signs for."""
    if live.spec["dkim"]["signing_attributes_origin"] != "AWS_SES":
        return
    zone = live.facts.get("signing_hosted_zone") or regions.dkim_zone(live.region or "")
    for number, token in enumerate(sorted(live.facts.get("tokens") or ()), 1):
        yield number, f"{token}._domainkey.{live.name}", f"{token}.{zone}"


def _is_of(group: str, type_: str, raw: str, texts: Mapping[str, str]) -> bool:
    """Whether a value is one that recon puts at a name of the group, for any region and key."""
    if type_ == "MX":
        return is_feedback(raw)
    if type_ == "CNAME":
        return host(raw).endswith(".awstrack.me")
    text = texts.get(raw, "")
    if group == "mail_from":
        return spf.is_record(text, strict=False) and bool(spf.terms_present(text, MAIL_FROM_TERMS))
    return key_of(text) is not None and len(texts) == 1


def _groups_of(own: marker.Own) -> list[str]:
    """The groups to which a record can belong by its name and type."""
    return [name for name, (_, group) in RECORD_GROUPS.items() if own.type in group.types and group.may_be_at(own.name)]


def _tracks(desired: Desired, present: str | None) -> str | None:
    """The tracking domain that a set will have: as declared, else ``present``, which SES shows."""
    if "tracking_options" not in desired.spec:
        return present
    name = (desired.spec["tracking_options"] or {}).get("custom_redirect_domain", present)
    return str(name) if name else None


def _mail_from(spec: Mapping[str, Any], live: Observed | None) -> set[str]:
    """The MAIL FROM name that an identity will have: as declared, else as it is live; empty for none."""
    block = spec["mail_from"] if "mail_from" in spec else live.spec["mail_from"] if live is not None else None
    return {str(block["mail_from_domain"])} if block else set()


def _neighbour_keys(live: Observed) -> list[tuple[str, str | None, str]]:
    """Under which keys others find ``live``, which may share a record with them."""
    if live.kind == "email_identity":
        return [(live.kind, None, live.name)]
    if live.kind != TRACKING_KIND:
        return []
    names = {tracking_option(live), *unpack(live.tags, TRACKING)} - {None}
    return [(live.kind, live.region, str(name)) for name in names]


def _still_tracks(snapshot: Snapshot, live: Observed, domain: str) -> bool:
    """Whether a set still sends its links through ``domain``: an option that the YAML no longer names stays."""
    desired = snapshot.desired.get(live.address)
    if desired is None:
        return not snapshot.owns(live)
    return _tracks(desired, tracking_option(live)) == domain


def _still_signs(snapshot: Snapshot, live: Observed, selector: str) -> bool:
    """Whether SES still signs for an identity with a BYODKIM key under ``selector``."""
    there = live.spec["dkim"]
    if (there["signing_attributes_origin"], there.get("domain_signing_selector")) != ("EXTERNAL", selector):
        return False
    desired = snapshot.desired.get(live.address)
    if desired is None:
        return not snapshot.owns(live)
    block = desired.spec.get("dkim") or {}
    origin, name = block.get("signing_attributes_origin", "EXTERNAL"), block.get("domain_signing_selector", selector)
    return bool((origin, name) == ("EXTERNAL", selector))


def _own_key_stays(desired: Desired, live: Observed) -> bool:
    """Whether SES still signs with a BYODKIM key that the state no longer names."""
    origin = live.spec["dkim"]["signing_attributes_origin"]
    new = (desired.spec.get("dkim") or {}).get("signing_attributes_origin", origin)
    return bool(origin == new == "EXTERNAL") and not left_alone(desired.entry, "dkim")
