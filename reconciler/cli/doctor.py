"""`recon doctor`: delivery of a domain, layer by layer."""

from __future__ import annotations

import sys
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
    RegionsOption,
    TextOrJsonOption,
    VerboseOption,
    is_path,
    load,
)
from reconciler.errors import ReconError
from reconciler.model import Diagnostic

if TYPE_CHECKING:
    from reconciler.doctor import Check
    from reconciler.model import State


@app.command()
def doctor(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DOMAIN] [STATE]", help="One domain, or all; a path is the state."),
    ] = None,
    env: EnvOption = None,
    region: RegionsOption = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="ADDRESS", help="Who does not get mail: is it suppressed?")
    ] = None,
    resolver: Annotated[
        list[str] | None, typer.Option("--resolver", help="Ask this one: 1.1.1.1, or ADDRESS:PORT (repeatable).")
    ] = None,
    no_dns: Annotated[bool, typer.Option("--no-dns", help="Leave public DNS out.")] = False,
    format: TextOrJsonOption = "text",
    parallelism: ParallelOption = 16,
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> int:
    """Find out why mail does not arrive: account, identity, DNS, alignment, SMTP, suppression, reputation.

    Exit 0 healthy, 2 something was found, 1 something could not be checked.
    """
    from reconciler import suppression
    from reconciler.doctor import diagnose, gather
    from reconciler.public_dns import PublicDns

    out = Out(format, no_color, quiet, verbose, TEXT_OR_JSON)
    if to is not None and not suppression.is_address(to):
        raise ReconError(f"--to {to} is no address", hint="such as ann@example.com")
    domain, place = _domain_and_state(list(what or ()))
    declared, _ = load(place, env, out)
    domains = _domains(declared, domain)
    suppression.regions_of(declared, region or ())
    dns = None if no_dns else PublicDns(resolver or ())

    from reconciler.aws import Aws
    from reconciler.aws.clock import now

    aws = Aws(declared.stack, purpose="plan", parallelism=parallelism)
    facts = gather(declared, aws, now(), domains, recipient=to or "", dns=dns, regions=region or ())
    checks = diagnose(facts)
    if format == "json":
        out.document(declared.stack, _outcome(checks), {"checks": [c.to_json() for c in checks]}, _diagnostics(checks))
    else:
        _text(checks, domains, out)
    return _code(checks)


def _domain_and_state(given: list[str]) -> tuple[str | None, str]:
    """What is a path is the state. Raises ReconError for more than one of each."""
    paths = [g for g in given if is_path(g)]
    names = [g for g in given if g not in paths]
    if len(paths) > 1 or len(names) > 1:
        raise ReconError("doctor takes one domain and one state", hint="recon doctor [DOMAIN] [STATE]")
    return (names[0] if names else None), (paths[0] if paths else "state")


def _domains(declared: State, domain: str | None) -> list[str]:
    from reconciler.names import fold_domain

    every = sorted({e.name for e in declared.section("domains")})
    if domain is None:
        return every
    try:
        name = fold_domain(domain)
    except ValueError as problem:
        raise ReconError(f"{domain} is no domain name: {problem}") from None
    if name not in every:
        from difflib import get_close_matches

        close = get_close_matches(name, every, 3)
        hint = f"did you mean {', '.join(close)}?" if close else "recon import writes the YAML of what exists"
        raise ReconError(f"the domain {name} is not declared", hint=hint)
    return [name]


def _outcome(checks: list[Check]) -> str:
    from reconciler.doctor import FOUND, UNKNOWN

    seen = {c.status for c in checks}
    return "changes" if FOUND in seen else "error" if UNKNOWN in seen else "no_changes"


def _code(checks: list[Check]) -> int:
    return {"changes": 2, "error": 1, "no_changes": 0}[_outcome(checks)]


def _diagnostics(checks: list[Check]) -> list[Diagnostic]:
    from reconciler.doctor import FOUND, OK

    return [
        Diagnostic("error" if c.status == FOUND else "warning", f"doctor-{c.layer}", c.message, c.hint)
        for c in checks
        if c.status != OK
    ]


def _text(checks: list[Check], domains: list[str], out: Out) -> None:
    """A line a check; the worst first thing at the end, since that is what one sees in a terminal."""
    from reconciler.doctor import FOUND, LAYERS, OK, UNKNOWN
    from reconciler.renderers.escape import safe

    marks = {OK: "ok", FOUND: "WRONG", UNKNOWN: "?"}
    colors = {OK: "32", FOUND: "31", UNKNOWN: "33"}
    for layer in LAYERS:
        for check in (c for c in checks if c.layer == layer):
            mark = marks[check.status].ljust(5)
            mark = f"\x1b[{colors[check.status]}m{mark}\x1b[0m" if out.color else mark
            place = " ".join(p for p in (check.domain if len(domains) > 1 else "", check.region) if p)
            sys.stdout.write(f"{mark}  {layer.ljust(11)}  {place + ': ' if place else ''}{safe(check.message)}\n")
            if check.hint and (check.status != OK or out.verbose):
                sys.stdout.write(f"                      -> {safe(check.hint)}\n")
    wrong = next((c for c in checks if c.status == FOUND), None)
    unknown = sum(c.status == UNKNOWN for c in checks)
    if wrong is not None:
        others = sum(c.status == FOUND for c in checks) - 1
        more = f" ({others} more; some may go with it)" if others else ""
        place = " ".join(p for p in (wrong.domain, wrong.region) if p)
        words = f"First mend {wrong.layer}: {place + ': ' if place else ''}{safe(wrong.message)}{more}."
    elif unknown:
        words = f"Nothing wrong was found; {unknown} thing{'s' * (unknown != 1)} could not be looked at."
    else:
        words = "Every layer is healthy. What a receiver still refuses is reputation or content: read its answer."
    sys.stdout.write(f"\n{words}\n")
    sys.stdout.flush()
