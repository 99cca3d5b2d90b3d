"""The plan as JSON, in both directions, and the saved plan with its digest.

``plan_from_json(plan_to_json(plan)) == plan`` for every plan whose documents are JSON values, so that apply needs
nothing that a reviewer has not seen. A saved plan is untrusted input: it may be truncated, edited or malicious.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from reconciler.errors import ReconError, Stale
from reconciler.masking import looks_secret, mask_shapes
from reconciler.model import (
    ACTIONS,
    OUTCOMES,
    ActionName,
    Change,
    Diagnostic,
    FieldDiff,
    Note,
    Plan,
    Refusal,
    Result,
    Severity,
    Source,
    canonical_json,
    digest_of,
)

FORMAT_VERSION: Final = 2
"""2: a change has nothing that is not shown; what carrying it out needs is planned again (``reconciler/saved.py``)."""

MAX_SAVED_CHARACTERS: Final = 256 * 1024 * 1024
"""Larger files are not read: this is enough for some hundred thousand changes."""

MAX_DEPTH: Final = 100
"""Nesting of a saved plan; an IAM policy, the deepest known document, has about ten levels."""

_COMPACT_FROM: Final = 1_000
"""With more changes than this, each change is one line."""

_NO_CHANGES: Final = '\n  "changes": []'
_CHANGES: Final = '\n  "changes": [\n'

_NEW_PLAN: Final = "make a new one with `recon plan --out FILE`"

_SEVERITIES: Final = ("error", "warning", "note")
# Characters that a terminal or an editor would interpret; JSON allows them unescaped, recon does not.
_ACTIVE = re.compile(
    "[\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
    r"|#(?=#\[)"  # a GitHub runner treats ``##[error]`` as a command anywhere in a line
)


# --- out -----------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """``value`` as JSON types: dicts with string keys, lists, finite numbers, text that UTF-8 can encode.

    An infinite or NaN float and a lone surrogate become readable text; neither can come from validated YAML.
    """
    kind = type(value)
    if kind is dict:  # nearly everything is one of these: the exact types first
        return {(key if type(key) is str and key.isascii() else plain(str(key))): plain(i) for key, i in value.items()}
    if (kind is str and value.isascii()) or kind is int or kind is bool or value is None:
        return value
    if kind is list:
        return [plain(item) for item in value]
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode(errors="backslashreplace").decode()
        return str(value)
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    return str(value)


def json_text(value: Any) -> str:
    """``value`` as JSON in UTF-8, indented, or with one line per change if there are more than a thousand changes.

    Bidirectional and control characters are written as ``\\uXXXX``; what is shaped like a secret is masked.
    """
    document = plain(value)
    text = _text(document)
    return _text(_masked(document)) if looks_secret(text) else text


def without_secrets(text: str) -> str:
    """The JSON ``text`` without what is shaped like a secret; a plan that had one cannot be applied from it."""
    return json_text(json.loads(text)) if looks_secret(text) else text


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {mask_shapes(key): _masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return mask_shapes(value) if isinstance(value, str) else value


def _escaped(match: re.Match[str]) -> str:
    return r"\u0023" if match[0] == "#" else json.dumps(match[0])[1:-1]


def _text(document: Any) -> str:
    changes = document.get("changes", ()) if isinstance(document, dict) else ()
    if len(changes) > _COMPACT_FROM:
        return "".join(_compact(document, changes))
    return _ACTIVE.sub(_escaped, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)) + "\n"


def _compact(document: Mapping[str, Any], changes: Iterable[Any]) -> Iterator[str]:
    """``document`` with ``changes``, one a line: the indenting encoder is many times slower, and this is readable. In
    pieces, so that the text of a large plan is never held whole."""
    others = json.dumps({**document, "changes": []}, indent=2, ensure_ascii=False, allow_nan=False)
    # This text is unique: strings have no raw line breaks, and only the document's own keys are indented by two.
    before, _, after = others.partition(_NO_CHANGES)
    yield _ACTIVE.sub(_escaped, before) + _CHANGES
    for number, change in enumerate(changes):
        line = json.dumps(change, ensure_ascii=False, allow_nan=False)
        yield ("    " if not number else ",\n    ") + _ACTIVE.sub(_escaped, line)
    yield "\n  ]" + _ACTIVE.sub(_escaped, after) + "\n"


def _source_to_json(source: Source | None) -> dict[str, Any] | None:
    if source is None:
        return None
    return {"file": source.file, "line": source.line, "column": source.column, "via": source.via or None}


def _change_to_json(change: Change) -> dict[str, Any]:
    return {
        **change.to_json(),
        "diff": [{**diff.to_json(), "source": _source_to_json(diff.source)} for diff in change.diff],
        "source": _source_to_json(change.source),
    }


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """The plan in the shape of ``schemas/plan.schema.json``, without a digest. Lossless."""
    return cast(dict[str, Any], plain(_document(plan)))


def _document(plan: Plan) -> dict[str, Any]:
    return {**_head(plan), "changes": [_change_to_json(change) for change in plan.changes]}


def _head(plan: Plan) -> dict[str, Any]:
    """The members of a plan's JSON, in their order; of its changes none yet."""
    return {
        "format_version": FORMAT_VERSION,
        "stack": plan.stack,
        "environment": plan.environment,
        "scope": plan.scope,
        "account": plan.account,
        "outcome": plan.outcome,
        "created_at": plan.created_at,
        "recon_version": plan.recon_version,
        "state_digest": plan.state_digest,
        "refresh": plan.refresh,
        "unread": list(plan.unread),
        "scanned": list(plan.scanned),
        "calls": dict(plan.calls),
        "estimate": {"write_calls": plan.write_calls, "seconds": plan.seconds},
        "summary": plan.summary,
        "changes": [],
        "diagnostics": [diagnostic.to_json() for diagnostic in plan.diagnostics],
        "context": plan.context,
        "declared": plan.declared,
    }


def plan_digest(plan: Plan) -> str:
    """``sha256:<hex>`` of the whole plan: the value for ``apply --expect``, and the digest in a saved plan."""
    return plan.digest or _digest(plain(_head(plan)), _changes(plan))


def _changes(plan: Plan) -> Iterator[Any]:
    return (plain(_change_to_json(change)) for change in plan.changes)


def _digest(head: Mapping[str, Any], changes: Iterable[Any]) -> str:
    """``digest_of`` of ``head`` with ``changes``, one change after the other: the whole text would be held twice."""
    found = hashlib.sha256()
    for number, key in enumerate(sorted({*head, "changes"})):
        found.update(f"{',' if number else '{'}{canonical_json(key)}:".encode())
        if key != "changes":
            found.update(canonical_json(head[key]).encode())
            continue
        found.update(b"[")
        for place, change in enumerate(changes):
            found.update(f"{',' if place else ''}{canonical_json(change)}".encode())
        found.update(b"]")
    found.update(b"}")
    return "sha256:" + found.hexdigest()


def saved_plan(plan: Plan) -> str:
    """The text of a saved plan, for ``load_saved``."""
    return "".join(saved_pieces(plan))


def saved_pieces(plan: Plan) -> Iterator[str]:
    """The text of a saved plan in pieces, each small: a plan of ten thousand domains has a hundred megabytes."""
    head = plain(_head(plan))
    document = {**head, "digest": _digest(head, _changes(plan))}
    if len(plan.changes) > _COMPACT_FROM:
        yield from _compact(document, _changes(plan))
    else:
        yield _text({**document, "changes": list(_changes(plan))})


def result_to_json(result: Result) -> dict[str, Any]:
    """The plan's object with the outcome of the apply, ``applied`` and the diagnostics of both.

    It has a ``plan_digest`` and no ``digest``: a report is not a plan that could be applied.
    """
    document = plan_to_json(result.plan)
    document["outcome"] = result.outcome
    document["applied"] = [
        {
            "address": item.address, "action": item.action, "status": item.status,
            "message": item.message or None, "hint": item.hint or None,
        }
        for item in result.applied
    ]  # fmt: skip
    document["diagnostics"] = [d.to_json() for d in _distinct((*result.plan.diagnostics, *result.diagnostics))]
    document["apply"] = {"calls": dict(result.calls), "seconds": result.seconds}
    document["plan_digest"] = plan_digest(result.plan)
    return cast(dict[str, Any], plain(document))


def error_to_json(error: ReconError, plan: Plan | None = None) -> dict[str, Any]:
    """The object of a run that failed or was refused; with the plan's members if there is a plan."""
    if plan is not None:
        document = plan_to_json(plan)
        document["outcome"] = error.outcome
        document["diagnostics"] = [d.to_json() for d in _distinct((*plan.diagnostics, *error.diagnostics))]
        return document
    return cast(
        dict[str, Any],
        plain({
            "format_version": FORMAT_VERSION,
            "outcome": error.outcome,
            "message": error.message,
            "hint": error.hint or None,
            "diagnostics": [diagnostic.to_json() for diagnostic in error.diagnostics],
        }),
    )  # fmt: skip


def _distinct(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    return list(dict.fromkeys(diagnostics))


# --- in ------------------------------------------------------------------------------------------------------------


class _Reader:
    """Typed reading of a JSON object; the error for a wrong type names its path."""

    def __init__(self, value: Any, path: str) -> None:
        self.path = path or "the plan"
        if not isinstance(value, dict):
            raise _malformed(self.path, "an object", value)
        self.value: dict[str, Any] = value

    def _get(self, key: str, kind: type | tuple[type, ...], what: str, default: Any = ...) -> Any:
        value = self.value.get(key, default)
        if value is ...:
            raise _malformed(f"{self.path}.{key}", what, None, missing=True)
        if (isinstance(value, bool) and kind is not bool) or not isinstance(value, kind):
            raise _malformed(f"{self.path}.{key}", what, value)
        return value

    def text(self, key: str) -> str:
        return cast(str, self._get(key, str, "a string"))

    def optional(self, key: str) -> str | None:
        return cast("str | None", self._get(key, (str, type(None)), "a string or null", None))

    def integer(self, key: str) -> int:
        return cast(int, self._get(key, int, "a whole number"))

    def flag(self, key: str) -> bool:
        return cast(bool, self._get(key, bool, "true or false", False))

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        value = self.text(key)
        if value not in choices:
            raise _malformed(f"{self.path}.{key}", f"one of {', '.join(choices)}", value)
        return value

    def mapping(self, key: str) -> dict[str, Any]:
        return cast(dict[str, Any], self._get(key, dict, "an object"))

    def optional_mapping(self, key: str) -> dict[str, Any] | None:
        return cast("dict[str, Any] | None", self._get(key, (dict, type(None)), "an object or null", None))

    def objects(self, key: str) -> list[_Reader]:
        items = cast("list[Any]", self._get(key, list, "a list"))
        return [_Reader(item, f"{self.path}.{key}[{index}]") for index, item in enumerate(items)]

    def texts(self, key: str) -> tuple[str, ...]:
        items = cast("list[Any]", self._get(key, list, "a list"))
        for index, item in enumerate(items):
            if not isinstance(item, str):
                raise _malformed(f"{self.path}.{key}[{index}]", "a string", item)
        return tuple(items)

    def counts(self, key: str) -> dict[str, int]:
        counts = self.mapping(key)
        for name, count in counts.items():
            if isinstance(count, bool) or not isinstance(count, int):
                raise _malformed(f"{self.path}.{key}.{name}", "a whole number", count)
        return counts

    def source(self, key: str) -> Source | None:
        value = self.value.get(key)
        if value is None:
            return None
        reader = _Reader(value, f"{self.path}.{key}")
        column = reader.integer("column") if "column" in reader.value else 1
        return Source(reader.text("file"), reader.integer("line"), column, reader.optional("via") or "")


def _malformed(path: str, expected: str, found: Any, *, missing: bool = False) -> ReconError:
    names = {
        dict: "an object", list: "a list", str: "a string", bool: "true or false", int: "a number", float: "a number",
    }  # fmt: skip
    what = "nothing" if missing else repr(found)[:60] if isinstance(found, str) else names.get(type(found), "null")
    return ReconError(f"not a saved plan: {path} must be {expected}, found {what}", hint=_NEW_PLAN)


def _change_from_json(reader: _Reader) -> Change:
    return Change(
        address=reader.text("address"),
        kind=reader.text("kind"),
        action=cast(ActionName, reader.choice("action", ACTIONS)),
        before=reader.optional_mapping("before"),
        after=reader.optional_mapping("after"),
        diff=tuple(
            FieldDiff(item.text("path"), item.value.get("before"), item.value.get("after"), item.source("source"))
            for item in reader.objects("diff")
        ),
        unknown=reader.texts("unknown"),
        depends_on=reader.texts("depends_on"),
        notes=tuple(
            Note(
                item.text("rule"),
                cast(Severity, item.choice("severity", _SEVERITIES)),
                item.text("message"),
                item.flag("stands"),
            )
            for item in reader.objects("notes")
        ),
        source=reader.source("source"),
        observed_digest=reader.optional("observed_digest"),
        region=reader.optional("region"),
        counts=reader.flag("counts"),
        claims=reader.flag("claims"),
        moved_from=reader.optional("moved_from"),
        refused=_refusal_from_json(reader),
    )


def _refusal_from_json(reader: _Reader) -> Refusal | None:
    if reader.optional_mapping("refused") is None:
        return None
    refusal = _Reader(reader.value["refused"], f"{reader.path}.refused")
    return Refusal(refusal.text("code"), refusal.text("message"), refusal.text("hint"))


def _diagnostic_from_json(reader: _Reader) -> Diagnostic:
    return Diagnostic(
        severity=cast(Severity, reader.choice("severity", _SEVERITIES)),
        code=reader.text("code"),
        message=reader.text("message"),
        hint=reader.optional("hint") or "",
        file=reader.optional("file") or "",
        line=reader.integer("line") if reader.value.get("line") is not None else 0,
        column=reader.integer("column") if reader.value.get("column") is not None else 0,
        address=reader.optional("address") or "",
        stands=reader.flag("stands"),
    )


def plan_from_json(document: Mapping[str, Any], changes: Sequence[Change] = ()) -> Plan:
    """The plan that ``plan_to_json`` wrote; ``changes`` are its first, which are not in ``document``.

    Raises: ReconError naming the member that is missing or of the wrong type, or an unknown format version.
    """
    reader = _Reader(dict(document), "")
    version = reader.value.get("format_version")
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise ReconError(
            f"this plan has format_version {json.dumps(version)[:40]}; this recon reads {FORMAT_VERSION}",
            hint="make the plan and apply it with the same version of recon",
        )
    estimate = _Reader(reader.mapping("estimate"), "estimate")
    plan = Plan(
        stack=reader.text("stack"),
        environment=reader.optional("environment"),
        account=reader.text("account"),
        outcome=reader.choice("outcome", OUTCOMES),
        created_at=reader.text("created_at"),
        state_digest=reader.text("state_digest"),
        changes=(*changes, *(_change_from_json(item) for item in reader.objects("changes"))),
        diagnostics=tuple(_diagnostic_from_json(item) for item in reader.objects("diagnostics")),
        refresh=reader.text("refresh"),
        unread=reader.texts("unread"),
        scanned=reader.texts("scanned"),
        calls=reader.counts("calls"),
        write_calls=estimate.integer("write_calls"),
        seconds=estimate.integer("seconds"),
        recon_version=reader.text("recon_version"),
        scope=reader.text("scope"),
        context=reader.mapping("context"),
        declared=reader.optional_mapping("declared"),
    )
    if reader.counts("summary") != plan.summary:
        raise _malformed("summary", "the counts of its changes", reader.value["summary"])
    return plan


_SHORT = 64


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            # two parsers of such a file could see two different plans
            raise ValueError(f"the key {key[:60]!r} appears twice")
        # Of ten thousand changes parsed one by one, each would have keys of its own, and its own "create" and "CNAME".
        found[sys.intern(key)] = sys.intern(value) if type(value) is str and len(value) < _SHORT else value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True


def load_saved(text: str, name: str = "the plan file") -> Plan:
    """Parse a saved plan; safe for any text. ``name`` is what errors call the file.

    Raises: Stale if an older recon wrote it, or the digest does not match (edited) or is missing (not saved by
    ``--out``); ReconError if the text is not JSON, truncated, too large, too deeply nested, of another format version,
    or has members of a wrong type.
    """
    if (plan := _load_by_line(text)) is not None:
        return plan
    document = _parse(text)
    if _too_deep(document):
        raise ReconError(f"not a saved plan: nested more than {MAX_DEPTH} levels deep", hint=_NEW_PLAN)
    members = {key: value for key, value in _Reader(document, "").value.items() if key != "digest"}
    version = document.get("format_version")
    if version in range(1, FORMAT_VERSION) and not isinstance(version, bool):
        raise Stale(f"{name} was made by an older recon (format {version}): {_NEW_PLAN}")
    if version == FORMAT_VERSION and not isinstance(version, bool):
        _check_digest(members, document.get("digest"))
    plan = plan_from_json(document)
    if _document(plan) != members:
        # this version would silently drop a member
        raise Stale(
            "the plan file has members that this version of recon does not know",
            hint=f"apply it with the version that made it, or {_NEW_PLAN}",
        )
    return replace(plan, digest=document["digest"])


def _load_by_line(text: str) -> Plan | None:
    """The plan of a text with one change a line, exactly as ``_compact`` writes it and with the right digest; the
    parsed text, which takes several times its size, is never held whole. None for any other text, whatever it is."""
    start = text.find(_CHANGES)
    end = text.find("\n  ]", start + len(_CHANGES))
    if min(start, end) < 0 or len(text) > MAX_SAVED_CHARACTERS:
        return None
    try:
        _parse(text[:start].rstrip().removesuffix(",") + "}")  # the changes are a member of the document itself
        document = _parse(text[:start] + _NO_CHANGES + text[end + len("\n  ]") :])
        digest = document.pop("digest")
        changes: list[Change] = []
        found = _digest(document, _read_lines(text, start + len(_CHANGES), end, changes))
        plan = plan_from_json(document, changes)
    except (ReconError, ValueError, KeyError, TypeError, AttributeError):
        return None  # what is wrong with it is said of the whole text
    exact = found == digest and not _too_deep(document) and _head(plan) == document
    return replace(plan, digest=digest) if exact else None


def _read_lines(text: str, start: int, end: int, changes: list[Change]) -> Iterator[Any]:
    """Each change in the lines of ``text`` between two places, which is put into ``changes``, too. Raises ValueError or
    ReconError for anything that recon did not write."""
    while start < end:
        stop = text.find("\n", start, end)
        last, stop = stop < 0, end if stop < 0 else stop
        line = text[start:stop]
        if line.endswith(",") == last:
            raise ValueError("not one change a line")
        members = _parse(line.removesuffix(","))
        change = _change_from_json(_Reader(members, "a change"))
        if _too_deep(members) or _change_to_json(change) != members:
            raise ValueError("not a change that this version writes")
        changes.append(change)
        yield members
        start = stop + 1


def _parse(text: str) -> Any:
    if len(text) > MAX_SAVED_CHARACTERS:
        raise ReconError(
            f"the plan file has {len(text):,} characters; a saved plan has at most {MAX_SAVED_CHARACTERS:,}",
            hint="give the file that `recon plan --out FILE` wrote",
        )
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        truncated = error.pos >= len(text.rstrip()) - 1 or "Unterminated string" in error.msg
        what = "truncated" if truncated and text.strip() else "empty" if not text.strip() else "not JSON"
        raise ReconError(
            f"the plan file is {what} (line {error.lineno}, column {error.colno}: {error.msg})", hint=_NEW_PLAN
        ) from None
    except RecursionError:
        raise _malformed("the plan", f"nested at most {MAX_DEPTH} levels deep", None) from None
    except ValueError as error:
        raise ReconError(f"the plan file is not valid: {error}", hint=_NEW_PLAN) from None


def _check_digest(members: Mapping[str, Any], digest: Any) -> None:
    if not isinstance(digest, str):
        raise Stale("the plan file has no digest: it is not a saved plan, or was edited", hint=_NEW_PLAN)
    try:
        actual = digest_of(members)
    except UnicodeEncodeError:
        raise ReconError("the plan file contains text that is not Unicode", hint=_NEW_PLAN) from None
    if actual != digest:
        raise Stale(
            "the plan file was edited after it was made: its digest does not match",
            hint=f"{_NEW_PLAN}; a plan is applied exactly as it was reviewed",
        )
