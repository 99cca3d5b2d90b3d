"""Which layer failed for a message, and why: findings from the evidence, the cause before its symptoms. Pure.

A change on the way (a mailing list, a forwarder, a gateway) is told apart from a mistake in the sender's set-up: then
the key is right and the signed text is not. What a bounce holds in part is not verifiable, which is not failed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from reconciler.message.bounce import RefusedRecipient
from reconciler.message.evidence import NONE, Evidence, passed_then
from reconciler.message.replies import Meaning, is_ses, meaning_of
from reconciler.message.results import site
from reconciler.message.signatures import (
    BODY,
    FAIL,
    HEADERS,
    HEADERS_ONLY,
    NO_KEY,
    OTHER_KEY,
    PASS,
    UNANSWERED,
    UNVERIFIABLE,
    Signature,
)

OK: Final = "ok"
FOUND: Final = "found"
UNKNOWN: Final = "unknown"

LAYERS: Final = (
    "smtp", "permission", "account", "configuration_set", "identity", "suppression", "recipient", "network", "dns",
    "dkim", "content", "spf", "arc", "dmarc", "reputation", "receiver", "sender",
)  # fmt: skip
"""What can refuse a message, from the sender to the receiver; then who received and who sent it."""

OLD_DAYS: Final = 30
"""From this age on a key that is gone proves nothing: SES and others replace keys."""
AUTHENTICATION_PAGE: Final = "one-receiver-refuses.md"
_SHOWN: Final = 300


@dataclass(frozen=True, slots=True)
class MessageFinding:
    """One finding. ``status``: ``ok``, ``found`` (something is wrong), ``unknown`` (not verifiable); ``runbook`` is the
    page of docs/runbooks to go on with."""

    layer: str
    status: str
    message: str
    hint: str = ""
    domain: str = ""
    runbook: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "layer": self.layer, "status": self.status, "message": self.message, "hint": self.hint or None,
            "domain": self.domain or None, "region": None,
            "runbook": f"docs/runbooks/{self.runbook}" if self.runbook else None,
        }  # fmt: skip


def findings(evidence: Evidence, now: str, declared: str = "") -> list[MessageFinding]:
    """All findings, the causes first; ``now`` (ISO 8601) tells how old the message is, ``declared`` says in words what
    the YAML declares about its sender."""
    found: list[MessageFinding] = []
    if evidence.report is not None:
        found += _refusals(evidence)
    if evidence.looked_at is not None and evidence.report is not None and evidence.report.event:
        if evidence.report.kind != "delivery":
            words = "not verifiable: an SES event has neither signatures nor a receiver's results"
            found.append(MessageFinding("dkim", UNKNOWN, words, "", evidence.author))
        found.append(_sender(evidence, declared))
    elif evidence.looked_at is not None:
        found += _dkim(evidence, _age(evidence, now))
        found += _spf(evidence)
        found += _arc(evidence)
        found += _dmarc(evidence)
        found += _receiver(evidence)
        found.append(_sender(evidence, declared))
    elif evidence.report is not None:
        found.append(MessageFinding("dkim", UNKNOWN, "not verifiable: the report does not hold the message"))
    # A page to go on with stands once, with the first finding that needs it.
    order = {FOUND: 0, UNKNOWN: 1, OK: 2}
    return sorted(found, key=lambda one: (order[one.status], _rank(one, evidence)))


def _rank(finding: MessageFinding, evidence: Evidence) -> int:
    """Causes before symptoms: a broken key or signature explains what DMARC and the receiver said of it."""
    refused_by_dmarc = finding.layer in {"dmarc", "receiver"} and finding.status == FOUND
    return LAYERS.index(finding.layer) + (len(LAYERS) if refused_by_dmarc else 0)


def headline(found: list[MessageFinding], evidence: Evidence) -> str:
    """The one sentence that says what happened."""
    wrong = [one for one in found if one.status == FOUND]
    if wrong:
        what = {"bounce": "It was refused", "delay": "It is delayed", "complaint": "A recipient complained"}
        kind = evidence.report.kind if evidence.report is not None else ""
        words = f"{wrong[0].layer}: {wrong[0].message}"
        return f"{what[kind]}: {words}" if kind in what and evidence.report is not None else words
    if evidence.report is not None and evidence.report.kind == "delivery":
        return next(one.message for one in found if one.layer == "receiver")
    if unknown := [one for one in found if one.status == UNKNOWN]:
        return f"Nothing wrong was found, but not all can be verified: {unknown[0].layer}: {unknown[0].message}"
    by = " and ".join(evidence.dmarc.by)
    return (
        f"The message is authentic: DMARC passes{f' by {by}' if by else ''}. If it was put into the spam folder, "
        "the cause is reputation or content."
    )


def _age(evidence: Evidence, now: str) -> float | None:
    """Days since the message was written; None where it does not say."""
    try:
        written = parsedate_to_datetime(evidence.looked_at.first("date") if evidence.looked_at is not None else "")
        moment = written if written.tzinfo else written.replace(tzinfo=UTC)
        return (datetime.fromisoformat(now) - moment).total_seconds() / 86400
    except (ValueError, TypeError, IndexError, OverflowError):  # a date of the sender's own kind
        return None


# --- what a report says --------------------------------------------------------------------------------------------


def _refusals(evidence: Evidence) -> Iterator[MessageFinding]:
    report = evidence.report
    assert report is not None
    if report.kind == "delivery":
        first = report.refusals[0]
        to = f" ({first.recipient})" if first.recipient else ""
        yield MessageFinding("receiver", OK, f"SES reports no failure: {first.reply}{to}", "", evidence.author)
        return
    if report.kind == "complaint":
        said = report.refusals[0].reply if report.refusals else "abuse"
        yield MessageFinding("reputation", FOUND, f"a recipient reported the message as {said}",
                      "remove the recipient from your lists; recon doctor shows the complaint rate", evidence.author,
                      "complaints-rise.md")  # fmt: skip
        return
    seen: dict[tuple[str, str], list[RefusedRecipient]] = {}
    meanings: dict[tuple[str, str], Meaning] = {}
    for refusal in report.refusals:
        if refusal.action in {"failed", "delayed", ""}:
            meaning = meaning_of(refusal.reply, refusal.status, refusal.server, evidence.message.text[:20_000])
            key = (meaning.layer, refusal.reply)
            seen.setdefault(key, []).append(refusal)
            meanings[key] = meaning
    for key, refused in list(seen.items())[:10]:
        yield _refused(meanings[key], refused, evidence)


def _cut(text: str) -> str:
    """The beginning of a reply, in whole words."""
    return text if len(text) <= _SHOWN else text[:_SHOWN].rpartition(" ")[0] or text[:_SHOWN]


def _refused(meaning: Meaning, refused: list[RefusedRecipient], evidence: Evidence) -> MessageFinding:
    first = refused[0]
    to = ", ".join(one.recipient for one in refused[:3] if one.recipient) + (", ..." if len(refused) > 3 else "")
    server = first.server.strip("[]") or (evidence.report.reporter if evidence.report is not None else "")
    said = _cut(first.reply) or first.status or "nothing"
    message = f"{meaning.says}{f' ({to})' if to and meaning.layer not in {'smtp', 'permission'} else ''}"
    hint = meaning.hint.replace("ADDRESS", first.recipient) if first.recipient else meaning.hint
    if meaning.layer in {"dmarc", "spf", "dkim", "receiver"} and not hint:
        hint = f"recon doctor {evidence.author or 'DOMAIN'} checks its DKIM, MAIL FROM and DMARC"
    region = re.search(r"email-smtp\.([a-z0-9-]+)\.amazonaws\.com", f"{server} {first.reply}")
    if meaning.layer == "smtp" and region:
        hint = hint.replace("--password-stdin", f"--password-stdin --region {region[1]}")
    by = "" if not server or is_ses(first.reply) else f"{server} "
    return MessageFinding(meaning.layer, FOUND, f"{message}; {by}said: {said}", hint, evidence.author, meaning.runbook)


# --- what the message proves ---------------------------------------------------------------------------------------


def _aligned(evidence: Evidence) -> list[Signature]:
    """The signatures that count for DMARC: of the author's domain, or of one that belongs to it."""
    author = evidence.author
    return [s for s in evidence.signatures if f"DKIM {s.domain}" in evidence.dmarc.by or _related(s.domain, author)]


def _related(one: str, other: str) -> bool:
    return one == other or one.endswith(f".{other}") or other.endswith(f".{one}")


def _failed_there(evidence: Evidence) -> bool:
    """Whether DMARC failed: at the receiver where it reported a result, else here."""
    reported = evidence.reported
    return reported.result == FAIL if reported is not None else evidence.dmarc.result == FAIL


def _dkim(evidence: Evidence, age: float | None) -> Iterator[MessageFinding]:
    own = _aligned(evidence)
    for signature in own:
        yield _signature(evidence, signature, age)
    if own:
        return
    others = ", ".join(dict.fromkeys(s.domain for s in evidence.signatures))
    author = evidence.author or "its author"
    if evidence.report is not None and not evidence.signatures:
        yield MessageFinding(
            "dkim", UNKNOWN, "not verifiable: the copy in the report has no DKIM signature", "", evidence.author
        )
    elif evidence.dmarc.result == PASS or (evidence.reported is not None and evidence.reported.result == PASS):
        yield MessageFinding(
            "dkim", OK, f"not signed for {author}{f', only for {others}' if others else ''}", "", evidence.author
        )
    else:
        words = f"the message is not signed for {author}" + (
            f", only for {others}" if others else ": it has no signature"
        )
        hint = f"recon doctor {author} says whether SES signs for it"
        yield MessageFinding("dkim", FOUND, words, hint, evidence.author, AUTHENTICATION_PAGE)


def _signature(evidence: Evidence, signature: Signature, age: float | None) -> MessageFinding:
    name, domain, cause = signature.key_name, signature.domain, signature.cause

    def ended(status: str, words: str, hint: str = "", layer: str = "dkim") -> MessageFinding:
        page = AUTHENTICATION_PAGE if status == FOUND else ""
        return MessageFinding(layer, status, words, hint, domain, page)

    if signature.result == PASS:
        return ended(OK, f"the signature of {domain} verifies (key {name})")
    if passed_then(signature, evidence.receiver):
        now = "its key is no longer published" if cause == NO_KEY else "this copy or its key is no longer the same"
        why = signature.detail if cause in {UNANSWERED, HEADERS_ONLY} else now
        return ended(OK, f"the receiver verified the signature of {domain}; not verifiable now: {why}")
    if signature.result == UNVERIFIABLE:
        return ended(UNKNOWN, f"the signature of {domain} is not verifiable: {signature.detail}")
    if cause in {BODY, HEADERS}:
        if evidence.report is not None:
            return ended(
                UNKNOWN, f"the signature of {domain} is not verifiable: the copy in the report is not what was signed"
            )
        return _changed(evidence, signature)
    if cause == NO_KEY:
        if age is not None and age > OLD_DAYS and not _failed_there(evidence):
            why = f"the message is {age:.0f} days old, and its key {name} is gone"
            return ended(UNKNOWN, f"the signature of {domain} is not verifiable: {why}")
        return ended(FOUND, f"{name}: {signature.detail}, so that the signature of {domain} fails",
                     f"recon doctor {domain} shows the record that is missing", "dns")  # fmt: skip
    words = f"the signature of {domain} fails: {signature.detail} ({name})"
    hint = f"publish the key that signs: recon doctor {domain}" if cause == OTHER_KEY else f"recon doctor {domain}"
    return ended(FOUND, words, hint)


def _changed(evidence: Evidence, signature: Signature) -> MessageFinding:
    """A message that is not what was signed: the sender's key is right."""
    by = f" by {evidence.forwarded[0]}" if evidence.forwarded else " on the way"
    what = "its body was" if signature.cause == BODY else "signed headers were"
    words = f"{what} changed{by} after {signature.domain} signed it, so that the signature fails: your keys are right"
    hint = (
        "no change of yours helps: the forwarder or list must leave the message as it is, write its own From, or seal "
        "with ARC"
        if evidence.forwarded
        else "look at what is between SES and the receiver: a gateway, a disclaimer, a virus scanner"
    )
    harmless = evidence.dmarc.result == PASS or (evidence.reported is not None and evidence.reported.result == PASS)
    return MessageFinding("content", OK if harmless else FOUND, words, hint, signature.domain,
                   "" if harmless else AUTHENTICATION_PAGE)  # fmt: skip


def _spf(evidence: Evidence) -> Iterator[MessageFinding]:
    spf, author = evidence.spf, evidence.author
    if spf is None:
        yield MessageFinding(
            "spf", OK, "not known: only the receiver sees which server connects, and it left no result"
        )
        return
    domain = spf.domain or "the MAIL FROM domain"
    client = evidence.receiver.client
    by = f" from {client.address}" if client is not None and client.address else ""
    if spf.result == PASS:
        aligned = f"SPF {spf.domain}" in evidence.dmarc.by or _related(spf.domain, author)
        more = "" if aligned else f", which does not align with {author}: DMARC rests on DKIM alone"
        hint = "" if aligned else "a MAIL FROM domain below it aligns: mail_from in the YAML"
        yield MessageFinding("spf", OK, f"SPF passes for {domain}{more}", hint, domain)
    elif evidence.forwarded:
        yield MessageFinding("spf", OK, f"SPF is {spf.result} for {domain}, as with all mail that is forwarded "
                                 f"({evidence.forwarded[0]})", "", domain)  # fmt: skip
    elif spf.result == "temperror":
        yield MessageFinding(
            "spf", UNKNOWN, f"the receiver could not look up the SPF record of {domain} in time", "", domain
        )
    elif spf.result in {"none", "neutral"} and not _failed_there(evidence):
        yield MessageFinding("spf", OK, f"SPF is {spf.result} for {domain}: DMARC rests on DKIM", "", domain)
    elif not _failed_there(evidence) and site(client.sender if client else "") != "amazonses.com":
        words = f"SPF is {spf.result} for {domain}: the server that delivered{by} is none of SES's, so that somebody "
        yield MessageFinding("spf", OK, f"{words}passed the message on; DMARC rests on DKIM", "", domain)
    else:
        words = f"SPF is {spf.result} for {domain}: its record does not allow the server that delivered{by}"
        hint = f"recon doctor {author or domain}: the record of a MAIL FROM domain has include:amazonses.com"
        yield MessageFinding("spf", FOUND, words, hint, domain, AUTHENTICATION_PAGE)


def _arc(evidence: Evidence) -> Iterator[MessageFinding]:
    arc = evidence.arc
    if arc is None:
        return
    sealers = ", ".join(dict.fromkeys(arc.sealers[:5]))
    first = f"; {arc.sealers[0]} found: {_cut(arc.first_results)}" if arc.first_results and arc.sealers else ""
    if arc.result == PASS:
        yield MessageFinding(
            "arc", OK, f"the ARC chain of {arc.sets} set{'s' * (arc.sets != 1)} ({sealers}) verifies{first}"
        )
    elif arc.result == UNVERIFIABLE:
        yield MessageFinding("arc", OK, f"the ARC chain ({sealers}) is not verifiable: {arc.detail}")
    else:
        status = FOUND if _failed_there(evidence) else OK
        yield MessageFinding("arc", status, f"the ARC chain ({sealers}) does not verify: {arc.detail}",
                      "receivers do not believe what the forwarder found; its operator can mend that")  # fmt: skip


def _dmarc(evidence: Evidence) -> Iterator[MessageFinding]:
    here, there, author = evidence.dmarc, evidence.reported, evidence.author
    site = evidence.receiver.site or "the receiver"
    record = f" (p={here.policy}, record of {here.where})" if here.where else ""
    if here.result == NONE:
        hint = "declare `dmarc:`, first with p: none"
        yield MessageFinding(
            "dmarc", FOUND, f"receivers find no DMARC record for {author}", hint, author, AUTHENTICATION_PAGE
        )
    elif there is not None and there.result not in {PASS, NONE}:
        action = f", and did: {there.policy}" if there.policy and there.policy != NONE else ""
        now = f" By the records of today it passes by {' and '.join(here.by)}." if here.result == PASS else ""
        hint = "the receiver saw other records than DNS has now: send again" if now else f"recon doctor {author}"
        words = f"{site} found that DMARC fails for {author}{record}{action}.{now}".rstrip(".")
        yield MessageFinding("dmarc", FOUND, words, hint, author, AUTHENTICATION_PAGE)
    elif here.result == PASS:
        yield MessageFinding("dmarc", OK, f"DMARC passes for {author} by {' and '.join(here.by)}{record}", "", author)
    elif there is not None and there.result == PASS:
        why = f"not evaluated here: {here.problem}" if here.problem else "this copy no longer shows it"
        yield MessageFinding("dmarc", OK, f"{site} found that DMARC passes for {author}; {why}", "", author)
    elif here.result == FAIL:
        words = f"DMARC fails for {author}{record}: neither DKIM nor SPF passes and aligns"
        yield MessageFinding("dmarc", FOUND, words, f"recon doctor {author}", author, AUTHENTICATION_PAGE)
    else:
        why = here.problem or "whether DKIM or SPF passed is not known"
        yield MessageFinding("dmarc", UNKNOWN, f"DMARC is not verifiable: {why}", "", author)


# --- who received and who sent it ----------------------------------------------------------------------------------


def _receiver(evidence: Evidence) -> Iterator[MessageFinding]:
    receiver = evidence.receiver
    if receiver.results is not None:
        listed = ", ".join(
            f"{one.method}={one.result}" + (f" ({one.domain})" if one.domain else "")
            for one in receiver.results.results[:8]
        )
        yield MessageFinding("receiver", OK, f"{receiver.site or 'the receiver'} found: {listed or 'nothing'}")
    elif evidence.report is None:
        yield MessageFinding("receiver", OK, f"{receiver.site or 'the receiver'} left no Authentication-Results header")
    if receiver.foreign:
        named = ", ".join(receiver.foreign[:3])
        yield MessageFinding(
            "receiver",
            OK,
            f"not believed: the Authentication-Results of {named}, which the last receiver did not write",
        )


def _sender(evidence: Evidence, declared: str) -> MessageFinding:
    seen = evidence.trace
    known = [f"from {seen.from_address or 'nobody'}"]
    known += [f"MAIL FROM {seen.mail_from}"] if seen.mail_from else []
    known += [f"SES in {seen.region}"] if seen.region else []
    known += [f"configuration set {seen.configuration_set}"] if seen.configuration_set else []
    known += [f"tenant {seen.tenant}"] if seen.tenant else []
    tags: Mapping[str, str] = {
        **seen.tags,
        **{f"ses:feedback-id-{n}": v for n, v in zip("ab", seen.feedback, strict=True) if v},
    }
    known += [f"tags {', '.join(f'{name}={value}' for name, value in list(tags.items())[:8])}"] if tags else []
    known += [declared] if declared else []
    hint = ""
    if seen.region and not tags and not seen.configuration_set:
        hint = "set the message tag ses:feedback-id-a in each program: Feedback-ID then says which one sent"
    if caller := tags.get("ses:caller-identity"):
        known.append(f"sent by the IAM user or role {caller}")
        hint = "recon senders shows what it may send; recon smtp lock NAME --undeclared stops it"
    return MessageFinding("sender", OK, "; ".join(known), hint, evidence.author)


def to_json(evidence: Evidence) -> dict[str, Any]:
    """The evidence as data."""
    receiver, report, arc = evidence.receiver, evidence.report, evidence.arc
    return {
        "kind": report.kind if report is not None else "message",
        "sender": evidence.trace.to_json(),
        "receiver": receiver.site or None,
        "results": [] if receiver.results is None else [
            {"method": one.method, "result": one.result, "domain": one.domain or None}
            for one in receiver.results.results
        ],
        "not_believed": list(receiver.foreign),
        "signatures": [
            {"domain": s.domain, "selector": s.selector, "result": s.result, "cause": s.cause or None,
             "detail": s.detail or None}
            for s in evidence.signatures
        ],
        "spf": evidence.spf.result if evidence.spf is not None else None,
        "dmarc": {"domain": evidence.dmarc.domain or None, "result": evidence.dmarc.result,
                  "by": list(evidence.dmarc.by), "record": evidence.dmarc.where or None,
                  "policy": evidence.dmarc.policy or None,
                  "reported": evidence.reported.result if evidence.reported is not None else None},
        "arc": None if arc is None else {"sets": arc.sets, "result": arc.result, "sealers": list(arc.sealers),
                                         "detail": arc.detail or None},
        "forwarded": list(evidence.forwarded),
        "whole": evidence.whole,
        "refusals": [] if report is None else [
            {"recipient": one.recipient or None, "action": one.action or None, "status": one.status or None,
             "reply": one.reply or None, "server": one.server or None} for one in report.refusals
        ],
    }  # fmt: skip
