"""`recon doctor`: why mail of a domain does not arrive, layer by layer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from reconciler.cli.app import app
from reconciler.cli.common import (
    FOUND_CODES,
    AccountOption,
    EnvOption,
    Output,
    ParallelOption,
    name_and_state,
    options_from,
    text_or_json,
)
from reconciler.cli.incident import AnyRegionOption, Incident, NoStateOption, announce, incident
from reconciler.errors import ReconError
from reconciler.model import Diagnostic

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.doctor import Check, Facts
    from reconciler.doctor.grouping import Group
    from reconciler.model import Stack, State
    from reconciler.public_dns import PublicDns


@app.command()
@options_from(out=text_or_json)
def doctor(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DOMAIN] [STATE]", help="One domain or address, or all; a path is the state."),
    ] = None,
    env: EnvOption = None,
    region: AnyRegionOption = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="ADDRESS", help="A recipient that gets no mail: is it suppressed?")
    ] = None,
    message: Annotated[
        str | None,
        typer.Option("--message", metavar="FILE", help="A received message or a bounce (.eml): what failed, and why."),
    ] = None,
    resolver: Annotated[
        list[str] | None,
        typer.Option("--resolver", help="Ask this DNS resolver: 1.1.1.1, or ADDRESS:PORT (repeatable)."),
    ] = None,
    no_dns: Annotated[bool, typer.Option("--no-dns", help="Do not ask public DNS.")] = False,
    no_state: NoStateOption = False,
    account: AccountOption = None,
    parallelism: ParallelOption = 16,
    *,
    out: Output,
) -> int:
    """Find out why mail does not arrive: account, identity, DNS, alignment, SMTP, suppression, reputation.

    Works with the YAML, or without it on what is live. Exit 0 healthy, 2 something is wrong, 1 something could not be
    checked.
    """
    from reconciler import suppression
    from reconciler.doctor import diagnose
    from reconciler.public_dns import PublicDns

    if to is not None and not suppression.is_address(to):
        raise ReconError(f"--to {to} is not an e-mail address", hint="such as ann@example.com")
    name, place = name_and_state(what or (), "domain", "recon doctor [DOMAIN] [STATE]")
    around = incident(place, env, no_state, account)
    if message is not None:
        from reconciler.cli.doctor_message import diagnose_message

        return diagnose_message(message, around.state, resolver or [], no_dns, out)
    name = None if name is None else _folded(name)
    if around.state is not None and name is not None:
        _must_be_declared(around.state, name)
    regions = around.regions(region, anywhere=False)
    dns = None if no_dns else PublicDns(resolver or ())
    aws = around.connect(regions, parallelism=parallelism)
    announce(out.info, around, aws)
    facts = _gather(around, aws, regions, bool(region), name, to or "", dns)
    checks = diagnose(facts)
    _show(checks, facts.domains, aws.stack, _undeclared(around, name), out)
    return FOUND_CODES[_outcome(checks)]


def _show(checks: list[Check], domains: list[str], stack: Stack, notes: list[Diagnostic], out: Output) -> None:
    """Print the checks in the format that was asked for."""
    from reconciler.doctor import headline
    from reconciler.doctor.runbook import runbook

    said = headline(checks)
    if out.format == "json":
        document = {"headline": said, "runbook": runbook(checks) or None, "checks": [c.to_json() for c in checks]}
        out.document(stack, _outcome(checks), document, [*_diagnostics(checks), *notes])
        return
    _text(said, checks, domains, out)
    for one in notes:
        out.info(f"{one.message}: {one.hint}")


def _gather(
    around: Incident, aws: Aws, regions: list[str], chosen: bool, name: str | None, to: str, dns: PublicDns | None
) -> Facts:
    from reconciler.doctor import gather, gather_live
    from reconciler.kinds.snapshot import now

    if around.state is None:
        return gather_live(aws, regions, now(), name or "", recipient=to, dns=dns)
    only = regions if chosen else ()
    return gather(around.state, aws, now(), name or "", recipient=to, dns=dns, regions=only)


def _undeclared(around: Incident, name: str | None) -> list[Diagnostic]:
    """How to declare what was seen without YAML."""
    if around.state is not None:
        return []
    command = f"recon import {name}" if name else "recon import"
    return [Diagnostic("note", "no-state", "no YAML declares this", f"{command} writes what is live as YAML")]


def _folded(name: str) -> str:
    from reconciler.names import fold_identity

    try:
        return fold_identity(name)
    except ValueError as problem:
        raise ReconError(f"{name} is not a domain name: {problem}") from None


def _must_be_declared(declared: State, name: str) -> None:
    every = sorted({e.name for section in ("domains", "email_addresses") for e in declared.section(section)})
    if name in every or name.rpartition("@")[2] in every:
        return
    from reconciler.names import similar

    close = similar(name, every, 3)
    hint = f"did you mean {', '.join(close)}?" if close else "recon import writes the YAML for existing domains"
    hint += "; --no-state looks at what is live"
    raise ReconError(f"the {'address' if '@' in name else 'domain'} {name} is not declared", hint=hint)


def _outcome(checks: list[Check]) -> str:
    from reconciler.doctor import FOUND, UNKNOWN

    seen = {c.status for c in checks}
    return "changes" if FOUND in seen else "error" if UNKNOWN in seen else "no_changes"


def _diagnostics(checks: list[Check]) -> list[Diagnostic]:
    from reconciler.doctor import FOUND, OK

    return [
        Diagnostic("error" if c.status == FOUND else "warning", f"doctor-{c.layer}", c.message, c.hint)
        for c in checks
        if c.status != OK
    ]


def _text(said: str, checks: list[Check], domains: list[str], out: Output) -> None:
    """The headline, then a line for each check; alike ones, and many symptoms of one cause, are one line."""
    from reconciler.doctor.grouping import Group, groups
    from reconciler.doctor.runbook import runbook
    from reconciler.renderers.escape import safe, wrap

    width = out.width()
    lines = [*wrap(safe(said), width), ""]
    for group in [Group((check,)) for check in checks] if out.verbose else groups(checks):
        lines += _lines(group, domains, width, out)
    if page := runbook(checks):
        lines += ["", *wrap(f"What to do, step by step: docs/runbooks/{page}", width)]
    sys.stdout.write("".join(f"{line}\n" for line in lines))


_COLUMN: Final = 20
"""Where what a check says begins; on a narrow terminal it is below its layer."""
_NARROW: Final = 60


def _lines(group: Group, domains: list[str], width: int | None, out: Output) -> list[str]:
    from reconciler.doctor import FOUND, OK, UNKNOWN
    from reconciler.renderers.escape import safe, wrap

    check, many = group.checks[0], len(group.checks) > 1
    place = group.places() if many else _place(check.domain if domains != [check.domain] else "", check.region)
    word = {OK: "ok", FOUND: "WRONG", UNKNOWN: "?"}[check.status].ljust(5)
    color = {OK: "32", FOUND: "31", UNKNOWN: "33"}[check.status]
    mark = f"\x1b[{color}m{word}\x1b[0m" if out.color else word
    head = f"{mark}  {check.layer.ljust(11)}"
    narrow = width is not None and width < _NARROW
    column = 2 if narrow else _COLUMN
    place = "" if group.message.startswith(f"{place} ") else place
    first, *rest = wrap(safe(f"{place}: {group.message}" if place else group.message), width and width - column)
    lines = [head.rstrip(), f"  {first}"] if narrow else [f"{head}  {first}"]
    lines += [" " * column + piece for piece in rest]
    if check.hint and (check.status != OK or out.verbose):
        pieces = wrap(safe(check.hint), width and width - column - 5)
        lines += [" " * (column + 2) + ("-> " if number == 0 else "   ") + p for number, p in enumerate(pieces)]
    return lines


def _place(domain: str, region: str) -> str:
    return " ".join(part for part in (domain, region) if part)
