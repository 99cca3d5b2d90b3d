"""CloudWatch metrics: what seeds put there, and what SES publishes about the mail that the account has sent.

Of metrics without dimensions in AWS/SES, those that follow from ``SesState.sent`` are there without a seed. Expressions
and anomaly detection are not evaluated.

Source: CloudWatch API reference, GetMetricData, GetMetricStatistics, ListMetrics; SES Developer Guide, "Monitoring your
sending activity with CloudWatch".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from reconciler.sandbox.kept import Kept, KeptService
from reconciler.sandbox.protocol import ApiError, Params, page
from reconciler.sandbox.ses_state import Item, SesState
from reconciler.sandbox.world import Call, moment

Point = tuple[float, float]
"""Seconds since the epoch, value."""

MOST_QUERIES: Final = 500
MOST_POINTS: Final = 100_800
MOST_STATISTICS: Final = 1440
LISTED_FOR: Final = 14 * 86_400
STATISTICS: Final = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")


class Metric(NamedTuple):
    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]


def add_points(
    kept: Kept, namespace: str, name: str, dimensions: Mapping[str, str], points: Iterable[Point], unit: str = "None"
) -> None:
    """Put data points under a metric, which is made where it does not exist."""
    metric = Metric(namespace, name, frozenset(dimensions.items()))
    item = kept.of("Metric").setdefault(repr(metric), Item(name, 0, 0, {"metric": metric, "unit": unit, "points": []}))
    item.body["points"] += points


def _of_ses(call: Call) -> Iterator[tuple[Metric, list[Point]]]:
    """What SES publishes itself."""
    sent = call.world.current("ses", call.account, call.region, SesState).sent
    if not sent:
        return
    counts: dict[str, list[Point]] = {
        "Send": [(at, n) for at, n, *_ in sent],
        "Bounce": [(at, n) for at, _, n, *_ in sent],
        "Complaint": [(at, n) for at, _, _, n, _ in sent],
        "Reject": [(at, n) for at, *_, n in sent],
        "Delivery": [(at, n - bounced - rejected) for at, n, bounced, _, rejected in sent],
    }
    for name in ("Bounce", "Complaint"):
        rates = [
            (at, part / whole) for (at, part), (_, whole) in zip(counts[name], counts["Send"], strict=True) if whole
        ]
        counts[f"Reputation.{name}Rate"] = rates
    for name, points in counts.items():
        yield Metric("AWS/SES", name, frozenset()), points


class Metrics(KeptService):
    name = "cloudwatch"
    signed_as = "monitoring"
    arns = ("ResourceARN",)

    def _all(self, call: Call) -> dict[Metric, tuple[list[Point], str]]:
        """Every metric of the region, with its points and unit."""
        found = {metric: (list(points), "Count") for metric, points in _of_ses(call)}
        for item in self.kept(call).of("Metric").values():
            before = found.get(item.body["metric"], ([], ""))[0]
            found[item.body["metric"]] = (before + item.body["points"], item.body["unit"])
        return found

    def list_metrics(self, call: Call, params: Params) -> Params:
        """Those with a point in the last two weeks."""
        wanted = [(one["Name"], one.get("Value")) for one in params.get("Dimensions", ())]
        rows = [
            {
                "Namespace": metric.namespace,
                "MetricName": metric.name,
                "Dimensions": [{"Name": key, "Value": value} for key, value in sorted(metric.dimensions)],
            }
            for metric, (points, _) in sorted(self._all(call).items(), key=lambda one: repr(one[0]))
            if params.get("Namespace") in (None, metric.namespace)
            and params.get("MetricName") in (None, metric.name)
            and all(any(k == key and v in (None, value) for key, value in metric.dimensions) for k, v in wanted)
            and any(at >= call.now - LISTED_FOR for at, _ in points)
        ]
        chosen, token = page(rows, params.get("NextToken"), 500, 500)
        return {"Metrics": chosen, "NextToken": token}

    def get_metric_data(self, call: Call, params: Params) -> Params:
        """One answer a query; of metrics that do not exist it is empty."""
        queries = params["MetricDataQueries"]
        if len(queries) > MOST_QUERIES:
            raise _invalid(f"The collection MetricDataQueries must not have a size greater than {MOST_QUERIES}.")
        if params["StartTime"] >= params["EndTime"]:
            raise _invalid("The parameter StartTime must be less than the parameter EndTime.")
        ids = [query["Id"] for query in queries]
        if len(set(ids)) < len(ids) or not all(one[:1].islower() for one in ids):
            raise _invalid("The values for parameter Id must be unique and start with a lowercase letter.")
        metrics, newest_first = self._all(call), params.get("ScanBy") != "TimestampAscending"
        rows: list[tuple[Params, float | None, float]] = []
        for query in queries:
            if "MetricStat" not in query:
                raise _invalid("the sandbox evaluates no expressions: ask for the metrics themselves")
            stat = query["MetricStat"]
            points, _ = metrics.get(_metric(stat["Metric"]), ([], ""))
            found = _buckets(points, params, stat["Period"])
            pairs = sorted(((at, _value(stat["Stat"], held)) for at, held in found.items()), reverse=newest_first)
            if query.get("ReturnData", True):
                rows += [(query, at, value) for at, value in pairs] or [(query, None, 0.0)]
        chosen, token = page(rows, params.get("NextToken"), params.get("MaxDatapoints"), MOST_POINTS)
        results: dict[str, Params] = {}
        for query, at, value in chosen:
            label = query.get("Label") or query["MetricStat"]["Metric"].get("MetricName", "")
            whole = "PartialData" if token and query is chosen[-1][0] else "Complete"
            row = results.setdefault(query["Id"], {
                "Id": query["Id"], "Label": label, "Timestamps": [], "Values": [], "StatusCode": whole
            })  # fmt: skip
            if at is not None:
                row["Timestamps"].append(moment(at))
                row["Values"].append(value)
        return {"MetricDataResults": list(results.values()), "NextToken": token, "Messages": []}

    def get_metric_statistics(self, call: Call, params: Params) -> Params:
        """The points in no order of their own; oldest first here."""
        stats, extended = params.get("Statistics", []), params.get("ExtendedStatistics", [])
        if not stats and not extended:
            raise ApiError("MissingParameter", "The parameter Statistics or ExtendedStatistics must be provided", 400)
        span = params["EndTime"].timestamp() - params["StartTime"].timestamp()
        asked = int(span // params["Period"])
        if span <= 0:
            raise ApiError("InvalidParameterValue", "StartTime must be less than EndTime.", 400)
        if asked > MOST_STATISTICS:
            raise ApiError(
                "InvalidParameterCombination",
                f"You have requested up to {asked:,} datapoints, which exceeds the limit of {MOST_STATISTICS:,}. You "
                "may reduce the datapoints requested by increasing Period, or decreasing the time range.", 400,
            )  # fmt: skip
        points, unit = self._all(call).get(_metric(params), ([], "None"))
        rows = []
        for at, held in sorted(_buckets(points, params, params["Period"]).items()):
            row: Params = {"Timestamp": moment(at), "Unit": unit}
            row |= {stat: _value(stat, held) for stat in stats}
            if extended:
                row["ExtendedStatistics"] = {stat: _value(stat, held) for stat in extended}
            rows.append(row)
        return {"Label": params["MetricName"], "Datapoints": rows}


def _invalid(message: str) -> ApiError:
    return ApiError("ValidationError", message, 400)


def _metric(given: Mapping[str, Any]) -> Metric:
    pairs = ((one["Name"], one["Value"]) for one in given.get("Dimensions", ()))
    return Metric(given.get("Namespace", ""), given.get("MetricName", ""), frozenset(pairs))


def _buckets(points: Iterable[Point], params: Params, period: int) -> dict[float, list[float]]:
    """Beginning of a period -> its values; the end of the time range is not in it.

    Raises: ApiError for a period that CloudWatch does not have.
    """
    if period not in (1, 5, 10, 20, 30) and period % 60:
        raise _invalid("Period must be 1, 5, 10, 20, 30 or a multiple of 60.")
    first = params["StartTime"].timestamp() // period * period
    last = params["EndTime"].timestamp()
    found: dict[float, list[float]] = {}
    for at, value in points:
        if first <= at < last:
            found.setdefault(at // period * period, []).append(value)
    return found


def _value(stat: str, held: Sequence[float]) -> float:
    """A statistic over the values of one period. Raises: ApiError for one that the sandbox does not have."""
    known = {
        "SampleCount": len(held), "Average": sum(held) / len(held), "Sum": sum(held), "Minimum": min(held),
        "Maximum": max(held),
    }  # fmt: skip
    if stat in known:
        return float(known[stat])
    percentile = stat.removeprefix("p")
    if percentile == stat or not percentile.replace(".", "", 1).isdigit() or float(percentile) > 100:
        raise _invalid(f"Statistic {stat} is not one of {', '.join(STATISTICS)} or a percentile")
    ordered = sorted(held)
    return ordered[min(len(ordered) - 1, int(float(percentile) / 100 * len(ordered)))]


SERVICE = Metrics
