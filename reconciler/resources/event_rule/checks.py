"""Values of event rules. Source: EventBridge API reference, PutRule; EventBridge User Guide, "Targets"."""

from __future__ import annotations

import json
from typing import Any

from reconciler.desired.checks.place import EntryContext
from reconciler.desired.nodes import show
from reconciler.model import Stack
from reconciler.resources.event_rule import MOST_CHARACTERS


def check(place: EntryContext, stack: Stack) -> None:
    """One rule in one region."""
    pattern = place.values.get("event_pattern")
    if place.lacks("preset") and place.lacks("event_pattern"):
        place.error("", "missing-key", "a rule needs a preset or an event_pattern", "write one of them")
    elif pattern is not None and place.values.get("preset") is not None:
        place.error("event_pattern", "preset-and-pattern", "the preset has a pattern of its own", "take one of the "
                    "two out")  # fmt: skip
    if isinstance(pattern, dict):
        length = len(json.dumps(pattern, separators=(",", ":"), ensure_ascii=False))
        if length > MOST_CHARACTERS:
            place.error("event_pattern", "too-long", f"as JSON it has {length:,} characters; EventBridge allows "
                        f"{MOST_CHARACTERS:,}", "match by a prefix, or make several rules")  # fmt: skip
        _leaves(place, "event_pattern", pattern)
    for index, text in enumerate(place.values.get("targets") or ()):
        parts = str(text).split(":")
        if len(parts) > 5 and parts[2] == "sns" and place.region and parts[3] != place.region:
            place.error(f"targets.{index}", "wrong-region", f"{text} is not in {place.region}: a rule sends to topics "
                        "of its own region alone", "name a topic there")  # fmt: skip


def _leaves(place: EntryContext, path: str, pattern: dict[str, Any]) -> None:
    """Maps all the way down, whose leaves are lists that are not empty."""
    for key, value in pattern.items():
        if isinstance(value, dict) and value:
            _leaves(place, f"{path}.{key}", value)
        elif not isinstance(value, list) or not value:
            place.error(f"{path}.{key}", "wrong-type", f"a pattern has lists of what it matches; found {show(value)}",
                        f"write {key}: [...]")  # fmt: skip
