"""Records that hide each other, and records that affect each other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from reconciler.names import at_or_above, from_route53, is_below, parents
from reconciler.rules import registry
from reconciler.rules.registry import RawFinding
from reconciler.rules.view import RuleView

rule = partial(registry.rule, theme="DNS records", example="dns_record/acme.com/*")

_LONG_TTL = 86_400


def _written(view: RuleView) -> Iterator[tuple[str, str, str]]:
    """(address, owner name, type) of every record that the plan creates or changes."""
    for change in view.changes:
        if change.kind != "dns_record" or change.action == "delete":
            continue
        _, _, rest = change.address.split("/", 2)
        name, _, kind = rest.rpartition("/")
        # A name with a DKIM token that SES has not given yet: only its parent, below _domainkey, is known.
        domain, dkim, _ = name.partition(":")
        yield change.address, f"_domainkey.{domain}" if dkim else from_route53(name), kind


@rule(
    "dns-hidden-by-cname",
    "error",
    "A record at the same name as a CNAME",
    "RFC 1034 section 3.6.2: a CNAME is alone at its name",
    why="A CNAME must be the only record at its name. Resolvers follow it and ignore all others, and Route 53 rejects "
    "the change.",
    fix="Delete the CNAME, or use another name.",
    example="dns_record/acme.com/mail.acme.com/TXT",
)
def hidden_by_cname(view: RuleView) -> Iterator[RawFinding]:
    """The plan writes a record at a name that is a CNAME, or a CNAME at a name that has other records."""
    for address, name, kind in _written(view):
        other = view.dns_after.get((name, "CNAME"))
        if kind != "CNAME" and other is not None:
            yield RawFinding(
                address,
                f"{name} is a CNAME to {', '.join(other.values) or 'an alias'}: resolvers do not see a {kind} there",
                "delete the CNAME, or use another name",
                new=True,
            )
        elif kind == "CNAME" and other is not None:
            beside = sorted(view.types_after.get(name, frozenset()) - {"CNAME"})
            if beside:
                yield RawFinding(
                    address,
                    f"{name} already has {', '.join(beside)}: a CNAME must be the only record at its name",
                    "use another name",
                    hurts=any((name, k) in view.dns_before for k in beside),
                )


@rule(
    "dns-below-delegation",
    "warning",
    "A record below a delegation",
    "RFC 1034 section 4.2.1: the child zone answers",
    why="Resolvers ask the other name servers and never see this record.",
    fix="Declare the zone id of the delegated zone, or `zone: manual` if it is not in Route 53.",
    example="dns_record/acme.com/_dmarc.shop.acme.com/TXT",
)
def below_delegation(view: RuleView) -> Iterator[RawFinding]:
    """An NS record between the apex of the zone and the name of a record delegates that name to other name servers."""
    for address, name, _ in _written(view):
        zone = address.split("/", 2)[1]
        for candidate in at_or_above(name):
            if not is_below(candidate, zone):
                break
            if (candidate, "NS") in view.dns_after:
                yield RawFinding(
                    address,
                    f"{candidate} is delegated to other name servers: resolvers never see {name} in the zone {zone}",
                    f"declare the zone id of {candidate}, or zone: manual",
                )
                break


@rule(
    "dns-ends-wildcard",
    "warning",
    "A new name is no longer answered by a wildcard",
    "RFC 4592 section 2.2.1: a name that exists hides the wildcard",
    why="A wildcard answers only for names that do not exist. A record at a new name creates that name and the "
    "missing names above it. The wildcard then answers no type for any of them.",
    fix="Add the records that the name needs, if anybody uses it.",
    example="dns_record/acme.com/bounce.acme.com/MX",
)
def ends_wildcard(view: RuleView) -> Iterator[RawFinding]:
    """The plan creates a name below a wildcard (`*.acme.com`)."""
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


@rule(
    "dns-null-mx-receives",
    "error",
    "A null MX on a name that receives mail",
    "RFC 7505 section 3: it must be the only MX",
    why="A null MX declares that the name accepts no mail: all mail to it is rejected.",
    fix="Remove `null_mx`, or move the mailboxes first and delete the old MX by hand.",
    example="dns_record/acme.net/acme.net/MX",
)
def null_mx_receives(view: RuleView) -> Iterator[RawFinding]:
    """A name with `null_mx: true` has mail servers today."""
    for entry in view.domains:
        if entry.values.get("null_mx") is not True:
            continue
        live = view.lookup(entry.name, "MX", "before")
        hosts = [value for value in live or () if value.split()[-1:] not in ([], ["."])]
        if hosts:
            yield RawFinding(
                view.record_address(entry.name, "MX"),
                f"{entry.name} receives mail at {', '.join(hosts)}; a null MX rejects all of it",
                "remove null_mx, or move the mailboxes first",
                hurts=True,
            )


@rule(
    "dns-null-mx-sends",
    "warning",
    "A null MX on a domain that sends",
    "RFC 7505 section 4.2: receivers may refuse mail from it",
    why="RFC 7505 allows receivers to reject mail from a domain that accepts none, and nobody can reply to it.",
    fix="Remove `null_mx`, or write `identity: false` if the domain never sends.",
    example="dns_record/acme.com/acme.com/MX",
)
def null_mx_sends(view: RuleView) -> Iterator[RawFinding]:
    """A domain with `null_mx: true` has an identity."""
    for entry in view.domains:
        if entry.values.get("null_mx") is True and any(i.after is not None for i in view.identities_for(entry.name)):
            yield RawFinding(
                view.record_address(entry.name, "MX"),
                f"{entry.name} sends, but its null MX declares that it accepts no mail: some receivers reject its mail",
                "remove null_mx, or write identity: false",
            )


@rule(
    "dns-long-ttl",
    "note",
    "A record that stays in caches for more than a day",
    "RFC 1035 section 3.2.1; SES looks for records again and again for 72 hours",
    why="A mistake stays in caches that long, even after it is fixed.",
    fix="`ttl: 3600` is enough for mail records.",
)
def long_ttl(view: RuleView) -> Iterator[RawFinding]:
    """`ttl` is longer than a day."""
    for entry in view.domains:
        ttl = entry.values.get("ttl")
        if isinstance(ttl, int) and ttl > _LONG_TTL:
            yield RawFinding(
                view.record_address(f"_dmarc.{entry.name}", "TXT"),
                f"with ttl {ttl}, a mistake in a record of {entry.name} stays in caches for {ttl // 3600} hours",
                "3600 is enough for mail records",
            )
