"""The grammar of policies, as far as AWS refuses what breaks it: statements, principals, actions, conditions.

Sources: SES Developer Guide, "Amazon SES policy anatomy"; IAM User Guide, "Grammar of the IAM JSON policy language",
"IAM JSON policy elements: Condition operators".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from reconciler.desired.checks.place import EntryContext
from reconciler.desired.nodes import show
from reconciler.desired.variables import suggestion
from reconciler.regions import partition_of

_VERSIONS: Final = ("2012-10-17", "2008-10-17")
_POLICY_KEYS: Final = ("Version", "Id", "Statement")
_STATEMENT_KEYS: Final = (
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition",
)  # fmt: skip
_PRINCIPAL_KEYS: Final = ("AWS", "Service", "Federated", "CanonicalUser")
_PRINCIPAL: Final = re.compile(r"arn:([a-z-]+):(?:iam|sts)::([0-9]+):.*")
_EFFECTS: Final = ("Allow", "Deny")
_ACTION: Final = re.compile(r"\*|[A-Za-z0-9-]+:[A-Za-z0-9*?]+")
_OPERATORS: Final = (
    *(f"String{n}" for n in ("Equals", "NotEquals", "EqualsIgnoreCase", "NotEqualsIgnoreCase", "Like", "NotLike")),
    *(
        f"{kind}{n}"
        for kind in ("Numeric", "Date")
        for n in ("Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals")
    ),
    *(f"Arn{n}" for n in ("Equals", "NotEquals", "Like", "NotLike")),
    "Bool", "BinaryEquals", "IpAddress", "NotIpAddress", "Null",
)  # fmt: skip
_KNOWN: Final = frozenset(name.lower() for name in _OPERATORS)


def check_policy(place: EntryContext, path: str, body: Mapping[str, Any]) -> None:
    """One policy of an identity, a document that names its principals."""
    for key in body:
        if key not in _POLICY_KEYS:
            place.error(f"{path}.{key}", "unknown-key", f"a policy has no {show(key)}", suggestion(key, _POLICY_KEYS))
    if "Version" in body and body["Version"] not in _VERSIONS:
        place.error(f"{path}.Version", "not-allowed-value", f"{show(body['Version'])} is not a policy version",
                    'write "2012-10-17"')  # fmt: skip
    if "Statement" not in body:
        place.error(path, "missing-key", "the policy has no Statement", "write `Statement: [{Effect: Allow, ...}]`")
        return
    written = body["Statement"]
    statements = written if isinstance(written, list) else [written]
    if not statements:
        place.error(f"{path}.Statement", "empty-list", "the policy says nothing",
                    "write at least one statement, or take the policy out")  # fmt: skip
    for index, statement in enumerate(statements):
        here = f"{path}.Statement.{index}" if isinstance(written, list) else f"{path}.Statement"
        if isinstance(statement, dict):
            _statement(place, here, statement)
        else:
            place.error(here, "wrong-type", f"a statement is a map; found {show(statement)}",
                        "write {Effect: Allow, Principal: {AWS: ...}, Action: ..., Resource: ...}")  # fmt: skip


def _statement(place: EntryContext, path: str, statement: Mapping[str, Any]) -> None:
    elided = "..." in statement
    if elided:
        place.warn(path, "bad-policy", "`...` is there instead of something: SES would refuse the policy",
                   "write the statement whole")  # fmt: skip
    for key in statement:
        if key not in _STATEMENT_KEYS and key != "...":
            place.error(
                f"{path}.{key}", "unknown-key", f"a statement has no {show(key)}", suggestion(key, _STATEMENT_KEYS)
            )
    if "Effect" not in statement and not elided:
        place.error(path, "missing-key", "Effect is missing", "write `Effect: Allow` or `Effect: Deny`", "Effect")
    elif statement.get("Effect", "Allow") not in _EFFECTS:
        place.error(f"{path}.Effect", "not-allowed-value", f"{show(statement['Effect'])} is no effect",
                    "write Allow or Deny")  # fmt: skip
    for one, other, example in (
        ("Principal", "NotPrincipal", 'Principal: {AWS: "arn:aws:iam::111122223333:root"}'),
        ("Action", "NotAction", "Action: ses:SendEmail"),
        ("Resource", "NotResource", 'Resource: "arn:${partition}:ses:${region}:${account}:identity/${domain}"'),
    ):
        there = [key for key in (one, other) if key in statement]
        if len(there) == 2:
            place.error(path, "exactly-one", f"{one} and {other} exclude each other", "keep one of the two", one)
        elif not there and one != "Resource" and not elided:
            place.error(path, "missing-key", f"{one} is missing", f"write `{example}`", one)
    for key in ("Principal", "NotPrincipal"):
        if key in statement:
            _principal(place, f"{path}.{key}", statement[key])
    for key in ("Action", "NotAction"):
        for at, text in _texts(place, f"{path}.{key}", statement[key]) if key in statement else ():
            if not _ACTION.fullmatch(text):
                place.error(at, "bad-name", f"{show(text)} is no action", "such as ses:SendEmail or ses:Send*")
    for key in ("Resource", "NotResource"):
        for at, text in _texts(place, f"{path}.{key}", statement[key]) if key in statement else ():
            if text != "*" and not text.startswith("arn:"):
                place.error(at, "bad-arn", f"{show(text)} is not an ARN",
                            'such as "arn:${partition}:ses:${region}:${account}:identity/${domain}"')  # fmt: skip
    if "Condition" in statement:
        check_conditions(place, f"{path}.Condition", statement["Condition"])


def _principal(place: EntryContext, path: str, value: Any) -> None:
    if value == "*":
        return
    if not isinstance(value, dict) or not value:
        place.error(path, "wrong-type", f'a map or "*" is wanted; found {show(value)}',
                    'write {AWS: "arn:aws:iam::111122223333:root"}')  # fmt: skip
        return
    for key, who in value.items():
        if key not in _PRINCIPAL_KEYS:
            place.error(f"{path}.{key}", "unknown-key", f"there is no kind of principal {show(key)}",
                        suggestion(key, _PRINCIPAL_KEYS))  # fmt: skip
            continue
        for at, text in _texts(place, f"{path}.{key}", who):
            # all else is AWS's to know
            match = _PRINCIPAL.fullmatch(text)
            account = text.strip() if text.strip().isdigit() else match.group(2) if match else ""
            own = partition_of(place.region or "")
            if key == "AWS" and match and match.group(1) != own:
                place.error(at, "mixed-partitions", f"{text} is in partition {match.group(1)}, the identity in {own}",
                            f"a principal is in the identity's own partition: begin it with arn:{own}:")  # fmt: skip
            elif key == "AWS" and account and not re.fullmatch("[0-9]{12}", account):
                place.error(at, "bad-account", f"{show(account)} is not the 12 digits of an account",
                            "write all 12 digits, in quotes: leading zeros count")  # fmt: skip


def _texts(place: EntryContext, path: str, value: Any) -> list[tuple[str, str]]:
    """The texts of one text or a list, with their paths; what is none is recorded."""
    items = value if isinstance(value, list) else [value]
    if not items:
        place.error(path, "empty-list", "the list is empty", "write at least one item")
    found = []
    for index, item in enumerate(items):
        at = f"{path}.{index}" if isinstance(value, list) else path
        if isinstance(item, str) and item.strip():
            found.append((at, item))
        elif isinstance(item, int | float) and not isinstance(item, bool):
            place.error(at, "needs-quotes", f"a text is wanted; without quotes YAML reads {item} as a number",
                        f'put it in quotes: "{item}"')  # fmt: skip
        else:
            place.error(at, "wrong-type", f"a text is wanted; found {show(item)}", "write a text or a list of texts")
    return found


def check_conditions(place: EntryContext, path: str, value: Any) -> None:
    """Operators to keys to values: what IAM would call a malformed policy."""
    if not isinstance(value, dict):
        place.error(path, "wrong-type", f"a map is wanted; found {show(value)}",
                    'write {StringLike: {"ses:FromAddress": "*@acme.com"}}')  # fmt: skip
        return
    for operator, keys in value.items():
        here = f"{path}.{operator}"
        if not _is_operator(operator):
            place.error(here, "unknown-key", f"there is no condition operator {show(operator)}",
                        suggestion(operator.rpartition(":")[2], _OPERATORS))  # fmt: skip
        if not isinstance(keys, dict) or not keys:
            place.error(here, "wrong-type", f"a map of condition keys is wanted; found {show(keys)}",
                        'write {"aws:SourceIp": "203.0.113.0/24"}')  # fmt: skip
            continue
        for key, item in keys.items():
            service, colon, name = key.partition(":")
            if not (service and colon and name) or any(ch.isspace() for ch in key):
                place.error(f"{here}.{key}", "bad-name", f"{show(key)} is no condition key",
                            "it names its service, such as aws:SourceIp or ses:FromAddress")  # fmt: skip
            values = item if isinstance(item, list) else [item]
            if not values or not all(isinstance(one, str | int | float) for one in values):
                place.error(f"{here}.{key}", "wrong-type", f"a value or a list of values is wanted; found {show(item)}",
                            "write a text, a number, true or false")  # fmt: skip


def _is_operator(text: str) -> bool:
    """Whether IAM knows the operator, with its set prefix and its ``IfExists``."""
    name = text.lower()
    for prefix in ("forallvalues:", "foranyvalue:"):
        name = name.removeprefix(prefix)
    return name in _KNOWN or (name != "nullifexists" and name.removesuffix("ifexists") in _KNOWN)
