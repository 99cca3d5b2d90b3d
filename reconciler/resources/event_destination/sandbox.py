"""Event destinations of configuration sets.

Source: SES API v2 reference, EventDestinationDefinition; Developer Guide "Event destinations", "Service quotas".
"""

import re

from reconciler.sandbox.kept import Kept
from reconciler.sandbox.plain import Context, Listed, Plain
from reconciler.sandbox.protocol import Params
from reconciler.sandbox.ses_state import Item, bad

KINDS = ("KinesisFirehoseDestination", "CloudWatchDestination", "SnsDestination", "EventBridgeDestination",
         "PinpointDestination")  # fmt: skip
MAX_DIMENSIONS = 10


def definition(context: Context, given: Params, before: Params | None) -> Params:
    """A checked definition, with the lists in the order of the request."""
    kinds, events = [kind for kind in KINDS if kind in given], given.get("MatchingEventTypes", [])
    if len(kinds) != 1:
        raise bad("An event destination must have exactly one of " + ", ".join(KINDS) + ".")
    if not events:
        raise bad("MatchingEventTypes must not be empty.")
    body = given[kinds[0]]
    if kinds[0] == "CloudWatchDestination":
        body = {"DimensionConfigurations": dimensions(body["DimensionConfigurations"])}
    elif kinds[0] == "SnsDestination":
        check_arn(context, body["TopicArn"], "sns")
        if context.call.world.settings.check_targets and not topic_exists(context, body["TopicArn"]):
            raise bad(f"SNS topic <{body['TopicArn']}> does not exist.")
    elif kinds[0] == "KinesisFirehoseDestination":
        check_arn(context, body["DeliveryStreamArn"], "firehose")
        if not re.fullmatch(r"arn:[a-z-]+:iam::\d{12}:role/.+", body["IamRoleArn"]):
            raise bad(f"IAM role ARN <{body['IamRoleArn']}> is not valid.")
    elif kinds[0] == "EventBridgeDestination":
        check_arn(context, body["EventBusArn"], "events")
        if not body["EventBusArn"].endswith(":event-bus/default"):
            raise bad("Only the default event bus can be an EventBridge destination.")
    elif set(events) & {"DELIVERY_DELAY", "SUBSCRIPTION"}:
        raise bad("A Pinpoint destination does not take DELIVERY_DELAY or SUBSCRIPTION events.")
    return {"Enabled": given.get("Enabled", False), "MatchingEventTypes": list(dict.fromkeys(events)), kinds[0]: body}


def topic_exists(context: Context, arn: str) -> bool:
    """Whether an SNS topic is there."""
    _, _, _, region, account, name = arn.split(":", 5)
    return name in context.call.world.current("sns", account, region, Kept).of("Topic")


def dimensions(given: list[Params]) -> list[Params]:
    """1 to 10 dimensions of different names."""
    names = [dimension["DimensionName"] for dimension in given]
    if not 1 <= len(given) <= MAX_DIMENSIONS or len(set(names)) != len(names):
        raise bad(f"A CloudWatch destination needs 1 to {MAX_DIMENSIONS} dimensions of different names.")
    for dimension in given:
        name, value = dimension["DimensionName"], dimension["DefaultDimensionValue"]
        if not re.fullmatch(r"[A-Za-z0-9_:-]{1,255}", name):
            raise bad(f"Dimension name <{name}> is not valid.")
        if not re.fullmatch(r"[A-Za-z0-9_.@-]{1,255}", value):
            raise bad(f"Default dimension value <{value}> is not valid.")
    return given


def check_arn(context: Context, arn: str, service: str) -> None:
    """An ARN of a service must be one, and of this region. Raises: ApiError."""
    match = re.fullmatch(rf"arn:[a-z-]+:{service}:([a-z0-9-]+):\d{{12}}:.+", arn)
    if match is None:
        raise bad(f"<{arn}> is not a valid {service} ARN.")
    if match.group(1) != context.call.region:
        raise bad(f"<{arn}> must be in the region {context.call.region}.")


def shown(context: Context, item: Item) -> Params:
    return {"Name": item.name, **item.body["EventDestination"]}


PLAIN = Plain(
    noun="ConfigurationSetEventDestination", key="EventDestinationName", words="event destination",
    parent="ConfigurationSet", listed=Listed("GetConfigurationSetEventDestinations", "EventDestinations"), quota=10,
    members={"EventDestination": definition}, show=shown,
    exists=("AlreadyExistsException", "{Words} <{name}> already exists in configuration set <{parent}>."),
    missing=("NotFoundException", "{Words} <{name}> does not exist in configuration set <{parent}>."),
    full=("LimitExceededException", "A configuration set can have at most {quota} event destinations."),
)  # fmt: skip
