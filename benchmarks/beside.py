"""Do octoDNS and Terraform still agree with recon where they manage the same zone and the same resources?

    PYTHONPATH=. .venv/bin/python benchmarks/beside.py

It runs the real tools against the sandbox, each as people run it, and exits with 1 where one of them shows a difference
that another has made. octoDNS is installed from PyPI into a virtualenv of its own; Terraform must be on the PATH, with
the AWS provider where it finds it (``TF_CLI_CONFIG_FILE`` names a file with a ``provider_installation`` where that is a
mirror). A tool that cannot be run is named, and the rest is still checked.

What must hold:
- after ``recon apply``, octoDNS's dump of the zone is in sync with it, and Terraform imports all without a change;
- what octoDNS or Terraform writes beside recon's records is no change for recon, and stays;
- what Terraform has made and recon declares then is adopted, and Terraform shows no change;
- after another ``recon apply``, octoDNS and Terraform show what recon has changed, and nothing else;
- the steps of docs/from-terraform.md change nothing: Terraform makes a domain, recon imports and adopts it, Terraform
  forgets it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import tools
import yaml

from reconciler.sandbox import Sandbox

STATE = """\
stack: {name: beside, account: "111122223333", regions: [us-east-1]}
configuration_sets:
  main:
    suppression_options: {suppressed_reasons: [COMPLAINT, BOUNCE]}
    event_destinations:
      metrics:
        enabled: true
        matching_event_types: [SEND, BOUNCE, DELIVERY]
        cloud_watch_destination:
          dimension_configurations:
            - {dimension_name: zeta, dimension_value_source: MESSAGE_TAG, default_dimension_value: x}
            - {dimension_name: alpha, dimension_value_source: LINK_TAG, default_dimension_value: x}
domains:
  acme.com:
    dkim: {next_signing_key_length: RSA_2048_BIT}
    mail_from: {mail_from_domain: bounce.acme.com, behavior_on_mx_failure: USE_DEFAULT_VALUE}
    dmarc: {p: POLICY, rua: ["mailto:dmarc@acme.com"]}
    spf: {include: [_spf.crm.example]}
    configuration_set_name: main
sns_topics:
  ops: {display_name: Operations}
cloudwatch_alarms:
  rejects:
    namespace: AWS/SES
    metric_name: Reject
    statistic: Sum
    period: 300
    evaluation_periods: 1
    threshold: 10
    comparison_operator: GreaterThanThreshold
    alarm_actions: [ops]
    alarm_description: SES rejects our mail
cloudwatch_dashboards:
  mail: {body: {widgets: [{type: text, x: 0, y: 0, width: 6, height: 2, properties: {markdown: Mail}}]}}
event_rules:
  ses: {event_pattern: {source: [aws.ses]}, targets: [ops], description: SES says something}
sending_roles:
  blast:
    trust: {service: lambda.amazonaws.com}
    from_addresses: ["news@acme.com"]
    description: Sends news
"""
THEIRS = {
    "namespace": "AWS/SES", "metric_name": "Send", "statistic": "Sum", "period": 60, "evaluation_periods": 2,
    "threshold": 5, "comparison_operator": "LessThanThreshold",
}  # fmt: skip
FOREIGN = [
    {"name": "acme.com", "type": "TXT", "values": ['"v=spf1 include:_spf.mailboxes.example ~all"', '"verify=1"']},
    {"name": "acme.com", "type": "MX", "values": ["10 mx.mailboxes.example."]},
    {"name": "*.wild.acme.com", "type": "A", "values": ["192.0.2.1"]},
]
TERRAFORM = """\
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
provider "aws" {
  region                      = "us-east-1"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  ignore_tags {
    key_prefixes = ["recon:"]
  }
}
resource "aws_sesv2_configuration_set" "main" {
  configuration_set_name = "main"
  suppression_options {
    suppressed_reasons = ["COMPLAINT", "BOUNCE"]
  }
}
resource "aws_sesv2_configuration_set_event_destination" "metrics" {
  configuration_set_name = "main"
  event_destination_name = "metrics"
  event_destination {
    enabled              = true
    matching_event_types = ["SEND", "BOUNCE", "DELIVERY"]
    cloud_watch_destination {
      dimension_configuration {
        dimension_name          = "zeta"
        dimension_value_source  = "MESSAGE_TAG"
        default_dimension_value = "x"
      }
      dimension_configuration {
        dimension_name          = "alpha"
        dimension_value_source  = "LINK_TAG"
        default_dimension_value = "x"
      }
    }
  }
}
resource "aws_sesv2_email_identity_mail_from_attributes" "acme" {
  email_identity         = "acme.com"
  mail_from_domain       = "bounce.acme.com"
  behavior_on_mx_failure = "USE_DEFAULT_VALUE"
}
resource "aws_route53_record" "mx" {
  zone_id = "ZONE"
  name    = "bounce.acme.com"
  type    = "MX"
  ttl     = 300
  records = ["10 feedback-smtp.us-east-1.amazonses.com"]
}
resource "aws_route53_record" "dmarc" {
  zone_id = "ZONE"
  name    = "_dmarc.acme.com"
  type    = "TXT"
  ttl     = 300
  records = ["v=DMARC1; p=none; rua=mailto:dmarc@acme.com"]
}
resource "aws_sns_topic" "ops" {
  name         = "ops"
  display_name = "Operations"
}
resource "aws_cloudwatch_metric_alarm" "rejects" {
  alarm_name          = "rejects"
  alarm_description   = "SES rejects our mail"
  namespace           = "AWS/SES"
  metric_name         = "Reject"
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 10
  comparison_operator = "GreaterThanThreshold"
  alarm_actions       = [aws_sns_topic.ops.arn]
}
resource "aws_cloudwatch_dashboard" "mail" {
  dashboard_name = "mail"
  dashboard_body = jsonencode({ widgets = [
    { type = "text", x = 0, y = 0, width = 6, height = 2, properties = { markdown = "Mail" } }
  ] })
}
resource "aws_cloudwatch_event_rule" "ses" {
  name          = "ses"
  description   = "SES says something"
  event_pattern = jsonencode({ source = ["aws.ses"] })
}
resource "aws_iam_role" "blast" {
  name        = "blast"
  description = "Sends news"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = "111122223333" } }
    }]
  })
}
resource "aws_cloudwatch_metric_alarm" "theirs" {
  alarm_name          = "made-by-terraform"
  namespace           = "AWS/SES"
  metric_name         = "Send"
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 2
  threshold           = 5
  comparison_operator = "LessThanThreshold"
}
resource "aws_route53_record" "www" {
  zone_id = "ZONE"
  name    = "www.acme.com"
  type    = "CNAME"
  ttl     = 300
  records = ["acme.web.example"]
}
"""
IMPORTS = {
    "aws_sesv2_configuration_set.main": "main",
    "aws_sesv2_configuration_set_event_destination.metrics": "main|metrics",
    "aws_sesv2_email_identity_mail_from_attributes.acme": "acme.com",
    "aws_route53_record.mx": "ZONE_bounce.acme.com_MX",
    "aws_route53_record.dmarc": "ZONE__dmarc.acme.com_TXT",
    "aws_sns_topic.ops": "arn:aws:sns:us-east-1:111122223333:ops",
    "aws_cloudwatch_metric_alarm.rejects": "rejects",
    "aws_cloudwatch_dashboard.mail": "mail",
    "aws_cloudwatch_event_rule.ses": "ses",
    "aws_iam_role.blast": "blast",
}


class Check:
    """The sandbox, the folder of each tool, and what did not hold."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.folder, self.sandbox, self.failed = folder, sandbox, 0
        self.document: dict[str, Any] = {}
        self.adopted: dict[str, Any] = {}
        self.zone = str(sandbox.seed(zones=[{"name": "acme.com", "records": FOREIGN}])["zones"]["acme.com"])
        for name in ("recon", "terraform", "octodns"):
            (folder / name).mkdir()

    def run(self, tool: str, *arguments: str, codes: tuple[int, ...] = (0,)) -> tuple[int, str]:
        """The exit code and the output of one command. Raises SystemExit for another code than ``codes``."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RECON_"))}
        ended = subprocess.run(
            arguments, cwd=self.folder / tool, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600,
            env={**kept, **self.sandbox.environment(), "CHECKPOINT_DISABLE": "1", "PYTHONPATH": str(tools.HERE)},
        )  # fmt: skip
        if ended.returncode not in codes:
            raise SystemExit(f"{' '.join(arguments)} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
        return ended.returncode, ended.stdout + ended.stderr

    def must(self, what: str, holds: bool, output: str = "") -> None:
        print(f"{'ok  ' if holds else 'FAIL'}  {what}")
        if not holds:
            self.failed += 1
            print(output)

    def recon(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> tuple[int, str]:
        return self.run("recon", sys.executable, "-m", "reconciler", *arguments, codes=codes)

    def apply(self, policy: str) -> None:
        self.document = yaml.safe_load(STATE.replace("POLICY", policy))
        self.document["cloudwatch_alarms"] |= self.adopted
        self.write()
        self.recon("apply", "state.yaml", "--auto-approve", "--allow-adopt")
        self.at_rest(f"after recon apply with p={policy}")

    def write(self) -> None:
        (self.folder / "recon" / "state.yaml").write_text(yaml.safe_dump(self.document))

    def adopts(self, name: str) -> None:
        """What another tool has made and is declared now is adopted, and nothing else of it changes."""
        self.adopted[name] = THEIRS
        self.document["cloudwatch_alarms"][name] = THEIRS
        self.write()
        _, output = self.recon("plan", "state.yaml", "--format", "json")
        found = [(c["action"], d["path"]) for c in json.loads(output)["changes"] for d in c["diff"]]
        only = bool(found) and all(action == "adopt" and path.startswith("tags.recon:") for action, path in found)
        self.must("recon only adopts what Terraform has made", only, output)
        self.recon("apply", "state.yaml", "--auto-approve", "--allow-adopt")
        self.at_rest("after the adoption")

    def at_rest(self, when: str) -> None:
        code, output = self.recon("plan", "state.yaml", "--detailed-exitcode", codes=(0, 2))
        self.must(f"recon shows no change {when}", code == 0, output)


class OctoDns:
    def __init__(self, check: Check) -> None:
        self.check = check
        self.program, self.why_not = tools.octodns_program(check.folder)
        route53 = {
            "class": "octodns_route53.Route53Provider",
            "access_key_id": "env/AWS_ACCESS_KEY_ID",
            "secret_access_key": "env/AWS_SECRET_ACCESS_KEY",
        }
        source = {"class": "octodns.provider.yaml.YamlProvider", "directory": "zones", "default_ttl": 300}
        config = {
            "providers": {"config": {**source, "enforce_order": False}, "route53": route53},
            "zones": {"acme.com.": {"sources": ["config"], "targets": ["route53"]}},
        }
        (check.folder / "octodns" / "config.yaml").write_text(yaml.safe_dump(config))
        self.file = check.folder / "octodns" / "zones" / "acme.com.yaml"

    def sync(self, *options: str) -> str:
        return self.check.run("octodns", str(self.program), "--config-file", "config.yaml", *options)[1]

    def dump(self) -> None:
        dump = str(Path(str(self.program)).parent / "octodns-dump")
        given = ("--config-file", "config.yaml", "--output-dir", "zones", "acme.com.", "route53")
        self.check.run("octodns", dump, *given)

    def first(self) -> None:
        self.dump()
        output = self.sync()
        self.check.must("octoDNS is in sync with its dump of the zone", "No changes were planned" in output, output)
        records = yaml.safe_load(self.file.read_text())
        records["shop"] = {"type": "A", "value": "192.0.2.7"}
        self.file.write_text(yaml.safe_dump(records))
        self.sync("--doit")
        self.check.at_rest("after octoDNS wrote a record of its own")

    def later(self) -> None:
        output = self.sync()
        alone = "Creates=0, Updates=1, Deletes=0" in output and "p=quarantine" in output
        self.check.must("octoDNS shows the one record that recon has changed", alone, output)
        self.dump()
        output = self.sync()
        self.check.must("octoDNS is in sync again", "No changes were planned" in output, output)
        self.check.must("its own record stays", "shop" in yaml.safe_load(self.file.read_text()), output)


class Terraform:
    def __init__(self, check: Check) -> None:
        self.check = check
        blocks = (f'import {{\n  to = {place}\n  id = "{name}"\n}}\n' for place, name in IMPORTS.items())
        text = (TERRAFORM + "".join(blocks)).replace("ZONE", check.zone.rpartition("/")[2])
        (check.folder / "terraform" / "main.tf").write_text(text)
        self.why_not = tools.terraform_missing() or tools.terraform_init(check.sandbox, check.folder / "terraform")

    def run(self, command: str, *arguments: str, codes: tuple[int, ...] = (0,)) -> tuple[int, str]:
        return self.check.run("terraform", "terraform", command, "-input=false", "-no-color", *arguments, codes=codes)

    def first(self) -> None:
        own = ("-target=aws_route53_record.www", "-target=aws_cloudwatch_metric_alarm.theirs")
        _, output = self.run("plan", *own, "-out=www")
        self.run("apply", "www")
        self.check.at_rest("after Terraform wrote a record and an alarm of its own")
        self.check.adopts("made-by-terraform")
        _, output = self.run("plan", "-out=all")
        wanted = f"Plan: {len(IMPORTS)} to import, 0 to add, 0 to change, 0 to destroy."
        self.check.must("Terraform imports what recon made, and changes nothing", wanted in output, output)
        self.run("apply", "all")
        self.check.at_rest("after Terraform's import")

    def later(self) -> None:
        code, output = self.run("plan", "-detailed-exitcode", codes=(0, 2))
        alone = code == 2 and "Plan: 0 to add, 1 to change, 0 to destroy." in output and "p=quarantine" in output
        self.check.must("Terraform shows the one record that recon has changed", alone, output)


LEAVING = """\
resource "aws_sesv2_configuration_set" "main" {
  configuration_set_name = "main"
  suppression_options { suppressed_reasons = ["BOUNCE"] }
}
resource "aws_sesv2_email_identity" "acme" {
  email_identity         = "acme.com"
  configuration_set_name = aws_sesv2_configuration_set.main.configuration_set_name
}
resource "aws_route53_record" "dkim" {
  count   = 3
  zone_id = "ZONE"
  name    = "${aws_sesv2_email_identity.acme.dkim_signing_attributes[0].tokens[count.index]}._domainkey.acme.com"
  type    = "CNAME"
  ttl     = 300
  records = ["${aws_sesv2_email_identity.acme.dkim_signing_attributes[0].tokens[count.index]}.dkim.amazonses.com"]
}
"""
FORGOTTEN = "".join(
    f"removed {{\n  from = {place}\n  lifecycle {{ destroy = false }}\n}}\n"
    for place in ("aws_sesv2_configuration_set.main", "aws_sesv2_email_identity.acme")
)


def from_terraform(check: Check) -> None:
    """The steps of docs/from-terraform.md, with the ``removed`` block and with ``state rm``."""
    code, folder = check.folder / "terraform" / "main.tf", check.folder / "terraform"
    provider = TERRAFORM.partition("resource ")[0]
    code.write_text(provider + LEAVING.replace("ZONE", check.zone.rpartition("/")[2]))
    why_not = tools.terraform_missing() or tools.terraform_init(check.sandbox, folder)
    if why_not:
        print(f"--    the way from Terraform is left out: {why_not}")
        return

    def terraform(*arguments: str) -> str:
        return check.run("terraform", "terraform", *arguments)[1]

    def at_rest(when: str) -> None:
        output = terraform("plan", "-input=false", "-no-color")
        check.must(f"Terraform shows no change {when}", "No changes." in output, output)

    terraform("apply", "-input=false", "-auto-approve")
    _, output = check.recon("import", "--out", "state")
    check.must("recon imports what Terraform has made, to be adopted alone", "changes nothing else" in output, output)
    check.recon("apply", "state", "--allow-adopt", "--auto-approve")
    at_rest("after recon has adopted all of it")
    terraform("state", "rm", "aws_route53_record.dkim")
    code.write_text(provider + FORGOTTEN)
    output = terraform("apply", "-input=false", "-no-color", "-auto-approve")
    check.must("Terraform forgets it and destroys nothing", "0 added, 0 changed, 0 destroyed" in output, output)
    at_rest("after that")
    exit_code, output = check.recon("plan", "state", "--detailed-exitcode", codes=(0, 2))
    check.must("recon shows no change after that", exit_code == 0, output)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, Sandbox() as sandbox:
        leaving = Check(Path(folder), sandbox)
        from_terraform(leaving)
    with tempfile.TemporaryDirectory() as folder, Sandbox() as sandbox:
        check = Check(Path(folder), sandbox)
        check.apply("none")
        others = [tool for tool in (Terraform(check), OctoDns(check)) if _can_run(tool)]
        for tool in others:
            tool.first()
        check.apply("quarantine")
        for tool in others:
            tool.later()
        check.at_rest("in the end")
        return 1 if check.failed + leaving.failed else 0


def _can_run(tool: OctoDns | Terraform) -> bool:
    if tool.why_not:
        print(f"--    {type(tool).__name__} is left out: {tool.why_not}")
    return not tool.why_not


if __name__ == "__main__":
    sys.exit(main())
