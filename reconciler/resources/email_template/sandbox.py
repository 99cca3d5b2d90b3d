"""E-mail templates. Source: SES API v2 reference, CreateEmailTemplate; "Service quotas"; names as probed in 2026."""

from reconciler.sandbox.plain import Context, Listed, Plain
from reconciler.sandbox.protocol import Params
from reconciler.sandbox.ses_state import refuse_if


def content(context: Context, given: Params, before: Params | None) -> Params:
    """One part at least that is not blank, 500 KB together. An update replaces all parts."""
    size, filled = sum(len(part.encode()) for part in given.values()), any(part.strip() for part in given.values())
    refuse_if((not filled, "Template must have at least a subject, text, or html part."))
    refuse_if((size > 500 * 1024, "Template content can be up to 500 KB."))
    return given


PLAIN = Plain(
    noun="EmailTemplate", key="TemplateName", arn="template", tenant="EMAIL_TEMPLATE", quota=20_000,
    listed=Listed("ListEmailTemplates", "TemplatesMetadata", page=10, largest=100, newest_first=True),
    pattern=r"\S(.*\S)?", members={"TemplateContent": content},
    invalid=("BadRequestException", "TemplateName must not contain leading or trailing whitespace."),
    exists=("AlreadyExistsException", "Template {name} already exists."),
    missing=("NotFoundException", "Template {name} does not exist."),
)  # fmt: skip
