"""The command line: wiring, printing and exit codes; nothing else.

Data is written to standard output, everything for people to standard error. Exit codes are the contract's: 0 done,
1 error, 2 changes or drift, 3 refused by a safeguard, 130 interrupted.
"""

from __future__ import annotations

import copy
import gc
import logging
import os
import re
import sys
from functools import cache
from typing import Annotated, Any, NoReturn

import typer

from reconciler.cli import (
    account,
    completion,
    doctor,
    fleet,
    importing,
    pipeline,
    progress,
    read_commands,
    records,
    senders,
    smtp,
    suppression,
    suppression_add,
    suppression_stats,
    write_commands,
)
from reconciler.cli.app import app
from reconciler.cli.common import Output
from reconciler.cli.examples import add_examples
from reconciler.cli.lazy_options import lazy_options
from reconciler.cli.redacting import redacting
from reconciler.errors import ReconError, internal_error

COMMANDS = (account, doctor, fleet, importing, pipeline, read_commands, records, senders, smtp, suppression,
            suppression_add, suppression_stats, write_commands)  # fmt: skip
"""The modules of the commands, which register themselves with ``app`` when they are imported."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """The entry point: turns every error into the contract's exit code and a message, never a traceback."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # A run's objects live until it ends: collecting garbage every few hundred objects finds next to none, and takes a
    # fifth of the CPU of a large plan. Objects without cycles are still freed immediately.
    gc.freeze()
    gc.set_threshold(2_000_000, 50, 100)
    code = run(arguments)
    gc.freeze()  # nor does looking through all of it once more as the process ends
    sys.exit(code)


@cache
def _command(first: str) -> Any:
    """The tree of commands, built once in a process. If the first word of the command line names a command or a group,
    the others are left out: building all of them takes a good part of a short run."""
    needed = copy.copy(app)
    names = (c.name or typer.main.get_command_name(c.callback.__name__) for c in app.registered_commands)  # type: ignore[union-attr]
    commands = [c for name, c in zip(names, app.registered_commands, strict=True) if name == first]
    groups = [g for g in app.registered_groups if g.name == first]
    if commands or groups:
        needed.registered_commands, needed.registered_groups = commands, groups
    command: Any = typer.main.get_command(needed)
    command.commands = {name: command.commands[name] for name in ORDER if name in command.commands}
    _offer_redact(command)
    lazy_options(command)
    _whole_sentences(command)
    add_examples(command)
    if completion.wanted():
        completion.complete_all(command)
    return command


ORDER = (
    "init", "validate", "plan", "apply", "drift", "show", "destroy", "import", "doctor", "smtp", "suppression",
    "account", "iam-policy", "unlock", "history", "graph", "schema", "sandbox", "records", "senders", "list",
    "fleet", "rule",
)  # fmt: skip
"""The commands in the help: first what everybody uses, as they use it."""


REDACT = "--redact"


def _offer_redact(command: Any) -> None:
    """Name the option in the help of every command. ``run`` obeys it, before the command line is parsed: what is wrong
    with that is printed, too."""
    alone = typer.Typer(add_completion=False)
    alone.command()(_redact)
    option = typer.main.get_command(alone).params[0]
    option.expose_value = False
    pending = [command]
    for one in pending:
        pending += getattr(one, "commands", {}).values()
        if not hasattr(one, "commands"):
            one.params.append(option)


def _whole_sentences(command: Any) -> None:
    """List each command with the first sentence of its help, wrapped: typer would cut a long one."""
    for one in getattr(command, "commands", {}).values():
        one.short_help = re.split(r"(?<=\.) ", " ".join((one.help or "").split()))[0]
        _whole_sentences(one)


def _redact(
    redact: Annotated[
        bool, typer.Option(REDACT, help="Print no account id, access key id or local part of an e-mail address.")
    ] = False,
) -> None:
    """The option alone."""


RENAMED = {"--look-outside": "--check-public-dns"}
"""Options by their names before 0.2.0, which still work for one release and are not in the help."""


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    arguments = [RENAMED.get(argument, argument) for argument in arguments] or ["--help"]
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if REDACT not in options:
        return _run(arguments)
    with redacting():
        return _run([a for number, a in enumerate(arguments) if a != REDACT or number >= len(options)])


def _run(arguments: list[str]) -> int:
    umask = os.umask(0o077)  # what recon writes, its user alone may read
    try:
        with progress.shown(arguments, _format_of(arguments)):
            return _run_command(arguments)
    finally:
        os.umask(umask)


def _run_command(arguments: list[str]) -> int:
    _debug(arguments)
    # typer bundles its own click, whose exceptions it does not export by name.
    command_line_error: Any = typer.BadParameter.__mro__[2]
    try:
        code = _command(arguments[0] if arguments else "").main(
            args=arguments, prog_name="recon", standalone_mode=False
        )
        sys.stdout.flush()
        return int(code) if isinstance(code, int) else 0
    except typer.Exit as done:
        return int(done.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write("Interrupted.\n")
        return 130
    except command_line_error as problem:
        if type(problem).__name__ == "NoArgsIsHelpError":
            sys.stderr.write(f"{problem.ctx.get_help()}\n\n")
        _out_of(arguments).error(_command_line_error(problem))
        return 1
    except ReconError as error:
        _out_of(arguments).error(error)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output has closed it (`recon plan | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as problem:
        _out_of(arguments).error(_system_error(problem))
        return 1
    except Exception as problem:
        _out_of(arguments).error(internal_error(problem))
        return 1


def _system_error(problem: OSError) -> ReconError:
    """What the system refused, such as a full disk."""
    place = f": {problem.filename}" if problem.filename else ""
    return ReconError(f"{problem.strerror or problem}{place} ({type(problem).__name__})")


def _debug(arguments: list[str]) -> None:
    """Print tracebacks of recon's faults to standard error with -v, and all that recon logs with RECON_DEBUG."""
    verbose = any(re.fullmatch(r"-v+|--verbose", argument) for argument in arguments)
    if os.environ.get("RECON_DEBUG") or verbose:
        logger = logging.getLogger("recon" if os.environ.get("RECON_DEBUG") else "recon.errors")
        logger.handlers[:] = [logging.StreamHandler()]
        logger.setLevel(logging.DEBUG)


def _command_line_error(problem: Any) -> ReconError:
    if type(problem).__name__ == "NoArgsIsHelpError":
        return ReconError(f"no command after `{problem.ctx.command_path}`", hint="the commands are listed above")
    return ReconError(problem.format_message(), hint="recon --help, or recon COMMAND --help")


def _out_of(arguments: list[str]) -> Output:
    """The output settings of a command line that failed."""
    return Output("json" if _format_of(arguments) == "json" else "text", "--no-color" in arguments)


def _format_of(arguments: list[str]) -> str:
    """The ``--format`` of a command line that is not parsed."""
    format = "text"
    for number, argument in enumerate(arguments):
        if argument == "--format" and number + 1 < len(arguments):
            format = arguments[number + 1]
        elif argument.startswith("--format="):
            format = argument.partition("=")[2]
    return format
