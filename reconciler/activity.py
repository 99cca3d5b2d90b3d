"""What a run does just now, for whoever shows it (``cli/progress.py``): work that is open, how much of it is done, and
calls in flight. No I/O; written and read from several threads. It decides nothing.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar

T = TypeVar("T")

_READS: Final = re.compile(r"(?:Batch)?(?:Get|List|Describe|Lookup|Simulate|Generate)(?=[A-Z])")


@dataclass(slots=True, eq=False)
class Work:
    """Many things that are done: ``total`` of each place (a region, or empty); of a list whose end nobody knows there
    is none. Without ``about`` the first call says what it is about. ``alone``: nothing else is worth showing meanwhile.
    """

    about: str = ""
    verb: str = "Reading"
    total: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    alone: bool = False
    detail: str = ""
    seconds: float = 0.0
    """An estimate of how long it takes, until its own pace gives a better one."""
    began: float = field(default_factory=time.monotonic)

    def count(self, place: str = "", number: int = 1) -> None:
        """So many more are done."""
        self.done[place] += number


@dataclass(slots=True, eq=False)
class Call:
    """A call in flight. ``slow`` returns the calls per second that its limit (``ses``) allows, where others wait for
    it, too."""

    operation: str
    region: str
    limit: str
    slow: Callable[[], float | None]


_works: dict[int, Work] = {}
_calls: dict[int, Call] = {}
_here = threading.local()
_asking: list[object] = []
_asked: list[object] = []


@contextlib.contextmanager
def working(
    about: str = "", places: Iterable[str] = (), *, verb: str = "Reading", alone: bool = False, seconds: float = 0.0
) -> Iterator[Work]:
    """Show that this is worked at while the block runs; ``places`` has the place of each thing to do, if they are
    known."""
    work = Work(about, verb, Counter(places), alone=alone, seconds=seconds)
    _works[id(work)] = work
    try:
        yield work
    finally:
        del _works[id(work)]


def counted(items: Iterable[T], about: str, number: int) -> Iterator[T]:
    """``items``, of which there are ``number``: each is done when the next is asked for."""
    with working(about, [""] * number) as work:
        for item in items:
            yield item
            work.count()


@contextlib.contextmanager
def part_of(work: Work) -> Iterator[None]:
    """The calls of this thread are about ``work`` while the block runs."""
    before = getattr(_here, "work", None)
    _here.work = work
    try:
        yield
    finally:
        _here.work = before


@contextlib.contextmanager
def calling(call: Call) -> Iterator[None]:
    """A call of this thread is in flight while the block runs."""
    work: Work | None = getattr(_here, "work", None)
    if work is not None and not work.about:
        work.about, work.verb = thing(call.operation), verb(call.operation)
    thread = threading.get_ident()
    before = _calls.get(thread)
    _calls[thread] = call
    try:
        yield
    finally:
        if before is None:
            del _calls[thread]
        else:
            _calls[thread] = before


@contextlib.contextmanager
def asking() -> Iterator[None]:
    """Nothing is shown while the block runs: it asks something on the terminal."""
    token = object()
    _asking.append(token)
    try:
        yield
    finally:
        _asking.remove(token)
        _asked.append(token)


def questions() -> int:
    """How many questions the user has answered."""
    return len(_asked)


def now() -> tuple[list[Work], list[Call]]:
    """The open works, the oldest first, and the calls in flight; neither while something is asked."""
    return ([], []) if _asking else (list(_works.values()), list(_calls.values()))


def verb(operation: str) -> str:
    """Whether an operation of AWS reads or writes, as its name says."""
    return "Reading" if _READS.match(operation) else "Writing"


def thing(operation: str) -> str:
    """What an operation of AWS is about, in the words of its name: ``GetEmailIdentity`` is about an email identity."""
    name = _READS.sub("", operation, count=1)
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*|[a-z0-9]+", name)
    return " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in words)
