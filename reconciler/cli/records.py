"""`recon records`: what must be published in DNS that recon does not hold."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.app import app
from reconciler.cli.common import (
    FOUND_CODES,
    ColorOption,
    EnvOption,
    Output,
    ParallelOption,
    QuietOption,
    VerboseOption,
    as_diagnostics,
    guarded,
    head_of,
    is_path,
    load_state,
    write,
)
from reconciler.errors import ReconError
from reconciler.model import Diagnostic

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.kinds.snapshot import Snapshot
    from reconciler.model import Plan, State
    from reconciler.resources.dns_record.publishing import WantedRecord

FORMATS = ("text", "bind", "csv", "json", "markdown", "octodns", "terraform", "cloudflare")


@app.command()
def records(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DOMAIN]... [STATE]", help="Only these domains; a path is the state."),
    ] = None,
    env: EnvOption = None,
    format: Annotated[
        str, typer.Option("--format", help="text, bind, csv, json, markdown, octodns, terraform or cloudflare.")
    ] = "text",
    every: Annotated[bool, typer.Option("--all", help="Also of domains whose zone recon writes.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Ask public DNS; exit 2 while a record is missing or wrong.")
    ] = False,
    missing: Annotated[bool, typer.Option("--missing", help="Check, and print only what is missing or wrong.")] = False,
    resolver: Annotated[
        list[str] | None,
        typer.Option("--resolver", help="Ask this DNS resolver: 1.1.1.1, or ADDRESS:PORT (repeatable)."),
    ] = None,
    out_dir: Annotated[
        str | None, typer.Option("--out", metavar="DIR", help="Write a file for each domain into this directory.")
    ] = None,
    parallelism: ParallelOption = 16,
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> int:
    """Print the DNS records that somebody must publish by hand. Those of `zone: manual` domains.

    With --check, exit 0 if all are there, 2 if one is missing or wrong, 1 if something could not be checked.
    """
    out = Output(format, no_color, quiet, verbose, FORMATS)
    declared, domains = _arguments(what or (), env)
    aws = guarded(declared.stack, "plan", parallelism)
    snapshot, unread = observed(declared, aws, domains)
    from reconciler.resources.dns_record import publishing

    found = publishing.records(snapshot, domains, every=every or domains is not None)
    noted: list[Diagnostic] = []
    if check or missing:
        found, noted = _with_since(ask_public_dns(found, resolver or ()), snapshot, aws)
    outcome = _outcome(found, unread, checked=check or missing)
    if missing:
        found = [one for one in found if one.status != "present"]
    _must_be_known(found, format)
    told = [*as_diagnostics(unread), *_problems(found), *noted]
    if out_dir is None:
        sys.stdout.write(_document(found, format, declared, outcome, told))
    else:
        _write_files(out_dir, found, format, declared, outcome, out)
    if format != "json":
        for one in told:
            out.info(f"{one.severity}: {one.message}")
    return FOUND_CODES[outcome]


def _arguments(given: Sequence[str], env: str | None) -> tuple[State, frozenset[str] | None]:
    """The state, and the domains that are named (None: all). Raises ReconError for one that is not declared."""
    from reconciler.names import fold_wildcard, similar

    paths = [one for one in given if is_path(one)]
    if len(paths) > 1:
        raise ReconError("give at most one state", hint="recon records [DOMAIN]... [STATE]")
    declared = load_state(paths[0] if paths else "state", env)
    names = []
    known = sorted({entry.name for entry in declared.section("domains")})
    for name in (one for one in given if one not in paths):
        try:
            names.append(fold_wildcard(name))
        except ValueError as problem:
            raise ReconError(f"{name} is not a domain name: {problem}") from None
        if names[-1] not in known:
            close = similar(names[-1], known, 3)
            hint = f"did you mean {', '.join(close)}?" if close else "`recon list` prints what is declared"
            raise ReconError(f"the domain {name} is not declared", hint=hint)
    return declared, frozenset(names) if names else None


def observed(declared: State, aws: Aws, domains: Iterable[str] | None) -> tuple[Snapshot, list[ReconError]]:
    """What the records depend on, as it is live: identities and sets with a tracking domain; and what of that could
    not be read."""
    from reconciler import observing
    from reconciler.kinds.snapshot import now
    from reconciler.resources import KINDS
    from reconciler.resources.dns_record import TRACKING_KIND

    wanted = None if domains is None else set(domains)
    kept = tuple(
        entry
        for entry in declared.entries
        if (entry.section == "domains" and (wanted is None or entry.name in wanted or entry.region is None))
        or (entry.section == KINDS[TRACKING_KIND].section and entry.values.get("tracking_options"))
    )
    small = replace(declared, entries=kept, moved=(), released=())
    snapshot = observing.observe(observing.declare(small, now()), aws, sweep=False)
    return snapshot, [
        ReconError(f"could not read {one.prefix}: {one.reason}", hint=one.hint) for one in snapshot.unread
    ]


def ask_public_dns(found: Iterable[WantedRecord], resolvers: Iterable[str] = ()) -> list[WantedRecord]:
    """The records with what public DNS says of each."""
    from reconciler.public_dns import Answer, PublicDns
    from reconciler.resources.dns_record import publishing

    every = list(found)
    answers = PublicDns(resolvers).ask(publishing.questions(every))
    return [
        publishing.compared(one, answer.values, answer.problem)
        for one in every
        for answer in [answers.get((one.name, one.type), Answer())]
    ]


def _with_since(
    found: list[WantedRecord], snapshot: Snapshot, aws: Aws
) -> tuple[list[WantedRecord], list[Diagnostic]]:  # fmt: skip
    """The records with the time since when those are missing or wrong that are, as far as SES and the journal know; and
    a note where the journal could not be read. Reads the journal only where something is missing or wrong."""
    from reconciler.journal import read_runs
    from reconciler.resources.dns_record import publishing

    if not any(one.wrong for one in found):
        return found, []
    created: dict[str, str] = {}
    noted = []
    try:
        for run in read_runs(snapshot.state.stack, aws, limit=publishing.RUNS):  # newest first
            for step, outcome, _, moment in run.steps:
                address, _, label = step.partition("#")
                if (label, outcome) == ("create", "done"):
                    created.setdefault(address, moment)
    except ReconError as error:
        words = f"since when records are missing could not be read from the journal: {error.message}"
        noted.append(Diagnostic("note", "journal-unread", words, error.hint))
    return [replace(one, since=publishing.since_of(snapshot, one.intent, created)) for one in found], noted


def _outcome(found: Iterable[WantedRecord], unread: Sequence[ReconError], *, checked: bool) -> str:
    statuses = {one.status for one in found} if checked else set()
    if statuses & {"missing", "wrong"}:
        return "changes"
    return "error" if unread or "unchecked" in statuses else "no_changes"


def _problems(found: Iterable[WantedRecord]) -> list[Diagnostic]:
    """What is wrong with records, and what could not be checked, each once."""
    told = dict.fromkeys(
        Diagnostic("error" if one.wrong else "warning", "public-dns", f"{one.domain}: {one.problem}")
        for one in found
        if one.problem and one.status != "missing"
    )
    return list(told)


def _must_be_known(found: Iterable[WantedRecord], format: str) -> None:
    """Raises ReconError where a form that is read by a DNS tool would hold what nobody knows yet."""
    from reconciler.renderers.records import ZONE_FORMATS

    unknown = list(dict.fromkeys(one.domain for one in found if one.value is None))
    if unknown and format in ZONE_FORMATS:
        few = ", ".join(unknown[:3]) + (f" and {len(unknown) - 3} more" if len(unknown) > 3 else "")
        raise ReconError(
            f"the DKIM tokens of {few} are known after apply: --format {format} needs them",
            hint="recon apply creates the identities; until then --format text, markdown, csv or json",
        )


def _document(
    found: Sequence[WantedRecord], format: str, declared: State, outcome: str, told: Iterable[Diagnostic]
) -> str:  # fmt: skip
    from reconciler.renderers import records as renderer
    from reconciler.renderers.jsonform import json_text

    shown: list[Mapping[str, Any]] = [one.to_json() for one in found]
    if format != "json":
        return renderer.drawn(shown, format)
    return json_text(
        {**head_of(declared.stack), "outcome": outcome, "records": shown, "diagnostics": [d.to_json() for d in told]}
    )


def _write_files(
    folder: str, found: Sequence[WantedRecord], format: str, declared: State, outcome: str, out: Output
) -> None:  # fmt: skip
    """A file for each domain; of the forms that DNS tools read one for each zone, which may hold several domains."""
    from reconciler.renderers import records as renderer
    from reconciler.renderers.headline import plural

    zones = renderer.zones_of([one.to_json() for one in found])
    of_zone = {one["domain"]: zone for zone, group in zones.items() for one in group}
    files: dict[str, list[WantedRecord]] = {}
    for one in found:
        files.setdefault(of_zone[one.domain] if format in renderer.ZONE_FORMATS else one.domain, []).append(one)
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, group in files.items():
        path = Path(folder) / f"{name.replace('*', '_wildcard')}.{renderer.ENDINGS[format]}"
        write(str(path), _document(group, format, declared, outcome, _problems(group)), out)
    out.info(f"{plural(len(found), 'record')} in {plural(len(files), 'file')} written to {folder}.")


def with_public_dns(plan: Plan, snapshot: Snapshot, *, findings: bool) -> Plan:
    """The plan with what public DNS says of the records that recon does not hold, instead of what is known without
    asking: notes of what is to publish, or with ``findings`` a finding for each record that is missing or wrong."""
    from reconciler.resources.dns_record import publishing

    scope = snapshot.read_scope
    found = ask_public_dns(publishing.records(snapshot, None if scope is None else scope.domains))
    told = [one for one in plan.diagnostics if one.code != "publish-by-hand"]
    left: dict[str, int] = {}
    for one in found:
        address = f"dns_record/{publishing.MANUAL}/{one.name}/{one.type}"
        if one.status == "unchecked" and one.value is not None:
            told.append(Diagnostic("warning", "public-dns-unread", f"{one.name} {one.type}: {one.problem}"))
        elif one.wrong and findings:
            hint = f"recon records {one.domain} --missing"
            told.append(Diagnostic("warning", "public-dns", f"public DNS: {one.problem}", hint, address=address))
        elif one.status != "present":
            left[one.domain] = left.get(one.domain, 0) + 1
    told += [publishing.note(domain, count) for domain, count in left.items()]
    return replace(plan, diagnostics=tuple(told))
