"""What `recon smtp verify` says beside the login: who ended a key, and whether IAM policies let its user send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.errors import ReconError

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.senders.permission import Permission
    from reconciler.smtp.verify import Verdict

Login = tuple[str, str, "Verdict"]
"""User or access key, region, and what came of it."""


def message_asked(from_address: str | None, source_ip: str | None) -> dict[str, str]:
    """The options about one message, for ``smtp_permission``. Raises ReconError for what is no address."""
    import ipaddress

    from reconciler.suppression import is_address

    if from_address is not None and not is_address(from_address):
        raise ReconError(f"--from {from_address} is not an e-mail address", hint="such as news@acme.com")
    try:
        ipaddress.ip_address(source_ip or "192.0.2.1")
    except ValueError:
        raise ReconError(f"--source-ip {source_ip} is not an IP address", hint="such as 203.0.113.7") from None
    return {"from_address": from_address or "", "source_ip": source_ip or ""}


def with_permission(aws: Aws, logins: Sequence[Login], asked: Mapping[str, str]) -> list[Login]:
    """The logins of users; where the password works, with what policies say of the mail."""
    from reconciler.kinds.snapshot import now
    from reconciler.senders import permission
    from reconciler.smtp.verify import HEALTHY

    if not any(v.verdict == HEALTHY for _, _, v in logins):
        return list(logins)
    found: list[Login] = []
    facts = permission.read(aws, now())
    for name, where, verdict in logins:
        said = permission.smtp_permission(facts, name, where, **asked)
        if said.cause == permission.NOT_ALLOWED and verdict.verdict == HEALTHY:
            wider = permission.read_with_identities(aws, now(), where)
            said = permission.smtp_permission(wider, name, where, **asked)
        found.append((name, where, _judged(verdict, said)))
    return found


def _judged(verdict: Verdict, permission: Permission) -> Verdict:
    """A login that works, with what policies say; any other as it is."""
    from reconciler.senders.permission import UNDECIDED as NOT_KNOWN
    from reconciler.smtp.verify import HEALTHY, POLICY, UNDECIDED

    if verdict.verdict != HEALTHY:
        return verdict
    if not permission.cause:
        more = f"; {permission.message}" if permission.message else ""
        return replace(verdict, message=verdict.message + more)
    found = UNDECIDED if permission.cause == NOT_KNOWN else POLICY
    message = f"{verdict.message}, but {permission.message}"
    return replace(verdict, verdict=found, cause=permission.cause, message=message, hint=permission.hint)


def explained(aws: Aws, logins: Sequence[Login], asked: Mapping[str, str]) -> list[Login]:
    """The logins of one access key with a password that somebody holds, with what IAM and CloudTrail say of the key.

    Raises AwsError where IAM does not answer.
    """
    from reconciler.doctor import key_history
    from reconciler.kinds.snapshot import now
    from reconciler.smtp.verify import HEALTHY, STALE, owner_of_key, why_refused

    key = logins[0][0]
    found = list(logins)
    if any(v.verdict == STALE for _, _, v in found):
        why, hint = why_refused(aws, key), ""
        lost = next((one for one in key_history.read(aws, now()).lost if one.id == key), None)
        if lost is not None:
            why = f"the access key {key} of {lost.user} {lost.words()}"
            hint = "give this copy the user name and password of a key that exists"
        found = [
            (
                name,
                where,
                replace(v, message="; ".join(filter(None, [v.message, why])), hint=hint or v.hint)
                if v.verdict == STALE
                else v,
            )
            for name, where, v in found
        ]
    if any(v.verdict == HEALTHY for _, _, v in found):
        user = owner_of_key(aws, key)
        judged = with_permission(aws, [(user, where, v) for _, where, v in found], asked)
        found = [(key, where, v) for _, where, v in judged]
    return found
