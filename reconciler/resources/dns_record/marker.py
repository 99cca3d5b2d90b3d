"""The marker: TXT values at ``_recon.<domain>`` that remember what is ours where no identity's tag can say it.

Each value is one line, ``v=recon1; stack=<scope>; <what>``:

    groups=dmarc bimi null_mx       record groups of a domain without an identity
    created=yes; spf=include:a ...  our terms in the domain's SPF record, and whether the record itself is ours
    own=<name> <type> <value>       an exact record whose owner is about to forget it (an identity being deleted)
    zones=Z1 Z2                     the zones that the domain's records are written to, where the YAML lists several

Values of other stacks stand beside ours and are foreign.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.resources.dns_record.zones import Zone

VERSION = "v=recon1"
LABEL = "_recon"


def name_for(domain: str) -> str:
    return f"{LABEL}.{domain}"


@dataclass(frozen=True, slots=True)
class Own:
    """One exact record: name without final dot, type, value in Route 53's presentation form."""

    name: str
    type: str
    value: str

    def text(self, scope: str) -> str:
        return f"{VERSION}; stack={scope}; own={self.name} {self.type} {self.value}"


@dataclass(slots=True)
class Marker:
    """What one stack remembers at one domain."""

    groups: set[str] = field(default_factory=set)
    spf: list[str] | None = None
    spf_created: bool = False
    own: list[Own] = field(default_factory=list)
    spf_shared: bool = False
    """The SPF record is another stack's making: the last of the stacks with terms in it takes it away."""
    zones: tuple[str, ...] = ()
    """The zones of a list: what is written to this one is deleted once the list names it no more."""

    def __bool__(self) -> bool:
        return bool(self.groups or self.spf is not None or self.own or self.zones)

    def without(self, groups: Iterable[str], terms: Iterable[str] | None) -> Marker:
        """What stays under the name of a stack after another has taken over ``groups``, all exact records and, where it
        declares SPF, ``terms`` and the record itself."""
        rest = self.groups - set(groups)
        if terms is None:
            found = Marker(rest, self.spf, self.spf_created, [], self.spf_shared)
        else:
            gone = set(terms)
            left = [term for term in self.spf or () if term not in gone]
            found = Marker(rest, left or None, False, [], bool(left) and self.spf_made)
        found.zones = self.zones if found else ()
        return found

    @property
    def spf_made(self) -> bool:
        """Whether the SPF record came from a stack, this one or one that it shares the record with."""
        return self.spf_created or self.spf_shared

    def names_more(self, than: Marker) -> bool:
        """Whether this remembers all that ``than`` does."""
        return self.groups >= than.groups and set(self.spf or ()) >= set(than.spf or ()) and self.own == than.own

    def texts(self, scope: str) -> list[str]:
        """The TXT texts that say this; empty when there is nothing to remember."""
        lines = []
        if self.groups:
            lines.append(f"{VERSION}; stack={scope}; groups={' '.join(sorted(self.groups))}")
        if self.spf is not None and (self.spf or self.spf_made):
            created = "created=yes; " if self.spf_created else "created=shared; " if self.spf_shared else ""
            lines += [
                f"{VERSION}; stack={scope}; {created}spf={terms}".rstrip() for terms in _in_lines(self.spf, SPF_LINE)
            ]
        lines += [own.text(scope) for own in self.own]
        if self.zones:
            lines.append(f"{VERSION}; stack={scope}; zones={' '.join(self.zones)}")
        return lines


SPF_LINE = 3_000
"""Characters of terms in one line: with the rest and its quotes it fits a TXT value (Route 53: 4,000)."""


def _in_lines(terms: Iterable[str], longest: int) -> list[str]:
    """``terms`` joined by blanks, as many in a line as fit; at least one line."""
    lines = [""]
    for term in terms:
        if lines[-1] and len(lines[-1]) + 1 + len(term) > longest:
            lines.append("")
        lines[-1] = f"{lines[-1]} {term}".lstrip()
    return lines


def is_ours(text: str, scope: str) -> bool:
    return text.startswith(f"{VERSION}; stack={scope};")


def stack_of(text: str) -> str | None:
    """The scope that a marker text belongs to, None for any other text."""
    if not text.startswith(f"{VERSION}; stack="):
        return None
    return text.removeprefix(f"{VERSION}; stack=").partition(";")[0]


def unused_tags(zone: Zone) -> list[str]:
    """The stacks for which a zone is tagged although it has no marker of theirs."""
    return sorted(zone.tagged_for - stacks_in(zone))


def stacks_in(zone: Zone) -> set[str]:
    """The stacks that have markers in a zone."""
    names = [name for name, type_ in zone.records if type_ == "TXT" and name.startswith(f"{LABEL}.")]
    return {stack for name in names for _, text in zone.texts(name) if (stack := stack_of(text))}


def read(texts: Iterable[str], scope: str) -> Marker:
    """The marker that ``texts`` hold for ``scope``; lines that are not ours or not understood are passed over."""
    found = Marker()
    prefix = f"{VERSION}; stack={scope};"
    for text in texts:
        if not text.startswith(prefix):
            continue
        rest = text[len(prefix) :].strip()
        created = next((word for word in ("yes", "shared") if rest.startswith(f"created={word};")), "")
        rest = rest.removeprefix(f"created={created};").strip()
        key, _, value = rest.partition("=")
        if key == "groups":
            found.groups |= set(value.split())
        elif key == "spf":
            found.spf = [*(found.spf or []), *value.split()]
            found.spf_created = found.spf_created or created == "yes"
            found.spf_shared = found.spf_shared or created == "shared"
        elif key == "own":
            name, _, remainder = value.partition(" ")
            type_, _, exact = remainder.partition(" ")
            if name and type_ and exact:
                found.own.append(Own(name, type_, exact))
        elif key == "zones":
            found.zones = tuple(value.split())
    return found
