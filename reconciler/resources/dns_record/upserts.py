"""The first half of DNS planning: each record that the state derives, compared with what is in its zone."""

from __future__ import annotations

from functools import cache
from typing import Any

from reconciler.kinds.kind import Need, needs_of
from reconciler.kinds.ownership import published
from reconciler.kinds.snapshot import ReadScope
from reconciler.mail import bimi, dmarc, spf, txt
from reconciler.mail.tags import visible
from reconciler.model import Address, FieldDiff, Note
from reconciler.resources.dns_record import TRACKING_KIND, intents, marker
from reconciler.resources.dns_record.intents import Intent
from reconciler.resources.dns_record.record_plan import RecordChange, RecordPlan
from reconciler.resources.dns_record.values import (
    NAME,
    host,
    is_feedback,
    key_of,
    mx_value,
    same_tags,
    serves_others,
    shown_spf,
    shown_tags,
    tracking_option,
)
from reconciler.resources.dns_record.zones import RecordSet, Zone

_NO_TOKEN = (FieldDiff("name", None, None), FieldDiff("value", None, None))
_TOKENS_MAY_CHANGE = Note(
    "dkim-tokens-may-change", "note", "stays as it is unless SES gives new tokens with the new key"
)


@cache
def _of_unknown_token(ttl: int) -> dict[str, Any]:
    """A DKIM record that only the run learns, of which a plan may have tens of thousands: one for all of a TTL."""
    return {"name": None, "type": "CNAME", "ttl": ttl, "value": None}


class Upserts:
    """Adds to the plan which records must be created or updated, or why they cannot be."""

    def __init__(self, plan: RecordPlan) -> None:
        self.plan = plan
        self.first: dict[tuple[str, str, str], Intent] = {}
        """(zone id, name, type) -> the first intent with that record."""

    def plan_upsert(self, intent: Intent) -> None:
        """Plan what makes one record as it is declared, or say why that is not possible."""
        plan, snapshot = self.plan, self.plan.snapshot
        plan.kept_groups.setdefault(intent.domain, set()).add(intent.group)
        plan.kept_claims.setdefault(intent.domain, set()).add(intents.claimed_in_marker(intent))
        homes = plan.homes.setdefault(intent.domain, set())
        if snapshot.read_scope is not None and not self._in_read_scope(snapshot.read_scope, intent):
            homes.add(None)
            return
        if intent.zone == "manual":
            homes |= set() if intent.zones else {None}
            return
        anchor = intents.anchor(intent)
        zone = plan.index.pick(anchor, intent.zone)
        homes.add(zone.id if isinstance(zone, Zone) else None)
        if not isinstance(zone, Zone):
            address = f"{NAME}/?/{anchor}/{intent.type}"
            plan.draft.refuse(zone.code, zone.message, hint=zone.hint, address=address, source=intent.source)
            plan.show_refused(address, Zone("", anchor), intent, _wanted_value(intent))
            return
        address = plan.address(zone, intents.label(intent), intent.type)
        if not zone.loaded or (
            snapshot.partial and any(snapshot.unknown(one) for one in (address, *intent.owners))
        ):  # fmt: skip
            return
        if intent.zones:
            plan.markers.setdefault((zone.id, intent.domain), marker.Marker()).zones = intent.zones
        if intent.group == "tracking" and serves_others(zone.at(anchor)) and not self._put_by_us(intent):
            # A CDN in front of SES, or a mistake: rule `tracking-cname` judges. The links already sent go through it.
            plan.left_to_others.update(intent.owners)
            return
        known, before = len(plan.draft.refusals), len(plan.changes)
        if intent.name is None or (self._is_first(zone, intent, address) and self._is_allowed(zone, intent, address)):
            try:
                self._compare(zone, intent, address)
            except txt.NoTxtValue as problem:
                self._refuse_unwritable(problem, intent, address)
        changes = len(plan.changes) > before
        if changes and len(plan.draft.refusals) == known:
            self._refuse_another_stacks(zone, intent, address)
        if len(plan.draft.refusals) > known:
            plan.show_refused(address, zone, intent, _wanted_value(intent))
            plan.refused_of.setdefault(intent.domain, []).append(address)
            self._put_after(intent, address)
        elif changes:
            self._add_ownership(intent, address)
            if zone.id not in intent.zones[:1] and intent.zones:
                words = f"the same record as in the zone {intent.zones[0]}"
                plan.changes[address].notes += (Note("zone-also", "note", words),)

    def _refuse_unwritable(self, problem: txt.NoTxtValue, intent: Intent, address: Address) -> None:
        self.plan.draft.refuse(
            "dns-value", f"{intent.name} {intent.type}: {problem}",
            hint="declare less, or take out what others put there", address=address, source=intent.source,
        )  # fmt: skip

    def _is_first(self, zone: Zone, intent: Intent, address: Address) -> bool:
        """Whether nothing before has declared a record of this name and type in the zone; another value is refused."""
        key = intent.name or "", intent.type
        other = self.plan.wanted.setdefault(key, intent)
        if (other.value, other.tags, other.terms, other.all) != (intent.value, intent.tags, intent.terms, intent.all):
            self.plan.draft.refuse(
                "two-values",
                f"{intent.name} {intent.type} is declared twice with different values",
                hint=f"see also {other.source}",
                address=address,
                source=intent.source,
            )
            return False
        return self.first.setdefault((zone.id, *key), intent) is intent

    def _compare(self, zone: Zone, intent: Intent, address: Address) -> None:
        """Plan the change of the record, if it needs one."""
        if intent.name is None:
            self._unknown_token(zone, intent, address, None)
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

    def _refuse_another_stacks(self, zone: Zone, intent: Intent, address: Address) -> None:
        """Refuse to change what another stack's marker names as its own. Terms in a shared SPF record do not change
        what is theirs; another ``all`` in a record that they have created does."""
        planned = self.plan.changes[address]
        if planned.claims or (planned.before is None and intent.group not in intents.OWN_GROUPS):
            return  # it is theirs as it is ours, or is made beside what they have
        for stack, theirs in self.plan.markers_of_others(zone, intent.domain).items():
            what = intent.group.upper() if intents.claimed_in_marker(intent) in theirs.groups else ""
            if intent.group == "spf" and intent.all and theirs.spf_created:
                live = next((t for _, t in zone.texts(intent.name or "") if spf.is_record(t, strict=False)), None)
                end = spf.parse(live).all if live is not None else None
                if end is not None and end.text.lower() != intent.all:
                    what = f"SPF record with its {end.text}"
            if what:
                self.plan.draft.refuse(
                    "owned-elsewhere",
                    f'the {what} of {intent.domain} belongs to the recon stack "{stack}"',
                    hint=f"take it out of this stack's YAML, or release it there first (its marker is "
                    f"{marker.name_for(intent.domain)})",
                    address=address,
                    source=intent.source,
                )
                return

    def _in_read_scope(self, read_scope: ReadScope, intent: Intent) -> bool:
        if intent.owners:
            return any(read_scope.includes(owner) for owner in intent.owners)
        return intent.domain in read_scope.domains

    def _is_allowed(self, zone: Zone, intent: Intent, address: Address) -> bool:
        """Refuse names that DNS would not answer from this zone, or that belong to a CNAME, alias or routed set."""
        name = intent.name or ""
        cut = zone.delegation(name)
        if cut is not None and intent.zones:
            return False  # it delegates the name by now, to another zone of the list or not: it does not answer for it
        if cut is not None:
            self.plan.draft.refuse(
                "delegated",
                f"{name} lies below {cut}, which zone {zone.name} delegates elsewhere",
                hint=f"use the zone of {cut} (`zone:`), or `zone: manual`",
                address=address,
                source=intent.source,
            )
            return False
        for record in zone.at(name):
            if record.type == "CNAME" and intent.type != "CNAME":
                self.plan.draft.refuse(
                    "cname-in-the-way",
                    f"{name} is a CNAME to {' '.join(record.values)}, so it can have no {intent.type}",
                    hint="remove the CNAME, or declare the record where it points",
                    address=address,
                    source=intent.source,
                )
                return False
            if intent.type == "CNAME" and record.type != "CNAME":
                hint = f"remove the {record.type} records of {name}, or choose another name"
                if intent.group == "tracking":
                    hint = (
                        f"choose another custom_redirect_domain; take the {record.type} records out only if nothing "
                        "needs them: links in mail already sent may go through them"
                    )
                self.plan.draft.refuse(
                    "name-taken",
                    f"{name} has {record.type} records, so the CNAME that is needed cannot be created",
                    hint=hint,
                    address=address,
                    source=intent.source,
                )
                return False
            if record.type == intent.type and not record.simple:
                self.plan.draft.refuse(
                    "not-simple",
                    f"{name} {record.type} is {record.why_not_simple()}, which recon does not edit",
                    hint="make it a simple record, or write `zone: manual`",
                    address=address,
                    source=intent.source,
                )
                return False
        return True

    def _cname(self, zone: Zone, intent: Intent, address: Address) -> None:
        name, target = intent.name or "", intent.value or ""
        live = next(iter(zone.sets(name, "CNAME")), None)
        if intent.may_change:
            self._unknown_token(zone, intent, address, live)
            return
        if live is None:
            self.plan.create(address, zone, intent, f"{target}")
            return
        there = host(live.values[0]) if live.values else ""
        if (
            there != target
            and intent.seen_in_bulk
            and there.startswith(target.partition(".")[0] + ".")
            and there.endswith(".amazonses.com")
        ):
            target = there  # A bulk read does not return the zone that SES signs from; the token is what must match.
        if there != target:
            self.plan.update(
                address, zone, intent, live, list(live.values), [target], {"value": there}, {"value": target}
            )
            return
        self.plan.right(address, zone, intent, live, list(live.values), lambda: {"value": target})

    def _unknown_token(self, zone: Zone, intent: Intent, address: Address, live: RecordSet | None) -> None:
        """A DKIM record whose token only the run learns: of a new identity, or after a change of the key length, which
        may bring new tokens (AWS does not document it)."""
        ttl = intent.ttl if intent.ttl is not None else (live.ttl if live else None) or 300
        there = host(live.values[0]) if live and live.values else None
        before = {"name": intent.name, "type": "CNAME", "ttl": live.ttl, "value": there} if live else None
        moved = (FieldDiff("ttl", live.ttl, ttl, intent.source),) if live and live.ttl != ttl else ()
        self.plan.changes[address] = RecordChange(
            zone,
            intent.name,
            "CNAME",
            before,
            _of_unknown_token(ttl),
            (FieldDiff("name", intent.name, None), *moved, FieldDiff("value", there, None))
            if live or intent.name
            else _NO_TOKEN,
            remove=live.values if live else (),
            ttl=ttl,
            source=intent.source,
            unknown=("name", "value"),
            region=intent.region,
            notes=(_TOKENS_MAY_CHANGE,) if intent.name is not None else (),
            mark=self._old_token(zone, intent, live, address),
            token={
                "identity": intent.owners[0],
                "number": intent.token,
                "domain": intent.domain,
                "region": intent.region,
            },
        )

    def _old_token(
        self, zone: Zone, intent: Intent, live: RecordSet | None, address: Address
    ) -> dict[str, str] | None:  # fmt: skip
        """What a marker must remember of a token that SES may replace: SES forgets it with the put."""
        identity = self.plan.snapshot.observed.get(intent.owners[0])
        if live is None or identity is None or not (live.simple and live.values):
            return None
        return self.plan.mark(address, identity, zone, live, live.values[0])

    def _mx(self, zone: Zone, intent: Intent, address: Address) -> None:
        name, value = intent.name or "", intent.value or ""
        live = next(iter(zone.sets(name, "MX")), None)
        if live is None:
            self.plan.create(address, zone, intent, value)
            return
        ours = [v for v in live.values if mx_value(v) == mx_value(value)]
        stale = [v for v in live.values if v not in ours and is_feedback(v)] if intent.group == "mail_from" else []
        foreign = [v for v in live.values if v not in ours and v not in stale]
        if foreign:
            self._refuse_other_mx(intent, foreign, address, alone=not ours)
            return
        if not ours or stale:
            gone = [*stale, *ours]
            self.plan.update(
                address,
                zone,
                intent,
                live,
                gone,
                [value],
                {"value": sorted(mx_value(v) for v in gone)},
                {"value": [value]},
            )
            return
        self.plan.right(address, zone, intent, live, ours, lambda: {"value": value})

    def _refuse_other_mx(self, intent: Intent, foreign: list[str], address: Address, *, alone: bool) -> None:
        """Somebody else's MX, alone or beside ours: it stays, and the record cannot become what is declared."""
        mail_from = intent.group == "mail_from"
        reason = "SES needs exactly one MX there" if mail_from else "a null MX must be the only MX (RFC 7505)"
        remedy = "or choose another name" if mail_from else "or drop null_mx: the name receives mail"
        self.plan.draft.refuse(
            "mx-taken" if alone else "mx-not-alone",
            f"{intent.name} {'already' if alone else 'also'} has MX {', '.join(foreign)}; {reason}",
            hint=f"remove {'those values' if len(foreign) > 1 else 'that value'}, {remedy}",
            address=address,
            source=intent.source,
        )

    def _tags(self, zone: Zone, intent: Intent, address: Address) -> None:
        codec = dmarc if intent.group == "dmarc" else bimi
        name, wanted = intent.name or "", dict(intent.tags or {})
        found = [(raw, t) for raw, t in zone.texts(name) if codec.is_record(t)]
        if len(found) > 1:
            self.plan.refuse_several(intent.group, name, (t for _, t in found), address, intent.source)
            return
        live = next(iter(zone.sets(name, "TXT")), None)
        if not found:
            text = codec.to_text(wanted)
            self.plan.create(address, zone, intent, intents.encode(text), {**shown_tags(wanted), "value": text})
            return
        raw, there = found[0]
        old = dict(codec.parse(there))
        if same_tags(intent.group, old, wanted) and live is not None:
            self.plan.right(
                address, zone, intent, live, [raw], lambda: {**shown_tags(wanted), "value": codec.to_text(wanted)}
            )
            return
        text = codec.to_text(wanted)
        assert live is not None
        self.plan.update(
            address,
            zone,
            intent,
            live,
            [raw],
            [intents.encode(text)],
            shown_tags(old),
            shown_tags(wanted, old),
            there,
            text,
        )

    def _dkim_key(self, zone: Zone, intent: Intent, address: Address) -> None:
        name, public = intent.name or "", intent.value or ""
        found = [(raw, t) for raw, t in zone.texts(name) if key_of(t) is not None]
        live = next(iter(zone.sets(name, "TXT")), None)
        value = intents.encode(intents.dkim_key_text(public))
        if others := [t for _, t in zone.texts(name) if key_of(t) is None]:
            self.plan.draft.refuse(
                "key-not-alone",
                f"{name} {'also' if found else 'already'} has the text {' and '.join(map(visible, others))}; the key "
                "must be the only TXT value at its name (RFC 6376 section 3.6.2.2)",
                hint="remove that value, or choose another selector",
                address=address,
                source=intent.source,
            )
            return
        if not found:
            self.plan.create(address, zone, intent, value, {"value": intents.dkim_key_text(public)})
            return
        assert live is not None
        if len(found) > 1:
            self.plan.refuse_several("keys", name, (t for _, t in found), address, intent.source)
            return
        if key_of(found[0][1]) == public:
            self.plan.right(address, zone, intent, live, [found[0][0]], lambda: {"value": found[0][1]})
            return
        self.plan.update(
            address,
            zone,
            intent,
            live,
            [found[0][0]],
            [value],
            {"value": found[0][1]},
            {"value": intents.dkim_key_text(public)},
        )

    def _spf(self, zone: Zone, intent: Intent, address: Address) -> None:
        name = intent.name or ""
        found = [(raw, t) for raw, t in zone.texts(name) if spf.is_record(t, strict=False)]
        if len(found) > 1:
            self.plan.refuse_several("spf", name, (t for _, t in found), address, intent.source)
            return
        live = next(iter(zone.sets(name, "TXT")), None)
        remembered = self.plan.remembered_spf(zone, intent)
        ours_before = list(remembered.spf or [])
        wanted_all = intent.all or ("~all" if remembered.spf_created else None)
        there = found[0][1] if found else None
        shared = self.plan.shared_terms(zone, intent.domain, ours_before, intent.terms) if intent.group == "spf" else {}
        try:
            merged = spf.merge(there, intent.terms, wanted_all, [t for t in ours_before if t not in shared])
        except spf.SpfConflict as conflict:
            self.plan.draft.refuse(
                "spf-conflict", f"{name}: {conflict.message}", hint=conflict.hint, address=address, source=intent.source
            )
            return
        except ValueError as problem:
            self.plan.draft.refuse("spf-conflict", f"{name}: {problem}", address=address, source=intent.source)
            return
        if merged != there:
            intents.encode(merged)  # before the marker claims the terms
        created = remembered.spf_created if there is not None else True
        claimed = None
        if intent.group == "spf":
            wanted = self.plan.markers.setdefault((zone.id, intent.domain), marker.Marker())
            self.plan.spf_compared.add((zone.id, intent.domain))
            made = any(theirs.spf_made for theirs in self.plan.markers_of_others(zone, intent.domain).values())
            if there is not None and not made:
                created = created or self._is_all_declared(there, intent)
            wanted.spf, wanted.spf_created = list(intent.terms), created
            wanted.spf_shared = not created and (remembered.spf_shared or made)
            claimed = set(intent.terms) <= set(ours_before) and created == remembered.spf_created
        if there is None:
            shown = {**shown_spf(merged, intent.terms), "value": merged}
            self.plan.create(address, zone, intent, intents.encode(merged), shown)
            return
        assert live is not None
        if not (created if intent.group == "spf" else spf.remove(there, intent.terms, True) is None):
            intent = intent._replace(ttl=None)  # others put values into this record: they decide on its TTL
        if merged == there:
            self.plan.right(
                address,
                zone,
                intent,
                live,
                [found[0][0]],
                lambda: {**shown_spf(merged, intent.terms), "value": merged},
                claimed,
            )
            return
        after = shown_spf(merged, intent.terms)
        before = shown_spf(there, dict.fromkeys((*intent.terms, *ours_before)))
        if before == after:
            before, after = {"value": there}, {"value": merged}
        self.plan.update(
            address, zone, intent, live, [found[0][0]], [intents.encode(merged)], before, after, there, merged
        )

    @staticmethod
    def _is_all_declared(there: str, intent: Intent) -> bool:
        """Whether an SPF record has nothing but what is declared, its ``all``, too; or the ``all`` that recon gives a
        record by itself, as of one that was let go and is declared again. What would be left of it without its terms
        says that nobody may send."""
        if spf.remove(there, intent.terms, True) is not None:
            return False
        end = spf.parse(there).all
        return intent.all is not None or (end is not None and end.text.lower() == "~all")

    def _add_ownership(self, intent: Intent, address: Address) -> None:
        """Have a tag or marker remember that the record's group is ours, and order tag, record and put."""
        planned = self.plan.changes[address]
        self.plan.of_domain.setdefault(intent.domain, []).append(planned)
        for owner in intent.owners:
            planned.depends |= {owner}
            if not planned.claims:
                self.plan.draft.make_part(owner)
            planned.needs += needs_of((owner,), "create", "claim")
            if intent.group != "spf":
                self.plan.written.setdefault(owner, set()).add(intent.group)
        if planned.token is None and not planned.claims:
            self._put_after(intent, address)
        if planned.token is not None:
            planned.needs += (Need(planned.token["identity"], "dkim"),)
        claim = intents.claimed_in_marker(intent)
        if self.plan.is_in_marker(intent):
            self.plan.markers.setdefault((planned.zone.id, intent.domain), marker.Marker()).groups.add(claim)
        if claim and (others := self.plan.other_claimants(planned.zone, intent.domain, claim)):
            words = f"it is also what the recon stack {_quoted(others)} declares, and goes with the last of them"
            planned.notes += (Note("shared", "note", words),)

    def _put_by_us(self, intent: Intent) -> bool:
        """Whether the tags of a live set of this stack say that the record at this very name is ours: then what differs
        is drift. Where it serves HTTPS the record is the CDN's."""
        return any(
            live.kind == TRACKING_KIND
            and self.plan.snapshot.owns(live)
            and intent.name in published(live.tags, tracking_option(live))
            and not intents.tracks_over_https(live.spec)
            for live in self.plan.snapshot.observed.values()
        )

    def _put_after(self, intent: Intent, address: Address) -> None:
        """Have a live identity change its MAIL FROM or its key only once the record is there."""
        if intent.group == "mail_from" or intent.style == "dkim_key":
            for owner in [one for one in intent.owners if one in self.plan.snapshot.observed]:
                self.plan.draft.add_order(owner, before=[address])


def _quoted(scopes: list[str]) -> str:
    return " and ".join(f'"{scope}"' for scope in scopes)


def _wanted_value(intent: Intent) -> str | None:
    """The declared value in words; None where only SES knows it."""
    if intent.style == "tags":
        tags = dict(intent.tags or {})
        return dmarc.to_text(tags) if intent.group == "dmarc" else bimi.to_text(tags)
    if intent.style == "spf" and intent.group == "spf":
        return f"a v=spf1 record with {' '.join(intent.terms)}"
    if intent.style == "spf":
        return spf.merge(None, intent.terms, intent.all)
    if intent.style == "dkim_key" and intent.value:
        return intents.dkim_key_text(intent.value)
    return intent.value
