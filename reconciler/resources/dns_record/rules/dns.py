"""BIMI: the logo that receivers show beside a message; and records that hide or affect each other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from reconciler.mail import bimi, dmarc, spf
from reconciler.mail.tags import visible
from reconciler.model import Address, Entry
from reconciler.names import at_or_above, from_route53, is_at_or_below, is_below, parents
from reconciler.rules import registry
from reconciler.rules.registry import Problem, RawFinding, RuleFor, Tags
from reconciler.rules.view import Resource, RuleView

# --- BIMI ---------------------------------------------------------------------------------------------------------


def _logos(view: RuleView) -> Iterator[tuple[str, Tags]]:
    """The domains that have a BIMI record with a logo after apply, and its tags."""
    for domain in view.domain_names:
        texts = view.lookup(f"default._bimi.{domain}", "TXT")
        entry = view.entry(domain)
        declared = entry.values.get("bimi") if entry else None
        if declared is not None:
            tags = bimi.from_yaml(declared)
        else:
            found = [text for text in texts or () if bimi.is_record(text, strict=True)]
            tags = bimi.parse(found[0]) if len(found) == 1 else {}
        if tags.get("l"):
            yield domain, tags


logo_rule = RuleFor(
    lambda view: ((view.record_address(f"default._bimi.{name}", "TXT"), name, tags) for name, tags in _logos(view)),
    "BIMI", "dns_record/acme.com/default._bimi.acme.com/TXT",
)  # fmt: skip


@logo_rule("bimi-not-enforced", "warning", "A BIMI logo without DMARC enforcement")
def not_enforced(view: RuleView, domain: str, tags: Tags) -> Iterator[Problem]:
    """A BIMI record has a logo, and DMARC is not enforced for the domain and its subdomains.

    Why: Receivers show a logo only if DMARC enforces `quarantine` or `reject` for all mail, without `sp=none`.
    Fix: Bring DMARC to `p: quarantine` or `p: reject` first.
    Source: BIMI draft: p (and sp) quarantine or reject
    """
    policy = view.policy(domain)
    if policy is None:
        return
    problem = ""
    if not policy.enforces:
        problem = f"p={policy.tags.get('p', 'none')}" + (" and t=y" if policy.tags.get("t") == "y" else "")
    elif policy.tags.get("sp") == "none":
        problem = "sp=none"
    elif policy.tags.get("pct", "100") != "100":
        problem = f"pct={policy.tags['pct']}"
    if problem:
        yield Problem(
            f"receivers will not show the logo of {domain}, because its DMARC record has {problem}"
            if policy.owner
            else f"receivers will not show the logo of {domain}, because it has no DMARC record",
            "bring DMARC to p: quarantine or p: reject, for subdomains, too",
        )


@logo_rule("bimi-no-certificate", "note", "A BIMI logo without a certificate")
def no_certificate(view: RuleView, domain: str, tags: Tags) -> Iterator[Problem]:
    """A BIMI record has a logo and no certificate (`a`).

    Why: Gmail and Apple show a logo only with a certificate (VMC or CMC).
    Fix: Get a certificate and name its PEM file: `bimi: {l: ..., a: "https://acme.com/vmc.pem"}`.
    Source: BIMI draft: a=; Gmail and Apple ask for a VMC or CMC
    """
    if not tags.get("a"):
        yield Problem(
            f"the logo of {domain} has no certificate: few receivers show it",
            "get a VMC or CMC, and name its PEM file in a",
        )


@logo_rule("bimi-unknown-tag", "warning", "A tag that BIMI does not have")
def unknown_tag(view: RuleView, domain: str, tags: Tags) -> Iterator[Problem]:
    """A BIMI record has a tag that BIMI does not have.

    Why: Receivers ignore such a tag without a word. Most are typing errors.
    Fix: Correct the name of the tag, or remove it.
    Source: draft-brand-indicators-for-message-identification, Assertion Record Definition
    """
    for _, _, what, remedy in bimi.remarks(tags):
        yield Problem(f"the BIMI record of {domain}: {what}", remedy)


# --- other records ------------------------------------------------------------------------------------------------

_LONG_TTL = 86_400


def _discarded(view: RuleView) -> Iterator[tuple[Address, str, str, str]]:
    """(address, name, kind of record, text) of what is meant as a record and receivers do not take for one."""
    names: list[tuple[str, str, Any]] = [(name, "SPF", spf) for name in view.spf_names]
    for domain in view.domain_names:
        names.append((f"default._bimi.{domain}", "BIMI", bimi))
        if view.dmarc_tags(domain) is not None:  # where it is the only one, dmarc-invalid reports it
            names.append((f"_dmarc.{domain}", "DMARC", dmarc))
    for name, kind, codec in names:
        for text in (view.lookup(name, "TXT") if (name, "TXT") in view.dns_after else None) or ():
            if codec.is_record(text, strict=False) and not codec.is_record(text, strict=True):
                yield view.record_address(name, "TXT"), name, kind, text


@RuleFor(_discarded, "DNS records", "dns_record/acme.com/acme.com/TXT")(
    "dns-discarded", "warning", "A record that receivers discard"
)
def discarded(view: RuleView, name: str, kind: str, text: str) -> Iterator[Problem]:
    """After apply, a TXT text is meant as an SPF, DMARC or BIMI record, but does not begin exactly with its version: a
    blank, a line break, an invisible character or a quotation mark stands before it, or something else follows it.

    Why: Receivers discard such a text, although it looks right in most editors. Then there is no record at all.
    Fix: Declare the record: recon mends it in place and keeps the terms of others. Or write it again by hand.
    Source: RFC 7208 section 4.5; RFC 9989, DMARC Policy Discovery
    """
    yield Problem(
        f"receivers do not take this text at {name} for the {kind} record that is meant: {visible(text)[:200]}",
        "declare the record, and recon mends it, or write it again without what stands before or after it",
    )


def _written(view: RuleView) -> Iterator[tuple[str, str, str]]:
    """(address, owner name, type) of every record that the plan creates or changes."""
    for change in view.changes:
        if change.kind != "dns_record" or change.action == "delete":
            continue
        name, kind = change.execution.get("name"), change.execution.get("type")
        if not (name and kind):
            _, _, rest = change.address.split("/", 2)
            name, _, kind = rest.rpartition("/")
            # A name with a DKIM token that SES has not given yet: only its parent, below _domainkey, is known.
            domain, dkim, _ = name.partition(":")
            name = f"_domainkey.{domain}" if dkim else from_route53(name)
        yield change.address, name, kind


_THEME = "DNS records"
rule = partial(registry.rule, theme=_THEME)
written_rule = RuleFor(
    lambda view: ((address, address, name, kind) for address, name, kind in _written(view)),
    _THEME, "dns_record/acme.com/mail.acme.com/TXT",
)  # fmt: skip
mx_rule = RuleFor(
    lambda view: ((view.record_address(e.name, "MX"), e) for e in view.domains if e.values.get("null_mx") is True),
    _THEME, "dns_record/acme.net/acme.net/MX",
)  # fmt: skip
ttl_rule = RuleFor(
    lambda view: ((view.record_address(f"_dmarc.{entry.name}", "TXT"), entry) for entry in view.domains),
    _THEME, "dns_record/acme.com/*",
)  # fmt: skip


@written_rule(
    "dns-hidden-by-cname",
    "error",
    "A record at the same name as a CNAME",
)
def hidden_by_cname(view: RuleView, address: str, name: str, kind: str) -> Iterator[Problem]:
    """The plan writes a record at a name that is a CNAME, or a CNAME at a name that has other records.

    Why: A CNAME must be the only record at its name. Resolvers follow it and ignore all others, and Route 53 rejects
    the change.
    Fix: Delete the CNAME, or use another name.
    Source: RFC 1034 section 3.6.2: a CNAME is alone at its name
    """
    other = view.dns_after.get((name, "CNAME"))
    if kind != "CNAME" and other is not None:
        yield Problem(
            f"{name} is a CNAME to {', '.join(other.values) or 'an alias'}: resolvers do not see a {kind} there",
            "delete the CNAME, or use another name",
            new=True,
        )
    elif kind == "CNAME" and other is not None:
        beside = sorted(view.types_after.get(name, frozenset()) - {"CNAME"})
        if beside:
            yield Problem(
                f"{name} already has {', '.join(beside)}: a CNAME must be the only record at its name",
                "use another name",
                hurts=any((name, k) in view.dns_before for k in beside),
            )


def _zones_with_domains(view: RuleView) -> Iterator[tuple[Address, str]]:
    for zone in sorted({*view.undelegated, *view.hosted} & view.zones_with_domains):
        yield view.record_address(zone, "NS"), zone


zone_rule = RuleFor(_zones_with_domains, _THEME, "dns_record/*")


@zone_rule("dns-undelegated", "warning", "A hosted zone that resolvers do not ask")
def undelegated(view: RuleView, zone: str) -> Iterator[Problem]:
    """The stack has names in a hosted zone whose parent zone, in the same account, has no NS set for it, or one with
    other name servers. With `--check-public-dns` also where public DNS returns other name servers for the zone.

    Why: Resolvers follow the NS records of the parent. They never see what is written into the zone, so SES cannot
    verify the domain and no receiver finds SPF, DKIM or DMARC.
    Fix: Add the NS set that the message names to the parent zone, or name the zone that resolvers ask as `zone:`. Do
    not change the name servers of the parent domain at its registrar: that would break the parent.
    Source: Route 53 Developer Guide, Routing traffic for subdomains; RFC 1034 section 4.2
    """
    public, asked = view.outside_servers.get(zone), view.asked_zones(zone)
    used = [one for one in view.hosted.get(zone, ()) if one.used]
    if asked and any(one.id in asked for one in used):
        return
    if zone in view.undelegated:
        yield Problem(*view.undelegated[zone])
    elif used and asked is not None:
        there = f"of the hosted zone {' and '.join(sorted(asked))}" if asked else ", ".join(public or ()) or "none"
        servers = " or ".join(f"{', '.join(one.servers)} ({one.id})" for one in used)
        yield Problem(
            f"resolvers do not see what hosted zone {' or '.join(one.id for one in used)} ({zone}) holds: the name "
            f"servers of {zone} are others: {there}",
            f"set {servers} where {zone} is registered or delegated; or have `zone:` name the zone that is asked, or "
            "manual",
        )


@zone_rule("dns-several-zones", "note", "Several hosted zones with one name")
def several_zones(view: RuleView, zone: str) -> Iterator[Problem]:
    """The account has several public hosted zones with the name of one that the stack has names in.

    Why: Resolvers ask only the one whose name servers the parent zone or the registrar names. Nobody sees what is
    written into the others.
    Fix: To move between name servers declare both, `zone: [Z1, Z2]`, change the name servers, wait two days for
    caches, and take the old zone out of the list. Otherwise delete the zone that nobody asks.
    Source: Route 53 Developer Guide, Creating a public hosted zone; Making Route 53 the DNS service for a domain that's
    in use
    """
    hosted, asked = view.hosted.get(zone, ()), view.asked_zones(zone)
    if len(hosted) < 2:
        return
    ids = " and ".join(one.id for one in hosted)
    if asked:
        others = ", ".join(one.id for one in hosted if one.id not in asked)
        answers = f"resolvers ask {' and '.join(sorted(asked))}, not {others}" if others else "resolvers ask them all"
        yield Problem(f"the hosted zones {ids} are called {zone}: {answers}", "delete what is not needed any more")
    else:
        servers = "; ".join(f"{one.id}: {', '.join(one.servers)}" for one in hosted if one.servers)
        unsure = "resolvers ask neither" if asked is not None else "this run cannot know which of them resolvers ask"
        yield Problem(
            f"the hosted zones {ids} are called {zone}: {unsure}",
            f"compare the name servers where {zone} is registered ({servers}); --check-public-dns asks public DNS",
        )


@RuleFor(lambda view: ((a, a, z) for a, z in sorted(view.leaving.items())), _THEME, "dns_record/Z0123456789ABC/*")(
    "dns-zone-in-use", "error", "Records deleted from the zone that resolvers ask"
)
def zone_in_use(view: RuleView, address: Address, zone_id: str) -> Iterator[Problem]:
    """A zone was taken out of `zone: [Z1, Z2]`, so its records are deleted, and resolvers still ask that zone: its
    parent zone in the same account says so, or with `--check-public-dns` public DNS. An error where SES has verified an
    identity of the domain. Where neither says which zone resolvers ask, a warning.

    Why: Receivers would find no DKIM, SPF and DMARC records any more, until the name servers are changed. SES would
    find none either, and after some days stop sending.
    Fix: Keep the zone in the list until its name servers are replaced and two days have passed, as long as resolvers
    keep the old ones. Where it is not known which zone resolvers ask, run with `--check-public-dns`.
    Source: Route 53 Developer Guide, Making Route 53 the DNS service for a domain that's in use
    """
    # A record of a DKIM token is addressed by its number: acme.com:dkim:us-east-1:1.
    name = from_route53(address.split("/", 2)[2].rpartition("/")[0].partition(":")[0])
    zone = next((zone for zone, hosted in view.hosted.items() if any(one.id == zone_id for one in hosted)), None)
    if zone and any((one, "NS") in view.dns_before for one in at_or_above(name) if is_below(one, zone)):
        return  # delegated to other name servers: resolvers do not look for it in this zone
    domain = next((one for one in at_or_above(name) if view.entry(one)), name)
    asked = None if zone is None else view.asked_zones(zone)
    if asked is None:
        yield Problem(
            f"this run cannot know whether resolvers still ask the hosted zone {zone_id} for {domain}; its records are "
            "deleted from there",
            "run it with --check-public-dns before you apply; if they do, no receiver finds DKIM, SPF and DMARC",
        )
    elif zone_id in asked:
        yield Problem(
            f"resolvers ask the hosted zone {zone_id} for {zone}, and its records are deleted from there",
            f"keep {zone_id} in `zone:` until the name servers of {zone} are others, and for two days after that",
            hurts=any(_is_in_use(view, one) for one in view.identities if is_at_or_below(one.name, domain)),
        )


def _is_in_use(view: RuleView, identity: Resource) -> bool:
    """Whether SES relies on the records of a live identity: it has verified it, or found its DKIM records. Then a count
    of no mail since yesterday does not help: SES finds the identity unverified some days later."""
    found = identity.facts.get("verification_status"), identity.facts.get("dkim_status")
    return view.flows(identity) or (identity.stays and "SUCCESS" in found)


@written_rule(
    "dns-below-delegation",
    "warning",
    "A record below a delegation",
    example="dns_record/acme.com/_dmarc.shop.acme.com/TXT",
)
def below_delegation(view: RuleView, address: str, name: str, _: str) -> Iterator[Problem]:
    """An NS record between the apex of the zone and the name of a record delegates that name to other name servers.

    Why: Resolvers ask the other name servers and never see this record.
    Fix: Declare the zone id of the delegated zone, or `zone: manual` if it is not in Route 53.
    Source: RFC 1034 section 4.2.1: the child zone answers
    """
    zone = address.split("/", 2)[1]
    for candidate in at_or_above(name):
        if not is_below(candidate, zone):
            break
        if (candidate, "NS") in view.dns_after:
            yield Problem(
                f"{candidate} is delegated to other name servers: resolvers never see {name} in the zone {zone}",
                f"declare the zone id of {candidate}, or zone: manual",
            )
            break


@rule(
    "dns-ends-wildcard",
    "warning",
    "A new name is no longer answered by a wildcard",
    example="dns_record/acme.com/bounce.acme.com/MX",
)
def ends_wildcard(view: RuleView) -> Iterator[RawFinding]:
    """The plan creates a name below a wildcard (`*.acme.com`).

    Why: A wildcard answers only for names that do not exist. A record at a new name creates that name and the missing
    names above it. The wildcard then answers no type for any of them.
    Fix: Add the records that the name needs, if anybody uses it.
    Source: RFC 4592 section 2.2.1: a name that exists hides the wildcard
    """
    seen: set[str] = set()
    for address, name, kind in _written(view):
        zone = address.split("/", 2)[1]
        if zone not in view.zones:
            continue
        for candidate in at_or_above(name):
            if candidate in seen or not is_below(candidate, zone):
                break
            if candidate in view.existing_names:
                break
            seen.add(candidate)
            if candidate.startswith("_"):
                continue  # nobody looks up the types of a wildcard at such a name
            types = _wildcard_types(view, candidate, zone) - {kind if candidate == name else ""}
            if types:
                yield RawFinding(
                    address,
                    f"the plan creates the name {candidate}, so the wildcard above it no longer answers "
                    f"{', '.join(sorted(types))} for it",
                    f"add the records that {candidate} needs, if anybody uses it",
                )


def _wildcard_types(view: RuleView, name: str, zone: str) -> frozenset[str]:
    """The types that a wildcard answers for a name that does not exist: that of its closest encloser (RFC 4592)."""
    for parent in parents(name):
        types = view.types_before.get(f"*.{parent}")
        if types:
            return types
        if parent == zone or parent in view.existing_names:
            break
    return frozenset()


@mx_rule("dns-null-mx-receives", "error", "A null MX on a name that receives mail")
def null_mx_receives(view: RuleView, entry: Entry) -> Iterator[Problem]:
    """A name with `null_mx: true` has mail servers today.

    Why: A null MX declares that the name accepts no mail: all mail to it is rejected.
    Fix: Remove `null_mx`, or move the mailboxes first and delete the old MX by hand.
    Source: RFC 7505 section 3: it must be the only MX
    """
    live = view.lookup(entry.name, "MX", "before")
    hosts = [value for value in live or () if value.split()[-1:] not in ([], ["."])]
    if hosts:
        yield Problem(
            f"{entry.name} receives mail at {', '.join(hosts)}; a null MX rejects all of it",
            "remove null_mx, or move the mailboxes first",
            hurts=True,
        )


@mx_rule("dns-null-mx-sends", "warning", "A null MX on a domain that sends", example="dns_record/acme.com/acme.com/MX")
def null_mx_sends(view: RuleView, entry: Entry) -> Iterator[Problem]:
    """A domain with `null_mx: true` has an identity.

    Why: RFC 7505 allows receivers to reject mail from a domain that accepts none, and nobody can reply to it.
    Fix: Remove `null_mx`, or write `identity: false` if the domain never sends.
    Source: RFC 7505 section 4.2: receivers may refuse mail from it
    """
    if any(i.after is not None for i in view.identities_for(entry.name)):
        yield Problem(
            f"{entry.name} sends, but its null MX declares that it accepts no mail: some receivers reject its mail",
            "remove null_mx, or write identity: false",
        )


@ttl_rule("dns-long-ttl", "note", "A record that stays in caches for more than a day")
def long_ttl(view: RuleView, entry: Entry) -> Iterator[Problem]:
    """`ttl` is longer than a day.

    Why: A mistake stays in caches that long, even after it is fixed.
    Fix: `ttl: 3600` is enough for mail records.
    Source: RFC 1035 section 3.2.1; SES looks for records again and again for 72 hours
    """
    ttl = entry.values.get("ttl")
    if isinstance(ttl, int) and ttl > _LONG_TTL:
        yield Problem(
            f"with ttl {ttl}, a mistake in a record of {entry.name} stays in caches for {ttl // 3600} hours",
            "3600 is enough for mail records",
        )
