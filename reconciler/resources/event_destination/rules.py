"""Rules about event destinations: somebody must receive bounces and complaints, or damage to the reputation is not
seen."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.rules import topics
from reconciler.rules.registry import Problem, RuleFor, resources_after
from reconciler.rules.view import Resource, RuleView

SES = "ses.amazonaws.com"

_THEME = "Event destinations"
destination_rule = RuleFor(
    resources_after("event_destination"), _THEME, "event_destination/us-east-1/transactional/feedback"
)
set_rule = RuleFor(resources_after("configuration_set"), _THEME, "configuration_set/us-east-1/transactional")
identity_rule = RuleFor(resources_after("email_identity"), _THEME, "email_identity/us-east-1/acme.com")

_FEEDBACK = {"BOUNCE": "bounces", "COMPLAINT": "complaints"}
_ARNS = (
    ("sns_destination", "topic_arn"),
    ("kinesis_firehose_destination", "delivery_stream_arn"),
    ("event_bridge_destination", "event_bus_arn"),
)


def _uncaught(view: RuleView, address: str) -> list[str]:
    """Of bounces and complaints those that no enabled destination of the set receives after apply; none where its
    destinations could not be read."""
    if view.destinations_unread(address):
        return []
    caught = view.events_caught(address)
    return [event for event in _FEEDBACK if event not in caught]


def _words(events: list[str], word: str) -> str:
    return f" {word} ".join(_FEEDBACK[event] for event in events)


def _part(arn: str, index: int) -> str:
    parts = arn.split(":")
    return parts[index] if len(parts) > index else ""


@set_rule("events-nowhere", "warning", "A configuration set without an event destination for bounces and complaints")
def nowhere(view: RuleView, resource: Resource) -> Iterator[Problem]:
    """No enabled event destination of a declared configuration set receives bounces, or complaints.

    Why: Receivers act on complaint rates of a few in a thousand, and AWS on bounce rates of a few in a hundred. If you
    do not see these events, you notice the problem only when sending stops.
    Fix: Declare an event destination with `matching_event_types: [BOUNCE, COMPLAINT]`.
    Source: SES Developer Guide, Monitoring using event publishing; Gmail and Yahoo complaint limits
    """
    missing = _uncaught(view, resource.address)
    if missing and resource.desired is not None:
        yield Problem(
            f"{resource.place} has no event destination for {_words(missing, 'and')}",
            "declare an event destination with matching_event_types: [BOUNCE, COMPLAINT]",
        )


@set_rule("events-lost", "warning", "Bounces or complaints are no longer delivered to an event destination")
def lost(view: RuleView, resource: Resource) -> Iterator[Problem]:
    """An event destination receives bounces or complaints today, and none does after this plan.

    Why: The process that removes bounced addresses from your lists stops working, and no error is shown.
    Fix: Keep one enabled event destination for these events. Create the new one before you remove the old one.
    Source: SES API, UpdateConfigurationSetEventDestination
    """
    before = view.events_caught(resource.address, "before")
    lost_events = [event for event in _uncaught(view, resource.address) if event in before]
    if resource.stays and lost_events:
        yield Problem(
            f"after this, no event destination of {resource.place} receives {_words(lost_events, 'or')}",
            "keep one enabled event destination for them",
        )


@identity_rule(
    "events-feedback-off",
    "warning",
    "Bounces and complaints are neither forwarded by mail nor sent to an event destination",
)
def feedback_off(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """`email_forwarding_enabled` is false, and neither an event destination of the identity's default configuration set
    nor an SNS topic of the identity itself receives its bounces and complaints.

    Why: Neither mail nor events report a bounce or complaint then. If no notification at all is set up, SES may forward
    them by mail although forwarding is off.
    Fix: Leave forwarding on, or give the default configuration set an event destination for BOUNCE and COMPLAINT.
    Source: SES API, PutEmailIdentityFeedbackAttributes: forwarding may be off where another notification exists
    """
    if identity.will("email_forwarding_enabled") is not False:
        return
    name = identity.will("configuration_set_name")
    default = view.default_set(identity)
    if name and default is None:
        return  # a configuration set that this run did not read
    direct = view.feedback_topics.get(identity.address, frozenset())
    if identity.will("notification_attributes") is not None:
        own = {event: identity.will(f"notification_attributes.{event.lower()}_topic") for event in _FEEDBACK}
        direct = frozenset(event for event, topic in own.items() if topic)
    if direct is None or direct >= _FEEDBACK.keys():
        return
    if default is None or set(_uncaught(view, default.address)) - direct:
        yield Problem(
            f"{identity.place} does not forward bounces and complaints by mail, and "
            + (f"its default set {name} has no event destination for them" if name else "it has no default set"),
            "leave email_forwarding_enabled at true, or give its default set an event destination for BOUNCE and "
            "COMPLAINT",
        )


@destination_rule("events-disabled", "note", "An event destination is disabled")
def disabled(view: RuleView, destination: Resource) -> Iterator[Problem]:
    """An event destination is declared with `enabled: false`.

    Why: SES sends no events to it.
    Fix: Write `enabled: true`, or remove the event destination.
    Source: SES API, EventDestinationDefinition: Enabled
    """
    if destination.will("enabled") is False:
        yield Problem("this event destination receives no events, because enabled is false", "write enabled: true")


@destination_rule("events-other-region", "warning", "An event destination in another region")
def other_region(view: RuleView, destination: Resource) -> Iterator[Problem]:
    """The ARN of the topic, stream or bus names another region than that of the configuration set.

    Why: SES publishes events within its own region only.
    Fix: Write `${region}` in the ARN, and create the topic in each region.
    Source: SES Developer Guide, Regions: topics and streams in the region that sends
    """
    for block, key in _ARNS:
        arn = str(destination.will(f"{block}.{key}") or "")
        if arn and _part(arn, 3) not in ("", destination.region):
            yield Problem(
                f"{arn} is not in {destination.region}: SES rejects it, or its events are lost",
                "write ${region} in the ARN, and create the resource in each region",
            )


@destination_rule(
    "events-default-bus",
    "warning",
    "An EventBridge destination other than the default bus",
    example="event_destination/us-east-1/transactional/bus",
)
def default_bus(view: RuleView, destination: Resource) -> Iterator[Problem]:
    """An EventBridge destination names a bus other than `default`.

    Why: SES publishes to the default event bus of the account only.
    Fix: Use `event-bus/default`, and forward the events from there with an EventBridge rule.
    Source: SES Developer Guide, EventBridge event destination: default bus only
    """
    arn = str(destination.will("event_bridge_destination.event_bus_arn") or "")
    if arn and not arn.endswith(":event-bus/default"):
        yield Problem(
            f"SES publishes to the default event bus only, not to {arn}",
            "use event-bus/default, and forward the events from there with an EventBridge rule",
        )


@destination_rule("events-topic-missing", "warning", "An SNS topic that does not exist")
def topic_missing(view: RuleView, destination: Resource) -> Iterator[Problem]:
    """SNS answers that the topic of an event destination does not exist.

    Why: SES rejects the event destination, or its events are lost.
    Fix: Create the topic before you apply this plan.
    Source: SES Developer Guide, SNS event destination
    """
    arn = str(destination.will("sns_destination.topic_arn") or "")
    if arn in view.topics and view.topics[arn] is None and topics.declared(view, arn) is None:
        yield Problem(f"the topic {arn} does not exist", "create it before you apply this plan")


@destination_rule("events-topic-policy", "warning", "An SNS topic that SES is not allowed to publish to")
def topic_policy(view: RuleView, destination: Resource) -> Iterator[Problem]:
    """The policy of the topic does not allow `ses.amazonaws.com` to publish, or the policy of its KMS key does not
    allow SES to use the key. The AWS managed key `alias/aws/sns` never allows it.

    Why: The events are lost, and no error is shown anywhere.
    Fix: Allow `sns:Publish` to the service `ses.amazonaws.com`, with `AWS:SourceAccount` set to the account. For an
    encrypted topic, use a customer managed key that allows it `kms:GenerateDataKey*` and `kms:Decrypt`.
    Source: SES Developer Guide, SNS event destination: topic policy and KMS key policy
    """
    account = view.state.stack.account
    arn = str(destination.will("sns_destination.topic_arn") or "")
    topic = view.topics.get(arn)
    if topic is None or topics.declared(view, arn) is not None:  # what is declared has rules of its own
        return
    if not topics.may_publish(topic, SES, account):
        yield Problem(
            f"the policy of {arn} does not allow ses.amazonaws.com to publish",
            f"allow sns:Publish to the service ses.amazonaws.com with AWS:SourceAccount {account}",
        )
    problem = topics.key_problem(topic, SES, account)
    if problem:
        yield Problem(
            f"{arn} is encrypted with {topic.kms_key_id}, {problem}",
            "use a customer managed key, and allow ses.amazonaws.com kms:GenerateDataKey* and kms:Decrypt in its "
            "policy",
        )


@destination_rule(
    "events-target-missing",
    "warning",
    "A delivery stream or role that does not exist",
    example="event_destination/us-east-1/transactional/warehouse",
)
def target_missing(view: RuleView, destination: Resource) -> Iterator[Problem]:
    """Firehose answers that the delivery stream of an event destination does not exist, or IAM that its role does not.

    Why: SES rejects the event destination, after other parts of the plan were carried out. Of one that exists already,
    the events are lost.
    Fix: Create the stream and the role before you apply this plan, or correct their ARNs.
    Source: SES Developer Guide, Amazon Data Firehose event destination
    """
    for arn, why in view.unusable.get(destination.address, ()):
        yield Problem(f"{arn} {why}", "create it before you apply this plan, or correct the ARN")
