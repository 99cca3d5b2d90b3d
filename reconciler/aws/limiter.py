"""An adaptive rate limiter for one AWS limit (one account, region and service).

AWS publishes few control-plane rates and sends no "remaining" header, so the rate is learnt: it starts just below the
documented rate, grows quickly while nothing is throttled, and after throttling falls to the rate that AWS really
served.

Sources: SES Developer Guide "Service quotas" (1 request/s for all but sending); Route 53 Developer Guide "Quotas"
(5 requests/s per account). Where nothing is documented, the initial rate is a guess and only the adapting counts.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable

from reconciler.errors import ReconError

DOCUMENTED: dict[str, float] = {"ses": 1.0, "route53": 5.0}
"""Requests per second that AWS documents, by limit."""

GUESSED: dict[str, float] = {"iam": 10.0, "tagging": 5.0, "secretsmanager": 20.0, "ssm": 3.0, "cloudtrail": 2.0}

_MARGIN = 0.94
"""Just below the documented rate: at exactly that rate, network jitter still gets calls throttled."""
_GROWTH = 1.6
_FASTEST = 500.0
_SLOWEST = 0.25
"""The lowest rate, as a share of the documented one: other programs may leave less of it, but slower tries do not
help."""
_RECOVERY = (2, 50, 1.2)
"""How a rate below the documented one recovers: after so many responses without throttling (initially, at most) each
further one raises it by this factor, so that a short burst of another program does not slow down the whole run.
Throttling during the recovery doubles the number, a completed recovery resets it."""
_WINDOW, _RECENT = 1.0, 8
"""The rate that AWS really serves is measured over so many seconds, and over at least so many responses: few, because a
rate that has just grown was lower a moment ago."""
_PATIENCE = (12, 50, 800)
"""Responses without throttling before a rate that was once throttled grows a little: least, initial, most. Each attempt
that succeeds halves the number, each that is throttled doubles it: a limit far above the documented one is found within
minutes, and one exactly as documented costs hardly any throttling in hundreds of calls."""
_STEP = 1.08


def rates_from_environment(text: str | None) -> dict[str, float] | None:
    """Parse ``RECON_RATES``: ``off`` (None: no rate limit), or ``ses=1,route53=5`` overriding the documented rates.

    Raises ReconError for anything else.
    """
    if not text:
        return {}
    if text.strip().lower() == "off":
        return None
    rates: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        try:
            rate = float(number)
        except ValueError:
            rate = 0.0
        if not name.strip() or not 0 < rate <= 10_000:
            raise ReconError(f"RECON_RATES: {part!r} is not a rate", hint="write off, or ses=1,route53=5")
        rates[name.strip()] = rate
    return rates


class Limiter:
    """A rate limiter that adapts in both directions; thread-safe.

    ``acquire()`` blocks until the next call may start; ``served()`` and ``throttled()`` report the result. Until the
    first throttling the rate grows with every response. Throttling lowers it immediately to the rate recently served
    (the first time not below the documented rate), from where it grows slowly. A rate that no caller had to wait for is
    unproven and does not grow: it would be far too high for a burst of calls.
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
        self._was_throttled = False
        self._since_throttled = 0
        self._patience = _PATIENCE[1]
        self._probing = False
        self._recovery = _RECOVERY[0]
        self._recovering = False
        self._next = 0.0
        self._epoch = 0
        self._responses: deque[float] = deque()
        self._waited = True
        self._in_flight = 0  # started and not answered yet; one that never is counts on, which only makes slower
        self._connected: set[str] = set()
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._callers: deque[object] = deque()
        self._turn = threading.Condition()

    @property
    def rate(self) -> float:
        """The current rate in requests per second."""
        return self._rate

    @property
    def waiting(self) -> int:
        """How many callers wait for their turn."""
        return len(self._callers)

    def slow(self) -> float | None:
        """The current rate, where so many callers wait for it that the last of them waits for over a second."""
        return self._rate if self.waiting > self._rate else None

    def acquire(self) -> int:
        """Wait until the next call may start, first come first served; returns the epoch to pass to ``throttled``."""
        caller = object()
        with self._turn:
            self._callers.append(caller)
            self._turn.wait_for(lambda: self._callers[0] is caller)
        try:
            return self._wait()
        finally:
            with self._turn:
                self._callers.popleft()
                self._turn.notify_all()

    def _wait(self) -> int:
        while True:
            with self._lock:
                now = self._clock()
                wait = self._next - now
                if wait <= 0:
                    self._next = now + 1.0 / self._rate
                    self._in_flight += 1
                    return self._epoch
                self._waited = True
            self._sleep(wait)

    def served(self, client: str = "") -> None:
        """AWS processed a call, successfully or with an error other than throttling. Several clients may share a limit,
        such as those of both versions of SES: each opens a connection of its own."""
        with self._lock:
            now = self._clock()
            self._in_flight -= 1
            self._responses.append(now)
            while len(self._responses) > _RECENT and self._responses[0] < now - _WINDOW:
                self._responses.popleft()
            if client not in self._connected:
                # The first call also opened the connection; the next must not arrive right after it.
                self._connected.add(client)
                self._next = max(self._next, now + 1.0 / self._rate)
            self._since_throttled += 1
            if not self._waited:
                return
            self._waited = False
            if not self._was_throttled:
                self._rate = min(self._rate * _GROWTH, _FASTEST)
            elif self._rate < self._floor:
                if self._since_throttled >= self._recovery:
                    self._recovering = True
                    self._rate = min(self._rate * _RECOVERY[2], self._floor)
            elif self._since_throttled >= self._patience:
                self._recovery, self._recovering = _RECOVERY[0], False
                if self._probing:
                    self._patience = max(self._patience // 2, _PATIENCE[0])
                self._probing = True
                self._since_throttled = 0
                self._rate = min(self._rate * _STEP, _FASTEST)

    def throttled(self, epoch: int) -> None:
        """AWS throttled a call. Calls that started before the last slow-down are not counted again."""
        with self._lock:
            self._in_flight -= 1
            if epoch != self._epoch:
                return
            now = self._clock()
            self._epoch += 1
            served = len(self._responses) / max(now - self._responses[0], _WINDOW) if self._responses else 0.0
            often = self._was_throttled and not self._probing and self._since_throttled < 2
            too_fast = self._rate > self._floor * 1.02
            if too_fast:
                self._rate = max(min(served, self._rate) * 0.7, self._floor)
            else:
                # At or below the documented rate: jitter if it is rare, another program's calls if it is frequent.
                self._rate = max(self._rate * (0.7 if often else 0.97), self._floor * _SLOWEST)
            if self._probing:
                self._patience = min(self._patience * 2, _PATIENCE[2])
            if self._recovering:
                self._recovery = min(self._recovery * 2, _RECOVERY[1])
            self._probing = self._recovering = False
            self._was_throttled = True
            self._since_throttled = 0
            if too_fast and self._responses and not self._in_flight:
                # Nobody else's calls, but a try at a higher rate: AWS counts what it has served, not what it refused.
                self._next = max(self._responses[-1] + 1.0 / self._rate, now)
            else:
                self._next = max(self._next, now + 1.0 / self._rate)


class Limiters:
    """The limiters of one run, created on first use; ``RECON_RATES=off`` switches rate limits off."""

    def __init__(self) -> None:
        self._rates = rates_from_environment(os.environ.get("RECON_RATES"))
        self._limiters: dict[tuple[str, str, str], Limiter] = {}
        self._lock = threading.Lock()

    def get(self, identity: str, limit: str, region: str) -> Limiter | None:
        """The limiter for one account (by the role that is used), limit and region; None if rate limits are off."""
        if self._rates is None:
            return None
        key = (identity, limit, region)
        with self._lock:
            if key not in self._limiters:
                documented = self._rates.get(limit, DOCUMENTED.get(limit))
                self._limiters[key] = Limiter(documented, GUESSED.get(limit, 10.0))
            return self._limiters[key]
