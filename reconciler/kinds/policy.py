"""Policy documents, of identities and of IAM users, in one form: AWS's rewriting is no difference."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from reconciler.model import canonical_json

_ACTIONS = {
    f"ses:{name}".lower(): f"ses:{name}"
    for name in (
        "SendEmail", "SendRawEmail", "SendTemplatedEmail", "SendBulkEmail", "SendBulkTemplatedEmail", "Send*",
        "GetEmailIdentity", "DeleteEmailIdentity", "GetEmailIdentityPolicies", "CreateEmailIdentityPolicy",
        "UpdateEmailIdentityPolicy", "DeleteEmailIdentityPolicy", "PutEmailIdentityConfigurationSetAttributes",
        "PutEmailIdentityDkimAttributes", "PutEmailIdentityDkimSigningAttributes", "PutEmailIdentityFeedbackAttributes",
        "PutEmailIdentityMailFromAttributes", "BatchGetMetricData", "ListRecommendations", "ListTagsForResource",
        "TagResource", "UntagResource",
    )
}  # fmt: skip
"""What may stand in a policy of an identity (SES Developer Guide, "Amazon SES policy anatomy"), by lower case."""


def normal_policy(document: Any, partition: str = "aws") -> Any:
    """An IAM policy document in one form, so that AWS's rewriting is no difference and any change of meaning is.

    IAM accepts one statement or a list, one action or a list, in any order, and drops white space (IAM User Guide,
    "Grammar of the IAM JSON policy language"). Single items become lists, lists are sorted, action names are spelled
    as AWS does where they are known, else in lower case (they ignore case); Sids, resources and conditions keep
    theirs, except condition operators' and keys' single values. ``partition`` is that of the account of a principal
    that is written as a bare number.
    """
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except ValueError:
            return document
    if not isinstance(document, Mapping):
        return document
    out: dict[str, Any] = dict(document)
    if out.get("Statement") is not None:
        out["Statement"] = sorted((_statement(s, partition) for s in listed(out["Statement"])), key=canonical_json)
    return out


def statements(document: Any) -> list[Mapping[str, Any]]:
    """The statements of a policy document; none of what is no policy."""
    found = listed(document.get("Statement")) if isinstance(document, Mapping) else []
    return [statement for statement in found if isinstance(statement, Mapping)]


def listed(value: Any) -> list[Any]:
    """The items of a list, or the one item that stands without a list; none of None."""
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def principals(document: Any) -> set[str]:
    """The AWS principals that a policy document names: ARNs, account ids and ``*``."""
    named: set[str] = set()
    for statement in statements(document):
        for key in ("Principal", "NotPrincipal"):
            who = statement.get(key)
            named |= {str(text) for text in listed(who.get("AWS") if isinstance(who, Mapping) else who)}
    return named


def for_anyone(principal: Any) -> bool:
    """Whether a statement's principal is everybody."""
    return principal == "*" or (isinstance(principal, Mapping) and "*" in listed(principal.get("AWS")))


def _statement(statement: Any, partition: str) -> Any:
    if not isinstance(statement, Mapping):
        return statement
    out: dict[str, Any] = {}
    for key, value in statement.items():
        if key in {"Action", "NotAction"}:
            out[key] = sorted({_ACTIONS.get(str(v).lower(), str(v).lower()) for v in listed(value)})
        elif key in {"Resource", "NotResource"}:
            out[key] = sorted({str(v) for v in listed(value)})
        elif key in {"Principal", "NotPrincipal"} and isinstance(value, Mapping):
            out[key] = {k: sorted({_principal(str(v), partition) for v in listed(vs)}) for k, vs in value.items()}
        elif key == "Condition" and isinstance(value, Mapping):
            if value:
                out[key] = {
                    operator: {k: sorted({_text(v, operator) for v in listed(vs)}) for k, vs in keys.items()}
                    if isinstance(keys, Mapping)
                    else keys
                    for operator, keys in value.items()
                }
        elif (key, value) != ("Sid", ""):  # an empty Sid is none
            out[key] = value
    return out


def _text(value: Any, operator: str) -> str:
    """The value of a condition as IAM compares it: numbers by value, true and false in any case (IAM User Guide, "IAM
    JSON policy elements: Condition operators")."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if isinstance(value, int | float) or "numeric" in operator.lower():
        with contextlib.suppress(ArithmeticError):
            number = Decimal(text.strip())
            if number.is_finite():
                return format(number.normalize(), "f") if number else "0"
    if operator.lower().removesuffix("ifexists").rpartition(":")[2] in ("bool", "null"):
        return text.strip().lower()
    return text


def _principal(text: str, partition: str) -> str:
    """AWS rewrites a bare account id into its root ARN (IAM User Guide, "AWS JSON policy elements: Principal")."""
    return f"arn:{partition}:iam::{text}:root" if text.isdigit() and len(text) == 12 else text
