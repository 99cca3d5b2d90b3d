"""Small readings of record values: addresses, fingerprints, and one spelling for what DNS compares without case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.mail import spf
from reconciler.model import digest_of
from reconciler.resources.dns_record import SPEC
from reconciler.resources.dns_record.zones import RecordSet

NAME = SPEC.name
address_of = SPEC.address_of
"""``dns_record/ZONE/NAME/TYPE``."""
MAIL_FROM_TERMS = ("include:amazonses.com",)
VERSIONS = ("DMARC1", "BIMI1")


def set_digest(record: RecordSet) -> str:
    """The fingerprint of a record set as read: TTL and values in any order."""
    return digest_of({"ttl": record.ttl, "values": sorted(record.values)})


def host(value: str) -> str:
    """A CNAME target without final dot, in lower case: the console stores some without the dot."""
    return value.strip().rstrip(".").lower()


def mx_value(value: str) -> str:
    priority, _, host = value.strip().partition(" ")
    return f"{priority} {host.strip().rstrip('.').lower() or '.'}"


def is_feedback(value: str) -> bool:
    host = mx_value(value).partition(" ")[2]
    return host.startswith("feedback-smtp.") and host.endswith((".amazonses.com", ".amazonaws.com"))


def key_of(text: str) -> str | None:
    """The ``p=`` of a DKIM key record (RFC 6376 section 3.6.1), without white space; None for any other text."""
    tags = dict(part.strip().partition("=")[::2] for part in text.split(";"))
    key = {k.strip(): v for k, v in tags.items()}.get("p")
    return "".join(key.split()) if key is not None else None


def shown_tags(tags: Mapping[str, str], beside: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A record's tags for people. The version is among them only where it is wrong, here or in the tags that it
    is shown ``beside``: receivers ignore a record that does not begin with exactly ``v=DMARC1`` (RFC 9989)."""
    shown: dict[str, Any] = {k: v for k, v in tags.items() if k != "v" or v not in VERSIONS}
    wrong = shown_tags(beside).get("v") if beside else None
    if wrong is not None:
        shown["v"] = next((v for v in VERSIONS if v.lower() == str(wrong).lower()), None)
    return shown


def shown_spf(text: str, ours: Iterable[str]) -> dict[str, Any]:
    """Our terms in a record, by mechanism, and its ``all``; paths as in the YAML's ``spf:``."""
    shown: dict[str, Any] = {}
    for term in spf.terms_present(text, tuple(dict.fromkeys(ours))):
        parsed = spf.parse_term(term)
        shown.setdefault(parsed.name, []).append(parsed.value if parsed.value is not None else True)
    parsed_all = spf.parse(text).all
    shown["all"] = parsed_all.text.lower() if parsed_all else None
    return shown
