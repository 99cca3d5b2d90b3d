"""What a person would write once: values that all entries of a section have alike (``defaults``), and those of many
like entries (``classes``), with ``${domain}`` and ``${tenant}`` where only the name differs.

Nothing here is trusted: ``proving`` takes a shorter text only if it loads to the same entries.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from reconciler.resources import SECTIONS

EntryKey = tuple[str, str]
Told = dict[str, Any]

FEW: Final = 3
"""From so many entries on, what they have alike is worth lines of its own."""
VARIABLE: Final = "tenant"
FACTORED: Final[Mapping[str, tuple[str, ...]]] = {
    name: section.alike for name, (_, section) in SECTIONS.items() if section.alike
}
"""Section -> the keys that may be written once for all of it."""
_OWN: Final = frozenset({"by_region", "unmanaged", "policies", "class", "vars", "protect", "identity"})
"""Keys that stay with their entry."""


@dataclass(slots=True)
class Factored:
    """Entries with what is left to say of each, and by section what all of them, or those of a class, have alike."""

    entries: dict[EntryKey, Told]
    defaults: dict[str, Told] = field(default_factory=dict)
    classes: dict[str, dict[str, Told]] = field(default_factory=dict)


def factor(entries: Mapping[EntryKey, Told], *, classes: bool) -> Factored:
    """``entries`` by section and name, written shorter."""
    found = Factored({key: dict(values) for key, values in entries.items()})
    for section, keys in FACTORED.items():
        shared = _alike(found.entries, section, keys)
        if shared:
            found.defaults[section] = shared
            for key, values in found.entries.items():
                if key[0] == section and values.get("identity") is not False:
                    found.entries[key] = {k: v for k, v in values.items() if k not in shared}
    if classes:
        tenants = _find_classes(found, "domains", {})
        for section in FACTORED:
            if section != "domains":
                _find_classes(found, section, tenants.get(SECTIONS[section][0].name, {}))
    return found


# --- defaults ------------------------------------------------------------------------------------------------------


def _alike(entries: Mapping[EntryKey, Told], section: str, keys: Iterable[str]) -> Told:
    """The values that every entry of a section has, in every region."""
    mine = [(n, v) for (s, n), v in entries.items() if s == section and v.get("identity") is not False]
    if len(mine) < FEW:
        return {}
    found: Told = {}
    for key in keys:
        held = [_general(v[key], section, n) if key in v and not _apart(v, key) else None for n, v in mine]
        if held[0] is not None and all(value == held[0] for value in held):
            found[key] = held[0]
    return found


def _apart(values: Told, key: str) -> bool:
    """Whether a region has something of its own under a key, or the entry leaves it alone."""
    return any(key in block for block in (values.get("by_region") or {}).values()) or any(
        path.partition(".")[0] == key for path in values.get("unmanaged") or ()
    )


# --- classes -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Member:
    """An entry that may have a class: its name, the tenant that it is for, and what a class may say for it."""

    name: str
    tenant: str | None
    values: Told
    of: str = ""
    """The class whose domains use it."""


Tenants = Mapping[str, tuple[str, str]]
"""Name of a resource -> the class and the tenant of the domain that refers to it."""


def _find_classes(found: Factored, section: str, tenants: Tenants) -> Mapping[str, Tenants]:
    """Give like entries of a section a class. Returns by kind what these refer to by a name with their tenant in it."""
    members = [
        _Member(name, tenant, said, of)
        for (place, name), values in found.entries.items()
        if place == section and values.get("identity") is not False and len(said := _sayable(values)) >= 2
        for of, tenant in [tenants.get(name, ("", name.partition(".")[0] if section == "domains" else None))]
    ]
    groups: defaultdict[str, list[_Member]] = defaultdict(list)
    for member in members:
        groups[member.of + json.dumps(_general_of(member, section), sort_keys=True)].append(member)
    named: defaultdict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    for group in sorted(groups.values(), key=lambda group: -len(group)):
        general = _general_of(group[0], section)
        if len(group) < FEW or all("class" in found.entries[section, one.name] for one in group):
            continue
        title = group[0].of or _title(found, section, general)
        found.classes.setdefault(title, {})[section] = general
        varies = f"${{{VARIABLE}}}" in json.dumps(general)
        for member in members:
            entry = found.entries[section, member.name]
            rest = _rest(member, section, general)
            if "class" in entry or rest is None or member.of not in {"", title}:
                continue
            own = {"vars": {VARIABLE: member.tenant}} if varies else {}
            kept = {key: value for key, value in entry.items() if key in rest or key not in general}
            found.entries[section, member.name] = {"class": title, **own, **kept}
            for reference in SECTIONS[section][0].references:
                used = general.get(reference.path)
                if member.tenant and isinstance(used, str) and "${" in used and reference.path not in rest:
                    named[reference.kind][_special(used, section, member)] = title, member.tenant
    return named


def _sayable(values: Told) -> Told:
    """What a class may say of an entry."""
    return {key: value for key, value in values.items() if key not in _OWN and not _apart(values, key)}


def _general_of(member: _Member, section: str) -> Told:
    return {key: _general(value, section, member.name, member.tenant) for key, value in member.values.items()}


def _rest(member: _Member, section: str, general: Told) -> set[str] | None:
    """The keys in which an entry differs from a class, where that is one in three at most; None where it is not alike.
    A map of the entry is laid over that of the class, so it must have all its keys."""
    if not general.keys() <= member.values.keys():
        return None
    differing = {key for key, value in general.items() if _special(value, section, member) != member.values[key]}
    if 3 * len(differing) > len(general):
        return None
    for key in differing:
        here, there = member.values[key], general[key]
        if isinstance(here, Mapping) and isinstance(there, Mapping) and not there.keys() <= here.keys():
            return None
    return differing


def _title(found: Factored, section: str, general: Told) -> str:
    """A name for a class: that of what all of it refer to, or ``tenant``."""
    used = (general.get(reference.path) for reference in SECTIONS[section][0].references)
    base = next((name for name in used if isinstance(name, str) and "$" not in name), VARIABLE)
    title, number = base, 1
    while section in found.classes.get(title, {}) or (title in found.classes and section != "domains"):
        number += 1
        title = f"{base}-{number}"
    return title


# --- names in values -----------------------------------------------------------------------------------------------


def _general(value: Any, section: str, name: str, tenant: str | None = None) -> Any:
    """A value with variables in the place of the entry's own name and its tenant."""
    if isinstance(value, str):
        if section == "domains":
            value = re.sub(rf"(?<![\w$-]){re.escape(name)}(?![\w-]|\.\w)", "${domain}", value)
        if tenant:
            value = re.sub(rf"(?<![^\W_]|\$|{{){re.escape(tenant)}(?![^\W_])", f"${{{VARIABLE}}}", value)
        return value
    if isinstance(value, Mapping):
        return {key: _general(inner, section, name, tenant) for key, inner in value.items()}
    if isinstance(value, list):
        return [_general(inner, section, name, tenant) for inner in value]
    return value


def _special(value: Any, section: str, member: _Member) -> Any:
    """What a value of a class means for one entry."""
    if isinstance(value, str):
        if section == "domains":
            value = value.replace("${domain}", member.name)
        return value.replace(f"${{{VARIABLE}}}", member.tenant or "")
    if isinstance(value, Mapping):
        return {key: _special(inner, section, member) for key, inner in value.items()}
    if isinstance(value, list):
        return [_special(inner, section, member) for inner in value]
    return value
