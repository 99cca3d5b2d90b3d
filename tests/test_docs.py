"""The pages say what the code does: generated parts are fresh, links lead somewhere, commands and examples are real."""

from __future__ import annotations

import functools
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from support import House, sandbox

from reconciler import __version__, regions
from reconciler.resources import SECTIONS

HERE = Path(__file__).parent.parent
ALL_REGIONS = regions.SES_REGIONS
PAGES = sorted([*HERE.glob("*.md"), *(HERE / "docs").rglob("*.md")])


def script(name: str) -> ModuleType:
    """A script beside the pages, as a module."""
    spec = importlib.util.spec_from_file_location(name, HERE / "docs" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def commands() -> dict[tuple[str, ...], frozenset[str]]:
    """Every command and subcommand of the program by its words, with its options."""
    import typer

    from reconciler.cli import RENAMED, app

    found: dict[tuple[str, ...], frozenset[str]] = {}
    pending: list[tuple[tuple[str, ...], Any]] = [((), typer.main.get_command(app))]
    for words, command in pending:
        options = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
        found[words] = frozenset({"--help", "--redact", *options} - RENAMED.keys())
        pending += [((*words, name), one) for name, one in getattr(command, "commands", {}).items()]
    return found


def calls(text: str) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """The calls of recon in the code of a page: the words of the command as far as it exists, and the options."""
    blocks = re.findall(r"^ *```(?:sh|bash|console)?\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    code = [re.sub(r"\\\n\s*", " ", block) for block in blocks]
    rest = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    code += [" ".join(part.split()) for part in re.findall(r"`([^`]+)`", rest)]
    for line in re.findall(r"^(?:\$ )?recon ([a-z][a-z-]*\b[^|;#&>\n]*)", "\n".join(code), re.MULTILINE):
        words, path = line.split(), tuple[str, ...]()
        while words and (*path, words[0]) in commands():
            path = (*path, words.pop(0))
        yield path or (line.split()[0],), [option for word in words for option in re.findall(r"^\[?(--[a-z-]+)", word)]


def test_generated_pages_are_fresh() -> None:
    pages = script("generate").pages()
    names = ("docs/yaml.md", "docs/permissions.md", "docs/performance.md", "docs/rules", "schemas/rules.schema.json")
    assert not [name for name in names if not any(path.is_relative_to(HERE / name) for path in pages)]
    stale = [path.name for path, text in pages.items() if path.read_text(encoding="utf-8") != text]
    assert not stale, "run `make docs`"


def test_the_pictures_are_fresh(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is what the commands print today. Shown as an image it needs nothing else: no script, no request."""
    monkeypatch.setattr(regions, "SES_REGIONS", ALL_REGIONS)
    for name, svg in script("pictures").pictures(sandbox(), tmp_path).items():
        assert (HERE / "docs" / name).read_text(encoding="utf-8") == svg, f"{name}: run `make golden`"
        assert ElementTree.fromstring(svg).findtext("{*}title"), name
        assert not re.search(r"<script|\bhref=|\bsrc=|@import|url\((?!#)", svg), name


def test_the_policies_name_every_call_of_the_kinds() -> None:
    """Each call that stands in the code of a kind, of observing or of applying is in the policy for apply."""
    allowed = set().union(*script("generate").calls())
    pattern = re.compile(
        r'"(iam|sesv2|ses|route53|ssm|secretsmanager|kms|sns|sts|resourcegroupstaggingapi)",\s*"([A-Z]\w+)"'
    )
    files = [
        *(HERE / "reconciler" / "kinds").rglob("*.py"),
        *(f for f in (HERE / "reconciler" / "resources").rglob("*.py") if f.name not in {"rules.py", "sandbox.py"}),
        *(HERE / "reconciler" / "applier").rglob("*.py"),
        HERE / "reconciler" / "observing.py",
    ]
    found = {f"{s}:{o}" for file in files for s, o in pattern.findall(file.read_text(encoding="utf-8"))}
    assert len(found) > 20
    assert found <= allowed, f"missing from a kind's reads or writes: {sorted(found - allowed)}"


def test_plan_reads() -> None:
    """The policy for plans holds no action that could write."""
    actions = [a for s in script("generate").policies()["plan"]["Statement"] for a in s["Action"]]
    assert actions
    writing = [
        a
        for a in actions
        if not re.fullmatch(r"[a-z0-9]+:(Get|List|Describe|GenerateCredentialReport|Lookup|BatchGet).*", a)
    ]
    assert not writing


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(HERE)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    site = HERE / "docs"
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            found = (page.parent / target).resolve()
            assert found.exists(), f"{page.name} links to {target}"
            if page.is_relative_to(site):
                assert found.is_file() and found.is_relative_to(site), f"{page.name}: {target} is not on the site"


def test_the_readme_lists_the_commands() -> None:
    """All of them, with all subcommands, and no others."""
    table = (HERE / "README.md").read_text(encoding="utf-8").partition("## Commands")[2].partition("\n## ")[0]
    named: set[tuple[str, ...]] = set()
    for row in re.findall(r"^\| `recon ([a-z/|\\ -]+)", table, re.MULTILINE):
        name, *more = row.replace("\\|", "/").split()
        named |= {(name, *((one,) if one else ())) for one in (more[0].split("/") if more else [""])}
    leaves = {path for path in commands() if path and not any(other[:-1] == path for other in commands() if other)}
    assert {path if path in commands() else path[:1] for path in named} == leaves  # `iam-policy plan` is an argument


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(HERE)))
def test_commands_in_code_exist_and_have_the_options(page: Path) -> None:
    """What a page tells to type is there. (The changelog speaks of the past, too.)"""
    for path, options in calls(page.read_text(encoding="utf-8")):
        assert path in commands(), f"{page.name}: there is no recon {' '.join(path)}"
        if page.name != "CHANGELOG.md":
            missing = set(options) - commands()[path]
            assert not missing, f"{page.name}: recon {' '.join(path)} has no {missing}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`recon plan --wide`", (("plan",), ["--wide"])),
        ("`recon smtp rotate a --force`", (("smtp", "rotate"), ["--force"])),
        ("```\n$ recon nothing --out \\\n    x --env prod\n```", (("nothing",), ["--out", "--env"])),
    ],
)
def test_calls_in_pages_are_found(text: str, found: tuple[tuple[str, ...], list[str]]) -> None:
    assert list(calls(text)) == [found]


def test_pages_call_recon() -> None:
    assert sum(len(options) for page in PAGES for _, options in calls(page.read_text(encoding="utf-8"))) > 100


def test_make_targets_in_pages_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (HERE / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        if page.name == "codes.md":
            continue  # what recon prints, which may begin with the verb
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert target in targets, f"{page.name}: make {target}"


def states(page: str) -> list[str]:
    """The blocks of YAML in a page that are a whole state."""
    text = (HERE / "docs" / page).read_text(encoding="utf-8")
    return [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if block.startswith("stack:")]


@pytest.mark.parametrize(
    ("page", "text"), [(page, text) for page in ("cookbook.md", "first-domain.md") for text in states(page)]
)
def test_a_recipe_is_a_valid_state(tmp_path: Path, page: str, text: str) -> None:
    from reconciler.desired import load

    file = tmp_path / "state.yaml"
    file.write_text(text, encoding="utf-8")
    found = load(file, "production" if "environments:" in text else None)
    assert not [one for one in found.warnings if one.severity != "note"], found.warnings


def test_the_recipe_with_everything_is_applied_and_then_quiet(house: House) -> None:
    (text,) = (text for text in states("cookbook.md") if "sending_roles:" in text)
    house.seed_zone()
    found = {change.kind for change in house.settle(yaml.safe_load(text)).changes}
    assert {"sns_topic", "cloudwatch_alarm", "cloudwatch_dashboard", "event_rule", "sending_role"} <= found


def test_the_site_has_every_page() -> None:
    """Each page is in the navigation of the site, or a page that is links to it."""
    listed = set(re.findall(r'"([^"]+\.md)"', (HERE / "zensical.toml").read_text(encoding="utf-8")))
    docs = HERE / "docs"
    linked = {
        str((page.parent / target).resolve().relative_to(docs))
        for page in (docs / one for one in listed)
        for target in re.findall(r"\]\(([^)#:]+\.md)", page.read_text(encoding="utf-8"))
    }
    there = {str(page.relative_to(docs)) for page in docs.rglob("*.md")}
    assert listed <= there
    assert there <= listed | linked, there - listed - linked


def test_the_first_yaml_of_the_readme_is_valid(tmp_path: Path) -> None:
    text = (HERE / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert found
    (tmp_path / "mail.yaml").write_text(found[1])
    ended = subprocess.run(
        [sys.executable, "-m", "reconciler", "validate", str(tmp_path)],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_the_example_is_valid_without_a_warning(environment: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "reconciler", "validate", "--env", environment],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    "file",
    sorted([*(HERE / "docs" / "examples").glob("*.yml"), *(HERE / ".github" / "workflows").rglob("*.yml")]),
    ids=lambda p: p.name,
)
def test_workflows_call_recon_as_it_is(file: Path) -> None:
    """They parse, ask for least rights, and every recon command in them exists with the options it is given."""
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert document["permissions"]["contents"] == "read"
    assert {"name", "jobs"} <= set(document)
    for job in document["jobs"].values():
        assert job["timeout-minutes"] and job["runs-on"]
        for step in job["steps"]:
            for line in str(step.get("run", "")).splitlines():
                for name, rest in re.findall(r"\brecon ([a-z]+)([^|>&]*)", line):
                    helped = subprocess.run(
                        [sys.executable, "-m", "reconciler", name, "--help"],
                        cwd=HERE,
                        capture_output=True,
                        text=True,
                        timeout=300,
                    )
                    assert helped.returncode == 0, name
                    for option in re.findall(r"(--[a-z-]+)", rest):
                        assert option in helped.stdout, f"recon {name} has no {option}"


def test_the_page_for_terraform_names_all_that_import_writes() -> None:
    page = (HERE / "docs" / "from-terraform.md").read_text(encoding="utf-8")
    assert SECTIONS and not [name for name in SECTIONS if f"`{name}`" not in page]


def test_every_tag_is_explained() -> None:
    """Each tag that recon puts on something is in docs/ownership.md."""
    page = (HERE / "docs" / "ownership.md").read_text(encoding="utf-8")
    files = [file for room in ("kinds", "resources", "smtp") for file in (HERE / "reconciler" / room).rglob("*.py")]
    tags = {tag for file in files for tag in re.findall(r'"(recon:[a-z_-]+)"', file.read_text(encoding="utf-8"))}
    assert len(tags) > 10
    missing = [tag for tag in sorted(tags) if f"`{tag}`" not in page and f"`{tag}." not in page]
    assert not missing


def test_every_decision_is_listed() -> None:
    folder = HERE / "docs" / "decisions"
    listed = re.findall(r"\((\d{4}-[a-z-]+\.md)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert listed == sorted(p.name for p in folder.glob("0*.md"))


def test_every_promise_of_the_threat_model_names_a_test_that_exists() -> None:
    text = (HERE / "docs" / "threat-model.md").read_text(encoding="utf-8")
    rows = [row for table in re.findall(r"^\| promise \| test \|\n\|---\|---\|\n((?:\|.*\n)+)", text, re.MULTILINE)
            for row in table.splitlines()]  # fmt: skip
    assert len(rows) > 20
    for row in rows:
        named = re.findall(r"`(tests/\w+\.py)::(test_\w+)`", row.rpartition(" | ")[2])
        assert named, f"no test for: {row}"
        for file, name in named:
            path = HERE / file
            assert path.is_file() and re.search(rf"^def {name}\(", path.read_text(encoding="utf-8"), re.MULTILINE), (
                f"{file}::{name} does not exist"
            )


VERSIONED = re.compile(
    r"recon@v(\d+\.\d+\.\d+)|rev: v(\d+\.\d+\.\d+)|recon_mail-(\d+\.\d+\.\d+)-py3|checkout v(\d+\.\d+\.\d+)"
)


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def test_pages_name_this_version() -> None:
    """Whoever copies a line gets the release that the page came with."""
    files = [*PAGES, *(HERE / "docs" / "examples").glob("*.yml"), *(HERE / "reconciler").rglob("*.py")]
    changelog = HERE / "CHANGELOG.md"
    found = {(path.name, *filter(None, match.groups())) for path in files if path != changelog
             for match in VERSIONED.finditer(path.read_text(encoding="utf-8"))}  # fmt: skip
    assert len(found) > 5
    assert {version for _, version in found} == {__version__}, found


def test_the_changelog_has_this_version() -> None:
    """`[Unreleased]` first, then the releases, the newest first, with their dates; the newest is this version."""
    text = (HERE / "CHANGELOG.md").read_text(encoding="utf-8")
    heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert heads[0] == "[Unreleased]"
    assert not re.search(r"^(<{7}|={7}|>{7})", text, re.MULTILINE), "a merge is not finished"
    found = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)", head) for head in heads[1:]]
    assert all(found), heads
    versions = [numbers(match[1]) for match in found if match]
    assert versions == sorted(versions, reverse=True)
    assert versions[0] == numbers(__version__)


def test_old_names_and_formats_are_in_the_page_of_versions() -> None:
    """Every alias is there with the release in which it ends, which is still to come; and so are the formats."""
    from reconciler.cli import RENAMED as OPTIONS
    from reconciler.renderers.jsonform import FORMAT_VERSION
    from reconciler.resources.dns_record.marker import VERSION
    from reconciler.rules.registry import RENAMED as RULES

    page = (HERE / "docs" / "versions.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:rule )?`([a-z-]+)`[^|]* \| `([a-z-]+)` \| [\d.]+ \| ([\d.]+) \|$", page, re.MULTILINE)
    assert {old: new for old, new, _ in rows} == {**OPTIONS, **RULES}
    for old, _, end in rows:
        ends = numbers(end)
        assert ends > numbers(__version__), f"take {old} out of the code and of docs/versions.md"
    assert f"`format_version` {FORMAT_VERSION} |" in page and f"`{VERSION}`" in page
