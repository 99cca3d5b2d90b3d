"""DKIM signatures and ARC chains, verified by dkimpy with the keys that public DNS has now.

A signature that fails says why: the key is missing or another one (a mistake in DNS), or what was signed was changed
on the way. Sources: RFC 6376 (DKIM), RFC 8463 (Ed25519), RFC 8617 (ARC), RFC 8017 (how a signature shows which key made
it).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from reconciler.message.reading import MailPart, domain_in
from reconciler.public_dns import Answer

MOST: Final = 10
"""Signatures, and sets of an ARC chain, that are looked at: each costs DNS queries."""
_LARGEST_KEY: Final = 8192
_LARGEST_EXPONENT: Final = 2**33

PASS: Final = "pass"
FAIL: Final = "fail"
UNVERIFIABLE: Final = "unknown"

BODY: Final = "body"
HEADERS: Final = "headers"
OTHER_KEY: Final = "other key"
NO_KEY: Final = "no key"
BAD_KEY: Final = "bad key"
MALFORMED: Final = "malformed"
UNANSWERED: Final = "unanswered"
HEADERS_ONLY: Final = "headers only"
UNKNOWN_METHOD: Final = "unknown method"

_METHODS: Final = frozenset({"rsa-sha256", "rsa-sha1", "ed25519-sha256"})

Answers = Mapping[tuple[str, str], Answer]


@dataclass(frozen=True, slots=True)
class Signature:
    """A DKIM signature. ``result`` is ``pass``, ``fail`` or ``unknown``; ``cause`` says why it does not pass,
    ``detail`` in words."""

    domain: str
    selector: str
    result: str
    cause: str = ""
    detail: str = ""

    @property
    def key_name(self) -> str:
        return f"{self.selector}._domainkey.{self.domain}"


@dataclass(frozen=True, slots=True)
class ArcChain:
    """The ARC chain of a message: its number of sets, the domains that sealed it, first to last, and what the first of
    them found (its ARC-Authentication-Results)."""

    sets: int
    result: str
    sealers: tuple[str, ...]
    first_results: str
    detail: str = ""


def _tags(value: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for piece in value.split(";"):
        name, _, text = piece.partition("=")
        found.setdefault(name.strip().lower(), re.sub(r"\s+", "", text))
    return found


def _key(tags: Mapping[str, str]) -> str:
    return f"{tags.get('s', '')}._domainkey.{domain_in(tags.get('d', ''))}".lower()


def key_names(message: MailPart) -> list[str]:
    """The names of the keys that are needed."""
    headers = message.all("dkim-signature")[:MOST]
    for name in ("arc-seal", "arc-message-signature"):
        headers += message.all(name)[:MOST]
    tags = [_tags(value) for value in headers]
    return sorted({_key(one) for one in tags if one.get("s") and one.get("d")})


def verify_dkim(message: MailPart, answers: Answers, *, whole: bool) -> list[Signature]:
    """Every DKIM signature, in order; without the ``whole`` message only its headers can be verified."""
    values = message.all("dkim-signature")[:MOST]
    return [_verified(message, place, _tags(value), answers, whole) for place, value in enumerate(values)]


def _verified(message: MailPart, place: int, tags: Mapping[str, str], answers: Answers, whole: bool) -> Signature:
    domain, selector = domain_in(tags.get("d", "")), tags.get("s", "").lower()

    def ended(result: str, cause: str = "", detail: str = "") -> Signature:
        return Signature(domain, selector, result, cause, detail)

    if not domain or not selector:
        return ended(FAIL, MALFORMED, "it has no d= or no s=")
    if tags.get("a", "").lower() not in _METHODS:
        return ended(UNVERIFIABLE, UNKNOWN_METHOD, f"a={tags.get('a', '')} is not verified here")
    answer = answers.get((_key(tags), "TXT"), Answer(problem="public DNS was not asked"))
    if answer.problem:
        return ended(UNVERIFIABLE, UNANSWERED, answer.problem)
    text = _record(answer.values)
    if not text:
        return ended(FAIL, NO_KEY, "public DNS has no key there")
    if not _tags(text).get("p"):
        return ended(FAIL, NO_KEY, "the key there is revoked (p= is empty)")
    try:
        return ended(*_checked(message, place, text, whole))
    except _hostile() as problem:
        return ended(FAIL, MALFORMED, f"it cannot be read: {problem}"[:200])


def _record(values: Iterable[str]) -> str:
    """The key record among the texts of a name."""
    texts = list(values)
    return next((text for text in texts if "p=" in text), "")


def _hostile() -> tuple[type[Exception], ...]:
    """What dkimpy raises for signatures and keys that are not well formed; its parsers of ASN.1, base64 and numbers
    pass their own errors through."""
    import dkim
    import dkim.crypto
    import dkim.util

    return (
        dkim.DKIMException, dkim.util.InvalidTagValueList, dkim.crypto.UnparsableKeyError,
        dkim.crypto.DigestTooLargeError, ValueError, LookupError, TypeError, OverflowError,
    )  # fmt: skip


def _checked(message: MailPart, place: int, record: str, whole: bool) -> tuple[str, str, str]:
    """(result, cause, detail) of one signature, its key known. Raises as ``_hostile`` says."""
    import dkim
    import dkim.util

    verifier = dkim.DKIM(message.raw)
    header = [one for one in verifier.headers if one[0].lower() == b"dkim-signature"][place]
    # Whether a signature has expired was the receiver's question, at its time.
    fields = {n: v for n, v in dkim.util.parse_tag_value(header[1]).items() if n not in (b"x", b"t")}
    dkim.validate_signature_fields(fields)
    key = _ed25519_key(record) if fields[b"a"].lower().startswith(b"ed25519-") else _rsa_key(record)
    if isinstance(key, str):
        return FAIL, BAD_KEY, key

    def verify(given: dict[bytes, bytes]) -> bool:
        signed = [name.lower() for name in re.split(rb"\s*:\s*", fields[b"h"].strip())]
        return key.verify_with(verifier, given, signed, header)

    # The signature is over the headers and over the hash of the body that it states: each can be checked by itself.
    if not verify({name: value for name, value in fields.items() if name != b"bh"}):
        return (FAIL, *_not_verified(key, fields, lambda: verify(fields), whole))
    if not whole:
        return UNVERIFIABLE, HEADERS_ONLY, "its headers are as they were signed; the body is not in the file"
    try:
        verify(fields)
    except dkim.ValidationError:
        return FAIL, BODY, "the headers are as they were signed; the body was changed"
    return PASS, "", ""


def _not_verified(
    key: _RsaKey | _Ed25519Key, fields: Mapping[bytes, bytes], again: Callable[[], bool], whole: bool
) -> tuple[str, str]:
    """(cause, detail) of a signature that its headers do not fit. An RSA signature tells whether the key made it; one
    of Ed25519 does not, and only a body that was changed, too, shows that the message is not what was signed."""
    import dkim

    changed = f"a signed header was changed, removed or added ({_listed(fields[b'h'])})"
    if isinstance(key, _RsaKey):
        if key.made(fields[b"b"]):
            return HEADERS, changed
        return OTHER_KEY, "the key there is not the one that signed"
    try:
        if whole:
            again()
    except dkim.ValidationError:
        return HEADERS, f"the body was changed, and perhaps {changed}"
    return OTHER_KEY, f"the key there is not the one that signed, or {changed}"


@dataclass(frozen=True, slots=True)
class _RsaKey:
    record: bytes
    public: Mapping[str, Any]

    def verify_with(self, verifier: Any, fields: dict[bytes, bytes], signed: list[bytes], header: Any) -> bool:
        return bool(verifier.verify_sig(fields, signed, header, lambda name, timeout=0: self.record))

    def made(self, signature: bytes) -> bool:
        """Whether a signature was made with this key, whatever was signed: only then the key turns it into the padding
        of PKCS #1 (RFC 8017, EMSA-PKCS1-v1_5)."""
        number = int.from_bytes(base64.b64decode(re.sub(rb"\s+", b"", signature)), "big")
        length = (self.public["modulus"].bit_length() + 7) // 8
        plain: bytes = pow(number, self.public["publicExponent"], self.public["modulus"]).to_bytes(length, "big")
        return plain.startswith(b"\x00\x01\xff\xff\xff\xff")


def _rsa_key(record: str) -> _RsaKey | str:
    """The key of a record, or what is wrong with it."""
    import dkim

    if _tags(record).get("k", "rsa").lower() != "rsa":
        return "the key there is not an RSA key of a usual size"
    key = record.encode("ascii", "replace")
    public, size, kind, _ = dkim.evaluate_pk(b"key", key)
    if kind != b"rsa" or size > _LARGEST_KEY or public["publicExponent"] > _LARGEST_EXPONENT or public["modulus"] < 3:
        return "the key there is not an RSA key of a usual size"
    if size < 1024:
        return f"the key there has {size} bits; receivers want 1024 or more"
    return _RsaKey(key, public)


class _Ed25519Key:
    """In the place of PyNaCl's key, which dkimpy would use: the same mathematics from the library that recon has."""

    def __init__(self, public: Any) -> None:
        self._public = public
        self._good = False

    def verify(self, digest: bytes, signature: bytes) -> None:
        """As PyNaCl's: called by dkimpy with the hash of the headers, which is what is signed (RFC 8463, 3)."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._public.verify(signature, digest)
            self._good = True
        except InvalidSignature:
            self._good = False

    def verify_with(self, verifier: Any, fields: dict[bytes, bytes], signed: list[bytes], header: Any) -> bool:
        verifier.pk, verifier.keysize, verifier.ktag, verifier.seqtlsrpt = self, 256, b"ed25519", False
        verifier.verify_sig_process(fields, signed, header, None)
        return self._good


def _ed25519_key(record: str) -> _Ed25519Key | str:
    """The key of a record (RFC 8463, 4: its 32 bytes alone), or what is wrong with it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    tags = _tags(record)
    raw = base64.b64decode(tags["p"], validate=True) if tags.get("k", "").lower() == "ed25519" else b""
    if len(raw) != 32:
        return "the key there is not an Ed25519 key (k=ed25519, and 32 bytes in base64)"
    return _Ed25519Key(Ed25519PublicKey.from_public_bytes(raw))


def _listed(names: bytes) -> str:
    return ", ".join(dict.fromkeys(name.strip().lower() for name in names.decode("ascii", "replace").split(":")))[:120]


def verify_arc(message: MailPart, answers: Answers, *, whole: bool) -> ArcChain | None:
    """The ARC chain of a message; None where it has none."""
    seals = [_tags(value) for value in message.all("arc-seal")]
    if not seals:
        return None
    seals.sort(key=lambda tags: int(tags["i"]) if re.fullmatch(r"[0-9]{1,3}", tags.get("i", "")) else 0)
    sealers = tuple(domain_in(tags.get("d", "")) for tags in seals)
    first = next((v for v in message.all("arc-authentication-results") if re.match(r"\s*i\s*=\s*1\s*;", v)), "")
    first = first.partition(";")[2].strip()

    def ended(result: str, detail: str) -> ArcChain:
        return ArcChain(len(seals), result, sealers, first, detail)

    if len(seals) > MOST:
        return ended(UNVERIFIABLE, f"it has {len(seals)} sets, more than {MOST}")
    keys = [_key(_tags(value)) for name in ("arc-seal", "arc-message-signature") for value in message.all(name)]
    for name in dict.fromkeys(keys):
        answer = answers.get((name, "TXT"), Answer(problem="public DNS was not asked"))
        if answer.problem or not _record(answer.values):
            return ended(UNVERIFIABLE, f"{name}: {answer.problem or 'public DNS has no key there'}")
    if not whole:
        return ended(UNVERIFIABLE, "the body is not in the file")
    import dkim

    found = {f"{name}.".encode(): _record(answers[name, "TXT"].values).encode("ascii", "replace") for name in keys}
    try:
        result, _, reason = dkim.ARC(message.raw).verify(lambda name, timeout=0: found.get(name.lower(), b""))
    except _hostile() as problem:
        return ended(FAIL, f"it cannot be read: {problem}"[:200])
    return ended(PASS, "") if result == b"pass" else ended(FAIL, str(reason)[:200])
