"""A queue that shares workers fairly among independent rate limits: a slow region must not delay the others.

AWS limits each region and service separately. Workers that took items in order of address would all wait for the first
region while the others are idle. Pure, and not thread-safe without a lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """A FIFO queue for each ``limit_of(item)``, such as a region; ``get`` takes turns among them."""

    def __init__(self, limit_of: Callable[[T], Hashable], items: Iterable[T] = ()) -> None:
        self._limit_of = limit_of
        self._queues: dict[Hashable, deque[T]] = {}
        self._in_progress: dict[Hashable, int] = {}
        for item in items:
            self.put(item)

    def put(self, item: T) -> None:
        """Add ``item`` at the end of its queue."""
        limit = self._limit_of(item)
        self._queues.setdefault(limit, deque()).append(item)
        self._in_progress.setdefault(limit, 0)

    def get(self) -> T | None:
        """The next item of the limit with the fewest items in progress (of several, the least recently served), or
        None if the queue is empty."""
        limits = [limit for limit, items in self._queues.items() if items]
        if not limits:
            return None
        limit = min(limits, key=self._in_progress.__getitem__)
        self._in_progress[limit] += 1
        items = self._queues.pop(limit)
        self._queues[limit] = items  # now the most recently served
        return items.popleft()

    def task_done(self, item: T) -> None:
        """``item``, which ``get`` returned, is no longer in progress."""
        self._in_progress[self._limit_of(item)] -= 1
