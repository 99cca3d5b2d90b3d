"""The search of all regions for what is ours: all at once, and held up by none that does not answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from conftest import SWEPT
from support import ACCOUNT, HOME, OTHER, House, client

from reconciler import observing
from reconciler.aws import Aws
from reconciler.aws import client as aws_client

MAKE_CLIENT = Aws._client
FAR = "af-south-1"
NEAR: dict[str, Any] = {"configuration_sets": {"main": {}, "other": {"regions": [OTHER]}}}


def asked(house: House) -> list[str]:
    return [c["region"] for c in house.sandbox.calls(service="resourcegroupstaggingapi")]


@pytest.fixture
def at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """A house whose runs wait for nothing."""
    monkeypatch.setattr("reconciler.aws.client._backoff", lambda first, failures: 0.0)
    return house


def test_a_region_that_does_not_answer_is_named_and_holds_up_nothing(at_once: House) -> None:
    at_once.sandbox.fault("reset", service="resourcegroupstaggingapi", region=FAR, count=None)
    at_once.write(NEAR)
    ran = at_once.cli("plan", "state.yaml", "--format", "json")
    assert (ran.code, ran.json["unread"]) == (1, ["sweep"])
    said = next(d["message"] for d in ran.json["diagnostics"] if d["code"] == "unread")
    assert FAR in said and OTHER not in said
    assert [c["address"] for c in ran.json["changes"]] == [
        f"configuration_set/{OTHER}/other", f"configuration_set/{HOME}/main",
    ]  # fmt: skip
    (fault,) = at_once.sandbox._server.gateway.faults
    assert fault.seen == aws_client.BRIEF_ATTEMPTS


def test_a_region_in_which_something_is_declared_has_its_time(at_once: House) -> None:
    at_once.sandbox.fault("reset", service="resourcegroupstaggingapi", region=OTHER, count=5)
    assert at_once.plan(NEAR).unread == ()


def test_what_must_hold_up_nothing_waits_for_seconds(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Aws, "_client", MAKE_CLIENT)
    aws = house.make(NEAR).aws
    waits = {}
    for brief in (True, False):
        config = aws._client("resourcegroupstaggingapi", FAR, False, brief).meta.config
        waits[brief] = config.connect_timeout + config.read_timeout
    assert waits[True] * aws_client.BRIEF_ATTEMPTS < 15 < waits[False]


def test_the_regions_of_the_state_are_asked_first(house: House) -> None:
    house.plan(NEAR)
    found = asked(house)
    assert set(found[:2]) == {HOME, OTHER}
    assert sorted(found) == sorted([*SWEPT, HOME]), "each once, and once for the zones"


@pytest.mark.threads
def test_all_regions_are_asked_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(len(SWEPT))
    tagged = observing._tagged

    def waiting(aws: Aws, region: str, wanted: Mapping[str, Any], *types: str, **more: Any) -> Iterator[Any]:
        if not more.get("dns"):
            together.wait(timeout=30)
        yield from tagged(aws, region, wanted, *types, **more)

    monkeypatch.setattr(observing, "_tagged", waiting)
    assert house.plan(NEAR, parallelism=16).unread == ()


def test_what_is_found_where_nothing_is_declared_is_read_whole_and_deleted(house: House) -> None:
    """With what is inside it; and what others have there is left alone."""
    topic = f"arn:aws:sns:{FAR}:{ACCOUNT}:feedback"
    events = {"x": {"matching_event_types": ["BOUNCE"], "sns_destination": {"topic_arn": topic}}}
    house.settle({"configuration_sets": {"main": {}, "old": {"regions": [FAR], "event_destinations": events}}})
    client("sesv2", FAR).create_configuration_set(ConfigurationSetName="theirs")
    house.write({"configuration_sets": {"main": {}}})
    for refresh in ("full", "bulk"):
        plan = house.plan(refresh=refresh)
        assert sorted((c.action, c.address) for c in plan.changes) == [
            ("delete", f"configuration_set/{FAR}/old"), ("delete", f"event_destination/{FAR}/old/x"),
        ]  # fmt: skip


def test_exact_targets_need_no_search(house: House) -> None:
    house.plan(NEAR, targets=[f"configuration_set/{HOME}/main"])
    assert asked(house) == []
