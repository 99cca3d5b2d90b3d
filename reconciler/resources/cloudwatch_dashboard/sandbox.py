"""CloudWatch dashboards: an account has them for all regions, and a body is kept as it was sent.

Source: CloudWatch API reference, PutDashboard, GetDashboard, ListDashboards and DeleteDashboards, "Dashboard body
structure and syntax".
"""

from __future__ import annotations

import json
import re
from typing import Any

from reconciler.sandbox.kept import KeptService, Noun, with_tags
from reconciler.sandbox.protocol import ApiError, Params, page
from reconciler.sandbox.ses_state import Item
from reconciler.sandbox.world import Call, moment

TYPES = ("metric", "text", "log", "alarm", "explorer", "custom")
MOST = 500


class Dashboards(KeptService):
    name = "cloudwatch"
    signed_as = "monitoring"
    nouns = {"Dashboard": Noun("dashboard/", "cloudwatch:dashboard", anywhere=True)}
    names = {"DashboardName": "Dashboard", "DashboardNames": "Dashboard"}
    arns = ("ResourceARN",)

    def put_dashboard(self, call: Call, params: Params) -> Params:
        """Replaces the body; tags count for a new one alone."""
        name, dashboards = params["DashboardName"], self.of(call, "Dashboard")
        problems = list(_problems(params["DashboardBody"]))
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", name):
            problems.append(("", "The field DashboardName must match [A-Za-z0-9_-]"))
        if problems:
            shown = [{"DataPath": path, "Message": message} for path, message in problems]
            raise ApiError(
                "InvalidParameterInput", f"The dashboard body is invalid, there are {len(shown)} validation errors",
                400, dashboardValidationMessages=shown,
            )  # fmt: skip
        there = dashboards.get(name)
        if there is None:
            there = dashboards[name] = Item(name, call.now, call.now, {}, with_tags({}, params.get("Tags") or []))
        there.body, there.updated = {"DashboardBody": params["DashboardBody"]}, call.now
        return {"DashboardValidationMessages": []}

    def _dashboard(self, call: Call, name: str) -> Item:
        found = self.of(call, "Dashboard").get(name)
        if found is None:
            raise ApiError("ResourceNotFound", f"Dashboard {name} does not exist", 404)
        return found

    def get_dashboard(self, call: Call, params: Params) -> Params:
        found = self._dashboard(call, params["DashboardName"])
        return {"DashboardArn": self.arn(call, "Dashboard", found.name), "DashboardName": found.name, **found.body}

    def list_dashboards(self, call: Call, params: Params) -> Params:
        prefix = params.get("DashboardNamePrefix", "")
        found = [one for name, one in sorted(self.of(call, "Dashboard").items()) if name.startswith(prefix)]
        rows, token = page(found, params.get("NextToken"), 1000, 1000)
        shown = [
            {
                "DashboardName": one.name, "DashboardArn": self.arn(call, "Dashboard", one.name),
                "LastModified": moment(one.updated), "Size": len(one.body["DashboardBody"].encode()),
            }
            for one in rows
        ]  # fmt: skip
        return {"DashboardEntries": shown, "NextToken": token}

    def delete_dashboards(self, call: Call, params: Params) -> Params:
        """All of them or none."""
        for name in params["DashboardNames"]:
            self._dashboard(call, name)
        for name in params["DashboardNames"]:
            del self.of(call, "Dashboard")[name]
        return {}


def _problems(text: str) -> Any:
    """What CloudWatch finds wrong in a body: (path, message)."""
    try:
        found = json.loads(text)
    except ValueError:
        yield "", "The field DashboardBody must be a valid JSON object"
        return
    widgets = found.get("widgets") if isinstance(found, dict) else None
    if not isinstance(widgets, list):
        yield "/widgets", "Should be an array"
        return
    if len(widgets) > MOST:
        yield "/widgets", f"Should NOT have more than {MOST} items"
    for number, widget in enumerate(widgets):
        kind, drawn = widget.get("type"), widget.get("properties")
        if kind not in TYPES:
            yield f"/widgets/{number}/type", f"Should be equal to one of the allowed values: {', '.join(TYPES)}"
        elif not isinstance(drawn, dict):
            yield f"/widgets/{number}", "Should have required property 'properties'"
        elif kind == "metric" and not ("region" in drawn and ("metrics" in drawn or "annotations" in drawn)):
            yield f"/widgets/{number}/properties", "Should have required properties 'region' and 'metrics'"
        elif kind == "text" and "markdown" not in drawn:
            yield f"/widgets/{number}/properties", "Should have required property 'markdown'"


SERVICE = Dashboards
