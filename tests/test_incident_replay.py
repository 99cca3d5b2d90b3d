"""The incidents of a real company, replayed in an account that nobody declared: one command names the cause, in its
first line, and waits for few calls one after the other.

How long that takes is measured in `benchmarks/`; here the calls are counted, and the longest chain of them of which
each needs what came before it.
"""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import threading
import types
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

import pytest
from support import HOME, OTHER, House

from reconciler import observing, suppression
from reconciler.aws import Aws, client
from reconciler.doctor import facts, sender_facts
from reconciler.sandbox import Sandbox

WEBMAIL = r"Fix this first: smtp: the access key AKIA\w+ of webmail was deleted on "
SUPPRESSED = r"Fix this first: suppression: .*ann@bigmail\.example is suppressed since"
BEHIND = r"Fix this first: reputation: .*one sender is behind them, crm-import"
RECEIVER = f"doctor acme.example --to ann@bigmail.example --region {HOME} --region {OTHER}"
INCIDENTS = [
    # the stale password: a webmail sends as admin@, and its key was replaced
    ("stale-password", f"doctor --region {HOME}", 2, WEBMAIL),
    ("stale-password", f"doctor admin@acme.example --region {HOME}", 2, WEBMAIL),
    # clean, and still refused: suppressed, in each region by itself
    ("one-receiver", RECEIVER, 2, SUPPRESSED),
    # the break-in: who sends
    ("break-in", f"doctor --region {HOME}", 2, BEHIND),
    ("break-in", f"senders --region {HOME}", 0, r"2 of 2 senders .* declared by nobody: .*user crm-import"),
]
NAMES = [f"{name}: {line.partition(' --region')[0]}" for name, line, _, _ in INCIDENTS]
CHAIN = 7
"""Calls that wait for one another; at 100 ms each less than a second."""
OF_SES = 8
"""Calls to SES in one region, of which AWS documents one a second: more would not fit into ten seconds."""


class Chain:
    """How many calls have been waited for, one after the other. Work that recon does side by side begins at the length
    that its beginner has, and whoever waits for it goes on from the longest: threads are not needed for that."""

    def __init__(self) -> None:
        self.length = 0
        self.loose: list[int] = []

    def apart(self, work: Callable[..., Any], *given: Any, **named: Any) -> tuple[Any, int]:
        """What ``work`` returns, and the length at its end; whoever began it goes on meanwhile."""
        before = self.length
        try:
            return work(*given, **named), self.length
        finally:
            self.length = before

    def join(self, ends: Iterable[int]) -> None:
        self.length = max((self.length, *ends))

    def parallel(self, work: Callable[[Any], Any], items: Iterable[Any], limit_of: Any = None) -> list[Any]:
        done = [self.apart(work, item) for item in items]
        self.join(end for _, end in done)
        return [result for result, _ in done]

    def executor(chain) -> type:
        class Executor:
            def __init__(self, max_workers: int = 1) -> None:
                self.ends: list[int] = []

            def __enter__(self) -> Executor:
                return self

            def __exit__(self, *problem: object) -> None:
                chain.join(self.ends)

            def submit(self, work: Callable[..., Any], *given: Any, **named: Any) -> Future[Any]:
                class Waited(Future[Any]):
                    def result(self, timeout: float | None = None) -> Any:
                        chain.join([end])
                        return super().result(timeout)

                future = Waited()
                result, end = chain.apart(work, *given, **named)
                self.ends.append(end)
                future.set_result(result)
                return future

        return Executor

    def thread(chain) -> type:
        class Thread:
            def __init__(self, target: Callable[..., Any], args: tuple[Any, ...], daemon: bool) -> None:
                self.work = lambda: target(*args)

            def start(self) -> None:
                chain.loose.append(chain.apart(self.work)[1])

        return Thread

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        call, chain = Aws.call, self

        def counted(aws: Aws, *given: Any, **named: Any) -> Any:
            answer = call(aws, *given, **named)
            chain.length += 1
            return answer

        class Pages(queue.Queue[Any]):
            def get(self, *given: Any, **named: Any) -> Any:
                chain.join(chain.loose)
                return super().get(*given, **named)

        for module in (observing, client, facts, sender_facts):
            monkeypatch.setattr(module, "ThreadPoolExecutor", self.executor())
        monkeypatch.setattr(Aws, "call", counted)
        monkeypatch.setattr(Aws, "parallel", self.parallel)
        monkeypatch.setattr(suppression, "Pages", Pages)
        threads = types.SimpleNamespace(Thread=self.thread(), Event=threading.Event)
        monkeypatch.setattr(suppression, "threading", threads)


@pytest.mark.parametrize(("name", "line", "code", "first"), INCIDENTS, ids=NAMES)
def test_one_command_names_the_cause_after_few_calls(
    house: House, monkeypatch: pytest.MonkeyPatch, name: str, line: str, code: int, first: str
) -> None:
    house.sandbox.scenario(name)
    before = len(house.sandbox.calls())
    host, port = house.sandbox.serve_dns()
    monkeypatch.setenv("RECON_RESOLVER", f"{host}:{port}")
    chain = Chain()
    chain.use(monkeypatch)
    ran = house.cli(*line.split())
    assert ran.code == code, ran
    assert re.match(first, ran.out), ran.out
    of_ses = Counter(c["region"] for c in house.sandbox.calls()[before:] if c["service"] in {"ses", "sesv2"})
    assert chain.length <= CHAIN and max(of_ses.values()) <= OF_SES, (chain.length, of_ses)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "line", "code", "first"), INCIDENTS, ids=NAMES)
def test_a_process_names_the_cause(tmp_path: Any, name: str, line: str, code: int, first: str) -> None:
    """The same as people run it: a process of its own, 100 ms a call, AWS's rates."""
    with Sandbox() as sandbox:
        sandbox.scenario(name)
        host, port = sandbox.serve_dns()
        sandbox.rates("aws")
        sandbox.fault("delay", seconds=0.1, count=None)
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "RECON_", "COLUMNS"))}
        ran = subprocess.run(
            [sys.executable, "-m", "reconciler", *line.split()], cwd=tmp_path, capture_output=True, text=True,
            env=clean | sandbox.environment(paced=True, resolver=f"{host}:{port}"), check=False,
        )  # fmt: skip
    assert ran.returncode == code, ran
    assert re.match(first, ran.stdout), ran.stdout
