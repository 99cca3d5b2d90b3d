"""`recon suppression`: the list over all regions of the stack, at any size, and what is removed from it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from support import ACCOUNT, HOME, OTHER, House, client

from reconciler import suppression

STACK = {"regions": [HOME]}
STATE = {"domains": {"acme.com": {"regions": [HOME, OTHER]}}}


def suppress(region: str, addresses: Iterable[str], reason: str = "BOUNCE") -> None:
    for address in addresses:
        client("sesv2", region).put_suppressed_destination(EmailAddress=address, Reason=reason)


def listed(region: str) -> list[str]:
    found = client("sesv2", region).list_suppressed_destinations(PageSize=1000)
    return sorted(i["EmailAddress"] for i in found["SuppressedDestinationSummaries"])


@pytest.fixture
def lists(house: House) -> House:
    house.write(STATE, stack=STACK)
    suppress(HOME, ["ann@example.com", "bob@example.org"])
    suppress(OTHER, ["ann@example.com"], "COMPLAINT")
    house.clear()
    return house


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


# --- list and export -----------------------------------------------------------------------------------------------


def test_all_regions_of_the_stack_are_listed_and_counted(lists: House) -> None:
    ran = lists.cli("suppression", "list", "state.yaml")
    assert ran.code == 0, ran
    assert [line.split()[1:] for line in ran.out.splitlines()] == [
        [OTHER, "COMPLAINT", "ann@example.com"],
        [HOME, "BOUNCE", "ann@example.com"],
        [HOME, "BOUNCE", "bob@example.org"],
    ]
    assert "eu-west-1: 1 COMPLAINT" in ran.err
    assert "us-east-1: 2 BOUNCE" in ran.err
    assert lists.writes() == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--region", OTHER], ["ann"]),
        (["--reason", "bounce"], ["ann", "bob"]),
        (["--match", "*@EXAMPLE.org"], ["bob"]),
        (["--since", "1d"], ["ann", "ann", "bob"]),
        (["--until", "2020-01-01"], []),
    ],
)
def test_filters(lists: House, options: list[str], expected: list[str]) -> None:
    ran = lists.cli("suppression", "list", "state.yaml", "--format", "json", *options)
    assert ran.code == 0, ran
    document = json.loads(ran.out)
    assert sorted(e["address"].split("@")[0] for e in document["suppressed"]) == expected
    assert document["outcome"] == "no_changes"


def test_a_list_of_many_pages_is_exported_whole(house: House) -> None:
    house.write({}, stack=STACK)
    many = [f"user{number}@example.com" for number in range(2300)]
    house.sandbox.seed(suppressed=[{"region": HOME, "addresses": many}])
    house.clear()
    ran = house.cli("suppression", "export", "state.yaml", "--out", "list.csv")
    assert ran.code == 0, ran
    assert sorted(r["address"] for r in rows((house.home / "list.csv").read_text())) == sorted(many)
    calls = [c for c in house.sandbox.calls() if c["operation"] == "ListSuppressedDestinations"]
    assert len(calls) == 3


def test_an_unread_region_is_an_error_and_no_partial_file_is_written(lists: House) -> None:
    lists.sandbox.fault("denied", service="sesv2", operation="ListSuppressedDestinations", region=OTHER, count=None)
    ran = lists.cli("suppression", "export", "state.yaml", "--out", "list.csv")
    assert ran.code == 1
    assert "ses:ListSuppressedDestinations" in ran.err
    assert not list(lists.home.glob("list.csv*"))
    ran = lists.cli("suppression", "list", "state.yaml", "--format", "json")
    document = json.loads(ran.out)
    assert (ran.code, document["outcome"], len(document["suppressed"])) == (1, "error", 2)
    assert document["diagnostics"][0]["severity"] == "error"
    ran = lists.cli("suppression", "list", "state.yaml")
    assert f"{OTHER}: not read\n" in ran.err
    assert f"{OTHER}: none" not in ran.err
    assert f"{HOME}: " in ran.err
    assert f"{HOME}: not read" not in ran.err


def test_json_lines_and_csv_say_the_same(lists: House) -> None:
    as_csv = rows(lists.cli("suppression", "export", "state.yaml").out)
    as_lines = [
        json.loads(line)
        for line in lists.cli("suppression", "export", "state.yaml", "--format", "jsonl").out.splitlines()
    ]
    assert as_csv == as_lines
    assert len(as_csv) == 3


def test_hostile_addresses_are_inert(house: House) -> None:
    house.write({}, stack=STACK)
    evil = 'a"b,\x1b[31m\u202e@example.com'
    house.sandbox.seed(suppressed=[{"region": HOME, "addresses": [evil]}])
    assert "\x1b" not in house.cli("suppression", "list", "state.yaml").out
    (row,) = rows(house.cli("suppression", "export", "state.yaml").out)
    assert row["address"] == evil


EVIL = (
    "=cmd@example.com", "+1@example.com", "-1@example.com", "@sum@example.com", "\t=1@example.com", "\r=1@example.com",
    "\x1b=1@example.com", "\uff1d1@example.com", "'=1@example.com", "''+1@example.com", " =1@example.com",
)  # fmt: skip
"""Addresses that a spreadsheet could take for a formula, and such as already have an apostrophe."""
PLAIN = ("ann@example.com", "o'hara@example.com", "'ann@example.com", "a=b@example.com", "1@example.com")


@pytest.mark.parametrize("address", [*EVIL, *PLAIN])
def test_no_cell_is_a_formula_and_every_address_comes_back(house: House, address: str) -> None:
    house.write({}, stack=STACK)
    house.sandbox.seed(suppressed=[{"region": HOME, "addresses": [address]}])
    text = house.cli("suppression", "export", "state.yaml").out
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row["address"] == ("'" if address in EVIL else "") + address
    assert row["address"].lstrip("'")[:1] not in "=+-@" or row["address"].startswith("'")
    assert suppression.from_cell(row["address"]) == address


@pytest.mark.parametrize("address", [*EVIL[:4], EVIL[8], EVIL[9], *PLAIN])
def test_an_export_removes_what_it_names(house: House, address: str) -> None:
    if not suppression.is_address(address):
        pytest.skip("SES has no such address")
    house.write({}, stack=STACK)
    house.sandbox.seed(suppressed=[{"region": HOME, "addresses": [address]}])
    assert house.cli("suppression", "export", "state.yaml", "--out", "mine.csv").code == 0
    ran = house.cli("suppression", "remove", "--from", "mine.csv", "state.yaml", "--auto-approve")
    assert ran.code == 0 and listed(HOME) == [], ran


@pytest.mark.parametrize("line", ["{" * 50_000, "{}", '{"address": []}', "x" * 200_000, '"' * 9, "\0", "[]"])
def test_a_line_that_is_no_address_is_named(house: House, line: str) -> None:
    house.write({}, stack=STACK)
    (house.home / "bad").write_text(f"{line}\n")
    ran = house.cli("suppression", "remove", "--from", "bad", "state.yaml", "--auto-approve")
    assert ran.code == 1 and "bad:1" in ran.err and "Traceback" not in ran.err, ran


# --- remove --------------------------------------------------------------------------------------------------------


def test_an_address_is_removed_from_every_region_and_twice_is_not_an_error(lists: House) -> None:
    ran = lists.cli("suppression", "remove", "ann@example.com", "state.yaml", "--auto-approve")
    assert ran.code == 0, ran
    assert "2 entries removed" in ran.out
    assert "1 of them complained" in ran.err
    assert (listed(HOME), listed(OTHER)) == (["bob@example.org"], [])
    ran = lists.cli("suppression", "remove", "ann@example.com", "state.yaml", "--auto-approve", "--format", "json")
    document = json.loads(ran.out)
    assert (ran.code, document["outcome"], document["absent"]) == (0, "no_changes", ["ann@example.com"])
    history = lists.cli("history", "state.yaml").out
    assert "suppression remove" in history
    assert "ann@" not in history


def test_a_question_comes_first(lists: House) -> None:
    ran = lists.cli("suppression", "remove", "ann@example.com", "state.yaml")
    assert (ran.code, listed(OTHER)) == (1, ["ann@example.com"])
    ran = lists.cli("suppression", "remove", "ann@example.com", "state.yaml", answer="no")
    assert (ran.code, listed(OTHER)) == (1, ["ann@example.com"])
    ran = lists.cli("suppression", "remove", "ann@example.com", "state.yaml", answer="yes")
    assert (ran.code, listed(OTHER)) == (0, [])


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_an_export_is_removed_from_the_regions_that_it_names(lists: House, format: str) -> None:
    ran = lists.cli("suppression", "export", "state.yaml", "--region", HOME, "--format", format, "--out", "mine")
    assert ran.code == 0, ran
    ran = lists.cli("suppression", "remove", "--from", "mine", "state.yaml", "--auto-approve")
    assert ran.code == 0, ran
    assert (listed(HOME), listed(OTHER)) == ([], ["ann@example.com"])


def test_many_addresses_are_found_by_reading_the_lists(house: House) -> None:
    house.write({}, stack=STACK)
    many = [f"user{number}@example.com" for number in range(70)]
    house.sandbox.seed(suppressed=[{"region": HOME, "addresses": many}])
    (house.home / "mine").write_text("# bounced\n" + "\n".join([*many[:60], "nobody@example.com"]))
    house.clear()
    ran = house.cli("suppression", "remove", "--from", "mine", "state.yaml", "--auto-approve")
    assert ran.code == 0, ran
    assert "60 entries removed" in ran.out
    assert "nobody@example.com is not on any list" in ran.err
    assert listed(HOME) == sorted(many[60:])
    assert not [c for c in house.sandbox.calls() if c["operation"] == "GetSuppressedDestination"]


def test_all_bad_lines_are_reported_before_aws_is_asked(lists: House) -> None:
    (lists.home / "mine").write_text(
        "ann@example.com\nnot an address\naddress,region\nbob@example.org,ap-south-1\n{no\n"
    )
    ran = lists.cli("suppression", "remove", "--from", "mine", "state.yaml", "--auto-approve")
    assert ran.code == 1
    for place in ("mine:2", "mine:4", "mine:5"):
        assert place in ran.err, ran
    assert lists.sandbox.calls() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "state.yaml", "--reason", "SPAM"], "BOUNCE or COMPLAINT"),
        (["list", "state.yaml", "--since", "lately"], "not a day"),
        (["list", "state.yaml", "--region", "ap-south-1"], "it is in eu-west-1, us-east-1"),
        (["export", "state.yaml", "--format", "xml"], "csv or jsonl"),
        (["export", "state.yaml", "--out", "nowhere/list.csv"], "could not be written"),
        (["remove", "--auto-approve"], "no address"),
        (["remove", "ann", "state.yaml", "--auto-approve"], "ann is not an e-mail address"),
        (["remove", "--from", "nowhere", "state.yaml", "--auto-approve"], "could not be read"),
    ],
)
def test_bad_input(lists: House, arguments: list[str], words: str) -> None:
    ran = lists.cli("suppression", *arguments)
    assert ran.code == 1
    assert words in ran.err
    assert "Traceback" not in ran.err


def test_a_region_that_fails_is_reported_and_a_second_run_finishes(lists: House) -> None:
    lists.sandbox.fault("denied", service="sesv2", operation="DeleteSuppressedDestination", region=OTHER, count=None)
    arguments: list[Any] = ["suppression", "remove", "ann@example.com", "state.yaml", "--auto-approve"]
    ran = lists.cli(*arguments)
    assert ran.code == 1
    assert "ses:DeleteSuppressedDestination" in ran.err
    assert (listed(HOME), listed(OTHER)) == (["bob@example.org"], ["ann@example.com"])
    lists.sandbox.clear_faults()
    assert lists.cli(*arguments).code == 0
    assert listed(OTHER) == []


def test_the_roles_that_recon_prints_are_enough(lists: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for purpose, arguments in (
        ("plan", ["suppression", "list", "state.yaml"]),
        ("apply", ["suppression", "remove", "ann@example.com", "state.yaml", "--auto-approve"]),
    ):
        document = json.loads(lists.cli("iam-policy", purpose, "state.yaml").out)
        key = f"AKIA{purpose.upper():Y<16}"
        lists.sandbox.principal(key, arn=f"arn:aws:iam::111122223333:role/{purpose}", policies=[document])
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        ran = lists.cli(*arguments)
        assert ran.code == 0, ran


# --- add and stats -------------------------------------------------------------------------------------------------


def test_addresses_are_added_in_every_region_and_twice_is_not_an_error(lists: House) -> None:
    options = ("suppression", "add", "ann@example.com", "zoe@example.com", "state.yaml", "--auto-approve")
    ran = lists.cli(*options, "--format", "json")
    assert ran.code == 0, ran
    assert {(e["address"], e["region"], e["reason"]) for e in ran.json["added"]} == {
        ("zoe@example.com", OTHER, "BOUNCE"), ("zoe@example.com", HOME, "BOUNCE")
    }  # fmt: skip
    assert ran.json["present"] == ["ann@example.com"]
    assert "zoe@example.com" in listed(HOME) and "zoe@example.com" in listed(OTHER)
    lists.clear()
    assert lists.cli(*options, "--format", "json").json["outcome"] == "no_changes"
    assert lists.writes() == []


def test_an_export_is_added_with_its_reasons_where_it_names_them(lists: House, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("address,reason,region\nx@example.com,COMPLAINT,us-east-1\ny@example.com,,\n", encoding="utf-8")
    ran = lists.cli("suppression", "add", "--from", str(file), "state.yaml", "--auto-approve", "--format", "json")
    assert ran.code == 0, ran
    assert {(e["address"], e["region"], e["reason"]) for e in ran.json["added"]} == {
        ("x@example.com", HOME, "COMPLAINT"), ("y@example.com", HOME, "BOUNCE"), ("y@example.com", OTHER, "BOUNCE")
    }  # fmt: skip
    assert "x@example.com" not in listed(OTHER)


def test_many_addresses_are_added_and_a_second_run_adds_what_failed(house: House, tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("".join(f"u{n}@example.com\n" for n in range(150)) + "# a comment\nU1@example.com\n", "utf-8")
    options = ("suppression", "add", "--from", str(file), "--region", HOME, "--auto-approve", "--account", ACCOUNT)
    house.sandbox.fault("denied", service="sesv2", operation="PutSuppressedDestination", skip=100, count=5)
    ran = house.cli(*options)
    assert ran.code == 1, ran
    assert "145 entries added, 5 left" in ran.out
    house.sandbox.clear_faults()
    ran = house.cli(*options)
    assert (ran.code, "5 entries added; 145 were on the list already" in ran.out) == (0, True), ran
    assert len(listed(HOME)) == 150


@pytest.mark.parametrize(
    ("line", "words"),
    [("not an address", "is not an e-mail address"), ('{"address": "a@b.c", "reason": "SPAM"}', "is no reason"),
     ('{"address": "a@b.c", "region": "moon-1"}', "is not among the regions")],
)  # fmt: skip
def test_bad_lines_are_reported_before_anything_is_added(lists: House, tmp_path: Path, line: str, words: str) -> None:
    file = tmp_path / "list.txt"
    file.write_text(f"good@example.com\n{line}\n", encoding="utf-8")
    ran = lists.cli("suppression", "add", "--from", str(file), "state.yaml", "--auto-approve")
    assert (ran.code, words in ran.err, ":2" in ran.err, lists.writes()) == (1, True, True, []), ran


def test_stats_count_by_week_reason_and_receiver(lists: House, monkeypatch: pytest.MonkeyPatch) -> None:
    lists.sandbox.advance(14 * 86400)
    suppress(HOME, ["Eve@GMAIL.com", "mal@gmail.com"], "COMPLAINT")
    ran = lists.cli("suppression", "stats", "state.yaml", "--format", "json")
    assert ran.code == 0, ran
    assert ran.json["total"] == {"addresses": 5, "BOUNCE": 2, "COMPLAINT": 3}
    assert ran.json["receivers"][0] == {"receiver": "example.com", "addresses": 2, "BOUNCE": 1, "COMPLAINT": 1}
    assert {r["receiver"]: r["addresses"] for r in ran.json["receivers"]} == {
        "example.com": 2, "gmail.com": 2, "example.org": 1
    }  # fmt: skip
    weeks = ran.json["weeks"]
    assert [w["addresses"] for w in weeks if w["region"] == HOME] == [2, 2]
    assert weeks[0]["week"] > weeks[-1]["week"]
    assert all(date.fromisoformat(w["week"]).weekday() == 0 for w in weeks)
    text = lists.cli("suppression", "stats", "state.yaml", "--top", "1")
    assert text.out.startswith("5 addresses are suppressed: 2 BOUNCE, 3 COMPLAINT."), text
    assert "and 2 more" in text.out
    assert "@" not in text.out
    lists.sandbox.fault("denied", service="sesv2", operation="ListSuppressedDestinations", region=OTHER, count=None)
    assert lists.cli("suppression", "stats", "state.yaml").code == 1


def test_the_lists_need_no_yaml(lists: House) -> None:
    ran = lists.cli("suppression", "list", "--no-state", "--region", OTHER)
    assert (ran.code, "ann@example.com" in ran.out) == (0, True), ran
    ran = lists.cli("suppression", "stats", "--no-state", "--region", HOME, "--format", "json")
    assert (ran.json["stack"], ran.json["total"]["addresses"]) == (None, 2)
