"""The DMARC record that applies to a domain, its organizational domain, and whether two domains align.

Source: RFC 9989, DNS Tree Walk, DMARC Policy Discovery, Organizational Domain Discovery, Identifier Alignment. Pure:
the records are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from reconciler.mail import dmarc

Record = Callable[[str], Mapping[str, str] | None]
"""The tags of the one DMARC record at ``_dmarc.NAME``; None where there is none, or more than one."""

LONGEST: Final = 8
"""Of a name with more labels only the name itself and its last seven labels are queried."""


def names(domain: str) -> tuple[str, ...]:
    """Where the tree walk looks for a domain, in its order: ``a.b.example`` gives it, ``b.example`` and ``example``."""
    labels = domain.split(".")
    first = 1 if len(labels) <= LONGEST else len(labels) - LONGEST + 1
    return (domain, *(".".join(labels[start:]) for start in range(first, len(labels))))


def record_in(texts: Iterable[str]) -> Mapping[str, str] | None:
    """The tags of the DMARC record among the TXT texts of a name: two records are as good as none."""
    found = [text for text in texts if dmarc.is_record(text, strict=True)]
    return dmarc.parse(found[0]) if len(found) == 1 else None


def organizational(domain: str, record: Record) -> str:
    """The organizational domain: where ``psd=n`` says so, below a ``psd=y``, else the highest name with a record, else
    the domain itself."""
    found, previous = domain, domain
    for name in names(domain):
        tags = record(name)
        psd = "" if tags is None else tags.get("psd", "u")
        if psd == "n":
            return name
        if psd == "y" and name != domain:
            return previous
        if tags is not None:
            found = name
        previous = name
    return found


def policy(domain: str, record: Record) -> tuple[str, Mapping[str, str]] | None:
    """(name, tags) of the record that applies to mail from a domain: its own, else that of its organizational domain,
    else that of a public suffix above it."""
    if (own := record(domain)) is not None:
        return domain, own
    above = organizational(domain, record)
    if (tags := record(above)) is not None:
        return above, tags
    return next(((name, tags) for name in names(above) if (tags := record(name)) is not None), None)


def applied(domain: str, exists: bool, where: str, tags: Mapping[str, str]) -> str:
    """What the record at ``where`` asks for mail from ``domain``: ``none``, ``quarantine`` or ``reject``."""
    tag = "p" if where == domain else "sp" if exists else "np"
    return dmarc.POLICIES[dmarc.levels(tags)[tag]]


def aligned(identifier: str, author: str, mode: str, record: Record) -> bool:
    """Whether a domain that DKIM or SPF authenticated is that of the author: the same (mode ``s``), or of the same
    organizational domain (``r``)."""
    if identifier == author:
        return True
    return mode != "s" and organizational(identifier, record) == organizational(author, record)
