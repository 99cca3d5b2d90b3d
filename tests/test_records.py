"""`recon records`: what must be published in DNS that recon does not hold, in forms that their readers take."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import dns.rdatatype
import dns.zone
import pytest
import yaml
from support import House, client

from reconciler.renderers.records import ZONE_FORMATS, drawn

LONG = "p=" + "MIIBIjANBgkq" * 33
DOCUMENT: dict[str, Any] = {
    "domains": {
        "acme.org": {
            "zone": "manual",
            "dkim": {"signing_attributes_origin": "AWS_SES"},
            "mail_from": {"mail_from_domain": "bounce.acme.org"},
            "dmarc": {"p": "reject", "rua": ["mailto:d@acme.org"]},
            "spf": {"include": ["_spf.crm.example"]},
            "ttl": 600,
        },
        "shop.acme.org": {"zone": "manual", "identity": False, "dmarc": {"p": "reject"}, "null_mx": True},
        "acme.com": {"dmarc": {"p": "none"}},
    },
}  # fmt: skip


@pytest.fixture
def live(house: House) -> House:
    def make() -> None:
        house.seed_zone()
        house.apply(DOCUMENT)

    house.once("two domains in somebody else's DNS", make)
    return house


def ask(house: House, *arguments: str, code: int = 0) -> str:
    host, port = house.sandbox.serve_dns()
    more = ("--resolver", f"{host}:{port}") if {"--check", "--missing"} & {*arguments} else ()
    ran = house.cli("records", *arguments, *more, "state.yaml")
    assert ran.code == code, ran
    return ran.out


def found(house: House, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    document = json.loads(ask(house, *arguments, "--format", "json", code=code))
    assert document["format_version"] == 1
    records: list[dict[str, Any]] = document["records"]
    return records


def expected(house: House) -> set[tuple[str, str, str]]:
    """Name, type and value (an MX with its preference) of every record."""
    tokens = house.identity("acme.org")["DkimAttributes"]["Tokens"]
    return {
        *((f"{token}._domainkey.acme.org", "CNAME", f"{token}.dkim.amazonses.com") for token in tokens),
        ("bounce.acme.org", "MX", "10 feedback-smtp.us-east-1.amazonses.com"),
        ("bounce.acme.org", "TXT", "v=spf1 include:amazonses.com ~all"),
        ("_dmarc.acme.org", "TXT", "v=DMARC1; p=reject; rua=mailto:d@acme.org"),
        ("acme.org", "TXT", "v=spf1 include:_spf.crm.example ~all"),
        ("_dmarc.shop.acme.org", "TXT", "v=DMARC1; p=reject"),
        ("shop.acme.org", "MX", "0 ."),
    }


def publish(house: House, other: dict[str, str] | None = None) -> None:
    """Somebody publishes all of it in a zone that the world asks; ``other`` are values by name instead."""
    if not any(zone["Name"] == "acme.org." for zone in client("route53").list_hosted_zones()["HostedZones"]):
        house.seed_zone("acme.org", {})
    for name, kind, value in expected(house):
        value = (other or {}).get(name, value) if kind == "TXT" else value
        house.change(name, kind, f'"{value}"' if kind == "TXT" else value, zone="acme.org")


def whole(one: dict[str, Any]) -> tuple[str, str, str]:
    value = one["value"] if one["priority"] in {None, ""} else f"{one['priority']} {one['value']}"
    return one["name"], one["type"], value


def read_zone(text: str, origin: str) -> set[tuple[str, str, str]]:
    """A zone file as dnspython reads it."""
    zone = dns.zone.from_text(text, origin=origin, relativize=False, check_origin=False)
    records = set()
    for name, _, data in zone.iterate_rdatas():
        kind = dns.rdatatype.to_text(data.rdtype)
        if kind == "TXT":
            value = b"".join(data.strings).decode()
        elif kind == "MX":
            value = f"{data.preference} {data.exchange.to_text(omit_final_dot=True) or '.'}"
        else:
            value = data.target.to_text(omit_final_dot=True)
        records.add((name.to_text(omit_final_dot=True), kind, value))
    return records


def read_octodns(text: str, origin: str) -> set[tuple[str, str, str]]:
    """octoDNS's YAML by its documentation; octoDNS itself reads it in another test, where it is installed."""
    records = set()
    for label, items in yaml.safe_load(text).items():
        for item in items:
            for value in item.get("values", [item.get("value")]):
                name = f"{label}.{origin}" if label else origin
                if item["type"] == "MX":
                    host = value["exchange"]
                    value = f"{value['preference']} {host if host == '.' else host.removesuffix('.')}"
                elif item["type"] == "TXT":
                    assert not re.search(r"(?<!\\);", value)
                    value = value.replace("\\;", ";")
                records.add((name, item["type"], value if item["type"] == "TXT" else value.removesuffix(" .") + " ."
                             if value.endswith(" .") else value.removesuffix(".")))  # fmt: skip
    return records


def read_terraform(text: str) -> set[tuple[str, str, str]]:
    """Terraform's resources by the part of HCL's grammar that they use; HCL's own parser reads them in another test."""
    records = set()
    names = re.findall(r'^resource "aws_route53_record" "([a-z][a-z0-9_-]*)" \{$', text, re.MULTILINE)
    assert len(set(names)) == len(names) == text.count("\nresource ") + text.startswith("resource ")
    for block in re.findall(r"^resource .*?^\}$", text, re.MULTILINE | re.DOTALL):
        fields = dict(re.findall(r"^  (\w+) += (.*)$", block, re.MULTILINE))
        for value in json.loads(fields["records"].replace("$${", "${")):
            text_of = value.replace('""', "").replace('\\"', '"').replace("\\\\", "\\")
            records.add((json.loads(fields["name"]), json.loads(fields["type"]), text_of))
    return records


def test_all_forms_hold_the_same_records(live: House) -> None:
    wanted = expected(live)
    assert {whole(one) for one in found(live)} == wanted
    rows = list(csv.DictReader(io.StringIO(ask(live, "--format", "csv"))))
    assert {whole(row) for row in rows} == wanted
    for form in ("bind", "cloudflare"):
        assert read_zone(ask(live, "--format", form), "acme.org.") == wanted
    assert all(
        line.endswith(" ; cf_tags=cf-proxied:false")
        for line in ask(live, "--format", "cloudflare").splitlines()
        if " CNAME " in line
    )
    assert read_octodns(ask(live, "--format", "octodns"), "acme.org") == wanted
    assert read_terraform(ask(live, "--format", "terraform")) == wanted
    for form in ("text", "markdown"):
        shown = ask(live, "--format", form)
        assert all(name in shown and value.removeprefix("10 ").removeprefix("0 ") in shown for name, _, value in wanted)
    assert "acme.com" not in ask(live) and "_dmarc.acme.com" in ask(live, "--all")
    assert {one["domain"] for one in found(live, "shop.acme.org")} == {"shop.acme.org"}
    assert {one["ttl"] for one in found(live, "acme.org")} == {600}


def test_octodns_and_hcl_parsers_read_their_forms(live: House) -> None:
    """With octoDNS and an HCL parser, where they are installed; else the skip is printed."""
    try:
        import octodns.provider.yaml  # type: ignore[import-not-found]
    except ImportError:
        octodns = None
    try:
        import hcl2  # type: ignore[import-not-found]
    except ImportError:
        hcl2 = None
    if octodns is None and hcl2 is None:
        pytest.skip("neither octoDNS nor an HCL parser is installed here")
    if hcl2 is not None:
        parsed = hcl2.loads(ask(live, "--format", "terraform"))
        assert len(parsed["resource"]) == len({(n, t) for n, t, _ in expected(live)})
    if octodns is not None:
        from octodns.provider.yaml import YamlProvider  # type: ignore[import-not-found]
        from octodns.zone import Zone  # type: ignore[import-not-found]

        ask(live, "--format", "octodns", "--out", "zones")
        zone = Zone("acme.org.", [])
        YamlProvider("test", str(live.home / "zones"), enforce_order=False).populate(zone)
        assert octodns_values(zone) == expected(live)


def octodns_values(zone: Any) -> set[tuple[str, str, str]]:
    """What octoDNS has read of a zone."""
    read = set()
    for record in zone.records:
        for value in getattr(record, "values", None) or [record.value]:
            text = f"{value.preference} {value.exchange.rstrip('.') or '.'}" if record._type == "MX" else str(value)
            text = text.rstrip(".") if record._type == "CNAME" else text.replace("\\;", ";")
            read.add((record.fqdn.rstrip("."), record._type, text))
    return read


@pytest.mark.skipif(shutil.which("terraform") is None, reason="Terraform is not installed here")
def test_terraform_parses_its_form(live: House) -> None:
    text = ask(live, "--format", "terraform")
    done = subprocess.run(["terraform", "fmt", "-"], input=text, check=True, capture_output=True, text=True)
    assert done.stdout == text, "as Terraform formats it"


@pytest.mark.skipif(shutil.which("named-checkzone") is None, reason="BIND's named-checkzone is not installed here")
def test_named_checkzone_reads_the_bind_form(live: House, tmp_path: Path) -> None:
    head = "$TTL 300\nacme.org. IN SOA ns.acme.org. h.acme.org. 1 2 3 4 5\nacme.org. IN NS ns.example.\n"
    zone = tmp_path / "zone"
    zone.write_text(head + ask(live, "--format", "bind"))
    subprocess.run(["named-checkzone", "acme.org", str(zone)], check=True, capture_output=True)


@pytest.mark.parametrize("value", [LONG, 'v=spf1 "quoted" \\ back', "a${b}%{c}", "ünï", "x" * 255, "y" * 256])
def test_every_text_comes_back(value: str) -> None:
    record = {"domain": "a.example", "name": "a.example", "type": "TXT", "ttl": 1, "priority": None, "value": value,
              "purpose": "dkim", "status": "unchecked", "since": None}  # fmt: skip
    assert read_zone(drawn([record], "bind"), "a.example.") == {("a.example", "TXT", value)}
    assert read_octodns(drawn([record], "octodns"), "a.example") == {("a.example", "TXT", value)}
    (row,) = csv.DictReader(io.StringIO(drawn([record], "csv")))
    assert row["value"] == value
    if "%" not in value:
        assert read_terraform(drawn([record], "terraform")) == {("a.example", "TXT", value)}
    else:
        assert '"a$${b}%%{c}"' in drawn([record], "terraform")


def test_check_and_missing(live: House) -> None:
    statuses = {whole(one): one["status"] for one in found(live, "--check", code=2)}
    assert set(statuses.values()) == {"missing"}
    # somebody publishes all of it in a zone that the world asks, one record wrongly, SPF beside another term
    publish(live, {"_dmarc.acme.org": "v=DMARC1; p=none", "acme.org": "v=spf1 ip4:192.0.2.1 -all"})
    left = found(live, "--missing", code=2)
    assert {(one["name"], one["status"]) for one in left} == {("_dmarc.acme.org", "wrong"), ("acme.org", "wrong")}
    (spf,) = [one for one in left if one["name"] == "acme.org"]
    assert spf["value"] == "v=spf1 ip4:192.0.2.1 include:_spf.crm.example -all"
    publish(live, {"acme.org": spf["value"]})
    assert {one["status"] for one in found(live, "--check")} == {"present"}
    assert ask(live, "--missing") == "No records to publish.\n"


def test_since_when_a_record_is_missing(house: House) -> None:
    house.write({"domains": {**DOCUMENT["domains"], "acme.org": {**DOCUMENT["domains"]["acme.org"]}}})
    house.seed_zone()
    assert house.cli("apply", "state.yaml", "--auto-approve").code == 0
    (run,) = house.cli("history", "state.yaml", "--format", "json").json["runs"]
    (made,) = [step["at"] for step in run["steps"] if step["step"] == "email_identity/us-east-1/acme.org#create"]
    since = {one["name"]: one["since"] for one in found(house, "--check", code=2)}
    assert since["_dmarc.acme.org"] == since["bounce.acme.org"] == made
    assert since["_dmarc.shop.acme.org"] is None, "no identity: nobody knows"
    publish(house)
    house.sandbox.advance(600)
    seen = house.identity("acme.org")["VerificationInfo"]["LastSuccessTimestamp"]
    assert {one["since"] for one in found(house, "--check")} == {None}
    tokens = house.identity("acme.org")["DkimAttributes"]["Tokens"]
    for token in tokens:
        name, target = f"{token}._domainkey.acme.org", f"{token}.dkim.amazonses.com"
        house.change(name, "CNAME", target, action="DELETE", zone="acme.org")
    left = {one["since"] for one in found(house, "--missing", code=2)}
    assert len(left) == 1 and datetime.fromisoformat(left.pop()) >= seen


def test_what_only_ses_knows(house: House) -> None:
    house.write(DOCUMENT)
    unknown = [one for one in found(house) if one["value"] == "(known after apply)"]
    assert len(unknown) == 3 and all(one["type"] == "CNAME" for one in unknown)
    for form in ZONE_FORMATS:
        ran = house.cli("records", "state.yaml", "--format", form)
        assert ran.code == 1 and ran.out == "" and "known after apply" in ran.err, ran
    assert house.cli("records", "shop.acme.org", "state.yaml", "--format", "bind").code == 0
    ran = house.cli("records", "acme.net", "state.yaml")
    assert ran.code == 1 and "the domain acme.net is not declared" in ran.err


@pytest.mark.parametrize(
    ("form", "names"),
    [("markdown", ["acme.org.md", "shop.acme.org.md"]), ("octodns", ["acme.org.yaml"]), ("bind", ["acme.org.zone"])],
)
def test_files(live: House, form: str, names: list[str]) -> None:
    assert ask(live, "--format", form, "--out", "sheets") == ""
    assert sorted(one.name for one in (live.home / "sheets").iterdir()) == names


def test_the_plan_has_one_line_a_domain_while_records_are_missing(live: House) -> None:
    def lines() -> list[str]:
        ran = live.cli("plan", "state.yaml")
        assert ran.code == 0, ran
        return [line for line in ran.out.splitlines() if "recon records" in line]

    assert sorted((line.partition(" [")[0].rstrip() for line in lines()), reverse=True) == [
        "note: 7 records of acme.org must be published by hand: recon records acme.org",
        "note: 2 records of shop.acme.org must be published by hand: recon records shop.acme.org",
    ]
    publish(live)
    live.sandbox.advance(7200)  # SES verifies
    assert [line for line in lines() if " acme.org " in line] == [] and len(lines()) == 1


def test_drift_counts_what_public_dns_lacks(live: House, monkeypatch: pytest.MonkeyPatch) -> None:
    host, port = live.sandbox.serve_dns()
    monkeypatch.setenv("RECON_RESOLVER", f"{host}:{port}")
    assert live.cli("drift", "state.yaml").code == 0
    publish(live, {"_dmarc.acme.org": "v=DMARC1; p=none"})
    live.sandbox.advance(7200)
    ran = live.cli("drift", "state.yaml", "--check-public-dns", "--format", "json")
    findings = {d["address"]: d["message"] for d in ran.json["diagnostics"] if d["code"] == "public-dns"}
    # shop.acme.org is published, too, below acme.org
    assert ran.code == 2 and findings.keys() == {"dns_record/manual/_dmarc.acme.org/TXT"}, ran.out
    assert "p=none" in ran.out and ran.json["changes"] == []
    lines = live.cli("drift", "state.yaml", "--check-public-dns").out.splitlines()
    assert lines[-2:] == ["Drift exits with 2: 1 record is missing or wrong in public DNS.", "No changes."]
    publish(live)
    assert live.cli("drift", "state.yaml", "--check-public-dns").code == 0
    assert "recon records" not in live.cli("plan", "state.yaml", "--check-public-dns").out


@pytest.mark.parametrize(
    ("live", "status"),
    [("v=spf1 +all", "wrong"), ("v=spf1 ~all", "wrong"), ("v=spf1 -all", "present"), ("v=spf1 a -all", "present")],
)
def test_a_declared_all_is_compared(house: House, live: str, status: str) -> None:
    from reconciler.resources.dns_record import intents
    from reconciler.resources.dns_record.publishing import record_problem

    house.write({"domains": {"acme.net": {"identity": False, "zone": "manual", "spf": {"all": "-all"}}}})
    snapshot = house.make().snapshot
    (intent,) = [one for one in intents.of_state(snapshot) if one.group == "spf"]
    assert (record_problem(intent, (live,)) == "") == (status == "present")
