"""A plan file that somebody has edited, with a digest that fits again: refused, or applied as an honest file is.

Every leaf of saved plans is changed, removed or given a neighbour. What apply then does is compared with what it does
of the honest file: either nothing at all, or every change that the file shows is one that the honest file shows, and
the same calls are made with the same parameters.
"""

from __future__ import annotations

import copy
import json
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import cases_support as cases
import pytest
import support
from faults import ledger

from reconciler.model import digest_of

DECIDES = (
    "address", "kind", "action", "region", "before", "after", "diff", "unknown", "depends_on", "moved_from", "counts",
    "observed_digest",
)  # fmt: skip
"""The members of a change that say what will be written; places and notes are only told."""

OTHER_ACCOUNT = "444455556666"
NOW = "2026-11-22T12:00:00Z"


class Forgery(NamedTuple):
    """One edit: where, and the document that it gives."""

    place: str
    document: dict[str, Any]


def sign(document: dict[str, Any]) -> dict[str, Any]:
    """``document`` with a digest that fits, as anybody can compute it."""
    document.pop("digest", None)
    document["digest"] = digest_of(document)
    return document


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every leaf and every empty collection, with its path."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = False
    for key, item in inner:
        found = True
        yield from leaves(item, (*path, key))
    if not found:
        yield path, value


def forged(document: Mapping[str, Any]) -> Iterator[Forgery]:
    """Every edit of every leaf: another value, none, and a neighbour."""
    for path, value in leaves({k: v for k, v in document.items() if k != "digest"}):
        for what, edit in (("changed", _change), ("removed", _remove), ("added", _add)):
            made = copy.deepcopy(dict(document))
            place: Any = made
            for key in path[:-1]:
                place = place[key]
            edit(place, path[-1], value)
            yield Forgery(f"{'.'.join(map(str, path))} {what}", sign(made))


def _change(place: Any, key: Any, value: Any) -> None:
    place[key] = _other(value)


def _remove(place: Any, key: Any, value: Any) -> None:
    del place[key]


def _add(place: Any, key: Any, value: Any) -> None:
    if isinstance(place, list):
        place.append(_other(value))
    else:
        place[f"{key}_"] = value


_OTHERS: dict[str, str] = {
    "create": "update", "update": "delete", "delete": "create", "adopt": "update", "replace": "delete",
    support.ACCOUNT: OTHER_ACCOUNT, support.HOME: "eu-west-1", "none": "reject", "quarantine": "reject",
    "REQUIRE": "OPTIONAL", "OPTIONAL": "REQUIRE", "BOUNCE": "COMPLAINT", "AWS_SES": "EXTERNAL",
}  # fmt: skip


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return _OTHERS.get(value, f"{value}x")
    return "x" if value is None else ["x"]


# --- plans ---------------------------------------------------------------------------------------------------------


class Honest(NamedTuple):
    """A saved plan, the world that it was made in, and what applying it does."""

    document: dict[str, Any]
    world: Any
    calls: Counter[str]
    end: Any


def writes(house: support.House) -> Counter[str]:
    """The writes since ``clear`` with their parameters."""
    return Counter(
        json.dumps(
            [
                c["service"],
                c["operation"],
                c["region"],
                c["account"],
                {k: v for k, v in c["params"].items() if k != "ClientRequestToken"},
            ],
            sort_keys=True,
            default=str,
        )
        for c in house.sandbox.calls()
        if not c["operation"].startswith(support.READS)
    )


def apply(house: support.House, *options: str) -> support.Ran:
    return house.cli(
        "apply", "plan.json", "--format", "json", "--parallelism", "1", "--resume-sending", "--verify-timeout", "1s",
        *options,
    )  # fmt: skip


def honest(house: support.House, document: Mapping[str, Any]) -> Honest:
    """Save the plan for ``document`` in the present world, and apply it."""
    house.write(document)
    ran = house.cli("plan", "state.yaml", "--out", "plan.json")
    assert ran.code == 0, ran
    plan = json.loads((house.home / "plan.json").read_text())
    world = ledger.take(house.sandbox)
    house.clear()
    ran = apply(house)
    assert ran.code == 0 or json.loads(ran.out)["outcome"] == "verify_timeout", (
        ran.code,
        ran.err,
        json.loads(ran.out)["outcome"],
        json.loads(ran.out)["applied"],
        json.loads(ran.out)["diagnostics"],
    )
    found = Honest(plan, world, writes(house), ledger.of(house.sandbox))
    ledger.restore(house.sandbox, world)
    return found


def shown(document: Mapping[str, Any]) -> Any:
    """What ``recon show`` says will be written."""
    changes = copy.deepcopy(document["changes"])
    for diff in (diff for change in changes for diff in change["diff"]):
        diff.pop("source", None)
    return [{key: change.get(key) for key in DECIDES} for change in changes]


def check(house: support.House, plan: Honest, forgery: Forgery) -> str:
    """Apply a forged file; the outcome, after nothing but what it shows was done."""
    (house.home / "plan.json").write_text(json.dumps(forgery.document))
    house.clear()
    ran = apply(house)
    made = writes(house)
    if not made:
        assert ran.code == 3, (forgery.place, ran)
        return str(json.loads(ran.out)["outcome"])
    try:
        assert shown(forgery.document) == shown(plan.document), forgery.place
        assert made == plan.calls, (forgery.place, made - plan.calls, plan.calls - made)
        assert ledger.of(house.sandbox) == plan.end, forgery.place
    finally:
        ledger.restore(house.sandbox, plan.world)
    return "applied"


def stories(case: cases.Case) -> Iterator[tuple[str, tuple[Mapping[str, Any], ...], Mapping[str, Any]]]:
    """What was applied before, and what the plan is for: a creation, a change, a deletion."""
    yield "create", (), case.whole("a")
    yield "change", (case.whole("a"),), case.whole("b")
    yield "delete", (case.whole("a"),), case.gone


CASES = [pytest.param(case, name, id=f"{case.id}-{name}") for case in cases.all_cases() for name, _, _ in stories(case)]


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECON_NOW", NOW)


def some(forgeries: Iterator[Forgery], share: int) -> Iterator[Forgery]:
    """One in ``share``, by a hash of its place."""
    return (one for one in forgeries if zlib.crc32(one.place.encode()) % share == 0)


@pytest.mark.parametrize(("case", "name"), CASES)
def test_try(house: support.House, case: cases.Case, name: str, steady: None) -> None:
    import time

    _, before, document = next(s for s in stories(case) if s[0] == name)
    cases.begin(house, case, *before)
    plan = honest(house, document)
    n = Counter()
    t = time.process_time()
    bad = []
    for one in (f for f in forged(plan.document) if f.place.startswith(("declared", "context"))):
        try:
            n[check(house, plan, one)] += 1
        except AssertionError as error:
            bad.append((one.place, str(error)[:600]))
    print(case.id, name, len(list(forged(plan.document))), n, time.process_time() - t)
    for b in bad:
        print("BAD", *b)


@pytest.mark.parametrize("after", [2, 4, 8, 16])
def test_credentials_that_change_the_account_write_nothing_there(
    house: support.House, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ``credential_process`` whose credentials expire at once, and are another account's after so many times."""
    house.seed_zone()
    house.write({"domains": {"acme.com": {"dmarc": {"p": "none"}}}, "configuration_sets": {"main": {}}})
    script = house.home / "credentials.py"
    script.write_text(
        "import datetime, json, pathlib\n"
        "count = pathlib.Path(__file__).with_suffix('.count')\n"
        "with count.open('a') as file: file.write('x')\n"
        f"key = 'AKIASANDBOXSANDBOX00' if count.stat().st_size <= {after} else '{OTHER_ACCOUNT}'\n"
        "at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': key, 'SecretAccessKey': 'x', 'Expiration': at.isoformat()}))\n"
    )
    (house.home / "config").write_text(
        f"[profile p]\nregion = us-east-1\ncredential_process = {sys.executable} {script}\n"
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_PROFILE", "p")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(house.home / "config"))
    house.fresh_clients()
    house.clear()
    ran = house.cli("apply", "state.yaml", "--auto-approve", "--parallelism", "2")
    house.fresh_clients()
    assert ran.code in {1, 3}, ran
    assert OTHER_ACCOUNT in ran.err
    assert {c["account"] for c in house.sandbox.calls() if c["operation"] != "GetCallerIdentity"} <= {support.ACCOUNT}
