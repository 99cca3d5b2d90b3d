"""Who changed an SMTP credential: its key by IAM's events, what is stored by those of its stores.

Source: CloudTrail events of Secrets Manager and Systems Manager, which have the names of their API operations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from reconciler.kinds.lookups import Lookup, Said, names_item, said_under
from reconciler.kinds.ownership import KEY
from reconciler.model import Change

_STORED: Final[Mapping[str, tuple[str, ...]]] = {
    "secretsmanager": ("PutSecretValue", "UpdateSecret", "DeleteSecret"),
    "ssm": ("PutParameter", "DeleteParameter"),
}
_TAGGED: Final[Mapping[str, tuple[str, ...]]] = {
    "secretsmanager": ("TagResource", "UntagResource"),
    "ssm": ("AddTagsToResource", "RemoveTagsFromResource"),
}


_KEY_EVENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "deleted": ("DeleteAccessKey",), "Inactive": ("UpdateAccessKey",), "Active": ("UntagUser",),
}  # fmt: skip
"""What has happened to a key -> the calls that do it; an active one has lost the tag that names it."""


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
    """Whether a request names the user, or one of the stores by its name or ARN."""
    if lookup.attribute == "ResourceName":
        return ("username", user.lower()) in said
    named = said_under(said, "secretid", "name", "resourceid")
    names = [str(store["name"]).lower() for store in change.execution.get("stores") or ()]
    return any(_is_of(text, name) for text in named for name in names)


def _is_of(text: str, name: str) -> bool:
    """Whether ``text`` is ``name`` or its ARN. Secrets Manager adds a hyphen and six characters to a name."""
    bare = text.partition(":secret:")[2] or text.partition(":parameter/")[2] or text
    return re.fullmatch(re.escape(name.lstrip("/")) + r"(-[a-z0-9]{6})?", bare.lstrip("/")) is not None


def explained(change: Change, event: str, said: Said) -> tuple[str, ...]:
    """The paths of the difference that an event can have made: a key by its events, what is stored by its store's."""
    before = change.before or {}
    if change.action in {"create", "delete"}:
        gone = event in {"DeleteAccessKey", "DeleteUser", *_names(_STORED)} and change.action == "create"
        return (tuple(one.path for one in change.diff) or ("",)) if gone else ()
    key = str(before.get("access_key") or "").lower()
    keys = said_under(said, "accesskeyid")
    of_key = _KEY_EVENTS.get(str(before.get("status")), ()) if not keys or key in keys else ()
    if event == "UntagUser" and KEY not in said_under(said, "tagkeys"):
        of_key = ()
    by_field = {
        "access_key": of_key, "status": of_key, "orphan_keys": ("CreateAccessKey",), "open_intent": (),
        "tags": _names(_TAGGED),
    }  # fmt: skip
    fields = {one.path: one.path.partition(".")[0] for one in change.diff}
    return tuple(
        p for p, field in fields.items() if event in by_field.get(field, _names(_STORED)) and names_item(said, p)
    )


def _names(table: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(name for names in table.values() for name in names)
