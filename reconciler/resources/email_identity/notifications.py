"""The SNS topics that an identity's own feedback goes to, which SES tells in its old API alone.

Source: SES API v1, GetIdentityNotificationAttributes (100 identities a call).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import AwsError
from reconciler.kinds.snapshot import Snapshot
from reconciler.model import Address, Plan, address_parts

if TYPE_CHECKING:
    from reconciler.aws import Aws

RULE: Final = "events-feedback-off"
_BATCH: Final = 100
_TOPICS: Final = {"BounceTopic": "BOUNCE", "ComplaintTopic": "COMPLAINT"}


def silent(snapshot: Snapshot, plan: Plan) -> list[Address]:
    """The identities of which ``plan`` reports that nothing receives their feedback, and whose topics nobody read: no
    other plan needs them."""
    found = {c.address for c in plan.changes if any(note.rule == RULE for note in c.notes)}
    found |= {one.address for one in plan.diagnostics if one.code == RULE}
    return sorted(found - snapshot.feedback_topics.keys())


def read(aws: Aws, snapshot: Snapshot, addresses: Iterable[Address]) -> None:
    """Read into ``snapshot.feedback_topics`` which feedback of these identities has a topic of their own."""
    regions: dict[str, list[Address]] = {}
    for address in addresses:
        regions.setdefault(address_parts(address).place, []).append(address)
    jobs = [(r, some[i : i + _BATCH]) for r, some in regions.items() for i in range(0, len(some), _BATCH)]

    def one(job: tuple[str, list[Address]]) -> Mapping[str, Any] | AwsError:
        region, some = job
        names = [address_parts(address).name for address in some]
        try:
            answer = aws.call("ses", "GetIdentityNotificationAttributes", region, Identities=names)
        except AwsError as error:
            return error
        return answer.get("NotificationAttributes") or {}

    for (_, some), answer in zip(jobs, aws.parallel(one, jobs, lambda job: job[0]), strict=True):
        for address in some:
            if isinstance(answer, AwsError):
                snapshot.feedback_topics[address] = None
                words = f"the topics for bounces and complaints of {address} are unknown: {answer.message}"
                snapshot.say("warning", "notifications-unread", words, hint=answer.hint, address=address)
            else:
                topics = answer.get(address_parts(address).name) or {}
                snapshot.feedback_topics[address] = frozenset(e for key, e in _TOPICS.items() if topics.get(key))
