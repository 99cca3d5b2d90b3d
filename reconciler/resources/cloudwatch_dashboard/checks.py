"""Values of dashboards. Source: CloudWatch API reference, "Dashboard body structure and syntax"."""

from __future__ import annotations

from reconciler.desired.checks.place import EntryContext
from reconciler.desired.nodes import show
from reconciler.model import Stack
from reconciler.resources.cloudwatch_dashboard import MOST_WIDGETS


def check(place: EntryContext, stack: Stack) -> None:
    """One dashboard."""
    body = place.values.get("body")
    if place.lacks("preset") and place.lacks("body"):
        place.error("", "missing-key", "a dashboard needs a preset or a body", "write one of them")
    elif body is not None and place.values.get("preset") is not None:
        place.error("body", "preset-and-body", "the preset draws a body of its own", "take one of the two out")
    widgets = body.get("widgets") if isinstance(body, dict) else None
    if widgets is None:
        return
    if not isinstance(widgets, list):
        place.error("body.widgets", "wrong-type", f"a list is wanted; found {show(widgets)}", "write widgets: [...]")
        return
    if len(widgets) > MOST_WIDGETS:
        place.error("body.widgets", "too-many", f"a dashboard has at most {MOST_WIDGETS} widgets; found {len(widgets)}",
                    "make several dashboards")  # fmt: skip
    for index, widget in enumerate(widgets):
        if not isinstance(widget, dict) or not isinstance(widget.get("type"), str):
            place.error(f"body.widgets.{index}", "wrong-type", "a widget is a map with a type", "write type: metric")
