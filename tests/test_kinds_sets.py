"""Configuration sets, destinations and pools beyond single options: three states of suppression, whole blocks, kinds of
destination, renames, pools that cost money, and what others put at the same set."""

from __future__ import annotations

from typing import Any

import pytest
from support import ACCOUNT, HOME, OTHER, House, client, lines, merge, words

from reconciler.model import Change, Plan

MAIN = f"configuration_set/{HOME}/main"
TOPIC = f"arn:aws:sns:{HOME}:{ACCOUNT}:feedback"
KINDS: dict[str, dict[str, Any]] = {
    "sns_destination": {"topic_arn": TOPIC},
    "cloud_watch_destination": {
        "dimension_configurations": [
            {"dimension_name": "a", "dimension_value_source": "MESSAGE_TAG", "default_dimension_value": "x"},
            {"dimension_name": "b", "dimension_value_source": "LINK_TAG", "default_dimension_value": "y"},
        ]
    },
    "kinesis_firehose_destination": {
        "delivery_stream_arn": f"arn:aws:firehose:{HOME}:{ACCOUNT}:deliverystream/mail",
        "iam_role_arn": f"arn:aws:iam::{ACCOUNT}:role/mail",
    },
    "event_bridge_destination": {"event_bus_arn": f"arn:aws:events:{HOME}:{ACCOUNT}:event-bus/default"},
}


def main(**values: Any) -> dict[str, Any]:
    return {"configuration_sets": {"main": values}}


def destination(kind: str = "sns_destination", **more: Any) -> dict[str, Any]:
    return {"matching_event_types": ["SEND", "BOUNCE"], kind: KINDS[kind], **more}


def live_destinations(region: str = HOME) -> dict[str, Any]:
    found = client("sesv2", region).get_configuration_set_event_destinations(ConfigurationSetName="main")
    return {d["Name"]: d for d in found["EventDestinations"]}


def of(plan: Plan, address: str) -> Change:
    found = [c for c in plan.changes if c.address == address]
    assert found, "\n".join(map(words, plan.changes))
    return found[0]


# --- sets ----------------------------------------------------------------------------------------------------------


def test_suppression_has_three_states(house: House) -> None:
    states: list[tuple[Any, Any]] = [
        ({"suppressed_reasons": []}, []),
        ({"suppressed_reasons": None}, None),
        ({"suppressed_reasons": ["COMPLAINT", "BOUNCE"]}, ["COMPLAINT", "BOUNCE"]),
        (None, None),
        ({"suppressed_reasons": []}, []),
    ]
    for written, live in states:
        house.settle(main(suppression_options=written))
        assert house.set().get("SuppressionOptions", {}).get("SuppressedReasons") == live
    house.write(main())
    house.quiet()
    house.write(main(suppression_options={"suppressed_reasons": ["BOUNCE", "COMPLAINT"]}))
    assert lines(of(house.plan(), MAIN)) == {"suppression_options.suppressed_reasons": ([], ["BOUNCE", "COMPLAINT"])}


def test_order_of_suppressed_reasons_is_no_difference(house: House) -> None:
    house.settle(main(suppression_options={"suppressed_reasons": ["BOUNCE", "COMPLAINT"]}))
    client("sesv2").put_configuration_set_suppression_options(
        ConfigurationSetName="main", SuppressedReasons=["COMPLAINT", "BOUNCE"]
    )
    house.quiet()


def test_a_put_keeps_the_fields_that_the_yaml_does_not_name(house: House) -> None:
    house.settle(main(delivery_options={"tls_policy": "REQUIRE"}))
    client("sesv2").put_configuration_set_delivery_options(
        ConfigurationSetName="main", TlsPolicy="REQUIRE", MaxDeliverySeconds=900
    )
    client("sesv2").put_configuration_set_vdm_options(
        ConfigurationSetName="main", VdmOptions={"DashboardOptions": {"EngagementMetrics": "ENABLED"}}
    )
    house.quiet()
    house.settle(
        main(
            delivery_options={"tls_policy": "OPTIONAL"},
            vdm_options={"guardian_options": {"optimized_shared_delivery": "ENABLED"}},
        )
    )
    found = house.set()
    assert found["DeliveryOptions"] == {"TlsPolicy": "OPTIONAL", "MaxDeliverySeconds": 900}
    assert found["VdmOptions"]["DashboardOptions"] == {"EngagementMetrics": "ENABLED"}
    assert found["VdmOptions"]["GuardianOptions"] == {"OptimizedSharedDelivery": "ENABLED"}


def test_whole_blocks_reset_with_null(house: House) -> None:
    house.settle(
        main(
            delivery_options={"tls_policy": "REQUIRE", "max_delivery_seconds": 600},
            reputation_options={"reputation_metrics_enabled": True},
            sending_options={"sending_enabled": False},
            vdm_options={"dashboard_options": {"engagement_metrics": "ENABLED"}},
        )
    )
    blocks = (
        "delivery_options",
        "reputation_options",
        "sending_options",
        "vdm_options",
        "tracking_options",
        "archiving_options",
    )
    house.settle(main(**dict.fromkeys(blocks)))
    found = house.set()
    assert found["DeliveryOptions"] == {"TlsPolicy": "OPTIONAL"}
    assert found["ReputationOptions"]["ReputationMetricsEnabled"] is False
    assert found["SendingOptions"] == {"SendingEnabled": True}
    assert not (found.get("VdmOptions") or {}).get("DashboardOptions", {}).get("EngagementMetrics")


def test_reputation_metrics_on_by_default_would_show_once_only(house: House) -> None:
    house.sandbox.settings(doubt_reputation_metrics_default=True)
    house.settle(main())
    house.settle(main(reputation_options={"reputation_metrics_enabled": False}))
    house.settle(main(reputation_options={"reputation_metrics_enabled": True}))


def test_sending_is_resumed_only_when_asked(house: House) -> None:
    house.settle(main(sending_options={"sending_enabled": True}))
    client("sesv2").put_configuration_set_sending_options(ConfigurationSetName="main", SendingEnabled=False)
    plan = house.plan()
    assert any(n.rule == "sending-resumes" for n in of(plan, MAIN).notes)
    assert house.cli("apply", "state.yaml", "--auto-approve").code == 3
    assert house.set()["SendingOptions"] == {"SendingEnabled": False}
    assert house.cli("apply", "state.yaml", "--auto-approve", "--resume-sending").code == 0
    assert house.set()["SendingOptions"] == {"SendingEnabled": True}


def test_a_set_in_two_regions_and_one_region_taken_out(house: House) -> None:
    both = main(regions=[HOME, OTHER], event_destinations={"d": destination("event_bridge_destination")})
    both["configuration_sets"]["main"]["event_destinations"]["d"]["event_bridge_destination"] = {
        "event_bus_arn": "arn:aws:events:${region}:${account}:event-bus/default"
    }
    house.settle(both)
    assert live_destinations(OTHER)["d"]["EventBridgeDestination"]["EventBusArn"].startswith(f"arn:aws:events:{OTHER}")
    house.settle(merge(both, main(regions=[HOME])))
    assert client("sesv2", OTHER).list_configuration_sets().get("ConfigurationSets", []) == []
    house.destroy()


def test_a_set_that_an_identity_still_uses_is_not_deleted(house: House) -> None:
    house.seed_zone()
    identity = {"domains": {"acme.com": {"zone": "manual", "configuration_set_name": "main"}}}
    house.settle(merge(identity, main()))
    plan = house.plan({"domains": {"acme.com": {"zone": "manual"}}})
    assert plan.outcome == "refused"
    assert "in-use" in {d.code for d in plan.diagnostics}
    house.settle({"domains": {"acme.com": {"zone": "manual", "configuration_set_name": None}}})
    assert client("sesv2").list_configuration_sets().get("ConfigurationSets", []) == []


def test_a_reference_that_is_nowhere_is_refused_and_one_that_lives_is_not(house: House) -> None:
    document = {"domains": {"acme.com": {"zone": "manual", "configuration_set_name": "elsewhere"}}}
    assert house.cli("validate", str(house.write(document))).code == 0
    plan = house.plan(document)
    assert plan.outcome == "refused"
    assert any("elsewhere" in d.message and d.severity == "error" for d in plan.diagnostics)
    client("sesv2").create_configuration_set(ConfigurationSetName="elsewhere")
    house.settle(document)
    assert house.identity()["ConfigurationSetName"] == "elsewhere"
    house.destroy()
    assert client("sesv2").list_configuration_sets()["ConfigurationSets"] == ["elsewhere"]


def test_a_reference_to_what_goes_with_the_plan_is_refused(house: House) -> None:
    """Live, but ours and no longer declared: once applied it would be gone, and the next plan would refuse."""
    pool = {"dedicated_ip_pools": {"tx": {}}}
    house.settle({**main(), **pool})
    for document, name in (
        ({"email_addresses": {"ceo@acme.com": {"configuration_set_name": "main"}}, **pool}, "main"),
        ({"configuration_sets": {"main": {}, "other": {"delivery_options": {"sending_pool_name": "tx"}}}}, "tx"),
    ):
        house.write(document)
        house.clear()
        ran = house.cli("apply", "state.yaml", "--auto-approve", "--format", "json")
        assert ran.code == 3, ran
        assert [d["code"] for d in ran.json["diagnostics"] if f" {name}, which" in d["message"]] == [
            "missing-reference"
        ]
        assert house.writes() == []


def test_a_rename_said_once_moves_what_uses_it(house: House) -> None:
    base = {"domains": {"acme.com": {"zone": "manual", "configuration_set_name": "main"}}}
    alarms = {"bounces": {"preset": "bounce_rate"}}
    house.settle(merge(base, main(tags={"a": "b"}, event_destinations={"d": destination()}, alarms=alarms)))
    renamed = {
        "domains": {"acme.com": {"zone": "manual", "configuration_set_name": "new"}},
        "configuration_sets": {
            "new": {"tags": {"a": "b"}, "event_destinations": {"d": destination()}, "alarms": alarms}
        },
        "moved": [{"from": MAIN, "to": f"configuration_set/{HOME}/new"}],
    }
    plan = house.plan(renamed)
    change = of(plan, f"configuration_set/{HOME}/new")
    assert change.action == "replace"
    assert [diff.path for diff in change.diff] == ["address"], "what AWS gives both by itself is no difference"
    alarm = of(plan, f"cloudwatch_alarm/{HOME}/new-bounces")
    assert (alarm.moved_from, set(lines(alarm))) == (f"cloudwatch_alarm/{HOME}/main-bounces", {"address", "dimensions"})
    assert not any(c.counts for c in plan.changes)
    house.settle()
    assert client("sesv2").list_configuration_sets()["ConfigurationSets"] == ["new"]
    assert house.identity()["ConfigurationSetName"] == "new"
    house.destroy()


# --- tracking ------------------------------------------------------------------------------------------------------


def tracked(**options: Any) -> dict[str, Any]:
    return {"domains": {"acme.com": {"dkim": {}}}, **main(tracking_options=options)}


def test_tracking_follows_its_domain_and_takes_its_record_along(house: House) -> None:
    house.seed_zone()
    house.settle(tracked(custom_redirect_domain="click.acme.com"))
    assert house.zone()["click.acme.com", "CNAME"] == [f"r.{HOME}.awstrack.me"]
    house.settle(tracked(custom_redirect_domain=None))
    assert ("click.acme.com", "CNAME") not in house.zone()
    assert not (house.set().get("TrackingOptions") or {}).get("CustomRedirectDomain")
    house.settle(tracked(custom_redirect_domain="click.acme.com"))
    house.settle({"domains": {"acme.com": {"dkim": {}}}})
    assert ("click.acme.com", "CNAME") not in house.zone()
    assert ("_recon.click.acme.com", "TXT") not in house.zone()
    house.destroy()
    house.check_foreign(alone=True)


def test_tracking_under_require_is_only_checked(house: House) -> None:
    house.seed_zone()
    house.change("click.acme.com", "CNAME", "d111.cloudfront.net.")
    house.settle(tracked(custom_redirect_domain="click.acme.com", https_policy="REQUIRE"))
    assert house.zone()["click.acme.com", "CNAME"] == ["d111.cloudfront.net."]
    house.destroy()
    assert house.zone()["click.acme.com", "CNAME"] == ["d111.cloudfront.net."]


def test_tracking_below_no_identity_is_refused_before_anything_is_written(house: House) -> None:
    house.seed_zone()
    document = main(tracking_options={"custom_redirect_domain": "click.acme.com"})
    told = house.plan(document)
    assert told.outcome == "refused"
    assert [d.code for d in told.diagnostics if "click.acme.com" in d.message] == ["no-tracking-identity"]
    # Live is enough, whoever owns it; what is denied is given the benefit.
    house.sandbox.fault("denied", service="sesv2", operation="GetEmailIdentity", count=None)
    assert house.plan(document).outcome == "changes"
    house.sandbox.clear_faults()
    house.sandbox.seed(identities=[{"names": ["acme.com"], "publish": True}])
    client("sesv2").tag_resource(
        ResourceArn=f"arn:aws:ses:us-east-1:{ACCOUNT}:identity/acme.com",
        Tags=[{"Key": "recon:stack", "Value": "other"}],
    )
    assert "tracking-waits" not in {n.rule for c in house.plan(document).changes for n in c.notes}
    house.settle(document)
    assert house.set()["TrackingOptions"]["CustomRedirectDomain"] == "click.acme.com"
    # What this stack takes away does not carry it.
    house.begin().seed_zone()
    house.settle({"domains": {"acme.com": {}}})
    assert house.plan(document).outcome == "refused"


def test_tracking_waits_for_the_identity_of_others(house: House) -> None:
    house.seed_zone()
    house.sandbox.seed(identities=[{"names": ["acme.com"]}])
    document = main(tracking_options={"custom_redirect_domain": "click.acme.com"})
    notes = {n.rule: n.message for c in house.plan(document).changes for n in c.notes}
    assert "tracking-waits" in notes
    assert "PENDING" in notes["tracking-identity"]
    assert house.apply(expect=None, verify_timeout=0.1).outcome == "verify_timeout"


def put_record(house: House, name: str, kind: str, *values: str, alias: str = "") -> None:
    record: dict[str, Any] = {"Name": name, "Type": kind}
    if alias:
        target = {"HostedZoneId": "Z2FDTNDATAQYW2", "EvaluateTargetHealth": False, "DNSName": alias}
        record["AliasTarget"] = target
    else:
        record |= {"TTL": 60, "ResourceRecords": [{"Value": value} for value in values]}
    (zone,) = client("route53").list_hosted_zones()["HostedZones"]
    change = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
    client("route53").change_resource_record_sets(HostedZoneId=zone["Id"], ChangeBatch=change)


@pytest.mark.parametrize(
    ("records", "warns"),
    [
        ({"CNAME": "d111.cloudfront.net."}, ""),
        ({"CNAME": "Links.acme.com.cdn.cloudflare.NET."}, ""),
        ({"CNAME": "proxy.acme.example."}, "proxy.acme.example"),
        ({"A": "192.0.2.7", "AAAA": "2001:db8::7"}, "A and AAAA records"),
        ({"A": "alias d111.cloudfront.net."}, ""),
        ({"A": "alias lb-1.us-east-1.elb.amazonaws.com."}, "elb.amazonaws.com"),
    ],
)
@pytest.mark.parametrize("policy", ["OPTIONAL", "REQUIRE"])
def test_what_others_put_at_a_tracking_name_is_never_written(
    house: House, records: dict[str, str], warns: str, policy: str
) -> None:
    """A CDN or a proxy in front of SES: links already sent go through it. It is not claimed either, so it stays when
    the set goes."""
    document = tracked(custom_redirect_domain="click.acme.com", https_policy=policy)
    house.seed_zone()
    for kind, value in records.items():
        alias = value.removeprefix("alias ") if value.startswith("alias ") else ""
        put_record(house, "click.acme.com", kind, value, alias=alias)
    before = [raw for raw in house.raw_zone() if raw["Name"] == "click.acme.com."]
    found = [n for c in house.plan(document).changes for n in c.notes if n.rule == "tracking-cname"]
    assert [warns in note.message for note in found] == ([True] if warns and policy == "OPTIONAL" else [])
    house.settle(document)
    assert "recon:records" not in {tag["Key"] for tag in house.set().get("Tags", ())}
    house.settle({"domains": {"acme.com": {"dkim": {}}}})
    assert [raw for raw in house.raw_zone() if raw["Name"] == "click.acme.com."] == before


def test_a_tracking_name_of_ours_that_points_elsewhere_is_drift(house: House) -> None:
    house.seed_zone()
    document = tracked(custom_redirect_domain="click.acme.com")
    house.settle(document)
    house.change("click.acme.com", "CNAME", "d111.cloudfront.net.")
    change = of(house.plan(document), "dns_record/acme.com/click.acme.com/CNAME")
    assert lines(change) == {"value": ("d111.cloudfront.net", "r.us-east-1.awstrack.me")}
    house.settle()
    # Moved to a CDN by the YAML it is the CDN's from then on, also under OPTIONAL; so is another name.
    house.settle(tracked(custom_redirect_domain="click.acme.com", https_policy="REQUIRE"))
    house.change("click.acme.com", "CNAME", "d111.cloudfront.net.")
    house.change("go.acme.com", "CNAME", "d222.cloudfront.net.")
    house.settle(document)
    house.settle(tracked(custom_redirect_domain="go.acme.com"))
    assert house.zone()["click.acme.com", "CNAME"] == ["d111.cloudfront.net."]
    assert house.zone()["go.acme.com", "CNAME"] == ["d222.cloudfront.net."]


def test_two_sets_share_one_tracking_record(house: House) -> None:
    house.seed_zone()
    document = tracked(custom_redirect_domain="click.acme.com")
    both = merge(
        document, {"configuration_sets": {"other": {"tracking_options": {"custom_redirect_domain": "click.acme.com"}}}}
    )
    house.settle(both)
    house.settle(document)
    assert ("click.acme.com", "CNAME") in house.zone()
    house.settle({"domains": {"acme.com": {"dkim": {}}}})
    assert ("click.acme.com", "CNAME") not in house.zone()


def test_a_set_that_takes_over_a_tracking_record_of_ours_remembers_it(house: House) -> None:
    house.seed_zone()
    options = {"tracking_options": {"custom_redirect_domain": "click.acme.com"}}
    for name in ("first", "second", "third"):
        house.settle({"domains": {"acme.com": {"dkim": {}}}, "configuration_sets": {name: options}})
        assert ("click.acme.com", "CNAME") in house.zone()
    house.destroy()
    house.check_foreign(alone=True)


# --- destinations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_destination(house: House, kind: str) -> None:
    house.settle(main(event_destinations={"d": destination(kind)}))
    found = live_destinations()["d"]
    assert found["Enabled"] is True
    assert found["MatchingEventTypes"] == ["SEND", "BOUNCE"]  # as written
    plan = house.plan(main(event_destinations={"d": destination(kind, enabled=False)}))
    assert lines(of(plan, f"event_destination/{HOME}/main/d")) == {"enabled": (True, False)}
    house.settle()
    change = of(house.plan(main()), f"event_destination/{HOME}/main/d")
    assert change.action == "delete"
    assert not change.counts
    house.settle()
    assert live_destinations() == {}


@pytest.mark.parametrize("new", [k for k in KINDS if k != "sns_destination"])
def test_another_kind_of_destination_is_a_replacement(house: House, new: str) -> None:
    house.settle(main(event_destinations={"d": destination()}))
    change = of(house.plan(main(event_destinations={"d": destination(new)})), f"event_destination/{HOME}/main/d")
    assert change.action == "replace"
    assert any(n.rule == "events-gap" for n in change.notes)
    assert any(p.startswith("sns_destination") and v[1] is None for p, v in lines(change).items())
    assert any(p.startswith(new) for p in lines(change))
    house.settle()
    assert "SnsDestination" not in live_destinations()["d"]


def test_order_of_events_and_dimensions_is_no_difference(house: House) -> None:
    block = merge(KINDS["cloud_watch_destination"], {})
    block["dimension_configurations"] = block["dimension_configurations"][::-1]
    house.settle(
        main(event_destinations={"d": {**destination("cloud_watch_destination"), "cloud_watch_destination": block}})
    )
    live = live_destinations()["d"]["CloudWatchDestination"]["DimensionConfigurations"]
    assert [d["DimensionName"] for d in live] == ["b", "a"]  # as written
    block = KINDS["cloud_watch_destination"]
    house.write(
        main(
            event_destinations={
                "d": {"matching_event_types": ["bounce", "SEND", "BOUNCE"][:2], "cloud_watch_destination": block}
            }
        )
    )
    house.quiet()


def test_destinations_of_others_stay_until_the_set_goes(house: House) -> None:
    house.settle(main(event_destinations={"ours": destination()}))
    client("sesv2").create_configuration_set_event_destination(
        ConfigurationSetName="main",
        EventDestinationName="theirs",
        EventDestination={"Enabled": True, "MatchingEventTypes": ["SEND"], "SnsDestination": {"TopicArn": TOPIC}},
    )
    house.quiet()
    house.settle(main())
    assert set(live_destinations()) == {"theirs"}


def test_destinations_change_places_where_ses_takes_no_more(house: House) -> None:
    """10 a set: what goes goes first then."""
    house.settle(main(event_destinations={f"d{n}": destination() for n in range(10)}))
    house.sandbox.fault("delay", service="sesv2", operation="DeleteConfigurationSetEventDestination", seconds=0.3)
    house.settle(main(event_destinations={f"d{n}": destination() for n in range(3, 13)}))
    assert set(live_destinations()) == {f"d{n}" for n in range(3, 13)}
    changes = house.plan(main(event_destinations={f"d{n}": destination() for n in range(4, 14)})).changes
    picked = house.plan(targets=[f"event_destination/{HOME}/main/d13"]).changes
    assert {c.address for c in picked} == {c.address for c in changes}


def test_a_destination_deleted_by_hand_comes_back(house: House) -> None:
    house.settle(main(event_destinations={"d": destination()}))
    client("sesv2").delete_configuration_set_event_destination(ConfigurationSetName="main", EventDestinationName="d")
    assert of(house.plan(), f"event_destination/{HOME}/main/d").action == "create"
    house.settle()


# --- pools ---------------------------------------------------------------------------------------------------------


def test_standard_becomes_managed_and_never_back(house: House) -> None:
    pool = f"dedicated_ip_pool/{HOME}/tx"
    house.settle({"dedicated_ip_pools": {"tx": {"scaling_mode": "STANDARD"}}})
    plan = house.plan({"dedicated_ip_pools": {"tx": {"scaling_mode": "MANAGED"}}})
    assert lines(of(plan, pool)) == {"scaling_mode": ("STANDARD", "MANAGED")}
    assert any(n.rule == "pool-charges" for n in of(plan, pool).notes)
    house.settle()
    plan = house.plan({"dedicated_ip_pools": {"tx": {"scaling_mode": "STANDARD"}}})
    assert plan.outcome == "refused"
    assert any(d.code == "pool-way-back" and d.hint for d in plan.diagnostics)
    # A mode taken out stays as it is.
    house.write({"dedicated_ip_pools": {"tx": {}}})
    house.quiet()


def test_dedicated_ips_move_between_pools(house: House) -> None:
    house.sandbox.seed(dedicated_ips=[{"ip": f"192.0.2.{n}"} for n in (1, 2)])
    house.settle(
        {"dedicated_ip_pools": {"one": {"dedicated_ips": ["192.0.2.1"]}, "two": {"dedicated_ips": ["192.0.2.2"]}}}
    )
    house.settle(
        {"dedicated_ip_pools": {"one": {"dedicated_ips": ["192.0.2.2"]}, "two": {"dedicated_ips": ["192.0.2.1"]}}}
    )
    ses = client("sesv2")
    assert [i["Ip"] for i in ses.get_dedicated_ips(PoolName="one")["DedicatedIps"]] == ["192.0.2.2"]
    house.settle({"dedicated_ip_pools": {"one": {"dedicated_ips": []}, "two": {}}})
    assert ses.get_dedicated_ips(PoolName="one")["DedicatedIps"] == []
    house.settle({})
    assert {ses.get_dedicated_ip(Ip=f"192.0.2.{n}")["DedicatedIp"]["PoolName"] for n in (1, 2)} == {
        "ses-default-dedicated-pool"
    }


def test_a_pool_goes_after_the_sets_that_send_from_it(house: House) -> None:
    house.settle({"dedicated_ip_pools": {"tx": {}}, **main(delivery_options={"sending_pool_name": "tx"})})
    house.settle(main(delivery_options={"sending_pool_name": None}))
    assert client("sesv2").list_dedicated_ip_pools()["DedicatedIpPools"] == []
    house.settle({"dedicated_ip_pools": {"tx": {}}, **main(delivery_options={"sending_pool_name": "tx"})})
    house.settle({})


def test_a_pool_still_named_by_a_set_is_refused(house: House) -> None:
    house.settle({"dedicated_ip_pools": {"tx": {}}, **main(delivery_options={"sending_pool_name": "tx"})})
    plan = house.plan(main())
    assert plan.outcome == "refused", "\n".join(map(words, plan.changes))
    house.clear()
    assert house.cli("apply", "state.yaml", "--auto-approve").code == 3
    assert house.writes() == []


def test_a_managed_pool_says_that_charges_begin(house: House) -> None:
    plan = house.plan({"dedicated_ip_pools": {"tx": {"scaling_mode": "managed"}}})
    assert any(n.rule == "pool-charges" for n in plan.changes[0].notes)
    house.settle()


def test_protected_sets_and_pools_are_not_deleted(house: House) -> None:
    document = {
        "dedicated_ip_pools": {"tx": {"protect": True}},
        **main(protect=True, event_destinations={"d": destination()}),
    }
    house.settle(document)
    plan = house.plan({})
    assert plan.outcome == "refused"
    assert {c.refused.code if c.refused else c.address for c in plan.changes} == {"protect"}


def test_an_address_passes_from_a_pool_that_goes_to_one_that_comes(house: House) -> None:
    house.sandbox.seed(dedicated_ips=[{"ip": "192.0.2.1"}])
    house.settle({"dedicated_ip_pools": {"old": {"dedicated_ips": ["192.0.2.1"]}}})
    house.settle({"dedicated_ip_pools": {"new": {"dedicated_ips": ["192.0.2.1"]}}})
    assert client("sesv2").get_dedicated_ip(Ip="192.0.2.1")["DedicatedIp"]["PoolName"] == "new"


def test_the_old_tracking_record_stays_until_ses_takes_the_new_one(house: House) -> None:
    house.seed_zone()
    house.seed_zone("new.example", {})
    house.settle(tracked(custom_redirect_domain="click.acme.com"))
    house.sandbox.settings(verification_delay=3600.0)
    document = merge(tracked(custom_redirect_domain="click.new.example"), {"domains": {"new.example": {"dkim": {}}}})
    result = house.apply(document, expect="verify_timeout", verify_timeout=0.1)
    assert {a.status for a in result.applied if "click.acme.com" in a.address} == {"waiting"}
    assert ("click.acme.com", "CNAME") in house.zone()
    house.sandbox.advance(7200)
    house.settle(document)
    assert ("click.acme.com", "CNAME") not in house.zone()
    assert house.set()["TrackingOptions"]["CustomRedirectDomain"] == "click.new.example"
    house.destroy()
    house.check_foreign(alone=True)
