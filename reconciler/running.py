"""One run from state to plan, which the commands share: check the account, read AWS, plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from reconciler.activity import working
from reconciler.errors import ReconError
from reconciler.kinds.snapshot import now as now
from reconciler.model import Address, Plan, State

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.kinds.snapshot import Snapshot


@dataclass(slots=True)
class PlannedRun:
    """A plan, the snapshot that it was made from, and the connection that read it."""

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
    again: Mapping[Address, Sequence[Address]] = MappingProxyType({}),
) -> PlannedRun:
    """Read AWS and plan. Never writes. With ``check_public_dns`` the rules also query public DNS and HTTPS hosts.

    ``refresh="bulk"`` reads only what AWS returns in bulk. With ``rotate`` (drift) it still reads a tenth of the
    identities in full, a different tenth each day. ``again`` are the addresses of a saved plan's changes, each
    with those it depends on: only they are planned, and what they do not concern is read in bulk. Raises ReconError
    (Refused for the wrong account)."""
    from reconciler import forgotten, refine, refused_regions
    from reconciler.aws import Aws
    from reconciler.observing import declare, observe
    from reconciler.planner import make_plan
    from reconciler.resources.email_identity.bulk import TURNS
    from reconciler.rules import outside
    from reconciler.targets import all_declared, normalise_target, scope_for_targets

    if refresh not in {"full", "bulk"}:
        raise ReconError(f"--refresh {refresh} is not known", hint="full or bulk")
    targets = list(again) or [normalise_target(target) for target in targets]
    public_facts = outside.public() if check_public_dns else None
    snapshot = declare(state, now(), removing=removing)
    snapshot.refresh = "bulk" if again else refresh
    snapshot.whole = {need for address, needs in again.items() for need in (address, *needs)}
    if rotate:
        snapshot.turn = datetime.fromisoformat(snapshot.now).toordinal() % TURNS
    aws = Aws(state.stack, purpose=purpose, parallelism=parallelism)
    # If every target is declared, no search is needed for owned resources that are no longer declared.
    observe(
        snapshot,
        aws,
        sweep=not (targets and all_declared(snapshot, targets)),
        read_scope=(lambda w: scope_for_targets(w, targets)) if targets else None,
    )

    refused_regions.settle(snapshot, aws)
    forgotten.name_them(snapshot, aws)

    def plan_of(frozen: Snapshot) -> Plan:
        with working("the plan", verb="Making"):
            return make_plan(frozen, targets=targets, calls=aws.calls, outside=public_facts, again=bool(again))

    plan, snapshot = refine.plan_to_fixpoint(snapshot, aws, plan_of)
    return PlannedRun(replace(plan, calls=dict(sorted(aws.calls.items()))), snapshot, aws)


def exit_code(plan: Plan, *, detailed: bool) -> int:
    """The contract's exit code: 3 refused, 2 changes (with ``detailed``), 1 something unread, else 0."""
    if plan.outcome == "refused":
        return 3
    if detailed and plan.changes:
        return 2
    return 1 if plan.context.get("unreadable") else 0
