"""Values of CloudWatch alarms: what an alarm needs, and what it cannot have together.

Source: CloudWatch API reference, PutMetricAlarm and MetricDataQuery.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from reconciler.desired.checks.place import EntryContext
from reconciler.desired.nodes import show
from reconciler.model import Stack
from reconciler.resources.cloudwatch_alarm import ACTIONS, EXCLUSIVE, FORMS, NOT_OF_QUERIES, QUOTA, over_preset
from reconciler.resources.spec import at_path

_FORM_NAMES: Final = ("metric_name", "metrics", "evaluation_criteria")
_HOUR, _DAY, _WEEK = 3600, 86_400, 604_800
_SHORT: Final = (10, 20, 30)
_EXTENDED = re.compile(r"p\d{1,2}(\.\d{1,10})?|p100|(tm|tc|ts|wm|iqm|pr|TM|TC|TS|WM|IQM|PR)\S*")
_ID = re.compile(r"[a-z][A-Za-z0-9_]{0,254}")


def check(place: EntryContext, stack: Stack) -> None:
    _check_preset(place)
    values = over_preset(place.values)
    written = [name for name in _FORM_NAMES if values.get(name) is not None]
    if len(written) != 1 and not place.bad & {*_FORM_NAMES, "preset"}:
        place.error(
            "", "exactly-one", f"exactly one of preset, {', '.join(_FORM_NAMES)} is wanted; found "
            f"{', '.join(written) or 'none'}", "an alarm watches one metric, one expression or one query",
        )  # fmt: skip
    elif written:
        _check_form(place, values, written[0])
    for one, other in EXCLUSIVE:
        if values.get(one) is not None and values.get(other) is not None:
            place.error(other, "exactly-one", f"{one} is there, too", "keep one of the two")
    _check_times(place, values)
    _check_queries(place, values.get("metrics"))
    _check_actions(place, stack)
    _check_blocks(place, values)


def _check_preset(place: EntryContext) -> None:
    preset, share = place.values.get("preset"), place.values.get("threshold")
    if preset == QUOTA and place.values.get("dimensions"):
        place.error("dimensions", "quota-of-part", "the quota is that of the region, and of no part of its mail",
                    "declare the alarm under `cloudwatch_alarms:`, without dimensions")  # fmt: skip
    if preset is None or not isinstance(share, int | float):
        return
    if not 0 < share <= 1:
        whole = "of the region's quota: 80% is 0.8" if preset == QUOTA else "of messages: 5% is 0.05"
        place.error("threshold", "not-a-share", f"{share} is not a share {whole}", "write a number from 0 to 1")


def _check_form(place: EntryContext, values: Mapping[str, Any], form: str) -> None:
    """The keys that the form needs, and those of the others, which CloudWatch refuses beside it."""
    mine = FORMS[_FORM_NAMES.index(form)]
    others = {key for other in FORMS if other is not mine for key in other}
    needed = ["comparison_operator", "evaluation_periods"]
    if form == "metric_name":
        needed += ["namespace", "period"]
    elif form == "evaluation_criteria":
        needed, others = ["evaluation_interval"], others | NOT_OF_QUERIES
        if not at_path(values, "evaluation_criteria.prom_ql_criteria.query"):
            place.error("evaluation_criteria", "missing-key", "prom_ql_criteria.query is missing",
                        "write `prom_ql_criteria: {query: ...}`")  # fmt: skip
    for key in sorted(others):
        if values.get(key) not in (None, [], {}):
            place.error(key, "excluded", f"{key} cannot stand beside {form}", "keep one of the two")
    for key in needed:
        if values.get(key) is None and place.lacks_value(key):
            place.error("", "missing-key", f"{key} is missing", f"write `{key}:`", key)
    pairs = {"metric_name": EXCLUSIVE, "metrics": EXCLUSIVE[1:], "evaluation_criteria": ()}[form]
    for pair in pairs:
        if not any(values.get(key) is not None or not place.lacks_value(key) for key in pair):
            place.error("", "missing-key", f"one of {' and '.join(pair)} is missing", f"write `{pair[0]}:`", pair[0])


def _check_times(place: EntryContext, values: Mapping[str, Any]) -> None:
    period, times = values.get("period"), values.get("evaluation_periods")
    most = values.get("datapoints_to_alarm")
    if isinstance(period, int) and period not in _SHORT and period % 60:
        place.error("period", "bad-period", f"{period} is no period of CloudWatch", "10, 20, 30 or a multiple of 60")
    interval = values.get("evaluation_interval")
    if isinstance(interval, int) and interval not in _SHORT and interval % 60:
        place.error("evaluation_interval", "bad-period", f"{interval} is no interval of CloudWatch",
                    "10, 20, 30 or a multiple of 60")  # fmt: skip
    if isinstance(period, int) and isinstance(times, int):
        longest = _WEEK if period >= _HOUR else _DAY
        if period * times > longest:
            place.error(
                "evaluation_periods", "too-long", f"{times} periods of {period} seconds are {period * times}; "
                f"CloudWatch looks back {longest} at most", "a day with periods below an hour, else a week",
            )  # fmt: skip
    if isinstance(most, int) and isinstance(times, int) and most > times:
        place.error("datapoints_to_alarm", "out-of-range", f"{most} of {times} periods",
                    "it is at most evaluation_periods")  # fmt: skip
    statistic = values.get("extended_statistic")
    if isinstance(statistic, str) and not _EXTENDED.fullmatch(statistic):
        place.error("extended_statistic", "bad-statistic", f"{show(statistic)} is no extended statistic",
                    "write such as p99, p99.9 or tm90")  # fmt: skip


def _check_queries(place: EntryContext, metrics: Any) -> None:
    if not isinstance(metrics, list):
        return
    ids = [one.get("id") for one in metrics if isinstance(one, dict)]
    for index, one in enumerate(metrics):
        if not isinstance(one, dict):
            continue
        name = one.get("id")
        if isinstance(name, str) and (not _ID.fullmatch(name) or ids.index(name) < index):
            place.error(f"metrics.{index}.id", "bad-name", f"{show(name)} is no id, or is there twice",
                        "a lower-case letter, then letters, digits and _")  # fmt: skip
        if (one.get("metric_stat") is None) is (one.get("expression") is None):
            place.error(f"metrics.{index}", "exactly-one", "exactly one of metric_stat and expression is wanted",
                        "a query gets a metric, or computes with others")  # fmt: skip
    watched = [one for one in metrics if isinstance(one, dict) and one.get("return_data") is not False]
    if len(watched) != 1:
        place.error("metrics", "exactly-one", f"{len(watched)} queries return data; the alarm watches one",
                    "write `return_data: false` in the others")  # fmt: skip


def _check_actions(place: EntryContext, stack: Stack) -> None:
    """ARNs must be of the alarm's region; a name is that of a declared topic."""
    for key in ACTIONS:
        for index, text in enumerate(place.values.get(key) or ()):
            if not isinstance(text, str) or ":" not in text:
                continue
            parts = text.split(":", 5)
            if len(parts) < 6 or parts[0] != "arn" or parts[1] != stack.partition:
                place.error(f"{key}.{index}", "bad-arn", f"{show(text)} is no ARN of {stack.partition}",
                            "write the ARN of a topic, or the name of a declared one")  # fmt: skip
            elif parts[3] not in ("", place.region):
                place.error(
                    f"{key}.{index}", "wrong-region", f"{show(text)} is in {parts[3]}, and the alarm in {place.region}",
                    "CloudWatch takes actions of the alarm's region; write ${region} in the ARN",
                )  # fmt: skip


def _check_blocks(place: EntryContext, values: Mapping[str, Any]) -> None:
    window = values.get("evaluation_window")
    if isinstance(window, dict) and len([one for one in window.values() if one is not None]) > 1:
        place.error("evaluation_window", "exactly-one", "an alarm has one window", "keep one of the two")
    spread = (values.get("action_configuration") or {}).get("alarm_tags_propagation")
    if isinstance(spread, dict) and spread.get("included_tag_keys") and spread.get("excluded_tag_keys"):
        place.error("action_configuration.alarm_tags_propagation", "exactly-one",
                    "included_tag_keys and excluded_tag_keys exclude each other", "keep one of the two")  # fmt: skip
