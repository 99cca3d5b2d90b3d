"""The house: data flows one way, each room imports only rooms before it, and light commands load nothing heavy."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent.parent
PACKAGE = HERE / "reconciler"

BASE = {"model", "errors", "masking", "names", "regions", "mail"}

ROOMS: dict[str, set[str]] = {
    # values and codecs: nothing but each other
    "model": set(),
    "masking": set(),
    "redaction": set(),
    "errors": {"model", "masking"},
    "names": set(),
    "codes": set(),
    "regions": set(),
    "fair_queue": set(),
    "activity": set(),
    "mail": {"names"},
    "policy_evaluation": set(),
    # the edges: AWS, and what is read or kept elsewhere
    "files": {"errors"},
    "secrets": {"errors", "files", "masking"},
    "aws": {"model", "errors", "masking", "regions", "fair_queue", "activity"},
    "backend": {"model", "errors"},
    "public_dns": {"errors", "activity"},
    # YAML -> desired
    "desired": {*BASE, "files", "resources"},
    # what each kind is, as data
    "resources": {"mail"},
    # the engine of the kinds, and their classes; AWS is handed in
    "kinds": {*BASE, "policy_evaluation", "resources", "secrets", "aws"},
    # observed, judged, planned
    "rules": {*BASE, "kinds", "resources", "public_dns"},
    "observing": {*BASE, "aws", "kinds", "resources", "rules"},
    "steps": {"model", "errors", "kinds", "resources"},
    "targets": {"model", "errors", "names", "kinds", "resources", "steps"},
    "judging": {"model", "kinds", "rules", "steps"},
    "planner": {"model", "errors", "kinds", "rules", "steps", "targets", "judging"},
    "safeguards": {"model", "errors", "rules", "steps"},
    "refine": {"model", "kinds", "resources"},
    "refused_regions": {"model", "errors", "aws", "kinds", "resources", "journal"},
    "forgotten": {"model", "errors", "names", "aws", "kinds", "resources", "journal"},
    "running": {
        "activity",
        "model",
        "errors",
        "aws",
        "kinds",
        "resources",
        "rules",
        "observing",
        "targets",
        "planner",
        "refine",
        "refused_regions",
        "forgotten",
    },
    "saved": {"model", "errors", "kinds", "resources", "desired", "planner", "running"},
    "importing": {*BASE, "aws", "desired", "kinds", "resources", "observing", "planner", "rules"},
    # Plan -> AWS, Plan -> text
    "applier": {*BASE, "fair_queue", "secrets", "kinds", "resources", "steps"},
    "renderers": {"codes", "model", "errors", "masking", "redaction", "regions", "resources"},
    # around a run
    "lock": {"model", "errors", "files", "backend", "aws", "observing"},
    "journal": {"model", "errors", "files", "backend", "lock", "renderers"},
    "smtp": {*BASE, "files", "aws", "kinds", "resources", "secrets"},
    "drift": {"activity", "model", "errors", "files", "regions", "kinds", "resources"},
    "offline": {*BASE, "secrets", "kinds", "resources", "observing", "targets", "planner", "renderers"},
    "scaffold": {"errors", "regions", "desired"},
    "fleet": {*BASE, "files", "aws", "backend", "desired"},
    "suppression": {"model", "errors", "aws", "resources"},
    "doctor": {
        *BASE,
        "public_dns",
        "aws",
        "kinds",
        "resources",
        "observing",
        "suppression",
        "drift",
        "senders",
        "policy_evaluation",
    },
    "message": {*BASE, "public_dns"},
    "senders": {*BASE, "aws", "kinds", "resources", "policy_evaluation"},
    "iam_policy": {*BASE, "backend", "aws", "kinds", "resources", "rules", "doctor"},
    # an AWS of its own: knows nothing of recon
    "sandbox": set(),
    "demo": {"sandbox"},
    # wiring; nobody imports it
    "cli": {"*"},
    "__main__": {"cli"},
}
"""Room -> the rooms that it may import. A new room needs its line here, in CONTRIBUTING.md and docs/architecture.md."""

LIBRARIES: dict[str, set[str]] = {
    "boto3": {"aws", "sandbox"},
    "botocore": {"aws", "backend", "sandbox"},
    "moto": {"sandbox"},
    "flask": {"sandbox"},
    "yaml": {"desired"},
    "jsonschema": {"desired"},
    "deepdiff": {"kinds"},
    "distributed": {"fleet"},
    "idna": {"names"},
    "dns": {"public_dns", "sandbox"},
    "dkim": {"message"},
    "cryptography": {"secrets", "sandbox", "demo", "message"},
    "typer": {"cli"},
    "click": {"cli"},
    "jinja2": {"renderers"},
    "markupsafe": {"renderers"},
}
"""Library -> the only rooms that may import it."""

PURE = (
    "model",
    "errors",
    "names",
    "regions",
    "fair_queue",
    "mail",
    "policy_evaluation",
    "steps",
    "targets",
    "judging",
    "planner",
    "safeguards",
    "renderers",
)
WORLDLY = ("os", "time", "socket", "subprocess", "random", "threading", "urllib.request", "http", "shutil", "tempfile")
"""What the pure rooms keep away from: the file system, the clock, the network, the environment, chance."""

HEAVY = ("boto3", "botocore", "deepdiff", "moto", "rich", "flask", "cryptography", "dns", "dkim", "jinja2")


def room_of(module: str) -> str:
    """``reconciler.aws.client`` -> ``aws``; the package itself is ``""``. Of a kind's folder the declaration is in the
    room ``resources``, its rules in ``rules``, its part of the sandbox in ``sandbox``, its checks of the YAML in
    ``desired``, its classes in ``kinds``."""
    parts = module.split(".")
    if parts[1:2] == ["resources"] and len(parts) > 3:
        return {"headline": "resources", "rules": "rules", "sandbox": "sandbox", "checks": "desired"}.get(
            parts[3], "kinds"
        )
    return parts[1] if len(parts) > 1 else ""


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_of(file: Path) -> str:
    parts = file.relative_to(HERE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports(file: Path) -> tuple[tuple[str, int], ...]:
    """Every module that a file imports when it runs, anywhere in it, with the line; types alone do not count."""
    return tuple(_imports(ast.parse(file.read_text(encoding="utf-8"))))


def _imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for other in node.orelse:
                yield from _imports(other)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            assert node.module is not None
            # `from reconciler import lock` imports a room, `from reconciler.lock import LocalLock` too
            for alias in node.names:
                yield f"{node.module}.{alias.name}" if node.module == "reconciler" else node.module, node.lineno
        else:
            yield from _imports(node)


@pytest.mark.parametrize("file", files(), ids=module_of)
def test_one_way(file: Path) -> None:
    room = room_of(module_of(file))
    if not room:
        return
    assert room in ROOMS, f"{room} is a new room: give it a line in ROOMS, CONTRIBUTING.md and docs/architecture.md"
    for module, line in imports(file):
        if not module.startswith("reconciler."):
            continue
        other = room_of(module)
        if other in {room, "__version__"}:
            continue
        place = f"{file.relative_to(HERE)}:{line}"
        assert other in ROOMS, f"{place}: {module} is in no known room"
        assert other in ROOMS[room] or "*" in ROOMS[room], f"{place}: {room} must not import {other}"
        assert other not in {"cli", "__main__"} or room == "__main__", f"{place}: nobody imports {other}"


@pytest.mark.parametrize("file", files(), ids=module_of)
def test_libraries_stay_in_their_rooms(file: Path) -> None:
    room = room_of(module_of(file))
    for module, line in imports(file):
        library = module.partition(".")[0]
        allowed = LIBRARIES.get(library)
        place = f"{file.relative_to(HERE)}:{line}"
        assert library == "reconciler" or library in sys.stdlib_module_names or allowed is not None, (
            f"{place}: {library} is a new library: give it a line in LIBRARIES and in pyproject.toml"
        )
        assert allowed is None or room in allowed, f"{place}: {library} belongs to {', '.join(sorted(allowed))}"


@pytest.mark.parametrize("file", [f for f in files() if room_of(module_of(f)) in PURE], ids=module_of)
def test_pure_rooms_touch_nothing(file: Path) -> None:
    for module, line in imports(file):
        worldly = any(module == name or module.startswith(f"{name}.") for name in WORLDLY)
        assert not worldly, f"{file.relative_to(HERE)}:{line}: {module} in a pure room"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in {"now", "utcnow", "today"}, (
                f"{file.name}:{node.lineno}: a clock in a pure room"
            )
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"open", "print", "input"}, f"{file.name}:{node.lineno}: I/O in a pure room"


def test_the_table_is_the_house() -> None:
    """Every line of the table is a room that is there, and the table has no circle."""
    there = {room_of(module_of(file)) for file in files()} - {""}
    assert set(ROOMS) == there
    seen: dict[str, bool] = {}

    def visit(room: str) -> None:
        assert seen.get(room) is not False, f"a circle through {room}"
        if room in seen:
            return
        seen[room] = False
        for other in sorted(ROOMS[room] - {"*"}):
            visit(other)
        seen[room] = True

    for room in ROOMS:
        visit(room)


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_the_documents_name_every_room(document: str) -> None:
    text = (HERE / document).read_text(encoding="utf-8")
    missing = [room for room in ROOMS if f"`{room}" not in text and room != "__main__"]
    assert not missing, f"{document} does not name {', '.join(missing)}"


def test_the_table_of_the_document_is_this_one() -> None:
    """CONTRIBUTING.md has a row for each module, with what it may import and the libraries that it may use."""
    text = (HERE / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)(?:\.py|/)` \|[^|]*\|([^|]*)\|([^|]*)\|$", text, re.MULTILINE)
    found = {room: (set(re.findall(r"\w+", may)), set(re.findall(r"\w+", libraries))) for room, may, libraries in rows}
    for room, may in ROOMS.items():
        if room == "__main__":
            continue
        short = {"all"} if may == {"*"} else may - BASE | {"base"} if may >= BASE else may
        assert found.pop(room) == (short, {name for name, rooms in LIBRARIES.items() if room in rooms}), room
    assert not found


@pytest.mark.parametrize("command", ["--help", "--version", "validate --env production", "schema", "plan --help"])
def test_light_commands_load_nothing_heavy(command: str) -> None:
    """What an editor, a shell's completion and a commit hook run often must start at once."""
    script = (
        "import sys, io\n"
        "from reconciler.cli import run\n"
        "sys.stdout = io.StringIO()\n"
        f"code = run({command.split()!r})\n"
        f"found = sorted({{name.partition('.')[0] for name in sys.modules}} & set({HEAVY!r}))\n"
        "sys.__stdout__.write(f'{code} {found}')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=HERE, capture_output=True, text=True, timeout=300,
        env={k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "RECON_"))},
    )  # fmt: skip
    assert ended.stdout == "0 []", ended.stdout + ended.stderr
