"""What is live, as a state, where no YAML says it: the identities of some regions, and their configuration sets.

A first reading finds what there is, with nothing said of it; then each identity is as if its live fields were declared,
so that its records and its sets are checked as those of a declared one.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from reconciler import observing
from reconciler.errors import ReconError
from reconciler.kinds.registry import REGISTRY
from reconciler.kinds.snapshot import Snapshot
from reconciler.model import Entry, Source, State
from reconciler.names import domain_of, parents
from reconciler.resources import BY_ARN
from reconciler.resources.email_identity import DEFAULT_SET
from reconciler.resources.email_identity import SPEC as IDENTITY

if TYPE_CHECKING:
    from reconciler.aws import Aws

READS: Final = ("sesv2:ListEmailIdentities", "sesv2:ListConfigurationSets")
MOST: Final = 100
"""So many identities are read, the domains first: a call each, one a second in a region."""
_FIELDS: Final = ("mail_from", DEFAULT_SET.path)


@dataclass(slots=True)
class LiveNames:
    """What is listed in each region, and the errors of those that could not be listed. ``left`` identities were not
    looked at."""

    identities: dict[str, list[str]] = field(default_factory=dict)
    sets: dict[str, list[str]] = field(default_factory=dict)
    problems: list[tuple[str, str, ReconError]] = field(default_factory=list)
    """(layer, region, error)"""
    domains: list[str] = field(default_factory=list)
    left: int = 0


def list_names(aws: Aws, regions: Sequence[str], name: str) -> LiveNames:
    """The names of all identities and sets. ``name`` is a domain or an address that alone is looked at; where it is no
    identity, the one above it, through which SES sends its mail. "" for all."""
    found = LiveNames()

    def one(place: tuple[str, str, str, str]) -> tuple[str, str, list[str] | ReconError]:
        layer, region, operation, member = place
        try:
            listed = list(aws.pages("sesv2", operation, member, region, PageSize=1000))
            return layer, region, sorted(str(x["IdentityName"] if isinstance(x, dict) else x) for x in listed)
        except ReconError as error:
            return layer, region, error

    places = [("identity", r, "ListEmailIdentities", "EmailIdentities") for r in regions]
    if not name:  # the sets that an identity uses are read with it
        places += [("configuration_set", r, "ListConfigurationSets", "ConfigurationSets") for r in regions]
    for layer, region, names in aws.parallel(one, places, lambda p: p[1]):
        if isinstance(names, ReconError):
            found.problems.append((layer, region, names))
        else:
            (found.identities if layer == "identity" else found.sets)[region] = names
    _choose(found, regions, name)
    return found


def _choose(found: LiveNames, regions: Sequence[str], name: str) -> None:
    """Keep the identities that are looked at."""
    everything = {one.lower(): None for names in found.identities.values() for one in names}
    if name:
        domain = domain_of(name)
        chain = [d for d in (domain, *parents(domain)) if d in everything]
        wanted = {*chain[:1], *([name] if name in everything else [])} or {domain}
        unread = [layer for layer, _, _ in found.problems if layer == "identity"]
        if not chain and name not in everything and not unread:
            found.identities = {region: [domain] for region in regions}  # so that it is found missing
    else:
        ordered = sorted(everything, key=lambda one: ("@" in one, one))
        wanted, found.left = set(ordered[:MOST]), len(ordered[MOST:])
    found.identities = {r: [n for n in names if n.lower() in wanted] for r, names in found.identities.items()}
    found.domains = sorted({n.lower() for names in found.identities.values() for n in names if "@" not in n})


def declare(aws: Aws, regions: Sequence[str], now: str, names: LiveNames) -> Snapshot:
    """What was listed, as if it were declared; nothing of it is read yet."""
    return observing.declare(State(replace(aws.stack, regions=tuple(regions)), tuple(_entries(names))), now)


def observe(aws: Aws, snapshot: Snapshot, names: LiveNames, without: Container[str] = ()) -> None:
    """Read what was listed, and what it uses; ``without`` are kinds that are not read."""
    observing.observe(snapshot, aws, sweep=False, without=without)
    entries = []
    for entry in snapshot.state.entries:
        live = snapshot.observed.get(IDENTITY.address_of(entry.region or "", entry.name))
        values = {key: live.spec[key] for key in _FIELDS if live is not None and live.spec.get(key)}
        entries.append(replace(entry, values={**entry.values, **values}) if entry.region else entry)
    snapshot.state = replace(snapshot.state, entries=tuple(entries))
    snapshot.desired |= observing.declare(snapshot.state, snapshot.now).desired
    if not names.sets:  # those that the identities name are known now
        REGISTRY[BY_ARN["configuration-set"].name].observe(aws, snapshot)


def _entries(names: LiveNames) -> Iterable[Entry]:
    nowhere = Source("", 0)

    def entry(section: str, name: str, region: str | None, **values: Any) -> Entry:
        return Entry(section, name, region, values, nowhere, {})

    for domain in names.domains:
        yield entry("domains", domain, None, zone="auto")
    for region, listed in sorted(names.identities.items()):
        for name in listed:
            yield entry("email_addresses" if "@" in name else "domains", name, region)
    sets = BY_ARN["configuration-set"].sections[0].name
    for region, listed in sorted(names.sets.items()):
        for name in listed[:MOST]:
            yield entry(sets, name, region)
