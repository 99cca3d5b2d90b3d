"""The second look: what a first plan shows must be known better, before it is the plan that anybody sees.

Two things cost too much to read for everything, and matter only for what a plan changes:

- identities that a bulk read has seen in part are read whole, so that the plan changes no more and no less than a full
  one would, and apply finds them as they were planned (one call an identity);
- whose a DMARC or BIMI record is that the plan takes over, where only another stack's identity could say it
  (``kinds/dns/foreign_ownership.py``: one call a region for 100 domains).

What is read goes into the World, and the plan is made again from it; so the planner stays a pure function of one World.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.kinds.reading import read_each
from reconciler.kinds.snapshot import Snapshot
from reconciler.model import Address, Change, Plan
from reconciler.resources.dns_record import foreign_ownership
from reconciler.resources.email_identity.kind import EmailIdentity

if TYPE_CHECKING:
    from reconciler.aws import Aws


def plan_to_fixpoint(snapshot: Snapshot, aws: Aws, plan_of: Callable[[Snapshot], Plan]) -> tuple[Plan, Snapshot]:
    """The plan that another look would not change, and the World it is of. Reads only, into ``snapshot``.

    ``plan_of`` is pure but for what planning notes down in its World, so each plan is made of a copy.
    """
    while True:
        draft = replace(
            snapshot,
            observed=dict(snapshot.observed),
            diagnostics=list(snapshot.diagnostics),
            facts=dict(snapshot.facts),
            claims=dict(snapshot.claims),
        )
        plan = plan_of(draft)
        partly = _seen_in_part(draft, plan.changes)
        for address in partly:
            del snapshot.observed[address]
        if partly:
            read_each(EmailIdentity(), aws, snapshot, partly)
            continue
        doubtful = foreign_ownership.doubtful(draft, plan.changes)
        if not (doubtful and foreign_ownership.ask(aws, snapshot, doubtful)):
            return plan, draft


def _seen_in_part(snapshot: Snapshot, changes: Iterable[Change]) -> list[Address]:
    """What ``changes`` change and a bulk read has not seen whole."""
    live = (snapshot.observed.get(change.address) for change in changes)
    return sorted({one.address for one in live if one is not None and one.facts.get("bulk")})
