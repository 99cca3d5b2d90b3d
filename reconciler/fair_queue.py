"""Taking turns among limits that are apart: a region that is slow must not keep the others waiting.

AWS limits each region and service by itself. Workers that took their work in order of address would all stand in line
for the first region while the others lie idle. Pure, and not safe to share between threads without a lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Work that waits, in one lane for each ``lane(item)``; within a lane first come, first served."""

    def __init__(self, lane: Callable[[T], Hashable], items: Iterable[T] = ()) -> None:
        self._lane = lane
        self._waiting: dict[Hashable, deque[T]] = {}
        self._under_way: dict[Hashable, int] = {}
        for item in items:
            self.put(item)

    def put(self, item: T) -> None:
        """Let ``item`` wait at the end of its lane."""
        lane = self._lane(item)
        self._waiting.setdefault(lane, deque()).append(item)
        self._under_way.setdefault(lane, 0)

    def take(self) -> T | None:
        """The next item of the lane that has the fewest under way, of these the one whose turn is longest ago; or
        None where nothing waits."""
        lanes = [lane for lane, items in self._waiting.items() if items]
        if not lanes:
            return None
        lane = min(lanes, key=self._under_way.__getitem__)
        self._under_way[lane] += 1
        items = self._waiting.pop(lane)
        self._waiting[lane] = items  # the last in the order of turns
        return items.popleft()

    def done(self, item: T) -> None:
        """``item``, once taken, is no longer under way."""
        self._under_way[self._lane(item)] -= 1
