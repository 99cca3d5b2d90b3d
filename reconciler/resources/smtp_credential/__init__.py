"""The access key of an SMTP user, and the passwords that derive from it, in Secrets Manager or Parameter Store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reconciler.resources.headlines import adopted
from reconciler.resources.spec import Fact, KindSpec, Phrase, Words

if TYPE_CHECKING:
    from reconciler.model import Change


def facts(change: Change) -> Iterator[Fact]:
    """What a change of a credential means for mail."""
    name = change.address.rpartition("/")[2]
    if change.action == "delete":
        yield Fact("gone", name)
    elif change.action in ("create", "replace") or "access_key" in change.unknown:
        yield Fact("new", name)
    else:
        yield from adopted(change)


SPEC = KindSpec(
    name="smtp_credential",
    words="SMTP credential",
    address=("NAME",),
    parent="smtp_user",
    with_kinds=("smtp_user",),
    anywhere=("iam:GetAccessKeyLastUsed", "ssm:DescribeParameters"),
    says=Words(
        new=Phrase("{n} SMTP password is issued", "{n} SMTP passwords are issued", 230),
        gone=Phrase("{n} SMTP password stops working", "{n} SMTP passwords stop working", 390),
        facts=facts,
    ),
    counts_deletes=False,
)
