"""Whether a CloudFormation stack that ``stack.formerly`` names still manages what carries its tags.

Nobody can take these tags off: what a stack retained keeps them for ever. It is taken over where CloudFormation says
that the stack was deleted or does not exist, or that it no longer has the resource.

Source: CloudFormation API, DescribeStacks (a deleted stack is described by its id for 90 days, then it "does not
exist"), ListStackResources; User Guide, "DeletionPolicy attribute" (what is retained is DELETE_SKIPPED).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import AwsError
from reconciler.kinds.ownership import CLOUDFORMATION_ID, CLOUDFORMATION_NAME, STACK
from reconciler.kinds.snapshot import Snapshot
from reconciler.model import CLOUDFORMATION, Observed, Stack

if TYPE_CHECKING:
    from reconciler.aws import Aws

READS: Final = ("cloudformation:DescribeStacks", "cloudformation:ListStackResources")

_LET_GO: Final = frozenset({"DELETE_COMPLETE", "DELETE_SKIPPED"})


def names_of(stack: Stack) -> list[str]:
    """The CloudFormation stacks that ``stack.formerly`` names."""
    return [one.removeprefix(CLOUDFORMATION) for one in stack.formerly if one.startswith(CLOUDFORMATION)]


def ask(aws: Aws, snapshot: Snapshot) -> None:
    """Read into ``snapshot.cloudformation`` what its stack says of each declared resource with tags of a stack that
    ``stack.formerly`` names. Cost: two calls a stack and region. A failed read is a reason not to take it over."""
    names, wanted = names_of(aws.stack), dict[tuple[str, str], list[Observed]]()
    for live in list(snapshot.observed.values()) if names else ():
        if STACK not in live.tags and live.tags.get(CLOUDFORMATION_NAME) in names and snapshot.names(live.address):
            id_ = live.tags.get(CLOUDFORMATION_ID) or live.tags[CLOUDFORMATION_NAME]
            # Of a resource without a region, the id says where the stack is.
            region = live.region or (id_.split(":")[3] if id_.startswith("arn:") else aws.stack.regions[0])
            wanted.setdefault((region, id_), []).append(live)

    def one(place: tuple[str, str]) -> tuple[set[str] | None, str]:
        try:
            return _managed(aws, *place), ""
        except AwsError as error:
            return None, f"whether it still manages it could not be read: {error.message}"

    for (place, found), (managed, problem) in zip(wanted.items(), aws.parallel(one, list(wanted)), strict=True):
        for live in found:
            kept = managed is not None and live.name in managed
            still = (
                f"CloudFormation still has it in {place[0]}: set its DeletionPolicy to Retain, and take it out there"
            )
            snapshot.cloudformation[live.address] = problem or (still if kept else "")


def _managed(aws: Aws, region: str, stack: str) -> set[str]:
    """The names of the resources that a stack, by its id or name, still manages; none where it is gone."""
    try:
        described: Mapping[str, Any] = aws.call("cloudformation", "DescribeStacks", region, StackName=stack)
    except AwsError as error:
        if error.aws_code == "ValidationError" and "does not exist" in error.message:
            return set()
        raise
    if all(one["StackStatus"] in _LET_GO for one in described["Stacks"]):
        return set()
    rows = aws.pages("cloudformation", "ListStackResources", "StackResourceSummaries", region, StackName=stack)
    return {
        str(row.get("PhysicalResourceId") or "").rpartition("/")[2]
        for row in rows
        if row.get("ResourceStatus") not in _LET_GO
    }
