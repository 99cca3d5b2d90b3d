"""Delivery checked layer by layer, from the account to reputation; the first broken layer is the one to fix.

``facts`` reads AWS and public DNS; ``layers`` makes the checks from it and is pure.
"""

from __future__ import annotations

from reconciler.doctor.facts import READS, Facts, gather
from reconciler.doctor.layers import FOUND, LAYERS, OK, UNKNOWN, Check, diagnose

__all__ = ["FOUND", "LAYERS", "OK", "READS", "UNKNOWN", "Check", "Facts", "diagnose", "gather"]
