"""Lives of a stack, each up to the moment before the apply that will be attacked.

A scenario is told as: what others have put into AWS (``others``), the documents that were applied before, what
somebody did by hand since (``hands``), and the document of the attacked apply (None: destroy). Together they must reach
every write that any kind declares; the matrix reports those that none reaches.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cases_support import cases_of
from cases_support import others as seed_others
from support import ACCOUNT, HOME, OTHER, House, client, merge, put

from faults.keys import pem
from reconciler.resources import KINDS

DAY = 86400
ZONES = ("acme.com", "acme.net")
BOUNDARIES = tuple(f"arn:aws:iam::{ACCOUNT}:policy/{name}" for name in ("one", "two"))
TOPIC = f"arn:aws:sns:{HOME}:{ACCOUNT}:feedback"
ARCHIVE = f"arn:aws:ses:{HOME}:{ACCOUNT}:mailmanager-archive/a-{'a' * 26}"
BUS = {"event_bus_arn": "arn:aws:events:${region}:${account}:event-bus/default"}
PARENT = f"AWS_SES_{HOME.upper().replace('-', '_')}"
ANYTHING = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ses:*","Resource":"*"}]}'


def nothing(house: House) -> None:
    """Nobody did anything."""


@dataclass(frozen=True)
class Scenario:
    """One apply to attack. ``stack`` is laid over the stack block of every document."""

    name: str
    target: dict[str, Any] | None
    before: tuple[dict[str, Any], ...] = ()
    others: Callable[[House], None] = nothing
    hands: Callable[[House], None] = nothing
    adopts: bool = False
    resumes: bool = False
    stack: dict[str, Any] = field(default_factory=dict)


# --- the others ----------------------------------------------------------------------------------------------------


def others(house: House) -> None:
    """Two zones with other people's values, leased addresses, policies of IAM."""
    house.seed_zone("acme.com")
    house.seed_zone("acme.net", {("acme.net", "TXT"): ["v=spf1 include:_spf.other.example -all", "other"]})
    house.kept = house.raw_foreign()
    house.sandbox.seed(dedicated_ips=[{"ip": f"192.0.2.{n}"} for n in (1, 2, 3)])
    for arn in BOUNDARIES:
        client("iam").create_policy(PolicyName=arn.rpartition("/")[2], PolicyDocument=ANYTHING)


def with_keys(house: House) -> None:
    """Others, and the files of two DKIM keys beside the state."""
    others(house)
    for number in (1, 2):
        Path(house.home / f"key{number}.pem").write_text(pem(number), encoding="utf-8")


# --- documents -----------------------------------------------------------------------------------------------------


def allow(account: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "partner", "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
                "Action": "ses:SendEmail", "Resource": f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/acme.com",
            }
        ],
    }  # fmt: skip


def byodkim(number: int) -> dict[str, Any]:
    return {
        "signing_attributes_origin": "EXTERNAL", "domain_signing_selector": f"s{number}",
        "domain_signing_private_key": {"file": f"key{number}.pem"},
    }  # fmt: skip


MAIL: dict[str, Any] = {
    "dedicated_ip_pools": {
        "tx": {"dedicated_ips": ["192.0.2.1"], "tags": {"team": "a"}},
        "slow": {"scaling_mode": "STANDARD"},
    },
    "configuration_sets": {
        "main": {
            "regions": [HOME, OTHER],
            "reputation_options": {"reputation_metrics_enabled": True},
            "tags": {"tier": "gold", "cost": "1"},
            "event_destinations": {
                "feedback": {
                    "matching_event_types": ["BOUNCE"],
                    "event_bridge_destination": BUS,
                },
            },
        },
        "full": {
            "delivery_options": {"tls_policy": "REQUIRE", "sending_pool_name": "tx", "max_delivery_seconds": 3600},
            "sending_options": {"sending_enabled": True},
            "suppression_options": {"suppressed_reasons": ["BOUNCE"]},
            "tracking_options": {"custom_redirect_domain": "click.acme.com"},
            "vdm_options": {"dashboard_options": {"engagement_metrics": "ENABLED"}},
            "event_destinations": {
                "feedback": {"matching_event_types": ["BOUNCE"], "sns_destination": {"topic_arn": TOPIC}},
                "old": {"matching_event_types": ["SEND"], "sns_destination": {"topic_arn": TOPIC}},
            },
        },
    },
    "domains": {
        "acme.com": {
            "regions": [HOME, OTHER],
            "dkim": {"signing_attributes_origin": "AWS_SES", "next_signing_key_length": "RSA_2048_BIT"},
            "by_region": {OTHER: {"dkim": {"signing_attributes_origin": PARENT}}},
            "mail_from": {"mail_from_domain": "bounce-${region}.${domain}", "behavior_on_mx_failure": "REJECT_MESSAGE"},
            "dmarc": {"p": "none", "rua": ["mailto:d@acme.com"]},
            "spf": {"include": ["_spf.crm.example"]},
            "bimi": {"l": "https://acme.com/logo.svg"},
            "configuration_set_name": "main",
            "email_forwarding_enabled": False,
            "policies": {"partner": allow("222233334444"), "old": allow("333344445555")},
            "tags": {"tenant": "acme", "cost": "1"},
        },
        "news.acme.com": {"dkim": {}, "mail_from": {"mail_from_domain": "b.news.acme.com"}},
        "acme.net": {
            "identity": False,
            "dmarc": {"p": "reject"},
            "spf": {"include": ["_spf.x.example"]},
            "null_mx": True,
        },
    },
    "email_addresses": {"ceo@acme.com": {"configuration_set_name": "main"}},
}  # fmt: skip
CHANGED: dict[str, Any] = {
    "dedicated_ip_pools": {
        "tx": {"dedicated_ips": ["192.0.2.2"], "tags": {"team": "b"}},
        "slow": {"scaling_mode": "MANAGED"},
    },
    "configuration_sets": {
        "main": {
            "regions": [HOME, OTHER],
            "reputation_options": {"reputation_metrics_enabled": False},
            "tags": {"tier": "silver"},
            "event_destinations": {
                "feedback": {"matching_event_types": ["BOUNCE", "COMPLAINT"], "event_bridge_destination": BUS},
            },
        },
        "full": {
            "delivery_options": {"tls_policy": "OPTIONAL", "max_delivery_seconds": 300},
            "sending_options": {"sending_enabled": False},
            "suppression_options": {"suppressed_reasons": ["COMPLAINT"]},
            "tracking_options": {"custom_redirect_domain": "go.acme.com"},
            "vdm_options": {"dashboard_options": {"engagement_metrics": "DISABLED"}},
            "archiving_options": {"archive_arn": ARCHIVE},
            "event_destinations": {
                "feedback": {"matching_event_types": ["BOUNCE"], "cloud_watch_destination": {
                    "dimension_configurations": [{"dimension_name": "ses:from-domain",
                                                  "dimension_value_source": "MESSAGE_TAG",
                                                  "default_dimension_value": "acme.com"}]}},
            },
        },
    },
    "domains": {
        "acme.com": {
            "regions": [HOME, OTHER],
            "dkim": {"signing_enabled": False, "next_signing_key_length": "RSA_1024_BIT"},
            "by_region": {OTHER: {"dkim": {"signing_enabled": True,
                                           "signing_attributes_origin": PARENT}}},
            "mail_from": {"mail_from_domain": "mail-${region}.acme.com", "behavior_on_mx_failure": "USE_DEFAULT_VALUE"},
            "dmarc": {"p": "quarantine"},
            "spf": {"include": ["_spf.two.example"]},
            "configuration_set_name": None,
            "email_forwarding_enabled": True,
            "policies": {"partner": allow("444455556666")},
            "tags": {"tenant": "other"},
        },
        "news.acme.com": {"dkim": {}},
        "acme.net": {"identity": False, "dmarc": {"p": "none"}, "spf": {"include": ["_spf.y.example"]}},
    },
    "email_addresses": {"ceo@acme.com": {"configuration_set_name": "full"}},
}  # fmt: skip
FEWER: dict[str, Any] = {
    "dedicated_ip_pools": {"tx": {}},
    "configuration_sets": {"main": {"regions": [HOME]}},
    "domains": {"acme.com": {"dkim": {}, "configuration_set_name": "main"}},
}

USERS: dict[str, Any] = {
    "domains": {"acme.com": {"dkim": {}, "zone": "manual", "regions": [HOME, OTHER]}},
    "stack": {"tags": {"team": "mail", "cost": "1"}},
    "smtp_users": {
        "news": {
            "path": "/a/", "from_addresses": ["*@acme.com"], "permissions_boundary": BOUNDARIES[0],
            "credentials": {"secretsmanager": {"name": "recon/news"}}, "tags": {"owner": "a", "cost": "1"},
        },
        "shop": {"from_addresses": ["*"], "credentials": {"secretsmanager": {"name": "recon/${region}/shop"}}},
        "post": {
            "from_addresses": ["*"], "credentials": {"ssm": {"name": "/recon/post"}},
            "permissions_boundary": BOUNDARIES[0],
        },
    },
}  # fmt: skip

OTHER_USERS: dict[str, Any] = {
    **USERS,
    "stack": {"tags": {"team": "post"}},
    "smtp_users": {
        "news": {
            "path": "/b/", "from_addresses": ["shop@acme.com"], "permissions_boundary": BOUNDARIES[1],
            "credentials": {"secretsmanager": {"name": "recon/news", "kms_key_id": "alias/mail"}},
            "tags": {"owner": "b"},
        },
        "shop": {"from_addresses": ["*"], "credentials": {"secretsmanager": {"name": "recon/all/${region}/shop"}}},
        "post": {
            "from_addresses": ["*"], "credentials": {"ssm": {"name": "/recon/other"}},
            "permissions_boundary": BOUNDARIES[1],
        },
    },
}  # fmt: skip

ROLE: dict[str, Any] = {
    "trust": {"service": "ec2.amazonaws.com"}, "from_addresses": ["*"], "permissions_boundary": BOUNDARIES[0],
    "tags": {"owner": "a"},
}  # fmt: skip
ROLES: dict[str, Any] = {"sending_roles": {"app": ROLE}}
FUNCTION = merge(ROLES, {"sending_roles": {"app": {"trust": {"service": "lambda.amazonaws.com"}}}})

WATCHED: dict[str, Any] = {
    "cloudwatch_alarms": {"bounces": {"preset": "bounce_rate", "alarm_actions": [TOPIC], "tags": {"owner": "a"}}},
    "cloudwatch_dashboards": {"mail": {"preset": "account", "tags": {"owner": "a"}}},
    "event_rules": {"ses": {"preset": "ses_changes", "targets": [TOPIC], "tags": {"owner": "a"}}},
}  # fmt: skip
UNTAGGED: dict[str, Any] = {
    section: {name: {k: v for k, v in entry.items() if k != "tags"} for name, entry in entries.items()}
    for section, entries in WATCHED.items()
}


def notified(forwarded: bool, topic: str | None) -> dict[str, Any]:
    attributes = {"bounce_topic": topic, "complaint_topic": topic}
    attributes |= {"headers_in_bounce_notifications_enabled": True if topic else None}
    entry = {"dkim": {}, "email_forwarding_enabled": forwarded, "notification_attributes": attributes}
    return {"domains": {"acme.com": entry}}


SENDER = {"from_addresses": ["*"], "credentials": {"secretsmanager": {"name": "recon/news"}}}
ONE_REGION: dict[str, Any] = put(USERS, ("domains", "acme.com", "regions"), [HOME])


# --- what somebody did by hand -------------------------------------------------------------------------------------


def a_day_later(house: House) -> None:
    """SES changes a key length once in 24 hours."""
    house.sandbox.advance(2 * DAY)


def by_hand(house: House) -> None:
    """The same names without tags, partly other values: what adoption meets."""
    ses = client("sesv2")
    ses.create_dedicated_ip_pool(PoolName="tx", ScalingMode="STANDARD", Tags=[{"Key": "team", "Value": "old"}])
    ses.create_configuration_set(ConfigurationSetName="main", Tags=[{"Key": "theirs", "Value": "yes"}])
    ses.create_configuration_set_event_destination(
        ConfigurationSetName="main", EventDestinationName="theirs",
        EventDestination={"Enabled": True, "MatchingEventTypes": ["SEND"], "SnsDestination": {"TopicArn": TOPIC}},
    )  # fmt: skip
    ses.create_email_identity(EmailIdentity="acme.com")
    ses.put_email_identity_mail_from_attributes(EmailIdentity="acme.com", MailFromDomain="old.acme.com")
    house.change("_dmarc.acme.com", "TXT", '"vendor-token=zzz"', '"v=DMARC1; p=none; rua=mailto:old@acme.com"')
    house.change("acme.net", "TXT", '"v=spf1 include:_spf.other.example -all"', '"other"', zone="acme.net")
    client("iam").create_user(UserName="news", Path="/")
    client("iam").create_access_key(UserName="news")
    client("iam").put_user_policy(UserName="news", PolicyName="theirs", PolicyDocument=ANYTHING)
    client("secretsmanager").create_secret(Name="recon/news", SecretString="something of theirs")


def entangled(house: House) -> None:
    """Somebody gave our user a managed policy."""
    iam = client("iam")
    iam.attach_user_policy(UserName="news", PolicyArn=BOUNDARIES[1])


def a_role(house: House) -> None:
    """A role and its instance profile, made by hand."""
    iam = client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam.create_role(
        RoleName="app", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )
    iam.create_instance_profile(InstanceProfileName="app")
    iam.add_role_to_instance_profile(InstanceProfileName="app", RoleName="app")


def entangled_role(house: House) -> None:
    """Somebody gave our role a managed policy."""
    client("iam").attach_role_policy(RoleName="app", PolicyArn=BOUNDARIES[1])


def broken(house: House) -> None:
    """A key switched off, a secret deleted, another with an old value, a parameter written over, a tag of ours more."""
    iam, vault = client("iam"), client("secretsmanager")
    key = iam.list_access_keys(UserName="news")["AccessKeyMetadata"][0]["AccessKeyId"]
    iam.update_access_key(UserName="news", AccessKeyId=key, Status="Inactive")
    vault.delete_secret(SecretId="recon/news")
    vault.put_secret_value(SecretId=f"recon/{HOME}/shop", SecretString="{}")
    client("ssm").put_parameter(Name="/recon/post", Value="{}", Type="SecureString", Overwrite=True)
    tags = [{"Key": "recon:tags", "Value": "cost stray team"}, {"Key": "stray", "Value": "x"}]
    client("ssm").add_tags_to_resource(ResourceType="Parameter", ResourceId="/recon/post", Tags=tags)


RETIRED = put(MAIL, ("domains", "acme.com"), {"identity": False, "dmarc": {"p": "reject"}})


def of_cases() -> Iterator[Scenario]:
    """The life of each kind that the documents above do not declare: created, changed and deleted, from its cases."""
    for spec in KINDS.values():
        case = next(iter(cases_of(spec.name)), None)
        if case is None or case.place[0] in {*MAIL, *USERS}:
            continue
        plain = [one for one in case.fields if not (one.apart or one.more or _of_a_file(one.a) or _of_a_file(one.b))]
        a, b = ({}, {})
        for one in plain:
            a, b = put(a, one.place, one.a), put(b, one.place, one.b)
        first, then = case.with_entry(a), case.with_entry(b)
        others = functools.partial(seed_others, case=case)
        yield Scenario(f"create-{spec.name}", first, others=others)
        yield Scenario(f"change-{spec.name}", then, (first,), others)
        if not case.permanent:
            yield Scenario(f"delete-{spec.name}", dict(case.gone), (first,), others)


def _of_a_file(value: Any) -> bool:
    return isinstance(value, dict) and "file" in value


SCENARIOS = (
    *of_cases(),
    Scenario("create", MAIL, others=others),
    Scenario("change", CHANGED, (MAIL,), others, a_day_later, resumes=True),
    Scenario("fewer", FEWER, (MAIL,), others),
    Scenario("destroy", None, (MAIL,), others),
    Scenario("adopt", merge(MAIL, put(USERS, ("domains",), {})), (), others, by_hand, adopts=True),
    Scenario(
        "origins",
        {"domains": {
            "acme.com": {"dkim": byodkim(1)}, "b.acme.com": {"dkim": byodkim(2)}, "c.acme.com": {"dkim": {}},
        }},
        ({"domains": {
            "acme.com": {"dkim": {}}, "b.acme.com": {"dkim": byodkim(1)}, "c.acme.com": {"dkim": byodkim(2)},
        }},),
        with_keys,
    ),
    Scenario(
        "rename",
        {
            "configuration_sets": {"new": {"event_destinations": {
                "f": {"matching_event_types": ["SEND"], "sns_destination": {"topic_arn": TOPIC}}}}},
            "domains": {"acme.com": {"dkim": {}, "configuration_set_name": "new"}},
            "smtp_users": {"press": SENDER},
            "moved": [
                {"from": f"configuration_set/{HOME}/old", "to": f"configuration_set/{HOME}/new"},
                {"from": "smtp_user/news", "to": "smtp_user/press"},
            ],
        },
        ({
            "configuration_sets": {"old": {"event_destinations": {
                "f": {"matching_event_types": ["SEND"], "sns_destination": {"topic_arn": TOPIC}}}}},
            "domains": {"acme.com": {"dkim": {}, "configuration_set_name": "old"}},
            "smtp_users": {"news": SENDER},
        },),
        others,
    ),
    Scenario("retire", RETIRED, (MAIL,), others),
    Scenario("users", USERS, (), others),
    Scenario("users-change", OTHER_USERS, (USERS,), others),
    Scenario("users-region", USERS, (ONE_REGION,), others),
    Scenario("users-broken", USERS, (USERS,), others, broken),
    Scenario("users-gone", {"domains": USERS["domains"]}, (USERS,), others, entangled),
    Scenario("users-destroy", None, (USERS,), others, entangled),
    Scenario("roles", ROLES, (), others),
    Scenario("roles-function", FUNCTION, (ROLES,), others),
    Scenario("roles-adopt", ROLES, (), others, a_role, adopts=True),
    Scenario("roles-gone", {}, (ROLES,), others, entangled_role),
    Scenario("roles-released", {"released": ["sending_roles.app"]}, (ROLES,), others),
    Scenario("watched", WATCHED, (), others),
    Scenario("watched-change", UNTAGGED, (WATCHED,), others),
    Scenario("notified", notified(False, TOPIC), (), others),
    Scenario("notified-change", notified(True, None), (notified(False, TOPIC),), others),
)  # fmt: skip
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
