"""What a plan says first: what it causes and fixes beside the change, what stands in one line."""

from __future__ import annotations

import json
from typing import Any

import pytest
import support

SET = "configuration_set/us-east-1/main"
RECORD = "dns_record/acme.com/_dmarc.acme.com/TXT"


def world(**dmarc: Any) -> dict[str, Any]:
    """A domain whose DMARC policy asks for no reports, and a set without destinations."""
    return {
        "domains": {"acme.com": {"dkim": {"signing_attributes_origin": "AWS_SES"}, "dmarc": dmarc}},
        "configuration_sets": {"main": {"delivery_options": {"tls_policy": "REQUIRE"}}},
    }


def seeded(house: support.House) -> support.House:
    def make() -> None:
        house.seed_zone()
        house.settle(world(p="quarantine"))

    house.once("a policy without reports", make)
    return house


def plan(house: support.House, document: dict[str, Any], *more: str) -> tuple[dict[str, Any], str]:
    house.write(document)
    found = house.cli("plan", "state.yaml", "--format", "json", *more)
    return json.loads(found.out), house.cli("plan", "state.yaml", *more).out


def test_what_stands_is_one_line(house: support.House) -> None:
    found, text = plan(seeded(house), world(p="quarantine"))
    rules = {(one["code"], one["address"]) for one in found["diagnostics"] if one.get("stands")}
    assert ("dmarc-no-rua", RECORD) in rules
    assert "dmarc-no-rua" not in text and "findings stand: " in text and "-v or --findings shows them" in text
    for option in ("-v", "--findings"):
        assert "[dmarc-no-rua]" in house.cli("plan", "state.yaml", option).out
    # the same in drift, which is clean
    drift = house.cli("drift", "state.yaml")
    assert drift.code == 0 and "findings stand: " in drift.out and "dmarc-no-rua" not in drift.out
    assert len(drift.out.splitlines()) < 8


def test_what_a_plan_fixes_stands_beside_the_change(house: support.House) -> None:
    found, text = plan(seeded(house), world(p="quarantine", rua=["mailto:dmarc@acme.com"]))
    (change,) = found["changes"]
    assert change["address"] == RECORD
    assert [n["message"].split(":")[0] for n in change["notes"] if n["rule"] == "fixed"] == ["fixes dmarc-no-rua"]
    assert "fixes dmarc-no-rua: " in text
    assert not [one for one in found["diagnostics"] if one["code"] == "dmarc-no-rua"]


def test_what_a_plan_causes_stands_beside_the_change(house: support.House) -> None:
    found, text = plan(seeded(house), world(p="quarantine", pct=50))
    (change,) = found["changes"]
    caused = {n["rule"] for n in change["notes"] if not n.get("stands")}
    assert "dmarc-pct" in caused and all(f"[{rule}]" in text for rule in caused), change["notes"]
    # the one that stood is about the same record, and is not shown there
    assert "dmarc-no-rua" in {n["rule"] for n in change["notes"] if n.get("stands")}
    assert "dmarc-no-rua" not in text


USER = {"from_addresses": ["*@acme.com"], "credentials": {"secretsmanager": {"name": "mail/news"}}}
ROLE = {"trust": {"oidc": {"provider": "token.actions.githubusercontent.com",
                           "subject": "repo:acme@1/app@2:ref:refs/heads/main"}}, "from_addresses": ["a@acme.com"],
        "identities": ["acme.com"]}  # fmt: skip
DOMAIN = {"dkim": {"signing_attributes_origin": "AWS_SES"}, "dmarc": {"p": "reject"}}


@pytest.mark.parametrize(
    ("was", "now", "rule"),
    [
        (
            {"smtp_users": {"news": {**USER, "source_ips": ["192.0.2.0/24"], "identities": ["acme.com"]}}},
            {"smtp_users": {"news": {**USER, "identities": ["acme.com"]}}}, "smtp-any-network",
        ),
        (
            {"smtp_users": {"news": {**USER, "identities": ["acme.com"]}}}, {"smtp_users": {"news": USER}},
            "smtp-any-identity",
        ),
        (
            {"sending_roles": {"ci": ROLE}},
            support.merge({"sending_roles": {"ci": ROLE}}, {"sending_roles": {"ci": {"trust": {"oidc": {
                "subject": "repo:acme@1/app@2:*"}}}}}), "role-wide-subject",
        ),
        ({}, {"domains": {"acme.com": {"ttl": 172_800}}}, "dns-long-ttl"),
        ({}, {"domains": {"acme.com": {"bimi": {"l": "https://acme.com/a.svg"}}}}, "bimi-no-certificate"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_an_entry_says_anew_is_caused(
    house: support.House, was: dict[str, Any], now: dict[str, Any], rule: str
) -> None:
    """Rules that read the YAML: before, it said what is live."""
    house.once("a zone", lambda: house.seed_zone())
    base = {"domains": {"acme.com": DOMAIN}}
    house.settle(support.merge(base, was))
    document = support.merge(base, now)
    for stands in (False, True):
        found, _ = plan(house, document)
        notes = [n for c in found["changes"] for n in c["notes"]] + found["diagnostics"]
        told = [bool(n.get("stands")) for n in notes if n.get("rule", n.get("code")) == rule]
        assert told == [stands], (rule, notes)
        house.settle(document)


def test_findings_about_what_is_new_are_caused(house: support.House) -> None:
    more = world(p="quarantine")
    more["domains"]["acme.net"] = {"zone": "manual", "dkim": {"signing_attributes_origin": "AWS_SES"}}
    more["configuration_sets"]["other"] = {}
    found, text = plan(seeded(house), more)
    new = [n for c in found["changes"] if c["action"] == "create" for n in c["notes"]]
    assert new and not [n for n in new if n.get("stands")]
    assert not [d for d in found["diagnostics"] if d.get("stands") and "acme.net" in d["address"]], text


def test_the_same_in_two_regions_is_told_once(house: support.House) -> None:
    regions = ["us-east-1", "eu-west-1"]
    more = {
        **world(p="quarantine"),
        "sns_topics": {
            "events": {"regions": regions, "publishers": ["ses"], "subscriptions": [
                {"protocol": "sqs", "endpoint": "arn:aws:sqs:${region}:111122223333:events"}]},
            "ops": {"regions": regions, "display_name": "Ops"},
        },
    }  # fmt: skip
    _, text = plan(seeded(house), more)
    lines = [line.strip() for line in text.splitlines()]
    assert sum(line.startswith("+ 2 x sns_topic ") for line in lines) == 2, text
    assert sum(line.startswith("+ 2 x sns_subscription ") for line in lines) == 1, text
    assert all(f"sns_topic/{region}/{name}" in lines for region in regions for name in ("events", "ops")), text


def wrapped_at_words(text: str, words: set[str], room: int) -> bool:
    """Whether a word of ``text`` that is not one of ``words`` is a part of one that does not fit on a line."""
    long = [word for word in words if len(word) > room]
    return all(word in words or any(word in one for one in long) for word in text.split())


def manual(count: int) -> dict[str, Any]:
    """Domains in DNS that recon does not hold, where nobody has published anything."""
    one = {
        "zone": "manual", "dkim": {"signing_attributes_origin": "AWS_SES"}, "dmarc": {"p": "reject"},
        "mail_from": {"mail_from_domain": "bounce.${domain}"},
    }  # fmt: skip
    return {"domains": {f"t{number:02}.example": one for number in range(1, count + 1)}}


def test_doctor_has_one_line_for_one_cause(house: support.House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.apply(manual(12), wait_for_ses=False)
    house.write(manual(12))
    host, port = house.sandbox.serve_dns()
    options = ("doctor", "state.yaml", "--resolver", f"{host}:{port}")
    ran = house.cli(*options)
    lines = ran.out.splitlines()
    assert ran.code == 2 and len(lines) < 24, ran.out
    assert (
        lines[0].startswith("Fix this first: dns: t01.example has no name servers")
        and "the same for 11 other domains" in lines[0]
    )
    assert "t01.example, t02.example, t03.example and 9 more" in ran.out
    whole = house.cli(*options, "-v").out
    assert all(f"t{number:02}.example" in whole for number in range(1, 13))
    # text is wrapped at words, at any width
    words = set(ran.out.split())
    for width in (30, 40, 60, 80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        narrow = house.cli(*options).out
        assert all(len(line) <= width for line in narrow.splitlines()), narrow
        assert wrapped_at_words(narrow, words, width - 25), narrow


@pytest.mark.parametrize("width", [24, 40, 80, 120])
def test_what_validate_says_is_wrapped_at_words(
    house: support.House, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    house.write({"domains": {"acme.com": {"configuration_set_name": "gone", "dmarc": {"p": "nonsense"}, "ttl": -1}}})
    plain = house.cli("validate", "state.yaml").err
    monkeypatch.setenv("COLUMNS", str(width))
    narrow = house.cli("validate", "state.yaml").err
    assert len(plain.split()) > 20 and (width > 80 or len(narrow.splitlines()) > len(plain.splitlines()))
    whole = set(plain.split())
    for line in narrow.splitlines():
        assert len(line) <= width or len(line.split()) < 3, line
    assert wrapped_at_words(narrow, whole, width - 16), narrow
