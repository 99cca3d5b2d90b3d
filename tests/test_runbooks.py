"""The runbooks: every command of a page is run in the scenario of the page, and prints what the page shows.

``make golden`` rewrites what they print; then read the difference.
"""

from __future__ import annotations

import base64
import contextlib
import io
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from smtp_support import world_clock
from support import House

from reconciler import cli
from reconciler.sandbox.scenarios import SCENARIOS
from reconciler.smtp import verify

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(page for page in (DOCS / "runbooks").glob("*.md") if page.name != "README.md")
WRITE = os.environ.get("RECON_GOLDEN") == "write"  # read before the fixture clears the environment
NOW = "2026-11-29T12:00:00+00:00"
BLOCK = re.compile(r"^```\n\$ recon (.*)\n((?:.*\n)*?)```$", re.MULTILINE)
SCENARIO = re.compile(r"^    recon sandbox --scenario (\S+)$", re.MULTILINE)


FIRST_LINES = {
    "authentication-error": [
        ("doctor --message send-as.eml", "It was refused: smtp: the login at the SMTP server failed"),
        (
            "doctor --region us-east-1",
            r"Fix this first: smtp: the access key AKIA\w+ of webmail was deleted on 2026-11-27",
        ),
    ],
    "one-receiver-refuses": [
        ("doctor --message refused.eml", "It was refused: reputation: the receiver blocks the sending IP address"),
        ("doctor acme.example --to .*", "Fix this first: suppression: .*ann@bigmail.example is suppressed since"),
    ],
    "complaints-rise": [("doctor acme.example .*", "Fix this first: reputation: .*0.22% complained")],
    "spam-goes-out": [
        ("doctor --region us-east-1", "Fix this first: reputation: .*one sender is behind them, crm-import"),
        ("senders", "2 of 2 senders of account 111122223333 are declared by nobody: .*user crm-import"),
    ],
    "aws-paused-us": [("doctor --region us-east-1", "Fix this first: account: us-east-1: SES has shut down sending")],
}
"""The cause that one command names in its first line, in an account that nobody has declared; by page."""


def refused(*_: object) -> verify.Verdict:
    """What SES's SMTP server says to the password of a deleted key."""
    return verify.Verdict(verify.STALE, "SES refuses the login: 535 Authentication Credentials Invalid", "")


@pytest.fixture
def practice(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """An empty sandbox at a fixed time, in a directory with the messages of the pages and a password."""
    world_clock().offset = datetime.fromisoformat(NOW).timestamp() - time.time()
    monkeypatch.setenv("RECON_NOW", NOW)
    monkeypatch.setattr(verify, "log_in", refused)
    host, port = house.sandbox.serve_dns()
    monkeypatch.setenv("RECON_RESOLVER", f"{host}:{port}")
    for file in (DOCS / "runbooks" / "messages").iterdir():
        shutil.copy(file, house.home)
    (house.home / "password.txt").write_text(base64.b64encode(b"\x04" + bytes(32)).decode())
    yield house


def ran(house: House, line: str) -> str:
    """What a command prints, and its exit code where that is not 0."""
    command, _, file = line.partition(" < ")
    printed = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        patch.setattr(sys, "stdin", io.StringIO((house.home / file).read_text() if file else ""))
        patch.chdir(house.home)
        code = cli.run(shlex.split(command))
    return printed.getvalue() + (f"[exit {code}]\n" if code else "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_runbook_print_what_it_shows(practice: House, page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = SCENARIO.search(text)
    assert found, "a page says in which scenario it can be practised"
    practice.sandbox.scenario(found[1])
    made = BLOCK.sub(lambda block: f"```\n$ recon {block[1]}\n{ran(practice, block[1])}```", text)
    assert text.count("\n$ recon ") == len(BLOCK.findall(text)) > 1
    for command, words in FIRST_LINES[page.stem]:
        assert re.search(rf"^\$ recon {command}\n(?:Without YAML.*\n)?(?:Reading .*\n)?{words}", made, re.MULTILINE), (
            words
        )
    if WRITE:
        page.write_text(made, encoding="utf-8")
    assert made == text


PRACTISED = {found[1] for page in PAGES if (found := SCENARIO.search(page.read_text(encoding="utf-8")))}


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in PRACTISED])
def test_every_scenario_can_be_begun(practice: House, name: str) -> None:
    practice.sandbox.scenario(name)
    begin = SCENARIOS[name].begin
    printed = ran(practice, begin.removeprefix("recon "))
    assert "error:" not in printed, printed


def test_an_unknown_scenario_is_named(house: House) -> None:
    done = house.cli("sandbox", "--scenario", "nothing")
    assert done.code == 1 and "there are forensic-reports, stale-password" in done.err


def test_what_doctor_points_at_is_there() -> None:
    """Every page that a finding names exists, and is listed."""
    from reconciler.doctor.runbook import PAGES as NAMED
    from reconciler.message import replies
    from reconciler.message.diagnosis import AUTHENTICATION_PAGE

    named = {row.runbook for _, row in (*replies.OF_SES, *replies.OF_RECEIVERS)} - {""}
    named |= {*NAMED.values(), AUTHENTICATION_PAGE}
    assert named <= {page.name for page in PAGES}
    listed = (DOCS / "runbooks" / "README.md").read_text(encoding="utf-8")
    assert {page.name for page in PAGES} <= set(re.findall(r"\]\(([\w-]+\.md)\)", listed))
