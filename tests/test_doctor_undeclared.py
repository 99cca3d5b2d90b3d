"""`recon doctor` on an account that nobody declared: what is live is looked at, and the first line is the cause."""

from __future__ import annotations

import json
import re
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


def test_the_set_of_the_one_domain_is_read(live: House) -> None:
    """It is not listed, and yet not called missing."""
    ses = client("sesv2")
    ses.create_configuration_set(ConfigurationSetName="main")
    for name in DOMAINS:
        ses.put_email_identity_configuration_set_attributes(EmailIdentity=name, ConfigurationSetName="main")
    assert run(live, "shop1.acme.com", code=0)["headline"].startswith("Every layer")
    pause_set_of(ses)
    assert "sending is off in its configuration set main" in run(live, "shop1.acme.com", code=2)["headline"]


def pause_set_of(ses: Any) -> None:
    ses.put_configuration_set_sending_options(ConfigurationSetName="main", SendingEnabled=False)


# --- who sends, and with which keys --------------------------------------------------------------------------------


def key_of(house: House) -> str:
    return str(house.kept["key"])  # type: ignore[attr-defined]


def send(house: House, key: str) -> None:
    """Somebody uses a key with SES."""
    client("sesv2", HOME, key).get_account()
    house.clear()


def delete(house: House) -> None:
    client("iam").delete_access_key(UserName="old-app", AccessKeyId=key_of(house))


def deactivate(house: House) -> None:
    client("iam").update_access_key(UserName="old-app", AccessKeyId=key_of(house), Status="Inactive")


def rotate(house: House) -> None:
    client("iam").create_access_key(UserName="old-app")
    deactivate(house)
    house.sandbox.advance(86400)
    delete(house)


@pytest.mark.parametrize(
    ("harm", "words"),
    [(delete, "was deleted on 20"), (deactivate, "was switched off on 20"), (rotate, ", and deleted on 20")],
)
def test_a_lost_key_is_named_with_who_did_it_and_when(live: House, harm: Any, words: str) -> None:
    send(live, key_of(live))
    harm(live)
    document = run(live, code=2, dns=False)
    first = document["headline"]
    assert first.startswith(f"Fix this first: smtp: the access key {key_of(live)} of old-app was "), first
    assert words in first and "by arn:aws:iam::111122223333:" in first
    (check,) = [c for c in document["checks"] if c["status"] == "found"]
    assert f"recon smtp verify --username {key_of(live)} --password-stdin --region {HOME}" in check["hint"]
    assert ("the key that works is AKIA" in check["hint"]) is (harm is rotate)
    assert run(live, "shop1.acme.com", code=2, dns=False)["headline"] == first
    live.sandbox.advance(91 * 86400)
    assert run(live, code=0, dns=False)


def test_what_became_of_other_keys_is_no_finding(live: House) -> None:
    """Of a user that may not send; switched on again; failed; of an administrator. A user that is gone is not known."""
    iam = client("iam")
    other = add_user("reader", policy(Action="s3:*"), key=True)
    iam.delete_access_key(UserName="reader", AccessKeyId=other)
    deactivate(live)
    iam.update_access_key(UserName="old-app", AccessKeyId=key_of(live), Status="Active")
    admin = add_user("admin", policy(Action="*"), key=True)
    iam.delete_access_key(UserName="admin", AccessKeyId=admin)
    assert broken(run(live, code=0, dns=False)["checks"]) == []
    gone = add_user("gone", key=True)
    iam.delete_access_key(UserName="gone", AccessKeyId=gone)
    iam.delete_user(UserName="gone")
    said = run(live, code=1, dns=False)["headline"]
    assert f"the access key {gone} of gone was deleted" in said and "that user is gone" in said


@pytest.mark.parametrize("operation", ["LookupEvents", "GetAccountAuthorizationDetails", "ListAccessKeys"])
def test_senders_that_could_not_be_read(live: House, operation: str) -> None:
    live.sandbox.fault("denied", operation=operation, count=None)
    document = run(live, code=0 if operation == "ListAccessKeys" else 1, dns=False)
    assert operation in json.dumps(document["checks"])


NETWORK = {"Condition": {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}}
FROM = {"Condition": {"StringLike": {"ses:FromAddress": "*@shop1.acme.com"}}}
MAYBE = {"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}


@pytest.mark.parametrize(
    ("document", "name", "code", "words"),
    [
        (policy("Deny"), "", 2, "old-app: the login works, but SES refuses its mail: the policy more denies it"),
        (policy("Deny"), "ceo@acme.com", 2, "no user or role may send as ceo@acme.com"),
        (policy(**NETWORK), "", 0, "1 may send: user old-app (from 203.0.113.0/24"),
        (policy(**FROM), "ceo@shop1.acme.com", 0, "1 may send as ceo@shop1.acme.com"),
        (policy(**FROM), "ceo@acme.com", 2, "no user or role may send as ceo@acme.com"),
        (policy(**MAYBE), "", 1, "old-app: it is not known whether it may send"),
    ],
)
def test_what_policies_refuse_is_said_before_anybody_sends(
    live: House, document: str, name: str, code: int, words: str
) -> None:
    send(live, key_of(live))
    if '"Allow"' in document:
        client("iam").delete_user_policy(UserName="old-app", PolicyName="send")
    client("iam").put_user_policy(UserName="old-app", PolicyName="more", PolicyDocument=document)
    found = run(live, *([name] if name else []), code=code, dns=False)
    assert any(words in c["message"] for c in found["checks"]), found
    assert not code or words in found["headline"]


def test_a_sender_is_not_blamed_for_what_a_locked_one_may_have_sent(live: House) -> None:
    send(live, key_of(live))
    second = add_user("newsletter", policy(), key=True)
    client("iam").update_access_key(UserName="newsletter", AccessKeyId=second, Status="Inactive")
    live.sandbox.seed(accounts=[{"region": HOME, "sent": {"attempts": 1000, "bounces": 100}}])
    document = run(live, code=2, dns=False)
    (check,) = [c for c in document["checks"] if c["layer"] == "reputation"]
    assert "2 senders have used SES there of late, or may have: old-app (" in check["message"]
    assert "newsletter (its key is off)" in check["message"]
    assert "recon smtp lock" not in check["hint"]


@pytest.mark.parametrize(
    ("rate", "senders", "words"),
    [
        ({"bounces": 100}, 1, "10.0% bounced, 0.00% complained; one sender is behind them, old-app: its key "),
        ({"bounces": 50}, 1, "one sender is behind them, old-app"),
        ({"complaints": 2}, 1, "one sender is behind them, old-app"),
        ({"bounces": 100}, 2, "2 senders have used SES there of late: "),
        ({"bounces": 100}, 0, "10.0% bounced, 0.00% complained"),
    ],
)
def test_the_sender_behind_bounces_is_named(live: House, rate: dict[str, int], senders: int, words: str) -> None:
    second = add_user("newsletter", policy(), key=True)
    for key in [key_of(live), second][:senders]:
        send(live, key)
    live.sandbox.seed(accounts=[{"region": HOME, "sent": {"attempts": 1000, **rate}}])
    document = run(live, code=2, dns=False)
    assert document["headline"].startswith("Fix this first: reputation: us-east-1: 1,000 messages")
    assert words in document["headline"]
    (check,) = [c for c in document["checks"] if c["status"] == "found"]
    assert "ses:caller-identity" in check["hint"]
    assert ("recon smtp lock user/old-app --undeclared" in check["hint"]) is (senders == 1)


def count_by_sender(*others: str, enabled: bool = True) -> None:
    """An event destination that counts by sender, and by other dimensions."""
    ses = client("sesv2")
    ses.create_configuration_set(ConfigurationSetName="main")
    dimensions = [
        {"DimensionName": name, "DimensionValueSource": "MESSAGE_TAG", "DefaultDimensionValue": "x"}
        for name in ("ses:caller-identity", *others)
    ]
    ses.create_configuration_set_event_destination(
        ConfigurationSetName="main", EventDestinationName="counts",
        EventDestination={"Enabled": enabled, "MatchingEventTypes": ["SEND", "BOUNCE", "COMPLAINT"],
                          "CloudWatchDestination": {"DimensionConfigurations": dimensions}},
    )  # fmt: skip


def metrics(*rows: tuple[str, str, int], **dimensions: str) -> list[dict[str, Any]]:
    """Seeds of CloudWatch: (metric, sender, number), half of it hours ago, half of it days ago."""
    return [
        {"name": name, "dimensions": {"ses:caller-identity": sender, **dimensions},
         "points": [[4 * 3600, number - number // 2], [5 * 86400, number // 2], [20 * 86400, 999]]}
        for name, sender, number in rows
    ]  # fmt: skip


COUNTS: dict[str, tuple[list[dict[str, Any]], str, str]] = {
    # name: metrics, words of the first line, words of the hint
    "one sender, not the one whose key was used last": (
        metrics(("Send", "crm", 600), ("Bounce", "crm", 95), ("Send", "old-app", 400), ("Bounce", "old-app", 5)),
        "one sender is behind them, crm: it has 95 of 100 bounces, 15.8% of what it sent",
        "recon smtp lock user/crm --undeclared stops it at once; the event destination main/counts counts",
    ),
    "two senders": (
        metrics(("Send", "crm", 500), ("Bounce", "crm", 60), ("Bounce", "old-app", 40)),
        "by sender, of 100 bounces: crm 60, old-app 40", "the event destination main/counts counts by sender",
    ),
    "counted twice, by different dimensions": (
        metrics(("Bounce", "crm", 90)) + metrics(("Bounce", "crm", 50), campaign="a")
        + metrics(("Bounce", "crm", 40), campaign="b"),
        "one sender is behind them, crm: it has 90 of 90 of the 100 bounces that are counted by sender", "user/crm",
    ),
    "most is not counted": (
        metrics(("Bounce", "crm", 20)), "by sender, of 20 of the 100 bounces that are counted by sender: crm 20", "",
    ),
    "nothing is counted yet": ([], "one sender is behind them, old-app: its key ", "main/counts counts by sender"),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_numbers_of_each_sender_come_before_who_was_seen(live: House, name: str) -> None:
    rows, words, hint = COUNTS[name]
    send(live, key_of(live))
    count_by_sender(*(["campaign"] if "dimensions" in name else []))
    live.sandbox.seed(accounts=[{"region": HOME, "sent": {"attempts": 1000, "bounces": 100}}], metrics=rows)
    document = run(live, code=2, dns=False)
    assert words in document["headline"], document["headline"]
    (check,) = [c for c in document["checks"] if c["status"] == "found"]
    assert hint in check["hint"], check["hint"]


def test_complaints_are_laid_to_who_has_them(live: House) -> None:
    count_by_sender()
    rows = metrics(("Bounce", "crm", 60), ("Complaint", "news", 4), ("Send", "news", 500), ("Send", "crm", 500))
    live.sandbox.seed(
        accounts=[{"region": HOME, "sent": {"attempts": 1000, "bounces": 60, "complaints": 4}}], metrics=rows
    )
    checks = [c for c in run(live, code=2, dns=False)["checks"] if c["status"] == "found"]
    assert [re.findall("behind them, (\\w+)", c["message"]) for c in checks] == [["crm"], ["news"]]


def test_numbers_that_cannot_be_read_are_not_zero(live: House) -> None:
    count_by_sender()
    live.sandbox.seed(accounts=[{"region": HOME, "sent": {"attempts": 1000, "bounces": 100}}])
    live.sandbox.fault("denied", service="cloudwatch", count=None)
    (check,) = [c for c in run(live, code=2, dns=False)["checks"] if c["status"] == "found"]
    assert "the numbers of each sender could not be read: " in check["hint"] and "ListMetrics" in check["hint"]


def test_destinations_that_cannot_be_read_are_not_taken_for_none(live: House) -> None:
    count_by_sender()
    live.sandbox.seed(accounts=[{"region": HOME, "sent": {"attempts": 1000, "bounces": 100}}])
    live.sandbox.fault("denied", operation="GetConfigurationSetEventDestinations", count=None)
    (check,) = [c for c in run(live, code=2, dns=False)["checks"] if c["status"] == "found"]
    assert f"unknown: event_destination/{HOME}/main could not be read" in check["hint"]


@pytest.mark.parametrize("enabled", [True, False])
def test_where_bounces_are_counted_is_asked_only_where_there_are_many(live: House, enabled: bool) -> None:
    count_by_sender(enabled=enabled)
    live.clear()
    run(live, code=0, dns=False)
    assert "sesv2:GetConfigurationSetEventDestinations" not in live.calls()
    live.sandbox.seed(accounts=[{"region": HOME, "sent": {"attempts": 1000, "bounces": 100}}])
    (check,) = [c for c in run(live, code=2, dns=False)["checks"] if c["status"] == "found"]
    assert ("main/counts counts by sender" in check["hint"]) is enabled
    assert ("until then SES does not say whose they are" in check["hint"]) is not enabled
    assert ("cloudwatch:ListMetrics" in live.calls()) is enabled
