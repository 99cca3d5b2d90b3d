"""The supply chain: pinned actions, locked hashes, and releases that are the same bytes from the same source."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent.parent
MOMENT = "1767225600"
LOCKED = (
    "requirements.lock",
    "requirements-dev.lock",
    "requirements-browser.lock",
    "tests/fuzz/requirements.txt",
    "docs/requirements.txt",
)


def built(source: Path, out: Path, *options: str, umask: int) -> dict[str, str]:
    """File name -> SHA-256 of what a build of ``source`` makes."""
    subprocess.run(
        [sys.executable, "-m", "build", *options, "--no-isolation", "--outdir", str(out), str(source)],
        check=True, capture_output=True, timeout=280, env={**os.environ, "SOURCE_DATE_EPOCH": MOMENT}, umask=umask,
    )  # fmt: skip
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(out.iterdir())}


@pytest.mark.slow
def test_two_builds_give_the_same_wheel_and_sdist(tmp_path: Path) -> None:
    """From two places, with other file times and modes; and the wheel that is made from the sdist is the same, too."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=HERE, check=True, capture_output=True, text=True, timeout=60
    ).stdout.splitlines()
    found = []
    for number, umask, options in ((1, 0o022, ("--wheel", "--sdist")), (2, 0o077, ())):
        source = tmp_path / f"place-{number}" / "source"
        for name in listed:
            if (HERE / name).is_file():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(HERE / name, source / name)
                (source / name).chmod(0o666 & ~umask)
                os.utime(source / name, (1_000_000_000 + number * 86_400,) * 2)
        found.append(built(source, tmp_path / f"out-{number}", *options, umask=umask))
    assert sorted(Path(name).suffix for name in found[0]) == [".gz", ".whl"]
    assert found[0] == found[1]


def test_every_action_is_pinned_by_its_commit() -> None:
    """A tag can be moved; the version stands beside the commit for the reader."""
    used = [
        (path.name, line.strip())
        for path in sorted((HERE / ".github" / "workflows").glob("*.yml"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if "uses:" in line
    ]
    assert used
    loose = [line for line in used if not re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line[1])]
    assert not loose


@pytest.mark.parametrize("name", LOCKED)
def test_every_locked_requirement_has_its_hashes(name: str) -> None:
    text = re.sub(r"\\\n\s*", "", (HERE / name).read_text(encoding="utf-8"))
    locked = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert locked
    assert not [line[:80] for line in locked if not re.search(r"==\S+ .*--hash=sha256:[0-9a-f]{64}", line)]
