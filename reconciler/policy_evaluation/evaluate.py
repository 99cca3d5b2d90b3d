"""What IAM policies allow, decided without AWS: yes, no, or unknown with the reason. Pure.

An explicit Deny wins; else an identity policy must allow, and a permissions boundary, too. What cannot be decided (a
condition on something that nobody read, a policy that could not be read) is never taken for yes or no. Service control
policies and session policies are not known here; they only take rights away.

Source: IAM User Guide, "Policy evaluation logic", "IAM JSON policy elements: Condition operators" (a missing key makes
a negated operator true and every other false), "Multivalued context keys", "Policy variables" (Version 2012-10-17),
"Permissions boundaries for IAM entities" (a resource policy that names a user is not limited by the boundary).
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal
from urllib.parse import unquote

PolicyAnswer = Literal["yes", "no", "unknown"]
NOTHING: Final = "no policy allows it"

Context = Mapping[str, tuple[str, ...] | None]
"""Condition key in lower case -> its values in the request; None: the request does not have the key. A key that is not
in the mapping is not known."""


@dataclass(frozen=True, slots=True)
class PolicyCondition:
    """One operator on one key, as IAM writes it: ``ForAnyValue:StringLikeIfExists``."""

    operator: str
    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of ``policy``. ``except_actions``: it has NotAction; ``except_resources``: NotResource."""

    policy: str
    allows: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[PolicyCondition, ...] = ()
    except_actions: bool = False
    except_resources: bool = False
    variables: bool = True
    principals: tuple[str, ...] = ()
    """Of a resource policy: ``*``, ARNs, account ids, services, as they are written."""
    except_principals: bool = False

    def has_action(self, action: str) -> bool:
        """Whether it is about an action; names ignore case."""
        found = any(_glob(pattern.lower()).fullmatch(action.lower()) for pattern in self.actions)
        return found != self.except_actions


@dataclass(frozen=True, slots=True)
class Policies:
    """All policies of one principal. ``unread`` names those of the identity that could not be read, with the reason;
    ``boundary`` is None without one, ``boundary_unread`` the reason where it could not be read. ``resource`` are the
    statements of resource policies about it; ``is_user`` whether they are not limited by its boundary."""

    identity: tuple[Statement, ...] = ()
    boundary: tuple[Statement, ...] | None = None
    resource: tuple[Statement, ...] = ()
    unread: tuple[str, ...] = ()
    boundary_unread: str = ""
    is_user: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one request, and why; ``reasons`` of a yes may be empty."""

    answer: PolicyAnswer
    reasons: tuple[str, ...] = ()


# --- patterns and variables ----------------------------------------------------------------------------------------

_SPECIAL = re.compile(r"\$\{([*?$])\}")
_VARIABLE = re.compile(r"\$\{([^}*?$][^},]*)(?:,\s*'([^']*)')?\s*\}")


@lru_cache(maxsize=16384)
def _glob(pattern: str) -> re.Pattern[str]:
    """``*`` and ``?`` are wildcards, ``${*}``, ``${?}`` and ``${$}`` the characters themselves."""
    parts = re.findall(r"\$\{[*?$]\}|.", pattern, re.DOTALL)
    wild = {"*": ".*", "?": "."}
    return re.compile("".join(wild.get(p) or re.escape(p[2] if len(p) > 1 else p) for p in parts), re.DOTALL)


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern of IAM, without variables, fits a text, with case."""
    return bool(_glob(pattern).fullmatch(text))


def _literal(text: str) -> str:
    return _SPECIAL.sub(r"\1", text) if "${" in text else text


def substituted(text: str, variables: bool, context: Context) -> str | None:
    """A pattern with the values of its variables; None where one is not known, or the request does not have it."""
    known, found = _substituted(text, variables, context)
    return found if known else None


def _substituted(text: str, variables: bool, context: Context) -> tuple[bool | None, str]:
    """Whether the variables are known (None: not known; False: the request does not have one), and the pattern. What a
    variable stands for is no pattern: its wildcards are the characters themselves."""
    if not variables or "${" not in text:
        return True, text
    known: bool | None = True

    def value(found: re.Match[str]) -> str:
        nonlocal known
        key = found[1].strip().lower()
        there, values = _values(context, key)
        if not there:
            known = None
            return ""
        if values is None or len(values) != 1:
            if found[2] is None:
                known = False if known else known
                return ""
            return re.sub(r"[*?$]", r"${\g<0>}", found[2])
        return re.sub(r"[*?$]", r"${\g<0>}", values[0])

    result = _VARIABLE.sub(value, text)
    return known, result


# --- documents -----------------------------------------------------------------------------------------------------


def parsed(document: Any, policy: str) -> tuple[Statement, ...]:
    """The statements of a policy document: a mapping, or JSON text, URL-encoded or not. Raises ValueError."""
    if isinstance(document, str):
        return _parsed_text(document, policy)
    if not isinstance(document, Mapping):
        raise ValueError("it is not a policy document")
    variables = document.get("Version") == "2012-10-17"
    return tuple(_statement(one, policy, variables) for one in _listed(document.get("Statement")))


@lru_cache(maxsize=4096)
def _parsed_text(text: str, policy: str) -> tuple[Statement, ...]:
    document = json.loads(text if text.lstrip().startswith("{") else unquote(text))
    if not isinstance(document, Mapping):
        raise ValueError("it is not a policy document")
    return parsed(document, policy)


def _statement(one: Any, policy: str, variables: bool) -> Statement:
    if not isinstance(one, Mapping) or one.get("Effect") not in {"Allow", "Deny"}:
        raise ValueError("a statement has no Effect")
    conditions = one.get("Condition") or {}
    if not isinstance(conditions, Mapping) or not all(isinstance(keys, Mapping) for keys in conditions.values()):
        raise ValueError("a Condition is not a mapping")
    return Statement(
        policy,
        one["Effect"] == "Allow",
        _texts(one.get("Action", one.get("NotAction"))),
        _texts(one.get("Resource", one.get("NotResource"))),
        tuple(PolicyCondition(op, key, _texts(v)) for op, keys in conditions.items() for key, v in keys.items()),
        except_actions="Action" not in one,
        except_resources="Resource" not in one,
        variables=variables,
        principals=_principals(one.get("Principal", one.get("NotPrincipal"))),
        except_principals="NotPrincipal" in one,
    )


def _principals(value: Any) -> tuple[str, ...]:
    if isinstance(value, Mapping):
        return tuple(text for some in value.values() for text in _texts(some))
    return _texts(value)


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(("true" if v else "false") if isinstance(v, bool) else str(v) for v in _listed(value))


# --- one request ---------------------------------------------------------------------------------------------------


def evaluate(policies: Policies, action: str, resource: str, context: Context) -> Decision:
    """Whether the principal may do one action to one resource in one context."""
    reasons: list[str] = []
    doubt = False
    for statement in (*policies.identity, *(policies.boundary or ()), *policies.resource):
        if statement.allows:
            continue
        fits, why = applies(statement, action, resource, context)
        if fits:
            return Decision("no", (f"{statement.policy} denies it",))
        if fits is None:
            doubt = True
            reasons += why
    allowed, why = _allowed(policies.identity, action, resource, context)
    if not allowed:
        reasons += why
    if policies.unread and not allowed:
        allowed = None
    by_resource, why = _allowed(policies.resource, action, resource, context)
    if by_resource is None and not allowed:
        reasons += why
    bounded: bool | None = True
    if policies.boundary_unread:
        bounded = None
        reasons.append(policies.boundary_unread)
    elif policies.boundary is not None:
        bounded, why = _allowed(policies.boundary, action, resource, context)
        reasons += why if bounded is None else [] if bounded else ["its permissions boundary does not allow it"]
    through_identity = _both(allowed, bounded)
    through_resource = by_resource if policies.is_user else _both(by_resource, bounded)
    answer = _either(through_identity, through_resource)
    if answer is False:
        return Decision("no", tuple(dict.fromkeys(reasons or [NOTHING])))
    reasons += policies.unread
    unknown = doubt or answer is None or bool(policies.unread)
    return Decision("unknown" if unknown else "yes", tuple(dict.fromkeys(reasons)) if unknown else ())


def evaluate_all(policies: Policies, action: str, resources: Iterable[str], context: Context) -> Decision:
    """Whether the principal may do one action that AWS checks against several resources: each must be allowed."""
    found = [(resource, evaluate(policies, action, resource, context)) for resource in resources]
    answers: tuple[PolicyAnswer, ...] = ("no", "unknown")
    for answer in answers:
        if some := [(resource, one) for resource, one in found if one.answer == answer]:
            reasons = tuple(dict.fromkeys(f"{why} ({resource})" for resource, one in some for why in one.reasons))
            return Decision(answer, reasons)
    return Decision("yes")


def _allowed(
    statements: Iterable[Statement], action: str, resource: str, context: Context
) -> tuple[bool | None, list[str]]:
    """Whether a statement allows it; None with the reasons where that is not known."""
    reasons: list[str] = []
    answer: bool | None = False
    for statement in statements:
        if statement.allows:
            fits, why = applies(statement, action, resource, context)
            if fits:
                return True, []
            if fits is None:
                answer = None
                reasons += why
    return answer, reasons


def _both(one: bool | None, other: bool | None) -> bool | None:
    return False if one is False or other is False else None if one is None or other is None else True


def _either(one: bool | None, other: bool | None) -> bool | None:
    return True if one or other else None if one is None or other is None else False


def applies(statement: Statement, action: str, resource: str, context: Context) -> tuple[bool | None, list[str]]:
    """Whether a statement is about a request; None, with the reasons, where that is not known."""
    if not statement.has_action(action):
        return False, []
    fits = resource_fits(statement, resource, context)
    if fits is False:
        return False, []
    reasons = [] if fits else [f"{statement.policy}: a variable in its resources cannot be decided"]
    answer, why = conditions_hold(statement, context)
    return _both(fits, answer), [*reasons, *why] if answer is not False else []


def resource_fits(statement: Statement, resource: str, context: Context) -> bool | None:
    """Whether a statement is about a resource; None where a variable in it is not known."""
    answer: bool | None = False
    for pattern in statement.resources:
        known, text = _substituted(pattern, statement.variables, context)
        if known is None:
            answer = None
        elif known and _glob(text).fullmatch(resource):
            answer = True
            break
    return answer if answer is None else answer != statement.except_resources


def conditions_hold(statement: Statement, context: Context) -> tuple[bool | None, list[str]]:
    """Whether all conditions of a statement hold; None, with the reasons, where that is not known."""
    answer: bool | None = True
    reasons: list[str] = []
    for condition in statement.conditions:
        holds = condition_holds(condition, context, statement.variables)
        if holds is False:
            return False, []
        if holds is None:
            answer = None
            reasons.append(undecided(statement, condition))
    return answer, reasons


def undecided(statement: Statement, condition: PolicyCondition) -> str:
    """That it is not known whether a condition holds."""
    return f"{statement.policy}: its condition {condition.operator} on {condition.key} cannot be decided"


# --- conditions ----------------------------------------------------------------------------------------------------


def _values(context: Context, key: str) -> tuple[bool, tuple[str, ...] | None]:
    """Whether a key is known, and its values; ``aws:principaltag/*`` stands for all tags that are not named."""
    if key in context:
        return True, context[key]
    whole = f"{key.partition('/')[0]}/*"
    return (True, context[whole]) if whole in context else (False, None)


@lru_cache(maxsize=1024)
def operator_parts(operator: str) -> tuple[str, str, bool]:
    """(``forallvalues``, ``foranyvalue`` or "", the operator in lower case, whether IfExists)."""
    quantity, _, name = operator.lower().rpartition(":")
    return quantity, name.removesuffix("ifexists"), name.endswith("ifexists")


def condition_holds(condition: PolicyCondition, context: Context, variables: bool = True) -> bool | None:
    """Whether one condition holds; None where it is not known."""
    quantity, name, if_exists = operator_parts(condition.operator)
    key = condition.key.lower()
    known, values = _values(context, key)
    if not known:
        return None
    if name == "null":
        return all((values is None) == (wanted.lower() == "true") for wanted in condition.values)
    negated = _OPPOSITE.get(name)
    test = _TESTS.get(negated or name)
    if test is None:
        return None
    if values is None:
        return if_exists or negated is not None or quantity == "forallvalues"
    wanted = [_substituted(value, variables, context) for value in condition.values]
    if any(known is None for known, _ in wanted):
        return None
    texts = [text for known, text in wanted if known]

    def fits(value: str) -> bool | None:
        found = [test(value, text) for text in texts]
        hit = True if True in found else None if None in found else False
        return hit if negated is None or hit is None else not hit

    results = [fits(value) for value in values]
    if quantity == "foranyvalue":
        return True if True in results else None if None in results else False
    return False if False in results else None if None in results else True


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _time(text: str) -> float | None:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _compared(read: Callable[[str], float | None], test: Callable[[float, float], bool]) -> _Test:
    def compared(value: str, wanted: str) -> bool | None:
        one, other = read(value), read(wanted)
        return None if one is None or other is None else test(one, other)

    return compared


def _in_network(value: str, wanted: str) -> bool | None:
    try:
        address, network = address_of(value), network_of(wanted)
    except ValueError:
        return None
    return address.version == network.version and address in network


@lru_cache(maxsize=4096)
def address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as ``aws:SourceIp`` has it. Raises ValueError."""
    return ipaddress.ip_address(text)


@lru_cache(maxsize=4096)
def network_of(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network as ``aws:SourceIp`` has it. Raises ValueError."""
    return ipaddress.ip_network(text, strict=False)


def _arn_like(value: str, pattern: str) -> bool:
    """Each of the six parts by itself: ``*`` does not cross a colon before the last."""
    mine, wanted = value.split(":", 5), pattern.split(":", 5)
    return len(mine) == len(wanted) and all(_glob(w).fullmatch(m) for m, w in zip(mine, wanted, strict=True))


_Test = Callable[[str, str], bool | None]
_TESTS: Final[dict[str, _Test]] = {
    "stringequals": lambda value, wanted: value == _literal(wanted),
    "stringequalsignorecase": lambda value, wanted: value.lower() == _literal(wanted).lower(),
    "stringlike": lambda value, wanted: bool(_glob(wanted).fullmatch(value)),
    "bool": lambda value, wanted: value.lower() == wanted.lower(),
    "binaryequals": lambda value, wanted: value == wanted,
    "ipaddress": _in_network,
    "arnequals": _arn_like,
    "arnlike": _arn_like,
    **{
        f"{kind}{name}": _compared(read, test)
        for kind, read in (("numeric", _number), ("date", _time))
        for name, test in (
            ("equals", lambda a, b: a == b),
            ("lessthan", lambda a, b: a < b),
            ("lessthanequals", lambda a, b: a <= b),
            ("greaterthan", lambda a, b: a > b),
            ("greaterthanequals", lambda a, b: a >= b),
        )
    },
}
_OPPOSITE: Final = {
    "stringnotequals": "stringequals", "stringnotequalsignorecase": "stringequalsignorecase",
    "stringnotlike": "stringlike", "notipaddress": "ipaddress", "arnnotequals": "arnequals", "arnnotlike": "arnlike",
    "numericnotequals": "numericequals", "datenotequals": "dateequals",
}  # fmt: skip


# --- resource policies ---------------------------------------------------------------------------------------------


def about(statements: Iterable[Statement], arn: str, account: str) -> tuple[Statement, ...]:
    """The statements of a resource policy that concern a principal of the resource's own account: those that name it,
    and every Deny that includes it. An Allow for the account as a whole grants nothing by itself."""
    found = []
    for statement in statements:
        whole = {p for p in statement.principals if p in {"*", account} or p.endswith(f":iam::{account}:root")}
        named = arn in statement.principals or (bool(whole) and (not statement.allows or "*" in whole))
        if named != statement.except_principals:
            found.append(replace(statement, principals=()))
    return tuple(found)
