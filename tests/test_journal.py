"""The journal: what runs did is written as it happens, shown by `recon history`, and nothing depends on it."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
import support

from reconciler import journal
from reconciler.cli.common import backend_connection
from reconciler.cli.common import lock_of as lock_for
from reconciler.errors import AwsError
from reconciler.journal import JournalRun, last_applied, recording
from reconciler.model import Stack

BUCKET = "acme-recon"
S3 = {"backend": {"s3": {"bucket": BUCKET}}}
DOCUMENT: dict[str, Any] = {"configuration_sets": {"main": {}, "other": {}}}
SMTP = {
    "domains": {"acme.com": {"zone": "manual"}},
    "smtp_users": {
        "bookings": {"from_addresses": ["a@acme.com"], "credentials": {"secretsmanager": {"name": "recon/bookings"}}}
    },
}


def stack(**more: Any) -> Stack:
    return Stack("acme", None, support.ACCOUNT, (support.HOME,), **more)


def read_runs(stack: Stack) -> list[JournalRun]:
    return journal.read_runs(stack, backend_connection(stack))


@pytest.fixture(params=[{}, S3], ids=["local", "s3"])
def backend(request: pytest.FixtureRequest, house: support.House) -> dict[str, Any]:
    if request.param:
        support.client("s3").create_bucket(Bucket=BUCKET)
    return dict(request.param)


def shown(house: support.House, *more: str) -> list[dict[str, Any]]:
    ran = house.cli("history", "state.yaml", "--format", "json", *more)
    assert ran.code == 0, ran
    found: list[dict[str, Any]] = json.loads(ran.out)["runs"]
    return found


def test_a_run_and_each_of_its_steps_are_written_down(house: support.House, backend: dict[str, Any]) -> None:
    house.write(DOCUMENT, stack=backend)
    assert house.cli("plan", "state.yaml", "--out", "plan.json").code == 0
    assert house.cli("apply", "plan.json").code == 0
    digest = json.loads((house.home / "plan.json").read_text())["digest"]
    (run,) = shown(house)
    assert run["who"] == f"arn:aws:iam::{support.ACCOUNT}:root"
    assert (run["command"], run["outcome"], run["scope"]) == ("apply plan.json", "applied", "acme")
    assert (run["plan_digest"], run["summary"]["create"]) == (digest, 2)
    assert run["started"] < run["ended"]
    assert {s["outcome"] for s in run["steps"]} == {"done"}
    assert {s["step"].partition("#")[0] for s in run["steps"]} == {
        "configuration_set/us-east-1/main", "configuration_set/us-east-1/other",
    }  # fmt: skip


def test_failures_have_the_code_of_aws_and_the_rest_is_skipped(house: support.House, backend: dict[str, Any]) -> None:
    house.write({"configuration_sets": {"main": {"event_destinations": {"bus": {
        "matching_event_types": ["BOUNCE"],
        "event_bridge_destination": {"event_bus_arn": "arn:aws:events:us-east-1:111122223333:event-bus/default"},
    }}}}}, stack=backend)  # fmt: skip
    house.sandbox.fault("denied", service="sesv2", operation="CreateConfigurationSet", count=None)
    assert house.cli("apply", "state.yaml", "--auto-approve").code == 1
    (run,) = shown(house)
    assert run["outcome"] != "applied"
    by_outcome = {s["outcome"]: s for s in run["steps"]}
    assert by_outcome["failed"]["code"] == "AccessDeniedException"
    assert by_outcome["skipped"]["step"].startswith("event_destination/us-east-1/main/bus")
    text = house.cli("history", "state.yaml").out
    assert "AccessDeniedException" in text


def test_history_is_newest_first_and_limited(house: support.House, backend: dict[str, Any]) -> None:
    house.write(DOCUMENT, stack=backend)
    assert "no runs" in house.cli("history", "state.yaml").out
    assert house.cli("apply", "state.yaml", "--auto-approve").code == 0
    assert house.cli("apply", "state.yaml", "--auto-approve").code == 0
    assert house.cli("destroy", "state.yaml", "--allow-deletes", "2").code == 0
    runs = shown(house)
    assert [(r["command"], r["outcome"]) for r in runs] == [
        ("destroy", "applied"), ("apply", "no_changes"), ("apply", "applied"),
    ]  # fmt: skip
    assert [r["id"] for r in shown(house, "--limit", "1")] == [runs[0]["id"]]
    found = last_applied(read_runs(stack(**backend)))
    assert found is not None
    assert found.id == runs[1]["id"]


def test_the_lock_and_the_journal_are_apart(house: support.House, backend: dict[str, Any]) -> None:
    with lock_for(stack(**backend)).held("apply") as held:
        assert held.holder
    house.write(DOCUMENT, stack=backend)
    assert shown(house) == []


def test_no_secret_is_in_the_journal(house: support.House) -> None:
    house.write(SMTP)
    assert house.cli("apply", "state.yaml", "--auto-approve").code == 0
    stored = support.client("secretsmanager").get_secret_value(SecretId="recon/bookings")["SecretString"]
    passwords = [region["password"] for region in json.loads(stored)["regions"].values()]
    written = (house.home / "recon" / "journal-acme.jsonl").read_text()
    assert "smtp_credential/bookings" in written
    assert passwords
    assert not any(p in written for p in passwords)


def test_a_journal_that_cannot_be_written_is_a_warning(house: support.House) -> None:
    house.write(DOCUMENT)
    (house.home / "recon").mkdir()
    (house.home / "recon" / "journal-acme.jsonl").mkdir()
    ran = house.cli("apply", "state.yaml", "--auto-approve")
    assert ran.code == 0
    assert ran.err.count("journal cannot be written") == 1


def test_a_bucket_that_denies_the_journal_is_a_warning(house: support.House) -> None:
    support.client("s3").create_bucket(Bucket=BUCKET)
    house.write(DOCUMENT, stack=S3)
    house.sandbox.fault("denied", service="s3", operation="PutObject", contains="journal/", count=None)
    ran = house.cli("apply", "state.yaml", "--auto-approve")
    assert ran.code == 0
    assert ran.err.count("journal cannot be written") == 1
    house.sandbox.clear_faults()
    house.sandbox.fault("denied", service="s3", operation="ListObjects*", count=None)
    assert house.cli("history", "state.yaml").code == 1


def test_what_is_on_the_disk_survives_a_kill(house: support.House) -> None:
    path = house.home / "recon" / "journal-acme.jsonl"
    planned = house.make(DOCUMENT)
    with recording(stack(), planned.aws, "apply") as run:
        run.step("a#b", "done")
        lines = path.read_text().splitlines()
        assert [json.loads(line)["type"] for line in lines] == ["run", "step"]
        run.outcome = "applied"
    # A killed run leaves half a line; the next begins a line of its own.
    with path.open("a") as file:
        file.write('{"type": "run", "run": "zz", "star')
    with recording(stack(), planned.aws, "destroy") as run:
        pass
    runs = read_runs(stack())
    assert [(r.command, r.outcome) for r in runs] == [("destroy", "error"), ("apply", "applied")]
    assert stat.S_IMODE(path.stat().st_mode) & 0o022 == 0


def test_a_run_without_an_end_is_shown_as_such(house: support.House) -> None:
    house.write(DOCUMENT)
    directory = house.home / "recon"
    directory.mkdir()
    record = {
        "type": "run",
        "run": "k1",
        "command": "apply\x1b[31m",
        "started": "2026-01-01T00:00:00.000Z",
        "scope": "acme",
    }
    (directory / "journal-acme.jsonl").write_text(json.dumps(record) + "\n[]\nnull\n{}\n")
    ran = house.cli("history", "state.yaml")
    assert "no end" in ran.out
    assert "\x1b" not in ran.out


def test_a_large_journal_is_put_aside(house: support.House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "ROTATE", 500)
    planned = house.make(DOCUMENT)
    for _ in range(3):
        with recording(stack(), planned.aws, "apply") as run:
            run.step("x" * 100, "done")
            run.outcome = "applied"
    assert sorted(p.name for p in Path(os.environ["RECON_DIR"]).glob("journal*")) == [
        "journal-acme.jsonl",
        "journal-acme.jsonl.1",
    ]
    assert len(read_runs(stack())) >= 2


def test_the_lines_of_a_long_run_are_sent_to_a_bucket_once(
    house: support.House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is full is not written again; a run is read from all of its objects, and counts as one."""
    bucket = support.client("s3")
    bucket.create_bucket(Bucket=BUCKET)
    monkeypatch.setattr(journal, "PART", 4)
    monkeypatch.setattr(journal, "FLUSH", 3600.0)
    planned = house.make(DOCUMENT)
    for steps in (1, 13):
        with recording(stack(**S3), planned.aws, "apply") as run:
            for number in range(steps):
                run.step(f"a{number:02d}#b", "done")
                assert run._sink is not None
                run._sink._store()  # type: ignore[attr-defined]  # as its thread does every few seconds
            run.outcome = "applied"
    keys = [item["Key"] for item in bucket.list_objects_v2(Bucket=BUCKET)["Contents"]]
    bodies = [bucket.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode().splitlines() for key in keys]
    assert sorted(map(len, bodies)) == [3, 3, 4, 4, 4]
    assert len({line for body in bodies for line in body}) == 3 + 15
    for limit in (1, 2):
        found = journal.read_runs(stack(**S3), planned.aws, limit=limit)
        assert len(found) == limit
        assert [s[0] for s in found[0].steps] == [f"a{number:02d}#b" for number in range(13)]
        assert found[0].outcome == "applied"


def test_a_bucket_shows_a_run_under_way(house: support.House, monkeypatch: pytest.MonkeyPatch) -> None:
    support.client("s3").create_bucket(Bucket=BUCKET)
    monkeypatch.setattr(journal, "FLUSH", 0.05)
    planned = house.make(DOCUMENT)
    with recording(stack(**S3), planned.aws, "apply") as run:
        (found,) = read_runs(stack(**S3))
        assert (found.id, found.outcome) == (run.id, "")
        run.step("a#b", "done")
        for _ in range(3000):
            (found,) = read_runs(stack(**S3))
            if found.steps:
                break
            time.sleep(0.01)
        assert [s[0] for s in found.steps] == ["a#b"]
        run.outcome = "applied"
    assert read_runs(stack(**S3))[0].outcome == "applied"
    # Another environment of the stack has a journal of its own.
    assert read_runs(Stack("acme", "staging", support.ACCOUNT, (support.HOME,), **S3)) == []


# --- the runs before this one ----------------------------------------------------------------------------------------


def ended(house: support.House, backend: dict[str, Any], count: int) -> None:
    """So many runs, of a connection that nobody else has."""
    planned = house.make(DOCUMENT)
    for _ in range(count):
        with recording(stack(**backend), planned.aws, "apply") as run:
            run.outcome = "applied"


def asks(house: support.House) -> list[str]:
    return [call for call in house.calls() if "s3" in call]


def test_past_runs_are_read_once_by_all_who_ask(house: support.House) -> None:
    support.client("s3").create_bucket(Bucket=BUCKET)
    ended(house, S3, 2)
    aws = backend_connection(stack(**S3))
    assert aws is not None
    house.clear()
    first = journal.past_runs(stack(**S3), aws)
    assert (len(first), len(asks(house))) == (2, 3)  # one listing, and one object a run
    ended(house, S3, 1)
    house.clear()
    assert journal.past_runs(stack(**S3), aws) == first
    assert not asks(house)
    other = backend_connection(stack(**S3))
    assert other is not None
    assert len(journal.past_runs(stack(**S3), other)) == 3, "another run reads for itself"


def test_past_runs_are_the_last_ones(
    house: support.House, backend: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "PAST", 2)
    ended(house, backend, 3)
    every = journal.read_runs(stack(**backend), house.make(DOCUMENT).aws)
    assert len(every) == 3
    assert journal.past_runs(stack(**backend), house.make(DOCUMENT).aws) == every[:2]


def test_past_runs_that_could_not_be_read_are_asked_for_again(house: support.House) -> None:
    """A journal that cannot be read is not one without runs."""
    support.client("s3").create_bucket(Bucket=BUCKET)
    ended(house, S3, 1)
    aws = house.make(DOCUMENT).aws
    house.sandbox.fault("denied", service="s3", operation="ListObjects*", count=None)
    for _ in range(2):
        with pytest.raises(AwsError):
            journal.past_runs(stack(**S3), aws)
    house.sandbox.clear_faults()
    assert len(journal.past_runs(stack(**S3), aws)) == 1


def test_what_is_wrong_with_past_runs_is_said_to_all_who_ask(house: support.House) -> None:
    ended(house, {}, 1)
    with (Path(os.environ["RECON_DIR"]) / "journal-acme.jsonl").open("a") as file:
        file.write("no json\n")
    aws = house.make(DOCUMENT).aws
    said: list[str] = []
    for count in (1, 2):
        assert len(journal.past_runs(stack(), aws, warn=said.append)) == 1
        assert len(said) == count and "1 line of the journal" in said[-1]
