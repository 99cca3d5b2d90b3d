"""The layer of SMTP users: whose password works, and who may send. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from reconciler.doctor.checks import ADVICE, FOUND, OK, UNKNOWN, Check
from reconciler.doctor.facts import Facts, may_send
from reconciler.kinds.snapshot import Snapshot
from reconciler.model import Desired
from reconciler.resources.smtp_credential import kind as smtp_credential
from reconciler.resources.smtp_credential import rotation
from reconciler.resources.smtp_user import kind as smtp_user


def checks(facts: Facts) -> Iterator[Check]:
    """Those of the declared users."""
    for desired in sorted(facts.snapshot.kind(smtp_credential.NAME), key=lambda d: d.name):
        domain = next((d for d in facts.domains if may_send(desired.entry, d)), "")
        yield replace(_declared_user(facts.snapshot, desired), domain=domain)


def _declared_user(snapshot: Snapshot, desired: Desired) -> Check:
    name, address = desired.name, desired.address

    def check(status: str, message: str, hint: str, rank: int = 0) -> Check:
        return Check("smtp", status, f"{name}{message}", hint, about="user", subject=name, rank=rank)

    unread = snapshot.unknown(address) or snapshot.unknown(smtp_user.address_of(name))
    if unread is not None:
        return check(UNKNOWN, f" could not be read: {unread.reason}", unread.hint)
    live = snapshot.observed.get(address)
    state = rotation.assess(desired, live, snapshot.now)
    if live is None or state.phase in {"locked", "unhealthy"}:
        return check(FOUND, f": {state.reason}", state.hint or "recon apply")
    if denied := smtp_user.denied(snapshot, name):
        hint = "remove the statement that denies, or the user from the group"
        return check(FOUND, f": the login works, but SES refuses its mail: {denied}", hint)
    if left := rotation.unacknowledged(desired, live):
        listed = ", ".join(rotation.describe_consumer(c) for c in left)
        hint = f'give them the password, then: recon smtp ack {name} "{left[0]["name"]}"'
        message = f": nobody has confirmed that these have the current password: {listed}"
        return check(FOUND, message, hint, ADVICE)
    for key, used in live.facts["last_used"].items():
        if "unknown" in used:
            hint = "allow iam:GetAccessKeyLastUsed"
            return check(UNKNOWN, f": whether {key} is still in use could not be read: {used['unknown']}", hint)
    message = f": its key {live.spec['key']} is active, and every store holds its passwords"
    return check(OK, message, f"recon smtp verify {name} tests the login")
