"""Lock one user or role at once, and unlock it: also one that no YAML names.

A user is denied everything, and its keys are deactivated. Of a role only sending is denied, since its sessions do other
work, too; its present sessions feel that at once. ``everything`` also revokes those sessions.

Source: IAM User Guide, "Policy evaluation logic" (an explicit deny wins over every allow), "Managing access keys",
"Revoke IAM role temporary security credentials" (a Deny on aws:TokenIssueTime); IAM API, GetAccessKeyLastUsed (names
the user of a key).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from reconciler.errors import AwsError, ReconError, Refused
from reconciler.kinds.iam_principals import LOCK_POLICY
from reconciler.kinds.ownership import may_write, owner_of
from reconciler.kinds.tags import tags_from_aws
from reconciler.model import canonical_json
from reconciler.resources.smtp_credential import keys
from reconciler.resources.smtp_user.kind import KEY_LOCKED

if TYPE_CHECKING:
    from reconciler.aws import Aws

DENY = canonical_json(
    {
        "Version": "2012-10-17",
        "Statement": [{"Sid": "LockedByRecon", "Effect": "Deny", "Action": "*", "Resource": "*"}],
    }
)


CALLS = (
    "iam:GetUser", "iam:GetRole", "iam:GetRolePolicy", "iam:GetAccessKeyLastUsed", "iam:ListAccessKeys",
    "iam:UpdateAccessKey", "iam:PutUserPolicy", "iam:DeleteUserPolicy", "iam:TagUser", "iam:UntagUser",
    "iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:TagRole", "iam:UntagRole",
)  # fmt: skip
"""What locking anybody needs, on any user and role."""

_KEY_ID = re.compile(r"A[KS]IA[A-Z0-9]{12,124}")
_ARN = re.compile(r"arn:[a-z-]+:iam::(\d{12}):(user|role)/(?:.*/)?([^/]+)")
_REVOKED = "SessionsRevokedByRecon"


@dataclass(frozen=True, slots=True)
class LockTarget:
    """Whom to lock: ``type`` is ``user`` or ``role``; ``key`` is the access key that led to a user."""

    type: str
    name: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.type}/{self.name}"


@dataclass(frozen=True, slots=True)
class UserLockResult:
    """What a lock or an unlock did: the keys that it deactivated or activated, and the calls that failed."""

    user: str
    keys: tuple[str, ...]
    problems: tuple[ReconError, ...] = ()


def target_of(aws: Aws, text: str, declared: frozenset[str] = frozenset()) -> LockTarget:
    """Whom ``text`` means: a user or role by its name, ``user/NAME``, ``role/NAME`` or ARN, or a user by an access key.

    ``declared`` are the users that the YAML names. Raises ReconError where that is nobody, or not clear.
    """
    if text in declared:
        return LockTarget("user", text)
    if _KEY_ID.fullmatch(text):
        return _owner_of_key(aws, text)
    if text.startswith("arn:"):
        found = _ARN.fullmatch(text)
        if found is None:
            raise ReconError(f"{text} is not the ARN of an IAM user or role", hint="a session belongs to its role")
        if found[1] != aws.stack.account:
            raise Refused(f"{text} is in another account than {aws.stack.account}")
        return LockTarget(found[2], found[3])
    type, slash, name = text.partition("/")
    if slash and type in {"user", "role"}:
        return LockTarget(type, name.rpartition("/")[2])
    user = aws.call_if_there("iam", "GetUser", UserName=text)
    try:
        role = aws.call_if_there("iam", "GetRole", RoleName=text)
    except AwsError:
        if user is None:
            raise
        role = None  # the user exists; whether a role has the same name cannot be read
    if user is not None and role is not None:
        raise ReconError(f"there is a user and a role {text}", hint=f"write user/{text} or role/{text}")
    if user is None and role is None:
        raise ReconError(
            f"there is no IAM user {text}, and no role of that name", hint="`recon senders` lists who may send"
        )
    return LockTarget("user" if user is not None else "role", text)


def _owner_of_key(aws: Aws, key: str) -> LockTarget:
    if key.startswith("ASIA"):
        raise ReconError(
            f"{key} is a temporary key: it belongs to a session",
            hint="CloudTrail names the role or user that made it (LookupEvents by AccessKeyId): lock that one",
        )
    try:
        name = aws.call("iam", "GetAccessKeyLastUsed", AccessKeyId=key).get("UserName")
    except AwsError as error:
        gone = f"IAM says the same of a key that is not in account {aws.stack.account}: deleted, or another account's"
        raise ReconError(error.message, hint=f"{error.hint}; {gone}" if error.hint else gone) from None
    if not name or str(name).startswith("<"):
        raise ReconError(f"{key} belongs to no IAM user", hint="a key of the root user is deactivated by the root user")
    return LockTarget("user", str(name), key)


def lock_role(aws: Aws, role: str, now: str, *, everything: bool = False) -> UserLockResult:
    """Deny sending to a role and its present sessions; ``everything`` also revokes the sessions until ``now``.

    Repeated, it keeps an earlier revocation. Raises AwsError where the role cannot be changed.
    """
    live = aws.call_if_there("iam", "GetRolePolicy", RoleName=role, PolicyName=LOCK_POLICY)
    document = (live or {}).get("PolicyDocument") or {}
    kept = [one for one in document.get("Statement") or () if one.get("Sid") == _REVOKED]
    if everything:
        condition = {"DateLessThan": {"aws:TokenIssueTime": now}}
        kept = [{"Sid": _REVOKED, "Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition}]
    deny = {"Sid": "LockedByRecon", "Effect": "Deny", "Action": "ses:Send*", "Resource": "*"}
    text = canonical_json({"Version": "2012-10-17", "Statement": [deny, *kept]})
    aws.call("iam", "PutRolePolicy", RoleName=role, PolicyName=LOCK_POLICY, PolicyDocument=text)
    problems = []
    try:
        aws.call("iam", "TagRole", RoleName=role, Tags=[{"Key": KEY_LOCKED, "Value": now}])
    except AwsError as error:
        problems.append(error)
    return UserLockResult(role, (), tuple(problems))


def unlock_role(aws: Aws, role: str) -> UserLockResult | None:
    """Let a role send again, and its revoked sessions work; None where it was not locked."""
    there = aws.call_if_there("iam", "DeleteRolePolicy", RoleName=role, PolicyName=LOCK_POLICY) is not None
    aws.call_if_there("iam", "UntagRole", RoleName=role, TagKeys=[KEY_LOCKED])
    return UserLockResult(role, ()) if there else None


def lock(
    aws: Aws, scope: str, user: str, now: str, *, declared: bool, undeclared: bool = False
) -> UserLockResult:  # fmt: skip
    """Deny everything to a user and deactivate all of its keys, also those that recon did not create.

    The deny comes first, since it stops every key at once; a failed call does not stop the others. A tag remembers
    which keys were active. Raises Refused for a user of another stack or of nobody unless ``undeclared``, AwsError
    where its keys cannot be read.
    """
    tags = _tags_of(aws, scope, user, declared=declared, undeclared=undeclared)
    problems: list[ReconError] = []

    def attempt(work: Callable[[], object]) -> bool:
        try:
            work()
        except AwsError as error:
            problems.append(error)
            return False
        return True

    attempt(partial(deny, aws, user))
    active = [k["id"] for k in keys.list_keys(aws, user) if k["status"] == "Active"]
    earlier = tags.get(KEY_LOCKED, "").split()[1:]
    tag = {"Key": KEY_LOCKED, "Value": " ".join([now, *sorted({*earlier, *active})])}
    attempt(partial(aws.call, "iam", "TagUser", UserName=user, Tags=[tag]))
    done = [key for key in active if attempt(partial(keys.switch, aws, user, key, on=False))]
    return UserLockResult(user, tuple(done), tuple(problems))


def unlock(
    aws: Aws, scope: str, user: str, *, declared: bool, undeclared: bool = False
) -> UserLockResult | None:  # fmt: skip
    """Activate the keys that ``lock`` deactivated, and remove the deny; None where the user was not locked."""
    tags = _tags_of(aws, scope, user, declared=declared, undeclared=undeclared)
    remembered = set(tags.get(KEY_LOCKED, "").split()[1:])
    back = [k["id"] for k in keys.list_keys(aws, user) if k["id"] in remembered and k["status"] != "Active"]
    for key in back:
        keys.switch(aws, user, key, on=True)
    denied = remove_deny(aws, user)
    return UserLockResult(user, tuple(back)) if denied or KEY_LOCKED in tags else None


def deny(aws: Aws, user: str) -> None:
    """Attach the policy that denies everything."""
    aws.call("iam", "PutUserPolicy", UserName=user, PolicyName=LOCK_POLICY, PolicyDocument=DENY)


def remove_deny(aws: Aws, user: str) -> bool:
    """Remove the policy that denies everything, and the tag of the lock; returns whether the policy existed."""
    there = aws.call_if_there("iam", "DeleteUserPolicy", UserName=user, PolicyName=LOCK_POLICY) is not None
    aws.call("iam", "UntagUser", UserName=user, TagKeys=[KEY_LOCKED])
    return there


def _tags_of(aws: Aws, scope: str, user: str, *, declared: bool, undeclared: bool) -> dict[str, str]:
    live = aws.call_if_there("iam", "GetUser", UserName=user)
    if live is None:
        raise ReconError(f"there is no IAM user {user}", hint="`recon graph --format text` lists the declared users")
    tags = tags_from_aws(live["User"].get("Tags"))
    owner = owner_of(tags)
    if not undeclared and owner != scope and not (declared and may_write(aws.stack, owner)):
        raise Refused(
            f"the IAM user {user} " + (f"belongs to {owner}" if owner else "has no owner and is not declared here"),
            hint="lock it from its own stack, or with --undeclared",
        )
    return tags
