"""`recon plan --offline --against DIR`, annotations of `validate`, and the summary of a workflow step: no AWS."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import support
import yaml

HERE = Path(__file__).parents[1]

DOCUMENT: dict[str, Any] = {
    "domains": {
        "acme.com": {
            "dkim": {"signing_attributes_origin": "AWS_SES"},
            "dmarc": {"p": "none", "rua": ["mailto:d@acme.com"]},
            "spf": {"include": ["_spf.a.example"]},
            "configuration_set_name": "main",
        },
        "own.acme.com": {
            "dkim": {"signing_attributes_origin": "EXTERNAL", "domain_signing_selector": "s1",
                     "domain_signing_private_key": {"env": "NOT_SET_ANYWHERE"}},
        },
        "old.acme.com": {"identity": False, "dmarc": {"p": "reject"}},
        "elsewhere.net": {"zone": "Z0123456789ABC", "dmarc": {"p": "none"}},
    },
    "configuration_sets": {"main": {"tracking_options": {"custom_redirect_domain": "click.other.example"}}},
    "smtp_users": {"news": {"from_addresses": ["*@acme.com"], "credentials": {"ssm": {"name": "/recon/news"}}}},
}  # fmt: skip


@pytest.fixture
def alone(house: support.House, monkeypatch: pytest.MonkeyPatch) -> support.House:
    """A house whose AWS cannot be reached, with the base branch's state in ``base.yaml``."""
    house.write(DOCUMENT)
    shutil.copy(house.home / "state.yaml", house.home / "base.yaml")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    return house


def offline(house: support.House, *more: str) -> dict[str, Any]:
    ran = house.cli("plan", "state.yaml", "--offline", "--against", "base.yaml", "--format", "json", *more)
    assert ran.code in (0, 2), ran
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_nothing_differs_from_itself(alone: support.House) -> None:
    report = offline(alone)
    assert (report["outcome"], report["changes"]) == ("no_changes", [])
    assert [d["code"] for d in report["diagnostics"]][:1] == ["offline"]
    assert alone.cli("plan", "state.yaml", "--offline", "--against", "base.yaml", "--detailed-exitcode").code == 0


def test_each_kind_of_difference(alone: support.House) -> None:
    changed = support.merge(DOCUMENT, {
        "domains": {"acme.com": {"dmarc": {"p": "quarantine"}, "spf": {"include": ["_spf.b.example"]},
                                 "mail_from": {"mail_from_domain": "bounce.acme.com"}},
                    "new.acme.com": {"dmarc": {"p": "none"}}},
        "configuration_sets": {"main": {"sending_options": {"sending_enabled": False}}},
        "smtp_users": {"news": {"from_addresses": ["news@acme.com"]}},
    })  # fmt: skip
    changed["domains"].pop("old.acme.com")
    alone.write(changed)
    report = offline(alone, "--detailed-exitcode")
    found = {c["address"]: c for c in report["changes"]}
    dmarc = found["dns_record/acme.com/_dmarc.acme.com/TXT"]
    assert dmarc["action"] == "update"
    assert {"path": "p", "before": "none", "after": "quarantine"} in [
        {k: d[k] for k in ("path", "before", "after")} for d in dmarc["diff"]
    ]
    assert dmarc["source"]["file"].endswith("state.yaml")
    assert found["dns_record/acme.com/_dmarc.old.acme.com/TXT"]["action"] == "delete"
    assert found["email_identity/us-east-1/new.acme.com"]["action"] == "create"
    assert found["dns_record/acme.com/bounce.acme.com/MX"]["action"] == "create"
    assert found["configuration_set/us-east-1/main"]["action"] == "update"
    assert found["smtp_user/news"]["action"] == "update"
    assert found["dns_record/acme.com/acme.com/TXT"]["action"] == "update"
    assert not [a for a in found if "_recon" in a]
    assert not [d for c in report["changes"] for d in c["diff"] if "recon:" in d["path"]]
    # Nothing of another domain moved.
    assert not [a for a in found if "elsewhere.net" in a or "own.acme.com" in a]
    jsonschema.validate(report, json.loads((HERE / "schemas" / "plan.schema.json").read_text()))
    assert report["refresh"] == "offline"
    assert report["calls"] == {}


def test_targets_narrow_it(alone: support.House) -> None:
    alone.write(support.put(DOCUMENT, ("domains", "acme.com", "dmarc", "p"), "reject"))
    report = offline(alone, "--target", "configuration_set/*")
    assert report["changes"] == []
    report = offline(alone, "--target", "dns_record/acme.com/_dmarc.acme.com/TXT")
    assert [c["address"] for c in report["changes"]] == ["dns_record/acme.com/_dmarc.acme.com/TXT"]
    target = "dns_record/acme.com/_dmrc.acme.com/TXT"
    ran = alone.cli("plan", "state.yaml", "--offline", "--against", "base.yaml", "--target", target)
    assert ran.code == 1
    assert "did you mean dns_record/acme.com/_dmarc.acme.com/TXT?" in ran.err


@pytest.mark.parametrize("format", ["text", "markdown", "html"])
def test_it_is_labelled(alone: support.House, format: str) -> None:
    alone.write(support.put(DOCUMENT, ("domains", "acme.com", "dmarc", "p"), "reject"))
    ran = alone.cli("plan", "state.yaml", "--offline", "--against", "base.yaml", "--format", format)
    assert ran.code == 0
    text = ran.out if format == "html" else "\n".join(ran.out.splitlines()[:6])
    assert "ffline" in text
    assert "base.yaml" in text


def test_it_is_never_applied(alone: support.House) -> None:
    ran = alone.cli("plan", "state.yaml", "--offline", "--against", "base.yaml", "--format", "json")
    (alone.home / "plan.json").write_text(ran.out)
    ran = alone.cli("apply", "plan.json")
    assert ran.code == 3
    assert "an offline plan cannot be applied" in ran.err
    assert alone.cli("show", "plan.json").code == 0
    assert alone.cli("plan", "state.yaml", "--offline", "--against", "base.yaml", "--out", "x.json").code == 1
    assert not (alone.home / "x.json").exists()


def test_bad_command_lines(alone: support.House) -> None:
    for more in (["--offline"], ["--against", "base.yaml"], ["--offline", "--against", "nowhere"]):
        assert alone.cli("plan", "state.yaml", *more).code == 1


def test_the_example_against_itself_and_a_change_of_a_default(tmp_path: Path, house: support.House) -> None:
    shutil.copytree(HERE / "state", house.home / "base")
    shutil.copytree(HERE / "state", house.home / "state")
    file = house.home / "state" / "defaults.yaml"
    file.write_text(file.read_text().replace("tls_policy: REQUIRE", "tls_policy: OPTIONAL"))
    arguments = ("plan", "--env", "production", "--offline", "--format", "json")
    report = json.loads(house.cli(*arguments, "--against", "base").out)
    assert {c["address"].split("/")[0] for c in report["changes"]} == {"configuration_set"}
    assert len(report["changes"]) == 8
    assert json.loads(house.cli(*arguments, "--against", "state").out)["changes"] == []
    # The picture needs no AWS either.
    assert house.cli("graph", "state", "--env", "production").code == 0


# --- validate ------------------------------------------------------------------------------------------------------


def test_validate_annotates(house: support.House) -> None:
    house.write(support.put(DOCUMENT, ("domains", "acme.com", "dmarc", "p"), "rejekt"))
    ran = house.cli("validate", "state.yaml", "--format", "github")
    assert ran.code == 1
    assert ran.out.startswith("::error file=state.yaml,line=")
    ran = house.cli("validate", "state.yaml", "--format", "sarif")
    assert ran.code == 1
    result = json.loads(ran.out)["runs"][0]["results"][0]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "state.yaml"
    house.write({"domains": {"acme.com": {"zone": "manual"}}})
    assert house.cli("validate", "state.yaml", "--format", "github").code == 0
    assert json.loads(house.cli("validate", "state.yaml", "--format", "sarif").out)["runs"][0]["results"] == []
    (house.home / "state.yaml").write_text(yaml.safe_dump({"stack": 1}))
    assert house.cli("validate", "state.yaml", "--format", "github").out.startswith("::error")
    assert house.cli("validate", "state.yaml", "--format", "junit").code == 1


# --- the summary of a step -----------------------------------------------------------------------------------------


def test_a_plan_goes_into_the_summary_of_the_step(house: support.House, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = house.home / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    house.write({"configuration_sets": {"main": {}}})
    ran = house.cli("plan", "state.yaml", "--format", "json")
    assert ran.code == 0
    text = summary.read_text()
    assert text.startswith("before\n<!-- recon:plan acme -->")
    assert "configuration_set/us-east-1/main" in text
    # It never grows beyond what GitHub takes.
    summary.write_text("x" * (2**20 - 10))
    assert house.cli("plan", "state.yaml").code == 0
    assert summary.stat().st_size == 2**20 - 10
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(house.home / "no" / "such" / "folder"))
    assert house.cli("plan", "state.yaml").code == 0
