"""Which records the declared state derives: the DNS half of every declaration, as plain data.

Sources: SES Developer Guide "Easy DKIM", "BYODKIM", "Using a custom MAIL FROM domain", "Custom open and click domains";
RFC 7208 (SPF), RFC 9989 (DMARC), RFC 7505 (null MX), the BIMI draft.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from reconciler import regions
from reconciler.kinds.snapshot import Snapshot, ref_key
from reconciler.mail import bimi, dmarc, spf, txt
from reconciler.model import Address, Desired, Entry, Source
from reconciler.names import parents
from reconciler.resources import RECORD_GROUPS
from reconciler.resources.dns_record import TRACKING_KIND
from reconciler.resources.dns_record.zones import names_in_addresses

ValueForm = Literal["cname", "mx", "tags", "spf", "dkim_key"]


HTTPS_POLICIES = {"REQUIRE", "REQUIRE_OPEN_ONLY"}


class Intent(NamedTuple):
    """One record that should be there.

    ``name``/``value`` are None while SES has not given the token; ``tags`` (DMARC, BIMI), ``terms`` and ``all`` (SPF)
    hold structured values; ``token`` is the 1-based place of a DKIM token. ``owners`` are the live or declared
    resources whose tag remembers the record's group; ``domain`` is the declared name it belongs to.
    """

    domain: str
    group: str
    style: ValueForm
    type: str
    name: str | None
    value: str | None
    source: Source
    zone: str | None
    """The zone that the YAML names: an id, ``auto`` or ``manual``; of a list one of them."""
    region: str | None = None
    ttl: int | None = None
    tags: Mapping[str, str] | None = None
    terms: tuple[str, ...] = ()
    all: str | None = None
    token: int = 0
    owners: tuple[Address, ...] = ()
    may_change: bool = False
    """SES may replace the live token (a key length changes): the record is written after that."""
    seen_in_bulk: bool = False
    """A bulk read does not return which zone SES signs from: any of SES's targets for the token is right."""
    zones: tuple[str, ...] = ()
    """The ids of the YAML's list of zones, where it has one: then there is one intent for each."""


def of_state(snapshot: Snapshot) -> Iterator[Intent]:
    """Every record that the declared state asks for, once for each zone that it is written to, in the order of the
    YAML."""
    if snapshot.removing:
        return iter(())
    lists = any(isinstance(entry.values.get("zone"), list) for entry in snapshot.state.section("domains"))
    return _for_each_zone(_of_state(snapshot)) if lists else _of_state(snapshot)


def _for_each_zone(found: Iterable[Intent]) -> Iterator[Intent]:
    for intent in found:
        named = intent.zone
        if not isinstance(named, list):
            yield intent
            continue
        ids = tuple(zone for zone in named if zone != "manual")
        yield from (intent._replace(zone=zone, zones=ids) for zone in named)


def each_once(found: Iterable[Intent]) -> Iterator[Intent]:
    """The records without those that are the same in another zone: what public DNS is asked for."""
    seen = set[tuple[object, ...]]()
    for one in found:
        key = (one.domain, one.group, one.type, one.name, one.region, one.token)
        if key not in seen:
            seen.add(key)
            yield one


def _of_state(snapshot: Snapshot) -> Iterator[Intent]:
    by_domain: dict[str, list[Desired]] = {}
    for desired in snapshot.kind("email_identity"):
        if desired.entry.section == "domains":
            by_domain.setdefault(desired.name, []).append(desired)
    for entry in snapshot.state.section("domains"):
        if entry.region is not None:
            continue
        identities = by_domain.get(entry.name, [])
        yield from _own(entry, identities)
        for desired in identities:
            yield from _dkim(snapshot, entry, desired)
            yield from _mail_from(entry, desired)
    yield from _tracking(snapshot)


def _own(entry: Entry, identities: list[Desired]) -> Iterator[Intent]:
    """DMARC, BIMI, SPF and null MX: what is the domain's own, with or without identities."""
    values = entry.values
    owners = tuple(d.address for d in identities)

    def record(group: str, style: ValueForm, type_: str, name: str, value: str | None = None, **more: Any) -> Intent:
        source = entry.source_of(group)
        zone, ttl = values.get("zone"), values.get("ttl")
        return Intent(entry.name, group, style, type_, name, value, source, zone, ttl=ttl, owners=owners, **more)

    if values.get("dmarc") is not None:
        yield record("dmarc", "tags", "TXT", f"_dmarc.{entry.name}", tags=dmarc.from_yaml(values["dmarc"]))
    if values.get("bimi") is not None:
        yield record("bimi", "tags", "TXT", f"default._bimi.{entry.name}", tags=bimi.from_yaml(values["bimi"]))
    if values.get("spf") is not None:
        wanted = spf.from_yaml(values["spf"])
        yield record("spf", "spf", "TXT", entry.name, terms=wanted.terms, all=wanted.all)
    if values.get("null_mx"):
        yield record("null_mx", "mx", "MX", entry.name, "0 .")


def _dkim(snapshot: Snapshot, entry: Entry, desired: Desired) -> Iterator[Intent]:
    values = desired.entry.values
    if "dkim" in (values.get("unmanaged") or ()) or snapshot.unknown(desired.address):
        return
    block = desired.spec.get("dkim") or {}
    live = snapshot.observed.get(desired.address)
    origin = block.get("signing_attributes_origin") or (
        live.spec["dkim"]["signing_attributes_origin"] if live else "AWS_SES"
    )
    if regions.deterministic_parent(origin):
        return  # A replica signs with its parent's records (SES Developer Guide, "Deterministic Easy DKIM").
    zone, ttl, source = entry.values.get("zone"), entry.values.get("ttl"), desired.entry.source_of("dkim")
    if origin == "EXTERNAL":
        reference = block.get("domain_signing_private_key")
        selector = block.get("domain_signing_selector")
        if reference and selector:
            yield Intent(
                desired.name,
                "dkim",
                "dkim_key",
                "TXT",
                f"{selector}._domainkey.{desired.name}",
                snapshot.keys[ref_key(reference)],
                source,
                zone,
                desired.region,
                ttl,
                owners=(desired.address,),
            )
        return
    tokens: list[str] = []
    may_change = False
    if live is not None and live.spec["dkim"]["signing_attributes_origin"] == "AWS_SES":
        tokens = sorted(live.facts.get("tokens") or ())
        length = block.get("next_signing_key_length")
        may_change = bool(length) and length != live.spec["dkim"]["next_signing_key_length"]
    hosted = (live.facts.get("signing_hosted_zone") if live else None) or regions.dkim_zone(desired.region or "")
    bulk = bool(live and live.facts.get("bulk"))
    for number in (1, 2, 3):
        token = tokens[number - 1] if number <= len(tokens) and hosted else None
        yield Intent(
            desired.name,
            "dkim",
            "cname",
            "CNAME",
            f"{token}._domainkey.{desired.name}" if token else None,
            f"{token}.{hosted}" if token else None,
            source,
            zone,
            desired.region,
            ttl,
            token=number,
            owners=(desired.address,),
            may_change=may_change,
            seen_in_bulk=bulk,
        )


def _mail_from(entry: Entry, desired: Desired) -> Iterator[Intent]:
    block = desired.spec.get("mail_from")
    if not block:
        return
    name, region = block["mail_from_domain"], desired.region or ""
    zone, ttl = entry.values.get("zone"), entry.values.get("ttl")
    source = desired.entry.source_of("mail_from.mail_from_domain")
    yield Intent(
        desired.name,
        "mail_from",
        "mx",
        "MX",
        name,
        regions.feedback_mx(region),
        source,
        zone,
        region,
        ttl,
        owners=(desired.address,),
    )
    yield Intent(
        desired.name,
        "mail_from",
        "spf",
        "TXT",
        name,
        None,
        source,
        zone,
        region,
        ttl,
        terms=("include:amazonses.com",),
        all="~all",
        owners=(desired.address,),
    )


def _tracking(snapshot: Snapshot) -> Iterator[Intent]:
    """One CNAME for each tracking domain and region, however many sets use it; HTTPS ones point at the user's CDN."""
    seen: dict[tuple[str, str], list[Address]] = {}
    first: dict[tuple[str, str], Desired] = {}
    for desired in snapshot.kind(TRACKING_KIND):
        block = desired.spec.get("tracking_options") or {}
        live = snapshot.observed.get(desired.address)
        was = (live.spec.get("tracking_options") or {}) if live else {}
        domain = block.get("custom_redirect_domain", was.get("custom_redirect_domain") if block else None)
        policy = block.get("https_policy", was.get("https_policy"))
        if domain and policy not in HTTPS_POLICIES:
            seen.setdefault((domain, desired.region or ""), []).append(desired.address)
            first.setdefault((domain, desired.region or ""), desired)
    entries = own_entries(snapshot)
    for (domain, region), owners in seen.items():
        desired = first[domain, region]
        covering = covering_entry(entries, domain)
        yield Intent(
            domain,
            "tracking",
            "cname",
            "CNAME",
            domain,
            regions.tracking_target(region),
            desired.source_of("tracking_options.custom_redirect_domain"),
            covering.values.get("zone") if covering else None,
            region,
            covering.values.get("ttl") if covering else None,
            owners=tuple(owners),
        )


OWN_GROUPS = tuple(name for name, (_, group) in RECORD_GROUPS.items() if not group.listed)
"""The groups of a domain's own records: one record each, at a name that follows from the domain."""


def claim_of(group: str, name: str | None) -> str:
    """What a marker's ``groups`` say of a record that other stacks may declare, too: its group, with its name where
    that does not follow from the domain."""
    return group if group in OWN_GROUPS else f"{group}:{name}"


def name_of_claim(claim: str, domain: str) -> str:
    """The name of the record that a claim in the marker of ``domain`` is about."""
    return next(RECORD_GROUPS[claim][1].record_names(domain, ())) if claim in OWN_GROUPS else claim.partition(":")[2]


def claimed_in_marker(intent: Intent) -> str:
    """``claim_of`` a record; empty for SPF terms, which have a line of their own, and for what only one identity
    derives: the names with its DKIM tokens."""
    spf_terms, token = intent.group == "spf", intent.group == "dkim" and intent.style == "cname"
    return "" if spf_terms or token else claim_of(intent.group, intent.name)


def tracks_over_https(spec: Mapping[str, Any]) -> bool:
    """Whether the tracking domain of a live or declared set is a CDN's, which has the certificate."""
    return (spec.get("tracking_options") or {}).get("https_policy") in HTTPS_POLICIES


def anchor(intent: Intent) -> str:
    """A name in the zone that holds the record: its own, or one beside it while SES has not given the token."""
    return intent.name or f"token._domainkey.{intent.domain}"


def label(intent: Intent) -> str:
    """The name of the record in its address: for a DKIM token its number, since the token itself may change."""
    return f"{intent.domain}:dkim:{intent.region}:{intent.token}" if intent.token else anchor(intent)


def own_entries(snapshot: Snapshot) -> dict[str, Entry]:
    """The domains' own entries (zone, dmarc, ttl ...) by name."""
    return {e.name: e for e in snapshot.state.section("domains") if e.region is None}


def zones_named(entry: Entry | None) -> tuple[str | None, ...]:
    """The zones that the YAML names for a domain: ids, ``auto``, ``manual``; None alone where it names none."""
    zone = entry.values.get("zone") if entry is not None else None
    return tuple(zone) if isinstance(zone, list) else (zone,)


def zones_written(snapshot: Snapshot) -> Iterator[str | None]:
    """The zones that the YAML names for its domains, in its order."""
    for entry in snapshot.state.section("domains"):
        if "zone" in entry.values and entry.region is None:
            yield from zones_named(entry)


def zone_places(snapshot: Snapshot) -> dict[str, str]:
    """``names_in_addresses`` of the zones that were listed, for the zones that the YAML names."""
    return names_in_addresses(snapshot.zones, zones_written(snapshot))


def covering_entry(entries: Mapping[str, Entry], name: str) -> Entry | None:
    """The declared domain at or nearest above ``name``: its ``zone`` and ``ttl`` hold for records of that name."""
    return next((entries[n] for n in (name, *parents(name)) if n in entries), None)


def dkim_key_text(public: str) -> str:
    """The TXT of a BYODKIM public key (SES Developer Guide, "BYODKIM": ``p=`` alone)."""
    return f"p={public}"


def encode(text: str) -> str:
    return txt.encode(text)
