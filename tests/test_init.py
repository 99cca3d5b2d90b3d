"""`recon init`: never overwrites, and what it writes validates. Its pipelines are run in test_pipelines.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import support
import yaml

from reconciler import desired
from reconciler.scaffold import InitOptions, files, name_of


def test_what_it_writes_validates(house: support.House) -> None:
    for forge in ("github", "gitlab", "none"):
        place = house.home / forge
        ran = house.cli("init", str(place), "--forge", forge, "--domain", "acme.com")
        assert ran.code == 0, ran
        assert ran.out.count("wrote ") == len([p for p in place.rglob("*") if p.is_file()])
        assert house.cli("validate", str(place / "state")).code == 0
        assert f"name: {forge}" in (place / "state" / "stack.yaml").read_text()


def test_commented_examples_validate_too(tmp_path: Path) -> None:
    """What stands in comments as an example is as valid as what stands there."""
    for path, text in files(InitOptions(domain="acme.com")).items():
        if not path.startswith("state/"):
            continue
        bare = re.sub(r"^( *)# ( *(?:[\w.@-]+|\"[^\"]+\"):(?: .*)?)$", r"\1\2", text, flags=re.MULTILINE)
        assert bare != text or path == "state/defaults.yaml"
        (tmp_path / Path(path).name).write_text(bare.replace("\nsmtp_users: {}\n", "\n"))
    state = desired.load(tmp_path, "production").state
    assert {e.name for e in state.section("smtp_users")} == {"newsletter"}
    assert {e.name for e in state.section("domains")} >= {"acme.com", "news.acme.com", "parked.example"}
    assert state.stack.backend
    assert state.stack.dns_account == "999900001111"
    assert state.section("dedicated_ip_pools")


def test_the_package_is_what_was_named(house: support.House) -> None:
    wanted = "recon-mail @ git+https://git.example/acme/recon@" + "a" * 40
    for forge, name in (("github", ".github/workflows/mail-apply.yml"), ("gitlab", ".gitlab/mail.yml")):
        assert house.cli("init", forge, "--forge", forge, "--package", wanted).code == 0
        document = yaml.safe_load((house.home / forge / name).read_text())
        found = document["env"] if forge == "github" else document[".mail"]["variables"]
        assert found["RECON"] == wanted


def test_it_never_overwrites(house: support.House) -> None:
    (house.home / ".github" / "workflows").mkdir(parents=True)
    mine = house.home / ".github" / "workflows" / "mail-plan.yml"
    mine.write_text("mine")
    (house.home / ".gitignore").symlink_to("/dev/null")
    assert house.cli("init").code == 0
    assert mine.read_text() == "mine"
    before = {p: p.read_bytes() for p in house.home.rglob("*") if p.is_file() and not p.is_symlink()}
    ran = house.cli("init", "--domain", "other.example")
    assert ran.code == 0
    assert "wrote" not in ran.out
    assert before == {p: p.read_bytes() for p in house.home.rglob("*") if p.is_file() and not p.is_symlink()}


def test_a_state_that_is_there_gets_nothing_beside_it(house: support.House) -> None:
    (house.home / "state" / "deep").mkdir(parents=True)
    (house.home / "state" / "deep" / "mine.yml").write_text("stack: {}")
    assert house.cli("init").code == 0
    assert [p.name for p in (house.home / "state").rglob("*.y*ml")] == ["mine.yml"]
    assert (house.home / ".github" / "workflows" / "mail-drift.yml").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        ["--account", "12"],
        ["--domain", "a b"],
        ["--region", "mars-1"],
        ["--name", "a b"],
        ["--forge", "x"],
        ["--package", "a\nb"],
        ["--package", 'x"; curl'],
    ],
)
def test_bad_answers_write_nothing(house: support.House, wrong: list[str]) -> None:
    ran = house.cli("init", "repo", *wrong)
    assert ran.code == 1, ran
    assert not (house.home / "repo").exists()


def test_names_of_directories(tmp_path: Path) -> None:
    for name, expected in (("acme mail", "acme-mail"), ("…", "mail"), ("a" * 80, "a" * 64), ("-x.", "x")):
        assert name_of(tmp_path / name) == expected
