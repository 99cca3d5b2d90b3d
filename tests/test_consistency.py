"""AWS that trails behind its own writes: waited out, within limits that are said, and no longer than it takes.

Time is the sandbox's: it stands still while recon works; where recon sleeps, the sandbox's clock is pushed forward by
as much, and the seconds are counted. What became visible after N seconds must not have cost recon much more than N.
"""

from __future__ import annotations

import math
import sys
import threading
import time
import types
from collections.abc import Iterator
from typing import Any

import pytest
from support import HOME, House, client, told, words

from reconciler import applier
from reconciler.applier import visibility
from reconciler.applier.zones import Zones
from reconciler.model import Result

USERS: dict[str, Any] = {
    "domains": {"acme.com": {"zone": "manual"}},
    "smtp_users": {
        "news": {"from_addresses": ["*@acme.com"], "credentials": {"secretsmanager": {"name": "recon/news"}},
                 "tags": {"owner": "a"}},
    },
}  # fmt: skip
MAIL: dict[str, Any] = {
    "domains": {
        "acme.com": {
            "dkim": {}, "dmarc": {"p": "none"}, "mail_from": {"mail_from_domain": "b.acme.com"},
            "configuration_set_name": "main", "email_forwarding_enabled": False,
        },
        "sub.acme.com": {"dkim": {}, "policies": {"partner": {
            "Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Principal": {"AWS": "222233334444"}, "Action": "ses:SendEmail",
                "Resource": "arn:aws:ses:us-east-1:111122223333:identity/sub.acme.com"}]}}},
    },
    "configuration_sets": {
        "main": {
            "tracking_options": {"custom_redirect_domain": "click.acme.com"},
            "event_destinations": {"out": {
                "matching_event_types": ["BOUNCE"],
                "event_bridge_destination": {"event_bus_arn": "arn:aws:events:${region}:${account}:event-bus/default"},
            }},
        }
    },
    "dedicated_ip_pools": {"tx": {"dedicated_ips": ["192.0.2.1"]}},
}  # fmt: skip
CHANGED: dict[str, Any] = {
    "domains": {
        "acme.com": {
            "dkim": {"signing_enabled": False}, "dmarc": {"p": "reject"},
            "mail_from": {"mail_from_domain": "c.acme.com"},
            "configuration_set_name": None, "email_forwarding_enabled": True, "tags": {"a": "b"},
        },
    },
    "configuration_sets": {"main": {"reputation_options": {"reputation_metrics_enabled": True}, "tags": {"a": "b"}}},
}  # fmt: skip


class SandboxTime(types.ModuleType):
    """``time`` for recon's modules: a sleep passes at once, in the sandbox too, and is counted."""

    def __init__(self, house: House) -> None:
        super().__init__("time")
        self.house = house
        self.begun = time.monotonic()
        self.slept = 0.0
        self._lock = threading.Lock()

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept += seconds
        self.house.sandbox.advance(seconds)

    def monotonic(self) -> float:
        return self.begun + self.slept

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class Stop(threading.Event):
    """The applier's stop, whose waits are sleeps."""

    def __init__(self, clock: SandboxTime) -> None:
        super().__init__()
        self.clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self.clock.sleep(timeout or 0.0)
        return self.is_set()


class Patient(House):
    """A house whose time is the sandbox's."""

    clock: SandboxTime
    said: list[str]

    def run(self, document: dict[str, Any] | None = None, **options: Any) -> Result:
        """Plan and apply, one call after the other."""
        planned = self.make(document, purpose="apply", parallelism=1)
        self.clock.slept = 0.0
        self.said = []
        return applier.apply_plan(
            planned.plan, planned.aws, zones=planned.snapshot.zones, verify_timeout=120.0, stop=Stop(self.clock),
            on_progress=lambda address, text: self.said.append(f"{address}: {text}"), **options,
        )  # fmt: skip

    def converges(self, document: dict[str, Any], *, within: float) -> Result:
        """Apply ends well, has slept at most ``within`` seconds, and the plan right after it is empty."""
        result = self.run(document)
        assert result.outcome == "applied", told(result)
        assert self.clock.slept <= within, f"slept {self.clock.slept:.1f}s: {self.said}"
        left = self.make(parallelism=1).plan
        assert not left.changes, [words(c) for c in left.changes]
        return result


@pytest.fixture
def late(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[Patient]:
    made = Patient(house.home)
    made.clock = SandboxTime(made)
    for name, module in list(sys.modules.items()):
        if name.startswith("reconciler.") and ".sandbox" not in name and getattr(module, "time", None) is time:
            monkeypatch.setattr(module, "time", made.clock)
    clock, begun = made.sandbox._server.gateway.world.clock, time.time()
    monkeypatch.setattr(clock, "now", lambda: begun + clock.offset)
    made.seed_zone()
    made.sandbox.seed(dedicated_ips=[{"ip": "192.0.2.1"}])
    return made


# --- IAM -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["PutUserPolicy", "TagUser", "CreateAccessKey"])
def test_a_user_that_appears_late(late: Patient, operation: str) -> None:
    late.sandbox.fault("error", service="iam", operation=operation, code="NoSuchEntity", status=404, count=4)
    late.converges(USERS, within=10.0)
    assert len(client("iam").list_access_keys(UserName="news")["AccessKeyMetadata"]) == 1


@pytest.mark.parametrize("seconds", [4.0, 12.0])
def test_users_and_keys_that_are_listed_late(late: Patient, seconds: float) -> None:
    late.write(USERS)
    late.sandbox.consistency(iam={"seconds": seconds})
    late.converges(USERS, within=2.5 * seconds)
    late.sandbox.consistency(iam=None)
    assert len(client("iam").list_access_keys(UserName="news")["AccessKeyMetadata"]) == 1
    late.quiet()


def test_a_new_key_that_works_late(late: Patient) -> None:
    late.settle(USERS)
    late.sandbox.settings(key_delay=6.0)
    late.run(USERS)
    late.quiet()


def test_a_user_that_never_appears_is_said_with_the_limit(late: Patient) -> None:
    late.sandbox.fault("error", service="iam", operation="PutUserPolicy", code="NoSuchEntity", status=404, count=None)
    result = late.run(USERS)
    assert result.outcome == "partial" or result.outcome == "error"
    assert 20 <= late.clock.slept <= 60


# --- SES -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lag", [{"seconds": 3.0}, {"seconds": 8.0}, {"reads": 1}])
def test_ses_reads_that_trail(late: Patient, lag: dict[str, float]) -> None:
    late.sandbox.consistency(ses=lag)
    late.converges(MAIL, within=40.0)
    late.converges({**MAIL, **CHANGED}, within=40.0)
    late.sandbox.consistency(ses=None)
    late.quiet()
    late.check_foreign()


def test_waiting_for_an_identity_that_reads_do_not_show_yet(late: Patient) -> None:
    """Nobody publishes its records, so SES never verifies it: that it cannot be seen yet is not that it is verified."""
    by_hand = {"domains": {"acme.com": {"zone": "manual"}}}
    late.write(by_hand)
    late.sandbox.consistency(ses={"seconds": 20.0})
    result = late.run(by_hand, wait_for_ses=True)
    assert result.outcome == "verify_timeout", told(result)


def test_waiting_for_an_identity_that_never_shows_is_no_success(late: Patient) -> None:
    by_hand = {"domains": {"acme.com": {"zone": "manual"}}}
    late.sandbox.fault(
        "error", service="sesv2", operation="GetEmailIdentity", code="NotFoundException", status=404, count=None
    )
    result = late.run(by_hand, wait_for_ses=True)
    assert result.outcome == "verify_timeout", told(result)
    assert "SES does not show acme.com in us-east-1" in told(result)


@pytest.mark.parametrize(
    "operation",
    [
        "PutEmailIdentityMailFromAttributes",
        "PutEmailIdentityFeedbackAttributes",
        "CreateConfigurationSetEventDestination",
        "PutDedicatedIpInPool",
    ],
)
def test_ses_does_not_see_yet_what_was_just_made(late: Patient, operation: str) -> None:
    late.sandbox.fault("error", service="sesv2", operation=operation, code="NotFoundException", status=404, count=3)
    late.converges(MAIL, within=12.0)


def test_what_ses_never_sees_is_said_with_the_limit(late: Patient) -> None:
    late.sandbox.fault(
        "error", service="sesv2", operation="PutEmailIdentityMailFromAttributes", code="NotFoundException", status=404,
        count=None,
    )  # fmt: skip
    result = late.run(MAIL)
    assert result.outcome == "partial"
    failed = next(a for a in result.applied if a.status == "failed")
    assert f"{applier.VISIBLE_SECONDS:.0f} seconds" in failed.message + failed.hint
    assert late.clock.slept <= applier.VISIBLE_SECONDS * 1.6


def test_what_was_not_made_by_this_run_is_not_waited_for(late: Patient) -> None:
    """An identity that somebody else deleted is gone, not late."""
    late.settle(MAIL)
    planned = late.make({**MAIL, **CHANGED}, purpose="apply", parallelism=1)
    client("sesv2").delete_email_identity(EmailIdentity="acme.com")
    late.clock.slept = 0.0
    result = applier.apply_plan(planned.plan, planned.aws, zones=planned.snapshot.zones, stop=Stop(late.clock))
    assert result.outcome == "partial"
    assert late.clock.slept <= 2.0


# --- tagging -------------------------------------------------------------------------------------------------------


def test_tags_that_are_found_late(late: Patient) -> None:
    """What is no longer declared is found as soon as tagging shows it; meanwhile nothing is made twice or lost, and no
    run says that it has seen everything: what it reads with our tag, the search for tags leaves out."""
    late.sandbox.consistency(resourcegroupstaggingapi={"seconds": 600.0})
    late.converges(MAIL, within=5.0)
    result = late.run({**MAIL, "configuration_sets": {"main": {}, "second": {}}})
    assert (result.outcome, {a.status for a in result.applied}) == ("partial", {"done"}), told(result)
    assert [d.address for d in result.plan.diagnostics if d.code == "unread"] == ["sweep"]
    plan = late.make().plan
    assert (plan.changes, plan.unread) == ((), ("sweep",))
    late.sandbox.advance(601)
    late.settle({"domains": MAIL["domains"], "configuration_sets": {"main": {}}})
    assert client("sesv2").list_configuration_sets()["ConfigurationSets"] == ["main"]
    late.check_foreign()


def test_destroy_does_not_wait_for_tags(late: Patient) -> None:
    """It deletes what the state names, and does not say that this was all."""
    late.sandbox.consistency(resourcegroupstaggingapi={"seconds": 600.0})
    late.converges(MAIL, within=5.0)
    late.destroy(expect="partial")
    assert client("sesv2").list_email_identities()["EmailIdentities"] == []
    late.check_foreign(alone=True)
    late.destroy(expect="no_changes")


# --- Route 53 ------------------------------------------------------------------------------------------------------


def test_dns_that_is_pending(late: Patient) -> None:
    late.sandbox.settings(insync_delay=40.0)
    late.converges({"domains": {"acme.com": {"dkim": {}}}}, within=40.0 + 2.5)
    assert late.clock.slept >= 35.0
    assert any("in sync" in text for text in late.said)


def test_waiting_for_ses_costs_little_more_than_what_is_waited_for(late: Patient) -> None:
    """Route 53 takes 30 seconds, SES verifies 50 after it sees the records: recon adds less than a poll each."""
    late.sandbox.settings(insync_delay=30.0, verification_delay=50.0)
    result = late.run(
        {"domains": {"acme.com": {"dkim": {}, "mail_from": {"mail_from_domain": "b.acme.com"}}}}, wait_for_ses=True
    )
    assert result.outcome == "applied", told(result)
    assert 50.0 <= late.clock.slept <= 30.0 + 50.0 + 6.0


@pytest.mark.threads
def test_ses_is_looked_at_while_route53_publishes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither waits for the other; and the time for SES begins when the records are published."""
    seen = threading.Event()
    wait_insync, wait_for_ses = Zones.wait_insync, visibility.wait_for_ses

    def insync(zones: Zones, *already: Any) -> Any:
        assert zones.run.deadline == math.inf or already
        assert seen.wait(30)
        return wait_insync(zones, *already)

    def ses(run: Any, *rest: Any) -> Any:
        seen.set()
        return wait_for_ses(run, *rest)

    monkeypatch.setattr(Zones, "wait_insync", insync)
    monkeypatch.setattr(visibility, "wait_for_ses", ses)
    house.seed_zone()
    house.apply({"domains": {"acme.com": {"dkim": {}}}}, wait_for_ses=True, verify_timeout=60.0)


def test_dns_that_stays_pending_is_said_with_the_limit(late: Patient) -> None:
    late.sandbox.settings(insync_delay=4000.0)
    result = late.run({"domains": {"acme.com": {"dkim": {}}}})
    assert result.outcome == "applied"
    assert any(d.code == "insync-late" and "3 minutes" in d.message for d in result.diagnostics)
    assert late.clock.slept <= 200.0


def test_a_zone_that_still_works_on_another_change(late: Patient) -> None:
    """PriorRequestNotComplete: somebody's change to the zone is not through yet."""
    late.sandbox.settings(insync_delay=30.0, prior_request_conflicts=True)
    late.write({"domains": {"acme.com": {"dkim": {}, "dmarc": {"p": "none"}}}})
    late.change("theirs.acme.com", "A", "192.0.2.9")
    result = late.run()
    assert result.outcome == "applied", told(result)
    assert late.clock.slept <= 30.0 + 30.0 + 15.0  # theirs, then ours to be in sync
    assert any("PriorRequestNotComplete" in text and "120 seconds" in text for text in late.said), late.said


def test_a_zone_that_never_comes_free_is_said_with_the_limit(late: Patient) -> None:
    late.sandbox.fault(
        "error", service="route53", operation="ChangeResourceRecordSets", code="PriorRequestNotComplete", count=None
    )
    result = late.run({"domains": {"acme.com": {"dkim": {}}}, "configuration_sets": {"main": {}}})
    assert result.outcome == "partial"
    assert any("120 seconds" in d.message + d.hint for d in result.diagnostics), result.diagnostics
    assert 100 <= late.clock.slept <= 260
    assert {a.address: a.status for a in result.applied}[f"configuration_set/{HOME}/main"] == "done"


# --- busy ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "operation", "code", "status"),
    [
        ("iam", "PutUserPolicy", "ConcurrentModification", 409),
        ("iam", "TagUser", "EntityTemporarilyUnmodifiable", 409),
        ("sesv2", "PutEmailIdentityMailFromAttributes", "ConcurrentModificationException", 500),
        ("sesv2", "CreateConfigurationSetEventDestination", "ConcurrentModificationException", 500),
        ("route53", "ChangeTagsForResource", "PriorRequestNotComplete", 400),
    ],
)
def test_a_resource_that_somebody_is_changing(
    late: Patient, service: str, operation: str, code: str, status: int
) -> None:
    late.sandbox.fault("error", service=service, operation=operation, code=code, status=status, count=7)
    late.converges({**MAIL, "smtp_users": USERS["smtp_users"]}, within=60.0)
