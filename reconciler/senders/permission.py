"""Whether the policies of a user let it send over SMTP, and if not, why: before it sends anything. Pure but ``read``.

Source: SES Developer Guide, "Amazon SES SMTP issues" (a login succeeds whatever the policies say; 554 Access denied
comes after the message) and "Controlling access to Amazon SES" (SMTP needs ses:SendRawEmail).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from reconciler.names import domain_of, parents
from reconciler.policy_evaluation import Policies, PolicyAnswer, Principal, Reach, may_send, reach
from reconciler.policy_evaluation.evaluate import NOTHING, Decision, matches
from reconciler.policy_evaluation.sending import ANY, SMTP_ACTION
from reconciler.regions import identity_arn
from reconciler.senders.reading import AccountFacts, read_principals
from reconciler.senders.reading import read as read_all
from reconciler.senders.report import local_policies

if TYPE_CHECKING:
    from reconciler.aws import Aws

DENY, NETWORK, FROM, NOT_ALLOWED, UNDECIDED = (
    "deny", "network-condition", "from-not-allowed", "not-allowed", "undecided",
)  # fmt: skip
_ORDER: Final[tuple[PolicyAnswer, ...]] = ("yes", "unknown", "no")


@dataclass(frozen=True, slots=True)
class Permission:
    """``cause`` is one of the names above, or "" where nothing refuses mail; ``message`` then says what limits it."""

    cause: str
    message: str = ""
    hint: str = ""


def read(aws: Aws, now: str) -> AccountFacts:
    """All users with their policies: one call a thousand principals. What failed is in ``diagnostics``."""
    return read_principals(aws, aws.stack.account, now)


MOST_IDENTITIES: Final = 20
"""The policies of so many identities are read where a user's own let it send nothing: a call each, one a second."""


def read_with_identities(aws: Aws, now: str, region: str) -> AccountFacts:
    """The same with the policies of a region's first identities, which may let a user send, too."""
    return read_all(aws, aws.stack.account, [region], now, identities=MOST_IDENTITIES)


def smtp_permission(
    facts: AccountFacts, user: str, region: str, *, from_address: str = "", source_ip: str = ""
) -> Permission:  # fmt: skip
    """Whether a user may send over SMTP in a region; with ``from_address`` and ``source_ip`` whether one message may.

    What the policies of identities say counts as far as they were read.
    """
    found = local_policies(facts, user)
    if found is None:
        why = "; ".join(d.message for d in facts.diagnostics) or f"IAM did not list the user {user}"
        return Permission(UNDECIDED, f"whether its policies let it send is not known: {why}")
    policies, who = found
    all_of_it = reach(policies, who, (region,))
    if (problem := _refused(all_of_it)) is not None:
        unread = [d.message for d in facts.diagnostics if d.code.startswith("identity-policies")]
        return replace(problem, message="; ".join([problem.message, *unread]))
    if from_address:
        decision = _decided(policies, who, region, from_address, source_ip)
        if decision.answer == "no":
            return _why(all_of_it, decision, from_address, source_ip)
        if decision.answer == "unknown" and (source_ip or set(all_of_it.networks) == {ANY}):
            return Permission(UNDECIDED, f"whether it may send as {from_address} is not known: {_listed(decision)}")
    elif source_ip and not _inside(all_of_it, source_ip):
        return _outside(all_of_it, source_ip)
    if all_of_it.can_send == "unknown":
        words = "; ".join(all_of_it.reasons) or "its conditions cannot be decided"
        return Permission(UNDECIDED, f"whether its policies let it send is not known: {words}")
    return Permission("", "; ".join(_limits(all_of_it, from_address, source_ip)))


def _refused(found: Reach) -> Permission | None:
    """Why it may send nothing over SMTP at all; None where it may."""
    if found.can_send == "no":
        why = "; ".join(found.reasons) or NOTHING
        cause = DENY if "denies it" in why else NOT_ALLOWED
        hint = "remove the statement that denies" if cause == DENY else "allow it ses:SendRawEmail"
        return Permission(cause, f"SES refuses its mail (554): {why}", hint)
    if SMTP_ACTION not in found.actions:
        may = ", ".join(found.actions)
        return Permission(
            NOT_ALLOWED, f"SES refuses its mail (554): SMTP needs ses:SendRawEmail, and its policies allow {may} alone",
            "allow it ses:SendRawEmail, or send through the API",
        )  # fmt: skip
    return None


def _decided(policies: Policies, who: Principal, region: str, address: str, source_ip: str) -> Decision:
    """The best answer over the identities that can send for an address: itself, its domain and those above."""
    domain = domain_of(address)
    names = (address, domain, *(name for name in parents(domain) if "." in name))
    answers = [
        may_send(
            policies, who, [identity_arn(who.partition, region, who.account, name)], from_address=address,
            source_ip=source_ip, region=region,
        )
        for name in names
    ]  # fmt: skip
    return min(answers, key=lambda one: _ORDER.index(one.answer))


def _why(found: Reach, decision: Decision, address: str, source_ip: str) -> Permission:
    """What of one message its policies refuse."""
    if not any(matches(pattern.lower(), address.lower()) for pattern in found.from_addresses):
        listed = ", ".join(found.from_addresses)
        return Permission(
            FROM, f"SES refuses mail from {address} (554): it may send as {listed} alone",
            "use another From address, or another user; or allow this one",
        )  # fmt: skip
    if source_ip and not _inside(found, source_ip):
        return _outside(found, source_ip)
    cause = DENY if any("denies it" in why for why in decision.reasons) else NOT_ALLOWED
    return Permission(cause, f"SES refuses mail from {address} (554): {_listed(decision)}", "change its policies")


def _outside(found: Reach, source_ip: str) -> Permission:
    return Permission(
        NETWORK, f"SES refuses its mail from {source_ip} (554): it may send from {', '.join(found.networks)} alone",
        "send from one of these networks, or add this one",
    )  # fmt: skip


def _inside(found: Reach, source_ip: str) -> bool:
    one = ipaddress.ip_address(source_ip)
    for text in found.networks:
        if text == ANY:
            return True
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            continue  # a VPC or its endpoint
        if one.version == network.version and one in network:
            return True
    return False


def _limits(found: Reach, from_address: str, source_ip: str) -> Iterator[str]:
    """What limits a user that may send, and was not asked about."""
    if not from_address and ANY not in found.from_addresses:
        yield f"it may send as {', '.join(found.from_addresses)} alone"
    if not source_ip and ANY not in found.networks:
        yield f"it may send from {', '.join(found.networks)} alone: whether the sender is there was not asked"


def _listed(decision: Decision) -> str:
    return "; ".join(decision.reasons) or NOTHING
