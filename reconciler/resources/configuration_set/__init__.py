"""Configuration sets: the rules that messages are sent under."""

from reconciler.resources.spec import CloudTrail, Field, Held, Phrase, PlainSpec, RecordGroup, Reference, Section, Words

SPEC = PlainSpec(
    name="configuration_set",
    words="configuration set",
    sections=(
        Section(
            "configuration_sets", "configuration_set", "Configuration sets",
            "A configuration set by its name, made in each of its regions.", "sets.yaml", place=30,
            drawn_as="sets", dimension="ses:configuration-set",
            alike=(
                "delivery_options", "reputation_options", "sending_options", "suppression_options", "vdm_options",
            ),
        ),
    ),
    holds=(
        Held(
            "alarms", "cloudwatch_alarms",
            supplies={"dimensions": [{"name": "ses:configuration-set", "value": "{name}"}]},
            unless=("metrics", "evaluation_criteria"),
        ),
    ),
    read_with=("email_identity",),
    references=(
        Reference(
            "delivery_options.sending_pool_name", "dedicated_ip_pool",
            built_in=("ses-shared-pool", "ses-default-dedicated-pool"),
            in_use="{user} still sends from it", foreign_blocks=True,
        ),
        Reference("tracking_options.custom_redirect_domain", "email_identity", covering=True),
    ),
    records=(
        RecordGroup(
            "tracking", "CNAME", ("CNAME",), "{one}", "recon:tracking", "tracking_options.custom_redirect_domain"
        ),
    ),
    remembers=("recon:destinations", "recon:records", "recon:tracking"),
    plans_after=("dns_record",),
    arn="configuration-set",
    in_tenants=True,
    quota=10_000,
    pattern=r"[A-Za-z0-9_-]{1,64}",
    pattern_words="1 to 64 letters, digits, - and _",
    listed=("ListConfigurationSets", "ConfigurationSets", ""),
    key="ConfigurationSetName",
    fields={
        "delivery_options": Field(
            inner={
                "tls_policy": "OPTIONAL", "sending_pool_name": None, "max_delivery_seconds": None,
                "shared_pool_delivery_mode": "ACCOUNT",
            },
            put="PutConfigurationSetDeliveryOptions",
        ),
        "reputation_options": Field(
            inner={"reputation_metrics_enabled": False},
            put="PutConfigurationSetReputationOptions",
            events=("UpdateConfigurationSetReputationMetricsEnabled",),
        ),
        "sending_options": Field(
            inner={"sending_enabled": True},
            put="PutConfigurationSetSendingOptions",
            events=("UpdateConfigurationSetSendingEnabled",),
        ),
        "suppression_options": Field(
            inner={"suppressed_reasons": None, "suppression_scope": None, "validation_options": None},
            sets=("suppressed_reasons",),
            put="PutConfigurationSetSuppressionOptions",
        ),
        "tracking_options": Field(
            inner={"custom_redirect_domain": None, "https_policy": "OPTIONAL"},
            main="custom_redirect_domain",
            put="PutConfigurationSetTrackingOptions",
            events=(
                "CreateConfigurationSetTrackingOptions", "UpdateConfigurationSetTrackingOptions",
                "DeleteConfigurationSetTrackingOptions",
            ),
        ),
        "vdm_options": Field(
            inner={
                "dashboard_options": {"engagement_metrics": None},
                "guardian_options": {"optimized_shared_delivery": None},
            },
            put="PutConfigurationSetVdmOptions",
            wraps="VdmOptions",
        ),
        "archiving_options": Field(
            inner={"archive_arn": None}, arns=("archive_arn",), put="PutConfigurationSetArchivingOptions"
        ),
    },
    trail=CloudTrail(naming=("name", "configurationset")),
    says=Words(
        new=Phrase("{n} configuration set is created", "{n} configuration sets are created", 160),
        gone=Phrase("{n} configuration set is deleted", "{n} configuration sets are deleted", 360),
        when={
            "sending_options.sending_enabled": {
                True: Phrase("{n} configuration set sends again", "{n} configuration sets send again", 170),
                False: Phrase("{n} configuration set stops sending", "{n} configuration sets stop sending", 370),
            },
            "delivery_options.tls_policy": {
                "REQUIRE": Phrase(
                    "TLS becomes required on {n} configuration set", "TLS becomes required on {n} configuration sets",
                    180,
                ),
                "OPTIONAL": Phrase(
                    "TLS becomes optional on {n} configuration set", "TLS becomes optional on {n} configuration sets",
                    280,
                ),
            },
        },
    ),
)  # fmt: skip
