"""Lints the files of pipelines, ours and those that `recon init` writes: ``make lint`` runs it.

Workflows, the action and the GitLab pipeline against the schemas of their forges (check-jsonschema has them with it),
every shell step by shellcheck, and every call of Python: in the checkout of a pull request it must import nothing from
there. The workflow of CI runs actionlint as well.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from reconciler.scaffold import InitOptions, files

HERE = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
_SCRIPTS = {"before_script", "script", "after_script"}


PACKAGE = "https://wheels.example/recon_mail-0.2.0-py3-none-any.whl#sha256=" + "a" * 64


def scripts(path: Path) -> Iterator[tuple[str, str]]:
    """Name and text of every shell script in a file of a pipeline."""
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    jobs = document.get("jobs") or {"": document.get("runs") or {}}
    for name, job in {
        **jobs,
        **{k: v for k, v in document.items() if isinstance(v, dict) and _SCRIPTS & v.keys()},
    }.items():
        for part in sorted(_SCRIPTS & job.keys()):
            yield f"{name} {part}", "\n".join(job[part])
        for number, step in enumerate(job.get("steps") or ()):
            if "run" in step:
                yield f"{name} {number}", step["run"]


_PYTHON = re.compile(r"(?<![\w:-])(?:python|pypy)[0-9.]*[\"']?(?=[ \t)]|$)(?P<rest>[^\n;|&)]*)", re.MULTILINE)
_WITH_ARGUMENT = ("-W", "-X")


def unsafe_python(script: str) -> list[str]:
    """The calls of Python in a shell script that would import modules from the working directory: without ``-I`` or
    ``-P``, ``-c``, ``-m``, ``-`` and no argument put it first on the path, and a file's own folder is put there as well
    (Python documentation, "Command line and environment", -I and -P)."""
    commands = "\n".join(re.sub(r"(^|\s)#.*", "", line) for line in script.replace("\\\n", " ").split("\n"))
    return [match[0].strip() for match in _PYTHON.finditer(commands) if not _isolated(match["rest"].split())]


def _isolated(arguments: list[str]) -> bool:
    while arguments and arguments[0].startswith("-"):
        option, *arguments = arguments
        if option in ("-V", "--version", "-h", "--help"):
            return True
        before_code = re.match(r"-[A-Zabd-ln-z]*", option)
        if before_code and set("IP") & set(before_code[0]) and option[:2] not in _WITH_ARGUMENT:
            return True
        if before_code and before_code[0] != option:
            return False  # -c or -m: what follows is for the program
        arguments = arguments[1:] if option in _WITH_ARGUMENT else arguments
    return False


def documents() -> Iterator[tuple[str, str]]:
    """Name and text of the shell commands in the documentation and the Dockerfile, which people copy."""
    for path in (HERE / "README.md", *sorted((HERE / "docs").rglob("*.md"))):
        blocks = re.findall(r"^```(?:sh|bash|shell|console)?\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)
        yield from ((f"{path}: block {number}", text) for number, text in enumerate(blocks, 1))
    text = (HERE / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    yield "Dockerfile", "\n".join(re.findall(r"^RUN (.*)", text, re.MULTILINE))


def main() -> int:
    """Run all checks over all files; the exit code is 1 if one found something."""
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for forge in ("github", "gitlab"):
            for name, text in files(InitOptions(forge=forge, package=PACKAGE)).items():  # type: ignore[arg-type]
                target = Path(folder, forge, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
        scaffolded = Path(folder)
        flows = [*(HERE / ".github" / "workflows").rglob("*.yml"), *(HERE / "docs" / "examples").glob("*.yml")]
        flows += (scaffolded / "github" / ".github").rglob("*.yml")
        wanted = {
            "vendor.github-workflows": flows,
            "vendor.github-actions": [HERE / "action.yml"],
            "vendor.gitlab-ci": [scaffolded / "gitlab" / ".gitlab" / "mail.yml"],
        }
        for schema, paths in wanted.items():
            transform = ["--data-transform", "gitlab-ci"] if schema == "vendor.gitlab-ci" else []
            ran = subprocess.run([BIN / "check-jsonschema", "--quiet", "--builtin-schema", schema, *transform, *paths])
            failed = failed or ran.returncode != 0
        found = [
            (f"{path}: {name}", text) for paths in wanted.values() for path in paths for name, text in scripts(path)
        ]
        for name, script in found:
            ran = subprocess.run([BIN / "shellcheck", "--shell=bash", "-"], input=script, text=True)
            if ran.returncode:
                failed = True
                sys.stderr.write(f"in {name}\n")
        for name, script in [*found, *documents()]:
            for call in unsafe_python(script):
                failed = True
                sys.stderr.write(f"in {name}: `{call}` imports modules from the working directory: use python -I\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
