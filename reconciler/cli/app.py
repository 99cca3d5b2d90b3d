"""The typer application that the command modules register with."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from reconciler import __version__

app = typer.Typer(
    name="recon",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Keep e-mail sending on AWS as declared: SES, Route 53 and IAM SMTP users, from YAML.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def command_group(name: str, help: str) -> typer.Typer:
    """A group of commands, ``recon NAME COMMAND``."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=help)
    app.add_typer(group, name=name)
    return group


def _version(value: bool) -> None:
    if value:
        sys.stdout.write(f"recon {__version__}\n")
        raise typer.Exit()


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Keep e-mail sending on AWS as declared."""
