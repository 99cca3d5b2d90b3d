"""A mail message as it lies in a file: headers in their order, parts, and the reasons why a file is none.

Written for hostile input: no recursion deeper than a few parts, no header that a library would have to understand.
Sources: RFC 5322 (header fields), RFC 2046 (multipart), RFC 2045 (transfer encodings).
"""

from __future__ import annotations

import binascii
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from reconciler.errors import ReconError
from reconciler.message.envelopes import event_in
from reconciler.names import fold_domain

LIMIT: Final = 64 * 2**20
"""Bytes of a message that is read: SES sends at most 40 MB."""
MAX_HEAD: Final = 2**20
MAX_PARTS: Final = 32
MAX_DEPTH: Final = 6

_FIELD = re.compile(r"([\x21-\x39\x3b-\x7e]+)[ \t]*:[ \t]*(.*)", re.DOTALL)
_KNOWN: Final = frozenset({
    "from", "to", "subject", "date", "message-id", "received", "return-path", "mime-version", "content-type",
    "dkim-signature", "delivered-to", "authentication-results",
})  # fmt: skip
_JSON: Final = "JSON without an SES event"
_FORMATS: Final = (
    (b"\xd0\xcf\x11\xe0", "a file of Outlook (.msg)"), (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"), (b"%PDF", "a PDF"), (b"\x89PNG", "an image"), (b"\xff\xd8\xff", "an image"),
    (b"{", _JSON), (b"[", _JSON), (b"<", "HTML or XML"),
)  # fmt: skip
_HOW: Final = (
    "save the message as it arrived (.eml): Gmail and Yahoo have it below Show original, Outlook below View source"
)


@dataclass(frozen=True, slots=True)
class MailHeader:
    """A header field: name in lower case, value unfolded, its place among all of the message."""

    name: str
    value: str
    place: int


@dataclass(frozen=True, slots=True)
class MailPart:
    """A message, or a part of one. ``content`` is decoded; ``raw`` are the bytes that were signed."""

    headers: tuple[MailHeader, ...]
    content: bytes
    raw: bytes
    kind: str
    parts: tuple[MailPart, ...] = ()
    others: int = field(default=0, kw_only=True)

    def all(self, name: str) -> list[str]:
        return [header.value for header in self.headers if header.name == name]

    def first(self, name: str) -> str:
        return next((header.value for header in self.headers if header.name == name), "")

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "backslashreplace")

    def walk(self) -> Iterator[MailPart]:
        """The part and all below it, in order."""
        yield self
        for part in self.parts:
            yield from part.walk()

    def parameter(self, name: str) -> str:
        """A parameter of its Content-Type, in lower case unless it is the boundary."""
        return _parameter(self.first("content-type"), name)


def read_message(data: bytes, name: str) -> MailPart:
    """The message in the bytes of a file; ``name`` stands for the file in errors. Of a mailbox (mbox) the first one,
    and ``others`` is how many follow. An SES event in JSON has no headers (``events``). Raises ReconError for what is
    no message."""
    if not data.strip():
        raise ReconError(f"{name} is empty", hint=_HOW)
    if (
        data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"["}
        and event_in(data.decode("utf-8", "replace")) is not None
    ):
        return MailPart((), data, data, "application/json")
    if known := next((words for magic, words in _FORMATS if data.lstrip().startswith(magic)), ""):
        raise ReconError(f"{name} is {known}, not a mail message", hint=_HOW)
    if b"\n" not in data:
        data = data.replace(b"\r", b"\r\n")  # as old programs on a Mac end lines
    data, others = _first_of_mailbox(data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n"))
    if b"\0" in _split(data)[0][:MAX_HEAD]:
        raise ReconError(f"{name} is binary, not a mail message", hint=_HOW)
    head = _split(data)[0]
    if len(head) > MAX_HEAD:
        raise ReconError(f"{name} has more than {MAX_HEAD:,} bytes of headers", hint=_HOW)
    headers = _headers(head)
    if not _KNOWN & {header.name for header in headers}:
        raise ReconError(f"{name} is no mail message: it does not begin with mail headers", hint=_HOW)
    found = parse(data)
    return MailPart(found.headers, found.content, found.raw, found.kind, found.parts, others=others)


def _first_of_mailbox(data: bytes) -> tuple[bytes, int]:
    """The first message of an mbox file, and how many follow; any other file as it is."""
    if not data.startswith(b"From "):
        return data, 0
    starts = [found.end() for found in re.finditer(rb"(?:\A|\n\r?\n)From [^\n]*\n", data)]
    if not starts:
        return data, 0
    end = re.search(rb"\n(?=\r?\nFrom [^\n]*\n)", data[starts[0] :])
    first = data[starts[0] :] if end is None else data[starts[0] : starts[0] + end.end()]
    return re.sub(rb"(?m)^>(>*From )", rb"\1", first), len(starts) - 1


def parse(data: bytes, depth: int = 0) -> MailPart:
    """The headers and parts of bytes that are known to be a message or a part. Never raises."""
    head, body = _split(data)
    headers = tuple(_headers(head[:MAX_HEAD]))
    value = next((header.value for header in headers if header.name == "content-type"), "")
    found = re.match(r"\s*([\w.+-]+/[\w.+-]+)", value)
    kind = found[1].lower() if found else "text/plain"
    encoding = next((header.value for header in headers if header.name == "content-transfer-encoding"), "")
    content = _decoded(body, encoding.strip().lower())
    parts: tuple[MailPart, ...] = ()
    boundary = _parameter(value, "boundary")
    if kind.startswith("multipart/") and boundary and depth < MAX_DEPTH:
        parts = tuple(parse(part, depth + 1) for part in _pieces(content, boundary.encode()))
    elif kind in {"message/rfc822", "message/global"} and depth < MAX_DEPTH:
        parts = (parse(content.lstrip(b"\r\n"), depth + 1),)
    return MailPart(headers, content, data, kind, parts)


def _split(data: bytes) -> tuple[bytes, bytes]:
    """Headers and body: an empty line is between them."""
    if found := re.match(rb"\r?\n", data):
        return b"", data[found.end() :]
    found = re.search(rb"\r?\n\r?\n", data)
    return (data, b"") if found is None else (data[: found.start()], data[found.end() :])


def _headers(head: bytes) -> Iterator[MailHeader]:
    """The fields of a header block; lines that are none are left out."""
    fields: list[list[str]] = []
    for line in re.split(r"\r?\n", head.decode("utf-8", "backslashreplace")):
        if line[:1] in {" ", "\t"} and fields:
            fields[-1].append(line.strip())
        else:
            fields.append([line])
    for place, lines in enumerate(fields):
        if found := _FIELD.match(" ".join(lines)):
            yield MailHeader(found[1].lower(), found[2].strip(), place)


def _parameter(value: str, name: str) -> str:
    found = re.search(rf';\s*{name}\s*=\s*(?:"([^"]*)"|([^;\s"]+))', value, re.IGNORECASE)
    text = "" if found is None else found[1] or found[2] or ""
    return text if name == "boundary" else text.lower()


def _pieces(body: bytes, boundary: bytes) -> Iterator[bytes]:
    """What is between the boundary lines."""
    line = re.compile(rb"(?m)^--" + re.escape(boundary) + rb"(--)?[ \t]*\r?(?:\n|\Z)")
    places = list(line.finditer(body))[: MAX_PARTS + 1]
    for number, place in enumerate(places[:MAX_PARTS]):
        if place[1]:
            return
        end = places[number + 1].start() if number + 1 < len(places) else len(body)
        yield re.sub(rb"\r?\n\Z", b"", body[place.end() : end])


def _decoded(body: bytes, encoding: str) -> bytes:
    if encoding == "quoted-printable":
        return quopri.decodestring(body)
    if encoding == "base64":
        try:
            return binascii.a2b_base64(body)
        except binascii.Error:
            return body
    return body


def address_in(value: str) -> str:
    """The first address of a header such as From or Return-Path, domain in A-labels; "" where there is none."""
    plain = re.sub(r'"(?:[^"\\]|\\.)*"(?!@)', " ", value[:10000])
    found = re.search(r"<\s*([^<>\s]{1,255}@[^<>\s@]{1,255})\s*>", plain) or re.search(
        r"([^\s<>,;:()]{1,255}@[^\s<>,;()@]{1,255})", plain
    )
    if found is None:
        return ""
    local, _, domain = found[1].rpartition("@")
    return f"{local}@{domain_in(domain)}"


def domain_in(text: str) -> str:
    """A domain name folded (IDNA, lower case, no final dot); what is no name in lower case as it is."""
    try:
        return fold_domain(text.strip().strip("<>\"'"))
    except ValueError:
        return text.strip().lower().rstrip(".")
