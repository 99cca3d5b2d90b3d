"""The public key of a DKIM record (RFC 6376, section 3.6.1): how long it is.

Source: RFC 8017, appendix A.1.1 (RSAPublicKey); RFC 5280, section 4.1 (SubjectPublicKeyInfo); ITU-T X.690 (DER).
"""

from __future__ import annotations

import base64
import binascii

_SEQUENCE, _BIT_STRING, _INTEGER = 0x30, 0x03, 0x02


def public_key(text: str) -> str:
    """The ``p=`` of a DKIM record without white space; empty for a revoked key or a text that is no such record."""
    tags = dict(part.strip().partition("=")[::2] for part in text.split(";"))
    return "".join(tags.get("p", "").split())


def rsa_bits(public: str) -> int | None:
    """How many bits an RSA key has, given as base64 DER; None for what is none."""
    try:
        outer = _inside(base64.b64decode(public, validate=True), _SEQUENCE)
        if outer[:1] == bytes([_SEQUENCE]):  # a SubjectPublicKeyInfo: the algorithm, then the key in a bit string
            _, rest = _split(outer)
            outer = _inside(_inside(rest, _BIT_STRING)[1:], _SEQUENCE)
        return int.from_bytes(_inside(outer, _INTEGER)).bit_length()
    except (binascii.Error, ValueError, IndexError):
        return None


def _inside(data: bytes, tag: int) -> bytes:
    """The content of the value that ``data`` begins with. Raises ValueError where that is not of the type ``tag``."""
    if data[0] != tag:
        raise ValueError("not the DER of an RSA key")
    return _split(data)[0]


def _split(data: bytes) -> tuple[bytes, bytes]:
    """The content of the first value of ``data``, and what follows it. Raises IndexError where it is cut off."""
    length, start = data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start])
    if len(data) < start + length:
        raise ValueError("cut off")
    return data[start : start + length], data[start + length :]
