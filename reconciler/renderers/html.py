"""The plan, the drift, a result or an error as one HTML page, drawn by the templates beside this module.

No request leaves the page, and it is whole also without its script. Everything shown is untrusted: the templates escape
every value (``_escaped``), and style and script are named by their hash in the page's own Content-Security-Policy, so
that nothing else could run even if an escape were missed. Source: Content Security Policy Level 3, section 2.3.1.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reconciler.codes import rule_page
from reconciler.errors import ReconError
from reconciler.model import SYMBOLS, Plan, Result
from reconciler.renderers.escape import html_text as esc
from reconciler.renderers.headline import dollars, duration, monthly_dollars, plural
from reconciler.renderers.jsonform import plan_digest
from reconciler.renderers.picture import picture, short
from reconciler.renderers.text import (
    REFUSED,
    STATUS,
    WORST_FIRST,
    following,
    last_line,
    result_last_line,
    sentence,
    why_found,
)
from reconciler.renderers.view import Block, Mode, Row, applied_with, fold_diagnostics, shown, standing_line, view


def _escaped(value: object) -> object:
    """What a template prints: HTML of ours as it is, all else escaped, with control characters shown."""
    return value if isinstance(value, Markup) else Markup(esc(str(value)))


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("reconciler.renderers"), autoescape=True, finalize=_escaped, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["short"] = short
    environment.globals |= {
        "applied_with": applied_with, "own_source": _own_source, "plan_digest": plan_digest, "plural": plural,
        "rule_page": rule_page,
        "status": STATUS, "symbols": SYMBOLS, "shown": _shown,
    }  # fmt: skip
    return environment


@cache
def _frame() -> dict[str, Markup]:
    """Style, script, and the policy that allows just these two."""
    folder = resources.files("reconciler.renderers") / "templates"
    texts = {name: "\n" + (folder / f"page.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    hashes = {name: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for name, text in texts.items()}
    policy = (
        f"default-src 'none'; style-src 'sha256-{hashes['css']}'; script-src 'sha256-{hashes['js']}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return {"style": Markup(texts["css"]), "script": Markup(texts["js"]), "policy": Markup(policy)}


def template_page(template: str, title: str, **values: Any) -> str:
    """A page from one of the templates."""
    return _templates().get_template(template).render(title=title, **_frame(), **values)


def plan_html(plan: Plan, mode: Mode = "plan") -> str:
    """The plan, or the drift, as one page."""
    seen = view(plan)
    anchors = {id(block): f"b{number}" for number, block in enumerate(seen.blocks, 1)}
    heading = sentence(plan, mode) if plan.changes else last_line(plan)
    return template_page(
        "plan.html", f"{mode} {plan.scope or plan.stack}", plan=plan, mode=mode, seen=seen,
        anchor=lambda block: anchors[id(block)], heading=heading[:1].upper() + heading[1:], lines=_facts(plan, mode),
        standing=standing_line(seen), drawn=picture(seen),
    )  # fmt: skip


def result_html(result: Result) -> str:
    """The result of an apply as one page; what is not done comes first."""
    lines = [f"Outcome: {result.outcome.replace('_', ' ')}", following(result)]
    return template_page(
        "result.html", f"apply {result.plan.scope or result.plan.stack}", plan=result.plan,
        heading=result_last_line(result), lines=[line for line in lines if line],
        applied=sorted(result.applied, key=lambda one: WORST_FIRST.index(one.status)),
        found=fold_diagnostics(result.diagnostics),
    )  # fmt: skip


def error_html(error: ReconError) -> str:
    """An error with its diagnostics as one page."""
    return template_page(
        "error.html", f"recon: {error.outcome}", error=error, found=fold_diagnostics(error.diagnostics)
    )


def _facts(plan: Plan, mode: Mode) -> list[str]:
    facts = [REFUSED.format(where="below")] if plan.outcome == "refused" else []
    facts += [why] if (why := why_found(plan, mode)) else []
    facts.append(last_line(plan))
    if plan.changes and plan.write_calls:
        took = f", {duration(plan.seconds)}" if plan.seconds else ""
        facts.append(f"{plural(plan.write_calls, 'call')} to apply{took}")
    if cost := monthly_dollars(plan):
        facts.append(f"{dollars(cost)} more")
    return facts


def _own_source(row: Row, block: Block) -> bool:
    """Whether this field comes from another layer or file than the block."""
    source, whole = row.source, block.source or block.changes[0].source
    if source is None or source == whole:
        return False
    return bool(source.via) or whole is None or source.file != whole.file


def _shown(row: Row, block: Block) -> tuple[str, Sequence[tuple[str, str]], int]:
    """``shown``, with the form ``inline`` for two short values, and in two long ones the differing words marked."""
    found = shown(row, block.action)
    if found.form != "pair":
        return found
    (_, old), (_, new) = found.lines
    if len(old) + len(new) <= 76:
        return "inline", found.lines, 0
    return "pair", list(zip("-+", map(Markup, _marked(old, new)), strict=True)), 0


def _marked(old: str, new: str) -> tuple[str, str]:
    """Two long values with the differing words marked."""
    if len(old) + len(new) > 4_000:
        return esc(old), esc(new)
    before, after = (re.findall(r"\s+|[^\s,;]+|[,;]", text) for text in (old, new))
    sides: tuple[list[str], list[str]] = ([], [])
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        for side, words in zip(sides, (before[i1:i2], after[j1:j2]), strict=True):
            text = esc("".join(words))
            side.append(text if tag == "equal" or not text else f"<mark>{text}</mark>")
    return "".join(sides[0]), "".join(sides[1])
