"""Commands for pipelines: history, init, iam-policy. None of them writes to AWS."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.app import app
from reconciler.cli.common import (
    ColorOption,
    Output,
    QuietOption,
    backend_connection,
    load_state,
    options_from,
    text_or_json,
)
from reconciler.errors import ReconError

if TYPE_CHECKING:
    from reconciler.journal import JournalRun
    from reconciler.model import State


@app.command()
@options_from(out=text_or_json, declared=load_state)
def history(
    declared: State,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many runs.")] = 20,
    *,
    out: Output,
) -> int:
    """Show the past runs that wrote to this stack, newest first, from its journal."""
    from reconciler.journal import read_runs

    stack = declared.stack
    runs = read_runs(stack, backend_connection(stack, "plan"), limit=limit, warn=out.info)
    if out.format == "json":
        out.document(stack, "no_changes", {"runs": [run.to_json() for run in runs]})
    else:
        sys.stdout.write("".join(_run_lines(run) for run in runs) or f"The journal of {stack.scope} has no runs.\n")
    return 0


@app.command()
def init(
    directory: Annotated[str, typer.Argument(metavar="[DIR]", help="Where to write.")] = ".",
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the stack; by default that of the directory.")
    ] = None,
    account: Annotated[str, typer.Option("--account", help="AWS account id, twelve digits.")] = "111122223333",
    region: Annotated[str, typer.Option("--region", help="A region with SES.")] = "us-east-1",
    domain: Annotated[str, typer.Option("--domain", help="A domain that sends mail.")] = "acme.example",
    forge: Annotated[str, typer.Option("--forge", help="github, gitlab or none.")] = "github",
    package: Annotated[
        str | None, typer.Option("--package", help="What the jobs install with pip; by default this release.")
    ] = None,
    no_color: ColorOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a commented state/ and the workflow files of a forge. Never overwrites."""
    from reconciler.scaffold import FORGES, InitOptions, files, name_of, write

    out = Output(no_color=no_color, quiet=quiet)
    if forge not in FORGES:
        raise ReconError(f"unknown forge {forge}", hint=f"--forge takes one of {', '.join(FORGES)}")
    root = Path(directory)
    options = InitOptions(name or name_of(root), account, region, domain, forge)  # type: ignore[arg-type]
    if package is not None:
        options = replace(options, package=package)
    written, skipped = write(root, files(options))
    sys.stdout.write("".join(f"wrote {root / path}\n" for path in written))
    sys.stdout.write("".join(f"kept {root / path}, which already exists\n" for path in skipped))
    if any(path.startswith("state/") for path in written):
        out.info("Next: edit state/stack.yaml and state/domains.yaml, then run: recon validate && recon plan")


@app.command("iam-policy")
@options_from(declared=load_state)
def iam_policy(
    command: Annotated[str, typer.Argument(metavar="plan|apply", help="The command that the policy is for.")],
    declared: State,
    dns: Annotated[bool, typer.Option("--dns", help="For the role in the account of the zones.")] = False,
    removing: Annotated[
        list[str] | None,
        typer.Option("--removing", metavar="DOMAIN", help="Records of this domain, no longer declared, may go, too."),
    ] = None,
    part: Annotated[
        int | None, typer.Option("--part", min=1, help="Print one part, if one managed policy is too small.")
    ] = None,
    no_color: ColorOption = False,
) -> int:
    """Print the least-privilege IAM policy for a command on this stack. Offline."""
    from reconciler.iam_policy import MAX_CHARACTERS, MAX_POLICIES, notes, parts, policy, size
    from reconciler.names import fold_domain

    out = Output(no_color=no_color)
    if command not in ("plan", "apply"):
        raise ReconError(f"there is no policy for {command}", hint="recon iam-policy plan, or recon iam-policy apply")
    if removing and command == "plan":
        raise ReconError("a plan removes nothing: --removing is for apply", hint="leave it out")
    try:
        gone = [fold_domain(name) for name in removing or ()]
    except ValueError as error:
        raise ReconError(f"--removing: {error}", hint="name a domain, such as --removing old.acme.com") from error
    document = policy(declared, "plan" if command == "plan" else "apply", dns=dns, removing=gone)
    pieces = parts(document)
    if part is not None and part > len(pieces):
        raise ReconError(f"there is no part {part}", hint=f"the policy has {len(pieces)}")
    printed = document if part is None else pieces[part - 1]
    sys.stdout.write(json.dumps(printed, indent=2, ensure_ascii=False) + "\n")
    for note in notes(document, declared, gone):
        out.info(note)
    if part is None and len(pieces) > 1:
        out.info(
            f"This has {size(document):,} characters; a managed policy can have {MAX_CHARACTERS:,}, and a role "
            f"{MAX_POLICIES} of them. Create {len(pieces)} managed policies, cut between statements or their resources:"
        )
        for number, piece in enumerate(pieces, 1):
            out.info(f"  --part {number}: {', '.join(statement['Sid'] for statement in piece['Statement'])}")
    if declared.stack.dns_role_arn and not dns:
        out.info(f"The zones are in another account: recon iam-policy {command} --dns prints the policy for that role.")
    return 0


def _run_lines(run: JournalRun) -> str:
    """Two lines for a run, and one for each step that failed."""
    from reconciler.renderers.escape import safe
    from reconciler.renderers.headline import plural

    counts = run.counts
    steps = [f"{plural(counts[name], 'step')} {name}" for name in ("done", "failed", "skipped") if counts[name]]
    changes = ", ".join(
        f"{number} {'' if name == 'refused' else 'to '}{name}" for name, number in run.summary.items() if number
    )
    who = " ".join(part for part in (run.who or run.user, f"on {run.host}" if run.host else "") if part)
    lines = [
        f"{run.started[:19]}Z  {run.outcome or 'no end: killed, or still running'}  {run.command}  {who}",
        "  " + "; ".join(part for part in (
            changes, ", ".join(steps), f"took {run.seconds:.0f} s" if run.seconds is not None else "",
            f"plan {run.plan_digest[:19]}" if run.plan_digest else "", f"run {run.id}",
        ) if part),
    ]  # fmt: skip
    lines += [f"  failed: {step} ({code or 'error'})" for step, outcome, code, _ in run.steps if outcome == "failed"]
    return "".join(safe(line) + "\n" for line in lines)
