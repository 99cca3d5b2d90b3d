"""Rules about dedicated IP pools: what they cost, and what a change means for sending."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.rules.registry import Problem, RuleFor, resources_after
from reconciler.rules.view import Resource, RuleView

_THEME = "Dedicated IP pools"
pool_rule = RuleFor(resources_after("dedicated_ip_pool"), _THEME, "dedicated_ip_pool/us-east-1/tx")
set_rule = RuleFor(resources_after("configuration_set"), _THEME, "configuration_set/us-east-1/transactional")

_POOL = "delivery_options.sending_pool_name"


@pool_rule("pool-charges", "warning", "A dedicated IP pool starts to cost money")
def pool_cost(view: RuleView, pool: Resource) -> Iterator[Problem]:
    """The plan creates a MANAGED pool, or changes a STANDARD one to MANAGED.

    Why: AWS charges for a managed pool from its creation, whether or not mail is sent. A managed pool cannot be changed
    back to STANDARD.
    Fix: Nothing needs to be fixed. The finding makes sure that a reviewer sees the charge.
    Source: SES pricing, Dedicated IPs (managed): monthly charge from creation
    """
    if pool.will("scaling_mode") == "MANAGED" and pool.was("scaling_mode") != "MANAGED":
        yield Problem(
            f"AWS charges for the managed pool {pool.place} from its creation ($15 a month for the "
            "account, and a price per message)",
            "a managed pool cannot be changed back to STANDARD; deleting it ends the charge",
        )


@set_rule("pool-empty", "warning", "A configuration set sends through a pool without addresses")
def pool_empty(view: RuleView, resource: Resource) -> Iterator[Problem]:
    """A configuration set sends through a STANDARD pool that has no addresses.

    Why: A STANDARD pool has no IP addresses at first. SES does not deliver mail that is sent through an empty pool.
    Fix: Lease addresses and list them under `dedicated_ips`, or use `scaling_mode: MANAGED`.
    Source: SES Developer Guide, Creating standard dedicated IP pools
    """
    name = resource.will(_POOL)
    pool = view.resource(f"dedicated_ip_pool/{resource.region}/{name}") if name else None
    if pool is None or pool.after is None or pool.will("scaling_mode") == "MANAGED" or pool.will("dedicated_ips"):
        return
    if pool.before is not None and "dedicated_ips" not in {**pool.before, **pool.after}:
        return  # its addresses are not declared, and so they were not read
    yield Problem(
        f"{resource.place} sends through {name}, a STANDARD pool without addresses",
        "lease addresses and list them under dedicated_ips, or use scaling_mode: MANAGED",
    )


@set_rule("pool-switch", "warning", "A configuration set switches to other sending addresses")
def pool_switch(view: RuleView, resource: Resource) -> Iterator[Problem]:
    """A live configuration set switches to another sending pool.

    Why: Receivers do not know the new IP addresses. They defer or reject a large volume of mail from addresses that
    have not been warmed up.
    Fix: Start with a small part of the mail and increase it over weeks. A managed pool warms up automatically.
    Source: SES Developer Guide, Warming up dedicated IP addresses
    """
    if resource.alters(_POOL) and resource.will(_POOL) not in (None, "ses-shared-pool"):
        yield Problem(
            f"{resource.place} switches from {resource.was(_POOL) or 'the shared addresses'} "
            f"to the pool {resource.will(_POOL)}: receivers do not know its addresses",
            "start with a small part of the mail, or let a managed pool warm up automatically",
        )
