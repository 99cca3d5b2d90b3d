"""``python -m reconciler.demo``: recon end to end on the embedded AWS, printed on the terminal and checked at every
step.

Real commands run as processes of their own against a sandbox in this process. Every claim is checked; the first one
that is false ends the demo with exit 1. Needs a checkout, for its ``state/``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from reconciler.sandbox import Sandbox

ACCOUNTS: Final = {"production": "111122223333", "staging": "444455556666"}
REGIONS: Final = ("us-east-1", "eu-west-1")
WIDTH: Final = 100
STATE: Final = Path(__file__).parent.parent / "state"

ZONES: Final = json.loads(Path(__file__).with_name("demo.zones.json").read_text(encoding="utf-8"))
"""Other people's records in the zones before the first apply, by environment, as ``Sandbox.seed`` takes them."""


# --- the account ---------------------------------------------------------------------------------------------------


def set_up(sandbox: Sandbox, environment: str) -> None:
    """Create what the example in state/ expects to exist: zones with other people's records, a DKIM key."""
    account = ACCOUNTS[environment]
    sandbox.seed(zones=[{**zone, "account": account} for zone in ZONES[environment]])
    secrets = sandbox.client("secretsmanager", REGIONS[0], access_key=account)
    secrets.create_secret(Name="recon/dkim/survey", SecretString=_private_key())


def _private_key() -> str:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()).decode()


def zones_of(sandbox: Sandbox, environment: str) -> dict[str, Any]:
    """Every record set and tag of the environment's zones, exactly as Route 53 returns them.

    The values of a set are sorted: their order carries no meaning in DNS (RFC 2181, section 5).
    """
    route53 = sandbox.client("route53", access_key=ACCOUNTS[environment])
    found = {}
    for zone in route53.list_hosted_zones()["HostedZones"]:
        records: list[Any] = []
        for page in route53.get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone["Id"]):
            records += page["ResourceRecordSets"]
        for record in records:
            record["ResourceRecords"].sort(key=lambda value: value["Value"])
        tags = route53.list_tags_for_resource(ResourceType="hostedzone", ResourceId=zone["Id"].rpartition("/")[2])
        found[zone["Name"]] = {"records": records, "tags": tags["ResourceTagSet"]["Tags"]}
    return found


def left_over(sandbox: Sandbox, environment: str) -> list[str]:
    """What recon created and still exists, but for roles: those of the stack itself are there, too."""
    found: list[str] = []
    account = ACCOUNTS[environment]
    for region in REGIONS:
        ses = sandbox.client("sesv2", region, access_key=account)
        found += [i["IdentityName"] for i in ses.list_email_identities()["EmailIdentities"]]
        found += ses.list_configuration_sets()["ConfigurationSets"]
        found += ses.list_dedicated_ip_pools()["DedicatedIpPools"]
        listed = sandbox.client("secretsmanager", region, access_key=account).list_secrets()["SecretList"]
        found += [s["Name"] for s in listed if s["Name"] != "recon/dkim/survey"]
        found += [
            p["Name"] for p in sandbox.client("ssm", region, access_key=account).describe_parameters()["Parameters"]
        ]
        found += [t["TopicArn"] for t in sandbox.client("sns", region, access_key=account).list_topics()["Topics"]]
        found += [r["Name"] for r in sandbox.client("events", region, access_key=account).list_rules()["Rules"]]
        watched = sandbox.client("cloudwatch", region, access_key=account)
        found += [a["AlarmName"] for a in watched.describe_alarms()["MetricAlarms"]]
        found += [d["DashboardName"] for d in watched.list_dashboards()["DashboardEntries"]]
    iam = sandbox.client("iam", access_key=account)
    found += [u["UserName"] for u in iam.list_users()["Users"]]
    return sorted(found)


def edit_by_hand(sandbox: Sandbox) -> tuple[str, ...]:
    """Manual edits in production, as people make them in a console; returns their descriptions."""
    account = ACCOUNTS["production"]
    route53 = sandbox.client("route53", access_key=account)
    zones = {z["Name"]: z["Id"] for z in route53.list_hosted_zones()["HostedZones"]}
    zone = zones["acme.example."]

    def edit(name: str, kind: str, change: Callable[[str], str] | None) -> None:
        listed = route53.list_resource_record_sets(
            HostedZoneId=zone, StartRecordName=name, StartRecordType=kind, MaxItems="1"
        )
        live = listed["ResourceRecordSets"][0]
        if change is None:
            batch = [{"Action": "DELETE", "ResourceRecordSet": live}]
        else:
            values = [{"Value": change(value["Value"])} for value in live["ResourceRecords"]]
            batch = [{"Action": "UPSERT", "ResourceRecordSet": {**live, "ResourceRecords": values}}]
        route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": batch})

    edit("_dmarc.acme.example", "TXT", lambda text: text[:-1] + '; ruf=mailto:owner@acme.example; fo=1"')
    edit("acme.example", "TXT", lambda text: text.replace("~all", "+all"))
    edit("bounce-eu-west-1.news.acme.example", "MX", None)
    ses = sandbox.client("sesv2", "us-east-1", access_key=account)
    ses.put_email_identity_dkim_attributes(EmailIdentity="receipts.acme.example", SigningEnabled=False)
    watched = sandbox.client("cloudwatch", "us-east-1", access_key=account)
    (alarm,) = watched.describe_alarms(AlarmNames=["bounces"])["MetricAlarms"]
    members = watched.meta.service_model.operation_model("PutMetricAlarm").input_shape.members
    watched.put_metric_alarm(**{k: v for k, v in {**alarm, "Threshold": 0.5}.items() if k in members})
    watched.put_dashboard(DashboardName="mail", DashboardBody='{"widgets": []}')
    sandbox.client("events", "us-east-1", access_key=account).disable_rule(Name="smtp-keys")
    sns = sandbox.client("sns", "us-east-1", access_key=account)
    topic = f"arn:aws:sns:us-east-1:{account}:mail-ops"
    sns.set_topic_attributes(TopicArn=topic, AttributeName="DisplayName", AttributeValue="other")
    return (
        "DMARC of acme.example gets ruf= and fo=1: every failure anywhere now sends mail to the owner",
        "SPF of acme.example ends in +all: anybody may send as acme.example",
        "the MX of bounce-eu-west-1.news.acme.example is deleted: bounces of the newsletter get lost",
        "DKIM of receipts.acme.example is switched off in us-east-1: receipts are sent unsigned",
        "the alarm on bounces rings at one in two, where AWS reviews an account at one in twenty",
        "the dashboard of all domains is emptied",
        "the rule that tells of new and deleted keys of SMTP users is disabled",
        "the topic of the people on call gets another display name",
    )


EDITED: Final[Mapping[str, tuple[str, set[str] | None]]] = {
    "dns_record/acme.example/_dmarc.acme.example/TXT": ("update", {"ruf", "fo"}),
    "dns_record/acme.example/acme.example/TXT": ("update", {"all"}),
    "dns_record/acme.example/bounce-eu-west-1.news.acme.example/MX": ("create", {"ttl", "value"}),
    "email_identity/us-east-1/receipts.acme.example": ("update", {"dkim.signing_enabled"}),
    "cloudwatch_alarm/us-east-1/bounces": ("update", {"threshold"}),
    "cloudwatch_dashboard/mail": ("update", None),
    "event_rule/us-east-1/smtp-keys": ("update", {"state"}),
    "sns_topic/us-east-1/mail-ops": ("update", {"display_name"}),
}
"""The drift after ``edit_by_hand``: address -> action, and exactly the fields that must differ, None for any."""


# --- running and checking ------------------------------------------------------------------------------------------


class FalseClaim(Exception):
    """A claim of the demo that is false."""


@dataclass(slots=True)
class Demo:
    """Runs recon in a folder against a sandbox, and prints steps, commands, excerpts and checks."""

    folder: Path
    environment: Mapping[str, str]
    color: bool = False
    unicode: bool = True
    steps: int = 0
    commands: int = 0
    checks: int = 0
    outputs: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def paint(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self.color and style else text

    def print(self, text: str = "") -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def step(self, title: str, text: str = "") -> None:
        self.steps += 1
        self.print()
        self.print(self.paint(f"{self.steps:>2}  {title}", "1"))
        for line in textwrap.wrap(text, WIDTH - 4):
            self.print("    " + self.paint(line, "2"))

    def item(self, text: str) -> None:
        self.print("    " + ("• " if self.unicode else "* ") + text)

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run ``recon COMMAND``. Raises FalseClaim for a traceback, which no command may print."""
        self.commands += 1
        ended = subprocess.run(
            [sys.executable, "-m", "reconciler", *command.split()], cwd=self.folder, env=dict(self.environment),
            capture_output=True, text=True, encoding="utf-8", stdin=subprocess.DEVNULL, timeout=120,
        )  # fmt: skip
        if "Traceback" in ended.stderr:
            raise FalseClaim(f"recon {command} crashed:\n{ended.stderr}")
        self.outputs.append(ended.stdout + ended.stderr)
        return ended

    def recon(self, command: str, *, expect: int = 0, show: Callable[[str], Iterable[str]] | None = None) -> None:
        """Show and run a command, print an excerpt of its output, and check its exit code."""
        self.print()
        self.print("    " + self.paint(f"$ recon {command}", "36"))
        result = self.run(command)
        text = result.stderr if expect == 3 else result.stdout
        bar = self.paint("│" if self.unicode else "|", "2")
        for line in (show or wrapped)(text):
            self.print(f"    {bar} {self.paint(line, tint(line))}".rstrip())
        if result.returncode != expect:
            output = f"{result.stdout[-2000:]}\n{result.stderr[-2000:]}"
            raise FalseClaim(f"recon {command} ended with exit {result.returncode}, not {expect}:\n{output}")
        self.check(f"exit {result.returncode}", True)

    def check(self, claim: str, true: bool, found: object = "") -> None:
        """Print a claim that is true. Raises FalseClaim for one that is not."""
        self.checks += 1
        if not true:
            raise FalseClaim(f"{claim}: false. {found}")
        self.print("    " + self.paint("✓" if self.unicode else "ok:", "32") + f" {claim}")


def tint(line: str) -> str:
    """The colour of a line of a plan, by its symbol; empty for none."""
    symbol = line.split(maxsplit=1)[0] if line.startswith("  ") and line[2:3] != " " else ""
    return {"+": "32", "~": "33", "-": "31", "done": "32", "error:": "31"}.get(symbol, "")


def wrapped(text: str) -> list[str]:
    """The whole text, wrapped."""
    lines: list[str] = []
    for line in text.strip("\n").split("\n"):
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        lines += textwrap.wrap(line, WIDTH - 6, subsequent_indent=indent, break_on_hyphens=False) or [""]
    return lines


def last_line(text: str) -> list[str]:
    """Only the last line."""
    return wrapped(text.strip("\n").rpartition("\n")[2])


def blocks(*addresses: str) -> Callable[[str], list[str]]:
    """The headline, the blocks with one of ``addresses``, how many are left out, and the last line."""

    def excerpt(text: str) -> list[str]:
        parts = text.strip("\n").split("\n\n")
        head, body, (*_, last) = parts[0], parts[1:-1], parts[-1].split("\n")
        shown = [part for part in body if any(address in part for address in addresses)]
        lines = [*wrapped(head), ""]
        for part in shown:
            lines += [*wrapped(part), ""]
        if omitted := len(body) - len(shown):
            lines += [f"  ({omitted} more blocks)", ""]
        return [*lines, *wrapped(last)]

    return excerpt


# --- the story -----------------------------------------------------------------------------------------------------


def story(demo: Demo, sandbox: Sandbox) -> None:
    """Production from the first plan to destroy, with manual edits on the way; then staging, shorter."""
    before = first_apply(demo, sandbox)
    drift(demo, sandbox)
    destroy(demo, sandbox, before)
    staging(demo, sandbox)


def first_apply(demo: Demo, sandbox: Sandbox) -> dict[str, Any]:
    """Validate, plan and apply production, twice; returns its zones as they were before."""
    demo.step(
        "The account before recon",
        "Three zones in Route 53, with other people's records. None of them belongs to recon.",
    )
    set_up(sandbox, "production")
    before = zones_of(sandbox, "production")
    for record in ZONES["production"][0]["records"]:
        if record["type"] == "TXT" and not record["name"].startswith("*"):
            for value in record["values"]:
                demo.item(f"{record['name']} TXT {value}")

    demo.step("Is the YAML valid?", "Offline: syntax, schema, references. No credentials, no AWS.")
    sandbox.clear_calls()
    demo.recon("validate --env production")
    demo.check("no call to AWS", not sandbox.calls())

    demo.step("What would change?", "recon reads AWS and prints the difference. A plan never writes.")
    demo.recon(
        "plan --env production --out plan.json",
        show=blocks("dns_record/acme.example/acme.example/TXT", "dns_record/acme.example/_dmarc.acme.example/TXT",
                    "acme.example:dkim:us-east-1:1/CNAME"),
    )  # fmt: skip
    demo.check("the plan wrote nothing", not writes(sandbox))
    plan = (demo.folder / "plan.json").read_text()
    demo.check("it keeps the SPF include of somebody else", "_spf.crm.example" in plan)

    demo.step("Apply", "Exactly the saved plan, or nothing: apply first plans it again, and refuses what differs.")
    demo.recon("apply plan.json", show=blocks("done"))
    text = " ".join(sandbox.dns("acme.example", "TXT"))
    demo.check("SPF has both includes, before its `all`",
               "v=spf1 include:_spf.crm.example include:_spf.mailboxes.example ~all" in text, text)  # fmt: skip
    demo.check("no secret on the screen, in the plan or in a log", not leaked(demo, sandbox))

    demo.step("Again", "After an apply the plan is empty, immediately; a second apply writes nothing.")
    sandbox.clear_calls()
    demo.recon("plan --env production --detailed-exitcode", show=last_line)
    demo.recon("apply --env production --auto-approve", show=last_line)
    demo.check("not one write call", not writes(sandbox), writes(sandbox))
    return before


def drift(demo: Demo, sandbox: Sandbox) -> None:
    """Manual edits in production, found by drift and undone by apply."""
    demo.step("Somebody edits production by hand", "In the console, on a Friday afternoon:")
    for description in edit_by_hand(sandbox):
        demo.item(description)

    demo.step("Is there drift?", "What a cron job runs on the released branch. Exit 2 is drift.")
    demo.recon("drift --env production", expect=2, show=blocks(*EDITED))
    report = json.loads(demo.run("drift --env production --format json").stdout)
    found = {c["address"]: c for c in report["changes"]}
    demo.check("all of them are found, and nothing else", found.keys() == EDITED.keys(), sorted(found))
    for address, (action, fields) in EDITED.items():
        named = {d["path"] for d in found[address]["diff"]}
        right = found[address]["action"] == action and bool(named) and fields in (None, named)
        what = "missing" if action == "create" else ", ".join(sorted(fields or ["differs"]))
        demo.check(f"{address}: {what}", right, found[address])

    demo.step("Undo the drift")
    demo.recon("apply --env production --auto-approve", show=last_line)
    demo.recon("drift --env production", show=last_line)


def destroy(demo: Demo, sandbox: Sandbox, before: dict[str, Any]) -> None:
    """Delete everything in production; ``before`` are its zones before the first apply."""
    demo.step("Destroy", "Deleting everything needs a confirmation with the number of deletions.")
    demo.recon("destroy --env production --allow-deletes 3", expect=3)
    demo.check("refused, and nothing was written", bool(left_over(sandbox, "production")))
    demo.recon("destroy --env production --allow-deletes 60", show=last_line)
    left = left_over(sandbox, "production")
    demo.check("nothing of it is left: identities, sets, pools, users, secrets, topics, alarms, rules", not left, left)
    after = zones_of(sandbox, "production")
    demo.check(
        "exactly the records of other people are there, byte for byte", after == before, differing(before, after)
    )


def staging(demo: Demo, sandbox: Sandbox) -> None:
    """Apply and destroy the other environment."""
    demo.step("The other environment", "Another account, other names, no dedicated IPs; the same YAML.")
    set_up(sandbox, "staging")
    before = zones_of(sandbox, "staging")
    demo.recon("apply --env staging --auto-approve", show=last_line)
    demo.recon("plan --env staging --detailed-exitcode", show=last_line)
    demo.recon("destroy --env staging --allow-deletes 60", show=last_line)
    left = left_over(sandbox, "staging")
    after = zones_of(sandbox, "staging")
    demo.check("nothing is left, and other people's records are as before", not left and after == before, left)


def writes(sandbox: Sandbox) -> list[str]:
    """The write calls that the sandbox has recorded, without AssumeRole."""
    return [c["operation"] for c in sandbox.calls() if not c["reads_only"] and c["service"] != "sts"]


def leaked(demo: Demo, sandbox: Sandbox) -> list[str]:
    """The stack's secrets that a file of the folder or the output of a command contains: there must be none."""
    client = sandbox.client("secretsmanager", REGIONS[0], access_key=ACCOUNTS["production"])
    names = ("recon/production/newsletter/us-east-1", "recon/dkim/survey")
    smtp, dkim = (client.get_secret_value(SecretId=name)["SecretString"] for name in names)
    secrets = [json.loads(smtp)["password"], dkim.split("\n")[1]]
    texts = [path.read_text(encoding="utf-8") for path in demo.folder.rglob("*") if path.is_file()]
    texts += demo.outputs
    return [secret for secret in secrets if any(secret in text for text in texts)]


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The record sets that differ, for the error message."""
    differences = []
    for zone, state in before.items():
        was, now = state["records"], after[zone]["records"]
        differences += [f"{zone} lost {r}" for r in was if r not in now]
        differences += [f"{zone} gained {r}" for r in now if r not in was]
        if state["tags"] != after[zone]["tags"]:
            differences.append(f"{zone} tags {state['tags']} -> {after[zone]['tags']}")
    return "; ".join(differences)


@contextlib.contextmanager
def without_aws_environment() -> Iterator[None]:
    """Remove the variables that would direct boto3 or recon to another account, such as AWS_PROFILE."""
    removed = {k: os.environ.pop(k) for k in list(os.environ) if k.startswith(("AWS_", "RECON_"))}
    try:
        yield
    finally:
        os.environ.update(removed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns 0 if every claim is true, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m reconciler.demo", description="recon end to end on an embedded AWS."
    )
    parser.add_argument("--state", type=Path, default=STATE, help="the folder of the example")
    options = parser.parse_args(arguments)
    if not options.state.is_dir():
        sys.stderr.write(f"error: {options.state} does not exist; the demo needs the example of a checkout\n")
        return 1
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    with without_aws_environment(), tempfile.TemporaryDirectory(prefix="recon-demo-") as name, Sandbox() as sandbox:
        folder = Path(name)
        shutil.copytree(options.state, folder / "state")
        checkout = str(Path(__file__).parent.parent)
        environment = {
            **os.environ, **sandbox.environment(), "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8", "PYTHONPATH": checkout,
            "AWS_CONFIG_FILE": str(folder / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
        }  # fmt: skip
        demo = Demo(folder, environment, color, unicode)
        demo.print(
            demo.paint("recon, end to end", "1") + f", on an embedded AWS at {sandbox.url}; nothing leaves this machine"
        )
        try:
            story(demo, sandbox)
        except FalseClaim as problem:
            demo.print()
            demo.print(demo.paint(f"{'✗' if unicode else 'x'} {problem}", "31"))
            return 1
        seconds = time.monotonic() - demo.started
        demo.print()
        demo.print(
            demo.paint("Done.", "1") + f" {demo.commands} commands, {demo.checks} checks, {seconds:.0f} seconds."
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
