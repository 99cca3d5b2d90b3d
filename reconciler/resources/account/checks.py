"""Values of the account settings."""

from __future__ import annotations

from reconciler.desired.checks.place import EntryContext
from reconciler.model import Stack
from reconciler.resources.spec import at_path


def check(place: EntryContext, stack: Stack) -> None:
    """The settings of one region."""
    path = "suppression_attributes.validation_attributes.condition_threshold"
    threshold = at_path(place.values, path)
    if isinstance(threshold, dict):
        verdict = at_path(threshold, "overall_confidence_threshold.confidence_verdict_threshold")
        if verdict is not None and threshold.get("condition_threshold_enabled") != "ENABLED":
            place.error(f"{path}.overall_confidence_threshold", "needs-enabled", "a verdict counts only while "
                        "recipients are checked", "write `condition_threshold_enabled: ENABLED`")  # fmt: skip
    details = place.values.get("details")
    for key in ("mail_type", "website_url"):
        if isinstance(details, dict) and details.get(key) is None:
            place.error("details", "missing-key", f"AWS does not take a request without {key}", f"write `{key}:`",
                        key)  # fmt: skip
