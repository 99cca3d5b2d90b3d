"""The declared state in a saved plan: resolved entries in the form of the YAML, from which they are read back.

No layer is left in it (defaults, classes, environments, variables, files): an entry says all of its values itself. It
is read and checked as any YAML is, since a plan file may have been edited by anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from reconciler.desired import checked
from reconciler.desired.nodes import Node
from reconciler.errors import InvalidState
from reconciler.model import Diagnostic, Document, Entry, State
from reconciler.resources import SECTIONS
from reconciler.resources.spec import PlainSpec


def to_document(state: State, wanted: Callable[[Entry], bool] = lambda entry: True) -> Document:
    """The entries of ``state`` that are ``wanted``, what it renames and releases, rules and waivers; none is copied."""
    found: dict[str, dict[str, list[Entry]]] = {}
    for entry in filter(wanted, state.entries):
        found.setdefault(entry.section, {}).setdefault(entry.name, []).append(entry)
    written = {s: {name: _written(of_name) for name, of_name in named.items()} for s, named in found.items()}
    return {
        **{section: entries[""] if SECTIONS[section][1].single else entries for section, entries in written.items()},
        "moved": [{"from": moved.from_address, "to": moved.to_address} for moved in state.moved],
        "released": [str(one) for one in state.released],
        "rules": dict(state.rules),
        "waivers": [
            {"rule": w.rule, "address": w.address, "reason": w.reason, "until": w.until} for w in state.waivers
        ],
    }


def from_document(stack: Document, declared: Document, root: str) -> State:
    """The state from what ``to_document`` has written and ``stack``, as in a plan's context. Raises InvalidState for
    what is no valid state. Lines are unknown: every place is line 1 of ``the plan file``.
    """
    _refuse_files(declared)
    environment = stack.get("environment")
    document = {**_escaped(declared), "stack": _escaped(_stack(stack))}
    if environment is not None:
        document["environments"] = {environment: {}}
    return checked(_node(document), environment, root).state


def _refuse_files(declared: Document) -> None:
    """Raise InvalidState where a text is to be read from a file: texts are in the document, and an error would print
    what stands in any file that it names."""
    for section, (spec, _) in SECTIONS.items():
        keys = [key for key, field in spec.fields.items() if field.file] if isinstance(spec, PlainSpec) else []
        named = declared.get(section)
        entries = named.values() if keys and isinstance(named, Mapping) else ()
        for entry in [e for e in entries if isinstance(e, Mapping)]:
            layers = entry.get("by_region")
            for layer in (entry, *(layers.values() if isinstance(layers, Mapping) else ())):
                if isinstance(layer, Mapping) and any(isinstance(layer.get(key), Mapping) for key in keys):
                    what = f"{section}: a text of it is in a file"
                    raise InvalidState([Diagnostic("error", "bad-file", what)])


def _stack(fields: Document) -> Document:
    """``stack:`` as the YAML has it."""
    roles = {"plan": fields.get("plan_role_arn"), "apply": fields.get("apply_role_arn")}
    dns = {"account": fields.get("dns_account"), "role_arn": fields.get("dns_role_arn")}
    written = {
        key: fields.get(key) for key in ("name", "account", "regions", "tags", "max_deletes", "backend", "formerly")
    }
    written["role_arn"] = {purpose: arn for purpose, arn in roles.items() if arn is not None}
    written["dns"] = {key: value for key, value in dns.items() if value is not None}
    return {key: value for key, value in written.items() if value not in ({}, [], None)}


def _written(entries: list[Entry]) -> Document:
    """One entry of the YAML from what it became in each region."""
    first, regional = entries[0], [entry for entry in entries if entry.region]
    if not regional:
        return first.values
    regions = {"regions": [entry.region for entry in regional]}
    if all(entry.values == first.values for entry in regional):
        return {**first.values, **regions}
    # A domain's first entry is its own, of no region; of the others each region says everything.
    common = first.values if first.region is None else {}
    own = {str(e.region): {k: v for k, v in e.values.items() if common.get(k, ...) != v} for e in regional}
    return {**common, **regions, "by_region": own}


def _escaped(value: Any) -> Any:
    """``value`` without variables: what looks like one is text."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, Mapping):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(item) for item in value]
    return value


def _node(value: Any) -> Node:
    if isinstance(value, Mapping):
        value = {str(key): _node(item) for key, item in value.items()}
    elif isinstance(value, list | tuple):
        value = [_node(item) for item in value]
    return Node(value, "the plan file", 1, 1)
