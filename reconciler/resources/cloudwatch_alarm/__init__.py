"""CloudWatch alarms on metrics.

Source: CloudWatch API reference, PutMetricAlarm; CloudWatch User Guide, "CloudWatch service quotas"; SES Developer
Guide, "Monitoring your sending reputation with CloudWatch".
"""

from typing import Any

from reconciler.resources.spec import CloudTrail, Field, Named, Phrase, PlainSpec, Section, Service, Values, Words

ACTIONS = ("ok_actions", "alarm_actions", "insufficient_data_actions")


def _watches_ses(alarm: Values) -> bool:
    """Whether an alarm of CloudWatch's answer is on a metric of SES, or on an expression over one."""
    metrics = [(one.get("MetricStat") or {}).get("Metric") or {} for one in alarm.get("Metrics") or ()]
    return any(one.get("Namespace") == "AWS/SES" for one in (alarm, *metrics))


SPEC = PlainSpec(
    name="cloudwatch_alarm",
    words="CloudWatch alarm",
    sections=(
        Section(
            "cloudwatch_alarms", "cloudwatch_alarm", "CloudWatch alarms",
            "A CloudWatch alarm by its name, made in each of its regions. Its actions are ARNs, or names of topics "
            "that are declared here for its region.",
            "alarms.yaml", place=70,
        ),
    ),
    named=tuple(Named(key, "sns_topic", "cloudwatch", "{user} still notifies it") for key in ACTIONS),
    service=Service("cloudwatch", "cloudwatch", "cloudwatch:alarm", "alarm:", "ResourceARN"),
    quota=5_000,
    pattern=r"[^\x00-\x1f\x7f]{1,255}",
    pattern_words="1 to 255 characters, no control characters",
    listed=("DescribeAlarms", "MetricAlarms", "AlarmName"),
    list_options={"MaxRecords": 100},
    for_mail=_watches_ses,
    key="AlarmName",
    noun="Alarms",
    verbs={"Create": "PutMetricAlarm", "Update": "PutMetricAlarm", "Get": "DescribeAlarms"},
    answer="MetricAlarms",
    tags_in_get=False,
    exists_codes=(),
    no_fields=("preset",),
    preset_says=("namespace", "metric_name", "statistic", "period", "evaluation_periods", "comparison_operator"),
    fields={
        "alarm_description": Field(),
        "actions_enabled": Field(default=True, events=("EnableAlarmActions", "DisableAlarmActions")),
        **{key: Field(default=(), set_of=True) for key in ACTIONS},
        "namespace": Field(),
        "metric_name": Field(),
        "dimensions": Field(default=(), set_of=True),
        "statistic": Field(),
        "extended_statistic": Field(),
        "period": Field(),
        "unit": Field(),
        "metrics": Field(set_of=True),
        "evaluation_periods": Field(),
        "datapoints_to_alarm": Field(),
        "comparison_operator": Field(),
        "threshold": Field(),
        "threshold_metric_id": Field(),
        "treat_missing_data": Field(default="missing", on_create=True),
        "evaluate_low_sample_count_percentile": Field(),
        "evaluation_window": Field(inner={"wall_clock_window": None, "sliding_window": None}),
        "warm_up_configuration": Field(
            inner={
                "warm_up_period_duration_in_minutes": None,
                "only_start_evaluating_after_warm_up_period_ends": False,
            },
            main="warm_up_period_duration_in_minutes",
        ),
        "evaluation_criteria": Field(
            inner={"prom_ql_criteria": {"query": None, "pending_period": None, "recovery_period": None}}
        ),
        "evaluation_interval": Field(),
        "action_configuration": Field(
            inner={"alarm_tags_propagation": {"enabled": None, "included_tag_keys": None, "excluded_tag_keys": None}}
        ),
    },
    trail=CloudTrail(naming=("alarmnames",)),
    says=Words(
        new=Phrase("{n} CloudWatch alarm is created", "{n} CloudWatch alarms are created", 238),
        changed=Phrase("{n} CloudWatch alarm changes", "{n} CloudWatch alarms change", 239),
        gone=Phrase("{n} CloudWatch alarm is deleted", "{n} CloudWatch alarms are deleted", 394),
    ),
)  # fmt: skip

QUOTA = "quota"

_RATE: dict[str, Any] = {
    "namespace": "AWS/SES", "statistic": "Average", "period": 3600, "evaluation_periods": 1,
    "comparison_operator": "GreaterThanOrEqualToThreshold", "treat_missing_data": "ignore", "dimensions": [],
}  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {
    "bounce_rate": {
        **_RATE, "metric_name": "Reputation.BounceRate", "threshold": 0.05,
        "alarm_description": "SES reviews an account whose bounce rate is 5% or more, and may pause it from 10% on.",
    },
    "complaint_rate": {
        **_RATE, "metric_name": "Reputation.ComplaintRate", "threshold": 0.001,
        "alarm_description": "SES reviews an account whose complaint rate is 0.1% or more, and may pause it from 0.5% "
        "on.",
    },
    QUOTA: {
        **_RATE, "metric_name": "Send", "statistic": "Sum", "period": 86_400, "threshold": 0.8,
        "treat_missing_data": "notBreaching",
        "alarm_description": "SES refuses mail above the quota of 24 hours.",
    },
}  # fmt: skip
"""Preset -> what it says; the entry is laid over it. Rates are fractions. The threshold of ``quota`` is a share of the
region's quota. Source: SES Developer Guide, "Amazon SES sending review process FAQs" (the lines of review and pause),
"Creating reputation monitoring alarms using CloudWatch" (missing data)."""

FORMS = (
    frozenset({"namespace", "metric_name", "dimensions", "statistic", "extended_statistic", "period", "unit"}),
    frozenset({"metrics"}),
    frozenset({"evaluation_criteria", "evaluation_interval"}),
)
"""What an alarm watches: one metric, an expression over several, or a PromQL query; each with its fields, which exclude
those of the others (CloudWatch API, PutMetricAlarm)."""

EXCLUSIVE = (("statistic", "extended_statistic"), ("threshold", "threshold_metric_id"))
"""Fields of which an alarm has one."""

NOT_OF_QUERIES = frozenset(
    {"threshold", "comparison_operator", "threshold_metric_id", "evaluation_periods", "datapoints_to_alarm"}
)
"""Fields that an alarm on a PromQL query does not have."""


def over_preset(values: Values) -> dict[str, Any]:
    """What an entry says of the alarm, laid over its preset. ``null`` for what a preset says is the preset's value."""
    preset = dict(PRESETS.get(str(values.get("preset")), {}))
    written = {k: v for k, v in values.items() if not (v is None and k in preset) and k not in SPEC.no_fields}
    for one, other in EXCLUSIVE:
        for mine, theirs in ((one, other), (other, one)):
            if written.get(mine) is not None and written.get(theirs) is None:
                preset.pop(theirs, None)
    return {**preset, **written}
