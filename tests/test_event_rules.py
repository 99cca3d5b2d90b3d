"""Event rules: what their presets match, where they are, and the targets that they share with others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import ACCOUNT, HOME, OTHER, House, client

from reconciler.resources.event_rule import MOST_CHARACTERS, PRESETS, preset_pattern, text_of

STATE = "state.yaml"
ADDRESS = f"event_rule/{HOME}/keys"
OPS = f"arn:aws:sns:{HOME}:{ACCOUNT}:ops"
THEIRS = f"arn:aws:lambda:{HOME}:{ACCOUNT}:function:theirs"


def users(*names: str) -> dict[str, Any]:
    return {
        name: {
            "credentials": {"secretsmanager": {"name": f"mail/{name}-${{region}}"}}, "from_addresses": ["*@acme.com"],
        }
        for name in names
    }  # fmt: skip


KEYS: dict[str, Any] = {
    "sns_topics": {"ops": {}}, "event_rules": {"keys": {"preset": "iam_access_keys", "targets": ["ops"]}},
}  # fmt: skip
OWN: dict[str, Any] = {"event_rules": {"keys": {"event_pattern": {"source": ["aws.ses"]}, "targets": [OPS]}}}


def trail(region: str = HOME, **options: Any) -> None:
    made = client("cloudtrail", region)
    made.create_trail(Name="main", S3BucketName="acme-trail", **options)
    made.start_logging(Name="main")


def targets(name: str = "keys") -> dict[str, dict[str, Any]]:
    return {one["Arn"]: one for one in client("events").list_targets_by_rule(Rule=name)["Targets"]}


def codes(plan: Any) -> set[str]:
    return {d.code for d in plan.diagnostics} | {note.rule for change in plan.changes for note in change.notes}


# --- presets --------------------------------------------------------------------------------------------------------


def event(source: str, name: str, **detail: Any) -> str:
    body = {"eventSource": f"{source}.amazonaws.com", "eventName": name, **detail}
    event = {
        "id": "1", "account": ACCOUNT, "time": "2026-11-22T00:00:00Z", "region": HOME, "resources": [],
        "source": f"aws.{source}", "detail-type": "AWS API Call via CloudTrail", "detail": body,
    }  # fmt: skip
    return json.dumps(event)


def key_of(user: str) -> dict[str, Any]:
    return {"requestParameters": {"userName": user}}


MATCHED = [
    ("iam_access_keys", "iam", "CreateAccessKey", key_of("news"), True),
    ("iam_access_keys", "iam", "UpdateAccessKey", key_of("news"), True),
    ("iam_access_keys", "iam", "DeleteAccessKey", key_of("news"), True),
    ("iam_access_keys", "iam", "DeleteAccessKey", key_of("clerk"), False),
    ("iam_access_keys", "iam", "CreateUser", key_of("news"), False),
    ("iam_access_keys", "iam", "CreateAccessKey", {**key_of("news"), "errorCode": "AccessDenied"}, False),
    ("ses_changes", "ses", "DeleteEmailIdentity", {}, True),
    ("ses_changes", "ses", "SetActiveReceiptRuleSet", {}, True),
    ("ses_changes", "ses", "SendEmail", {}, False),
    ("ses_changes", "ses", "DeleteEmailIdentity", {"errorCode": "NotFoundException"}, False),
    ("dns_changes", "route53", "ChangeResourceRecordSets", {}, True),
    ("dns_changes", "route53", "CreateHealthCheck", {}, False),
    ("dns_changes", "ses", "DeleteEmailIdentity", {}, False),
]


def test_what_the_presets_match(house: House) -> None:
    events = client("events")
    for preset, source, name, detail, matched in MATCHED:
        pattern = text_of(preset_pattern(preset, ["news", "shop"]))
        found = events.test_event_pattern(EventPattern=pattern, Event=event(source, name, **detail))["Result"]
        assert found is matched, (preset, name, detail)


def test_more_users_than_a_pattern_holds_are_all_users(house: House) -> None:
    many = [f"tenant-{number:02}-{'of-a-long-name' * 3}" for number in range(80)]
    assert len(text_of(preset_pattern("iam_access_keys", many[:60]))) <= MOST_CHARACTERS
    assert preset_pattern("iam_access_keys", many) == PRESETS["iam_access_keys"].pattern()
    plan = house.plan({**KEYS, "smtp_users": users(*many)})
    change = next(change for change in plan.changes if change.address == ADDRESS)
    assert change.after is not None
    assert "requestParameters" not in change.after["event_pattern"]["detail"]
    assert [n.message for n in change.notes if n.rule == "event-rule-all-users"] == [
        f"keys in {HOME} matches the access keys of every IAM user: 80 SMTP users do not fit into its pattern"
    ]


def test_a_preset_is_where_its_events_arrive(house: House) -> None:
    """In the region of IAM, whatever the regions of the stack are; the topic must be there, too."""
    far = {"stack": {"regions": [OTHER]}, "smtp_users": users("news")}
    rules = {"keys": KEYS["event_rules"]["keys"], "ses": {"preset": "ses_changes", "targets": ["ops"]}}
    house.write({**far, "sns_topics": {"ops": {}}, "event_rules": rules})
    ran = house.cli("validate", STATE)
    assert ran.code == 1
    assert f"no SNS topic ops is declared for {HOME}" in ran.err
    document = {**far, "sns_topics": {"ops": {"regions": [HOME, OTHER]}}, "event_rules": rules}
    plan = house.plan(document)
    created = {change.address: change for change in plan.changes if change.kind == "event_rule"}
    assert created.keys() == {ADDRESS, f"event_rule/{OTHER}/ses"}
    assert created[ADDRESS].depends_on == (f"sns_topic/{HOME}/ops",)
    house.apply()
    assert not house.plan().changes
    rule = client("events").describe_rule(Name="keys")
    assert json.loads(rule["EventPattern"])["detail"]["requestParameters"] == {"userName": ["news"]}
    message = targets()[OPS]["InputTransformer"]
    assert message["InputPathsMap"]["who"] == "$.detail.userIdentity.arn"
    assert "recon smtp lock <user>" in message["InputTemplate"]
    policy = json.loads(client("sns").get_topic_attributes(TopicArn=OPS)["Attributes"]["Policy"])
    assert "ReconAllowsEvents" in {statement["Sid"] for statement in policy["Statement"]}
    # Another user is another pattern.
    (change,) = [
        change for change in house.plan({**document, "smtp_users": users("news", "shop")}).changes
        if change.kind == "event_rule"
    ]  # fmt: skip
    assert [(d.path, d.after) for d in change.diff] == [
        ("event_pattern.detail.requestParameters.userName", ["news", "shop"])
    ]


def test_a_rule_of_ones_own_in_a_region_without_its_events(house: House) -> None:
    pattern = {"source": ["aws.iam"], "detail-type": ["AWS API Call via CloudTrail"]}
    plan = house.plan({"event_rules": {"own": {"event_pattern": pattern, "regions": [OTHER]}}})
    assert {"event-rule-other-region", "event-rule-no-target"} <= codes(plan)


def test_a_rule_without_a_trail_is_a_warning(house: House) -> None:
    document = {"event_rules": {"ses": {"preset": "ses_changes", "targets": [OPS]}}}
    assert "event-rule-no-trail" in codes(house.plan(document))
    trail(OTHER)
    assert "event-rule-no-trail" in codes(house.plan()), "one of another region"
    client("cloudtrail", OTHER).delete_trail(Name="main")
    trail(OTHER, IsMultiRegionTrail=True)
    assert "event-rule-no-trail" not in codes(house.plan())
    there = client("cloudtrail", OTHER)
    there.put_event_selectors(TrailName="main", EventSelectors=[{"ReadWriteType": "ReadOnly"}])
    assert "event-rule-no-trail" in codes(house.plan())
    fields = [{"Field": "eventCategory", "Equals": ["Management"]}, {"Field": "readOnly", "Equals": ["false"]}]
    there.put_event_selectors(TrailName="main", AdvancedEventSelectors=[{"FieldSelectors": fields}])
    assert "event-rule-no-trail" not in codes(house.plan())
    there.stop_logging(Name="main")
    assert "event-rule-no-trail" in codes(house.plan())
    house.sandbox.fault("denied", service="cloudtrail", count=None)
    assert "event-rule-no-trail" not in codes(house.plan()), "what is unknown is no finding"


def test_what_others_made_of_a_topic_is_a_warning(house: House) -> None:
    assert "event-rule-topic" in codes(house.plan(OWN)), "there is none"
    client("sns").create_topic(Name="ops")
    assert "event-rule-topic" in codes(house.plan()), "the default policy allows the account alone"
    statement = {"Sid": "a", "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"},
                 "Action": "sns:Publish", "Resource": OPS}  # fmt: skip
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    client("sns").set_topic_attributes(TopicArn=OPS, AttributeName="Policy", AttributeValue=text)
    assert "event-rule-topic" not in codes(house.plan())


# --- drift, targets of others ---------------------------------------------------------------------------------------


def test_a_rule_that_somebody_disabled_is_drift(house: House) -> None:
    house.apply({**KEYS, "smtp_users": users("news")})
    house.sandbox.advance(60)
    house.sandbox.principal("AKIAEVEEVEEVEEVEEVE1", arn=f"arn:aws:iam::{ACCOUNT}:user/eve")
    house.sandbox.client("events", HOME, access_key="AKIAEVEEVEEVEEVEEVE1").disable_rule(Name="keys")
    house.sandbox.advance(3600)
    ran = house.cli("drift", STATE)
    assert ran.code == 2, ran
    assert "eve" in ran.out[ran.out.index(ADDRESS) :][:600], ran.out
    # A change of something else enables it, and says so.
    document = {**KEYS, "smtp_users": users("news")}
    document["event_rules"] = {"keys": {**KEYS["event_rules"]["keys"], "description": "Who"}}
    (change,) = house.plan(document).changes
    assert {d.path for d in change.diff} == {"description", "state"}
    assert "rule-enabled" in {note.rule for note in change.notes}
    house.apply()
    assert client("events").describe_rule(Name="keys")["State"] == "ENABLED"
    document["event_rules"]["keys"]["state"] = "DISABLED"
    house.settle(document)
    assert client("events").describe_rule(Name="keys")["State"] == "DISABLED"


def test_others_targets_stay_and_their_members_are_kept(house: House) -> None:
    events = client("events")
    house.apply(OWN)
    own = targets()[OPS]
    queue = f"arn:aws:sqs:{HOME}:{ACCOUNT}:dead"
    mine = {**own, "RetryPolicy": {"MaximumRetryAttempts": 3}, "DeadLetterConfig": {"Arn": queue}}
    events.put_targets(Rule="keys", Targets=[mine, {"Id": "1", "Arn": THEIRS, "Input": '"x"'}])
    assert not house.plan().changes, "neither is declared"
    # The message of ours alone changes.
    message = {"input_template": '"somebody"'}
    document = {"event_rules": {"keys": {**OWN["event_rules"]["keys"], "input_transformer": message}}}
    house.settle(document)
    assert targets()[OPS] == {**mine, "InputTransformer": {"InputTemplate": '"somebody"'}}
    assert targets()[THEIRS] == {"Id": "1", "Arn": THEIRS, "Input": '"x"'}
    # What somebody took away comes back, and what is taken out goes.
    events.remove_targets(Rule="keys", Ids=[own["Id"]])
    house.settle()
    assert targets().keys() == {OPS, THEIRS}
    other = f"arn:aws:sns:{HOME}:{ACCOUNT}:other"
    house.settle({"event_rules": {"keys": {**OWN["event_rules"]["keys"], "targets": [other]}}})
    assert targets().keys() == {other, THEIRS}
    (change,) = house.plan({}).changes
    assert [n.message for n in change.notes if n.rule == "takes-along"] == [
        f"also deletes target {THEIRS}, which recon did not create"
    ]
    house.apply()
    assert not events.list_rules()["Rules"]


def test_more_targets_than_a_rule_takes_are_refused(house: House) -> None:
    house.apply(OWN)
    client("events").put_targets(Rule="keys", Targets=[{"Id": f"{n}", "Arn": f"{THEIRS}{n}"} for n in range(3)])
    listed = [f"arn:aws:sns:{HOME}:{ACCOUNT}:{name}" for name in ("a", "b", "c")]
    document = {"event_rules": {"keys": {**OWN["event_rules"]["keys"], "targets": listed}}}
    plan = house.plan(document)
    assert "too-many-targets" in codes(plan)
    # One takes the place of another where there is no room for both.
    document["event_rules"]["keys"]["targets"] = listed[:2]
    house.settle(document)
    assert len(targets()) == 5


def test_a_rule_that_aws_manages_is_refused(house: House) -> None:
    client("events").put_rule(Name="keys", EventPattern='{"source":["aws.ses"]}')
    for _, _, state in house.sandbox._server.gateway.world.each("events"):
        state.of("Rule")["keys"].body["ManagedBy"] = "ssm.amazonaws.com"
    plan = house.plan(OWN)
    assert plan.outcome == "refused"
    assert "managed-rule" in codes(plan)


@pytest.mark.parametrize("operation", ["PutTargets", "RemoveTargets"])
def test_a_failure_inside_an_answer_of_200_is_one(house: House, operation: str) -> None:
    gone = {"event_rules": {"keys": {**OWN["event_rules"]["keys"], "targets": []}}}
    house.apply(gone if operation == "PutTargets" else OWN)
    wanted = OWN if operation == "PutTargets" else gone
    house.sandbox.fault("partial", service="events", operation=operation, code="InternalException", message="oh")
    house.write(wanted)
    ran = house.cli("apply", STATE, "--auto-approve", "--format", "json")
    assert ran.code == 1, ran
    assert ran.json["outcome"] in {"partial", "error"}
    assert "InternalException" in ran.out
    assert "1 of the batch failed" in ran.out
    # Another change at the same moment is waited for.
    house.sandbox.fault("partial", service="events", operation=operation, code="ConcurrentModificationException")
    house.settle(wanted)
    assert bool(targets()) is (operation == "PutTargets")


def test_a_topic_goes_with_the_rule_and_not_before(house: House) -> None:
    house.apply({**KEYS, "smtp_users": users("news")})
    ran = house.cli("plan", STATE)
    rule = {"keys": {"preset": "iam_access_keys", "targets": [OPS]}}
    house.write({"event_rules": rule, "smtp_users": users("news")})
    ran = house.cli("plan", STATE, "--format", "json")
    assert ran.code == 3
    assert {(c["address"], c["refused"]["code"]) for c in ran.json["changes"]} == {(f"sns_topic/{HOME}/ops", "in-use")}
    # A rule that lets go of it does.
    house.settle({"event_rules": {"keys": {"preset": "iam_access_keys"}}, "smtp_users": users("news")})
    assert not client("sns").list_topics().get("Topics")
    assert not targets()


# --- import, and what it costs --------------------------------------------------------------------------------------


def test_an_import_brings_rules_about_mail(house: House) -> None:
    events = client("events")
    for name, pattern in (
        ("mail", {"source": ["aws.ses"], "detail-type": ["Sending Status Disabled"]}),
        ("zones", preset_pattern("dns_changes", ())), ("users", preset_pattern("iam_access_keys", ["news"])),
        ("machines", {"source": ["aws.ec2"]}),
    ):  # fmt: skip
        events.put_rule(Name=name, EventPattern=json.dumps(pattern, indent=1))
    message = PRESETS["dns_changes"].transformer()
    transformer = {"InputPathsMap": message["input_paths_map"], "InputTemplate": message["input_template"]}
    client("sns").create_topic(Name="ops")
    events.put_targets(Rule="zones", Targets=[{"Id": "a", "Arn": OPS, "InputTransformer": transformer}])
    ran = house.cli("import", "--stack", "acme", "--region", HOME, "--out", "live")
    assert ran.code == 0, ran
    text = (house.home / "live" / "watching.yaml").read_text(encoding="utf-8")
    assert "machines" not in text
    assert "preset: dns_changes" in text
    assert "Sending Status Disabled" in text
    assert "userName" in text
    assert "ops:" in (house.home / "live" / "topics.yaml").read_text(encoding="utf-8")
    ran = house.cli("apply", "live", "--auto-approve", "--allow-adopt")
    assert ran.code == 0, ran
    assert targets("zones")[OPS]["Id"] == "a"


def test_a_stack_without_rules_makes_no_call_for_them(house: House) -> None:
    house.settle({"configuration_sets": {"main": {}}})
    house.plan()
    calls = house.sandbox.calls()
    assert not [c for c in calls if c["service"] == "events" or c["operation"] == "DescribeTrails"]
    asked = [c["params"]["ResourceTypeFilters"] for c in calls if c["operation"] == "GetResources"]
    assert all("events:rule" in types or types == ["route53:hostedzone"] for types in asked)


def test_several_targets_of_one_arn_go_together(house: House) -> None:
    house.settle(OWN)
    client("events").put_targets(Rule="keys", Targets=[{"Id": "second", "Arn": OPS}])
    assert house.apply({}).outcome == "applied"
    assert not client("events").list_rules()["Rules"]
