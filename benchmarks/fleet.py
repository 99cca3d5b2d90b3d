"""A fleet while its workers are killed: every stack must be reported once, with the right exit code.

``make bench-fleet`` plans a thousand stacks over a hundred accounts on the embedded sandbox, first with processes of
this machine, then with a Dask cluster on loopback whose scheduler is killed once. A worker is killed at random every
ten seconds. Linux only, since the workers are found through /proc.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from reconciler.sandbox import CLEARED, Sandbox

HERE = Path(__file__).parent.parent
Found = dict[str, tuple[int, str]]


def accounts_of(count: int) -> list[str]:
    return [f"{200000000000 + number}" for number in range(count)]


def write(folder: Path, sandbox: Sandbox, stacks: int, accounts: list[str]) -> Found:
    """The fleet with its states and profiles; returns the exit code and outcome that each stack must have."""
    credentials, lines, expected = [], [], Found()
    for account in accounts:
        sandbox.principal(f"AKIA{account}XXXX", account=account)
        credentials.append(f"[a{account}]\naws_access_key_id = AKIA{account}XXXX\naws_secret_access_key = sandbox\n")
    for number in range(stacks):
        account = accounts[number % len(accounts)]
        home = folder / "stacks" / f"s{number:04}"
        home.mkdir(parents=True)
        text, unit = f'stack: {{name: s{number}, account: "{account}", regions: [us-east-1]}}\n', f"stacks/{home.name}"
        expected[unit] = 0, "no_changes"
        if number % 10 == 3:
            text += f"domains: {{d{number}.example: {{zone: manual, dkim: {{signing_attributes_origin: AWS_SES}}}}}}\n"
            expected[unit] = 2, "changes"
        elif number % 100 == 5:
            text = text.replace(account, "999999999999")
            expected[unit] = 3, "refused"
        elif number % 100 == 7:
            text += "domainz: {}\n"
            expected[unit] = 1, "invalid"
        (home / "state.yaml").write_text(text)
        outcome = expected[unit][1]
        sound = "no" if outcome in {"refused", "invalid"} else "yes"
        lines.append(f'  - {{state: {unit}, profile: a{account}, labels: {{outcome: {outcome}, sound: "{sound}"}}}}\n')
    (folder / "fleet.yaml").write_text("stacks:\n" + "".join(lines))
    (folder / "credentials").write_text("\n".join(credentials))
    return expected


def environment(folder: Path, sandbox: Sandbox) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in CLEARED and not k.startswith("AWS_")}
    given = {k: v for k, v in sandbox.environment().items() if not k.endswith(("KEY_ID", "ACCESS_KEY"))}
    return {**kept, **given, "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"), "PYTHONPATH": str(HERE)}


def grandchildren(process: int) -> list[int]:
    """The children of the children of a process."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(entry.name))
    return [one for child in parents.get(process, []) for one in parents.get(child, [])]


@contextlib.contextmanager
def killing(find: Callable[[], list[int]], every: float, killed: Counter[str]) -> Iterator[None]:
    """Inside, one of the processes that ``find`` gives is killed every so many seconds."""
    over, choose = threading.Event(), random.Random(1)

    def work() -> None:
        while not over.wait(every):
            if there := find():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(choose.choice(there), signal.SIGKILL)
                    killed["workers"] += 1

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def check(document: dict[str, Any], code: int, expected: Found, most_lost: int) -> str:
    """Asserts what must hold; ``most_lost`` is how many attempts the kills can have cost. Returns the attempts."""
    found = {one["id"]: (one["exit_code"], one["outcome"]) for one in document["stacks"]}
    assert len(document["stacks"]) == len(found), "a stack is reported twice"
    assert not document["missing"], document["diagnostics"][:3]
    wrong = {unit: (found.get(unit), value) for unit, value in expected.items() if found.get(unit) != value}
    assert not wrong, list(wrong.items())[:3]
    worst = {value for value, _ in expected.values()}
    assert code == (1 if worst & {1, 3} else 2 if 2 in worst else 0), code
    attempts = Counter(one["attempts"] for one in document["stacks"])
    begun = sum(a * n for a, n in attempts.items())
    assert len(expected) <= begun <= len(expected) + most_lost, f"{begun} attempts"
    return ", ".join(f"{n} stacks with {a} attempts" for a, n in sorted(attempts.items()))


@contextlib.contextmanager
def run(folder: Path, env: dict[str, str], *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "reconciler", "fleet", "plan", "fleet.yaml", "--format", "json", "-q", *options]
    with subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()  # where the benchmark is ended, its sandbox is gone


def mixes(folder: Path, env: dict[str, str], run_id: str) -> None:
    """Asserts the exit code over parts of a run, all of which have their reports: nothing is run again."""
    parts = {"outcome=no_changes": 0, "outcome=changes": 2, "sound=yes": 2, "outcome=refused": 1, "outcome=invalid": 1,
             "sound=no": 1}  # fmt: skip
    for part, expected in parts.items():
        with run(folder, env, "--select", part, "--run-id", run_id) as process:
            out, _ = process.communicate()
        there = len(json.loads(out).get("stacks", ()))
        # A small fleet has no stack of some outcomes, and a selection of nothing is an error.
        assert process.returncode == (expected if there else 1), (part, process.returncode)


def locally(folder: Path, env: dict[str, str], expected: Found, options: argparse.Namespace) -> None:
    begun, killed = time.monotonic(), Counter[str]()
    with (
        run(folder, env, "--workers", str(options.workers), "--run-id", "local") as process,
        killing(lambda: grandchildren(process.pid), options.kill, killed),
    ):
        out, _ = process.communicate()
    mixes(folder, env, "local")
    said = check(json.loads(out), process.returncode, expected, killed["workers"])
    print(f"processes: {time.monotonic() - begun:.0f} s, {killed['workers']} workers killed, {said}")


def on_dask(folder: Path, env: dict[str, str], expected: Found, options: argparse.Namespace) -> None:
    begun, killed = time.monotonic(), Counter[str]()
    with (
        cluster(folder, env, options.workers) as (address, scheduler, find),
        run(folder, env, "--scheduler", address, "--run-id", "dask") as process,
        killing(find, options.kill, killed),
    ):
        # The scheduler dies once a third has its report.
        reports = folder / ".recon" / "fleet" / "dask" / "reports"
        while process.poll() is None and len(list(reports.glob("*"))) < len(expected) // 3:
            time.sleep(0.5)
        scheduler.kill()
        out, _ = process.communicate()
    first = json.loads(out)
    assert process.returncode == 1, process.returncode
    with (
        cluster(folder, env, options.workers) as (address, _, find),
        run(folder, env, "--scheduler", address, "--run-id", "dask") as process,
        killing(find, options.kill, killed),
    ):
        out, _ = process.communicate()
    mixes(folder, env, "dask")
    # With the scheduler each worker may have lost a stack as well.
    said = check(json.loads(out), process.returncode, expected, killed["workers"] + options.workers)
    done = len(expected) - len(first["missing"])
    print(f"Dask: {time.monotonic() - begun:.0f} s, {killed['workers']} workers killed, the scheduler after {done} "
          f"stacks, {said}")  # fmt: skip


@contextlib.contextmanager
def cluster(
    folder: Path, env: dict[str, str], workers: int
) -> Iterator[tuple[str, subprocess.Popen[bytes], Callable[[], list[int]]]]:  # fmt: skip
    """A scheduler and nannies with one worker each, on loopback."""
    place = folder / "scheduler.json"
    place.unlink(missing_ok=True)
    quiet: dict[str, Any] = {"cwd": folder, "env": env, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    base = [sys.executable, "-m"]
    scheduler = subprocess.Popen(
        [*base, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
         "--scheduler-file", str(place)], **quiet,
    )  # fmt: skip
    while not (place.exists() and place.read_text().rstrip().endswith("}")):
        time.sleep(0.1)
    address = json.loads(place.read_text())["address"]

    def nanny(number: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*base, "distributed.cli.dask_worker", address, "--nthreads", "1", "--host", "127.0.0.1", "--no-dashboard",
             "--local-directory", str(folder / f"worker{number}"), "--death-timeout", "30"], **quiet,
        )  # fmt: skip

    nannies = [nanny(number) for number in range(workers)]

    def find() -> list[int]:
        found = []
        for number, one in enumerate(nannies):
            # A nanny ends when its first worker is killed before that is up; whoever deploys workers starts it again.
            if one.poll() is not None:
                nannies[number] = nanny(number)
        for process in nannies:
            with contextlib.suppress(OSError):
                # Any thread of a nanny may start its worker; its other child is multiprocessing's resource tracker.
                children = [one for text in Path(f"/proc/{process.pid}/task").glob("*/children")
                            for one in text.read_text().split()]  # fmt: skip
                found += [int(one) for one in children if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]
        return found

    try:
        yield address, scheduler, find
    finally:
        for process in [*nannies, scheduler]:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stacks", type=int, default=1000)
    parser.add_argument("--accounts", type=int, default=100)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--kill", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument("--only", choices=["processes", "dask"])
    options = parser.parse_args()
    signal.signal(
        signal.SIGTERM, lambda number, frame: sys.exit(128 + number)
    )  # the processes are ended on the way out
    with tempfile.TemporaryDirectory(prefix="recon-fleet-") as name, Sandbox(rates=None) as sandbox:
        folder = Path(name)
        expected = write(folder, sandbox, options.stacks, accounts_of(options.accounts))
        env = environment(folder, sandbox)
        print(f"{options.stacks} stacks over {options.accounts} accounts, {options.workers} workers")
        if options.only != "dask":
            locally(folder, env, expected, options)
        if options.only != "processes":
            on_dask(folder, env, expected, options)


if __name__ == "__main__":
    main()
