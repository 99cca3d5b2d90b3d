"""What only the rules need of AWS: a few calls a region.

A denied call does no harm: a rule that lacks a fact reports nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import AwsError
from reconciler.kinds.ownership import owner_of
from reconciler.model import Observed
from reconciler.rules.view import Topic

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.kinds.snapshot import Snapshot

READS: Final = (
    "sesv2:GetAccount", "sesv2:BatchGetMetricData", "sns:GetTopicAttributes", "kms:DescribeKey", "kms:GetKeyPolicy",
)  # fmt: skip
"""The calls of ``read_facts``, for the least-privilege policy. All of them are optional."""

_QUERIES: Final = 10
"""The most queries of one BatchGetMetricData call (SES v2 API)."""


def read_facts(aws: Aws, snapshot: Snapshot, *, declared: bool = False) -> None:
    """Read what only the rules need into ``snapshot``: the SES account status of each region, SNS topics that
    event destinations name, and what identities that will be deleted have sent.

    With ``declared`` it uses the declared resources only, so that it can run while the live ones are read. A second
    call reads only what the first did not. Cost: one call for each region with identities, one to three for each
    topic. What a denied or failed call would have answered is left out.
    """
    groups = (snapshot.desired,) if declared else (snapshot.desired, snapshot.observed)
    identities = (
        x for group in groups for x in group.values() if x.kind == "email_identity" and snapshot.includes(x.address)
    )
    asked = snapshot.rules_asked
    regions = sorted({one.region for one in identities if one.region} - asked)
    arns = sorted(_topics(snapshot) - asked)
    asked.update(regions, arns)

    def account(region: str) -> Mapping[str, Any] | None:
        try:
            return aws.call("sesv2", "GetAccount", region)
        except AwsError:
            return None

    found = dict(zip(regions, aws.parallel(account, regions), strict=True))
    snapshot.ses_accounts |= {region: answer for region, answer in found.items() if answer is not None}
    for arn, answer in zip(arns, aws.parallel(lambda arn: _read_topic(aws, arn), arns), strict=True):
        if answer is not _UNREAD:
            snapshot.sns_topics[arn] = answer if isinstance(answer, Topic) else None
    if not declared:
        _read_sent(aws, snapshot)


def _read_sent(aws: Aws, snapshot: Snapshot) -> None:
    """Count what each identity that will be deleted has sent since yesterday, in regions that have the Virtual
    Deliverability Manager: AWS has no other count by identity (CloudWatch has no such dimension). One call for ten
    identities.

    Zeros are left out: the metric does not count mail to several recipients (SES v2 API, BatchGetMetricDataQuery,
    SEND), so that a zero proves nothing.
    """
    now = datetime.fromisoformat(snapshot.now)
    doomed: dict[str, list[Observed]] = {}
    for live in snapshot.observed.values():
        if live.address in snapshot.desired or live.kind != "email_identity" or owner_of(live.tags) != snapshot.scope:
            continue
        vdm = snapshot.ses_accounts.get(str(live.region), {}).get("VdmAttributes") or {}
        if vdm.get("VdmEnabled") == "ENABLED":
            doomed.setdefault(str(live.region), []).append(live)
    jobs = [
        (region, some[i : i + _QUERIES])
        for region, some in sorted(doomed.items())
        for i in range(0, len(some), _QUERIES)
    ]
    if not jobs:
        return

    def one(job: tuple[str, list[Observed]]) -> list[tuple[str, int]]:
        region, some = job
        queries = [
            {
                "Id": f"q{number}", "Namespace": "VDM", "Metric": "SEND", "Dimensions": {"EMAIL_IDENTITY": live.name},
                "StartDate": now - timedelta(days=1), "EndDate": now,
            }
            for number, live in enumerate(some)
        ]  # fmt: skip
        try:
            answer = aws.call("sesv2", "BatchGetMetricData", region, Queries=queries)
        except AwsError:
            return []
        sums = {str(one.get("Id")): sum(one.get("Values") or ()) for one in answer.get("Results") or ()}
        return [(live.address, sums.get(f"q{number}", 0)) for number, live in enumerate(some)]

    found = (pair for answer in aws.parallel(one, jobs, lambda job: job[0]) for pair in answer)
    snapshot.sent_last_day = {address: number for address, number in found if number}


_UNREAD: Final = object()


def _topics(snapshot: Snapshot) -> set[str]:
    specs = [
        d.spec for d in snapshot.desired.values() if d.kind == "event_destination" and snapshot.includes(d.address)
    ]
    arns = {str((spec.get("sns_destination") or {}).get("topic_arn") or "") for spec in specs}
    return {arn for arn in arns if arn.count(":") == 5}


def _read_topic(aws: Aws, arn: str) -> object:
    """A Topic, None where SNS answers that it does not exist, or ``_UNREAD``."""
    region = arn.split(":")[3]
    try:
        answer = aws.call("sns", "GetTopicAttributes", region, TopicArn=arn).get("Attributes") or {}
    except AwsError as error:
        return None if error.absent else _UNREAD
    key = str(answer.get("KmsMasterKeyId") or "")
    return Topic(_document(answer.get("Policy")) or {}, key, _read_key_policy(aws, arn, key))


def _read_key_policy(aws: Aws, topic: str, key: str) -> Mapping[str, Any] | None:
    _, partition, _, region, account, _ = topic.split(":", 5)
    if not key or key.endswith("alias/aws/sns"):
        return None
    try:
        if key.startswith("alias/"):
            key = f"arn:{partition}:kms:{region}:{account}:{key}"
        if ":alias/" in key:  # GetKeyPolicy does not accept an alias (KMS API, GetKeyPolicy: KeyId)
            key = str(aws.call("kms", "DescribeKey", region, KeyId=key)["KeyMetadata"]["KeyId"])
        return _document(aws.call("kms", "GetKeyPolicy", region, KeyId=key, PolicyName="default").get("Policy"))
    except AwsError:
        return None


def _document(text: Any) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return None
    return found if isinstance(found, Mapping) else None
