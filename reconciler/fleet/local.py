"""Workers as processes of this machine: one process for each unit, which shares nothing with the others. No socket is
opened."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

from reconciler.errors import ReconError
from reconciler.fleet.coordinate import Ended
from reconciler.fleet.work import Task, carry_out

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess


class LocalWorkers:
    """At most ``count`` units at once."""

    def __init__(self, count: int) -> None:
        self.count = count
        methods = multiprocessing.get_all_start_methods()
        self._context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        if "forkserver" in methods:
            # Imported once; a worker is then there within milliseconds.
            self._context.set_forkserver_preload(
                ["reconciler.cli", "reconciler.fleet.work", "reconciler.running", "boto3"]
            )
        self._running: dict[int, tuple[BaseProcess, Connection, str]] = {}

    def room(self) -> int:
        return self.count - len(self._running)

    def start(self, task: Task) -> None:
        reader, writer = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(task, writer), daemon=True)
        process.start()
        writer.close()
        self._running[process.sentinel] = process, reader, task.unit

    def ended(self, seconds: float) -> list[Ended]:
        ready = connection.wait(list(self._running), seconds)
        return [self._end(sentinel) for sentinel in ready if isinstance(sentinel, int)]

    def _end(self, sentinel: int) -> Ended:
        process, reader, unit = self._running.pop(sentinel)
        process.join()
        said: str | None = None
        with reader, contextlib.suppress(EOFError, OSError):
            said = reader.recv() if reader.poll() else None
        return Ended(unit, said or "", died=said is None)

    def close(self) -> None:
        for process, reader, _ in self._running.values():
            process.kill()
            process.join()
            reader.close()
        self._running.clear()


def _work(task: Task, writer: Connection) -> None:
    """Carry out one task; says at the end why it has no report, or nothing. What kills the process says nothing."""
    # Ctrl-C reaches the whole group: the coordinator ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        carry_out(task)
    except ReconError as problem:
        writer.send(problem.message)
    else:
        writer.send("")
    finally:
        writer.close()
