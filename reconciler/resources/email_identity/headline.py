"""What changes of identities mean for mail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reconciler.resources.headlines import ADOPTED, alteration_of, alters
from reconciler.resources.spec import Fact, Phrase

if TYPE_CHECKING:
    from reconciler.model import Change

COVERED = "identity-covered"
"""The rule that finds an identity below another, under which its mail goes on where it is deleted."""

PHRASES = {
    "domain:signs": Phrase("{n} domain starts signing with DKIM", "{n} domains start signing with DKIM", 0),
    "domain:new": Phrase("{n} domain is set up to send", "{n} domains are set up to send", 10),
    "address:new": Phrase("{n} address is set up to send", "{n} addresses are set up to send", 20),
    "address:signs": Phrase("{n} address starts signing with DKIM", "{n} addresses start signing with DKIM", 30),
    "domain:dkim": Phrase("{n} domain changes its DKIM key", "{n} domains change their DKIM key", 40),
    "mail_from:new": Phrase("{n} domain gets a MAIL FROM of its own", "{n} domains get a MAIL FROM of their own", 50),
    "domain:mail_from": Phrase("{n} domain changes its MAIL FROM", "{n} domains change their MAIL FROM", 60),
    "domain:set": Phrase(
        "{n} domain sends through another configuration set", "{n} domains send through another configuration set", 70
    ),
    "address:set": Phrase(
        "{n} address sends through another configuration set",
        "{n} addresses send through another configuration set",
        80,
    ),
    "domain:policy": Phrase("{n} domain changes who may send for it", "{n} domains change who may send for them", 90),
    "address:policy": Phrase(
        "{n} address changes who may send for it", "{n} addresses change who may send for them", 100
    ),
    "address:recreated": Phrase("{n} address identity is replaced", "{n} address identities are replaced", 260),
    "domain:recreated": Phrase("{n} domain identity is replaced", "{n} domain identities are replaced", 270),
    "address:covered": Phrase(
        "{n} address sends under the identity of its domain",
        "{n} addresses send under the identity of their domain",
        262,
    ),
    "domain:covered": Phrase(
        "{n} domain sends under the identity of its parent domain",
        "{n} domains send under the identity of their parent domain",
        264,
    ),
    "mail_from:gone": Phrase("{n} domain loses its MAIL FROM", "{n} domains lose their MAIL FROM", 320),
    "domain:unsigned": Phrase(
        "{n} domain stops signing with DKIM", "{n} domains stop signing with DKIM", 400, regions=True
    ),
    "address:unsigned": Phrase(
        "{n} address stops signing with DKIM", "{n} addresses stop signing with DKIM", 410, regions=True
    ),
    "address:stops": Phrase("{n} address stops sending", "{n} addresses stop sending", 420, regions=True),
    "domain:stops": Phrase("{n} domain stops sending", "{n} domains stop sending", 430, regions=True),
}


def facts(change: Change) -> Iterator[Fact]:
    """What a change of an identity means for mail."""
    region, _, name = change.address.partition("/")[2].partition("/")
    noun = "address" if "@" in name else "domain"
    if change.action in ("create", "delete", "replace"):
        covered = change.action == "delete" and any(note.rule == COVERED for note in change.notes)
        yield Fact(f"{noun}:{'covered' if covered else _whole(change, noun)}", name, region)
        return
    signing = alteration_of(change, "dkim.signing_enabled")
    if signing and signing[0] != signing[1]:
        yield Fact(f"{noun}:signs" if signing[1] is not False else f"{noun}:unsigned", name, region)
    if any(diff.path.startswith("dkim.") and diff.path != "dkim.signing_enabled" for diff in change.diff):
        yield Fact("domain:dkim", name, region)
    if alters(change, "mail_from"):
        names = alteration_of(change, "mail_from.mail_from_domain") or alteration_of(change, "mail_from")
        old, new = names or (True, True)
        yield Fact("domain:mail_from" if old and new else f"mail_from:{'new' if new else 'gone'}", name, region)
    if change.action == "update" and alteration_of(change, "configuration_set_name"):
        yield Fact(f"{noun}:set", name, region)
    if alters(change, "policies"):
        yield Fact(f"{noun}:policy", name, region)
    if change.action == "adopt":
        yield Fact(ADOPTED, change.address)


def _whole(change: Change, noun: str) -> str:
    """What happens to an identity as a whole; a written ``dkim`` block signs unless it says otherwise."""
    if change.action != "create":
        return {"delete": "stops", "replace": "recreated"}[change.action]
    off = alteration_of(change, "dkim.signing_enabled") == (None, False)
    signs = noun == "domain" and not off and (change.after or {}).get("dkim") is not None
    return "signs" if signs else "new"
