"""E-mail templates. Source: SES API v2 reference, CreateEmailTemplate; SES Developer Guide, "Service quotas"."""

from reconciler.resources.spec import CloudTrail, Field, Phrase, PlainSpec, Section, Words

PARTS = ("subject", "text", "html")

SPEC = PlainSpec(
    name="email_template",
    words="email template",
    sections=(
        Section(
            "email_templates", "email_template", "Email templates",
            "A template by its name: subject, text and HTML, each written out or a file.", "templates.yaml",
        ),
    ),
    arn="template",
    in_tenants=True,
    quota=20_000,
    pattern=r"\S(?:.*\S)?",
    pattern_words="no blank at its beginning or end",
    listed=("ListEmailTemplates", "TemplatesMetadata", "TemplateName"),
    key="TemplateName",
    one_of=PARTS,
    max_bytes=500 * 1024,
    fields={part: Field(within="TemplateContent", file=True, events=("UpdateTemplate",)) for part in PARTS},
    trail=CloudTrail(made=("CreateTemplate",), gone=("DeleteTemplate",)),
    says=Words(
        new=Phrase("{n} email template is created", "{n} email templates are created", 235),
        changed=Phrase("{n} email template changes", "{n} email templates change", 236),
        gone=Phrase("{n} email template is deleted", "{n} email templates are deleted", 345),
    ),
)  # fmt: skip
