"""The YAML in the making: entries with a value for each region, what was left out of them, and why.

Nothing here reads AWS. Texts are live values made inert (``literal``): what the loader would expand is escaped, what it
refuses is left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from reconciler.desired.variables import BadVariable, Variables
from reconciler.importing.finding import Skipped
from reconciler.importing.users import SmtpUserFound
from reconciler.model import Address
from reconciler.resources import KINDS, SECTIONS

KIND_OF: Final[Mapping[str, str]] = {name: spec.name for name, (spec, _) in SECTIONS.items()}
"""Section -> the kind that its entries declare; users are described apart."""
Path = tuple[str, ...]

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


class Unwritable(ValueError):
    """A live text that has no place in YAML; says why."""


def literal(value: Any, *, policy: bool = False) -> Any:
    """A live value as the YAML must say it, so that loading gives it back: ``${`` escaped as ``$${``.

    IAM's own variables in policies (``${aws:username}``) stay as they are. Raises Unwritable for control characters.
    """
    if isinstance(value, str):
        if _CONTROL.search(value):
            raise Unwritable(f"{shown_text(value)} holds control characters")
        if "${" not in value:
            return value
        try:
            if policy and Variables({}).expand(value, policy=True) == value:
                return value
        except BadVariable:
            pass  # not IAM's own: escaped like any other
        return value.replace("${", "$${")
    if isinstance(value, Mapping):
        return {literal(str(k), policy=policy): literal(v, policy=policy) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [literal(item, policy=policy) for item in value]
    return value


def inert(text: str) -> str:
    """A text on one line, with escapes for whatever a terminal or an editor would not show as it is, and for what a
    pipeline would carry out (``COMMAND``)."""
    return pipeline_safe("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))


COMMAND: Final = re.compile(r"##(?=\w*\[)|::(?=[A-Za-z])")
"""What begins a command to a pipeline that prints it: ``##[error]``, ``##vso[task.setvariable]``, ``::set-env`` (GitHub
Docs, "Workflow commands"; Azure Pipelines, "Logging commands"). GitLab's sections begin with an escape character."""


def pipeline_safe(text: str) -> str:
    """``text`` with each ``COMMAND`` as escapes, which a double-quoted text of YAML reads back as what they were."""
    return COMMAND.sub(lambda found: "".join(f"\\x{ord(c):02x}" for c in found[0]), text)


def shown_text(text: str) -> str:
    """``inert``, and no longer than people read."""
    out = inert(text)
    return out if len(out) <= 300 else out[:297] + "..."


@dataclass(slots=True)
class Dropped:
    """A part of an entry that is not declared; ``live`` is its value, by region where they differ."""

    path: Path
    why: str
    live: dict[str | None, Any] = field(default_factory=dict)


@dataclass(slots=True)
class EntryDraft:
    """One entry: ``own`` holds what has no region, ``regional`` the rest by region; values as in the YAML."""

    section: str
    name: str
    own: dict[str, Any] = field(default_factory=dict)
    regional: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    passing: list[str] = field(default_factory=list)
    """What is so today, and would soon be wrong in a file."""
    dropped: list[Dropped] = field(default_factory=list)
    unmanaged: list[str] = field(default_factory=list)
    mixed: set[str] = field(default_factory=set)
    """Keys of ``own`` that are not the same in all regions."""

    def addresses(self) -> Iterator[Address]:
        for region in self.regional:
            yield KINDS[KIND_OF[self.section]].address_of(region, self.name)

    def put(self, place: dict[str, Any], key: str, value: Any, *, below: Path = (), policy: bool = False) -> None:
        """Set a live value, or say that it cannot be written. ``below`` is the path of ``place`` in the entry."""
        try:
            place[literal(key)] = literal(value, policy=policy)
        except Unwritable as problem:
            self.note_dropped((*below, shown_text(key)), str(problem))

    def note_dropped(self, path: Path, why: str, live: Mapping[str | None, Any] | None = None) -> None:
        """Say that a part is left out, once for each reason."""
        for part in self.dropped:
            if (part.path, part.why) == (path, why):
                part.live.update(live or {})
                return
        self.dropped.append(Dropped(path, why, dict(live or {})))

    def drop(self, path: Path, why: str, region: str | None = None) -> bool:
        """Leave a part out, in one region or in all. False where it is neither written nor left alone already.

        What the entry does not say itself comes from a layer below it and is opted out of by ``unmanaged``.
        """
        taken: dict[str | None, Any] = {}
        if region is None and (value := _take(self.own, path)) is not _NOTHING:
            taken[None] = value
        for place, values in self.regional.items():
            if region in {None, place} and (value := _take(values, path)) is not _NOTHING:
                taken[place] = value
        if taken:
            self.note_dropped(path, why, taken)
            return True
        return self.unmanage(".".join(path), why)

    def unmanage(self, dotted: str, why: str) -> bool:
        """Opt out of what recon or a layer below would manage by itself."""
        if dotted in self.unmanaged:
            return False
        self.unmanaged.append(dotted)
        self.note_dropped(tuple(dotted.split(".")), why)
        return True


_NOTHING: Final = object()


def _take(place: dict[str, Any], path: Path) -> Any:
    for key in path[:-1]:
        inner = place.get(key)
        if not isinstance(inner, dict):
            return _NOTHING
        place = inner
    return place.pop(path[-1], _NOTHING) if path else _NOTHING


def part_name(address: Address) -> str:
    """What names a part of a resource in it: of ``event_destination/us-east-1/SET/NAME`` the name."""
    return address.split("/", 3)[3]


@dataclass(slots=True)
class ImportDraft:
    """Everything that will be written. ``stack`` is the block of a new state, None beside an existing one."""

    regions: tuple[str, ...]
    stack: dict[str, Any] | None = None
    environment: str | None = None
    items: dict[tuple[str, str], EntryDraft] = field(default_factory=dict)
    users: list[SmtpUserFound] = field(default_factory=list)
    declare_users: bool = False
    left: list[Skipped] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    unowned: list[Address] = field(default_factory=list)
    """What has no owner, where only what the stack owns is wanted."""

    def item(self, section: str, name: str) -> EntryDraft:
        return self.items.setdefault((section, name), EntryDraft(section, name))

    def leave_out(self, item: EntryDraft, code: str, why: str) -> None:
        """Take a whole entry out again."""
        self.items.pop((item.section, item.name), None)
        for address in item.addresses():
            self.left.append(Skipped(address, code, why))
        if not item.regional:
            self.left.append(Skipped(f"dns_record/?/{item.name}/*", code, why))

    def by_address(self) -> dict[Address, EntryDraft]:
        return {address: item for item in self.items.values() for address in item.addresses()}


# --- one entry from the values of its regions ----------------------------------------------------------------------


def merged(regional: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """(the values of the entry itself, ``by_region``), which together give every region its values back.

    Equal values go to the top, as do texts that differ by the name of the region alone (``${region}``); where every
    region has a value, the most frequent one, and the others below ``by_region``.
    """
    top: dict[str, Any] = {}
    below: dict[str, dict[str, Any]] = {region: {} for region in regional}
    for key in dict.fromkeys(key for values in regional.values() for key in values):
        held = {region: values[key] for region, values in regional.items() if key in values}
        if len(held) < len(regional):
            for region, value in held.items():
                below[region][key] = value
            continue
        if key != "dkim" and all(isinstance(value, dict) for value in held.values()):
            inner, apart = merged(held)
            if inner or not any(apart.values()):
                top[key] = inner
            for region, values in apart.items():
                if values:
                    below[region][key] = values
            continue
        common = _common(held)
        top[key] = common
        for region, value in held.items():
            if _at(common, region) != value:
                below[region][key] = value
    return top, {region: values for region, values in below.items() if values}


def _common(held: Mapping[str, Any]) -> Any:
    """One value for all regions, with ``${region}`` where that makes it one, else the most frequent."""
    values = list(held.values())
    if all(value == values[0] for value in values):
        return values[0]
    patterns = [_pattern(value, region) for region, value in held.items()]
    shifted = all(f"${region}" not in str(value) for region, value in held.items())
    if shifted and all(pattern == patterns[0] for pattern in patterns):
        return patterns[0]
    counted = Counter(repr(value) for value in values)
    best = max(counted.values())
    return next(value for value in values if counted[repr(value)] == best)


def _pattern(value: Any, region: str) -> Any:
    return _with_texts(value, lambda text: text.replace(region, "${region}"))


def _at(common: Any, region: str) -> Any:
    return _with_texts(common, lambda text: re.sub(r"(?<!\$)\$\{region\}", region, text))


def _with_texts(value: Any, changed: Callable[[str], str]) -> Any:
    """``value`` with each text in it changed; the keys of maps stay."""
    if isinstance(value, str):
        return changed(value)
    if isinstance(value, Mapping):
        return {key: _with_texts(one, changed) for key, one in value.items()}
    return [_with_texts(one, changed) for one in value] if isinstance(value, list) else value
