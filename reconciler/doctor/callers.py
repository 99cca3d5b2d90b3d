"""Who sent what bounced: the numbers of each IAM user or role, where an event destination counts them in CloudWatch.

SES gives every message the tag ``ses:caller-identity``; a destination to CloudWatch with that dimension counts by it.
Sources: SES Developer Guide, "Set up a CloudWatch event destination" and the auto-tags of event publishing; CloudWatch
API, ListMetrics (metrics of the last two weeks) and GetMetricData (500 queries a call).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import AwsError
from reconciler.kinds.snapshot import Snapshot, Unread
from reconciler.resources import BY_ARN, children

if TYPE_CHECKING:
    from reconciler.aws import Aws

READS: Final = ("cloudwatch:ListMetrics", "cloudwatch:GetMetricData")
DIMENSION: Final = "ses:caller-identity"
DAYS: Final = 14
MOST_SHARE: Final = 0.8
"""From this share of them on, one sender is behind them."""
_QUERIES: Final = 500
_MOST: Final = 3000
_DAY: Final = 86_400
PARTS_OF_SETS: Final = frozenset(spec.name for spec in children(BY_ARN["configuration-set"].name))
"""The kinds that say where the events of a configuration set go."""
_METRICS: Final = {"Send": "sent", "Bounce": "bounces", "Complaint": "complaints"}


@dataclass(slots=True)
class CallerCounts:
    """What one user or role sent in two weeks, as far as it is counted."""

    name: str
    sent: int = 0
    bounces: int = 0
    complaints: int = 0


def counting(snapshot: Snapshot, region: str) -> str:
    """The event destination that counts by sender, as SET/NAME; "" where none is switched on."""
    for one in sorted(snapshot.observed.values(), key=lambda o: o.address):
        block = one.spec.get("cloud_watch_destination") or {}
        names = {d.get("dimension_name") for d in block.get("dimension_configurations") or ()}
        if one.region == region and DIMENSION in names and one.spec.get("enabled"):
            return one.address.split("/", 2)[2]
    return ""


def not_read(snapshot: Snapshot, region: str) -> Unread | None:
    """Why it is unknown whether a set of the region counts by sender; None where all were read."""
    parts = (part for part in snapshot.unread if part.prefix.split("/")[0] in PARTS_OF_SETS)
    return next((part for part in parts if f"{part.prefix}/".split("/")[1] in {region, ""}), None)


def read_callers(aws: Aws, region: str, now: str) -> list[CallerCounts] | AwsError:
    """The senders of a region, or the error. Cost: a call for each 500 metrics, and one for each 500 that count."""
    end = datetime.fromisoformat(now)
    try:
        every = aws.pages("cloudwatch", "ListMetrics", "Metrics", region, Namespace="AWS/SES",
                          Dimensions=[{"Name": DIMENSION}])  # fmt: skip
        listed = [metric for metric in every if metric.get("MetricName") in _METRICS][:_MOST]
        sums: dict[str, float] = {}
        for start in range(0, len(listed), _QUERIES):
            queries = [_query(n, metric) for n, metric in enumerate(listed[start : start + _QUERIES], start)]
            for row in aws.pages("cloudwatch", "GetMetricData", "MetricDataResults", region, MetricDataQueries=queries,
                                 StartTime=end - timedelta(days=DAYS), EndTime=end):  # fmt: skip
                sums[str(row.get("Id"))] = sums.get(str(row.get("Id")), 0.0) + sum(row.get("Values") or ())
    except AwsError as error:
        return error
    return _by_sender((metric, sums.get(f"m{n}", 0.0)) for n, metric in enumerate(listed))


def _query(number: int, metric: Mapping[str, Any]) -> dict[str, Any]:
    asked = {key: metric[key] for key in ("Namespace", "MetricName", "Dimensions") if key in metric}
    return {"Id": f"m{number}", "MetricStat": {"Metric": asked, "Period": _DAY, "Stat": "Sum"}}


def _by_sender(sums: Iterable[tuple[Mapping[str, Any], float]]) -> list[CallerCounts]:
    """The sums of each sender. Where several destinations count the same mail by different dimensions, the one that
    counts most is taken, so that nothing counts twice."""
    found: dict[tuple[str, str], dict[frozenset[str], float]] = {}
    for metric, value in sums:
        dimensions = {str(d.get("Name")): str(d.get("Value")) for d in metric.get("Dimensions") or ()}
        by = found.setdefault((dimensions.get(DIMENSION, ""), _METRICS[metric["MetricName"]]), {})
        by[frozenset(dimensions)] = by.get(frozenset(dimensions), 0.0) + value
    senders: dict[str, CallerCounts] = {}
    for (name, what), by in found.items():
        setattr(senders.setdefault(name, CallerCounts(name)), what, round(max(by.values())))
    return sorted(senders.values(), key=lambda one: one.name)


def words_of(counts: Iterable[CallerCounts], what: str, whole: int) -> tuple[str, str]:
    """(words, the one sender behind them or ""): whose ``what`` (``bounces`` or ``complaints``) are, of the ``whole``
    number that the region has. ("", "") where nothing is counted."""
    ranked = sorted(counts, key=lambda one: (-getattr(one, what), one.name))
    total = sum(getattr(one, what) for one in ranked)
    if not total:
        return "", ""
    first = getattr(ranked[0], what)
    part = f"{total:,} {what}" if total >= whole else f"{total:,} of the {whole:,} {what} that are counted by sender"
    rate = f", {first / ranked[0].sent:.1%} of what it sent" if ranked[0].sent else ""
    if first >= MOST_SHARE * total and total >= whole / 2:
        return f"one sender is behind them, {ranked[0].name}: it has {first:,} of {part}{rate}", ranked[0].name
    listed = ", ".join(f"{one.name} {getattr(one, what):,}" for one in ranked[:5] if getattr(one, what))
    return f"by sender, of {part}: {listed}", ""
