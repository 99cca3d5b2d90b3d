"""The plan in one sentence, in terms of mail: who starts or stops sending, signing, enforcing, and what it costs.

Derived from the changes alone, by what their kinds say (``reconciler.resources``). What no phrase covers is counted at
the end, so that the sentence never says less than the plan.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Final

from reconciler.model import Change, Plan
from reconciler.resources import KINDS
from reconciler.resources.headlines import ADOPTED, RELEASED, adopted_parts, facts_of, phrases_of
from reconciler.resources.spec import Phrase

_DOLLARS = re.compile(r"\$(\d+(?:\.\d+)?)\s*(?:/|a|per)\s*month", re.IGNORECASE)
_ADOPTED: Final = Phrase("{n} live resource is adopted", "{n} live resources are adopted", 240)
_RELEASED: Final = Phrase(
    "{n} resource is released and stays in AWS", "{n} resources are released and stay in AWS", 245
)


def plural(count: int, one: str, many: str = "") -> str:
    """``1 domain``, ``2 domains``."""
    return f"{count} {one if count == 1 else many or one + 's'}"


@cache
def _phrases() -> Mapping[str, Phrase]:
    """Every phrase by its key, in the order of the sentence."""
    found = {ADOPTED: _ADOPTED, RELEASED: _RELEASED}
    for spec in KINDS.values():
        found |= phrases_of(spec)
    return dict(sorted(found.items(), key=lambda item: item[1].rank))


class _Facts:
    """What the changes of a plan mean: phrases with the distinct things that each counts, and what is only counted."""

    def __init__(self, plan: Plan) -> None:
        self.found: dict[str, dict[str, set[str]]] = {}
        self.other: Counter[str] = Counter()
        self.records: Counter[str] = Counter()
        self.refused = 0
        self.parts: Counter[str] = Counter()
        for change in plan.changes:
            if change.refused:
                self.refused += 1
            else:
                self._add(change)

    def _add(self, change: Change) -> None:
        if change.action == "adopt":
            self.parts += adopted_parts(change)
        if change.claims:
            return
        spec = KINDS.get(change.kind)
        facts = list(facts_of(spec, change)) if spec is not None else []
        for fact in facts:
            self.found.setdefault(fact.phrase, {}).setdefault(fact.thing, set()).add(fact.region)
        if facts:
            return
        if spec is not None and spec.counted_apart:
            self.records[change.action if change.action in ("create", "delete") else "change"] += 1
        elif change.action == "adopt":
            self.found.setdefault(ADOPTED, {}).setdefault(change.address, set()).add("")
        else:
            self.other[change.action] += 1


def monthly_dollars(plan: Plan) -> float:
    """What the plan adds to the monthly bill, US dollars, as far as its changes say; 0 when nothing does.

    What a kind's phrase says it costs counts once an account (a managed IP pool), however many there are; the amount is
    an estimate, since the account may pay it already. Other amounts are those that notes give (``$25 a month``).
    """
    return _phrase_dollars(_Facts(plan)) + _note_dollars(plan)


def _phrase_dollars(facts: _Facts) -> float:
    return sum(phrase.dollars for key, phrase in _phrases().items() if key in facts.found)


def _note_dollars(plan: Plan) -> float:
    priced = {key.partition(":")[0] for key, phrase in _phrases().items() if phrase.dollars}
    total = 0.0
    for change in plan.changes:
        if change.kind not in priced and change.action != "delete" and not change.refused:
            total += max((float(found) for note in change.notes for found in _DOLLARS.findall(note.message)), default=0)
    return total


def phrases(plan: Plan) -> list[str]:
    """What the plan means for mail, phrase by phrase; empty when nothing changes."""
    facts = _Facts(plan)
    said = [_said(phrase, facts.found[key]) for key, phrase in _phrases().items() if facts.found.get(key)]
    if facts.parts:
        many = plural(len(facts.parts), "resource")
        said.insert(0, f"adopts {plural(facts.parts.total(), 'part')} of {many}")
    verbs = {"create": "written", "change": "changed", "delete": "removed"}
    if facts.records:
        said.append(_counted("DNS record", [(facts.records[action], verb) for action, verb in verbs.items()]))
    other = facts.other.total()
    if other and said:
        said.append(plural(other, "other change"))
    elif other:
        verbs = {"create": "created", "update": "updated", "replace": "replaced", "delete": "deleted"}
        said.append(_counted("resource", [(facts.other[action], verb) for action, verb in verbs.items()]))
    if facts.refused:
        said.append(f"{plural(facts.refused, 'change')} {'is' if facts.refused == 1 else 'are'} refused")
    return said


def _said(phrase: Phrase, things: Mapping[str, set[str]]) -> str:
    text = (phrase.one if len(things) == 1 else phrase.many).format(n=len(things))
    regions = sorted({region for where in things.values() for region in where if region}) if phrase.regions else []
    if 0 < len(regions) <= 2:
        text += " in " + " and ".join(regions)
    elif regions:
        text += f" in {len(regions)} regions"
    return f"{text} {dollars(phrase.dollars)}" if phrase.dollars else text


def _counted(noun: str, parts: list[tuple[int, str]]) -> str:
    """``3 DNS records are written, 1 changed and 2 removed``."""
    (count, verb), *rest = [part for part in parts if part[0]]
    said = f"{plural(count, noun)} {'is' if count == 1 else 'are'} {verb}"
    for number, (count, verb) in enumerate(rest, 1):
        said += f"{' and' if number == len(rest) else ','} {count} {verb}"
    return said


def headline(plan: Plan) -> str:
    """One sentence without its full stop, upper case where a sentence needs it: ``2 domains start signing, …``."""
    found = phrases(plan)
    extra = _note_dollars(plan)
    if extra > 0:
        found.append(f"other cost of {dollars(extra)} begins")
    return ", ".join(found) if found else "Nothing changes"


def duration(seconds: float) -> str:
    """``about 20 s``, ``about 4 min``, ``about 2 h``: never finer than an estimate is."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h".replace(".0 h", " h")


def dollars(amount: float) -> str:
    """``$15 a month``."""
    return f"${amount:.0f} a month" if amount == int(amount) else f"${amount:.2f} a month"
