"""The rules as Markdown: a page each, and the tables of their index. ``make docs`` writes docs/rules from them."""

from __future__ import annotations

from textwrap import fill

from reconciler.rules import all_rules
from reconciler.rules.registry import Rule

_ERROR = (
    "error where this plan would break mail that is being sent today; otherwise a warning, or a note for a name that "
    "does not send yet"
)
_OTHER = {"error": "warning", "warning": "error", "note": "off"}
"""A severity other than the default one, for the example of ``rules:``."""


def page(one: Rule) -> str:
    """The page of one rule."""
    waiver = f'waivers: [{{rule: {one.id}, address: "{one.example}", reason: "why", until: 2027-01-31}}]'
    parts = [
        f"# {one.id}",
        f"**{one.title}.** Severity: {_ERROR if one.severity == 'error' else one.severity}.",
        "## What it finds",
        one.finds,
        "## Why it matters",
        one.why,
        f"Source: {one.source}.",
        "## What to do",
        one.fix,
        "## To change or waive it",
    ]
    yaml = [
        f"rules: {{{one.id}: {_OTHER[one.severity]}}}   # error, warning, note or off",
        *([waiver] * bool(one.example)),
    ]
    return "\n\n".join(map(_wrapped, parts)) + "\n\n```yaml\n" + "\n".join(yaml) + "\n```\n"


def _wrapped(text: str) -> str:
    """Paragraphs of at most 120 columns; a heading or a long word stays as it is."""
    return "\n\n".join(
        fill(" ".join(part.split()), 120, break_long_words=False, break_on_hyphens=False) for part in text.split("\n\n")
    )


def index() -> str:
    """A table of rules under each theme, in the order in which the themes are registered."""
    themes: dict[str, list[Rule]] = {}
    for one in all_rules().values():
        themes.setdefault(one.theme, []).append(one)
    lines: list[str] = []
    for theme, some in themes.items():
        lines += [f"## {theme}", "", "| rule | severity | finds |", "|---|---|---|"]
        lines += [f"| [{one.id}]({one.id}.md) | {one.severity} | {one.title} |" for one in some]
        lines.append("")
    return "\n".join(lines).rstrip()
