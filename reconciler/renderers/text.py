"""Plans, results and errors for the terminal.

Lines are built from (style, text) pieces, so that colour never changes the text, and no meaning depends on colour
alone. Nothing is trusted: all text passes ``safe``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from reconciler.errors import ReconError
from reconciler.model import ACTIONS, SYMBOLS, Applied, Diagnostic, Plan, Result
from reconciler.renderers.escape import cells, safe, wrap
from reconciler.renderers.headline import duration, headline, plural
from reconciler.renderers.values import Placeholder, one_line, unread_parts
from reconciler.renderers.view import (
    Block,
    Mode,
    Row,
    View,
    applied_with,
    first_few,
    fold_diagnostics,
    shown,
    standing_line,
    view,
)

Piece = tuple[str, str]
Line = list[Piece]

_ANSI: Final = {
    "": "", "bold": "1", "dim": "2", "create": "32", "adopt": "36", "update": "33", "replace": "35", "delete": "31",
    "warning": "33", "error": "1;31", "note": "36", "old": "31", "new": "32", "good": "32", "head": "1",
}  # fmt: skip
_KEY_COLUMN: Final = 40
_INLINE: Final = 76
_CAUSE_COLUMN: Final = 36
_MANY_DONE: Final = 8


REFUSED: Final = (
    "Refused: apply writes nothing until the errors {where} are fixed; with --skip-refused it applies the rest."
)


@dataclass(frozen=True, slots=True)
class Style:
    """How to draw: colour, columns (``None``: unlimited), characters, detail, and whether to show findings that only
    stand."""

    color: bool = False
    width: int | None = None
    unicode: bool = True
    verbose: int = 0
    findings: bool = False

    @property
    def arrow(self) -> str:
        return "→" if self.unicode else "->"

    @property
    def dots(self) -> str:
        return "…" if self.unicode else "..."

    @property
    def times(self) -> str:
        return "×" if self.unicode else "x"

    def safe(self, text: str) -> str:
        return safe(text, ascii_only=not self.unicode)

    def value(self, value: object) -> str:
        return one_line(value, ascii_only=not self.unicode)

    def left(self, used: int) -> int | None:
        """Columns left of the width after ``used``, at least 12."""
        return None if self.width is None else max(12, self.width - used)


def draw(lines: Iterable[Line], style: Style) -> str:
    """The lines as one text that ends in a newline, without trailing spaces."""
    drawn = []
    for line in lines:
        pieces = [(style, text) for style, text in line if text]
        while pieces and not pieces[-1][1].rstrip(" "):
            pieces.pop()
        if pieces:
            pieces[-1] = (pieces[-1][0], pieces[-1][1].rstrip(" "))
        if style.color:
            drawn.append(
                "".join(f"\x1b[{_ANSI[style]}m{text}\x1b[0m" if _ANSI[style] else text for style, text in pieces)
            )
        else:
            drawn.append("".join(text for _, text in pieces))
    return "\n".join(drawn) + "\n"


# --- plan and drift ------------------------------------------------------------------------------------------------


def plan_lines(plan: Plan, style: Style, mode: Mode = "plan") -> list[Line]:
    """A plan, or with ``mode="drift"`` the difference between AWS and the declared state, as lines."""
    seen = view(plan)
    lines: list[Line] = []
    if plan.changes:
        lines += _headline(plan, style, mode)
        lines.append([])
        for block in seen.blocks:
            lines += _block(block, style, mode)
            lines.append([])
    diagnostics = _diagnostics(seen.diagnostics, style)
    lines += diagnostics
    lines += _standing(seen, style)
    lines += _footer(plan, style, mode)
    return lines


def _standing(seen: View, style: Style) -> list[Line]:
    """What only stands: one line, or each of it."""
    line = standing_line(seen)
    if not line:
        return []
    if not (style.verbose or style.findings):
        return [[("dim", f"{line}; -v or --findings shows {'it' if line.startswith('1 ') else 'them'}.")], []]
    return [
        [("bold", f"{line}. This plan neither causes nor fixes them; `recon rule ID` explains one:")],
        [],
        *_diagnostics(seen.standing, style),
    ]


def _headline(plan: Plan, style: Style, mode: Mode) -> list[Line]:
    scope = style.safe(plan.scope or plan.stack)
    lead = f"{scope}: " if scope else ""
    lines: list[Line] = []
    for number, piece in enumerate(wrap(lead + style.safe(sentence(plan, mode)) + ".", style.width)):
        if number == 0 and piece.startswith(lead):
            lines.append([("dim", lead), ("head", piece[len(lead) :])])
        else:
            lines.append([("head", piece)])
    if mode == "drift":
        lines.append([("dim", f"live {style.arrow} declared")])
    return lines


def _block(block: Block, style: Style, mode: Mode) -> list[Line]:
    symbol = f"{block.symbol:>3} "
    title = f"{block.count} {style.times} {style.safe(block.what)}" if block.folded else style.safe(block.addresses[0])
    first: Line = [(block.action, symbol), ("bold", title)]
    lines = [first]
    used = cells(symbol + title)
    if aside := "  ".join(map(style.safe, block.asides(mode))):
        if style.width is None or used + 2 + cells(aside) <= style.width:
            first.append(("dim", "  " + aside))
        else:
            lines += [[("dim", "      " + piece)] for piece in wrap(aside, style.left(6))]
    if block.folded:
        lines += _each(block, style) if style.verbose else _named(block, style)
    rows = _without_own_tags(block, style)
    lines += _rows([row for row in rows if not (style.verbose and row.first_of)], block, style)
    for note in block.notes:
        lines += _note(note.severity, note.message, note.rule, style)
    if style.verbose and block.changes[0].depends_on and not block.folded:
        needs = ", ".join(map(style.safe, block.changes[0].depends_on))
        lines += [[("dim", "      " + piece)] for piece in wrap(f"after {needs}", style.left(6))]
    return lines


def _named(block: Block, style: Style) -> list[Line]:
    names, more = block.named()
    lines: list[Line] = [[("", "      "), ("dim", style.safe(address))] for address in names]
    return [*lines, [("dim", f"      {style.dots} and {more} more (-v lists all)")]] if more else lines


def _each(block: Block, style: Style) -> list[Line]:
    """Every address of a folded block, with the fields and the author that are its own."""
    lines: list[Line] = []
    for address, author, rows in block.each():
        lines.append([("", "      "), ("dim", style.safe(address))])
        lines += [[("dim", "        " + piece)] for piece in wrap(style.safe(author), style.left(8)) if piece]
        lines += [[("", "  "), *line] for line in _rows(rows, block, style)]
    return lines


def _without_own_tags(block: Block, style: Style) -> Sequence[Row]:
    """The rows, with the tags in which recon stores ownership joined into one row if there are several."""
    shown = ("tags.recon:stack", "tags.recon:protect") if block.action == "adopt" else ("tags.recon:protect",)
    own = [row for row in block.rows if row.path.startswith("tags.recon:") and row.path not in shown]
    if style.verbose or len(own) < 2 or len(own) == len(block.rows):
        return block.rows
    count = Placeholder(f"({len(own)} tags for recon itself, -v lists them)")
    return [*(row for row in block.rows if row not in own), Row("tags.recon:*", count, count, "value")]


def _note(severity: str, message: str, rule: str, style: Style) -> list[Line]:
    sign = {"error": "! error: ", "warning": "! "}.get(severity, "· " if style.unicode else "* ")
    wrapped = wrap(style.safe(message), style.left(6 + len(sign)))
    lines = _hanging((severity, sign), wrapped, "dim" if severity == "note" else "")
    return _tagged([[("", "      "), *line] for line in lines], rule, 6 + len(sign), style)


def _hanging(lead: Piece, wrapped: Sequence[str], tone: str = "") -> list[Line]:
    """Wrapped text after ``lead``, each further line below the first."""
    blank = (lead[0], " " * len(lead[1]))
    return [[blank if number else lead, (tone, piece)] for number, piece in enumerate(wrapped)]


def _signed(sign: str, tone: str, wrapped: Sequence[str]) -> list[Line]:
    """Wrapped text after a sign of one character, all in one style."""
    return [[(tone, f"{' ' if number else sign} {piece}")] for number, piece in enumerate(wrapped)]


def _tagged(lines: list[Line], tag: str, indent: int, style: Style) -> list[Line]:
    """``lines`` with ``[tag]`` at the end of the last one, or below it if it is too long."""
    if not tag:
        return lines
    shown = f"[{style.safe(tag)}]"
    if style.width is None or _length(lines[-1]) + 2 + cells(shown) <= style.width:
        lines[-1].append(("dim", f"  {shown}"))
    else:
        lines.append([("dim", " " * indent + shown)])
    return lines


def _rows(rows: Sequence[Row], block: Block, style: Style) -> list[Line]:
    if not rows:
        return []
    limit = _KEY_COLUMN if style.width is None else max(12, min(_KEY_COLUMN, style.width // 2))
    widths = [cells(style.safe(row.path)) for row in rows]
    column = max((width for width in widths if width <= limit), default=limit)
    drawn: list[tuple[Row, int, list[Line]]] = [
        (row, width, _value_lines(row, block, style, style.left(6 + max(column, 12) + 2)))
        for row, width in zip(rows, widths, strict=True)
    ]
    # causes of single fields are in their own column, if the values are short enough
    lengths = [(_length(values[0]), cells(_own_cause(row, block, style))) for row, _, values in drawn]
    limit = _CAUSE_COLUMN
    if style.width is not None:
        limit = min(limit, style.width - 6 - column - 4 - max((cause for _, cause in lengths), default=0))
    aside = max((length for length, cause in lengths if cause and length <= limit), default=0)
    lines: list[Line] = []
    for row, width, values in drawn:
        key = style.safe(row.path)
        indent = 6 + column + 2
        if width > column and (len(values) > 1 or (style.width and 8 + width + _length(values[0]) > style.width)):
            # a long key is on its own line
            lines.append([("", "      "), ("", key)])
            first: Line = [("", " " * indent), *values[0]]
        else:
            first = [("", "      " + key + " " * max(0, column - width) + "  "), *values[0]]
        cause = _own_cause(row, block, style)
        rest = [[("", " " * indent), *value] for value in values[1:]]
        if cause:
            gap = " " * (2 + max(0, indent + aside - _length(first)))
            if style.width is None or _length(first) + cells(gap + cause) <= style.width:
                first.append(("dim", gap + cause))
            else:
                rest.append([("dim", " " * indent + cause)])
        lines += [first, *rest]
    return lines


def _length(line: Line) -> int:
    return sum(cells(text) for _, text in line)


def _own_cause(row: Row, block: Block, style: Style) -> str:
    """That a value is only that of the first change; the origin of this field, if it is in another layer or file than
    the block's."""
    first = f"(first of {row.first_of})" if row.first_of else ""
    return " ".join(text for text in (first, _origin(row, block, style)) if text)


def _origin(row: Row, block: Block, style: Style) -> str:
    source, whole = row.source, block.source or block.changes[0].source
    if source is None or source == whole:
        return ""
    if style.verbose:
        return style.safe(str(source))
    if whole is None or source.via != whole.via:
        return f"({style.safe(source.via)})" if source.via else style.safe(str(source))
    return style.safe(str(source)) if source.file != whole.file else ""


def _value_lines(row: Row, block: Block, style: Style, width: int | None) -> list[Line]:
    found = shown(row, block.action, ascii_only=not style.unicode)
    below = width and width - 2
    tones = {"-": "old", "+": "new"}
    match found.form:
        case "line":
            return [[("", piece)] for piece in wrap(found.lines[0][1], width)]
        case "document":
            return [[("", piece)] for _, line in found.lines for piece in _wrap_indented(line, width)]
        case "diff":
            lines: list[Line] = []
            for sign, text in found.lines:
                signed = _signed(sign, tones.get(sign, ""), _wrap_indented(text, below))
                lines += [[("dim", style.dots)]] if sign == "…" else signed
            return lines or [[("", style.value(row.after))]]
        case "pair":
            (_, old), (_, new) = found.lines
            arrow = f" {style.arrow} "
            if cells(old + arrow + new) <= min(width or _INLINE, _INLINE):
                sides = ("dim" if row.before is None else "old", "dim" if row.after is None else "new")
                return [[(sides[0], old), ("dim", arrow), (sides[1], new)]]
    signed_lines = sorted(found.lines, key=lambda line: line[0]) if found.form == "set" else found.lines
    lines = [line for sign, text in signed_lines for line in _signed(sign, tones[sign], wrap(text, below))]
    return [*lines, [("dim", f"  ({found.kept} unchanged)")]] if found.kept else lines


def _wrap_indented(line: str, width: int | None) -> list[str]:
    indent = line[: len(line) - len(line.lstrip(" "))]
    if width is None or cells(line) <= width:
        return [line]
    pieces = wrap(line[len(indent) :], max(14, width - len(indent) - 2))
    return [indent + ("" if number == 0 else "  ") + piece for number, piece in enumerate(pieces)]


def _footer(plan: Plan, style: Style, mode: Mode) -> list[Line]:
    lines: list[Line] = []

    def small(text: str) -> None:
        lines.extend([("dim", piece)] for piece in wrap(text, style.width))

    for line in applied_with(plan):
        small(style.safe(line))
    if plan.scanned:
        small("Searched " + "; ".join(style.safe(one) for one in plan.scanned) + ".")
    if unread := unread_parts(plan.unread):
        shown = unread if style.verbose else unread[:5]
        more = f", {style.dots} {len(unread) - len(shown)} more" if len(shown) < len(unread) else ""
        small(f"Not read: {', '.join(style.safe(one) for one in shown)}{more}.")
    if plan.outcome == "refused":
        lines.append([("error", REFUSED.format(where="above"))])
    if plan.changes:
        calls = []
        reads = sum(plan.calls.values())
        if reads:
            calls.append(f"Read with {plural(reads, 'AWS call')}.")
        if plan.write_calls:
            calls.append(
                f"Applying takes {plural(plan.write_calls, 'call')}, {duration(plan.seconds)} at AWS's rates."
                if plan.seconds
                else f"Applying takes {plural(plan.write_calls, 'call')}."
            )
        if calls:
            small(" ".join(calls))
    if why := why_found(plan, mode):
        lines += [[("warning", piece)] for piece in wrap(why, style.width)]
    lines.append([("bold", last_line(plan))])
    return lines


def sentence(plan: Plan, mode: Mode) -> str:
    """The summary of a plan or drift with changes, without a full stop."""
    if mode == "drift":
        return plural(len(plan.changes), "difference") + " between AWS and the declared state"
    return headline(plan)


def why_found(plan: Plan, mode: Mode) -> str:
    """Why a drift without a change exits 2, in one line; empty where it does not."""
    if mode != "drift" or plan.changes:
        return ""
    counts = Counter(code for code, _ in {(one.code, one.address) for one in plan.findings})
    said = []
    for code, (one, several) in _FOUND.items():
        if count := counts[code]:
            said.append(one if count == 1 else several.format(count))
    return f"Drift exits with 2: {'; '.join(said)}." if said else ""


_FOUND: Final = {
    "account-paused": (
        "AWS has put the account on probation or shut it down in one region",
        "AWS has put the account on probation or shut it down in {} regions",
    ),
    "consumer-unacknowledged": (
        "1 old access key is held for a consumer that nobody has acknowledged",
        "{} old access keys are held for consumers that nobody has acknowledged",
    ),
    "public-dns": (
        "1 record is missing or wrong in public DNS", "{} records are missing or wrong in public DNS",
    ),
}  # fmt: skip
"""For each code of ``FINDINGS``: what one finding means, and what several do."""


def last_line(plan: Plan) -> str:
    """The line that scripts read: ``Plan: 3 to create, …``, ``No changes.``, or what a bulk read did not read."""
    if plan.changes or plan.outcome == "refused":
        *actions, (_, refused) = plan.summary.items()
        words = ", ".join(f"{count} to {action}" for action, count in actions)
        return f"Plan: {words}{f', {refused} refused' if refused else ''}."
    if plan.unread:
        return f"No changes in what was read; {len(plan.unread)} attributes unread."
    return "No changes."


# --- diagnostics and errors ----------------------------------------------------------------------------------------


def _diagnostics(diagnostics: Sequence[tuple[Diagnostic, tuple[str, ...]]], style: Style) -> list[Line]:
    """Each diagnostic and an empty line; those of one code that take one line each are listed without."""
    lines: list[Line] = []
    last = ""
    for one, addresses in diagnostics:
        drawn = _diagnostic(one, addresses, style)
        short = one.code if len(drawn) == 1 else ""
        if short and short == last:
            lines.pop()
        lines += [*drawn, []]
        last = short
    return lines


def _diagnostic(one: Diagnostic, addresses: Sequence[str], style: Style) -> list[Line]:
    lead = f"{one.severity}: "
    lines = _hanging((one.severity, lead), wrap(style.safe(one.message), style.left(len(lead))))
    if one.code and one.code != "error":
        lines = _tagged(lines, one.code, 2, style)
    if one.file:
        lines.append([("dim", "  at       "), ("", style.safe(_where(one)))])
    if addresses:
        few = addresses if style.verbose else first_few(addresses)
        lines += _hanging(("dim", "  address  "), [style.safe(address) for address in few])
        if len(few) < len(addresses):
            lines.append([("dim", f"           {style.dots} and {len(addresses) - len(few)} more (-v lists all)")])
    if one.hint:
        lines += _hanging(("dim", "  hint:    "), wrap(style.safe(one.hint), style.left(11)))
    return lines


def _where(one: Diagnostic) -> str:
    return ":".join([one.file, *(str(number) for number in (one.line, one.line and one.column) if number)])


def error_lines(error: ReconError, style: Style) -> list[Line]:
    """An error for the terminal: each diagnostic with file and line, then what to do."""
    diagnostics = fold_diagnostics(error.diagnostics)
    if all(one.message != error.message for one, _ in diagnostics):
        # several diagnostics with one summary: the summary comes last, next to the prompt
        summary = Diagnostic("error", "error", error.message, error.hint)
        return [*_diagnostics(diagnostics, style), *_diagnostic(summary, (), style)]
    lines: list[Line] = []
    for number, (one, addresses) in enumerate(diagnostics):
        if number:
            lines.append([])
        hint = one.hint or (error.hint if one.message == error.message else "")
        lines += _diagnostic(
            Diagnostic(one.severity, one.code, one.message, hint, one.file, one.line, one.column), addresses, style
        )
    return lines


def diagnostic_lines(diagnostics: Iterable[Diagnostic], style: Style) -> list[Line]:
    """Diagnostics, errors first, separated by empty lines."""
    return _diagnostics(fold_diagnostics(diagnostics), style)[:-1]


# --- result --------------------------------------------------------------------------------------------------------

STATUS: Final = {
    "done": "done", "failed": "FAILED", "waiting": "waiting", "not_started": "not started", "skipped": "skipped",
}  # fmt: skip
_STATUS_STYLE: Final = {
    "done": "good", "failed": "error", "waiting": "warning", "not_started": "dim", "skipped": "error",
}  # fmt: skip
_PAST: Final = {action: action.rstrip("e") + "ed" for action in ACTIONS}
NEXT: Final = {
    "partial": "Applying again is safe: it plans again, and does what is left.",
    "verify_timeout": "SES is still verifying. Applying again is safe: it waits again, and does what is left.",
    "not_started": "Nothing was written. Applying again is safe.",
    "refused": "Nothing was written: everything is refused, or needs what is refused.",
}
WORST_FIRST: Final = ("failed", "waiting", "not_started", "skipped", "done")
"""The statuses of changes, in the order in which a page shows them."""


def following(result: Result) -> str:
    """What to do after an apply; empty where there is nothing to say."""
    if result.outcome == "partial" and {one.status for one in result.applied} == {"done", "skipped"}:
        return "What was skipped is refused, or needs what is refused: fix that, then apply again."
    return NEXT.get(result.outcome, "")


def result_lines(result: Result, style: Style) -> list[Line]:
    """The result of an apply: one line per change, what to do next, the counts last."""
    lines: list[Line] = []
    counts = {status: sum(1 for one in result.applied if one.status == status) for status in STATUS}
    scope = style.safe(result.plan.scope or result.plan.stack)
    clean = result.outcome in ("applied", "no_changes")
    if result.applied:
        parts = [f"{counts[status]} {STATUS[status].lower()}" for status in STATUS if counts[status]]
        title = result.outcome.replace("_", " ")
        lines.append([
            ("dim", f"{scope}: " if scope else ""),
            ("good" if clean else "error", title),
            ("", f" ({', '.join(parts)})" if not clean else ""),
        ])  # fmt: skip
        lines.append([])
        lines += _applied_lines(result.applied, style)
        lines.append([])
    lines += _diagnostics(fold_diagnostics(result.diagnostics), style)
    lines += [[("", piece)] for piece in wrap(following(result), style.width) if piece]
    calls = sum(result.calls.values())
    if calls:
        lines.append([("dim", f"{plural(calls, 'AWS call')} in {_took(result.seconds)}.")])
    lines.append([("bold", result_last_line(result))])
    return lines


def _took(seconds: float) -> str:
    if seconds < 1:
        return "less than a second"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _applied_lines(applied: Sequence[Applied], style: Style) -> list[Line]:
    """One line per change; many successful ones of a kind and action share one line, unless verbose."""
    counts: Counter[tuple[str, str]] = Counter(
        (one.action, one.address.partition("/")[0]) for one in applied if one.status == "done" and not one.message
    )
    lines: list[Line] = []
    shown: set[tuple[str, str]] = set()
    for one in applied:
        key = (one.action, one.address.partition("/")[0])
        removed = one.action in ("delete", "replace")  # always by name
        if style.verbose or removed or one.status != "done" or one.message or counts[key] < _MANY_DONE:
            lines += _applied(one, style)
        elif key not in shown:
            shown.add(key)
            lines += _applied(Applied(f"{counts[key]} {style.times} {key[1]}", one.action, "done"), style)
    return lines


def _applied(one: Applied, style: Style) -> list[Line]:
    lines: list[Line] = [[
        (_STATUS_STYLE[one.status], f"  {STATUS[one.status]:<12}"),
        (one.action, f"{SYMBOLS[one.action]:>3} "),
        ("" if one.status != "not_started" else "dim", style.safe(one.address)),
    ]]  # fmt: skip
    for label, text in (("", one.message), ("hint: ", one.hint)):
        if text:
            lead = " " * 18 + label
            lines += _hanging(("dim", lead), wrap(style.safe(text), style.left(len(lead))))
    return lines


def result_last_line(result: Result) -> str:
    """``Applied: 3 created, …`` for what is done; then the counts of what is not."""
    if not result.applied and result.outcome == "no_changes":
        return last_line(result.plan)
    done = [one for one in result.applied if one.status == "done"]
    line = "Applied: " + ", ".join(f"{sum(1 for o in done if o.action == a)} {_PAST[a]}" for a in ACTIONS)
    left = [
        f"{count} {STATUS[status].lower()}"
        for status in ("failed", "waiting", "not_started", "skipped")
        if (count := sum(1 for one in result.applied if one.status == status))
    ]
    return f"{line}{'; ' + ', '.join(left) if left else ''}."
