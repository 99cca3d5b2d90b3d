"""Checks compiled from the schemas: whether a value fits, and its enum values in AWS's spelling.

Valid input is let through by them (about 20 microseconds an entry); loading jsonschema takes longer than validating a
thousand entries. A test holds them to jsonschema's verdict.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from reconciler.desired.schema import definition, resolve

ValueCheck = Callable[[Any], bool]
Fold = Callable[[Any], Any]

_ANNOTATIONS: Final = frozenset({"$schema", "$defs", "title", "description", "format", "default", "examples"})
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,), "boolean": (bool,), "integer": (int,), "number": (int, float), "null": (type(None),),
    "object": (dict,), "array": (list,),
}  # fmt: skip


@cache
def checker(name: str, lenient: bool = False) -> ValueCheck:
    """A function that says whether a plain value fits the schema ``name``.

    ``lenient`` takes any text that still holds a ``${variable}``: for layers before they are expanded.
    """
    return _Compiler(lenient).compile(definition(name))


def takes_text(schema: Mapping[str, Any]) -> bool:
    """Whether a ``${variable}`` may come to fit: where a text, number, true or false is wanted, and no map or list."""
    schema = resolve(schema)
    if "anyOf" in schema:
        return any(takes_text(item) for item in schema["anyOf"])
    kinds = schema.get("type", "string")
    return bool({"string", "boolean", "integer", "number"} & set([kinds] if isinstance(kinds, str) else kinds))


class _Compiler:
    def __init__(self, lenient: bool) -> None:
        self.lenient = lenient
        self.refs: dict[str, ValueCheck] = {}

    def compile(self, schema: Mapping[str, Any]) -> ValueCheck:
        """Raises ValueError for a keyword that is not known here: none is skipped in silence."""
        checks: list[ValueCheck] = []
        for word, rule in schema.items():
            if word in _ANNOTATIONS:
                continue
            method = getattr(self, "_" + word.lstrip("$").lower(), None)
            if method is None:
                raise ValueError(f"schema keyword {word} is not supported")
            check = method(rule, schema)
            if check is not None:
                checks.append(check)
        if not checks:
            return lambda v: True
        if len(checks) == 1:
            inner = checks[0]
        else:
            every = tuple(checks)

            def inner(v: Any) -> bool:
                for check in every:  # noqa: SIM110 - a generator costs more than the checks
                    if not check(v):
                        return False
                return True

        if not self.lenient or not takes_text(schema):
            return inner
        return lambda v: (type(v) is str and "${" in v) or inner(v)

    def _ref(self, target: str, _: Mapping[str, Any]) -> ValueCheck:
        known = self.refs.get(target)
        if known is None:
            holder: list[ValueCheck] = []
            self.refs[target] = lambda v: holder[0](v)  # a schema may refer to itself
            holder.append(self.compile(resolve({"$ref": target})))
            self.refs[target] = known = holder[0]
        return known

    def _type(self, rule: str | list[str], _: Mapping[str, Any]) -> ValueCheck:
        kinds = frozenset(kind for name in ([rule] if isinstance(rule, str) else rule) for kind in _TYPES[name])
        return lambda v: type(v) in kinds

    def _enum(self, rule: list[Any], _: Mapping[str, Any]) -> ValueCheck:
        allowed = frozenset(rule)
        if not all(item is None or isinstance(item, str) for item in rule):
            raise ValueError("an enum of anything but texts and null is not supported")
        return lambda v: (type(v) is str or v is None) and v in allowed

    def _properties(self, rule: Mapping[str, Any], schema: Mapping[str, Any]) -> ValueCheck:
        known = {key: self.compile(item) for key, item in rule.items()}
        patterns = [(re.compile(key), self.compile(v)) for key, v in schema.get("patternProperties", {}).items()]
        extra = schema.get("additionalProperties", True)
        other = self._extra(extra)

        def check(v: Any) -> bool:
            if type(v) is not dict:
                return True
            for key, item in v.items():
                inner = known.get(key)
                if inner is not None:
                    if not inner(item):
                        return False
                    continue
                allowed = [check for pattern, check in patterns if pattern.search(key)] if patterns else ()
                for inner in allowed or (other,):
                    if not inner(item):
                        return False
            return True

        return check

    def _extra(self, rule: Any) -> ValueCheck:
        if rule is True:
            return lambda v: True
        if rule is False:
            return lambda v: False
        return self.compile(rule)

    def _patternproperties(self, rule: Any, schema: Mapping[str, Any]) -> ValueCheck | None:
        return None if "properties" in schema else self._properties({}, schema)

    def _additionalproperties(self, rule: Any, schema: Mapping[str, Any]) -> ValueCheck | None:
        if "properties" in schema or "patternProperties" in schema:
            return None
        return self._properties({}, schema)

    def _required(self, rule: list[str], _: Mapping[str, Any]) -> ValueCheck:
        return lambda v: type(v) is not dict or all(key in v for key in rule)

    def _minproperties(self, rule: int, _: Mapping[str, Any]) -> ValueCheck:
        return lambda v: type(v) is not dict or len(v) >= rule

    def _maxproperties(self, rule: int, _: Mapping[str, Any]) -> ValueCheck:
        return lambda v: type(v) is not dict or len(v) <= rule

    def _items(self, rule: Mapping[str, Any], _: Mapping[str, Any]) -> ValueCheck:
        inner = self.compile(rule)

        def check(v: Any) -> bool:
            if type(v) is list:
                for item in v:
                    if not inner(item):
                        return False
            return True

        return check

    def _minitems(self, rule: int, _: Mapping[str, Any]) -> ValueCheck:
        return lambda v: type(v) is not list or len(v) >= rule

    def _maxitems(self, rule: int, _: Mapping[str, Any]) -> ValueCheck:
        return lambda v: type(v) is not list or len(v) <= rule

    def _uniqueitems(self, rule: bool, _: Mapping[str, Any]) -> ValueCheck:
        def check(v: Any) -> bool:
            if type(v) is not list or len(v) < 2:
                return True
            seen = [(type(item), item) for item in v]
            return all(item not in seen[:index] for index, item in enumerate(seen))

        return check

    def _minlength(self, rule: int, _: Mapping[str, Any]) -> ValueCheck:
        return lambda v: type(v) is not str or len(v) >= rule

    def _maxlength(self, rule: int, _: Mapping[str, Any]) -> ValueCheck:
        return lambda v: type(v) is not str or len(v) <= rule

    def _pattern(self, rule: str, _: Mapping[str, Any]) -> ValueCheck:
        found = re.compile(rule).search
        return lambda v: type(v) is not str or found(v) is not None

    def _minimum(self, rule: float, _: Mapping[str, Any]) -> ValueCheck:
        return lambda v: type(v) not in (int, float) or v >= rule

    def _maximum(self, rule: float, _: Mapping[str, Any]) -> ValueCheck:
        return lambda v: type(v) not in (int, float) or v <= rule

    def _anyof(self, rule: list[Mapping[str, Any]], _: Mapping[str, Any]) -> ValueCheck:
        kinds = tuple(self.compile(item) for item in rule)

        def check(v: Any) -> bool:
            for kind in kinds:  # noqa: SIM110
                if kind(v):
                    return True
            return False

        return check


# --- enum values in any case ---------------------------------------------------------------------------------------


@cache
def folder(name: str) -> Fold | None:
    """A function that returns a plain value with its enum values in AWS's spelling; None where there are none.

    Values are copied where they change, never altered.
    """
    return _fold(definition(name), ())


def _fold(schema: Mapping[str, Any], seen: tuple[str, ...]) -> Fold | None:
    target = schema.get("$ref")
    if target is not None:
        return None if target in seen else _fold(resolve(schema), (*seen, target))
    if "enum" in schema:
        spelled = {item.lower(): item for item in schema["enum"] if isinstance(item, str)}
        return lambda v: spelled.get(v.lower(), v) if type(v) is str else v
    if "anyOf" in schema:
        kinds = [fold for fold in (_fold(item, seen) for item in schema["anyOf"]) if fold is not None]
        if not kinds:
            return None

        def any_of(v: Any) -> Any:
            for kind in kinds:
                v = kind(v)
            return v

        return any_of
    if "items" in schema:
        item_fold = _fold(schema["items"], seen)
        if item_fold is None:
            return None
        return lambda v: [item_fold(item) for item in v] if type(v) is list else v
    known = {key: fold for key, item in schema.get("properties", {}).items() if (fold := _fold(item, seen))}
    extra = schema.get("additionalProperties")
    other = _fold(extra, seen) if isinstance(extra, dict) else None
    if not known and other is None:
        return None

    def in_map(v: Any) -> Any:
        if type(v) is not dict:
            return v
        out = v
        for key, item in v.items():
            fold = known.get(key, other)
            if fold is None:
                continue
            folded = fold(item)
            if folded is not item:
                if out is v:
                    out = dict(v)
                out[key] = folded
        return out

    return in_map
