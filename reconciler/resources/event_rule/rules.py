"""Rules about event rules: whether what they match ever arrives, and whether anybody gets it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reconciler.regions import home_region
from reconciler.resources.event_rule import needs_a_trail, preset_of
from reconciler.rules import topics
from reconciler.rules.registry import Problem, RuleFor, resources_after
from reconciler.rules.view import Resource, RuleView

watcher_rule = RuleFor(resources_after("event_rule"), "Event rules", "event_rule/us-east-1/keys")

SERVICE = "events.amazonaws.com"
_AT_HOME = {"aws.iam", "aws.route53"}


def _pattern(rule: Resource) -> Mapping[str, object]:
    found = rule.will("event_pattern")
    return found if isinstance(found, Mapping) else {}


@watcher_rule("event-rule-no-trail", "warning", "An event rule whose events no trail delivers")
def no_trail(view: RuleView, rule: Resource) -> Iterator[Problem]:
    """An event rule matches calls of AWS's API, and no CloudTrail trail logs management events that write in its
    region.

    Why: EventBridge gets such events from a trail. Without one the rule never matches, and nothing says so. The event
    history of CloudTrail, which needs no trail, is not enough.
    Fix: Create a trail for all regions that logs management events, or start the one that has been stopped. The first
    copy of management events costs nothing but the storage in S3.
    Source: EventBridge User Guide, AWS service events delivered via AWS CloudTrail
    """
    if needs_a_trail(_pattern(rule)) and view.trails.get(rule.region or "") is False:
        yield Problem(
            f"{rule.place} never matches: no CloudTrail trail logs management events in {rule.region}",
            "create a trail that logs management events, or start the one that has been stopped",
        )


@watcher_rule("event-rule-other-region", "warning", "An event rule in a region where its events do not arrive")
def other_region(view: RuleView, rule: Resource) -> Iterator[Problem]:
    """An event rule of your own matches calls of IAM or Route 53 alone, and is not in the region of the partition's
    global services.

    Why: CloudTrail records the calls of these services in that region alone, so that the rule never matches.
    Fix: Write `regions: [us-east-1]` (the region of your partition), or use a preset, which is there by itself.
    Source: CloudTrail User Guide, About global service events
    """
    home, source = home_region(view.state.stack.partition), _pattern(rule).get("source")
    sources = {*source} if isinstance(source, list | tuple) and all(isinstance(s, str) for s in source) else set()
    if sources and sources <= _AT_HOME and needs_a_trail(_pattern(rule)) and rule.region != home:
        yield Problem(
            f"{rule.place} never matches: events of {' and '.join(sorted(sources))} arrive in {home} alone",
            f"write regions: [{home}]",
        )


@watcher_rule("event-rule-all-users", "note", "An event rule about access keys matches those of every user")
def all_users(view: RuleView, rule: Resource) -> Iterator[Problem]:
    """A rule with the preset `iam_access_keys` does not list the declared SMTP users, since a pattern has at most 4,096
    characters, or since none is declared.

    Why: It also tells of access keys of users that do not send mail.
    Fix: Nothing must be done. Divide the SMTP users among several stacks, or filter in the subscriptions of the topic.
    Source: EventBridge API, PutRule: EventPattern
    """
    pattern, desired = _pattern(rule), rule.desired
    if desired is None or desired.entry.values.get("preset") != "iam_access_keys":
        return
    detail = pattern.get("detail")
    if preset_of(pattern) and isinstance(detail, Mapping) and "requestParameters" not in detail:
        many = len({user.name for user in view.users})
        why = f"{many:,} SMTP users do not fit into its pattern" if many else "no SMTP user is declared"
        yield Problem(f"{rule.place} matches the access keys of every IAM user: {why}")


@watcher_rule("event-rule-zones-elsewhere", "warning", "An event rule about zones of another account")
def zones_elsewhere(view: RuleView, rule: Resource) -> Iterator[Problem]:
    """A rule matches calls of Route 53, and the zones of the stack are in another account (`stack.dns`).

    Why: Calls arrive in the account whose zones they change, so that the rule sees nothing of the stack's records.
    Fix: Declare the rule in a stack of that account, or forward its events to this one.
    Source: EventBridge User Guide, Sending and receiving events between AWS accounts
    """
    account = view.state.stack.dns_account
    if account and _pattern(rule).get("source") == ["aws.route53"]:
        yield Problem(
            f"{rule.place} sees no change of the stack's records: their zones are in account {account}",
            "declare it in a stack of that account",
        )


@watcher_rule("event-rule-no-target", "warning", "An event rule that tells nobody")
def no_target(view: RuleView, rule: Resource) -> Iterator[Problem]:
    """An enabled event rule has no target.

    Why: What it matches goes nowhere.
    Fix: Write `targets:` with the name of a topic, or `state: DISABLED`.
    Source: EventBridge User Guide, Event bus targets
    """
    listed = rule.will("targets") or {}
    if rule.desired is not None and rule.will("state") != "DISABLED" and not any(listed.values()):
        yield Problem(f"{rule.place} has no target: what it matches goes nowhere", "write `targets:` with a topic")


@watcher_rule("event-rule-topic", "warning", "A topic that EventBridge cannot publish to")
def topic(view: RuleView, rule: Resource) -> Iterator[Problem]:
    """A target of an event rule is a topic that does not exist, whose policy does not let `events.amazonaws.com`
    publish, or whose KMS key that service may not use. Of declared topics recon writes the policy.

    Why: The events are lost, and no error is shown anywhere.
    Fix: Allow `sns:Publish` to the service `events.amazonaws.com` without a condition: EventBridge meets none. For an
    encrypted topic, use a customer managed key that allows it `kms:GenerateDataKey*` and `kms:Decrypt`.
    Source: EventBridge User Guide, Amazon SNS permissions
    """
    for arn in rule.will("targets") or {}:
        if arn not in view.topics or topics.declared(view, arn) is not None:
            continue
        found = view.topics[arn]
        if found is None:
            yield Problem(f"the topic {arn} does not exist", "create it, or declare it under sns_topics")
        elif not topics.may_publish(found, SERVICE, ""):
            yield Problem(
                f"the policy of {arn} does not allow {SERVICE} to publish",
                f"allow sns:Publish to the service {SERVICE} without a condition",
            )
        elif problem := topics.key_problem(found, SERVICE, ""):
            yield Problem(f"{arn} is encrypted with {found.kms_key_id}, {problem}", f"allow {SERVICE} to use the key")
