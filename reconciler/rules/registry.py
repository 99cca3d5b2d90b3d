"""The registry of rules: what a rule is, what it finds, and how the severity of a finding is decided."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from inspect import cleandoc
from typing import Final, NamedTuple, TypeVar

from reconciler.model import Address, Severity
from reconciler.rules.view import RuleView

Record = TypeVar("Record")

Tags = Mapping[str, str]
"""The tags of one record by name (``p``, ``rua``, ``l``)."""


@dataclass(frozen=True, slots=True)
class RawFinding:
    """What a rule found, before its severity is decided.

    ``hurts``: this plan would break mail that is being sent today. ``new``: no mail is sent for the name yet.
    Neither: the problem exists, but this plan does not cause it.
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


RuleCheck = Callable[[RuleView], Iterable[RawFinding]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A named rule: a pure function of the view, its default severity, and the texts of its page (Markdown).

    ``finds`` says what it reports, ``why`` why that matters, ``fix`` what to do; ``source`` is the RFC or the AWS page
    that it rests on. ``theme`` is its heading in the index; ``example`` an address that a waiver could name.
    """

    id: str
    severity: Severity
    title: str
    source: str
    check: RuleCheck
    finds: str
    why: str
    fix: str
    theme: str
    example: str

    def rank(self, finding: RawFinding, chosen: str | None) -> Severity:
        """The severity of one finding; ``chosen`` is what the user's ``rules:`` say.

        A rule that is an error by default reports an error only where the plan breaks mail that is being sent today;
        otherwise a warning, and a note for names that do not send yet. A user's ``warning`` is the most that is
        reported. A user's ``error`` on a rule that is milder by default applies to all its findings.
        """
        base: Severity = self.severity
        if chosen in ("error", "warning", "note"):
            if chosen == "error" and self.severity != "error":
                return "error"
            base = chosen  # type: ignore[assignment]
        if self.severity == "error" and not finding.hurts:
            return "note" if finding.new or base == "note" else "warning"
        return "note" if finding.new and chosen is None else base


RULES: Final[dict[str, Rule]] = {}


def rule(
    id_: str,
    severity: Severity,
    title: str,
    source: str,
    *,
    why: str,
    fix: str,
    theme: str = "",
    example: str = "",
) -> Callable[[RuleCheck], RuleCheck]:
    """Register a function as the rule ``id_``; its docstring is the page's "What it finds".

    ``theme`` and ``example`` default to the kind of resource in whose folder the function is. Raises ValueError where
    the id is registered already, or a text is missing.
    """

    def register(check: RuleCheck) -> RuleCheck:
        if id_ in RULES:
            raise ValueError(f"the rule {id_} is registered twice")
        kind = _kind_of(check.__module__)
        finds = cleandoc(check.__doc__ or "")
        if not (finds and why and fix):
            raise ValueError(f"the rule {id_} needs a docstring, why and fix: they are its page")
        RULES[id_] = Rule(
            id_, severity, title, source, check, finds, cleandoc(why), cleandoc(fix),
            theme or kind.replace("_", " ").capitalize() + "s", example or f"{kind}/us-east-1/example",
        )  # fmt: skip
        return check

    return register


def _kind_of(module: str) -> str:
    """``reconciler.resources.contact_list.rules`` -> ``contact_list``; the module's last part elsewhere."""
    found = re.search(r"\.resources\.([a-z_]+)\.", module)
    return found[1] if found else module.rpartition(".")[2]


# --- rules that look at one record at a time ---


class RecordProblem(NamedTuple):
    """What a rule says of one record."""

    message: str
    hint: str = ""


def per_record(
    records: Callable[[RuleView], Iterable[tuple[str, Record]]], prefix: str = ""
) -> Callable[[Callable[[RuleView, str, Record], Iterator[RecordProblem]]], RuleCheck]:
    """A decorator that makes a rule of a function that checks one TXT record.

    ``records`` gives each domain and its record; the finding is at ``prefix`` + domain. The function is called with
    the view, the domain and the record, and yields a ``RecordProblem`` for each problem. Such a finding never says that
    this plan breaks mail, because the function sees the record after apply only.
    """

    def decorated(check: Callable[[RuleView, str, Record], Iterator[RecordProblem]]) -> RuleCheck:
        @wraps(check)
        def check_all(view: RuleView) -> Iterator[RawFinding]:
            for domain, record in records(view):
                for message, hint in check(view, domain, record):
                    yield RawFinding(view.record_address(f"{prefix}{domain}", "TXT"), message, hint)

        return check_all

    return decorated
