"""CloudWatch alarms: presets, the quota, what a put must not lose, and who may publish their messages."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from support import ACCOUNT, HOME, OTHER, House, client, merge

TOPICS: dict[str, Any] = {"sns_topics": {"ops": {}}}
BOUNCES = f"cloudwatch_alarm/{HOME}/bounces"


def alarms(**entries: Any) -> dict[str, Any]:
    return {"cloudwatch_alarms": entries}


def live(name: str, region: str = HOME) -> dict[str, Any]:
    (found,) = client("cloudwatch", region).describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return dict(found)


def topic(name: str = "ops", region: str = HOME) -> str:
    return f"arn:aws:sns:{region}:{ACCOUNT}:{name}"


def quota(house: House, most: float) -> None:
    house.sandbox.seed(accounts=[{"quota": {"Max24HourSend": most}}])


@pytest.mark.parametrize(
    ("preset", "more", "metric", "threshold", "missing"),
    [
        ("bounce_rate", {}, "Reputation.BounceRate", 0.05, "ignore"),
        ("complaint_rate", {"threshold": 0.0005}, "Reputation.ComplaintRate", 0.0005, "ignore"),
        ("quota", {}, "Send", 40_000.0, "notBreaching"),
        ("quota", {"threshold": 0.5, "treat_missing_data": "breaching"}, "Send", 25_000.0, "breaching"),
    ],
)
def test_a_preset_is_an_alarm(
    house: House, preset: str, more: Any, metric: str, threshold: float, missing: str
) -> None:
    house.settle(merge(TOPICS, alarms(bounces={"preset": preset, "alarm_actions": ["ops"], **more})))
    found = live("bounces")
    assert (found["Namespace"], found["MetricName"], found["Threshold"]) == ("AWS/SES", metric, threshold)
    assert found["TreatMissingData"] == missing
    assert found["AlarmActions"] == [topic()]
    assert found["Period"] == (86_400 if preset == "quota" else 3600)


def test_the_quota_is_followed(house: House) -> None:
    document = alarms(bounces={"preset": "quota"})
    house.settle(document)
    quota(house, 100_000)
    plan = house.plan(document)
    (change,) = plan.changes
    assert [(d.path, d.before, d.after) for d in change.diff] == [("threshold", 40_000.0, 80_000.0)]
    assert "quota-followed" in {note.rule for note in change.notes}
    house.settle(document)
    assert live("bounces")["Threshold"] == 80_000
    quota(house, -1)
    plan = house.plan(document)
    assert {(d.code, d.address) for d in plan.diagnostics if d.severity == "error"} == {("quota-unlimited", BOUNCES)}
    house.sandbox.fault("denied", service="sesv2", operation="GetAccount", count=None)
    plan = house.plan(document)
    assert not plan.changes
    assert any(BOUNCES in part for part in plan.unread)


def test_what_is_live_and_not_declared_is_put_again(house: House) -> None:
    """Alone what is declared changes; a form that excludes what is live takes its place, and the plan shows it."""
    client("cloudwatch").put_metric_alarm(
        AlarmName="bounces", Namespace="AWS/SES", MetricName="Bounce", ExtendedStatistic="p90", Period=300,
        EvaluationPeriods=3, DatapointsToAlarm=2, Threshold=5, ComparisonOperator="GreaterThanThreshold",
        OKActions=["arn:aws:sns:us-east-1:999900001111:theirs"], AlarmDescription="theirs", ActionsEnabled=False,
        TreatMissingData="missing", Unit="Count", Dimensions=[{"Name": "ses:configuration-set", "Value": "tx"}],
    )  # fmt: skip
    document = alarms(
        bounces={
            "namespace": "AWS/SES", "metric_name": "Bounce", "statistic": "Sum", "period": 300,
            "evaluation_periods": 3, "threshold": 6, "comparison_operator": "GreaterThanThreshold",
        }
    )  # fmt: skip
    before = live("bounces")
    (change,) = house.plan(document).changes
    assert change.action == "adopt"
    assert {d.path for d in change.diff if not d.path.startswith("tags.")} == {
        "statistic", "extended_statistic", "threshold",
    }  # fmt: skip
    house.apply(document)
    after = live("bounces")
    times = {key for key in after if key.endswith("Timestamp")}
    differs = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)} - times
    assert differs == {"Statistic", "ExtendedStatistic", "Threshold"}


def test_an_action_that_stays_live_keeps_its_permission(house: House) -> None:
    """Taken out of the YAML, an action stays; so does the right of CloudWatch to publish to its topic."""
    house.settle(merge(TOPICS, alarms(bounces={"preset": "bounce_rate", "alarm_actions": ["ops"]})))
    house.settle(merge(TOPICS, alarms(bounces={"preset": "bounce_rate"})))
    assert live("bounces")["AlarmActions"] == [topic()]
    policy = client("sns").get_topic_attributes(TopicArn=topic())["Attributes"]["Policy"]
    assert "cloudwatch.amazonaws.com" in policy
    plan = house.plan(alarms(bounces={"preset": "bounce_rate"}))
    assert {d.code for d in plan.diagnostics if d.severity == "error"} == {"in-use"}


def test_states_are_told_and_are_no_change(house: House) -> None:
    document = alarms(**{name: {"preset": "bounce_rate"} for name in "abcde"})
    house.settle(document)
    client("cloudwatch").set_alarm_state(AlarmName="a", StateValue="ALARM", StateReason="0.07 was over 0.05")
    client("cloudwatch").set_alarm_state(AlarmName="b", StateValue="OK", StateReason="fine")
    plan = house.plan(document)
    told = {d.code: d.message for d in plan.diagnostics if d.code in {"alarm-rings", "alarm-no-data"}}
    assert "0.07 was over 0.05" in told["alarm-rings"]
    assert told["alarm-no-data"].endswith("c, d, e")
    assert not plan.changes


def test_many_are_read_a_hundred_at_a_time(house: House) -> None:
    document = alarms(**{f"a{n}": {"preset": "bounce_rate"} for n in range(101)})
    house.apply(document)
    house.clear()
    assert not house.plan(refresh="bulk").changes
    calls = house.calls()
    assert list(calls).count("cloudwatch:DescribeAlarms") == 2
    assert "cloudwatch:ListTagsForResource" not in calls


def test_a_state_without_alarms_asks_cloudwatch_nothing(house: House) -> None:
    house.settle({"configuration_sets": {"main": {}}})
    house.clear()
    house.plan()
    assert not [call for call in house.calls() if call.startswith("cloudwatch:")]


def test_each_region_has_its_own(house: House) -> None:
    both = {"stack": {"regions": [HOME, OTHER]}}
    entry = {"preset": "bounce_rate", "alarm_actions": ["ops"], "by_region": {OTHER: {"threshold": 0.02}}}
    house.settle(merge(both, merge(TOPICS, alarms(bounces=entry))))
    assert [live("bounces", region)["Threshold"] for region in (HOME, OTHER)] == [0.05, 0.02]
    assert live("bounces", OTHER)["AlarmActions"] == [topic(region=OTHER)]


def test_an_import_brings_the_alarms_of_mail_and_their_topics(house: House) -> None:
    client("sns").create_topic(Name="ops")
    usual: dict[str, Any] = {
        "EvaluationPeriods": 1, "ComparisonOperator": "GreaterThanThreshold", "AlarmActions": [topic()],
    }  # fmt: skip
    metric = {"Statistic": "Sum", "Period": 300}
    put = client("cloudwatch").put_metric_alarm
    put(AlarmName="mail", Namespace="AWS/SES", MetricName="Bounce", Threshold=0.0005, **metric, **usual)
    put(AlarmName="disk", Namespace="AWS/EC2", MetricName="DiskWriteOps", Threshold=5, **metric, **usual)
    query = {"Metric": {"Namespace": "AWS/SES", "MetricName": "Send"}, "Period": 300, "Stat": "Sum"}
    put(AlarmName="math", Metrics=[{"Id": "m", "MetricStat": query, "ReturnData": True}], Threshold=5, **usual)
    ran = house.cli("import", "--stack", "acme", "--region", HOME, "--out", "live")
    assert ran.code == 0, ran
    planned = house.cli("plan", "live", "--format", "json")
    assert {(c["address"], c["action"]) for c in planned.json["changes"]} == {
        (f"cloudwatch_alarm/{HOME}/mail", "adopt"), (f"cloudwatch_alarm/{HOME}/math", "adopt"),
        (f"sns_topic/{HOME}/ops", "adopt"),
    }  # fmt: skip
    told = {c["address"]: [d["path"] for d in c["diff"]] for c in planned.json["changes"]}
    assert told[f"cloudwatch_alarm/{HOME}/mail"] == ["tags.recon:stack"]


def test_an_alarm_like_a_preset_is_imported_as_one(house: House) -> None:
    """With what differs from it; one that counts in another way has its own fields."""
    put = client("cloudwatch").put_metric_alarm
    like: dict[str, Any] = {
        "Namespace": "AWS/SES", "MetricName": "Reputation.BounceRate", "Statistic": "Average", "Period": 3600,
        "EvaluationPeriods": 1, "ComparisonOperator": "GreaterThanOrEqualToThreshold", "TreatMissingData": "ignore",
        "AlarmDescription": "Look at the list.",
    }  # fmt: skip
    put(AlarmName="like", **like, Threshold=0.02)
    put(AlarmName="other", **{**like, "Period": 300}, Threshold=0.05)
    put(AlarmName="plain", **{k: v for k, v in like.items() if k != "AlarmDescription"}, Threshold=0.05)
    assert house.cli("import", "--stack", "acme", "--region", HOME, "--out", "live.yaml").code == 0
    found = yaml.safe_load((house.home / "live.yaml").read_text())["cloudwatch_alarms"]
    assert found["like"] == {"preset": "bounce_rate", "alarm_description": "Look at the list.", "threshold": 0.02}
    assert "preset" not in found["other"] and found["other"]["period"] == 300
    assert "preset" not in found["plain"]  # the preset has a description, and an entry cannot say none
    planned = house.cli("plan", "live.yaml", "--format", "json").json["changes"]
    assert [(c["action"], [d["path"] for d in c["diff"]]) for c in planned] == 3 * [("adopt", ["tags.recon:stack"])]


def test_an_alarm_that_somebody_has_switched_off_is_told_each_time(house: House) -> None:
    """It is not written, so that it is no difference; what the YAML says of it is."""
    quiet = {"preset": "bounce_rate", "alarm_actions": ["ops"]}
    house.settle(merge(TOPICS, alarms(bounces=quiet)))
    client("cloudwatch").disable_alarm_actions(AlarmNames=["bounces"])
    ran = house.cli("drift", "state.yaml")
    assert ran.code == 0 and "somebody has disabled the actions of bounces" in ran.out
    plan = house.plan(merge(TOPICS, alarms(bounces={**quiet, "actions_enabled": True})))
    (change,) = plan.changes
    assert [(diff.path, diff.before, diff.after) for diff in change.diff] == [("actions_enabled", False, True)]
    assert "fixes alarm-disabled" in " ".join(note.message for note in change.notes)
    off = house.plan(merge(TOPICS, alarms(bounces={**quiet, "actions_enabled": False})))
    assert not off.changes and "alarm-disabled" not in {one.code for one in off.diagnostics}


SETS = {"bounces": {"preset": "bounce_rate", "alarm_actions": ["ops"]}, "most": {"preset": "complaint_rate"}}


def test_a_set_holds_alarms_of_its_own(house: House) -> None:
    """Each region's, with the set as their dimension; the plan creates them after the set, and they go with it."""
    sets = {"main": {"alarms": SETS}}
    document = merge(TOPICS, {"configuration_sets": sets, "defaults": {"cloudwatch_alarm": {"period": 7200}}})
    plan = house.plan(document)
    change = next(c for c in plan.changes if c.address == f"cloudwatch_alarm/{HOME}/main-bounces")
    assert f"configuration_set/{HOME}/main" in change.depends_on
    assert change.source is not None
    assert change.source.line > 0
    house.settle(document)
    found = live("main-bounces")
    assert found["Dimensions"] == [{"Name": "ses:configuration-set", "Value": "main"}]
    assert (found["Period"], found["AlarmActions"]) == (7200, [topic()])
    gone = house.plan(TOPICS)
    assert {c.address for c in gone.changes if c.action == "delete"} == {
        f"configuration_set/{HOME}/main", f"cloudwatch_alarm/{HOME}/main-bounces",
        f"cloudwatch_alarm/{HOME}/main-most",
    }  # fmt: skip


def test_a_class_gives_each_set_its_own(house: House) -> None:
    tenant = {"configuration_set": {"alarms": {"bounces": {"preset": "bounce_rate", "threshold": 0.03}}}}
    sets = {name: {"class": "tenant"} for name in ("a", "b")}
    sets["b"]["unmanaged"] = ["alarms.bounces"]  # type: ignore[assignment]
    house.settle({"classes": {"tenant": tenant}, "configuration_sets": {**sets, "c": {}}})
    names = [a["AlarmName"] for a in client("cloudwatch").describe_alarms()["MetricAlarms"]]
    assert names == ["a-bounces"]
    assert live("a-bounces")["Threshold"] == 0.03


def test_what_a_set_holds_is_checked_where_it_stands(house: House) -> None:
    house.write(
        {
            "configuration_sets": {
                "main": {"alarms": {"x": {"preset": "bounce_rate", "threshold": 5}, "y": {"preset": "bounce_rate"},
                                    "q": {"preset": "quota"}}},
            },
            "cloudwatch_alarms": {"main-y": {"preset": "bounce_rate"}},
        }
    )  # fmt: skip
    ran = house.cli("validate", "state.yaml")
    assert ran.code == 1
    assert "configuration_sets.main.alarms.x.threshold: 5 is not a share" in ran.err
    assert "[duplicate-declaration]" in ran.err
    assert "[quota-of-part]" in ran.err


def test_a_set_that_is_let_go_takes_its_alarms_along(house: House) -> None:
    document = {"configuration_sets": {"main": {"alarms": SETS}}, **TOPICS}
    house.settle(document)
    house.settle({**TOPICS, "released": ["configuration_sets.main"]})
    tags = client("cloudwatch").list_tags_for_resource(
        ResourceARN=f"arn:aws:cloudwatch:{HOME}:{ACCOUNT}:alarm:main-bounces"
    )["Tags"]
    assert tags == []


def test_a_saved_plan_keeps_the_alarms_of_sets(house: House) -> None:
    house.write({"configuration_sets": {"main": {"alarms": SETS}}, **TOPICS})
    assert house.cli("plan", "state.yaml", "--out", "plan.json").code == 0
    ran = house.cli("apply", "plan.json", "--auto-approve")
    assert ran.code == 0, ran
    assert live("main-bounces")["Threshold"] == 0.05
