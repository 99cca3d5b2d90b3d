"""The JSON Schemas of ``schemas/``: one source for the editor and for the check of every entry.

Valid input is let through by a check compiled from the schema (about 20 microseconds an entry). Only what it refuses
goes to the jsonschema library, which finds the errors; they are put into our own words here. A test holds the two to
the same verdict. Loading jsonschema takes longer than validating a thousand entries, so valid input never does.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

from reconciler.desired.nodes import Odd, clip, show
from reconciler.desired.variables import suggestion

PARTS: Final = (
    "common", "stack", "domain", "email_address", "configuration_set", "event_destination", "dedicated_ip_pool",
    "smtp_user", "rules",
)  # fmt: skip

Check = Callable[[Any], bool]
Fold = Callable[[Any], Any]


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
def _merged() -> dict[str, Any]:
    root: dict[str, Any] = _moved_refs(_read("state"), "")
    for part in PARTS:
        body = _moved_refs(_read(part), f"/$defs/{part}")
        body.pop("$schema", None)
        root["$defs"][part] = body
    return root


def json_schema() -> dict[str, Any]:
    """All schema files as one JSON Schema (draft 2020-12), for editors: what ``recon schema`` prints."""
    return copy.deepcopy(_merged())


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
        found: Any = _merged()
        for step in schema["$ref"].removeprefix("#").strip("/").split("/"):
            found = found[step]
        schema = found
    return schema


def definition(name: str) -> Mapping[str, Any]:
    """The schema of one part: a kind (``domain``), or a key of the state (``moved``, ``rules``, ``waivers``)."""
    whole = _merged()
    found: Mapping[str, Any] = whole["$defs"].get(name) or whole["properties"][name]
    return found


# --- the compiled check --------------------------------------------------------------------------------------------

_ANNOTATIONS: Final = frozenset({"$schema", "$defs", "title", "description", "format", "default", "examples"})
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,), "boolean": (bool,), "integer": (int,), "number": (int, float), "null": (type(None),),
    "object": (dict,), "array": (list,),
}  # fmt: skip


@cache
def checker(name: str, lenient: bool = False) -> Check:
    """A function that says whether a plain value fits the schema ``name``.

    ``lenient`` takes any text that still holds a ``${variable}``: for layers before they are expanded.
    """
    return _Compiler(lenient).compile(definition(name))


def _takes_text(schema: Mapping[str, Any]) -> bool:
    """Whether a ``${variable}`` may come to fit: where a text, number, true or false is wanted, and no map or list."""
    schema = resolve(schema)
    if "anyOf" in schema:
        return any(_takes_text(item) for item in schema["anyOf"])
    kinds = schema.get("type", "string")
    return bool({"string", "boolean", "integer", "number"} & set([kinds] if isinstance(kinds, str) else kinds))


class _Compiler:
    def __init__(self, lenient: bool) -> None:
        self.lenient = lenient
        self.refs: dict[str, Check] = {}

    def compile(self, schema: Mapping[str, Any]) -> Check:
        """Raises ValueError for a keyword that is not known here: none is skipped in silence."""
        checks: list[Check] = []
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

        if not self.lenient or not _takes_text(schema):
            return inner
        return lambda v: (type(v) is str and "${" in v) or inner(v)

    def _ref(self, target: str, _: Mapping[str, Any]) -> Check:
        known = self.refs.get(target)
        if known is None:
            holder: list[Check] = []
            self.refs[target] = lambda v: holder[0](v)  # a schema may refer to itself
            holder.append(self.compile(resolve({"$ref": target})))
            self.refs[target] = known = holder[0]
        return known

    def _type(self, rule: str | list[str], _: Mapping[str, Any]) -> Check:
        kinds = frozenset(kind for name in ([rule] if isinstance(rule, str) else rule) for kind in _TYPES[name])
        return lambda v: type(v) in kinds

    def _enum(self, rule: list[Any], _: Mapping[str, Any]) -> Check:
        allowed = frozenset(rule)
        if not all(item is None or isinstance(item, str) for item in rule):
            raise ValueError("an enum of anything but texts and null is not supported")
        return lambda v: (type(v) is str or v is None) and v in allowed

    def _properties(self, rule: Mapping[str, Any], schema: Mapping[str, Any]) -> Check:
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

    def _extra(self, rule: Any) -> Check:
        if rule is True:
            return lambda v: True
        if rule is False:
            return lambda v: False
        return self.compile(rule)

    def _patternproperties(self, rule: Any, schema: Mapping[str, Any]) -> Check | None:
        return None if "properties" in schema else self._properties({}, schema)

    def _additionalproperties(self, rule: Any, schema: Mapping[str, Any]) -> Check | None:
        if "properties" in schema or "patternProperties" in schema:
            return None
        return self._properties({}, schema)

    def _required(self, rule: list[str], _: Mapping[str, Any]) -> Check:
        return lambda v: type(v) is not dict or all(key in v for key in rule)

    def _minproperties(self, rule: int, _: Mapping[str, Any]) -> Check:
        return lambda v: type(v) is not dict or len(v) >= rule

    def _maxproperties(self, rule: int, _: Mapping[str, Any]) -> Check:
        return lambda v: type(v) is not dict or len(v) <= rule

    def _items(self, rule: Mapping[str, Any], _: Mapping[str, Any]) -> Check:
        inner = self.compile(rule)

        def check(v: Any) -> bool:
            if type(v) is list:
                for item in v:
                    if not inner(item):
                        return False
            return True

        return check

    def _minitems(self, rule: int, _: Mapping[str, Any]) -> Check:
        return lambda v: type(v) is not list or len(v) >= rule

    def _uniqueitems(self, rule: bool, _: Mapping[str, Any]) -> Check:
        def check(v: Any) -> bool:
            if type(v) is not list or len(v) < 2:
                return True
            seen = [(type(item), item) for item in v]
            return all(item not in seen[:index] for index, item in enumerate(seen))

        return check

    def _minlength(self, rule: int, _: Mapping[str, Any]) -> Check:
        return lambda v: type(v) is not str or len(v) >= rule

    def _maxlength(self, rule: int, _: Mapping[str, Any]) -> Check:
        return lambda v: type(v) is not str or len(v) <= rule

    def _pattern(self, rule: str, _: Mapping[str, Any]) -> Check:
        found = re.compile(rule).search
        return lambda v: type(v) is not str or found(v) is not None

    def _minimum(self, rule: float, _: Mapping[str, Any]) -> Check:
        return lambda v: type(v) not in (int, float) or v >= rule

    def _maximum(self, rule: float, _: Mapping[str, Any]) -> Check:
        return lambda v: type(v) not in (int, float) or v <= rule

    def _anyof(self, rule: list[Mapping[str, Any]], _: Mapping[str, Any]) -> Check:
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


# --- errors in our words -------------------------------------------------------------------------------------------


class Finding:
    """One error of one value: where (path from the entry), a stable code, what is wrong, what would be right."""

    __slots__ = ("code", "hint", "is_key", "message", "path")

    def __init__(self, path: tuple[str | int, ...], code: str, message: str, hint: str, is_key: bool = False) -> None:
        self.path = path
        self.code = code
        self.message = message
        self.hint = hint
        self.is_key = is_key


_SECRET: Final = "domain_signing_private_key"


@cache
def _validator(name: str) -> Any:
    import jsonschema

    # 300.0 is an integer to JSON Schema, but not to AWS
    strict = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    extend = jsonschema.validators.extend
    judge = extend(jsonschema.Draft202012Validator, type_checker=strict)  # type: ignore[no-untyped-call]
    # references count from the merged document, so its definitions replace the part's own
    return judge({**definition(name), "$defs": _merged()["$defs"]})


def findings(name: str, value: Any, *, lenient: bool = False) -> list[Finding]:
    """Every error of ``value`` against the schema ``name``, in our words. Empty where it fits."""
    if checker(name, lenient)(value):
        return []
    found: list[Finding] = []
    for error in _validator(name).iter_errors(value):
        found.extend(_worded(error, lenient))
    if not found and not lenient:
        found.append(Finding((), "bad-value", "the values do not fit", "compare them with `recon schema`"))
    return found


def _worded(error: Any, lenient: bool) -> Iterator[Finding]:
    path = tuple(error.absolute_path)
    value = error.instance
    if _SECRET in path and isinstance(value, str) and not (lenient and "${" in value and len(path) > 2):
        # somebody may have pasted the key itself: whatever stands there is not repeated
        yield Finding(
            path, "bad-secret-reference", "this does not say where the private key is",
            "write {secretsmanager: NAME}, {ssm: NAME}, {file: PATH} or {env: NAME}; the key itself never stands here",
        )  # fmt: skip
        return
    if lenient and isinstance(value, str) and "${" in value and _takes_text(error.schema):
        return
    word, rule = error.validator, error.validator_value
    if word in ("anyOf", "oneOf") and error.context:
        yield from _best_branch(error, lenient)
        return
    if word == "additionalProperties" and isinstance(value, dict):
        known = list(error.schema.get("properties", {}))
        patterns = [re.compile(p) for p in error.schema.get("patternProperties", {})]
        for key in value:
            if key not in known and not any(p.search(key) for p in patterns):
                yield Finding(
                    (*path, key), "unknown-key", f"there is no key {show(key)} here", suggestion(key, known), True
                )
        return
    if word == "required":
        missing = [key for key in rule if key not in value]
        for key in missing:
            if f"{key!r}" in error.message:
                yield Finding(path, "missing-key", f"{key} is missing", f"write `{key}:`")
        return
    yield _simple(path, word, rule, value, error.schema)


def _simple(path: tuple[str | int, ...], word: str, rule: Any, value: Any, schema: Mapping[str, Any]) -> Finding:
    if isinstance(value, Odd):
        return Finding(
            path, "ambiguous-scalar", f"`{clip(value.raw)}` is {value.reason}",
            f'put it in quotes: "{value.raw}"' if _takes(schema, "string") else "write a plain decimal number",
        )  # fmt: skip
    if word == "enum":
        allowed = [show(item).strip('"') for item in rule if item is not None]
        near = suggestion(str(value).upper(), allowed) if isinstance(value, str) else ""
        listed = ", ".join(allowed[:12]) + (", ..." if len(allowed) > 12 else "")
        hint = f"allowed: {listed}"
        if near.startswith("did you mean"):
            hint = f"{near} Allowed: {listed}"
        if value is None:
            return _null(path)
        return Finding(path, "not-allowed-value", f"{show(value)} is not an allowed value", hint)
    if word == "type":
        return _wrong_type(path, rule, value)
    if word in ("minimum", "maximum"):
        low, high = schema.get("minimum"), schema.get("maximum")
        span = (
            f"{low} to {high}"
            if low is not None and high is not None
            else f"at least {low}"
            if high is None
            else f"at most {high}"
        )
        return Finding(path, "out-of-range", f"{value} is out of range", f"write a number: {span}")
    if word in ("minLength", "maxLength"):
        what = "is empty" if not value else f"has {len(value)} characters"
        return Finding(path, "bad-length", f"{show(value)} {what}", f"write {schema.get('minLength', 0)} to "
                       f"{schema['maxLength']} characters" if "maxLength" in schema else "write a text")  # fmt: skip
    if word == "pattern":
        if rule == "^[0-9]{12}$":
            return Finding(
                path, "bad-format", f"{show(value)} is not the 12 digits of an account", 'such as "111122223333"'
            )
        return Finding(path, "bad-format", f"{show(value)} does not have the right form", _pattern_hint(rule, schema))
    if word == "minItems":
        return Finding(path, "empty-list", "the list is empty", "write at least one item, or take the key out")
    if word == "uniqueItems":
        twice = next((item for index, item in enumerate(value) if item in value[:index]), "")
        return Finding(path, "repeated-item", f"{show(twice)} stands twice in the list", "keep one of the two")
    if word in ("minProperties", "maxProperties"):
        names = ", ".join(schema.get("properties", {}))
        found = ", ".join(value) or "nothing"
        return Finding(
            path, "exactly-one", f"exactly one of {names} is wanted; found {found}", "write exactly one of them"
        )
    return Finding(path, "bad-value", f"{show(value)} does not fit", schema.get("description", "see `recon schema`"))


def _takes(schema: Mapping[str, Any], name: str) -> bool:
    kinds = schema.get("type", ())
    return name == kinds or name in kinds or "enum" in schema


def _null(path: tuple[str | int, ...]) -> Finding:
    return Finding(
        path, "null-not-allowed", "this has no default of AWS's that null could mean",
        "take the key out, or name it under `unmanaged:` to drop what defaults or a class supply",
    )  # fmt: skip


def _wrong_type(path: tuple[str | int, ...], rule: Any, value: Any) -> Finding:
    kinds = [rule] if isinstance(rule, str) else list(rule)
    if value is None:
        return _null(path)
    wanted = " or ".join(_TYPE_WORDS[kind] for kind in kinds if kind != "null")
    if "string" in kinds and isinstance(value, bool | int | float):
        what = "true or false" if isinstance(value, bool) else "a number"
        return Finding(
            path, "needs-quotes", f"a text is wanted; without quotes YAML reads {show(value)} as {what}",
            "put it in quotes",
        )  # fmt: skip
    hint = f"write {wanted}"
    if isinstance(value, str) and value and ("integer" in kinds or "boolean" in kinds):
        hint = f"write {wanted}, without quotes" if re.fullmatch(r"[0-9]+|true|false", value) else hint
    if kinds == ["array"] and not isinstance(value, dict):
        hint = f"write a list: [{value}]" if isinstance(value, str) and len(value) < 60 else hint
    return Finding(path, "wrong-type", f"{wanted} is wanted; found {show(value)}", hint)


_TYPE_WORDS: Final = {
    "string": "a text", "boolean": "true or false", "integer": "a whole number", "number": "a number",
    "object": "a map", "array": "a list", "null": "null",
}  # fmt: skip


def _pattern_hint(rule: str, schema: Mapping[str, Any]) -> str:
    if rule == "^arn:":
        return "write an ARN: it begins with arn:"
    return str(schema.get("description", "see `recon schema`"))


def _best_branch(error: Any, lenient: bool) -> Iterator[Finding]:
    """The errors of the alternative that was meant: the one whose type fits, else one error for all."""
    value = error.instance
    branches: dict[int, list[Any]] = {}
    for inner in error.context:
        branches.setdefault(inner.schema_path[0], []).append(inner)
    for inners in branches.values():
        if not any(inner.validator == "type" and not inner.path for inner in inners) and not any(
            inner.validator == "enum" and not inner.path and not isinstance(value, str) for inner in inners
        ):
            for inner in inners:
                yield from _worded(inner, lenient)
            return
    path = tuple(error.absolute_path)
    if value is None:
        yield _null(path)
        return
    kinds: list[str] = []
    for inners in branches.values():
        for inner in inners:
            if inner.validator == "type" and not inner.path:
                kinds += [inner.validator_value] if isinstance(inner.validator_value, str) else inner.validator_value
    if isinstance(value, Odd):
        yield _simple(path, "type", kinds, value, {"type": kinds})
    else:
        yield _wrong_type(path, list(dict.fromkeys(kinds)), value)
