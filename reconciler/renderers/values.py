"""The values of a change as text for people: scalars, sets, nested documents, placeholders for secrets.

All returned text is one line and already ``safe``.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from reconciler.renderers.escape import quoted, safe

_SECRET_KEYS: Final = frozenset({
    "domain_signing_private_key", "private_key", "secret_access_key", "secret_string", "password", "smtp_password",
    "session_token",
})  # fmt: skip
_STORES: Final = frozenset({"secretsmanager", "ssm", "env", "file"})
# What could be mistaken for one of recon's own marks, or would be invisible.
_AMBIGUOUS = re.compile(r"^(|[(\[{\"].*|.*\s|\s.*)$", re.DOTALL)
_FINGERPRINT = re.compile(r"^sha256:[0-9a-f]{64}$")
_MAX_NESTED_LINES: Final = 400


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Text in place of a value: ``(known after apply)``, ``(sensitive)``."""

    text: str


UNKNOWN: Final = Placeholder("(known after apply)")
SENSITIVE: Final = Placeholder("(sensitive)")
NOT_SET: Final = "(not set)"


def unread_parts(unread: Iterable[str]) -> list[str]:
    """What a run did not read, in words, each once."""
    words = {"sweep": "what is tagged as this stack's and no longer declared"}
    return list(dict.fromkeys(words.get(part, part) for part in unread))


def hidden(value: Any, key: str = "") -> Any:
    """``value`` with secrets and references to secrets replaced by placeholders, at any depth."""
    if isinstance(value, Placeholder) or value is None:
        return value
    if key in _SECRET_KEYS:
        if isinstance(value, Mapping) and len(value) == 1:
            store, name = next(iter(value.items()))
            if store in _STORES:
                if isinstance(name, Mapping):
                    name = name.get("name", "")
                return Placeholder(f"(from {store}: {name})" if isinstance(name, str) else f"(from {store})")
        if isinstance(value, str) and _FINGERPRINT.match(value):  # of the public half: distinguishes two keys
            return Placeholder(f"(key {value[:19]})")
        return SENSITIVE
    if isinstance(value, str):
        return SENSITIVE if "PRIVATE KEY-----" in value else value
    if isinstance(value, Mapping):
        return {str(name): hidden(item, str(name)) for name, item in value.items()}
    if isinstance(value, Sequence):
        return [hidden(item) for item in value]
    return value


def with_unknown(value: Any, path: str, unknown: Sequence[str]) -> Any:
    """``value`` (at ``path``) with a placeholder at each unknown path at or below it; other paths are ignored."""
    for one in unknown:
        if one == path or (path and path.startswith(one + ".")):
            return UNKNOWN
        if not path or one.startswith(path + "."):
            value = _with_unknown_at(value, one[len(path) + 1 :] if path else one)
    return value


def _with_unknown_at(value: Any, path: str) -> Any:
    if isinstance(value, Mapping):
        # keys may contain dots: the longest that matches wins
        for key in sorted(map(str, value), key=len, reverse=True):
            if path == key:
                return {**value, key: UNKNOWN}
            if path.startswith(key + "."):
                return {**value, key: _with_unknown_at(value[key], path[len(key) + 1 :])}
        return value
    if isinstance(value, Sequence) and not isinstance(value, str):
        head, _, rest = path.partition(".")
        if head.isascii() and head.isdigit() and len(head) < 6 and int(head) < len(value):
            index = int(head)
            return [*value[:index], _with_unknown_at(value[index], rest) if rest else UNKNOWN, *value[index + 1 :]]
    return value


def is_flat(value: Any) -> bool:
    """Whether ``value`` is readable on one line: a scalar, or a list of scalars."""
    if isinstance(value, Mapping):
        return not value
    if isinstance(value, Sequence) and not isinstance(value, str):
        return all(not isinstance(item, Mapping) and not _is_list(item) for item in value)
    return not (isinstance(value, str) and (_parsed(value) is not None or _text_lines(value)))


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _parsed(text: str) -> Any:
    """The document of a JSON string (a policy, as SES and IAM return it), else None."""
    if not (text.startswith("{") and text.endswith("}") and 2 < len(text) < 100_000):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _text_lines(text: str, *, ascii_only: bool = False) -> list[str]:
    """A text of several lines (a template), each after a bar that no text can imitate; [] for any other text."""
    if text.count("\n") < 2:
        return []
    lines = [f"| {safe(line, ascii_only=ascii_only)}".rstrip() for line in text.removesuffix("\n").split("\n")]
    return lines if text.endswith("\n") else [*lines, "(no line break at its end)"]


def one_line(value: Any, *, ascii_only: bool = False, inside: bool = False) -> str:
    """A scalar or list as one line. Strings are quoted only if they could be mistaken for recon's own text."""
    if isinstance(value, Placeholder):
        return safe(value.text, ascii_only=ascii_only)
    if value is None:
        return NOT_SET
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        shown = safe(value, ascii_only=ascii_only)
        if shown != value or _AMBIGUOUS.match(value) or (inside and ", " in value):
            return quoted(value, ascii_only=ascii_only)
        return shown
    if _is_list(value) and is_flat(value):
        return ", ".join(one_line(item, ascii_only=ascii_only, inside=True) for item in value) if value else "[]"
    if isinstance(value, (int, float)):
        return str(value)
    return _as_json(value, ascii_only)


def pair(before: Any, after: Any, *, ascii_only: bool = False) -> tuple[str, str]:
    """Both sides of a change as one line each, as JSON if they would look the same."""
    old, new = one_line(before, ascii_only=ascii_only), one_line(after, ascii_only=ascii_only)
    if old == new and before is not None and not isinstance(before, Placeholder):
        return _as_json(before, ascii_only), _as_json(after, ascii_only)
    return old, new


def _as_json(value: Any, ascii_only: bool) -> str:
    text = json.dumps(
        value, ensure_ascii=False, default=lambda one: one.text if isinstance(one, Placeholder) else dict(one)
    )
    return safe(text, ascii_only=ascii_only)


def nested(value: Any, *, ascii_only: bool = False) -> list[str]:
    """A document as indented lines in the style of YAML: one key or item per line."""
    lines = list(islice(_all_lines(value, ascii_only), _MAX_NESTED_LINES + 1))
    return lines if len(lines) <= _MAX_NESTED_LINES else [*lines[:-1], "..."]


def _all_lines(value: Any, ascii_only: bool) -> Iterator[str]:
    if isinstance(value, str):
        value = _parsed(value) or value
    lines = _text_lines(value, ascii_only=ascii_only) if isinstance(value, str) else []
    return iter(lines) if lines else _nested(value, "", ascii_only)


def _nested(value: Any, indent: str, ascii_only: bool) -> Iterator[str]:
    if isinstance(value, Mapping) and value and len(indent) < 40:
        for key, item in value.items():
            shown = safe(str(key), ascii_only=ascii_only)
            if is_flat(item) or isinstance(item, Placeholder):
                yield f"{indent}{shown}: {one_line(item, ascii_only=ascii_only)}"
            else:
                yield f"{indent}{shown}:"
                yield from _nested(item, indent + "  ", ascii_only)
    elif _is_list(value) and value and len(indent) < 40:
        for item in value:
            if is_flat(item) or isinstance(item, Placeholder):
                yield f"{indent}- {one_line(item, ascii_only=ascii_only)}"
            else:
                below = list(_nested(item, "", ascii_only))
                yield f"{indent}- {below[0]}"
                yield from (f"{indent}  {line}" for line in below[1:])
    else:
        yield indent + one_line(value, ascii_only=ascii_only)


def set_diff(before: Any, after: Any) -> tuple[list[Any], list[Any], int] | None:
    """``(added, removed, kept)`` of two flat lists compared as sets; None if they are equal, or not flat lists."""
    if not (_is_list(before) and _is_list(after) and is_flat(before) and is_flat(after)):
        return None
    old, new = Counter(map(one_line, before)), Counter(map(one_line, after))
    if old == new:
        return None
    removed, added = _items_of(before, old - new), _items_of(after, new - old)
    return added, removed, len(before) - len(removed)


def _items_of(items: Sequence[Any], counts: Counter[str]) -> list[Any]:
    """The items, in their order, whose text is in ``counts``, each as often as counted."""
    chosen = []
    for item in items:
        if counts[one_line(item)] > 0:
            counts[one_line(item)] -= 1
            chosen.append(item)
    return chosen


def nested_diff(before: Any, after: Any, *, ascii_only: bool = False, context: int = 2) -> list[tuple[str, str]]:
    """Two documents line by line: ``("-" | "+" | " " | "…", line)`` with ``context`` equal lines around a change."""
    if isinstance(before, str):
        before = _parsed(before) or before
    if isinstance(after, str):
        after = _parsed(after) or after
    # A text is compared whole, a document as far as it is shown.
    lines = _all_lines if isinstance(before, str) and isinstance(after, str) else _shown_lines
    old = [] if before is None else list(lines(_ordered_like(before, after), ascii_only))
    new = [] if after is None else list(lines(after, ascii_only))
    if old == new:
        return []
    found: list[tuple[str, str]] = []
    # Long texts repeat lines (blank ones, closing tags): difflib leaves those out of its search.
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=len(old) + len(new) > 2000)
    for number, group in enumerate(matcher.get_grouped_opcodes(context)):
        if number or group[0][1] > 0:
            found.append(("…", ""))
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                found.extend((" ", line) for line in old[i1:i2])
            else:
                found.extend(("-", line) for line in old[i1:i2])
                found.extend(("+", line) for line in new[j1:j2])
    return found


def _shown_lines(value: Any, ascii_only: bool) -> Iterator[str]:
    return iter(nested(value, ascii_only=ascii_only))


def _ordered_like(value: Any, model: Any) -> Any:
    """``value`` with its keys in the order of ``model``, so that order alone is never shown as a difference."""
    if isinstance(value, Mapping) and isinstance(model, Mapping):
        keys = [key for key in model if key in value] + [key for key in value if key not in model]
        return {key: _ordered_like(value[key], model.get(key)) for key in keys}
    if _is_list(value) and _is_list(model):
        return [_ordered_like(item, model[index] if index < len(model) else None) for index, item in enumerate(value)]
    return value


def leaves(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each leaf of a document with its dotted path. IAM policies and lists of mappings count as leaves."""
    for key, value in document.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and "Statement" not in value and prefix.count(".") < 12:
            yield from leaves(value, path + ".")
        elif not (isinstance(value, Mapping) and not value):
            yield path, value
