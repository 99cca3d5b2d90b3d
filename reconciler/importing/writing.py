"""A draft as YAML: sorted, commented, quoted wherever a plain scalar could be misread; and which line says what."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Any, Final

from reconciler.desired.reading import scalar
from reconciler.desired.schema import definition
from reconciler.importing.draft import KIND_OF, Dropped, EntryDraft, ImportDraft, Path, inert, merged, pipeline_safe
from reconciler.importing.factoring import Factored, factor
from reconciler.importing.users import SmtpUserFound, own_policy
from reconciler.resources import KINDS, SECTIONS

WIDTH: Final = 116
FILES: Final = {"stack": "stack.yaml", **{name: section.file for name, (_, section) in SECTIONS.items()}}
"""Section -> its file, where a directory is written."""


@cache
def order_of(section: str) -> Mapping[str, int]:
    """The place of each key in an entry: as its schema lists them."""
    keys = definition(SECTIONS[section][1].entry)["properties"]
    return {key: number for number, key in enumerate(keys)}


_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@-]*")

Where = dict[tuple[str, int], tuple[str, str, Path]]
"""(file, line from 1) -> section, name, path of the value there."""


@dataclass(slots=True)
class Page:
    """The lines of one file."""

    name: str
    lines: list[str] = field(default_factory=list)
    where: Where = field(default_factory=dict)

    def add(self, text: str, place: tuple[str, str, Path] | None = None) -> None:
        self.lines.append(text)
        if place is not None:
            self.where[self.name, len(self.lines)] = place

    def comment(self, text: str, indent: int = 0) -> None:
        """A comment, wrapped; whatever live text it holds can neither end it nor hide."""
        pad = " " * indent
        more = "  " if text.startswith("- ") else ""
        width = max(40, WIDTH - indent - 2)
        for line in textwrap.wrap(
            inert(text), width, break_long_words=False, break_on_hyphens=False, subsequent_indent=more
        ):
            self.lines.append(f"{pad}# {line}")


class _Pages:
    """The files under way: one, or one a section; in an environment each begins with its key."""

    def __init__(self, single: str | None, environment: str | None) -> None:
        self.single, self.environment = single, environment
        self.by_name: dict[str, Page] = {}
        self._opened: set[str] = set()

    def page(self, section: str) -> Page:
        name = self.single or FILES[section]
        return self.by_name.setdefault(name, Page(name))

    def open(self, section: str) -> tuple[Page, int]:
        """The page with the key of ``section`` written, and the indentation of its entries."""
        here = self.page(section)
        if here.lines:
            here.add("")
        base = 0
        if self.environment is not None:
            if here.name not in self._opened:
                here.add("environments:")
                here.add(f"  {quoted(self.environment)}:")
            base = 4
        self._opened.add(here.name)
        here.add(f"{' ' * base}{section}:")
        return here, base + 2


def render(
    draft: ImportDraft, *, single: str | None, defaults: bool = False, classes: bool = False
) -> tuple[dict[str, str], Where]:
    """File name -> text, and which line says what. ``single`` is the name of the one file, None for one a section.

    ``defaults``: what all domains, or all sets, have alike is written once; ``classes``: and what many have.
    """
    pages = _Pages(single, draft.environment)
    entries = {key: _values(item, draft.regions) for key, item in draft.items.items()}
    if draft.stack is not None:
        _stack(pages.page("stack"), draft)
    if defaults:
        found = factor(entries, classes=classes)
        entries = found.entries
        _factored(pages, found)
    for section in KIND_OF:
        items = sorted((i for i in draft.items.values() if i.section == section), key=lambda item: item.name)
        if items:
            here, indent = pages.open(section)
            long = False
            for item in items:
                if long:
                    here.add("")
                before = len(here.lines)
                _entry(here, item, entries[section, item.name], indent)
                long = len(here.lines) > before + 1
    if draft.users:
        _users(pages, draft)
    if draft.left or draft.unread:
        _left_out(pages, draft)
    where: Where = {}
    for here in pages.by_name.values():
        where |= here.where
    return {here.name: "\n".join(here.lines) + "\n" for here in pages.by_name.values()}, where


def _factored(pages: _Pages, found: Factored) -> None:
    """Write what all entries of a section have alike under ``defaults``, and what like ones have under ``classes``."""
    here = pages.page("stack")
    if found.defaults:
        here.add("")
        here.comment("What all of them have alike. An entry that says something else wins.")
        here.add("defaults:")
        _blocks(here, found.defaults, 2)
    if found.classes:
        here.add("")
        here.comment("What many have alike: an entry with this class says only what differs.")
        here.add("classes:")
        for name, blocks in sorted(found.classes.items()):
            here.add(f"  {quoted(name)}:")
            _blocks(here, blocks, 4)


def _blocks(page: Page, blocks: Mapping[str, Mapping[str, Any]], indent: int) -> None:
    for section, shared in blocks.items():
        page.add(f"{' ' * indent}{SECTIONS[section][1].entry}:")
        places = order_of(section)
        for name in sorted(shared, key=lambda key: (places.get(key, len(places)), key)):
            for text, _ in lines({name: shared[name]}, indent + 2):
                page.add(text)


def _users(pages: _Pages, draft: ImportDraft) -> None:
    here, indent = pages.open("smtp_users")
    if not draft.declare_users:
        here.comment(
            "These users can send today. They are not declared yet: recon cannot read the secret of a key, so the "
            "first apply of a declared user makes a new access key and stores its password; the keys that it has "
            "stay as they are. To declare a user, remove the # from its entry and choose where its password is stored. "
            "`recon import --smtp-users` writes them declared.",
            indent,
        )
    for user in draft.users:
        here.add("")
        _user(here, user, indent, declared=draft.declare_users)


def _left_out(pages: _Pages, draft: ImportDraft) -> None:
    """List, as comments, what the YAML does not have although it exists, and what could not be read."""
    if pages.single is None and draft.stack is not None:
        here = pages.page("stack")
    else:
        here = next(iter(pages.by_name.values()), None) or pages.page("stack")
    here.add("")
    if draft.left:
        here.comment("Left out:")
        for left in sorted(draft.left, key=lambda left: left.address):
            here.comment(f"- {left.address}: {left.why}")
    if draft.unread:
        here.comment("Could not be read, so that nothing is known of it:")
        for text in draft.unread:
            here.comment(f"- {text}")


def _stack(page: Page, draft: ImportDraft) -> None:
    page.comment(
        "What `recon import` found, as it is live. `recon plan` shows nothing but adoptions: each adds tags, above all"
    )
    page.comment(
        "recon:stack, which says that this stack owns the thing. `recon apply --allow-adopt` carries them out."
    )
    if draft.declare_users and any(user.needs_key for user in draft.users):
        page.comment("The SMTP users below are declared: an access key is made where recon has made none.")
    page.comment("The name is what owns: choose it before the first apply.")
    page.add("stack:", ("stack", "", ()))
    stack = draft.stack or {}
    page.add(f"  name: {quoted(stack['name'])}", ("stack", "", ("name",)))
    page.add(f"  account: {json.dumps(stack['account'])}", ("stack", "", ("account",)))
    page.add(f"  regions: {flow(list(stack['regions']))}", ("stack", "", ("regions",)))
    if "tags" in stack:
        page.add(f"  tags: {flow(stack['tags'])}", ("stack", "", ("tags",)))


def _values(item: EntryDraft, stack_regions: tuple[str, ...]) -> dict[str, Any]:
    """The values of an entry as they are written, all regions in one."""
    top, by_region = merged({region: _with_lists(values) for region, values in item.regional.items()})
    values: dict[str, Any] = {**item.own, **top}
    at_home = SECTIONS[item.section][1].at_home.items()
    elsewhere = not any(top.get(key) in values for key, values in at_home)
    if elsewhere and any(item.regional) and tuple(item.regional) != stack_regions:
        values["regions"] = list(item.regional)
    if by_region:
        values["by_region"] = by_region
    if item.unmanaged:
        values["unmanaged"] = sorted(item.unmanaged)
    return values


_ITEMS: Final = {spec.parent_key: spec.item_key for spec in KINDS.values() if spec.item_key}
"""Keys of entries that hold a list -> the keys that name an item in it."""


def _with_lists(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of an entry with lists where the draft has items by their name."""
    return {key: list(value.values()) if key in _ITEMS else value for key, value in values.items()}


def _entry(page: Page, item: EntryDraft, values: Mapping[str, Any], indent: int) -> None:
    place = (item.section, item.name)
    pad = " " * indent
    for note in item.notes:
        page.comment(note, indent)
    key = quoted(item.name.replace("${", "$${"))
    short = f"{pad}{key}: {flow(values)}"
    if values.keys() <= {"class", "vars"} and len(short) <= WIDTH:
        page.add(short, (*place, ()))
        values = {}
    else:
        page.add(f"{pad}{key}:", (*place, ()))
    places = order_of(item.section)
    for name in sorted(values, key=lambda n: (places.get(n, len(places)), n)):
        for text, path in lines({name: values[name]}, indent + 2):
            page.add(text, (*place, path))
    for part in item.dropped:
        _dropped(page, item, part, indent + 2)


def _dropped(page: Page, item: EntryDraft, part: Dropped, indent: int) -> None:
    name = ".".join(part.path) or "all of it"
    page.comment(f"{name} is not managed here: {part.why}", indent)
    values = {flow(value) for value in part.live.values()}
    for region, value in part.live.items():
        where = f" in {region}" if len(values) > 1 and region else ""
        page.comment(f"live{where}: {flow({part.path[-1] if part.path else item.name: value})[1:-1]}", indent)
        if len(values) <= 1:
            break


def _user(page: Page, user: SmtpUserFound, indent: int, *, declared: bool) -> None:
    page.comment(f"{user.name}: may send by {'; '.join(user.grants)}", indent)
    if len(user.keys) >= 2:
        page.comment(
            f"it has {len(user.keys)} keys, and IAM allows no third: `recon smtp rotate {user.name} --replace KEY` "
            "says which one is deleted",
            indent,
        )
    if user.values is None:
        page.comment(f"An entry cannot say what it may do: {user.why}. Left as it is.", indent)
        return
    if not own_policy(user):
        page.comment(
            "apply adds a policy of recon's that says the same; the one that it has stays until taken off", indent
        )
    if user.values["from_addresses"] == ["*"]:
        page.comment("it may send as anybody: name the addresses that it is for", indent)
    place = ("smtp_users", user.name)
    mark = "" if declared else "# "
    pad = " " * indent
    page.add(f"{pad}{mark}{quoted(user.name)}:", (*place, ()) if declared else None)
    for text, path in lines(user.values, 2):
        page.add(f"{pad}{mark}{text}", (*place, path) if declared else None)


# --- YAML ----------------------------------------------------------------------------------------------------------


def lines(values: Mapping[str, Any], indent: int, path: Path = ()) -> Iterator[tuple[str, Path]]:
    """A map as block YAML, one (line, path) after the other; what fits on a line stays on one."""
    pad = " " * indent
    for key, value in values.items():
        here = (*path, key)
        head = f"{pad}{quoted(key)}:"
        if not isinstance(value, dict | list) or _fits(head, value, here):
            yield f"{head} {flow(value)}", here
        elif isinstance(value, dict):
            yield head, here
            yield from lines(value, indent + 2, here)
        else:
            yield head, here
            for number, item in enumerate(value):
                yield from _item(item, indent + 2, (*here, _label(key, number, item)))


def _item(item: Any, indent: int, path: Path) -> Iterator[tuple[str, Path]]:
    pad = " " * indent
    if not isinstance(item, dict | list) or len(pad) + len(flow(item)) + 2 <= WIDTH or not item:
        yield f"{pad}- {flow(item)}", path
        return
    first = True
    nested = lines(item, indent + 2, path) if isinstance(item, dict) else _nested(item, indent + 2, path)
    for text, place in nested:
        yield (f"{pad}- {text[indent + 2 :]}" if first else text), place
        first = False


def _nested(items: Iterable[Any], indent: int, path: Path) -> Iterator[tuple[str, Path]]:
    for number, item in enumerate(items):
        yield from _item(item, indent, (*path, str(number)))


def _label(key: str, number: int, item: Any) -> str:
    """What names an item of a list in a path: its place, or what the draft knows it by."""
    parts = _ITEMS.get(key, ())
    named = bool(parts) and isinstance(item, Mapping) and item.keys() >= set(parts)
    return "/".join(str(item[part]) for part in parts) if named else str(number)


def _fits(head: str, value: Any, path: Path) -> bool:
    if not value:
        return True
    held = [spec.parent_key for spec in KINDS.values() if spec.parent_key]
    deep = path[-1] in {"by_region", "policies", *held} or path[-2:-1] in [(key,) for key in held]
    return not deep and len(head) + 1 + len(flow(value)) <= WIDTH


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{quoted(str(k))}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):  # without an exponent, which not every reader takes for a number
        return str(int(value)) if value.is_integer() else format(Decimal(repr(value)), "f")
    return str(value) if isinstance(value, int) else quoted(str(value))


def quoted(text: str) -> str:
    """A text as YAML: plain where every reader takes it for that text, else in double quotes (YAML 1.2.2, 7.3.1)."""
    if _PLAIN.fullmatch(text) and type(scalar(text)) is str and text not in {"y", "Y", "n", "N"}:
        return text
    escaped = "".join({"\\": "\\\\", '"': '\\"'}.get(c) or (c if c.isprintable() else _escape(c)) for c in text)
    return f'"{pipeline_safe(escaped)}"'


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02X}" if number < 0x100 else f"\\u{number:04X}" if number < 0x10000 else f"\\U{number:08X}"
