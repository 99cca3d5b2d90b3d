"""The pace that learns: on a clock of its own, against a bucket that refuses what comes too fast."""

from __future__ import annotations

import threading
import time

import pytest

from reconciler.aws.limiter import Limiter, Limiters, rates_from_environment
from reconciler.errors import ReconError
from reconciler.sandbox.faults import TokenBucket


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def run(limiter: Limiter, clock: Clock, bucket: TokenBucket, calls: int, took: float = 0.02) -> tuple[int, float]:
    """Make ``calls`` served calls; returns how many were refused on the way and how many seconds it took."""
    refused, begun, served = 0, clock.now, 0
    while served < calls:
        epoch = limiter.acquire()
        clock.now += took
        if bucket.take(clock.now):
            served += 1
            limiter.served()
        else:
            refused += 1
            limiter.throttled(epoch)
    return refused, clock.now - begun


def test_who_asks_first_calls_first() -> None:
    """Each caller that waits could wake first; it is served in its turn all the same, also where one gives up."""
    clock, served = Clock(), []
    asleep, go = threading.Event(), threading.Event()

    def sleep(seconds: float) -> None:
        asleep.set()
        assert go.wait(30)
        clock.sleep(seconds)

    limiter = Limiter(1.0, clock=clock, sleep=sleep)
    limiter.acquire()

    def call(number: int) -> None:
        limiter.acquire()
        served.append(number)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for number, thread in enumerate(threads, 1):
        thread.start()
        for _ in range(30_000):
            if limiter.waiting == number:
                break
            time.sleep(0.001)
        assert limiter.waiting == number
    assert asleep.wait(30)
    go.set()
    for thread in threads:
        thread.join(30)
    assert served == list(range(8))


def test_it_starts_just_below_the_documented_rate() -> None:
    clock = Clock()
    limiter = Limiter(1.0, clock=clock, sleep=clock.sleep)
    assert 0.9 <= limiter.rate < 1.0


def test_at_one_a_second_at_most_one_call_in_twenty_is_refused() -> None:
    clock = Clock()
    limiter = Limiter(1.0, clock=clock, sleep=clock.sleep)
    refused, seconds = run(limiter, clock, TokenBucket(1.0, 1.0), 60)
    assert refused <= 0.05 * (60 + refused)
    assert seconds < 60 * 1.25


def test_a_first_refusal_falls_just_below_the_documented_rate() -> None:
    clock = Clock()
    limiter = Limiter(5.0, clock=clock, sleep=clock.sleep)
    epoch = limiter.acquire()
    for _ in range(6):
        limiter.served()
    assert limiter.rate > 5.0
    limiter.throttled(epoch)
    assert 4.5 <= limiter.rate <= 5.0


def test_a_try_at_a_higher_rate_costs_no_pause() -> None:
    """What AWS refused it has not counted: the next call is due as if the refused one had not been made."""
    clock = Clock()
    limiter = Limiter(1.0, clock=clock, sleep=clock.sleep)
    limiter.acquire()
    limiter.served()
    limiter.acquire()
    limiter.served()
    served = clock.now
    limiter.throttled(limiter.acquire())
    limiter.acquire()
    assert 1.0 <= clock.now - served < 1.1


def test_a_second_client_of_a_limit_opens_a_connection_too() -> None:
    clock = Clock()
    limiter = Limiter(1.0, clock=clock, sleep=clock.sleep)
    for client in ("sesv2", "ses"):
        limiter.acquire()
        clock.sleep(0.3)
        limiter.served(client)
        arrived = clock.now
    limiter.acquire()
    assert clock.now - arrived >= 0.6


def test_without_refusals_it_is_soon_out_of_the_way() -> None:
    clock = Clock()
    limiter = Limiter(1.0, clock=clock, sleep=clock.sleep)
    refused, seconds = run(limiter, clock, TokenBucket(1000.0, 1000.0), 200, took=0.001)
    assert refused == 0
    assert seconds < 10


@pytest.mark.parametrize("real", [1.0, 1.5, 4.0, 10.0])
def test_it_finds_the_real_rate_and_wastes_little(real: float) -> None:
    """Documented is one a second; whatever AWS serves really, at most one call in fifty is refused on the way."""
    clock = Clock()
    limiter = Limiter(1.0, clock=clock, sleep=clock.sleep)
    refused, _ = run(limiter, clock, TokenBucket(real, max(1.0, real)), 400)
    assert refused <= 0.02 * (400 + refused)
    _, seconds = run(limiter, clock, TokenBucket(real, max(1.0, real)), 1000)
    assert seconds <= 1000 / real * 1.6


def test_a_hundred_calls_are_enough_to_find_a_faster_rate() -> None:
    """The first refusal follows a climb: what was served while it was slow must not count for what is served now."""
    clock = Clock()
    limiter = Limiter(1.0, clock=clock, sleep=clock.sleep)
    refused, seconds = run(limiter, clock, TokenBucket(4.0, 4.0), 100)
    assert refused <= 5
    assert seconds <= 100 / 4.0 * 1.5
    assert 2.5 <= limiter.rate <= 5.0


def test_a_pace_that_nobody_waits_for_does_not_grow() -> None:
    clock = Clock()
    limiter = Limiter(1.0, clock=clock, sleep=clock.sleep)
    for _ in range(100):
        limiter.acquire()
        limiter.served()
        clock.sleep(2.0)
    assert limiter.rate < 2.0
    refused, _ = run(limiter, clock, TokenBucket(1.0, 1.0), 20)
    assert refused <= 1


def test_refusals_from_before_the_last_slow_down_count_once() -> None:
    clock = Clock()
    limiter = Limiter(None, 10.0, clock=clock, sleep=clock.sleep)
    epochs = [limiter.acquire() for _ in range(5)]
    limiter.throttled(epochs[0])
    once = limiter.rate
    for epoch in epochs[1:]:
        limiter.throttled(epoch)
    assert limiter.rate == once


def test_a_short_rush_of_others_does_not_make_the_rest_crawl() -> None:
    """Ten refusals in the first twenty calls, none after: sixty calls at about one a second, and no less for long."""
    clock = Clock()
    limiter = Limiter(1.0, clock=clock, sleep=clock.sleep)
    for number in range(20):
        epoch = limiter.acquire()
        if number % 2:
            limiter.served()
        else:
            limiter.throttled(epoch)
    assert limiter.rate >= 0.2
    _, seconds = run(limiter, clock, TokenBucket(1000.0, 1000.0), 60)
    assert seconds < 60 / 0.9 + 30


@pytest.mark.parametrize("left", [0.7, 0.5, 0.25])
def test_what_others_leave_of_the_documented_rate_is_used_with_few_refusals(left: float) -> None:
    clock = Clock()
    limiter = Limiter(1.0, clock=clock, sleep=clock.sleep)
    refused, seconds = run(limiter, clock, TokenBucket(left, 1.0), 300)
    assert refused <= 0.1 * (300 + refused)
    assert seconds <= 300 / left * 1.4


def test_somebody_elses_calls_slow_it_down_but_never_to_a_halt() -> None:
    clock = Clock()
    limiter = Limiter(1.0, clock=clock, sleep=clock.sleep)
    for _ in range(100):
        limiter.throttled(limiter.acquire())
    assert 0 < limiter.rate < 0.5


@pytest.mark.parametrize(
    ("text", "rates"),
    [(None, {}), ("", {}), ("off", None), (" OFF ", None), ("ses=2,route53=10", {"ses": 2.0, "route53": 10.0})],
)
def test_rates_from_the_environment(text: str | None, rates: dict[str, float] | None) -> None:
    assert rates_from_environment(text) == rates


@pytest.mark.parametrize("text", ["ses", "ses=", "ses=0", "ses=-1", "=1", "ses=fast"])
def test_an_invalid_rate_is_refused(text: str) -> None:
    with pytest.raises(ReconError, match="RECON_RATES"):
        rates_from_environment(text)


def test_regions_and_accounts_have_limiters_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECON_RATES", "ses=3")
    limiters = Limiters()
    one = limiters.get("main", "ses", "us-east-1")
    assert one is not None
    assert one.rate < 3
    assert limiters.get("main", "ses", "us-east-1") is one
    assert limiters.get("main", "ses", "eu-west-1") is not one
    assert limiters.get("dns", "ses", "us-east-1") is not one
    monkeypatch.setenv("RECON_RATES", "off")
    assert Limiters().get("main", "ses", "us-east-1") is None
