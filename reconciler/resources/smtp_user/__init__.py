"""IAM users that may send over SMTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reconciler.resources.headlines import adopted, alters
from reconciler.resources.spec import Fact, KindSpec, Phrase, Section, Words

if TYPE_CHECKING:
    from reconciler.model import Change

POLICY_FIELDS = ("from_addresses", "source_ips", "identities", "conditions")
"""The fields that its IAM policy is made from."""


def facts(change: Change) -> Iterator[Fact]:
    """What a change of a user means for mail."""
    name = change.address.rpartition("/")[2]
    if change.action in ("create", "delete"):
        yield Fact("new" if change.action == "create" else "gone", name)
    elif change.action == "update" and alters(change, *POLICY_FIELDS):
        yield Fact("limits", name)
    else:
        yield from adopted(change)


SPEC = KindSpec(
    name="smtp_user",
    words="SMTP user",
    sections=(
        Section(
            "smtp_users",
            "smtp_user",
            "SMTP users",
            "An IAM user that may send over SMTP, by its name.",
            "smtp.yaml",
            place=50,
        ),
    ),
    address=("NAME",),
    principal="user",
    with_kinds=("smtp_credential",),
    follows=("email_identity", "dns_record"),
    anywhere=("iam:GetAccountAuthorizationDetails",),
    says=Words(
        new=Phrase("{n} SMTP user is created", "{n} SMTP users are created", 210),
        gone=Phrase("{n} SMTP user is deleted", "{n} SMTP users are deleted", 380),
        phrases={
            "limits": Phrase("{n} SMTP user changes what it may send", "{n} SMTP users change what they may send", 220)
        },
        facts=facts,
    ),
)
