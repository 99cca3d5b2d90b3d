"""``--redact``: both standard streams hide what ``redaction`` hides."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from reconciler import redaction
from reconciler.redaction import RedactedStream, Redactor


@contextlib.contextmanager
def redacting() -> Iterator[None]:
    """Redact what is printed while the block runs."""
    from reconciler.resources import KINDS

    redactor = Redactor(KINDS)
    streams = RedactedStream(sys.stdout, redactor.text), RedactedStream(sys.stderr, redactor.text)
    before, out, err = redaction.use(redactor), sys.stdout, sys.stderr
    sys.stdout, sys.stderr = streams
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err
        redaction.use(before)
        for stream in streams:
            with contextlib.suppress(OSError, ValueError):  # whoever read it has gone
                stream.flush()
