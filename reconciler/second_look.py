"""The second look: what a first plan shows must be known better, before it is the plan that anybody sees.

Two things cost too much to read for everything, and matter only for what a plan changes:

- identities that a bulk read has seen in part are read whole, so that the plan changes no more and no less than a full
  one would, and apply finds them as they were planned (one call an identity);
- whose a DMARC or BIMI record is that the plan takes over, where only another stack's identity could say it
  (``kinds/dns/elsewhere.py``: one call a region for 100 domains).

What is read goes into the World, and the plan is made again from it; so the planner stays a pure function of one World.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.kinds.dns import elsewhere
from reconciler.kinds.email_identity import EmailIdentity
from reconciler.kinds.reading import read_each
from reconciler.kinds.world import World
from reconciler.model import Address, Change, Plan

if TYPE_CHECKING:
    from reconciler.aws import Aws


def settled(world: World, aws: Aws, plan_of: Callable[[World], Plan]) -> tuple[Plan, World]:
    """The plan that another look would not change, and the World it is of. Reads only, into ``world``.

    ``plan_of`` is pure but for what planning notes down in its World, so each plan is made of a copy.
    """
    while True:
        draft = replace(
            world,
            observed=dict(world.observed),
            diagnostics=list(world.diagnostics),
            facts=dict(world.facts),
            claims=dict(world.claims),
        )
        plan = plan_of(draft)
        partly = _seen_in_part(draft, plan.changes)
        for address in partly:
            del world.observed[address]
        if partly:
            read_each(EmailIdentity(), aws, world, partly)
            continue
        doubtful = elsewhere.doubtful(draft, plan.changes)
        if not (doubtful and elsewhere.ask(aws, world, doubtful)):
            return plan, draft


def _seen_in_part(world: World, changes: Iterable[Change]) -> list[Address]:
    """What ``changes`` change and a bulk read has not seen whole."""
    live = (world.observed.get(change.address) for change in changes)
    return sorted({one.address for one in live if one is not None and one.facts.get("bulk")})
