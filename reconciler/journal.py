"""The journal of past runs: who, when, which plan, and how each step ended. For `recon history` and drift's labels.

No desired or observed state depends on it, and a journal that cannot be written is only a warning. It holds addresses,
times, error codes and digests; never a value from the YAML, a message from AWS or a secret.

A run is several lines of JSON: one when it starts, one for each step that ended, one when it ends. Locally they are
appended to one file per stack and synced to the disk; in a bucket each run has its own objects of some hundred lines,
the last of which is rewritten every few seconds until it is full. A run without an end line was killed, or is still
running.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from reconciler import __version__
from reconciler.backend import MAX_OBJECT, Bucket, location_of, parse_record, parse_time, scope_file, scope_key
from reconciler.errors import AwsError, ReconError
from reconciler.files import OwnDirectory, reason
from reconciler.lock import user_name

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.model import Plan, Stack

FLUSH = 15.0
"""Seconds between two rewrites of a run's last object in a bucket."""
PART = 500
"""Lines after which a run goes on in an object of its own: the lines of a long run are not sent again and again."""
ROTATE = 16 * 2**20
"""Bytes after which the local file is renamed to ``.1``, which replaces the older one."""


PAST = 50
"""How many of the last runs a run asks about what was done."""
_PAST_RUNS: WeakKeyDictionary[Aws, tuple[list[JournalRun], list[str]]] = WeakKeyDictionary()
"""What a run, by its connection, has read of the runs before it, and what was said about that."""

_FURTHER = re.compile(r"\.[0-9]{4,}$")
"""What follows the key of a run's first object in those of the others."""

_APPEND = os.O_CREAT | os.O_APPEND | os.O_WRONLY


def _clock() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Sink(Protocol):
    def write(self, line: str) -> None: ...

    def close(self) -> None: ...


class _FileSink:
    """Lines appended to a local file, each synced to the disk."""

    def __init__(self, directory: OwnDirectory, name: str) -> None:
        directory.make()
        self._handle = directory.open(name, _APPEND)
        if os.fstat(self._handle).st_size > ROTATE:
            directory.rename(name, name + ".1")
            os.close(self._handle)
            self._handle = directory.open(name, _APPEND)
        if directory.read(name, 1) not in {b"", b"\n"}:
            os.write(self._handle, b"\n")  # the last run was killed in the middle of a line

    def write(self, line: str) -> None:
        os.write(self._handle, line.encode())
        os.fsync(self._handle)

    def close(self) -> None:
        os.close(self._handle)


class _ObjectSink:
    """The lines of one run as objects in a bucket: ``KEY``, ``KEY.0001`` and so on, in the order of their names. A
    thread rewrites the last one while there are new lines."""

    def __init__(self, bucket: Bucket, key: str, failed: Callable[[Exception], None]) -> None:
        self._bucket = bucket
        self._key = key
        self._failed = failed
        self._lines: list[str] = []
        """Those of the last object."""
        self._part = 0
        self._stored = 0
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._storing = threading.Lock()
        self._thread = threading.Thread(target=self._flush_until_closed, name="recon-journal", daemon=True)

    def write(self, line: str) -> None:
        with self._lock:
            self._lines.append(line)
            first = not self._part and len(self._lines) == 1
        if first:
            self._store()
            self._thread.start()

    def _flush_until_closed(self) -> None:
        while not self._ended.wait(FLUSH):
            try:
                self._store()
            except ReconError as error:
                self._failed(error)
                return

    def _store(self) -> None:
        with self._storing:  # lines are dropped once they are stored in a full object, by one thread at a time
            while True:
                with self._lock:
                    lines = self._lines[:PART]
                if len(lines) == self._stored:
                    return
                key = f"{self._key}.{self._part:04d}" if self._part else self._key
                self._bucket.put(key, "".join(lines).encode())
                self._stored = len(lines)
                if len(lines) < PART:
                    return
                with self._lock:
                    del self._lines[:PART]
                    self._part, self._stored = self._part + 1, 0

    def close(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)
        self._store()


class Recorder:
    """Records one run. Its methods never raise: the first failure is reported once, through ``warn``."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self.id = secrets.token_hex(6)
        self.outcome = ""
        self._sink: _Sink | None = None
        self._warn = warn
        self._lock = threading.Lock()

    def _open(self, make: Callable[[], _Sink], header: Mapping[str, Any]) -> None:
        try:
            self._sink = make()
        except (OSError, ReconError) as problem:
            self._failed(problem)
        self._write({"type": "run", "run": self.id, **header})

    def step(self, step: str, outcome: str, code: str = "") -> None:
        """Record how a step ended; can be ``apply_plan``'s ``on_step``."""
        self._write({"type": "step", "run": self.id, "at": _clock(), "step": step, "outcome": outcome, "code": code})

    def _close(self) -> None:
        self._write({"type": "end", "run": self.id, "at": _clock(), "outcome": self.outcome or "error"})
        sink, self._sink = self._sink, None
        if sink is not None:
            try:
                sink.close()
            except (OSError, ReconError) as problem:
                self._failed(problem)

    def _write(self, record: Mapping[str, Any]) -> None:
        line = json.dumps({k: v for k, v in record.items() if v != ""}, ensure_ascii=False) + "\n"
        with self._lock:
            if self._sink is None:
                return
            try:
                self._sink.write(line)
            except (OSError, ReconError) as problem:
                self._failed(problem)

    def _failed(self, problem: Exception) -> None:
        cause = problem.message if isinstance(problem, ReconError) else reason(problem)
        self._warn(f"The journal cannot be written: {cause}. The run continues without it.")
        self._sink = None


@contextlib.contextmanager
def recording(
    stack: Stack,
    aws: Aws,
    command: str,
    plan: Plan | None = None,
    *,
    declared: Mapping[str, str] | None = None,
    warn: Callable[[str], None] = lambda message: None,
) -> Iterator[Recorder]:
    """Record a run while the block runs; set the recorder's ``outcome`` before the block ends. ``declared`` are digests
    of what the state declares, by address: drift compares with them what is declared later.

    ``aws`` reads the caller's ARN (STS, GetCallerIdentity) and, with a bucket as backend, writes the journal. Without
    an outcome, the run is recorded as ``interrupted``, or with the outcome of the error that ended it.
    """
    recorder = Recorder(warn)
    started = _clock()
    header: dict[str, Any] = {
        "command": command, "scope": stack.scope, "account": stack.account, "who": _who(aws), "user": user_name(),
        "host": socket.gethostname(), "started": started, "recon_version": __version__,
    }  # fmt: skip
    if plan is not None:
        from reconciler.renderers import plan_digest

        header |= {
            "plan_digest": plan_digest(plan), "state_digest": plan.state_digest, "summary": plan.summary,
            "targets": list(plan.context.get("targets") or ()),
        }  # fmt: skip

    def make_sink() -> _Sink:
        location = location_of(stack)
        if location.bucket:
            # Keys sort by time.
            name = started.replace(":", "").replace(".", "-")
            key = f"{location.prefix}journal/{scope_key(stack.scope)}/{name}-{recorder.id}.jsonl"
            return _ObjectSink(Bucket(location, aws), key, recorder._failed)
        return _FileSink(OwnDirectory(location.directory), _local_name(stack.scope))

    recorder._open(make_sink, header)
    if declared:
        recorder._write({"type": "declared", "run": recorder.id, "digests": declared})
    try:
        yield recorder
    except ReconError as error:
        recorder.outcome = recorder.outcome or error.outcome
        raise
    except KeyboardInterrupt:
        recorder.outcome = recorder.outcome or "interrupted"
        raise
    finally:
        recorder._close()


def _who(aws: Aws) -> str:
    try:
        return str(aws.call("sts", "GetCallerIdentity").get("Arn") or "")
    except AwsError:
        return ""


def _local_name(scope: str) -> str:
    return f"journal-{scope_file(scope)}.jsonl"


# --- reading -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class JournalRun:
    """One run as the journal has it. ``ended`` and ``outcome`` are empty if no end was recorded.

    ``steps`` are (step id, outcome, error code, time) in the order they ended; times are ISO 8601.
    """

    id: str
    command: str = ""
    scope: str = ""
    account: str = ""
    who: str = ""
    user: str = ""
    host: str = ""
    started: str = ""
    ended: str = ""
    outcome: str = ""
    plan_digest: str = ""
    state_digest: str = ""
    recon_version: str = ""
    summary: Mapping[str, int] = field(default_factory=dict)
    targets: tuple[str, ...] = ()
    steps: list[tuple[str, str, str, str]] = field(default_factory=list)
    declared: Mapping[str, str] = field(default_factory=dict)
    """Digests of what was declared, by address; empty of a run that an older recon recorded."""

    @property
    def seconds(self) -> float | None:
        """How long it took; None if no end was recorded."""
        if not self.ended:
            return None
        return (datetime.fromisoformat(self.ended) - datetime.fromisoformat(self.started)).total_seconds()

    @property
    def counts(self) -> Counter[str]:
        """How many steps have each outcome."""
        return Counter(outcome for _, outcome, _, _ in self.steps)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id, "command": self.command, "scope": self.scope, "account": self.account,
            "who": self.who or None, "user": self.user or None, "host": self.host or None, "started": self.started,
            "ended": self.ended or None, "outcome": self.outcome or None, "plan_digest": self.plan_digest or None,
            "state_digest": self.state_digest or None, "recon_version": self.recon_version,
            "summary": dict(self.summary), "targets": list(self.targets),
            "steps": [{"step": s, "outcome": o, "code": c or None, "at": t} for s, o, c, t in self.steps],
        }  # fmt: skip


def read_runs(
    stack: Stack, aws: Aws | None = None, *, limit: int = 20, warn: Callable[[str], None] = lambda message: None
) -> list[JournalRun]:
    """The last ``limit`` runs of a stack and of those that it was formerly, newest first. Lines that recon did not
    write are skipped, with a warning.

    ``aws`` is the connection for a bucket. Raises ReconError (AwsError) if the journal cannot be read.
    Cost with a bucket: one listing per 1000 objects and one read per object; most runs have one.
    """
    location = location_of(stack)
    if location.bucket:
        if aws is None:
            raise ReconError(f"the journal is in {location}, and there is no connection to it")
        bucket = Bucket(location, aws)
        places = [f"{location.prefix}journal/{scope_key(scope)}/" for scope in stack.scopes]
        keys = [key for place in places for key in _last_runs(bucket.keys(place), limit)]
        objects = aws.parallel(bucket.get, keys)
        texts = [found.body for found in objects if found]
    else:
        directory = OwnDirectory(location.directory)
        texts = [text for scope in stack.scopes for text in _local_texts(directory, _local_name(scope))]
    runs, skipped = _parse_runs(line for text in texts for line in text.decode("utf-8", "replace").split("\n"))
    if skipped:
        warn(f"{skipped} line{'s' * (skipped != 1)} of the journal in {location} cannot be read, and were skipped.")
    return sorted(runs, key=lambda run: run.started, reverse=True)[:limit]


def past_runs(
    stack: Stack, aws: Aws, *, warn: Callable[[str], None] = lambda message: None
) -> list[JournalRun]:  # fmt: skip
    """The last ``PAST`` runs, read once for all in this run that ask about them. Raises as ``read_runs`` does."""
    if aws not in _PAST_RUNS:
        said: list[str] = []
        _PAST_RUNS[aws] = read_runs(stack, aws, limit=PAST, warn=said.append), said
    runs, said = _PAST_RUNS[aws]
    for message in said:
        warn(message)
    return runs


def _last_runs(keys: Iterable[str], limit: int) -> list[str]:
    """The keys of the last ``limit`` runs, each with those of its further objects."""
    found: dict[str, list[str]] = {}
    for key in sorted(keys):
        found.setdefault(_FURTHER.sub("", key), []).append(key)
    return [key for run in sorted(found)[-limit:] for key in found[run]]


def _local_texts(directory: OwnDirectory, name: str) -> list[bytes]:
    texts: list[bytes] = []
    for file in (name + ".1", name):
        try:
            texts.append(directory.read(file, MAX_OBJECT))
        except FileNotFoundError:
            continue
        except OSError as problem:
            raise ReconError(f"the journal {directory.path / file} could not be read: {reason(problem)}") from None
    return texts


_TEXTS = ("command", "scope", "account", "who", "user", "host", "plan_digest", "state_digest", "recon_version")
"""The texts of a run's first line, by their names in ``JournalRun``."""


def _parse_runs(lines: Iterable[str]) -> tuple[list[JournalRun], int]:
    """The runs, and how many lines are not as recon writes them. A record of an unknown type is a newer recon's."""
    runs: dict[str, JournalRun] = {}
    skipped = 0
    for line in lines:
        record = parse_record(line)
        key, add = record.get("run"), _ADD.get(str(record.get("type")))
        if not line.strip() or (add is None and isinstance(record.get("type"), str)):
            continue
        if add is None or not isinstance(key, str) or not add(runs.setdefault(key, JournalRun(key)), record):
            skipped += 1
    return [run for run in runs.values() if run.started], skipped


def _texts_of(record: Mapping[str, Any], names: Iterable[str]) -> list[str] | None:
    """The texts under ``names``, empty where one is missing; None if one is no text."""
    found = [record.get(name) or "" for name in names]
    return found if all(isinstance(text, str) for text in found) else None


def _add_start(run: JournalRun, record: Mapping[str, Any]) -> bool:
    texts, started = _texts_of(record, _TEXTS), parse_time(record.get("started"))
    summary, targets = record.get("summary") or {}, record.get("targets") or []
    if texts is None or started is None or not isinstance(summary, dict) or not isinstance(targets, list):
        return False
    if not all(type(number) is int for number in summary.values()) or not all(isinstance(t, str) for t in targets):
        return False
    for name, text in zip(_TEXTS, texts, strict=True):
        setattr(run, name, text)
    run.started, run.summary, run.targets = started, summary, tuple(targets)
    return True


def _add_step(run: JournalRun, record: Mapping[str, Any]) -> bool:
    texts, at = _texts_of(record, ("step", "outcome", "code")), parse_time(record.get("at"))
    if texts is None or at is None or not texts[0]:
        return False
    run.steps.append((texts[0], texts[1], texts[2], at))
    return True


def _add_declared(run: JournalRun, record: Mapping[str, Any]) -> bool:
    digests = record.get("digests")
    if not isinstance(digests, dict) or not all(isinstance(one, str) for one in digests.values()):
        return False
    run.declared = digests
    return True


def _add_end(run: JournalRun, record: Mapping[str, Any]) -> bool:
    texts, at = _texts_of(record, ("outcome",)), parse_time(record.get("at"))
    if texts is None or at is None or not texts[0]:
        return False
    run.ended, run.outcome = at, texts[0]
    return True


_ADD: Mapping[str, Callable[[JournalRun, Mapping[str, Any]], bool]] = {
    "run": _add_start, "declared": _add_declared, "step": _add_step, "end": _add_end,
}  # fmt: skip
"""Type of a record -> what adds it to its run; False for one that recon did not write."""


def last_applied(runs: Iterable[JournalRun]) -> JournalRun | None:
    """The newest run after which AWS matched the whole YAML: a successful apply without targets."""
    return next(
        (r for r in runs if r.command.startswith("apply") and not r.targets and r.outcome in {"applied", "no_changes"}),
        None,
    )
