"""The benchmark runs: a tiny size, so that it cannot rot. What it measures is no test's business."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("bench")


@pytest.mark.slow
def test_a_small_benchmark_runs_and_fills_the_page(bench: ModuleType, tmp_path: Path) -> None:
    kept = tmp_path / "figures.json"
    sizes = ["--domains", "3,12", "--scaled", "", "--real", "", "--apply", "3", "--terraform", "0", "--scenes", ""]
    assert bench.main([*sizes, "--no-octodns", "--save", str(kept)]) == 0
    document = json.loads(kept.read_text())
    runs = [bench.Run(**run) for run in document["runs"]]
    assert {r.command for r in runs if r.domains == 3} == {
        "validate", "plan, first", "apply, first", "plan, nothing to do", "plan in bulk",
    }  # fmt: skip
    assert {r.command for r in runs if r.domains == 12 and r.rates == "none"} == {
        "validate", "plan, nothing to do", "plan in bulk",
    }  # fmt: skip
    for run in runs:
        assert run.cpu > run.http >= 0
        assert run.memory > 10
        assert (run.total > 0) == (run.command != "validate")
        assert (run.http > 0) == (run.total > 0)
    assert any("12 domains were put into the sandbox" in text for text in document["left_out"])
    page = tmp_path / "performance.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    found = bench.tables(runs, document["left_out"], document["load"])
    bench.write(found, page)
    text = page.read_text(encoding="utf-8")
    for part in found.values():
        assert part in text


def test_every_kind_has_its_row_of_calls(bench: ModuleType) -> None:
    from reconciler.resources import KINDS

    listed = [kind for row in importlib.import_module("kinds").ROWS for kind in row.kinds]
    assert sorted(listed) == sorted(KINDS)
    page = PAGE.read_text(encoding="utf-8")
    assert not [kind for kind in listed if page.count(f"| {kind}") < 2 and page.count(f", {kind} |") < 1]


def test_the_other_tools_get_the_same_stack(bench: ModuleType, tmp_path: Path) -> None:
    """Six records a domain for octoDNS, as many resources for Terraform; what is missing is said."""
    stacks, tools = bench.stacks, bench.tools
    stacks.octodns(tmp_path / "dns", 12, {stacks.domain(n): [f"t{n}{i}" for i in range(3)] for n in range(12)})
    import yaml

    zones = [yaml.safe_load(p.read_text()) for p in sorted((tmp_path / "dns" / "zones").glob("*.yaml"))]
    assert sum(len(r) if isinstance(r, list) else 1 for zone in zones for r in zone.values()) == 6 * 12
    stacks.terraform(tmp_path / "tf", 12)
    text = (tmp_path / "tf" / "main.tf").read_text()
    assert "range(12)" in text and "DOMAINS" not in text and stacks.DMARC in text
    assert "requirements" in tools.OCTODNS.name
    assert all("==" in line for line in tools.OCTODNS.read_text().split())


def test_a_machine_without_terraform_says_so(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "no terraform" in bench.tools.terraform_missing()
