"""Wall time, AWS calls and peak memory of recon against the sandbox: ``make bench``.

Two states: the example of this repository, and generated domains in zones of ten. Each command is a process of its own,
as people run it; the sandbox is in this one, without rate limits, so that the figures are recon's own work and its.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler import __version__, demo
from reconciler.sandbox import Sandbox

HERE = Path(__file__).parent.parent
PAGE = HERE / "docs" / "performance.md"
DEFAULT_DOMAINS = 1000
PER_ZONE = 10

LAUNCHER = """
import atexit, pathlib, runpy, sys
def peak():
    try:
        text = pathlib.Path("/proc/self/status").read_text()
        kib = int(text.partition("VmHWM:")[2].split()[0])
    except OSError:
        import resource
        kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)
    pathlib.Path("peak").write_text(str(kib))
atexit.register(peak)
sys.argv[0] = "recon"
runpy.run_module("reconciler", run_name="__main__")
"""
"""Runs recon and leaves its own peak memory in KiB in the file ``peak``: what the parent sees of a child counts the
parent's memory, too, from before the exec (getrusage(2), ru_maxrss)."""


@dataclass(frozen=True, slots=True)
class Run:
    """One command, measured: seconds of wall time and of CPU, peak resident memory in MiB, calls by operation."""

    state: str
    domains: int
    command: str
    seconds: float
    cpu: float
    memory: float
    calls: Mapping[str, int]

    @property
    def reads(self) -> int:
        return sum(n for name, n in self.calls.items() if not _writes(name))

    @property
    def writes(self) -> int:
        return sum(n for name, n in self.calls.items() if _writes(name))


def _writes(call: str) -> bool:
    return not re.search(r" (Get|List|Describe|BatchGet|AssumeRole|Lookup)", call)


def generated(folder: Path, domains: int) -> list[str]:
    """Write a state of many alike domains, as a vendor with tenants has them; returns the zones that it needs."""
    lines = [
        'stack: {name: bench, account: "111122223333", regions: [us-east-1], max_deletes: 100000}',
        "defaults:",
        "  domain:",
        "    dkim: {signing_attributes_origin: AWS_SES, next_signing_key_length: RSA_2048_BIT}",
        '    mail_from: {mail_from_domain: "bounce.${domain}", behavior_on_mx_failure: USE_DEFAULT_VALUE}',
        "    configuration_set_name: tenants",
        '    dmarc: {p: reject, rua: ["mailto:dmarc@zone-0.example"]}',
        "configuration_sets:",
        "  tenants: {delivery_options: {tls_policy: REQUIRE}}",
        "domains:",
    ]
    lines += [f"  tenant-{number}.zone-{number // PER_ZONE}.example: {{}}" for number in range(domains)]
    folder.mkdir(parents=True)
    (folder / "mail.yaml").write_text("\n".join(lines) + "\n")
    return [f"zone-{number}.example" for number in range((domains + PER_ZONE - 1) // PER_ZONE)]


def measure(sandbox: Sandbox, folder: Path, state: str, domains: int, name: str, command: str) -> Run:
    """Run one recon command and measure it. Raises SystemExit where it fails."""
    sandbox.clear_calls()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "RECON_"))}
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, *command.split(), "-q"], cwd=folder, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**kept, **sandbox.environment(), "PYTHONPATH": str(HERE)},
    )  # fmt: skip
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    if (code := os.waitstatus_to_exitcode(status)) != 0:
        raise SystemExit(f"recon {command} ended with {code}:\n{printed[-3000:]}")
    calls = Counter(f"{c['service']} {c['operation']}" for c in sandbox.calls())
    memory = int((folder / "peak").read_text()) / 1024
    return Run(state, domains, name, seconds, usage.ru_utime + usage.ru_stime, memory, calls)


def example(runs: list[Run], folder: Path) -> None:
    """The example of the repository, production."""
    shutil.copytree(HERE / "state", folder / "state")
    with Sandbox() as sandbox:
        demo.furnish(sandbox, "production")
        for name, command in (
            ("validate", "validate --env production"),
            ("plan, first", "plan --env production"),
            ("apply, first", "apply --env production --auto-approve"),
            ("plan, nothing to do", "plan --env production"),
        ):
            runs.append(measure(sandbox, folder, "the example", 12, name, command))
            report(runs[-1])


def many(runs: list[Run], folder: Path, domains: int) -> None:
    """The generated state."""
    zones = generated(folder / "state", domains)
    with Sandbox() as sandbox:
        sandbox.seed(zones=[{"name": zone} for zone in zones])
        for name, command in (
            ("validate", "validate"),
            ("plan, first", "plan"),
            ("apply, first", "apply --auto-approve"),
            ("plan, nothing to do", "plan"),
        ):
            runs.append(measure(sandbox, folder, f"{domains:,} domains", domains, name, command))
            report(runs[-1])


def report(run: Run) -> None:
    top = ", ".join(f"{n} {name}" for name, n in Counter(run.calls).most_common(4))
    total = sum(run.calls.values())
    words = f"{run.state}: {run.command}: {run.seconds:.1f} s, {run.memory:.0f} MiB, {total} calls ({top})"
    sys.stderr.write(words + "\n")


def table(runs: list[Run], load: float) -> str:
    """The runs as Markdown: one line a command, then the calls by operation. ``load`` is the average at the start."""
    where = (
        f"Measured with recon {__version__}, Python {platform.python_version()}, on {os.cpu_count()} cores of "
        f"{platform.machine()}, one run each; commands as processes of their own, the sandbox without rate limits. "
        f"The load average was {load:.1f} when it began: above the number of cores, wall time says little, CPU more."
    )
    lines = [
        where,
        "",
        "| state | command | wall, s | CPU, s | peak, MiB | AWS calls | of them writes | calls a domain |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for run in runs:
        total = sum(run.calls.values())
        lines.append(
            f"| {run.state} | {run.command} | {run.seconds:.1f} | {run.cpu:.1f} | {run.memory:.0f} | {total:,} "
            f"| {run.writes:,} | {total / run.domains:.2f} |"
        )
    lines += [
        "",
        "Calls by operation:",
        "",
        "| operation | " + " | ".join(f"{r.state}: {r.command}" for r in runs if r.calls) + " |",
    ]
    lines.append("|---|" + "--:|" * sum(1 for r in runs if r.calls))
    for name in sorted({name for run in runs for name in run.calls}):
        lines.append(f"| {name} | " + " | ".join(f"{run.calls.get(name, 0):,}" for run in runs if run.calls) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--domains", type=int, default=DEFAULT_DOMAINS, help="how many generated domains")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, and write no page")
    options = parser.parse_args()
    runs: list[Run] = []
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="recon-bench-") as name:
        example(runs, Path(name) / "example")
        many(runs, Path(name) / "many", options.domains)
    if options.json:
        figures: list[dict[str, Any]] = [
            {
                "state": r.state,
                "command": r.command,
                "seconds": r.seconds,
                "cpu": r.cpu,
                "memory": r.memory,
                "calls": dict(r.calls),
            }
            for r in runs
        ]  # fmt: skip
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
        return 0
    text = PAGE.read_text(encoding="utf-8")
    pattern = re.compile(r"(<!-- figures -->\n).*?(\n<!-- end of figures -->)", re.DOTALL)
    PAGE.write_text(pattern.sub(lambda m: m[1] + table(runs, load) + m[2], text), encoding="utf-8")
    sys.stdout.write(table(runs, load) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
