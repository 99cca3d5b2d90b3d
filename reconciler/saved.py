"""A saved plan before it is applied: planned again, and refused where that gives anything else than it shows.

A plan file is not trusted. Its changes are only compared: what is carried out is planned anew, by the code that made
the file, from the declared state and from AWS as it is now. So nothing in the file that it does not show can have an
effect (docs/decisions/0013-saved-plans-are-planned-again.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from reconciler import running
from reconciler.errors import InvalidState, Stale
from reconciler.kinds.comparing import differences, project
from reconciler.model import Address, Change, Diagnostic, FieldDiff, Plan, Stack, State, address_parts
from reconciler.planner import stack_in_context
from reconciler.resources.dns_record.values import set_digest

if TYPE_CHECKING:
    from reconciler.kinds.snapshot import Snapshot
    from reconciler.resources.dns_record.zones import RecordSet
    from reconciler.running import PlannedRun

_PLAN_AGAIN = "plan again, and have the new plan reviewed"


def declared_state(plan: Plan) -> State:
    """The state that a saved plan was made from. Raises Stale where the plan is not one of this stack as a whole, or
    where its declared state is not valid: then recon did not make it, or somebody has edited it."""
    from reconciler.desired.declared import from_document

    stack, root = plan.context.get("stack"), plan.context.get("root")
    why = "it does not say what is declared, or for which stack"
    try:
        if isinstance(stack, dict) and isinstance(root, str) and plan.declared is not None:
            state = from_document(stack, plan.declared, root)
            if stack_in_context(state.stack) == stack and plan.state_digest == state.digest:
                check_stack(plan, state.stack, "its context")
                return state
            why = "its context or its state's digest is not that of what it says is declared"
    except InvalidState as problem:
        why = f"what it says is declared is not valid: {problem.diagnostics[0].message}"
    raise Stale(f"recon did not make this plan file: {why}", hint="make a new one with `recon plan --out FILE`")


def check_stack(plan: Plan, stack: Stack, where: str) -> None:
    """Raise Stale where a plan says that it is for another stack or account than ``where`` declares."""
    shown = {"name": plan.stack, "environment": plan.environment, "scope": plan.scope, "account": plan.account}
    for what, planned in shown.items():
        now = getattr(stack, what)
        if planned != now:
            what = "stack" if what in {"name", "scope"} else what
            raise Stale(
                f"the plan is for {what} {planned or '(none)'}; {where} declares {now or '(none)'}", hint="plan again"
            )


def plan_again(saved: Plan, state: State, where: str, *, parallelism: int = 16) -> tuple[Plan, PlannedRun]:
    """``saved``, which has changes, with what carrying it out needs, and the run that planned it again.

    Reads what its changes touch and what they depend on, and plans them from ``state``, which messages call ``where``.
    Raises Stale, naming every difference, unless each change is as the file shows it; Refused for another account."""
    addresses = tuple(change.address for change in saved.changes)
    if len(set(addresses)) != len(addresses):
        raise Stale("recon did not make this plan file: it has two changes of one address", hint=_PLAN_AGAIN)
    again = {change.address: change.depends_on for change in saved.changes}
    run = running.make(state, purpose="apply", again=again, parallelism=parallelism)
    now = {change.address: change for change in run.plan.changes}
    shown = {change.address: change for change in saved.changes}
    found = {a: _difference(a, shown.get(a), now.get(a), run.snapshot) for a in sorted({*shown, *now})}
    if wrong := {address: text for address, text in found.items() if text}:
        raise _stale(wrong, run.plan, where)
    # A change that the file shows as refused has no steps; every other is the one that was planned now. Files are read
    # from where planning has read them.
    changes = tuple(c if c.refused else now.get(c.address, c) for c in saved.changes)
    return replace(saved, changes=changes, context={**saved.context, "root": run.plan.context["root"]}), run


_DONE: Final = "AWS is already as the plan would make it"


def _stale(wrong: Mapping[Address, str], plan: Plan, where: str) -> Stale:
    """The refusal of a saved plan, with what is wrong with each change: the same of many is one line of text."""
    refused = {d.address: f"{d.message}: {d.hint}" for d in plan.diagnostics if d.severity == "error"}
    listed = [
        Diagnostic("error", "stale", text, refused.get(address, "" if text == _DONE else _PLAN_AGAIN), address=address)
        for address, text in wrong.items()
    ]
    if set(wrong.values()) == {_DONE}:
        message = "this plan has been applied already, or somebody else has done all that it shows"
        return Stale(
            message, hint="`recon history` shows who applied what; `recon plan` what is left", diagnostics=listed
        )
    named = ", ".join([*wrong][:10]) + (f" and {len(wrong) - 10} more" if len(wrong) > 10 else "")
    message = f"{len(wrong)} of the plan's changes are not what planning from {where} gives now: {named}"
    return Stale(message, hint=_PLAN_AGAIN, diagnostics=listed)


_COMPARED = (
    "action", "before", "after", "diff", "kind", "region", "unknown", "depends_on", "moved_from", "counts", "claims",
)  # fmt: skip
"""What a saved plan shows of a change and decides what is written, beside the digest; notes and places do not."""


def _difference(address: Address, shown: Change | None, now: Change | None, snapshot: Snapshot) -> str:
    """How a change that is planned now differs from the one that the file shows; empty where it does not."""
    if shown is None:
        assert now is not None
        return f"has to be changed, too ({now.action}), and the plan does not show it"
    if shown.refused:
        return ""  # nothing is carried out, whatever it is by now
    unread = snapshot.unknown(address)
    if now is None and unread is not None:
        return f"could not be read: {unread.reason}"
    live = now.observed_digest if now is not None else _digest(shown, snapshot)
    if live != shown.observed_digest:
        if now is None:
            return _DONE
        if shown.observed_digest is None:
            return "exists now; it did not when the plan was made"
        how = "is gone" if live is None else f"changed{_how(shown, snapshot)}"
        return f"{how} since the plan was made"
    if now is None:
        return "is not planned any more"
    if now.refused:
        return f"is refused now: {now.refused.message}"
    for key in _COMPARED:
        one, other = _plain(getattr(shown, key)), _plain(getattr(now, key))
        if one != other:
            return f"is not what the plan shows: {key} is {_short(other)}, the file has {_short(one)}"
    return ""


def _plain(value: Any) -> Any:
    """A member of a change as a file has it."""
    if isinstance(value, tuple):
        return [one.to_json() if isinstance(one, FieldDiff) else one for one in value]
    return value


def _records(change: Change, snapshot: Snapshot) -> list[RecordSet]:
    """The record sets that a change of a record is about, in every zone that its address may mean."""
    _, place, _ = address_parts(change.address)
    shown = change.before or change.after or {}
    place = shown.get("zone") or place  # the id, where several have one name
    zones = [zone for zone in snapshot.zones.values() if place in {zone.id, zone.name}]
    return [one for zone in zones for one in zone.sets(str(shown.get("name")), str(shown.get("type")))]


def _digest(change: Change, snapshot: Snapshot) -> str | None:
    """The fingerprint of what a change is about, as it is live; None where there is nothing."""
    if change.kind == "dns_record":
        found = [set_digest(one) for one in _records(change, snapshot)]
        return next((one for one in found if one == change.observed_digest), found[0] if found else None)
    live = snapshot.observed.get(change.address)
    return live.digest if live is not None else None


def _how(change: Change, snapshot: Snapshot) -> str:
    """What differs of a resource that changed, as far as the plan shows its fields: ``: p was "none", is "reject"``."""
    if change.kind == "dns_record":
        return f": it is now {_short([value for one in _records(change, snapshot) for value in one.values])}"
    live = snapshot.observed.get(change.address)
    before = change.before or {}
    seen = project({**live.spec, "tags": dict(live.tags)}, before) if live else {}
    found = [f"{d.path} was {_short(d.before)}, is {_short(d.after)}" for d in differences(before, seen)]
    hidden = "something that the plan does not show, such as a field that it does not manage"
    return ": " + ("; ".join(found[:5]) or hidden)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:199] + "…"
