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

from reconciler.model import SYMBOLS, ActionName, Change, Diagnostic, Note, Plan, Source
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
"""So many similar changes become one block."""


@dataclass(frozen=True, slots=True)
class Row:
    """One field. ``shows`` is ``value`` (all of a create or delete, in ``after``) or ``change`` (before to after)."""

    path: str
    before: Any
    after: Any
    shows: str
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """One change, or several that differ only in names (shown as ``${name}``, ``${region}``)."""

    kind: str
    action: ActionName
    changes: tuple[Change, ...]
    rows: tuple[Row, ...]
    notes: tuple[Note, ...]
    cause: str
    source: Source | None

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
        """What stands beside the block's name: in drift what differs, and the cause."""
        words = _DRIFT_WORDS.get(self.action, "") if mode == "drift" else ""
        return [text for text in (words, self.cause) if text]

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
        return self.action in ("delete", "replace") or any(note.severity != "note" for note in self.notes)


@dataclass(frozen=True, slots=True)
class View:
    """A plan as blocks: creates to replaces in the plan's order, deletes last."""

    plan: Plan
    blocks: tuple[Block, ...]
    diagnostics: tuple[tuple[Diagnostic, tuple[str, ...]], ...]
    """Each distinct diagnostic with its addresses, errors first."""

    risky: tuple[Block, ...] = field(default=())
    calm: tuple[Block, ...] = field(default=())


def view(plan: Plan) -> View:
    """The view of a plan."""
    groups: dict[tuple[Any, ...], list[Change]] = {}
    deletes_last = sorted(plan.changes, key=lambda change: change.action == "delete")
    shapes = [_shape(change) for change in deletes_last]
    counts = Counter(shapes)
    for number, change in enumerate(deletes_last):
        # fingerprints cost time: only for a shape that enough changes have
        key: tuple[Any, ...] = ("one", number)
        if counts[shapes[number]] >= FOLD_FROM:
            key = ("like", _fingerprint(change))
        groups.setdefault(key, []).append(change)
    order = {id(change): number for number, change in enumerate(deletes_last)}
    lists: list[list[Change]] = []
    for changes in groups.values():
        lists.extend([changes] if len(changes) >= FOLD_FROM else [[change] for change in changes])
    lists.sort(key=lambda changes: order[id(changes[0])])
    blocks = tuple(_block(changes) for changes in lists)
    return View(
        plan,
        blocks,
        fold_diagnostics(_not_shown(plan)),
        tuple(sorted((b for b in blocks if b.risky), key=_risk_rank)),
        tuple(b for b in blocks if not b.risky),
    )


def _not_shown(plan: Plan) -> Iterable[Diagnostic]:
    """The diagnostics, without the refusals that stand beside their change."""
    shown = {(c.address, c.refused.code, c.refused.message) for c in plan.changes if c.refused}
    return (one for one in plan.diagnostics if (one.address, one.code, one.message) not in shown)


def _risk_rank(block: Block) -> int:
    if block.action == "delete":
        return 0
    if block.action == "replace":
        return 1
    return 2 if any(note.severity == "error" for note in block.notes) else 3


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
_PLACEHOLDERS: Final = {
    "\ue000": "${name}", "\ue001": "${domain}", "\ue002": "${label}", "\ue003": "${set}", "\ue004": "${zone}",
    "\ue005": "${region}", "\ue006": "${token}",
}  # fmt: skip
_NAME, _DOMAIN, _LABEL, _SET, _ZONE, _REGION, _TOKEN = _PLACEHOLDERS
Names = Sequence[tuple[str, str]]


def _names(change: Change) -> Names:
    """The names of one change with their placeholders, the longest first."""
    record = (change.after or change.before or {}).get("name") if ":dkim:" in change.address else None
    return _names_of(change.address, change.region or "", record if isinstance(record, str) else "")


@lru_cache(maxsize=200_000)
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


def _template(value: Any, names: Names) -> Any:
    """``value`` for all changes of a block: the names that vary as ``${name}``, ``${region}``."""
    if isinstance(value, str):
        if not _PLACEHOLDERS.keys().isdisjoint(value):
            return value
        text = _replaced(value, names)
        for placeholder, shown in _PLACEHOLDERS.items():
            text = text.replace(placeholder, shown)
        return text
    if isinstance(value, Placeholder):
        return Placeholder(_template(value.text, names))
    if isinstance(value, Mapping):
        return {_template(str(key), names): _template(item, names) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_template(item, names) for item in value]
    return value


def _for_all(message: str, names: Names, count: int) -> str:
    """``message``, which is about the first of ``count`` resources, with how many others it applies to."""
    varies = _replaced(message, names) != message
    return f"{message} (the same for {count - 1} others)" if varies and count > 1 else message


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
    if not _PLACEHOLDERS.keys().isdisjoint(text):
        return change.address
    return f"{change.kind} {change.action} {_via(change)} {_replaced(text, _names(change))}"


# --- blocks --------------------------------------------------------------------------------------------------------


def _block(changes: list[Change]) -> Block:
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
            Row(
                _template(row.path, names), _template(row.before, names), _template(row.after, names), row.shows,
                row.source if same_sources else None,
            )
            for row in rows
        )  # fmt: skip
        notes = tuple(replace(note, message=_for_all(note.message, names, len(changes))) for note in notes)
    source = _common(
        [diff.source for change in changes for diff in change.diff] or [change.source for change in changes]
    ) or _common([change.source for change in changes])
    return Block(first.kind, first.action, tuple(changes), rows, notes, _cause(changes, source), source)


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
        if not addresses or not _PLACEHOLDERS.keys().isdisjoint(one.message + one.hint):
            key: tuple[str, ...] = (str(number),)
        else:
            names = _names_of(addresses[0])
            key = (one.severity, one.code, one.file, _replaced(one.message, names), _replaced(one.hint, names))
        groups.setdefault(key, []).append((one, addresses))
    folded: list[_Addressed] = []
    for group in groups.values():
        if len(group) < FOLD_FROM:
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
        f"Applied in {place('account', 'apply_role_arn')}{f', records in {zones}' if zones else ''}",
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
