r"""TXT values as Route 53 writes them: ``"first string" "second string"`` with ``\"``, ``\\`` and ``\ooo``.

DNS readers join the strings of one value (RFC 7208 section 3.3), so values are compared as the joined text. The text
is a ``str`` with one character per octet (latin-1), because TXT data is octets and need not be UTF-8.
Source: Route 53 Developer Guide "Supported DNS record types", TXT.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

MAX_STRING: Final = 255
"""Octets in one quoted string (RFC 1035 section 3.3)."""
MAX_VALUE: Final = 4000
"""Characters of one whole value, quotes and escapes included (Route 53)."""

_TOKEN = re.compile(r'"((?:[^"\\]|\\.|\\$)*)"?|(\S+)', re.DOTALL)
_ODD = re.compile(r"[^ !#-\[\]-~]")
"""What is not written as it is."""
_ESCAPE = re.compile(r"\\(?:([0-3][0-7]{2})|(.))", re.DOTALL)


class NoTxtValue(ValueError):
    """A text that no TXT value of Route 53 can hold."""


@lru_cache(maxsize=4096)
def decode(value: str) -> str:
    """The text of a presentation value: its strings unescaped and joined without a separator.

    Tolerant, because live zones hold anything: an unquoted token counts as a string, a missing last quote is
    supplied, a lone backslash is kept. Characters above 255 (Route 53 never returns them) become their UTF-8 octets.
    """
    parts: list[str] = []
    for quoted, bare in _TOKEN.findall(value):
        part = bare or quoted
        parts.append(_ESCAPE.sub(_unescaped, part) if "\\" in part else part)
    text = "".join(parts)
    if text.isascii():
        return text
    return "".join(ch if ord(ch) < 256 else ch.encode("utf-8", "surrogatepass").decode("latin-1") for ch in text)


def _unescaped(match: re.Match[str]) -> str:
    octal, char = match.groups()
    return chr(int(octal, 8)) if octal else char


def encode(text: str) -> str:
    r"""The presentation value of ``text``: strings of at most 255 octets, ``"`` and ``\`` escaped, ``\ooo`` otherwise.

    Escaped as octal are 0-31 and 127-255. The guide's list begins with 0-32, but its own examples write the space
    as it is, and so does everybody. Law: ``decode(encode(x)) == x``.
    Raises NoTxtValue for characters above 255 and for a value of more than 4000 characters.
    """
    strings = [text[start : start + MAX_STRING] for start in range(0, len(text), MAX_STRING)] or [""]
    value = " ".join(f'"{_ODD.sub(_escaped, string)}"' for string in strings)
    if len(value) > MAX_VALUE:
        raise NoTxtValue(
            f"a TXT value of {len(value)} characters does not fit: Route 53 takes {MAX_VALUE}, quotes included"
        )
    return value


def _escaped(match: re.Match[str]) -> str:
    char = match[0]
    if char in '"\\':
        return "\\" + char
    code = ord(char)
    if code > 255:
        raise NoTxtValue(f"{char!r} cannot stand in a TXT record, which holds octets; write ASCII")
    return f"\\{code:03o}"
