"""What AWS refuses a deletion for: read before the plan that shows it, and refused by name.

A deletion that AWS refuses half-way leaves a resource without its parts, and is refused again by every later run. What
blocks it is somebody else's, and is not removed. It costs calls of its own, so it is read only for what a plan deletes.

Source: SES v2 API reference, DeleteTenant and CreateTenantResourceAssociation: an identity, a configuration set or a
template that a tenant has cannot be deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.errors import AwsError
from reconciler.model import Address, Observed
from reconciler.regions import ses_arn
from reconciler.resources import KINDS

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.kinds.kind import BaseKind
    from reconciler.kinds.plan_draft import PlanDraft
    from reconciler.kinds.snapshot import Snapshot

TENANT_READS: Final = ("sesv2:ListTenants", "sesv2:ListResourceTenants")
"""The calls of ``tenants``; checked against no resource."""

_NO_TENANTS: Final = frozenset({"UnknownOperationException"})
"""What SES answers where it has no tenants at all."""


class Obstacle(NamedTuple):
    """One thing that AWS refuses a deletion for, in words, and the command that removes it."""

    what: str
    fix: str


Found = Mapping[Address, tuple[Obstacle, ...] | AwsError]
"""What blocks each deletion, or why that could not be read."""


def read(aws: Aws, snapshot: Snapshot, going: Iterable[Observed], kinds: Mapping[str, BaseKind]) -> None:
    """Read what blocks the deletions of ``going`` into ``snapshot.obstacles``; where that fails the resource is
    unknown, so that its deletion is not planned."""
    by_kind: dict[str, list[Observed]] = {}
    for live in going:
        snapshot.obstacles[live.address] = ()
        by_kind.setdefault(live.kind, []).append(live)
    for kind, some in by_kind.items():
        for address, found in kinds[kind].obstacles(aws, snapshot, some).items():
            if isinstance(found, AwsError):
                words = f"what AWS may refuse its deletion for: {found.message}"
                snapshot.unreadable(address, words, found.hint)
            else:
                snapshot.obstacles[address] = found


def refuse(draft: PlanDraft) -> None:
    """Refuse the deletions of a draft that AWS would refuse."""
    for change in draft.changes:
        found = draft.snapshot.obstacles.get(change.address, ()) if change.action == "delete" else ()
        if found:
            draft.refuse(
                "delete-blocked",
                f"{change.address} cannot be deleted: AWS refuses that while it has {_listed(o.what for o in found)}",
                hint=f"if nobody needs {'that' if len(found) == 1 else 'these'}: {'; '.join(o.fix for o in found)}",
                address=change.address,
            )


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def tenants(aws: Aws, going: Sequence[Observed]) -> dict[Address, tuple[Obstacle, ...] | AwsError]:
    """The tenants that have each of some SES resources. Costs one call a region, and where that has tenants one for
    each resource."""
    by_region: dict[str, list[Observed]] = {}
    for live in going:
        by_region.setdefault(str(live.region), []).append(live)
    found: dict[Address, tuple[Obstacle, ...] | AwsError] = {}

    def any_in(region: str) -> bool | AwsError:
        try:
            return bool(aws.call("sesv2", "ListTenants", region, PageSize=1).get("Tenants"))
        except AwsError as error:
            return error if error.aws_code not in _NO_TENANTS else False

    def of_one(live: Observed) -> tuple[Obstacle, ...] | AwsError:
        region = str(live.region)
        arn = ses_arn(aws.stack.partition, region, aws.stack.account, f"{KINDS[live.kind].arn}/{live.name}")
        try:
            rows = list(aws.pages("sesv2", "ListResourceTenants", "ResourceTenants", region, ResourceArn=arn))
        except AwsError as error:
            return () if error.absent else error
        command = f"aws sesv2 delete-tenant-resource-association --region {region} --resource-arn {arn} --tenant-name"
        names = sorted(str(row["TenantName"]) for row in rows)
        return tuple(Obstacle(f"an association with the tenant {name}", f"{command} {name}") for name in names)

    ask: list[Observed] = []
    places = sorted(by_region)
    for region, there in zip(places, aws.parallel(any_in, places), strict=True):
        if isinstance(there, AwsError):
            found |= dict.fromkeys((live.address for live in by_region[region]), there)
        elif there:
            ask += by_region[region]
    answers = aws.parallel(of_one, ask, lambda live: str(live.region))
    return {**found, **{live.address: answer for live, answer in zip(ask, answers, strict=True)}}
