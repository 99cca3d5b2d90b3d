"""Values of subscriptions. Source: SNS API reference, Subscribe (Endpoint, RawMessageDelivery), SubscriptionRoleArn."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from reconciler.desired.checks.place import EntryContext
from reconciler.desired.nodes import show
from reconciler.resources.sns_subscription import TAKES_RAW

_FORMS: Final[Mapping[str, tuple[str, str]]] = {
    "email": (r"[^@\s]+@[^@\s]+\.[^@\s]+", "an address, such as ops@acme.com"),
    "http": (r"(?i)http://[^/\s]+.*", "a URL that begins with http://"),
    "https": (r"(?i)https://[^/\s]+.*", "a URL that begins with https://"),
    "sms": (r"\+?[0-9]{1,15}", "a number, such as +14155550100"),
    **{
        service: (rf"arn:[a-z-]+:{of}:[a-z0-9-]+:[0-9]{{12}}:.+", f"an ARN, such as {example}")
        for service, of, example in (
            ("sqs", "sqs", "arn:aws:sqs:${region}:${account}:events"),
            ("lambda", "lambda", "arn:aws:lambda:${region}:${account}:function:events"),
            ("firehose", "firehose", "arn:aws:firehose:${region}:${account}:deliverystream/events"),
            ("application", "sns", "arn:aws:sns:${region}:${account}:endpoint/..."),
        )
    },
}
"""Protocol -> the form of its endpoints, and how to write one."""


def check(place: EntryContext, path: str, values: dict[str, Any]) -> None:
    """One subscription of a topic."""
    protocol, endpoint = str(values.get("protocol")), values.get("endpoint")
    form, words = _FORMS.get(protocol.removesuffix("-json"), ("", ""))
    if form and isinstance(endpoint, str) and not re.fullmatch(form, endpoint):
        place.error(f"{path}.endpoint", "bad-format", f"{show(endpoint)} is no endpoint of {protocol}",
                    f"write {words}")  # fmt: skip
    if values.get("raw_message_delivery") is True and form and protocol not in TAKES_RAW:
        place.error(f"{path}.raw_message_delivery", "excluded", f"SNS has no raw delivery to {protocol}",
                    f"take it out; raw delivery is for {', '.join(TAKES_RAW)}")  # fmt: skip
    if protocol == "firehose" and not values.get("subscription_role_arn"):
        place.error(path, "missing-key", "SNS needs a role to write to Firehose", "write subscription_role_arn: ARN")
