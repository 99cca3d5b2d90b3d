"""Amazon SNS: topics with their attributes, policies and tags, and their subscriptions.

A policy is kept as it was given, and read back with another spacing and order of keys. Source: SNS API reference;
SNS Developer Guide, "Default access policy"; what CreateTopic answers to a topic that exists was seen in 2024.
"""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

from reconciler.sandbox.kept import KeptService, Noun, with_tags
from reconciler.sandbox.protocol import ApiError, Params, page
from reconciler.sandbox.ses_state import Item
from reconciler.sandbox.world import Call

SETTABLE = ("DisplayName", "Policy", "DeliveryPolicy", "KmsMasterKeyId", "SignatureVersion", "TracingConfig",
            "MaximumMessageSize")  # fmt: skip
ACTIONS = ("GetTopicAttributes", "SetTopicAttributes", "AddPermission", "RemovePermission", "DeleteTopic", "Subscribe",
           "ListSubscriptionsByTopic", "Publish")  # fmt: skip


PROTOCOLS = ("email", "email-json", "http", "https", "sms", "sqs", "lambda", "firehose", "application")
PENDING = "PendingConfirmation"
OWN = ("RawMessageDelivery", "FilterPolicy", "FilterPolicyScope", "RedrivePolicy", "DeliveryPolicy",
       "SubscriptionRoleArn")  # fmt: skip
"""Attributes of a subscription that can be set."""


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
        held = self._held(call, item).values()
        waiting = sum(1 for one in held if one.body.get("Pending"))
        effective = json.dumps({"http": {"defaultHealthyRetryPolicy": {"numRetries": 3}}})
        return {
            "TopicArn": self.arn(call, "Topic", item.name), "Owner": call.account, "DisplayName": "",
            "EffectiveDeliveryPolicy": effective, "SubscriptionsConfirmed": str(len(held) - waiting),
            "SubscriptionsPending": str(waiting),
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

    # --- subscriptions ---------------------------------------------------------------------------------------------

    def _held(self, call: Call, topic: Item) -> dict[str, Item]:
        """The subscriptions of a topic, without those that waited for three days (seen in 2020)."""
        held = topic.of("Subscription")
        for name in [n for n, one in held.items() if one.body.get("Pending") and call.now - one.created > 3 * 86_400]:
            del held[name]
        return held

    def _subscription(self, call: Call, arn: str) -> tuple[dict[str, Item], Item]:
        for topic in self.kept(call).of("Topic").values():
            for item in self._held(call, topic).values():
                if self._own_arn(call, topic, item) == arn:
                    return self._held(call, topic), item
        raise ApiError("NotFound", "Subscription does not exist", 404)

    def _own_arn(self, call: Call, topic: Item, item: Item) -> str:
        return f"{self.arn(call, 'Topic', topic.name)}:{uuid.uuid5(uuid.NAMESPACE_URL, item.name)}"

    def subscribe(self, call: Call, params: Params) -> Params:
        """Who is behind an address or a URL confirms first. The same again is the same subscription."""
        topic = self._topic(call, params["TopicArn"])
        protocol, endpoint, given = params["Protocol"], params.get("Endpoint", ""), params.get("Attributes") or {}
        if protocol not in PROTOCOLS:
            raise invalid(f"Amazon SNS does not support this protocol string: {protocol}")
        held, name = self._held(call, topic), f"{protocol}/{endpoint}"
        there = held.get(name)
        if there is not None and any(there.body.get(key, "") != value for key, value in given.items() if value):
            raise invalid("Attributes Reason: Subscription already exists with different attributes")
        if there is None:
            waits = protocol in ("email", "email-json", "http", "https")
            there = Item(name, call.now, call.now, {"Pending": True} if waits else {})
            for key, value in given.items():
                self._set_own(there, key, value)
            held[name] = there
        shown = not there.body.get("Pending") or params.get("ReturnSubscriptionArn")
        return {"SubscriptionArn": self._own_arn(call, topic, there) if shown else "pending confirmation"}

    def _set_own(self, item: Item, key: str, value: str) -> None:
        if key not in OWN:
            raise invalid("AttributeName")
        if key == "RawMessageDelivery" and item.name.split("/")[0] not in ("sqs", "http", "https", "firehose"):
            raise invalid("Attributes Reason: RawMessageDelivery: not supported for the protocol")
        if value and key.endswith("Policy"):
            json.loads(value)
        item.body[key] = value
        if value in ("", "false", "MessageAttributes"):
            item.body.pop(key)

    def list_subscriptions_by_topic(self, call: Call, params: Params) -> Params:
        topic = self._topic(call, params["TopicArn"])
        rows, token = page(list(self._held(call, topic).values()), params.get("NextToken"), 100, 100)
        shown = [
            {
                "SubscriptionArn": self._own_arn(call, topic, one) if not one.body.get("Pending") else PENDING,
                "Owner": call.account, "Protocol": one.name.partition("/")[0], "Endpoint": one.name.partition("/")[2],
                "TopicArn": params["TopicArn"],
            }
            for one in rows
        ]  # fmt: skip
        return {"Subscriptions": shown, "NextToken": token}

    def get_subscription_attributes(self, call: Call, params: Params) -> Params:
        _, item = self._subscription(call, params["SubscriptionArn"])
        texts = {key: value for key, value in item.body.items() if key != "Pending"}
        scope = {"FilterPolicyScope": "MessageAttributes"} if "FilterPolicy" in texts else {}
        protocol, _, endpoint = item.name.partition("/")
        return {
            "Attributes": {
                "SubscriptionArn": params["SubscriptionArn"], "Owner": call.account, "Protocol": protocol,
                "Endpoint": endpoint, "RawMessageDelivery": "false", **scope, **texts,
                "PendingConfirmation": str(bool(item.body.get("Pending"))).lower(),
            }
        }  # fmt: skip

    def set_subscription_attributes(self, call: Call, params: Params) -> Params:
        _, item = self._subscription(call, params["SubscriptionArn"])
        self._set_own(item, params["AttributeName"], params.get("AttributeValue", ""))
        return {}

    def unsubscribe(self, call: Call, params: Params) -> Params:
        if not params["SubscriptionArn"].startswith("arn:"):
            raise invalid("SubscriptionArn Reason: An ARN must have at least 6 elements, not 1")
        held, item = self._subscription(call, params["SubscriptionArn"])
        del held[item.name]
        return {}

    def publish(self, call: Call, params: Params) -> Params:
        self._topic(call, params.get("TopicArn") or params["TargetArn"])
        return {"MessageId": self.world.token(32, "0123456789abcdef")}


SERVICE = Sns
