"""Sending of the whole account in a region: pause and resume. For an incident; see docs/runbooks/spam-goes-out.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.app import command_group
from reconciler.cli.common import ApproveOption, Output, options_from, outcome_of, print_outcome, text_or_json
from reconciler.cli.incident import Incident, announce, incident
from reconciler.errors import ReconError

if TYPE_CHECKING:
    from reconciler.aws import Aws

account_app = command_group("account", "Pause or resume all sending of the account in a region.")

RegionOption = Annotated[
    list[str] | None, typer.Option("--region", help="The region (repeatable); without YAML that of the credentials.")
]


@account_app.command()
@options_from(out=text_or_json, found=incident)
def pause(found: Incident, out: Output, region: RegionOption = None, auto_approve: ApproveOption = False) -> int:
    """Stop all sending of the account in a region, of every stack and identity. Does not wait for other runs."""
    return _switch(found, region, auto_approve, out, on=False)


@account_app.command()
@options_from(out=text_or_json, found=incident)
def resume(found: Incident, out: Output, region: RegionOption = None, auto_approve: ApproveOption = False) -> int:
    """Allow the account to send in a region again."""
    return _switch(found, region, auto_approve, out, on=True)


def _switch(found: Incident, chosen: list[str] | None, approved: bool, out: Output, *, on: bool) -> int:
    """PutAccountSendingAttributes in each region, and what GetAccount returns afterwards (SES v2 API)."""
    if not chosen and found.state is not None:
        raise ReconError("no region was given", hint=f"--region {found.home_region()}, for each region that is meant")
    regions = found.regions(chosen)
    aws = found.connect(regions, "apply")
    announce(out.info, found, aws)
    command, does = ("resume", "allow sending again") if on else ("pause", "stop all sending of the account")
    if not found.confirm(f"account {command}", aws, regions, f"{does}?", approved, out.info):
        out.info("Nothing was changed.")
        return 1
    results = aws.parallel(lambda r: _switch_region(aws, r, on), regions)
    rows = [row for row, _ in results]
    problems = [problem for _, problem in results if problem is not None]
    outcome = outcome_of(len(rows) - len(problems), problems)
    lines = [f"{row['region']}: {_row_text(row)}" for row in rows]
    return print_outcome(out, aws.stack, outcome, {"regions": rows}, lines, problems)


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
