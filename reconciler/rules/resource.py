"""A resource as it is and as it will be after apply."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from reconciler.model import Address, Change, Desired, Document


class Resource(NamedTuple):
    """One resource, live (``before``) and after apply (``after``); None where it does not exist."""

    address: Address
    kind: str
    region: str | None
    name: str
    before: Document | None
    after: Document | None
    facts: Document
    change: Change | None
    desired: Desired | None

    @property
    def is_new(self) -> bool:
        return self.before is None and self.after is not None

    @property
    def stays(self) -> bool:
        """Live now, and after apply."""
        return self.before is not None and self.after is not None

    def was(self, path: str) -> Any:
        """The live value at a dotted path, or None."""
        return _at(self.before, path)

    def will(self, path: str) -> Any:
        """The value at a dotted path after apply, or None."""
        return _at(self.after, path)

    def alters(self, path: str) -> bool:
        """Whether the plan changes the value at a dotted path of a live resource that stays."""
        return self.after is not self.before and self.stays and self.was(path) != self.will(path)


def _at(document: Any, path: str) -> Any:
    for part in _parts(path):
        if type(document) is not dict and not isinstance(document, Mapping):
            return None
        document = document.get(part)
    return document


@lru_cache(maxsize=1024)
def _parts(path: str) -> tuple[str, ...]:
    """The keys of a dotted path; few paths occur, those in the code of the rules."""
    return tuple(path.split("."))


def laid_over(top: Any, bottom: Any) -> Any:
    """``bottom`` overlaid with ``top``; ``bottom`` itself where that changes nothing, the usual case."""
    # The exact class is checked first: a check against the abstract class costs ten times as much.
    if not (type(top) is type(bottom) is dict) and not (isinstance(top, Mapping) and isinstance(bottom, Mapping)):
        return top
    changed = {}
    for key, value in top.items():
        below = bottom.get(key)
        if value is below or (value == below and key in bottom):
            continue
        laid = laid_over(value, below)
        if laid is not below and (laid != below or key not in bottom):
            changed[key] = laid
    return {**bottom, **changed} if changed else bottom
