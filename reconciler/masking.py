"""Text without secrets: what is shaped like one, and what is known to be one, is replaced by ``HIDDEN``.

Sources of the shapes: RFC 7468 (PEM); RFC 8017, appendix A.1.2 and RFC 5958 (a private key in DER begins with the
version 0); IAM User Guide "Manage access keys" (40 characters of base64); SES Developer Guide "Obtaining SES SMTP
credentials" (base64 of the byte 4 and an HMAC-SHA256: 44 characters); session tokens of STS by how they begin; RFC 7519
(a JWT, as in AWS_WEB_IDENTITY_TOKEN_FILE); RFC 3986, section 3.2.1 (a password in a URL).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "(hidden)"

SHORTEST = 4
"""Known values with fewer characters are not looked for: they occur in any text."""

_PEM = r"-----BEGIN [A-Z0-9 ]+(?:-----.*?(?:-----END [A-Z0-9 ]+(?:-----)?|$)|$)"
_DER = r"(?:MII[A-Za-z0-9+/]{2}[AQgw]IBA|MIG[A-Za-z0-9+/]AgEA|MHcCAQEE|MC4CAQAw)[A-Za-z0-9+/=]{8,}"
_TOKEN = r"(?:IQoJb3JpZ2lu|AgoJb3JpZ2lu|F[wQ]oGZXIvYXdz|AQoDYXdz|AQoEXAMPLE)[A-Za-z0-9+/=]{8,}"
_JWT = r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"
_KEY = r"(?<![A-Za-z0-9+/])(?=[a-z0-9+/]*[A-Z])(?=[A-Z0-9+/]*[a-z])(?=[A-Za-z+/]*[0-9])"
_KEY += r"(?:B[A-P][A-Za-z0-9+/]{42}|[A-Za-z0-9+/]{40})(?![A-Za-z0-9+/=])"
_SECRET = re.compile("|".join((_PEM, _DER, _TOKEN, _JWT, _KEY)), re.DOTALL)
_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+(?=@)")
_SHORTEST_SHAPE = 16


def mask(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` without what is shaped like a secret, and without the known ``secrets``, also as Python quotes them."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret.strip()) >= SHORTEST:
            for form in dict.fromkeys((secret, repr(secret)[1:-1], ascii(secret)[1:-1], secret.strip())):
                text = text.replace(form, HIDDEN)
    if len(text) < _SHORTEST_SHAPE:
        return text
    return _PASSWORD.sub(rf"\1:{HIDDEN}", _SECRET.sub(HIDDEN, text))


def looks_secret(text: str) -> bool:
    """Whether a part of ``text`` is shaped like a secret."""
    return len(text) >= _SHORTEST_SHAPE and _SECRET.search(text) is not None
