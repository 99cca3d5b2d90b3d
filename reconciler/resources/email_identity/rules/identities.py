"""Who may send, and the mail that AWS itself sends about an identity."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from reconciler.names import at_or_above, parents
from reconciler.rules import registry
from reconciler.rules.registry import RawFinding
from reconciler.rules.view import RuleView

rule = partial(registry.rule, theme="Identities", example="email_identity/us-east-1/acme.com")


@rule(
    "identity-deleted",
    "error",
    "An identity that sends is deleted",
    "SES API, DeleteEmailIdentity: mail from it is refused at once",
    why="""SES rejects mail from it at once. If the identity is known to have sent mail in the last day, this is an
    error. If that is unknown, it is a warning that names the number of messages of the whole region. If the region
    sent nothing, it is a note.

    AWS counts by identity only in regions that have the Virtual Deliverability Manager (`BatchGetMetricData`, one
    call for ten deleted identities). SES metrics in CloudWatch have no identity dimension, and GetAccount counts
    the whole region. The metric leaves out mail to several recipients, so a zero does not prove that nothing was
    sent.""",
    fix="Move its senders to another identity first, or waive this with a date.",
)
def identity_deleted(view: RuleView) -> Iterator[RawFinding]:
    """The plan deletes an identity."""
    for identity in view.resources("email_identity"):
        if identity.before is None or identity.after is not None:
            continue
        sent = view.sent_last_day.get(identity.address)
        region = (view.accounts.get(identity.region or "", {}).get("SendQuota") or {}).get("SentLast24Hours")
        known = ""
        if sent:
            known = f"; it sent {sent} messages in the last day"
        elif region:
            known = f"; the region sent {region:.0f} messages in the last day (SES has no number for each identity)"
        elif region is not None:
            known = "; nothing was sent there in the last day"
        yield RawFinding(
            identity.address,
            f"after this, SES rejects mail from {identity.name} in {identity.region}{known}",
            "move its senders first, or waive this with a date",
            hurts=bool(sent),
            new=not sent and region == 0,
        )


@rule(
    "identity-shadows-parent",
    "warning",
    "A new identity takes over mail that its parent sends today",
    "SES Developer Guide, Creating and verifying identities: the most specific identity counts",
    why="SES uses the most specific identity. As soon as the new one exists, its own settings (DKIM, MAIL FROM, "
    "default configuration set) apply, although it is not verified yet.",
    fix="Apply at a time of little mail, and declare the same settings as those of the parent.",
    example="email_identity/us-east-1/shop.acme.com",
)
def shadows_parent(view: RuleView) -> Iterator[RawFinding]:
    """The plan creates an identity for a name that a parent identity sends mail for today."""
    for identity in view.resources("email_identity"):
        if not identity.is_new or not identity.region:
            continue
        _, at, domain = identity.name.rpartition("@")
        for name in at_or_above(domain) if at else parents(domain):
            parent = view.resource(f"email_identity/{identity.region}/{name}")
            if parent is not None and parent.stays and view.can_send(parent):
                yield RawFinding(
                    identity.address,
                    f"mail from {identity.name} uses the identity {name} in {identity.region} today; the new identity "
                    "takes over as soon as it exists, before it is verified",
                    "apply at a time of little mail, and give it the settings of its parent (default set, MAIL FROM, "
                    "DKIM)",
                )
                break


@rule(
    "address-mail",
    "note",
    "SES sends a verification mail",
    "SES Developer Guide, Creating and verifying identities: the link lives 24 hours",
    why="SES sends a link to the address. If nobody clicks it within 24 hours, the verification fails.",
    fix="Tell the owner of the mailbox.",
    example="email_identity/us-east-1/ceo@acme.com",
)
def verification_mail(view: RuleView) -> Iterator[RawFinding]:
    """The plan creates an identity for a single address."""
    for identity in view.resources("email_identity"):
        if identity.is_new and "@" in identity.name:
            yield RawFinding(
                identity.address,
                f"SES sends a link to {identity.name}; somebody has to click it within 24 hours",
                "tell the owner of the mailbox",
            )


@rule(
    "policy-anyone",
    "warning",
    "A sending policy that allows any AWS account to send",
    "SES Developer Guide, Sending authorization policy anatomy",
    why="Any AWS account can then send mail from the domain, at the cost of its reputation.",
    fix="Name the account or role as the principal, or add a condition.",
)
def policy_anyone(view: RuleView) -> Iterator[RawFinding]:
    """A sending policy allows every principal (`*`), without a condition."""
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
                        f"the policy {name} of {identity.name} in {identity.region} allows every AWS account to send "
                        f"as {identity.name}",
                        "name the account, or add a condition",
                    )


def _anyone(principal: Any) -> bool:
    if isinstance(principal, dict):
        values = principal.get("AWS")
        return values == "*" or (isinstance(values, list | tuple) and "*" in values)
    return bool(principal == "*")
