"""Bad input, a file each: every error is found, at its line, with what is wrong and what would be right.

The head of a file says what is expected, one line an error: ``# expect: code=... line=... says=...``; ``# env: NAME``
names the environment. Nothing else may be reported as an error. All files are loaded in a process of their own, which
also shows that no AWS library is touched for it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent / "bad_inputs"
ROOT = Path(__file__).parent.parent
FILES = sorted(HERE.glob("*.yaml"))
EXPECT = re.compile(r"# expect: code=(?P<code>\S+) line=(?P<line>\d+) says=(?P<says>.+)")
ENVIRONMENT = re.compile(r"# env: (\S+)")

LOADER = """
import json, sys
from reconciler.desired import load
from reconciler.errors import InvalidState

found = {}
for line in sys.stdin:
    path, environment = json.loads(line)
    try:
        load(path, environment)
        found[path] = []
    except InvalidState as error:
        found[path] = [d.to_json() for d in error.diagnostics]
heavy = sorted({name.partition(".")[0] for name in sys.modules} & {"boto3", "botocore", "moto", "rich", "deepdiff"})
json.dump({"found": found, "heavy": heavy}, sys.stdout)
"""


def environment_of(text: str) -> str | None:
    match = ENVIRONMENT.search(text)
    return match.group(1) if match else None


@pytest.fixture(scope="module")
def loaded() -> dict[str, Any]:
    asked = "".join(json.dumps([str(f), environment_of(f.read_text(encoding="utf-8"))]) + "\n" for f in FILES)
    command = [sys.executable, "-c", LOADER]
    run = subprocess.run(command, input=asked, capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


def test_there_are_enough() -> None:
    assert len(FILES) >= 60


def test_no_aws_library_is_imported(loaded: dict[str, Any]) -> None:
    assert loaded["heavy"] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_bad_input(file: Path, loaded: dict[str, Any]) -> None:
    text = file.read_text(encoding="utf-8")
    expected = [(m["code"], int(m["line"]), m["says"]) for m in EXPECT.finditer(text)]
    assert expected, "the file says nothing of what is expected"
    errors = [d for d in loaded["found"][str(file)] if d["severity"] == "error"]
    assert sorted((d["code"], d["line"]) for d in errors) == sorted((code, line) for code, line, _ in expected)
    for code, line, says in expected:
        assert any(d["code"] == code and d["line"] == line and says in d["message"] for d in errors), errors
    for error in errors:
        assert error["file"] == str(file)
        assert error["column"] >= 1
        assert error["hint"], f"{error['code']} does not say what would be right"
        assert "\n" not in error["message"]
