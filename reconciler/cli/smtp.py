"""SMTP credential work that must not ride on other changes: rotate, verify, password, ack, lock."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.app import app
from reconciler.cli.common import (
    TEXT_OR_JSON,
    ColorOption,
    EnvOption,
    LockOption,
    Out,
    ParallelOption,
    QuietOption,
    RegionsOption,
    StateArg,
    TextOrJsonOption,
    VerboseOption,
    as_diagnostics,
    is_path,
    load,
    with_lock,
    yes,
)
from reconciler.errors import ReconError, Refused
from reconciler.model import Diagnostic

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.kinds.snapshot import Snapshot
    from reconciler.model import Stack, State
    from reconciler.smtp.rotate import Report
    from reconciler.smtp.verify import Verdict

smtp_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="SMTP credentials: rotate, verify, print, acknowledge, lock."
)
app.add_typer(smtp_app, name="smtp")

UserArg = Annotated[str, typer.Argument(metavar="USER", help="A declared SMTP user.")]
NeverAsksOption = Annotated[
    bool, typer.Option("--auto-approve", help="As of apply; this command never asks.", hidden=True)
]


# --- rotate --------------------------------------------------------------------------------------------------------


@smtp_app.command()
def rotate(
    what: Annotated[
        list[str] | None, typer.Argument(metavar="[USER] [STATE]", help="One user; with --due only the state.")
    ] = None,
    due: Annotated[bool, typer.Option("--due", help="Take every step that is due, one a user; for a cron.")] = False,
    replace: Annotated[
        str | None, typer.Option("--replace", metavar="KEYID", help="This key gives way, also one recon did not make.")
    ] = None,
    compromised: Annotated[
        bool,
        typer.Option("--compromised", help="Switch the old key off at once and deny sending until a new is stored."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="With --replace: even if the key is in use.")] = False,
    env: EnvOption = None,
    format: TextOrJsonOption = "text",
    auto_approve: NeverAsksOption = False,
    parallelism: ParallelOption = 16,
    lock_timeout: LockOption = "0s",
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> int:
    """Take the rotation steps that are due (--due), or rotate one user now."""
    from reconciler.smtp import rotate as rotation

    out = Out(format, no_color, quiet, verbose, TEXT_OR_JSON)
    given = list(what or ())
    if due and (replace or compromised):
        raise ReconError("--due goes without --replace and --compromised", hint="name one user for those")
    if replace and compromised:
        raise ReconError("--replace and --compromised do not go together", hint="recon smtp rotate USER --compromised")
    if len(given) > (1 if due else 2) or (not due and not given):
        raise ReconError(
            "rotate needs --due or one user", hint="recon smtp rotate --due [STATE], or recon smtp rotate USER [STATE]"
        )
    user = None if due else given.pop(0)
    state, _ = load(given[0] if given else "state", env, out)
    aws = _aws(state, "apply", parallelism)
    command = "smtp rotate --due" if due else f"smtp rotate {user}"
    with with_lock(state.stack, command, out, lock_timeout) as held:
        from reconciler.journal import recording

        snapshot = _world(state, aws, None if user is None else [user])
        with recording(state.stack, held.aws or aws, command, warn=out.say) as run:
            if user is None:
                reports = rotation.rotate_due(snapshot, aws)
            elif compromised:
                desired = rotation.declared(snapshot, user)
                live = rotation.observed(snapshot, desired)
                if live is None:
                    raise ReconError(f"the IAM user {user} does not exist", hint="recon apply makes it")
                reports = [rotation.renew(snapshot, aws, desired, live)]
            else:
                reports = [rotation.rotate_user(snapshot, aws, user, replacing=replace, force=force)]
            for report in reports:
                if report.done:
                    run.step(f"smtp_credential/{report.user}#{report.done}", "done")
                elif report.error is not None:
                    run.step(
                        f"smtp_credential/{report.user}#{report.status.step or 'rotate'}", "failed", report.error.code
                    )
            run.outcome = _outcome(reports)
    _print_reports(state.stack, reports, snapshot, out)
    return _rotate_code(reports, named=user is not None)


def _outcome(reports: Sequence[Report]) -> str:
    done = any(r.done for r in reports)
    if any(r.error for r in reports):
        return "partial" if done else "error"
    return "applied" if done else "no_changes"


def _rotate_code(reports: Sequence[Report], *, named: bool) -> int:
    """1 where a step failed or cannot be taken (no room, or `recon apply` must heal first); held is no error."""
    errors = [r.error for r in reports if r.error is not None]
    if errors:
        return 3 if named and isinstance(errors[0], Refused) else 1
    return 1 if any(r.status.state in {"blocked", "unhealthy"} and not r.done for r in reports) else 0


def _print_reports(stack: Stack, reports: Sequence[Report], snapshot: Snapshot, out: Out) -> None:
    diagnostics = [*snapshot.diagnostics, *(d for r in reports for d in _diagnostics(r, snapshot.now))]
    if out.format == "json":
        out.document(stack, _outcome(reports), {"users": [_report_json(r) for r in reports]}, diagnostics)
        return
    width = max((len(r.user) for r in reports), default=0)
    for report in reports:
        lines = _report_lines(report)
        sys.stdout.write(f"{report.user.ljust(width)}  {lines[0]}\n")
        sys.stdout.write("".join(f"{' ' * width}    {line}\n" for line in lines[1:]))
    counts = {
        "step taken": sum(bool(r.done) for r in reports),
        "held": sum(r.status.state == "held" for r in reports),
        "blocked": sum(r.status.state in {"blocked", "unhealthy", "locked"} and not r.done for r in reports),
        "failed": sum(r.error is not None for r in reports),
    }
    words = ", ".join(f"{n} {what}" for what, n in counts.items() if n) or "nothing is due"
    sys.stdout.write(f"{len(reports)} user{'s' * (len(reports) != 1)}: {words}.\n")
    sys.stdout.flush()


def _report_lines(report: Report) -> list[str]:
    from reconciler.resources.smtp_credential.rotation import consumer_words, words_of

    status = report.status
    lines = []
    if report.error is not None:
        lines = [f"failed: {report.error.message}", *([f"hint: {report.error.hint}"] if report.error.hint else [])]
    elif report.done:
        lines = [f"{report.done}: {report.message}"]
    elif status.state in {"held", "blocked"}:
        lines = [f"{status.state}: {words_of(status)}"]
    elif status.state in {"unhealthy", "locked"}:
        lines = [f"{status.state}: {status.reason}"]
    elif status.state == "never":
        lines = ["never rotated: " + status.reason]
    else:
        lines = ["nothing is due" + "".join(f": {words}" for words in (status.reason, status.behind) if words)]
    if status.hint and not report.done:
        lines.append(f"hint: {status.hint}")
    if report.next_step and report.next_at and report.error is None and status.state != "held":
        step = {"create": "a new key", "deactivate": "the old key off", "delete": "the old key deleted"}
        lines.append(f"next step: {step.get(report.next_step, report.next_step)}, on {report.next_at[:10]}")
    if report.by_hand and (report.done in {"create", "record", "renew", "replace"} or status.step in {"deactivate"}):
        for consumer in report.by_hand:
            lines.append(
                f'by hand: {consumer_words(consumer)}; then: recon smtp ack {report.user} "{consumer["name"]}"'
            )
    return [*lines, *report.notes]


def _report_json(report: Report) -> dict[str, Any]:
    status = report.status
    return {
        "user": report.user, "state": "failed" if report.error else "done" if report.done else status.state,
        "step": report.done or status.step or None, "key": status.key,
        "message": report.message or status.reason or None,
        "due": status.at, "next_step": report.next_step or None, "next_at": report.next_at,
        "by_hand": [dict(consumer) for consumer in report.by_hand],
    }  # fmt: skip


def _diagnostics(report: Report, now: str) -> list[Diagnostic]:
    from reconciler.resources.smtp_credential.rotation import code_of, words_of

    status, address = report.status, f"smtp_credential/{report.user}"
    if report.error is not None:
        return [Diagnostic("error", report.error.code, report.error.message, report.error.hint, address=address)]
    if report.done:
        return [Diagnostic("note", "rotation-note", note, address=address) for note in report.notes]
    if status.state in {"held", "blocked"} or status.behind:
        severity: Any = "error" if status.state == "blocked" else "warning"
        return [Diagnostic(severity, code_of(status, now), words_of(status), status.hint, address=address)]
    if status.state in {"unhealthy", "locked"}:
        severity = "error" if status.state == "unhealthy" else "warning"
        return [Diagnostic(severity, status.state, f"{report.user}: {status.reason}", status.hint, address=address)]
    return []


# --- ack and lock --------------------------------------------------------------------------------------------------


@smtp_app.command()
def ack(
    user: UserArg,
    consumer: Annotated[str, typer.Argument(metavar="CONSUMER", help="The consumer's name, as declared.")],
    state: StateArg = "state",
    env: EnvOption = None,
    format: TextOrJsonOption = "text",
    lock_timeout: LockOption = "0s",
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> int:
    """Record that a consumer has been given the current password by hand."""
    from reconciler.smtp.rotate import acknowledge

    out = Out(format, no_color, quiet, verbose, TEXT_OR_JSON)
    declared, _ = load(state, env, out)
    aws = _aws(declared, "apply")
    with with_lock(declared.stack, f"smtp ack {user}", out, lock_timeout):
        left = acknowledge(_world(declared, aws, [user]), aws, user, consumer)
    if out.format == "json":
        out.document(declared.stack, "applied", {"user": user, "consumer": consumer, "left": left})
        return 0
    sys.stdout.write(f"{user}: {consumer} has the current password.\n")
    sys.stdout.write("".join(f"still to be told: {name}\n" for name in left))
    return 0


@smtp_app.command()
def lock(
    user: UserArg,
    state: StateArg = "state",
    unlock: Annotated[bool, typer.Option("--unlock", help="Switch its keys on again and lift the deny.")] = False,
    env: EnvOption = None,
    format: TextOrJsonOption = "text",
    auto_approve: NeverAsksOption = False,
    lock_timeout: LockOption = "0s",
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> int:
    """Stop one user at once: deny everything to it and switch all of its keys off. Waits for no other run."""
    from reconciler.aws.clock import now
    from reconciler.observing import guard_account
    from reconciler.smtp import lock as locking

    out = Out(format, no_color, quiet, verbose, TEXT_OR_JSON)
    declared, _ = load(state, env, out)
    known = any(e.name == user for e in declared.section("smtp_users"))
    aws = _aws(declared, "apply")
    scope = declared.stack.scope
    if unlock:
        with with_lock(declared.stack, f"smtp lock {user} --unlock", out, lock_timeout):
            guard_account(aws)
            lifted = locking.unlock(aws, scope, user, declared=known)
        words = f"{user} was not locked." if lifted is None else f"{user} may send again; on: {_listed(lifted.keys)}."
        if out.format == "json":
            keys = list(lifted.keys) if lifted else []
            out.document(
                declared.stack, "applied" if lifted else "no_changes", {"user": user, "locked": False, "keys": keys}
            )
        else:
            sys.stdout.write(words + "\n")
        return 0
    # A break-in does not wait for somebody's apply to end: no lock of the stack is taken.
    guard_account(aws)
    locked = locking.lock(aws, scope, user, now(), declared=known)
    diagnostics = as_diagnostics(locked.problems)
    if out.format == "json":
        found = {"user": user, "locked": True, "keys": list(locked.keys)}
        out.document(declared.stack, "partial" if diagnostics else "applied", found, diagnostics)
    else:
        sys.stdout.write(f"{user} is locked: everything is denied to it; switched off: {_listed(locked.keys)}.\n")
        sys.stdout.write(
            f"recon smtp rotate {user} makes a new key and unlocks; recon smtp lock {user} --unlock goes back.\n"
        )
        for problem in locked.problems:
            out.error(problem)
    return 1 if locked.problems else 0


# --- password and verify -------------------------------------------------------------------------------------------


@smtp_app.command()
def password(
    user: UserArg,
    region: Annotated[str, typer.Option("--region", help="The region whose SMTP endpoint it is for.")],
    state: StateArg = "state",
    force: Annotated[
        bool, typer.Option("--force", help="Do not ask, and print also where there is no terminal.")
    ] = False,
    env: EnvOption = None,
    format: TextOrJsonOption = "text",
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> int:
    """Print the stored SMTP password of a user for one region, after asking."""
    from reconciler.mail.sigv4 import smtp_password
    from reconciler.regions import smtp_host
    from reconciler.resources.smtp_credential import stores
    from reconciler.smtp.rotate import declared as declared_user

    out = Out(format, no_color, quiet, verbose, TEXT_OR_JSON)
    if not force and not sys.stdout.isatty():
        raise Refused(
            "standard output is no terminal: the password would end up in a file or a log",
            hint="programs should read the store; if it must be, give --force",
        )
    declared, _ = load(state, env, out)
    aws = _aws(declared, "apply")
    desired = declared_user(_world(declared, aws, [user]), user)
    kept = [s for s in desired.spec["stores"] if region in s["regions"]]
    if not kept:
        there = ", ".join(desired.spec["regions"]) or "none"
        raise ReconError(f"{user} has no password for {region}", hint=f"it has for: {there}")
    if not force and not yes(
        f"Show the SMTP password of {user} for {region} on this terminal? Only `yes` is accepted: "
    ):
        out.say("Nothing was shown.")
        return 1
    stored = stores.read(aws, kept[0])
    found = stores.passwords_in(stored).get(region)
    if found is None and stored.get("secret_access_key"):
        found = smtp_password(str(stored["secret_access_key"]), region)
    if found is None:
        raise ReconError(f"{stores.words(kept[0])} holds no password for {region}", hint="recon apply stores one")
    if out.format == "json":
        place = {"username": stored["username"], "password": found, "host": smtp_host(region), "port": stores.PORT}
        sys.stdout.write(json.dumps({**place, "region": region}, indent=2) + "\n")
        return 0
    out.say(f"{smtp_host(region)}, port {stores.PORT} with STARTTLS, user name {stored['username']}; the password:")
    sys.stdout.write(found + "\n")
    return 0


@smtp_app.command()
def verify(
    what: Annotated[
        list[str] | None, typer.Argument(metavar="[USER] [STATE]", help="One user, or all; a path is the state.")
    ] = None,
    region: RegionsOption = None,
    env: EnvOption = None,
    format: TextOrJsonOption = "text",
    parallelism: ParallelOption = 8,
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> int:
    """Log in over SMTP with what is stored, and leave before any mail. Exit 0 healthy, 2 not, 1 could not check."""
    from reconciler.smtp import verify as proving

    out = Out(format, no_color, quiet, verbose, TEXT_OR_JSON)
    user, place = _user_and_state(list(what or ()))
    declared, _ = load(place, env, out)
    aws = _aws(declared, "plan", parallelism)
    snapshot = _world(declared, aws, None if user is None else [user])
    validate_targets = _verify_all(snapshot, aws, user, region or [])
    verdicts = [v.verdict for _, _, v in validate_targets]
    found = any(v in proving.FOUND for v in verdicts)
    unchecked = any(v not in proving.FOUND and v != proving.HEALTHY for v in verdicts)
    if out.format == "json":
        rows = [
            {"user": name, "region": where, "verdict": v.verdict, "message": v.message, "hint": v.hint or None,
             "endpoint": v.endpoint or None, "tried": list(v.tried)}
            for name, where, v in validate_targets
        ]  # fmt: skip
        diagnostics = [
            Diagnostic(
                "error" if v.verdict in proving.FOUND else "warning", v.verdict, f"{name} in {where}: {v.message}",
                v.hint, address=f"smtp_credential/{name}",
            )
            for name, where, v in validate_targets
            if v.verdict != proving.HEALTHY
        ]  # fmt: skip
        out.document(
            declared.stack,
            "changes" if found else "error" if unchecked else "no_changes",
            {"logins": rows},
            diagnostics,
        )
    else:
        for name, where, v in validate_targets:
            sys.stdout.write(f"{name} {where}: {v.verdict}: {v.message}\n")
            if v.hint:
                sys.stdout.write(f"    hint: {v.hint}\n")
        if not validate_targets:
            sys.stdout.write("No SMTP user is declared.\n")
    return 2 if found else 1 if unchecked else 0


def _verify_all(snapshot: Snapshot, aws: Aws, user: str | None, only: list[str]) -> list[tuple[str, str, Verdict]]:
    """(user, region, verdict) of every login, sorted; users and regions side by side."""
    from reconciler.resources.smtp_credential import kind as smtp_credential
    from reconciler.smtp import verify as proving
    from reconciler.smtp.rotate import declared as declared_user

    every = (
        [declared_user(snapshot, user)]
        if user is not None
        else sorted(snapshot.kind(smtp_credential.NAME), key=lambda d: d.name)
    )
    if unknown := sorted(set(only) - {r for d in every for r in d.spec["regions"]}):
        there = ", ".join(sorted({r for d in every for r in d.spec["regions"]})) or "none"
        raise ReconError(f"no credential is stored for {', '.join(unknown)}", hint=f"there are: {there}")
    trust = proving.context()
    todo = [(d, s, r) for d in every for s in d.spec["stores"] for r in s["regions"] if not only or r in only]
    for _, _, where in todo:
        proving.endpoints(where)
    verdicts = aws.parallel(lambda item: _verify_one(snapshot, aws, *item, trust), todo)
    return [(d.name, where, verdict) for (d, _, where), verdict in zip(todo, verdicts, strict=True)]


def _verify_one(snapshot: Snapshot, aws: Aws, desired: Any, store: Any, region: str, trust: Any) -> Verdict:
    from datetime import datetime

    from reconciler.errors import AwsError
    from reconciler.resources.smtp_credential import stores
    from reconciler.resources.smtp_credential.rotation import moment_of
    from reconciler.smtp import verify as proving

    stored: dict[str, Any] | None = None
    try:
        stored = stores.read(aws, store)
    except AwsError as error:
        if not error.absent:
            return proving.Verdict("unread", f"{stores.words(store)} could not be read: {error.message}", error.hint)
    except ReconError as error:
        return proving.Verdict(proving.MISSING, error.message, error.hint)
    live = snapshot.observed.get(desired.address)
    if live is not None:
        early = proving.judge(stored, live.spec["key"], {k["id"]: k["status"] for k in live.spec["keys"]})
        if early is not None:
            return early
    if stored is None:
        return proving.Verdict(
            proving.MISSING, f"{stores.words(store)} does not exist", "recon apply stores a credential"
        )
    found = stores.passwords_in(stored).get(region)
    if found is None:
        return proving.Verdict(proving.MISSING, f"{stores.words(store)} holds no password for {region}", "recon apply")
    made = moment_of(stored.get("created_at"))
    age = (datetime.fromisoformat(snapshot.now) - made).total_seconds() if made else proving.FRESH_SECONDS
    return proving.log_in(
        str(stored["username"]), found, proving.endpoints(region), trust, fresh=0 <= age < proving.FRESH_SECONDS
    )


# --- helpers -------------------------------------------------------------------------------------------------------


def _aws(state: State, purpose: str, parallelism: int = 16) -> Aws:
    from reconciler.aws import Aws

    return Aws(state.stack, purpose=purpose, parallelism=parallelism)


def _world(state: State, aws: Aws, names: Iterable[str] | None) -> Snapshot:
    from reconciler.aws.clock import now
    from reconciler.observing import guard_account
    from reconciler.smtp.rotate import survey

    guard_account(aws)
    return survey(state, aws, now(), names)


def _user_and_state(given: list[str]) -> tuple[str | None, str]:
    """The arguments ``[USER] [STATE]``: one alone is the state where it is a path, else the user."""
    if len(given) > 2:
        raise ReconError("too many arguments", hint="recon smtp verify [USER] [STATE]")
    if len(given) == 2:
        return given[0], given[1]
    if not given:
        return None, "state"
    if is_path(given[0]):
        return None, given[0]
    return given[0], "state"


def _listed(keys: Sequence[str]) -> str:
    return ", ".join(keys) or "no key (none was on)"
