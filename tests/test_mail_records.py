"""TXT, DMARC, BIMI and SMTP passwords: tables from the standards, laws for any text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.mail import bimi, dmarc, txt
from reconciler.mail.sigv4 import smtp_password

LATIN = st.text(st.characters(max_codepoint=255), max_size=900)
POLICY = st.sampled_from(["none", "Quarantine", "REJECT"])
MAILBOX = st.from_regex(r"mailto:[a-z]{1,8}@[a-z]{1,8}\.example", fullmatch=True)


# --- TXT -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('"v=spf1 -all"', "v=spf1 -all"),
        ('"a" "b"', "ab"),
        ('"a"   "b"', "ab"),
        ('"a""b"', "ab"),
        (r'"say \"hi\" \\ done"', r'say "hi" \ done'),
        (r'"\101\303\274"', "A\xc3\xbc"),
        ("bare", "bare"),
        ('"open', "open"),
        ('""', ""),
        ("", ""),
        ('"tail\\', "tail\\"),
        (r'"\999"', "999"),
    ],
)
def test_txt_decode(value: str, text: str) -> None:
    assert txt.decode(value) == text


def test_txt_encode() -> None:
    assert txt.encode("v=spf1 -all") == '"v=spf1 -all"'
    assert txt.encode("") == '""'
    assert txt.encode('a"b\\\x00\xff') == r'"a\"b\\\000\377"'
    assert txt.encode("x" * 256) == f'"{"x" * 255}" "x"'


def test_txt_encode_refuses() -> None:
    with pytest.raises(ValueError, match="4000"):
        txt.encode("x" * 4000)
    with pytest.raises(ValueError, match="octets"):
        txt.encode("naïve ☃")


@given(LATIN)
def test_txt_round_trip(text: str) -> None:
    value = txt.encode(text)
    assert txt.decode(value) == text
    assert value.isascii()


@given(st.text(max_size=300))
def test_txt_decode_takes_anything(value: str) -> None:
    assert all(ord(ch) < 256 for ch in txt.decode(value))


# --- DMARC ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "loose", "strict"),
    [
        ("v=DMARC1; p=none", True, True),
        ("v = DMARC1 ;p=none", True, True),
        ("v=DMARC1", True, True),
        ("v=dmarc1; p=none", True, False),
        (" v=DMARC1; p=none", True, False),
        ("v=DMARC12; p=none", False, False),
        ("v=spf1 -all", False, False),
        ("p=none; v=DMARC1", False, False),
        ("", False, False),
    ],
)
def test_dmarc_is_record(text: str, loose: bool, strict: bool) -> None:
    assert dmarc.is_record(text) is loose
    assert dmarc.is_record(text, strict=True) is strict


@pytest.mark.parametrize(
    "text",
    [
        "v=DMARC1; p=reject; rua=mailto:a@acme.com,mailto:b@acme.com; fo=1:d",
        "v=DMARC1;p=reject;rua=mailto:a@acme.com,mailto:b@acme.com;fo=d:1;",
        "v=DMARC1 ; P = Reject ; RUA = mailto:a@ACME.com , mailto:b@acme.com ; fo = 1 : d",
        "v=DMARC1; fo=1:d; rua=MAILTO:a@acme.com, mailto:b@acme.com; p=REJECT",
    ],
)
def test_dmarc_same_meaning_same_tags(text: str) -> None:
    assert dmarc.parse(text) == {"p": "reject", "rua": "mailto:a@acme.com,mailto:b@acme.com", "fo": "1:d"}


def test_dmarc_order_of_uris_is_kept() -> None:
    assert dmarc.parse("v=DMARC1; p=none; rua=mailto:b@x.org,mailto:a@x.org")["rua"] == "mailto:b@x.org,mailto:a@x.org"


def test_dmarc_keeps_what_it_cannot_read_visible() -> None:
    tags = dmarc.parse("v=dmarc1; p=none; p=reject; nonsense; x=1")
    assert tags["p"] == "none"
    assert tags["p (again)"] == "reject"
    assert tags["(unreadable)"] == "nonsense"
    assert tags["v"] == "dmarc1"
    assert dmarc.to_text(tags) == "v=DMARC1; p=none; x=1"
    assert len(dmarc.problems(tags)) == 3


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"p": "reject"}, "v=DMARC1; p=reject"),
        ({"rua": "mailto:a@x.org", "P": "NONE"}, "v=DMARC1; p=none; rua=mailto:a@x.org"),
        ({"p": "none", "fo": 1, "ruf": ["mailto:f@x.org"]}, "v=DMARC1; p=none; fo=1; ruf=mailto:f@x.org"),
        ({"p": "none", "fo": ["d", "1"], "ruf": "mailto:f@x.org"}, "v=DMARC1; p=none; fo=1:d; ruf=mailto:f@x.org"),
        ({"p": "none", "pct": 50, "t": True, "psd": "N"}, "v=DMARC1; p=none; t=y; psd=n; pct=50"),
        ({"p": "none", "sp": None}, "v=DMARC1; p=none"),
        ({"v": "DMARC1", "p": "quarantine", "np": "reject"}, "v=DMARC1; p=quarantine; np=reject"),
        ({"p": "none", "rua": ["mailto:d@bücher.example"]}, "v=DMARC1; p=none; rua=mailto:d@xn--bcher-kva.example"),
        ("v=DMARC1; p=none; x=y", "v=DMARC1; p=none; x=y"),
        ({"p": "none", "fo": 1}, "v=DMARC1; p=none; fo=1"),
        ({"p": "none", "rua": "mailto:a+b.c%20d@x.org!10m"}, "v=DMARC1; p=none; rua=mailto:a+b.c%20d@x.org!10m"),
        ({"p": "none", "ri": "daily"}, "v=DMARC1; p=none; ri=daily"),
    ],
)
def test_dmarc_from_yaml(value: Any, text: str) -> None:
    tags = dmarc.from_yaml(value)
    assert dmarc.to_text(tags) == text
    assert dmarc.parse(text) == tags


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({}, "p is missing"),
        ({"p": "rejekt"}, "not one of none, quarantine, reject"),
        ({"p": "none", "policy": "x"}, "no such DMARC tag"),
        ({"p": "none", "adkin": "s"}, "did you mean adkim"),
        ({"p": "none", "rua": "dmarc@acme.com"}, "write mailto:dmarc@acme.com"),
        ({"p": "none", "rua": "https://acme.com"}, "mailto: URIs only"),
        ({"p": "none", "rua": []}, "rua is empty"),
        ({"p": "none", "rua": ["mailto:a@x.org;b"]}, "%3B"),
        ({"p": "none", "fo": "9", "ruf": "mailto:a@x.org"}, "fo=9"),
        *(
            ({"p": "none", "rua": uri}, reason)
            for uri, reason in {
                "mailto:a@x.org mailto:b@y.org": "a comma between two URIs",
                "mailto:a b@x.org": "%20",
                "mailto:@x.org": "no valid mail address",
                "mailto:a@b@x.org": "no valid mail address",
                "mailto:a..b@x.org": "no valid mail address",
                "mailto://a@x.org": "no valid mail address",
                "mailto:a%zz@x.org": "no valid mail address",
                "mailto:a<b@x.org": "no valid mail address",
                "mailto:a@x.org?subject={x}": "no valid mail address",
                "mailto:a@x": "no valid mail address",
            }.items()
        ),
        ("v=DMARC1; p=none; rua=mailto:a@x.org mailto:b@y.org", "a comma between two URIs"),
        ("v=DMARC1; p=none; rua=mailto:a@bücher.example", "cannot stand in a record"),
        ({"p": "none", "pct": 500}, "0 to 100"),
        ({"p": ["none"]}, "not a list"),
        ({"p": True}, "true is not a value"),
        ({"p": 1}, "is a number"),
        ({"v": "DMARC2", "p": "none"}, "v: must be DMARC1"),
        ("p=none", "begins with v=DMARC1"),
        ("v=DMARC1; p=none; p=none", "more than once"),
        (7, "mapping of tags"),
    ],
)
def test_dmarc_from_yaml_refuses(value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        dmarc.from_yaml(value)


def test_dmarc_all_errors_at_once() -> None:
    with pytest.raises(ValueError) as caught:
        dmarc.from_yaml({"p": "x", "sp": "y", "foo": "z"})
    assert all(part in str(caught.value) for part in ("p=x", "sp=y", "foo"))


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("v=DMARC1; p=none; fo=1", ["dmarc-fo"]),
        ("v=DMARC1; p=none; fo=0:1; ruf=mailto:a@x.org", ["dmarc-fo"]),
        ("v=DMARC1; p=none; fo=0:d; ruf=mailto:a@x.org", []),
        ("v=DMARC1; p=none; ruas=mailto:a@x.org; x=1", ["dmarc-unknown-tag"] * 2),
        ("v=DMARC1; p=none; pct=100; ri=1", ["dmarc-pct", "dmarc-historic"]),
        ("v=DMARC1; p=none; p=none; junk", []),
    ],
)
def test_dmarc_remarks_name_what_receivers_ignore(text: str, rules: list[str]) -> None:
    assert [rule for rule, *_ in dmarc.remarks(dmarc.parse(text))] == rules


def test_dmarc_uri_domain() -> None:
    assert dmarc.uri_domain("mailto:a@Acme.com!10m") == "acme.com"
    assert dmarc.uri_domain("mailto:a@acme.com?subject=x") == "acme.com"
    assert dmarc.uri_domain("https://acme.com") is None
    assert dmarc.uri_domain("mailto:nobody") is None


@given(
    st.fixed_dictionaries({"p": POLICY}, optional={"sp": POLICY, "np": POLICY, "rua": st.lists(MAILBOX, min_size=1)})
)
def test_dmarc_round_trip(value: dict[str, Any]) -> None:
    tags = dmarc.from_yaml(value)
    assert dmarc.parse(dmarc.to_text(tags)) == tags
    assert dmarc.from_yaml(dmarc.to_text(tags)) == tags
    assert dmarc.problems(tags) == []


@given(st.text(max_size=200))
def test_tag_lists_take_anything(text: str) -> None:
    for codec in (dmarc, bimi):
        tags = codec.parse(text)
        codec.problems(tags)
        codec.is_record(text)
        assert codec.parse(codec.to_text(tags)).items() <= tags.items() | codec.parse(codec.to_text(tags)).items()
        try:
            codec.from_yaml(text)
        except ValueError as error:
            assert str(error)


# --- BIMI ----------------------------------------------------------------------------------------------------------


def test_bimi() -> None:
    wanted = bimi.from_yaml({"l": "https://Acme.com/Logo.svg", "a": "https://acme.com/vmc.pem", "avp": "Brand"})
    assert bimi.to_text(wanted) == "v=BIMI1; l=https://acme.com/Logo.svg; a=https://acme.com/vmc.pem; avp=brand"
    assert bimi.parse("V=BIMI1;a=https://ACME.com/vmc.pem; l=HTTPS://acme.com/Logo.svg;avp=brand") == wanted
    assert bimi.is_record("v=BIMI1; l=;")
    assert bimi.from_yaml({"l": "", "a": ""}) == {"l": "", "a": ""}
    assert bimi.from_yaml({"l": "https://x.org/l.svg", "lps": ["Offers", "news "]})["lps"] == "offers,news"
    assert bimi.from_yaml("v=BIMI1; l=https://x.org/l.svg; a=") == {"l": "https://x.org/l.svg", "a": ""}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({}, "no l tag"),
        ({"l": "http://x.org/l.svg"}, "https"),
        ({"l": "https://x.org/l.png"}, r"\.svg"),
        ({"l": "https://x.org/l.svg", "a": "https://x.org/l.crt"}, r"\.pem"),
        ({"l": "", "a": "https://x.org/l.pem"}, "declination"),
        ({"l": "https://x.org/l.svg", "avp": "cat"}, "brand"),
        ({"logo": "https://x.org/l.svg"}, "no such BIMI tag"),
        ({"l": "https://x.org/a;b.svg"}, "%3B"),
        ({"l": 3}, "takes a text"),
        ({"l": "https:///l.svg"}, "no valid host"),
        ({"l": "https://x y.org/l.svg"}, "percent-encode it"),
        ({"l": "https://x.org/l.svg", "a": "https://-x.org/l.pem"}, "no valid host"),
        ("v=BIMI1; l=https://x.org/a b.svg", "percent-encode it"),
        ("v=BIMI2; l=", "begins with"),
        ([], "mapping of tags"),
    ],
)
def test_bimi_refuses(value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        bimi.from_yaml(value)


# --- SMTP passwords ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "region", "password"),
    [
        ("some+secret+key", "eu-central-1", "BMXhUYlu5Z3gSXVQORxlVa7XPaz91aGWdfHxvkOZdWZ2"),
        ("another+secret+key", "eu-central-1", "BBbphbrQmrKMx42d1N6+C7VINYEBGI5v9VsZeTxwskfh"),
        ("some+secret+key", "us-west-1", "BH+jbMzper5WwlwUar9E1ySBqHa9whi0GPo+sJ0mVYJj"),
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-west-2", "BF2PynzbSCAjX08zhZZnP/kW+T9P5zs/1Er0pi5vTEmd"),
    ],
)
def test_smtp_password(secret: str, region: str, password: str) -> None:
    assert smtp_password(secret, region) == password


def test_smtp_password_refuses_nothing() -> None:
    with pytest.raises(ValueError):
        smtp_password("", "us-east-1")
    with pytest.raises(ValueError):
        smtp_password("x", "")
