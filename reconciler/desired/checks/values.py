"""Checks of one entry's values: forms, lengths and counts that AWS or an RFC fixes; names are folded on the way.

What a kind declares (names, quotas, references) and tags are checked here; the rest is in the ``checks.py`` of its
folder. Source: SES API v2, Tag.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, Final

from reconciler.desired.checks.place import EntryContext
from reconciler.desired.nodes import show
from reconciler.errors import ReconError
from reconciler.files import read_file
from reconciler.masking import looks_secret
from reconciler.model import Stack
from reconciler.resources import FOLDER, KINDS, SECTIONS, children
from reconciler.resources.spec import MAX_TAGS, KindSpec, PlainSpec, at_path

MAX_TEXT = 1024 * 1024
"""Bytes of a file where AWS has no limit of its own."""
RECON_TAGS: Final = 10
"""Tags that recon may need on one resource: its owner, record groups, destinations, policies, tags, MAIL FROM, ..."""
REGION_NAME: Final = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-[0-9]")
_TAG_CHARACTERS = re.compile(r"(?:[\w.:/=+\-@]|[^\S\x09-\x0d\x1c-\x1f\x85])*")
r"""IAM's ``[\p{L}\p{Z}\p{N}_.:/=+\-@]``: white space, but no tabs and line breaks (IAM API, Tag)."""
_TAG_WORDS: Final = "letters, digits, spaces and _ . : / = + - @"


def check_values(place: EntryContext, stack: Stack) -> None:
    """Check the values of one entry that passed its schema, and fold the names inside them. May be called again."""
    spec, _ = SECTIONS[place.section]
    if not _check_name(place, "", place.name, spec) and place.name in spec.reserved:
        place.error("", "bad-name", f"{place.name} is a name of AWS's own", "choose another name")
    for reference in spec.references:
        name = at_path(place.values, reference.path)
        target = KINDS[reference.kind]
        if isinstance(name, str) and not reference.covering and target.named_badly(name):
            place.error(
                reference.path, "bad-name", f"{show(name)} cannot be the name of a {target.words}", target.pattern_words
            )
    for child in children(spec.name):
        if child.parent_key:
            _check_children(place, spec, child)
    if isinstance(spec, PlainSpec):
        _read_files(place, spec)
        _check_fields(place, spec)
    checks = checks_of(spec.name)
    if checks is not None:
        checks.check(place, stack)
    _check_tags(place)


def _check_name(place: EntryContext, path: str, name: str, spec: KindSpec) -> bool:
    wrong = spec.named_badly(name)
    if wrong:
        place.error(path, "bad-name", f"{show(name)} is not a name for {spec.a_words}", spec.pattern_words)
    return wrong


def _check_children(place: EntryContext, spec: KindSpec, child: KindSpec) -> None:
    """What an entry holds of another kind: how many, their names, and their values."""
    held = list(child.held_in(place.values))
    if child.quota is not None and len(held) > child.quota:
        place.error(
            child.parent_key, "too-many", f"{len(held)} {child.many}; SES takes {child.quota} a {spec.words}",
            f"declare {child.quota} at most",
        )  # fmt: skip
    checks = checks_of(child.name)
    seen: set[tuple[str, ...]] = set()
    for name, path, values in held:
        if child.item_key and name in seen:
            place.error(path, "repeated-item", f"{' '.join(name)} is there twice", "keep one of the two")
        seen.add(name)
        _check_name(place, path, "/".join(name), child)
        if checks is not None and isinstance(values, dict):
            checks.check(place, path, values)


def _check_tags(place: EntryContext) -> None:
    """Count, characters and reserved prefixes of an entry's tags, the stack's included."""
    tags = place.values.get("tags")
    if not isinstance(tags, dict):
        return
    if len(tags) > MAX_TAGS - RECON_TAGS:
        place.error("tags", "too-many", f"{len(tags)} tags; AWS takes {MAX_TAGS}, {RECON_TAGS} kept for recon",
                    f"keep {MAX_TAGS - RECON_TAGS} at most, those of the stack included")  # fmt: skip
    if SECTIONS[place.section][0].principal:
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
                        f"1 to 128 {_TAG_WORDS}")  # fmt: skip
        if isinstance(value, str) and (len(value) > 256 or not _TAG_CHARACTERS.fullmatch(value)):
            place.error(path, "bad-tag", f"{show(value)} is not a tag value",
                        f"up to 256 {_TAG_WORDS}")  # fmt: skip
        elif isinstance(value, str) and value.lower().startswith("aws:"):
            place.error(path, "reserved-tag", "tag values that begin with aws: are kept for AWS",
                        "choose another value")  # fmt: skip


def _read_files(place: EntryContext, spec: PlainSpec) -> None:
    """Put the text of each file in the place of ``{file: PATH}``."""
    for key, field in spec.fields.items():
        value = place.values.get(key)
        name = value.get("file") if field.file and isinstance(value, dict) else None
        if not isinstance(name, str):
            continue
        try:
            data = read_file(name, place.root, what="the file", limit=spec.max_bytes or MAX_TEXT)
            place.values[key] = data.decode("utf-8")
        except UnicodeDecodeError:
            place.error(key, "bad-file", f"the file {name} is not UTF-8 text", "save it as UTF-8")
        except ReconError as problem:
            place.error(key, "bad-file", problem.message, problem.hint)


def _check_fields(place: EntryContext, spec: PlainSpec) -> None:
    """What an entry must have, and how long its texts may be together."""
    if spec.one_of and all(place.values.get(key) is None and place.lacks_value(key) for key in spec.one_of):
        place.error("", "missing-key", f"none of {', '.join(spec.one_of)} is there", "write one of them at least")
    for key, field in spec.fields.items():
        for name, item in (place.values.get(key) or {}).items() if field.keyed else ():
            for needed in field.needed:
                if isinstance(item, dict) and item.get(needed) is None:
                    place.error(f"{key}.{name}", "missing-key", f"{needed} is missing", f"write `{needed}:`", needed)
    texts = [text for key in spec.fields if isinstance(text := place.values.get(key), str)]
    size = sum(len(text.encode(errors="replace")) for text in texts)
    if spec.max_bytes and size > spec.max_bytes:
        place.error("", "too-long", f"its texts have {size} bytes; SES takes {spec.max_bytes}", "make them shorter")


@cache
def checks_of(kind: str) -> Any:
    """The module with a kind's own checks, or None."""
    there = (FOLDER / kind / "checks.py").is_file()
    return import_module(f"reconciler.resources.{kind}.checks") if there else None


def refuse_pasted(place: EntryContext, path: str, reference: Mapping[str, Any]) -> None:
    """Refuse a secret that stands where its name, path or key belongs; ``reference`` is at ``path``."""
    for key, value in reference.items():
        if isinstance(value, Mapping):
            refuse_pasted(place, f"{path}.{key}", value)
        elif isinstance(value, str) and (looks_secret(value) or "\n" in value):
            place.error(
                f"{path}.{key}", "bad-secret-reference", "this is shaped like the secret itself, not like its name",
                "store the secret, write its name here, and make a new one: whoever has read this file knows it",
            )  # fmt: skip
