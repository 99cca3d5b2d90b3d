"""The current time of a run."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from reconciler.errors import ReconError


def now() -> str:
    """The time in ISO 8601, UTC; ``RECON_NOW`` overrides the clock in tests. Raises ReconError if that is invalid."""
    given = os.environ.get("RECON_NOW")
    if not given:
        return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise ReconError(f"RECON_NOW is not an ISO 8601 time: {given!r}") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
