"""Whole outputs of realistic and hostile plans.

``RECON_GOLDEN=write python -m pytest tests/test_render_golden.py`` rewrites them; then read the difference.
"""

from __future__ import annotations

import json
import os
import runpy
from pathlib import Path

import pytest

from reconciler.model import Applied, Diagnostic, Plan, Result
from reconciler.renderers import load_saved, plan_from_json, plan_to_json, render, render_result, saved_plan

GOLDEN = Path(__file__).parent / "golden"
CASES: dict[str, Plan] = runpy.run_path(str(GOLDEN / "cases.py"))["CASES"]


def same(file: Path, actual: str) -> None:
    """``actual`` is what the file holds; or becomes it, when asked for."""
    if os.environ.get("RECON_GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(actual, encoding="utf-8", newline="\n")
    assert actual == file.read_text(encoding="utf-8")


OUTPUTS = {
    "plan.txt": ("text", {}),
    "plan-80.txt": ("text", {"width": 80, "unicode": False}),
    "plan-color.txt": ("text", {"width": 120, "color": True, "verbose": 1}),
    "drift.txt": ("text", {"mode": "drift"}),
    "drift-80.txt": ("text", {"mode": "drift", "width": 80}),
    "drift-120.txt": ("text", {"mode": "drift", "width": 120, "findings": True}),
    "plan.json": ("json", {}),
    "plan.md": ("markdown", {}),
    "drift.md": ("markdown", {"mode": "drift"}),
    "plan.html": ("html", {}),
}
# every form of every case would be many files that say the same
FEWER = {
    "drifted": ("drift.txt", "drift-80.txt", "drift-120.txt", "drift.md", "plan.json", "plan.html"),
    "no_changes": ("plan.txt", "plan.json", "plan.md"),
    "bulk": ("plan.txt",),
    "refused": ("plan.txt", "plan.json", "plan.md", "drift.txt", "plan.html"),
}


MOST = tuple(name for name in OUTPUTS if name not in ("drift-80.txt", "drift-120.txt"))


@pytest.mark.parametrize(("case", "name"), [(case, name) for case in CASES for name in FEWER.get(case, MOST)])
def test_whole_output(case: str, name: str) -> None:
    format, options = OUTPUTS[name]
    same(GOLDEN / case / name, render(CASES[case], format, **options))


@pytest.mark.parametrize("case", sorted(CASES))
def test_saved_and_back(case: str) -> None:
    plan = CASES[case]
    assert load_saved(saved_plan(plan)) == plan
    assert plan_from_json(json.loads(json.dumps(plan_to_json(plan)))) == plan


def ended(outcome: str) -> Result:
    """The setup plan as an apply that ended so: the fourth change failed, what came after did not start."""
    plan = CASES["setup"]
    applied = []
    for number, change in enumerate(plan.changes):
        if outcome == "applied" or number < 3:
            applied.append(Applied(change.address, change.action, "done"))
        elif number == 3:
            applied.append(Applied(change.address, change.action, "failed",
                                   "AccessDenied: not authorized to perform ses:CreateEmailIdentity (request 0f3c)",
                                   "attach the policy that `recon iam-policy apply` prints"))  # fmt: skip
        elif number == 4:
            applied.append(Applied(change.address, change.action, "waiting", "for AWS to verify shop.acme.com"))
        else:
            applied.append(Applied(change.address, change.action, "not_started"))
    diagnostics = () if outcome == "applied" else (Diagnostic("warning", "half", "half is done"),)
    return Result(plan, outcome, tuple(applied), diagnostics, {"sesv2": 9, "route53": 2}, 21.4)


@pytest.mark.parametrize("outcome", ["applied", "partial"])
@pytest.mark.parametrize("name", ["result.txt", "result.json", "result.md", "result.html"])
def test_result(outcome: str, name: str) -> None:
    format = {"txt": "text", "md": "markdown"}.get(name.rpartition(".")[2], name.rpartition(".")[2])
    same(GOLDEN / f"result-{outcome}" / name, render_result(ended(outcome), format))


def test_last_lines() -> None:
    last = {case: render(plan, "text").splitlines()[-1] for case, plan in CASES.items()}
    assert last["setup"] == "Plan: 8 to create, 0 to adopt, 3 to update, 0 to replace, 0 to delete."
    assert last["no_changes"] == "No changes."
    assert last["bulk"] == "No changes in what was read; 3 attributes unread."
    assert render_result(ended("applied"), "text").splitlines()[-1] == (
        "Applied: 8 created, 0 adopted, 3 updated, 0 replaced, 0 deleted."
    )
    assert render_result(ended("partial"), "text").splitlines()[-1] == (
        "Applied: 2 created, 0 adopted, 1 updated, 0 replaced, 0 deleted; 1 failed, 1 waiting, 6 not started."
    )
