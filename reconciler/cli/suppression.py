"""The account suppression list, over all the regions of the stack and of any size: list, export, remove."""

from __future__ import annotations

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from reconciler.cli.app import app
from reconciler.cli.common import (
    TEXT_OR_JSON,
    ApproveOption,
    ColorOption,
    EnvOption,
    Out,
    QuietOption,
    RegionsOption,
    StateArg,
    TextOrJsonOption,
    VerboseOption,
    as_diagnostics,
    guarded,
    head_of,
    load,
    only,
    yes,
)
from reconciler.errors import ReconError

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.model import State
    from reconciler.suppression import Entry, Filter

suppression_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="The account suppression list: list, export, remove."
)
app.add_typer(suppression_app, name="suppression")

ReasonOption = Annotated[list[str] | None, typer.Option("--reason", help="BOUNCE or COMPLAINT (repeatable).")]
SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="DAY", help="Put there on or after: 2026-11-01, or 7d.")
]
UntilOption = Annotated[str | None, typer.Option("--until", metavar="DAY", help="Put there on or before.")]
MatchOption = Annotated[str | None, typer.Option("--match", metavar="GLOB", help="Addresses like '*@example.com'.")]


# --- list and export -----------------------------------------------------------------------------------------------


@suppression_app.command("list")
def list_(
    state: StateArg = "state",
    env: EnvOption = None,
    region: RegionsOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    match: MatchOption = None,
    format: TextOrJsonOption = "text",
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> int:
    """Show which addresses SES does not deliver to, and why."""
    out = Out(format, no_color, quiet, verbose, TEXT_OR_JSON)
    declared, aws, regions, chosen = _asked(state, env, region, reason, since, until, match, out)
    if format == "json":
        return _list_json(declared, aws, regions, chosen)

    from reconciler.renderers.escape import safe

    def row(entry: Entry) -> str:
        return f"{entry.since:20}  {entry.region:14}  {entry.reason:9}  {safe(entry.address)}\n"

    return _copy(aws, regions, chosen, sys.stdout, row, out)


@suppression_app.command()
def export(
    state: StateArg = "state",
    env: EnvOption = None,
    region: RegionsOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    match: MatchOption = None,
    to: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Write here; standard output otherwise.")
    ] = None,
    format: Annotated[str, typer.Option("--format", help="csv or jsonl.")] = "csv",
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> int:
    """Write the list as CSV or JSON lines; a file appears only once it is whole."""
    from reconciler.suppression import FIELDS, csv_line

    out = Out("text", no_color, quiet, verbose)
    only(format, ("csv", "jsonl"))
    _, aws, regions, chosen = _asked(state, env, region, reason, since, until, match, out)

    def row(entry: Entry) -> str:
        values = entry.to_json()
        return csv_line(values[f] for f in FIELDS) if format == "csv" else json.dumps(values) + "\n"

    head = csv_line(FIELDS) if format == "csv" else ""
    if to is None:
        sys.stdout.write(head)
        return _copy(aws, regions, chosen, sys.stdout, row, out)
    with _whole(to) as (file, keep):
        file.write(head)
        code = _copy(aws, regions, chosen, file, row, out)
        if code == 0:
            keep()
        else:
            out.say(f"{to} was not written: the list is not whole.")
    return code


def _asked(
    state: str, env: str | None, region: list[str] | None, reason: list[str] | None, since: str | None,
    until: str | None, match: str | None, out: Out,
) -> tuple[State, Aws, list[str], Filter]:  # fmt: skip
    from reconciler import suppression

    reasons = tuple(r.upper() for r in reason or ())
    if wrong := [r for r in reasons if r not in suppression.REASONS]:
        raise ReconError(f"--reason {', '.join(wrong)} is not known", hint="BOUNCE or COMPLAINT")
    chosen = suppression.Filter(
        reasons,
        suppression.day(since) if since else None,
        suppression.day(until, end=True) if until else None,
        match,
    )
    declared, _ = load(state, env, out)
    regions = suppression.regions_of(declared, region or ())
    return declared, guarded(declared.stack, "plan"), regions, chosen


def _copy(
    aws: Aws, regions: list[str], chosen: Filter, file: TextIO, row: Callable[[Entry], str], out: Out
) -> int:  # fmt: skip
    """Write every entry as it is read; says the counts, and what could not be read. Returns the exit code."""
    from reconciler.suppression import listed

    counts: Counter[tuple[str, str]] = Counter()
    problems: list[ReconError] = []
    for entry in listed(aws, regions, chosen):
        if isinstance(entry, ReconError):
            problems.append(entry)
            continue
        counts[entry.region, entry.reason] += 1
        file.write(row(entry))
    file.flush()
    if not out.quiet:
        sys.stderr.write(_counted(regions, counts))
    for problem in problems:
        out.error(problem)
    return 1 if problems else 0


def _counted(regions: list[str], counts: Counter[tuple[str, str]]) -> str:
    lines = []
    for region in regions:
        found = {reason: n for (where, reason), n in sorted(counts.items()) if where == region}
        as_diagnostics = ", ".join(f"{n:,} {reason}" for reason, n in found.items()) or "none"
        lines.append(f"{region}: {as_diagnostics}\n")
    return "".join(lines)


def _list_json(declared: State, aws: Aws, regions: list[str], chosen: Filter) -> int:
    """One JSON object, written as it is read: it may be larger than memory."""
    from reconciler.suppression import listed

    head = {**head_of(declared.stack), "regions": regions}
    sys.stdout.write(json.dumps(head)[:-1] + ', "suppressed": [')
    problems: list[ReconError] = []
    first = True
    for entry in listed(aws, regions, chosen):
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


@contextlib.contextmanager
def _whole(path: str) -> Iterator[tuple[TextIO, Callable[[], None]]]:
    """A file beside ``path`` that takes its place when the block called ``keep``, and is gone otherwise."""
    part = Path(f"{path}.part")
    kept = []
    try:
        file = part.open("w", encoding="utf-8", newline="")
    except OSError as problem:
        raise ReconError(f"{path} could not be written: {problem.strerror}") from None
    try:
        with file:
            yield file, lambda: kept.append(True)
        if kept:
            part.replace(path)
    except OSError as problem:
        raise ReconError(f"{path} could not be written: {problem.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


# --- remove --------------------------------------------------------------------------------------------------------


@suppression_app.command()
def remove(
    what: Annotated[
        list[str] | None, typer.Argument(metavar="[ADDRESS]... [STATE]", help="Addresses, and the state.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="FILE", help="Addresses, one a line, or an export; - is standard input."),
    ] = None,
    region: RegionsOption = None,
    env: EnvOption = None,
    auto_approve: ApproveOption = False,
    format: TextOrJsonOption = "text",
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> int:
    """Take addresses off the list in every region of the stack, so that SES delivers to them again."""
    from reconciler import suppression
    from reconciler.journal import recording

    out = Out(format, no_color, quiet, verbose, TEXT_OR_JSON)
    named = [w for w in what or () if suppression.is_address(w) and not Path(w).exists()]
    rest = [w for w in what or () if w not in named]
    if len(rest) > 1:
        raise ReconError(f"{rest[0]} is no address", hint="recon suppression remove ADDRESS... [STATE]")
    if not named and source is None:
        raise ReconError("no address was given", hint="recon suppression remove ADDRESS... or --from FILE")
    declared, _ = load(rest[0] if rest else "state", env, out)
    regions = suppression.regions_of(declared, region or ())
    wishes = [suppression.Wish(address) for address in named]
    if source is not None:
        wishes += suppression.wishes(_text_of(source), source, regions)
    asks = not auto_approve
    if asks and (source == "-" or not sys.stdin.isatty()):
        raise ReconError("remove would ask, but there is no terminal", hint="give --auto-approve")
    aws = guarded(declared.stack, "apply")
    found, problems = suppression.present(aws, regions, wishes)
    done: list[Entry] = []
    if found and not problems:
        if format == "text":
            _show(found, out)
        question = f"Take {_things(len(found))} off the list? SES delivers to them again. Only `yes` is accepted: "
        if asks and not yes(question):
            out.say("Nothing was removed.")
            return 1
        with recording(declared.stack, aws, "suppression remove", warn=out.say) as run:
            for entry, problem in suppression.remove(aws, found):
                if problem is not None:
                    problems.append(problem)
                else:
                    done.append(entry)
                    if len(done) % 100 == 0:
                        out.say(f"{len(done):,} of {len(found):,} removed")
            for place, number in sorted(Counter(e.region for e in done).items()):
                run.step(f"suppression/{place}#remove-{number}", "done")
            run.outcome = _outcome(done, problems)
    return _removed(declared, wishes, found, done, problems, out)


def _text_of(source: str) -> str:
    try:
        return sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ReconError(f"{source} is not UTF-8 text") from None
    except OSError as problem:
        raise ReconError(f"{source} could not be read: {problem.strerror}") from None


SHOWN = 20


def _show(found: list[Entry], out: Out) -> None:
    from reconciler.renderers.escape import safe

    for entry in found[:SHOWN]:
        sys.stdout.write(f"  - {safe(entry.address)} in {entry.region}: {entry.reason}, since {entry.since[:10]}\n")
    if len(found) > SHOWN:
        sys.stdout.write(f"  and {len(found) - SHOWN:,} more\n")
    sys.stdout.flush()
    if complaints := sum(e.reason == "COMPLAINT" for e in found):
        out.say(f"{complaints:,} of them complained: mail to them again only if they asked for it.")
    lanes = Counter(e.region for e in found)
    if max(lanes.values()) > 60:
        out.say(f"About {max(lanes.values()) // 60 + 1} min: SES takes one such call a second in a region.")


def _things(number: int) -> str:
    return f"{number:,} entr{'y' if number == 1 else 'ies'}"


def _outcome(done: list[Entry], problems: list[ReconError]) -> str:
    if problems:
        return "partial" if done else "error"
    return "applied" if done else "no_changes"


def _removed(
    declared: State, wishes: list[Any], found: list[Entry], done: list[Entry], problems: list[ReconError], out: Out
) -> int:
    seen = {e.address.lower() for e in found}
    absent = sorted({w.address for w in wishes if w.address.lower() not in seen}) if not problems else []
    if out.format == "json":
        removed = {"removed": [e.to_json() for e in done], "absent": absent}
        out.document(declared.stack, _outcome(done, problems), removed, as_diagnostics(problems))
        return 1 if problems else 0
    for address in absent[:SHOWN]:
        out.say(f"{address} is on no list.")
    if len(absent) > SHOWN:
        out.say(f"{len(absent) - SHOWN:,} more are on no list.")
    left = len(found) - len(done)
    sys.stdout.write(f"{_things(len(done))} removed" + (f", {left:,} left" if left else "") + ".\n")
    for problem in problems:
        out.error(problem)
    return 1 if problems else 0
