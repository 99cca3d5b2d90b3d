"""The SES SMTP password of an access key in one region.

Source: SES Developer Guide "Obtaining Amazon SES SMTP credentials", algorithm version 4.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final

_DATE: Final = "11111111"
_SERVICE: Final = "ses"
_TERMINAL: Final = "aws4_request"
_MESSAGE: Final = "SendRawEmail"
_VERSION: Final = b"\x04"


def smtp_password(secret_access_key: str, region: str) -> str:
    """The 44-character SMTP password; the SMTP user name is the access key id.

    It is bound to the region: one key gives one password per region. Temporary credentials never work over SMTP.
    The result is a secret: it must go to the named store and nowhere else.
    Raises ValueError when either argument is empty.
    """
    if not secret_access_key or not region:
        raise ValueError("an SMTP password needs a secret access key and a region")
    signature = ("AWS4" + secret_access_key).encode("utf-8")
    for part in (_DATE, region, _SERVICE, _TERMINAL, _MESSAGE):
        signature = hmac.new(signature, part.encode("utf-8"), hashlib.sha256).digest()
    return base64.b64encode(_VERSION + signature).decode("ascii")
