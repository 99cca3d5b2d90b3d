"""Faults, rates and what else goes wrong on purpose; moto's gaps that the sandbox closes; concurrency and speed."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
)
from test_sandbox_support import client, code_of, entry, fresh, message_of

from reconciler.sandbox import Sandbox, gateway
from reconciler.sandbox.faults import Rates, TokenBucket

LOST = (ConnectionClosedError, EndpointConnectionError, HTTPClientError)


@pytest.fixture
def sandbox() -> Sandbox:
    return fresh()


def create(name: str) -> Any:
    return client("sesv2").create_email_identity(EmailIdentity=name)


def names() -> list[str]:
    return [i["IdentityName"] for i in client("sesv2").list_email_identities()["EmailIdentities"]]


@pytest.mark.parametrize(
    ("service", "call", "code"),
    [
        ("sesv2", lambda: client("sesv2").get_account(), ("TooManyRequestsException", 429)),
        ("ses", lambda: client("ses").list_identities(), ("Throttling", 400)),
        ("route53", lambda: client("route53").list_hosted_zones(), ("Throttling", 400)),
        ("iam", lambda: client("iam").list_users(), ("Throttling", 400)),
        ("secretsmanager", lambda: client("secretsmanager").list_secrets(), ("ThrottlingException", 400)),
        ("ssm", lambda: client("ssm").get_parameter(Name="x"), ("ThrottlingException", 400)),
        ("s3", lambda: client("s3").list_buckets(), ("SlowDown", 503)),
        ("resourcegroupstaggingapi", lambda: client("resourcegroupstaggingapi").get_resources(),
         ("ThrottledException", 400)),
    ],
)  # fmt: skip
def test_each_service_throttles_in_its_own_words(
    sandbox: Sandbox, service: str, call: Any, code: tuple[str, int]
) -> None:
    sandbox.fault("throttle", service=service)
    assert code_of(call) == code
    assert sandbox.calls(service=service)[0]["error"] == code[0]


def test_skip_and_count(sandbox: Sandbox) -> None:
    sandbox.fault("throttle", operation="CreateEmail*", skip=1, count=2)
    create("a.com")
    for _ in range(2):
        assert code_of(lambda: create("b.com"))[0] == "TooManyRequestsException"
    create("b.com")
    assert names() == ["a.com", "b.com"]


def test_faults_can_be_aimed(sandbox: Sandbox) -> None:
    sandbox.fault("denied", region="eu-*", count=None)
    sandbox.fault("error", contains="b.com", code="ConcurrentModificationException", status=500, message="busy")
    create("a.com")
    assert code_of(lambda: create("b.com")) == ("ConcurrentModificationException", 500)
    create("b.com")
    for _ in range(3):
        assert code_of(client("sesv2", "eu-west-1").get_account) == ("AccessDeniedException", 403)
    sandbox.clear_faults()
    client("sesv2", "eu-west-1").get_account()


def test_a_lost_answer_was_carried_out(sandbox: Sandbox) -> None:
    sandbox.fault("lost", operation="CreateEmailIdentity")
    with pytest.raises(LOST):
        create("a.com")
    assert names() == ["a.com"]
    assert sandbox.calls(operation="CreateEmailIdentity")[0]["error"] == "lost"
    assert code_of(lambda: create("a.com"))[0] == "AlreadyExistsException"


def test_a_lost_access_key_exists(sandbox: Sandbox) -> None:
    iam = client("iam")
    iam.create_user(UserName="u")
    sandbox.fault("lost", operation="CreateAccessKey")
    with pytest.raises(LOST):
        iam.create_access_key(UserName="u")
    assert len(iam.list_access_keys(UserName="u")["AccessKeyMetadata"]) == 1


def test_a_reset_connection_did_nothing(sandbox: Sandbox) -> None:
    sandbox.fault("reset", operation="CreateEmailIdentity")
    with pytest.raises(LOST):
        create("a.com")
    assert names() == []


def test_a_delay(sandbox: Sandbox) -> None:
    sandbox.fault("delay", seconds=0.2, operation="CreateEmailIdentity")
    begun = time.monotonic()
    create("a.com")
    assert time.monotonic() - begun >= 0.2


def test_botocore_s_retries_get_through(sandbox: Sandbox) -> None:
    sandbox.fault("throttle", operation="GetAccount", count=2)
    retrying = sandbox.client("sesv2", retries={"total_max_attempts": 4, "mode": "standard"})
    retrying.get_account()
    assert [c["status"] for c in sandbox.calls(operation="GetAccount")] == [429, 429, 200]


# --- rates ---------------------------------------------------------------------------------------------------------


def test_bucket() -> None:
    bucket = TokenBucket(rate=2.0, burst=2.0)
    assert [bucket.take(t) for t in (0.0, 0.0, 0.0, 0.5, 0.5, 1.46)] == [True, True, False, True, False, True]


@pytest.mark.parametrize(
    ("limits", "calls", "allowed"),
    [
        ({"ses": 1.0}, [("sesv2", "a", "r1"), ("ses", "a", "r1")], [True, False]),
        ({"ses": 1.0}, [("sesv2", "a", "r1"), ("sesv2", "a", "r2"), ("sesv2", "b", "r1")], [True, True, True]),
        ({"ses": 1.0, "sesv2": 1.0}, [("sesv2", "a", "r1"), ("ses", "a", "r1")], [True, True]),
        ({"route53": 1.0}, [("route53", "a", "r1"), ("route53", "a", "r2")], [True, False]),
        ({"route53": 5.0}, [("route53", "a", "r1")] * 6, [True] * 5 + [False]),
        ({"ses": {"rate": 1, "burst": 3}}, [("sesv2", "a", "r")] * 4, [True] * 3 + [False]),
        ({"ses": None}, [("sesv2", "a", "r")] * 4, [True] * 4),
        ({}, [("iam", "a", "r")] * 4, [True] * 4),
    ],
)
def test_rates(limits: dict[str, Any], calls: list[tuple[str, str, str]], allowed: list[bool]) -> None:
    rates = Rates()
    rates.set(limits)
    assert [rates.allows(s, "GetX", a, r, 0.0) for s, a, r in calls] == allowed


def test_rates_per_action_and_scaled() -> None:
    rates = Rates()
    rates.set({"ses": {"rate": 1, "per": "action"}}, time_scale=10.0)
    seen = [rates.allows("sesv2", op, "a", "r", at) for op, at in (("A", 0), ("B", 0), ("A", 0), ("A", 0.1))]
    assert seen == [True, True, False, True]
    assert all(rates.allows("sesv2", "SendEmail", "a", "r", 0) for _ in range(3))


class Still:
    """``time`` for the sandbox's rates: it passes only where the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic


def test_aws_s_rates(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Still()
    monkeypatch.setattr(gateway, "time", clock)
    sandbox.rates("aws")
    ses, route53 = client("sesv2"), client("route53")
    ses.get_account()
    assert code_of(ses.get_account)[0] == "TooManyRequestsException"
    assert code_of(client("ses").list_identities)[0] == "Throttling"
    client("sesv2", "eu-west-1").get_account()
    answers = []
    for _ in range(8):
        try:
            route53.list_hosted_zones()
            answers.append("ok")
        except route53.exceptions.ClientError as error:
            answers.append(error.response["Error"]["Code"])
    assert answers == ["ok"] * 5 + ["Throttling"] * 3
    clock.now += 1.0
    ses.get_account()
    sandbox.rates(None)
    for _ in range(3):
        ses.get_account()


# --- moto, made stricter -------------------------------------------------------------------------------------------


def test_secrets_scheduled_for_deletion(sandbox: Sandbox) -> None:
    secrets = client("secretsmanager")
    token = "k" * 40
    secrets.create_secret(Name="recon/n", SecretString="1", ClientRequestToken=token)
    secrets.put_secret_value(SecretId="recon/n", SecretString="1", ClientRequestToken=token)
    assert secrets.describe_secret(SecretId="recon/n")["VersionIdsToStages"] == {token: ["AWSCURRENT"]}
    other = lambda: secrets.put_secret_value(SecretId="recon/n", SecretString="2", ClientRequestToken=token)  # noqa: E731
    assert code_of(other)[0] == "ResourceExistsException"
    secrets.delete_secret(SecretId="recon/n")
    refused = (
        lambda: secrets.create_secret(Name="recon/n", SecretString="1"),
        lambda: secrets.put_secret_value(SecretId="recon/n", SecretString="2"),
        lambda: secrets.tag_resource(SecretId="recon/n", Tags=[{"Key": "a", "Value": "b"}]),
        lambda: secrets.get_secret_value(SecretId="recon/n"),
    )
    for call in refused:
        assert code_of(call) == ("InvalidRequestException", 400)
    secrets.restore_secret(SecretId="recon/n")
    secrets.put_secret_value(SecretId="recon/n", SecretString="2")


def test_s3_conditional_puts(sandbox: Sandbox) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket="locks")
    put = lambda **given: s3.put_object(Bucket="locks", Key="mail/lock", Body=b"{}", **given)  # noqa: E731
    tag = put(IfNoneMatch="*")["ETag"]
    assert code_of(lambda: put(IfNoneMatch="*")) == ("PreconditionFailed", 412)
    assert code_of(lambda: put(IfMatch='"other"')) == ("PreconditionFailed", 412)
    put(IfMatch=tag)
    assert s3.get_object(Bucket="locks", Key="mail/lock")["Body"].read() == b"{}"
    assert sandbox.calls(service="s3", operation="PutObject")[0]["params"] == {"Bucket": "locks", "Key": "mail/lock"}
    s3.delete_object(Bucket="locks", Key="mail/lock")


def test_large_bodies_and_odd_names(sandbox: Sandbox) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket="big")
    body = bytes(range(256)) * 4096
    s3.put_object(Bucket="big", Key="a b/ü+%.bin", Body=body)
    assert s3.get_object(Bucket="big", Key="a b/ü+%.bin")["Body"].read() == body
    assert s3.head_object(Bucket="big", Key="a b/ü+%.bin")["ContentLength"] == len(body)


# --- together ------------------------------------------------------------------------------------------------------


def test_many_threads(sandbox: Sandbox) -> None:
    """Each of eight threads with its own connection makes and tags its identities; none is lost or doubled."""
    shared = sandbox.client("sesv2", max_pool_connections=8)
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            for n in range(20):
                shared.create_email_identity(EmailIdentity=f"t{number}-{n}.example", Tags=[{"Key": "t", "Value": "1"}])
        except (BotoCoreError, ClientError) as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(names()) == 160
    assert len(sandbox.calls(operation="CreateEmailIdentity", status="200")) == 160


def test_two_creates_race_for_one_record(sandbox: Sandbox) -> None:
    zone = sandbox.seed(zones=[{"name": "acme.com"}])["zones"]["acme.com"]
    shared, seen = sandbox.client("route53", max_pool_connections=8), []
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        change = entry("CREATE", "x.acme.com", "A", f"192.0.2.{number}")
        try:
            shared.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [change]})
            seen.append("made")
        except shared.exceptions.InvalidChangeBatch:
            seen.append("refused")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == ["made"] + ["refused"] * 7


def test_validation_speaks_as_aws_does(sandbox: Sandbox) -> None:
    found = message_of(
        lambda: client("sesv2").put_email_identity_mail_from_attributes(
            EmailIdentity="acme.com", BehaviorOnMxFailure="EXPLODE"
        )
    )
    assert found.startswith("1 validation error detected: Value 'EXPLODE' at 'behaviorOnMxFailure' failed to satisfy")
    assert "enum value set: [USE_DEFAULT_VALUE, REJECT_MESSAGE]" in found
    assert "must not be null" in message_of(lambda: client("sesv2").create_email_identity())
    assert code_of(lambda: client("route53").create_hosted_zone(Name="acme.com"))[0] == "InvalidInput"


def test_answers_enough_requests_a_second(sandbox: Sandbox) -> None:
    """Simple reads over one kept connection; the bound is far below what an idle core does. The best of three tries
    counts: on a busy machine even the time of the processor varies."""
    import http.client

    create("acme.com")
    connection = http.client.HTTPConnection(sandbox.url.removeprefix("http://"))
    scope = "AWS4-HMAC-SHA256 Credential=AKIA/20261122/us-east-1/ses/aws4_request, SignedHeaders=x, Signature=y"
    spent: list[float] = []
    while len(spent) < 3 and min(spent, default=1.0) >= 1.0:
        begun = time.process_time()
        for _ in range(200):
            connection.request("GET", "/v2/email/identities/acme.com", headers={"Authorization": scope})
            assert connection.getresponse().read()
        spent.append(time.process_time() - begun)
    connection.close()
    assert min(spent) < 1.0


def test_config_reaches_the_client(sandbox: Sandbox) -> None:
    config: Config = sandbox.client("sesv2", read_timeout=3).meta.config
    assert (config.read_timeout, config.retries["total_max_attempts"]) == (3, 1)


def test_a_defect_is_shown_to_the_caller(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    from reconciler.sandbox.sesv2 import SesV2

    def broken(*_: Any) -> Any:
        raise RuntimeError("a defect of the sandbox")

    monkeypatch.setattr(SesV2, "get_account", broken)
    assert code_of(client("sesv2").get_account)[1] == 500
    monkeypatch.undo()
    client("sesv2").get_account()
    assert [c["status"] for c in sandbox.calls()] == [0, 200]
