"""What SES says of a message in JSON: the notifications of an identity and the events of a configuration set, in a
file of their own or as the text of a mail.

Sources: SES Developer Guide, "Contents of event data that Amazon SES publishes to Amazon SNS" and "Amazon SNS
notification contents for Amazon SES" (fields, bounce types and subtypes).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from reconciler.message.bounce import MAX_REPLY, BounceReport, RefusedRecipient, joined
from reconciler.message.envelopes import event_in, type_of
from reconciler.message.reading import MailPart, address_in, parse

_PARTS: Final = 10
_RECIPIENTS: Final = 200
_SUBTYPES: Final[Mapping[str, str]] = {
    "OnAccountSuppressionList": "the recipient is on the account suppression list",
    "Suppressed": "the recipient is on the global suppression list",
    "NoEmail": "unknown recipient", "MailboxFull": "mailbox full", "MessageTooLarge": "message too large",
    "ContentRejected": "content rejected", "AttachmentRejected": "attachment rejected", "CustomTimeoutExceeded":
    "not delivered within max_delivery_seconds (message expired)", "RecipientServerError": "connection refused",
    "TransientCommunicationFailure": "connection timed out", "SpamDetected": "unsolicited mail (spam)",
    "IPFailure": "the sending IP address is blocked (blocklist)",
}  # fmt: skip
"""Subtypes of bounces and types of delays -> words for where the receiver's server said nothing."""


def event_of(message: MailPart) -> Mapping[str, Any] | None:
    """The SES event that a file is, or that a mail has as its text; None for any other message."""
    for part in list(message.walk())[:_PARTS]:
        if part.kind in {"application/json", "text/plain"} and (event := event_in(part.text)) is not None:
            return event
    return None


def report_of(event: Mapping[str, Any]) -> BounceReport:
    """What an event reports: ``kind`` is ``bounce``, ``delay``, ``complaint``, or ``delivery`` for one that is no
    failure, such as Send, Delivery or Open."""
    kind = type_of(event)
    original = _original(_mapping(event["mail"]))
    if kind == "Bounce":
        bounce = _mapping(event.get("bounce"))
        said = tuple(_refusals(bounce, "bouncedRecipients", "failed", str(bounce.get("bounceSubType") or "")))
        return BounceReport("bounce", said, _host(bounce.get("reportingMTA")), original, False, event=True)
    if kind == "DeliveryDelay":
        delay = _mapping(event.get("deliveryDelay"))
        said = tuple(_refusals(delay, "delayedRecipients", "delayed", str(delay.get("delayType") or "")))
        return BounceReport("delay", said, _host(delay.get("reportingMTA")), original, False, event=True)
    if kind == "Complaint":
        return _complaint(_mapping(event.get("complaint")), original)
    if kind == "Reject":
        reason = str(_mapping(event.get("reject")).get("reason") or "Bad content")
        return BounceReport(
            "bounce", (_by_ses(f"Amazon SES rejected the message: {reason}"),), "", original, False, event=True
        )
    if kind == "Rendering Failure":
        failure = _mapping(event.get("failure"))
        why = f"Amazon SES: Rendering Failure of template {failure.get('templateName')}: {failure.get('errorMessage')}"
        return BounceReport("bounce", (_by_ses(why),), "", original, False, event=True)
    delivery = _mapping(event.get("delivery"))
    reply = joined(str(delivery.get("smtpResponse") or kind))[:MAX_REPLY]
    people = [address_in(str(one)) for one in _list(delivery.get("recipients"))] or [""]
    done = tuple(RefusedRecipient(one, "delivered", "", reply, "") for one in people)
    return BounceReport("delivery", done, _host(delivery.get("reportingMTA")), original, False, event=True)


def _by_ses(said: str) -> RefusedRecipient:
    return RefusedRecipient("", "failed", "", said[:MAX_REPLY], "SES")


def _refusals(block: Mapping[str, Any], name: str, action: str, subtype: str) -> Iterator[RefusedRecipient]:
    for one in map(_mapping, _list(block.get(name))):
        recipient = address_in(str(one.get("emailAddress") or ""))
        said = joined(str(one.get("diagnosticCode") or "").removeprefix("smtp;"))
        status = str(one.get("status") or "")
        words = _SUBTYPES.get(subtype, f"{block.get('bounceType') or ''} {subtype}".strip())
        if not re.search(r"[A-Za-z]{3}", said) or subtype in {"OnAccountSuppressionList", "Suppressed"}:
            said = f"{said} ({words})" if said else words
        by_ses = "Amazon SES" in said or "suppression list" in said
        server = "SES" if by_ses else str(block.get("remoteMtaIp") or f"the server of {recipient.rpartition('@')[2]}")
        code = re.search(r"\d\.\d{1,3}\.\d{1,3}", status)
        yield RefusedRecipient(recipient, action, code[0] if code else "", said[:MAX_REPLY], server)


def _complaint(complaint: Mapping[str, Any], original: MailPart | None) -> BounceReport:
    people = [address_in(str(_mapping(one).get("emailAddress") or ""))
              for one in _list(complaint.get("complainedRecipients"))] or [""]  # fmt: skip
    if complaint.get("complaintSubType") == "OnAccountSuppressionList":
        words = "the recipient is on the account suppression list, for a complaint"
        said = tuple(RefusedRecipient(one, "failed", "", words, "SES") for one in people)
        return BounceReport("bounce", said, "", original, False, event=True)
    feedback = str(complaint.get("complaintFeedbackType") or "abuse")
    said = tuple(RefusedRecipient(one, "complaint", "", feedback, "") for one in people)
    return BounceReport("complaint", said, "", original, False, event=True)


def _original(mail: Mapping[str, Any]) -> MailPart | None:
    """The message as far as the event tells: the headers that its sender wrote, and what SES knows of the sender."""
    pairs = [(str(h.get("name") or ""), str(h.get("value") or "")) for h in map(_mapping, _list(mail.get("headers")))]
    names = {name.lower() for name, _ in pairs}
    common = _mapping(mail.get("commonHeaders"))
    tags = {str(k): ",".join(map(str, _list(v))) for k, v in _mapping(mail.get("tags")).items()}
    for name, member in (("ses:caller-identity", "callerIdentity"), ("ses:source-ip", "sourceIp")):
        if mail.get(member):
            tags.setdefault(name, str(mail[member]))
    region = str(mail.get("sourceArn") or "").split(":")[3:4]
    host = "email" if region in ([], ["us-east-1"]) else region[0]
    sender = ", ".join(map(str, _list(common.get("from")))) or str(mail.get("source") or "")
    for name, value in (
        ("From", sender), ("Subject", str(common.get("subject") or "")),
        ("Date", str(common.get("date") or "")), ("To", ", ".join(map(str, _list(mail.get("destination"))))),
        ("X-SES-CONFIGURATION-SET", tags.pop("ses:configuration-set", "")),
        ("X-SES-MESSAGE-TAGS", ", ".join(f"{k}={v}" for k, v in tags.items())),
    ):  # fmt: skip
        if value and name.lower() not in names:
            pairs.append((name, value))
    # The id in the headers is the one that the sender's program gave; SES replaces it.
    pairs = [(name, value) for name, value in pairs if name.lower() != "message-id"]
    pairs.append(("Message-ID", f"<{mail.get('messageId') or 'unknown'}@{host}.amazonses.com>"))
    lines = "".join(
        f"{name}: {' '.join(value.split())}\r\n" for name, value in pairs if re.fullmatch(r"[!-9;-~]+", name)
    )
    return parse(lines.encode("utf-8", "replace") + b"\r\n") if sender else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value[:_RECIPIENTS] if isinstance(value, list) else [] if value is None else [value]


def _host(value: Any) -> str:
    """``dns; a8-53.smtp-out.amazonses.com`` without its type."""
    text = str(value or "")
    return (text.partition(";")[2] or text).strip()
