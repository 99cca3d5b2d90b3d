"""IAM users, access keys, groups and customer-managed policies, and STS.

Roles and everything else of IAM come from moto. Policy documents are returned URL-encoded, as IAM does.

Source: IAM API reference (CreateUser, DeleteUser, CreateAccessKey, GetAccountAuthorizationDetails); IAM User Guide
"IAM and STS quotas"; STS API reference (AssumeRole).
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from reconciler.sandbox.protocol import ApiError, Params
from reconciler.sandbox.world import Call, Principal, World, moment, tag_list

MAX_KEYS: Final = 2
MAX_USERS: Final = 5000
MAX_USER_GROUPS: Final = 10
MAX_ATTACHED: Final = 10
MAX_TAGS: Final = 50
MAX_USER_POLICY_CHARACTERS: Final = 2048
PREFIXES: Final = {"sesv2": "ses", "resourcegroupstaggingapi": "tag"}
"""IAM's service prefixes where they are not botocore's names."""
SECRET_ALPHABET: Final = string.ascii_letters + string.digits + "+/"


@dataclass
class AccessKey:
    id: str
    secret: str
    created: float
    active: bool = True
    used: tuple[float, str, str] | None = None
    """When, in which region and for which service it was last used."""


@dataclass
class User:
    name: str
    id: str
    path: str
    created: float
    tags: dict[str, str] = field(default_factory=dict)
    boundary: str | None = None
    policies: dict[str, str] = field(default_factory=dict)
    attached: list[str] = field(default_factory=list)
    keys: dict[str, AccessKey] = field(default_factory=dict)
    login_profile: float | None = None


@dataclass
class Group:
    name: str
    id: str
    path: str
    created: float
    members: list[str] = field(default_factory=list)
    policies: dict[str, str] = field(default_factory=dict)
    attached: list[str] = field(default_factory=list)


@dataclass
class Policy:
    name: str
    id: str
    path: str
    created: float
    description: str | None
    versions: dict[str, tuple[str, float]] = field(default_factory=dict)
    default: str = "v1"
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class IamState:
    """IAM of one account. Names are keyed in lower case: they differ only by case in nothing."""

    users: dict[str, User] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    report: tuple[float, str] | None = None


def no_such(kind: str, name: str) -> ApiError:
    return ApiError("NoSuchEntity", f"The {kind} with name {name} cannot be found.", 404)


def conflict(message: str) -> ApiError:
    return ApiError("DeleteConflict", message, 409)


def limit(message: str) -> ApiError:
    return ApiError("LimitExceeded", message, 409)


def check_document(text: str) -> None:
    """Raises: ApiError MalformedPolicyDocument if it is no policy."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ApiError("MalformedPolicyDocument", "Syntax errors in policy.", 400) from error
    statements = document.get("Statement") if isinstance(document, dict) else None
    for statement in statements if isinstance(statements, list) else [statements]:
        if not isinstance(statement, dict) or statement.get("Effect") not in ("Allow", "Deny"):
            raise ApiError("MalformedPolicyDocument", "Syntax errors in policy.", 400)
        if not statement.keys() & {"Action", "NotAction"}:
            raise ApiError("MalformedPolicyDocument", "Policy statement must contain actions.", 400)
        if not statement.keys() & {"Resource", "NotResource"}:
            raise ApiError("MalformedPolicyDocument", "Policy statement must contain resources.", 400)


class Iam:
    """The operations; one instance serves all accounts."""

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

    # --- users -----------------------------------------------------------------------------------------------------

    def _user_view(self, call: Call, user: User, *, tags: bool = True) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "Path": user.path, "UserName": user.name, "UserId": user.id, "CreateDate": moment(user.created),
            "Arn": call.arn("iam", f"user{user.path}{user.name}", ""),
        }  # fmt: skip
        if user.boundary:
            shown["PermissionsBoundary"] = _boundary(user.boundary)
        if tags and user.tags:
            shown["Tags"] = tag_list(user.tags)
        return shown

    def create_user(self, call: Call, params: Params) -> Params:
        state, name = self._state(call), params["UserName"]
        if name.lower() in state.users:
            raise ApiError("EntityAlreadyExists", f"User with name {name} already exists.", 409)
        if len(state.users) >= MAX_USERS:
            raise limit(f"Cannot exceed quota for UsersPerAccount: {MAX_USERS}")
        user = User(name, self._make_id("AIDA"), params.get("Path", "/"), call.now)
        user.tags = _merge_tags({}, params.get("Tags", []))
        user.boundary = self._checked_boundary(call, params.get("PermissionsBoundary"))
        state.users[name.lower()] = user
        return {"User": self._user_view(call, user)}

    def get_user(self, call: Call, params: Params) -> Params:
        if "UserName" not in params and call.principal.arn.endswith(":root"):
            return {
                "User": {
                    "Path": "/", "UserName": "", "UserId": call.account, "Arn": call.principal.arn,
                    "CreateDate": moment(0),
                }
            }  # fmt: skip
        return {"User": self._user_view(call, self._user(call, params))}

    def list_users(self, call: Call, params: Params) -> Params:
        users = sorted(self._state(call).users.values(), key=lambda u: u.name.lower())
        prefix = params.get("PathPrefix", "/")
        rows = [self._user_view(call, u, tags=False) for u in users if u.path.startswith(prefix)]
        for row in rows:
            row.pop("PermissionsBoundary", None)
        return self._pages(rows, params, "Users")

    def update_user(self, call: Call, params: Params) -> Params:
        state, user = self._state(call), self._user(call, params)
        name = params.get("NewUserName", user.name)
        if name.lower() != user.name.lower() and name.lower() in state.users:
            raise ApiError("EntityAlreadyExists", f"User with name {name} already exists.", 409)
        del state.users[user.name.lower()]
        for group in state.groups.values():
            group.members = [name if m == user.name else m for m in group.members]
        user.name, user.path = name, params.get("NewPath", user.path)
        state.users[name.lower()] = user
        return {}

    def delete_user(self, call: Call, params: Params) -> Params:
        state, user = self._state(call), self._user(call, params)
        if user.login_profile is not None:
            raise conflict("Cannot delete entity, must delete login profile first.")
        if user.keys:
            raise conflict("Cannot delete entity, must delete access keys first.")
        if user.policies:
            raise conflict("Cannot delete entity, must delete policies first.")
        if user.attached:
            raise conflict("Cannot delete entity, must detach all policies first.")
        if any(user.name in group.members for group in state.groups.values()):
            raise conflict("Cannot delete entity, must remove users from group first.")
        del state.users[user.name.lower()]
        return {}

    def tag_user(self, call: Call, params: Params) -> Params:
        user = self._user(call, params)
        user.tags = _merge_tags(user.tags, params["Tags"])
        return {}

    def untag_user(self, call: Call, params: Params) -> Params:
        user = self._user(call, params)
        for key in params["TagKeys"]:
            user.tags.pop(key, None)
        return {}

    def list_user_tags(self, call: Call, params: Params) -> Params:
        return self._pages(tag_list(self._user(call, params).tags), params, "Tags")

    def _checked_boundary(self, call: Call, arn: str | None) -> str | None:
        if arn is not None:
            self._check_policy(call, arn)
        return arn

    def put_user_permissions_boundary(self, call: Call, params: Params) -> Params:
        self._user(call, params).boundary = self._checked_boundary(call, params["PermissionsBoundary"])
        return {}

    def delete_user_permissions_boundary(self, call: Call, params: Params) -> Params:
        user = self._user(call, params)
        if user.boundary is None:
            raise ApiError("NoSuchEntity", f"User {user.name} does not have a permissions boundary.", 404)
        user.boundary = None
        return {}

    def create_login_profile(self, call: Call, params: Params) -> Params:
        user = self._user(call, params)
        if user.login_profile is not None:
            raise ApiError("EntityAlreadyExists", f"Login Profile for user {user.name} already exists.", 409)
        user.login_profile = call.now
        return {"LoginProfile": {"UserName": user.name, "CreateDate": moment(call.now)}}

    def get_login_profile(self, call: Call, params: Params) -> Params:
        user = self._user(call, params)
        if user.login_profile is None:
            raise ApiError("NoSuchEntity", f"Login Profile for User {user.name} cannot be found.", 404)
        return {"LoginProfile": {"UserName": user.name, "CreateDate": moment(user.login_profile)}}

    def delete_login_profile(self, call: Call, params: Params) -> Params:
        self.get_login_profile(call, params)
        self._user(call, params).login_profile = None
        return {}

    def list_ssh_public_keys(self, call: Call, params: Params) -> Params:
        self._user(call, params)
        return {"SSHPublicKeys": [], "IsTruncated": False}

    def list_signing_certificates(self, call: Call, params: Params) -> Params:
        self._user(call, params)
        return {"Certificates": [], "IsTruncated": False}

    def list_mfa_devices(self, call: Call, params: Params) -> Params:
        self._user(call, params)
        return {"MFADevices": [], "IsTruncated": False}

    def list_service_specific_credentials(self, call: Call, params: Params) -> Params:
        if "UserName" in params:
            self._user(call, params)
        return {"ServiceSpecificCredentials": []}

    # --- inline and attached policies of users ---------------------------------------------------------------------

    def put_user_policy(self, call: Call, params: Params) -> Params:
        user = self._user(call, params)
        check_document(params["PolicyDocument"])
        policies = {**user.policies, params["PolicyName"]: params["PolicyDocument"]}
        if sum(len(re.sub(r"\s", "", text)) for text in policies.values()) > MAX_USER_POLICY_CHARACTERS:
            raise limit(f"Maximum policy size of {MAX_USER_POLICY_CHARACTERS} bytes exceeded for user {user.name}")
        user.policies = policies
        return {}

    def get_user_policy(self, call: Call, params: Params) -> Params:
        user, name = self._user(call, params), params["PolicyName"]
        if name not in user.policies:
            raise ApiError("NoSuchEntity", f"The user policy with name {name} cannot be found.", 404)
        return {"UserName": user.name, "PolicyName": name, "PolicyDocument": quote(user.policies[name], safe="-._~")}

    def list_user_policies(self, call: Call, params: Params) -> Params:
        return self._pages(sorted(self._user(call, params).policies), params, "PolicyNames")

    def delete_user_policy(self, call: Call, params: Params) -> Params:
        user, name = self._user(call, params), params["PolicyName"]
        if user.policies.pop(name, None) is None:
            raise ApiError("NoSuchEntity", f"The user policy with name {name} cannot be found.", 404)
        return {}

    def attach_user_policy(self, call: Call, params: Params) -> Params:
        user = self._user(call, params)
        _attach(user.attached, self._check_policy(call, params["PolicyArn"]))
        return {}

    def detach_user_policy(self, call: Call, params: Params) -> Params:
        _detach(self._user(call, params).attached, params["PolicyArn"])
        return {}

    def list_attached_user_policies(self, call: Call, params: Params) -> Params:
        return self._pages(_attached(self._user(call, params).attached), params, "AttachedPolicies")

    # --- access keys -----------------------------------------------------------------------------------------------

    def create_access_key(self, call: Call, params: Params) -> Params:
        user = self._user(call, params)
        if len(user.keys) >= MAX_KEYS:
            raise limit(f"Cannot exceed quota for AccessKeysPerUser: {MAX_KEYS}")
        key = AccessKey(self._make_id("AKIA")[:20], self.world.token(40, SECRET_ALPHABET), call.now)
        user.keys[key.id] = key
        self.world.principals[key.id] = Principal(
            call.account,
            call.arn("iam", f"user{user.path}{user.name}", ""),
            user.id,
            works_from=call.now + self.world.settings.key_delay,
        )
        return {
            "AccessKey": {
                "UserName": user.name, "AccessKeyId": key.id, "Status": "Active", "SecretAccessKey": key.secret,
                "CreateDate": moment(key.created),
            }
        }  # fmt: skip

    def list_access_keys(self, call: Call, params: Params) -> Params:
        user = self._user(call, params)
        rows = [
            {
                "UserName": user.name, "AccessKeyId": k.id, "Status": "Active" if k.active else "Inactive",
                "CreateDate": moment(k.created),
            }
            for k in user.keys.values()
        ]  # fmt: skip
        return self._pages(rows, params, "AccessKeyMetadata")

    def _key(self, call: Call, params: Params) -> tuple[User, AccessKey]:
        user = self._user(call, params)
        key = user.keys.get(params["AccessKeyId"])
        if key is None:
            raise ApiError("NoSuchEntity", f"The Access Key with id {params['AccessKeyId']} cannot be found.", 404)
        return user, key

    def update_access_key(self, call: Call, params: Params) -> Params:
        _, key = self._key(call, params)
        key.active = params["Status"] == "Active"
        (self.world.dead_keys.discard if key.active else self.world.dead_keys.add)(key.id)
        return {}

    def delete_access_key(self, call: Call, params: Params) -> Params:
        user, key = self._key(call, params)
        del user.keys[key.id]
        self.world.dead_keys.add(key.id)
        return {}

    def get_access_key_last_used(self, call: Call, params: Params) -> Params:
        for user in self._state(call).users.values():
            if key := user.keys.get(params["AccessKeyId"]):
                shown: dict[str, Any] = {"ServiceName": "N/A", "Region": "N/A"}
                if key.used:
                    shown = {"LastUsedDate": moment(key.used[0]), "Region": key.used[1], "ServiceName": key.used[2]}
                return {"UserName": user.name, "AccessKeyLastUsed": shown}
        raise ApiError("AccessDenied", f"No access to the key {params['AccessKeyId']}.", 403)

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
        _attach(group.attached, self._check_policy(call, params["PolicyArn"]))
        return {}

    def detach_group_policy(self, call: Call, params: Params) -> Params:
        _detach(self._group(call, params).attached, params["PolicyArn"])
        return {}

    def list_attached_group_policies(self, call: Call, params: Params) -> Params:
        return self._pages(_attached(self._group(call, params).attached), params, "AttachedPolicies")

    # --- customer-managed policies ---------------------------------------------------------------------------------

    def _check_policy(self, call: Call, arn: str) -> str:
        """The ARN, if such a policy exists; AWS's own policies are taken to exist."""
        if re.fullmatch(r"arn:[a-z-]+:iam::aws:policy/.+", arn) or arn in self._state(call).policies:
            return arn
        raise ApiError("NoSuchEntity", f"Policy {arn} does not exist or is not attachable.", 404)

    def _policy(self, call: Call, params: Params) -> tuple[str, Policy]:
        found = self._state(call).policies.get(params["PolicyArn"])
        if found is None:
            raise ApiError("NoSuchEntity", f"Policy {params['PolicyArn']} was not found.", 404)
        return params["PolicyArn"], found

    def _policy_view(self, call: Call, arn: str, policy: Policy) -> dict[str, Any]:
        state = self._state(call)
        holders: list[User | Group] = [*state.users.values(), *state.groups.values()]
        shown: dict[str, Any] = {
            "PolicyName": policy.name, "PolicyId": policy.id, "Arn": arn, "Path": policy.path,
            "DefaultVersionId": policy.default, "AttachmentCount": sum(arn in h.attached for h in holders),
            "PermissionsBoundaryUsageCount": sum(u.boundary == arn for u in state.users.values()),
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
        policy.tags = _merge_tags({}, params.get("Tags", []))
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
        return {"PolicyVersion": _version(policy, version, document=False)}

    def get_policy_version(self, call: Call, params: Params) -> Params:
        _, policy = self._policy(call, params)
        if params["VersionId"] not in policy.versions:
            raise ApiError("NoSuchEntity", f"Policy version {params['VersionId']} was not found.", 404)
        return {"PolicyVersion": _version(policy, params["VersionId"], document=True)}

    def list_policy_versions(self, call: Call, params: Params) -> Params:
        _, policy = self._policy(call, params)
        return self._pages([_version(policy, v, document=False) for v in policy.versions], params, "Versions")

    def delete_policy_version(self, call: Call, params: Params) -> Params:
        _, policy = self._policy(call, params)
        if params["VersionId"] == policy.default:
            raise conflict("Cannot delete the default version of a policy.")
        if policy.versions.pop(params["VersionId"], None) is None:
            raise ApiError("NoSuchEntity", f"Policy version {params['VersionId']} was not found.", 404)
        return {}

    def list_policy_tags(self, call: Call, params: Params) -> Params:
        return self._pages(tag_list(self._policy(call, params)[1].tags), params, "Tags")

    # --- the whole account -----------------------------------------------------------------------------------------

    def get_account_authorization_details(self, call: Call, params: Params) -> Params:
        """Users, groups and customer-managed policies; roles are moto's and are not reported here."""
        state, wanted = self._state(call), set(params.get("Filter", []))
        rows: list[tuple[str, dict[str, Any]]] = []
        if not wanted or "User" in wanted:
            rows += [("UserDetailList", self._user_detail(call, state, state.users[n])) for n in sorted(state.users)]
        if not wanted or "Group" in wanted:
            rows += [("GroupDetailList", self._group_detail(call, state.groups[n])) for n in sorted(state.groups)]
        if not wanted or "LocalManagedPolicy" in wanted:
            for arn in sorted(state.policies):
                policy = state.policies[arn]
                shown = self._policy_view(call, arn, policy)
                shown.pop("Tags", None)
                shown["PolicyVersionList"] = [_version(policy, v, document=True) for v in policy.versions]
                rows.append(("Policies", shown))
        answer = self._pages(rows, params, "rows")
        chosen = answer.pop("rows")
        for name in ("UserDetailList", "GroupDetailList", "RoleDetailList", "Policies"):
            answer[name] = [row for kind, row in chosen if kind == name]
        return answer

    def get_account_summary(self, call: Call, params: Params) -> Params:
        state = self._state(call)
        return {
            "SummaryMap": {
                "Users": len(state.users), "UsersQuota": MAX_USERS, "Groups": len(state.groups),
                "Policies": len(state.policies), "AccessKeysPerUserQuota": MAX_KEYS,
                "GroupsPerUserQuota": MAX_USER_GROUPS, "AttachedPoliciesPerUserQuota": MAX_ATTACHED,
                "UserPolicySizeQuota": MAX_USER_POLICY_CHARACTERS,
            }
        }  # fmt: skip

    def generate_credential_report(self, call: Call, params: Params) -> Params:
        state = self.world.current(self.name, call.account, "", IamState)
        state.report = (call.now, self._report(call, state))
        return {"State": "COMPLETE"}

    def get_credential_report(self, call: Call, params: Params) -> Params:
        report = self.world.current(self.name, call.account, "", IamState).report
        if report is None:
            raise ApiError("ReportNotPresent", "No report is present; generate one first.", 410)
        return {"Content": report[1].encode(), "ReportFormat": "text/csv", "GeneratedTime": moment(report[0])}

    @staticmethod
    def _report(call: Call, state: IamState) -> str:
        """The credential report (IAM User Guide, "Getting credential reports"), without root's line."""
        columns = ["user", "arn", "user_creation_time", "password_enabled"]
        for n in (1, 2):
            columns += [f"access_key_{n}_{what}" for what in (
                "active", "last_rotated", "last_used_date", "last_used_region", "last_used_service")]  # fmt: skip
        lines = [",".join(columns)]
        for user in sorted(state.users.values(), key=lambda u: u.name):
            row = [user.name, call.arn("iam", f"user{user.path}{user.name}", ""), moment(user.created).isoformat(),
                   str(user.login_profile is not None).lower()]  # fmt: skip
            keys = [*user.keys.values(), None, None][:2]
            for key in keys:
                if key is None:
                    row += ["false", "N/A", "N/A", "N/A", "N/A"]
                    continue
                row += [str(key.active).lower(), moment(key.created).isoformat()]
                row += [moment(key.used[0]).isoformat(), key.used[1], key.used[2]] if key.used else ["N/A"] * 3
            lines.append(",".join(row))
        return "\n".join(lines) + "\n"

    def _user_detail(self, call: Call, state: IamState, user: User) -> dict[str, Any]:
        return {
            **self._user_view(call, user),
            "UserPolicyList": _inline(user.policies),
            "GroupList": sorted(g.name for g in state.groups.values() if user.name in g.members),
            "AttachedManagedPolicies": _attached(user.attached),
        }

    def _group_detail(self, call: Call, group: Group) -> dict[str, Any]:
        return {
            **self._group_view(call, group),
            "GroupPolicyList": _inline(group.policies),
            "AttachedManagedPolicies": _attached(group.attached),
        }

    def documents(self, account: str, arn: str) -> list[Mapping[str, Any]] | None:
        """The policy documents that apply to a user by its ARN; None if it is no user of the sandbox."""
        state = self.world.current(self.name, account, "", IamState)
        user = state.users.get(arn.rpartition("/")[2].lower()) if ":user/" in arn else None
        if user is None:
            return None
        groups = [g for g in state.groups.values() if user.name in g.members]
        texts = [*user.policies.values(), *(t for g in groups for t in g.policies.values())]
        for attached in (*user.attached, *(a for g in groups for a in g.attached)):
            if policy := state.policies.get(attached):
                texts.append(policy.versions[policy.default][0])
        return [json.loads(text) for text in texts]

    def note_use(self, call: Call) -> None:
        """Remember that a user's key was used, for GetAccessKeyLastUsed."""
        if call.access_key in self.world.principals and ":user/" in call.principal.arn:
            users = self.world.current(self.name, call.account, "", IamState).users
            user = users.get(call.principal.arn.rpartition("/")[2].lower())
            if user is not None and (key := user.keys.get(call.access_key)):
                key.used = (call.now, call.region, PREFIXES.get(call.service, call.service))


class Sts:
    """Who am I, and roles: any role of any account may be assumed, and acts in that role's account."""

    name = "sts"

    def __init__(self, world: World) -> None:
        self.world = world

    def get_caller_identity(self, call: Call, params: Params) -> Params:
        return {"Account": call.account, "Arn": call.principal.arn, "UserId": call.principal.user_id}

    def assume_role(self, call: Call, params: Params) -> Params:
        match = re.fullmatch(r"arn:[a-z-]+:iam::(\d{12}):role/(.+)", params["RoleArn"])
        if match is None:
            raise ApiError("ValidationError", f"{params['RoleArn']} is invalid", 400)
        account, name, session = match.group(1), match.group(2).rpartition("/")[2], params["RoleSessionName"]
        role_id = self._id("AROA")
        arn = f"arn:{call.partition}:sts::{account}:assumed-role/{name}/{session}"
        expires = call.now + params.get("DurationSeconds", 3600)
        limits = None
        if params.get("Policy"):
            check_document(params["Policy"])
            limits = [json.loads(params["Policy"])]
        return {
            "Credentials": self._credentials(Principal(account, arn, f"{role_id}:{session}", expires, limits)),
            "AssumedRoleUser": {"AssumedRoleId": f"{role_id}:{session}", "Arn": arn},
        }

    def assume_role_with_web_identity(self, call: Call, params: Params) -> Params:
        answer = self.assume_role(call, params)
        return {**answer, "Provider": "sandbox", "Audience": "sts.amazonaws.com"}

    def get_session_token(self, call: Call, params: Params) -> Params:
        who = call.principal
        expires = call.now + params.get("DurationSeconds", 43200)
        return {"Credentials": self._credentials(Principal(who.account, who.arn, who.user_id, expires, who.policies))}

    def _id(self, prefix: str) -> str:
        return prefix + self.world.token(17)

    def _credentials(self, principal: Principal) -> Params:
        key = self._id("ASIA")[:20]
        self.world.principals[key] = principal
        return {
            "AccessKeyId": key, "SecretAccessKey": self.world.token(40, SECRET_ALPHABET),
            "SessionToken": self.world.token(200, SECRET_ALPHABET), "Expiration": moment(principal.expires or 0),
        }  # fmt: skip


def _boundary(arn: str) -> dict[str, str]:
    return {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn}


def _inline(policies: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"PolicyName": n, "PolicyDocument": quote(policies[n], safe="-._~")} for n in sorted(policies)]


def _attached(arns: Iterable[str]) -> list[dict[str, str]]:
    return [{"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn} for arn in sorted(arns)]


def _attach(attached: list[str], arn: str) -> None:
    if arn not in attached:
        if len(attached) >= MAX_ATTACHED:
            raise limit(f"Cannot exceed quota for PoliciesPerUser: {MAX_ATTACHED}")
        attached.append(arn)


def _detach(attached: list[str], arn: str) -> None:
    if arn not in attached:
        raise ApiError("NoSuchEntity", f"Policy {arn} was not found.", 404)
    attached.remove(arn)


def _version(policy: Policy, version: str, *, document: bool) -> dict[str, Any]:
    text, created = policy.versions[version]
    shown: dict[str, Any] = {
        "VersionId": version,
        "IsDefaultVersion": version == policy.default,
        "CreateDate": moment(created),
    }
    if document:
        shown["Document"] = quote(text, safe="-._~")
    return shown


def _merge_tags(tags: Mapping[str, str], added: list[dict[str, str]]) -> dict[str, str]:
    """Tags with some added; IAM keys ignore case but keep the first spelling. Raises: ApiError."""
    merged = dict(tags)
    lower = {key.lower(): key for key in merged}
    seen: set[str] = set()
    for tag in added:
        if tag["Key"].lower() in seen:
            raise ApiError(
                "InvalidInput", "Duplicate tag keys found. Please note that Tag keys are case insensitive.", 400
            )
        seen.add(tag["Key"].lower())
        if tag["Key"].lower().startswith("aws:"):
            raise ApiError("InvalidInput", "Invalid tag key: aws: is reserved.", 400)
        merged[lower.get(tag["Key"].lower(), tag["Key"])] = tag["Value"]
    if len(merged) > MAX_TAGS:
        raise limit(f"The number of tags has reached the maximum limit of {MAX_TAGS}.")
    return merged
