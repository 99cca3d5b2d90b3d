"""BIMI records: ``v=BIMI1; l=https://acme.com/logo.svg; a=https://acme.com/vmc.pem``.

They stand at ``default._bimi.<domain>``. Empty ``l`` and ``a`` are the declination to take part.
Source: draft-brand-indicators-for-message-identification (BIMI), assertion record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from reconciler.mail import tags as taglist
from reconciler.mail.tags import BadRecord
from reconciler.names import fold_domain

VERSION: Final = "BIMI1"
ORDER: Final = ("l", "a", "avp", "lps")
AVATAR_PREFERENCES: Final = ("brand", "personal")


def is_record(text: str, *, strict: bool = False) -> bool:
    """Whether a TXT text is a BIMI record; ``strict`` as receivers judge it."""
    return taglist.starts_with(text, VERSION, strict=strict)


def parse(text: str) -> dict[str, str]:
    """The tags of a record's text in order, in one spelling; ``v`` is left out where it is right. Never raises."""
    return {name: _spelled(name, value) for name, value in taglist.split(text, VERSION).items()}


def meaning(tags: Mapping[str, str]) -> dict[str, str]:
    """What a record says, without the defaults that it states (no evidence, the brand's own avatar)."""
    return {name: value for name, value in tags.items() if (name, value) not in (("a", ""), ("avp", "brand"))}


def _spelled(name: str, value: str) -> str:
    if name == "avp":
        return value.strip().lower()
    if name == "lps":
        return ",".join(part.strip().lower() for part in value.split(",") if part.strip())
    if name in ("l", "a"):
        scheme, separator, rest = value.strip().partition("://")
        host, slash, path = rest.partition("/")
        return f"{scheme.lower()}{separator}{host.lower()}{slash}{path}" if separator else value.strip()
    return value


def problems(tags: Mapping[str, str]) -> list[str]:
    """What makes receivers ignore the record, one sentence each; empty when it is sound."""
    found = taglist.form_problems(tags, VERSION)
    logo, evidence = tags.get("l"), tags.get("a", "")
    if logo is None:
        found.append("there is no l tag; write the address of the logo, or an empty one to decline")
    elif not logo and evidence:
        found.append("a is set while l is empty: a declination has both empty")
    for name, url, endings in (("l", logo, (".svg", ".svgz")), ("a", evidence, (".pem",))):
        if not url:
            continue
        path = re.split(r"[?#]", url, maxsplit=1)[0].lower()
        if not url.lower().startswith("https://"):
            found.append(f"{name}={url} must be an https: URL")
        elif problem := _url_problem(url):
            found.append(f"{name}={url} {problem}")
        elif not path.endswith(endings):
            found.append(f"{name}={url} should end in {' or '.join(endings)}")
    if "avp" in tags and tags["avp"] not in AVATAR_PREFERENCES:
        found.append(f"avp={tags['avp']} is not one of {', '.join(AVATAR_PREFERENCES)}")
    return found


def remarks(tags: Mapping[str, str]) -> list[tuple[str, str, str, str]]:
    """What receivers ignore in a record and somebody may have meant: (rule, tag, what is so, what to do) of each."""
    return [
        ("bimi-unknown-tag", name, f"{name} is no BIMI tag{taglist.closest(name, ORDER)}",
         "correct its name, or take it out: receivers ignore it")
        for name in tags if taglist.is_tag(name) and name not in ORDER
    ]  # fmt: skip


def _url_problem(url: str) -> str | None:
    """Why a URL cannot be fetched, as the rest of a sentence (RFC 3986)."""
    if not re.fullmatch(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+=-]|%[0-9A-Fa-f]{2})+", url):
        return "holds a character that a URL cannot hold; percent-encode it"
    try:
        if not fold_domain(urlsplit(url).hostname or "").count("."):
            raise ValueError
    except ValueError:
        return "names no valid host"
    return None


def from_yaml(value: str | Mapping[str, Any]) -> dict[str, str]:
    """The tags that a ``bimi:`` entry asks for: a raw record or a mapping of ``l``, ``a``, ``avp`` and ``lps``.

    ``lps`` may be a list; null leaves a tag out. Raises ValueError naming everything that is wrong.
    """
    wrong: list[str] = []
    tags: dict[str, str] = {}
    if isinstance(value, str):
        if not is_record(value, strict=True):
            raise BadRecord([f"a BIMI record begins with v={VERSION}, not with {value[:40]!r}"])
        taglist.refuse_unprintable(value.rstrip())
        tags = parse(value)
    elif isinstance(value, Mapping):
        written: dict[str, str] = {}
        for key, item in value.items():
            name = str(key).lower()
            if name == "v" and item == VERSION:
                continue
            if name not in ORDER:
                wrong.append(f"{key}: no such BIMI tag{taglist.closest(str(key), ORDER)}")
            elif item is None:
                continue
            elif name == "lps" and isinstance(item, list | tuple) and all(isinstance(part, str) for part in item):
                written[name] = _spelled(name, ",".join(item))
            elif not isinstance(item, str):
                wrong.append(f"{name}: takes a text")
            elif ";" in item:
                wrong.append(f"{name}: {item!r} holds a semicolon, which ends a tag; write it as %3B")
            elif not item.isascii():
                wrong.append(f"{name}: {item!r} is not ASCII; percent-encode it")
            else:
                written[name] = _spelled(name, item)
        tags = {name: written[name] for name in ORDER if name in written}
    else:
        raise ValueError(f"bimi is a mapping of tags or a text that begins with v={VERSION}")
    said = any(text.startswith("l: ") for text in wrong)
    wrong.extend(text for text in problems(tags) if not (said and text.startswith("there is no l tag")))
    if wrong:
        raise BadRecord(wrong)
    return tags


def to_text(tags: Mapping[str, str]) -> str:
    """``v=BIMI1; l=..; a=..``: known tags in a fixed order, then unknown ones in theirs."""
    return taglist.join(tags, VERSION, ORDER)
