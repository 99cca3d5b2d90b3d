"""The SES account in each region: whether it may send, and how much."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from reconciler.rules import registry
from reconciler.rules.registry import RawFinding
from reconciler.rules.view import RuleView

rule = partial(registry.rule, theme="Account, by region", example="account/us-east-1")

_LOW_QUOTA = 0.25
"""A region whose quota is below this share of the primary region's quota could not replace it."""


def _account(region: str) -> str:
    return f"account/{region}"


def _used_regions(view: RuleView) -> list[str]:
    return [region for region in view.accounts if region in view.identity_regions]


@rule(
    "region-sandbox",
    "warning",
    "A region is still in the SES sandbox",
    "SES Developer Guide, Request production access",
    why="In the SES sandbox, mail is sent to verified addresses only, at most 200 messages a day. AWS grants "
    "production access for each region separately.",
    fix="Request production access in the SES console of that region.",
)
def sandbox(view: RuleView) -> Iterator[RawFinding]:
    """The stack has identities in a region that is still in the SES sandbox."""
    for region in _used_regions(view):
        if view.accounts[region].get("ProductionAccessEnabled") is False:
            yield RawFinding(
                _account(region),
                f"{region} is in the SES sandbox: SES sends to verified addresses only, at most 200 messages a day",
                f"request production access in the SES console of {region}",
            )


@rule(
    "region-paused",
    "warning",
    "Sending is off in a region",
    "SES API, GetAccount: SendingEnabled and EnforcementStatus SHUTDOWN",
    why="SES sends nothing from that region, whatever this plan changes.",
    fix="If the account's own switch is off, `recon account resume` turns it on. If AWS stopped sending, reply to the "
    "case in the AWS console.",
)
def paused(view: RuleView) -> Iterator[RawFinding]:
    """Sending is off in a region that the stack uses: the account's own switch is off, or AWS has stopped it."""
    for region in _used_regions(view):
        account = view.accounts[region]
        if account.get("EnforcementStatus") == "SHUTDOWN":
            yield RawFinding(
                _account(region), f"AWS has shut down sending in {region}", "reply to the case in the AWS console"
            )
        elif account.get("SendingEnabled") is False:
            yield RawFinding(
                _account(region), f"sending is paused in {region}", "run `recon account resume` to start it again"
            )


@rule(
    "region-probation",
    "warning",
    "A region is on probation",
    "SES Developer Guide, Sending review process",
    why="The account has too many bounces or complaints. AWS stops sending if that does not improve.",
    fix="Fix the cause that the AWS case names before you send more.",
)
def probation(view: RuleView) -> Iterator[RawFinding]:
    """AWS reports the enforcement status PROBATION for a region that the stack uses."""
    for region in _used_regions(view):
        if view.accounts[region].get("EnforcementStatus") == "PROBATION":
            yield RawFinding(
                _account(region),
                f"{region} is on probation: AWS may stop sending",
                "fix the cause that the AWS case names before you send more",
            )


@rule(
    "region-quota",
    "warning",
    "A region's quota is far below the primary region's",
    "SES Developer Guide, Regions: quotas are per region",
    why="Sending quotas are per region. This region could not replace the primary one in an outage.",
    fix="Request the same quota in Service Quotas before you need it.",
    example="account/eu-west-1",
)
def quota(view: RuleView) -> Iterator[RawFinding]:
    """The daily sending quota of a region is less than a quarter of the quota of the stack's first region."""
    primary = view.state.stack.regions[0] if view.state.stack.regions else ""
    most = _daily(view, primary)
    for region in _used_regions(view):
        mine = _daily(view, region)
        if region != primary and most is not None and mine is not None and 0 <= mine < most * _LOW_QUOTA:
            yield RawFinding(
                _account(region),
                f"{region} may send {mine:.0f} messages a day and {primary} {most:.0f}: {region} cannot replace it",
                "request the same quota in Service Quotas",
            )


def _daily(view: RuleView, region: str) -> float | None:
    value: Any = (view.accounts.get(region, {}).get("SendQuota") or {}).get("Max24HourSend")
    return float(value) if isinstance(value, int | float) and value >= 0 else None
