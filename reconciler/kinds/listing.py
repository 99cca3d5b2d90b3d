"""What a region does not have, by one list instead of a call for each name that is new.

A list trails behind the writes: what was made a moment ago may be missing from it. So what is missing is believed to be
absent only as long as nothing speaks against it. What carries the stack's tag by the search is read by name in any
case; so is one of the missing in each region; and where that one is there, or where this run has read anything of the
stack's that the search has left out, all of the missing are read by name (``doubted``).

Source: SES API v2 reference (lists and their pages); it promises no order between a creation and a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import AwsError
from reconciler.kinds.ownership import owner_of
from reconciler.kinds.snapshot import Snapshot
from reconciler.model import Address, address_parts
from reconciler.resources import KINDS

if TYPE_CHECKING:
    from reconciler.aws import Aws

_FROM: Final = 3
"""From so many on a list and one reading are fewer calls, where the search says what is there."""
_FROM_UNSWEPT: Final = 11
"""Where no search says it: most of what is declared is there, and a list is a call more."""


def not_listed(aws: Aws, snapshot: Snapshot, kind: str, addresses: Iterable[Address]) -> set[Address]:
    """Those of ``addresses`` that their regions do not have, by a list of each region in which many are not known to be
    there. None of a region whose list cannot be read, or costs more calls than it saves. Names are compared without
    case: one that differs in case only is read."""
    spec, ours = KINDS[kind], snapshot.owned.get(kind, {})
    if not spec.listed[0] or spec.client != "sesv2":
        return set()
    unseen: dict[str, list[Address]] = {}
    for address in addresses:
        if address not in ours and address not in snapshot.unlisted:
            unseen.setdefault(spec.located(address)[0], []).append(address)
    many = sorted(r for r, some in unseen.items() if len(some) >= (_FROM if r in snapshot.swept else _FROM_UNSWEPT))

    def one(region: str) -> set[Address]:
        names = names_in(aws, snapshot, kind, region, most_pages=len(unseen[region]) // 2)
        return set() if names is None else {a for a in unseen[region] if address_parts(a).name.lower() not in names}

    found: set[Address] = set()
    for missing in aws.parallel(one, many):
        found |= believed(snapshot, missing)
    return found


def believed(snapshot: Snapshot, missing: Iterable[Address]) -> set[Address]:
    """Of what a list of one region does not have, all but one: that one is to be read. It is the first of the YAML:
    what is new comes last more often than first."""
    rest = set(missing)
    if rest:
        sample = min(rest, key=lambda address: _place(snapshot, address))
        rest.discard(sample)
        snapshot.sampled.add(sample)
    snapshot.unlisted |= rest
    return rest


def _place(snapshot: Snapshot, address: Address) -> tuple[str, int, str]:
    desired = snapshot.desired.get(address)
    source = desired.entry.source if desired else None
    return (source.file, source.line, address) if source else ("", 0, address)


def names_in(
    aws: Aws, snapshot: Snapshot, kind: str, region: str, most_pages: int | None = None
) -> frozenset[str] | None:  # fmt: skip
    """The names of all resources of a kind in a region, in lower case, listed once a run; None where that could not be
    read, or has more pages than ``most_pages``."""
    place = f"{kind}/{region}"
    if place not in snapshot.listed:
        try:
            rows = _rows(aws, kind, region, most_pages)
        except AwsError:
            rows = None
        if rows is None:
            return None
        key = KINDS[kind].listed[2]
        snapshot.listed[place] = frozenset(str(row[key] if key else row).lower() for row in rows)
    return snapshot.listed[place]


def _rows(aws: Aws, kind: str, region: str, most_pages: int | None) -> list[Any] | None:
    spec = KINDS[kind]
    operation, member, _ = spec.listed
    rows: list[Any] = []
    position: Mapping[str, Any] = {}
    pages = 0
    while True:
        page = aws.call(spec.client, operation, region, **spec.list_options, **position)
        rows += page.get(member) or ()
        token, pages = page.get("NextToken"), pages + 1
        if not token:
            return rows
        if most_pages is not None and pages >= most_pages:
            return None
        position = {"NextToken": token}


def left_out(snapshot: Snapshot) -> list[Address]:
    """What this run has read with our tag and the search has left out: tags are found some minutes after they were
    written."""
    return sorted(
        live.address
        for live in snapshot.observed.values()
        if live.region in snapshot.swept
        and KINDS[live.kind].swept
        and owner_of(live.tags) == snapshot.scope
        and live.address not in snapshot.owned.get(live.kind, ())
    )


def doubted(snapshot: Snapshot) -> frozenset[Address]:
    """What a list said to be absent in a region where something was written a moment ago, so that the list may trail:
    to be read by name."""
    regions = {snapshot.observed[a].region for a in (*left_out(snapshot), *snapshot.sampled) if a in snapshot.observed}
    return frozenset(a for a in snapshot.unlisted if KINDS[address_parts(a).kind].located(a)[0] in regions)
