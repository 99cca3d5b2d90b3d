"""CloudTrail's LookupEvents over the sandbox's own ledger: who changed what, and when.

Management events of IAM and Route 53 appear in us-east-1, SES's in their region. Source: CloudTrail API reference,
LookupEvents (one attribute, 50 events a page, newest first, the last 90 days).
"""

from __future__ import annotations

import json
from typing import Any, Final

from reconciler.sandbox.faults import GLOBAL, Ledger
from reconciler.sandbox.protocol import ApiError, Params, page
from reconciler.sandbox.world import Call, World, moment

SOURCES: Final = {"sesv2": "ses"}
PAGE: Final = 50
DAYS: Final = 90


class CloudTrail:
    """LookupEvents; other operations of CloudTrail come from moto."""

    name = "cloudtrail"

    def __init__(self, world: World, ledger: Ledger) -> None:
        self.world = world
        self.ledger = ledger

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
        "requestParameters": entry["params"], "eventID": entry["id"], "readOnly": entry["reads_only"],
        "userAgent": entry["user_agent"], "sourceIPAddress": "127.0.0.1", "recipientAccountId": entry["account"],
    }  # fmt: skip
    if entry["error"]:
        detail["errorCode"] = entry["error"]
    return {
        "EventId": entry["id"], "EventName": entry["operation"], "ReadOnly": str(entry["reads_only"]).lower(),
        "AccessKeyId": entry["access_key"], "EventTime": moment(entry["time"]), "EventSource": source,
        "Username": user, "Resources": resources, "CloudTrailEvent": json.dumps(detail, default=str),
    }  # fmt: skip


def _has(event: dict[str, Any], key: str, value: str) -> bool:
    if key == "ResourceName":
        return any(r["ResourceName"] == value for r in event["Resources"])
    if key == "ResourceType":
        return False
    return bool(event.get(key) == value)
