"""The kinds of resources, a folder each; ``KINDS`` is found by looking at the folders, so that no list names them.

In a folder: ``__init__.py`` with ``SPEC`` (see ``spec.py``), ``ENTRY.schema.json`` with the keys of its entries, and
where the kind needs them ``kind.py`` (its class), ``checks.py`` (of the YAML), ``headline.py``, ``rules.py``,
``sandbox.py`` (its part of the sandbox) and ``cases.yaml`` (its tests).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from reconciler.resources.spec import KindSpec, Named, RecordGroup, Reference, Section, Values

FOLDER = Path(__file__).parent


def _specs() -> Iterator[KindSpec]:
    for file in sorted(FOLDER.glob("*/__init__.py")):
        yield import_module(f"{__name__}.{file.parent.name}").SPEC


KINDS: Mapping[str, KindSpec] = MappingProxyType({spec.name: spec for spec in _specs()})
"""Kind -> what it is, sorted by name."""

SECTIONS: Mapping[str, tuple[KindSpec, Section]] = MappingProxyType(
    {
        section.name: (spec, section)
        for section, spec in sorted(
            ((section, spec) for spec in KINDS.values() for section in spec.sections),
            key=lambda pair: (pair[0].place, pair[0].name),
        )
    }
)
"""Section of the YAML -> the kind that it declares, and the section; in the order of the docs."""

BY_ARN: Mapping[str, KindSpec] = MappingProxyType(
    {arn: spec for spec in KINDS.values() for arn in (spec.arn, *spec.arn_aliases) if arn}
)
"""Resource type in an ARN of SES -> kind."""

RECORD_GROUPS: Mapping[str, tuple[KindSpec, RecordGroup]] = MappingProxyType(
    {group.name: (spec, group) for spec in KINDS.values() for group in spec.records}
)
"""Group of DNS records, as in the tag ``recon:records`` -> the kind whose resources have it, and the group."""

SWEPT_AS: tuple[str, ...] = (
    "ses",
    *sorted({spec.service.swept_as for spec in KINDS.values() if spec.service and spec.swept}),
)
"""The types of all kinds for the tagging API."""
REMNANTS: Mapping[str, KindSpec] = MappingProxyType({s.remnant.swept_as: s for s in KINDS.values() if s.remnant})
"""The types of what may outlive its resource, beside those -> kind."""


def kind_of_arn(arn: str) -> tuple[KindSpec, str] | None:
    """The kind and the name of the resource of an ARN; None where it is of none of ours. Raises ValueError for what is
    no ARN."""
    _, _, service, _, _, resource = arn.split(":", 5)
    if service == "ses":
        kind, _, name = resource.partition("/")
        return (BY_ARN[kind], name) if kind in BY_ARN else None
    for spec in KINDS.values():
        there = spec.service
        if there is not None and spec.swept and there.name == service and resource.startswith(there.prefix):
            name = resource.removeprefix(there.prefix)
            if not spec.named_badly(name):
                return spec, name
    for spec in REMNANTS.values():
        part = spec.remnant
        if part is not None and part.name == service and resource.startswith(part.prefix):
            return spec, resource.rpartition("/")[2]
    return None


def naming(kind: str) -> Iterator[tuple[KindSpec, Named]]:
    """The kinds and fields that have ARNs of ``kind``."""
    for spec in KINDS.values():
        yield from ((spec, field) for field in spec.named if field.kind == kind)


_NAMED: Mapping[str, Mapping[str, tuple[Named, ...]]] = MappingProxyType(
    {
        spec.name: {
            head: tuple(one for one in spec.named if one.path.partition(".")[0] == head)
            for head in dict.fromkeys(one.path.partition(".")[0] for one in spec.named)
        }
        for spec in KINDS.values()
    }
)
"""Kind -> its fields with ARNs, by the key of the entry that they are under."""


def fields_with_arns(kind: str, values: Values) -> list[Named]:
    """The fields of ``kind`` with ARNs (``KindSpec.named``) that ``values`` may say something in."""
    return [one for head, fields in _NAMED[kind].items() if values.get(head) for one in fields]


@cache
def children(kind: str) -> tuple[KindSpec, ...]:
    """The kinds that are declared inside entries of ``kind``."""
    return tuple(spec for spec in KINDS.values() if spec.parent == kind)


def holders(kind: str) -> tuple[KindSpec, ...]:
    """The kinds whose entries may hold entries of ``kind`` (``Held``)."""
    sections = {section.name for section in KINDS[kind].sections}
    return tuple(spec for spec in KINDS.values() if any(held.section in sections for held in spec.holds))


def references_to(kind: str, *, covering: bool = False) -> Iterator[tuple[KindSpec, Reference]]:
    """The kinds and fields that name resources of ``kind``; with ``covering`` those that name what is below one."""
    for spec in KINDS.values():
        for reference in spec.references:
            if reference.kind == kind and reference.covering is covering:
                yield spec, reference


def holder_of(address: str) -> str | None:
    """The address of the resource that holds what ``address`` names (a set, of its event destination), or None."""
    kind, *parts = address.split("/")
    spec = KINDS.get(kind)
    if spec is None or not spec.parent_key:
        return None
    return "/".join((spec.parent, *parts[: len(KINDS[spec.parent].address)]))


def entries_of(address: str) -> tuple[str, ...]:
    """The entries of the YAML, as SECTION.NAME, that could declare what ``address`` names, or hold it (a set, its event
    destination; a user, its credential); of what is named HOLDER-KEY every holder that it could be of. Empty for
    records, which are derived."""
    kind, *parts = address.split("/")
    spec = KINDS.get(kind)
    owner = KINDS[spec.parent] if spec is not None and spec.parent else spec
    if owner is None or len(parts) < len(owner.address):
        return ()
    name = parts[len(owner.address) - 1]
    found = [f"{section.name}.{name}" for section in owner.sections]
    for holder in holders(owner.name):
        found += [f"{holder.section}.{name[:at]}" for at, character in enumerate(name) if character == "-"]
    return tuple(found)


def addresses_of(section: str, name: str, regions: Iterable[str]) -> tuple[str, ...]:
    """The addresses of an entry, in each of ``regions`` where its kind has any."""
    spec, _ = SECTIONS[section]
    return tuple(spec.address_of(region, name) for region in regions) if spec.regional else (spec.address_of(name),)


def _order(needs: Mapping[str, set[str]]) -> tuple[str, ...]:
    """Kinds after those that they need; of several that could come next, a child of the one before, else what others
    name by its ARN, else by name."""
    sorter = TopologicalSorter({kind: sorted(needs[kind]) for kind in sorted(needs)})
    sorter.prepare()
    found: list[str] = []
    ready: list[str] = []
    while sorter.is_active():
        ready += sorter.get_ready()
        ready.sort(key=lambda kind: (KINDS[kind].parent not in found[-1:], not any(naming(kind)), kind))
        found.append(ready.pop(0))
        sorter.done(found[-1])
    return tuple(found)


PLANNING_ORDER: tuple[str, ...] = _order(
    {spec.name: {*spec.plans_after, *(child.name for child in children(spec.name))} for spec in KINDS.values()}
)
"""Kinds in the order in which they are planned: what decides the tags of another comes before it, as children do."""

PLAN_ORDER: tuple[str, ...] = _order(
    {
        spec.name: {
            *(r.kind for r in spec.references if not r.covering),
            *(n.kind for n in spec.named),
            *spec.follows,
            *filter(None, [spec.parent]),
        }
        for spec in KINDS.values()
    }
)
"""Kinds in the order in which a plan shows their creation: what is referred to comes first. Deletions are reversed."""
