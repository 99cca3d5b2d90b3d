"""Sending of the whole account in a region: pause and resume. For an incident; see docs/runbooks/compromise.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.app import command_group
from reconciler.cli.common import (
    Output,
    guarded,
    load_state,
    options_from,
    outcome_of,
    print_outcome,
    ses_regions,
    text_or_json,
)
from reconciler.errors import ReconError

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.model import State

account_app = command_group("account", "Pause or resume all sending of the account in a region.")

RegionOption = Annotated[list[str], typer.Option("--region", help="The region (repeatable).")]


@account_app.command()
@options_from(out=text_or_json, declared=load_state)
def pause(region: RegionOption, declared: State, out: Output) -> int:
    """Stop all sending of the account in a region, of every stack and identity. Does not wait for other runs."""
    return _switch(declared, region, out, on=False)


@account_app.command()
@options_from(out=text_or_json, declared=load_state)
def resume(region: RegionOption, declared: State, out: Output) -> int:
    """Allow the account to send in a region again."""
    return _switch(declared, region, out, on=True)


def _switch(declared: State, regions: list[str], out: Output, *, on: bool) -> int:
    """PutAccountSendingAttributes in each region, and what GetAccount returns afterwards (SES v2 API)."""
    places = ses_regions(regions)
    aws = guarded(declared.stack, "apply")
    results = aws.parallel(lambda r: _switch_region(aws, r, on), places)
    rows = [row for row, _ in results]
    problems = [problem for _, problem in results if problem is not None]
    outcome = outcome_of(len(rows) - len(problems), problems)
    lines = [f"{row['region']}: {_row_text(row)}" for row in rows]
    return print_outcome(out, declared.stack, outcome, {"regions": rows}, lines, problems)


def _switch_region(aws: Aws, region: str, on: bool) -> tuple[dict[str, Any], ReconError | None]:
    row: dict[str, Any]
    row = {"region": region, "sending_enabled": None, "enforcement_status": None, "production_access": None}
    try:
        aws.call("sesv2", "PutAccountSendingAttributes", region, SendingEnabled=on)
        row["sending_enabled"] = on
        live = aws.call("sesv2", "GetAccount", region)
    except ReconError as error:
        return row, error
    row = {
        "region": region, "sending_enabled": bool(live.get("SendingEnabled")),
        "enforcement_status": live.get("EnforcementStatus"), "production_access": live.get("ProductionAccessEnabled"),
    }  # fmt: skip
    if row["sending_enabled"] == on:
        return row, None
    seen = "on" if row["sending_enabled"] else "off"
    return row, ReconError(f"SES in {region} still reports that sending is {seen}", hint="try again in a minute")


def _row_text(row: dict[str, Any]) -> str:
    if row["sending_enabled"] is None:
        return "unchanged"
    if not row["sending_enabled"]:
        return "sending is paused for the whole account"
    if row["enforcement_status"] in {None, "HEALTHY"}:
        return "sending is on"
    return f"sending is on, but SES has put the account under {row['enforcement_status']}: write to AWS Support"
