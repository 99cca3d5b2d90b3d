"""Local files, opened so that they are what they should be: files that the YAML or the command line names, and the
files in recon's own directory.

What is no regular file (a pipe, a device, a directory) is refused before it is opened, since it could wait for a writer
or never end. Files that recon writes are reached through no link: a link can come with a checkout, and lead anywhere.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TextIO

from reconciler.errors import ReconError

MAX_GIVEN = 256 * 2**20
"""Bytes of a file that the command line names: a plan of ten thousand domains has 50 MB."""

_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_DIRECTORY = getattr(os, "O_DIRECTORY", 0)
_KINDS = {
    stat.S_IFDIR: "a directory", stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip


class NotAFile(ReconError):
    """What should be a regular file is something else, or belongs to somebody else."""


class TooLarge(ReconError):
    """A file has more bytes than what it should be can have."""


def reason(problem: Exception) -> str:
    """The words of the operating system for a file that could not be opened, read or written."""
    return (isinstance(problem, OSError) and problem.strerror) or type(problem).__name__


# --- read ----------------------------------------------------------------------------------------------------------


def read_file(name: str, root: str, *, what: str, limit: int, absolute: bool = False) -> bytes:
    """The bytes of a file that the YAML names, relative to the state directory ``root``; ``what`` says in messages what
    it is ("the key file").

    A relative name must stay below ``root``, also through links: whoever writes YAML shall not reach for what else the
    machine has. An absolute one is read where ``absolute`` allows it. Pipes and devices are not read, nor what has more
    than ``limit`` bytes. Raises ReconError.
    """
    path = Path(root) / name
    outside = ReconError(f"{what} {path} is outside the state directory", hint="move it below the state directory")
    try:
        if Path(name).is_absolute():
            if not absolute:
                raise outside
        elif not path.resolve().is_relative_to(Path(root).resolve()):
            raise outside
        return read_regular(path, f"{what} {path}", limit)
    except (OSError, ValueError, RuntimeError) as problem:  # the last two: a NUL, links in a circle
        raise ReconError(
            f"{what} {path} could not be read: {reason(problem)}", hint="check its name and permissions"
        ) from None


def read_given(path: str, limit: int = MAX_GIVEN) -> str:
    """The text of a file that the command line names. Raises ReconError where it does not exist, is no regular file,
    has more than ``limit`` bytes, unpacked where it is compressed, or is not UTF-8."""
    try:
        return _unpacked(read_regular(path, path, limit), path, limit).decode("utf-8")
    except UnicodeDecodeError:
        raise ReconError(f"{path} is not UTF-8 text") from None
    except (OSError, ValueError) as problem:
        raise ReconError(f"{path} could not be read: {reason(problem)}") from None


def compressed(file: TextIO, pieces: Iterable[str]) -> None:
    """Write ``pieces`` compressed (RFC 1952); the same text has the same bytes whenever it is written."""
    import gzip

    with gzip.GzipFile(filename="", mode="wb", fileobj=file.buffer, mtime=0) as packed:
        for piece in pieces:
            packed.write(piece.encode())


def _unpacked(data: bytes, name: str, limit: int) -> bytes:
    """``data`` as it was before it was compressed, if it was. Never more than ``limit`` bytes are unpacked."""
    import zlib

    if not data.startswith(b"\x1f\x8b"):
        return data
    unpacking = zlib.decompressobj(wbits=31)
    try:
        text = unpacking.decompress(data, limit + 1)
    except zlib.error:
        raise ReconError(f"{name} cannot be unpacked: it is not what gzip wrote") from None
    if len(text) > limit:
        raise TooLarge(f"{name} has more than {limit:,} bytes when it is unpacked", hint="make it smaller")
    if not unpacking.eof or unpacking.unused_data:
        raise ReconError(f"{name} cannot be unpacked: it was cut off, or something follows it")
    return text


def read_regular(path: str | Path, name: str, limit: int) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes; ``name`` stands for it in messages.

    Raises NotAFile, ReconError for a larger one, OSError and ValueError as ``open``.
    """
    check_regular(Path(path).stat(), name)  # opening a pipe or a device could wait or have an effect
    with os.fdopen(os.open(path, os.O_RDONLY | _FLAGS), "rb") as file:
        found = os.fstat(file.fileno())
        check_regular(found, name)
        data = b"" if found.st_size > limit else file.read(limit + 1)
    if found.st_size > limit or len(data) > limit:
        raise TooLarge(f"{name} has more than {limit:,} bytes", hint="make it smaller")
    return data


def check_regular(found: os.stat_result, name: str) -> None:
    """Raises NotAFile for what is no regular file."""
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise NotAFile(f"{name} is {kind}, not a regular file", hint="name a file")


# --- write ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def replacing(path: str, on_replace: Callable[[str], None]) -> Iterator[tuple[TextIO, Callable[[], None]]]:
    """A new file that takes the place of ``path`` where the block called ``keep``, and is deleted otherwise, so that a
    reader sees the old text or the new, never a part.

    ``on_replace`` gets a sentence about the file that was there. Raises ReconError, for a path that is a link or no
    regular file, too.
    """
    target = Path(path)
    kept: list[bool] = []
    try:
        old = _replaceable(target)
        part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK | _FLAGS, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                yield file, lambda: kept.append(True)
            if kept:
                part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, ValueError) as problem:
        raise ReconError(f"{path} could not be written: {reason(problem)}") from None
    if kept and old is not None:
        on_replace(f"Replaced {path}, a file of {old.st_size:,} bytes.")


def _replaceable(path: Path) -> os.stat_result | None:
    """What is at a path that will be written, None where nothing is. Raises NotAFile, OSError."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(found.st_mode):
        raise NotAFile(
            f"{path} is a symbolic link to {os.readlink(path)}: nothing is written through links",  # noqa: PTH115
            hint="delete the link, or name the file itself",
        )
    check_regular(found, str(path))
    if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        raise NotAFile(f"{path} belongs to another user (uid {found.st_uid})", hint="name another file")
    return found


class OwnDirectory:
    """recon's own directory (``.recon``), readable by its user alone, with what may be done in it. No link is followed,
    neither to a file in it nor, below the working directory, to itself; only regular files of our own are opened."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @contextlib.contextmanager
    def _entered(self, *, make: bool = False) -> Iterator[int]:
        """A handle of the directory. Raises NotAFile, OSError."""
        start, names = (self.path.parent, [self.path.name]) if self.path.is_absolute() else (Path(), self.path.parts)
        if make:
            start.mkdir(mode=0o700, parents=True, exist_ok=True)
        here = os.open(start, os.O_RDONLY | _DIRECTORY | _FLAGS)
        try:
            for name in names:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, 0o700, dir_fd=here)
                        os.chmod(name, 0o700, dir_fd=here)
                if not stat.S_ISDIR(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode):
                    raise NotAFile(
                        f"{self.path} is a symbolic link or no directory: it is not used",
                        hint="delete it, or set RECON_DIR to a directory of your own",
                    )
                inner = os.open(name, os.O_RDONLY | _DIRECTORY | _NO_LINK | _FLAGS, dir_fd=here)
                os.close(here)
                here = inner
            yield here
        finally:
            os.close(here)

    def make(self) -> None:
        """Create the directory, with a ``.gitignore`` in it, if it does not exist. Raises NotAFile, OSError."""
        with contextlib.suppress(FileNotFoundError), self._entered():
            return
        with self._entered(make=True) as here:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK | _FLAGS
            with contextlib.suppress(FileExistsError):
                handle = os.open(".gitignore", flags, 0o600, dir_fd=here)
                os.write(handle, b"*\n")
                os.close(handle)

    def open(self, name: str, flags: int) -> int:
        """A handle of a regular file of our own in the directory; a new one is for us alone.

        Raises NotAFile for anything else at that name, OSError (FileNotFoundError).
        """
        with self._entered() as here:
            with contextlib.suppress(FileNotFoundError):
                self._check(os.stat(name, dir_fd=here, follow_symlinks=False), name)
            handle = os.open(name, flags | _NO_LINK | _FLAGS, 0o600, dir_fd=here)
            try:
                self._check(os.fstat(handle), name)
            except NotAFile:
                os.close(handle)
                raise
            return handle

    def _check(self, found: os.stat_result, name: str) -> None:
        path = self.path / name
        check_regular(found, str(path))
        if found.st_uid != os.geteuid() or found.st_nlink > 1:
            whose = f"belongs to another user (uid {found.st_uid})" if found.st_uid != os.geteuid() else "has two names"
            raise NotAFile(f"{path} {whose}: it is not used", hint="delete it, or set RECON_DIR to another directory")

    def read(self, name: str, limit: int) -> bytes:
        """The last ``limit`` bytes of a file. Raises NotAFile, OSError."""
        with os.fdopen(self.open(name, os.O_RDONLY), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - limit))
            return file.read(limit)

    def is_at(self, name: str, handle: int) -> bool:
        """Whether the open file is the one of that name: it may have been deleted and created again. Raises OSError."""
        with self._entered() as here:
            return os.path.samestat(os.fstat(handle), os.stat(name, dir_fd=here, follow_symlinks=False))

    def rename(self, name: str, to: str) -> None:
        """Give a file another name; what had it is replaced. Raises NotAFile, OSError."""
        with self._entered() as here:
            os.rename(name, to, src_dir_fd=here, dst_dir_fd=here)

    def delete(self, name: str) -> None:
        """Delete what has a name, a link itself, if it is there. Raises NotAFile, OSError."""
        with contextlib.suppress(FileNotFoundError), self._entered() as here:
            os.unlink(name, dir_fd=here)
