"""Looks at a resource before each write of it: what somebody else has changed meanwhile is left alone.

SES and IAM have no compare-and-swap, and a look just before a write is as near as one comes to it. Route 53 compares
by itself.
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


class Preconditions:
    """What one apply has seen of its resources again: ``changes`` are the plan's, by address."""

    def __init__(self, aws: Aws, changes: Mapping[Address, Change]) -> None:
        self.aws = aws
        self.changes = changes
        self.checked: dict[Address, ReconError | None] = {}
        self.reading: dict[Address, threading.Lock] = {}
        self.lock = threading.Lock()

    def check(self, step: Step) -> ReconError | None:
        """Before every step on an existing resource: why it must not run, unless the resource is still as it was
        planned, or as our own steps have left it."""
        change = self.changes.get(step.address)
        if change is None or change.observed_digest is None or change.kind == "dns_record" or not step.calls:
            return None
        with self.lock:
            mine = self.reading.setdefault(step.address, threading.Lock())
        with mine:  # Steps of one resource run side by side: none may write while another still looks.
            if step.address not in self.checked:
                self.checked[step.address] = self._look(change)
            elif self.checked[step.address] is None:
                self.checked[step.address] = self.recheck(step.address)
            return self.checked[step.address]

    def _look(self, change: Change) -> ReconError | None:
        """Read a resource again; why it must be left alone, or None where it is as planned (or gone, as it should)."""
        try:
            now = REGISTRY[change.kind].reread(self.aws, change)
        except ReconError as error:
            return error
        gone = now is None
        if now == change.observed_digest or (gone and change.action == "delete"):
            return None
        return Stale(
            f"{change.address} {'was deleted' if gone else 'changed'} since the plan; it was left alone",
            hint="somebody else is editing it: plan again and look",
        )

    def recheck(self, address: Address) -> ReconError | None:
        """Read a resource whose first write is made: why the rest must be left undone, or None."""
        change = self.changes.get(address)
        if change is None:
            return None
        try:
            found = REGISTRY[change.kind].conflicts(self.aws, change)
        except ReconError as error:
            return error
        if found is None and change.action in {"delete", "create"}:
            return None  # Gone, as it should be; or not seen yet, and then the step itself waits for it.
        if found is not None and not found:
            return None
        what = "was deleted" if found is None else f"changed ({', '.join(found)})"
        return Stale(
            f"{address} {what} by somebody else while it was being applied; the rest of it was left alone",
            hint="somebody else is editing it: plan again and look",
        )
