"""SES dedicated IP pool: the addresses that a configuration set sends from.

Managed:  scaling mode, the dedicated IPs of a STANDARD pool, tags.
Reads:    sesv2 GetDedicatedIpPool, ListTagsForResource (the pool's answer carries no tags), GetDedicatedIps where the
          YAML lists addresses or the pool is to be deleted.
Writes:   CreateDedicatedIpPool, PutDedicatedIpPoolScalingAttributes (STANDARD to MANAGED only), PutDedicatedIpInPool.
Source:   SES v2 API reference; SES Developer Guide, "Dedicated IP addresses (managed)" and "Assigning IP pools".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from reconciler.errors import AwsError
from reconciler.kinds.changes import alteration, creation, deletion
from reconciler.kinds.comparing import differences, overlay, project, touches
from reconciler.kinds.kind import Runtime, Step, needs_of, ses_arn
from reconciler.kinds.ownership import PROTECT, claim_or_refuse, owner_of, protected
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.reading import Reader, read_each, referenced, wanted_addresses
from reconciler.kinds.shape import TEXT_MAP, TEXTS
from reconciler.kinds.snapshot import Snapshot
from reconciler.kinds.tags import (
    entry_tags,
    plan_tags,
    present,
    put_tags,
    release_tags,
    tag_phases,
    tags_from_aws,
    tags_to_aws,
)
from reconciler.model import Address, Change, Desired, Document, Note, Observed, State

if TYPE_CHECKING:
    from reconciler.aws import Aws

NAME = "dedicated_ip_pool"
DEFAULT_POOL = "ses-default-dedicated-pool"
"""Where SES keeps leased addresses that are in no pool of the user's ("Assigning IP pools")."""


def address_of(region: str, name: str) -> Address:
    return f"{NAME}/{region}/{name}"


class DedicatedIpPool(Reader):
    name = NAME
    reads = ("sesv2:GetDedicatedIpPool", "sesv2:ListTagsForResource", "sesv2:GetDedicatedIps")
    writes = (
        "sesv2:CreateDedicatedIpPool",
        "sesv2:PutDedicatedIpPoolScalingAttributes",
        "sesv2:PutDedicatedIpInPool",
        "sesv2:TagResource",
        "sesv2:UntagResource",
        "sesv2:DeleteDedicatedIpPool",
    )

    read_calls: ClassVar[Mapping[str, str]] = {
        "scaling_mode": "sesv2:GetDedicatedIpPool",
        "dedicated_ips": "sesv2:GetDedicatedIps",
        "tags": "sesv2:ListTagsForResource",
    }

    # -- desired ----------------------------------------------------------------------------------------------------

    def desired(self, state: State) -> Iterable[Desired]:
        for entry in state.section("dedicated_ip_pools"):
            region = entry.region or ""
            spec: dict[str, Any] = {}
            if "scaling_mode" in entry.values:
                spec["scaling_mode"] = entry.values["scaling_mode"] or "STANDARD"
            if "dedicated_ips" in entry.values:
                spec["dedicated_ips"] = sorted(entry.values["dedicated_ips"] or [])
            spec["tags"] = entry_tags(entry)
            yield Desired(
                address_of(region, entry.name),
                NAME,
                region,
                entry.name,
                spec,
                entry,
                protect=bool(entry.values.get("protect")),
            )

    # -- observed ---------------------------------------------------------------------------------------------------

    def observe(self, aws: Aws, snapshot: Snapshot) -> None:
        read_each(self, aws, snapshot, [*wanted_addresses(NAME, snapshot), *referenced(NAME, snapshot)])

    def read(self, aws: Aws, region: str, name: str, snapshot: Snapshot | None = None) -> Observed | None:
        """One live pool with its tags and, for a STANDARD pool, its addresses; None where it does not exist."""
        found = aws.call_if_there("sesv2", "GetDedicatedIpPool", region, PoolName=name)
        if found is None:
            return None
        answer = found["DedicatedIpPool"]
        arn = f"arn:{aws.stack.partition}:ses:{region}:{aws.stack.account}:dedicated-ip-pool/{name}"
        tags = tags_from_aws(aws.call("sesv2", "ListTagsForResource", region, ResourceArn=arn).get("Tags"))
        mode = answer.get("ScalingMode") or "STANDARD"
        spec: dict[str, Any] = {"scaling_mode": mode, "dedicated_ips": [], "tags": dict(tags)}
        if mode == "STANDARD":
            listed = aws.pages("sesv2", "GetDedicatedIps", "DedicatedIps", region, PoolName=name)
            spec["dedicated_ips"] = sorted(item["Ip"] for item in listed)
        return Observed(address_of(region, name), NAME, region, name, spec, tags)

    def reread(self, aws: Aws, change: Change) -> str | None:
        """The fingerprint as it is now, as if the pools of this plan had not yet taken addresses from each other."""
        _, region, name = change.address.split("/", 2)
        live = self.read(aws, region, name)
        if live is None:
            return None
        passed_on = change.execution.get("passed_on") or {}
        ips = {*live.spec["dedicated_ips"], *passed_on}
        return replace(live, spec={**live.spec, "dedicated_ips": sorted(ips)}).digest

    # -- compared ---------------------------------------------------------------------------------------------------

    def plan(self, draft: PlanDraft) -> Iterable[Change]:
        snapshot = draft.snapshot
        for address in snapshot.addresses(NAME):
            if snapshot.unknown(address):
                continue
            desired, live = snapshot.desired.get(address), snapshot.observed.get(address)
            change = self._plan_declared(draft, desired, live) if desired else self._plan_delete(draft, live)
            if change is not None:
                yield change

    def _plan_declared(self, draft: PlanDraft, desired: Desired, live: Observed | None) -> Change | None:
        snapshot = draft.snapshot
        extra: dict[str, str | None] = {PROTECT: "true" if desired.protect else None}
        tags = plan_tags(desired.spec["tags"], live.tags if live else {}, snapshot.scope, extra, desired.entry)
        if live is None:
            after = {"scaling_mode": "STANDARD", **desired.spec, "tags": present(tags)}
            return creation(desired, after)
        claim = claim_or_refuse(draft, desired.address, live.tags, desired.entry.source)
        if claim is None:
            return None
        wanted = {**desired.spec, "tags": tags}
        before = project(live.spec, wanted)
        after = overlay(wanted, before)
        diff = differences(before, after, desired=desired)
        if not diff and claim == "ours":
            return None
        mode = desired.spec.get("scaling_mode", live.spec["scaling_mode"])
        if live.spec["scaling_mode"] == "MANAGED" and mode == "STANDARD":
            draft.refuse(
                "pool-way-back",
                f"{desired.address} is MANAGED and cannot become STANDARD again",
                hint="SES refuses the way back: declare MANAGED, or another pool and move the sets to it",
                address=desired.address,
                source=desired.source_of("scaling_mode"),
            )
            return None
        passed_on = _passed_on(snapshot, live, after.get("dedicated_ips"))
        return alteration(desired, live, before, after, diff, adopts=claim == "adopt", execution=passed_on)

    def _plan_delete(self, draft: PlanDraft, live: Observed | None) -> Change | None:
        snapshot = draft.snapshot
        if live is None or owner_of(live.tags) != snapshot.scope:
            return None
        if protected(draft, live.address, live.tags, "deleted"):
            return None
        users = sorted(
            o.address
            for o in snapshot.observed.values()
            if o.kind == "configuration_set"
            and o.region == live.region
            and (o.spec.get("delivery_options") or {}).get("sending_pool_name") == live.name
        )
        for user in users:
            kept = snapshot.desired.get(user)
            ours = owner_of(snapshot.observed[user].tags) == snapshot.scope
            if kept is None and ours:
                continue  # It goes along.
            block = (kept.spec.get("delivery_options") or {}) if kept else {}
            if block.get("sending_pool_name", live.name) == live.name:
                draft.refuse(
                    "in-use",
                    f"{live.address} would be deleted while {user} still sends from it",
                    hint="give that set another sending_pool_name (or null) first",
                    address=live.address,
                )
                return None
        notes = (Note("pool-deleted", "note", "charges for this pool end"),)
        return deletion(live, notes=notes, depends_on=tuple(users), execution=_passed_on(snapshot, live, ()))

    # -- written ----------------------------------------------------------------------------------------------------

    form: ClassVar[Document] = {
        "after": {"tags": TEXT_MAP},
        "create": {"tags": TEXT_MAP, "scaling_mode": str},
        "fields": {"tags?": TEXT_MAP, "scaling_mode?": (str, None), "dedicated_ips?": TEXTS},
        "execution": {"passed_on?": {"*": str}},
    }

    def steps(self, change: Change) -> Iterable[Step]:
        region, name = change.region or "", change.address.split("/", 2)[2]
        passed_on: Mapping[str, str] = change.execution.get("passed_on") or {}
        if change.action == "delete":
            ips = [ip for ip in (change.before or {}).get("dedicated_ips") or [] if ip not in passed_on]
            takers = sorted(set(passed_on.values()))
            yield Step(
                change.address,
                "delete",
                (*needs_of(change.depends_on, "update", "delete"), *needs_of(takers, "create", "update")),
                lambda rt: _delete(rt, region, name, ips),
                calls=("sesv2:DeleteDedicatedIpPool",),
                region=region,
            )
            return
        after = change.after or {}
        before = change.before or {}
        if change.action == "create":
            yield Step(
                change.address,
                "create",
                (),
                lambda rt: _create(rt, region, name, after),
                calls=(
                    "sesv2:CreateDedicatedIpPool",
                    *("sesv2:PutDedicatedIpInPool",) * len(after.get("dedicated_ips") or []),
                ),
                region=region,
            )
            return
        put, release, drop = tag_phases(change)

        def update(rt: Runtime) -> None:
            if put:
                put_tags(rt, region, f"dedicated-ip-pool/{name}", put)
            if after.get("scaling_mode") not in {None, before.get("scaling_mode")}:
                rt.aws.call(
                    "sesv2",
                    "PutDedicatedIpPoolScalingAttributes",
                    region,
                    PoolName=name,
                    ScalingMode=after["scaling_mode"],
                )
            if after.get("dedicated_ips") is not None:
                left = [ip for ip in before.get("dedicated_ips") or [] if ip not in passed_on]
                _move(rt, region, name, left, after["dedicated_ips"])
            release_tags(rt, region, f"dedicated-ip-pool/{name}", release, drop)

        calls = [
            f"sesv2:{op}"
            for op, there in (
                ("TagResource", put),
                ("PutDedicatedIpPoolScalingAttributes", touches(change, "scaling_mode")),
                ("PutDedicatedIpInPool", touches(change, "dedicated_ips")),
                ("UntagResource", drop),
                ("TagResource", release),
            )
            if there
        ]
        yield Step(change.address, "update", (), update, calls=tuple(calls), region=region)


def _create(rt: Runtime, region: str, name: str, after: Mapping[str, Any]) -> None:
    try:
        rt.aws.call(
            "sesv2",
            "CreateDedicatedIpPool",
            region,
            PoolName=name,
            ScalingMode=after["scaling_mode"],
            Tags=tags_to_aws(after["tags"]),
        )
    except AwsError as error:
        arn = ses_arn(rt, region, f"dedicated-ip-pool/{name}")
        if error.aws_code != "AlreadyExistsException":
            raise
        # Ours if an earlier try took effect and its answer was lost; else somebody was faster.
        live = rt.aws.call("sesv2", "ListTagsForResource", region, ResourceArn=arn)
        if owner_of(tags_from_aws(live.get("Tags"))) != rt.scope:
            raise
    _move(rt, region, name, [], after.get("dedicated_ips") or [])


def _passed_on(snapshot: Snapshot, live: Observed, wanted: Iterable[str] | None) -> dict[str, Any]:
    """The addresses that leave this pool for another declared one (ip -> that pool): the taker moves them, so that
    they are not sent to the default pool behind its back."""
    kept = set(wanted or ())
    takers = {
        ip: other.address
        for other in snapshot.kind(NAME)
        if other.region == live.region and other.address != live.address
        for ip in other.spec.get("dedicated_ips") or ()
    }
    found = {ip: takers[ip] for ip in live.spec["dedicated_ips"] if ip not in kept and ip in takers}
    return {"passed_on": found} if found else {}


def _move(rt: Runtime, region: str, name: str, before: list[str], after: list[str]) -> None:
    for ip in after:
        if ip not in before:
            rt.aws.call("sesv2", "PutDedicatedIpInPool", region, Ip=ip, DestinationPoolName=name)
    for ip in before:
        if ip not in after:
            rt.aws.call("sesv2", "PutDedicatedIpInPool", region, Ip=ip, DestinationPoolName=DEFAULT_POOL)


def _delete(rt: Runtime, region: str, name: str, ips: list[str]) -> None:
    # SES refuses to delete a STANDARD pool that holds addresses; they go back to the default pool and stay leased.
    _move(rt, region, name, ips, [])
    rt.aws.call_if_there("sesv2", "DeleteDedicatedIpPool", region, PoolName=name)


KIND = DedicatedIpPool()
