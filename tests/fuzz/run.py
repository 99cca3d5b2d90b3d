"""``make fuzz``: atheris over one codec, from the corpus on, for a number of seconds.

    python tests/fuzz/run.py dmarc -max_total_time=60

What follows the codec goes to libFuzzer. New inputs that reach new code stay in a folder outside the repository; a
crash is left in the working directory as ``crash-...`` and belongs, made small, into the corpus.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]


def main() -> None:
    import atheris  # type: ignore[import-not-found]

    with atheris.instrument_imports(include=["reconciler.mail", "reconciler.names", "idna"]):
        from fuzz import harness

    codec, *options = sys.argv[1:] or [""]
    if codec not in harness.HARNESSES:
        raise SystemExit(f"give one of {', '.join(harness.HARNESSES)}")
    check = harness.HARNESSES[codec]
    found = tempfile.mkdtemp(prefix=f"fuzz-{codec}-")
    atheris.Setup([sys.argv[0], *options, "-max_len=4096", found, str(harness.CORPUS / codec)], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
