"""The declared difference between two states, without AWS: for pull requests from forks, which have no credentials.

Each state is planned as a first apply to an AWS account that has only the zones. A reviewer sees the difference of the
two plans, as if the base state were live. The kinds plan as usual; everything is pure.

It lacks what only AWS knows: manual edits, owners, statuses, DKIM tokens, which zone a name is in. The plan says so,
and can be neither saved nor applied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from reconciler import secrets
from reconciler.kinds.comparing import differences
from reconciler.kinds.snapshot import Snapshot, ref_key
from reconciler.model import Change, Diagnostic, Document, Plan, State
from reconciler.names import at_or_above, parents
from reconciler.observing import declare
from reconciler.planner import in_order, make_plan
from reconciler.resources import KINDS
from reconciler.resources.dns_record import intents
from reconciler.resources.dns_record.kind import declared_names, known_addresses, live_names
from reconciler.resources.dns_record.zones import Zone, ZoneIndex
from reconciler.targets import normalise_target, select

UNDECIDABLE = frozenset({"missing-reference", "no-tracking-identity", "no-zone", "many-zones", "below-delegation"})
"""Refusals that only AWS could confirm; an offline plan leaves them out."""


def empty_snapshot(state: State, now: str, others: Sequence[State] = ()) -> Snapshot:
    """The snapshot of an AWS account that has only the zones that the states' names need; every key can be read.

    A zone is assumed at the topmost declared domain above a name, over all of the given states, so that two
    states agree on it. Pure.
    """
    snapshot = declare(state, now)
    domains = {e.name.removeprefix("*.") for s in (state, *others) for e in s.section("domains") if e.region is None}
    tops = {name for name in domains if not any(parent in domains for parent in parents(name))}
    for top in sorted(tops):
        _add_zone(snapshot, top, top)
    for entry in state.section("domains"):
        if entry.region is not None:
            continue
        for zone in intents.zones_named(entry):
            if zone not in {None, "auto", "manual"}:
                _add_zone(snapshot, str(zone), next(name for name in at_or_above(entry.name) if name in tops))
    index = ZoneIndex(snapshot.zones)
    for name, hint in [*declared_names(snapshot), *live_names(snapshot)]:
        if hint in {None, "auto"} and not isinstance(index.pick(name, hint), Zone):
            index.add(_add_zone(snapshot, name, name))
    for desired in snapshot.kind("email_identity"):
        reference = (desired.entry.values.get("dkim") or {}).get("domain_signing_private_key")
        if isinstance(reference, Mapping):
            snapshot.keys[ref_key(reference)] = f"(public half of {secrets.describe(reference)})"
    return snapshot


def _add_zone(snapshot: Snapshot, zone_id: str, name: str) -> Zone:
    return snapshot.zones.setdefault(zone_id, Zone(zone_id, name, loaded=True))


def declared_difference(head: State, base: State, now: str, *, targets: Sequence[str] = ()) -> Plan:
    """What applying ``head`` would change if ``base`` were live. Needs no AWS; writes nothing.

    The outcome is ``changes`` or ``no_changes``; ``context`` has ``offline``, and no change has an ``execution``.
    """
    snapshots = empty_snapshot(head, now, [base]), empty_snapshot(base, now, [head])
    after, before = (make_plan(snapshot) for snapshot in snapshots)
    old, new = _by_address(before), _by_address(after)
    changes = [c for c in (_difference(old.get(a), new.get(a)) for a in sorted({*old, *new})) if c is not None]
    targets = [normalise_target(target) for target in targets]
    if targets:
        known = [a for snapshot in snapshots for a in (*snapshot.desired, *known_addresses(snapshot))]
        chosen = {c.address for c in select(list({**old, **new}.values()), targets, known)}
        changes = [c for c in changes if c.address in chosen]
    changes = in_order(changes)
    known_before = {(d.code, d.address, d.message) for d in before.diagnostics}
    diagnostics = [d for d in after.diagnostics if (d.code, d.address, d.message) not in known_before]
    diagnostics = [d for d in diagnostics if d.code not in UNDECIDABLE]
    offline = Diagnostic(
        "note", "offline", f"made without AWS: the declared difference to {base.root}, as if that were live",
        "AWS was not read; this plan can be neither saved nor applied",
    )  # fmt: skip
    return replace(
        after, outcome=_outcome(changes), changes=tuple(changes), refresh="offline", unread=(),
        diagnostics=(offline, *diagnostics), scanned=(f"{base.root}, instead of AWS",), calls={}, write_calls=0,
        seconds=0, context={"offline": True, "against": base.root, "targets": list(targets)},
    )  # fmt: skip


def _outcome(changes: Sequence[Change]) -> str:
    if any(change.refused for change in changes):
        return "refused"
    return "changes" if changes else "no_changes"


def labelled(text: str, format: str, plan: Plan) -> str:
    """A rendered plan (text or Markdown) with a first line that says that it was made offline."""
    warning = f"Offline: the declared difference to {plan.context['against']}. AWS was not read."
    if format == "markdown":
        from reconciler.renderers.escape import markdown_text

        head, _, rest = text.partition("\n\n")  # the hidden marker and the heading stay first
        return f"{head}\n\n> ⚠️ {markdown_text(warning)}\n\n{rest}"
    return f"{warning}\n\n{text}" if format == "text" else text


def _by_address(plan: Plan) -> dict[str, Change]:
    """The changes by address, without recon's marker records, which have nothing to do with mail."""
    return {c.address: c for c in plan.changes if not c.execution.get("marker")}


def _difference(old: Change | None, new: Change | None) -> Change | None:
    """One resource's difference between a first apply of the one state (``old``) and of the other (``new``)."""
    if new is None:
        if old is None or KINDS[old.kind].permanent:
            return None
        deleted = _without_own_tags(old.after)
        return replace(
            old, action="delete", before=deleted, after=None, diff=differences(deleted, None), unknown=(), notes=(),
            execution={}, depends_on=(), counts=KINDS[old.kind].counts_deletes, refused=None,
        )  # fmt: skip
    after = _without_own_tags(new.after)
    refused = new.refused if new.refused and new.refused.code not in UNDECIDABLE else None
    if old is None:
        return replace(new, after=after, diff=differences(None, after), execution={}, refused=refused)
    before = _without_own_tags(old.after)
    found = differences(before, after)
    if not found:
        return None
    sources = {d.path: d.source for d in (*old.diff, *new.diff)}
    diff = tuple(replace(d, source=sources.get(d.path)) for d in found)
    # A message may name the new value, so rules are compared: one that already reported on the base is not new.
    reported = {n.rule for n in old.notes}
    notes = tuple(n for n in new.notes if n.rule not in reported)
    if refused and (refused.code in reported or refused == old.refused):
        refused = None
    return replace(
        new, action="update", before=before, after=after, diff=diff, notes=notes, execution={}, refused=refused
    )


def _without_own_tags(document: Document | None) -> dict[str, Any]:
    """A document without the tags in which recon stores ownership."""
    shown = dict(document or {})
    if isinstance(shown.get("tags"), Mapping):
        shown["tags"] = {k: v for k, v in shown["tags"].items() if not k.startswith("recon:")}
    return shown
