"""The JSON Schema of the YAML: one source for the editor and for the check of every entry.

The keys of an entry are in the folder of its kind (``reconciler/resources/KIND/ENTRY.schema.json``); what all entries
have alike (class, vars, regions, tags, by_region, unmanaged, protect) and the sections around them are added here.

Valid input is let through by a check compiled from the schema (``compiled``). Only what it refuses is passed to the
jsonschema library, which finds the errors; they are put into our own words (``findings``).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

from reconciler.resources import FOLDER, KINDS, SECTIONS, children, holders
from reconciler.resources.spec import KindSpec, Section

PARTS: Final = ("common", "stack", "rules")
"""The parts of the schema that are of no kind; files of ``schemas/``."""


def _directory() -> Traversable:
    """Where ``schemas/`` is: beside the package in a checkout, inside it once installed."""
    packaged = resources.files("reconciler") / "schemas"
    if (packaged / "envelope.schema.json").is_file():
        return packaged
    return Path(__file__).resolve().parent.parent.parent / "schemas"


def _read(file: Traversable) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded


def entry_names() -> Iterator[tuple[KindSpec, str]]:
    """Every kind with the name of its entries, one for each section; last the kinds that others hold."""
    for spec in KINDS.values():
        for section in spec.sections:
            yield spec, section.entry
    for spec in KINDS.values():
        if spec.parent_key:
            yield spec, spec.name


@cache
def merged() -> dict[str, Any]:
    """All schema files as one document, which nobody may change."""
    root: dict[str, Any] = _moved_refs(_read(_directory() / "envelope.schema.json"), "")
    definitions = root["$defs"]
    for part in PARTS:
        definitions[part] = _part(_directory() / f"{part}.schema.json", part)
    for spec, entry in entry_names():
        definitions[entry] = _part(FOLDER / spec.name / f"{entry}.schema.json", entry)
    for spec in KINDS.values():
        for section in spec.sections:
            _add_envelope(definitions[section.entry], spec, section)
            _add_section(root, section)
    everywhere = {key: root["properties"][key] for key in root["properties"] if key not in {"stack", "environments"}}
    definitions["environment"]["properties"] |= everywhere
    for _, entry in entry_names():
        layer = {"description": f"Values under every {entry.replace('_', ' ')}.", "$ref": f"#/$defs/{entry}"}
        definitions["defaults"]["properties"][entry] = layer
        definitions["classes"]["additionalProperties"]["properties"][entry] = layer
    return root


def _part(file: Traversable, name: str) -> dict[str, Any]:
    body: dict[str, Any] = _moved_refs(_read(file), f"/$defs/{name}")
    body.pop("$schema", None)
    return body


def _add_envelope(body: dict[str, Any], spec: KindSpec, section: Section) -> None:
    """Add the keys that all entries have alike to the schema of one."""

    def common(*names: str) -> dict[str, Any]:
        return {name: {"$ref": f"#/$defs/common/$defs/{name}"} for name in names}

    own = dict(body["properties"])
    for child in children(spec.name):
        if child.item_key:
            own[child.parent_key] = {
                "title": f"{child.words[0].upper()}{child.words[1:]}s",
                "description": f"List of {child.many}.",
                "type": ["array", "null"],
                "items": {"$ref": f"#/$defs/{child.name}"},
            }
        elif child.parent_key:
            own[child.parent_key] = {
                "title": f"{child.words[0].upper()}{child.words[1:]}s",
                "description": f"Name to {child.words}" + (f", at most {child.quota}." if child.quota else "."),
                "type": "object",
                "additionalProperties": {"$ref": f"#/$defs/{child.name}"},
            }
    for held in spec.holds:
        title, entry = SECTIONS[held.section][1].title, SECTIONS[held.section][1].entry
        own[held.key] = {
            "title": title,
            "description": f"Key to an entry as under `{held.section}`, where it is named NAME-KEY.",
            "type": "object",
            "additionalProperties": {"$ref": f"#/$defs/{entry}/$defs/held"},
        }
    tags = common("tags") if spec.taggable else {}
    properties = {**common("class", "vars"), **(common("regions") if spec.regional else {}), **own, **tags}
    if spec.regional:
        regional = {key: value for key, value in {**own, **tags}.items() if key not in section.everywhere}
        body.setdefault("$defs", {})["regional"] = {
            "title": "Values for one region",
            "description": "What may differ from region to region.",
            "type": "object",
            "properties": regional,
            "additionalProperties": False,
        }
        properties["by_region"] = {
            "title": "By region",
            "description": "Values for single regions, laid over the entry's own.",
            "type": "object",
            "additionalProperties": {"$ref": f"#/$defs/{section.entry}/$defs/regional"},
        }
    if holders(spec.name):
        body.setdefault("$defs", {})["held"] = {
            "title": section.title,
            "description": "An entry inside one of another section.",
            "type": "object",
            "properties": {
                **{key: {"$ref": f"#/$defs/{section.entry}/properties/{key}"} for key in (*own, *tags)},
                **common("protect"),
            },
            "additionalProperties": False,
        }
    body["properties"] = {**properties, **common("unmanaged", *(() if spec.permanent else ("protect",)))}


def _add_section(root: dict[str, Any], section: Section) -> None:
    if section.single:
        one = [{"$ref": f"#/$defs/{section.entry}"}, {"type": "null"}]
        root["properties"][section.name] = {"title": section.title, "description": section.about, "anyOf": one}
        return
    root["properties"][section.name] = {
        "title": section.title,
        "description": section.about,
        "type": ["object", "null"],
        "additionalProperties": {"anyOf": [{"$ref": f"#/$defs/{section.entry}"}, {"type": "null"}]},
    }


def json_schema() -> dict[str, Any]:
    """All schema files as one JSON Schema (draft 2020-12), for editors: what ``recon schema`` prints."""
    return copy.deepcopy(merged())


def _moved_refs(value: Any, home: str) -> Any:
    """``value`` with references between files turned into references inside the merged document."""
    if isinstance(value, dict):
        out = {key: _moved_refs(item, home) for key, item in value.items()}
        target = value.get("$ref")
        if isinstance(target, str):
            file, _, pointer = target.partition("#")
            base = f"/$defs/{file.removesuffix('.schema.json')}" if file else home
            out["$ref"] = f"#{base}{pointer}"
        return out
    if isinstance(value, list):
        return [_moved_refs(item, home) for item in value]
    return value


def resolve(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema that a ``$ref`` names, or ``schema`` itself."""
    while "$ref" in schema:
        found: Any = merged()
        for step in schema["$ref"].removeprefix("#").strip("/").split("/"):
            found = found[step]
        schema = found
    return schema


def definition(name: str) -> Mapping[str, Any]:
    """The schema of one part: an entry (``domain``), or a key of the state (``moved``, ``rules``, ``waivers``)."""
    whole = merged()
    found: Mapping[str, Any] = whole["$defs"].get(name) or whole["properties"][name]
    return found
