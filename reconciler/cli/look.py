"""Commands that only look: validate, plan, drift, show, schema, graph, sandbox. None of them writes to AWS."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from reconciler.cli.app import app
from reconciler.cli.common import (
    ColorOption,
    EnvOption,
    FormatOption,
    Out,
    ParallelOption,
    QuietOption,
    RefreshOption,
    StateArg,
    TargetOption,
    VerboseOption,
    load,
    read_plan,
    with_warnings,
    write,
)


@app.command()
def validate(
    state: StateArg = "state",
    env: EnvOption = None,
    format: FormatOption = "text",
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> None:
    """Check the YAML offline: syntax, schema, references. Needs no credentials."""
    out = Out(format, no_color, quiet, verbose)
    loaded, warnings = load(state, env, out)
    if format == "json":
        found = {
            "format_version": 1,
            "stack": loaded.stack.name,
            "environment": loaded.stack.environment,
            "account": loaded.stack.account,
            "outcome": "valid",
            "state_digest": loaded.digest,
            "diagnostics": [w.to_json() for w in warnings],
        }
        sys.stdout.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
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
    refresh: RefreshOption = "full",
    parallelism: ParallelOption = 16,
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> int:
    """Read live AWS and print what apply would change. Never writes."""
    from reconciler import running

    out = Out(format, no_color, quiet, verbose)
    declared, warnings = load(state, env, out)
    planned = running.make(declared, targets=target or (), refresh=refresh, parallelism=parallelism)
    result = with_warnings(planned, warnings)
    if out_file:
        from reconciler.renderers import saved_plan

        write(out_file, saved_plan(result))
        out.say(f"The plan is saved in {out_file}; apply exactly it with: recon apply {out_file}")
    out.plan(result)
    return running.exit_code(result, detailed=detailed_exitcode)


@app.command()
def drift(
    state: StateArg = "state",
    env: EnvOption = None,
    target: TargetOption = None,
    format: FormatOption = "text",
    refresh: RefreshOption = "full",
    parallelism: ParallelOption = 16,
    no_color: ColorOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
) -> int:
    """Say what differs live from the declared state; exit 2 if anything does. Never writes."""
    from reconciler import running

    out = Out(format, no_color, quiet, verbose)
    declared, warnings = load(state, env, out)
    planned = running.make(declared, targets=target or (), refresh=refresh, parallelism=parallelism, rotate=True)
    result = with_warnings(planned, warnings)
    out.plan(result, mode="drift")
    if result.changes:
        return 2
    return running.exit_code(result, detailed=False)


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
    format: Annotated[str, typer.Option("--format", help="mermaid or dot.")] = "mermaid",
) -> None:
    """Print the declared resources and what depends on what, as Mermaid or DOT. Offline."""
    from reconciler.observing import declare
    from reconciler.planner import make_plan
    from reconciler.renderers.graph import graph as draw
    from reconciler.running import now

    declared, _ = load(state, env, Out())
    world = declare(declared, now())
    nodes = {c.address: c.depends_on for c in make_plan(world).changes}
    nodes = {**{a: () for a in world.desired if a not in nodes}, **nodes}
    sys.stdout.write(draw(nodes, format))


@app.command()
def sandbox(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on loopback; 0 picks a free one.")] = 5566,
    rates: Annotated[
        str | None, typer.Option("--rates", help="aws: answer no faster than AWS's documented rates.")
    ] = None,
) -> None:
    """Run the embedded AWS on loopback and print the variables that point at it. Ends with Ctrl-C."""
    from reconciler.sandbox import environment, serve

    def ready(url: str) -> None:
        sys.stdout.write("".join(f"export {k}={v}\n" for k, v in environment(url, paced=rates is not None).items()))
        sys.stdout.flush()
        sys.stderr.write(f"The sandbox listens on {url}; it forgets everything when it ends. Ctrl-C ends it.\n")

    serve(port=port, rates=rates, on_ready=ready)
