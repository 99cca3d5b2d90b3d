"""IAM role that may send: who may use it, what it may send, and for EC2 its instance profile.

Managed:  trust policy, description, longest session, permissions boundary, the inline policy made from from_addresses,
          source_ips, identities and what they send through, conditions and actions, tags; where EC2 uses it the
          instance profile of the same name. What users and roles have in common is in ``kinds.iam_principals``.
Source:   IAM API reference, UpdateRole (a duration that is left out becomes one hour: both members are always sent),
          DeleteRole (what goes before it), GetRole (the bulk read has neither description nor duration),
          AddRoleToInstanceProfile (one role a profile; needs iam:PassRole).

An instance profile is ours by its own tag. The role's tag ``recon:parts`` names it from before it is made until after
it is gone; where the profile has lost its tag, that of the role does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from reconciler import regions
from reconciler.errors import AwsError, ReconError
from reconciler.kinds import other_policies, send_policy
from reconciler.kinds.changes import release
from reconciler.kinds.comparing import touches
from reconciler.kinds.grants import Grant
from reconciler.kinds.iam_account import Detail, everyone
from reconciler.kinds.iam_principals import CallOf, IamPrincipal, retry_until_visible
from reconciler.kinds.kind import Runtime
from reconciler.kinds.obstacles import Found, Obstacle
from reconciler.kinds.other_policies import OtherPolicy
from reconciler.kinds.ownership import PARTS, POLICIES, STACK, create_once, may_write, named, owner_of, pack, unpack
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.reading import principal_addresses
from reconciler.kinds.snapshot import Snapshot
from reconciler.kinds.tags import tags_from_aws, tags_to_aws
from reconciler.model import Address, Change, Desired, Note, Observed, Stack, State, canonical_json
from reconciler.resources import SECTIONS
from reconciler.resources.email_identity import DEFAULT_SET
from reconciler.resources.email_identity import NAME as IDENTITY
from reconciler.resources.sending_role import SPEC, trust

if TYPE_CHECKING:
    from reconciler.aws import Aws

PROFILE: Final = "instance_profile"
GONE: Final = "gone"
"""Fact of what is left of a role that does not exist any more."""
SESSION: Final = 3_600
"""Seconds of the longest session where nobody says more."""
ACTIONS: Final = ("SendEmail", "SendRawEmail")
_OF_AWS: Final = ("/aws-service-role/", "/aws-reserved/")
"""Paths of the roles that AWS makes and changes by itself."""


class SendingRole(IamPrincipal):
    name = SPEC.name
    noun, policy, sid, most = "Role", "recon-send", "Send", 10_240
    fields = send_policy.FIELDS
    whole = ("conditions", "trust.conditions", "trust.policy")
    changed_by = {
        "trust": ("UpdateAssumeRolePolicy",),
        **dict.fromkeys(("description", "max_session_duration"), ("UpdateRole", "UpdateRoleDescription")),
        PROFILE: (
            "CreateInstanceProfile", "DeleteInstanceProfile", "AddRoleToInstanceProfile",
            "RemoveRoleFromInstanceProfile",
        ),
    }  # fmt: skip
    reads = (
        "iam:GetAccountAuthorizationDetails", "iam:GetRole", "iam:ListRolePolicies", "iam:GetRolePolicy",
        "iam:GetPolicy", "iam:GetInstanceProfile", "iam:ListInstanceProfilesForRole",
    )  # fmt: skip
    writes = (
        "iam:CreateRole", "iam:UpdateRole", "iam:UpdateAssumeRolePolicy", "iam:PutRolePolicy", "iam:DeleteRolePolicy",
        "iam:PutRolePermissionsBoundary", "iam:TagRole", "iam:UntagRole", "iam:DetachRolePolicy", "iam:DeleteRole",
        "iam:CreateInstanceProfile", "iam:TagInstanceProfile", "iam:UntagInstanceProfile",
        "iam:AddRoleToInstanceProfile", "iam:RemoveRoleFromInstanceProfile", "iam:DeleteInstanceProfile",
    )  # fmt: skip
    conflict_hint = (
        "somebody added a policy, or put the role into an instance profile, after the plan was made, or recon may not "
        "list roles (iam:GetAccountAuthorizationDetails): plan again, and it is shown"
    )
    read_calls = {
        **dict.fromkeys(
            (*send_policy.FIELDS, "path", "permissions_boundary", "trust", "tags"),
            "iam:GetAccountAuthorizationDetails",
        ),
        "description": "iam:GetRole", "max_session_duration": "iam:GetRole", PROFILE: "iam:GetInstanceProfile",
    }  # fmt: skip

    # -- desired ----------------------------------------------------------------------------------------------------

    def desired(self, state: State) -> Iterable[Desired]:
        stack = state.stack
        for entry in state.section(SPEC.section):
            values = entry.values
            fields = trust.wanted(values.get("trust") or {}, stack.partition, stack.account)
            spec = {**self.common_spec(entry), "trust": fields, **_sent_through(state, values)}
            actions = values.get("actions") or ACTIONS
            spec["actions"] = [a for a in send_policy.SENDING if a in actions]
            if _of_instances(fields):
                spec[PROFILE] = entry.name
            if "description" in values:
                spec["description"] = values["description"] or None
            if "max_session_duration" in values:
                spec["max_session_duration"] = values["max_session_duration"] or SESSION
            protect = bool(values.get("protect"))
            yield Desired(self.address_of(entry.name), SPEC.name, None, entry.name, spec, entry, protect=protect)

    def policy_of(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        return send_policy.policy_of(spec, self.sid)

    def fields_of(self, document: Any) -> dict[str, Any]:
        return send_policy.fields_of(document)

    def own_grants(self, stack: Stack, address: Address) -> Iterable[Grant]:
        """With any path: an address does not say it."""
        for path in ("/*/", "/"):
            yield Grant("role", self.arn(stack, path, self.name_of(address)))

    def grants(self, desired: Desired, state: State) -> Iterable[Grant]:
        """With its path where the YAML says one, and without: a role of no written path may be adopted at any."""
        values, stack, name = desired.entry.values, state.stack, desired.name
        paths = (regions.literal(str(values.get("path") or "/")), "/", *(() if "path" in values else ("/*/",)))
        yield from self.grants_at(stack, paths, name, str(values.get("permissions_boundary") or ""))
        for path in ("/", "/*/") if desired.spec.get(PROFILE) else ():
            yield Grant("profiled_role", self.arn(stack, path, name))
            profile = f"arn:{stack.partition}:iam::{stack.account}:instance-profile{path}{name}"
            yield Grant("instance_profile", profile)

    # -- observed ---------------------------------------------------------------------------------------------------

    def completed(self, aws: Aws, snapshot: Snapshot, ours: Sequence[Detail]) -> Iterable[Detail]:
        """With a call a role, for EC2 two; of roles that no target needs nothing. A role of ours that is not there
        yet may have its instance profile."""
        needed = [detail for detail in ours if snapshot.includes(self.address_of(detail["RoleName"]))]
        there = {detail["RoleName"] for detail in ours}

        def one(detail: Detail) -> Detail | AwsError | None:
            try:
                found = aws.call_if_there("iam", "GetRole", RoleName=detail["RoleName"])
                return None if found is None else self._with_profile(aws, {**detail, **found["Role"]}, snapshot)
            except AwsError as error:
                return error

        for detail, found in zip(needed, aws.parallel(one, needed), strict=True):
            if isinstance(found, AwsError):
                snapshot.unreadable(self.address_of(detail["RoleName"]), found.message, found.hint)
            elif found is not None:
                yield found
        for desired in snapshot.kind(self.name):
            if desired.spec.get(PROFILE) and desired.name not in there and snapshot.includes(desired.address):
                try:
                    _refuse_profile(snapshot, desired, self._profile(aws, desired.name))
                except AwsError as error:
                    snapshot.unreadable(desired.address, error.message, error.hint)

    def detail_of(self, aws: Aws, name: str) -> Detail | None:
        """With all inline policies: of a role that is not ours yet, any may be the one that is adopted."""
        found = aws.call_if_there("iam", "GetRole", RoleName=name)
        if found is None:
            return None
        names = aws.pages("iam", "ListRolePolicies", "PolicyNames", token_in="Marker", RoleName=name)
        listed = [aws.call_if_there("iam", "GetRolePolicy", RoleName=name, PolicyName=one) for one in names]
        return self._with_profile(aws, {**found["Role"], "RolePolicyList": [one for one in listed if one]})

    def policy_name(self, inline: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        """Ours by its usual name, or by the tag ``recon:policies``; else the one that says nothing but what an entry
        can say, which is adopted as it is."""
        if self.policy in inline or len(ours := unpack(tags, POLICIES)) == 1:
            return self.policy if self.policy in inline else next(iter(ours))
        sayable = [name for name in inline if self.fields_of(inline[name])["policy"] is None]
        return sayable[0] if len(sayable) == 1 and STACK not in tags else self.policy

    def remnants(self, aws: Aws, snapshot: Snapshot, there: Sequence[Detail]) -> Iterable[Observed]:
        """The instance profiles with our tag whose role somebody has deleted. One that has another role since stays,
        as does one whose role is not ours any more."""
        roles = {detail["RoleName"].lower() for detail in there}
        gone = snapshot.owned.get(self.name, {}).keys() - snapshot.desired.keys() - snapshot.observed.keys()
        for address in sorted(filter(snapshot.includes, gone)):
            name = self.name_of(address)
            try:
                profile = self._profile(aws, name)
            except AwsError as error:
                snapshot.unreadable(address, error.message, error.hint)
                continue
            if profile is None or owner_of(tags_from_aws(profile.get("Tags"))) != snapshot.scope:
                continue
            if profile.get("Roles") or name.lower() in roles:
                words = f"the instance profile {name} has the tag of this stack, and its role has not: it stays"
                hint = f"aws iam untag-instance-profile --instance-profile-name {name} --tag-keys {STACK}"
                snapshot.say("note", "left", words, hint=hint, address=address)
            else:
                yield self._remnant(name, profile)

    def _remnant(self, name: str, profile: Mapping[str, Any]) -> Observed:
        """An instance profile without its role."""
        tags = tags_from_aws(profile.get("Tags"))
        facts: dict[str, Any] = {"policy_name": self.policy, "profile_owner": owner_of(tags), GONE: True}
        facts |= {"key_tags": {}, "last_used": {}}
        return Observed(self.address_of(name), self.name, None, name, {PROFILE: name, "tags": tags}, tags, facts)

    def read_again(self, aws: Aws, change: Change) -> Observed | None:
        """With the instance profile where the plan had read it."""
        detail = self.detail_of(aws, self.name_of(change.address))
        if detail is None and change.execution.get(GONE):
            profile = self._profile(aws, self.name_of(change.address))
            return None if profile is None else self._remnant(self.name_of(change.address), profile)
        if (
            detail is not None
            and PROFILE not in detail
            and any(PROFILE in (v or {}) for v in (change.before, change.after))
        ):
            detail = {**detail, PROFILE: self._profile(aws, detail["RoleName"])}
        return None if detail is None else self.observed_of(detail)

    def _with_profile(self, aws: Aws, detail: Detail, snapshot: Snapshot | None = None) -> Detail:
        """With the instance profile of its name, where the role is for EC2, is declared for it, or says it has one."""
        fields = trust.fields_of(detail.get("AssumeRolePolicyDocument"), aws.stack.partition)
        name, desired = detail["RoleName"], None
        if snapshot is not None:
            desired = snapshot.desired.get(self.address_of(name))
        says = PARTS in tags_from_aws(detail.get("Tags"))
        if not (says or _of_instances(fields) or (desired and desired.spec.get(PROFILE))):
            return {**detail, "trust": fields}
        profile = self._profile(aws, name)
        if snapshot is not None and desired is not None and desired.spec.get(PROFILE):
            _refuse_profile(snapshot, desired, profile)
        return {**detail, "trust": fields, PROFILE: profile}

    def _profile(self, aws: Aws, name: str) -> Mapping[str, Any] | None:
        found = aws.call_if_there("iam", "GetInstanceProfile", InstanceProfileName=name)
        return None if found is None else found["InstanceProfile"]

    def observed_of(self, detail: Detail, policies: Iterable[OtherPolicy] = ()) -> Observed:
        found, profile = super().observed_of(detail, policies), detail.get(PROFILE)
        holds = _holds(profile or {}, found.name)
        tags, owner = dict(found.tags), owner_of(tags_from_aws((profile or {}).get("Tags")))
        if profile and PARTS in tags and owner != owner_of(tags):
            tags[PARTS] = ""  # somebody has taken its tag off: it counts for nothing, and is written again or goes
        spec = {
            **found.spec,
            "trust": detail["trust"],
            "description": detail.get("Description") or None,
            "max_session_duration": detail.get("MaxSessionDuration") or SESSION,
            PROFILE: found.name if holds else None,
            "tags": tags,
        }
        used = detail.get("RoleLastUsed") or {}
        account = str(detail["Arn"]).split(":")[4]
        facts = {**found.facts, "profile_owner": owner if profile else None, "last_used": used, "account": account}
        return replace(found, spec=spec, tags=tags, facts=facts)

    # -- imported ---------------------------------------------------------------------------------------------------

    def importable(self, aws: Aws, snapshot: Snapshot) -> Iterable[tuple[Observed, str]]:
        """Roles that a policy lets send; not those of AWS. Administrators are none."""
        roles = [d for d in everyone(aws, snapshot)["Role"] if not str(d.get("Path")).startswith(_OF_AWS)]
        holders = [d for d in roles if d.get("AttachedManagedPolicies")]
        attached = other_policies.read(aws, snapshot, holders, "RoleName") if holders else {}
        for detail in roles:
            inline = {p["PolicyName"]: p.get("PolicyDocument") for p in detail.get("RolePolicyList") or ()}
            more = attached.get(detail["RoleName"], ())
            by = [f"the inline policy {name}" for name, document in inline.items() if _sends(document)]
            by += [f"the attached policy {one.name}" for one in more if any(map(_sends, one.documents))]
            if by:
                live = self.read(aws, "", detail["RoleName"])
                if live is not None:
                    own = f"the inline policy {live.facts['policy_name']}"
                    # of what the stack owns the other policies are somebody's addition: rules tell of them
                    ours = own in by and owner_of(live.tags) == snapshot.scope
                    yield live, _not_sayable(live, [own] if ours else by)

    def entry_of(self, live: Observed) -> dict[str, Any]:
        spec = live.spec
        values = {
            "trust": _trust_entry(spec["trust"], live.facts["account"]),
            "path": spec["path"] if spec["path"] != "/" else None,
            "from_addresses": list(spec["from_addresses"] or ["*"]),
            "source_ips": spec["source_ips"],
            **{field: _names(spec[field] or ()) for field in send_policy.RESOURCES},
            "conditions": spec["conditions"],
            "actions": list(spec["actions"]) if tuple(spec["actions"]) != ACTIONS else None,
            "description": spec["description"],
            "max_session_duration": spec["max_session_duration"] if spec["max_session_duration"] != SESSION else None,
            "permissions_boundary": spec["permissions_boundary"],
        }
        return {key: value for key, value in values.items() if value}

    def obstacles(self, aws: Aws, snapshot: Snapshot, going: Sequence[Observed]) -> Found:
        """The instance profiles of others that a role is in, which IAM does not delete it for. Costs a call a role."""

        def one(live: Observed) -> tuple[Obstacle, ...] | AwsError:
            try:
                rows = aws.pages(
                    "iam", "ListInstanceProfilesForRole", "InstanceProfiles", token_in="Marker", RoleName=live.name
                )
                names = [str(row["InstanceProfileName"]) for row in rows]
            except AwsError as error:
                return () if error.absent else error
            command = f"aws iam remove-role-from-instance-profile --role-name {live.name} --instance-profile-name"
            others = [name for name in names if name != live.name or not _owns_profile(live)]
            return tuple(Obstacle(f"a place in the instance profile {name}", f"{command} {name}") for name in others)

        return {live.address: found for live, found in zip(going, aws.parallel(one, going), strict=True)}

    # -- compared ---------------------------------------------------------------------------------------------------

    def extra_tags(self, desired: Desired, live: Observed | None) -> dict[str, str | None]:
        policy = live.facts["policy_name"] if live else self.policy
        return {
            **super().extra_tags(desired, live),
            PARTS: PROFILE if desired.spec.get(PROFILE) else None,
            **(pack([policy], POLICIES) if policy != self.policy else {POLICIES: None}),
        }

    def refuse(self, draft: PlanDraft, desired: Desired, live: Observed | None) -> None:
        super().refuse(draft, desired, live)
        if live is not None and desired.spec.get("path", live.spec["path"]) != live.spec["path"]:
            draft.refuse(
                "path-fixed",
                f"{desired.address} has the path {live.spec['path']}, and IAM does not move a role to another",
                hint=f"write `path: {live.spec['path']}`, or declare a role of another name",
                address=desired.address,
                source=desired.source_of("path"),
            )

    def wanted_more(self, desired: Desired, live: Observed | None) -> dict[str, Any]:
        """No instance profile any more, where EC2 used the role; one of others stays."""
        goes = live is not None and PROFILE not in desired.spec and _owns_profile(live)
        return {PROFILE: None} if goes else {}

    def execution_of(self, draft: PlanDraft, desired: Desired, live: Observed | None) -> dict[str, Any]:
        stack, usual = draft.snapshot.state.stack, {"description": None, "max_session_duration": SESSION}
        said = {k: desired.spec.get(k, live.spec[k] if live else usual[k]) for k in usual}
        return {
            **super().execution_of(draft, desired, live),
            "trust": trust.document(desired.spec["trust"], stack.partition, stack.account),
            "role": {"Description": said["description"] or "", "MaxSessionDuration": said["max_session_duration"]},
            PROFILE: desired.spec.get(PROFILE),
            "trusts_itself": desired.address in self._principals(draft, desired),
            "owns_profile": live is not None and _owns_profile(live),
        }

    def depends_on(self, draft: PlanDraft, desired: Desired) -> tuple[Address, ...]:
        """Users and roles of the state that may use it: IAM takes no principal that does not exist."""
        return tuple(a for a in self._principals(draft, desired) if a != desired.address)

    def _principals(self, draft: PlanDraft, desired: Desired) -> tuple[Address, ...]:
        stack = draft.snapshot.state.stack
        document = trust.document(desired.spec["trust"], stack.partition, stack.account)
        return principal_addresses(draft.snapshot, [document])

    def goes(self, draft: PlanDraft, live: Observed) -> tuple[Note, ...] | None:
        if GONE in live.facts:
            words = "somebody has deleted the role itself: its instance profile is left, and goes"
            return (Note("role-gone", "note", words),)
        notes = [Note("role-deleted", "warning", "after this, whatever sends with this role can send no more")]
        used = live.facts["last_used"]
        if at := used.get("LastUsedDate"):
            when = f"{at:%Y-%m-%d}" if isinstance(at, datetime) else str(at)
            where = f" in {used['Region']}" if used.get("Region") else ""
            notes.append(Note("role-in-use", "warning", f"it was last used on {when}{where}"))
        return tuple(notes)

    def release(self, snapshot: Snapshot, live: Observed) -> Change | None:
        """With its instance profile, whose tag goes first."""
        if owner_of(live.tags) != snapshot.scope:
            return None
        return release(
            live, {**live.tags, **live.facts["key_tags"]}, releases=_owns_profile(live), gone=GONE in live.facts
        )

    # -- written ----------------------------------------------------------------------------------------------------

    def create_request(self, change: Change) -> dict[str, Any]:
        """IAM takes no principal that does not exist: a role that trusts itself trusts nobody until it is there."""
        said = {k: v for k, v in change.execution["role"].items() if v}
        document = trust.NOBODY if change.execution["trusts_itself"] else change.execution["trust"]
        return {"AssumeRolePolicyDocument": canonical_json(document), **said}

    def calls_after(self, change: Change) -> list[CallOf]:
        found: list[CallOf] = []
        if touches(change, "description", "max_session_duration"):
            found.append(("UpdateRole", change.execution["role"]))
        if touches(change, "trust"):
            found.append(("UpdateAssumeRolePolicy", {"PolicyDocument": canonical_json(change.execution["trust"])}))
        return found

    def _waits(self, change: Change) -> bool:
        statements = (change.execution.get("trust") or {}).get("Statement") or ()
        return any("AWS" in statement["Principal"] for statement in statements)

    def settled_by(self, change: Change) -> tuple[str, ...]:
        if "releases" in change.execution:
            return ("iam:UntagInstanceProfile",) if change.execution["releases"] else ()
        if change.action == "create":
            opened = ("iam:UpdateAssumeRolePolicy",) if change.execution["trusts_itself"] else ()
            profile = ("iam:CreateInstanceProfile", "iam:AddRoleToInstanceProfile") if change.execution[PROFILE] else ()
            return (*opened, *profile)
        if not touches(change, PROFILE, f"tags.{PARTS}", f"tags.{STACK}"):
            return ()
        if change.execution[PROFILE]:
            return ("iam:CreateInstanceProfile", "iam:TagInstanceProfile", "iam:AddRoleToInstanceProfile")
        goes = change.execution["owns_profile"] and touches(change, PROFILE, f"tags.{PARTS}")
        return ("iam:RemoveRoleFromInstanceProfile", "iam:DeleteInstanceProfile") if goes else ()

    def settle(self, rt: Runtime, change: Change) -> None:
        """The trust of a new role in itself; the instance profile: made, put right, deleted, or let go."""
        name, calls = self.name_of(change.address), self.settled_by(change)
        if "iam:UpdateAssumeRolePolicy" in calls:
            document = canonical_json(change.execution["trust"])
            opened = partial(rt.aws.call, "iam", "UpdateAssumeRolePolicy", RoleName=name, PolicyDocument=document)
            retry_until_visible(opened, ("MalformedPolicyDocument", "NoSuchEntity"))
        if "iam:UntagInstanceProfile" in calls:
            rt.aws.call_if_there("iam", "UntagInstanceProfile", InstanceProfileName=name, TagKeys=[STACK])
        elif "iam:CreateInstanceProfile" in calls:
            self._ensure_profile(rt, name)
        elif "iam:DeleteInstanceProfile" in calls:
            for operation, parameters in _profile_removals(name):
                rt.aws.call_if_there("iam", operation, **parameters)

    def _ensure_profile(self, rt: Runtime, name: str) -> None:
        """Whatever part of it an earlier run has made is kept."""
        tags = tags_to_aws({STACK: rt.scope})

        def live() -> tuple[str | None, bool]:
            """Its owner, and whether the role is in it."""
            found = rt.aws.call("iam", "GetInstanceProfile", InstanceProfileName=name)["InstanceProfile"]
            return owner_of(tags_from_aws(found.get("Tags"))), _holds(found, name)

        if self._profile(rt.aws, name) is None:
            create = partial(rt.aws.call, "iam", "CreateInstanceProfile", InstanceProfileName=name, Tags=tags)
            create_once(create, lambda: live()[0] == rt.scope, "EntityAlreadyExists")
        owner, holds = retry_until_visible(live)
        if not may_write(rt.aws.stack, owner):
            raise ReconError(f"the instance profile {name} belongs to {named(str(owner))}")
        if owner != rt.scope:
            rt.aws.call("iam", "TagInstanceProfile", InstanceProfileName=name, Tags=tags)
        if not holds:
            add = partial(rt.aws.call, "iam", "AddRoleToInstanceProfile", InstanceProfileName=name, RoleName=name)
            codes = ("EntityAlreadyExists", "LimitExceeded")
            create_once(lambda: retry_until_visible(add), lambda: live()[1], *codes)

    def goes_with(self, live: Observed) -> dict[str, Any]:
        return {PROFILE: _owns_profile(live), GONE: GONE in live.facts}

    def removals(self, change: Change) -> list[CallOf]:
        profile = _profile_removals(self.name_of(change.address)) if change.execution[PROFILE] else []
        return [*super().removals(change), *profile]


def _sent_through(state: State, values: Mapping[str, Any]) -> dict[str, list[str] | None]:
    """The ARNs that a role may send through, by field: its identities; the configuration sets that it names and the
    default ones of its identities; its templates, all where it sends in bulk, which needs one, and names none."""
    identities = values.get("identities") or ()
    found: dict[str, set[str]] = {field: set() for field in send_policy.RESOURCES}
    for field in send_policy.PARTS.values():
        kind = SECTIONS[field][0].name
        found[field] |= send_policy.arns(state, kind, values.get(field) or ())
        if kind == DEFAULT_SET.kind:
            found[field] |= send_policy.default_set_arns(state, identities)
    own = send_policy.identity_arns(state, identities)
    if not own and not any(values.get(field) for field in send_policy.PARTS.values()):
        return {**dict.fromkeys(send_policy.RESOURCES), "identities": ["*"]}
    *_, templates = send_policy.RESOURCES
    if send_policy.BULK in (values.get("actions") or ()) and not found[templates]:
        found[templates] = {send_policy.all_of(state.stack, SECTIONS[templates][0].name)}
    found["identities"] = set(own) or {send_policy.all_of(state.stack, IDENTITY)}
    return {field: sorted(arns) or None for field, arns in found.items()}


def _sends(document: Any) -> bool:
    return send_policy.sends(document, *send_policy.SENDING)


def _names(arns: Iterable[str]) -> list[str]:
    """The names in ARNs of SES; none where they are patterns."""
    found = (regions.meant(arn.split(":", 5)[-1].partition("/")[2]) for arn in arns)
    return sorted({name for name in found if name})


def _trust_entry(fields: Mapping[str, Any], account: str) -> dict[str, Any]:
    """The ``trust`` of an entry that says what is live."""
    plain = {k: _one(v) if k == "service" else v for k, v in fields.items() if v and k in ("service", "principals")}
    if oidc := fields["oidc"]:
        audience = {} if oidc["audience"] == [trust.AUDIENCE] else {"audience": _one(oidc["audience"])}
        plain["oidc"] = {"provider": oidc["provider"], "subject": _one(oidc["subject"]), **audience}
    usual = trust.wanted(plain, "aws", account)["conditions"]
    return plain if usual == fields["conditions"] else {**plain, "conditions": fields["conditions"] or {}}


def _one(texts: Sequence[str]) -> Any:
    return texts[0] if len(texts) == 1 else list(texts)


def _not_sayable(live: Observed, by: Sequence[str]) -> str:
    """Why the YAML cannot say a role that may send by the policies ``by``."""
    if len(by) > 1:
        return f"several policies let it send, and an entry is one: {'; '.join(by)}"
    if by != [f"the inline policy {live.facts['policy_name']}"] or live.spec["policy"] is not None:
        return f"an entry cannot say {by[0]}: it takes an inline policy that allows actions of SES that send, alone"
    if live.spec["trust"]["policy"] is not None:
        return "an entry cannot say its trust policy: it takes one statement for services, principals or a provider"
    known = {"identity", *send_policy.PARTS}
    arns = [arn for field in send_policy.RESOURCES for arn in live.spec[field] or () if arn != "*"]
    if any(arn.split(":", 5)[-1].partition("/")[0] not in known or not _names([arn]) for arn in arns):
        return f"an entry cannot say {by[0]}: its resources are patterns, or not of SES"
    return ""


def _of_instances(fields: Mapping[str, Any]) -> bool:
    """Whether EC2 uses the role."""
    return any(str(service).startswith(trust.INSTANCES) for service in fields["service"] or ())


def _owns_profile(live: Observed) -> bool:
    """Whether the instance profile of its name has the owner of the role."""
    owner = live.facts["profile_owner"]
    return owner is not None and owner == owner_of(live.tags)


def _holds(profile: Mapping[str, Any], role: str) -> bool:
    return any(one["RoleName"] == role for one in profile.get("Roles") or ())


def _profile_removals(name: str) -> list[CallOf]:
    profile = {"InstanceProfileName": name}
    return [("RemoveRoleFromInstanceProfile", {**profile, "RoleName": name}), ("DeleteInstanceProfile", profile)]


def _refuse_profile(snapshot: Snapshot, desired: Desired, profile: Mapping[str, Any] | None) -> None:
    """Refuse a role whose instance profile is another stack's, or has another role."""
    if profile is None:
        return
    owner = owner_of(tags_from_aws(profile.get("Tags")))
    others = [str(role["RoleName"]) for role in profile.get("Roles") or () if role["RoleName"] != desired.name]
    if not may_write(snapshot.state.stack, owner):
        snapshot.refuse(
            "owned-elsewhere",
            f"the instance profile {desired.name}, which EC2 needs for {desired.address}, belongs to "
            f"{named(str(owner))}",
            hint="declare a role of another name, or release the instance profile there",
            address=desired.address,
            source=desired.entry.source,
        )
    elif others:
        snapshot.refuse(
            "profile-in-use",
            f"the instance profile {desired.name}, which EC2 needs for {desired.address}, has the role {others[0]}, "
            "and IAM takes one role for each",
            hint="declare a role of another name; or take that role out: aws iam remove-role-from-instance-profile "
            f"--instance-profile-name {desired.name} --role-name {others[0]}",
            address=desired.address,
            source=desired.entry.source,
        )


KIND = SendingRole()
