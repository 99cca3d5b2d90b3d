"""`recon suppression add`: put addresses on the list, one or many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.common import (
    AccountOption,
    ApproveOption,
    EnvOption,
    Output,
    options_from,
    outcome_of,
    print_outcome,
    read_given_or_stdin,
    text_or_json,
)
from reconciler.cli.incident import AnyRegionOption, NoStateOption, announce, incident
from reconciler.cli.suppression import addresses_and_state, carry_out, count, preview, suppression_app
from reconciler.errors import ReconError

if TYPE_CHECKING:
    from reconciler.suppression import SuppressedAddress


@suppression_app.command()
@options_from(out=text_or_json)
def add(
    what: Annotated[
        list[str] | None, typer.Argument(metavar="[ADDRESS]... [STATE]", help="Addresses, and the state.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="FILE", help="Addresses, one a line, or an export; - is standard input."),
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", help="BOUNCE or COMPLAINT, where a file does not say it.")
    ] = "BOUNCE",
    region: AnyRegionOption = None,
    env: EnvOption = None,
    no_state: NoStateOption = False,
    account: AccountOption = None,
    auto_approve: ApproveOption = False,
    *,
    out: Output,
) -> int:
    """Put addresses on the list, so that SES does not deliver to them. What is on it keeps its reason and date."""
    from reconciler import suppression

    addresses, state = addresses_and_state(what or (), "add")
    if not addresses and source is None:
        raise ReconError("no address was given", hint="recon suppression add ADDRESS... or --from FILE")
    if (chosen := reason.upper()) not in suppression.REASONS:
        raise ReconError(f"--reason {reason} is not known", hint=" or ".join(suppression.REASONS))
    around = incident(state, env, no_state, account)
    regions = around.regions(region, anywhere=False)
    text = "\n".join(addresses)
    wanted = suppression.parse_additions(text, "the command line", regions, chosen) if addresses else []
    if source is not None:
        wanted += suppression.parse_additions(read_given_or_stdin(source), source, regions, chosen)
    if not auto_approve and source == "-":
        raise ReconError("add asks first, and standard input is the list", hint="give --auto-approve")
    aws = around.connect(regions, "apply")
    announce(out.info, around, aws)
    removals = [suppression.Removal(entry.address, entry.region) for entry in wanted]
    there, problems = suppression.find_entries(aws, regions, removals)
    known = {(entry.region, entry.address.lower()) for entry in there}
    todo = [entry for entry in wanted if (entry.region, entry.address.lower()) not in known]
    done: list[SuppressedAddress] = []
    if todo and not problems:
        if out.format == "text":
            preview(todo, lambda e: f"+ {e.address} in {e.region}: {e.reason}", out)
        question = f"put {count(len(todo))} on the list? SES no longer delivers to them."
        if not around.confirm("suppression add", aws, regions, question, auto_approve, out.info):
            out.info("Nothing was added.")
            return 1
        done, problems = carry_out(aws, around, "add", todo, out)
    present = sorted({entry.address for entry in there})
    left = len(todo) - len(done)
    line = f"{count(len(done))} added" + (f", {left:,} left" if left else "")
    line += f"; {len(there):,} were on the list already." if there else "."
    members = {"added": [{k: v for k, v in e.to_json().items() if k != "since"} for e in done], "present": present}
    return print_outcome(out, aws.stack, outcome_of(len(done), problems), members, [line], problems)
