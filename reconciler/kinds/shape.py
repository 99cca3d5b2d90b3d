"""Between the YAML's snake_case documents and AWS's CamelCase members."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reconciler.model import canonical_json


def to_aws(document: Mapping[str, Any]) -> dict[str, Any]:
    """``tls_policy`` -> ``TlsPolicy``, all the way down; fields that are None are left out."""
    return {_camel(k): _value_to_aws(v) for k, v in document.items() if v is not None}


def _value_to_aws(value: Any) -> Any:
    if isinstance(value, Mapping):
        return to_aws(value)
    if isinstance(value, list | tuple):
        return [_value_to_aws(item) for item in value]
    return value


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def snake(name: str) -> str:
    """``TlsPolicy`` -> ``tls_policy``."""
    out = ""
    for character in name:
        out += ("_" if out and character.isupper() else "") + character.lower()
    return out


def from_aws(document: Mapping[str, Any]) -> dict[str, Any]:
    """``TlsPolicy`` -> ``tls_policy``, all the way down; times become ISO 8601 text."""
    return {snake(k): _value_from_aws(v) for k, v in document.items()}


def _value_from_aws(value: Any) -> Any:
    if isinstance(value, Mapping):
        return from_aws(value)
    if isinstance(value, list | tuple):
        return [_value_from_aws(item) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


Shape = Any
"""What a value must be: a type, None, True, a tuple of alternatives, ``[shape]`` for a list of it, or ``{key: shape}``
for a document that has these keys (``key?`` may be left out) and may have others; ``*`` is the shape of the others."""
TAGS: Shape = {"*": (str, None)}
TEXTS: Shape = ([str], None)


def must_fit(value: Any, shape: Shape, path: str) -> None:
    """Raise TypeError naming the first place where ``value``, which may come from a file, is not of ``shape``."""
    if isinstance(shape, tuple):
        for one in shape:
            try:
                return must_fit(value, one, path)
            except TypeError:
                continue
        raise TypeError(f"{path} is none of what it may be")
    if shape is True:
        if value is not True:
            raise TypeError(f"{path} is not true")
        return None
    if shape is None or isinstance(shape, type):
        truth = isinstance(value, bool) and shape is not bool
        if (value is not None) if shape is None else (truth or not isinstance(value, shape)):
            raise TypeError(f"{path} is no {shape.__name__ if shape else 'null'}")
        return None
    if isinstance(shape, list):
        must_fit(value, (list, tuple), path)
        for number, item in enumerate(value):
            must_fit(item, shape[0], f"{path}[{number}]")
        return None
    must_fit(value, dict, path)
    for key, one in shape.items():
        name = key.removesuffix("?")
        if name in value and key != "*":
            must_fit(value[name], one, f"{path}.{name}")
        elif name not in value and key == name != "*":
            raise TypeError(f"{path} lacks {name}")
    for name in value.keys() - {key.removesuffix("?") for key in shape} if "*" in shape else ():
        must_fit(name, str, path)
        must_fit(value[name], shape["*"], f"{path}.{name}")
    return None


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


def normal_policy(document: Any) -> Any:
    """An IAM policy document in one form, so that AWS's rewriting is no difference and any change of meaning is.

    IAM accepts one statement or a list, one action or a list, in any order, and drops white space (IAM User Guide,
    "Grammar of the IAM JSON policy language"). Single items become lists, lists are sorted, action names are spelled
    as AWS does where they are known, else in lower case (they ignore case); Sids, resources and conditions keep
    theirs, except condition operators' and keys' single values.
    """
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except ValueError:
            return document
    if not isinstance(document, Mapping):
        return document
    out: dict[str, Any] = dict(document)
    statements = out.get("Statement")
    if statements is not None:
        listed = statements if isinstance(statements, list | tuple) else [statements]
        out["Statement"] = sorted((_statement(s) for s in listed), key=canonical_json)
    return out


def _statement(statement: Any) -> Any:
    if not isinstance(statement, Mapping):
        return statement
    out: dict[str, Any] = {}
    for key, value in statement.items():
        if key in {"Action", "NotAction"}:
            out[key] = sorted({_ACTIONS.get(str(v).lower(), str(v).lower()) for v in _listed(value)})
        elif key in {"Resource", "NotResource"}:
            out[key] = sorted({str(v) for v in _listed(value)})
        elif key in {"Principal", "NotPrincipal"} and isinstance(value, Mapping):
            out[key] = {k: sorted({_principal(str(v)) for v in _listed(vs)}) for k, vs in value.items()}
        elif key == "Condition" and isinstance(value, Mapping):
            out[key] = {
                operator: {k: sorted({_text(v) for v in _listed(vs)}) for k, vs in keys.items()}
                if isinstance(keys, Mapping)
                else keys
                for operator, keys in value.items()
            }
        else:
            out[key] = value
    return out


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _principal(text: str) -> str:
    """AWS rewrites a bare account id into its root ARN (IAM User Guide, "AWS JSON policy elements: Principal")."""
    return f"arn:aws:iam::{text}:root" if text.isdigit() and len(text) == 12 else text
