"""The contacts of contact lists, which recon counts and does not manage.

An update keeps what it leaves out, but for AttributesData and UnsubscribeAll. Source: SES API v2 reference; Developer
Guide "Using list management"; probes of 2026.
"""

from collections.abc import Sequence

from reconciler.sandbox.plain import Context, Listed, Plain
from reconciler.sandbox.protocol import Params
from reconciler.sandbox.ses_state import Item, refuse_if


def statuses(rows: list[Params], member: str = "SubscriptionStatus") -> dict[str, str]:
    return {row["TopicName"]: row[member] for row in rows}


def merged(context: Context, given: list[Params], before: dict[str, str] | None) -> dict[str, str]:
    """Topic -> status: those given, for topics of the list only, laid over those there were."""
    known = statuses(context.parent.body["Topics"], "DefaultSubscriptionStatus")
    refuse_if(*((t not in known, f"List: {context.parent.name} doesn't contain Topic: {t}") for t in statuses(given)))
    return {**(before or {}), **statuses(given)}


def shown(context: Context, contact: Item) -> Params:
    own, known = contact.body["TopicPreferences"], statuses(context.parent.body["Topics"], "DefaultSubscriptionStatus")
    members = {"TopicPreferences": own, "TopicDefaultPreferences": {t: s for t, s in known.items() if t not in own}}
    return {m: [{"TopicName": t, "SubscriptionStatus": s} for t, s in rows.items()] for m, rows in members.items()}


def filtered(context: Context, contacts: Sequence[Item], params: Params) -> Sequence[Item]:
    """Contacts of one status: in the topic of a TopicFilter, else in the list. AWS says what the model does."""
    wanted = params.get("Filter", {})
    topic, known = wanted.get("TopicFilter", {}), context.parent.body["Topics"]
    default = statuses(known, "DefaultSubscriptionStatus") if topic.get("UseDefaultIfPreferenceUnavailable") else {}

    def status(contact: Item) -> str | None:
        own = "OPT_IN" if "TopicName" not in topic else contact.body["TopicPreferences"].get(topic["TopicName"])
        return "OPT_OUT" if contact.body["UnsubscribeAll"] else own or default.get(topic["TopicName"])

    return [c for c in contacts if "FilteredStatus" not in wanted or status(c) == wanted["FilteredStatus"]]


CONTACT = Plain(
    noun="Contact", key="EmailAddress", parent="ContactList", pattern=r"[^@\s]+@[^@\s]+\.[^@\s]+",
    listed=Listed("ListContacts", "Contacts", select=filtered), members={"TopicPreferences": merged}, show=shown,
    defaults={"TopicPreferences": [], "UnsubscribeAll": False}, resets=frozenset({"AttributesData", "UnsubscribeAll"}),
    invalid=("BadRequestException", "EmailAddress <{name}> is invalid"),
    exists=("AlreadyExistsException", "{name} already exists in List."),
    missing=("NotFoundException", "{name} doesn't exist in List."),
)  # fmt: skip
