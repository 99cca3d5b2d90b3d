"""Markdown for a comment on a pull or merge request, right on GitHub and GitLab, never above 60,000 bytes.

The first line is a hidden marker (``<!-- recon:plan STACK -->``), so that a pipeline can find its comment and update
it. Risky changes come first; what does not fit is left out from the end and counted. Counts, deletes and replaces are
never left out: if even one line each is too much, their addresses are packed together.
Source: GitHub Docs, "Create a comment" (65,536 characters); CommonMark 0.31, sections 4.5 to 4.6.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from reconciler.codes import rule_page
from reconciler.errors import ReconError
from reconciler.model import Diagnostic, Plan, Result
from reconciler.redaction import redacted
from reconciler.renderers.escape import fence, html_text, markdown_code, markdown_text, safe
from reconciler.renderers.headline import duration, plural
from reconciler.renderers.jsonform import plan_digest
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
from reconciler.renderers.values import unread_parts
from reconciler.renderers.view import Block, Mode, Row, applied_with, fold_diagnostics, shown, standing_line, view

LIMIT: Final = 60_000
"""Bytes of UTF-8, which also limits the characters."""

_VALUE: Final = 1_000
_NAME: Final = 300
_SIGN: Final = {"error": "⛔", "warning": "⚠️", "note": "ℹ️"}


def _cut(text: str, limit: int) -> str:
    text = redacted(text)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"


def _size(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _inert(text: str) -> str:
    """``text`` for HTML inside Markdown: no tag, no mention, no reference."""
    shown = re.sub(r"([@!%~]|(?<!&)#)(?=\S)", r"\1&#8203;", html_text(text))
    return shown.replace("://", ":&#8203;//")


def marker(plan: Plan, what: str) -> str:
    """The hidden first line that identifies a comment: ``<!-- recon:plan acme-mail/production -->``."""
    slug = quote(_cut(plan.scope or plan.stack, _NAME), safe="/._", errors="replace")
    # a comment must not contain "--" (HTML Living Standard, 13.1.6)
    return f"<!-- recon:{what} {slug.replace('-', '%2D') if '--' in slug else slug} -->"


@dataclass(slots=True)
class _Budget:
    """Bytes that are left."""

    left: int

    def spend(self, text: str, instead_of: str = "") -> bool:
        """Whether ``text`` fits in place of ``instead_of``; if so, its bytes are spent."""
        need = _size(text) - _size(instead_of)
        if need > self.left:
            return False
        self.left -= need
        return True


# --- plan and drift ------------------------------------------------------------------------------------------------


def plan_markdown(plan: Plan, mode: Mode = "plan") -> str:
    """The plan, or the drift, as one comment of at most ``LIMIT`` bytes."""
    seen = view(plan)
    head = _head(plan, mode)
    foot = _foot(plan)
    headings = ["\n#### Review these first\n\n", "\n#### Other changes\n\n" if seen.risky else "\n"]
    budget = _Budget(LIMIT - _size(head) - _size(foot) - sum(map(_size, headings)) - 400)

    removed = [block for block in seen.risky if block.removes]
    warned = [block for block in seen.risky if not block.removes]
    shown, packed = _removal_lines(removed, mode, budget)
    for block in warned:
        _show_line(block, mode, shown, budget)
    error_items = [item for item in seen.diagnostics if item[0].severity == "error"]
    errors = _diagnostics(error_items, min(budget.left, LIMIT // 4))
    budget.spend(errors)
    others = _diagnostics([item for item in seen.diagnostics if item not in error_items], min(budget.left, LIMIT // 5))
    others += _diagnostics(seen.standing, min(budget.left - _size(others), LIMIT // 5), standing_line(seen))
    budget.spend(others)
    for block in seen.risky:
        _show_full(block, mode, shown, budget)
    for block in seen.calm:
        _show_line(block, mode, shown, budget)
    for block in seen.calm:
        _show_full(block, mode, shown, budget)

    parts = [head, errors]
    if seen.risky:
        parts += [headings[0], packed]
        parts += [shown[id(block)] for block in (*removed, *warned) if id(block) in shown]
    calm = [shown[id(block)] for block in seen.calm if id(block) in shown]
    if calm:
        parts += [headings[1], *calm]
    parts += [_omitted(seen.blocks, shown, packed, {id(block) for block in removed}), others, foot]
    return "".join(parts)


def _removal_lines(removed: Sequence[Block], mode: Mode, budget: _Budget) -> tuple[dict[int, str], str]:
    """What is deleted or replaced: (a line for each block, by its id), or else all addresses packed together."""
    lines = {id(block): _line(block, mode) for block in removed} if _might_fit(removed) else {}
    if lines and sum(map(_size, lines.values())) <= budget.left:
        for line in lines.values():
            budget.spend(line)
        return lines, ""
    packed = _packed(removed, budget.left) if removed else ""
    budget.spend(packed)
    return {}, packed


def _omitted(blocks: Sequence[Block], shown: Mapping[int, str], packed: str, removed: Container[int]) -> str:
    """The line that counts what is left out, or says that details are; empty if the comment has everything."""
    missing = sum(block.count for block in blocks if id(block) not in shown and id(block) not in removed)
    if missing:
        return f"\n… and {plural(missing, 'more change')}, which do not fit in a comment: `recon show` lists all.\n"
    if packed or any("<details>" not in text for text in shown.values()):
        return "\nSome details do not fit in a comment: `recon show` has all of them.\n"
    return ""


def _might_fit(blocks: Sequence[Block]) -> bool:
    return sum(block.count for block in blocks) < 3_000


def _show_line(block: Block, mode: Mode, shown: dict[int, str], budget: _Budget) -> None:
    if budget.left > 60 and id(block) not in shown:
        line = _line(block, mode)
        if budget.spend(line):
            shown[id(block)] = line


def _show_full(block: Block, mode: Mode, shown: dict[int, str], budget: _Budget) -> None:
    line = shown.get(id(block))
    if line is None or budget.left < 100:
        return
    for everything in (True, False):
        full = _full(block, mode, everything=everything)
        if budget.spend(full, line):
            shown[id(block)] = full
            return


def _head(plan: Plan, mode: Mode) -> str:
    lines = [marker(plan, mode), f"### {'Drift of' if mode == 'drift' else 'Plan for'} {_scope(plan)}", ""]
    summary = last_line(plan)
    if plan.changes:
        took = f", {duration(plan.seconds)}" if plan.seconds and mode != "drift" else ""
        summary = f"{sentence(plan, mode)}{took}."
    lines += [f"**{markdown_text(summary)}**", ""]
    if plan.outcome == "refused":
        words = REFUSED.format(where="below").removeprefix("Refused:")
        lines += [f"⛔ **Refused:**{words}", ""]
    if plan.changes:
        lines.append(f"{last_line(plan)} Account {markdown_code(_cut(plan.account, _NAME))}.")
    else:
        lines += [markdown_text(why), ""] if (why := why_found(plan, mode)) else []
        lines.append(f"Account {markdown_code(_cut(plan.account, _NAME))}.")
    return "\n".join(lines) + "\n"


def _scope(plan: Plan) -> str:
    return markdown_code(_cut(plan.scope or plan.stack, _NAME))


def _title(block: Block) -> str:
    """The summary of a block, as HTML: for several changes their names, all of them where something is deleted."""
    if block.folded:
        names, more = block.named()
        listed = ", ".join(f"<code>{html_text(_cut(name, 2_000 if block.removes else _NAME))}</code>" for name in names)
        counted = f"{block.count} × <code>{html_text(_cut(block.what, _NAME))}</code>"
        return f"<code>{block.symbol}</code> {counted}: {listed}{f' and {more} more' if more else ''}"
    return f"<code>{block.symbol}</code> <code>{html_text(_cut(block.addresses[0], _NAME))}</code>"


def _aside(block: Block, mode: Mode) -> str:
    return "".join(f" · {_inert(_cut(text, _NAME))}" for text in block.asides(mode))


def _code(rule: str) -> str:
    """The id of a rule, which leads to its page where that is published."""
    shown, page = f"<code>{html_text(_cut(rule, 100))}</code>", rule_page(rule)
    return f'<a href="{html_text(page)}">{shown}</a>' if page else shown


def _notes(block: Block) -> list[str]:
    return [f"{_SIGN[note.severity]} {_inert(_cut(note.message, _VALUE))} {_code(note.rule)}" for note in block.notes]


def _line(block: Block, mode: Mode) -> str:
    """The shortest form of a block: one line, or one per address for deletes and replaces."""
    if block.removes:
        return "".join(f"- `{block.symbol}` {markdown_code(_cut(a, 2_000))}\n" for a in block.addresses)
    return f"- {_title(block)}{_aside(block, mode)}\n"


def _full(block: Block, mode: Mode, *, everything: bool) -> str:
    """A block with its notes visible and its fields collapsed."""
    summary = "<br>".join([_title(block) + _aside(block, mode), *_notes(block)])
    body: list[str] = []
    fields = [line for row in block.rows for line in _fields(row, block)]
    if fields:
        body += fence(fields)
    own = block.own_authors or any(row.first_of for row in block.rows)
    if everything and block.folded and (block.named()[1] or own):
        body += fence(_each(block))
    if not body:
        body = ["No fields to show."]
    return "\n".join(["<details><summary>" + summary + "</summary>", "", *body, "", "</details>", ""])


def _each(block: Block) -> list[str]:
    """Every address of a block, with the fields that are its own."""
    lines = []
    for address, author, rows in block.each():
        lines.append(safe(_cut(address, 2_000)) + (f"  # {safe(_cut(author, _VALUE))}" if author else ""))
        lines += [f"  {line}" for row in rows for line in _fields(row, block)]
    return lines


def _fields(row: Row, block: Block) -> list[str]:
    """One field as lines of a ``diff`` fence."""
    path = safe(_cut(row.path, _NAME))
    source = row.source
    cause = ""
    if source is not None and source.via and (block.source is None or source.via != block.source.via):
        cause = f"  # {safe(_cut(source.via, 100))}"
    if row.first_of:
        cause = f"  # first of {row.first_of}" + cause.replace("  # ", ", ")
    found = shown(row, block.action)
    lines = [(sign, _cut(line, _VALUE)) for sign, line in found.lines]
    if found.form in ("line", "document"):
        sign = "-" if block.action == "delete" else "+"
        if found.form == "line":
            return [f"{sign} {path}: {lines[0][1]}{cause}"]
        return [f"{sign} {path}:{cause}", *(f"{sign}   {line}" for _, line in lines)]
    if found.form == "pair":
        (_, old), (_, new) = lines
        removed = [] if row.before is None else [f"- {path}: {old}"]
        return removed if row.after is None and removed else [*removed, f"+ {path}: {new}{cause}"]
    item = "- " if found.form == "set" else ""
    drawn = ["    …" if sign == "…" else f"{sign}   {item}{line}" for sign, line in lines]
    return [f"  {path}:{cause}", *drawn, *([f"    ({found.kept} unchanged)"] if found.kept else [])]


def _packed(blocks: Sequence[Block], limit: int) -> str:
    """All addresses of what is deleted or replaced, in at most ``limit`` bytes, each still readable."""
    lines = [f"{block.symbol} {safe(address)}" for block in blocks for address in block.addresses]
    text = "\n".join(fence(lines)) + "\n"
    if _size(text) <= limit:
        return text
    groups: dict[tuple[str, str], list[str]] = {}
    for block in blocks:
        for address in block.addresses:
            head, slash, tail = safe(address).rpartition("/")
            if address.startswith("dns_record/"):
                # the type alone would not identify it: group by zone, and list name and type
                kind, _, rest = safe(address).partition("/")
                zone, slash, tail = rest.partition("/")
                head = f"{kind}/{zone}"
            groups.setdefault((block.symbol, head + slash), []).append(tail)
    for ending in (True, False):
        text = _packed_groups(groups, endings=ending)
        if _size(text) <= limit:
            return text
    return _counted(groups, limit)


def _counted(groups: Mapping[tuple[str, str], Sequence[str]], limit: int) -> str:
    total = sum(map(len, groups.values()))
    lines = [f"{total} addresses do not fit in a comment; `recon show` lists all of them. Their numbers:"]
    for (symbol, head), names in sorted(groups.items(), key=lambda item: -len(item[1])):
        lines.append(f"- `{symbol}` {len(names)} × {markdown_code(_cut(head, _NAME))}")
    shown: list[str] = []
    size = 200
    for line in lines:
        size += _size(line) + 1
        if size > limit:
            shown.append("- …")
            break
        shown.append(line)
    return "\n".join(shown) + "\n"


def _packed_groups(groups: dict[tuple[str, str], list[str]], *, endings: bool) -> str:
    lines: list[str] = []
    for (symbol, head), names in groups.items():
        tail = "" if endings else _common_ending(names)
        packed = " ".join(name[: len(name) - len(tail)] for name in names)
        lines += fence([f"{symbol} {len(names)} × {head}…{tail}" if tail else f"{symbol} {head}", packed], "text")
    return "\n".join(lines) + "\n"


def _common_ending(names: Sequence[str]) -> str:
    longest = min(map(len, names)) - 1
    length = next((n for n in range(longest) if len({name[-n - 1] for name in names}) > 1), max(0, longest))
    return names[0][len(names[0]) - length :] if length > 2 else ""


# --- diagnostics and footer ----------------------------------------------------------------------------------------


def _diagnostics(diagnostics: Sequence[tuple[Diagnostic, tuple[str, ...]]], limit: int, heading: str = "") -> str:
    """A list of diagnostics, closed where there is no error or a ``heading`` of its own."""
    if not diagnostics:
        return ""
    counts = {kind: sum(1 for one, _ in diagnostics if one.severity == kind) for kind in ("error", "warning", "note")}
    title = heading or ", ".join(plural(count, kind) for kind, count in counts.items() if count)
    opened = " open" if counts["error"] and not heading else ""
    start, end = f"\n<details{opened}><summary>{title}</summary>\n\n", "\n</details>\n"
    lines: list[str] = []
    left = limit - _size(start) - _size(end) - 60
    for number, (one, addresses) in enumerate(diagnostics):
        line = _diagnostic(one, addresses)
        if _size(line) > left:
            lines.append(f"- … and {len(diagnostics) - number} more\n")
            break
        left -= _size(line)
        lines.append(line)
    text = start + "".join(lines) + end
    return text if _size(text) <= limit else ""


def _diagnostic(one: Diagnostic, addresses: Sequence[str]) -> str:
    line = f"- {_SIGN[one.severity]} {markdown_text(_cut(one.message, _VALUE))}"
    if one.code:
        page = rule_page(one.code)
        line += f" [`{one.code}`]({page})" if page else f" {markdown_code(_cut(one.code, 100))}"
    if one.file:
        line += f" at {markdown_code(_cut(f'{one.file}:{one.line}' if one.line else one.file, _NAME))}"
    if addresses:
        line += " · " + ", ".join(markdown_code(_cut(address, _NAME)) for address in addresses[:3])
        line += f" and {len(addresses) - 3} more" if len(addresses) > 3 else ""
    if one.hint:
        line += f"<br>{markdown_text(_cut(one.hint, _VALUE))}"
    return line + "\n"


def _foot(plan: Plan) -> str:
    lines = []
    lines += [markdown_text(_cut(line, 1_500)) for line in applied_with(plan)]
    if plan.scanned:
        lines.append(f"Searched {markdown_text(_cut('; '.join(plan.scanned), 1_500))}.")
    if unread := unread_parts(plan.unread):
        names = markdown_text(_cut(", ".join(unread), 1_500))
        lines.append(f"Not read ({len(unread)}): {names}.")
    calls = sum(plan.calls.values())
    if calls and plan.changes:
        lines.append(f"Read with {plural(calls, 'AWS call')}.")
    if plan.write_calls and plan.changes:
        lines.append(f"Applying takes {plural(plan.write_calls, 'call')}, {duration(plan.seconds)} at AWS's rates.")
    digest = f"Plan digest `{plan_digest(plan)}`"
    version = f" · recon {markdown_text(_cut(plan.recon_version, 60))}" if plan.recon_version else ""
    made = f" · {markdown_text(_cut(plan.created_at, 60))}" if plan.created_at else ""
    return "\n" + "".join(f"<sub>{line}</sub><br>\n" for line in lines) + f"<sub>{digest}{version}{made}</sub>\n"


# --- result and error ----------------------------------------------------------------------------------------------


def result_markdown(result: Result) -> str:
    """The result of an apply, what is not done first, at most ``LIMIT`` bytes."""
    plan = result.plan
    head = [marker(plan, "apply"), f"### Apply of {_scope(plan)}: {result.outcome.replace('_', ' ')}", ""]
    head.append(f"**{markdown_text(result_last_line(result))}**")
    if words := following(result):
        head += ["", words]
    foot = f"\n<sub>Plan digest `{plan_digest(plan)}`</sub>\n"
    budget = _Budget(LIMIT - _size("\n".join(head)) - _size(foot) - 1_000)
    diagnostics = _diagnostics(fold_diagnostics(result.diagnostics), LIMIT // 4)
    budget.spend(diagnostics)
    parts = ["\n".join(head), "\n"]
    for status in WORST_FIRST:
        applied = [one for one in result.applied if one.status == status]
        if not applied:
            continue
        opened = " open" if status in ("failed", "waiting", "skipped") else ""
        parts.append(f"\n<details{opened}><summary>{len(applied)} {STATUS[status].lower()}</summary>\n\n")
        for number, one in enumerate(applied):
            line = f"- `{one.action}` {markdown_code(_cut(one.address, 2_000))}"
            if one.message:
                line += f": {markdown_text(_cut(one.message, _VALUE))}"
            if one.hint:
                line += f"<br>{markdown_text(_cut(one.hint, _VALUE))}"
            if not budget.spend(line + "\n"):
                parts.append(f"- … and {len(applied) - number} more\n")
                break
            parts.append(line + "\n")
        parts.append("\n</details>\n")
    return "".join([*parts, diagnostics, foot])


def error_markdown(error: ReconError) -> str:
    """An error with its diagnostics, at most ``LIMIT`` bytes."""
    head = f"<!-- recon:error -->\n### ⛔ {markdown_text(_cut(error.message, _VALUE))}\n"
    if error.hint:
        head += f"\n{markdown_text(_cut(error.hint, _VALUE))}\n"
    others = (one for one in error.diagnostics if one.message != error.message or one.file or one.address)
    return head + _diagnostics(fold_diagnostics(others), LIMIT - _size(head))
