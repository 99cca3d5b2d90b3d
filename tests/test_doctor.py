"""`recon doctor`: each layer healthy, each layer broken, and what could not be checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from support import ACCOUNT, HOME, OTHER, House, client, merge

from reconciler.desired import load
from reconciler.doctor.facts import only_domains

BASE: dict[str, Any] = {
    "domains": {
        "acme.com": {
            "regions": [HOME, OTHER],
            "dkim": {"signing_attributes_origin": "AWS_SES"},
            "mail_from": {"mail_from_domain": "bounce-${region}.acme.com"},
            "dmarc": {"p": "reject"},
            "spf": {"include": ["_spf.crm.example"]},
            "configuration_set_name": "main",
        },
        "shop.acme.com": {"regions": [HOME]},
        "acme.net": {"identity": False, "dmarc": {"p": "reject"}, "zone": "manual"},
    },
    "configuration_sets": {"main": {"regions": [HOME, OTHER]}},
    "smtp_users": {
        "news": {"from_addresses": ["*@acme.com"], "credentials": {"secretsmanager": {"name": "recon/news"}}},
        "shop": {"from_addresses": ["*@shop.acme.com"], "credentials": {"ssm": {"name": "/recon/shop"}}},
    },
}


@pytest.fixture
def live(house: House) -> House:
    """The stack applied and verified, and public DNS served."""

    def make() -> None:
        house.seed_zone()
        house.apply(BASE)
        house.sandbox.advance(7200)
        for region in (HOME, OTHER):
            house.sandbox.seed(accounts=[{"region": region, "production_access": True}])
        house.clear()

    house.once("two regions that mail goes out of", make)
    return house


def run(house: House, *arguments: str, code: int | None = None, dns: bool = True) -> list[dict[str, Any]]:
    host, port = house.sandbox.serve_dns()
    options = ["--resolver", f"{host}:{port}"] if dns else []
    ran = house.cli("doctor", *arguments, "state.yaml", "--format", "json", *options)
    document = json.loads(ran.out)
    assert ran.code == {"no_changes": 0, "changes": 2, "error": 1}[document["outcome"]], ran
    assert code is None or ran.code == code, ran
    checks: list[dict[str, Any]] = document["checks"]
    return checks


def broken(checks: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(c["layer"], c["message"]) for c in checks if c["status"] != "ok"]


def test_a_healthy_domain(live: House) -> None:
    checks = run(live, "acme.com", code=0)
    assert broken(checks) == []
    layers = {c["layer"] for c in checks}
    assert layers == {
        "account",
        "configuration_set",
        "identity",
        "dns",
        "alignment",
        "smtp",
        "suppression",
        "reputation",
    }
    words = " ".join(c["message"] for c in checks)
    assert "DMARC passes by DKIM and SPF (p=reject)" in words
    assert "shop" not in words
    assert live.writes() == []
    assert not [c for c in live.sandbox.calls() if c["operation"] in {"GetSecretValue", "GetParameter"}]


def test_the_text_begins_with_the_first_thing_to_fix(live: House) -> None:
    host, port = live.sandbox.serve_dns()
    ran = live.cli("doctor", "acme.com", "state.yaml", "--resolver", f"{host}:{port}")
    assert ran.code == 0, ran
    assert "Every layer is healthy" in ran.out
    client("sesv2").put_account_sending_attributes(SendingEnabled=False)
    ran = live.cli("doctor", "acme.com", "state.yaml", "--resolver", f"{host}:{port}")
    assert ran.code == 2
    assert "-> recon account resume --region us-east-1" in ran.out
    first = "Fix this first: account: us-east-1: sending of the whole account is paused"
    assert ran.out.splitlines()[0] == first
    ran = live.cli("doctor", "acme.com", "state.yaml", "--resolver", f"{host}:{port}", "--format", "json")
    assert ran.json["headline"] == first


def zone_id(house: House) -> str:
    return str(client("route53").list_hosted_zones()["HostedZones"][0]["Id"])


def rewrite(house: House, name: str, kind: str, *values: str) -> None:
    """Somebody else writes a record set, or (without values) deletes it."""
    route53 = client("route53")
    found = route53.list_resource_record_sets(
        HostedZoneId=zone_id(house), StartRecordName=name, StartRecordType=kind, MaxItems="1"
    )["ResourceRecordSets"][0]
    if values:
        found = {**found, "ResourceRecords": [{"Value": v} for v in values]}
    change = {"Action": "UPSERT" if values else "DELETE", "ResourceRecordSet": found}
    route53.change_resource_record_sets(HostedZoneId=zone_id(house), ChangeBatch={"Changes": [change]})


CASES: dict[str, tuple[Callable[[House], Any], str, str]] = {
    "account in the sandbox": (
        lambda h: h.sandbox.seed(accounts=[{"region": HOME, "production_access": False}]),
        "account", "only verified recipients",
    ),
    "account under review": (
        lambda h: h.sandbox.seed(accounts=[{"region": OTHER, "enforcement": "PROBATION"}]),
        "account", "under review",
    ),
    "account shut down": (
        lambda h: h.sandbox.seed(accounts=[{"region": OTHER, "enforcement": "SHUTDOWN"}]), "account", "shut down",
    ),
    "quota used up": (
        lambda h: h.sandbox.seed(accounts=[{"region": HOME, "quota": {"SentLast24Hours": 49000.0}}]),
        "account", "49,000 of 50,000",
    ),
    "identity deleted": (
        lambda h: client("sesv2").delete_email_identity(EmailIdentity="acme.com"), "identity", "does not exist",
    ),
    "signing switched off": (
        lambda h: client("sesv2").put_email_identity_dkim_attributes(EmailIdentity="acme.com", SigningEnabled=False),
        "identity", "signing is off",
    ),
    "set paused": (
        lambda h: client("sesv2").put_configuration_set_sending_options(
            ConfigurationSetName="main", SendingEnabled=False
        ),
        "identity", "sending is off in its configuration set",
    ),
    "set deleted": (
        lambda h: client("sesv2").delete_configuration_set(ConfigurationSetName="main"), "identity", "554",
    ),
    "MX changed": (
        lambda h: rewrite(h, f"bounce-{HOME}.acme.com", "MX", "10 mail.example."), "dns", "10 mail.example",
    ),
    "DMARC weakened": (
        lambda h: rewrite(h, "_dmarc.acme.com", "TXT", '"v=DMARC1; p=none"'), "dns", "p=none",
    ),
    "two DMARC": (
        lambda h: rewrite(h, "_dmarc.acme.com", "TXT", '"v=DMARC1; p=none"', '"v=DMARC1; p=reject"'),
        "dns", "has 2 DMARC records",
    ),
    "our include taken out": (
        lambda h: rewrite(h, "acme.com", "TXT", '"v=spf1 ~all"'), "dns", "lacks include:_spf.crm.example",
    ),
    "key deleted": (
        lambda h: client("iam").delete_access_key(
            UserName="news", AccessKeyId=client("iam").list_access_keys(UserName="news")["AccessKeyMetadata"][0][
                "AccessKeyId"
            ],
        ),
        "smtp", "was deleted: it was deleted on 20",
    ),
    "own address suppressed": (
        lambda h: client("sesv2").put_suppressed_destination(EmailAddress="ceo@acme.com", Reason="BOUNCE"),
        "suppression", "ceo@acme.com",
    ),
    "bounces": (
        lambda h: h.sandbox.seed(accounts=[{"region": HOME, "sent": {"attempts": 1000, "bounces": 80}}]),
        "reputation", "8.0% bounced",
    ),
    "complaints": (
        lambda h: h.sandbox.seed(accounts=[{"region": HOME, "sent": {"attempts": 1000, "complaints": 4}}]),
        "reputation", "0.40% complained",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_broken_is_found_in_its_layer(live: House, case: str) -> None:
    harm, layer, words = CASES[case]
    harm(live)
    checks = run(live, "acme.com", code=2)
    assert [m for at, m in broken(checks) if at == layer and words in m], broken(checks)
    assert all(c["hint"] for c in checks if c["status"] == "found")


def test_a_fresh_identity_is_pending(house: House) -> None:
    house.sandbox.settings(verification_delay=3600.0)
    house.seed_zone()
    house.apply(BASE)
    checks = run(house, "shop.acme.com", code=2)
    assert any("verification is PENDING" in m for at, m in broken(checks) if at == "identity")


def test_a_hosted_zone_that_is_not_delegated_is_found(house: House) -> None:
    made = house.sandbox.seed(zones=[{"name": "acme.com"}])["zones"]["acme.com"]
    house.sandbox.seed(zones=[{"name": "acme.com", "delegated": True}])
    house.apply(merge(BASE, {"domains": {"acme.com": {"zone": made}, "shop.acme.com": {"zone": made}}}))
    checks = run(house, "acme.com", code=2)
    first = next(c for c in checks if c["layer"] == "dns")
    assert f"not to the servers of hosted zone {made}" in first["message"]
    assert "at the registrar" in first["hint"]


def test_a_hosted_zone_that_its_parent_zone_hides_is_to_be_fixed_there(house: House) -> None:
    """Not at the registrar, where new name servers for acme.com would break the parent."""
    parent = house.seed_zone()
    made = house.sandbox.seed(zones=[{"name": "shop.acme.com"}])["zones"]["shop.acme.com"]
    live = house.sandbox.seed(zones=[{"name": "shop.acme.com", "delegated": True}])["zones"]["shop.acme.com"]
    servers = client("route53").get_hosted_zone(Id=live)["DelegationSet"]["NameServers"]
    house.change("shop.acme.com", "NS", *(f"{one}." for one in servers))
    house.apply(merge(BASE, {"domains": {"shop.acme.com": {"zone": made}}}))
    first = next(c for c in run(house, "shop.acme.com", code=2) if c["layer"] == "dns")
    assert f"add this NS set in zone {parent} (acme.com)" in first["hint"]
    assert "registrar" not in first["hint"]


def test_one_recipient_is_looked_up_by_name(live: House) -> None:
    mx = {"name": "example.com", "type": "MX", "values": "10 mx.example.com"}
    live.sandbox.seed(zones=[{"name": "example.com", "records": [mx]}])
    client("sesv2", OTHER).put_suppressed_destination(EmailAddress="ann@example.com", Reason="COMPLAINT")
    live.clear()
    checks = run(live, "acme.com", "--to", "ann@example.com", code=2)
    ((layer, message),) = broken(checks)
    assert layer == "suppression"
    assert "COMPLAINT" in message
    listed = [c for c in live.sandbox.calls() if c["operation"] == "ListSuppressedDestinations"]
    assert all(c["params"]["StartDate"] for c in listed), "the whole lists are not read"
    run(live, "acme.com", "--to", "bob@example.com", code=0)


@pytest.mark.parametrize(
    ("records", "words", "found"),
    [
        ([("MX", "10 mx.bigmail.example")], "mail for bigmail.example goes to mx.bigmail.example", False),
        ([("A", "192.0.2.1")], "goes to 192.0.2.1: it has no MX", False),
        ([("MX", "0 .")], "bigmail.example takes no mail: it has a null MX", True),
        ([], "bigmail.example has no mail server: neither MX nor address", True),
    ],
)
def test_the_domain_of_a_recipient_is_looked_up(
    live: House, records: list[tuple[str, str]], words: str, found: bool
) -> None:
    shown = [{"name": "bigmail.example", "type": kind, "values": value} for kind, value in records]
    live.sandbox.seed(zones=[{"name": "bigmail.example", "records": shown}])
    checks = run(live, "acme.com", "--to", "ann@bigmail.example", code=2 if found else 0)
    (about,) = [c for c in checks if c["domain"] == "bigmail.example"]
    assert words in about["message"] and about["status"] == ("found" if found else "ok")


def test_others_of_the_same_receiver_and_its_rates(live: House) -> None:
    zone = {"name": "bigmail.example", "records": [
        {"name": "bigmail.example", "type": "MX", "values": "5 aspmx.l.google.com"}]}  # fmt: skip
    live.sandbox.seed(
        zones=[zone],
        suppressed=[{"addresses": ["bob@bigmail.example", "cleo@BIGMAIL.example", "dora@other.example"]}],
        accounts=[{"region": HOME, "vdm": True, "sent_to": {"Gmail": {"SEND": 1000, "PERMANENT_BOUNCE": 70}}}],
    )
    said = [m for _, m in broken(run(live, "acme.com", "--to", "ann@bigmail.example", code=2))]
    assert any("2 others at bigmail.example suppressed in 14 days, 2 for a bounce" in m for m in said), said
    assert any("1,000 sent to the receiver of bigmail.example in 14 days, 7.0% bounced" in m for m in said), said


def test_all_domains_and_one_that_never_sends(live: House) -> None:
    checks = run(live)
    mine = [c for c in checks if c["domain"] == "acme.net"]
    assert {c["layer"] for c in mine} == {"dns"}
    assert any("_dmarc.acme.net" in str(c["message"]) for c in mine)


def test_what_could_not_be_checked_is_not_healthy(live: House) -> None:
    live.sandbox.fault("denied", service="ses", operation="GetSendStatistics", count=None)
    checks = run(live, "acme.com", code=1)
    assert {at for at, _ in broken(checks)} == {"reputation"}
    live.sandbox.clear_faults()
    ran = live.cli("doctor", "acme.com", "state.yaml", "--resolver", "127.0.0.1:1", "--format", "json")
    assert ran.code == 1
    unknown = {c["layer"] for c in json.loads(ran.out)["checks"] if c["status"] == "unknown"}
    assert unknown == {"dns"}


def test_without_public_dns(live: House) -> None:
    checks = run(live, "acme.com", "--no-dns", dns=False, code=0)
    assert "dns" not in {c["layer"] for c in checks}


def test_consumers_by_hand_are_asked_about(live: House) -> None:
    live.settle(merge(BASE, {"smtp_users": {"news": {"consumers": [{"name": "webmail"}]}}}), allow_adopt=True)
    checks = run(live, "acme.com", code=2)
    assert any("webmail" in m for at, m in broken(checks) if at == "smtp")
    key = client("iam").list_access_keys(UserName="news")["AccessKeyMetadata"][0]["AccessKeyId"]
    client("sesv2", HOME, key).get_account()
    live.sandbox.seed(accounts=[{"region": HOME, "sent": {"attempts": 1000, "bounces": 100}}])
    first = live.cli("doctor", "state.yaml", "--no-dns").out.splitlines()[0]
    assert first.startswith("Fix this first: reputation: us-east-1: ") and "one sender is behind them, news" in first


def test_it_works_under_the_policy_for_plans(live: House, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = json.loads(live.cli("iam-policy", "plan", "state.yaml").out)
    live.sandbox.principal("AKIADOCTORDOCTOR", arn=f"arn:aws:iam::{ACCOUNT}:role/plan", policies=[policy])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIADOCTORDOCTOR")
    assert broken(run(live, "acme.com")) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["acme.org"], "is not declared"),
        (["acme.con"], "did you mean acme.com"),
        (["acme.com", "shop.acme.com"], "one domain"),
        (["--to", "ann"], "is not an e-mail address"),
        (["--resolver", "nowhere"], "is not an address"),
        (["--region", "ap-south-1"], "is not in ap-south-1"),
        (["--format", "html"], "text or json"),
    ],
)
def test_bad_input(house: House, arguments: list[str], words: str) -> None:
    house.write(BASE)
    ran = house.cli("doctor", *arguments, "state.yaml")
    assert ran.code == 1
    assert words in ran.err, ran
    assert house.sandbox.calls() == []


def test_only_what_the_domains_use_is_kept(house: House) -> None:
    """Directly or by way of another, in the same region."""
    house.write({
        "stack": {"regions": ["us-east-1", "eu-west-1"]},
        "domains": {"acme.com": {"regions": ["us-east-1"], "configuration_set_name": "main"}, "other.com": {}},
        "email_addresses": {"ceo@acme.com": {"regions": ["us-east-1"]}, "ceo@other.com": {}},
        "configuration_sets": {
            "main": {"delivery_options": {"sending_pool_name": "tx"},
                     "tracking_options": {"custom_redirect_domain": "click-${region}.other.com"}},
            "spare": {"delivery_options": {"sending_pool_name": "rest"}},
        },
        "dedicated_ip_pools": {"tx": {}, "rest": {}},
        "smtp_users": {"news": {"from_addresses": ["*@acme.com"], "credentials": {"ssm": {"name": "/news"}}},
                       "other": {"from_addresses": ["*@other.com"], "credentials": {"ssm": {"name": "/other"}}}},
    })  # fmt: skip
    kept = only_domains(load(house.home / "state.yaml", None).state, ["acme.com"]).entries
    assert {(entry.section, entry.region, entry.name) for entry in kept} == {
        ("domains", None, "acme.com"), ("domains", "us-east-1", "acme.com"),
        ("email_addresses", "us-east-1", "ceo@acme.com"),
        ("configuration_sets", "us-east-1", "main"), ("dedicated_ip_pools", "us-east-1", "tx"),
        ("smtp_users", None, "news"),
    }  # fmt: skip


# --- what is looked at, with or without domains --------------------------------------------------------------------

NO_DOMAINS: dict[str, Any] = {
    "email_addresses": {"ceo@other.example": {"configuration_set_name": "main"}},
    "configuration_sets": {"main": {}},
    "smtp_users": {
        "news": {
            "from_addresses": ["ceo@other.example"], "access_key": {"max_age_days": 30},
            "credentials": {"secretsmanager": {"name": "recon/news"}},
        }
    },
}  # fmt: skip


@pytest.fixture
def plain(house: House) -> House:
    """A stack without domains, applied, its address verified, in production."""

    def make() -> None:
        house.apply(NO_DOMAINS)
        house.sandbox.seed(verify=["ceo@other.example"])
        house.sandbox.seed(accounts=[{"region": HOME, "production_access": True}])
        house.clear()

    house.once("no domains", make)
    return house


def pause(house: House) -> None:
    client("sesv2").put_configuration_set_sending_options(ConfigurationSetName="main", SendingEnabled=False)


def suppress(house: House) -> None:
    client("sesv2").put_suppressed_destination(EmailAddress="ceo@other.example", Reason="BOUNCE")


def drop_key(house: House) -> None:
    (key,) = client("iam").list_access_keys(UserName="news")["AccessKeyMetadata"]
    client("iam").delete_access_key(UserName="news", AccessKeyId=key["AccessKeyId"])


def drop_address(house: House) -> None:
    client("sesv2").delete_email_identity(EmailIdentity="ceo@other.example")


def drop_set(house: House) -> None:
    client("sesv2").delete_configuration_set(ConfigurationSetName="main")


def shut_down(house: House) -> None:
    house.sandbox.seed(accounts=[{"region": HOME, "enforcement": "SHUTDOWN"}])


def denied(operation: str) -> Callable[[House], None]:
    return lambda house: house.sandbox.fault("denied", operation=operation, count=None)


@pytest.mark.parametrize(
    ("harm", "layer", "words", "code"),
    [
        (pause, "configuration_set", "sending is off in main", 2),
        (pause, "identity", "sending is off in its configuration set main", 2),
        (suppress, "suppression", "ceo@other.example", 2),
        (drop_key, "smtp", "was deleted", 2),
        (drop_address, "identity", "the address is no identity", 2),
        (drop_set, "configuration_set", "main does not exist", 2),
        (shut_down, "account", "shut down", 2),
        (denied("GetConfigurationSet"), "configuration_set", "could not be read", 1),
        (denied("GetEmailIdentity"), "identity", "could not be read", 1),
        (denied("ListAccessKeys"), "smtp", "could not be read", 1),
        (denied("ListSuppressedDestinations"), "suppression", "", 1),
        (denied("GetAccount"), "account", "", 1),
    ],
)
def test_a_stack_without_domains_is_looked_at(
    plain: House, harm: Callable[[House], None], layer: str, words: str, code: int
) -> None:
    assert broken(run(plain, code=0)) == []
    harm(plain)
    checks = run(plain, code=code)
    assert [one for one in broken(checks) if one[0] == layer and words in one[1]], broken(checks)
    assert "healthy" not in plain.cli("doctor", "state.yaml", "--no-dns").out


def test_layers_that_were_not_looked_at_are_named(plain: House) -> None:
    said = plain.cli("doctor", "state.yaml", "--no-dns").out.splitlines()[0]
    assert said.startswith("Every layer that was looked at is healthy: account, configuration_set, identity, smtp")
    assert "Not looked at: dns, alignment." in said
    plain.write({})
    said = plain.cli("doctor", "state.yaml").out.splitlines()[0]
    assert "healthy: account, smtp, suppression, reputation. Not looked at: configuration_set, identity" in said


def test_a_key_whose_last_use_is_unknown_is_not_healthy(plain: House) -> None:
    client("iam").create_access_key(UserName="news")
    assert broken(run(plain, code=0)) == []
    plain.sandbox.fault("denied", operation="GetAccessKeyLastUsed", count=None)
    ((layer, words),) = broken(run(plain, code=1))[:1]
    assert layer == "smtp"
    assert "could not be read" in words
