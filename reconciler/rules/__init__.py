"""Named rules that check a plan for what it means to mail, before it is applied.

Each rule is a pure function with an id, a default severity and the texts of its page in docs/rules. A rule about a kind
of resource is in that kind's folder: ``resources/KIND/rules.py``, or a package ``rules``. Importing this package finds
and registers them all. ``judge`` runs them over a ``RuleView``; severities come from the state's ``rules:``, exceptions
from its ``waivers:``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatchcase
from importlib import import_module
from typing import Final

from reconciler import resources
from reconciler.model import Severity, Waiver
from reconciler.rules import account as account  # registers the rules that are about no kind of resource
from reconciler.rules.registry import RULES, Finding, RawFinding, Rule
from reconciler.rules.view import RecordView, Resource, RuleView, Topic

__all__ = [
    "RULES",
    "WAIVER_EXPIRED",
    "Finding",
    "RawFinding",
    "RecordView",
    "Resource",
    "Rule",
    "RuleView",
    "Topic",
    "all_rules",
    "judge",
    "known_ids",
]


def _rule_modules() -> list[str]:
    """The modules of ``resources/*/rules.py`` and ``resources/*/rules/*.py``, in the order of their paths."""
    root = resources.FOLDER
    files = sorted([*root.glob("*/rules.py"), *root.glob("*/rules/*.py")])
    parts = (file.relative_to(root).with_suffix("").parts for file in files)
    return [".".join((resources.__name__, *part)) for part in parts if part[-1] != "__init__"]


for _module in _rule_modules():
    import_module(_module)

WAIVER_EXPIRED = "waiver-expired"
"""The id of what ``judge`` itself reports: a waiver whose date has passed while its rule still reports something."""

_WAIVER_RULE: Final = Rule(
    WAIVER_EXPIRED,
    "warning",
    "A waiver past its date",
    "docs/rules/README.md: a waiver has an end date",
    check=lambda view: (),
    finds="""The `until` date of a waiver has passed, and its rule still finds something at its addresses. The
    rule's own finding is shown again, too. If the rule finds nothing there, the expired waiver is reported as a
    note.""",
    why="A waiver is an exception for a limited time. Without a reminder, exceptions stay for ever and nobody "
    "remembers the reason.",
    fix="Fix what the rule reports and remove the waiver, or set a later date and a new reason.",
    theme="Waivers",
    example="",
)

_ORDER = {"error": 0, "warning": 1, "note": 2}


def all_rules() -> dict[str, Rule]:
    """Every rule by its id, ``waiver-expired`` included, for their pages: in the order of the index."""
    return {**RULES, WAIVER_EXPIRED: _WAIVER_RULE}


def known_ids() -> frozenset[str]:
    """Every id that ``rules:`` and ``waivers:`` may name."""
    return frozenset(all_rules())


def judge(view: RuleView) -> list[Finding]:
    """Every finding on this plan, errors first, then by rule and address. Pure; the clock is ``view.now``.

    A finding that a waiver covers is left out until the waiver's date has passed. After that it is reported again,
    together with a finding that names the expired waiver.
    """
    found: list[Finding] = []
    expired: Counter[Waiver] = Counter()
    settings = view.state.rules
    today = view.now.date().isoformat()
    for one in RULES.values():
        chosen = settings.get(one.id)
        if chosen == "off":
            continue
        waivers = [waiver for waiver in view.state.waivers if waiver.rule == one.id]
        for raw in one.check(view):
            covering = [waiver for waiver in waivers if fnmatchcase(raw.address, waiver.address)]
            if any(waiver.until >= today for waiver in covering):
                continue
            expired.update(covering)
            found.append(Finding(one.id, one.rank(raw, chosen), raw.address, raw.message, raw.hint))
    chosen = settings.get(WAIVER_EXPIRED)
    if chosen != "off":
        found.extend(_expired(expired, _WAIVER_RULE.rank(RawFinding("", ""), chosen)))
        found.extend(_unneeded(w for w in view.state.waivers if w.until < today and w not in expired))
    return sorted(set(found), key=lambda f: (_ORDER[f.severity], f.rule, f.address, f.message))


def _expired(waivers: Iterable[Waiver], severity: Severity) -> Iterable[Finding]:
    for waiver in waivers:
        yield Finding(
            WAIVER_EXPIRED,
            severity,
            waiver.address,
            f"the waiver of {waiver.rule} expired on {waiver.until} ({waiver.reason}; {waiver.source})",
            "fix what the rule reports, or set a later date and a new reason",
        )


def _unneeded(waivers: Iterable[Waiver]) -> Iterable[Finding]:
    """Expired waivers that cover no finding: a note, whatever the severity of those that do."""
    for waiver in waivers:
        yield Finding(
            WAIVER_EXPIRED,
            "note",
            waiver.address,
            f"the waiver of {waiver.rule} expired on {waiver.until} and is no longer needed ({waiver.source})",
            "remove it",
        )
