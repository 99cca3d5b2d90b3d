"""MAIL FROM: the envelope sender that makes SPF align, and that bounces come back to."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler import regions
from reconciler.rules.registry import RawFinding, rule
from reconciler.rules.view import Resource, RuleView, sender_domain

_NAME = "mail_from.mail_from_domain"
_BEHAVIOR = "mail_from.behavior_on_mx_failure"


def _rejects(identity: Resource) -> bool:
    return bool(identity.will(_NAME)) and identity.will(_BEHAVIOR) == "REJECT_MESSAGE"


@rule(
    "mail-from-reject",
    "error",
    "Mail is rejected until SES has found the MAIL FROM's MX",
    "SES API, PutEmailIdentityMailFromAttributes: BehaviorOnMxFailure acts while pending",
)
def reject_early(view: RuleView) -> Iterator[RawFinding]:
    """REJECT_MESSAGE on a name whose status is not SUCCESS."""
    for identity in view.identities:
        if not _rejects(identity):
            continue
        moved = identity.alters(_NAME)
        if identity.is_new:
            yield RawFinding(
                identity.address,
                f"SES refuses mail of {identity.name} in {identity.region} until it has found the MX "
                f"of {identity.will(_NAME)}",
                "send once MAIL FROM is SUCCESS",
                new=True,
            )
        elif identity.stays and (moved or identity.facts.get("mail_from_status") not in (None, "SUCCESS")):
            status = "PENDING" if moved else identity.facts.get("mail_from_status")
            yield RawFinding(
                identity.address,
                f"MAIL FROM {identity.will(_NAME)} is {status}, and REJECT_MESSAGE makes SES refuse "
                f"mail of {identity.name} in {identity.region} until it is SUCCESS",
                "apply it with USE_DEFAULT_VALUE first, and set REJECT_MESSAGE once `recon drift` shows SUCCESS",
                hurts=view.flows(identity) and (moved or identity.alters(_BEHAVIOR)),
            )


@rule(
    "mail-from-mx",
    "error",
    "The MAIL FROM name has not exactly the one MX of its region",
    "SES Developer Guide, Using a custom MAIL FROM domain",
)
def not_one_mx(view: RuleView) -> Iterator[RawFinding]:
    """Two values, another host, or none make the set-up fail."""
    for identity in view.identities:
        name = str(identity.will(_NAME) or "")
        values = view.lookup(name, "MX") if name and identity.region else None
        if values is None or _right_mx(values, identity.region or ""):
            continue
        before = view.lookup(name, "MX", "before")
        was_right = before is not None and _right_mx(before, identity.region or "")
        yield RawFinding(
            view.record_address(name, "MX"),
            f"{name} will have {_listed(values)} instead of exactly "
            f'"{regions.feedback_mx(identity.region or "")}": bounces are lost and MAIL FROM fails',
            "leave this one MX at the name, and take others out",
            hurts=was_right and view.flows(identity),
            new=identity.is_new,
        )


def _right_mx(values: tuple[str, ...], region: str) -> bool:
    if len(values) != 1:
        return False
    return values[0].split()[-1:] == [regions.feedback_host(region)]


def _listed(values: tuple[str, ...]) -> str:
    return "no MX" if not values else "MX " + ", ".join(values)


@rule(
    "mail-from-moves",
    "warning",
    "The MAIL FROM name changes",
    "SES Developer Guide, Using a custom MAIL FROM domain: states",
)
def moves(view: RuleView) -> Iterator[RawFinding]:
    """SES checks the new name first; meanwhile mail goes out with amazonses.com and SPF does not align."""
    for identity in view.identities:
        if identity.alters(_NAME) and identity.was(_NAME) and identity.will(_NAME) and not _rejects(identity):
            yield RawFinding(
                identity.address,
                f"MAIL FROM of {identity.name} in {identity.region} moves from {identity.was(_NAME)} to "
                f"{identity.will(_NAME)}: SPF does not align until SES has verified it",
                "DKIM carries DMARC meanwhile; check that it is SUCCESS",
            )


@rule(
    "mail-from-removed", "warning", "The custom MAIL FROM is switched off", "SES Developer Guide, Complying with DMARC"
)
def removed(view: RuleView) -> Iterator[RawFinding]:
    """Mail goes out with amazonses.com again, and SPF no longer aligns."""
    for identity in view.identities:
        if identity.alters(_NAME) and identity.was(_NAME) and not identity.will(_NAME):
            yield RawFinding(
                identity.address,
                f"mail of {identity.name} in {identity.region} goes out with amazonses.com as its "
                "envelope sender: DMARC rests on DKIM alone",
                "keep mail_from, or check that DKIM is SUCCESS",
            )


@rule("mail-from-none", "note", "No custom MAIL FROM, so SPF never aligns", "SES Developer Guide, Complying with DMARC")
def none_set(view: RuleView) -> Iterator[RawFinding]:
    """The envelope sender is amazonses.com."""
    for identity in view.identities:
        if identity.after is not None and not identity.will(_NAME) and not identity.was(_NAME):
            yield RawFinding(
                identity.address,
                f"{identity.name} in {identity.region} has no MAIL FROM of its own: SPF passes for "
                "amazonses.com, not for it",
                'declare mail_from: {mail_from_domain: "bounce-${region}.${domain}"}',
            )


@rule(
    "mail-from-in-use",
    "warning",
    "The MAIL FROM name is also used for other mail",
    "SES API, PutEmailIdentityMailFromAttributes: not used to send from or receive at",
)
def in_use(view: RuleView) -> Iterator[RawFinding]:
    """It is an identity, or an SMTP user's From domain."""
    senders = {sender_domain(str(p)): u.name for u in view.users for p in u.values.get("from_addresses") or ()}
    for identity in view.identities:
        name = str(identity.will(_NAME) or "")
        if not name:
            continue
        if any(other.after is not None for other in view.identities_for(name)):
            use = "is an identity of its own"
        elif name in senders:
            use = f"is the From domain of {senders[name]}"
        else:
            continue
        yield RawFinding(
            identity.address,
            f"{name}, the MAIL FROM of {identity.name} in {identity.region}, {use}",
            "use a name that nothing else uses, such as bounce-${region}.${domain}",
        )


@rule(
    "mail-from-failing",
    "warning",
    "SES no longer finds the MAIL FROM's records",
    "SES Developer Guide, Using a custom MAIL FROM domain: states",
)
def failing(view: RuleView) -> Iterator[RawFinding]:
    """Live status FAILED or TEMPORARY_FAILURE; after 72 hours it must be set up anew."""
    for identity in view.identities:
        status = identity.facts.get("mail_from_status")
        if identity.stays and identity.will(_NAME) and status in ("FAILED", "TEMPORARY_FAILURE"):
            effect = "mail is rejected" if _rejects(identity) else "mail goes out with amazonses.com"
            yield RawFinding(
                identity.address,
                f"MAIL FROM {identity.will(_NAME)} of {identity.name} in {identity.region} is {status}: {effect}",
                "`recon doctor` compares its MX and TXT with what DNS answers",
            )
