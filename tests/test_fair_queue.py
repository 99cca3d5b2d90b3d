"""Workers are shared fairly among independent limits: none waits for another region."""

from __future__ import annotations

import threading

import pytest

from reconciler.aws import Aws
from reconciler.fair_queue import FairQueue
from reconciler.model import Stack


def limit_of(item: str) -> str:
    return item[0]


def test_first_come_first_served_within_a_limit() -> None:
    queue = FairQueue(limit_of, ["a1", "a2", "a3"])
    assert [queue.get() for _ in range(4)] == ["a1", "a2", "a3", None]


def test_what_is_urgent_goes_first_within_its_limit() -> None:
    queue = FairQueue(limit_of, ["a1", "a3", "b0", "a2", "c1"], urgency=lambda item: int(item[1]))
    assert [queue.get() for _ in range(5)] == ["a3", "b0", "c1", "a2", "a1"]


def test_the_limit_with_the_fewest_in_progress_is_next() -> None:
    queue = FairQueue(limit_of, ["a1", "a2", "a3", "b1", "b2", "b3"])
    assert [queue.get() for _ in range(4)] == ["a1", "b1", "a2", "b2"]
    queue.task_done("b1")
    assert queue.get() == "b3", "b has one in progress, a has two"
    queue.task_done("b2")
    assert queue.get() == "a3", "b has nothing left"


def test_one_worker_takes_turns() -> None:
    queue = FairQueue(limit_of, ["a1", "a2", "b1", "c1"])
    order = []
    while (item := queue.get()) is not None:
        order.append(item)
        queue.task_done(item)
    assert order == ["a1", "b1", "c1", "a2"]


def test_what_is_put_later_waits_its_turn() -> None:
    queue = FairQueue(limit_of)
    assert queue.get() is None
    queue.put("a1")
    queue.put("b1")
    queue.put("a2")
    assert [queue.get() for _ in range(3)] == ["a1", "b1", "a2"]


@pytest.mark.threads
def test_a_blocked_region_does_not_delay_another() -> None:
    """Every worker would wait for ``slow`` if items were taken in their order; ``fast`` ends before it is released."""
    stack = Stack(name="s", environment=None, account="111122223333", regions=("us-east-1",))
    aws = Aws(stack, parallelism=4)
    fast = threading.Semaphore(0)

    def work(item: tuple[str, int]) -> bool:
        if item[0] == "fast":
            fast.release()
            return True
        return all(fast.acquire(timeout=20) for _ in range(2))

    items = [("slow", n) for n in range(20)] + [("fast", n) for n in range(40)]
    assert all(aws.parallel(work, items, lambda item: item[0]))
