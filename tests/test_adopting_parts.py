"""Declared is owned: parts that were right before recon came are adopted, remembered, and deleted when they are taken
out of the YAML."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from support import HOME, House, client, words

from reconciler.model import Plan

TOPIC = "arn:aws:sns:us-east-1:111122223333:feedback"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::444455556666:root"},
            "Action": "ses:SendEmail",
            "Resource": "arn:aws:ses:us-east-1:111122223333:identity/acme.com",
        }
    ],
}
SPF = "v=spf1 include:_spf.crm.example include:_spf.other.example ~all"
EVERYTHING: dict[str, Any] = {
    "domains": {
        "acme.com": {
            "dkim": {"signing_attributes_origin": "AWS_SES"},
            "mail_from": {"mail_from_domain": "bounce.acme.com"},
            "dmarc": {"p": "reject"},
            "bimi": {"l": "https://acme.com/logo.svg"},
            "spf": {"include": ["_spf.crm.example"]},
            "policies": {"partner": POLICY},
            "tags": {"team": "mail"},
        },
        "parked.acme.com": {"identity": False, "dmarc": {"p": "reject"}, "spf": {"all": "-all"}, "null_mx": True},
    },
    "configuration_sets": {
        "main": {
            "tracking_options": {"custom_redirect_domain": "click.acme.com"},
            "tags": {"tier": "gold"},
            "event_destinations": {
                "feedback": {
                    "enabled": True,
                    "matching_event_types": ["BOUNCE"],
                    "sns_destination": {"topic_arn": TOPIC},
                }
            },
        }
    },
    "contact_lists": {
        "news": {"topics": {"offers": {"display_name": "Offers", "default_subscription_status": "OPT_OUT"}}}
    },
}


def forget(house: House, *kept: str) -> None:
    """What a world looks like in which recon never was: no tag of ours but ``kept``, no marker."""
    for region in (HOME,):
        ses = client("sesv2", region)
        names = [
            *(f"identity/{i['IdentityName']}" for i in ses.list_email_identities()["EmailIdentities"]),
            *(f"configuration-set/{n}" for n in ses.list_configuration_sets()["ConfigurationSets"]),
            *(f"contact-list/{i['ContactListName']}" for i in ses.list_contact_lists()["ContactLists"]),
        ]
        for name in names:
            arn = f"arn:aws:ses:{region}:111122223333:{name}"
            tags = [t["Key"] for t in ses.list_tags_for_resource(ResourceArn=arn)["Tags"]]
            ses.untag_resource(ResourceArn=arn, TagKeys=[t for t in tags if t.startswith("recon:") and t not in kept])
    for raw in house.raw_zone():
        if raw["Name"].startswith("_recon."):
            client("route53").change_resource_record_sets(
                HostedZoneId=zone_id(), ChangeBatch={"Changes": [{"Action": "DELETE", "ResourceRecordSet": raw}]}
            )
    client("route53").change_tags_for_resource(
        ResourceType="hostedzone", ResourceId=zone_id().rpartition("/")[2], RemoveTagKeys=["recon:acme"]
    )


def zone_id() -> str:
    return str(client("route53").list_hosted_zones()["HostedZones"][0]["Id"])


def live(house: House) -> None:
    """Everything as declared, and recon was never there."""

    def make() -> None:
        house.seed_zone(foreign={("acme.com", "TXT"): [f'"{SPF}"'], ("acme.com", "MX"): ["1 aspmx.l.google.com."]})
        client("sns").create_topic(Name="feedback")
        house.apply(EVERYTHING)
        forget(house)

    house.once("live, without recon", make)


def adopted(plan: Plan) -> set[str]:
    assert {change.action for change in plan.changes} <= {"adopt"}, [words(change) for change in plan.changes]
    return {change.address for change in plan.changes}


PARTS = {
    f"event_destination/{HOME}/main/feedback",
    "dns_record/acme.com/_dmarc.acme.com/TXT",
    "dns_record/acme.com/default._bimi.acme.com/TXT",
    "dns_record/acme.com/acme.com/TXT",
    "dns_record/acme.com/bounce.acme.com/MX",
    "dns_record/acme.com/bounce.acme.com/TXT",
    "dns_record/acme.com/click.acme.com/CNAME",
    "dns_record/acme.com/_dmarc.parked.acme.com/TXT",
    "dns_record/acme.com/parked.acme.com/MX",
    "dns_record/acme.com/parked.acme.com/TXT",
}


def test_what_was_right_before_recon_is_adopted_and_goes_with_its_entry(house: House) -> None:
    live(house)
    before = house.zone()
    ran = house.cli("plan", "state.yaml")
    assert ran.code == 0
    assert "adopts 17 parts of 6 resources, 3 live resources are adopted" in ran.out
    assert " x parts of " in ran.out  # one block of all that has nothing else to say
    assert adopted(house.plan()) >= PARTS
    assert house.cli("apply", "state.yaml", "--auto-approve").code == 3  # three resources without an owner
    house.settle()
    assert {key: value for key, value in house.zone().items() if not key[0].startswith("_recon.")} == before
    house.document = {}
    house.write({})
    house.settle()
    assert house.zone() == {
        ("acme.com", "MX"): ["1 aspmx.l.google.com."],
        ("acme.com", "TXT"): [f'"{SPF.replace("include:_spf.crm.example ", "")}"'],
    }


def test_parts_that_are_taken_out_are_deleted_one_by_one(house: House) -> None:
    live(house)
    house.settle()
    house.document = {}
    house.write({"domains": {"acme.com": {}}, "configuration_sets": {"main": {}}, "contact_lists": {"news": {}}})
    house.settle()
    identity = house.identity()
    assert identity["Policies"] == {}
    assert "MailFromDomain" not in identity["MailFromAttributes"]
    assert not {t["Key"] for t in (*identity["Tags"], *house.set()["Tags"])} & {"team", "tier"}
    ses = client("sesv2")
    assert ses.get_configuration_set_event_destinations(ConfigurationSetName="main")["EventDestinations"] == []
    assert ses.get_contact_list(ContactListName="news").get("Topics", []) == []
    left = {(name, kind) for name, kind in house.zone() if "_domainkey" not in name}
    # The set still tracks through its name: an attribute that is taken out stays as it is.
    assert left == {("acme.com", "MX"), ("acme.com", "TXT"), ("click.acme.com", "CNAME")}


def test_a_stack_of_an_earlier_recon_adopts_without_consent_and_drift_says_unclaimed(house: House) -> None:
    live(house)
    house.settle()
    forget(house, "recon:stack", "recon:protect")
    ran = house.cli("drift", "state.yaml", "--format", "json")
    assert (ran.code, ran.json["changes"], ran.json["outcome"]) == (0, [], "no_changes")
    unclaimed = {d["address"] for d in ran.json["diagnostics"] if d["code"] == "unclaimed"}
    assert unclaimed >= {*PARTS, f"email_identity/{HOME}/acme.com", f"contact_list/{HOME}/news"}
    assert {d["severity"] for d in ran.json["diagnostics"] if d["code"] == "unclaimed"} == {"note"}
    assert adopted(house.plan()) == unclaimed
    assert house.cli("apply", "state.yaml", "--auto-approve").code == 0
    house.quiet()


def test_an_empty_map_means_none(house: House) -> None:
    """Whoever put it there: the entry says that there are none."""
    live(house)
    house.document = {}
    bare = {"domains": {"acme.com": {"policies": {}}}, "configuration_sets": {"main": {"event_destinations": {}}}}
    house.write(bare)
    notes = [n.message for c in house.plan().changes for n in c.notes if n.rule == "takes-along"]
    assert notes == [
        "also deletes policy partner, which recon did not create",
        "also deletes event destination feedback, which recon did not create",
    ]
    house.settle()
    assert house.identity()["Policies"] == {}
    found = client("sesv2").get_configuration_set_event_destinations(ConfigurationSetName="main")
    assert found["EventDestinations"] == []


def test_a_part_that_is_declared_later_is_adopted_by_itself(house: House) -> None:
    house.seed_zone()
    house.settle({"domains": {"acme.com": {}}})
    house.change("_dmarc.acme.com", "TXT", '"v=DMARC1; p=none"')
    plan = house.plan({"domains": {"acme.com": {"dmarc": {"p": "none"}}}})
    assert adopted(plan) == {"dns_record/acme.com/_dmarc.acme.com/TXT", f"email_identity/{HOME}/acme.com"}
    house.settle(allow_adopt=False)
    # beside what is still to be made, remembering is part of an update
    plan = house.plan({"domains": {"acme.com": {"dmarc": {"p": "none"}, "bimi": {"l": "https://acme.com/a.svg"}}}})
    assert {c.address.partition("/")[0]: c.action for c in plan.changes} == {
        "dns_record": "create", "email_identity": "update",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("section", "name", "key"),
    [
        ("domains", "acme.com", "policies"), ("domains", "acme.com", "tags"), ("domains", "acme.com", "dmarc"),
        ("domains", "acme.com", "spf"), ("domains", "acme.com", "mail_from"),
        ("configuration_sets", "main", "event_destinations"), ("configuration_sets", "main", "tracking_options"),
        ("configuration_sets", "main", "tags"), ("contact_lists", "news", "topics"),
    ],
)  # fmt: skip
def test_what_is_written_is_owned_although_it_is_unmanaged_too(house: House, section: str, name: str, key: str) -> None:
    """``unmanaged`` opts out of what nobody writes: what the entry says itself is adopted once, not by each plan."""
    live(house)
    document = copy.deepcopy(EVERYTHING)
    document[section][name]["unmanaged"] = [key]
    house.apply(document)
    assert not house.plan().changes


def test_what_stays_live_although_its_entry_goes_is_named(house: House) -> None:
    house.seed_zone()
    house.settle({"domains": {"acme.com": {"mail_from": {"mail_from_domain": "bounce.acme.com"}}}})
    house.change("_dmarc.acme.com", "TXT", '"v=DMARC1; p=none"')  # never declared
    house.document = {}
    house.write({})
    plan = house.plan()
    (left,) = [d for d in plan.diagnostics if d.code == "left"]
    assert (left.severity, left.address) == ("note", "dns_record/acme.com/_dmarc.acme.com/TXT")
    assert "no tag or marker of this stack names it" in left.message
    assert "delete _dmarc.acme.com TXT from the zone" in left.hint
    house.settle()
    assert house.dns("_dmarc.acme.com") == ["v=DMARC1; p=none"]


def test_records_in_dns_that_recon_does_not_hold_are_named_when_their_entry_goes(house: House) -> None:
    house.settle({"domains": {"acme.org": {"zone": "manual", "dkim": {}}}})
    tokens = house.identity("acme.org")["DkimAttributes"]["Tokens"]
    house.document = {}
    house.write({})
    (left,) = [d for d in house.plan().diagnostics if d.code == "left"]
    assert all(f"{token}._domainkey.acme.org CNAME" in left.message for token in tokens)


DNS = {"account": "999900001111", "role_arn": "arn:aws:iam::999900001111:role/recon-dns"}


def test_in_a_zone_of_another_account_the_marker_claims_record_groups(house: House) -> None:
    """Two stacks in two accounts declare the same: what both claim goes with the last of them."""
    zones = client("route53", access_key="999900001111")
    zone = zones.create_hosted_zone(Name="acme.com", CallerReference="1")["HostedZone"]["Id"]

    def put(name: str, kind: str, *texts: str) -> None:
        records = {"Name": name, "Type": kind, "TTL": 300, "ResourceRecords": [{"Value": text} for text in texts]}
        zones.change_resource_record_sets(
            HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "UPSERT", "ResourceRecordSet": records}]}
        )

    theirs = '"v=recon1; stack=other; groups=dmarc mail_from:bounce.acme.com"'
    put("_dmarc.acme.com", "TXT", '"v=DMARC1; p=none"')
    put("bounce.acme.com", "MX", "10 feedback-smtp.us-east-1.amazonses.com")
    put("_recon.acme.com", "TXT", theirs)
    entry = {
        "dmarc": {"p": "none"}, "mail_from": {"mail_from_domain": "bounce.acme.com"},
        "bimi": {"l": "https://acme.com/a.svg"},
    }  # fmt: skip
    house.write({"domains": {"acme.com": entry}}, stack={"dns": DNS})
    shared = {c.address for c in house.plan().changes if any(n.rule == "shared" for n in c.notes)}
    assert shared == {
        "dns_record/acme.com/_dmarc.acme.com/TXT", "dns_record/acme.com/bounce.acme.com/MX",
        "dns_record/acme.com/bounce.acme.com/TXT",
    }  # fmt: skip
    house.settle()

    def texts(name: str) -> list[str]:
        listed = zones.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
        return sorted(r["Value"] for s in listed if s["Name"] == f"{name}." for r in s["ResourceRecords"])

    ours = '"v=recon1; stack=acme; groups=bimi dmarc mail_from:bounce.acme.com"'
    assert texts("_recon.acme.com") == [ours, theirs]
    house.document = {}
    house.write({}, stack={"dns": DNS})
    left = {d.address for d in house.plan().diagnostics if d.code == "left"}
    assert left == {"dns_record/acme.com/_dmarc.acme.com/TXT", "dns_record/acme.com/bounce.acme.com/MX"}
    house.settle()
    assert texts("_recon.acme.com") == [theirs]
    assert texts("_dmarc.acme.com") == ['"v=DMARC1; p=none"']
    assert len(texts("bounce.acme.com")) == 2
    assert texts("default._bimi.acme.com") == []
    # the other one lets go, too
    put("_recon.acme.com", "TXT", theirs, ours)
    house.write({"domains": {"acme.com": entry}}, stack={"dns": DNS})
    house.settle()
    put("_recon.acme.com", "TXT", ours)
    house.document = {}
    house.write({}, stack={"dns": DNS})
    house.settle()
    assert [texts(name) for name in ("_recon.acme.com", "_dmarc.acme.com", "bounce.acme.com")] == [[], [], []]
    # somebody deletes the identity with its tags, and it is taken out at once: the marker says what is ours
    house.write({"domains": {"acme.com": entry}}, stack={"dns": DNS})
    house.settle()
    client("sesv2").delete_email_identity(EmailIdentity="acme.com")
    house.document = {}
    house.write({}, stack={"dns": DNS})
    house.settle()
    assert [texts(name) for name in ("_recon.acme.com", "_dmarc.acme.com", "bounce.acme.com")] == [[], [], []]
