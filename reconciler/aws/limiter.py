"""An adaptive pace for one AWS limit (one account, region and service).

AWS publishes few control-plane rates and sends no "remaining" header, so the pace is learnt: it starts just below the
documented rate, grows quickly while nothing is refused, and after a refusal stays just below what held.

Sources: SES Developer Guide "Service quotas" (1 request/s for all but sending); Route 53 Developer Guide "Quotas"
(5 requests/s per account). Where nothing is documented the start is a guess and only the adapting counts.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

DOCUMENTED: dict[str, float] = {"ses": 1.0, "route53": 5.0}
"""Requests per second that AWS documents, by limit."""

GUESSED: dict[str, float] = {"iam": 10.0, "tagging": 5.0, "secretsmanager": 20.0, "ssm": 3.0, "cloudtrail": 2.0}

_GROWTH = 1.6
_FASTEST = 500.0
_SLOWEST = 0.05


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

    ``acquire()`` blocks until the next call may start; ``succeeded()`` and ``throttled()`` report how it went.
    The cost of learning is one or two refused calls in a run: the first refusal above the documented rate falls
    straight back below that rate instead of halving step by step.
    """

    def __init__(
        self,
        documented: float | None,
        start: float = 10.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._documented = documented
        self._rate = documented * 0.95 if documented else start
        self._ceiling: float | None = None
        self._next = 0.0
        self._epoch = 0
        self._good = 0
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()

    @property
    def rate(self) -> float:
        """The present pace in requests per second."""
        return self._rate

    def acquire(self) -> int:
        """Wait for a turn; returns the epoch to hand back to ``throttled``."""
        with self._lock:
            now = self._clock()
            start = max(now, self._next)
            self._next = start + 1.0 / self._rate
            epoch = self._epoch
        if start > now:
            self._sleep(start - now)
        return epoch

    def succeeded(self) -> None:
        """A call was served: quicken, fast until the first refusal, then gently below the known ceiling."""
        with self._lock:
            self._good += 1
            if self._ceiling is None:
                self._rate = min(self._rate * _GROWTH, _FASTEST)
            elif self._good >= 50:
                self._good = 0
                self._ceiling *= 1.05
                self._rate = min(self._rate * 1.1, self._ceiling * 0.95)

    def throttled(self, epoch: int) -> None:
        """A call was refused. Refusals of calls that started before the last slow-down are not counted again."""
        with self._lock:
            self._good = 0
            if epoch != self._epoch:
                return
            self._epoch += 1
            documented = self._documented
            if documented and self._rate > documented:
                self._ceiling = documented
                self._rate = documented * 0.95
            else:
                self._ceiling = max(self._rate, _SLOWEST)
                self._rate = max(self._rate * 0.6, _SLOWEST)
            self._next = self._clock() + 1.0 / self._rate


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
