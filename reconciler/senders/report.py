"""From policies to senders: who may send as what, from where, through which sets, declared by whom. Pure.

Source: SES Developer Guide, "Using sending authorization" (identity policies let other accounts send), "Obtaining SMTP
credentials" (an SMTP password is made from a user's access key: a role has none).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from reconciler.errors import AwsError
from reconciler.kinds.ownership import owner_of
from reconciler.kinds.tags import tags_from_aws
from reconciler.model import Diagnostic, State
from reconciler.policy_evaluation import (
    SEND_ACTIONS,
    Policies,
    PolicyAnswer,
    Principal,
    Reach,
    Statement,
    about,
    parsed,
    reach,
)
from reconciler.policy_evaluation.sending import ANY, SMTP_ACTION
from reconciler.senders.reading import AccountFacts, KeyFacts, text_of

RULE = "sender-undeclared"
WIDER = "its policies allow everything, which no declaration of a sender does"


@dataclass(slots=True)
class Sender:
    """One principal that may send, or that may not though a policy of it allows it. ``type`` is ``user``, ``role`` or
    ``external``. ``keys`` is None where they were not read, and for others than users."""

    arn: str
    type: str
    name: str
    reach: Reach
    declared_by: str | None = None
    identities: list[str] = field(default_factory=list)
    configuration_sets: list[str] = field(default_factory=list)
    keys: list[KeyFacts] | None = None
    last_used: str | None = None
    reasons: list[str] = field(default_factory=list)
    used_by: list[str] = field(default_factory=list)
    """Who sends with it: services and accounts that a role trusts, consumers that the YAML declares for a user."""

    @property
    def can_send(self) -> PolicyAnswer:
        return self.reach.can_send

    @property
    def ways(self) -> list[str]:
        """``SMTP`` for a user with an active key, or whose keys were not read; ``API`` for every action."""
        if self.can_send == "no":
            return []
        keyed = self.keys is None or any(key["status"] == "Active" for key in self.keys)
        smtp = self.type == "user" and SMTP_ACTION in self.reach.actions and keyed
        return ["API", *(["SMTP"] if smtp else [])]

    def to_json(self) -> dict[str, Any]:
        found = self.reach
        return {
            "arn": self.arn, "type": self.type, "name": self.name, "can_send": found.can_send,
            "declared_by": self.declared_by, "from_addresses": list(found.from_addresses),
            "identities": self.identities, "networks": list(found.networks),
            "configuration_sets": self.configuration_sets, "recipients": list(found.recipients),
            "actions": list(found.actions), "ways": self.ways,
            "resources": list(dict.fromkeys((*found.resources, *found.sets))),
            "keys": self.keys if self.type == "user" else [], "last_used": self.last_used, "used_by": self.used_by,
            "reasons": self.reasons,
        }  # fmt: skip


@dataclass(slots=True)
class SendersReport:
    """All senders, worst first; administrators apart, unless they are declared: a declared sender that may do
    everything is none that somebody meant. ``principals`` is how many users and roles were read."""

    senders: list[Sender]
    administrators: list[Sender]
    principals: int


def find(facts: AccountFacts, state: State | None) -> SendersReport:
    """Everybody that may send; ``state`` says what is declared, None where there is no YAML."""
    policies = list(_parsed_policies(facts))
    others = _identity_statements(facts, policies)
    found = [s for detail in facts.users if (s := _local(facts, state, detail, "user", others))]
    found += [s for detail in facts.roles if (s := _local(facts, state, detail, "role", others))]
    administrators = [s for s in found if s.reach.administrator and s.declared_by is None]
    senders = [s for s in found if s not in administrators] + _external(facts, state, policies)
    administrators.sort(key=lambda s: s.arn)
    return SendersReport(sorted(senders, key=_order), administrators, len(facts.users) + len(facts.roles))


def _order(sender: Sender) -> tuple[Any, ...]:
    return ("yes", "unknown", "no").index(sender.can_send), sender.declared_by is not None, sender.type, sender.arn


def add_keys(facts: AccountFacts, report: SendersReport) -> None:
    """Put the keys that were read into the senders."""
    for sender in (*report.senders, *report.administrators):
        if sender.type == "user" and sender.name in facts.keys:
            sender.keys = facts.keys[sender.name]
            used = [key["last_used"] for key in sender.keys or () if key["last_used"]]
            sender.last_used = max(used, default=None)
            if sender.keys is not None and sender.can_send != "no" and not any(
                key["status"] == "Active" for key in sender.keys
            ):  # fmt: skip
                sender.reasons.append("it has no active access key: it sends only once it has one")


# --- users and roles -----------------------------------------------------------------------------------------------


def _local(
    facts: AccountFacts, state: State | None, detail: Mapping[str, Any], type: str, others: tuple[Statement, ...]
) -> Sender | None:
    """A user or role that may send, or None where no policy of it is about sending."""
    who = _principal(facts, detail, type)
    name, arn, tags = who.name, who.arn, who.tags
    found = reach(_policies(facts, detail, type, arn, others), who, facts.regions)
    if not found.concerned:
        return None
    declared_by, note = _declared(state, type, name, tags)
    if found.administrator and declared_by is not None:
        note = [*note, WIDER]
    made = Sender(arn, type, name, found, declared_by, reasons=[*found.reasons, *note])
    made.identities, elsewhere = _names(found.resources, "identity/", facts.account)
    made.configuration_sets, _ = _names(found.sets, "configuration-set/", facts.account)
    made.reasons += [f"sends through identities of the account {account}" for account in elsewhere]
    if type == "role":
        made.last_used = text_of((detail.get("RoleLastUsed") or {}).get("LastUsedDate"))
        made.used_by = _trusted(detail.get("AssumeRolePolicyDocument"))
    elif state is not None:
        made.used_by = [
            str(consumer.get("name"))
            for entry in state.section("smtp_users")
            if entry.name == name
            for consumer in entry.values.get("consumers") or ()
        ]
    return made


def _principal(facts: AccountFacts, detail: Mapping[str, Any], type: str) -> Principal:
    name, tags = str(detail[f"{type.capitalize()}Name"]), tags_from_aws(detail.get("Tags"))
    id = str(detail.get(f"{type.capitalize()}Id") or "")
    return Principal(str(detail["Arn"]), type, facts.account, name, id, tags, facts.now, facts.partition)


def local_policies(facts: AccountFacts, user: str) -> tuple[Policies, Principal] | None:
    """The policies of one user; None where it was not read."""
    for detail in facts.users:
        if detail["UserName"] == user:
            others = _identity_statements(facts, list(_parsed_policies(facts)))
            return _policies(facts, detail, "user", str(detail["Arn"]), others), _principal(facts, detail, "user")
    return None


def _policies(
    facts: AccountFacts, detail: Mapping[str, Any], type: str, arn: str, others: tuple[Statement, ...]
) -> Policies:
    """All policies of a user or role: its own, those of its groups, its boundary, and what identities say of it."""
    own: list[Statement] = []
    unread: list[str] = []

    def take(document: Any, name: str) -> None:
        try:
            if isinstance(document, AwsError) or document is None:
                raise ValueError(document.message if isinstance(document, AwsError) else "IAM did not return it")
            own.extend(parsed(document, name))
        except ValueError as problem:
            unread.append(f"{name} could not be read: {problem}")

    holders = [("", detail)]
    for group in detail.get("GroupList") or ():
        if group in facts.groups:
            holders.append((f" of the group {group}", facts.groups[group]))
        else:
            unread.append(f"the group {group} could not be read")
    for where, holder in holders:
        for key in ("UserPolicyList", "RolePolicyList", "GroupPolicyList"):
            for policy in holder.get(key) or ():
                take(policy.get("PolicyDocument"), f"the policy {policy['PolicyName']}{where}")
        for attached in holder.get("AttachedManagedPolicies") or ():
            name = attached.get("PolicyName") or attached["PolicyArn"]
            take(facts.managed.get(str(attached["PolicyArn"])), f"the managed policy {name}{where}")
    boundary, why = _boundary(facts, detail)
    return Policies(
        tuple(own), boundary, about(others, arn, facts.account) if others else (), tuple(unread), why, type == "user"
    )


def _boundary(facts: AccountFacts, detail: Mapping[str, Any]) -> tuple[tuple[Statement, ...] | None, str]:
    arn = (detail.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn")
    if not arn:
        return None, ""
    document = facts.managed.get(str(arn))
    try:
        if document is None or isinstance(document, AwsError):
            raise ValueError(document.message if isinstance(document, AwsError) else "IAM did not return it")
        return parsed(document, f"the permissions boundary {str(arn).rpartition('/')[2]}"), ""
    except ValueError as problem:
        return (), f"its permissions boundary {arn} could not be read: {problem}"


def _declared(state: State | None, type: str, name: str, tags: Mapping[str, str]) -> tuple[str | None, list[str]]:
    """The stack that declares a principal: this state, or another by its tag; and what there is to say of it."""
    owner = owner_of(tags)
    if state is None:
        return owner, []
    section = "smtp_users" if type == "user" else "sending_roles"
    if any(entry.name == name for entry in state.section(section)):
        return state.stack.scope, []
    if owner == state.stack.scope:
        return None, [f"it carries the tag of {owner}, whose YAML does not declare it"]
    return owner, []


def _names(patterns: Iterable[str], prefix: str, account: str) -> tuple[list[str], list[str]]:
    """The names in ARNs of identities or sets, ``*`` for any; and the other accounts that they are in."""
    found: set[str] = set()
    elsewhere: set[str] = set()
    for pattern in patterns:
        parts = pattern.split(":", 5)
        name = parts[5].removeprefix(prefix) if len(parts) == 6 and parts[5].startswith(prefix) else ANY
        found.add(name)
        if len(parts) == 6 and parts[4] not in {account, ANY, ""}:
            elsewhere.add(parts[4])
    return sorted(found), sorted(elsewhere)


def _trusted(document: Any) -> list[str]:
    """Who may assume a role, as its trust policy names them."""
    try:
        statements = parsed(document, "trust") if document else ()
    except ValueError:
        return ["its trust policy could not be read"]
    return sorted({p for s in statements if s.allows for p in s.principals})


GIVES_RIGHTS = (
    "iam:CreateAccessKey", "iam:PutUserPolicy", "iam:AttachUserPolicy", "iam:AddUserToGroup", "iam:PutGroupPolicy",
    "iam:AttachGroupPolicy", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:UpdateAssumeRolePolicy",
    "iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion",
)  # fmt: skip
"""Actions with which somebody can give itself or another the right to send."""


def givers(facts: AccountFacts) -> list[Diagnostic]:
    """A note that names who may perhaps give the right to send: a policy and its boundary allow such an action, and no
    Deny without conditions takes it away. Administrators are left out."""
    found = []
    for type, details in (("user", facts.users), ("role", facts.roles)):
        for detail in details:
            policies = _policies(facts, detail, type, str(detail["Arn"]), ())
            whole = [s for s in policies.identity if s.allows and "*" in s.actions]
            if not whole and any(_may_perhaps(policies, action) for action in GIVES_RIGHTS):
                found.append(f"{type} {detail[f'{type.capitalize()}Name']}")
    if not found:
        return []
    named = ", ".join(found[:10]) + (f" and {len(found) - 10} more" if len(found) > 10 else "")
    message = f"{len(found)} may perhaps give the right to send, since they may change keys or policies: {named}"
    return [Diagnostic("note", "may-give-rights", message)]


def _may_perhaps(policies: Policies, action: str) -> bool:
    def allowed(statements: Iterable[Statement]) -> bool:
        return any(s.allows and s.has_action(action) for s in statements)

    denied = any(
        not s.allows and not s.conditions and "*" in s.resources and not s.except_resources and s.has_action(action)
        for s in (*policies.identity, *(policies.boundary or ()))
    )
    return not denied and allowed(policies.identity) and (policies.boundary is None or allowed(policies.boundary))


def other_rights(facts: AccountFacts, arn: str) -> list[str]:
    """What else a user or role may do, by service prefix: ``s3``, ``everything``, or ``everything but iam:*``; a policy
    that could not be read is among them. Denies, boundaries and conditions are not considered."""
    found: set[str] = set()
    for type, details in (("user", facts.users), ("role", facts.roles)):
        for detail in details:
            if detail["Arn"] == arn:
                policies = _policies(facts, detail, type, arn, ())
                allows = [statement for statement in policies.identity if statement.allows]
                found |= {f"everything but {', '.join(one.actions)}" for one in allows if one.except_actions}
                found |= {
                    "everything" if action.startswith("*") else action.partition(":")[0]
                    for one in allows
                    if not one.except_actions
                    for action in one.actions
                }
                found |= set(policies.unread)
    return sorted(text.lower() if ":" not in text else text for text in found)


# --- identity policies ---------------------------------------------------------------------------------------------


Granted = tuple[tuple[str, str], str, tuple[Statement, ...]]
"""Region and identity, the name of a policy, its statements about sending."""


def _parsed_policies(facts: AccountFacts) -> Iterator[Granted]:
    for place, policies in sorted(facts.policies.items()):
        for name, document in sorted(policies.items()):
            try:
                every = parsed(document, f"the policy {name} of {place[1]}")
            except ValueError as problem:
                facts.unread("identity-policies-unread", f"the policy {name} of {place[1]} is no policy: {problem}")
                continue
            yield place, name, tuple(s for s in every if any(s.has_action(a) for a in SEND_ACTIONS))


def _identity_statements(facts: AccountFacts, policies: Iterable[Granted]) -> tuple[Statement, ...]:
    """What identities say of principals of their own account."""
    found: list[Statement] = []
    for _, _, statements in policies:
        found += [s for s in statements if s.except_principals or any(_own(p, facts.account) for p in s.principals)]
    return tuple(found)


def _own(principal: str, account: str) -> bool:
    return principal in {ANY, account} or f"::{account}:" in principal


def _external(facts: AccountFacts, state: State | None, policies: Iterable[Granted]) -> list[Sender]:
    """Other accounts, services and everybody that policies of identities let send."""
    granted: dict[str, list[Granted]] = {}
    for place, name, statements in policies:
        named = {
            _whole(p) for s in statements if s.allows for p in (s.principals if not s.except_principals else ("*",))
        }
        for principal in named:
            if principal == ANY or not _own(principal, facts.account):
                granted.setdefault(principal, []).append((place, name, statements))
    return [_other(facts, state, principal, grants) for principal, grants in sorted(granted.items())]


def _whole(principal: str) -> str:
    """A bare account id as the ARN of the account."""
    return f"arn:aws:iam::{principal}:root" if len(principal) == 12 and principal.isdecimal() else principal


def _other(facts: AccountFacts, state: State | None, principal: str, grants: list[Granted]) -> Sender:
    statements = [
        s for _, _, some in grants for s in some
        if (principal in map(_whole, s.principals) or ANY in s.principals) != s.except_principals
    ]  # fmt: skip
    account = principal.split(":")[4] if principal.count(":") >= 5 else ""
    who = _Outsider(
        principal, "external", account or facts.account, principal, now=facts.now, partition=facts.partition
    )
    found = reach(Policies(tuple(statements)), who, facts.regions)
    policies = {(place[1], name) for place, name, _ in grants}
    identities = sorted({place[1] for place, _, _ in grants})
    made = Sender(principal, "external", principal, found, _declaring(state, policies), identities)
    words = "its own account must allow it, too" if account else "a service of AWS" if "." in principal else "everybody"
    listed = ", ".join(f"{name} of {identity}" for identity, name in sorted(policies)[:5])
    made.reasons = [f"by the policy {listed}; {words}", *found.reasons]
    return made


class _Outsider(Principal):
    """Of a principal of another account nothing is known but its ARN."""

    __slots__ = ()

    def context(self) -> dict[str, tuple[str, ...] | None]:
        known = {"aws:securetransport", "aws:currenttime", "aws:epochtime"}
        return {key: value for key, value in Principal.context(self).items() if key in known}


def _declaring(state: State | None, policies: set[tuple[str, str]]) -> str | None:
    """The stack whose YAML declares all of some identity policies."""
    if state is None:
        return None
    declared = {
        (entry.name, name)
        for section in ("domains", "email_addresses")
        for entry in state.section(section)
        for name in entry.values.get("policies") or ()
    }
    return state.stack.scope if policies <= declared else None


# --- what is undeclared --------------------------------------------------------------------------------------------


def undeclared(report: SendersReport, state: State | None, now: str) -> list[Diagnostic]:
    """The findings of ``--check``: an error for everybody that can send and that nothing declares and no waiver names,
    and for who is declared as a sender and may do everything; a note where it is unknown whether it can send."""
    if state is not None and state.rules.get(RULE) == "off":
        return []
    found = []
    today = now[:10]
    for sender in report.senders:
        declared = sender.declared_by is not None
        if sender.can_send == "no" or (declared and not sender.reach.administrator):
            continue
        waivers = [w for w in state.waivers if w.rule == RULE and fnmatchcase(sender.arn, w.address)] if state else []
        if any(w.until >= today for w in waivers):
            continue
        expired = f"; its waiver expired on {max(w.until for w in waivers)}" if waivers else ""
        yes = sender.can_send == "yes"
        can = "can" if yes else "perhaps can"
        message = f"{sender.arn} {can} send, and nothing declares it{expired}"
        hint = "declare it, take the right away, or name its ARN in a waiver of sender-undeclared"
        if declared:
            message = f"{sender.arn} is declared as a sender, but {WIDER}{expired}"
            hint = (
                "find the policy or group that allows it, and take it away; `recon drift` shows edits of its own policy"
            )
        found.append(Diagnostic("error" if yes else "note", RULE, message, hint, address=sender.arn))
    return found
