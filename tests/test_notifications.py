"""``notification_attributes`` of identities: topics, headers, and what they have to do with forwarding."""

from __future__ import annotations

from typing import Any

from support import ACCOUNT, HOME, OTHER, House, client, merge

READ = "ses:GetIdentityNotificationAttributes"
TOPICS: dict[str, Any] = {"sns_topics": {"events": {}, "more": {}}}
ADDRESS = f"email_identity/{HOME}/acme.com"


def domain(*, forward: bool | None = None, **block: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"dkim": {}, "zone": "manual", "notification_attributes": block}
    if forward is not None:
        entry["email_forwarding_enabled"] = forward
    return merge(TOPICS, {"domains": {"acme.com": entry}})


def topic(name: str = "events", region: str = HOME) -> str:
    return f"arn:aws:sns:{region}:{ACCOUNT}:{name}"


def live(region: str = HOME) -> dict[str, Any]:
    found = client("ses", region).get_identity_notification_attributes(Identities=["acme.com"])
    return dict(found["NotificationAttributes"]["acme.com"])


BOTH = {"bounce_topic": "events", "complaint_topic": "events"}


def test_topics_come_before_forwarding_ends_and_go_after_it_begins(house: House) -> None:
    """In one run each: SES refuses the other order."""
    house.sandbox.settings(doubt_feedback_needs_topics=True, check_targets=True)
    house.settle(domain(forward=False, **BOTH, headers_in_bounce_notifications_enabled=True))
    found = live()
    assert (found["BounceTopic"], found["ComplaintTopic"]) == (topic(), topic())
    assert (found["ForwardingEnabled"], found["HeadersInBounceNotificationsEnabled"]) == (False, True)
    none = dict.fromkeys((*BOTH, "headers_in_bounce_notifications_enabled"))
    house.settle(domain(forward=True, **none))
    assert "BounceTopic" not in live()
    assert live()["ForwardingEnabled"] is True


def test_feedback_that_nobody_would_get_is_refused(house: House) -> None:
    house.settle(domain(forward=False, **BOTH))
    plan = house.plan(domain(bounce_topic=None, complaint_topic="events"))
    assert {(d.code, d.address) for d in plan.diagnostics if d.severity == "error"} == {("feedback-lost", ADDRESS)}
    house.settle(domain(forward=False, bounce_topic="more", complaint_topic="events"))
    assert live()["BounceTopic"] == topic("more")


def test_a_topic_that_ses_took_off_is_told_as_that(house: House) -> None:
    document = domain(forward=False, **BOTH)
    house.settle(document)
    v1 = client("ses")
    v1.set_identity_feedback_forwarding_enabled(Identity="acme.com", ForwardingEnabled=True)
    v1.set_identity_notification_topic(Identity="acme.com", NotificationType="Bounce")
    (change,) = house.plan(document).changes
    assert {d.path for d in change.diff} == {"email_forwarding_enabled", "notification_attributes.bounce_topic"}
    assert "topic-taken-off" in {note.rule for note in change.notes}
    house.settle(document)


def test_taken_out_they_stay_and_the_topic_keeps_them(house: House) -> None:
    house.settle(domain(**BOTH))
    without = merge(TOPICS, {"domains": {"acme.com": {"dkim": {}, "zone": "manual"}}})
    house.settle(without)
    assert live()["BounceTopic"] == topic()
    policy = client("sns").get_topic_attributes(TopicArn=topic())["Attributes"]["Policy"]
    assert "ses.amazonaws.com" in policy
    plan = house.plan({"domains": without["domains"]})
    assert "in-use" in {d.code for d in plan.diagnostics if d.severity == "error"}


def test_they_are_read_where_they_are_declared_and_many_at_once(house: House) -> None:
    plain = {"domains": {"acme.com": {"dkim": {}, "zone": "manual"}}}
    house.settle(plain)
    house.clear()
    house.plan(plain)
    assert READ not in house.calls()
    names = [f"d{n}.example" for n in range(3)]
    entry = {"dkim": {}, "zone": "manual", "notification_attributes": BOTH}
    document = merge(TOPICS, {"domains": dict.fromkeys(names, entry)})
    house.settle(document)
    for refresh in ("full", "bulk"):
        house.clear()
        assert not house.plan(document, refresh=refresh).changes
        assert list(house.calls()).count(READ) == 1, refresh


def test_what_cannot_be_read_is_unknown(house: House) -> None:
    document = domain(**BOTH)
    house.settle(document)
    house.sandbox.fault("denied", service="ses", operation="GetIdentityNotificationAttributes", count=None)
    plan = house.plan(domain(bounce_topic="more", complaint_topic=None))
    assert ADDRESS not in {change.address for change in plan.changes}
    assert any(ADDRESS in part for part in plan.unread)


def test_a_saved_plan_sees_that_somebody_was_faster(house: House) -> None:
    house.settle(domain(**BOTH))
    house.write(domain(bounce_topic="more", complaint_topic="events"))
    assert house.cli("plan", "state.yaml", "--out", "plan.json").code == 0
    client("ses").set_identity_notification_topic(Identity="acme.com", NotificationType="Bounce", SnsTopic=topic("x"))
    ran = house.cli("apply", "plan.json", "--auto-approve")
    assert ran.code == 3, ran
    assert live()["BounceTopic"] == topic("x")


def test_each_region_has_its_own_topics(house: House) -> None:
    house.settle(merge(domain(**BOTH), {"stack": {"regions": [HOME, OTHER]}}))
    assert live(OTHER)["BounceTopic"] == topic(region=OTHER)


def test_an_import_brings_them_with_their_topics(house: House) -> None:
    client("sesv2").create_email_identity(EmailIdentity="acme.com")
    client("sns").create_topic(Name="events")
    v1 = client("ses")
    v1.set_identity_notification_topic(Identity="acme.com", NotificationType="Complaint", SnsTopic=topic())
    ran = house.cli("import", "--stack", "acme", "--region", HOME, "--out", "live")
    assert ran.code == 0, ran
    text = "".join(file.read_text(encoding="utf-8") for file in sorted((house.home / "live").glob("*.yaml")))
    assert "complaint_topic" in text
    assert "bounce_topic" not in text
    planned = house.cli("plan", "live", "--format", "json")
    found = {(c["address"], c["action"]) for c in planned.json["changes"]}
    assert {(ADDRESS, "adopt"), (f"sns_topic/{HOME}/events", "adopt")} <= found, planned
