"""`zone: [Z1, Z2]`: a move between name servers, and hosted zones of one name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from support import House, client, killed_before, words

from reconciler.model import Plan

OWN: dict[str, Any] = {
    "dkim": {},
    "mail_from": {"mail_from_domain": "bounce.acme.com"},
    "dmarc": {"p": "reject"},
    "spf": {"include": ["crm.example"]},
    "bimi": {"l": "https://acme.com/l.svg"},
}
PARKED: dict[str, Any] = {"identity": False, "dmarc": {"p": "reject"}, "spf": {"all": "-all"}, "null_mx": True}
TRACKED = {"main": {"tracking_options": {"custom_redirect_domain": "click.acme.com"}}}
NO_MAIL: dict[tuple[str, str], list[str]] = {("acme.com", "TXT"): ["MS=ms1"], ("www.acme.com", "A"): ["192.0.2.1"]}


def at(zone: str | list[str], own: Mapping[str, Any] = OWN, **more: Any) -> dict[str, Any]:
    return {"domains": {"acme.com": {**own, "zone": zone}}, **more}


def records(house: House, zone: str) -> dict[tuple[str, str], list[str]]:
    """What a zone holds besides its own records and the marker."""
    found = house.zone(zone_id=zone)
    return {key: sorted(v) for key, v in found.items() if key[1] not in ("NS", "SOA") and "_recon." not in key[0]}


def codes(plan: Plan) -> set[str]:
    return {d.code for d in plan.diagnostics} | {n.rule for c in plan.changes for n in c.notes}


@pytest.fixture
def zones(house: House) -> tuple[str, str]:
    """The zone that resolvers ask, and the one that is moved to."""
    return house.seed_zone(foreign=NO_MAIL, delegated=True), house.seed_zone(foreign=NO_MAIL)


@pytest.mark.parametrize(
    "document", [(OWN, {"configuration_sets": TRACKED}), (PARKED, {})], ids=["sends", "never sends"]
)
def test_a_move_writes_both_zones_and_ends_in_the_new_one(
    house: House, zones: tuple[str, str], document: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    (old, new), (own, more) = zones, document
    house.settle(at(old, own, **more))
    before = records(house, old)
    house.settle(at([old, new], own, **more))
    assert records(house, old) == records(house, new) == before
    house.check_foreign()
    house.settle(at(new, own, **more))
    assert records(house, new) == before
    house.check_foreign()
    assert {key for key, values in house.zone(zone_id=old).items() if "recon" in str((key, values))} == set()
    assert records(house, old) == {key: [f'"{v}"' if key[1] == "TXT" else v for v in vs] for key, vs in NO_MAIL.items()}
    house.destroy()
    house.check_foreign(alone=True)


@pytest.mark.parametrize("gone", ["entry", "all"])
def test_what_goes_while_two_zones_are_listed_goes_from_both(house: House, zones: tuple[str, str], gone: str) -> None:
    house.settle(at([*zones], configuration_sets=TRACKED))
    if gone == "entry":
        house.settle({"configuration_sets": {"main": {}}})
    house.destroy()
    house.check_foreign(alone=True)


def test_each_part_taken_out_goes_from_both_zones(house: House, zones: tuple[str, str]) -> None:
    house.settle(at([*zones]))
    for part in ("bimi", "spf", "dmarc"):
        left = {key: value for key, value in OWN.items() if key != part}
        house.settle(at([*zones], left))
        one, other = (records(house, zone) for zone in zones)
        assert one == other
    house.settle(at([*zones], {**OWN, "mail_from": {"mail_from_domain": "m.acme.com"}}))
    for zone in zones:
        assert ("m.acme.com", "MX") in records(house, zone)
        assert ("bounce.acme.com", "MX") not in records(house, zone)


def test_parts_and_a_zone_are_taken_out_at_once(house: House, zones: tuple[str, str]) -> None:
    old, new = zones
    house.settle(at([old, new]))
    house.settle(at(new, {"dkim": {}, "mail_from": {"mail_from_domain": "m.acme.com"}}))
    assert {name for name, _ in records(house, old)} == {name for name, _ in NO_MAIL}
    house.destroy()
    house.check_foreign(alone=True)


def test_the_copy_that_somebody_made_before_is_ours_from_now_on(house: House, zones: tuple[str, str]) -> None:
    old, new = zones
    house.settle(at(old))
    for (name, kind), values in records(house, old).items():
        if (name, kind) not in NO_MAIL:
            house.change(name, kind, *values, zone=new)
    plan = house.plan(at([old, new]))
    assert {c.action for c in plan.changes if "/_recon." not in c.address} <= {"adopt", "create", "update"}
    house.settle(at([old, new]))
    house.settle(at(old))
    assert ("_dmarc.acme.com", "TXT") not in records(house, new)


def test_addresses_name_each_zone_and_stay(house: House, zones: tuple[str, str]) -> None:
    old, new = zones
    plan = house.plan(at([old, new]))
    addresses = [c.address for c in plan.changes if c.kind == "dns_record"]
    assert len(addresses) == len(set(addresses))
    ours = {a.split("/", 2)[2] for a in addresses if a.startswith("dns_record/acme.com/")}
    theirs = {a.split("/", 2)[2] for a in addresses if a.startswith(f"dns_record/{new}/")}
    assert ours == theirs
    assert "acme.com:dkim:us-east-1:1/CNAME" in ours
    house.settle(at([old, new]))
    house.change("_dmarc.acme.com", "TXT", '"v=DMARC1; p=none"', zone=new)
    target = f"dns_record/{new}/_dmarc.acme.com/TXT"
    ran = house.cli("drift", "state.yaml", "--format", "json")
    assert ran.code == 2
    assert [c["address"] for c in ran.json["changes"]] == [target]
    ran = house.cli("apply", "state.yaml", "--auto-approve", "--target", target)
    assert ran.code == 0, ran
    house.quiet()


def test_a_saved_plan_is_applied_to_both_zones(house: House, zones: tuple[str, str]) -> None:
    house.write(at([*zones]))
    assert house.cli("plan", "state.yaml", "--out", "p.json").code == 0
    assert house.cli("apply", "p.json", "--auto-approve").code == 0
    assert records(house, zones[0]) == records(house, zones[1])


def test_one_zone_may_be_dns_elsewhere(house: House, zones: tuple[str, str]) -> None:
    old, new = zones
    house.settle(at(old))
    house.settle(at(["manual", new], {**OWN, "dkim": {}}))
    assert ("_dmarc.acme.com", "TXT") in records(house, new)
    shown = house.cli("records", "state.yaml", "--format", "json").json["records"]
    assert {one["name"] for one in shown} > {"_dmarc.acme.com", "bounce.acme.com"}
    house.settle(at(new))
    assert ("_dmarc.acme.com", "TXT") in records(house, new)


def test_records_and_doctor_name_each_record_once(house: House, zones: tuple[str, str]) -> None:
    house.settle(at([*zones]))
    shown = house.cli("records", "--all", "state.yaml", "--format", "json").json["records"]
    names = [(one["name"], one["type"], one["value"]) for one in shown]
    assert len(names) == len(set(names)) == 8


def test_a_refusal_in_one_zone_is_about_that_zone(house: House, zones: tuple[str, str]) -> None:
    old, new = zones
    house.change("bounce.acme.com", "MX", "10 mail.example.", zone=new)
    plan = house.plan(at([old, new]))
    assert [c.address for c in plan.changes if c.refused] == [f"dns_record/{new}/bounce.acme.com/MX"]


@pytest.mark.parametrize("known", ["parent", "unknown"])
def test_records_are_not_deleted_from_the_zone_that_resolvers_ask(house: House, known: str) -> None:
    parent = house.seed_zone("example.com", foreign={})
    old, new = (house.seed_zone("acme.example.com", foreign={}) for _ in range(2))
    if known == "parent":
        servers = client("route53").get_hosted_zone(Id=old)["DelegationSet"]["NameServers"]
        house.change("acme.example.com", "NS", *(f"{one}." for one in servers), zone=parent)

    def there(*zone: str) -> dict[str, Any]:
        return {"domains": {"acme.example.com": {"identity": False, "dmarc": {"p": "reject"}, "zone": [*zone]}}}

    plan = house.settle(there(old, new))
    plan = house.plan(there(old, new))
    told = [d for d in plan.diagnostics if d.code == "dns-several-zones"]
    assert len(told) == 1
    assert (f"resolvers ask {old}, not {new}" in told[0].message) == (known == "parent")
    plan = house.plan(there(new))
    assert ("dns-zone-in-use" in codes(plan)) == (known == "parent"), [words(c) for c in plan.changes]
    assert "zone-left" in codes(plan)


def test_killed_at_any_write_nothing_is_forgotten(house: House, zones: tuple[str, str]) -> None:
    old, new = zones
    for nth in (1, 2, 3, 4):
        with killed_before(nth):
            house.apply(at([old, new], PARKED), parallelism=1)
        house.settle(at([old, new], PARKED))
        with killed_before(nth):
            house.apply(at(new, PARKED), parallelism=1)
        house.settle(at(new, PARKED))
        assert {name for name, _ in records(house, old)} == {name for name, _ in NO_MAIL}
        assert "_dmarc.acme.com" in {name for name, _ in records(house, new)}
    house.check_foreign()


def test_public_dns_says_which_zone_is_asked(
    house: House, zones: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = zones
    monkeypatch.setenv("RECON_RESOLVER", "{}:{}".format(*house.sandbox.serve_dns()))
    house.settle(at([old, new]))
    ran = house.cli("doctor", "state.yaml", "--format", "json")
    asked = [c for c in ran.json["checks"] if f"resolvers ask {old}, not {new}" in c["message"]]
    assert [c["status"] for c in asked] == ["ok"]
    house.write(at(new))
    found = [c for c in house.cli("doctor", "state.yaml", "--format", "json").json["checks"] if c["status"] == "found"]
    assert [f"for acme.com, not {new}, which the YAML names" in c["message"] for c in found] == [True]
    plan = house.cli("plan", "state.yaml", "--check-public-dns", "--format", "json").json
    assert "dns-undelegated" in {d["code"] for d in plan["diagnostics"]}
    # SES has verified the domain, although it has sent nothing since yesterday.
    assert plan["outcome"] == "refused" and plan["summary"]["refused"] == 8
    refused = {c["address"]: c["refused"]["code"] for c in plan["changes"] if c["refused"]}
    assert {*refused.values()} == {"dns-zone-in-use"}
    unsure = house.cli("plan", "state.yaml", "--format", "json").json
    told = {c["address"]: str(c["notes"]) for c in unsure["changes"] if c["address"] in refused}
    assert unsure["summary"]["refused"] == 0
    assert all("run it with --check-public-dns" in text for text in told.values()), told
    before = house.zone(zone_id=old)
    assert house.cli("apply", "state.yaml", "--check-public-dns", "--auto-approve", "--skip-refused").code == 3
    assert house.zone(zone_id=old) == before


def test_offline_plan_graph_and_policy_know_the_list(house: House, zones: tuple[str, str]) -> None:
    old, new = zones
    house.write(at([old, new]))
    listed = house.cli("graph", "state.yaml", "--format", "text")
    assert listed.code == 0
    assert f"dns_record/{new}/_dmarc.acme.com/TXT" in listed.out
    policy = house.cli("iam-policy", "apply", "state.yaml").json
    resources = {r for s in policy["Statement"] if "route53:ChangeResourceRecordSets" in s["Action"] for r in
                 ([s["Resource"]] if isinstance(s["Resource"], str) else s["Resource"])}  # fmt: skip
    assert resources == {f"arn:aws:route53:::hostedzone/{zone}" for zone in zones}


@pytest.mark.parametrize(
    ("zone", "says"),
    [
        (["auto", "Z0123456789ABC"], "auto names one zone"),
        (["Z0123456789ABC", "Z0123456789ABC"], "is named twice"),
        (["Z0123456789ABC", "acme.com"], "neither auto nor manual"),
        ([], "zone"),
    ],
)
def test_bad_lists(house: House, zone: list[str], says: str) -> None:
    house.write(at(zone))
    ran = house.cli("validate", "state.yaml")
    assert ran.code == 1
    assert says in ran.err + ran.out


def test_a_list_of_one_is_that_zone(house: House, zones: tuple[str, str]) -> None:
    house.settle(at([zones[1]]))
    assert not any("zones=" in v for (n, _), vs in house.zone(zone_id=zones[1]).items() if "_recon" in n for v in vs)
    assert house.settle(at(zones[1])).changes == ()
