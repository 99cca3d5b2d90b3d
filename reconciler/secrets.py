"""Secrets, which the YAML references and never contains.

A reference is a mapping of one of ``secretsmanager``, ``ssm``, ``file`` or ``env`` to a name, optionally with
``region``. The text is fetched when it is needed and stored nowhere.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import ReconError
from reconciler.files import read_file
from reconciler.masking import remember

if TYPE_CHECKING:
    from reconciler.aws import Aws


def describe(reference: Mapping[str, Any]) -> str:
    """How a plan names a reference: ``secretsmanager: dkim/acme``. The name is not secret."""
    return next((f"{k}: {reference[k]}" for k in ("secretsmanager", "ssm", "file", "env") if k in reference), "unknown")


def fetch(reference: Mapping[str, Any], aws: Aws, region: str, root: str) -> str:
    """The text of a secret. ``root`` is the directory of relative file paths.

    Raises ReconError (or AwsError), which says what could not be read and never contains the text.
    """
    text = _fetch(reference, aws, region, root)
    remember(text)
    return text


def _fetch(reference: Mapping[str, Any], aws: Aws, region: str, root: str) -> str:
    where = str(reference.get("region") or region)
    if "secretsmanager" in reference:
        answer = aws.call("secretsmanager", "GetSecretValue", where, SecretId=str(reference["secretsmanager"]))
        if "SecretString" in answer:
            return str(answer["SecretString"])
        return bytes(answer.get("SecretBinary") or b"").decode("latin-1")
    if "ssm" in reference:
        answer = aws.call("ssm", "GetParameter", where, Name=str(reference["ssm"]), WithDecryption=True)
        return str(answer["Parameter"]["Value"])
    if "env" in reference:
        name = str(reference["env"])
        if name not in os.environ:
            raise ReconError(f"the environment variable {name} is not set", hint=f"set {name} for this run")
        return os.environ[name]
    return _file(str(reference.get("file")), root)


MAX_FILE = 64 * 1024
"""Bytes of a key file; a 4096-bit key in PEM form has 3,300."""


def _file(name: str, root: str) -> str:
    """The text of a key file, which is ASCII."""
    data = read_file(name, root, what="the key file", limit=MAX_FILE, absolute=True)
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise ReconError(f"the key file {Path(root) / name} could not be read: it is not ASCII") from None


class DkimKey:
    """An RSA key pair for BYODKIM: the private half in the form for SES, the public half in the form for DNS.

    ``private`` is base64 PKCS#1 DER on one line (SES Developer Guide, "Troubleshooting DKIM": the key must be PKCS#1);
    ``public`` is base64 SubjectPublicKeyInfo DER, the ``p=`` of RFC 6376 section 3.6.1; ``fingerprint`` covers only
    the public half, so it is not secret.
    """

    __slots__ = ("fingerprint", "private", "public")

    def __init__(self, text: str) -> None:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

        try:
            if "-----BEGIN" in text:
                # A PEM from an environment variable or a JSON value may contain literal \n.
                pem = text.replace("\\n", "\n").strip().encode() + b"\n"
                key = serialization.load_pem_private_key(pem, password=None)
            else:
                der = base64.b64decode(re.sub(r"\s+", "", text), validate=True)
                key = serialization.load_der_private_key(der, password=None)
        except (ValueError, TypeError):
            raise ReconError(
                "the DKIM private key is not an unencrypted RSA key in PEM or base64 DER form",
                hint="generate one: openssl genrsa 2048",
            ) from None
        if not isinstance(key, RSAPrivateKey) or not 1024 <= key.key_size <= 2048:
            raise ReconError(
                "the DKIM private key must be RSA with 1024 to 2048 bits", hint="generate one: openssl genrsa 2048"
            )
        self.private = base64.b64encode(
            key.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
            )
        ).decode()
        spki = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.public = base64.b64encode(spki).decode()
        self.fingerprint = fingerprint(self.public)

    def __repr__(self) -> str:
        return f"DkimKey({self.fingerprint})"


def fingerprint(public: str) -> str:
    """``sha256:<hex>`` of a public key given as base64 DER."""
    return "sha256:" + hashlib.sha256(public.encode()).hexdigest()
