"""A queue that shares workers fairly among independent rate limits: a slow region must not delay the others.

AWS limits each region and service separately. Workers that took items in order of address would all wait for the first
region while the others are idle. Pure, and not thread-safe without a lock.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """A queue for each ``limit_of(item)``, such as a region; ``get`` takes turns among them. In each queue the item
    with the highest ``urgency(item)`` comes first, of equal ones the one that was put first."""

    def __init__(
        self,
        limit_of: Callable[[T], Hashable],
        items: Iterable[T] = (),
        *,
        urgency: Callable[[T], int] = lambda item: 0,
    ) -> None:
        self._limit_of = limit_of
        self._urgency = urgency
        self._queues: dict[Hashable, list[tuple[int, int, T]]] = {}
        self._in_progress: dict[Hashable, int] = {}
        self._numbers = count()
        for item in items:
            self.put(item)

    def put(self, item: T) -> None:
        """Add ``item`` to its queue."""
        limit = self._limit_of(item)
        heapq.heappush(self._queues.setdefault(limit, []), (-self._urgency(item), next(self._numbers), item))
        self._in_progress.setdefault(limit, 0)

    def get(self) -> T | None:
        """The next item of the limit with the fewest items in progress (of several, the least recently served), or
        None if the queue is empty."""
        limits = [limit for limit, items in self._queues.items() if items]
        if not limits:
            return None
        limit = limits[0] if len(limits) == 1 else min(limits, key=self._in_progress.__getitem__)
        self._in_progress[limit] += 1
        items = self._queues.pop(limit)
        self._queues[limit] = items  # now the most recently served
        return heapq.heappop(items)[2]

    def task_done(self, item: T) -> None:
        """``item``, which ``get`` returned, is no longer in progress."""
        self._in_progress[self._limit_of(item)] -= 1
