"""The three changes that a kind finds between desired and live: a creation, an alteration, a deletion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from reconciler.kinds.comparing import differences
from reconciler.kinds.ownership import LISTS, PREFIX, STACK, means_none, named, names_more, unpack
from reconciler.model import Address, Change, Desired, Document, FieldDiff, Note, Observed, Source


def creation(
    desired: Desired,
    after: Document,
    *,
    whole: tuple[str, ...] = (),
    depends_on: tuple[Address, ...] = (),
    notes: tuple[Note, ...] = (),
    execution: dict[str, Any] | None = None,
) -> Change:
    """The creation of ``desired`` with the fields of ``after``; ``whole`` as in ``differences``."""
    return Change(
        desired.address,
        desired.kind,
        "create",
        None,
        after,
        differences(None, after, whole=whole, desired=desired),
        depends_on=depends_on,
        notes=notes,
        source=desired.entry.source,
        region=desired.region,
        execution=execution or {},
    )


def release(live: Observed, tags: Mapping[str, str], **execution: Any) -> Change:
    """Let ``live`` go: recon's own among ``tags`` are taken off, and nothing else changes."""
    ours = {key: value for key, value in tags.items() if key.startswith(PREFIX)}
    before, after = {"tags": ours}, {"tags": dict.fromkeys(ours)}
    parts = "; ".join(f"{key.removeprefix(PREFIX)}: {', '.join(sorted(there))}" for key, there in _listed(ours).items())
    words = (
        f"released: it stays in AWS{f' ({parts})' * bool(parts)}, and recon neither changes nor deletes it from now "
    )
    words += "on; to delete it, do so by hand; to own it again, declare it"
    return Change(
        live.address,
        live.kind,
        "update",
        before,
        after,
        differences(before, after),
        notes=(Note("left", "note", words),),
        observed_digest=live.digest,
        region=live.region,
        execution=execution,
    )


def _listed(tags: Mapping[str, str | None]) -> dict[str, frozenset[str]]:
    """What recon's tags list, by tag; without those that list nothing."""
    there = {key: value for key, value in tags.items() if value is not None}
    found = {key: unpack(there, key) for key in LISTS}
    return {key: names for key, names in found.items() if names}


def _left_behind(desired: Desired, live: Observed, after: Document) -> tuple[Note, ...]:
    """What a former owner put into ``live`` that the state, which takes it over, does not declare; what it declares to
    be none is deleted."""
    owner, kept = live.tags.get(STACK), _listed(after.get("tags") or {})
    none = tuple(key for key in desired.entry.values if means_none(desired.entry, key))
    left = {
        tag: {name for name in names - kept.get(tag, frozenset()) if not name.startswith(tuple(f"{k}." for k in none))}
        for tag, names in _listed(live.tags).items()
        if not any(key.endswith(tag.removeprefix(PREFIX)) for key in none)
    }
    parts = "; ".join(f"{key.removeprefix(PREFIX)} {' '.join(sorted(names))}" for key, names in left.items() if names)
    if owner is None or not parts:
        return ()
    words = f"{named(owner)} put there what is not declared here: {parts}; it stays as it is, and recon forgets it"
    return (Note("left", "note", words),)


def alteration(
    desired: Desired,
    live: Observed,
    before: Document,
    after: Document,
    diff: tuple[FieldDiff, ...],
    *,
    adopts: bool = False,
    replaces: bool = False,
    depends_on: tuple[Address, ...] = (),
    notes: tuple[Note, ...] = (),
    source: Source | None = None,
    execution: dict[str, Any] | None = None,
) -> Change:
    """An update, or an adoption, or a replacement; asked for by ``source``, else by the first field that differs.

    Where nothing differs but what recon's own tags remember of the resource, its parts are adopted."""
    claims = not (adopts or replaces) and names_more(before.get("tags") or {}, after.get("tags") or {}, diff)
    return Change(
        desired.address,
        desired.kind,
        "adopt" if adopts or claims else "replace" if replaces else "update",
        before,
        after,
        diff,
        depends_on=depends_on,
        notes=(*notes, *(_left_behind(desired, live, after) if adopts else ())),
        source=source or (diff[0].source if diff else None) or desired.entry.source,
        observed_digest=live.digest,
        region=desired.region,
        execution=execution or {},
        claims=claims,
    )


def claim(desired: Desired, live: Observed, shown: Document, depends_on: tuple[Address, ...] = ()) -> Change:
    """The adoption of a part that is live as declared, ``shown``: the tag of its owner remembers it from now on."""
    found = alteration(desired, live, shown, shown, (), adopts=True, depends_on=depends_on)
    return replace(found, claims=True)


def deletion(
    live: Observed,
    before: Document | None = None,
    *,
    whole: tuple[str, ...] = (),
    depends_on: tuple[Address, ...] = (),
    notes: tuple[Note, ...] = (),
    counts: bool = True,
    execution: dict[str, Any] | None = None,
) -> Change:
    """The deletion of ``live``, shown as ``before`` (default: all of it); ``counts`` against ``max_deletes``."""
    shown = live.spec if before is None else before
    return Change(
        live.address,
        live.kind,
        "delete",
        shown,
        None,
        differences(shown, None, whole=whole),
        depends_on=depends_on,
        notes=notes,
        observed_digest=live.digest,
        region=live.region,
        counts=counts,
        execution=execution or {},
    )
