"""Contact lists, one a region. Source: SES API v2 reference; SES Developer Guide, "Using list management"."""

from reconciler.resources.spec import Field, Phrase, PlainSpec, Section, Words

SPEC = PlainSpec(
    name="contact_list",
    words="contact list",
    sections=(
        Section(
            "contact_lists", "contact_list", "Contact lists",
            "A contact list by its name, with its topics. SES has one a region.", "contacts.yaml",
        ),
    ),
    arn="contact-list",
    quota=1,
    quota_fixed=True,
    pattern=r"[A-Za-z0-9_-]{1,64}",
    pattern_words="1 to 64 letters, digits, - and _",
    listed=("ListContactLists", "ContactLists", "ContactListName"),
    cannot_move="a rename deletes the list, and its contacts and opt-outs are lost",
    key="ContactListName",
    exists_codes=("AlreadyExistsException", "BadRequestException"),
    fields={
        "description": Field(empty=""),
        "topics": Field(
            keyed="TopicName", members={"description": None}, remembered=True,
            needed=("display_name", "default_subscription_status"),
        ),
    },
    says=Words(
        new=Phrase("{n} contact list is created", "{n} contact lists are created", 232),
        changed=Phrase("{n} contact list changes", "{n} contact lists change", 233),
        gone=Phrase("{n} contact list loses its contacts", "{n} contact lists lose their contacts", 398),
    ),
)  # fmt: skip
