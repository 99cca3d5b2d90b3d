"""Rules about SNS topics: who publishes there, and whether the topic lets them."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.resources import naming
from reconciler.resources.sns_subscription import UNDECLARED
from reconciler.resources.sns_topic import SERVICES
from reconciler.rules import topics
from reconciler.rules.registry import Problem, RuleFor, resources_after
from reconciler.rules.view import Resource, RuleView

topic_rule = RuleFor(resources_after("sns_topic"), "SNS topics", "sns_topic/us-east-1/mail-events")


@topic_rule("topic-key", "warning", "A topic whose key its publishers cannot use")
def key(view: RuleView, topic: Resource) -> Iterator[Problem]:
    """A topic is encrypted with a KMS key that a publisher of the topic may not use. The AWS managed key
    `alias/aws/sns` never lets a service use it.

    Why: Nothing that the service publishes arrives, and no error is shown anywhere.
    Fix: Use a customer managed key, and allow the service `kms:GenerateDataKey*` and `kms:Decrypt` in its policy.
    Source: SNS Developer Guide, Enable compatibility between event sources from AWS services and encrypted topics
    """
    stack = view.state.stack
    found = view.topics.get(f"arn:{stack.partition}:sns:{topic.region}:{stack.account}:{topic.name}")
    if found is None:
        return
    for name in topic.will("publishers") or ():
        if problem := topics.key_problem(found, SERVICES[name], stack.account):
            yield Problem(
                f"the topic {topic.place} is encrypted with {found.kms_key_id}, {problem}",
                f"allow {SERVICES[name]} kms:GenerateDataKey* and kms:Decrypt in the policy of a key of your own",
            )


@topic_rule("topic-publisher-lost", "warning", "A topic that no longer lets a service publish")
def publisher_lost(view: RuleView, topic: Resource) -> Iterator[Problem]:
    """The plan takes a service off the publishers of a topic, and event destinations, alarms or event rules still
    publish there through it, or the written `publishers` leave out one that this state makes publish there.

    Why: The events are lost, and no error is shown anywhere.
    Fix: Add the service to `publishers`, or take the key out: then recon finds the publishers by itself.
    Source: SES Developer Guide, SNS event destination
    """
    stack = view.state.stack
    arn = f"arn:{stack.partition}:sns:{topic.region}:{stack.account}:{topic.name}"
    allowed = topic.will("publishers")
    users: dict[str, list[str]] = {}
    for spec, field in naming(topic.kind):
        for one in view.resources_after(spec.name) if field.service and allowed is not None else ():
            publishes = arn in field.texts_in(one.after or {}) and one.will("enabled") is not False
            if publishes and field.service not in allowed:
                users.setdefault(field.service, []).append(one.address)
    for service, some in users.items():
        many = f"{some[0]} and {len(some) - 1} more" if len(some) > 1 else some[0]
        yield Problem(
            f"the topic {topic.place} does not let {SERVICES[service]} publish, and {many} would",
            f"add {service} to its `publishers`, or take the key out",
        )


@topic_rule("topic-key-missing", "warning", "A KMS key of a topic that cannot be used")
def key_missing(view: RuleView, topic: Resource) -> Iterator[Problem]:
    """KMS answers that the `kms_master_key_id` of a topic does not exist, is disabled, or is waiting for its deletion.

    Why: Nobody can publish to the topic, so its events and alarms are lost.
    Fix: Create or enable the key in the region of the topic, or correct `kms_master_key_id`.
    Source: SNS Developer Guide, Encrypting an Amazon SNS topic with server-side encryption; KMS API, DescribeKey
    """
    for key, why in view.unusable.get(topic.address, ()):
        yield Problem(f"the KMS key {key} of {topic.place} {why}", "create or enable it, or correct kms_master_key_id")


@topic_rule("topic-subscription-undeclared", "note", "A subscription that is not declared")
def undeclared(view: RuleView, topic: Resource) -> Iterator[Problem]:
    """A declared topic with `subscriptions` has others that the state does not declare. recon leaves them as they are.

    Why: Whoever is behind them reads the events of your mail, with addresses of recipients, and they end with the
    topic.
    Fix: Declare them under `subscriptions`, or end them where they were made.
    Source: SNS API, ListSubscriptionsByTopic
    """
    if topic.after is not None and (found := topic.facts.get(UNDECLARED)):
        shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        yield Problem(
            f"{topic.place} also goes to {shown}, which the state does not declare",
            "declare them under `subscriptions`, or end them where they were made",
        )
