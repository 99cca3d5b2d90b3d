"""Checks of one entry's values: forms, lengths and counts that AWS or an RFC fixes; names are folded on the way.

What a kind declares (names, quotas, references) is checked here; the rest is in the ``checks.py`` of its folder.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from reconciler.desired.checks.forms import check_tags
from reconciler.desired.checks.place import EntryContext
from reconciler.desired.nodes import show
from reconciler.model import Stack
from reconciler.resources import FOLDER, KINDS, SECTIONS, children
from reconciler.resources.spec import KindSpec, at_path


def check_values(place: EntryContext, stack: Stack) -> None:
    """Check the values of one entry that passed its schema, and fold the names inside them. May be called again."""
    spec, _ = SECTIONS[place.section]
    if not _check_name(place, "", place.name, spec) and place.name in spec.reserved:
        place.error("", "bad-name", f"{place.name} is a name of AWS's own", "choose another name")
    for reference in spec.references:
        name = at_path(place.values, reference.path)
        target = KINDS[reference.kind]
        if isinstance(name, str) and not reference.covering and target.named_badly(name):
            place.error(
                reference.path, "bad-name", f"{show(name)} cannot be the name of a {target.words}", target.pattern_words
            )
    for child in children(spec.name):
        if child.parent_key:
            _check_children(place, spec, child)
    checks = checks_of(spec.name)
    if checks is not None:
        checks.check(place, stack)
    check_tags(place)


def _check_name(place: EntryContext, path: str, name: str, spec: KindSpec) -> bool:
    wrong = spec.named_badly(name)
    if wrong:
        place.error(path, "bad-name", f"{show(name)} is not a name for {spec.a_words}", spec.pattern_words)
    return wrong


def _check_children(place: EntryContext, spec: KindSpec, child: KindSpec) -> None:
    """What an entry holds of another kind: how many, their names, and their values."""
    held = place.values.get(child.parent_key)
    if not isinstance(held, dict):
        return
    if child.quota is not None and len(held) > child.quota:
        place.error(
            child.parent_key, "too-many", f"{len(held)} {child.words}s; SES takes {child.quota} a {spec.words}",
            f"declare {child.quota} at most",
        )  # fmt: skip
    checks = checks_of(child.name)
    for name, values in held.items():
        path = f"{child.parent_key}.{name}"
        _check_name(place, path, name, child)
        if checks is not None and isinstance(values, dict):
            checks.check(place, path, values)


@cache
def checks_of(kind: str) -> Any:
    """The module with a kind's own checks, or None."""
    there = (FOLDER / kind / "checks.py").is_file()
    return import_module(f"reconciler.resources.{kind}.checks") if there else None
