"""The tools that are compared, each run as people run it, and what one command of each costs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.sandbox import Sandbox

HERE = Path(__file__).parent.parent
OCTODNS = Path(__file__).parent / "requirements-octodns.txt"

_LAUNCHER = """
import atexit, json, pathlib, runpy, sys, threading, time
calls, lock = [0.0], threading.Lock()
def watch(module):
    made = module.BaseClient._make_api_call
    def measured(*arguments, **options):
        started = time.thread_time()
        try:
            return made(*arguments, **options)
        finally:
            with lock:
                calls[0] += time.thread_time() - started
    module.BaseClient._make_api_call = measured
class Finder:
    # botocore is watched once it is imported: importing it here would be a cost that recon has not
    def find_spec(self, name, path, target=None):
        if name != "botocore.client":
            return None
        sys.meta_path.remove(self)
        import importlib.util
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module
        def load(module):
            run(module)
            watch(module)
        spec.loader.exec_module = load
        return spec
sys.meta_path.insert(0, Finder())
def end():
    try:
        text = pathlib.Path("/proc/self/status").read_text()
        kib = int(text.partition("VmHWM:")[2].split()[0])
    except OSError:
        import resource
        kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)
    pathlib.Path("measured").write_text(json.dumps({"memory": kib / 1024, "http": calls[0]}))
atexit.register(end)
sys.argv[0] = "recon"
runpy.run_module("reconciler", run_name="__main__")
"""
"""Runs recon and leaves in the file ``measured`` its own peak memory (MiB; what the parent sees of a child counts the
parent's from before the exec, getrusage(2)) and the CPU seconds that its threads spent inside botocore's calls."""


@dataclass(frozen=True, slots=True)
class Run:
    """One command, measured: seconds of wall time and of CPU (user and system, children too), ``http`` those of them
    inside botocore's calls (recon only), peak resident memory in MiB, calls by operation, how many were throttled."""

    tool: str
    domains: int
    command: str
    rates: str
    seconds: float
    cpu: float
    memory: float
    calls: Mapping[str, int]
    throttled: int = 0
    http: float = 0.0

    @property
    def total(self) -> int:
        return sum(self.calls.values())

    @property
    def writes(self) -> int:
        return sum(n for name, n in self.calls.items() if _writes(name))


def _writes(call: str) -> bool:
    return not call.partition(" ")[2].startswith(("Get", "List", "Describe", "BatchGet", "AssumeRole", "Lookup"))


def say(run: Run) -> None:
    """One line about a run that has ended, on standard error."""
    top = ", ".join(f"{n} {name}" for name, n in Counter(run.calls).most_common(4))
    sys.stderr.write(
        f"{run.tool}, {run.domains} domains, {run.rates}, {run.command}: {run.seconds:.1f} s, CPU {run.cpu:.1f} s, "
        f"{run.memory:.0f} MiB, {run.total} calls ({top})\n"
    )


class Watcher(threading.Thread):
    """Sums the peak memory of all processes of a session, as Linux keeps it for each (proc(5), VmHWM)."""

    def __init__(self, session: int) -> None:
        super().__init__(daemon=True)
        self.session, self.peaks, self.over = session, dict[str, int](), threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.1):
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    if int((folder / "stat").read_text().rpartition(")")[2].split()[3]) == self.session:
                        status = (folder / "status").read_text()
                        self.peaks[folder.name] = int(status.partition("VmHWM:")[2].split()[0])
                except (OSError, ValueError, IndexError):
                    continue  # it ended while it was looked at

    @property
    def memory(self) -> float:
        """MiB; 0 where the system does not tell."""
        return sum(self.peaks.values()) / 1024


def measured(
    sandbox: Sandbox, tool: str, domains: int, command: str, rates: str, arguments: Sequence[str], folder: Path,
    environment: Mapping[str, str], codes: Sequence[int] = (0,),
) -> Run:  # fmt: skip
    """Run one command of a tool and measure it. Raises SystemExit where it ends with none of ``codes``."""
    sandbox.clear_calls()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "RECON_"))}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # else every command compiles what it imports
    (folder / "measured").unlink(missing_ok=True)
    started = time.monotonic()
    with (folder / "output").open("w+") as output:
        process = subprocess.Popen(
            arguments, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env={**kept, **environment}, start_new_session=True,
        )  # fmt: skip
        watcher = Watcher(process.pid)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        watcher.over.set()
        watcher.join()
        if (code := os.waitstatus_to_exitcode(status)) not in codes:
            output.seek(0)
            raise SystemExit(f"{tool} {command} ended with {code}:\n{output.read()[-3000:]}")
    calls = dict(Counter(f"{c['service']} {c['operation']}" for c in sandbox.calls()))
    throttled = sum("hrottl" in str(c["error"]) or "TooManyRequests" in str(c["error"]) for c in sandbox.calls())
    memory, http = watcher.memory, 0.0
    if (folder / "measured").exists():
        import json

        own = json.loads((folder / "measured").read_text())
        memory, http = own["memory"], own["http"]
    cpu = usage.ru_utime + usage.ru_stime
    return Run(tool, domains, command, rates, seconds, cpu, memory, calls, throttled, http)


def recon(
    sandbox: Sandbox, domains: int, command: str, rates: str, line: str, folder: Path, scale: float = 0.0,
    way: Mapping[str, str] | None = None, *, tool: str = "recon", code: Path = HERE, codes: Sequence[int] = (0,),
) -> Run:  # fmt: skip
    """One recon command. ``scale`` is how much faster than AWS's own the rates of the sandbox are; 0 for no rates.
    ``way`` are variables that lead it there another way (``wire``), ``code`` the checkout that is run, by the name of
    ``tool``."""
    environment = {**sandbox.environment(paced=bool(scale)), **(way or {})}
    if scale:
        environment["RECON_RATES"] = f"ses={scale:g},route53={5 * scale:g}"
    arguments = [sys.executable, "-c", _LAUNCHER, *line.split(), "-q"]
    environment["PYTHONPATH"] = str(code)
    return measured(sandbox, tool, domains, command, rates, arguments, folder, environment, codes)


def terraform_missing() -> str:
    """Why Terraform cannot be run here, or nothing."""
    if shutil.which("terraform") is None:
        return "there is no terraform on the PATH"
    return ""


def terraform_init(sandbox: Sandbox, folder: Path) -> str:
    """Let Terraform get its AWS provider from where this machine has it; why it cannot, or nothing."""
    ended = subprocess.run(
        ["terraform", "init", "-input=false", "-no-color"], cwd=folder, capture_output=True, text=True, timeout=300,
        env={**os.environ, **sandbox.environment(), "CHECKPOINT_DISABLE": "1"},
    )  # fmt: skip
    if ended.returncode:
        text = " ".join(ended.stderr.split())
        return f"terraform init failed (a mirror of providers is named in the file of TF_CLI_CONFIG_FILE): {text[:300]}"
    return ""


def terraform(sandbox: Sandbox, domains: int, command: str, rates: str, line: str, folder: Path) -> Run:
    environment = {**sandbox.environment(), "CHECKPOINT_DISABLE": "1"}
    arguments = ["terraform", *line.split(), "-input=false", "-no-color"]
    return measured(sandbox, "Terraform", domains, command, rates, arguments, folder, environment)


def octodns_program(folder: Path) -> tuple[Path | None, str]:
    """``octodns-sync`` in a virtualenv made for it from pinned requirements; or why there is none."""
    home = folder / "octodns"
    for arguments in (
        [sys.executable, "-m", "venv", str(home)],
        [str(home / "bin" / "python"), "-m", "pip", "install", "-qq", "-r", str(OCTODNS)],
    ):
        ended = subprocess.run(arguments, capture_output=True, text=True, timeout=600)
        if ended.returncode:
            return None, f"octoDNS could not be installed: {' '.join(ended.stderr.split())[-300:]}"
    return home / "bin" / "octodns-sync", ""


def octodns(
    sandbox: Sandbox, domains: int, command: str, rates: str, program: Path, doit: bool, folder: Path
) -> Run:  # fmt: skip
    arguments = [str(program), "--config-file", str(folder / "config.yaml"), "--quiet", *(["--doit"] if doit else [])]
    return measured(sandbox, "octoDNS", domains, command, rates, arguments, folder, sandbox.environment())
