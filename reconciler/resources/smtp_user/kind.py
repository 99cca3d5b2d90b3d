"""IAM user for SMTP: who may send, from which addresses and networks, through which identities.

Managed:  path, permissions boundary, the inline policy made from from_addresses, source_ips, identities and
          conditions, tags. What users and roles have in common is in ``kinds.iam_principals``.
Source:   SES Developer Guide, "Controlling access to Amazon SES" (condition keys; SMTP needs ses:SendRawEmail, and
          the ARN of the configuration set beside the identity's); IAM User Guide, quotas and policy grammar.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler import regions
from reconciler.kinds import send_policy
from reconciler.kinds.changes import release
from reconciler.kinds.comparing import touches
from reconciler.kinds.grants import Grant
from reconciler.kinds.iam_account import Detail
from reconciler.kinds.iam_principals import LOCK_POLICY, CallOf, IamPrincipal
from reconciler.kinds.obstacles import Found
from reconciler.kinds.other_policies import OtherPolicy
from reconciler.kinds.ownership import owner_of
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.policy import normal_policy
from reconciler.kinds.snapshot import Snapshot
from reconciler.model import Address, Change, Desired, Note, Observed, Stack, State
from reconciler.resources.smtp_user import POLICY_FIELDS, attachments

if TYPE_CHECKING:
    from reconciler.aws import Aws

NAME = "smtp_user"
POLICY = "recon-smtp"
KEY_LOCKED = "recon:key-locked"
"""User tag while it is locked: since when, and which keys were active then."""
ACTIONS = ["SendRawEmail"]
"""What SMTP uses."""


def address_of(name: str) -> Address:
    return f"{NAME}/{name}"


def name_of(address: Address) -> str:
    """The name in ``smtp_user/NAME``."""
    return address.removeprefix(f"{NAME}/")


class SmtpUser(IamPrincipal):
    name = NAME
    noun, policy, sid, most = "User", POLICY, "SendThroughSmtp", 2048
    fields = POLICY_FIELDS
    changed_by = {"path": ("UpdateUser",), "name": ("UpdateUser",)}
    reads = (
        "iam:GetAccountAuthorizationDetails", "iam:GetUser", "iam:GetUserPolicy", "iam:GetPolicy", *attachments.READS,
    )  # fmt: skip
    writes = (
        "iam:CreateUser",
        "iam:UpdateUser",
        "iam:PutUserPolicy",
        "iam:DeleteUserPolicy",
        "iam:PutUserPermissionsBoundary",
        "iam:TagUser",
        "iam:UntagUser",
        # IAM deletes a user only without policies; and without groups, which IAM would allow for a whole group alone
        "iam:DetachUserPolicy",
        "iam:DeleteUser",
    )
    conflict_hint = (
        "somebody added a policy, a password, a key or a device, or put the user into a group, after the plan was "
        "made, or recon may not list users (iam:GetAccountAuthorizationDetails): plan again, and it is shown"
    )
    read_calls = dict.fromkeys(
        (*POLICY_FIELDS, "path", "permissions_boundary", "tags"), "iam:GetAccountAuthorizationDetails"
    )

    # -- desired ----------------------------------------------------------------------------------------------------

    def desired(self, state: State) -> Iterable[Desired]:
        for entry in state.section("smtp_users"):
            values = entry.values
            spec = {**self.common_spec(entry), "identities": _resources(state, values.get("identities") or ())}
            protect = bool(values.get("protect"))
            yield Desired(address_of(entry.name), NAME, None, entry.name, spec, entry, protect=protect)

    def policy_of(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """SendRawEmail, which SMTP uses, from these addresses, networks and identities."""
        return send_policy.policy_of({**spec, "actions": ACTIONS}, self.sid)

    def fields_of(self, document: Any) -> dict[str, Any]:
        return fields_of(document)

    def own_grants(self, stack: Stack, address: Address) -> Iterable[Grant]:
        """A user that is renamed, with any path: an address does not say it."""
        for place in ("/*/", "/"):
            yield Grant("renamed_user", self.arn(stack, place, name_of(address)))

    def grants(self, desired: Desired, state: State) -> Iterable[Grant]:
        """With its path, and without: IAM checks a user that does not exist yet by its name alone."""
        values = desired.entry.values
        paths = (regions.literal(str(values.get("path") or "/")), "/")
        yield from self.grants_at(state.stack, paths, desired.name, str(values.get("permissions_boundary") or ""))

    # -- observed ---------------------------------------------------------------------------------------------------

    def observed_of(self, detail: Detail, policies: Iterable[OtherPolicy] = ()) -> Observed:
        found = super().observed_of(detail, policies)
        return replace(found, facts={**found.facts, "groups": list(detail.get("GroupList") or ())})

    def after_reading(self, snapshot: Snapshot) -> None:
        """``moved``: IAM renames a user in place, so the live one and its key are planned under the new name."""
        for moved in snapshot.state.moved:
            old, new = name_of(moved.from_address), name_of(moved.to_address)
            live = snapshot.observed.get(moved.from_address)
            if moved.from_address != address_of(old) or live is None or moved.to_address in snapshot.observed:
                continue
            if moved.to_address not in snapshot.desired or not snapshot.owns(live):
                continue
            for name in (NAME, "smtp_credential"):
                found = snapshot.observed.pop(f"{name}/{old}", None)
                if found is not None:
                    facts = {**found.facts, "live_name": old}
                    snapshot.observed[f"{name}/{new}"] = replace(found, address=f"{name}/{new}", name=new, facts=facts)

    # -- compared ---------------------------------------------------------------------------------------------------

    def goes(self, draft: PlanDraft, live: Observed) -> tuple[Note, ...] | None:
        snapshot = draft.snapshot
        credential = snapshot.observed.get(f"smtp_credential/{live.name}")
        foreign = list((credential.facts.get("foreign") if credential else None) or ())
        if snapshot.unknown(f"smtp_credential/{live.name}"):
            return None
        if foreign:
            draft.refuse(
                "foreign-key",
                f"{live.address} cannot be deleted: recon did not create its access key {', '.join(foreign)}",
                hint="delete that key in IAM once nobody uses it",
                address=live.address,
            )
        if groups := live.facts.get("groups"):
            draft.refuse(
                "user-in-group",
                f"{live.address} cannot be deleted: it is in the group{'s' * (len(groups) > 1)} {', '.join(groups)}, "
                "and recon takes no user out of a group: IAM could allow that for all of a group's users alone",
                hint="an administrator of IAM can: aws iam remove-user-from-group --group-name "
                f"{groups[0]} --user-name {live.name}",
                address=live.address,
            )
        return (Note("user-deleted", "warning", "after this, AWS rejects logins with this user's password"),)

    def release(self, snapshot: Snapshot, live: Observed) -> Change | None:
        """With the tags of its credential, whose stores are let go first: these tags name them. A lock stays, with the
        tag that undoing it needs: it was put there to stop somebody, and letting go is no reason to start again."""
        if owner_of(live.tags) != snapshot.scope:
            return None
        tags = {**live.tags, **live.facts["key_tags"]}
        lock = tags.pop(KEY_LOCKED, "")
        change = replace(release(live, tags), depends_on=(f"smtp_credential/{live.name}",))
        if not (lock or live.facts.get("locked")):
            return change
        parts = [f"the policy {LOCK_POLICY} denies everything to it"] if live.facts.get("locked") else []
        off = " ".join(lock.split()[1:])
        parts += [f"its keys {off} stay inactive"] if off else []
        words = f"it stays locked: {' and '.join(parts) or f'its tag {KEY_LOCKED} says so'}; "
        words += f"recon smtp lock {live.name} --unlock --undeclared undoes that"
        return replace(change, notes=(*change.notes, Note("left", "note", words)))

    def obstacles(self, aws: Aws, snapshot: Snapshot, going: Sequence[Observed]) -> Found:
        return attachments.obstacles(aws, going)

    # -- written ----------------------------------------------------------------------------------------------------

    def calls_before(self, change: Change) -> list[CallOf]:
        return [("UpdateUser", {"NewPath": (change.after or {})["path"]})] if touches(change, "path") else []


def fields_of(document: Any) -> dict[str, Any]:
    """The YAML fields of a live policy; ``policy`` is the whole document where the fields cannot express it."""
    found = send_policy.fields_of(document)
    if found["policy"] is None and found["actions"] != ACTIONS:
        found = {**found, "policy": normal_policy(document)}
    named = sorted(arn for field in send_policy.RESOURCES for arn in found.get(field) or ())
    fields = {**found, "identities": named or None}
    return {k: v if found["policy"] is None or k == "policy" else None for k, v in fields.items() if k in _READ}


_READ = frozenset({*POLICY_FIELDS, "policy"})


def denied(snapshot: Snapshot, name: str) -> str:
    """What other policies keep a declared user from sending; "" where nothing does, or the user was not read."""
    address, stack = address_of(name), snapshot.state.stack
    found = KIND.judged(stack, snapshot.desired.get(address), snapshot.observed.get(address))
    return found.denied() if found is not None else ""


def _resources(state: State, identities: Iterable[str]) -> list[str]:
    """The ARNs that a user may send through: its identities, and their default configuration sets."""
    if not identities:
        return ["*"]
    return sorted({*send_policy.identity_arns(state, identities), *send_policy.default_set_arns(state, identities)})


KIND = SmtpUser()
