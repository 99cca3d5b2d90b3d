"""Rules about dashboards: whether there is anything to draw."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.resources.cloudwatch_dashboard.drawing import DRAWN, unpublished
from reconciler.rules.registry import Problem, RuleFor, resources_after
from reconciler.rules.view import Resource, RuleView

dashboard_rule = RuleFor(
    resources_after("cloudwatch_dashboard"), "CloudWatch dashboards", "cloudwatch_dashboard/mail"
)  # fmt: skip


@dashboard_rule("dashboard-no-metrics", "note", "A dashboard of metrics that nothing publishes")
def no_metrics(view: RuleView, dashboard: Resource) -> Iterator[Problem]:
    """A dashboard draws the messages of domains or configuration sets, and in a region no declared event destination
    publishes metrics with that dimension; of sets, reputation metrics are not enabled either.

    Why: SES counts messages by domain or set only where an event destination for CloudWatch asks for it: the dashboard
    stays empty there.
    Fix: Give the sets of the region an event destination with `cloud_watch_destination` and the dimension
    `ses:from-domain` or `ses:configuration-set`, with `dimension_value_source: MESSAGE_TAG`. CloudWatch charges for
    each such metric.
    Source: SES Developer Guide, Set up a CloudWatch event destination for event publishing
    """
    preset = str(dashboard.desired.entry.values.get("preset") or "") if dashboard.desired else ""
    regions = unpublished(preset, view.state) if preset else []
    if regions:
        dimension = DRAWN[preset].dimension
        yield Problem(
            f"{dashboard.name} draws {preset} by {dimension}, and no declared event destination publishes that "
            f"in {', '.join(regions)}",
            f"declare an event destination for CloudWatch with the dimension {dimension}",
        )
