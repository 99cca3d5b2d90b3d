"""At AWS's documented rates: nothing fails, hardly a call is wasted, and each service and region finds its own pace.

The sandbox refuses what comes too fast, by a clock that leaps where recon sleeps: hours pass in seconds, and the
figures are those of the rates. A slow test does the same in real time made ten times faster, sixteen calls at once.
"""

from __future__ import annotations

import sys
import threading
import time
import types
from collections import Counter
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

import pytest
from support import HOME, OTHER, House, told

from reconciler import applier, observing
from reconciler.aws import limiter
from reconciler.model import Result
from reconciler.safeguards import check_safeguards
from reconciler.sandbox import gateway

pytestmark = pytest.mark.threads

THROTTLES = {"TooManyRequestsException", "Throttling", "ThrottlingException", "ThrottledException"}
WASTE = 0.05
LATENCY = 0.03
"""Seconds from a call's start to its arrival, as over a real network."""
PER_ZONE = 10


class Leaping(types.ModuleType):
    """``time`` for recon and for the sandbox's rates: a sleep leaps to its end, and a call takes its latency."""

    def __init__(self) -> None:
        super().__init__("time")
        self.now = 1000.0
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        with self._lock:
            self.now = max(self.now, until)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class Faster(types.ModuleType):
    """``time`` for recon, so many times faster than real time."""

    def __init__(self, factor: float) -> None:
        super().__init__("time")
        self.factor = factor

    def monotonic(self) -> float:
        return time.monotonic() * self.factor

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / self.factor)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class Stop(threading.Event):
    """The applier's stop, whose waits are sleeps of the clock."""

    def __init__(self, clock: Any) -> None:
        super().__init__()
        self.clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self.clock.sleep(timeout or 0.0)
        return self.is_set()


class InTurn(Executor):
    """Threads that run one after the other: whose call arrives first, and what it finds left, is then no chance."""

    def __init__(self, max_workers: int) -> None:
        self.max_workers = max_workers

    def submit(self, work: Any, /, *arguments: Any, **more: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*arguments, **more))
        return done


def use(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give recon ``clock`` for its time, its limiters included."""
    for name, module in list(sys.modules.items()):
        if name.startswith("reconciler.") and ".sandbox" not in name and getattr(module, "time", None) is time:
            monkeypatch.setattr(module, "time", clock)
    defaults = limiter.Limiter.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "clock", clock.monotonic)
    monkeypatch.setitem(defaults, "sleep", clock.sleep)
    monkeypatch.delenv("RECON_RATES", raising=False)


@dataclass
class Spent:
    """What a run cost: calls and refused calls by (service, region), and seconds of its clock."""

    calls: Counter[tuple[str, str]]
    refused: Counter[tuple[str, str]]
    seconds: float

    @property
    def waste(self) -> float:
        return sum(self.refused.values()) / sum(self.calls.values())


def spent(house: House, seconds: float) -> Spent:
    calls: Counter[tuple[str, str]] = Counter()
    refused: Counter[tuple[str, str]] = Counter()
    for call in house.sandbox.calls():
        service = "ses" if call["service"] == "sesv2" else call["service"]
        calls[service, call["region"]] += 1
        refused[service, call["region"]] += call["error"] in THROTTLES
    return Spent(calls, +refused, seconds)


def tenants(count: int, regions: list[str]) -> dict[str, Any]:
    """A vendor's state: many alike domains, ten to a zone."""
    return {
        "stack": {"regions": regions},
        "defaults": {
            "domain": {
                "dkim": {}, "mail_from": {"mail_from_domain": "bounce-${region}.${domain}"},
                "configuration_set_name": "tenants", "dmarc": {"p": "reject"},
            }
        },
        "configuration_sets": {"tenants": {}},
        "domains": {f"t{n}.zone-{n // PER_ZONE}.example": {} for n in range(count)},
    }  # fmt: skip


def run(house: House, document: dict[str, Any], clock: Any, parallelism: int) -> tuple[Result, Spent]:
    """A first apply: plan and all."""
    house.write({k: v for k, v in document.items() if k != "stack"}, stack=document["stack"])
    house.clear()
    begun = clock.monotonic()
    planned = house.make(purpose="apply", parallelism=parallelism)
    check_safeguards(planned.plan)
    result = applier.apply_plan(planned.plan, planned.aws, zones=planned.snapshot.zones, stop=Stop(clock))
    assert result.outcome == "applied", told(result)[:3000]
    return result, spent(house, clock.monotonic() - begun)


def plan(house: House, clock: Any, parallelism: int) -> Spent:
    """The plan afterwards, which is empty."""
    house.clear()
    begun = clock.monotonic()
    left = house.make(parallelism=parallelism).plan
    assert not left.changes
    assert not [d for d in left.diagnostics if d.severity == "error"]
    return spent(house, clock.monotonic() - begun)


@pytest.fixture
def leaping(house: House, monkeypatch: pytest.MonkeyPatch) -> Leaping:
    clock = Leaping()
    use(clock, monkeypatch)
    monkeypatch.setattr(gateway, "time", clock)
    monkeypatch.setattr(observing, "ThreadPoolExecutor", InTurn)
    allows = house.sandbox._server.gateway.rates.allows

    def later(*arguments: Any) -> bool:
        clock.sleep(LATENCY)
        return allows(*arguments[:-1], clock.monotonic())

    monkeypatch.setattr(house.sandbox._server.gateway.rates, "allows", later)
    return clock


def seed(house: House, count: int) -> None:
    house.sandbox.seed(zones=[{"name": f"zone-{n}.example"} for n in range((count + PER_ZONE - 1) // PER_ZONE)])


def first_apply_and_plan(house: House, clock: Leaping, count: int) -> tuple[Spent, Spent]:
    seed(house, count)
    house.sandbox.rates("aws")
    _, made = run(house, tenants(count, [HOME]), clock, parallelism=1)
    return made, plan(house, clock, parallelism=1)


def test_a_first_apply_at_the_documented_rates(house: House, leaping: Leaping) -> None:
    count = 25
    made, read = first_apply_and_plan(house, leaping, count)
    assert made.waste <= WASTE, made
    assert sum(read.refused.values()) <= 4, read  # what finding the pace costs, however short the run
    least = made.calls["ses", HOME] - made.refused["ses", HOME]
    assert made.seconds <= least * 1.3 + 60, "slower than one SES call a second allows"


@pytest.mark.slow
def test_five_hundred_domains_at_the_documented_rates(house: House, leaping: Leaping) -> None:
    made, read = first_apply_and_plan(house, leaping, 500)
    print(f"apply: {sum(made.calls.values())} calls, {made.waste:.2%} throttled, {made.seconds:.0f} s")
    print(f"plan:  {sum(read.calls.values())} calls, {read.waste:.2%} throttled, {read.seconds:.0f} s")
    assert made.waste <= WASTE, made
    assert read.waste <= WASTE, read
    assert made.seconds <= (made.calls["ses", HOME]) * 1.15 + 60


def test_each_region_finds_its_own_pace(house: House, leaping: Leaping) -> None:
    """One region serves four times the documented rate, the other what is documented: neither holds up the other."""
    count = 30
    seed(house, count)
    document = tenants(count, [HOME, OTHER])
    for domain in list(document["domains"])[8:]:
        # One call at a time, so a call to the one region waits for the other's: the fast one has to go on alone.
        document["domains"][domain] = {"regions": [OTHER]}
    house.write(document, stack={"regions": [HOME, OTHER]})
    paces: dict[str, float] = {}
    planned = house.make(purpose="apply", parallelism=1)
    services = {limit for _, limit, _ in planned.aws._limiters._limiters}
    # What the plan's reads have learnt of the pace does not count.
    planned.aws._limiters = limiter.Limiters()
    house.sandbox.rates({"ses": 1.0, f"ses/{OTHER}": {"rate": 4.0, "burst": 4}, "route53": 5.0})
    applier.apply_plan(planned.plan, planned.aws, zones=planned.snapshot.zones, stop=Stop(leaping))
    for (_, limit, region), made in planned.aws._limiters._limiters.items():
        if limit == "ses" and region in (HOME, OTHER):
            paces[region] = made.rate
    assert 0.5 <= paces[HOME] <= 1.2, paces
    assert paces[OTHER] >= 2.5 * paces[HOME], paces
    assert paces[OTHER] <= 6.0, paces
    assert {"ses", "route53", "tagging"} <= services


@pytest.mark.slow
def test_sixteen_calls_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in time ten times as fast, with every thread that a run has by default."""
    factor = 10.0
    clock = Faster(factor)
    use(clock, monkeypatch)
    seed(house, 100)
    house.sandbox.rates("aws", time_scale=factor)
    _, made = run(house, tenants(100, [HOME]), clock, parallelism=16)
    print(f"{sum(made.calls.values())} calls, {made.waste:.2%} throttled, {made.seconds:.0f} s")
    assert made.waste <= WASTE, made


def test_regions_are_worked_on_at_the_same_time(house: House) -> None:
    """Each region has a limit of its own: reading and writing one after the other would take twice as long. A single
    worker goes round; how several are shared is in test_fair_queue.py."""
    count = 16
    seed(house, count)
    house.write(
        {k: v for k, v in tenants(count, [HOME, OTHER]).items() if k != "stack"}, stack={"regions": [HOME, OTHER]}
    )
    house.clear()
    planned = house.make(purpose="apply", parallelism=1)
    applier.apply_plan(planned.plan, planned.aws, zones=planned.snapshot.zones)
    house.make(parallelism=1)
    for operation in ("CreateEmailIdentity", "GetEmailIdentity"):
        regions = [call["region"] for call in house.sandbox.calls() if call["operation"] == operation][-2 * count :]
        assert Counter(regions) == {HOME: count, OTHER: count}
        assert abs(Counter(regions[:count])[HOME] - count // 2) <= 2, f"{operation}: {regions}"
