"""What one check of the doctor says, and in which layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

OK: Final = "ok"
FOUND: Final = "found"
UNKNOWN: Final = "unknown"

LAYERS: Final = (
    "account", "configuration_set", "identity", "dns", "alignment", "smtp", "suppression", "reputation",
)  # fmt: skip
"""Each layer depends on those before it."""

ENOUGH: Final = 200
"""The number of messages from which a rate is reported."""
REVIEW_BOUNCES: Final = 0.05
REVIEW_COMPLAINTS: Final = 0.001
"""From these rates on SES reviews an account (SES Developer Guide, "Monitoring your sender reputation")."""

DELEGATION: Final = "delegation"
"""``about`` of a check that a zone is the one that public DNS asks; its ``domain`` is the zone."""

NOW, LATELY, ADVICE = 0, 1, 2
"""Ranks: mail is refused now; something of late that explains that it may be; what limits mail or will hurt it."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check. ``status``: ``ok``, ``found`` (something is wrong), ``unknown`` (it could not be checked).

    ``domain`` is empty for a check of the account or of a user, ``region`` for a global one. ``about`` is what it
    looked at, and ``subject`` which one where that is no domain: they lead from a symptom to its cause. ``cause`` is
    what the check that explains this one says. ``rank`` says which of several causes to fix first.
    """

    layer: str
    status: str
    message: str
    hint: str = ""
    domain: str = ""
    region: str = ""
    about: str = ""
    subject: str = ""
    rank: int = NOW
    cause: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "layer": self.layer, "status": self.status, "message": self.message, "hint": self.hint or None,
            "domain": self.domain or None, "region": self.region or None, "cause": self.cause or None,
        }  # fmt: skip
