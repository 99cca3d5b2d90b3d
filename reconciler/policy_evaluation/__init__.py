"""What IAM policies allow, and whether they allow sending mail. Pure: nothing here calls AWS.

``evaluate`` decides one request; ``sending`` finds what a principal may send as, from where and through which sets.
"""

from __future__ import annotations

from reconciler.policy_evaluation.evaluate import (
    Context,
    Decision,
    Policies,
    PolicyAnswer,
    Statement,
    about,
    evaluate,
    evaluate_all,
    parsed,
)
from reconciler.policy_evaluation.sending import SEND_ACTIONS, Principal, Reach, may_send, reach

__all__ = [
    "SEND_ACTIONS",
    "Context",
    "Decision",
    "Policies",
    "PolicyAnswer",
    "Principal",
    "Reach",
    "Statement",
    "about",
    "evaluate",
    "evaluate_all",
    "may_send",
    "parsed",
    "reach",
]
