"""Between the YAML's snake_case documents and AWS's CamelCase members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def to_aws(document: Mapping[str, Any]) -> dict[str, Any]:
    """``tls_policy`` -> ``TlsPolicy``, all the way down; fields that are None are left out."""
    return {camel(k): _value_to_aws(v) for k, v in document.items() if v is not None}


def _value_to_aws(value: Any) -> Any:
    if isinstance(value, Mapping):
        return to_aws(value)
    if isinstance(value, list | tuple):
        return [_value_to_aws(item) for item in value]
    return value


_UNUSUAL = {"ok_actions": "OKActions", "prom_ql_criteria": "PromQLCriteria"}
"""Members with several capitals in a row."""
_USUAL = {member: name for name, member in _UNUSUAL.items()}


def camel(name: str) -> str:
    """``tls_policy`` -> ``TlsPolicy``."""
    return _UNUSUAL.get(name) or "".join(part.capitalize() for part in name.split("_"))


def snake(name: str) -> str:
    """``TlsPolicy`` -> ``tls_policy``."""
    if name in _USUAL:
        return _USUAL[name]
    out = ""
    for character in name:
        out += ("_" if out and character.isupper() else "") + character.lower()
    return out


def from_aws(document: Mapping[str, Any]) -> dict[str, Any]:
    """``TlsPolicy`` -> ``tls_policy``, all the way down; times become ISO 8601 text."""
    return {snake(k): _value_from_aws(v) for k, v in document.items()}


def _value_from_aws(value: Any) -> Any:
    if isinstance(value, Mapping):
        return from_aws(value)
    if isinstance(value, list | tuple):
        return [_value_from_aws(item) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else value
