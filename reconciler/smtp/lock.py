"""Lock one SMTP user at once, and unlock it.

Source: IAM User Guide, "Policy evaluation logic" (an explicit deny wins over every allow), "Managing access keys".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from reconciler.errors import AwsError, ReconError, Refused
from reconciler.kinds.ownership import owner_of
from reconciler.kinds.tags import tags_from_aws
from reconciler.model import canonical_json
from reconciler.resources.smtp_credential import keys
from reconciler.resources.smtp_user.kind import KEY_LOCKED, LOCK_POLICY

if TYPE_CHECKING:
    from reconciler.aws import Aws

DENY = canonical_json(
    {
        "Version": "2012-10-17",
        "Statement": [{"Sid": "LockedByRecon", "Effect": "Deny", "Action": "*", "Resource": "*"}],
    }
)


@dataclass(frozen=True, slots=True)
class UserLockResult:
    """What a lock or an unlock did: the keys that it deactivated or activated, and the calls that failed."""

    user: str
    keys: tuple[str, ...]
    problems: tuple[ReconError, ...] = ()


def lock(aws: Aws, scope: str, user: str, now: str, *, declared: bool) -> UserLockResult:
    """Deny everything to a user and deactivate all of its keys, also those that recon did not create.

    The deny comes first, since it stops every key at once; a failed call does not stop the others. A tag remembers
    which keys were active. Raises Refused for a user of another stack, AwsError where its keys cannot be read.
    """
    tags = _tags_of(aws, scope, user, declared=declared)
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


def unlock(aws: Aws, scope: str, user: str, *, declared: bool) -> UserLockResult | None:
    """Activate the keys that ``lock`` deactivated, and remove the deny; None where the user was not locked."""
    tags = _tags_of(aws, scope, user, declared=declared)
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


def _tags_of(aws: Aws, scope: str, user: str, *, declared: bool) -> dict[str, str]:
    live = aws.call_if_there("iam", "GetUser", UserName=user)
    if live is None:
        raise ReconError(f"there is no IAM user {user}", hint="`recon graph --format text` lists the declared users")
    tags = tags_from_aws(live["User"].get("Tags"))
    owner = owner_of(tags)
    if owner != scope and not (owner is None and declared):
        raise Refused(
            f"the IAM user {user} " + (f"belongs to {owner}" if owner else "has no owner and is not declared here"),
            hint="lock it from its own stack, or in the IAM console",
        )
    return tags
