"""DNS: names that hide each other, and records that need each other."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.mail import bimi
from reconciler.names import from_route53, is_below, parents
from reconciler.rules.registry import RawFinding, rule
from reconciler.rules.view import RuleView

_LONG_TTL = 86_400


def _written(view: RuleView) -> Iterator[tuple[str, str, str]]:
    """(address, owner name, type) of every record that the plan creates or changes."""
    for change in view.changes:
        if change.kind != "dns_record" or change.action == "delete":
            continue
        _, _, rest = change.address.split("/", 2)
        name, _, kind = rest.rpartition("/")
        domain, dkim, _ = name.partition(":")  # a name that holds a DKIM token: known only to lie below _domainkey
        yield change.address, f"_domainkey.{domain}" if dkim else from_route53(name), kind


@rule(
    "dns-hidden-by-cname",
    "error",
    "A record of ours shares its name with a CNAME",
    "RFC 1034 section 3.6.2: a CNAME stands alone",
)
def hidden_by_cname(view: RuleView) -> Iterator[RawFinding]:
    """Resolvers follow the CNAME and never see the record beside it."""
    for address, name, kind in _written(view):
        other = view.dns_after.get((name, "CNAME"))
        if kind != "CNAME" and other is not None:
            yield RawFinding(
                address,
                f"{name} is a CNAME to {', '.join(other.values) or 'an alias'}: resolvers never see a {kind} there",
                "take the CNAME out, or use another name",
                new=True,
            )
        elif kind == "CNAME" and other is not None:
            beside = sorted(view.types_after.get(name, frozenset()) - {"CNAME"})
            if beside:
                yield RawFinding(
                    address,
                    f"{name} already holds {', '.join(beside)}: a CNAME cannot stand beside it",
                    "use another name",
                    hurts=any((name, k) in view.dns_before for k in beside),
                )


@rule(
    "dns-below-delegation", "warning", "A record below a delegation", "RFC 1034 section 4.2.1: the child zone answers"
)
def below_delegation(view: RuleView) -> Iterator[RawFinding]:
    """An NS set between the zone's apex and the name sends resolvers elsewhere."""
    for address, name, _ in _written(view):
        zone = address.split("/", 2)[1]
        for candidate in (name, *parents(name)):
            if candidate == zone or not is_below(candidate, zone):
                break
            if (candidate, "NS") in view.dns_after:
                yield RawFinding(
                    address,
                    f"{candidate} is delegated to other name servers: nobody sees {name} in the zone {zone}",
                    f"declare the zone id of {candidate}, or zone: manual",
                )
                break


@rule(
    "dns-ends-wildcard",
    "warning",
    "A new name ends a wildcard's answers for it",
    "RFC 4592 section 2.2.1: a name that exists hides the wildcard",
)
def ends_wildcard(view: RuleView) -> Iterator[RawFinding]:
    """Other types that the wildcard answers for the name, or for names above it that come into being, stop."""
    seen: set[str] = set()
    for address, name, kind in _written(view):
        zone = address.split("/", 2)[1]
        if zone not in view.zones:
            continue
        for candidate in (name, *parents(name)):
            if candidate in seen or not is_below(candidate, zone):
                break
            if candidate in view.existing_names:
                break
            seen.add(candidate)
            if candidate.startswith("_"):
                continue  # nobody asks these names for what a wildcard answers
            types = _wildcard_types(view, candidate, zone) - {kind if candidate == name else ""}
            if types:
                yield RawFinding(
                    address,
                    f"{candidate} comes into being, so the wildcard above it no longer answers "
                    f"{', '.join(sorted(types))} for it",
                    f"add what {candidate} should answer, if anybody uses it",
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


@rule(
    "dns-null-mx-receives",
    "error",
    "A null MX on a name that receives mail",
    "RFC 7505 section 3: it must be the only MX",
)
def null_mx_receives(view: RuleView) -> Iterator[RawFinding]:
    """Live MX values give way to ".": mail to the domain is refused everywhere."""
    for entry in view.domains:
        if entry.values.get("null_mx") is not True:
            continue
        live = view.lookup(entry.name, "MX", "before")
        hosts = [value for value in live or () if value.split()[-1:] not in ([], ["."])]
        if hosts:
            yield RawFinding(
                view.record_address(entry.name, "MX"),
                f"{entry.name} receives mail at {', '.join(hosts)}; a null MX refuses all of it",
                "take null_mx out, or move the mailboxes first",
                hurts=True,
            )


@rule(
    "dns-null-mx-sends",
    "warning",
    "A null MX on a domain that sends",
    "RFC 7505 section 4.2: receivers may refuse mail from it",
)
def null_mx_sends(view: RuleView) -> Iterator[RawFinding]:
    """Nobody can answer, and some receivers refuse the mail for that."""
    for entry in view.domains:
        if entry.values.get("null_mx") is True and any(i.after is not None for i in view.identities_for(entry.name)):
            yield RawFinding(
                view.record_address(entry.name, "MX"),
                f"{entry.name} sends, and says by a null MX that it takes no mail: some receivers refuse its mail",
                "take null_mx out, or write identity: false",
            )


@rule(
    "dns-long-ttl",
    "note",
    "A record that stays in caches for more than a day",
    "RFC 1035 section 3.2.1; SES looks for records again and again for 72 hours",
)
def long_ttl(view: RuleView) -> Iterator[RawFinding]:
    """A mistake in it lasts as long."""
    for entry in view.domains:
        ttl = entry.values.get("ttl")
        if isinstance(ttl, int) and ttl > _LONG_TTL:
            yield RawFinding(
                view.record_address(f"_dmarc.{entry.name}", "TXT"),
                f"ttl {ttl} of {entry.name}: a mistake stays in caches for {ttl // 3600} hours",
                "3600 is plenty for mail records",
            )


def _bimi(view: RuleView) -> Iterator[tuple[str, dict[str, str]]]:
    """Domains that will have a BIMI record with a logo, and its tags."""
    for domain in view.domain_names:
        texts = view.lookup(f"default._bimi.{domain}", "TXT")
        entry = view.entry(domain)
        declared = entry.values.get("bimi") if entry else None
        if declared is not None:
            tags = bimi.from_yaml(declared)
        else:
            found = [text for text in texts or () if bimi.is_record(text)]
            tags = bimi.parse(found[0]) if len(found) == 1 else {}
        if tags.get("l"):
            yield domain, tags


@rule(
    "bimi-not-enforced",
    "warning",
    "A BIMI logo without DMARC enforcement",
    "BIMI draft: p (and sp) quarantine or reject",
)
def bimi_not_enforced(view: RuleView) -> Iterator[RawFinding]:
    """Receivers show no logo for a domain whose policy does not enforce, or exempts subdomains."""
    for domain, _ in _bimi(view):
        policy = view.policy(domain)
        if policy is None:
            continue
        problem = ""
        if not policy.enforces:
            problem = f"DMARC is at p={policy.tags.get('p', 'none')}" + (
                " with t=y" if policy.tags.get("t") == "y" else ""
            )
        elif policy.tags.get("sp") == "none":
            problem = "DMARC has sp=none"
        elif policy.tags.get("pct", "100") != "100":
            problem = f"DMARC has pct={policy.tags['pct']}"
        if problem:
            yield RawFinding(
                view.record_address(f"default._bimi.{domain}", "TXT"),
                f"the logo of {domain} will not be shown: {problem}",
                "bring DMARC to p: quarantine or p: reject, for subdomains too",
            )


@rule(
    "bimi-no-certificate",
    "note",
    "A BIMI logo without a certificate",
    "BIMI draft: a=; Gmail and Apple ask for a VMC or CMC",
)
def bimi_no_certificate(view: RuleView) -> Iterator[RawFinding]:
    """No a tag."""
    for domain, tags in _bimi(view):
        if not tags.get("a"):
            yield RawFinding(
                view.record_address(f"default._bimi.{domain}", "TXT"),
                f"the logo of {domain} has no certificate: few receivers show it",
                "get a VMC or CMC and name its PEM file in a",
            )
