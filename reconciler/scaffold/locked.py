"""Prints the place of the lock file that this recon came with, for a pipeline:

pip install --require-hashes -r "$(python -I -m reconciler.scaffold.locked)"
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.stdout.write(f"{Path(__file__).with_name('requirements.lock')}\n")
