"""The access keys of one user: listed, last used, made, switched and deleted.

Source: IAM API, ListAccessKeys, GetAccessKeyLastUsed, CreateAccessKey; IAM User Guide, "Rotating access keys" (watch
when the old key was last used before it is switched off) and "Troubleshooting IAM" (changes are eventually visible).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reconciler.errors import AwsError, ReconError

if TYPE_CHECKING:
    from reconciler.aws import Aws

ACCEPT_SECONDS = 20.0
"""How long a new key may take until AWS accepts it, before its password goes where another one works now."""


def list_keys(aws: Aws, user: str) -> list[dict[str, Any]]:
    """``[{id, status, created}]`` sorted by id; ``created`` in ISO 8601. Empty where there is no such user."""
    try:
        listed = list(aws.pages("iam", "ListAccessKeys", "AccessKeyMetadata", token_in="Marker", UserName=user))
    except AwsError as error:
        if error.absent:
            return []
        raise
    return [
        {
            "id": k["AccessKeyId"],
            "status": k["Status"],
            "created": k["CreateDate"].isoformat() if k.get("CreateDate") else None,
        }
        for k in sorted(listed, key=lambda k: str(k["AccessKeyId"]))
    ]


def last_used(aws: Aws, key_id: str) -> dict[str, Any]:
    """``{at, service, region}`` of the last use (``at`` None for never), or ``{unknown: why}`` where it was not read.

    IAM's data may trail by some hours (IAM User Guide, "Getting credential reports").
    """
    try:
        found = aws.call("iam", "GetAccessKeyLastUsed", AccessKeyId=key_id).get("AccessKeyLastUsed") or {}
    except AwsError as error:
        return {"unknown": error.message}
    at = found.get("LastUsedDate")
    return {
        "at": at.isoformat() if at else None, "service": found.get("ServiceName"), "region": found.get("Region"),
    }  # fmt: skip


def create(aws: Aws, user: str, known: set[str]) -> tuple[Mapping[str, Any], bool]:
    """CreateAccessKey, repeated only where AWS answered and made nothing: each call makes another key (IAM API).

    Returns the key, and whether an attempt before it is in doubt: AWS called it failed, and its key may yet appear.

    ``known`` are the ids that existed before. After a lost answer nothing is deleted and nothing more is made: a key
    that appeared meanwhile may be somebody else's. The open intent on the user stays, and the next plan names what
    was made since before it is deleted.
    Raises AwsError for a refusal, ReconError where the answer was lost or AWS stayed too busy.
    """
    from reconciler.aws.client import THROTTLED

    doubtful = False
    for attempt in range(5):
        try:
            return aws.call("iam", "CreateAccessKey", retry=False, UserName=user)["AccessKey"], doubtful
        except AwsError as error:
            if error.absent or error.aws_code in THROTTLED:
                last = error
                time.sleep(min(0.5 * 2**attempt, 5.0))
                continue
            if error.status and error.status < 500:
                raise
            appeared = {key["id"] for key in list_keys(aws, user)} - known
            if error.status and not appeared:
                # A service failure that AWS itself reported, and no key to show for it.
                last, doubtful = error, True
                time.sleep(min(0.5 * 2**attempt, 5.0))
                continue
            raise ReconError(
                f"the answer to making an access key for {user} was lost: {error.message}",
                hint="apply again: the plan names a key that was made and is stored nowhere, then replaces it",
            ) from None
    raise ReconError(f"no access key could be made for {user}: {last.message}", hint="run apply again")


def wait_accepted(aws: Aws, made: Mapping[str, Any], seconds: float = ACCEPT_SECONDS) -> None:
    """Wait until AWS accepts a new key (sts GetCallerIdentity, which no policy can deny), so that a password that
    works is not replaced by one that does not work yet. Gives up after ``seconds``, or where STS cannot be asked."""
    from reconciler.aws.probe import accepted

    deadline, pause = time.monotonic() + seconds, 0.2
    while not accepted(aws, str(made["AccessKeyId"]), str(made["SecretAccessKey"])):
        if time.monotonic() + pause > deadline:
            return
        time.sleep(pause)
        pause = min(pause * 2, 4.0)


def switch(aws: Aws, user: str, key_id: str, *, on: bool) -> None:
    """Make a key Active or Inactive. A key that is gone cannot be switched off and needs not be."""
    try:
        aws.call("iam", "UpdateAccessKey", UserName=user, AccessKeyId=key_id, Status="Active" if on else "Inactive")
    except AwsError as error:
        if on or not error.absent:
            raise


def delete(aws: Aws, user: str, key_id: str) -> None:
    """Delete a key; one that is gone is done."""
    aws.call_if_there("iam", "DeleteAccessKey", UserName=user, AccessKeyId=key_id)
