"""The account suppression list, in all regions of the stack and of any size: list, export, remove.

``add`` and ``stats`` are in ``suppression_add`` and ``suppression_stats``."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, TextIO

import typer

from reconciler.cli.app import command_group
from reconciler.cli.common import (
    AccountOption,
    ApproveOption,
    ColorOption,
    EnvOption,
    Output,
    QuietOption,
    StateArg,
    VerboseOption,
    as_diagnostics,
    head_of,
    options_from,
    outcome_of,
    print_outcome,
    read_given_or_stdin,
    replacing,
    text_or_json,
)
from reconciler.cli.incident import AnyRegionOption, Incident, NoStateOption, announce, incident
from reconciler.errors import AwsError, ReconError

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.model import Stack
    from reconciler.suppression import Filter, Removal, SuppressedAddress

suppression_app = command_group("suppression", "The suppression list: list, export, stats, add, remove.")

ReasonOption = Annotated[list[str] | None, typer.Option("--reason", help="BOUNCE or COMPLAINT (repeatable).")]
SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="DAY", help="Added on or after this day: 2026-11-01, or 7d.")
]
UntilOption = Annotated[str | None, typer.Option("--until", metavar="DAY", help="Added on or before this day.")]
MatchOption = Annotated[str | None, typer.Option("--match", metavar="GLOB", help="Addresses like '*@example.com'.")]
ExportFormatOption = Annotated[str, typer.Option("--format", help="csv or jsonl.")]


class Selection(NamedTuple):
    """What ``list`` and ``export`` read: the lists of ``regions``, filtered."""

    stack: Stack
    aws: Aws
    regions: list[str]
    filter: Filter


def selection(
    state: StateArg = "state", env: EnvOption = None, no_state: NoStateOption = False, account: AccountOption = None,
    region: AnyRegionOption = None, reason: ReasonOption = None, since: SinceOption = None, until: UntilOption = None,
    match: MatchOption = None,
) -> Selection:  # fmt: skip
    """The selection that the options describe (for ``options_from``). Raises ReconError."""
    from reconciler import suppression
    from reconciler.kinds.snapshot import now

    reasons = tuple(r.upper() for r in reason or ())
    if wrong := [r for r in reasons if r not in suppression.REASONS]:
        raise ReconError(f"--reason {', '.join(wrong)} is not known", hint="BOUNCE or COMPLAINT")
    first = suppression.day(since, now()) if since else None
    last = suppression.day(until, now(), end=True) if until else None
    found = incident(state, env, no_state, account)
    regions = found.regions(region, anywhere=False)
    aws = found.connect(regions)
    announce(Output().info, found, aws)
    return Selection(aws.stack, aws, regions, suppression.Filter(reasons, first, last, match))


def csv_or_jsonl(
    format: ExportFormatOption = "csv", no_color: ColorOption = False, quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> Output:  # fmt: skip
    """The output of ``export`` (for ``options_from``)."""
    return Output(format, no_color, quiet, verbose, ("csv", "jsonl"))


# --- list and export -----------------------------------------------------------------------------------------------


@suppression_app.command("list")
@options_from(out=text_or_json, selected=selection)
def list_(selected: Selection, out: Output) -> int:
    """Show which addresses SES does not deliver to, and why."""
    if out.format == "json":
        return _list_json(selected)

    from reconciler.renderers.escape import safe

    def row(entry: SuppressedAddress) -> str:
        return f"{entry.since:20}  {entry.region:14}  {entry.reason:9}  {safe(entry.address)}\n"

    return _write_entries(selected, sys.stdout, row, out)


@suppression_app.command()
@options_from(out=csv_or_jsonl, selected=selection)
def export(
    selected: Selection,
    to: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Write to this file instead of standard output.")
    ] = None,
    *,
    out: Output,
) -> int:
    """Write the list as CSV or JSON lines; a file is written only when the list is complete."""
    from reconciler.suppression import FIELDS, csv_line

    def row(entry: SuppressedAddress) -> str:
        values = entry.to_json()
        return csv_line(values[f] for f in FIELDS) if out.format == "csv" else json.dumps(values) + "\n"

    head = csv_line(FIELDS) if out.format == "csv" else ""
    if to is None:
        sys.stdout.write(head)
        return _write_entries(selected, sys.stdout, row, out)
    with replacing(to, out) as (file, keep):
        file.write(head)
        code = _write_entries(selected, file, row, out)
        if code == 0:
            keep()
        else:
            out.info(f"{to} was not written: the list is incomplete.")
    return code


def _write_entries(selected: Selection, file: TextIO, row: Callable[[SuppressedAddress], str], out: Output) -> int:
    """Write every entry as it is read, then print the counts and what could not be read. Returns the exit code."""
    from reconciler.suppression import list_entries

    counts: Counter[tuple[str, str]] = Counter()
    problems: list[ReconError] = []
    for entry in list_entries(selected.aws, selected.regions, selected.filter):
        if isinstance(entry, ReconError):
            problems.append(entry)
            continue
        counts[entry.region, entry.reason] += 1
        file.write(row(entry))
    file.flush()
    if not out.quiet:
        # An error without a region may be of any.
        failed = {one.region if isinstance(one, AwsError) else None for one in problems}
        for region in selected.regions:
            found = [f"{n:,} {reason}" for (where, reason), n in sorted(counts.items()) if where == region]
            if failed & {region, None}:
                found.append("not read to the end" if found else "not read")
            sys.stderr.write(f"{region}: {', '.join(found) or 'none'}\n")
    for problem in problems:
        out.error(problem)
    return 1 if problems else 0


def _list_json(selected: Selection) -> int:
    """One JSON object, written as it is read: it may be larger than memory."""
    from reconciler.suppression import list_entries

    head = {**head_of(selected.stack), "regions": selected.regions}
    sys.stdout.write(json.dumps(head)[:-1] + ', "suppressed": [')
    problems: list[ReconError] = []
    first = True
    for entry in list_entries(selected.aws, selected.regions, selected.filter):
        if isinstance(entry, ReconError):
            problems.append(entry)
            continue
        sys.stdout.write(("\n" if first else ",\n") + json.dumps(entry.to_json()))
        first = False
    tail = {
        "outcome": "error" if problems else "no_changes",
        "diagnostics": [d.to_json() for d in as_diagnostics(problems)],
    }
    sys.stdout.write("], " + json.dumps(tail)[1:] + "\n")
    return 1 if problems else 0


# --- remove --------------------------------------------------------------------------------------------------------


@suppression_app.command()
@options_from(out=text_or_json)
def remove(
    what: Annotated[
        list[str] | None, typer.Argument(metavar="[ADDRESS]... [STATE]", help="Addresses, and the state.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="FILE", help="Addresses, one a line, or an export; - is standard input."),
    ] = None,
    region: AnyRegionOption = None,
    env: EnvOption = None,
    no_state: NoStateOption = False,
    account: AccountOption = None,
    auto_approve: ApproveOption = False,
    *,
    out: Output,
) -> int:
    """Remove addresses from the list in every region of the stack, so that SES delivers to them again."""
    from reconciler import suppression

    addresses, state = addresses_and_state(what or (), "remove")
    if not addresses and source is None:
        raise ReconError("no address was given", hint="recon suppression remove ADDRESS... or --from FILE")
    around = incident(state, env, no_state, account)
    regions = around.regions(region, anywhere=False)
    removals = [suppression.Removal(address) for address in addresses]
    if source is not None:
        removals += suppression.parse_removals(read_given_or_stdin(source), source, regions)
    if not auto_approve and (source == "-" or not sys.stdin.isatty()):
        raise ReconError("remove asks first, and there is no terminal to ask on", hint="give --auto-approve")
    aws = around.connect(regions, "apply")
    announce(out.info, around, aws)
    found, problems = suppression.find_entries(aws, regions, removals)
    done: list[SuppressedAddress] = []
    if found and not problems:
        if out.format == "text":
            preview(found, lambda e: f"- {e.address} in {e.region}: {e.reason}, since {e.since[:10]}", out)
            if complaints := sum(e.reason == "COMPLAINT" for e in found):
                out.info(f"{complaints:,} of them complained: send to them again only if they asked for it.")
        question = f"remove {count(len(found))} from the list? SES delivers to them again."
        if not around.confirm("suppression remove", aws, regions, question, auto_approve, out.info):
            out.info("Nothing was removed.")
            return 1
        done, problems = carry_out(aws, around, "remove", found, out)
    return _print_removed(aws.stack, removals, found, done, problems, out)


def addresses_and_state(given: list[str] | tuple[str, ...], command: str) -> tuple[list[str], str]:
    """The arguments ``[ADDRESS]... [STATE]``: what has the form of an address is one, unless it is a file."""
    from reconciler import suppression

    addresses = [g for g in given if suppression.is_address(g) and not Path(g).exists()]
    rest = [g for g in given if g not in addresses]
    if len(rest) > 1:
        raise ReconError(f"{rest[0]} is not an e-mail address", hint=f"recon suppression {command} ADDRESS... [STATE]")
    return addresses, rest[0] if rest else "state"


PAST = {"add": "added", "remove": "removed"}


def carry_out(
    aws: Aws, around: Incident, verb: str, entries: list[SuppressedAddress], out: Output
) -> tuple[list[SuppressedAddress], list[ReconError]]:
    """Add or remove entries, with a line in the journal for each region; returns what was done, and what failed."""
    from reconciler import suppression

    calls = {"add": suppression.add, "remove": suppression.remove}
    done: list[SuppressedAddress] = []
    problems: list[ReconError] = []
    with around.recording(aws, f"suppression {verb}", out.info) as run:
        for entry, problem in calls[verb](aws, entries):
            if problem is not None:
                problems.append(problem)
                continue
            done.append(entry)
            if len(done) % 100 == 0:
                out.info(f"{len(done):,} of {len(entries):,} {PAST[verb]}")
        for region, number in sorted(Counter(e.region for e in done).items()):
            run.step(f"suppression/{region}#{verb}-{number}", "done")
        run.outcome = outcome_of(len(done), problems)
    return done, problems


SHOWN = 20
"""How many entries are printed one by one."""


def preview(entries: list[SuppressedAddress], line: Callable[[SuppressedAddress], str], out: Output) -> None:
    """Print what is about to be done, a line an entry, and how long it takes where that is more than a minute."""
    from reconciler.renderers.escape import safe

    for entry in entries[:SHOWN]:
        sys.stdout.write(f"  {safe(line(entry))}\n")
    if len(entries) > SHOWN:
        sys.stdout.write(f"  and {len(entries) - SHOWN:,} more\n")
    sys.stdout.flush()
    most = max(Counter(e.region for e in entries).values())
    if most > 60:
        out.info(f"This takes about {most // 60 + 1} min: SES allows one such call a second in a region.")


def count(number: int) -> str:
    return f"{number:,} entr{'y' if number == 1 else 'ies'}"


def _print_removed(
    stack: Stack, removals: list[Removal], found: list[SuppressedAddress], done: list[SuppressedAddress],
    problems: list[ReconError], out: Output,
) -> int:  # fmt: skip
    seen = {e.address.lower() for e in found}
    absent = sorted({r.address for r in removals if r.address.lower() not in seen}) if not problems else []
    if out.format != "json":
        for address in absent[:SHOWN]:
            out.info(f"{address} is not on any list.")
        if len(absent) > SHOWN:
            out.info(f"{len(absent) - SHOWN:,} more are not on any list.")
    left = len(found) - len(done)
    line = f"{count(len(done))} removed" + (f", {left:,} left" if left else "") + "."
    removed = {"removed": [e.to_json() for e in done], "absent": absent}
    return print_outcome(out, stack, outcome_of(len(done), problems), removed, [line], problems)
