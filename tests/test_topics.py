"""SNS topics: named by those that publish there, with a policy that is shared with others."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from support import ACCOUNT, HOME, OTHER, House, client
from support import merge as merge_two

STATE = "state.yaml"
ARN = f"arn:aws:sns:{HOME}:{ACCOUNT}:events"
ADDRESS = f"sns_topic/{HOME}/events"
BOTH = {"stack": {"regions": [HOME, OTHER]}}
TOPIC: dict[str, Any] = {"sns_topics": {"events": {}}}


def merge(*documents: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for document in documents:
        found = merge_two(found, document)
    return found


def publishing(topic: str = "events", **destination: Any) -> dict[str, Any]:
    body = {"matching_event_types": ["BOUNCE"], "sns_destination": {"topic_arn": topic}, **destination}
    return {"configuration_sets": {"main": {"event_destinations": {"feedback": body}}}}


def policy(region: str = HOME) -> dict[str, Any]:
    attributes = client("sns", region).get_topic_attributes(TopicArn=ARN.replace(HOME, region))["Attributes"]
    found: dict[str, Any] = json.loads(attributes["Policy"])
    return found


def sids(region: str = HOME) -> list[str]:
    return [statement["Sid"] for statement in policy(region)["Statement"]]


OWN = {"Sid": "theirs", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::999900001111:root"},
       "Action": "SNS:Publish", "Resource": ARN}  # fmt: skip


def put_policy(*statements: Any) -> None:
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    client("sns").set_topic_attributes(TopicArn=ARN, AttributeName="Policy", AttributeValue=json.dumps(document))


@pytest.mark.parametrize("named", ["events", ARN])
def test_a_topic_is_made_with_those_that_publish_there(house: House, named: str) -> None:
    """In one run: the topic, its policy, and then what SES refuses without both."""
    house.sandbox.settings(check_targets=True)
    document = merge(TOPIC, publishing(named))
    plan = house.plan(document)
    created = {change.address: change for change in plan.changes}
    destination = created[f"event_destination/{HOME}/main/feedback"]
    assert created[ADDRESS].after is not None
    assert created[ADDRESS].after["publishers"] == ["ses"]
    assert ADDRESS in destination.depends_on
    assert destination.after is not None
    assert destination.after["sns_destination"] == {"topic_arn": ARN}
    assert not {d.code for d in plan.diagnostics} & {"events-topic-missing", "events-topic-policy"}
    house.apply()
    assert not house.plan().changes
    assert sids() == ["__default_statement_ID", "ReconAllowsSes"]
    assert policy()["Statement"][1]["Condition"] == {"StringEquals": {"AWS:SourceAccount": ACCOUNT}}
    assert not house.plan(merge(TOPIC, publishing(ARN if named == "events" else "events"))).changes
    # The topic alone cannot go first, and goes last with what names it.
    ran = house.cli("plan", STATE)
    house.write(publishing(ARN))
    ran = house.cli("plan", STATE, "--format", "json")
    assert ran.code == 3
    assert {(c["address"], c["refused"]["code"]) for c in ran.json["changes"]} == {(ADDRESS, "in-use")}
    house.apply({})
    assert not client("sns").list_topics().get("Topics")


def test_the_name_of_a_topic_must_be_declared_for_the_region(house: House) -> None:
    for document, said in (
        (publishing("event"), "no SNS topic event is declared"),
        (merge(TOPIC, publishing("event")), "did you mean events"),
        (merge(BOTH, publishing(), {"sns_topics": {"events": {"regions": [HOME]}}}), f"declared for {OTHER}"),
    ):
        house.write(document)
        ran = house.cli("validate", STATE)
        assert ran.code == 1
        assert said in ran.err, ran
        assert "[undeclared-name]" in ran.err


def test_others_statements_stay_and_ours_are_healed(house: House) -> None:
    house.apply(merge(TOPIC, {"sns_topics": {"events": {"publishers": ["ses", "events"]}}}))
    mine = [one for one in policy()["Statement"] if one["Sid"].startswith("Recon")]
    assert [one.get("Condition") for one in mine if one["Sid"] == "ReconAllowsEvents"] == [None]
    put_policy(OWN, mine[0], {**mine[1], "Action": ["SNS:Publish"]})
    assert not house.plan().changes, "another spelling is no change"
    put_policy(OWN, {**mine[0], "Condition": {"StringEquals": {"AWS:SourceAccount": "999900001111"}}})
    (change,) = house.plan().changes
    assert [(d.path, d.before, d.after) for d in change.diff] == [("publishers", [], ["ses", "events"])]
    house.apply()
    assert sids() == ["theirs", "ReconAllowsEvents", "ReconAllowsSes"]
    house.apply({"sns_topics": {"events": {"publishers": None}}})
    assert sids() == ["theirs"]


def test_a_topic_of_the_same_name_is_adopted_with_its_policy(house: House) -> None:
    client("sns").create_topic(Name="events", Attributes={"DisplayName": "Theirs"})
    put_policy(OWN)
    document = merge(TOPIC, publishing(), {"sns_topics": {"events": {"display_name": "Mail"}}})
    plan = house.plan(document)
    change = next(change for change in plan.changes if change.address == ADDRESS)
    assert change.action == "adopt"
    assert {d.path for d in change.diff if not d.path.startswith("tags.")} == {"display_name", "publishers"}
    house.apply()
    assert not house.plan().changes
    assert sids() == ["theirs", "ReconAllowsSes"]


def test_publishers_left_alone_are_not_touched(house: House) -> None:
    house.apply(merge(TOPIC, publishing(), {"sns_topics": {"events": {"unmanaged": ["publishers"]}}}))
    assert sids() == ["__default_statement_ID"]
    assert not house.plan().changes


def test_a_topic_that_is_not_declared_costs_no_call(house: House) -> None:
    """The sweep asks for its type with the others; nothing else is read."""
    house.settle({"configuration_sets": {"main": {}}})
    house.plan()
    calls = house.sandbox.calls()
    assert not [call for call in calls if call["service"] == "sns"]
    asked = [call["params"]["ResourceTypeFilters"] for call in calls if call["operation"] == "GetResources"]
    assert all("sns" in types or types == ["route53:hostedzone"] for types in asked)


def test_an_import_brings_the_topics_that_destinations_name(house: House) -> None:
    sns = client("sns")
    sns.create_topic(Name="events", Attributes={"DisplayName": "Mail"})
    sns.create_topic(Name="billing")
    put_policy(OWN)
    house.apply(publishing(ARN))
    ses, arn = client("sesv2"), f"arn:aws:ses:{HOME}:{ACCOUNT}:configuration-set/main"
    tags = [tag["Key"] for tag in ses.list_tags_for_resource(ResourceArn=arn)["Tags"]]
    ses.untag_resource(ResourceArn=arn, TagKeys=tags)  # beside what a stack owns, what has no owner is left out
    ran = house.cli("import", "--stack", "acme", "--region", HOME, "--out", "live")
    assert ran.code == 0, ran
    text = "".join(file.read_text(encoding="utf-8") for file in sorted((house.home / "live").glob("*.yaml")))
    assert "sns_topics:" in text
    assert "display_name: Mail" in text
    assert "billing" not in text
    ran = house.cli("apply", "live", "--auto-approve", "--allow-adopt")
    assert ran.code == 0, ran
    assert sids() == ["theirs"], "the policy is left as it was"


# --- subscriptions --------------------------------------------------------------------------------------------------

MAIL = {"protocol": "email", "endpoint": "ops@acme.com"}
QUEUE = {"protocol": "sqs", "endpoint": f"arn:aws:sqs:{HOME}:{ACCOUNT}:events"}
WAITING = f"sns_subscription/{HOME}/events/email/ops@acme.com"


def subscribed(*items: Any) -> dict[str, Any]:
    return {"sns_topics": {"events": {"subscriptions": list(items)}}}


def listed() -> dict[str, str]:
    found = client("sns").list_subscriptions_by_topic(TopicArn=ARN)["Subscriptions"]
    return {one["Endpoint"]: one["SubscriptionArn"] for one in found}


def told(house: House, **options: Any) -> list[tuple[str, str]]:
    plan = house.plan(**options)
    assert not plan.changes
    return [(d.severity, d.message) for d in plan.diagnostics if d.code == "subscription-pending"]


def test_a_subscription_that_waits_is_a_status_with_an_age(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def at(time: str) -> None:
        monkeypatch.setenv("RECON_NOW", f"2026-11-{time}Z")

    at("22T08:00:00")
    plan = house.plan(subscribed(MAIL, QUEUE))
    assert "confirm" in {note.rule for c in plan.changes if c.address == WAITING for note in c.notes}
    house.apply()
    assert listed()["ops@acme.com"] == "PendingConfirmation"
    at("22T08:59:00")
    assert told(house) == []
    at("22T11:30:00")
    assert told(house) == [("note", f"{WAITING} waits for confirmation for 3 hours: it gets no messages")]
    at("24T09:00:00")
    assert told(house) == [("warning", f"{WAITING} waits for confirmation for 2 days: it gets no messages")]
    assert house.cli("drift", STATE).code == 0
    # Nobody confirmed: it is gone after three days, which a plan shows and apply makes good.
    house.sandbox.advance(3 * 86_400 + 60)
    assert {c.address: c.action for c in house.plan().changes} == {WAITING: "create"}
    house.apply()
    house.sandbox.seed(confirm=["ops@acme.com"])
    at("25T09:00:00")
    assert told(house) == []


def test_what_somebody_else_began_waits_since_an_unknown_time(house: House) -> None:
    house.apply(TOPIC)
    client("sns").subscribe(TopicArn=ARN, Protocol="email", Endpoint="ops@acme.com")
    house.apply(subscribed(MAIL))
    assert told(house) == [("note", f"{WAITING} waits for confirmation since an unknown time: it gets no messages")]


def test_drift_asks_cloudtrail_since_when_a_subscription_waits(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """CloudTrail hides the address, so that several requests of a kind say nothing of one."""
    began = datetime.fromtimestamp(house.sandbox._server.gateway.world.clock.now(), UTC)
    house.apply(TOPIC)
    sns, other = client("sns"), ARN.replace("events", "events2")
    sns.create_topic(Name="events2")
    sns.subscribe(TopicArn=ARN, Protocol="email", Endpoint="ops@acme.com")
    sns.subscribe(TopicArn=other, Protocol="email", Endpoint="ops@acme.com")
    house.apply(subscribed(MAIL))

    def said(hours: float) -> list[tuple[str, str]]:
        monkeypatch.setenv("RECON_NOW", (began + timedelta(hours=hours)).isoformat())
        found = house.cli("drift", STATE, "--format", "json").json
        return [(d["severity"], d["message"]) for d in found["diagnostics"] if d["code"] == "subscription-pending"]

    assert said(0.5) == []
    assert said(3.5) == [("note", f"{WAITING} waits for confirmation for 3 hours: it gets no messages")]
    assert said(49.5) == [("warning", f"{WAITING} waits for confirmation for 2 days: it gets no messages")]
    sns.subscribe(TopicArn=ARN, Protocol="email", Endpoint="more@acme.com")
    unknown = f"{WAITING} waits for confirmation since an unknown time: it gets no messages"
    assert said(3.5) == [("note", unknown)]


def test_a_lost_yaml_gets_its_subscriptions_back(house: House) -> None:
    """Also those of topics that nothing names, and of two regions; the plan of what is written is empty."""
    queue = {**QUEUE, "endpoint": "arn:aws:sqs:${region}:${account}:events", "raw_message_delivery": True,
             "filter_policy": {"eventType": ["Bounce", {"prefix": "${x"}]}, "filter_policy_scope": "MessageBody",
             "redrive_policy": {"deadLetterTargetArn": "arn:aws:sqs:${region}:${account}:dead"}}  # fmt: skip
    page = {"protocol": "https", "endpoint": "https://h.example/x?a=b"}
    house.apply(json.loads(json.dumps(merge(BOTH, subscribed(MAIL, queue, page))).replace("${x", "$${x")))
    house.sandbox.seed(confirm=[page["endpoint"]])
    ran = house.cli("import", "--stack", "acme", "--out", "live")
    assert ran.code == 0, ran
    planned = house.cli("plan", "live", "--format", "json")
    assert planned.json["changes"] == [], planned
    found = json_of(house, "live")["sns_topics"]["events"]["subscriptions"]
    assert [one["protocol"] for one in found] == ["email", "https", "sqs"]
    assert found[0] == MAIL
    assert found[2] == json.loads(json.dumps(queue).replace("${account}", ACCOUNT).replace("${x", "$${x"))
    ran = house.cli("import", "--stack", "acme", "--redact")
    assert ran.code == 0, ran
    assert "ops@acme.com" not in ran.out + ran.err


def test_what_cannot_be_said_of_a_subscription_leaves_the_others(house: House) -> None:
    house.apply(subscribed(QUEUE))
    sns = client("sns")
    sns.subscribe(TopicArn=ARN, Protocol="sqs", Endpoint=QUEUE["endpoint"] + "-long" * 500)
    sns.subscribe(TopicArn=ARN, Protocol="sqs", Endpoint=QUEUE["endpoint"] + "-theirs")
    ran = house.cli("import", "--stack", "acme", "--out", "live")
    assert ran.code == 0, ran
    assert len(json_of(house, "live")["sns_topics"]["events"]["subscriptions"]) == 2
    planned = house.cli("plan", "live", "--format", "json")
    (change,) = planned.json["changes"]
    assert (change["address"], change["action"], change["claims"]) == (ADDRESS, "adopt", True)
    assert [diff["path"] for diff in change["diff"]] == ["tags.recon:subscriptions"]
    assert not [d for d in planned.json["diagnostics"] if d["code"] == "unread"]


def json_of(house: House, place: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for file in sorted((house.home / place).glob("*.yaml")):
        found |= yaml.safe_load(file.read_text(encoding="utf-8"))
    return found


def test_taken_out_while_it_waits_it_is_left_and_dies(house: House) -> None:
    house.apply(subscribed(MAIL, QUEUE))
    plan = house.plan(subscribed(QUEUE))
    assert ("left", WAITING) in {(d.code, d.address) for d in plan.diagnostics}
    assert {c.address for c in plan.changes} == {ADDRESS}, "the topic forgets it"
    house.apply()
    assert not house.plan().changes
    house.sandbox.advance(3 * 86_400 + 60)
    assert set(listed()) == {QUEUE["endpoint"]}


def test_others_subscriptions_stay_and_end_with_the_topic_alone(house: House) -> None:
    sns = client("sns")
    house.apply(subscribed(QUEUE))
    theirs = QUEUE["endpoint"] + "-theirs"
    sns.subscribe(TopicArn=ARN, Protocol="sqs", Endpoint=theirs, Attributes={"RawMessageDelivery": "true"})
    sns.subscribe(TopicArn=ARN, Protocol="https", Endpoint="https://pager.example/integration/KEY")
    house.clear()
    plan = house.plan()
    assert not plan.changes
    (found,) = [d for d in plan.diagnostics if d.code == "topic-subscription-undeclared"]
    assert f"sqs {theirs}" in found.message
    assert "https pager.example," in found.message
    assert house.calls().count("sns:GetSubscriptionAttributes") == 1, "of others nothing more is read"
    house.sandbox.advance(3 * 86_400 + 60)
    house.apply(TOPIC)
    assert set(listed()) == {theirs}
    plan = house.plan({})
    (change,) = plan.changes
    assert ("subscriptions-lost", "1 subscription ends with it") in {(n.rule, n.message) for n in change.notes}


def test_a_filter_is_compared_as_json(house: House) -> None:
    policy = {"eventType": ["Bounce"], "mail": {"tags": {"team": ["a"]}}}
    house.apply(subscribed({**QUEUE, "filter_policy": policy, "filter_policy_scope": "MessageBody"}))
    text = json.dumps(policy, indent=2)
    own = listed()[QUEUE["endpoint"]]
    client("sns").set_subscription_attributes(SubscriptionArn=own, AttributeName="FilterPolicy", AttributeValue=text)
    assert not house.plan().changes
    changed = json.dumps({"eventType": ["Complaint"]})
    client("sns").set_subscription_attributes(SubscriptionArn=own, AttributeName="FilterPolicy", AttributeValue=changed)
    assert {d.path.partition(".")[0] for c in house.plan().changes for d in c.diff} == {"filter_policy"}
    house.apply()
    assert not house.plan().changes


def test_a_topic_that_was_never_subscribed_by_us_is_not_asked_for_subscriptions(house: House) -> None:
    house.apply(TOPIC)
    house.clear()
    house.plan()
    assert "sns:ListSubscriptionsByTopic" not in house.calls()


def test_drift_names_who_changed_a_topic(house: House) -> None:
    house.apply(merge(TOPIC, {"sns_topics": {"events": {"display_name": "Mail"}, "other": {"display_name": "Mail"}}}))
    house.sandbox.advance(60)
    arn = f"arn:aws:iam::{ACCOUNT}:user/eve"
    house.sandbox.principal("AKIAEVEEVEEVEEVEEVE1", arn=arn)
    house.sandbox.principal("AKIABOBBOBBOBBOBBOB1", arn=arn.replace("eve", "bob"))
    for key, name in (("AKIAEVEEVEEVEEVEEVE1", "events"), ("AKIABOBBOBBOBBOBBOB1", "other")):
        sns = house.sandbox.client("sns", HOME, access_key=key)
        topic = ARN.replace("events", name)
        sns.set_topic_attributes(TopicArn=topic, AttributeName="DisplayName", AttributeValue="Spam")
    house.sandbox.advance(3600)
    ran = house.cli("drift", STATE)
    assert ran.code == 2, ran
    here = ran.out.index(ADDRESS)
    assert "eve" in ran.out[here : here + 600], ran.out


def test_a_right_goes_with_the_last_target_that_is_taken_out(house: House) -> None:
    """In the same apply: the plan after it is empty."""
    rule = {"event_pattern": {"source": ["aws.ses"]}}
    topics: dict[str, Any] = {"sns_topics": {"ops": {}, "two": {}}}
    house.settle({**topics, "event_rules": {"ses": {**rule, "targets": ["ops", "two"]}}})
    house.settle({**topics, "event_rules": {"ses": {**rule, "targets": ["two"]}}})
