"""Records of resources that somebody else has deleted, and that are no longer declared: nothing in AWS says any more
that they are this stack's.

A deletion by hand takes the tags along. Where it is taken out of the YAML before the next apply, its records would stay
in DNS, and no plan would name them. The journal still says that this stack has written them. It is no evidence for a
deletion, since whoever can write to its folder or bucket can write to it; so they are named in a note, and stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from reconciler.errors import AwsError, ReconError
from reconciler.kinds.listing import names_in
from reconciler.kinds.reading import Reader
from reconciler.kinds.registry import REGISTRY
from reconciler.kinds.snapshot import RecordOwner, Snapshot, Unread
from reconciler.model import Address, address_parts
from reconciler.names import is_at_or_below
from reconciler.resources import KINDS
from reconciler.resources.dns_record import foreign_ownership, intents, leftovers
from reconciler.resources.dns_record.values import address_of
from reconciler.resources.spec import at_path

if TYPE_CHECKING:
    from reconciler.aws import Aws


class Forgotten(NamedTuple):
    """A record in the zone ``zone``, and the resource of this stack that had it."""

    owner: Address
    zone: str
    name: str
    type: str
    group: str


def name_them(snapshot: Snapshot, aws: Aws) -> None:
    """Say a note ``left`` for each such resource, with its records. Reads the journal where a zone has a record in the
    form of SES's that nothing live or declared has; and asks AWS for those resources, and for other stacks' tags, where
    the journal names such a record."""
    suspects = [] if snapshot.partial else list(leftovers.underived(snapshot))
    if not suspects:
        return
    from reconciler.journal import past_runs

    try:
        runs = past_runs(snapshot.state.stack, aws)
    except ReconError as error:
        words = f"whether records of this stack were forgotten could not be read from the journal: {error.message}"
        snapshot.say("note", "journal-unread", words, hint=error.hint)
        return
    done = [step.partition("#") for run in reversed(runs) for step, outcome, *_ in run.steps if outcome == "done"]
    last = {address: label for address, _, label in done}  # the runs came newest first
    written, known = set(last), {*snapshot.desired, *snapshot.observed}
    # What this stack has deleted itself, it has deleted with its records.
    lost = sorted(
        a for a in written - known
        if last[a] != "delete" and (s := KINDS.get(address_parts(a).kind)) is not None and s.records
    )  # fmt: skip
    found = [one for zone, name, type_ in suspects for one in _of(zone, name, type_, written, lost)]
    used = {owner: _uses(aws, snapshot, owner) for owner in {one.owner for one in found}}
    taken = {name for names in used.values() for name in names or ()}
    found = [one for one in found if used[one.owner] is not None and one.name not in taken]
    found += [one for owner, zone in {(f.owner, f.zone) for f in found} for one in _own(snapshot, owner, zone, written)]
    asked = {(one.name, one.group) for one in found if one.group} - snapshot.record_owners.keys()
    if asked:
        foreign_ownership.ask(aws, snapshot, asked, REGISTRY)
    # Another stack's, or nobody could see whose.
    others = {key for key, owner in snapshot.record_owners.items() if isinstance(owner, RecordOwner | Unread)}
    _say(snapshot, [one for one in found if (one.name, one.group) not in others])


def _of(zone: str, name: str, type_: str, written: set[Address], lost: Iterable[Address]) -> Iterator[Forgotten]:
    """The resources of ``lost`` that had a record, as the journal says."""
    for owner in lost:
        kind, region, domain = address_parts(owner)
        token = f"{domain}:dkim:{region}:1"
        if type_ == "CNAME" and name.endswith(f"._domainkey.{domain}"):
            if address_of(zone, token, "CNAME") in written:
                yield Forgotten(owner, zone, name, type_, "")
        elif address_of(zone, name, type_) in written:
            for group in KINDS[kind].records:
                may_be = group.listed and type_ in group.types and group.may_be_at(name) and "_" not in name
                if may_be and (is_at_or_below(name, domain) or not group.below):
                    yield Forgotten(owner, zone, name, type_, group.name)


def _own(snapshot: Snapshot, owner: Address, zone: str, written: set[Address]) -> Iterator[Forgotten]:
    """The records at names that follow from the name of a lost resource, where no other region has it."""
    kind, _, domain = address_parts(owner)
    if any(address_parts(a).kind == kind and address_parts(a).name == domain for a in snapshot.observed):
        return
    places = intents.zone_places(snapshot)
    zones = [one for one in snapshot.zones.values() if places[one.id] == zone and one.loaded]
    for group in KINDS[kind].records:
        for name in () if group.listed else group.record_names(domain, ()):
            for type_ in group.types:
                if address_of(zone, name, type_) in written and any(one.sets(name, type_) for one in zones):
                    yield Forgotten(owner, zone, name, type_, group.name)


def _uses(aws: Aws, snapshot: Snapshot, owner: Address) -> set[str] | None:
    """The names of records that a resource has in AWS; none where AWS does not list it. None where nothing can be said
    of its records: they are its own, or it cannot be read."""
    kind, region, name = address_parts(owner)
    spec, reader = KINDS[kind], REGISTRY[kind]
    if (listed := names_in(aws, snapshot, kind, region)) is None:
        return None
    try:
        live = reader.read(aws, region, name) if name.lower() in listed and isinstance(reader, Reader) else None
    except AwsError:
        return None
    if live is None:
        return set()
    if any(group.below for group in spec.records):
        return None
    return {str(at_path(live.spec, group.shown)) for group in spec.records if group.shown}


def _say(snapshot: Snapshot, found: Iterable[Forgotten]) -> None:
    owners: dict[tuple[str, str], set[Address]] = {}
    for one in found:
        owners.setdefault((one.zone, f"{one.name} {one.type}"), set()).add(one.owner)
    records: dict[tuple[str, tuple[Address, ...]], list[str]] = {}
    for (zone, record), some in sorted(owners.items()):
        records.setdefault((zone, tuple(sorted(some))), []).append(record)
    for (zone, those), names in sorted(records.items()):
        snapshot.say(
            "note",
            "left",
            f"{' or '.join(those)} was deleted by somebody else, and its records stay in the zone {zone}: "
            f"{', '.join(names)}; only the journal says that this stack has put them there",
            hint="delete them by hand, unless another account or stack sends as this domain; or declare it once more, "
            "apply, and take it out again",
            address=those[0],
        )
