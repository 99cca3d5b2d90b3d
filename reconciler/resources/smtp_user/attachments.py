"""What IAM keeps with a user that recon never makes, and refuses to delete the user for: a password for the console,
MFA devices, SSH keys, signing certificates and credentials of single services.

Source: IAM API reference, DeleteUser: what must be deleted first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from reconciler.errors import AwsError
from reconciler.kinds.obstacles import Found, Obstacle
from reconciler.model import Observed

if TYPE_CHECKING:
    from reconciler.aws import Aws

_LISTED: Final = (
    ("ListMFADevices", "MFADevices", "SerialNumber", "the MFA device {id}", "deactivate-mfa-device", "serial-number"),
    (
        "ListSSHPublicKeys", "SSHPublicKeys", "SSHPublicKeyId", "the SSH key {id}", "delete-ssh-public-key",
        "ssh-public-key-id",
    ),
    (
        "ListSigningCertificates", "Certificates", "CertificateId", "the signing certificate {id}",
        "delete-signing-certificate", "certificate-id",
    ),
    (
        "ListServiceSpecificCredentials", "ServiceSpecificCredentials", "ServiceSpecificCredentialId",
        "the service credential {id}", "delete-service-specific-credential", "service-specific-credential-id",
    ),
)  # fmt: skip
"""(operation, its rows, the member that names one, in words, the command of the AWS CLI that removes it, its option)"""

READS: Final = ("iam:GetLoginProfile", *(f"iam:{operation}" for operation, *_ in _LISTED))

_NONE: Final = frozenset({"NotSupportedService"})
"""What IAM answers where the partition has no service with credentials of its own."""


def obstacles(aws: Aws, going: Sequence[Observed]) -> Found:
    """What IAM would refuse the deletion of users for. Costs five calls a user."""

    def one(live: Observed) -> tuple[Obstacle, ...] | AwsError:
        try:
            return tuple(_of(aws, live.name))
        except AwsError as error:
            return error

    return {live.address: answer for live, answer in zip(going, aws.parallel(one, going), strict=True)}


def _of(aws: Aws, name: str) -> Iterator[Obstacle]:
    if aws.call_if_there("iam", "GetLoginProfile", UserName=name) is not None:
        yield Obstacle("a password for the console", f"aws iam delete-login-profile --user-name {name}")
    for operation, rows, member, words, command, option in _LISTED:
        try:
            for row in aws.pages("iam", operation, rows, token_in="Marker", UserName=name):
                what = str(row[member])
                yield Obstacle(words.format(id=what), f"aws iam {command} --user-name {name} --{option} {what}")
        except AwsError as error:
            if not error.absent and error.aws_code not in _NONE:
                raise
