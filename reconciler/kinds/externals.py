"""What resources name that recon does not manage: KMS keys, delivery streams and IAM roles, and whether they exist.

Source: KMS API, DescribeKey (KeyState); Firehose API, DescribeDeliveryStream; IAM API, GetRole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from reconciler.model import Stack

if TYPE_CHECKING:
    from reconciler.aws import Aws


READS = ("kms:DescribeKey", "firehose:DescribeDeliveryStream", "iam:GetRole")
"""The calls of ``problem``. All of them are optional."""


class External(NamedTuple):
    """A key, a stream or a role, in the region of what names it (roles have none), as the state writes it."""

    service: str
    region: str
    text: str

    @property
    def name(self) -> str:
        """As the APIs of streams and roles take it; KMS takes the text itself."""
        return self.text if self.service == "kms" else self.text.rpartition("/")[2]


def of_arn(service: str, region: str, arn: str, stack: Stack) -> list[External]:
    """What an ARN names, where it is of this account: of another one nothing can be said."""
    return [External(service, region, arn)] if arn.split(":")[4:5] == [stack.account] else []


def key(region: str, text: str) -> list[External]:
    """A KMS key by its id, alias or ARN. AWS makes its own keys (``alias/aws/ssm``) when they are first used."""
    return [] if not text or text.rpartition(":")[2].startswith("alias/aws/") else [External("kms", region, text)]


def problem(aws: Aws, one: External) -> str:
    """Why nobody can use it; empty where somebody can. Raises AwsError where AWS does not say."""
    if one.service == "kms":
        answer = aws.call_if_there("kms", "DescribeKey", one.region, KeyId=one.text)
        state = str((answer or {}).get("KeyMetadata", {}).get("KeyState") or "Enabled")
        return "does not exist" if answer is None else "" if state == "Enabled" else f"cannot be used: it is {state}"
    if one.service == "firehose":
        found = aws.call_if_there("firehose", "DescribeDeliveryStream", one.region, DeliveryStreamName=one.name)
    else:
        found = aws.call_if_there("iam", "GetRole", RoleName=one.name)
    return "does not exist" if found is None else ""
