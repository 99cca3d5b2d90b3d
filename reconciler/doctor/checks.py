"""One check of the doctor, and the order of the layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

OK: Final = "ok"
FOUND: Final = "found"
UNKNOWN: Final = "unknown"

LAYERS: Final = ("account", "identity", "dns", "alignment", "smtp", "suppression", "reputation")
"""Each layer depends on those before it: fix the first broken layer first."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check. ``status``: ``ok``, ``found`` (something is wrong), ``unknown`` (it could not be checked).

    ``domain`` is empty for a check of the account or of a user, ``region`` for a global one.
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
