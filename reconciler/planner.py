"""The plan: a pure function of a frozen snapshot. No I/O, no clock, no environment.

Every kind gives its differences; here they become one plan: renames joined, rules judged, targets selected,
in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from reconciler import __version__
from reconciler.errors import ReconError
from reconciler.judging import judged
from reconciler.kinds import obstacles
from reconciler.kinds.comparing import differences
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.registry import PLANNING, RANK, REGISTRY
from reconciler.kinds.snapshot import Snapshot
from reconciler.kinds.tags import refuse_too_many
from reconciler.model import (
    Address,
    Change,
    Diagnostic,
    FieldDiff,
    Note,
    Plan,
    Refusal,
    Stack,
    address_parts,
)
from reconciler.rules.outside import Outside
from reconciler.steps import documented_seconds, held_back, steps_of, waiting_for
from reconciler.targets import fitting, known, select


def make_plan(
    snapshot: Snapshot,
    *,
    targets: Sequence[str] = (),
    calls: Mapping[str, int] | None = None,
    outside: Outside | None = None,
    again: bool = False,
) -> Plan:
    """The plan for a snapshot, which is frozen from then on.

    ``targets`` are addresses or globs; a targeted change brings what it needs. With ``again`` they are the addresses of
    a saved plan: one that needs no change any more is no error. Outcome is ``refused`` where a safeguard that no flag
    lifts applies, else ``changes`` or ``no_changes``. With ``outside`` the rules ask public DNS and HTTPS hosts, too.
    """
    draft = PlanDraft(snapshot.freeze())
    for kind in PLANNING:
        draft.changes += map(draft.judged, kind.plan(draft))
    draft.changes += _releases(draft)
    if not targets:
        _name_the_rest(draft)
    obstacles.refuse(draft)
    refuse_too_many(draft)
    refusals = (*snapshot.refusals, *draft.refusals)
    changes = every = _join_renames(snapshot, _with_refusals(snapshot, draft.changes, refusals))
    unread = _unread(snapshot)
    statuses = [status for kind in PLANNING for status in kind.statuses(snapshot)]
    if targets:
        there = targets if again else known(snapshot, changes, targets)
        changes = select(changes, targets, there, unread)
        fits = fitting(targets)
        statuses = [status for status in statuses if fits(status.address)]
        refusals = _about(refusals, every, changes)
    changes, findings = judged(draft, in_order(changes), outside)
    if targets:
        findings = ()
    wrong = any(change.refused for change in changes) or (changes and any(f.severity == "error" for f in findings))
    held = held_back(changes)
    write_calls, seconds = documented_seconds(s for c in changes if c.address not in held for s in steps_of(c))
    stack = snapshot.state.stack
    return Plan(
        stack=stack.name,
        environment=stack.environment,
        account=stack.account,
        outcome="refused" if wrong else "changes" if changes else "no_changes",
        created_at=snapshot.now,
        state_digest=snapshot.state.digest,
        changes=tuple(_with_waiting(snapshot, changes)),
        diagnostics=tuple(
            _sorted((*snapshot.diagnostics, *draft.diagnostics, *refusals, *unread, *statuses, *findings))
        ),
        refresh=snapshot.refresh,
        unread=(*(part.prefix for part in snapshot.unread), *_skipped(snapshot)),
        scanned=tuple(snapshot.scanned),
        calls=dict(calls or {}),
        write_calls=write_calls,
        seconds=seconds,
        recon_version=__version__,
        scope=stack.scope,
        context=context_of(draft, targets),
    )


def context_of(draft: PlanDraft, targets: Sequence[str]) -> dict[str, Any]:
    """What applying needs beside the changes, JSON-able: the stack's place, not its contents."""
    snapshot = draft.snapshot
    return {
        "stack": stack_in_context(snapshot.state.stack),
        "root": snapshot.root,
        "targets": list(targets),
        "removing": snapshot.removing,
        "unreadable": len(snapshot.unread),
    }


def stack_in_context(stack: Stack) -> dict[str, Any]:
    """``stack:`` as a plan's ``context`` has it."""
    return {
        "name": stack.name,
        "environment": stack.environment,
        "account": stack.account,
        "regions": list(stack.regions),
        "partition": stack.partition,
        "plan_role_arn": stack.plan_role_arn,
        "apply_role_arn": stack.apply_role_arn,
        "dns_account": stack.dns_account,
        "dns_role_arn": stack.dns_role_arn,
        "tags": dict(stack.tags),
        "max_deletes": stack.max_deletes,
        "backend": dict(stack.backend),
        "formerly": list(stack.formerly),
    }


def _releases(draft: PlanDraft) -> Iterable[Change]:
    """``released``: what lets go of each live resource of ours whose entry it names."""
    snapshot = draft.snapshot
    for live in snapshot.observed.values() if snapshot.state.released else ():
        if snapshot.lets_go(live.address) and not snapshot.unknown(live.address):
            change = REGISTRY[live.kind].release(snapshot, live)
            if change is not None:
                yield change


def _name_the_rest(draft: PlanDraft) -> None:
    """A note for each resource of a former stack that this state does not declare."""
    for address, owner in draft.snapshot.former.items():
        if not draft.snapshot.names(address):
            draft.left(address, owner)


def _join_renames(snapshot: Snapshot, changes: list[Change]) -> list[Change]:
    """``moved``: the delete of the old and the create of the new become one replacement, which counts as no delete."""
    by_address = {change.address: change for change in changes}
    for moved in snapshot.state.moved:
        old, new = by_address.get(moved.from_address), by_address.get(moved.to_address)
        if old is None or new is None or (old.action, new.action) != ("delete", "create") or old.kind != new.kind:
            continue
        joined = replace(
            new,
            action="replace",
            before=old.before,
            diff=(FieldDiff("address", old.address, new.address), *_lost_or_new(old, new)),
            depends_on=tuple(sorted({*new.depends_on})),
            observed_digest=None,
            refused=new.refused or old.refused,
            notes=(*new.notes, Note("renamed", "note", f"takes the place of {old.address}, which is deleted last")),
            moved_from=old.address,
            moved=old,
            source=moved.source,
        )
        changes = [joined if c.address == new.address else c for c in changes if c.address != old.address]
        by_address = {change.address: change for change in changes}
    return changes


def _lost_or_new(old: Change, new: Change) -> Iterator[FieldDiff]:
    """How what is created under the new name differs from what is deleted; a field that the YAML leaves to AWS differs
    where the old one did not have AWS's default."""
    kind = REGISTRY[new.kind]
    for one in differences(old.before, new.after):
        if one.after is not None or one.before != kind.aws_default(one.path):
            yield one


def _with_refusals(snapshot: Snapshot, changes: Iterable[Change], refusals: Iterable[Diagnostic]) -> list[Change]:
    """The changes, each marked with the first refusal of its address. What is refused although nothing of it differs
    stands among them, too, without a difference."""
    first: dict[Address, Refusal] = {}
    for one in refusals:
        first.setdefault(one.address, Refusal(one.code, one.message, one.hint))
    found = [replace(change, refused=first.get(change.address)) if first else change for change in changes]
    for address in sorted(first.keys() - {change.address for change in found}):
        desired, live = snapshot.desired.get(address), snapshot.observed.get(address)
        found.append(
            Change(
                address,
                address_parts(address).kind,
                "delete" if desired is None else "create" if live is None else "update",
                None if live is None else {},
                None if desired is None else {},
                source=desired.entry.source if desired else None,
                observed_digest=live.digest if live else None,
                region=desired.region if desired else live.region if live else None,
                refused=first[address],
            )
        )
    return found


_MOST_WAITING: Final = 10
"""The most resources that the note of a refused change names."""


def _with_waiting(snapshot: Snapshot, changes: Sequence[Change]) -> Iterator[Change]:
    """The changes, each refused one with a note of what waits for it, also declared parts that are not planned."""
    absent = snapshot.desired.keys() - snapshot.observed.keys()
    waiting = waiting_for(changes, (a for a in absent if snapshot.includes(a) and not snapshot.unknown(a)))
    for change in changes:
        named = waiting.get(change.address, ())
        if named:
            more = f" and {len(named) - _MOST_WAITING} more" if len(named) > _MOST_WAITING else ""
            count = f"{len(named)} parts wait" if len(named) > 1 else "1 part waits"
            note = Note("waits", "note", f"{count} for it: {', '.join(named[:_MOST_WAITING])}{more}")
            change = replace(change, notes=(*change.notes, note))
        yield change


def _about(
    refusals: Iterable[Diagnostic], every: Iterable[Change], selected: Iterable[Change]
) -> tuple[Diagnostic, ...]:  # fmt: skip
    """The refusals of what targets have ``selected``, and those that are about no change."""
    others = {a for c in every for a in _addresses(c)} - {a for c in selected for a in _addresses(c)}
    return tuple(one for one in refusals if one.address not in others)


def _addresses(change: Change) -> set[Address]:
    """The address of a change, and of what it renames."""
    return {change.address, change.moved_from} if change.moved_from else {change.address}


def in_order(changes: Sequence[Change]) -> list[Change]:
    """By needs, then by kind and address; deletes last, in the reverse of needs. Raises ReconError naming a cycle."""
    by_address = {change.address: change for change in changes}
    done: dict[Address, None] = {}
    under_way: list[Address] = []

    def visit(change: Change) -> None:
        if change.address in done:
            return
        if change.address in under_way:
            circle = " -> ".join([*under_way[under_way.index(change.address) :], change.address])
            raise ReconError(f"these changes need each other in a circle: {circle}")
        under_way.append(change.address)
        for need in change.depends_on:
            other = by_address.get(need)
            if other is not None and (other.action == "delete") == (change.action == "delete"):
                visit(other)
        under_way.pop()
        done[change.address] = None

    def place(change: Change) -> tuple[bool, int, str]:
        gone = change.action == "delete"
        number = RANK[change.kind]
        return gone, -number if gone else number, change.address

    for change in sorted(changes, key=place):
        visit(change)
    return [by_address[address] for address in done]


_NAMED = {"sweep": "what is tagged as this stack's"}
"""Parts that could not be read and whose prefix says nothing to people."""


def _unread(snapshot: Snapshot) -> list[Diagnostic]:
    return [
        Diagnostic(
            "error",
            "unread",
            f"could not read {_NAMED.get(part.prefix, part.prefix)}: {part.reason}",
            part.hint,
            address=part.prefix,
        )
        for part in snapshot.unread
    ]


def _skipped(snapshot: Snapshot) -> list[str]:
    """The declared attributes that a bulk read does not see, as ``ADDRESS:PATH``."""
    return sorted(f"{live.address}:{path}" for live in snapshot.observed.values() for path in live.unread)


def _sorted(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    weight = {"error": 0, "warning": 1, "note": 2}
    unique = dict.fromkeys(diagnostics)
    return sorted(unique, key=lambda d: (weight[d.severity], d.code, d.address, d.message))
