"""One run of a command from state to plan: loading, guarding, reading, planning. What the commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from reconciler.aws.clock import now as now
from reconciler.errors import ReconError
from reconciler.model import Plan, State

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.kinds.world import World


@dataclass(slots=True)
class Planned:
    """A plan with the world it was made from and the connection it was read through."""

    plan: Plan
    world: World
    aws: Aws


def make(
    state: State,
    *,
    purpose: str = "plan",
    targets: Sequence[str] = (),
    refresh: str = "full",
    parallelism: int = 16,
    removing: bool = False,
    rotate: bool = False,
    look_outside: bool = False,
) -> Planned:
    """Read what is live and plan. Never writes. With ``look_outside`` the rules ask public DNS and HTTPS hosts too.

    ``refresh="bulk"`` reads what AWS tells of many resources at once; with ``rotate`` (drift) a tenth of the
    identities, another each day, is read whole all the same. Raises ReconError (Refused for the wrong account)."""
    from reconciler.aws import Aws
    from reconciler.kinds.identity.bulk import TURNS
    from reconciler.observing import declare, observe, owned_elsewhere
    from reconciler.planner import aimed, exact, folded, make_plan
    from reconciler.rules import outside

    if refresh not in {"full", "bulk"}:
        raise ReconError(f"--refresh {refresh} is not known", hint="full or bulk")
    targets = [folded(target) for target in targets]
    beyond = outside.public() if look_outside else None
    world = declare(state, now(), removing=removing)
    world.facts["refresh"] = refresh
    if rotate:
        world.facts["turn"] = datetime.fromisoformat(world.now).toordinal() % TURNS
    aws = Aws(state.stack, purpose=purpose, parallelism=parallelism)
    # A target that is declared needs no search for what is ours and no longer declared; a glob may mean just that.
    observe(world, aws, sweep=not exact(world, targets), aim=(lambda w: aimed(w, targets)) if targets else None)

    def plan_of(draft: World) -> Plan:
        return make_plan(draft, targets=targets, refresh=refresh, calls=aws.calls, outside=beyond)

    plan, world = (plan_of(world), world) if refresh == "full" else _looked_closer(world, aws, plan_of)
    others = owned_elsewhere(world, aws, plan.changes)
    if others:
        refused = any(one.severity == "error" for one in others)
        outcome = "refused" if refused else plan.outcome
        plan = replace(plan, outcome=outcome, diagnostics=(*others, *plan.diagnostics))
    return Planned(replace(plan, calls=dict(sorted(aws.calls.items()))), world, aws)


def _looked_closer(world: World, aws: Aws, plan_of: Callable[[World], Plan]) -> tuple[Plan, World]:
    """The plan after a bulk read, and the world it is of: what it changes is read whole first (one call an identity),
    so that it changes no more and no less than a full plan would, and apply finds it as it was planned."""
    from reconciler.kinds.email_identity import EmailIdentity
    from reconciler.kinds.reading import read_each

    while True:
        draft = replace(
            world,
            observed=dict(world.observed),
            diagnostics=list(world.diagnostics),
            facts=dict(world.facts),
            claims=dict(world.claims),
        )
        plan = plan_of(draft)
        live = (draft.observed.get(change.address) for change in plan.changes)
        partly = sorted({one.address for one in live if one is not None and one.facts.get("bulk")})
        if not partly:
            return plan, draft
        for address in partly:
            del world.observed[address]
        read_each(EmailIdentity(), aws, world, partly)


def exit_code(plan: Plan, *, detailed: bool) -> int:
    """The contract's: 3 refused, 2 changes (where asked for), 1 something could not be read or cannot go on, 0."""
    if plan.outcome == "refused":
        return 3
    if detailed and plan.changes:
        return 2
    if plan.context.get("unreadable") or plan.context.get("blocked"):
        return 1
    return 0
