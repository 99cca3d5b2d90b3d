"""IAM roles that may send: for functions, containers, instances and pipelines, which need no access key.

Source: IAM API reference, CreateRole and UpdateRole; IAM User Guide, "IAM and AWS STS quotas".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reconciler.resources.headlines import adopted, alters
from reconciler.resources.spec import Fact, KindSpec, Phrase, Section, Service, Words

if TYPE_CHECKING:
    from reconciler.model import Change

NOT_OF_THE_POLICY = ("path", "description", "max_session_duration", "permissions_boundary", "instance_profile", "tags")
"""Fields that neither say what it may send nor who may use it."""


def facts(change: Change) -> Iterator[Fact]:
    """What a change of a role means for mail."""
    name = change.address.rpartition("/")[2]
    fields = {diff.path.partition(".")[0] for diff in change.diff}
    if change.action in ("create", "delete"):
        yield Fact("new" if change.action == "create" else "gone", name)
    elif change.action == "update" and alters(change, "trust"):
        yield Fact("trust", name)
    elif change.action == "update" and fields.difference(NOT_OF_THE_POLICY):
        yield Fact("limits", name)
    else:
        yield from adopted(change)


SPEC = KindSpec(
    name="sending_role",
    words="sending role",
    sections=(
        Section(
            "sending_roles",
            "sending_role",
            "Sending roles",
            "An IAM role that may send through the API, by its name: for senders that are not SMTP users.",
            "roles.yaml",
            place=55,
        ),
    ),
    address=("NAME",),
    principal="role",
    remnant=Service("iam", "iam", "iam:instance-profile", prefix="instance-profile/"),
    follows=("email_identity", "dns_record", "smtp_user"),
    cannot_move="IAM does not rename a role",
    anywhere=("iam:GetAccountAuthorizationDetails",),
    pattern=r"[A-Za-z0-9+=,.@_-]{1,64}",
    pattern_words="1 to 64 letters, digits and + = , . @ _ -",
    says=Words(
        new=Phrase("{n} sending role is created", "{n} sending roles are created", 212),
        gone=Phrase("{n} sending role is deleted", "{n} sending roles are deleted", 382),
        phrases={
            "limits": Phrase("{n} sending role changes what it may send", "{n} sending roles change what they may send",
                             222),
            "trust": Phrase("{n} sending role changes who may use it", "{n} sending roles change who may use them",
                            223),
        },
        facts=facts,
    ),
)  # fmt: skip
