"""Received mail and bounces: what they prove, which layer failed, and whose word counts."""

from __future__ import annotations

import base64
import functools
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from support import House

from reconciler.errors import ReconError
from reconciler.mail import dmarc_walk
from reconciler.message import Evidence, MessageFinding, examine, findings, headline, questions, read_message
from reconciler.message.bounce import read_report
from reconciler.message.replies import meaning_of
from reconciler.message.results import parse_hop, parse_results, receiver_of
from reconciler.message.sender import trace
from reconciler.public_dns import Answer

NOW = "2026-11-29T12:00:00+00:00"
DATE = "Sun, 29 Nov 2026 09:00:00 +0000"
REJECT = "v=DMARC1; p=reject; rua=mailto:d@acme.com"


@functools.cache
def pair(name: str) -> tuple[bytes, str]:
    """A private key, and the DNS record of its public key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem, f"v=DKIM1; k=rsa; p={base64.b64encode(der).decode()}"


BODY = "Dear Ann,\r\n\r\nyour booking is confirmed.\r\n"


def mail(body: str = BODY, **headers: str) -> bytes:
    """A message as it is before anybody signs it."""
    fields = {
        "From": "News <news@acme.com>",
        "To": "ann@example.net",
        "Subject": "Your booking",
        "Date": DATE,
        "Message-ID": "<0100018f-1-000000@email.amazonses.com>",
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    return "".join(f"{k}: {v}\r\n" for k, v in fields.items()).encode() + b"\r\n" + body.encode()


def signed(message: bytes, domain: str = "acme.com", selector: str = "s1", key: str = "acme") -> bytes:
    """The message with a DKIM signature on top."""
    names = [b"From", b"To", b"Subject", b"Date"]
    header = dkim.sign(message, selector.encode(), domain.encode(), pair(key)[0], include_headers=names)
    return bytes(header) + message


def received(message: bytes, results: str = "", by: str = "mx.google.com", client: str = "") -> bytes:
    """The message as a receiver delivers it, with its results."""
    client = client or "a8-53.smtp-out.amazonses.com (a8-53.smtp-out.amazonses.com. [54.240.8.53])"
    head = (
        f"Return-Path: <0100018f@bounce.acme.com>\r\nReceived: from {client}\r\n        by {by} with ESMTPS id x1\r\n"
    )
    head += f"        for <ann@example.net>; {DATE}\r\n"
    head += f"Authentication-Results: {results}\r\n" if results else ""
    return head.encode() + message


PASSED = (
    "mx.google.com;\r\n       dkim=pass header.i=@acme.com header.s=s1 header.b=abc;\r\n      "
    " spf=pass (google.com: domain of"
    " 0100018f@bounce.acme.com designates 54.240.8.53 as permitted sender) smtp.mailfrom=0100018f@bounce.acme.com;\r\n"
    "       dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=acme.com"
)
FAILED = (
    PASSED.replace("dkim=pass", "dkim=fail")
    .replace("spf=pass", "spf=fail")
    .replace("dmarc=pass", "dmarc=fail")
    .replace("dis=NONE", "dis=REJECT")
)


def zone(**more: str | None) -> dict[str, str]:
    """What public DNS has: the key and the DMARC record of acme.com, changed by ``more`` (``__`` is a dot)."""
    records: dict[str, str | None] = {
        "s1._domainkey.acme.com": pair("acme")[1],
        "_dmarc.acme.com": REJECT,
        "ses._domainkey.amazonses.com": pair("ses")[1],
        "l1._domainkey.lists.example": pair("list")[1],
        **{name.replace("__", "."): value for name, value in more.items()},
    }
    return {name: value for name, value in records.items() if value is not None}


def judged(
    data: bytes, records: Mapping[str, str] | None = None, declared: str = ""
) -> tuple[str, list[MessageFinding], Evidence]:
    """(headline, findings, evidence) of a file."""
    message = read_message(data, "m.eml")
    known = zone() if records is None else records
    answers = {
        (name, kind): Answer((known[name],)) if kind == "TXT" and name in known else Answer()
        for name, kind in questions(message)
    }
    evidence = examine(message, answers)
    found = findings(evidence, NOW, declared)
    return headline(found, evidence), found, evidence


def wrong(found: list[MessageFinding]) -> list[str]:
    return [one.layer for one in found if one.status == "found"]


# --- received mail -------------------------------------------------------------------------------------------------

MICROSOFT = (
    "spf=pass (sender IP is 54.240.8.53) smtp.mailfrom=bounce.acme.com; dkim=pass (signature was verified)"
    " header.d=acme.com;dmarc=pass action=none header.from=acme.com;compauth=pass reason=100"
)
YAHOO = (
    "atlas-production.v2-mail-prod1-gq1.omega.yahoo.com; dkim=pass header.i=@acme.com header.s=s1; spf=pass"
    " smtp.mailfrom=bounce.acme.com; dmarc=pass(p=REJECT,sp=REJECT) header.from=acme.com"
)
SES_INBOUND = (
    "amazonses.com; spf=pass (spfCheck: domain of bounce.acme.com designates 54.240.8.53 as permitted sender)"
    " client-ip=54.240.8.53; envelope-from=0100018f@bounce.acme.com; helo=a8-53.smtp-out.amazonses.com;"
    " dkim=pass header.i=@acme.com; dmarc=pass header.from=acme.com"
)


@pytest.mark.parametrize(
    ("results", "by", "site"),
    [
        (PASSED, "mx.google.com", "google.com"),
        (MICROSOFT, "BL6PEPF0001AB.mail.protection.outlook.com (10.167.241.1)", "outlook.com"),
        (YAHOO, "atlas-production.v2-mail-prod1-gq1.omega.yahoo.com", "yahoo.com"),
        (SES_INBOUND, "inbound-smtp.us-east-1.amazonaws.com", "amazonses.com"),
        (
            "mx1.corp.example; dkim=pass header.d=acme.com; spf=pass smtp.helo=acme.com; dmarc=pass",
            "mx1.corp.example",
            "corp.example",
        ),
    ],
)
def test_the_results_of_real_receivers_are_read(results: str, by: str, site: str) -> None:
    said, found, evidence = judged(received(signed(mail()), results, by))
    assert said.startswith("The message is authentic: DMARC passes by DKIM acme.com and SPF ")
    assert wrong(found) == []
    assert evidence.receiver.site == site
    assert evidence.receiver.results is not None
    methods = {one.method: (one.result, one.domain) for one in evidence.receiver.results.results}
    assert methods["dkim"] == ("pass", "acme.com")
    assert methods["spf"][0] == "pass" and methods["spf"][1].endswith("acme.com")
    assert methods["dmarc"][0] == "pass"
    assert evidence.reported is not None and evidence.reported.result == "pass"
    assert [s.result for s in evidence.signatures] == ["pass"]


def test_gmail_hops_without_names_are_passed_over() -> None:
    head = (
        "Delivered-To: ann@gmail.com\r\nReceived: by 2002:a05:7412:1:b0:1:1 with SMTP id h1; Sun, 29"
        " Nov 2026 01:00:00 -0800\r\n"
        "X-Received: by 2002:a05:620a:1 with SMTP id y1; Sun, 29 Nov 2026 01:00:00 -0800\r\n"
    )
    _, _, evidence = judged(head.encode() + received(signed(mail()), FAILED))
    assert evidence.receiver.site == "google.com"
    assert evidence.reported is not None and (evidence.reported.result, evidence.reported.policy) == ("fail", "reject")
    assert evidence.receiver.client is not None and evidence.receiver.client.address == "54.240.8.53"


MICROSOFT_WITH_RECIPIENT = (
    "spf=softfail (sender IP is 198.51.100.7)\r\n smtp.mailfrom=acme.com; corp.example; dkim=pass (signature was\r\n"
    " verified) header.d=acme.com;corp.example; dmarc=pass action=none\r\n header.from=acme.com;compauth=pass"
    " reason=100"
)


def test_a_receiver_may_write_a_header_for_each_method() -> None:
    """iCloud does, above all Received headers; what has the name of another site is not taken for its own."""
    split = (
        "Authentication-Results: bimi.icloud.com; bimi=skipped\r\n"
        "Authentication-Results: dmarc.icloud.com; dmarc=pass header.from=acme.com\r\n"
        "Authentication-Results: dkim-verifier.icloud.com; dkim=pass header.d=acme.com\r\n"
        "Authentication-Results: mx.forged.example; spf=pass smtp.mailfrom=evil.example\r\n"
        "Authentication-Results: spf.icloud.com; spf=pass smtp.mailfrom=bounce.acme.com\r\n"
    )
    _, _, evidence = judged(split.encode() + received(signed(mail()), by="p00-mx01.mail.icloud.com"))
    assert evidence.receiver.results is not None
    assert [(one.method, one.domain) for one in evidence.receiver.results.results] == [
        ("bimi", ""), ("dmarc", "acme.com"), ("dkim", "acme.com"), ("spf", "bounce.acme.com"),
    ]  # fmt: skip
    assert evidence.receiver.foreign == ("mx.forged.example",)


def test_microsoft_names_the_recipient_among_its_results() -> None:
    by = "SYXPR01CA0095.outlook.office365.com (2603:10c6:0:2e::28)"
    said, found, evidence = judged(received(signed(mail()), MICROSOFT_WITH_RECIPIENT, by))
    assert evidence.receiver.results is not None
    assert [one.method for one in evidence.receiver.results.results] == ["spf", "dkim", "dmarc", "compauth"]
    assert wrong(found) == ["spf"] and said.startswith("spf: SPF is softfail for acme.com")


FORGED = "Authentication-Results: {}; dkim=pass header.d=acme.com; dmarc=pass header.from=acme.com\r\n"


@pytest.mark.parametrize(
    ("data", "reported", "foreign"),
    [
        # below the receiver's own header, in its name or another's
        (received(FORGED.format("mx.google.com").encode() + mail(), FAILED), "fail", ()),
        (received(FORGED.format("mx.forged.example").encode() + mail(), FAILED), "fail", ("mx.forged.example",)),
        # the receiver wrote none: what is there came with the message
        (received(FORGED.format("mx.google.com").encode() + mail(), "", "mx.corp.example"), None, ("mx.google.com",)),
        (
            received(FORGED.format("dmarc=pass").encode() + mail(), "", "mx.corp.example"),
            None,
            ("a server without a name",),
        ),
        # above all Received headers only the last server writes
        (
            b"Authentication-Results: local; dmarc=fail header.from=acme.com\r\n" + received(mail(), PASSED),
            "fail",
            ("mx.google.com",),
        ),
    ],
)
def test_only_the_header_of_the_receiver_counts(data: bytes, reported: str | None, foreign: tuple[str, ...]) -> None:
    said, found, evidence = judged(data)
    assert (evidence.reported.result if evidence.reported else None) == reported
    assert evidence.receiver.foreign == foreign
    assert "authentic" not in said
    assert wrong(found) or "not all can be verified" in said


def test_a_message_that_the_receiver_said_nothing_about_is_verified_here() -> None:
    said, found, evidence = judged(received(signed(mail()), by="mx.corp.example"))
    assert said.startswith("The message is authentic: DMARC passes by DKIM acme.com.")
    assert wrong(found) == []
    assert "left no Authentication-Results" in " ".join(one.message for one in found)
    assert evidence.reported is None


def tampered(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


LISTED = b"List-Id: Sailors <sailors.lists.example>\r\n"
ABOVE = mail()
CASES: dict[str, tuple[bytes, dict[str, str], str, str]] = {
    # name: message, public DNS, the layer of the cause, words of the headline
    "the key is missing": (
        received(signed(mail()), FAILED),
        zone(**{"s1._domainkey.acme.com": None}),
        "dns",
        "s1._domainkey.acme.com: public DNS",
    ),
    "the key is revoked": (
        received(signed(mail()), FAILED),
        zone(**{"s1._domainkey.acme.com": "v=DKIM1; p="}),
        "dns",
        "revoked",
    ),
    "the key is another": (
        received(signed(mail()), FAILED),
        zone(**{"s1._domainkey.acme.com": pair("ses")[1]}),
        "dkim",
        "not the one that signed",
    ),
    "the key is no key": (
        received(signed(mail()), FAILED),
        zone(**{"s1._domainkey.acme.com": "v=DKIM1; p=AAAA"}),
        "dkim",
        "acme.com fails",
    ),
    "not signed for the author": (
        received(signed(mail(), "amazonses.com", "ses", "ses"), FAILED),
        zone(),
        "dkim",
        "not signed for acme.com, only for amazonses.com",
    ),
    "no signature": (received(mail(), FAILED), zone(), "dkim", "it has no signature"),
    "a list changed the body": (
        received(LISTED + tampered(signed(mail()), b"is confirmed.", b"is confirmed.\r\n-- \r\nlist footer"), FAILED),
        zone(),
        "content",
        "body was changed by the mailing list Sailors",
    ),
    "a list changed the subject": (
        received(LISTED + tampered(signed(mail()), b"Subject: Your", b"Subject: [sailors] Your"), FAILED),
        zone(),
        "content",
        "signed headers were changed by the mailing list",
    ),
    "a gateway changed the body": (
        received(tampered(signed(mail()), b"Dear", b"[EXTERNAL] Dear"), FAILED),
        zone(),
        "content",
        "changed on the way",
    ),
    "the signature is no signature": (
        received(b"DKIM-Signature: v=1; a=rsa-sha256; d=acme.com; s=s1; h=from; bh=!!; b=??\r\n" + mail(), FAILED),
        zone(),
        "dkim",
        "cannot be read",
    ),
    "no DMARC record": (
        received(signed(mail()), PASSED.replace("dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=acme.com", "")),
        zone(**{"_dmarc.acme.com": None}),
        "dmarc",
        "no DMARC record for acme.com",
    ),
    "two DMARC records are none": (
        received(signed(mail())),
        zone(**{"_dmarc.acme.com": "v=DMARC1"}),
        "",
        "authentic",
    ),
    "SPF does not allow SES": (
        received(signed(mail()), PASSED.replace("spf=pass", "spf=softfail")),
        zone(),
        "spf",
        "SPF is softfail for bounce.acme.com: its record does not allow the server that delivered from 54.240.8.53",
    ),
    "SPF of a gateway before the receiver": (
        received(signed(mail()), PASSED.replace("spf=pass", "spf=fail"), client="mx.gate.example (x [198.51.100.7])"),
        zone(),
        "",
        "authentic",
    ),
    "the receiver saw other records": (
        received(signed(mail()), FAILED.replace("spf=fail", "spf=pass")),
        zone(),
        "dmarc",
        "By the records of today it passes",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_layer_that_failed_is_named(case: str) -> None:
    data, records, layer, words = CASES[case]
    said, found, _ = judged(data, records)
    assert words in said, (said, found)
    assert wrong(found)[:1] == ([layer] if layer else [])
    assert all(one.hint for one in found if one.status == "found")


def test_forwarding_is_no_misconfiguration() -> None:
    """SPF fails for what is forwarded; DKIM carries it."""
    results = PASSED.replace("spf=pass", "spf=fail")
    moved = b"X-Forwarded-To: ann@elsewhere.example\r\n" + signed(mail())
    said, found, evidence = judged(received(moved, results, client="mail.alumni.example (x [198.51.100.7])"))
    assert "authentic" in said and wrong(found) == []
    assert evidence.forwarded == ("x-forwarded-to: ann@elsewhere.example",)
    assert any(one.layer == "spf" and "as with all mail that is forwarded" in one.message for one in found)
    # without a header that says it, the path does
    hop = (
        b"Received: from a8-53.smtp-out.amazonses.com (x [54.240.8.53]) by mx.alumni.example with ESMTPS; "
        + DATE.encode()
    )
    through = received(hop + b"\r\n" + signed(mail()), results, client="mail.alumni.example (x [198.51.100.7])")
    assert judged(through)[2].forwarded == ("the servers alumni.example between SES and the receiver",)
    assert wrong(judged(through)[1]) == []


def test_a_key_that_was_replaced_since_is_no_fault() -> None:
    gone = zone(**{"s1._domainkey.acme.com": None})
    said, found, _ = judged(received(signed(mail()), PASSED), gone)
    assert "authentic" in said and wrong(found) == []
    assert any("no longer published" in one.message for one in found)
    old = signed(mail(Date="Mon, 01 Jun 2026 09:00:00 +0000"))
    said, found, _ = judged(received(old, by="mx.corp.example"), gone)
    assert wrong(found) == [] and "181 days old" in " ".join(one.message for one in found)


def test_what_dns_did_not_answer_is_not_failed() -> None:
    message = read_message(received(signed(mail())), "m.eml")
    answers = {question: Answer(problem="no resolver answered in time") for question in questions(message)}
    for given in (answers, {}):
        found = findings(examine(message, given), NOW)
        assert wrong(found) == []
        assert {one.layer for one in found if one.status == "unknown"} == {"dkim", "dmarc"}


def test_only_headers_are_not_verifiable() -> None:
    head = received(signed(mail())).partition(b"\r\n\r\n")[0] + b"\r\n"
    _, found, evidence = judged(head)
    assert [(s.result, s.cause) for s in evidence.signatures] == [("unknown", "headers only")]
    assert wrong(found) == []


# --- ARC -----------------------------------------------------------------------------------------------------------


class _Sealer(dkim.ARC):  # type: ignore[misc]
    """Writes the first ARC set of a message; dkimpy's own ``sign`` needs a library more."""

    def seal(self, results: bytes) -> bytes:
        import dkim.crypto
        from dkim.canonicalization import CanonicalizationPolicy

        policy = CanonicalizationPolicy.from_c_value(b"relaxed/relaxed")
        key, self.hasher = (
            dkim.crypto.parse_pem_private_key(pair("list")[0]),
            dkim.crypto.HASH_ALGORITHMS[b"rsa-sha256"],
        )
        body = base64.b64encode(self.hasher(policy.canonicalize_body(self.body)).digest())
        shared = [(b"i", b"1"), (b"a", b"rsa-sha256"), (b"d", b"lists.example"), (b"s", b"l1"), (b"t", b"1764400000")]
        made = [b"ARC-Authentication-Results: i=1; " + results + b"\r\n"]
        for name, fields, over in (
            (
                b"ARC-Message-Signature",
                [*shared, (b"c", b"relaxed/relaxed"), (b"h", b"from:subject"), (b"bh", body), (b"b", b"0" * 60)],
                [b"from", b"subject"],
            ),
            (
                b"ARC-Seal",
                [*shared, (b"cv", b"none"), (b"b", b"0" * 60)],
                [b"arc-authentication-results", b"arc-message-signature"],
            ),
        ):
            value = self.gen_header(fields, over, policy, name, key)
            made.insert(0, name + b": " + value)
            self.headers = dkim.rfc822_parse(b"".join(made) + b"\r\n")[0] + [
                one for one in self.headers if not one[0].lower().startswith(b"arc-")
            ]
        return b"".join(one if one.endswith(b"\r\n") else one + b"\r\n" for one in made)


def sealed(message: bytes) -> bytes:
    sealer = _Sealer(message)
    results = b"lists.example; dkim=pass header.d=acme.com; dmarc=pass header.from=acme.com"
    sealer.headers = dkim.rfc822_parse(b"ARC-Authentication-Results: i=1; " + results + b"\r\n\r\n")[0] + sealer.headers
    return sealer.seal(results) + message


def test_an_arc_chain_tells_what_the_forwarder_found() -> None:
    changed = tampered(signed(mail()), b"Subject: Your", b"Subject: [list] Your")
    data = received(sealed(changed), FAILED)
    said, found, evidence = judged(data)
    assert evidence.arc is not None
    assert (evidence.arc.result, evidence.arc.sealers) == ("pass", ("lists.example",)), evidence.arc
    assert "changed by an ARC seal of lists.example" in said or "lists.example" in said
    assert any("lists.example found: lists.example; dkim=pass" in one.message for one in found)
    broken = judged(tampered(data, b"is confirmed", b"is refused"))
    assert broken[2].arc is not None and broken[2].arc.result == "fail"
    assert "arc" in wrong(broken[1])
    gone = judged(data, zone(**{"l1._domainkey.lists.example": None}))[2]
    assert gone.arc is not None and gone.arc.result == "unknown"


# --- bounces -------------------------------------------------------------------------------------------------------


def dsn(
    diagnostic: str,
    original: bytes = b"",
    *,
    status: str = "5.7.26",
    action: str = "failed",
    remote: str = "mx.google.com",
    text: str = "Your message could not be delivered.",
    kind: str = "message/rfc822",
    reporter: str = "",
) -> bytes:
    """A delivery status notification (RFC 3464)."""
    reporter = reporter or "a8-53.smtp-out.amazonses.com"
    remote = f"Remote-MTA: dns; {remote}\r\n" if remote else ""
    parts = [f"Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n".encode()]
    parts.append(
        (
            f"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; {reporter}\r\n\r\n"
            f"Final-Recipient: rfc822;ann@example.net\r\nAction: {action}\r\nStatus: {status}\r\n{remote}"
            + (f"Diagnostic-Code: smtp; {diagnostic}\r\n" if diagnostic else "")
        ).encode()
    )
    if original:
        parts.append(f"Content-Type: {kind}\r\n\r\n".encode() + original)
    head = (
        "Return-Path: <>\r\nFrom: MAILER-DAEMON@amazonses.com\r\nTo: news@acme.com\r\nSubject:"
        " Delivery Status Notification"
        f" (Failure)\r\nDate: {DATE}\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="=_b/1"\r\n\r\n'
    )
    return head.encode() + b"".join(b"--=_b/1\r\n" + part + b"\r\n" for part in parts) + b"--=_b/1--\r\n"


def plain(text: str, sender: str = "Mail Delivery Subsystem <mailer-daemon@googlemail.com>") -> bytes:
    """A bounce that no status part describes."""
    return (
        f"From: {sender}\r\nTo: admin@acme.com\r\nSubject: Undeliverable: Your booking\r\nDate:"
        f" {DATE}\r\nReturn-Path: <>\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\n\r\n{text}"
    ).encode()


SEND_AS = (
    "** Message not delivered **\r\n\r\nYou're sending this from a different address or alias using"
    " the 'Send mail as' feature."
    " The settings for your 'Send mail as' account are misconfigured or out of date.\r\n\r\nLearn more here:"
    " https://support.google.com/mail/?p=CustomFromDenied\r\n\r\nThe response was:\r\n\r\n535"
    " Authentication Credentials Invalid\r\n"
)
EXCHANGE = (
    "Delivery has failed to these recipients or groups:\r\n\r\nann@example.net\r\n\r\nDiagnostic"
    " information for administrators:"
    "\r\n\r\nGenerating server:"
    " AM0PR01MB.eurprd01.prod.exchangelabs.com\r\n\r\nann@example.net\r\nRemote Server returned '550"
    " 5.7.515 Access denied, sending domain ACME.COM doesn't meet the required authentication level."
    " [BL6.outlook.com]'\r\n\r\n"
    "Original message headers:\r\n\r\n"
)
HEAD_ONLY = signed(mail()).partition(b"\r\n\r\n")[0] + b"\r\n"

BOUNCES: dict[str, tuple[bytes, str, str]] = {
    "SES: login": (
        dsn("535 Authentication Credentials Invalid", status="5.7.8", remote="email-smtp.us-east-1.amazonaws.com"),
        "smtp",
        "the login at the SMTP server failed",
    ),
    "Gmail, send mail as": (
        dsn("", text=SEND_AS, status="5.0.0", remote=""),
        "smtp",
        "535 Authentication Credentials Invalid",
    ),
    "SES: not allowed": (
        dsn(
            "554 Access denied: User `arn:aws:iam::111122223333:user/news' is not authorized to"
            " perform `ses:SendRawEmail' on"
            " resource `arn:aws:ses:us-east-1:111122223333:identity/acme.com'",
            status="5.7.1",
            remote="",
        ),
        "permission",
        "the policies of the user do not allow this mail",
    ),
    "SES: not verified": (
        dsn(
            "554 Message rejected: Email address is not verified. The following identities failed the check in region"
            " US-EAST-1: news@acme.com",
            status="5.0.0",
            remote="email-smtp.us-east-1.amazonaws.com",
        ),
        "identity",
        "verified identity",
    ),
    "SES: paused": (
        dsn(
            "454 Throttling failure: Maximum sending rate exceeded.",
            status="4.0.0",
            remote="email-smtp.eu-west-1.amazonaws.com",
        ),
        "account",
        "does not let the account send",
    ),
    "SES: suppressed": (
        dsn(
            "Amazon SES did not send the message to this address because it is on the suppression"
            " list for your account",
            status="5.1.1",
            remote="",
        ),
        "suppression",
        "suppression list",
    ),
    "Gmail: unauthenticated": (
        dsn(
            "550-5.7.26 This mail has been blocked because the sender is unauthenticated.\r\n"
            " 550-5.7.26 Gmail requires all"
            " senders to authenticate with either SPF or DKIM.\r\n 550 5.7.26 x1 - gsmtp",
            HEAD_ONLY,
            kind="text/rfc822-headers",
        ),
        "dmarc",
        "neither DKIM nor SPF passed",
    ),
    "Gmail: SPF": (
        dsn(
            "550-5.7.27 Your email has been blocked because SPF [bounce.acme.com] did not pass. 550 5.7.27 x - gsmtp",
            status="5.7.27",
        ),
        "spf",
        "SPF failed for the MAIL FROM domain",
    ),
    "Gmail: DKIM": (
        dsn("550-5.7.30 Your email has been blocked because DKIM did not pass. x - gsmtp", status="5.7.30"),
        "dkim",
        "DKIM failed",
    ),
    "Gmail: unknown": (
        dsn("550-5.1.1 The email account that you tried to reach does not exist.", status="5.1.1"),
        "recipient",
        "does not exist",
    ),
    "Gmail: rate": (
        dsn("421-4.7.28 Gmail has detected an unusual rate of email", status="4.7.28", action="delayed"),
        "reputation",
        "limits or refuses",
    ),
    "Microsoft: bulk": (
        plain(
            EXCHANGE + "From: News <news@acme.com>\r\nTo: ann@example.net\r\nSubject: x\r\n", "postmaster@outlook.com"
        ),
        "dmarc",
        "unauthenticated",
    ),
    "Microsoft: DMARC": (
        dsn(
            "550 5.7.509 Access denied, sending domain [ACME.COM] does not pass DMARC verification"
            " and has a DMARC policy of"
            " reject. [BL6.PROD.OUTLOOK.COM]",
            status="5.7.509",
            remote="acme.mail.protection.outlook.com",
        ),
        "dmarc",
        "refused it by DMARC",
    ),
    "Microsoft: IP": (
        dsn("550 5.7.606 Access denied, banned sending IP [54.240.8.53].", status="5.7.606"),
        "reputation",
        "blocks the sending IP address",
    ),
    "Yahoo: volume": (
        dsn(
            "421 4.7.0 [TSS04] Messages from 54.240.8.53 temporarily deferred due to unexpected"
            " volume or user complaints",
            status="4.7.0",
            action="delayed",
            remote="mta6.am0.yahoodns.net",
        ),
        "reputation",
        "limits or refuses",
    ),
    "Yahoo: Spamhaus": (
        dsn("553 5.7.1 [BL21] Connections will not be accepted", status="5.7.1"),
        "reputation",
        "blocks",
    ),
    "Yahoo: unknown": (
        dsn("554 delivery error: dd This user doesn't have a yahoo.com account", status="5.0.0"),
        "recipient",
        "does not exist",
    ),
    "qmail": (
        plain(
            "Hi. This is the qmail-send program at mx.example.net.\r\nI'm afraid I wasn't able to"
            " deliver your message to the"
            " following addresses.\r\n\r\n<ann@example.net>:\r\n192.0.2.4 does not like"
            " recipient.\r\nRemote host said: 550"
            " 5.1.1 no such user\r\nGiving up on 192.0.2.4.\r\n\r\n--- Below this line is a copy of"
            " the message.\r\n\r\n"
            "From: news@acme.com\r\nSubject: x\r\n\r\nhello",
            "MAILER-DAEMON@mx.example.net",
        ),
        "recipient",
        "does not exist",
    ),
    "full": (dsn("552 5.2.2 Mailbox full", status="5.2.2"), "recipient", "mailbox is full"),
    "expired": (
        dsn("554 4.4.7 Message expired: unable to deliver in 840 minutes.", status="4.4.7"),
        "network",
        "reached",
    ),
    "nothing known": (dsn("550 5.0.0 No thank you", status="5.0.0"), "receiver", "No thank you"),
}


@pytest.mark.parametrize("case", BOUNCES)
def test_a_bounce_says_which_layer_refused(case: str) -> None:
    data, layer, words = BOUNCES[case]
    said, found, evidence = judged(data)
    assert evidence.report is not None
    assert wrong(found) == [layer], (said, found)
    assert words in said
    assert said.startswith("It is delayed: " if evidence.report.kind == "delay" else "It was refused: ")
    assert [one.hint for one in found if one.status == "found"] != [""]


def test_a_login_that_failed_names_the_region_to_test() -> None:
    _, found, _ = judged(BOUNCES["SES: login"][0])
    assert "recon smtp verify --username AKIA... --password-stdin --region us-east-1" in found[0].hint
    assert found[0].runbook == "authentication-error.md"


@pytest.mark.parametrize("whole", [False, True])
def test_what_a_bounce_holds_in_part_is_not_verifiable(whole: bool) -> None:
    """Neither a copy of the headers nor one that was changed proves that DKIM failed."""
    copy = tampered(signed(mail()), b"Dear", b"Dear...") if whole else HEAD_ONLY
    _, found, _ = judged(dsn("550 5.7.1 denied", copy, kind="message/rfc822" if whole else "text/rfc822-headers"))
    (about,) = [one for one in found if one.layer == "dkim"]
    assert about.status == "unknown" and "not verifiable" in about.message
    assert not {"dkim", "content", "dns"} & set(wrong(found))


def test_a_bounce_names_the_cause_before_the_refusal() -> None:
    """The receiver refused by DMARC; the key that is missing in DNS is why."""
    data = dsn("550 5.7.509 does not pass DMARC verification", signed(mail()), status="5.7.509")
    said, found, _ = judged(data, zone(**{"s1._domainkey.acme.com": None}))
    assert wrong(found) == ["dns", "dmarc"]
    assert said.startswith("It was refused: dns: s1._domainkey.acme.com: public DNS has no key there")


def test_a_complaint_and_a_receipt() -> None:
    arf = (
        (
            f"From: staff@hotmail.com\r\nSubject: complaint\r\nDate: {DATE}\r\nContent-Type: multipart/report;"
            " report-type=feedback-report; boundary=b\r\n\r\n--b\r\nContent-Type:"
            " text/plain\r\n\r\nA complaint.\r\n--b\r\n"
            "Content-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: x/1\r\nVersion: 1\r\n"
            "Original-Rcpt-To: ann@example.net\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
        ).encode()
        + signed(mail(Feedback_ID="shop:weekly:1.us-east-1.Ab+/=:AmazonSES"))
        + b"\r\n--b--\r\n"
    )
    said, found, evidence = judged(arf)
    assert said.startswith("A recipient complained: reputation")
    assert found[0].runbook == "complaints-rise.md"
    assert evidence.trace.feedback == ("shop", "weekly")
    assert read_report(read_message(dsn("250 ok", action="delivered", status="2.0.0"), "m")) is None


# --- who sent it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "region", "feedback", "set_name", "tags"),
    [
        ({"Feedback_ID": "::1.eu-west-1.AbC+/d=:AmazonSES"}, "eu-west-1", ("", ""), "", {}),
        ({"Feedback_ID": "shop:w48:1.us-gov-west-1.AbC=:AmazonSES"}, "us-gov-west-1", ("shop", "w48"), "", {}),
        ({"Feedback_ID": "1.us-west-2.AbC=:AmazonSES"}, "us-west-2", ("", ""), "", {}),
        ({"Message_ID": "<0101018f-1@us-west-2.amazonses.com>"}, "us-west-2", ("", ""), "", {}),
        ({"Message_ID": "<x@acme.com>", "Feedback_ID": "a:b:c:other"}, "", ("", ""), "", {}),
        (
            {"X_SES_CONFIGURATION_SET": "news", "X_SES_MESSAGE_TAGS": "campaign=w48, team=growth"},
            "us-east-1",
            ("", ""),
            "news",
            {"campaign": "w48", "team": "growth"},
        ),
    ],
)
def test_who_sent_it(
    headers: dict[str, str], region: str, feedback: tuple[str, str], set_name: str, tags: dict[str, str]
) -> None:
    seen = trace(read_message(mail(**headers), "m"))
    assert (seen.region, seen.feedback, seen.configuration_set, dict(seen.tags)) == (region, feedback, set_name, tags)


# --- the tree walk of DMARC ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "domain", "organization", "where"),
    [
        ({"acme.com": "p=reject"}, "a.b.acme.com", "acme.com", "acme.com"),
        ({"acme.com": "p=reject", "b.acme.com": "p=none"}, "a.b.acme.com", "acme.com", "acme.com"),
        ({"acme.com": "p=reject", "b.acme.com": "p=none; psd=n"}, "a.b.acme.com", "b.acme.com", "b.acme.com"),
        ({"acme.com": "p=reject", "b.acme.com": "p=none"}, "b.acme.com", "acme.com", "b.acme.com"),
        ({"bank": "p=reject; psd=y"}, "a.acme.bank", "acme.bank", "bank"),
        ({}, "a.acme.com", "a.acme.com", None),
    ],
)
def test_the_record_that_applies(records: dict[str, str], domain: str, organization: str, where: str | None) -> None:
    def record(name: str) -> Mapping[str, str] | None:
        return dmarc_walk.record_in([f"v=DMARC1; {records[name]}"] if name in records else [])

    assert dmarc_walk.organizational(domain, record) == organization
    found = dmarc_walk.policy(domain, record)
    assert (found[0] if found else None) == where


def test_a_long_name_is_not_walked_label_by_label() -> None:
    assert dmarc_walk.names("a.b.c.d.e.f.g.h.i.j.example.com")[:3] == (
        "a.b.c.d.e.f.g.h.i.j.example.com",
        "f.g.h.i.j.example.com",
        "g.h.i.j.example.com",
    )
    assert len(dmarc_walk.names("a.b.c.d.e.f.g.h.i.j.example.com")) == 8


# --- files that are no messages, and hostile ones ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b" \r\n\n", "is empty"),
        (b"\xd0\xcf\x11\xe0" + b"\0" * 50, "Outlook"),
        (b"PK\x03\x04x", "zip"),
        (b'{"notificationType": "Bounce"}', "JSON"),
        (b"<html>", "HTML"),
        (b"From: a\0\0\0b@c\r\n\r\n", "binary"),
        (os.urandom(0) + b"\x7fELF\0\0", "binary"),
        (b"just words\nand more\n", "does not begin with mail headers"),
        (b"X-A: 1\n\nbody", "does not begin"),
        (b"Subject: " + b"x" * 2**21, "bytes of headers"),
    ],
)
def test_what_is_no_message_is_refused_in_a_sentence(data: bytes, words: str) -> None:
    with pytest.raises(ReconError, match=words) as raised:
        read_message(data, "m.eml")
    assert "m.eml" in raised.value.message and raised.value.hint


NESTED = b"".join(b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n) for n in range(500))
HOSTILE: dict[str, Callable[[], bytes]] = {
    "deep": lambda: b"From: a@b.example\r\n" + NESTED,
    "many parts": lambda: (
        b"From: a@b.example\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 5000
    ),
    "unfolded": lambda: b"From: a@b.example\r\nSubject: a\r\n" + b" b\r\n" * 20_000 + b"\r\n",
    "many tags": lambda: b"From: a@b.example\r\nDKIM-Signature: " + b"a=1;" * 5_000 + b"d=b.example; s=x\r\n\r\n",
    "comments": lambda: b"From: a@b.example\r\nAuthentication-Results: x; spf=pass " + b"(" * 20_000 + b"\r\n\r\n",
    "many signatures": lambda: (
        b"From: a@b.example\r\n" + b"DKIM-Signature: v=1; d=b.example; s=x; a=rsa-sha256\r\n" * 500
    ),
    "seals": lambda: b"From: a@b.example\r\n" + b"ARC-Seal: i=99999999999; d=b.example; s=x\r\n" * 60 + b"\r\n",
    "names": lambda: b"From: a@" + b"x" * 500 + b".\xff\xfe..example\r\nReturn-Path: <a@[::1]>\r\n\r\n",
    "base64": lambda: b"From: a@b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!\xff",
    "status": lambda: dsn("\x1b[2J\r\n" + " x" * 20_000, b"From: \r\n\r\n"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_messages_are_read_without_harm(name: str) -> None:
    said, found, _ = judged(HOSTILE[name]())
    assert said and found
    assert len(questions(read_message(HOSTILE[name](), "m"))) < 100


def test_a_hostile_key_is_not_computed_with() -> None:
    numbers = rsa.RSAPublicNumbers(2**64 + 1, pair_numbers()).public_key()
    der = numbers.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    record = f"v=DKIM1; p={base64.b64encode(der).decode()}"
    evidence = judged(received(signed(mail())), zone(**{"s1._domainkey.acme.com": record}))[2]
    assert evidence.signatures[0].cause == "bad key"


def pair_numbers() -> int:
    key = serialization.load_pem_private_key(pair("acme")[0], None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key.public_key().public_numbers().n


@pytest.mark.parametrize(
    ("value", "server", "results"),
    [
        ("mx.a.example 1; spf=none", "mx.a.example", [("spf", "none")]),
        ("mx.a.example; none", "mx.a.example", []),
        ('a.example; dkim=fail reason="a; b" header.d=x.example (c (d; e) f); x=y', "a.example", [("dkim", "fail")]),
        ("", "", []),
        (";;;", "", []),
        ("spf=pass", "", [("spf", "pass")]),
    ],
)
def test_results_of_any_form(value: str, server: str, results: list[tuple[str, str]]) -> None:
    parsed = parse_results(value)
    assert (parsed.server, [(one.method, one.result) for one in parsed.results]) == (server, results)


def test_hops_of_any_form() -> None:
    hop = parse_hop("from mail.a.example (EHLO x) ([IPv6:2001:db8::1]) by mx.b.example with SMTP id 1; date", 0)
    assert (hop.sender, hop.address, hop.by) == ("mail.a.example", "2001:db8::1", "mx.b.example")
    assert parse_hop("(qmail 1 invoked by uid 0); 1 Jan", 0).by == "uid"
    assert receiver_of(read_message(b"From: a@b.example\r\n\r\n", "m")).site == ""


def test_a_mailbox_is_read_up_to_its_first_message() -> None:
    one = b"From news@acme.com Sun Nov 29 09:00:00 2026\n" + mail().replace(b"\r\n", b"\n") + b"\n>From the crew\n"
    message = read_message(one + b"\n" + one, "box")
    assert message.others == 1
    assert message.content.rstrip().endswith(b"\nFrom the crew")


def test_a_reply_is_understood_without_a_server() -> None:
    assert meaning_of("", "", "").layer == "receiver"
    assert meaning_of("550 5.7.1 x", "5.7.1", "mx.example").layer == "receiver"


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def served(house: House, tmp_path: Path) -> tuple[House, Callable[..., Any]]:
    """recon doctor --message with the sandbox's DNS."""
    house.sandbox.seed(
        zones=[
            {
                "name": "acme.com",
                "records": [
                    {"name": name, "type": "TXT", "values": value}
                    for name, value in zone().items()
                    if name.endswith("acme.com")
                ],
            }
        ]
    )
    host, port = house.sandbox.serve_dns()

    def run(data: bytes, *options: str) -> Any:
        (tmp_path / "m.eml").write_bytes(data)
        return house.cli("doctor", "--message", str(tmp_path / "m.eml"), "--resolver", f"{host}:{port}", *options)

    return house, run


def test_the_command_asks_public_dns_and_not_aws(served: tuple[House, Callable[..., Any]]) -> None:
    house, run = served
    house.clear()
    ran = run(received(signed(mail()), PASSED))
    assert ran.code == 0, ran
    assert ran.out.splitlines()[0].startswith(
        "The message is authentic: DMARC passes by DKIM acme.com and SPF bounce.acme.com"
    )
    assert house.sandbox.calls() == []
    ran = run(tampered(received(LISTED + signed(mail()), FAILED), b"Dear", b"Hello"))
    assert ran.code == 2
    assert ran.out.splitlines()[0].startswith("content: its body was changed by the mailing list")
    assert "docs/runbooks/one-receiver-refuses.md" in ran.out
    document = json.loads(run(BOUNCES["SES: login"][0], "--format", "json").out)
    assert (document["outcome"], document["checks"][0]["layer"]) == ("changes", "smtp")
    assert document["headline"].startswith("It was refused: smtp: the login at the SMTP server failed")
    assert document["message"]["refusals"][0]["reply"] == "535 Authentication Credentials Invalid"
    assert run(received(signed(mail(), selector="s2")), "--no-dns").code == 1


def test_the_yaml_says_what_is_declared_of_the_sender(served: tuple[House, Callable[..., Any]]) -> None:
    house, run = served
    house.write(
        {
            "domains": {"acme.com": {"configuration_set_name": "main"}},
            "configuration_sets": {"main": {}},
            "smtp_users": {"news": {"from_addresses": ["*@acme.com"], "credentials": {"ssm": {"name": "/news"}}}},
        }
    )
    ran = run(received(signed(mail()), PASSED), "state.yaml")
    assert "declared set main; SMTP users that may send for acme.com: news" in ran.out
    (house.home / "state.yaml").write_text("domains: [broken")
    assert run(received(signed(mail()), PASSED), "state.yaml").code == 0


def test_hostile_contents_are_printed_safely(served: tuple[House, Callable[..., Any]]) -> None:
    evil = "\x1b[31mrun this\x07 \u202egpj.exe ::add-mask::x"
    data = dsn(f"550 {evil}", mail(From=f"{evil} <a@acme.com>", X_SES_CONFIGURATION_SET=evil), status="5.0.0")
    for options in ((), ("--format", "json")):
        ran = served[1](data, *options)
        assert ran.code == 2
        assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", ran.out + ran.err)


def test_bad_files_get_one_sentence(house: House, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").write_bytes(b"")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**30)
    for name, words in (
        ("pipe", "a pipe"),
        ("empty", "is empty"),
        ("huge", "bytes"),
        ("nowhere", "No such file"),
        (".", "directory"),
    ):
        ran = house.cli("doctor", "--message", str(tmp_path / name))
        assert ran.code == 1 and words in ran.err, ran
        assert ran.err.count("error:") == 1 and "Traceback" not in ran.err
