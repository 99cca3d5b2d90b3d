"""Records that a plan takes over, adopts or deletes, and that another stack's identity in some region may name, too.

A marker is in the zone and is seen while planning; the tag of another stack's identity is not. So their owner is read
(``ask``) once a plan deletes such a record, or changes or adopts one that no tag or marker of ours names
(``doubtful``). The plan that is made with the answer refuses to change what is another's (``refuse``), says so of what
it adopts, and leaves what it would delete to the other stack (``RecordPlan.other_claimants``).

Source: Resource Groups Tagging API, GetResources (100 ARNs a call; what does not exist is left out of the answer).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from reconciler import regions
from reconciler.errors import AwsError
from reconciler.kinds.ownership import RECORDS, may_write, owner_of, unpack
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.snapshot import RecordOwner, Snapshot, Unread
from reconciler.kinds.tags import tags_from_aws
from reconciler.model import ActionName, Change
from reconciler.resources.dns_record import marker
from reconciler.resources.dns_record.values import NAME

if TYPE_CHECKING:
    from reconciler.aws import Aws

GROUPS = {"_dmarc.": "dmarc", "default._bimi.": "bimi"}
"""The record groups that are taken over whole, by how their names begin."""

_BATCH = 100


def doubtful(snapshot: Snapshot, changes: Iterable[Change]) -> dict[str, set[str]]:
    """Domain -> groups that ``changes`` would delete, or take over although no tag or marker of ours names them, not
    asked for so far."""
    wanted: dict[str, set[str]] = {}
    deleted: dict[str, set[str]] = {}
    for change, domain, group in _concerned(changes, "update", "adopt", "delete"):
        if (domain, group) not in snapshot.record_owners:
            (deleted if change.action == "delete" else wanted).setdefault(domain, set()).add(group)
    for live in snapshot.observed.values():
        if live.kind == "email_identity" and live.name in wanted and snapshot.owns(live):
            wanted[live.name] -= unpack(live.tags, RECORDS)
    for zone in snapshot.zones.values():
        for domain in wanted if zone.loaded else ():
            for scope in snapshot.state.stack.scopes:
                wanted[domain] -= marker.read((t for _, t in zone.texts(marker.name_for(domain))), scope).groups
    wanted |= {domain: groups | wanted.get(domain, set()) for domain, groups in deleted.items()}
    return {domain: groups for domain, groups in sorted(wanted.items()) if groups}


def ask(aws: Aws, snapshot: Snapshot, wanted: Mapping[str, Iterable[str]]) -> bool:
    """Read into ``snapshot.record_owners`` whether an identity of another stack names any of ``wanted``.

    Cost: one call a region for 100 domains. True where a plan would say something else now: another owner was found, or
    some could not be seen."""
    answers = snapshot.record_owners
    answers |= {(domain, group): None for domain, groups in wanted.items() for group in groups}
    domains, stack = list(wanted), snapshot.state.stack
    jobs = [
        (
            region,
            [regions.identity_arn(stack.partition, region, stack.account, name) for name in domains[i : i + _BATCH]],
        )
        for region in sorted({*regions.SES_REGIONS, *stack.regions})
        if regions.partition_of(region) == stack.partition
        for i in range(0, len(domains), _BATCH)
    ]

    def one(job: tuple[str, list[str]]) -> tuple[list[Any], AwsError | None]:
        region, arns = job
        try:
            answer = aws.call("resourcegroupstaggingapi", "GetResources", region, ResourceARNList=arns)
        except AwsError as error:
            return [], error
        return list(answer.get("ResourceTagMappingList") or ()), None

    unread: dict[str, AwsError] = {}
    for (region, _), (items, error) in zip(jobs, aws.parallel(one, jobs, lambda job: job[0]), strict=True):
        if error is not None and not error.closed:
            unread[region] = error
        for item in items:
            tags, domain = tags_from_aws(item.get("Tags")), item["ResourceARN"].rpartition(":identity/")[2].lower()
            owner = owner_of(tags)
            if owner is None or may_write(stack, owner):
                continue
            for group in unpack(tags, RECORDS):
                if (domain, group) in answers:
                    answers[domain, group] = RecordOwner(owner, item["ResourceARN"].split(":")[3])
    own = next((unread[region] for region in stack.regions if region in unread), None)
    if own is not None:  # a check that was not made must not look like one that passed
        snapshot.record_owners_unread = Unread("", own.message, own.hint)
    elif unread:  # an outage elsewhere must not block a repair here
        one_of_them = next(iter(unread.values()))
        words = "whether another stack owns the records that change could not be seen everywhere"
        snapshot.say("warning", "others-unread", f"{words}: {one_of_them.message}", hint=one_of_them.hint)
    return bool(unread) or any(answers[domain, group] for domain in wanted for group in wanted[domain])


def refuse(draft: PlanDraft, changes: Iterable[Change]) -> Iterator[tuple[str, str]]:
    """Refuse each of ``changes`` that would take over what another stack's identity names, as far as it was asked, and
    each of which that could not be seen in one of the stack's own regions. Gives (domain, group) of the refused."""
    answers, unread = draft.snapshot.record_owners, draft.snapshot.record_owners_unread
    for change, domain, group in _concerned(changes, "update", "delete"):
        found = answers.get((domain, group))
        if (domain, group) not in answers or (found is None and unread is None):
            continue
        yield domain, group
        if found is not None:
            draft.refuse(
                "owned-elsewhere",
                f'the {group.upper()} of {domain} belongs to the recon stack "{found.scope}": its identity in '
                f"{found.region} says so",
                hint="take it out of this stack's YAML, or release it there first",
                address=change.address,
                source=change.source,
            )
        elif unread is not None:
            draft.refuse(
                "others-unread",
                f"whether another stack owns the {group.upper()} of {domain}, which would be "
                f"{'deleted' if change.action == 'delete' else 'taken over'}, could not be seen: {unread.reason}",
                hint=unread.hint or f"run again, or leave {group} out until that region answers",
                address=change.address,
                source=change.source,
            )


def _concerned(changes: Iterable[Change], *actions: ActionName) -> Iterator[tuple[Change, str, str]]:
    """(change, domain, group) of every live record of a group that is taken over whole, as far as it is one of
    ``actions``."""
    for change in changes:
        name = change.address.split("/")[2] if change.kind == NAME and change.action in actions else ""
        for label, group in GROUPS.items():
            if name.startswith(label):
                yield change, name.removeprefix(label), group
