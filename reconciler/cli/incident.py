"""What the commands for an incident share: they work with the YAML where there is any, and without it.

In the first minute of an incident nobody has YAML, or it is broken: credentials and a name are enough. What these
commands write is confirmed with the account and the region; without a terminal by --auto-approve, and where no YAML
names the account, by --account, too.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.common import AccountOption, EnvOption, StateArg, account_id, guarded, load_state, ses_regions, yes
from reconciler.errors import ReconError, Refused
from reconciler.redaction import know_account

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.journal import Recorder
    from reconciler.model import State

NoStateOption = Annotated[bool, typer.Option("--no-state", help="Ignore the YAML: credentials and a name are enough.")]
AnyRegionOption = Annotated[
    list[str] | None,
    typer.Option("--region", help="This region (repeatable); else the stack's, or without YAML the credentials'."),
]


@dataclass(frozen=True, slots=True)
class Incident:
    """The YAML of an incident command, or None with the reason; and the account that ``--account`` names."""

    state: State | None
    account: str | None
    without: str = ""

    def regions(self, chosen: Sequence[str] | None, *, anywhere: bool = True) -> list[str]:
        """The regions that are named; else the stack's; else the region of the credentials.

        Raises ReconError for a region without SES, and unless ``anywhere`` for one that the stack does not use.
        """
        from reconciler.aws.default_region import default_region
        from reconciler.suppression import regions_of

        if self.state is not None and not (chosen and anywhere):
            return regions_of(self.state, chosen or ())
        if named := ses_regions(chosen or ()):
            return named
        if (region := default_region()) is None:
            raise ReconError("no region is known", hint="give --region us-east-1, or set AWS_REGION")
        return [region]

    def home_region(self) -> str:
        """Where calls of IAM go: the stack's first region, or that of the credentials, or the usual one."""
        from reconciler.aws.default_region import default_region

        regions = self.state.stack.regions if self.state is not None else ()
        return regions[0] if regions else default_region() or "us-east-1"

    def connect(self, regions: Iterable[str], purpose: str = "plan", parallelism: int = 16) -> Aws:
        """A connection to the account. Raises Refused where it is not the one that the YAML or ``--account`` names."""
        from reconciler.aws import Aws
        from reconciler.model import Stack
        from reconciler.regions import partition_of

        places = tuple(regions)
        if self.state is not None:
            if self.account not in {None, self.state.stack.account}:
                raise Refused(
                    f"the YAML is for account {self.state.stack.account}, --account says {self.account}",
                    hint="--no-state ignores the YAML",
                )
            return guarded(self.state.stack, purpose, parallelism)
        stack = Stack("", None, "", places, partition_of(places[0]))
        aws = Aws(stack, purpose=purpose, parallelism=parallelism)
        found = aws.keep_to_own_account()
        know_account(found)
        if self.account not in {None, found}:
            raise Refused(f"your credentials are for account {found}, --account says {self.account}")
        return aws

    def confirm(
        self, command: str, aws: Aws, regions: Iterable[str], does: str, approved: bool, info: Callable[[str], None]
    ) -> bool:
        """Whether to write, after saying where. Asks on a terminal; raises ReconError where there is none and nothing
        else agrees."""
        where = f"account {aws.stack.account}" + "".join(f", {region}" for region in regions)
        if approved and (self.state is not None or self.account is not None):
            info(f"In {where}: {does}".replace("?", "."))
            return True
        if approved and not sys.stdin.isatty():
            raise ReconError(
                f"{command}: no YAML names the account, and there is no terminal to ask on",
                hint=f"give --account {aws.stack.account} with --auto-approve if that is the right one",
            )
        if not sys.stdin.isatty():
            more = "" if self.state is not None else f" --account {aws.stack.account}"
            message = f"{command} asks first, and there is no terminal to ask on"
            raise ReconError(message, hint=f"give --auto-approve{more}")
        return yes(f"In {where}: {does} Only `yes` is accepted: ")

    @contextlib.contextmanager
    def recording(self, aws: Aws, command: str, warn: Callable[[str], None]) -> Iterator[Recorder]:
        """A line in the journal of the stack; without YAML there is none, and nothing is kept."""
        from reconciler.journal import Recorder, recording

        if self.state is None:
            yield Recorder(warn)
            return
        with recording(self.state.stack, aws, command, warn=warn) as run:
            yield run


def incident(
    state: StateArg = "state", env: EnvOption = None, no_state: NoStateOption = False, account: AccountOption = None
) -> Incident:
    """The YAML where it can be read (for ``options_from``). Raises ReconError for a bad ``--account``."""
    account = account_id(account)
    if no_state:
        return Incident(None, account, "--no-state")
    if not Path(state).exists():
        return Incident(None, account, f"there is no {state}")
    try:
        return Incident(load_state(state, env), account)
    except ReconError as problem:
        errors = [one for one in problem.diagnostics if one.severity == "error"]
        first = errors[0].message if errors else problem.message
        return Incident(None, account, f"{state} cannot be used: {first}")


def announce(info: Callable[[str], None], found: Incident, aws: Aws) -> None:
    """Say in which account a command without YAML works, and why it has none."""
    if found.state is None:
        info(f"Without YAML ({found.without}): account {aws.stack.account}.")
