"""SES email identities: domains and addresses that may send mail."""

from reconciler.resources.email_identity.headline import PHRASES, facts
from reconciler.resources.spec import CloudTrail, KindSpec, Named, RecordGroup, Reference, Section, Words

NAME = "email_identity"

DEFAULT_SET = Reference("configuration_set_name", "configuration_set", in_use="{user} still sends with it by default")
"""What mail of an identity is sent with that names nothing else."""

NOTIFICATIONS = "notification_attributes"
NOTIFIED = ("Bounce", "Complaint", "Delivery")
"""What SES notifies of (SES API, SetIdentityNotificationTopic: NotificationType)."""

SHARED_KEYS = ("dkim", "mail_from", DEFAULT_SET.path, "email_forwarding_enabled")
IDENTITY_KEYS = (*SHARED_KEYS, NOTIFICATIONS, "policies", "tags")
"""Keys of a domain that mean nothing without an identity; the first ones are often alike in many domains."""

SPEC = KindSpec(
    name=NAME,
    words="identity",
    sections=(
        Section(
            "domains", "domain", "Domains",
            "A mail domain by its name: the SES identity in each region, and its records.", "domains.yaml",
            everywhere=("identity", "zone", "dmarc", "spf", "bimi", "null_mx", "ttl"),
            alike=SHARED_KEYS,
            fold="domain", name_hint="write a name such as acme.com", place=10,
            drawn_as="domains", dimension="ses:from-domain",
        ),
        Section(
            "email_addresses", "email_address", "E-mail addresses",
            "A single-address identity by its address. SES mails it a link to click.", "addresses.yaml",
            fold="address", name_hint="write an address such as news@acme.com", place=20,
        ),
    ),
    references=(DEFAULT_SET,),
    named=tuple(
        Named(f"{NOTIFICATIONS}.{kind.lower()}_topic", "sns_topic", "ses", "{user} still publishes to it")
        for kind in NOTIFIED
    ),
    records=(
        RecordGroup("dmarc", "DMARC", ("TXT",), "_dmarc.{name}"),
        RecordGroup("bimi", "BIMI", ("TXT",), "default._bimi.{name}"),
        RecordGroup("null_mx", "null MX", ("MX",), "{name}"),
        RecordGroup(
            "mail_from", "MAIL FROM", ("MX", "TXT"), "{one}", "recon:mail_from", "mail_from.mail_from_domain",
            below=True,
        ),
        RecordGroup(
            "dkim", "DKIM key", ("TXT",), "{one}._domainkey.{name}", "recon:dkim-selector",
            "dkim.domain_signing_selector",
        ),
    ),
    plans_after=("dns_record",),
    arn="identity",
    in_tenants=True,
    arn_aliases=("email-identity",),
    quota=10_000,
    listed=("ListEmailIdentities", "EmailIdentities", "IdentityName"),
    list_options={"PageSize": 1000},
    anywhere=(
        "ses:GetIdentityDkimAttributes", "ses:GetIdentityMailFromDomainAttributes",
        "ses:GetIdentityNotificationAttributes", "ses:SetIdentityNotificationTopic",
        "ses:SetIdentityHeadersInNotificationsEnabled",
    ),
    trail=CloudTrail(
        made=("CreateEmailIdentity", "VerifyDomainIdentity", "VerifyEmailIdentity"),
        gone=("DeleteEmailIdentity", "DeleteIdentity"),
        fields={
            "dkim": (
                "PutEmailIdentityDkimAttributes", "PutEmailIdentityDkimSigningAttributes", "SetIdentityDkimEnabled",
                "VerifyDomainDkim",
            ),
            "mail_from": ("PutEmailIdentityMailFromAttributes", "SetIdentityMailFromDomain"),
            DEFAULT_SET.path: ("PutEmailIdentityConfigurationSetAttributes",),
            "email_forwarding_enabled": ("PutEmailIdentityFeedbackAttributes", "SetIdentityFeedbackForwardingEnabled"),
            NOTIFICATIONS: ("SetIdentityNotificationTopic", "SetIdentityHeadersInNotificationsEnabled"),
            "policies": (
                "CreateEmailIdentityPolicy", "UpdateEmailIdentityPolicy", "DeleteEmailIdentityPolicy",
                "PutIdentityPolicy", "DeleteIdentityPolicy",
            ),
        },
        naming=("emailidentity", "identity", "identities", "domain", "emailaddress"),
    ),
    says=Words(phrases=PHRASES, facts=facts),
)  # fmt: skip

address_of = SPEC.address_of
"""``email_identity/REGION/NAME``."""
