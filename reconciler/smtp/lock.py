"""Stop one SMTP user at once, and let it go again.

Source: IAM User Guide, "Policy evaluation logic" (an explicit deny wins over every allow), "Managing access keys".
"""

from __future__ import annotations

from dataclasses import dataclass
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
class Locked:
    """What a lock or an unlock did: the keys that were switched, and what did not work."""

    user: str
    keys: tuple[str, ...]
    problems: tuple[ReconError, ...] = ()


def lock(aws: Aws, scope: str, user: str, now: str, *, declared: bool) -> Locked:
    """Deny everything to a user and switch all of its keys off, also those that recon did not make.

    The deny comes first, since it stops every key at once; a failure of one part does not stop the other. A tag
    remembers which keys were on. Raises Refused for a user that is not this stack's, AwsError where nothing worked.
    """
    tags = _tags_of(aws, scope, user, declared=declared)
    problems: list[ReconError] = []
    try:
        deny(aws, user)
    except AwsError as error:
        problems.append(error)
    active = [k["id"] for k in keys.list_keys(aws, user) if k["status"] == "Active"]
    earlier = tags.get(KEY_LOCKED, "").split()[1:]
    known = " ".join([now, *sorted({*earlier, *active})])
    try:
        aws.call("iam", "TagUser", UserName=user, Tags=[{"Key": KEY_LOCKED, "Value": known}])
    except AwsError as error:
        problems.append(error)
    done = []
    for key in active:
        try:
            keys.switch(aws, user, key, on=False)
            done.append(key)
        except AwsError as error:
            problems.append(error)
    return Locked(user, tuple(done), tuple(problems))


def unlock(aws: Aws, scope: str, user: str, *, declared: bool) -> Locked | None:
    """Switch the keys on again that ``lock`` switched off, and take the deny away; None where nothing was locked."""
    tags = _tags_of(aws, scope, user, declared=declared)
    remembered = set(tags.get(KEY_LOCKED, "").split()[1:])
    back = [k["id"] for k in keys.list_keys(aws, user) if k["id"] in remembered and k["status"] != "Active"]
    for key in back:
        keys.switch(aws, user, key, on=True)
    lifted = lift(aws, user)
    return Locked(user, tuple(back)) if lifted or KEY_LOCKED in tags else None


def deny(aws: Aws, user: str) -> None:
    """Attach the policy that denies everything."""
    aws.call("iam", "PutUserPolicy", UserName=user, PolicyName=LOCK_POLICY, PolicyDocument=DENY)


def lift(aws: Aws, user: str) -> bool:
    """Take the deny away and forget that the user was locked; whether the deny was there."""
    there = aws.call_if_there("iam", "DeleteUserPolicy", UserName=user, PolicyName=LOCK_POLICY) is not None
    aws.call("iam", "UntagUser", UserName=user, TagKeys=[KEY_LOCKED])
    return there


def _tags_of(aws: Aws, scope: str, user: str, *, declared: bool) -> dict[str, str]:
    live = aws.call_if_there("iam", "GetUser", UserName=user)
    if live is None:
        raise ReconError(f"there is no IAM user {user}", hint="recon plan lists what is declared")
    tags = tags_from_aws(live["User"].get("Tags"))
    owner = owner_of(tags)
    if owner != scope and not (owner is None and declared):
        raise Refused(
            f"the IAM user {user} belongs to {owner or 'nobody, and is not declared here'}",
            hint="lock it from the stack that it belongs to, or in the IAM console",
        )
    return tags
