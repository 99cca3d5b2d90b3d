"""The registry of rules: what a rule is and finds, how severe a finding is, and which findings waivers cover."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from inspect import cleandoc
from typing import Any, Final, Generic, NamedTuple, TypeVar, TypeVarTuple

from reconciler.model import Address, Severity, Waiver
from reconciler.rules.view import Resource, RuleView

Item = TypeVarTuple("Item")
Check = TypeVar("Check", bound=Callable[..., Iterable[Any]])

Tags = Mapping[str, str]
"""The tags of one record by name (``p``, ``rua``, ``l``)."""


@dataclass(frozen=True, slots=True)
class RawFinding:
    """What a rule found, before its severity is decided.

    ``hurts``: this plan would break mail that is being sent today. ``new``: no mail is sent for the name yet.
    Neither: the problem exists, but this plan does not cause it. ``once``: the id of the rule that reported it in the
    last release; a severity or waiver of that id still holds for it. ``always``: neither ``off`` nor a waiver hides it.
    """

    address: Address
    message: str
    hint: str = ""
    hurts: bool = False
    new: bool = False
    once: str = ""
    always: bool = False


class Problem(NamedTuple):
    """A ``RawFinding`` of a rule for one item: at the address of that item."""

    message: str
    hint: str = ""
    hurts: bool = False
    new: bool = False
    once: str = ""
    always: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of one rule. ``rule`` is a stable id with a page in docs/rules."""

    rule: str
    severity: Severity
    address: Address
    message: str
    hint: str = ""


RuleCheck = Callable[[RuleView], Iterable[RawFinding]]
Items = Callable[[RuleView], Iterable[tuple[Any, ...]]]
"""What rules go through: the address of each item, and the item in one part or several."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A named rule: a pure function of the view, its default severity, and the texts of its page (Markdown).

    ``check`` takes the view, or where there are ``items`` the view and one item (``RuleFor``). ``finds`` says what
    it reports, ``why`` why that matters, ``fix`` what to do; ``source`` is the RFC or the AWS page that it rests
    on. ``theme`` is its heading in the index; ``example`` an address that a waiver could name.
    """

    id: str
    severity: Severity
    title: str
    source: str
    check: Callable[..., Iterable[Any]]
    finds: str
    why: str
    fix: str
    theme: str
    example: str
    urgent: bool = False
    """Whether it is told in full as long as it holds, also where a plan neither causes nor fixes it."""
    items: Items | None = None
    alike: Callable[..., Hashable] | None = None

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

RENAMED: Final[Mapping[str, str]] = {"region-probation": "account-paused"}
"""Ids of the last release that ``rules:`` and ``waivers:`` may still name -> the rule that has taken over."""


_LABEL: Final = re.compile(r"^(Why|Fix|Source): ", re.MULTILINE)


def is_urgent(code: str) -> bool:
    """Whether a finding is told in full as long as it holds. What is said of rules themselves has no rule."""
    return code in RULES and RULES[code].urgent


def rule(
    id_: str, severity: Severity, title: str, *, theme: str = "", example: str = "", urgent: bool = False,
    items: Items | None = None, alike: Callable[..., Hashable] | None = None,
) -> Callable[[Check], Check]:  # fmt: skip
    """Register a function as the rule ``id_``. Its docstring is its page: what it finds, then ``Why:``, ``Fix:`` and
    ``Source:``, each at the beginning of a line.

    ``theme`` and ``example`` default to the kind of resource in whose folder the function is. Raises ValueError where
    the id is registered already, or a part of the docstring is missing.
    """

    def register(check: Check) -> Check:
        if id_ in RULES:
            raise ValueError(f"the rule {id_} is registered twice")
        kind = _kind_of(check.__module__)
        finds, *parts = _LABEL.split(cleandoc(check.__doc__ or ""))
        texts = {label: text.strip() for label, text in zip(parts[::2], parts[1::2], strict=True)}
        whole = finds and set(texts) == {"Why", "Fix", "Source"} and all(texts.values())
        if not whole and sys.flags.optimize < 2:  # `python -OO` has no docstrings; only the pages need them
            raise ValueError(f"the rule {id_} needs a docstring that says what it finds, Why:, Fix: and Source:")
        RULES[id_] = Rule(
            id_, severity, title, texts.get("Source", ""), check, finds.strip(), texts.get("Why", ""),
            texts.get("Fix", ""),
            theme or kind.replace("_", " ").capitalize() + "s", example or f"{kind}/us-east-1/example",
            urgent, items, alike,
        )  # fmt: skip
        return check

    return register


def _kind_of(module: str) -> str:
    """``reconciler.resources.contact_list.rules`` -> ``contact_list``; the module's last part elsewhere."""
    found = re.search(r"\.resources\.([a-z_]+)\.", module)
    return found[1] if found else module.rpartition(".")[2]


@dataclass(frozen=True)
class RuleFor(Generic[*Item]):
    """``rule`` for functions that check one item at a time, such as one resource of a kind.

    ``items`` gives the address of each item and the item itself, in one part or several. The function is called with
    the view and these parts, and yields a ``Problem`` for each finding at that address.

    ``alike`` says of items what a rule's verdict depends on: where it finds nothing for one, it is not asked about
    others that are alike. Thousands of domains have the same few records.
    """

    items: Callable[[RuleView], Iterable[tuple[Address, *Item]]]
    theme: str
    example: str
    alike: Callable[[*Item], Hashable] | None = None

    def __call__(
        self, id_: str, severity: Severity, title: str, *, example: str = "", urgent: bool = False
    ) -> Callable[[Callable[[RuleView, *Item], Iterable[Problem]]], Callable[[RuleView, *Item], Iterable[Problem]]]:
        return rule(
            id_, severity, title, theme=self.theme, example=example or self.example, urgent=urgent, items=self.items,
            alike=self.alike,
        )  # fmt: skip


def domain_identities(view: RuleView) -> Iterable[tuple[Address, Resource]]:
    """The items of ``RuleFor``: the domain identities, live and to be created."""
    return ((identity.address, identity) for identity in view.identities)


@lru_cache
def resources_after(kind: str) -> Callable[[RuleView], Iterable[tuple[Address, Resource]]]:
    """The items of ``RuleFor``: the resources of a kind that exist after apply."""
    return lambda view: ((resource.address, resource) for resource in view.resources_after(kind))


# --- over a plan --------------------------------------------------------------------------------------------------

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

SENDER_UNDECLARED = "sender-undeclared"
"""The id of what `recon senders --check` reports, which no plan sees."""

_SENDER_RULE: Final = Rule(
    SENDER_UNDECLARED,
    "warning",
    "Somebody may send mail that nothing declares",
    "IAM User Guide, Policy evaluation logic; SES Developer Guide, Using sending authorization",
    check=lambda view: (),
    finds="""A user, a role or another account may send mail, and neither this YAML nor the `recon:stack` tag of another
    stack declares it. `recon senders --check` reports it and exits 2; a plan does not. Whoever may do everything is
    listed apart as an administrator and is not reported, unless it is declared as a sender. Where it cannot be decided
    whether somebody may send, it is a note.""",
    why="After a break-in, a key that nobody knows about still sends. A forgotten user with a key of three years "
    "is one.",
    fix="Declare it (an SMTP user, a policy of an identity), take the right away, or name its ARN in a waiver with the "
    "reason.",
    theme="Senders",
    example="arn:aws:iam::111122223333:role/crm",
)

_ORDER = {"error": 0, "warning": 1, "note": 2}


def all_rules() -> dict[str, Rule]:
    """Every rule by its id, for their pages: in the order of the index, those that no plan evaluates last."""
    return {**RULES, WAIVER_EXPIRED: _WAIVER_RULE, SENDER_UNDECLARED: _SENDER_RULE}


def known_ids() -> frozenset[str]:
    """Every id that ``rules:`` and ``waivers:`` may name."""
    return frozenset({*all_rules(), *RENAMED})


def judge(view: RuleView, *, only: str = "") -> list[Finding]:
    """Every finding on this plan, or that of the rule ``only``; errors first, then by rule and address. Pure; the
    clock is ``view.now``.

    A finding that a waiver covers is left out until the waiver's date has passed. After that it is reported again,
    together with a finding that names the expired waiver.
    """
    found: list[Finding] = []
    expired: Counter[Waiver] = Counter()
    settings = view.state.rules
    today = view.now.date().isoformat()
    for one, raw in _raw([one for one in RULES.values() if only in {"", one.id}], view):
        ids = {one.id, raw.once}
        chosen = settings.get(one.id, settings.get(raw.once))
        waivers = [w for w in view.state.waivers if w.rule in ids and fnmatchcase(raw.address, w.address)]
        if not raw.always and (chosen == "off" or any(waiver.until >= today for waiver in waivers)):
            continue
        expired.update(waivers)
        found.append(Finding(one.id, one.rank(raw, chosen), raw.address, raw.message, raw.hint))
    chosen = settings.get(WAIVER_EXPIRED)
    if chosen != "off":
        found.extend(_expired(expired, _WAIVER_RULE.rank(RawFinding("", ""), chosen)))
        ended = [w for w in view.state.waivers if w.until < today and w.rule != SENDER_UNDECLARED]
        found.extend(_unneeded(w for w in ended if w not in expired))
    return sorted(set(found), key=lambda f: (_ORDER[f.severity], f.rule, f.address, f.message))


def _raw(rules: Iterable[Rule], view: RuleView) -> Iterator[tuple[Rule, RawFinding]]:
    """What rules find, in no order. Those of the same items are asked about one item after the other: a pass over ten
    thousand identities for each of fifty rules would fetch them from memory fifty times."""
    groups: dict[Items, list[tuple[Rule, set[Hashable]]]] = {}
    for one in rules:
        if one.items is None:
            yield from ((one, raw) for raw in one.check(view))
        else:
            groups.setdefault(one.items, []).append((one, set()))
    for items, group in groups.items():
        for address, *item in items(view):
            for one, sound in group:
                key = one.alike(*item) if one.alike else None
                if key in sound:
                    continue
                problems = [*one.check(view, *item)]
                if not problems and one.alike:
                    sound.add(key)
                yield from ((one, RawFinding(address, *problem)) for problem in problems)


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
