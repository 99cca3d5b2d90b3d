"""The kinds by name, found in the folders of ``reconciler.resources``, and the orders that follow from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from reconciler.kinds.kind import BaseKind
from reconciler.kinds.plain import PlainKind
from reconciler.resources import FOLDER, KINDS, PLAN_ORDER, PLANNING_ORDER
from reconciler.resources.spec import PlainSpec


def _kinds() -> Iterator[BaseKind]:
    """A kind is its folder's ``kind.KIND``; without that module it is plain."""
    for name, spec in KINDS.items():
        if (FOLDER / name / "kind.py").is_file():
            yield import_module(f"reconciler.resources.{name}.kind").KIND
        elif isinstance(spec, PlainSpec):
            yield PlainKind(spec)
        else:
            raise TypeError(f"reconciler/resources/{name} needs a kind.py: its SPEC is not a PlainSpec")


REGISTRY: Mapping[str, BaseKind] = {kind.name: kind for kind in _kinds()}

PLANNING: tuple[BaseKind, ...] = tuple(REGISTRY[name] for name in PLANNING_ORDER)
"""The kinds in the order in which they plan."""

RANK: Mapping[str, int] = {name: number for number, name in enumerate(PLAN_ORDER)}
"""The place of each kind's changes in a plan; deletions come in the reverse order."""
