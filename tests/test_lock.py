"""The lock: one run at a time, in a directory and in a bucket, with the same promises."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import support

from reconciler import lock as locks
from reconciler.aws import Aws
from reconciler.cli.common import lock_of as lock_for
from reconciler.errors import AwsError, Locked, Refused
from reconciler.lock import HeldLock, LocalLock, Lock, S3Lock
from reconciler.model import Stack
from reconciler.sandbox.passthrough import Moto

BUCKET = "acme-recon"
S3 = {"backend": {"s3": {"bucket": BUCKET, "prefix": "mail/"}}}
KEY = "mail/locks/acme/_.json"


def stack(**more: Any) -> Stack:
    return Stack("acme", None, support.ACCOUNT, (support.HOME,), **more)


@pytest.fixture
def bucket(house: support.House) -> Any:
    s3 = support.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    house.clear()
    return s3


@pytest.fixture(params=["local", "s3"])
def make(request: pytest.FixtureRequest, house: support.House) -> Iterator[Callable[[], Lock]]:
    """Makes locks of one scope; both kinds keep the same promises."""
    if request.param == "s3":
        request.getfixturevalue("bucket")
        yield lambda: lock_for(stack(**S3))
    else:
        yield lambda: lock_for(stack())


def test_no_lock_and_no_right_to_list_the_whole_bucket_is_no_lock(house: support.House, bucket: Any) -> None:
    """S3 answers 403, not 404, to who may not list the bucket (S3 API, GetObject, "Permissions")."""
    house.write({}, stack=S3)
    house.sandbox.fault("denied", service="s3", operation="GetObject")
    ran = house.cli("unlock", "state.yaml")
    assert (ran.code, ran.out) == (0, "No run holds the lock.\n"), ran
    bucket.put_object(Bucket=BUCKET, Key=KEY, Body=b"{}")
    assert house.cli("unlock", "state.yaml").code == 1, "it is there, and may not be read"


def test_one_holds_it_and_the_other_is_told_who(make: Callable[[], Lock]) -> None:
    with make().held("apply") as held:
        assert not held.lost.is_set()
        with pytest.raises(Locked) as refused, make().held("destroy"):
            pass
        assert refused.value.exit_code == 3
        assert f"process {os.getpid()}, `apply`" in refused.value.message
        assert (holder := make().holder()) is not None
        assert holder.id == held.holder.id
    assert make().holder() is None
    with make().held("destroy"):
        pass


def test_the_lock_is_let_go_when_the_run_fails(make: Callable[[], Lock]) -> None:
    with pytest.raises(ZeroDivisionError), make().held("apply"):
        raise ZeroDivisionError
    assert make().holder() is None


def test_who_only_looks_at_a_lock_does_not_hold_it(tmp_path: Path) -> None:
    """On a busy machine a look may last: the lock is still free, and the run gets it without waiting for others."""
    lock = LocalLock("acme", tmp_path)
    with lock.held("apply"):
        pass
    lock.path.touch(mode=0o600)
    with lock.path.open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        timer = threading.Timer(0.5, lambda: fcntl.flock(looking, fcntl.LOCK_UN))
        timer.start()
        with lock.held("apply") as held:
            assert not held.lost.is_set()
        timer.join()


def test_a_lock_that_is_released_in_just_this_moment_is_taken(
    make: Callable[[], Lock], monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = make()
    acquire, tries = lock._acquire, 0

    def late(me: Any) -> Any:
        nonlocal tries
        tries += 1
        return None if tries < 4 else acquire(me)  # each time another run has it, which is gone when we look

    monkeypatch.setattr(lock, "_acquire", late)
    with lock.held("apply"):
        assert tries == 4


def test_a_holder_that_is_about_to_write_its_name_is_waited_for(tmp_path: Path) -> None:
    lock = LocalLock("acme", tmp_path)
    with lock.path.open("w+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        text = json.dumps({"user": "ann", "host": "h", "pid": 7, "command": "apply", "since": "now", "id": "a"})
        timer = threading.Timer(0.2, lambda: (held.write(text), held.flush()))
        timer.start()
        holder = lock.holder()
        timer.join()
    assert holder is not None and holder.user == "ann"


def test_waiting_gets_it_and_says_once_whom_it_waits_for(
    make: Callable[[], Lock], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(S3Lock, "pause", 0.01)
    monkeypatch.setattr(LocalLock, "pause", 0.01)
    said: list[str] = []
    begun, ended = threading.Event(), threading.Event()

    def first() -> None:
        with make().held("apply"):
            begun.set()
            ended.wait(support.GUARD)

    thread = threading.Thread(target=first)
    thread.start()
    assert begun.wait(support.GUARD)
    second = make()
    looks = 0
    holder = second.holder

    def counted() -> Any:
        nonlocal looks
        looks += 1
        if looks == 4:
            ended.set()  # it has found the lock held a few times by now
        return holder()

    monkeypatch.setattr(second, "holder", counted)
    with second.held("destroy", support.GUARD, on_wait=said.append):
        assert ended.is_set()
    thread.join()
    assert looks >= 4
    assert len(said) == 1
    assert "`apply`" in said[0]


def test_freeing_tells_the_run_that_it_lost_its_lock(make: Callable[[], Lock], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(S3Lock, "heartbeat", 0.05)
    monkeypatch.setattr(LocalLock, "heartbeat", 0.05)
    told = threading.Event()
    with make().held("apply") as held:
        held.on_lost(told.set)
        other = make()
        assert (holder := other.holder()) is not None
        assert other.force_unlock(holder)
        assert told.wait(support.GUARD)
        with make().held("destroy") as mine:
            assert held.lost.is_set()
            again = make().holder()
            assert again is not None
            assert again.id == mine.holder.id
            # A shown holder that is no longer the one is not freed.
            assert not make().force_unlock(holder)
    assert make().holder() is None


def test_the_loser_does_not_delete_the_lock_of_the_next(make: Callable[[], Lock]) -> None:
    first = make()
    with first.held("apply"):
        holder = first.holder()
        assert holder is not None
        make().force_unlock(holder)
        second = make()
        with second.held("destroy"):
            first._release()
            assert (now := make().holder()) is not None
            assert now.command == "destroy"


# --- local ---------------------------------------------------------------------------------------------------------


def _hold_and_die(directory: str) -> None:
    with LocalLock("acme", directory).held("apply"):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_run_is_taken_over_at_once(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_hold_and_die, args=(str(tmp_path),))
    process.start()
    process.join()
    assert LocalLock("acme", tmp_path).holder() is None
    with LocalLock("acme", tmp_path).held("apply") as held:
        assert held.previous is not None
        assert held.previous.pid == process.pid


def _count(directory: str, tries: int, queue: Any) -> None:
    got = 0
    for _ in range(tries):
        with LocalLock("acme", directory).held("apply", support.GUARD):
            path = Path(directory) / "inside"
            path.touch(exist_ok=False)
            got += 1
            path.unlink()
    queue.put(got)


def test_many_processes_are_never_two_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalLock, "pause", 0.005)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=_count, args=(str(tmp_path), 10, queue)) for _ in range(5)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sum(queue.get(timeout=support.GUARD) for _ in processes) == 50


def test_scopes_do_not_share_a_lock_and_the_directory_ignores_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_DIR", str(tmp_path / "r"))
    with lock_for(stack()).held("apply"), lock_for(Stack("acme", "production", "1", ())).held("apply"):
        assert (tmp_path / "r" / ".gitignore").read_text() == "*\n"


# --- S3 ------------------------------------------------------------------------------------------------------------


def test_the_lock_object_names_the_principal(house: support.House, bucket: Any) -> None:
    with lock_for(stack(**S3)).held("apply") as held:
        stored = json.loads(bucket.get_object(Bucket=BUCKET, Key=KEY)["Body"].read())
        assert stored["who"] == f"arn:aws:iam::{support.ACCOUNT}:root"
        assert stored["id"] == held.holder.id
        assert stored["beat"].endswith("Z")
    assert "Contents" not in bucket.list_objects_v2(Bucket=BUCKET)


def test_a_lost_answer_does_not_lock_ourselves_out(house: support.House, bucket: Any) -> None:
    house.sandbox.fault("lost", service="s3", operation="PutObject", count=1)
    with lock_for(stack(**S3)).held("apply") as held:
        assert lock_for(stack(**S3)).holder() is not None
        assert held.holder.command == "apply"
    house.sandbox.fault("lost", service="s3", operation="DeleteObject", count=1)
    with lock_for(stack(**S3)).held("apply"):
        pass
    assert lock_for(stack(**S3)).holder() is None


def test_two_conditional_writes_at_once_are_tried_again(house: support.House, bucket: Any) -> None:
    house.sandbox.fault(
        "error", service="s3", operation="PutObject", code="ConditionalRequestConflict", status=409, count=2
    )
    with lock_for(stack(**S3)).held("apply"):
        pass


def test_signs_of_life_renew_the_lock(house: support.House, bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(S3Lock, "heartbeat", 0.05)
    house.sandbox.fault("lost", service="s3", operation="PutObject", skip=2, count=1)
    with lock_for(stack(**S3)).held("apply") as held:
        before = bucket.get_object(Bucket=BUCKET, Key=KEY)["ETag"]
        house.clear()  # however late this first look came, what is counted comes after it
        support.until(
            lambda: len(house.sandbox.calls(service="s3", operation="PutObject")) >= 5, "five more signs of life"
        )
        assert bucket.get_object(Bucket=BUCKET, Key=KEY)["ETag"] != before
        assert not held.lost.is_set()
    assert lock_for(stack(**S3)).holder() is None


def test_a_holder_that_cannot_prove_itself_stops(
    house: support.House, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(S3Lock, "heartbeat", 0.05)
    monkeypatch.setattr(locks, "STALE_SECONDS", 0.2)
    with lock_for(stack(**S3)).held("apply") as held:
        house.sandbox.fault("denied", service="s3", operation="PutObject", count=None)
        assert held.lost.wait(support.GUARD)


def test_a_silent_holder_is_named_and_never_taken_over(house: support.House, bucket: Any) -> None:
    stale = {"user": "eva", "host": "build-7", "pid": 4, "command": "apply", "since": "2026-01-01T00:00:00Z", "id": "x"}
    bucket.put_object(Bucket=BUCKET, Key=KEY, Body=json.dumps(stale).encode())
    held = lock_for(stack(**S3))
    assert isinstance(held, S3Lock)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locks, "STALE_SECONDS", -1.0)
        with pytest.raises(Locked) as refused, held.held("apply"):
            pass
    assert "eva on build-7" in refused.value.message
    assert "last heartbeat" in refused.value.message
    assert "recon unlock" in refused.value.hint


def test_a_denied_bucket_is_an_error_not_a_free_lock(house: support.House, bucket: Any) -> None:
    house.sandbox.fault("denied", service="s3", count=None)
    with pytest.raises(AwsError), lock_for(stack(**S3)).held("apply"):
        pass


def test_the_wrong_account_is_refused_before_the_lock_is_written(
    house: support.House, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Refused, match="999999999999"):
        lock_for(Stack("acme", None, "999999999999", (support.HOME,), **S3))  # type: ignore[arg-type]
    assert not house.sandbox.calls(service="s3")


# --- the commands --------------------------------------------------------------------------------------------------

DOCUMENT = {"configuration_sets": {"main": {}}}


@pytest.mark.parametrize("backend", [{}, S3])
def test_apply_and_destroy_wait_their_turn(house: support.House, bucket: Any, backend: dict[str, Any]) -> None:
    house.write(DOCUMENT, stack=backend)
    with lock_for(stack(**backend)).held("smtp rotate"):
        house.clear()
        ran = house.cli("apply", "state.yaml", "--auto-approve", "--format", "json")
        assert (ran.code, json.loads(ran.out)["outcome"]) == (3, "locked")
        assert "`smtp rotate`" in ran.out
        ran = house.cli("destroy", "state.yaml", "--allow-deletes", "9")
        assert ran.code == 3
        # The lock comes before reading.
        assert not house.sandbox.calls(service="sesv2")
        ran = house.cli("unlock", "state.yaml")
        assert (ran.code, "`smtp rotate`" in ran.out) == (1, True)
        ran = house.cli("unlock", "state.yaml", answer="no\n")
        assert ran.code == 1
        ran = house.cli("unlock", "state.yaml", "--force")
        assert (ran.code, "`smtp rotate`" in ran.out, "is free" in ran.out) == (0, True, True)
        assert house.cli("apply", "state.yaml", "--auto-approve").code == 0
    assert house.cli("unlock", "state.yaml").out == "No run holds the lock.\n"


def test_a_run_whose_lock_is_freed_starts_nothing_more(
    house: support.House, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(S3Lock, "heartbeat", 0.02)
    house.write({"configuration_sets": {f"set-{n}": {} for n in range(6)}}, stack=S3)
    gone = HeldLock.mark_lost
    # The second creation waits until the run has noticed that somebody freed the lock.
    with support.gate("CreateConfigurationSet", nth=2) as second:

        def noticed(held: HeldLock) -> None:
            gone(held)
            second.open()

        def free() -> None:
            second.wait()
            bucket.delete_object(Bucket=BUCKET, Key=KEY)

        monkeypatch.setattr(HeldLock, "mark_lost", noticed)
        somebody = threading.Thread(target=free)
        somebody.start()
        ran = house.cli("apply", "state.yaml", "--auto-approve", "--parallelism", "1", "--format", "json")
        somebody.join()
    told = json.loads(ran.out)
    assert (ran.code, told["outcome"]) == (1, "partial")
    assert any(d["code"] == "lock-lost" for d in told["diagnostics"])
    assert house.cli("apply", "state.yaml", "--auto-approve").code == 0


def test_terminated_while_planning_lets_go(house: support.House, bucket: Any) -> None:
    house.write(DOCUMENT, stack=S3)
    with support.gate("GetConfigurationSet") as reading:
        process = subprocess.Popen(
            [sys.executable, "-m", "reconciler", "apply", "state.yaml", "--auto-approve"], cwd=house.home,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        reading.wait()
        assert lock_for(stack(**S3)).holder() is not None
        process.send_signal(signal.SIGTERM)
        reading.open()
        assert process.wait(timeout=support.GUARD) == 130
    assert lock_for(stack(**S3)).holder() is None


def test_the_connection_of_the_lock_outlives_a_stopped_run(house: support.House, bucket: Any) -> None:
    with lock_for(stack(**S3)).held("apply") as held:
        assert isinstance(held.aws, Aws)


# --- stores that are not S3 ----------------------------------------------------------------------------------------


def ignoring(*names: str) -> Callable[..., Any]:
    """moto as a store that ignores these headers."""
    call = Moto.call

    def without(self: Moto, request: Any, account: str) -> Any:
        for name in names:
            request.headers.pop(name, None)
        return call(self, request, account)

    return without


@pytest.mark.parametrize("names", [("if-none-match", "if-match"), ("if-none-match",), ("if-match",)], ids=str)
@pytest.mark.parametrize("command", [["apply", "--auto-approve"], ["destroy", "--allow-deletes", "9"]], ids=str)
def test_a_store_without_conditional_writes_is_refused(
    house: support.House, bucket: Any, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], command: list[str]
) -> None:
    house.write({"configuration_sets": {"main": {}}}, stack=S3)
    monkeypatch.setattr(Moto, "call", ignoring(*names))
    house.clear()
    for format in ("text", "json"):
        ran = house.cli(*command, "state.yaml", "--format", format)
        assert ran.code == 3 and "ignores conditional writes" in ran.out + ran.err, ran
    assert not [w for w in house.writes() if not w.startswith("s3:")]
    assert "Contents" not in bucket.list_objects_v2(Bucket=BUCKET), "the lock is released"


def test_a_store_that_says_it_has_no_conditional_writes_is_refused(house: support.House, bucket: Any) -> None:
    house.write({"configuration_sets": {"main": {}}}, stack=S3)
    house.sandbox.fault("error", service="s3", operation="PutObject", code="NotImplemented", status=501, count=None)
    ran = house.cli("apply", "state.yaml", "--auto-approve")
    assert ran.code == 3 and "ignores conditional writes" in ran.err, ran


def test_a_bucket_of_another_account_is_never_used(house: support.House, bucket: Any) -> None:
    """A bucket's name is the world's: somebody else may have made it."""
    theirs = support.client("s3", access_key="AKIATHEIRS")
    house.sandbox.principal("AKIATHEIRS", account="444455556666")
    theirs.create_bucket(Bucket="squatted")
    document: dict[str, Any] = {"configuration_sets": {"main": {}}}
    house.write(document, stack={"backend": {"s3": {"bucket": "squatted"}}})
    for command in (["apply", "--auto-approve"], ["unlock", "--force"], ["history"]):
        ran = house.cli(*command, "state.yaml")
        assert ran.code == 1 and "AccessDenied" in ran.err and "stack.backend.s3.account" in ran.err, ran
    assert "Contents" not in theirs.list_objects_v2(Bucket="squatted")
    assert not [w for w in house.writes() if not w.startswith("s3:")]


def test_every_call_to_the_bucket_says_whose_it_must_be(house: support.House, bucket: Any) -> None:
    house.write({"configuration_sets": {"main": {}}}, stack=S3)
    house.clear()
    for command in (["apply", "--auto-approve"], ["history"], ["drift"], ["unlock", "--force"]):
        house.cli(*command, "state.yaml")
    calls = [c for c in house.sandbox.calls() if c["service"] == "s3"]
    assert {c["operation"] for c in calls} >= {"PutObject", "GetObject", "DeleteObject", "ListObjects"}
    assert {c["params"].get("ExpectedBucketOwner") for c in calls} == {support.ACCOUNT}
