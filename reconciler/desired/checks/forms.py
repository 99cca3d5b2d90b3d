"""Forms and counts that several kinds share: names, ARNs, tags.

Sources: SES API v2 (botocore shapes), SES Developer Guide "Service quotas", CloudFormation resource schemas (names of
sets and pools), SES API v2 Tag.
"""

from __future__ import annotations

import re
from typing import Any, Final

from reconciler.desired.checks.place import EntryContext
from reconciler.desired.nodes import show

MAX_TAGS: Final = 50
RECON_TAGS: Final = 10
"""Tags that recon may need on one resource: its owner, record groups, destinations, policies, tags, MAIL FROM, ..."""
SHARED_POOLS: Final = ("ses-shared-pool", "ses-default-dedicated-pool")

SET_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
SET_NAME_WORDS: Final = "1 to 64 letters, digits, - and _"
POOL_NAME: Final = re.compile(r"[a-z0-9_-]{1,64}")
POOL_NAME_WORDS: Final = "1 to 64 lower-case letters, digits, - and _"
REGION_NAME: Final = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-[0-9]")
_TAG_CHARACTERS = re.compile(r"(?:[\w.:/=+\-@]|[^\S\x09-\x0d\x1c-\x1f\x85])*")
r"""IAM's ``[\p{L}\p{Z}\p{N}_.:/=+\-@]``: white space, but no tabs and line breaks (IAM API, Tag)."""
_TAG_WORDS: Final = "letters, digits, spaces and _ . : / = + - @"


def check_reference(place: EntryContext, path: str, name: Any, form: re.Pattern[str]) -> None:
    """The form of a name that refers to a set or a pool."""
    if isinstance(name, str) and not form.fullmatch(name):
        words = SET_NAME_WORDS if form is SET_NAME else POOL_NAME_WORDS
        place.error(path, "bad-name", f"{show(name)} cannot be the name of one", words)


def check_tags(place: EntryContext) -> None:
    """Count, characters and reserved prefixes of an entry's tags, the stack's included."""
    tags = place.values.get("tags")
    if not isinstance(tags, dict):
        return
    if len(tags) > MAX_TAGS - RECON_TAGS:
        place.error("tags", "too-many", f"{len(tags)} tags; AWS takes {MAX_TAGS}, {RECON_TAGS} kept for recon",
                    f"keep {MAX_TAGS - RECON_TAGS} at most, those of the stack included")  # fmt: skip
    if place.section == "smtp_users":
        seen: dict[str, str] = {}
        for key in tags:
            if seen.setdefault(key.lower(), key) != key:
                place.error(f"tags.{key}", "bad-tag", f"to IAM {show(key)} and {show(seen[key.lower()])} are the same "
                            "key", "keep one of the two")  # fmt: skip
    for key, value in tags.items():
        path = f"tags.{key}"
        if key.lower().startswith(("aws:", "recon:")):
            owner = "AWS" if key.lower().startswith("aws:") else "recon"
            place.error(path, "reserved-tag", f"tag keys that begin with {key[: len(owner) + 1]} are kept for {owner}",
                        "choose another key")  # fmt: skip
        elif not 1 <= len(key) <= 128 or not _TAG_CHARACTERS.fullmatch(key):
            place.error(path, "bad-tag", f"{show(key)} is not a tag key",
                        "1 to 128 letters, digits, spaces and _ . : / = + - @")  # fmt: skip
        if isinstance(value, str) and (len(value) > 256 or not _TAG_CHARACTERS.fullmatch(value)):
            place.error(path, "bad-tag", f"{show(value)} is not a tag value",
                        "up to 256 letters, digits, spaces and _ . : / = + - @")  # fmt: skip
        elif isinstance(value, str) and value.lower().startswith("aws:"):
            place.error(path, "reserved-tag", "tag values that begin with aws: are kept for AWS",
                        "choose another value")  # fmt: skip
