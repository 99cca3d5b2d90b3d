"""Identities: what may send as whom, and what mail AWS sends about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reconciler.names import parents
from reconciler.rules.registry import RawFinding, rule
from reconciler.rules.view import RuleView


@rule(
    "identity-deleted",
    "error",
    "An identity that sends is deleted",
    "SES API, DeleteEmailIdentity: mail from it is refused at once",
)
def identity_deleted(view: RuleView) -> Iterator[RawFinding]:
    """An error where it is known to have sent in the last day; a note where its whole region is known to have not."""
    for identity in view.resources("email_identity"):
        if identity.before is None or identity.after is not None:
            continue
        sent = view.sent_last_day.get(identity.address)
        region = (view.accounts.get(identity.region or "", {}).get("SendQuota") or {}).get("SentLast24Hours")
        known = ""
        if sent:
            known = f"; it sent {sent} messages in the last day"
        elif region:
            known = f"; the region sent {region:.0f} messages in the last day, and SES does not say for whom"
        elif region is not None:
            known = "; nothing was sent there in the last day"
        yield RawFinding(
            identity.address,
            f"mail from {identity.name} is refused in {identity.region} from then on{known}",
            "move its senders first, or waive this with a date",
            hurts=bool(sent),
            new=not sent and region == 0,
        )


@rule(
    "identity-shadows-parent",
    "warning",
    "A new identity takes over mail that its parent sends today",
    "SES Developer Guide, Creating and verifying identities: the most specific identity counts",
)
def shadows_parent(view: RuleView) -> Iterator[RawFinding]:
    """Until it is verified and has DKIM and MAIL FROM of its own, mail from it may go unsigned."""
    for identity in view.resources("email_identity"):
        if not identity.is_new or not identity.region:
            continue
        domain = identity.name.rpartition("@")[2]
        above = parents(domain) if "@" not in identity.name else (domain, *parents(domain))
        for name in above:
            parent = view.resource(f"email_identity/{identity.region}/{name}")
            if parent is not None and parent.stays and view.can_send(parent):
                yield RawFinding(
                    identity.address,
                    f"mail from {identity.name} flows through {name} in {identity.region} today; its own "
                    "identity takes over as soon as it exists, before it is verified",
                    "apply at a quiet hour, and give it the settings of its parent (set, MAIL FROM, DKIM)",
                )
                break


@rule(
    "address-mail",
    "note",
    "SES sends a verification mail",
    "SES Developer Guide, Creating and verifying identities: the link lives 24 hours",
)
def verification_mail(view: RuleView) -> Iterator[RawFinding]:
    """A new single-address identity."""
    for identity in view.resources("email_identity"):
        if identity.is_new and "@" in identity.name:
            yield RawFinding(
                identity.address,
                f"SES mails a link to {identity.name}; somebody has to follow it within 24 hours",
                "tell the owner of the mailbox",
            )


@rule(
    "policy-anyone",
    "warning",
    "A sending policy that lets any AWS account send",
    "SES Developer Guide, Sending authorization policy anatomy",
)
def policy_anyone(view: RuleView) -> Iterator[RawFinding]:
    """Principal * in an Allow without a condition."""
    for identity in view.resources("email_identity"):
        for name, policy in (identity.will("policies") or {}).items():
            statements = policy.get("Statement") or () if isinstance(policy, dict) else ()
            for statement in statements if isinstance(statements, list | tuple) else [statements]:
                if (
                    statement.get("Effect") == "Allow"
                    and _anyone(statement.get("Principal"))
                    and not statement.get("Condition")
                ):
                    yield RawFinding(
                        identity.address,
                        f"the policy {name} of {identity.name} in {identity.region} lets every AWS "
                        "account send in its name",
                        "name the account, or add a condition",
                    )


def _anyone(principal: Any) -> bool:
    if isinstance(principal, dict):
        values = principal.get("AWS")
        return values == "*" or (isinstance(values, list | tuple) and "*" in values)
    return bool(principal == "*")
