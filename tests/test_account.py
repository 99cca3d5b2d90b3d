"""What AWS says of the account, and what a read that failed must not be taken for."""

from __future__ import annotations

from typing import Any

import pytest
from support import ACCOUNT, HOME, OTHER, House, client, merge

from reconciler.rules import RULES

STATE = "state.yaml"
DOMAIN: dict[str, Any] = {"domains": {"acme.com": {"dkim": {}}}}
NOTHING: dict[str, Any] = {}
TWO = {"regions": [HOME, OTHER]}


def account(house: House, region: str = HOME, **status: Any) -> None:
    house.sandbox.seed(accounts=[{"region": region, **status}])


def found(house: House, *options: str) -> tuple[int, set[tuple[str, str]]]:
    """The exit code of drift, and the codes and addresses of what it says about the account."""
    ran = house.cli("drift", STATE, "--format", "json", *options)
    about = {(d["code"], d["address"]) for d in ran.json["diagnostics"] if (d["address"] or "").startswith("account/")}
    return ran.code, {one for one in about if one[0] in {"account-paused", "region-paused", "account-unread"}}


# --- probation, shutdown, a pause of our own -----------------------------------------------------------------------

PAUSED = ("account-paused", f"account/{HOME}")
OWN = ("region-paused", f"account/{HOME}")
WAIVED = {"address": f"account/{HOME}", "reason": "the case is open", "until": "2099-01-01"}


@pytest.mark.parametrize("document", [DOMAIN, NOTHING], ids=["domains", "no-domains"])
@pytest.mark.parametrize(
    ("status", "settings", "code", "said"),
    [
        ({}, {}, 0, set()),
        ({"enforcement": "PROBATION"}, {}, 2, {PAUSED}),
        ({"enforcement": "SHUTDOWN"}, {}, 2, {PAUSED}),
        ({"enforcement": "SHUTDOWN", "sending_enabled": False}, {}, 2, {PAUSED}),
        ({"enforcement": "PROBATION"}, {"rules": {"account-paused": "off"}}, 0, set()),
        ({"enforcement": "PROBATION"}, {"rules": {"region-probation": "off"}}, 0, set()),
        ({"enforcement": "PROBATION"}, {"rules": {"region-paused": "off"}}, 2, {PAUSED}),
        ({"enforcement": "PROBATION"}, {"waivers": [{"rule": "account-paused", **WAIVED}]}, 0, set()),
        ({"enforcement": "PROBATION"}, {"waivers": [{"rule": "region-probation", **WAIVED}]}, 0, set()),
        ({"enforcement": "SHUTDOWN"}, {"rules": {"account-paused": "off", "region-paused": "off"}}, 2, {PAUSED}),
        ({"enforcement": "SHUTDOWN"}, {"waivers": [{"rule": "account-paused", **WAIVED}]}, 2, {PAUSED}),
        ({"enforcement": "SHUTDOWN"}, {"waivers": [{"rule": "region-paused", **WAIVED}]}, 2, {PAUSED}),
    ],
)
def test_an_account_that_aws_has_paused(
    house: House, document: dict[str, Any], status: dict[str, Any], settings: dict[str, Any], code: int, said: Any
) -> None:
    house.seed_zone()
    house.settle(document)
    account(house, **status)
    house.write(merge(document, settings))
    assert found(house) == (code, said)
    heartbeat = '"code": "heartbeat"' in house.cli("drift", STATE, "--format", "json").out
    assert heartbeat is (code == 0)


def test_a_pause_of_our_own_is_a_warning(house: House) -> None:
    house.seed_zone()
    house.settle(DOMAIN)
    account(house, sending_enabled=False)
    assert found(house) == (0, {OWN})


def test_every_region_of_the_stack_counts(house: House) -> None:
    house.write(NOTHING, stack=TWO)
    account(house, OTHER, enforcement="SHUTDOWN")
    assert found(house) == (2, {("account-paused", f"account/{OTHER}")})
    assert house.cli("plan", STATE, "--detailed-exitcode").code == 0
    assert house.cli("apply", STATE, "--auto-approve").code == 0


def test_reports_and_metrics_know_it(house: House) -> None:
    house.write(NOTHING)
    options = ("drift", STATE, "--since-last", "last.json", "--out", "last.json", "--metrics", "drift.prom")
    assert house.cli(*options).code == 0
    account(house, enforcement="PROBATION")
    new = house.cli(*options)
    assert new.code == 2
    assert "on probation" in new.out
    assert 'recon_drift_findings{stack="acme"} 1' in (house.home / "drift.prom").read_text(encoding="utf-8")
    same = house.cli(*options)
    assert same.code == 2
    assert "nothing new" in same.out
    assert "on probation" in same.out
    account(house, enforcement="SHUTDOWN")
    assert "has shut down" in house.cli(*options).out
    account(house, enforcement="HEALTHY")
    assert "nothing new" not in house.cli(*options).out
    assert house.cli(*options).code == 0


def test_an_account_that_could_not_be_read_is_not_healthy(house: House) -> None:
    house.write(NOTHING)
    house.sandbox.fault("denied", operation="GetAccount", count=None)
    code, said = found(house)
    assert (code, said) == (1, {("account-unread", f"account/{HOME}")})
    assert "heartbeat" not in house.cli("drift", STATE).out
    assert house.cli("plan", STATE).code == 0


# --- topics of identities ------------------------------------------------------------------------------------------

QUIET: dict[str, Any] = {"domains": {"acme.com": {"dkim": {}, "email_forwarding_enabled": False}}}
TOPICS = "GetIdentityNotificationAttributes"


def topics(*kinds: str, name: str = "acme.com") -> None:
    for kind in kinds:
        arn = f"arn:aws:sns:{HOME}:{ACCOUNT}:feedback"
        client("ses").set_identity_notification_topic(Identity=name, NotificationType=kind, SnsTopic=arn)


def reported(house: House) -> set[str]:
    plan = house.plan()
    said = {one.address for one in plan.diagnostics if one.code == "events-feedback-off"}
    return said | {c.address for c in plan.changes if "events-feedback-off" in {note.rule for note in c.notes}}


@pytest.mark.parametrize(
    ("kinds", "speaks"),
    [((), True), (("Bounce",), True), (("Delivery",), True), (("Bounce", "Complaint"), False)],
)
def test_topics_of_the_identity_take_its_feedback(house: House, kinds: tuple[str, ...], speaks: bool) -> None:
    house.seed_zone()
    client("sns").create_topic(Name="feedback")
    house.settle(QUIET)
    topics(*kinds)
    house.clear()
    assert reported(house) == ({f"email_identity/{HOME}/acme.com"} if speaks else set())
    assert house.calls().count(f"ses:{TOPICS}") == 1


@pytest.mark.parametrize(
    "document",
    [DOMAIN, merge(QUIET, {"rules": {"events-feedback-off": "off"}})],
    ids=["forwarding", "rule-off"],
)
def test_topics_are_read_only_where_the_rule_would_speak(house: House, document: dict[str, Any]) -> None:
    house.seed_zone()
    house.settle(document)
    house.clear()
    house.plan()
    assert f"ses:{TOPICS}" not in house.calls()


def test_topics_are_read_a_hundred_at_a_time(house: House) -> None:
    house.seed_zone()
    names = [f"d{number}.acme.com" for number in range(101)]
    house.write({"domains": {name: {"dkim": {}, "email_forwarding_enabled": False} for name in names}})
    house.clear()
    assert len(reported(house)) == 101
    assert house.calls().count(f"ses:{TOPICS}") == 2


def test_topics_that_could_not_be_read_are_not_missing(house: House) -> None:
    house.seed_zone()
    house.settle(QUIET)
    house.sandbox.fault("denied", operation=TOPICS, count=None)
    assert not reported(house)
    assert "notifications-unread" in {one.code for one in house.plan().diagnostics}


# --- reads that fail -----------------------------------------------------------------------------------------------

EVERYTHING: dict[str, Any] = {
    "domains": {
        "acme.com": {
            "dkim": {}, "mail_from": {"mail_from_domain": "bounce.acme.com"}, "configuration_set_name": "main",
            "email_forwarding_enabled": False, "dmarc": {"p": "reject", "rua": ["mailto:d@acme.com"]},
            "spf": {"include": ["_spf.crm.example"]},
        }
    },
    "email_addresses": {"ceo@other.example": {"configuration_set_name": "main", "email_forwarding_enabled": False}},
    "configuration_sets": {
        "main": {
            "delivery_options": {"sending_pool_name": "tx"},
            "tracking_options": {"custom_redirect_domain": "click.acme.com"},
            "event_destinations": {
                "feedback": {
                    "enabled": True, "matching_event_types": ["BOUNCE", "COMPLAINT"],
                    "sns_destination": {"topic_arn": f"arn:aws:sns:{HOME}:{ACCOUNT}:feedback"},
                }
            },
        }
    },
    "dedicated_ip_pools": {"tx": {"scaling_mode": "STANDARD"}},
    "contact_lists": {"news": {}},
    "email_templates": {"letter": {"subject": "Hello", "text": "Hello"}},
    "smtp_users": {
        "news": {
            "from_addresses": ["*@acme.com"], "source_ips": ["203.0.113.0/24"], "identities": ["acme.com"],
            "access_key": {"max_age_days": 90}, "credentials": {"secretsmanager": {"name": "recon/news"}},
        }
    },
}  # fmt: skip


def findings(house: House, **options: Any) -> set[tuple[str, str]]:
    plan = house.plan(**options)
    said = {(one.code, one.address) for one in plan.diagnostics if one.code in RULES}
    return said | {(note.rule, c.address) for c in plan.changes for note in c.notes if note.rule in RULES}


@pytest.mark.parametrize("refresh", ["full", "bulk"])
def test_no_rule_takes_a_read_that_failed_for_none(house: House, refresh: str) -> None:
    house.seed_zone()
    client("sns").create_topic(Name="feedback")
    house.settle(EVERYTHING)
    house.clear()
    known = findings(house, refresh=refresh)
    reads = {*house.calls()} - {"sts:GetCallerIdentity"}
    assert len(reads) > 10
    for call in sorted(reads):
        service, _, operation = call.partition(":")
        house.sandbox.clear_faults()
        house.sandbox.fault("denied", service=service, operation=operation, count=None)
        more = findings(house, refresh=refresh) - known
        assert not more, f"{call} is denied, and rules report {more}"


# --- rules about what an account has -------------------------------------------------------------------------------


def test_where_mail_may_leave_is_a_note_until_the_yaml_says_it(house: House) -> None:
    house.seed_zone()
    for mode, noted in ((None, True), ("GLOBAL", False), ("REGIONAL", False)):
        declared = {"account": {"delivery_attributes": {"shared_pool_delivery_mode": mode}}} if mode else {}
        plan = house.plan(merge(DOMAIN, {"stack": {"regions": [OTHER]}, **declared}))
        said = {d.code for d in plan.diagnostics} | {note.rule for c in plan.changes for note in c.notes}
        assert ("region-delivery-global" in said) is noted


def test_what_the_manager_alone_can_do_is_refused_while_it_is_off(house: House) -> None:
    wanted = {"vdm_attributes": {"guardian_attributes": {"optimized_shared_delivery": "ENABLED"}}}
    plan = house.plan({"account": wanted})
    assert [(c.address, c.refused and c.refused.code) for c in plan.changes] == [(f"account/{HOME}", "vdm-off")]
    house.apply({"account": merge(wanted, {"vdm_attributes": {"vdm_enabled": "ENABLED"}})})
    assert not house.plan().changes


def test_a_put_for_validation_keeps_the_reasons(house: House) -> None:
    """SES replaces both members: without reasons nothing would be suppressed any more."""
    house.sandbox.clear_calls()
    check = {"condition_threshold": {"condition_threshold_enabled": "ENABLED"}}
    plan = house.plan({"account": {"suppression_attributes": {"validation_attributes": check}}})
    assert "costs" in {note.rule for note in plan.changes[0].notes}
    house.apply()
    assert client("sesv2").get_account()["SuppressionAttributes"]["SuppressedReasons"] == ["BOUNCE", "COMPLAINT"]


# --- production access ----------------------------------------------------------------------------------------------

REQUEST = ("account", "request-production", "--region", HOME)
FLAGS = ("--mail-type", "TRANSACTIONAL", "--website-url", "https://acme.com")
DETAILS: dict[str, Any] = {"account": {"details": {"mail_type": "MARKETING", "website_url": "https://acme.com"}}}


def asked(house: House) -> int:
    return sum(1 for call in house.sandbox.calls() if call["operation"] == "PutAccountDetails")


@pytest.mark.parametrize(
    ("document", "options", "code", "said"),
    [
        (NOTHING, ("--auto-approve",), 1, "mail_type is missing"),
        (NOTHING, (*FLAGS[:2], "--auto-approve"), 1, "website_url is missing"),
        (NOTHING, (*FLAGS, "--website-url", "acme.com", "--auto-approve"), 1, "is not the URL"),
        (NOTHING, (*FLAGS, "--mail-type", "NEWS", "--auto-approve"), 1, "no mail type NEWS"),
        (NOTHING, FLAGS, 1, "no terminal"),
        (NOTHING, (*FLAGS, "--auto-approve"), 0, "is requested as case 1"),
        (DETAILS, ("--auto-approve",), 0, "is requested as case 1"),
    ],
)
def test_production_access_is_requested(
    house: House, document: dict[str, Any], options: tuple[str, ...], code: int, said: str
) -> None:
    house.write(document)
    account(house, production_access=False)
    ran = house.cli(*REQUEST, *options, STATE)
    assert ran.code == code, ran
    assert said in ran.out + ran.err
    assert asked(house) == (0 if code else 1)
    if code == 0:
        assert "WebsiteURL: https://acme.com" in ran.err
        again = house.cli(*REQUEST, *FLAGS, "--auto-approve", STATE)
        assert again.code == 3
        assert "still reviewing" in again.err
        assert asked(house) == 1


def test_what_is_granted_or_denied_is_not_requested(house: House) -> None:
    house.write(DETAILS)
    account(house, production_access=True)
    ran = house.cli(*REQUEST, "--format", "json", "--auto-approve", STATE)
    assert (ran.code, ran.json["outcome"], asked(house)) == (0, "no_changes", 0)
    account(house, production_access=False, details={"ReviewDetails": {"Status": "DENIED", "CaseId": "7"}})
    ran = house.cli(*REQUEST, "--auto-approve", STATE)
    assert (ran.code, asked(house)) == (3, 0)
    assert "case 7" in ran.err


def test_a_request_whose_answer_is_lost_is_made_once(house: House) -> None:
    house.write(DETAILS)
    account(house, production_access=False)
    house.sandbox.fault("lost", operation="PutAccountDetails")
    ran = house.cli(*REQUEST, "--auto-approve", STATE)
    assert ran.code == 0, ran
    assert "is requested as case 1" in ran.out


def test_the_one_entry_of_a_section_is_named_by_it(house: House) -> None:
    """Files, environments, layers and saved plans know a section that is no map of names."""
    house.write({"account": {"suppression_attributes": {"suppressed_reasons": ["OPEN"]}}})
    ran = house.cli("validate", STATE)
    assert "account.suppression_attributes.suppressed_reasons" in ran.err, ran
    document = {
        "stack": {"regions": [HOME, OTHER]},
        "account": {"by_region": {OTHER: {"delivery_attributes": {"shared_pool_delivery_mode": "REGIONAL"}}}},
        "defaults": {"account": {"dedicated_ip_auto_warmup_enabled": False}},
        "environments": {"a": {"account": {"regions": [OTHER]}}, "b": {"exclude": ["account"]}},
    }
    house.write(document)
    ran = house.cli("plan", STATE, "--env", "a", "--out", "plan.json", "--format", "json")
    assert [change["address"] for change in ran.json["changes"]] == [f"account/{OTHER}"]
    assert house.cli("plan", STATE, "--env", "b", "--detailed-exitcode").code == 0
    ran = house.cli("apply", "plan.json", "--auto-approve")
    assert ran.code == 0, ran
    assert house.cli("plan", STATE, "--env", "a", "--detailed-exitcode").code == 0
    assert client("sesv2", OTHER).get_account()["DeliveryAttributes"]["SharedPoolDeliveryMode"] == "REGIONAL"
