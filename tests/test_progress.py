"""The line on the terminal that says what a command reads or writes just now."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support import HOME, House, client, sandbox

from reconciler import activity
from reconciler.activity import Call, Work
from reconciler.aws.limiter import Limiter
from reconciler.cli import progress
from reconciler.cli.progress import StatusLine, status
from reconciler.sandbox import environment

IDENTITIES = {"about": "email identity", "total": Counter({"us-east-1": 400, "eu-west-1": 30})}


def call(rate: float | None = None, operation: str = "GetAccount", limit: str = "ses") -> Call:
    return Call(operation, "us-east-1", limit, lambda: rate)


@pytest.mark.parametrize(
    ("works", "calls", "width", "line"),
    [
        ([], [], 80, ""),
        ([], [call()], 80, "Reading account in us-east-1"),
        ([{"about": "the YAML"}], [], 80, "Reading the YAML"),
        ([{}], [call()], 80, "Reading account in us-east-1"),  # no call has said yet what it is about
        (
            [{**IDENTITIES, "done": Counter({"us-east-1": 100, "eu-west-1": 30})}],
            [call(0.94)],
            120,
            "Reading email identity 100 of 400 in us-east-1 - about 5 min left - waiting for SES, 1 call a second",
        ),
        ([{**IDENTITIES, "done": Counter({"us-east-1": 2})}], [], 42, "Reading email identity 2 of 400 in us-eas…"),
        # What does not fit is left out, what is being read last.
        (
            [{**IDENTITIES, "done": Counter({"us-east-1": 100, "eu-west-1": 30})}],
            [call(0.25)],
            70,
            "Reading email identity 100 of 400 in us-east-1 - about 5 min left",
        ),
        (
            [{"about": name, "total": Counter({"": 9})} for name in "abcde"],
            [],
            80,
            "Reading a 0 of 9, b 0 of 9, c 0 of 9 and 2 more",
        ),
        ([{"about": "resources"}] * 27, [call(0.25)], 80, "Reading resources - waiting for SES, 1 call in 4 seconds"),
        (
            [{"about": "suppressed destinations", "done": Counter({"us-east-1": 12_000, "eu-west-1": 4})}],
            [call(5.2, limit="route53")],
            99,
            "Reading suppressed destinations 12,000 in us-east-1 - waiting for Route 53, 5 calls a second",
        ),
        (
            [
                {"about": "a", "total": Counter({"": 9})},
                {
                    "about": "step", "verb": "Applying", "alone": True, "total": Counter({"": 40}), "done": Counter(),
                    "seconds": 160.0, "detail": "email_identity/us-east-1/acme.com: \x1b[2Jcreate",
                },
            ],
            [],
            120,
            "Applying step 0 of 40 - about 60 s left - email_identity/us-east-1/acme.com: \\x1b[2Jcreate",
        ),
    ],
)  # fmt: skip
def test_the_line(works: list[dict[str, Any]], calls: list[Call], width: int, line: str) -> None:
    found = status([Work(began=0.0, **one) for one in works], calls, 100.0, width)
    assert found == line
    assert len(found) <= width


class Screen(io.StringIO):
    """What a terminal shows on one row of what is written to it."""

    encoding = "utf-8"

    def shown(self) -> list[str]:
        rows = self.getvalue().split("\n")
        return [re.sub(r"^.*\r", "", row.replace("\x1b[K", "")) for row in rows]


def test_what_is_printed_stands_alone_and_nothing_is_drawn_before_a_second() -> None:
    with activity.asking():
        pass  # what was answered before the line began does not make it wait
    clock = [0.0]
    screen = Screen()
    line = StatusLine(screen, lambda: 40, lambda: clock[0])
    out = progress._BesideStatus(screen, line)
    with activity.working("zone", ["", ""]):
        clock[0] = 0.9
        line.tick()
        assert screen.getvalue() == ""
        clock[0] = 1.0
        line.tick()
        drawn = screen.getvalue()
        assert screen.shown() == ["Reading zone 0 of 2"]
        line.tick()
        assert screen.getvalue() == drawn, "the same line is not drawn again"
        out.write("a plan\n")
        clock[0] = 1.9
        line.tick()
        assert screen.shown() == ["a plan", ""]
        out.write("go on? ")
        clock[0] = 60.0
        line.tick()
        with activity.asking():
            line.tick()
        assert screen.shown() == ["a plan", "go on? "], "a question stays as it is"
        screen.write("yes\n")  # the terminal's echo
        line.tick()
        clock[0] = 61.0
        line.tick()
        assert screen.shown() == ["a plan", "go on? yes", "Reading zone 0 of 2"]
    line.tick()
    assert screen.shown() == ["a plan", "go on? yes", ""], "what is over goes"


def test_a_call_says_what_its_batch_is_about() -> None:
    limiter = Limiter(1.0)
    with activity.working(places=["eu-west-1"]) as work, activity.part_of(work):
        with activity.calling(Call("BatchGetMetricData", "eu-west-1", "ses", limiter.slow)):
            works, calls = activity.now()
            assert status(works, calls, work.began, 80) == "Reading metric data 0 of 1 in eu-west-1"
        work.count("eu-west-1")
    assert activity.now() == ([], [])
    assert activity.verb("DeleteSuppressedDestination") == "Writing"


@pytest.mark.parametrize(
    ("arguments", "format", "variables", "terminals", "shows"),
    [
        (["plan"], "text", {}, "oe", True),
        (["plan"], "text", {}, "e", True),  # recon plan > plan.txt
        (["plan"], "text", {}, "o", False),
        (["plan", "--format", "json"], "json", {}, "oe", True),
        (["plan", "--format", "json"], "json", {}, "e", False),
        (["plan", "-vq"], "text", {}, "oe", False),
        (["plan", "--quiet"], "text", {}, "oe", False),
        (["plan"], "text", {"CI": "true"}, "oe", False),
        (["plan"], "text", {"CI": "false"}, "oe", True),
        (["plan"], "text", {"TERM": "dumb"}, "oe", False),
    ],
)
def test_where_it_is_shown(
    arguments: list[str], format: str, variables: dict[str, str], terminals: str, shows: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name, value in ({"TERM": "xterm", "CI": ""} | variables).items():
        monkeypatch.setenv(name, value)
    for name, letter in (("stdout", "o"), ("stderr", "e")):
        stream = io.StringIO()
        monkeypatch.setattr(stream, "isatty", lambda letter=letter: letter in terminals)
        monkeypatch.setattr(sys, name, stream)
    assert progress.wanted(arguments, format) is shows


def test_a_plan_on_a_terminal_shows_what_it_reads(house: House, tmp_path: Path) -> None:
    """A process of its own, on a pseudo-terminal of 60 columns, at a rate at which three identities take seconds."""
    names = [f"d{n}.com" for n in range(3)]
    path = house.write({"domains": {name: {"zone": "manual"} for name in names}})
    for name in names:
        client("sesv2").create_email_identity(EmailIdentity=name)
    targets = [part for name in names for part in ("--target", f"email_identity/{HOME}/{name}")]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    variables = {**os.environ, **environment(sandbox().url), "RECON_RATES": "ses=1", "TERM": "xterm", "CI": "",
                 "PYTHONPATH": str(Path(__file__).parents[1]), "NO_COLOR": "1"}  # fmt: skip
    with (tmp_path / "plan.txt").open("wb") as file:
        command = [sys.executable, "-m", "reconciler", "plan", str(path), *targets]
        process = subprocess.Popen(command, stdout=file, stderr=theirs, stdin=theirs, env=variables, cwd=house.home)
    os.close(theirs)
    drawn = b""
    while chunk := _read(ours):
        drawn += chunk
    os.close(ours)
    assert process.wait(60) == 0
    lines = drawn.decode().replace("\x1b[K", "").split("\r")
    assert any(re.match(r"Reading email identity \d of 3 in us-east-1", line) for line in lines), lines
    assert all(len(line) < 60 for line in lines)
    assert drawn.endswith(b"\r\x1b[K"), "the line is gone at the end"
    assert "Plan: 0 to create, 3 to adopt," in (tmp_path / "plan.txt").read_text(encoding="utf-8")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux: the other side is closed
        return b""
