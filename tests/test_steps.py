"""Waves and batches: what may run when, and which edits share a request. Also what tags and markers remember."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import ReconError
from reconciler.kinds.kind import Need, Order, Step, needs_of, order_of
from reconciler.kinds.ownership import POLICIES, TAGS, pack, unpack
from reconciler.kinds.tags import packed, present
from reconciler.mail import txt
from reconciler.model import Change
from reconciler.resources.dns_record import marker
from reconciler.resources.dns_record.edits import MAX_CHARACTERS, MAX_ELEMENTS, Edit, batches, compose
from reconciler.steps import documented_seconds, longest_chains, schedule, split_after_verification

# --- waves ---------------------------------------------------------------------------------------------------------


def grouped(*steps: Step) -> dict[str, frozenset[str]]:
    return {batch.id: batch.needs for batch in schedule(steps)}


def test_edits_of_one_zone_share_a_batch() -> None:
    assert list(grouped(Step("a", "write", zone="Z"), Step("b", "write", zone="Z"))) == ["Z@0"]
    assert sorted(grouped(Step("a", "write", zone="Z"), Step("b", "write", zone="Y"))) == ["Y@0", "Z@0"]


def test_what_follows_an_answer_takes_another_batch() -> None:
    found = grouped(
        Step("m", "mark", zone="Z"),
        Step("i", "dkim", needs_of("m", "mark")),
        Step("old", "write", needs_of("i", "dkim"), zone="Z"),
    )
    assert found == {"Z@0": frozenset(), "i#dkim": frozenset({"Z@0"}), "Z@1": frozenset({"i#dkim"})}


def test_edits_that_need_each_other_in_one_zone_stay_together() -> None:
    assert list(grouped(Step("m", "mark", zone="Z"), Step("r", "write", needs_of("m", "mark"), zone="Z"))) == ["Z@0"]


def test_what_dns_waits_for_has_the_longer_chain() -> None:
    found = schedule([
        Step("i", "create"), Step("i", "mail_from", needs_of("i", "create")), Step("s", "create"),
        Step("r", "write", needs_of("i", "create"), zone="Z"), Step("i", "verified", needs_of("r", "write")),
    ])  # fmt: skip
    assert longest_chains(found) == {"i#create": 2, "Z@0": 1, "i#mail_from": 0, "s#create": 0, "i#verified": 0}


def test_needs_that_are_not_in_the_run_count_as_met() -> None:
    assert grouped(Step("a", "create", needs_of(["elsewhere"], "create"))) == {"a#create": frozenset()}


def test_a_circle_is_named() -> None:
    with pytest.raises(ReconError, match="a#update"):
        schedule([Step("a", "update", needs_of("b", "update")), Step("b", "update", needs_of("a", "update"))])


def test_what_needs_a_late_step_is_late() -> None:
    steps = [
        Step("a", "create"),
        Step("s", "tracking", needs_of("a", "create"), after_verification=True),
        Step("old", "write", needs_of("s", "tracking"), zone="Z"),
        Step("s", "release", needs_of(["old"], "write")),
    ]
    now, late = split_after_verification(steps)
    assert [str(s.id) for s in now] == ["a#create"]
    assert [str(s.id) for s in late] == ["s#tracking", "old#write", "s#release"]


def test_an_estimate_counts_a_zone_once_and_regions_apart() -> None:
    puts = ("sesv2:PutX",) * 10
    steps = [Step("a", "update", calls=puts, region="us-east-1"), Step("b", "update", calls=puts, region="eu-west-1")]
    steps += [Step(str(n), "write", zone="Z", calls=("route53:ChangeResourceRecordSets",)) for n in range(50)]
    assert documented_seconds(steps) == (21, 10)
    assert documented_seconds([]) == (0, 0)


def test_an_order_comes_back_from_the_change_that_holds_it() -> None:
    order = Order(("a",), ("b",), ("c", "d"))
    change = Change("x", "x", "update", None, None, execution=order.execution())
    assert order_of(change) == order
    assert order.first() == (Need("a", "write"), Need("b", "mark"))
    assert set(order.last()) == {*needs_of("cd", "write", "delete")}
    assert Order().execution() == {}


# --- edits ---------------------------------------------------------------------------------------------------------


def raw(name: str, *values: str, type_: str = "TXT", ttl: int = 300) -> dict[str, object]:
    return {"Name": f"{name}.", "Type": type_, "TTL": ttl, "ResourceRecords": [{"Value": v} for v in values]}


def test_a_change_deletes_exactly_what_was_read() -> None:
    live = raw("a.example", '"keep"', '"old"', ttl=900)
    (change,) = compose([Edit("x", "a.example", "TXT", ('"old"',), ('"new"',))], {("a.example", "TXT"): live})
    delete, create = change.changes
    assert (delete["Action"], delete["ResourceRecordSet"]) == ("DELETE", live)
    assert (create["Action"], create["ResourceRecordSet"]) == ("CREATE", raw("a.example", '"keep"', '"new"', ttl=900))


def test_edits_of_one_set_are_joined_and_what_ends_as_it_began_drops_out() -> None:
    live = {("a.example", "TXT"): raw("a.example", '"one"')}
    both = compose(
        [Edit("x", "a.example", "TXT", add=('"two"',)), Edit("y", "a.example", "TXT", add=('"three"',))], live
    )
    assert len(both) == 1
    assert both[0].addresses == ("x", "y")
    assert compose([Edit("x", "a.example", "TXT", add=('"one"',))], live) == []
    assert compose([Edit("x", "a.example", "TXT", remove=('"gone"',))], live) == []
    assert compose([Edit("x", "b.example", "TXT", remove=('"gone"',))], {}) == []


def test_the_last_value_takes_the_set_along() -> None:
    (change,) = compose(
        [Edit("x", "a.example", "TXT", remove=('"one"',))], {("a.example", "TXT"): raw("a.example", '"one"')}
    )
    assert [c["Action"] for c in change.changes] == ["DELETE"]


def test_markers_that_grow_come_first_and_those_that_shrink_last() -> None:
    live = {("_recon.b.example", "TXT"): raw("_recon.b.example", '"old"')}
    edits = [
        Edit("shrink", "_recon.b.example", "TXT", remove=('"old"',)),
        Edit("x", "a.example", "TXT", add=('"v"',)),
        Edit("grow", "_recon.z.example", "TXT", add=('"new"',)),
    ]
    assert [c.addresses[0] for c in compose(edits, live)] == ["grow", "x", "shrink"]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from(["TXT", "MX"]), st.integers(1, 400), st.integers(1, 90)),
        max_size=60,
    )
)
def test_batches_keep_the_limits_and_never_split_a_name(sizes: list[tuple[int, str, int, int]]) -> None:
    edits, seen = [], set()
    for name, type_, count, length in sizes:
        if (name, type_) not in seen:
            seen.add((name, type_))
            values = tuple(f"{n:04}".ljust(length, "x") for n in range(count))
            edits.append(Edit(f"{name}{type_}", f"n{name}.example", type_, add=values))
    changes = compose(edits, {})
    found = list(batches(changes))
    assert [c for batch in found for c in batch] == changes
    for batch in found:
        if len({c.key[0] for c in batch}) > 1:
            assert sum(c.elements for c in batch) <= MAX_ELEMENTS
            assert sum(c.characters for c in batch) <= MAX_CHARACTERS
    homes: dict[str, int] = {}
    for number, batch in enumerate(found):
        for change in batch:
            assert homes.setdefault(change.key[0], number) == number


# --- what remembers ------------------------------------------------------------------------------------------------


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=60)


@settings(deadline=None)
@given(st.frozensets(names, max_size=40))
def test_packed_names_come_back_and_fit_the_tags_of_ses(items: frozenset[str]) -> None:
    tags = pack(items, POLICIES)
    assert unpack(tags, POLICIES) == items
    for value in tags.values():
        assert all(c.isascii() and (c.isalnum() or c in " +-=._:/@") for c in value)
        assert len(value) <= 256


@settings(deadline=None)
@given(st.frozensets(names, max_size=20), st.frozensets(names, max_size=20))
def test_a_shorter_list_takes_away_the_tags_of_a_longer_one(old: frozenset[str], new: frozenset[str]) -> None:
    live = pack(old, TAGS)
    wanted = packed(live, TAGS, new)
    after = present({**live, **wanted})
    assert unpack(after, TAGS) == new


label = st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True)


@settings(deadline=None)
@given(
    st.frozensets(st.sampled_from(["dmarc", "bimi", "null_mx"])),
    st.sampled_from(["", "yes", "shared"]),
    st.lists(st.builds("include:{}.example".format, label), unique=True, max_size=4),
    st.lists(
        st.builds(marker.Own, label, st.sampled_from(["CNAME", "TXT", "MX"]), st.just('"a b" "c\\"d"')),
        unique=True,
        max_size=3,
    ),
)
def test_a_marker_comes_back_as_it_was_put(
    groups: frozenset[str], created: str, terms: list[str], own: list[marker.Own]
) -> None:
    put = marker.Marker(set(groups), terms, created == "yes", own, created == "shared")
    stored = [txt.decode(txt.encode(t)) for t in put.texts("acme/production")]
    foreign = [
        *marker.Marker({"dmarc", "bimi"}).texts("acme"),
        "v=spf1 -all",
        "v=recon1; stack=acme/production; later=1",
    ]
    found = marker.read([*foreign, *stored], "acme/production")
    assert found.groups == set(groups)
    assert (found.spf or []) == terms
    assert (found.spf_created, found.spf_shared) == (created == "yes", created == "shared")
    assert found.own == own
    assert all(marker.is_ours(t, "acme/production") and not marker.is_ours(t, "acme") for t in stored)
