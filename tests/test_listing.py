"""Commands that only say what there is: list, rule, the help, and the graph of a large state."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from support import HOME, House

from reconciler import cli
from reconciler.cli import completion
from reconciler.cli.examples import EXAMPLES
from reconciler.renderers.graph import graph
from reconciler.rules import all_rules
from reconciler.sandbox.scenarios import SCENARIOS


def test_bare_recon_prints_the_help(house: House) -> None:
    ran = house.cli()
    assert ran.code == 0 and "Usage: recon" in ran.out and ran.err == ""
    assert ran.out == house.cli("--help").out


def test_list_is_what_is_declared_and_what_is_owned(house: House) -> None:
    house.seed_zone()
    house.write({"domains": {"acme.com": {"dkim": {}, "dmarc": {"p": "none"}}}, "configuration_sets": {"main": {}}})
    house.clear()
    declared = house.cli("list", "state.yaml")
    assert declared.code == 0 and house.calls() == []
    addresses = declared.out.splitlines()
    assert addresses == sorted(addresses)
    assert {f"email_identity/{HOME}/acme.com", f"configuration_set/{HOME}/main"} < {*addresses}
    assert "dns_record/acme.com/_dmarc.acme.com/TXT" in addresses
    assert house.cli("list", "state.yaml", "--format", "json").json["addresses"] == addresses
    owned = house.cli("list", "state.yaml", "--owned")
    assert (owned.code, owned.out) == (0, "")
    house.apply()
    house.write({})  # no longer declared, and still owned
    found = house.cli("list", "state.yaml", "--owned").out.splitlines()
    assert f"configuration_set/{HOME}/main" in found and f"email_identity/{HOME}/acme.com" in found
    assert house.cli("list", "state.yaml").out == ""


def test_rule_explains(house: House) -> None:
    listed = house.cli("rule").out
    assert all(one in listed for one in all_rules())
    one = house.cli("rule", "dmarc-no-rua")
    assert one.code == 0
    assert all(part in one.out for part in ("# dmarc-no-rua", "## What it finds", "## Why it matters", "## What to do"))
    (found,) = house.cli("rule", "dmarc-no-rua", "--format", "json").json["rules"]
    assert found["id"] == "dmarc-no-rua" and found["fix"] in one.out.replace("\n", " ")
    ran = house.cli("rule", "dmarc-no-ruf")
    assert ran.code == 1 and "did you mean dmarc-no-rua" in ran.err
    assert house.cli("rule", "region-probation").out.startswith("# account-paused")  # its former name


@pytest.mark.parametrize("domains", [5, 60, 400])
def test_mermaid_is_never_too_large_for_github(domains: int) -> None:
    nodes: dict[str, tuple[str, ...]] = {f"configuration_set/{HOME}/main": ()}
    for number in range(domains):
        name = f"t{number:03}.example"
        identity = f"email_identity/{HOME}/{name}"
        nodes[identity] = (f"configuration_set/{HOME}/main",)
        nodes |= {f"dns_record/{name}/{name}:dkim:{HOME}:{n}/CNAME": (identity,) for n in (1, 2, 3)}
    drawn = graph(nodes, "mermaid")
    assert len(drawn) < 50_000 and drawn.count("-->") <= 300
    assert (f"#40;{domains}#41;" in drawn) == (domains > 5)
    whole = graph(nodes, "dot")
    assert all(address in whole for address in nodes)


def commands(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its words."""
    found = getattr(command, "commands", None)
    if found is None:
        yield path, command
    for name, one in (found or {}).items():
        yield from commands(one, f"{path} {name}".strip())


def test_every_help_has_examples_that_parse() -> None:
    known = dict(commands(cli._command("")))
    assert known.keys() == EXAMPLES.keys()
    for path, command in known.items():
        assert "Examples:" in command.epilog
        for line in EXAMPLES[path]:
            words = shlex.split(line.partition(" > ")[0].partition(" | ")[0])
            assert words[: 1 + len(path.split())] == ["recon", *path.split()] and len(line) < 90, line
            with command.make_context(path, words[1 + len(path.split()) :]) as context:
                assert not context.args
                assert context.params.get("scenario") in {None, *SCENARIOS}, line
                assert context.params.get("id") in {None, *all_rules()}, line


@pytest.mark.parametrize("group", ["", *(group.name for group in cli.app.registered_groups)])
def test_a_group_lists_its_commands_in_whole_sentences(
    house: House, monkeypatch: pytest.MonkeyPatch, group: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = house.cli(*group.split(), "--help").out
    assert "..." not in shown.partition("Commands:")[2] and max(map(len, shown.splitlines())) <= 80
    if group:
        alone = house.cli(group)
        assert (alone.code, alone.out) == (1, "") and alone.err.startswith(shown.strip())
        assert f"no command after `recon {group}`" in alone.err
    else:
        names = re.findall(r"^  (\S+) +\S", shown.partition("Commands:\n")[2], re.MULTILINE)
        assert tuple(names) == cli.ORDER == tuple(sorted({path.split()[0] for path in EXAMPLES}, key=cli.ORDER.index))


@pytest.mark.parametrize("width", [40, 80])
def test_examples_are_shown_as_they_are(house: House, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    shown = house.cli("plan", "--help").out
    assert all(f"  {line}\n" in shown for line in EXAMPLES["plan"])


def test_shells_complete_what_the_state_declares(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.write({
        "environments": {"production": {}, "staging": {"vars": {"a": "b"}}},
        "domains": {"acme.com": {"dkim": {}}, "acme.net": {"identity": False}}, "configuration_sets": {"main": {}},
    })  # fmt: skip
    monkeypatch.chdir(house.home)
    command = cli.typer.main.get_command(cli.app)
    completion.complete_all(command)
    known = dict(commands(command))

    def complete(path: str, option: str, start: str, *words: str) -> list[str]:
        context = known[path].make_context(path, list(words), resilient_parsing=True)
        (parameter,) = [one for one in known[path].params if option in (*one.opts, one.name)]
        return [item.value for item in parameter.shell_complete(context, start)]

    assert complete("plan", "--env", "", "state.yaml") == ["production", "staging"]
    assert complete("plan", "--env", "st", "state.yaml") == ["staging"]
    assert complete("plan", "--target", "conf", "state.yaml") == [f"configuration_set/{HOME}/main"]
    assert complete("doctor", "what", "acme", "state.yaml") == ["acme.com", "acme.net"]
    assert complete("records", "--format", "ma") == ["markdown"]
    assert complete("drift", "--format", "pro") == ["prometheus"]
    assert "dmarc-no-rua" in complete("rule", "id", "dmarc-")
    assert complete("plan", "--target", "conf", "nowhere.yaml") == []
