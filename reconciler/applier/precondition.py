"""Optimistic concurrency: reads a resource again before each write, and leaves it alone if somebody else changed it.

SES and IAM have no compare-and-swap; a read just before a write is the closest substitute. Route 53 compares by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from reconciler.errors import ReconError, Stale
from reconciler.kinds.kind import Step
from reconciler.kinds.registry import REGISTRY
from reconciler.model import Address, Change

if TYPE_CHECKING:
    from reconciler.aws import Aws


PLAN_AGAIN = "somebody else is editing it: plan again and review the new plan"


class Preconditions:
    """The checks of one apply: ``changes`` are the plan's, by address."""

    def __init__(self, aws: Aws, changes: Mapping[Address, Change]) -> None:
        self.aws = aws
        self.changes = changes
        self.checked: dict[Address, ReconError | None] = {}
        self.locks: dict[Address, threading.Lock] = {}
        self.lock = threading.Lock()

    def check(self, step: Step) -> ReconError | None:
        """Why ``step`` must not run, or None while its resource is still as planned, or as our own steps left it.
        Call it before every step on an existing resource."""
        change = self.changes.get(step.address)
        if change is None or change.observed_digest is None or change.kind == "dns_record" or not step.calls:
            return None
        with self.lock:
            resource_lock = self.locks.setdefault(step.address, threading.Lock())
        with resource_lock:  # Steps of one resource run in parallel: none may write while another still reads.
            if step.address not in self.checked:
                self.checked[step.address] = self._check_unchanged(change)
            elif self.checked[step.address] is None:
                self.checked[step.address] = self.recheck(step.address)
            return self.checked[step.address]

    def _check_unchanged(self, change: Change) -> ReconError | None:
        """Read a resource again: why it must be left alone, or None if it is as planned (or already deleted)."""
        try:
            now = REGISTRY[change.kind].reread(self.aws, change)
        except ReconError as error:
            return error
        deleted = now is None
        if now == change.observed_digest or (deleted and change.action == "delete"):
            return None
        return Stale(
            f"{change.address} {'was deleted' if deleted else 'changed'} since the plan; it was left alone",
            hint=PLAN_AGAIN,
        )

    def recheck(self, address: Address) -> ReconError | None:
        """Read a resource after its first write: why its other steps must not run, or None."""
        change = self.changes.get(address)
        if change is None:
            return None
        try:
            found = REGISTRY[change.kind].conflicts(self.aws, change)
        except ReconError as error:
            return error
        if found is None and change.action in {"delete", "create"}:
            return None  # Deleted as planned; or created and not visible yet, and the step itself waits for that.
        if found is not None and not found:
            return None
        what = "was deleted" if found is None else f"changed ({', '.join(found)})"
        return Stale(
            f"{address} {what} by somebody else while it was being applied; the rest of it was left alone",
            hint=PLAN_AGAIN,
        )
