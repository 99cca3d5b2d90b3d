"""Commands that write: apply, destroy, unlock."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler import __version__
from reconciler.cli.app import app
from reconciler.cli.common import (
    ApproveOption,
    ColorOption,
    EnvOption,
    LockOption,
    Output,
    ParallelOption,
    TargetOption,
    declared_digests,
    guarded,
    load,
    load_state,
    lock_of,
    must_have_terminal,
    options_from,
    plan_output,
    read_plan,
    reading,
    seconds,
    validate_targets,
    with_lock,
    with_warnings,
    yes,
)
from reconciler.errors import Locked, ReconError, Refused, Stale
from reconciler.model import Diagnostic

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.lock import HeldLock
    from reconciler.model import Plan, Stack, State


_MANY = 5_000
"""From so many changes on, what reading has left in circles is collected before they are carried out: each answer
leaves one of botocore's, and the collector is off else (``cli/__init__.py``)."""


@app.command()
@options_from(read_options=reading, out=plan_output)
def apply(
    state: Annotated[str, typer.Argument(metavar="[STATE or PLAN.json]")] = "state",
    env: EnvOption = None,
    target: TargetOption = None,
    auto_approve: ApproveOption = False,
    allow_adopt: Annotated[bool, typer.Option("--allow-adopt", help="Adopt live resources without an owner.")] = False,
    allow_deletes: Annotated[
        int | None, typer.Option("--allow-deletes", min=0, help="Allow this many deletions.")
    ] = None,
    resume_sending: Annotated[
        bool, typer.Option("--resume-sending", help="Allow turning sending on where it is off in AWS.")
    ] = False,
    skip_refused: Annotated[
        bool, typer.Option("--skip-refused", help="Apply the rest of a plan that is refused in part; exit 3.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until SES has verified DKIM and MAIL FROM.")] = False,
    verify_timeout: Annotated[str, typer.Option("--verify-timeout", help="How long to wait for SES: 10m.")] = "10m",
    expect: Annotated[str | None, typer.Option("--expect", help="Digest of the reviewed plan: sha256:...")] = None,
    state_dir: Annotated[
        str | None, typer.Option("--state", help="With a saved plan: plan it again from this YAML.")
    ] = None,
    *,
    read_options: dict[str, Any],
    lock_timeout: LockOption = "0s",
    out: Output,
) -> int:
    """Plan, ask, and apply; or apply exactly the saved plan."""
    consent: dict[str, Any] = {
        "allow_adopt": allow_adopt,
        "allow_deletes": allow_deletes,
        "resume_sending": resume_sending,
        "skip_refused": skip_refused,
    }
    waiting = {"wait_for_ses": wait, "verify_timeout": seconds(verify_timeout)}
    if _is_plan(state):
        if target:
            raise ReconError(
                "--target cannot be used with a saved plan", hint="a saved plan is applied whole: recon plan --target"
            )
        saved = _read_saved(state)
        declared = _declared_of_saved(saved, expect, state_dir, env)
        command, parallelism = f"apply {Path(state).name}", read_options["parallelism"]
        where = state_dir or f"the state in {Path(state).name}"
        return _apply_saved(saved, declared, where, command, parallelism, lock_timeout, out, consent, waiting)
    if expect or state_dir:
        raise ReconError("--expect and --state need a saved plan", hint="recon plan --out plan.json")
    options = {"targets": validate_targets(target), **read_options}
    return _apply_state(state, env, options, lock_timeout, out, consent, waiting, ask=not auto_approve)


def _apply_saved(
    plan: Plan,
    declared: State,
    where: str,
    command: str,
    parallelism: int,
    lock_timeout: str,
    out: Output,
    consent: Mapping[str, Any],
    waiting: Mapping[str, Any],
) -> int:
    """Plan a saved plan again, under the lock, and apply it where it is the same. Returns the exit code."""
    from reconciler.safeguards import check_safeguards
    from reconciler.saved import plan_again

    stack = declared.stack
    consent = {**consent, "consent": True, "max_deletes": stack.max_deletes}
    skip_refused = consent["skip_refused"]
    if not skip_refused and (plan.changes or plan.outcome == "refused"):
        check_safeguards(plan, **consent)  # before anything is read, as far as the file itself says it
    with with_lock(stack, command, out, lock_timeout) as held:
        if not plan.changes:
            aws = guarded(stack, "apply", parallelism)
            return _run_apply(plan, stack, declared_digests(declared), aws, {}, out, held, **waiting)
        plan, again = plan_again(plan, declared, where, parallelism=parallelism)
        for one in (plan, again.plan):
            check_safeguards(one, **consent)
        aws, zones = again.aws, again.snapshot.zones
        del again  # as in _apply_state
        return _run_apply(plan, stack, declared_digests(declared), aws, zones, out, held, **waiting)


def _apply_state(
    state: str,
    env: str | None,
    options: Mapping[str, Any],
    lock_timeout: str,
    out: Output,
    consent: Mapping[str, Any],
    waiting: Mapping[str, Any],
    *,
    ask: bool,
) -> int:
    """Load the YAML, plan under the lock, ask, and apply; ``options`` are those of ``running.make``. Returns the exit
    code."""
    from reconciler import running
    from reconciler.safeguards import check_safeguards

    declared, warnings = load(state, env, out)
    if ask:
        must_have_terminal("apply", "apply a saved plan (recon plan --out), or use --auto-approve")
    stack = declared.stack
    with with_lock(stack, "apply", out, lock_timeout) as held:
        planned = running.make(declared, purpose="apply", **options)
        plan, aws, zones = with_warnings(planned, warnings), planned.aws, planned.snapshot.zones
        # What a large plan was made from goes before the plan is drawn, and before its steps are made: nobody else
        # holds it.
        digests = declared_digests(declared)
        del planned, declared
        if len(plan.changes) > _MANY:
            gc.collect()
        if not plan.changes and plan.outcome != "refused":
            out.plan(plan)
            _record_unchanged(plan, stack, digests, aws, out, held)
            return running.exit_code(plan, detailed=False)
        if out.format == "text":
            out.plan(plan)
        check_safeguards(plan, max_deletes=stack.max_deletes, **consent)
        if ask and not yes("Apply this plan? Only `yes` is accepted: "):
            out.info("Nothing was written.")
            return 1
        return _run_apply(plan, stack, digests, aws, zones, out, held, **waiting)


@app.command()
@options_from(out=plan_output, declared=load_state)
def destroy(
    declared: State,
    target: TargetOption = None,
    allow_deletes: Annotated[
        int | None, typer.Option("--allow-deletes", min=0, help="Allow this many deletions.")
    ] = None,
    auto_approve: Annotated[bool, typer.Option("--auto-approve", help="Do not ask; needs --allow-deletes.")] = False,
    parallelism: ParallelOption = 16,
    lock_timeout: LockOption = "0s",
    *,
    out: Output,
) -> int:
    """Delete everything that the stack owns. Confirm with --allow-deletes N, or by typing the stack's name."""
    from reconciler import running
    from reconciler.safeguards import check_safeguards

    targets = validate_targets(target)
    with with_lock(declared.stack, "destroy", out, lock_timeout) as held:
        planned = running.make(declared, purpose="apply", targets=targets, parallelism=parallelism, removing=True)
        plan = planned.plan
        if not plan.changes and plan.outcome != "refused":
            out.plan(plan)
            return running.exit_code(plan, detailed=False)
        if out.format == "text":
            out.plan(plan)
        ask = allow_deletes is None
        check_safeguards(plan, allow_deletes=10**9 if ask else allow_deletes, consent=True, resume_sending=True)
        if ask and (auto_approve or not sys.stdin.isatty()):
            why = "--auto-approve needs --allow-deletes" if auto_approve else "there is no terminal to confirm it"
            raise _without_consent(plan, why)
        if ask and not yes(f"Type the stack's name ({declared.stack.name}) to delete all this: ", declared.stack.name):
            out.info("Nothing was deleted.")
            return 1
        aws, zones = planned.aws, planned.snapshot.zones
        del planned  # as in _apply_state
        return _run_apply(plan, declared.stack, declared_digests(declared), aws, zones, out, held)


def _without_consent(plan: Plan, why: str) -> Refused:
    """Why destroy deletes nothing without consent, with the number that gives it."""
    from reconciler.renderers.headline import plural
    from reconciler.safeguards import some

    deleted = [change for change in plan.changes if change.action == "delete" and not change.refused]
    counted = sum(change.counts for change in deleted)
    names = some([change.address for change in sorted(deleted, key=lambda change: not change.counts)])
    return Refused(
        f"destroy would delete {plural(len(deleted), 'resource')}, of which {counted} count: {names or 'none'}; {why}",
        hint=f"if that is meant, run it again with --allow-deletes {counted}",
    )


@app.command()
@options_from(declared=load_state)
def unlock(
    declared: State,
    force: Annotated[bool, typer.Option("--force", help="Do not ask.")] = False,
    no_color: ColorOption = False,
) -> int:
    """Free the stack's lock after showing who holds it. And those of the stacks that it was formerly."""
    from reconciler.renderers.escape import safe

    locks = [lock_of(declared.stack, scope) for scope in declared.stack.scopes]
    held = [(lock, holder) for lock in locks if (holder := lock.holder()) is not None]
    if not held:
        sys.stdout.write("No run holds the lock.\n")
    for lock, holder in held:
        sys.stdout.write(f"The lock of {lock.whose} is held by {safe(str(holder))}\n")
        if not force:
            must_have_terminal("unlock", "recon unlock --force")
            if not yes(
                "Free it? If that run still writes, another could write at the same time. Only `yes` is accepted: "
            ):
                return 1
        if not lock.force_unlock(holder):
            raise Locked("another run has taken the lock meanwhile", hint="show its holder: recon unlock")
        sys.stdout.write("The lock is free.\n")
    return 0


# --- helpers -------------------------------------------------------------------------------------------------------


def _run_apply(
    plan: Plan, stack: Stack, digests: Mapping[str, str], aws: Aws, zones: Any, out: Output, held: HeldLock,
    **options: Any,
) -> int:  # fmt: skip
    """Apply a plan and print the result; ``digests`` are those of what is declared. After Ctrl-C, or if the lock is
    lost, calls in flight end and no more are started. Returns the exit code."""
    from reconciler.activity import working
    from reconciler.applier import apply_plan
    from reconciler.cli.progress import StepProgress
    from reconciler.journal import recording
    from reconciler.steps import steps_of, to_do

    stop = threading.Event()
    interrupted = threading.Event()

    def stop_because(reason: str) -> None:
        stop.set()
        aws.stop()
        out.info(f"{reason}: finishing the calls in flight.")

    def on_signal(number: int, frame: object) -> None:
        interrupted.set()
        stop_because("Interrupted")

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with recording(stack, held.aws or aws, held.holder.command, plan, declared=digests, warn=out.info) as run:
            held.on_lost(lambda: stop_because("Somebody else freed the lock"))

            def on_step(step: str, outcome: str, code: str) -> None:
                run.step(step, outcome, code)
                progress.step(step, outcome, code)

            total = sum(len(steps_of(change)) for change in to_do(plan).changes)
            with working("step", [""] * total, verb="Applying", alone=True, seconds=plan.seconds) as work:
                progress = StepProgress(out, work)
                result = apply_plan(
                    plan, aws, zones=zones, on_progress=progress.message, stop=stop, on_step=on_step, **options
                )
            run.outcome = "interrupted" if interrupted.is_set() else result.outcome
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if held.lost.is_set():
        lock_lost = Diagnostic(
            "error", "lock-lost", "the lock of this stack was freed while the run held it, so the run stopped",
            "find out who freed it, then apply again: what is done is not done twice",
        )  # fmt: skip
        result = replace(result, diagnostics=(*result.diagnostics, lock_lost))
    out.result(result)
    if interrupted.is_set():
        return 130
    if result.outcome in {"applied", "no_changes"}:
        return 0
    return 3 if {one.status for one in result.applied} in ({"skipped"}, {"done", "skipped"}) else 1


def _record_unchanged(
    plan: Plan, stack: Stack, digests: Mapping[str, str], aws: Aws, out: Output, held: HeldLock
) -> None:
    """Record an apply without changes in the journal: this state is now the applied one."""
    from reconciler.journal import recording

    with recording(stack, held.aws or aws, held.holder.command, plan, declared=digests, warn=out.info) as run:
        run.outcome = "no_changes" if plan.outcome == "no_changes" else plan.outcome


def _is_plan(path: str) -> bool:
    """Whether the argument of apply is a saved plan: a path that ends in .json, or a file that is not named as YAML."""
    return path.endswith(".json") or (Path(path).is_file() and Path(path).suffix not in {".yaml", ".yml"})


def _read_saved(path: str) -> Plan:
    """The saved plan. One that cannot be parsed (truncated, not a plan) is refused with exit code 3."""
    try:
        return read_plan(path)
    except ReconError as error:
        if isinstance(error, Refused) or not Path(path).is_file():
            raise
        raise Stale(error.message, hint=error.hint) from None


def _declared_of_saved(plan: Plan, expect: str | None, state_dir: str | None, env: str | None) -> State:
    """What a saved plan is planned again from: the YAML of ``--state``, else what the file says is declared.

    Raises Stale for a plan that was made by another version, not reviewed, or made for another stack."""
    from reconciler.renderers import plan_digest
    from reconciler.saved import check_stack, declared_state

    if expect is not None and plan_digest(plan) != expect:
        raise Stale(f"this is not the plan that was reviewed: its digest is {plan_digest(plan)}, expected {expect}")
    if plan.recon_version.partition(".")[0] != __version__.partition(".")[0]:
        raise Stale(
            f"the plan was made by recon {plan.recon_version}; this is {__version__}",
            hint="plan again with this version, or apply with the other one",
        )
    if plan.context.get("offline"):
        raise Stale("an offline plan cannot be applied", hint="make one with AWS: recon plan --out plan.json")
    if env is not None and env != plan.environment:
        raise Stale(f"the plan is for environment {plan.environment or '(none)'}, not {env}", hint="plan again")
    if state_dir is None:
        return declared_state(plan)
    from reconciler import desired

    state = desired.load(state_dir, env or plan.environment).state
    check_stack(plan, state.stack, state_dir)
    return state
