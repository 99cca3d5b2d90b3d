"""Reading what is live: the account guard, the sweep for what is ours, then every kind; into one World.

Source: Resource Groups Tagging API, GetResources (short pages are normal; only an empty PaginationToken ends).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler import regions
from reconciler.aws.answers import odd
from reconciler.errors import AwsError, Refused
from reconciler.kinds import REGISTRY
from reconciler.kinds.base import RECORDS, STACK, Aim, World, owner_of, tags_from_aws, unpack
from reconciler.kinds.dns import marker
from reconciler.kinds.dns_record import DnsRecord
from reconciler.model import Change, Diagnostic, State
from reconciler.rules import bridge

if TYPE_CHECKING:
    from reconciler.aws import Aws

_KIND_OF_ARN = {
    "identity": "email_identity",
    "email-identity": "email_identity",
    "configuration-set": "configuration_set",
    "dedicated-ip-pool": "dedicated_ip_pool",
}


def guard_account(aws: Aws) -> None:
    """Refuse any account but the stack's before the first read (sts GetCallerIdentity needs no permission)."""
    found = aws.account()
    wanted = aws.stack.account
    if found != wanted:
        raise Refused(
            f"the credentials speak for account {found}, but the stack is for {wanted}",
            hint="check AWS_PROFILE and stack.role_arn; nothing was read or written",
        )
    if aws.stack.dns_account and (zone_account := aws.dns_account()) != aws.stack.dns_account:
        raise Refused(
            f"the credentials for DNS speak for account {zone_account}, but stack.dns names {aws.stack.dns_account}",
            hint="check stack.dns.role_arn; nothing was read or written",
        )


def declare(state: State, now: str, *, removing: bool = False) -> World:
    """A World with what the state desires and nothing read yet."""
    world = World(state, now, removing=removing)
    root = Path(state.root)
    world.facts["root"] = str(root if root.is_dir() else root.parent)
    for kind in REGISTRY.values():
        for desired in kind.desired(state):
            if removing:
                # Nothing is desired; but what the state names is read, also where the tagging sweep trails behind.
                world.facts.setdefault("named", {}).setdefault(kind.name, set()).add(desired.address)
            else:
                world.desired[desired.address] = desired
    return world


def observe(world: World, aws: Aws, *, sweep: bool = True, aim: Callable[[World], Aim | None] | None = None) -> World:
    """Read everything that the plan needs into ``world``.

    ``aim`` says what targets need, once the sweep has told what is ours; None for everything. SES, IAM and zones are
    independent limits and are read side by side; a failing read makes its part unknown (``world.unread``) and stops
    nothing else.
    """
    guard_account(aws)
    chains = (
        ("configuration_set", "event_destination"),
        ("dedicated_ip_pool",),
        ("email_identity",),
        ("smtp_user", "smtp_credential"),
    )

    def chain(names: Iterable[str]) -> None:
        for name in names:
            REGISTRY[name].observe(aws, world)

    records = DnsRecord()
    with ThreadPoolExecutor(max_workers=len(chains) + 2) as pool:
        # What hangs on nothing goes first: SES has a turn to give while the sweep asks another service.
        reads = [pool.submit(bridge.read_facts, aws, world, declared=True)] if aim is None else []
        if sweep:
            sweep_owned(world, aws)
        if aim is not None:
            world.aim = aim(world)
        reads.append(pool.submit(records.observe_declared, aws, world))
        for done in [*reads, *(pool.submit(chain, names) for names in chains)]:
            done.result()
    records.observe(aws, world)
    bridge.read_facts(aws, world)
    return world


def sweep_owned(world: World, aws: Aws) -> None:
    """Find what carries our tag in any SES region of the partition, declared or not, and the zones with our markers.

    A region that is not enabled refuses a token that STS has just accepted: that is not the same as unread.
    """
    stack = world.state.stack
    partition = stack.partition
    places = sorted({*(r for r in regions.SES_REGIONS if regions.partition_of(r) == partition), *stack.regions})
    swept, closed, failed = [], [], []

    def one(region: str) -> tuple[str, list[tuple[str, str, dict[str, str]]], AwsError | None]:
        try:
            found = list(
                aws.pages(
                    "resourcegroupstaggingapi",
                    "GetResources",
                    "ResourceTagMappingList",
                    region,
                    token_in="PaginationToken",
                    TagFilters=[{"Key": STACK, "Values": [world.scope]}],
                    ResourceTypeFilters=["ses"],
                )
            )
            return region, [_owned(item, region) for item in found], None
        except AwsError as error:
            return region, [], error

    from reconciler.aws.client import NOT_ENABLED

    for region, found, error in aws.parallel(one, places):
        if error is None:
            swept.append(region)
        elif error.aws_code in NOT_ENABLED and region not in stack.regions:
            closed.append(region)
        else:
            failed.append((region, error))
        for kind, name, tags in found:
            if kind:
                world.owned.setdefault(kind, {})[f"{kind}/{region}/{name}"] = tags
    if failed:
        places_text = ", ".join(region for region, _ in failed[:4]) + (
            f" and {len(failed) - 4} more" if len(failed) > 4 else ""
        )
        world.unreadable(
            "sweep",
            f"what is ours and no longer declared could not be looked for in {places_text}: {failed[0][1].message}",
            failed[0][1].hint,
        )
    if swept:
        world.scanned.append(f"{len(swept)} regions swept for what carries {STACK} = {world.scope}")
    if closed:
        world.scanned.append(f"{len(closed)} regions not enabled for the account")
    home = "us-gov-west-1" if partition == "aws-us-gov" else "us-east-1"
    try:
        marked = aws.pages(
            "resourcegroupstaggingapi",
            "GetResources",
            "ResourceTagMappingList",
            home,
            dns=True,
            token_in="PaginationToken",
            TagFilters=[{"Key": f"recon:{world.scope}"}],
            ResourceTypeFilters=["route53:hostedzone"],
        )
        world.facts["tagged_zones"] = sorted(item["ResourceARN"].rpartition("/")[2] for item in marked)
    except AwsError as error:
        world.unreadable("sweep", f"zones with markers could not be looked for: {error.message}", error.hint)


def _owned(item: Mapping[str, Any], region: str) -> tuple[str, str, dict[str, str]]:
    """A resource that the tagging API lists: its kind (empty: none of ours), name and tags. Raises AwsError for what
    is no ARN."""
    place = item["ResourceARN"].split(":", 5)
    if len(place) < 6:
        raise odd(("resourcegroupstaggingapi", "GetResources", region), "a ResourceARN is no ARN")
    kind_name, _, name = place[5].partition("/")
    kind = _KIND_OF_ARN.get(kind_name, "")
    if kind == "email_identity" and "@" not in name:
        name = name.lower()  # domains ignore case; an address does not
    return kind, name, tags_from_aws(item.get("Tags"))


_GROUPS = {"_dmarc.": "dmarc", "default._bimi.": "bimi"}
"""The record groups that are taken over whole, by how their names begin."""


def owned_elsewhere(world: World, aws: Aws, changes: Iterable[Change]) -> list[Diagnostic]:
    """Errors for records that ``changes`` would take over although another stack's identity names their group.

    A marker stands in the zone and is seen while planning; the tag of an identity in some region is not. So it is asked
    for, one call a region for 100 domains, only where a plan changes a live record that nothing of ours names yet.
    """
    from reconciler.aws.client import NOT_ENABLED

    wanted: dict[str, dict[str, Change]] = {}
    for change in changes:
        name = change.address.split("/")[2] if change.kind == DnsRecord.name and change.action == "update" else ""
        for label, group in _GROUPS.items():
            if name.startswith(label):
                wanted.setdefault(name.removeprefix(label), {})[group] = change
    for live in world.observed.values():
        if live.kind == "email_identity" and live.name in wanted and owner_of(live.tags) == world.scope:
            for group in unpack(live.tags, RECORDS):
                wanted[live.name].pop(group, None)
    for zone in world.zones.values():
        for domain in wanted if zone.loaded else ():
            for group in marker.read((t for _, t in zone.texts(marker.name_for(domain))), world.scope).groups:
                wanted[domain].pop(group, None)
    domains = sorted(domain for domain, groups in wanted.items() if groups)
    if not domains:
        return []
    stack = world.state.stack
    jobs = [
        (region, [regions.identity_arn(stack.partition, region, stack.account, name) for name in domains[i : i + 100]])
        for region in sorted({*regions.SES_REGIONS, *stack.regions})
        if regions.partition_of(region) == stack.partition
        for i in range(0, len(domains), 100)
    ]

    def one(job: tuple[str, list[str]]) -> tuple[list[Any], AwsError | None]:
        region, arns = job
        try:
            answer = aws.call("resourcegroupstaggingapi", "GetResources", region, ResourceARNList=arns)
        except AwsError as error:
            return [], error
        return list(answer.get("ResourceTagMappingList") or ()), None

    found: dict[str, Diagnostic] = {}
    for items, error in aws.parallel(one, jobs, lambda job: job[0]):
        if error is not None and error.aws_code not in NOT_ENABLED:
            # A guard that is off must not look like one that passed.
            first = wanted[domains[0]]
            what = f"the {' and '.join(map(str.upper, sorted(first)))} of {domains[0]}"
            more = f" and {len(domains) - 1} more" if len(domains) > 1 else ""
            found.setdefault("unread", Diagnostic(
                "error", "others-unread", f"whether another stack owns {what}{more}, which would be taken over, could "
                f"not be seen: {error.message}",
                error.hint or "allow tag:GetResources there, or leave these records out until it is allowed",
                address=next(iter(first.values())).address,
            ))  # fmt: skip
        for item in items:
            tags, domain = tags_from_aws(item.get("Tags")), item["ResourceARN"].rpartition(":identity/")[2].lower()
            owner = owner_of(tags)
            for group in unpack(tags, RECORDS) if owner is not None and owner != world.scope else ():
                taken = wanted.get(domain, {}).get(group)
                if taken is not None:
                    source = taken.source
                    found[taken.address] = Diagnostic(
                        "error", "owned-elsewhere",
                        f'the {group.upper()} of {domain} belongs to the recon stack "{owner}": its identity in '
                        f"{item['ResourceARN'].split(':')[3]} says so",
                        "take it out of this stack's YAML, or release it there first",
                        source.file if source else "", source.line if source else 0, address=taken.address,
                    )  # fmt: skip
    return list(found.values())
