"""The fields of a plain kind, between the YAML, AWS's answers and AWS's requests, as its ``Field``s say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from reconciler.kinds.spelling import snake, to_aws
from reconciler.model import Document, canonical_json
from reconciler.resources.spec import Field


def desired_value(field: Field, written: Any) -> Any:
    """What the YAML asks for; ``null``, of the field or below it, asks for AWS's default."""
    if field.inner:
        return _sets(field, with_defaults(written, field.inner), _unique)
    if field.keyed:
        return {name: with_defaults(item, field.members, all_of=True) for name, item in (written or {}).items()}
    return _sets(field, usual_value(field) if written is None else written, _unique)


def usual_value(field: Field) -> Any:
    """What a declared field has where the YAML says nothing, or ``null``."""
    return field.default if field.ours is None else field.ours


def beyond(block: Document, usual: Document) -> dict[str, Any]:
    """A block without what it has by itself."""
    return {
        key: beyond(value, usual[key]) if isinstance(usual.get(key), Mapping) and value is not None else value
        for key, value in block.items()
        if value != usual.get(key)
    }


def observed_value(field: Field, live: Any) -> Any:
    """What AWS's answer (in snake_case) says, with defaults where it says nothing."""
    if field.inner:
        return _sets(field, _filled(live or {}, field.inner), _sorted)
    if field.keyed:
        key = snake(field.keyed)
        items = {str(item[key]): {k: v for k, v in item.items() if k != key} for item in live or ()}
        return {name: {**field.members, **item} for name, item in items.items()}
    return _sets(field, field.default if live is None or live == field.empty else live, _sorted)


def in_one_order(fields: Mapping[str, Field], document: Document) -> Document:
    """``document`` with its lists that are sets in the order in which they are observed."""
    return {k: _sets(fields[k], value, _sorted) if k in fields else value for k, value in document.items()}


def ordered_like(fields: Mapping[str, Field], live: Document, wanted: Document) -> Document:
    """``live`` with its lists that are the same sets as in ``wanted`` in that order: they do not differ, and what is
    sent has the order of the YAML, which AWS keeps and other tools compare."""
    out = dict(live)
    for key, field in fields.items():
        there, written = live.get(key), wanted.get(key)
        if field.set_of:
            out[key] = _like(there, written)
        elif field.sets and isinstance(there, Mapping) and isinstance(written, Mapping):
            lists = {inner: _like(there[inner], written.get(inner)) for inner in field.sets if inner in there}
            out[key] = {**there, **lists}
    return {key: value for key, value in out.items() if key in live}


def request_value(field: Field, value: Any) -> Any:
    """The member of a request that says ``value``; None or {} where there is nothing to send."""
    if field.keyed:
        kept = {name: item for name, item in (value or {}).items() if item is not None}
        return [{field.keyed: name, **to_aws(item)} for name, item in kept.items()]
    if field.inner:
        says_nothing = field.main and not (value or {}).get(field.main)
        return {} if says_nothing else _without_empty(to_aws(value or {}))
    if value is None:
        return field.empty
    return list(value) if isinstance(value, list | tuple) else value


def with_defaults(written: Any, defaults: Mapping[str, Any], *, all_of: bool = False) -> dict[str, Any]:
    """What somebody wrote, with ``null`` (of a field or the whole block) read as AWS's default; ``all_of``: fields that
    nobody wrote have it, too."""
    if written is None:
        return {k: with_defaults(None, v) if isinstance(v, Mapping) else v for k, v in defaults.items()}
    out: dict[str, Any] = with_defaults(None, defaults) if all_of else {}
    for key, value in written.items():
        default = defaults.get(key)
        if isinstance(default, Mapping):
            out[key] = with_defaults(value, default)
        else:
            out[key] = default if value is None else value
    return out


def without_absent(document: Mapping[str, Any]) -> dict[str, Any]:
    """Without fields whose desired value is AWS's absence: nothing to send and nothing to show on creation."""
    out: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            inner = without_absent(value)
            if inner:
                out[key] = inner
        elif value is not None:
            out[key] = value
    return out


def _filled(live: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, default in defaults.items():
        value = live.get(key)
        if isinstance(default, Mapping):
            out[key] = _filled(value or {}, default)
        else:
            out[key] = default if value is None else value
    return out


def _sets(field: Field, value: Any, make: Callable[[Iterable[Any]], list[Any]]) -> Any:
    """``value`` with ``make`` applied to its lists that are sets; an absent one and an empty one stay apart."""
    if field.set_of:
        return None if value is None else make(value)
    if field.sets and isinstance(value, Mapping):
        return {k: make(v) if k in field.sets and isinstance(v, list | tuple) else v for k, v in value.items()}
    return _listed(value)


def _unique(items: Iterable[Any]) -> list[Any]:
    """The items in their order, each once."""
    return list({canonical_json(item): item for item in items}.values())


def _sorted(items: Iterable[Any]) -> list[Any]:
    return sorted(_unique(items), key=lambda item: item if isinstance(item, str) else canonical_json(item))


def _like(live: Any, wanted: Any) -> Any:
    same = isinstance(live, list) and isinstance(wanted, list) and _sorted(live) == _sorted(wanted)
    return wanted if same else live


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _without_empty(block: Mapping[str, Any]) -> dict[str, Any]:
    """Without members that say nothing, at any depth."""
    inner = {key: _without_empty(value) if isinstance(value, Mapping) else value for key, value in block.items()}
    return {key: value for key, value in inner.items() if value not in ({}, None)}
