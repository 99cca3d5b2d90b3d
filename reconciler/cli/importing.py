"""``recon import``: what exists live, as YAML. Never writes to AWS."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.app import app
from reconciler.cli.common import (
    TEXT_OR_JSON,
    ColorOption,
    EnvOption,
    Out,
    ParallelOption,
    QuietOption,
    TextOrJsonOption,
)
from reconciler.errors import ReconError

if TYPE_CHECKING:
    from reconciler.importing import Imported
    from reconciler.model import Diagnostic


@app.command("import")
def import_(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAMES", help="Domains, addresses, KIND/NAME, SMTP users; globs. All by default."),
    ] = None,
    region: Annotated[
        list[str] | None, typer.Option("--region", help="Where to look (repeatable); by default all regions of SES.")
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", help="A directory, or a file ending in .yaml; by default standard output.")
    ] = None,
    stack: Annotated[str | None, typer.Option("--stack", help="Name of the stack that will own it.")] = None,
    account: Annotated[str | None, typer.Option("--account", help="Refuse any other account (twelve digits).")] = None,
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
    """Write commented YAML for what exists live. Its plan adopts, and changes nothing else."""
    from reconciler.aws import Aws
    from reconciler.importing import SINGLE, Request, read_state, run, stack_for
    from reconciler.regions import SES_REGIONS
    from reconciler.running import now

    speak = Out(format, no_color, quiet, formats=TEXT_OR_JSON)
    for place in region or ():
        if place not in SES_REGIONS:
            raise ReconError(f"{place} is not a region of SES", hint=f"such as {', '.join(SES_REGIONS[:4])}")
    if account is not None and not (len(account) == 12 and account.isdigit()):
        raise ReconError(f"--account {account} is not an account", hint="twelve digits")
    single, directory = _target(out)
    path = state or (directory if directory and _has_yaml(directory) else None)
    existing = None
    if path is not None:
        existing = read_state(path, env)
        if existing is None and state is not None:
            raise ReconError(f"{state} holds no state", hint="name a directory or file with YAML, or leave out --state")
    if existing is not None:
        if stack is not None and stack != existing.stack.name:
            raise ReconError(f"the state at {path} is for the stack {existing.stack.name}", hint="leave out --stack")
        if account is not None and account != existing.stack.account:
            raise ReconError(f"the state at {path} is for account {existing.stack.account}", hint="leave out --account")
        if directory is not None:
            single = str(_free(directory))
    elif env is not None:
        raise ReconError("--env needs a state that has environments", hint="add --state, or leave out --env")
    if single is None and directory is None:
        single = SINGLE
    request = Request(
        tuple(names or ()), tuple(dict.fromkeys(region or ())), stack or "mail", account, existing, path, env,
        smtp_users, single,
    )  # fmt: skip
    speak.say("Reading what is live ...")
    aws = Aws(stack_for(request), purpose="plan", parallelism=parallelism)
    done = run(request, aws, now())
    written: list[str] = []
    if out is not None and done.texts:
        written = _write(done.texts, directory if single is None else None)
    _tell(speak, done, written, shown=out is None)
    if done.unread or done.missed:
        raise typer.Exit(1)


def _target(out: str | None) -> tuple[str | None, str | None]:
    """(the one file, the directory) that is written; neither for standard output. Raises ReconError."""
    if out is None:
        return None, None
    place = Path(out)
    if place.suffix in {".yaml", ".yml"} and not place.is_dir():
        if place.exists() or place.is_symlink():
            raise ReconError(f"{out} exists; import never overwrites", hint="name another file")
        return out, None
    if place.exists() and not place.is_dir():
        raise ReconError(f"{out} is neither a directory nor a .yaml file", hint="name a directory or a new .yaml file")
    return None, out


def _has_yaml(directory: str) -> bool:
    return any(p.suffix in {".yaml", ".yml"} for p in Path(directory).rglob("*") if p.is_file())


def _free(directory: str) -> Path:
    """A file name in a state that is not taken."""
    number = 1
    while True:
        place = Path(directory) / ("imported.yaml" if number == 1 else f"imported-{number}.yaml")
        if not place.exists() and not place.is_symlink():
            return place
        number += 1


def _write(texts: Mapping[str, str], directory: str | None) -> list[str]:
    """Write new files; never over one that is there. Raises ReconError."""
    written = []
    for name, text in texts.items():
        place = Path(directory) / name if directory else Path(name)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise ReconError(f"{place} exists; import never overwrites", hint="name another directory") from None
        except OSError as problem:
            raise ReconError(f"{place} could not be written: {problem.strerror}") from None
        written.append(str(place))
    return written


def _tell(speak: Out, done: Imported, written: list[str], *, shown: bool) -> None:
    if speak.format == "json":
        said = {
            "imported": list(done.addresses), "written": written, "files": dict(done.texts) if shown else {},
            "calls": dict(done.calls),
        }  # fmt: skip
        speak.document(done.stack, "error" if done.unread or done.missed else "no_changes", said, done.diagnostics)
        return
    if shown:
        sys.stdout.write("".join(done.texts.values()))
    sys.stdout.write("".join(f"wrote {path}\n" for path in written))
    sys.stdout.flush()
    for found in done.diagnostics:
        if found.severity == "error" or not speak.quiet:
            sys.stderr.write(_line(found))
    if done.closed:
        speak.say(f"{len(done.closed)} regions are not open to the account and were passed over.")
    if not done.addresses:
        speak.say("Nothing was imported." if not done.texts else "Nothing is declared; see the comments.")
        return
    adopted = sum(change.action == "adopt" for change in done.plan.changes) if done.plan else 0
    things = f"{len(done.addresses)} thing{'s' * (len(done.addresses) != 1)}"
    speak.say(f"Imported {things}; of what SES and Route 53 hold the plan adopts {adopted} and changes nothing.")
    if any(address.startswith("smtp_user/") for address in done.addresses):
        speak.say("SMTP users are declared: the first apply makes a new access key for each and stores its password.")


def _line(found: Diagnostic) -> str:
    from reconciler.renderers.escape import safe

    hint = f"\n  hint:    {safe(found.hint)}" if found.hint else ""
    return f"{found.severity}: {safe(found.message)}  [{found.code}]{hint}\n"
