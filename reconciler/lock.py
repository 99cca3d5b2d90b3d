"""One run at a time may apply to a stack: the local lock, a file that names its holder.

The file is made with O_EXCL, so that of two that try only one has it. A holder on this machine whose process is gone
has left the lock behind; it is taken over and said so. A lock from another machine is never taken without `unlock`.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from reconciler.errors import Locked, ReconError


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock: user, host, process, what for, since when (ISO 8601)."""

    user: str
    host: str
    pid: int
    command: str
    since: str

    def __str__(self) -> str:
        return f"{self.user} on {self.host} (process {self.pid}, `{self.command}`), since {self.since}"

    def gone(self) -> bool:
        """Whether the holder ran on this machine and its process no longer exists."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False


class LocalLock:
    """The lock of one stack scope in a directory (default ``.recon``)."""

    def __init__(self, scope: str, directory: str | Path = ".recon") -> None:
        self.path = Path(directory) / f"lock-{re.sub(r'[^A-Za-z0-9._-]', '_', scope)}.json"

    def holder(self) -> Holder | None:
        """Who holds the lock now, or None. A file that cannot be read counts as held by somebody unknown."""
        try:
            fields = json.loads(self.path.read_text())
            return Holder(**fields)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError):
            return Holder("unknown", "unknown", 0, "unknown", "unknown")

    def release(self) -> None:
        self.path.unlink(missing_ok=True)

    def _take(self, command: str) -> bool:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        except OSError as problem:
            raise ReconError(
                f"the lock {self.path} cannot be made: {problem.strerror}", hint="is the directory writable?"
            ) from None
        me = Holder(
            _user(), socket.gethostname(), os.getpid(), command, datetime.now(UTC).isoformat(timespec="seconds")
        )
        with os.fdopen(handle, "w") as file:
            json.dump(asdict(me), file)
        return True

    @contextlib.contextmanager
    def held(self, command: str, timeout: float = 0.0) -> Iterator[Holder | None]:
        """Hold the lock; waits up to ``timeout`` seconds. Yields the dead holder it was taken over from, if any.

        Raises Locked naming the holder.
        """
        deadline = time.monotonic() + timeout
        dead: Holder | None = None
        while not self._take(command):
            holder = self.holder()
            if holder is not None and holder.gone():
                dead = holder
                self.release()
                continue
            if time.monotonic() >= deadline:
                raise Locked(
                    f"another run holds the lock of this stack: {holder}",
                    hint="wait for it (--lock-timeout 5m), or if it is dead: recon unlock",
                )
            time.sleep(min(1.0, max(0.05, deadline - time.monotonic())))
        try:
            yield dead
        finally:
            self.release()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
