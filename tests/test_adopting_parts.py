"""Declared is owned: parts that were right before recon came are adopted, remembered, and deleted when they are taken
out of the YAML."""

from __future__ import annotations

from typing import Any

from support import HOME, House, client

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


def forget(house: House) -> None:
    """What a world looks like in which recon never was: no tag of ours, no marker."""
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
            ses.untag_resource(ResourceArn=arn, TagKeys=[t for t in tags if t.startswith("recon:")])
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


def test_explore(house: House) -> None:
    live(house)
    ran = house.cli("plan", "state.yaml")
    print(ran.out)
    plan = house.plan()
    for c in plan.changes:
        print(c.action, c.claims, c.address, [(d.path, d.before, d.after) for d in c.diff], c.depends_on)
    house.settle(allow_adopt=True)
    zone = house.zone()
    print(zone)
    gone = {
        **EVERYTHING,
        "domains": {"acme.com": {}},
        "configuration_sets": {"main": {}},
        "contact_lists": {"news": {}},
    }
    house.write(gone)
    house.document.pop("domains")
    print(house.cli("plan", "state.yaml").out)
    house.settle()
    print(house.zone())
    assert 0
