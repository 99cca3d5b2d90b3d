"""Killed, cut off, throttled or refused at any write: the next apply converges, and nothing is left behind.

Every scenario is a state of the world and a state that is applied to it. Its apply is interrupted at the nth write,
then run again undisturbed: the plan is then empty, AWS is exactly as after an apply that nobody disturbed, and what
others keep there has not moved.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest
from support import ACCOUNT, HOME, OTHER, House, client, killed_before, merge, restore, snapshot, struck, told

TOPIC = f"arn:aws:sns:{HOME}:{ACCOUNT}:feedback"
ARN = f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/acme.com"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "222233334444"}, "Action": "ses:SendEmail", "Resource": ARN}
    ],
}
SNS = {"matching_event_types": ["BOUNCE"], "sns_destination": {"topic_arn": TOPIC}}
BUS = {"event_bus_arn": f"arn:aws:events:{HOME}:{ACCOUNT}:event-bus/default"}
USER = {"news": {"from_addresses": ["*@acme.com"], "credentials": {"secretsmanager": {"name": "recon/news"}}}}

SMALL: dict[str, Any] = {"domains": {"acme.com": {"dkim": {}}}}
FULL: dict[str, Any] = {
    "domains": {
        "acme.com": {
            "dkim": {},
            "dmarc": {"p": "none"},
            "spf": {"include": ["a.example"]},
            "bimi": {"l": "https://acme.com/l.svg"},
            "mail_from": {"mail_from_domain": "bounce.acme.com"},
            "configuration_set_name": "main",
            "tags": {"team": "mail"},
            "policies": {"partner": POLICY},
            "email_forwarding_enabled": False,
        },
        "shop.acme.com": {"identity": False, "dmarc": {"p": "reject"}, "spf": {"all": "-all"}, "null_mx": True},
    },
    "configuration_sets": {
        "main": {
            "delivery_options": {"tls_policy": "REQUIRE", "sending_pool_name": "tx"},
            "tracking_options": {"custom_redirect_domain": "click.acme.com"},
            "event_destinations": {"d": SNS},
        }
    },
    "dedicated_ip_pools": {"tx": {}},
    "email_addresses": {"ceo@other.example": {}},
}
CHANGED: dict[str, Any] = {
    "domains": {
        "acme.com": {
            "dkim": {"signing_enabled": False},
            "dmarc": {"p": "reject", "rua": "mailto:d@acme.com"},
            "spf": {"include": ["b.example"], "all": "-all"},
            "mail_from": {"mail_from_domain": "mail.acme.com"},
            "configuration_set_name": "main",
            "tags": {"tier": "gold"},
            "email_forwarding_enabled": True,
            "ttl": 600,
        },
        "shop.acme.com": {"identity": False, "dmarc": {"p": "quarantine"}, "spf": {"include": ["c.example"]}},
    },
    "configuration_sets": {
        "main": {
            "delivery_options": {"tls_policy": "OPTIONAL", "sending_pool_name": None},
            "tracking_options": {"custom_redirect_domain": "go.acme.com"},
            "event_destinations": {"d": {"matching_event_types": ["SEND"], "event_bridge_destination": BUS}, "e": SNS},
        },
        "second": {},
    },
}
LESS: dict[str, Any] = {"domains": {"acme.com": {"identity": False, "dmarc": {"p": "none"}}}}
ELSEWHERE: dict[str, Any] = {
    "domains": {
        "acme.com": {
            "regions": [OTHER],
            "dkim": {},
            "dmarc": {"p": "none"},
            "mail_from": {"mail_from_domain": "o.acme.com"},
        }
    }
}
NEW_KEYS: dict[str, Any] = merge(
    SMALL,
    {
        "domains": {
            "acme.com": {
                "dkim": {
                    "signing_attributes_origin": "EXTERNAL",
                    "domain_signing_selector": "s1",
                    "domain_signing_private_key": {"env": "DKIM_KEY"},
                }
            }
        }
    },
)
WITH_USER: dict[str, Any] = {"domains": {"acme.com": {"zone": "manual"}}, "smtp_users": USER}
USER_MOVED: dict[str, Any] = merge(
    WITH_USER, {"smtp_users": {"news": {"tags": {"a": "b"}, "source_ips": ["192.0.2.1"]}}}
)
USER_MOVED["smtp_users"]["news"]["credentials"] = {"ssm": {"name": "/recon/news"}}
WITHOUT_USER: dict[str, Any] = {"domains": {"acme.com": {"zone": "manual"}}}

SCENARIOS: dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None]] = {
    "all is made": (None, FULL),
    "all is changed": (FULL, CHANGED),
    "most is taken out": (FULL, LESS),
    "the identity comes back": (LESS, FULL),
    "all is destroyed": (FULL, None),
    "the region changes": (SMALL, ELSEWHERE),
    "own keys replace Easy DKIM": (SMALL, NEW_KEYS),
    "Easy DKIM replaces own keys": (
        NEW_KEYS,
        merge(SMALL, {"domains": {"acme.com": {"dkim": {"signing_attributes_origin": "AWS_SES"}}}}),
    ),
    "a user is made": (WITHOUT_USER, WITH_USER),
    "a credential moves": (WITH_USER, USER_MOVED),
    "a user is taken out": (WITH_USER, WITHOUT_USER),
}
USERS = {name for name in SCENARIOS if "user" in name or "credential" in name}
WRITES = {
    "all is made": 12,
    "all is changed": 19,
    "most is taken out": 7,
    "the identity comes back": 11,
    "all is destroyed": 8,
    "the region changes": 8,
    "own keys replace Easy DKIM": 7,
    "Easy DKIM replaces own keys": 7,
    "a user is made": 8,
    "a credential moves": 8,
    "a user is taken out": 5,
}
"""At least as many writes as each scenario makes; past the end nothing is interrupted, and the test still holds."""
DEEDS = ("lost", "reset", "error", "throttle", "denied")


def cases() -> list[Any]:
    """Every scenario, killed before every write, and every fault at every write; a slice of them is fast."""
    found = []
    for order, name in enumerate(SCENARIOS):
        for nth in range(1, WRITES[name] + 1):
            for place, deed in enumerate(("killed", *DEEDS)):
                fast = (nth + order) % 4 == 0 if deed == "killed" else (nth * 5 + place + order) % 29 == 0
                marks = [] if fast else [pytest.mark.slow]
                found.append(pytest.param(name, nth, deed, marks=marks, id=f"{name}-{deed}-{nth}"))
    return found


def everything(house: House) -> list[str]:
    """AWS as it is, one line a fact, without what no two runs share (dates, key ids, which DKIM tokens)."""
    found: dict[str, Any] = {"zone": house.zone()}
    for region in (HOME, OTHER):
        ses = client("sesv2", region)
        for item in ses.list_email_identities()["EmailIdentities"]:
            name = item["IdentityName"]
            live = ses.get_email_identity(EmailIdentity=name)
            for part in ("ResponseMetadata", "VerificationInfo"):
                live.pop(part, None)
            live["DkimAttributes"].pop("LastKeyGenerationTimestamp", None)
            found[f"{region} {name}"] = live
        for name in ses.list_configuration_sets().get("ConfigurationSets", []):
            live = ses.get_configuration_set(ConfigurationSetName=name)
            live.pop("ResponseMetadata")
            live["ReputationOptions"].pop("LastFreshStart", None)
            destinations = ses.get_configuration_set_event_destinations(ConfigurationSetName=name)["EventDestinations"]
            found[f"{region} set {name}"] = [live, destinations]
        found[f"{region} pools"] = ses.list_dedicated_ip_pools()["DedicatedIpPools"]
    iam = client("iam")
    for user in iam.list_users()["Users"]:
        name = user["UserName"]
        tags = {t["Key"]: t["Value"] for t in iam.list_user_tags(UserName=name)["Tags"]}
        keys = [k["AccessKeyId"] for k in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]]
        assert len(keys) <= 2
        unknown = set(keys) - {tags.get("recon:key"), tags.get("recon:key-old")}
        assert not unknown, f"{unknown} are nobody's"
        found[f"user {name}"] = sorted(k for k in tags if not k.startswith("recon:key"))
    text = "\n".join(
        f"{where} {what}: {json.dumps(value, default=str, sort_keys=True)}" for where, what, value in flat(found)
    )
    for region in (HOME, OTHER):
        for item in client("sesv2", region).list_email_identities()["EmailIdentities"]:
            live = client("sesv2", region).get_email_identity(EmailIdentity=item["IdentityName"])["DkimAttributes"]
            for token in live.get("Tokens") or ():
                text = text.replace(token, f"(token of {region})")
    return sorted(text.splitlines())


def flat(found: dict[str, Any]) -> list[tuple[str, str, Any]]:
    return [
        (where, str(k), v)
        for where, part in found.items()
        for k, v in (part.items() if isinstance(part, dict) else [("", part)])
    ]


def act(house: House, document: dict[str, Any] | None, **options: Any) -> Any:
    if document is None:
        return house.destroy(expect=None)
    return house.apply(document, expect=None, **options)


@functools.lru_cache(maxsize=1)
def dkim_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    form = serialization.PrivateFormat.TraditionalOpenSSL
    made = rsa.generate_private_key(65537, 2048)
    return made.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


_prepared: dict[str, tuple[Any, Any]] = {}


def prepare(house: House, name: str) -> Any:
    """Bring AWS to the scenario's beginning; returns what it must look like at the end."""
    before, after = SCENARIOS[name]
    if name in _prepared and name not in USERS:
        kept, wanted = _prepared[name]
        restore(kept)
        house.kept = wanted["kept"]
        house.write(before or {})
        return wanted["end"]
    house.seed_zone()
    if before is not None:
        house.settle(before)
    kept = snapshot()
    end = None
    if name not in USERS:
        result = act(house, after)
        assert result.outcome == "applied", told(result)
        end = everything(house)
        restore(kept)
        _prepared[name] = kept, {"kept": house.kept, "end": end}
    return end


@pytest.mark.parametrize(("name", "nth", "deed"), cases())
def test_an_interrupted_run_is_finished_by_the_next(
    house: House, name: str, nth: int, deed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DKIM_KEY", dkim_key())
    end = prepare(house, name)
    _, after = SCENARIOS[name]
    if deed == "killed":
        with killed_before(nth):
            act(house, after, parallelism=1)
    else:
        with struck(deed, nth):
            act(house, after)
    house.check_foreign()
    result = act(house, after)
    assert result.outcome in {"applied", "no_changes"}, told(result)
    if after is None:
        assert not house.make(removing=True).plan.changes
        house.check_foreign(alone=True)
    else:
        house.quiet()
        house.check_foreign()
    if end is not None:
        assert everything(house) == end
    else:
        everything(house)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_table_covers_every_write(house: House, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DKIM_KEY", dkim_key())
    prepare(house, name)
    house.clear()
    result = act(house, SCENARIOS[name][1])
    assert result.outcome == "applied", told(result)
    assert len(house.writes()) <= WRITES[name], house.writes()
    house.check_foreign()
