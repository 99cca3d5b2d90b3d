"""EventBridge rules of the default bus, and where they send what they match.

Source: EventBridge API reference, PutRule and PutTargets; EventBridge User Guide, "Amazon EventBridge quotas".
"""

from reconciler.resources.spec import CloudTrail, Field, Named, Phrase, PlainSpec, Section, Service, Words

AT_HOME = ("iam_access_keys", "dns_changes")
"""Presets whose events arrive in the region of the partition's global services alone."""

MOST_TARGETS = 5

SPEC = PlainSpec(
    name="event_rule",
    words="event rule",
    sections=(
        Section(
            "event_rules", "event_rule", "Event rules",
            "An EventBridge rule by its name: who is told when somebody changes access keys of SMTP users, SES or DNS.",
            "watching.yaml", place=80, at_home={"preset": AT_HOME},
        ),
    ),
    named=(Named("targets", "sns_topic", "events", "{user} still publishes to it"),),
    service=Service("events", "events", "events:rule", "rule/", "ResourceARN", deletes=("RemoveTargets",)),
    quota=300,
    pattern=r"[.\-_A-Za-z0-9]{1,64}",
    pattern_words="1 to 64 letters, digits, - _ and .",
    listed=("ListRules", "Rules", "Name"),
    anywhere=("cloudtrail:DescribeTrails", "cloudtrail:GetTrailStatus", "cloudtrail:GetEventSelectors"),
    key="Name",
    verbs={"Create": "PutRule", "Get": "DescribeRule", "Update": "PutRule", "Delete": "DeleteRule"},
    tags_in_get=False,
    no_fields=("preset", "input_transformer"),
    fields={
        "event_pattern": Field(),
        "description": Field(),
        "state": Field(default="ENABLED", ours="ENABLED", events=("EnableRule", "DisableRule")),
        "schedule_expression": Field(declared=False),
        "role_arn": Field(declared=False),
        "targets": Field(
            put="PutTargets", after_create=True, read="events:ListTargetsByRule", remembered=True,
            events=("RemoveTargets",),
        ),
    },
    trail=CloudTrail(naming=("rule",)),
    cannot_move="EventBridge has no rename, and a new rule matches only some time after it is made",
    says=Words(
        new=Phrase("{n} event rule begins to watch", "{n} event rules begin to watch", 238),
        changed=Phrase("{n} event rule changes", "{n} event rules change", 239),
        gone=Phrase("{n} event rule watches no more", "{n} event rules watch no more", 392),
        when={
            "state": {
                "DISABLED": Phrase("{n} event rule is disabled", "{n} event rules are disabled", 391),
                "ENABLED": Phrase("{n} event rule is enabled again", "{n} event rules are enabled again", 240),
            },
        },
    ),
)  # fmt: skip
