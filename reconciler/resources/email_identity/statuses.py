"""What SES still verifies of an identity, or has found wrong with it: shown beside a plan, never a change.

Source: SES v2 API reference, GetEmailIdentity and VerificationInfo.
"""

from __future__ import annotations

from reconciler.model import Diagnostic, Observed

VERIFICATION_HINTS = {
    "HOST_NOT_FOUND": "SES found no record at the DKIM names: are they published, and is the zone the live one?",
    "TYPE_NOT_FOUND": "the DKIM names exist but have no CNAME (or TXT for BYODKIM)",
    "INVALID_VALUE": "the DKIM records do not hold the values that SES expects",
    "DNS_SERVER_ERROR": "the domain's name servers did not answer SES: check the delegation at the registrar",
    "SERVICE_ERROR": "SES had a problem of its own and will try again",
    "REPLICATION_ACCESS_DENIED": "allow ses:ReplicateEmailIdentityDkimSigningKey on the parent identity",
    "REPLICATION_PRIMARY_NOT_FOUND": "the parent region has no such identity: create it there first",
    "REPLICATION_PRIMARY_BYO_DKIM_NOT_SUPPORTED": "the parent uses BYODKIM; it must use Easy DKIM",
    "REPLICATION_REPLICA_AS_PRIMARY_NOT_SUPPORTED": "the parent is a replica itself: name the one with the keys",
    "REPLICATION_PRIMARY_INVALID_REGION": "the parent region cannot be one: name another",
}
"""What to do about each ErrorType of VerificationInfo."""

_FAILED = frozenset({"FAILED", "TEMPORARY_FAILURE"})
_SHOWN = _FAILED | {"PENDING", "NOT_STARTED"}


def status_of(live: Observed) -> Diagnostic | None:
    """What is not (yet) in order with one identity; None where nothing is."""
    facts = live.facts
    found = {
        "verification": facts.get("verification_status"),
        "DKIM": facts.get("dkim_status"),
        "MAIL FROM": facts.get("mail_from_status"),
    }
    if "@" in live.name or not live.spec["dkim"]["signing_enabled"]:
        found.pop("DKIM")
    words = [f"{name} {status}" for name, status in found.items() if status in _SHOWN]
    if not words:
        return None
    # SES tells when it last verified an identity: only then it is known that a status has changed.
    lost = facts.get("verification_status") in _FAILED and facts.get("last_verified")
    error = str(facts.get("error_type") or "") if facts.get("verification_status") != "SUCCESS" else ""
    return Diagnostic(
        "warning" if _FAILED.intersection(found.values()) else "note",
        "status-changed" if lost else "status",
        f"{live.name} in {live.region}: {', '.join(words)}"
        + (f" ({error})" if error else "")
        + (f"; SES last verified it at {lost}" if lost else ""),
        VERIFICATION_HINTS.get(error, ""),
        address=live.address,
    )
