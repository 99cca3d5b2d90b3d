"""Situations of real incidents, to practise: ``recon sandbox --scenario NAME`` starts in one.

Each is an account that nobody has declared, made by the calls that made it, so that CloudTrail tells of them, too. The
company is acme.example, in account 111122223333; who did what is told by the names of the principals.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from reconciler.sandbox.server import SandboxServer

DOMAIN: Final = "acme.example"
REGIONS: Final = ("us-east-1", "eu-west-1")
DAY: Final = 86400.0
DMARC: Final = f"v=DMARC1; p=quarantine; rua=mailto:dmarc@{DOMAIN}"


class Stage:
    """One sandbox that is being set up: seeds, calls of AWS, and when they happened."""

    def __init__(self, server: SandboxServer) -> None:
        import boto3

        self.server = server
        self.world = server.gateway.world
        self.session = boto3.session.Session()

    def seed(self, **given: Any) -> None:
        """As ``/_sandbox/seed``."""
        with self.world.lock:
            self.server.admin.seed(given)

    @contextlib.contextmanager
    def days_ago(self, days: float) -> Iterator[None]:
        """What is done inside happened then, a few minutes earlier: the days are full."""
        back = (days + 0.01) * DAY
        self.world.clock.offset -= back
        try:
            yield
        finally:
            self.world.clock.offset += back

    def client(self, service: str, region: str = "us-east-1", who: str = "root") -> Any:
        """A client of the sandbox for somebody: ``root``, or an IAM user by name, who may do everything."""
        from botocore.config import Config

        key = f"AKIA{''.join(c for c in who.upper() if c.isalnum()).ljust(16, '0')[:16]}"
        if who != "root":
            arn = f"arn:aws:iam::{self.world.account}:user/{who}"
            self.server.admin.add_principals({"access_key": key, "arn": arn})
        host, port = self.server.server_address[:2]
        return self.session.client(
            service, region_name=region, endpoint_url=f"http://{host!s}:{port}", aws_access_key_id=key,
            aws_secret_access_key="sandbox",
            config=Config(retries={"total_max_attempts": 1}, user_agent="aws-cli/2.31.0"),
        )  # fmt: skip

    def user(self, name: str, statement: Mapping[str, Any], *, days: float, by: str = "ops-anna") -> str:
        """An IAM user with one policy and one access key, made ``days`` ago; the id of its key."""
        iam = self.client("iam", who=by)
        with self.days_ago(days):
            iam.create_user(UserName=name)
            document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}
            iam.put_user_policy(UserName=name, PolicyName="send", PolicyDocument=json.dumps(document))
            return str(iam.create_access_key(UserName=name)["AccessKey"]["AccessKeyId"])

    def used(self, key: str, *, days: float, region: str = "us-east-1") -> None:
        """The key was last used by SES's SMTP server ``days`` ago."""
        for _, _, state in self.world.each("iam"):
            for user in state.users.values():
                if key in user.keys:
                    user.keys[key].used = (self.world.clock.now() - days * DAY, region, "ses")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One situation: what has been noticed, and the command with which to begin."""

    name: str
    noticed: str
    begin: str
    make: Callable[[Stage], None]


def company(stage: Stage, dmarc: str = DMARC) -> None:
    """What is right at acme.example: domain, DKIM, MAIL FROM, DMARC, one set and production access in two regions."""
    with stage.days_ago(400):
        stage.seed(zones=[{"name": DOMAIN, "delegated": True, "records": [
            {"name": DOMAIN, "type": "MX", "values": f"10 mx.{DOMAIN}"},
            {"name": DOMAIN, "type": "TXT", "values": "v=spf1 include:amazonses.com ~all"},
            {"name": f"_dmarc.{DOMAIN}", "type": "TXT", "values": dmarc},
        ]}])  # fmt: skip
        for region in REGIONS:
            stage.client("sesv2", region, "ops-anna").create_configuration_set(ConfigurationSetName="main")
            stage.seed(
                identities=[{"names": [DOMAIN], "region": region, "configuration_set": "main", "publish": True,
                             "mail_from": f"bounce-{region}.{DOMAIN}"}],
                accounts=[{"region": region, "production_access": True}],
            )  # fmt: skip
    stage.seed(accounts=[{"region": "us-east-1", "sent": {"attempts": 20_000, "bounces": 240, "complaints": 6}}])


SENDS: Final = ("ses:SendEmail", "ses:SendRawEmail")


def sends_as(*addresses: str) -> dict[str, Any]:
    """The statement of a user that may send from these addresses alone."""
    return {"Action": list(SENDS), "Resource": "*", "Condition": {"StringLike": {"ses:FromAddress": list(addresses)}}}


def forensic_reports(stage: Stage) -> None:
    """The owner gets reports about every failure anywhere, and all programs send as one address."""
    company(stage, f"v=DMARC1; p=quarantine; ruf=mailto:owner@{DOMAIN}; fo=1")
    stage.used(stage.user("scripts", sends_as(f"info@{DOMAIN}"), days=300), days=0.1)
    for days, names in ((9, ("ann", "bob")), (2, ("cleo", "dora", "emil"))):
        with stage.days_ago(days):
            stage.seed(suppressed=[{"reason": "COMPLAINT", "addresses": [f"{name}@bigmail.example" for name in names]}])
    stage.seed(accounts=[{"region": "us-east-1", "sent": {"attempts": 10_000, "bounces": 150, "complaints": 60}}])


def stale_password(stage: Stage) -> None:
    """Somebody rotated the key of a user whose password a webmail still holds."""
    company(stage)
    old = stage.user("webmail", sends_as(f"admin@{DOMAIN}"), days=300)
    iam = stage.client("iam", who="ops-anna")
    with stage.days_ago(2):
        iam.create_access_key(UserName="webmail")
        iam.delete_access_key(UserName="webmail", AccessKeyId=old)


def one_receiver(stage: Stage) -> None:
    """All is configured right; one large receiver refuses, and SES suppresses its recipients, in each region alone."""
    company(stage)
    stage.used(stage.user("bookings", sends_as(f"bookings@{DOMAIN}"), days=300), days=0.02)
    stage.seed(zones=[{"name": "bigmail.example", "records": [
        {"name": "bigmail.example", "type": "MX", "values": "10 mx.bigmail.example"}]}])  # fmt: skip
    for region, names in (("us-east-1", ("ann", "bob", "cleo")), ("eu-west-1", ("ann", "dora"))):
        with stage.days_ago(3):
            addresses = [f"{name}@bigmail.example" for name in names]
            stage.seed(suppressed=[{"region": region, "addresses": addresses}])
    stage.seed(accounts=[{"region": "us-east-1", "sent": {"attempts": 4_000, "bounces": 190, "complaints": 0}}])


def break_in(stage: Stage) -> None:
    """A key that nobody remembers sends spam: bounces and complaints rise by the hour."""
    company(stage)
    stage.used(stage.user("bookings", sends_as(f"bookings@{DOMAIN}"), days=300), days=0.02, region="eu-west-1")
    leaked = stage.user("crm-import", {"Action": "ses:*", "Resource": "*"}, days=700, by="intern-tom")
    stage.used(leaked, days=0.001)
    stage.seed(
        suppressed=[{"addresses": [f"victim{n}@bigmail.example" for n in range(40)]}],
        accounts=[{"region": "us-east-1", "sent": {"attempts": 60_000, "bounces": 9_500, "complaints": 300},
                   "quota": {"SentLast24Hours": 31_000.0}}],
    )  # fmt: skip


def growing_up(stage: Stage) -> None:
    """Campaigns and receipts leave through one set, and the complaints about the campaigns are held against both."""
    company(stage)
    stage.used(stage.user("receipts", sends_as(f"receipts@{DOMAIN}"), days=300), days=0.01)
    stage.used(stage.user("campaigns", sends_as(f"news@{DOMAIN}"), days=90), days=0.01)
    stage.seed(accounts=[{"region": "us-east-1", "sent": {"attempts": 90_000, "bounces": 900, "complaints": 260}}])


def unused_domain(stage: Stage) -> None:
    """A domain that never sends has no record that says so, and is forged."""
    company(stage)
    stage.seed(zones=[{"name": "acme-parked.example", "delegated": True}])


def paused(stage: Stage) -> None:
    """AWS has shut down sending in one region, for too many bounces."""
    company(stage)
    stage.used(stage.user("campaigns", sends_as(f"news@{DOMAIN}"), days=90), days=0.3)
    with stage.days_ago(1):
        bought = [f"reader{n}@{'bigmail' if n % 3 else 'other'}.example" for n in range(60)]
        stage.seed(suppressed=[{"addresses": bought}])
    stage.seed(accounts=[{"region": "us-east-1", "enforcement": "SHUTDOWN", "sending_enabled": False,
                          "sent": {"attempts": 30_000, "bounces": 3_600, "complaints": 20}}])  # fmt: skip


SCENARIOS: Final[Mapping[str, Scenario]] = {
    one.name: one
    for one in (
        Scenario("forensic-reports", "the owner's mailbox fills with DMARC failure reports, and complaints rise",
                 f"recon doctor {DOMAIN}", forensic_reports),
        Scenario("stale-password", f"mail of a webmail as admin@{DOMAIN} bounces: misconfigured or out of date",
                 "recon doctor --region us-east-1", stale_password),
        Scenario("one-receiver", "bigmail.example refuses mail that every other receiver takes",
                 f"recon doctor {DOMAIN} --to ann@bigmail.example", one_receiver),
        Scenario("break-in", "thousands of mails that nobody wrote leave the account",
                 "recon doctor --region us-east-1", break_in),
        Scenario("growing-up", "receipts land in spam since the campaigns began", f"recon doctor {DOMAIN}", growing_up),
        Scenario("unused-domain", "mail with From addresses at acme-parked.example, which never sends, is all over",
                 "recon doctor", unused_domain),
        Scenario("paused", "nothing leaves us-east-1 any more", "recon doctor --region us-east-1", paused),
    )
}  # fmt: skip


def scenario(name: str) -> Scenario:
    """The scenario of a name. Raises: ValueError, which lists the names."""
    if name not in SCENARIOS:
        raise ValueError(f"there is no scenario {name!r}; there are {', '.join(SCENARIOS)}")
    return SCENARIOS[name]


def make(server: SandboxServer, chosen: Scenario) -> None:
    """Put a sandbox that answers into the situation."""
    chosen.make(Stage(server))


def make_before_serving(server: SandboxServer, chosen: Scenario) -> None:
    """The same for one that does not answer yet: it does while the situation is made."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        make(server, chosen)
    finally:
        server.shutdown()
        thread.join()
