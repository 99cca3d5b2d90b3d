"""Records that stay although the entry of their domain or set goes: named, with the reason and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reconciler.kinds.ownership import PROTECT, TRACKING, unpack
from reconciler.kinds.snapshot import Snapshot
from reconciler.mail import bimi, dmarc, spf
from reconciler.model import Observed
from reconciler.names import parents
from reconciler.resources.dns_record import TRACKING_KIND, intents, marker
from reconciler.resources.dns_record.record_plan import RecordPlan
from reconciler.resources.dns_record.values import (
    MAIL_FROM_TERMS,
    host,
    is_feedback,
    mail_from_names,
    mx_value,
    tracking_option,
)
from reconciler.resources.dns_record.zones import Zone


def name_what_stays(plan: RecordPlan) -> None:
    """A note ``left`` for each record that looks like one of a domain or set that this plan deletes, and that stays."""
    removed = {(planned.zone.id, planned.name, raw) for planned in plan.changes.values() for raw in planned.remove}
    told: set[tuple[str, str, str]] = set()
    for live in plan.snapshot.observed.values():
        if not _goes(plan, live):
            continue
        for zone, name, type_, raw, what in _of(plan, live):
            if (zone.id, name, raw) in removed | told:
                continue
            told.add((zone.id, name, raw))
            plan.draft.say(
                "note",
                "left",
                f"{what} stays: no tag or marker of this stack names it, so somebody else may have put it there",
                hint=f"delete {name} {type_} from the zone {zone.id} by hand, or declare it once more, apply, and take "
                "it out again",
                address=plan.address(zone, name, type_),
            )
        if live.kind == "email_identity" and not plan.index.candidates(live.name):
            _name_by_hand(plan, live)


def _goes(plan: RecordPlan, live: Observed) -> bool:
    """Whether this plan deletes ``live`` and its domain is declared no more, not even without an identity."""
    snapshot = plan.snapshot
    if live.address in snapshot.desired or not snapshot.owns(live) or live.tags.get(PROTECT) == "true":
        return False
    if snapshot.unknown(live.address) or "@" in live.name or live.name in plan.identities:
        return False
    return live.kind in ("email_identity", TRACKING_KIND) and plan.goes(live.name)


def _of(plan: RecordPlan, live: Observed) -> Iterator[tuple[Zone, str, str, str, str]]:
    """(zone, name, type, value, what it is) of the records that the entry of ``live`` may have had."""
    domain = live.name
    if live.kind == TRACKING_KIND:
        name = tracking_option(live) or ""
        others = [tracking_option(o) for o in plan.snapshot.live(TRACKING_KIND) if o.address != live.address]
        for zone in plan.zones_of(name) if name and name not in others and (name, "CNAME") not in plan.wanted else ():
            for record in () if plan.other_claimants(zone, name, f"tracking:{name}") else zone.sets(name, "CNAME"):
                yield from ((zone, name, "CNAME", raw, f"the CNAME of {name}") for raw in record.values)
        return
    for zone in plan.zones_of(domain):
        for group, codec in (("dmarc", dmarc), ("bimi", bimi)):
            if plan.other_claimants(zone, domain, group):
                continue  # named already
            name = intents.name_of_claim(group, domain)
            for raw, text in zone.texts(name):
                if codec.is_record(text):
                    yield zone, name, "TXT", raw, f"the {group.upper()} record of {domain}"
        for raw, text in zone.texts(domain):
            if spf.is_record(text, strict=False) and spf.terms_present(text, MAIL_FROM_TERMS):
                yield zone, domain, "TXT", raw, f"the SPF record of {domain} with {' '.join(MAIL_FROM_TERMS)}"
        for record in () if plan.other_claimants(zone, domain, "null_mx") else zone.sets(domain, "MX"):
            yield from (
                (zone, domain, "MX", r, f"the null MX of {domain}") for r in record.values if mx_value(r) == "0 ."
            )


def _name_by_hand(plan: RecordPlan, live: Observed) -> None:
    """The records that SES gave ``live``, where no zone of this account can hold them."""
    names = [f"{token}._domainkey.{live.name} CNAME" for token in sorted(live.facts.get("tokens") or ())]
    if live.spec["dkim"]["signing_attributes_origin"] != "AWS_SES":
        names = []
    if block := live.spec["mail_from"]:
        names += [f"{block['mail_from_domain']} {type_}" for type_ in ("MX", "TXT")]
    if names:
        plan.draft.say(
            "note",
            "left",
            f"records of {live.name} may stay in DNS that recon does not hold: {', '.join(names)}",
            hint="delete them there once the identity is gone",
            address=live.address,
        )


def underived(snapshot: Snapshot) -> Iterator[tuple[str, str, str]]:
    """(zone, name, type) of each record that has the form of SES's, and that no declared or live resource and no marker
    of ours has. The zone as in addresses."""
    places = intents.zone_places(snapshot)
    known: set[str | None] = set()
    for live in snapshot.observed.values():
        if live.kind == "email_identity":
            known |= mail_from_names(live)
            known |= {f"{token}._domainkey.{live.name}" for token in live.facts.get("tokens") or ()}
        elif live.kind == TRACKING_KIND:
            known |= {tracking_option(live), *unpack(live.tags, TRACKING)}
    found = [
        (zone, name, type_)
        for zone in snapshot.zones.values()
        if zone.loaded and not zone.private
        for (name, type_), records in zone.records.items()
        if type_ in ("CNAME", "MX") and name not in known and any(_is_ses(name, type_, r.values) for r in records)
    ]
    if found:  # seldom: what is declared is live, too
        known |= {intent.name for intent in intents.of_state(snapshot)}
    for zone, name, type_ in found:
        own = (own.name for own in _remembered(zone, name, snapshot.state.stack.scopes))
        if name not in known and name not in own:
            yield places[zone.id], name, type_


def _is_ses(name: str, type_: str, values: tuple[str, ...]) -> bool:
    if type_ == "MX":
        return any(is_feedback(value) for value in values)
    end = ".amazonses.com" if "._domainkey." in name else ".awstrack.me"
    return any(host(value).endswith(end) for value in values)


def _remembered(zone: Zone, name: str, scopes: Iterable[str]) -> Iterator[marker.Own]:
    """The exact records in our markers at or above a name."""
    for domain in (name, *parents(name)):
        texts = [text for _, text in zone.texts(marker.name_for(domain))]
        for scope in scopes if texts else ():
            yield from marker.read(texts, scope).own
