"""What IAM keeps for one account, and the checks and views that its operations share.

Source: IAM API reference; IAM User Guide "IAM and STS quotas".
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from reconciler.sandbox.protocol import ApiError
from reconciler.sandbox.world import moment

MAX_KEYS: Final = 2
MAX_USERS: Final = 5000
MAX_USER_GROUPS: Final = 10
MAX_ATTACHED: Final = 10
MAX_TAGS: Final = 50
MAX_USER_POLICY_CHARACTERS: Final = 2048
PREFIXES: Final = {"sesv2": "ses", "resourcegroupstaggingapi": "tag"}
"""IAM's service prefixes where they are not botocore's names."""
SECRET_ALPHABET: Final = string.ascii_letters + string.digits + "+/"


@dataclass
class AccessKey:
    id: str
    secret: str
    created: float
    active: bool = True
    used: tuple[float, str, str] | None = None
    """When, in which region and for which service it was last used."""


@dataclass
class User:
    name: str
    id: str
    path: str
    created: float
    tags: dict[str, str] = field(default_factory=dict)
    boundary: str | None = None
    policies: dict[str, str] = field(default_factory=dict)
    attached: list[str] = field(default_factory=list)
    keys: dict[str, AccessKey] = field(default_factory=dict)
    login_profile: float | None = None
    mfa: dict[str, float] = field(default_factory=dict)
    """Serial number of each MFA device -> when it was enabled."""
    ssh_keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    certificates: dict[str, dict[str, Any]] = field(default_factory=dict)
    service_credentials: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class Group:
    name: str
    id: str
    path: str
    created: float
    members: list[str] = field(default_factory=list)
    policies: dict[str, str] = field(default_factory=dict)
    attached: list[str] = field(default_factory=list)


@dataclass
class Role:
    name: str
    id: str
    path: str
    created: float
    trust: str
    description: str | None = None
    session: int = 3600
    tags: dict[str, str] = field(default_factory=dict)
    boundary: str | None = None
    policies: dict[str, str] = field(default_factory=dict)
    attached: list[str] = field(default_factory=list)
    used: tuple[float, str] | None = None
    """When and in which region one of its sessions last made a call."""


@dataclass
class Profile:
    """An instance profile; it holds one role at most."""

    name: str
    id: str
    path: str
    created: float
    tags: dict[str, str] = field(default_factory=dict)
    role: str | None = None


@dataclass
class Policy:
    name: str
    id: str
    path: str
    created: float
    description: str | None
    versions: dict[str, tuple[str, float]] = field(default_factory=dict)
    default: str = "v1"
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class IamState:
    """IAM of one account. Names are keyed in lower case: they differ only by case in nothing."""

    users: dict[str, User] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    profiles: dict[str, Profile] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    virtual_mfa: set[str] = field(default_factory=set)
    """The ARNs of virtual MFA devices, assigned to a user or not."""
    report: tuple[float, str] | None = None
    """The last credential report, and when it was asked for."""


def no_such(kind: str, name: str) -> ApiError:
    return ApiError("NoSuchEntity", f"The {kind} with name {name} cannot be found.", 404)


def conflict(message: str) -> ApiError:
    return ApiError("DeleteConflict", message, 409)


def limit(message: str) -> ApiError:
    return ApiError("LimitExceeded", message, 409)


def check_document(text: str) -> None:
    """Raises: ApiError MalformedPolicyDocument if it is no policy."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ApiError("MalformedPolicyDocument", "Syntax errors in policy.", 400) from error
    statements = document.get("Statement") if isinstance(document, dict) else None
    for statement in statements if isinstance(statements, list) else [statements]:
        if not isinstance(statement, dict) or statement.get("Effect") not in ("Allow", "Deny"):
            raise ApiError("MalformedPolicyDocument", "Syntax errors in policy.", 400)
        if not statement.keys() & {"Action", "NotAction"}:
            raise ApiError("MalformedPolicyDocument", "Policy statement must contain actions.", 400)
        if not statement.keys() & {"Resource", "NotResource"}:
            raise ApiError("MalformedPolicyDocument", "Policy statement must contain resources.", 400)


def check_size(text: str, policies: Mapping[str, str], most: int, holder: str) -> None:
    """Raises: ApiError where a document is no policy, or the inline policies are too large together."""
    check_document(text)
    if sum(len(re.sub(r"\s", "", one)) for one in policies.values()) > most:
        raise limit(f"Maximum policy size of {most} bytes exceeded for {holder}")


def boundary_view(arn: str) -> dict[str, str]:
    return {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn}


def inline_view(policies: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"PolicyName": n, "PolicyDocument": quote(policies[n], safe="-._~")} for n in sorted(policies)]


def attached_view(arns: Iterable[str]) -> list[dict[str, str]]:
    return [{"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn} for arn in sorted(arns)]


def attach(attached: list[str], arn: str) -> None:
    if arn not in attached:
        if len(attached) >= MAX_ATTACHED:
            raise limit(f"Cannot exceed quota for PoliciesPerUser: {MAX_ATTACHED}")
        attached.append(arn)


def detach(attached: list[str], arn: str) -> None:
    if arn not in attached:
        raise ApiError("NoSuchEntity", f"Policy {arn} was not found.", 404)
    attached.remove(arn)


def version_view(policy: Policy, version: str, *, document: bool) -> dict[str, Any]:
    text, created = policy.versions[version]
    shown: dict[str, Any] = {
        "VersionId": version,
        "IsDefaultVersion": version == policy.default,
        "CreateDate": moment(created),
    }
    if document:
        shown["Document"] = quote(text, safe="-._~")
    return shown


def merge_tags(tags: Mapping[str, str], added: list[dict[str, str]]) -> dict[str, str]:
    """Tags with some added; IAM keys ignore case but keep the first spelling. Raises: ApiError."""
    merged = dict(tags)
    lower = {key.lower(): key for key in merged}
    seen: set[str] = set()
    for tag in added:
        if tag["Key"].lower() in seen:
            raise ApiError(
                "InvalidInput", "Duplicate tag keys found. Please note that Tag keys are case insensitive.", 400
            )
        seen.add(tag["Key"].lower())
        if tag["Key"].lower().startswith("aws:"):
            raise ApiError("InvalidInput", "Invalid tag key: aws: is reserved.", 400)
        merged[lower.get(tag["Key"].lower(), tag["Key"])] = tag["Value"]
    if len(merged) > MAX_TAGS:
        raise limit(f"The number of tags has reached the maximum limit of {MAX_TAGS}.")
    return merged
