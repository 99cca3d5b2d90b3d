"""DMARC records: ``v=DMARC1; p=reject; rua=mailto:dmarc@acme.com``.

A record is a ``dict`` of tags, names in lower case, values in one spelling; URI lists are comma-joined in order.
Source: RFC 9989 (which obsoletes RFC 7489: ``pct``, ``rf`` and ``ri`` became historic, ``np``, ``psd`` and ``t``
are new), RFC 9990 and RFC 9991 for the two kinds of report.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from reconciler.mail import tags as taglist
from reconciler.mail.tags import BadRecord
from reconciler.names import fold_domain

VERSION: Final = "DMARC1"
POLICIES: Final = ("none", "quarantine", "reject")
ENUMS: Final[Mapping[str, tuple[str, ...]]] = {
    "p": POLICIES, "sp": POLICIES, "np": POLICIES, "adkim": ("r", "s"), "aspf": ("r", "s"), "t": ("y", "n"),
    "psd": ("y", "n", "u"),
}  # fmt: skip
URI_LISTS: Final = ("rua", "ruf")
_SURE_URIS: Final = 2
HISTORIC: Final = ("pct", "rf", "ri")
ORDER: Final = ("p", "sp", "np", "adkim", "aspf", "t", "psd", "fo", "rua", "ruf", *HISTORIC)
"""Every known tag, in the order in which ``to_text`` writes them. ``p`` comes second for old readers."""

_DEFAULTS: Final = {
    "adkim": "r", "aspf": "r", "t": "n", "psd": "u", "fo": "0", "pct": "100", "rf": "afrf", "ri": "86400",
}  # fmt: skip
_FO: Final = ("0", "1", "d", "s")
_ATOM = r"(?:[A-Za-z0-9_~$&'()*+=:^`{|}-]|%[0-9A-Fa-f]{2})+"
_LOCAL_PART = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
"""What may stand before the ``@`` of a mailto: URI (RFC 6068 section 2; in DMARC ``!`` is encoded, too), and what mail
addresses hold and receivers take although a URI should encode it."""
_QUERY = re.compile(r"(?:[A-Za-z0-9._~$'()*+:@/?=&-]|%[0-9A-Fa-f]{2})*")
_SIZE = re.compile(r"![0-9]+[kmgt]?$", re.IGNORECASE)
_BOOL_WORDS: Final = {True: "y", False: "n"}


def is_record(text: str, *, strict: bool = False) -> bool:
    """Whether a TXT text is a DMARC record; ``strict`` as receivers judge it (``v=DMARC1`` first and in this case)."""
    return taglist.starts_with(text, VERSION, strict=strict)


def parse(text: str) -> dict[str, str]:
    """The tags of a record's text, in order and in one spelling. Never raises; see ``problems`` for what is wrong.

    ``v`` is left out where it is right. Names and enum values in lower case; URI lists split on commas, trimmed,
    kept in order; ``fo`` as a sorted set.
    """
    return dict(parsed(text))


@lru_cache(maxsize=16384)
def parsed(text: str) -> Mapping[str, str]:
    """``parse`` for those who only read: the same for all who ask for the same text."""
    return {name: _spelled(name, value) for name, value in taglist.split(text, VERSION).items()}


@lru_cache(maxsize=4096)
def _spelled(name: str, value: str) -> str:
    if name in ENUMS or name == "rf":
        return value.strip(taglist.WSP).lower()
    if name == "fo":
        options = {option.strip(taglist.WSP) for option in value.lower().split(":")}
        return ":".join(sorted(options - {""}))
    if name in HISTORIC:
        digits = value.strip(taglist.WSP)
        return str(int(digits)) if digits.isascii() and digits.isdigit() and len(digits) < 12 else digits
    if name in URI_LISTS:
        return ",".join(_spelled_uri(uri) for uri in uris(value))
    return value


def meaning(tags: Mapping[str, str]) -> dict[str, str]:
    """What a record says, without the defaults that it states: two records of one meaning are equal. The order of tags
    means nothing, and that of two places for reports neither: receivers must send to two, and may leave out more.
    Source: RFC 9989, DMARC Policy Record Format; RFC 7489, section 6.2 (two places), and for historic tags."""
    found = {name: value for name, value in tags.items() if _DEFAULTS.get(name) != value}
    for places in (one for one in URI_LISTS if one in found):
        listed = uris(found[places])
        found[places] = ",".join(sorted(listed) if len(listed) <= _SURE_URIS else listed)
    policy = tags.get("p")
    for name, inherited in (("np", tags.get("sp", policy)), ("sp", policy)):
        if name in found and found[name] == inherited:
            del found[name]
    return found


def levels(tags: Mapping[str, str]) -> dict[str, int]:
    """How much the record enforces for mail of the domain (``p``), of its subdomains (``sp``) and of names that do not
    exist (``np``): an index into ``POLICIES``, with defaults and ``t=y`` applied, which lowers each by one level.

    An invalid ``p``, ``sp`` or ``np`` acts as ``p=none`` (RFC 9989, DMARC Policy Discovery).
    """
    written = {"p": tags.get("p"), "sp": tags.get("sp", tags.get("p"))}
    written["np"] = tags.get("np", written["sp"])
    if not all(value in POLICIES for value in written.values()):
        return dict.fromkeys(written, 0)
    lowered = 1 if tags.get("t") == "y" else 0
    return {name: max(POLICIES.index(str(value)) - lowered, 0) for name, value in written.items()}


def uris(value: str) -> list[str]:
    """The URIs of a ``rua`` or ``ruf`` value, trimmed, in order, empty ones dropped."""
    return [uri for part in value.split(",") if (uri := part.strip(taglist.WSP))]


def _spelled_uri(uri: str) -> str:
    """Scheme and mail domain in lower case, where case means nothing; the rest as it is."""
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme.strip().lower() != "mailto":
        return uri
    local, at, domain = rest.strip().rpartition("@")
    return f"mailto:{local}@{domain.lower()}" if at else f"mailto:{rest.strip()}"


@lru_cache(maxsize=4096)
def uri_domain(uri: str) -> str | None:
    """The folded domain that a ``mailto:`` report URI sends to, or None when there is none to be found."""
    scheme, _, rest = uri.partition(":")
    if scheme.strip().lower() != "mailto":
        return None
    domain = _SIZE.sub("", rest.strip()).partition("?")[0].rpartition("@")[2]
    try:
        return fold_domain(domain)
    except ValueError:
        return None


def problems(tags: Mapping[str, str]) -> list[str]:
    """What makes receivers ignore or misread the record, one sentence each; empty when it is sound.

    An invalid ``p``, ``sp`` or ``np`` acts as ``p=none`` where a valid ``rua`` exists, else there is no DMARC at all
    (RFC 9989). Historic and unknown tags are no problem here: receivers ignore them.
    """
    found = taglist.form_problems(tags, VERSION)
    if "p" not in tags:
        found.append("there is no p tag: receivers take it for p=none, and only where rua is valid")
    for name, allowed in ENUMS.items():
        if name in tags and tags[name] not in allowed:
            found.append(f"{name}={tags[name]} is not one of {', '.join(allowed)}")
    if "fo" in tags:
        wrong = [option for option in tags["fo"].split(":") if option not in _FO]
        if wrong:
            found.append(f"fo={tags['fo']}: {' '.join(wrong) or 'an empty value'} is not one of {', '.join(_FO)}")
    if "pct" in tags and not (tags["pct"].isascii() and tags["pct"].isdigit() and int(tags["pct"][:9]) <= 100):
        found.append(f"pct={tags['pct']} is not a number from 0 to 100")
    for name in URI_LISTS:
        if name in tags:
            listed = uris(tags[name])
            if not listed:
                found.append(f"{name} is empty")
            found.extend(f"{name}: {problem}" for problem in map(_uri_problem, listed) if problem)
    return found


def _uri_problem(uri: str) -> str | None:
    scheme, colon, _ = uri.partition(":")
    if not colon:
        return f"{uri!r} is not a URI; write mailto:{uri}" if "@" in uri else f"{uri!r} is not a mailto: URI"
    if scheme.strip().lower() != "mailto":
        return f"{uri!r}: receivers send reports to mailto: URIs only"
    if " " in uri or "\t" in uri:
        return f"{uri!r} has a blank in it; write a comma between two URIs, and a blank in an address as %20"
    address, query, headers = _SIZE.sub("", uri.partition(":")[2]).partition("?")
    local, _, _ = address.rpartition("@")
    if not _LOCAL_PART.fullmatch(local) or uri_domain(uri) is None or (query and not _QUERY.fullmatch(headers)):
        return f"{uri!r} names no valid mail address; write mailto:NAME@DOMAIN, other characters as %20 (RFC 6068)"
    return None


def remarks(tags: Mapping[str, str]) -> list[tuple[str, str, str, str]]:
    """What receivers ignore in a record and somebody may have meant: (rule, tag, what is so, what to do) of each.

    Sources: RFC 9989, DMARC Policy Record Format (unknown tags are ignored; ``fo`` counts with ``ruf`` alone, and ``1``
    asks for all that ``0`` asks for).
    """
    found = []
    options = tags.get("fo", "").split(":")
    if "fo" in tags and "ruf" not in tags:
        found.append(("dmarc-fo", "fo", "fo has no effect without ruf", "take fo out, or add ruf"))
    elif {"0", "1"} <= {*options}:
        found.append(
            ("dmarc-fo", "fo", f"fo={tags['fo']}: 1 asks for all reports that 0 asks for", "take out one of both")
        )
    for name in tags:
        if taglist.is_tag(name) and name not in ORDER:
            what = f"{name} is no DMARC tag{taglist.closest(name, ORDER)}"
            found.append(("dmarc-unknown-tag", name, what, "correct its name, or take it out: receivers ignore it"))
    for name in HISTORIC:
        if name in tags:
            rule, instead = ("dmarc-pct", "; t: y asks for one level less") if name == "pct" else ("dmarc-historic", "")
            found.append((rule, name, f"{name} was removed from DMARC (RFC 9989)", f"take it out{instead}"))
    return found


def from_yaml(value: str | Mapping[str, Any]) -> dict[str, str]:
    """The tags that a ``dmarc:`` entry asks for, in the spelling of ``parse``.

    Either a raw record (``"v=DMARC1; p=none"``) or a mapping of the tags ``p sp np adkim aspf fo t psd rua ruf`` and
    the historic ``pct rf ri``; ``rua`` and ``ruf`` are a URI, a comma list or a list; ``fo`` also a list; null leaves
    a tag out. Enum values in any case.
    Raises ValueError naming everything that is wrong.
    """
    # Thousands of domains ask for the same few records; what is wrong is looked at again each time.
    text = repr(value)
    known = _READ.get(text)
    if known is None:
        known = _from_yaml(value)
        if len(_READ) < 16384:
            _READ[text] = known
    return dict(known)


_READ: Final[dict[str, Mapping[str, str]]] = {}


def _from_yaml(value: str | Mapping[str, Any]) -> dict[str, str]:
    if isinstance(value, str):
        if not is_record(value, strict=True):
            raise BadRecord([f"a DMARC record begins with v={VERSION}, not with {value[:40]!r}"])
        taglist.refuse_unprintable(value.rstrip())
        tags = parse(value)
        wrong: list[str] = []
    elif isinstance(value, Mapping):
        tags, wrong = _from_mapping(value)
    else:
        raise ValueError(f"dmarc is a mapping of tags or a text that begins with v={VERSION}")
    if "p" not in tags and not any(text.startswith("p:") for text in wrong):
        wrong.append(f"p is missing; write p: {', '.join(POLICIES[:-1])} or {POLICIES[-1]}")
    wrong.extend(text for text in problems(tags) if not text.startswith("there is no p tag"))
    if wrong:
        raise BadRecord(wrong)
    return tags


def _from_mapping(value: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    written: dict[str, str] = {}
    wrong: list[str] = []
    for key, item in value.items():
        name = str(key).lower()
        if name == "v":
            if item != VERSION:
                wrong.append(f"v: must be {VERSION}, and need not be written")
            continue
        if name not in ORDER:
            wrong.append(f"{key}: no such DMARC tag{taglist.closest(str(key), ORDER)}")
            continue
        if item is None:
            continue
        try:
            written[name] = _spelled(name, _scalar(name, item))
        except ValueError as error:
            wrong.append(f"{name}: {error}")
    return {name: written[name] for name in ORDER if name in written}, wrong


def _scalar(name: str, item: Any) -> str:
    """One YAML value as the text of its tag. Raises ValueError."""
    if isinstance(item, bool):
        if name in ("t", "psd"):
            return _BOOL_WORDS[item]
        raise ValueError(f"{str(item).lower()} is not a value of this tag; quote it if a word was meant")
    if isinstance(item, int):
        if name in (*HISTORIC, "fo"):
            return str(item)
        raise ValueError(f"{item} is a number; this tag takes a word")
    if isinstance(item, list | tuple):
        if name not in (*URI_LISTS, "fo"):
            raise ValueError("takes one value, not a list")
        if not all(isinstance(part, str | int) and not isinstance(part, bool) for part in item):
            raise ValueError("every item of the list must be a text")
        return (":" if name == "fo" else ",").join(_uri_ascii(name, str(part)) for part in item)
    if not isinstance(item, str):
        raise ValueError("takes a text")
    if name in URI_LISTS:
        return ",".join(_uri_ascii(name, uri) for uri in uris(item)) or item
    if ";" in item:
        raise ValueError(f"{item!r} holds a semicolon, which ends a tag")
    return item


def _uri_ascii(name: str, text: str) -> str:
    """A URI with its mail domain in A-labels. Raises ValueError for what cannot stand in a record."""
    if name not in URI_LISTS:
        return text
    if ";" in text:
        raise ValueError(f"{text!r}: write a semicolon inside a URI as %3B (RFC 3986), since it ends the tag")
    if text.isascii():
        return text
    local, at, domain = text.rpartition("@")
    if not at or not local.isascii():
        raise ValueError(f"{text!r} is not ASCII; percent-encode it")
    return f"{local}@{fold_domain(domain)}"


def to_text(tags: Mapping[str, str]) -> str:
    """``v=DMARC1; p=..; ...``: known tags in a fixed order, then unknown ones in theirs.

    What ``parse`` could not read is left out. Law: ``parse(to_text(tags)) == tags`` up to order for what
    ``from_yaml`` returns.
    """
    return taglist.join(tags, VERSION, ORDER)
