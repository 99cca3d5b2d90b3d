"""One run of a command from state to plan: loading, guarding, reading, planning. What the commands share."""

from __future__ import annotations

from collections.abc import Sequence
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
    from reconciler import second_look
    from reconciler.aws import Aws
    from reconciler.kinds.identity.bulk import TURNS
    from reconciler.observing import declare, observe
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

    plan, world = second_look.settled(world, aws, plan_of)
    return Planned(replace(plan, calls=dict(sorted(aws.calls.items()))), world, aws)


def exit_code(plan: Plan, *, detailed: bool) -> int:
    """The contract's: 3 refused, 2 changes (where asked for), 1 something could not be read or cannot go on, 0."""
    if plan.outcome == "refused":
        return 3
    if detailed and plan.changes:
        return 2
    if plan.context.get("unreadable") or plan.context.get("blocked"):
        return 1
    return 0
