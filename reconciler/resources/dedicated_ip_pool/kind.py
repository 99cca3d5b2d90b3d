"""Dedicated IP pools: what their declaration cannot say.

A STANDARD pool holds leased addresses, which move from pool to pool one by one. SES refuses to delete a pool that holds
addresses: they are moved to the default pool first, and stay leased.

Source: SES v2 API reference, PutDedicatedIpInPool; SES Developer Guide, "Dedicated IP addresses (managed)" and
"Assigning IP pools".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.errors import DENIED, AwsError
from reconciler.kinds.kind import Runtime, Step, needs_of
from reconciler.kinds.ownership import owner_of
from reconciler.kinds.plain import PlainKind, Request
from reconciler.kinds.snapshot import Snapshot
from reconciler.model import Address, Change, Desired, Document, Note, Observed
from reconciler.resources.dedicated_ip_pool import DEFAULT_POOL, SPEC

if TYPE_CHECKING:
    from reconciler.aws import Aws


KEY = "dedicated_ips"


class DedicatedIpPool(PlainKind):
    def read(self, aws: Aws, region: str, name: str, snapshot: Snapshot | None = None) -> Observed | None:
        """A pool; with its addresses where they are declared, or have to leave one of ours that is deleted. One of
        nobody, which is imported, does without where they may not be read."""
        live = super().read(aws, region, name, snapshot)
        desired = snapshot.desired.get(SPEC.address_of(region, name)) if snapshot is not None else None
        if snapshot is None or desired is not None:
            return self._with_addresses(aws, live, asked=desired is not None and KEY in desired.spec)
        try:
            return self._with_addresses(aws, live, asked=True)
        except AwsError as error:
            if error.aws_code not in DENIED or (live is not None and owner_of(live.tags)):
                raise
        return self._with_addresses(aws, live, asked=False)

    def read_again(self, aws: Aws, change: Change) -> Observed | None:
        written = {**(change.before or {}), **(change.after or {})}
        return self._with_addresses(aws, super().read_again(aws, change), KEY in written)

    def _with_addresses(self, aws: Aws, live: Observed | None, asked: bool) -> Observed | None:
        """``live`` with the addresses of a STANDARD pool, or without saying that it has none."""
        if live is None or live.spec["scaling_mode"] != "STANDARD":
            return live
        if not asked:
            return replace(live, spec={key: value for key, value in live.spec.items() if key != KEY})
        listed = aws.pages("sesv2", "GetDedicatedIps", "DedicatedIps", str(live.region), PoolName=live.name)
        return replace(live, spec={**live.spec, KEY: sorted(item["Ip"] for item in listed)})

    def reread(self, aws: Aws, change: Change) -> str | None:
        """The fingerprint as it is now, as if the pools of this plan had not yet taken addresses from each other."""
        live = self.read(aws, *self._place(change))
        if live is not None and live.digest != change.observed_digest:  # the plan has read its addresses, too
            live = self._with_addresses(aws, live, asked=True)
        if live is None or KEY not in live.spec:
            return live.digest if live else None
        return replace(live, spec={**live.spec, KEY: sorted({*live.spec[KEY], *_passed_on(change)})}).digest

    def deletion_notes(self, snapshot: Snapshot, live: Observed) -> tuple[Note, ...]:
        return (Note("pool-deleted", "note", "charges for this pool end"),)

    def execution(
        self, snapshot: Snapshot, desired: Desired | None, live: Observed | None, full: Document
    ) -> dict[str, Any]:
        """The addresses that leave for another declared pool (ip -> that pool): the taker moves them, so that they are
        not sent to the default pool behind its back."""
        kept = set(full.get(KEY) or ())
        takers = {
            ip: other.address
            for other in snapshot.kind(self.name)
            if live is not None and other.region == live.region and other.address != live.address
            for ip in other.spec.get(KEY) or ()
        }
        leaving = [ip for ip in (live.spec.get(KEY) or () if live else ()) if ip not in kept]
        found = {ip: takers[ip] for ip in leaving if ip in takers}
        return {"passed_on": found} if found else {}

    def requests(self, change: Change, key: str, value: Any) -> Iterable[Request]:
        if key != KEY:
            yield from super().requests(change, key, value)
            return
        yield from _moves(change, self._place(change)[1], value or ())

    def steps(self, change: Change) -> Iterator[Step]:
        """A pool is deleted after those that take its addresses have them."""
        for step in super().steps(change):
            taken = needs_of(sorted(set(_passed_on(change).values())), "create", "update")
            yield replace(step, needs=(*step.needs, *taken)) if step.label == "delete" else step

    def before_delete(self, rt: Runtime, change: Change) -> None:
        region, name = self._place(change)
        for operation, members in _moves(change, name, ()):
            rt.aws.call("sesv2", operation, region, **members)


def _passed_on(change: Change) -> Mapping[str, Address]:
    found: Mapping[str, Address] = change.execution.get("passed_on") or {}
    return found


def _moves(change: Change, name: str, wanted: Iterable[str]) -> Iterator[Request]:
    """The moves of addresses into the pool, and of those that leave it into the default pool."""
    before = [ip for ip in (change.before or {}).get(KEY) or () if ip not in _passed_on(change)]
    after = list(wanted)
    places = [(ip, name) for ip in after if ip not in before] + [(ip, DEFAULT_POOL) for ip in before if ip not in after]
    for ip, pool in places:
        yield "PutDedicatedIpInPool", {"Ip": ip, "DestinationPoolName": pool}


KIND = DedicatedIpPool(SPEC)
