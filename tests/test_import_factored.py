"""What import writes is what a person would have written: like entries share a class, their own name is a variable."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from support import House

from reconciler.importing.factoring import factor

Document = dict[str, Any]


def tenants(*names: str) -> Document:
    """Domains below acme.com with a configuration set each, and two that are no tenants."""
    domains: Document = {
        "acme.com": {"dmarc": {"p": "reject"}, "configuration_set_name": "own"},
        "mail.acme.com": {"dmarc": {"p": "none"}, "email_forwarding_enabled": False},
    }
    sets: Document = {"own": {}}
    for name in names:
        domains[f"{name}.acme.com"] = {
            "mail_from": {"mail_from_domain": f"bounce.{name}.acme.com"}, "configuration_set_name": f"t-{name}",
            "dmarc": {"p": "quarantine", "rua": [f"mailto:{name}@acme.com"]}, "tags": {"tenant": name},
        }  # fmt: skip
        sets[f"t-{name}"] = {
            "delivery_options": {"tls_policy": "REQUIRE"}, "suppression_options": {"suppressed_reasons": ["BOUNCE"]},
            "tags": {"tenant": name},
        }  # fmt: skip
    return {"domains": domains, "configuration_sets": sets}


NAMES = ("shop", "news", "acme", "a", "x-y", "bounce", "mailto", "t")


def test_like_tenants_are_one_class_and_a_line_each(house: House) -> None:
    house.seed_zone()
    house.settle(tenants(*NAMES))
    ran = house.cli("import", "--stack", "acme", "--out", "live.yaml")
    assert ran.code == 0
    text = (house.home / "live.yaml").read_text()
    found = yaml.safe_load(text)
    assert found["domains"]["shop.acme.com"] == {"class": "tenant", "vars": {"tenant": "shop"}}
    assert found["configuration_sets"]["t-shop"] == {"class": "tenant", "vars": {"tenant": "shop"}}
    shared = found["classes"]["tenant"]
    assert shared["domain"]["configuration_set_name"] == "t-${tenant}"
    assert shared["domain"]["dmarc"] == {"p": "quarantine", "rua": ["mailto:${tenant}@acme.com"]}
    assert shared["domain"]["mail_from"]["mail_from_domain"] == "bounce.${domain}"
    assert shared["configuration_set"]["delivery_options"]["tls_policy"] == "REQUIRE"
    for name in NAMES:  # also where the name is a word of the values themselves
        assert found["domains"][f"{name}.acme.com"] == {"class": "tenant", "vars": {"tenant": name}}
        assert found["configuration_sets"][f"t-{name}"] == {"class": "tenant", "vars": {"tenant": name}}
    assert "class" not in found["domains"]["mail.acme.com"]
    assert "  shop.acme.com: {class: tenant, vars: {tenant: shop}}\n" in text
    assert house.cli("plan", "live.yaml", "--detailed-exitcode").code == 0


@pytest.mark.parametrize("count", [1, 2])
def test_a_few_alike_are_written_out(house: House, count: int) -> None:
    house.seed_zone()
    house.settle(tenants(*NAMES[:count]))
    found = yaml.safe_load(house.cli("import", "--stack", "acme").out)
    assert "classes" not in found
    assert found["domains"]["shop.acme.com"]["configuration_set_name"] == "t-shop"


def names_of(entries: Document) -> set[str]:
    return {values.get("class", "") for values in entries.values()}


@pytest.mark.parametrize(
    ("make", "classes"),
    [
        (lambda n: {"dmarc": {"p": "none"}, "ttl": 60}, {"tenant"}),
        (lambda n: {"configuration_set_name": "main" if n < 6 else f"s{n}", "ttl": 60}, {"main", ""}),
        (lambda n: {"ttl": 60}, {""}),  # one key saves nothing
        (lambda n: {"dmarc": {"p": "none"}, "ttl": n}, {""}),
        (lambda n: {"dmarc": {"p": "none"}, "ttl": n % 2}, {"tenant", "tenant-2"}),
        (lambda n: {"dmarc": {"p": "none"}, "ttl": 60, "zone": "auto" if n < 7 else "manual"}, {"tenant"}),
        (lambda n: {"dmarc": {"p": "none"}, "ttl": 60 if n else 61, "zone": "auto" if n else "manual"}, {"tenant", ""}),
        (lambda n: {"identity": False, "dmarc": {"p": "none"}, "ttl": 60}, {""}),
        (lambda n: {"dmarc": {"p": "none"}, "ttl": 60, "unmanaged": ["dmarc"]}, {""}),
    ],
)
def test_what_makes_a_class(make: Any, classes: set[str]) -> None:
    entries = {("domains", f"d{number}.example"): make(number) for number in range(8)}
    found = factor(entries, classes=True)
    assert names_of({name: values for (_, name), values in found.entries.items()}) == classes
    assert set(found.classes) == classes - {""}
    assert factor(entries, classes=False).classes == {}
