"""`recon suppression stats`: when addresses were suppressed, and of which receivers."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from reconciler.cli.common import Output, as_diagnostics, options_from, text_or_json
from reconciler.cli.suppression import Selection, selection, suppression_app
from reconciler.errors import ReconError

SHOWN = 12
"""Weeks and receivers in the text; the JSON has them all."""


@suppression_app.command()
@options_from(out=text_or_json, selected=selection)
def stats(
    selected: Selection,
    top: Annotated[int, typer.Option("--top", min=1, help="How many weeks and receivers the text shows.")] = SHOWN,
    *,
    out: Output,
) -> int:
    """Count the suppressed addresses by week, reason and receiver. A rise names the week, and the receiver who refuses.

    Exit 1 if the list of a region could not be read: its numbers are missing.
    """
    from reconciler.suppression import SuppressionStats, list_entries

    counts = SuppressionStats()
    problems: list[ReconError] = []
    for entry in list_entries(selected.aws, selected.regions, selected.filter):
        if isinstance(entry, ReconError):
            problems.append(entry)
        else:
            counts.count(entry)
    found = {"regions": selected.regions, **counts.to_json()}
    if out.format == "json":
        out.document(selected.stack, "error" if problems else "no_changes", found, as_diagnostics(problems))
    else:
        _text(found, top)
        for problem in problems:
            out.error(problem)
    return 1 if problems else 0


def _text(found: Mapping[str, Any], top: int) -> None:
    total = found["total"]
    what = (
        f"{total['addresses']:,} addresses are suppressed: {total['BOUNCE']:,} BOUNCE, {total['COMPLAINT']:,} COMPLAINT"
    )
    sys.stdout.write(f"{what}.\n")
    for name, rows in (("week", found["weeks"]), ("receiver", found["receivers"])):
        if rows:
            sys.stdout.write("\n" + "".join(f"{line}\n" for line in _table(name, rows, top)))
    sys.stdout.flush()


def _table(name: str, rows: Sequence[Mapping[str, Any]], top: int) -> list[str]:
    from reconciler.renderers.escape import safe

    heads = [key for key in rows[0] if key != name]
    shown = [[safe(str(row[name] or "unknown")), *(_cell(row[key]) for key in heads)] for row in rows[:top]]
    titles = [name.upper(), *(key.upper() for key in heads)]
    widths = [max(len(row[n]) for row in [titles, *shown]) for n in range(len(titles))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in [titles, *shown]]
    more = len(rows) - top
    return [line.rstrip() for line in lines] + ([f"and {more:,} more (--top, or --format json)"] if more > 0 else [])


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
