"""Strings that are safe to show: every value from YAML or AWS is untrusted.

Whatever a terminal, a Markdown renderer or a browser would interpret instead of showing is made visible or inert here,
and only here. Sources: Unicode Standard, chapter 23 (format characters) and UTS #39 (confusable and bidirectional
text); CommonMark 0.31 sections 2.4, 4.5 and 6.1; GitHub Docs "Basic writing and formatting syntax" (mentions,
references) and "Workflow commands" (a runner acts on what a step prints).
"""

from __future__ import annotations

import html
import re
import unicodedata

from reconciler.masking import mask_shapes
from reconciler.redaction import redacted

# Categories that print nothing, move the cursor, or reorder text: controls, format (bidi, joiners, tags), surrogates,
# private use, unassigned, line and paragraph separators. Spaces other than U+0020 look the same: shown, too.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# What a GitHub runner treats as a command: ``::error ...::`` after only spaces, ``##[error]`` anywhere in a line;
# Azure's agent: ``##vso[task.setvariable]``.
_COMMANDS = re.compile(
    r"##(?=\w*\[)|::(?=(?:add-mask|add-matcher|add-path|debug|echo|endgroup|error|group|notice|remove-matcher|save-state"
    r"|set-env|set-output|stop-commands|warning|internal-)\b)",
    re.IGNORECASE,
)
_BACKTICKS = re.compile(r"`+")


def is_plain(text: str, *, ascii_only: bool = False) -> bool:
    """Whether every character of ``text`` prints as itself in one cell row."""
    if text.isascii():
        return text.isprintable()
    return not ascii_only and all(char == " " or unicodedata.category(char) not in _HIDDEN for char in text)


def _visible(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def safe(text: str, *, ascii_only: bool = False) -> str:
    """``text`` on one line with each control, bidirectional or invisible character as ``\\x1b``, ``\\u202e``.

    With ``ascii_only`` every non-ASCII character is escaped, too. The characters that begin a workflow command are
    written as ``\\x3a\\x3a`` and ``\\x23\\x23``.
    """
    shown = text = redacted(mask_shapes(text))
    if not is_plain(text, ascii_only=ascii_only):
        shown = "".join(char if is_plain(char, ascii_only=ascii_only) else _visible(char) for char in text)
    if "::" in shown or "##" in shown:
        shown = _COMMANDS.sub(lambda found: "".join(f"\\x{ord(char):02x}" for char in found[0]), shown)
    return shown


def quoted(text: str, *, ascii_only: bool = False) -> str:
    """``text`` in double quotes, backslash and quote escaped, so that no two values look the same."""
    return '"' + safe(text.replace("\\", "\\\\").replace('"', '\\"'), ascii_only=ascii_only) + '"'


def cells(text: str) -> int:
    """How many terminal columns ``text`` takes (UAX #11: wide and full-width characters take two)."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def wrap(text: str, width: int | None) -> list[str]:
    """Break ``text`` into pieces of at most ``width`` columns, at spaces or separators if there are any.

    Only the space at a break is lost. ``None`` or a width below 8 does not break.
    """
    text = redacted(text)
    if width is None or width < 8 or cells(text) <= width:
        return [text]
    pieces: list[str] = []
    rest = text
    while cells(rest) > width:
        used = cut = 0
        for index, char in enumerate(rest):
            used += cells(char)
            if used > width:
                cut = index
                break
        cut = max(cut, 1)
        space = rest.rfind(" ", 0, cut + 1)
        # a word moves to the next line as a whole if it fits there
        if space > cut // 2 or (space > 0 and cells(rest[space + 1 :].split(" ", 1)[0]) <= width):
            pieces.append(rest[:space])
            rest = rest[space + 1 :]
            continue
        # no space: after the last separator of a name, an ARN or a URL, if one is near
        soft = max(rest.rfind(sign, 0, cut) for sign in "/:,;=") + 1
        cut = soft if soft > cut * 2 // 3 else cut
        pieces.append(rest[:cut])
        rest = rest[cut:]
    if rest:
        pieces.append(rest)
    return pieces


def markdown_code(text: str) -> str:
    """``text`` as a Markdown code span that it cannot close (CommonMark 6.1)."""
    shown = safe(text) or " "
    longest = max((len(run) for run in _BACKTICKS.findall(shown)), default=0)
    ticks = "`" * (longest + 1)
    pad = " " if longest or shown.startswith(" ") or shown.endswith(" ") else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}"


def markdown_text(text: str) -> str:
    """``text`` as Markdown prose: no markup, no HTML, no mention, reference or link.

    Forges look for mentions and references in the rendered text, where an escaped ``@`` is an ``@`` again; a zero-width
    space after it prevents that.
    """
    shown = html.escape(safe(text), quote=False).strip(" ")
    shown = re.sub(r"([\\`*_{}\[\]|~$])", r"\\\1", shown)
    # the entity's own "&" and "#" are added after escaping; "#" of "&#…;" never comes from html.escape above
    shown = re.sub(r"([@#!%~])(?=\S)", r"\1&#8203;", shown)
    shown = shown.replace("://", ":&#8203;//")
    shown = re.sub(r"(?i)\b(www)\.", r"\1&#8203;.", shown)
    return re.sub(r"^([-+>/=#]|\d+(?=[.)](?:\s|$)))", r"\1&#8203;", shown)


def fence(lines: list[str], language: str = "diff") -> list[str]:
    """``lines`` (already ``safe``) in a fenced block that none of them can close (CommonMark 4.5)."""
    longest = max((len(run) for line in lines for run in _BACKTICKS.findall(line)), default=0)
    ticks = "`" * max(3, longest + 1)
    return [ticks + language, *lines, ticks]


def html_text(text: str) -> str:
    """``text`` for an HTML text node or a double-quoted attribute, control characters shown."""
    return html.escape(safe(text), quote=True)
