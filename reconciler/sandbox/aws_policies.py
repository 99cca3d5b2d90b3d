"""Policies that AWS manages, with their documents: the common ones here, every other from moto's copy.

Source: AWS Managed Policy Reference Guide.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, Final

from reconciler.sandbox.iam_state import Policy


def _document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def _allow(*actions: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions) if len(actions) > 1 else actions[0], "Resource": "*"}


COMMON: Final = {
    "AdministratorAccess": _document(_allow("*")),
    "IAMFullAccess": _document(_allow("iam:*", "organizations:DescribeAccount", "organizations:ListPolicies")),
    "PowerUserAccess": _document(
        {"Effect": "Allow", "NotAction": ["iam:*", "organizations:*", "account:*"], "Resource": "*"},
        _allow("account:GetAccountInformation", "iam:CreateServiceLinkedRole", "iam:ListRoles"),
    ),
    "AmazonSESFullAccess": _document(_allow("ses:*")),
    "AmazonSESReadOnlyAccess": _document(_allow("ses:Get*", "ses:List*", "ses:BatchGetMetricData")),
    "AmazonS3ReadOnlyAccess": _document(_allow("s3:Get*", "s3:List*")),
    "service-role/AWSLambdaBasicExecutionRole": _document(
        _allow("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
    ),
}
_MADE: Final = 1_423_000_000.0
"""When AWS made the first of them, in seconds since 1970."""


def is_aws_policy(arn: str) -> bool:
    """Whether AWS manages the policy, existing or not."""
    return re.fullmatch(r"arn:[a-z-]+:iam::aws:policy/.+", arn) is not None


@lru_cache(maxsize=256)
def aws_policy(arn: str) -> Policy | None:
    """The policy by its ARN; None where AWS has none of that name."""
    path = arn.partition(":policy/")[2]
    name = path.rpartition("/")[2]
    text = COMMON.get(path)
    if text is None:
        text = json.dumps(known[name]["Document"]) if name in (known := _of_moto()) else None
    if text is None:
        return None
    return Policy(name, "ANPA" + name.upper()[:17].ljust(17, "A"), "/" + path[: -len(name)], _MADE, None,
                  {"v1": (text, _MADE)})  # fmt: skip


@lru_cache(maxsize=1)
def _of_moto() -> dict[str, Any]:
    """About a second, the first time."""
    from moto.iam.aws_managed_policies import aws_managed_policies_data

    return dict(json.loads(aws_managed_policies_data))
