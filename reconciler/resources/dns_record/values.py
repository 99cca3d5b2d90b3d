"""Small readings of record values: addresses, fingerprints, and one spelling for what DNS compares without case."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.kinds.ownership import MAIL_FROM, unpack
from reconciler.mail import bimi, dmarc, spf
from reconciler.mail.tags import BLANK, EDGE
from reconciler.model import Observed, digest_of
from reconciler.resources.dns_record import SPEC
from reconciler.resources.dns_record.zones import RecordSet

NAME = SPEC.name
address_of = SPEC.address_of
"""``dns_record/ZONE/NAME/TYPE``."""
MAIL_FROM_TERMS = ("include:amazonses.com",)
VERSIONS = ("DMARC1", "BIMI1")
_FWS = " \t\r\n"
_NO_FWS = str.maketrans(dict.fromkeys(_FWS))


def mail_from_names(live: Observed) -> frozenset[str]:
    """The MAIL FROM names of an identity: the one that SES shows, and those that its tag remembers."""
    present = (live.spec["mail_from"] or {}).get("mail_from_domain")
    remembered = unpack(live.tags, MAIL_FROM)
    return remembered if present is None or present in remembered else remembered | {present}


def tracking_option(live: Observed) -> str | None:
    """The tracking domain that SES shows of a set."""
    found = (live.spec.get("tracking_options") or {}).get("custom_redirect_domain")
    return str(found) if found else None


def set_digest(record: RecordSet) -> str:
    """The fingerprint of a record set as read: TTL and values in any order."""
    return digest_of({"ttl": record.ttl, "values": sorted(record.values)})


def host(value: str) -> str:
    """A CNAME target without final dot, in lower case: the console stores some without the dot."""
    return value.strip().rstrip(".").lower()


def serves_others(records: Iterable[RecordSet]) -> bool:
    """Whether what stands at a tracking name sends readers to another host than SES's: a CDN or proxy, as far as a zone
    can tell. Its own names: SES Developer Guide, "Configuring custom domains for open and click tracking"."""
    for record in records:
        if record.type in {"A", "AAAA", "HTTPS"}:
            return True
        if record.type == "CNAME" and not (
            record.values and all(host(v).endswith(".awstrack.me") for v in record.values)
        ):
            return True
    return False


def mx_value(value: str) -> str:
    priority, _, host = value.strip().partition(" ")
    return f"{priority} {host.strip().rstrip('.').lower() or '.'}"


def is_feedback(value: str) -> bool:
    host = mx_value(value).partition(" ")[2]
    return host.startswith("feedback-smtp.") and host.endswith((".amazonses.com", ".amazonaws.com"))


def key_of(text: str) -> str | None:
    """The ``p=`` of a DKIM key record, without folding white space; None for any other text.

    Of a record whose key receivers do not use for mail the text itself, which is no key: its ``v`` is wrong or not the
    first tag, or it is for other algorithms or services. Source: RFC 6376 sections 2.8, 3.2 and 3.6.1.
    """
    pairs = [part.partition("=") for part in text.split(";")]
    tags = {name.strip(_FWS): value.strip(_FWS) for name, _, value in pairs}
    key = tags.get("p")
    if key is None:
        return text if re.match(rf"(?:.*;)?{EDGE}*p{BLANK}*=", text, re.DOTALL) else None
    first = pairs[0][0].strip(_FWS) == "v"
    usable = ("v" not in tags or (first and tags["v"] == "DKIM1")) and tags.get("k", "rsa") == "rsa"
    usable = usable and _names_one(tags.get("h"), "sha256") and _names_one(tags.get("s"), "*", "email")
    return key.translate(_NO_FWS) if usable else text


def _names_one(listed: str | None, *wanted: str) -> bool:
    """Whether a colon-separated list is missing, or names one of ``wanted``."""
    return listed is None or any(item.strip(_FWS) in wanted for item in listed.split(":"))


def same_tags(group: str, one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two DMARC or BIMI records have one meaning."""
    meaning = dmarc.meaning if group == "dmarc" else bimi.meaning
    return one == other or meaning(one) == meaning(other)


def shown_tags(tags: Mapping[str, str], beside: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A record's tags for people. The version is among them only where it is wrong, here or in the tags that it
    is shown ``beside``: receivers ignore a record that does not begin with exactly ``v=DMARC1`` (RFC 9989)."""
    shown: dict[str, Any] = {k: v for k, v in tags.items() if k != "v" or v not in VERSIONS}
    wrong = shown_tags(beside).get("v") if beside else None
    if wrong is not None:
        shown["v"] = next((v for v in VERSIONS if v.lower() in str(wrong).lower()), None)
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
