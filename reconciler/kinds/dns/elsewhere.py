"""Records that a plan takes over although the identity of another stack, in some region, may name them as its own.

A marker stands in the zone and is seen while planning; the tag of an identity is not. So whose they are is asked for
(``ask``) once a plan shows that it changes a live record which nothing of ours names (``doubtful``), and a plan that is
made with the answer refuses (``refuse``).

Source: Resource Groups Tagging API, GetResources (100 ARNs a call; what does not exist is left out of the answer).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from reconciler import regions
from reconciler.errors import AwsError
from reconciler.kinds.dns import marker
from reconciler.kinds.dns.values import NAME
from reconciler.kinds.ownership import RECORDS, owner_of, unpack
from reconciler.kinds.tags import tags_from_aws
from reconciler.kinds.world import World
from reconciler.model import Change

if TYPE_CHECKING:
    from reconciler.aws import Aws

GROUPS = {"_dmarc.": "dmarc", "default._bimi.": "bimi"}
"""The record groups that are taken over whole, by how their names begin."""

FACT = "elsewhere"
"""Where a World keeps the answers: (domain, group) -> (other stack's scope, region), None where none names it."""

_BATCH = 100


def doubtful(world: World, changes: Iterable[Change]) -> dict[str, set[str]]:
    """Domain -> groups that ``changes`` would take over, that nothing of ours names and that were not asked for."""
    wanted: dict[str, set[str]] = {}
    for _, domain, group in _taken_over(changes):
        if (domain, group) not in world.facts.get(FACT, {}):
            wanted.setdefault(domain, set()).add(group)
    for live in world.observed.values():
        if live.kind == "email_identity" and live.name in wanted and owner_of(live.tags) == world.scope:
            wanted[live.name] -= unpack(live.tags, RECORDS)
    for zone in world.zones.values():
        for domain in wanted if zone.loaded else ():
            wanted[domain] -= marker.read((t for _, t in zone.texts(marker.name_for(domain))), world.scope).groups
    return {domain: groups for domain, groups in sorted(wanted.items()) if groups}


def ask(aws: Aws, world: World, wanted: Mapping[str, Iterable[str]]) -> bool:
    """Read into ``world.facts`` whether an identity of another stack names any of ``wanted``: one call a region for 100
    domains. True where a plan would say something else now: another owner was found, or some could not be seen."""
    from reconciler.aws.client import NOT_ENABLED

    answers = world.facts.setdefault(FACT, {})
    answers |= {(domain, group): None for domain, groups in wanted.items() for group in groups}
    domains, stack = list(wanted), world.state.stack
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

    unread: AwsError | None = None
    for items, error in aws.parallel(one, jobs, lambda job: job[0]):
        if error is not None and error.aws_code not in NOT_ENABLED:
            unread = error
        for item in items:
            tags, domain = tags_from_aws(item.get("Tags")), item["ResourceARN"].rpartition(":identity/")[2].lower()
            owner = owner_of(tags)
            if owner is None or owner == world.scope:
                continue
            for group in unpack(tags, RECORDS):
                if (domain, group) in answers:
                    answers[domain, group] = (owner, item["ResourceARN"].split(":")[3])
    if unread is not None:
        words = "whether another stack owns the records that change could not be seen"
        world.say("warning", "others-unread", f"{words}: {unread.message}", hint=unread.hint)
    return unread is not None or any(answers[domain, group] for domain in wanted for group in wanted[domain])


def refuse(world: World, changes: Iterable[Change]) -> None:
    """Refuse each of ``changes`` that would take over what another stack's identity names, as far as it was asked."""
    for change, domain, group in _taken_over(changes):
        found = world.facts.get(FACT, {}).get((domain, group))
        if found is not None:
            stack, region = f'the recon stack "{found[0]}"', found[1]
            world.refuse(
                "owned-elsewhere",
                f"the {group.upper()} of {domain} belongs to {stack}: its identity in {region} says so",
                hint="take it out of this stack's YAML, or release it there first",
                address=change.address,
                source=change.source,
            )


def _taken_over(changes: Iterable[Change]) -> Iterator[tuple[Change, str, str]]:
    """(change, domain, group) of every live record of a group that is taken over whole."""
    for change in changes:
        name = change.address.split("/")[2] if change.kind == NAME and change.action == "update" else ""
        for label, group in GROUPS.items():
            if name.startswith(label):
                yield change, name.removeprefix(label), group
