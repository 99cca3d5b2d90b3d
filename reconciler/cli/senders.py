"""`recon senders`: every way mail can leave the account."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.app import app
from reconciler.cli.common import FOUND_CODES, Output, ParallelOption, any_format, head_of, options_from
from reconciler.cli.incident import AnyRegionOption, Incident, announce, incident
from reconciler.errors import ReconError

if TYPE_CHECKING:
    from reconciler.model import Diagnostic
    from reconciler.senders import AccountFacts, SendersReport


@app.command()
@options_from(out=any_format, found=incident)
def senders(
    found: Incident,
    region: AnyRegionOption = None,
    identities: Annotated[
        str, typer.Option("--identities", metavar="N", help="Read the policies of so many identities, or of all.")
    ] = "100",
    check: Annotated[
        bool, typer.Option("--check", help="Exit 2 if somebody can send that nothing declares and no waiver names.")
    ] = False,
    parallelism: ParallelOption = 16,
    *,
    out: Output,
) -> int:
    """List every way mail can leave the account.

    Who, as what, from where, last used, declared or not. Exit 0; 1 if something that decides could not be read. With
    --check 2 if somebody undeclared can send.
    """
    from reconciler.kinds.snapshot import now
    from reconciler.senders import find, givers, read, read_keys, undeclared
    from reconciler.senders.report import add_keys

    most = _most(identities)
    regions = found.regions(region)
    aws = found.connect(regions, parallelism=parallelism)
    aws.on_wait = out.info
    announce(out.info, found, aws)
    out.info(f"Reading IAM, and SES in {', '.join(regions)} ...")
    time = now()
    facts = read(aws, aws.stack.account, regions, time, identities=most)
    report = find(facts, found.state)
    everybody = [*report.senders, *report.administrators]
    read_keys(aws, facts, (s.name for s in everybody if s.type == "user"))
    add_keys(facts, report)
    findings = undeclared(report, found.state, time) if check else []
    failed = any(one.severity == "error" for one in findings)
    outcome = "changes" if failed else "error" if facts.undecided else "no_changes"
    document = {
        **head_of(aws.stack), "outcome": outcome, **_members(facts, report),
        "diagnostics": [d.to_json() for d in (*findings, *facts.diagnostics, *givers(facts), *_limits(found))],
    }  # fmt: skip
    _print(document, time, out)
    return FOUND_CODES[outcome]


def _most(text: str) -> int:
    from reconciler.senders import ALL

    if text == "all":
        return ALL
    if not text.isdecimal():
        raise ReconError(f"--identities {text} is not a number", hint="a number, or all")
    return int(text)


def _members(facts: AccountFacts, report: SendersReport) -> dict[str, object]:
    return {
        "regions": list(facts.regions), "principals": report.principals, "credential_report": facts.report_time,
        "senders": [one.to_json() for one in report.senders],
        "administrators": [one.to_json() for one in report.administrators],
        "live": {
            "identities": sorted({name for some in facts.identities.values() for name in some}),
            "configuration_sets": sorted({name for some in facts.sets.values() for name in some}),
        },
    }  # fmt: skip


def _limits(found: Incident) -> Iterator[Diagnostic]:
    """What is not considered."""
    from reconciler.model import Diagnostic

    if found.state is None:
        yield Diagnostic("note", "no-state", f"without YAML, tags alone say what is declared: {found.without}")
    message = "service control policies, session policies and policies of VPC endpoints are not read: they only take "
    yield Diagnostic("note", "policies-not-read", message + "rights away")


def _print(document: dict[str, object], time: str, out: Output) -> None:
    from reconciler.renderers import senders as drawn

    if out.format == "json":
        document.pop("live")
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    elif out.format == "markdown":
        text = drawn.senders_markdown(document, time)
    elif out.format == "html":
        text = drawn.senders_html(document, time)
    else:
        text = drawn.senders_text(document, time, color=out.color, verbose=out.verbose)
    sys.stdout.write(text)
    sys.stdout.flush()
