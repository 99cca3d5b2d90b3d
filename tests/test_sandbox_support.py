"""Shared by the sandbox's tests: one sandbox per test module's process, clients kept, errors as short codes.

Also tests the Python and HTTP faces of the sandbox itself.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from reconciler.sandbox import Sandbox, environment

ZONE = "acme.com"


@lru_cache(maxsize=1)
def running() -> Sandbox:
    """The one sandbox of this process; it dies with it."""
    return Sandbox()


@lru_cache(maxsize=64)
def client(service: str, region: str = "us-east-1", access_key: str = "AKIASANDBOXSANDBOX00") -> Any:
    """A client that sends what it is given, so that the sandbox's own checks are seen."""
    return running().client(service, region, access_key=access_key, parameter_validation=False)


def fresh() -> Sandbox:
    """The sandbox, emptied."""
    running().reset()
    return running()


def code_of(call: Callable[[], Any]) -> tuple[str, int]:
    """The AWS error code and HTTP status of a call that must fail."""
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response["Error"]["Code"], caught.value.response["ResponseMetadata"]["HTTPStatusCode"]


def message_of(call: Callable[[], Any]) -> str:
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Message"])


def change(zone: str, action: str, name: str, kind: str, *values: str, ttl: int = 300, **more: Any) -> Any:
    """One change to one record set."""
    return client("route53").change_resource_record_sets(
        HostedZoneId=zone, ChangeBatch={"Changes": [entry(action, name, kind, *values, ttl=ttl, **more)]}
    )


def entry(action: str, name: str, kind: str, *values: str, ttl: int = 300, **more: Any) -> dict[str, Any]:
    record = {"Name": name, "Type": kind, "TTL": ttl, "ResourceRecords": [{"Value": v} for v in values], **more}
    return {"Action": action, "ResourceRecordSet": record}


def publish_dkim(zone: str, identity: str, region: str = "us-east-1") -> None:
    """Put an identity's DKIM CNAMEs into a zone."""
    found = client("sesv2", region).get_email_identity(EmailIdentity=identity)["DkimAttributes"]
    for token in found["Tokens"]:
        change(zone, "UPSERT", f"{token}._domainkey.{identity}", "CNAME", f"{token}.{found['SigningHostedZone']}")


# --- the sandbox itself --------------------------------------------------------------------------------------------


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    yield fresh()


def admin(sandbox: Sandbox, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(sandbox.url.removeprefix("http://"))
    connection.request(method, path, body=None if body is None else json.dumps(body))
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def test_environment_points_clients_at_the_sandbox(sandbox: Sandbox) -> None:
    found = sandbox.environment(region="eu-west-1")
    assert found["AWS_ENDPOINT_URL"] == sandbox.url
    assert found["AWS_REGION"] == "eu-west-1"
    assert found["RECON_RATES"] == "off"
    assert set(found) == set(environment("http://127.0.0.1:1"))


def test_admin_api_over_http(sandbox: Sandbox) -> None:
    assert admin(sandbox, "GET", "/_sandbox/health") == (200, {"status": "ok"})
    status, made = admin(sandbox, "POST", "/_sandbox/seed", {"zones": [{"name": "acme.com", "id": "Z1"}]})
    assert (status, made["zones"]) == (200, {"acme.com": "Z1"})
    client("sesv2").create_email_identity(EmailIdentity="acme.com")
    status, found = admin(sandbox, "GET", "/_sandbox/calls?service=sesv2&operation=Create*")
    assert status == 200
    assert [call["params"] for call in found["calls"]] == [{"EmailIdentity": "acme.com"}]
    assert admin(sandbox, "DELETE", "/_sandbox/calls")[0] == 200
    assert admin(sandbox, "GET", "/_sandbox/calls")[1] == {"calls": []}
    assert admin(sandbox, "POST", "/_sandbox/clock", {"advance": 5})[0] == 200
    assert admin(sandbox, "GET", "/_sandbox/clock")[1]["offset"] == 5
    assert admin(sandbox, "POST", "/_sandbox/settings", {"insync_delay": 3})[1]["insync_delay"] == 3.0
    assert admin(sandbox, "POST", "/_sandbox/faults", {"do": "throttle"})[1] == {"faults": 1}
    assert admin(sandbox, "GET", "/_sandbox/faults")[1]["faults"][0]["do"] == "throttle"
    assert admin(sandbox, "DELETE", "/_sandbox/faults")[0] == 200
    assert admin(sandbox, "POST", "/_sandbox/rates", {"route53": 5})[1] == {"rates": {"route53": 5}}
    assert admin(sandbox, "POST", "/_sandbox/consistency", {"iam": {"reads": 2}})[0] == 200
    assert admin(sandbox, "GET", "/_sandbox/dns?name=acme.com&type=NS")[1]["zone"] == "Z1"
    assert admin(sandbox, "POST", "/_sandbox/reset", {})[0] == 200
    assert client("sesv2").list_email_identities()["EmailIdentities"] == []


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/_sandbox/faults", {"do": "explode"}, '"do" must be one of'),
        ("/_sandbox/faults", {"do": "throttle", "nth": 3}, "a fault has no ['nth']"),
        ("/_sandbox/settings", {"nonsense": 1}, "no setting 'nonsense'"),
        ("/_sandbox/settings", {"enforce_iam": "yes"}, "must be a bool"),
        ("/_sandbox/rates", {"sesv2": -1}, "above 0"),
        ("/_sandbox/rates", {"rates": "fast"}, "rates are"),
        ("/_sandbox/clock", {"advance": -1}, "cannot go back"),
        ("/_sandbox/consistency", {"s3": {"reads": 1}}, "no delayed reads"),
        ("/_sandbox/seed", {"zone": []}, "a seed has no"),
        ("/_sandbox/seed", {"records": [{"zone": "no.example", "name": "a", "type": "A"}]}, "no zone"),
    ],
)
def test_admin_api_refuses_nonsense(sandbox: Sandbox, path: str, body: Any, words: str) -> None:
    status, found = admin(sandbox, "POST", path, body)
    assert status == 400
    assert words in found["error"]


def test_unknown_admin_path_names_the_known_ones(sandbox: Sandbox) -> None:
    status, found = admin(sandbox, "GET", "/_sandbox/nothing")
    assert status == 404
    assert "/_sandbox/calls" in found["error"]


def test_listens_on_loopback_only() -> None:
    with pytest.raises(ValueError, match="loopback only"):
        Sandbox(host="0.0.0.0")


def test_reset_also_empties_moto(sandbox: Sandbox) -> None:
    client("secretsmanager").create_secret(Name="a", SecretString="x")
    sandbox.reset()
    assert client("secretsmanager").list_secrets()["SecretList"] == []


def test_runs_as_a_program_with_aws_rates() -> None:
    """The blocking server prints its variables once it answers, and stops on an interrupt without a trace."""
    import signal

    process = subprocess.Popen(
        [sys.executable, "-m", "reconciler.sandbox", "0", "--rates", "aws"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # A shell's background jobs, and what they start, ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    url = line.removeprefix("export AWS_ENDPOINT_URL=")
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    connection.request("POST", "/_sandbox/seed", body=json.dumps({"suppressed": [{"addresses": ["a@b.example"]}]}))
    assert connection.getresponse().status == 200
    connection.close()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert errors == ""
    assert process.returncode == 0


SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=AKIA/20261122/us-east-1/s3/aws4_request, SignedHeaders=x, Signature=y"
}


def test_a_bucket_before_the_host_is_answered(sandbox: Sandbox) -> None:
    """As S3 clients do with ``localhost``; browsers take such names for this machine alone."""
    client("s3").create_bucket(Bucket="bucket")
    assert ask(sandbox, "GET", "/", {"Host": "bucket.localhost:5566", **SIGNED})[0] != 403


def ask(sandbox: Sandbox, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, str]:
    connection = http.client.HTTPConnection(sandbox.url.removeprefix("http://"))
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode("utf-8", "replace")
    connection.close()
    return answer.status, text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200), ({"Host": "localhost:5566"}, 200), ({"Host": "127.0.0.1"}, 200), ({"Host": "[::1]:5566"}, 200),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Host": "evil.example"}, 403), ({"Host": "evil.example:5566"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "localhost.evil.example"}, 403), ({"Host": ""}, 403), ({"Host": "127.0.0.1@evil.example"}, 403),
        ({"Host": "[::1"}, 403), ({"Host": "motoapi.amazonaws.com"}, 403), ({"Host": "s3.amazonaws.com"}, 403),
        ({"Origin": "https://evil.example"}, 403), ({"Origin": "null"}, 403), ({"Origin": ""}, 403),
        ({"Origin": "http://127.0.0.1.evil.example"}, 403), ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)  # fmt: skip
def test_only_programs_on_this_machine_are_answered(sandbox: Sandbox, headers: dict[str, str], status: int) -> None:
    """A page in a browser may send to loopback, also by a name of its own that resolves to it."""
    ways: tuple[tuple[str, dict[str, str]], ...] = (("/_sandbox/calls", {}), ("/", SIGNED))
    for path, more in ways:
        assert ask(sandbox, "GET", path, {**headers, **more})[0] == status, path


@pytest.mark.parametrize("path", [
    "/moto-api/", "/moto-api/data.json", "/moto-api/recorder/start-recording", "/moto-api/config", "/%6doto-api/config",
    "//moto-api/config", "/x/../moto-api/config", "/./moto-api/config", "/MOTO-API/config", "/moto-api/reset",
])  # fmt: skip
@pytest.mark.parametrize("signed", [True, False])
def test_the_endpoints_of_moto_are_not_offered(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, signed: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    client("secretsmanager").create_secret(Name="s", SecretString="x")
    for method in ("GET", "POST", "PUT"):
        status, text = ask(sandbox, method, path, SIGNED if signed else {}, b"{}")
        assert status in {400, 403, 404} and "moto-api/data" not in text, text
    assert not list(tmp_path.iterdir())
    assert client("secretsmanager").list_secrets()["SecretList"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("PUT", "/bucket"), ("PUT", "/bucket/key"), ("POST", "/")])
def test_an_unsigned_request_does_nothing(sandbox: Sandbox, method: str, path: str) -> None:
    assert ask(sandbox, method, path, {}, b"x")[0] == 403
    assert client("s3").list_buckets()["Buckets"] == []


def test_the_printed_variables_leave_no_way_to_aws(tmp_path: Path) -> None:
    """What a shell has after it has read them: no profile, no session token, no other endpoint."""
    others = {
        "AWS_PROFILE": "work", "AWS_DEFAULT_PROFILE": "work", "AWS_SESSION_TOKEN": "x", "AWS_SECURITY_TOKEN": "x",
        "AWS_ENDPOINT_URL_SESV2": "https://aws", "AWS_ENDPOINT_URL_ROUTE_53": "https://aws",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "reconciler", "sandbox", "--port", "0"], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    lines = []
    while not lines or not lines[-1].startswith("unset "):
        lines.append(process.stdout.readline())
        assert lines[-1], lines
    process.terminate()
    process.wait(60)
    script = "".join(lines) + "env"
    shell = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=True, env={**os.environ, **others}
    )
    left = {line.partition("=")[0] for line in shell.stdout.splitlines() if line.startswith("AWS_")}
    assert not left & set(others)
    assert "AWS_ENDPOINT_URL" in left


def test_another_accounts_bucket_is_refused_where_the_owner_is_expected(sandbox: Sandbox) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket="theirs")
    s3.put_object(Bucket="theirs", Key="k", Body=b"x", ExpectedBucketOwner="111122223333")
    for call in (
        lambda: s3.put_object(Bucket="theirs", Key="k", Body=b"x", ExpectedBucketOwner="444455556666"),
        lambda: s3.get_object(Bucket="theirs", Key="k", ExpectedBucketOwner="444455556666"),
        lambda: s3.list_objects_v2(Bucket="theirs", ExpectedBucketOwner="444455556666"),
        lambda: s3.delete_object(Bucket="theirs", Key="k", ExpectedBucketOwner="444455556666"),
    ):
        assert code_of(call) == ("AccessDenied", 403)


def test_an_operation_the_sandbox_lacks_is_a_clear_error(sandbox: Sandbox) -> None:
    assert code_of(lambda: client("sesv2").list_import_jobs()) == ("UnknownOperationException", 501)
    assert "sesv2 ListImportJobs" in message_of(lambda: client("sesv2").list_import_jobs())
    connection = http.client.HTTPConnection(sandbox.url.removeprefix("http://"))
    scope = "AWS4-HMAC-SHA256 Credential=AKIA/20261122/us-east-1/ses/aws4_request, SignedHeaders=x, Signature=y"
    connection.request("PATCH", "/v2/email/no-such-thing", headers={"Authorization": scope})
    answer = connection.getresponse()
    assert answer.status == 404
    assert b"no operation" in answer.read()
    connection.close()


def test_ledger_leaves_secrets_out(sandbox: Sandbox) -> None:
    client("secretsmanager").create_secret(Name="s", SecretString="top secret")
    client("ssm").put_parameter(Name="p", Value="top secret", Type="SecureString")
    assert "top secret" not in str(sandbox.calls())
    call = sandbox.calls(service="ssm")[0]
    assert call["params"]["Value"] == "(sensitive)"
    assert (call["operation"], call["region"], call["account"], call["status"], call["error"]) == (
        "PutParameter", "us-east-1", "111122223333", 200, None,
    )  # fmt: skip
