"""Many identities in few calls: which of them a region has, and what ``--refresh bulk`` reads of them.

Source: SES v2 API reference, ListEmailIdentities; SES API (v1) reference, GetIdentityDkimAttributes,
GetIdentityMailFromDomainAttributes and GetIdentityNotificationAttributes: 100 identities a call.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import AwsError
from reconciler.kinds.listing import believed
from reconciler.kinds.ownership import DKIM_KEY, PARTS, POLICIES, unpack
from reconciler.kinds.reading import Reader, read_each, wanted_addresses
from reconciler.kinds.snapshot import Snapshot
from reconciler.model import Address, Observed, Plan, address_parts
from reconciler.resources.email_identity import DEFAULT_SET, NAME, NOTIFICATIONS, address_of, notifications

if TYPE_CHECKING:
    from reconciler.aws import Aws

_BULK_READS = (
    ("GetIdentityDkimAttributes", "DkimAttributes"),
    ("GetIdentityMailFromDomainAttributes", "MailFromDomainAttributes"),
    ("GetIdentityNotificationAttributes", "NotificationAttributes"),
)
_NOTIFICATIONS = ("email_forwarding_enabled", "notification_attributes")
"""What GetIdentityNotificationAttributes returns: asked only of identities that declare some of it."""
_BULK_UNREAD = (
    "dkim.signing_attributes_origin",
    "dkim.next_signing_key_length",
    "dkim.domain_signing_selector",
    "dkim.domain_signing_private_key",
    DEFAULT_SET.path,
    "policies",
)
_V1_STATUS = {
    "Pending": "PENDING",
    "Success": "SUCCESS",
    "Failed": "FAILED",
    "TemporaryFailure": "TEMPORARY_FAILURE",
    "NotStarted": "NOT_STARTED",
}
TURNS = 10
"""After so many days a drift that reads in bulk has read every identity whole."""


def find_twins(aws: Aws, snapshot: Snapshot) -> None:
    """Find addresses that SES has and that differ from a declared one, which it does not have, in the case of their
    domain only: to SES they are two (SES Developer Guide, "Creating and verifying identities").

    Puts them into ``snapshot.twins``. Lists each region (1,000 a call) in which a declared address does not exist.
    """
    wanted: dict[str, list[str]] = {}
    for desired in snapshot.kind(NAME):
        if "@" in desired.name and desired.address not in snapshot.observed and not snapshot.unknown(desired.address):
            # Where the region was listed, only an address that it has in any case can have a twin.
            names = snapshot.listed.get(f"{NAME}/{desired.region}")
            if names is None or desired.name.lower() in names:
                wanted.setdefault(desired.region or "", []).append(desired.name)

    def one(region: str) -> None:
        names = set(wanted[region])
        try:
            for item in aws.pages("sesv2", "ListEmailIdentities", "EmailIdentities", region, PageSize=1000):
                local, at, domain = item["IdentityName"].rpartition("@")
                folded = f"{local}{at}{domain.lower()}"
                if folded in names and folded != item["IdentityName"]:
                    found = snapshot.twins.setdefault(address_of(region, folded), [])
                    found.append(item["IdentityName"])
        except AwsError as error:
            words = f"whether {region} has addresses that differ from new ones in case only could not be read"
            snapshot.say("note", "twins-unread", f"{words}: {error.message}", hint=error.hint)

    aws.parallel(one, sorted(wanted))


def observe_bulk(kind: Reader, aws: Aws, snapshot: Snapshot) -> None:
    """Read many identities at once; what no bulk call returns is named in ``Observed.unread``.

    ListEmailIdentities (1,000 a page) returns what exists, as far as a list is believed (``kinds/listing.py``); SES v1
    returns DKIM, MAIL FROM and feedback of 100 a call; tags come from the sweep. What is not ours yet is read whole,
    since adopting it needs everything; so is today's share of the others (``snapshot.turn``).
    """
    by_region: dict[str, list[Address]] = {}
    for address in wanted_addresses(NAME, snapshot):
        by_region.setdefault(address_parts(address).place, []).append(address)

    def region_of(item: tuple[str, list[Address]]) -> None:
        region, addresses = item
        try:
            listed = {
                (name if "@" in (name := i["IdentityName"]) else name.lower()): i
                for i in aws.pages("sesv2", "ListEmailIdentities", "EmailIdentities", region, PageSize=1000)
            }
            snapshot.listed[f"{NAME}/{region}"] = frozenset(name.lower() for name in listed)
            ours = snapshot.owned.get(NAME, {})
            missing = [a for a in addresses if address_parts(a).name not in listed]
            absent = believed(snapshot, (a for a in missing if a not in ours and a not in snapshot.unlisted))
            by_name = [a for a in missing if a not in absent]
            there = [a for a in addresses if address_parts(a).name in listed]
            whole = [a for a in there if a not in ours or a in snapshot.whole or _turn_of(a) == snapshot.turn]
            taken = set(whole)
            whole += [a for a in there if a not in taken and _in_doubt(snapshot, a, ours[a])]
            bulk = sorted(set(there) - set(whole))
            found = _bulk(aws, region, [address_parts(a).name for a in bulk], listed, ours, snapshot)
            # Easy DKIM has three tokens; anything else is a BYODKIM key, and no bulk call returns its origin.
            odd = {
                o.address for o in found
                if len(o.facts["tokens"]) not in {0, 3} and not _own_key(snapshot, o.address)
            }  # fmt: skip
            whole += sorted(odd)
            found = [o for o in found if o.address not in odd]
        except AwsError as error:
            snapshot.unreadable(f"{NAME}/{region}", error.message, error.hint)
            return
        for live in found:
            snapshot.observed[live.address] = live
        read_each(kind, aws, snapshot, [*whole, *by_name])

    aws.parallel(region_of, sorted(by_region.items()))


def _bulk(
    aws: Aws, region: str, names: list[str], listed: Mapping[str, Any], ours: Mapping[str, Any], snapshot: Snapshot
) -> list[Observed]:
    def chunks(asked: list[str]) -> list[list[str]]:
        return [asked[i : i + 100] for i in range(0, len(asked), 100)]

    def notified(name: str) -> bool:
        desired = snapshot.desired.get(address_of(region, name))
        return desired is not None and any(field in desired.spec for field in _NOTIFICATIONS)

    def ask(job: tuple[str, str, list[str]]) -> dict[str, Any]:
        operation, key, chunk = job
        return dict(aws.call("ses", operation, region, Identities=chunk).get(key) or {})

    some = [name for name in names if notified(name)]
    jobs = [
        (operation, key, chunk)
        for operation, key in _BULK_READS
        for chunk in chunks(some if key == "NotificationAttributes" else names)
    ]
    answers: dict[str, dict[str, Any]] = {key: {} for _, key in _BULK_READS}
    for (_, key, _), answer in zip(jobs, aws.parallel(ask, jobs), strict=True):
        answers[key].update(answer)
    return [_from_bulk(region, name, listed[name], answers, ours[address_of(region, name)], snapshot) for name in names]


def _own_key(snapshot: Snapshot, address: Address) -> bool:
    desired = snapshot.desired.get(address)
    block = (desired.spec.get("dkim") or {}) if desired else {}
    return block.get("signing_attributes_origin") == "EXTERNAL"


def _in_doubt(snapshot: Snapshot, address: Address, tags: Mapping[str, str]) -> bool:
    """Whether an identity of ours may sign with another kind of key, or have other policies, than is declared: bulk
    calls do not return them, and records and tags depend on them. True for every identity that is to be deleted."""
    desired = snapshot.desired.get(address)
    if desired is None or (DKIM_KEY in tags) != _own_key(snapshot, address):
        return True
    return unpack(tags, POLICIES) != frozenset(desired.spec["policies"])


def _turn_of(address: Address) -> int:
    return zlib.crc32(address.encode()) % TURNS


def _from_bulk(
    region: str,
    name: str,
    listed: Mapping[str, Any],
    answers: Mapping[str, Mapping[str, Any]],
    tags: Mapping[str, str],
    snapshot: Snapshot,
) -> Observed:
    """An identity as far as bulk calls return it. What else is declared is taken to be so, and named as unread; what is
    neither read nor declared is None."""
    dkim = answers["DkimAttributes"].get(name) or {}
    mail_from = answers["MailFromDomainAttributes"].get(name) or {}
    notify = answers["NotificationAttributes"].get(name)
    desired = snapshot.desired.get(address_of(region, name))
    declared = dict(desired.spec) if desired else {}
    block = dict(declared.get("dkim") or {})
    tokens = list(dkim.get("DkimTokens") or ())
    behaviour = {"UseDefaultValue": "USE_DEFAULT_VALUE", "RejectMessage": "REJECT_MESSAGE"}
    spec: dict[str, Any] = {
        "dkim": {
            "signing_enabled": bool(dkim.get("DkimEnabled")),
            "signing_attributes_origin": block.get("signing_attributes_origin") or "AWS_SES",
            "next_signing_key_length": block.get("next_signing_key_length"),
        },
        "mail_from": {
            "mail_from_domain": mail_from["MailFromDomain"].lower().rstrip("."),
            "behavior_on_mx_failure": behaviour.get(mail_from.get("BehaviorOnMXFailure", ""), "USE_DEFAULT_VALUE"),
        }
        if mail_from.get("MailFromDomain")
        else None,
        DEFAULT_SET.path: declared.get(DEFAULT_SET.path),
        "email_forwarding_enabled": None if notify is None else bool(notify.get("ForwardingEnabled", True)),
        "policies": {},
        "tags": dict(tags),
    }
    if notify is not None and (NOTIFICATIONS in declared or NOTIFICATIONS in unpack(tags, PARTS)):
        spec[NOTIFICATIONS] = notifications.observed(notify)
    if block.get("signing_attributes_origin") == "EXTERNAL":
        spec["dkim"]["domain_signing_selector"] = block.get("domain_signing_selector")
        spec["dkim"]["domain_signing_private_key"] = tags.get(DKIM_KEY)
    facts = {
        "verification_status": listed.get("VerificationStatus"),
        "sending": bool(listed.get("SendingEnabled")),
        "dkim_status": _V1_STATUS.get(str(dkim.get("DkimVerificationStatus"))),
        "mail_from_status": _V1_STATUS.get(str(mail_from.get("MailFromDomainStatus"))) if spec["mail_from"] else None,
        "tokens": tokens,
        "signing_hosted_zone": None,
        "identity_type": listed.get("IdentityType"),
        "error_type": None,
        "last_checked": None,
        "soa_seen": None,
        "key_generated": None,
        "bulk": True,
    }
    return Observed(address_of(region, name), NAME, region, name, spec, dict(tags), facts, _unread_of(declared))


def _unread_of(declared: Mapping[str, Any]) -> tuple[str, ...]:
    """Those declared attributes that no bulk call returns."""
    found = []
    for path in _BULK_UNREAD:
        block, _, field = path.partition(".")
        if declared.get(block) and (not field or field in declared[block]):
            found.append(path)
    return tuple(found)


# --- the topics that feedback goes to, where a rule would speak of it ----------------------------------------------

FEEDBACK_RULE: Final = "events-feedback-off"
_BATCH: Final = 100
_TOPICS: Final = {"BounceTopic": "BOUNCE", "ComplaintTopic": "COMPLAINT"}


def without_topics(snapshot: Snapshot, plan: Plan) -> list[Address]:
    """The identities of which ``plan`` reports that nothing receives their feedback, and whose topics nobody read: no
    other plan needs them."""
    found = {c.address for c in plan.changes if any(note.rule == FEEDBACK_RULE for note in c.notes)}
    found |= {one.address for one in plan.diagnostics if one.code == FEEDBACK_RULE}
    return sorted(found - snapshot.feedback_topics.keys())


def read_topics(aws: Aws, snapshot: Snapshot, addresses: Iterable[Address]) -> None:
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
