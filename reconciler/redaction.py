"""What ``--redact`` hides of everything that a command prints: account ids, access key ids, the local parts of e-mail
addresses. For output that is shown to others; files that a command writes are not touched.

It is done where text leaves the process, by shape and by value, so that no command and no format can forget it. The
placeholders have the form of what they stand for, and each value has its own: what was the same still reads the same.

Sources: AWS Account Management Reference Guide (twelve digits; the console writes 1111-2222-3333); IAM User Guide, "IAM
identifiers" (prefixes of unique ids; an access key id contains its account); RFC 5322, 3.4.1 and RFC 6531 (local parts:
dot-atoms, UTF-8, quoted strings); RFC 3986 (``%40``).
"""

from __future__ import annotations

import html
import re
import threading
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, Final, TextIO
from urllib.parse import unquote

_SIGN: Final = re.compile("@|%40", re.IGNORECASE)
_DOMAIN: Final = re.compile(r"(?:[^\W_](?:[\w-]*[^\W_])?\.)*[^\W_](?:[\w-]*[^\W_])?|\[[0-9A-Fa-f.:IPv]{3,45}\]")
_ATEXT: Final = frozenset("!#$%&'*+-/=?^_`{|}~.\\")
_LONGEST: Final = 320
"""Characters before the sign that are looked at: RFC 5321 has 64, encodings take up to five for one."""
_SEPARATOR: Final = re.compile(r"(?<!\\)(?:\\\\)*\\[nrt\"]$")
"""What ends a word in JSON."""
_ENTITY: Final = re.compile(r"&#?\w{1,8};$")
_BEFORE: Final = re.compile(
    r"[^\w]*(?:(?:smtp|header)\.\w+=|(?:envelope-from|mailfrom|mailto|rua|ruf|from|to|cc|rcpt|sender|address|email|user"
    r"|endpoint|[dis])=|(?:identity|user|role|group|federated-user)/|assumed-role/[\w+=,.-]+/"
    r"|v2/email/(?:[\w.-]+/)+)?[\W_]*",
    re.IGNORECASE,
)
"""What may stand before an address without a blank: a tag of a header or a DMARC record, the kind of an ARN."""
_KEY: Final = re.compile(r"(A(?:KI|SI|BI|CC|RO|ID|GP|IP|NP|NV|PK|SC)A)(?!REDACTED\d{8})[A-Z0-9]{16,124}")
_ACCOUNT: Final = re.compile(
    r"(?:(?<![0-9A-Za-z])|(?<=%3A)|(?<=%2F))\d{12}(?![0-9A-Za-z])|(?<![\w-])\d{4}-\d{4}-\d{4}(?![\w-])", re.IGNORECASE
)


_PLACEHOLDER: Final = re.compile(r"recipient-\d{1,9}")


class Redactor:
    """The placeholders of one run. ``kinds`` are the words with which addresses of recon begin (``email_identity``)."""

    def __init__(self, kinds: Iterable[str] = ()) -> None:
        self._places = re.compile(rf"(?:{'|'.join(map(re.escape, kinds)) or '(?!)'})/(?:[\w.-]+/)*")
        self._names: dict[str, dict[str, int]] = {"account": {}, "key": {}, "address": {}}
        self._lock = threading.Lock()

    def know_account(self, account: str | None) -> None:
        """Hide this account also inside other words, and give it the next placeholder now."""
        if account and re.fullmatch(r"\d{12}", account):
            self._number("account", account)

    def text(self, text: str) -> str:
        """``text`` with placeholders."""
        with self._lock:
            if "@" in text or "%40" in text:
                text = self._addresses(text)
            text = _KEY.sub(lambda found: f"{found[1]}REDACTED{self._number('key', found[0]):08}", text)
            text = _ACCOUNT.sub(lambda found: self._account(found[0].replace("-", "")), text)
            for account in self._names["account"]:
                if account in text:
                    text = re.sub(rf"(?<!\d){account}(?!\d)", self._account(account), text)
            return text

    def _number(self, kind: str, value: str) -> int:
        names = self._names[kind]
        return names.setdefault(value, len(names) + 1)

    def _account(self, account: str) -> str:
        names = self._names["account"]
        if account not in names and int(account) <= len(names):
            return account  # a placeholder
        return f"{self._number('account', account):012}"

    def _addresses(self, text: str) -> str:
        parts: list[str] = []
        done = 0
        for sign in _SIGN.finditer(text):
            domain = _DOMAIN.match(text, sign.end())
            if domain is None or sign.start() < done:
                continue
            start = _local_start(text, sign.start(), done, self._places)
            if start is None or not _is_domain(domain[0], quoted=text[sign.start() - 1] == '"'):
                continue
            local = _plain(text[start : sign.start()])
            if not (_PLACEHOLDER.fullmatch(local) and int(local[10:]) <= len(self._names["address"])):
                local = f"recipient-{self._number('address', f'{local}@{domain[0].lower()}')}"
            parts += [text[done:start], local]
            done = sign.start()
        return "".join(parts) + text[done:]


def _plain(local: str) -> str:
    """A local part as it is without what URLs, HTML, JSON and Markdown make of it, in lower case."""
    text = html.unescape(unquote(local))
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    return text.replace("\\", "").strip('"').lower()


def _is_domain(text: str, *, quoted: bool) -> bool:
    """Whether what follows a sign is a domain: no version (``@v4``, ``@1.2``), and no word after a quotation mark."""
    last = text.rpartition(".")[2]
    return text[0] == "[" or (any(c.isalpha() for c in last) and "." in text) or (last.isalpha() and not quoted)


def _local_start(text: str, end: int, least: int, places: re.Pattern[str]) -> int | None:
    """Where the local part begins that ends at ``end``; None where there is none."""
    if end > least and text[end - 1] == '"':
        start = text.rfind('"', max(least, end - _LONGEST), end - 1)
        inner = text[start + 1 : end - 1]
        if start < least or "\n" in inner or not any(c.isalnum() for c in inner):
            return None
        return start - (text[max(least, start - 1) : start] == "\\")
    start = end
    while start > max(least, end - _LONGEST):
        c = text[start - 1]
        if c == ";" and (entity := _ENTITY.search(text, max(least, start - 11), start)):
            start = entity.start()
        elif c in 'nrt"' and _SEPARATOR.search(text, max(least, start - 8), start):
            break
        elif c in _ATEXT or (c.isascii() and c.isalnum()) or (c > "\x7f" and unicodedata.category(c)[0] in "LMN"):
            start -= 1
        else:
            break
    place = places.match(text, start, end)
    start = place.end() if place is not None else start
    before = _BEFORE.match(text, start, end)
    start = before.end() if before is not None else start
    return start if any(c.isalnum() for c in text[start:end]) else None


_current: Redactor | None = None


def use(redactor: Redactor | None) -> Redactor | None:
    """Hide by ``redactor`` from now on, by none with None; returns the one before."""
    global _current
    before, _current = _current, redactor
    return before


def know_account(account: str | None) -> None:
    """The account that the command is about: hidden also inside other words, and the first to be numbered."""
    if _current is not None:
        _current.know_account(account)


def redacted(text: str) -> str:
    """``text`` as it is printed. For what is laid out or cut, which must not cut a name before it is hidden; all that
    is printed passes the streams."""
    return _current.text(text) if _current is not None else text


class RedactedStream:
    """A text stream that hides what passes through it, line by line; all else is the stream's own."""

    def __init__(self, stream: TextIO, redact: Callable[[str], str]) -> None:
        self._stream, self._redact = stream, redact
        self._pending = ""
        self._lock = threading.RLock()

    def write(self, text: str) -> int:
        """Pass on whole lines; the rest waits for its end, or for ``flush``."""
        with self._lock:
            whole, end, rest = (self._pending + text).rpartition("\n")
            self._pending = rest
            if end:
                self._stream.write(self._redact(whole) + end)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, ""
            if pending:
                self._stream.write(self._redact(pending))
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
