"""How long it takes until one command has named the cause of an incident, in an account that nobody declared.

Each command is a process of its own; the sandbox takes 100 ms for a call, once as fast as recon asks and once at the
rates that AWS documents. Writes the table of docs/performance.md; `--no-page` only prints it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import bench

from reconciler.sandbox import Sandbox

LATENCY = 0.1
"""Seconds that a call takes."""
COMMANDS = (
    ("the stale password", "stale-password", "doctor --region us-east-1"),
    ("the stale password", "stale-password", "doctor admin@acme.example --region us-east-1"),
    ("clean, and still refused", "one-receiver",
     "doctor acme.example --to ann@bigmail.example --region us-east-1 --region eu-west-1"),
    ("the break-in", "break-in", "doctor --region us-east-1"),
    ("the break-in", "break-in", "senders --region us-east-1"),
)  # fmt: skip


def measured(scenario: str, line: str, rates: str) -> tuple[float, int]:
    """Wall seconds of one command, and its calls. Raises SystemExit where it fails."""
    with Sandbox() as sandbox, tempfile.TemporaryDirectory(prefix="recon-incident-") as home:
        sandbox.scenario(scenario)
        host, port = sandbox.serve_dns()
        sandbox.rates(rates)
        sandbox.fault("delay", seconds=LATENCY, count=None)
        before = len(sandbox.calls())
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "RECON_"))}
        environment = clean | sandbox.environment(paced=True, resolver=f"{host}:{port}")
        environment["PYTHONPATH"] = str(bench.HERE)
        started = time.monotonic()
        ran = subprocess.run(
            [sys.executable, "-m", "reconciler", *line.split()], cwd=home, env=environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        seconds = time.monotonic() - started
        if ran.returncode not in {0, 2}:
            raise SystemExit(f"recon {line} ended with {ran.returncode}:\n{ran.stderr[-2000:]}")
        return seconds, len(sandbox.calls()) - before


def table() -> Iterator[str]:
    """One line a command."""
    yield "| incident | command | calls | wall, s | at AWS's rates, s |"
    yield "|---|---|--:|--:|--:|"
    for incident, scenario, line in COMMANDS:
        free, calls = measured(scenario, line, "off")
        limited, _ = measured(scenario, line, "aws")
        yield f"| {incident} | `recon {line}` | {calls} | {free:.1f} | {limited:.1f} |"


def main(arguments: list[str]) -> int:
    load = os.getloadavg()[0]
    lines = [f"Load average {load:.1f} on {os.cpu_count()} cores when it began.", "", *table()]
    sys.stdout.write("\n".join(lines) + "\n")
    if "--no-page" not in arguments:
        bench.write({"incidents": "\n".join(lines)})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
