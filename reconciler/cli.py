"""The command line: wiring, printing and exit codes; nothing else.

Data goes to standard output, everything for people to standard error. Exit codes are the contract's: 0 done, 1 error,
2 changes or drift, 3 refused by a safeguard, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from reconciler import __version__
from reconciler.errors import InvalidState, ReconError, Refused, Stale

if TYPE_CHECKING:
    from reconciler.model import Diagnostic, Plan, Result, State
    from reconciler.running import Planned

app = typer.Typer(
    name="recon", no_args_is_help=True, add_completion=True, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Keep e-mail sending on AWS as declared: SES, Route 53 and IAM SMTP users, from YAML.",
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip

StateArg = Annotated[str, typer.Argument(metavar="[STATE]", help="Directory or file of the desired state.")]
EnvOption = Annotated[str | None, typer.Option("--env", help="Environment of the state.")]
TargetOption = Annotated[list[str] | None, typer.Option("--target", help="Only this address or glob, and what it needs.")]
FormatOption = Annotated[str, typer.Option("--format", help="text, json, markdown or html.")]
RefreshOption = Annotated[str, typer.Option("--refresh", help="full reads every attribute; bulk what AWS returns in bulk.")]
ParallelOption = Annotated[int, typer.Option("--parallelism", min=1, max=64, help="AWS calls under way at once.")]
LockOption = Annotated[str, typer.Option("--lock-timeout", help="How long to wait for the lock: 30s, 5m.")]
ColorOption = Annotated[bool, typer.Option("--no-color", help="No colour (also NO_COLOR).")]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")]
VerboseOption = Annotated[int, typer.Option("-v", "--verbose", count=True, help="Say more.")]

FORMATS = ("text", "json", "markdown", "html")


class Out:
    """How this run speaks: format, colour, width, and where."""

    def __init__(self, format: str = "text", no_color: bool = False, quiet: bool = False, verbose: int = 0) -> None:
        if format not in FORMATS:
            self.format = "text"
            raise ReconError(f"--format {format} is not known", hint=f"one of {', '.join(FORMATS)}")
        self.format = format
        self.quiet = quiet
        self.verbose = verbose
        plain = no_color or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        self.color = not plain and (sys.stdout.isatty() or bool(os.environ.get("FORCE_COLOR")))
        self.unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")

    def width(self) -> int | None:
        if not sys.stdout.isatty():
            return None
        import shutil

        return shutil.get_terminal_size().columns

    def plan(self, plan: Plan, mode: str = "plan") -> None:
        from reconciler.renderers import render

        sys.stdout.write(
            render(plan, self.format, color=self.color, width=self.width(), unicode=self.unicode, verbose=self.verbose, mode=mode)  # type: ignore[arg-type]
        )
        sys.stdout.flush()

    def result(self, result: Result) -> None:
        from reconciler.renderers import render_result

        sys.stdout.write(
            render_result(result, self.format, color=self.color, width=self.width(), unicode=self.unicode, verbose=self.verbose)
        )
        sys.stdout.flush()

    def error(self, error: ReconError) -> None:
        from reconciler.renderers import render_error

        if self.format == "json":
            sys.stdout.write(render_error(error, "json"))
            sys.stdout.flush()
            return
        color = self.color and sys.stderr.isatty()
        sys.stderr.write(render_error(error, "text", color=color, unicode=self.unicode))

    def say(self, words: str) -> None:
        if not self.quiet:
            sys.stderr.write(words + "\n")
            sys.stderr.flush()

    def progress(self) -> Callable[[str, str], None]:
        """A progress voice for the applier: one line a step, never the same twice in a row."""
        last: dict[str, str] = {}
        lock = threading.Lock()

        def speak(address: str, words: str) -> None:
            with lock:
                if last.get(address) == words:
                    return
                last[address] = words
                self.say(f"  {address}: {words}")

        return speak


def _load(state: str, env: str | None, out: Out) -> tuple[State, tuple[Diagnostic, ...]]:
    from reconciler.desired import load

    loaded = load(state, env)
    return loaded.state, loaded.warnings


def _with_warnings(planned: Planned, warnings: Iterable[Diagnostic]) -> Plan:
    from dataclasses import replace

    live = planned.world.observed
    kept = [w for w in warnings if not (w.code == "undeclared-reference" and w.address in live)]
    return replace(planned.plan, diagnostics=(*planned.plan.diagnostics, *kept))


def _seconds(text: str) -> float:
    """``90``, ``90s``, ``5m``, ``1h`` in seconds. Raises ReconError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if not found:
        raise ReconError(f"not a duration: {text!r}", hint="write 30s, 5m or 1h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def _lock_for(stack: Any) -> Any:
    from reconciler.lock import LocalLock

    return LocalLock(stack.scope, os.environ.get("RECON_DIR", ".recon"))


# --- commands that only look ---------------------------------------------------------------------------------------


@app.command()
def validate(
    state: StateArg = "state", env: EnvOption = None, format: FormatOption = "text", no_color: ColorOption = False,
    quiet: QuietOption = False, verbose: VerboseOption = 0,
) -> None:  # fmt: skip
    """Check the YAML offline: syntax, schema, references. Needs no credentials."""
    out = Out(format, no_color, quiet, verbose)
    loaded, warnings = _load(state, env, out)
    if format == "json":
        found = {"format_version": 1, "stack": loaded.stack.name, "environment": loaded.stack.environment, "account": loaded.stack.account,
                 "outcome": "valid", "state_digest": loaded.digest, "diagnostics": [w.to_json() for w in warnings]}  # fmt: skip
        sys.stdout.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
        return
    from reconciler.renderers import render_diagnostics

    if warnings:
        sys.stderr.write(render_diagnostics(warnings, "text", color=out.color, unicode=out.unicode))
    counts: dict[str, int] = {}
    for section, name in {(e.section, e.name) for e in loaded.entries}:
        counts[section] = counts.get(section, 0) + 1
    words = ", ".join(f"{n} {(s[:-1] if n == 1 else s).replace('_', ' ')}" for s, n in sorted(counts.items()))
    sys.stdout.write(f"{state} is valid: {words or 'nothing declared'}.\n")


@app.command()
def plan(
    state: StateArg = "state", env: EnvOption = None, target: TargetOption = None, format: FormatOption = "text",
    out_file: Annotated[str | None, typer.Option("--out", help="Save the plan to this file (JSON).")] = None,
    detailed_exitcode: Annotated[bool, typer.Option("--detailed-exitcode", help="Exit 2 when changes are pending.")] = False,
    refresh: RefreshOption = "full", parallelism: ParallelOption = 16, no_color: ColorOption = False,
    quiet: QuietOption = False, verbose: VerboseOption = 0,
) -> int:  # fmt: skip
    """Read live AWS and print what apply would change. Never writes."""
    from reconciler import running

    out = Out(format, no_color, quiet, verbose)
    declared, warnings = _load(state, env, out)
    planned = running.make(declared, targets=target or (), refresh=refresh, parallelism=parallelism)
    result = _with_warnings(planned, warnings)
    if out_file:
        from reconciler.renderers import saved_plan

        _write(out_file, saved_plan(result))
        out.say(f"The plan is saved in {out_file}; apply exactly it with: recon apply {out_file}")
    out.plan(result)
    return running.exit_code(result, detailed=detailed_exitcode)


@app.command()
def drift(
    state: StateArg = "state", env: EnvOption = None, target: TargetOption = None, format: FormatOption = "text",
    refresh: RefreshOption = "full", parallelism: ParallelOption = 16, no_color: ColorOption = False,
    quiet: QuietOption = False, verbose: VerboseOption = 0,
) -> int:  # fmt: skip
    """Say what differs live from the declared state; exit 2 if anything does. Never writes."""
    from reconciler import running

    out = Out(format, no_color, quiet, verbose)
    declared, warnings = _load(state, env, out)
    planned = running.make(declared, targets=target or (), refresh=refresh, parallelism=parallelism, rotate=True)
    result = _with_warnings(planned, warnings)
    out.plan(result, mode="drift")
    if result.changes:
        return 2
    return running.exit_code(result, detailed=False)


@app.command()
def show(
    plan_file: Annotated[str, typer.Argument(metavar="PLAN.json")], format: FormatOption = "text",
    no_color: ColorOption = False, quiet: QuietOption = False, verbose: VerboseOption = 0,
) -> None:  # fmt: skip
    """Render a saved plan in any format."""
    out = Out(format, no_color, quiet, verbose)
    out.plan(_read_plan(plan_file))


@app.command()
def schema() -> None:
    """Print the JSON Schema of the YAML, for editors."""
    from reconciler.desired import json_schema

    sys.stdout.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")


@app.command()
def graph(
    state: StateArg = "state", env: EnvOption = None,
    format: Annotated[str, typer.Option("--format", help="mermaid or dot.")] = "mermaid",
) -> None:  # fmt: skip
    """Print the declared resources and what depends on what, as Mermaid or DOT. Offline."""
    from reconciler.observing import declare
    from reconciler.planner import make_plan
    from reconciler.renderers.graph import graph as draw
    from reconciler.running import now

    declared, _ = _load(state, env, Out())
    world = declare(declared, now())
    nodes = {c.address: c.depends_on for c in make_plan(world).changes}
    nodes = {**{a: () for a in world.desired if a not in nodes}, **nodes}
    sys.stdout.write(draw(nodes, format))


@app.command()
def sandbox(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on loopback; 0 picks a free one.")] = 5566,
    rates: Annotated[str | None, typer.Option("--rates", help="aws: answer no faster than AWS's documented rates.")] = None,
) -> None:  # fmt: skip
    """Run the embedded AWS on loopback and print the variables that point at it. Ends with Ctrl-C."""
    from reconciler.sandbox import environment, serve

    def ready(url: str) -> None:
        sys.stdout.write("".join(f"export {k}={v}\n" for k, v in environment(url).items()))
        sys.stdout.flush()
        sys.stderr.write(f"The sandbox listens on {url}; it forgets everything when it ends. Ctrl-C ends it.\n")

    serve(port=port, rates=rates, on_ready=ready)


# --- commands that write -------------------------------------------------------------------------------------------


@app.command()
def apply(
    state: Annotated[str, typer.Argument(metavar="[STATE or PLAN.json]")] = "state", env: EnvOption = None,
    target: TargetOption = None, format: FormatOption = "text",
    auto_approve: Annotated[bool, typer.Option("--auto-approve", help="Do not ask.")] = False,
    allow_adopt: Annotated[bool, typer.Option("--allow-adopt", help="Adopt live resources without an owner.")] = False,
    allow_deletes: Annotated[int | None, typer.Option("--allow-deletes", min=0, help="Allow this many deletions.")] = None,
    resume_sending: Annotated[bool, typer.Option("--resume-sending", help="Turn sending on again where it is off live.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until SES has verified DKIM and MAIL FROM.")] = False,
    verify_timeout: Annotated[str, typer.Option("--verify-timeout", help="How long to wait for SES: 10m.")] = "10m",
    expect: Annotated[str | None, typer.Option("--expect", help="Digest of the reviewed plan: sha256:...")] = None,
    state_dir: Annotated[str | None, typer.Option("--state", help="With a saved plan: the YAML must still be this.")] = None,
    refresh: RefreshOption = "full", parallelism: ParallelOption = 16, lock_timeout: LockOption = "0s",
    no_color: ColorOption = False, quiet: QuietOption = False, verbose: VerboseOption = 0,
) -> int:  # fmt: skip
    """Plan, ask, and make it so; or apply exactly the saved plan."""
    from reconciler import running
    from reconciler.planner import check_safeguards, stack_of_context

    out = Out(format, no_color, quiet, verbose)
    limits: dict[str, Any] = {"allow_adopt": allow_adopt, "allow_deletes": allow_deletes, "resume_sending": resume_sending}
    waiting = {"wait_for_ses": wait, "verify_timeout": _seconds(verify_timeout)}
    if state.endswith(".json"):
        from reconciler.aws import Aws

        saved = _read_plan(state)
        _check_saved(saved, expect, state_dir, env)
        stack = stack_of_context(saved.context)
        if saved.changes or saved.outcome == "refused":
            check_safeguards(saved, consent=True, max_deletes=stack.max_deletes, **limits)
        aws = Aws(stack, purpose="apply", parallelism=parallelism)
        with _lock_for(stack).held(f"apply {state}", _seconds(lock_timeout)):
            from reconciler.applier import verify_saved
            from reconciler.observing import guard_account

            guard_account(aws)
            zones = verify_saved(saved, aws)
            return _carry_out(saved, aws, zones, out, **waiting)
    if expect or state_dir:
        raise ReconError("--expect and --state go with a saved plan", hint="recon plan --out plan.json")
    declared, warnings = _load(state, env, out)
    if not auto_approve and not sys.stdin.isatty():
        raise ReconError(
            "apply would ask, but there is no terminal", hint="apply a saved plan (recon plan --out), or give --auto-approve"
        )
    with _lock_for(declared.stack).held("apply", _seconds(lock_timeout)) as dead:
        if dead is not None:
            out.say(f"Took over the lock of a run that is gone: {dead}")
        planned = running.make(declared, purpose="apply", targets=target or (), refresh=refresh, parallelism=parallelism)
        result = _with_warnings(planned, warnings)
        if not result.changes and result.outcome != "refused":
            out.plan(result)
            return running.exit_code(result, detailed=False)
        if format == "text":
            out.plan(result)
        check_safeguards(result, max_deletes=declared.stack.max_deletes, **limits)
        if not auto_approve and not _yes("Apply this plan? Only `yes` is accepted: "):
            out.say("Nothing was written.")
            return 1
        return _carry_out(result, planned.aws, planned.world.zones, out, **waiting)


@app.command()
def destroy(
    state: StateArg = "state", env: EnvOption = None, target: TargetOption = None, format: FormatOption = "text",
    allow_deletes: Annotated[int | None, typer.Option("--allow-deletes", min=0, help="Consent to this many deletions.")] = None,
    auto_approve: Annotated[bool, typer.Option("--auto-approve", help="Do not ask; needs --allow-deletes.")] = False,
    parallelism: ParallelOption = 16, lock_timeout: LockOption = "0s", no_color: ColorOption = False,
    quiet: QuietOption = False, verbose: VerboseOption = 0,
) -> int:  # fmt: skip
    """Delete what the stack owns, and nothing else. Consent is --allow-deletes N, or typing the stack's name."""
    from reconciler import running
    from reconciler.planner import check_safeguards

    out = Out(format, no_color, quiet, verbose)
    declared, _ = _load(state, env, out)
    if allow_deletes is None and not sys.stdin.isatty():
        raise Refused(
            "destroy needs consent and there is no terminal to ask on",
            hint="look at the plan of it, then give --allow-deletes N with the number of things that go",
        )
    with _lock_for(declared.stack).held("destroy", _seconds(lock_timeout)):
        planned = running.make(declared, purpose="apply", targets=target or (), parallelism=parallelism, removing=True)
        result = planned.plan
        if not result.changes and result.outcome != "refused":
            out.plan(result)
            return running.exit_code(result, detailed=False)
        if format == "text":
            out.plan(result)
        typed = allow_deletes is None
        check_safeguards(result, allow_deletes=10**9 if typed else allow_deletes, consent=True, resume_sending=True)
        if typed and not _yes(f"Type the stack's name ({declared.stack.name}) to delete all this: ", declared.stack.name):
            out.say("Nothing was deleted.")
            return 1
        return _carry_out(result, planned.aws, planned.world.zones, out)


@app.command()
def unlock(
    state: StateArg = "state", env: EnvOption = None,
    force: Annotated[bool, typer.Option("--force", help="Do not ask.")] = False, no_color: ColorOption = False,
) -> int:  # fmt: skip
    """Free the stack's lock after showing who holds it."""
    out = Out(no_color=no_color)
    declared, _ = _load(state, env, out)
    lock = _lock_for(declared.stack)
    holder = lock.holder()
    if holder is None:
        sys.stdout.write("No run holds the lock.\n")
        return 0
    sys.stdout.write(f"The lock is held by {holder}\n")
    if not force:
        if not sys.stdin.isatty():
            raise ReconError("unlock would ask, but there is no terminal", hint="recon unlock --force")
        if not _yes("Free it? A run that is still writing would no longer be alone. Only `yes` is accepted: "):
            return 1
    lock.release()
    sys.stdout.write("The lock is free.\n")
    return 0


# --- helpers -------------------------------------------------------------------------------------------------------


def _carry_out(plan: Plan, aws: Any, zones: Any, out: Out, **options: Any) -> int:
    """Apply with Ctrl-C held off: the first lets calls in flight end, then reports."""
    from reconciler.applier import apply_plan

    stop = threading.Event()

    def interrupted(number: int, frame: object) -> None:
        stop.set()
        aws.stop()
        out.say("Interrupted: finishing the calls in flight.")

    before = {number: signal.signal(number, interrupted) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        result = apply_plan(plan, aws, zones=zones, say=out.progress(), stop=stop, **options)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    out.result(result)
    if stop.is_set():
        return 130
    return 0 if result.outcome in {"applied", "no_changes"} else 1


def _check_saved(plan: Plan, expect: str | None, state_dir: str | None, env: str | None) -> None:
    """Refuse a saved plan of another version, another review or another YAML."""
    from reconciler.renderers import plan_digest

    if expect is not None and plan_digest(plan) != expect:
        raise Stale(f"this is not the plan that was reviewed: its digest is {plan_digest(plan)}, expected {expect}")
    if plan.recon_version.partition(".")[0] != __version__.partition(".")[0]:
        raise Stale(f"the plan was made by recon {plan.recon_version}; this is {__version__}", hint="plan again")
    if state_dir is not None:
        from reconciler.desired import load

        now = load(state_dir, env if env is not None else plan.environment).state.digest
        if now != plan.state_digest:
            raise Stale(f"{state_dir} changed since the plan was made", hint="plan again")


def _read_plan(path: str) -> Plan:
    from reconciler.renderers import load_saved

    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Stale(f"{path} is not a saved plan: it is not UTF-8 text") from None
    except OSError as problem:
        raise ReconError(f"{path} could not be read: {problem.strerror}") from None
    return load_saved(text)


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as problem:
        raise ReconError(f"{path} could not be written: {problem.strerror}") from None


def _yes(question: str, answer: str = "yes") -> bool:
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip() == answer


def _version(value: bool) -> None:
    if value:
        sys.stdout.write(f"recon {__version__}\n")
        raise typer.Exit()


@app.callback()
def common(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Keep e-mail sending on AWS as declared."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """The entry point: turns every error into the contract's exit code and words for people, never a traceback."""
    arguments = sys.argv[1:] if arguments is None else arguments
    sys.exit(run(arguments))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    import click

    command = typer.main.get_command(app)
    try:
        code = command.main(args=arguments, prog_name="recon", standalone_mode=False)
        return int(code) if isinstance(code, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("Interrupted.\n")
        return 130
    except click.ClickException as problem:
        _out_of(arguments).error(_command_line_error(problem))
        return 1
    except ReconError as error:
        _out_of(arguments).error(error)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output went away (`recon plan | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _command_line_error(problem: Any) -> ReconError:
    if type(problem).__name__ == "NoArgsIsHelpError":
        return ReconError("no command", hint="recon --help")
    return ReconError(problem.format_message(), hint="recon --help, or recon COMMAND --help")


def _out_of(arguments: list[str]) -> Out:
    """The output settings of a command line that did not run to its end."""
    format = "text"
    for number, argument in enumerate(arguments):
        if argument == "--format" and number + 1 < len(arguments):
            format = arguments[number + 1]
        elif argument.startswith("--format="):
            format = argument.partition("=")[2]
    return Out("json" if format == "json" else "text", "--no-color" in arguments)


__all__ = ["InvalidState", "app", "main", "run"]
