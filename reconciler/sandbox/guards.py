"""Where moto is kinder than AWS in services that recon uses: checks that run before a call is handed to it.

Source: Secrets Manager API reference, CreateSecret, PutSecretValue, DeleteSecret (a secret that is scheduled for
deletion keeps its name and takes no writes until it is restored).
"""

from __future__ import annotations

from typing import Any, Final

from reconciler.sandbox.protocol import ApiError, Params
from reconciler.sandbox.world import Call

SECRET_WRITES: Final = frozenset(
    {"PutSecretValue", "UpdateSecret", "TagResource", "UntagResource", "RotateSecret", "UpdateSecretVersionStage"}
)


def check(call: Call, params: Params) -> None:
    """Raises: ApiError where AWS would refuse what moto would accept."""
    if call.service == "s3":
        _check_owner(params)
    if call.service != "secretsmanager":
        return
    if call.operation == "CreateSecret" and _scheduled(call, params["Name"]):
        raise ApiError(
            "InvalidRequestException",
            "You can't create this secret because a secret with this name is already scheduled for deletion.",
            400,
        )
    if call.operation in SECRET_WRITES and _scheduled(call, params.get("SecretId", "")):
        raise ApiError(
            "InvalidRequestException",
            "You can't perform this operation on the secret because it was marked for deletion.",
            400,
        )


def _check_owner(params: Params) -> None:
    """S3 User Guide, "Verifying bucket ownership with bucket owner condition": another account's bucket is a 403."""
    from moto.s3.models import s3_backends

    _, owner = s3_backends.bucket_accounts.get(params.get("Bucket", ""), ("", None))
    if owner is not None and params.get("ExpectedBucketOwner", owner) != owner:
        raise ApiError("AccessDenied", "Access Denied", 403)


def _scheduled(call: Call, secret: str) -> bool:
    from moto.secretsmanager.models import secretsmanager_backends

    backend: Any = secretsmanager_backends[call.account][call.region]
    found = backend.secrets.get(secret)
    return found is not None and bool(found.is_deleted())
