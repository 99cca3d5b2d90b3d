"""What IAM policies allow, and whether they allow sending mail. Pure: nothing here calls AWS.

``evaluate`` decides one request; ``sending`` finds what a principal may send as, from where and through which sets.
"""

from __future__ import annotations

from reconciler.policy_evaluation.evaluate import (
    Answer,
    Context,
    Decision,
    Policies,
    Statement,
    about,
    evaluate,
    evaluate_all,
    parsed,
)
from reconciler.policy_evaluation.sending import SEND_ACTIONS, Principal, Reach, may_send, reach

__all__ = [
    "SEND_ACTIONS",
    "Answer",
    "Context",
    "Decision",
    "Policies",
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
