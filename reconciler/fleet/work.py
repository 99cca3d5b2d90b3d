"""One unit, in a worker: the command as anybody would run it on that stack, and its report.

The worker uses its own credentials: none travel. A unit is run again where a worker died, so it must be safe to repeat;
all commands of a fleet only read.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler import __version__
from reconciler.errors import ReconError
from reconciler.fleet.reports import Reports

_ONE_AT_A_TIME = threading.Lock()
"""Output and environment belong to the process: of a worker with several threads one works."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker must know about a unit; all of it may be pickled. ``run`` is the command line's entry, which prints
    and returns the exit code."""

    run: Callable[[list[str]], int]
    command: str
    options: tuple[str, ...]
    unit: str
    state: str
    env: str | None
    profile: str | None
    account: str
    out: str
    run_id: str
    version: str = __version__


def carry_out(task: Task) -> None:
    """Run the unit, unless it has its report already, and store the report.

    Whatever the command says is a result, not an error. Raises ReconError where the report cannot be stored, or where
    this worker has another recon than the coordinator.
    """
    if task.version != __version__:
        raise ReconError(
            f"the worker has recon {__version__}, and the run was started with {task.version}",
            hint="install the same version on all workers",
        )
    with _ONE_AT_A_TIME:
        reports = Reports(task.out, task.run_id)
        if reports.has(task.unit):
            return
        reports.attempt(task.unit)
        code, text, said = _run(task)
        reports.write(task.unit, _report(task, code, text, said))


def _run(task: Task) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of the command on the unit's stack."""
    arguments = [task.command, task.state, "--format", "json", *task.options]
    if task.command != "validate":
        arguments.append("-q")
    if task.env is not None:
        arguments += ["--env", task.env]
    out, err = io.StringIO(), io.StringIO()
    with _environment(task), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = task.run(arguments)
    return code, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def _environment(task: Task) -> Iterator[None]:
    """The unit's profile; and no job summary, which belongs to the fleet."""
    changes = {"GITHUB_STEP_SUMMARY": None, **({"AWS_PROFILE": task.profile} if task.profile else {})}
    before = {name: os.environ.get(name) for name in changes}
    _set(changes)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _report(task: Task, code: int, text: str, said: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        message = said.strip().splitlines()[-1:] or ["the command printed nothing"]
        diagnostic = {"severity": "error", "code": "no-output", "message": message[0], "hint": ""}
        document = {"outcome": "error", "diagnostics": [diagnostic]}
        code = code or 1
    return {
        "format_version": 1, "id": task.unit, "command": task.command,
        "account": document.get("account") or task.account,
        "exit_code": code, "outcome": document.get("outcome"), "summary": document.get("summary") or {},
        "recon_version": __version__, "document": document,
    }  # fmt: skip
