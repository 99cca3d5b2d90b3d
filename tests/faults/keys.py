"""Private keys for the tests: none is kept in a file of the project."""

from __future__ import annotations

import functools


@functools.lru_cache(maxsize=2)
def pem(number: int) -> str:
    """An RSA key as PEM; made once, since that takes time."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
