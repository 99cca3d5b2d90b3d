"""The two policies of docs/permissions.md are enough for the example, and the one for plans cannot write."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler import demo
from reconciler.sandbox import Sandbox

HERE = Path(__file__).parent.parent


def policy(name: str) -> dict[str, object]:
    """A policy as the page shows it."""
    text = (HERE / "docs" / "permissions.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- policy for {name} -->\n```json\n(.*?)\n```", text, re.DOTALL)
    assert found
    document: dict[str, object] = json.loads(found[1])
    return document


class Company:
    """The example with its own two keys, each limited to what the page says."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.folder = folder
        self.sandbox = sandbox
        shutil.copytree(HERE / "state", folder / "state")
        stack = folder / "state" / "stack.yaml"
        text = re.sub(r"  role_arn:\n(    .*\n)+", "", stack.read_text())
        assert "role_arn" not in text
        stack.write_text(text)
        for name in ("plan", "apply"):
            sandbox.principal(f"AKIA{name.upper()}", policies=[policy(name)])
        demo.set_up(sandbox, "production")

    def recon(self, key: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "RECON_"))}
        command = [sys.executable, "-m", "reconciler", *arguments]
        if not any(argument.endswith(".json") for argument in arguments[1:2]):
            command += ["--env", "production"]
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL,
            env={**kept, **self.sandbox.environment(access_key=f"AKIA{key.upper()}"), "PYTHONPATH": str(HERE)},
        )  # fmt: skip


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    with Sandbox() as sandbox:
        sandbox.reset()  # what moto holds belongs to the whole process
        yield Company(tmp_path, sandbox)


def refused(sandbox: Sandbox) -> list[str]:
    """The calls that were denied, as service:operation."""
    return sorted(
        {
            f"{c['service']}:{c['operation']}"
            for c in sandbox.calls()
            if c["status"] == 403 or "Denied" in str(c["error"])
        }
    )


@pytest.mark.slow
def test_the_example_lives_and_dies_under_the_two_policies(company: Company) -> None:
    sandbox = company.sandbox

    def runs(key: str, command: str, code: int) -> None:
        ended = company.recon(key, *command.split())
        assert not refused(sandbox)
        assert ended.returncode == code, ended.stdout[-3000:] + ended.stderr[-3000:]

    runs("plan", "plan --detailed-exitcode --out plan.json", 2)
    runs("apply", "apply plan.json", 0)
    runs("plan", "plan --detailed-exitcode", 0)
    demo.edit_by_hand(sandbox)
    runs("plan", "drift", 2)
    runs("apply", "apply --auto-approve", 0)
    runs("plan", "drift", 0)
    runs("apply", "destroy --allow-deletes 99", 0)
    assert demo.left_over(sandbox, "production") == []


def test_the_policy_for_plans_cannot_write(company: Company) -> None:
    before = demo.zones_of(company.sandbox, "production")
    ended = company.recon("plan", "apply", "--auto-approve")
    assert ended.returncode == 1
    assert refused(company.sandbox)
    assert demo.left_over(company.sandbox, "production") == []
    assert demo.zones_of(company.sandbox, "production") == before
    assert "allow ses:" in ended.stdout + ended.stderr, "the missing permission is named"
