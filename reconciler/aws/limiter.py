"""An adaptive pace for one AWS limit (one account, region and service).

AWS publishes few control-plane rates and sends no "remaining" header, so the pace is learnt: it starts just below the
documented rate, grows quickly while nothing is refused, and after a refusal falls to what was really served.

Sources: SES Developer Guide "Service quotas" (1 request/s for all but sending); Route 53 Developer Guide "Quotas"
(5 requests/s per account). Where nothing is documented the start is a guess and only the adapting counts.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable

DOCUMENTED: dict[str, float] = {"ses": 1.0, "route53": 5.0}
"""Requests per second that AWS documents, by limit."""

GUESSED: dict[str, float] = {"iam": 10.0, "tagging": 5.0, "secretsmanager": 20.0, "ssm": 3.0, "cloudtrail": 2.0}

_MARGIN = 0.94
"""Just below the documented rate: at exactly the rate, jitter on the way still gets calls refused."""
_GROWTH = 1.6
_FASTEST = 500.0
_SLOWEST = 0.25
"""Of the documented rate: what others leave of it may be less, but waiting longer between tries finds no more of it."""
_BACK = (2, 50, 1.2)
"""After how many answers without a refusal (at first, at most) each further one brings a pace that fell below the
documented rate nearer to it, and by what factor: a short rush of somebody else's calls must not make the rest of a run
crawl. A climb that is refused doubles the number, one that lasts sets it back."""
_WINDOW, _RECENT = 1.0, 8
"""What AWS really serves is told by the answers of so many seconds, and by so many at least: few, since a pace that
has just climbed was slow a moment ago."""
_PATIENCE = (12, 50, 800)
"""Answers without a refusal before a pace that was once refused tries to go a little faster: the fewest, at first, the
most. Each try that goes well halves them, each that is refused doubles them: a limit far above what is documented is
found within minutes, and one that is just as documented costs hardly a refusal in hundreds of calls."""
_STEP = 1.08


def rates_from_environment(text: str | None) -> dict[str, float] | None:
    """Parse ``RECON_RATES``: ``off`` (None: no pacing), or ``ses=1,route53=5`` overriding the documented rates.

    Raises ValueError for anything else.
    """
    if not text:
        return {}
    if text.strip().lower() == "off":
        return None
    rates: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        rate = float(number)
        if not name.strip() or not 0 < rate <= 10_000:
            raise ValueError(f"not a rate: {part!r}")
        rates[name.strip()] = rate
    return rates


class Limiter:
    """A token pace that adapts both ways; safe to share between threads.

    ``acquire()`` blocks until the next call may start; ``served()`` and ``throttled()`` report how it went. While
    nothing has been refused the pace grows with every answer. A refusal brings it down at once to what was really
    served of late (never below the documented rate for the first one), and from there it creeps up again. A pace that
    nobody had to wait for has proven nothing and does not grow: it would be far too fast when many calls come at once.
    """

    def __init__(
        self,
        documented: float | None,
        start: float = 10.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._floor = documented * _MARGIN if documented else start / 20
        self._rate = documented * _MARGIN if documented else start
        self._refused = False
        self._since_refusal = 0
        self._patience = _PATIENCE[1]
        self._tried = False
        self._back = _BACK[0]
        self._climbs = False
        self._next = 0.0
        self._epoch = 0
        self._answers: deque[float] = deque()
        self._pressed = True
        self._answered = False
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()

    @property
    def rate(self) -> float:
        """The present pace in requests per second."""
        return self._rate

    def acquire(self) -> int:
        """Wait for a turn; returns the epoch to hand back to ``throttled``."""
        while True:
            with self._lock:
                now = self._clock()
                wait = self._next - now
                if wait <= 0:
                    self._next = now + 1.0 / self._rate
                    return self._epoch
                self._pressed = True
            self._sleep(wait)

    def served(self) -> None:
        """A call was answered, well or with an error of its own."""
        with self._lock:
            now = self._clock()
            self._answers.append(now)
            while len(self._answers) > _RECENT and self._answers[0] < now - _WINDOW:
                self._answers.popleft()
            if not self._answered:
                # The first call also opened the connection; the next must not arrive right behind it.
                self._answered = True
                self._next = max(self._next, now + 1.0 / self._rate)
            self._since_refusal += 1
            if not self._pressed:
                return
            self._pressed = False
            if not self._refused:
                self._rate = min(self._rate * _GROWTH, _FASTEST)
            elif self._rate < self._floor:
                if self._since_refusal >= self._back:
                    self._climbs = True
                    self._rate = min(self._rate * _BACK[2], self._floor)
            elif self._since_refusal >= self._patience:
                self._back, self._climbs = _BACK[0], False
                if self._tried:
                    self._patience = max(self._patience // 2, _PATIENCE[0])
                self._tried = True
                self._since_refusal = 0
                self._rate = min(self._rate * _STEP, _FASTEST)

    def throttled(self, epoch: int) -> None:
        """A call was refused. Refusals of calls that started before the last slow-down are not counted again."""
        with self._lock:
            if epoch != self._epoch:
                return
            now = self._clock()
            self._epoch += 1
            served = len(self._answers) / max(now - self._answers[0], _WINDOW) if self._answers else 0.0
            often = self._refused and not self._tried and self._since_refusal < 2
            if self._rate > self._floor * 1.02:
                self._rate = max(min(served, self._rate) * 0.7, self._floor)
            else:
                # Below the documented rate: jitter if it is rare, somebody else's calls if it is not.
                self._rate = max(self._rate * (0.7 if often else 0.97), self._floor * _SLOWEST)
            if self._tried:
                self._patience = min(self._patience * 2, _PATIENCE[2])
            if self._climbs:
                self._back = min(self._back * 2, _BACK[1])
            self._tried = self._climbs = False
            self._refused = True
            self._since_refusal = 0
            self._next = max(self._next, now + 1.0 / self._rate)


class Limiters:
    """The limiters of one run, made when first asked for; ``RECON_RATES=off`` switches pacing off."""

    def __init__(self) -> None:
        self._rates = rates_from_environment(os.environ.get("RECON_RATES"))
        self._made: dict[tuple[str, str, str], Limiter] = {}
        self._lock = threading.Lock()

    def get(self, identity: str, limit: str, region: str) -> Limiter | None:
        """The limiter for one account (by the role that speaks), limit and region; None when pacing is off."""
        if self._rates is None:
            return None
        key = (identity, limit, region)
        with self._lock:
            if key not in self._made:
                documented = self._rates.get(limit, DOCUMENTED.get(limit))
                self._made[key] = Limiter(documented, GUESSED.get(limit, 10.0))
            return self._made[key]
