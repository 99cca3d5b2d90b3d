"""`recon fleet`: which unit runs when, what counts as done, and one report over all."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import ACCOUNT, GUARD, HOME, House, Ran, client, gate, until

from reconciler.cli import run
from reconciler.errors import InvalidState, ReconError
from reconciler.fleet import dask_cluster, local, outcome
from reconciler.fleet.coordinate import MOST_ATTEMPTS, Ended, run_all
from reconciler.fleet.declared import Unit, read_fleet
from reconciler.fleet.reports import Reports
from reconciler.fleet.work import Task, carry_out
from reconciler.renderers import fleet as drawn

Document = dict[str, Any]


def stack(name: str, account: str = ACCOUNT, **more: Any) -> Document:
    return {"stack": {"name": name, "account": account, "regions": [HOME]}, **more}


def write_fleet(home: Path, stacks: Mapping[str, Document], lines: Sequence[Any] = ({"state": "teams/*"},)) -> Path:
    for name, document in stacks.items():
        (home / "teams" / name).mkdir(parents=True, exist_ok=True)
        (home / "teams" / name / "state.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    file = home / "fleet.yaml"
    file.write_text(yaml.safe_dump({"stacks": list(lines)}, sort_keys=False))
    return file


# --- what a fleet file declares ------------------------------------------------------------------------------------


def test_a_line_stands_for_each_directory_that_it_matches(tmp_path: Path) -> None:
    lines = [
        {"state": "teams/*", "labels": {"team": "all"}},
        {"state": "teams/a", "env": "production", "labels": {"team": "a"}, "profile": "acme"},
    ]
    file = write_fleet(tmp_path, {"b": stack("b"), "a": stack("a"), ".hidden": stack("c")}, lines)
    units = read_fleet(str(file))
    assert [(u.id, u.env, u.profile, u.place.rpartition(":")[2]) for u in units] == [
        ("teams/a", None, None, "2"), ("teams/a@production", "production", "acme", "5"), ("teams/b", None, None, "2"),
    ]  # fmt: skip
    assert [u.id for u in read_fleet(str(file), ["team=a"])] == ["teams/a@production"]
    with pytest.raises(ReconError, match="team=a and team=all"):
        read_fleet(str(file), ["team=a", "team=all"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stacks: []", "at least one stack"),
        ("stacks: {a: b}", "must be a list"),
        ("stack: [{state: x}]", "unknown key"),
        ("stacks: [x]", "a stack is a map"),
        ("stacks: [{states: teams/a}]", "unknown key"),
        ("stacks: [{state: teams/a, env: 1}]", "`env` must be a text"),
        ("stacks: [{state: teams/a, labels: [x]}]", "`labels` must be a map"),
        ("stacks: [{state: teams/a, labels: {x: 1}}]", "must be a text"),
        ("stacks: [{state: nowhere}]", "does not exist"),
        ("stacks: [{state: 'nowhere/*'}]", "nothing matches"),
        ("stacks: [{state: '/etc/*'}]", "nothing matches"),
        ("stacks: [{state: teams/a}, {state: 'teams/*'}]", "in this fleet already, at"),
        ("stacks: [{state: teams/a}, {state: teams/../teams/a}]", "in this fleet already, at"),
        ("stacks: [", "YAML"),
        ("", "declares no stacks"),
        ("stacks: [{state: null}]", "`state` must be a text"),
    ],
)
def test_what_is_wrong_in_a_fleet_file_is_said_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    file = write_fleet(tmp_path, {"a": stack("a")})
    file.write_text(text)
    with pytest.raises(InvalidState) as caught:
        read_fleet(str(file))
    errors = [one for one in caught.value.diagnostics if one.severity == "error"]
    assert any(said in one.message for one in errors), errors
    assert "in the fleet file" in caught.value.message
    assert all(one.line for one in errors) or text in {"", "stacks: ["}


def test_all_errors_of_a_fleet_file_come_at_once(tmp_path: Path) -> None:
    file = write_fleet(tmp_path, {"a": stack("a")}, [{"state": "x"}, {"state": "teams/a", "enw": "p"}, 7])
    with pytest.raises(InvalidState) as caught:
        read_fleet(str(file))
    assert len(caught.value.diagnostics) == 3
    assert any("did you mean env" in one.hint for one in caught.value.diagnostics)


@pytest.mark.parametrize(("select", "said"), [("team", "KEY=VALUE"), ("team=x", "no stack"), ("=x", "KEY=VALUE")])
def test_a_selection_of_nothing_is_an_error(tmp_path: Path, select: str, said: str) -> None:
    file = write_fleet(tmp_path, {"a": stack("a")}, [{"state": "teams/a", "labels": {"team": "a"}}])
    with pytest.raises(ReconError, match=said):
        read_fleet(str(file), [select])


# --- which unit runs when ------------------------------------------------------------------------------------------


class Hands:
    """Workers that carry nothing out; ``dies`` and ``problems`` say how often a unit's worker dies, or what it says."""

    def __init__(self, reports: Reports, count: int, dies: Mapping[str, int], problems: Mapping[str, str]) -> None:
        self.reports, self.count, self.dies, self.problems = reports, count, Counter(dies), problems
        self.running: list[Task] = []
        self.begun: list[str] = []
        self.order = random.Random(7)

    def room(self) -> int:
        return self.count - len(self.running)

    def start(self, task: Task) -> None:
        assert len(self.running) < self.count
        assert task.account not in {one.account for one in self.running if one.account}
        self.running.append(task)
        self.begun.append(task.unit)

    def ended(self, seconds: float) -> list[Ended]:
        task = self.running.pop(self.order.randrange(len(self.running)))
        if self.dies[task.unit] > 0:
            self.dies[task.unit] -= 1
            return [Ended(task.unit, died=True)]
        if task.unit in self.problems:
            return [Ended(task.unit, self.problems[task.unit])]
        self.reports.write(task.unit, {"id": task.unit, "exit_code": 0})
        return [Ended(task.unit)]

    def close(self) -> None:
        pass


def task(unit: str, account: str, out: str = "out") -> Task:
    return Task(run, "plan", (), unit, unit, None, None, account, out, "r")


def test_two_stacks_of_an_account_never_run_at_once_and_each_ends_once(tmp_path: Path) -> None:
    reports = Reports(str(tmp_path), "r")
    tasks = [task(f"s{number}", f"{number % 5}") for number in range(40)] + [task("x", ""), task("y", "")]
    workers = Hands(reports, 4, {"s3": 1, "s8": MOST_ATTEMPTS, "x": 2}, {"s9": "no disk"})
    ended: list[tuple[str, bool]] = []
    missing = run_all(tasks, workers, reports, lambda one, report: ended.append((one.unit, report is not None)))
    assert sorted(ended) == sorted((one.unit, one.unit not in {"s8", "s9"}) for one in tasks)
    assert missing == {"s8": f"its worker died {MOST_ATTEMPTS} times", "s9": "no disk"}
    assert Counter(workers.begun) == Counter(
        {**dict.fromkeys((t.unit for t in tasks), 1), "s3": 2, "s8": MOST_ATTEMPTS, "x": 3}
    )


def test_a_worker_that_ends_without_a_report_that_can_be_seen_is_told(tmp_path: Path) -> None:
    elsewhere = Hands(Reports(str(tmp_path / "elsewhere"), "r"), 1, {}, {})
    missing = run_all([task("a", "1")], elsewhere, Reports(str(tmp_path), "r"), lambda one, report: None)
    assert "must see the same folder" in missing["a"]


def test_why_a_stack_has_no_report_is_kept_where_the_workers_are_lost(tmp_path: Path) -> None:
    class Lost(Hands):
        def ended(self, seconds: float) -> list[Ended]:
            if len(self.begun) > 2:
                raise ReconError("the scheduler is gone", hint="start again")
            return super().ended(seconds)

    reports = Reports(str(tmp_path), "r")
    tasks = [task(unit, unit) for unit in "abcd"]
    missing = run_all(tasks, Lost(reports, 1, {}, {"a": "no disk"}), reports, lambda one, report: None)
    assert missing["a"] == "no disk"
    assert missing.keys() == {"a", "c", "d"}
    assert missing["d"] == "the scheduler is gone; start again"


# --- what counts as done -------------------------------------------------------------------------------------------


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, house: House) -> str:
    if request.param == "folder":
        return str(house.home / "out")
    client("s3").create_bucket(Bucket="reports")
    return "s3://reports/mail/"


def test_a_report_is_there_whole_or_not_at_all(place: str) -> None:
    reports = Reports(place, "run-1")
    unit = "teams/ä b/state@production"
    assert not reports.has(unit)
    assert reports.done() == set()
    for _ in range(2):
        reports.attempt(unit)
    reports.write(unit, {"id": unit, "exit_code": 2, "summary": {"create": 1}})
    again = Reports(place, "run-1")
    assert again.read(unit) == {"id": unit, "exit_code": 2, "summary": {"create": 1}, "message": None}
    assert again.done() == {unit}
    assert again.attempts() == Counter({unit: 2})
    assert Reports(place, "run-2").done() == set()
    again._place.put("reports/torn.json", '{"id": "torn", "exi')
    assert not again.has("torn")


def test_another_run_cannot_be_resumed_by_mistake(place: str) -> None:
    Reports(place, "r").begin({"command": "plan", "options": ["--refresh", "full"]})
    Reports(place, "r").begin({"command": "plan", "options": ["--refresh", "full"]})
    with pytest.raises(ReconError, match="holds another run: recon fleet plan --refresh full"):
        Reports(place, "r").begin({"command": "drift", "options": []})


@pytest.mark.parametrize("run_id", ["../x", "", "a/b", ".", "x" * 65, "ä"])
def test_a_run_id_is_a_name(run_id: str) -> None:
    with pytest.raises(ReconError, match="cannot be a run id"):
        Reports("out", run_id)


# --- the exit code and the report ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codes", "missing", "expected"),
    [
        ([0, 0], 0, 0), ([], 0, 0), ([0, 2], 0, 2), ([2, 2], 0, 2), ([0, 1], 0, 1), ([2, 3], 0, 1), ([2, 130], 0, 1),
        ([0], 1, 1), ([2], 1, 1), ([], 1, 1), ([0, 1, 2, 3], 2, 1),
    ],
)  # fmt: skip
def test_the_exit_code_is_that_of_the_worst(codes: list[int], missing: int, expected: int) -> None:
    assert outcome.exit_code([{"exit_code": code} for code in codes], missing) == expected


def hostile_document(tmp_path: Path) -> Document:
    reports = Reports(str(tmp_path), "r")
    units = [Unit(f"<b>{n}|\x1b[31m", "s", None, None, {"team": "<i>"}, "fleet.yaml:3") for n in range(4)]
    for number, code in enumerate((0, 2, 3)):
        errors = [{"severity": "error", "message": "no <script>"}]
        reports.write(units[number].id, {
            "id": units[number].id, "exit_code": code, "outcome": "x", "summary": {"create": 2, "delete": 0},
            "document": {"diagnostics": errors},
        })  # fmt: skip
    return outcome.document("plan", units, {units[0].id: ACCOUNT}, {}, reports)


def test_the_report_names_each_stack_once_and_escapes_what_others_wrote(tmp_path: Path) -> None:
    document = hostile_document(tmp_path)
    assert [one["exit_code"] for one in document["stacks"]] == [0, 2, 3]
    assert len(document["missing"]) == 1
    assert document["outcome"] == "error"
    assert document["diagnostics"][0]["line"] == 3
    for text in (drawn.fleet_text(document, verbose=1), drawn.fleet_markdown(document), drawn.fleet_html(document)):
        assert "1 without a report, 1 failed, 1 with changes, 1 without changes" in text
        assert "\x1b" not in text
    assert "<b>" not in drawn.fleet_html(document)
    assert (
        "<script>" not in drawn.fleet_html(document).replace(drawn.fleet_html(document).split("<script>")[-1], "")[:-9]
    )


# --- as a user ------------------------------------------------------------------------------------------------------


class Here(local.LocalWorkers):
    """Workers in this process, since a process of its own takes a second."""

    def __init__(self, count: int) -> None:
        self.now: list[Ended] = []

    def room(self) -> int:
        return 1 - len(self.now)

    def start(self, task: Task) -> None:
        said = ""
        try:
            carry_out(task)
        except ReconError as problem:
            said = problem.message
        self.now.append(Ended(task.unit, said))

    def ended(self, seconds: float) -> list[Ended]:
        found, self.now = self.now, []
        return found

    def close(self) -> None:
        pass


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "LocalWorkers", Here)


def fleet_of(house: House) -> None:
    house.seed_zone()
    owned = {"domains": {"acme.com": {"dmarc": {"p": "none"}}}}
    stacks = {
        "clean": stack("clean"), "new": stack("new", **owned), "wrong": stack("wrong", "999900001111"),
        "bad": stack("bad", domains={"x": {"dmarc": 7}}),
    }  # fmt: skip
    write_fleet(house.home, stacks)


@pytest.mark.usefixtures("here")
def test_one_report_over_all_says_what_each_command_would_have_said(house: House) -> None:
    fleet_of(house)
    ran = house.cli("fleet", "plan", "fleet.yaml", "--format", "json", "--run-id", "one", "--out", "out")
    assert ran.code == 1
    found = {one["id"]: (one["exit_code"], one["outcome"]) for one in ran.json["stacks"]}
    assert found == {
        "teams/clean": (0, "no_changes"), "teams/new": (2, "changes"), "teams/wrong": (3, "refused"),
        "teams/bad": (1, "invalid"),
    }  # fmt: skip
    new = next(one for one in ran.json["stacks"] if one["id"] == "teams/new")
    assert new["summary"]["create"] > 3
    report = json.loads((house.home / new["report"]).read_text())
    alone = house.cli("plan", "teams/new", "--format", "json")
    assert [c["address"] for c in report["document"]["changes"]] == [c["address"] for c in alone.json["changes"]]
    assert json.loads((house.home / "out/one/fleet.json").read_text()) == ran.json
    house.clear()
    again = house.cli("fleet", "plan", "fleet.yaml", "--format", "json", "--run-id", "one", "--out", "out")
    assert again.json == ran.json
    assert house.calls() == []  # what has a report is done
    assert "4 of them done already" in again.err


@pytest.mark.usefixtures("here")
def test_labels_select_and_a_lost_report_is_made_again(house: House) -> None:
    fleet_of(house)
    lines = [{"state": f"teams/{name}", "labels": {"team": name}} for name in ("clean", "new", "wrong", "bad")]
    write_fleet(house.home, {}, lines)
    ran = house.cli("fleet", "drift", "fleet.yaml", "--select", "team=new", "--out", "out", "--run-id", "x")
    assert ran.code == 2
    assert ran.out.startswith("Drift of 1 stack in 1 account: 1 with drift.\n")
    assert "teams/new" in ran.out
    (report,) = (house.home / "out/x/reports").iterdir()
    report.write_text("{")
    house.clear()
    again = house.cli("fleet", "drift", "fleet.yaml", "--select", "team=new", "--out", "out", "--run-id", "x")
    assert again.code == 2
    assert house.calls()
    assert house.cli("fleet", "validate", "fleet.yaml", "--select", "team=clean").code == 0


@pytest.mark.usefixtures("here")
def test_a_report_that_cannot_be_stored_is_an_error_with_its_reason(house: House) -> None:
    fleet_of(house)
    (house.home / "out").mkdir()
    (house.home / "out" / "r").mkdir()
    (house.home / "out" / "r" / "reports").write_text("in the way")
    ran = house.cli("fleet", "validate", "fleet.yaml", "--out", "out", "--run-id", "r")
    assert ran.code == 1
    assert "reports could not be" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.usefixtures("here")
def test_a_profile_and_the_job_summary_are_the_units_alone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    config = house.home / "config"
    config.write_text("[profile acme]\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(house.home / "summary.md"))
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    write_fleet(house.home, {"a": stack("a")}, [{"state": "teams/a", "profile": "nobody"}])
    house.fresh_clients()
    ran = house.cli("fleet", "plan", "fleet.yaml", "--format", "json")
    assert ran.code == 1
    assert "nobody" in ran.json["stacks"][0]["message"]
    assert "AWS_PROFILE" not in os.environ
    assert not (house.home / "summary.md").exists()


@pytest.mark.parametrize(
    ("address", "insecure", "said"),
    [
        ("tcp://10.0.0.1:8786", False, "anybody on that network may run code"), ("tcp://10.0.0.1:8786", True, ""),
        ("tcp://127.0.0.1:8786", False, ""), ("tls://dask.internal:8786", False, ""),
        ("tcp://127.0.0.1.evil.example:8786", False, "anybody"), ("http://127.0.0.1:1", False, "is not an address"),
        ("127.0.0.1:8786", False, "is not an address"), ("tls://host", False, "is not an address"),
        ("inproc://x:1", False, "is not an address"), ("tls://[::1", False, "is not an address"),
    ],
)  # fmt: skip
def test_a_scheduler_off_this_machine_needs_tls(address: str, insecure: bool, said: str) -> None:
    if not said:
        dask_cluster.check_address(address, insecure)
        return
    with pytest.raises(ReconError, match=said):
        dask_cluster.check_address(address, insecure)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "has no client certificate"),
        ({"ca-file": "/no/ca.pem", "client": {"cert": "/no/c.pem", "key": "/no/k.pem"}}, "No such file or directory"),
    ],
)
def test_tls_without_certificates_is_refused_before_anything_is_connected(
    house: House, config: dict[str, Any], said: str
) -> None:
    pytest.importorskip("distributed")
    import dask

    write_fleet(house.home, {"a": stack("a")})
    with dask.config.set({"distributed.comm.tls": {**dask.config.get("distributed.comm.tls"), **config}}):
        ran: Ran = house.cli("fleet", "validate", "fleet.yaml", "--scheduler", "tls://127.0.0.1:9")
    assert ran.code == 1
    assert said in ran.err
    assert "distributed.comm.tls.ca-file" in ran.err
    assert not (house.home / ".recon").exists(), "no run has begun"


def test_a_worker_with_another_version_does_nothing(tmp_path: Path) -> None:
    old = Task(run, "plan", (), "a", "a", None, None, "", str(tmp_path), "r", "0.0.1")
    with pytest.raises(ReconError, match=r"started with 0\.0\.1"):
        carry_out(old)
    assert not (tmp_path / "r").exists()


# --- as processes, killed ------------------------------------------------------------------------------------------


def workers_of(process: int) -> list[int]:
    """The processes that carry out units for a run (Linux)."""
    every: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            every.setdefault(parent, []).append(int(entry.name))
    return [worker for server in every.get(process, []) for worker in every.get(server, [])]


def started(house: House, *arguments: str) -> tuple[subprocess.Popen[str], Path]:
    out = house.home / "fleet.out"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with out.open("w") as file, (house.home / "fleet.err").open("w") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "reconciler", "fleet", *arguments], cwd=house.home, stdin=subprocess.DEVNULL,
            stdout=file, stderr=err, text=True, env=environment,
        ), out  # fmt: skip


def test_processes_of_this_machine_carry_out_what_they_are_given(house: House) -> None:
    write_fleet(house.home, {"a": stack("a"), "b": stack("b", domains={"x": {"dmarc": 7}})})
    ran = house.process("fleet", "validate", "fleet.yaml", "--format", "json", "--workers", "2")
    assert ran.code == 1
    assert [(one["outcome"], one["attempts"]) for one in ran.json["stacks"]] == [("valid", 1), ("invalid", 1)]


@pytest.mark.slow
@pytest.mark.threads
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the workers through /proc")
def test_a_worker_that_is_killed_costs_its_own_unit_one_attempt(house: House) -> None:
    write_fleet(house.home, {"a": stack("a"), "b": stack("b", "222233334444")})
    with gate("GetResources") as held:
        process, out = started(house, "plan", "fleet.yaml", "--format", "json", "--workers", "2")
        held.wait()
        for worker in workers_of(process.pid)[:1]:
            os.kill(worker, signal.SIGKILL)
        held.open()
        code = process.wait(120)
    document = json.loads(out.read_text())
    assert document["missing"] == []
    assert sorted(one["attempts"] for one in document["stacks"]) in ([1, 2], [2, 2])
    assert {one["id"]: one["exit_code"] for one in document["stacks"]} == {"teams/a": 0, "teams/b": 3}
    assert code == 1


@contextlib.contextmanager
def dask(house: House, count: int) -> Iterator[tuple[str, subprocess.Popen[bytes], list[subprocess.Popen[bytes]]]]:
    """A scheduler and nannies with one worker each, as processes of their own, on loopback and without dashboards."""
    place = house.home / "scheduler.json"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    quiet = {"cwd": house.home, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
         "--no-dashboard", "--scheduler-file", str(place)], **quiet,
    )  # fmt: skip
    nannies: list[subprocess.Popen[bytes]] = []
    guard = threading.Timer(2 * GUARD, scheduler.kill)  # what waits for it for ever ends then, and the test fails
    guard.start()
    try:
        until(place.exists, "the scheduler is up")
        until(lambda: place.read_text().endswith("}"), "its address is written")
        address = json.loads(place.read_text())["address"]
        nannies += [
            subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--host", "127.0.0.1",
                 "--no-dashboard", "--local-directory", str(house.home / f"w{number}"), "--death-timeout", "20"],
                **quiet,
            )
            for number in range(count)
        ]  # fmt: skip
        yield address, scheduler, nannies
    finally:
        guard.cancel()
        for process in [*nannies, scheduler]:
            process.terminate()
        for process in [*nannies, scheduler]:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


@pytest.mark.slow
@pytest.mark.threads
@pytest.mark.parametrize(("victim", "count"), [("worker", 1), ("nanny", 2)])
def test_a_dask_worker_or_nanny_that_is_killed_costs_no_report(house: House, victim: str, count: int) -> None:
    pytest.importorskip("distributed")
    write_fleet(house.home, {name: stack(name, f"11112222333{number}") for number, name in enumerate("abc")})
    with dask(house, count) as (address, _, nannies), gate("GetCallerIdentity") as held:
        process, out = started(house, "plan", "fleet.yaml", "--format", "json", "--scheduler", address)
        held.wait()
        one = nannies[0].pid
        os.kill(one if victim == "nanny" else _children(one)[-1], signal.SIGKILL)
        held.open()
        code = process.wait(180)
    document = json.loads(out.read_text())
    assert document["missing"] == []
    assert {one["id"] for one in document["stacks"]} == {"teams/a", "teams/b", "teams/c"}
    assert code == 1  # two of the stacks are another account's


def _children(process: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return []


@pytest.mark.slow
@pytest.mark.threads
def test_a_dead_scheduler_ends_the_run_and_a_second_start_resumes_it(house: House) -> None:
    pytest.importorskip("distributed")
    write_fleet(house.home, {name: stack(name) for name in "abc"})
    options = ("plan", "fleet.yaml", "--format", "json", "--out", "out", "--run-id", "r")
    with dask(house, 1) as (address, scheduler, _), gate("GetCallerIdentity", nth=2) as held:
        process, out = started(house, *options, "--scheduler", address)
        held.wait()
        scheduler.kill()
        code = process.wait(120)
        held.open()
    document = json.loads(out.read_text())
    assert code == 1
    assert document["missing"] == ["teams/b", "teams/c"]
    assert [one["id"] for one in document["stacks"]] == ["teams/a"]
    assert all("is gone" in one["message"] for one in document["diagnostics"])
    assert "--run-id r" in (house.home / "fleet.err").read_text()
    assert "Traceback" not in (house.home / "fleet.err").read_text()
    ran = house.process("fleet", *options)
    assert ran.code == 0
    assert ran.json["missing"] == []
    assert len(ran.json["stacks"]) == 3


@pytest.mark.slow
@pytest.mark.threads
@pytest.mark.parametrize(("sign", "said"), [(signal.SIGKILL, "is gone"), (signal.SIGSTOP, "does not answer any more")])
def test_no_question_to_a_lost_scheduler_waits_for_long(
    house: House, monkeypatch: pytest.MonkeyPatch, sign: signal.Signals, said: str
) -> None:
    pytest.importorskip("distributed")
    for name in ("ANSWER_SECONDS", "LOST_SECONDS", "SILENT_SECONDS"):
        monkeypatch.setattr(dask_cluster, name, 0.5)
    with dask(house, 0) as (address, scheduler, _), contextlib.closing(dask_cluster.ClusterWorkers(address)) as workers:
        assert workers.room() == 1
        scheduler.send_signal(sign)
        begun = time.monotonic()
        with pytest.raises(ReconError, match=said):
            while True:
                assert workers.room() <= 0
                assert workers.ended(0.1) == []
        assert time.monotonic() - begun < 10
        scheduler.kill()


@pytest.mark.slow
@pytest.mark.threads
def test_what_a_worker_was_doing_that_is_silent_is_done_elsewhere(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    from distributed import Client

    monkeypatch.setattr(dask_cluster, "SILENT_SECONDS", 3.0)
    write_fleet(house.home, {"a": stack("a")})
    stopped: list[int] = []

    def stop(address: str) -> None:
        held.wait()
        with Client(address, set_as_default=False) as other:
            (worker,) = (one for one, keys in other.processing().items() if keys)
            stopped.append(other.run(os.getpid)[worker])
        os.kill(stopped[0], signal.SIGSTOP)
        held.open()

    with dask(house, 2) as (address, _, _), gate("GetCallerIdentity") as held:
        with Client(address, set_as_default=False) as one:
            one.wait_for_workers(2, timeout=60)
        thread = threading.Thread(target=stop, args=[address])
        thread.start()
        try:
            ran = house.cli("fleet", "plan", "fleet.yaml", "--format", "json", "--scheduler", address)
        finally:
            thread.join()
            for process in stopped:
                os.kill(process, signal.SIGKILL)
    assert ran.code == 0
    assert [(one["exit_code"], one["attempts"]) for one in ran.json["stacks"]] == [(0, 2)]


@pytest.mark.slow
@pytest.mark.threads
def test_what_a_worker_does_not_know_that_it_has_is_done_elsewhere(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    from distributed import Client

    monkeypatch.setattr(dask_cluster, "SILENT_SECONDS", 3.0)
    write_fleet(house.home, {"a": stack("a"), "b": stack("b", "222233334444")})

    def forget(dask_worker: Any) -> None:
        dask_worker.stream_handlers["compute-task"] = lambda **message: None

    with dask(house, 2) as (address, _, _), Client(address, set_as_default=False) as other:
        other.wait_for_workers(2, timeout=60)
        one = min(other.scheduler_info(n_workers=-1)["workers"])
        other.run(forget, workers=[one])
        ran = house.cli("fleet", "plan", "fleet.yaml", "--format", "json", "--scheduler", address)
        assert one not in other.scheduler_info(n_workers=-1)["workers"]
    assert f" on the worker {one} for 3 seconds: that worker is let go" in ran.err
    assert ran.json["missing"] == []
    assert {one["id"]: one["exit_code"] for one in ran.json["stacks"]} == {"teams/a": 0, "teams/b": 3}


def test_what_dask_gives_up_is_begun_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")

    class GivenUp:
        key, status = "k", "error"

        def exception(self, timeout: float) -> Exception:
            return distributed.scheduler.KilledWorker("k", None, 3)

        def release(self) -> None:
            pass

    class Client:
        status, begun = "connecting", 0

        def __init__(self, *given: Any, **more: Any) -> None:
            pass

        def submit(self, *given: Any, **more: Any) -> GivenUp:
            Client.begun += 1
            return GivenUp()

        def close(self, timeout: float) -> None:
            pass

    monkeypatch.setattr(distributed, "Client", Client)
    monkeypatch.setattr(dask_cluster.ClusterWorkers, "room", lambda self: 1 - len(self._running))
    workers = dask_cluster.ClusterWorkers("tcp://127.0.0.1:9")
    missing = run_all([task("a", "1")], workers, Reports(str(tmp_path), "r"), lambda one, report: None)
    assert missing == {"a": "its worker died each time that Dask tried it"}
    assert Client.begun == dask_cluster.MOST_ROUNDS


def test_a_scheduler_that_does_not_answer_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 0.2)
    write_fleet(house.home, {"a": stack("a")})
    ran: Ran = house.cli("fleet", "validate", "fleet.yaml", "--scheduler", "tcp://127.0.0.1:9")
    assert ran.code == 1
    assert "does not answer" in ran.err
