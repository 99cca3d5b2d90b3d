"""The SES account in each region: whether it may send, and how much."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reconciler.rules.registry import Problem, RuleFor
from reconciler.rules.view import RuleView

region_rule = RuleFor(
    lambda view: ((f"account/{region}", region) for region in view.accounts if region in view.identity_regions),
    "Account, by region", "account/us-east-1",
)  # fmt: skip

account_rule = RuleFor(
    lambda view: ((f"account/{region}", region) for region in view.accounts), "Account, by region", "account/us-east-1"
)

_LOW_QUOTA = 0.25
"""A region whose quota is below this share of the primary region's quota could not replace it."""


@region_rule("region-sandbox", "warning", "A region is still in the SES sandbox")
def sandbox(view: RuleView, region: str) -> Iterator[Problem]:
    """The stack has identities in a region that is still in the SES sandbox.

    Why: In the SES sandbox, mail is sent to verified addresses only, at most 200 messages a day. AWS grants production
    access for each region separately.
    Fix: Request production access with `recon account request-production --region REGION`.
    Source: SES Developer Guide, Request production access
    """
    if view.accounts[region].get("ProductionAccessEnabled") is False:
        yield Problem(
            f"{region} is in the SES sandbox: SES sends to verified addresses only, at most 200 messages a day",
            f"run `recon account request-production --region {region}`",
        )


@region_rule("region-paused", "warning", "Sending is off in a region", urgent=True)
def paused(view: RuleView, region: str) -> Iterator[Problem]:
    """The account's own switch for sending is off in a region that the stack uses.

    Why: SES sends nothing from that region, whatever this plan changes.
    Fix: `recon account resume` turns it on.
    Source: SES API, GetAccount: SendingEnabled
    """
    account = view.accounts[region]
    if account.get("SendingEnabled") is False and account.get("EnforcementStatus") != "SHUTDOWN":
        yield Problem(f"sending is paused in {region}", "run `recon account resume` to start it again")


@account_rule("account-paused", "warning", "AWS has put the account on probation or shut it down")
def paused_by_aws(view: RuleView, region: str) -> Iterator[Problem]:
    """AWS reports the enforcement status SHUTDOWN or PROBATION for a region of the stack, with or without identities
    there. `recon drift` exits with 2 while it is reported. Neither `off` nor a waiver hides a shutdown.

    Why: After SHUTDOWN, SES sends nothing from that region. PROBATION means that the account has too many bounces or
    complaints: AWS stops sending if that does not improve.
    Fix: Reply to the case in the AWS console, and fix the cause that it names before you send more.
    Source: SES Developer Guide, Sending review process; SES API, GetAccount: EnforcementStatus
    """
    status = view.accounts[region].get("EnforcementStatus")
    if status == "SHUTDOWN":
        yield Problem(
            f"AWS has shut down sending in {region}", "reply to the case in the AWS console",
            once="region-paused", always=True,
        )  # fmt: skip
    elif status == "PROBATION":
        yield Problem(
            f"{region} is on probation: AWS may stop sending",
            "fix the cause that the AWS case names before you send more",
            once="region-probation",
        )


@region_rule(
    "region-quota", "warning", "A region's quota is far below the primary region's", example="account/eu-west-1"
)
def quota(view: RuleView, region: str) -> Iterator[Problem]:
    """The daily sending quota of a region is less than a quarter of the quota of the stack's first region.

    Why: Sending quotas are per region. This region could not replace the primary one in an outage.
    Fix: Request the same quota in Service Quotas before you need it.
    Source: SES Developer Guide, Regions: quotas are per region
    """
    primary = view.state.stack.regions[0] if view.state.stack.regions else ""
    most = _daily(view, primary)
    mine = _daily(view, region)
    if region != primary and most is not None and mine is not None and 0 <= mine < most * _LOW_QUOTA:
        yield Problem(
            f"{region} may send {mine:.0f} messages a day and {primary} {most:.0f}: {region} cannot replace it",
            "request the same quota in Service Quotas",
        )


def _daily(view: RuleView, region: str) -> float | None:
    value: Any = (view.accounts.get(region, {}).get("SendQuota") or {}).get("Max24HourSend")
    return float(value) if isinstance(value, int | float) and value >= 0 else None
