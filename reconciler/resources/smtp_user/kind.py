"""IAM user for SMTP: who may send, from which addresses and networks, through which identities.

Managed:  path, permissions boundary, the inline policy made from from_addresses, source_ips, identities and
          conditions, tags.
Reads:    iam GetAccountAuthorizationDetails (Filter User: path, tags, boundary, groups and inline policies of every
          user in one call per page); GetUser and GetUserPolicy where that is denied.
Writes:   CreateUser, UpdateUser, PutUserPolicy, PutUserPermissionsBoundary, TagUser, UntagUser, DeleteUser. A boundary
          is never removed: whoever could do that could lift every limit of the user.
Source:   SES Developer Guide, "Controlling access to Amazon SES" (condition keys; SMTP needs ses:SendRawEmail, and
          the ARN of the configuration set beside the identity's); IAM User Guide, quotas and policy grammar.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from reconciler import regions
from reconciler.errors import DENIED, AwsError
from reconciler.kinds.changes import alteration, creation, deletion, release
from reconciler.kinds.comparing import differences, overlay, project, touches
from reconciler.kinds.grants import Grant
from reconciler.kinds.kind import Runtime, Step, needs_of
from reconciler.kinds.lookups import Lookup, Said, names_item, said_under
from reconciler.kinds.obstacles import Found
from reconciler.kinds.ownership import (
    BOUNDARY,
    KEY,
    PROTECT,
    adopts,
    create_once,
    formerly_of,
    owner_of,
    refuse_protected,
)
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.policy import normal_policy
from reconciler.kinds.reading import Reader, wanted_addresses
from reconciler.kinds.snapshot import Snapshot
from reconciler.kinds.tags import entry_tags, plan_tags, present, tag_phases, tags_from_aws, tags_to_aws
from reconciler.model import Address, Change, Desired, Note, Observed, Stack, State, canonical_json
from reconciler.resources.email_identity import DEFAULT_SET
from reconciler.resources.smtp_user import POLICY_FIELDS, attachments, other_policies
from reconciler.resources.smtp_user.other_policies import Judged, OtherPolicy

if TYPE_CHECKING:
    from reconciler.aws import Aws

NAME = "smtp_user"
POLICY = "recon-smtp"
LOCK_POLICY = "recon-lock"
"""The inline policy that denies everything while a user is locked (``recon smtp lock``)."""
KEY_LOCKED = "recon:key-locked"
"""User tag while it is locked: since when, and which keys were active then."""
WHOLE = ("conditions",)
VISIBLE_SECONDS = 30.0
"""How long a new IAM user may take to become visible (IAM User Guide, "Troubleshooting IAM": changes are eventually
visible)."""


_POLICY_EVENTS = ("PutUserPolicy", "DeleteUserPolicy")
_CHANGED_BY: Mapping[str, tuple[str, ...]] = {
    "path": ("UpdateUser",), "name": ("UpdateUser",), "tags": ("TagUser", "UntagUser"),
    "permissions_boundary": ("PutUserPermissionsBoundary", "DeleteUserPermissionsBoundary"),
}  # fmt: skip
"""Field -> the calls that change it; all other fields are read from the policy."""
_MADE: Mapping[str, tuple[str, ...]] = {
    "create": ("DeleteUser",), "delete": ("CreateUser",), "adopt": ("CreateUser", "TagUser", "UntagUser"),
    "replace": (),
}  # fmt: skip


def address_of(name: str) -> Address:
    return f"{NAME}/{name}"


def name_of(address: Address) -> str:
    """The name in ``smtp_user/NAME``."""
    return address.removeprefix(f"{NAME}/")


class SmtpUser(Reader):
    name = NAME
    reads = ("iam:GetAccountAuthorizationDetails", "iam:GetUser", "iam:GetUserPolicy", *attachments.READS)
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

    read_calls = dict.fromkeys(
        (*POLICY_FIELDS, "path", "permissions_boundary", "tags"), "iam:GetAccountAuthorizationDetails"
    )

    # -- desired ----------------------------------------------------------------------------------------------------

    def desired(self, state: State) -> Iterable[Desired]:
        for entry in state.section("smtp_users"):
            values = entry.values
            spec: dict[str, Any] = {
                "from_addresses": sorted(set(values.get("from_addresses") or [])) or None,
                "source_ips": sorted(set(values.get("source_ips") or [])) or None,
                "identities": _resources(state, values.get("identities")),
                "conditions": normal_conditions(values.get("conditions") or {}) or None,
                "tags": entry_tags(entry),
            }
            if "path" in values:
                spec["path"] = values["path"] or "/"
            if "permissions_boundary" in values:
                spec["permissions_boundary"] = values["permissions_boundary"]
            yield Desired(
                address_of(entry.name), NAME, None, entry.name, spec, entry, protect=bool(values.get("protect"))
            )

    def own_grants(self, stack: Stack, address: Address) -> Iterable[Grant]:
        """A user that is renamed, with any path: an address does not say it."""
        for place in ("/*/", "/"):
            yield Grant("renamed_user", _arn(stack, place, name_of(address)))

    def grants(self, desired: Desired, state: State) -> Iterable[Grant]:
        """With its path, and without: IAM checks a user that does not exist yet by its name alone."""
        values = desired.entry.values
        for place in (regions.literal(str(values.get("path") or "/")), "/"):
            arn = _arn(state.stack, place, desired.name)
            yield Grant("user", arn, boundary=str(values.get("permissions_boundary") or ""))

    def lookups(self, change: Change) -> Iterable[Lookup]:
        """CloudTrail lists the user among the resources of IAM's events."""
        yield Lookup("", "ResourceName", name_of(change.address))

    def concerns(self, change: Change, said: Said, lookup: Lookup) -> bool:
        return ("username", name_of(change.address).lower()) in said

    def explained(self, change: Change, event: str, said: Said) -> tuple[str, ...]:
        paths = tuple(one.path for one in change.diff) or ("",)
        if change.action != "update":
            return paths if event in _MADE[change.action] else ()
        found = tuple(p for p in paths if event in _CHANGED_BY.get(p.partition(".")[0], _POLICY_EVENTS))
        if event in _POLICY_EVENTS:
            return found if POLICY.lower() in said_under(said, "policyname") else ()
        return tuple(p for p in found if names_item(said, p))

    # -- observed ---------------------------------------------------------------------------------------------------

    def observe(self, aws: Aws, snapshot: Snapshot) -> None:
        """All users of the account in a few calls: ours by tag, declared ones by name in any case."""
        declared = {d.name.lower(): d for d in snapshot.kind(NAME)}
        if snapshot.read_scope is not None and not any(a.startswith(f"{NAME}/") for a in snapshot.read_scope.addresses):
            return
        try:
            ours: list[Mapping[str, Any]] = []
            for detail in details(aws):
                tags = tags_from_aws(detail.get("Tags"))
                twin = declared.get(detail["UserName"].lower())
                if twin is not None and twin.name != detail["UserName"]:
                    snapshot.refuse(
                        "user-case",
                        f"IAM has a user {detail['UserName']}, and its names may not differ only by case",
                        hint=f"declare it as {detail['UserName']}",
                        address=twin.address,
                        source=twin.entry.source,
                    )
                    continue
                address, owner = address_of(detail["UserName"]), owner_of(tags)
                if former := formerly_of(aws.stack, tags):
                    snapshot.former[address] = former
                if twin is not None or owner == snapshot.scope or (former and snapshot.names(address)):
                    ours.append(detail)
            policies = other_policies.read(aws, ours) if any(map(has_more, ours)) else {}
            for detail in ours:
                found = observed_of(detail, policies.get(detail["UserName"], ()))
                snapshot.observed[found.address] = found
            return
        except AwsError as error:
            if not declared:
                snapshot.unreadable(NAME, error.message, error.hint)
                return
            snapshot.say(
                "warning",
                "users-not-swept",
                "could not search for users that this stack owns and no longer declares: " + error.message,
                hint=error.hint,
            )
        for address in wanted_addresses(NAME, snapshot):
            try:
                live = self.read(aws, "", name_of(address))
            except AwsError as error:
                snapshot.unreadable(address, error.message, error.hint)
                continue
            if live is not None:
                snapshot.observed[live.address] = live

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

    def read(self, aws: Aws, region: str, name: str, snapshot: Snapshot | None = None) -> Observed | None:
        """One user, in two calls; None where it does not exist."""
        found = aws.call_if_there("iam", "GetUser", UserName=name)
        if found is None:
            return None
        policy = aws.call_if_there("iam", "GetUserPolicy", UserName=name, PolicyName=POLICY)
        return observed_of({**found["User"], "UserPolicyList": [policy] if policy else []})

    # -- compared ---------------------------------------------------------------------------------------------------

    def plan(self, draft: PlanDraft) -> Iterable[Change]:
        snapshot = draft.snapshot
        for address in snapshot.addresses(NAME):
            if snapshot.unknown(address):
                continue
            desired, live = snapshot.desired.get(address), snapshot.observed.get(address)
            change = self._plan_declared(draft, desired, live) if desired else self._plan_delete(draft, live)
            if change is not None:
                yield change

    def _plan_declared(self, draft: PlanDraft, desired: Desired, live: Observed | None) -> Change | None:
        bounded = desired.spec.get("permissions_boundary") is not None
        extra: dict[str, str | None] = {
            PROTECT: "true" if desired.protect else None,
            BOUNDARY: "true" if bounded else None,
        }
        live_tags = live.tags if live else {}
        tags = plan_tags(desired.spec["tags"], live_tags, draft.snapshot.scope, extra, desired.entry)
        wanted = {**desired.spec, "tags": tags}
        if live is None:
            after = {k: v for k, v in {"path": "/", **wanted}.items() if v is not None}
            after["tags"] = present(tags)
            return creation(desired, after, whole=WHOLE, execution={"policy": policy_of(desired.spec)})
        adopted = adopts(draft, desired.address, live.tags, desired.entry.source)
        if not bounded and _loses_boundary(draft, desired, live):
            wanted["permissions_boundary"] = None
        if live.spec.get("policy") is not None:
            # recon cannot read this policy into its fields: it is shown and replaced as a whole.
            wanted = {k: v for k, v in wanted.items() if k not in POLICY_FIELDS}
            wanted["policy"] = normal_policy(policy_of(desired.spec))
        before = project(live.spec, wanted)
        after = overlay(wanted, before)
        old_name = live.facts.get("live_name")
        if old_name:
            before, after = {"name": old_name, **before}, {"name": desired.name, **after}
        diff = differences(before, after, whole=WHOLE, desired=desired)
        if not (diff or adopted):
            return None
        policy, inline = policy_of(desired.spec), live.facts["inline_documents"]
        if inline and any(f.path.partition(".")[0] in (*POLICY_FIELDS, "policy") for f in diff):
            _refuse_too_long(draft, desired, live, policy)
        execution = {"policy": policy, "rename": old_name}
        return alteration(desired, live, before, after, diff, adopts=adopted, execution=execution)

    def reread(self, aws: Aws, change: Change) -> str | None:
        """The fingerprint of the live user, under its old name where the change renames it."""
        live = self.read(aws, "", change.execution.get("rename") or name_of(change.address))
        return live.digest if live else None

    def _plan_delete(self, draft: PlanDraft, live: Observed | None) -> Change | None:
        snapshot = draft.snapshot
        if live is None or not snapshot.owns(live):
            return None
        refuse_protected(draft, live.address, live.tags, "deleted")
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
        notes = [Note("user-deleted", "warning", "after this, AWS rejects logins with this user's password")]
        others = {what: list(live.facts.get(what) or ()) for what in _OTHER_PARTS}
        shown = {**live.spec, **{f"{what}_policies": names or None for what, names in others.items()}}
        if listed := "; ".join(f"{_OTHER_PARTS[what]} {', '.join(names)}" for what, names in others.items() if names):
            words = f"also removes what recon did not add to the user: {listed}"
            notes.append(Note("user-holds-more", "warning", words))
        return deletion(
            live,
            {k: v for k, v in shown.items() if v is not None},
            whole=WHOLE,
            depends_on=(f"smtp_credential/{live.name}",),
            notes=tuple(notes),
            execution={**others, "ours": [POLICY, *([LOCK_POLICY] if live.facts.get("locked") else [])]},
        )

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

    def steps(self, change: Change) -> Iterable[Step]:
        name = name_of(change.address)
        after = change.after or {}
        if change.action == "delete":
            yield Step(
                change.address,
                "delete",
                needs_of(change.depends_on, "delete"),
                lambda rt: _delete(rt, name, change.execution),
                calls=("iam:DeleteUserPolicy", "iam:DeleteUser"),
            )
            return
        policy = canonical_json(change.execution.get("policy"))
        if change.action == "create":

            def create(rt: Runtime) -> None:
                _create(rt, name, after)
                put: dict[str, Any] = {"UserName": name, "PolicyName": POLICY, "PolicyDocument": policy}
                retry_until_visible(partial(rt.aws.call, "iam", "PutUserPolicy", **put), _not_seen_yet(after))

            yield Step(change.address, "create", (), create, calls=("iam:CreateUser", "iam:PutUserPolicy"))
            return
        calls = _update_calls(change, after, policy)
        needs = needs_of(change.depends_on, "update")
        rename = change.execution.get("rename")

        def update(rt: Runtime) -> None:
            if rename:
                _rename(rt, rename, name)
            codes = _not_seen_yet(after) if touches(change, "permissions_boundary") else ()
            for operation, parameters in calls:
                work = partial(rt.aws.call, "iam", operation, UserName=name, **parameters)
                retry_until_visible(work, codes if operation == "PutUserPolicy" else ())

        operations = (*(("UpdateUser",) if rename else ()), *(operation for operation, _ in calls))
        yield Step(change.address, "update", needs, update, calls=tuple(f"iam:{operation}" for operation in operations))


def _loses_boundary(draft: PlanDraft, desired: Desired, live: Observed) -> bool:
    """True, after refusing it, where the live boundary was declared and is not any more, or ``null`` asks for none.

    A boundary that somebody else has set, and that no YAML ever named, is not ours to speak of.
    """
    boundary = live.spec["permissions_boundary"]
    if boundary is None or not ("permissions_boundary" in desired.spec or BOUNDARY in live.tags):
        return False
    draft.refuse(
        "boundary-removed",
        f"{desired.address}: the YAML no longer has its permissions boundary {boundary}, and recon never removes one: "
        "without it, whoever may write the user's policy could give it any permission",
        hint="write it again; or an administrator of IAM removes it first: aws iam delete-user-permissions-boundary "
        f"--user-name {live.name}",
        address=desired.address,
        source=desired.source_of("permissions_boundary"),
    )
    return True


def _update_calls(change: Change, after: Mapping[str, Any], policy: str) -> list[tuple[str, dict[str, Any]]]:
    """(operation, parameters beside the name) of an update, in order."""
    put, release, drop = tag_phases(change)
    calls: list[tuple[str, dict[str, Any]]] = []
    if put:
        calls.append(("TagUser", {"Tags": tags_to_aws(put)}))
    if touches(change, "path"):
        calls.append(("UpdateUser", {"NewPath": after["path"]}))
    # The boundary first: the policy of `recon iam-policy apply` lets a policy be put only where it is.
    if touches(change, "permissions_boundary"):
        calls.append(("PutUserPermissionsBoundary", {"PermissionsBoundary": after["permissions_boundary"]}))
    if touches(change, *POLICY_FIELDS, "policy"):
        calls.append(("PutUserPolicy", {"PolicyName": POLICY, "PolicyDocument": policy}))
    if drop:
        calls.append(("UntagUser", {"TagKeys": drop}))
    if release:  # the tags that list what we manage shrink last
        calls.append(("TagUser", {"Tags": tags_to_aws(release)}))
    return calls


def _refuse_too_long(draft: PlanDraft, desired: Desired, live: Observed, policy: Mapping[str, Any]) -> None:
    own, others = other_policies.size([policy]), other_policies.size(live.facts["inline_documents"])
    if own + others > other_policies.MOST_CHARACTERS:
        draft.refuse(
            "policy-too-long",
            f"the inline policies of {desired.name} would have {own + others:,} characters, {others:,} of them in "
            f"policies that recon did not write; IAM takes {other_policies.MOST_CHARACTERS:,} for all of a user",
            hint="move the other inline policies to a managed policy, or shorten from_addresses or identities",
            address=desired.address,
            source=desired.entry.source,
        )


def details(aws: Aws) -> Iterator[Mapping[str, Any]]:
    """The UserDetail (path, tags, boundary, groups, policies) of every user of the account, 1,000 a call."""
    yield from aws.pages("iam", "GetAccountAuthorizationDetails", "UserDetailList", token_in="Marker", Filter=["User"])


def has_more(detail: Mapping[str, Any]) -> bool:
    """Whether a UserDetail names groups or attached policies, whose documents are not in it."""
    return bool(detail.get("GroupList") or detail.get("AttachedManagedPolicies"))


def observed_of(detail: Mapping[str, Any], policies: Iterable[OtherPolicy] = ()) -> Observed:
    """A live user, from a UserDetail, or a User with its ``UserPolicyList``; ``policies`` are those of its groups and
    the attached ones."""
    name = detail["UserName"]
    tags = tags_from_aws(detail.get("Tags"))
    inline = {p["PolicyName"]: p.get("PolicyDocument") for p in detail.get("UserPolicyList") or ()}
    spec: dict[str, Any] = {
        "path": detail.get("Path") or "/",
        "permissions_boundary": (detail.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn"),
    }
    parts = fields_of(inline[POLICY]) if POLICY in inline else dict.fromkeys((*POLICY_FIELDS, "policy"))
    if POLICY not in inline:
        parts["identities"] = None
    spec |= parts
    # The credential's tags (recon:key...) do not belong to the user's fingerprint.
    own = {k: v for k, v in tags.items() if not k.startswith((KEY, "recon:stores"))}
    spec["tags"] = own
    facts = {
        "groups": list(detail.get("GroupList") or ()),
        "attached": [p.get("PolicyArn") for p in detail.get("AttachedManagedPolicies") or ()],
        "inline": sorted(n for n in inline if n not in {POLICY, LOCK_POLICY}),
        "policies": (
            *(OtherPolicy("inline policy", n, (inline[n],)) for n in sorted(inline) if n not in {POLICY, LOCK_POLICY}),
            *policies,
        ),
        "inline_documents": [document for name, document in inline.items() if name != POLICY],
        "locked": LOCK_POLICY in inline,
        "user_id": detail.get("UserId"),
        "key_tags": {k: v for k, v in tags.items() if k not in own},
    }
    return Observed(address_of(name), NAME, None, name, spec, own, facts)


def policy_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The least-privilege policy: SendRawEmail, which SMTP uses, from these addresses, networks and identities."""
    condition: dict[str, dict[str, Any]] = {k: dict(v) for k, v in (spec.get("conditions") or {}).items()}
    if spec.get("from_addresses"):
        condition.setdefault("StringLike", {})["ses:FromAddress"] = spec["from_addresses"]
    if spec.get("source_ips"):
        condition.setdefault("IpAddress", {})["aws:SourceIp"] = spec["source_ips"]
    statement: dict[str, Any] = {
        "Sid": "SendThroughSmtp",
        "Effect": "Allow",
        "Action": ["ses:SendRawEmail"],
        "Resource": spec.get("identities") or ["*"],
    }
    if condition:
        statement["Condition"] = condition
    return {"Version": "2012-10-17", "Statement": [statement]}


def judged(stack: Stack, desired: Desired, live: Observed) -> Judged:
    """What the user's other policies let it send, or keep it from sending, beside the policy that is declared."""
    return Judged(stack, desired, live, policy_of(desired.spec))


def denied(snapshot: Snapshot, name: str) -> str:
    """What other policies keep a declared user from sending; "" where nothing does, or the user was not read."""
    desired, live = snapshot.desired.get(address_of(name)), snapshot.observed.get(address_of(name))
    return judged(snapshot.state.stack, desired, live).denied() if desired is not None and live is not None else ""


def fields_of(document: Any) -> dict[str, Any]:
    """The YAML fields of a live policy; ``policy`` is the whole document where the fields cannot express it."""
    normal = normal_policy(document)
    nothing: dict[str, Any] = {**dict.fromkeys(POLICY_FIELDS), "policy": normal}
    statements = normal.get("Statement") if isinstance(normal, Mapping) else None
    if not statements or len(statements) != 1 or not isinstance(statements[0], Mapping):
        return nothing
    statement = statements[0]
    expected = {"Effect": "Allow", "Action": ["ses:SendRawEmail"]}
    other_keys = statement.keys() - {"Sid", "Effect", "Action", "Resource", "Condition"}
    if other_keys or any(statement.get(k) != v for k, v in expected.items()):
        return nothing
    written = statement.get("Condition") or {}
    if not isinstance(written, Mapping) or not all(isinstance(v, Mapping) for v in written.values()):
        return nothing
    conditions = {k: dict(v) for k, v in written.items()}
    addresses = conditions.get("StringLike", {}).pop("ses:FromAddress", None)
    networks = conditions.get("IpAddress", {}).pop("aws:SourceIp", None)
    return {
        "from_addresses": addresses,
        "source_ips": networks,
        "identities": statement.get("Resource"),
        "conditions": {k: v for k, v in conditions.items() if v} or None,
        "policy": None,
    }


def normal_conditions(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Conditions in the form in which ``normal_policy`` returns live ones."""
    document = normal_policy({"Statement": [{"Condition": conditions}]})
    normal: dict[str, Any] = document["Statement"][0].get("Condition") or {}
    return normal


def _resources(state: State, identities: Any) -> list[str]:
    """The ARNs that a user may send through: its identities, and their default configuration sets."""
    if not identities:
        return ["*"]
    stack = state.stack
    found: set[str] = set()
    entries = [e for e in (*state.section("domains"), *state.section("email_addresses")) if e.region]
    for name in identities:
        declared = [e for e in entries if e.name == name]
        for region in sorted({e.region for e in declared if e.region} or set(stack.regions)):
            found.add(regions.identity_arn(stack.partition, region, stack.account, regions.literal(name)))
        for entry in declared:
            default = DEFAULT_SET.name_in(entry.values)
            if default and entry.region:
                found.add(regions.configuration_set_arn(stack.partition, entry.region, stack.account, default))
    return sorted(found)


def _arn(stack: Stack, path: str, name: str) -> str:
    return f"arn:{stack.partition}:iam::{stack.account}:user{path}{name}"


def _create(rt: Runtime, name: str, after: Mapping[str, Any]) -> None:
    request: dict[str, Any] = {"UserName": name, "Path": after["path"], "Tags": tags_to_aws(after["tags"])}
    if after.get("permissions_boundary"):
        request["PermissionsBoundary"] = after["permissions_boundary"]
    create_once(
        lambda: rt.aws.call("iam", "CreateUser", **request),
        lambda: owner_of(tags_from_aws(rt.aws.call("iam", "GetUser", UserName=name)["User"].get("Tags"))) == rt.scope,
        "EntityAlreadyExists",
    )


def _rename(rt: Runtime, old: str, new: str) -> None:
    """IAM keeps keys, policies and tags of a renamed user (IAM API, UpdateUser)."""
    if rt.aws.call_if_there("iam", "UpdateUser", UserName=old, NewUserName=new) is None:
        rt.aws.call("iam", "GetUser", UserName=new)  # an earlier call renamed it, and its answer was lost


_OTHER_PARTS = {"inline": "inline policies", "attached": "attached policies"}
"""What others may have added to a user, by the facts of its ``Observed``: shown where the user is deleted."""


def _delete(rt: Runtime, name: str, parts: Mapping[str, Iterable[str]]) -> None:
    """Remove our policies and the ``parts`` of others that the plan has shown, and delete the user. IAM refuses where
    somebody has added more since. Its keys are deleted before, with the credential."""
    removals: list[tuple[str, dict[str, Any]]] = [
        *(("DeleteUserPolicy", {"PolicyName": policy}) for policy in (*parts["ours"], *parts["inline"])),
        *(("DetachUserPolicy", {"PolicyArn": arn}) for arn in parts["attached"]),
        ("DeleteUser", {}),
    ]
    for operation, parameters in removals:
        try:
            rt.aws.call_if_there("iam", operation, UserName=name, **parameters)
        except AwsError as error:
            if error.aws_code == "DeleteConflict":
                error.hint = (
                    "somebody added a policy, a password, a key or a device, or put the user into a group, after the "
                    "plan was made, or recon may not list users (iam:GetAccountAuthorizationDetails): plan again, and "
                    "it is shown"
                )
            raise


def _not_seen_yet(after: Mapping[str, Any]) -> tuple[str, ...]:
    """What IAM answers to a policy for a user that it does not see yet; where that is allowed under a boundary alone
    (`recon iam-policy apply`), it may deny the call as long as it does not see the boundary."""
    return ("NoSuchEntity", *(sorted(DENIED) if after.get("permissions_boundary") else ()))


def retry_until_visible(
    work: Callable[[], Any], codes: tuple[str, ...] = ("NoSuchEntity",), seconds: float = VISIBLE_SECONDS
) -> Any:
    """Repeat ``work`` until IAM sees what was just created; raises the last error after ``seconds``."""
    deadline = time.monotonic() + seconds
    pause = 0.2
    while True:
        try:
            return work()
        except AwsError as error:
            if error.aws_code not in codes or time.monotonic() > deadline:
                raise
        time.sleep(pause)
        pause = min(pause * 2, 4.0)


KIND = SmtpUser()
