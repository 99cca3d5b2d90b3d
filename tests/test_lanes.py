"""Work under limits that are apart: workers are shared out, and none stands behind another region's queue."""

from __future__ import annotations

import threading

from reconciler.aws import Aws
from reconciler.fair_queue import FairQueue
from reconciler.model import Stack


def lane(item: str) -> str:
    return item[0]


def test_first_come_first_served_within_a_lane() -> None:
    lanes = FairQueue(lane, ["a1", "a2", "a3"])
    assert [lanes.take() for _ in range(4)] == ["a1", "a2", "a3", None]


def test_the_lane_with_the_fewest_under_way_is_next() -> None:
    lanes = FairQueue(lane, ["a1", "a2", "a3", "b1", "b2", "b3"])
    assert [lanes.take() for _ in range(4)] == ["a1", "b1", "a2", "b2"]
    lanes.done("b1")
    assert lanes.take() == "b3", "b has one under way, a has two"
    lanes.done("b2")
    assert lanes.take() == "a3", "nothing of b waits"


def test_one_worker_goes_round() -> None:
    lanes = FairQueue(lane, ["a1", "a2", "b1", "c1"])
    order = []
    while (item := lanes.take()) is not None:
        order.append(item)
        lanes.done(item)
    assert order == ["a1", "b1", "c1", "a2"]


def test_what_is_put_later_waits_its_turn() -> None:
    lanes = FairQueue(lane)
    assert lanes.take() is None
    lanes.put("a1")
    lanes.put("b1")
    lanes.put("a2")
    assert [lanes.take() for _ in range(3)] == ["a1", "b1", "a2"]


def test_a_region_that_stands_still_does_not_hold_up_another() -> None:
    """Every worker would wait for ``slow`` if items were taken in their order; ``fast`` ends before it is let go."""
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
