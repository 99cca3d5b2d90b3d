"""`recon rule` explains every code and outcome that outputs have."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from support import House, client

from reconciler import codes
from reconciler.rules import all_rules
from reconciler.rules.registry import RENAMED

CONTRACT = (
    "no_changes", "changes", "applied", "partial", "not_applied_yet", "not_started", "verify_timeout", "stale",
    "locked", "refused", "invalid", "error",
)  # fmt: skip


def test_every_code_that_tests_ask_for_is_explained() -> None:
    """The sources are searched for codes; the tests know them from what is printed."""
    found = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        found |= set(
            re.findall(r"""\.code == "([a-z]+-[a-z-]+)"|code"\] == "([a-z]+-[a-z-]+)\"""", path.read_text("utf-8"))
        )
    named = {code for pair in found for code in pair if code}
    assert len(named) > 30
    assert {code for code in named - all_rules().keys() - RENAMED.keys() if codes.key_of(code) is None} == set()


def test_every_code_and_outcome_says_something() -> None:
    assert not [code for code in codes.known() if len(codes.page(code)) < len(code) + 20]
    assert not codes.codes().keys() & all_rules().keys(), "a rule has a page of its own"
    assert set(CONTRACT) <= codes.OUTCOMES.keys()
    assert not codes.WORDS.keys() - codes.known()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("stale", "Nothing was written. Exit 3."), ("in-use", "would be deleted while"),
        ("foreign-key", "switch it off"), ("two-dmarc", "which"), ("not_applied_yet", "explains every difference"),
        ("dmarc-no-rua", "## What to do"),
    ],
)  # fmt: skip
def test_recon_rule_explains_it(house: House, code: str, words: str) -> None:
    ran = house.cli("rule", code)
    assert (ran.code, words in ran.out) == (0, True), ran
    document = json.loads(house.cli("rule", code, "--format", "json").out)
    (entry,) = [*document["rules"], *document.get("codes", ())]
    assert entry["id"] == code


def test_a_code_that_nothing_prints(house: House) -> None:
    ran = house.cli("rule", "foriegn-key")
    assert ran.code == 1
    assert "did you mean foreign-key" in ran.err


@pytest.mark.parametrize(
    ("template", "links"),
    [
        ("https://docs.acme.com/rules/{id}.html", True), ("", False), ("https://docs.acme.com/rules/", False),
        ('https://docs.acme.com/"{id}', False), ("javascript:{id}", False),
    ],
)  # fmt: skip
def test_findings_link_to_their_rules(
    house: House, monkeypatch: pytest.MonkeyPatch, template: str, links: bool
) -> None:
    monkeypatch.setenv("RECON_RULES_URL", template)
    house.write({"domains": {"acme.com": {"zone": "manual"}}})
    for format in ("markdown", "html"):
        text = house.cli("plan", "state.yaml", "--format", format).out
        assert "mail-from-none" in text
        assert ("https://docs.acme.com/rules/mail-from-none.html" in text) is links
        assert "/publish-by-hand.html" not in text, "a code that is no rule has no page"


JQ = re.findall(
    r"^recon (.+?) \| (jq .+)$", (Path(__file__).parent.parent / "docs" / "json.md").read_text(), re.MULTILINE
)


def test_the_examples_with_jq(house: House) -> None:
    if shutil.which("jq") is None:
        pytest.skip("there is no jq")
    house.seed_zone()
    (house.home / "state").mkdir()
    house.write({"domains": {"acme.com": {"dmarc": {"p": "none"}}, "acme.net": {"zone": "manual"}}})
    house.apply()
    client("sesv2").delete_email_identity(EmailIdentity="acme.net")
    (house.home / "state.yaml").rename(house.home / "state" / "mail.yaml")
    printed = {}
    for command, filter in JQ:
        ran = house.cli(*command.split())
        done = subprocess.run(shlex.split(filter), input=ran.out, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, filter, done.stderr)
        printed[filter] = done.stdout
    silent = {filter for filter, text in printed.items() if not text}
    assert all('"delete"' in filter or "declared_by" in filter for filter in silent), silent
