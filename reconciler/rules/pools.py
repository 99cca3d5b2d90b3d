"""Dedicated IP pools: what they cost, and what a change of them does to sending."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.rules.registry import RawFinding, rule
from reconciler.rules.sets import sets_after
from reconciler.rules.view import RuleView


@rule(
    "pool-charges",
    "warning",
    "A dedicated IP pool begins to cost",
    "SES pricing, Dedicated IPs (managed): monthly charge from creation",
)
def pool_cost(view: RuleView) -> Iterator[RawFinding]:
    """A MANAGED pool is created, or a STANDARD one becomes MANAGED."""
    for pool in view.resources("dedicated_ip_pool"):
        if pool.after is not None and pool.will("scaling_mode") == "MANAGED" and pool.was("scaling_mode") != "MANAGED":
            yield RawFinding(
                pool.address,
                f"the managed pool {pool.name} in {pool.region} costs from its creation on ($15 a month for "
                "the account, and a price a message)",
                "there is no way back to STANDARD; deleting the pool ends the charge",
            )


@rule(
    "pool-empty",
    "warning",
    "A configuration set sends through a pool without addresses",
    "SES Developer Guide, Creating standard dedicated IP pools",
)
def pool_empty(view: RuleView) -> Iterator[RawFinding]:
    """A STANDARD pool starts empty, and mail through it is not delivered."""
    for resource in sets_after(view):
        name = resource.will("delivery_options.sending_pool_name")
        pool = view.resource(f"dedicated_ip_pool/{resource.region}/{name}") if name else None
        if pool is None or pool.after is None or pool.will("scaling_mode") == "MANAGED" or pool.will("dedicated_ips"):
            continue
        yield RawFinding(
            resource.address,
            f"{resource.name} in {resource.region} sends through {name}, a STANDARD pool without addresses",
            "lease addresses and list them under dedicated_ips, or use scaling_mode: MANAGED",
        )


@rule(
    "pool-switch",
    "warning",
    "A stream moves to other sending addresses",
    "SES Developer Guide, Warming up dedicated IP addresses",
)
def pool_switch(view: RuleView) -> Iterator[RawFinding]:
    """Receivers do not know the new addresses yet."""
    path = "delivery_options.sending_pool_name"
    for resource in sets_after(view):
        if resource.alters(path) and resource.will(path) not in (None, "ses-shared-pool"):
            yield RawFinding(
                resource.address,
                f"{resource.name} in {resource.region} moves from "
                f"{resource.was(path) or 'the shared addresses'} to the pool {resource.will(path)}: receivers do not "
                "know its addresses",
                "move a small stream first, or let a managed pool warm up by itself",
            )
