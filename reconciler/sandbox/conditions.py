"""The conditions of IAM policies that the sandbox knows: what a request says under a condition key, and if it fits.

Known keys: ``iam:PermissionsBoundary``, ``aws:RequestedRegion``, ``aws:ResourceTag/KEY`` and ``iam:ResourceTag/KEY``
of users, roles, instance profiles, resources of SES, secrets and parameters that exist, and the three of Route 53's
``ChangeResourceRecordSets``. Others are not judged: AWS does not say what tags a service takes a resource to have that
is not there.

Source: IAM User Guide, "IAM JSON policy elements: Condition operators" (a missing key matches nothing, so that it meets
a negated operator) and "Set operators for multi-valued context keys" (``ForAllValues`` is met where the key is
missing); Service Authorization Reference for IAM (the boundary is that of the request where it names one, else that of
the user or role); Route 53 Developer Guide, "Using IAM policy conditions for fine-grained access control" (names in
lower case, without final dot, octal escapes for all but a-z, 0-9, hyphen, underscore and dot).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from reconciler.sandbox.iam_state import IamState
from reconciler.sandbox.kept import tags_of_arn
from reconciler.sandbox.plain import plains
from reconciler.sandbox.protocol import Params
from reconciler.sandbox.records import BadRecord, normalise_name, show_name
from reconciler.sandbox.ses_state import SesState
from reconciler.sandbox.world import Call

BOUNDARY_IN_REQUEST: Final = frozenset(
    {"CreateUser", "PutUserPermissionsBoundary", "CreateRole", "PutRolePermissionsBoundary"}
)
TAGS: Final = ("aws:resourcetag/", "iam:resourcetag/")
RECORD_KEYS: Final = "route53:changeresourcerecordsets"


def listed(value: Any) -> list[Any]:
    """``value`` where it is a list, else a list of it: IAM takes one for the other everywhere."""
    return value if isinstance(value, list) else [value]


@lru_cache(maxsize=4096)
def glob(pattern: str) -> re.Pattern[str]:
    """``*`` and ``?`` are wildcards, ``${*}``, ``${?}`` and ``${$}`` the characters themselves."""
    parts = re.findall(r"\$\{[*?$]\}|.", pattern, re.DOTALL)
    wild = {"*": ".*", "?": "."}
    return re.compile("".join(wild.get(p) or re.escape(p[2] if len(p) > 1 else p) for p in parts), re.DOTALL)


def _exact(pattern: str, value: str) -> bool:
    return re.sub(r"\$\{([*?$])\}", r"\1", pattern) == value


def _like(pattern: str, value: str) -> bool:
    return glob(pattern).fullmatch(value) is not None


OPERATORS: Final[dict[str, Callable[[str, str], bool]]] = {
    "stringequals": _exact, "arnequals": _like, "stringlike": _like, "arnlike": _like,
    "stringequalsignorecase": lambda pattern, value: _exact(pattern.lower(), value.lower()),
}  # fmt: skip
"""Operator -> whether one value of the policy fits one of the request; each also with ``Not`` in it."""


def verdict(conditions: Mapping[str, Any], call: Call, params: Params, resource: str) -> bool | None:
    """Whether a request meets all conditions of a statement; None where that depends on what the sandbox does not know.

    ``resource`` is the ARN that is checked.
    """
    answers = [
        _meets(operator.lower(), [str(v) for v in listed(wanted)], _values(key.lower(), call, params, resource))
        for operator, keys in conditions.items()
        for key, wanted in keys.items()
    ]
    return False if False in answers else None if None in answers else True


def _meets(operator: str, wanted: list[str], found: list[str] | None) -> bool | None:
    """Whether the values ``found`` in a request meet one condition; ``found`` is None for a key that is not known."""
    if found is None:
        return None
    every, _, rest = operator.rpartition(":")
    if rest == "null":
        return all((text.lower() == "true") == (not found) for text in wanted)
    name = rest.removesuffix("ifexists")
    fits = OPERATORS.get(name.replace("not", "", 1))
    if fits is None:
        return None
    if not found and not every and name != rest:
        return True
    negated = "not" in name
    answers = [any(fits(pattern, value) for pattern in wanted) is not negated for value in found]
    if every == "forallvalues":
        return all(answers)
    return any(answers) if found or every else negated


def _values(key: str, call: Call, params: Params, resource: str) -> list[str] | None:
    """What a request says under a condition key, nothing where it says nothing; None for a key that is not known."""
    if key == "iam:permissionsboundary":
        return _boundary(call, params)
    if key == "aws:requestedregion":
        return [call.region]
    if key.startswith(RECORD_KEYS):
        return _records(key.removeprefix(RECORD_KEYS), params)
    if key.startswith(TAGS) and (tags := _tags(call, resource)) is not None:
        named = key.partition("/")[2]
        return [value for name, value in tags.items() if name.lower() == named]
    return None


def _boundary(call: Call, params: Params) -> list[str]:
    if call.operation in BOUNDARY_IN_REQUEST:
        return [params["PermissionsBoundary"]] if params.get("PermissionsBoundary") else []
    state = call.world.current("iam", call.account, "", IamState)
    holder = state.users.get(str(params.get("UserName", "")).lower())
    role = state.roles.get(str(params.get("RoleName", "")).lower())
    return [one.boundary for one in (holder, role) if one is not None and one.boundary]


def _records(what: str, params: Params) -> list[str] | None:
    changes = params.get("ChangeBatch", {}).get("Changes", [])
    if what == "actions":
        return [change["Action"] for change in changes]
    sets = [change["ResourceRecordSet"] for change in changes]
    if what == "recordtypes":
        return [one["Type"] for one in sets]
    return [_normalised(one["Name"]) for one in sets] if what == "normalizedrecordnames" else None


def _normalised(name: str) -> str:
    try:
        return show_name(normalise_name(name)).removesuffix(".")
    except BadRecord:  # Route 53 refuses it afterwards
        return name


def _tags(call: Call, arn: str) -> Mapping[str, str] | None:
    """The tags of a resource; None where it does not exist, or where another service keeps them."""
    _, _, service, region, account, rest = arn.split(":", 5) if arn.count(":") > 4 else ("",) * 6
    kind, _, name = rest.partition("/")
    if service == "iam":
        state = call.world.current("iam", account, "", IamState)
        kept: dict[str, Mapping[str, Any]] = {
            "user": state.users, "role": state.roles, "instance-profile": state.profiles,
        }  # fmt: skip
        holder = kept.get(kind, {}).get(name.rpartition("/")[2].lower())
        return holder.tags if holder else None
    if (tags := tags_of_arn(call.world, arn)) is not None:
        return tags
    if service in _STORED:
        return _STORED[service](account, region, rest)
    if service != "ses":
        return None
    ses = call.world.current("ses", account, region, SesState)
    if kind == "identity":
        identity = ses.find(name)
        return identity.tags if identity else None
    for plain in plains():
        if plain.arn == kind:
            item = ses.of(plain.noun).get(name)
            return item.tags if item else None
    return None


def _secret_tags(account: str, region: str, rest: str) -> Mapping[str, str] | None:
    from moto.secretsmanager.models import secretsmanager_backends

    backend: Any = secretsmanager_backends[account][region]
    name = rest.removeprefix("secret:")[: -len("-AbCdEf")]
    found = next((secret for secret in backend.secrets.values() if secret.name == name), None)
    return {tag["Key"]: tag["Value"] for tag in found.tags or ()} if found else None


def _parameter_tags(account: str, region: str, rest: str) -> Mapping[str, str] | None:
    from moto.ssm.models import ssm_backends

    backend: Any = ssm_backends[account][region]
    name = rest.removeprefix("parameter/")
    found = next((one for one in (name, f"/{name}") if one in backend._parameters), None)
    return dict(backend._resource_tags["Parameter"][found]) if found else None


_STORED: Final = {"secretsmanager": _secret_tags, "ssm": _parameter_tags}
