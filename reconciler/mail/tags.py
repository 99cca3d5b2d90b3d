"""Tag lists (``v=DMARC1; p=none``), the form that DMARC and BIMI records share.

Source: RFC 6376 section 3.2, to which RFC 9989 and the BIMI draft refer.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

JUNK: Final = "(unreadable)"
"""The key under which ``split`` keeps segments that are not ``name=value``, so that they stay visible in a diff."""
REPEATED: Final = " (again)"
"""Suffix of the key of a tag that occurs twice; the first one keeps its name."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@lru_cache(maxsize=4096)
def starts_with(text: str, version: str, *, strict: bool) -> bool:
    """Whether ``text`` begins with ``v=<version>``.

    Strict is what receivers accept: the version in its exact case, first, followed by ``;`` or the end. Otherwise
    case and leading white space are forgiven, which finds the record that somebody meant.
    """
    pattern = rf"v[ \t]*=[ \t]*{version}[ \t]*(?:;|$)"
    if strict:
        return re.match(pattern, text) is not None
    return re.match(pattern, text.strip(), re.IGNORECASE) is not None


def split(text: str, version: str) -> dict[str, str]:
    """Tags in order, names in lower case, values trimmed; ``v`` only where it is not exactly ``version``.

    Nothing is lost silently: what is no tag is kept under ``JUNK``, a repeated tag under its name plus ``REPEATED``.
    Never raises.
    """
    tags: dict[str, str] = {}
    junk: list[str] = []
    for segment in text.split(";"):
        stripped = segment.strip()
        if not stripped:
            continue
        raw_name, equals, value = stripped.partition("=")
        name = raw_name.strip().lower()
        if not equals or not _NAME.fullmatch(name):
            junk.append(stripped)
            continue
        if name == "v" and value.strip() == version and "v" not in tags:
            continue
        while name in tags:
            name += REPEATED
        tags[name] = value.strip()
    if junk:
        tags[JUNK] = "; ".join(junk)
    return tags


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
    match = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f", did you mean {match[0]}?" if match else ""
