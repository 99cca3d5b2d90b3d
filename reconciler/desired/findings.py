"""What is wrong with a value that does not fit its schema, in our words. Only then is jsonschema loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

from reconciler.desired.compiled import checker, takes_text
from reconciler.desired.nodes import SECRET, AmbiguousScalar, clip, show
from reconciler.desired.schema import definition, merged
from reconciler.desired.variables import suggestible, suggestion


class SchemaProblem:
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
    return judge({**definition(name), "$defs": merged()["$defs"]})


def findings(name: str, value: Any, *, lenient: bool = False) -> list[SchemaProblem]:
    """Every error of ``value`` against the schema ``name``, in our words. Empty where it fits."""
    if checker(name, lenient)(value):
        return []
    found: list[SchemaProblem] = []
    for error in _validator(name).iter_errors(value):
        found.extend(_worded(error, lenient))
    if not found and not lenient:
        found.append(SchemaProblem((), "bad-value", "the values do not fit", "compare them with `recon schema`"))
    return [one if SECRET.isdisjoint(_around(one)) else _without_value(one) for one in found]


def _around(problem: SchemaProblem) -> tuple[str | int, ...]:
    """Where the value or key stands: an unknown key that is called like a secret's place is not below one."""
    return problem.path[:-1] if problem.is_key else problem.path


_SAID_OF_SECRETS: Final = {
    "unknown-key": "there is a key that is not known here",
    "wrong-type": "another type is wanted",
    "needs-quotes": "a text is wanted; without quotes YAML reads it as something else",
    "ambiguous-scalar": "YAML readers disagree about this value",
    "out-of-range": "the number is out of range",
    "bad-length": "the text is too short or too long",
    "bad-format": "the text does not have the right form",
    "not-allowed-value": "this is not an allowed value",
    "repeated-item": "an item is in the list twice",
    "exactly-one": "exactly one of the keys that belong here is wanted",
    "empty-map": "the map is empty",
    "bad-value": "the value does not fit",
}
_QUOTED_IN_HINTS: Final = frozenset({"ambiguous-scalar", "wrong-type", "unknown-key"})


def _without_value(problem: SchemaProblem) -> SchemaProblem:
    """A problem below ``SECRET``, where somebody may have pasted the secret itself: no key or value is repeated."""
    said = _SAID_OF_SECRETS.get(problem.code)
    if said is None:
        return problem
    hint = problem.hint
    if problem.code in _QUOTED_IN_HINTS:
        hint = "see `recon schema`; write where the secret is, never the secret itself"
    return SchemaProblem(_around(problem), problem.code, said, hint)


def _worded(error: Any, lenient: bool) -> Iterator[SchemaProblem]:
    path = tuple(error.absolute_path)
    value = error.instance
    if _SECRET in path and isinstance(value, str) and not (lenient and "${" in value and len(path) > 2):
        # somebody may have pasted the key itself: the value is not repeated
        yield SchemaProblem(
            path, "bad-secret-reference", "this does not say where the private key is",
            "write {secretsmanager: NAME}, {ssm: NAME}, {file: PATH} or {env: NAME}; never the key itself",
        )  # fmt: skip
        return
    if lenient and isinstance(value, str) and "${" in value and takes_text(error.schema):
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
                yield SchemaProblem(
                    (*path, key), "unknown-key", f"there is no key {show(key)} here", suggestion(key, known), True
                )
        return
    if word == "required":
        missing = [key for key in rule if key not in value]
        for key in missing:
            if f"{key!r}" in error.message:
                yield SchemaProblem(path, "missing-key", f"{key} is missing", f"write `{key}:`")
        return
    yield _simple(path, word, rule, value, error.schema)


def _simple(path: tuple[str | int, ...], word: str, rule: Any, value: Any, schema: Mapping[str, Any]) -> SchemaProblem:
    if isinstance(value, AmbiguousScalar):
        return SchemaProblem(
            path, "ambiguous-scalar", f"`{clip(value.raw)}` is {value.reason}",
            f'put it in quotes: "{value.raw}"' if _takes(schema, "string") else "write a plain decimal number",
        )  # fmt: skip
    if word == "enum":
        return _not_allowed(path, rule, value)
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
        return SchemaProblem(path, "out-of-range", f"{value} is out of range", f"write a number: {span}")
    if word in ("minLength", "maxLength"):
        what = "is empty" if not value else f"has {len(value)} characters"
        return SchemaProblem(path, "bad-length", f"{show(value)} {what}", f"write {schema.get('minLength', 0)} to "
                       f"{schema['maxLength']} characters" if "maxLength" in schema else "write a text")  # fmt: skip
    if word == "pattern":
        if rule == "^[0-9]{12}$":
            return SchemaProblem(
                path, "bad-format", f"{show(value)} is not the 12 digits of an account", 'such as "111122223333"'
            )
        return SchemaProblem(
            path, "bad-format", f"{show(value)} does not have the right form", _pattern_hint(rule, schema)
        )
    if word == "minItems":
        return SchemaProblem(path, "empty-list", "the list is empty", "write at least one item, or take the key out")
    if word == "maxItems":
        most = f"keep {schema['maxItems']} at most"
        return SchemaProblem(path, "out-of-range", f"{len(value)} are too many", most)
    if word == "uniqueItems":
        twice = next((item for index, item in enumerate(value) if item in value[:index]), "")
        return SchemaProblem(path, "repeated-item", f"{show(twice)} is in the list twice", "keep one of the two")
    if word in ("minProperties", "maxProperties"):
        names = ", ".join(schema.get("properties", {}))
        if not names:
            return SchemaProblem(path, "empty-map", "the map is empty", "write at least one key, or take it out")
        found = ", ".join(value) or "nothing"
        return SchemaProblem(
            path, "exactly-one", f"exactly one of {names} is wanted; found {found}", "write exactly one of them"
        )
    return SchemaProblem(
        path, "bad-value", f"{show(value)} does not fit", schema.get("description", "see `recon schema`")
    )


def _takes(schema: Mapping[str, Any], name: str) -> bool:
    kinds = schema.get("type", ())
    return name == kinds or name in kinds or "enum" in schema


def _null(path: tuple[str | int, ...]) -> SchemaProblem:
    return SchemaProblem(
        path, "null-not-allowed", "null is not allowed here: AWS has no default for this field",
        "take the key out, or name it under `unmanaged:` to drop what defaults or a class supply",
    )  # fmt: skip


def _not_allowed(path: tuple[str | int, ...], rule: Any, value: Any) -> SchemaProblem:
    """A value that is none of the few that are allowed."""
    allowed = suggestible(str(value), [show(item).strip('"') for item in rule if item is not None])
    near = suggestion(str(value).upper(), allowed) if isinstance(value, str) else ""
    listed = ", ".join(allowed[:12]) + (", ..." if len(allowed) > 12 else "")
    hint = f"allowed: {listed}" if listed else "SES has no region in this partition of AWS"
    if near.startswith("did you mean"):
        hint = f"{near} Allowed: {listed}"
    if value is None:
        return _null(path)
    if isinstance(value, bool):
        return _no_word(path, value, allowed, hint)
    return SchemaProblem(path, "not-allowed-value", f"{show(value)} is not an allowed value", hint)


_AS_BOOL: Final = {False: ("no", "off", "false"), True: ("yes", "on", "true")}
"""What YAML 1.1 reads as false and as true without quotes, in any case."""


def _no_word(path: tuple[str | int, ...], value: bool, allowed: Sequence[str], hint: str) -> SchemaProblem:
    """A word that YAML has read as true or false, where one of a few words belongs."""
    words = _AS_BOOL[value]
    message = f"{show(value)} is not an allowed value: without quotes YAML reads {', '.join(words)} as {show(value)}"
    meant = next((word for word in allowed if word.lower() in words), "")
    if meant:
        hint = f'put it in quotes: "{meant}"'
    elif not value and (none := next((word for word in allowed if word.lower() == "none"), "")):
        hint = f"did you mean {none}? {hint[:1].upper()}{hint[1:]}"
    return SchemaProblem(path, "not-allowed-value", message, hint)


def _wrong_type(path: tuple[str | int, ...], rule: Any, value: Any) -> SchemaProblem:
    kinds = [rule] if isinstance(rule, str) else list(rule)
    if value is None:
        return _null(path)
    wanted = " or ".join(_TYPE_WORDS[kind] for kind in kinds if kind != "null")
    if "string" in kinds and isinstance(value, bool | int | float):
        what = "true or false" if isinstance(value, bool) else "a number"
        return SchemaProblem(
            path, "needs-quotes", f"a text is wanted; without quotes YAML reads {show(value)} as {what}",
            "put it in quotes",
        )  # fmt: skip
    hint = f"write {wanted}"
    if isinstance(value, str) and value and ("integer" in kinds or "boolean" in kinds):
        hint = f"write {wanted}, without quotes" if re.fullmatch(r"[0-9]+|true|false", value) else hint
    if kinds == ["array"] and not isinstance(value, dict):
        hint = f"write a list: [{value}]" if isinstance(value, str) and len(value) < 60 else hint
    return SchemaProblem(path, "wrong-type", f"{wanted} is wanted; found {show(value)}", hint)


_TYPE_WORDS: Final = {
    "string": "a text", "boolean": "true or false", "integer": "a whole number", "number": "a number",
    "object": "a map", "array": "a list", "null": "null",
}  # fmt: skip


def _pattern_hint(rule: str, schema: Mapping[str, Any]) -> str:
    if rule == "^arn:":
        return "write an ARN: it begins with arn:"
    return str(schema.get("description", "see `recon schema`"))


def _best_branch(error: Any, lenient: bool) -> Iterator[SchemaProblem]:
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
    if isinstance(value, AmbiguousScalar):
        yield _simple(path, "type", kinds, value, {"type": kinds})
    else:
        yield _wrong_type(path, list(dict.fromkeys(kinds)), value)
