"""One document over all stacks of a run, and its exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from reconciler.fleet.declared import Unit
from reconciler.fleet.reports import Reports

FAILED: Final = frozenset({1, 3, 130})


def document(
    command: str, units: Iterable[Unit], accounts: Mapping[str, str], missing: Mapping[str, str], reports: Reports
) -> dict[str, Any]:
    """The contract's JSON object. ``missing`` says why a unit has no report, where somebody knows."""
    attempts = reports.attempts()
    stacks, lost = [], []
    for unit in units:
        report = reports.read(unit.id)
        if report is None:
            why = missing.get(unit.id, "the run ended before it was looked at")
            lost.append((unit, why))
        else:
            stacks.append(_stack(unit, report, accounts, attempts, reports))
    code = exit_code(stacks, len(lost))
    return {
        "format_version": 1, "command": command, "run_id": reports.run_id,
        "outcome": {0: "no_changes", 1: "error", 2: "changes"}[code], "reports": reports.url, "stacks": stacks,
        "missing": [unit.id for unit, _ in lost],
        "diagnostics": [
            {"severity": "error", "code": "no-report", "message": f"{unit.id} has no report: {why}", "hint": "",
             "file": unit.place.rpartition(":")[0], "line": int(unit.place.rpartition(":")[2] or 0)}
            for unit, why in lost
        ],
    }  # fmt: skip


def _stack(
    unit: Unit, report: Mapping[str, Any], accounts: Mapping[str, str], attempts: Counter[str], reports: Reports
) -> dict[str, Any]:
    return {
        "id": unit.id, "account": report.get("account") or accounts.get(unit.id) or None,
        "exit_code": report["exit_code"], "outcome": report.get("outcome"), "summary": report.get("summary") or {},
        "attempts": max(attempts[unit.id], 1), "report": reports.url_of(unit.id), "labels": dict(unit.labels),
        "message": report["message"] if report["exit_code"] in FAILED else None,
    }  # fmt: skip


def exit_code(stacks: Iterable[Mapping[str, Any]], missing: int) -> int:
    """1 if any stack has no report or failed, else 2 if any has changes, drift or findings, else 0."""
    codes = {stack["exit_code"] for stack in stacks}
    if missing or codes & FAILED:
        return 1
    return 2 if 2 in codes else 0
