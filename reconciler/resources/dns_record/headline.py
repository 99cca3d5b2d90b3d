"""What changes of DNS records mean for mail: DMARC policies and SPF records; the rest is counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from reconciler.mail import dmarc
from reconciler.resources.headlines import texts_in
from reconciler.resources.spec import Fact, Phrase, at_path

if TYPE_CHECKING:
    from reconciler.model import Change

PHRASES = {
    "dmarc:new": Phrase("{n} domain gets a DMARC policy", "{n} domains get a DMARC policy", 110),
    "dmarc:tightened": Phrase("{n} DMARC policy is tightened", "{n} DMARC policies are tightened", 120),
    "dmarc:changed": Phrase("{n} DMARC record changes", "{n} DMARC records change", 130),
    "spf:new": Phrase("{n} SPF record is added", "{n} SPF records are added", 140),
    "spf:changed": Phrase("{n} SPF record changes", "{n} SPF records change", 150),
    "dmarc:loosened": Phrase("{n} DMARC policy is loosened", "{n} DMARC policies are loosened", 290),
    "dmarc:lost": Phrase("{n} domain loses DMARC enforcement", "{n} domains lose DMARC enforcement", 300),
    "dmarc:gone": Phrase("{n} DMARC record is removed", "{n} DMARC records are removed", 310),
    "spf:gone": Phrase("{n} SPF record is removed", "{n} SPF records are removed", 330),
    "zone-also": Phrase("{n} more hosted zone gets the records", "{n} more hosted zones get the records", 160),
    "zone-left": Phrase("records leave {n} hosted zone", "records leave {n} hosted zones", 340),
}

_MAIL_FROM_SPF = ("v=spf1 include:amazonses.com ~all", "v=spf1 include:amazonses.com -all")


def facts(change: Change) -> Iterator[Fact]:
    """What a change of a record means for mail; nothing for records that the headline only counts."""
    parts = change.address.split("/")[1:]
    if place := next((note.rule for note in change.notes if note.rule in ("zone-also", "zone-left")), ""):
        yield Fact(place, parts[0])
        return
    name = parts[1].partition(":")[0] if len(parts) > 2 else change.address.rpartition("/")[2]
    if name.startswith("_dmarc.") and change.action != "adopt":
        yield Fact(f"dmarc:{_dmarc(change)}", name.removeprefix("_dmarc."))
        return
    records = [t for text in texts_in([change.before, change.after]) if (t := _text(text)).startswith("v=spf1")]
    # The SPF record of a MAIL FROM name is created and deleted with its identity; only a domain's own is news.
    if any(text not in _MAIL_FROM_SPF for text in records):
        yield Fact(f"spf:{ {'create': 'new', 'delete': 'gone'}.get(change.action, 'changed') }", name)


def _text(value: str) -> str:
    return value.strip().strip('"').lower()


def _dmarc(change: Change) -> str:
    """What a change means by the levels that receivers apply: of the domain, its subdomains, and missing names."""
    was, now = dmarc.levels(_tags(change, "before")), dmarc.levels(_tags(change, "after"))
    if change.action == "create":
        return "new"
    if change.action == "delete":
        return "lost" if any(was.values()) else "gone"
    if was["p"] and not now["p"]:
        return "lost"
    if any(now[name] < was[name] for name in was):
        return "loosened"
    return "tightened" if now != was else "changed"


def _tags(change: Change, side: Literal["before", "after"]) -> dict[str, str]:
    """The tags of the record before or after a change: as documents and differences name them, else from its text."""
    document = change.before if side == "before" else change.after
    found = next((dmarc.parse(text) for text in texts_in(document) if dmarc.is_record(text)), {})
    found |= {name: value for name in dmarc.ORDER if isinstance(value := at_path(document, name), str)}
    for diff in change.diff:
        name, value = diff.path.rpartition(".")[2], getattr(diff, side)
        if name in dmarc.ORDER:
            found.pop(name, None)
            found |= {name: value.lower()} if isinstance(value, str) else {}
    return found
