"""What rules find in a plan, and which changes that refuses. Pure, but for the questions of an ``Outside``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reconciler.kinds.plan_draft import PlanDraft
from reconciler.model import Address, Change, Diagnostic, Note, Refusal
from reconciler.rules import RULES
from reconciler.rules import context as rules
from reconciler.rules.outside import Outside
from reconciler.rules.registry import is_urgent
from reconciler.steps import held_back


def judged(
    draft: PlanDraft, changes: Sequence[Change], outside: Outside | None = None
) -> tuple[list[Change], tuple[Diagnostic, ...]]:
    """The changes with what rules find of them as notes, and the findings that are about no change.

    An error refuses the change that it is about, or else the one without which the rule would not find it. The rules
    judge AWS as it will be without what is refused and what needs that; so the rest is judged again until nothing more
    is refused, and can be applied by itself. ``changes`` are in order.
    """
    before = rules.found_before(draft, changes, outside) if changes else None
    current = list(changes)
    while True:
        held = held_back(current)
        made = [change for change in current if change.address not in held]
        found, findings = rules.evaluate(draft, current, outside, made, before or ())
        # What a rule has refused keeps its reason: without the change there is none.
        found = tuple(
            old if old.refused and old.refused.code in RULES else new for old, new in zip(current, found, strict=True)
        )
        after = [_refused_by_note(change) for change in found]
        if after == [*found]:
            causes = {_cause(draft, made, one, outside): one for one in findings if one.severity == "error"}
            after = [_refused(one, causes[one.address]) if one.address in causes else one for one in found]
        if after == [*found]:
            if before is None:
                return after, tuple(replace(one, stands=not is_urgent(one.code)) for one in findings)
            live = draft.snapshot.observed.keys()
            return rules.with_fixed(after, findings, before, draft.snapshot.desired.keys() - live)
        current = after


def _refused_by_note(change: Change) -> Change:
    """The change, refused where a rule found an error at its address."""
    found = next((note for note in change.notes if note.severity == "error"), None)
    if found is None or change.refused:
        return change
    return replace(change, refused=Refusal(found.rule, found.message, _hint(found.rule)))


def _refused(change: Change, finding: Diagnostic) -> Change:
    """The change, refused because of what a rule found elsewhere."""
    message = f"{finding.address}: {finding.message}"
    hint = f"{finding.hint}; {_hint(finding.code)}" if finding.hint else _hint(finding.code)
    return replace(
        change,
        notes=(*change.notes, Note(finding.code, "error", message)),
        refused=Refusal(finding.code, message, hint),
    )


def _hint(rule: str) -> str:
    return f"`recon rule {rule}` explains it; set the rule's severity or a waiver"


def _cause(draft: PlanDraft, made: Sequence[Change], finding: Diagnostic, outside: Outside | None) -> Address | None:
    """The address of the change that brings an error about: the last of the shortest first part of ``made`` with which
    the rule finds it. None where the rule finds it without any."""

    def without_error(count: int) -> bool:
        return not rules.finds_error(draft, made[:count], finding, outside)

    if not without_error(0):
        return None
    fine, wrong = 0, len(made)
    while wrong - fine > 1:
        middle = (fine + wrong) // 2
        fine, wrong = (middle, wrong) if without_error(middle) else (fine, middle)
    return made[wrong - 1].address
