"""Files beside the state: no link is followed, nothing but regular files is opened, and what is written is private."""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import House, client

from reconciler import files

DOCUMENT: dict[str, Any] = {"configuration_sets": {"main": {}}}
BUCKET = "acme-recon"
S3 = {"backend": {"s3": {"bucket": BUCKET, "prefix": "mail/"}}}


@pytest.fixture
def here(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """A state whose lock and journal are in ``.recon`` of the working directory."""
    monkeypatch.delenv("RECON_DIR")
    house.write(DOCUMENT)
    return house


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def identity(path: Path) -> tuple[int, ...] | None:
    if not os.path.lexists(path):
        return None
    found = path.lstat()
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns


# --- links ---------------------------------------------------------------------------------------------------------

NAMES = ("lock-acme.json", "journal-acme.jsonl", "journal-acme.jsonl.1", ".gitignore")


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_no_link_in_the_directory_is_followed(here: House, name: str, exists: bool) -> None:
    target = here.home / "elsewhere"
    if exists:
        target.write_text("precious\n" * 3)
    (here.home / ".recon").mkdir()
    (here.home / ".recon" / name).symlink_to(target)
    ran = here.cli("apply", "state.yaml", "--auto-approve")
    assert target.exists() == exists
    assert not exists or target.read_text() == "precious\n" * 3
    assert "Traceback" not in ran.err
    if name.startswith("lock"):
        assert ran.code == 1 and "is a symbolic link, not a regular file" in ran.err, ran
        assert here.cli("unlock", "state.yaml", "--force").code == 0
        assert here.cli("apply", "state.yaml", "--auto-approve").code == 0
    else:
        assert ran.code == 0, ran
        assert ("journal cannot be written" in ran.err) == (name == "journal-acme.jsonl"), ran
    assert not exists or target.read_text() == "precious\n" * 3


@pytest.mark.parametrize("where", [None, "a/b", "a"])
def test_no_link_to_the_directory_is_followed(here: House, monkeypatch: pytest.MonkeyPatch, where: str | None) -> None:
    elsewhere = here.home / "elsewhere"
    (elsewhere / "b").mkdir(parents=True)
    if where:
        monkeypatch.setenv("RECON_DIR", where)
    (here.home / (where or ".recon").partition("/")[0]).symlink_to(elsewhere)
    for command in (["apply", "state.yaml", "--auto-approve"], ["unlock", "state.yaml", "--force"]):
        ran = here.cli(*command)
        assert ran.code == 1 and "is a symbolic link or no directory" in ran.err, ran
    assert [p.name for p in elsewhere.rglob("*")] == ["b"]
    assert not here.writes()


def test_a_link_above_a_directory_that_the_user_names_is_the_users(
    here: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here.home / "real").mkdir()
    (here.home / "link").symlink_to(here.home / "real")
    monkeypatch.setenv("RECON_DIR", str(here.home / "link" / "recon"))
    assert here.cli("apply", "state.yaml", "--auto-approve").code == 0
    assert (here.home / "real" / "recon" / "journal-acme.jsonl").exists()


@pytest.mark.parametrize("name", ["lock-acme.json", "journal-acme.jsonl"])
def test_a_file_with_another_name_elsewhere_is_not_written(here: House, name: str) -> None:
    target = here.home / "elsewhere"
    target.write_text("precious\n")
    (here.home / ".recon").mkdir()
    (here.home / ".recon" / name).hardlink_to(target)
    here.cli("apply", "state.yaml", "--auto-approve")
    assert target.read_text() == "precious\n"


# --- what is no regular file ---------------------------------------------------------------------------------------

ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "a pipe"),
    "directory": (Path.mkdir, "a directory"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "a device"),
    "terminal": (lambda path: path.symlink_to("/dev/tty"), "a device"),
}
ENDLESS = 300 * 2**20


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize(
    "command",
    [
        ["show", "odd.json"], ["apply", "odd.json"], ["apply", "odd.json", "--state", "state.yaml"],
        ["drift", "state.yaml", "--since-last", "odd.json"],
        ["suppression", "remove", "--from", "odd.json", "state.yaml", "--auto-approve"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_is_no_regular_file_is_refused(here: House, kind: str, command: list[str]) -> None:
    make, words = ODD[kind]
    make(here.home / "odd.json")
    ran = here.cli(*command)
    assert ran.code == 1 and ran.err.splitlines()[0].startswith(f"error: odd.json is {words}, not a regular file"), ran
    assert not here.writes()


@pytest.mark.parametrize("command", [["show", "odd.json"], ["apply", "odd.json"],
                                     ["drift", "state.yaml", "--since-last", "odd.json"],
                                     ["suppression", "remove", "--from", "odd.json", "state.yaml", "--auto-approve"]],
                         ids=" ".join)  # fmt: skip
def test_a_huge_file_is_refused_before_it_is_read(here: House, command: list[str]) -> None:
    with (here.home / "odd.json").open("wb") as file:
        file.truncate(10**12)  # without a block on the disk
    ran = here.cli(*command)
    assert ran.code in {1, 3} and "more than 268,435,456 bytes" in ran.err, ran


@pytest.mark.parametrize("kind", ODD)
def test_a_state_with_what_is_no_regular_file_is_refused(here: House, kind: str) -> None:
    (here.home / "state").mkdir()
    (here.home / "state.yaml").rename(here.home / "state" / "state.yaml")
    ODD[kind][0](here.home / "state" / "odd.yaml")
    ran = here.cli("validate", "state")
    assert "Traceback" not in ran.err
    assert ran.code == (1 if kind == "pipe" else 0), ran
    assert kind != "pipe" or "state/odd.yaml is a pipe, not a regular file" in ran.err


@pytest.mark.parametrize("kind", ["pipe", "directory"])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_regular_file_in_the_directory(here: House, kind: str, name: str) -> None:
    (here.home / ".recon").mkdir()
    ODD[kind][0](here.home / ".recon" / name)
    ran = here.cli("apply", "state.yaml", "--auto-approve")
    assert "Traceback" not in ran.err
    assert ran.code == (1 if name.startswith("lock") else 0), ran
    for command in ("history", "drift"):
        assert "Traceback" not in here.cli(command, "state.yaml").err
    freed = here.cli("unlock", "state.yaml", "--force")
    if name.startswith("lock"):
        assert "unknown" in freed.out
        assert freed.code == (0 if kind == "pipe" else 1), freed


# --- what is written -----------------------------------------------------------------------------------------------


@pytest.fixture(params=[0, 0o022, 0o277])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_what_is_written_is_private_under_any_umask(here: House, umask: None) -> None:
    before = set(here.home.rglob("*"))
    client("sesv2").create_configuration_set(ConfigurationSetName="foreign")
    for command in (
        ["init", "new", "--name", "acme"], ["plan", "state.yaml", "--out", "plan.json"],
        ["apply", "state.yaml", "--auto-approve"],
        ["import", "--region", "us-east-1", "--stack", "x", "--out", "imported"],
        ["drift", "state.yaml", "--out", "drift.json", "--metrics", "recon.prom"],
        ["suppression", "export", "state.yaml", "--out", "list.csv"],
    ):  # fmt: skip
        ran = here.cli(*command)
        assert ran.code == 0, ran
    written = set(here.home.rglob("*")) - before
    names = {path.name for path in written}
    assert names >= {
        ".recon", ".gitignore", "journal-acme.jsonl", "plan.json", "drift.json", "recon.prom", "list.csv", "imported",
        "domains.yaml", "stack.yaml", "sets.yaml",
    }, names  # fmt: skip
    for path in written:
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path


def test_the_lock_is_private(here: House, umask: None) -> None:
    from reconciler.lock import LocalLock

    directory = here.home / "deep" / "er"
    with LocalLock("acme", directory).held("apply"):
        assert not mode(directory / "lock-acme.json") & 0o077
        assert not (mode(directory) | mode(directory.parent)) & 0o077


OUTS = [
    (["plan", "state.yaml", "--out"], "out.json"),
    (["drift", "state.yaml", "--out"], "out.json"),
    (["drift", "state.yaml", "--metrics"], "out.prom"),
    (["suppression", "export", "state.yaml", "--out"], "out.csv"),
]


@pytest.mark.parametrize(("command", "name"), OUTS, ids=[" ".join(c) for c, _ in OUTS])
def test_a_file_that_is_written_says_what_it_replaces(here: House, command: list[str], name: str) -> None:
    path = here.home / name
    codes = {0, 2}
    ran = here.cli(*command, name)
    assert ran.code in codes and "Replaced" not in ran.err, ran
    path.write_text("x" * 1234)
    ran = here.cli(*command, name)
    assert ran.code in codes and f"Replaced {name}, a file of 1,234 bytes." in ran.err, ran
    assert path.read_text() != "x" * 1234
    assert not list(here.home.glob("*.part")) and not list(here.home.glob(".*.part"))


@pytest.mark.parametrize(("command", "name"), OUTS, ids=[" ".join(c) for c, _ in OUTS])
@pytest.mark.parametrize("kind", ["link", "dangling link", *ODD, "missing directory"])
def test_what_cannot_be_replaced_is_left_alone(here: House, command: list[str], name: str, kind: str) -> None:
    path, target = here.home / name, here.home / "precious"
    if "link" in kind:
        path.symlink_to(target)
    elif kind in ODD:
        ODD[kind][0](path)
    else:
        name = f"missing/{name}"
    if kind == "link":
        target.write_text("precious")
    found = identity(path)
    ran = here.cli(*command, name)
    assert ran.code == 1, ran
    assert ran.err.count("error: ") == 1 and f"error: {name} " in ran.err and "Traceback" not in ran.err, ran
    assert identity(path) == found
    assert target.exists() == (kind == "link")
    assert kind != "link" or target.read_text() == "precious"


@pytest.mark.parametrize("link", ["state", ".github", ".github/workflows"])
def test_init_writes_nothing_through_a_link(house: House, link: str) -> None:
    elsewhere = house.home / "elsewhere"
    elsewhere.mkdir()
    new = house.home / "new"
    (new / link).parent.mkdir(parents=True)
    (new / link).symlink_to(elsewhere)
    ran = house.cli("init", "new", "--package", f"recon-mail @ git+https://host.example/owner/recon@{'a' * 40}")
    assert ran.code == 1 and f"new/{link} is a symbolic link" in ran.err, ran
    assert not list(elsewhere.iterdir()) and not (new / "state" / "stack.yaml").exists()


def test_a_summary_that_is_no_file_is_left_alone(here: House, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(here.home / "summary")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(here.home / "summary"))
    assert here.cli("plan", "state.yaml").code == 0


# --- broken locks and journals -------------------------------------------------------------------------------------

HOLDER = {"user": "ann", "host": "h", "pid": 7, "command": "apply", "since": "2026-01-01T00:00:00Z", "id": "a1"}
BROKEN: dict[str, bytes] = {
    "deep": b"[" * 100_000,
    "deep object": b'{"a":' * 100_000,
    "list": b"[]",
    "number": b"7",
    "string": b'"x"',
    "null": b"null",
    "words": b"not JSON",
    "binary": bytes(range(256)) * 10,
    "cut off": b'{"user": "ann", "ho',
    "huge": b'{"user": "' + b"x" * 3_000_000 + b'"}',
    "long number": b'{"pid": ' + b"9" * 5000 + b"}",
    "surrogate": b'{"user": "\\ud800", "host": "h", "pid": 1, "command": "c", "since": "s", "id": "x"}',
    **{
        f"{name} is {value!r}": json.dumps({**HOLDER, name: value}).encode()
        for name in HOLDER
        for value in ({"a": 1}, ["x"], True, None if name != "id" else 3)
    },
    "silent is text": json.dumps({**HOLDER, "silent": "long"}).encode(),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_lock_that_is_held_is_shown_and_freed(here: House, text: bytes) -> None:
    directory = here.home / ".recon"
    directory.mkdir()
    with (directory / "lock-acme.json").open("wb+") as held:
        held.write(text)
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        for format in ("text", "json"):
            ran = here.cli("apply", "state.yaml", "--auto-approve", "--format", format)
            assert ran.code == 3 and "another run holds the lock" in ran.out + ran.err, ran
        freed = here.cli("unlock", "state.yaml", "--force")
        assert (freed.code, freed.out.splitlines()[-1]) == (0, "The lock is free."), freed
        assert here.cli("apply", "state.yaml", "--auto-approve").code == 0


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_lock_that_nobody_holds_is_taken_over(here: House, text: bytes) -> None:
    (here.home / ".recon").mkdir()
    (here.home / ".recon" / "lock-acme.json").write_bytes(text)
    assert here.cli("unlock", "state.yaml").out == "No run holds the lock.\n"
    (here.home / ".recon" / "lock-acme.json").write_bytes(text)
    ran = here.cli("apply", "state.yaml", "--auto-approve")
    assert ran.code == 0, ran


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_lock_in_a_bucket_is_shown_and_freed(house: House, text: bytes) -> None:
    bucket = client("s3")
    bucket.create_bucket(Bucket=BUCKET)
    house.write(DOCUMENT, stack=S3)
    bucket.put_object(Bucket=BUCKET, Key="mail/locks/acme/_.json", Body=text)
    for format in ("text", "json"):
        ran = house.cli("apply", "state.yaml", "--auto-approve", "--format", format)
        assert ran.code == 3 and "another run holds the lock" in ran.out + ran.err, ran
    freed = house.cli("unlock", "state.yaml", "--force")
    assert (freed.code, freed.out.splitlines()[-1]) == (0, "The lock is free."), freed
    assert house.cli("apply", "state.yaml", "--auto-approve").code == 0


def run_record(**more: Any) -> dict[str, Any]:
    start = {"type": "run", "run": "r1", "command": "apply", "scope": "acme", "started": "2026-01-02T00:00:00.000Z"}
    return {**start, **more}


LINES: dict[str, bytes] = {
    **{name: text for name, text in BROKEN.items() if " is " not in name},
    **{
        f"{name} is {value!r}": json.dumps(run_record(**{name: value})).encode()
        for name in ("run", "command", "scope", "started", "who", "host", "plan_digest", "summary", "targets")
        for value in (7, {"a": {}}, [[]], True)
    },
    **{
        f"started at {time}": json.dumps(run_record(started=time)).encode()
        for time in ("", "yesterday", "2026-01-02", "2026-01-02T00:00:00", "2026-13-01T00:00:00Z",
                     "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-01-02T00:00:00.000Z" * 9)
    },
    **{
        f"ended at {time!r}": json.dumps({"type": "end", "run": "good", "at": time, "outcome": "applied"}).encode()
        for time in (None, 7, "never", "2026-01-02T00:00:00")
    },
    "end of a list": b'{"type": "end", "run": "good", "at": "2026-01-02T00:00:00Z", "outcome": ["x"]}',
    "step without a name": b'{"type": "step", "run": "good", "at": "2026-01-02T00:00:00Z", "outcome": "done"}',
    "step that is a map": b'{"type": "step", "run": "good", "at": "2026-01-02T00:00:00Z", "step": {}, "outcome": ""}',
    "type is a list": b'{"type": ["run"], "run": "good"}',
    "no type": b'{"run": "good"}',
}  # fmt: skip
GOOD = (
    json.dumps(run_record(run="good", started="2026-01-01T00:00:00.000Z")).encode()
    + b'\n{"type": "end", "run": "good", "at": "2026-01-01T00:00:09.000Z", "outcome": "applied"}\n'
)


def check_commands(house: House) -> None:
    """Every command that reads the journal works, and says that it has skipped something."""
    for format in ("text", "json"):
        ran = house.cli("history", "state.yaml", "--format", format)
        assert ran.code == 0 and "journal" in ran.err and "skipped" in ran.err, ran
        found = (
            json.loads(ran.out)["runs"] if format == "json" else [r for r in ran.out.splitlines() if "took 9 s" in r]
        )
        assert len([r for r in found if format == "text" or r["id"] == "good"]) == 1, ran
        ran = house.cli("drift", "state.yaml", "--format", format)
        assert ran.code == 2 and "skipped" in ran.out + ran.err, ran
    ran = house.cli("apply", "state.yaml", "--auto-approve")
    assert ran.code == 0 and "Traceback" not in ran.err, ran
    assert "applied" in house.cli("history", "state.yaml", "--limit", "1").out


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_broken_line_of_the_journal_is_skipped(here: House, line: bytes) -> None:
    (here.home / ".recon").mkdir()
    (here.home / ".recon" / "journal-acme.jsonl").write_bytes(GOOD + line + b"\n")
    check_commands(here)


@pytest.mark.parametrize("line", ["deep", "binary", "huge", "surrogate", "started at yesterday", "summary is True"])
def test_a_broken_object_of_the_journal_is_skipped(house: House, line: str) -> None:
    bucket = client("s3")
    bucket.create_bucket(Bucket=BUCKET)
    house.write(DOCUMENT, stack=S3)
    bucket.put_object(Bucket=BUCKET, Key="mail/journal/acme/_/2026-01-01T000000-good.jsonl", Body=GOOD)
    bucket.put_object(Bucket=BUCKET, Key="mail/journal/acme/_/2026-01-02T000000-bad.jsonl", Body=LINES[line])
    check_commands(house)


# --- compressed plans ----------------------------------------------------------------------------------------------


def test_a_plan_whose_name_ends_in_gz_is_compressed(house: House) -> None:
    """It is shown and applied as any other, and the same plan has the same bytes."""
    house.write(DOCUMENT)
    for name in ("plan.json", "plan.json.gz"):
        assert house.cli("plan", "state.yaml", "--out", name).code == 0
    packed = (house.home / "plan.json.gz").read_bytes()
    assert json.loads(gzip.decompress(packed))["format_version"] == 2
    assert packed[4:8] == b"\0" * 4, "no time in it"
    shown = house.cli("show", "plan.json.gz", "--digest")
    assert shown.code == 0 and shown.out.strip() == json.loads(gzip.decompress(packed))["digest"]
    assert house.cli("apply", "plan.json.gz").code == 0


BAD_GZIP = {
    "cut off": lambda data: data[:-9],
    "two in one": lambda data: data * 2,
    "no gzip inside": lambda data: b"\x1f\x8b" + b"x" * 50,
    "a bomb": lambda data: gzip.compress(b" " * (2**20)),
}


@pytest.mark.parametrize("name", BAD_GZIP)
def test_a_compressed_plan_that_is_broken_is_one_sentence(
    name: str, here: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.read_given, "__defaults__", (2**19,))
    (here.home / "plan.json.gz").write_bytes(BAD_GZIP[name](gzip.compress(b"{}" * 20)))
    ran = here.cli("show", "plan.json.gz")
    assert ran.code == 1 and "plan.json.gz" in ran.err and "unpack" in ran.err, ran
