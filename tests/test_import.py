"""recon import: whatever exists live comes out as valid YAML whose plan only adopts, and is empty after that."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from support import ACCOUNT, HOME, OTHER, House, Ran, client, merge
from test_e2e_interrupted import dkim_key
from test_laws import ZONES, keep_out, states, world_of_others

from reconciler.iam_policy import OWN
from reconciler.importing.draft import Unwritable, literal, merged
from reconciler.importing.finding import READS as READ_CALLS
from reconciler.importing.writing import flow, quoted
from reconciler.resources.email_identity.kind import EmailIdentity

TOPIC = f"arn:aws:sns:{HOME}:{ACCOUNT}:feedback"
SEND = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ses:SendRawEmail", "Resource": "*"}]}
LIMITED = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["ses:SendRawEmail"],
            "Resource": [f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/acme.com"],
            "Condition": {
                "StringLike": {"ses:FromAddress": ["*@acme.com"]},
                "IpAddress": {"aws:SourceIp": "203.0.113.0/24"},
                "StringEquals": {"aws:SourceVpce": "vpce-${x}"},
            },
        }
    ],
}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DKIM_KEY", dkim_key())


# --- the truth test ------------------------------------------------------------------------------------------------


def live(house: House) -> dict[str, Any]:
    """Everything that AWS has, without tags: what an adoption must leave alone."""
    found: dict[str, Any] = {"zones": {k: v for k, v in house.raw_foreign().items() if "_recon." not in k[1]}}
    for region in (HOME, OTHER):
        ses = client("sesv2", region)
        for item in ses.list_email_identities()["EmailIdentities"]:
            answer = ses.get_email_identity(EmailIdentity=item["IdentityName"])
            found[f"{region}/{item['IdentityName']}"] = without(answer, "VerificationInfo")
        for name in ses.list_configuration_sets().get("ConfigurationSets", []):
            found[f"{region}/set/{name}"] = [
                without(ses.get_configuration_set(ConfigurationSetName=name)),
                without(ses.get_configuration_set_event_destinations(ConfigurationSetName=name)),
            ]
        for name in ses.list_dedicated_ip_pools()["DedicatedIpPools"]:
            found[f"{region}/pool/{name}"] = without(ses.get_dedicated_ip_pool(PoolName=name))
    users = client("iam").get_account_authorization_details(Filter=["User"])["UserDetailList"]
    found["users"] = [without(user) for user in users]
    return found


def without(answer: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {k: v for k, v in answer.items() if k not in {"ResponseMetadata", "Tags", *keys}}


def imported(house: House, *arguments: str, code: int = 0, out: str = "live") -> Ran:
    """Import into a new directory, without a write to AWS."""
    house.clear()
    ran = house.cli("import", *arguments, "--out", out)
    assert ran.code == code, ran
    assert house.writes() == []
    return ran


def only_adopts(house: House, place: str = "live", *options: str, more: tuple[str, ...] = ()) -> list[str]:
    """The state at ``place`` is valid and its plan adds owner tags, nothing else; returns the addresses of what had no
    owner, without those of its parts."""
    ran = house.cli("validate", place, *options)
    assert ran.code == 0, ran
    planned = house.cli("plan", place, "--format", "json", *options)
    assert planned.code == 0, planned
    plan = planned.json
    for change in plan["changes"]:
        paths = [d["path"] for d in change["diff"]]
        assert change["action"] == "adopt", f"{change['action']} {change['address']}: {change['diff']}"
        marker = "/_recon." in change["address"]  # which remembers what no tag can
        assert marker or all(path.startswith("tags.recon:") or path in more for path in paths), change
        assert not [n for n in change["notes"] if n["severity"] == "error"], change
    assert not [d for d in plan["diagnostics"] if d["severity"] == "error"], plan["diagnostics"]
    return [change["address"] for change in plan["changes"] if not change["claims"]]


def adopted(house: House, place: str = "live", *options: str) -> None:
    """Adopting changes nothing but tags, and then the plan is empty."""
    before = live(house)
    ran = house.cli("apply", place, "--auto-approve", "--allow-adopt", *options)
    assert ran.code == 0, ran
    assert live(house) == before
    ran = house.cli("plan", place, "--detailed-exitcode", *options)
    assert ran.code == 0, ran


def text_of(house: House, place: str = "live") -> str:
    return "\n".join(p.read_text(encoding="utf-8") for p in sorted((house.home / place).rglob("*.yaml")))


def read(house: House, place: str = "live") -> dict[str, Any]:
    """What was written, as any YAML reader sees it."""
    found: dict[str, Any] = {}
    for file in sorted((house.home / place).rglob("*.yaml")):
        found |= yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    return found


def disown(house: House) -> None:
    """Take every tag and marker of recon off, so that what is left could have been made by anybody."""
    for region in (HOME, OTHER):
        tagging = client("resourcegroupstaggingapi", region)
        for page in tagging.get_paginator("get_resources").paginate():
            for item in page["ResourceTagMappingList"]:
                ours = [t["Key"] for t in item["Tags"] if t["Key"].startswith("recon:")]
                if ours and ":ses:" in item["ResourceARN"]:
                    client("sesv2", region).untag_resource(ResourceArn=item["ResourceARN"], TagKeys=ours)
    route53 = client("route53")
    for zone in route53.list_hosted_zones()["HostedZones"]:
        tags = route53.list_tags_for_resource(ResourceType="hostedzone", ResourceId=zone["Id"].split("/")[-1])
        ours = [t["Key"] for t in tags["ResourceTagSet"]["Tags"] if t["Key"].startswith("recon:")]
        if ours:
            route53.change_tags_for_resource(
                ResourceType="hostedzone", ResourceId=zone["Id"].split("/")[-1], RemoveTagKeys=ours
            )
        gone = [s for s in house.raw_zone(zone["Name"].rstrip("."), zone["Id"]) if s["Name"].startswith("_recon.")]
        if gone:
            route53.change_resource_record_sets(
                HostedZoneId=zone["Id"],
                ChangeBatch={"Changes": [{"Action": "DELETE", "ResourceRecordSet": s} for s in gone]},
            )
    iam = client("iam")
    for user in iam.list_users()["Users"]:
        tags = iam.list_user_tags(UserName=user["UserName"])["Tags"]
        iam.untag_user(UserName=user["UserName"], TagKeys=[t["Key"] for t in tags if t["Key"].startswith("recon:")])


# --- one kind after the other --------------------------------------------------------------------------------------


def identity(**values: Any) -> dict[str, Any]:
    return {"domains": {"acme.com": {"dkim": {}, **values}}}


def options(**values: Any) -> dict[str, Any]:
    return {"configuration_sets": {"main": values}}


def destination(kind: str, block: Any, *events: str) -> dict[str, Any]:
    return options(event_destinations={"d": {"matching_event_types": [*events] or ["BOUNCE"], kind: block}})


KINDS: dict[str, dict[str, Any]] = {
    "bare identity": {"domains": {"acme.com": {}}},
    "address": {"email_addresses": {"ceo@else.example": {"tags": {"team": "x"}}}},
    "short key": identity(dkim={"next_signing_key_length": "RSA_1024_BIT"}),
    "signing off": identity(dkim={"signing_enabled": False}),
    "MAIL FROM": identity(
        mail_from={"mail_from_domain": "bounce.${domain}", "behavior_on_mx_failure": "REJECT_MESSAGE"}
    ),
    "forwarding off": identity(email_forwarding_enabled=False),
    "tags": identity(tags={"team": "mail", "cost:center": "a=b / c"}),
    "policy": identity(
        policies={
            "partner": {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"AWS": "222233334444"},
                        "Action": ["ses:SendEmail", "ses:SendRawEmail"],
                        "Resource": f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/acme.com",
                        "Condition": {"StringLike": {"ses:FromAddress": "$${aws:username}@acme.com"}},
                    }
                ],
            }
        }
    ),
    "default set": {**identity(configuration_set_name="main"), **options()},
    "DMARC": identity(
        dmarc={"p": "reject", "sp": "none", "rua": ["mailto:a@acme.com", "mailto:b@acme.com"], "adkim": "s", "t": "y"}
    ),
    "BIMI": identity(bimi={"l": "https://acme.com/a.svg", "a": ""}),
    "SPF": identity(spf={"include": ["_spf.crm.example"], "ip4": ["192.0.2.0/24"], "a": True, "all": "-all"}),
    "two regions": identity(
        regions=[HOME, OTHER], mail_from={"mail_from_domain": "bounce-${region}.${domain}"}, tags={"team": "mail"}
    ),
    "replica": identity(
        regions=[HOME, OTHER], by_region={OTHER: {"dkim": {"signing_attributes_origin": "AWS_SES_US_EAST_1"}}}
    ),
    "IDN": {"domains": {"bücher.example": {"dkim": {}, "dmarc": {"p": "none"}}}},
    "bare set": options(),
    "delivery": options(delivery_options={"tls_policy": "REQUIRE", "max_delivery_seconds": 3600}),
    "reputation": options(reputation_options={"reputation_metrics_enabled": True}),
    "sending off": options(sending_options={"sending_enabled": False}),
    "suppress nothing": options(suppression_options={"suppressed_reasons": []}),
    "suppress": options(suppression_options={"suppressed_reasons": ["BOUNCE", "COMPLAINT"]}),
    "VDM": options(vdm_options={"dashboard_options": {"engagement_metrics": "ENABLED"}}),
    "archive": options(
        archiving_options={"archive_arn": f"arn:aws:ses:{HOME}:{ACCOUNT}:mailmanager-archive/a-{'a' * 26}"}
    ),
    "tracking": {**identity(), **options(tracking_options={"custom_redirect_domain": "click.acme.com"})},
    "SNS": destination("sns_destination", {"topic_arn": TOPIC}, "BOUNCE", "COMPLAINT"),
    "EventBridge": destination(
        "event_bridge_destination", {"event_bus_arn": f"arn:aws:events:{HOME}:{ACCOUNT}:event-bus/default"}
    ),
    "CloudWatch": destination(
        "cloud_watch_destination",
        {
            "dimension_configurations": [
                {
                    "dimension_name": "ses:from-domain",
                    "dimension_value_source": "MESSAGE_TAG",
                    "default_dimension_value": "acme.com",
                }
            ]
        },
    ),
    "Firehose": destination(
        "kinesis_firehose_destination",
        {
            "delivery_stream_arn": f"arn:aws:firehose:{HOME}:{ACCOUNT}:deliverystream/s",
            "iam_role_arn": f"arn:aws:iam::{ACCOUNT}:role/firehose",
        },
    ),
    "managed pool": {
        "dedicated_ip_pools": {"tx": {"scaling_mode": "MANAGED", "tags": {"a": "b"}}},
        **options(delivery_options={"sending_pool_name": "tx"}),
    },
    "pool with addresses": {
        "dedicated_ip_pools": {"std": {"scaling_mode": "STANDARD", "dedicated_ips": ["192.0.2.1"]}}
    },
}


def folded(document: dict[str, Any]) -> dict[str, Any]:
    """The document with its names as SES tells them."""
    return {
        section: {name.replace("bücher", "xn--bcher-kva"): values for name, values in entries.items()}
        for section, entries in document.items()
    }


def test_each_kind_comes_back_as_it_was_declared(house: House) -> None:
    """Every case of the table in one account; those that say nothing of each other's fields share entries."""
    house.seed_zone("acme.com", {("acme.com", "MX"): ["1 mx.example."]})
    house.seed_zone("xn--bcher-kva.example", {})
    house.sandbox.seed(dedicated_ips=[{"ip": "192.0.2.1"}])
    documents = packed()
    whole: dict[str, Any] = {}
    for document in documents.values():
        whole = merge(whole, document)
    house.apply(whole)
    disown(house)
    imported(house, "--stack", "acme")
    only_adopts(house)
    adopted(house)
    found = read(house)
    for case, document in documents.items():
        for section, entries in folded(document).items():
            for entry, values in entries.items():
                for field, value in values.items():
                    if field not in {"regions", "by_region"} and value != {}:
                        same(case, found[section][entry], entry, field, value)
    assert "not managed here" not in text_of(house)


def packed() -> dict[str, dict[str, Any]]:
    """The cases under few names: each goes to the first where it meets nothing that says otherwise."""
    groups: list[dict[str, Any]] = []
    found = {}
    for case, document in KINDS.items():
        number = next((n for n, group in enumerate(groups) if fits(group, document)), len(groups))
        if number == len(groups):
            groups.append({})
        groups[number] = merge(groups[number], document)
        found[case] = renamed(document, f"k{number}")
    return found


def fits(group: dict[str, Any], document: dict[str, Any]) -> bool:
    for section, entries in document.items():
        for name, values in entries.items():
            held = group.get(section, {}).get(name)
            if held is None:
                continue
            if ("regions" in held) != ("regions" in values) or not values.keys().isdisjoint(held.keys() - {"dkim"}):
                return False
            if held.get("dkim", {}) != values.get("dkim", {}):
                return False
    return True


def renamed(document: dict[str, Any], label: str) -> dict[str, Any]:
    """The same declarations under names that no other case has."""
    text = json.dumps(document)
    for old, new in (
        ("acme.com", f"{label}.acme.com"), ("bücher", f"{label}.bücher"), ("b\\u00fccher", f"{label}.b\\u00fccher"),
        ('"main"', f'"main-{label}"'), ('"tx"', f'"tx-{label}"'), ('"std"', f'"std-{label}"'),
    ):  # fmt: skip
        text = text.replace(old, new)
    renewed: dict[str, Any] = json.loads(text)
    return renewed


def same(case: str, entry: dict[str, Any], name: str, field: str, value: Any) -> None:
    assert field in entry, (case, field, entry)
    if not isinstance(value, dict):
        assert entry[field] == value, case
    elif field not in {"policies", "event_destinations"}:
        kept = {k: v for k, v in entry[field].items() if k in value}
        assert spelled(kept, name) == spelled(value, name), case
    else:
        assert entry[field].keys() == value.keys(), case


def spelled(block: dict[str, Any], name: str) -> dict[str, Any]:
    return {k: v.replace("${domain}", name) if isinstance(v, str) else v for k, v in block.items()}


def test_what_differs_by_region_stands_under_by_region(house: House) -> None:
    house.seed_zone()
    house.apply(
        {
            "stack": {"regions": [HOME, OTHER]},
            "domains": {
                "acme.com": {
                    "dkim": {},
                    "mail_from": {"mail_from_domain": "bounce-${region}.${domain}"},
                    "by_region": {OTHER: {"tags": {"only": "here"}, "email_forwarding_enabled": False}},
                }
            },
            "configuration_sets": {
                "main": {
                    "event_destinations": {
                        "f": {
                            "matching_event_types": ["BOUNCE"],
                            "sns_destination": {"topic_arn": "arn:aws:sns:${region}:${account}:t"},
                        }
                    }
                }
            },
        }
    )
    disown(house)
    imported(house, "--region", HOME, "--region", OTHER)
    only_adopts(house)
    found = read(house)
    entry = found["domains"]["acme.com"]
    assert "regions" not in entry
    assert entry["mail_from"]["mail_from_domain"] == "bounce-${region}.acme.com"
    assert entry["by_region"] == {OTHER: {"email_forwarding_enabled": False, "tags": {"only": "here"}}}
    topic = found["configuration_sets"]["main"]["event_destinations"]["f"]["sns_destination"]["topic_arn"]
    assert topic == f"arn:aws:sns:${{region}}:{ACCOUNT}:t"
    assert found["stack"] == {"name": "mail", "account": ACCOUNT, "regions": [HOME, OTHER]}


def test_byodkim_names_the_selector_and_asks_for_the_key(house: House) -> None:
    house.seed_zone()
    external = {
        "signing_attributes_origin": "EXTERNAL",
        "domain_signing_selector": "s1",
        "domain_signing_private_key": {"env": "DKIM_KEY"},
    }
    house.apply(identity(dkim=external, dmarc={"p": "none"}))
    disown(house)
    imported(house)
    only_adopts(house)
    text = " ".join(line.strip(" #") for line in text_of(house).splitlines())
    assert "domain_signing_selector: s1, domain_signing_private_key: {secretsmanager: NAME-OF-THE-SECRET}" in text
    entry = read(house)["domains"]["acme.com"]
    assert entry["unmanaged"] == ["dkim"]
    assert entry["dmarc"] == {"p": "none"}


def test_a_domain_that_never_sends_is_imported_by_name(house: House) -> None:
    house.seed_zone("parked.net", {("parked.net", "MX"): ["0 ."], ("parked.net", "TXT"): ["v=spf1 -all", "token"]})
    house.change("_dmarc.parked.net", "TXT", '"v=DMARC1; p=reject"', zone="parked.net")
    imported(house, "parked.net")
    assert only_adopts(house) == []
    assert read(house)["domains"]["parked.net"] == {
        "identity": False,
        "dmarc": {"p": "reject"},
        "spf": {"all": "-all"},
        "null_mx": True,
    }


def test_what_all_have_alike_stands_once(house: House) -> None:
    house.seed_zone()
    names = [f"d{n}.acme.com" for n in range(3)]
    house.sandbox.seed(identities=[{"names": names, "publish": True, "mail_from": "bounce.${domain}"}])
    client("sesv2").put_email_identity_feedback_attributes(EmailIdentity="d1.acme.com", EmailForwardingEnabled=False)
    imported(house)
    assert len(only_adopts(house)) == 3
    found = read(house)
    assert found["defaults"]["domain"]["mail_from"]["mail_from_domain"] == "bounce.${domain}"
    assert found["defaults"]["domain"]["dkim"]["signing_attributes_origin"] == "AWS_SES"
    off = {"email_forwarding_enabled": False}
    assert found["domains"] == {name: off if name == "d1.acme.com" else {} for name in names}


def test_what_aws_has_by_itself_and_what_all_has_is_not_written_for_each(house: House) -> None:
    """A name for the ARN of a declared topic of the same region; the tags that everything has are the stack's."""
    regions = [HOME, OTHER]
    document = {
        "stack": {"regions": regions, "tags": {"team": "mail"}},
        "domains": {"acme.com": {"dkim": {}, "tags": {"a": "b"}, "notification_attributes": {"bounce_topic": "ops"}}},
        "configuration_sets": {"main": {"delivery_options": {"tls_policy": "REQUIRE"}, "event_destinations": {
            "x": {"matching_event_types": ["BOUNCE"], "sns_destination": {"topic_arn": "ops"}}}}, "plain": {}},
        "sns_topics": {"ops": {"tracing_config": "Active"}},
    }  # fmt: skip
    house.seed_zone()
    house.settle(document)
    ran = imported(house, "--stack", "acme", "--region", HOME, "--region", OTHER)
    assert "the stack acme owns all of it already" in ran.err
    assert only_adopts(house) == []
    found = read(house)
    assert found["stack"]["tags"] == {"team": "mail"}
    assert found["domains"]["acme.com"] == {
        "dkim": {"signing_attributes_origin": "AWS_SES"}, "notification_attributes": {"bounce_topic": "ops"},
        "tags": {"a": "b"},
    }  # fmt: skip
    assert found["configuration_sets"]["plain"] == {}
    assert found["configuration_sets"]["main"]["delivery_options"] == {"tls_policy": "REQUIRE"}
    assert found["configuration_sets"]["main"]["event_destinations"]["x"]["sns_destination"] == {"topic_arn": "ops"}
    assert found["sns_topics"] == {"ops": {"tracing_config": "Active", "publishers": ["ses"]}}


# --- what others made, in their own ways ---------------------------------------------------------------------------


def terraformed(house: House) -> None:
    """Things as Terraform, the console and people leave them: no zone, wrong records, odd spellings."""
    house.seed_zone()
    house.seed_zone("other.net", {})
    house.sandbox.seed(
        identities=[
            {"names": ["acme.com", "shop.acme.com"], "publish": True, "mail_from": "bounce.${domain}"},
            {"names": ["acme.com"], "region": OTHER, "mail_from": "bounce.${domain}"},
            {"names": ["Sender@Acme.com", "ceo@acme.com", "nozone.org", "other.net"], "tags": {"team": "mail"}},
        ]
    )
    ses = client("sesv2")
    ses.create_configuration_set(ConfigurationSetName="Main", TrackingOptions={"CustomRedirectDomain": "go.acme.com"})
    ses.put_email_identity_configuration_set_attributes(EmailIdentity="acme.com", ConfigurationSetName="Main")
    house.change("_dmarc.acme.com", "TXT", '"v=Dmarc1;p=None; pct=50 ; x=y"', '"vendor-token=zzz"')
    house.change("acme.com", "TXT", '"v=spf1 a include:_spf.google.com ?include:b.example -all"', '"x"')
    house.change("_dmarc.shop.acme.com", "TXT", '"v=DMARC1;p=none;rua=mailto:a@acme.com!10m,mailto:b@acme.com"')
    house.change("shop.acme.com", "TXT", '"v=spf1 include:_spf.crm.example redirect=_spf.acme.com"')
    house.change("default._bimi.acme.com", "TXT", '"v=BIMI1; l=https://acme.com/a.png"')
    house.change("_dmarc.other.net", "CNAME", "dmarc.provider.example.", zone="other.net")


def test_what_others_made_is_imported_as_far_as_it_is_right(house: House) -> None:
    terraformed(house)
    ran = imported(house)
    addresses = only_adopts(house)
    assert f"email_identity/{HOME}/acme.com" in addresses
    assert f"email_identity/{OTHER}/acme.com" in addresses
    assert f"configuration_set/{HOME}/Main" in addresses
    adopted(house)
    found = read(house)["domains"]
    assert found["nozone.org"]["zone"] == "manual"
    assert found["other.net"]["unmanaged"] == ["dkim"]
    assert found["acme.com"]["spf"] == {"a": True, "include": ["_spf.google.com"], "all": "-all"}
    assert found["shop.acme.com"]["dmarc"]["rua"] == ["mailto:a@acme.com!10m", "mailto:b@acme.com"]
    assert found["shop.acme.com"]["spf"] == {"include": ["_spf.crm.example"]}
    assert "dmarc" not in found["acme.com"]
    assert found["acme.com"]["by_region"][HOME]["mail_from"]["mail_from_domain"] == "bounce.acme.com"
    assert "mail_from" not in found["acme.com"]["by_region"].get(OTHER, {})
    text = text_of(house)
    for words in ("dmarc.provider.example", "go.acme.com CNAME is not in the zone", "zone: no public"):
        assert words in text, words
    assert "[not-managed]" in ran.err


def test_zones_that_cannot_be_written_are_manual_or_named(house: House) -> None:
    """Two zones of one name, a private one alone, a delegation, a routed record, a key of one's own in one region."""
    house.seed_zone("twin.net", {})
    house.sandbox.seed(
        zones=[{"name": "hidden.net", "private": True}, {"name": "acme.com"}, {"name": "cut.acme.com"}],
        identities=[{"names": ["twin.net", "acme.com", "byo.acme.com"], "publish": True}, {"names": ["hidden.net"]}],
    )
    second = house.sandbox.seed(zones=[{"name": "twin.net"}])["zones"]["twin.net"]
    house.change("sub.acme.com", "NS", "ns1.elsewhere.example.")
    house.sandbox.seed(identities=[{"names": ["sub.acme.com", "cut.acme.com", "routed.acme.com"]}])
    token = house.identity("routed.acme.com")["DkimAttributes"]["Tokens"][0]
    house.change(
        f"{token}._domainkey.routed.acme.com", "CNAME", f"{token}.dkim.amazonses.com.", SetIdentifier="a", Weight=1
    )
    client("sesv2", OTHER).create_email_identity(
        EmailIdentity="byo.acme.com",
        DkimSigningAttributes={"DomainSigningSelector": "s1", "DomainSigningPrivateKey": pem()},
    )
    client("sesv2").tag_resource(
        ResourceArn=f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/acme.com", Tags=[{"Key": "recon:protect", "Value": "true"}]
    )
    imported(house)
    only_adopts(house)
    found = read(house)["domains"]
    assert found["hidden.net"]["zone"] == "manual"
    assert found["sub.acme.com"]["zone"] == "manual"
    assert found["twin.net"]["zone"] not in {"auto", "manual", second}
    assert found["routed.acme.com"]["unmanaged"] == ["dkim"]
    assert found["byo.acme.com"]["unmanaged"] == ["dkim"]
    assert found["acme.com"]["protect"] is True


def pem() -> str:
    """The key of ``DKIM_KEY`` as SES takes it: base64 on one line."""
    return "".join(line for line in dkim_key().splitlines() if "-----" not in line)


def test_hostile_live_values_are_inert(house: House) -> None:
    """Control characters, variables, comments and YAML in live texts neither break the file nor become more."""
    house.seed_zone()
    house.sandbox.seed(identities=[{"names": ["acme.com", "a${b}@acme.com"], "publish": True}])
    ses = client("sesv2")
    for name, resource in (("one", "${account}"), ("two", "x\ny: z\x1b[31m"), ("three", "${aws:username}")):
        statement = {
            "Sid": "a # b: ${env}" if name == "one" else "s",
            "Effect": "Allow",
            "Principal": {"AWS": "222233334444"},
            "Action": "ses:SendEmail",
            "Resource": f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/acme.com",
            "Condition": {"StringEquals": {"aws:PrincipalTag/t": resource}},
        }
        ses.create_email_identity_policy(
            EmailIdentity="acme.com",
            PolicyName=name,
            Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        )
    house.change("_dmarc.acme.com", "TXT", '"v=DMARC1; p=none; rua=mailto:${region}@acme.com"')
    house.change("default._bimi.acme.com", "TXT", '"v=BIMI1; l=https://acme.com/\\033[2J.svg"')
    imported(house)
    only_adopts(house)
    adopted(house)
    found = read(house)["domains"]["acme.com"]
    assert found["dmarc"]["rua"] == ["mailto:$${region}@acme.com"]
    kept = {
        n: p["Statement"][0]["Condition"]["StringEquals"]["aws:PrincipalTag/t"] for n, p in found["policies"].items()
    }
    assert kept == {"one": ["$${account}"], "three": ["${aws:username}"]}
    text = text_of(house)
    assert "\x1b" not in text
    assert "policies.two is not managed here" in text
    assert "bimi is not managed here" in text


@pytest.mark.parametrize(
    "command",
    ["##[error]x", "##vso[task.setvariable variable=a]b", "::set-env name=a::b", "::stop-commands::x", "::Group::x"],
)
def test_nothing_that_import_prints_is_a_command_of_a_pipeline(house: House, command: str) -> None:
    """Neither in a comment (the second policy, which cannot be declared) nor in a value, which comes back as it was."""
    house.seed_zone()
    house.sandbox.seed(identities=[{"names": ["acme.com"], "publish": True}])
    for name, text in (("one", command), ("two", f"{command}\n{command}")):
        statement = {
            "Sid": "s", "Effect": "Allow", "Principal": {"AWS": "222233334444"}, "Action": "ses:SendEmail",
            "Resource": f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/acme.com",
            "Condition": {"StringEquals": {"aws:PrincipalTag/t": text}},
        }  # fmt: skip
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        client("sesv2").create_email_identity_policy(EmailIdentity="acme.com", PolicyName=name, Policy=document)
    ran = house.cli("import", "--region", HOME, "--stack", "acme")
    assert ran.code == 0, ran
    for text in (ran.out, ran.err):
        assert not re.search(r"##\w*\[|^\s*#?\s*::|::[A-Za-z]", text, flags=re.MULTILINE), text
    (found,) = yaml.safe_load(ran.out)["domains"]["acme.com"]["policies"]["one"]["Statement"]
    assert found["Condition"]["StringEquals"]["aws:PrincipalTag/t"] == [command]
    assert "policies.two is not managed here" in ran.out
    assert r"\x23\x23" in ran.out or r"\x3a\x3a" in ran.out


def test_an_address_whose_domain_has_capitals_is_left_out_and_named(house: House) -> None:
    for name in ("Ceo@Acme.COM", "Cfo@acme.com"):
        client("sesv2").create_email_identity(EmailIdentity=name)
    ran = imported(house, "--stack", "mine")
    assert only_adopts(house) == [f"email_identity/{HOME}/Cfo@acme.com"]
    assert f"email_identity/{HOME}/Ceo@Acme.COM is left out: the domain of an address" in ran.err


def test_what_belongs_to_others_is_left_out_and_named(house: House) -> None:
    house.seed_zone()
    house.apply({**identity(), **options()})
    ses = client("sesv2", OTHER)
    house.sandbox.seed(identities=[{"names": ["cfn.example"], "tags": {"aws:cloudformation:stack-name": "cfn-stack"}}])
    ses.create_configuration_set(ConfigurationSetName="free")
    ran = imported(house, "--stack", "mine")
    assert only_adopts(house) == [f"configuration_set/{OTHER}/free"]
    assert 'belongs to the recon stack "acme"' in ran.err
    assert "cfn-stack" in ran.err
    assert f"# - email_identity/{HOME}/acme.com: belongs to" in text_of(house)
    assert "domains" not in read(house)


def test_a_lost_yaml_is_written_again_for_its_own_stack(house: House) -> None:
    """Under the name of the stack that owns it all, the plan is empty at once."""
    house.seed_zone()
    house.apply({**identity(dmarc={"p": "none"}, spf={"include": ["a.example"]}, tags={"a": "b"}), **options()})
    imported(house, "--stack", "acme")
    assert only_adopts(house) == []
    ran = imported(house, "configuration_set/main", "--stack", "acme", out="part")
    assert f"email_identity/{HOME}/acme.com carries the tag of the stack acme" in ran.err
    house.sandbox.fault("denied", service="resourcegroupstaggingapi", operation="GetResources", count=None)
    ran = imported(house, "configuration_set/main", "--stack", "acme", out="unswept")
    assert "[owned-unknown]" in ran.err


def test_a_lost_yaml_deletes_nothing_and_takes_nothing(house: House) -> None:
    """Rights that somebody has added stay a finding; what has another owner, or none, is left to whoever has it."""
    document = {
        **identity(regions=[HOME, OTHER]), "stack": {"regions": [HOME, OTHER]},
        "sns_topics": {"ops": {"regions": [HOME]}},
        "event_rules": {"keys": {"preset": "iam_access_keys", "targets": ["ops"]}},
        "cloudwatch_dashboards": {"mail": {"preset": "domains"}},
        "sending_roles": {"ci": {"trust": {"service": "lambda.amazonaws.com"}, "from_addresses": ["a@acme.com"]}},
        "smtp_users": {"news": {"from_addresses": ["*@acme.com"],
                                "credentials": {"secretsmanager": {"name": "mail/news"}}}},
    }  # fmt: skip
    house.seed_zone()
    house.settle(document)
    iam = client("iam")
    full = "arn:aws:iam::aws:policy/AmazonSESFullAccess"
    iam.attach_user_policy(UserName="news", PolicyArn=full)
    iam.attach_role_policy(RoleName="ci", PolicyArn=full)
    iam.create_user(UserName="other")
    iam.attach_user_policy(UserName="other", PolicyArn=full)
    client("sesv2").create_configuration_set(ConfigurationSetName="other")
    ran = imported(house, "--stack", "acme", "--smtp-users", "--region", HOME, "--region", OTHER)
    assert only_adopts(house) == []
    assert "the stack acme owns all of it already" in ran.err and "2 others have no owner" in ran.err
    found = read(house)
    assert "other" not in text_of(house)
    assert found["event_rules"] == {"keys": {"preset": "iam_access_keys", "targets": ["ops"]}}
    assert found["cloudwatch_dashboards"] == {"mail": {"preset": "domains"}}
    assert "DELETE" not in ran.err
    ran = imported(house, "--stack", "acme", "--region", HOME, out="comments")
    assert "Its plan would DELETE" in ran.err and "smtp_user/news carries the tag of the stack acme" in ran.err


@pytest.mark.parametrize(
    "credentials",
    [
        {"secretsmanager": {"name": "mail/${region}/news"}},
        {"ssm": {"name": "/recon/${region}"}, "region": OTHER},
        {"ssm": {"name": "/recon/news"}},
        {"secretsmanager": {"name": f"recon/in-{OTHER}x"}, "region": OTHER},
    ],
    ids=lambda block: str(*block.values()) if len(block) == 1 else "region",
)
def test_the_stores_of_a_lost_yaml_are_those_of_its_users(house: House, credentials: dict[str, Any]) -> None:
    user = {"from_addresses": ["*@acme.com"], "credentials": credentials}
    house.seed_zone()
    house.apply({**identity(regions=[HOME, OTHER]), "smtp_users": {"news": user}}, wait_for_ses=False)
    imported(house, "--stack", "acme", "--smtp-users", "--region", HOME, "--region", OTHER)
    assert only_adopts(house) == []


def test_names_pick_and_bring_what_they_refer_to(house: House) -> None:
    house.seed_zone()
    house.apply(
        {
            "domains": {"acme.com": {"dkim": {}, "configuration_set_name": "main"}, "shop.acme.com": {"dkim": {}}},
            "configuration_sets": {"main": {"delivery_options": {"sending_pool_name": "tx"}}, "rest": {}},
            "dedicated_ip_pools": {"tx": {"scaling_mode": "MANAGED"}},
        }
    )
    disown(house)
    imported(house, "ACME.com.")
    assert only_adopts(house) == [
        f"dedicated_ip_pool/{HOME}/tx",
        f"configuration_set/{HOME}/main",
        f"email_identity/{HOME}/acme.com",
    ]
    imported(house, "configuration_set/re*", "*.acme.com", out="other")
    assert only_adopts(house, "other") == [f"configuration_set/{HOME}/rest", f"email_identity/{HOME}/shop.acme.com"]
    ran = house.cli("import", "acm.com", "--out", "third")
    assert ran.code == 1
    assert "nothing live is called acm.com" in ran.err
    assert "did you mean acme.com" in ran.err
    assert not (house.home / "third").exists()


# --- beside a state that exists ------------------------------------------------------------------------------------


def test_a_state_gets_what_it_does_not_declare(house: House) -> None:
    house.seed_zone()
    house.apply(identity(dmarc={"p": "none"}))
    client("sesv2").create_configuration_set(ConfigurationSetName="new")
    house.seed_zone("else.example", {})
    house.sandbox.seed(identities=[{"names": ["else.example"], "publish": True}])
    client("sesv2", OTHER).create_email_identity(EmailIdentity="acme.com")
    (house.home / "state").mkdir()
    document = merge(
        house.document,
        {
            "defaults": {
                "domain": {"dmarc": {"p": "reject"}, "email_forwarding_enabled": False, "tags": {"x": "y"}, "ttl": 60},
                "configuration_set": {"sending_options": {"sending_enabled": False}, "tags": {"x": "y"}},
            }
        },
    )
    document["domains"]["acme.com"] |= {"unmanaged": ["tags.x", "ttl"], "email_forwarding_enabled": True}
    (house.home / "state" / "main.yaml").write_text(yaml.safe_dump(document))
    assert house.cli("plan", "state").code == 0
    ran = imported(house, out="state")
    assert "wrote state/imported.yaml" in ran.out
    assert only_adopts(house, "state") == [f"configuration_set/{HOME}/new", f"email_identity/{HOME}/else.example"]
    adopted(house, "state")
    mine = yaml.safe_load((house.home / "state" / "imported.yaml").read_text())
    assert "stack" not in mine
    assert set(mine) == {"domains", "configuration_sets"}
    assert mine["configuration_sets"]["new"]["unmanaged"] == ["tags.x"]
    assert mine["domains"]["else.example"]["unmanaged"] == ["dmarc", "tags.x", "ttl"]
    assert mine["domains"]["else.example"]["dkim"]["signing_enabled"] is True
    again = imported(house, out="state")
    assert "wrote" not in again.out
    house.clear()
    ran = house.cli("import", "--state", "state", "--region", OTHER)
    assert ran.code == 0
    assert "acme.com is declared, and it is live in eu-west-1 too" in ran.err


def test_an_environment_gets_it_under_its_name(house: House) -> None:
    house.write({"environments": {"production": {}, "staging": {"stack": {"name": "other"}}}})
    client("sesv2").create_configuration_set(ConfigurationSetName="new")
    ran = house.cli("import", "--state", "state.yaml", "--env", "production", "--out", "more.yaml")
    assert ran.code == 0, ran
    (house.home / "both").mkdir()
    for name in ("state.yaml", "more.yaml"):
        (house.home / name).rename(house.home / "both" / name)
    assert only_adopts(house, "both", "--env", "production") == [f"configuration_set/{HOME}/new"]
    assert house.cli("plan", "both", "--env", "staging", "--detailed-exitcode").code == 0


def test_nothing_is_overwritten_and_guards_hold(house: House) -> None:
    client("sesv2").create_configuration_set(ConfigurationSetName="new")
    file = house.home / "here.yaml"
    file.write_text("kept: by somebody\n")
    house.clear()
    ran = house.cli("import", "--out", "here.yaml")
    assert ran.code == 1
    assert "never overwrites" in ran.err
    assert file.read_text() == "kept: by somebody\n"
    assert house.calls() == []
    ran = house.cli("import", "--account", "999900001111")
    assert ran.code == 3
    assert house.cli("import", "--region", "mars-1").code == 1
    assert house.cli("import", "--env", "production").code == 1
    assert house.cli("import", "--format", "html").code == 1
    assert house.cli("import", "--state", "missing").code == 1


def test_an_empty_account_says_so(house: House) -> None:
    ran = house.cli("import")
    assert ran.code == 1
    assert "nothing live to import" in ran.err


# --- what cannot be read -------------------------------------------------------------------------------------------

READS = (
    ("sesv2", "ListEmailIdentities", "email_identity/us-east-1"),
    ("sesv2", "ListConfigurationSets", "configuration_set/us-east-1"),
    ("sesv2", "ListDedicatedIpPools", "dedicated_ip_pool/us-east-1"),
    ("sesv2", "GetEmailIdentity", "email_identity/us-east-1/acme.com"),
    ("sesv2", "GetConfigurationSet", "configuration_set/us-east-1/main"),
    ("sesv2", "GetConfigurationSetEventDestinations", "event_destination/us-east-1/main"),
    ("sesv2", "GetDedicatedIpPool", "dedicated_ip_pool/us-east-1/tx"),
    ("route53", "ListHostedZones", "dns_record"),
    ("route53", "ListResourceRecordSets", "dns_record/acme.com"),
    ("iam", "GetAccountAuthorizationDetails", "smtp_user"),
    ("iam", "ListAccessKeys", "smtp_credential/news"),
)


@pytest.mark.parametrize("reads", [READS[::3], pytest.param(READS, marks=pytest.mark.slow)], ids=["some", "all"])
def test_a_denied_read_is_said_and_never_taken_for_absent(
    house: House, reads: tuple[tuple[str, str, str], ...]
) -> None:
    everything(house)
    for number, (service, operation, part) in enumerate(reads):
        place = f"live{number}"
        house.sandbox.fault("denied", service=service, operation=operation, count=None)
        ran = imported(house, "--region", HOME, code=1, out=place)
        assert f"could not read {part}" in ran.err, ran
        assert "Could not be read" in text_of(house, place)
        if part.startswith("dns_record"):
            entry = read(house, place)["domains"]["acme.com"]
            assert "zone" not in entry
            assert "dmarc" not in entry
        house.sandbox.clear_faults()
        ran = house.cli("validate", place)
        assert ran.code == 0, ran


def everything(house: House) -> None:
    house.seed_zone()
    house.apply(
        {
            **identity(dmarc={"p": "none"}, configuration_set_name="main"),
            **options(
                event_destinations={"f": {"matching_event_types": ["BOUNCE"], "sns_destination": {"topic_arn": TOPIC}}}
            ),
            "dedicated_ip_pools": {"tx": {"scaling_mode": "MANAGED"}},
        }
    )
    disown(house)
    user("news", SEND)


def test_json_says_what_was_done_in_one_object(house: House) -> None:
    everything(house)
    ran = house.cli("import", "--format", "json")
    assert ran.code == 0, ran
    found = ran.json
    assert found["account"] == ACCOUNT
    assert found["outcome"] == "no_changes"
    assert f"email_identity/{HOME}/acme.com" in found["imported"]
    assert "acme.com:" in found["files"]["imported.yaml"]
    house.sandbox.fault("denied", service="sesv2", operation="ListConfigurationSets", count=None)
    ran = house.cli("import", "--format", "json", "--out", "d")
    assert ran.code == 1
    found = ran.json
    assert found["outcome"] == "error"
    assert found["files"] == {}
    assert "d/domains.yaml" in found["written"]
    assert "unread" in {d["code"] for d in found["diagnostics"]}


# --- SMTP users ----------------------------------------------------------------------------------------------------


def user(name: str, policy: dict[str, Any], *, keys: int = 1, group: str = "") -> list[str]:
    iam = client("iam")
    iam.create_user(UserName=name, Path="/ses/", Tags=[{"Key": "team", "Value": "x"}])
    if group:
        iam.create_group(GroupName=group)
        iam.put_group_policy(GroupName=group, PolicyName="Sending", PolicyDocument=json.dumps(policy))
        iam.add_user_to_group(GroupName=group, UserName=name)
    else:
        iam.put_user_policy(UserName=name, PolicyName="AmazonSesSendingAccess", PolicyDocument=json.dumps(policy))
    made = [iam.create_access_key(UserName=name)["AccessKey"] for _ in range(keys)]
    return [k["SecretAccessKey"] for k in made]


def test_smtp_users_are_comments_until_they_are_asked_for(house: House) -> None:
    house.seed_zone()
    house.apply(identity())
    disown(house)
    secrets = user("news", SEND) + user("limited", LIMITED, keys=2) + user("grouped", SEND, group="senders")
    wide = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ses:*", "Resource": "*"}]}
    secrets += user("wide", wide)
    client("iam").create_user(UserName="admin")
    client("iam").put_user_policy(
        UserName="admin",
        PolicyName="all",
        PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        ),
    )
    said = imported(house).err
    assert "only a comment: declaring it makes a key (it has AKIA" in said
    assert "never used" in said
    assert only_adopts(house) == [f"email_identity/{HOME}/acme.com"]
    text = text_of(house)
    assert "never used" not in text
    for words in ("# news:", "# limited:", "# grouped:", "#   source_ips: [\"203.0.113.0/24\"]",
                  "group senders", "IAM allows no third", "vpce-$${x}", "# An entry cannot say"):  # fmt: skip
        assert words in text, words
    assert "# wide:\n" not in text
    assert "admin" not in text
    assert not [s for s in secrets if s in text]
    imported(house, "limited", "--smtp-users", out="users")
    assert list(read(house, "users")["smtp_users"]) == ["limited"]
    assert house.cli("validate", "users").code == 0
    plan = house.cli("plan", "users", "--format", "json").json
    assert "adopt smtp_user/limited" in {f"{c['action']} {c['address']}" for c in plan["changes"]}
    entry = [line[4:] for line in text.splitlines() if line.startswith(("  # limited:", "  #   "))]
    first = entry.index("limited:")
    assert list(yaml.safe_load("\n".join(entry[first : first + 2]))) == ["limited"]


def test_a_domain_brings_its_smtp_users(house: House) -> None:
    house.seed_zone()
    house.sandbox.seed(identities=[{"names": ["acme.com"], "publish": True}])
    user("limited", LIMITED)
    user("news", SEND)
    imported(house, "acme.com")
    text = text_of(house)
    assert "# limited:" in text
    assert "# news:" not in text


# --- over all that can be ------------------------------------------------------------------------------------------

EXAMPLES = int(os.environ.get("RECON_EXAMPLES", "0"))
LAW = settings(
    max_examples=EXAMPLES or 25,
    deadline=None,
    derandomize=not EXAMPLES,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def damage(house: House, data: Any) -> None:
    """Somebody takes out or changes a few records by hand."""
    sets = [(zone, s) for zone in ZONES for s in house.raw_zone(zone) if s["Type"] in {"CNAME", "TXT", "MX"}]
    for zone, found in data.draw(st.lists(st.sampled_from(sets), unique_by=id, max_size=4), label="damaged"):
        name = found["Name"].replace("\\052", "*")
        if data.draw(st.booleans()):
            values = [r["Value"] for r in found["ResourceRecords"]]
            house.change(name, found["Type"], *values, action="DELETE", ttl=found["TTL"], zone=zone)
            continue
        others = {
            "CNAME": ["elsewhere.example."],
            "MX": ["5 mx.example."],
            "TXT": data.draw(
                st.sampled_from(
                    [['"v=spf1 ?all"'], ['"v=DMARC1; p=none"', '"v=DMARC1; p=reject"'], ['"v=DMARC1"'], ['"x ${y}"']]
                )
            ),
        }
        house.change(name, found["Type"], *others[found["Type"]], zone=zone)


@settings(LAW, max_examples=2)
@given(data=st.data())
def test_what_exists_is_imported_and_its_plan_only_adopts(house: House, data: Any) -> None:
    truth(house, data)


@pytest.mark.slow
@LAW
@given(data=st.data())
def test_whatever_exists_is_imported_and_its_plan_only_adopts(house: House, data: Any) -> None:
    truth(house, data)


def truth(house: House, data: Any) -> None:
    for left in (house.home / "live").glob("*"):
        left.unlink()
    world_of_others(house, data)
    keep_out(house)
    document = data.draw(states(), label="made")
    document.pop("smtp_users", None)
    house.apply(document, expect=None)
    disown(house)
    whole = data.draw(st.booleans(), label="whole")
    if not whole:
        damage(house, data)
    identities = [n for n, d in document.get("domains", {}).items() if d.get("identity") is not False]
    if not (identities or document.keys() - {"domains"}):
        return
    ran = house.cli("import", "--out", "live")
    assert ran.code == 0, ran
    note(text_of(house))
    only_adopts(house)
    adopted(house)
    if whole:
        lost = [line for line in ran.err.splitlines() if "[not-managed]" in line]
        assert all("BYODKIM" in line or "leaves the DKIM" in line for line in lost), lost


@pytest.mark.slow
@LAW
@given(data=st.data())
def test_layers_of_a_state_change_nothing_that_is_imported_into_it(house: House, data: Any) -> None:
    """Beside a state with any defaults, what is imported is said so that they do not reach it."""
    for left in (house.home / "live").glob("*"):
        left.unlink()
    world_of_others(house, data)
    keep_out(house)
    document = data.draw(states(), label="made")
    document.pop("smtp_users", None)
    house.apply(document, expect=None)
    disown(house)
    below = data.draw(
        st.fixed_dictionaries({}, optional={"domain": DEFAULTS, "configuration_set": SET_DEFAULTS}), label="defaults"
    )
    (house.home / "live").mkdir(exist_ok=True)
    base = {"stack": {"name": "acme", "account": ACCOUNT, "regions": [HOME, OTHER], "tags": {"team": "all"}}}
    (house.home / "live" / "main.yaml").write_text(yaml.safe_dump({**base, "defaults": below}))
    ran = house.cli("import", "--out", "live")
    assert ran.code == 0, ran
    note(text_of(house))
    only_adopts(house, more=("tags.team",))
    adopted(house)


DEFAULTS = st.fixed_dictionaries(
    {},
    optional={
        "dkim": st.sampled_from([{}, {"signing_enabled": False}, {"next_signing_key_length": "RSA_1024_BIT"}]),
        "mail_from": st.sampled_from([None, {"mail_from_domain": "x-${region}.${domain}"}]),
        "dmarc": st.just({"p": "reject"}),
        "spf": st.sampled_from([{"include": ["z.example"]}, {"all": "-all"}]),
        "bimi": st.just({"l": "https://acme.com/z.svg"}),
        "email_forwarding_enabled": st.booleans(),
        "ttl": st.just(60),
        "tags": st.just({"from": "defaults"}),
        "protect": st.just(True),
        "zone": st.just("manual"),
    },
)
SET_DEFAULTS = st.fixed_dictionaries(
    {},
    optional={
        "delivery_options": st.just({"tls_policy": "REQUIRE", "max_delivery_seconds": 600}),
        "suppression_options": st.just({"suppressed_reasons": []}),
        "reputation_options": st.just({"reputation_metrics_enabled": True}),
        "event_destinations": st.just(
            {
                "z": {
                    "matching_event_types": ["SEND"],
                    "sns_destination": {"topic_arn": "arn:${partition}:sns:${region}:${account}:z"},
                }
            }
        ),
        "tags": st.just({"from": "defaults"}),
    },
)


# --- the YAML itself -----------------------------------------------------------------------------------------------

scalars = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        "yes",
        "null",
        "010",
        "1e3",
        "12:30",
        "- a",
        "a: b",
        "#",
        "${x}",
        "$${x}",
        "*",
        "&a",
        "!",
        "%",
        "@",
        "`",
        "~",
        "=",
        "<<",
    ]
)


@given(text=scalars)
def test_every_text_is_read_back(text: str) -> None:
    try:
        literal(text)
    except Unwritable:
        return
    assert yaml.safe_load(quoted(text)) == text
    assert yaml.safe_load(flow({text: [text]})) == {text: [text]}
    assert quoted(text).isprintable()


values = st.recursive(
    st.booleans() | st.sampled_from(["a", "x-us-east-1", "x-eu-west-1", "us-east-1"]),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=6,
)


@settings(max_examples=50)
@given(regional=st.fixed_dictionaries({r: st.dictionaries(st.sampled_from("abc"), values) for r in (HOME, OTHER)}))
def test_merged_regions_give_every_region_its_own_back(regional: dict[str, dict[str, Any]]) -> None:
    top, below = merged(regional)
    for region, wanted in regional.items():
        whole = merge(top, below.get(region, {}))
        assert expanded(whole, region) == pruned(wanted)


def expanded(value: Any, region: str) -> Any:
    if isinstance(value, dict):
        return pruned({k: expanded(v, region) for k, v in value.items()})
    if isinstance(value, list):
        return [expanded(one, region) for one in value]
    return value.replace("${region}", region) if isinstance(value, str) else value


def pruned(value: Any) -> Any:
    """Without empty maps, which say nothing."""
    if not isinstance(value, dict):
        return value
    inner = {k: pruned(v) for k, v in value.items()}
    return {k: v for k, v in inner.items() if v != {}}


# --- what it may call ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_policies_for_plans_are_enough(house: House) -> None:
    """The page's policy imports everything; the narrow one of a stack covers the lists, and what it declares."""
    from test_iam_policy import unconditioned
    from test_permissions import policy

    everything(house)
    house.sandbox.principal("AKIAPLAN", policies=[policy("plan")])
    with acting("AKIAPLAN", house):
        ran = imported(house)
    assert f"email_identity/{HOME}/acme.com" in only_adopts(house)
    assert ran.code == 0
    narrow = json.loads(house.cli("iam-policy", "plan", "live").out)
    house.sandbox.principal("AKIANARROW", policies=[unconditioned(narrow)])
    with acting("AKIANARROW", house):
        ran = house.cli("import", "--state", "live")
        assert ran.code == 1, ran
        assert [line for line in ran.err.splitlines() if line.startswith("error: ")] == [
            line for line in ran.err.splitlines() if "could not read smtp_credential/news" in line
        ], ran
    assert set(READ_CALLS) <= set(OWN) | set(EmailIdentity.reads)


@contextlib.contextmanager
def acting(key: str, house: House) -> Iterator[None]:
    """Inside, recon runs with another access key."""
    before = dict(os.environ)
    os.environ.update(house.sandbox.environment(access_key=key))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.mark.parametrize("values", [['"v=DMARC1; p=bogus"'], ['"v=DMARC1; p=none"', '"v=DMARC1; p=reject"']])
def test_what_this_stack_put_there_and_yaml_cannot_say_stays(house: House, values: list[str]) -> None:
    """The tag of the identity names its DMARC: a YAML without it would take the record away."""
    house.seed_zone()
    house.settle({"domains": {"acme.com": {"dkim": {}, "dmarc": {"p": "none"}}}})
    house.change("_dmarc.acme.com", "TXT", *values)
    assert house.cli("import", "--stack", "acme", "--out", "got.yaml").code == 0
    planned = house.cli("plan", "got.yaml", "--format", "json")
    assert planned.code == 0
    assert [c["address"] for c in planned.json["changes"] if c["kind"] == "dns_record"] == []
    assert house.cli("apply", "got.yaml", "--auto-approve").code == 0
    assert sorted(house.dns_values("_dmarc.acme.com")) == sorted(values)
