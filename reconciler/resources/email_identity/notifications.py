"""The SNS topics and headers of an identity's own notifications: a part of the identity that only the older API has.

Read where it is declared, or the tag ``recon:parts`` says that it was: 100 identities a call. Taken out of the YAML it
stays, as every attribute does; the tag keeps the topics' right to be published to.

Source: SES API (v1) reference, GetIdentityNotificationAttributes, SetIdentityNotificationTopic,
SetIdentityHeadersInNotificationsEnabled; SES Developer Guide, "Configuring Amazon SNS notifications for Amazon SES"
(SES takes a topic off where it cannot publish, and turns forwarding on).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import AwsError
from reconciler.kinds.comparing import overlay
from reconciler.kinds.ownership import PARTS, unpack
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.snapshot import Snapshot
from reconciler.kinds.tags import packed
from reconciler.model import Address, Change, Desired, Note, Observed, address_parts
from reconciler.resources.email_identity import NAME, NOTIFICATIONS, NOTIFIED

if TYPE_CHECKING:
    from reconciler.aws import Aws

READ: Final = "GetIdentityNotificationAttributes"
SET_TOPIC: Final = "SetIdentityNotificationTopic"
SET_HEADERS: Final = "SetIdentityHeadersInNotificationsEnabled"
FORWARDING: Final = "email_forwarding_enabled"
BATCH: Final = 100
FEEDBACK: Final = ("Bounce", "Complaint")

Put = tuple[str, str, dict[str, Any]]
"""Service, operation, members."""


def topic_key(kind: str) -> str:
    return f"{kind.lower()}_topic"


def headers_key(kind: str) -> str:
    return f"headers_in_{kind.lower()}_notifications_enabled"


def wanted(written: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the YAML asks for; ``null`` asks for none."""
    usual = {**{topic_key(kind): None for kind in NOTIFIED}, **{headers_key(kind): False for kind in NOTIFIED}}
    if written is None:
        return usual
    return {key: usual[key] if value is None else value for key, value in written.items()}


def observed(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The block in an answer of SES. It says nothing of headers where there is no topic."""
    found: dict[str, Any] = {}
    for kind in NOTIFIED:
        found[topic_key(kind)] = answer.get(f"{kind}Topic") or None
        headers = bool(answer.get(f"HeadersIn{kind}NotificationsEnabled"))
        found[headers_key(kind)] = headers and found[topic_key(kind)] is not None
    return found


def read_all(aws: Aws, snapshot: Snapshot) -> None:
    """Add the block to the identities that were read and that need it."""
    regions: dict[str, list[Address]] = {}
    for live in snapshot.live(NAME):
        if NOTIFICATIONS not in live.spec and _asked(snapshot, live):
            regions.setdefault(live.region or "", []).append(live.address)
    jobs = [(r, some[i : i + BATCH]) for r, some in regions.items() for i in range(0, len(some), BATCH)]

    def one(job: tuple[str, list[Address]]) -> tuple[list[Address], Mapping[str, Any], AwsError | None]:
        region, some = job
        try:
            return some, _read(aws, region, [address_parts(address).name for address in some]), None
        except AwsError as error:
            return some, {}, error

    for some, answers, error in aws.parallel(one, jobs, lambda job: job[0]):
        for address in some:
            if error is not None:
                snapshot.unreadable(address, error.message, error.hint)
            elif address_parts(address).name not in answers:
                snapshot.unreadable(address, f"ses {READ} says nothing of it", "plan again: SES may just have got it")
            else:
                snapshot.observed[address] = with_block(snapshot.observed[address], answers)


def _asked(snapshot: Snapshot, live: Observed) -> bool:
    if _remembered(live):
        return True
    desired = snapshot.desired.get(live.address)
    if desired is not None:
        return NOTIFICATIONS in desired.spec
    return snapshot.imports(live.address)


def _remembered(live: Observed) -> bool:
    return NOTIFICATIONS in unpack(live.tags, PARTS)


def _read(aws: Aws, region: str, names: list[str]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = aws.call("ses", READ, region, Identities=names).get("NotificationAttributes") or {}
    return found


def with_block(live: Observed, answers: Mapping[str, Any]) -> Observed:
    block = observed(answers.get(live.name) or {})
    return replace(live, spec={**live.spec, NOTIFICATIONS: block})


def read_again(aws: Aws, change: Change, live: Observed | None) -> Observed | None:
    """``live``, read once more before or after a write, with the block where the plan had it."""
    if live is None:
        return None
    if not _remembered(live) and not any(NOTIFICATIONS in (part or {}) for part in (change.before, change.after)):
        return live
    return with_block(live, _read(aws, live.region or "", [live.name]))


def tag(desired: Desired, live: Observed | None) -> dict[str, str | None]:
    """The tag that remembers that the block is ours."""
    tags = live.tags if live else {}
    ours = NOTIFICATIONS in desired.spec or (live is not None and _remembered(live))
    return packed(tags, PARTS, {NOTIFICATIONS} if ours else ())


def after(desired: Desired, live: Observed | None) -> dict[str, Any]:
    """The block as it will be."""
    there = (live.spec if live else {}).get(NOTIFICATIONS) or {}
    found: dict[str, Any] = overlay(desired.spec.get(NOTIFICATIONS) or {}, there)
    return found


def refuse_silence(draft: PlanDraft, desired: Desired, live: Observed) -> None:
    """Refuse to take the topic of bounces or complaints off while they are not forwarded: SES does."""
    there, will = live.spec.get(NOTIFICATIONS) or {}, after(desired, live)
    forwards = desired.spec.get(FORWARDING, live.spec[FORWARDING])
    lost = [kind for kind in FEEDBACK if there.get(topic_key(kind)) and not will.get(topic_key(kind))]
    if lost and not forwards:
        draft.refuse(
            "feedback-lost",
            f"{desired.address}: {' and '.join(lost).lower()} notifications lose their topic while SES forwards none: "
            "SES refuses that",
            hint="give them another topic, or write `email_forwarding_enabled: true`",
            address=desired.address, source=desired.source_of(f"{NOTIFICATIONS}.{topic_key(lost[0])}"),
        )  # fmt: skip


def notes(desired: Desired, live: Observed) -> tuple[Note, ...]:
    """Where SES itself has taken topics off: it says so by what is left."""
    there, block = live.spec.get(NOTIFICATIONS) or {}, desired.spec.get(NOTIFICATIONS) or {}
    off = [kind for kind in FEEDBACK if block.get(topic_key(kind)) and not there.get(topic_key(kind))]
    if not off or not _remembered(live) or not live.spec[FORWARDING]:
        return ()
    words = (
        f"the topic for {' and '.join(off).lower()} notifications is gone, and bounces are forwarded by mail: SES does "
        "both when it cannot publish to the topic. Repair the topic, its policy and the policy of its key first"
    )
    return (Note("topic-taken-off", "warning", words),)


def _changed(change: Change) -> Iterator[tuple[str, Any]]:
    before, now = ((part or {}).get(NOTIFICATIONS) or {} for part in (change.before, change.after))
    usual = wanted(None)
    yield from ((key, value) for key, value in now.items() if value != before.get(key, usual[key]))


def requests(change: Change, name: str) -> tuple[list[Put], list[Put]]:
    """What is to be set, before forwarding may be turned off, and what is to be taken off, after it may be turned on.
    Headers need a topic."""
    changed = dict(_changed(change))
    first: list[Put] = []
    last: list[Put] = []
    for kind in NOTIFIED:
        named = {"Identity": name, "NotificationType": kind}
        if topic := changed.get(topic_key(kind)):
            first.append(("ses", SET_TOPIC, {**named, "SnsTopic": topic}))
        if headers_key(kind) in changed:
            enabled = bool(changed[headers_key(kind)])
            (first if enabled else last).append(("ses", SET_HEADERS, {**named, "Enabled": enabled}))
        if topic_key(kind) in changed and not changed[topic_key(kind)]:
            last.append(("ses", SET_TOPIC, named))
    return first, last
