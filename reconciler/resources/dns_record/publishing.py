"""The records that the declared state implies, one value each, for DNS that recon does not hold; and what public DNS
has instead. Pure.

Sources: RFC 1035 (one record set a name and type), RFC 7208 and 9989 (one SPF and one DMARC record at a name).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from reconciler.kinds.snapshot import Snapshot
from reconciler.mail import bimi, dmarc, spf
from reconciler.mail.tags import visible
from reconciler.model import Address, Diagnostic
from reconciler.resources.dns_record import intents
from reconciler.resources.dns_record.intents import Intent
from reconciler.resources.dns_record.values import key_of, mx_value

TTL: Final = 300
"""Seconds, where nothing is declared (as for records that recon writes)."""
UNKNOWN: Final = "(known after apply)"

MANUAL: Final = "manual"
RUNS: Final = 50
"""How many runs of the journal are read for the time since when a record is missing."""


@dataclass(frozen=True, slots=True)
class WantedRecord:
    """One record to publish: ``name`` and ``value`` without final dots, a TXT value as its text; ``value`` is None
    while only SES can know it, and ``name`` then names the domain below which it will be.

    ``purpose`` is the key of the YAML that implies it. ``status`` is ``unchecked`` until public DNS was asked, then
    ``present``, ``missing`` or ``wrong`` with ``problem`` in words; ``unchecked`` with a problem if nobody answered.
    """

    domain: str
    name: str
    type: str
    ttl: int
    priority: int | None
    value: str | None
    purpose: str
    intent: Intent
    status: str = "unchecked"
    problem: str = ""
    since: str | None = None
    """Since when a record that is missing or wrong is known to be so, in ISO 8601 (``since_of``)."""

    @property
    def wrong(self) -> bool:
        return self.status in ("missing", "wrong")

    def to_json(self) -> dict[str, Any]:
        return {
            "domain": self.domain, "name": self.name, "type": self.type, "ttl": self.ttl, "priority": self.priority,
            "value": UNKNOWN if self.value is None else self.value, "purpose": self.purpose, "status": self.status,
            "since": self.since if self.wrong else None,
        }  # fmt: skip


def records(snapshot: Snapshot, domains: Container[str] | None, *, every: bool = False) -> list[WantedRecord]:
    """What must be published, by domain, name and type: for ``domains`` (None: all that are declared), of these only
    for ``zone: manual`` unless ``every``."""
    entries = intents.own_entries(snapshot)
    found: dict[tuple[object, ...], WantedRecord] = {}
    for intent in intents.of_state(snapshot):
        covering = intents.covering_entry(entries, intent.domain)
        domain = covering.name if covering is not None else intent.domain
        if (domains is not None and domain not in domains) or not (every or intent.zone == MANUAL):
            continue
        one = _record(domain, intent)
        # what several regions or sets imply alike is one record
        key = (domain, one.name, one.type, one.value, *((intent.region, intent.token) if one.value is None else ()))
        found.setdefault(key, one)
    return sorted(found.values(), key=lambda r: (r.domain, r.name, r.type, r.value or "", r.intent.token))


def _record(domain: str, intent: Intent) -> WantedRecord:
    priority, value = None, wanted_text(intent)
    if intent.style == "mx" and value is not None:
        preference, _, value = value.partition(" ")
        priority = int(preference)
    name = intent.name or f"{UNKNOWN}._domainkey.{intent.domain}"
    ttl = TTL if intent.ttl is None else intent.ttl
    return WantedRecord(domain, name, intent.type, ttl, priority, value, intent.group, intent)


def wanted_text(intent: Intent, live: str | None = None) -> str | None:
    """The whole text of a record, an MX with its preference; None while only SES knows it. ``live`` is the SPF record
    that the name has already: terms are added to that one."""
    if intent.style == "tags":
        tags = dict(intent.tags or {})
        return dmarc.to_text(tags) if intent.group == "dmarc" else bimi.to_text(tags)
    if intent.style == "spf":
        return _spf_text(intent, live)
    if intent.style == "dkim_key" and intent.value:
        return intents.dkim_key_text(intent.value)
    return intent.value


def compared(record: WantedRecord, values: tuple[str, ...], unanswered: str = "") -> WantedRecord:
    """The record with what public DNS says of it: ``values`` of its name and type, or why nobody answered."""
    if record.value is None:
        return replace(record, problem="SES gives its DKIM tokens when the identity exists: recon apply")
    if unanswered:
        return replace(record, problem=unanswered)
    ours = _of_kind(record.intent, values)
    value = record.value
    if record.intent.style == "spf" and len(ours) == 1:
        value = wanted_text(record.intent, ours[0]) or value
    problem = record_problem(record.intent, values)
    status = "present" if not problem else "wrong" if ours else "missing"
    return replace(record, value=value, status=status, problem=problem)


def since_of(snapshot: Snapshot, intent: Intent, created: Mapping[Address, str]) -> str | None:
    """Since when nobody has found a record: SES's last check that did (of DKIM alone it keeps that), else the run that
    ``created`` its identity or set. None where neither is known."""
    found = []
    for owner in intent.owners:
        live = snapshot.observed.get(owner)
        checked = live.facts.get("last_verified") if live is not None and intent.group == "dkim" else None
        found.append(str(checked) if checked else created.get(owner))
    return min((moment for moment in found if moment), default=None)


def _of_kind(intent: Intent, values: tuple[str, ...]) -> list[str]:
    """Those of the values at a name that are meant as this record: other TXT values are others'."""
    if intent.type != "TXT":
        return list(values)
    if intent.style == "dkim_key":
        return [text for text in values if key_of(text)]
    return [text for text in values if codec_of(intent).is_record(text, strict=False)]


def _spf_text(intent: Intent, live: str | None) -> str:
    """The SPF record that the name should have, whose text is ``live`` now; one of its own where ours cannot be added
    to that."""
    try:
        return spf.merge(live, intent.terms, intent.all)
    except ValueError:
        return spf.merge(None, intent.terms, intent.all)


def codec_of(intent: Intent) -> Any:
    """The codec of a TXT record: DMARC, BIMI or SPF."""
    return {"dmarc": dmarc, "bimi": bimi}.get(intent.group, spf)


def record_problem(intent: Intent, seen: tuple[str, ...]) -> str:
    """What is wrong with one record in public DNS, which has the values ``seen``; "" where nothing is."""
    name = f"{intent.name} {intent.type}"
    if intent.style == "cname":
        return "" if seen == (intent.value,) else f"{name} {_found(seen)}. Expected: {intent.value}"
    if intent.style == "mx":
        right = tuple(map(mx_value, seen)) == (mx_value(intent.value or ""),)
        return "" if right else f"{name} {_found(seen)}. Expected exactly one: {intent.value}"
    if intent.style == "dkim_key":
        return "" if any(key_of(t) == intent.value for t in seen) else f"{name} does not contain the DKIM key"
    codec = codec_of(intent)
    kind = "SPF" if codec is spf else intent.group.upper()
    texts = [t for t in seen if codec.is_record(t, strict=True)]
    discarded = [visible(t) for t in seen if t not in texts and codec.is_record(t, strict=False)]
    if not texts and discarded:
        return f"{name} is {' and '.join(discarded)}: receivers do not take that for a {kind} record"
    if not texts:
        return f"{name} has no {kind} record" if seen else f"{name} {_found(seen)}"
    if len(texts) != 1:
        effect = "a permanent error (RFC 7208)" if codec is spf else "receivers ignore all of them"
        return f"{name} has {len(texts)} {kind} records: {effect}"
    if codec is not spf:
        right = codec.meaning(codec.parse(texts[0])) == codec.meaning(intent.tags or {})
        return "" if right else f"{name} is {texts[0]}. Expected: {codec.to_text(dict(intent.tags or {}))}"
    if spf.mended(texts[0]) != texts[0]:
        return f"{name} has characters that no SPF record may have: {visible(texts[0])}"
    missing = [t for t in intent.terms if t not in spf.terms_present(texts[0], intent.terms)]
    if missing:
        return f"{name} lacks {' '.join(missing)}: it is {texts[0]}"
    # The `all` of a MAIL FROM name is ours only in a record that we make.
    ends = intent.group != "spf" or not intent.all or texts[0] == _spf_text(intent, texts[0])
    return "" if ends else f"{name} is {texts[0]}. Expected to end with {intent.all}"


def _found(values: tuple[str, ...]) -> str:
    return f"is {' and '.join(values)}" if values else "is missing"


def questions(found: Iterable[WantedRecord]) -> list[tuple[str, str]]:
    """The name and type of each record that can be asked for, once."""
    return list(dict.fromkeys((one.name, one.type) for one in found if one.value is not None))


def note(domain: str, count: int) -> Diagnostic:
    """One line for a domain of which ``count`` records must be published by hand."""
    counted = "1 record" if count == 1 else f"{count} records"
    message = f"{counted} of {domain} must be published by hand: recon records {domain}"
    return Diagnostic("note", "publish-by-hand", message)


def verified_by_ses(snapshot: Snapshot, intent: Intent) -> bool:
    """Whether SES itself has found the record: those of DKIM and of MAIL FROM of a live identity."""
    status = {"dkim": "dkim_status", "mail_from": "mail_from_status"}.get(intent.group, "")
    live = [snapshot.observed.get(owner) for owner in intent.owners]
    return bool(status and live) and all(one is not None and one.facts.get(status) == "SUCCESS" for one in live)


def to_publish(snapshot: Snapshot) -> Iterator[tuple[str, list[Intent]]]:
    """Each domain in DNS that recon does not hold of which records may be missing, with these.

    What SES verifies tells whether it is there. Of the rest nobody knows without asking public DNS: it is named while
    something else of the domain is missing, or where nothing of it is verified.
    """
    by_domain: dict[str, list[Intent]] = {}
    by_hand = any(MANUAL in (entry.values.get("zone") or ()) for entry in snapshot.state.section("domains"))
    for intent in intents.of_state(snapshot) if by_hand else ():
        if intent.zone == MANUAL:
            by_domain.setdefault(intent.domain, []).append(intent)
    for domain, wanted in by_domain.items():
        left = [intent for intent in wanted if not verified_by_ses(snapshot, intent)]
        told = [intent for intent in wanted if intent.group in ("dkim", "mail_from")]
        if left and (not told or any(intent in left for intent in told)):
            yield domain, left
