"""Edits of single values, and how they become Route 53 change batches.

An edit takes values out of a record set and puts values in; everything else in the set stays byte for byte. A set that
changes is written as DELETE of exactly what was read plus CREATE of what it becomes, in one atomic batch: Route 53's
own compare-and-swap, so that a rival edit makes the batch fail instead of vanish.

Source: Route 53 API, ChangeResourceRecordSets ("all or nothing"; DELETE needs the exact set); Developer Guide,
"Quotas" (1,000 ResourceRecord elements, 32,000 characters of values a request).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.names import to_route53

MAX_ELEMENTS = 1000
MAX_CHARACTERS = 32_000

Key = tuple[str, str]
"""(name without final dot, type)"""


@dataclass(frozen=True, slots=True)
class Edit:
    """What one change does to one record set. ``ttl`` None keeps the live one (300 for a new set).

    ``address`` is that of the change it belongs to; ``last`` puts it after all others of its batch (markers).
    """

    address: str
    name: str
    type: str
    remove: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    ttl: int | None = None
    last: bool = False

    @property
    def key(self) -> Key:
        return (self.name, self.type)


@dataclass(frozen=True, slots=True)
class SetChange:
    """One record set before (as read, or None) and after (or None), with the addresses that asked for it."""

    key: Key
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    addresses: tuple[str, ...]

    @property
    def changes(self) -> list[dict[str, Any]]:
        found = []
        if self.before is not None:
            found.append({"Action": "DELETE", "ResourceRecordSet": dict(self.before)})
        if self.after is not None:
            found.append({"Action": "CREATE", "ResourceRecordSet": dict(self.after)})
        return found

    @property
    def elements(self) -> int:
        return sum(_weigh(s)[0] for s in (self.before, self.after) if s is not None)

    @property
    def characters(self) -> int:
        return sum(_weigh(s)[1] for s in (self.before, self.after) if s is not None)


def _weigh(record_set: Mapping[str, Any]) -> tuple[int, int]:
    values = [item["Value"] for item in record_set.get("ResourceRecords") or ()]
    return max(len(values), 1), sum(len(value) for value in values)


def compose(edits: Iterable[Edit], live: Mapping[Key, Mapping[str, Any]]) -> list[SetChange]:
    """Join edits by record set; sets that end as they began drop out.

    ``live`` maps each key to the raw ResourceRecordSet as read. Values already there are not added twice, values
    already gone are no error: the edit is then done.
    """
    grouped: dict[Key, list[Edit]] = {}
    for edit in sorted(edits, key=lambda e: (e.last, e.name, e.type)):
        grouped.setdefault(edit.key, []).append(edit)
    out = []
    for key, group in grouped.items():
        before = live.get(key)
        old = [item["Value"] for item in (before or {}).get("ResourceRecords") or ()]
        new = list(old)
        ttl = (before or {}).get("TTL")
        for edit in group:
            new = [value for value in new if value not in edit.remove]
            new += [value for value in edit.add if value not in new]
            if edit.ttl is not None:
                ttl = edit.ttl
        if new == old and (not new or ttl == (before or {}).get("TTL")):
            continue
        after = None
        if new:
            after = {
                "Name": before["Name"] if before else to_route53(key[0]),
                "Type": key[1],
                "TTL": 300 if ttl is None else ttl,
                "ResourceRecords": [{"Value": value} for value in new],
            }
        out.append(SetChange(key, before, after, tuple(dict.fromkeys(edit.address for edit in group))))
    return _cname_swaps_together(out)


def _cname_swaps_together(changes: list[SetChange]) -> list[SetChange]:
    """Deletes before creates at one name, so that a type swap (TXT out, CNAME in) is legal within one batch.

    Markers that gain a line come first and those that only lose one last: should the limits cut the batch in two and
    the second half never be sent, what was written is still remembered.
    """

    def place(change: SetChange) -> tuple[int, str, bool]:
        rank = 1
        if change.key[0].startswith("_recon."):
            old = {item["Value"] for item in (change.before or {}).get("ResourceRecords") or ()}
            new = {item["Value"] for item in (change.after or {}).get("ResourceRecords") or ()}
            rank = 0 if new - old else 2
        return rank, change.key[0], change.after is not None

    return sorted(changes, key=place)


def batches(changes: Sequence[SetChange]) -> Iterator[list[SetChange]]:
    """The fewest batches in order, within Route 53's limits, never cutting between changes of one name."""
    current: list[SetChange] = []
    elements = characters = 0
    for group in _by_name(changes):
        more = sum(c.elements for c in group)
        longer = sum(c.characters for c in group)
        if current and (elements + more > MAX_ELEMENTS or characters + longer > MAX_CHARACTERS):
            yield current
            current, elements, characters = [], 0, 0
        current += group
        elements += more
        characters += longer
    if current:
        yield current


def _by_name(changes: Sequence[SetChange]) -> Iterator[list[SetChange]]:
    group: list[SetChange] = []
    for change in changes:
        if group and group[-1].key[0] != change.key[0]:
            yield group
            group = []
        group.append(change)
    if group:
        yield group
