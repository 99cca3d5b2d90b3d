"""CloudTrail: trails, and LookupEvents over the sandbox's own ledger: who changed what, and when.

No trail writes anything, and events can be looked up without one, as in AWS. Management events of IAM and Route 53
appear in us-east-1, SES's in their region. Source: CloudTrail API reference, DescribeTrails, LookupEvents (one
attribute, 50 events a page, newest first, the last 90 days).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from reconciler.sandbox.faults import GLOBAL, Ledger
from reconciler.sandbox.protocol import ApiError, Params, page
from reconciler.sandbox.world import Call, World, moment

SOURCES: Final = {"sesv2": "ses"}
PAGE: Final = 50
DAYS: Final = 90


@dataclass
class Trails:
    """The trails of an account, which it sees in every region that they log, by ARN."""

    trails: dict[str, Params] = field(default_factory=dict)


class CloudTrail:
    """LookupEvents and trails; other operations of CloudTrail come from moto."""

    name = "cloudtrail"

    def __init__(self, world: World, ledger: Ledger) -> None:
        self.world = world
        self.ledger = ledger

    # --- trails ----------------------------------------------------------------------------------------------------

    def _trails(self, call: Call) -> dict[str, Params]:
        return self.world.state(call, self.name, Trails, region="").trails

    def _trail(self, call: Call, name: str) -> Params:
        home = call.arn(self.name, f"trail/{name}")
        found = self._trails(call).get(name if name.startswith("arn:") else home)
        if found is None:
            raise ApiError("TrailNotFoundException", f"Unknown trail: {name} for the user: {call.account}", 400)
        return found

    def create_trail(self, call: Call, params: Params) -> Params:
        """A new trail logs nothing until ``StartLogging``."""
        arn = call.arn(self.name, f"trail/{params['Name']}")
        made = {
            "Name": params["Name"], "S3BucketName": params["S3BucketName"], "TrailARN": arn,
            "IncludeGlobalServiceEvents": params.get("IncludeGlobalServiceEvents", True),
            "IsMultiRegionTrail": params.get("IsMultiRegionTrail", False), "IsOrganizationTrail": False,
        }  # fmt: skip
        self._trails(call)[arn] = {**made, "HomeRegion": call.region, "logging": False, "selectors": {}}
        return made

    def start_logging(self, call: Call, params: Params) -> Params:
        self._trail(call, params["Name"])["logging"] = True
        return {}

    def stop_logging(self, call: Call, params: Params) -> Params:
        self._trail(call, params["Name"])["logging"] = False
        return {}

    def delete_trail(self, call: Call, params: Params) -> Params:
        del self._trails(call)[self._trail(call, params["Name"])["TrailARN"]]
        return {}

    def put_event_selectors(self, call: Call, params: Params) -> Params:
        trail = self._trail(call, params["TrailName"])
        trail["selectors"] = {k: params[k] for k in ("EventSelectors", "AdvancedEventSelectors") if params.get(k)}
        return self.get_event_selectors(call, params)

    def get_event_selectors(self, call: Call, params: Params) -> Params:
        trail = self._trail(call, params["TrailName"])
        usual = {"EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": True, "DataResources": []}]}
        return {"TrailARN": trail["TrailARN"], **(trail["selectors"] or usual)}

    def describe_trails(self, call: Call, params: Params) -> Params:
        """Those of the region, and unless they are left out the shadows of those that log in all regions."""
        shadows = params.get("includeShadowTrails", True)
        found = [
            {key: value for key, value in trail.items() if key not in ("logging", "selectors")}
            for trail in self._trails(call).values()
            if trail["HomeRegion"] == call.region or (shadows and trail["IsMultiRegionTrail"])
        ]
        return {"trailList": found}

    def get_trail_status(self, call: Call, params: Params) -> Params:
        return {"IsLogging": self._trail(call, params["Name"])["logging"]}

    # --- events ----------------------------------------------------------------------------------------------------

    def lookup_events(self, call: Call, params: Params) -> Params:
        attributes = params.get("LookupAttributes", [])
        if len(attributes) > 1:
            raise ApiError("InvalidLookupAttributesException", "You can use only one lookup attribute.", 400)
        start = params["StartTime"].timestamp() if "StartTime" in params else 0.0
        end = params["EndTime"].timestamp() if "EndTime" in params else float("inf")
        oldest = call.now - DAYS * 86400
        rows = []
        for entry in reversed(self.ledger.entries):
            home = "us-east-1" if entry["service"] in GLOBAL else entry["region"]
            if (
                entry["account"] != call.account
                or home != call.region
                or not max(start, oldest) <= entry["time"] <= end
            ):
                continue
            if entry["service"] == "cloudtrail" or entry["error"] in ("reset",):
                continue
            event = _event(entry)
            if all(_has(event, a["AttributeKey"], a["AttributeValue"]) for a in attributes):
                rows.append(event)
        chosen, token = page(rows, params.get("NextToken"), params.get("MaxResults"), PAGE)
        return {"Events": chosen, "NextToken": token}


def _event(entry: dict[str, Any]) -> dict[str, Any]:
    source = f"{SOURCES.get(entry['service'], entry['service'])}.amazonaws.com"
    user = entry["arn"].rpartition("/")[2] if "/" in entry["arn"] else "root"
    resources = [
        {"ResourceName": value}
        for key, value in entry["params"].items()
        if isinstance(value, str) and key.endswith(("Name", "Identity", "Id", "Arn", "PoolName"))
    ]
    detail = {
        "eventVersion": "1.10", "eventTime": moment(entry["time"]).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "eventSource": source, "eventName": entry["operation"], "awsRegion": entry["region"],
        "userIdentity": {"arn": entry["arn"], "accountId": entry["account"], "accessKeyId": entry["access_key"]},
        "requestParameters": _shown(entry["params"]), "eventID": entry["id"], "readOnly": entry["reads_only"],
        "userAgent": entry["user_agent"], "sourceIPAddress": "127.0.0.1", "recipientAccountId": entry["account"],
    }  # fmt: skip
    if entry["error"]:
        detail["errorCode"] = entry["error"]
    return {
        "EventId": entry["id"], "EventName": entry["operation"], "ReadOnly": str(entry["reads_only"]).lower(),
        "AccessKeyId": entry["access_key"], "EventTime": moment(entry["time"]), "EventSource": source,
        "Username": user, "Resources": resources, "CloudTrailEvent": json.dumps(detail, default=str),
    }  # fmt: skip


def _shown(params: Params) -> Params:
    """The parameters of a request; the address that SNS sends mail to is hidden (seen in 2024)."""
    hidden = {"Endpoint": "HIDDEN_DUE_TO_SECURITY_REASONS"} if params.get("Protocol") in ("email", "email-json") else {}
    return {**params, **hidden}


def _has(event: dict[str, Any], key: str, value: str) -> bool:
    if key == "ResourceName":
        return any(r["ResourceName"] == value for r in event["Resources"])
    if key == "ResourceType":
        return False
    return bool(event.get(key) == value)
