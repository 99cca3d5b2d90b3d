"""`recon fleet`: validate, plan, drift and doctor over many stacks and accounts. None of them writes to AWS."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.activity import Work, working
from reconciler.cli.app import command_group
from reconciler.cli.common import Output, ParallelOption, any_format, options_from, reading
from reconciler.errors import ReconError
from reconciler.redaction import know_account

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.fleet.coordinate import Workers
    from reconciler.fleet.declared import Unit
    from reconciler.fleet.work import Task

fleet = command_group("fleet", "Run a command over many stacks, with one report over all.")

FleetArg = Annotated[str, typer.Argument(metavar="FLEET", help="The file that lists the stacks.")]


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a fleet command was asked for."""

    path: str
    select: tuple[str, ...]
    workers: int
    scheduler: str | None
    insecure: bool
    out: str
    run_id: str | None


def _fleet(
    path: FleetArg,
    select: Annotated[
        list[str] | None, typer.Option("--select", metavar="KEY=VALUE", help="Only stacks with this label.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, max=256, help="Processes on this machine.")] = 4,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", metavar="tls://HOST:PORT", help="Use the workers of this Dask cluster.")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow a scheduler without TLS on the network.")] = False,
    out: Annotated[
        str | None,
        typer.Option("--out", metavar="FOLDER", help="Where the reports go: a folder, or s3://BUCKET/PREFIX."),
    ] = None,
    run_id: Annotated[
        str | None, typer.Option("--run-id", help="Resume this run, or give a new one this name.")
    ] = None,
) -> Fleet:
    """What all fleet commands take (for ``options_from``)."""
    place = out or f"{os.environ.get('RECON_DIR') or '.recon'}/fleet"
    return Fleet(path, tuple(select or ()), workers, scheduler, insecure, place, run_id)


@fleet.command("validate")
@options_from(asked=_fleet, output=any_format)
def validate(*, asked: Fleet, output: Output) -> int:
    """Check the YAML of every stack, offline. Exit 1 if any is invalid."""
    return _run("validate", (), asked, output)


@fleet.command("plan")
@options_from(asked=_fleet, reads=reading, output=any_format)
def plan(*, asked: Fleet, reads: dict[str, Any], output: Output) -> int:
    """Plan every stack. Exit 2 if any has changes, 1 if any failed or has no report."""
    return _run("plan", (*_reading(**reads), "--detailed-exitcode"), asked, output)


@fleet.command("drift")
@options_from(asked=_fleet, reads=reading, output=any_format)
def drift(*, asked: Fleet, reads: dict[str, Any], output: Output) -> int:
    """Compare every stack with AWS. Exit 2 if any has drifted, 1 if any failed or has no report."""
    return _run("drift", _reading(**reads), asked, output)


@fleet.command("doctor")
@options_from(asked=_fleet, output=any_format)
def doctor(parallelism: ParallelOption = 16, *, asked: Fleet, output: Output) -> int:
    """Diagnose the delivery of every stack. Exit 2 if anything is wrong, 1 if any failed or has no report."""
    return _run("doctor", ("--parallelism", str(parallelism)), asked, output)


def _reading(refresh: str, check_public_dns: bool, parallelism: int) -> tuple[str, ...]:
    outside = ("--check-public-dns",) if check_public_dns else ()
    return ("--refresh", refresh, *outside, "--parallelism", str(parallelism))


def _run(command: str, options: tuple[str, ...], asked: Fleet, output: Output) -> int:
    from reconciler.cli import run
    from reconciler.fleet import outcome
    from reconciler.fleet.coordinate import run_all
    from reconciler.fleet.declared import read_fleet
    from reconciler.fleet.reports import Reports
    from reconciler.fleet.work import Task
    from reconciler.renderers.headline import plural

    units = read_fleet(asked.path, asked.select)
    if asked.scheduler is not None:
        from reconciler.fleet.dask_cluster import check_scheduler

        check_scheduler(asked.scheduler, asked.insecure)
    run_id = asked.run_id or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    reports = Reports(asked.out, run_id)
    reports.begin({"format_version": 1, "command": command, "options": list(options)})
    with working("the YAML"):
        accounts = {unit.id: _account_of(unit) for unit in units}
    done = reports.done()
    tasks = [
        Task(
            run,
            command,
            options,
            u.id,
            _place(u.state, asked),
            u.env,
            u.profile,
            accounts[u.id],
            _place(asked.out, asked),
            run_id,
        )
        for u in units
        if u.id not in done or not reports.has(u.id)
    ]
    resumed = f", {len(units) - len(tasks)} of them done already" if len(tasks) < len(units) else ""
    output.info(f"Run {run_id}: {plural(len(units), 'stack')}{resumed}. Reports go to {reports.url}")
    with (
        _workers(asked, output) as workers,
        working("stack", [""] * len(tasks), verb="Reading" if command == "validate" else f"Running {command}:") as work,
    ):
        progress = _Progress(output, work, len(units) - len(tasks))
        missing = run_all(tasks, workers, reports, progress.ended)
    document = outcome.document(command, units, accounts, missing, reports)
    reports.finish(document)
    _print(document, output)
    if document["missing"]:
        output.info(f"To go on with what has no report: recon fleet {command} {asked.path} --run-id {run_id}")
    return outcome.exit_code(document["stacks"], len(document["missing"]))


def _place(path: str, asked: Fleet) -> str:
    """A path that means the same in a worker, which may have another working directory."""
    return path if path.startswith("s3:") or asked.scheduler is None else str(Path(path).absolute())


def _account_of(unit: Unit) -> str:
    """The account of a stack, empty where its YAML is invalid, which its report will say."""
    from reconciler import desired

    try:
        account = desired.load(unit.state, unit.env).state.stack.account
    except ReconError:
        return ""
    know_account(account)
    return account


@contextlib.contextmanager
def _workers(asked: Fleet, output: Output) -> Iterator[Workers]:
    if asked.scheduler is not None:
        from reconciler.fleet.dask_cluster import ClusterWorkers

        workers: Workers = ClusterWorkers(asked.scheduler, output.info)
    else:
        from reconciler.fleet.local import LocalWorkers

        workers = LocalWorkers(asked.workers)
    with contextlib.closing(workers):
        yield workers


class _Progress:
    """A line on standard error for each stack that has ended."""

    def __init__(self, output: Output, work: Work, before: int) -> None:
        self.output, self.work, self.before = output, work, before

    def ended(self, task: Task, report: dict[str, Any] | None) -> None:
        self.work.count()
        done, total = (self.before + counts.total() for counts in (self.work.done, self.work.total))
        from reconciler.renderers.fleet import outcome_words

        said = "no report" if report is None else outcome_words(task.command, report)
        self.output.info(f"[{done}/{total}] {task.unit}: {said}")


def _print(document: dict[str, Any], output: Output) -> None:
    from reconciler.renderers import fleet as drawn

    if output.format == "json":
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    elif output.format == "markdown":
        text = drawn.fleet_markdown(document)
    elif output.format == "html":
        text = drawn.fleet_html(document)
    else:
        text = drawn.fleet_text(document, color=output.color, unicode=output.unicode, verbose=output.verbose)
    sys.stdout.write(text)
    sys.stdout.flush()
