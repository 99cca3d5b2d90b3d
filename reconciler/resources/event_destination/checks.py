"""Values of event destinations.

Sources: SES API v2, EventDestinationDefinition and CloudWatchDimensionConfiguration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from reconciler.desired.checks.place import EntryContext
from reconciler.desired.nodes import show
from reconciler.regions import partition_of

MAX_DIMENSIONS: Final = 10

_DIMENSION_NAME = re.compile(r"[A-Za-z0-9_:-]{1,255}")
_DIMENSION_VALUE = re.compile(r"[A-Za-z0-9_@.-]{1,255}")
_ARN = re.compile(r"arn:(aws[a-z-]*):([a-z0-9-]+):([a-z0-9-]*):([0-9]*):(.+)")

DESTINATION_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "sns_destination": ("topic_arn",),
    "cloud_watch_destination": ("dimension_configurations",),
    "kinesis_firehose_destination": ("delivery_stream_arn", "iam_role_arn"),
    "event_bridge_destination": ("event_bus_arn",),
}
"""The kinds of event destination and what each needs (bc EventDestinationDefinition)."""
_ARN_SERVICES: Final = {
    "topic_arn": "sns", "delivery_stream_arn": "firehose", "iam_role_arn": "iam", "event_bus_arn": "events",
}  # fmt: skip


def check(place: EntryContext, path: str, destination: dict[str, Any]) -> None:
    """One destination of a configuration set; ``path`` is its place in the set's entry."""
    kinds = [kind for kind in DESTINATION_KINDS if kind in destination]
    if len(kinds) != 1:
        place.error(
            path, "exactly-one", f"exactly one of {', '.join(DESTINATION_KINDS)} is wanted; found "
            f"{', '.join(kinds) or 'none'}", "use one destination for each",
        )  # fmt: skip
    if "matching_event_types" not in destination:
        place.error(path, "missing-key", "matching_event_types is missing", "write such as [BOUNCE, COMPLAINT]")
    for kind in kinds:
        block = destination[kind]
        if not isinstance(block, dict):
            continue
        for key in DESTINATION_KINDS[kind]:
            if key not in block:
                place.error(f"{path}.{kind}", "missing-key", f"{key} is missing", f"write `{key}:`", key)
            elif key in _ARN_SERVICES and isinstance(block[key], str):
                _service_arn(place, f"{path}.{kind}.{key}", block[key], _ARN_SERVICES[key])
        _dimensions(place, f"{path}.{kind}.dimension_configurations", block.get("dimension_configurations"))


def _service_arn(place: EntryContext, path: str, arn: str, service: str) -> None:
    if service == "sns" and ":" not in arn:
        return  # the name of a declared topic
    match = _ARN.fullmatch(arn)
    if match is None or match.group(2) != service:
        region = "" if service == "iam" else "${region}"
        place.error(path, "bad-arn", f"{show(arn)} is not an ARN of {service}",
                    f'write "arn:${{partition}}:{service}:{region}:${{account}}:..."')  # fmt: skip
        return
    if place.region is None:
        return
    if match.group(1) != partition_of(place.region):
        place.error(path, "bad-arn", f"the ARN is of {match.group(1)}, the set of {partition_of(place.region)}",
                    "begin it with arn:${partition}:")  # fmt: skip
    elif service != "iam" and match.group(3) != place.region:
        place.error(
            path, "arn-of-another-region", f"the ARN is of {match.group(3) or 'no region'}, the set in {place.region}",
            "SES publishes within its region: write ${region} in the ARN, or by_region",
        )  # fmt: skip
    if service == "sns" and match.group(5).endswith(".fifo"):
        place.error(path, "fifo-topic", "SES does not publish to FIFO topics", "use a standard topic")
    if service == "events" and match.group(5) != "event-bus/default":
        place.error(path, "bad-arn", "SES sends to the default event bus only",
                    'write "arn:${partition}:events:${region}:${account}:event-bus/default"')  # fmt: skip


def _dimensions(place: EntryContext, path: str, dimensions: Any) -> None:
    if not isinstance(dimensions, list):
        return
    if len(dimensions) > MAX_DIMENSIONS:
        place.error(path, "too-many", f"{len(dimensions)} dimensions; SES takes {MAX_DIMENSIONS}", "leave some out")
    seen: set[str] = set()
    for index, dimension in enumerate(dimensions):
        name, value = dimension.get("dimension_name"), dimension.get("default_dimension_value")
        here = f"{path}.{index}"
        if isinstance(name, str):
            if not _DIMENSION_NAME.fullmatch(name):
                place.error(f"{here}.dimension_name", "bad-name", f"{show(name)} is not a name for a dimension",
                            "letters, digits, _ and -, or an automatic tag such as ses:from-domain")  # fmt: skip
            if name in seen:
                place.error(f"{here}.dimension_name", "repeated-item", f"the dimension {show(name)} is there twice",
                            "keep one of the two")  # fmt: skip
            seen.add(name)
        if isinstance(value, str) and not _DIMENSION_VALUE.fullmatch(value):
            place.error(f"{here}.default_dimension_value", "bad-name", f"{show(value)} is not the value of a dimension",
                        "letters, digits, _, -, @ and ., 255 at most")  # fmt: skip
