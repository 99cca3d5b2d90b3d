"""IAM roles with their policies and boundaries, and instance profiles.

Source: IAM API reference (CreateRole, UpdateRole: without a duration that of one hour is applied;
UpdateAssumeRolePolicy, PutRolePolicy, AttachRolePolicy, DeleteRole, RoleDetail; CreateInstanceProfile,
AddRoleToInstanceProfile, DeleteInstanceProfile; lists have no tags); IAM User Guide, "IAM and STS quotas" and "AWS JSON
policy elements: Principal" (a principal that does not exist is refused).
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

from reconciler.sandbox.iam_groups import Groups
from reconciler.sandbox.iam_state import (
    IamState,
    Profile,
    Role,
    attach,
    attached_view,
    boundary_view,
    check_size,
    conflict,
    detach,
    inline_view,
    limit,
    merge_tags,
    no_such,
)
from reconciler.sandbox.protocol import ApiError, Params
from reconciler.sandbox.world import Call, moment, tag_list

MAX_ROLE_POLICY_CHARACTERS = 10_240
MAX_TRUST_CHARACTERS = 2_048
MAX_ROLES = 1_000
SESSION = 3_600
"""Seconds of a session where nothing else is said."""


class Roles(Groups):
    """The operations on roles."""

    def _role(self, call: Call, params: Params) -> Role:
        found = self._state(call).roles.get(params["RoleName"].lower())
        if found is None:
            raise no_such("role", params["RoleName"])
        return found

    def _role_view(self, call: Call, role: Role, *, listed: bool = False) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "Path": role.path, "RoleName": role.name, "RoleId": role.id, "CreateDate": moment(role.created),
            "Arn": call.arn("iam", f"role{role.path}{role.name}", ""),
            "AssumeRolePolicyDocument": quote(role.trust, safe="-._~"), "MaxSessionDuration": role.session,
        }  # fmt: skip
        if role.description:
            shown["Description"] = role.description
        if listed:
            return shown
        if role.boundary:
            shown["PermissionsBoundary"] = boundary_view(role.boundary)
        if role.tags:
            shown["Tags"] = tag_list(role.tags)
        shown["RoleLastUsed"] = self._role_used(role)
        return shown

    @staticmethod
    def _role_used(role: Role) -> dict[str, Any]:
        return {"LastUsedDate": moment(role.used[0]), "Region": role.used[1]} if role.used else {}

    def create_role(self, call: Call, params: Params) -> Params:
        state, name = self._state(call), params["RoleName"]
        if name.lower() in state.roles:
            raise ApiError("EntityAlreadyExists", f"Role with name {name} already exists.", 409)
        if len(state.roles) >= MAX_ROLES:
            raise limit(f"Cannot exceed quota for RolesPerAccount: {MAX_ROLES}")
        trust = _checked_trust(call, state, params["AssumeRolePolicyDocument"])
        role = Role(name, self._make_id("AROA"), params.get("Path", "/"), call.now, trust)
        role.description = params.get("Description")
        role.session = params.get("MaxSessionDuration", SESSION)
        role.tags = merge_tags({}, params.get("Tags", []))
        role.boundary = self._checked_boundary(call, params.get("PermissionsBoundary"))
        state.roles[name.lower()] = role
        return {"Role": self._role_view(call, role)}

    def get_role(self, call: Call, params: Params) -> Params:
        return {"Role": self._role_view(call, self._role(call, params))}

    def list_roles(self, call: Call, params: Params) -> Params:
        roles, prefix = self._state(call).roles, params.get("PathPrefix", "/")
        rows = [self._role_view(call, roles[n], listed=True) for n in sorted(roles) if roles[n].path.startswith(prefix)]
        return self._pages(rows, params, "Roles")

    def update_role(self, call: Call, params: Params) -> Params:
        role = self._role(call, params)
        role.description = params.get("Description", role.description)
        role.session = params.get("MaxSessionDuration", SESSION)
        return {}

    def update_assume_role_policy(self, call: Call, params: Params) -> Params:
        self._role(call, params).trust = _checked_trust(call, self._state(call), params["PolicyDocument"])
        return {}

    def delete_role(self, call: Call, params: Params) -> Params:
        role = self._role(call, params)
        if role.policies:
            raise conflict("Cannot delete entity, must delete policies first.")
        if role.attached:
            raise conflict("Cannot delete entity, must detach all policies first.")
        if self._profiles_of(call, role):
            raise conflict("Cannot delete entity, must remove roles from instance profile first.")
        del self._state(call).roles[role.name.lower()]
        return {}

    def put_role_policy(self, call: Call, params: Params) -> Params:
        role = self._role(call, params)
        policies = {**role.policies, params["PolicyName"]: params["PolicyDocument"]}
        check_size(params["PolicyDocument"], policies, MAX_ROLE_POLICY_CHARACTERS, f"role {role.name}")
        role.policies = policies
        return {}

    def get_role_policy(self, call: Call, params: Params) -> Params:
        role, name = self._role(call, params), params["PolicyName"]
        if name not in role.policies:
            raise ApiError("NoSuchEntity", f"The role policy with name {name} cannot be found.", 404)
        return {"RoleName": role.name, "PolicyName": name, "PolicyDocument": quote(role.policies[name], safe="-._~")}

    def list_role_policies(self, call: Call, params: Params) -> Params:
        return self._pages(sorted(self._role(call, params).policies), params, "PolicyNames")

    def delete_role_policy(self, call: Call, params: Params) -> Params:
        role, name = self._role(call, params), params["PolicyName"]
        if role.policies.pop(name, None) is None:
            raise ApiError("NoSuchEntity", f"The role policy with name {name} cannot be found.", 404)
        return {}

    def attach_role_policy(self, call: Call, params: Params) -> Params:
        attach(self._role(call, params).attached, self._check_policy(call, params["PolicyArn"]))
        return {}

    def detach_role_policy(self, call: Call, params: Params) -> Params:
        detach(self._role(call, params).attached, params["PolicyArn"])
        return {}

    def list_attached_role_policies(self, call: Call, params: Params) -> Params:
        return self._pages(attached_view(self._role(call, params).attached), params, "AttachedPolicies")

    def list_instance_profiles_for_role(self, call: Call, params: Params) -> Params:
        rows = self._profiles_of(call, self._role(call, params))
        return self._pages(rows, params, "InstanceProfiles")

    def put_role_permissions_boundary(self, call: Call, params: Params) -> Params:
        self._role(call, params).boundary = self._checked_boundary(call, params["PermissionsBoundary"])
        return {}

    def delete_role_permissions_boundary(self, call: Call, params: Params) -> Params:
        role = self._role(call, params)
        if role.boundary is None:
            raise ApiError("NoSuchEntity", f"Role {role.name} does not have a permissions boundary.", 404)
        role.boundary = None
        return {}

    def tag_role(self, call: Call, params: Params) -> Params:
        role = self._role(call, params)
        role.tags = merge_tags(role.tags, params["Tags"])
        return {}

    def untag_role(self, call: Call, params: Params) -> Params:
        role = self._role(call, params)
        for key in params["TagKeys"]:
            role.tags.pop(key, None)
        return {}

    def list_role_tags(self, call: Call, params: Params) -> Params:
        return self._pages(tag_list(self._role(call, params).tags), params, "Tags")

    def _role_detail(self, call: Call, role: Role) -> dict[str, Any]:
        shown = self._role_view(call, role)
        for name in ("Description", "MaxSessionDuration"):
            shown.pop(name, None)
        return {
            **shown,
            "RolePolicyList": inline_view(role.policies),
            "AttachedManagedPolicies": attached_view(role.attached),
            "InstanceProfileList": self._profiles_of(call, role),
        }

    # --- instance profiles -----------------------------------------------------------------------------------------

    def _profile(self, call: Call, params: Params) -> Profile:
        found = self._state(call).profiles.get(params["InstanceProfileName"].lower())
        if found is None:
            raise ApiError("NoSuchEntity", f"Instance Profile {params['InstanceProfileName']} cannot be found.", 404)
        return found

    def _profile_view(self, call: Call, profile: Profile, *, tags: bool = False) -> dict[str, Any]:
        role = self._state(call).roles[profile.role.lower()] if profile.role else None
        shown: dict[str, Any] = {
            "Path": profile.path, "InstanceProfileName": profile.name, "InstanceProfileId": profile.id,
            "Arn": call.arn("iam", f"instance-profile{profile.path}{profile.name}", ""),
            "CreateDate": moment(profile.created),
            "Roles": [self._role_view(call, role, listed=True)] if role else [],
        }  # fmt: skip
        if tags and profile.tags:
            shown["Tags"] = tag_list(profile.tags)
        return shown

    def _profiles_of(self, call: Call, role: Role) -> list[dict[str, Any]]:
        profiles = self._state(call).profiles
        return [self._profile_view(call, profiles[n]) for n in sorted(profiles) if profiles[n].role == role.name]

    def create_instance_profile(self, call: Call, params: Params) -> Params:
        profiles, name = self._state(call).profiles, params["InstanceProfileName"]
        if name.lower() in profiles:
            raise ApiError("EntityAlreadyExists", f"Instance Profile {name} already exists.", 409)
        profile = Profile(name, self._make_id("AIPA"), params.get("Path", "/"), call.now)
        profile.tags = merge_tags({}, params.get("Tags", []))
        profiles[name.lower()] = profile
        return {"InstanceProfile": self._profile_view(call, profile, tags=True)}

    def get_instance_profile(self, call: Call, params: Params) -> Params:
        return {"InstanceProfile": self._profile_view(call, self._profile(call, params), tags=True)}

    def list_instance_profiles(self, call: Call, params: Params) -> Params:
        profiles, prefix = self._state(call).profiles, params.get("PathPrefix", "/")
        rows = [self._profile_view(call, profiles[n]) for n in sorted(profiles) if profiles[n].path.startswith(prefix)]
        return self._pages(rows, params, "InstanceProfiles")

    def add_role_to_instance_profile(self, call: Call, params: Params) -> Params:
        profile, role = self._profile(call, params), self._role(call, params)
        if profile.role is not None:
            raise limit("Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
        profile.role = role.name
        return {}

    def remove_role_from_instance_profile(self, call: Call, params: Params) -> Params:
        profile, role = self._profile(call, params), self._role(call, params)
        if profile.role != role.name:
            raise ApiError("NoSuchEntity", f"Role {role.name} is not in Instance Profile {profile.name}.", 404)
        profile.role = None
        return {}

    def delete_instance_profile(self, call: Call, params: Params) -> Params:
        profile = self._profile(call, params)
        if profile.role is not None:
            raise conflict("Cannot delete entity, must remove roles from instance profile first.")
        del self._state(call).profiles[profile.name.lower()]
        return {}

    def tag_instance_profile(self, call: Call, params: Params) -> Params:
        profile = self._profile(call, params)
        profile.tags = merge_tags(profile.tags, params["Tags"])
        return {}

    def untag_instance_profile(self, call: Call, params: Params) -> Params:
        profile = self._profile(call, params)
        for key in params["TagKeys"]:
            profile.tags.pop(key, None)
        return {}

    def list_instance_profile_tags(self, call: Call, params: Params) -> Params:
        return self._pages(tag_list(self._profile(call, params).tags), params, "Tags")


def _checked_trust(call: Call, state: IamState, text: str) -> str:
    """Raises: ApiError for what is no trust policy, is too long, or names a principal that does not exist."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict) or "Statement" not in document:
        raise ApiError("MalformedPolicyDocument", "This policy contains invalid Json", 400)
    if len(re.sub(r"\s", "", text)) > MAX_TRUST_CHARACTERS:
        raise limit(f"Cannot exceed quota for ACLSizePerRole: {MAX_TRUST_CHARACTERS}")
    listed = document["Statement"]
    for statement in listed if isinstance(listed, list) else [listed]:
        if not isinstance(statement, dict) or statement.keys() & {"Resource", "NotResource"}:
            raise ApiError("MalformedPolicyDocument", "Has prohibited field Resource", 400)
        if not statement.keys() & {"Principal", "NotPrincipal"}:
            raise ApiError("MalformedPolicyDocument", "Missing required field Principal", 400)
        named = statement.get("Principal")
        for principal in _aws_principals(named if isinstance(named, dict) else {}):
            account, kind, name = found.groups() if (found := _USER_OR_ROLE.fullmatch(principal)) else ("", "", "")
            there = state.users if kind == "user" else state.roles
            if account == call.account and name.lower() not in there:  # other accounts are not looked into
                raise ApiError(
                    "MalformedPolicyDocument", f'Invalid principal in policy: "AWS":"{principal}"', 400
                )  # fmt: skip
    return text


_USER_OR_ROLE = re.compile(r"arn:[a-z-]+:iam::([0-9]{12}):(user|role)/(?:.*/)?([^/]+)")


def _aws_principals(named: dict[str, Any]) -> list[str]:
    found = named.get("AWS") or []
    return [found] if isinstance(found, str) else list(found)
