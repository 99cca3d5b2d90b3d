"""The content of a plan, whatever the format: blocks of similar changes with rows, cause and notes, in reading order.

Pure functions of the plan's values. Text, Markdown and HTML all draw this view, so that they agree.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

from reconciler.model import FINDINGS, SYMBOLS, ActionName, Change, Diagnostic, Note, Plan, Source
from reconciler.regions import SES_REGIONS
from reconciler.renderers.values import (
    UNKNOWN,
    Placeholder,
    hidden,
    is_flat,
    leaves,
    nested,
    nested_diff,
    one_line,
    pair,
    set_diff,
    with_unknown,
)  # fmt: skip
from reconciler.resources import holder_of
from reconciler.resources.headlines import adopted_parts

Mode = Literal["plan", "drift"]
_DRIFT_WORDS: Final = {
    "create": "missing in AWS", "adopt": "exists in AWS, without our tag", "delete": "exists in AWS, not declared",
}  # fmt: skip

FOLD_FROM: Final = 3
"""So many similar changes become one block; those of one name in two places always do."""
SHOWN_ADDRESSES: Final = 3
"""So many addresses name the changes of a block, where not all do."""


@dataclass(frozen=True, slots=True)
class Row:
    """One field. ``shows`` is ``value`` (all of a create or delete, in ``after``) or ``change`` (before to after)."""

    path: str
    before: Any
    after: Any
    shows: str
    source: Source | None = None
    first_of: int = 0
    """How many changes a block has whose values differ by their names, if these are the values of the first."""


@dataclass(frozen=True, slots=True)
class Block:
    """One change, or several that differ only in names: rows and notes are then those of the first."""

    kind: str
    action: ActionName
    changes: tuple[Change, ...]
    rows: tuple[Row, ...]
    notes: tuple[Note, ...]
    cause: str
    source: Source | None
    authors: tuple[str, ...] = ()
    """Of drift: who made the difference of each change and when, or what else is known of it."""

    @property
    def symbol(self) -> str:
        return SYMBOLS[self.action]

    @property
    def count(self) -> int:
        return len(self.changes)

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(change.address for change in self.changes)

    @property
    def what(self) -> str:
        """The kind, for records with the type, which is the same for all of a block; of parts that are adopted how many
        resources they belong to."""
        if self.folded and _is_part(self.changes[0]):
            owners = len({owner for change in self.changes for owner in adopted_parts(change)})
            return f"parts of {owners} resource{'s' * (owners != 1)}, live as declared"
        return f"{self.kind} {address_parts(self.addresses[0])[-1]}" if self.kind == "dns_record" else self.kind

    def asides(self, mode: Mode) -> list[str]:
        """What stands beside the block's name: in drift what differs and who made the difference; then the cause."""
        words = _DRIFT_WORDS.get(self.action, "") if mode == "drift" else ""
        if words and "name" in self.changes[0].unknown:
            words = "follows from what is missing: AWS chooses its name when that is made again"
        return [text for text in (words, self.author, self.cause) if text]

    def named(self) -> tuple[Sequence[str], int]:
        """The addresses that the summary of a folded block names, and how many more there are: all of what is deleted
        or replaced, else the first few."""
        shown = self.addresses if self.removes else first_few(self.addresses)
        return shown, self.count - len(shown)

    @property
    def author(self) -> str:
        """Who made the difference, of several the first."""
        first = self.authors[0] if self.authors else ""
        return f"{first} (first of {self.count})" if self.own_authors else first

    @property
    def own_authors(self) -> bool:
        """Whether authors or times differ from change to change."""
        return len(set(self.authors)) > 1

    def each(self) -> list[tuple[str, str, list[Row]]]:
        """The address of each change, its author and its rows, as far as these differ from change to change."""
        authors = self.authors if self.own_authors else ("",) * self.count
        return [(one.address, author, self.own_rows(one)) for one, author in zip(self.changes, authors, strict=True)]

    def own_rows(self, change: Change) -> list[Row]:
        """The rows of one of the changes whose values are its own, where the block has those of the first."""
        own = [row.first_of for row in self.rows]
        return [row for row, first_of in zip(_rows(change), own, strict=True) if first_of] if any(own) else []

    @property
    def removes(self) -> bool:
        """Whether something is deleted: no form leaves the name of that out."""
        return self.action in ("delete", "replace")

    @property
    def folded(self) -> bool:
        return len(self.changes) > 1

    @property
    def refused(self) -> bool:
        """Whether the changes are not carried out: all of a block are, or none."""
        return self.changes[0].refused is not None

    @property
    def risky(self) -> bool:
        """Whether a reviewer should see it first: it deletes, replaces, or has a warning or an error."""
        return self.removes or any(note.severity != "note" for note in self.notes)


@dataclass(frozen=True, slots=True)
class View:
    """A plan as blocks: deletes, then replaces, then the rest in the plan's order."""

    plan: Plan
    blocks: tuple[Block, ...]
    diagnostics: tuple[tuple[Diagnostic, tuple[str, ...]], ...]
    """Each distinct diagnostic with its addresses, errors first; without those that stand."""

    standing: tuple[tuple[Diagnostic, tuple[str, ...]], ...] = ()
    """What rules find with the plan and without, also of what it changes."""

    risky: tuple[Block, ...] = field(default=())
    calm: tuple[Block, ...] = field(default=())


def view(plan: Plan) -> View:
    """The view of a plan."""
    groups: dict[tuple[Any, ...], list[Change]] = {}
    authors, told = _authors(plan), _not_beside(plan)
    ordered = sorted((_without_standing(change) for change in plan.changes), key=_place)
    shapes = [_shape(change) for change in ordered]
    counts = Counter(shapes)
    for number, change in enumerate(ordered):
        # fingerprints cost time: only for a shape that enough changes have
        key: tuple[Any, ...] = ("one", number)
        if counts[shapes[number]] > 1:
            key = ("like", _fingerprint(change), _TIME.sub("", authors.get(change.address, "")))
        groups.setdefault(key, []).append(change)
    order = {id(change): number for number, change in enumerate(ordered)}
    lists: list[list[Change]] = []
    for changes in groups.values():
        one_block = _enough([change.address for change in changes])
        lists.extend([changes] if one_block else [[change] for change in changes])
    lists.sort(key=lambda changes: order[id(changes[0])])
    blocks = tuple(_block(changes, authors) for changes in lists)
    return View(
        plan,
        blocks,
        fold_diagnostics(one for one in told if not _stands(one, plan)),
        fold_diagnostics(_standing(plan, told)),
        tuple(sorted((b for b in blocks if b.risky), key=_risk_rank)),
        tuple(b for b in blocks if not b.risky),
    )


def _enough(addresses: Sequence[str]) -> bool:
    """Whether what is alike at these addresses is told once: it is much, or the same name in two regions or zones."""

    def without_place(address: str) -> str:
        kind, _, rest = address.partition("/")
        place, _, name = rest.partition("/")
        if place in SES_REGIONS:
            return f"{kind}/{name.replace(place, '')}"
        return f"{kind}/{name}" if "." in place and name else address  # a zone

    return len(addresses) >= FOLD_FROM or (len(addresses) > 1 and len(set(map(without_place, addresses))) == 1)


def _place(change: Change) -> int:
    """What is deleted comes first, then what is replaced."""
    return {"delete": 0, "replace": 1}.get(change.action, 2)


def _risk_rank(block: Block) -> int:
    worst = any(note.severity == "error" for note in block.notes)
    return _place(block.changes[0]) + (not block.removes and not worst)


# --- what stands beside a change, and what does not ----------------------------------------------------------------

_AUTHOR: Final = "caused-by"
_BESIDE: Final = (_AUTHOR, "new", "edited", "not-applied-yet")
"""Codes of the diagnostics of drift that are about a difference: shown beside it."""
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z?")


def _authors(plan: Plan) -> Mapping[str, str]:
    """Who made the difference at an address and when; where that is unknown, what is known."""
    found: dict[str, list[str]] = {}
    for code in _BESIDE:
        for one in plan.diagnostics:
            # who edited it says that it was edited
            if one.code == code and one.address and not (code == "edited" and one.address in found):
                found.setdefault(one.address, []).append(one.message)
    return {address: "; ".join(words) for address, words in found.items()}


def _not_beside(plan: Plan) -> list[Diagnostic]:
    """The diagnostics that do not stand beside a change: not its refusal, nor in drift who made it."""
    addresses = {change.address for change in plan.changes}
    refusals = {(c.address, c.refused.code, c.refused.message) for c in plan.changes if c.refused}
    kept = []
    for one in plan.diagnostics:
        if one.code == "edited-or-not-applied":
            kept.append(replace(one, address=""))  # the same of every difference
        elif (one.address, one.code, one.message) not in refusals and not (
            one.code in _BESIDE and one.address in addresses
        ):
            kept.append(one)
    return kept


def _without_standing(change: Change) -> Change:
    notes = tuple(note for note in change.notes if not note.stands)
    return change if len(notes) == len(change.notes) else replace(change, notes=notes)


def _stands(one: Diagnostic, plan: Plan) -> bool:
    """Whether a finding only stands; not if it is why a plan is refused, or why drift exits 2."""
    if one.code in FINDINGS or (one.severity == "error" and plan.outcome == "refused"):
        return False
    return one.stands


def _standing(plan: Plan, told: Iterable[Diagnostic]) -> Iterable[Diagnostic]:
    yield from (one for one in told if _stands(one, plan))
    for change in plan.changes:
        for note in change.notes:
            if note.stands:
                yield Diagnostic(note.severity, note.rule, note.message, address=change.address, stands=True)


def standing_line(seen: View) -> str:
    """``31 findings stand: 4 errors, 9 warnings``; empty where none does."""
    counts: Counter[str] = Counter()
    for one, addresses in seen.standing:
        counts[one.severity] += max(1, len(addresses))
    total = counts.total()
    if not total:
        return ""
    parts = [f"{counts[kind]} {kind}{'s' * (counts[kind] != 1)}" for kind in ("error", "warning") if counts[kind]]
    listed = ", ".join(parts) or f"{counts['note']} note{'s' * (counts['note'] != 1)}"
    return f"{total} finding{'s stand' if total != 1 else ' stands'}: {listed}"


def first_few(addresses: Sequence[str]) -> Sequence[str]:
    """The addresses that a summary names; one more is not worth a line that counts it."""
    return addresses if len(addresses) <= SHOWN_ADDRESSES + 1 else addresses[:SHOWN_ADDRESSES]


def _is_part(change: Change) -> bool:
    """Whether the change adopts a part and there is nothing else to say of it: all of these are one block."""
    return change.claims and not (change.diff or change.notes or change.refused)


def _shape(change: Change) -> tuple[Any, ...]:
    """Equal for changes that could have the same fingerprint."""
    if _is_part(change):
        return ("part",)
    paths = tuple(diff.path for diff in change.diff)
    return change.kind, change.action, paths, tuple(change.after or ()), len(change.notes), len(change.unknown)


# --- names in values -----------------------------------------------------------------------------------------------


def address_parts(address: str) -> tuple[str, ...]:
    """The parts of an address after its kind."""
    return tuple(address.split("/")[1:])


def subject(change: Change) -> str:
    """The name that an address is about: the name of a record without its suffix, else the resource's name."""
    return _subject(change.kind, change.address)


def _subject(kind: str, address: str) -> str:
    parts = address_parts(address)
    if kind == "dns_record" and len(parts) > 2:
        return parts[1].split(":")[0]
    return parts[-1] if parts else address


def domain_of(name: str) -> str:
    """The domain that a record name is about: without the labels that begin with an underscore (RFC 8552)."""
    labels = name.split(".")
    while labels and labels[0].startswith("_"):
        labels.pop(0)
    if "_domainkey" in labels:
        labels = labels[labels.index("_domainkey") + 1 :]
    return ".".join(labels)


# Replaces a name while texts are compared: private use characters, which ``safe`` never prints.
_PLACEHOLDERS: Final = frozenset("\ue000\ue001\ue002\ue003\ue004\ue005\ue006")
_NAME, _DOMAIN, _LABEL, _SET, _ZONE, _REGION, _TOKEN = sorted(_PLACEHOLDERS)
Names = Sequence[tuple[str, str]]


def _names(change: Change) -> Names:
    """The names of one change with their placeholders, the longest first."""
    record = (change.after or change.before or {}).get("name") if ":dkim:" in change.address else None
    return _names_of(change.address, change.region or "", record if isinstance(record, str) else "")


@lru_cache(maxsize=4096)  # to remember those of a large plan takes 4 MiB for a thousand domains, and saves 5 ms
def _names_of(address: str, region: str = "", record: str = "") -> Names:
    kind, *parts = address.split("/")
    name = _subject(kind, address)
    within = len(parts) > 2 and holder_of(address) is not None
    names = {name: _NAME}
    domain = domain_of(name)
    if "." in domain:
        names.setdefault(domain, _DOMAIN)
        label = domain.split(".")[0] if kind in ("email_identity", "dns_record") else ""
    else:  # "t-shop": the common part of one tenant's names
        label = (parts[-2] if within else name).partition("-")[2]
    if len(label) > 2:
        names.setdefault(label, _LABEL)
    if within:
        names.setdefault(parts[-2], _SET)
    if kind == "dns_record" and len(parts) > 2:
        names.setdefault(parts[0], _ZONE)
        if ":" in parts[1]:
            region = next((part for part in parts[1].split(":")[1:] if part.count("-") > 1), region)
    elif len(parts) > 1:
        region = region or parts[0]
    names.setdefault(region, _REGION)
    if record:
        # SES's DKIM tokens are in the record's name and target; which token it is does not matter to a reader
        names.setdefault(record.split(".")[0], _TOKEN)
    return tuple(sorted(((text, char) for text, char in names.items() if text), key=lambda item: -len(item[0])))


def _varying(changes: Sequence[Change]) -> Names:
    """The names of the first change that are not the same in all changes: only these need a placeholder."""
    first = _names(changes[0])
    same = set(first)
    for change in changes[1:]:
        same.intersection_update(_names(change))
    return [name for name in first if name not in same]


def _replaced(text: str, names: Names) -> str:
    """``text`` with each name that it contains as a whole word replaced by its placeholder."""
    for name, placeholder in names:
        start = text.find(name)
        while start >= 0:
            end = start + len(name)
            left, right = text[start - 1 : start], text[end : end + 1]
            if (left.isascii() and left.isalnum()) or (right.isascii() and right.isalnum()):
                start = text.find(name, start + 1)
            else:
                text = text[:start] + placeholder + text[end:]
                start = text.find(name, start + 1)
    return text


def _varies(value: Any, names: Names) -> bool:
    """Whether a value of a block's first change contains a name that is not the same in all of them."""
    if isinstance(value, str):
        return _replaced(value, names) != value
    if isinstance(value, Placeholder):
        return _varies(value.text, names)
    if isinstance(value, Mapping):
        return any(_varies(str(key), names) or _varies(item, names) for key, item in value.items())
    return isinstance(value, Sequence) and any(_varies(item, names) for item in value)


def _for_all(message: str, names: Names, count: int) -> str:
    """``message``, which is about the first of ``count`` resources, with how many others it applies to."""
    varies = _replaced(message, names) != message
    others = f"{count - 1} other{'s' * (count > 2)}"
    return f"{message} (the same for {others})" if varies and count > 1 else message


def _via(change: Change) -> str:
    return change.source.via if change.source else ""


def _fingerprint(change: Change) -> str:
    """Equal for changes that look the same but for their names."""
    if _is_part(change):
        return "part"
    shown = {
        "shown": change.after if _shows(change) == "after" else change.before if _shows(change) == "before" else None,
        "diff": [[diff.path, diff.before, diff.after] for diff in change.diff],
        "record": _record_text(change),
        "unknown": list(change.unknown),
        "notes": [[note.rule, note.severity, note.message] for note in _notes(change)],
    }
    decorated: list[str] = []
    if change.kind == "dns_record":
        # "_dmarc." and the type make another block; the number of a DKIM token does not
        name = subject(change)
        _, *parts = address_parts(change.address) or ("",)
        decorated = [re.sub(r":\d+$", "", part.removeprefix(name)) for part in parts]
        decorated.append(name.removesuffix(domain_of(name)) if name.startswith("_") else "")
    text = json.dumps([decorated, shown], ensure_ascii=False, sort_keys=True, default=str)
    # a value that itself contains such a character is never folded
    if not _PLACEHOLDERS.isdisjoint(text):
        return change.address
    return f"{change.kind} {change.action} {_via(change)} {_replaced(text, _names(change))}"


# --- blocks --------------------------------------------------------------------------------------------------------


def _block(changes: list[Change], authors: Mapping[str, str]) -> Block:
    first = changes[0]
    rows = tuple(_rows(first)) if len(changes) == 1 or not _is_part(first) else ()
    notes = _notes(first)
    if len(changes) > 1:
        names = _varying(changes)
        same_sources = all(
            change.diff is first.diff or [d.source for d in change.diff] == [d.source for d in first.diff]
            for change in changes
        )
        rows = tuple(
            replace(
                row, source=row.source if same_sources else None,
                first_of=len(changes) if _varies([row.path, row.before, row.after], names) else 0,
            )
            for row in rows
        )  # fmt: skip
        notes = tuple(replace(note, message=_for_all(note.message, names, len(changes))) for note in notes)
    source = _common(
        [diff.source for change in changes for diff in change.diff] or [change.source for change in changes]
    ) or _common([change.source for change in changes])
    made = tuple(authors.get(change.address, "") for change in changes)
    return Block(first.kind, first.action, tuple(changes), rows, notes, _cause(changes, source), source, made)


def _notes(change: Change) -> tuple[Note, ...]:
    """The notes of a change, first why it is refused; a rule's own note then says nothing more."""
    if change.refused is None:
        return change.notes
    code, message, hint = change.refused
    refusal = Note(code, "error", f"refused: {message}" + (f" ({hint})" if hint else ""))
    return (refusal, *(note for note in change.notes if (note.rule, note.severity) != (code, "error")))


def _common(sources: Sequence[Source | None]) -> Source | None:
    first = sources[0] if sources else None
    return first if all(source == first for source in sources) else None


def _cause(changes: Sequence[Change], source: Source | None) -> str:
    """The origin of a block: a line in the YAML, or the layer or file that all its changes have in common."""
    if source is not None:
        return str(source) if source.file else f"({source.via})" if source.via else ""
    given = [change.source for change in changes if change.source]
    if len(given) < len(changes) or not given:
        return ""
    if len(changes) == 1:
        return str(given[0])
    vias = {one.via for one in given}
    files = {one.file for one in given}
    via = f" ({next(iter(vias))})" if len(vias) == 1 and "" not in vias else ""
    if len(files) == 1:
        return f"{next(iter(files))}{via}"
    return via.strip() or f"{len(files)} files"


class Shown(NamedTuple):
    """The value of a row as lines with their signs: ``-``, ``+``, else a blank; ``…`` is a gap.

    ``line`` is one value, ``document`` one of several lines; ``pair`` is the old and the new value, ``set`` the items
    that go and come (``kept``: how many stay), ``diff`` the differing lines of two documents.
    """

    form: Literal["line", "document", "pair", "set", "diff"]
    lines: list[tuple[str, str]]
    kept: int = 0


def shown(row: Row, action: ActionName, *, ascii_only: bool = False) -> Shown:
    """How to show the value of a row; every format draws the same lines."""
    if row.shows == "value":
        value = row.before if action == "delete" else row.after
        if is_flat(value) or not isinstance(value, (dict, list, str)):
            return Shown("line", [(" ", one_line(value, ascii_only=ascii_only))])
        return Shown("document", [(" ", line) for line in nested(value, ascii_only=ascii_only)])
    before, after = row.before, row.after
    sets = set_diff(before, after)
    if sets is not None and (len(before) > 1 or len(after) > 1):
        added, removed, kept = sets
        signed = [*(("-", item) for item in removed), *(("+", item) for item in added)]
        return Shown("set", [(sign, one_line(item, ascii_only=ascii_only)) for sign, item in signed], kept)
    if not (is_flat(before) and is_flat(after)):
        return Shown("diff", nested_diff(before, after, ascii_only=ascii_only))
    old, new = pair(before, after, ascii_only=ascii_only)
    return Shown("pair", [("-", old), ("+", new)])


def _rows(change: Change) -> Iterable[Row]:
    if _shows(change) == "after":
        yield from _value_rows(change)
    elif _shows(change) == "before":
        for path, value in leaves(_dict(hidden(change.before or {}))):
            if value is not None:
                yield Row(path, value, None, "value", None)
    else:
        yield from _diff_rows(change)


def _shows(change: Change) -> str:
    """The values that the rows of a change show: ``after`` for a create or a part that is adopted, ``before`` for a
    delete, else ``diff``."""
    if change.claims and not change.diff:
        return "after"
    return {"create": "after", "delete": "before"}.get(change.action, "diff")


def _dict(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _value_rows(change: Change) -> Iterable[Row]:
    sources = {diff.path: diff.source for diff in change.diff}
    after = with_unknown(hidden(change.after or {}), "", change.unknown)
    values = {path: value for path, value in leaves(_dict(after)) if value is not None}
    for path in change.unknown:  # fields that are not in ``after`` yet
        if not any(path == known or path.startswith(known + ".") for known in values):
            values[path] = UNKNOWN
    for path, value in values.items():
        yield Row(path, None, value, "value", sources.get(path))


def _diff_rows(change: Change) -> Iterable[Row]:
    seen = set()
    for diff in change.diff:
        seen.add(diff.path)
        key = diff.path.rpartition(".")[2]
        before, after = hidden(diff.before, key), hidden(diff.after, key)
        yield Row(diff.path, before, with_unknown(after, diff.path, change.unknown), "change", diff.source)
    record = _record_text(change)
    if record and "value" not in seen:
        yield Row("value", *record, "change", None)
    for path in change.unknown:
        if not any(path == known or path.startswith(known + ".") or known.startswith(path + ".") for known in seen):
            yield Row(path, None, UNKNOWN, "value", None)


def _record_text(change: Change) -> tuple[str, str] | None:
    """The whole SPF record before and after: it is merged with others' terms, which its fields do not show."""
    old, new = (change.before or {}).get("value"), (change.after or {}).get("value")
    if change.kind == "dns_record" and isinstance(old, str) and isinstance(new, str) and old != new:
        return (old, new) if new.lower().startswith("v=spf1") else None
    return None


_RANK: Final = {"error": 0, "warning": 1, "note": 2}


def fold_diagnostics(diagnostics: Iterable[Diagnostic]) -> tuple[tuple[Diagnostic, tuple[str, ...]], ...]:
    """Distinct diagnostics, errors first, each with the addresses that it applies to. Diagnostics that differ only in
    names are folded into the first of them."""
    distinct: dict[tuple[str | int, ...], tuple[Diagnostic, dict[str, None]]] = {}
    for one in diagnostics:
        content = (one.severity, one.code, one.message, one.hint, one.file, one.line, one.column)
        _, addresses_of = distinct.setdefault(content, (one, {}))
        if one.address:
            addresses_of[one.address] = None
    groups: dict[tuple[str, ...], list[_Addressed]] = {}
    for number, (one, addresses_of) in enumerate(distinct.values()):
        addresses = tuple(addresses_of)
        if not addresses or not _PLACEHOLDERS.isdisjoint(one.message + one.hint):
            key: tuple[str, ...] = (str(number),)
        else:
            names = _names_of(addresses[0])
            key = (one.severity, one.code, one.file, _replaced(one.message, names), _replaced(one.hint, names))
        groups.setdefault(key, []).append((one, addresses))
    folded: list[_Addressed] = []
    for group in groups.values():
        lines = {(one.file, one.line) for one, _ in group}
        twins = len(lines) == 1 and _enough([addresses[0] for _, addresses in group if addresses])
        if not (twins or len(group) >= FOLD_FROM):
            folded += [(replace(one, address=""), addresses) for one, addresses in group]
        else:
            folded.append(_folded(group))
    return tuple(sorted(folded, key=lambda item: _RANK.get(item[0].severity, 3)))


_Addressed = tuple[Diagnostic, tuple[str, ...]]


def _folded(group: Sequence[_Addressed]) -> _Addressed:
    """One diagnostic for several that differ only in names."""
    first = group[0][0]
    names = _names_of(group[0][1][0])
    same = {name for name in names if all(name in _names_of(addresses[0]) for _, addresses in group)}
    message = _for_all(first.message, [name for name in names if name not in same], len(group))
    line, column = (first.line, first.column) if len({one.line for one, _ in group}) == 1 else (0, 0)
    return (
        replace(first, message=message, line=line, column=column, address=""),
        tuple(dict.fromkeys(address for _, addresses in group for address in addresses)),
    )


def applied_with(plan: Plan) -> list[str]:
    """What a saved plan is applied with beside its changes, in sentences: account, roles, lock and journal, limit,
    rules. Empty for a plan that is not for saving. The file may have been edited: nothing is taken for granted."""
    stack = plan.context.get("stack")
    if plan.declared is None or not isinstance(stack, Mapping):
        return []

    def place(account: str, role: str) -> str:
        found = [(stack.get(account), "account"), (stack.get(role), "with the role")]
        return " ".join(f"{word} {_word(value)}" for value, word in found if value)

    zones = place("dns_account", "dns_role_arn")
    s3 = _dict(_dict(stack.get("backend")).get("s3"))
    bucket = f"s3://{_word(s3.get('bucket'))}/{_word(s3.get('prefix') or '')}"
    bucket += f" ({_word(s3['region'])})" if s3.get("region") else ""
    kept = bucket if s3 else "the working directory"
    parts = [
        f"For {place('account', 'apply_role_arn')}{f', records in {zones}' if zones else ''}",
        f"regions {_word(stack.get('regions'))}",
        f"lock and journal in {kept}",
        f"more than {_word(stack.get('max_deletes'))} deletions need --allow-deletes.",
    ]
    lines = ["; ".join(parts)]
    rules, waivers = plan.declared.get("rules"), plan.declared.get("waivers")
    if rules:
        lines.append(f"Rules: {', '.join(f'{rule} {_word(severity)}' for rule, severity in _dict(rules).items())}.")
    if waivers:
        lines.append(f"Waived: {_word([_dict(one).get('rule') for one in waivers])}.")
    return lines


def _word(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_word, value))
    return value if isinstance(value, str) else json.dumps(value, default=str)
