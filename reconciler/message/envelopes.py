"""The SES event in a JSON text, out of what SNS, SQS, EventBridge and Lambda wrap around it. Pure.

Sources: SNS Developer Guide, "Message formats" (the envelope, and what is added below the text of a mail); SES
Developer Guide, "Contents of event data that Amazon SES publishes to Amazon SNS".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

_MAX_TEXT: Final = 4 * 2**20
_MAX_DEPTH: Final = 6
_MOST: Final = 200


def event_in(text: str) -> Mapping[str, Any] | None:
    """The SES event that a text begins with, out of all envelopes; None where it begins with something else."""
    start = text[:_MAX_TEXT].lstrip("\ufeff \t\r\n")
    if not start.startswith(("{", "[")):
        return None
    try:
        # In a mail SNS breaks long lines, also inside of strings, and writes a footer below.
        document, _ = json.JSONDecoder(strict=False).raw_decode(start)
    except (ValueError, RecursionError):
        return None
    return next(_events(document, 0), None)


def _events(document: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    """Every SES event in a document: of an SNS envelope, of SQS's messages, of an EventBridge event, of a list."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(document, str) and document.lstrip().startswith("{"):
        try:
            document = json.loads(document, strict=False)
        except (ValueError, RecursionError):
            return
    if isinstance(document, list):
        for item in document[:_MOST]:
            yield from _events(item, depth + 1)
    if not isinstance(document, Mapping):
        return
    if type_of(document) and isinstance(document.get("mail"), Mapping):
        yield document
        return
    for name in ("Message", "Sns", "Records", "Messages", "Body", "body", "detail"):
        if name in document:
            yield from _events(document[name], depth + 1)


def type_of(event: Mapping[str, Any]) -> str:
    """``Bounce``, ``Complaint`` and so on; "" for what is no event."""
    return str(event.get("eventType") or event.get("notificationType") or "")
