"""The laws of the engine, over randomly generated states.

Apply, then the plan is empty at the first try and a second apply writes nothing; declare something else, and the same
holds; destroy, and nothing of ours is left while every value of others is where it was.

``RECON_EXAMPLES=200`` tries more; the default is a small sample, the same in every run.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from support import ACCOUNT, HOME, OTHER, House, client, killed_before, struck, told
from test_e2e_interrupted import dkim_key

EXAMPLES = int(os.environ.get("RECON_EXAMPLES", "0"))
LAWS = settings(
    max_examples=EXAMPLES or 12,
    deadline=None,
    derandomize=not EXAMPLES,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

# --- states --------------------------------------------------------------------------------------------------------

DOMAINS = ("acme.com", "shop.acme.com", "a.b.acme.com", "parked.net")
ZONES = ("acme.com", "parked.net")
SETS = ("one", "two")
TOPIC = "arn:aws:sns:${region}:${account}:feedback"
BUS = "arn:aws:events:${region}:${account}:event-bus/default"

policies = st.sampled_from(["none", "quarantine", "reject"])
regions = st.sampled_from([[HOME], [OTHER], [HOME, OTHER]])
words = st.sampled_from(["red", "blue", "Größe 1".replace("ö", "o").replace("ß", "s"), "a=b", "x/y@z"])
tags = st.dictionaries(st.sampled_from(["team", "tier", "cost:center"]), words, max_size=2)
reports = st.sampled_from(["mailto:a@acme.com", "mailto:b@acme.com,mailto:c@acme.com"])
dmarc = st.fixed_dictionaries(
    {"p": policies},
    optional={
        "sp": policies,
        "np": policies,
        "adkim": st.sampled_from("rs"),
        "rua": reports,
        "t": st.sampled_from("yn"),
    },
)
dmarc_raw = st.sampled_from(["v=DMARC1; p=none", "v=DMARC1; p=reject; rua=mailto:a@acme.com"])
spf = st.fixed_dictionaries(
    {},
    optional={
        "include": st.lists(st.sampled_from(["a.example", "b.example", "c.example"]), unique=True, min_size=1),
        "ip4": st.lists(st.sampled_from(["192.0.2.1", "198.51.100.0/24"]), unique=True, min_size=1),
        "a": st.just(True),
        "all": st.sampled_from(["-all", "~all"]),
    },
).filter(bool)
bimi = st.fixed_dictionaries({"l": st.sampled_from(["https://acme.com/a.svg", "https://acme.com/b.svg"])})
own_records = {"dmarc": dmarc | dmarc_raw, "spf": spf, "bimi": bimi, "ttl": st.sampled_from([60, 300, 3600])}

dkim = st.sampled_from(
    [
        {},
        {"signing_enabled": False},
        {"next_signing_key_length": "RSA_1024_BIT"},
        {"signing_attributes_origin": "AWS_SES", "next_signing_key_length": "RSA_2048_BIT"},
        {
            "signing_attributes_origin": "EXTERNAL",
            "domain_signing_selector": "s1",
            "domain_signing_private_key": {"env": "DKIM_KEY"},
        },
        {
            "signing_attributes_origin": "EXTERNAL",
            "domain_signing_selector": "s2",
            "domain_signing_private_key": {"env": "DKIM_KEY"},
        },
    ]
)


def policy(draw: Any, name: str, region: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": draw(st.sampled_from(["222233334444", "333344445555"]))},
                "Action": draw(st.sampled_from(["ses:SendEmail", ["ses:SendRawEmail", "ses:SendEmail"]])),
                "Resource": f"arn:aws:ses:{region}:{ACCOUNT}:identity/{name}",
            }
        ],
    }


@st.composite
def destinations(draw: Any) -> dict[str, Any]:
    kind = draw(
        st.sampled_from(
            [
                {"sns_destination": {"topic_arn": TOPIC}},
                {"event_bridge_destination": {"event_bus_arn": BUS}},
                {
                    "cloud_watch_destination": {
                        "dimension_configurations": [
                            {
                                "dimension_name": n,
                                "dimension_value_source": "MESSAGE_TAG",
                                "default_dimension_value": "x",
                            }
                            for n in ("b", "a")
                        ]
                    }
                },
            ]
        )
    )
    events = draw(st.lists(st.sampled_from(["SEND", "BOUNCE", "COMPLAINT"]), unique=True, min_size=1))
    return {"enabled": draw(st.booleans()), "matching_event_types": events, **kind}


@st.composite
def states(draw: Any, managed: bool = False) -> dict[str, Any]:
    """A valid document: what is named is declared, and what AWS takes back only when told is always written."""
    document: dict[str, Any] = {
        "domains": {},
        "configuration_sets": {},
        "dedicated_ip_pools": {},
        "email_addresses": {},
    }
    pools = draw(st.booleans())
    if pools:
        mode = "MANAGED" if managed else draw(st.sampled_from(["STANDARD", "MANAGED"]))
        document["dedicated_ip_pools"]["tx"] = {"regions": [HOME, OTHER], "scaling_mode": mode, "tags": draw(tags)}
    identities: dict[str, list[str]] = {}
    for name in draw(st.lists(st.sampled_from(DOMAINS), unique=True, max_size=3)):
        entry = draw(st.fixed_dictionaries({}, optional=own_records))
        if draw(st.integers(0, 4)) == 0:
            document["domains"][name] = {
                "identity": False,
                **entry,
                **({"null_mx": True} if draw(st.booleans()) else {}),
            }
            continue
        where = draw(regions)
        identities[name] = where
        entry |= {"regions": where, "dkim": draw(dkim), "tags": draw(tags)}
        if "signing_attributes_origin" not in entry["dkim"]:
            entry["dkim"] = {"signing_attributes_origin": "AWS_SES", **entry["dkim"]}
        if len(where) == 2 and entry["dkim"]["signing_attributes_origin"] == "AWS_SES" and draw(st.booleans()):
            entry["by_region"] = {OTHER: {"dkim": {"signing_attributes_origin": "AWS_SES_US_EAST_1"}}}
        if draw(st.booleans()):
            label = draw(st.sampled_from(["bounce", "mail"]))
            entry["mail_from"] = {"mail_from_domain": label + "-${region}.${domain}"}
            entry["mail_from"]["behavior_on_mx_failure"] = draw(
                st.sampled_from(["USE_DEFAULT_VALUE", "REJECT_MESSAGE"])
            )
        if draw(st.booleans()):
            entry["email_forwarding_enabled"] = draw(st.booleans())
        if len(where) == 1 and draw(st.booleans()):
            entry["policies"] = {draw(st.sampled_from(["partner", "p2"])): policy(draw, name, where[0])}
        document["domains"][name] = entry
    for name in draw(st.lists(st.sampled_from(SETS), unique=True)):
        options: dict[str, Any] = {"regions": [HOME, OTHER], "delivery_options": {"sending_pool_name": None}}
        if pools and draw(st.booleans()):
            options["delivery_options"]["sending_pool_name"] = "tx"
        if draw(st.booleans()):
            options["delivery_options"]["tls_policy"] = draw(st.sampled_from(["REQUIRE", "OPTIONAL", None]))
        if draw(st.booleans()):
            options["suppression_options"] = draw(
                st.sampled_from([None, {"suppressed_reasons": []}, {"suppressed_reasons": ["COMPLAINT", "BOUNCE"]}])
            )
        if draw(st.booleans()):
            options["sending_options"] = {"sending_enabled": draw(st.booleans())}
        if draw(st.booleans()):
            options["vdm_options"] = {
                "guardian_options": {"optimized_shared_delivery": draw(st.sampled_from(["ENABLED", None]))}
            }
        everywhere = [n for n, where in identities.items() if len(where) == 2]
        options["tracking_options"] = {"custom_redirect_domain": None}
        if everywhere and draw(st.booleans()):
            options["tracking_options"]["custom_redirect_domain"] = (
                f"click-${{region}}-{name}.{draw(st.sampled_from(everywhere))}"
            )
        options["tags"] = draw(tags)
        options["event_destinations"] = draw(st.dictionaries(st.sampled_from("de"), destinations(), max_size=2))
        document["configuration_sets"][name] = options
    for name in identities:
        names = [None, *document["configuration_sets"]]
        document["domains"][name]["configuration_set_name"] = draw(st.sampled_from(names))
    if draw(st.booleans()):
        document["email_addresses"]["ceo@else.example"] = {"tags": draw(tags), "configuration_set_name": None}
    if draw(st.integers(0, 3)) == 0:
        name = draw(st.sampled_from(["recon/news", "recon/${region}/news"]))
        document["smtp_users"] = {
            "news": {
                "from_addresses": draw(st.sampled_from([["*@acme.com"], ["a@acme.com", "b@acme.com"]])),
                "tags": draw(tags),
                "credentials": {"secretsmanager": {"name": name}},
            }
        }
    return {k: v for k, v in document.items() if v}


def managed(document: dict[str, Any]) -> bool:
    pool = document.get("dedicated_ip_pools", {}).get("tx", {})
    return bool(pool.get("scaling_mode") == "MANAGED")


foreign_spf = st.sampled_from(
    [None, "v=spf1 include:crm.example -all", "v=spf1 ip4:203.0.113.1 ?all", "v=spf1 a include:a.example ~all"]
)


def world_of_others(house: House, data: Any) -> None:
    """Zones with values of others, an SPF record of theirs among them or not."""
    house.begin()
    for zone in ZONES:
        values = ["google-site-verification=abc", 'quote " and \\ backslash']
        theirs = data.draw(foreign_spf, label=f"SPF of others in {zone}")
        house.seed_zone(
            zone,
            {
                (zone, "TXT"): [*values, *([theirs] if theirs else [])],
                (f"_dmarc.{zone}", "TXT"): ["vendor"],
                (f"www.{zone}", "CNAME"): ["web.example."],
            },
        )


def keep_out(house: House) -> None:
    """What must survive byte for byte: everything but SPF records, which are merged by declaration."""
    house.kept = {k: [v for v in vs if not v.startswith('"v=spf1')] for k, vs in house.kept.items()}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DKIM_KEY", dkim_key())


# --- laws ----------------------------------------------------------------------------------------------------------


@LAWS
@given(data=st.data())
def test_apply_then_the_plan_is_empty_whatever_came_before(house: House, data: Any) -> None:
    world_of_others(house, data)
    keep_out(house)
    first = data.draw(states(), label="first")
    house.settle(first)
    house.check_foreign()
    for _ in range(data.draw(st.integers(1, 2))):
        house.sandbox.advance(2 * 86400)
        second = data.draw(states(managed=managed(house.document)), label="then")
        note(str(second))
        house.settle(second)
        house.check_foreign()
    house.destroy(expect=None)
    assert not house.make(removing=True).plan.changes
    house.check_foreign()
    nothing_left(house)


def nothing_left(house: House) -> None:
    """No resource, no record and no key of ours anywhere."""
    for region in (HOME, OTHER):
        ses = client("sesv2", region)
        assert ses.list_email_identities()["EmailIdentities"] == []
        assert ses.list_configuration_sets().get("ConfigurationSets", []) == []
        assert ses.list_dedicated_ip_pools()["DedicatedIpPools"] == []
    assert client("iam").list_users()["Users"] == []
    for zone in ZONES:
        left = {
            k: v
            for k, v in house.zone(zone).items()
            if k not in {(zone, "TXT"), (f"_dmarc.{zone}", "TXT"), (f"www.{zone}", "CNAME")}
        }
        assert not left
    tagged = client("resourcegroupstaggingapi").get_resources()["ResourceTagMappingList"]
    assert not [
        t for t in tagged if "hostedzone" in t["ResourceARN"] and any(x["Key"].startswith("recon") for x in t["Tags"])
    ]


@settings(LAWS, max_examples=EXAMPLES or 10)
@given(data=st.data())
def test_an_apply_cut_anywhere_converges(house: House, data: Any) -> None:
    world_of_others(house, data)
    keep_out(house)
    house.settle(data.draw(states(), label="first"))
    house.sandbox.advance(2 * 86400)
    second = data.draw(states(managed=managed(house.document)), label="then")
    nth = data.draw(st.integers(1, 20), label="nth write")
    deed = data.draw(st.sampled_from(["killed", "killed", "lost", "error", "denied"]), label="deed")
    if deed == "killed":
        with killed_before(nth):
            house.apply(second, expect=None, parallelism=1)
    else:
        with struck(deed, nth):
            house.apply(second, expect=None)
    house.check_foreign()
    result = house.apply(second, expect=None)
    assert result.outcome in {"applied", "no_changes"}, told(result)
    house.quiet()
    house.check_foreign()
    house.destroy(expect=None)
    nothing_left(house)
    house.check_foreign()


@settings(LAWS, max_examples=EXAMPLES or 10)
@given(data=st.data())
def test_a_destroy_cut_anywhere_leaves_nothing_after_the_next(house: House, data: Any) -> None:
    world_of_others(house, data)
    keep_out(house)
    house.settle(data.draw(states(), label="first"))
    with killed_before(data.draw(st.integers(1, 15), label="nth write")):
        planned = house.make(removing=True, purpose="apply", parallelism=1)
        from reconciler import applier

        applier.apply_plan(planned.plan, planned.aws, zones=planned.snapshot.zones)
    house.destroy(expect=None)
    nothing_left(house)
    house.check_foreign()


@settings(LAWS, max_examples=EXAMPLES or 8)
@given(data=st.data())
def test_order_in_the_yaml_does_not_matter(house: House, data: Any) -> None:
    world_of_others(house, data)
    document = data.draw(states())
    one = house.plan(document)
    turned = {k: dict(reversed(list(v.items()))) for k, v in reversed(list(document.items()))}
    other = house.plan(turned)
    assert [c.address for c in one.changes] == [c.address for c in other.changes]
    assert [c.after for c in one.changes] == [c.after for c in other.changes]
