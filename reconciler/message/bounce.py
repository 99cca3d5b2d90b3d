"""Bounces, delays and complaints as they come by mail: who refused what, in which words, and which message it was.

Sources: RFC 3464 (delivery status notifications), RFC 3462 (multipart/report), RFC 5965 (feedback reports); for what is
no such report, the forms of Gmail, Exchange, qmail and Postfix.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from reconciler.message.reading import MailPart, address_in, parse

MAX_TEXT: Final = 200_000
"""Characters of a bounce's words that are searched."""

MAX_REPLY: Final = 2000


@dataclass(frozen=True, slots=True)
class RefusedRecipient:
    """What a report says of one recipient. ``action`` is that of RFC 3464 (failed, delayed, delivered, ...), ``status``
    such as 5.7.26, ``reply`` the words of the server that refused, ``server`` that server."""

    recipient: str
    action: str
    status: str
    reply: str
    server: str


@dataclass(frozen=True, slots=True)
class BounceReport:
    """A report about another message. ``kind`` is ``bounce``, ``delay`` or ``complaint``, of an SES event also
    ``delivery``; ``original`` is that message
    as far as the report has it, and ``whole`` whether with its body."""

    kind: str
    refusals: tuple[RefusedRecipient, ...]
    reporter: str
    original: MailPart | None
    whole: bool
    event: bool = False
    """Whether SES itself reported it in JSON, which has no signature and no result of a receiver."""


_OF_MICROSOFT: Final = re.compile(r"complaint about message from ", re.IGNORECASE)
"""The subject of a complaint of Outlook.com (Junk Mail Reporting Program), which is no report of RFC 5965."""
_BELOW: Final = re.compile(
    r"^(?:-{2,} ?(?:Original message|This is a copy of the message,? including all the headers|"
    r"Below this line is a copy of the message)\.? ?-{2,}|--- Below this line is a copy of the message\.|"
    r"Original message headers:|Message headers follow\.?)\s*$",
    re.MULTILINE | re.IGNORECASE,
)
_REPLY: Final = re.compile(
    r"(?<![\w.])([245]\d\d(?::? |-)(?:\#?[245]\.\d{1,3}\.\d{1,3}[ :]?)?[^\r\n]{3,}|\#?[245]\.\d\.\d{1,3} - [^\r\n]{3,})"
)
_SPOKEN: Final = (
    re.compile(r"The response (?:from the remote server )?was:?\s+(.{1,3000}?)(?=\n\s*\n|\Z)", re.DOTALL),
    re.compile(r"Remote Server returned:? '(.{1,3000}?)'(?:\s|$)", re.DOTALL),
    re.compile(r"Remote host said:\s+(.{1,3000}?)(?=\n\s*\n|\Z)", re.DOTALL),
    re.compile(r"\bsaid: (.{1,3000}?)(?=\n\s*\n|\Z)", re.DOTALL),
    re.compile(r"The error that the other server returned was:\s+(.{1,3000}?)(?=\n\s*\n|\Z)", re.DOTALL),
)
_SENDERS: Final = re.compile(
    r"mailer[-_]daemon|post_?master|microsoftexchange[0-9a-f]+@|mail delivery"
    r"|system administrator|mail system|mta-?admin",
    re.IGNORECASE,
)
_SUBJECT: Final = re.compile(
    r"undeliver|delivery|deliver|return|fail|bounce|non ?remis|could not|couldn't|error|reject|unknown|delay|warning",
    re.IGNORECASE,
)
_CLEAR: Final = re.compile(
    r"undeliver|deliver\w* (?:status|fail|error|delay|report|problem)|return\w* (?:mail|message|to sender)"
    r"|(?:mail|message) (?:fail|deliver|return)|failure notice|delayed mail|mail.{0,20}delayed",
    re.IGNORECASE,
)
"""Subjects that say by themselves that a mail system reports a failure."""
_FAILED: Final = re.compile(
    r"undeliver|(?:could not|couldn't|cannot|can't|not able to|unable to|not been|was not|wasn't) (?:be )?deliver"
    r"|deliver.{0,60}fail|fail.{0,60}deliver|did not reach|permanent (?:fatal )?error|returned mail|final-recipient:"
    r"|error delivering|not yet been delivered"
    r"|(?:unknown|invalid) (?:user|address|recipient)|\bsaid: [45]\d\d|no such user",
    re.IGNORECASE,
)


def read_report(message: MailPart) -> BounceReport | None:
    """What the message reports, None for a message that is no report."""
    parts = list(message.walk())
    feedback = next((part for part in parts if part.kind == "message/feedback-report"), None)
    status = next((p for p in parts if p.kind in {"message/delivery-status", "message/global-delivery-status"}), None)
    spoken = _words(message)
    forwarded = feedback is None and status is None and _OF_MICROSOFT.match(message.first("subject").strip())
    if feedback is None and status is None and not forwarded and not _is_spoken(message, spoken):
        return None
    original, whole = _original(message, spoken)
    if forwarded and original is not None:
        told = original.first("x-hmxmroriginalrecipient") or original.first("to")
        refusal = RefusedRecipient(address_in(told), "complaint", "", "abuse", "")
        return BounceReport("complaint", (refusal,), address_in(message.first("from")), original, whole)
    if feedback is not None:
        return BounceReport("complaint", (_complaint(feedback),), address_in(message.first("from")), original, whole)
    refusals, reporter = _from_status(status) if status is not None else ((), "")
    refusals = tuple(_completed(one, spoken) for one in refusals) or _from_words(message, spoken)
    failed = any(one.action in {"failed", ""} for one in refusals)
    delayed = any(one.action == "delayed" for one in refusals)
    if refusals and not failed and not delayed:
        return None  # a receipt: delivered, relayed, expanded
    kind = "delay" if delayed and not failed else "bounce"
    return BounceReport(kind, refusals, reporter or address_in(message.first("from")), original, whole)


def _words(message: MailPart) -> str:
    """The text of the report for people."""
    parts = [part for part in message.walk() if part.kind == "text/plain"]
    nested = [part for outer in message.walk() if outer.kind == "message/rfc822" for part in outer.walk()]
    for part in parts:
        if not any(part is other for other in nested):
            return part.text[:MAX_TEXT].replace("\r\n", "\n")
    shown = message.kind.startswith("text/") or not message.parts  # or its boundary is missing
    return message.text[:MAX_TEXT].replace("\r\n", "\n") if shown else ""


def _is_spoken(message: MailPart, spoken: str) -> bool:
    """Whether a message without a status part is a bounce: sent by a mail system, about a failed delivery."""
    if message.first("x-failed-recipients") or message.parameter("report-type") == "delivery-status":
        return True
    by_system = _SENDERS.search(message.first("from")) or message.first("return-path").replace(" ", "") == "<>"
    subject = message.first("subject")
    told = _CLEAR.search(subject) or (
        _SUBJECT.search(subject)
        and (_FAILED.search(spoken) or _REPLY.search(spoken[:5000]) or _quotes_a_message(message))
    )
    return bool(by_system and (told or _BELOW.search(spoken)))


def _quotes_a_message(message: MailPart) -> bool:
    return any(part.kind == "message/rfc822" for part in message.walk())


def _original(message: MailPart, spoken: str) -> tuple[MailPart | None, bool]:
    """The message that the report is about, and whether its body is there."""
    parts = list(message.walk())
    for part in parts:
        if part.kind in {"message/rfc822", "message/global"} and part.parts:
            inner = part.parts[0]
            cut = not inner.content.strip() or "Message truncated" in inner.text[-400:]
            return inner, not cut
    for part in parts:
        if part.kind in {"text/rfc822-headers", "message/rfc822-headers", "message/global-headers"}:
            return parse(part.content.strip(b"\r\n") + b"\n\n"), False
    if (found := _BELOW.search(spoken)) is not None:
        rest = spoken[found.end() :].lstrip("\n")
        inner = parse(rest.encode("utf-8", "replace"))
        # What is quoted in a text was decoded: its body is not the one that was signed.
        return (inner, False) if inner.headers else (None, False)
    return None, False


def _blocks(status: MailPart) -> Iterator[dict[str, str]]:
    """The groups of fields of a delivery status: the first is about the message, each other about a recipient."""
    for block in re.split(r"\n[ \t]*\n", status.text[:MAX_TEXT].replace("\r\n", "\n").strip()):
        fields: dict[str, str] = {}
        for line in re.sub(r"\n[ \t]+", " ", block).split("\n"):
            name, colon, value = line.partition(":")
            if colon:
                fields.setdefault(name.strip().lower(), value.strip())
        if fields:
            yield fields


def _named(value: str) -> str:
    """A field such as ``dns; mx.example.com`` without its type."""
    return (value.partition(";")[2] or value).strip()


def _from_status(status: MailPart) -> tuple[tuple[RefusedRecipient, ...], str]:
    reporter, found = "", []
    for fields in _blocks(status):
        reporter = reporter or _named(fields.get("reporting-mta", ""))
        recipient = _named(fields.get("final-recipient") or fields.get("original-recipient") or "")
        if not recipient and "action" not in fields and "status" not in fields:
            continue
        code = re.search(r"\d\.\d{1,3}\.\d{1,3}", fields.get("status", ""))
        found.append(RefusedRecipient(
            address_in(recipient) or recipient, fields.get("action", "").split(" ")[0].lower(), code[0] if code else "",
            joined(_named(fields.get("diagnostic-code", "")))[:MAX_REPLY],
            _named(fields.get("remote-mta", "")).split(" ")[0],
        ))  # fmt: skip
    return tuple(found), reporter


def joined(reply: str) -> str:
    """A reply of several lines as one: the code that each line repeats is kept once."""
    text = re.sub(r"^([245]\d\d): ", r"\1 ", re.sub(r"\s+", " ", reply).strip())
    found = re.match(r"([245]\d\d)[ -]((?:\d\.\d{1,3}\.\d{1,3})?)", text)
    if found is None:
        return text
    again = re.compile(rf" {found[1]}[ -]{re.escape(found[2])} ?" if found[2] else rf" {found[1]}-")
    return f"{found[1]} {again.sub(' ', text[4:])}"


def _completed(refusal: RefusedRecipient, spoken: str) -> RefusedRecipient:
    """The refusal with the words of the text for people, where the status part has none."""
    if re.search(r"[A-Za-z]{3}", re.sub(r"^[245]\d\d", "", refusal.reply)):
        return refusal
    return RefusedRecipient(refusal.recipient, refusal.action, refusal.status, _spoken_reply(spoken), refusal.server)


def _spoken_reply(spoken: str) -> str:
    head = _BELOW.split(spoken)[0]
    for pattern in _SPOKEN:
        if found := pattern.search(head):
            return joined(found[1])[:MAX_REPLY]
    found = _REPLY.search(head)
    return joined(found[1])[:MAX_REPLY] if found else re.sub(r"\s+", " ", head).strip()[:600]


def _from_words(message: MailPart, spoken: str) -> tuple[RefusedRecipient, ...]:
    """The refusal that only the text for people tells."""
    head = _BELOW.split(spoken)[0]
    if "Final-Recipient:" in head:  # a status that is no part of its own
        told = _from_status(parse(b"\n" + head[head.find("Reporting-MTA:") :].encode("utf-8", "replace")))[0]
        if told:
            return told
    reply = _spoken_reply(spoken)
    code = re.search(r"\b[245]\.\d{1,3}\.\d{1,3}\b", reply)
    first = re.search(r"<?([^\s<>()\[\]\"':;,@]{1,64}@[^\s<>()\[\]\"':;,@]{1,255}\.[A-Za-z]{2,63})>?", head)
    recipient = address_in(message.first("x-failed-recipients")) or (address_in(first[1]) if first else "")
    delayed = r"(?i)warning message only|has been delayed|\(delay\)|not yet been delivered|^warning: "
    action = "delayed" if re.search(delayed, head) or re.search(delayed, message.first("subject")) else "failed"
    server = re.search(r"(?i)(?:from the remote server|by|to|host) ([\w-]+(?:\.[\w-]+){2,})\b", head)
    return (RefusedRecipient(recipient, action, code[0] if code else "", reply, server[1].lower() if server else ""),)


def _complaint(feedback: MailPart) -> RefusedRecipient:
    fields = next(_blocks(feedback), {})
    recipient = address_in(fields.get("original-rcpt-to", ""))
    return RefusedRecipient(
        recipient, "complaint", "", fields.get("feedback-type", "abuse"), fields.get("reporting-mta", "")
    )
