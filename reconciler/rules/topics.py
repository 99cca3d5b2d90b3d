"""What the policies of SNS topics and of their KMS keys allow an AWS service, as the rules need it. Pure.

Source: SES Developer Guide, SNS event destination: topic policy and KMS key policy; SNS Developer Guide, "Enable
compatibility between event sources from AWS services and encrypted topics".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reconciler.kinds.policy import for_anyone, listed, statements
from reconciler.rules.registry import Problem
from reconciler.rules.view import Resource, RuleView, Topic


def declared(view: RuleView, arn: str) -> Resource | None:
    """The topic of an ARN, where the plan leaves one of this stack there; None where it is not ours to know."""
    _, _, _, region, account, name = arn.split(":", 5) if arn.count(":") >= 5 else ("",) * 6
    found = view.resource(f"sns_topic/{region}/{name}") if account == view.state.stack.account else None
    return found if found is not None and found.after is not None else None


def may_publish(topic: Topic, service: str, account: str) -> bool:
    """Whether the policy of a topic allows a service (``ses.amazonaws.com``) to publish for ``account``."""
    return allows(topic.policy, ("sns:publish",), service, account)


def key_problem(topic: Topic, service: str, account: str) -> str:
    """Why a service cannot use the key of a topic; empty where it can, or where that is not known."""
    if not topic.kms_key_id:
        return ""
    if topic.kms_key_id.endswith("alias/aws/sns"):
        return f"and the policy of that key cannot be changed to allow {service}"
    needed = ("kms:generatedatakey", "kms:decrypt")
    if topic.kms_policy is not None and not allows(topic.kms_policy, needed, service, account):
        return f"and the policy of that key does not allow {service} to use it"
    return ""


def allows(policy: Mapping[str, Any], actions: tuple[str, ...], service: str, account: str) -> bool:
    """Whether the policy allows the service all ``actions`` (lower case) for what ``account`` has there."""
    allowed = [s for s in statements(policy) if _for_service(s, service, account)]
    granted = {str(action).lower() for s in allowed for action in listed(s.get("Action"))}
    return all(any(_covers(pattern, action) for pattern in granted) for action in actions)


def _covers(pattern: str, action: str) -> bool:
    return action.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == action


def _for_service(statement: Mapping[str, Any], service: str, account: str) -> bool:
    principal = statement.get("Principal")
    named = listed(principal.get("Service")) if isinstance(principal, Mapping) else []
    if statement.get("Effect") != "Allow" or (service not in named and not for_anyone(principal)):
        return False
    for keys in (statement.get("Condition") or {}).values():
        for key, value in keys.items():
            # A call by the service does not meet other conditions, such as AWS:SourceOwner in the default policy.
            if key.lower() not in ("aws:sourceaccount", "aws:sourcearn"):
                return False
            if key.lower() == "aws:sourceaccount" and account not in map(str, listed(value)):
                return False
    return True


def cannot_publish(view: RuleView, arns: Iterable[str], service: str) -> Iterator[Problem]:
    """What keeps a service from publishing to topics of this account that the state does not declare."""
    account = view.state.stack.account
    for arn in arns:
        if arn not in view.topics or declared(view, arn) is not None:  # what is declared has rules of its own
            continue
        found = view.topics[arn]
        if found is None:
            yield Problem(f"the topic {arn} does not exist", "create it, or declare it under sns_topics")
        elif not may_publish(found, service, account):
            yield Problem(
                f"the policy of {arn} does not allow {service} to publish",
                f"allow sns:Publish to the service {service} with AWS:SourceAccount {account}",
            )
        elif problem := key_problem(found, service, account):
            yield Problem(
                f"{arn} is encrypted with {found.kms_key_id}, {problem}",
                f"use a customer managed key, and allow {service} kms:GenerateDataKey* and kms:Decrypt in its policy",
            )
