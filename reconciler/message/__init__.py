"""Received messages and bounces: which layer failed, and why, from the message and public DNS alone.

``read_message`` reads a file's bytes, ``questions`` says what to ask public DNS, ``examine`` makes the evidence, and
``findings`` says what it means. AWS is not asked.
"""

from __future__ import annotations

from reconciler.message.diagnosis import FOUND, LAYERS, OK, UNKNOWN, MessageFinding, findings, headline, to_json
from reconciler.message.evidence import Evidence, examine, questions
from reconciler.message.reading import LIMIT, read_message

__all__ = [
    "FOUND", "LAYERS", "LIMIT", "OK", "UNKNOWN", "Evidence", "MessageFinding", "examine", "findings", "headline",
    "questions", "read_message", "to_json",
]  # fmt: skip
