"""From changes to steps in waves: which part of which change may run when, and which DNS edits share a batch. Pure.

A wave counts how many DNS batches must have been written before a step may run. All edits of a zone in one wave are
one batch, so a first apply needs one batch a zone, and only what must follow an answer of SES takes another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter

from reconciler.errors import ReconError
from reconciler.kinds.kind import Need, Step
from reconciler.kinds.registry import REGISTRY
from reconciler.model import Address, Change, Plan
from reconciler.resources import holder_of

SES_RATE = 1.0
ROUTE53_RATE = 5.0
IAM_RATE = 10.0
"""Requests per second for estimates: SES "Service quotas", Route 53 "Quotas"; IAM's are not published."""


def steps_of(change: Change) -> list[Step]:
    """All steps of one change; those of a rename also delete the old name, under its own address."""
    kind = REGISTRY[change.kind]
    old = change.moved
    if old is None:
        return list(kind.steps(change))
    created = replace(change, action="create", before=None)
    first = list(kind.steps(created))
    last = [
        replace(step, needs=(*step.needs, *(s.id for s in first if not s.after_verification)))
        for step in REGISTRY[old.kind].steps(old)
    ]
    return [*first, *last]


def needs_of_change(change: Change) -> set[Address]:
    """The addresses of the changes that must be carried out with it: what it depends on, and what its steps wait for.
    A refused change has no steps."""
    steps = () if change.refused else steps_of(change)
    return {*change.depends_on, *(need.address for step in steps for need in step.needs)}


def held_back(changes: Iterable[Change]) -> dict[Address, str]:
    """The changes that are not carried out, and why: the refused ones, and all that need them."""
    changes = list(changes)
    held = {c.address: f"refused: {c.refused.message}" for c in changes if c.refused}
    if not held:
        return held
    needs = {c.address: needs_of_change(c) - {c.address} for c in changes}
    grown = True
    while grown:
        more = {
            address: f"needs {need}, which is {'refused' if held[need].startswith('refused') else 'skipped'}"
            for address, wanted in needs.items()
            if address not in held and (need := min(wanted & held.keys(), default=None)) is not None
        }
        held |= more
        grown = bool(more)
    return held


def waiting_for(changes: Iterable[Change], declared: Iterable[Address]) -> dict[Address, list[Address]]:
    """What waits for each refused change, sorted: the changes that need it, also through others, and of what is
    ``declared`` its parts that are no changes."""
    changes = list(changes)
    refused = {change.address for change in changes if change.refused}
    if not refused:
        return {}
    waiting: dict[Address, set[Address]] = {}
    for change in changes:
        for need in needs_of_change(change) if not change.refused else ():
            waiting.setdefault(need, set()).add(change.address)
    for address in {*declared} - {change.address for change in changes}:
        holder = holder_of(address)
        if holder in refused:
            waiting.setdefault(holder, set()).add(address)
    found: dict[Address, list[Address]] = {}
    for address in refused:
        reached, todo = set[Address](), [address]
        while todo:
            more = waiting.get(todo.pop(), set()) - reached - {address}
            reached |= more
            todo += more
        if reached:
            found[address] = sorted(reached)
    return found


def to_do(plan: Plan) -> Plan:
    """The plan with the changes alone that can be carried out."""
    held = held_back(plan.changes)
    return replace(plan, changes=tuple(c for c in plan.changes if c.address not in held)) if held else plan


@dataclass(frozen=True, slots=True)
class Batch:
    """What the applier runs at once: one step, or all DNS steps of a zone in one wave."""

    id: str
    steps: tuple[Step, ...]
    needs: frozenset[str]
    """Ids of other batches."""


def split_after_verification(steps: Iterable[Step]) -> tuple[list[Step], list[Step]]:
    """The steps that may run at once, and those that wait for SES to verify, with all that need them."""
    listed = list(steps)
    late = {step.id for step in listed if step.after_verification}
    grown = True
    while grown:
        more = {step.id for step in listed if step.id not in late and not late.isdisjoint(step.needs)}
        late |= more
        grown = bool(more)
    return [step for step in listed if step.id not in late], [step for step in listed if step.id in late]


def schedule(steps: Iterable[Step]) -> list[Batch]:
    """Group and order steps; needs that are not in this run count as done. Raises ReconError naming a circle."""
    by_id = {step.id: step for step in steps}
    wave = _waves(by_id)
    batch_of: dict[Need, str] = {}
    groups: dict[str, list[Step]] = {}
    named: dict[tuple[str, int], str] = {}
    for key, step in by_id.items():
        # One name for all steps of a batch, not as many as there are steps.
        batch = named.setdefault((step.zone, wave[key]), f"{step.zone}@{wave[key]}") if step.zone else str(key)
        batch_of[key] = batch
        groups.setdefault(batch, []).append(step)
    batches = []
    for batch, members in groups.items():
        needs = {batch_of[n] for step in members for n in step.needs if n in batch_of} - {batch}
        batches.append(Batch(batch, tuple(members), frozenset(needs)))
    return batches


def longest_chains(batches: Iterable[Batch]) -> dict[str, int]:
    """How many batches wait for each one, one after another: what has most of them behind it should run first."""
    needs = {batch.id: batch.needs for batch in batches}
    chain = dict.fromkeys(needs, 0)
    for name in reversed([*TopologicalSorter(needs).static_order()]):
        for need in needs.get(name, ()):
            chain[need] = max(chain.get(need, 0), chain[name] + 1)
    return chain


def _waves(by_id: Mapping[Need, Step]) -> dict[Need, int]:
    """How many batches of other zones must have been written before each step. Looked for step by step: a sorter of the
    standard library would hold a list of followers for each of tens of thousands."""
    wave: dict[Need, int] = {}
    for first in by_id:
        todo, under_way = [first], dict[Need, None]()
        while todo:
            key = todo[-1]
            if key in wave:
                todo.pop()
                continue
            zone = by_id[key].zone
            needs = [need for need in by_id[key].needs if need in by_id and need != key]
            missing = [need for need in needs if need not in wave]
            if not missing:
                wave[key] = max((wave[n] + (by_id[n].zone not in {"", zone}) for n in needs), default=0)
                under_way.pop(key, None)
                continue
            under_way[key] = None
            for need in missing:
                if need in under_way:
                    path = [*under_way]
                    circle = " -> ".join(map(str, [*path[path.index(need) :], need]))
                    raise ReconError(f"these steps need each other in a circle: {circle}")
            todo += missing
    return wave


def documented_seconds(steps: Iterable[Step]) -> tuple[int, int]:
    """How many write calls the steps take, and how many seconds they need at AWS's documented rates."""
    counts: Counter[tuple[str, str | None]] = Counter()
    zones: set[tuple[str, str]] = set()
    for step in steps:
        if step.zone:
            zones.add((step.zone, step.label))
            continue
        for call in step.calls:
            service = call.partition(":")[0]
            counts[service, step.region if service == "sesv2" else None] += 1
    counts["route53", None] += len({zone for zone, _ in zones})
    rates = {"sesv2": SES_RATE, "route53": ROUTE53_RATE, "iam": IAM_RATE}
    seconds = max((number / rates.get(service, 20.0) for (service, _), number in counts.items()), default=0.0)
    return sum(counts.values()), round(seconds + 0.499)
