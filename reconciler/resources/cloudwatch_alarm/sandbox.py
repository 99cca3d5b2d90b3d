"""CloudWatch metric alarms: kept as they were put, with a state that only SetAlarmState changes.

Source: CloudWatch API reference, PutMetricAlarm, DescribeAlarms, DeleteAlarms, SetAlarmState; CloudWatch User Guide,
"CloudWatch service quotas".
"""

from __future__ import annotations

from typing import Any

from reconciler.sandbox.kept import KeptService, Noun, with_tags
from reconciler.sandbox.protocol import ApiError, Params, page
from reconciler.sandbox.ses_state import Item
from reconciler.sandbox.world import Call, moment

MOST = 5_000
MISSING = ("missing", "ignore", "breaching", "notBreaching")
OF_METRIC = ("MetricName", "Namespace", "Dimensions", "Period", "Unit", "Statistic", "ExtendedStatistic")
OF_THRESHOLD = ("Threshold", "ComparisonOperator", "ThresholdMetricId", "EvaluationPeriods", "DatapointsToAlarm")
ACTIONS = ("OKActions", "AlarmActions", "InsufficientDataActions")


def invalid(message: str) -> ApiError:
    return ApiError("ValidationError", message, 400)


class Alarms(KeptService):
    name = "cloudwatch"
    signed_as = "monitoring"
    nouns = {"Alarm": Noun("alarm:", "cloudwatch:alarm")}
    names = {"AlarmName": "Alarm", "AlarmNames": "Alarm"}
    arns = ("ResourceARN",)

    def touched(self, call: Call, params: Params) -> list[str]:
        """IAM checks DescribeAlarms against all alarms, whatever names it asks for."""
        if call.operation == "DescribeAlarms":
            return [self.arn(call, "Alarm", "*")]
        return super().touched(call, params)

    def put_metric_alarm(self, call: Call, params: Params) -> Params:
        """The whole alarm is replaced, but for its state and its tags."""
        _check(call, params)
        alarms, name = self.kept(call).of("Alarm"), params["AlarmName"]
        there = alarms.get(name)
        body = {key: value for key, value in params.items() if key not in ("AlarmName", "Tags") and value != []}
        if there is None:
            if len(alarms) >= MOST:
                raise ApiError("LimitExceeded", f"The maximum limit of {MOST} alarms has been reached", 400)
            state = {"StateValue": "INSUFFICIENT_DATA", "StateReason": "Unchecked: Initial alarm creation"}
            there = alarms[name] = Item(name, call.now, call.now, {}, with_tags({}, params.get("Tags") or []))
        else:
            state = {key: there.body[key] for key in ("StateValue", "StateReason")}
        there.body, there.updated = {**body, **state}, call.now
        return {}

    def _shown(self, call: Call, item: Item) -> Params:
        body = dict(item.body)
        updated = moment(item.updated)
        lists: Params = {key: [] for key in ACTIONS}
        if "MetricName" in body:
            lists["Dimensions"] = []
        return {
            "AlarmName": item.name, "AlarmArn": self.arn(call, "Alarm", item.name), "ActionsEnabled": True, **lists,
            **body, "AlarmConfigurationUpdatedTimestamp": updated, "StateUpdatedTimestamp": updated,
            "StateTransitionedTimestamp": updated,
        }  # fmt: skip

    def describe_alarms(self, call: Call, params: Params) -> Params:
        """By name, a hundred a page; tags are not in it."""
        if "AlarmNames" in params and "AlarmNamePrefix" in params:
            raise invalid("AlarmNames and AlarmNamePrefix cannot be specified together")
        if "MetricAlarm" not in (params.get("AlarmTypes") or ["MetricAlarm"]):
            return {"MetricAlarms": [], "CompositeAlarms": []}
        wanted, prefix = params.get("AlarmNames"), params.get("AlarmNamePrefix", "")
        state, action = params.get("StateValue"), params.get("ActionPrefix", "")
        found = [
            item
            for name, item in sorted(self.kept(call).of("Alarm").items())
            if (wanted is None or name in wanted)
            and name.startswith(prefix)
            and state in (None, item.body["StateValue"])
            and (not action or any(one.startswith(action) for key in ACTIONS for one in item.body.get(key, ())))
        ]
        rows, token = page(found, params.get("NextToken"), params.get("MaxRecords") or 50, 100)
        return {"MetricAlarms": [self._shown(call, one) for one in rows], "CompositeAlarms": [], "NextToken": token}

    def delete_alarms(self, call: Call, params: Params) -> Params:
        """Names of alarms that do not exist are passed over."""
        for name in params["AlarmNames"]:
            self.kept(call).of("Alarm").pop(name, None)
        return {}

    def _named(self, call: Call, name: str) -> Item:
        found = self.kept(call).of("Alarm").get(name)
        if found is None:
            raise ApiError("ResourceNotFound", f"Alarm {name} does not exist", 404)
        return found

    def set_alarm_state(self, call: Call, params: Params) -> Params:
        item = self._named(call, params["AlarmName"])
        item.body |= {key: params[key] for key in ("StateValue", "StateReason")}
        item.updated = call.now
        return {}

    def _enable(self, call: Call, params: Params, enabled: bool) -> Params:
        for name in params["AlarmNames"]:
            if item := self.kept(call).of("Alarm").get(name):
                item.body["ActionsEnabled"], item.updated = enabled, call.now
        return {}

    def enable_alarm_actions(self, call: Call, params: Params) -> Params:
        return self._enable(call, params, True)

    def disable_alarm_actions(self, call: Call, params: Params) -> Params:
        return self._enable(call, params, False)


def _check(call: Call, params: Params) -> None:
    """Raises: ApiError for what PutMetricAlarm refuses beside what its model says."""
    forms = [key for key in ("MetricName", "Metrics", "EvaluationCriteria") if params.get(key)]
    if len(forms) != 1:
        raise invalid("Exactly one of MetricName, Metrics and EvaluationCriteria must be specified")
    refused: tuple[str, ...] = () if forms == ["MetricName"] else OF_METRIC
    if forms == ["EvaluationCriteria"]:
        refused += OF_THRESHOLD
        if "EvaluationInterval" not in params:
            raise invalid("EvaluationInterval must be specified with EvaluationCriteria")
    elif "EvaluationInterval" in params:
        raise invalid("EvaluationInterval cannot be specified with a metric")
    both = [key for key in refused if key in params]
    if both:
        raise invalid(f"{', '.join(both)} cannot be specified with {forms[0]}")
    if forms != ["EvaluationCriteria"]:
        for key in ("ComparisonOperator", "EvaluationPeriods"):
            if key not in params:
                raise invalid(f"{key} must be specified")
        _one_of(params, "Threshold", "ThresholdMetricId")
    if forms == ["MetricName"]:
        _one_of(params, "Statistic", "ExtendedStatistic")
        if not {"Namespace", "Period"} <= params.keys():
            raise invalid("Namespace and Period must be specified with MetricName")
        _check_times(params["Period"], params["EvaluationPeriods"])
    if params.get("TreatMissingData", "missing") not in MISSING:
        raise invalid(f"Option {params['TreatMissingData']} is not supported for TreatMissingData")
    if params.get("DatapointsToAlarm", 0) > params.get("EvaluationPeriods", 1):
        raise invalid("DatapointsToAlarm must be less than or equal to EvaluationPeriods")
    watched = [one for one in params.get("Metrics") or () if one.get("ReturnData", True)]
    if params.get("Metrics") and len(watched) != 1:
        raise invalid("Exactly one element of the metrics list should return data")
    for arn in (arn for key in ACTIONS for arn in params.get(key) or ()):
        _check_action(call, arn)


def _one_of(params: Params, *keys: str) -> None:
    if sum(1 for key in keys if key in params) != 1:
        raise invalid(f"Exactly one of {' and '.join(keys)} must be specified")


def _check_times(period: int, times: int) -> None:
    if period not in (10, 20, 30) and period % 60:
        raise invalid("Period must be 10, 20, 30 or a multiple of 60")
    if period * times > (604_800 if period >= 3600 else 86_400):
        raise invalid("Metrics cannot be checked across more than a day, or a week for periods of an hour and more")


def _check_action(call: Call, arn: str) -> None:
    parts: list[Any] = arn.split(":")
    if len(parts) < 6 or parts[0] != "arn":
        raise invalid(f"Invalid arn syntax: {arn}")
    if parts[3] not in ("", call.region):
        raise invalid(f"Invalid region {parts[3]} specified. Only {call.region} is supported.")


SERVICE = Alarms
