"""``python -m reconciler.demo``: the whole story on the embedded AWS, told on the terminal and checked at every step.

Real commands run as real processes against a sandbox in this one. Whatever the story claims is asserted; the first
claim that does not hold ends it with exit 1. Needs a checkout, for its ``state/``.
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

ZONES: Final[Mapping[str, Mapping[str, Mapping[tuple[str, str], Sequence[str]]]]] = {
    "production": {
        "acme.example": {
            ("acme.example", "A"): ["192.0.2.10"],
            ("acme.example", "MX"): ["10 mx1.mailboxes.example.", "20 mx2.mailboxes.example."],
            ("acme.example", "TXT"): [
                '"google-site-verification=ZtJ9-w1pQx0m_4dTz7b2yUe8a"',
                '"MS=ms48151623"',
                '"v=spf1 include:_spf.crm.example ~all"',
                '"docusign=05958488-4752-4ef2-95eb-aa7ba8a3bd0e" "; a second \\"string\\", quoted \\\\ twice"',
            ],
            ("*._report._dmarc.acme.example", "TXT"): ['"v=DMARC1"'],
            ("www.acme.example", "CNAME"): ["web.hosting.example."],
        },
        "acme-boats.example": {("acme-boats.example", "TXT"): ['"MS=ms23571113"']},
        "acme-mail.example": {},
    },
    "staging": {
        "staging.acme.example": {
            ("staging.acme.example", "TXT"): ['"google-site-verification=staging-0a1B2c3D"', '"MS=ms17192329"']
        }
    },
}
"""What other people keep in the zones before recon comes: environment -> zone -> (name, type) -> values."""


# --- the stage -----------------------------------------------------------------------------------------------------


def furnish(sandbox: Sandbox, environment: str) -> None:
    """Put in place what the example in state/ expects to exist: zones with the values of others, topics, a DKIM key."""
    account = ACCOUNTS[environment]
    sandbox.seed(
        zones=[
            {
                "name": zone, "account": account,
                "records": [
                    {"name": name, "type": kind, "values": list(values)} for (name, kind), values in sets.items()
                ],
            }
            for zone, sets in ZONES[environment].items()
        ]
    )  # fmt: skip
    for region in REGIONS:
        sns = sandbox.client("sns", region, access_key=account)
        arn = sns.create_topic(Name="mail-feedback")["TopicArn"]
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow", "Principal": {"Service": "ses.amazonaws.com"}, "Action": "sns:Publish",
                    "Resource": arn, "Condition": {"StringEquals": {"AWS:SourceAccount": account}},
                }
            ],
        }  # fmt: skip
        sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=json.dumps(policy))
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
    """What recon makes and is still there: identities, sets, pools, users, secrets, parameters."""
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
    found += [u["UserName"] for u in sandbox.client("iam", access_key=account).list_users()["Users"]]
    return sorted(found)


def meddle(sandbox: Sandbox) -> tuple[str, ...]:
    """Four edits by hand in production, as people make them in a console; returns what was done, for people."""
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
    return (
        "DMARC of acme.example gains ruf= and fo=1: every failure anywhere now mails the owner",
        "SPF of acme.example ends in +all: the whole world may send as acme.example",
        "the MX of bounce-eu-west-1.news.acme.example is deleted: bounces of the news get lost",
        "DKIM of receipts.acme.example is switched off in us-east-1: receipts go out unsigned",
    )


EDITED: Final = {
    "dns_record/acme.example/_dmarc.acme.example/TXT": ("update", {"ruf", "fo"}),
    "dns_record/acme.example/acme.example/TXT": ("update", {"all"}),
    "dns_record/acme.example/bounce-eu-west-1.news.acme.example/MX": ("create", {"ttl", "value"}),
    "email_identity/us-east-1/receipts.acme.example": ("update", {"dkim.signing_enabled"}),
}
"""What ``meddle`` makes differ: address -> action, and the fields that must be named: these and no other."""


# --- the teller ----------------------------------------------------------------------------------------------------


class Broken(Exception):
    """A claim of the story that does not hold."""


@dataclass(slots=True)
class Done:
    """One command that ran: its exit code and what it printed."""

    code: int
    out: str
    err: str


@dataclass(slots=True)
class Teller:
    """Runs recon in a folder against a sandbox, and prints the story: steps, commands, excerpts, checks."""

    folder: Path
    environment: Mapping[str, str]
    color: bool = False
    unicode: bool = True
    steps: int = 0
    commands: int = 0
    checks: int = 0
    started: float = field(default_factory=time.monotonic)

    def paint(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self.color and style else text

    def say(self, text: str = "") -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def step(self, title: str, words: str = "") -> None:
        self.steps += 1
        self.say()
        self.say(self.paint(f"{self.steps:>2}  {title}", "1"))
        if words:
            for line in textwrap.wrap(words, WIDTH - 4):
                self.say("    " + self.paint(line, "2"))

    def item(self, text: str) -> None:
        self.say("    " + ("• " if self.unicode else "* ") + text)

    def run(self, command: str) -> Done:
        """Run ``recon COMMAND``. Raises Broken where it ends as no command of recon may end."""
        self.commands += 1
        ended = subprocess.run(
            [sys.executable, "-m", "reconciler", *command.split()], cwd=self.folder, env=dict(self.environment),
            capture_output=True, text=True, encoding="utf-8", stdin=subprocess.DEVNULL, timeout=120,
        )  # fmt: skip
        if "Traceback" in ended.stderr:
            raise Broken(f"recon {command} broke down:\n{ended.stderr}")
        return Done(ended.returncode, ended.stdout, ended.stderr)

    def recon(self, command: str, *, expect: int = 0, show: Callable[[str], Iterable[str]] | None = None) -> Done:
        """Show and run a command, print an excerpt of what it says, and check its exit code."""
        self.say()
        self.say("    " + self.paint(f"$ recon {command}", "36"))
        done = self.run(command)
        text = done.err if expect == 3 else done.out
        bar = self.paint("│" if self.unicode else "|", "2")
        for line in (show or whole)(text):
            self.say(f"    {bar} {self.paint(line, tint(line))}".rstrip())
        if done.code != expect:
            raise Broken(
                f"recon {command} ended with exit {done.code}, not {expect}:\n{done.out[-2000:]}\n{done.err[-2000:]}"
            )
        self.check(f"exit {done.code}", True)
        return done

    def check(self, claim: str, holds: bool, why: object = "") -> None:
        """Print a claim that holds. Raises Broken for one that does not."""
        self.checks += 1
        if not holds:
            raise Broken(f"{claim}: does not hold. {why}")
        self.say("    " + self.paint("✓" if self.unicode else "ok:", "32") + f" {claim}")


def tint(line: str) -> str:
    """The colour of a line of a plan, by its symbol; empty for none."""
    symbol = line.split(maxsplit=1)[0] if line.startswith("  ") and line[2:3] != " " else ""
    return {"+": "32", "~": "33", "-": "31", "done": "32", "error:": "31"}.get(symbol, "")


def whole(text: str) -> list[str]:
    """All of it, folded to the width of the story."""
    lines: list[str] = []
    for line in text.strip("\n").split("\n"):
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        lines += textwrap.wrap(line, WIDTH - 6, subsequent_indent=indent, break_on_hyphens=False) or [""]
    return lines


def ends(text: str) -> list[str]:
    """The last line alone."""
    return whole(text.strip("\n").rpartition("\n")[2])


def blocks(*addresses: str) -> Callable[[str], list[str]]:
    """The headline, the blocks that name one of ``addresses``, how much is left out, and the closing line."""

    def pick(text: str) -> list[str]:
        parts = text.strip("\n").split("\n\n")
        head, body, (*_, last) = parts[0], parts[1:-1], parts[-1].split("\n")
        kept = [part for part in body if any(address in part for address in addresses)]
        lines = [*whole(head), ""]
        for part in kept:
            lines += [*whole(part), ""]
        if left := len(body) - len(kept):
            lines += [f"  ({left} more blocks)", ""]
        return [*lines, *whole(last)]

    return pick


# --- the story -----------------------------------------------------------------------------------------------------


def story(teller: Teller, sandbox: Sandbox) -> None:
    """Production from nothing to nothing, with an edit by hand on the way; then staging, shorter."""
    env = "production"
    teller.step(
        "What was there before",
        "An AWS account with three zones in Route 53. Other people's values stand in them: none of them is recon's.",
    )
    furnish(sandbox, env)
    before = zones_of(sandbox, env)
    for (name, kind), values in ZONES[env]["acme.example"].items():
        if kind == "TXT" and not name.startswith("*"):
            for value in values:
                teller.item(f"{name} {kind} {value}")

    teller.step("Is the YAML right?", "Offline: syntax, schema, references. No credentials, no AWS.")
    sandbox.clear_calls()
    teller.recon(f"validate --env {env}")
    teller.check("no call to AWS", not sandbox.calls())

    teller.step("What would change?", "recon reads what is live and prints the difference. A plan never writes.")
    teller.recon(
        f"plan --env {env} --out plan.json",
        show=blocks("dns_record/acme.example/acme.example/TXT", "dns_record/acme.example/_dmarc.acme.example/TXT",
                    "acme.example:dkim:us-east-1:1/CNAME"),
    )  # fmt: skip
    teller.check("the plan wrote nothing", not writes(sandbox))
    teller.check(
        "it shows the foreign SPF include, kept", "_spf.crm.example" in (teller.folder / "plan.json").read_text()
    )

    teller.step("Make it so", "Exactly the plan that was saved, or nothing: apply re-reads what it relies on first.")
    teller.recon("apply plan.json", show=blocks("done"))
    text = " ".join(sandbox.dns("acme.example", "TXT"))
    teller.check("SPF holds both includes, before its `all`",
                 "v=spf1 include:_spf.crm.example include:_spf.mailboxes.example ~all" in text, text)  # fmt: skip
    teller.check("no secret on the screen, in the plan or in a log", not leaked(teller, sandbox))

    teller.step(
        "And again?", "After an apply the plan is empty, at the first try; a second apply has nothing to write."
    )
    sandbox.clear_calls()
    teller.recon(f"plan --env {env} --detailed-exitcode", show=ends)
    teller.recon(f"apply --env {env} --auto-approve", show=ends)
    teller.check("not one write call", not writes(sandbox), writes(sandbox))

    teller.step("Somebody edits live", "Four edits in the console, on a Friday afternoon:")
    for words in meddle(sandbox):
        teller.item(words)

    teller.step("Does anything differ?", "What a cron job runs on the released branch. Exit 2 is drift.")
    teller.recon(f"drift --env {env}", expect=2, show=blocks(*EDITED))
    found = {c["address"]: c for c in json.loads(teller.run(f"drift --env {env} --format json").out)["changes"]}
    teller.check("all four are found, and nothing else", found.keys() == EDITED.keys(), sorted(found))
    for address, (action, fields) in EDITED.items():
        named = {d["path"] for d in found[address]["diff"]}
        right = found[address]["action"] == action and named == fields
        words = "missing" if action == "create" else ", ".join(sorted(fields))
        teller.check(f"{address}: {words}", right, found[address])

    teller.step("Heal it")
    teller.recon(f"apply --env {env} --auto-approve", show=ends)
    teller.recon(f"drift --env {env}", show=ends)

    teller.step("The end of it", "Deleting everything needs consent, with the number of declared things that go.")
    teller.recon(f"destroy --env {env} --allow-deletes 3", expect=3)
    teller.check("refused, and nothing was written", bool(left_over(sandbox, env)))
    teller.recon(f"destroy --env {env} --allow-deletes 40", show=ends)
    left = left_over(sandbox, env)
    teller.check("nothing of it is left: identities, sets, pools, users, secrets", not left, left)
    after = zones_of(sandbox, env)
    teller.check(
        "every record of the others is there, byte for byte, and no other", after == before, differing(before, after)
    )

    env = "staging"
    teller.step("The other environment", "Another account, other names, no dedicated IPs; the same YAML.")
    furnish(sandbox, env)
    before = zones_of(sandbox, env)
    teller.recon(f"apply --env {env} --auto-approve", show=ends)
    teller.recon(f"plan --env {env} --detailed-exitcode", show=ends)
    teller.recon(f"destroy --env {env} --allow-deletes 40", show=ends)
    left = left_over(sandbox, env)
    after = zones_of(sandbox, env)
    teller.check("nothing is left, and the others' records are as they were", not left and after == before, left)


def writes(sandbox: Sandbox) -> list[str]:
    """The write calls in the sandbox's ledger; taking on a role is none."""
    return [c["operation"] for c in sandbox.calls() if not c["reads_only"] and c["service"] != "sts"]


def leaked(teller: Teller, sandbox: Sandbox) -> list[str]:
    """Which stored secret of the stack stands in a file of the folder or on the screen: none may."""
    client = sandbox.client("secretsmanager", REGIONS[0], access_key=ACCOUNTS["production"])
    secrets = [
        json.loads(client.get_secret_value(SecretId="recon/production/newsletter/us-east-1")["SecretString"])[
            "password"
        ]
    ]
    secrets.append(client.get_secret_value(SecretId="recon/dkim/survey")["SecretString"].split("\n")[1])
    texts = [path.read_text(encoding="utf-8") for path in teller.folder.rglob("*") if path.is_file()]
    return [secret for secret in secrets if any(secret in text for text in texts)]


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The record sets that are not the same, for the error."""
    found = []
    for zone, state in before.items():
        was, now = state["records"], after[zone]["records"]
        found += [f"{zone} lost {r}" for r in was if r not in now] + [f"{zone} gained {r}" for r in now if r not in was]
        if state["tags"] != after[zone]["tags"]:
            found.append(f"{zone} tags {state['tags']} -> {after[zone]['tags']}")
    return "; ".join(found)


@contextlib.contextmanager
def no_account_of_ours() -> Iterator[None]:
    """Without the variables that would point boto3 or recon anywhere else, such as AWS_PROFILE."""
    taken = {k: os.environ.pop(k) for k in list(os.environ) if k.startswith(("AWS_", "RECON_"))}
    try:
        yield
    finally:
        os.environ.update(taken)


def main(arguments: Sequence[str] | None = None) -> int:
    """Tell the story; 0 if every claim held, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m reconciler.demo", description="recon end to end on an embedded AWS."
    )
    parser.add_argument("--state", type=Path, default=STATE, help="the folder of the example")
    options = parser.parse_args(arguments)
    if not options.state.is_dir():
        sys.stderr.write(f"error: {options.state} is not there; the demo needs the example of a checkout\n")
        return 1
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    with no_account_of_ours(), tempfile.TemporaryDirectory(prefix="recon-demo-") as name, Sandbox() as sandbox:
        folder = Path(name)
        shutil.copytree(options.state, folder / "state")
        here = str(Path(__file__).parent.parent)
        environment = {
            **os.environ, **sandbox.environment(), "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8", "PYTHONPATH": here,
            "AWS_CONFIG_FILE": str(folder / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
        }  # fmt: skip
        teller = Teller(folder, environment, color, unicode)
        teller.say(
            teller.paint("recon, end to end", "1")
            + f", on an embedded AWS at {sandbox.url}; nothing leaves this machine"
        )
        try:
            story(teller, sandbox)
        except Broken as problem:
            teller.say()
            teller.say(teller.paint(f"{'✗' if unicode else 'x'} {problem}", "31"))
            return 1
        seconds = time.monotonic() - teller.started
        teller.say()
        teller.say(
            teller.paint("Told.", "1") + f" {teller.commands} commands, {teller.checks} checks, {seconds:.0f} seconds."
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
