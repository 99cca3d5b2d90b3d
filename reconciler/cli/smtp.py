"""SMTP credential work outside of plans: rotate, verify, password, ack, lock."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.activity import asking
from reconciler.cli.app import command_group
from reconciler.cli.common import (
    FOUND_CODES,
    AccountOption,
    ApproveOption,
    EnvOption,
    LockOption,
    Output,
    ParallelOption,
    RegionsOption,
    StateArg,
    guarded,
    load_state,
    name_and_state,
    options_from,
    outcome_of,
    print_outcome,
    text_or_json,
    with_lock,
    yes,
)
from reconciler.cli.incident import AnyRegionOption, Incident, NoStateOption, announce, incident
from reconciler.cli.smtp_permission import explained, message_asked, with_permission
from reconciler.errors import ReconError, Refused
from reconciler.model import Diagnostic

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.journal import Recorder
    from reconciler.kinds.snapshot import Snapshot
    from reconciler.model import Stack, State
    from reconciler.smtp.lock import LockTarget
    from reconciler.smtp.rotate import Report
    from reconciler.smtp.verify import Verdict

smtp_app = command_group("smtp", "SMTP credentials: rotate, verify, print, acknowledge, lock.")

UserArg = Annotated[str, typer.Argument(metavar="USER", help="A declared SMTP user.")]
NeverAsksOption = Annotated[
    bool, typer.Option("--auto-approve", help="As of apply; this command never asks.", hidden=True)
]


# --- rotate --------------------------------------------------------------------------------------------------------


@smtp_app.command()
@options_from(out=text_or_json)
def rotate(
    what: Annotated[
        list[str] | None, typer.Argument(metavar="[USER] [STATE]", help="One user; with --due only the state.")
    ] = None,
    due: Annotated[bool, typer.Option("--due", help="Take every step that is due, one for each user.")] = False,
    replace: Annotated[
        str | None,
        typer.Option("--replace", metavar="KEYID", help="Replace this key, even if recon did not create it."),
    ] = None,
    compromised: Annotated[
        bool,
        typer.Option(
            "--compromised", help="Deactivate the old key at once and block sending until a new key is stored."
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Take the step that is held; with --replace, even if the key is in use.")
    ] = False,
    env: EnvOption = None,
    auto_approve: NeverAsksOption = False,
    parallelism: ParallelOption = 16,
    lock_timeout: LockOption = "0s",
    *,
    out: Output,
) -> int:
    """Take the rotation steps that are due (--due), or rotate one user now."""
    from reconciler.journal import recording
    from reconciler.smtp.rotate import rotate_due, rotate_user

    if due and (replace or compromised or force):
        raise ReconError(
            "--due cannot be combined with --replace, --compromised or --force", hint="name one user for those"
        )
    if replace and compromised:
        raise ReconError("use --replace or --compromised, not both", hint="recon smtp rotate USER --compromised")
    given = list(what or ())
    if len(given) > (1 if due else 2) or (not due and not given):
        raise ReconError(
            "rotate needs --due or one user", hint="recon smtp rotate --due [STATE], or recon smtp rotate USER [STATE]"
        )
    user = None if due else given.pop(0)
    state = load_state(given[0] if given else "state", env)
    command = "smtp rotate --due" if user is None else f"smtp rotate {user}"
    with with_lock(state.stack, command, out, lock_timeout) as held:
        aws, snapshot = _read_users(state, "apply", user, parallelism)
        with recording(state.stack, held.aws or aws, command, warn=out.info) as run:
            if user is None:
                reports = rotate_due(snapshot, aws)
            else:
                reports = [
                    rotate_user(snapshot, aws, user, replacing=replace, force=force, compromised=compromised)
                ]  # fmt: skip
            _record(run, reports)
    _print_reports(state.stack, reports, snapshot, out)
    return _exit_code(reports, named=user is not None)


def _record(run: Recorder, reports: Sequence[Report]) -> None:
    """Write the steps and the outcome into the journal."""
    for report in reports:
        address = f"smtp_credential/{report.user}"
        if report.done:
            run.step(f"{address}#{report.done}", "done")
        elif report.error is not None:
            run.step(f"{address}#{report.state.step or 'rotate'}", "failed", report.error.code)
    run.outcome = _outcome(reports)


def _outcome(reports: Sequence[Report]) -> str:
    return outcome_of(sum(bool(r.done) for r in reports), [r.error for r in reports if r.error])


def _exit_code(reports: Sequence[Report], *, named: bool) -> int:
    """1 where a step failed, or a person or `recon apply` must act first; a step that is held is not an error."""
    errors = [r.error for r in reports if r.error is not None]
    if errors:
        return 3 if named and isinstance(errors[0], Refused) else 1
    return 1 if any(r.state.phase in {"blocked", "unhealthy"} and not r.done for r in reports) else 0


def _print_reports(stack: Stack, reports: Sequence[Report], snapshot: Snapshot, out: Output) -> None:
    if out.format == "json":
        diagnostics = [*snapshot.diagnostics, *(d for r in reports for d in _diagnostics(r, snapshot.now))]
        out.document(stack, _outcome(reports), {"users": [_report_json(r) for r in reports]}, diagnostics)
        return
    width = max((len(r.user) for r in reports), default=0)
    for report in reports:
        lines = _report_lines(report)
        sys.stdout.write(f"{report.user.ljust(width)}  {lines[0]}\n")
        sys.stdout.write("".join(f"{' ' * width}    {line}\n" for line in lines[1:]))
    counts = {
        "step taken": sum(bool(r.done) for r in reports),
        "held": sum(r.state.phase == "held" for r in reports),
        "blocked": sum(r.state.phase in {"blocked", "unhealthy", "locked"} and not r.done for r in reports),
        "failed": sum(r.error is not None for r in reports),
    }
    words = ", ".join(f"{n} {what}" for what, n in counts.items() if n) or "nothing is due"
    sys.stdout.write(f"{len(reports)} user{'s' * (len(reports) != 1)}: {words}.\n")
    sys.stdout.flush()


NEXT_STEP = {
    "create": "create a new key", "deactivate": "deactivate the old key", "delete": "delete the old key",
}  # fmt: skip


def _report_lines(report: Report) -> list[str]:
    from reconciler.resources.smtp_credential.rotation import describe_consumer

    state = report.state
    lines = [_result_line(report)]
    if report.error is not None and report.error.hint:
        lines.append(f"hint: {report.error.hint}")
    if state.hint and not report.done:
        lines.append(f"hint: {state.hint}")
    if report.next_step and report.next_at and report.error is None and state.phase != "held":
        step = NEXT_STEP.get(report.next_step, report.next_step)
        lines.append(f"next step: {step}, on {report.next_at[:10]}")
    if report.done in {"create", "record", "renew", "replace"} or state.step == "deactivate":
        for consumer in report.consumers:
            command = f'recon smtp ack {report.user} "{consumer["name"]}"'
            lines.append(f"by hand: {describe_consumer(consumer)}; then: {command}")
    return [*lines, *report.notes]


def _result_line(report: Report) -> str:
    from reconciler.resources.smtp_credential.rotation import sentence

    state = report.state
    if report.error is not None:
        return f"failed: {report.error.message}"
    if report.done:
        return f"{report.done}: {report.message}"
    if state.phase in {"held", "blocked"}:
        return f"{state.phase}: {sentence(state)}"
    if state.phase in {"unhealthy", "locked"}:
        return f"{state.phase}: {state.reason}"
    if state.phase == "never":
        return f"never rotated: {state.reason}"
    return "nothing is due" + "".join(f": {words}" for words in (state.reason, state.overdue) if words)


def _report_json(report: Report) -> dict[str, Any]:
    state = report.state
    return {
        "user": report.user, "state": "failed" if report.error else "done" if report.done else state.phase,
        "step": report.done or state.step or None, "key": state.key,
        "message": report.message or state.reason or None,
        "due": state.at, "next_step": report.next_step or None, "next_at": report.next_at,
        "by_hand": [dict(consumer) for consumer in report.consumers],
    }  # fmt: skip


def _diagnostics(report: Report, now: str) -> list[Diagnostic]:
    from reconciler.resources.smtp_credential.rotation import diagnostic_code, sentence

    state, address = report.state, f"smtp_credential/{report.user}"
    if report.error is not None:
        return [Diagnostic("error", report.error.code, report.error.message, report.error.hint, address=address)]
    if report.done:
        return [Diagnostic("note", "rotation-note", note, address=address) for note in report.notes]
    severity: Any = "error" if state.phase in {"blocked", "unhealthy"} else "warning"
    if state.phase in {"held", "blocked"} or state.overdue:
        return [Diagnostic(severity, diagnostic_code(state, now), sentence(state), state.hint, address=address)]
    if state.phase in {"unhealthy", "locked"}:
        return [Diagnostic(severity, state.phase, f"{report.user}: {state.reason}", state.hint, address=address)]
    return []


# --- ack and lock --------------------------------------------------------------------------------------------------


@smtp_app.command()
@options_from(out=text_or_json, declared=load_state)
def ack(
    user: UserArg,
    consumer: Annotated[str, typer.Argument(metavar="CONSUMER", help="The consumer's name, as declared.")],
    declared: State,
    lock_timeout: LockOption = "0s",
    *,
    out: Output,
) -> int:
    """Record that a consumer has been given the current password by hand."""
    from reconciler.smtp.rotate import acknowledge

    with with_lock(declared.stack, f"smtp ack {user}", out, lock_timeout):
        aws, snapshot = _read_users(declared, "apply", user)
        left = acknowledge(snapshot, aws, user, consumer)
    lines = [f"{user}: {consumer} has the current password.", *(f"still without it: {name}" for name in left)]
    found = {"user": user, "consumer": consumer, "left": left}
    return print_outcome(out, declared.stack, "applied", found, lines)


@smtp_app.command()
@options_from(out=text_or_json, found=incident)
def lock(
    who: Annotated[
        str, typer.Argument(metavar="USER|KEYID|ROLE", help="A user, an access key of it, or a role: role/NAME.")
    ],
    found: Incident,
    unlock: Annotated[bool, typer.Option("--unlock", help="Activate its keys again and remove the deny.")] = False,
    undeclared: Annotated[
        bool, typer.Option("--undeclared", help="Also a user or role that no YAML names, or that of another stack.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--everything", help="Of a role: revoke its present sessions, too, whatever they do.")
    ] = False,
    region: AnyRegionOption = None,
    auto_approve: ApproveOption = False,
    lock_timeout: LockOption = "0s",
    *,
    out: Output,
) -> int:
    """Stop one user or role at once. Does not wait for other runs.

    Everything is denied to a user and its keys are deactivated; sending alone is denied to a role.
    """
    from reconciler.smtp import lock as locking

    # IAM is the same in all regions: a region is named for the connection alone.
    aws = found.connect(found.regions(region) if region else [found.home_region()], "apply")
    announce(out.info, found, aws)
    declared = frozenset(e.name for e in found.state.section("smtp_users")) if found.state else frozenset()
    target = locking.target_of(aws, who, declared)
    known = target.type == "user" and target.name in declared
    if target.type == "role" and not (undeclared or _declares_role(found.state, target.name)):
        raise Refused(f"no YAML declares the role {target.name}", hint="--undeclared locks it all the same")
    does = "remove the lock" if unlock else "deny everything and deactivate its keys"
    if target.type == "role" and not unlock:
        does = "deny sending" + (", and revoke its present sessions" if everything else "")
    if not found.confirm(f"smtp lock {who}", aws, (), f"{target}: {does}?", auto_approve, out.info):
        out.info("Nothing was changed.")
        return 1
    if unlock:
        return _unlock(found, aws, target, known, undeclared, lock_timeout, out)
    return _lock(found, aws, target, known, undeclared, everything, out)


def _declares_role(state: State | None, name: str) -> bool:
    return state is not None and any(e.name == name for e in state.section("sending_roles"))


def _unlock(
    found: Incident, aws: Aws, target: LockTarget, known: bool, undeclared: bool, timeout: str, out: Output
) -> int:  # fmt: skip
    from reconciler.smtp import lock as locking

    held = with_lock(found.state.stack, f"smtp lock {target.name} --unlock", out, timeout) if found.state else None
    with held or contextlib.nullcontext():
        if target.type == "role":
            undone = locking.unlock_role(aws, target.name)
        else:
            scope = aws.stack.scope
            undone = locking.unlock(aws, scope, target.name, declared=known, undeclared=undeclared)
    result = {target.type: target.name, "locked": False, "keys": list(undone.keys) if undone else []}
    line = f"{target.name} was not locked."
    if undone:
        more = f"; activated: {_listed(undone.keys)}" if target.type == "user" else ""
        line = f"{target.name} may send again{more}."
    return print_outcome(out, aws.stack, "applied" if undone else "no_changes", result, [line])


def _lock(
    found: Incident, aws: Aws, target: LockTarget, known: bool, undeclared: bool, everything: bool, out: Output
) -> int:  # fmt: skip
    """Without the lock of the stack: an incident must not wait until another run ends."""
    from reconciler.kinds.snapshot import now
    from reconciler.smtp import lock as locking

    name, role = target.name, target.type == "role"
    if role:
        locked = locking.lock_role(aws, name, now(), everything=everything)
    else:
        locked = locking.lock(aws, aws.stack.scope, name, now(), declared=known, undeclared=undeclared)
    again = f"recon smtp lock {target if not known else name} --unlock{'' if known else ' --undeclared'}"
    also, unread = _other_rights(aws, target) if undeclared and not known else ([], [])
    if role:
        sessions = " Its sessions until now are revoked." if everything else " Its sessions keep their other rights."
        lines = [f"The role {name} may not send: ses:Send* is denied to it and its sessions.{sessions}"]
    else:
        lines = [f"{name} is locked: everything is denied to it; deactivated: {_listed(locked.keys)}."]
    if also:
        lines.append(f"Its policies {'also' if role else 'had'} allowed: {', '.join(also)}.")
    if any(one == "iam" or (one.startswith("everything") and "iam:" not in one.lower()) for one in also):
        lines.append("It could make keys, users and policies: look for them in CloudTrail, and run recon senders.")
    new = f"recon smtp rotate {name} creates a new key and unlocks it; " if known else ""
    lines.append(f"{new}{again} {'only ' if known else ''}unlocks it.")
    result = {target.type: name, "locked": True, "keys": list(locked.keys)}
    if not known:
        result |= {"everything": everything or not role, "also": also, "undo": again}
    outcome = "partial" if locked.problems else "applied"
    code = print_outcome(out, aws.stack, outcome, result, lines, locked.problems)
    for message in unread:
        out.info(message)
    return code


def _other_rights(aws: Aws, target: LockTarget) -> tuple[list[str], list[str]]:
    """What else the policies of a user or role allow, beside sending; and what could not be read of it."""
    from reconciler.kinds.snapshot import now
    from reconciler.senders import read_principals
    from reconciler.senders.report import other_rights

    facts = read_principals(aws, aws.stack.account, now())
    details = facts.users if target.type == "user" else facts.roles
    key = "UserName" if target.type == "user" else "RoleName"
    arns = [str(one["Arn"]) for one in details if str(one[key]).lower() == target.name.lower()]
    rights = [text for arn in arns for text in other_rights(facts, arn) if text != "ses"]
    return rights, [f"What else it may do is not known: {d.message}" for d in facts.diagnostics]


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(keys) or "no key (none was active)"


# --- password and verify -------------------------------------------------------------------------------------------


@smtp_app.command()
@options_from(out=text_or_json)
def password(
    user: UserArg,
    region: Annotated[str, typer.Option("--region", help="The region of the SMTP endpoint.")],
    state: StateArg = "state",
    env: EnvOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Do not ask, and print it even where there is no terminal.")
    ] = False,
    *,
    out: Output,
) -> int:
    """Print the stored SMTP password of a user for one region, after asking."""
    from reconciler.regions import smtp_host
    from reconciler.resources.smtp_credential import stores
    from reconciler.smtp.rotate import declared_credential

    if not force and not sys.stdout.isatty():
        raise Refused(
            "standard output is not a terminal: the password would be written to a file or a log",
            hint="programs should read the store; to print it anyway, give --force",
        )
    aws, snapshot = _read_users(load_state(state, env), "apply", user)
    desired = declared_credential(snapshot, user)
    store = next((s for s in desired.spec["stores"] if region in s["regions"]), None)
    if store is None:
        there = ", ".join(desired.spec["regions"]) or "none"
        raise ReconError(f"{user} has no password for {region}", hint=f"it has one for: {there}")
    question = f"Show the SMTP password of {user} for {region} on this terminal? Only `yes` is accepted: "
    if not force and not yes(question):
        out.info("Nothing was shown.")
        return 1
    stored = stores.read(aws, store)
    found = stores.password_for(stored, region)
    if found is None:
        raise ReconError(f"{stores.label(store)} holds no password for {region}", hint="recon apply stores one")
    if out.format == "json":
        place = {"username": stored["username"], "password": found, "host": smtp_host(region), "port": stores.PORT}
        sys.stdout.write(json.dumps({**place, "region": region}, indent=2) + "\n")
        return 0
    out.info(f"{smtp_host(region)}, port {stores.PORT} with STARTTLS, user name {stored['username']}; the password:")
    sys.stdout.write(found + "\n")
    return 0


@smtp_app.command()
@options_from(out=text_or_json)
def verify(
    what: Annotated[
        list[str] | None, typer.Argument(metavar="[USER] [STATE]", help="One user, or all; a path is the state.")
    ] = None,
    username: Annotated[
        str | None, typer.Option("--username", metavar="KEYID", help="Test a password that you hold: its user name.")
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="With --username: read the password from standard input.")
    ] = False,
    from_address: Annotated[
        str | None, typer.Option("--from", metavar="ADDRESS", help="May it send from this address? Nothing is sent.")
    ] = None,
    source_ip: Annotated[
        str | None, typer.Option("--source-ip", metavar="IP", help="May it send from this network address?")
    ] = None,
    region: RegionsOption = None,
    env: EnvOption = None,
    no_state: NoStateOption = False,
    account: AccountOption = None,
    parallelism: ParallelOption = 8,
    *,
    out: Output,
) -> int:
    """Log in over SMTP with the stored passwords, or with one that you hold, and quit before any mail; and say whether
    IAM policies let the user send.

    Exit 0 healthy, 2 something is wrong, 1 something could not be checked.
    """
    from reconciler.smtp.verify import verify_all

    user, place = name_and_state(what or (), "user", "recon smtp verify [USER] [STATE]")
    if (username is not None) != password_stdin or (username and user):
        raise ReconError(
            "a password that you hold needs --username and --password-stdin, and no USER",
            hint="recon smtp verify --username AKIA... --password-stdin --region us-east-1",
        )
    asked = message_asked(from_address, source_ip)
    around = incident(place, env, no_state, account)
    if username is not None:
        return _verify_held(around, username, region, asked, out)
    if around.state is None:
        raise ReconError(
            f"no YAML says where passwords are stored: {around.without}",
            hint="--username KEYID --password-stdin tests a password that you hold",
        )
    aws, snapshot = _read_users(around.state, "plan", user, parallelism)
    logins = with_permission(aws, verify_all(snapshot, aws, user, region or []), asked)
    return _print_logins(aws.stack, [(name, where, v, {}) for name, where, v in logins], out)


def _verify_held(
    around: Incident, username: str, chosen: list[str] | None, asked: Mapping[str, str], out: Output
) -> int:
    """Test a password from standard input; IAM says why it is refused, or whether its user may send."""
    import getpass

    from reconciler.masking import remember
    from reconciler.model import Stack
    from reconciler.smtp.verify import verify_held

    regions = around.regions(chosen)
    terminal = sys.stdin.isatty()
    with asking():
        held = (getpass.getpass("SMTP password: ") if terminal else sys.stdin.readline()).rstrip("\r\n")
    if not held:
        raise ReconError("standard input has no password", hint="such as: pass show mail | recon smtp verify ...")
    remember(held)
    logins = [(username, where, verify_held(username, held, where)) for where in regions]
    stack = around.state.stack if around.state is not None else Stack("", None, around.account or "", tuple(regions))
    try:
        aws = around.connect(regions)
        stack = aws.stack
        logins = explained(aws, logins, asked)
    except ReconError as problem:
        out.info(f"IAM was not asked about {username}: {problem.message}")
    return _print_logins(stack, [(username, where, v, {"username": username}) for _, where, v in logins], out)


def _print_logins(
    stack: Stack, logins: Sequence[tuple[str, str, Verdict, Mapping[str, str]]], out: Output
) -> int:  # fmt: skip
    """Print (user, region, verdict, members beside these) of every login; returns the exit code."""
    from reconciler.smtp.verify import FOUND, HEALTHY

    found = any(v.verdict in FOUND for _, _, v, _ in logins)
    unchecked = any(v.verdict not in FOUND and v.verdict != HEALTHY for _, _, v, _ in logins)
    outcome = "changes" if found else "error" if unchecked else "no_changes"
    if out.format == "json":
        rows = [
            {"user": None if more else name, **more, "region": where, "verdict": v.verdict, "message": v.message,
             "cause": v.cause or None, "hint": v.hint or None, "endpoint": v.endpoint or None, "tried": list(v.tried)}
            for name, where, v, more in logins
        ]  # fmt: skip
        diagnostics = [
            Diagnostic(
                "error" if v.verdict in FOUND else "warning", v.verdict, f"{name} in {where}: {v.message}", v.hint,
                address="" if more else f"smtp_credential/{name}",
            )
            for name, where, v, more in logins
            if v.verdict != HEALTHY
        ]  # fmt: skip
        out.document(stack, outcome, {"logins": rows}, diagnostics)
        return FOUND_CODES[outcome]
    from reconciler.renderers.escape import safe

    for name, where, v, _ in logins:
        sys.stdout.write(f"{safe(name)} {where}: {v.verdict}: {safe(v.message)}\n")
        if v.hint:
            sys.stdout.write(f"    hint: {safe(v.hint)}\n")
    if not logins:
        sys.stdout.write("No SMTP user is declared.\n")
    return FOUND_CODES[outcome]


def _read_users(state: State, purpose: str, user: str | None, parallelism: int = 16) -> tuple[Aws, Snapshot]:
    """A connection to the stack's account, and its SMTP users or the one that is named. Raises Refused, ReconError."""
    from reconciler.kinds.snapshot import now
    from reconciler.smtp.rotate import read_users

    aws = guarded(state.stack, purpose, parallelism)
    return aws, read_users(state, aws, now(), None if user is None else [user])
