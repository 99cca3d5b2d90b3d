"""One run at a time may apply to a stack: the lock, in a local file or in a bucket, that names its holder.

Both kinds look alike: ``lock_for(stack, aws).held(command, timeout)`` holds it or raises Locked, ``holder()`` says who,
``free(holder)`` is what `recon unlock` does. While a lock is held, a thread proves every few seconds that it still is;
where it is not (somebody freed it), the run is told through ``HeldLock.watch`` and starts nothing more.

The local lock is a file under ``flock``: the kernel frees it when its process dies, so a dead run is taken over from at
once. In a bucket nobody knows whether a silent holder is dead or only cut off, so nobody but a person takes its lock:
its message tells how old the last sign of life is.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import random
import secrets
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from reconciler.backend import CONFLICT, MISSING, REFUSED, Bucket, location_of, make_directory, scope_file, scope_key
from reconciler.errors import AwsError, Locked, ReconError

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.model import Stack

BEAT = 20.0
"""Seconds between two signs of life of a holder."""
LIFE = 120.0
"""Seconds after the last sign of life after which a holder counts as silent, and stops by itself."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock: principal (ARN, where known), user, host, process, what for, since when (ISO 8601).

    ``id`` is the run's own, so that a lock whose answer was lost is known again. ``silent`` is how many seconds ago
    the last sign of life came, where it is longer than it should be.
    """

    user: str
    host: str
    pid: int
    command: str
    since: str
    id: str = ""
    who: str = ""
    silent: float = 0.0

    def __str__(self) -> str:
        text = f"{self.who or self.user} on {self.host} (process {self.pid}, `{self.command}`), since {self.since}"
        if self.silent:
            text += f"; its last sign of life is {_age(self.silent)} old"
        return text


UNKNOWN = Holder("unknown", "unknown", 0, "unknown", "unknown")
"""Who holds a lock that cannot be understood."""


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{round(seconds)} seconds"
    return f"{round(seconds / 60)} minutes" if seconds < 7200 else f"{round(seconds / 3600)} hours"


class HeldLock:
    """A lock that is held. ``dead`` is the run that left it behind, where it was taken over; ``aws`` the connection
    that the lock has of its own, for what must still be written when the run is told to stop (the journal)."""

    def __init__(self, holder: Holder, dead: Holder | None = None, aws: Aws | None = None) -> None:
        self.holder = holder
        self.dead = dead
        self.aws = aws
        self.lost = threading.Event()
        self._watchers: list[Callable[[], None]] = []

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Have ``told`` called, from another thread, as soon as the lock is no longer held."""
        self._watchers.append(callback)
        if self.lost.is_set():
            callback()

    def _gone(self) -> None:
        self.lost.set()
        for callback in list(self._watchers):
            callback()


class Lock(ABC):
    """The lock of one stack scope."""

    beat = BEAT
    pause = 2.0
    """Seconds between two tries while waiting."""

    @abstractmethod
    def holder(self) -> Holder | None:
        """Who holds the lock now, or None. Raises ReconError where that cannot be read."""

    @abstractmethod
    def force_unlock(self, holder: Holder) -> bool:
        """Free the lock that ``holder`` holds, whoever that is; False where another holds it by now."""

    @abstractmethod
    def _take(self, me: Holder) -> HeldLock | None:
        """Try once to get it; None where somebody holds it."""

    @abstractmethod
    def _prove(self) -> bool:
        """Renew the sign of life; False where the lock is no longer ours."""

    @abstractmethod
    def _release(self) -> None:
        """Let go of our own lock, and of no other."""

    def _me(self, command: str) -> Holder:
        since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return Holder(user_name(), socket.gethostname(), os.getpid(), command, since, secrets.token_hex(8))

    @contextlib.contextmanager
    def held(
        self, command: str, timeout: float = 0.0, *, say: Callable[[str], None] = lambda words: None
    ) -> Iterator[HeldLock]:
        """Hold the lock while the block runs; waits up to ``timeout`` seconds for it, and ``say``s so.

        Raises Locked naming the holder.
        """
        me = self._me(command)
        deadline = time.monotonic() + timeout
        told = ""
        while (held := self._take(me)) is None:
            holder = self.holder()
            left = deadline - time.monotonic()
            if left <= 0:
                raise Locked(
                    f"another run holds the lock of this stack: {holder or 'it let go a moment ago'}",
                    hint="it is probably dead: look for it, then free the lock with: recon unlock"
                    if holder and holder.silent
                    else "wait for it (--lock-timeout 5m), or if it is dead: recon unlock",
                )
            if holder is not None and told != holder.id:
                told = holder.id
                say(f"Waiting for the lock, held by {holder}")
            time.sleep(min(self.pause * (0.75 + random.random() / 2), max(0.05, left)))
        ended = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(held, ended), name="recon-lock", daemon=True)
        keeper.start()
        try:
            yield held
        finally:
            ended.set()
            keeper.join(timeout=5.0)  # renewing never makes a lock anew, so that one still under way does no harm
            if not held.lost.is_set():
                self._release()

    def _keep(self, held: HeldLock, ended: threading.Event) -> None:
        """Prove again and again that the lock is ours; what cannot be proved for ``LIFE`` seconds counts as lost."""
        proved = time.monotonic()
        while not ended.wait(self.beat):
            try:
                ours = self._prove()
                if ours:
                    proved = time.monotonic()
            except ReconError:
                ours = time.monotonic() - proved < LIFE
            if not ours:
                held._gone()
                return


# --- local ---------------------------------------------------------------------------------------------------------


class LocalLock(Lock):
    """A file in a directory (default ``.recon``), under ``flock``. For runs that share a file system."""

    beat = 1.0
    pause = 0.2

    def __init__(self, scope: str, directory: str | Path = ".recon") -> None:
        self.path = Path(directory) / f"lock-{scope_file(scope)}.json"
        self._file: IO[str] | None = None

    def holder(self) -> Holder | None:
        try:
            with self.path.open("r", encoding="utf-8") as file:
                if _flock(file, shared=True):
                    return None
                return _holder(file.read())
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            return UNKNOWN

    def force_unlock(self, holder: Holder) -> bool:
        now = self.holder()
        if now is not None and now.id != holder.id:
            return False
        self.path.unlink(missing_ok=True)
        return True

    def _take(self, me: Holder) -> HeldLock | None:
        try:
            make_directory(self.path.parent)
            handle = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        except OSError as problem:
            raise ReconError(
                f"the lock {self.path} cannot be made: {problem.strerror}", hint="is the directory writable?"
            ) from None
        file = os.fdopen(handle, "r+", encoding="utf-8", errors="replace")
        # Somebody who only looks holds it for an instant.
        for _ in range(3):
            if taken := _flock(file):
                break
            time.sleep(0.02)
        if not taken or not self._is_at_path(file):
            file.close()
            return None
        left = file.read()
        file.seek(0)
        file.truncate()
        file.write(json.dumps(asdict(me)))
        file.flush()
        self._file = file
        return HeldLock(me, _holder(left) if left.strip() else None)

    def _is_at_path(self, file: IO[str]) -> bool:
        """Whether the open file is the one at the path: it may have been freed and made anew in between."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), self.path.stat())
        except OSError:
            return False

    def _prove(self) -> bool:
        return self._file is not None and self._is_at_path(self._file)

    def _release(self) -> None:
        if self._file is None:
            return
        if self._is_at_path(self._file):
            self.path.unlink(missing_ok=True)
        self._file.close()
        self._file = None


def _flock(file: IO[str], *, shared: bool = False) -> bool:
    """Whether the kernel gives us the file. Raises ReconError where the file system has no locks."""
    try:
        import fcntl
    except ImportError:
        raise ReconError("this system has no flock", hint="set stack.backend to a bucket") from None
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as problem:
        raise ReconError(
            f"the file system of {file.name} cannot lock files: {problem.strerror}",
            hint="set RECON_DIR to a local directory, or stack.backend to a bucket",
        ) from None
    return True


# --- S3 ------------------------------------------------------------------------------------------------------------


class S3Lock(Lock):
    """An object that is written only where there is none (If-None-Match), renewed and deleted only while it is ours
    (If-Match). See ``Bucket`` for the source.

    Needs s3:GetObject, s3:PutObject and s3:DeleteObject on the key, and s3:ListBucket on the bucket for its prefix:
    S3 may answer 403 for an object that does not exist, and listing tells the two apart.
    """

    def __init__(self, stack: Stack, aws: Aws) -> None:
        self._aws = aws
        self._bucket = Bucket(location_of(stack), aws)
        self.key = f"{self._bucket.place.prefix}locks/{scope_key(stack)}.json"
        self._mine: Holder | None = None
        self._etag = ""

    def _me(self, command: str) -> Holder:
        arn = str(self._aws.call("sts", "GetCallerIdentity").get("Arn") or "")
        return replace(super()._me(command), who=arn)

    def _read(self) -> tuple[Holder, str] | None:
        found = self._bucket.get(self.key)
        if found is None:
            return None
        holder = _holder(found.body.decode("utf-8", errors="replace"))
        silent = (datetime.now(UTC) - found.modified).total_seconds()
        return replace(holder, silent=silent if silent > LIFE else 0.0), found.etag

    def holder(self) -> Holder | None:
        found = self._read()
        return found[0] if found else None

    def force_unlock(self, holder: Holder) -> bool:
        for _ in range(5):
            found = self._read()
            if found is None:
                return True
            if found[0].id != holder.id:
                return False
            if self._bucket.delete(self.key, found[1]):
                return True
        return False

    def _body(self, holder: Holder) -> bytes:
        beat = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return json.dumps({**asdict(holder), "beat": beat}).encode()

    def _take(self, me: Holder) -> HeldLock | None:
        for attempt in range(5):
            try:
                etag = self._bucket.put(self.key, self._body(me), new=True)
            except KeyboardInterrupt:
                # The request may have been served.
                with contextlib.suppress(ReconError):
                    self.force_unlock(me)
                raise
            except AwsError as error:
                if error.aws_code in CONFLICT:
                    time.sleep(0.1 * 2**attempt * (0.5 + random.random()))
                    continue
                if error.aws_code not in REFUSED:
                    raise
                # Held; by us, if only the answer to a first try was lost.
                found = self._read()
                if found is None or found[0].id != me.id:
                    return None
                etag = found[1]
            self._mine, self._etag = me, etag
            return HeldLock(me, aws=self._aws)
        return None

    def _prove(self) -> bool:
        if self._mine is None:
            return False
        try:
            self._etag = self._bucket.put(self.key, self._body(self._mine), etag=self._etag)
            return True
        except AwsError as error:
            if error.aws_code in MISSING:
                return False
            if error.aws_code not in REFUSED | CONFLICT:
                raise
        found = self._read()
        if found is None or found[0].id != self._mine.id:
            return False
        self._etag = found[1]
        return True

    def _release(self) -> None:
        """Raises nothing: a lock that could not be deleted grows silent, and a person frees it."""
        if self._mine is None:
            return
        with contextlib.suppress(ReconError):
            if not self._bucket.delete(self.key, self._etag):
                self.force_unlock(self._mine)
        self._mine = None


# --- both ----------------------------------------------------------------------------------------------------------


def lock_for(stack: Stack, aws: Aws | None = None) -> Lock:
    """The lock of a stack, where its backend keeps it; ``aws`` reaches a bucket.

    The connection should be one of its own, so that a run that is told to stop still lets go.
    Raises ReconError where there is a bucket and no connection.
    """
    place = location_of(stack)
    if not place.bucket:
        return LocalLock(stack.scope, place.directory)
    if aws is None:
        raise ReconError(f"the lock is in {place}, and there is no connection to it")
    return S3Lock(stack, aws)


def _holder(text: str) -> Holder:
    """The holder that a lock names. One that cannot be understood is held by somebody unknown."""
    known = {f.name for f in fields(Holder)}
    try:
        written: Any = json.loads(text)
        return Holder(**{k: v for k, v in written.items() if k in known})
    except (ValueError, TypeError, AttributeError):
        return UNKNOWN


def user_name() -> str:
    """The name of the user that runs this, or the number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
