"""The fault matrix: every write of every scenario, struck by every fault, and what must be true afterwards.

Nothing here names an operation: the writes are those that a clean run of the scenario made, held against what the kinds
in the registry declare. A trial puts the sandbox back to the moment before the apply, strikes one write, and then asks:
does applying again end well, is the plan empty, and is the ledger the one of the run that nothing befell?
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import READS, House, told, words

from faults import ledger
from faults.scenarios import Scenario
from reconciler import applier
from reconciler.aws import Aws
from reconciler.errors import ReconError
from reconciler.kinds.registry import REGISTRY
from reconciler.model import Result
from reconciler.safeguards import check_safeguards

NOW = "2026-11-22T00:00:00Z"


class Killed(BaseException):
    """The process is gone: nothing of recon may run after this, in any thread."""


# --- faults --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong. ``absorbed``: the struck run itself must still end well, save at the calls of
    ``NEVER_REPEATED`` where no answer came."""

    name: str
    absorbed: bool
    rule: dict[str, Any] | None = None
    kill: str = ""
    timeout: float = 0.0

    def absorbed_at(self, call: str) -> bool:
        unanswered = self.name in {"reset before", "answer lost", "timeout"}
        return self.absorbed and not (unanswered and call in NEVER_REPEATED)


NEVER_REPEATED = {"iam:CreateAccessKey"}
"""Each makes another key, and what it made may appear late: the run stops there, and the next one names it."""

FAULTS = (
    Fault("throttled", True, {"do": "throttle", "count": 3}),
    Fault("500", True, {"do": "error", "status": 500, "code": "InternalFailure", "count": 2}),
    Fault("503", True, {"do": "error", "status": 503, "code": "ServiceUnavailable", "count": 1}),
    Fault("reset before", True, {"do": "reset", "count": 1}),
    Fault("answer lost", True, {"do": "lost", "count": 1}),
    Fault("timeout", True, {"do": "delay", "seconds": 0.35, "count": 1}, timeout=0.15),
    Fault("down", False, {"do": "error", "status": 500, "code": "InternalFailure", "count": None}),
    Fault("lost and down", False, {"do": "lost", "count": None}),
    Fault("denied", False, {"do": "denied", "count": None}),
    Fault("killed before", False, kill="before"),
    Fault("killed after", False, kill="after"),
)
BY_NAME = {fault.name: fault for fault in FAULTS}


def is_write(operation: str) -> bool:
    return not operation.startswith(READS)


def declared() -> dict[str, set[str]]:
    """``service:Operation`` -> the kinds that declare it as a write."""
    found: dict[str, set[str]] = {}
    for kind in REGISTRY.values():
        for call in kind.writes:
            if is_write(call.partition(":")[2]):
                found.setdefault(call, set()).add(kind.name)
    return found


# --- the hook ------------------------------------------------------------------------------------------------------

Watcher = Callable[[str, str, dict[str, Any]], None]


@contextlib.contextmanager
def watching(before: Watcher | None = None, after: Watcher | None = None) -> Iterator[None]:
    """Call ``before(service, operation, parameters)`` and ``after`` around every call that recon makes."""
    call = Aws.call

    def hooked(self: Aws, service: str, operation: str, region: str | None = None, **more: Any) -> dict[str, Any]:
        parameters = {k: v for k, v in more.items() if k not in {"dns", "retry"}} | {"region": region}
        if before is not None:
            before(service, operation, parameters)
        answer = call(self, service, operation, region, **more)
        if after is not None:
            after(service, operation, parameters)
        return answer

    Aws.call = hooked  # type: ignore[method-assign]
    try:
        yield
    finally:
        Aws.call = call  # type: ignore[method-assign]


@contextlib.contextmanager
def killing(number: int, when: str) -> Iterator[None]:
    """The process dies right before or right after its write ``number`` (from 0): no call of any thread goes out."""
    dead = threading.Event()
    lock = threading.Lock()
    count = -1

    def before(service: str, operation: str, parameters: dict[str, Any]) -> None:
        nonlocal count
        if dead.is_set():
            raise Killed
        if is_write(operation):
            with lock:
                count += 1
                if when == "before" and count == number:
                    dead.set()
                    raise Killed

    def after(service: str, operation: str, parameters: dict[str, Any]) -> None:
        if dead.is_set():
            raise Killed
        if is_write(operation) and when == "after" and count == number:
            dead.set()
            raise Killed

    with watching(before, after):
        yield


# --- time ----------------------------------------------------------------------------------------------------------


class Hurried(types.ModuleType):
    """``time`` for recon's modules: sleeping takes a fiftieth, and the clock believes in the whole."""

    def __init__(self, pace: float = 0.02) -> None:
        super().__init__("time")
        self._pace = pace
        self._skipped = 0.0
        self._lock = threading.Lock()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds * self._pace)
        with self._lock:
            self._skipped += seconds * (1 - self._pace)

    def monotonic(self) -> float:
        return time.monotonic() + self._skipped

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class Stop(threading.Event):
    """The applier's stop, whose waits are sleeps of the clock that recon has just then."""

    def wait(self, timeout: float | None = None) -> bool:
        from reconciler.applier import run

        run.time.sleep(timeout or 0.0)
        return self.is_set()


@contextlib.contextmanager
def hurried(pace: float = 0.02) -> Iterator[Hurried]:
    """Let recon's own waits between tries pass quickly."""
    quick = Hurried(pace)
    changed = []
    for name, module in list(sys.modules.items()):
        if name.startswith("reconciler.") and ".sandbox" not in name and getattr(module, "time", None) is time:
            module.time = quick  # type: ignore[attr-defined]
            changed.append(module)
    try:
        yield quick
    finally:
        for module in changed:
            module.time = time  # type: ignore[attr-defined]


@contextlib.contextmanager
def impatient(seconds: float) -> Iterator[None]:
    """Clients that wait only this long for an answer."""
    made: dict[Any, Any] = {}
    before = Aws._client

    def _client(self: Aws, service: str, region: str, dns: bool, brief: bool = False) -> Any:
        key = (service, region)
        if key not in made:
            import boto3
            from botocore.config import Config

            made[key] = boto3.session.Session().client(
                service, region_name=region,
                config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=seconds),
            )  # fmt: skip
        return made[key]

    if seconds:
        Aws._client = _client  # type: ignore[method-assign]
    try:
        yield
    finally:
        Aws._client = before  # type: ignore[method-assign]


# --- the stage -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Write:
    """One write of the clean run: its place among all writes, and among those of the same operation and region."""

    number: int
    call: str
    region: str
    skip: int


class Stage:
    """A scenario at the moment before its apply, with the run that nothing befell as the measure."""

    def __init__(self, house: House, scenario: Scenario) -> None:
        self.house, self.scenario = house, scenario
        house.sandbox.reset()
        scenario.others(house)
        for document in scenario.before:
            house.settle(document, parallelism=1)
        scenario.hands(house)
        if scenario.target is not None:
            house.write(scenario.target)
        self.known = ledger.key_ids(house.sandbox)
        self.before = ledger.take(house.sandbox)
        house.clear()
        result = self.run(consent=True)
        assert result.outcome == "applied", told(result)
        self.writes = self._writes()
        house.clear()
        self.finish()
        self.expected = ledger.of(house.sandbox, self.known)

    def _writes(self) -> list[Write]:
        found: list[Write] = []
        seen: dict[tuple[str, str], int] = {}
        for call in self.house.sandbox.calls():
            if is_write(call["operation"]):
                name = f"{call['service']}:{call['operation']}"
                skip = seen.get((name, call["region"]), 0)
                seen[name, call["region"]] = skip + 1
                found.append(Write(len(found), name, call["region"], skip))
        return found

    def run(self, *, consent: bool, parallelism: int = 1) -> Result:
        """Plan and apply the target (or destroy). ``consent`` gives the flags that the scenario's first apply needs."""
        removing = self.scenario.target is None
        planned = self.house.make(purpose="apply", removing=removing, parallelism=parallelism)
        check_safeguards(
            planned.plan, allow_adopt=consent and self.scenario.adopts, allow_deletes=100, consent=removing,
            resume_sending=consent and self.scenario.resumes,
        )  # fmt: skip
        return applier.apply_plan(
            planned.plan, planned.aws, zones=planned.snapshot.zones, verify_timeout=3.0, stop=Stop()
        )

    def finish(self) -> None:
        """Nothing is left to plan, and nothing is said to be wrong."""
        removing = self.scenario.target is None
        plan = self.house.make(removing=removing, parallelism=1).plan
        assert not plan.changes, "\n".join(["the plan is not empty:", *map(words, plan.changes)])
        wrong = [d.message for d in plan.diagnostics if d.severity == "error"]
        assert not wrong, wrong

    def strike(self, write: Write, fault: Fault, parallelism: int = 1) -> str:
        """One trial. Returns how the struck run ended; raises AssertionError with what was lost."""
        sandbox = self.house.sandbox
        absorbed = fault.absorbed_at(write.call)
        ledger.restore(sandbox, self.before)
        service, _, operation = write.call.partition(":")
        if fault.rule is not None:
            rule = {"service": service, "operation": operation, "region": write.region, "skip": write.skip}
            sandbox.fault(**rule, **fault.rule)
        with hurried(), impatient(fault.timeout):
            try:
                if fault.kill:
                    with killing(write.number, fault.kill):
                        ended = self.run(consent=True, parallelism=parallelism).outcome
                else:
                    result = self.run(consent=True, parallelism=parallelism)
                    ended = result.outcome
                    if absorbed:
                        assert ended == "applied", f"the run did not get over it: {told(result)}"
            except Killed:
                ended = "killed"
            except ReconError as error:
                ended = f"refused: {error.message}"
        if fault.rule is not None:
            assert self._struck(fault), f"the fault never struck ({ended})"
        if fault.timeout:
            time.sleep(fault.rule["seconds"])  # type: ignore[index]  # what was sent arrives all the same
        sandbox.clear_faults()
        with hurried():
            again = self.run(consent=True)
            assert again.outcome in {"applied", "no_changes"}, f"after {ended}: {told(again)}"
            if absorbed and not fault.timeout:
                assert again.outcome == "no_changes", f"a second apply still found: {told(again)}"
            if again.outcome == "applied":
                self.finish()
        lost = ledger.difference(self.expected, ledger.of(sandbox, self.known))
        assert not lost, f"after {ended} the ledger differs:\n{lost}"
        return ended

    def _struck(self, fault: Fault) -> bool:
        faults = self.house.sandbox._server.gateway.faults
        return any(f.seen > f.skip for f in faults)


_stages: dict[str, Stage] = {}


def stage(scenario: Scenario) -> Stage:
    """The stage of a scenario, set up once in this process; its directory is kept with it."""
    if scenario.name not in _stages:
        home = Path(tempfile.mkdtemp(prefix="recon-faults-"))
        _stages[scenario.name] = Stage(House(home), scenario)
    return _stages[scenario.name]


def distinct(writes: list[Write]) -> list[Write]:
    """The first write of each operation."""
    found: dict[str, Write] = {}
    for write in writes:
        found.setdefault(write.call, write)
    return list(found.values())
