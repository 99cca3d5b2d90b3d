"""The proof of a draft: it is loaded and planned against what was read, and what would change anything is taken out.

So the promise of ``recon import`` is kept by construction: the plan of what it writes adopts, and changes nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Final

from reconciler.desired import load_texts
from reconciler.desired.schema import definition
from reconciler.errors import InvalidState, ReconError
from reconciler.importing.draft import KIND_OF, EntryDraft, ImportDraft, Path, part_name
from reconciler.importing.writing import Where, render
from reconciler.kinds.plain import PlainKind
from reconciler.kinds.registry import REGISTRY
from reconciler.kinds.snapshot import Snapshot
from reconciler.model import Address, Change, Diagnostic, Document, Entry, Plan, State
from reconciler.observing import declare
from reconciler.planner import make_plan
from reconciler.resources import KINDS, RECORD_GROUPS, SECTIONS, holder_of
from reconciler.resources.dns_record import intents
from reconciler.resources.dns_record.intents import Intent
from reconciler.rules import RULES

ROUNDS: Final = 40
"""Each round takes something out; more than a few only happen where layers of a state are stacked high."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proven: the texts by file name, and the plan that they give on what was read."""

    texts: Mapping[str, str]
    plan: Plan
    state: State


def prove(draft: ImportDraft, snapshot: Snapshot, *, single: str | None, beside: str | None = None) -> Proof:
    """Take out of ``draft`` whatever the loader refuses or the plan would change; returns what is left, as text.

    ``beside`` is the state that it is written into. Raises ReconError where that state is invalid by itself, or where
    no end is found.
    """
    for _ in range(ROUNDS):
        texts, where = render(draft, single=single)
        try:
            state = load_texts(texts, draft.environment, beside=beside).state
        except InvalidState as problem:
            if not _apply_loader_errors(draft, problem.diagnostics, where):
                raise
            continue
        plan, asked = _planned(draft, snapshot, state)
        if not _apply_plan_changes(draft, plan, asked, where):
            if _take_presets(draft, snapshot, state):
                continue
            return Proof(_shorter(draft, state, single) or texts, plan, state)
    raise ReconError(
        "what exists live could not be said in YAML so that its plan is empty", hint="import fewer NAMES; report this"
    )


def _take_presets(draft: ImportDraft, read: Snapshot, state: State) -> bool:
    """Write the preset of each entry that means the same with it, without what that says; whether one does."""
    taken = False
    for kind in REGISTRY.values():
        if not isinstance(kind, PlainKind) or not kind.spec.preset_says:
            continue
        for item in draft.items.values():
            if KIND_OF[item.section] != kind.name or any("preset" in values for values in item.regional.values()):
                continue
            entries = [one for one in state.entries if (one.section, one.name) == (item.section, item.name)]
            for preset in definition(SECTIONS[item.section][1].entry)["properties"]["preset"]["enum"]:
                if (needless := _needless(kind, read, state, entries, preset)) is not None:
                    for values in item.regional.values():
                        kept = {key: value for key, value in values.items() if key not in needless}
                        values.clear()
                        values |= {"preset": preset, **kept}
                    taken = True
                    break
    return taken


def _needless(kind: PlainKind, read: Snapshot, state: State, entries: Sequence[Entry], preset: str) -> set[str] | None:
    """The keys without which ``entries``, those of one resource, mean the same with a preset; None: they do not. What
    they do not say, the preset may say as it is live."""
    # what presets say depends on the entries of other kinds
    others = tuple(one for one in state.entries if KIND_OF.get(one.section) != kind.name)

    def meant(without: Set[str], **more: str) -> dict[Address, Document]:
        changed = (
            replace(one, values={**{k: v for k, v in one.values.items() if k not in without}, **more})
            for one in entries
        )
        return {one.address: one.spec for one in kind.desired(replace(state, entries=(*others, *changed)))}

    now, needless = meant(set()), set(kind.spec.preset_says)
    if not now.keys() <= read.observed.keys():
        return None

    def same(without: Set[str]) -> bool:
        then = meant(without, preset=preset)
        return all(
            spec.keys() <= then[address].keys()
            and then[address] == {key: {**read.observed[address].spec, **spec}.get(key) for key in then[address]}
            for address, spec in now.items()
        )

    if not same(needless):
        return None
    for key in sorted({key for one in entries for key in one.values} - needless - {"tags"}):
        if same({*needless, key}):
            needless.add(key)
    return needless


def _shorter(draft: ImportDraft, state: State, single: str | None) -> Mapping[str, str] | None:
    """A new state as a person would write it, with ``defaults`` and ``classes``, if it says exactly the same; else with
    defaults alone, else None."""
    for classes in (True, False) if draft.stack is not None else ():
        texts, _ = render(draft, single=single, defaults=True, classes=classes)
        try:
            same = load_texts(texts).state
        except InvalidState:
            continue
        if _said(same) == _said(state):
            return texts
    return None


def _said(state: State) -> list[tuple[str, str, str, Mapping[str, object]]]:
    return sorted(((e.section, e.name, e.region or "", e.values) for e in state.entries), key=lambda entry: entry[:3])


def _planned(draft: ImportDraft, read: Snapshot, state: State) -> tuple[Plan, dict[tuple[str, str], Intent]]:
    """The plan for what the draft declares alone, on what was read, and which declaration wants which record."""
    mine = {key for key, item in draft.items.items() if item.section in KIND_OF}
    # users are not planned, but what presets say depends on them
    users = {name for name, kind in KIND_OF.items() if KINDS[kind].principal == "user"}
    entries = tuple(e for e in state.entries if (e.section, e.name) in mine or e.section in users)
    snapshot = declare(replace(state, entries=entries), read.now)
    snapshot.desired = {a: one for a, one in snapshot.desired.items() if one.entry.section not in users}
    snapshot.observed = dict(read.observed)
    snapshot.zones = read.zones
    snapshot.unread = list(read.unread)
    asked: dict[tuple[str, str], Intent] = {}
    for intent in intents.of_state(snapshot):
        label = f"{intent.domain}:dkim:{intent.region}:{intent.token}" if intent.token else intent.name or ""
        asked.setdefault((label, intent.type), intent)
        if intent.name:
            asked.setdefault((intent.name, intent.type), intent)
    return make_plan(snapshot), asked


# --- what the loader refuses ---------------------------------------------------------------------------------------


def _apply_loader_errors(draft: ImportDraft, diagnostics: Iterable[Diagnostic], where: Where) -> bool:
    """Take out what errors point at; False where one points outside what we write."""
    moved = False
    owners = draft.by_address()
    done: set[tuple[str, str, Path]] = set()
    for found in diagnostics:
        if found.severity != "error":
            continue
        place = where.get((found.file, found.line))
        if place is not None and place in done:
            continue
        done |= {place} if place else set()
        item = draft.items.get(place[:2]) if place else owners.get(found.address)
        if item is None:
            if place and place[0] == "smtp_users":
                moved |= _undeclare(draft, place[1], found)
            continue
        path = place[2] if place else ()
        moved |= _without(draft, item, path, found)
    return moved


def _without(draft: ImportDraft, item: EntryDraft, path: Path, found: Diagnostic) -> bool:
    """Take one part out, or the whole entry where the error is about all of it."""
    region = None
    if path[:1] == ("by_region",):
        region, path = (path[1] if len(path) > 1 else None), path[2:]
    why = _why(found)
    if not path or path[0] in {"regions", "unmanaged"}:
        draft.leave_out(item, found.code, why)
        return True
    keys = path[: _depth(path)]
    if not item.drop(keys, why, region) and not item.drop(keys, why):
        draft.leave_out(item, found.code, why)
    return True


_IN_PARTS: Final = frozenset(
    {
        "policies", "tags", *(spec.parent_key for spec in KINDS.values() if spec.parent_key),
        *(key for spec in KINDS.values() for key, field in spec.all_fields.items() if field.inner or field.keyed),
    }
)  # fmt: skip
"""Keys below which each key can be left out by itself."""


def _depth(path: Path) -> int:
    """How deep a part is that can be left out by itself: one policy, one tag, one destination, one option."""
    return 2 if path[0] in _IN_PARTS else 1


def _undeclare(draft: ImportDraft, name: str, found: Diagnostic) -> bool:
    for user in draft.users:
        if user.name == name and user.values is not None:
            user.values = None
            user.why = _why(found)
            return True
    return False


def _why(found: Diagnostic) -> str:
    _, colon, rest = found.message.partition(": ")
    return rest if colon and found.message.count(".") else found.message


# --- what the plan would change ------------------------------------------------------------------------------------


class _Round:
    """What one round takes out of a draft: each part once, however many records or fields contradict it."""

    def __init__(self, draft: ImportDraft) -> None:
        self.draft = draft
        self.done: set[tuple[str, str, Path, str | None]] = set()

    def take(
        self, item: EntryDraft, path: Path, region: str | None, why: str, *, code: str = "", record: bool = False
    ) -> None:
        """Leave a part out, or the entry where it has no such part. ``record``: what is wrong is the part's record."""
        key = (item.section, item.name, path, region)
        if key in self.done:
            return
        self.done.add(key)
        taken = item.drop(path, why, region)
        if path == ("dkim",) and record:
            # The records of an identity's DKIM are wanted whether its block is written or not.
            taken |= item.unmanage("dkim", why)
        if not taken and len(path) > 1:
            taken = item.unmanage(path[0], why)
        if not taken:
            self.draft.leave_out(item, code or "not-sayable", why)


def _apply_plan_changes(draft: ImportDraft, plan: Plan, asked: Mapping[tuple[str, str], Intent], where: Where) -> bool:
    """Take out whatever the plan would do beside adopting; True where there was something."""
    owners = draft.by_address()
    this = _Round(draft)
    moved = False
    for found in plan.diagnostics:
        if found.severity == "error" and found.code not in RULES and found.code != "unread":
            moved |= _refused(this, owners, found, asked, where)
    for change in [one for one in plan.changes if not one.claims]:
        for item, path, region, why in _unwanted(draft, owners, change, asked):
            this.take(item, path, region, why, record=change.kind == "dns_record")
            moved = True
    return moved


def _unwanted(
    draft: ImportDraft, owners: Mapping[Address, EntryDraft], change: Change, asked: Mapping[tuple[str, str], Intent]
) -> Iterator[tuple[EntryDraft, Path, str | None, str]]:
    if change.kind == "dns_record":
        _, zone, name, type_ = change.address.split("/", 3)
        intent = asked.get((name, type_))
        if intent is None:
            # What this stack put there once and the draft cannot say; a marker is deleted with what it remembers.
            item, group = _remembered(draft, name, type_)
            if item is not None:
                yield item, (group,), None, _record_words(change, zone, name, type_)
            return
        own = draft.items.get(("domains", intent.domain))
        if own is not None and change.action == "update" and {diff.path for diff in change.diff} == {"ttl"}:
            yield own, ("ttl",), None, "a layer of the state asks for another ttl than the live records have"
            return
        yield from _of_record(draft, owners, intent, _record_words(change, zone, name, type_))
        return
    if holder := holder_of(change.address):
        item = owners.get(holder)
        if item is not None:
            path = (KINDS[change.kind].parent_key, part_name(change.address))
            yield item, path, change.region, _diff_words(change)
        return
    item = owners.get(change.address)
    if item is None:
        return
    for diff in change.diff:
        if diff.path.startswith("tags.recon:") or (diff.source and "stack.tags" in diff.source.via):
            continue
        keys = tuple(diff.path.split(".", 1))
        yield item, keys if keys[0] in _IN_PARTS else keys[:1], change.region, _diff_words(change)


def _remembered(draft: ImportDraft, name: str, type_: str) -> tuple[EntryDraft | None, str]:
    """The domain of the draft that has its own record at ``name``, and which of its records it is."""
    for group in (RECORD_GROUPS[one][1] for one in intents.OWN_GROUPS):
        for domain in group.resources_of(name) if type_ in group.types else ():
            return draft.items.get(("domains", domain)), group.name
    return (draft.items.get(("domains", name)), "spf") if type_ == "TXT" else (None, "")


def _of_record(
    draft: ImportDraft, owners: Mapping[Address, EntryDraft], intent: Intent, why: str
) -> Iterator[tuple[EntryDraft, Path, str | None, str]]:
    if intent.group == "tracking":
        for owner in intent.owners:
            if owner in owners:
                yield owners[owner], ("tracking_options",), intent.region, why
        return
    item = draft.items.get(("domains", intent.domain))
    if item is not None:
        yield item, (intent.group,), intent.region if intent.group == "mail_from" else None, why


def _refused(
    this: _Round,
    owners: Mapping[Address, EntryDraft],
    found: Diagnostic,
    asked: Mapping[tuple[str, str], Intent],
    where: Where,
) -> bool:
    draft = this.draft
    parts = found.address.split("/", 3)
    if parts[0] == "dns_record" and len(parts) == 4 and (intent := asked.get((parts[2], parts[3]))) is not None:
        moved = False
        for item, path, region, why in _of_record(draft, owners, intent, found.message):
            this.take(item, path, region, why, code=found.code, record=True)
            moved = True
        return moved
    if parts[0] == "dns_record" and len(parts) == 4:
        own, group = _remembered(draft, parts[2], parts[3])
        if own is not None and group not in own.unmanaged:
            this.take(own, (group,), None, found.message, code=found.code, record=True)
            return True
    place = where.get((found.file, found.line))
    chosen = draft.items.get(place[:2]) if place else None
    if chosen is not None and place is not None:
        return _without(draft, chosen, place[2], found)
    chosen = owners.get(found.address)
    if chosen is None:
        return False
    draft.leave_out(chosen, found.code, found.message)
    return True


def _record_words(change: Change, zone: str, name: str, type_: str) -> str:
    before, after = change.before or {}, change.after or {}
    if change.action == "create":
        return f"{after.get('name') or name} {type_} is not in the zone {zone}"
    record = f"{before.get('name') or name} {type_} in the zone {zone}"
    live, expected = _values(before.get("value")), _values(after.get("value"))
    if not live or live == expected:
        return f"{record} is not as expected"
    return f"{record} is {live}; expected {expected or 'none'}"


def _values(value: object) -> str:
    listed: Sequence[object] = value if isinstance(value, list | tuple) else [] if value is None else [value]
    return ", ".join(str(v) for v in listed)


def _diff_words(change: Change) -> str:
    shown = [d.path for d in change.diff if not d.path.startswith("tags.recon:")]
    if change.action == "create":
        return "a layer of the state asks for it, and it does not exist live"
    return f"a layer of the state, or recon itself, asks for another {', '.join(shown[:4])} than the live one"
