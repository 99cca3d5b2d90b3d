"""Records that a plan takes over, adopts or deletes, and that the tags of another stack's resource may name, too.

A marker is in the zone and is seen while planning; the tags of another stack's identities and sets are not. So they are
read (``ask``) once a plan deletes a record of a group that such tags name (``RecordGroup``), or changes or adopts one
that no tag or marker of ours names (``doubtful``). The plan that is made with the answer refuses to change what is
another's (``refuse``), says so of what it adopts, and leaves what it would delete to the other stack
(``RecordPlan.other_claimants``).

Source: Resource Groups Tagging API, GetResources (100 ARNs a call; what does not exist is left out of the answer).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from reconciler import regions
from reconciler.errors import AwsError
from reconciler.kinds.ownership import RECORDS, may_write, named, owner_of, unpack
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.reading import Reader
from reconciler.kinds.snapshot import RecordOwner, Snapshot, Unread
from reconciler.kinds.tags import tags_from_aws
from reconciler.model import ActionName, Address, Change, address_parts
from reconciler.resources import KINDS, RECORD_GROUPS, kind_of_arn
from reconciler.resources.dns_record.values import NAME
from reconciler.resources.spec import at_path

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.kinds.kind import BaseKind

GroupRecord = tuple[str, str]
"""The name of a record, and its group."""

_BATCH = 100


def doubtful(snapshot: Snapshot, changes: Iterable[Change]) -> set[GroupRecord]:
    """The records that ``changes`` would delete, or take over although no tag or marker of ours names them, not asked
    for so far."""
    return {one for _, one in _concerned(changes, "update", "adopt", "delete")} - snapshot.record_owners.keys()


def ask(aws: Aws, snapshot: Snapshot, wanted: Iterable[GroupRecord], kinds: Mapping[str, BaseKind]) -> bool:
    """Read into ``snapshot.record_owners`` whether the tags of another stack's resource name any of ``wanted``.

    Cost: one call a region for 100 resources that can have such records; where tags alone say which can have one, one
    for 100 that have any. True where a plan would say something else now: another owner was found, or some could not
    be seen."""
    answers, stack = snapshot.record_owners, snapshot.state.stack
    wanted = sorted(wanted)
    answers |= dict.fromkeys(wanted)
    partition = stack.partition
    everywhere = {*regions.SES_REGIONS, *stack.regions}
    places = sorted(region for region in everywhere if regions.partition_of(region) == partition)
    jobs = [(region, query) for region in places for query in _queries(wanted, partition, region, stack.account)]

    def one(job: tuple[str, dict[str, Any]]) -> tuple[dict[GroupRecord, RecordOwner | Unread], AwsError | None]:
        region, query = job
        found: dict[GroupRecord, RecordOwner | Unread] = {}
        try:
            pages = aws.pages(
                "resourcegroupstaggingapi", "GetResources", "ResourceTagMappingList", region,
                token_in="PaginationToken", **query,
            )  # fmt: skip
            for item in pages:
                found |= _named_by(aws, snapshot, item, region, kinds, wanted)
        except AwsError as error:
            return {}, error
        return found, None

    unread: dict[str, AwsError] = {}
    for (region, _), (found, error) in zip(jobs, aws.parallel(one, jobs, lambda job: job[0]), strict=True):
        if error is not None and not error.closed:
            unread[region] = error
        answers |= {key: owner for key, owner in found.items() if not isinstance(answers[key], RecordOwner)}
    own = next((unread[region] for region in stack.regions if region in unread), None)
    if own is not None:  # a check that was not made must not look like one that passed
        answers |= {key: Unread("", own.message, own.hint) for key in wanted if answers[key] is None}
    elif unread:  # an outage elsewhere must not block a repair here
        one_of_them = next(iter(unread.values()))
        words = "whether another stack owns the records that change could not be seen everywhere"
        snapshot.say("warning", "others-unread", f"{words}: {one_of_them.message}", hint=one_of_them.hint)
    return bool(unread) or any(answers[key] for key in wanted)


def _queries(wanted: Iterable[GroupRecord], partition: str, region: str, account: str) -> Iterator[dict[str, Any]]:
    """What to ask GetResources in a region for the tags of all that could name any of ``wanted``."""
    arns: set[str] = set()
    by_tag: set[str] = set()
    for record, group_name in wanted:
        spec, group = RECORD_GROUPS[group_name]
        names = group.resources_of(record)
        arns |= {spec.arn_of(partition, region, account, name) for name in names}
        by_tag |= set() if names else {f"ses:{spec.arn}"}
    listed = sorted(arns)
    yield from ({"ResourceARNList": listed[i : i + _BATCH]} for i in range(0, len(listed), _BATCH))
    if by_tag:
        yield {"TagFilters": [{"Key": RECORDS}], "ResourceTypeFilters": sorted(by_tag)}


def _named_by(
    aws: Aws,
    snapshot: Snapshot,
    item: Mapping[str, Any],
    region: str,
    kinds: Mapping[str, BaseKind],
    wanted: Iterable[GroupRecord],
) -> dict[GroupRecord, RecordOwner | Unread]:
    """Which of ``wanted`` the tags of a resource of another stack name. Where a tag is missing, as an earlier recon
    left it, what AWS shows is read; and where that cannot be read, it may be any."""
    tags, kind = tags_from_aws(item.get("Tags")), kind_of_arn(item["ResourceARN"])
    owner = owner_of(tags)
    if kind is None or owner is None or may_write(snapshot.state.stack, owner):
        return {}
    spec, name = kind
    address = spec.address_of(region, name)
    found: dict[GroupRecord, RecordOwner | Unread] = {}
    for group in [one for one in spec.records if one.name in unpack(tags, RECORDS)]:
        mine = {record for record, of in wanted if of == group.name}
        listed = unpack(tags, group.listed) if group.listed else frozenset()
        if group.listed and not listed and mine:
            reader = kinds[spec.name]
            try:
                live = reader.read(aws, region, name) if isinstance(reader, Reader) else None
            except AwsError as error:
                words = f"{address} of {named(owner)} has no tag {group.listed}, and {error.message}"
                found |= {(record, group.name): Unread("", words, error.hint) for record in mine}
                continue
            shown = at_path(live.spec, group.shown) if live is not None else None
            listed = frozenset([shown] if shown else ())
        for record in mine.intersection(group.record_names(name.lower(), listed)):
            found[record, group.name] = RecordOwner(owner, address)
    return found


def refuse(draft: PlanDraft, changes: Iterable[Change]) -> Iterator[tuple[Address, str]]:
    """Refuse each of ``changes`` that would take over what another stack's tags name, as far as it was asked, and each
    of which that could not be seen in the stack's own regions. Gives (address, group) of the refused."""
    for change, (record, group) in _concerned(changes, "update", "delete"):
        found = draft.snapshot.record_owners.get((record, group))
        domain = _domain_of(record, group)
        what = f"the {RECORD_GROUPS[group][1].words} of {domain}"
        if isinstance(found, RecordOwner):
            spec = KINDS[address_parts(found.address).kind]
            region, name = spec.located(found.address)
            thing = spec.words if name == domain else f"{spec.words} {name}"
            code, words = "owned-elsewhere", f"{what} belongs to {named(found.scope)}: its {thing} in {region} says so"
            hint = "take it out of this stack's YAML, or release it there first"
        elif found is not None:
            verb = "deleted" if change.action == "delete" else "taken over"
            code, hint = "others-unread", found.hint or f"run again, or leave {group} out until that can be read"
            words = f"whether another stack owns {what}, which would be {verb}, could not be seen: {found.reason}"
        else:
            continue
        yield change.address, group
        draft.refuse(code, words, hint=hint, address=change.address, source=change.source)


def _concerned(changes: Iterable[Change], *actions: ActionName) -> Iterator[tuple[Change, GroupRecord]]:
    """Every live record among ``changes`` that other stacks' tags may name, as far as it is one of ``actions``."""
    for change in changes:
        if change.kind == NAME and change.action in actions:
            for group in change.execution.get("may_be_others", ()):
                yield change, (str(change.execution.get("name")), group)


def _domain_of(record: str, group_name: str) -> str:
    """Whose record it is, for people: the domain, or the name of the record itself where that does not say it."""
    _, group = RECORD_GROUPS[group_name]
    names = () if group.below else group.resources_of(record)
    return names[0] if names else record
