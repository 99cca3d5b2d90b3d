"""Sending of the whole account in a region: pause and resume. For an incident; see docs/runbooks/compromise.md."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.app import app
from reconciler.cli.common import (
    TEXT_OR_JSON,
    ColorOption,
    EnvOption,
    Out,
    QuietOption,
    StateArg,
    TextOrJsonOption,
    VerboseOption,
    as_diagnostics,
    guarded,
    load,
)
from reconciler.errors import ReconError

if TYPE_CHECKING:
    from reconciler.aws import Aws

account_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Sending of the account in a region: pause, resume."
)
app.add_typer(account_app, name="account")

RegionOption = Annotated[list[str], typer.Option("--region", help="The region (repeatable).")]


@account_app.command()
def pause(
    region: RegionOption,
    state: StateArg = "state",
    env: EnvOption = None,
    format: TextOrJsonOption = "text",
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> int:
    """Stop all sending of the account in a region, of every stack and identity. Waits for no other run."""
    return _switch(region, state, env, Out(format, no_color, quiet, verbose, TEXT_OR_JSON), on=False)


@account_app.command()
def resume(
    region: RegionOption,
    state: StateArg = "state",
    env: EnvOption = None,
    format: TextOrJsonOption = "text",
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> int:
    """Let the account send in a region again."""
    return _switch(region, state, env, Out(format, no_color, quiet, verbose, TEXT_OR_JSON), on=True)


def _switch(regions: list[str], state: str, env: str | None, out: Out, *, on: bool) -> int:
    """PutAccountSendingAttributes in each region, and what SES says of it afterwards (SES v2 API, GetAccount)."""
    from reconciler.regions import is_ses_region

    declared, _ = load(state, env, out)
    if unknown := [r for r in regions if not is_ses_region(r)]:
        raise ReconError(f"SES is not known to exist in {', '.join(unknown)}", hint="such as us-east-1")
    aws = guarded(declared.stack, "apply")
    rows, problems = [], []
    for region, row, error in aws.parallel(lambda r: _one(aws, r, on), sorted(set(regions))):
        rows.append({"region": region, **row})
        if error is not None:
            problems.append(error)
    if out.format == "json":
        outcome = "applied" if not problems else "partial" if len(problems) < len(rows) else "error"
        out.document(declared.stack, outcome, {"regions": rows}, as_diagnostics(problems))
    else:
        for row in rows:
            sys.stdout.write(f"{row['region']}: {_words(row)}\n")
        for problem in problems:
            out.error(problem)
    return 1 if problems else 0


def _one(aws: Aws, region: str, on: bool) -> tuple[str, dict[str, Any], ReconError | None]:
    try:
        aws.call("sesv2", "PutAccountSendingAttributes", region, SendingEnabled=on)
    except ReconError as error:
        return region, {"sending_enabled": None, "enforcement_status": None, "production_access": None}, error
    try:
        live = aws.call("sesv2", "GetAccount", region)
    except ReconError as error:
        return region, {"sending_enabled": on, "enforcement_status": None, "production_access": None}, error
    row = {
        "sending_enabled": bool(live.get("SendingEnabled")), "enforcement_status": live.get("EnforcementStatus"),
        "production_access": live.get("ProductionAccessEnabled"),
    }  # fmt: skip
    if row["sending_enabled"] != on:
        seen = "on" if row["sending_enabled"] else "off"
        return (
            region,
            row,
            ReconError(f"SES in {region} still says that sending is {seen}", hint="look again in a minute"),
        )
    return region, row, None


def _words(row: dict[str, Any]) -> str:
    if row["sending_enabled"] is None:
        return "unchanged"
    words = "sending is on" if row["sending_enabled"] else "sending is paused for the whole account"
    if row["sending_enabled"] and row["enforcement_status"] not in {None, "HEALTHY"}:
        words += f"; but SES itself has the account under {row['enforcement_status']}: write to AWS Support"
    return words
