"""SPF records: read, judge, and merge our terms into the one record of a name without touching anybody else's.

A name has one SPF record (two are a permanent error, RFC 7208 section 4.5), shared by everybody who sends for it.
So ours is never written whole: our terms go in before ``all``; what others wrote stays byte for byte.
Source: RFC 7208.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

from reconciler.mail.tags import BLANK, EDGE, BadRecord, closest, visible
from reconciler.names import fold_domain

VERSION: Final = "v=spf1"
MAX_LOOKUPS: Final = 10
"""Terms that may need DNS in one evaluation, included records counted (RFC 7208 section 4.6.4)."""

MECHANISMS: Final = ("all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists")
_LOOKUP_MECHANISMS: Final = frozenset({"include", "a", "mx", "ptr", "exists"})
_YAML_TERMS: Final = ("include", "ip4", "ip6", "a", "mx", "exists")

_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)", re.DOTALL)
_MECHANISM = re.compile(r"([+\-~?]?)([A-Za-z][A-Za-z0-9_.-]*)(?:([:/])(.*))?", re.DOTALL)
_MACRO = re.compile(r"%%|%_|%-|%\{[slodiphvSLODIPHV][0-9]*[rR]?[-.+,/_=]*\}")
"""RFC 7208 section 7.1, without the letters that stand in explanations alone."""
_HEAD = re.compile(rf"{EDGE}*v{BLANK}*={BLANK}*spf1(?![A-Za-z0-9])[;,]?", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_CIDR = re.compile(r"(?:/(?:0|[1-9][0-9]?))?(?://(?:0|[1-9][0-9]{0,2}))?")


class SpfConflict(ValueError):
    """The live record cannot take our terms as it is; ``hint`` says what a person has to decide."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}; {hint}")
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Term:
    """One term: ``text`` byte for byte, ``name`` in lower case, ``value`` after ``:``, ``/`` or ``=`` (with ``/``).

    ``qualifier`` is ``+`` where none is written. A term that is neither mechanism nor modifier has an empty name.
    """

    text: str
    name: str
    qualifier: str = "+"
    value: str | None = None
    is_modifier: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes two terms the same: name, folded value, qualifier."""
        return (self.name or self.text, _folded_value(self), "" if self.is_modifier else self.qualifier)


@dataclass(frozen=True)
class Spf:
    """A record: ``terms`` in order, without the version, which is kept as written."""

    version: str
    terms: tuple[Term, ...]

    @property
    def modifiers(self) -> Mapping[str, str]:
        """The first value of each modifier, by its name in lower case."""
        found: dict[str, str] = {}
        for term in self.terms:
            if term.is_modifier:
                found.setdefault(term.name, term.value or "")
        return found

    @cached_property
    def all(self) -> Term | None:
        """The first ``all``: evaluation ends there."""
        return next((term for term in self.terms if term.name == "all" and not term.is_modifier), None)

    @property
    def redirect(self) -> str | None:
        """The target of ``redirect=``, or None."""
        return self.modifiers.get("redirect")

    @property
    def evaluated(self) -> tuple[Term, ...]:
        """The mechanisms a receiver can reach: those before ``all``, in order."""
        reached: list[Term] = []
        for term in self.terms:
            if term.is_modifier:
                continue
            if term.name == "all":
                break
            reached.append(term)
        return tuple(reached)

    def to_text(self) -> str:
        """The record with one space between terms."""
        return " ".join((self.version, *(term.text for term in self.terms)))


@dataclass(frozen=True, slots=True)
class SpfWanted:
    """What a ``spf:`` entry asks for: term texts in the order of the YAML, and ``all`` (``~all``) where written."""

    terms: tuple[str, ...]
    all: str | None = None


def is_record(text: str, *, strict: bool = True) -> bool:
    """Whether a TXT text is an SPF record: ``v=spf1`` in any case, then a space or the end (RFC 7208 section 4.5).

    Without ``strict`` also one that somebody meant as such and that receivers discard, for white space or quotation
    marks before it, or for what follows the version.
    """
    if text[:6].lower() == VERSION and (len(text) == 6 or text[6] == " "):
        return True
    return not strict and _HEAD.match(text) is not None


@lru_cache(maxsize=4096)
def mended(text: str) -> str:
    """What somebody meant: the record's terms with one space between them and nothing around it. A record without
    characters other than printable ASCII, which receivers read, comes back byte for byte.

    Raises ValueError when the text is not an SPF record, not even with ``strict=False``.
    """
    head = _HEAD.match(text)
    if head is None:
        raise ValueError(f"not an SPF record (it does not begin with {VERSION}): {text[:60]!r}")
    if is_record(text) and not _UNPRINTABLE.search(text) and text[-1] not in "\"'`":
        return text
    words = re.split(rf"{BLANK}+", re.sub(rf"{EDGE}+\Z", "", text[head.end() :]))
    return " ".join((text[:6] if is_record(text) else VERSION, *filter(None, words)))


@lru_cache(maxsize=4096)
def parse_term(text: str) -> Term:
    """One term; unknown ones are kept as they are. Never raises."""
    modifier = _MODIFIER.fullmatch(text)
    if modifier:
        return Term(text, modifier.group(1).lower(), value=modifier.group(2), is_modifier=True)
    mechanism = _MECHANISM.fullmatch(text)
    if not mechanism or mechanism.group(2).lower() not in MECHANISMS:
        return Term(text, "")
    qualifier, name, separator, rest = mechanism.groups()
    value = None if separator is None else ("/" + rest if separator == "/" else rest)
    return Term(text, name.lower(), qualifier or "+", value)


@lru_cache(maxsize=4096)
def parse(text: str) -> Spf:
    """The record's terms in order, of the record that was meant. Raises ValueError when the text is not an SPF
    record."""
    text = mended(text)
    return Spf(text[:6], tuple(parse_term(part) for part in text[6:].split(" ") if part))


def _folded_value(term: Term) -> str:
    """A value so that equal meaning compares equal. Macros keep their case: it means URL escaping (section 7.3)."""
    value = term.value
    if value is None or "%" in value:
        return value or ""
    if term.name in ("ip4", "ip6"):
        network = _network(term.name, value)
        return value.lower() if network is None else str(network)
    domain, slash, cidr = value.partition("/")
    return domain.lower().removesuffix(".") + slash + cidr


def _network(name: str, value: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        if name == "ip4":
            return ipaddress.IPv4Network(value, strict=False)
        return ipaddress.IPv6Network(value, strict=False)
    except ValueError:
        return None


# --- the YAML ------------------------------------------------------------------------------------------------------


def from_yaml(value: Mapping[str, Any]) -> SpfWanted:
    """The terms that a ``spf:`` entry asks for.

    Keys ``include``, ``ip4``, ``ip6``, ``a``, ``mx``, ``exists``: one value or a list; ``a: true`` and ``mx: true``
    mean the name itself; null and false leave a term out. ``all`` is ``-all``, ``~all``, ``?all`` or ``+all``.
    Raises ValueError naming everything that is wrong.
    """
    if not isinstance(value, Mapping):
        raise ValueError("spf is a mapping such as {include: [_spf.example.com], all: ~all}; the rest stays as it is")
    terms: list[str] = []
    wrong: list[str] = []
    all_term: str | None = None
    for key, item in value.items():
        name = str(key).lower()
        if name == "all":
            try:
                all_term = _all_from_yaml(item)
            except ValueError as error:
                wrong.append(str(error))
        elif name not in _YAML_TERMS:
            wrong.append(f"{key}: no such SPF term{closest(str(key), (*_YAML_TERMS, 'all'))}")
        else:
            for part in item if isinstance(item, list | tuple) else [item]:
                try:
                    term = _term_from_yaml(name, part)
                except ValueError as error:
                    wrong.append(f"{name}: {error}")
                else:
                    if term is not None and term not in terms:
                        terms.append(term)
    if wrong:
        raise BadRecord(wrong)
    return SpfWanted(tuple(terms), all_term)


def _all_from_yaml(item: Any) -> str | None:
    if item is None:
        return None
    text = str(item).strip().lower() if isinstance(item, str) else ""
    if text in ("all", "+all", "-all", "~all", "?all"):
        return text if text != "all" else "+all"
    raise ValueError(f'all: write "~all", "-all" or "?all" in quotes; found {item!r}')


def _term_from_yaml(name: str, item: Any) -> str | None:
    """The text of one term, or None for null and false. Raises ValueError."""
    if item is None or item is False:
        return None
    if item is True:
        if name in ("a", "mx"):
            return name
        raise ValueError("needs a value")
    if not isinstance(item, str):
        raise ValueError(f"{item!r} is not a text")
    text = item.strip()
    if not text or not text.isprintable() or " " in text:
        raise ValueError(f"{item!r} is not one value")
    if text.lower().startswith((f"{name}:", f"+{name}:", f"-{name}:", f"~{name}:", f"?{name}:")):
        raise ValueError(f"{item!r}: leave out the {name}: in front")
    if name in ("ip4", "ip6"):
        if _network(name, text) is None:
            other = "ip6" if name == "ip4" else "ip4"
            where = f"; it belongs under {other}" if _network(other, text) is not None else ""
            raise ValueError(f"{item!r} is not an IPv{name[-1]} address or network{where}")
        return f"{name}:{text.lower()}"
    domain, slash, rest = text.partition("/")
    cidr = slash + rest
    if cidr and (name not in ("a", "mx") or not _CIDR.fullmatch(cidr)):
        raise ValueError(f"{item!r}: {cidr!r} is not a prefix length")
    if not domain:
        return f"{name}{cidr}"
    if "%" in domain:
        if not domain.isascii():
            raise ValueError(f"{item!r} is not ASCII")
        if "%" in _MACRO.sub("", domain):
            raise ValueError(f"{item!r} holds a % that begins no macro, such as %{{i}} or %{{d}}")
        return f"{name}:{domain}{cidr}"
    folded = fold_domain(domain, record=True)
    if "." not in folded or "*" in folded:
        raise ValueError(f"{item!r} is not the name of a domain, such as _spf.crm.example")
    return f"{name}:{folded}{cidr}"


# --- changing a live record ----------------------------------------------------------------------------------------


def merge(
    live: str | None, wanted_terms: Sequence[str], wanted_all: str | None, previous_terms: Iterable[str] = ()
) -> str:
    """The one record of a name with our terms in it.

    ``live`` is the record's text, None where there is none: then ``v=spf1 <terms> <all, or ~all>`` comes back.
    Otherwise terms of ``previous_terms`` (what we put earlier) that are no longer wanted go, missing wanted terms come
    in before ``all``, else before ``redirect=``, else at the end, ``all`` changes only when ``wanted_all`` is given,
    and every other term keeps its place and spelling. A record that needs no change comes back byte for byte; one that
    receivers discard for its white space is ``mended``.

    Law: ``merge(merge(x, t, a), t, a) == merge(x, t, a)``.
    Raises ValueError when ``live`` is not an SPF record, SpfConflict where the record delegates with ``redirect=``,
    which an ``all`` of ours would disable, or holds one of our terms with another qualifier.
    """
    return _merged(live, tuple(wanted_terms), wanted_all, tuple(previous_terms))


@lru_cache(maxsize=4096)
def _merged(
    live: str | None, wanted_terms: tuple[str, ...], wanted_all: str | None, previous_terms: tuple[str, ...]
) -> str:
    wanted = [parse_term(text) for text in dict.fromkeys(wanted_terms)]
    if live is None:
        return " ".join([VERSION, *(term.text for term in wanted), wanted_all or "~all"])
    record = parse(live)
    wanted_keys = {term.key for term in wanted}
    gone = {parse_term(text).key for text in previous_terms} - wanted_keys
    present = {term.key for term in record.evaluated}
    missing = [term for term in _unique(wanted) if term.key not in present]
    all_term = record.all
    new_all = parse_term(wanted_all) if wanted_all else None
    _refuse_redirect(record, new_all)
    _refuse_other_qualifier(record, missing)

    terms: list[Term] = []
    inserted = not missing
    missing_keys = {term.key for term in missing}
    for term in record.terms:
        if not inserted and all_term is None and term.is_modifier and term.name == "redirect":
            terms.extend(missing)
            inserted = True
        if term is all_term:
            terms.extend(missing)
            inserted = True
            terms.append(new_all if new_all is not None and new_all.key != term.key else term)
        elif term.is_modifier or term.key not in gone | missing_keys:
            # A wanted term behind `all` is never evaluated; it is in missing_keys and moves in front.
            terms.append(term)
    if not inserted:
        terms.extend(missing)
    if new_all is not None and all_term is None:
        terms.append(new_all)
    return (
        live if tuple(terms) == record.terms and mended(live) == live else Spf(record.version, tuple(terms)).to_text()
    )


def _unique(terms: Iterable[Term]) -> list[Term]:
    return list({term.key: term for term in terms}.values())


def _refuse_redirect(record: Spf, new_all: Term | None) -> None:
    # Only `all` disables a redirect (RFC 7208 section 6.1): it counts where no mechanism before it matches.
    if record.redirect is None or record.all is not None or new_all is None:
        return
    target = record.redirect
    raise SpfConflict(
        f"the SPF record hands over with redirect={target}, which receivers would ignore beside {new_all.text}",
        f"replace redirect={target} by include:{target} in the zone first, or take `all` out of the YAML",
    )


def _refuse_other_qualifier(record: Spf, missing: Sequence[Term]) -> None:
    others = {term.key[:2]: term for term in record.evaluated}
    for term in missing:
        other = others.get(term.key[:2])
        if other is not None:
            raise SpfConflict(
                f"the SPF record already has {other.text}, which decides before {term.text} could",
                f"take {other.text} out of the record if {term.text} is meant, or drop it from the YAML",
            )


def remove(live: str, terms: Iterable[str], drop_all: bool) -> str | None:
    """The record without ``terms`` (and without ``all`` when ``drop_all``), or None when nothing is left of it.

    ``drop_all`` says that ``all`` is ours too; it still stays while others have terms in the record, since theirs
    would be left without an end. Foreign terms keep order and spelling; without a change ``live`` comes back as is.
    Raises ValueError when ``live`` is not an SPF record.
    """
    return _without(live, tuple(terms), drop_all)


@lru_cache(maxsize=4096)
def _without(live: str, terms: tuple[str, ...], drop_all: bool) -> str | None:
    record = parse(live)
    ours = {parse_term(text).key for text in terms}
    kept = [term for term in record.terms if term.is_modifier or term.key not in ours or term is record.all]
    if drop_all and all(term is record.all for term in kept):
        return None
    if tuple(kept) == record.terms:
        return live
    return Spf(record.version, tuple(kept)).to_text() if kept else None


def terms_present(live: str, terms: Iterable[str]) -> tuple[str, ...]:
    """Those of ``terms`` that stand in the record where a receiver reaches them, as spelled in ``terms``.

    Raises ValueError when ``live`` is not an SPF record.
    """
    present = _reached(live)
    return tuple([text for text in terms if _key(text) in present])


@lru_cache(maxsize=4096)
def _key(text: str) -> tuple[str, str, str]:
    return parse_term(text).key


@lru_cache(maxsize=4096)
def _reached(text: str) -> frozenset[tuple[str, str, str]]:
    return frozenset(term.key for term in parse(text).evaluated)


@lru_cache(maxsize=4096)
def lookups(text: str) -> int:
    """How many terms of this record alone need DNS, counting ``redirect=`` where it is in force.

    What included records need comes on top; a resolver is needed for that; ``targets`` says which.
    Raises ValueError when the text is not an SPF record. Source: RFC 7208 section 4.6.4.
    """
    record = parse(text)
    count = sum(1 for term in record.evaluated if term.name in _LOOKUP_MECHANISMS)
    return count + (1 if record.redirect is not None and record.all is None else 0)


@lru_cache(maxsize=4096)
def links(text: str) -> dict[str, str]:
    """The names whose SPF records this one pulls in (``include`` and a ``redirect`` in force) -> the term that does so.
    Names with macros are left out: what they are depends on the mail."""
    record = parse(text)
    found = [(term.value, term.text) for term in record.evaluated if term.name == "include" and term.value]
    if record.redirect and record.all is None:
        found.append((record.redirect, f"redirect={record.redirect}"))
    return {name.lower().removesuffix("."): term for name, term in reversed(found) if "%" not in name}


def targets(text: str) -> tuple[str, ...]:
    """The names of ``links``, in the order of the record."""
    return tuple(reversed(links(text)))


def problems(text: str) -> list[str]:
    """What makes receivers fail or misread the record, one sentence each; empty when it is sound.

    Judges this record alone, without DNS. Raises ValueError when the text is not an SPF record.
    """
    record = parse(text)
    found: list[str] = []
    if mended(text) != text:
        found.append(f"it holds what no record may: {visible(text)[:80]}")
    for term in record.terms:
        if not term.name:
            found.append(f"{term.text!r} is not an SPF term: receivers answer with a permanent error")
        elif term.is_modifier:
            continue
        elif term.name in ("ip4", "ip6") and _network(term.name, term.value or "") is None:
            found.append(f"{term.text} is not a valid IPv{term.name[-1]} network")
        elif term.name in ("include", "exists") and not term.value:
            found.append(f"{term.text} names no domain")
        elif term.name == "ptr":
            found.append("ptr is slow and should not be used (RFC 7208 section 5.5)")
    if record.all is not None:
        after = record.terms[record.terms.index(record.all) + 1 :]
        dead = [term.text for term in after if not term.is_modifier]
        if dead:
            found.append(f"{' '.join(dead)} comes after {record.all.text} and is never evaluated")
        if record.redirect is not None:
            found.append(f"redirect={record.redirect} is ignored beside {record.all.text}")
    for name in ("redirect", "exp"):
        if sum(1 for term in record.terms if term.is_modifier and term.name == name) > 1:
            found.append(f"{name}= occurs more than once: receivers answer with a permanent error")
    count = lookups(text)
    if count > MAX_LOOKUPS:
        found.append(f"{count} terms need DNS; receivers stop with a permanent error after {MAX_LOOKUPS}")
    return found
