"""What IAM and SES say about who may send: all principals and policies in one bulk read, the policies of identities,
and the access keys of those that may send.

A part that could not be read is in ``diagnostics`` and in ``undecided``; it is never taken for empty.

Source: IAM API, GetAccountAuthorizationDetails (entities and policies come in any page, up to 1,000 a page; documents
are URL-encoded, which botocore decodes), GenerateCredentialReport (kept for four hours), GetAccessKeyLastUsed ("N/A"
for a key that was never used); IAM User Guide, "Getting credential reports" (columns); SES v2 API, ListEmailIdentities,
GetEmailIdentityPolicies, ListConfigurationSets.
"""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import AwsError
from reconciler.model import Diagnostic

if TYPE_CHECKING:
    from reconciler.aws import Aws

READS: Final = (
    "iam:GetAccountAuthorizationDetails", "iam:GetPolicy", "iam:GetPolicyVersion", "iam:ListAccessKeys",
    "iam:GetAccessKeyLastUsed", "iam:GenerateCredentialReport", "iam:GetCredentialReport", "sesv2:ListEmailIdentities",
    "sesv2:GetEmailIdentityPolicies", "sesv2:ListConfigurationSets",
)  # fmt: skip
IDENTITIES: Final = 100
"""The policies of so many identities are read by default: a call each, one a second in a region."""
ALL: Final = sys.maxsize
MANY_USERS: Final = 100
"""For more users the credential report tells the age and last use of keys, instead of two calls a user and more."""
REPORT_SECONDS: Final = 120.0
"""How long a credential report may take."""
_PAGE: Final = 1000
_ABSENT: Final = frozenset({"", "N/A", "no_information", "not_supported"})

KeyFacts = dict[str, Any]
"""``id`` (None from the credential report), ``status``, ``created``, ``last_used``, ``last_service``,
``last_region``."""


@dataclass(slots=True)
class AccountFacts:
    """Everything that was read. ``managed`` holds the document of each managed policy by its ARN, or the error.

    ``policies`` are those of identities by (region, name): policy name -> document. ``keys`` are those of users by
    name; None where they could not be read. ``undecided`` says that something is missing that decides who may send.
    """

    account: str
    partition: str
    regions: tuple[str, ...]
    now: str
    users: list[Mapping[str, Any]] = field(default_factory=list)
    roles: list[Mapping[str, Any]] = field(default_factory=list)
    groups: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    managed: dict[str, Any] = field(default_factory=dict)
    identities: dict[str, list[str]] = field(default_factory=dict)
    sets: dict[str, list[str]] = field(default_factory=dict)
    policies: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    keys: dict[str, list[KeyFacts] | None] = field(default_factory=dict)
    report_time: str | None = None
    diagnostics: list[Diagnostic] = field(default_factory=list)
    undecided: bool = False

    def unread(self, code: str, message: str, error: AwsError | None = None, *, decides: bool = True) -> None:
        """Record a part that could not be read."""
        text = f"{message}: {error.message}" if error else message
        self.diagnostics.append(Diagnostic("error" if decides else "warning", code, text, error.hint if error else ""))
        self.undecided = self.undecided or decides


def read(aws: Aws, account: str, regions: Sequence[str], now: str, *, identities: int = IDENTITIES) -> AccountFacts:
    """Principals, policies, configuration sets, and identities with the policies of the first ``identities``."""
    facts = AccountFacts(account, aws.stack.partition, tuple(regions), now)
    works: list[Callable[[], None]] = [lambda: _principals(aws, facts)]
    works += [lambda region=region: _region(aws, facts, region) for region in regions]  # type: ignore[misc]
    aws.parallel(lambda work: work(), works)
    _managed_elsewhere(aws, facts)
    _identity_policies(aws, facts, identities)
    return facts


def read_principals(aws: Aws, account: str, now: str) -> AccountFacts:
    """Users, roles and their policies alone."""
    facts = AccountFacts(account, aws.stack.partition, (), now)
    _principals(aws, facts)
    _managed_elsewhere(aws, facts)
    return facts


def _principals(aws: Aws, facts: AccountFacts) -> None:
    marker: dict[str, Any] = {}
    try:
        while True:
            page = aws.call("iam", "GetAccountAuthorizationDetails", MaxItems=_PAGE, **marker)
            facts.users += page.get("UserDetailList") or ()
            facts.roles += page.get("RoleDetailList") or ()
            facts.groups |= {str(group["GroupName"]): group for group in page.get("GroupDetailList") or ()}
            for policy in page.get("Policies") or ():
                for version in policy.get("PolicyVersionList") or ():
                    if version.get("IsDefaultVersion"):
                        facts.managed[str(policy["Arn"])] = version.get("Document")
            if not page.get("Marker"):
                return
            marker = {"Marker": page["Marker"]}
    except AwsError as error:
        part = "only a part of the users, roles and policies was read" if marker else "nobody knows who may send"
        facts.unread("principals-unread", part, error)


def _managed_elsewhere(aws: Aws, facts: AccountFacts) -> None:
    """The documents that the bulk read did not have: of a policy that is a boundary alone, perhaps."""
    holders = (*facts.users, *facts.roles, *facts.groups.values())
    named = {str(p["PolicyArn"]) for holder in holders for p in holder.get("AttachedManagedPolicies") or ()}
    named |= {b for h in holders if (b := (h.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn"))}

    def document(arn: str) -> Any:
        try:
            version = aws.call("iam", "GetPolicy", PolicyArn=arn)["Policy"]["DefaultVersionId"]
            return aws.call("iam", "GetPolicyVersion", PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        except AwsError as error:
            return error

    missing = sorted(named - facts.managed.keys())
    for arn, found in zip(missing, aws.parallel(document, missing), strict=True):
        facts.managed[arn] = found
        if isinstance(found, AwsError):
            facts.unread("policy-unread", f"the policy {arn} could not be read", found)


def _region(aws: Aws, facts: AccountFacts, region: str) -> None:
    try:
        listed = aws.pages("sesv2", "ListEmailIdentities", "EmailIdentities", region, PageSize=_PAGE)
        facts.identities[region] = sorted(str(one["IdentityName"]) for one in listed)
    except AwsError as error:
        facts.unread("identities-unread", f"the identities in {region} could not be listed", error)
    try:
        facts.sets[region] = sorted(map(str, aws.pages("sesv2", "ListConfigurationSets", "ConfigurationSets", region,
                                                       PageSize=_PAGE)))  # fmt: skip
    except AwsError as error:
        facts.unread("sets-unread", f"the configuration sets in {region} could not be listed", error, decides=False)


def _identity_policies(aws: Aws, facts: AccountFacts, most: int) -> None:
    every = [(region, name) for region in sorted(facts.identities) for name in facts.identities[region]]
    chosen, left = every[:most], every[most:]

    def policies(place: tuple[str, str]) -> Mapping[str, Any] | AwsError | None:
        region, name = place
        try:
            found = aws.call_if_there("sesv2", "GetEmailIdentityPolicies", region, EmailIdentity=name)
        except AwsError as error:
            return error
        return None if found is None else found.get("Policies") or {}

    failed: list[tuple[tuple[str, str], AwsError]] = []
    for place, found in zip(chosen, aws.parallel(policies, chosen, lambda p: p[0]), strict=True):
        if isinstance(found, AwsError):
            failed.append((place, found))
        elif found:
            facts.policies[place] = found
    if failed:
        names = _some([name for (_, name), _ in failed])
        facts.unread("identity-policies-unread", f"the policies of {names} could not be read", failed[0][1])
    if left:
        message = f"the policies of {len(left)} of {len(every)} identities were not read: {_some([n for _, n in left])}"
        hint = f"--identities {len(every)}, or all: a call each, one a second in a region"
        facts.diagnostics.append(Diagnostic("warning", "identity-policies-not-read", message, hint))


def _some(names: Sequence[str], most: int = 5) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


# --- access keys ---------------------------------------------------------------------------------------------------


def read_keys(aws: Aws, facts: AccountFacts, users: Iterable[str]) -> None:
    """The access keys of some users, with age and last use, into ``facts.keys``."""
    names = sorted(set(users))
    if len(names) > MANY_USERS:
        _keys_by_report(aws, facts, names)
        return

    def keys(name: str) -> list[KeyFacts] | AwsError | None:
        try:
            listed = list(aws.pages("iam", "ListAccessKeys", "AccessKeyMetadata", token_in="Marker", UserName=name))
            return [_key(aws, one) for one in listed]
        except AwsError as error:
            return None if error.absent else error

    failed: list[tuple[str, AwsError]] = []
    for name, found in zip(names, aws.parallel(keys, names), strict=True):
        facts.keys[name] = None if isinstance(found, AwsError) else found or []
        if isinstance(found, AwsError):
            failed.append((name, found))
    if failed:
        message = f"the access keys of {_some([name for name, _ in failed])} could not be read"
        facts.unread("keys-unread", message, failed[0][1], decides=False)


def _key(aws: Aws, listed: Mapping[str, Any]) -> KeyFacts:
    used = aws.call_if_there("iam", "GetAccessKeyLastUsed", AccessKeyId=listed["AccessKeyId"])
    last = (used or {}).get("AccessKeyLastUsed") or {}
    at = last.get("LastUsedDate")
    service, region = (None if (text := last.get(k)) in _ABSENT else text for k in ("ServiceName", "Region"))
    return {
        "id": listed["AccessKeyId"], "status": listed["Status"], "created": text_of(listed.get("CreateDate")),
        "last_used": text_of(at), "last_service": service if at else None, "last_region": region if at else None,
    }  # fmt: skip


def _keys_by_report(aws: Aws, facts: AccountFacts, names: Sequence[str]) -> None:
    facts.keys |= dict.fromkeys(names)
    try:
        report = _credential_report(aws)
    except AwsError as error:
        facts.unread("keys-unread", f"the access keys of {len(names)} users could not be read", error, decides=False)
        return
    if report is None:
        message = f"the access keys of {len(names)} users are unread: IAM has not finished its credential report"
        facts.unread("keys-unread", message, decides=False)
        return
    facts.report_time = text_of(report.get("GeneratedTime"))
    content = bytes(report["Content"]).decode("utf-8", "replace")
    rows = {row.get("user") or "": row for row in csv.DictReader(io.StringIO(content))}
    for name in names:
        if (row := rows.get(name)) is not None:
            facts.keys[name] = [key for number in (1, 2) if (key := _reported_key(row, number))]
    if left := [name for name in names if name not in rows]:
        message = f"{_some(left)} is not in the credential report of {facts.report_time}, which is kept for four hours"
        facts.unread("keys-unread", message, decides=False)
    message = f"age and last use of the keys are from the credential report of {facts.report_time}, without key ids"
    facts.diagnostics.append(Diagnostic("note", "credential-report", message))


def _credential_report(aws: Aws) -> Mapping[str, Any] | None:
    """The report, made first where IAM has none of the last four hours; None where that takes too long."""
    deadline = time.monotonic() + REPORT_SECONDS
    pause = 0.2
    while aws.call("iam", "GenerateCredentialReport").get("State") != "COMPLETE":
        if time.monotonic() > deadline or aws.stopping:
            return None
        aws.on_wait("waiting for the credential report of IAM")
        time.sleep(pause)
        pause = min(pause * 2, 5.0)
    return aws.call("iam", "GetCredentialReport")


def _reported_key(row: Mapping[str, str | None], number: int) -> KeyFacts | None:
    def column(name: str) -> str | None:
        text = row.get(f"access_key_{number}_{name}") or ""
        return None if text in _ABSENT else text

    created = column("last_rotated")
    active = (column("active") or "").lower() == "true"
    if created is None and not active:
        return None
    return {
        "id": None, "status": "Active" if active else "Inactive", "created": _iso(created),
        "last_used": _iso(column("last_used_date")), "last_service": column("last_used_service"),
        "last_region": column("last_used_region"),
    }  # fmt: skip


def _iso(text: str | None) -> str | None:
    try:
        return text_of(datetime.fromisoformat(text)) if text else None
    except ValueError:
        return text


def text_of(moment: Any) -> str | None:
    """A time as ISO 8601 in UTC, without fractions; None for anything else."""
    if not isinstance(moment, datetime):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
