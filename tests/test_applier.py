"""One apply from inside: looks at identities that several wait for, and what an apply keeps of what has ended."""

from __future__ import annotations

import gc
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from support import ACCOUNT, HOME, OTHER, House, told

from reconciler import applier
from reconciler.applier import visibility
from reconciler.applier.run import ApplyRun
from reconciler.applier.zones import Zones
from reconciler.aws import Aws
from reconciler.errors import AwsError
from reconciler.kinds.kind import Step
from reconciler.model import Change, Plan, Stack, address_parts

VERIFIED: dict[str, Any] = {
    "VerificationStatus": "SUCCESS", "DkimAttributes": {"Status": "SUCCESS"},
    "MailFromAttributes": {"MailFromDomain": "bounce.acme.com", "MailFromDomainStatus": "SUCCESS"},
}  # fmt: skip
PENDING: dict[str, Any] = {
    **VERIFIED, "MailFromAttributes": {"MailFromDomain": "bounce.acme.com", "MailFromDomainStatus": "PENDING"},
}  # fmt: skip


class Looks:
    """An AWS that answers looks at identities, and remembers them."""

    def __init__(self) -> None:
        self.stack = Stack("acme", None, ACCOUNT, (HOME, OTHER))
        self.on_wait: Callable[[str], None] = lambda message: None
        self.asked: list[tuple[str, str]] = []
        self.answer: dict[str, Any] | AwsError | None = VERIFIED
        self.seconds = 0.0
        """How long an answer takes."""

    def call_if_there(self, service: str, operation: str, region: str, *, EmailIdentity: str) -> dict[str, Any] | None:
        assert (service, operation) == ("sesv2", "GetEmailIdentity")
        self.asked.append((region, EmailIdentity))
        time.sleep(self.seconds)
        if isinstance(self.answer, AwsError):
            raise self.answer
        return self.answer

    def parallel(self, work: Callable[[Any], Any], items: Any, limit_of: Any = None) -> list[Any]:
        return [work(item) for item in items]


def plan_of(*changes: Change) -> Plan:
    return Plan("acme", None, ACCOUNT, "changes", "2026-01-01T00:00:00+00:00", "", changes)


def run_of(aws: Looks, plan: Plan | None = None) -> ApplyRun:
    return ApplyRun(plan or plan_of(), cast(Aws, aws), {}, 60.0, lambda address, message: None, threading.Event())


def refusal() -> AwsError:
    return AwsError(
        "SES is busy", service="sesv2", operation="GetEmailIdentity", region=HOME, aws_code="InternalFailure"
    )


def at_once(count: int, work: Callable[[], Any]) -> list[Any]:
    """What ``work`` returns in so many threads that begin at the same time."""
    start = threading.Barrier(count)

    def one(number: int) -> Any:
        start.wait(30)
        return work()

    with ThreadPoolExecutor(max_workers=count) as pool:
        return list(pool.map(one, range(count)))


# --- looks ---------------------------------------------------------------------------------------------------------


def test_several_that_wait_for_one_identity_share_a_look() -> None:
    aws = Looks()
    aws.seconds = 0.1
    run = run_of(aws)
    assert at_once(4, lambda: run.look(HOME, "acme.com", age=30.0)) == [VERIFIED] * 4
    assert aws.asked == [(HOME, "acme.com")]


def test_each_identity_and_region_has_looks_of_its_own() -> None:
    aws = Looks()
    run = run_of(aws)
    places = [(HOME, "acme.com"), (HOME, "acme.net"), (OTHER, "acme.com")]
    for region, name in (*places, *places):
        run.look(region, name, age=30.0)
    assert aws.asked == places


def test_changes_that_wait_until_one_identity_is_verified_ask_once() -> None:
    aws = Looks()
    aws.seconds = 0.1
    run = run_of(aws)
    at_once(4, lambda: run.wait_verified(HOME, "acme.com"))
    assert aws.asked == [(HOME, "acme.com")]


def test_a_look_serves_those_alone_who_take_one_of_its_age() -> None:
    aws = Looks()
    run = run_of(aws)
    run.look(HOME, "acme.com", age=30.0)
    aws.answer = PENDING
    assert run.look(HOME, "acme.com", age=30.0) == VERIFIED
    assert run.look(HOME, "acme.com", age=0.0) == PENDING
    assert run.look(HOME, "acme.com", age=30.0) == PENDING


def test_an_identity_that_is_not_there_is_an_answer_that_is_shared() -> None:
    aws = Looks()
    aws.answer = None
    run = run_of(aws)
    assert [run.look(HOME, "acme.com", age=30.0) for _ in range(2)] == [None, None]
    assert len(aws.asked) == 1


def test_a_look_that_failed_is_an_answer_for_nobody() -> None:
    """Not even "there is none": that would end a wait. The next one looks again."""
    aws = Looks()
    aws.answer = refusal()
    run = run_of(aws)
    for _ in range(2):
        with pytest.raises(AwsError, match="SES is busy"):
            run.look(HOME, "acme.com", age=30.0)
    aws.answer = VERIFIED
    assert run.look(HOME, "acme.com", age=30.0) == VERIFIED
    assert len(aws.asked) == 3


def test_waiting_begins_with_a_look_of_its_own() -> None:
    """A step of the run has looked at the identity just before another one has written it."""
    identity = Change(f"email_identity/{HOME}/acme.com", "email_identity", "update", {}, {}, region=HOME)
    plan, aws = plan_of(identity), Looks()
    run = run_of(aws, plan)
    assert run.look(HOME, "acme.com", age=30.0) == VERIFIED
    aws.answer = PENDING
    run.deadline = -math.inf
    unverified, verified = visibility.wait_for_ses(run, plan, {identity.address})
    assert "MAIL FROM PENDING" in str(unverified[identity.address]) and not verified


def test_a_failed_look_is_why_an_identity_is_not_verified() -> None:
    identity = Change(f"email_identity/{HOME}/acme.com", "email_identity", "update", {}, {}, region=HOME)
    plan, aws = plan_of(identity), Looks()
    aws.answer = refusal()
    unverified, verified = visibility.wait_for_ses(run_of(aws, plan), plan, {identity.address})
    assert unverified == {identity.address: aws.answer} and not verified


# --- what has ended ------------------------------------------------------------------------------------------------

MANY = {
    "domains": {
        f"t{number}.acme.com": {"dmarc": {"p": "none"}, "mail_from": {"mail_from_domain": f"b.t{number}.acme.com"}}
        for number in range(12)
    }
}


def test_steps_are_not_kept_when_they_have_ended(house: House) -> None:
    house.seed_zone()
    planned = house.make(MANY, purpose="apply")
    wanted = {change.address for change in planned.plan.changes}
    kept: list[int] = []

    def on_step(step: str, outcome: str, code: str) -> None:
        assert outcome == "done", (step, code)
        kept.append(sum(type(one) is Step and one.address in wanted for one in gc.get_objects()))

    result = applier.apply_plan(planned.plan, planned.aws, zones=planned.snapshot.zones, on_step=on_step)
    assert result.outcome == "applied", told(result)
    assert len(kept) > 5 * len(MANY["domains"])
    assert kept[0] > len(kept) / 2, "the steps are counted"
    assert kept[-1] < len(kept) / 4, f"{kept[-1]} of {len(kept)} steps are there when the last one ends"


def test_the_records_of_a_zone_go_with_its_last_step(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before: what is written there later is composed from what is known of it. The records of another MAIL FROM
    are written before SES is told, those of the old one deleted after it."""
    house.seed_zone()
    house.seed_zone("other.org")
    house.apply({"domains": {"acme.com": {"mail_from": {"mail_from_domain": "old.acme.com"}}}})
    document = {"acme.com": {"mail_from": {"mail_from_domain": "new.acme.com"}}, "other.org": {"dmarc": {"p": "none"}}}
    planned = house.make({"domains": document}, purpose="apply")
    zones = planned.snapshot.zones
    left = {change.address for change in planned.plan.changes if change.kind == "dns_record"}
    edit, batches = Zones.edit, list[str]()

    def edited(self: Zones, steps: Any) -> Any:
        batches.append(self.run.zones[steps[0].zone].name)
        assert self.run.zones[steps[0].zone].loaded
        return edit(self, steps)

    def on_step(step: str, outcome: str, code: str) -> None:
        left.discard(step.partition("#")[0])
        names = {address_parts(address).place for address in left}
        assert all(zone.loaded for zone in zones.values() if zone.name in names)

    monkeypatch.setattr(Zones, "edit", edited)
    result = applier.apply_plan(planned.plan, planned.aws, zones=zones, on_step=on_step)
    assert result.outcome == "applied", told(result)
    assert not left and sorted(batches) == ["acme.com", "acme.com", "other.org"]
    assert [(zone.loaded, zone.records, zone.by_name) for zone in zones.values()] == [(False, {}, {})] * 2
    house.quiet()
