"""Layers -> entries: one per resource and region, merged, expanded, checked against their schema, names folded."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from reconciler.desired import compiled, schema
from reconciler.desired.checks import check_values
from reconciler.desired.checks.place import EntryContext, address_of
from reconciler.desired.findings import SchemaProblem, findings
from reconciler.desired.layers import ENTRIES, declared_twice, has, lay, report, without
from reconciler.desired.nodes import Node, Problems, label, merged, show
from reconciler.desired.variables import BadVariable, Variables, suggestible, suggestion, variable_text
from reconciler.model import Entry, Source, Stack
from reconciler.names import fold_address, fold_wildcard
from reconciler.regions import SES_REGIONS, home_region, partition_of
from reconciler.resources import KINDS, SECTIONS, children
from reconciler.resources.email_identity import IDENTITY_KEYS

META: Final = frozenset({"class", "vars", "regions", "by_region", "unmanaged"})
"""Keys that steer the loading and are no values of the resource."""
_STRIPPED: Final = META - {"unmanaged"}
"""``unmanaged`` stays among the values: records that a kind derives by itself are opted out of with it too."""
_POLICY_KEYS: Final = frozenset({"policies", "conditions"})
_WHOLE: Final = re.compile(r"\$\{([^{}]*)\}")
_KEPT_IN_CREDENTIALS: Final = frozenset({"region"})


def expand(
    node: Node, scope: Variables, sources: dict[str, Source], problems: Problems, *, where: str, prefix: str = "",
    policy: bool = False,
) -> Any:  # fmt: skip
    """The plain value of ``node`` with its variables replaced; fills ``sources`` with the place of every path."""
    value = node.value
    kind = type(value)
    if kind is str:
        if "${" not in value:
            return value
        try:
            return scope.expand(value, policy=policy)
        except BadVariable as error:
            path = f"{where}.{prefix}".rstrip(".")
            problems.error(error.code, f"{path}: {error}", error.hint, source=node.source, detail=str(error), who=where)
            scope.failed.add(prefix.partition(".")[0])
            return value
    if kind is dict:
        out: dict[str, Any] = {}
        for key, child in value.items():
            if "${" in key:
                key = _expanded_key(key, child, scope, out, problems, f"{where}.{prefix}".rstrip("."), policy)
            path = prefix + key
            sources[path] = child._source or child.source
            inner = child.value
            inner_kind = type(inner)
            if inner_kind is dict or inner_kind is list:
                out[key] = expand(
                    child, scope, sources, problems, where=where, prefix=path + ".",
                    policy=policy or key in _POLICY_KEYS,
                )  # fmt: skip
            elif inner_kind is str and "${" in inner:
                out[key] = expand(child, scope, sources, problems, where=where, prefix=path, policy=policy)
            else:
                out[key] = inner
        return out
    if kind is list:
        items = []
        for index, child in enumerate(value):
            path = f"{prefix}{index}"
            sources[path] = child._source or child.source
            nested = path if type(child.value) is str else path + "."
            items.append(expand(child, scope, sources, problems, where=where, prefix=nested, policy=policy))
        return items
    return value


def typed(plain: Any, found: list[SchemaProblem], node: Node, values: Mapping[str, Any]) -> bool:
    """Give what is nothing but a ``${variable}`` the variable's own type where a text does not fit: ``ttl: ${ttl}``
    with ``vars: {ttl: 600}`` is a number. ``found`` is what the schema has against ``plain``, which is changed; says
    whether it was."""
    changed = False
    for finding in found:
        holder, written, inside = plain, node, bool(finding.path)
        for part in finding.path[:-1]:
            holder, written = holder[part], written.at((part,))
        written = written.at(finding.path[-1:])
        match = _WHOLE.fullmatch(written.value) if inside and type(written.value) is str else None
        value = values.get(match.group(1)) if match else None
        if type(value) in (bool, int) and holder[finding.path[-1]] == variable_text(value):
            holder[finding.path[-1]] = value
            changed = True
    return changed


def _unusable_keys(plain: Any, found: list[SchemaProblem], mistyped: set[str]) -> Iterator[str]:
    """The keys of an entry whose values cannot be checked further: something below has the wrong form, or a key is
    one mistyped, and would be missed. Any other unknown key is taken out, and a list that says something twice is a
    list: so the rest is reported at once. ``mistyped`` gathers the maps that had such a key: it may mean another."""
    apart: list[tuple[str, ...]] = []
    for finding in found:
        holder = plain
        for part in finding.path[:-1]:
            holder = holder[part]
        if finding.code == "unknown-key" and type(holder) is dict and not finding.hint.startswith("did you mean"):
            holder.pop(finding.path[-1], None)
            mistyped.add(".".join(str(part) for part in finding.path[:-1]))
        elif finding.code not in ("repeated-item", "out-of-range") and finding.path:
            place = _checked_apart(finding)
            if place and type(plain[place[0]]) is dict:
                apart.append(place)
            else:
                yield str(finding.path[0])
    for block, key in apart:
        plain[block].pop(key, None)
        mistyped.add(block)


_ITEMS_APART: Final = frozenset(
    {
        "policies", *(child.parent_key for kind in KINDS for child in children(kind)),
        *(held.key for spec in KINDS.values() for held in spec.holds),
    }
)  # fmt: skip
"""Maps whose items, by name, have nothing to do with each other."""
_VALUES_APART: Final = {
    "dkim": frozenset({"signing_enabled", "next_signing_key_length", "domain_signing_selector"}),
    "mail_from": frozenset({"behavior_on_mx_failure"}),
    "delivery_options": frozenset({"tls_policy", "sending_pool_name", "max_delivery_seconds"}),
}
"""Keys of blocks that say nothing about the other keys of their block."""


def _checked_apart(finding: SchemaProblem) -> tuple[str, str] | None:
    """The block and key that can be taken out for what is wrong with it, so that the rest of the block is checked."""
    if len(finding.path) < 2 or (finding.is_key and len(finding.path) < 3):
        return None
    block, key = str(finding.path[0]), str(finding.path[1])
    whole = block in _ITEMS_APART and (len(finding.path) > 2 or not finding.is_key)
    return (block, key) if whole or key in _VALUES_APART.get(block, ()) else None


def _expanded_key(
    key: str, child: Node, scope: Variables, out: Mapping[str, Any], problems: Problems, where: str, policy: bool
) -> str:
    try:
        expanded = scope.expand(key, policy=policy)
    except BadVariable as error:
        problems.error(error.code, f"{where}: {error}", error.hint, source=child.source, detail=str(error))
        return key
    if expanded in out:
        problems.error(
            "duplicate-key", f"{where}: {show(key)} becomes {show(expanded)}, which is already there",
            "keep one of the two", source=child.source,
        )  # fmt: skip
    return expanded


@dataclass(slots=True)
class Declared:
    """One entry before its regions: the nodes that say it, its name in the comparable form and as written."""

    section: str
    name: str
    node: Node
    override: Node | None = None
    values: dict[str, Any] = field(default_factory=dict)
    """The variables that hold in it, region and domain excepted."""
    below: Node | None = None
    """What stack.tags, defaults and class supply, after ``unmanaged``."""
    whole: Node | None = None
    """All layers merged, ``by_region`` not applied."""
    regions: tuple[str, ...] = ()
    region_source: Source | None = None
    mistyped: set[str] = field(default_factory=set)
    """Paths of maps that hold a key which is not known."""

    @property
    def source(self) -> Source:
        return self.node.source

    @property
    def where(self) -> str:
        return label(self.section, self.name)

    def own(self) -> Node:
        """What the entry says itself, the environment's section included."""
        return self.node if self.override is None else merged(self.node, self.override)

    def writes(self, path: str) -> Node | None:
        """The layer of the entry's own (itself or the environment's section) that writes a dotted path."""
        if has(self.override, path):
            return self.override
        return self.node if has(self.node, path) else None


_FOLDS: Final[Mapping[str, Callable[[str], str]]] = {"domain": fold_wildcard, "address": fold_address, "": str}


def folder_of(section: str) -> Callable[[str], str]:
    """How names of a section are brought to their comparable form; raises ValueError."""
    return _FOLDS[SECTIONS[section][1].fold]


def collect(
    document: Node, environment: Node | None, values: Mapping[str, Any], problems: Problems
) -> dict[str, dict[str, Declared]]:
    """Section -> name -> entry, in the order of the YAML, after the environment's section and ``exclude``."""
    scope = Variables({key: value for key, value in values.items() if key != "domain"})
    found: dict[str, dict[str, Declared]] = {}
    for section in SECTIONS:
        entries: dict[str, Declared] = {}
        for name, node in _named(document.get(section), section, scope, problems):
            before = entries.get(name)
            if before is not None:
                same = f" (both are {name} in the form that is compared)"
                declared_twice(label(section, name), before.node, node, problems, same=same)
                continue
            entries[name] = Declared(section, name, node if node.is_map else node.with_value({}))
        if environment is not None:
            seen: dict[str, Node] = {}
            for name, node in _named(environment.get(section), section, scope, problems):
                if name in seen:
                    declared_twice(f"{node.via}, {section}.{name}", seen[name], node, problems)
                    continue
                seen[name] = node
                if not node.is_map:
                    continue
                if name in entries:
                    entries[name].override = node
                else:
                    entries[name] = Declared(section, name, node)
        found[section] = entries
    if environment is not None:
        _exclude(found, environment.get("exclude"), scope, problems)
    return found


def _named(section: Node | None, name: str, scope: Variables, problems: Problems) -> Iterator[tuple[str, Node]]:
    fold = folder_of(name)
    for key, node in section.children() if section is not None else ():
        try:
            yield fold(scope.expand(key)), node
        except BadVariable as error:
            hint = error.hint
            if "domain" in str(error) and name == "domains":
                hint = "the name of a domain cannot refer to itself"
            problems.error(error.code, f"{name}: {error}", hint, source=node.source, detail=str(error))
        except ValueError as error:
            hint = SECTIONS[name][1].name_hint
            if name == "domains" and "@" in key:
                hint = "single addresses stand under `email_addresses:`"
            elif name == "email_addresses" and "@" not in key:
                hint = "domains stand under `domains:`"
            problems.error("bad-name", f"{name}: {error}", hint, source=node.source)


def _exclude(found: dict[str, dict[str, Declared]], exclude: Node | None, scope: Variables, problems: Problems) -> None:
    if exclude is None or type(exclude.value) is not list:
        return
    gone: set[tuple[str, str]] = set()
    for item in exclude.value:
        if not isinstance(item.value, str):
            problems.error(
                "wrong-type", f"exclude: a text is wanted; found {show(item.value)}", "write section.name, such as "
                "dedicated_ip_pools.tx", source=item.source,
            )  # fmt: skip
            continue
        try:
            text = scope.expand(item.value)
        except BadVariable as error:
            problems.error(error.code, f"exclude: {error}", error.hint, source=item.source)
            continue
        section, dot, name = text.partition(".")
        if section not in SECTIONS or bool(dot) is SECTIONS[section][1].single:
            problems.error(
                "unknown-exclude", f"exclude: {show(text)} does not begin with a section",
                f"write section.name; {suggestion(section, SECTIONS)}", source=item.source,
            )  # fmt: skip
            continue
        try:
            folded = folder_of(section)(name)
        except ValueError:
            folded = name
        if (section, folded) in gone:
            continue
        if folded not in found[section]:
            problems.error(
                "unknown-exclude", f"exclude: there is no {label(section, name)}", suggestion(folded, found[section]),
                source=item.source,
            )  # fmt: skip
            continue
        gone.add((section, folded))
        del found[section][folded]


class Assembler:
    """Makes the entries of one state: knows its layers and what they have in common."""

    def __init__(
        self, layers: Mapping[str, Node | None], values: Mapping[str, Any], stack: Stack, problems: Problems, root: str
    ) -> None:
        """``layers``: ``defaults`` and ``classes`` (the environment's merged in), ``tags`` (the stack's), or None.
        ``root`` is the directory that files in entries are relative to."""
        self.root = root
        self.defaults = layers.get("defaults")
        self.classes = layers.get("classes")
        self.tags = layers.get("tags")
        self.values = values
        self.stack = stack
        self.problems = problems
        self._below: dict[tuple[str, str], Node | None] = {}
        self._child: dict[tuple[str, str], Node | None] = {}

    # --- layers ---

    def prepare(self, declared: Declared) -> None:
        """Merge the layers of one entry and determine its class, variables and regions."""
        kind = ENTRIES[declared.section]
        own = declared.own()
        scope = Variables(self.values)
        class_name = self._class(declared, own, scope)
        below = self._below_of(kind, class_name, declared.section)
        below = self._unmanaged(declared, own, below)
        declared.below = below
        if declared.section == "domains" and _without_identity(own, below):
            self._no_identity(declared)
            for key in (*IDENTITY_KEYS, "by_region"):
                below = without(below, key) if below is not None else None
            declared.below = below
        whole = lay(below, declared.node)
        if declared.override is not None:
            whole = lay(whole, declared.override)
        whole = self._with_children(declared.section, whole, class_name)
        declared.whole = whole
        class_node = self.classes.get(class_name) if self.classes is not None and class_name else None
        declared.values = {
            **self.values, **_variables(class_node), **_variables(whole),
            **{name: self.values[name] for name in ("stack", "account", "partition", "env", "region")},
            "domain": declared.name.rpartition("@")[2] if "@" in declared.name else declared.name,
        }  # fmt: skip
        if declared.section not in ("domains", "email_addresses"):
            declared.values["domain"] = declared.name
        declared.regions = self._regions(declared, whole)

    def _no_identity(self, declared: Declared) -> None:
        """What an entry with ``identity: false`` must not say itself; what it inherits is dropped in silence."""
        for key in (*IDENTITY_KEYS, "by_region"):
            writer = declared.writes(key)
            node = writer.get(key) if writer is not None else None
            if node is None:
                continue
            record = self.problems.warn if key == "tags" else self.problems.error
            record(
                "no-identity", f"{declared.where}.{key}: with `identity: false` there is nothing to set it on",
                f"take {key} out, or `identity: false`", source=node.source,
            )  # fmt: skip

    def _class(self, declared: Declared, own: Node, scope: Variables) -> str:
        node = own.get("class")
        if node is None or not isinstance(node.value, str):
            return ""
        try:
            name = scope.expand(node.value)
        except BadVariable as error:
            self.problems.error(error.code, f"{declared.where}.class: {error}", error.hint, source=node.source)
            return ""
        known = dict(self.classes.children()) if self.classes is not None else {}
        if name not in known:
            self.problems.error(
                "unknown-class", f"{declared.where}.class: there is no class {show(name)}",
                suggestion(name, known) or "declare it under `classes:`", source=node.source,
            )  # fmt: skip
            return ""
        return name

    def _below_of(self, kind: str, class_name: str, section: str) -> Node | None:
        key = (kind, class_name)
        if key not in self._below:
            below: Node | None = None
            if self.tags is not None and self.tags.value and SECTIONS[section][0].taggable:
                below = self.tags.with_value({"tags": self.tags})
            for layer in (self.defaults, self.classes.get(class_name) if self.classes and class_name else None):
                node = layer.get(kind) if layer is not None else None
                if node is not None and node.is_map:
                    below = lay(below, node)
            self._below[key] = below
        return self._below[key]

    def _unmanaged(self, declared: Declared, own: Node, below: Node | None) -> Node | None:
        node = own.get("unmanaged")
        if node is None or type(node.value) is not list:
            return below
        kind = ENTRIES[declared.section]
        known = schema.resolve(schema.definition(kind))["properties"]
        for item in node.value:
            path = item.value
            if not isinstance(path, str):
                continue
            head = path.partition(".")[0]
            if head not in known or head in META:
                self.problems.error(
                    "unknown-key", f"{declared.where}.unmanaged: there is no key {show(path)}",
                    suggestion(path, [key for key in known if key not in META]), source=item.source,
                )  # fmt: skip
                continue
            writer = declared.writes(path)
            if writer is not None:
                self.problems.warn(
                    "unmanaged-but-written", f"{declared.where}.unmanaged: {path} is written in the entry all the "
                    "same, and that holds", f"take {path} out of `unmanaged:`, or out of the entry", source=item.source,
                )  # fmt: skip
            if below is not None:
                below = without(below, path)
                by_region = below.get("by_region")
                for region, _ in by_region.children() if by_region is not None else ():
                    below = without(below, f"by_region.{region}.{path}")
        return below

    def _with_children(self, section: str, whole: Node, class_name: str) -> Node:
        """``defaults`` and the class's values of a kind that entries hold, laid under each that this entry holds."""
        for child in children(SECTIONS[section][0].name):
            inner = whole.get(child.parent_key) if child.parent_key else None
            below = self._below_child(child.name, class_name) if inner is not None and inner.is_map else None
            if inner is not None and below is not None:
                laid = {name: merged(below, node) if node.is_map else node for name, node in inner.children()}
                whole = whole.with_value({**whole.value, child.parent_key: inner.with_value(laid)})
        for held in SECTIONS[section][0].holds:
            inner = whole.get(held.key)
            below = self._below_of(ENTRIES[held.section], class_name, held.section)
            if inner is not None and inner.is_map and below is not None:
                below = below.with_value({key: node for key, node in below.value.items() if key not in META})
                laid = {name: lay(below, node) if node.is_map else node for name, node in inner.children()}
                whole = whole.with_value({**whole.value, held.key: inner.with_value(laid)})
        return whole

    def _below_child(self, kind: str, class_name: str) -> Node | None:
        key = (kind, class_name)
        if key not in self._child:
            below: Node | None = None
            for layer in (self.defaults, self.classes.get(class_name) if self.classes and class_name else None):
                node = layer.get(kind) if layer is not None else None
                if node is not None and node.is_map:
                    below = merged(below, node)
            self._child[key] = below
        return self._child[key]

    def _regions(self, declared: Declared, whole: Node) -> tuple[str, ...]:
        if not SECTIONS[declared.section][0].regional:
            return ()
        if home := self._home(declared, whole):
            return (home,)
        node = whole.get("regions")
        if node is None or type(node.value) is not list:
            return self.stack.regions
        declared.region_source = node.source
        scope = Variables(declared.values)
        regions: list[str] = []
        for item in node.value:
            if not isinstance(item.value, str):
                continue
            try:
                region = scope.expand(item.value).lower()
            except BadVariable as error:
                self.problems.error(error.code, f"{declared.where}.regions: {error}", error.hint, source=item.source)
                continue
            if region in SES_REGIONS and partition_of(region) != self.stack.partition:
                what = f"{region} is in {partition_of(region)}, the stack in {self.stack.partition}"
                advice = "an account belongs to one partition: use one stack for each"
                words = f"{declared.where}.regions: {what}"
                self.problems.error("mixed-partitions", words, advice, source=item.source)
            elif region in SES_REGIONS and region not in regions:
                regions.append(region)
            elif region not in SES_REGIONS and not self.problems.reported(item.source, "not-allowed-value"):
                self.problems.error(
                    "not-allowed-value", f"{declared.where}.regions: {show(region)} is not a region of SES",
                    suggestion(region, suggestible(region, SES_REGIONS)), source=item.source,
                )  # fmt: skip
        return tuple(regions)

    def _home(self, declared: Declared, whole: Node) -> str:
        """The one region of an entry that can be nowhere else (``Section.at_home``), else nothing."""
        for key, values in SECTIONS[declared.section][1].at_home.items():
            node = whole.get(key)
            text = str(node.value) if node is not None else ""
            with contextlib.suppress(BadVariable):
                text = Variables(declared.values).expand(text)
            if text.lower() not in values:
                continue
            home, layer = home_region(self.stack.partition), declared.writes("regions")
            asked = layer.get("regions") if layer is not None else None
            if asked is not None and type(asked.value) is list and [item.value for item in asked.value] != [home]:
                self.problems.error(
                    "wrong-region", f"{declared.where}.regions: with {key} {text} it is in {home}, where the events "
                    "that it is about arrive, and nowhere else", "take `regions` out", source=asked.source,
                )  # fmt: skip
            return home
        return ""

    # --- entries ---

    def entries(self, declared: Declared) -> Iterator[Entry]:
        """The entries of one declaration: for a domain its own first, then one per region."""
        whole = declared.whole
        assert whole is not None, "prepare comes first"
        by_region = whole.get("by_region")
        body = whole.with_value({key: child for key, child in whole.value.items() if key not in _STRIPPED})
        regional = self._by_region(declared, by_region)
        first = self.values["region"]
        if not SECTIONS[declared.section][0].regional:
            values, sources, _ = self._values(declared, body, first, None)
            yield Entry(declared.section, declared.name, None, values, declared.source, sources)
            return
        shared: tuple[dict[str, Any], dict[str, Source]] | None = None
        unchecked = False
        if declared.section == "domains":
            values, sources, uses_region = self._values(declared, body, first, None)
            yield Entry(declared.section, declared.name, None, values, declared.source, sources)
            if values.get("identity") is False:
                return
            if not uses_region:
                shared = values, sources
                unchecked = True  # as an identity: what a domain has in a region is checked apart from its records
        for region in declared.regions:
            override = regional.get(region)
            if override is None and shared is not None:
                values, sources = shared
                if unchecked or declared.section != "domains":  # ARNs must be of the entry's region
                    unchecked = False
                    self._check(declared, values, sources, region)
            else:
                node = body if override is None else lay(body, override)
                values, sources, uses_region = self._values(declared, node, region, region)
                if override is None and not uses_region:
                    shared = values, sources
            yield Entry(declared.section, declared.name, region, values, declared.source, sources)

    def apart(self, declared: Declared, entry: Entry) -> Iterator[Entry]:
        """An entry without those of other sections that it holds (``Held``), and these, checked."""
        holds = [held for held in SECTIONS[entry.section][0].holds if held.key in entry.values]
        if not holds:
            yield entry
            return
        keys = {held.key for held in holds}
        yield replace(entry, values={key: value for key, value in entry.values.items() if key not in keys})
        for held in holds:
            for key, values in entry.values[held.key].items():
                path = f"{held.key}.{key}"
                sources = {p[len(path) + 1 :]: s for p, s in entry.sources.items() if p.startswith(path + ".")}
                whole = {**values, **held.supplied(entry.name, values)}
                name, source = f"{entry.name}-{key}", entry.source_of(path)
                at = EntryContext(
                    held.section, name, entry.region, whole, sources, source, self.problems, self.root,
                    where=f"{declared.where}.{path}",
                )  # fmt: skip
                check_values(at, self.stack)
                yield Entry(held.section, name, entry.region, whole, source, sources)

    def _by_region(self, declared: Declared, node: Node | None) -> dict[str, Node]:
        found: dict[str, Node] = {}
        scope = Variables(declared.values)
        for key, child in node.children() if node is not None else ():
            try:
                region = scope.expand(key).lower()
            except BadVariable as error:
                self.problems.error(error.code, f"{declared.where}.by_region: {error}", error.hint, source=child.source)
                continue
            if not child.is_map:
                continue
            if region in declared.regions:
                found[region] = child
            elif declared.writes(f"by_region.{key}") is not None:
                self.problems.error(
                    "unknown-region", f"{declared.where}.by_region: {show(region)} is not one of the entry's regions",
                    f"its regions are {', '.join(declared.regions) or 'none'}", source=child.source,
                )  # fmt: skip
        return found

    def _values(
        self, declared: Declared, body: Node, region: str, place: str | None
    ) -> tuple[dict[str, Any], dict[str, Source], bool]:
        """Plain values with their sources, and whether they depend on the region."""
        values = declared.values
        if values["region"] != region:
            values = {**values, "region": region}
        scope = Variables(values)
        sources: dict[str, Source] = {}
        written = body
        credentials = body.get("credentials") if declared.section == "smtp_users" else None
        if credentials is not None:
            body = without(body, "credentials")
        plain: dict[str, Any] = expand(body, scope, sources, self.problems, where=declared.where)
        if credentials is not None:
            # the region in the name of a stored credential is that of the password, see smtp_credential
            kept = Variables(values, _KEPT_IN_CREDENTIALS)
            sources["credentials"] = credentials.source
            plain["credentials"] = expand(
                credentials, kept, sources, self.problems, where=declared.where, prefix="credentials."
            )
            scope.failed |= kept.failed
        kind = ENTRIES[declared.section]
        fold = compiled.folder(kind)
        if fold is not None:
            plain = fold(plain)
        bad = frozenset(scope.failed)
        if bad:
            plain = {key: value for key, value in plain.items() if key not in bad}
        if not compiled.checker(kind)(plain):
            address = address_of(declared.section, declared.name, place)
            found = findings(kind, plain)
            if typed(plain, found, written, values):
                found = findings(kind, plain)
            report(found, written, declared.where, self.problems, address)
            bad |= frozenset(_unusable_keys(plain, found, declared.mistyped))
            plain = {key: value for key, value in plain.items() if key not in bad}
        self._check(declared, plain, sources, place, bad)
        return plain, sources, "region" in scope.used

    def _check(
        self, declared: Declared, values: dict[str, Any], sources: Mapping[str, Source], region: str | None,
        bad: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        at = EntryContext(
            declared.section, declared.name, region, values, sources, declared.source, self.problems, self.root, bad,
            frozenset(declared.mistyped),
        )  # fmt: skip
        check_values(at, self.stack)


def _without_identity(own: Node, below: Node | None) -> bool:
    node = own.get("identity") or (below.get("identity") if below is not None else None)
    return node is not None and node.value is False


def _variables(node: Node | None) -> dict[str, Any]:
    variables = node.get("vars") if node is not None else None
    return {name: child.value for name, child in variables.children()} if variables is not None else {}
