"""Rules about the settings of the account in a region, and about what AWS lets it send there."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.resources.spec import at_path
from reconciler.rules.account import region_rule
from reconciler.rules.registry import Problem
from reconciler.rules.view import RuleView

_QUOTA_NEAR = 0.8
"""A day that has used this share of its quota may end without mail."""

_VDM_OPTIONS = (
    "vdm_options.dashboard_options.engagement_metrics",
    "vdm_options.guardian_options.optimized_shared_delivery",
)


@region_rule("region-quota-near", "note", "A region has used most of its daily quota")
def quota_near(view: RuleView, region: str) -> Iterator[Problem]:
    """The account has sent at least 80% of the messages that it may send in 24 hours in a region.

    Why: SES refuses every message above the quota until the 24 hours have passed.
    Fix: Request a higher quota in Service Quotas, or send less.
    Source: SES Developer Guide, Managing your sending limits; SES API, GetAccount: SendQuota
    """
    quota = view.accounts[region].get("SendQuota") or {}
    sent, most = float(quota.get("SentLast24Hours") or 0), float(quota.get("Max24HourSend") or 0)
    if most > 0 and sent >= _QUOTA_NEAR * most:
        yield Problem(
            f"{region} has sent {sent:,.0f} of the {most:,.0f} messages that it may send in 24 hours",
            "request a higher quota in Service Quotas",
        )


@region_rule("region-vdm-off", "note", "The Virtual Deliverability Manager is off in a region whose sets use it")
def vdm_off(view: RuleView, region: str) -> Iterator[Problem]:
    """Configuration sets ask for options of the Virtual Deliverability Manager, and the account has it off.

    Why: The options have no effect: there are no metrics, and delivery is not optimized.
    Fix: Write `account: {vdm_attributes: {vdm_enabled: ENABLED}}`, or take `vdm_options` out. AWS charges for each
    message.
    Source: SES Developer Guide, Virtual Deliverability Manager settings
    """
    live = view.resource(f"account/{region}")
    state = at_path(view.accounts[region], "VdmAttributes.VdmEnabled")
    if live is not None and live.after is not None:
        state = live.will("vdm_attributes.vdm_enabled")
    users = [
        one.name for one in view.resources_after("configuration_set")
        if one.region == region and any(one.will(path) == "ENABLED" for path in _VDM_OPTIONS)
    ]  # fmt: skip
    if users and state != "ENABLED":
        many = f"{users[0]} and {len(users) - 1} more" if len(users) > 1 else users[0]
        yield Problem(
            f"the Virtual Deliverability Manager is off in {region}, so that the vdm_options of {many} have no effect",
            "write `account: {vdm_attributes: {vdm_enabled: ENABLED}}`, or take the options out",
        )


@region_rule(
    "region-delivery-global", "note", "Mail may leave through other regions", example="account/eu-west-1"
)  # fmt: skip
def delivery_global(view: RuleView, region: str) -> Iterator[Problem]:
    """A region outside the United States has the delivery mode GLOBAL, and the YAML does not say that it should.

    Why: SES may send from shared IP addresses of other regions, so that mail leaves the region that was chosen for it.
    Accounts that are new to a region have this mode.
    Fix: Write `account: {delivery_attributes: {shared_pool_delivery_mode: REGIONAL}}`, or GLOBAL where that is meant.
    Source: SES API v2, PutAccountDeliveryAttributes: SharedPoolDeliveryMode
    """
    mode = at_path(view.accounts[region], "DeliveryAttributes.SharedPoolDeliveryMode")
    declared = view.desired.get(f"account/{region}")
    said = at_path(declared.spec, "delivery_attributes.shared_pool_delivery_mode") if declared else None
    if mode == "GLOBAL" and said is None and not region.startswith("us-"):
        yield Problem(
            f"mail of {region} may leave from shared IP addresses of other regions (delivery mode GLOBAL)",
            "write `account: {delivery_attributes: {shared_pool_delivery_mode: REGIONAL}}`, or GLOBAL",
        )
