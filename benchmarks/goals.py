"""What recon promises of its speed, each figure measured beside an earlier version of recon in the same run.

A scene is a stack in the sandbox with AWS's rates, the way to AWS and its delays, and the commands that are measured
there. Each version runs it in a sandbox of its own. ``python benchmarks/goals.py --help`` lists the scenes; the heavy
ones run only when they are named, or with ``--heavy``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import stacks
import tools
import wire
from tools import Run

from reconciler.sandbox import Sandbox

BEFORE = "254d6a1"
"""The commit that each figure is compared with: the last one before recon was measured over TLS and from afar."""
NOW = "recon"
THEN = "recon before"
HANGS = "ap-southeast-2"
"""The region that never answers, where one does not."""
ONE_PACED = "100 ms a call, AWS's rates"
INSYNC, VERIFIED = 30.0, 30.0
"""Seconds that Route 53 takes to publish a change, and SES from there to verify a domain."""


@dataclass(frozen=True)
class Version:
    """A version of recon: its name in the figures, and where its code is."""

    tool: str
    code: Path


class Stage:
    """One scene for one version: a sandbox, the way to it, a folder, and what is measured in them."""

    def __init__(
        self, scene: str, version: Version, domains: int, folder: Path, keep: Callable[[Run], None], sandbox: Sandbox,
        way: wire.Wire | None,
    ) -> None:  # fmt: skip
        self.scene, self.version, self.domains, self.folder = scene, version, domains, folder
        self.sandbox, self.keep, self.way = sandbox, keep, way
        self.paced = 0.0
        self.detour = False

    def measure(self, command: str, line: str, scene: str = "", codes: Sequence[int] = (0,)) -> None:
        way = self.way.environment() if self.way and self.detour else None
        self.keep(
            tools.recon(
                self.sandbox, self.domains, command, scene or self.scene, line, self.folder, self.paced, way,
                tool=self.version.tool, code=self.version.code, codes=codes,
            )
        )  # fmt: skip

    def as_aws(self, seconds: float, *, rates: bool = True, hangs: str = "") -> None:
        """From now on over TLS, a call takes ``seconds``, at AWS's rates; ``hangs`` is a region that never answers."""
        assert self.way is not None
        self.way.delay = lambda region: float("inf") if region == hangs else seconds - self.way.service_time
        self.detour = True
        if rates:
            self.sandbox.rates("aws", 1.0)
            self.paced = 1.0


def zoned(stage: Stage) -> None:
    stacks.recon(stage.folder / "state", stage.domains)
    stage.sandbox.seed(zones=[{"name": zone} for zone in stacks.zones(stage.domains)])


def two_zones(stage: Stage) -> None:
    """Twenty domains in two zones, published after thirty seconds."""
    zoned(stage)
    stage.sandbox.settings(insync_delay=INSYNC)
    stage.as_aws(0.08)
    stage.measure("apply, first", "apply --auto-approve")
    stage.measure("plan, nothing to do", "plan")


def mixed(stage: Stage) -> None:
    """Domains beside users, sets with events, and pools."""
    stacks.mixed(stage.folder / "state", stage.domains)
    stage.sandbox.seed(zones=[{"name": zone} for zone in stacks.zones(stage.domains)])
    made = tools.recon(
        stage.sandbox, stage.domains, "apply", "", "apply --auto-approve", stage.folder, code=stage.version.code
    )
    assert made.writes
    stage.as_aws(0.08)
    stage.measure("plan in bulk", "plan --refresh bulk")


def sets(stage: Stage) -> None:
    """As many sets as domains, all of them new."""
    stacks.with_sets(stage.folder / "state", stage.domains)
    stage.sandbox.seed(zones=[{"name": zone} for zone in stacks.zones(stage.domains)])
    stage.as_aws(0.08)
    stage.measure("plan, first", "plan")


def over_tls(stage: Stage) -> None:
    """The same plan over plain HTTP and over TLS, without delays and rates: what TLS costs in CPU."""
    stacks.recon(stage.folder / "state", stage.domains)
    stacks.applied(stage.sandbox, stage.domains)
    for _ in range(3):  # the least of them counts
        for way, stage.detour in (("HTTP", False), ("TLS", True)):
            stage.measure("plan, nothing to do", "plan", way)


def one(stage: Stage) -> None:
    """One domain, 100 ms a call: without limits, and at AWS's rates."""
    stacks.recon(stage.folder / "state", stage.domains)
    stacks.applied(stage.sandbox, stage.domains)
    stage.as_aws(0.1, rates=False)
    stage.measure("plan, nothing to do", "plan")
    stage.as_aws(0.1)
    stage.measure("plan, nothing to do", "plan", ONE_PACED)


def hanging(stage: Stage) -> None:
    """The same while a region in which nothing is declared does not answer."""
    stacks.recon(stage.folder / "state", stage.domains)
    stacks.applied(stage.sandbox, stage.domains)
    stage.as_aws(0.1, rates=False, hangs=HANGS)
    stage.measure("plan, nothing to do", "plan", codes=(0, 1))


def waiting(stage: Stage, *, rates: bool = False) -> None:
    """One new domain until SES has verified it."""
    zoned(stage)
    stage.sandbox.settings(insync_delay=INSYNC, verification_delay=INSYNC + VERIFIED)
    stage.as_aws(0.1, rates=rates)
    stage.measure("apply, first", "apply --auto-approve --wait")


def waiting_paced(stage: Stage) -> None:
    """The same at AWS's rates: before the identity is there, six calls to SES follow one another at one a second."""
    waiting(stage, rates=True)


def full(stage: Stage) -> None:
    """Every attribute of many domains that are as declared."""
    stacks.recon(stage.folder / "state", stage.domains)
    stacks.applied(stage.sandbox, stage.domains)
    for _ in range(3):  # the least of them counts
        stage.measure("plan, nothing to do", "plan")


def bulk(stage: Stage) -> None:
    """The same in bulk."""
    stacks.recon(stage.folder / "state", stage.domains)
    stacks.applied(stage.sandbox, stage.domains)
    stage.measure("plan in bulk", "plan --refresh bulk")


def planned(stage: Stage) -> None:
    """Many new domains: planned and saved, and the saved plan shown."""
    zoned(stage)
    stage.measure("plan, first", "plan --out plan.json")
    stage.measure("show", "show plan.json")
    if stage.version.tool == NOW:
        stage.measure("plan, compressed", "plan --out plan.json.gz")


def applied(stage: Stage) -> None:
    """Many new domains: applied, which takes the sandbox a quarter of an hour."""
    zoned(stage)
    stage.measure("apply, first", "apply --auto-approve")


@dataclass(frozen=True)
class Scene:
    play: Callable[[Stage], None]
    sizes: tuple[int, ...]
    name: str
    heavy: bool = False
    before: bool = True
    """Whether the earlier version is measured, too, where nothing else is said: it would take minutes."""


SCENES: Mapping[str, Scene] = {
    "two-zones": Scene(two_zones, (20,), "two zones, 80 ms a call, INSYNC after 30 s"),
    "mixed": Scene(mixed, (20,), "with 5 users, 3 sets with events, 2 pools, 80 ms a call"),
    "sets": Scene(sets, (20,), "with as many sets, 80 ms a call"),
    "tls": Scene(over_tls, (1, 100, 1000), "TLS"),
    "one": Scene(one, (1,), "100 ms a call, no rates"),
    "hangs": Scene(hanging, (1,), f"100 ms a call, no rates, {HANGS} does not answer", before=False),
    "wait": Scene(waiting, (1,), "verified after 60 s, 100 ms a call, no rates"),
    "wait-paced": Scene(waiting_paced, (1,), "INSYNC after 30 s, verified 30 s later, 100 ms a call"),
    "full": Scene(full, (10_000,), "no rates", heavy=True),
    "bulk": Scene(bulk, (10_000, 100_000), "no rates", heavy=True),
    "planned": Scene(planned, (10_000,), "new, no rates", heavy=True),
    "applied": Scene(applied, (10_000,), "new, no rates", heavy=True),
}


def play(
    scene: Scene, versions: Sequence[Version], folder: Path, keep: Callable[[Run], None], sizes: Sequence[int] = ()
) -> None:
    """Run a scene in all sizes, with each version in turn."""
    for domains in sizes or scene.sizes:
        for version in versions:
            home = folder / f"{scene.play.__name__}-{domains}-{version.tool.replace(' ', '-')}"
            home.mkdir()
            with ExitStack() as open_until_now:
                sandbox = open_until_now.enter_context(Sandbox())
                way = open_until_now.enter_context(wire.Wire(sandbox.url, home / "wire"))
                scene.play(Stage(scene.name, version, domains, home, keep, sandbox, way))


def commit_of(text: str, folder: Path) -> tuple[Path | None, str]:
    """The files of a commit of this repository below ``folder``; or why they cannot be had."""
    home = folder / "before"
    home.mkdir()
    packed = subprocess.run(
        ["git", "-C", str(tools.HERE), "archive", text, "reconciler", "schemas"], capture_output=True
    )
    if packed.returncode:
        return None, f"recon before: {packed.stderr.decode().strip()}"
    subprocess.run(["tar", "-x", "-C", str(home)], input=packed.stdout, check=True)
    return home, ""


# --- what must hold ------------------------------------------------------------------------------------------------

Get = Callable[[str, str, str, int], float]
"""A figure of what one version measured: (figure, scene or its key, command, domains). Raises LookupError."""


@dataclass(frozen=True)
class Goal:
    """What a figure is of, the figure, and at most how much it may be; given what it was before, where that counts."""

    words: str
    unit: str
    figure: Callable[[Get], float]
    most: float | Callable[[float], float] | None = None


def _least(value: Callable[[Run], float]) -> Callable[[Sequence[Run]], float]:
    return lambda runs: min(map(value, runs))


FIGURES: Mapping[str, Callable[[Sequence[Run]], float]] = {
    "wall": _least(lambda run: run.seconds),
    "cpu": _least(lambda run: run.cpu),
    "beside": _least(lambda run: run.cpu - run.http),
    "memory": lambda runs: max(run.memory for run in runs),
    "calls": _least(lambda run: float(run.total)),
}
"""Of several runs of one command the least counts: what else the machine did only adds to it."""


def getter(runs: Sequence[Run], tool: str) -> Get:
    def get(figure: str, scene: str, command: str, domains: int) -> float:
        rates = SCENES[scene].name if scene in SCENES else scene
        fitting = [r for r in runs if (r.tool, r.rates, r.command, r.domains) == (tool, rates, command, domains)]
        if not fitting:
            raise LookupError(scene, command, domains)
        return FIGURES[figure](fitting)

    return get


FULL, FIRST, APPLY = "plan, nothing to do", "plan, first", "apply, first"
GOALS = (
    Goal("20 domains in two zones, 80 ms a call, INSYNC after 30 s: apply", "s",
         lambda get: get("wall", "two-zones", APPLY, 20), 65),
    Goal("the same: full plan", "s", lambda get: get("wall", "two-zones", FULL, 20), 25),
    Goal("20 domains, 5 users, 3 sets with events, 2 pools, 80 ms a call: plan in bulk", "s",
         lambda get: get("wall", "mixed", "plan in bulk", 20), 13.5),
    Goal("20 sets and 20 domains, 80 ms a call: first plan", "s", lambda get: get("wall", "sets", FIRST, 20), 8),
    *(
        Goal(f"{domains:,} domain{'s' * (domains > 1)}, full plan: CPU over TLS, beside that over HTTP", "s",
             lambda get, n=domains: get("cpu", "TLS", FULL, n) - get("cpu", "HTTP", FULL, n), 0.2)  # type: ignore[misc]
        for domains in (1, 100, 1000)
    ),
    Goal("one domain, 100 ms a call, TLS: full plan", "s", lambda get: get("wall", "one", FULL, 1), 2.5),
    Goal("the same while a region does not answer: longer by", "s",
         lambda get: get("wall", "hangs", FULL, 1) - get("wall", "one", FULL, 1), 10),
    Goal("the same at AWS's rates", "s", lambda get: get("wall", ONE_PACED, FULL, 1)),
    Goal("one new domain with --wait, 100 ms a call, TLS, 60 s for AWS: recon's own part", "s",
         lambda get: get("wall", "wait", APPLY, 1) - INSYNC - VERIFIED, 6),
    Goal("the same at AWS's rates", "s", lambda get: get("wall", "wait-paced", APPLY, 1) - INSYNC - VERIFIED),
    Goal("10,000 domains, full plan: CPU beside the calls", "s",
         lambda get: get("beside", "full", FULL, 10_000), lambda before: before * 5 / 6),
    Goal("10,000 domains, full plan: CPU", "s", lambda get: get("cpu", "full", FULL, 10_000)),
    Goal("10,000 domains, full plan: peak", "MiB", lambda get: get("memory", "full", FULL, 10_000), 300),
    Goal("10,000 domains in bulk: CPU", "s", lambda get: get("cpu", "bulk", "plan in bulk", 10_000)),
    Goal("100,000 domains in bulk: CPU, a tenth", "s",
         lambda get: get("cpu", "bulk", "plan in bulk", 100_000) / 10),
    Goal("100,000 domains in bulk: peak", "MiB", lambda get: get("memory", "bulk", "plan in bulk", 100_000)),
    Goal("10,000 new domains: plan saved, peak", "MiB", lambda get: get("memory", "planned", FIRST, 10_000), 300),
    Goal("10,000 new domains: plan saved, CPU", "s", lambda get: get("cpu", "planned", FIRST, 10_000)),
    Goal("10,000 new domains: show, peak", "MiB", lambda get: get("memory", "planned", "show", 10_000), 300),
    Goal("10,000 new domains: show, CPU", "s", lambda get: get("cpu", "planned", "show", 10_000)),
    Goal("10,000 new domains: apply, peak", "MiB", lambda get: get("memory", "applied", APPLY, 10_000), 300),
    Goal("10,000 new domains: apply, CPU", "s", lambda get: get("cpu", "applied", APPLY, 10_000)),
)  # fmt: skip


def table(runs: Sequence[Run]) -> Iterator[str]:
    """One line a goal that was measured: before, now, and what is allowed."""
    yield "| | before | now | goal | |"
    yield "|---|--:|--:|--:|---|"
    for goal in GOALS:
        found: dict[str, float] = {}
        for tool in (THEN, NOW):
            with contextlib.suppress(LookupError):
                found[tool] = goal.figure(getter(runs, tool))
        if NOW not in found:
            continue
        now, most = found[NOW], goal.most(found.get(THEN, 0.0)) if callable(goal.most) else goal.most
        before = f"{found[THEN]:.1f} {goal.unit}" if THEN in found else ""
        limit, verdict = (f"{most:.1f} {goal.unit}", "holds" if now <= most else "**missed**") if most else ("", "")
        yield f"| {goal.words} | {before} | {now:.1f} {goal.unit} | {limit} | {verdict} |"


def measured(names: Sequence[str], commit: str, keep: Callable[[Run], None], sizes: Sequence[int] = ()) -> list[str]:
    """Play scenes; returns what was left out."""
    with tempfile.TemporaryDirectory(prefix="recon-goals-") as name:
        folder = Path(name)
        versions, left_out = [Version(NOW, tools.HERE)], []
        if commit:
            home, why_not = commit_of(commit, folder)
            versions = [Version(THEN, home), *versions] if home else versions
            left_out = [why_not] if why_not else []
        for version in versions:
            subprocess.run([sys.executable, "-m", "compileall", "-q", str(version.code / "reconciler")], check=True)
        for scene in names:
            both = SCENES[scene].before or commit != BEFORE
            play(SCENES[scene], versions if both else versions[-1:], folder, keep, sizes)
        return left_out


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=f"of {', '.join(SCENES)}; else all but the heavy")
    parser.add_argument("--heavy", action="store_true", help="the heavy ones, too")
    parser.add_argument("--sizes", type=lambda text: [int(part) for part in text.split(",")], default=[])
    parser.add_argument("--before", default=BEFORE, metavar="COMMIT", help="compare with it; empty: with nothing")
    parser.add_argument("--save", type=Path, help="add the figures to those in this file")
    options = parser.parse_args(arguments)
    names = options.scenes or [name for name, scene in SCENES.items() if options.heavy or not scene.heavy]
    runs = (
        [Run(**run) for run in json.loads(options.save.read_text())] if options.save and options.save.exists() else []
    )

    def keep(run: Run) -> None:
        runs.append(run)
        tools.say(run)
        if options.save:
            options.save.write_text(json.dumps([asdict(run) for run in runs], indent=1))

    for text in measured(names, options.before, keep, options.sizes):
        sys.stderr.write(f"left out: {text}\n")
    sys.stdout.write("\n".join(table(runs)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
