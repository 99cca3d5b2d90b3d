"""Files that the YAML names: read only below the state directory, and only what is a file of a sane size."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from reconciler.errors import ReconError


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
        # Opening a pipe would wait for a writer; what kind of file it is, is asked of what was opened.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise ReconError(f"{what} {path} is not a regular file", hint="name a file")
            data = file.read(limit + 1)
    except (OSError, ValueError, RuntimeError) as problem:  # the last two: a NUL, links in a circle
        why = (isinstance(problem, OSError) and problem.strerror) or type(problem).__name__
        raise ReconError(f"{what} {path} could not be read: {why}", hint="check its name and permissions") from None
    if len(data) > limit:
        raise ReconError(f"{what} {path} has more than {limit} bytes", hint="make it smaller")
    return data
