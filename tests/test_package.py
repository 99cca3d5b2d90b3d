"""What is shipped: the wheel holds all that recon needs, and recon runs from it anywhere."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from reconciler import __version__

HERE = Path(__file__).parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-browser.lock")


def run(*command: str | Path, cwd: Path, timeout: int = 280, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "RECON_", "PYTHON"))}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**kept, **environment},
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what is committed or about to be, so that the checkout stays clean."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=HERE)
    names = listed.stdout.splitlines() if listed.returncode == 0 else []
    assert names, "the tests run in a checkout"
    for name in names:
        if (HERE / name).is_file() and not name.startswith(("tests/", "docs/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((HERE / name).read_bytes())
    built = run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", cwd=source)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    (found,) = (folder / "dist").glob("*.whl")
    return found


def test_the_wheel_holds_what_recon_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(next(n for n in names if n.endswith("METADATA"))).decode()
        points = archive.read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "reconciler", cwd=HERE).stdout
    needed = {name for name in listed.splitlines() if (HERE / name).is_file() and not name.endswith("/cases.yaml")}
    assert not needed - names, "code, schemas and templates"
    for file in (HERE / "schemas").glob("*.json"):
        assert f"reconciler/schemas/{file.name}" in names
    strangers = {n for n in names if not n.startswith("reconciler/") and ".dist-info/" not in n}
    assert not strangers, "nothing but the package is installed"
    assert "recon = reconciler.cli:main" in points
    assert "License-Expression: Apache-2.0" in metadata
    assert any(n.endswith("/LICENSE") for n in names)
    assert f"Version: {__version__}\n" in metadata


def test_it_runs_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """The unpacked wheel beside the libraries of this environment, in a folder that is no checkout."""
    home = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(home)
    (tmp_path / "work").mkdir()
    code = f"import sys; sys.path.insert(0, {str(home)!r}); from reconciler.cli import main; main()"
    _uses(tmp_path / "work", [sys.executable, "-P", "-c", code])


def _uses(work: Path, recon: list[str]) -> None:
    """Help, schema, validate and the sandbox, as somebody without the checkout would run them."""
    version = run(*recon, "--version", cwd=work)
    assert (version.returncode, version.stdout) == (0, f"recon {__version__}\n"), version.stderr
    helped = run(*recon, "--help", cwd=work)
    assert helped.returncode == 0 and "plan" in helped.stdout, helped.stderr
    schema = run(*recon, "schema", cwd=work)
    assert json.loads(schema.stdout)["$schema"].endswith("2020-12/schema"), schema.stderr
    (work / "state").mkdir()
    (work / "state" / "mail.yaml").write_text(
        'stack: {name: a, account: "111122223333", regions: [us-east-1]}\ndomains: {example.com: {}}\n'
    )
    valid = run(*recon, "validate", cwd=work)
    assert (valid.returncode, valid.stdout) == (0, "state is valid: 1 domain.\n"), valid.stderr
    (work / "bad.yaml").write_text("stack: {name: a, account: 111122223333, regions: [us-east-1]}\n")
    bad = run(*recon, "validate", "bad.yaml", cwd=work)
    assert bad.returncode == 1 and "bad.yaml:1:" in bad.stderr
    planned = run(*recon, "plan", cwd=work, AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x",
                  AWS_ENDPOINT_URL="http://127.0.0.1:1")  # fmt: skip
    assert planned.returncode == 1 and "Traceback" not in planned.stderr
    started = run(*recon, "sandbox", "--port", "99999", cwd=work)
    assert started.returncode == 1 and "Traceback" not in started.stderr


@pytest.mark.slow
def test_it_installs_into_a_bare_environment(wheel: Path, tmp_path: Path) -> None:
    """As docs/versions.md says: the wheel by its digest, then what it needs from the lock file that it came with. The
    lock names everything that recon imports, and the whole demo runs from there."""
    venv, work = tmp_path / "venv", tmp_path / "work"
    made = run(sys.executable, "-I", "-m", "venv", venv, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (tmp_path / "wheel.txt").write_text(f"recon-mail @ {wheel.as_uri()} --hash=sha256:{digest}\n")
    pip: list[str | Path] = [venv / "bin" / "pip", "install", "--quiet", "--require-hashes"]
    first = run(*pip, "--no-deps", "-r", tmp_path / "wheel.txt", cwd=tmp_path)
    assert first.returncode == 0, first.stderr[-2000:]
    lock = run(venv / "bin" / "python", "-I", "-m", "reconciler.scaffold.locked", cwd=tmp_path).stdout.strip()
    assert Path(lock).is_relative_to(venv)
    rest = run(*pip, "-r", lock, cwd=tmp_path)
    assert rest.returncode == 0, rest.stderr[-2000:]
    checked = run(venv / "bin" / "pip", "check", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout
    work.mkdir()
    _uses(work, [str(venv / "bin" / "recon")])
    told = run(venv / "bin" / "python", "-I", "-m", "reconciler.demo", "--state", HERE / "state", cwd=work, timeout=900)
    assert told.returncode == 0, told.stdout[-2000:] + told.stderr


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_everything_by_hash(name: str) -> None:
    text = (HERE / name).read_text()
    assert "://" not in text and "--index" not in text and "--find-links" not in text
    requirements = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert requirements
    for line in requirements:
        assert re.match(r"[a-z0-9][a-z0-9._-]*==[^ ]+ (; .+ )?\\$", line), line
    assert text.count("--hash=sha256:") > len(requirements)


def test_the_locks_cover_what_pyproject_asks_for() -> None:
    project = tomllib.loads((HERE / "pyproject.toml").read_text())
    asked = {
        "requirements.lock": [*project["project"]["dependencies"], *project["dependency-groups"]["build"]],
        "requirements-dev.lock": project["dependency-groups"]["dev"],
        "requirements-browser.lock": project["dependency-groups"]["browser"],
    }
    for name, wanted in asked.items():
        locked = {line.split("==")[0] for line in (HERE / name).read_text().splitlines() if "==" in line}
        missing = {re.split(r"[^A-Za-z0-9._-]", one)[0].lower() for one in wanted} - locked
        assert not missing, f"{name} lacks {missing}: run `make lock`"


def test_the_locks_agree() -> None:
    pins: dict[str, str] = {}
    for name in LOCKS:
        for line in (HERE / name).read_text().splitlines():
            if match := re.match(r"([a-z0-9._-]+)==([^ ]+) (;.*)?", line):
                key = match[1] + (match[3] or "")
                assert pins.setdefault(key, match[2]) == match[2], f"{key} is pinned twice"


def test_a_small_validate_loads_no_library_that_it_needs_not(tmp_path: Path) -> None:
    """Start-up is most of what a small run takes: counted in libraries, since time is no test."""
    state = tmp_path / "state.yaml"
    state.write_text(
        'stack: {name: a, account: "111122223333", regions: [us-east-1]}\ndomains: {acme.com: {dkim: {}}}\n'
    )
    code = (
        "import json, sys; from reconciler.cli import run\n"
        "heavy = {'boto3', 'botocore', 'pydantic', 'deepdiff', 'jsonschema', 'rich', 'cryptography', 'dns', 'moto'}\n"
        "for line in json.loads(sys.argv[1]):\n"
        "    ended = run(line); print('ended', ended, *sorted(heavy & sys.modules.keys()))"
    )
    lines = (
        ["validate", str(state)],
        ["validate", str(state), "--format", "json", "-q"],
        ["--help"],
        ["plan", str(tmp_path / "nowhere")],
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, json.dumps(lines)], cwd=Path(__file__).parent.parent, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip
    assert re.findall(r"^ended .*$", ended.stdout, re.MULTILINE) == ["ended 0", "ended 0", "ended 0", "ended 1"], ended


def test_it_runs_without_docstrings_and_asserts(tmp_path: Path) -> None:
    """``PYTHONOPTIMIZE=2``, as some images have it: the pages of the rules are docstrings, and no plan needs them."""
    head = 'stack: {name: acme, account: "111122223333", regions: [us-east-1]}\n'
    for name, policy in (("base", "reject"), ("mail", "none")):
        (tmp_path / f"{name}.yaml").write_text(
            f"{head}domains: {{acme.com: {{zone: Z0123456789ABC, dmarc: {{p: {policy}}}}}}}\n"
        )
    ran = run(
        sys.executable, "-OO", "-m", "reconciler", "plan", "--offline", "mail.yaml", "--against", "base.yaml",
        "--format", "json", cwd=tmp_path, PYTHONPATH=str(HERE), PYTHONDONTWRITEBYTECODE="1",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert json.loads(ran.stdout)["summary"]["update"] == 1
