"""Rules about CloudWatch alarms: whether they can ring in time, and whether anybody hears them."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.resources.cloudwatch_alarm import ACTIONS
from reconciler.rules import topics
from reconciler.rules.registry import Problem, RuleFor, resources_after
from reconciler.rules.view import Resource, RuleView

alarm_rule = RuleFor(resources_after("cloudwatch_alarm"), "CloudWatch alarms", "cloudwatch_alarm/us-east-1/bounces")

SERVICE = "cloudwatch.amazonaws.com"
PAUSED_FROM = {"Reputation.BounceRate": 0.10, "Reputation.ComplaintRate": 0.005}
"""Where AWS may pause an account (SES Developer Guide, "Amazon SES sending review process FAQs")."""


@alarm_rule("alarm-no-action", "warning", "An alarm that tells nobody")
def no_action(view: RuleView, alarm: Resource) -> Iterator[Problem]:
    """An alarm has no `alarm_actions`, or the YAML says that they are disabled.

    Why: It rings in the console alone.
    Fix: Write `alarm_actions: [TOPIC]`, in `defaults: {cloudwatch_alarm: ...}` for all of them.
    Source: CloudWatch API, PutMetricAlarm: AlarmActions, ActionsEnabled
    """
    if alarm.will("actions_enabled") is False:
        if not _disabled_by_hand(alarm):
            yield Problem(f"the actions of {alarm.place} are disabled: it tells nobody", "write actions_enabled: true")
    elif not alarm.will("alarm_actions"):
        yield Problem(f"{alarm.place} has no alarm_actions: it tells nobody", "write alarm_actions: [TOPIC]")


@alarm_rule("alarm-disabled", "warning", "An alarm that somebody has switched off", urgent=True)
def disabled(view: RuleView, alarm: Resource) -> Iterator[Problem]:
    """The actions of an alarm are disabled in AWS, and the YAML does not say so.

    Why: Alarms are switched off for maintenance, and forgotten. It rings in the console alone.
    Fix: Write `actions_enabled: true`, and apply. `actions_enabled: false` leaves it off.
    Source: CloudWatch API, DisableAlarmActions
    """
    if _disabled_by_hand(alarm):
        yield Problem(
            f"somebody has disabled the actions of {alarm.place}: it tells nobody",
            "write actions_enabled: true and apply, or false to leave it off",
        )


def _disabled_by_hand(alarm: Resource) -> bool:
    written = alarm.desired.entry.values.get("actions_enabled") if alarm.desired else None
    return alarm.will("actions_enabled") is False and written is None


@alarm_rule("alarm-late", "warning", "An alarm that rings when AWS may already have paused the account")
def late(view: RuleView, alarm: Resource) -> Iterator[Problem]:
    """The threshold of an alarm on the bounce or complaint rate is where AWS may pause an account (10%, 0.5%), or
    above. AWS reviews accounts from 5% and 0.1% on.

    Why: When it rings, sending may have ended.
    Fix: Use the thresholds of the presets. Rates are fractions: 5% is 0.05.
    Source: SES Developer Guide, Amazon SES sending review process FAQs
    """
    name, threshold = str(alarm.will("metric_name")), alarm.will("threshold")
    line = PAUSED_FROM.get(name)
    if line is not None and isinstance(threshold, int | float) and threshold >= line:
        yield Problem(
            f"{alarm.place} rings at {threshold:g}, and AWS may pause an account from {line:g} on",
            "use the threshold of the preset; rates are fractions",
        )


@alarm_rule("alarm-no-metric", "warning", "An alarm on a rate that SES does not publish")
def no_metric(view: RuleView, alarm: Resource) -> Iterator[Problem]:
    """An alarm watches the bounce or complaint rate of a configuration set that has
    `reputation_metrics_enabled: false`.

    Why: SES publishes the rates of a set only where this is on, so that the alarm never has data.
    Fix: Write `reputation_options: {reputation_metrics_enabled: true}` in the set.
    Source: SES API, ReputationOptions: ReputationMetricsEnabled
    """
    if alarm.will("metric_name") not in PAUSED_FROM:
        return
    for one in alarm.will("dimensions") or ():
        found = view.resource(f"configuration_set/{alarm.region}/{one.get('value')}")
        if one.get("name") != "ses:configuration-set" or found is None or found.after is None:
            continue
        if found.will("reputation_options.reputation_metrics_enabled") is not True:
            yield Problem(
                f"{alarm.place} never has data: the set {one.get('value')} does not publish its reputation metrics",
                "write reputation_options: {reputation_metrics_enabled: true} in the set",
            )


@alarm_rule("alarm-topic", "warning", "A topic that CloudWatch cannot publish to")
def topic(view: RuleView, alarm: Resource) -> Iterator[Problem]:
    """An action of an alarm is a topic that does not exist, whose policy does not let `cloudwatch.amazonaws.com`
    publish, or whose KMS key that service may not use. Of declared topics recon writes the policy.

    Why: The message is lost, and no error is shown but in the alarm's history.
    Fix: Allow `sns:Publish` to the service `cloudwatch.amazonaws.com`, with `AWS:SourceAccount` set to the account. For
    an encrypted topic, use a customer managed key that allows it `kms:GenerateDataKey*` and `kms:Decrypt`.
    Source: CloudWatch User Guide, Notifying users on alarm changes
    """
    named = [arn for key in ACTIONS for arn in alarm.will(key) or ()]
    yield from topics.cannot_publish(view, dict.fromkeys(named), SERVICE)
