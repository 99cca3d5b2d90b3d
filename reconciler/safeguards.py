"""The safeguards: what refuses a plan before anything is written. A flag lifts some of them."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.errors import Refused
from reconciler.model import Diagnostic, Plan
from reconciler.rules import RULES


def check_safeguards(
    plan: Plan,
    *,
    allow_adopt: bool = False,
    allow_deletes: int | None = None,
    resume_sending: bool = False,
    max_deletes: int = 5,
    consent: bool = False,
) -> None:
    """Refuse, before anything is written, what the contract's safeguards guard. Raises Refused naming each.

    ``consent`` says that somebody saw the whole plan as a saved file (adoption) or typed the stack's name (destroy).
    """
    wrong: list[Diagnostic] = []
    if plan.outcome == "refused":
        wrong += [d for d in plan.diagnostics if d.severity == "error" and d.code != "unread"]
    adopted = [change.address for change in plan.changes if change.action == "adopt"]
    if adopted and not (allow_adopt or consent):
        wrong.append(
            Diagnostic(
                "error",
                "adopt",
                f"{len(adopted)} live things without an owner would be adopted: {_some(adopted)}",
                "look at the plan, then apply with --allow-adopt, or apply a saved plan that shows it",
            )
        )
    deleted = [change.address for change in plan.changes if change.action == "delete" and change.counts]
    allowed = allow_deletes if allow_deletes is not None else max_deletes
    if len(deleted) > allowed:
        wrong.append(
            Diagnostic(
                "error",
                "max-deletes",
                f"{len(deleted)} declared things would be deleted, more than {allowed}: {_some(deleted)}",
                f"if that is meant, apply with --allow-deletes {len(deleted)}",
            )
        )
    resumed = [c.address for c in plan.changes if any(n.rule == "sending-resumes" for n in c.notes)]
    if resumed and not resume_sending:
        wrong.append(
            Diagnostic(
                "error",
                "resume-sending",
                f"sending is off live and would be turned on again: {_some(resumed)}",
                "somebody may have stopped it on purpose; if it should run again, apply with --resume-sending",
            )
        )
    wrong += [
        Diagnostic(
            "error",
            n.rule,
            f"{c.address}: {n.message}",
            f"see docs/rules/{n.rule}.md; set the rule's severity or a waiver",
            address=c.address,
            file=c.source.file if c.source else "",
            line=c.source.line if c.source else 0,
        )
        for c in plan.changes
        for n in c.notes
        if n.severity == "error"
    ]
    wrong += [d for d in plan.diagnostics if plan.changes and d.severity == "error" and d.code in RULES]
    if wrong:
        raise Refused(wrong[0].message, hint=wrong[0].hint, diagnostics=tuple(wrong))


def _some(addresses: Sequence[str]) -> str:
    return ", ".join(addresses[:3]) + (f" and {len(addresses) - 3} more" if len(addresses) > 3 else "")
