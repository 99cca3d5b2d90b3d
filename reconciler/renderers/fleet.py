"""The report over a fleet as text, Markdown and a page, from its JSON document; all of it is untrusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from reconciler.renderers.escape import markdown_code, markdown_text
from reconciler.renderers.headline import plural
from reconciler.renderers.html import template_page
from reconciler.renderers.text import Line, Style, draw

FleetDocument = Mapping[str, Any]

COLUMNS: Final = ("stack", "account", "outcome", "changes", "attempts")
_FOUND: Final = {
    "plan": "with changes", "drift": "with drift", "doctor": "with findings", "validate": "with findings",
}  # fmt: skip
_CLEAN: Final = {
    "plan": "without changes", "drift": "without drift", "doctor": "healthy", "validate": "valid",
}  # fmt: skip


def headline(document: FleetDocument) -> str:
    """How many stacks ended how, the worst first; the first line of every format."""
    stacks, missing = document["stacks"], document["missing"]
    accounts = len({one["account"] for one in stacks if one["account"]})
    failed, found, clean = _sorted(stacks)
    parts = [
        f"{len(missing)} without a report" if missing else "",
        f"{len(failed)} failed" if failed else "",
        f"{len(found)} {_FOUND[document['command']]}" if found else "",
        f"{len(clean)} {_CLEAN[document['command']]}" if clean else "",
    ]
    of = f"{plural(len(stacks) + len(missing), 'stack')} in {plural(accounts, 'account')}"
    text = f"{document['command']} of {of}: {', '.join(filter(None, parts)) or 'nothing to do'}."
    return text[:1].upper() + text[1:]


def _sorted(stacks: Sequence[FleetDocument]) -> tuple[list[FleetDocument], list[FleetDocument], list[FleetDocument]]:
    """(failed, with something found, clean)."""
    failed = [one for one in stacks if one["exit_code"] not in {0, 2}]
    found = [one for one in stacks if one["exit_code"] == 2]
    return failed, found, [one for one in stacks if one["exit_code"] == 0]


def outcome_words(command: str, one: FleetDocument) -> str:
    """How one stack ended. ``changes`` is the outcome of whatever found something: the words say what."""
    outcome = str(one.get("outcome") or f"exit {one['exit_code']}")
    special = {"changes": _FOUND[command].removeprefix("with "), "no_changes": _CLEAN[command]}
    return special.get(outcome, outcome.replace("_", " "))


def _row(command: str, one: FleetDocument) -> list[str]:
    counts = ", ".join(
        f"{number} {name}"
        for name, number in one["summary"].items()
        if isinstance(number, int) and number and name != "total"
    )
    return [one["id"], one["account"] or "-", outcome_words(command, one), counts or "-", str(one["attempts"])]


def fleet_text(document: FleetDocument, *, color: bool = False, unicode: bool = True, verbose: int = 0) -> str:
    """The headline, a table of what needs somebody, and why stacks failed; with ``verbose`` all stacks."""
    style = Style(color=color, unicode=unicode)
    failed, found, clean = _sorted(document["stacks"])
    listed = [*failed, *found, *(clean if verbose else ())]
    lines: list[Line] = [[("head", style.safe(headline(document)))], []]
    if listed:
        lines += [*_table(document["command"], listed, style), []]
    if clean and not verbose:
        lines += [[("dim", f"{plural(len(clean), 'stack')} {_CLEAN[document['command']]} (-v lists all)")], []]
    for one in document["diagnostics"]:
        lines.append([("error", "error"), ("", f": {style.safe(one['message'])}")])
    for one in failed:
        lines.append([("error", "error"), ("", f": {style.safe(one['id'])}: {style.safe(one['message'] or 'failed')}")])
    lines.append([("dim", style.safe(f"Reports: {document['reports']} (run {document['run_id']})"))])
    return draw(lines, style)


def _table(command: str, stacks: Sequence[FleetDocument], style: Style) -> list[Line]:
    rows = [[style.safe(cell) for cell in _row(command, one)] for one in stacks]
    heads = [head.upper() for head in COLUMNS]
    widths = [max(len(row[n]) for row in [heads, *rows]) for n in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(text.ljust(width) for text, width in zip(cells, widths, strict=True)).rstrip()

    return [
        [("dim", line(heads))],
        *([("error" if one["exit_code"] != 2 else "", line(row))] if one["exit_code"] else [("dim", line(row))]
          for one, row in zip(stacks, rows, strict=True)),
    ]  # fmt: skip


def fleet_markdown(document: FleetDocument) -> str:
    """The headline and a table of what needs somebody; the rest is counted."""
    failed, found, clean = _sorted(document["stacks"])
    lines = [f"**{markdown_text(headline(document))}**", ""]
    if failed or found:
        lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        for one in [*failed, *found]:
            cells = _row(document["command"], one)
            lines.append("| " + " | ".join([markdown_code(cells[0]), *map(markdown_text, cells[1:])]) + " |")
        lines.append("")
    lines += [f"- error: {markdown_text(one['message'])}" for one in document["diagnostics"]]
    lines += [f"- error: {markdown_code(one['id'])}: {markdown_text(one['message'] or 'failed')}" for one in failed]
    if clean:
        names = ", ".join(markdown_code(one["id"]) for one in clean)
        lines += [
            "",
            f"<details><summary>{plural(len(clean), 'stack')} {_CLEAN[document['command']]}</summary>",
            "",
            names,
            "",
            "</details>",
        ]
    return "\n".join(lines).rstrip() + "\n"


def fleet_html(document: FleetDocument) -> str:
    """The same as a page, with every stack and where its report is."""
    failed, found, clean = _sorted(document["stacks"])
    groups = [
        ("Failed", failed),
        (_FOUND[document["command"]].capitalize(), found),
        (_CLEAN[document["command"]].capitalize(), clean),
    ]
    return template_page(
        "fleet.html", f"fleet {document['command']}", document=document, heading=headline(document),
        row=partial(_row, document["command"]), groups=groups,
        lines=[f"run {document['run_id']}", f"reports in {document['reports']}"],
    )  # fmt: skip
