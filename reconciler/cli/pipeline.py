"""Commands for pipelines: history, init, iam-policy. None of them writes to AWS."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.app import app
from reconciler.cli.common import (
    ColorOption,
    Output,
    QuietOption,
    backend_connection,
    load_state,
    options_from,
    text_or_json,
)
from reconciler.errors import ReconError

if TYPE_CHECKING:
    from reconciler.journal import JournalRun
    from reconciler.model import State


@app.command()
@options_from(out=text_or_json, declared=load_state)
def history(
    declared: State,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many runs.")] = 20,
    *,
    out: Output,
) -> int:
    """Show the past runs that wrote to this stack. From its journal, newest first."""
    from reconciler.journal import read_runs

    stack = declared.stack
    runs = read_runs(stack, backend_connection(stack, "plan"), limit=limit, warn=out.info)
    if out.format == "json":
        out.document(stack, "no_changes", {"runs": [run.to_json() for run in runs]})
    else:
        sys.stdout.write("".join(_run_lines(run) for run in runs) or f"The journal of {stack.scope} has no runs.\n")
    return 0


@app.command()
def init(
    directory: Annotated[str, typer.Argument(metavar="[DIR]", help="Where to write.")] = ".",
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the stack; by default that of the directory.")
    ] = None,
    account: Annotated[
        str | None, typer.Option("--account", help="AWS account id; by default that of the state that is there.")
    ] = None,
    region: Annotated[
        str | None, typer.Option("--region", help="A region with SES; by default that of the state that is there.")
    ] = None,
    domain: Annotated[str, typer.Option("--domain", help="A domain that sends mail.")] = "acme.example",
    forge: Annotated[str, typer.Option("--forge", help="github, gitlab or none.")] = "github",
    package: Annotated[
        str | None,
        typer.Option("--package", help="What the jobs install: a wheel by its hash, a git URL by its commit."),
    ] = None,
    aws: Annotated[
        bool, typer.Option("--aws", help="Print trust policies and bucket policy instead; writes no file.")
    ] = False,
    repository: Annotated[
        str, typer.Option("--repository", metavar="OWNER/NAME", help="With --aws: whose jobs the roles trust.")
    ] = "OWNER/NAME",
    repository_id: Annotated[
        str, typer.Option("--repository-id", metavar="ID/ID", help="With --aws: GitHub's ids of owner and repository.")
    ] = "",
    no_color: ColorOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a commented state/ to start from. With --package also the workflow files of a forge. Never overwrites."""
    from reconciler.scaffold import FORGES, InitOptions, files, name_of, places_of, write

    out = Output(no_color=no_color, quiet=quiet)
    if forge not in FORGES:
        raise ReconError(f"unknown forge {forge}", hint=f"--forge takes one of {', '.join(FORGES)}")
    root = Path(directory)
    places = places_of(root)
    first = places[0] if places else None
    known = account or (first.account if first else "")
    account = known or "111122223333"
    region = region or (first.region if first else "us-east-1")
    if aws:
        sys.stdout.write(_aws_policies(root, forge, repository, repository_id, account, region))
        _placeholders(out, forge, repository, repository_id, known)
        return
    options = InitOptions(name or name_of(root), account, region, domain, forge, package or "", places)  # type: ignore[arg-type]
    written, skipped = write(root, files(options))
    sys.stdout.write("".join(f"wrote {root / path}\n" for path in written))
    sys.stdout.write("".join(f"kept {root / path}, which already exists\n" for path in skipped))
    if forge != "none" and package is None:
        out.info(
            "Left out: the workflow files, since nothing says what their jobs install. recon init --package URL adds "
            "them: a wheel with its hash (https://.../recon_mail-0.2.0-py3-none-any.whl#sha256=...), or "
            "git+https://HOST/OWNER/recon@COMMIT"
        )
    if any(path.startswith("state/") for path in written):
        out.info(_next(root / "state"))


def _next(state: Path) -> str:
    """What to do with a state that was just written, for where the user is."""
    given = "" if state.parent.resolve() == Path.cwd() else f" {shlex.quote(str(state))}"
    then = f"recon validate{given} && recon plan{given}"
    return f"Next: edit {state / 'stack.yaml'} and {state / 'domains.yaml'}, then run: {then}"


def _placeholders(out: Output, forge: str, repository: str, repository_id: str, account: str) -> None:
    """Say what in the policies of --aws stands for something that nobody has said, and the option that says it."""
    if not account:
        out.info("111122223333 is a placeholder for your account: --account ID says it, or a state that is there.")
    if repository == "OWNER/NAME":
        out.info("OWNER/NAME is a placeholder for the repository whose jobs the roles trust: --repository says it.")
    if forge != "gitlab" and not repository_id:
        out.info(
            "OWNER_ID and REPOSITORY_ID are placeholders for GitHub's numbers: --repository-id OWNER_ID/REPOSITORY_ID "
            f"""says them; gh api repos/{repository} --jq '"\\(.owner.id)/\\(.id)"' prints them."""
        )


def _aws_policies(
    root: Path, forge: str, repository: str, repository_id: str, account: str, region: str
) -> str:  # fmt: skip
    """The trust policy of each role of each account, and the policy of each bucket, as JSON with a line before each."""
    from reconciler import desired
    from reconciler.regions import partition_of
    from reconciler.scaffold import Place, places_of
    from reconciler.scaffold.aws import Pipeline, bucket_policy, trust_policies

    places = places_of(root) or (Place("", account, region),)
    owner_id, _, own_id = repository_id.partition("/")
    parts = []
    for one in {place.account: place for place in places}.values():
        named = tuple(p.environment or "production" for p in places if p.account == one.account)
        pipeline = Pipeline("github" if forge == "none" else forge, repository, owner_id, own_id, named)
        for role, document in trust_policies(pipeline, one.account, partition_of(one.region)).items():
            parts.append(
                f"# Trust policy of the role {role} in account {one.account}\n{json.dumps(document, indent=2)}\n"
            )
    backends: dict[str, tuple[set[str], str]] = {}
    for place in places_of(root) or ():
        stack = desired.load(root / "state", place.environment or None).state.stack
        if (s3 := stack.backend.get("s3") or {}).get("bucket"):
            accounts, _ = backends.setdefault(str(s3["bucket"]), (set(), place.region))
            accounts |= {place.account, str(s3.get("account") or place.account)}
    for bucket, (accounts, where) in (
        backends or {f"{account}-recon": ({places[0].account}, places[0].region)}
    ).items():
        document = bucket_policy(bucket, accounts, where)
        parts.append(f"# Policy of the bucket {bucket} (stack.backend)\n{json.dumps(document, indent=2)}\n")
    return "\n".join(parts)


@app.command("iam-policy")
@options_from(declared=load_state)
def iam_policy(
    command: Annotated[str, typer.Argument(metavar="plan|apply", help="The command that the policy is for.")],
    declared: State,
    dns: Annotated[bool, typer.Option("--dns", help="For the role in the account of the zones.")] = False,
    removing: Annotated[
        list[str] | None,
        typer.Option("--removing", metavar="DOMAIN", help="Records of this domain, no longer declared, may go, too."),
    ] = None,
    part: Annotated[
        int | None, typer.Option("--part", min=1, help="Print one part, if one managed policy is too small.")
    ] = None,
    no_color: ColorOption = False,
) -> int:
    """Print the least-privilege IAM policy of plan or apply. For this stack. Offline."""
    from reconciler.iam_policy import MAX_CHARACTERS, MAX_POLICIES, notes, parts, policy, size
    from reconciler.names import fold_domain

    out = Output(no_color=no_color)
    if command not in ("plan", "apply"):
        raise ReconError(f"there is no policy for {command}", hint="recon iam-policy plan, or recon iam-policy apply")
    if removing and command == "plan":
        raise ReconError("a plan removes nothing: --removing is for apply", hint="leave it out")
    try:
        gone = [fold_domain(name) for name in removing or ()]
    except ValueError as error:
        raise ReconError(f"--removing: {error}", hint="name a domain, such as --removing old.acme.com") from error
    document = policy(declared, "plan" if command == "plan" else "apply", dns=dns, removing=gone)
    pieces = parts(document)
    if part is not None and part > len(pieces):
        raise ReconError(f"there is no part {part}", hint=f"the policy has {len(pieces)}")
    printed = document if part is None else pieces[part - 1]
    sys.stdout.write(json.dumps(printed, indent=2, ensure_ascii=False) + "\n")
    for note in notes(document, declared, gone):
        out.info(note)
    if part is None and len(pieces) > 1:
        out.info(
            f"This has {size(document):,} characters; a managed policy can have {MAX_CHARACTERS:,}, and a role "
            f"{MAX_POLICIES} of them. Create {len(pieces)} managed policies, cut between statements or their resources:"
        )
        for number, piece in enumerate(pieces, 1):
            out.info(f"  --part {number}: {', '.join(statement['Sid'] for statement in piece['Statement'])}")
    if declared.stack.dns_role_arn and not dns:
        out.info(f"The zones are in another account: recon iam-policy {command} --dns prints the policy for that role.")
    return 0


def _run_lines(run: JournalRun) -> str:
    """Two lines for a run, and one for each step that failed."""
    from reconciler.renderers.escape import safe
    from reconciler.renderers.headline import plural

    counts = run.counts
    steps = [f"{plural(counts[name], 'step')} {name}" for name in ("done", "failed", "skipped") if counts[name]]
    changes = ", ".join(
        f"{number} {'' if name == 'refused' else 'to '}{name}" for name, number in run.summary.items() if number
    )
    who = " ".join(part for part in (run.who or run.user, f"on {run.host}" if run.host else "") if part)
    lines = [
        f"{run.started[:19]}Z  {run.outcome or 'no end: killed, or still running'}  {run.command}  {who}",
        "  " + "; ".join(part for part in (
            changes, ", ".join(steps), f"took {run.seconds:.0f} s" if run.seconds is not None else "",
            f"plan {run.plan_digest[:19]}" if run.plan_digest else "", f"run {run.id}",
        ) if part),
    ]  # fmt: skip
    lines += [f"  failed: {step} ({code or 'error'})" for step, outcome, code, _ in run.steps if outcome == "failed"]
    return "".join(safe(line) + "\n" for line in lines)
