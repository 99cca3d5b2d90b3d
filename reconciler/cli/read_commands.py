"""Commands that only look: validate, plan, drift, show, schema, graph, sandbox. None of them writes to AWS."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.app import app
from reconciler.cli.common import (
    ColorOption,
    EnvOption,
    FormatOption,
    Out,
    OutsideOption,
    ParallelOption,
    QuietOption,
    RefreshOption,
    StateArg,
    TargetOption,
    VerboseOption,
    load,
    read_plan,
    step_summary,
    validate_targets,
    with_warnings,
    write,
    write_whole,
)
from reconciler.errors import ReconError
from reconciler.model import Diagnostic

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.journal import JournalRun
    from reconciler.model import State


@app.command()
def validate(
    state: StateArg = "state",
    env: EnvOption = None,
    format: FormatOption = "text",
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> None:
    """Check the YAML offline: syntax, schema, references. Needs no credentials. Formats: also github and sarif."""
    if format in ("github", "sarif"):
        raise typer.Exit(_annotated(state, env, format))
    out = Out(format, no_color, quiet, verbose)
    loaded, warnings = load(state, env, out)
    if format == "json":
        out.document(loaded.stack, "valid", {"state_digest": loaded.digest}, warnings)
        return
    from reconciler.renderers import render_diagnostics

    if warnings:
        sys.stderr.write(render_diagnostics(warnings, "text", color=out.color, unicode=out.unicode))
    counts: dict[str, int] = {}
    for section, _ in {(e.section, e.name) for e in loaded.entries}:
        counts[section] = counts.get(section, 0) + 1
    one = {section: section.removesuffix("es" if section == "email_addresses" else "s") for section in counts}
    words = ", ".join(f"{n} {(one[s] if n == 1 else s).replace('_', ' ')}" for s, n in sorted(counts.items()))
    words = words.replace("dedicated ip", "dedicated IP").replace("smtp", "SMTP")
    sys.stdout.write(f"{state} is valid: {words or 'nothing declared'}.\n")


def _annotated(state: str, env: str | None, format: str) -> int:
    """What is wrong with the YAML as annotations of a GitHub workflow or as SARIF; the exit code."""
    from reconciler import __version__
    from reconciler.renderers.annotations import github_annotations, sarif

    code, found = 0, tuple[Diagnostic, ...]()
    try:
        found = load(state, env, Out())[1]
    except ReconError as error:
        code, found = error.exit_code, error.diagnostics
    text = github_annotations(found) if format == "github" else sarif(found, version=__version__)
    sys.stdout.write(text)
    return code


@app.command()
def plan(
    state: StateArg = "state",
    env: EnvOption = None,
    target: TargetOption = None,
    format: FormatOption = "text",
    out_file: Annotated[str | None, typer.Option("--out", help="Save the plan to this file (JSON).")] = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 2 when changes are pending.")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Without AWS: only what is declared, with --against.")
    ] = False,
    against: Annotated[
        str | None, typer.Option("--against", metavar="DIR", help="With --offline: the state to compare with.")
    ] = None,
    refresh: RefreshOption = "full",
    check_public_dns: OutsideOption = False,
    parallelism: ParallelOption = 16,
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> int:
    """Read live AWS and print what apply would change. Never writes."""
    from reconciler import running

    out = Out(format, no_color, quiet, verbose)
    targets = validate_targets(target)
    if offline or against:
        return _offline(state, env, against if offline else None, targets, out_file, detailed_exitcode, out)
    declared, warnings = load(state, env, out)
    planned = running.make(
        declared, targets=targets, refresh=refresh, parallelism=parallelism, check_public_dns=check_public_dns
    )
    result = with_warnings(planned, warnings)
    if out_file:
        from reconciler.renderers import saved_plan

        write(out_file, saved_plan(result))
        out.say(f"The plan is saved in {out_file}; apply exactly it with: recon apply {out_file}")
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
    out: Out,
) -> int:
    """The declared difference to another state, without AWS."""
    from reconciler import running
    from reconciler.offline import declared_difference, labelled
    from reconciler.rules.context import not_judged

    if against is None or out_file:
        wrong = "an offline plan cannot be saved or applied" if out_file else "--offline and --against go together"
        raise ReconError(wrong, hint="recon plan --offline --against DIR, DIR being the state of the base branch")
    declared, warnings = load(state, env, out)
    base, _ = load(against, env, out)
    result = declared_difference(declared, base, running.now(), targets=targets)
    result = replace(result, diagnostics=(*result.diagnostics, *not_judged(warnings)))
    sys.stdout.write(labelled(out.rendered(result), out.format, result))
    step_summary(result, label=labelled)
    return running.exit_code(result, detailed=detailed)


@app.command()
def drift(
    state: StateArg = "state",
    env: EnvOption = None,
    target: TargetOption = None,
    format: Annotated[str, typer.Option("--format", help="text, json, markdown, html or prometheus.")] = "text",
    out_file: Annotated[str | None, typer.Option("--out", help="Also save the report to this file (JSON).")] = None,
    since_last: Annotated[
        str | None, typer.Option("--since-last", metavar="FILE", help="An earlier report: show only what is new.")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option("--metrics", metavar="FILE", help="Write a Prometheus textfile.")
    ] = None,
    notify: Annotated[
        str | None, typer.Option("--notify", metavar="sns:ARN", help="Publish a summary to this topic.")
    ] = None,
    refresh: RefreshOption = "full",
    check_public_dns: OutsideOption = False,
    parallelism: ParallelOption = 16,
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> int:
    """Say what differs live from the declared state, and who did it; exit 2 if anything does. Never writes."""
    from reconciler import running
    from reconciler.drift import report
    from reconciler.renderers.prometheus import prometheus

    out = Out("text" if format == "prometheus" else format, no_color, quiet, verbose)
    topic = report.topic_of(notify) if notify else ""
    targets = validate_targets(target)
    declared, warnings = load(state, env, out)
    planned = running.make(
        declared,
        targets=targets,
        refresh=refresh,
        parallelism=parallelism,
        rotate=True,
        check_public_dns=check_public_dns,
    )
    applied, unknown = _last_applied(declared, planned.aws)
    result = report.explained(with_warnings(planned, (*warnings, *unknown)), planned.aws, applied)
    earlier = report.read_earlier(since_last) if since_last else None
    seen = report.since(result, earlier) if earlier is not None else None
    if seen is not None:
        result = report.with_since(result, seen)
    if topic and report.worth_telling(result, seen):
        failed = report.publish(planned.aws, topic, *report.summary(result, seen))
        result = replace(result, diagnostics=(*result.diagnostics, *([failed] if failed else [])))
    if out_file:
        from reconciler.renderers import saved_plan

        write(out_file, saved_plan(result))
    if metrics:
        write_whole(metrics, prometheus(result))
    if format == "prometheus":
        sys.stdout.write(prometheus(result))
    elif format == "json" or seen is None:
        out.plan(result, mode="drift")
    elif seen.quiet:
        sys.stdout.write(report.nothing_new(result, seen) + "\n")
    else:
        out.plan(report.only_new(result, seen), mode="drift")
    step_summary(result if seen is None else report.only_new(result, seen), mode="drift")
    if result.changes:
        return 2
    as_diagnostics = all(one.code != "notify-failed" for one in result.diagnostics)
    return 0 if running.exit_code(result, detailed=False) == 0 and as_diagnostics else 1


def _last_applied(declared: State, aws: Aws) -> tuple[JournalRun | None, list[Diagnostic]]:
    """The run after which all was as declared, from the journal; why it is not known, where it cannot be read."""
    from reconciler.journal import last_applied, read_runs

    try:
        return last_applied(read_runs(declared.stack, aws, limit=50)), []
    except ReconError as error:
        return None, [
            Diagnostic("note", "journal-unread", f"the journal could not be read: {error.message}", error.hint)
        ]


@app.command()
def show(
    plan_file: Annotated[str, typer.Argument(metavar="PLAN.json")],
    format: FormatOption = "text",
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> None:
    """Render a saved plan in any format."""
    out = Out(format, no_color, quiet, verbose)
    out.plan(read_plan(plan_file))


@app.command()
def schema() -> None:
    """Print the JSON Schema of the YAML, for editors."""
    from reconciler.desired import json_schema

    sys.stdout.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")


@app.command()
def graph(
    state: StateArg = "state",
    env: EnvOption = None,
    format: Annotated[str, typer.Option("--format", help="mermaid, dot or text.")] = "mermaid",
) -> None:
    """Print the declared resources and what depends on what, as Mermaid, DOT or plain text. Offline."""
    from reconciler.offline import bare_world
    from reconciler.planner import make_plan
    from reconciler.renderers.graph import graph as draw
    from reconciler.running import now

    declared, _ = load(state, env, Out())
    snapshot = bare_world(declared, now())
    nodes = {c.address: c.depends_on for c in make_plan(snapshot).changes}
    nodes = {**{a: () for a in snapshot.desired if a not in nodes}, **nodes}
    sys.stdout.write(draw(nodes, format))


@app.command()
def sandbox(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on loopback; 0 picks a free one.")] = 5566,
    rates: Annotated[
        str | None, typer.Option("--rates", help="aws: answer no faster than AWS's documented rates.")
    ] = None,
    dns_port: Annotated[
        int | None, typer.Option("--dns-port", min=0, max=65535, help="Serve its public zones as DNS on this port too.")
    ] = None,
) -> None:
    """Run the embedded AWS on loopback and print the variables that point at it. Ends with Ctrl-C."""
    from reconciler.sandbox import environment, serve

    def ready(url: str) -> None:
        sys.stdout.write("".join(f"export {k}={v}\n" for k, v in environment(url, paced=rates is not None).items()))
        sys.stdout.flush()
        sys.stderr.write(f"The sandbox listens on {url}; it forgets everything when it ends. Ctrl-C ends it.\n")

    serve(port=port, rates=rates, on_ready=ready, dns_port=dns_port)
