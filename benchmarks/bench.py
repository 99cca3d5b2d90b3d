"""recon beside Terraform and octoDNS on the same stack: wall time, CPU, peak memory, calls and throttled calls.

``make bench`` runs the default sizes (about ten minutes) and writes the tables of docs/performance.md. Each command is
a process of its own, as people run it; the AWS is the embedded sandbox in this process, once without limits and once
with AWS's documented rates. Tools that are not on the machine are left out, and the page says so.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import floor
import goals
import stacks
import tools
import wire
from tools import Run

from reconciler import __version__, demo
from reconciler.sandbox import Sandbox

HERE = Path(__file__).parent.parent
PAGE = HERE / "docs" / "performance.md"
OFF, REAL, FAR = "none", "AWS's", "AWS's, from afar"
WAYS = ("HTTP", "TLS", FAR)
SIZES = (1, 20, 200, 1000, 10_000)
WAITS = (
    "Terraform was given {} domains at most: it waits ten to thirty seconds for each record, and its calls grow in "
    "proportion; `--terraform 100` gives it more"
)


class Bench:
    """Measures, and keeps what it measured and what it had to leave out."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options = folder, options
        self.runs: list[Run] = []
        self.left_out: list[str] = []
        self.octodns: Path | None = None

    def keep(self, run: Run) -> None:
        self.runs.append(run)
        tools.say(run)

    def fresh(self, name: str) -> Path:
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    # -- what is run ------------------------------------------------------------------------------------------------

    def example(self) -> None:
        """The example of the repository, production."""
        folder = self.fresh("example")
        shutil.copytree(HERE / "state", folder / "state")
        with Sandbox() as sandbox:
            demo.set_up(sandbox, "production")
            for command, line in (
                ("validate", "validate --env production"),
                ("plan, first", "plan --env production"),
                ("apply, first", "apply --env production --auto-approve"),
                ("plan, nothing to do", "plan --env production"),
            ):
                self.keep(tools.recon(sandbox, 12, command, "example", line, folder))

    def recon(self, domains: int, rates: str, scale: float) -> None:
        folder = self.fresh("recon")
        stacks.recon(folder / "state", domains)
        commands = [("plan, nothing to do", "plan"), ("plan in bulk", "plan --refresh bulk")]
        with Sandbox() as sandbox:
            if domains <= self.options.apply:
                sandbox.seed(zones=[{"name": zone} for zone in stacks.zones(domains)])
                commands = [("plan, first", "plan"), ("apply, first", "apply --auto-approve"), *commands]
            else:
                stacks.applied(sandbox, domains)
                self.left_out.append(
                    f"{domains:,} domains were put into the sandbox as an apply leaves them, and their first plan and "
                    f"apply not measured; `--apply {domains}` measures them"
                )
            if domains > self.options.full:
                commands = commands[-1:]
                self.left_out.append(
                    f"{domains:,} domains were planned in bulk alone; `--full {domains}` plans them in full, which "
                    "takes the sandbox many minutes"
                )
            if scale:
                sandbox.rates("aws", scale)
            else:
                self.keep(tools.recon(sandbox, domains, "validate", rates, "validate", folder))
            for command, line in commands:
                self.keep(tools.recon(sandbox, domains, command, rates, line, folder, scale))

    def far(self, domains: int) -> None:
        """As users have it: TLS, the way to each region, AWS's rates. And plain HTTP and TLS, both without way and
        rates: what TLS costs in CPU."""
        folder = self.fresh("far")
        stacks.recon(folder / "state", domains)
        with Sandbox() as sandbox, wire.Wire(sandbox.url, folder / "wire") as way:
            stacks.applied(sandbox, domains)
            commands = [("plan, nothing to do", "plan"), ("plan in bulk", "plan --refresh bulk")]
            for command, line in commands:
                self.keep(tools.recon(sandbox, domains, command, "HTTP", line, folder))
                self.keep(tools.recon(sandbox, domains, command, "TLS", line, folder, way=way.environment()))
            way.delay = wire.as_in_frankfurt
            sandbox.rates("aws", 1.0)
            for command, line in commands if domains <= self.options.far_full else commands[-1:]:
                self.keep(tools.recon(sandbox, domains, command, FAR, line, folder, 1.0, way.environment()))

    def terraform(self, domains: int, rates: str, scale: float) -> None:
        folder = self.fresh("terraform")
        stacks.terraform(folder, domains)
        with Sandbox() as sandbox:
            sandbox.seed(zones=[{"name": zone} for zone in stacks.zones(domains)])
            why_not = tools.terraform_missing() or tools.terraform_init(sandbox, folder)
            if why_not:
                self.left_out.append(f"Terraform: {why_not}")
                return
            if scale:
                sandbox.rates("aws", scale)
            for command, line in (
                ("apply, first", "apply -auto-approve"),
                ("plan, nothing to do", "plan -detailed-exitcode"),
            ):
                self.keep(tools.terraform(sandbox, domains, command, rates, line, folder))

    def dns(self, domains: int, rates: str, scale: float) -> None:
        """The records alone, by octoDNS; tokens are made up, since it cannot know SES's."""
        if self.octodns is None:
            self.octodns, why_not = tools.octodns_program(self.folder)
            if self.octodns is None:
                self.left_out.append(why_not)
                self.options.no_octodns = True
                return
        folder = self.fresh("records")
        names = map(stacks.domain, range(domains))
        tokens = {n: [hashlib.sha256(f"{n}{i}".encode()).hexdigest()[:32] for i in range(3)] for n in names}
        stacks.octodns(folder, domains, tokens)
        with Sandbox() as sandbox:
            sandbox.seed(zones=[{"name": zone} for zone in stacks.zones(domains)])
            if scale:
                sandbox.rates("aws", scale)
            for command, doit in (("records, first", True), ("records, nothing to do", False)):
                self.keep(tools.octodns(sandbox, domains, command, rates, self.octodns, doit, folder))

    def all(self) -> None:
        options = self.options
        if not options.no_example:
            self.example()
        for domains in options.far:
            self.far(domains)
        self.left_out += goals.measured(options.scenes, options.before, self.keep)
        todo = [(n, OFF, 0.0) for n in options.domains]
        todo += [(n, f"{REAL} x {options.scale:g}", float(options.scale)) for n in options.scaled]
        todo += [(n, REAL, 1.0) for n in options.real]
        if options.terraform < max((n for n, _, _ in todo), default=0):
            self.left_out.append(WAITS.format(options.terraform))
        for domains, rates, scale in todo:
            if not options.no_recon:
                self.recon(domains, rates, scale)
            if domains <= options.terraform:
                self.terraform(domains, rates, scale)
            if not options.no_octodns and domains <= options.apply and scale != 1.0:
                self.dns(domains, rates, scale)


# --- the page ------------------------------------------------------------------------------------------------------


def _dns_floor(run: Run) -> int:
    zones = len(stacks.zones(run.domains))
    return -(-zones // 100) + zones + (zones if run.command == "records, first" else 0)


def _floor(run: Run) -> tuple[int, float] | None:
    """The floor of a run in calls and in seconds at AWS's rates, where one is derived."""
    if run.command.startswith("records"):
        return _dns_floor(run), _dns_floor(run) / floor.RATES["route53"]
    derive = floor.FLOORS.get(run.command)
    if derive is None:
        return None
    calls = derive(run.domains, len(stacks.zones(run.domains)))
    return floor.total(calls), floor.seconds(calls)


def side_by_side(runs: Iterable[Run]) -> Iterator[str]:
    """One line a command: what it cost, the floor, and how far from it."""
    yield (
        "| domains | rates | tool | command | wall, s | CPU, s | peak, MiB | calls | a domain | throttled "
        "| floor, calls | x floor | floor, s | x floor |"
    )
    yield "|--:|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    order = {"recon": 0, "Terraform": 1, "octoDNS": 2}
    speed = {OFF: 0, REAL: 2}
    for run in sorted(runs, key=lambda r: (speed.get(r.rates, 1), r.domains, order[r.tool])):
        least, limit = _floor(run), ["", "", "", ""]
        if least is not None:
            limit[:2] = [f"{least[0]:,}", f"{run.total / least[0]:.2f}"]
            if run.rates != OFF:
                faster = float(run.rates.rpartition(" x ")[2]) if " x " in run.rates else 1.0
                limit[2:] = [f"{least[1] / faster:.1f}", f"{run.seconds / (least[1] / faster):.2f}"]
        yield (
            f"| {run.domains:,} | {run.rates} | {run.tool} | {run.command} | {run.seconds:.1f} | {run.cpu:.1f} "
            f"| {run.memory:.0f} | {run.total:,} | {run.total / run.domains:.2f} | {run.throttled:,} "
            f"| {' | '.join(limit)} |"
        )


def beside_the_calls(runs: Iterable[Run]) -> Iterator[str]:
    """What a plan with nothing to do costs in CPU, in the HTTP calls and beside them."""
    yield "| domains | command | CPU, s | in the calls, s | beside them, s | beside them, ms a domain | peak, MiB |"
    yield "|--:|---|--:|--:|--:|--:|--:|"
    for run in sorted(runs, key=lambda r: (r.command, r.domains)):
        beside = run.cpu - run.http
        yield (
            f"| {run.domains:,} | {run.command} | {run.cpu:.1f} | {run.http:.1f} | {beside:.1f} "
            f"| {1000 * beside / run.domains:.2f} | {run.memory:.0f} |"
        )


def over_tls(runs: Iterable[Run]) -> Iterator[str]:
    """What TLS costs in CPU, and how long a plan takes at AWS's rates with the way to each region."""
    yield "| domains | command | CPU over HTTP, s | CPU over TLS, s | more, s | wall from afar, s | calls |"
    yield "|--:|---|--:|--:|--:|--:|--:|"
    found: dict[tuple[int, str], dict[str, Run]] = {}
    for run in runs:
        if run.tool == goals.NOW:
            found.setdefault((run.domains, run.command), {})[run.rates] = run
    for (domains, command), by_way in sorted(found.items()):
        plain, tls, far = (by_way.get(way) for way in WAYS)
        if plain is None or tls is None:
            continue
        wall = f"{far.seconds:.1f}" if far else ""
        more = tls.cpu - plain.cpu
        yield f"| {domains:,} | {command} | {plain.cpu:.1f} | {tls.cpu:.1f} | {more:+.1f} | {wall} | {tls.total:,} |"


def how_long() -> Iterator[str]:
    """How long each command takes at AWS's rates, as its calls and their rates say it (``floor.expected``)."""
    yield "| domains | " + " | ".join(floor.FLOORS) + " |"
    yield "|--:|" + "--:|" * len(floor.FLOORS)
    for domains in SIZES:
        found = (floor.expected(command, domains, len(stacks.zones(domains))) for command in floor.FLOORS)
        yield f"| {domains:,} | " + " | ".join(map(_in_words, found)) + " |"


def _in_words(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def by_operation(runs: list[Run]) -> Iterator[str]:
    yield "| operation | " + " | ".join(r.command for r in runs) + " |"
    yield "|---|" + "--:|" * len(runs)
    for name in sorted({name for run in runs for name in run.calls}):
        yield f"| {name} | " + " | ".join(f"{run.calls.get(name, 0):,}" for run in runs) + " |"


def tables(runs: list[Run], left_out: list[str], load: float) -> dict[str, str]:
    """What stands between the page's markers, by name. ``load`` is the load average when it began."""
    where = (
        f"Measured with recon {__version__}, Python {platform.python_version()}, on {os.cpu_count()} cores of "
        f"{platform.machine()}, one run each. The load average was {load:.1f} when it began: above the number of "
        "cores, wall time says little, and CPU time too much; calls are exact."
    )
    example = [r for r in runs if r.rates == "example" and r.calls]
    compared = [r for r in runs if r.rates.partition(" x ")[0] in (OFF, REAL) and r.command != "validate"]
    ours = [r for r in compared if r.tool == "recon" and r.rates == OFF]
    largest = max((r.domains for r in ours if r.command == "apply, first"), default=0)
    out = ["", "Left out:", "", *(f"- {text}." for text in dict.fromkeys(left_out))] if left_out else []
    return {
        "goals": "\n".join([where, "", *goals.table(runs)]),
        "how long": "\n".join(how_long()),
        "side by side": "\n".join([where, "", *side_by_side(compared), *out]),
        "beside the calls": "\n".join(
            beside_the_calls(r for r in ours if r.command in ("plan, nothing to do", "plan in bulk"))
        ),
        "over TLS": "\n".join([where, "", *over_tls(r for r in runs if r.rates in WAYS)]),
        "calls of the example": "\n".join(by_operation(example)),
        "calls of many": f"{largest:,} domains in zones of ten:\n\n"
        + "\n".join(by_operation([r for r in ours if r.domains == largest])),
    }


def write(found: dict[str, str], path: Path = PAGE) -> None:
    """Put each table between its markers. Raises SystemExit where the page has no place for one."""
    text = path.read_text(encoding="utf-8")
    for name, content in found.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- end of {name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{path.name} has no place for {name}")
        text = pattern.sub(lambda match, content=content: match[1] + content + match[2], text)  # type: ignore[misc]
    path.write_text(text, encoding="utf-8")


def sizes(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--domains", type=sizes, default=[10, 100, 1000], help="sizes without limits: 10,100,1000")
    made.add_argument("--scaled", type=sizes, default=[10, 100], help="sizes at AWS's rates, scaled")
    made.add_argument("--scale", type=int, default=10, help="how much faster than AWS's the scaled rates are")
    made.add_argument("--real", type=sizes, default=[20], help="sizes at AWS's rates as they are")
    made.add_argument("--far", type=sizes, default=[1, 20, 100], help="sizes over TLS, with the way to each region")
    made.add_argument("--far-full", type=int, default=100, help="the largest of these that is planned in full")
    made.add_argument("--terraform", type=int, default=10, help="the largest size that Terraform is given")
    made.add_argument("--apply", type=int, default=1000, help="the largest size that is applied, not put in place")
    made.add_argument("--full", type=int, default=10_000, help="the largest size that is planned in full")
    light = [name for name, scene in goals.SCENES.items() if not scene.heavy]
    scenes = f"what recon is measured in beside the version before, of {', '.join(goals.SCENES)}: all but the heavy"
    made.add_argument("--scenes", type=lambda text: [part for part in text.split(",") if part], default=light,
                      help=scenes)  # fmt: skip
    made.add_argument("--before", default=goals.BEFORE, metavar="COMMIT", help="that version; empty: none")
    made.add_argument("--no-recon", action="store_true")
    made.add_argument("--no-octodns", action="store_true")
    made.add_argument("--no-example", action="store_true")
    made.add_argument("--save", type=Path, help="keep the figures in this file as well, and write no page")
    made.add_argument("--page", type=Path, nargs="+", help="measure nothing: write the page from saved figures")
    return made


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    load = os.getloadavg()[0]
    runs: list[Run] = []
    left_out: list[str] = []
    if options.page:
        documents: list[dict[str, Any]] = [json.loads(path.read_text()) for path in options.page]
        runs = [Run(**run) for document in documents for run in document["runs"]]
        left_out = [text for document in documents for text in document["left_out"]]
        load = max(document["load"] for document in documents)
    else:
        with tempfile.TemporaryDirectory(prefix="recon-bench-") as name:
            bench = Bench(Path(name), options)
            bench.all()
            runs, left_out = bench.runs, bench.left_out
    if options.save:
        document = {"load": load, "left_out": left_out, "runs": [asdict(run) for run in runs]}
        options.save.write_text(json.dumps(document, indent=1))
        return 0
    found = tables(runs, left_out, load)
    write(found)
    sys.stdout.write("\n\n".join(found.values()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
