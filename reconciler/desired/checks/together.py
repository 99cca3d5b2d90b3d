"""Checks of how the entries of one state fit together: references, quotas, renames; kinds have more in their folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.desired.checks.place import address_of
from reconciler.desired.checks.values import checks_of
from reconciler.desired.nodes import Problems, label
from reconciler.desired.variables import suggestion
from reconciler.model import Entry, Moved, Released, Source, Stack
from reconciler.resources import KINDS, SECTIONS, children, entries_of, fields_with_arns
from reconciler.resources.spec import KindSpec, Named, Reference


def check_all(
    stack: Stack, entries: Iterable[Entry], moved: Iterable[Moved], released: Iterable[Released], problems: Problems
) -> None:
    """Record everything that only the whole state can show."""
    together = Together(stack, problems)
    for entry in entries:
        together.entries.append(entry)
        together.sections.setdefault(entry.section, []).append(entry)
        before = together.index.setdefault((entry.section, entry.name), {}).setdefault(entry.region, entry)
        if before is not entry:
            together.error(
                entry, "", "duplicate-declaration", f"it is also declared at {before.source}", "keep one of the two: "
                "what an entry holds has the name NAME-KEY", entry.section,
            )  # fmt: skip
    together.check(tuple(moved))
    together.check_released(tuple(released), tuple(moved))


@dataclass(slots=True)
class Together:
    """All entries of one state, and a voice. ``index``: (section, name) -> region -> entry."""

    stack: Stack
    problems: Problems
    entries: list[Entry] = field(default_factory=list)
    sections: dict[str, list[Entry]] = field(default_factory=dict)
    index: dict[tuple[str, str], dict[str | None, Entry]] = field(default_factory=dict)
    hints: dict[tuple[str, str], str] = field(default_factory=dict)

    def section(self, name: str) -> Iterable[Entry]:
        return self.sections.get(name, ())

    def error(self, entry: Entry, path: str, code: str, message: str, hint: str = "", detail: str = "") -> None:
        self._record(self.problems.error, entry, path, code, message, hint, detail)

    def warn(
        self, entry: Entry, path: str, code: str, message: str, hint: str = "", detail: str = "", address: str = ""
    ) -> None:  # fmt: skip
        """``address`` is what the warning is about where that is not the entry: what a reference names."""
        self._record(self.problems.warn, entry, path, code, message, hint, detail, address)

    def _record(
        self, record: Any, entry: Entry, path: str, code: str, message: str, hint: str, detail: str, address: str = ""
    ) -> None:  # fmt: skip
        record(
            code, f"{label(entry.section, entry.name)}{'.' if path else ''}{path}: {message}", hint,
            source=entry.source_of(path), address=address or address_of(entry.section, entry.name, entry.region),
            detail=detail or path, who=entry.name,
        )  # fmt: skip

    def check(self, moved: tuple[Moved, ...]) -> None:
        for entry in self.entries:
            for reference in SECTIONS[entry.section][0].references:
                if not reference.covering and entry.region is not None:
                    self._must_exist(entry, reference)
            self._names(entry)
        for kind in sorted({SECTIONS[entry.section][0].name for entry in self.entries}):
            checks = checks_of(kind)
            if checks is not None and hasattr(checks, "check_together"):
                checks.check_together(self)
        self._counts()
        self._moved(moved)

    # --- references: undeclared is a warning, it may exist live ---

    def _must_exist(self, entry: Entry, reference: Reference) -> None:
        name = reference.name_in(entry.values)
        if name is None:
            return
        target = KINDS[reference.kind]
        found = next((there for s in target.sections if (there := self.index.get((s.name, name))) is not None), None)
        if found is not None and entry.region in found:
            return
        if found is None:
            hint = self._suggest(target, name)
            message = f"the {target.words} {name} is not declared"
        else:
            message = f"the {target.words} {name} is not declared for {entry.region}"
            hint = f"it is declared for {', '.join(str(region) for region in found)}; add {entry.region} to its regions"
        detail = f"{reference.path} {name} {entry.region}"
        referred = target.address_of(str(entry.region), name)
        self.warn(entry, reference.path, "undeclared-reference", message, hint, detail, referred)

    def _names(self, entry: Entry) -> None:
        """A name where AWS wants an ARN is that of something the state declares for the region."""
        for path, named, text in names_written(SECTIONS[entry.section][0], entry.values):
            target = KINDS[named.kind]
            found = self.index.get((target.section, text), {})
            if entry.region is not None and entry.region not in found:
                hint = suggestion(text, [name for section, name in self.index if section == target.section])
                if found:
                    hint = f"it is declared for {', '.join(map(str, found))}; add {entry.region} to its regions"
                self.error(
                    entry, path, "undeclared-name", f"no {target.words} {text} is declared for {entry.region}",
                    hint or f"declare it under `{target.section}:`, or write an ARN", f"{path} {text} {entry.region}",
                )  # fmt: skip

    def _suggest(self, target: KindSpec, name: str) -> str:
        section = target.section
        if (section, name) not in self.hints:
            hint = suggestion(name, [known for kind, known in self.index if kind == section])
            if not hint.startswith("did you mean"):
                hint = f"declare it under `{section}:`; plan refuses unless it exists live"
            self.hints[section, name] = hint
        return self.hints[section, name]

    # --- quotas, renames ---

    def _counts(self) -> None:
        counts = Counter((SECTIONS[e.section][0].name, e.region) for e in self.entries if e.region is not None)
        for (kind, region), count in counts.items():
            spec = KINDS[kind]
            if spec.quota is None or count <= spec.quota:
                continue
            if spec.quota_fixed:
                last = [e for e in self.entries if SECTIONS[e.section][0] is spec and e.region == region][spec.quota]
                many = f"{spec.quota} {spec.words if spec.quota == 1 else spec.many}"
                self.error(last, "", "too-many", f"a region has at most {many}; {count} are declared for {region}",
                           "take one out, or declare it for another region", f"{kind} {region}")  # fmt: skip
                continue
            self.problems.warn(
                "quota", f"{count:,} {spec.many} in {region}: AWS's quota is {spec.quota:,}",
                "ask AWS whether it can be raised, or use several accounts", source=self.stack.source,
                detail=f"{kind} {region}",
            )  # fmt: skip

    def _moved(self, moved: tuple[Moved, ...]) -> None:
        declared = self._declared_addresses() if moved else frozenset()
        sources: dict[str, Source] = {}
        targets: dict[str, Source] = {}
        for item in moved:
            old, new = item.from_address, item.to_address
            kind, region = _kind_and_region(old)
            if old == new:
                self._moved_error(item, "moved-to-itself", f"{old} is moved to itself", "take the line out")
                continue
            if (kind, region) != _kind_and_region(new):
                self._moved_error(item, "moved-elsewhere", f"{old} cannot become {new}: a rename keeps kind and region",
                                  "take the line out: this is a delete and a create")  # fmt: skip
            elif why := KINDS[kind].cannot_move:
                self._moved_error(item, "moved-not-possible", f"{old} cannot be renamed: {why}", "take the line out")
            for seen, address, word in ((sources, old, "from"), (targets, new, "to")):
                if address in seen:
                    self._moved_error(item, "duplicate-declaration", f"{word}: {address} is named twice: also at "
                                      f"{seen[address]}", "keep one of the two")  # fmt: skip
                seen.setdefault(address, item.source)
            if old in declared:
                self._moved_error(item, "moved-still-declared", f"{old} is still declared",
                                  "take the old declaration out, or the line in `moved:`")  # fmt: skip
            if (KINDS[kind].sections or KINDS[kind].parent_key) and new not in declared:
                self.problems.warn("moved-not-declared", f"moved.to: {new} is not declared",
                                   "declare it, or take the line out", source=item.source)  # fmt: skip

    def check_released(self, released: tuple[Released, ...], moved: tuple[Moved, ...]) -> None:
        """What is let go can be neither declared nor the old name of what is declared."""
        renamed = {text: item for item in moved for text in entries_of(item.from_address)}
        for one in released:
            declared = self.index.get((one.section, one.name))
            if declared is not None:
                place = next(iter(declared.values())).source
                code, message = "released-and-declared", f"is also declared: at {place}"
            elif str(one) in renamed:
                code, message = "released-and-moved", f"is also renamed: at {renamed[str(one)].source}"
            else:
                continue
            hint = "take one of the two out: what is declared is owned, and what is released is not"
            self.problems.error(code, f"released: {one} {message}", hint, source=one.source)

    def _moved_error(self, item: Moved, code: str, message: str, hint: str) -> None:
        self.problems.error(code, f"moved: {message}", hint, source=item.source)

    def _declared_addresses(self) -> frozenset[str]:
        found: set[str] = set()
        for entry in self.entries:
            found.add(address_of(entry.section, entry.name, entry.region))
            for child in children(SECTIONS[entry.section][0].name):
                for name, _, _ in child.held_in(entry.values):
                    found.add(child.address_of(str(entry.region), entry.name, *name))
        return frozenset(found - {""})


def names_written(spec: KindSpec, values: Mapping[str, Any]) -> Iterator[tuple[str, Named, str]]:
    """The names that stand in an entry, or in what it holds of other kinds, where AWS wants ARNs: path, field, name."""
    for named in fields_with_arns(spec.name, values):
        yield from ((named.path, named, text) for text in named.texts_in(values) if ":" not in text)
    for child in children(spec.name):
        for _, at, inner in child.held_in(values):
            for path, named, text in names_written(child, inner) if isinstance(inner, Mapping) else ():
                yield f"{at}.{path}", named, text


def _kind_and_region(address: str) -> tuple[str, str]:
    kind, _, rest = address.partition("/")
    return kind, rest.partition("/")[0] if KINDS[kind].regional else ""
