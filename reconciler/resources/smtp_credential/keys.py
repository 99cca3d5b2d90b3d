"""The access keys of one user: list, last use, create, activate, deactivate and delete.

Source: IAM API, ListAccessKeys, GetAccessKeyLastUsed, CreateAccessKey; IAM User Guide, "Rotating access keys" (check
the last use of the old key before you deactivate it) and "Troubleshooting IAM" (changes are eventually visible).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reconciler.errors import AwsError, ReconError

if TYPE_CHECKING:
    from reconciler.aws import Aws

ACCEPT_SECONDS = 20.0
"""How long to wait for AWS to accept a new key before its password replaces one that works."""


def list_keys(aws: Aws, user: str) -> list[dict[str, Any]]:
    """``[{id, status, created}]`` sorted by id; ``created`` in ISO 8601. Empty where the user does not exist."""
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

    IAM's data may be some hours old (IAM User Guide, "Getting credential reports").
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
    """CreateAccessKey, repeated only where AWS answered and created nothing: each call creates another key (IAM API).

    ``known`` are the ids that existed before. Returns the key, and whether an earlier attempt is in doubt: AWS reported
    that it failed, and its key may still appear. After a lost answer nothing is deleted and nothing more is created: a
    key that appeared meanwhile may be somebody else's. The open intent stays on the user, and the next plan names such
    keys before it deletes them.

    Raises AwsError where AWS refuses, ReconError where the answer was lost or AWS stayed too busy.
    """
    from reconciler.aws.foreign_errors import THROTTLED

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
                # AWS itself reported a service failure, and there is no new key.
                last, doubtful = error, True
                time.sleep(min(0.5 * 2**attempt, 5.0))
                continue
            raise ReconError(
                f"AWS did not answer whether it created an access key for {user}: {error.message}",
                hint="apply again: the plan names a key that was created and not stored, then replaces it",
            ) from None
    raise ReconError(f"no access key could be created for {user}: {last.message}", hint="run apply again")


def wait_accepted(aws: Aws, made: Mapping[str, Any], seconds: float = ACCEPT_SECONDS) -> None:
    """Wait until AWS accepts a new key (sts GetCallerIdentity, which no policy can deny), so that a working password is
    not replaced by one that does not work yet. Gives up after ``seconds``, or where STS cannot be reached."""
    from reconciler.aws.probe import accepted

    deadline, pause = time.monotonic() + seconds, 0.2
    while not accepted(aws, str(made["AccessKeyId"]), str(made["SecretAccessKey"])):
        if time.monotonic() + pause > deadline:
            return
        time.sleep(pause)
        pause = min(pause * 2, 4.0)


def switch(aws: Aws, user: str, key_id: str, *, on: bool) -> None:
    """Make a key Active or Inactive. Deactivating a deleted key does nothing."""
    try:
        aws.call("iam", "UpdateAccessKey", UserName=user, AccessKeyId=key_id, Status="Active" if on else "Inactive")
    except AwsError as error:
        if on or not error.absent:
            raise


def delete(aws: Aws, user: str, key_id: str) -> None:
    """Delete a key. Does nothing where it is deleted already."""
    aws.call_if_there("iam", "DeleteAccessKey", UserName=user, AccessKeyId=key_id)
