"""Tag lists (``v=DMARC1; p=none``), the form that DMARC and BIMI records share.

Source: RFC 6376 section 3.2, to which RFC 9989 and the BIMI draft refer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from reconciler.names import similar

JUNK: Final = "(unreadable)"
"""The key under which ``split`` keeps segments that are not ``name=value``, so that they stay visible in a diff."""
REPEATED: Final = " (again)"
"""Suffix of the key of a tag that occurs twice; the first one keeps its name."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
WSP: Final = " \t"
"""The white space that receivers accept around tags and values (RFC 5234)."""
_INSIDE = r"(?<![\xc2-\xf4])(?<![\xe0-\xf4][\x80-\xbf])(?<![\xf0-\xf4][\x80-\xbf]{2})"
"""Not within a character of several octets in UTF-8."""
BLANK: Final = (
    r"(?:[\x00-\x20\x7f]|\xc2[\x85\xa0\xad]|\xe2\x80[\x80-\x8f\xa8-\xaf]|\xe2\x81[\x9f\xa0]|\xe3\x80\x80|\xef\xbb\xbf"
    rf"|{_INSIDE}[\x85\xa0])"
)
"""What looks like a blank, or like nothing, where a record is edited: control characters, the blanks of Unicode and its
invisible characters, as octets. Most of it makes receivers discard the record."""
EDGE: Final = rf"(?:{BLANK}|[\"'`]|\xe2\x80[\x98-\x9f])"
"""What may stand by mistake before or after a record: the above, and quotation marks."""


class BadRecord(ValueError):
    """What is wrong with a declared record: ``problems``, one sentence each, with advice after a last semicolon."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@lru_cache(maxsize=4096)
def starts_with(text: str, version: str, *, strict: bool) -> bool:
    """Whether ``text`` begins with ``v=<version>``.

    Strict is what receivers accept: the version in its exact case, first, followed by ``;`` or the end (RFC 9989,
    Formal Definition). Otherwise case, white space and quotation marks before it, and what follows it, are forgiven:
    that finds the record that somebody meant.
    """
    if strict:
        return re.match(rf"[vV][ \t]*=[ \t]*{version}[ \t]*(?:;|\Z)", text) is not None
    return _meant(text, version) is not None


def _meant(text: str, version: str) -> re.Match[str] | None:
    return re.match(rf"{EDGE}*v{BLANK}*={BLANK}*({version}(?![A-Za-z0-9])[^;]*)", text, re.IGNORECASE)


def visible(text: str) -> str:
    r"""``text`` with what cannot be seen as ``\ooo``, as Route 53 writes it: ends that are blank, and all octets other
    than printable ASCII."""
    shown = re.sub(r"[^\x20-\x7e]", lambda found: f"\\{ord(found[0]):03o}", text)
    return re.sub(r"^ +| +$", lambda found: r"\040" * len(found[0]), shown)


def split(text: str, version: str) -> dict[str, str]:
    """Tags in order, names in lower case, values trimmed; ``v`` only where receivers do not take it for ``version``.

    Nothing is lost silently: what is no tag is kept under ``JUNK``, a repeated tag under its name plus ``REPEATED``,
    and what cannot be seen is made ``visible``, so that it differs from the value that was meant. Never raises.
    """
    tags: dict[str, str] = {}
    junk: list[str] = []
    segments = text.split(";")
    if (meant := _meant(text, version)) is not None:
        head = segments.pop(0)
        if not starts_with(head, version, strict=True):
            begins = head[:1] in ("v", "V")
            tags["v"] = visible(meant[1].rstrip(WSP) if begins else head)
    for segment in segments:
        stripped = segment.strip(WSP)
        if not stripped:
            continue
        raw_name, equals, value = stripped.partition("=")
        name = raw_name.strip(WSP).lower()
        if not equals or not _NAME.fullmatch(name):
            junk.append(visible(stripped))
            continue
        while name in tags:
            name += REPEATED
        tags[name] = visible(value.strip(WSP))
    if junk:
        tags[JUNK] = "; ".join(junk)
    return tags


def refuse_unprintable(text: str) -> None:
    """Raises ValueError for a written record with characters that a record cannot hold."""
    wrong = next((char for char in text if not " " <= char <= "~"), None)
    if wrong is not None:
        raise ValueError(f"{wrong!r} cannot stand in a record; write ASCII without tabs and line breaks")


def form_problems(tags: Mapping[str, str], version: str) -> list[str]:
    """What is wrong with the list itself: version, repeated tags, unreadable segments."""
    found: list[str] = []
    if "v" in tags:
        found.append(f"the record must begin with exactly v={version}, found v={tags['v']}: receivers ignore it")
    found.extend(
        f"the tag {name.removesuffix(REPEATED)} occurs more than once" for name in tags if name.endswith(REPEATED)
    )
    if JUNK in tags:
        found.append(f"not a tag=value pair: {tags[JUNK]}")
    return found


def is_tag(name: str) -> bool:
    """Whether a key of ``split`` is a real tag other than the version."""
    return name not in (JUNK, "v") and not name.endswith(REPEATED)


def join(tags: Mapping[str, str], version: str, order: Iterable[str]) -> str:
    """``v=<version>; a=..; b=..`` in ``order``, then the remaining real tags in theirs."""
    known = [name for name in order if name in tags]
    rest = [name for name in tags if name not in known and is_tag(name)]
    return "; ".join([f"v={version}", *(f"{name}={tags[name]}" for name in (*known, *rest))])


def closest(word: str, known: Iterable[str]) -> str:
    """``, did you mean X?`` or nothing."""
    match = similar(word.lower(), known)
    return f", did you mean {match[0]}?" if match else ""
