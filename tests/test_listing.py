"""Commands that only say what there is: list, rule, the help, and the graph of a large state."""

from __future__ import annotations

import pytest
from support import HOME, House

from reconciler.renderers.graph import graph
from reconciler.rules import all_rules


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
    assert all(address in graph(nodes, "dot") for address in nodes)
