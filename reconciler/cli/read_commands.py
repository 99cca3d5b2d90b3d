"""Commands that only read: validate, plan, drift, show, schema, graph, sandbox. None of them writes to AWS."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.app import app
from reconciler.cli.common import (
    TEXT_OR_JSON,
    ColorOption,
    EnvOption,
    FindingsOption,
    Output,
    QuietOption,
    StateArg,
    TargetOption,
    VerboseOption,
    declared_digests,
    load,
    load_state,
    options_from,
    outcome_of,
    plan_output,
    print_outcome,
    read_plan,
    reading,
    step_summary,
    text_or_json,
    validate_targets,
    with_warnings,
    write,
)
from reconciler.cli.records import with_public_dns
from reconciler.errors import ReconError
from reconciler.model import Diagnostic

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.drift.report import SinceReport
    from reconciler.journal import JournalRun
    from reconciler.model import Plan, State


@app.command()
def validate(
    state: StateArg = "state",
    env: EnvOption = None,
    format: Annotated[str, typer.Option("--format", help="text, json, github or sarif.")] = "text",
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> None:
    """Check the YAML offline: syntax, schema, references. Needs no credentials."""
    if format in ("github", "sarif"):
        raise typer.Exit(_annotated(state, env, format))
    out = Output(format, no_color, quiet, verbose, (*TEXT_OR_JSON, "github", "sarif"))
    loaded, warnings = load(state, env, out)
    if format == "json":
        out.document(loaded.stack, "valid", {"state_digest": loaded.digest}, warnings)
        return
    from reconciler.renderers import render_diagnostics

    if warnings:
        options = out.style()
        options["width"] = out.width(sys.stderr)
        sys.stderr.write(render_diagnostics(warnings, "text", **options))
    sys.stdout.write(f"{state} is valid: {_counted(loaded) or 'nothing declared'}.\n")


def _counted(state: State) -> str:
    """``2 domains, 1 SMTP user``."""
    counts = Counter(section for section, _ in {(e.section, e.name) for e in state.entries})
    from reconciler.renderers.headline import plural
    from reconciler.resources import SECTIONS

    def counted(name: str, number: int) -> str:
        spec, section = SECTIONS[name]
        one = spec.words if section.entry == spec.name else section.entry.replace("_", " ")
        if one.endswith("settings"):
            return one
        return plural(number, one, f"{one}es" if one.endswith("s") else "")

    return ", ".join(counted(name, number) for name, number in sorted(counts.items()))


def _annotated(state: str, env: str | None, format: str) -> int:
    """Print the errors of the YAML as annotations of a GitHub workflow or as SARIF; returns the exit code."""
    from reconciler import __version__
    from reconciler.renderers.annotations import github_annotations, sarif

    code, diagnostics = 0, tuple[Diagnostic, ...]()
    try:
        diagnostics = load(state, env, Output())[1]
    except ReconError as error:
        code, diagnostics = error.exit_code, error.diagnostics
    text = github_annotations(diagnostics) if format == "github" else sarif(diagnostics, version=__version__)
    sys.stdout.write(text)
    return code


@app.command()
@options_from(read_options=reading, out=plan_output)
def plan(
    state: StateArg = "state",
    env: EnvOption = None,
    target: TargetOption = None,
    out_file: Annotated[str | None, typer.Option("--out", help="Save the plan to this file (JSON).")] = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 2 when changes are pending.")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Without AWS: compare two states; needs --against.")
    ] = False,
    against: Annotated[
        str | None, typer.Option("--against", metavar="DIR", help="With --offline: the state to compare with.")
    ] = None,
    *,
    read_options: dict[str, Any],
    out: Output,
) -> int:
    """Read live AWS and print what apply would change. Never writes."""
    from reconciler import running
    from reconciler.desired.declared import to_document

    targets = validate_targets(target)
    if offline or against:
        return _offline(state, env, against if offline else None, targets, out_file, detailed_exitcode, out)
    declared, warnings = load(state, env, out)
    planned = running.make(declared, targets=targets, **read_options)
    if read_options["check_public_dns"]:
        planned.plan = with_public_dns(planned.plan, planned.snapshot, findings=False)
    result = replace(with_warnings(planned, warnings), declared=to_document(declared))
    del planned, declared  # what a large plan was made from goes before its text is made
    if out_file:
        from reconciler.renderers import saved_pieces

        write(out_file, saved_pieces(result), out)
        out.info(f"The plan is saved in {out_file}. To apply exactly this plan: recon apply {out_file}")
    out.plan(result)
    step_summary(result)
    return running.exit_code(result, detailed=detailed_exitcode)


def _offline(
    state: str,
    env: str | None,
    against: str | None,
    targets: Sequence[str],
    out_file: str | None,
    detailed: bool,
    out: Output,
) -> int:
    """The declared difference to another state, without AWS."""
    from reconciler import running
    from reconciler.offline import declared_difference, labelled
    from reconciler.rules.context import not_from_rules

    if against is None or out_file:
        problem = (
            "an offline plan cannot be saved or applied" if out_file else "--offline and --against need each other"
        )
        raise ReconError(problem, hint="recon plan --offline --against DIR, where DIR is the state of the base branch")
    declared, warnings = load(state, env, out)
    base, _ = load(against, env, out)
    result = declared_difference(declared, base, running.now(), targets=targets)
    result = replace(result, diagnostics=(*result.diagnostics, *not_from_rules(warnings)))
    sys.stdout.write(labelled(out.rendered(result), out.format, result))
    step_summary(result, label=labelled)
    return running.exit_code(result, detailed=detailed)


@app.command()
@options_from(read_options=reading)
def drift(
    state: StateArg = "state",
    env: EnvOption = None,
    target: TargetOption = None,
    format: Annotated[str, typer.Option("--format", help="text, json, markdown, html or prometheus.")] = "text",
    out_file: Annotated[str | None, typer.Option("--out", help="Also save the report to this file (JSON).")] = None,
    since_last: Annotated[
        str | None, typer.Option("--since-last", metavar="FILE", help="Show only what is new since this report.")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option("--metrics", metavar="FILE", help="Write a Prometheus textfile.")
    ] = None,
    notify: Annotated[
        str | None, typer.Option("--notify", metavar="sns:ARN", help="Publish a summary to this topic.")
    ] = None,
    *,
    read_options: dict[str, Any],
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
    findings: FindingsOption = False,
) -> int:
    """Compare AWS with the state, and say who changed what. Exit 2 on drift. Never writes."""
    from reconciler import running
    from reconciler.drift import report
    from reconciler.renderers.prometheus import prometheus

    out = Output("text" if format == "prometheus" else format, no_color, quiet, verbose, findings=findings)
    topic = report.topic_of(notify) if notify else ""
    targets = validate_targets(target)
    declared, warnings = load(state, env, out)
    planned = running.make(declared, targets=targets, rotate=True, **read_options)
    planned.plan = report.without_claims(planned.plan)
    if read_options["check_public_dns"]:
        planned.plan = with_public_dns(planned.plan, planned.snapshot, findings=True)
    applied, unread = _last_applied(declared, planned.aws)
    told = with_warnings(planned, (*warnings, *unread))
    plan = report.explained(told, planned.aws, applied, declared_digests(declared) if planned.plan.changes else {})
    earlier = report.read_earlier(since_last) if since_last else None
    news = report.since(plan, earlier) if earlier is not None else None
    if news is not None:
        plan = report.with_since(plan, news)
    if topic and report.needs_notification(plan, news):
        plan = report.with_notification(plan, planned.aws, topic, news)
    if out_file:
        from reconciler.renderers import saved_pieces

        write(out_file, saved_pieces(plan), out)
    if metrics:
        write(metrics, prometheus(plan), out)
    _print_drift(plan, news, format, out)
    step_summary(plan if news is None else report.only_new(plan, news), mode="drift")
    if plan.changes or plan.findings:
        return 2
    checked = not {"notify-failed", "account-unread", "public-dns-unread"} & {one.code for one in plan.diagnostics}
    return 0 if running.exit_code(plan, detailed=False) == 0 and checked else 1


def _print_drift(plan: Plan, news: SinceReport | None, format: str, out: Output) -> None:
    from reconciler.drift import report
    from reconciler.renderers.prometheus import prometheus

    if format == "prometheus":
        sys.stdout.write(prometheus(plan))
    elif format == "json" or news is None:
        out.plan(plan, mode="drift")
    elif news.empty:
        sys.stdout.write(report.nothing_new(plan, news) + "\n")
    else:
        out.plan(report.only_new(plan, news), mode="drift")


def _last_applied(declared: State, aws: Aws) -> tuple[JournalRun | None, list[Diagnostic]]:
    """The last run after which AWS was as declared, from the journal; with a note on what of that cannot be read."""
    from reconciler.journal import last_applied, past_runs

    unread: list[Diagnostic] = []
    try:
        runs = past_runs(
            declared.stack, aws, warn=lambda said: unread.append(Diagnostic("note", "journal-unread", said))
        )
    except ReconError as error:
        unread.append(
            Diagnostic("note", "journal-unread", f"the journal could not be read: {error.message}", error.hint)
        )
        return None, unread
    return last_applied(runs), unread


@app.command()
@options_from(out=plan_output)
def show(
    plan_file: Annotated[str, typer.Argument(metavar="PLAN.json")],
    digest: Annotated[bool, typer.Option("--digest", help="Print only the digest, for apply --expect.")] = False,
    *,
    out: Output,
) -> int:
    """Render a saved plan in any format."""
    from reconciler.renderers import plan_digest

    plan = read_plan(plan_file)
    if digest:
        sys.stdout.write(plan_digest(plan) + "\n")
    else:
        out.plan(plan)
    return 0


@app.command()
def schema() -> None:
    """Print the JSON Schema of the YAML, for editors."""
    from reconciler.desired import json_schema

    sys.stdout.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")


@app.command()
@options_from(declared=load_state)
def graph(
    declared: State, format: Annotated[str, typer.Option("--format", help="mermaid, dot or text.")] = "mermaid"
) -> int:
    """Draw the declared resources and what depends on what. As Mermaid, DOT or plain text. Offline."""
    from reconciler.renderers.graph import graph as draw

    sys.stdout.write(draw(_declared(declared), format))
    return 0


def _declared(declared: State) -> dict[str, tuple[str, ...]]:
    """The address of every resource that the state declares, with those that it needs."""
    from reconciler.offline import empty_snapshot
    from reconciler.planner import make_plan
    from reconciler.running import now

    snapshot = empty_snapshot(declared, now())
    nodes = {c.address: c.depends_on for c in make_plan(snapshot).changes}
    return {**{a: () for a in snapshot.desired if a not in nodes}, **nodes}


@app.command("list")
@options_from(declared=load_state, out=text_or_json)
def list_addresses(
    declared: State,
    owned: Annotated[bool, typer.Option("--owned", help="What AWS carries for this stack; reads AWS.")] = False,
    *,
    out: Output,
) -> int:
    """Print the addresses that the state declares. One a line, for --target. Offline; with --owned what is live."""
    from reconciler import running
    from reconciler.renderers.escape import safe

    unread: tuple[str, ...] = ()
    if owned:
        plan = running.make(declared, removing=True).plan
        addresses, unread = sorted(change.address for change in plan.changes), plan.unread
    else:
        addresses = sorted(_declared(declared))
    errors = [ReconError(f"could not read {part}: it may hold more that is owned") for part in unread]
    lines = map(safe, addresses)
    return print_outcome(out, declared.stack, outcome_of(0, errors), {"addresses": addresses}, lines, errors)


@app.command()
@options_from(out=text_or_json)
def rule(
    id: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="What stands in brackets, such as dmarc-no-rua; all rules otherwise."),
    ] = None,
    *,
    out: Output,
) -> int:
    """Explain a rule or a code that an output has. What it means, and what to do. Without an ID list all rules.
    Offline."""
    from reconciler import codes
    from reconciler.renderers.jsonform import json_text
    from reconciler.rules import all_rules
    from reconciler.rules.pages import page
    from reconciler.rules.registry import RENAMED

    rules = all_rules()
    name = RENAMED.get(id, id) if id else None
    if name is not None and name not in rules:
        return _explain_code(name, out)
    shown = [rules[name]] if name else sorted(rules.values(), key=lambda one: one.id)
    if out.format == "json":
        members = ("id", "severity", "title", "theme", "finds", "why", "fix", "source")
        listed = [{member: getattr(one, member) for member in members} for one in shown]
        sys.stdout.write(json_text({"format_version": 1, "rules": listed, "diagnostics": []}))
    elif name:
        sys.stdout.write(page(shown[0]))
    else:
        width = max(len(one.id) for one in shown)
        sys.stdout.write("".join(f"{one.id.ljust(width)}  {one.severity.ljust(7)}  {one.title}\n" for one in shown))
        out.info(f"`recon rule CODE` also explains the {len(codes.known())} other codes and outcomes (docs/codes.md).")
    return 0


def _explain_code(code: str, out: Output) -> int:
    """Print what a code means that is no rule. Raises ReconError for one that nothing prints."""
    from reconciler import codes
    from reconciler.names import similar
    from reconciler.renderers.jsonform import json_text
    from reconciler.rules import all_rules

    key = codes.key_of(code)
    if key is None:
        close = similar(code, {*all_rules(), *codes.known()}, 3)
        hint = f"did you mean {', '.join(close)}?" if close else "`recon rule` lists all rules"
        raise ReconError(f"there is no rule or code {code}", hint=hint)
    if out.format == "json":
        found = {"id": code, "outcome": codes.OUTCOMES.get(key), "printed": codes.codes().get(key, [])}
        sys.stdout.write(json_text({"format_version": 1, "rules": [], "codes": [found], "diagnostics": []}))
    else:
        sys.stdout.write(codes.page(code))
    return 0


@app.command()
def sandbox(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on loopback; 0 picks a free one.")] = 5566,
    rates: Annotated[str | None, typer.Option("--rates", help="aws: throttle at AWS's documented rates.")] = None,
    dns_port: Annotated[
        int | None,
        typer.Option("--dns-port", min=0, max=65535, help="Also serve its public zones as DNS on this port."),
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option("--scenario", metavar="NAME", help="Start in this incident, to practise (docs/runbooks)."),
    ] = None,
) -> None:
    """Run the embedded AWS on loopback, to try recon out. Prints the variables that point to it. Ctrl-C stops it."""
    from reconciler.sandbox import CLEARED, environment, serve
    from reconciler.sandbox.scenarios import SCENARIOS

    if scenario is not None and scenario not in SCENARIOS:
        raise ReconError(f"there is no scenario {scenario}", hint=f"there are {', '.join(SCENARIOS)}")
    if scenario is not None and dns_port is None:
        dns_port = 0

    def ready(url: str, resolver: str) -> None:
        variables = environment(url, paced=rates is not None, resolver=resolver)
        sys.stdout.write("".join(f"export {k}={v}\n" for k, v in variables.items()))
        sys.stdout.write(f"unset {' '.join(CLEARED)}\n")
        sys.stdout.flush()
        sys.stderr.write(f"The sandbox listens on {url}; it keeps nothing when it stops. Stop it with Ctrl-C.\n")
        if scenario is not None:
            found = SCENARIOS[scenario]
            sys.stderr.write(f"What was noticed: {found.noticed}.\nBegin with: {found.begin}\n")

    ports = f"port {port}" + (f" or the DNS port {dns_port}" if dns_port is not None else "")
    try:
        serve(port=port, rates=rates, on_ready=ready, dns_port=dns_port, scenario=scenario)
    except OSError as problem:
        raise ReconError(
            f"the sandbox cannot listen on {ports}: {problem.strerror or problem}",
            hint="stop what listens there, or let it pick a free one: --port 0",
        ) from None
    except ValueError as problem:
        raise ReconError(f"--rates {rates}: {problem}", hint="--rates aws") from None
