"""Dashboards: a put replaces the body, which is read back as it was sent, and compared as JSON.

Whether the search by tags finds dashboards is not documented: where it leaves out one that was read with the stack's
tag, a plan says so, since one that is no longer declared would not be found either.

Source: CloudWatch API reference, PutDashboard, GetDashboard, DeleteDashboards and TagResource.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.kinds.comparing import replacing
from reconciler.kinds.fields import without_absent
from reconciler.kinds.kind import Runtime
from reconciler.kinds.ownership import owner_of
from reconciler.kinds.plain import PlainKind
from reconciler.kinds.snapshot import Snapshot
from reconciler.kinds.tags import tags_from_aws
from reconciler.model import Change, Desired, Note, Observed, State
from reconciler.resources.cloudwatch_dashboard import SPEC
from reconciler.resources.cloudwatch_dashboard.drawing import body

if TYPE_CHECKING:
    from reconciler.aws import Aws


class CloudwatchDashboard(PlainKind):
    def __init__(self) -> None:
        super().__init__(SPEC)
        self.writes = tuple(dict.fromkeys(self.writes))

    def desired(self, state: State) -> Iterable[Desired]:
        for one in super().desired(state):
            preset = one.entry.values.get("preset")
            yield replace(one, spec={**one.spec, "body": body(str(preset), state)}) if preset else one

    def read(self, aws: Aws, region: str, name: str, snapshot: Snapshot | None = None) -> Observed | None:
        answer = aws.call_if_there("cloudwatch", "GetDashboard", region, DashboardName=name)
        arn = SPEC.arn_of(aws.stack.partition, region, aws.stack.account, name)
        listed = aws.call_if_there("cloudwatch", "ListTagsForResource", region, ResourceARN=arn) if answer else None
        if answer is None or listed is None:
            return None
        tags = tags_from_aws(listed.get("Tags"))
        spec = {"body": _read(answer.get("DashboardBody")), "tags": dict(tags)}
        return Observed(SPEC.address_of(name), self.name, region, name, spec, tags)

    def after_reading(self, snapshot: Snapshot) -> None:
        found = snapshot.owned.get(self.name, {})
        left_out = [
            live.address for live in snapshot.live(self.name)
            if owner_of(live.tags) == snapshot.scope and live.address not in found
        ]  # fmt: skip
        if left_out and snapshot.swept and snapshot.read_scope is None:
            snapshot.say(
                "note", "dashboards-not-swept", f"the search for what has our tag left out {left_out[0]}: dashboards "
                "that are no longer declared may not be found", hint="tags are found some minutes after they were "
                "written; later, `aws cloudwatch list-dashboards` names all there are", address=left_out[0],
            )  # fmt: skip

    def about_mail(self, live: Observed) -> bool:
        return "AWS/SES" in json.dumps(live.spec["body"])

    def kept_items(self, desired: Desired, live: Observed) -> dict[str, Any]:
        """The body is whole: None for what the live one has beside the declared."""
        return {"body": replacing(desired.spec["body"], live.spec["body"])}

    def notes(self, snapshot: Snapshot, desired: Desired, live: Observed | None) -> tuple[Note, ...]:
        words = "AWS charges for each dashboard by month beyond the first three of the account"
        return (Note("costs", "note", words),) if live is None else ()

    def _body(self, values: Mapping[str, Any]) -> dict[str, Any]:
        text = json.dumps(without_absent(values["body"]), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return {"DashboardBody": text}

    def deletion_members(self, rt: Runtime, change: Change) -> Mapping[str, Any]:
        return {"DashboardNames": [self._place(change)[1]]}


def _read(text: str | None) -> Any:
    """A body as JSON; one that is none, as text."""
    try:
        return json.loads(text or "{}")
    except ValueError:
        return text


KIND = CloudwatchDashboard()
