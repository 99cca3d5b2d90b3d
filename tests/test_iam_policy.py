"""`recon iam-policy`: plan and apply work under exactly their policy, and plan's holds no write."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import support
from smtp_support import Clock, keys

from reconciler import iam_policy
from reconciler.aws import iam_action
from reconciler.desired import load
from reconciler.iam_policy import MAX_CHARACTERS, READ_VERBS, parts, policy, size
from reconciler.kinds import cloudformation
from reconciler.kinds.registry import REGISTRY
from reconciler.resources import KINDS
from reconciler.resources.spec import PlainSpec
from reconciler.rules import context
from reconciler.sandbox.policy import _fits

BUCKET = "acme-recon"
TOPIC = "arn:aws:sns:us-east-1:111122223333:feedback"

BOUNDARY = "arn:aws:iam::aws:policy/PowerUserAccess"

DOCUMENT: dict[str, Any] = {
    "stack": {"regions": ["us-east-1", "eu-west-1"], "backend": {"s3": {"bucket": BUCKET, "prefix": "mail/"}}},
    "domains": {
        "acme.com": {
            "dkim": {"signing_attributes_origin": "AWS_SES"},
            "mail_from": {"mail_from_domain": "bounce-${region}.acme.com"},
            "dmarc": {"p": "quarantine", "rua": ["mailto:dmarc@acme.com"]},
            "spf": {"include": ["_spf.crm.example"]},
            "configuration_set_name": "main",
            "by_region": {"eu-west-1": {"dkim": {"signing_attributes_origin": "AWS_SES_US_EAST_1"}}},
            "policies": {
                "partner": {
                    "Version": "2012-10-17",
                    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::777788889999:root"},
                                   "Action": "ses:SendEmail",
                                   "Resource": "arn:aws:ses:${region}:111122223333:identity/acme.com"}],
                }
            },
        },
        "own-key.acme.com": {
            "regions": ["us-east-1"],
            "dkim": {"signing_attributes_origin": "EXTERNAL", "domain_signing_selector": "s1",
                     "domain_signing_private_key": {"secretsmanager": "recon/dkim"}},
        },
        "parked.acme.com": {"identity": False, "dmarc": {"p": "reject"}, "null_mx": True},
    },
    "email_addresses": {"ceo@acme.com": {"regions": ["us-east-1"], "configuration_set_name": "main"}},
    "configuration_sets": {
        "main": {
            "delivery_options": {"tls_policy": "REQUIRE", "sending_pool_name": "tx"},
            "suppression_options": {"suppressed_reasons": ["BOUNCE"]},
            "tracking_options": {"custom_redirect_domain": "click-${region}.acme.com", "https_policy": "OPTIONAL"},
            "event_destinations": {
                "bus": {"enabled": True, "matching_event_types": ["BOUNCE"],
                        "event_bridge_destination": {
                            "event_bus_arn": "arn:aws:events:${region}:111122223333:event-bus/default"}},
            },
        },
    },
    "dedicated_ip_pools": {"tx": {"scaling_mode": "MANAGED"}},
    "contact_lists": {"readers": {"description": "Letters"}},
    "email_templates": {"welcome": {"subject": "Welcome", "text": "Hello"}},
    "smtp_users": {
        "news": {"path": "/ses-smtp/", "from_addresses": ["*@acme.com"], "permissions_boundary": BOUNDARY,
                 "credentials": {"secretsmanager": {"name": "recon/news/${region}"}}, "tags": {"owner": "growth"}},
        "office": {"from_addresses": ["office@acme.com"], "credentials": {"ssm": {"name": "/recon/office"}}},
    },
}  # fmt: skip

ONLY_HOME = {"configuration_sets": {"main": {"event_destinations": {"feedback": {
    "enabled": True, "matching_event_types": ["COMPLAINT"], "sns_destination": {"topic_arn": TOPIC}}},
    "regions": ["us-east-1"]}}}  # fmt: skip


def unconditioned(document: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is limited by the stack's tag: what is declared must be allowed by its name."""
    kept = [s for s in document["Statement"] if "aws:ResourceTag" not in json.dumps(s.get("Condition") or {})]
    return {**document, "Statement": kept}


class Roles:
    """Keys that are limited to the policies that recon prints."""

    def __init__(self, house: support.House, patch: pytest.MonkeyPatch) -> None:
        self.house = house
        self.patch = patch

    def become(self, purpose: str, *, by_name: bool = True, only: dict[str, Any] | None = None) -> dict[str, Any]:
        ran = self.house.cli("iam-policy", purpose, "state.yaml")
        assert ran.code == 0, ran
        document: dict[str, Any] = only or json.loads(ran.out)
        self.house.sandbox.principal(
            f"AKIA{purpose.upper():X<16}",
            arn=f"arn:aws:iam::{support.ACCOUNT}:role/recon-{purpose}",
            policies=[unconditioned(document) if by_name else document],
        )
        self.patch.setenv("AWS_ACCESS_KEY_ID", f"AKIA{purpose.upper():X<16}")
        return document

    def denied(self) -> list[str]:
        return [
            f"{c['service']}:{c['operation']} {c['params']}"
            for c in self.house.sandbox.calls()
            if "AccessDenied" in str(c["error"])
        ]


@pytest.fixture
def roles(house: support.House, monkeypatch: pytest.MonkeyPatch) -> Roles:
    return Roles(house, monkeypatch)


@pytest.fixture
def account(house: support.House) -> support.House:
    """An account with what the state refers to and does not declare."""
    house.seed_zone()
    support.client("s3").create_bucket(Bucket=BUCKET)
    support.client("sns").create_topic(Name="feedback")
    key = subprocess.run(["openssl", "genrsa", "1024"], capture_output=True, text=True, check=True).stdout
    support.client("secretsmanager").create_secret(Name="recon/dkim", SecretString=key)
    house.write(DOCUMENT, stack=DOCUMENT["stack"])
    return house


def test_plan_works_under_its_policy_and_a_write_is_denied(account: support.House, roles: Roles) -> None:
    document = roles.become("plan")
    account.clear()
    ran = account.cli("plan", "state.yaml", "--format", "json", "--detailed-exitcode")
    planned = json.loads(ran.out)
    assert ran.code == 2, ran
    assert planned["unread"] == []
    assert roles.denied() == []
    actions = {a for s in document["Statement"] for a in s["Action"]}
    assert all(a.partition(":")[2].startswith(READ_VERBS) for a in actions), sorted(actions)
    account.clear()
    ran = account.cli("apply", "state.yaml", "--auto-approve")
    assert ran.code == 1
    assert [c for c in account.writes() if not c.startswith("s3:")] == [] or roles.denied()
    assert [c for c in account.sandbox.calls() if not c["reads_only"] and not c["error"]] == []


def test_apply_change_and_destroy_work_under_the_policy_of_apply(account: support.House, roles: Roles) -> None:
    roles.become("apply")
    account.clear()
    ran = account.cli("apply", "state.yaml", "--auto-approve")
    assert ran.code == 0, ran
    assert roles.denied() == []
    roles.become("plan")
    ran = account.cli("plan", "state.yaml", "--detailed-exitcode")
    assert ran.code == 0, ran
    assert account.cli("history", "state.yaml").code == 0
    # Everything that may change in place changes; a saved plan is verified and applied.
    changed = support.merge(DOCUMENT, {
        "domains": {"acme.com": {"dmarc": {"p": "reject"}, "email_forwarding_enabled": False, "tags": {"a": "b"}}},
        "configuration_sets": {"main": {
            "delivery_options": {"tls_policy": "OPTIONAL"}, "reputation_options": {"reputation_metrics_enabled": False},
            "sending_options": {"sending_enabled": False}, "tags": {"a": "b"},
            "vdm_options": {"guardian_options": {"optimized_shared_delivery": "ENABLED"}},
            "event_destinations": {"bus": {"matching_event_types": ["BOUNCE", "COMPLAINT"]}}}},
        "contact_lists": {"readers": {"description": "Letters of a month", "tags": {"a": "b"}}},
        "email_templates": {"welcome": {"subject": "Good day", "tags": {"a": "b"}}},
        "smtp_users": {"news": {"from_addresses": ["news@acme.com"], "tags": {"owner": "sales"}}},
    })  # fmt: skip
    account.write(changed, stack=DOCUMENT["stack"])
    assert account.cli("plan", "state.yaml", "--out", "plan.json").code == 0
    roles.become("apply")
    account.clear()
    ran = account.cli("apply", "plan.json")
    assert ran.code == 0, ran
    ran = account.cli("destroy", "state.yaml", "--allow-deletes", "99")
    assert ran.code == 0, ran
    assert roles.denied() == []


def test_what_is_no_longer_declared_is_deleted_by_its_tag(account: support.House, roles: Roles) -> None:
    assert account.cli("apply", "state.yaml", "--auto-approve").code == 0
    rest: dict[str, Any] = {
        **DOCUMENT,
        "email_addresses": {},
        "smtp_users": {},
        "contact_lists": {},
        "email_templates": {},
        "domains": {"acme.com": DOCUMENT["domains"]["acme.com"]},
    }
    account.write(rest, stack=DOCUMENT["stack"])
    roles.become("apply", by_name=False)
    account.clear()
    ran = account.cli("apply", "state.yaml", "--auto-approve", "--allow-deletes", "9")
    assert ran.code == 0, ran
    assert roles.denied() == []


def test_a_pool_that_is_no_longer_declared_gives_its_addresses_back(account: support.House, roles: Roles) -> None:
    account.sandbox.seed(dedicated_ips=[{"ip": "192.0.2.1"}])
    account.write({"dedicated_ip_pools": {"std": {"dedicated_ips": ["192.0.2.1"]}}})
    assert account.cli("apply", "state.yaml", "--auto-approve").code == 0
    account.write({"email_addresses": {"ceo@acme.com": {}}})
    roles.become("apply", by_name=False)
    account.clear()
    ran = account.cli("apply", "state.yaml", "--auto-approve")
    assert ran.code == 0, ran
    assert roles.denied() == []


def test_smtp_work_and_the_runbook_of_a_leak_need_no_more_than_the_role_that_applies(
    account: support.House, roles: Roles, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    user = {**DOCUMENT["smtp_users"]["news"], "access_key": {"max_age_days": 10, "overlap_days": 1}}
    account.write({"smtp_users": {"news": user}}, stack=DOCUMENT["stack"])
    roles.become("apply")
    account.clear()

    def done(*arguments: str) -> None:
        ran = account.cli(*arguments)
        assert ran.code == 0, ran
        assert roles.denied() == [], arguments

    done("apply", "state.yaml", "--auto-approve")
    for days, step in ((11, "created"), (2, "deactivated"), (2, "deleted")):
        clock.forward(days)
        ran = account.cli("smtp", "rotate", "--due", "state.yaml")
        assert (ran.code, step in ran.out + ran.err) == (0, True), ran
    done("smtp", "lock", "news", "state.yaml", "--auto-approve")
    done("account", "pause", "--region", "us-east-1", "state.yaml", "--auto-approve")
    done("account", "resume", "--region", "us-east-1", "state.yaml", "--auto-approve")
    done("smtp", "rotate", "news", "state.yaml", "--compromised")
    # A renamed store is filled from the old one, which is read for it.
    (kind,) = {"secretsmanager", "ssm"} & set(user["credentials"])
    moved = {kind: {**user["credentials"][kind], "name": user["credentials"][kind]["name"] + "-2"}}
    account.write({"smtp_users": {"news": {**user, "credentials": moved}}}, stack=DOCUMENT["stack"])
    roles.become("apply", by_name=False)
    before = list(keys())
    done("apply", "state.yaml", "--auto-approve")
    assert list(keys()) == before


def test_pools_topics_and_adoption(account: support.House, roles: Roles) -> None:
    account.sandbox.seed(dedicated_ips=[{"ip": "192.0.2.1"}], identities=[{"names": ["acme.com"]}])
    account.write({
        "domains": {"acme.com": {}},
        "dedicated_ip_pools": {"std": {"scaling_mode": "STANDARD", "dedicated_ips": ["192.0.2.1"]}},
        **ONLY_HOME,
    })  # fmt: skip
    roles.become("apply")
    account.clear()
    ran = account.cli("apply", "state.yaml", "--auto-approve", "--allow-adopt")
    assert ran.code == 0, ran
    ran = account.cli("destroy", "state.yaml", "--allow-deletes", "9")
    assert ran.code == 0, ran
    assert roles.denied() == []


def test_zones_in_another_account(house: support.House, roles: Roles, monkeypatch: pytest.MonkeyPatch) -> None:
    dns = {"account": "999900001111", "role_arn": "arn:aws:iam::999900001111:role/recon-dns"}
    house.write({"domains": {"acme.com": {"dmarc": {"p": "none"}}}}, stack={"dns": dns})
    main = json.loads(house.cli("iam-policy", "apply", "state.yaml").out)
    text = json.dumps(main)
    assert "route53:" not in text
    assert {"Sid": "DnsRole", "Effect": "Allow", "Action": ["sts:AssumeRole"], "Resource": dns["role_arn"]} in main[
        "Statement"
    ]
    zones = json.loads(house.cli("iam-policy", "apply", "state.yaml", "--dns").out)
    assert {a.partition(":")[0] for s in zones["Statement"] for a in s["Action"]} == {"route53", "tag", "cloudtrail"}
    house.write({"domains": {"acme.com": {}}})
    assert house.cli("iam-policy", "apply", "state.yaml", "--dns").code == 1
    assert house.cli("iam-policy", "drift", "state.yaml").code == 1


def test_resources_are_the_stacks_own(tmp_path: Path) -> None:
    state = load(Path(__file__).parents[1] / "state", "production").state
    for purpose in ("plan", "apply"):
        document = policy(state, purpose)  # type: ignore[arg-type]
        for statement in document["Statement"]:
            resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
            if statement["Resource"] == "*":
                assert statement["Sid"] in {"Account", "AccountByHand"}
                assert set(statement["Action"]) <= {*iam_policy._ANYWHERE, *iam_policy.INCIDENT}
            assert all(r == "*" or r.startswith("arn:aws:") for r in resources)
        sids = [s["Sid"] for s in document["Statement"]]
        assert len(sids) == len(set(sids))
        assert all(re.fullmatch(r"[A-Za-z0-9]+", sid) for sid in sids)
        text = json.dumps(document)
        assert "arn:aws:ses:us-east-1:111122223333:identity/receipts.acme.example" in text
        assert "iam:PassRole" in text if purpose == "apply" else "PassRole" not in text
        # A plan of a pull request cannot read an SMTP password.
        values = [s for s in document["Statement"] if "secretsmanager:GetSecretValue" in s["Action"]]
        if purpose == "plan":
            assert [s["Sid"] for s in values] == ["DkimSecrets"]
        pieces = parts(document)
        assert all(size(p) <= MAX_CHARACTERS for p in pieces)
        told = {
            (a, r)
            for p in pieces
            for s in p["Statement"]
            for a in s["Action"]
            for r in (s["Resource"] if isinstance(s["Resource"], list) else [s["Resource"]])
        }
        whole = {
            (a, r)
            for s in document["Statement"]
            for a in s["Action"]
            for r in (s["Resource"] if isinstance(s["Resource"], list) else [s["Resource"]])
        }
        assert told == whole


def test_every_plain_kind_has_its_place_in_iam() -> None:
    """Without a type in ARNs, or a holder that has one, its calls would be allowed on resources of other kinds only."""
    for spec in KINDS.values():
        if isinstance(spec, PlainSpec) and not spec.swept and not (spec.parent and KINDS[spec.parent].swept):
            kind = REGISTRY[spec.name]
            assert {iam_action(*call.split(":")) for call in (*kind.reads, *kind.writes)} <= iam_policy._ANYWHERE
    assert {
        iam_action(spec.client, spec.listed[0]) for spec in KINDS.values() if spec.listed[0]
    } <= iam_policy._ANYWHERE


@pytest.mark.parametrize(
    "name, said, others",
    [
        ("sale*", "sale${*}", ["sale", "sales", "sale-2026"]),
        ("really?", "really${?}", ["really1", "really"]),
        ("${aws:username}", "${$}{aws:username}", ["amy", ""]),
        ("welcome", "welcome", ["welcome2"]),
    ],
)
def test_a_name_with_wildcards_is_no_pattern(tmp_path: Path, name: str, said: str, others: list[str]) -> None:
    (tmp_path / "state.yaml").write_text(
        f"""
stack: {{name: acme, account: "{support.ACCOUNT}", regions: [us-east-1]}}
email_templates: {{{json.dumps(name.replace("${", "$${"))}: {{subject: hello}}}}
"""
    )
    document = policy(load(tmp_path / "state.yaml").state, "plan")
    template = f"arn:aws:ses:us-east-1:{support.ACCOUNT}:template/"
    named = [s for s in document["Statement"] if template + said in s["Resource"]]
    assert named, document
    for statement in named:
        assert _fits(statement["Resource"], template + name)
        assert not any(_fits(statement["Resource"], template + other) for other in others)


def test_what_a_stack_names(house: support.House) -> None:
    archive = f"arn:aws:ses:us-east-1:{support.ACCOUNT}:mailmanager-archive/a-{'a' * 26}"
    role = f"arn:aws:iam::{support.ACCOUNT}:role/firehose"
    stream = f"arn:aws:firehose:us-east-1:{support.ACCOUNT}:deliverystream/mail"
    house.write({
        "domains": {"acme.com": {"configuration_set_name": "live"}},
        "configuration_sets": {"main": {
            "delivery_options": {"sending_pool_name": "ses-shared-pool"},
            "tracking_options": {"custom_redirect_domain": "click.mail.acme.com"},
            "archiving_options": {"archive_arn": archive},
            "event_destinations": {
                "feedback": {"matching_event_types": ["BOUNCE"], "sns_destination": {"topic_arn": TOPIC}},
                "stream": {"matching_event_types": ["SEND"], "kinesis_firehose_destination": {
                    "iam_role_arn": role, "delivery_stream_arn": stream}},
            }}},
        "smtp_users": {"news": {"path": "/mail/", "from_addresses": ["*@acme.com"], "credentials": {
            "ssm": {"name": "/recon/news", "kms_key_id": "alias/mail"}}}},
        "moved": [{"from": "configuration_set/us-east-1/old", "to": "configuration_set/us-east-1/main"},
                  {"from": "smtp_user/old", "to": "smtp_user/news"}],
    })  # fmt: skip
    found: dict[str, set[str]] = {}
    for grant in iam_policy.named(load(house.home / "state.yaml", None).state):
        found.setdefault(grant.role, set()).add(grant.arn.removeprefix(f"arn:aws:ses:us-east-1:{support.ACCOUNT}:"))
    users = f"arn:aws:iam::{support.ACCOUNT}:user"
    assert found == {
        "own": {"identity/acme.com", "configuration-set/main", "configuration-set/old"},
        # The identity that SES must have verified for a tracking domain is at or above it.
        "referred": {
            "configuration-set/live", "dedicated-ip-pool/ses-shared-pool", "identity/click.mail.acme.com",
            "identity/mail.acme.com", "identity/acme.com", "mailmanager-archive/a-" + "a" * 26,
        },
        "topic": {TOPIC}, "passed_role": {role}, "stream": {stream}, "store_key": {"alias/mail"},
        "parameter": {f"arn:aws:ssm:us-east-1:{support.ACCOUNT}:parameter/recon/news"},
        "user": {f"{users}/mail/news", f"{users}/news"},
        "renamed_user": {f"{users}/*/old", f"{users}/old"},
        "record": {"acme.com", "*.acme.com", "click.mail.acme.com", "*.click.mail.acme.com"},
    }  # fmt: skip


def test_thousands_of_names_still_fit_a_role(house: support.House) -> None:
    house.write({"domains": {f"tenant{n}.acme.com": {"dmarc": {"p": "none"}} for n in range(2500)}})
    ran = house.cli("iam-policy", "apply", "state.yaml")
    document = json.loads(ran.out)
    assert "patterns" in ran.err
    assert len(parts(document)) <= 10
    ses = next(s for s in document["Statement"] if s["Sid"] == "SesEmailIdentity")
    assert ses["Resource"] == "arn:aws:ses:*:111122223333:identity/*.acme.com"


def test_every_call_of_the_code_is_declared() -> None:
    """What the kinds, the rules and the run say they call is what the source calls."""
    root = Path(__file__).parents[1] / "reconciler"
    apart = {"cli", "sandbox", "smtp", "demo.py", "doctor", "importing", "senders"}
    found = set()
    for file in sorted(root.rglob("*.py")):
        if file.relative_to(root).parts[0] in apart:
            continue
        text = file.read_text(encoding="utf-8")
        found |= set(re.findall(r"\.(?:call|pages)\(\s*\"([a-z0-9]+)\",\s*\"([A-Za-z0-9]+)\"", text))
    # CloudFormation is asked only where `stack.formerly` names a stack of it.
    declared = {*iam_policy.actions("apply"), *iam_policy.INCIDENT, *cloudformation.READS}
    # The bucket has statements of its own, STS needs no permission, and a notice is an option of drift.
    backend = {"s3:ListObjectsV2", "sts:GetCallerIdentity", "sns:Publish"}
    missing = {iam_action(service, operation) for service, operation in found} - declared - backend
    assert missing == set()
    assert all(kind.reads for kind in REGISTRY.values())
    assert {f"ses:{r.partition(':')[2]}" for r in context.READS if r.startswith("sesv2")} <= declared
