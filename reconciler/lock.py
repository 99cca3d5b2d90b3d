"""The lock of a stack: one run at a time may apply. It is a local file or an S3 object that names its holder.

Both have the same interface: ``lock_for(stack, aws).held(command, timeout)`` holds the lock or raises Locked,
``holder()`` returns who holds it, ``force_unlock(holder)`` is what `recon unlock` calls. While a lock is held, a thread
renews it every few seconds. If it is lost (somebody freed it), ``HeldLock.on_lost`` callbacks stop the run.

The local lock is a file under ``flock``: the kernel frees it when its process dies, so the next run gets it at once.
With a bucket nobody can know whether a holder without heartbeats is dead or only disconnected, so only a person frees
its lock; the message says how old the last heartbeat is.
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
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from reconciler.backend import (
    CONFLICT,
    MAX_RECORD,
    MISSING,
    REFUSED,
    Bucket,
    Location,
    location_of,
    parse_record,
    scope_file,
    scope_key,
)
from reconciler.errors import AwsError, Locked, ReconError, Refused
from reconciler.files import NotAFile, OwnDirectory, reason

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.model import Stack

HEARTBEAT_SECONDS = 20.0
"""Seconds between two heartbeats of a holder."""
STALE_SECONDS = 120.0
"""Seconds without a heartbeat after which a holder counts as silent, and stops its own run."""
FREE_SECONDS = 10.0
"""How long a lock that nobody holds is tried again: it was released, or read, in just this moment."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock: principal (ARN, where known), user, host, process, command, since when (ISO 8601).

    ``id`` identifies the run, which recognises its own lock after a lost response. ``silent`` is the age of the last
    heartbeat in seconds, 0 where that is not stale.
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
            text += f"; its last heartbeat was {_age(self.silent)} ago"
        return text


UNKNOWN = Holder("unknown", "unknown", 0, "unknown", "unknown")
"""The holder of a lock that cannot be parsed."""


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{round(seconds)} seconds"
    return f"{round(seconds / 60)} minutes" if seconds < 7200 else f"{round(seconds / 3600)} hours"


class HeldLock:
    """A lock that is held. ``previous`` is the dead run that it was taken over from, if any; ``aws`` is the lock's own
    connection, which still writes the journal after Ctrl-C has stopped the run's."""

    def __init__(self, holder: Holder, previous: Holder | None = None, aws: Aws | None = None) -> None:
        self.holder = holder
        self.previous = previous
        self.aws = aws
        self.lost = threading.Event()
        self._callbacks: list[Callable[[], None]] = []

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Call ``callback``, from another thread, as soon as the lock is no longer held."""
        self._callbacks.append(callback)
        if self.lost.is_set():
            callback()

    def mark_lost(self) -> None:
        """Say that the lock is no longer held, once."""
        if self.lost.is_set():
            return
        self.lost.set()
        for callback in list(self._callbacks):
            callback()


class Lock(ABC):
    """The lock of one stack scope."""

    heartbeat = HEARTBEAT_SECONDS
    whose = "this stack"
    """Whose lock it is, in a sentence."""
    pause = 2.0
    """Seconds between two attempts while waiting."""

    @abstractmethod
    def holder(self) -> Holder | None:
        """Who holds the lock now, or None. Raises ReconError if that cannot be read."""

    @abstractmethod
    def force_unlock(self, holder: Holder) -> bool:
        """Free the lock that ``holder`` holds. False if another run holds it now."""

    @abstractmethod
    def _acquire(self, me: Holder) -> HeldLock | None:
        """Try once to get the lock; None if somebody holds it."""

    @abstractmethod
    def _renew(self) -> bool:
        """Send a heartbeat; False if the lock is no longer ours."""

    @abstractmethod
    def _release(self) -> None:
        """Release our own lock; another run's stays."""

    def _me(self, command: str) -> Holder:
        since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return Holder(user_name(), socket.gethostname(), os.getpid(), command, since, secrets.token_hex(8))

    @contextlib.contextmanager
    def held(
        self, command: str, timeout: float = 0.0, *, on_wait: Callable[[str], None] = lambda message: None
    ) -> Iterator[HeldLock]:
        """Hold the lock while the block runs. Waits up to ``timeout`` seconds for it; ``on_wait`` gets a message for
        people.

        Raises Locked, which names the holder.
        """
        held = self._wait(self._me(command), timeout, on_wait)
        ended = threading.Event()
        renewal = threading.Thread(target=self._renew_until, args=(held, ended), name="recon-lock", daemon=True)
        renewal.start()
        try:
            yield held
        finally:
            ended.set()
            renewal.join(timeout=5.0)  # a renewal never creates a lock, so one that is still in flight is harmless
            if not held.lost.is_set():
                self._release()

    def _wait(self, me: Holder, timeout: float, on_wait: Callable[[str], None]) -> HeldLock:
        """Try until the lock is ours. Raises Locked after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        reported = ""
        while (held := self._acquire(me)) is None:
            holder = self.holder()
            remaining = deadline - time.monotonic()
            if holder is None and remaining > -FREE_SECONDS:
                time.sleep(0.02 + random.random() / 20)
                continue
            if remaining <= 0:
                raise Locked(
                    f"another run holds the lock of {self.whose}: {holder or 'it changes hands all the time'}",
                    hint="it is probably dead: check, then free the lock with: recon unlock"
                    if holder and holder.silent
                    else "wait for it (--lock-timeout 5m), or if it is dead: recon unlock",
                )
            if holder is not None and reported != holder.id:
                reported = holder.id
                on_wait(f"Waiting for the lock, held by {holder}")
            time.sleep(min(self.pause * (0.75 + random.random() / 2), max(0.05, remaining)))
        return held

    def _renew_until(self, held: HeldLock, ended: threading.Event) -> None:
        """Renew the lock until ``ended``. Without a heartbeat for ``STALE_SECONDS`` the lock counts as lost."""
        renewed = time.monotonic()
        while not ended.wait(self.heartbeat):
            try:
                ours = self._renew()
                if ours:
                    renewed = time.monotonic()
            except ReconError:
                ours = time.monotonic() - renewed < STALE_SECONDS
            if not ours:
                held.mark_lost()
                return


# --- local ---------------------------------------------------------------------------------------------------------


class LocalLock(Lock):
    """A file in a directory (default ``.recon``), under ``flock``. For runs that share a file system."""

    heartbeat = 1.0
    pause = 0.2

    def __init__(self, scope: str, directory: str | Path = ".recon") -> None:
        self._directory = OwnDirectory(directory)
        self._name = f"lock-{scope_file(scope)}.json"
        self.path = self._directory.path / self._name
        self._file: IO[str] | None = None

    def holder(self) -> Holder | None:
        """A lock that cannot be read (a link, a pipe, another user's file) has an unknown holder, and can be freed."""
        try:
            with self._open(os.O_RDONLY) as file:
                for _ in range(50):
                    if _flock(file, shared=True):
                        return None
                    if text := self._text(file):
                        return _parse_holder(text)
                    time.sleep(0.02)  # its holder is about to write who it is
        except FileNotFoundError:
            return None
        except (OSError, NotAFile):
            self._make_directory()  # raises where the directory itself is not ours
        return UNKNOWN

    def force_unlock(self, holder: Holder) -> bool:
        now = self.holder()
        if now is not None and now.id != holder.id:
            return False
        try:
            self._directory.delete(self._name)
        except OSError as problem:
            raise ReconError(f"the lock {self.path} cannot be deleted: {reason(problem)}", hint="delete it") from None
        return True

    def _make_directory(self) -> None:
        try:
            self._directory.make()
        except OSError as problem:
            raise ReconError(
                f"the lock {self.path} cannot be created: {reason(problem)}", hint="is the directory writable?"
            ) from None

    def _open(self, flags: int) -> IO[str]:
        return os.fdopen(
            self._directory.open(self._name, flags),
            "r+" if flags & os.O_RDWR else "r",
            encoding="utf-8",
            errors="replace",
        )

    @staticmethod
    def _text(file: IO[str]) -> str:
        file.seek(0)
        return file.read(MAX_RECORD + 1)

    def _acquire(self, me: Holder) -> HeldLock | None:
        self._make_directory()
        try:
            file = self._open(os.O_CREAT | os.O_RDWR)
        except OSError as problem:
            raise ReconError(
                f"the lock {self.path} cannot be created: {reason(problem)}", hint="is the directory writable?"
            ) from None
        if not _flock(file) or not self._is_at_path(file):
            file.close()
            return None
        previous = self._text(file)
        file.seek(0)
        file.truncate()
        file.write(json.dumps(asdict(me)))
        file.flush()
        self._file = file
        return HeldLock(me, _parse_holder(previous) if previous.strip() else None)

    def _is_at_path(self, file: IO[str]) -> bool:
        """Whether the open file is the one at the path: it may have been deleted and created again in between."""
        try:
            return self._directory.is_at(self._name, file.fileno())
        except (OSError, NotAFile):
            return False

    def _renew(self) -> bool:
        return self._file is not None and self._is_at_path(self._file)

    def _release(self) -> None:
        if self._file is None:
            return
        if self._is_at_path(self._file):
            with contextlib.suppress(OSError, ReconError):  # the kernel frees it all the same
                self._directory.delete(self._name)
        self._file.close()
        self._file = None


def _flock(file: IO[str], *, shared: bool = False) -> bool:
    """Whether we got the lock of the file. Raises ReconError if the file system has no locks."""
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
    """An S3 object that is created only if there is none (If-None-Match), renewed and deleted only while it is ours
    (If-Match). See ``Bucket`` for the source.

    Needs s3:GetObject, s3:PutObject and s3:DeleteObject on the key, and s3:ListBucket on the bucket for its prefix:
    S3 may answer 403 for an object that does not exist, and listing distinguishes the two.
    """

    def __init__(self, stack: Stack, aws: Aws, scope: str = "") -> None:
        self._aws = aws
        self._bucket = Bucket(location_of(stack), aws)
        self.key = f"{self._bucket.location.prefix}locks/{scope_key(scope or stack.scope)}.json"
        self._owner: Holder | None = None
        self._etag = ""

    def _me(self, command: str) -> Holder:
        arn = str(self._aws.call("sts", "GetCallerIdentity").get("Arn") or "")
        return replace(super()._me(command), who=arn)

    def _read(self) -> tuple[Holder, str] | None:
        found = self._bucket.get(self.key)
        if found is None:
            return None
        holder = _parse_holder(found.body.decode("utf-8", errors="replace"))
        silent = (datetime.now(UTC) - found.modified).total_seconds()
        return replace(holder, silent=silent if silent > STALE_SECONDS else 0.0), found.etag

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
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return json.dumps({**asdict(holder), "beat": now}).encode()

    def _acquire(self, me: Holder) -> HeldLock | None:
        for attempt in range(5):
            try:
                etag = self._bucket.put(self.key, self._body(me), new=True)
            except KeyboardInterrupt:
                # S3 may have created the object.
                with contextlib.suppress(ReconError):
                    self.force_unlock(me)
                raise
            except AwsError as error:
                if error.aws_code in UNKNOWN_CONDITION:
                    raise _no_conditions(self._bucket.location) from None
                if error.aws_code in CONFLICT:
                    time.sleep(0.1 * 2**attempt * (0.5 + random.random()))
                    continue
                if error.aws_code not in REFUSED:
                    raise
                # Held; by us, if only the response to an earlier attempt was lost.
                found = self._read()
                if found is None or found[0].id != me.id:
                    return None
                etag = found[1]
            self._owner, self._etag = me, etag
            self._check_conditions()
            return HeldLock(me, aws=self._aws)
        return None

    def _check_conditions(self) -> None:
        """Try both conditions on our own lock: the store must refuse both. One that ignores them gives the lock to
        every run at once. Raises Refused; the lock is then released, as after any other error."""
        assert self._owner is not None
        try:
            for condition in ({"new": True}, {"etag": '"00000000000000000000000000000000"'}):
                try:
                    self._bucket.put(self.key, self._body(self._owner), **condition)
                except AwsError as error:
                    if error.aws_code not in REFUSED | CONFLICT | MISSING:
                        raise
                else:
                    raise _no_conditions(self._bucket.location)
        except BaseException:
            self._release()
            raise

    def _renew(self) -> bool:
        if self._owner is None:
            return False
        try:
            self._etag = self._bucket.put(self.key, self._body(self._owner), etag=self._etag)
            return True
        except AwsError as error:
            if error.aws_code in MISSING:
                return False
            if error.aws_code not in REFUSED | CONFLICT:
                raise
        found = self._read()
        if found is None or found[0].id != self._owner.id:
            return False
        self._etag = found[1]
        return True

    def _release(self) -> None:
        """Raises nothing: a lock that could not be deleted has no more heartbeats, and a person frees it."""
        if self._owner is None:
            return
        with contextlib.suppress(ReconError):
            if not self._bucket.delete(self.key, self._etag):
                self.force_unlock(self._owner)
        self._owner = None


UNKNOWN_CONDITION = frozenset({"NotImplemented", "501"})
"""What a store answers that knows no conditional writes, and says so."""


def _no_conditions(location: Location) -> Refused:
    return Refused(
        f"the store of {location} ignores conditional writes (If-None-Match, If-Match): two runs could hold its lock",
        hint="use Amazon S3, or a store that has them; or leave out stack.backend where all runs are on one machine",
    )


# --- both ----------------------------------------------------------------------------------------------------------


def lock_for(stack: Stack, aws: Aws | None = None, scope: str = "") -> Lock:
    """The lock of a stack, or with ``scope`` that of a former one, in its backend; ``aws`` is the connection for a
    bucket.

    Give it a connection of its own, so that a run that is stopped can still release the lock.
    Raises ReconError for a bucket without a connection.
    """
    location = location_of(stack)
    if location.bucket and aws is None:
        raise ReconError(f"the lock is in {location}, and there is no connection to it")
    lock = S3Lock(stack, aws, scope) if location.bucket and aws else LocalLock(scope or stack.scope, location.directory)
    if scope and scope != stack.scope:
        lock.whose = f"the stack {scope}, which `stack.formerly` names"
    return lock


@contextlib.contextmanager
def held_together(
    stack: Stack, aws: Aws | None, command: str, timeout: float, *, on_wait: Callable[[str], None]
) -> Iterator[HeldLock]:
    """Hold the lock of a stack and those of the stacks that it was formerly while the block runs, taken in sorted order
    so that no two runs wait for each other. Yields the stack's own, which is lost as soon as any is.

    Waits up to ``timeout`` seconds for all of them. Raises Locked, which names the holder."""
    deadline = time.monotonic() + timeout
    with contextlib.ExitStack() as held:
        taken: dict[str, HeldLock] = {}
        for scope in stack.scopes:
            left = max(0.0, deadline - time.monotonic())
            taken[scope] = held.enter_context(lock_for(stack, aws, scope).held(command, left, on_wait=on_wait))
        own = taken.pop(stack.scope)
        for other in taken.values():
            other.on_lost(own.mark_lost)
        yield own


def _parse_holder(text: str) -> Holder:
    """The holder that a lock names; ``UNKNOWN`` if the text is not what recon writes."""
    record = parse_record(text)
    texts = {name: record.get(name, "") for name in ("user", "host", "command", "since", "id", "who")}
    pid = record.get("pid")
    if not all(isinstance(value, str) and len(value) <= 1000 for value in texts.values()):
        return UNKNOWN
    if type(pid) is not int or not all(texts[name] for name in ("user", "host", "command", "since")):
        return UNKNOWN
    return Holder(pid=pid, **texts)


def user_name() -> str:
    """The name of the operating system user that runs this, or the uid."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
