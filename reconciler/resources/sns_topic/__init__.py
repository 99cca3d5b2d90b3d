"""SNS topics, and who may publish to them.

Source: SNS API reference, CreateTopic and SetTopicAttributes; SES Developer Guide, "Amazon SNS event destination";
CloudWatch User Guide, "Amazon SNS topics"; EventBridge User Guide, "Amazon SNS permissions".
"""

from reconciler.resources.spec import CloudTrail, Field, Phrase, PlainSpec, Section, Service, Words

PUT = "SetTopicAttributes"

SPEC = PlainSpec(
    name="sns_topic",
    words="SNS topic",
    sections=(
        Section(
            "sns_topics", "sns_topic", "SNS topics",
            "An SNS topic by its name. Where AWS wants the ARN of a topic, the name of one that is declared here "
            "will do.",
            "topics.yaml", place=60,
        ),
    ),
    remembers=("recon:subscriptions",),
    service=Service("sns", "sns", "sns"),
    quota=100_000,
    pattern=r"[A-Za-z0-9_-]{1,256}",
    pattern_words="1 to 256 letters, digits, - and _; SES does not publish to FIFO topics",
    key="Name",
    noun="Topic",
    verbs={"Get": "GetTopicAttributes", "Update": PUT},
    arn_key="TopicArn",
    exists_codes=("InvalidParameter", "InvalidParameterException"),
    tags_in_get=False,
    fields={
        "display_name": Field(within="Attributes", put=PUT, empty=""),
        "kms_master_key_id": Field(within="Attributes", put=PUT, empty=""),
        "signature_version": Field(within="Attributes", put=PUT, default="1"),
        "tracing_config": Field(within="Attributes", put=PUT, default="PassThrough"),
        "maximum_message_size": Field(within="Attributes", put=PUT, default=262_144),
        "delivery_policy": Field(within="Attributes", put=PUT),
        "publishers": Field(
            default=(), set_of=True, put=PUT, after_create=True, events=("AddPermission", "RemovePermission")
        ),
    },
    trail=CloudTrail(naming=("topicarn",)),
    cannot_move="its subscribers would be lost",
    says=Words(
        new=Phrase("{n} SNS topic is created", "{n} SNS topics are created", 234),
        changed=Phrase("{n} SNS topic changes", "{n} SNS topics change", 235),
        gone=Phrase("{n} SNS topic is deleted with its subscriptions", "{n} SNS topics are deleted with their "
                    "subscriptions", 396),
    ),
)  # fmt: skip

SERVICES = {"ses": "ses.amazonaws.com", "cloudwatch": "cloudwatch.amazonaws.com", "events": "events.amazonaws.com"}
"""What may be among the ``publishers`` -> its principal."""
