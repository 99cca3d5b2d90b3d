"""Who changed an SMTP credential: its key by IAM's events, what is stored by those of its stores.

Source: CloudTrail events of Secrets Manager and Systems Manager, which have the names of their API operations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from reconciler.kinds.lookups import Lookup, Said
from reconciler.model import Change

_STORED: Final[Mapping[str, tuple[str, ...]]] = {
    "secretsmanager": ("PutSecretValue", "UpdateSecret", "DeleteSecret"),
    "ssm": ("PutParameter", "DeleteParameter"),
}
_TAGGED: Final[Mapping[str, tuple[str, ...]]] = {
    "secretsmanager": ("TagResource", "UntagResource"),
    "ssm": ("AddTagsToResource", "RemoveTagsFromResource"),
}


def lookups(user: str, change: Change) -> Iterator[Lookup]:
    """The tags of a credential are those of its stores; other calls change its key and what is stored."""
    of_tags = [one.path.startswith("tags.") for one in change.diff]
    tables = [_TAGGED] if any(of_tags) else []
    if not all(of_tags) or not of_tags:
        tables.append(_STORED)
        yield Lookup("", "ResourceName", user)
    for store in change.execution.get("stores") or ():
        for table in tables:
            for name in table.get(str(store["type"]), ()):
                yield Lookup(str(store["region"]), "EventName", name)


def concerns(user: str, change: Change, said: Said, lookup: Lookup) -> bool:
    """Whether a request names the user, or one of the stores."""
    if lookup.attribute == "ResourceName":
        return ("username", user.lower()) in said
    stores = [str(store["name"]).lower() for store in change.execution.get("stores") or ()]
    return any(key in {"secretid", "name", "resourceid"} and any(s in text for s in stores) for key, text in said)
