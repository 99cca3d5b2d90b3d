"""What real accounts contain: thousands of others' things, odd records, leftovers, closed regions, missing rights.

Each test furnishes an account as nobody would wish it, lives a whole life of a stack in it, and holds the ledger of
everything against the one from before: what recon does not own is as it was, to the byte.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from faults import ledger
from support import ACCOUNT, HOME, OTHER, House, client, merge, put, words

from reconciler.aws import Aws

STATE = "state.yaml"
OURS: dict[str, Any] = {
    "domains": {
        "acme.com": {
            "dkim": {}, "dmarc": {"p": "none"}, "spf": {"include": ["_spf.crm.example"]},
            "mail_from": {"mail_from_domain": "b.acme.com"}, "configuration_set_name": "main",
        },
    },
    "configuration_sets": {"main": {"event_destinations": {"d": {
        "matching_event_types": ["BOUNCE"],
        "event_bridge_destination": {"event_bus_arn": "arn:aws:events:${region}:${account}:event-bus/default"}}}}},
    "smtp_users": {"news": {"from_addresses": ["*@acme.com"], "credentials": {"ssm": {"name": "/recon/news"}}}},
}  # fmt: skip
ZONE = {("acme.com", "TXT"): ["theirs", "v=spf1 include:_spf.google.com ~all"]}


def lives(house: House, document: dict[str, Any] = OURS) -> None:
    """Made, found unchanged, changed, destroyed; nothing of others is touched and nothing of ours is left."""
    before = ledger.of(house.sandbox, ledger.key_ids(house.sandbox))
    house.settle(document)
    house.settle(put(document, ("domains", "acme.com", "dmarc", "p"), "reject"))
    house.destroy()
    lost = ledger.difference(before, ledger.of(house.sandbox, ledger.key_ids(house.sandbox)))
    assert not lost, lost


def furnish(house: House, identities: int, users: int) -> None:
    """Somebody else's mail: identities with and without tags, sets, pools, users with keys and policies."""
    names = [f"d{n}.other.example" for n in range(identities)]
    house.sandbox.seed(
        zones=[{"name": "other.example"}],
        identities=[
            {"names": names[::2], "tags": {"team": "x", "recon:stack": "another/stack", "recon:records": "dkim"}},
            {"names": names[1::2], "publish": True},
            {"names": ["somebody@acme.com", "x@y.other.example"], "region": OTHER},
        ],
    )
    ses, iam = client("sesv2"), client("iam")
    for n in range(3):
        ses.create_configuration_set(ConfigurationSetName=f"their-{n}", Tags=[{"Key": "cloudformation",
                                                                              "Value": "x"}][: n % 2])  # fmt: skip
        ses.create_dedicated_ip_pool(PoolName=f"their-{n}")
    for n in range(users):
        iam.create_user(UserName=f"user-{n}", Path="/x/" if n % 2 else "/")
        iam.create_access_key(UserName=f"user-{n}")
        iam.put_user_policy(UserName=f"user-{n}", PolicyName="p", PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "NotAction": "*", "Resource": "*"}}))  # fmt: skip


def test_an_account_full_of_others(house: House) -> None:
    house.seed_zone("acme.com", ZONE)
    furnish(house, 8, 2)
    lives(house)


@pytest.mark.slow
@pytest.mark.parametrize("refresh", ["full", "bulk"])
def test_an_account_with_thousands_of_others(house: House, refresh: str) -> None:
    """What a plan reads follows what is declared, not what the account holds."""
    house.seed_zone("acme.com", ZONE)
    furnish(house, 4000, 40)
    house.settle(OURS)
    house.clear()
    plan = house.plan(refresh=refresh)
    assert not plan.changes
    assert sum(plan.calls.values()) < 60, plan.calls
    assert house.calls().count("sesv2:GetEmailIdentity") <= 1


# --- zones ---------------------------------------------------------------------------------------------------------

EXOTIC: list[dict[str, Any]] = [
    {"Name": "acme.com.", "Type": "CAA", "TTL": 60, "ResourceRecords": [{"Value": '0 issue "ca.example"'}]},
    {"Name": "acme.com.", "Type": "A", "AliasTarget": {
        "HostedZoneId": "Z2FDTNDATAQYW2", "DNSName": "d1.cloudfront.net.", "EvaluateTargetHealth": False}},
    {"Name": "acme.com.", "Type": "HTTPS", "TTL": 60, "ResourceRecords": [{"Value": '1 . alpn="h2,h3"'}]},
    {"Name": "_sip._tcp.acme.com.", "Type": "SRV", "TTL": 60, "ResourceRecords": [{"Value": "1 10 5269 x.acme.com."}]},
    {"Name": "acme.com.", "Type": "NAPTR", "TTL": 60, "ResourceRecords": [
        {"Value": '100 50 "s" "SIP+D2U" "!^(.*)$!sip:\\\\1@acme.com!" _sip._udp.acme.com.'}]},
    {"Name": "host.acme.com.", "Type": "SSHFP", "TTL": 60, "ResourceRecords": [{"Value": "1 1 " + "ab" * 20}]},
    {"Name": "_443._tcp.acme.com.", "Type": "TLSA", "TTL": 60, "ResourceRecords": [{"Value": "3 1 1 " + "cd" * 32}]},
    {"Name": "\\052.acme.com.", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.9"}]},
    {"Name": "a\\040b.acme.com.", "Type": "TXT", "TTL": 60, "ResourceRecords": [{"Value": '"x\\377\\000"'}]},
    {"Name": "old.acme.com.", "Type": "SPF", "TTL": 60, "ResourceRecords": [{"Value": '"v=spf1 -all"'}]},
    {"Name": "sub.acme.com.", "Type": "NS", "TTL": 60, "ResourceRecords": [{"Value": "ns.elsewhere.example."}]},
    {"Name": "sub.acme.com.", "Type": "DS", "TTL": 60, "ResourceRecords": [{"Value": "1 13 2 " + "ef" * 32}]},
    {"Name": "fo.acme.com.", "Type": "A", "TTL": 60, "SetIdentifier": "one", "Failover": "PRIMARY",
     "HealthCheckId": "h-1", "ResourceRecords": [{"Value": "192.0.2.1"}]},
    {"Name": "fo.acme.com.", "Type": "A", "TTL": 60, "SetIdentifier": "two", "Failover": "SECONDARY",
     "ResourceRecords": [{"Value": "192.0.2.2"}]},
    {"Name": "geo.acme.com.", "Type": "TXT", "TTL": 60, "SetIdentifier": "eu", "GeoLocation": {"ContinentCode": "EU"},
     "ResourceRecords": [{"Value": '"v=spf1 -all"'}]},
    {"Name": "tp.acme.com.", "Type": "A", "TTL": 60, "TrafficPolicyInstanceId": "t-1",
     "ResourceRecords": [{"Value": "192.0.2.3"}]},
]  # fmt: skip


def test_a_zone_of_exotic_sets(house: House) -> None:
    zone = house.seed_zone("acme.com", ZONE)
    house.sandbox.seed(records=[{"zone": zone, **raw} for raw in EXOTIC])
    lives(house)


def slow(*values: Any) -> Any:
    """A row that only the slow suite tries."""
    return pytest.param(*values, marks=pytest.mark.slow)


def weighted(name: str, kind: str, value: str, identifier: str = "a") -> dict[str, Any]:
    return {"Name": name + ".", "Type": kind, "TTL": 60, "SetIdentifier": identifier, "Weight": 1,
            "ResourceRecords": [{"Value": value}]}  # fmt: skip


@pytest.mark.parametrize(
    ("sets", "stuck"),
    [
        ([weighted("_dmarc.acme.com", "TXT", '"v=DMARC1; p=none"')], "_dmarc.acme.com/TXT"),
        ([weighted("b.acme.com", "MX", "10 mx.other.example."), weighted("b.acme.com", "MX", "5 m.example.", "b")],
         "b.acme.com/MX"),
        ([{"Name": "b.acme.com.", "Type": "TXT", "TTL": 60, "SetIdentifier": "x", "Failover": "PRIMARY",
           "ResourceRecords": [{"Value": '"x"'}]}], "b.acme.com/TXT"),
        ([{"Name": "_dmarc.acme.com.", "Type": "TXT", "TTL": 60, "TrafficPolicyInstanceId": "t",
           "ResourceRecords": [{"Value": '"x"'}]}], "_dmarc.acme.com/TXT"),
        ([{"Name": "_dmarc.acme.com.", "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": "d.example."}]}],
         "_dmarc.acme.com/TXT"),
    ],
    ids=["weighted DMARC", "weighted MX", "failover TXT", "traffic policy", "CNAME to a vendor"],
)  # fmt: skip
def test_a_routed_set_at_our_name_is_named_and_left(house: House, sets: list[dict[str, Any]], stuck: str) -> None:
    zone = house.seed_zone("acme.com", ZONE)
    house.sandbox.seed(records=[{"zone": zone, **raw} for raw in sets])
    before = [r for r in house.raw_zone() if r["Name"] == sets[0]["Name"]]
    house.write(OURS)
    ran = house.cli("plan", STATE, "--format", "json")
    told = [d for d in ran.json["diagnostics"] if d["severity"] == "error"]
    assert any(stuck in (d["address"] or "") or stuck.partition("/")[0] in d["message"] for d in told), told
    house.cli("apply", STATE, "--auto-approve")
    assert [r for r in house.raw_zone() if r["Name"] == sets[0]["Name"]] == before
    house.check_foreign()


@pytest.mark.slow
def test_a_zone_of_ten_thousand_records(house: House) -> None:
    zone = house.seed_zone("acme.com", ZONE)
    house.sandbox.seed(
        records=[{"zone": zone, "name": f"h{n}.acme.com", "type": "TXT", "values": [f"t{n}"]} for n in range(10_000)]
    )
    house.settle(OURS)
    house.clear()
    plan = house.plan()
    assert not plan.changes
    assert house.calls().count("route53:ListResourceRecordSets") <= 10_100 // 300 + 2
    house.destroy()
    assert len(house.zone()) >= 10_000


@pytest.mark.parametrize(
    ("name", "values", "speaks"),
    [
        slow("_dmarc.acme.com", ["v=DMARC1 p=none"], ""),
        ("_dmarc.acme.com", ["v=DMARC1; p=none; p=reject; ;;=x"], ""),
        slow("_dmarc.acme.com", ["V=dmarc1;P=NONE"], ""),
        ("_dmarc.acme.com", ["v=DMARC1; p=none", "v=DMARC1; p=reject"], "_dmarc.acme.com"),
        ("acme.com", ["v=spf1 mx -all", "v=spf1 a ~all"], "acme.com"),
        slow("acme.com", ["v=spf1 redirect=_spf.other.example"], ""),
        slow("acme.com", ["v=spf1 " + "include:x.example " * 30 + "-all"], ""),
        ("acme.com", ["v=spf1 ip4:999.1.1.1 nonsense -all trailing"], ""),
        slow("b.acme.com", ["v=spf1 -all"], ""),
    ],
)
def test_records_of_ours_that_others_got_wrong(house: House, name: str, values: list[str], speaks: str) -> None:
    """Invalid ones are taken over with the old value shown, or refused by name; the rest of the plan is made."""
    house.seed_zone("acme.com", {(name, "TXT"): [*values, "neighbour"]})
    house.write(OURS)
    ran = house.cli("plan", STATE, "--format", "json")
    assert ran.code in {0, 1, 3}
    errors = [d["message"] for d in ran.json["diagnostics"] if d["severity"] == "error"]
    assert bool(speaks) == bool(errors), errors
    assert not speaks or any(speaks in e for e in errors), errors
    planned = {c["address"] for c in ran.json["changes"]}
    assert f"email_identity/{HOME}/acme.com" in planned or errors
    assert f"configuration_set/{HOME}/main" in planned
    if not errors:
        house.settle()
        assert '"neighbour"' in house.dns_values(name)


# --- names ---------------------------------------------------------------------------------------------------------


def test_names_in_mixed_case_and_idn(house: House) -> None:
    house.sandbox.seed(
        zones=[{"name": "ACME.com", "records": [{"name": "WWW.Acme.COM", "type": "A", "values": "192.0.2.1"}]},
               {"name": "xn--bcher-kva.example"}],
        identities=[{"names": ["Shop.ACME.com"], "tags": {"Team": "Mail"}}],
    )  # fmt: skip
    document = {
        "domains": {
            "Acme.COM.": {"dkim": {}, "dmarc": {"p": "none"}, "mail_from": {"mail_from_domain": "B.ACME.com"}},
            "shop.acme.com": {"dkim": {}},
            "Bücher.example": {"dkim": {}, "dmarc": {"p": "reject"}},
            "post.BÜCHER.example": {"dkim": {}},
        },
        "email_addresses": {"CEO@Other.EXAMPLE": {}},
    }
    house.settle(document)
    listed = {i["IdentityName"] for i in client("sesv2").list_email_identities()["EmailIdentities"]}
    assert {"acme.com", "shop.acme.com", "xn--bcher-kva.example", "post.xn--bcher-kva.example"} <= {
        n.lower() for n in listed
    }
    house.quiet()


def test_domains_that_aws_lists_in_another_case_are_the_same(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Aws.pages

    def pages(self: Aws, service: str, operation: str, *positional: Any, **named: Any) -> Iterator[Any]:
        for item in real(self, service, operation, *positional, **named):
            key = {"GetResources": "ResourceARN", "ListEmailIdentities": "IdentityName"}.get(operation)
            yield {**item, key: item[key].replace("acme.com", "Acme.COM")} if key else item

    house.seed_zone()
    house.settle({"domains": {"acme.com": {"dkim": {}}}})
    monkeypatch.setattr(Aws, "pages", pages)
    for refresh in ("full", "bulk"):
        assert not house.plan(refresh=refresh).changes
    house.destroy()


# --- leftovers -----------------------------------------------------------------------------------------------------


def test_leftovers_of_other_tools(house: House) -> None:
    """A half-made stack of another tool under our names: adopted where nobody owns it, else refused by name."""
    house.seed_zone("acme.com", {
        ("_amazonses.acme.com", "TXT"): ["pmBGN/7MjnfhTKUZ06Enqq1PeGUaOkw8lGhcfwefcHU="],
        ("old-token._domainkey.acme.com", "CNAME"): ["old-token.dkim.amazonses.com."],
        ("_recon.acme.com", "TXT"): ["v=recon1; stack=another/one; groups=bimi", "v=recon9; garbage", "v=recon1;;;="],
    })  # fmt: skip
    ses, iam = client("sesv2"), client("iam")
    house.sandbox.seed(identities=[{"names": ["acme.com"], "tags": {"terraform": "true"}}])
    ses.create_configuration_set(ConfigurationSetName="main", Tags=[{"Key": "Created by", "Value": "hand + script"}])
    iam.create_user(UserName="news", Tags=[{"Key": "pulumi", "Value": "x"}])
    for _ in range(2):
        iam.create_access_key(UserName="news")
    house.write(OURS)
    told = house.cli("plan", STATE, "--format", "json").json
    actions = {c["address"]: c["action"] for c in told["changes"]}
    assert actions[f"email_identity/{HOME}/acme.com"] == "adopt"
    assert actions[f"configuration_set/{HOME}/main"] == "adopt"
    assert actions["smtp_user/news"] == "adopt"
    house.apply(expect="partial", skip_refused=True)
    assert len(iam.list_access_keys(UserName="news")["AccessKeyMetadata"]) == 2, "a key of others is gone"
    house.check_foreign()
    ses.tag_resource(ResourceArn=f"arn:aws:ses:{HOME}:{ACCOUNT}:configuration-set/main",
                     Tags=[{"Key": "recon:stack", "Value": "another/one"}])  # fmt: skip
    ran = house.cli("apply", STATE, "--auto-approve")
    assert ran.code == 3
    assert "another/one" in ran.out + ran.err


@pytest.mark.parametrize(
    "policy",
    [
        slow({"Statement": {"Effect": "Allow", "Action": "ses:*", "Resource": "*"}}),
        slow({"Version": "2008-10-17", "Id": "x", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}),
        slow({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "NotAction": ["ses:x"], "NotResource": "*",
                                                 "Condition": {"Bool": {"aws:SecureTransport": True}}}]}),
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "SES:sendemail",
                                                 "Resource": ["*"], "Condition": {"NumericLessThan": {"a": 1}}}] * 3},
    ],
)  # fmt: skip
def test_policies_with_odd_json(house: House, policy: dict[str, Any]) -> None:
    """Sending policies and users' policies in any shape are read, kept where foreign, shown whole where replaced."""
    house.seed_zone("acme.com", ZONE)
    house.settle(OURS)
    house.sandbox.seed(verify=["acme.com"])
    ses, iam = client("sesv2"), client("iam")
    ses.create_email_identity_policy(EmailIdentity="acme.com", PolicyName="theirs", Policy=json.dumps(policy))
    iam.put_user_policy(UserName="news", PolicyName="theirs", PolicyDocument=json.dumps(policy))
    house.quiet()
    iam.put_user_policy(UserName="news", PolicyName="recon-smtp", PolicyDocument=json.dumps(policy))
    plan = house.plan()
    assert [c.address for c in plan.changes] == ["smtp_user/news"], [words(c) for c in plan.changes]
    house.settle()
    assert json.loads(house.identity()["Policies"]["theirs"]) == policy
    assert iam.get_user_policy(UserName="news", PolicyName="theirs")["PolicyDocument"] == policy


# --- regions and rights --------------------------------------------------------------------------------------------


def test_a_region_that_is_not_enabled_and_not_declared(house: House) -> None:
    """The sweep says that it is closed, and that is no error."""
    house.seed_zone("acme.com", ZONE)
    house.sandbox.settings(disabled_regions=["af-south-1"])
    house.settle(OURS)
    assert "1 regions skipped: not enabled" in " ".join(house.plan().scanned)


def test_a_region_that_the_organization_denies_to_the_account(house: House) -> None:
    """A policy that closes regions to every role of the account is no failure of ours; a role that lacks a right is."""
    house.seed_zone("acme.com", ZONE)
    house.settle(OURS)
    said = "User: arn:aws:sts::111122223333:assumed-role/r/s is not authorized to perform: tag:GetResources with an"
    for policy, unread in (("a service control policy", 0), ("an identity-based policy", 1)):
        house.sandbox.fault(
            "error", service="resourcegroupstaggingapi", region="af-south-1", code="AccessDeniedException", status=400,
            message=f"{said} explicit deny in {policy}", count=1,
        )  # fmt: skip
        plan = house.plan()
        assert len([u for u in plan.unread if u == "sweep"]) == unread
        assert ("1 regions skipped: denied" in " ".join(plan.scanned)) is not bool(unread)
        assert not plan.changes


def test_a_region_that_is_not_enabled_and_declared(house: House) -> None:
    """It could not be read: named, with what to do; the other region is planned and applied."""
    house.seed_zone("acme.com", ZONE)
    house.sandbox.settings(disabled_regions=["af-south-1"])
    document = merge(OURS, {"configuration_sets": {"far": {"regions": ["af-south-1"]}}})
    house.write(document, stack={"regions": [HOME]})
    ran = house.cli("plan", STATE, "--format", "json")
    assert ran.code == 1
    assert any("af-south-1" in d["message"] and "enabled" in d["hint"] for d in ran.json["diagnostics"])
    assert f"configuration_set/{HOME}/main" in {c["address"] for c in ran.json["changes"]}
    assert house.cli("apply", STATE, "--auto-approve").code == 1
    assert house.identity()["IdentityType"] == "DOMAIN"
    house.sandbox.settings(disabled_regions=[])
    house.settle()


@pytest.mark.parametrize("service", ["sesv2", slow("route53"), "iam", slow("ssm"), slow("resourcegroupstaggingapi")])
def test_a_service_that_is_denied(house: House, service: str) -> None:
    """On an applied stack nothing is taken for absent; on an empty account the other services are still planned."""
    house.seed_zone("acme.com", {("acme.com", "TXT"): ["theirs"]})
    house.write(OURS)
    house.sandbox.fault("denied", service=service, count=None)
    ran = house.cli("plan", STATE, "--format", "json")
    assert ran.code == 1
    assert any("allow" in (d["hint"] or "") for d in ran.json["diagnostics"])
    kinds = {c["kind"] for c in ran.json["changes"]}
    unread = {"sesv2": {"email_identity", "configuration_set"}, "iam": {"smtp_user"}, "route53": {"dns_record"}}
    assert not kinds & unread.get(service, set())
    rest = {"email_identity", "configuration_set", "smtp_user"} - unread.get(service, set())
    assert rest <= kinds, kinds
    house.sandbox.clear_faults()
    house.settle()
    house.sandbox.fault("denied", service=service, count=None)
    plan = house.plan()
    assert not plan.changes, [words(c) for c in plan.changes]
    house.clear()
    house.cli("apply", STATE, "--auto-approve")
    house.cli("destroy", STATE, "--allow-deletes", "9")
    house.sandbox.clear_faults()
    house.check_foreign()
