"""IAM policies, as far as the sandbox enforces them: may this caller do this to that?

Used for principals that were given policies through ``POST /_sandbox/principals``, for assumed roles with a session
policy, and for IAM users' keys when the setting ``enforce_iam`` is on. Actions and resources are matched with
wildcards; explicit denies win. Of conditions those are evaluated whose keys and operators ``conditions`` knows; the
others count as if they held for Allow, and as if they did not for Deny.

Source: IAM User Guide "Policy evaluation logic"; Service Authorization Reference for the resource types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from reconciler.sandbox import plain
from reconciler.sandbox.conditions import glob, listed, verdict
from reconciler.sandbox.faults import denied
from reconciler.sandbox.iam import Iam
from reconciler.sandbox.iam_state import PREFIXES, IamState
from reconciler.sandbox.kept import services
from reconciler.sandbox.protocol import Params
from reconciler.sandbox.world import Call

S3_ACTIONS: Final = {
    "HeadObject": "GetObject", "ListObjects": "ListBucket", "HeadBucket": "ListBucket", "PutBucket": "CreateBucket",
    "ListBuckets": "ListAllMyBuckets",
}  # fmt: skip
OPEN: Final = frozenset({"sts:GetCallerIdentity", "sts:GetSessionToken", "sts:AssumeRoleWithWebIdentity"})


def _fits(patterns: Any, value: str, *, fold: bool = False) -> bool:
    return any(glob(p.lower() if fold else p).fullmatch(value.lower() if fold else value) for p in listed(patterns))


def _covers(statement: Mapping[str, Any], action: str, resource: str) -> bool:
    if "Action" in statement:
        acts = _fits(statement["Action"], action, fold=True)
    else:
        acts = not _fits(statement.get("NotAction", []), action, fold=True)
    if "Resource" in statement:
        return acts and _fits(statement["Resource"], resource)
    return acts and not _fits(statement.get("NotResource", []), resource)


class Decision:
    """Whether a call is allowed."""

    def __init__(self, iam: Iam) -> None:
        self.iam = iam

    @staticmethod
    def action_of(service: str, operation: str) -> str:
        """The IAM action of an operation: ``ses:PutEmailIdentityDkimAttributes``."""
        if service == "s3":
            operation = S3_ACTIONS.get(operation, operation)
        return f"{PREFIXES.get(service, service)}:{operation}"

    def check(self, call: Call, params: Params) -> None:
        """Raises: ApiError, the service's access-denied error."""
        documents = call.principal.policies
        if documents is None and call.world.settings.enforce_iam:
            with call.world.lock:
                documents = self.iam.documents(call.account, call.principal.arn)
        action = self.action_of(call.service, call.operation)
        if documents is None or action in OPEN:
            return
        statements = [s for d in documents for s in listed(d.get("Statement", []))]
        needed = [(action, resource) for resource in resources_of(call, params)]
        for action, resource in (*needed, *_passed(call, params)):
            matching = [
                (s["Effect"], verdict(s.get("Condition") or {}, call, params, resource))
                for s in statements
                if _covers(s, action, resource)
            ]
            allowed = any(effect == "Allow" and met is not False for effect, met in matching)
            if not allowed or ("Deny", True) in matching:
                raise denied(call.service, action, call.principal.arn, resource)


def _passed(call: Call, params: Params) -> list[tuple[str, str]]:
    """The roles that a call passes on (IAM API reference, AddRoleToInstanceProfile)."""
    if call.operation != "AddRoleToInstanceProfile":
        return []
    return [("iam:PassRole", arn) for arn in _iam(call, {"RoleName": params["RoleName"]})]


def resources_of(call: Call, params: Params) -> list[str]:
    """The ARNs that a call touches, or ``*`` for operations without resource-level permissions."""
    finder = _FINDERS.get(PREFIXES.get(call.service, call.service))
    kept = next((service for service in services() if service.name == call.service), None)
    found = kept(call.world).touched(call, params) if kept else finder(call, params) if finder else []
    return found or ["*"]


def _ses(call: Call, params: Params) -> list[str]:
    if arn := params.get("ResourceArn"):
        return [arn]
    names = [params[member] for member in ("EmailIdentity", "Identity") if isinstance(params.get(member), str)]
    resources = [f"identity/{name}" for name in names]
    if not call.operation.startswith(("CreateEmailIdentity", "PutEmailIdentity")):  # which only refer to others
        resources += plain.named(call.operation, params)
    return [call.arn("ses", resource) for resource in resources]


def _route53(call: Call, params: Params) -> list[str]:
    zone = params.get("HostedZoneId") or params.get("ResourceId") or params.get("Id")
    if zone is None:
        return []
    kind = "change" if call.operation == "GetChange" else "hostedzone"
    return [f"arn:{call.partition}:route53:::{kind}/{zone.rpartition('/')[2]}"]


def _iam(call: Call, params: Params) -> list[str]:
    if name := params.get("UserName"):
        user = call.world.current("iam", call.account, "", IamState).users.get(name.lower())
        path = user.path if user else params.get("Path", "/")
        return [call.arn("iam", f"user{path}{name}", "")]
    if name := params.get("InstanceProfileName"):  # AddRoleToInstanceProfile is checked against the profile
        profile = call.world.current("iam", call.account, "", IamState).profiles.get(name.lower())
        path = profile.path if profile else params.get("Path", "/")
        return [call.arn("iam", f"instance-profile{path}{name}", "")]
    if name := params.get("RoleName"):
        role = call.world.current("iam", call.account, "", IamState).roles.get(name.lower())
        return [call.arn("iam", f"role{role.path if role else params.get('Path', '/')}{name}", "")]
    return [params["PolicyArn"]] if "PolicyArn" in params else []


def _s3(call: Call, params: Params) -> list[str]:
    bucket, key = params.get("Bucket"), params.get("Key")
    return [f"arn:{call.partition}:s3:::{bucket}" + (f"/{key}" if key else "")] if bucket else []


def _secrets(call: Call, params: Params) -> list[str]:
    name = params.get("SecretId") or params.get("Name")
    if not name:
        return []
    return [name if name.startswith("arn:") else call.arn("secretsmanager", f"secret:{name}-AbCdEf")]


def _ssm(call: Call, params: Params) -> list[str]:
    names = params.get("Names") or ([params["Name"]] if "Name" in params else [])
    if params.get("ResourceType") == "Parameter":
        names = [params["ResourceId"]]
    return [n if n.startswith("arn:") else call.arn("ssm", "parameter/" + n.lstrip("/")) for n in names]


def _kms(call: Call, params: Params) -> list[str]:
    """IAM checks the key itself, also where a request names it by an alias."""
    key = params.get("KeyId")
    return [call.arn("kms", f"key/{key.rpartition('/')[2]}")] if isinstance(key, str) else []


def _sts(call: Call, params: Params) -> list[str]:
    return [params["RoleArn"]] if "RoleArn" in params else []


def _firehose(call: Call, params: Params) -> list[str]:
    name = params.get("DeliveryStreamName")
    return [call.arn("firehose", f"deliverystream/{name}")] if isinstance(name, str) else []


_FINDERS: Final[dict[str, Callable[[Call, Params], list[str]]]] = {
    "ses": _ses, "route53": _route53, "iam": _iam, "s3": _s3, "secretsmanager": _secrets, "ssm": _ssm, "sts": _sts,
    "kms": _kms, "firehose": _firehose,
}  # fmt: skip
