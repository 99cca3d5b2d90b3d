"""The safeguards: what refuses a plan before anything is written. A flag lifts some of them."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.errors import Refused
from reconciler.model import Diagnostic, Plan
from reconciler.rules import RULES
from reconciler.steps import to_do


def check_safeguards(
    plan: Plan,
    *,
    allow_adopt: bool = False,
    allow_deletes: int | None = None,
    resume_sending: bool = False,
    max_deletes: int = 5,
    consent: bool = False,
    skip_refused: bool = False,
) -> None:
    """Raise Refused, before anything is written, naming every safeguard that the plan trips.

    ``consent`` says that somebody saw the whole plan as a saved file (adoption) or typed the stack's name (destroy).
    With ``skip_refused`` the refused changes, and those that need them, do not count: they are not carried out.
    """
    wrong: list[Diagnostic] = []
    if skip_refused:
        plan = to_do(plan)
    elif plan.outcome == "refused":
        wrong += [d for d in plan.diagnostics if d.severity == "error" and d.code != "unread"]
    changes = [change for change in plan.changes if not change.refused]
    adopted = [change.address for change in changes if change.action == "adopt" and not change.claims]
    if adopted and not (allow_adopt or consent):
        words = f"{len(adopted)} live things that are not this stack's would be adopted: {some(adopted)}"
        hint = "look at the plan, then apply with --allow-adopt, or apply a saved plan that shows it"
        wrong.append(Diagnostic("error", "adopt", words, hint))
    deleted = [change.address for change in changes if change.action == "delete" and change.counts]
    allowed = allow_deletes if allow_deletes is not None else max_deletes
    if len(deleted) > allowed:
        words = f"{len(deleted)} declared things would be deleted, more than {allowed}: {some(deleted)}"
        hint = f"if that is meant, run it again with --allow-deletes {len(deleted)}"
        wrong.append(Diagnostic("error", "max-deletes", words, hint))
    resumed = [c.address for c in changes if any(n.rule == "sending-resumes" for n in c.notes)]
    if resumed and not resume_sending:
        words = f"sending is off live and would be turned on again: {some(resumed)}"
        hint = "somebody may have stopped it on purpose; if it should run again, apply with --resume-sending"
        wrong.append(Diagnostic("error", "resume-sending", words, hint))
    wrong += [] if skip_refused else _errors_of_rules(plan)
    wrong = list(dict.fromkeys(wrong))
    if wrong:
        raise Refused(wrong[0].message, hint=wrong[0].hint, diagnostics=tuple(wrong))


def _errors_of_rules(plan: Plan) -> list[Diagnostic]:
    """What rules of severity error found, with a change and without one."""
    found = [
        Diagnostic(
            "error",
            note.rule,
            f"{change.address}: {note.message}",
            f"`recon rule {note.rule}` explains it; set the rule's severity or a waiver",
            address=change.address,
            file=change.source.file if change.source else "",
            line=change.source.line if change.source else 0,
        )
        for change in plan.changes
        for note in change.notes
        if note.severity == "error"
    ]
    return found + [d for d in plan.diagnostics if plan.changes and d.severity == "error" and d.code in RULES]


def some(addresses: Sequence[str]) -> str:
    """The first three of ``addresses`` and the number of the others, for a message."""
    return ", ".join(addresses[:3]) + (f" and {len(addresses) - 3} more" if len(addresses) > 3 else "")
