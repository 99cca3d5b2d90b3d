"""CloudFormation, as far as it says what a stack still has: DescribeStacks, ListStackResources, DeleteStack.

Stacks are seeded. A deleted one is found by its id alone, for 90 days; what it retained is DELETE_SKIPPED.

Source: CloudFormation API reference, DescribeStacks, ListStackResources, DeleteStack; User Guide, "DeletionPolicy
attribute".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from reconciler.sandbox.protocol import ApiError, Params, page
from reconciler.sandbox.world import Call, World, moment

PAGE: Final = 100
KEPT_SECONDS: Final = 90 * 86_400.0
"""How long a deleted stack can be described."""


@dataclass(slots=True)
class Stack:
    """One stack; ``resources`` are rows of ListStackResources, with ``Retain`` where the template says so."""

    name: str
    id: str
    created: float
    status: str = "CREATE_COMPLETE"
    deleted: float | None = None
    resources: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class State:
    """The stacks of one account and region, deleted ones among them."""

    stacks: dict[str, Stack] = field(default_factory=dict)


class CloudFormation:
    name = "cloudformation"

    def __init__(self, world: World) -> None:
        self.world = world

    def _state(self, account: str, region: str) -> State:
        return self.world.current("cloudformation", account, region, State)

    def add(self, account: str, region: str, item: Mapping[str, Any]) -> str:
        """Put a stack in place: ``{name, id?, status?, resources?: {logical id: {type, physical_id, retain?}}}``."""
        name, now = item["name"], self.world.clock.now()
        id_ = item.get("id") or f"arn:aws:cloudformation:{region}:{account}:stack/{name}/{self.world.token(12)}"
        rows = [
            {"LogicalResourceId": logical, "PhysicalResourceId": row["physical_id"], "ResourceType": row["type"],
             "LastUpdatedTimestamp": moment(now), "ResourceStatus": "CREATE_COMPLETE",
             "Retain": row.get("retain", False)}
            for logical, row in item.get("resources", {}).items()
        ]  # fmt: skip
        stack = Stack(name, id_, now, resources=rows)
        self._state(account, region).stacks[id_] = stack
        if item.get("status") == "DELETE_COMPLETE":
            _delete(stack, now)
        elif "status" in item:
            stack.status = item["status"]
        return id_

    def _find(self, call: Call, wanted: str) -> Stack | None:
        """By the id, deleted or not; by the name only while it exists."""
        for stack in self._state(call.account, call.region).stacks.values():
            if stack.deleted is not None and call.now - stack.deleted > KEPT_SECONDS:
                continue
            if wanted == stack.id or (wanted == stack.name and stack.deleted is None):
                return stack
        return None

    def _must_find(self, call: Call, params: Params) -> Stack:
        stack = self._find(call, params["StackName"])
        if stack is None:
            raise ApiError("ValidationError", f"Stack with id {params['StackName']} does not exist", 400)
        return stack

    def describe_stacks(self, call: Call, params: Params) -> Params:
        stacks = self._state(call.account, call.region).stacks.values()
        found = [self._must_find(call, params)] if "StackName" in params else [s for s in stacks if s.deleted is None]
        return {
            "Stacks": [
                {"StackName": s.name, "StackId": s.id, "StackStatus": s.status, "CreationTime": moment(s.created)}
                for s in found
            ]
        }

    def list_stack_resources(self, call: Call, params: Params) -> Params:
        rows = [{k: v for k, v in row.items() if k != "Retain"} for row in self._must_find(call, params).resources]
        chosen, token = page(rows, params.get("NextToken"), None, PAGE)
        return {"StackResourceSummaries": chosen, "NextToken": token}

    def delete_stack(self, call: Call, params: Params) -> Params:
        """Succeeds for a stack that does not exist, too."""
        if (stack := self._find(call, params["StackName"])) is not None and stack.deleted is None:
            _delete(stack, call.now)
        return {}


def _delete(stack: Stack, now: float) -> None:
    stack.status, stack.deleted = "DELETE_COMPLETE", now
    for row in stack.resources:
        row["ResourceStatus"] = "DELETE_SKIPPED" if row["Retain"] else "DELETE_COMPLETE"
