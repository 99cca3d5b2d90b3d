"""Runs the jobs of forges as plain shell: the steps of workflows, of composite actions and of GitLab jobs.

Each shell step is what the file says, run by bash as the forge would run it, in a fresh clone. ``recon`` in it is this
test process: a small client hands the command line over, and gets what was printed and the exit code back; that saves
a Python with boto3 for each step. ``gh``, ``pip`` and ``python`` are stand-ins as far as they would leave the machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import support
import yaml

HERE = Path(__file__).parents[1]
GONE = {"actions/checkout", "actions/setup-python", "aws-actions/configure-aws-credentials"}
"""Actions whose work is done here already: the clone, the Python, the credentials."""

CLIENT = """#!{python} -S
import json, os, socket, sys
there = socket.socket(socket.AF_UNIX)
there.connect(os.environ["RECON_TEST_SOCKET"])
there.sendall(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode() + b"\\n")
code, out, err = json.loads(there.makefile().readline())
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""

GH = """#!{python} -S
import json, os, sys
with open(os.environ["GH_LOG"], "a") as log:
    body = [open(a.split("@")[-1]).read() for a in sys.argv if a.startswith("body=@")]
    body += [open(sys.argv[i + 1]).read() for i, a in enumerate(sys.argv) if a == "--body-file"]
    log.write(json.dumps([sys.argv[1:], body]) + "\\n")
answers = json.load(open(os.environ["GH_ANSWERS"]))
answer = next((v for k, v in answers.items() if " ".join(sys.argv[1:]).startswith(k)), "")
sys.exit(1) if answer is None else print(answer, end="")
"""

PIP = """#!/bin/sh
echo "$@" >> "$PIP_LOG"
"""

PYTHON = """#!/bin/sh
if [ "$1 $2 $3" = "-I -m venv" ]; then mkdir -p "$4/bin" && ln -sf "$(command -v pip)" "$4/bin/pip"
else exec "{python}" "$@"; fi
"""


def git(*arguments: str, cwd: Path) -> str:
    """A git command as eva; returns what it prints."""
    identity = ["-c", "user.name=eva", "-c", "user.email=eva@acme.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout.strip()


class Shell:
    """Shell steps in one clone, one after the other."""

    def __init__(self, house: support.House, clone: Path) -> None:
        self.house = house
        self.clone = clone
        self.answers: dict[str, str | None] = {}
        """What gh prints for a command line that begins so; None: it fails."""
        self.code = 0
        self.role = ""
        self.tools = house.home / "tools"
        self.tools.mkdir()
        for name, text in (("gh", GH), ("pip", PIP), ("recon", CLIENT), ("python", PYTHON)):
            tool = self.tools / name
            tool.write_text(text.replace("{python}", sys.executable))
            tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        self.files = {name: house.home / name.lower() for name in ("GH_LOG", "PIP_LOG", "GH_ANSWERS")}
        for file in self.files.values():
            file.write_text("")
        self.server = socket.socket(socket.AF_UNIX)
        path = os.path.relpath(house.home / "recon.socket")
        self.server.bind(str(house.home / "recon.socket") if len(path) > 100 else path)
        self.server.listen()
        self.server.settimeout(0.02)

    def gh(self) -> list[Any]:
        """The calls of gh since the last look, each with the bodies that it was given."""
        found = [json.loads(line) for line in self.files["GH_LOG"].read_text().splitlines()]
        self.files["GH_LOG"].write_text("")
        return found

    def run(self, script: str, environment: Mapping[str, str], *, pipefail: bool = True, folder: str = ".") -> str:
        """Run a script in ``folder`` of the clone; ``code`` is how it ended. Returns both outputs."""
        self.files["GH_ANSWERS"].write_text(json.dumps(self.answers))
        flags = "-eo" if pipefail else "-e"
        running = subprocess.Popen(
            ["bash", "--noprofile", "--norc", flags, *(["pipefail"] if pipefail else []), "-c", script],
            cwd=self.clone / folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
            env={
                **os.environ, "PATH": f"{self.tools}:{os.environ['PATH']}",
                "RECON_TEST_SOCKET": str(self.house.home / "recon.socket"),
                **{k: str(v) for k, v in self.files.items()}, **environment,
            },
        )  # fmt: skip
        while running.poll() is None:
            self._serve()
        out = running.communicate()[0]
        self.code = running.returncode
        return out

    def _serve(self) -> None:
        """One command line of recon, if one waits, in the directory and the environment that it came from."""
        try:
            asked, _ = self.server.accept()
        except TimeoutError:
            return
        with asked, asked.makefile() as lines:
            arguments, cwd, environment = json.loads(lines.readline())
            before, home = dict(os.environ), self.house.home
            role = environment.get("AWS_ROLE_ARN", "")
            if role != self.role:
                support._clients.clear()  # they act for another role
                self.role = role
            try:
                os.environ.clear()
                os.environ.update(environment)
                self.house.home = Path(cwd)
                ran = self.house.cli(*arguments)
            finally:
                self.house.home = home
                os.environ.clear()
                os.environ.update(before)
            asked.sendall(json.dumps([ran.code, ran.out, ran.err]).encode() + b"\n")


# --- GitHub --------------------------------------------------------------------------------------------------------


class GitHub:
    """Jobs of workflows, with what ``${{ }}`` means in their ``env``, ``with`` and ``if``."""

    def __init__(self, shell: Shell, **contexts: str) -> None:
        self.shell = shell
        self.temp = shell.house.home / "temp"
        self.contexts = {
            "github.token": "t", "github.repository": "acme/mail", "github.event.repository.default_branch": "main",
            "github.event.repository.visibility": "public", "runner.temp": str(self.temp), "matrix.env": "",
            "matrix.role": f"arn:aws:iam::{support.ACCOUNT}:role/recon-", "matrix.region": support.HOME,
            "matrix.artifact": "plan", "matrix.page": "plan-page", "matrix.label": "mail-drift",
            "matrix.title": "Mail has drifted", "needs.changed.outputs.state": "yes", **contexts,
        }  # fmt: skip
        self.artifacts = shell.house.home / "artifacts"
        self.attested: list[str] = []
        self.summary = ""
        self.failed = False

    def job(self, workflow: Path, job: str, *, expect: bool = True, **contexts: str) -> list[Any]:
        """Every step of a job of a file; ``expect``: whether it succeeds. Returns the calls of gh."""
        document = yaml.safe_load(workflow.read_text(encoding="utf-8"))
        body = document["jobs"][job]
        known = {**self.contexts, **contexts}
        self.summary, self.failed = "", False
        self.shell.gh()
        shutil.rmtree(self.temp, ignore_errors=True)  # each job has a machine of its own
        self.temp.mkdir()
        self._steps(body["steps"], known, {**document.get("env", {}), **body.get("env", {})}, pipefail=False)
        assert self.failed is not expect, self.said
        for name, text in (body.get("outputs") or {}).items():
            self.contexts[f"needs.{job}.outputs.{name}"] = self.filled(text, known, "" if self.failed else None)
        return self.shell.gh()

    def _steps(self, steps: list[Any], known: dict[str, str], env: Mapping[str, str], *, pipefail: bool) -> None:
        for step in steps:
            condition = str(step.get("if", "success()"))
            if not self.true(condition, known):
                continue
            given = {k: self.filled(str(v), known) for k, v in (step.get("with") or {}).items()}
            if "uses" in step:
                self._use(step, given, known)
                continue
            files = {
                n: self.shell.house.home / n.lower() for n in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_PATH")
            }
            for file in files.values():
                file.write_text("")
            self.said = self.shell.run(
                step["run"],
                {
                    **env, **{k: self.filled(str(v), known) for k, v in (step.get("env") or {}).items()},
                    **{k: str(v) for k, v in files.items()}, "GITHUB_REPOSITORY": "acme/mail",
                    "GITHUB_SHA": "0123456789012345678901234567890123456789", "RUNNER_TEMP": str(self.temp),
                },
                pipefail=pipefail, folder=self.filled(step.get("working-directory", "."), known),
            )  # fmt: skip
            self.failed = self.failed or self.shell.code != 0
            self.summary += files["GITHUB_STEP_SUMMARY"].read_text()
            for line in files["GITHUB_OUTPUT"].read_text().splitlines():
                name, _, value = line.partition("=")
                known[f"steps.{step['id']}.outputs.{name}"] = value

    def _use(self, step: Mapping[str, Any], given: dict[str, str], known: dict[str, str]) -> None:
        action = step["uses"].partition("@")[0]
        if action == "acme/recon":
            self._composite(step, given, known)
        elif action == "actions/upload-artifact":
            target = self.artifacts / given["name"]
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(given["path"], target)
        elif action == "actions/download-artifact":
            shutil.copytree(self.artifacts / given["name"], given["path"], dirs_exist_ok=True)
        elif action == "actions/attest":
            self.attested.append(hashlib.sha256(Path(given["subject-path"]).read_bytes()).hexdigest())
        else:
            assert action in GONE, action

    def _composite(self, step: Mapping[str, Any], given: dict[str, str], known: Mapping[str, str]) -> None:
        action = yaml.safe_load((HERE / "action.yml").read_text(encoding="utf-8"))
        assert given.keys() <= action["inputs"].keys()
        inside = {k: v for k, v in known.items() if k.startswith(("github.", "runner."))}
        inside["github.action_path"] = str(HERE)
        for name, one in action["inputs"].items():
            assert name in given or not one.get("required")
            inside[f"inputs.{name}"] = given.get(name, self.filled(str(one.get("default", "")), known))
        self._steps(action["runs"]["steps"], inside, {}, pipefail=True)
        for name, output in action["outputs"].items():
            value = self.filled(output["value"], inside, missing="")
            known[f"steps.{step.get('id', '')}.outputs.{name}"] = value  # type: ignore[index]

    def filled(self, text: str, known: Mapping[str, str], missing: str | None = None) -> str:
        """``text`` with its expressions replaced; a name that nothing defines is a KeyError."""

        def one(match: re.Match[str]) -> str:
            name = match[1].strip()
            return known[name] if missing is None or name in known else missing

        return re.sub(r"\$\{\{(.*?)\}\}", one, text)

    def true(self, condition: str, known: Mapping[str, str]) -> bool:
        """What a step's ``if`` says: comparisons and functions of GitHub's, as far as our files use them."""
        bare = re.fullmatch(r"\$\{\{(.*)\}\}", condition.strip(), re.DOTALL)
        text = " ".join((bare[1] if bare else condition).split())
        if not re.search(r"\b(success|cancelled|always|failure)\(", text) and self.failed:
            return False
        text = text.replace("&&", " and ").replace("||", " or ")
        text = re.sub(r"!(?!=)", " not ", text)
        contexts = r"(?<!['\"\w./-])(?:github|inputs|steps|needs|vars)(?:\.[\w-]+)+"
        text = re.sub(contexts, lambda m: f"known({m[0]!r})", text)
        functions = {
            "known": lambda name: known.get(name, ""), "success": lambda: not self.failed, "cancelled": lambda: False,
            "fromJSON": json.loads, "contains": lambda items, item: item in items,
        }  # fmt: skip
        return bool(eval(text, {"__builtins__": {}}, functions))


# --- GitLab --------------------------------------------------------------------------------------------------------


class GitLab:
    """Jobs of .gitlab/mail.yml: ``extends``, variables, ``before_script`` and ``script`` as one shell, and then
    ``after_script`` in another."""

    def __init__(self, shell: Shell, **variables: str) -> None:
        self.shell = shell
        self.variables = variables
        self.dotenv: dict[str, str] = {}

    def job(self, name: str, *, expect: int = 0, **variables: str) -> str:
        """Run a job; returns what it printed."""
        jobs = yaml.safe_load((self.shell.clone / ".gitlab" / "mail.yml").read_text(encoding="utf-8"))
        job = self._extended(jobs, name)
        given = {**self.variables, **self.dotenv, **variables}
        given |= dict.fromkeys(job.get("id_tokens", {}), "token")
        for key, value in job["variables"].items():
            given[key] = re.sub(r"\$(\w+)", lambda m: given[m[1]], str(value))
        said = self.shell.run("\n".join([*job["before_script"], *job["script"]]), given)
        assert self.shell.code == expect, said
        if after := job.get("after_script"):
            said += self.shell.run("\n".join(after), {**given, "CI_JOB_STATUS": "failed" if expect else "success"})
        artifacts = job.get("artifacts", {})
        if expect == 0:
            for path in artifacts.get("paths", ()):
                assert (self.shell.clone / path).exists(), path
        report = artifacts.get("reports", {}).get("dotenv")
        if report and (self.shell.clone / report).exists():
            lines = (self.shell.clone / report).read_text().splitlines()
            self.dotenv = dict(line.split("=", 1) for line in lines)
        return said

    def _extended(self, jobs: Mapping[str, Any], name: str) -> dict[str, Any]:
        job = dict(jobs[name])
        above = job.pop("extends", None)
        return support.merge(self._extended(jobs, above), job) if above else job
