"""Events: bounces and complaints must reach somebody, or the account's reputation goes unseen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.rules.registry import RawFinding, rule
from reconciler.rules.view import Resource, RuleView, Topic

_FEEDBACK = ("BOUNCE", "COMPLAINT")
_ARNS = (
    ("sns_destination", "topic_arn"),
    ("kinesis_firehose_destination", "delivery_stream_arn"),
    ("event_bridge_destination", "event_bus_arn"),
)


def _sets(view: RuleView) -> Iterator[Resource]:
    """Configuration sets that are declared or changed, and will be there."""
    return (r for r in view.resources("configuration_set") if r.after is not None)


def _uncaught(view: RuleView, address: str) -> list[str]:
    caught = view.events_caught(address)
    return [event for event in _FEEDBACK if event not in caught]


def _part(arn: str, index: int) -> str:
    parts = arn.split(":")
    return parts[index] if len(parts) > index else ""


@rule(
    "events-nowhere",
    "warning",
    "Bounces and complaints of a configuration set go nowhere",
    "SES Developer Guide, Monitoring using event publishing; Gmail and Yahoo complaint limits",
)
def nowhere(view: RuleView) -> Iterator[RawFinding]:
    """No enabled destination of the set takes BOUNCE or COMPLAINT."""
    for resource in _sets(view):
        missing = _uncaught(view, resource.address)
        if missing and resource.desired is not None:
            yield RawFinding(
                resource.address,
                f"no destination of {resource.name} in {resource.region} takes {' and '.join(missing)}",
                "declare an event destination with matching_event_types: [BOUNCE, COMPLAINT]",
            )


@rule(
    "events-lost", "warning", "An event type is no longer delivered", "SES API, UpdateConfigurationSetEventDestination"
)
def lost(view: RuleView) -> Iterator[RawFinding]:
    """A bounce or complaint event that a destination takes now, and none takes afterwards."""
    for resource in _sets(view):
        before = view.events_caught(resource.address, "before")
        gone = [event for event in _FEEDBACK if event in before and event in _uncaught(view, resource.address)]
        if resource.stays and gone:
            yield RawFinding(
                resource.address,
                f"{' and '.join(gone)} events of {resource.name} in {resource.region} reach nobody any more",
                "keep one enabled destination for them",
            )


@rule(
    "events-feedback-off",
    "warning",
    "Feedback is not mailed, and no destination takes it",
    "SES API, PutEmailIdentityFeedbackAttributes: forwarding may be off where another notification exists",
)
def feedback_off(view: RuleView) -> Iterator[RawFinding]:
    """email_forwarding_enabled: false, and the default set catches no bounces or complaints."""
    for identity in view.resources("email_identity"):
        if identity.after is None or identity.will("email_forwarding_enabled") is not False:
            continue
        name = identity.will("configuration_set_name")
        default = view.default_set(identity)
        if name and default is None:
            continue  # a set that this run did not read
        if default is None or _uncaught(view, default.address):
            yield RawFinding(
                identity.address,
                f"{identity.name} in {identity.region} neither forwards bounces and complaints by mail "
                f"nor has a default set that catches them{f' ({name})' if name else ''}",
                "leave email_forwarding_enabled at true, or give its set a destination for BOUNCE and COMPLAINT",
            )


@rule(
    "events-disabled",
    "note",
    "An event destination is declared but off",
    "SES API, EventDestinationDefinition: Enabled",
)
def disabled(view: RuleView) -> Iterator[RawFinding]:
    """enabled: false."""
    for destination in view.resources("event_destination"):
        if destination.after is not None and destination.will("enabled") is False:
            yield RawFinding(
                destination.address, "this destination receives nothing: enabled is false", "write enabled: true"
            )


@rule(
    "events-other-region",
    "warning",
    "An event destination in another region",
    "SES Developer Guide, Regions: topics and streams in the region that sends",
)
def other_region(view: RuleView) -> Iterator[RawFinding]:
    """SES publishes to its own region only."""
    for destination in view.resources("event_destination"):
        for block, key in _ARNS:
            arn = str(destination.will(f"{block}.{key}") or "")
            if destination.after is not None and arn and _part(arn, 3) not in ("", destination.region):
                yield RawFinding(
                    destination.address,
                    f"{arn} is not in {destination.region}: SES refuses or loses its events",
                    "write ${region} in the ARN, and create it in each region",
                )


@rule(
    "events-default-bus",
    "warning",
    "Events go to a bus other than the default one",
    "SES Developer Guide, EventBridge event destination: default bus only",
)
def default_bus(view: RuleView) -> Iterator[RawFinding]:
    """SES publishes to the default bus of the account."""
    for destination in view.resources("event_destination"):
        arn = str(destination.will("event_bridge_destination.event_bus_arn") or "")
        if destination.after is not None and arn and not arn.endswith(":event-bus/default"):
            yield RawFinding(
                destination.address,
                f"SES publishes to the default event bus only, not to {arn}",
                "name event-bus/default, and forward from there with a rule",
            )


@rule(
    "events-topic-missing", "warning", "An SNS topic that does not exist", "SES Developer Guide, SNS event destination"
)
def topic_missing(view: RuleView) -> Iterator[RawFinding]:
    """The topic was looked for and is not there."""
    for destination in view.resources("event_destination"):
        arn = str(destination.will("sns_destination.topic_arn") or "")
        if destination.after is not None and arn in view.topics and view.topics[arn] is None:
            yield RawFinding(
                destination.address, f"the topic {arn} does not exist", "create it before this plan is applied"
            )


@rule(
    "events-topic-policy",
    "warning",
    "An SNS topic that SES may not publish to",
    "SES Developer Guide, SNS event destination: topic policy and KMS key policy",
)
def topic_policy(view: RuleView) -> Iterator[RawFinding]:
    """The topic's policy, or the policy of its KMS key, does not let ses.amazonaws.com in."""
    account = view.state.stack.account
    for destination in view.resources("event_destination"):
        arn = str(destination.will("sns_destination.topic_arn") or "")
        topic = view.topics.get(arn)
        if destination.after is None or topic is None:
            continue
        if not _allows(topic.policy, ("sns:publish",), account):
            yield RawFinding(
                destination.address,
                f"the policy of {arn} does not let ses.amazonaws.com publish",
                f"allow sns:Publish to the service ses.amazonaws.com with AWS:SourceAccount {account}",
            )
        problem = _key_problem(topic, account)
        if problem:
            yield RawFinding(
                destination.address,
                f"{arn} is encrypted with {topic.kms_key_id}, {problem}",
                "use a customer managed key whose policy lets ses.amazonaws.com call kms:GenerateDataKey* and "
                "kms:Decrypt",
            )


def _key_problem(topic: Topic, account: str) -> str:
    if not topic.kms_key_id:
        return ""
    if topic.kms_key_id.endswith("alias/aws/sns"):
        return "whose policy cannot be changed to let SES in"
    if topic.kms_policy is not None and not _allows(topic.kms_policy, ("kms:generatedatakey", "kms:decrypt"), account):
        return "whose policy does not let ses.amazonaws.com use it"
    return ""


def _allows(policy: Mapping[str, Any], actions: tuple[str, ...], account: str) -> bool:
    """Whether the policy lets the SES service do all ``actions`` (lower case) for mail of ``account``."""
    statements = policy.get("Statement") or ()
    allowed = [
        s for s in (statements if isinstance(statements, list | tuple) else [statements]) if _for_ses(s, account)
    ]
    granted = {str(action).lower() for s in allowed for action in _listed(s.get("Action"))}
    return all(any(_covers(pattern, action) for pattern in granted) for action in actions)


def _covers(pattern: str, action: str) -> bool:
    return action.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == action


def _for_ses(statement: Any, account: str) -> bool:
    if not isinstance(statement, Mapping) or statement.get("Effect") != "Allow":
        return False
    principal = statement.get("Principal")
    service = _listed(principal.get("Service")) if isinstance(principal, Mapping) else []
    everybody = principal == "*" or (isinstance(principal, Mapping) and "*" in _listed(principal.get("AWS")))
    if "ses.amazonaws.com" not in service and not everybody:
        return False
    for keys in (statement.get("Condition") or {}).values():
        for key, value in keys.items():
            # Other conditions (AWS:SourceOwner of the default policy) do not hold for a call by the service.
            if key.lower() not in ("aws:sourceaccount", "aws:sourcearn"):
                return False
            if key.lower() == "aws:sourceaccount" and account not in map(str, _listed(value)):
                return False
    return True


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
