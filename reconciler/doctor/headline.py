"""Which failed check is the cause, and which are its symptoms: the first line of the doctor. Pure.

A zone that the Internet does not ask explains every record in it that is missing; a missing MX explains a MAIL FROM
that failed; an identity that does not sign explains that neither DKIM nor SPF passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from reconciler.doctor.checks import DELEGATION, FOUND, LAYERS, OK, UNKNOWN, Check
from reconciler.doctor.grouping import groups, said
from reconciler.names import is_at_or_below

_EXPLAINED_BY: Final[Mapping[tuple[str, str], tuple[tuple[str, str], ...]]] = {
    ("identity", "mail_from"): (("dns", "mail_from"),),
    ("identity", "verification"): (("dns", "dkim"),),
    ("identity", "dkim"): (("dns", "dkim"), ("identity", "verification")),
    ("identity", "set"): (("configuration_set", "set"),),
    ("alignment", "alignment"): (("identity", "verification"), ("identity", "dkim"), ("identity", "mail_from")),
}
"""(layer, about) of a symptom -> those of what causes it, for the same domain and region."""
_IN_DNS: Final = frozenset({"mail_from", "verification", "dkim", "dmarc", "spf", "bimi", "tracking", "alignment"})
"""What fails where the world does not see a zone."""


def by_cause(checks: Sequence[Check]) -> list[Check]:
    """The checks in the order of the layers, each symptom with the message of what causes it in ``cause``."""
    failed = [c for c in checks if c.status == FOUND or (c.status == UNKNOWN and c.layer == "dns")]
    zones = [c for c in failed if c.about == DELEGATION]
    places: dict[tuple[str, str, str, str], Check] = {}
    for check in failed:
        places.setdefault((check.layer, check.about, check.subject or check.domain, check.region), check)
    direct = {check: cause for check in failed if (cause := _cause(check, zones, places)) is not None}

    def root(check: Check) -> Check:
        while check in direct:
            check = direct[check]
        return check

    told = [replace(c, cause=said(root(c))) if c in direct else c for c in checks]
    return sorted(told, key=lambda c: LAYERS.index(c.layer))


def _cause(check: Check, zones: Iterable[Check], places: Mapping[tuple[str, str, str, str], Check]) -> Check | None:
    if check.about in _IN_DNS:
        for zone in zones:
            if is_at_or_below(check.domain, zone.domain):
                return zone
    for layer, about in _EXPLAINED_BY.get((check.layer, check.about), ()):
        cause = places.get((layer, about, check.subject or check.domain, check.region))
        if cause is not None:
            return cause
    return None


def headline(checks: Sequence[Check]) -> str:
    """The first line: the cause to fix first, what it explains, and how much is wrong beside it."""
    wrong = sorted((c for c in checks if c.status == FOUND and not c.cause), key=lambda c: c.rank)
    unknown = sorted((c for c in checks if c.status == UNKNOWN and not c.cause), key=lambda c: c.rank)
    if wrong:
        worst, *less = groups(wrong)
        first = worst.checks[0]
        causes = {said(c) for c in worst.checks}
        explained = sum(c.cause in causes for c in checks)
        alike = len({c.domain for c in worst.checks if c.domain}) - 1
        more = f"; the same for {alike} other domain{'s' * (alike != 1)}" if alike > 0 else ""
        more += f"; that explains {explained} more that fail{'s' * (explained == 1)}" if explained else ""
        others = len({(group.checks[0].layer, group.checks[0].message) for group in less})
        more += f" ({others} other problem{'s' * (others != 1)})" if others else ""
        return f"Fix this first: {first.layer}: {said(first)}{more}"
    if unknown:
        first, others = unknown[0], len(unknown) - 1
        more = f" ({others} other thing{'s' * (others != 1)} could not be checked)" if others else ""
        return f"No problem was found, but not everything could be checked: {first.layer}: {said(first)}{more}"
    seen = {c.layer for c in checks if c.status == OK}
    if left := [layer for layer in LAYERS if layer not in seen]:
        looked = ", ".join(layer for layer in LAYERS if layer in seen) or "none"
        return f"Every layer that was looked at is healthy: {looked}. Not looked at: {', '.join(left)}."
    return (
        "Every layer is healthy. If one receiver still rejects mail, the cause is reputation or content; its SMTP "
        "reply says which."
    )
