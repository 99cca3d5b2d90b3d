"""Secrets of this process, masked by value wherever somebody repeats one: AWS, a proxy, an SMTP server, a library.

``remember`` is called where a secret enters the process, ``mask`` on every text that comes from outside. ``errors``
masks every message, so that no call site can forget it. Nothing is written, and a secret is never part of a result.

Whoever repeats a value may cut it off, wrap its lines or escape some of its characters. Therefore only letters and
digits are compared, and a part of a secret is masked as well as the whole.

What is only shaped like a secret is masked, too: somebody pasted it where it does not belong. Sources of the shapes:
RFC 7468 (PEM); RFC 8017, appendix A.1.2 and RFC 5958 (a private key in DER begins with the version 0); IAM User Guide
"Manage access keys" (40 characters of base64); SES Developer Guide "Obtaining SES SMTP credentials" (base64 of the byte
4 and an HMAC-SHA256: 44 characters); how session tokens of STS begin; RFC 7519 (a JWT, as in the file of a web
identity); RFC 3986, section 3.2.1 (a password in a URL).
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

MASK: Final = "(sensitive)"

LONG: Final = 128
"""Characters above which a secret is a private key: between two escapes there is enough of it to be found."""
SHORTEST: Final = 8
"""Letters and digits that a part of a secret has at least: fewer could be a word of any message."""
GAP: Final = 24
"""Characters between two parts of a secret that belong to it: line breaks, escapes and what stands between two."""
_WORD: Final = frozenset("+/=%\\&#;_-")
"""Beside letters and digits, what a word with a secret in it has: the rest of the word is masked with it."""

_PUBLIC: Final = frozenset({"username", "host", "region", "created_at"})
"""Keys of a stored credential whose values are no secrets (docs/yaml.md)."""
_OTHER_WORD: Final = re.compile(r"[^\n]*[^+/=%\\&#;_\n-][^\n]*")
"""What stands between two words of a message: no line break, and more than what escapes a character."""
_ARMOR = re.compile(r"-----[A-Z0-9 ]+-----")
_ESCAPES: Final = ("", "{:02x}", "u{:04x}", "x{:x}", "{:d}")
"""What is left of an escaped character: nothing (backslash), ``%2F``, ``\\u002F``, ``&#x2F;``, ``&#47;``."""


_PEM = r"-----BEGIN [A-Z0-9 ]+(?:-----.*?-----END [A-Z0-9 ]+-----|-----(?:(?:\s|\\[nr])*[A-Za-z0-9+/=]{8,})*|$)"
_DER = r"(?:MII[A-Za-z0-9+/]{2}[AQgw]IBA|MIG[A-Za-z0-9+/]AgEA|MHcCAQEE|MC4CAQAw)[A-Za-z0-9+/=]{8,}"
_TOKEN = r"(?:IQoJb3JpZ2lu|AgoJb3JpZ2lu|F[wQ]oGZXIvYXdz|AQoDYXdz|AQoEXAMPLE)[A-Za-z0-9+/=]{8,}"
_JWT = r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"
_KEY = (
    r"(?=[A-Za-z0-9+/]{40})(?=[a-z0-9+/]*[A-Z])(?=[A-Z0-9+/]*[a-z])(?=[A-Za-z+/]*[0-9])"
    r"(?:B[A-P][A-Za-z0-9+/]{42}|[A-Za-z0-9+/]{40})(?![A-Za-z0-9+/=])"
)
_WORDS = rf"(?<![A-Za-z0-9+/])(?=[A-Za-z0-9+/]{{16}})(?:{_DER}|{_TOKEN}|{_JWT}|{_KEY})"
"""Only long words are looked at, and each once."""
_SHAPES: Final = re.compile(f"{_WORDS}|{_PEM}", re.DOTALL)
_RUNS: Final = re.compile(r"[A-Za-z0-9+/]+")
_PASSWORD: Final = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+(?=@)")
SHORTEST_SHAPE: Final = 40
"""Characters of the shortest of them, a secret access key."""
_SURE: Final = re.compile("|".join((r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY", _DER, _TOKEN)))


def looks_secret(text: str) -> bool:
    """Whether a part of ``text`` is shaped like a secret."""
    return _worth_a_look(text) and _SHAPES.search(text) is not None


def _worth_a_look(text: str) -> bool:
    """A quick no for nearly all texts: a plan of ten thousand domains has millions of characters. Digests in
    hexadecimal are no secrets."""
    if len(text) < SHORTEST_SHAPE:
        return False
    if "-----BEGIN " in text or "eyJ" in text:
        return True
    return any(len(word) >= SHORTEST_SHAPE and not word.islower() for word in _RUNS.findall(text))


def surely_secret(text: str) -> bool:
    """Whether a part of ``text`` can be nothing but a private key or a session token."""
    return _SURE.search(text) is not None


def mask_shapes(text: str) -> str:
    """``text`` with ``(sensitive)`` in the place of what is shaped like a secret."""
    if _worth_a_look(text):
        text = _SHAPES.sub(MASK, text)
    return _PASSWORD.sub(rf"\1:{MASK}", text) if "://" in text else text


def remember(secret: str | bytes | bytearray | None) -> None:
    """Mask this text from now on. A JSON document counts as the secrets in it, a PEM as what it encodes. Texts of fewer
    than four characters are not masked: nothing would be left of a message."""
    text = secret.decode("latin-1") if isinstance(secret, bytes | bytearray) else secret or ""
    for part in _secrets_in(text):
        if len(part) > 3:
            _KNOWN.add(part)


def mask(text: str) -> str:
    """``text`` with ``(sensitive)`` in the place of every remembered secret, whole or in part, and of what is shaped
    like one."""
    return mask_shapes(_KNOWN.mask(text))


def forget() -> None:
    """Forget all secrets: for tests, which run many lives of the process in one."""
    _KNOWN.clear()


def _secrets_in(text: str) -> Iterator[str]:
    document: Any = None
    if text.lstrip()[:1] in {"{", "["}:
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            document = None
    found = [leaf for leaf in _leaves(document) if len(_bare(leaf)) >= SHORTEST]
    for secret in found or [text]:
        yield _ARMOR.sub("", secret.replace("\\n", "\n")).strip() if "-----" in secret else secret.strip()


def _leaves(document: Any) -> Iterator[str]:
    pending = [document]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += [value for key, value in item.items() if key not in _PUBLIC]
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, str):
            yield item


def _bare(text: str) -> str:
    return re.sub(r"[^0-9a-z]", "", text.casefold())


def _escaped(text: str, escape: str) -> str:
    """``text`` with its special characters written as ``escape`` says."""
    return re.sub(r"[^0-9A-Za-z]", lambda found: escape.format(ord(found[0])), text)


class _Known:
    """The secrets, and an index of pieces of them. The index is made when the first text is masked: most runs mask
    nothing, and a run may have thousands of secrets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        with self._lock:
            self._all: set[str] = set()
            self._pending: list[str] = []
            self._forms: list[str] = []
            self._short: set[str] = set()
            self._pieces: dict[int, dict[str, list[tuple[int, int]]]] = {}

    def add(self, secret: str) -> None:
        if secret not in self._all:
            with self._lock:
                self._all.add(secret)
                self._pending.append(secret)

    def mask(self, text: str) -> str:
        if not self._all:
            return text
        with self._lock:
            while self._pending:
                self._index(self._pending.pop())
            for secret in self._short:
                text = text.replace(secret, MASK)
            for start, end in reversed(self._found(text)):
                text = text[:start] + MASK + text[end:]
        return text

    def _index(self, secret: str) -> None:
        if len(_bare(secret)) < SHORTEST:
            self._short |= {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()}
            return
        long = len(secret) > LONG
        for escape in _ESCAPES[:1] if long else _ESCAPES:
            self._cut(_bare(_escaped(secret, escape)), 4)
        raw = secret.encode()
        for shift in range(3):  # base64 of a text that has it somewhere within
            encoded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")[(0, 2, 3)[shift] : -1]
            self._cut(_bare(encoded), 32 if long else 8)
        self._cut(raw.hex(), 32 if long else 8)

    def _cut(self, form: str, size: int) -> None:
        """Index the pieces of ``form``: every text that shares ``2 * size - 1`` characters with it has one."""
        self._forms.append(form)
        pieces = self._pieces.setdefault(size, {})
        for at in range(0, len(form) - size + 1, size):
            pieces.setdefault(form[at : at + size], []).append((len(self._forms) - 1, at))

    def _found(self, text: str) -> list[tuple[int, int]]:
        """The spans of ``text`` that are parts of secrets, in order and apart."""
        at = [number for number, c in enumerate(text) if c.isascii() and c.isalnum()]
        bare = "".join(text[number] for number in at).lower()
        spans: list[tuple[int, int]] = []
        for size, pieces in self._pieces.items():
            start = 0
            while start <= len(bare) - size:
                around = [self._around(bare, start, *one) for one in pieces.get(bare[start : start + size], ())]
                first, last, *ends = max(around, key=lambda span: span[1] - span[0], default=(0, 0, True, True))
                first, last = _without_words(text, at, first, last, *ends)
                if last <= start or last - first < SHORTEST:
                    start += 1
                    continue
                spans.append((at[first], at[last - 1] + 1))
                start = last
        return _joined(spans, text)

    def _around(self, bare: str, start: int, number: int, offset: int) -> tuple[int, int, bool, bool]:
        """How far the text around a piece is the secret's, and whether that is up to the secret's begin and end."""
        form = self._forms[number]
        first, last, end = start, start, offset
        while first and offset and bare[first - 1] == form[offset - 1]:
            first, offset = first - 1, offset - 1
        while last < len(bare) and end < len(form) and bare[last] == form[end]:
            last, end = last + 1, end + 1
        return first, last, not offset, end == len(form)


def _without_words(text: str, at: list[int], first: int, last: int, begin: bool, end: bool) -> tuple[int, int]:
    """The span ``bare[first:last]`` without one to three letters at either end that belong to another word of the
    message, and go on as the secret does by chance: what stands between a secret's own lines has a line break. An end
    that is the secret's own ``begin`` or ``end`` stays."""
    near = range(first + 1, min(first + 4, last)), range(last - 1, max(last - 4, first), -1)
    words = [[n for n in side if _OTHER_WORD.fullmatch(text, at[n - 1] + 1, at[n])] for side in near]
    return first if begin else max(words[0], default=first), last if end else min(words[1], default=last)


def _joined(spans: list[tuple[int, int]], text: str) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        while end < len(text) and (text[end] in _WORD or text[end].isalnum()):
            end += 1
        while start and (text[start - 1] in _WORD or text[start - 1].isalnum()):
            start -= 1
        if joined and start - joined[-1][1] <= GAP:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


_KNOWN = _Known()
