"""What AWS answered, held against its own model: of the types that the model says, or an error that names what is odd.

A member that nobody knows is dropped, one that is null is absent, and one that is missing where it is needed raises an
AwsError and no KeyError: whoever reads then says that this part could not be read. Whether a required member is there
is not asked beforehand: services and their twins leave some out that nobody needs.
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
"""Policies of IAM, which botocore itself turns from text into documents."""


Call = tuple[str, str, str]
"""(service, operation, region) of what answered."""


class Answer(dict[str, Any]):
    """A structure of an answer. Asking for a member that is not there raises AwsError; ``get`` does not."""

    __slots__ = ("call",)
    call: Call

    def __missing__(self, key: str) -> Any:
        raise odd(self.call, f"it lacks {key}")

    def __reduce__(self) -> Any:
        return _answer, (self.call, dict(self))


def _answer(call: Call, members: Mapping[str, Any]) -> Answer:
    made = Answer(members)
    made.call = call
    return made


def odd(call: Call, what: str) -> AwsError:
    """The error for an answer that cannot be understood."""
    service, operation, region = call
    return AwsError(
        f"{service} {operation} in {region}: the answer is not as AWS's model has it: {what}",
        service=service,
        operation=operation,
        region=region,
        aws_code="OddAnswer",
        status=200,
        hint="does something stand between recon and AWS (AWS_ENDPOINT_URL, a proxy)?",
    )


def understood(answer: Any, shape: Any, call: Call) -> dict[str, Any]:
    """``answer`` as ``shape`` (botocore's output shape, None for an empty one) has it. Raises AwsError."""
    if shape is None:
        return _answer(call, {})
    try:
        found: dict[str, Any] = _fitter(shape)(answer, call)
    except _Odd as problem:
        path = "".join(reversed(problem.path)).removeprefix(".")
        raise odd(call, f"{path or 'it'} {problem.what}") from None
    return found


class _Odd(Exception):
    """What does not fit; ``path`` grows from the inside out, on the way up."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
        self.path: list[str] = []


_Fitter = Callable[[Any, Call], Any]
_MADE: WeakKeyDictionary[Any, _Fitter] = WeakKeyDictionary()


def _fitter(shape: Any) -> _Fitter:
    """What holds values against ``shape``, made once for each: ten thousand identities are a million values."""
    made = _MADE.get(shape)
    if made is None:
        makers = {"structure": _structure, "list": _list, "map": _map}
        plain = getattr(shape, "is_document_type", False) or shape.type_name not in _TYPES
        made = _MADE[shape] = _unchecked if plain else makers.get(shape.type_name, _scalar)(shape)
    return made


def _unchecked(value: Any, call: Call) -> Any:
    return value


def _scalar(shape: Any) -> _Fitter:
    kind: str = shape.type_name
    wanted = _TYPES[kind]
    decoded = kind == "string" and shape.name == _DECODED

    def fit(value: Any, call: Call) -> Any:
        if isinstance(value, wanted) and not (kind in {"integer", "long"} and isinstance(value, bool)):
            return value
        if (decoded and isinstance(value, dict)) or (kind == "blob" and hasattr(value, "read")):
            return value
        raise _Odd(f"is no {kind}")

    return fit


def _structure(shape: Any) -> _Fitter:
    members: Mapping[str, Any] = shape.members
    exact = {name: _TYPES[m.type_name][0] for name, m in members.items() if m.type_name in _PLAIN}
    """The type of most values by far, so that they need no call each."""
    fitters: dict[str, _Fitter] = {}

    def fit(value: Any, call: Call) -> Any:
        if not isinstance(value, dict):
            raise _Odd("is no structure")
        found = Answer(value)
        found.call = call
        for name, item in value.items():
            if type(item) is exact.get(name, _NEVER):
                continue
            if item is None or name not in members:
                del found[name]
                continue
            fitter = fitters.get(name)
            if fitter is None:  # Made when first met: a shape may hold itself.
                fitter = fitters[name] = _fitter(members[name])
            try:
                found[name] = fitter(item, call)
            except _Odd as problem:
                problem.path.append(f".{name}")
                raise
        return found

    return fit


def _list(shape: Any) -> _Fitter:
    member = _fitter(shape.member)

    def fit(value: Any, call: Call) -> Any:
        if not isinstance(value, list):
            raise _Odd("is no list")
        found = []
        for number, item in enumerate(value):
            try:
                found.append(member(item, call))
            except _Odd as problem:
                problem.path.append(f"[{number}]")
                raise
        return found

    return fit


def _map(shape: Any) -> _Fitter:
    member = _fitter(shape.value)

    def fit(value: Any, call: Call) -> Any:
        if not isinstance(value, dict):
            raise _Odd("is no map")
        found = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise _Odd("has a key that is no text")
            try:
                found[key] = member(item, call)
            except _Odd as problem:
                problem.path.append(f".{key}")
                raise
        return found

    return fit
