"""The region of the credentials, as AWS CLI v2 finds it.

Source: AWS CLI User Guide, "Configuring environment variables" (AWS_REGION before AWS_DEFAULT_REGION before the
profile).
"""

from __future__ import annotations

import os

from reconciler.errors import ReconError


def default_region() -> str | None:
    """The region of the environment or the profile; None where neither names one. Raises ReconError."""
    if region := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
        return region
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        found: str | None = boto3.session.Session().region_name
    except BotoCoreError as problem:
        raise ReconError(str(problem), hint="see AWS_PROFILE and ~/.aws/config") from None
    return found
