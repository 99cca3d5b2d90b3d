"""Questions to CloudTrail's history, and what a kind recognises in the events that answer them.

Source: CloudTrail API reference, LookupEvents (one attribute a look-up); CloudTrail User Guide, "CloudTrail record
contents" (``requestParameters``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Said = Sequence[tuple[str, str]]
"""What the request of an event says: every text in its parameters, and the key that holds it; both in lower case."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """One look-up of events in a region; ``region`` is empty for the global services, IAM and Route 53."""

    region: str
    attribute: Literal["EventName", "ResourceName"]
    value: str
    dns: bool = False
    """Whether the account that holds the zones is asked, where that is another."""


def said_under(said: Said, *keys: str) -> set[str]:
    """The texts of a request that have one of ``keys``."""
    return {text for key, text in said if key in keys}


_ITEMS: Final = {"tags": ("key", "tagkeys"), "policies": ("policyname",)}


def names_item(said: Said, path: str) -> bool:
    """Whether a request is about the tag or policy at ``path`` (``tags.team``), where it says which it is about."""
    field, _, item = path.partition(".")
    named = said_under(said, *_ITEMS.get(field, ()))
    return not named or not item or any(item.lower() == one or item.lower().startswith(f"{one}.") for one in named)
