"""Reading what is live: the account guard, the sweep for what is ours, then every kind; into one snapshot.

Source: Resource Groups Tagging API, GetResources (short pages are normal; only an empty PaginationToken ends).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reconciler import regions
from reconciler.aws import opt_in
from reconciler.aws.answers import malformed
from reconciler.errors import NOT_ENABLED, AwsError, Refused
from reconciler.kinds import cloudformation
from reconciler.kinds.listing import doubted, left_out
from reconciler.kinds.ownership import CLOUDFORMATION_NAME, STACK, formerly_of, owner_of
from reconciler.kinds.registry import REGISTRY
from reconciler.kinds.snapshot import ReadScope, Snapshot
from reconciler.kinds.tags import tags_from_aws
from reconciler.model import Address, State
from reconciler.resources import KINDS, REMNANTS, SECTIONS, SWEPT_AS, addresses_of, children, kind_of_arn
from reconciler.resources.dns_record.kind import DnsRecord
from reconciler.rules.context import read_facts

if TYPE_CHECKING:
    from reconciler.aws import Aws

_MOST_REGIONS: Final = 32
"""As many regions are searched at once: more than SES has."""

_Tagged = tuple[str, str, dict[str, str]]
"""A resource that the tagging API lists: its kind (empty: none of ours), name and tags."""


def guard_account(aws: Aws) -> None:
    """Refuse any account but the stack's before the first read (sts GetCallerIdentity needs no permission)."""
    found = aws.account()
    wanted = aws.stack.account
    if found != wanted:
        raise Refused(
            f"your credentials are for account {found}; this stack is for account {wanted}",
            hint="check AWS_PROFILE and stack.role_arn; nothing was read or written",
        )
    if aws.stack.dns_account and (zone_account := aws.account(dns=True)) != aws.stack.dns_account:
        raise Refused(
            f"the credentials for DNS are for account {zone_account}; stack.dns is for {aws.stack.dns_account}",
            hint="check stack.dns.role_arn; nothing was read or written",
        )


def declare(state: State, now: str, *, removing: bool = False) -> Snapshot:
    """A snapshot with what the state desires and nothing read yet."""
    root = Path(state.root)
    snapshot = Snapshot(state, now, removing=removing, root=str(root if root.is_dir() else root.parent))
    for kind in REGISTRY.values():
        for desired in kind.desired(state):
            if removing:
                # Nothing is desired; but what the state names is read, also where the tagging sweep trails behind.
                snapshot.named.setdefault(kind.name, set()).add(desired.address)
            else:
                snapshot.desired[desired.address] = desired
    for one in state.released:
        # Read by name, too: the sweep may trail behind.
        addresses = addresses_of(one.section, one.name, state.stack.regions)
        snapshot.named.setdefault(SECTIONS[one.section][0].name, set()).update(addresses)
    return snapshot


def observe(
    snapshot: Snapshot,
    aws: Aws,
    *,
    sweep: bool = True,
    read_scope: Callable[[Snapshot], ReadScope | None] | None = None,
    without: Container[str] = (),
) -> Snapshot:
    """Read everything that the plan needs into ``snapshot``.

    ``read_scope`` says what targets need, once the sweep has found what is ours; None for everything. ``without`` are
    kinds that are not read. SES, IAM and
    zones are independent limits and are read side by side; a failing read makes its part unknown (``snapshot.unread``)
    and stops nothing else.
    """
    guard_account(aws)
    # A kind is read before those that it holds; records last, since their names are in what the others read.
    chains = [(s.name, *(c.name for c in children(s.name))) for s in KINDS.values() if not s.parent and not s.read_last]

    def chain(names: Iterable[str]) -> None:
        for name in names:
            if name not in without:
                REGISTRY[name].observe(aws, snapshot)

    records = DnsRecord()
    workers = len(chains) + 2 + (min(_MOST_REGIONS, 2 * aws.parallelism) if sweep else 0)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        # What depends on nothing is read first: SES is free while the sweep reads from another service.
        reads = [pool.submit(read_facts, aws, snapshot, live=False)] if read_scope is None else []
        swept = _Sweep(snapshot, aws, pool) if sweep else None
        late: frozenset[Address] = frozenset()
        if swept is not None:
            swept.take_near()
        if read_scope is not None:
            if swept is not None:
                swept.take_far()  # what targets need may be anywhere
            snapshot.read_scope = read_scope(snapshot)
        reads.append(pool.submit(records.observe_declared, aws, snapshot))
        for done in [*reads, *(pool.submit(chain, names) for names in chains)]:
            done.result()
        if swept is not None and read_scope is None:
            late = swept.take_far() - snapshot.observed.keys()
    if late := late | doubted(snapshot):
        # Nobody declares it, so that only the search could find it; or a list that may trail does not have it: read
        # now, as a run with these targets reads.
        scope, snapshot.read_scope = snapshot.read_scope, ReadScope(late)
        for names in chains:
            chain(names)
        snapshot.read_scope = scope
    cloudformation.ask(aws, snapshot)
    records.observe(aws, snapshot)
    _doubt_sweep(snapshot)
    for live in list(snapshot.observed.values()):
        desired = snapshot.desired.get(live.address)
        if desired is not None and snapshot.takes_over(live):
            snapshot.desired[live.address] = replace(desired, entry=replace(desired.entry, takes_over=True))
    for kind in REGISTRY.values():
        kind.after_reading(snapshot)
    read_facts(aws, snapshot, declared=read_scope is not None)  # else that was read at first
    return snapshot


def sweep_owned(snapshot: Snapshot, aws: Aws) -> None:
    """Find what carries our tag in any SES region of the partition, declared or not, and the zones with our markers."""
    with ThreadPoolExecutor(max_workers=_MOST_REGIONS) as pool:
        sweep = _Sweep(snapshot, aws, pool)
        sweep.take_near()
        sweep.take_far()


class _Sweep:
    """The search for what carries our tag: one question to each SES region of the partition, all at once, those first
    in which something is declared; and one for the zones with our markers.

    A region that is not enabled refuses all credentials, and one that the organization denies to the whole account says
    so: neither is the same as unread, since nobody can see or send or delete anything there. What a refusal means where
    nobody can say whether the region is enabled is left to ``refused_regions``. A region in which nothing is declared
    gets little time: one that does not answer must not hold up the others, and is named as unread.
    """

    def __init__(self, snapshot: Snapshot, aws: Aws, pool: ThreadPoolExecutor) -> None:
        stack = snapshot.state.stack
        self.snapshot, self.aws = snapshot, aws
        self.filters = [{"Key": STACK, "Values": list(stack.scopes)}]
        if stacks := cloudformation.names_of(stack):
            self.filters.append({"Key": CLOUDFORMATION_NAME, "Values": stacks})
        self.refusing: dict[str, AwsError] = {}
        self.denied: list[str] = []
        self.failed: list[tuple[str, AwsError]] = []
        near = snapshot.regions
        self.home = regions.home_region(stack.partition)
        places = {*(r for r in regions.SES_REGIONS if regions.partition_of(r) == stack.partition), *near}
        self._near = [pool.submit(self._ask, region, False) for region in sorted(near)]
        self._zones = pool.submit(_sweep_zones, snapshot, aws, self.home)
        self._far = [pool.submit(self._ask, region, True) for region in sorted(places - near)]

    def _ask(self, region: str, brief: bool) -> tuple[str, list[_Tagged], AwsError | None]:
        try:
            types = (*SWEPT_AS, *(REMNANTS if region == self.home else ()))
            items = [i for wanted in self.filters for i in _tagged(self.aws, region, wanted, *types, brief=brief)]
            return region, [_owned(item, region) for item in items], None
        except AwsError as error:
            return region, [], error

    def take_near(self) -> None:
        """Wait for the regions in which something is declared."""
        for future in self._near:
            self._take(*future.result())
        self._zones.result()

    def take_far(self) -> frozenset[Address]:
        """Wait for all others, and say what could not be searched; the addresses of what was found there."""
        before = _found(self.snapshot)
        for future in self._far:
            self._take(*future.result())
        closed, unread, unknown = opt_in.sort_out(self.aws, self.refusing)
        self.failed += [(region, self.refusing[region]) for region in unread]
        self.snapshot.refused |= {region: self.refusing[region].message for region in unknown}
        _say_unswept(self.snapshot, self.failed, opt_in.HINT if unread and self.failed[0][0] in unread else "")
        for there, what in (
            (self.snapshot.swept, f"for resources tagged {STACK}={' or '.join(self.snapshot.state.stack.scopes)}"),
            (closed, "skipped: not enabled for the account"),
            (self.denied, "skipped: denied by a service control policy"),
        ):
            if there:
                self.snapshot.scanned.append(f"{len(there)} regions {what}")
        return _found(self.snapshot) - before

    def _take(self, region: str, found: list[_Tagged], error: AwsError | None) -> None:
        snapshot, stack = self.snapshot, self.snapshot.state.stack
        if error is None:
            snapshot.swept.add(region)
        elif error.closed and region not in stack.regions and error.aws_code in NOT_ENABLED:
            self.refusing[region] = error
        elif error.closed and region not in stack.regions:
            self.denied.append(region)
        else:
            self.failed.append((region, error))
        for kind, name, tags in found:
            spec = KINDS.get(kind)
            address = spec.address_of(*((region,) if spec.regional else ()), name) if spec is not None else ""
            if kind and (owner := formerly_of(stack, tags)):
                snapshot.former[address] = owner
                if snapshot.names(address):
                    snapshot.named.setdefault(kind, set()).add(address)
            elif kind and owner_of(tags) == snapshot.scope:
                snapshot.owned.setdefault(kind, {})[address] = tags


def _found(snapshot: Snapshot) -> frozenset[Address]:
    """What the search has found to be read, so far."""
    return frozenset().union(*snapshot.owned.values(), *snapshot.named.values())


def _say_unswept(snapshot: Snapshot, failed: Sequence[tuple[str, AwsError]], hint: str) -> None:
    """Say in which regions the search failed, and the first reason."""
    if not failed:
        return
    named = ", ".join(region for region, _ in failed[:4])
    more = f" and {len(failed) - 4} more" if len(failed) > 4 else ""
    words = f"what is ours and no longer declared could not be looked for in {named}{more}: {failed[0][1].message}"
    snapshot.unreadable("sweep", words, hint or failed[0][1].hint)


def _doubt_sweep(snapshot: Snapshot) -> None:
    """Take the sweep for unread where it has left out what this run has read with our tag: it may have left out more,
    that nobody declares. Tags are found some minutes after they were written."""
    found = left_out(snapshot)
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        snapshot.unreadable(
            "sweep",
            f"the search for what has our tag left out {', '.join(found[:3])}{more}, which "
            "this run has read with that tag: it may have left out more, that is no longer declared",
            "AWS finds tags some minutes after they were written: plan again later",
        )


def _sweep_zones(snapshot: Snapshot, aws: Aws, home: str) -> None:
    """Find the zones with our markers, and those of former stacks, by the tag that the first puts on its zone."""
    try:
        for scope in snapshot.state.stack.scopes:
            for item in _tagged(aws, home, {"Key": f"recon:{scope}"}, "route53:hostedzone", dns=True):
                snapshot.tagged_zones.setdefault(item["ResourceARN"].rpartition("/")[2], []).append(scope)
    except AwsError as error:
        snapshot.unreadable("sweep", f"zones with markers could not be looked for: {error.message}", error.hint)


def _tagged(
    aws: Aws, region: str, wanted: Mapping[str, Any], *types: str, dns: bool = False, brief: bool = False
) -> Iterable[Mapping[str, Any]]:
    """The resources of some types in ``region`` that carry the tag ``wanted`` (GetResources)."""
    return aws.pages(
        "resourcegroupstaggingapi",
        "GetResources",
        "ResourceTagMappingList",
        region,
        dns=dns,
        brief=brief,
        token_in="PaginationToken",
        TagFilters=[wanted],
        ResourceTypeFilters=list(types),
    )


def _owned(item: Mapping[str, Any], region: str) -> _Tagged:
    """A resource of an answer of the tagging API. Raises AwsError for what is not an ARN."""
    try:
        found = kind_of_arn(item["ResourceARN"])
    except ValueError:
        raise malformed(("resourcegroupstaggingapi", "GetResources", region), "a ResourceARN is not an ARN") from None
    if found is None:
        return "", "", {}
    spec, name = found
    if spec.sections[0].fold and "@" not in name:
        name = name.lower()  # domains ignore case; an address does not
    return spec.name, name, tags_from_aws(item.get("Tags"))
