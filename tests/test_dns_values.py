"""Values that no TXT record of Route 53 can hold: refused with a message, by validate where they are declared, by plan
where what is live makes them too long."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest
from support import House

from reconciler.mail import txt
from reconciler.resources.dns_record import marker

LONG = "x" * 4_200
TOO_LONG = [f"mailto:{'r' * 50}{n}@reports.example" for n in range(60)]

DECLARED: dict[str, tuple[dict[str, Any], str]] = {
    "a raw DMARC record with a character": ({"dmarc": "v=DMARC1; p=none; x=€"}, "'€'"),
    "a raw DMARC record that is too long": ({"dmarc": f"v=DMARC1; p=none; x={LONG}"}, "4000"),
    "DMARC tags that are too long": ({"dmarc": {"p": "none", "rua": TOO_LONG}}, "4000"),
    "a raw BIMI record with a character": ({"bimi": "v=BIMI1; l=https://acme.com/a.svg; a=; x=Ā"}, "'Ā'"),
    "a raw BIMI record that is too long": ({"bimi": f"v=BIMI1; l=https://acme.com/{LONG}.svg"}, "4000"),
    "SPF terms that are too long": ({"spf": {"include": [f"{'s' * 50}{n}.example" for n in range(80)]}}, "4000"),
    "quotes that make it too long": ({"dmarc": "v=DMARC1; p=none; x=" + '"' * 2_000}, "4000"),
}


@pytest.mark.parametrize("name", DECLARED)
@pytest.mark.parametrize("zone", ["auto", "manual"])
def test_a_declared_value_that_does_not_fit_is_refused(name: str, zone: str, house: House) -> None:
    values, words = DECLARED[name]
    house.write({"domains": {"acme.com": {"zone": zone, **values}}})
    for command in ("validate", "plan", "drift"):
        ran = house.cli(command, "state.yaml", "--format", "json")
        assert ran.code == 1, ran
        assert ran.json["outcome"] == "invalid"
        assert words in ran.out
    assert not house.calls()


def test_a_live_record_that_ours_makes_too_long_is_refused(house: House) -> None:
    """Others have filled the SPF record: ours does not fit, everything else is planned."""
    house.seed_zone()
    theirs = "v=spf1 " + " ".join(f"ip4:192.0.2.{n % 250}/{n % 8 + 24}" for n in range(190)) + " ~all"
    assert len(txt.encode(theirs)) < txt.MAX_VALUE
    house.sandbox.seed(records=[{"zone": "acme.com", "name": "acme.com", "type": "TXT", "values": [theirs]}])
    before = house.zone()
    include = [f"{'s' * 50}{n}.example" for n in range(8)]
    house.write({"domains": {"acme.com": {"spf": {"include": include}, "dmarc": {"p": "none"}}}})
    ran = house.cli("plan", "state.yaml", "--format", "json")
    assert ran.code == 3, ran
    (refused,) = [change["refused"] for change in ran.json["changes"] if change.get("refused")]
    assert refused["code"] == "dns-value"
    assert "4000" in refused["message"] and refused["hint"]
    assert house.cli("drift", "state.yaml").code == 2
    assert house.cli("apply", "state.yaml", "--auto-approve").code == 3
    assert house.zone() == before


def test_a_marker_of_many_terms_takes_several_lines(house: House) -> None:
    terms = [f"include:{'s' * 50}{n}.example" for n in range(60)]
    texts = marker.Marker(spf=terms, spf_created=True).texts("acme/production")
    assert len(texts) > 1
    assert all(len(txt.encode(text)) <= txt.MAX_VALUE for text in texts)
    found = marker.read(texts, "acme/production")
    assert (found.spf, found.spf_created) == (terms, True)


@pytest.mark.parametrize("option", ["--port", "--dns-port"])
def test_a_sandbox_on_a_port_that_is_taken_is_one_sentence(option: str, house: House) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ran = house.cli("sandbox", "--port", "0", option, port)
    assert ran.code == 1
    assert f"{port}: Address already in use" in ran.err
    assert "--port 0" in ran.err


def test_a_sandbox_with_unknown_rates_is_one_sentence(house: House) -> None:
    ran = house.cli("sandbox", "--port", "0", "--rates", os.sep)
    assert ran.code == 1
    assert "--rates" in ran.err and "hint" in ran.err
