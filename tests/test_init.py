"""`recon init`: never overwrites, what it writes validates, and its workflows work, step by step, as plain shell."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import support
import yaml

from reconciler import desired
from reconciler.scaffold import Wanted, files, name_of

HERE = Path(__file__).parents[1]


def test_what_it_writes_validates(house: support.House) -> None:
    for forge in ("github", "gitlab", "none"):
        place = house.home / forge
        ran = house.cli("init", str(place), "--forge", forge, "--domain", "acme.com")
        assert ran.code == 0, ran
        assert ran.out.count("wrote ") == len([p for p in place.rglob("*") if p.is_file()])
        assert house.cli("validate", str(place / "state")).code == 0
        assert f"name: {forge}" in (place / "state" / "stack.yaml").read_text()


def test_commented_examples_validate_too(tmp_path: Path) -> None:
    """What stands in comments as an example is as valid as what stands there."""
    for path, text in files(Wanted(domain="acme.com")).items():
        if not path.startswith("state/"):
            continue
        bare = re.sub(r"^( *)# ( *(?:[\w.@-]+|\"[^\"]+\"):(?: .*)?)$", r"\1\2", text, flags=re.MULTILINE)
        assert bare != text or path == "state/defaults.yaml"
        (tmp_path / Path(path).name).write_text(bare.replace("\nsmtp_users: {}\n", "\n"))
    state = desired.load(tmp_path, "production").state
    assert {e.name for e in state.section("smtp_users")} == {"newsletter"}
    assert {e.name for e in state.section("domains")} >= {"acme.com", "news.acme.com", "parked.example"}
    assert state.stack.backend
    assert state.stack.dns_account == "999900001111"
    assert state.section("dedicated_ip_pools")


def test_it_never_overwrites(house: support.House) -> None:
    (house.home / ".github" / "workflows").mkdir(parents=True)
    mine = house.home / ".github" / "workflows" / "mail-plan.yml"
    mine.write_text("mine")
    (house.home / ".gitignore").symlink_to("/dev/null")
    assert house.cli("init").code == 0
    assert mine.read_text() == "mine"
    before = {p: p.read_bytes() for p in house.home.rglob("*") if p.is_file() and not p.is_symlink()}
    ran = house.cli("init", "--domain", "other.example")
    assert ran.code == 0
    assert "wrote" not in ran.out
    assert before == {p: p.read_bytes() for p in house.home.rglob("*") if p.is_file() and not p.is_symlink()}


def test_a_state_that_is_there_gets_nothing_beside_it(house: support.House) -> None:
    (house.home / "state" / "deep").mkdir(parents=True)
    (house.home / "state" / "deep" / "mine.yml").write_text("stack: {}")
    assert house.cli("init").code == 0
    assert [p.name for p in (house.home / "state").rglob("*.y*ml")] == ["mine.yml"]
    assert (house.home / ".github" / "workflows" / "mail-drift.yml").exists()


@pytest.mark.parametrize(
    "wrong", [["--account", "12"], ["--domain", "a b"], ["--region", "mars-1"], ["--name", "a b"], ["--forge", "x"]]
)
def test_bad_answers_write_nothing(house: support.House, wrong: list[str]) -> None:
    ran = house.cli("init", "repo", *wrong)
    assert ran.code == 1, ran
    assert not (house.home / "repo").exists()


def test_names_of_directories(tmp_path: Path) -> None:
    for name, expected in (("acme mail", "acme-mail"), ("…", "mail"), ("a" * 80, "a" * 64), ("-x.", "x")):
        assert name_of(tmp_path / name) == expected


# --- the workflows -------------------------------------------------------------------------------------------------


def test_workflows_are_pinned_and_keep_expressions_out_of_scripts() -> None:
    for path, text in files(Wanted()).items():
        if not path.startswith(".github/"):
            continue
        for action in re.findall(r"uses: (\S+)", text):
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
        document = yaml.safe_load(text)
        assert document["permissions"]["contents"] == "read"
        for job in document["jobs"].values():
            assert job["timeout-minutes"]
            for step in job["steps"]:
                assert "${{" not in step.get("run", "")
        assert "secrets." not in text
        assert "AWS_SECRET" not in text
    assert (
        yaml.safe_load(files(Wanted(forge="gitlab"))[".gitlab/mail.yml"])["mail apply"]["when" if False else "stage"]
        == "deploy"
    )


GH = """#!{python}
import json, os, sys
with open(os.environ["GH_LOG"], "a") as log:
    body = [open(a.split("@")[-1]).read() for a in sys.argv if a.startswith("body=@")]
    body += [open(sys.argv[i + 1]).read() for i, a in enumerate(sys.argv) if a == "--body-file"]
    log.write(json.dumps([sys.argv[1:], body]) + "\\n")
answers = json.load(open(os.environ["GH_ANSWERS"]))
print(answers.get(" ".join(sys.argv[1:3]), ""), end="")
"""


class Runner:
    """Runs the shell steps of a job as GitHub would: bash -e, one environment file each, in a fresh clone."""

    def __init__(self, house: support.House, clone: Path) -> None:
        self.house = house
        self.clone = clone
        self.tools = house.home / "tools"
        self.tools.mkdir()
        package = f'PYTHONPATH="{HERE}" exec "{sys.executable}" -m reconciler "$@"'
        for name, text in (
            ("gh", GH.format(python=sys.executable)),
            ("pip", '#!/bin/sh\n[ "$1" = install ] && [ -n "$2" ]\n'),
            ("recon", f"#!/bin/sh\n{package}\n"),
            ("python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'),
        ):
            tool = self.tools / name
            tool.write_text(text)
            tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        self.answers: dict[str, str] = {}
        self.outputs: dict[str, str] = {}

    def job(self, workflow: str, job: str, **env: str) -> list[Any]:
        """Every shell step of a job; returns the calls of gh."""
        document = yaml.safe_load((self.clone / ".github" / "workflows" / f"{workflow}.yml").read_text())
        log, output, summary = (self.house.home / name for name in ("gh.log", "output", "summary"))
        for file in (log, output, summary):
            file.write_text("")
        (self.house.home / "answers").write_text(json.dumps(self.answers))
        for step in document["jobs"][job]["steps"]:
            if "run" not in step:
                continue
            wanted = set(step.get("env", {})) - {"GH_TOKEN", "GH_REPO"}
            assert wanted <= env.keys() | self.outputs.keys(), wanted
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]], cwd=self.clone,
                capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
                env={
                    **os.environ, **document["env"], **self.outputs, **env, "GITHUB_REPOSITORY": "acme/mail",
                    "PATH": f"{self.tools}:{os.environ['PATH']}", "GH_LOG": str(log), "GITHUB_OUTPUT": str(output),
                    "GH_ANSWERS": str(self.house.home / "answers"), "GITHUB_STEP_SUMMARY": str(summary),
                },
            )  # fmt: skip
            assert done.returncode == 0, (step, done.stdout, done.stderr)
            self.outputs |= {k.upper(): v for k, v in (line.split("=", 1) for line in output.read_text().splitlines())}
        self.summary = summary.read_text()
        return [json.loads(line) for line in log.read_text().splitlines()]


def test_the_three_jobs_of_a_scaffolded_repository(house: support.House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pull request comment, release, an edit by hand, the cron: as plain shell, from a fresh clone, on the sandbox."""
    house.seed_zone()
    house.clear()
    repo, clone = house.home / "repo", house.home / "clone"
    assert house.cli("init", "repo", "--domain", "acme.com", "--name", "acme").code == 0

    def git(*arguments: str, cwd: Path = repo) -> str:
        identity = ["-c", "user.name=eva", "-c", "user.email=eva@acme.com", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *arguments], cwd=cwd, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "mail")
    base = git("rev-parse", "HEAD")
    domains = repo / "state" / "domains.yaml"
    domains.write_text(domains.read_text().replace("p: none", "p: quarantine"))
    git("commit", "-qam", "quarantine")
    git("clone", "-q", str(repo), str(clone), cwd=house.home)
    runner = Runner(house, clone)

    # A fork sees the declared difference, without credentials.
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    runner.job("mail-plan", "declared", BASE=base)
    assert "1 DMARC policy is tightened" in runner.summary
    assert "Offline" in runner.summary
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASANDBOXSANDBOX00")

    # A pull request gets its comment, and the same one again.
    runner.job("mail-plan", "validate")
    calls = runner.job("mail-plan", "plan", PR="7")
    arguments, body = calls[-1]
    assert arguments[:3] == ["pr", "comment", "7"]
    assert "email\\_identity/us-east-1/acme.com" in body[0] or "email_identity/us-east-1/acme.com" in body[0]
    assert runner.summary == body[0]
    assert not [w for w in house.writes() if w.startswith(("sesv2:", "route53:Change", "iam:"))]

    # The release applies exactly the saved plan.
    runner.job("mail-apply", "plan")
    assert runner.outputs["PENDING"] == "yes"
    runner.job("mail-apply", "apply")
    assert house.identity()["VerificationStatus"] == "SUCCESS"

    # Somebody edits live; the cron says who.
    house.sandbox.principal("AKIAEVAEVAEVAEVAEVA1", arn=f"arn:aws:iam::{support.ACCOUNT}:user/eva")
    support.client("sesv2", access_key="AKIAEVAEVAEVAEVAEVA1").put_configuration_set_delivery_options(
        ConfigurationSetName="transactional", TlsPolicy="OPTIONAL"
    )
    calls = runner.job("mail-drift", "drift")
    assert runner.outputs["CODE"] == "2"
    created = next(body for arguments, body in calls if arguments[:2] == ["issue", "create"])
    assert "user/eva" in created[0].replace("\\", "").replace("&#8203;", "")
    runner.answers = {"issue list": "12"}
    support.client("sesv2").put_configuration_set_delivery_options(
        ConfigurationSetName="transactional", TlsPolicy="REQUIRE"
    )
    calls = runner.job("mail-drift", "drift")
    assert runner.outputs["CODE"] == "0"
    assert calls[-1][0][:3] == ["issue", "close", "12"]
