"""The page of docs/runbooks to go on with after a check that failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from reconciler.doctor.checks import FOUND, Check

PAGES: Final[Mapping[str, str]] = {
    "account": "aws-paused-us.md", "smtp": "authentication-error.md", "identity": "one-receiver-refuses.md",
    "dns": "one-receiver-refuses.md", "alignment": "one-receiver-refuses.md", "suppression": "one-receiver-refuses.md",
    "reputation": "complaints-rise.md",
}  # fmt: skip
"""Layer -> page."""


def runbook(checks: Sequence[Check]) -> str:
    """The page for the cause that the headline names: the first of the lowest rank; "" where nothing is wrong."""
    wrong = sorted((c for c in checks if c.status == FOUND and not c.cause), key=lambda c: c.rank)
    return PAGES.get(wrong[0].layer, "") if wrong else ""
