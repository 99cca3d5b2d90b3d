"""Who may use a role: its trust policy, made of the ``trust`` of the YAML, and read back into it. Pure.

Source: IAM User Guide, "AWS JSON policy elements: Principal", "The confused deputy problem" (aws:SourceAccount) and
"Create a role for OpenID Connect federation" (audience and subject); the guides of the services for the form that each
wants; EKS User Guide, "EKS Pod Identities" (sts:TagSession).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from reconciler.kinds.policy import listed, normal_policy
from reconciler.kinds.send_policy import normal_conditions

INSTANCES: Final = "ec2.amazonaws.com"
"""The service that takes a role by its instance profile; in China with .cn behind it."""
SAY_ACCOUNT: Final = frozenset(
    f"{service}.amazonaws.com"
    for service in ("lambda", "ecs-tasks", "states", "scheduler", "pipes", "events", "codebuild", "pods.eks", "ses")
)
"""Services that say the account for which they use a role (``aws:SourceAccount``). EC2 does not."""
AUDIENCE: Final = "sts.amazonaws.com"
"""What tokens are made for where nothing else is said, as GitHub's own action does."""
KEYS: Final = ("service", "principals", "oidc", "conditions")

NOBODY: Final[Mapping[str, Any]] = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
}
"""The trust policy of a role that nobody may use yet."""

_ASSUME, _TAG, _WEB = "sts:AssumeRole", "sts:TagSession", "sts:AssumeRoleWithWebIdentity"
_PODS: Final = "pods.eks.amazonaws.com"
_SOURCES: Final = frozenset({"aws:sourceaccount", "aws:sourcearn"})


def wanted(values: Mapping[str, Any], partition: str, account: str) -> dict[str, Any]:
    """The ``trust`` of an entry in the form in which ``fields_of`` returns a live one."""
    services = [str(one) for one in listed(values.get("service"))]
    conditions: Any = values.get("conditions")
    keys = {str(key).lower() for block in (conditions or {}).values() for key in block}
    if services and SAY_ACCOUNT.issuperset(services) and conditions != {} and not keys & _SOURCES:
        conditions = {k: dict(v) for k, v in (conditions or {}).items()}
        conditions.setdefault("StringEquals", {})["aws:SourceAccount"] = account
    oidc = dict(values.get("oidc") or {})
    if oidc:
        oidc = {
            "provider": provider_of(str(oidc["provider"])),
            "subject": sorted(map(str, listed(oidc["subject"]))),
            "audience": sorted(map(str, listed(oidc.get("audience") or AUDIENCE))),
        }
    fields = {
        "service": services, "principals": [str(one) for one in listed(values.get("principals"))], "oidc": oidc,
        "conditions": normal_conditions(conditions or {}),
    }  # fmt: skip
    return fields_of(document(fields, partition, account), partition)


def provider_of(text: str) -> str:
    """``token.actions.githubusercontent.com`` of that, its address, or the ARN of the provider."""
    return text.partition(":oidc-provider/")[2] if text.startswith("arn:") else text.removeprefix("https://")


def document(fields: Mapping[str, Any], partition: str, account: str) -> dict[str, Any]:
    """The trust policy of ``fields``."""
    condition: dict[str, dict[str, Any]] = {k: dict(v) for k, v in (fields.get("conditions") or {}).items()}
    actions, oidc = [_ASSUME], fields.get("oidc")
    if oidc:
        provider = oidc["provider"]
        principal: dict[str, Any] = {"Federated": f"arn:{partition}:iam::{account}:oidc-provider/{provider}"}
        condition.setdefault("StringEquals", {})[f"{provider}:aud"] = _one(oidc["audience"])
        condition.setdefault(_operator(oidc["subject"]), {})[f"{provider}:sub"] = _one(oidc["subject"])
        actions = [_WEB]
    elif fields.get("service"):
        principal = {"Service": _one(fields["service"])}
        actions += [_TAG] if _PODS in fields["service"] else []
    else:
        principal = {"AWS": _one(fields["principals"] or ())}
    statement = {"Effect": "Allow", "Principal": principal, "Action": _one(actions)}
    return {"Version": "2012-10-17", "Statement": [{**statement, **({"Condition": condition} if condition else {})}]}


def fields_of(policy: Any, partition: str) -> dict[str, Any]:
    """The fields of a live trust policy; ``policy`` is all of it where they cannot express it."""
    normal = normal_policy(policy, partition)
    found = normal.get("Statement") if isinstance(normal, Mapping) else None
    fields = _fields(found[0]) if found and len(found) == 1 and isinstance(found[0], Mapping) else None
    nothing = dict.fromkeys(KEYS)
    return {**nothing, "policy": normal} if fields is None else {**nothing, **fields, "policy": None}


def _fields(statement: Mapping[str, Any]) -> dict[str, Any] | None:
    principal, written = statement.get("Principal"), statement.get("Condition") or {}
    if statement.get("Effect") != "Allow" or statement.keys() - {"Sid", "Effect", "Principal", "Action", "Condition"}:
        return None
    if not isinstance(principal, Mapping) or len(principal) != 1:
        return None
    ((kind, names),) = principal.items()
    conditions = {k: dict(v) for k, v in written.items()}
    actions = {str(action).lower() for action in statement.get("Action") or ()}
    usual = {_ASSUME.lower()} | ({_TAG.lower()} if kind == "Service" and _PODS in names else set())
    found: dict[str, Any] = {}
    if kind == "Federated" and actions == {_WEB.lower()} and len(names) == 1 and ":oidc-provider/" in names[0]:
        provider = provider_of(names[0])
        audience = conditions.get("StringEquals", {}).pop(f"{provider}:aud", None)
        held = [o for o in ("StringEquals", "StringLike") if f"{provider}:sub" in conditions.get(o, {})]
        subject = conditions[held[0]].pop(f"{provider}:sub") if len(held) == 1 else None
        if not audience or not subject or held != [_operator(subject)]:
            return None
        found["oidc"] = {"provider": provider, "subject": subject, "audience": audience}
    elif kind in ("Service", "AWS") and actions == usual:
        found["service" if kind == "Service" else "principals"] = names
    else:
        return None
    return {**found, "conditions": {k: v for k, v in conditions.items() if v} or None}


def _operator(subjects: Sequence[str]) -> str:
    return "StringLike" if any("*" in subject or "?" in subject for subject in subjects) else "StringEquals"


def _one(texts: Sequence[str]) -> Any:
    return texts[0] if len(texts) == 1 else list(texts)
