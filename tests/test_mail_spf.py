"""SPF: one record, shared with others. Reading, merging, removing, and the laws that keep foreign terms whole."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reconciler.mail import spf

OURS = "include:_spf.crm.example"
FOREIGN = st.sampled_from(
    ["mx", "a", "+a:Mail.Example.org", "include:_spf.google.com", "ip4:192.0.2.0/24", "~ip6:2001:DB8::/32", "?ptr",
     "exists:%{i}._spf.%{d}", "exp=explain.example", "unknown-thing", "x=%%", "INCLUDE:Mixed.Example"]
)  # fmt: skip
WANTED = st.lists(
    st.sampled_from([OURS, "ip4:198.51.100.7", "a:relay.acme.com", "mx:acme.com", "include:amazonses.com"]), unique=True
)
ALL = st.sampled_from([None, "~all", "-all", "?all"])
RECORDS = st.builds(
    lambda before, all_, after: " ".join(["v=spf1", *before, *([all_] if all_ else []), *after]),
    st.lists(FOREIGN, max_size=5), ALL, st.lists(FOREIGN, max_size=2),
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("v=spf1 -all", True), ("V=SPF1 -all", True), ("v=spf1", True), ("v=spf10 -all", False),
        (" v=spf1 -all", False), ("spf2.0/pra -all", False), ("", False),
    ],
)  # fmt: skip
def test_is_record(text: str, expected: bool) -> None:
    assert spf.is_record(text) is expected


def test_parse() -> None:
    record = spf.parse("v=spf1 mx ~include:A.example a/24 ip4:192.0.2.1 exp=e.example redirect=r.example -ALL")
    assert [term.name for term in record.terms] == ["mx", "include", "a", "ip4", "exp", "redirect", "all"]
    assert record.terms[1].qualifier == "~"
    assert record.terms[2].value == "/24"
    assert record.all is not None
    assert record.all.text == "-ALL"
    assert record.redirect == "r.example"
    assert record.modifiers == {"exp": "e.example", "redirect": "r.example"}
    with pytest.raises(ValueError, match="not an SPF record"):
        spf.parse("v=DMARC1; p=none")


@pytest.mark.parametrize(
    ("live", "terms", "all_", "previous", "expected"),
    [
        (None, [OURS], None, [], f"v=spf1 {OURS} ~all"),
        (None, [], "-all", [], "v=spf1 -all"),
        ("v=spf1 mx -all", [OURS], None, [], f"v=spf1 mx {OURS} -all"),
        ("v=spf1 mx", [OURS], None, [], f"v=spf1 mx {OURS}"),
        ("v=spf1 mx", [OURS], "~all", [], f"v=spf1 mx {OURS} ~all"),
        ("v=spf1 mx -all", [], "~all", [], "v=spf1 mx ~all"),
        ("v=spf1  mx   -ALL ", [], "-all", [], "v=spf1  mx   -ALL "),
        ("V=SPF1 MX Include:_SPF.Crm.Example. ?all", [OURS], None, [], "V=SPF1 MX Include:_SPF.Crm.Example. ?all"),
        ("v=spf1 ip4:192.0.2.7/32 -all", ["ip4:192.0.2.7"], None, [], "v=spf1 ip4:192.0.2.7/32 -all"),
        ("v=spf1 +mx -all", ["mx"], None, [], "v=spf1 +mx -all"),
        ("v=spf1 mx include:old.example -all", [OURS], None, ["include:old.example"], f"v=spf1 mx {OURS} -all"),
        ("v=spf1 mx include:old.example -all", [], None, ["include:OLD.example"], "v=spf1 mx -all"),
        ("v=spf1 mx -all", [OURS], None, [OURS], f"v=spf1 mx {OURS} -all"),
        (f"v=spf1 mx -all {OURS}", [OURS], None, [], f"v=spf1 mx {OURS} -all"),
        ("v=spf1 redirect=x.example -all", [OURS], None, [], f"v=spf1 redirect=x.example {OURS} -all"),
        (f"v=spf1 {OURS} redirect=x.example", [OURS], None, [], f"v=spf1 {OURS} redirect=x.example"),
        ("v=spf1 redirect=x.example", [OURS], None, [], f"v=spf1 {OURS} redirect=x.example"),
        ("v=spf1 mx exp=e.x REDIRECT=x.example", [OURS], None, [], f"v=spf1 mx exp=e.x {OURS} REDIRECT=x.example"),
        (
            "v=spf1 redirect=x.example mx",
            [OURS, "a:b.example"],
            None,
            [],
            f"v=spf1 {OURS} a:b.example redirect=x.example mx",
        ),
        ("v=spf1 a:b.example redirect=x.example", [OURS], None, ["a:b.example"], f"v=spf1 {OURS} redirect=x.example"),
        ("v=spf1 weird! mx -all", [OURS], None, [], f"v=spf1 weird! mx {OURS} -all"),
    ],
)
def test_merge(live: str | None, terms: list[str], all_: str | None, previous: list[str], expected: str) -> None:
    merged = spf.merge(live, terms, all_, previous)
    assert merged == expected
    assert spf.merge(merged, terms, all_, previous) == merged


@pytest.mark.parametrize(
    ("live", "terms", "all_", "reason"),
    [
        ("v=spf1 redirect=x.example", [OURS], "~all", "redirect=x.example"),
        (f"v=spf1 {OURS} redirect=x.example", [OURS], "~all", "ignore beside ~all"),
        ("v=spf1 redirect=x.example", [], "-all", "redirect=x.example"),
        (f"v=spf1 -{OURS} ~all", [OURS], None, f"already has -{OURS}"),
        ("v=spf1 ?ip4:192.0.2.1 ~all", ["ip4:192.0.2.1/32"], None, "decides before"),
    ],
)
def test_merge_conflicts(live: str, terms: list[str], all_: str | None, reason: str) -> None:
    with pytest.raises(spf.SpfConflict, match=reason) as caught:
        spf.merge(live, terms, all_)
    assert caught.value.hint


def test_merge_refuses_other_texts() -> None:
    with pytest.raises(ValueError, match="not an SPF record"):
        spf.merge("google-site-verification=x", [OURS], None)


@pytest.mark.parametrize(
    ("live", "terms", "drop_all", "expected"),
    [
        (f"v=spf1 {OURS} ~all", [OURS], True, None),
        (f"v=spf1 {OURS} ~all", [OURS], False, "v=spf1 ~all"),
        (f"v=spf1 {OURS}", [OURS], False, None),
        (f"v=spf1 mx {OURS} ~all", [OURS], True, "v=spf1 mx ~all"),
        ("v=spf1 mx -all", [OURS], False, "v=spf1 mx -all"),
        ("v=spf1  mx  -all", [OURS], False, "v=spf1  mx  -all"),
        ("v=spf1 -all", [], True, None),
        ("v=spf1", [], False, "v=spf1"),
        (f"v=spf1 -{OURS} -all", [OURS], False, f"v=spf1 -{OURS} -all"),
    ],
)
def test_remove(live: str, terms: list[str], drop_all: bool, expected: str | None) -> None:
    assert spf.remove(live, terms, drop_all) == expected


def test_terms_present() -> None:
    live = "v=spf1 INCLUDE:_spf.CRM.example -mx ~all a"
    assert spf.terms_present(live, [OURS, "mx", "a"]) == (OURS,)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("v=spf1 -all", 0),
        ("v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 -all", 0),
        ("v=spf1 a mx ptr include:x.example exists:%{i}.x -all", 5),
        ("v=spf1 redirect=x.example", 1),
        ("v=spf1 -all redirect=x.example include:y.example", 0),
        ("v=spf1 " + " ".join(f"include:{n}.example" for n in range(11)) + " -all", 11),
    ],
)
def test_lookups(text: str, count: int) -> None:
    assert spf.lookups(text) == count


def test_targets() -> None:
    assert spf.targets("v=spf1 include:A.example. include:%{d}.x redirect=r.example") == ("a.example", "r.example")
    assert spf.targets("v=spf1 include:a.example -all redirect=r.example") == ("a.example",)
    assert spf.links("v=spf1 ?include:a.example redirect=R.example.") == {
        "a.example": "?include:a.example", "r.example": "redirect=R.example."
    }  # fmt: skip


def test_problems() -> None:
    assert spf.problems("v=spf1 include:amazonses.com ~all") == []
    text = "v=spf1 bogus ip4:300.1.1.1 include: ptr -all mx redirect=a redirect=b"
    found = " | ".join(spf.problems(text))
    for part in ("'bogus'", "ip4:300.1.1.1", "include: names no domain", "ptr", "after -all", "ignored", "more than"):
        assert part in found
    assert "11 terms need DNS" in spf.problems("v=spf1 " + "mx " * 11 + "-all")[0]


@pytest.mark.parametrize(
    ("value", "terms", "all_"),
    [
        ({"include": ["_spf.crm.example"]}, (OURS,), None),
        ({"include": "_SPF.crm.example.", "all": "~ALL"}, (OURS,), "~all"),
        ({"all": "-all"}, (), "-all"),
        ({"ip4": ["192.0.2.0/24"], "ip6": "2001:DB8::1"}, ("ip4:192.0.2.0/24", "ip6:2001:db8::1"), None),
        ({"a": True, "mx": "/24"}, ("a", "mx/24"), None),
        ({"a": ["relay.acme.com/28//64"]}, ("a:relay.acme.com/28//64",), None),
        ({"exists": "%{i}._spf.%{d}"}, ("exists:%{i}._spf.%{d}",), None),
        ({"include": None, "mx": False}, (), None),
        ({"mx": [True, True]}, ("mx",), None),
    ],
)
def test_from_yaml(value: dict[str, Any], terms: tuple[str, ...], all_: str | None) -> None:
    assert spf.from_yaml(value) == spf.SpfWanted(terms, all_)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"includes": ["x.example"]}, "did you mean include"),
        ({"include": ["include:x.example"]}, "leave out the include:"),
        ({"include": ["x.example y.example"]}, "not one value"),
        ({"include": [True]}, "needs a value"),
        ({"include": ["x.example/24"]}, "prefix length"),
        ({"ip4": "2001:db8::1"}, "belongs under ip6"),
        ({"ip4": "300.0.0.1"}, "not an IPv4"),
        ({"a": "x.example/abc"}, "prefix length"),
        ({"a": 7}, "not a text"),
        ({"all": "no"}, "~all"),
        ({"all": False}, "~all"),
        ("v=spf1 -all", "mapping"),
        ({"include": "bad..name"}, "empty label"),
    ],
)
def test_from_yaml_refuses(value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        spf.from_yaml(value)


# --- laws ----------------------------------------------------------------------------------------------------------


def merged_or_conflict(live: str, terms: list[str], all_: str | None) -> str | None:
    try:
        return spf.merge(live, terms, all_)
    except spf.SpfConflict:
        return None


@given(RECORDS, WANTED, ALL)
def test_merge_is_idempotent_and_complete(live: str, terms: list[str], all_: str | None) -> None:
    merged = merged_or_conflict(live, terms, all_)
    assume(merged is not None)
    assert merged is not None
    assert spf.merge(merged, terms, all_) == merged
    assert spf.terms_present(merged, terms) == tuple(terms)
    if all_:
        record = spf.parse(merged)
        assert record.all is not None
        assert record.all.text == all_


@given(RECORDS, WANTED, ALL)
def test_merge_keeps_foreign_terms_in_order(live: str, terms: list[str], all_: str | None) -> None:
    merged = merged_or_conflict(live, terms, all_)
    assume(merged is not None)
    assert merged is not None
    ours = {spf.parse_term(text).key for text in terms}

    def foreign(text: str) -> list[str]:
        return [term.text for term in spf.parse(text).terms if term.key not in ours and term.name != "all"]

    assert foreign(merged) == foreign(live)


@given(RECORDS, WANTED)
def test_removing_what_was_merged_leaves_the_rest(live: str, terms: list[str]) -> None:
    assume(not spf.terms_present(live, terms))
    assume(not any(spf.parse_term(text).key in {term.key for term in spf.parse(live).terms} for text in terms))
    merged = merged_or_conflict(live, terms, None)
    assume(merged is not None)
    assert merged is not None
    left = spf.remove(merged, terms, drop_all=False)
    assert left == (live if spf.parse(live).terms or not terms else None)
    assert spf.merge(merged, [], None, terms) == live


@given(st.text(max_size=120))
def test_any_text(text: str) -> None:
    for candidate in (text, "v=spf1 " + text):
        try:
            record = spf.parse(candidate)
            spf.lookups(candidate)
            spf.problems(candidate)
            spf.targets(candidate)
            merged = spf.merge(candidate, [OURS], "-all")
            spf.remove(candidate, [OURS], True)
        except ValueError as error:
            assert str(error)
        else:
            assert spf.merge(merged, [OURS], "-all") == merged
            assert [term.text for term in record.terms] == [
                part for part in spf.mended(candidate)[6:].split(" ") if part
            ]
