"""CloudWatch alarms: presets, thresholds that follow SES's quota, and a put that replaces the whole alarm.

PutMetricAlarm resets what it leaves out, so that every field is sent with its live value where nobody declares it. It
does not tell an alarm that exists from a new one; who made one since the plan is seen when it is read again before the
write. Alarms are read a hundred at a time, their tags one by one.

Source: CloudWatch API reference, PutMetricAlarm, DescribeAlarms, DeleteAlarms; SES API v2, SendQuota.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.errors import AwsError
from reconciler.kinds.fields import beyond, desired_value
from reconciler.kinds.kind import Runtime
from reconciler.kinds.plain import SWEEP, PlainKind
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.reading import wanted_addresses
from reconciler.kinds.ses_accounts import account_in
from reconciler.kinds.snapshot import Snapshot
from reconciler.kinds.spelling import to_aws
from reconciler.kinds.tags import tags_from_aws
from reconciler.model import Address, Change, Desired, Diagnostic, Document, Note, Observed, State
from reconciler.resources import holders
from reconciler.resources.cloudwatch_alarm import (
    EXCLUSIVE,
    FORMS,
    NOT_OF_QUERIES,
    PRESETS,
    QUOTA,
    SPEC,
    over_preset,
)

if TYPE_CHECKING:
    from reconciler.aws import Aws

DESCRIBE = "DescribeAlarms"
BATCH = 100
"""The most names of one DescribeAlarms, and of one page of its answer."""
SHOWN = 3


class CloudwatchAlarm(PlainKind):
    more_reads = ("sesv2:GetAccount",)

    def __init__(self) -> None:
        super().__init__(SPEC)
        fields = {key: SPEC.call("Get") for key in SPEC.fields}
        self.read_calls_bulk = {**fields, "tags": SWEEP}

    # -- desired ----------------------------------------------------------------------------------------------------

    def desired(self, state: State) -> Iterable[Desired]:
        for entry in state.section(SPEC.section):
            written = over_preset(entry.values)
            wanted = self.desired_of(replace(entry, values=written), entry.name)
            none = {key: desired_value(SPEC.fields[key], None) for key in _excluded(written)}
            spec = normal({**none, **wanted.spec})
            yield self.with_arns(replace(wanted, spec=spec, entry=entry), state.stack)

    # -- observed ---------------------------------------------------------------------------------------------------

    def observe(self, aws: Aws, snapshot: Snapshot) -> None:
        regions: dict[str, list[str]] = {}
        for address in wanted_addresses(self.name, snapshot):
            region, name = SPEC.located(address)
            regions.setdefault(region, []).append(name)
        jobs = [(r, names[i : i + BATCH]) for r, names in regions.items() for i in range(0, len(names), BATCH)]

        def one(job: tuple[str, list[str]]) -> tuple[str, list[Any], AwsError | None]:
            try:
                return job[0], self._described(aws, *job), None
            except AwsError as error:
                return job[0], [], error

        found: list[tuple[str, Mapping[str, Any]]] = []
        for region, rows, error in aws.parallel(one, jobs, lambda job: job[0]):
            if error is not None:
                snapshot.unreadable(f"{self.name}/{region}", error.message, error.hint)
            found += [(region, row) for row in rows]
        self._take(aws, snapshot, found)
        _follow_quota(aws, snapshot)

    def _described(self, aws: Aws, region: str, names: Sequence[str]) -> list[Any]:
        options: dict[str, Any] = {"AlarmNames": list(names), "MaxRecords": BATCH}
        return list(aws.pages(SPEC.client, DESCRIBE, SPEC.answer, region, **options))

    def _take(self, aws: Aws, snapshot: Snapshot, found: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Put alarms into the snapshot with their tags: after a bulk read those that the sweep has found."""

        def one(job: tuple[str, Mapping[str, Any]]) -> tuple[Address, Observed | None, AwsError | None]:
            region, row = job
            address = SPEC.address_of(region, row[SPEC.key])
            try:
                return address, self._observed(aws, region, row, self.swept_tags(snapshot, address)), None
            except AwsError as error:
                return address, None, error

        for address, live, error in aws.parallel(one, found, lambda job: job[0]):
            if error is not None:
                snapshot.unreadable(address, error.message, error.hint)
            elif live is not None:
                snapshot.observed[address] = live

    def _observed(
        self, aws: Aws, region: str, row: Mapping[str, Any], tags: Mapping[str, str] | None = None
    ) -> Observed | None:
        """One alarm of an answer; None where it is gone before its tags are read."""
        name, swept = row[SPEC.key], tags is not None
        if tags is None:
            stack = aws.stack
            arn = SPEC.arn_of(stack.partition, region, stack.account, name)
            answer = aws.call_if_there(SPEC.client, "ListTagsForResource", region, ResourceARN=arn)
            if answer is None:
                return None
            tags = tags_from_aws(answer.get("Tags"))
        spec = {**normal(self.observed_fields(row)), "tags": dict(tags)}
        since = row.get("StateTransitionedTimestamp") or row.get("StateUpdatedTimestamp")
        facts = {
            "state": row.get("StateValue"),
            "reason": row.get("StateReason"),
            "since": since.isoformat(timespec="seconds") if since else None,
            **({"bulk": True} if swept else {}),
        }
        return Observed(SPEC.address_of(region, name), self.name, region, name, spec, dict(tags), facts)

    def read(self, aws: Aws, region: str, name: str, snapshot: Snapshot | None = None) -> Observed | None:
        rows = self._described(aws, region, [name])
        return self._observed(aws, region, rows[0]) if rows else None

    # -- compared ---------------------------------------------------------------------------------------------------

    def _needs(self, draft: PlanDraft, desired: Desired) -> tuple[Address, ...]:
        """Also the declared set whose mail it watches."""
        found = dict.fromkeys(super()._needs(draft, desired))
        for holder in holders(self.name):
            supplies = [held for held in holder.holds if held.section == SPEC.section]
            for one in _dimensions(desired.spec):
                named = any(one in held.supplied(str(one["value"]), {}).get("dimensions", ()) for held in supplies)
                address = holder.address_of(desired.region or "", str(one["value"]))
                if named and address in draft.snapshot.desired:
                    found[address] = None
        return tuple(found)

    def notes(self, snapshot: Snapshot, desired: Desired, live: Observed | None) -> tuple[Note, ...]:
        found = []
        if live is None:
            found.append(Note("costs", "note", "AWS charges for each alarm by month"))
        share = _share(desired)
        if share is not None and live is not None and desired.spec.get("threshold") != live.spec["threshold"]:
            most = _most(snapshot, desired) or 0
            words = (
                f"SES lets {desired.region} send {most:,.0f} messages in 24 hours: the threshold is {share:.0%} of it"
            )
            found.append(Note("quota-followed", "note", words))
        return tuple(found)

    def statuses(self, snapshot: Snapshot) -> Iterable[Diagnostic]:
        """Alarms that ring, and in one line those that have no data."""
        silent: list[Observed] = []
        for live in sorted(snapshot.live(self.name), key=lambda one: one.address):
            desired = snapshot.desired.get(live.address)
            if desired is None:
                continue
            if live.facts.get("state") == "INSUFFICIENT_DATA":
                silent.append(live)
            if live.facts.get("state") != "ALARM":
                continue
            source, since = desired.entry.source, live.facts.get("since")
            yield Diagnostic(
                "warning", "alarm-rings",
                f"{live.address} is in ALARM{f' since {since}' if since else ''}: {live.facts.get('reason')}",
                "`recon doctor` shows what may have caused it", source.file, source.line, source.column, live.address,
            )  # fmt: skip
        if silent:
            names = ", ".join(dict.fromkeys(one.name for one in silent[:SHOWN]))
            more = f" and {len(silent) - SHOWN} more" if len(silent) > SHOWN else ""
            many = f"{len(silent)} alarm{'' if len(silent) == 1 else 's'}"
            regions = ", ".join(sorted({one.region or "" for one in silent}))
            yield Diagnostic(
                "note", "alarm-no-data", f"{many} of {regions} had no data yet (INSUFFICIENT_DATA): {names}{more}",
                "SES publishes a metric from the first message on; one that is misspelt looks the same",
                address=silent[0].address if len(silent) == 1 else "",
            )  # fmt: skip

    # -- written ----------------------------------------------------------------------------------------------------

    def _body(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What is left out is reset: defaults, empty lists and empty blocks need not be said, and where one is for
        other alarms must not. How missing data counts is said all the same, since CloudWatch shows what was said
        alone, and others (Terraform) compare it."""
        said = {}
        for key, value in values.items():
            field = SPEC.fields[key]
            if field.inner:
                block = beyond(value or {}, field.inner)
                said[key] = block if not field.main or field.main in block else None
            elif value != field.default or field.on_create:
                said[key] = value
        sent = to_aws(without_nothing(said))
        if "EvaluationCriteria" in sent and sent.get("TreatMissingData") == SPEC.fields["treat_missing_data"].default:
            del sent["TreatMissingData"]
        return sent

    def deletion_members(self, rt: Runtime, change: Change) -> Mapping[str, Any]:
        return {"AlarmNames": [self._place(change)[1]]}


def _excluded(written: Document) -> set[str]:
    """The fields that an alarm cannot have beside those that are written: the put must leave out what is live there."""
    said = {key for key, value in written.items() if value not in (None, [], {})}
    found: set[str] = set()
    for form in FORMS:
        if said & form:
            found |= {key for other in FORMS if other is not form for key in other}
    if "evaluation_criteria" in said:
        found |= NOT_OF_QUERIES
    for one, other in EXCLUSIVE:
        found |= {other} if one in said else {one} if other in said else set()
    return found - said


def normal(spec: Document) -> dict[str, Any]:
    """Fields in the form in which they are compared: CloudWatch keeps no order of dimensions and queries, a sliding
    window is the usual one, and of the two windows the one that is not written is none."""
    out = dict(spec)
    if out.get("dimensions") is not None:
        out["dimensions"] = _by_content(out["dimensions"])
    if out.get("metrics"):
        out["metrics"] = _by_content([_query(one) for one in out["metrics"]])
    if "metrics" in out:
        out["metrics"] = out["metrics"] or None
    if out.get("threshold") is not None:
        out["threshold"] = float(out["threshold"])
    window = out.get("evaluation_window")
    if window is not None:
        clock = window.get("wall_clock_window")
        wall = None if clock is None else {"timezone": clock.get("timezone") or "UTC"}
        out["evaluation_window"] = {"wall_clock_window": wall, "sliding_window": None}
    return out


def _query(query: Mapping[str, Any]) -> dict[str, Any]:
    """One of ``metrics``; data is returned where nothing else is said."""
    found = {"return_data": True, **without_nothing(query)}
    stat = found.get("metric_stat") or {}
    dimensions = (stat.get("metric") or {}).get("dimensions")
    if dimensions:
        found["metric_stat"] = {**stat, "metric": {**stat["metric"], "dimensions": _by_content(dimensions)}}
    return found


def _by_content(items: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return sorted((dict(one) for one in items), key=lambda one: json.dumps(one, sort_keys=True))


def without_nothing(value: Any) -> Any:
    """Without fields that are None, or empty, at any depth."""
    if not isinstance(value, Mapping):
        return value
    inner = {key: without_nothing(one) for key, one in value.items()}
    return {key: one for key, one in inner.items() if one not in (None, [], {})}


# --- the quota -----------------------------------------------------------------------------------------------------


def _share(desired: Desired) -> float | None:
    """The share of the region's quota at which an alarm of the preset ``quota`` rings; None for others."""
    values = desired.entry.values
    if values.get("preset") != QUOTA or values.get("threshold_metric_id"):
        return None
    threshold = values.get("threshold")
    return float(PRESETS[QUOTA]["threshold"] if threshold is None else threshold)


def _most(snapshot: Snapshot, desired: Desired) -> float | None:
    """The messages that SES lets the region of an alarm send in 24 hours; -1 without limit."""
    quota = snapshot.ses_accounts.get(desired.region or "", {}).get("SendQuota") or {}
    most = quota.get("Max24HourSend")
    return None if most is None else float(most)


def _dimensions(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The dimensions of an alarm's metric, or of each of its metrics."""
    yield from spec.get("dimensions") or ()
    for one in spec.get("metrics") or ():
        yield from ((one.get("metric_stat") or {}).get("metric") or {}).get("dimensions") or ()


def _follow_quota(aws: Aws, snapshot: Snapshot) -> None:
    """Put the number of messages in the place of the share, for the alarms of the preset ``quota``."""
    following = [one for one in snapshot.kind(SPEC.name) if _share(one) is not None and snapshot.includes(one.address)]
    for one in following:
        status = account_in(aws, snapshot, one.region or "")
        if isinstance(status, AwsError):
            snapshot.unreadable(one.address, status.message, status.hint)
            continue
        most, share = _most(snapshot, one), _share(one) or 0.0
        if most is not None and most >= 0:
            spec = {**one.spec, "threshold": round(share * most, 6)}
            snapshot.desired[one.address] = replace(one, spec=spec)
        elif most is None:
            words = (
                f"{one.address}: SES does not say how much {one.region} may send, so that the share of it is unknown"
            )
            snapshot.unreadable(one.address, words)
        else:
            snapshot.refuse(
                "quota-unlimited", f"{one.address}: SES sets no quota in {one.region}, so that there is no share of it",
                hint="take the alarm out for this region, or write the metric and a number of messages instead of the "
                "preset", address=one.address, source=one.source_of("preset"),
            )  # fmt: skip


KIND = CloudwatchAlarm()
