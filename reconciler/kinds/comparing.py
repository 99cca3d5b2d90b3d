"""Comparing two documents field by field: plain equality first, then the paths at which they differ.

The live document is laid under the desired one (``overlay``), so that a field nobody wrote cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from sys import intern
from typing import Any

from reconciler.model import Change, Desired, Document, FieldDiff


def _is_map(value: Any) -> bool:
    # Asking for the very class first spares most values the abstract one, which costs ten times as much.
    return type(value) is dict or (type(value) not in _LEAVES and isinstance(value, Mapping))


_LEAVES = frozenset({str, bool, int, type(None), list, tuple})


def overlay(desired: Any, observed: Any) -> Any:
    """``observed`` with every written field of ``desired`` laid over it; maps merge, everything else replaces."""
    if _is_map(desired) and _is_map(observed):
        merged = dict(observed)
        for key, value in desired.items():
            merged[key] = overlay(value, observed.get(key))
        return merged
    return desired


def replacing(desired: Any, observed: Any) -> Any:
    """``desired`` with None for what ``observed`` has beside it, all the way down: laid over it, nothing else stays."""
    if not (_is_map(desired) and _is_map(observed)):
        return desired
    gone = dict.fromkeys(key for key in observed if key not in desired)
    return {**{key: replacing(value, observed.get(key)) for key, value in desired.items()}, **gone}


def project(observed: Any, desired: Any) -> Any:
    """The part of ``observed`` that ``desired`` names, so that unmanaged fields never show as a difference."""
    if _is_map(desired):
        if not _is_map(observed):
            return observed
        return {key: project(observed.get(key), value) for key, value in desired.items()}
    return observed


def covered(observed: Any, desired: Any) -> bool:
    """Whether laying ``desired`` over ``observed`` changes nothing: true of most resources of a run, and found without
    making the documents that ``differences`` compares."""
    for key, value in desired.items():
        there = observed.get(key)
        if value != there and not (_is_map(value) and _is_map(there) and covered(there, value)):
            return False
    return True


def differences(
    before: Document | None, after: Document | None, *, whole: tuple[str, ...] = (), desired: Desired | None = None
) -> tuple[FieldDiff, ...]:
    """Field by field, what ``after`` changes of ``before``; paths are the YAML's own.

    Lists are compared whole. ``whole`` names paths below which every key is one value (``policies``). deepdiff finds
    the places, but only once the cheap equality has failed: most resources of a run are unchanged.
    """
    if before == after:
        return ()
    old, new = _prune(before or {}), _prune(after or {})
    if old == new:
        return ()
    places: dict[tuple[str, ...], None] = {}
    for place in _places(old, new):
        path = _cut(place, whole)
        places |= dict.fromkeys(_leaves(path, _at(old, path), _at(new, path), whole))
    found = []
    for path in sorted(places):
        name, was, now = intern(".".join(path)), _at(old, path), _at(new, path)
        if was is not None or now is not None:  # a null and an absent field are the same
            found.append(FieldDiff(name, was, now, desired.source_of(name) if desired else None))
    return tuple(found)


def _places(old: Document, new: Document) -> Iterator[list[Any]]:
    """Where two documents differ; of one that is all new or all gone, every field."""
    if not (old and new):
        yield from ([key] for key in old or new)
        return
    from deepdiff import DeepDiff

    for group in DeepDiff(old, new, view="tree", threshold_to_diff_deeper=0).values():
        for item in group:
            yield item.path(output_format="list")


def _prune(value: Any) -> Any:
    """Tuples as lists, so that a document compares equal before and after a trip through JSON."""
    if isinstance(value, Mapping):
        return {k: _prune(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_prune(v) for v in value]
    return value


def _cut(path: list[Any], whole: tuple[str, ...]) -> tuple[str, ...]:
    out: list[str] = []
    for part in path:
        if isinstance(part, int):
            break
        out.append(str(part))
        if len(out) >= 2 and ".".join(out[:-1]) in whole:
            break
    return tuple(out)


def _leaves(path: tuple[str, ...], old: Any, new: Any, whole: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if len(path) >= 2 and ".".join(path[:-1]) in whole:
        yield path
        return
    branch = new if isinstance(new, dict) else old if isinstance(old, dict) else None
    if branch is None or (old is not None and new is not None and isinstance(old, dict) != isinstance(new, dict)):
        yield path
        return
    keys = dict.fromkeys([*(old if isinstance(old, dict) else {}), *(new if isinstance(new, dict) else {})])
    if not keys:
        yield path
    for key in keys:
        was = old.get(key) if isinstance(old, dict) else None
        now = new.get(key) if isinstance(new, dict) else None
        if was != now:
            yield from _leaves((*path, key), was, now, whole)


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        if not isinstance(document, Mapping):
            return None
        document = document.get(part)
    return document


def touches(change: Change, *prefixes: str) -> bool:
    """Whether a change alters any field at or below one of ``prefixes``."""
    return any(d.path == p or d.path.startswith(p + ".") for d in change.diff for p in prefixes)
