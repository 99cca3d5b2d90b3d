"""The plan, the drift, a result or an error as one HTML page: its content, from top to bottom.

Everything shown is untrusted and escaped. The frame of a page is in ``page``, the dependency graph in ``picture``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

from reconciler.errors import ReconError
from reconciler.model import SYMBOLS, Diagnostic, Plan, Result
from reconciler.renderers.escape import html_text as esc
from reconciler.renderers.headline import dollars, duration, monthly_dollars, plural
from reconciler.renderers.jsonform import plan_digest
from reconciler.renderers.page import page
from reconciler.renderers.picture import picture
from reconciler.renderers.text import (
    DRIFT_WORDS,
    REFUSED,
    STATUS,
    WORST_FIRST,
    Mode,
    following,
    last_line,
    result_last_line,
    sentence,
)
from reconciler.renderers.values import is_flat, nested, nested_diff, one_line, pair, set_diff
from reconciler.renderers.view import Block, Row, View, fold_diagnostics, view

# --- plan and drift ------------------------------------------------------------------------------------------------


def plan_html(plan: Plan, mode: Mode = "plan") -> str:
    """The plan, or the drift, as one page."""
    seen = view(plan)
    ids = {id(block): f"b{number}" for number, block in enumerate(seen.blocks, 1)}
    title = sentence(plan, mode) if plan.changes else last_line(plan)
    title = title[:1].upper() + title[1:]
    body = ["<header>", _scope(plan), f"<h1>{esc(title)}</h1>", _facts(plan), "</header>"]
    if plan.changes:
        body.append(_bar(plan, seen))
    body.append("<main>")
    errors = [item for item in seen.diagnostics if item[0].severity == "error"]
    body += _diagnostics(errors, "Errors")
    body += _list("Review these first", seen.risky, ids, mode, "risky")
    body += _list("Other changes" if seen.risky else "Changes", seen.calm, ids, mode, "calm")
    body += _diagnostics([item for item in seen.diagnostics if item not in errors], "Warnings and notes")
    body += picture(seen, ids)
    body += ["</main>", "<footer>", *_foot(plan), "</footer>"]
    what = "drift" if mode == "drift" else "plan"
    return page(f"{what} {plan.scope or plan.stack}", body)


def _scope(plan: Plan) -> str:
    return (
        f'<p class="scope"><span class="mono">{esc(plan.scope or plan.stack)}</span> in account '
        f'<span class="mono">{esc(plan.account)}</span></p>'
    )


def _facts(plan: Plan) -> str:
    facts = [REFUSED.format(where="below")] if plan.outcome == "refused" else []
    facts.append(last_line(plan))
    if plan.changes and plan.write_calls:
        took = f", {duration(plan.seconds)}" if plan.seconds else ""
        facts.append(f"{plural(plan.write_calls, 'call')} to apply{took}")
    if cost := monthly_dollars(plan):
        facts.append(f"{dollars(cost)} more")
    return '<ul class="facts">' + "".join(f"<li>{esc(fact)}</li>" for fact in facts) + "</ul>"


def _bar(plan: Plan, seen: View) -> str:
    chips = [
        f'<button type="button" class="n-{action}" data-filter="{action}" aria-pressed="false">'
        f"<b>{SYMBOLS.get(action, '!')}</b> {count} {action}</button>"
        for action, count in plan.summary.items()
        if count
    ]
    if seen.risky and seen.calm:
        chips.append('<button type="button" data-filter="risky" aria-pressed="false"><b>!</b> review first</button>')
    return (
        '<div class="bar" hidden><div><input type="search" id="search" placeholder="Search addresses, values, files  /"'
        f' aria-label="Search the changes" autocomplete="off" spellcheck="false">{"".join(chips)}'
        '<button type="button" id="toggle">Open all</button><span id="count" class="quiet" aria-live="polite"></span>'
        "</div></div>"
    )


def _list(title: str, blocks: Sequence[Block], ids: Mapping[int, str], mode: Mode, name: str) -> list[str]:
    if not blocks:
        return []
    total = sum(block.count for block in blocks)
    lines = [f'<section data-list="{name}">', f"<h2>{title}<small>{total}</small></h2>"]
    few = len(blocks) <= 12
    for block in blocks:
        lines.append(_block(block, ids[id(block)], mode, opened=few))
    return [*lines, "</section>"]


def _block(block: Block, anchor: str, mode: Mode, *, opened: bool) -> str:
    name = esc(block.addresses[0]) if not block.folded else f"{block.count} × {esc(block.what)}"
    aside = [DRIFT_WORDS[block.action]] if mode == "drift" and DRIFT_WORDS[block.action] else []
    if block.cause:
        aside.append(block.cause)
    action = "refused" if block.refused else block.action
    data = f'data-action="{action}" data-count="{block.count}" data-risky="{int(block.risky)}"'
    lines = [
        f'<details class="block {block.action}" id="{anchor}" {data}{" open" if opened else ""}>',
        f'<summary><span class="sym mono" title="{block.action}">{esc(block.symbol)}</span>',
        f'<span class="name mono">{name}</span>',
    ]
    if aside:
        lines.append(f'<span class="cause">{esc(" · ".join(aside))}</span>')
    if block.notes:
        lines.append('<ul class="notes">')
        for note in block.notes:
            sign = "·" if note.severity == "note" else "!"
            lines.append(
                f'<li class="{note.severity}"><i>{sign}</i>{esc(note.message)}'
                f'<span class="rule mono">{esc(note.rule)}</span></li>'
            )
        lines.append("</ul>")
    lines.append('</summary><div class="body">')
    if block.rows:
        lines.append('<dl class="fields mono">')
        lines += [_field(row, block) for row in block.rows]
        lines.append("</dl>")
    if block.folded:
        collapsed = block.count > 12 and block.action not in ("delete", "replace")
        if collapsed:
            lines.append(f"<details><summary>{block.count} addresses</summary>")
        lines.append('<ul class="addresses mono">')
        lines += [f"<li>{esc(address)}</li>" for address in block.addresses]
        lines.append("</ul></details>" if collapsed else "</ul>")
    elif block.changes[0].depends_on:
        needs = ", ".join(esc(address) for address in block.changes[0].depends_on)
        lines.append(f'<p class="quiet">after <span class="mono">{needs}</span></p>')
    if not block.rows and not block.folded:
        lines.append('<p class="quiet">No fields to show.</p>')
    lines.append("</div></details>")
    return "\n".join(lines)


def _field(row: Row, block: Block) -> str:
    cause = ""
    whole = block.source or block.changes[0].source
    if (
        row.source is not None
        and row.source != whole
        and (row.source.via or whole is None or row.source.file != whole.file)
    ):
        cause = f'<span class="from">{esc(str(row.source))}</span>'
    return f"<dt>{esc(row.path)}</dt><dd>{_value(row, block)}{cause}</dd>"


def _value(row: Row, block: Block) -> str:
    if row.shows == "value":
        value = row.before if block.action == "delete" else row.after
        if is_flat(value) or not isinstance(value, (dict, list, str)):
            return esc(one_line(value))
        drawn = "".join(f"<span>{esc(line)}</span>" for line in nested(value))
        return f'<span class="lines plain">{drawn}</span>'
    before, after = row.before, row.after
    sets = set_diff(before, after)
    if sets is not None and (len(before) > 1 or len(after) > 1):
        added, removed, kept = sets
        lines = [f"<del>{esc(one_line(item))}</del>" for item in removed]
        lines += [f"<ins>{esc(one_line(item))}</ins>" for item in added]
        lines += [f'<span class="quiet">({kept} unchanged)</span>'] if kept else []
        return f'<span class="lines">{"".join(lines)}</span>'
    if not (is_flat(before) and is_flat(after)):
        tags = {"-": "del", "+": "ins"}
        lines = [
            f"<{tags.get(sign, 'span')}>{esc(line) if sign != '…' else '…'}</{tags.get(sign, 'span')}>"
            for sign, line in nested_diff(before, after)
        ]
        return f'<span class="lines">{"".join(lines)}</span>'
    old, new = pair(before, after)
    if len(old) + len(new) <= 76:
        left = f'<span class="quiet">{esc(old)}</span>' if before is None else f"<del>{esc(old)}</del>"
        right = f'<span class="quiet">{esc(new)}</span>' if after is None else f"<ins>{esc(new)}</ins>"
        return f'{left}<span class="arrow">→</span>{right}'
    old_marked, new_marked = _marked(old, new)
    return f'<span class="lines"><del>{old_marked}</del><ins>{new_marked}</ins></span>'


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


def _diagnostics(diagnostics: Sequence[tuple[Diagnostic, tuple[str, ...]]], title: str) -> list[str]:
    if not diagnostics:
        return []
    lines = ["<section>", f"<h2>{title}<small>{len(diagnostics)}</small></h2>"]
    for one, addresses in diagnostics:
        sign = "·" if one.severity == "note" else "!"
        rule = f'<span class="rule mono">{esc(one.code)}</span>' if one.code else ""
        lines.append(
            f'<div class="found"><ul class="notes"><li class="{one.severity}"><i>{sign}</i>{esc(one.message)}{rule}'
            "</li></ul>"
        )
        where = f"{one.file}:{one.line}" if one.file and one.line else one.file
        places = [place for place in (where, *addresses[:20]) if place]
        if places:
            more = f" and {len(addresses) - 20} more" if len(addresses) > 20 else ""
            lines.append(f'<p class="mono quiet">{esc(", ".join(places))}{more}</p>')
        if one.hint:
            lines.append(f'<p class="hint">{esc(one.hint)}</p>')
        lines.append("</div>")
    return [*lines, "</section>"]


def _foot(plan: Plan) -> list[str]:
    lines = []
    if plan.scanned:
        lines.append(f"Searched {'; '.join(plan.scanned)}.")
    if plan.unread:
        shown = ", ".join(plan.unread[:50])
        more = f" and {len(plan.unread) - 50} more" if len(plan.unread) > 50 else ""
        lines.append(f"Not read ({len(plan.unread)}): {shown}{more}.")
    calls = sum(plan.calls.values())
    if calls:
        lines.append(f"Read with {plural(calls, 'AWS call')}.")
    made = " · ".join(
        part for part in (f"recon {plan.recon_version}" if plan.recon_version else "", plan.created_at) if part
    )
    return [
        *(f"<p>{esc(line)}</p>" for line in lines),
        f'<p>Plan digest <span class="mono">{plan_digest(plan)}</span></p>',
        f"<p>{esc(made)}</p>" if made else "",
    ]


# --- result and error ----------------------------------------------------------------------------------------------


def result_html(result: Result) -> str:
    """The result of an apply as one page; what is not done comes first."""
    plan = result.plan
    body = ["<header>", _scope(plan), f"<h1>{esc(result_last_line(result))}</h1>"]
    facts = [f"Outcome: {result.outcome.replace('_', ' ')}", following(result)]
    body.append('<ul class="facts">' + "".join(f"<li>{esc(fact)}</li>" for fact in facts if fact) + "</ul></header>")
    body.append("<main>")
    applied = sorted(result.applied, key=lambda one: WORST_FIRST.index(one.status))
    for one in applied:
        more = "".join(f'<span class="notes">{esc(text)}</span>' for text in (one.message, one.hint) if text)
        body.append(
            f'<div class="block {one.action}"><div class="row">'
            f'<span class="status s-{one.status}">{STATUS[one.status]}</span>'
            f'<span class="sym mono">{esc(SYMBOLS[one.action])}</span><span class="name mono">{esc(one.address)}</span>'
            f"{more}</div></div>"
        )
    body += _diagnostics(fold_diagnostics(result.diagnostics), "Warnings and notes")
    body += ["</main>", "<footer>", *_foot(plan), "</footer>"]
    return page(f"apply {plan.scope or plan.stack}", body)


def error_html(error: ReconError) -> str:
    """An error with its diagnostics as one page."""
    diagnostics = fold_diagnostics(error.diagnostics)
    body = ["<header>", f"<h1>{esc(error.message)}</h1>"]
    if error.hint:
        body.append(f'<p class="scope">{esc(error.hint)}</p>')
    body += ["</header>", "<main>", *_diagnostics(diagnostics, "Errors"), "</main>"]
    return page("recon: " + error.outcome, body)
