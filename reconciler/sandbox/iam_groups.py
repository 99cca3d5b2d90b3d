"""IAM groups and customer-managed policies; ``Iam`` adds users and their keys.

Source: IAM API reference (CreateGroup, CreatePolicy, CreatePolicyVersion, DeletePolicy).
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from reconciler.sandbox.aws_policies import aws_policy, is_aws_policy
from reconciler.sandbox.iam_state import (
    MAX_USER_GROUPS,
    Group,
    IamState,
    Policy,
    Role,
    User,
    attach,
    attached_view,
    boundary_view,
    check_document,
    conflict,
    detach,
    limit,
    merge_tags,
    no_such,
    version_view,
)
from reconciler.sandbox.protocol import ApiError, Params
from reconciler.sandbox.world import Call, World, moment, tag_list


class Groups:
    """The operations on groups and managed policies, and what all of IAM's operations need."""

    name = "iam"

    def __init__(self, world: World) -> None:
        self.world = world

    def _state(self, call: Call) -> IamState:
        return self.world.state(call, self.name, IamState, region="")

    def _user(self, call: Call, params: Params) -> User:
        name = params.get("UserName")
        if name is None:
            match = re.fullmatch(r"arn:[a-z-]+:iam::\d{12}:user/(?:.*/)?([^/]+)", call.principal.arn)
            if match is None:
                raise ApiError("ValidationError", "Must specify userName when calling with non-User credentials", 400)
            name = match.group(1)
        user = self._state(call).users.get(name.lower())
        if user is None:
            raise no_such("user", name)
        return user

    @staticmethod
    def _pages(items: list[Any], params: Params, key: str, default: int = 100) -> Params:
        start = int(params.get("Marker") or 0)
        size = min(params.get("MaxItems") or default, 1000)
        more = start + size < len(items)
        answer: Params = {key: items[start : start + size], "IsTruncated": more}
        if more:
            answer["Marker"] = str(start + size)
        return answer

    def _make_id(self, prefix: str) -> str:
        return prefix + self.world.token(17)

    def _user_view(self, call: Call, user: User, *, tags: bool = True) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "Path": user.path, "UserName": user.name, "UserId": user.id, "CreateDate": moment(user.created),
            "Arn": call.arn("iam", f"user{user.path}{user.name}", ""),
        }  # fmt: skip
        if user.boundary:
            shown["PermissionsBoundary"] = boundary_view(user.boundary)
        if tags and user.tags:
            shown["Tags"] = tag_list(user.tags)
        return shown

    # --- groups ----------------------------------------------------------------------------------------------------

    def _group(self, call: Call, params: Params) -> Group:
        found = self._state(call).groups.get(params["GroupName"].lower())
        if found is None:
            raise no_such("group", params["GroupName"])
        return found

    def _group_view(self, call: Call, group: Group) -> dict[str, Any]:
        return {
            "Path": group.path, "GroupName": group.name, "GroupId": group.id, "CreateDate": moment(group.created),
            "Arn": call.arn("iam", f"group{group.path}{group.name}", ""),
        }  # fmt: skip

    def create_group(self, call: Call, params: Params) -> Params:
        state, name = self._state(call), params["GroupName"]
        if name.lower() in state.groups:
            raise ApiError("EntityAlreadyExists", f"Group with name {name} already exists.", 409)
        group = Group(name, self._make_id("AGPA"), params.get("Path", "/"), call.now)
        state.groups[name.lower()] = group
        return {"Group": self._group_view(call, group)}

    def get_group(self, call: Call, params: Params) -> Params:
        group, users = self._group(call, params), self._state(call).users
        rows = [self._user_view(call, users[m.lower()], tags=False) for m in group.members]
        return {"Group": self._group_view(call, group), **self._pages(rows, params, "Users")}

    def list_groups(self, call: Call, params: Params) -> Params:
        groups, prefix = self._state(call).groups, params.get("PathPrefix", "/")
        rows = [self._group_view(call, groups[n]) for n in sorted(groups) if groups[n].path.startswith(prefix)]
        return self._pages(rows, params, "Groups")

    def delete_group(self, call: Call, params: Params) -> Params:
        group = self._group(call, params)
        if group.members:
            raise conflict("Cannot delete entity, must remove users from group first.")
        if group.policies or group.attached:
            raise conflict("Cannot delete entity, must delete policies first.")
        del self._state(call).groups[group.name.lower()]
        return {}

    def add_user_to_group(self, call: Call, params: Params) -> Params:
        group, user = self._group(call, params), self._user(call, params)
        if user.name in group.members:
            return {}
        if sum(user.name in g.members for g in self._state(call).groups.values()) >= MAX_USER_GROUPS:
            raise limit(f"Cannot exceed quota for GroupsPerUser: {MAX_USER_GROUPS}")
        group.members.append(user.name)
        return {}

    def remove_user_from_group(self, call: Call, params: Params) -> Params:
        group, user = self._group(call, params), self._user(call, params)
        if user.name not in group.members:
            raise ApiError("NoSuchEntity", f"User {user.name} is not in group {group.name}.", 404)
        group.members.remove(user.name)
        return {}

    def list_groups_for_user(self, call: Call, params: Params) -> Params:
        user, groups = self._user(call, params), self._state(call).groups
        rows = [self._group_view(call, groups[n]) for n in sorted(groups) if user.name in groups[n].members]
        return self._pages(rows, params, "Groups")

    def put_group_policy(self, call: Call, params: Params) -> Params:
        check_document(params["PolicyDocument"])
        self._group(call, params).policies[params["PolicyName"]] = params["PolicyDocument"]
        return {}

    def get_group_policy(self, call: Call, params: Params) -> Params:
        group, name = self._group(call, params), params["PolicyName"]
        if name not in group.policies:
            raise ApiError("NoSuchEntity", f"The group policy with name {name} cannot be found.", 404)
        text = quote(group.policies[name], safe="-._~")
        return {"GroupName": group.name, "PolicyName": name, "PolicyDocument": text}

    def list_group_policies(self, call: Call, params: Params) -> Params:
        return self._pages(sorted(self._group(call, params).policies), params, "PolicyNames")

    def delete_group_policy(self, call: Call, params: Params) -> Params:
        group, name = self._group(call, params), params["PolicyName"]
        if group.policies.pop(name, None) is None:
            raise ApiError("NoSuchEntity", f"The group policy with name {name} cannot be found.", 404)
        return {}

    def attach_group_policy(self, call: Call, params: Params) -> Params:
        group = self._group(call, params)
        attach(group.attached, self._check_policy(call, params["PolicyArn"]))
        return {}

    def detach_group_policy(self, call: Call, params: Params) -> Params:
        detach(self._group(call, params).attached, params["PolicyArn"])
        return {}

    def list_attached_group_policies(self, call: Call, params: Params) -> Params:
        return self._pages(attached_view(self._group(call, params).attached), params, "AttachedPolicies")

    def _checked_boundary(self, call: Call, arn: str | None) -> str | None:
        if arn is not None:
            self._check_policy(call, arn)
        return arn

    # --- customer-managed policies ---------------------------------------------------------------------------------

    def _check_policy(self, call: Call, arn: str) -> str:
        """The ARN, if such a policy exists; AWS's own policies are taken to exist."""
        if is_aws_policy(arn) or arn in self._state(call).policies:
            return arn
        raise ApiError("NoSuchEntity", f"Policy {arn} does not exist or is not attachable.", 404)

    def _policy(self, call: Call, params: Params) -> tuple[str, Policy]:
        arn = params["PolicyArn"]
        found = aws_policy(arn) if is_aws_policy(arn) else self._state(call).policies.get(arn)
        if found is None:
            raise ApiError("NoSuchEntity", f"Policy {arn} was not found.", 404)
        return arn, found

    def _policy_view(self, call: Call, arn: str, policy: Policy) -> dict[str, Any]:
        state = self._state(call)
        holders: list[User | Group | Role] = [*state.users.values(), *state.groups.values(), *state.roles.values()]
        shown: dict[str, Any] = {
            "PolicyName": policy.name, "PolicyId": policy.id, "Arn": arn, "Path": policy.path,
            "DefaultVersionId": policy.default, "AttachmentCount": sum(arn in h.attached for h in holders),
            "PermissionsBoundaryUsageCount": sum(
                [*(u.boundary == arn for u in state.users.values()), *(r.boundary == arn for r in state.roles.values())]
            ),
            "IsAttachable": True, "CreateDate": moment(policy.created),
            "UpdateDate": moment(max(at for _, at in policy.versions.values())),
        }  # fmt: skip
        if policy.tags:
            shown["Tags"] = tag_list(policy.tags)
        if policy.description:
            shown["Description"] = policy.description
        return shown

    def create_policy(self, call: Call, params: Params) -> Params:
        check_document(params["PolicyDocument"])
        path, state = params.get("Path", "/"), self._state(call)
        arn = call.arn("iam", f"policy{path}{params['PolicyName']}", "")
        if arn in state.policies:
            raise ApiError("EntityAlreadyExists", f"A policy called {params['PolicyName']} already exists.", 409)
        policy = Policy(params["PolicyName"], self._make_id("ANPA"), path, call.now, params.get("Description"))
        policy.versions["v1"] = (params["PolicyDocument"], call.now)
        policy.tags = merge_tags({}, params.get("Tags", []))
        state.policies[arn] = policy
        return {"Policy": self._policy_view(call, arn, policy)}

    def get_policy(self, call: Call, params: Params) -> Params:
        return {"Policy": self._policy_view(call, *self._policy(call, params))}

    def list_policies(self, call: Call, params: Params) -> Params:
        policies = self._state(call).policies
        rows = (
            [] if params.get("Scope") == "AWS" else [self._policy_view(call, a, policies[a]) for a in sorted(policies)]
        )
        for row in rows:
            row.pop("Tags", None)
        return self._pages(rows, params, "Policies")

    def delete_policy(self, call: Call, params: Params) -> Params:
        arn, policy = self._policy(call, params)
        shown = self._policy_view(call, arn, policy)
        if shown["AttachmentCount"]:
            raise conflict("Cannot delete a policy attached to entities.")
        if shown["PermissionsBoundaryUsageCount"]:
            raise conflict("Cannot delete a policy that is used as a permissions boundary.")
        if len(policy.versions) > 1:
            raise conflict("This policy has more than one version. Before you delete a policy, you must delete them.")
        del self._state(call).policies[arn]
        return {}

    def create_policy_version(self, call: Call, params: Params) -> Params:
        check_document(params["PolicyDocument"])
        _, policy = self._policy(call, params)
        if len(policy.versions) >= 5:
            raise limit("A managed policy can have up to 5 versions.")
        version = f"v{max(int(v[1:]) for v in policy.versions) + 1}"
        policy.versions[version] = (params["PolicyDocument"], call.now)
        if params.get("SetAsDefault"):
            policy.default = version
        return {"PolicyVersion": version_view(policy, version, document=False)}

    def get_policy_version(self, call: Call, params: Params) -> Params:
        _, policy = self._policy(call, params)
        if params["VersionId"] not in policy.versions:
            raise ApiError("NoSuchEntity", f"Policy version {params['VersionId']} was not found.", 404)
        return {"PolicyVersion": version_view(policy, params["VersionId"], document=True)}

    def list_policy_versions(self, call: Call, params: Params) -> Params:
        _, policy = self._policy(call, params)
        return self._pages([version_view(policy, v, document=False) for v in policy.versions], params, "Versions")

    def delete_policy_version(self, call: Call, params: Params) -> Params:
        _, policy = self._policy(call, params)
        if params["VersionId"] == policy.default:
            raise conflict("Cannot delete the default version of a policy.")
        if policy.versions.pop(params["VersionId"], None) is None:
            raise ApiError("NoSuchEntity", f"Policy version {params['VersionId']} was not found.", 404)
        return {}

    def list_policy_tags(self, call: Call, params: Params) -> Params:
        return self._pages(tag_list(self._policy(call, params)[1].tags), params, "Tags")
