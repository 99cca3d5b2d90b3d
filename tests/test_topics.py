"""SNS topics: named by those that publish there, with a policy that is shared with others."""

from __future__ import annotations

import json
from typing import Any

import pytest
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
    assert [(d.path, d.before, d.after) for d in change.diff] == [("publishers", [], ["events", "ses"])]
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
    ran = house.cli("import", "--stack", "acme", "--region", HOME, "--out", "live")
    assert ran.code == 0, ran
    text = "".join(file.read_text(encoding="utf-8") for file in sorted((house.home / "live").glob("*.yaml")))
    assert "sns_topics:" in text
    assert "display_name: Mail" in text
    assert "billing" not in text
    ran = house.cli("apply", "live", "--auto-approve", "--allow-adopt")
    assert ran.code == 0, ran
    assert sids() == ["theirs"], "the policy is left as it was"
