"""Contact lists: a region has one, and a deletion says how many contacts are lost."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from reconciler.aws import Aws
from reconciler.kinds.plain import PlainKind
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.snapshot import Snapshot
from reconciler.model import Desired, FieldDiff, Note, Observed
from reconciler.resources.contact_list import SPEC

MANY = 10_000  # a page of a thousand is a call, and SES allows one a second: more contacts are not counted


class ContactList(PlainKind):
    more_reads = ("sesv2:ListContactLists", "sesv2:ListContacts")

    def read(self, aws: Aws, region: str, name: str, snapshot: Snapshot | None = None) -> Observed | None:
        live = super().read(aws, region, name, snapshot)
        if live is None and snapshot is not None:
            for other in aws.pages("sesv2", "ListContactLists", "ContactLists", region):
                snapshot.in_the_way[SPEC.address_of(region, name)] = other["ContactListName"]
        if live is None or snapshot is None or live.address in snapshot.desired:
            return live  # contacts are counted only where the list is to be deleted
        pages = aws.pages("sesv2", "ListContacts", "Contacts", region, ContactListName=name, PageSize=1000)
        return replace(live, facts={"contacts": sum(1 for _ in islice(pages, MANY + 1))})

    def allowed(self, draft: PlanDraft, desired: Desired, live: Observed | None, diff: Sequence[FieldDiff]) -> bool:
        other = draft.snapshot.in_the_way.get(desired.address)
        if other is not None:
            hint = f"declare {other} instead, or delete it first: its contacts are lost with it"
            message = f"{desired.address} cannot be created: {desired.region} has {other}, and SES allows one list"
            draft.refuse("one-list", message, hint=hint, address=desired.address, source=desired.entry.source)
        return True

    def deletion_notes(self, snapshot: Snapshot, live: Observed) -> tuple[Note, ...]:
        count = live.facts["contacts"]
        many = f"more than {MANY:,} contacts" if count > MANY else f"{count:,} contact{'' if count == 1 else 's'}"
        return (Note("contacts-lost", "warning", f"destroys {many}, with all opt-outs: nothing can restore them"),)


KIND = ContactList(SPEC)
