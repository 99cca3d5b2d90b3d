"""What the commands share: options, output, connections and locks, files and questions."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import re
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO, get_type_hints

import typer

from reconciler.activity import asking, working
from reconciler.errors import ReconError
from reconciler.model import Diagnostic
from reconciler.names import similar
from reconciler.redaction import know_account, redacted

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.lock import HeldLock, Lock
    from reconciler.model import Plan, Result, Stack, State
    from reconciler.renderers import TextOptions
    from reconciler.running import PlannedRun

StateArg = Annotated[str, typer.Argument(metavar="[STATE]", help="Directory or file of the desired state.")]
EnvOption = Annotated[str | None, typer.Option("--env", help="Environment of the state.")]
TargetOption = Annotated[
    list[str] | None, typer.Option("--target", help="Only this address or glob, and what it needs.")
]
FormatOption = Annotated[str, typer.Option("--format", help="text, json, markdown or html.")]
TextOrJsonOption = Annotated[str, typer.Option("--format", help="text or json.")]
RegionsOption = Annotated[
    list[str] | None, typer.Option("--region", help="Only this region (repeatable); all of the stack's otherwise.")
]
AccountOption = Annotated[str | None, typer.Option("--account", help="Refuse any other account (twelve digits).")]
ApproveOption = Annotated[bool, typer.Option("--auto-approve", help="Do not ask.")]
RefreshOption = Annotated[
    str, typer.Option("--refresh", help="full reads every attribute; bulk what AWS returns in bulk.")
]
OutsideOption = Annotated[
    bool,
    typer.Option("--check-public-dns", help="Let the rules query public DNS and the HTTPS hosts of tracking domains."),
]
ParallelOption = Annotated[int, typer.Option("--parallelism", min=1, max=64, help="AWS calls in flight at once.")]
LockOption = Annotated[str, typer.Option("--lock-timeout", help="How long to wait for the lock: 30s, 5m.")]
ColorOption = Annotated[bool, typer.Option("--no-color", help="No colour (also NO_COLOR).")]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")]
VerboseOption = Annotated[int, typer.Option("-v", "--verbose", count=True, help="Show more.")]
FindingsOption = Annotated[
    bool, typer.Option("--findings", help="Also show what rules find that the plan neither causes nor fixes.")
]

FORMATS = ("text", "json", "markdown", "html")
TEXT_OR_JSON = ("text", "json")
FOUND_CODES = {"no_changes": 0, "error": 1, "changes": 2}
"""The exit code of a command that looks for something: healthy, not checked, found; by its ``outcome``."""


def only(format: str, formats: Sequence[str]) -> None:
    """Raises ReconError if a command does not print ``format``."""
    if format not in formats:
        listed = f"{', '.join(formats[:-1])} or {formats[-1]}"
        raise ReconError(f"this command does not support --format {format}", hint=listed)


class Output:
    """The output of a command: format (one of ``formats``, else ReconError), colour, width, and where it is written."""

    def __init__(
        self,
        format: str = "text",
        no_color: bool = False,
        quiet: bool = False,
        verbose: int = 0,
        formats: Sequence[str] = FORMATS,
        findings: bool = False,
    ) -> None:
        only(format, formats)
        self.findings = findings
        self.format = format
        self.quiet = quiet
        self.verbose = verbose
        plain = no_color or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        self.color = not plain and (sys.stdout.isatty() or bool(os.environ.get("FORCE_COLOR")))
        self.unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")

    def width(self, stream: TextIO | None = None) -> int | None:
        """The columns to wrap text at: those of the terminal, or of ``COLUMNS``, which nobody sets by accident."""
        columns = os.environ.get("COLUMNS", "")
        if columns.isdecimal() and int(columns):  # 0 is as good as not set
            return int(columns)
        if not (stream or sys.stdout).isatty():
            return None
        import shutil

        return shutil.get_terminal_size().columns

    def style(self) -> TextOptions:
        """How the renderers draw text."""
        return {
            "color": self.color, "width": self.width(), "unicode": self.unicode, "verbose": self.verbose,
            "findings": self.findings,
        }  # fmt: skip

    def rendered(self, plan: Plan, mode: Literal["plan", "drift"] = "plan") -> str:
        from reconciler.renderers import render

        return render(plan, self.format, mode=mode, **self.style())

    def plan(self, plan: Plan, mode: Literal["plan", "drift"] = "plan") -> None:
        sys.stdout.write(self.rendered(plan, mode))

    def result(self, result: Result) -> None:
        from reconciler.renderers import render_result

        sys.stdout.write(render_result(result, self.format, **self.style()))

    def document(
        self, stack: Stack, outcome: str, found: Mapping[str, Any], diagnostics: Iterable[Diagnostic] = ()
    ) -> None:
        """Write the JSON object of a command that prints no plan: stack, outcome, what it found, diagnostics."""
        tail = {"outcome": outcome, **found, "diagnostics": [one.to_json() for one in diagnostics]}
        from reconciler.renderers.jsonform import json_text

        sys.stdout.write(json_text({**head_of(stack), **tail}))

    def error(self, error: ReconError) -> None:
        from reconciler.renderers import render_error

        if self.format == "json":
            sys.stdout.write(render_error(error, "json"))
            return
        sys.stdout.flush()
        color = self.color and sys.stderr.isatty()
        width = self.width(sys.stderr)
        sys.stderr.write(render_error(error, "text", color=color, unicode=self.unicode, width=width))

    def info(self, message: str) -> None:
        """Write a message for people to standard error, unless --quiet."""
        if not self.quiet:
            from reconciler.renderers.escape import safe

            sys.stdout.flush()
            # It may contain names from YAML, AWS and other runs' locks.
            sys.stderr.write("\n".join(map(safe, message.split("\n"))) + "\n")
            sys.stderr.flush()


def head_of(stack: Stack) -> dict[str, Any]:
    """The first keys of every JSON object of recon; without YAML there is no stack."""
    return {
        "format_version": 1, "stack": stack.name or None, "environment": stack.environment, "account": stack.account,
    }  # fmt: skip


def as_diagnostics(errors: Iterable[ReconError]) -> list[Diagnostic]:
    """Errors that did not end the run, as diagnostics."""
    return [Diagnostic("error", error.code, error.message, error.hint) for error in errors]


def is_path(text: str) -> bool:
    """Whether an argument that may be a name or the state is a path, and so the state."""
    return Path(text).exists() or "/" in text or text.endswith((".yaml", ".yml"))


def load(state: str, env: str | None, out: Output) -> tuple[State, tuple[Diagnostic, ...]]:
    from reconciler import desired

    with working("the YAML"):
        loaded = desired.load(state, env)
    for account in (loaded.state.stack.account, loaded.state.stack.dns_account):
        know_account(account)
    return loaded.state, loaded.warnings


def ses_regions(named: Iterable[str]) -> list[str]:
    """The regions of a command line, each once and sorted. Raises ReconError where SES has one of them not."""
    from reconciler.names import similar
    from reconciler.regions import SES_REGIONS, of_partition_of

    chosen = sorted(set(named))
    if unknown := [region for region in chosen if region not in SES_REGIONS]:
        there = of_partition_of(unknown[0], SES_REGIONS)
        near = similar(unknown[0], there)
        hint = f"did you mean {near[0]}?" if near else f"such as {', '.join((there or SES_REGIONS)[:4])}"
        raise ReconError(f"SES has no region {', '.join(unknown)}", hint=hint)
    return chosen


def account_id(account: str | None) -> str | None:
    """The account of ``--account``, if any. Raises ReconError for one that is no account id."""
    if account is not None and not (len(account) == 12 and account.isascii() and account.isdigit()):
        raise ReconError(f"--account {account} is not an AWS account id", hint="an account id has twelve digits")
    return account


def validate_targets(targets: Iterable[str] | None) -> tuple[str, ...]:
    """The targets of a command line. Raises ReconError with all that cannot match an address."""
    from reconciler.desired.stack import ADDRESS_FORMS, address_problem

    chosen = tuple(targets or ())
    problems = []
    for target in chosen:
        kind = target.partition("/")[0]
        glob, any_kind = (any(c in text for c in "*?[") for text in (target, kind))
        problem = "" if any_kind or (glob and kind in ADDRESS_FORMS) else address_problem(target)
        if problem:
            near = similar(kind, ADDRESS_FORMS)
            hint = (
                f"did you mean {near[0]}?"
                if near and near[0] != kind
                else "`recon graph --format text` lists the addresses"
            )
            problems.append(Diagnostic("error", "bad-target", f"--target {target}: {problem}", hint))
    if problems:
        raise ReconError(problems[0].message, hint=problems[0].hint, diagnostics=problems)
    return chosen


def with_warnings(planned: PlannedRun, warnings: Iterable[Diagnostic]) -> Plan:
    """The plan with the warnings about the YAML that it does not contain itself, so that each is reported once: not
    those that a rule evaluates, nor those about references, which were looked up in AWS."""
    from dataclasses import replace

    from reconciler.rules.context import not_from_rules

    added = (one for one in not_from_rules(warnings) if one.code != "undeclared-reference")
    return replace(planned.plan, diagnostics=(*planned.plan.diagnostics, *added))


def seconds(text: str) -> float:
    """``90``, ``90s``, ``5m``, ``1h`` in seconds. Raises ReconError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if not found:
        raise ReconError(f"not a duration: {text!r}", hint="write 30s, 5m or 1h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def backend_connection(stack: Stack, purpose: str = "apply") -> Aws | None:
    """A connection for the stack's lock and journal if they are in a bucket. Raises Refused for another account."""
    from reconciler.backend import location_of

    return guarded(stack, purpose, parallelism=4) if location_of(stack).bucket else None


def guarded(stack: Stack, purpose: str, parallelism: int = 16) -> Aws:
    """A connection to the stack's account. Raises Refused for another one."""
    from reconciler.aws import Aws
    from reconciler.observing import guard_account

    aws = Aws(stack, purpose=purpose, parallelism=parallelism)
    guard_account(aws)
    return aws


def lock_of(stack: Stack, scope: str = "") -> Lock:
    """The stack's lock, or that of a former one, with a connection of its own."""
    from reconciler.lock import lock_for

    return lock_for(stack, backend_connection(stack), scope)


@contextlib.contextmanager
def with_lock(stack: Stack, command: str, out: Output, timeout: str = "0s") -> Iterator[HeldLock]:
    """Hold the locks of the stack and of those that it was formerly while the block runs; SIGTERM ends the block like
    Ctrl-C.

    Raises Locked, which names the holder, or Refused for the wrong account.
    """

    from reconciler.lock import held_together

    def terminate(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, terminate) if in_main_thread else None
    try:
        connection = backend_connection(stack)
        with held_together(stack, connection, command, seconds(timeout), on_wait=out.info) as held:
            if held.previous is not None:
                out.info(f"Took over the lock of a run that has died: {held.previous}")
            yield held
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, before)


def read_plan(path: str) -> Plan:
    from reconciler.files import read_given
    from reconciler.renderers import load_saved

    plan = load_saved(read_given(path), Path(path).name)
    know_account(plan.account)
    return plan


def read_given_or_stdin(path: str) -> str:
    """The text of a file that the command line names, or of standard input for ``-``. Raises ReconError."""
    from reconciler.files import MAX_GIVEN, read_given

    if path != "-":
        return read_given(path)
    try:
        text = sys.stdin.read(MAX_GIVEN + 1)
    except UnicodeDecodeError:
        raise ReconError("standard input is not UTF-8 text") from None
    except OSError as problem:
        raise ReconError(f"standard input could not be read: {problem.strerror}") from None
    if len(text) > MAX_GIVEN:
        raise ReconError(f"standard input has more than {MAX_GIVEN:,} characters", hint="make it smaller")
    return text


def write(path: str, text: str | Iterable[str], out: Output) -> None:
    """Write a file whole, for us alone, compressed where its name ends in .gz; says what it replaces. ``text`` may come
    in pieces. Raises ReconError."""
    from reconciler.files import compressed

    with replacing(path, out) as (file, keep):
        pieces = [text] if isinstance(text, str) else text
        if path.endswith(".gz"):
            compressed(file, pieces)
        else:
            file.writelines(pieces)
        keep()


def replacing(path: str, out: Output) -> contextlib.AbstractContextManager[tuple[TextIO, Callable[[], None]]]:
    """``files.replacing``, which says on standard error what it replaces."""
    from reconciler import files

    return files.replacing(path, out.info)


SUMMARY_LIMIT = 2**20
"""Bytes of one step's summary (GitHub Docs, "Workflow commands": adding a job summary, step isolation and limits)."""


def step_summary(
    plan: Plan, mode: Literal["plan", "drift"] = "plan", label: Callable[[str, str, Plan], str] | None = None
) -> None:
    """Append the plan as Markdown to the job summary, if recon runs in a step of a GitHub workflow.

    ``label(text, format, plan)`` may add to the text.
    """
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    from reconciler.renderers import render

    text = render(plan, "markdown", mode=mode)
    if label is not None:
        text = label(text, "markdown", plan)
    with contextlib.suppress(OSError):  # the summary is optional
        if Path(path).exists() and not Path(path).is_file():  # opening a pipe would wait for a reader
            return
        text = redacted(text)
        used = Path(path).stat().st_size if Path(path).exists() else 0
        if used + len(text.encode()) <= SUMMARY_LIMIT:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(text)


def must_have_terminal(command: str, hint: str) -> None:
    """Raises ReconError if ``command`` cannot ask for confirmation."""
    if not sys.stdin.isatty():
        raise ReconError(f"{command} asks for confirmation, and there is no terminal", hint=hint)


def yes(question: str, answer: str = "yes") -> bool:
    """Ask a question on the terminal; whether the answer is ``answer``."""
    sys.stdout.flush()
    sys.stderr.write(question)
    sys.stderr.flush()
    with asking():
        return sys.stdin.readline().strip() == answer


# --- what several commands take and print --------------------------------------------------------------------------


def options_from(**builders: Callable[..., Any]) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Let a command take values that are built from options: ``@options_from(out=text_or_json)`` puts the parameters of
    ``text_or_json`` in the place of the command's parameter ``out``, and calls it with what it returns."""

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        own = inspect.signature(command).parameters
        built = {name: inspect.signature(builder).parameters for name, builder in builders.items()}

        @functools.wraps(command)
        def wrapper(**given: Any) -> int:
            values = {name: builders[name](**{o: given.pop(o) for o in options}) for name, options in built.items()}
            return command(**given, **values)

        hints = _hints({k: v for k, v in command.__annotations__.items() if k not in built}, command)
        for builder in builders.values():
            hints |= _hints({k: v for k, v in builder.__annotations__.items() if k != "return"}, builder)
        parameters = [p for name in own for p in (built[name].values() if name in built else [own[name]])]
        wrapper.__annotations__ = hints
        wrapper.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[p.name]) for p in parameters]
        )
        return wrapper

    return decorate


def _hints(annotations: dict[str, Any], function: Callable[..., Any]) -> dict[str, Any]:
    """Annotations of ``function`` evaluated, as typer wants them."""
    bare = types.SimpleNamespace(__annotations__=annotations)
    return get_type_hints(bare, vars(sys.modules[function.__module__]), include_extras=True)


def text_or_json(
    format: TextOrJsonOption = "text", no_color: ColorOption = False, quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> Output:  # fmt: skip
    """The output of a command that prints text or one JSON object (for ``options_from``)."""
    return Output(format, no_color, quiet, verbose, TEXT_OR_JSON)


def any_format(
    format: FormatOption = "text", no_color: ColorOption = False, quiet: QuietOption = False, verbose: VerboseOption = 0
) -> Output:
    """The output of a command that prints one of four formats (for ``options_from``)."""
    return Output(format, no_color, quiet, verbose)


def plan_output(
    format: FormatOption = "text", no_color: ColorOption = False, quiet: QuietOption = False,
    verbose: VerboseOption = 0, findings: FindingsOption = False,
) -> Output:  # fmt: skip
    """The output of a command that prints a plan or a result (for ``options_from``)."""
    return Output(format, no_color, quiet, verbose, findings=findings)


def reading(
    refresh: RefreshOption = "full", check_public_dns: OutsideOption = False, parallelism: ParallelOption = 16
) -> dict[str, Any]:
    """How a command reads AWS, as ``running.make`` takes it (for ``options_from``)."""
    return {"refresh": refresh, "check_public_dns": check_public_dns, "parallelism": parallelism}


def declared_digests(declared: State) -> dict[str, str]:
    """A short digest of each declared resource by its address, and of each domain's own values, from which its records
    follow. For the journal, and for drift, which compares them."""
    from reconciler import observing
    from reconciler.kinds.snapshot import now
    from reconciler.model import digest_of

    wanted = observing.declare(declared, now()).desired
    found = {address: digest_of(one.spec) for address, one in wanted.items()}
    found |= {f"domains.{e.name}": digest_of(e.values) for e in declared.section("domains") if e.region is None}
    return {key: digest.removeprefix("sha256:")[:12] for key, digest in found.items()}


def load_state(state: StateArg = "state", env: EnvOption = None) -> State:
    """The desired state, for a command that does not print its warnings (also for ``options_from``)."""
    return load(state, env, Output())[0]


def name_and_state(given: Sequence[str], what: str, usage: str) -> tuple[str | None, str]:
    """The arguments ``[NAME] [STATE]``, in any order: what is a path is the state. Raises ReconError for more."""
    paths = [g for g in given if is_path(g)]
    names = [g for g in given if g not in paths]
    if len(given) == 2 and not names:
        names, paths = paths[:1], paths[1:]  # a name that is also the name of a file
    if len(paths) > 1 or len(names) > 1:
        raise ReconError(f"give at most one {what} and one state", hint=usage)
    return (names[0] if names else None), (paths[0] if paths else "state")


def print_outcome(
    out: Output, stack: Stack, outcome: str, found: Mapping[str, Any], lines: Iterable[str],
    problems: Sequence[ReconError] = (),
) -> int:  # fmt: skip
    """Print what a command did: one JSON object, or ``lines`` and each problem. Returns the exit code."""
    if out.format == "json":
        out.document(stack, outcome, found, as_diagnostics(problems))
    else:
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        for problem in problems:
            out.error(problem)
    return 1 if problems else 0


def outcome_of(done: int, problems: Sequence[ReconError]) -> str:
    """The ``outcome`` of a command that did ``done`` things, and failed at others."""
    if problems:
        return "partial" if done else "error"
    return "applied" if done else "no_changes"
