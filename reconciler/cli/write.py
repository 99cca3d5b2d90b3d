"""Commands that write: apply, destroy, unlock."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler import __version__
from reconciler.cli.app import app
from reconciler.cli.common import (
    ColorOption,
    EnvOption,
    FormatOption,
    LockOption,
    Out,
    ParallelOption,
    QuietOption,
    RefreshOption,
    StateArg,
    TargetOption,
    VerboseOption,
    load,
    lock_for,
    read_plan,
    seconds,
    with_warnings,
    yes,
)
from reconciler.errors import ReconError, Refused, Stale

if TYPE_CHECKING:
    from reconciler.model import Plan


@app.command()
def apply(
    state: Annotated[str, typer.Argument(metavar="[STATE or PLAN.json]")] = "state",
    env: EnvOption = None,
    target: TargetOption = None,
    format: FormatOption = "text",
    auto_approve: Annotated[bool, typer.Option("--auto-approve", help="Do not ask.")] = False,
    allow_adopt: Annotated[bool, typer.Option("--allow-adopt", help="Adopt live resources without an owner.")] = False,
    allow_deletes: Annotated[
        int | None, typer.Option("--allow-deletes", min=0, help="Allow this many deletions.")
    ] = None,
    resume_sending: Annotated[
        bool, typer.Option("--resume-sending", help="Turn sending on again where it is off live.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until SES has verified DKIM and MAIL FROM.")] = False,
    verify_timeout: Annotated[str, typer.Option("--verify-timeout", help="How long to wait for SES: 10m.")] = "10m",
    expect: Annotated[str | None, typer.Option("--expect", help="Digest of the reviewed plan: sha256:...")] = None,
    state_dir: Annotated[
        str | None, typer.Option("--state", help="With a saved plan: the YAML must still be this.")
    ] = None,
    refresh: RefreshOption = "full",
    parallelism: ParallelOption = 16,
    lock_timeout: LockOption = "0s",
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> int:
    """Plan, ask, and make it so; or apply exactly the saved plan."""
    from reconciler import running
    from reconciler.planner import check_safeguards, stack_of_context

    out = Out(format, no_color, quiet, verbose)
    limits: dict[str, Any] = {
        "allow_adopt": allow_adopt,
        "allow_deletes": allow_deletes,
        "resume_sending": resume_sending,
    }
    waiting = {"wait_for_ses": wait, "verify_timeout": seconds(verify_timeout)}
    if state.endswith(".json"):
        from reconciler.aws import Aws

        saved = read_plan(state)
        _check_saved(saved, expect, state_dir, env)
        stack = stack_of_context(saved.context)
        if saved.changes or saved.outcome == "refused":
            check_safeguards(saved, consent=True, max_deletes=stack.max_deletes, **limits)
        aws = Aws(stack, purpose="apply", parallelism=parallelism)
        with lock_for(stack).held(f"apply {state}", seconds(lock_timeout)):
            from reconciler.applier import verify_saved
            from reconciler.observing import guard_account

            guard_account(aws)
            zones = verify_saved(saved, aws)
            return _carry_out(saved, aws, zones, out, **waiting)
    if expect or state_dir:
        raise ReconError("--expect and --state go with a saved plan", hint="recon plan --out plan.json")
    declared, warnings = load(state, env, out)
    if not auto_approve and not sys.stdin.isatty():
        raise ReconError(
            "apply would ask, but there is no terminal",
            hint="apply a saved plan (recon plan --out), or give --auto-approve",
        )
    with lock_for(declared.stack).held("apply", seconds(lock_timeout)) as dead:
        if dead is not None:
            out.say(f"Took over the lock of a run that is gone: {dead}")
        planned = running.make(
            declared, purpose="apply", targets=target or (), refresh=refresh, parallelism=parallelism
        )
        result = with_warnings(planned, warnings)
        if not result.changes and result.outcome != "refused":
            out.plan(result)
            return running.exit_code(result, detailed=False)
        if format == "text":
            out.plan(result)
        check_safeguards(result, max_deletes=declared.stack.max_deletes, **limits)
        if not auto_approve and not yes("Apply this plan? Only `yes` is accepted: "):
            out.say("Nothing was written.")
            return 1
        return _carry_out(result, planned.aws, planned.world.zones, out, **waiting)


@app.command()
def destroy(
    state: StateArg = "state",
    env: EnvOption = None,
    target: TargetOption = None,
    format: FormatOption = "text",
    allow_deletes: Annotated[
        int | None, typer.Option("--allow-deletes", min=0, help="Consent to this many deletions.")
    ] = None,
    auto_approve: Annotated[bool, typer.Option("--auto-approve", help="Do not ask; needs --allow-deletes.")] = False,
    parallelism: ParallelOption = 16,
    lock_timeout: LockOption = "0s",
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> int:
    """Delete what the stack owns, and nothing else. Consent is --allow-deletes N, or typing the stack's name."""
    from reconciler import running
    from reconciler.planner import check_safeguards

    out = Out(format, no_color, quiet, verbose)
    declared, _ = load(state, env, out)
    if allow_deletes is None and not sys.stdin.isatty():
        raise Refused(
            "destroy needs consent and there is no terminal to ask on",
            hint="look at the plan of it, then give --allow-deletes N with the number of things that go",
        )
    with lock_for(declared.stack).held("destroy", seconds(lock_timeout)):
        planned = running.make(declared, purpose="apply", targets=target or (), parallelism=parallelism, removing=True)
        result = planned.plan
        if not result.changes and result.outcome != "refused":
            out.plan(result)
            return running.exit_code(result, detailed=False)
        if format == "text":
            out.plan(result)
        typed = allow_deletes is None
        check_safeguards(result, allow_deletes=10**9 if typed else allow_deletes, consent=True, resume_sending=True)
        if typed and not yes(
            f"Type the stack's name ({declared.stack.name}) to delete all this: ", declared.stack.name
        ):
            out.say("Nothing was deleted.")
            return 1
        return _carry_out(result, planned.aws, planned.world.zones, out)


@app.command()
def unlock(
    state: StateArg = "state",
    env: EnvOption = None,
    force: Annotated[bool, typer.Option("--force", help="Do not ask.")] = False,
    no_color: ColorOption = False,
) -> int:
    """Free the stack's lock after showing who holds it."""
    out = Out(no_color=no_color)
    declared, _ = load(state, env, out)
    lock = lock_for(declared.stack)
    holder = lock.holder()
    if holder is None:
        sys.stdout.write("No run holds the lock.\n")
        return 0
    sys.stdout.write(f"The lock is held by {holder}\n")
    if not force:
        if not sys.stdin.isatty():
            raise ReconError("unlock would ask, but there is no terminal", hint="recon unlock --force")
        if not yes("Free it? A run that is still writing would no longer be alone. Only `yes` is accepted: "):
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
        from reconciler import desired

        now = desired.load(state_dir, env if env is not None else plan.environment).state.digest
        if now != plan.state_digest:
            raise Stale(f"{state_dir} changed since the plan was made", hint="plan again")
