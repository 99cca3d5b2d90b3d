"""Contact lists, one a region. An update keeps what it leaves out. Source: SES API v2 reference; probes of 2026."""

import re

from reconciler.sandbox.plain import Context, Listed, Plain, at_most
from reconciler.sandbox.protocol import Params
from reconciler.sandbox.ses_state import refuse_if

RULE = "can contain up to 64 characters. Only alphanumeric characters, underscores(_) and hyphens(-) are allowed."
ONE_LIST = ("BadRequestException", "A maximum of 1 Lists allowed per account.")


def topics(context: Context, given: list[Params], before: list[Params] | None) -> list[Params]:
    names = [topic["TopicName"] for topic in given]
    long = any(len(topic["DisplayName"]) > 128 for topic in given)
    refuse_if(
        (len(given) > 20, "Maximum of <20> topics allowed per ContactList"),
        (not all(re.fullmatch(Plain.pattern, name) for name in names), f"TopicName {RULE}"),
        (long, "Topic DisplayName can contain up to <128> characters."),
        (len(set(names)) < len(names), "Duplicate topic names are not allowed within a List."),
    )
    return given


PLAIN = Plain(
    noun="ContactList", key="ContactListName", arn="contact-list", quota=1,
    listed=Listed("ListContactLists", "ContactLists"), defaults={"Topics": []}, exists=ONE_LIST, full=ONE_LIST,
    members={"Topics": topics, "Description": at_most(500, "List description can contain up to 500 characters.")},
    invalid=("BadRequestException", f"ContactListName {RULE}"),
    missing=("NotFoundException", "List with name: {name} doesn't exist."),
)  # fmt: skip
