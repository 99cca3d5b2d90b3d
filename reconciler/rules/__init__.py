"""Named rules that judge a plan: what it means for mail, before it is applied.

Each rule is a pure function in one of the thematic files, with an id, a default severity and a page in docs/rules.
``judge`` runs them all over a ``RuleView``; severities come from the state's ``rules:``, exceptions from its
``waivers:``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatchcase

from reconciler.model import Waiver
from reconciler.rules import account, dkim, dmarc, dns, events, identities, mail_from, pools, sets, smtp, spf
from reconciler.rules.registry import RULES, Finding, Rule
from reconciler.rules.view import RecordSet, Resource, RuleView, Topic

__all__ = [
    "RULES",
    "WAIVER_EXPIRED",
    "Draft",
    "Finding",
    "RecordSet",
    "Resource",
    "Rule",
    "RuleView",
    "Topic",
    "judge",
    "known_ids",
]

THEMES = (account, dkim, dmarc, dns, events, identities, mail_from, pools, sets, smtp, spf)
"""The modules that register rules; importing this package loads them all."""

WAIVER_EXPIRED = "waiver-expired"
"""The id of what ``judge`` itself finds: a waiver past its date whose rule speaks again."""

_ORDER = {"error": 0, "warning": 1, "note": 2}


def known_ids() -> frozenset[str]:
    """Every id that ``rules:`` and ``waivers:`` may name."""
    return frozenset({*RULES, WAIVER_EXPIRED})


def judge(view: RuleView) -> list[Finding]:
    """Every finding on this plan, errors first, then by rule and address. Pure; the clock is ``view.now``.

    A finding that a waiver covers is left out until the waiver's date has passed; then it comes back, beside one
    finding that names the expired waiver.
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
        for draft in one.check(view):
            covering = [waiver for waiver in waivers if fnmatchcase(draft.address, waiver.address)]
            if any(waiver.until >= today for waiver in covering):
                continue
            expired.update(covering)
            found.append(Finding(one.id, one.rank(draft, chosen), draft.address, draft.message, draft.hint))
    if settings.get(WAIVER_EXPIRED) != "off":
        found.extend(_expired(expired, settings.get(WAIVER_EXPIRED) or "warning"))
        found.extend(_outlived(w for w in view.state.waivers if w.until < today and w not in expired))
    return sorted(set(found), key=lambda f: (_ORDER[f.severity], f.rule, f.address, f.message))


def _expired(waivers: Iterable[Waiver], severity: str) -> Iterable[Finding]:
    for waiver in waivers:
        yield Finding(
            WAIVER_EXPIRED,
            "error" if severity == "error" else "note" if severity == "note" else "warning",
            waiver.address,
            f"the waiver of {waiver.rule} ended on {waiver.until} ({waiver.reason}; {waiver.source})",
            "mend what the rule finds, or set a later date with a fresh reason",
        )


def _outlived(waivers: Iterable[Waiver]) -> Iterable[Finding]:
    """Waivers past their date that nothing needs: a note, whatever the severity of those that are needed."""
    for waiver in waivers:
        yield Finding(
            WAIVER_EXPIRED,
            "note",
            waiver.address,
            f"the waiver of {waiver.rule} ended on {waiver.until}, and nothing needs it any more ({waiver.source})",
            "take it out",
        )
