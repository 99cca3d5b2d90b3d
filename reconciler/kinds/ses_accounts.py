"""The status of the account in a region, which SES is asked for once a snapshot, whoever needs it first: the kinds and
what the rules need are read side by side.

Source: SES API v2 reference, GetAccount.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import AwsError

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.kinds.snapshot import Snapshot

OPERATION: Final = "GetAccount"
_ASKING: Final[dict[str, threading.Lock]] = {}


def account_in(aws: Aws, snapshot: Snapshot, region: str) -> Mapping[str, Any] | AwsError:
    """The answer of GetAccount, or why there is none."""
    with _ASKING.setdefault(region, threading.Lock()):
        if region not in snapshot.ses_accounts and region not in snapshot.ses_refusals:
            try:
                snapshot.ses_accounts[region] = aws.call("sesv2", OPERATION, region)
            except AwsError as error:
                snapshot.ses_refusals[region] = error
        return snapshot.ses_accounts[region] if region in snapshot.ses_accounts else snapshot.ses_refusals[region]
