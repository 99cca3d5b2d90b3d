"""Who may send, read for the doctor: users, roles and their policies, the keys of those that may, and lost keys."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.doctor import key_history
from reconciler.doctor.key_history import KeyHistory
from reconciler.kinds.snapshot import Snapshot
from reconciler.model import State
from reconciler.names import domain_of, is_at_or_below
from reconciler.policy_evaluation.evaluate import matches
from reconciler.resources.email_identity import NAME as IDENTITY
from reconciler.senders import AccountFacts, Sender, SendersReport, find, read_keys, read_principals
from reconciler.senders.report import add_keys

if TYPE_CHECKING:
    from reconciler.aws import Aws

READS = ("iam:GetAccountAuthorizationDetails", *key_history.READS)
"""What everybody who may plan may read, too; what is read beside it (keys of undeclared users) may be refused."""


@dataclass(slots=True)
class SenderFacts:
    """The principals and what they may send, and the keys that were lost. ``users`` are the names of all users."""

    account: AccountFacts
    report: SendersReport
    history: KeyHistory
    users: frozenset[str] = frozenset()
    everybody: list[Sender] = field(default_factory=list)
    """Also administrators."""

    def user(self, name: str) -> Sender | None:
        """The user that is a sender, or would be if no policy denied it."""
        return next((s for s in self.everybody if s.type == "user" and s.name == name), None)


def read(aws: Aws, now: str) -> tuple[AccountFacts, KeyHistory]:
    """IAM in bulk, and CloudTrail: needs nothing of SES, so it can be read meanwhile. Errors are in the result.

    Cost: one call a thousand principals, two look-ups of CloudTrail at its two requests a second.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        history = pool.submit(key_history.read, aws, now)
        return read_principals(aws, aws.stack.account, now), history.result()


def complete(
    aws: Aws, account: AccountFacts, history: KeyHistory, snapshot: Snapshot, regions: Iterable[str],
    state: State | None,
) -> SenderFacts:  # fmt: skip
    """Who may send, with the policies of identities, which are in ``snapshot``; two calls a user that may send."""
    account.regions = tuple(regions)
    for live in snapshot.live(IDENTITY):
        account.identities.setdefault(live.region or "", []).append(live.name)
        if policies := live.spec.get("policies"):
            account.policies[live.region or "", live.name] = dict(policies)
    report = find(account, state)
    everybody = [*report.senders, *report.administrators]
    read_keys(aws, account, (s.name for s in everybody if s.type == "user"))
    add_keys(account, report)
    users = frozenset(str(one["UserName"]) for one in account.users)
    return SenderFacts(account, report, history, users, everybody)


def may_send_as(sender: Sender, name: str) -> bool:
    """Whether what a sender may send includes an address, or any address of a domain."""
    if sender.can_send == "no":
        return False
    domain = domain_of(name)
    patterns = sender.reach.from_addresses
    if "@" in name:
        fits = any(matches(p.lower(), name.lower()) for p in patterns)
    else:
        fits = any(matches(p.lower().rpartition("@")[2] or "*", domain) for p in patterns)
    through = not sender.identities or any(
        matches(one.lower(), text) or ("@" not in one and is_at_or_below(domain, one.lower()))
        for one in sender.identities
        for text in (name.lower(), domain)
    )
    return fits and through
