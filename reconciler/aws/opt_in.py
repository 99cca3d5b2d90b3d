"""Whether an account has a region that refuses its credentials.

A region that is not enabled refuses every key. One that is enabled refuses the sessions that STS's global endpoint
made, so that a refusal by itself does not say whether there is anything to be read.

Source: Account Management API reference, ListRegions; IAM User Guide, "Manage AWS STS in an AWS Region" (sessions of
the global endpoint are valid in the regions that are enabled by default alone).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.errors import AwsError

if TYPE_CHECKING:
    from reconciler.aws import Aws

READS: Final = ("account:ListRegions",)
HINT: Final = (
    "a session of STS's global endpoint is refused there: set AWS_STS_REGIONAL_ENDPOINTS=regional where the session is "
    "made, or allow account:ListRegions, which says whether the account has the region"
)

_HERE: Final = frozenset({"ENABLED", "ENABLED_BY_DEFAULT", "DISABLING"})
"""The statuses of regions in which an account may have resources, and may use them."""


class Refusing(NamedTuple):
    """Regions that refuse the credentials, sorted: those that the account has not enabled, those that it has, and those
    of which nobody could say."""

    closed: list[str]
    unread: list[str]
    unknown: list[str]


def unread_in(regions: Iterable[str]) -> str:
    """That regions of which nobody could say whether the account has them were not read, in words."""
    named = sorted(regions)
    many = f"{len(named)} regions refuse" if len(named) != 1 else "1 region refuses"
    return f"{many} this session, and what is there could not be read: {', '.join(named)}"


def sort_out(aws: Aws, regions: Iterable[str]) -> Refusing:
    """Ask AWS which of ``regions``, which have refused the credentials, the account has. One call; none for no region.

    Where that may not be read, a long-lived key tells: STS accepts it, so that only a region which is not enabled can
    refuse it.
    """
    asked = sorted(regions)
    if not asked:
        return Refusing([], [], [])
    try:
        here = {region for region, status in aws.account_regions().items() if status in _HERE}
    except AwsError:
        return Refusing(asked, [], []) if aws.has_long_lived_key else Refusing([], [], asked)
    return Refusing([r for r in asked if r not in here], [r for r in asked if r in here], [])
