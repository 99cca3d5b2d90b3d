"""`recon init`: never overwrites, and what it writes validates. Its pipelines are run in test_pipelines.py."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import support
import yaml

from reconciler import desired
from reconciler.scaffold import InitOptions, files, name_of

WHEEL = "https://wheels.example/recon_mail-0.2.0-py3-none-any.whl#sha256=" + "a" * 64


def test_what_it_writes_validates(house: support.House) -> None:
    for forge in ("github", "gitlab", "none"):
        place = house.home / forge
        ran = house.cli("init", str(place), "--forge", forge, "--domain", "acme.com", "--package", WHEEL)
        assert ran.code == 0, ran
        assert ran.out.count("wrote ") == len([p for p in place.rglob("*") if p.is_file()])
        assert house.cli("validate", str(place / "state")).code == 0
        assert f"name: {forge}" in (place / "state" / "stack.yaml").read_text()


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "us-gov-west-1"])
def test_commented_examples_validate_too(tmp_path: Path, region: str) -> None:
    """What stands in comments as an example is as valid as what stands there."""
    for path, text in files(InitOptions(domain="acme.com", region=region)).items():
        if not path.startswith("state/"):
            continue
        bare = re.sub(r"^( *)# ( *(?:(?:[\w.@-]+|\"[^\"]+\"):(?: .*)?|- \{.*\}))$", r"\1\2", text, flags=re.MULTILINE)
        assert bare != text or path == "state/defaults.yaml"
        (tmp_path / Path(path).name).write_text(bare.replace("\nsmtp_users: {}\n", "\n"))
    state = desired.load(tmp_path, "production").state
    assert {e.name for e in state.section("smtp_users")} == {"newsletter"}
    assert {e.name for e in state.section("domains")} >= {"acme.com", "news.acme.com", "parked.example"}
    assert state.stack.backend
    assert state.stack.dns_account == "999900001111"
    for section in ("dedicated_ip_pools", "cloudwatch_dashboards", "sending_roles"):
        assert state.section(section)
    assert {e.name for e in state.section("cloudwatch_alarms")} == {"bounces", "complaints", "quota"}
    (rule,) = state.section("event_rules")
    assert rule.region in {e.region for e in state.section("sns_topics") if e.values.get("subscriptions")}


@pytest.mark.parametrize(
    ("given", "line", "hashes"),
    [
        (
            "git+https://git.example/acme/recon@" + "a" * 40,
            "recon-mail @ git+https://git.example/acme/recon@" + "a" * 40,
            0,
        ),
        (WHEEL, "recon-mail @ " + WHEEL.replace("#sha256=", " --hash=sha256:"), 1),
        ("recon-mail==0.2.0 --hash=sha256:" + "b" * 64, "recon-mail==0.2.0 --hash=sha256:" + "b" * 64, 1),
    ],
)
def test_the_package_is_what_was_named(house: support.House, given: str, line: str, hashes: int) -> None:
    for forge, name in (("github", ".github/workflows/mail-apply.yml"), ("gitlab", ".gitlab/mail.yml")):
        assert house.cli("init", forge, "--forge", forge, "--package", given).code == 0
        text = (house.home / forge / name).read_text()
        document = yaml.safe_load(text)
        found = document["env"] if forge == "github" else document[".mail"]["variables"]
        assert found["RECON"] == line
        # the package alone is checked by its hash, or is a commit; what it needs always by hashes
        installs = re.findall(r"pip install .*", text)
        assert installs and not [one for one in installs if "--no-deps" not in one and "--require-hashes" not in one]
        assert all(("--require-hashes" in one) == bool(hashes) for one in installs if "--no-deps" in one)


def test_without_a_package_workflows_are_left_out(house: support.House) -> None:
    for forge in ("github", "gitlab"):
        ran = house.cli("init", forge, "--forge", forge)
        assert ran.code == 0 and "Left out: the workflow files" in ran.err
        assert (house.home / forge / "state" / "stack.yaml").exists()
        assert not [*(house.home / forge).rglob("mail*.yml")]


def test_account_and_environments_are_those_of_the_state(house: support.House) -> None:
    (house.home / "state").mkdir()
    (house.home / "state" / "all.yaml").write_text(
        "stack: {name: acme, account: '111122223333', regions: [eu-west-1], backend: {s3: {bucket: acme-recon}}}\n"
        "environments:\n  production: {}\n  staging: {stack: {account: '444455556666', regions: [us-east-2]}}\n"
        "domains: {acme.com: {}}\n"
    )
    assert house.cli("init", "--package", WHEEL).code == 0
    flows = {p.name: yaml.safe_load(p.read_text()) for p in (house.home / ".github" / "workflows").glob("*.yml")}
    for name, job in (("mail-plan.yml", "plan"), ("mail-drift.yml", "drift"), ("mail-rotate.yml", "rotate")):
        matrix = flows[name]["jobs"][job]["strategy"]["matrix"]["include"]
        assert [(one["env"], one["account"], one["region"]) for one in matrix] == [
            ("production", "111122223333", "eu-west-1"), ("staging", "444455556666", "us-east-2"),
        ]  # fmt: skip
    jobs = flows["mail-apply.yml"]["jobs"]
    assert jobs.keys() == {f"{job}-{env}" for job in ("plan", "apply", "report") for env in ("production", "staging")}
    text = (house.home / ".github" / "workflows" / "mail-apply.yml").read_text()
    for env, account in (("production", "111122223333"), ("staging", "444455556666")):
        assert jobs[f"apply-{env}"]["environment"] == env and jobs[f"apply-{env}"]["needs"] == f"plan-{env}"
        assert f"recon plan --env {env} --out" in text and f"--state state --env {env} --expect" in text
        assert f"arn:aws:iam::{account}:role/recon-apply" in text
    assert house.cli("init", "--package", WHEEL, "--forge", "gitlab").code == 0
    jobs = yaml.safe_load((house.home / ".gitlab" / "mail.yml").read_text())
    for env, account, region in (("production", "111122223333", "eu-west-1"), ("staging", "444455556666", "us-east-2")):
        assert f"recon validate --env {env}" in jobs["mail validate"]["script"]
        apply = jobs[f"mail apply {env}"]
        assert (apply["environment"], apply["needs"]) == (env, [f"mail plan {env}"])
        for job, role in (("plan", "plan"), ("apply", "apply"), ("drift", "plan"), ("rotate", "rotate")):
            one = jobs[f"mail {job} {env}"]
            wanted = {"AWS_REGION": region, "AWS_ROLE_ARN": f"arn:aws:iam::{account}:role/recon-{role}"}
            assert one["variables"] == wanted
            assert f"--env {env} " in "".join(one["script"])
    said = house.cli("init", "--aws", "--repository", "acme/mail", "--repository-id", "12/34")
    documents = [json.loads(part.partition("\n")[2]) for part in said.out.split("\n\n")]
    subjects = [s for d in documents for c in [d["Statement"][0]["Condition"]] for s in next(
        (v for k, v in c.get("StringLike", {}).items() if k.endswith(":sub")), [])]  # fmt: skip
    for form in ("repo:acme/mail:", "repo:acme@12/mail@34:"):
        assert {f"{form}environment:production", f"{form}environment:staging", f"{form}pull_request"} <= {*subjects}
    assert "444455556666:oidc-provider/token.actions.githubusercontent.com" in said.out
    (bucket,) = [
        d for d in documents if any(one["Sid"] == "TheseAccountsOnly" for one in d["Statement"] if "Sid" in one)
    ]
    assert bucket["Statement"][1]["Condition"]["StringNotEquals"] == {
        "aws:PrincipalAccount": ["111122223333", "444455556666"]
    }
    assert "# Policy of the bucket acme-recon" in said.out and "aws:SecureTransport" in said.out
    assert not [s for s in subjects if s.endswith(":*")]


PLACEHOLDERS = ("111122223333", "OWNER/NAME", "OWNER_ID")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], PLACEHOLDERS),
        (["--repository", "acme/mail"], ("111122223333", "OWNER_ID")),
        (["--repository", "acme/mail", "--repository-id", "1/2"], ("111122223333",)),
        (["--repository", "acme/mail", "--repository-id", "1/2", "--account", "444455556666"], ()),
        (["--repository", "acme/mail", "--forge", "gitlab", "--account", "444455556666"], ()),
    ],
    ids=str,
)
def test_placeholders_in_policies_are_named(house: support.House, given: list[str], told: tuple[str, ...]) -> None:
    ran = house.cli("init", "--aws", *given)
    lines = [line for line in ran.err.splitlines() if "placeholder" in line]
    assert ran.code == 0 and [next(p for p in PLACEHOLDERS if line.startswith(p)) for line in lines] == [*told]
    assert all(line.count("--") for line in lines) and {p for p in PLACEHOLDERS if p in ran.out} >= {*told}


def test_the_next_step_is_written_for_where_the_user_is(house: support.House) -> None:
    ran = house.cli("init", "some dir", "--forge", "none")
    assert "edit some dir/state/stack.yaml and some dir/state/domains.yaml" in ran.err
    assert "recon validate 'some dir/state' && recon plan 'some dir/state'" in ran.err
    assert house.cli("validate", "some dir/state").code == 0
    assert "run: recon validate && recon plan\n" in house.cli("init", "--forge", "none").err


def test_the_lock_file_of_pipelines_is_the_projects() -> None:
    root = Path(__file__).parent.parent
    assert (root / "reconciler/scaffold/requirements.lock").read_text() == (root / "requirements.lock").read_text()


def test_it_never_overwrites(house: support.House) -> None:
    (house.home / ".github" / "workflows").mkdir(parents=True)
    mine = house.home / ".github" / "workflows" / "mail-plan.yml"
    mine.write_text("mine")
    (house.home / ".gitignore").symlink_to("/dev/null")
    assert house.cli("init", "--package", WHEEL).code == 0
    assert mine.read_text() == "mine"
    before = {p: p.read_bytes() for p in house.home.rglob("*") if p.is_file() and not p.is_symlink()}
    ran = house.cli("init", "--domain", "other.example")
    assert ran.code == 0
    assert "wrote" not in ran.out
    assert before == {p: p.read_bytes() for p in house.home.rglob("*") if p.is_file() and not p.is_symlink()}


def test_a_state_that_is_there_gets_nothing_beside_it(house: support.House) -> None:
    (house.home / "state" / "deep").mkdir(parents=True)
    (house.home / "state" / "deep" / "mine.yml").write_text(
        "stack: {name: a, account: '111122223333', regions: [us-east-1]}"
    )
    assert house.cli("init", "--package", WHEEL).code == 0
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
        ["--package", "recon-mail==0.1.0"],
        ["--package", "git+https://git.example/acme/recon@main"],
        ["--package", "git+https://git.example/acme/recon@abcdef1"],
        ["--package", "https://wheels.example/recon_mail-0.2.0-py3-none-any.whl"],
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
