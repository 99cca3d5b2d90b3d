"""One and the same stack, written for each tool: many alike domains, ten a zone, as a vendor with tenants has them.

Every domain has an Easy DKIM identity with its three CNAMEs, a MAIL FROM with MX and SPF, a DMARC record, and one
configuration set that all share: six records a domain.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reconciler.sandbox import Sandbox

PER_ZONE = 10
PER_REGION = 10_000
"""Identities that SES takes in one region (SES Developer Guide, "Service quotas")."""
REGIONS = (
    "us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-2", "us-east-2", "ca-central-1", "eu-west-2",
    "eu-north-1", "ap-south-1",
)  # fmt: skip
DMARC = "v=DMARC1; p=reject; rua=mailto:dmarc@zone-0.example"
BUS = "arn:aws:events:us-east-1:111122223333:event-bus/default"
SPF = "v=spf1 include:amazonses.com ~all"


def domain(number: int) -> str:
    return f"tenant-{number}.{zone_of(number)}"


def zone_of(number: int) -> str:
    return f"zone-{number // PER_ZONE}.example"


def zones(domains: int) -> list[str]:
    return [f"zone-{number}.example" for number in range((domains + PER_ZONE - 1) // PER_ZONE)]


def region_of(number: int) -> str:
    """Where a domain sends: beyond what one region holds, the next."""
    return REGIONS[number // PER_REGION]


# --- recon ---------------------------------------------------------------------------------------------------------


def recon(folder: Path, domains: int) -> None:
    """Write the state of ``domains`` domains below ``folder``."""
    regions = sorted({region_of(0), region_of(domains - 1), *map(region_of, range(0, domains, PER_REGION))})
    lines = [
        f'stack: {{name: bench, account: "111122223333", regions: [{", ".join(regions)}], max_deletes: 100000}}',
        "defaults:",
        "  domain:",
        "    dkim: {signing_attributes_origin: AWS_SES, next_signing_key_length: RSA_2048_BIT}",
        '    mail_from: {mail_from_domain: "bounce.${domain}", behavior_on_mx_failure: USE_DEFAULT_VALUE}',
        "    configuration_set_name: tenants",
        '    dmarc: {p: reject, rua: ["mailto:dmarc@zone-0.example"]}',
        "configuration_sets:",
        "  tenants: {delivery_options: {tls_policy: REQUIRE}}",
        "domains:",
    ]
    body = "{{}}" if len(regions) == 1 else "{{regions: [{}]}}"
    lines += [f"  {domain(number)}: {body.format(region_of(number))}" for number in range(domains)]
    folder.mkdir(parents=True)
    (folder / "mail.yaml").write_text("\n".join(lines) + "\n")


def mixed(folder: Path, domains: int) -> None:
    """The same domains beside five SMTP users, two pools, and three sets with events; theirs is one of these."""
    recon(folder, domains)
    state = folder / "mail.yaml"
    text = state.read_text().replace("tenants: {delivery_options: {tls_policy: REQUIRE}}", "{}")
    state.write_text(text.replace("configuration_set_name: tenants", "configuration_set_name: set-0"))
    lines = ["dedicated_ip_pools:", "  first: {scaling_mode: STANDARD}", "  second: {scaling_mode: STANDARD}"]
    lines.append("configuration_sets:")
    for number in range(3):
        pool = ("first", "second")[number % 2]
        lines += [
            f"  set-{number}:",
            f"    delivery_options: {{sending_pool_name: {pool}}}",
            "    event_destinations:",
            "      feedback:",
            "        enabled: true",
            "        matching_event_types: [BOUNCE, COMPLAINT]",
            f"        event_bridge_destination: {{event_bus_arn: '{BUS}'}}",
        ]
    lines.append("smtp_users:")
    for number in range(5):
        name = domain(number % domains)
        lines.append(
            f'  user-{number}: {{from_addresses: ["*@{name}"], identities: [{name}], access_key: {{max_age_days: 90}}, '
            f"credentials: {{ssm: {{name: /bench/user-{number}}}}}}}"
        )
    (folder / "more.yaml").write_text("\n".join(lines) + "\n")


def with_sets(folder: Path, domains: int) -> None:
    """The same domains, and as many sets that nothing uses."""
    recon(folder, domains)
    lines = [f"  set-{number}: {{delivery_options: {{tls_policy: REQUIRE}}}}" for number in range(domains)]
    (folder / "more.yaml").write_text("\n".join(["configuration_sets:", *lines]) + "\n")


def applied(sandbox: Sandbox, domains: int) -> None:
    """Put into the sandbox what an apply of ``recon``'s state leaves there, without its calls: a first apply of ten
    thousand domains takes the sandbox a quarter of an hour. The next plan says whether this is true: no changes."""
    names: dict[str, list[str]] = {}
    for number in range(domains):
        names.setdefault(region_of(number), []).append(domain(number))
    made = sandbox.seed(zones=[{"name": zone} for zone in zones(domains)])["zones"]
    for region, listed in names.items():
        client = sandbox.client("sesv2", region)
        client.create_configuration_set(
            ConfigurationSetName="tenants",
            DeliveryOptions={"TlsPolicy": "REQUIRE"},
            Tags=[{"Key": "recon:stack", "Value": "bench"}],
        )
        tags = {"recon:stack": "bench", "recon:records": "dkim dmarc mail_from"}
        identities = [
            {
                "names": [name],
                "region": region,
                "tags": {**tags, "recon:mail_from": f"bounce.{name}"},
                "configuration_set": "tenants",
                "publish": True,
                "mail_from": f"bounce.{name}",
            }
            for name in listed
        ]
        sandbox.seed(identities=identities)
    records = [
        {"zone": made[zone_of(number)], "name": f"_dmarc.{domain(number)}", "type": "TXT", "values": [DMARC]}
        for number in range(domains)
    ]
    sandbox.seed(records=records)


# --- Terraform -----------------------------------------------------------------------------------------------------

_TERRAFORM = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
provider "aws" {
  region                      = "us-east-1"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
}
locals {
  domains = { for n in range(DOMAINS) : "tenant-${n}.zone-${floor(n / PER_ZONE)}.example" => "zone-${floor(n / PER_ZONE)}.example" }
  tokens  = merge([for d, z in local.domains : { for i in range(3) : "${d}/${i}" => { domain = d, zone = z, number = i } }]...)
}
data "aws_route53_zone" "of" {
  for_each = toset(values(local.domains))
  name     = each.key
}
resource "aws_sesv2_configuration_set" "tenants" {
  configuration_set_name = "tenants"
  delivery_options {
    tls_policy = "REQUIRE"
  }
}
resource "aws_sesv2_email_identity" "of" {
  for_each               = local.domains
  email_identity         = each.key
  configuration_set_name = aws_sesv2_configuration_set.tenants.configuration_set_name
  dkim_signing_attributes {
    next_signing_key_length = "RSA_2048_BIT"
  }
}
resource "aws_sesv2_email_identity_mail_from_attributes" "of" {
  for_each               = local.domains
  email_identity         = aws_sesv2_email_identity.of[each.key].email_identity
  mail_from_domain       = "bounce.${each.key}"
  behavior_on_mx_failure = "USE_DEFAULT_VALUE"
}
resource "aws_route53_record" "dkim" {
  for_each = local.tokens
  zone_id  = data.aws_route53_zone.of[each.value.zone].zone_id
  name     = "${aws_sesv2_email_identity.of[each.value.domain].dkim_signing_attributes[0].tokens[each.value.number]}._domainkey.${each.value.domain}"
  type     = "CNAME"
  ttl      = 300
  records  = ["${aws_sesv2_email_identity.of[each.value.domain].dkim_signing_attributes[0].tokens[each.value.number]}.dkim.amazonses.com"]
}
resource "aws_route53_record" "mx" {
  for_each = local.domains
  zone_id  = data.aws_route53_zone.of[each.value].zone_id
  name     = "bounce.${each.key}"
  type     = "MX"
  ttl      = 300
  records  = ["10 feedback-smtp.us-east-1.amazonses.com"]
}
resource "aws_route53_record" "spf" {
  for_each = local.domains
  zone_id  = data.aws_route53_zone.of[each.value].zone_id
  name     = "bounce.${each.key}"
  type     = "TXT"
  ttl      = 300
  records  = ["SPF"]
}
resource "aws_route53_record" "dmarc" {
  for_each = local.domains
  zone_id  = data.aws_route53_zone.of[each.value].zone_id
  name     = "_dmarc.${each.key}"
  type     = "TXT"
  ttl      = 300
  records  = ["DMARC"]
}
"""  # noqa: E501 - as `terraform fmt` leaves it


def terraform(folder: Path, domains: int) -> None:
    """Write the configuration of the same stack, as its provider's documentation shows each resource."""
    text = _TERRAFORM
    for word, value in (("DOMAINS", domains), ("PER_ZONE", PER_ZONE), ("SPF", SPF), ("DMARC", DMARC)):
        text = text.replace(f'["{word}"]', f'["{value}"]') if isinstance(value, str) else text.replace(word, str(value))
    folder.mkdir(parents=True)
    (folder / "main.tf").write_text(text)


# --- octoDNS -------------------------------------------------------------------------------------------------------


def octodns(folder: Path, domains: int, tokens: dict[str, list[str]]) -> None:
    """Write the records of the same stack. DKIM tokens must be known: nobody but SES's own API tells octoDNS."""
    import yaml

    source = folder / "zones"
    source.mkdir(parents=True)
    found: dict[str, dict[str, Any]] = {zone: {} for zone in zones(domains)}
    for number in range(domains):
        name, zone = domain(number), zone_of(number)
        label = name.removesuffix(f".{zone}")
        records = found[zone]
        for token in tokens[name]:
            records[f"{token}._domainkey.{label}"] = {"type": "CNAME", "value": f"{token}.dkim.amazonses.com."}
        records[f"bounce.{label}"] = [
            {"type": "MX", "value": {"preference": 10, "exchange": "feedback-smtp.us-east-1.amazonses.com."}},
            {"type": "TXT", "value": SPF},
        ]
        records[f"_dmarc.{label}"] = {"type": "TXT", "value": DMARC.replace(";", "\\;")}
    for zone, records in found.items():
        (source / f"{zone}.yaml").write_text(yaml.safe_dump(records, sort_keys=True))
    config = {
        "manager": {"max_workers": 8},
        "providers": {
            "config": {
                "class": "octodns.provider.yaml.YamlProvider",
                "directory": str(source),
                "default_ttl": 300,
                "enforce_order": False,
            },
            "route53": {
                "class": "octodns_route53.Route53Provider",
                "access_key_id": "env/AWS_ACCESS_KEY_ID",
                "secret_access_key": "env/AWS_SECRET_ACCESS_KEY",
            },
        },
        "zones": {f"{zone}.": {"sources": ["config"], "targets": ["route53"]} for zone in found},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
