"""``fleet.yaml`` -> units: which stacks there are, with their environments, labels and profiles."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reconciler.desired.nodes import Node, Problems, show
from reconciler.desired.reading import SUFFIXES, read_file
from reconciler.errors import InvalidState, ReconError
from reconciler.names import similar

_KEYS: Final = ("state", "env", "labels", "profile")
_GLOB: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Unit:
    """One stack of a fleet: its state in one environment.

    ``id`` is its path from the fleet file, with ``@ENVIRONMENT`` where one is named; ``state`` the path for commands.
    """

    id: str
    state: str
    env: str | None
    profile: str | None
    labels: Mapping[str, str]
    place: str
    """FILE:LINE in the fleet file."""


def read_fleet(path: str, select: Iterable[str] = ()) -> list[Unit]:
    """The units that a fleet file declares and that have all labels of ``select`` (``key=value``), sorted by id.

    Raises InvalidState with everything that is wrong in the file, ReconError for a bad ``select``.
    """
    wanted = [_pair(text) for text in select]
    problems = Problems()
    root = read_file(Path(path), problems)
    if root is None and not problems.has_errors:
        problems.add("error", "empty-fleet", f"{path} declares no stacks", "write stacks: [{state: DIRECTORY}]")
    units = list(_units(root, Path(path).parent, problems)) if root is not None else []
    if problems.has_errors:
        raise InvalidState(problems.all(), what="the fleet file")
    found = [unit for unit in units if all(unit.labels.get(key) == value for key, value in wanted)]
    if wanted and not found:
        there = sorted({f"{key}={value}" for unit in units for key, value in unit.labels.items()})
        asked = " and ".join(f"{key}={value}" for key, value in wanted)
        hint = f"labels are {', '.join(there[:10])}" if there else "no stack has labels"
        raise ReconError(f"no stack of {path} has the label {asked}", hint=hint)
    return sorted(found, key=lambda unit: unit.id)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ReconError(f"--select {text} is not KEY=VALUE", hint="such as --select team=a")
    return key, value


def _units(root: Node, base: Path, problems: Problems) -> Iterator[Unit]:
    for key, child in root.children():
        if key != "stacks":
            _unknown(key, child, ("stacks",), problems)
    stacks = root.get("stacks")
    if stacks is None or type(stacks.value) is not list or not stacks.value:
        problems.error(
            "bad-fleet", "`stacks` must be a list with at least one stack", "stacks: [{state: DIRECTORY}]",
            at=stacks or root,
        )  # fmt: skip
        return
    seen: dict[str, str] = {}
    for item in stacks.value:
        for unit in _of(item, base, problems):
            if unit.id in seen:
                problems.error(
                    "declared-twice", f"{unit.id} is in this fleet already, at {seen[unit.id]}",
                    "leave one of the two out", at=item, detail=unit.id,
                )  # fmt: skip
                continue
            seen[unit.id] = unit.place
            yield unit


def _of(item: Node, base: Path, problems: Problems) -> Iterator[Unit]:
    """The units of one line: one for each directory that its ``state`` matches."""
    if not item.is_map:
        problems.error("bad-fleet", f"a stack is a map; found {show(item.value)}", "{state: DIRECTORY}", at=item)
        return
    for key, child in item.children():
        if key not in _KEYS:
            _unknown(key, child, _KEYS, problems)
    state = _text(item, "state", problems, required=True)
    env, profile = _text(item, "env", problems), _text(item, "profile", problems)
    labels = _labels(item.get("labels"), problems)
    for found in _matching(state, base, item.get("state"), problems) if state else ():
        name = Path(os.path.normpath(found)).as_posix()
        yield Unit(
            f"{name}@{env}" if env else name, str(base / found), env, profile, labels,
            f"{item.source.file}:{item.source.line}",
        )  # fmt: skip


def _unknown(key: str, node: Node, known: Iterable[str], problems: Problems) -> None:
    near = similar(key, known)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    problems.error("unknown-key", f"unknown key {show(key)}", hint, source=node.source)


def _text(item: Node, key: str, problems: Problems, *, required: bool = False) -> str | None:
    node = item.get(key)
    value: Any = node.value if node is not None else None
    if value is None and not required:
        return None
    if isinstance(value, str) and value and value.isprintable():
        return value
    problems.error("bad-fleet", f"`{key}` must be a text; found {show(value)}", at=node or item)
    return None


def _labels(node: Node | None, problems: Problems) -> dict[str, str]:
    if node is None or node.value is None:
        return {}
    if not node.is_map:
        problems.error("bad-fleet", f"`labels` must be a map; found {show(node.value)}", "labels: {team: a}", at=node)
        return {}
    found = {}
    for key, child in node.children():
        if isinstance(child.value, str):
            found[key] = child.value
        else:
            problems.error(
                "bad-fleet", f"the label {show(key)} must be a text; found {show(child.value)}",
                "put it in quotes", at=child,
            )  # fmt: skip
    return found


def _matching(pattern: str, base: Path, node: Node | None, problems: Problems) -> list[str]:
    """The states that ``pattern`` names: directories, or single files of YAML."""
    if not _GLOB & set(pattern):
        if not (base / pattern).exists():
            problems.error(
                "no-such-path", f"{base / pattern} does not exist", "paths are relative to the fleet file", at=node
            )
            return []
        return [pattern]
    try:
        paths = [
            path.relative_to(base) for path in base.glob(pattern) if path.is_dir() or path.suffix.lower() in SUFFIXES
        ]
    except (NotImplementedError, ValueError):  # an absolute pattern, `**` inside a name
        paths = []
    found = sorted(str(path) for path in paths if not any(part.startswith(".") for part in path.parts))
    if not found:
        problems.error(
            "no-such-path", f"nothing matches {show(pattern)} below {base}", "paths are relative to the fleet file",
            at=node,
        )  # fmt: skip
    return found
