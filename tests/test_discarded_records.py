"""TXT records that receivers discard or read otherwise than they look are differences, mended in place; records of one
meaning are none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import House

from reconciler.mail import spf, txt
from reconciler.resources.dns_record.values import key_of

REJECT = {"p": "reject", "rua": "mailto:d@acme.com"}
GROUPS: dict[str, tuple[str, Any, str]] = {
    "dmarc": ("_dmarc.acme.com", REJECT, "v=DMARC1; p=reject; rua=mailto:d@acme.com"),
    "spf": ("acme.com", {"include": ["_spf.crm.example"], "all": "-all"}, "v=spf1 include:_spf.crm.example -all"),
    "bimi": ("default._bimi.acme.com", {"l": "https://acme.com/l.svg"}, "v=BIMI1; l=https://acme.com/l.svg"),
}  # fmt: skip

DISCARDED = {
    "a blank before": " {}",
    "a tab before": "\t{}",
    "a line break before": "\n{}",
    "a vertical tab before": "\v{}",
    "a no-break space before": "\xa0{}",
    "a no-break space in UTF-8 before": "\xc2\xa0{}",
    "a byte order mark before": "\xef\xbb\xbf{}",
    "a zero width space before": "\xe2\x80\x8b{}",
    "a quotation mark before": '"{}',
    "quotation marks around it": '"{}"',
    "curly quotation marks around it": "\xe2\x80\x9c{}\xe2\x80\x9d",
    "a vertical tab after": "{}\v",
    "a no-break space after": "{}\xa0",
    "a line break after": "{}\n",
    "a zero byte after": "{}\0",
    "a quotation mark after": '{}"',
}
SPECIAL = {
    "dmarc": [
        "v=dmarc1; p=reject; rua=mailto:d@acme.com", "v=DMARC1 p=reject; rua=mailto:d@acme.com",
        "v=DMARC1, p=reject; rua=mailto:d@acme.com", "v=DMARC1\n; p=reject; rua=mailto:d@acme.com",
        "v=DMARC1; p=rej ect; rua=mailto:d@acme.com", "v=DMARC1;\np=reject; rua=mailto:d@acme.com",
        "v=DMARC1; p=reject\v; rua=mailto:d@acme.com", "v=DMARC1; p=reject; rua=mailto:d@acme.com\xa0;",
        "v=DMARC1; p\xa0=reject; rua=mailto:d@acme.com",
    ],
    "spf": [
        "v=spf1\tinclude:_spf.crm.example -all", "v=spf1 include:_spf.crm.example\t-all",
        "v=spf1 include:_spf.crm.example\xa0-all", "v=spf1; include:_spf.crm.example -all",
        "v=spf1\ninclude:_spf.crm.example\n-all", "v = spf1 include:_spf.crm.example -all",
    ],
    "bimi": ["v=bimi1; l=https://acme.com/l.svg", "v=BIMI1 l=https://acme.com/l.svg"],
}  # fmt: skip


def rows() -> list[Any]:
    found = []
    for group, (_, _, text) in GROUPS.items():
        forms = {why: form.format(text) for why, form in DISCARDED.items()} | {repr(t): t for t in SPECIAL[group]}
        found += [pytest.param(group, live, id=f"{group}: {why}") for why, live in forms.items()]
    return found


def state(house: House, group: str, live: str, **more: Any) -> str:
    """The name that has ``live`` in a world where the right record is declared."""
    name, declared, _ = GROUPS[group]
    house.seed_zone()
    before = house.dns_values(name)
    house.change(name, "TXT", *before, txt.encode(live))
    house.write({"domains": {"acme.com": {"identity": False, group: {**declared, **more}}}})
    return name


@pytest.mark.parametrize(("group", "live"), rows())
def test_what_receivers_discard_is_drift_and_is_mended_in_place(house: House, group: str, live: str) -> None:
    name = state(house, group, live)
    others = [value for value in house.dns_values(name) if txt.decode(value) != live]
    ran = house.cli("drift", "state.yaml", "--format", "json")
    report = json.loads(ran.out)
    changes = {c["address"]: c for c in report["changes"] if "/_recon." not in c["address"]}
    assert ran.code == 2, ran.out
    assert [c["action"] for c in changes.values()] == ["update"]
    (change,) = changes.values()
    assert change["diff"], "the difference is shown"
    assert all(d["before"] != d["after"] for d in change["diff"])
    assert house.cli("apply", "state.yaml", "--auto-approve", "--allow-adopt").code == 0
    assert sorted(house.dns_values(name)) == sorted([*others, txt.encode(GROUPS[group][2])])
    assert house.cli("drift", "state.yaml").code == 0


@pytest.mark.parametrize("group", GROUPS)
def test_what_receivers_discard_is_deleted_with_its_group(house: House, group: str) -> None:
    name, declared, text = GROUPS[group]
    house.seed_zone()
    others = house.dns_values(name)
    house.settle({"domains": {"acme.com": {"identity": False, group: declared}}})
    house.change(name, "TXT", *others, txt.encode(" " + text))
    house.settle({"domains": {"acme.com": {"identity": False}}})
    assert house.dns_values(name) == others


@pytest.mark.parametrize(
    ("group", "more", "live"),
    [
        ("dmarc", {}, "v=DMARC1;p=reject;rua=mailto:d@acme.com;"),
        ("dmarc", {}, "v=DMARC1 ;\trua = mailto:d@acme.com ; p = REJECT \t"),
        ("dmarc", {}, "V = DMARC1; p=reject; rua=mailto:d@acme.com"),
        ("dmarc", {}, "v=DMARC1; p=reject; rua=mailto:d@acme.com; adkim=r; aspf=r; t=n; psd=u; fo=0"),
        ("dmarc", {}, "v=DMARC1; p=reject; sp=reject; np=reject; pct=100; rf=afrf; ri=86400; rua=mailto:d@acme.com"),
        ("dmarc", {"sp": "none"}, "v=DMARC1; p=reject; sp=none; np=none; rua=mailto:d@acme.com"),
        ("dmarc", {"sp": "reject", "adkim": "r"}, "v=DMARC1; p=reject; rua=mailto:d@acme.com"),
        ("bimi", {}, "v=BIMI1; a=; avp=brand; l=https://acme.com/l.svg;"),
        ("spf", {}, "v=spf1  include:_SPF.crm.example  -all "),
    ],
)
def test_records_of_one_meaning_are_equal(house: House, group: str, more: dict[str, str], live: str) -> None:
    name = state(house, group, live, **more)
    house.apply(expect=None)  # a marker says whose it is
    assert txt.encode(live) in house.dns_values(name)
    ran = house.cli("drift", "state.yaml", "--format", "json")
    assert (ran.code, json.loads(ran.out)["changes"]) == (0, [])


@pytest.mark.parametrize(
    ("group", "more", "live"),
    [
        ("dmarc", {}, "v=DMARC1; p=reject; sp=none; rua=mailto:d@acme.com"),
        ("dmarc", {"sp": "none"}, "v=DMARC1; p=reject; sp=none; np=reject; rua=mailto:d@acme.com"),
        ("dmarc", {}, "v=DMARC1; p=reject; t=y; rua=mailto:d@acme.com"),
        ("dmarc", {}, "v=DMARC1; p=reject; pct=50; rua=mailto:d@acme.com"),
        ("dmarc", {}, "v=DMARC1; p=reject; rua=mailto:d@acme.com; x=1"),
        ("bimi", {}, "v=BIMI1; avp=personal; l=https://acme.com/l.svg"),
        ("spf", {}, "v=spf1 include:_spf.crm.example ~all"),
    ],
)
def test_records_of_another_meaning_differ(house: House, group: str, more: dict[str, str], live: str) -> None:
    state(house, group, live, **more)
    assert house.cli("drift", "state.yaml").code == 2


def test_two_records_of_which_receivers_discard_one_are_refused_with_the_reason(house: House) -> None:
    name, declared, text = GROUPS["dmarc"]
    house.seed_zone()
    house.change(name, "TXT", txt.encode(text), txt.encode(f" {text}"))
    plan = house.plan({"domains": {"acme.com": {"identity": False, "dmarc": declared}}})
    (problem,) = [d for d in plan.diagnostics if d.code == "two-dmarc"]
    assert "receivers read 1 of them and discard the others" in problem.message


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("p=QUJD", "QUJD"),
        (" v=DKIM1 ; k=rsa;\tp=QU JD ;", "QUJD"),
        ("v=DKIM1; h=sha1:sha256; s=email; p=QUJD", "QUJD"),
        ("v=DKIM1; p=", ""),
        ("google-site-verification=p", None),
    ],
)
def test_a_dkim_key_that_receivers_use(text: str, key: str | None) -> None:
    assert key_of(text) == key


@pytest.mark.parametrize(
    "text",
    [
        "p=QUJD\v", "p=QUJD\xa0", "\xa0p=QUJD", "v=DKIM2; p=QUJD", "v=dkim1; p=QUJD", "p=QUJD; v=DKIM1",
        "v=DKIM1; k=ed25519; p=QUJD", "v=DKIM1; h=sha1; p=QUJD", "v=DKIM1; s=tlsrpt; p=QUJD", '"p=QUJD"',
    ],
)  # fmt: skip
def test_a_dkim_key_that_receivers_do_not_use_is_no_key_of_ours(text: str) -> None:
    assert key_of(text) not in (None, "QUJD")


@pytest.mark.parametrize("char", [chr(code) for code in range(0x21)] + ["\x7f", "\xa0", "\xc2\xa0", "\xe3\x80\x80"])
def test_spf_is_mended_of_any_blank(char: str) -> None:
    ours = "include:_spf.crm.example"
    live = f"v=spf1 ip4:192.0.2.1{char}{ours}{char}-all{char}"
    merged = spf.merge(live, [ours], None)
    assert merged == (live if char == " " else f"v=spf1 ip4:192.0.2.1 {ours} -all")


def test_spf_keeps_letters_of_several_octets() -> None:
    term = "include:voil\xc3\xa0.example"
    assert spf.mended(f"\xa0v=spf1 {term}\xa0~all") == f"v=spf1 {term} ~all"


@pytest.fixture
def signed(house: House, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a BYODKIM key that recon has published."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    how = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    monkeypatch.setenv("DKIM_KEY", rsa.generate_private_key(65537, 2048).private_bytes(*how).decode())
    dkim = {"signing_attributes_origin": "EXTERNAL", "domain_signing_selector": "s1",
            "domain_signing_private_key": {"env": "DKIM_KEY"}}  # fmt: skip
    house.seed_zone()
    house.settle({"domains": {"acme.com": {"dkim": dkim}}})
    return "s1._domainkey.acme.com"


@pytest.mark.parametrize("form", ["{}\v", "\xa0{}", "v=DKIM2; {}", "{}; v=DKIM1", "v=DKIM1; h=sha1; {}", '"{}"'])
def test_a_dkim_key_that_receivers_do_not_use_is_mended(house: House, signed: str, form: str) -> None:
    (text,) = house.dns(signed)
    house.change(signed, "TXT", txt.encode(form.format(text)))
    ran = house.cli("drift", "state.yaml", "--format", "json")
    assert ran.code == 2
    assert [(c["action"], c["refused"]) for c in ran.json["changes"]] == [("update", None)]
    house.settle()
    assert house.dns(signed) == [text]


@pytest.mark.parametrize("form", ["v=DKIM1; k=rsa; {}", "v=DKIM1;h=sha256;\t{}"])
def test_a_dkim_key_in_other_words_is_no_change(house: House, signed: str, form: str) -> None:
    house.change(signed, "TXT", txt.encode(form.format(house.dns(signed)[0])))
    assert house.cli("drift", "state.yaml").code == 0


def test_another_text_beside_a_dkim_key_is_refused_and_stays(house: House, signed: str) -> None:
    values = [*house.dns_values(signed), '"site-verification=1"']
    house.change(signed, "TXT", *values)
    ran = house.cli("drift", "state.yaml", "--format", "json")
    assert (ran.code, [c["refused"]["code"] for c in ran.json["changes"]]) == (2, ["key-not-alone"])
    assert house.cli("apply", "state.yaml", "--auto-approve").code == 3
    assert sorted(house.dns_values(signed)) == sorted(values)


@pytest.mark.parametrize(
    ("before", "after", "headline", "weakened"),
    [
        ("p=none", {"p": "reject", "t": "y"}, "1 DMARC policy is tightened", False),
        ("p=none", {"p": "quarantine", "t": "y"}, "1 DMARC record changes", False),
        ("p=quarantine; t=y", {"p": "quarantine"}, "1 DMARC policy is tightened", False),
        ("p=quarantine", {"p": "reject", "t": "y"}, "1 DMARC record changes", False),
        ("p=reject", {"p": "reject", "t": "y"}, "1 DMARC policy is loosened", True),
        ("p=quarantine", {"p": "quarantine", "t": "y"}, "1 domain loses DMARC enforcement", True),
        ("p=reject; t=y", {"p": "quarantine"}, "1 DMARC record changes", False),
        ("p=reject", {"p": "reject", "sp": "none"}, "1 DMARC policy is loosened", True),
        ("p=none; sp=quarantine; t=y", {"p": "none", "sp": "quarantine"}, "1 DMARC policy is tightened", False),
        ("p=reject; np=none", {"p": "reject"}, "1 DMARC policy is tightened", False),
    ],
)
def test_dmarc_is_judged_by_what_receivers_apply(
    house: House, before: str, after: dict[str, str], headline: str, weakened: bool
) -> None:
    house.seed_zone(foreign={})
    house.change("_dmarc.acme.com", "TXT", txt.encode(f"v=DMARC1; {before}"))
    house.write({"domains": {"acme.com": {"identity": False, "dmarc": after}}})
    text, page = (house.cli("plan", "state.yaml", "--format", form).out for form in ("text", "html"))
    assert headline in " ".join(text.split())
    assert headline in page
    ran = house.cli("plan", "state.yaml", "--format", "json").json
    notes = [note for change in ran["changes"] for note in change["notes"]]
    rules = [note["rule"] for note in notes] + [one["code"] for one in ran["diagnostics"]]
    assert ("dmarc-weakened" in rules) == weakened
    assert rules.count("dmarc-test-mode") == ("t" in after)
    assert sum("do not know t" in note["message"] for note in notes) == ("t" in after)
