"""Values of configuration sets with their event destinations, and of dedicated IP pools.

Sources: SES API v2 EventDestinationDefinition, CloudWatchDimensionConfiguration, TrackingOptions; SES Developer Guide
"Service quotas".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Final

from reconciler.desired.checks.forms import (
    POOL_NAME,
    POOL_NAME_WORDS,
    SET_NAME,
    SET_NAME_WORDS,
    SHARED_POOLS,
    check_reference,
)
from reconciler.desired.checks.place import EntryContext
from reconciler.desired.nodes import show
from reconciler.model import Stack
from reconciler.names import fold_domain
from reconciler.regions import partition_of

MAX_DESTINATIONS: Final = 10
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


def check_configuration_set(place: EntryContext, stack: Stack) -> None:
    """The options and destinations of one set in one region."""
    values = place.values
    if not SET_NAME.fullmatch(place.name):
        place.error("", "bad-name", f"{show(place.name)} is not a name for a configuration set", SET_NAME_WORDS)
    delivery = values.get("delivery_options")
    if isinstance(delivery, dict):
        check_reference(place, "delivery_options.sending_pool_name", delivery.get("sending_pool_name"), POOL_NAME)
    tracking = values.get("tracking_options")
    if isinstance(tracking, dict):
        _tracking(place, tracking)
    archiving = values.get("archiving_options")
    archive = archiving.get("archive_arn") if isinstance(archiving, dict) else None
    if isinstance(archive, str) and ":mailmanager-archive/" not in archive:
        place.warn("archiving_options.archive_arn", "bad-arn", f"{show(archive)} is not the ARN of an archive",
                    "write arn:aws:ses:REGION:ACCOUNT:mailmanager-archive/a-...")  # fmt: skip
    destinations = values.get("event_destinations")
    if not isinstance(destinations, dict):
        return
    if len(destinations) > MAX_DESTINATIONS:
        place.error("event_destinations", "too-many", f"{len(destinations)} event destinations; SES takes "
                    f"{MAX_DESTINATIONS} a set", "send several kinds of event to one destination")  # fmt: skip
    for name, destination in destinations.items():
        path = f"event_destinations.{name}"
        if not SET_NAME.fullmatch(name):
            place.error(path, "bad-name", f"{show(name)} is not a name for an event destination", SET_NAME_WORDS)
        if isinstance(destination, dict):
            _destination(place, path, destination)


def _tracking(place: EntryContext, tracking: dict[str, Any]) -> None:
    name = tracking.get("custom_redirect_domain")
    path = "tracking_options.custom_redirect_domain"
    if isinstance(name, str):
        try:
            tracking["custom_redirect_domain"] = fold_domain(name)
        except ValueError as error:
            place.error(path, "bad-name", str(error), 'write a host name, such as "click-${region}.acme.com"')
    elif tracking.get("https_policy") is not None:
        place.error(
            "tracking_options.https_policy", "missing-key", "https_policy needs a custom_redirect_domain",
            "write `custom_redirect_domain:`, or take https_policy out",
        )  # fmt: skip


def _destination(place: EntryContext, path: str, destination: dict[str, Any]) -> None:
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
                place.error(f"{here}.dimension_name", "repeated-item", f"the dimension {show(name)} stands twice",
                            "keep one of the two")  # fmt: skip
            seen.add(name)
        if isinstance(value, str) and not _DIMENSION_VALUE.fullmatch(value):
            place.error(f"{here}.default_dimension_value", "bad-name", f"{show(value)} is no value of a dimension",
                        "letters, digits, _, -, @ and ., 255 at most")  # fmt: skip


# --- pools ---------------------------------------------------------------------------------------------------------


def check_pool(place: EntryContext, stack: Stack) -> None:
    """One pool in one region."""
    if not POOL_NAME.fullmatch(place.name):
        place.error("", "bad-name", f"{show(place.name)} is not a name for a pool", POOL_NAME_WORDS)
    elif place.name in SHARED_POOLS:
        place.error("", "bad-name", f"{place.name} is AWS's own pool", "choose another name")
    ips = place.values.get("dedicated_ips")
    if not isinstance(ips, list):
        return
    if ips and place.values.get("scaling_mode") == "MANAGED":
        place.error("dedicated_ips", "managed-pool-ips", "SES itself chooses the IPs of a MANAGED pool",
                    "take dedicated_ips out, or write `scaling_mode: STANDARD`")  # fmt: skip
    for index, ip in enumerate(ips):
        try:
            ipaddress.IPv4Address(ip)
        except ValueError:
            place.error(
                f"dedicated_ips.{index}", "bad-network", f"{show(ip)} is not an IPv4 address", "such as 192.0.2.1"
            )
