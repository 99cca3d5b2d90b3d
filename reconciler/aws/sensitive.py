"""What AWS's service models and the credentials of a session say is secret, for ``masking``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from reconciler.masking import remember

SECRET_SERVICES: Final = frozenset({"iam", "sts", "secretsmanager", "ssm"})
"""Services whose sensitive response members are secrets. Elsewhere they are addresses, which messages may name."""

_VARIABLES: Final = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN")
_ATTRIBUTES: Final = ("secret_key", "token", "_secret_key", "_token")
"""Where botocore's classes of credentials keep them; reading one without underscore could fetch new credentials."""
_SHORTEST: Final = 16
"""Characters of a credential: AWS's secret keys have 40, and those of emulators are words such as ``test``."""

_HAS_SECRETS: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def remember_in(shape: Any, value: Any) -> None:
    """Remember every value that the model calls sensitive (Smithy specification, "sensitive trait": must not be
    exposed in exception messages or log output). ``shape`` is botocore's, None where there is none."""
    if shape is None or value is None or not _has_secrets(shape, frozenset()):
        return
    if shape.metadata.get("sensitive"):
        remember(value if isinstance(value, str | bytes | bytearray) else str(value))
    elif shape.type_name == "structure" and isinstance(value, Mapping):
        for name, member in shape.members.items():
            remember_in(member, value.get(name))
    elif shape.type_name == "list" and isinstance(value, list | tuple):
        for item in value:
            remember_in(shape.member, item)
    elif shape.type_name == "map" and isinstance(value, Mapping):
        for item in value.values():
            remember_in(shape.value, item)


def _has_secrets(shape: Any, above: frozenset[str]) -> bool:
    """Whether anything in a shape is sensitive, looked up once: most calls of a run have nothing that is."""
    found = _HAS_SECRETS.get(shape)
    if found is None:
        inner = above | {shape.name}
        members = {
            "structure": lambda: list(shape.members.values()),
            "list": lambda: [shape.member],
            "map": lambda: [shape.value],
        }.get(shape.type_name, list)()
        found = bool(shape.metadata.get("sensitive")) or any(
            _has_secrets(member, inner) for member in members if member.name not in inner
        )
        if not above:  # below, a shape that contains itself was looked at in part
            _HAS_SECRETS[shape] = found
    return found


def remember_credentials(session: Any) -> None:
    """Remember the credentials of a boto3 session and of the environment, without fetching any."""
    found = session._session._credentials
    known = getattr(getattr(found, "_credentials", found), "__dict__", {})  # inside OneAccount
    for value in (*map(os.environ.get, _VARIABLES), *map(known.get, _ATTRIBUTES)):
        if isinstance(value, str) and len(value) >= _SHORTEST:
            remember(value)
