"""Everybody in the account and their policies, many at a time, and each once for a snapshot: the kinds that need them
are read side by side.

Source: IAM API reference, GetAccountAuthorizationDetails.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from reconciler.kinds.snapshot import Snapshot

if TYPE_CHECKING:
    from reconciler.aws import Aws

NOUNS: Final = ("User", "Role")
PAGE: Final = 1_000
"""Users, roles, groups and policies a call; without it IAM answers with 100."""
_POLICIES: Final = ("LocalManagedPolicy", "AWSManagedPolicy")
_READING: Final = threading.Lock()

Detail = Mapping[str, Any]
"""A UserDetail or RoleDetail, or a User or Role with its ``UserPolicyList`` or ``RolePolicyList``."""


def everyone(aws: Aws, snapshot: Snapshot) -> Mapping[str, Sequence[Detail]]:
    """All users and roles of the account, by noun. Raises AwsError."""
    with _READING:
        if "User" not in snapshot.principals:
            snapshot.principals |= _listed(aws, *NOUNS)
        return snapshot.principals


def groups_and_policies(aws: Aws, snapshot: Snapshot) -> tuple[Sequence[Detail], Sequence[Detail]]:
    """All groups; and the managed policies of the account, and of AWS those that somebody has, with all versions.
    Raises AwsError."""
    with _READING:
        if "Group" not in snapshot.principals:
            snapshot.principals |= _listed(aws, "Group", *_POLICIES)
        return snapshot.principals["Group"], snapshot.principals["Policies"]


def _listed(aws: Aws, *filters: str) -> dict[str, list[Detail]]:
    """The users, roles and groups by noun, and ``Policies``, as far as the filters let them pass."""
    members = {"Policies" if one in _POLICIES else one: None for one in filters}
    found: dict[str, list[Detail]] = {member: [] for member in members}
    marker: dict[str, Any] = {}
    while True:
        page = aws.call("iam", "GetAccountAuthorizationDetails", Filter=list(filters), MaxItems=PAGE, **marker)
        for member in members:
            found[member] += page.get(member if member == "Policies" else f"{member}DetailList") or ()
        if not page.get("Marker"):
            return found
        marker = {"Marker": page["Marker"]}
