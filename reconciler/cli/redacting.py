"""``--redact``: what is printed, and what is put into the summary of a workflow's step, goes through ``redaction``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from reconciler.redaction import RedactedStream, Redactor

_current: Redactor | None = None


@contextlib.contextmanager
def redacting() -> Iterator[None]:
    """Hide what ``redaction`` hides from both standard streams while the block runs."""
    global _current
    redactor = Redactor()
    before = _current, sys.stdout, sys.stderr
    streams = RedactedStream(sys.stdout, redactor.text), RedactedStream(sys.stderr, redactor.text)
    _current, sys.stdout, sys.stderr = redactor, *streams
    try:
        yield
    finally:
        _current, sys.stdout, sys.stderr = before
        for stream in streams:
            with contextlib.suppress(OSError, ValueError):  # whoever read it has gone
                stream.flush()


def know_account(account: str | None) -> None:
    """The account that the command is about: hidden also inside other words, and the first to be numbered."""
    if _current is not None:
        _current.know_account(account)


def redacted(text: str) -> str:
    """``text`` as it is printed."""
    return _current.text(text) if _current is not None else text
