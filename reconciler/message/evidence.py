"""What a message proves: signatures verified again, DMARC evaluated with the records that public DNS has now, and what
the receiver found when the message came.

DMARC is evaluated by our own code (RFC 9989); SPF depends on the connection, which only the receiver saw, so that its
result is taken from the receiver's header.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.mail import dmarc_walk
from reconciler.message.bounce import BounceReport, read_report
from reconciler.message.events import event_of, report_of
from reconciler.message.reading import MailPart, address_in, domain_in
from reconciler.message.results import MethodResult, Receiver, hops, receiver_of, site
from reconciler.message.sender import SesTrace, trace
from reconciler.message.signatures import (
    PASS,
    UNVERIFIABLE,
    Answers,
    ArcChain,
    Signature,
    key_names,
    verify_arc,
    verify_dkim,
)
from reconciler.public_dns import Answer

NONE = "none"


@dataclass(frozen=True, slots=True)
class DmarcResult:
    """DMARC as evaluated here. ``result`` is ``pass``, ``fail``, ``none`` (no record) or ``unknown``; ``by`` are the
    identifiers that passed and align, as "DKIM acme.com"; ``where`` is the domain whose record applies."""

    domain: str
    result: str
    by: tuple[str, ...] = ()
    where: str = ""
    policy: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of one message. ``looked_at`` is the message in question: of a bounce the one that bounced,
    None where the bounce does not hold it; ``whole`` says whether its body is there."""

    message: MailPart
    report: BounceReport | None
    looked_at: MailPart | None
    whole: bool
    receiver: Receiver
    signatures: tuple[Signature, ...]
    arc: ArcChain | None
    spf: MethodResult | None
    dmarc: DmarcResult
    reported: DmarcResult | None
    trace: SesTrace
    forwarded: tuple[str, ...]

    @property
    def author(self) -> str:
        return self.dmarc.domain


def subject_of(message: MailPart) -> tuple[BounceReport | None, MailPart | None, bool]:
    """(report, the message to look at, whether with its body)."""
    event = event_of(message)
    report = read_report(message) if event is None else report_of(event)
    if report is not None:
        return report, report.original, report.whole
    return None, message, bool(message.content.strip())


def questions(message: MailPart) -> list[tuple[str, str]]:
    """What to ask public DNS about a message: keys, DMARC records of all domains that may align, and whether its
    author's domain exists."""
    _, looked_at, _ = subject_of(message)
    if looked_at is None:
        return []
    author = _author(looked_at)
    spf = _spf(receiver_of(looked_at))
    domains = {author, spf.domain if spf else "", address_in(looked_at.first("return-path")).rpartition("@")[2]}
    keys = key_names(looked_at)
    domains |= {name.partition("._domainkey.")[2] for name in keys}
    asked = {(f"_dmarc.{name}", "TXT") for domain in domains if domain for name in dmarc_walk.names(domain)}
    existence = {(author, kind) for kind in ("MX", "A", "TXT")} if author else set()
    return sorted({*asked, *existence, *((name, "TXT") for name in keys)})


def examine(message: MailPart, answers: Answers) -> Evidence:
    """The evidence, from the message and the answers to ``questions``; an answer that is missing was not asked for."""
    report, looked_at, whole = subject_of(message)
    if looked_at is None:
        nothing = Receiver("", None, None, ())
        empty = DmarcResult("", UNVERIFIABLE, problem="the report does not hold the message")
        return Evidence(message, report, None, False, nothing, (), None, None, empty, None, SesTrace(), ())
    receiver = receiver_of(looked_at)
    signatures = tuple(verify_dkim(looked_at, answers, whole=whole))
    spf = _spf(receiver)
    result = _dmarc(looked_at, signatures, spf, answers, receiver)
    return Evidence(
        message, report, looked_at, whole, receiver, signatures, verify_arc(looked_at, answers, whole=whole), spf,
        result, _reported(receiver), trace(looked_at), forwarded(looked_at, receiver),
    )  # fmt: skip


def _author(message: MailPart) -> str:
    return domain_in(address_in(message.first("from")).rpartition("@")[2])


def _spf(receiver: Receiver) -> MethodResult | None:
    found = receiver.results.of("spf") if receiver.results is not None else []
    return found[0] if found else None


def _reported(receiver: Receiver) -> DmarcResult | None:
    """The receiver's own DMARC result, None where it reported none."""
    found = receiver.results.of("dmarc") if receiver.results is not None else []
    if not found:
        return None
    result = {"bestguesspass": PASS, "unknown": NONE}.get(found[0].result, found[0].result)
    said = {key.strip().lower(): value for key, _, value in (w.partition("=") for w in found[0].comment.split())}
    action = found[0].properties.get("action", said.get("dis", ""))
    return DmarcResult(found[0].domain, result, policy=action.lower())


def _dmarc(
    message: MailPart, signatures: tuple[Signature, ...], spf: MethodResult | None, answers: Answers, receiver: Receiver
) -> DmarcResult:
    author = _author(message)
    if not author:
        return DmarcResult("", UNVERIFIABLE, problem="its From header names no domain")
    asked = [answers.get((f"_dmarc.{name}", "TXT"), Answer(problem="public DNS was not asked"))
             for name in dmarc_walk.names(author)]  # fmt: skip
    if problem := next((answer.problem for answer in asked if answer.problem), ""):
        return DmarcResult(author, UNVERIFIABLE, problem=problem)

    def record(name: str) -> Mapping[str, str] | None:
        return dmarc_walk.record_in(answers.get((f"_dmarc.{name}", "TXT"), Answer()).values)

    found = dmarc_walk.policy(author, record)
    where, tags = found if found is not None else ("", {})
    by: list[str] = []
    unknown: list[str] = []
    for signature in signatures:
        if dmarc_walk.aligned(signature.domain, author, tags.get("adkim", "r"), record):
            passed = signature.result == PASS or passed_then(signature, receiver)
            (by if passed else unknown if signature.result == UNVERIFIABLE else []).append(f"DKIM {signature.domain}")
    if spf is not None and dmarc_walk.aligned(spf.domain, author, tags.get("aspf", "r"), record):
        (by if spf.result == PASS else []).append(f"SPF {spf.domain}")
    elif spf is None:
        unknown.append("SPF")
    exists = any(answers.get((author, kind), Answer()).values for kind in ("MX", "A", "TXT")) or bool(by)
    policy = dmarc_walk.applied(author, exists, where, tags) if where else ""
    result = NONE if not where else PASS if by else UNVERIFIABLE if unknown else "fail"
    return DmarcResult(author, result, tuple(dict.fromkeys(by)), where, policy)


def passed_then(signature: Signature, receiver: Receiver) -> bool:
    """Whether the receiver verified a signature when the message came: keys may be gone by now, bodies changed."""
    if receiver.results is None:
        return False
    return any(
        one.result == PASS and one.domain == signature.domain
        and one.properties.get("header.s", signature.selector).lower() == signature.selector
        for one in receiver.results.of("dkim")
    )  # fmt: skip


def forwarded(message: MailPart, receiver: Receiver) -> tuple[str, ...]:
    """The signs that somebody forwarded the message, in words; none for mail that came directly."""
    signs = []
    if lists := message.first("list-id") or message.first("list-post") or message.first("mailing-list"):
        own = _author(message)
        if site(lists.strip("<> ").rpartition("<")[2].rpartition("@")[2].strip("<>")) != site(own):
            signs.append(f"the mailing list {lists[:80]}")
    for name in ("x-forwarded-to", "x-forwarded-for", "resent-from", "x-original-to", "x-ms-exchange-forwardingloop"):
        if (value := message.first(name)) and name not in {"x-original-to"}:
            signs.append(f"{name}: {value[:80]}")
    local = address_in(message.first("return-path")).rpartition("@")[0]
    if local.upper().startswith(("SRS0", "SRS1")) or "+caf_=" in local:
        signs.append(f"a rewritten envelope sender ({local[:40]}...)")
    sealers = [seal for seal in message.all("arc-seal") if _sealer(seal) and site(_sealer(seal)) != receiver.site]
    signs += [f"an ARC seal of {_sealer(seal)}" for seal in sealers[:3]]
    through = _after_ses(message, receiver)
    if through and not signs:
        signs.append(f"the servers {', '.join(through)} between SES and the receiver")
    return tuple(dict.fromkeys(signs))


def _sealer(seal: str) -> str:
    tags = dict(pair.strip().partition("=")[::2] for pair in seal.split(";"))
    return domain_in(tags.get("d", "").strip())


def _after_ses(message: MailPart, receiver: Receiver) -> list[str]:
    """The sites that had the message after SES and before the last receiver."""
    sites: list[str] = []
    for hop in hops(message):
        if site(hop.sender) == "amazonses.com":
            return [one for one in dict.fromkeys([*sites, site(hop.by)]) if one not in {"", receiver.site}]
        sites.append(site(hop.by))
    return []
