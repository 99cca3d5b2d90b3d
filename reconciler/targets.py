"""``--target``: what a target names, what must be read for it, and which changes it selects. Pure."""

from __future__ import annotations

import fnmatch
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from reconciler.errors import ReconError
from reconciler.kinds.ownership import RECORDS, unpack
from reconciler.kinds.reading import named_addresses, principal_addresses
from reconciler.kinds.registry import REGISTRY
from reconciler.kinds.snapshot import ReadScope, Snapshot
from reconciler.model import Address, Change, Diagnostic, address_parts
from reconciler.names import fold_domain, fold_identity, parents, similar
from reconciler.resources import KINDS, holder_of, references_to
from reconciler.steps import needs_of_change


def fitting(targets: Iterable[str]) -> Callable[[Address], bool]:
    """Whether one of ``targets``, addresses or globs, names an address."""
    exact = frozenset(targets)
    globs = [target for target in exact if _is_glob(target)]
    return lambda address: address in exact or any(fnmatch.fnmatchcase(address, glob) for glob in globs)


def _found(target: str, addresses: Collection[Address]) -> set[Address]:
    """What ``target`` names of ``addresses``, a set or a dictionary: a saved plan has ten thousand targets."""
    if not _is_glob(target):
        return {target} if target in addresses else _in_another_zone(target, addresses)
    return {a for a in addresses if a == target or fnmatch.fnmatchcase(a, target)}


def _in_another_zone(target: str, addresses: Collection[Address]) -> set[Address]:
    """The same record in the zone that holds it: without AWS, `recon graph` cannot know which zones there are."""
    kind, _, rest = target.partition("/")
    record = rest.partition("/")[2]
    if kind != "dns_record" or not record:
        return set()
    name = record.partition("/")[0].partition(":")[0]
    zones = (zone for zone in (name, *parents(name)))
    return {address for zone in zones if (address := f"{kind}/{zone}/{record}") in addresses}


def _targeted(kind: str) -> bool:
    """Whether targets on a kind say what must be read; records are found through what derives them."""
    return kind in KINDS and not KINDS[kind].read_last


def normalise_target(target: str) -> str:
    """A target with its domain names in the form of addresses: lower case, A-labels; a glob stays as it is."""
    kind, *rest = target.split("/")
    if _is_glob(target):
        return target
    try:
        if kind == "email_identity" and len(rest) == 2:
            rest[1] = fold_identity(rest[1])
        elif kind == "dns_record" and len(rest) == 3:
            name, colon, token = rest[1].partition(":")
            zone = rest[0] if rest[0].isupper() and "." not in rest[0] else fold_domain(rest[0])  # an id, or a name
            rest = [zone, fold_domain(name, record=True) + colon + token, rest[2].upper()]
    except ValueError:
        return target
    return "/".join([kind, *rest])


def all_declared(snapshot: Snapshot, targets: Sequence[str]) -> bool:
    """Whether each target is the address of something declared that is not a record, and not what a rename takes the
    place of: that is declared no more."""
    renamed = {moved.to_address for moved in snapshot.state.moved}
    return all(target in snapshot.desired and target not in renamed for target in targets)


def scope_for_targets(snapshot: Snapshot, targets: Sequence[str]) -> ReadScope | None:
    """What must be read for these targets: what they name, declared or ours, and what that needs or shares.

    None where only a run over everything can say: a target without a kind, one that names nothing known, one that is to
    be deleted. A domain is read with all its identities; a set with its destinations and its pool, a user with its
    credential.
    """
    known = {*snapshot.desired}.union(*snapshot.owned.values(), *snapshot.named.values())
    below: dict[str, set[str]] = {}
    """Domain -> the identities below it."""
    for name in {address_parts(a).name for a in known if a.startswith("email_identity/")}:
        for parent in parents(name):
            below.setdefault(parent, set()).add(name)
    taken: set[Address] = set()
    domains: set[str] = set()
    if any(address_parts(target).kind == "dns_record" for target in targets):
        # What is live may have put a tracking record that only it still knows of.
        owned = chain.from_iterable(tags_of.items() for tags_of in snapshot.owned.values())
        taken |= {address for address, tags in owned if "tracking" in unpack(tags, RECORDS)}
        if taken - snapshot.desired.keys():
            return None  # a set that put one is deleted, and what uses it is changed before that
    together: set[tuple[str, str]] = set()
    """Kinds and regions of which everything is read."""
    for target in targets:
        kind = address_parts(target).kind
        if kind == "dns_record":
            named = _domains_of_record(target, below)
            if named is None:
                return None
            domains |= named
            continue
        found = _found(target, known)
        if not found and _targeted(kind) and KINDS[kind].swept and not _is_glob(target):
            continue  # nothing that is declared or ours: refused once the rest is known (``select``)
        if not _targeted(kind) or not found or found - snapshot.desired.keys():
            return None  # what is deleted may be used by resources that only AWS knows of
        taken |= found
        together |= {(other, address_parts(a).place) for other in KINDS[kind].read_with for a in found}
    taken |= {a for a in known if address_parts(a)[:2] in together} if together else set()
    return _with_needs(snapshot, known, taken, domains)


def _is_glob(text: str) -> bool:
    return any(character in text for character in "*?[")


def _domains_of_record(target: str, below: Mapping[str, Iterable[str]]) -> set[str] | None:
    """The domains that a record's target concerns: those at and above its name, and below it for a DMARC policy, which
    also governs subdomains. None where the target does not say."""
    _, zone, label = address_parts(target)
    name = label.rpartition("/")[0].partition(":")[0]
    if not name or _is_glob(zone + name):
        return None
    found = {name, *parents(name)}
    if name.startswith("_dmarc."):
        found |= set(below.get(name.removeprefix("_dmarc."), ()))
    return found


def _with_needs(snapshot: Snapshot, known: set[Address], taken: set[Address], domains: set[str]) -> ReadScope:
    """``taken`` and ``domains`` with all that they name, hold, or share a record or a limit with."""
    needs = _Needs(snapshot, known)
    for name in domains:
        taken |= needs.of_domain(name)
    todo = sorted(taken)
    found: set[Address] = set()
    while todo:
        address = todo.pop()
        if address in found:
            continue
        found.add(address)
        if address.startswith("email_identity/"):
            domains.add(address_parts(address).name)
        todo += needs.of(address)
    return ReadScope(frozenset(found), frozenset(domains))


class _Needs:
    """What must be read with a resource, from what its kind declares."""

    def __init__(self, snapshot: Snapshot, known: set[Address]) -> None:
        self.snapshot = snapshot
        self.known = known
        self.identities: dict[str, list[Address]] = {}
        for address in known:
            if address.startswith("email_identity/"):
                self.identities.setdefault(address_parts(address).name, []).append(address)
        self.below: dict[str, list[Address]] = {}
        """Domain name -> what is declared to use it below an identity (tracking)."""
        for spec, reference in references_to("email_identity", covering=True):
            for desired in snapshot.kind(spec.name):
                self.below.setdefault(str(reference.name_in(desired.spec)), []).append(desired.address)

    def of_domain(self, name: str) -> set[Address]:
        return {*self.identities.get(name, ()), *self.below.get(name, ())}

    def of(self, address: Address) -> Iterator[Address]:
        kind = address_parts(address).kind
        spec = KINDS[kind]
        region, name = spec.located(address)
        values = self.snapshot.desired[address].spec if address in self.snapshot.desired else {}
        if kind == "email_identity":
            yield from self.identities.get(name, ())
            yield from principal_addresses(self.snapshot, (values.get("policies") or {}).values())
        for reference in spec.references:
            named = reference.name_in(values)
            if named is not None and reference.covering:  # SES takes it once an identity at or above it is verified
                yield from self.below.get(named, ())
                yield from chain.from_iterable(self.identities.get(above, ()) for above in (named, *parents(named)))
            elif named is not None:
                yield f"{reference.kind}/{region}/{named}"
        yield from named_addresses(self.snapshot, kind, region, values)
        if holder := holder_of(address):
            yield holder
        for other in spec.with_kinds:
            if other == kind:  # what they have they pass from one to another
                yield from (a for a in self.known if a.startswith(f"{kind}/{region}/"))
            else:
                yield "/".join(filter(None, (other, region, name)))
        for arn in (values.get("identities") or ()) if spec.principal else ():
            yield from self.identities.get(str(arn).rpartition(":identity/")[2], ())
        for moved in self.snapshot.state.moved:
            if address in (moved.from_address, moved.to_address):
                yield from (moved.from_address, moved.to_address)


def known(snapshot: Snapshot, changes: Iterable[Change], targets: Sequence[str]) -> set[Address]:
    """Every address that a target may name. Those of records are derived, which takes long: they are among them only
    where a target fits nothing else."""
    if snapshot.removing:  # what the state declares may be gone already: a run that ended early is run again
        declared = {one.address: one for kind in REGISTRY.values() for one in kind.desired(snapshot.state)}
        snapshot = replace(snapshot, removing=False, desired=declared, keys=defaultdict(str, snapshot.keys))
    found = {*snapshot.desired, *snapshot.observed}
    there = {*found, *(change.address for change in changes)}
    if all(_found(target, there) for target in targets):
        return found
    return found.union(*(kind.known_addresses(snapshot) for kind in REGISTRY.values()))


def select(
    changes: Sequence[Change], targets: Sequence[str], known: Iterable[Address] = (), unread: Sequence[Diagnostic] = ()
) -> list[Change]:
    """The changes that match a target, with all that they need: what must be there first, and what remembers them.

    ``known`` are the addresses that exist or are declared, changed or not. Raises ReconError for targets that fit none
    of them, with what is near; and with what is ``unread``, which they might have fitted.
    """
    by_address = {change.address: change for change in changes}
    everything = {*by_address, *known}
    wanted: set[Address] = set()
    strays = []
    for target in targets:
        found = _found(target, everything)
        if not found:
            near = similar(target, sorted(everything))
            hint = f"did you mean {near[0]}?" if near else "`recon graph --format text` lists what is declared"
            strays.append(
                Diagnostic("error", "unknown-target", f"--target {target} fits nothing", hint, address=target)
            )
        wanted |= by_address.keys() & found
    if strays:
        raise ReconError(strays[0].message, hint=strays[0].hint, diagnostics=(*strays, *unread))
    todo = list(wanted)
    while todo:
        change = by_address[todo.pop()]
        for need in sorted(needs_of_change(change)):
            if need in by_address and need not in wanted:
                wanted.add(need)
                todo.append(need)
    return [change for change in changes if change.address in wanted]
