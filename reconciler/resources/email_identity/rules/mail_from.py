"""MAIL FROM: the envelope sender, which makes SPF align and receives bounces."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from reconciler import regions
from reconciler.rules import registry
from reconciler.rules.registry import RawFinding
from reconciler.rules.view import Resource, RuleView, sender_domain

rule = partial(registry.rule, theme="MAIL FROM", example="email_identity/us-east-1/acme.com")

_NAME = "mail_from.mail_from_domain"
_BEHAVIOR = "mail_from.behavior_on_mx_failure"


def _rejects(identity: Resource) -> bool:
    return bool(identity.will(_NAME)) and identity.will(_BEHAVIOR) == "REJECT_MESSAGE"


def _where(identity: Resource) -> str:
    return f"{identity.name} in {identity.region}"


@rule(
    "mail-from-reject",
    "error",
    "SES rejects mail until it has found the MX of the MAIL FROM domain",
    "SES API, PutEmailIdentityMailFromAttributes: BehaviorOnMxFailure acts while pending",
    why="The setting applies from the start. Until SES has found the MX, it rejects all mail of the identity. That is "
    "an error if mail is being sent today and this plan causes it, and a note for a new identity.",
    fix="Apply with `USE_DEFAULT_VALUE` first. When `recon drift` shows SUCCESS, set `REJECT_MESSAGE`.",
)
def reject_early(view: RuleView) -> Iterator[RawFinding]:
    """`REJECT_MESSAGE` is set while the MAIL FROM status is not SUCCESS, or together with a new MAIL FROM domain."""
    for identity in view.identities:
        if not _rejects(identity):
            continue
        moved = identity.alters(_NAME)
        if identity.is_new:
            yield RawFinding(
                identity.address,
                f"SES rejects mail of {_where(identity)} until it has found the MX of {identity.will(_NAME)}",
                "start to send when MAIL FROM is SUCCESS",
                new=True,
            )
        elif identity.stays and (moved or identity.facts.get("mail_from_status") not in (None, "SUCCESS")):
            status = "PENDING" if moved else identity.facts.get("mail_from_status")
            yield RawFinding(
                identity.address,
                f"MAIL FROM {identity.will(_NAME)} is {status}; with REJECT_MESSAGE, SES rejects mail of "
                f"{_where(identity)} until it is SUCCESS",
                "apply with USE_DEFAULT_VALUE first, and set REJECT_MESSAGE when `recon drift` shows SUCCESS",
                hurts=view.flows(identity) and (moved or identity.alters(_BEHAVIOR)),
            )


@rule(
    "mail-from-mx",
    "error",
    "The MAIL FROM domain does not have exactly the MX of its region",
    "SES Developer Guide, Using a custom MAIL FROM domain",
    why="SES requires exactly one MX: `10 feedback-smtp.<region>.amazonses.com`. With any other the MAIL FROM set-up "
    "fails and bounces are lost.",
    fix="Keep this one value, and choose a name that nothing else uses.",
    example="dns_record/acme.com/bounce-us-east-1.acme.com/MX",
)
def not_one_mx(view: RuleView) -> Iterator[RawFinding]:
    """After apply, the MAIL FROM domain has no MX, several, or the one of another host or region."""
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
            "keep this one MX and remove all others",
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
    "The MAIL FROM domain changes",
    "SES Developer Guide, Using a custom MAIL FROM domain: states",
    why="SES verifies the new domain first. Until then it sends with amazonses.com as the MAIL FROM domain, so SPF "
    "does not align and DMARC depends on DKIM alone.",
    fix="Check that DKIM is SUCCESS, then apply. recon writes the new records first and deletes the old ones last.",
)
def moves(view: RuleView) -> Iterator[RawFinding]:
    """The MAIL FROM domain of a live identity changes."""
    for identity in view.identities:
        if identity.alters(_NAME) and identity.was(_NAME) and identity.will(_NAME) and not _rejects(identity):
            yield RawFinding(
                identity.address,
                f"MAIL FROM of {_where(identity)} changes from {identity.was(_NAME)} to {identity.will(_NAME)}: SPF "
                "does not align until SES has verified the new domain",
                "DMARC depends on DKIM until then; check that DKIM is SUCCESS",
            )


@rule(
    "mail-from-removed",
    "warning",
    "The custom MAIL FROM domain is removed",
    "SES Developer Guide, Complying with DMARC",
    why="SES then sends with amazonses.com as the MAIL FROM domain. SPF never aligns, and DMARC depends on DKIM alone.",
    fix="Keep `mail_from`, or check that DKIM is SUCCESS.",
)
def removed(view: RuleView) -> Iterator[RawFinding]:
    """The plan removes the custom MAIL FROM domain of a live identity."""
    for identity in view.identities:
        if identity.alters(_NAME) and identity.was(_NAME) and not identity.will(_NAME):
            yield RawFinding(
                identity.address,
                f"after this, mail of {_where(identity)} has amazonses.com as its MAIL FROM domain: DMARC depends on "
                "DKIM alone",
                "keep mail_from, or check that DKIM is SUCCESS",
            )


@rule(
    "mail-from-none",
    "note",
    "Without a custom MAIL FROM domain SPF never aligns",
    "SES Developer Guide, Complying with DMARC",
    why="SPF passes for amazonses.com and not for the domain. So only one of the two checks of DMARC can pass.",
    fix='`mail_from: {mail_from_domain: "bounce-${region}.${domain}"}`',
)
def none_set(view: RuleView) -> Iterator[RawFinding]:
    """An identity has no custom MAIL FROM domain."""
    for identity in view.identities:
        if identity.after is not None and not identity.will(_NAME) and not identity.was(_NAME):
            yield RawFinding(
                identity.address,
                f"{_where(identity)} has no custom MAIL FROM domain: SPF passes for amazonses.com, not for "
                f"{identity.name}",
                'declare mail_from: {mail_from_domain: "bounce-${region}.${domain}"}',
            )


@rule(
    "mail-from-in-use",
    "warning",
    "The MAIL FROM domain is also used for other mail",
    "SES API, PutEmailIdentityMailFromAttributes: not used to send from or receive at",
    why="SES requires a name that nothing else uses. Its MX points at SES, so replies to mail from that name are lost.",
    fix="Use a name such as `bounce-${region}.${domain}`.",
)
def in_use(view: RuleView) -> Iterator[RawFinding]:
    """The MAIL FROM domain is also an identity, or the From domain of an SMTP user."""
    senders = {sender_domain(str(p)): u.name for u in view.users for p in u.values.get("from_addresses") or ()}
    for identity in view.identities:
        name = str(identity.will(_NAME) or "")
        if not name:
            continue
        if any(other.after is not None for other in view.identities_for(name)):
            use = "also an identity"
        elif name in senders:
            use = f"also the From domain of {senders[name]}"
        else:
            continue
        yield RawFinding(
            identity.address,
            f"{name}, the MAIL FROM domain of {_where(identity)}, is {use}",
            "use a name that nothing else uses, such as bounce-${region}.${domain}",
        )


@rule(
    "mail-from-failing",
    "warning",
    "SES no longer finds the records of the MAIL FROM domain",
    "SES Developer Guide, Using a custom MAIL FROM domain: states",
    why="After 72 hours SES gives up, and the domain has to be set up again. Until the records are back, SES sends "
    "with amazonses.com as the MAIL FROM domain, or rejects the mail under `REJECT_MESSAGE`.",
    fix="`recon doctor acme.com` compares MX and TXT with the answers of DNS.",
)
def failing(view: RuleView) -> Iterator[RawFinding]:
    """SES reports the MAIL FROM status FAILED or TEMPORARY_FAILURE for a live identity."""
    for identity in view.identities:
        status = identity.facts.get("mail_from_status")
        if identity.stays and identity.will(_NAME) and status in ("FAILED", "TEMPORARY_FAILURE"):
            effect = "SES rejects its mail" if _rejects(identity) else "SES sends with amazonses.com instead"
            yield RawFinding(
                identity.address,
                f"MAIL FROM {identity.will(_NAME)} of {_where(identity)} is {status}: {effect}",
                "`recon doctor` compares its MX and TXT with the answers of DNS",
            )
