"""Refused differences: each stands in the plan, blocks what needs it alone, and is skipped where that is wished."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from jsonschema import Draft202012Validator
from support import ACCOUNT, HOME, House, client, merge

SCHEMA = Draft202012Validator(
    json.loads((Path(__file__).parents[1] / "schemas" / "plan.schema.json").read_text(encoding="utf-8"))
)
STATE = "state.yaml"
LETTER = f"email_template/{HOME}/letter"
FREE: dict[str, Any] = {"email_templates": {"letter": {"subject": "Hello", "text": "Hello"}}}
"""What needs nothing that is refused."""


def tag_as(arn: str, stack: str) -> None:
    client("sesv2").tag_resource(
        ResourceArn=f"arn:aws:ses:{HOME}:{ACCOUNT}:{arn}", Tags=[{"Key": "recon:stack", "Value": stack}]
    )


def domain(**values: Any) -> dict[str, Any]:
    return {"domains": {"acme.com": {"dkim": {}, **values}}}


USER: dict[str, Any] = {
    "domains": {"acme.com": {"dkim": {}, "zone": "manual"}},
    "smtp_users": {
        "news": {"from_addresses": ["*@acme.com"], "credentials": {"secretsmanager": {"name": "recon/news"}}}
    },
}


def anothers_identity(house: House) -> dict[str, Any]:
    house.seed_zone()
    house.sandbox.seed(identities=[{"names": ["acme.com"], "tags": {"recon:stack": "another"}}])
    return domain(dmarc={"p": "none"})


def anothers_set(house: House) -> dict[str, Any]:
    client("sesv2").create_configuration_set(ConfigurationSetName="main")
    tag_as("configuration-set/main", "another")
    event = {
        "matching_event_types": ["BOUNCE"],
        "event_bridge_destination": {"event_bus_arn": f"arn:aws:events:{HOME}:{ACCOUNT}:event-bus/default"},
    }
    return {"configuration_sets": {"main": {"event_destinations": {"d": event}}}}


def foreign_mx(house: House) -> dict[str, Any]:
    house.seed_zone("acme.com", {("bounce.acme.com", "MX"): ["10 mail.other.example."]})
    return domain(mail_from={"mail_from_domain": "bounce.acme.com"})


def mx_beside_ours(house: House) -> dict[str, Any]:
    house.seed_zone()
    house.settle(document := domain(mail_from={"mail_from_domain": "bounce.acme.com"}))
    house.change("bounce.acme.com", "MX", f"10 feedback-smtp.{HOME}.amazonses.com", "20 mx.example.com")
    return document


def mx_beside_a_null_mx(house: House) -> dict[str, Any]:
    house.seed_zone(foreign={})
    house.settle(document := domain(null_mx=True))
    house.change("acme.com", "MX", "0 .", "10 mx.example.com.")
    return document


def two_records(house: House) -> dict[str, Any]:
    house.seed_zone("acme.com", {("_dmarc.acme.com", "TXT"): ["v=DMARC1; p=none", "v=DMARC1; p=reject"]})
    return domain(dmarc={"p": "reject"})


def two_spf(house: House) -> dict[str, Any]:
    house.seed_zone("acme.com", {("acme.com", "TXT"): ["v=spf1 -all", "v=spf1 ~all"]})
    return domain(spf={"include": ["_spf.crm.example"]})


def name_taken(house: House) -> dict[str, Any]:
    house.seed_zone("acme.com", {("_dmarc.acme.com", "CNAME"): ["dmarc.vendor.example."]})
    return domain(dmarc={"p": "reject"})


def no_zone(house: House) -> dict[str, Any]:
    return domain()


def blocked_credential(house: House) -> dict[str, Any]:
    client("iam").create_user(UserName="news")
    for _ in range(2):
        client("iam").create_access_key(UserName="news")
    return USER


def foreign_key_of_a_user(house: House) -> dict[str, Any]:
    house.settle(USER)
    client("iam").create_access_key(UserName="news")
    return {"domains": USER["domains"]}


def set_in_use(house: House) -> dict[str, Any]:
    house.seed_zone()
    house.settle({"configuration_sets": {"main": {}}, **domain(configuration_set_name="main")})
    return domain()


def protected(house: House) -> dict[str, Any]:
    house.settle({"configuration_sets": {"main": {"protect": True}}})
    return {}


def one_way(house: House) -> dict[str, Any]:
    house.settle({"dedicated_ip_pools": {"tx": {"scaling_mode": "MANAGED"}}})
    return {"dedicated_ip_pools": {"tx": {"scaling_mode": "STANDARD"}}}


def one_list(house: House) -> dict[str, Any]:
    client("sesv2").create_contact_list(ContactListName="theirs")
    return {"contact_lists": {"news": {}}}


def unknown_set(house: House) -> dict[str, Any]:
    house.seed_zone()
    return domain(configuration_set_name="nowhere")


def rule_set_to_error(house: House) -> dict[str, Any]:
    house.seed_zone()
    return merge(domain(dmarc={"p": "reject"}), {"rules": {"dmarc-no-rua": "error"}})


class Case(NamedTuple):
    """A world, what is refused in it by its address and code, and what is skipped with that."""

    make: Callable[[House], dict[str, Any]]
    address: str
    action: str
    code: str
    also: tuple[str, ...] = ()
    """Other addresses that are not carried out, since they need it; a prefix ends with ``*``."""


IDENTITY = f"email_identity/{HOME}/acme.com"
RECORDS = "dns_record/acme.com"
CASES = [
    Case(anothers_identity, IDENTITY, "adopt", "owned-elsewhere", (f"{RECORDS}/*",)),
    Case(
        anothers_set,
        f"configuration_set/{HOME}/main",
        "adopt",
        "owned-elsewhere",
        (f"event_destination/{HOME}/main/d",),
    ),
    Case(foreign_mx, f"{RECORDS}/bounce.acme.com/MX", "update", "mx-taken"),
    Case(mx_beside_ours, f"{RECORDS}/bounce.acme.com/MX", "update", "mx-not-alone"),
    Case(mx_beside_a_null_mx, f"{RECORDS}/acme.com/MX", "update", "mx-not-alone"),
    Case(two_records, f"{RECORDS}/_dmarc.acme.com/TXT", "update", "two-dmarc"),
    Case(two_spf, f"{RECORDS}/acme.com/TXT", "update", "two-spf"),
    Case(name_taken, f"{RECORDS}/_dmarc.acme.com/TXT", "create", "cname-in-the-way"),
    Case(no_zone, "dns_record/?/token._domainkey.acme.com/CNAME", "create", "no-zone"),
    Case(blocked_credential, "smtp_credential/news", "create", "two-keys"),
    Case(foreign_key_of_a_user, "smtp_user/news", "delete", "foreign-key"),
    Case(set_in_use, f"configuration_set/{HOME}/main", "delete", "in-use"),
    Case(protected, f"configuration_set/{HOME}/main", "delete", "protect"),
    Case(one_way, f"dedicated_ip_pool/{HOME}/tx", "update", "pool-way-back"),
    Case(one_list, f"contact_list/{HOME}/news", "create", "one-list"),
    Case(unknown_set, IDENTITY, "create", "missing-reference", (f"{RECORDS}/*",)),
    Case(rule_set_to_error, f"{RECORDS}/_dmarc.acme.com/TXT", "create", "dmarc-no-rua"),
]
each = pytest.mark.parametrize("case", CASES, ids=[case.make.__name__ for case in CASES])


@each
def test_a_refused_difference_stands_in_the_plan(house: House, case: Case) -> None:
    house.write(merge(case.make(house), FREE))
    shown = house.cli("plan", STATE, "--format", "json", "--out", "plan.json")
    assert shown.code == 3
    found = shown.json
    SCHEMA.validate(found)
    assert found == json.loads((house.home / "plan.json").read_text(encoding="utf-8"))
    change = next(c for c in found["changes"] if c["address"] == case.address)
    assert (change["action"], change["refused"]["code"]) == (case.action, case.code)
    assert change["refused"]["message"]
    assert change["refused"]["hint"]
    refused = [c for c in found["changes"] if c["refused"]]
    assert found["summary"]["refused"] == len(refused)
    assert sum(found["summary"].values()) == len(found["changes"])
    assert next(c for c in found["changes"] if c["address"] == LETTER)["refused"] is None
    assert house.cli("plan", STATE, "--detailed-exitcode").code == 3


@each
def test_every_format_says_it(house: House, case: Case) -> None:
    house.write(merge(case.make(house), FREE))
    found = house.cli("plan", STATE, "--format", "json", "--out", "plan.json").json
    message = next(c for c in found["changes"] if c["address"] == case.address)["refused"]["message"]
    text = house.cli("show", "plan.json").out
    count = found["summary"]["refused"]
    assert text.splitlines()[-1].endswith(f", {count} refused.")
    assert f"refused: {message}" in text
    assert f"{count} change{'s are' if count > 1 else ' is'} refused" in text
    for format in ("markdown", "html"):
        page = house.cli("show", "plan.json", "--format", format).out
        assert f"{count} refused" in page
        assert case.code in page


@each
def test_drift_counts_it(house: House, case: Case) -> None:
    house.write(merge(case.make(house), FREE))
    ran = house.cli("drift", STATE, "--format", "json", "--metrics", "drift.prom")
    assert ran.code == 2
    assert "heartbeat" not in {d["code"] for d in ran.json["diagnostics"]}
    kind = case.address.partition("/")[0]
    count = sum(1 for c in ran.json["changes"] if c["kind"] == kind and c["refused"])
    assert f'kind="{kind}",action="refused"}} {count}\n' in (house.home / "drift.prom").read_text(encoding="utf-8")


@each
def test_apply_writes_nothing_or_skips_it(house: House, case: Case) -> None:
    house.write(merge(case.make(house), FREE))
    house.clear()
    assert house.cli("apply", STATE, "--auto-approve", "--allow-adopt", "--format", "json").code == 3
    assert house.writes() == []
    whole = house.cli("plan", STATE, "--format", "json", "--out", "plan.json").json
    options = ("--auto-approve", "--allow-adopt", "--skip-refused", "--format", "json")
    ran = house.cli("apply", STATE, *options)
    assert ran.code == 3, ran
    SCHEMA.validate(ran.json)
    assert ran.json["outcome"] == "partial"
    ended = {one["address"]: one for one in ran.json["applied"]}
    assert ended.keys() == {c["address"] for c in whole["changes"]}
    assert ended[LETTER]["status"] == "done"
    assert ended[case.address]["status"] == "skipped"
    assert ended[case.address]["message"].startswith("refused: ")
    skipped = {address for address, one in ended.items() if one["status"] == "skipped"}
    refused = {c["address"] for c in whole["changes"] if c["refused"]}
    for address in skipped - refused:
        assert "needs " in ended[address]["message"]
        assert any(address == one or (one.endswith("*") and address.startswith(one[:-1])) for one in case.also), address
    assert {one["status"] for one in ended.values()} == {"done", "skipped"}
    house.clear()
    again = house.cli("apply", STATE, *options)
    assert (again.code, again.json["outcome"]) == (3, "refused")
    assert house.writes() == []
    assert f"{len(refused)} refused" in house.cli("history", STATE).out


@each
def test_a_saved_plan_is_applied_without_it(house: House, case: Case) -> None:
    house.write(merge(case.make(house), FREE))
    house.cli("plan", STATE, "--out", "plan.json")
    house.clear()
    assert house.cli("apply", "plan.json").code == 3
    assert house.writes() == []
    ran = house.cli("apply", "plan.json", "--skip-refused", "--format", "json")
    assert (ran.code, ran.json["outcome"]) == (3, "partial")
    assert house.plan(targets=(LETTER,)).outcome == "no_changes"


@each
def test_a_target_that_does_not_need_it_goes_on(house: House, case: Case) -> None:
    house.write(merge(case.make(house), FREE))
    ran = house.cli("apply", STATE, "--auto-approve", "--target", LETTER, "--format", "json")
    assert (ran.code, ran.json["outcome"]) == (0, "applied")
    assert house.cli("apply", STATE, "--auto-approve", "--allow-adopt", "--target", case.address).code == 3
