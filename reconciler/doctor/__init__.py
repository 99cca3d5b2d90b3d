"""Delivery checked layer by layer, from the account to reputation; the first broken layer is the one to fix.

``facts`` reads AWS and public DNS, ``undeclared`` what is live where there is no YAML; ``layers`` makes the checks from
it, and ``headline`` says which of them is the cause: both are pure.
"""

from __future__ import annotations

from reconciler.doctor.checks import FOUND, LAYERS, OK, UNKNOWN, Check
from reconciler.doctor.facts import READS, Facts, gather, gather_live
from reconciler.doctor.headline import by_cause, headline
from reconciler.doctor.layers import diagnose

__all__ = [
    "FOUND",
    "LAYERS",
    "OK",
    "READS",
    "UNKNOWN",
    "Check",
    "Facts",
    "by_cause",
    "diagnose",
    "gather",
    "gather_live",
    "headline",
]
