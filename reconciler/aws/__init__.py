"""The one door to AWS: sessions, pacing, retries, errors in our words, and a count of every call."""

from reconciler.aws.actions import iam_action
from reconciler.aws.client import Aws
from reconciler.aws.limiter import Limiter

__all__ = ["Aws", "Limiter", "iam_action"]
