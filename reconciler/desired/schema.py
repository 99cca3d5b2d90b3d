"""The JSON Schemas of ``schemas/``: one source for the editor and for the check of every entry.

Valid input is let through by a check compiled from the schema (``compiled``). Only what it refuses goes to the
jsonschema library, which finds the errors; they are put into our own words (``findings``).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

PARTS: Final = (
    "common", "stack", "domain", "email_address", "configuration_set", "event_destination", "dedicated_ip_pool",
    "smtp_user", "rules",
)  # fmt: skip


def _directory() -> Traversable:
    """Where the schema files are: beside the package in a checkout, inside it once installed."""
    packaged = resources.files("reconciler") / "schemas"
    if (packaged / "state.schema.json").is_file():
        return packaged
    return Path(__file__).resolve().parent.parent.parent / "schemas"


def _read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((_directory() / f"{name}.schema.json").read_text(encoding="utf-8"))
    return loaded


@cache
def merged() -> dict[str, Any]:
    """All schema files as one document, which nobody may change."""
    root: dict[str, Any] = _moved_refs(_read("state"), "")
    for part in PARTS:
        body = _moved_refs(_read(part), f"/$defs/{part}")
        body.pop("$schema", None)
        root["$defs"][part] = body
    return root


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
    """The schema of one part: a kind (``domain``), or a key of the state (``moved``, ``rules``, ``waivers``)."""
    whole = merged()
    found: Mapping[str, Any] = whole["$defs"].get(name) or whole["properties"][name]
    return found
