"""The settings of the SES account in each region.

Source: SES API v2 reference, GetAccount and the operations PutAccount...
"""

from reconciler.resources.spec import Field, Phrase, PlainSpec, Section, Words

SPEC = PlainSpec(
    name="account",
    words="account settings",
    sections=(
        Section(
            "account", "account", "Account settings",
            "What SES applies to the whole account in each of the regions. Only what is written is managed, and what "
            "is taken out stays as it is.",
            "account.yaml", single=True, place=20,
        ),
    ),
    address=("REGION",),
    taggable=False,
    permanent=True,
    counts_deletes=False,
    anywhere=(
        "ses:GetAccount", "ses:PutAccountSuppressionAttributes", "ses:PutAccountVdmAttributes",
        "ses:PutAccountDedicatedIpWarmupAttributes", "ses:PutAccountDeliveryAttributes",
    ),
    no_fields=("details",),
    fields={
        "suppression_attributes": Field(
            inner={
                "suppressed_reasons": ["BOUNCE", "COMPLAINT"],
                "validation_attributes": {
                    "condition_threshold": {
                        "condition_threshold_enabled": "DISABLED",
                        "overall_confidence_threshold": {"confidence_verdict_threshold": None},
                    },
                },
            },
            sets=("suppressed_reasons",),
            put="PutAccountSuppressionAttributes",
        ),
        "vdm_attributes": Field(
            inner={
                "vdm_enabled": "DISABLED",
                "dashboard_attributes": {"engagement_metrics": "DISABLED"},
                "guardian_attributes": {"optimized_shared_delivery": "DISABLED"},
            },
            put="PutAccountVdmAttributes",
            wraps="VdmAttributes",
        ),
        "dedicated_ip_auto_warmup_enabled": Field(default=True, put="PutAccountDedicatedIpWarmupAttributes"),
        "delivery_attributes": Field(
            inner={"shared_pool_delivery_mode": "GLOBAL"}, put="PutAccountDeliveryAttributes"
        ),
    },
    says=Words(
        changed=Phrase(
            "the settings of the account change in {n} region", "the settings of the account change in {n} regions",
            200, regions=True,
        ),
        when={
            "vdm_attributes.vdm_enabled": {
                "ENABLED": Phrase(
                    "the Virtual Deliverability Manager begins in {n} region",
                    "the Virtual Deliverability Manager begins in {n} regions", 201, regions=True,
                ),
                "DISABLED": Phrase(
                    "the Virtual Deliverability Manager ends in {n} region",
                    "the Virtual Deliverability Manager ends in {n} regions", 380, regions=True,
                ),
            },
        },
    ),
)  # fmt: skip
