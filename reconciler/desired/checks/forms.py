"""Forms and counts that several kinds share: regions and tags.

Sources: SES API v2 (botocore shapes), Tag.
"""

from __future__ import annotations

import re
from typing import Final

from reconciler.desired.checks.place import EntryContext
from reconciler.desired.nodes import show

MAX_TAGS: Final = 50
RECON_TAGS: Final = 10
"""Tags that recon may need on one resource: its owner, record groups, destinations, policies, tags, MAIL FROM, ..."""
REGION_NAME: Final = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-[0-9]")
_TAG_CHARACTERS = re.compile(r"(?:[\w.:/=+\-@]|[^\S\x09-\x0d\x1c-\x1f\x85])*")
r"""IAM's ``[\p{L}\p{Z}\p{N}_.:/=+\-@]``: white space, but no tabs and line breaks (IAM API, Tag)."""
_TAG_WORDS: Final = "letters, digits, spaces and _ . : / = + - @"


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
