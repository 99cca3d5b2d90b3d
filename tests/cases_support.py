"""The cases of the kinds, ``reconciler/resources/KIND/cases.yaml``, and the worlds that they begin in.

One YAML document a section in which the kind can be declared:

    fields_only: true               # a further case for some fields, for which the other laws are not tried again
    section: domains                # where it is not the kind's only one
    inside: main                    # for kinds that stand inside an entry of another: the name of that entry
    address: dns_record/...         # where it does not follow from section and name
    world: {...}                    # YAML that must be there, and stays
    seed: {...}                     # what others have in AWS, for Sandbox.seed
    others: [{service: iam, operation: create_policy, ...}]        # and what they have made by calls
    files: {a.html: ...}            # beside the state; PEM-1 and PEM-2, there and in others, are RSA keys
    verify: [news@acme.com]         # addresses that are verified as soon as they are there
    base: {NAME: {...}}             # the smallest entry
    fields: {PATH: {a: ..., b: ..., live: [...]}}      # see FieldCase
    refused: [{is: {...}, says: CODE}]                 # entries that are no good
    never_called: {CALL: reason}    # declared by the kind, and made in none of its cases
    may_be_denied: {CALL: reason}   # reads without which the kind is planned all the same
    without: {LAW: reason}          # a law of tests/test_resources.py that the kind cannot keep
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from faults import ledger
from faults.keys import pem
from support import HOME, House, client, merge, put, told

from reconciler.aws import iam_action
from reconciler.model import Result
from reconciler.resources import FOLDER, KINDS
from reconciler.resources.spec import KindSpec
from reconciler.sandbox.kept import services

TAG = "recon:"
ENTRY = "*"


@dataclass(frozen=True)
class FieldCase:
    """One key of an entry: two values, and the members in the sandbox that differ between them (``live``).

    The path ``*`` is the entry itself. ``reset``: what ``null`` gives: ``usual``, as if it had never been written,
    ``refused`` by the schema, ``never`` done, since the plan refuses it, or members of AWS that are there then although
    a new resource has none. ``out``: what taking it out of the YAML does: the live value is ``kept``, ``deleted`` with
    the declaration, ``changed`` in another way, or ``never`` taken away, since the plan refuses it. ``change``: how a
    becomes b. ``more``: other keys that the entry needs with it. ``apart``: it cannot be in one entry with the others.
    ``hours``: how long AWS lets nobody change it again. ``address``: what it changes, where that is not the case's.
    """

    path: str
    a: Any
    b: Any
    live: frozenset[str]
    reset: str | Mapping[str, Any] = "usual"
    out: str = "kept"
    change: str = "update"
    more: Mapping[str, Any] = field(default_factory=dict)
    apart: bool = False
    hours: int = 0
    address: str = ""
    same: tuple[Any, ...] = ()
    """Other spellings of ``a``: another order of a set."""

    @property
    def place(self) -> tuple[str, ...]:
        return () if self.path == ENTRY else tuple(self.path.split("."))


@dataclass(frozen=True)
class Case:
    """One way to declare a resource of a kind."""

    spec: KindSpec
    id: str
    address: str
    place: tuple[str, ...]
    """Where the entry stands in the YAML."""
    base: Mapping[str, Any]
    world: Mapping[str, Any]
    seed: Mapping[str, Any]
    others: tuple[Mapping[str, Any], ...]
    files: Mapping[str, str]
    verify: tuple[str, ...]
    fields_only: bool
    fields: tuple[FieldCase, ...]
    refused: tuple[Mapping[str, Any], ...]
    never_called: Mapping[str, str]
    may_be_denied: Mapping[str, str]
    without: Mapping[str, str]

    def _put(self, values: Any) -> dict[str, Any]:
        """The YAML with ``values`` as the entry; in a list with what names it."""
        if not self.spec.item_key:
            return put(self.world, self.place, values)
        parts = self.address.split("/", 1 + len(self.spec.address))[-len(self.spec.item_key) :]
        return put(self.world, self.place, [{**dict(zip(self.spec.item_key, parts, strict=True)), **(values or {})}])

    @property
    def permanent(self) -> bool:
        """Whether AWS always has it: it is neither created nor deleted."""
        return self.spec.permanent

    @property
    def gone(self) -> Mapping[str, Any]:
        """The YAML without the entry."""
        return self.world

    def with_entry(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The YAML with the smallest entry and ``values`` laid over it."""
        return self._put(merge(self.base, values))

    def with_field(self, one: FieldCase, value: Any) -> dict[str, Any]:
        """The YAML in which a field says ``value``."""
        if one.path == ENTRY:
            return self._put(value)
        return self.with_entry(put(merge({}, one.more), one.place, value))

    def without_field(self, one: FieldCase) -> dict[str, Any]:
        return self.with_entry(one.more)

    def whole(self, letter: str) -> dict[str, Any]:
        """The YAML with ``a`` (or ``b``) of every field that can stand beside the others."""
        values: dict[str, Any] = {}
        for one in self.fields:
            if not one.apart:
                values = merge(values, put(merge({}, one.more), one.place, getattr(one, letter)))
        return self.with_entry(values)

    def kept(self) -> dict[str, Any]:
        """The YAML of ``whole("a")`` without the fields that keep their live values when they are taken out."""
        values: dict[str, Any] = {}
        for one in self.fields:
            if not one.apart and one.out != "kept":
                values = merge(values, put(merge({}, one.more), one.place, one.a))
        return self.with_entry(values)

    def nulls(self) -> dict[str, Any]:
        """The YAML with ``null`` for every field that takes it and can be changed back."""
        values: dict[str, Any] = {}
        for one in self.fields:
            if not one.apart and self.can_be_null(one):
                values = put(values, one.place, None)
        return merge(self.whole("b"), {}) if not values else self._put(merge(self._kept(), values))

    def can_be_null(self, one: FieldCase) -> bool:
        """Whether ``null`` gives what there is where nobody says anything."""
        return one.reset not in ("refused", "never") and f"reset {one.path}" not in self.without

    def least(self) -> dict[str, Any]:
        """The YAML with the smallest entry that ``whole("b")`` can become."""
        values: dict[str, Any] = {}
        for one in self.fields:
            if one.out == "never":
                values = put(values, one.place, one.b)
        return self.with_entry(values)

    def _kept(self) -> Mapping[str, Any]:
        kept: dict[str, Any] = {}
        for one in self.fields:
            if not one.apart and not self.can_be_null(one):
                kept = put(merge(kept, one.more), one.place, one.b)
        return merge(self.base, kept)


@cache
def cases_of(kind: str) -> tuple[Case, ...]:
    """The cases of a kind; none where its folder has no such file, which fails a test of its own."""
    file = FOLDER / kind / "cases.yaml"
    if not file.is_file():
        return ()
    found = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    return tuple(_case(KINDS[kind], raw, number if len(found) > 1 else 0) for number, raw in enumerate(found, 1))


def all_cases() -> list[Case]:
    return [case for kind in KINDS for case in cases_of(kind)]


def _case(spec: KindSpec, raw: dict[str, Any], number: int) -> Case:
    parent = KINDS.get(spec.parent)
    sections = spec.sections or (parent.sections if parent else ())
    section = raw.pop("section", sections[0].name if sections else "")
    inside = raw.pop("inside", "")
    ((name, base),) = raw.pop("base").items()
    outer = (section, inside, spec.parent_key) if spec.parent_key else (section,)
    place = (*outer, name) if name else outer
    parts = {"REGION": HOME, "SET": inside, "NAME": name}
    address = raw.pop("address", "") or spec.address_of(*(parts.get(part, "") for part in spec.address))
    fields = {
        path: FieldCase(path, **{"address": address, "apart": path == ENTRY, **one, "live": frozenset(one["live"])})
        for path, one in raw.pop("fields").items()
    }
    if spec.taggable and spec.sections and "tags" not in fields:
        live = frozenset({"tags"})
        fields["tags"] = FieldCase(
            "tags", {"team": "mail"}, {"team": "post"}, live, "refused", "deleted", address=address
        )
    case = Case(
        spec=spec, id=f"{spec.name}-{number}" if number else spec.name, address=address, place=place,
        base=base or {}, world=raw.pop("world", {}), seed=raw.pop("seed", {}), others=tuple(raw.pop("others", ())),
        files=raw.pop("files", {}), verify=tuple(raw.pop("verify", ())),
        fields_only=raw.pop("fields_only", False), fields=tuple(fields.values()), refused=tuple(raw.pop("refused", ())),
        never_called=raw.pop("never_called", {}), may_be_denied=raw.pop("may_be_denied", {}),
        without=raw.pop("without", {}),
    )  # fmt: skip
    assert not raw, f"{spec.name}/cases.yaml: {', '.join(raw)} means nothing here"
    return case


# --- worlds ---------------------------------------------------------------------------------------------------------

_worlds: dict[tuple[str, str], Any] = {}


def others(house: House, case: Case) -> None:
    """What others have in AWS, and the files beside the state."""
    write_files(house, case)
    house.sandbox.seed(**case.seed)
    for call in case.others:
        members = {k: _with_keys(v) for k, v in call.items() if k not in {"service", "operation"}}
        getattr(client(call["service"]), call["operation"])(**members)


def verify(house: House, case: Case) -> None:
    """Somebody follows the link that SES has mailed to each new address."""
    found = {name for _, _, state in house.sandbox._server.gateway.world.each("ses") for name in state.identities}
    house.sandbox.seed(verify=[name for name in case.verify if name in found])


def write_files(house: House, case: Case) -> None:
    for name, text in case.files.items():
        Path(house.home / name).write_text(_with_keys(text), encoding="utf-8")


def _with_keys(text: str) -> str:
    """A text with an RSA key for ``PEM-1`` or ``PEM-2``: no key is kept in a file of the project."""
    return pem(int(text[-1])) if text in {"PEM-1", "PEM-2"} else text


def begin(house: House, case: Case, *documents: Mapping[str, Any]) -> None:
    """The world in which ``documents`` were applied one after the other; made once in a process, then from a copy."""
    key = (case.id, json.dumps(documents))
    if key not in _worlds:
        house.sandbox.reset()
        others(house, case)
        for document in documents:
            applied(house, document)
            verify(house, case)
        _worlds[key] = ledger.take(house.sandbox)
    else:
        write_files(house, case)
        ledger.restore(house.sandbox, _worlds[key])
        if documents:
            house.write(documents[-1])
    house.clear()


def applied(house: House, document: Mapping[str, Any] | None = None) -> Result:
    """Apply; it ends well, also where there was nothing to do."""
    result = house.apply(document, expect=None)
    assert result.outcome in {"applied", "no_changes"}, told(result)
    return result


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> frozenset[str]:
    """The members that two ledgers do not share, recon's own tags left out; of what only one of them has, its noun."""
    found: set[str] = set()
    for name in {*one, *other}:
        before, after = one.get(name), other.get(name)
        if before is None or after is None:
            found.add(name.partition(" ")[0])
        elif before != after:
            found |= set(_members(before, after))
    return frozenset(found)


def _members(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for member in {*before, *after}:
        one, other = before.get(member), after.get(member)
        if member == "tags":
            one, other = not_recons(one), not_recons(other)
        if one == other:
            continue
        if " " in member and isinstance(one, dict) and isinstance(other, dict):
            yield from _members(one, other)
        else:
            yield member.partition(" ")[0]


def not_recons(tags: Any) -> dict[str, str]:
    return {k: v for k, v in (tags or {}).items() if not k.startswith(TAG)}


def without_tags(found: Mapping[str, Any]) -> dict[str, Any]:
    """A ledger without recon's own tags and markers: what somebody else may have made, too."""
    return {
        name: {k: not_recons(v) if k == "tags" else v for k, v in item.items()} if isinstance(item, dict) else item
        for name, item in found.items()
        if " _recon." not in name
    }


def each_tags(house: House) -> Iterator[tuple[str, dict[str, str]]]:
    """The tags of every resource of SES, IAM and Route 53, which may be changed; by a name of the resource."""
    world = house.sandbox._server.gateway.world
    for kept in services():
        for account, region, state in world.each(kept.name):
            for noun, items in state.resources.items():
                for name, item in items.items():
                    yield f"{noun} {account} {region} {name}", item.tags
    members = (("ses", "identities"), ("iam", "users"), ("iam", "roles"), ("iam", "profiles"), ("route53", "zones"))
    for service, member in members:
        for account, region, state in world.each(service):
            for name, item in getattr(state, member).items():
                yield f"{service}-{member} {account} {region} {name}", item.tags
            if service == "ses":
                for noun, items in state.resources.items():
                    for name, item in items.items():
                        yield f"{noun} {account} {region} {name}", item.tags


def retagged(house: House, change: Callable[[str, dict[str, str]], Mapping[str, str]]) -> None:
    """Put other tags on every resource: those that ``change`` makes of its name and of those that it has."""
    for name, tags in each_tags(house):
        new = dict(change(name, tags))
        tags.clear()
        tags.update(new)
    house.sandbox._server.gateway.world.zone_version += 1


def disown(house: House) -> None:
    """Take recon's tags and markers off, so that what is left could have been made by anybody."""
    retagged(house, lambda name, tags: not_recons(tags))
    world = house.sandbox._server.gateway.world
    for _, _, state in world.each("route53"):
        for zone in state.zones.values():
            for key in [key for key, raw in zone.sets.items() if raw["Name"].startswith("_recon.")]:
                del zone.sets[key]
    world.zone_version += 1


def by_hand(house: House, tags: Mapping[str, Mapping[str, str]]) -> None:
    """Make the last changes look like somebody else's: recon's tags are those of before."""
    retagged(house, lambda name, now: {**not_recons(now), **{k: v for k, v in tags.get(name, {}).items() if TAG in k}})


def tags_now(house: House) -> dict[str, dict[str, str]]:
    return {name: dict(tags) for name, tags in each_tags(house)}


# --- calls ----------------------------------------------------------------------------------------------------------


def actions(calls: Any) -> set[str]:
    """The IAM actions of calls, ``service:Operation``."""
    return {iam_action(*call.split(":")) for call in calls}


@contextlib.contextmanager
def denied(house: House, call: str) -> Iterator[None]:
    """Inside, AWS denies one operation."""
    service, _, operation = call.partition(":")
    house.sandbox.fault("denied", service=service, operation=operation, count=None)
    try:
        yield
    finally:
        house.sandbox.clear_faults()
