"""The registry of rules: what a rule is, what it finds, and how severity comes about."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from reconciler.model import Address, Severity
from reconciler.rules.view import RuleView


@dataclass(frozen=True, slots=True)
class RawFinding:
    """What a rule found, before severity: ``hurts`` where mail that flows today would suffer from this very plan.

    ``new`` where no mail flows for the name yet. Neither: true, but not of this plan's making.
    """

    address: Address
    message: str
    hint: str = ""
    hurts: bool = False
    new: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of one rule. ``rule`` is a stable id with a page in docs/rules."""

    rule: str
    severity: Severity
    address: Address
    message: str
    hint: str = ""


Check = Callable[[RuleView], Iterable[RawFinding]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A named rule: a pure function of the view, with its default severity and the source it rests on."""

    id: str
    severity: Severity
    title: str
    source: str
    check: Check

    def rank(self, draft: RawFinding, chosen: str | None) -> Severity:
        """The severity of one draft.

        An error by default is one only where the plan hurts mail that flows today; otherwise it is a warning, and a
        note for names without mail. A user's ``warning`` caps it, a user's ``error`` on a rule that is milder by
        default counts everywhere.
        """
        base: Severity = self.severity
        if chosen in ("error", "warning", "note"):
            if chosen == "error" and self.severity != "error":
                return "error"
            base = chosen  # type: ignore[assignment]
        if self.severity == "error" and not draft.hurts:
            return "note" if draft.new or base == "note" else "warning"
        return "note" if draft.new and chosen is None else base


RULES: Final[dict[str, Rule]] = {}


def rule(id_: str, severity: Severity, title: str, source: str) -> Callable[[Check], Check]:
    """Register a function as the rule ``id_``. Registering an id twice is a mistake in the code: ValueError."""

    def register(check: Check) -> Check:
        if id_ in RULES:
            raise ValueError(f"the rule {id_} is registered twice")
        RULES[id_] = Rule(id_, severity, title, source, check)
        return check

    return register
