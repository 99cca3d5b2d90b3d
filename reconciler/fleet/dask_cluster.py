"""The workers of a Dask cluster that somebody runs: ``--scheduler tls://HOST:PORT`` (the extra ``fleet``).

A scheduler runs what it is sent, so only TLS with certificates of Dask's own configuration is used off this machine.
Dask starts a task again whose worker died, by default three times; a unit then begins by looking for its report.
Source: Dask documentation, "TLS/SSL", "Worker Resilience", "Futures".
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from reconciler.errors import ReconError
from reconciler.fleet.coordinate import Ended
from reconciler.fleet.work import Task, carry_out
from reconciler.masking import mask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from distributed import Future

CONNECT_SECONDS: Final = 20.0
LOST_SECONDS: Final = 5.0
"""How long a scheduler may be gone before the run gives up."""
ANSWER_SECONDS: Final = 5.0
"""How long one question to the scheduler may take: Dask itself asks a dead one for 20 seconds, and a stopped one for
ever."""
SILENT_SECONDS: Final = 60.0
"""How long nothing may be heard of a connected scheduler, or of the work of a worker: it may be stopped, or its host
gone. Dask waits five minutes for a worker, and for ever for one that lives and does not know of its task."""
NO_WORKERS_SECONDS: Final = 120.0
MOST_ROUNDS: Final = 2
"""How often Dask gets a unit that it gives up, after four workers that died with it: chance may kill four in a row."""
_OVER: Final = frozenset({"finished", "error", "cancelled"})
"""States of a future that has ended. Not "lost": its worker died with the result, and Dask starts it again."""
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def check_address(address: str, insecure: bool) -> None:
    """Raises ReconError for an address that is none, or over which anybody could send work to the workers."""
    try:
        url = urlsplit(address)
        usable = bool(url.hostname and url.port)
    except ValueError:
        usable = False
    if not usable or url.scheme not in {"tls", "tcp"}:
        raise ReconError(f"--scheduler {address} is not an address of a Dask scheduler", hint="tls://HOST:8786")
    if url.scheme == "tcp" and url.hostname not in _LOOPBACK and not insecure:
        raise ReconError(
            f"--scheduler {address}: without TLS anybody on that network may run code on the workers",
            hint="use tls:// with distributed.comm.tls of Dask's configuration, or say --insecure",
        )


def check_scheduler(address: str, insecure: bool) -> None:
    """Raises ReconError for what is wrong with ``--scheduler`` before anything is connected: the address, the extra
    that is not installed, for ``tls://`` a configuration of Dask without certificates or with unusable ones."""
    check_address(address, insecure)
    try:
        from distributed.security import Security
    except ImportError:
        raise ReconError("--scheduler needs Dask distributed", hint='pip install "recon-mail[fleet]"') from None
    if not address.startswith("tls:"):
        return
    try:
        context = Security().get_connection_args("client")["ssl_context"]
    except (OSError, ValueError, TypeError) as problem:  # ssl.SSLError is an OSError
        why = f"{problem.strerror or problem}" if isinstance(problem, OSError) else str(problem)
        raise ReconError(f"--scheduler {address}: the TLS files of Dask's configuration: {why}", hint=_TLS) from None
    if context is None:
        raise ReconError(f"--scheduler {address}: Dask's configuration has no client certificate", hint=_TLS)


_TLS: Final = (
    "distributed.comm.tls.ca-file, client.cert and client.key in ~/.config/dask/distributed.yaml, or "
    "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, ..__CLIENT__CERT and ..__CLIENT__KEY"
)


class ClusterWorkers:
    """One unit for each worker of the cluster at once: two on one worker would die together."""

    def __init__(self, address: str, tell: Callable[[str], None] = lambda said: None) -> None:
        """``address`` has passed ``check_scheduler``. ``tell`` gets a line where a worker is let go. Raises ReconError
        where the scheduler does not answer."""
        from distributed import Client

        try:
            self._client: Any = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as problem:
            why = str(problem).strip() or type(problem).__name__
            hint = "check that it runs there, and that both sides have certificates of the same authority"
            raise ReconError(f"the Dask scheduler at {address} does not answer: {mask(why)}", hint=hint) from None
        _silence()
        self.address, self._tell = address, tell
        self._running: dict[str, Future[None]] = {}
        self._killed: Counter[str] = Counter()
        self._gone_since: float | None = None
        self._idle_since: float | None = None
        self._answered = time.monotonic()
        self._seen: dict[str, float] = {}
        """For each worker when the scheduler last heard of it, by its own clock."""
        self._silent: dict[str, float] = {}
        """For how long nothing is heard of the work of a worker that has one of our units."""

    def room(self) -> int:
        workers = self._workers()
        return 0 if workers is None else max(workers, 1) - len(self._running)

    def _workers(self) -> int | None:
        """How many workers the scheduler has; None where it does not say."""
        # Not `scheduler_info`, which waits without a limit, and whose answer Dask's own timers may have emptied.
        found = self._ask("identity", n_workers=-1)
        if found is None:
            return None
        return len(found["workers"]) - self._let_go(found["workers"])

    def _let_go(self, workers: Mapping[str, Mapping[str, Any]]) -> int:
        """How many workers are let go, so that Dask starts what they have elsewhere: they have a unit, but for a while
        were not heard of, or said that they execute nothing. ``workers`` is what the scheduler knows of each."""
        now = time.monotonic()
        # Where the scheduler itself was silent, it could hear of nobody.
        passed, self._answered = min(now - self._answered, 2 * ANSWER_SECONDS), now
        before, self._seen = self._seen, {at: one["last_seen"] for at, one in workers.items()}
        quiet = [at for at, one in workers.items() if before.get(at) == one["last_seen"] or not _executes(one)]
        ours = {future.key: unit for unit, future in self._running.items()}
        if not (quiet and ours):
            self._silent = {}
            return 0
        keys = self._ask("processing", workers=quiet)
        if keys is None:
            return 0  # asked again in a second
        has = {at: [ours[key] for key in keys.get(at, ()) if key in ours] for at in quiet}
        self._silent = {at: self._silent.get(at, 0.0) + passed for at in quiet if has[at]}
        lost = [at for at, seconds in self._silent.items() if seconds > SILENT_SECONDS]
        if not lost or self._ask("retire_workers", workers=lost, close_workers=True) is None:
            return 0
        for at in lost:
            self._tell(
                f"Nothing is heard of {' and '.join(has[at])} on the worker {at} for {SILENT_SECONDS:.0f} seconds: "
                "that worker is let go, and another begins it again."
            )
        return len(lost)

    def _ask(self, question: str, **about: Any) -> Any:
        """What the scheduler answers; None where it does not, in time or at all."""
        if self._client.status != "running":
            return None
        try:
            ask = getattr(self._client.scheduler, question)
            return self._client.sync(ask, **about, callback_timeout=ANSWER_SECONDS)
        except (Exception, asyncio.CancelledError):  # a client that loses its scheduler meanwhile may raise anything
            return None

    def start(self, task: Task) -> None:
        key = f"{task.run_id}/{task.unit}/{time.monotonic_ns()}"
        self._running[task.unit] = self._client.submit(carry_out, task, key=key, pure=False, retries=0)

    def ended(self, seconds: float) -> list[Ended]:
        until = time.monotonic() + seconds
        # `wait` asks for a client of the process.
        while not (over := [(u, f.status) for u, f in self._running.items() if f.status in _OVER]):
            self._check_scheduler()
            if time.monotonic() >= until:
                return []
            time.sleep(0.05)
        self._idle_since = None
        return [self._end(unit, status) for unit, status in over]

    def _end(self, unit: str, status: str) -> Ended:
        future = self._running.pop(unit)
        problem: BaseException | None = None
        if status == "error":
            with contextlib.suppress(Exception, asyncio.CancelledError):  # the scheduler is lost just now
                problem = future.exception(timeout=ANSWER_SECONDS)
        future.release()
        if status == "finished":
            return Ended(unit)
        if problem is None:
            raise self._lost()
        if type(problem).__name__ == "KilledWorker":
            self._killed[unit] += 1
            return Ended(unit, "its worker died each time that Dask tried it", died=self._killed[unit] < MOST_ROUNDS)
        said = problem.message if isinstance(problem, ReconError) else f"{type(problem).__name__}: {problem}"
        return Ended(unit, f"its worker could not run it: {mask(said)}")

    def _check_scheduler(self) -> None:
        """Raises ReconError where the scheduler has been gone for a while, or has no workers to give."""
        now = time.monotonic()
        if self._client.status != "running":
            self._gone_since = self._gone_since or now
            if now - self._gone_since > LOST_SECONDS:
                raise self._lost()
            return
        self._gone_since = None
        if now < self._answered + 1:
            return
        workers = self._workers()
        if workers is None and now - self._answered > SILENT_SECONDS:
            raise self._lost("does not answer any more")
        if workers != 0:
            self._idle_since = None
            return
        self._idle_since = self._idle_since or now
        if now - self._idle_since > NO_WORKERS_SECONDS:
            hint = "start workers, then start this run again with the same --run-id"
            raise ReconError(f"the Dask scheduler at {self.address} has no workers", hint=hint)

    def _lost(self, how: str = "is gone") -> ReconError:
        return ReconError(
            f"the Dask scheduler at {self.address} {how}",
            hint="what has a report is done: start again with the same --run-id once a scheduler runs",
        )

    def close(self) -> None:
        # All reports are stored: nothing that a lost scheduler makes fail here may take the place of the result.
        with contextlib.suppress(Exception, asyncio.CancelledError):
            for future in self._running.values():
                future.release()
            self._client.close(timeout=2)


def _executes(worker: Mapping[str, Any]) -> bool:
    """Whether a worker said in its last message that it works at something."""
    counts = worker["metrics"].get("task_counts")
    return counts is None or counts.get("executing", 0) > 0


def _silence() -> None:
    """Dask would tell a lost scheduler a dozen times, with tracebacks; ``ended`` says it once."""
    for name in ("asyncio", "tornado", *logging.root.manager.loggerDict):
        if name.partition(".")[0] in {"asyncio", "distributed", "tornado"}:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
