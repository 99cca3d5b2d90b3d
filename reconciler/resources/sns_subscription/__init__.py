"""Subscriptions of SNS topics. Source: SNS API reference, Subscribe and SetSubscriptionAttributes."""

from reconciler.resources.spec import CloudTrail, Field, Phrase, PlainSpec, Service, Words

PUT = "SetSubscriptionAttributes"

SPEC = PlainSpec(
    name="sns_subscription",
    words="SNS subscription",
    address=("REGION", "TOPIC", "PROTOCOL", "ENDPOINT"),
    parent="sns_topic",
    parent_key="subscriptions",
    item_key=("protocol", "endpoint"),
    about="Inside an SNS topic: a list of who gets its messages.",
    service=Service("sns", "sns"),
    anywhere=("sns:GetSubscriptionAttributes", "sns:SetSubscriptionAttributes", "sns:Unsubscribe"),
    taggable=False,
    no_fields=("protocol", "endpoint"),
    noun="Subscription",
    verbs={"Create": "Subscribe", "Get": "GetSubscriptionAttributes", "Update": PUT, "Delete": "Unsubscribe"},
    fields={
        "raw_message_delivery": Field(default=False, put=PUT),
        "filter_policy": Field(put=PUT),
        "filter_policy_scope": Field(default="MessageAttributes", put=PUT),
        "redrive_policy": Field(put=PUT),
        "delivery_policy": Field(put=PUT),
        "subscription_role_arn": Field(put=PUT),
    },
    trail=CloudTrail(made=("ConfirmSubscription",), naming=("endpoint",)),
    counts_deletes=False,
    cannot_move="a subscription has no name",
    says=Words(
        new=Phrase("{n} SNS subscription is made", "{n} SNS subscriptions are made", 236),
        changed=Phrase("{n} SNS subscription changes", "{n} SNS subscriptions change", 237),
        gone=Phrase("{n} SNS subscription ends", "{n} SNS subscriptions end", 395),
    ),
)

UNDECLARED = "undeclared_subscriptions"
"""Fact of a topic: its subscriptions that nobody declares, where they were read."""

CONFIRMED_BY_PEOPLE = ("email", "email-json", "http", "https")
"""Protocols whose subscriber confirms first (SNS Developer Guide, "Confirming a subscription")."""

TAKES_RAW = ("sqs", "http", "https", "firehose")
"""Protocols that take the message alone."""
