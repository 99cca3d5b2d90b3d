"""All access to AWS: sessions, rate limits, retries, errors, and a count of every call."""

from reconciler.aws.actions import iam_action
from reconciler.aws.client import Aws
from reconciler.aws.limiter import Limiter

__all__ = ["Aws", "Limiter", "iam_action"]
