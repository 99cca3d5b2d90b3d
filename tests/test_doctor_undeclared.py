"""`recon doctor` on an account that nobody declared: what is live is looked at, and the first line is the cause."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import HOME, OTHER, House, client
from test_doctor import broken, rewrite
from test_senders import add_user, policy

DOMAINS = ["acme.com", *(f"shop{n}.acme.com" for n in range(1, 6))]


@pytest.fixture
def live(house: House) -> House:
    """Six verified domains in one zone, with a MAIL FROM each, a user that sends, and no YAML."""

    def make() -> None:
        house.sandbox.seed(zones=[{"name": "acme.com"}])
        house.sandbox.seed(identities=[{"names": DOMAINS, "publish": True}])
        ses, zone = client("sesv2"), zone_id()
        for name in DOMAINS:
            ses.put_email_identity_mail_from_attributes(
                EmailIdentity=name, MailFromDomain=f"bounce.{name}", BehaviorOnMxFailure="REJECT_MESSAGE"
            )
            records = [("MX", f"10 feedback-smtp.{HOME}.amazonses.com"), ("TXT", '"v=spf1 include:amazonses.com ~all"')]
            changes = [change(f"bounce.{name}", *record) for record in records]
            changes.append(change(f"_dmarc.{name}", "TXT", '"v=DMARC1; p=reject"'))
            client("route53").change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})
        house.sandbox.advance(7200)
        house.sandbox.seed(accounts=[{"region": HOME, "production_access": True}])
        house.kept = {"key": add_user("old-app", policy(), key=True)}  # type: ignore[attr-defined]
        house.clear()

    house.once("an account that nobody declared", make)
    return house


def zone_id() -> str:
    return str(client("route53").list_hosted_zones()["HostedZones"][0]["Id"])


def change(name: str, kind: str, value: str) -> dict[str, Any]:
    record = {"Name": name, "Type": kind, "TTL": 300, "ResourceRecords": [{"Value": value}]}
    return {"Action": "UPSERT", "ResourceRecordSet": record}


def run(house: House, *arguments: str, code: int, dns: bool = True) -> dict[str, Any]:
    host, port = house.sandbox.serve_dns()
    options = ["--resolver", f"{host}:{port}"] if dns else ["--no-dns"]
    ran = house.cli("doctor", *arguments, "--format", "json", *options)
    assert ran.code == code, ran
    return dict(json.loads(ran.out))


def test_a_healthy_account(live: House) -> None:
    document = run(live, code=0)
    assert broken(document["checks"]) == []
    assert (document["stack"], document["account"]) == (None, "111122223333")
    assert any("recon import" in d["hint"] for d in document["diagnostics"])
    assert live.writes() == []
    assert run(live, "acme.com", code=0)["headline"].startswith("Every layer")


def pause_account(house: House) -> None:
    client("sesv2").put_account_sending_attributes(SendingEnabled=False)


def move_away(house: House) -> None:
    """The registrar now names the servers of another hosted zone, which is empty."""
    house.sandbox.seed(zones=[{"name": "acme.com", "delegated": True}])
    house.sandbox.advance(7 * 86400)


def lose_mx(house: House) -> None:
    rewrite(house, "bounce.shop2.acme.com", "MX")
    house.sandbox.advance(7 * 86400)


def switch_signing_off(house: House) -> None:
    client("sesv2").put_email_identity_dkim_attributes(EmailIdentity="shop3.acme.com", SigningEnabled=False)


def pause_set(house: House) -> None:
    ses = client("sesv2")
    ses.create_configuration_set(ConfigurationSetName="main", SendingOptions={"SendingEnabled": False})
    for name in DOMAINS:
        ses.put_email_identity_configuration_set_attributes(EmailIdentity=name, ConfigurationSetName="main")


@pytest.mark.parametrize(
    ("harm", "first", "explains"),
    [
        (pause_account, "account: us-east-1: sending of the whole account is paused", 0),
        (move_away, "dns: acme.com is delegated to ns-", 30),
        (lose_mx, "dns: shop2.acme.com us-east-1: bounce.shop2.acme.com MX is missing", 1),
        (switch_signing_off, "identity: shop3.acme.com us-east-1: mail is not signed", 0),
        (pause_set, "configuration_set: us-east-1: sending is off in main", 6),
    ],
)
def test_the_cause_comes_before_its_symptoms(live: House, harm: Any, first: str, explains: int) -> None:
    harm(live)
    document = run(live, code=2)
    assert document["headline"].startswith(f"Fix this first: {first}"), document["headline"]
    symptoms = [c for c in document["checks"] if c["cause"]]
    assert len(symptoms) >= explains
    assert not explains or f"explains {len(symptoms)} more" in document["headline"]
    host, port = live.sandbox.serve_dns()
    lines = live.cli("doctor", "--resolver", f"{host}:{port}").out.splitlines()
    assert lines[0] == document["headline"]
    assert len(lines) < 45, "what many domains have alike is one line"


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("news.shop1.acme.com", 0, "Every layer"),
        ("ceo@shop1.acme.com", 0, "Every layer"),
        ("acme.org", 2, "acme.org us-east-1: the identity does not exist"),
    ],
)
def test_one_name_is_looked_at_through_the_identity_that_sends_its_mail(
    live: House, name: str, code: int, words: str
) -> None:
    document = run(live, name, code=code)
    assert words in document["headline"]
    domains = {c["domain"] for c in document["checks"] if c["domain"]}
    assert domains == {"shop1.acme.com" if code == 0 else "acme.org"}
    assert not [c for c in live.sandbox.calls() if c["operation"] == "ListConfigurationSets"]


@pytest.mark.parametrize("operation", ["ListEmailIdentities", "ListConfigurationSets", "GetEmailIdentity"])
def test_what_could_not_be_read_is_not_healthy(live: House, operation: str) -> None:
    live.sandbox.fault("denied", operation=operation, count=None)
    document = run(live, code=1, dns=False)
    assert "not everything could be checked" in document["headline"]
    assert operation in json.dumps(document["checks"])


def test_another_region_and_a_broken_state(live: House) -> None:
    assert "does not exist" in run(live, "acme.com", "--region", OTHER, code=2)["headline"]
    (live.home / "state.yaml").write_text("domains: [", encoding="utf-8")
    ran = live.cli("doctor", "acme.com", "state.yaml", "--no-dns")
    assert (ran.code, "state.yaml cannot be used" in ran.err) == (0, True), ran
    assert live.cli("doctor", "--no-dns", "--account", "9" * 12).code == 3
