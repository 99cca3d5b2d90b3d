"""Event rules: a put replaces the whole rule, targets are put one by one and shared with others.

A target is known by its ARN: its Id, which EventBridge wants, says nothing. Those of this stack are in the tag
``recon:parts``; others at the same rule stay. Before a put of targets those that are live are read again, so that
members that nobody declares are sent as they are. A rule can be deleted only without targets.

Source: EventBridge API reference, PutRule, PutTargets, RemoveTargets and DeleteRule.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.errors import AwsError
from reconciler.kinds.comparing import replacing
from reconciler.kinds.fields import without_absent
from reconciler.kinds.kind import Runtime, Step
from reconciler.kinds.ownership import PARTS, takes_along, unpack
from reconciler.kinds.plain import PlainKind, Request
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.snapshot import Snapshot
from reconciler.kinds.tags import tags_from_aws
from reconciler.model import Change, Desired, Document, FieldDiff, Note, Observed, State
from reconciler.resources import KINDS
from reconciler.resources.event_rule import (
    MOST_TARGETS,
    PRESETS,
    SPEC,
    needs_a_trail,
    normal,
    preset_pattern,
    text_of,
)  # fmt: skip

if TYPE_CHECKING:
    from reconciler.aws import Aws

MESSAGE = {"InputTransformer": "input_transformer", "Input": "input", "InputPath": "input_path"}
"""The members of a target that say what it gets: at most one of them."""
TARGETS, TRAIL = "ListTargetsByRule", "cloudtrail"


class EventRule(PlainKind):
    more_reads = (f"{TRAIL}:DescribeTrails", f"{TRAIL}:GetTrailStatus", f"{TRAIL}:GetEventSelectors")

    def __init__(self) -> None:
        super().__init__(SPEC)
        self.writes = tuple(dict.fromkeys((*self.writes, "events:RemoveTargets")))

    # -- desired and observed ---------------------------------------------------------------------------------------

    def desired(self, state: State) -> Iterable[Desired]:
        (people,) = (spec for spec in KINDS.values() if spec.principal == "user")
        users = [entry.name for entry in state.section(people.section)]
        for one in super().desired(state):
            values, spec = one.entry.values, dict(one.spec)
            preset = str(values.get("preset") or "")
            if preset:
                spec["event_pattern"] = preset_pattern(preset, users)
            spec["event_pattern"] = normal(spec.get("event_pattern"))
            message: dict[str, Any] = {}
            if "input_transformer" in values:
                message["input_transformer"] = values["input_transformer"]
            elif preset:
                message["input_transformer"] = PRESETS[preset].transformer()
            if "targets" in spec:
                spec["targets"] = {arn: {"arn": arn, **message} for arn in sorted(spec["targets"] or ())}
            yield replace(one, spec=spec)

    def observe(self, aws: Aws, snapshot: Snapshot) -> None:
        super().observe(aws, snapshot)
        declared = [one for one in snapshot.kind(self.name) if snapshot.includes(one.address)]
        regions = sorted({one.region or "" for one in declared if needs_a_trail(one.spec["event_pattern"])})
        for region, logged in zip(regions, aws.parallel(lambda region: _logged(aws, region), regions), strict=True):
            if logged is not None:
                snapshot.trails[region] = logged

    def read(self, aws: Aws, region: str, name: str, snapshot: Snapshot | None = None) -> Observed | None:
        body = aws.call_if_there("events", "DescribeRule", region, Name=name)
        arn = SPEC.arn_of(aws.stack.partition, region, aws.stack.account, name)
        listed = aws.call_if_there("events", "ListTagsForResource", region, ResourceARN=arn) if body else None
        if body is None or listed is None:
            return None
        live, tags = _targets(aws, region, name), tags_from_aws(listed.get("Tags"))
        pattern = body.get("EventPattern")
        spec = {
            "event_pattern": normal(json.loads(pattern)) if pattern else None,
            "description": body.get("Description") or None,
            "state": body.get("State") or SPEC.fields["state"].default,
            "schedule_expression": body.get("ScheduleExpression") or None,
            "role_arn": body.get("RoleArn") or None,
            "targets": {arn: {"arn": arn, **_message(target)} for arn, target in sorted(live.items())},
            "tags": dict(tags),
        }
        facts = {"managed_by": body.get("ManagedBy") or ""}
        return Observed(SPEC.address_of(region, name), self.name, region, name, spec, tags, facts)

    def as_entry(self, live: Observed) -> Document:
        targets = live.spec["targets"]
        messages = [{key: value for key, value in one.items() if key != "arn"} for one in targets.values()]
        found = {key: live.spec[key] for key, field in SPEC.fields.items() if field.declared}
        found["targets"] = list(targets)
        alike = messages and all(one.keys() <= {"input_transformer"} and one == messages[0] for one in messages)
        message = messages[0].get("input_transformer") if alike else None
        return {**found, "input_transformer": message} if message else found

    # -- compared ---------------------------------------------------------------------------------------------------

    def kept_items(self, desired: Desired, live: Observed) -> dict[str, Any]:
        """With None for what the live pattern and messages have beside what is declared: both are whole."""
        found = super().kept_items(desired, live)
        found["event_pattern"] = replacing(desired.spec["event_pattern"], live.spec["event_pattern"])
        for arn, item in (found.get("targets") or {}).items():
            if item is not None and "input_transformer" in item:
                found["targets"][arn] = replacing(item, live.spec["targets"].get(arn))
        return found

    def allowed(self, draft: PlanDraft, desired: Desired, live: Observed | None, diff: Sequence[FieldDiff]) -> bool:
        source = desired.entry.source
        if live is not None and live.facts["managed_by"]:
            draft.refuse(
                "managed-rule", f"{desired.address} belongs to {live.facts['managed_by']}, and AWS lets nobody else "
                "change it", hint="choose another name", address=desired.address, source=source,
            )  # fmt: skip
        wanted = {*(desired.spec.get("targets") or ())}
        if live is not None:
            gone = {arn for arn, item in (self.kept_items(desired, live).get("targets") or {}).items() if item is None}
            wanted |= {*live.spec["targets"]} - gone
        if len(wanted) > MOST_TARGETS:
            draft.refuse(
                "too-many-targets", f"{desired.address} would have {len(wanted)} targets, those of others among them; "
                f"EventBridge allows {MOST_TARGETS}", hint="have one topic tell the others, or make a second rule",
                address=desired.address, source=desired.source_of("targets"),
            )  # fmt: skip
        return True

    def notes(self, snapshot: Snapshot, desired: Desired, live: Observed | None) -> tuple[Note, ...]:
        if live is not None and live.spec["state"] == "DISABLED" and desired.spec["state"] != "DISABLED":
            message = "the rule is disabled, and this enables it again: write `state: DISABLED` to leave it off"
            return (Note("rule-enabled", "warning", message),)
        return ()

    def deletion_notes(self, snapshot: Snapshot, live: Observed) -> tuple[Note, ...]:
        ours = unpack(live.tags, PARTS)
        return takes_along((arn for arn in live.spec["targets"] if f"targets.{arn}" not in ours), "target")

    # -- written ----------------------------------------------------------------------------------------------------

    def requests(self, change: Change, key: str, value: Any) -> Iterable[Request]:
        """Targets to put and to remove; those that go make room first where the rule would have too many."""
        before, after = ((one or {}).get("targets") or {} for one in (change.before, change.after))
        rule = {"Rule": self._place(change)[1]}
        put = {arn: item for arn, item in after.items() if item is not None and before.get(arn) != item}
        gone = [arn for arn, item in after.items() if item is None and before.get(arn) is not None]
        found: list[Request] = []
        if put:
            found.append((SPEC.fields[key].put, {**rule, "Targets": put}))
        if gone:
            found.insert(0 if len(value) > MOST_TARGETS else len(found), ("RemoveTargets", {**rule, "Ids": gone}))
        yield from found

    def send(self, rt: Runtime, change: Change, operation: str, members: Mapping[str, Any]) -> None:
        if operation == SPEC.operation("Update"):
            super().send(rt, change, operation, members)
            return
        region, name = self._place(change)
        if operation == "RemoveTargets":
            gone = [one["Id"] for one in _listed(rt.aws, region, name) if one["Arn"] in members["Ids"]]
            _remove(rt.aws, region, name, gone)
            return
        live = _targets(rt.aws, region, name)
        targets = [_target(arn, item, live.get(arn) or {}) for arn, item in members["Targets"].items()]
        rt.aws.call("events", "PutTargets", region, Rule=name, Targets=targets)

    def _body(self, values: Mapping[str, Any]) -> dict[str, Any]:
        pattern = values.get("event_pattern")
        rest = super()._body({key: value for key, value in values.items() if key != "event_pattern"})
        return {**rest, "EventPattern": text_of(without_absent(pattern))} if pattern else rest

    def _delete_step(self, change: Change) -> Step:
        return replace(super()._delete_step(change), calls=("events:RemoveTargets", SPEC.call("Delete")))

    def before_delete(self, rt: Runtime, change: Change) -> None:
        region, name = self._place(change)
        _remove(rt.aws, region, name, [target["Id"] for target in _listed(rt.aws, region, name)])


def _listed(aws: Aws, region: str, name: str) -> list[Mapping[str, Any]]:
    """All targets of a rule, several of one ARN, too; none where the rule does not exist."""
    try:
        return list(aws.pages("events", TARGETS, "Targets", region, Rule=name))
    except AwsError as error:
        if not error.absent:
            raise
        return []


def _targets(aws: Aws, region: str, name: str) -> dict[str, Mapping[str, Any]]:
    """ARN -> the target as EventBridge has it; of several with one ARN that of recon, else the first by its Id."""
    listed = _listed(aws, region, name)
    listed.sort(key=lambda target: (target["Id"] != _id(target["Arn"]), target["Id"]), reverse=True)
    return {target["Arn"]: target for target in listed}


def _remove(aws: Aws, region: str, name: str, ids: Sequence[str]) -> None:
    if ids:  # what is gone already is no failure
        aws.call_if_there("events", "RemoveTargets", region, Rule=name, Ids=list(ids))


def _id(arn: str) -> str:
    """The Id of a target of ours: always the same for an ARN, so that a put can be repeated."""
    return f"recon-{hashlib.sha256(arn.encode()).hexdigest()[:16]}"


def _message(target: Mapping[str, Any]) -> dict[str, Any]:
    """What a target gets, as the YAML says it; names of parts are kept as they are."""
    found = {ours: target[theirs] for theirs, ours in MESSAGE.items() if target.get(theirs)}
    if given := found.get("input_transformer"):
        paths = {"input_paths_map": dict(given["InputPathsMap"])} if given.get("InputPathsMap") else {}
        found["input_transformer"] = {**paths, "input_template": given["InputTemplate"]}
    return found


def _target(arn: str, item: Document, live: Mapping[str, Any]) -> dict[str, Any]:
    """A target as it is put: what is live of it, with what the change says of its message."""
    found = {"Id": _id(arn), **live, "Arn": arn}
    if "input_transformer" not in item:
        return found
    found = {key: value for key, value in found.items() if key not in MESSAGE}
    message = without_absent(item["input_transformer"] or {})
    if message:
        paths = {"InputPathsMap": message["input_paths_map"]} if message.get("input_paths_map") else {}
        found["InputTransformer"] = {**paths, "InputTemplate": message["input_template"]}
    return found


def _logged(aws: Aws, region: str) -> bool | None:
    """Whether some trail logs calls that change something in a region; None where that could not be read. Costs one
    call, and two more a trail until one is found."""
    unread = False
    try:
        trails = aws.call(TRAIL, "DescribeTrails", region).get("trailList") or ()
    except AwsError:
        return None
    for trail in trails:
        arn = trail.get("TrailARN") or ""
        if not (trail.get("IsMultiRegionTrail") or arn.split(":")[3:4] == [region]):
            continue
        try:
            logs = aws.call(TRAIL, "GetTrailStatus", region, Name=arn).get("IsLogging")
            if logs and _has_changes(aws.call(TRAIL, "GetEventSelectors", region, TrailName=arn)):
                return True
        except AwsError:
            unread = True
    return None if unread else False


def _has_changes(selectors: Mapping[str, Any]) -> bool:
    """Whether selectors of a trail take management events that write; a trail without any takes them."""
    basic, advanced = (selectors.get(key) or () for key in ("EventSelectors", "AdvancedEventSelectors"))
    if not basic and not advanced:
        return True
    if any(one.get("IncludeManagementEvents", True) and one.get("ReadWriteType") != "ReadOnly" for one in basic):
        return True
    for one in advanced:
        equal = {field["Field"]: field.get("Equals") or () for field in one.get("FieldSelectors") or ()}
        if "Management" in equal.get("eventCategory", ()) and "true" not in equal.get("readOnly", ()):
            return True
    return False


KIND = EventRule()
