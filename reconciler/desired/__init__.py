"""YAML -> ``State``: reading, layers, variables, schema, names, and every check that needs no AWS.

``load`` is the only way in. It reads no environment variable, no clock and no network.
"""

from __future__ import annotations

import gc
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from reconciler.desired import layers, reading
from reconciler.desired.checks import check_all
from reconciler.desired.entries import Assembler, Declared, collect
from reconciler.desired.nodes import Node, Problems, merged
from reconciler.desired.schema import json_schema
from reconciler.desired.stack import base_values, read_moved, read_released, read_rules, read_stack, read_waivers
from reconciler.desired.variables import searches, suggestion
from reconciler.errors import InvalidState
from reconciler.model import Diagnostic, Entry, Moved, Released, Stack, State, Waiver, digest_of
from reconciler.regions import home_region, partition_of
from reconciler.resources import SECTIONS

__all__ = ["Loaded", "environments", "json_schema", "load", "load_texts"]


class Loaded(NamedTuple):
    """A valid state and what is worth saying about it."""

    state: State
    warnings: tuple[Diagnostic, ...]


def load(path: str | Path, environment: str | None = None, *, variables: Mapping[str, str] | None = None) -> Loaded:
    """Read, merge and check the desired state at ``path``, a directory or one file.

    ``environment`` names one of ``environments:``; it is required where any exist. ``variables`` win over the
    state's ``vars:`` and the environment's, and lose against those of a class or an entry.
    Raises InvalidState with every error found, each with file, line, what is wrong and what would be right.
    """
    with _no_collector():
        return _load(Path(path), environment, variables or {})


def environments(path: str | Path) -> tuple[str, ...]:
    """The names of the environments that a state declares; empty for YAML that cannot be read: ``load`` says why."""
    problems = Problems()
    files = reading.find_files(Path(path), problems)
    nodes = [node.get("environments") for file in files if (node := reading.read_file(file, problems)) is not None]
    return tuple(dict.fromkeys(name for node in nodes if node is not None for name, _ in node.children()))


def load_texts(texts: Mapping[str, str], environment: str | None = None, *, beside: str | Path | None = None) -> Loaded:
    """Like ``load``, for files that are not written yet: ``texts`` by name, together with the state at ``beside``."""
    with _no_collector():
        problems = Problems()
        files = reading.find_files(Path(beside), problems) if beside is not None else []
        read = [reading.read_file(file, problems) for file in files]
        read += [reading.read_bytes(text.encode(), name, problems) for name, text in texts.items()]
        return _checked([node for node in read if node is not None], str(beside or "."), environment, {}, problems)


def checked(document: Node, environment: str | None, root: str) -> Loaded:
    """Like ``load``, for a document that does not come from YAML files (``declared.py``)."""
    with _no_collector():
        return _checked([document], root, environment, {}, Problems())


@contextmanager
def _no_collector() -> Iterator[None]:
    """Pause the cyclic collector: loading makes a great many small objects and no cycles, and walking them over and
    over takes a quarter of the time (measured with 10,000 domains)."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _load(root: Path, environment: str | None, variables: Mapping[str, str]) -> Loaded:
    problems = Problems()
    files = reading.find_files(root, problems)
    documents = [node for file in files if (node := reading.read_file(file, problems)) is not None]
    return _checked(documents, str(root), environment, variables, problems)


def _checked(
    documents: list[Node], root: str, environment: str | None, variables: Mapping[str, str], problems: Problems
) -> Loaded:
    """Merge and check files that were read. Raises InvalidState."""
    if not documents:
        if not problems.has_errors:
            problems.add(
                "error", "empty-state", f"{root} declares nothing", "write at least `stack:`, or run `recon init`",
                file=root,
            )  # fmt: skip
        raise InvalidState(problems.all())
    for node in documents:
        if node.get("format_version") is not None and node.get("changes") is not None:
            problems.add(
                "error", "saved-plan", f"{node.file} is a saved plan, not a desired state",
                f"recon show {shlex.quote(node.file)} prints it, recon apply {shlex.quote(node.file)} applies it",
                file=node.file,
            )  # fmt: skip
            raise InvalidState(problems.all())
    document = layers.combine(documents, problems)
    with searches(_partition(document, environment)):
        state = _state(document, environment, variables, root, problems)
    found = problems.all()
    if state is None or problems.has_errors:
        raise InvalidState(found)
    # findings that the rules know too go by the same id, and are silent with them
    return Loaded(state, tuple(warning for warning in found if state.rules.get(warning.code) != "off"))


def _state(
    document: Node, name: str | None, variables: Mapping[str, str], root: str, problems: Problems
) -> State | None:  # fmt: skip
    layers.wrap_single_entries(document)
    layers.check_layers(document, problems)
    chosen, usable = _environment(document, name, problems)
    if not usable:
        return None
    environment = name if chosen is not None else None

    def both(key: str) -> Node | None:
        below, above = document.get(key), chosen.get(key) if chosen is not None else None
        if above is None or above.value is None:
            return below if below is not None and below.value is not None else None
        return merged(below, above)

    stack_node = both("stack")
    tags = stack_node.get("tags") if stack_node is not None else None
    if tags is not None and tags.is_map:
        for child in tags.value.values():
            child.stamp(f"{child.via}, stack.tags" if child.via else "stack.tags")
    own = both("vars")
    base = {key: child.value for key, child in own.children()} if own is not None else {}
    values = base_values(stack_node, environment, {**base, **variables})
    stack = read_stack(stack_node, environment, values, problems, document)
    if not stack.regions:
        # what is wrong with the regions is recorded; the entries are still worth looking at
        partition = _partition(document, environment)
        stack = replace(stack, regions=(home_region(partition),), partition=partition)
        values["region"] = values["region"] or stack.regions[0]
    declared = collect(document, chosen, values, problems)
    assembler = Assembler(
        {"defaults": both("defaults"), "classes": both("classes"), "tags": tags if tags and tags.is_map else None},
        values, stack, problems, root if Path(root).is_dir() else str(Path(root).parent),
    )  # fmt: skip
    entries: list[Entry] = []
    everything: list[Declared] = [item for section in declared.values() for item in section.values()]
    for item in everything:
        assembler.prepare(item)
        found = assembler.entries(item)
        holds = bool(SECTIONS[item.section][0].holds)
        entries.extend((each for entry in found for each in assembler.apart(item, entry)) if holds else found)
    moved = read_moved(both("moved"), values, problems, stack, entries)
    released = read_released(both("released"), values, problems)
    check_all(stack, entries, moved, released, problems)
    rules = read_rules(both("rules"))
    waivers = read_waivers(both("waivers"), values, problems)
    if problems.has_errors:
        return None
    digest = _digest(stack, entries, moved, released, rules, waivers)
    return State(stack, tuple(entries), moved, rules, waivers, digest, root, released)


def _partition(document: Node, environment: str | None) -> str:
    """The partition of the regions as they are written, before they are checked: suggestions alone depend on it."""
    places: list[tuple[str, ...]] = [("environments", environment or "", "stack", "regions"), ("stack", "regions")]
    for path in places:
        node: Node | None = document
        for key in path:
            node = node.get(key) if node is not None else None
        for item in node.value if node is not None and type(node.value) is list else ():
            if isinstance(item.value, str):
                return partition_of(item.value)
    return "aws"


def _environment(document: Node, name: str | None, problems: Problems) -> tuple[Node | None, bool]:
    """The chosen environment's node (None where there are none), and whether loading can go on."""
    node = document.get("environments")
    known = dict(node.children()) if node is not None else {}
    if not known:
        if name is not None:
            problems.error(
                "unknown-environment", f"there is no environment {name}: the state declares none",
                "leave out --env, or declare it under `environments:`", at=document,
            )  # fmt: skip
        return None, name is None
    if name is None:
        problems.error(
            "environment-required", "the state has environments, so one must be named",
            f"add --env NAME; there are: {', '.join(known)}", source=node.source if node is not None else None,
        )  # fmt: skip
        return None, False
    if name not in known:
        problems.error("unknown-environment", f"there is no environment {name}", suggestion(name, known),
                       source=node.source if node is not None else None)  # fmt: skip
        return None, False
    chosen = known[name]
    return (chosen if chosen.is_map else chosen.with_value({})), True


def _digest(
    stack: Stack, entries: list[Entry], moved: tuple[Moved, ...], released: tuple[Released, ...],
    rules: Mapping[str, str], waivers: tuple[Waiver, ...],
) -> str:  # fmt: skip
    """Over everything that decides what is desired; places in files do not."""
    described: dict[str, Any] = {
        "stack": {
            "name": stack.name, "environment": stack.environment, "account": stack.account,
            "regions": list(stack.regions), "roles": [stack.plan_role_arn, stack.apply_role_arn],
            "dns": [stack.dns_account, stack.dns_role_arn], "tags": dict(stack.tags),
            "max_deletes": stack.max_deletes, "backend": dict(stack.backend), "formerly": list(stack.formerly),
        },
        "entries": sorted(
            ([e.section, e.name, e.region or "", e.values] for e in entries), key=lambda item: tuple(item[:3])
        ),
        "moved": [[m.from_address, m.to_address] for m in moved],
        "released": sorted(map(str, released)),
        "rules": dict(rules),
        "waivers": [[w.rule, w.address, w.reason, w.until] for w in waivers],
    }  # fmt: skip
    return digest_of(described)
