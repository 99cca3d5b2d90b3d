"""Who owns a live resource, and what of it this stack put there: recon's own tags, and what they allow.

``recon:stack`` names the owner. The others remember what we put into a resource that others may also edit: names of
records, tags, policies and destinations, packed into tag values (SES API, Tag: 256 characters, few of them special).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

from reconciler.errors import AwsError
from reconciler.model import CLOUDFORMATION, Address, Entry, FieldDiff, Note, Source, Stack

if TYPE_CHECKING:
    from reconciler.kinds.plan_draft import PlanDraft

STACK = "recon:stack"
RECORDS: Final = "recon:records"
TAGS = "recon:tags"
POLICIES = "recon:policies"
DESTINATIONS: Final = "recon:destinations"
MAIL_FROM = "recon:mail_from"
TRACKING: Final = "recon:tracking"
SUBSCRIPTIONS: Final = "recon:subscriptions"
DKIM_SELECTOR = "recon:dkim-selector"
PARTS = "recon:parts"
PROTECT = "recon:protect"
BOUNDARY = "recon:boundary"
"""User tag: its permissions boundary was declared."""
DKIM_KEY = "recon:dkim-key"
KEY = "recon:key"
KEY_INTENT = "recon:key-intent"
PREFIX = "recon:"
CLOUDFORMATION_ID: Final = "aws:cloudformation:stack-id"
CLOUDFORMATION_NAME: Final = "aws:cloudformation:stack-name"
_CLOUDFORMATION: Final = "the CloudFormation stack "

T = TypeVar("T")

LISTS = (RECORDS, TAGS, POLICIES, DESTINATIONS, SUBSCRIPTIONS, PARTS, MAIL_FROM, TRACKING, DKIM_SELECTOR)
"""The tags that list what we put: a name stands in them from before it is put until after it is gone."""

_NOTHING: Final[frozenset[str]] = frozenset()
_TAG_VALUE = 256
_ODD = re.compile(r"[^A-Za-z0-9+\-._:/@]")
"""What is not written as it is."""


def pack(items: Iterable[str], key: str) -> dict[str, str]:
    """A list of names as one tag, or several (``key``, ``key.2`` ...) where 256 characters do not hold it.

    Only letters, digits, space and ``+ - = . _ : / @`` may stand in a tag value (SES API, Tag): other characters, the
    separating space and the escape ``=`` itself are written ``=XX`` (hex of UTF-8). A name too long for one tag
    continues in the next: the tag before then ends with a bare ``=``, which no escape does.
    """
    words = [part for item in sorted(set(items)) for part in _cut_word(_escape(item))] if items else ()
    if not words:
        return {}
    if len(words) == 1:
        return {key: words[0]}
    tags: dict[str, str] = {}
    line = ""
    lines: list[str] = []
    for word in words:
        if line and len(line) + 1 + len(word) > _TAG_VALUE:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    if line:
        lines.append(line)
    for number, text in enumerate(lines, 1):
        tags[key if number == 1 else f"{key}.{number}"] = text
    return tags


def unpack(tags: Mapping[str, str], key: str) -> frozenset[str]:
    """The names that ``pack`` put into ``tags`` under ``key``."""
    text = tags.get(key)
    if text is None:
        return _NOTHING
    number = 2
    while (more := tags.get(f"{key}.{number}")) is not None:
        text = f"{text} {more}"
        number += 1
    return _unpacked(text)


@lru_cache(maxsize=4096)
def _unpacked(text: str) -> frozenset[str]:
    whole: list[str] = []
    for word in text.split():
        if whole and whole[-1].endswith("="):
            whole[-1] = whole[-1][:-1] + word
        else:
            whole.append(word)
    return frozenset(_unescape(word) for word in whole)


def _cut_word(word: str) -> list[str]:
    """``word`` in parts that fit a tag value each, never cut inside an escape; all but the last end with ``=``."""
    parts = []
    while len(word) > _TAG_VALUE:
        end = _TAG_VALUE - 1
        while "=" in word[end - 2 : end]:
            end -= 1
        parts.append(word[:end] + "=")
        word = word[end:]
    return [*parts, word]


@lru_cache(maxsize=4096)
def _escape(text: str) -> str:
    return _ODD.sub(_hex, text)


def _hex(match: re.Match[str]) -> str:
    return "".join(f"={byte:02X}" for byte in match[0].encode())


@lru_cache(maxsize=4096)
def _unescape(text: str) -> str:
    parts = text.split("=")
    out = bytearray(parts[0].encode())
    for part in parts[1:]:
        try:
            out.append(int(part[:2], 16))
        except ValueError:
            out += b"=" + part[:2].encode()
        out += part[2:].encode()
    return out.decode(errors="replace")


def owner_of(tags: Mapping[str, str]) -> str | None:
    """Who owns a live resource: the stack scope in ``recon:stack``, a CloudFormation stack, or nobody (None)."""
    if STACK in tags:
        return tags[STACK]
    for key in (CLOUDFORMATION_NAME, CLOUDFORMATION_ID):
        if key in tags:
            return f"{_CLOUDFORMATION}{tags[key]}"
    return None


def names_more(before: Mapping[str, str], after: Mapping[str, str | None], diff: Iterable[FieldDiff]) -> bool:
    """Whether ``diff`` has nothing but tags of ours that name more than before: what is live as declared is remembered
    from now on, and nothing is written beside that."""
    keys = {one.path.removeprefix("tags.") for one in diff}
    if not keys or not all(one.path.startswith(f"tags.{PREFIX}") for one in diff):
        return False
    now = {key: value for key, value in after.items() if value is not None}
    for key in keys:
        listed = next((tag for tag in LISTS if key == tag or key.startswith(f"{tag}.")), "")
        if listed and not unpack(before, listed) <= unpack(now, listed):
            return False
        if not listed and (key not in (MAIL_FROM, BOUNDARY) or before.get(key) is not None):
            return False
    return True


def named(owner: str) -> str:
    """An owner in a sentence."""
    return owner if owner.startswith(_CLOUDFORMATION) else f'the recon stack "{owner}"'


def formerly_of(stack: Stack, tags: Mapping[str, str]) -> str | None:
    """The owner of what carries ``tags``, where ``stack.formerly`` names it."""
    owner = owner_of(tags)
    named_ones = {*stack.former_scopes, *(one.replace(CLOUDFORMATION, _CLOUDFORMATION, 1) for one in stack.formerly)}
    return owner if owner in named_ones else None


def may_write(stack: Stack, owner: str | None) -> bool:
    """Whether ``stack`` may write what it declares and ``owner`` owns: its own, nobody's, or a former stack's. What
    CloudFormation has is its own until CloudFormation says otherwise (``Snapshot.cloudformation``)."""
    return owner is None or owner in stack.scopes


def published(tags: Mapping[str, str], present: str | None) -> frozenset[str]:
    """The names for which a configuration set has, or may have, a tracking record of ours; ``present`` is the one that
    AWS shows. AWS shows a name only once it has taken it, and forgets it with the next one."""
    return unpack(tags, TRACKING) | ({present} if present and "tracking" in unpack(tags, RECORDS) else set())


def left_alone(entry: Entry | None, *path: str) -> bool:
    """Whether what is live at ``path`` and not declared stays and is not ours any more: the entry's ``unmanaged`` names
    this key or one above it, or a former owner put it there and the entry, which takes over, does not write it."""
    if entry is None:
        return False
    named = entry.values.get("unmanaged") or ()
    if any(".".join(path[:length]) in named for length in range(1, len(path) + 1)):
        return True
    return entry.takes_over and not _writes(entry.values, path) and not (path and means_none(entry, path[0]))


def _writes(values: Any, path: tuple[str, ...]) -> bool:
    for key in path:
        if not isinstance(values, Mapping) or key not in values:
            return False
        values = values[key]
    return True


def means_none(entry: Entry | None, key: str) -> bool:
    """Whether the entry says with ``{}`` that there are no parts ``key``: then none stays, whoever put it there.

    Where single ones are left alone, an empty map says nothing of the others."""
    if entry is None or key not in entry.values or entry.values[key]:
        return False
    return not any(path.partition(".")[0] == key for path in entry.values.get("unmanaged") or ())


def takes_along(names: Iterable[str], words: str) -> tuple[Note, ...]:
    """What to say of parts ``names`` that are deleted although recon did not create them; ``words`` is one of them."""
    names = sorted(names)
    if not names:
        return ()
    what = f"{words}{'' if len(names) == 1 else 's'} {', '.join(names)}"
    return (Note("takes-along", "warning", f"also deletes {what}, which recon did not create"),)


def adopts(draft: PlanDraft, address: Address, tags: Mapping[str, str], source: Source | None) -> bool:
    """Whether a change of a live resource would adopt it, since it is nobody's or a former owner's; refused by name
    where another stack owns it."""
    owner = owner_of(tags)
    if owner == draft.snapshot.scope:
        return False
    why = draft.snapshot.cloudformation.get(address)
    if may_write(draft.snapshot.state.stack, owner) or why == "":
        return True
    draft.refuse(
        "owned-elsewhere",
        f"{address} belongs to {named(str(owner))}{f'; {why}' if why else ''}",
        address=address,
        source=source,
        hint="take it out of this stack's YAML; or release it there first (`released`; in CloudFormation "
        "DeletionPolicy: Retain), or write that stack into `stack.formerly` where this one takes it over",
    )
    return True


def refuse_protected(draft: PlanDraft, address: Address, tags: Mapping[str, str], verb: str) -> None:
    """Refuse a deletion or replacement where the live tag ``recon:protect`` is set."""
    if tags.get(PROTECT) == "true":
        draft.refuse(
            "protect",
            f"{address} is protected and would be {verb}",
            address=address,
            hint="declare it with `protect: false`, apply that alone, then remove it",
        )


def create_once(create: Callable[[], T], is_ours: Callable[[], bool], *codes: str) -> T | None:
    """What ``create`` returns; None where AWS answers that the resource exists (one of ``codes``) and ``is_ours``: then
    an earlier call took effect and its answer was lost. Raises the AwsError where it is not ours."""
    try:
        return create()
    except AwsError as error:
        if error.aws_code not in (codes or ("AlreadyExistsException",)) or not is_ours():
            raise
    return None
