"""AWS's responses, validated against AWS's own service model: values of the modelled types, or an AwsError.

An unknown member is dropped, a null member is absent, and reading a missing member raises AwsError instead of KeyError,
so that the reader can report that this part could not be read. Required members are not checked in advance: services
and their emulators omit some that nobody reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

from reconciler.errors import AwsError

_TYPES: dict[str, tuple[type[Any], ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (float, int),
    "double": (float, int),
    "boolean": (bool,),
    "timestamp": (datetime,),
    "blob": (bytes, bytearray),
    "structure": (dict,),
    "list": (list,),
    "map": (dict,),
}
_PLAIN = {"string", "integer", "long", "boolean", "timestamp"}
_NEVER = type("_NEVER", (), {})
_DECODED = "policyDocumentType"
"""IAM policies, which botocore itself decodes from text into documents."""


CallId = tuple[str, str, str]
"""(service, operation, region) of a response."""


class AwsResponse(dict[str, Any]):
    """A structure of a response. Subscribing a missing member raises AwsError; ``get`` returns None."""

    __slots__ = ("call",)
    call: CallId

    def __missing__(self, key: str) -> Any:
        raise malformed(self.call, f"{key} is missing")

    def __reduce__(self) -> Any:
        return _response, (self.call, dict(self))


def _response(call: CallId, members: Mapping[str, Any]) -> AwsResponse:
    response = AwsResponse(members)
    response.call = call
    return response


def malformed(call: CallId, problem: str) -> AwsError:
    """The error for a response that does not match the service model."""
    service, operation, region = call
    return AwsError(
        f"{service} {operation} in {region}: the response does not match AWS's service model: {problem}",
        service=service,
        operation=operation,
        region=region,
        aws_code="OddAnswer",
        status=200,
        hint="is there a proxy between recon and AWS, or is AWS_ENDPOINT_URL wrong?",
    )


def validated(response: Any, shape: Any, call: CallId) -> dict[str, Any]:
    """``response``, validated against ``shape`` (botocore's output shape, None for an empty one). Raises AwsError."""
    if shape is None:
        return _response(call, {})
    try:
        members: dict[str, Any] = _validator(shape)(response, call)
    except _Mismatch as mismatch:
        path = "".join(reversed(mismatch.path)).removeprefix(".")
        raise malformed(call, f"{path or 'it'} {mismatch.problem}") from None
    return members


class _Mismatch(Exception):
    """A value that does not match its shape; ``path`` is collected from the inside out."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path: list[str] = []


_Validator = Callable[[Any, CallId], Any]
_VALIDATORS: WeakKeyDictionary[Any, _Validator] = WeakKeyDictionary()


def _validator(shape: Any) -> _Validator:
    """The validator of a shape, built once: ten thousand identities have a million values."""
    validator = _VALIDATORS.get(shape)
    if validator is None:
        factories = {"structure": _structure, "list": _list, "map": _map}
        unchecked = getattr(shape, "is_document_type", False) or shape.type_name not in _TYPES
        validator = _unchecked if unchecked else factories.get(shape.type_name, _scalar)(shape)
        _VALIDATORS[shape] = validator
    return validator


def _unchecked(value: Any, call: CallId) -> Any:
    return value


def _scalar(shape: Any) -> _Validator:
    kind: str = shape.type_name
    types = _TYPES[kind]
    decoded = kind == "string" and shape.name == _DECODED

    def validate(value: Any, call: CallId) -> Any:
        if isinstance(value, types) and not (kind in {"integer", "long"} and isinstance(value, bool)):
            return value
        if (decoded and isinstance(value, dict)) or (kind == "blob" and hasattr(value, "read")):
            return value
        raise _Mismatch(f"is not of type {kind}")

    return validate


def _structure(shape: Any) -> _Validator:
    members: Mapping[str, Any] = shape.members
    exact = {name: _TYPES[m.type_name][0] for name, m in members.items() if m.type_name in _PLAIN}
    """The types of nearly all values, which are checked without a call."""
    usual: dict[tuple[str, ...], tuple[list[type[Any]], tuple[str, ...]]] = {}
    """By the names of the members that a structure has: their types, and which of them hold others. Nearly all
    structures of a shape look alike, and are checked at once."""
    validators: dict[str, _Validator] = {}

    def looks(names: tuple[str, ...]) -> tuple[list[type[Any]], tuple[str, ...]]:
        types = [_TYPES.get(members[name].type_name, (_NEVER,))[0] if name in members else _NEVER for name in names]
        return types, tuple(name for name in names if name not in exact)

    def validate(value: Any, call: CallId) -> Any:
        if not isinstance(value, dict):
            raise _Mismatch("is not of type structure")
        response = AwsResponse(value)
        response.call = call
        names = tuple(value)
        types, nested = usual.get(names) or usual.setdefault(names, looks(names))
        for name in nested if [*map(type, value.values())] == types else names:
            item = value[name]
            if type(item) is exact.get(name, _NEVER):
                continue
            if item is None or name not in members:
                del response[name]
                continue
            validator = validators.get(name)
            if validator is None:  # Built on first use: a shape may contain itself.
                validator = validators[name] = _validator(members[name])
            try:
                response[name] = validator(item, call)
            except _Mismatch as mismatch:
                mismatch.path.append(f".{name}")
                raise
        return response

    return validate


def _list(shape: Any) -> _Validator:
    member = _validator(shape.member)
    exact = _exact(shape.member)

    def validate(value: Any, call: CallId) -> Any:
        if not isinstance(value, list):
            raise _Mismatch("is not of type list")
        if {*map(type, value)} <= exact:
            return value
        found: list[Any] = []
        try:
            for item in value:
                found.append(member(item, call))
        except _Mismatch as mismatch:
            mismatch.path.append(f"[{len(found)}]")
            raise
        return found

    return validate


def _map(shape: Any) -> _Validator:
    member = _validator(shape.value)
    exact = _exact(shape.value)

    def validate(value: Any, call: CallId) -> Any:
        if not isinstance(value, dict):
            raise _Mismatch("is not of type map")
        if not {*map(type, value)} <= {str}:
            raise _Mismatch("has a key that is not a string")
        if {*map(type, value.values())} <= exact:
            return value
        found: dict[str, Any] = {}
        key = ""
        try:
            for key, item in value.items():
                found[key] = member(item, call)
        except _Mismatch as mismatch:
            mismatch.path.append(f".{key}")
            raise
        return found

    return validate


def _exact(shape: Any) -> set[type[Any]]:
    """The types of nearly all values of a scalar, which are checked without a call for each; else none."""
    return {_TYPES[shape.type_name][0]} if shape.type_name in _PLAIN else set()
