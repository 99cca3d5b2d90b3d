"""Configuration sets, destinations, pools, the account and the suppression list in the sandbox."""

from __future__ import annotations

from typing import Any

import pytest
from test_sandbox_support import client, code_of, fresh, message_of

from reconciler.sandbox import Sandbox

TOPIC = "arn:aws:sns:us-east-1:111122223333:feedback"
SNS = {"SnsDestination": {"TopicArn": TOPIC}}


@pytest.fixture
def sandbox() -> Sandbox:
    return fresh()


@pytest.fixture
def ses(sandbox: Sandbox) -> Any:
    return client("sesv2")


@pytest.fixture
def tx(ses: Any) -> Any:
    ses.create_configuration_set(ConfigurationSetName="tx")
    return ses


def get(ses: Any, name: str = "tx") -> dict[str, Any]:
    found: dict[str, Any] = ses.get_configuration_set(ConfigurationSetName=name)
    del found["ResponseMetadata"]
    return found


BARE = {
    "ConfigurationSetName": "tx",
    "ReputationOptions": {"ReputationMetricsEnabled": False}, "SendingOptions": {"SendingEnabled": True}, "Tags": [],
}  # fmt: skip


def test_a_bare_set(tx: Any) -> None:
    assert get(tx) == BARE
    assert code_of(lambda: tx.create_configuration_set(ConfigurationSetName="tx")) == ("AlreadyExistsException", 400)
    assert code_of(lambda: get(tx, "nope")) == ("NotFoundException", 404)


@pytest.mark.parametrize("name", ["a b", "a.b", "x" * 65, "ü"])
def test_bad_set_names(ses: Any, name: str) -> None:
    assert code_of(lambda: ses.create_configuration_set(ConfigurationSetName=name))[0] == "BadRequestException"


def test_reputation_default_can_be_the_other_one(sandbox: Sandbox, ses: Any) -> None:
    sandbox.settings(doubt_reputation_metrics_default=True)
    ses.create_configuration_set(ConfigurationSetName="tx")
    assert get(ses)["ReputationOptions"]["ReputationMetricsEnabled"] is True


def test_everything_at_creation(sandbox: Sandbox, ses: Any) -> None:
    sandbox.seed(zones=[{"name": "acme.com"}], identities=[{"names": ["acme.com"], "publish": True}])
    ses.create_dedicated_ip_pool(PoolName="tx")
    given = {
        "DeliveryOptions": {"TlsPolicy": "REQUIRE", "SendingPoolName": "tx", "MaxDeliverySeconds": 3600},
        "ReputationOptions": {"ReputationMetricsEnabled": True},
        "SendingOptions": {"SendingEnabled": False},
        "SuppressionOptions": {"SuppressedReasons": []},
        "TrackingOptions": {"CustomRedirectDomain": "click.acme.com", "HttpsPolicy": "REQUIRE"},
        "VdmOptions": {"DashboardOptions": {"EngagementMetrics": "ENABLED"}},
        "ArchivingOptions": {"ArchiveArn": "arn:aws:ses:us-east-1:111122223333:mailmanager-archive/a-" + "x" * 30},
        "Tags": [{"Key": "tier", "Value": "gold"}],
    }
    ses.create_configuration_set(ConfigurationSetName="tx", **given)
    assert get(ses) == {"ConfigurationSetName": "tx", **given}


def put(ses: Any, block: str, **fields: Any) -> None:
    getattr(ses, f"put_configuration_set_{block}_options")(ConfigurationSetName="tx", **fields)


@pytest.mark.parametrize(
    ("block", "shown", "first", "second", "left"),
    [
        ("delivery", "DeliveryOptions", {"TlsPolicy": "REQUIRE", "MaxDeliverySeconds": 300},
         {"MaxDeliverySeconds": 600},
         {"TlsPolicy": "OPTIONAL", "MaxDeliverySeconds": 600}),
        ("delivery", "DeliveryOptions", {"SendingPoolName": "ses-shared-pool"}, {}, None),
        ("sending", "SendingOptions", {"SendingEnabled": True}, {}, {"SendingEnabled": False}),
        ("suppression", "SuppressionOptions", {"SuppressedReasons": ["COMPLAINT", "BOUNCE"]}, {"SuppressedReasons": []},
         {"SuppressedReasons": []}),
        ("suppression", "SuppressionOptions", {"SuppressedReasons": []}, {}, None),
        ("suppression", "SuppressionOptions", {"SuppressedReasons": ["BOUNCE"]}, {"SuppressionScope": "TENANT"},
         {"SuppressionScope": "TENANT"}),
        ("vdm", "VdmOptions", {"VdmOptions": {"DashboardOptions": {"EngagementMetrics": "ENABLED"}}},
         {"VdmOptions": {"GuardianOptions": {"OptimizedSharedDelivery": "ENABLED"}}},
         {"GuardianOptions": {"OptimizedSharedDelivery": "ENABLED"}}),
        ("archiving", "ArchivingOptions",
         {"ArchiveArn": "arn:aws:ses:us-east-1:111122223333:mailmanager-archive/a-" + "x" * 30}, {}, None),
    ],
)  # fmt: skip
def test_a_put_replaces_its_block(
    tx: Any, block: str, shown: str, first: dict[str, Any], second: dict[str, Any], left: dict[str, Any] | None
) -> None:
    put(tx, block, **first)
    put(tx, block, **second)
    assert get(tx).get(shown) == left
    assert {k: v for k, v in get(tx).items() if k != shown} == {k: v for k, v in BARE.items() if k != shown}


def test_reputation_metrics_note_their_fresh_start(tx: Any) -> None:
    put(tx, "reputation", ReputationMetricsEnabled=True)
    found = get(tx)["ReputationOptions"]
    assert found["ReputationMetricsEnabled"] is True
    assert found["LastFreshStart"]
    put(tx, "reputation")
    assert get(tx)["ReputationOptions"]["ReputationMetricsEnabled"] is False


@pytest.mark.parametrize(
    ("block", "fields"),
    [
        ("delivery", {"SendingPoolName": "unknown"}),
        ("delivery", {"SendingPoolName": ""}),
        ("delivery", {"MaxDeliverySeconds": 299}),
        ("delivery", {"MaxDeliverySeconds": 50401}),
        ("delivery", {"TlsPolicy": "MAYBE"}),
        ("tracking", {"HttpsPolicy": "REQUIRE"}),
        ("tracking", {"CustomRedirectDomain": "click.acme.com"}),
        ("suppression", {"SuppressedReasons": ["SPAM"]}),
        ("archiving", {"ArchiveArn": "arn:aws:ses:us-east-1:111122223333:archive/x"}),
    ],
)
def test_refused_options(tx: Any, block: str, fields: dict[str, Any]) -> None:
    assert code_of(lambda: put(tx, block, **fields)) == ("BadRequestException", 400)
    assert get(tx) == BARE


def test_tracking_domain_must_be_verified(sandbox: Sandbox, tx: Any) -> None:
    sandbox.seed(zones=[{"name": "acme.com"}])
    tx.create_email_identity(EmailIdentity="acme.com")
    click = {"CustomRedirectDomain": "click.acme.com"}
    assert "not verified" in message_of(lambda: put(tx, "tracking", **click))
    tx.delete_email_identity(EmailIdentity="acme.com")
    sandbox.seed(identities=[{"names": ["acme.com"], "publish": True}])
    put(tx, "tracking", **click)
    assert get(tx)["TrackingOptions"] == {**click, "HttpsPolicy": "OPTIONAL"}
    put(tx, "tracking")
    assert "TrackingOptions" not in get(tx)


def test_message_security_by_update(tx: Any) -> None:
    options = {"SigningScheme": {"DefaultScheme": {}}}
    shape = tx.meta.service_model.operation_model("UpdateConfigurationSet").input_shape
    kinds = shape.members["MessageSecurityOptions"].members["SigningScheme"].members
    options = {"SigningScheme": {next(iter(kinds)): {}}}
    tx.update_configuration_set(ConfigurationSetName="tx", MessageSecurityOptions=options)
    assert get(tx)["MessageSecurityOptions"] == options


def test_list_sets(ses: Any) -> None:
    for name in ("b", "a", "c"):
        ses.create_configuration_set(ConfigurationSetName=name)
    first = ses.list_configuration_sets(PageSize=2)
    assert first["ConfigurationSets"] == ["a", "b"]
    assert ses.list_configuration_sets(NextToken=first["NextToken"])["ConfigurationSets"] == ["c"]
    found = ses.list_configuration_sets(Filter={"CONFIGURATION_SET_NAME_CONTAINS": "B"})
    assert found["ConfigurationSets"] == ["b"]


# --- destinations --------------------------------------------------------------------------------------------------


def destination(ses: Any, name: str = "d", verb: str = "create", **definition: Any) -> None:
    given = {"MatchingEventTypes": ["SEND"], **definition}
    getattr(ses, f"{verb}_configuration_set_event_destination")(
        ConfigurationSetName="tx", EventDestinationName=name, EventDestination=given
    )


def destinations(ses: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ses.get_configuration_set_event_destinations(ConfigurationSetName="tx")[
        "EventDestinations"
    ]
    return found


DIMENSION = {"DimensionName": "ses:from-domain", "DimensionValueSource": "MESSAGE_TAG",
             "DefaultDimensionValue": "acme.com"}  # fmt: skip
GOOD: list[dict[str, Any]] = [
    SNS,
    {"CloudWatchDestination": {"DimensionConfigurations": [DIMENSION]}},
    {"KinesisFirehoseDestination": {
        "IamRoleArn": "arn:aws:iam::111122223333:role/r",
        "DeliveryStreamArn": "arn:aws:firehose:us-east-1:111122223333:deliverystream/s"}},
    {"EventBridgeDestination": {"EventBusArn": "arn:aws:events:us-east-1:111122223333:event-bus/default"}},
]  # fmt: skip


@pytest.mark.parametrize("body", GOOD, ids=lambda b: next(iter(b)))
def test_destination_life(tx: Any, body: dict[str, Any]) -> None:
    destination(tx, MatchingEventTypes=["SEND", "BOUNCE", "SEND"], **body)
    wanted = {"Name": "d", "Enabled": False, "MatchingEventTypes": ["SEND", "BOUNCE"], **body}
    assert destinations(tx) == [wanted]
    assert code_of(lambda: destination(tx, **body)) == ("AlreadyExistsException", 400)
    destination(tx, verb="update", Enabled=True, MatchingEventTypes=["OPEN"], **body)
    assert destinations(tx) == [{**wanted, "Enabled": True, "MatchingEventTypes": ["OPEN"]}]
    delete = lambda: tx.delete_configuration_set_event_destination(  # noqa: E731
        ConfigurationSetName="tx", EventDestinationName="d"
    )
    delete()
    assert destinations(tx) == []
    assert code_of(delete) == ("NotFoundException", 404)
    assert code_of(lambda: destination(tx, verb="update", **body)) == ("NotFoundException", 404)


@pytest.mark.parametrize(
    ("name", "definition"),
    [
        ("d", {}),
        ("d", {**GOOD[0], **GOOD[1]}),
        ("d e", SNS),
        ("x" * 65, SNS),
        ("d", {**SNS, "MatchingEventTypes": []}),
        ("d", {**SNS, "MatchingEventTypes": ["EXPLODE"]}),
        ("d", {"SnsDestination": {"TopicArn": TOPIC.replace("us-east-1", "eu-west-1")}}),
        ("d", {"SnsDestination": {"TopicArn": "feedback"}}),
        ("d", {"EventBridgeDestination": {"EventBusArn": "arn:aws:events:us-east-1:111122223333:event-bus/own"}}),
        ("d", {"CloudWatchDestination": {"DimensionConfigurations": []}}),
        ("d", {"CloudWatchDestination": {"DimensionConfigurations": [DIMENSION, DIMENSION]}}),
        ("d", {"CloudWatchDestination": {"DimensionConfigurations": [{**DIMENSION, "DimensionName": "a b"}]}}),
        ("d", {"CloudWatchDestination": {"DimensionConfigurations": [
            {**DIMENSION, "DimensionName": f"d{n}"} for n in range(11)]}}),
        ("d", {"CloudWatchDestination": {"DimensionConfigurations": [{**DIMENSION, "DimensionValueSource": "MOON"}]}}),
        ("d", {"PinpointDestination": {}, "MatchingEventTypes": ["DELIVERY_DELAY"]}),
    ],
)  # fmt: skip
def test_refused_destinations(tx: Any, name: str, definition: dict[str, Any]) -> None:
    assert code_of(lambda: destination(tx, name, **definition)) == ("BadRequestException", 400)
    assert destinations(tx) == []


def test_ten_destinations_a_set(tx: Any) -> None:
    for n in range(10):
        destination(tx, f"d{n}", **SNS)
    assert code_of(lambda: destination(tx, "d10", **SNS)) == ("LimitExceededException", 400)


def test_topics_can_be_checked(sandbox: Sandbox, tx: Any) -> None:
    sandbox.settings(check_targets=True)
    assert code_of(lambda: destination(tx, **SNS))[0] == "BadRequestException"
    client("sns").create_topic(Name="feedback")
    destination(tx, **SNS)


def test_v1_describes_a_set_in_one_call(tx: Any) -> None:
    put(tx, "delivery", TlsPolicy="REQUIRE")
    destination(tx, "sns", MatchingEventTypes=["BOUNCE", "DELIVERY_DELAY"], Enabled=True, **SNS)
    destination(tx, "bus", **GOOD[3])
    found = client("ses").describe_configuration_set(
        ConfigurationSetName="tx",
        ConfigurationSetAttributeNames=["eventDestinations", "deliveryOptions", "reputationOptions", "trackingOptions"],
    )
    assert found["EventDestinations"] == [
        {"Name": "sns", "Enabled": True, "MatchingEventTypes": ["bounce"], "SNSDestination": {"TopicARN": TOPIC}}
    ]
    assert found["DeliveryOptions"] == {"TlsPolicy": "Require"}
    assert found["ReputationOptions"]["SendingEnabled"] is True
    assert client("ses").list_configuration_sets()["ConfigurationSets"] == [{"Name": "tx"}]
    assert code_of(lambda: client("ses").describe_configuration_set(ConfigurationSetName="no")) == (
        "ConfigurationSetDoesNotExist", 400,
    )  # fmt: skip


# --- pools ---------------------------------------------------------------------------------------------------------


def test_pool_life(ses: Any) -> None:
    tags = [{"Key": "recon:stack", "Value": "acme"}]
    ses.create_dedicated_ip_pool(PoolName="tx", Tags=tags)
    arn = "arn:aws:ses:us-east-1:111122223333:dedicated-ip-pool/tx"
    assert ses.list_tags_for_resource(ResourceArn=arn)["Tags"] == tags
    mode = lambda: ses.get_dedicated_ip_pool(PoolName="tx")["DedicatedIpPool"]["ScalingMode"]  # noqa: E731
    scale = lambda m: ses.put_dedicated_ip_pool_scaling_attributes(PoolName="tx", ScalingMode=m)  # noqa: E731
    assert mode() == "STANDARD"
    scale("MANAGED")
    assert mode() == "MANAGED"
    assert code_of(lambda: scale("STANDARD")) == ("BadRequestException", 400)
    assert ses.list_dedicated_ip_pools()["DedicatedIpPools"] == ["tx"]
    assert code_of(lambda: ses.create_dedicated_ip_pool(PoolName="tx")) == ("AlreadyExistsException", 400)
    assert code_of(lambda: ses.create_dedicated_ip_pool(PoolName="TX"))[0] == "BadRequestException"
    ses.delete_dedicated_ip_pool(PoolName="tx")
    assert code_of(mode) == ("NotFoundException", 404)


def test_fifty_pools(ses: Any) -> None:
    for n in range(50):
        ses.create_dedicated_ip_pool(PoolName=f"p{n}", ScalingMode="MANAGED" if n % 2 else "STANDARD")
    assert code_of(lambda: ses.create_dedicated_ip_pool(PoolName="more")) == ("LimitExceededException", 400)


def test_a_pool_in_use_is_not_deleted(sandbox: Sandbox, tx: Any) -> None:
    tx.create_dedicated_ip_pool(PoolName="p")
    put(tx, "delivery", SendingPoolName="p")
    delete = lambda: tx.delete_dedicated_ip_pool(PoolName="p")  # noqa: E731
    assert "used by configuration sets: tx" in message_of(delete)
    put(tx, "delivery")
    sandbox.seed(dedicated_ips=[{"ip": "192.0.2.1", "pool": "p"}])
    assert "still holds" in message_of(delete)
    tx.put_dedicated_ip_in_pool(Ip="192.0.2.1", DestinationPoolName="ses-default-dedicated-pool")
    delete()


def test_dedicated_ips(sandbox: Sandbox, ses: Any) -> None:
    sandbox.seed(dedicated_ips=[{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}])
    ses.create_dedicated_ip_pool(PoolName="p")
    ses.create_dedicated_ip_pool(PoolName="m", ScalingMode="MANAGED")
    ses.put_dedicated_ip_in_pool(Ip="192.0.2.2", DestinationPoolName="p")
    assert [i["Ip"] for i in ses.get_dedicated_ips(PoolName="p")["DedicatedIps"]] == ["192.0.2.2"]
    assert len(ses.get_dedicated_ips()["DedicatedIps"]) == 2
    found = ses.get_dedicated_ip(Ip="192.0.2.1")["DedicatedIp"]
    assert found == {
        "Ip": "192.0.2.1", "PoolName": "ses-default-dedicated-pool", "WarmupStatus": "DONE", "WarmupPercentage": 100,
    }  # fmt: skip
    move = lambda ip, pool: ses.put_dedicated_ip_in_pool(Ip=ip, DestinationPoolName=pool)  # noqa: E731
    assert code_of(lambda: move("192.0.2.9", "p")) == ("NotFoundException", 404)
    assert code_of(lambda: move("192.0.2.1", "none")) == ("NotFoundException", 404)
    assert code_of(lambda: move("192.0.2.1", "m"))[0] == "BadRequestException"
    ses.put_dedicated_ip_warmup_attributes(Ip="192.0.2.1", WarmupPercentage=10)
    assert ses.get_dedicated_ip(Ip="192.0.2.1")["DedicatedIp"]["WarmupStatus"] == "IN_PROGRESS"
    assert code_of(lambda: ses.get_dedicated_ips(PoolName="none")) == ("NotFoundException", 404)


# --- account -------------------------------------------------------------------------------------------------------


def test_account(sandbox: Sandbox, ses: Any) -> None:
    found = ses.get_account()
    assert found["SuppressionAttributes"]["SuppressedReasons"] == ["BOUNCE", "COMPLAINT"]
    assert (found["SendingEnabled"], found["EnforcementStatus"], found["ProductionAccessEnabled"]) == (
        True, "HEALTHY", True,
    )  # fmt: skip
    assert "VdmAttributes" not in found
    assert found["DeliveryAttributes"] == {"SharedPoolDeliveryMode": "GLOBAL"}
    ses.put_account_sending_attributes(SendingEnabled=False)
    ses.put_account_suppression_attributes(SuppressedReasons=["COMPLAINT"])
    vdm = {"VdmEnabled": "ENABLED", "DashboardAttributes": {"EngagementMetrics": "ENABLED"}}
    ses.put_account_vdm_attributes(VdmAttributes=vdm)
    ses.put_account_details(MailType="TRANSACTIONAL", WebsiteURL="https://acme.com")
    sandbox.seed(accounts=[{"production_access": False, "enforcement": "PROBATION", "quota": {"MaxSendRate": 1.0}}])
    found = ses.get_account()
    assert found["SendingEnabled"] is False
    assert found["SuppressionAttributes"]["SuppressedReasons"] == ["COMPLAINT"]
    assert found["VdmAttributes"] == {**vdm, "GuardianAttributes": {"OptimizedSharedDelivery": "DISABLED"}}
    with pytest.raises(ses.exceptions.ConflictException):
        ses.put_account_details(MailType="TRANSACTIONAL", WebsiteURL="https://acme.com")
    ses.put_account_vdm_attributes(VdmAttributes={"VdmEnabled": "DISABLED"})
    assert ses.get_account()["VdmAttributes"] == {"VdmEnabled": "DISABLED"}
    with pytest.raises(ses.exceptions.BadRequestException):
        client("sesv2", "eu-west-1").put_account_details(MailType="MARKETING", WebsiteURL="acme")
    ses.put_account_suppression_attributes()
    assert ses.get_account()["SuppressionAttributes"]["SuppressedReasons"] == []
    assert (found["ProductionAccessEnabled"], found["EnforcementStatus"]) == (False, "PROBATION")
    assert (found["SendQuota"]["MaxSendRate"], found["Details"]["MailType"]) == (1.0, "TRANSACTIONAL")
    assert client("sesv2", "eu-west-1").get_account()["SendingEnabled"] is True
    ses.put_account_sending_attributes()
    assert ses.get_account()["SendingEnabled"] is False


def test_suppression_list(sandbox: Sandbox, ses: Any) -> None:
    sandbox.seed(suppressed=[{"addresses": [f"u{n}@example.com" for n in range(2500)], "reason": "COMPLAINT"}])
    ses.put_suppressed_destination(EmailAddress="One@Example.com", Reason="BOUNCE")
    assert ses.get_suppressed_destination(EmailAddress="one@example.com")["SuppressedDestination"]["Reason"] == "BOUNCE"
    seen, token = 0, {}
    while True:
        found = ses.list_suppressed_destinations(**token)
        seen += len(found["SuppressedDestinationSummaries"])
        if "NextToken" not in found:
            break
        token = {"NextToken": found["NextToken"]}
    assert seen == 2501
    bounces = ses.list_suppressed_destinations(Reasons=["BOUNCE"])["SuppressedDestinationSummaries"]
    assert [b["EmailAddress"] for b in bounces] == ["one@example.com"]
    ses.delete_suppressed_destination(EmailAddress="one@example.com")
    again = lambda: ses.delete_suppressed_destination(EmailAddress="one@example.com")  # noqa: E731
    assert code_of(again) == ("NotFoundException", 404)
    assert client("sesv2", "eu-west-1").list_suppressed_destinations()["SuppressedDestinationSummaries"] == []


def test_sending(sandbox: Sandbox, tx: Any) -> None:
    sandbox.seed(
        zones=[{"name": "acme.com"}],
        identities=[{"names": ["acme.com"], "publish": True, "configuration_set": "tx"}],
    )
    text = {"Subject": {"Data": "s"}, "Body": {"Text": {"Data": "t"}}}
    send = lambda sender, **more: tx.send_email(  # noqa: E731
        FromEmailAddress=sender, Destination={"ToAddresses": ["a@example.com"]}, Content={"Simple": text}, **more
    )
    assert send("News <news@mail.acme.com>")["MessageId"]
    assert "not verified" in message_of(lambda: send("x@other.com"))
    put(tx, "sending", SendingEnabled=False)
    assert code_of(lambda: send("news@acme.com"))[0] == "SendingPausedException"
    tx.delete_configuration_set(ConfigurationSetName="tx")
    assert code_of(lambda: send("news@acme.com"))[0] == "BadRequestException"


def test_doubt_delivery_options_shown(sandbox: Sandbox, tx: Any) -> None:
    sandbox.settings(doubt_delivery_options_shown=True)
    assert get(tx)["DeliveryOptions"] == {"TlsPolicy": "OPTIONAL"}
    put(tx, "delivery", TlsPolicy="REQUIRE")
    assert get(tx)["DeliveryOptions"] == {"TlsPolicy": "REQUIRE"}


def test_v1_writes_meet_v2_reads(sandbox: Sandbox, ses: Any) -> None:
    v1 = client("ses")
    sandbox.seed(zones=[{"name": "acme.com"}], identities=[{"names": ["acme.com"], "publish": True}])
    make = lambda: v1.create_configuration_set(ConfigurationSet={"Name": "tx"})  # noqa: E731
    make()
    assert code_of(make)[0] == "ConfigurationSetAlreadyExists"
    v1.put_configuration_set_delivery_options(ConfigurationSetName="tx", DeliveryOptions={"TlsPolicy": "Require"})
    v1.update_configuration_set_sending_enabled(ConfigurationSetName="tx", Enabled=False)
    v1.update_configuration_set_reputation_metrics_enabled(ConfigurationSetName="tx", Enabled=True)
    track = lambda verb, domain: getattr(v1, f"{verb}_configuration_set_tracking_options")(  # noqa: E731
        ConfigurationSetName="tx", TrackingOptions={"CustomRedirectDomain": domain}
    )
    assert code_of(lambda: track("update", "click.acme.com"))[0] == "TrackingOptionsDoesNotExistException"
    assert code_of(lambda: track("create", "click.other.com"))[0] == "InvalidTrackingOptions"
    track("create", "click.acme.com")
    assert code_of(lambda: track("create", "click.acme.com"))[0] == "TrackingOptionsAlreadyExistsException"
    given = {"Name": "d", "Enabled": True, "MatchingEventTypes": ["bounce"], "SNSDestination": {"TopicARN": TOPIC}}
    send = lambda verb: getattr(v1, f"{verb}_configuration_set_event_destination")(  # noqa: E731
        ConfigurationSetName="tx", EventDestination=given
    )
    assert code_of(lambda: send("update"))[0] == "EventDestinationDoesNotExist"
    send("create")
    send("update")
    assert code_of(lambda: send("create"))[0] == "EventDestinationAlreadyExists"
    found = get(ses)
    assert found["DeliveryOptions"] == {"TlsPolicy": "REQUIRE"}
    assert found["SendingOptions"] == {"SendingEnabled": False}
    assert found["TrackingOptions"]["CustomRedirectDomain"] == "click.acme.com"
    assert destinations(ses) == [{"Name": "d", "Enabled": True, "MatchingEventTypes": ["BOUNCE"], **SNS}]
    v1.delete_configuration_set_event_destination(ConfigurationSetName="tx", EventDestinationName="d")
    v1.delete_configuration_set_tracking_options(ConfigurationSetName="tx")
    v1.delete_configuration_set(ConfigurationSetName="tx")
    assert code_of(lambda: v1.delete_configuration_set(ConfigurationSetName="tx"))[0] == "ConfigurationSetDoesNotExist"
