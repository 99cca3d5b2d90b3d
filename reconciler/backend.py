"""Where a stack keeps its lock and its journal: a local directory, or an S3 bucket (``stack.backend``).

It holds no desired or observed state: without its backend a stack plans and applies as before.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from reconciler.errors import AwsError, ReconError

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.model import Stack

MISSING = frozenset({"NoSuchKey", "404", "NotFound"})
REFUSED = frozenset({"PreconditionFailed", "412"})
DENIED = frozenset({"AccessDenied", "403"})
CONFLICT = frozenset({"ConditionalRequestConflict", "409"})

MAX_RECORD = 2**20
"""Characters of a lock, or of one line of a journal."""
MAX_OBJECT = 64 * 2**20
"""Bytes of an object that are read: a journal of a hundred thousand steps has 20 MB."""


@dataclass(frozen=True, slots=True)
class Location:
    """The value of ``stack.backend``: a bucket with a key prefix, or (``bucket`` empty) the local directory."""

    bucket: str = ""
    prefix: str = ""
    region: str | None = None
    account: str = ""
    """Whose the bucket must be: a bucket of that name that somebody else has made is never used."""
    directory: str = ".recon"

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}" if self.bucket else self.directory


def location_of(stack: Stack) -> Location:
    """Where a stack's lock and journal are; ``RECON_DIR`` overrides the local directory ``.recon``."""
    s3 = stack.backend.get("s3")
    if s3:
        prefix = str(s3.get("prefix") or "")
        return Location(
            str(s3["bucket"]), prefix + "/" * bool(prefix and not prefix.endswith("/")), s3.get("region") or None,
            str(s3.get("account") or stack.account or ""),
        )  # fmt: skip
    return Location(directory=os.environ.get("RECON_DIR") or ".recon")


def scope_key(scope: str) -> str:
    """A stack's scope in an object key: ``acme-mail/production``, or ``acme-mail/_`` (no environments)."""
    name, _, environment = scope.partition("/")
    return f"{name}/{environment or '_'}"


def scope_file(scope: str) -> str:
    """A stack's scope in a file name: ``acme-mail~production``; a stack's name cannot contain ``~``."""
    return "".join(c if c.isalnum() or c in "._-" else "~" for c in scope)


def parse_record(text: str) -> dict[str, Any]:
    """A JSON object as a lock or a journal holds it; empty if it is none. What is not ours may be in these files:
    values of any type, of any depth, or texts that cannot be printed."""
    try:
        record = json.loads(text) if len(text) <= MAX_RECORD else None
        json.dumps(record, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # a lone surrogate is a ValueError, too
        return {}
    return record if isinstance(record, dict) else {}


def parse_time(value: object) -> str | None:
    """A time of a record (ISO 8601 with an offset) in UTC with milliseconds, as recon writes it, or None."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is None or moment.tzinfo is None or not 2000 <= moment.year < 9999:
            return None
        return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class S3Object:
    """One object as read: its first ``MAX_OBJECT`` bytes, its entity tag, and when S3 stored it."""

    body: bytes
    etag: str
    modified: datetime


class Bucket:
    """The S3 calls that locks and journals need.

    Source: Amazon S3 User Guide, "How to prevent object overwrites with conditional writes" and "How to perform
    conditional deletes": a write with If-None-Match or If-Match fails with 412 if the condition is false, with 409 if
    S3 served another conditional request at the same time, and with 404 if If-Match finds no object.
    """

    def __init__(self, location: Location, aws: Aws) -> None:
        self.location = location
        self.aws = aws

    def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return self.aws.call("s3", operation, self.location.region, **self._bucket, **parameters)

    @property
    def _bucket(self) -> dict[str, Any]:
        """Which bucket, in every call (S3 User Guide, "Verifying bucket ownership with bucket owner condition")."""
        owner = {"ExpectedBucketOwner": self.location.account} if self.location.account else {}
        return {"Bucket": self.location.bucket, **owner}

    def get(self, key: str) -> S3Object | None:
        """One object, or None if there is none. Raises AwsError."""
        from botocore.exceptions import BotoCoreError

        try:
            answer = self._call("GetObject", Key=key)
            return S3Object(answer["Body"].read(MAX_OBJECT), answer["ETag"], answer["LastModified"])
        except AwsError as error:
            # Without s3:ListBucket on the whole bucket S3 returns 403 for a missing object (S3 API, GetObject,
            # "Permissions"); `recon iam-policy` allows listing the prefix, which distinguishes the two.
            if error.aws_code in MISSING or (error.aws_code in DENIED and key not in self.keys(key)):
                return None
            raise
        except (BotoCoreError, OSError) as problem:
            raise ReconError(
                f"s3://{self.location.bucket}/{key} could not be read to its end: {type(problem).__name__}",
                hint="run the command again",
            ) from None

    def put(self, key: str, body: bytes, *, etag: str | None = None, new: bool = False) -> str:
        """Write an object and return its entity tag.

        ``new`` writes only if there is none, ``etag`` only over exactly that one. Raises AwsError.
        """
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if new else {"IfMatch": etag} if etag else {}
        answer = self._call("PutObject", Key=key, Body=body, ContentType="application/json", **condition)
        return str(answer["ETag"])

    def delete(self, key: str, etag: str) -> bool:
        """Delete exactly the object with this entity tag; False if the object has another. Raises AwsError."""
        try:
            self._call("DeleteObject", Key=key, IfMatch=etag)
        except AwsError as error:
            if error.aws_code in MISSING:
                return True
            if error.aws_code in REFUSED | CONFLICT:
                return False
            raise
        return True

    def keys(self, prefix: str) -> list[str]:
        """All keys below a prefix, in order: one call per 1000. Raises AwsError."""
        found = self.aws.pages(
            "s3", "ListObjectsV2", "Contents", self.location.region, token_in="ContinuationToken",
            token_out="NextContinuationToken", Prefix=prefix, **self._bucket,
        )  # fmt: skip
        return sorted(str(item["Key"]) for item in found)
