"""One entry's values under check, with a voice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.desired.nodes import Problems, label
from reconciler.model import Source
from reconciler.resources import SECTIONS


def address_of(section: str, name: str, region: str | None) -> str:
    """The address of what an entry declares; empty for a domain's own (region None), which is several records."""
    spec, _ = SECTIONS[section]
    if not spec.regional:
        return spec.address_of(name)
    return spec.address_of(region, name) if region else ""


@dataclass(slots=True)
class EntryContext:
    """The values of one entry in one region (None where it has none). ``values`` may be folded in place.

    ``bad`` are keys that the schema refused; they are not in ``values`` and not missing either.
    """

    section: str
    name: str
    region: str | None
    values: dict[str, Any]
    sources: Mapping[str, Source]
    source: Source
    problems: Problems
    root: str = "."
    """The state directory, which files are relative to."""
    bad: frozenset[str] = frozenset()
    mistyped: frozenset[str] = frozenset()
    """Paths of maps that hold a key which is not known: it may be meant for one that seems to be missing."""
    where: str = ""
    """Where the entry stands in the YAML, where that is not in its section."""

    def at(self, path: str) -> Source:
        """The place of ``path`` or of its nearest written parent."""
        while path:
            found = self.sources.get(path)
            if found is not None:
                return found
            path = path.rpartition(".")[0]
        return self.source

    def error(self, path: str, code: str, message: str, hint: str = "", what: str = "") -> None:
        """Record an error at a dotted path of the values ("" is the entry itself).

        ``what`` distinguishes several of one code at one path; the same in other regions is said once.
        """
        if code == "missing-key" and path in self.mistyped:
            return
        self.problems.error(
            code, self._say(path, message), hint, source=self.at(path),
            address=address_of(self.section, self.name, self.region), detail=f"{path} {what}", who=self.name,
        )  # fmt: skip

    def warn(self, path: str, code: str, message: str, hint: str = "", what: str = "") -> None:
        """Record a warning at a dotted path of the values."""
        self.problems.warn(
            code, self._say(path, message), hint, source=self.at(path),
            address=address_of(self.section, self.name, self.region), detail=f"{path} {what}", who=self.name,
        )  # fmt: skip

    def _say(self, path: str, message: str) -> str:
        return f"{self.where or label(self.section, self.name)}{'.' if path else ''}{path}: {message}"

    def lacks_value(self, key: str) -> bool:
        """Whether the schema has nothing against ``key``, so that its absence means something."""
        return key not in self.bad

    def lacks(self, key: str) -> bool:
        """Whether ``key`` is not written (and not merely refused by the schema)."""
        return key not in self.values and key not in self.bad
