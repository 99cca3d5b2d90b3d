"""Records: each tag and term created, changed, taken out; zones that must not be touched; what others keep there."""

from __future__ import annotations

from typing import Any

import pytest
from support import HOME, OTHER, House, client, lines, told, words

from reconciler.model import Change, Plan

DMARC = "dns_record/acme.com/_dmarc.acme.com/TXT"
APEX = "dns_record/acme.com/acme.com/TXT"
BIMI = "dns_record/acme.com/default._bimi.acme.com/TXT"
MX = "dns_record/acme.com/acme.com/MX"
OTHERS_AT_APEX = ['"MS=ms99887766"', '"google-site-verification=abc123"']


def domain(**values: Any) -> dict[str, Any]:
    return {"domains": {"acme.com": {"dkim": {}, **values}}}


def only(plan: Plan, address: str) -> Change:
    """The one change of a plan, besides markers and owners' tags."""
    real = [c for c in plan.changes if "/_recon." not in c.address and lines(c)]
    assert [c.address for c in real] == [address], "\n".join(map(words, plan.changes))
    return real[0]


def codes(plan: Plan) -> list[str]:
    return [d.code for d in plan.diagnostics if d.severity == "error"]


def refused(house: House, document: dict[str, Any], code: str, *mentions: str) -> None:
    """The plan refuses with ``code`` and says what to do; applying it writes nothing; nobody's value moves."""
    before = house.raw_foreign()
    plan = house.plan(document)
    assert plan.outcome == "refused"
    found = [d for d in plan.diagnostics if d.code == code]
    assert found, codes(plan)
    assert found[0].hint
    assert found[0].line
    for text in mentions:
        assert text in found[0].message + found[0].hint
    house.clear()
    ran = house.cli("apply", "state.yaml", "--auto-approve")
    assert ran.code == 3
    assert house.writes() == []
    assert house.raw_foreign() == before


# --- DMARC ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "a", "b", "shown_a", "shown_b"),
    [
        ("p", "none", "quarantine", "none", "quarantine"),
        ("sp", "none", "reject", "none", "reject"),
        ("np", "reject", "quarantine", "reject", "quarantine"),
        ("adkim", "r", "s", "r", "s"),
        ("aspf", "r", "s", "r", "s"),
        ("t", "n", "y", "n", "y"),
        ("psd", "n", "y", "n", "y"),
        ("fo", "1", "d", "1", "d"),
        (
            "rua",
            ["mailto:a@acme.com"],
            ["mailto:b@acme.com", "mailto:c@acme.com"],
            "mailto:a@acme.com",
            "mailto:b@acme.com,mailto:c@acme.com",
        ),
        ("ruf", "mailto:a@acme.com", "mailto:b@acme.com", "mailto:a@acme.com", "mailto:b@acme.com"),
    ],
)
def test_dmarc_tag(house: House, tag: str, a: Any, b: Any, shown_a: Any, shown_b: Any) -> None:
    base = {"p": "none", **({"ruf": "mailto:x@acme.com"} if tag == "fo" else {})}
    house.seed_zone()
    house.settle(domain(dmarc={**base, tag: a}))
    assert f"{tag}={shown_a}" in house.dns("_dmarc.acme.com")[0]
    change = only(house.plan(domain(dmarc={**base, tag: b})), DMARC)
    assert lines(change) == {tag: (shown_a, shown_b)}
    house.settle()
    assert f"{tag}={shown_b}" in house.dns("_dmarc.acme.com")[0]
    if tag != "p":
        change = only(house.plan(domain(dmarc=base)), DMARC)
        assert lines(change) == {tag: (shown_b, None)}
        house.settle()
        assert f"{tag}=" not in house.dns("_dmarc.acme.com")[0].replace("v=DMARC1; p=", "")
    house.check_foreign()


def test_dmarc_written_raw_equals_dmarc_written_as_tags(house: House) -> None:
    house.seed_zone()
    house.settle(domain(dmarc="v=DMARC1; p=reject; rua=mailto:a@acme.com; sp=none"))
    assert house.dns("_dmarc.acme.com")[0] == "v=DMARC1; p=reject; sp=none; rua=mailto:a@acme.com"
    house.write(domain(dmarc={"p": "reject", "sp": "none", "rua": ["mailto:a@acme.com"]}))
    house.quiet()


def test_dmarc_taken_out_is_a_delete_and_keeps_the_neighbour(house: House) -> None:
    house.seed_zone()
    house.settle(domain(dmarc={"p": "none"}))
    assert house.dns("_dmarc.acme.com") == ["v=DMARC1; p=none", "vendor-token=zzz"]
    change = only(house.plan(domain()), DMARC)
    assert change.action == "delete"
    assert lines(change)["p"] == ("none", None)
    house.settle()
    assert house.dns("_dmarc.acme.com") == ["vendor-token=zzz"]
    house.check_foreign()


def test_a_live_dmarc_is_taken_over_as_an_ordinary_update(house: House) -> None:
    house.seed_zone()
    house.change(
        "_dmarc.acme.com",
        "TXT",
        '"vendor-token=zzz"',
        '"v=DMARC1; p=quarantine; ruf=mailto:owner@acme.com; fo=1"',
        ttl=900,
    )
    change = only_dns(house.plan(domain(dmarc={"p": "quarantine"})))[DMARC]
    assert change.action == "update"
    assert lines(change) == {"ruf": ("mailto:owner@acme.com", None), "fo": ("1", None)}
    assert change.before is not None
    assert "owner@acme.com" in change.before["value"]
    house.settle()
    assert house.dns("_dmarc.acme.com") == ["v=DMARC1; p=quarantine", "vendor-token=zzz"]
    raw = next(r for r in house.raw_zone() if r["Name"] == "_dmarc.acme.com.")
    assert raw["TTL"] == 900


def only_dns(plan: Plan) -> dict[str, Change]:
    return {c.address: c for c in plan.changes if c.kind == "dns_record" and "/_recon." not in c.address}


@pytest.mark.parametrize(
    "value",
    [
        '"v=DMARC1;p=none;rua=mailto:a@acme.com"',
        '"v=DMARC1 ; p = none ; rua = mailto:a@acme.com ;"',
        '"v=DMARC1; p=NONE; rua=mailto:a@acme.com"',
        '"v=DMARC1; rua=mailto:a@acme.com; p=none"',
        '"v=DMARC1; p=none; " "rua=mailto:a@acme.com"',
        r'"v=DMARC1\073 p=none\073 rua=mailto:a@acme.com"',
    ],
)
def test_dmarc_in_other_clothes_is_no_change(house: House, value: str) -> None:
    house.seed_zone()
    house.change("_dmarc.acme.com", "TXT", '"vendor-token=zzz"', value)
    house.settle(domain(dmarc={"p": "none", "rua": "mailto:a@acme.com"}))
    assert value in house.zone()["_dmarc.acme.com", "TXT"]


@pytest.mark.parametrize(
    "value",
    [
        '"v=DMARC1; p=none; rua=mailto:A@acme.com; pct=50"',
        '"v=DMARC1; p=none; rua=mailto:b@acme.com"',
        '"v=DMARC1; p=quarantine; rua=mailto:a@acme.com"',
        '"v=DMARC1; p=none"',
        '"v=dmarc1; p=none; rua=mailto:a@acme.com"',
    ],
)
def test_dmarc_of_another_meaning_always_shows(house: House, value: str) -> None:
    house.seed_zone()
    house.change("_dmarc.acme.com", "TXT", value)
    house.settle(domain())
    plan = house.plan(domain(dmarc={"p": "none", "rua": "mailto:a@acme.com"}))
    change = only_dns(plan)[DMARC]
    assert change.action == "update"
    assert lines(change)
    house.settle()
    assert house.dns("_dmarc.acme.com") == ["v=DMARC1; p=none; rua=mailto:a@acme.com"]


def test_two_dmarc_records_are_refused_with_what_to_do(house: House) -> None:
    house.seed_zone()
    house.change("_dmarc.acme.com", "TXT", '"v=DMARC1; p=none"', '"v=DMARC1; p=reject"')
    refused(house, domain(dmarc={"p": "none"}), "two-dmarc", "keep one", "p=reject")


# --- SPF -----------------------------------------------------------------------------------------------------------


def test_spf_is_created_changed_and_taken_out_beside_other_values(house: House) -> None:
    house.seed_zone()
    house.settle(domain(spf={"include": ["a.example"]}))
    assert house.dns("acme.com") == [
        "MS=ms99887766",
        "google-site-verification=abc123",
        "v=spf1 include:a.example ~all",
    ]
    change = only(house.plan(domain(spf={"include": ["a.example", "b.example"]})), APEX)
    assert lines(change) == {"include": (["a.example"], ["a.example", "b.example"])}
    house.settle()
    house.settle(domain(spf={"include": ["b.example"], "ip4": ["192.0.2.0/24"], "all": "-all"}))
    assert "v=spf1 include:b.example ip4:192.0.2.0/24 -all" in house.dns("acme.com")
    change = only(house.plan(domain()), APEX)
    assert change.action == "delete"
    house.settle()
    assert house.zone()["acme.com", "TXT"] == OTHERS_AT_APEX
    assert ("_recon.acme.com", "TXT") not in house.zone()
    house.check_foreign()


@pytest.mark.parametrize(
    ("key", "a", "b", "term_a", "term_b"),
    [
        ("include", "a.example", ["b.example"], "include:a.example", "include:b.example"),
        ("ip4", ["192.0.2.1"], ["192.0.2.0/24", "198.51.100.1"], "ip4:192.0.2.1", "ip4:192.0.2.0/24 ip4:198.51.100.1"),
        ("ip6", ["2001:db8::1"], ["2001:db8::/32"], "ip6:2001:db8::1", "ip6:2001:db8::/32"),
        ("a", True, ["mail.example"], "a", "a:mail.example"),
        ("mx", True, ["mail.example"], "mx", "mx:mail.example"),
        ("exists", ["%{i}.a.example"], ["%{i}.b.example"], "exists:%{i}.a.example", "exists:%{i}.b.example"),
    ],
)
@pytest.mark.parametrize("foreign", [None, "v=spf1 include:crm.example ip4:203.0.113.9 ?all"])
def test_spf_term(house: House, key: str, a: Any, b: Any, term_a: str, term_b: str, foreign: str | None) -> None:
    house.seed_zone()
    if foreign:
        house.change("acme.com", "TXT", *OTHERS_AT_APEX, f'"{foreign}"')
    head, tail = ("v=spf1 include:crm.example ip4:203.0.113.9", "?all") if foreign else ("v=spf1", "~all")
    house.settle(domain(spf={key: a}))
    assert f"{head} {term_a} {tail}" in house.dns("acme.com")
    assert key in lines(only(house.plan(domain(spf={key: b})), APEX))
    house.settle()
    assert f"{head} {term_b} {tail}" in house.dns("acme.com")
    house.settle(domain())
    assert house.zone()["acme.com", "TXT"] == sorted([*OTHERS_AT_APEX, *([f'"{foreign}"'] if foreign else [])])
    house.check_foreign()


def test_spf_all_is_ours_only_where_written(house: House) -> None:
    house.seed_zone()
    house.change("acme.com", "TXT", *OTHERS_AT_APEX, '"v=spf1 include:crm.example ?all"')
    house.settle(domain(spf={"include": "a.example"}))
    assert "v=spf1 include:crm.example include:a.example ?all" in house.dns("acme.com")
    change = only(house.plan(domain(spf={"include": "a.example", "all": "-all"})), APEX)
    assert lines(change) == {"all": ("?all", "-all")}
    house.settle()
    assert "v=spf1 include:crm.example include:a.example -all" in house.dns("acme.com")
    # Taken out: the terms of others need an end, so `all` stays.
    house.settle(domain())
    assert "v=spf1 include:crm.example -all" in house.dns("acme.com")


def test_a_loosened_spf_of_ours_is_drift(house: House) -> None:
    house.seed_zone()
    house.settle(domain(spf={"include": "a.example"}))
    house.change("acme.com", "TXT", *OTHERS_AT_APEX, '"v=spf1 include:a.example +all"')
    assert lines(only(house.plan(), APEX)) == {"all": ("+all", "~all")}
    house.settle()
    assert "v=spf1 include:a.example ~all" in house.dns("acme.com")


@pytest.mark.parametrize(
    ("live", "after"),
    [
        ("v=spf1 include:A.Example. ~all", None),
        ("V=SPF1 INCLUDE:a.example -all", None),
        ("v=spf1 +include:a.example -all", None),
        ("v=spf1 -all include:a.example", "v=spf1 include:a.example -all"),
        ("v=spf1 include:other.example -all", "v=spf1 include:other.example include:a.example -all"),
        ("v=spf1 include:other.example", "v=spf1 include:other.example include:a.example"),
        ("v=spf1  ip4:192.0.2.1   -all", "v=spf1 ip4:192.0.2.1 include:a.example -all"),
        ("v=spf1 mx redirect=x.example", "v=spf1 mx include:a.example redirect=x.example"),
        ("v=spf1 redirect=x.example ?all", "v=spf1 redirect=x.example include:a.example ?all"),
    ],
)
def test_spf_is_merged_into_the_one_record(house: House, live: str, after: str | None) -> None:
    house.seed_zone()
    house.change("acme.com", "TXT", *OTHERS_AT_APEX, f'"{live}"')
    house.settle(domain(spf={"include": "a.example"}))
    assert (after or live) in house.dns("acme.com")
    house.check_foreign()


@pytest.mark.parametrize(
    ("values", "all_", "code", "mention"),
    [
        (["v=spf1 redirect=_spf.other.example"], "~all", "spf-conflict", "redirect"),
        (["v=spf1 -all", "v=spf1 include:x.example ~all"], None, "two-spf", "join them"),
        (["v=spf1 -include:a.example ~all"], None, "spf-conflict", "-include:a.example"),
    ],
)
def test_spf_that_cannot_be_merged_is_refused(
    house: House, values: list[str], all_: str | None, code: str, mention: str
) -> None:
    house.seed_zone()
    house.change("acme.com", "TXT", *OTHERS_AT_APEX, *(f'"{v}"' for v in values))
    refused(house, domain(spf={"include": "a.example", **({"all": all_} if all_ else {})}), code, mention)


# --- BIMI, null MX, TTL --------------------------------------------------------------------------------------------


def test_bimi_is_created_changed_and_taken_out(house: House) -> None:
    house.seed_zone()
    base = {"dmarc": {"p": "reject"}}
    house.settle(domain(**base, bimi={"l": "https://acme.com/a.svg"}))
    plan = house.plan(domain(**base, bimi={"l": "https://acme.com/b.svg", "a": "https://acme.com/vmc.pem"}))
    assert lines(only(plan, BIMI)) == {
        "l": ("https://acme.com/a.svg", "https://acme.com/b.svg"),
        "a": (None, "https://acme.com/vmc.pem"),
    }
    house.settle()
    assert lines(only(house.plan(domain(**base, bimi={"l": "https://acme.com/b.svg"})), BIMI)) == {
        "a": ("https://acme.com/vmc.pem", None)
    }
    house.settle()
    assert only(house.plan(domain(**base)), BIMI).action == "delete"
    house.settle()
    assert ("default._bimi.acme.com", "TXT") not in house.zone()


def test_null_mx_is_created_and_taken_out(house: House) -> None:
    house.seed_zone(foreign={})
    house.settle(domain(null_mx=True))
    assert house.zone()["acme.com", "MX"] == ["0 ."]
    house.write(domain(null_mx=True))
    assert only(house.plan(domain()), MX).action == "delete"
    house.settle(domain(null_mx=False))
    assert ("acme.com", "MX") not in house.zone()


def test_null_mx_beside_a_mail_server_is_refused(house: House) -> None:
    house.seed_zone()
    refused(house, domain(null_mx=True), "mx-taken", "receives mail")


def test_ttl_is_ours_only_where_nobody_else_shares_the_set(house: House) -> None:
    house.seed_zone()
    house.settle(
        domain(dmarc={"p": "none"}, bimi={"l": "https://acme.com/a.svg"}, mail_from={"mail_from_domain": "b.acme.com"})
    )
    ttl = {(r["Name"], r["Type"]): r["TTL"] for r in house.raw_zone() if "TTL" in r}
    assert ttl["default._bimi.acme.com.", "TXT"] == 300
    assert ttl["_dmarc.acme.com.", "TXT"] == 3600
    plan = house.plan(
        domain(
            dmarc={"p": "none"},
            bimi={"l": "https://acme.com/a.svg"},
            mail_from={"mail_from_domain": "b.acme.com"},
            ttl=600,
        )
    )
    changed = only_dns(plan)
    assert DMARC not in changed
    assert all(lines(c) == {"ttl": (300, 600)} for c in changed.values())
    assert len(changed) == 3 + 2 + 1
    house.settle()
    # A TTL taken out stays as it is.
    house.write(
        domain(dmarc={"p": "none"}, bimi={"l": "https://acme.com/a.svg"}, mail_from={"mail_from_domain": "b.acme.com"})
    )
    house.quiet()
    assert {r["TTL"] for r in house.raw_zone() if r["Name"] == "default._bimi.acme.com."} == {600}
    house.destroy()
    house.check_foreign(alone=True)


# --- zones ---------------------------------------------------------------------------------------------------------


def test_zone_manual_prints_and_writes_nothing(house: House) -> None:
    house.seed_zone()
    document = domain(
        zone="manual", dmarc={"p": "none"}, spf={"include": "a.example"}, mail_from={"mail_from_domain": "b.acme.com"}
    )
    house.settle(document)
    assert "route53:ChangeResourceRecordSets" not in house.calls()
    plan = house.plan()
    told = [d.message for d in plan.diagnostics if d.code == "publish-by-hand"]
    assert told == ["7 records of acme.com must be published by hand: recon records acme.com"]
    house.check_foreign(alone=True)


def test_a_wildcard_has_records_and_no_identity(house: House) -> None:
    house.seed_zone()
    wild = {"identity": False, "spf": {"all": "-all"}, "null_mx": True}
    house.settle({"domains": {"acme.com": {"identity": False, "dmarc": {"p": "reject"}}, "*.acme.com": wild}})
    assert house.zone()["*.acme.com", "TXT"] == ['"v=spf1 -all"'] and house.zone()["*.acme.com", "MX"] == ["0 ."]
    assert "dns_record/acme.com/*.acme.com/MX" in house.cli("list", "state.yaml").out.splitlines()
    assert not [f for f in house.plan().diagnostics if "*." in f.address and f.code != "heartbeat"]
    assert "*.acme.com. 300 IN MX 0 ." in house.cli("records", "*.acme.com", "state.yaml", "--format", "bind").out
    house.settle({"domains": {"acme.com": {"identity": False, "dmarc": {"p": "reject"}}}})
    house.destroy()
    house.check_foreign(alone=True)
    house.write({"domains": {"*.acme.com": {"dmarc": {"p": "reject"}, "bimi": {"l": "https://acme.com/a.svg"}}}})
    said = house.cli("validate", "state.yaml")
    assert said.code == 1 and said.err.count("[wildcard]") == 3


def test_zone_manual_takes_nothing_away_that_was_put_there_by_hand(house: House) -> None:
    """Also where another domain has the zone read, and through a move, a change of regions and a destroy."""
    house.seed_zone()

    def by_hand(**more: Any) -> dict[str, Any]:
        return {"domains": {"acme.com": {"zone": "manual", "dkim": {}, **more}, "shop.acme.com": {"dkim": {}}}}

    house.apply(by_hand(regions=[HOME, OTHER], mail_from={"mail_from_domain": "m-${region}.acme.com"}))
    for region in (HOME, OTHER):
        for token in house.identity(region=region)["DkimAttributes"]["Tokens"]:
            house.change(f"{token}._domainkey.acme.com", "CNAME", f"{token}.dkim.amazonses.com")
        house.change(f"m-{region}.acme.com", "MX", f"10 feedback-smtp.{region}.amazonses.com")
    house.kept = {k: v for k, v in house.raw_foreign().items() if "shop" not in k[1] and "_recon" not in k[1]}
    house.settle(by_hand(mail_from=None))
    house.check_foreign()
    house.destroy()
    house.check_foreign(alone=True)


def test_zone_manual_forgets_nothing_that_was_put_there_before(house: House) -> None:
    house.seed_zone()
    house.settle(domain(dmarc={"p": "none"}, mail_from={"mail_from_domain": "m.acme.com"}))
    house.settle(domain(dmarc={"p": "none"}, mail_from={"mail_from_domain": "m.acme.com"}, zone="manual"))
    house.settle(domain(zone="manual", mail_from={"mail_from_domain": "m.acme.com"}))
    assert ("_dmarc.acme.com", "TXT") in house.zone()
    house.settle(domain(mail_from={"mail_from_domain": "m.acme.com"}))
    assert house.zone()["_dmarc.acme.com", "TXT"] == ['"vendor-token=zzz"']
    house.settle({})
    house.check_foreign(alone=True)


def test_zone_by_id_picks_one_of_two_of_the_same_name(house: House) -> None:
    first = house.seed_zone()
    second = house.seed_zone()
    refused(house, domain(dmarc={"p": "none"}), "zones-same-name", first, second)
    house.settle(domain(dmarc={"p": "none"}, zone=second))
    assert ("_dmarc.acme.com", "TXT") in house.zone(zone_id=second)
    assert house.zone(zone_id=first)["_dmarc.acme.com", "TXT"] == ['"vendor-token=zzz"']
    house.settle(domain(zone=second))
    house.destroy()
    house.check_foreign(alone=True)


@pytest.mark.parametrize("identity", [True, False])
def test_a_domain_moves_to_the_other_zone_of_its_name_and_goes_from_both(house: House, identity: bool) -> None:
    one = house.seed_zone()
    made = client("route53").create_hosted_zone(Name="acme.com", CallerReference="other")
    other = made["HostedZone"]["Id"].rpartition("/")[2]
    house.kept = house.raw_foreign()

    def there(zone: str) -> dict[str, Any]:
        own = {"dmarc": {"p": "none"}, "spf": {"include": ["crm.example"]}, **({} if identity else {"identity": False})}
        return {"domains": {"acme.com": {"zone": zone, **own}, "sub.acme.com": {"zone": zone, **own}}}

    for zone in (one, other, one):
        house.settle(there(zone))
        assert ("_dmarc.acme.com", "TXT") in house.zone(zone_id=zone)
        house.check_foreign()
    house.settle({})
    house.check_foreign(alone=True)


LETS_GO: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dmarc": ({"dmarc": {"p": "none"}}, {}),
    "bimi": ({"bimi": {"l": "https://acme.com/l.svg"}}, {}),
    "null_mx": ({"null_mx": True}, {}),
    "another MAIL FROM": ({"mail_from": {"mail_from_domain": "a.acme.com"}},
                          {"mail_from": {"mail_from_domain": "b.acme.com"}}),
    "no MAIL FROM": ({"mail_from": {"mail_from_domain": "a.acme.com"}}, {"mail_from": None}),
}  # fmt: skip


@pytest.mark.parametrize("what", LETS_GO)
@pytest.mark.parametrize("at_once", [True, False])
def test_what_is_let_go_leaves_the_zone_of_before_too(house: House, what: str, at_once: bool) -> None:
    """The tag that remembers a record group forgets it with its record, wherever that stands."""
    foreign = {("x.acme.com", "TXT"): ["theirs"], ("_dmarc.acme.com", "TXT"): ["vendor-token=zzz"]}
    one, other = house.seed_zone(foreign=foreign), house.seed_zone(foreign=foreign)
    before, after = LETS_GO[what]
    house.settle(domain(zone=one, **before))
    if not at_once:
        house.settle(domain(zone=other, **before))
        assert len(house.zone(zone_id=other)) == len(house.zone(zone_id=one))
    house.settle(domain(zone=other, **after))
    old = {key for key in house.zone(zone_id=one) if "_domainkey" not in key[0]}
    assert old == set(foreign)
    house.destroy()
    house.check_foreign(alone=True)


def test_the_other_zone_of_a_name_keeps_what_is_not_ours(house: House) -> None:
    first = house.seed_zone(foreign={("_dmarc.acme.com", "TXT"): ["v=DMARC1; p=none"], ("acme.com", "MX"): ["0 ."]})
    second = house.seed_zone(foreign={})
    house.kept = house.raw_foreign()
    for zone in (first, second):
        assert zone in str(house.kept)
    for identity in ({"dkim": {}}, {"identity": False, "null_mx": True}):
        house.settle({"domains": {"acme.com": {"zone": second, "dmarc": {"p": "none"}, **identity}}})
        house.settle({})
        house.check_foreign(alone=True)


def test_what_was_put_into_the_zone_above_goes_with_the_domain(house: House) -> None:
    """A more specific zone came later: what stands in the one above stays while the domain does."""
    house.seed_zone()
    own = {"dkim": {}, "dmarc": {"p": "none"}, "mail_from": {"mail_from_domain": "bounce.shop.acme.com"}}
    house.settle({"domains": {"shop.acme.com": own}})
    house.kept = {k: v for k, v in house.kept.items() if "shop" not in k[1]}
    client("route53").create_hosted_zone(Name="shop.acme.com", CallerReference="shop")
    house.settle()
    assert ("_dmarc.shop.acme.com", "TXT") in house.zone("shop.acme.com")
    assert ("_dmarc.shop.acme.com", "TXT") in house.zone()
    house.settle({})
    house.check_foreign()
    assert not [name for name, _ in house.zone() if "shop" in name]
    assert not house.zone("shop.acme.com")


def test_a_zone_above_that_may_not_be_read_does_not_keep_a_domain(house: House) -> None:
    above = house.seed_zone()
    house.seed_zone("shop.acme.com", {})
    house.settle({"domains": {"shop.acme.com": {"dkim": {}}}})
    house.sandbox.fault("denied", service="route53", operation="ListResourceRecordSets", contains=above, count=None)
    result = house.apply({}, expect=None)
    assert result.outcome == "applied", told(result)
    assert [d.code for d in result.plan.diagnostics if "acme.com" in d.message] == ["zone-unread"]


def test_a_private_zone_of_the_same_name_is_never_used(house: House) -> None:
    private = house.sandbox.seed(zones=[{"name": "acme.com", "private": True}])["zones"]["acme.com"]
    refused_private = house.plan(domain(dmarc={"p": "none"}))
    assert "no-zone" in codes(refused_private)
    house.seed_zone()
    house.settle(domain(dmarc={"p": "none"}))
    assert house.zone(zone_id=private) == {}
    assert "private-zone" in codes(house.plan(domain(dmarc={"p": "none"}, zone=private)))


def test_the_most_specific_zone_wins(house: House) -> None:
    house.seed_zone()
    house.change("shop.acme.com", "NS", "ns1.example.", "ns2.example.")
    house.sandbox.seed(zones=[{"name": "shop.acme.com"}])
    house.settle({"domains": {"shop.acme.com": {"dkim": {}, "dmarc": {"p": "none"}}}})
    assert ("_dmarc.shop.acme.com", "TXT") in house.zone("shop.acme.com")
    assert ("_dmarc.shop.acme.com", "TXT") not in house.zone("acme.com")
    house.destroy()
    house.check_foreign(alone=False)
    assert house.zone("shop.acme.com") == {}


@pytest.mark.parametrize(
    ("delegated", "says"),
    [
        ({}, "has no NS records for it"),
        ({"shop.acme.com": ["ns1.example."]}, "delegates it to ns1.example"),
        ({"shop.acme.com": None}, ""),
        ({"a.shop.acme.com": ["ns1.example."]}, "has no NS records for it"),
    ],
)
@pytest.mark.parametrize("parent_in_use", [False, True])
def test_a_zone_that_its_parent_does_not_delegate_is_named(
    house: House, delegated: dict[str, list[str] | None], says: str, parent_in_use: bool
) -> None:
    parent = house.seed_zone()
    child = house.sandbox.seed(zones=[{"name": "shop.acme.com"}])["zones"]["shop.acme.com"]
    own = client("route53").get_hosted_zone(Id=child)["DelegationSet"]["NameServers"]
    for name, servers in delegated.items():
        house.change(name, "NS", *(servers or [f"{one.upper()}." for one in own]))
    domains = {"shop.acme.com": {"dmarc": {"p": "none"}}, **({"acme.com": {}} if parent_in_use else {})}
    plan = house.plan({"domains": domains})
    found = [d for d in plan.diagnostics if d.code == "dns-undelegated"]
    assert [says in one.message for one in found] == ([True] if says else [])
    for one in found:
        assert one.address == "dns_record/shop.acme.com/shop.acme.com/NS"
        assert f"in zone {parent} (acme.com): shop.acme.com NS {', '.join(sorted(own))}" in one.hint


def test_a_delegation_above_the_parent_or_unread_says_nothing(house: House) -> None:
    house.seed_zone()
    house.sandbox.seed(zones=[{"name": "a.shop.acme.com"}])
    document = {"domains": {"a.shop.acme.com": {"dmarc": {"p": "none"}}}}
    house.change("shop.acme.com", "NS", "ns1.example.")
    assert "dns-undelegated" not in {d.code for d in house.plan(document).diagnostics}
    house.change("shop.acme.com", "NS", "ns1.example.", action="DELETE")
    assert "dns-undelegated" in {d.code for d in house.plan(document).diagnostics}


def test_a_zone_of_an_aws_service_is_refused(house: House) -> None:
    service = {"ServicePrincipal": "servicediscovery.amazonaws.com"}
    made = house.sandbox.seed(zones=[{"name": "acme.com", "linked_service": service}])["zones"]["acme.com"]
    house.kept = house.raw_foreign()
    for zone in ("auto", made):
        refused(house, domain(dmarc={"p": "none"}, zone=zone), "linked-zone", "servicediscovery", "zone: manual")


def test_a_name_below_a_delegation_is_refused(house: House) -> None:
    house.seed_zone()
    house.change("shop.acme.com", "NS", "ns1.example.")
    refused(
        house,
        {"domains": {"shop.acme.com": {"dkim": {}, "dmarc": {"p": "none"}}}},
        "delegated",
        "shop.acme.com",
        "zone",
    )


def test_a_cname_in_the_way_is_refused(house: House) -> None:
    house.seed_zone()
    house.change("_dmarc.acme.com", "TXT", '"vendor-token=zzz"', action="DELETE", ttl=3600)
    house.change("_dmarc.acme.com", "CNAME", "dmarc.vendor.example.")
    refused(house, domain(dmarc={"p": "none"}), "cname-in-the-way", "dmarc.vendor.example")


def test_no_zone_is_refused_with_what_to_do(house: House) -> None:
    house.seed_zone("other.com", {})
    refused(house, domain(dmarc={"p": "none"}), "no-zone", "zone: manual")


def test_weighted_and_alias_sets_are_refused(house: House) -> None:
    house.seed_zone()
    house.change("_dmarc.acme.com", "TXT", '"vendor-token=zzz"', action="DELETE", ttl=3600)
    house.change("_dmarc.acme.com", "TXT", '"v=DMARC1; p=none"', SetIdentifier="a", Weight=1)
    refused(house, domain(dmarc={"p": "reject"}), "not-simple", "zone: manual")


def test_a_foreign_mx_at_the_mail_from_name_is_refused(house: House) -> None:
    house.seed_zone()
    house.change("bounce.acme.com", "MX", "10 mail.other.example.")
    refused(house, domain(mail_from={"mail_from_domain": "bounce.acme.com"}), "mx-taken", "mail.other.example")


def test_a_child_zone_of_the_mail_from_name_is_used(house: House) -> None:
    house.seed_zone()
    house.sandbox.seed(zones=[{"name": "mail.acme.com"}])
    house.settle(domain(mail_from={"mail_from_domain": "bounce.mail.acme.com"}))
    assert ("bounce.mail.acme.com", "MX") in house.zone("mail.acme.com")
    house.settle(domain(mail_from=None))
    assert house.zone("mail.acme.com") == {}


# --- values in other clothes ---------------------------------------------------------------------------------------


def test_records_in_other_clothes_are_no_change(house: House) -> None:
    house.seed_zone()
    house.settle(domain(mail_from={"mail_from_domain": "bounce.acme.com"}, spf={"include": "a.example"}))
    for raw in [
        r
        for r in house.raw_zone()
        if r["Type"] in {"CNAME", "MX"} and ("_domainkey" in r["Name"] or "bounce" in r["Name"])
    ]:
        values = [v["Value"].rstrip(".").upper() for v in raw["ResourceRecords"]]
        house.change(raw["Name"].upper(), raw["Type"], *values, ttl=raw["TTL"])
    house.change("bounce.acme.com", "TXT", '"v=spf1 " "include:amazonses.com" " ~all"')
    house.quiet()
    house.write({"domains": {"ACME.com.": self_domain(house)}})
    house.quiet()
    house.destroy()
    house.check_foreign(alone=True)


def self_domain(house: House) -> dict[str, Any]:
    found: dict[str, Any] = house.document["domains"]["acme.com"]
    return found


@pytest.mark.parametrize(
    "edit",
    [
        ("bounce.acme.com", "MX", "10 feedback-smtp.eu-west-1.amazonses.com."),
        ("bounce.acme.com", "TXT", '"v=spf1 -all"'),
        ("bounce.acme.com", "TXT", '"something else"'),
    ],
)
def test_records_of_another_meaning_always_show_and_are_healed(house: House, edit: tuple[str, str, str]) -> None:
    house.seed_zone()
    house.settle(domain(mail_from={"mail_from_domain": "bounce.acme.com"}))
    before = house.zone()
    house.change(*edit)
    assert house.plan().changes
    house.settle()
    assert house.identity()["MailFromAttributes"]["MailFromDomainStatus"] == "SUCCESS"
    now = house.zone()
    assert now["bounce.acme.com", "MX"] == before["bounce.acme.com", "MX"]


def test_a_dkim_record_that_vanished_comes_back(house: House) -> None:
    house.seed_zone()
    house.settle(domain())
    name = next(n for n, t in house.zone() if "_domainkey" in n)
    value = house.zone()[name, "CNAME"][0]
    house.change(name, "CNAME", value, action="DELETE")
    plan = house.plan()
    assert [c.action for c in plan.changes] == ["create"]
    assert ":dkim:us-east-1:" in plan.changes[0].address
    house.settle()
    assert house.zone()[name, "CNAME"] == [value]


def test_foreign_txt_of_every_kind_stays_byte_for_byte(house: House) -> None:
    odd = [
        '"quote \\" and backslash \\\\ inside"',
        '"octal \\303\\244"',
        '"two" "strings"',
        '""',
        '"V=Spf1x not spf"',
        '"=;="',
        '"' + "x" * 255 + '" "' + "y" * 200 + '"',
    ]
    house.seed_zone(foreign={("acme.com", "TXT"): odd, ("_dmarc.acme.com", "TXT"): odd})
    house.settle(domain(spf={"include": "a.example"}, dmarc={"p": "none"}))
    house.check_foreign()
    house.settle(domain(spf={"include": "b.example"}, dmarc={"p": "reject"}))
    house.check_foreign()
    house.settle(domain())
    house.check_foreign()
    house.destroy()
    house.check_foreign(alone=True)


def test_regions_have_their_own_dkim_and_mail_from_records(house: House) -> None:
    house.seed_zone()
    document = domain(regions=[HOME, OTHER], mail_from={"mail_from_domain": "bounce-${region}.acme.com"})
    house.settle(document)
    zone = house.zone()
    assert sum("_domainkey" in n for n, _ in zone) == 6
    assert zone[f"bounce-{OTHER}.acme.com", "MX"] == [f"10 feedback-smtp.{OTHER}.amazonses.com"]
    house.settle(domain(regions=[HOME], mail_from={"mail_from_domain": "bounce-${region}.acme.com"}))
    zone = house.zone()
    assert sum("_domainkey" in n for n, _ in zone) == 3
    assert (f"bounce-{OTHER}.acme.com", "MX") not in zone
    assert (f"bounce-{OTHER}.acme.com", "TXT") not in zone
    assert ("_recon.acme.com", "TXT") not in zone
    house.check_foreign()


def test_a_plan_does_not_depend_on_which_answer_came_first(house: House) -> None:
    from reconciler.planner import make_plan

    house.seed_zone()
    owned = {"dmarc": {"p": "none"}, "bimi": {"l": "https://acme.com/logo.svg"}}
    regions = {
        "regions": [HOME, OTHER],
        "by_region": {OTHER: {"dkim": {"signing_attributes_origin": "AWS_SES_US_EAST_1"}}},
    }
    house.settle({"domains": {"acme.com": {**regions, **owned}}})
    read = house.make({"domains": {"acme.com": regions}}).snapshot
    plans = []
    for backwards in (False, True):
        snapshot = read.thaw()
        snapshot.observed = dict(sorted(snapshot.observed.items(), reverse=backwards))
        plans.append(make_plan(snapshot.freeze()))
    assert [change.action for change in plans[0].changes].count("delete") == 2
    assert plans[0] == plans[1]
