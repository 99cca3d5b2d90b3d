"""Bounces that SES reports in JSON, in all that may be wrapped around them; and Ed25519 signatures."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support import House
from test_message import BODY, DATE, FAILED, PASSED, judged, mail, received, signed, tampered, wrong, zone

from reconciler.errors import ReconError
from reconciler.message import read_message

# --- events --------------------------------------------------------------------------------------------------------

MAIL: dict[str, Any] = {
    "timestamp": "2026-11-29T07:59:00.000Z", "source": "bounce@mail.acme.com",
    "sourceArn": "arn:aws:ses:eu-west-1:111122223333:identity/acme.com", "sourceIp": "198.51.100.4",
    "callerIdentity": "crm-import", "sendingAccountId": "111122223333", "messageId": "0102019a-3-000000",
    "destination": ["ann@big.example"], "headersTruncated": False,
    "headers": [{"name": "From", "value": "News <news@acme.com>"}, {"name": "Subject", "value": "a\r\nBcc: x@y.z"},
                {"name": "Message-ID", "value": "<own@program>"}],
}  # fmt: skip
BARE = {key: MAIL[key] for key in ("timestamp", "source", "messageId", "destination")}
TAGS = {"ses:configuration-set": ["main"], "ses:caller-identity": ["crm-import"], "campaign": ["w48"]}
BLOCKED = "smtp; 550-5.7.1 Messages from 192.0.2.1 weren't sent:\n 550-5.7.1 its network is on our block list (S3150)."
SUPPRESSED = (
    "Amazon SES did not send the message to this address because it is on the suppression list for your account."
)


def bounce(subtype: str = "General", said: str = BLOCKED, status: str = "5.7.1", **more: Any) -> dict[str, Any]:
    person = {"emailAddress": "<ann@big.example>", "action": "failed", "status": status, "diagnosticCode": said}
    block = {"bounceType": "Permanent", "bounceSubType": subtype, "reportingMTA": "dns; a8-1.smtp-out.amazonses.com",
             "bouncedRecipients": [person], "timestamp": "2026-11-29T08:00:00.000Z", **more}  # fmt: skip
    return {"notificationType": "Bounce", "bounce": block, "mail": MAIL}


EVENTS: dict[str, tuple[dict[str, Any], str, str]] = {
    # name: event, the layer that failed, words of the first line
    "a receiver blocks": (bounce(), "reputation", "the server of big.example said: 550 5.7.1 Messages from"),
    "its address is known": (bounce(remoteMtaIp="192.0.2.9"), "reputation", "192.0.2.9 said: 550 5.7.1"),
    "unauthenticated": (
        bounce(said="smtp; 550-5.7.26 This mail has been blocked because the sender is unauthenticated."),
        "dmarc", "It was refused: dmarc",
    ),
    "suppressed": (bounce("OnAccountSuppressionList", SUPPRESSED, "5.1.1"), "suppression", "SES said: Amazon SES did"),
    "suppressed for all": (
        bounce("Suppressed", "Amazon SES has suppressed sending to this address because it bounced of late", "5.1.1"),
        "suppression", "SES did not try",
    ),
    "without words": (bounce("NoEmail", "", ""), "recipient", "the recipient does not exist (ann@big.example)"),
    "full": (bounce("MailboxFull", "smtp; 552", "5.2.2"), "recipient", "mailbox is full"),
    "an event": (
        {"eventType": "Bounce", "bounce": bounce()["bounce"], "mail": {**MAIL, "tags": TAGS}}, "reputation", "It was",
    ),
    "without headers": ({**bounce(), "mail": BARE}, "reputation", "It was refused"),
    "delayed": (
        {"eventType": "DeliveryDelay", "mail": MAIL, "deliveryDelay": {
            "delayType": "TransientCommunicationFailure", "delayedRecipients": [{"emailAddress": "ann@big.example"}]}},
        "network", "It is delayed: network: the receiver's server could not be reached",
    ),
    "complained": (
        {"notificationType": "Complaint", "mail": MAIL, "complaint": {
            "complainedRecipients": [{"emailAddress": "ann@big.example"}], "complaintFeedbackType": "abuse"}},
        "reputation", "A recipient complained: reputation: a recipient reported the message as abuse",
    ),
    "suppressed for a complaint": (
        {"eventType": "Complaint", "mail": MAIL, "complaint": {
            "complainedRecipients": [{"emailAddress": "ann@big.example"}],
            "complaintSubType": "OnAccountSuppressionList"}},
        "suppression", "It was refused: suppression",
    ),
    "rejected": (
        {"eventType": "Reject", "mail": MAIL, "reject": {"reason": "Bad content"}}, "content", "SES found a virus",
    ),
    "no template": (
        {"eventType": "Rendering Failure", "mail": MAIL, "failure": {"templateName": "w", "errorMessage": "no 'name'"}},
        "content", "template w: no 'name'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EVENTS)
def test_what_ses_reports_is_read(name: str) -> None:
    event, layer, words = EVENTS[name]
    said, found, evidence = judged(json.dumps(event).encode())
    assert words in said, said
    assert wrong(found) == [layer]
    assert evidence.author in {"acme.com", "mail.acme.com"}
    assert [one.layer for one in found if one.status == "unknown"] == ["dkim"], "not verifiable, which is not failed"
    assert "Bcc" not in [h.name for h in evidence.looked_at.headers] if evidence.looked_at else True


def sns(event: Mapping[str, Any]) -> dict[str, Any]:
    return {"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:eu-west-1:111122223333:bounces",
            "Subject": "Amazon SES Email Event Notification", "Message": json.dumps(event),
            "Timestamp": "2026-11-29T08:00:01.000Z", "SignatureVersion": "1", "Signature": "x"}  # fmt: skip


FOOTER = "\r\n\r\n--\r\nIf you wish to stop receiving notifications from this topic, visit the link below:\r\nhttps://x"


def by_mail(text: str, encoding: str = "7bit") -> bytes:
    body = text + FOOTER
    body = base64.encodebytes(body.encode()).decode() if encoding == "base64" else body
    return mail(body, From="AWS Notifications <no-reply@sns.amazonaws.com>", Subject="AWS Notification Message",
                Content_Type="text/plain; charset=UTF-8", Content_Transfer_Encoding=encoding)  # fmt: skip


WRAPPED: dict[str, Callable[[Mapping[str, Any]], bytes]] = {
    "an SNS envelope": lambda event: json.dumps(sns(event), indent=2).encode(),
    "with a byte order mark": lambda event: b"\xef\xbb\xbf\n" + json.dumps(event).encode(),
    "what SQS received": lambda event: json.dumps({"Messages": [{"Body": json.dumps(sns(event))}]}).encode(),
    "what Lambda got of SNS": lambda event: json.dumps({"Records": [{"Sns": sns(event)}]}).encode(),
    "what Lambda got of SQS": lambda event: json.dumps({"Records": [{"body": json.dumps(event)}]}).encode(),
    "EventBridge": lambda event: json.dumps({"detail-type": "Email Bounced", "detail": event}).encode(),
    "two lines of Firehose": lambda event: (json.dumps(event) + "\n" + json.dumps(event) + "\n").encode(),
    "a mail of SNS": lambda event: by_mail(json.dumps(event)),
    "a mail of SNS with a broken line": lambda event: by_mail(json.dumps(event).replace("A", "\r\n A", 1)),
    "a mail of SNS with the envelope": lambda event: by_mail(json.dumps(sns(event)), "base64"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRAPPED)
def test_an_event_is_found_in_what_is_around_it(name: str) -> None:
    said, found, evidence = judged(WRAPPED[name]({**bounce(), "mail": {**MAIL, "tags": TAGS}}))
    assert said.startswith("It was refused: reputation: the receiver blocks the sending IP address (ann@big.example)")
    sender = next(one.message for one in found if one.layer == "sender")
    assert "from news@acme.com; SES in eu-west-1; configuration set main" in sender
    assert "campaign=w48" in sender and sender.endswith("sent by the IAM user or role crm-import")
    assert evidence.trace.message_id == "0102019a-3-000000@eu-west-1.amazonses.com"


@pytest.mark.parametrize("kind", ["Delivery", "Send", "Open"])
def test_what_is_no_failure_is_none(kind: str) -> None:
    block = (
        {"delivery": {"smtpResponse": "250 2.0.0 Ok", "recipients": ["ann@big.example"]}} if kind == "Delivery" else {}
    )
    said, found, _ = judged(json.dumps({"eventType": kind, "mail": MAIL, **block}).encode())
    assert said.startswith("SES reports no failure: ") and {one.status for one in found} == {"ok"}


@pytest.mark.parametrize(
    "document",
    [
        b'{"eventType": "Bounce"}', b"[]", b"{", b'{"Message": "not JSON"}', b'{"Type": "SubscriptionConfirmation"}',
        b'{"Message":' * 50 + b"1" + b"}" * 50, b"[" * 100_000, json.dumps(sns({"AlarmName": "x"})).encode(),
    ],
)  # fmt: skip
def test_other_json_is_no_message(document: bytes) -> None:
    with pytest.raises(ReconError, match="is JSON without an SES event"):
        read_message(document, "m.json")


@pytest.mark.parametrize(
    "broken",
    [
        {"bounce": None}, {"bounce": {"bouncedRecipients": "x"}}, {"bounce": {"bouncedRecipients": [1, None, {}]}},
        {"mail": {}}, {"mail": {"headers": [1, {"name": "\n", "value": []}], "tags": [], "commonHeaders": 3}},
    ],
)  # fmt: skip
def test_an_event_with_anything_in_it_is_read(broken: dict[str, Any]) -> None:
    said, _, _ = judged(json.dumps({**bounce(), **broken}).encode())
    assert said


def test_the_command_reads_an_event_and_hides_its_people(house: House) -> None:
    (house.home / "bounce.json").write_text(json.dumps(sns(bounce())))
    ran = house.cli("doctor", "--message", "bounce.json", "--no-dns", "--redact")
    assert ran.code == 2 and "(recipient-1@big.example)" in ran.out, ran
    assert (
        json.loads(house.cli("doctor", "--message", "bounce.json", "--no-dns", "--format", "json").out)["message"][
            "refusals"
        ][0]["recipient"]
        == "ann@big.example"
    )


# --- forms that are no reports of RFC 3464 or 5965 -----------------------------------------------------------------

BY_SYSTEM = "MAILER-DAEMON@relay.example (Mail Delivery System)"
SPOKEN: dict[str, tuple[bytes, str]] = {
    # name: message, words of the first line
    "a delay, by its subject": (
        mail("The message has not yet been delivered.\r\n  ann@big.example\r\n  450 try again later\r\n",
             From=BY_SYSTEM, Subject="Warning: message 1abc-2 delayed 24 hours"), "It is delayed: network: ",
    ),
    "only the subject is clear": (
        mail("Reason:\r\nUser not listed in public address book\r\nann@big.example\r\n", From="postmaster@big.example",
             Subject="Undeliverable message"), "It was refused: recipient: the recipient does not exist",
    ),
    "an error without words that are known": (
        mail("An error has occurred for\r\n\r\nann@big.example: Domain does not exist\r\n", From=BY_SYSTEM,
             Subject="Delivery status notification: error"), "It was refused: recipient: the recipient's domain",
    ),
    "a code with a colon": (
        mail("We were unable to deliver it.\r\n\r\n<ann@big.example>:\r\n554: 5.7.9 Not accepted by policy\r\n",
             From="MAILER-DAEMON@big.example", Subject="Failure Notice"), "It was refused: receiver: the receiver",
    ),
    "Outlook.com's complaint": (
        mail("--b\r\nContent-Type: message/rfc822\r\n\r\nX-HmXmrOriginalRecipient: ann@hotmail.example\r\n"
             "From: News <news@acme.com>\r\nSubject: Winter\r\n\r\nDear Ann\r\n--b--\r\n",
             From="staff@hotmail.example", Subject="complaint about message from 192.0.2.1",
             Content_Type="multipart/mixed; boundary=b"), "A recipient complained: reputation: ",
    ),
    "lines that end as on an old Mac": (
        mail("550 5.1.1 unknown user ann@big.example\r\n", From=BY_SYSTEM, Subject="Returned").replace(b"\n", b""),
        "It was refused: recipient: ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOKEN)
def test_a_form_of_its_own_is_read(name: str) -> None:
    data, words = SPOKEN[name]
    said, _, _ = judged(data)
    assert said.startswith(words), said


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("552 5.3.4 Message size exceeds the fixed limit", "content: the message is larger"),
        ("550 5.1.8 Sender address rejected: Domain not found", "identity: the receiver refuses the sender's address"),
        ("554 5.4.14 Hop count exceeded - possible mail loop", "network: the receiver's servers pass the mail"),
        ("525 5.7.13 Disabled recipient address", "recipient: the recipient's mailbox is switched off"),
        ("550 5.1.0 Unknown address", "recipient: the recipient does not exist"),
        ("452 4.3.1 Insufficient system resources", "network: the receiver's server could not be reached"),
        ("550 Ip frequency limited [abc]", "reputation: the receiver limits"),
        ("554 5.7.1 Access denied", "receiver: the receiver refused it"),
    ],
)
def test_replies_of_many_receivers(reply: str, words: str) -> None:
    said, _, _ = judged(json.dumps(bounce(said=f"smtp; {reply}", status="")).encode())
    assert said.startswith(f"It was refused: {words}"), said


def test_the_first_line_of_a_mailbox_alone_is_no_message() -> None:
    with pytest.raises(ReconError, match="does not begin with mail headers"):
        read_message(b"From ann@acme.com Thu Apr 29 23:34:45 2027", "m.mbox")


# --- Ed25519 -------------------------------------------------------------------------------------------------------


@functools.cache
def ed25519() -> tuple[Ed25519PrivateKey, str]:
    """A private key, and the DNS record of its public key (RFC 8463, 4)."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    return key, f"v=DKIM1; k=ed25519; p={base64.b64encode(key.public_key().public_bytes_raw()).decode()}"


def signed_by_ed25519(message: bytes) -> bytes:
    """The message with an Ed25519 signature on top, relaxed/relaxed (RFC 6376, 3.4 and 3.7)."""
    head, _, body = message.decode().partition("\r\n\r\n")
    names = ("From", "To", "Subject", "Date")
    fields = dict(line.split(": ", 1) for line in head.split("\r\n"))
    lines = "\r\n".join(re.sub(r"[ \t]+", " ", line).rstrip(" ") for line in body.split("\r\n")).rstrip("\r\n") + "\r\n"
    digest = base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()
    tags = f"v=1; a=ed25519-sha256; c=relaxed/relaxed; d=acme.com; s=e1; h={':'.join(names)}; bh={digest}; b="
    text = "".join(f"{n.lower()}:{' '.join(fields[n].split())}\r\n" for n in names) + f"dkim-signature:{tags}"
    value = base64.b64encode(ed25519()[0].sign(hashlib.sha256(text.encode()).digest())).decode()
    return f"DKIM-Signature: {tags}{value}\r\n".encode() + message


ED: dict[str, tuple[bytes, str | None, tuple[str, str], str]] = {
    # name: message, its record, (result, cause), words of the first line
    "verifies": (received(signed_by_ed25519(mail()), PASSED), ed25519()[1], ("pass", ""), "authentic: DMARC passes by"),
    "the body was changed": (
        received(tampered(signed_by_ed25519(mail()), b"Dear", b"[EXTERNAL] Dear"), FAILED), ed25519()[1],
        ("fail", "body"), "its body was changed on the way",
    ),
    "both were changed": (
        received(tampered(tampered(signed_by_ed25519(mail()), b"Dear", b"Hi"), b"Subject: Y", b"Subject: Z"), FAILED),
        ed25519()[1], ("fail", "headers"), "signed headers were changed",
    ),
    "a header was changed, or the key": (
        received(tampered(signed_by_ed25519(mail()), b"Subject: Y", b"Subject: Z"), FAILED), ed25519()[1],
        ("fail", "other key"), "not the one that signed, or a signed header was changed",
    ),
    "an RSA key": (
        received(signed_by_ed25519(mail()), FAILED), zone()["s1._domainkey.acme.com"], ("fail", "bad key"),
        "the key there is not an Ed25519 key",
    ),
    "a key in DER": (
        received(signed_by_ed25519(mail()), FAILED), f"v=DKIM1; k=ed25519; p={base64.b64encode(bytes(44)).decode()}",
        ("fail", "bad key"), "32 bytes in base64",
    ),
    "no base64": (
        received(signed_by_ed25519(mail()), FAILED), "v=DKIM1; k=ed25519; p=!", ("fail", "malformed"), "cannot be read",
    ),
    "no key": (received(signed_by_ed25519(mail()), FAILED), None, ("fail", "no key"), "public DNS has no key there"),
}  # fmt: skip


@pytest.mark.parametrize("name", ED)
def test_an_ed25519_signature(name: str) -> None:
    data, record, result, words = ED[name]
    said, _, evidence = judged(data, zone(**{"e1._domainkey.acme.com": record}))
    assert [(s.result, s.cause) for s in evidence.signatures] == [result]
    assert words in said, said


def test_both_kinds_of_signature_and_headers_alone() -> None:
    both = received(signed(signed_by_ed25519(mail())), PASSED)
    said, _, evidence = judged(both, zone(**{"e1._domainkey.acme.com": ed25519()[1]}))
    assert [s.result for s in evidence.signatures] == ["pass", "pass"] and "authentic" in said
    alone = both.replace(BODY.encode(), b"")
    _, _, evidence = judged(alone, zone(**{"e1._domainkey.acme.com": ed25519()[1]}))
    assert [s.cause for s in evidence.signatures] == ["headers only"] * 2
    assert DATE in alone.decode()
    wrong_key = zone(**{"s1._domainkey.acme.com": ed25519()[1]})
    _, _, evidence = judged(received(signed(mail()), FAILED), wrong_key)
    assert [(s.result, s.cause) for s in evidence.signatures] == [("fail", "bad key")]
