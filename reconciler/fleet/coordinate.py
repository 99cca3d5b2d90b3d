"""Which unit runs when: accounts side by side, the stacks of one account one after the other.

AWS counts calls by account and region, so two stacks of one account would only slow each other down.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from reconciler.errors import ReconError
from reconciler.fleet.reports import Reports
from reconciler.fleet.work import Task

MOST_ATTEMPTS: Final = 5
"""How often a unit is begun whose worker dies each time: it may be the unit that kills it. Where something else kills a
worker every ten seconds and a unit takes five, three attempts would leave some of a thousand units without a report."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A unit that no worker works at any more. ``problem`` says why it cannot have a report; ``died`` where its worker
    ended in the middle, so that another may try."""

    unit: str
    problem: str = ""
    died: bool = False


class Workers(Protocol):
    """What carries out tasks."""

    def room(self) -> int:
        """How many tasks may be started now."""
        ...

    def start(self, task: Task) -> None: ...

    def ended(self, seconds: float) -> list[Ended]:
        """What has ended, after at most so many seconds. Raises ReconError where the workers are lost for good."""
        ...

    def close(self) -> None: ...


OnEnd = Callable[[Task, dict[str, Any] | None], None]


def run_all(tasks: Iterable[Task], workers: Workers, reports: Reports, on_end: OnEnd) -> dict[str, str]:
    """Carry out all tasks. Returns why a unit has no report, by its id; ``on_end`` gets each report, or None. Where the
    workers are lost, that is why: what has a report then is done."""
    tasks = list(tasks)
    missing: dict[str, str] = {}
    try:
        _run_all(tasks, workers, reports, on_end, missing)
    except ReconError as problem:
        why = f"{problem.message}; {problem.hint}" if problem.hint else problem.message
        missing = {**dict.fromkeys((task.unit for task in tasks if not reports.has(task.unit)), why), **missing}
    return missing


def _run_all(
    tasks: Iterable[Task], workers: Workers, reports: Reports, on_end: OnEnd, missing: dict[str, str]
) -> None:  # fmt: skip
    lanes: dict[str, deque[Task]] = {}
    for task in tasks:
        lanes.setdefault(task.account or task.unit, deque()).append(task)
    # The account with the most stacks takes longest, so it begins first.
    ready = deque(sorted(lanes, key=lambda account: -len(lanes[account])))
    running: dict[str, tuple[str, Task]] = {}
    begun: Counter[str] = Counter()
    while ready or running:
        while ready and workers.room() > 0:
            lane = ready.popleft()
            task = lanes[lane].popleft()
            begun[task.unit] += 1
            running[task.unit] = lane, task
            workers.start(task)
        for end in workers.ended(1.0):
            lane, task = running.pop(end.unit)
            report = reports.read(end.unit)
            if report is None and end.died and begun[end.unit] < MOST_ATTEMPTS:
                lanes[lane].appendleft(task)
            else:
                if report is None:
                    missing[end.unit] = end.problem or _why(end, begun[end.unit], reports)
                on_end(task, report)
            if lanes[lane]:
                ready.append(lane)


def _why(end: Ended, begun: int, reports: Reports) -> str:
    if end.died:
        return f"its worker died {begun} times"
    return (
        f"its worker ended without a report at {reports.url}: workers elsewhere must see the same folder, or use s3://"
    )
