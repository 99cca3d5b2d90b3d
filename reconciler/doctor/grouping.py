"""The checks as a reader sees them: one line for one cause, however many domains have it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from reconciler.doctor.checks import Check

_FEW: Final = 3
"""So many symptoms of one cause are lines of their own."""
_VARIES: Final = re.compile(
    r"\b[a-z0-9]{32}\b"  # a DKIM token
    r"|\bZ[0-9A-Z]{8,}\b"  # the id of a hosted zone
    r"|last checked [^)]*"  # when SES looked, and what it asked
)


@dataclass(frozen=True, slots=True)
class Group:
    """Checks that say the same of one or several domains, and the symptoms that they explain if these are many."""

    checks: tuple[Check, ...]
    explains: tuple[Check, ...] = ()

    @property
    def message(self) -> str:
        """What the first check says, and that others say it of other names."""
        first = self.checks[0].message
        more = f" (first of {len(self.checks)})" if len({one.message for one in self.checks}) > 1 else ""
        if not self.explains:
            return first + more
        layers = ", ".join(dict.fromkeys(one.layer for one in self.explains))
        return f"{first}{more}; explains {len(self.explains)} more that fail ({layers})"

    def places(self, most: int = 3) -> str:
        """The domains of the checks, or else the regions: ``a.example, b.example, c.example and 58 more``."""
        names = list(dict.fromkeys(c.domain for c in self.checks if c.domain)) or list(
            dict.fromkeys(c.region for c in self.checks if c.region)
        )
        more = f" and {len(names) - most} more" if len(names) > most else ""
        return f"{', '.join(names[:most])}{more}"


def shape(text: str, check: Check) -> str:
    """``text`` without what differs from domain to domain: names at or below the domain, the region, tokens, times."""
    if check.domain:
        text = re.sub(rf"(?<![\w.-])(?:[\w*-]+\.)*{re.escape(check.domain)}(?![\w-])", "*", text)
    if check.region:
        text = text.replace(check.region, "*")
    return _VARIES.sub("*", text)


def said(check: Check) -> str:
    """What a check says with its place: the ``cause`` of the checks that it explains."""
    place = " ".join(part for part in (check.domain, check.region) if part)
    alone = not place or check.message.startswith(check.domain or "\0")
    return check.message if alone else f"{place}: {check.message}"


def groups(checks: Sequence[Check]) -> list[Group]:
    """The checks in their order, alike ones together; those that many symptoms follow from have these with them."""
    alike: dict[tuple[str, ...], list[Check]] = {}
    for check in checks:
        alike.setdefault(_key(check), []).append(check)
    roots = {said(check): _key(check) for check in checks if not check.cause}
    symptoms: dict[tuple[str, ...], list[Check]] = {}
    for check in checks:
        if check.cause in roots:
            symptoms.setdefault(roots[check.cause], []).append(check)
    explained = {key: found for key, found in symptoms.items() if len(found) > _FEW}
    folded = {id(check) for found in explained.values() for check in found}
    out = []
    for key, found in alike.items():
        left = [check for check in found if id(check) not in folded]
        if not left:
            continue
        explains = tuple(explained.get(key, ()))
        if len({check.domain for check in left}) > 1 or all(_same(check, left[0]) for check in left) or explains:
            out.append(Group(tuple(left), explains))
        else:
            out += [Group((check,)) for check in left]
    return out


def _key(check: Check) -> tuple[str, ...]:
    return (
        check.layer, check.status, check.about, shape(check.message, check), shape(check.hint, check),
        shape(check.cause, check), str(check.rank),
    )  # fmt: skip


def _same(one: Check, other: Check) -> bool:
    return (one.message, one.hint, one.cause) == (other.message, other.hint, other.cause)
