"""A saved plan before it is applied: recon must have made it, and what it changes must be as it was planned."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reconciler.applier.zones import read_zone
from reconciler.errors import Stale
from reconciler.kinds.comparing import differences, project
from reconciler.kinds.reading import Reader
from reconciler.kinds.registry import REGISTRY
from reconciler.kinds.shape import must_fit
from reconciler.model import Change, Diagnostic, Plan, address_parts
from reconciler.resources import KINDS
from reconciler.resources.dns_record.values import set_digest
from reconciler.steps import change_from_json, steps_of, to_do

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.resources.dns_record.zones import Zone


def check_form(plan: Plan) -> None:
    """Raise Stale for a plan that recon did not make: its digest fits, but its changes cannot be turned into steps."""
    for change in (one for one in plan.changes if not one.refused):
        try:
            parts = change.address.split("/")
            known = parts[0] == change.kind and all(parts) and (change.action == "delete" or change.after is not None)
            regional = change.region if KINDS[change.kind].regional else None
            if not known or (regional and parts[1] != regional):
                raise ValueError(change.address)
            _must_fit(change)
            steps_of(change)
        except (LookupError, TypeError, ValueError, AttributeError):
            raise Stale(
                f"recon did not make this plan file: {change.address} cannot be applied as it is written there",
                hint="make a new one with `recon plan --out FILE`",
            ) from None


def _must_fit(change: Change) -> None:
    """Raise TypeError or LookupError where a change does not fit its kind's form."""
    form = REGISTRY[change.kind].form
    for fields in (change.before, change.after):
        must_fit(fields, (form["fields"], None), change.address)
    after = form.get("create", form.get("after", {})) if change.action == "create" else form.get("after", {})
    must_fit(change.after, (after, None), change.address)
    execution = form.get("delete", form["execution"]) if change.action == "delete" else form["execution"]
    must_fit(change.execution, execution, change.address)
    if change.execution.get("moved"):
        _must_fit(change_from_json(change.execution["moved"]))


def verify_saved(plan: Plan, aws: Aws) -> dict[str, Zone]:
    """Read again exactly what a saved plan touches; raises Stale naming everything that moved. Returns the zones."""
    check_form(plan)
    plan = to_do(plan)
    zone_ids = sorted({str(c.execution["zone"]) for c in plan.changes if c.kind == "dns_record"})
    zones = dict(zip(zone_ids, aws.parallel(lambda z: read_zone(aws, z), zone_ids), strict=True))
    moved: list[str] = []

    def one(change: Change) -> str | None:
        if change.kind == "dns_record":
            run = change.execution
            if not run.get("name"):
                return None
            live = next(iter(zones[run["zone"]].sets(run["name"], run["type"])), None)
            now = set_digest(live) if live else None
        else:
            now = REGISTRY[change.kind].reread(aws, change)
        if now == change.observed_digest:
            return None
        if change.observed_digest is None:
            return f"{change.address} exists now"
        return f"{change.address} is gone" if now is None else f"{change.address} changed{_how(aws, change, zones)}"

    moved = [text for text in aws.parallel(one, plan.changes, lambda change: change.region) if text]
    if moved:
        raise Stale(
            f"{len(moved)} of the plan's resources moved since it was made: {'; '.join(moved[:10])}",
            hint="plan again, and have the new plan reviewed",
            diagnostics=[
                Diagnostic(
                    "error", "stale", f"{text} since the plan was made", "plan again", address=text.partition(" ")[0]
                )
                for text in moved
            ],
        )
    return zones


def _how(aws: Aws, change: Change, zones: Mapping[str, Zone]) -> str:
    """What differs of a resource that moved, as far as the plan shows its fields: ``: p was "none", is "reject"``."""
    if change.kind == "dns_record":
        values = zones[change.execution["zone"]].sets(change.execution["name"], change.execution["type"])[0].values
        return f": it is now {_short(list(values))}"
    kind = REGISTRY[change.kind]
    if not isinstance(kind, Reader):
        return ""
    _, region, name = address_parts(change.address)
    live = kind.read(aws, region, name)
    before = change.before or {}
    shown = project({**live.spec, "tags": live.tags}, before) if live else {}
    found = [f"{d.path} was {_short(d.before)}, is {_short(d.after)}" for d in differences(before, shown)]
    return ": " + (
        "; ".join(found[:5]) or "something that the plan does not show, such as a field that it does not manage"
    )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:199] + "…"
