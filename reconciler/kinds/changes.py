"""The three changes that a kind finds between desired and live: a creation, an alteration, a deletion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reconciler.kinds.comparing import differences
from reconciler.kinds.ownership import names_more
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
        notes=notes,
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
