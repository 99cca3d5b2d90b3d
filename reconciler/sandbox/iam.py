"""IAM users, their access keys and policies, and reports over the account.

Identity providers and everything else of IAM come from moto. Policy documents are returned URL-encoded, as IAM does.

Source: IAM API reference (CreateUser, DeleteUser, CreateAccessKey, GetAccountAuthorizationDetails); IAM User Guide
"IAM and STS quotas", "Getting credential reports".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from reconciler.sandbox.aws_policies import aws_policy
from reconciler.sandbox.iam_credentials import Credentials
from reconciler.sandbox.iam_state import (
    MAX_ATTACHED,
    MAX_KEYS,
    MAX_USER_GROUPS,
    MAX_USER_POLICY_CHARACTERS,
    MAX_USERS,
    PREFIXES,
    SECRET_ALPHABET,
    AccessKey,
    Group,
    IamState,
    User,
    attach,
    attached_view,
    check_size,
    conflict,
    detach,
    inline_view,
    limit,
    merge_tags,
    version_view,
)
from reconciler.sandbox.protocol import ApiError, Params
from reconciler.sandbox.world import Call, Principal, moment, tag_list

REPORT_HOURS = 4


class Iam(Credentials):
    """The operations; one instance serves all accounts."""

    # --- users -----------------------------------------------------------------------------------------------------

    def create_user(self, call: Call, params: Params) -> Params:
        state, name = self._state(call), params["UserName"]
        if name.lower() in state.users:
            raise ApiError("EntityAlreadyExists", f"User with name {name} already exists.", 409)
        if len(state.users) >= MAX_USERS:
            raise limit(f"Cannot exceed quota for UsersPerAccount: {MAX_USERS}")
        user = User(name, self._make_id("AIDA"), params.get("Path", "/"), call.now)
        user.tags = merge_tags({}, params.get("Tags", []))
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
        self._refuse_credentials(user)
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
        user.tags = merge_tags(user.tags, params["Tags"])
        return {}

    def untag_user(self, call: Call, params: Params) -> Params:
        user = self._user(call, params)
        for key in params["TagKeys"]:
            user.tags.pop(key, None)
        return {}

    def list_user_tags(self, call: Call, params: Params) -> Params:
        return self._pages(tag_list(self._user(call, params).tags), params, "Tags")

    def put_user_permissions_boundary(self, call: Call, params: Params) -> Params:
        self._user(call, params).boundary = self._checked_boundary(call, params["PermissionsBoundary"])
        return {}

    def delete_user_permissions_boundary(self, call: Call, params: Params) -> Params:
        user = self._user(call, params)
        if user.boundary is None:
            raise ApiError("NoSuchEntity", f"User {user.name} does not have a permissions boundary.", 404)
        user.boundary = None
        return {}

    # --- inline and attached policies of users ---------------------------------------------------------------------

    def put_user_policy(self, call: Call, params: Params) -> Params:
        user = self._user(call, params)
        policies = {**user.policies, params["PolicyName"]: params["PolicyDocument"]}
        check_size(params["PolicyDocument"], policies, MAX_USER_POLICY_CHARACTERS, f"user {user.name}")
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
        attach(user.attached, self._check_policy(call, params["PolicyArn"]))
        return {}

    def detach_user_policy(self, call: Call, params: Params) -> Params:
        detach(self._user(call, params).attached, params["PolicyArn"])
        return {}

    def list_attached_user_policies(self, call: Call, params: Params) -> Params:
        return self._pages(attached_view(self._user(call, params).attached), params, "AttachedPolicies")

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

    # --- the whole account -----------------------------------------------------------------------------------------

    def get_account_authorization_details(self, call: Call, params: Params) -> Params:
        """Users, groups, roles, customer-managed policies, and those of AWS that are attached or a boundary."""
        state = self._state(call)
        wanted = set(params.get("Filter", ["User", "Group", "Role", "LocalManagedPolicy", "AWSManagedPolicy"]))
        rows: list[tuple[str, dict[str, Any]]] = []
        if "User" in wanted:
            rows += [("UserDetailList", self._user_detail(call, state, state.users[n])) for n in sorted(state.users)]
        if "Group" in wanted:
            rows += [("GroupDetailList", self._group_detail(call, state.groups[n])) for n in sorted(state.groups)]
        if "Role" in wanted:
            rows += [("RoleDetailList", self._role_detail(call, state.roles[n])) for n in sorted(state.roles)]
        policies = dict(state.policies) if "LocalManagedPolicy" in wanted else {}
        if "AWSManagedPolicy" in wanted:
            holders = [h.attached for of in (state.users, state.groups, state.roles) for h in of.values()]
            used = {arn for attached in holders for arn in attached if arn not in state.policies}
            policies |= {arn: found for arn in used if (found := aws_policy(arn))}
        for arn in sorted(policies):
            policy = policies[arn]
            shown = self._policy_view(call, arn, policy)
            shown.pop("Tags", None)
            shown["PolicyVersionList"] = [version_view(policy, v, document=True) for v in policy.versions]
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
        """A report less than four hours old is kept; the answer says COMPLETE once it can be read."""
        state = self.world.current(self.name, call.account, "", IamState)
        if state.report is None or call.now - state.report[0] >= REPORT_HOURS * 3600:
            state.report = (call.now, self._report(call, state))
            return {"State": "STARTED", "Description": "No report exists. Starting a new report generation task"}
        ready = call.now - state.report[0] >= self.world.settings.report_delay
        return {"State": "COMPLETE" if ready else "INPROGRESS"}

    def get_credential_report(self, call: Call, params: Params) -> Params:
        report = self.world.current(self.name, call.account, "", IamState).report
        if report is None:
            raise ApiError("ReportNotPresent", "No report is present; generate one first.", 410)
        if call.now - report[0] < self.world.settings.report_delay:
            raise ApiError("ReportInProgress", "The report is still being generated.", 404)
        if call.now - report[0] >= REPORT_HOURS * 3600:
            raise ApiError("ReportExpired", "The report has expired; generate a new one.", 410)
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
            "UserPolicyList": inline_view(user.policies),
            "GroupList": sorted(g.name for g in state.groups.values() if user.name in g.members),
            "AttachedManagedPolicies": attached_view(user.attached),
        }

    def _group_detail(self, call: Call, group: Group) -> dict[str, Any]:
        return {
            **self._group_view(call, group),
            "GroupPolicyList": inline_view(group.policies),
            "AttachedManagedPolicies": attached_view(group.attached),
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
            if policy := state.policies.get(attached) or aws_policy(attached):
                texts.append(policy.versions[policy.default][0])
        return [json.loads(text) for text in texts]

    def note_use(self, call: Call) -> None:
        """Remember that a key or a role was used, for GetAccessKeyLastUsed and RoleLastUsed."""
        if ":assumed-role/" in call.principal.arn:
            roles = self.world.current(self.name, call.account, "", IamState).roles
            role = roles.get(call.principal.arn.split("/")[1].lower())
            if role is not None:
                role.used = (call.now, call.region)
        if call.access_key in self.world.principals and ":user/" in call.principal.arn:
            users = self.world.current(self.name, call.account, "", IamState).users
            user = users.get(call.principal.arn.rpartition("/")[2].lower())
            if user is not None and (key := user.keys.get(call.access_key)):
                key.used = (call.now, call.region, PREFIXES.get(call.service, call.service))
