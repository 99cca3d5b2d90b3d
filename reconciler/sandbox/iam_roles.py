"""IAM roles with their policies and boundaries.

Source: IAM API reference (CreateRole, UpdateAssumeRolePolicy, PutRolePolicy, AttachRolePolicy, DeleteRole, RoleDetail).
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from reconciler.sandbox.iam_groups import Groups
from reconciler.sandbox.iam_state import (
    Role,
    attach,
    attached_view,
    boundary_view,
    check_size,
    conflict,
    detach,
    inline_view,
    merge_tags,
    no_such,
)
from reconciler.sandbox.protocol import ApiError, Params
from reconciler.sandbox.world import Call, moment, tag_list

MAX_ROLE_POLICY_CHARACTERS = 10_240


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
        trust = _checked_trust(params["AssumeRolePolicyDocument"])
        role = Role(name, self._make_id("AROA"), params.get("Path", "/"), call.now, trust)
        role.description = params.get("Description")
        role.session = params.get("MaxSessionDuration", 3600)
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
        role.session = params.get("MaxSessionDuration", role.session)
        return {}

    def update_assume_role_policy(self, call: Call, params: Params) -> Params:
        self._role(call, params).trust = _checked_trust(params["PolicyDocument"])
        return {}

    def delete_role(self, call: Call, params: Params) -> Params:
        role = self._role(call, params)
        if role.policies:
            raise conflict("Cannot delete entity, must delete policies first.")
        if role.attached:
            raise conflict("Cannot delete entity, must detach all policies first.")
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
        self._role(call, params)
        return {"InstanceProfiles": [], "IsTruncated": False}

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
            "InstanceProfileList": [],
        }


def _checked_trust(text: str) -> str:
    """Raises: ApiError MalformedPolicyDocument."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict) or "Statement" not in document:
        raise ApiError("MalformedPolicyDocument", "This policy contains invalid Json", 400)
    return text
