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
    from reconciler.kinds.snapshot import Snapshot


@dataclass(slots=True)
class PlannedRun:
    """A plan with the snapshot it was made from and the connection it was read through."""

    plan: Plan
    snapshot: Snapshot
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
    check_public_dns: bool = False,
) -> PlannedRun:
    """Read what is live and plan. Never writes. With ``check_public_dns`` the rules ask public DNS and HTTPS hosts too.

    ``refresh="bulk"`` reads what AWS tells of many resources at once; with ``rotate`` (drift) a tenth of the
    identities, another each day, is read whole all the same. Raises ReconError (Refused for the wrong account)."""
    from reconciler import refine
    from reconciler.aws import Aws
    from reconciler.observing import declare, observe
    from reconciler.planner import make_plan
    from reconciler.resources.email_identity.bulk import TURNS
    from reconciler.rules import outside
    from reconciler.targets import all_declared, normalise_target, scope_for_targets

    if refresh not in {"full", "bulk"}:
        raise ReconError(f"--refresh {refresh} is not known", hint="full or bulk")
    targets = [normalise_target(target) for target in targets]
    beyond = outside.public() if check_public_dns else None
    snapshot = declare(state, now(), removing=removing)
    snapshot.refresh = refresh
    if rotate:
        snapshot.turn = datetime.fromisoformat(snapshot.now).toordinal() % TURNS
    aws = Aws(state.stack, purpose=purpose, parallelism=parallelism)
    # A target that is declared needs no search for what is ours and no longer declared; a glob may mean just that.
    observe(
        snapshot,
        aws,
        sweep=not all_declared(snapshot, targets),
        read_scope=(lambda w: scope_for_targets(w, targets)) if targets else None,
    )

    def plan_of(frozen: Snapshot) -> Plan:
        return make_plan(frozen, targets=targets, calls=aws.calls, outside=beyond)

    plan, snapshot = refine.plan_to_fixpoint(snapshot, aws, plan_of)
    return PlannedRun(replace(plan, calls=dict(sorted(aws.calls.items()))), snapshot, aws)


def exit_code(plan: Plan, *, detailed: bool) -> int:
    """The contract's: 3 refused, 2 changes (where asked for), 1 something could not be read or cannot go on, 0."""
    if plan.outcome == "refused":
        return 3
    if detailed and plan.changes:
        return 2
    if plan.context.get("unreadable") or plan.context.get("blocked"):
        return 1
    return 0
