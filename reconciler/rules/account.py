"""The account in each region: what it may send, and how much."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reconciler.rules.registry import RawFinding, rule
from reconciler.rules.view import RuleView

_LOW_QUOTA = 0.25
"""A secondary region below this share of the primary's quota could not take over."""


def _account(region: str) -> str:
    return f"account/{region}"


def _used_regions(view: RuleView) -> list[str]:
    return [
        region for region in view.accounts if any(i.region == region and i.after is not None for i in view.identities)
    ]


@rule(
    "region-sandbox",
    "warning",
    "A region is still in the SES sandbox",
    "SES Developer Guide, Request production access",
)
def sandbox(view: RuleView) -> Iterator[RawFinding]:
    """Mail only to verified addresses, 200 a day."""
    for region in _used_regions(view):
        if view.accounts[region].get("ProductionAccessEnabled") is False:
            yield RawFinding(
                _account(region),
                f"{region} is in the sandbox: mail goes to verified addresses only, 200 a day",
                "ask for production access in that region's console",
            )


@rule(
    "region-paused",
    "warning",
    "Sending is off in a region",
    "SES API, GetAccount: SendingEnabled and EnforcementStatus SHUTDOWN",
)
def paused(view: RuleView) -> Iterator[RawFinding]:
    """By the account's own switch or by AWS."""
    for region in _used_regions(view):
        account = view.accounts[region]
        if account.get("EnforcementStatus") == "SHUTDOWN":
            yield RawFinding(
                _account(region), f"AWS has shut down sending in {region}", "answer the case in the AWS console"
            )
        elif account.get("SendingEnabled") is False:
            yield RawFinding(
                _account(region), f"sending is paused in {region}", "`recon account resume` starts it again"
            )


@rule("region-probation", "warning", "A region is on probation", "SES Developer Guide, Sending review process")
def probation(view: RuleView) -> Iterator[RawFinding]:
    """AWS watches bounces and complaints and may stop sending."""
    for region in _used_regions(view):
        if view.accounts[region].get("EnforcementStatus") == "PROBATION":
            yield RawFinding(
                _account(region),
                f"{region} is on probation: AWS may stop sending",
                "mend the cause that the AWS case names before sending more",
            )


@rule(
    "region-quota",
    "warning",
    "A region's quota is far below the primary's",
    "SES Developer Guide, Regions: quotas are per region",
)
def quota(view: RuleView) -> Iterator[RawFinding]:
    """It could not take over in a failure."""
    primary = view.state.stack.regions[0] if view.state.stack.regions else ""
    most = _daily(view, primary)
    for region in _used_regions(view):
        mine = _daily(view, region)
        if region != primary and most is not None and mine is not None and 0 <= mine < most * _LOW_QUOTA:
            yield RawFinding(
                _account(region),
                f"{region} may send {mine:.0f} messages a day, {primary} {most:.0f}: it cannot take over",
                "ask for the same quota in Service Quotas",
            )


def _daily(view: RuleView, region: str) -> float | None:
    value: Any = (view.accounts.get(region, {}).get("SendQuota") or {}).get("Max24HourSend")
    return float(value) if isinstance(value, int | float) and value >= 0 else None
