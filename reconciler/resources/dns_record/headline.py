"""What changes of DNS records mean for mail: DMARC policies and SPF records; the rest is counted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

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
}

_RANK = {"none": 0, "quarantine": 1, "reject": 2}
_MAIL_FROM_SPF = ("v=spf1 include:amazonses.com ~all", "v=spf1 include:amazonses.com -all")
_P_TAG = re.compile(r"(?:^|;)\s*p\s*=\s*(\w+)", re.IGNORECASE)


def facts(change: Change) -> Iterator[Fact]:
    """What a change of a record means for mail; nothing for records that the headline only counts."""
    parts = change.address.split("/")[1:]
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
    old, new = _policy(change.before), _policy(change.after)
    for diff in change.diff:
        if diff.path.rpartition(".")[2] == "p":
            old, new = (v.lower() if isinstance(v, str) else None for v in (diff.before, diff.after))
    was, now = _RANK.get(old or "", 0), _RANK.get(new or "", 0)
    if change.action == "create":
        return "new"
    if change.action == "delete":
        return "lost" if was else "gone"
    if old == new or not (old in _RANK or new in _RANK):
        return "changed"
    return "tightened" if now > was else "lost" if now == 0 and was else "loosened"


def _policy(document: Mapping[str, Any] | None) -> str | None:
    """The ``p`` of a DMARC record, from its tags or from the text of the record."""
    for path in ("p", "dmarc.p"):
        value = at_path(document, path)
        if isinstance(value, str):
            return value.lower()
    for text in texts_in(document):
        if _text(text).startswith("v=dmarc1"):
            match = _P_TAG.search(text.strip().strip('"'))
            return match[1].lower() if match else None
    return None
