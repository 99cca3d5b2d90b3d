"""Files -> one document -> the layers of every entry.

Precedence, lowest first: stack.tags, defaults, class, the entry, the environment's section, by_region. The
environment's ``defaults`` and ``classes`` merge into those layers. Maps merge, lists replace, null is a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from reconciler.desired import compiled, schema
from reconciler.desired.findings import SchemaProblem, findings
from reconciler.desired.nodes import Node, Problems, label, merged, show
from reconciler.desired.variables import bad_variables, suggestion
from reconciler.resources import KINDS, SECTIONS, children

ENTRIES: Final[Mapping[str, str]] = {name: section.entry for name, (_, section) in SECTIONS.items()}
"""Section of the YAML -> what one entry is called in ``defaults`` and ``classes``, and in the schema."""
LAYER_KINDS: Final = tuple(entry for _, entry in schema.entry_names())

_LAYERED: Final = ("vars", "defaults", "classes", *SECTIONS, "released", "moved", "rules", "waivers")
TOP_LEVEL: Final = ("stack", "environments", *_LAYERED)
IN_ENVIRONMENT: Final = ("stack", "exclude", *_LAYERED)

_MERGE_DEPTH: Final = {"environments": 3, "released": 0, "moved": 0, "waivers": 0}
_JOINED: Final = frozenset({"released", "moved", "waivers", "exclude"})
"""Lists that several files may each add to."""

ENVIRONMENT_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?")
_DKIM_ORIGIN: Final = "signing_attributes_origin"
_DKIM_COMPANIONS: Final[Mapping[str, frozenset[str]]] = {
    "easy": frozenset({"next_signing_key_length"}),
    "external": frozenset({"domain_signing_selector", "domain_signing_private_key"}),
    "deterministic": frozenset(),
}
_ALL_COMPANIONS: Final = frozenset().union(*_DKIM_COMPANIONS.values())


def dkim_family(origin: str) -> str:
    """``easy``, ``external`` or ``deterministic``, by the origin's name in any case."""
    upper = origin.upper()
    return "easy" if upper == "AWS_SES" else "external" if upper == "EXTERNAL" else "deterministic"


def dkim_companions(origin: str) -> frozenset[str]:
    """The keys of a ``dkim`` block that go with this origin (bc DkimSigningAttributes)."""
    return _DKIM_COMPANIONS[dkim_family(origin)]


# --- several files, one document -----------------------------------------------------------------------------------


def combine(documents: Iterable[Node], problems: Problems) -> Node:
    """All files as one map. What two of them declare is an error that names both places."""
    whole: dict[str, Node] = {}
    first: Node | None = None
    for document in documents:
        first = first or document
        for key, node in document.children():
            if node.value is None and key in TOP_LEVEL:
                continue
            if key.startswith("x-"):
                continue
            if key not in whole:
                whole[key] = node
            else:
                _combine(whole, key, node, _MERGE_DEPTH.get(key, 1), key, problems)
    return first.with_value(whole) if first else Node(whole, "", 0, 0)


def wrap_single_entries(document: Node) -> None:
    """Make sections that are one entry maps of names as the others are: their entry has the empty name."""
    environments = document.get("environments")
    others = environments.children() if environments is not None else ()
    for layer in (document, *(node for _, node in others)):
        for section, (_, about) in SECTIONS.items():
            node = layer.get(section) if about.single and layer.is_map else None
            if node is not None and node.is_map:
                layer.value[section] = node.with_value({"": node})


def _combine(into: dict[str, Node], key: str, node: Node, depth: int, path: str, problems: Problems) -> None:
    before = into[key]
    if node.value is None or before.value is None:
        into[key] = before if node.value is None else node
    elif depth > 0 and before.is_map and node.is_map:
        for name, child in node.children():
            if name not in before.value:
                before.value[name] = child
            else:
                _combine(before.value, name, child, depth - 1, f"{path}.{name}", problems)
    elif path.rpartition(".")[2] in _JOINED and type(before.value) is list and type(node.value) is list:
        into[key] = before.with_value([*before.value, *node.value])
    else:
        declared_twice(path, before, node, problems)


def declared_twice(path: str, first: Node, second: Node, problems: Problems, *, same: str = "") -> None:
    """Record that one thing is declared in two places; ``same`` says why two spellings are one name."""
    problems.error(
        "duplicate-declaration",
        f"{path} is declared twice: at {_place(first)} and at {_place(second)}{same}",
        "keep one of the two; write what differs by environment under `environments:`", source=second.source,
    )  # fmt: skip


def _place(node: Node) -> str:
    return f"{node.source.file}:{node.source.line}"


# --- shape of every layer, before anything is merged ---------------------------------------------------------------


def check_layers(document: Node, problems: Problems) -> None:
    """Check keys, types and values of every layer as written, used or not, and name the layers in their nodes."""
    _check_keys(document, TOP_LEVEL, "", problems)
    stack = document.get("stack")
    if stack is not None:
        report(findings("stack", _folded("stack", stack), lenient=True), stack, "stack", problems)
    _check_common(document, "", problems)
    environments = document.get("environments")
    if environments is None or not _must_be_map(environments, "environments", problems):
        return
    for name, environment in environments.children():
        where = f"environments.{name}"
        if environment.value is None:
            continue
        if not _must_be_map(environment, where, problems):
            continue
        if not ENVIRONMENT_NAME.fullmatch(name):
            problems.error(
                "bad-name", f"{show(name)} is not a name for an environment", "use 1 to 64 letters, digits, `-`, `_` "
                "and `.`: it becomes part of tags and file names", source=environment.source,
            )  # fmt: skip
        environment.stamp(f"environment {name}")
        _check_keys(environment, IN_ENVIRONMENT, where, problems)
        stack = environment.get("stack")
        if stack is not None:
            report(findings("stack", _folded("stack", stack), lenient=True), stack, f"{where}.stack", problems)
        exclude = environment.get("exclude")
        if exclude is not None and type(exclude.value) is not list:
            problems.error(
                "wrong-type", f"{where}.exclude: a list is wanted; found {show(exclude.value)}",
                "write a list of section.name", source=exclude.source,
            )  # fmt: skip
        _check_common(environment, where, problems)


def _check_common(layer: Node, where: str, problems: Problems) -> None:
    """What the top level and an environment have alike."""
    prefix = f"{where}." if where else ""
    environment = layer.via
    variables = layer.get("vars")
    if variables is not None and variables.value is not None and _must_be_map(variables, f"{prefix}vars", problems):
        check_variables(variables, f"{prefix}vars", problems)
    defaults = layer.get("defaults")
    if defaults is not None and defaults.value is not None and _must_be_map(defaults, f"{prefix}defaults", problems):
        _check_keys(defaults, LAYER_KINDS, f"{prefix}defaults", problems)
        _check_kinds(defaults, f"{prefix}defaults", _joined(environment, "defaults"), problems)
    classes = layer.get("classes")
    if classes is not None and classes.value is not None and _must_be_map(classes, f"{prefix}classes", problems):
        for name, node in classes.children():
            if node.value is None or not _must_be_map(node, f"{prefix}classes.{name}", problems):
                continue
            node.stamp(_joined(environment, f"class {name}"))
            _check_keys(node, ("vars", *LAYER_KINDS), f"{prefix}classes.{name}", problems)
            own = node.get("vars")
            if own is not None and _must_be_map(own, f"{prefix}classes.{name}.vars", problems):
                check_variables(own, f"{prefix}classes.{name}.vars", problems)
            _check_kinds(node, f"{prefix}classes.{name}", _joined(environment, f"class {name}"), problems)
    for section, kind in ENTRIES.items():
        entries = layer.get(section)
        if entries is None or entries.value is None or not _must_be_map(entries, f"{prefix}{section}", problems):
            continue
        for name, entry in entries.children():
            _check_entry(entry, kind, f"{prefix}{label(section, name)}", bool(where), problems)
    for key in ("released", "moved", "rules", "waivers"):
        part = layer.get(key)
        if part is not None and part.value is not None:
            plain = _rules(part) if key == "rules" else part.plain()
            found = findings(key, _fold(key, plain), lenient=True)
            if key in {"rules", "waivers"}:
                found = [_unknown_rule(one, plain) for one in found]
            report(found, part, f"{prefix}{key}", problems)


def _check_kinds(layer: Node, where: str, via: str, problems: Problems) -> None:
    """The kinds of ``defaults`` or of a class: an entry's shape, without what only an entry can say."""
    for kind in LAYER_KINDS:
        node = layer.get(kind)
        if node is None or node.value is None or not _must_be_map(node, f"{where}.{kind}", problems):
            continue
        node.stamp(f"{via}.{kind}" if via.endswith("defaults") else via)
        for key in ("class", "unmanaged"):
            child = node.get(key)
            if child is not None:
                problems.error(
                    "unknown-key", f"{where}.{kind}: {key} can only stand in an entry itself",
                    "write it in the entries that it is for", source=child.source,
                )  # fmt: skip
        _check_entry(node, kind, f"{where}.{kind}", False, problems)


def _check_entry(entry: Node, kind: str, where: str, in_environment: bool, problems: Problems) -> None:
    if entry.value is None:
        if in_environment:
            problems.error(
                "null-entry", f"{where} is null", "to leave it out of this environment write `exclude: "
                f"[{where.split('.', 2)[-1]}]`; to change nothing take the key out", source=entry.source,
            )  # fmt: skip
        return
    if not _must_be_map(entry, where, problems):
        return
    plain = _folded(kind, entry)
    _check_children(entry, kind, where, problems)
    if not compiled.checker(kind, True)(plain):
        report(findings(kind, plain, lenient=True), entry, where, problems)
    variables = entry.get("vars")
    if variables is not None:
        check_variables(variables, f"{where}.vars", problems)
    by_region = entry.get("by_region")
    if by_region is not None and by_region.is_map:
        for region, node in by_region.children():
            node.stamp(_joined(entry.via, f"by_region {region}"))


def _check_children(entry: Node, kind: str, where: str, problems: Problems) -> None:
    """What an entry holds of other kinds must be written out: null says nothing there."""
    held = [one.key for spec in KINDS.values() for one in spec.holds if kind in {s.entry for s in spec.sections}]
    for key in [*held, *(child.parent_key for child in children(kind) if child.parent_key)]:
        inner = entry.get(key)
        for name, node in inner.children() if inner else ():
            if node.value is None:
                problems.error(
                    "null-entry", f"{where}.{key}.{name} is null",
                    "take it out; to drop one that defaults or a class supply write "
                    f"`unmanaged: [{key}.{name}]` in the entry", source=node.source,
                )  # fmt: skip


def check_variables(node: Node, where: str, problems: Problems) -> None:
    """Record what is wrong with the names and values of one ``vars`` map."""
    for code, at, message, hint in bad_variables(node):
        if not problems.reported(at.source, code):
            problems.error(code, f"{where}: {message}", hint, source=at.source)


def _check_keys(node: Node, known: Iterable[str], where: str, problems: Problems) -> None:
    names = tuple(known)
    for key, child in node.children():
        if key in names or (not where and key.startswith("x-")):
            continue
        place = where or "the state"
        problems.error(
            "unknown-key", f"{place} has no key {show(key)}", suggestion(key, names), source=child.source
        )  # fmt: skip


def _must_be_map(node: Node, where: str, problems: Problems) -> bool:
    if node.is_map:
        return True
    problems.error(
        "wrong-type", f"{where}: a map is wanted; found {show(node.value)}", "write `key: value` pairs below it",
        source=node.source,
    )  # fmt: skip
    return False


def _joined(first: str, second: str) -> str:
    return f"{first}, {second}" if first else second


def _fold(name: str, plain: Any) -> Any:
    fold = compiled.folder(name)
    return fold(plain) if fold else plain


def _folded(name: str, node: Node) -> Any:
    return _fold(name, node.plain())


def _rules(node: Node) -> Any:
    """The ``rules`` map with YAML 1.1's reading of an unquoted ``off`` undone."""
    if not node.is_map:
        return node.plain()
    return {name: rule_severity(child) for name, child in node.children()}


def _unknown_rule(finding: SchemaProblem, plain: Any) -> SchemaProblem:
    """A name that is no rule's, in ``rules`` or in a waiver, in words that say so."""
    name = finding.path[-1] if finding.path else ""
    if finding.code == "not-allowed-value" and name == "rule":
        name = plain[finding.path[0]]["rule"]
    elif finding.code != "unknown-key" or len(finding.path) != 1:
        return finding
    hint = suggestion(str(name), schema.resolve({"$ref": "#/$defs/rules/$defs/id"})["enum"])
    return SchemaProblem(
        finding.path, "unknown-rule", f"there is no rule {show(name)}",
        hint if hint.startswith("did you mean") else "docs/rules/README.md lists them", finding.is_key,
    )  # fmt: skip


def rule_severity(node: Node) -> Any:
    """A severity; an unquoted ``off``, which YAML 1.1 reads as false, is meant as written."""
    return "off" if node.value is False and node.raw.lower() == "off" else node.value


def report(found: Iterable[SchemaProblem], root: Node, where: str, problems: Problems, address: str = "") -> None:
    """Turn schema findings into diagnostics at the places of their nodes."""
    for finding in found:
        node = root.at(finding.path)
        path = ".".join([where, *(str(part) for part in finding.path[:-1] if not isinstance(part, int))]).strip(".")
        if not finding.is_key:
            path = ".".join([where, *(str(part) for part in finding.path if not isinstance(part, int))]).strip(".")
        code, message, hint = finding.code, finding.message, finding.hint
        if code == "unknown-key" and finding.path[-1:] == ("dkim",) and "email_addresses" in where:
            hint = "DKIM belongs to the domain: SES signs an address with its domain's key"
        if finding.path[-1:] == ("spf",) and code == "wrong-type":
            hint = 'write our own terms, such as {include: [_spf.crm.example], all: "~all"}; those of others stay'
        if code == "null-not-allowed" and problems.reported(node.source, "null-entry"):
            continue
        if code == "needs-quotes" and node.raw:
            hint = f'put it in quotes: "{node.raw}"'
        if finding.path[-1:] == ("account",) and code in ("needs-quotes", "ambiguous-scalar", "wrong-type"):
            code = "account-not-quoted"
            message = "an account must be in quotes: without them YAML reads a number and may drop leading zeros"
            hint = f'write account: "{node.raw or show(node.value)}"'
        if problems.reported(node.source, code):
            continue
        problems.error(code, f"{path}: {message}", hint, source=node.source, address=address, detail=path, who=where)


# --- the layers of one entry ---------------------------------------------------------------------------------------


def lay(below: Node | None, above: Node) -> Node:
    """``merged``, and what an inherited ``dkim`` block holds that does not go with the new origin is dropped.

    So an entry that turns to Deterministic Easy DKIM does not inherit a key length, nor an EXTERNAL one.
    """
    if below is None:
        return above
    dkim = above.get("dkim")
    origin = dkim.get(_DKIM_ORIGIN) if dkim is not None else None
    inherited = below.get("dkim")
    if (
        origin is not None
        and (origin.value is None or type(origin.value) is str)
        and inherited is not None
        and inherited.is_map
    ):
        unfit = _ALL_COMPANIONS - dkim_companions(origin.value or "AWS_SES")
        if unfit & inherited.value.keys():
            kept = {key: child for key, child in inherited.value.items() if key not in unfit}
            below = below.with_value({**below.value, "dkim": inherited.with_value(kept)})
    return merged(below, above)


def without(node: Node, path: str) -> Node:
    """``node`` without the value at a dotted path; tag names and the like may hold dots themselves."""
    if not node.is_map:
        return node
    if path in node.value:
        return node.with_value({key: child for key, child in node.value.items() if key != path})
    head, _, rest = path.partition(".")
    child = node.value.get(head)
    if not rest or child is None:
        return node
    trimmed = without(child, rest)
    return node if trimmed is child else node.with_value({**node.value, head: trimmed})


def has(node: Node | None, path: str) -> bool:
    """Whether a dotted path is written in ``node``."""
    while node is not None and node.is_map:
        if path in node.value:
            return True
        head, _, path = path.partition(".")
        if not path:
            return False
        node = node.value.get(head)
    return False
