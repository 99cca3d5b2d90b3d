"""Lints the files of pipelines, ours and those that `recon init` writes: ``make lint`` runs it.

Workflows, the action and the GitLab pipeline against the schemas of their forges (check-jsonschema has them with it),
every shell step by shellcheck. The workflow of CI runs actionlint as well.
"""

from __future__ import annotations

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


def scripts(path: Path) -> Iterator[tuple[str, str]]:
    """Name and text of every shell script in a file of a pipeline."""
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    jobs = document.get("jobs") or {"": document.get("runs") or {}}
    for name, job in {**jobs, **{k: v for k, v in document.items() if isinstance(v, dict) and "script" in v}}.items():
        if "script" in job:
            yield name, "\n".join(job["script"])
        for number, step in enumerate(job.get("steps") or ()):
            if "run" in step:
                yield f"{name} {number}", step["run"]


def main() -> int:
    """Run both linters over all files; the exit code is 1 if either found something."""
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for forge in ("github", "gitlab"):
            for name, text in files(InitOptions(forge=forge)).items():  # type: ignore[arg-type]
                target = Path(folder, forge, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
        scaffolded = Path(folder)
        flows = [*(HERE / ".github").rglob("*.yml"), *(HERE / "docs" / "examples").glob("*.yml")]
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
        for path in [path for paths in wanted.values() for path in paths]:
            for name, script in scripts(path):
                ran = subprocess.run([BIN / "shellcheck", "--shell=bash", "-"], input=script, text=True)
                if ran.returncode:
                    failed = True
                    sys.stderr.write(f"in {path}: {name}\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
