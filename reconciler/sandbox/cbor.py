"""Smithy's RPC v2 in CBOR, which SDKs speak to CloudWatch, with the reader and the writer that botocore ships for it.

botocore writes requests and reads answers. Both work by the shapes of the model, so that here they write answers and
read requests. Source: Smithy specification, "Smithy RPC v2 CBOR protocol"; RFC 8949.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any, Final

PROTOCOL: Final = "smithy-rpc-v2-cbor"
HEADER: Final = ("smithy-protocol", "rpc-v2-cbor")
"""Marks requests and answers."""

_TEXT = SimpleNamespace(type_name="string", serialization={})


@cache
def _tools() -> tuple[Any, Any]:
    """Parser and serializer."""
    from botocore.parsers import RpcV2CBORParser
    from botocore.serialize import RpcV2CBORSerializer

    return RpcV2CBORParser(), RpcV2CBORSerializer()


def read(body: bytes) -> Any:
    """The document of a body; times are ``datetime``, blobs ``bytes``. Raises: ValueError."""
    from botocore.parsers import ResponseParserError

    try:
        return _tools()[0]._initial_body_parse(body) if body else {}
    except (ResponseParserError, IndexError) as error:
        raise ValueError(str(error)) from error


def write(shape: Any, value: Mapping[str, Any]) -> bytes:
    """A structure of the model; members that are None are left out."""
    body = bytearray()
    _tools()[1]._serialize_data_item(body, value, shape)
    return bytes(body)


def write_error(shape: Any, name: str, message: str, members: Mapping[str, Any]) -> bytes:
    """An error: its name, its message and the further ``members`` of its shape, None where the model has none."""
    known = shape.members if shape is not None else {}
    whole = SimpleNamespace(type_name="structure", members={**known, "__type": _TEXT, "message": _TEXT})
    return write(whole, {"__type": name, "message": message, **members})
