"""Nothing lost: every write of every kind, struck by everything that can go wrong, and then applied again.

The fast slice strikes a few writes of each scenario, another few for each fault; ``make test-faults`` strikes all.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import pytest
import support
from faults import matrix
from faults.counting import INJECTED, SURVIVED
from faults.matrix import FAULTS, Fault, Stage, Write
from faults.scenarios import SCENARIOS, Scenario

EVERYWHERE = {"answer lost", "denied", "killed after"}
"""Faults that strike every single write; the others strike each operation of a scenario once."""
FEW = 4

Record = Callable[[str, object], None]


@pytest.fixture(autouse=True)
def empty(house: support.House, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("RECON_NOW", matrix.NOW)
    yield


def strike_all(stage: Stage, trials: list[tuple[Write, Fault]], record: Record, parallelism: int = 1) -> None:
    """Make every trial, also after one that failed; say all that was lost."""
    lost = []
    for write, fault in trials:
        try:
            stage.strike(write, fault, parallelism)
        except AssertionError as problem:
            lost.append(f"{stage.scenario.name}, {fault.name}, write {write.number} {write.call}: {problem}")
    record(INJECTED, len(trials))
    record(SURVIVED, len(trials) - len(lost))
    assert not lost, "\n\n".join([f"{len(lost)} of {len(trials)} trials lost something", *lost])


def chosen(stage: Stage) -> list[tuple[Write, Fault]]:
    """A few trials of a scenario, always the same: which operation meets which fault follows from their names."""

    def place(*words: object) -> int:
        return zlib.crc32(" ".join(map(str, words)).encode())

    writes = matrix.distinct(stage.writes)
    writes.sort(key=lambda w: place(stage.scenario.name, w.call))
    quick = [f for f in FAULTS if not f.timeout]
    return [(w, quick[place(w.call, stage.scenario.name) % len(quick)]) for w in writes[:FEW]]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_a_few_faults(scenario: Scenario, record_property: Record) -> None:
    stage = matrix.stage(scenario)
    strike_all(stage, chosen(stage), record_property)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_every_fault_at_every_write(scenario: Scenario, fault: Fault, record_property: Record) -> None:
    stage = matrix.stage(scenario)
    if fault.name == "killed before":
        writes = stage.writes[:1]  # Before a later write is after the one before it.
    else:
        writes = stage.writes if fault.name in EVERYWHERE else matrix.distinct(stage.writes)
    strike_all(stage, [(w, fault) for w in writes], record_property)


SIDE_BY_SIDE = ("killed after", "answer lost", "denied", "throttled", "down")


@pytest.mark.slow
@pytest.mark.threads
@pytest.mark.parametrize("name", SIDE_BY_SIDE)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_struck_among_calls_side_by_side(scenario: Scenario, name: str, record_property: Record) -> None:
    """With six calls under way the order is another each time, so the places where a fault hits are, too."""
    stage = matrix.stage(scenario)
    first = SIDE_BY_SIDE.index(name) % 3  # each fault has other writes
    strike_all(stage, [(w, matrix.BY_NAME[name]) for w in stage.writes[first::3]], record_property, parallelism=6)


def test_the_scenarios_reach_every_write_that_a_kind_declares() -> None:
    """A new kind, or a new write of an old one, is in the matrix as soon as it is declared, or this fails."""
    made = {w.call for scenario in SCENARIOS for w in matrix.stage(scenario).writes}
    declared = matrix.declared()
    unreached = {f"{call} ({', '.join(sorted(declared[call]))})" for call in declared if call not in made}
    assert not unreached, f"no scenario makes these declared writes: {', '.join(sorted(unreached))}"
    undeclared = made - set(declared)
    assert not undeclared, f"no kind declares these writes that were made: {', '.join(sorted(undeclared))}"
