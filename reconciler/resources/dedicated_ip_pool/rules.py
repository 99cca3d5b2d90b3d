"""Rules about dedicated IP pools: what they cost, and what a change means for sending."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from reconciler.rules import registry
from reconciler.rules.registry import RawFinding
from reconciler.rules.view import RuleView

rule = partial(registry.rule, theme="Dedicated IP pools", example="configuration_set/us-east-1/transactional")

_POOL = "delivery_options.sending_pool_name"


@rule(
    "pool-charges",
    "warning",
    "A dedicated IP pool starts to cost money",
    "SES pricing, Dedicated IPs (managed): monthly charge from creation",
    why="AWS charges for a managed pool from its creation, whether or not mail is sent. A managed pool cannot be "
    "changed back to STANDARD.",
    fix="Nothing needs to be fixed. The finding makes sure that a reviewer sees the charge.",
    example="dedicated_ip_pool/us-east-1/tx",
)
def pool_cost(view: RuleView) -> Iterator[RawFinding]:
    """The plan creates a MANAGED pool, or changes a STANDARD one to MANAGED."""
    for pool in view.resources_after("dedicated_ip_pool"):
        if pool.will("scaling_mode") == "MANAGED" and pool.was("scaling_mode") != "MANAGED":
            yield RawFinding(
                pool.address,
                f"AWS charges for the managed pool {pool.name} in {pool.region} from its creation ($15 a month for the "
                "account, and a price per message)",
                "a managed pool cannot be changed back to STANDARD; deleting it ends the charge",
            )


@rule(
    "pool-empty",
    "warning",
    "A configuration set sends through a pool without addresses",
    "SES Developer Guide, Creating standard dedicated IP pools",
    why="A STANDARD pool has no IP addresses at first. SES does not deliver mail that is sent through an empty pool.",
    fix="Lease addresses and list them under `dedicated_ips`, or use `scaling_mode: MANAGED`.",
)
def pool_empty(view: RuleView) -> Iterator[RawFinding]:
    """A configuration set sends through a STANDARD pool that has no addresses."""
    for resource in view.resources_after("configuration_set"):
        name = resource.will(_POOL)
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
    "A configuration set switches to other sending addresses",
    "SES Developer Guide, Warming up dedicated IP addresses",
    why="Receivers do not know the new IP addresses. They defer or reject a large volume of mail from addresses that "
    "have not been warmed up.",
    fix="Start with a small part of the mail and increase it over weeks. A managed pool warms up automatically.",
)
def pool_switch(view: RuleView) -> Iterator[RawFinding]:
    """A live configuration set switches to another sending pool."""
    for resource in view.resources_after("configuration_set"):
        if resource.alters(_POOL) and resource.will(_POOL) not in (None, "ses-shared-pool"):
            yield RawFinding(
                resource.address,
                f"{resource.name} in {resource.region} switches from {resource.was(_POOL) or 'the shared addresses'} "
                f"to the pool {resource.will(_POOL)}: receivers do not know its addresses",
                "start with a small part of the mail, or let a managed pool warm up automatically",
            )
