"""Amazon SNS: topics with their attributes, policies and tags.

A policy is kept as it was given, and read back with another spacing and order of keys. Source: SNS API reference;
SNS Developer Guide, "Default access policy"; what CreateTopic answers to a topic that exists was seen in 2024.
"""

from __future__ import annotations

import json
import re
from typing import Any

from reconciler.sandbox.kept import KeptService, Noun, with_tags
from reconciler.sandbox.protocol import ApiError, Params, page
from reconciler.sandbox.ses_state import Item
from reconciler.sandbox.world import Call

SETTABLE = ("DisplayName", "Policy", "DeliveryPolicy", "KmsMasterKeyId", "SignatureVersion", "TracingConfig",
            "MaximumMessageSize")  # fmt: skip
ACTIONS = ("GetTopicAttributes", "SetTopicAttributes", "AddPermission", "RemovePermission", "DeleteTopic", "Subscribe",
           "ListSubscriptionsByTopic", "Publish")  # fmt: skip


def invalid(message: str) -> ApiError:
    return ApiError("InvalidParameter", f"Invalid parameter: {message}", 400)


def default_policy(call: Call, arn: str) -> dict[str, Any]:
    """What a topic has until somebody sets a policy."""
    return {
        "Version": "2008-10-17",
        "Id": "__default_policy_ID",
        "Statement": [
            {
                "Sid": "__default_statement_ID", "Effect": "Allow", "Principal": {"AWS": "*"},
                "Action": [f"SNS:{action}" for action in ACTIONS], "Resource": arn,
                "Condition": {"StringEquals": {"AWS:SourceOwner": call.account}},
            }
        ],
    }  # fmt: skip


class Sns(KeptService):
    name = "sns"
    nouns = {"Topic": Noun("", "sns")}
    names = {"Name": "Topic"}
    arns = ("ResourceArn", "TopicArn", "TargetArn")
    not_found = ("ResourceNotFound", "Resource does not exist", 404)

    def _topic(self, call: Call, arn: str) -> Item:
        found = self.kept(call).of("Topic").get(arn.rpartition(":")[2])
        if found is None or arn != self.arn(call, "Topic", found.name):
            raise ApiError("NotFound", "Topic does not exist", 404)
        return found

    def create_topic(self, call: Call, params: Params) -> Params:
        name, topics = params["Name"], self.kept(call).of("Topic")
        arn, given, tags = self.arn(call, "Topic", name), params.get("Attributes") or {}, params.get("Tags") or []
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", name):
            raise invalid("Topic Name")
        there = topics.get(name)
        if there is not None:
            shown = self._shown(call, there)
            usual = {"SignatureVersion": "1", "TracingConfig": "PassThrough", **shown}
            if any(usual.get(key, "") != value for key, value in given.items()):
                raise invalid("Attributes Reason: Topic already exists with different attributes")
            if any(there.tags.get(tag["Key"]) != tag["Value"] for tag in tags):
                raise invalid("Tags Reason: Topic already exists with different tags")
            return {"TopicArn": arn}
        item = Item(name, call.now, call.now, {"Policy": default_policy(call, arn)}, with_tags({}, tags))
        for key, value in given.items():
            self._set(item, key, value)
        topics[name] = item
        return {"TopicArn": arn}

    def _set(self, item: Item, key: str, value: str) -> None:
        if key not in SETTABLE:
            raise invalid("AttributeName")
        if key in ("Policy", "DeliveryPolicy"):
            try:
                stored: Any = json.loads(value)
            except ValueError:
                raise invalid(f"{key} Error: null") from None
            if key == "Policy":
                sids = [statement.get("Sid") for statement in stored["Statement"]]
                if len(set(sids)) < len(sids):
                    raise invalid("Policy statements must have unique Sids")
            item.body[key] = stored
            return
        ranges = {"SignatureVersion": ("1", "2"), "TracingConfig": ("PassThrough", "Active")}
        if key in ranges and value not in ranges[key]:
            raise invalid(key)
        if key == "MaximumMessageSize" and not 1024 <= int(value) <= 1_048_576:
            raise invalid(key)
        item.body[key] = value
        if value == "" or (key in ranges and value == ranges[key][0]):
            item.body.pop(key)

    def _shown(self, call: Call, item: Item) -> dict[str, str]:
        texts = {k: json.dumps(v, sort_keys=True) if isinstance(v, dict) else v for k, v in item.body.items()}
        effective = json.dumps({"http": {"defaultHealthyRetryPolicy": {"numRetries": 3}}})
        return {
            "TopicArn": self.arn(call, "Topic", item.name), "Owner": call.account, "DisplayName": "",
            "EffectiveDeliveryPolicy": effective, "SubscriptionsConfirmed": "0", "SubscriptionsPending": "0",
            "SubscriptionsDeleted": "0", **texts,
        }  # fmt: skip

    def get_topic_attributes(self, call: Call, params: Params) -> Params:
        return {"Attributes": self._shown(call, self._topic(call, params["TopicArn"]))}

    def set_topic_attributes(self, call: Call, params: Params) -> Params:
        self._set(self._topic(call, params["TopicArn"]), params["AttributeName"], params.get("AttributeValue", ""))
        return {}

    def delete_topic(self, call: Call, params: Params) -> Params:
        """Deleting one that does not exist succeeds."""
        self.kept(call).of("Topic").pop(params["TopicArn"].rpartition(":")[2], None)
        return {}

    def list_topics(self, call: Call, params: Params) -> Params:
        rows, token = page(sorted(self.kept(call).of("Topic")), params.get("NextToken"), 100, 100)
        return {"Topics": [{"TopicArn": self.arn(call, "Topic", name)} for name in rows], "NextToken": token}

    def publish(self, call: Call, params: Params) -> Params:
        self._topic(call, params.get("TopicArn") or params["TargetArn"])
        return {"MessageId": self.world.token(32, "0123456789abcdef")}


SERVICE = Sns
