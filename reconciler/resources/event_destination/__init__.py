"""Event destinations: where the events of a configuration set are published."""

from reconciler.resources.spec import CloudTrail, Field, Named, Phrase, PlainSpec, Words

OPTIONS = (
    "sns_destination", "cloud_watch_destination", "kinesis_firehose_destination", "event_bridge_destination",
)  # fmt: skip
"""Where events may be sent: an event destination has one of these (SES API v2, EventDestinationDefinition)."""

SPEC = PlainSpec(
    name="event_destination",
    words="event destination",
    address=("REGION", "SET", "NAME"),
    parent="configuration_set",
    parent_key="event_destinations",
    about="Inside a configuration set: where its events are published, by name.",
    quota=10,
    pattern=r"[A-Za-z0-9_-]{1,64}",
    pattern_words="1 to 64 letters, digits, - and _",
    taggable=False,
    named=(Named("sns_destination.topic_arn", "sns_topic", "ses", "{user} still publishes to it"),),
    key="EventDestinationName",
    noun="ConfigurationSetEventDestination",
    fields={
        "enabled": Field(default=False, ours=True),
        "matching_event_types": Field(default=(), set_of=True),
        **dict.fromkeys(OPTIONS, Field()),
        "cloud_watch_destination": Field(sets=("dimension_configurations",)),
        "pinpoint_destination": Field(declared=False),
    },
    trail=CloudTrail(gone=("DeleteConfigurationSet",)),
    says=Words(
        new=Phrase("{n} event destination is added", "{n} event destinations are added", 190),
        changed=Phrase("{n} event destination changes", "{n} event destinations change", 200),
        gone=Phrase("{n} event destination is removed", "{n} event destinations are removed", 340),
    ),
    counts_deletes=False,
)
