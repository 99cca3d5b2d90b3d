"""``recon import``: writes YAML for resources that exist in AWS. Never writes to AWS."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.app import app
from reconciler.cli.common import (
    TEXT_OR_JSON,
    AccountOption,
    ColorOption,
    EnvOption,
    Output,
    ParallelOption,
    QuietOption,
    TextOrJsonOption,
    account_id,
    ses_regions,
)
from reconciler.errors import ReconError

if TYPE_CHECKING:
    from reconciler.importing import Imported
    from reconciler.model import Diagnostic, State


@app.command("import")
def import_(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAMES", help="Domains, addresses, KIND/NAME, SMTP users; globs. All by default."),
    ] = None,
    region: Annotated[
        list[str] | None, typer.Option("--region", help="Only this region (repeatable); by default all SES regions.")
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", help="A directory, or a file ending in .yaml; by default standard output.")
    ] = None,
    stack: Annotated[str | None, typer.Option("--stack", help="Name of the stack that will own it.")] = None,
    account: AccountOption = None,
    state: Annotated[
        str | None, typer.Option("--state", help="A state that exists: import what it does not declare.")
    ] = None,
    env: EnvOption = None,
    smtp_users: Annotated[
        bool, typer.Option("--smtp-users", help="Declare SMTP users; else they are written as comments.")
    ] = False,
    parallelism: ParallelOption = 16,
    format: TextOrJsonOption = "text",
    no_color: ColorOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write commented YAML for existing resources. Applying it adopts them and changes nothing else."""
    from reconciler.aws import Aws
    from reconciler.importing import SINGLE, ImportRequest, run, stack_for
    from reconciler.running import now

    output = Output(format, no_color, quiet, formats=TEXT_OR_JSON)
    ses_regions(region or ())
    account_id(account)
    file, directory = _target(out)
    path = state or (directory if directory and _has_yaml(directory) else None)
    existing = _existing_state(path, state, env, stack, account)
    if existing is not None and directory is not None:
        file = str(_unused_file(directory))
    if file is None and directory is None:
        file = SINGLE
    request = ImportRequest(
        tuple(names or ()), tuple(dict.fromkeys(region or ())), stack or "mail", account, existing, path, env,
        smtp_users, file,
    )  # fmt: skip
    output.info("Reading AWS ...")
    aws = Aws(stack_for(request), purpose="plan", parallelism=parallelism)
    imported = run(request, aws, now())
    written: list[str] = []
    if out is not None and imported.texts:
        written = _write(imported.texts, directory if file is None else None)
    _print(output, imported, written, to_stdout=out is None)
    if imported.unread or imported.missed:
        raise typer.Exit(1)


def _existing_state(
    path: str | None, state: str | None, env: str | None, stack: str | None, account: str | None
) -> State | None:
    """The state at ``path``, or None if there is none. Raises ReconError if the other options contradict it."""
    from reconciler.importing import read_state

    existing = read_state(path, env) if path is not None else None
    if existing is None:
        if state is not None:
            raise ReconError(f"{state} has no state", hint="name a directory or file with YAML, or leave out --state")
        if env is not None:
            raise ReconError("--env needs a state with environments", hint="add --state, or leave out --env")
        return None
    if stack is not None and stack != existing.stack.name:
        raise ReconError(f"the state at {path} is for stack {existing.stack.name}", hint="leave out --stack")
    if account is not None and account != existing.stack.account:
        raise ReconError(f"the state at {path} is for account {existing.stack.account}", hint="leave out --account")
    return existing


def _target(out: str | None) -> tuple[str | None, str | None]:
    """(the file, the directory) to write: one of them, or neither for standard output. Raises ReconError."""
    if out is None:
        return None, None
    path = Path(out)
    if path.suffix in {".yaml", ".yml"} and not path.is_dir():
        if path.exists() or path.is_symlink():
            raise ReconError(f"{out} exists; import never overwrites", hint="name another file")
        return out, None
    if path.exists() and not path.is_dir():
        raise ReconError(f"{out} is neither a directory nor a .yaml file", hint="name a directory or a new .yaml file")
    return None, out


def _has_yaml(directory: str) -> bool:
    return any(p.suffix in {".yaml", ".yml"} for p in Path(directory).rglob("*") if p.is_file())


def _unused_file(directory: str) -> Path:
    """A path for a new file in a state."""
    number = 1
    while True:
        path = Path(directory) / ("imported.yaml" if number == 1 else f"imported-{number}.yaml")
        if not path.exists() and not path.is_symlink():
            return path
        number += 1


def _write(texts: Mapping[str, str], directory: str | None) -> list[str]:
    """Write new files; existing ones are never overwritten. Raises ReconError."""
    written = []
    for name, text in texts.items():
        path = Path(directory) / name if directory else Path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise ReconError(f"{path} exists; import never overwrites", hint="name another directory") from None
        except OSError as problem:
            raise ReconError(f"{path} could not be written: {problem.strerror}") from None
        written.append(str(path))
    return written


def _print(output: Output, imported: Imported, written: list[str], *, to_stdout: bool) -> None:
    if output.format == "json":
        members = {
            "imported": list(imported.addresses), "written": written,
            "files": dict(imported.texts) if to_stdout else {}, "calls": dict(imported.calls),
        }  # fmt: skip
        outcome = "error" if imported.unread or imported.missed else "no_changes"
        output.document(imported.stack, outcome, members, imported.diagnostics)
        return
    if to_stdout:
        sys.stdout.write("".join(imported.texts.values()))
    sys.stdout.write("".join(f"wrote {path}\n" for path in written))
    sys.stdout.flush()
    for diagnostic in imported.diagnostics:
        if diagnostic.severity == "error" or not output.quiet:
            sys.stderr.write(_diagnostic_lines(diagnostic))
    if imported.closed:
        output.info(f"Skipped {len(imported.closed)} regions that the account cannot use.")
    if not imported.addresses:
        output.info("Nothing was imported." if not imported.texts else "Nothing is declared; see the comments.")
        return
    from reconciler.renderers.headline import plural

    changes = imported.plan.changes if imported.plan else ()
    adopted = sum(change.action == "adopt" and not change.claims for change in changes)
    then = f"applying this adopts {plural(adopted, 'resource')} with all parts, and changes nothing else in AWS"
    if not (changes or imported.new_keys):
        then = f"the stack {imported.stack.scope} owns all of it already"
    output.info(f"Imported {plural(len(imported.addresses), 'resource')}; {then}.")
    if lost := sum(one.code == "owned-already" for one in imported.diagnostics):
        output.info(f"Its plan would DELETE {plural(lost, 'resource')} that it does not declare: see [owned-already].")
    if imported.new_keys:
        output.info("SMTP users are declared: the first apply creates an access key for each and stores its password.")


def _diagnostic_lines(diagnostic: Diagnostic) -> str:
    from reconciler.renderers.escape import safe

    hint = f"\n  hint:    {safe(diagnostic.hint)}" if diagnostic.hint else ""
    return f"{diagnostic.severity}: {safe(diagnostic.message)}  [{diagnostic.code}]{hint}\n"
