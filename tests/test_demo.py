"""The demo runs to its end; and it notices a claim that is false."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler import demo
from reconciler.sandbox import Sandbox

HERE = Path(__file__).parent.parent


@pytest.mark.slow
def test_every_claim_is_true(tmp_path: Path) -> None:
    """Both environments from the first plan to destroy: applied at the first attempt, no drift left, nothing left."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "RECON_"))}
    hostile = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_PROFILE": "nobody", "RECON_NOW": "1999-01-01"}
    ended = subprocess.run(
        [sys.executable, "-m", "reconciler.demo"], cwd=tmp_path, capture_output=True, text=True, timeout=900,
        env={**kept, **hostile, "PYTHONPATH": str(HERE)},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr
    assert ended.stderr == ""
    assert "\x1b" not in ended.stdout
    assert re.search(r"^Done\. \d+ commands, \d+ checks, \d+ seconds\.$", ended.stdout, re.MULTILINE)
    for command in ("validate", "plan", "apply", "drift", "destroy"):
        assert f"$ recon {command} " in ended.stdout
    assert not list(tmp_path.iterdir()), "it works in a folder of its own"


def test_it_needs_a_checkout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--state", str(tmp_path / "none")]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_it_ends_with_the_first_false_claim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "state"
    bad.mkdir()
    (bad / "mail.yaml").write_text("stack: {name: 7}\n")
    assert demo.main(["--state", str(bad)]) == 1
    output = capsys.readouterr().out
    assert "recon validate --env production ended with exit 1, not 0" in output
    assert "Done." not in output


def test_what_is_left_and_what_differs_is_named() -> None:
    with Sandbox() as sandbox:
        sandbox.seed(
            zones=[{"name": "acme.example", "records": [{"name": "acme.example", "type": "TXT", "values": ["MS=1"]}]}]
        )
        before = demo.zones_of(sandbox, "production")
        assert demo.left_over(sandbox, "production") == []
        sandbox.seed(
            identities=[{"names": ["acme.example"]}],
            records=[{"zone": "acme.example", "name": "acme.example", "type": "TXT", "values": ["MS=2"]}],
        )
        assert demo.left_over(sandbox, "production") == ["acme.example"]
        words = demo.differing(before, demo.zones_of(sandbox, "production"))
        assert "lost" in words and "MS=1" in words and "gained" in words and "MS=2" in words


def test_an_excerpt_keeps_the_headline_the_blocks_and_the_last_line() -> None:
    text = "head\n\n  + one\n      a  1\n\n  ~ two\n      b  2\n\nRead with 3 AWS calls.\nPlan: 1 to create.\n"
    assert demo.blocks("two")(text) == [
        "head",
        "",
        "  ~ two",
        "      b  2",
        "",
        "  (1 more blocks)",
        "",
        "Plan: 1 to create.",
    ]
    assert demo.last_line(text) == ["Plan: 1 to create."]
