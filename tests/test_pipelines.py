"""What teams wire into their forge works: every shell step of the scaffold, the action and the examples is run."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import support
import yaml
from lint_workflows import documents, scripts, unsafe_python
from pipeline_support import HERE, GitHub, GitLab, Shell, git

from reconciler.model import digest_of
from reconciler.scaffold import InitOptions, files

EVA = "AKIAEVAEVAEVAEVAEVA1"
PACKAGE = "https://wheels.example/recon_mail-0.2.0-py3-none-any.whl#sha256=" + "a" * 64
FORK = {"github.event.pull_request.head.repo.full_name": "eva/mail"}
OURS = {"github.event.pull_request.head.repo.full_name": "acme/mail", "github.event.pull_request.number": "7"}


def repository(house: support.House, forge: str) -> tuple[Path, str]:
    """A fresh clone of a scaffolded repository whose last commit tightens DMARC; and the commit before it."""
    house.seed_zone()
    house.clear()
    repo, clone = house.home / "repo", house.home / "clone"
    assert (
        house.cli("init", "repo", "--domain", "acme.com", "--name", "acme", "--forge", forge, "--package", PACKAGE).code
        == 0
    )
    git("init", "-qb", "main", cwd=repo)
    git("add", "-A", cwd=repo)
    git("commit", "-qm", "mail", cwd=repo)
    base = git("rev-parse", "HEAD", cwd=repo)
    git("branch", "base", cwd=repo)
    domains = repo / "state" / "domains.yaml"
    domains.write_text(domains.read_text().replace("p: none", "p: quarantine"))
    git("commit", "-qam", "quarantine", cwd=repo)
    git("clone", "-q", str(repo), str(clone), cwd=house.home)
    return clone, base


def plain(text: str) -> str:
    """Markdown without the characters that keep names from becoming links."""
    return text.replace("\\", "").replace("&#8203;", "")


def edit_live(house: support.House, policy: str) -> None:
    """Eva changes a configuration set by hand."""
    house.sandbox.principal(EVA, arn=f"arn:aws:iam::{support.ACCOUNT}:user/eva")
    support.client("sesv2", access_key=EVA).put_configuration_set_delivery_options(
        ConfigurationSetName="transactional", TlsPolicy=policy
    )


def test_a_scaffolded_repository_on_github(house: support.House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pull request comment, release, an edit by hand, the cron: as plain shell, from a fresh clone, on the sandbox."""
    clone, base = repository(house, "github")
    flows = clone / ".github" / "workflows"
    github = GitHub(Shell(house, clone))

    # A fork sees the declared difference, without credentials.
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    github.job(flows / "mail-plan.yml", "declared", **{"github.event.pull_request.base.sha": base})
    assert "1 DMARC policy is tightened" in github.summary
    assert "Offline" in github.summary
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASANDBOXSANDBOX00")

    # A pull request gets its comment; the next push updates it.
    github.job(flows / "mail-plan.yml", "validate")
    *_, (arguments, body) = github.job(flows / "mail-plan.yml", "plan", **OURS)
    assert arguments[:3] == ["pr", "comment", "7"]
    assert "email_identity/us-east-1/acme.com" in plain(body[0])
    assert github.summary == body[0], "once, not twice"
    github.shell.answers = {"api --paginate": "99\n"}
    *_, (arguments, again) = github.job(flows / "mail-plan.yml", "plan", **OURS)
    assert arguments[:4] == ["api", "--method", "PATCH", "repos/acme/mail/issues/comments/99"]
    assert again[0].splitlines()[:5] == body[0].splitlines()[:5]
    assert not [w for w in house.writes() if w.startswith(("sesv2:", "route53:Change", "iam:"))]

    # A state that is not valid overwrites nobody's comment.
    domains = (clone / "state" / "domains.yaml").read_text()
    (clone / "state" / "domains.yaml").write_text("domains: 1")
    assert github.job(flows / "mail-plan.yml", "plan", expect=False, **OURS) == []
    (clone / "state" / "domains.yaml").write_text(domains)

    # The release applies exactly the saved plan.
    github.job(flows / "mail-apply.yml", "plan")
    assert github.contexts["needs.plan.outputs.pending"] == "yes"
    github.job(flows / "mail-apply.yml", "apply")
    assert house.identity()["VerificationStatus"] == "SUCCESS"
    github.job(flows / "mail-apply.yml", "plan")
    assert github.contexts["needs.plan.outputs.pending"] == "no"

    # Somebody edits live; the cron says who, in one issue.
    edit_live(house, "OPTIONAL")
    calls = github.job(flows / "mail-drift.yml", "drift")
    (created,) = (body for arguments, body in calls if arguments[:2] == ["issue", "create"])
    assert "user/eva" in plain(created[0])
    assert github.summary == created[0], "once, not twice"
    github.shell.answers = {"issue list": "12"}
    calls = github.job(flows / "mail-drift.yml", "drift")
    assert calls[-1][0][:3] == ["issue", "edit", "12"]
    edit_live(house, "REQUIRE")
    calls = github.job(flows / "mail-drift.yml", "drift")
    assert calls[-1][0][:3] == ["issue", "close", "12"]
    # What is merged and not released yet is no drift: no issue, and none is closed.
    (clone / "state" / "domains.yaml").write_text(domains.replace("p: quarantine", "p: reject"))
    calls = github.job(flows / "mail-drift.yml", "drift")
    assert [arguments[:2] for arguments, _ in calls] == [["release", "list"], ["issue", "list"]], github.said
    (clone / "state" / "domains.yaml").write_text(domains)
    house.sandbox.fault("denied", service="sesv2", count=None)
    calls = github.job(flows / "mail-drift.yml", "drift", expect=False)
    assert [arguments[:2] for arguments, _ in calls] == [["release", "list"], ["issue", "list"]], (
        "an issue is neither opened nor closed by a run that could not look"
    )


MODULES = ("json", "venv", "pip", "recon", "reconciler", "sitecustomize", "usercustomize", "os", "site", "encodings")


def hostile(house: support.House, clone: Path) -> Path:
    """Add what a pull request could: modules with names that a step may import, and links with names that a step may
    write. Returns a file that exists once one of them was run or followed."""
    touched = house.home / "touched"
    for name in MODULES:
        (clone / f"{name}.py").write_text(f"open({str(touched)!r}, 'w').close()\n")
        (clone / ".gitlab" / f"{name}.py").parent.mkdir(exist_ok=True)
        (clone / ".gitlab" / f"{name}.py").write_text((clone / f"{name}.py").read_text())
    for name in ("plan.json", "plan.md", "drift.md", "drift.json", "plan.env"):
        (clone / name).symlink_to(touched)
    (clone / "mail-out").symlink_to(house.home)
    return touched


def test_a_pull_request_with_files_that_steps_could_run_or_write(
    house: support.House, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone, base = repository(house, "github")
    touched = hostile(house, clone)
    github = GitHub(Shell(house, clone), **{"matrix.env": "", "matrix.account": support.ACCOUNT})
    flows = clone / ".github" / "workflows"
    github.job(flows / "mail-plan.yml", "validate")
    github.job(flows / "mail-plan.yml", "declared", **{"github.event.pull_request.base.sha": base})
    github.job(flows / "mail-plan.yml", "plan", **OURS)
    github.job(flows / "mail-apply.yml", "plan")
    github.job(flows / "mail-apply.yml", "apply")
    github.job(flows / "mail-drift.yml", "drift")
    example = house.home / "flow.yml"
    for name, job, contexts in (("plan", "validate", FORK), ("plan", "plan", OURS), ("drift", "drift", {})):
        text = (HERE / "docs" / "examples" / f"github-{name}.yml").read_text()
        example.write_text(text.replace("environment: production", 'environment: ""').replace("../base", "../again"))
        github.job(example, job, **contexts, **{"github.event.pull_request.base.sha": base})
    assert not touched.exists(), touched.read_text()


def test_a_plan_of_the_pull_requests_own_is_never_posted(house: support.House) -> None:
    """A file named plan.md is not the plan, whatever step fails before there is one."""
    clone, _ = repository(house, "github")
    (clone / "plan.md").write_text("<!-- recon:plan acme -->\n### Nothing to see here")
    (clone / "state" / "domains.yaml").write_text("domains: 1")
    github = GitHub(Shell(house, clone), **{"matrix.env": "", "matrix.account": support.ACCOUNT})
    flow = clone / ".github" / "workflows" / "mail-plan.yml"
    assert github.job(flow, "plan", expect=False, **OURS) == []
    flow.write_text(flow.read_text().replace('pip install "$RECON"', "exit 1"))
    assert github.job(flow, "plan", expect=False, **OURS) == []
    assert github.job(HERE / "docs" / "examples" / "github-plan.yml", "plan", expect=False, **OURS) == []


def test_names_of_files_are_inert_in_every_job(house: support.House) -> None:
    """A pull request chooses the names of its files: none is a command of the shell or of the runner."""
    clone, base = repository(house, "github")
    names = ("x\n::error title=a::b.yaml", "y\n::set-output name=digest::z.yaml", "##[error]c.yaml", "--out=pwned.yaml",
             "$(touch pwned).yaml", "`touch pwned`.yaml", "@acme #1 <b>.yaml")  # fmt: skip
    for number, name in enumerate(names):
        (clone / "state" / name).write_text(f"configuration_sets: {{s{number}: {{}}}}\n")
    github = GitHub(Shell(house, clone))
    flow = clone / ".github" / "workflows" / "mail-plan.yml"
    github.job(flow, "validate")
    github.job(flow, "declared", **{"github.event.pull_request.base.sha": base})
    *_, (_, (body,)) = github.job(flow, "plan", **OURS)
    assert "configuration_set/us-east-1/s0" in plain(body)
    for number, name in enumerate(names):
        (clone / "state" / name).write_text(f"configuration_sets: {{s{number}: 7}}\n")
    github.job(flow, "validate", expect=False)
    lines = github.said.splitlines()
    assert len(lines) == len(names) and all(line.startswith("::error file=state/") for line in lines)
    for text in (body, github.said, github.summary):
        assert not re.search(r"^ *::(?!error file=state/)|##\[", text, re.MULTILINE)
    assert "@acme #1" not in body and "<b>" not in body
    assert not list(house.home.rglob("pwned*"))


def test_only_a_merged_release_with_an_attested_and_reviewed_plan_is_applied(house: support.House) -> None:
    clone, _ = repository(house, "github")
    flow = clone / ".github" / "workflows" / "mail-apply.yml"
    github = GitHub(Shell(house, clone))
    attest = {"github.event.repository.visibility": "public"}
    private = {"github.event.repository.visibility": "private"}
    git("checkout", "-qb", "side", cwd=clone)
    git("commit", "-q", "--allow-empty", "-m", "not merged", cwd=clone)
    github.job(flow, "plan", expect=False, **attest)
    assert "not on the default branch" in github.said
    git("checkout", "-q", "main", cwd=clone)

    github.job(flow, "plan", **attest)
    plan = github.artifacts / "plan" / "plan.json"
    assert github.attested == [hashlib.sha256(plan.read_bytes()).hexdigest()]
    house.clear()
    github.shell.answers = {"attestation verify": None}
    ((arguments, _),) = github.job(flow, "apply", expect=False, **attest)
    assert arguments[:2] == ["attestation", "verify"]
    assert arguments[arguments.index("--repo") + 1] == "acme/mail"
    assert arguments[arguments.index("--signer-workflow") + 1] == "acme/mail/.github/workflows/mail-apply.yml"
    github.shell.answers = {}
    reviewed = plan.read_text()
    forged = {key: value for key, value in json.loads(reviewed).items() if key != "digest"} | {"unread": ["x"]}
    plan.write_text(json.dumps({**forged, "digest": digest_of(forged)}))
    github.job(flow, "apply", expect=False, **private)
    assert "reviewed" in github.said
    github.contexts["needs.plan.outputs.digest"] = ""
    plan.write_text(reviewed)
    github.job(flow, "apply", expect=False, **private)
    assert "reviewed" in github.said, "an output that is missing is no consent"
    assert house.writes() == []
    github.contexts["needs.plan.outputs.digest"] = json.loads(reviewed)["digest"]
    assert github.job(flow, "apply", **private) == [], "a private repository may have no attestations"
    assert house.writes()


def test_the_composite_action(house: support.House) -> None:
    """The examples of docs/examples, which use it: every command, in a repository without environments."""
    clone, base = repository(house, "none")
    examples = HERE / "docs" / "examples"
    github = GitHub(Shell(house, clone), **{"matrix.env": "", "matrix.account": support.ACCOUNT})
    flows = house.home / "flows"
    flows.mkdir()
    for file in examples.glob("github-*.yml"):
        (flows / file.name).write_text(
            re.sub(r"(command: .*)environment: production", r'\1environment: ""', file.read_text())
        )

    github.job(flows / "github-plan.yml", "validate", **FORK, **{"github.event.pull_request.base.sha": base})
    assert "1 DMARC policy is tightened" in github.summary
    installed = github.shell.files["PIP_LOG"].read_text().splitlines()
    assert f"--require-hashes -r {HERE}/requirements.lock" in installed[0]
    assert f"--no-deps --no-build-isolation {HERE}" in installed[1]
    *_, (arguments, body) = github.job(flows / "github-plan.yml", "plan", **OURS)
    assert arguments[:3] == ["pr", "comment", "7"]
    assert github.summary == body[0]
    assert (github.artifacts / "plan-" / "plan.json").exists()

    github.job(flows / "github-apply.yml", "plan")
    assert github.contexts["needs.plan.outputs.pending"] == "yes"
    digest = github.contexts["needs.plan.outputs.digest"]
    github.contexts["needs.plan.outputs.digest"] = "sha256:" + "0" * 64
    github.job(flows / "github-apply.yml", "apply", expect=False)
    assert "reviewed" in github.said
    github.contexts["needs.plan.outputs.digest"] = digest
    github.job(flows / "github-apply.yml", "apply")
    assert house.identity()["VerificationStatus"] == "SUCCESS"

    edit_live(house, "OPTIONAL")
    calls = github.job(flows / "github-drift.yml", "drift")
    assert calls[-1][0][:2] == ["issue", "create"]
    assert "user/eva" in plain(calls[-1][1][0])
    edit_live(house, "REQUIRE")
    github.shell.answers = {"issue list": "12"}
    assert github.job(flows / "github-drift.yml", "drift")[-1][0][:3] == ["issue", "close", "12"]


def test_the_action_refuses_a_command_that_it_does_not_have(house: support.House) -> None:
    house.write({})
    flow = house.home / "flow.yml"
    flow.write_text("jobs: {a: {steps: [{uses: acme/recon@v1, with: {command: destroy}}]}}")
    github = GitHub(Shell(house, house.home))
    github.job(flow, "a", expect=False)
    assert "destroy" in github.said


# --- GitLab --------------------------------------------------------------------------------------------------------


class Forge(BaseHTTPRequestHandler):
    """The part of GitLab's API that the pipeline uses, for one project, in memory."""

    notes: list[dict[str, Any]]
    issues: list[dict[str, Any]]
    token = "glpat-x"

    def _answer(self, code: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _do(self) -> None:
        path, _, query = self.path.partition("?")
        length = int(self.headers.get("Content-Length") or 0)
        given = json.loads(self.rfile.read(length) or b"{}")
        if self.headers["PRIVATE-TOKEN"] != self.token:
            self._answer(401, {"message": "401 Unauthorized"})
        elif path == "/api/user":
            self._answer(200, {"id": 1})
        elif self.command == "GET":
            asked = dict(part.split("=") for part in query.split("&"))
            issues = [i for i in self.issues if (i["state"], i["labels"]) == ("opened", asked.get("labels"))]
            found, page = self.notes if path.endswith("/notes") else issues, int(asked["page"])
            self._answer(200, found[(page - 1) * 100 : page * 100])
        elif path.endswith("/notes") and "merge_requests" in path:
            self.notes.append({"id": len(self.notes) + 1, "author": {"id": 1}, **given})
            self._answer(201, self.notes[-1])
        elif path.endswith("/notes"):
            self._answer(201, {})
        elif self.command == "POST":
            self.issues.append({"iid": len(self.issues) + 1, "state": "opened", **given})
            self._answer(201, self.issues[-1])
        else:
            among, key = (self.notes, "id") if "merge_requests" in path else (self.issues, "iid")
            one = next(n for n in among if path.endswith(f"/{n[key]}"))
            one |= given
            if given.get("state_event") == "close":
                one["state"] = "closed"
            self._answer(200, one)

    do_GET = do_POST = do_PUT = _do

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture
def forge() -> Iterator[tuple[type[Forge], str]]:
    """GitLab, and the address of its API."""

    class Mine(Forge):
        """A GitLab of this test's own."""

    Mine.notes, Mine.issues = [], []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mine)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Mine, f"http://127.0.0.1:{server.server_port}/api"
    server.shutdown()
    server.server_close()


def test_a_scaffolded_repository_on_gitlab(
    house: support.House, forge: tuple[type[Forge], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same story in GitLab: a note in the merge request, the manual apply, one issue on drift."""
    gitlab, url = forge
    clone, _ = repository(house, "gitlab")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setattr(support, "_clients", {})
    # Notes of others, among them one that pretends to be the plan, over more than a page.
    gitlab.notes += [{"id": n, "author": {"id": 2}, "body": "<!-- recon:plan acme -->"} for n in range(1, 102)]
    pipeline = GitLab(
        Shell(house, clone), CI_API_V4_URL=url, CI_PROJECT_ID="5", CI_PIPELINE_ID="77", RECON_GITLAB_TOKEN="glpat-x"
    )
    request = {"CI_MERGE_REQUEST_IID": "3", "CI_MERGE_REQUEST_PROJECT_ID": "5"}
    pipeline.job("mail validate")
    said = pipeline.job(
        "mail declared",
        CI_MERGE_REQUEST_PROJECT_URL=str(house.home / "repo"),
        CI_MERGE_REQUEST_TARGET_BRANCH_NAME="base",
    )
    assert "1 DMARC policy is tightened" in said
    for _ in range(2):
        pipeline.job("mail plan", **request)
    mine = [n for n in gitlab.notes if n["author"]["id"] == 1]
    assert len(mine) == 1
    assert "email_identity/us-east-1/acme.com" in plain(mine[0]["body"])
    roles = {c["arn"] for c in house.sandbox.calls(service="sesv2")}
    assert roles == {f"arn:aws:sts::{support.ACCOUNT}:assumed-role/recon-plan/gitlab-77"}

    pipeline.job("mail plan")
    house.clear()
    assert "applied" in pipeline.job("mail apply")
    assert house.identity()["VerificationStatus"] == "SUCCESS"
    roles = {c["arn"] for c in house.sandbox.calls(service="sesv2") if not c["reads_only"]}
    assert roles == {f"arn:aws:sts::{support.ACCOUNT}:assumed-role/recon-apply/gitlab-77"}
    assert gitlab.issues == []
    pipeline.job("mail apply", expect=3, CI_COMMIT_SHORT_SHA="abc123")  # a plan is applied once
    assert [(i["labels"], i["title"]) for i in gitlab.issues] == [("mail-apply", "Mail: abc123 was not applied")]
    gitlab.issues.clear()
    assert (clone / "mail-out" / "plan.html").read_text().startswith("<!doctype html>")
    pipeline.job("mail rotate")

    edit_live(house, "OPTIONAL")
    for _ in range(2):
        assert "user/eva" in plain(pipeline.job("mail drift", expect=2))
    assert [i["state"] for i in gitlab.issues] == ["opened"]
    assert "user/eva" in plain(gitlab.issues[0]["description"])
    edit_live(house, "REQUIRE")
    assert "issue 1 closed" in pipeline.job("mail drift")
    assert [i["state"] for i in gitlab.issues] == ["closed"]


def test_a_merge_request_with_files_that_jobs_could_run_or_write(
    house: support.House, forge: tuple[type[Forge], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clone, _ = repository(house, "gitlab")
    touched = hostile(house, clone)
    pipeline = GitLab(
        Shell(house, clone), CI_API_V4_URL=forge[1], CI_PROJECT_ID="5", CI_PIPELINE_ID="77",
        RECON_GITLAB_TOKEN="glpat-x", CI_MERGE_REQUEST_IID="3",
    )  # fmt: skip
    pipeline.job("mail validate")
    pipeline.job(
        "mail declared", CI_MERGE_REQUEST_PROJECT_URL=str(house.home / "repo"),
        CI_MERGE_REQUEST_TARGET_BRANCH_NAME="base",
    )  # fmt: skip
    pipeline.job("mail plan")
    assert len(forge[0].notes) == 1
    pipeline.job("mail apply")
    pipeline.job("mail drift")
    assert not touched.exists() and not (house.home / "plan.json").exists()


def test_gitlab_without_a_token_or_with_a_bad_one(house: support.House, forge: tuple[type[Forge], str]) -> None:
    (house.home / "plan.md").write_text("<!-- recon:plan acme -->\n")

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        base = {"CI_API_V4_URL": forge[1], "CI_PROJECT_ID": "5", "CI_MERGE_REQUEST_IID": "3", "PATH": "/usr/bin"}
        module = ["-I", "-m", "reconciler.scaffold.gitlab_notes"]
        return subprocess.run([sys.executable, *module, *arguments], cwd=house.home, env={**base, **variables},
                              capture_output=True, text=True, timeout=120)  # fmt: skip

    ended = run("note", "plan.md")
    assert (ended.returncode, ended.stderr) == (0, "")
    ended = run("note", "plan.md", RECON_GITLAB_TOKEN="wrong")
    assert ended.returncode == 1
    assert "401" in ended.stderr and "wrong" not in ended.stderr + ended.stdout
    assert run("what", "plan.md", RECON_GITLAB_TOKEN="wrong").returncode == 1
    assert forge[0].notes == []


# --- what stands in the files --------------------------------------------------------------------------------------


WORKFLOWS = {path: text for path, text in files(InitOptions(package=PACKAGE)).items() if path.startswith(".github/")}
for _folder in (".github/workflows", "docs/examples"):
    WORKFLOWS |= {str(p.relative_to(HERE)): p.read_text() for p in (HERE / _folder).rglob("*.yml")}


@pytest.mark.parametrize("path", [*WORKFLOWS, "action.yml"])
def test_workflows_are_pinned_and_keep_expressions_out_of_scripts(path: str) -> None:
    """GitHub Docs, "Security hardening for GitHub Actions"; shell steps are at least what bash can parse."""
    text = (HERE / path).read_text() if path == "action.yml" else WORKFLOWS[path]
    for action in re.findall(r"^[ -]*uses: (\S+)", text, re.MULTILINE):
        if action != "acme/recon@v0.2.0":  # ours, in the examples: whoever copies them names a commit
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
    assert not re.search(r"secrets\.|AWS_SECRET|pull_request_target", text)
    document = yaml.safe_load(text)
    jobs = document["jobs"].values() if path != "action.yml" else [{**document["runs"], "timeout-minutes": 1}]
    if path != "action.yml":
        assert document["permissions"]["contents"] == "read"
    for job in jobs:
        assert job["timeout-minutes"]
        for step in job["steps"]:
            script = step.get("run", "")
            assert "${{" not in script
            parsed = subprocess.run(["bash", "-n", "-c", script], capture_output=True, text=True)
            assert parsed.returncode == 0, parsed.stderr


@pytest.mark.parametrize("path", WORKFLOWS)
def test_a_job_has_only_the_rights_that_it_needs(path: str) -> None:
    """Rights are given job by job; a token only to jobs that assume a role of AWS or sign an attestation; the role that
    writes only behind an environment, and never beside a right to write to the forge."""
    document = yaml.safe_load(WORKFLOWS[path])
    assert document["permissions"] == {"contents": "read"}
    for name, job in document["jobs"].items():
        rights = job.get("permissions", {})
        named = [step["with"]["role-to-assume"] for step in job["steps"]
                 if "configure-aws-credentials" in step.get("uses", "")]  # fmt: skip
        roles = {role.replace("${{ matrix.role }}", "/recon-").rpartition("/")[2] for role in named}
        attests = any("actions/attest@" in step.get("uses", "") or {"command": "plan", "attest": "true"}.items()
                      <= step.get("with", {}).items() for step in job["steps"])  # fmt: skip
        assert (rights.get("id-token") == "write") is (bool(roles) or attests), name
        assert (rights.get("attestations") == "write") is attests, name
        if "recon-apply" in roles:
            assert job["environment"] == "production" and job["needs"] == "plan"
        if "recon-rotate" in roles:
            assert job["environment"] == "mail-rotate" and rights == {"contents": "read", "id-token": "write"}
            assert {right for right, how in rights.items() if how == "write"} == {"id-token"}
        if "pull_request" in document.get(True, document.get("on")) and roles:
            assert "head.repo.full_name == github.repository" in job["if"], "not for forks"


@pytest.mark.parametrize(
    ("script", "unsafe"),
    [
        ("python -I -m venv x", False),
        ("python3.12 -Ic 'import json'", False),
        ("python -E -P -m pip install x", False),
        ("python -W error -I x.py", False),
        ("python --version", False),
        ("pip install recon-mail # not python -m pip", False),
        ("docker run python:3.12-slim recon validate", False),
        ("recon show plan.json --digest", False),
        ("python -m venv x", True),
        ("python -c 'import json' -I", True),
        ("digest=$(python3 -c 'import json')", True),
        ("cat x.py | python", True),
        ("python - <<'END'", True),
        ("python .gitlab/mail.py note plan.md", True),
        ('"$RUNNER_TEMP/recon/bin/python" \\\n  -m pip', True),
        ("env A=1 python3.13 -Bm json.tool plan.json", True),
        ("true && python -W error -m x", True),
        ("python -XI -c 1", True),
    ],
)
def test_the_lint_finds_python_that_imports_from_the_checkout(script: str, unsafe: bool) -> None:
    assert bool(unsafe_python(script)) is unsafe


def test_no_pipeline_or_document_calls_python_so_that_it_imports_from_the_checkout(tmp_path: Path) -> None:
    texts = {
        p: t for forge in ("github", "gitlab") for p, t in files(InitOptions(forge=forge, package=PACKAGE)).items()
    }  # type: ignore[arg-type]
    texts |= {**WORKFLOWS, "action.yml": (HERE / "action.yml").read_text()}
    found = list(documents())
    for path, text in texts.items():
        if path.endswith(".yml") and ("github" in path or "gitlab/" in path or path == "action.yml"):
            (tmp_path / "x.yml").write_text(text)
            found += [(f"{path} {name}", script) for name, script in scripts(tmp_path / "x.yml")]
    assert len(found) > 40
    assert not [(name, call) for name, script in found for call in unsafe_python(script)]


def test_the_action_and_the_scaffold_comment_and_report_alike() -> None:
    steps = {s.get("name"): s for s in yaml.safe_load((HERE / "action.yml").read_text())["runs"]["steps"]}
    for path, job in ((".github/workflows/mail-plan.yml", "plan"), (".github/workflows/mail-drift.yml", "drift")):
        for step in yaml.safe_load(files(InitOptions(package=PACKAGE))[path])["jobs"][job]["steps"]:
            if step.get("name") in ("Comment", "Issue"):
                assert step["run"] == steps[step["name"]]["run"]


def test_the_hook_and_the_container_name_what_is_there() -> None:
    (hook,) = yaml.safe_load((HERE / ".pre-commit-hooks.yaml").read_text())
    assert (hook["id"], hook["entry"], hook["pass_filenames"]) == ("recon-validate", "recon validate", False)
    assert re.search(hook["files"], "state/domains.yaml") and not re.search(hook["files"], "README.md")
    ignored = (HERE / ".dockerignore").read_text().split()
    stages = (HERE / "Dockerfile").read_text().partition("\nFROM ")[2].split("\nFROM ")
    assert len(stages) == 2 and "\nUSER recon\n" in stages[1] and 'ENTRYPOINT ["recon"]' in stages[1]
    assert len({re.match(r"python:3\.12-slim@sha256:[0-9a-f]{64}\b", stage)[0] for stage in stages}) == 1  # type: ignore[index]
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", stages[0], re.MULTILINE):
        for name in line.split():
            assert (HERE / name).exists() and name not in ignored, name
