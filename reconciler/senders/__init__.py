"""Every way mail can leave an account: which user, role or other account may send, as what and from where.

``reading`` asks IAM and SES, ``report`` decides what it means and is pure.
"""

from __future__ import annotations

from reconciler.senders.reading import (
    ALL,
    IDENTITIES,
    MANY_USERS,
    READS,
    AccountFacts,
    read,
    read_keys,
    read_principals,
)
from reconciler.senders.report import Sender, SendersReport, find, givers, undeclared

__all__ = [
    "ALL",
    "IDENTITIES",
    "MANY_USERS",
    "READS",
    "AccountFacts",
    "Sender",
    "SendersReport",
    "find",
    "givers",
    "read",
    "read_keys",
    "read_principals",
    "undeclared",
]
