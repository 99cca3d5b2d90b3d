"""`recon doctor`: why mail of a domain does not arrive, layer by layer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.app import app
from reconciler.cli.common import (
    FOUND_CODES,
    EnvOption,
    Output,
    ParallelOption,
    RegionsOption,
    load_state,
    name_and_state,
    options_from,
    text_or_json,
)
from reconciler.errors import ReconError
from reconciler.model import Diagnostic

if TYPE_CHECKING:
    from reconciler.doctor import Check
    from reconciler.model import State


@app.command()
@options_from(out=text_or_json)
def doctor(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DOMAIN] [STATE]", help="One domain, or all; a path is the state."),
    ] = None,
    env: EnvOption = None,
    region: RegionsOption = None,
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
    parallelism: ParallelOption = 16,
    *,
    out: Output,
) -> int:
    """Find out why mail does not arrive: account, identity, DNS, alignment, SMTP, suppression, reputation.

    Exit 0 healthy, 2 something is wrong, 1 something could not be checked.
    """
    from reconciler import suppression
    from reconciler.doctor import diagnose, gather
    from reconciler.public_dns import PublicDns

    if to is not None and not suppression.is_address(to):
        raise ReconError(f"--to {to} is not an e-mail address", hint="such as ann@example.com")
    domain, place = name_and_state(what or (), "domain", "recon doctor [DOMAIN] [STATE]")
    if message is not None:
        from reconciler.cli.doctor_message import diagnose_message
        from reconciler.cli.incident import incident

        return diagnose_message(message, incident(place, env).state, resolver or [], no_dns, out)
    declared = load_state(place, env)
    domains = None if domain is None else _domains(declared, domain)
    suppression.regions_of(declared, region or ())
    dns = None if no_dns else PublicDns(resolver or ())

    from reconciler.aws import Aws
    from reconciler.kinds.snapshot import now

    aws = Aws(declared.stack, purpose="plan", parallelism=parallelism)
    facts = gather(declared, aws, now(), domains, recipient=to or "", dns=dns, regions=region or ())
    checks = diagnose(facts)
    if out.format == "json":
        out.document(declared.stack, _outcome(checks), {"checks": [c.to_json() for c in checks]}, _diagnostics(checks))
    else:
        _text(checks, facts.domains, out)
    return FOUND_CODES[_outcome(checks)]


def _domains(declared: State, domain: str) -> list[str]:
    from reconciler.names import fold_domain

    every = sorted({e.name for e in declared.section("domains")})
    try:
        name = fold_domain(domain)
    except ValueError as problem:
        raise ReconError(f"{domain} is not a domain name: {problem}") from None
    if name not in every:
        from difflib import get_close_matches

        close = get_close_matches(name, every, 3)
        hint = f"did you mean {', '.join(close)}?" if close else "recon import writes the YAML for existing domains"
        raise ReconError(f"the domain {name} is not declared", hint=hint)
    return [name]


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


def _text(checks: list[Check], domains: list[str], out: Output) -> None:
    """A line for each check, then the summary: the end is what one sees first in a terminal."""
    from reconciler.doctor import FOUND, LAYERS, OK, UNKNOWN
    from reconciler.renderers.escape import safe

    marks = {OK: "ok", FOUND: "WRONG", UNKNOWN: "?"}
    colors = {OK: "32", FOUND: "31", UNKNOWN: "33"}
    for check in sorted(checks, key=lambda c: LAYERS.index(c.layer)):
        mark = marks[check.status].ljust(5)
        mark = f"\x1b[{colors[check.status]}m{mark}\x1b[0m" if out.color else mark
        place = _place(check.domain if domains != [check.domain] else "", check.region)
        sys.stdout.write(f"{mark}  {check.layer.ljust(11)}  {place}{safe(check.message)}\n")
        if check.hint and (check.status != OK or out.verbose):
            sys.stdout.write(f"                      -> {safe(check.hint)}\n")
    sys.stdout.write(f"\n{safe(_summary(checks))}\n")


def _place(domain: str, region: str) -> str:
    words = " ".join(part for part in (domain, region) if part)
    return f"{words}: " if words else ""


def _summary(checks: list[Check]) -> str:
    from reconciler.doctor import FOUND, LAYERS, UNKNOWN

    wrong = [c for c in checks if c.status == FOUND]
    unknown = sum(c.status == UNKNOWN for c in checks)
    if wrong:
        first, others = wrong[0], len(wrong) - 1
        more = f" ({others} other problem{'s, some' if others > 1 else ','} probably caused by it)" if others else ""
        return f"Fix this first: {first.layer}: {_place(first.domain, first.region)}{first.message}{more}"
    if unknown:
        return f"No problem was found, but {unknown} thing{'s' * (unknown != 1)} could not be checked."
    seen = {c.layer for c in checks}
    if left := [layer for layer in LAYERS if layer not in seen]:
        looked = ", ".join(layer for layer in LAYERS if layer in seen) or "none"
        return f"Every layer that was looked at is healthy: {looked}. Not looked at: {', '.join(left)}."
    return (
        "Every layer is healthy. If one receiver still rejects mail, the cause is reputation or content; its SMTP "
        "reply says which."
    )
