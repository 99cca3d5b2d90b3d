"""Whether a principal may send mail, and as what: decided for requests that its own policies suggest.

Every value that a condition or a resource of a policy names is considered (an address for each pattern, addresses of
each network), and one that no policy names. So Deny, NotAction, NotResource, boundaries and conditions count as they do
in IAM, and what is reported is in the words of the policies.

Source: Service Authorization Reference, "Amazon SES" and "Amazon SES v2" (actions, resource types, condition keys;
SendBulkEmail has neither ses:FromAddress nor ses:Recipients nor ses:FeedbackAddress); IAM User Guide, "AWS global
condition context keys" (aws:SourceIp is missing in requests through a VPC endpoint; aws:TokenIssueTime and
aws:MultiFactorAuthPresent are in those of temporary credentials alone).
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any, Final

from reconciler.policy_evaluation.evaluate import (
    NOTHING,
    Context,
    Decision,
    Policies,
    PolicyAnswer,
    PolicyCondition,
    Statement,
    address_of,
    condition_holds,
    evaluate_all,
    matches,
    network_of,
    resource_fits,
    substituted,
    undecided,
)

SEND_ACTIONS: Final = (
    "ses:SendEmail", "ses:SendRawEmail", "ses:SendBulkEmail", "ses:SendTemplatedEmail", "ses:SendBulkTemplatedEmail",
    "ses:SendCustomVerificationEmail", "ses:SendBounce",
)  # fmt: skip
SMTP_ACTION: Final = "ses:SendRawEmail"
"""What IAM checks where mail is sent over SMTP."""
ANY: Final = "*"
ANY_ENDPOINT: Final = "any VPC endpoint"
_NOT_OF_BULK: Final = frozenset({"ses:fromaddress", "ses:recipients", "ses:feedbackaddress", "ses:fromdisplayname"})
_MOST: Final = 5_000
"""Into how many boxes Denies may cut what is allowed."""
_NOWHERE: Final = ("198.51.100.77", "203.0.113.77", "192.0.2.77", "100.127.255.77", "2001:db8::77")
_REGIONS: Final = ("us-east-1", "us-west-2", "eu-west-1", "ap-south-1", "sa-east-1", "ca-central-1", "eu-north-1")


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose policies they are, for condition keys and variables. ``now`` is ISO 8601; ``type`` ``user`` or ``role``."""

    arn: str
    type: str
    account: str
    name: str
    id: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    now: str = ""
    partition: str = "aws"

    def context(self) -> dict[str, tuple[str, ...] | None]:
        """What its requests always have, or never have."""
        user = self.type == "user"
        made: dict[str, tuple[str, ...] | None] = {
            "aws:principalarn": (self.arn,), "aws:principalaccount": (self.account,),
            "aws:principaltype": ("User" if user else "AssumedRole",), "aws:username": (self.name,) if user else None,
            "aws:securetransport": ("true",), "aws:viaawsservice": ("false",), "aws:calledvia": None,
            "aws:principalisawsservice": ("false",), "aws:sourceaccount": None, "aws:sourcearn": None,
            "aws:currenttime": (self.now,), "aws:epochtime": (self.now,),
            "aws:tokenissuetime": None if user else (self.now,),
        }  # fmt: skip
        if user:
            made |= {"aws:userid": (self.id,), "aws:principaltag/*": None}  # a session of a role may have more tags
        return made | {f"aws:principaltag/{key.lower()}": (value,) for key, value in self.tags.items()}


@dataclass(frozen=True, slots=True)
class Reach:
    """What a principal may send. Lists are in the words of the policies, ``("*",)`` is anything, empty is nothing.

    ``resources`` are ARNs or patterns of identities; ``sets`` of configuration sets. With ``unknown``, the lists say
    what it may send if the doubts in ``reasons`` turn out in its favour. ``administrator``: it may do everything.
    """

    can_send: PolicyAnswer
    actions: tuple[str, ...] = ()
    from_addresses: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    administrator: bool = False

    @property
    def concerned(self) -> bool:
        """Whether any of its policies is about sending at all, even if another takes it away."""
        return self.can_send != "no" or bool(self.reasons)


def may_send(
    policies: Policies, principal: Principal, resources: Iterable[str], *, action: str = SMTP_ACTION,
    from_address: str, source_ip: str = "", recipients: Iterable[str] = (), region: str = "",
) -> Decision:  # fmt: skip
    """Whether one message may be sent: with these resources (the ARN of the identity, and of the set where one is
    used), from an address, and from a network address. Without ``source_ip`` conditions on it are not known."""
    known = principal.context() | {
        "ses:fromaddress": (from_address,), "ses:feedbackaddress": (from_address,), "aws:sourcevpc": None,
        "aws:sourcevpce": None, "aws:vpcsourceip": None, "aws:multifactorauthpresent": None,
        "aws:multifactorauthage": None, "aws:resourceaccount": (principal.account,),
    }  # fmt: skip
    if region:
        known["aws:requestedregion"] = (region,)
    if source_ip:
        known["aws:sourceip"] = (source_ip,)
    if some := tuple(recipients):
        known["ses:recipients"] = some
    return evaluate_all(policies, action, resources, known)


def reach(policies: Policies, principal: Principal, regions: Iterable[str] = ()) -> Reach:
    """All that a principal may send, over all actions that send."""
    regions = tuple(regions) or _REGIONS[:1]
    about = tuple(s for s in _all(policies) if any(s.has_action(action) for action in SEND_ACTIONS))
    allows = [s for s in (*policies.identity, *policies.resource) if s.allows and s in about]
    if not allows and not policies.unread:
        return Reach("no")
    context = principal.context()
    found = _Found()
    for actions in _alike(about, allows, bool(policies.unread)):
        found.add(actions, _tried(policies, actions[0], principal, context, regions, "identity"))
    if found.answer == "no":
        return Reach("no", reasons=tuple(dict.fromkeys(found.reasons)) or (NOTHING,))
    sets: list[str] = []
    for action in found.actions:
        tries = _tried(policies, action, principal, context, regions, "configuration-set")
        sets += _widest(t.resource for t in tries if t.answer == found.answer)
    reasons = tuple(dict.fromkeys([*found.reasons, *_notes(found.actions, about)]))
    return Reach(
        found.answer, tuple(sorted(found.actions, key=SEND_ACTIONS.index)), _widest(found.seen["ses:fromaddress"]),
        _widest(found.seen["ses:recipients"]), _widest(_open(found.seen["network"])), _widest(found.resources),
        _widest(sets), reasons, _is_administrator(policies),
    )  # fmt: skip


def _all(policies: Policies) -> Iterator[Statement]:
    yield from policies.identity
    yield from policies.boundary or ()
    yield from policies.resource


def _alike(about: tuple[Statement, ...], allows: list[Statement], unread: bool) -> list[list[str]]:
    """The actions that some statement may allow, those together that the same statements are about."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for action in SEND_ACTIONS:
        if unread or any(s.has_action(action) for s in allows):
            key = (action == "ses:SendBulkEmail", *(s.has_action(action) for s in about))
            groups.setdefault(key, []).append(action)
    return list(groups.values())


def _is_administrator(policies: Policies) -> bool:
    def everything(statements: Iterable[Statement]) -> bool:
        return any(
            s.allows and not s.conditions and not s.except_actions and not s.except_resources
            and {"*", "*:*"} & set(s.actions) and "*" in s.resources
            for s in statements
        )  # fmt: skip

    return everything(policies.identity) and (policies.boundary is None or everything(policies.boundary))


def _notes(actions: Iterable[str], about: Iterable[Statement]) -> Iterator[str]:
    keys = {c.key.lower() for s in about for c in s.conditions}
    if "ses:SendBulkEmail" in actions and "ses:fromaddress" in keys:
        yield "ses:SendBulkEmail has no ses:FromAddress: no condition on the From address limits it"


# --- requests that are tried ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Try:
    """The best answer of one resource, with the values of each key that led to it, in the policies' words."""

    resource: str
    answer: PolicyAnswer
    seen: Mapping[str, tuple[str, ...]]
    reasons: tuple[str, ...]


_RANK: Final[tuple[PolicyAnswer, ...]] = ("no", "unknown", "yes")


class _Found:
    """What the tries of all actions found together."""

    def __init__(self) -> None:
        self._begin("no")

    def _begin(self, answer: PolicyAnswer) -> None:
        """Forget what led to another answer."""
        self.answer = answer
        self.actions: list[str] = []
        self.resources: list[str] = []
        self.seen: dict[str, list[str]] = {"ses:fromaddress": [], "ses:recipients": [], "network": []}
        self.reasons: list[str] = []

    def add(self, actions: list[str], tries: list[_Try]) -> None:
        best = max((t.answer for t in tries), key=_RANK.index)
        if _RANK.index(best) < _RANK.index(self.answer):
            return
        if best != self.answer:
            self._begin(best)
        chosen = [t for t in tries if t.answer == best]
        if best == "no":
            every = [why for t in chosen for why in t.reasons]
            self.reasons += [why for why in every if why != NOTHING] or every[:1]
            return
        self.actions += actions
        self.resources += _widest(t.resource for t in chosen)
        for one in chosen:
            self.reasons += one.reasons
            for key, values in one.seen.items():
                self.seen.setdefault(key, []).extend(values)
        if any(t.resource == ANY for t in chosen):
            denied = [t.resource for t in tries if t.answer == "no" and t.reasons != (NOTHING,)]
            self.reasons += [f"denied for {resource}" for resource in denied]


def _tried(
    policies: Policies, action: str, principal: Principal, context: Context, regions: tuple[str, ...], kind: str
) -> list[_Try]:
    """The best answer for every resource of a type that the policies suggest."""
    about = _narrowed(policies, lambda s: s.has_action(action))
    found = []
    for label, arn, region in _resources(list(_all(about)), principal, context, regions, kind):
        made = {**context, "aws:resourceaccount": (arn.split(":")[4],)}
        near = _narrowed(about, partial(_is_near, arn=arn, context=made))
        found.append(_best(near, action, label, arn, region, made))
    return found


def _is_near(statement: Statement, *, arn: str, context: Context) -> bool:
    return resource_fits(statement, arn, context) is not False


def _narrowed(policies: Policies, keep: Callable[[Statement], bool]) -> Policies:
    """The policies with some of their statements."""
    return replace(
        policies,
        identity=tuple(filter(keep, policies.identity)),
        boundary=None if policies.boundary is None else tuple(filter(keep, policies.boundary)),
        resource=tuple(filter(keep, policies.resource)),
    )


def _best(policies: Policies, action: str, label: str, arn: str, region: str, context: Context) -> _Try:
    """The best answer over all values of the conditions. A value that was refused where any other is allowed is among
    the reasons."""
    choices = _choices(action, tuple(_all(policies)), region)
    space = _Space(policies, arn, context, choices)
    sure = space.granted(sure=True)
    found = sure or space.granted(sure=False)
    answer: PolicyAnswer = "yes" if sure else "unknown" if found else "no"
    reasons = [] if sure else space.doubts(found) if found else space.refusals()
    seen: dict[str, tuple[str, ...]] = {}
    for number, (key, some) in enumerate(choices.items()):
        chosen = set().union(*(box[number] for box in found))
        seen[key] = tuple(dict.fromkeys(one.label for n, one in enumerate(some) if n in chosen))
        if sure and ANY in seen[key] and key in _SHOWN:
            refused = [one.label for one in some if one.label not in seen[key]]
            reasons += [f"denied {_SHOWN[key]} {text}" for text in dict.fromkeys(refused)]
    for key in _SHOWN:
        seen.setdefault(key, (ANY,))
    return _Try(label, answer, seen, tuple(dict.fromkeys(reasons)))


RequestBox = tuple[frozenset[int], ...]
"""For every key that a sender chooses, the numbers of the choices: requests with any of them together."""


class _Space:
    """All requests that a sender can make to one resource. A statement is about one box of them, since its conditions
    must hold together: what is granted is boxes less boxes, and no combination is tried by itself."""

    def __init__(
        self, policies: Policies, arn: str, context: Context, choices: Mapping[str, list[_Choice]]
    ) -> None:  # fmt: skip
        self._policies = policies
        self._arn = arn
        self._context = context
        self._choices = choices
        self._boxes: dict[tuple[int, bool], RequestBox | None] = {}
        self.whole: RequestBox = tuple(frozenset(range(len(some))) for some in choices.values())

    def _box(self, statement: Statement, sure: bool) -> RequestBox | None:
        """The requests that a statement is about: surely, or perhaps, too. None for none."""
        place = (id(statement), sure)  # a statement is long to hash
        if place not in self._boxes:
            self._boxes[place] = self._made(statement, (True,) if sure else (True, None))
        return self._boxes[place]

    def _made(self, statement: Statement, enough: tuple[bool | None, ...]) -> RequestBox | None:
        if resource_fits(statement, self._arn, self._context) not in enough:
            return None
        by_key: dict[str, list[PolicyCondition]] = {}
        for condition in statement.conditions:
            by_key.setdefault(_choice_of(condition.key), []).append(condition)
        fixed = [c for key, some in by_key.items() if key not in self._choices for c in some]
        if any(condition_holds(c, self._context, statement.variables) not in enough for c in fixed):
            return None
        made = []
        for key, some in self._choices.items():
            held = by_key.get(key, ())
            made.append(
                frozenset(
                    number
                    for number, one in enumerate(some)
                    if all(
                        condition_holds(c, {**self._context, **one.context}, statement.variables) in enough
                        for c in held
                    )
                )
            )
            if not made[-1]:
                return None
        return tuple(made)

    def _hold(self, statement: Statement, conditions: Iterable[PolicyCondition], one: _Choice) -> bool | None:
        """Whether conditions of a statement hold with a choice."""
        context = {**self._context, **one.context}
        answers = [condition_holds(condition, context, statement.variables) for condition in conditions]
        return False if False in answers else None if None in answers else True

    def _of(self, statements: Iterable[Statement], *, allows: bool, sure: bool) -> list[RequestBox]:
        found = (self._box(s, sure) for s in statements if s.allows == allows)
        return list(dict.fromkeys(box for box in found if box is not None))

    def allowed(self, *, sure: bool) -> list[RequestBox]:
        """What is allowed, before any Deny (``evaluate`` says how the kinds of policies work together)."""
        policies = self._policies
        if sure and policies.unread:
            return []
        own = [self.whole] if policies.unread else self._of(policies.identity, allows=True, sure=sure)
        others = self._of(policies.resource, allows=True, sure=sure)
        if policies.boundary_unread:
            bounds = [] if sure else [self.whole]
        elif policies.boundary is None:
            bounds = [self.whole]
        else:
            bounds = self._of(policies.boundary, allows=True, sure=sure)
        limited = own if policies.is_user else [*own, *others]
        both = [both for one in limited for other in bounds if (both := _common(one, other)) is not None]
        return list(dict.fromkeys([*both, *(others if policies.is_user else ())]))

    def granted(self, *, sure: bool) -> list[RequestBox]:
        """What is allowed and not denied. Sure is what is surely allowed and not perhaps denied."""
        left = self.allowed(sure=sure)
        if sure:
            left = [kept for box in left if (kept := self._without_doubt(box)) is not None]
        for denied in self._of(_all(self._policies), allows=False, sure=not sure):
            left = [piece for box in left for piece in _less(box, denied)]
            if len(left) > _MOST:
                return [] if sure else left
        return left

    def _without_doubt(self, box: RequestBox) -> RequestBox | None:
        """A box without the choices that take something special."""
        sure = [frozenset(n for n in box[k] if not some[n].doubt) for k, some in enumerate(self._choices.values())]
        return tuple(sure) if all(sure) else None

    def doubts(self, found: list[RequestBox]) -> list[str]:
        """Why it is not known whether it may send."""
        reasons = [
            *self._policies.unread,
            *([self._policies.boundary_unread] if self._policies.boundary_unread else []),
        ]
        for statement in _all(self._policies):
            if self._box(statement, True) != self._box(statement, False):
                reasons += self._unknown(statement)
        special = [one.doubt for some in self._choices.values() for one in some if one.doubt]
        if not any(self._without_doubt(box) for box in found):
            reasons += special
        return reasons or ["its conditions have too many combinations to decide"]

    def _unknown(self, statement: Statement) -> Iterator[str]:
        if resource_fits(statement, self._arn, self._context) is None:
            yield f"{statement.policy}: a variable in its resources cannot be decided"
        for condition in statement.conditions:
            some = self._choices.get(_choice_of(condition.key), [_Choice("", {})])
            answers = [
                condition_holds(condition, {**self._context, **one.context}, statement.variables) for one in some
            ]
            if None in answers:
                yield undecided(statement, condition)

    def refusals(self) -> list[str]:
        """Why it may not send."""
        if self.allowed(sure=False):
            denies = [s for s in _all(self._policies) if not s.allows and self._box(s, True) is not None]
            return [f"{s.policy} denies it" for s in denies]
        wanted = self._of([*self._policies.identity, *self._policies.resource], allows=True, sure=False)
        return ["its permissions boundary does not allow it"] if wanted else [NOTHING]


def _common(one: RequestBox, other: RequestBox) -> RequestBox | None:
    """The requests in both boxes; None where there are none."""
    made = tuple(a & b for a, b in zip(one, other, strict=True))
    return made if all(made) else None


def _less(box: RequestBox, other: RequestBox) -> Iterator[RequestBox]:
    """The requests of a box that are not in another, as boxes that have none in common."""
    both = _common(box, other)
    if both is None:
        yield box
        return
    for number, shared in enumerate(both):
        if rest := box[number] - shared:
            yield (*both[:number], rest, *box[number + 1 :])


def _choice_of(key: str) -> str:
    """The name of what a sender chooses together with a condition key."""
    folded = key.lower()
    return "network" if folded in _NETWORK else "mfa" if folded in _MFA else folded


_SHOWN: Final = {"ses:fromaddress": "from", "ses:recipients": "to", "network": "from the network"}


@dataclass(frozen=True, slots=True)
class _Choice:
    """One value of a key: in the policies' words, what it puts into the request, and what it takes to have it."""

    label: str
    context: Context
    doubt: str = ""


def _choices(action: str, near: tuple[Statement, ...], region: str) -> dict[str, list[_Choice]]:
    """The values to try for every key of the conditions that a sender chooses."""
    named: dict[str, list[str]] = {}
    for statement in near:
        for condition in statement.conditions:
            named.setdefault(condition.key.lower(), []).extend(condition.values)
    found: dict[str, list[_Choice]] = {}
    for key in sorted(named):
        values = list(dict.fromkeys(named[key]))
        if action == "ses:SendBulkEmail" and key in _NOT_OF_BULK:
            found[key] = [_Choice(ANY, {key: None})]
        elif key in _CHOSEN:
            some = [_Choice(v, {key: (_witness(v, _CHOSEN[key]),)}) for v in values]
            found[key] = [_Choice(ANY, {key: (_CHOSEN[key],)}), *some]
        elif key in _MFA:
            session = {"aws:multifactorauthpresent": ("true",), "aws:multifactorauthage": ("1",)}
            absent: Context = dict.fromkeys(session)
            doubt = "only in a session with multi-factor authentication"
            found["mfa"] = [_Choice(ANY, absent), _Choice("MFA", session, doubt)]
        elif key == "aws:requestedregion":
            found[key] = [_Choice(region, {key: (region,)})]
    if _NETWORK & named.keys():
        found["network"] = list(_networks(named))
    return found


_CHOSEN: Final = {
    "ses:fromaddress": "someone@elsewhere.invalid", "ses:recipients": "someone@elsewhere.invalid",
    "ses:feedbackaddress": "someone@elsewhere.invalid", "ses:fromdisplayname": "Someone Else",
    "ses:apiversion": "2", "aws:useragent": "another", "aws:referer": "https://elsewhere.invalid/",
}  # fmt: skip
"""Keys whose value the sender chooses, with a value that no policy names."""
_MFA: Final = frozenset({"aws:multifactorauthpresent", "aws:multifactorauthage"})
_NETWORK: Final = frozenset({"aws:sourceip", "aws:sourcevpc", "aws:sourcevpce", "aws:vpcsourceip"})


def _networks(named: Mapping[str, list[str]]) -> Iterator[_Choice]:
    """Places that requests come from: on the Internet, or through a VPC endpoint, which hides the address."""
    inside: Context = {"aws:sourcevpc": None, "aws:sourcevpce": None, "aws:vpcsourceip": None}
    for label, address in _addresses(tuple(dict.fromkeys(named.get("aws:sourceip", ())))):
        yield _Choice(label, {**inside, "aws:sourceip": (address,)})
    outside: Context = {"aws:sourceip": None}
    yield _Choice(
        ANY_ENDPOINT, {**outside, "aws:sourcevpc": ("vpc-other",), "aws:sourcevpce": ("vpce-other",),
                       "aws:vpcsourceip": ("10.255.255.77",)},
    )  # fmt: skip
    for key in ("aws:sourcevpce", "aws:sourcevpc"):
        for text in dict.fromkeys(named.get(key, ())):
            yield _Choice(text, {**outside, key: (_witness(text, text),)})


@lru_cache(maxsize=1024)
def _addresses(texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """(network, an address of it) for some networks, and one address outside of all. Of a network also the addresses
    beside the networks inside of it, which a Deny may take away."""
    networks = []
    for text in texts:
        try:
            networks.append((text, network_of(text)))
        except ValueError:
            continue  # IAM never matches it
    free = [a for a in _NOWHERE if not any(_in(a, network) for _, network in networks if network.prefixlen)]
    found = [(ANY, address) for address in free[:1]]
    ends = sorted({(n.version, end) for _, n in networks for end in (int(n[0]) - 1, int(n[-1]) + 1)})
    for text, network in networks:
        version, first, last = network.version, int(network[0]), int(network[-1])
        low, high = bisect_left(ends, (version, first)), bisect_right(ends, (version, last))
        numbers = [first, last, (first + last) // 2, *(number for _, number in ends[low:high])]
        label = text if network.prefixlen else ANY
        found += [(label, str(network[number - first])) for number in dict.fromkeys(numbers)]
    return tuple(found)


def _in(address: str, network: Any) -> bool:
    one = address_of(address)
    return one.version == network.version and one in network


def _open(labels: Iterable[str]) -> list[str]:
    return [label for label in labels if label]


def _witness(pattern: str, otherwise: str) -> str:
    """A text that a pattern fits; ``otherwise`` for ``*`` alone."""
    return otherwise if set(pattern) == {"*"} else _filled(pattern)


def _filled(pattern: str) -> str:
    """A text that a pattern fits, and that hardly fits another by chance."""
    text = pattern.replace("${*}", "\0").replace("${?}", "\1").replace("${$}", "\2")
    return text.replace("*", "zqxj7k").replace("?", "q").replace("\0", "*").replace("\1", "?").replace("\2", "$")


def _resources(
    statements: list[Statement], principal: Principal, context: Context, regions: tuple[str, ...], kind: str
) -> Iterator[tuple[str, str, str]]:
    """(what it is called, an ARN, its region) of the resources of a type that the policies suggest: one that no policy
    names, one in every region that matters, and one for every pattern."""
    patterns: dict[str, None] = {}
    named: set[str] = set()
    for statement in statements:
        for pattern in statement.resources:
            text = substituted(pattern, statement.variables, context)
            patterns[pattern if text is None else text] = None
        named |= {v for c in statement.conditions if c.key.lower() == "aws:requestedregion" for v in c.values}
    mentioned = named | {p.split(":")[3] for p in patterns if p.count(":") >= 5}
    free = next((r for r in _REGIONS if not any(matches(m, r) for m in mentioned - {"", "*"})), "me-south-1")
    own = f"{principal.account}:{kind}"
    head = f"arn:{principal.partition}:ses"
    yield ANY, f"{head}:{free}:{own}/elsewhere.invalid", free
    for region in sorted({*regions, *(r for r in named if not re.search(r"[*?$]", r))}):
        yield f"{head}:{region}:{own}/*", f"{head}:{region}:{own}/elsewhere.invalid", region
    for pattern in patterns:
        made = _resource_for(pattern, head, own, regions[0], kind)
        if made is not None and matches(pattern, made):
            yield pattern, made, made.split(":")[3]


def _resource_for(pattern: str, head: str, own: str, region: str, kind: str) -> str | None:
    """An ARN of the type that a pattern fits; None for a pattern that fits none."""
    if set(pattern) == {"*"}:
        return None  # the resource that no policy names stands for it
    parts = pattern.split(":", 5)
    if len(parts) < 6:
        return f"{head}:{region}:{own}/elsewhere.invalid"
    account = own.partition(":")[0]
    fixed = [*head.split(":"), region, account]
    filled = [fixed[n] if set(part) == {"*"} else _filled(part) for n, part in enumerate(parts[:5])]
    name = parts[5]
    if name.startswith(f"{kind}/"):
        filled.append(f"{kind}/" + _witness(name.removeprefix(f"{kind}/"), "elsewhere.invalid"))
    elif matches(name, f"{kind}/elsewhere.invalid"):
        filled.append(f"{kind}/elsewhere.invalid")
    else:
        return None
    return ":".join(filled)


def _widest(labels: Iterable[str]) -> tuple[str, ...]:
    """Labels once each; what another, wider one includes is left out."""
    found = list(dict.fromkeys(labels))
    if ANY in found:
        return (ANY,)
    patterns = [label for label in found if "*" in label]
    kept = [a for a in found if not any(a != b and matches(b, a) and not matches(a, b) for b in patterns)]
    return tuple(sorted(kept))
