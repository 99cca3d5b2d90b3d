"""Domain names, mail addresses and Route 53 spellings, each in the one form that is compared.

Pure functions, no DNS. Everything that enters from YAML or AWS passes through here, so that case, final dots, IDNA
and octal escapes never look like a difference.
Sources: RFC 1035 section 2.3.4 (sizes), RFC 5890-5893 (IDNA 2008), UTS #46 (mapping), RFC 5321 section 4.1.2
(addresses), Route 53 Developer Guide "DNS domain name format".
"""

from __future__ import annotations

import difflib
import heapq
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

MAX_LABEL: Final = 63
MAX_NAME: Final = 253
MAX_LOCAL_PART: Final = 64
MAX_ADDRESS: Final = 254

_PLAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""The form of nearly every domain name: labels as they should be, the last one with a letter first."""
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_RECORD_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
_DOT_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_QUOTED_LOCAL = re.compile(r'"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*"')
_OCTAL = re.compile(r"\\([0-3][0-7]{2})")


def fold_domain(text: str, *, record: bool = False) -> str:
    """The comparable form of a domain name: lower case, no final dot, A-labels (``xn--``) for what is not ASCII.

    With ``record=True`` it may be any DNS owner name: labels may hold underscores (``_dmarc.acme.com``), the first
    may be ``*``, and a single label will do. Otherwise it must be a name that can be a mail domain: at least two
    labels, not an IP address. ASCII labels are taken as they are, so a live ``xn--`` name always passes.

    Raises ValueError with the reason in plain words.
    Source: RFC 1035 section 2.3.4, RFC 5891, UTS #46 non-transitional.
    """
    if len(text) <= MAX_NAME and _PLAIN.fullmatch(text):
        return text
    shown = repr(text if len(text) <= 80 else text[:77] + "...")
    if len(text) > 4 * MAX_NAME:
        raise ValueError(f"{shown} is too long for a domain name: {MAX_NAME} characters at most")
    if text != text.strip():
        raise ValueError(f"{shown} has white space around it")
    name = text.lower() if text.isascii() else _to_ascii(text, shown)
    name = name.removesuffix(".")
    if not name:
        raise ValueError("a domain name must not be empty")
    if "@" in name:
        raise ValueError(f"{shown} is a mail address, not a domain name: write only the part after the @")
    if "/" in name or ":" in name:
        raise ValueError(f"{shown} is a URL or path, not a domain name: write only the host name, such as acme.com")
    if len(name) > MAX_NAME:
        raise ValueError(f"{shown} is {len(name)} characters long; a domain name has {MAX_NAME} at most")
    labels = name.split(".")
    pattern = _RECORD_LABEL if record else _LABEL
    for index, label in enumerate(labels):
        if record and index == 0 and label == "*":
            continue
        if not label:
            raise ValueError(f"{shown} has an empty label: two dots in a row, or one at the start")
        if len(label) > MAX_LABEL:
            raise ValueError(f"the label {label!r} in {shown} has {len(label)} characters; {MAX_LABEL} at most")
        if not pattern.fullmatch(label):
            raise ValueError(_why_not(label, shown, record))
    if not record:
        if len(labels) < 2:
            raise ValueError(f"{shown} is a single label; a mail domain has at least two, such as {name}.com")
        if labels[-1].isdigit():
            raise ValueError(f"{shown} looks like an IP address, not a domain name")
    return name


def _to_ascii(text: str, shown: str) -> str:
    """``text`` mapped by UTS #46, each label that is not ASCII as an A-label. Raises ValueError."""
    import idna  # only names outside ASCII pay for its tables

    try:
        mapped = idna.uts46_remap(text, std3_rules=False, transitional=False)
        return ".".join(
            label if label.isascii() else idna.alabel(label).decode("ascii") for label in mapped.split(".")
        ).lower()
    except (idna.IDNAError, UnicodeError) as error:
        raise ValueError(
            f"{shown} is not a valid international domain name (IDNA 2008): {error}; "
            "if it is registered all the same, write its xn-- form"
        ) from None


def _why_not(label: str, shown: str, record: bool) -> str:
    if label == "*" and not record:
        return f"{shown} is a wildcard; write a domain name"
    if label.startswith("-") or label.endswith("-"):
        return f"the label {label!r} in {shown} begins or ends with a hyphen"
    if "_" in label and not record:
        return f"the label {label!r} in {shown} has an underscore; a mail domain has letters, digits and hyphens"
    bad = sorted({ch for ch in label if not (ch.isascii() and (ch.isalnum() or ch in "-_"))})
    return f"the label {label!r} in {shown} has characters a domain name cannot have: {' '.join(map(repr, bad))}"


def fold_address(text: str) -> str:
    """The comparable form of a mail address: its domain folded, its local part as it is.

    SES compares addresses with their case ("Creating and verifying identities"), and the local part belongs to the
    receiver (RFC 5321 section 2.4), so only the domain is folded. SES takes 7-bit local parts only.
    Raises ValueError with the reason in plain words.
    """
    local, at, domain = text.rpartition("@")
    shown = repr(text if len(text) <= 80 else text[:77] + "...")
    if not at:
        raise ValueError(f"{shown} is not a mail address: there is no @")
    if "<" in text or ">" in text:
        raise ValueError(f"{shown} carries a display name or angle brackets; write the address alone")
    if not local:
        raise ValueError(f"{shown} has nothing before the @")
    if not local.isascii():
        raise ValueError(f"{shown}: SES takes only ASCII characters before the @")
    if len(local) > MAX_LOCAL_PART:
        raise ValueError(f"{shown} has {len(local)} characters before the @; {MAX_LOCAL_PART} at most")
    if not (_DOT_ATOM.fullmatch(local) or _QUOTED_LOCAL.fullmatch(local)):
        raise ValueError(f"{shown} is not a mail address: {local!r} cannot stand before the @")
    folded = f"{local}@{fold_domain(domain)}"
    if len(folded) > MAX_ADDRESS:
        raise ValueError(f"{shown} is {len(folded)} characters long; a mail address has {MAX_ADDRESS} at most")
    return folded


def fold_wildcard(text: str) -> str:
    """``fold_domain``, also for a wildcard (``*.acme.com``): an owner of DNS records that is no mail domain."""
    return f"*.{fold_domain(text[2:])}" if text.startswith("*.") else fold_domain(text)


def fold_identity(text: str) -> str:
    """``fold_address`` for what holds an ``@``, else ``fold_domain``: the comparable form of an SES identity name."""
    return fold_address(text) if "@" in text else fold_domain(text)


def domain_of(identity: str) -> str:
    """The domain of a folded address, or the folded domain itself."""
    return identity.rpartition("@")[2]


def is_below(name: str, parent: str) -> bool:
    """Whether folded ``name`` is a strict subdomain of folded ``parent``; ``a.acme.com`` is below ``acme.com``."""
    return name.endswith("." + parent) and len(name) > len(parent) + 1


def is_at_or_below(name: str, parent: str) -> bool:
    """Whether folded ``name`` is ``parent`` itself or a subdomain of it."""
    return name == parent or (name.endswith("." + parent) and len(name) > len(parent) + 1)


def parents(name: str) -> Iterator[str]:
    """The names above folded ``name``, nearest first, without itself and without the root."""
    while "." in name:
        name = name.partition(".")[2]
        yield name


def at_or_above(name: str) -> Iterator[str]:
    """Folded ``name`` and the names above it, nearest first, without the root."""
    yield name
    yield from parents(name)


def from_route53(name: str) -> str:
    r"""A name as Route 53 returns it (``\052.acme.com.``) in comparable form (``*.acme.com``).

    Octal escapes are decoded, except those of a dot and of a backslash inside a label: decoding these would make two
    different names equal. Source: Route 53 Developer Guide "DNS domain name format".
    """

    if "\\" not in name:
        return name.removesuffix(".").lower()

    def decoded(match: re.Match[str]) -> str:
        char = chr(int(match.group(1), 8))
        return match.group(0) if char in ".\\" else char

    return _OCTAL.sub(decoded, name).removesuffix(".").lower()


def to_route53(name: str) -> str:
    r"""A comparable name as Route 53 returns it: final dot, ``\ooo`` for all but a-z, 0-9, ``-``, ``_``.

    Names that Route 53 gives back with an escaped dot or backslash pass through unchanged, so that
    ``to_route53(from_route53(x)) == x`` for every name Route 53 returns.
    """
    out: list[str] = []
    index = 0
    lowered = name.lower().removesuffix(".")
    while index < len(lowered):
        match = _OCTAL.match(lowered, index)
        if match and chr(int(match.group(1), 8)) in ".\\":
            out.append(match.group(0))
            index = match.end()
            continue
        char = lowered[index]
        index += 1
        if char == "." or (char.isascii() and (char.isalnum() or char in "-_")):
            out.append(char)
        else:
            out.extend(f"\\{octet:03o}" for octet in _octets(char))
    return "".join(out) + "."


def _octets(char: str) -> bytes:
    return char.encode("latin-1") if ord(char) < 256 else char.encode("utf-8")


# --- names that look like others -----------------------------------------------------------------------------------

_EAST_ASIAN: Final = ({"CJK", "HIRAGANA", "KATAKANA"}, {"CJK", "BOPOMOFO"}, {"CJK", "HANGUL"})


def mixed_scripts(name: str) -> dict[str, list[str]]:
    """The labels of a folded domain name that mix scripts as no language does, in Unicode, with the scripts.

    The level "highly restrictive" of UTS 39, section 5.2: one script, or Latin with what Chinese, Japanese and Korean
    are written in. The script of a letter is the first word of its name in the Unicode Character Database; digits and
    marks belong to any.
    """
    found: dict[str, list[str]] = {}
    if "xn--" not in name:
        return found
    import idna

    for label in name.split("."):
        if not label.startswith("xn--"):
            continue
        try:
            shown = idna.decode(label)
        except idna.IDNAError:
            continue
        scripts = {_script(char) for char in shown if unicodedata.category(char).startswith("L")}
        if len(scripts) > 1 and not any(scripts <= {"LATIN", *together} for together in _EAST_ASIAN):
            found[shown] = sorted(script.capitalize() for script in scripts)
    return found


def _script(char: str) -> str:
    first = unicodedata.name(char, "UNKNOWN").split()[0].partition("-")[0]
    return "CJK" if first == "IDEOGRAPHIC" else first


# --- names that somebody mistyped ----------------------------------------------------------------------------------

_LONGEST_SEARCHED: Final = 100
_MANY: Final = 100_000
"""Beyond this many names, looking for near misses takes longer than reading the state."""
_COMPARED: Final = 200
"""As many names are compared letter by letter."""


def similar(word: str, known: Iterable[str], n: int = 1) -> list[str]:
    """Those of ``known`` that ``word`` may be meant for, the nearest first, at most ``n``: another case, a slip of
    keys (``us-esat-1``), a beginning (``shop-back``), or much in common."""
    choices = tuple(known)
    if not word or len(word) > _LONGEST_SEARCHED or len(choices) > _MANY:
        return []
    return list(_similar(word, _with_most_in_common(word, choices)))[:n]


def _with_most_in_common(word: str, choices: tuple[str, ...]) -> tuple[str, ...]:
    """Of many names the few that have the most groups of three letters in common with ``word``: to compare a name
    letter by letter takes a hundred times as long."""
    if len(choices) <= _COMPARED or len(word) < 3:
        return choices
    folded = word.lower()
    groups = {folded[i : i + 3] for i in range(len(folded) - 2)}

    def in_common(name: str) -> tuple[bool, int]:
        other = name.lower()
        return other.startswith(folded), sum(group in other for group in groups)

    return tuple(heapq.nlargest(_COMPARED, choices, key=in_common))


@lru_cache(maxsize=4096)
def _similar(word: str, choices: tuple[str, ...]) -> tuple[str, ...]:
    folded = word.lower()
    if len(word) < 3:  # nearly every other is near
        return tuple(name for name in choices if name.lower() == folded)
    allowed = 1 if len(word) < 8 else 2
    near = []
    for name in choices:
        if abs(len(name) - len(word)) <= allowed and (slips := _slips(folded, name.lower())) <= allowed:
            near.append((slips, name))
    begun = sorted(name for name in choices if len(word) > 2 and name.lower().startswith(folded))
    alike = difflib.get_close_matches(word, choices, n=3) or difflib.get_close_matches(folded, choices, n=3)
    return tuple(dict.fromkeys([*(name for _, name in sorted(near)), *begun, *alike]))


def _slips(one: str, other: str) -> int:
    """How many letters were left out, added, replaced or swapped with their neighbour (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        older, before, row = before, row, [i]
        for j, b in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
    return row[-1]
