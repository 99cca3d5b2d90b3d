"""What doctor says: one check, and the order of the layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

OK: Final = "ok"
FOUND: Final = "found"
UNKNOWN: Final = "unknown"

LAYERS: Final = ("account", "identity", "dns", "alignment", "smtp", "suppression", "reputation")
"""From what everything rests on to what rests on everything: the first layer that is broken is mended first."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. ``status``: ``ok``, ``found`` (something is wrong), ``unknown`` (could not look).

    ``domain`` is empty for what is the account's or a user's own; ``region`` where there is none.
    """

    layer: str
    status: str
    message: str
    hint: str = ""
    domain: str = ""
    region: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "layer": self.layer, "status": self.status, "message": self.message, "hint": self.hint or None,
            "domain": self.domain or None, "region": self.region or None,
        }  # fmt: skip
