"""IAM users that look like SMTP users of SES: what lets them send, whether the YAML can say it, which keys they have.

Source: SES Developer Guide, "Obtaining Amazon SES SMTP credentials" (the console makes a user with a policy that
allows ses:SendRawEmail, of late through a group); IAM API, GetAccountAuthorizationDetails.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from reconciler.errors import AwsError
from reconciler.kinds.iam_account import Detail, everyone, groups_and_policies
from reconciler.kinds.iam_principals import has_more
from reconciler.kinds.ownership import KEY, owner_of
from reconciler.kinds.send_policy import sends
from reconciler.kinds.snapshot import Snapshot
from reconciler.kinds.tags import user_tags
from reconciler.model import Observed
from reconciler.names import domain_of, fold_domain, fold_identity
from reconciler.regions import meant
from reconciler.resources import KINDS
from reconciler.resources.email_identity import DEFAULT_SET, NAME
from reconciler.resources.smtp_credential import keys, stores
from reconciler.resources.smtp_user.kind import ACTIONS, KIND, POLICY, fields_of

if TYPE_CHECKING:
    from reconciler.aws import Aws

_SENT_THROUGH: Final = frozenset(KINDS[kind].arn for kind in (NAME, DEFAULT_SET.kind))
"""The resource types of SES that a policy of an SMTP user names."""
_OWN: Final = f"the inline policy {POLICY}"
_FULL_ACCESS: Final = ":policy/AmazonSESFullAccess"


@dataclass(slots=True)
class SmtpUserFound:
    """One user that a policy lets send.

    ``grants`` are where it may send from: ``inline NAME``, ``group GROUP, NAME``, ``attached ARN``. ``values`` is the
    entry that says the same in YAML, None with ``why`` where YAML cannot. ``keys`` have id, status, created, used.
    """

    live: Observed
    grants: list[str]
    values: dict[str, Any] | None = None
    why: str = ""
    keys: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.live.name

    @property
    def needs_key(self) -> bool:
        """Whether a declaration makes an access key: none is there that recon made."""
        return self.values is not None and KEY not in self.live.facts["key_tags"]

    def domains(self) -> set[str]:
        """The domains that its policy names, folded."""
        values = self.values or {}
        found = set()
        for item in (*(values.get("from_addresses") or ()), *(values.get("identities") or ())):
            try:
                found.add(fold_domain(domain_of(str(item)).removeprefix("*.")))
            except ValueError:
                continue
        return found

    def read_keys(self, aws: Aws) -> None:
        """Which keys there are and when each was last used; no secret can be read. Raises AwsError."""
        self.keys = [{**key, "used": keys.last_used(aws, key["id"])} for key in keys.list_keys(aws, self.name)]


def smtp_users(aws: Aws, snapshot: Snapshot) -> list[SmtpUserFound]:
    """Every user whose own, attached or group's policy names an action of SES that sends raw mail.

    An administrator (``*``) is none. Raises AwsError where the users cannot be read; groups and attached policies
    that cannot be read are said in ``snapshot``.
    """
    users = everyone(aws, snapshot)["User"]
    groups: dict[str, list[tuple[str, Any]]] = {}
    managed: dict[str, Any] = {}
    if any(map(has_more, users)):
        all_groups, policies = _others(aws, snapshot)
        for group in all_groups:
            groups[group["GroupName"]] = list(_inline(group, "GroupPolicyList"))
            groups[group["GroupName"]] += [(a, a) for a in _attached(group)]
        for policy in policies:
            versions = policy.get("PolicyVersionList") or ()
            managed[policy["Arn"]] = next(
                (_document(v.get("Document")) for v in versions if v.get("IsDefaultVersion")), None
            )
    found = []
    for user in users:
        grants = [
            (label, document)
            for label, document in _policies(user, groups, managed)
            if document == _FULL_ACCESS or sends(document, *ACTIONS)
        ]
        if grants:
            live = KIND.observed_of(user)
            own = [grant for grant in grants if grant[0] == _OWN]
            # of what the stack owns the other policies are somebody's addition: rules tell of them
            ours = own if own and owner_of(live.tags) == snapshot.scope else grants
            found.append(replace(_described(live, ours), grants=[label for label, _ in grants]))
    return sorted(found, key=lambda user: user.name)


def _others(aws: Aws, snapshot: Snapshot) -> tuple[Sequence[Detail], Sequence[Detail]]:
    try:
        return groups_and_policies(aws, snapshot)
    except AwsError as error:
        snapshot.unreadable("smtp_user", error.message, error.hint)
        return (), ()


def _inline(holder: Mapping[str, Any], member: str) -> Iterator[tuple[str, Any]]:
    for policy in holder.get(member) or ():
        yield policy["PolicyName"], _document(policy.get("PolicyDocument"))


def _attached(holder: Mapping[str, Any]) -> list[str]:
    return [policy["PolicyArn"] for policy in holder.get("AttachedManagedPolicies") or ()]


def _policies(
    user: Mapping[str, Any], groups: Mapping[str, list[tuple[str, Any]]], managed: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    for name, document in _inline(user, "UserPolicyList"):
        yield f"the inline policy {name}", document
    for arn in _attached(user):
        yield f"the attached policy {arn}", _FULL_ACCESS if arn.endswith(_FULL_ACCESS) else managed.get(arn)
    for group in user.get("GroupList") or ():
        for name, document in groups.get(group, ()):
            if document == name:
                document = _FULL_ACCESS if name.endswith(_FULL_ACCESS) else managed.get(name)
            yield f"the policy {name} of the group {group}", document


def _document(document: Any) -> Any:
    """A policy as IAM returns it: URL-encoded JSON, which botocore mostly decodes."""
    if isinstance(document, str):
        try:
            return json.loads(unquote(document))
        except ValueError:
            return None
    return document


def _described(live: Observed, grants: list[tuple[str, Any]]) -> SmtpUserFound:
    found = SmtpUserFound(live, [label for label, _ in grants])
    if len(grants) > 1:
        found.why = "several policies let it send, and an entry is one: " + "; ".join(found.grants)
        return found
    label, document = grants[0]
    parts = fields_of(document) if document != _FULL_ACCESS else {"policy": document}
    if parts["policy"] is not None:
        found.why = f"recon's YAML cannot express {label}: it takes one statement that allows ses:SendRawEmail alone"
        return found
    identities = _identities(parts["identities"] or [])
    if identities is None:
        sets = KINDS[DEFAULT_SET.kind].many
        found.why = f"{label} names resources that are neither identities nor {sets}, or patterns of them"
        return found
    spec = live.spec
    values = {
        "path": spec["path"].removeprefix("/") and spec["path"],
        "from_addresses": list(parts["from_addresses"] or ["*"]),
        "source_ips": list(parts["source_ips"] or ()),
        "identities": identities,
        "conditions": parts["conditions"],
        "permissions_boundary": spec["permissions_boundary"],
        "credentials": stores.as_credentials(stores.in_tags(live.facts["key_tags"]))
        or {"secretsmanager": {"name": f"recon/{live.name}"}},
        "tags": user_tags(live.tags),
    }
    found.values = {key: value for key, value in values.items() if value}
    return found


def _identities(resources: list[str]) -> list[str] | None:
    """The identities that a policy's resources name, [] for all, None where it names something else."""
    if resources == ["*"]:
        return []
    names = set()
    for arn in resources:
        kind, _, text = arn.split(":", 5)[-1].partition("/")
        name = meant(text)
        if kind not in _SENT_THROUGH or name is None or arn.count(":") < 5:
            return None
        if kind == KINDS[NAME].arn:
            try:
                names.add(fold_identity(name))
            except ValueError:
                return None
    return sorted(names) or None


def own_policy(user: SmtpUserFound) -> bool:
    """Whether it has the policy that recon itself writes."""
    return _OWN in user.grants
