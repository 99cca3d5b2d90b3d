"""STS: who a key is, and roles. Source: STS API reference (AssumeRole, GetCallerIdentity)."""

from __future__ import annotations

import json
import re

from reconciler.sandbox.iam_state import SECRET_ALPHABET, check_document
from reconciler.sandbox.protocol import ApiError, Params
from reconciler.sandbox.world import Call, Principal, World, moment


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
