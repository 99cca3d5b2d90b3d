"""Diagnostics as GitHub workflow annotations and as SARIF 2.1.0.

Sources: GitHub Docs, "Workflow commands" (setting an error message; data and property escapes as the runner undoes
them); OASIS SARIF 2.1.0; GitHub Docs, "SARIF support for code scanning" (5,000 results are shown of a run).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from typing import Any, Final
from urllib.parse import quote

from reconciler.codes import rule_page
from reconciler.model import Diagnostic, digest_of
from reconciler.renderers.escape import safe
from reconciler.renderers.jsonform import json_text

MAX_RESULTS: Final = 5_000

_RANK: Final = {"error": 0, "warning": 1, "note": 2}
_COMMAND: Final = {"error": "error", "warning": "warning", "note": "notice"}


def _ordered(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    return sorted(diagnostics, key=lambda one: _RANK.get(one.severity, 3))


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _message(one: Diagnostic) -> str:
    """Message, address and hint, each on its own line; no other line break, no control character."""
    parts = [safe(one.message)]
    if one.address:
        parts.append(f"address: {safe(one.address)}")
    if one.hint:
        parts.append(f"hint: {safe(one.hint)}")
    return "\n".join(parts)


def github_annotations(diagnostics: Iterable[Diagnostic]) -> str:
    """One ``::error file=…,line=…,col=…,title=…::message`` line each, errors first (GitHub shows ten of a kind)."""
    lines = []
    for one in _ordered(diagnostics):
        properties = []
        if one.file:
            properties.append(f"file={_property(safe(one.file))}")
            if one.line:
                properties.append(f"line={one.line}")
                if one.column:
                    properties.append(f"col={one.column}")
        if one.code:
            properties.append(f"title={_property(safe(one.code))}")
        command = " ".join(part for part in (_COMMAND[one.severity], ",".join(properties)) if part)
        lines.append(f"::{command}::{_data(_message(one))}\n")
    return "".join(lines)


def sarif(diagnostics: Iterable[Diagnostic], *, version: str, base: str = "") -> str:
    """A SARIF 2.1.0 log with one run, for code scanning.

    Args: version is recon's own; base is prepended to relative file names if the state is not read from the
          repository's root. Beyond ``MAX_RESULTS`` the least severe are left out.
    """
    shown = _ordered(diagnostics)[:MAX_RESULTS]
    rules = {code: number for number, code in enumerate(sorted({one.code for one in shown}))}
    return json_text({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "recon",
                "semanticVersion": version or "0.0.0",
                "rules": [_rule(code) for code in rules],
            }},
            "columnKind": "unicodeCodePoints",
            "results": [_result(one, rules, base) for one in shown],
        }],
    })  # fmt: skip


def _rule(code: str) -> dict[str, Any]:
    page = {"helpUri": rule_page(code)} if rule_page(code) else {}
    return {"id": code or "recon", "name": code or "recon", **page}


def _result(one: Diagnostic, rules: dict[str, int], base: str) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": one.code or "recon",
        "ruleIndex": rules[one.code],
        "level": one.severity,
        "message": {"text": _message(one)},
        "partialFingerprints": {
            # without the line, which changes when other lines are edited
            "recon/v1": digest_of([one.code, one.message, one.file, one.address]).removeprefix("sha256:")
        },
    }
    location: dict[str, Any] = {}
    if one.file:
        physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(one.file, base)}}
        if one.line:
            physical["region"] = {"startLine": one.line, **({"startColumn": one.column} if one.column else {})}
        location["physicalLocation"] = physical
    if one.address:
        location["logicalLocations"] = [{"fullyQualifiedName": one.address, "kind": "resource"}]
    if location:
        result["locations"] = [location]
    return result


def _uri(file: str, base: str) -> str:
    path = PurePath(file)
    if base and not path.is_absolute():
        path = PurePath(base) / path
    text = quote(path.as_posix(), errors="replace")
    return f"file://{text}" if path.is_absolute() else text
