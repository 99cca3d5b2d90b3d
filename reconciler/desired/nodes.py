"""Values with their places: what YAML reading yields and what the layers are merged from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from reconciler.masking import MASK, mask_shapes
from reconciler.model import Diagnostic, Severity, Source

UNEXPANDED = frozenset({"undefined-variable", "bad-variable", "variable-cycle"})
"""Codes of a text whose variables could not be replaced."""
MAX_DIAGNOSTICS: Final = 500
"""More than anybody reads; the rest is counted."""


SECRET: Final = frozenset({"credentials", "access_key", "domain_signing_private_key"})
"""Keys below which somebody may paste a secret instead of saying where it is."""


class AmbiguousScalar:
    """A scalar that YAML readers disagree about (``010``, ``12:30``, ``1_000``); no schema type takes it.

    ``raw`` is its text, ``reason`` says what readers make of it.
    """

    __slots__ = ("raw", "reason")

    def __init__(self, raw: str, reason: str) -> None:
        self.raw = raw
        self.reason = reason

    def __repr__(self) -> str:
        return self.raw


class Node:
    """A YAML value with its place.

    ``value`` is a ``dict[str, Node]``, a ``list[Node]`` or a scalar (text, int, float, bool, None,
    ``AmbiguousScalar``). ``line`` and ``column`` (from 1) are the place of the value, ``key_line`` and ``key_column``
    its key (0 for list items).
    ``via`` is the layer that it comes from, see ``Source``. ``raw`` is the text of a plain scalar that is no text.
    ``size`` counts the nodes below and including this one.
    """

    __slots__ = ("_source", "column", "file", "key_column", "key_line", "line", "raw", "size", "value", "via")

    def __init__(
        self, value: Any, file: str, line: int, column: int, key_line: int = 0, key_column: int = 0, via: str = "",
        raw: str = "", size: int = 1,
    ) -> None:  # fmt: skip
        self.value = value
        self.file = file
        self.line = line
        self.column = column
        self.key_line = key_line
        self.key_column = key_column
        self.via = via
        self.raw = raw
        self.size = size
        self._source: Source | None = None

    @property
    def source(self) -> Source:
        """The place that asks for this value: its key, or itself where it is a list item."""
        if self._source is None:
            self._source = Source(self.file, self.key_line or self.line, self.key_column or self.column, self.via)
        return self._source

    @property
    def is_map(self) -> bool:
        return type(self.value) is dict

    def get(self, key: str) -> Node | None:
        """The child of a map, None for what is no map or has no such key."""
        return self.value.get(key) if type(self.value) is dict else None

    def children(self) -> Iterable[tuple[str, Node]]:
        """Key and child of a map; nothing for what is no map."""
        return self.value.items() if type(self.value) is dict else ()

    def with_value(self, value: Any) -> Node:
        """A node at the same place with another value."""
        return Node(value, self.file, self.line, self.column, self.key_line, self.key_column, self.via, self.raw)

    def copy(self, via: str | None = None) -> Node:
        """A deep copy, with another ``via`` where given."""
        value = self.value
        if type(value) is dict:
            value = {key: child.copy(via) for key, child in value.items()}
        elif type(value) is list:
            value = [child.copy(via) for child in value]
        return Node(
            value, self.file, self.line, self.column, self.key_line, self.key_column,
            self.via if via is None else via, self.raw, self.size,
        )  # fmt: skip

    def stamp(self, via: str) -> Node:
        """Name the layer of this node and everything below; returns itself. Layers never share nodes."""
        self.via = via
        self._source = None
        if type(self.value) is dict:
            for child in self.value.values():
                child.stamp(via)
        elif type(self.value) is list:
            for child in self.value:
                child.stamp(via)
        return self

    def plain(self) -> Any:
        """The value without places, as written."""
        if type(self.value) is dict:
            return {key: child.plain() for key, child in self.value.items()}
        if type(self.value) is list:
            return [child.plain() for child in self.value]
        return self.value

    def at(self, path: Iterable[str | int]) -> Node:
        """The deepest node that exists along ``path``."""
        node = self
        for part in path:
            value = node.value
            if not (part in value if type(value) is dict else type(value) is list and part in range(len(value))):
                break
            node = value[part]
        return node


def merged(below: Node | None, above: Node) -> Node:
    """``above`` laid over ``below``: maps merge, everything else (lists, scalars, null) replaces. Inputs are kept."""
    if below is None:
        return above
    lower, upper = below.value, above.value
    if type(lower) is not dict or type(upper) is not dict:
        return above
    if not lower:
        return above
    out = dict(lower)
    for key, child in upper.items():
        under = out.get(key)
        out[key] = child if under is None else merged(under, child)
    return above.with_value(out)


def clip(text: str, limit: int = 60) -> str:
    """``text``, or as much of its beginning as fits into a message, without what is shaped like a secret."""
    text = mask_shapes(text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def label(section: str, name: str) -> str:
    """What messages call an entry: ``domains.acme.com``; the section alone where that is the one entry."""
    return f"{section}.{name}" if name else section


def show(value: Any, limit: int = 60) -> str:
    """A value as it would stand in YAML, short, on one line, for messages."""
    if isinstance(value, str):
        text = value if value.isprintable() else mask_shapes(value).encode("unicode_escape").decode("ascii")
        return '"' + clip(text, limit) + '"'
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a map" if value else "an empty map"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return str(value)[:limit]


@dataclass(slots=True)
class Problems:
    """Collects diagnostics: everything that is wrong is reported at once, the same thing at the same place once."""

    _found: dict[tuple[str, int, int, str, str], Diagnostic] = field(default_factory=dict)
    _others: dict[tuple[str, int, int, str, str], set[str]] = field(default_factory=dict)
    _places: set[tuple[str, int, int, str]] = field(default_factory=set)

    hidden: set[str] = field(default_factory=set)
    """Keys and values below ``credentials`` and the like, where somebody may have pasted a secret: no finding repeats
    them."""
    names: set[str] = field(default_factory=set)
    """Keys elsewhere, which findings may name."""

    def add(
        self, severity: Severity, code: str, message: str, hint: str = "", *, file: str = "", line: int = 0,
        column: int = 0, address: str = "", detail: str | None = None, who: str = "",
    ) -> None:  # fmt: skip
        """Record one finding.

        ``detail`` distinguishes findings of one code at one place; the message by default. ``who`` is the entry that it
        is about: one line of ``defaults`` may be wrong for thousands, which are counted.
        """
        key = (file, line, column, code, message if detail is None else detail)
        self._others.setdefault(key, set()).add(who)
        if key in self._found:
            return
        self._found[key] = Diagnostic(severity, code, message, hint, file, line, column, address)
        self._places.add((file, line, column, code))

    def error(
        self, code: str, message: str, hint: str = "", *, at: Node | None = None, source: Source | None = None,
        address: str = "", detail: str | None = None, who: str = "",
    ) -> None:  # fmt: skip
        """An error at a node's value or at a source."""
        file, line, column = _place(at, source)
        self.add(
            "error", code, message, hint, file=file, line=line, column=column, address=address, detail=detail, who=who
        )  # fmt: skip

    def warn(
        self, code: str, message: str, hint: str = "", *, at: Node | None = None, source: Source | None = None,
        address: str = "", detail: str | None = None, who: str = "",
    ) -> None:  # fmt: skip
        """A warning at a node's value or at a source."""
        file, line, column = _place(at, source)
        self.add(
            "warning", code, message, hint, file=file, line=line, column=column, address=address, detail=detail, who=who
        )  # fmt: skip

    def reported(self, source: Source, code: str) -> bool:
        """Whether this code was already recorded at this place."""
        return (source.file, source.line, source.column, code) in self._places

    @property
    def has_errors(self) -> bool:
        return any(found.severity == "error" for found in self._found.values())

    def all(self) -> tuple[Diagnostic, ...]:
        """Everything, errors and warnings in the order of the files; repeats are counted in the message. Of a text that
        could not be expanded nothing else is said: what is wrong with ``${NAME}`` as a value is no error of its own."""
        out = []
        unexpanded = {place[:3] for place in self._places if place[3] in UNEXPANDED}
        for key, found in self._found.items():
            if key[:3] in unexpanded and key[3] not in UNEXPANDED:
                continue
            others = len(self._others[key]) - 1
            if others:
                message = f"{found.message} (and {others} more entr{'ies' if others > 1 else 'y'} from this line)"
                found = Diagnostic(
                    found.severity, found.code, message, found.hint, found.file, found.line, found.column, found.address
                )
            out.append(found)
        out.sort(key=lambda d: (d.file, d.line, d.column, d.code, d.message))
        if len(out) > MAX_DIAGNOSTICS:
            out.sort(key=lambda d: d.severity != "error")
            rest = len(out) - MAX_DIAGNOSTICS
            out = [
                *out[:MAX_DIAGNOSTICS],
                Diagnostic("error", "too-many-errors", f"{rest} more findings are not shown"),
            ]
            if not self.has_errors:
                out.pop()
        pattern = self._hidden_pattern()
        return tuple(_masked(found, pattern) for found in out)

    def _hidden_pattern(self) -> re.Pattern[str] | None:
        """What matches the hidden texts, as messages quote them: whole, escaped or clipped."""
        forms: set[str] = set()
        for text in self.hidden - self.names:
            for form in (text, text.strip(), show(text, len(text) + 3)[1:-1], show(text)[1:-1].removesuffix("...")):
                forms |= {form, form.lower(), form.upper()}
        found = [re.escape(form) for form in sorted(forms, key=len, reverse=True) if len(form) >= _SHORTEST_HIDDEN]
        return re.compile(f"(?<![A-Za-z0-9])(?:{'|'.join(found)})(?![A-Za-z0-9])") if found else None


_SHORTEST_HIDDEN: Final = 3


def _masked(found: Diagnostic, pattern: re.Pattern[str] | None) -> Diagnostic:
    def shown(text: str) -> str:
        return mask_shapes(pattern.sub(MASK, text) if pattern else text)

    return replace(found, message=shown(found.message), hint=shown(found.hint), address=shown(found.address))


def _place(at: Node | None, source: Source | None) -> tuple[str, int, int]:
    if at is not None:
        return at.file, at.line, at.column
    if source is not None:
        return source.file, source.line, source.column
    return "", 0, 0
