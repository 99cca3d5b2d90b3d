"""What AWS answered, held against its own model: of the types that the model says, or an error that names what is odd.

A member that nobody knows is dropped, one that is null is absent, and one that is missing where it is needed raises an
AwsError and no KeyError: whoever reads then says that this part could not be read. Whether a required member is there
is not asked beforehand: services and their twins leave some out that nobody needs.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

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
_DECODED = "policyDocumentType"
"""Policies of IAM, which botocore itself turns from text into documents."""


class Answer(dict[str, Any]):
    """A structure of an answer. Asking for a member that is not there raises AwsError; ``get`` does not."""

    __slots__ = ("call",)

    def __init__(self, members: dict[str, Any], call: tuple[str, str, str]) -> None:
        super().__init__(members)
        self.call = call

    def __missing__(self, key: str) -> Any:
        raise odd(self.call, f"it lacks {key}")

    def __reduce__(self) -> Any:
        return Answer, (dict(self), self.call)


def odd(call: tuple[str, str, str], what: str) -> AwsError:
    """The error for an answer that cannot be understood. ``call`` is (service, operation, region)."""
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


def understood(answer: Any, shape: Any, call: tuple[str, str, str]) -> dict[str, Any]:
    """``answer`` as ``shape`` (botocore's output shape, None for an empty one) has it. Raises AwsError."""
    if shape is None:
        return Answer({}, call)
    found: dict[str, Any] = _fitted(answer, shape, call, "")
    return found


def _fitted(value: Any, shape: Any, call: tuple[str, str, str], path: str) -> Any:
    kind: str = shape.type_name
    wanted: Any = _TYPES.get(kind)
    if wanted is None or getattr(shape, "is_document_type", False):
        return value
    if not isinstance(value, wanted) or (kind in {"integer", "long"} and isinstance(value, bool)):
        if kind == "string" and shape.name == _DECODED and isinstance(value, dict):
            return value
        if kind == "blob" and hasattr(value, "read"):
            return value
        raise odd(call, f"{path or 'it'} is no {kind}")
    if kind == "structure":
        members = shape.members
        return Answer(
            {
                name: _fitted(item, members[name], call, f"{path}.{name}" if path else name)
                for name, item in value.items()
                if item is not None and name in members
            },
            call,
        )
    if kind == "list":
        return [_fitted(item, shape.member, call, f"{path}[{n}]") for n, item in enumerate(value)]
    if kind == "map":
        if not all(isinstance(key, str) for key in value):
            raise odd(call, f"{path} has a key that is no text")
        return {key: _fitted(item, shape.value, call, f"{path}.{key}") for key, item in value.items()}
    return value
