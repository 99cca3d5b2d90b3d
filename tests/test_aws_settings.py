"""Settings and credentials of AWS that are wrong: one sentence with a remedy, one JSON object, no traceback, no secret.

Nothing here is shared between runs: every run makes its sessions and clients as a process would.
"""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore import exceptions as boto
from botocore.utils import ContainerMetadataFetcher
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from support import HOME, House, Ran, client

from reconciler import cli
from reconciler.aws import Aws
from reconciler.aws.foreign_errors import translate

MAKE_CLIENT = Aws._client
CANARY = "Zk9CanaryCanaryCanary7"
ROLE = "role_arn = arn:aws:iam::111122223333:role/x\n"
KEYS = "aws_access_key_id = AKIASANDBOXSANDBOX00\naws_secret_access_key = sandbox\n"
STATE: dict[str, Any] = {"configuration_sets": {"main": {}}}


@pytest.fixture
def lone(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """A house whose runs make their own clients, and wait for nothing."""
    monkeypatch.setattr(Aws, "_client", MAKE_CLIENT)
    monkeypatch.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)
    monkeypatch.setattr("reconciler.aws.client._backoff", lambda first, failures: 0.0)
    monkeypatch.setenv("HOME", str(house.home))
    house.write(STATE)
    return house


class Stranger(http.server.BaseHTTPRequestHandler):
    """Answers everything with ``body``."""

    status, body, more = 200, b"", dict[str, str]()

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.status)
        for name, value in {"Content-Length": str(len(self.body)), **self.more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.body)

    do_GET = do_POST = do_PUT = answer  # the names are http.server's

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def stranger() -> Iterator[Callable[..., str]]:
    """Start a server that answers with a body, a status and headers; returns its URL."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(body: bytes, status: int = 200, **more: str) -> str:
        kind = type("Other", (Stranger,), {"body": body, "status": status, "more": more})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


Setting = dict[str, str | None]


def settle(house: House, monkeypatch: pytest.MonkeyPatch, setting: Setting) -> None:
    """Set variables; ``config`` and ``credentials`` are texts of files, ``process`` a script, ``token`` a file."""
    files = {"config": "AWS_CONFIG_FILE", "credentials": "AWS_SHARED_CREDENTIALS_FILE", "token": ""}
    if "process" in setting:
        script = house.home / "process.sh"
        script.write_text(f"#!/bin/sh\n{setting.pop('process')}\n")
        script.chmod(0o755)
        setting["config"] = f"[default]\ncredential_process = {script}\n"
    if "config" in setting or "credentials" in setting:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name, raising=False)
    for name, value in setting.items():
        if name in files:
            (house.home / name).write_bytes((value or "").encode("latin-1"))
            variable, value = files[name] or "AWS_WEB_IDENTITY_TOKEN_FILE", str(house.home / name)
        else:
            variable = name
        if value is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, value)


def printed(**members: Any) -> str:
    text = json.dumps({"Version": 1, "AccessKeyId": "AKIASANDBOXSANDBOX00", "SecretAccessKey": CANARY, **members})
    return f"cat <<'E'\n{text}\nE"


def one_object(ran: Ran) -> dict[str, Any]:
    """The JSON that a command printed when it failed: one object, whose errors have a remedy."""
    found: dict[str, Any] = json.loads(ran.out)
    assert ran.code == 1, ran
    assert "Traceback" not in ran.out + ran.err
    assert CANARY not in ran.out + ran.err
    errors = [one for one in found["diagnostics"] if one["severity"] == "error"]
    assert errors, found
    for one in errors:
        assert one["code"] != "internal-error", one
        assert one["hint"], one
        assert "\n" not in one["message"]
    return {"text": " ".join(f"{one['message']} -> {one['hint']}" for one in errors), **found}


CREDENTIALS: dict[str, tuple[Setting, str]] = {
    "a process that is missing": ({"config": "[default]\ncredential_process = /no/such\n"}, "FileNotFoundError"),
    "a process that is a folder": ({"config": "[default]\ncredential_process = /tmp\n"}, "PermissionError"),
    "an unbalanced quote": ({"config": f"[default]\ncredential_process = x 'a {CANARY}\n"}, "No closing quotation"),
    "a process that prints no JSON": ({"process": f"echo hello {CANARY}"}, "JSONDecodeError"),
    "a process that prints nothing": ({"process": "true"}, "JSONDecodeError"),
    "a process that prints a list": ({"process": "echo '[]'"}, "credential_process"),
    "a process that prints null": ({"process": "echo null"}, "credential_process"),
    "a process that prints a text": ({"process": f"echo '\"{CANARY}\"'"}, "credential_process"),
    "a process that prints bytes": ({"process": "printf '\\377'"}, "UnicodeDecodeError"),
    "a process that fails": ({"process": f"echo {CANARY} >&2; exit 3"}, "by hand"),
    "a process that fails in bytes": ({"process": f"printf '\\377{CANARY}' >&2; exit 3"}, "by hand"),
    "another version": ({"process": printed(Version=CANARY)}, "Unsupported version"),
    "no key in it": ({"process": "echo '{\"Version\": 1}'"}, "AccessKeyId"),
    "numbers for keys": ({"process": printed(AccessKeyId=5, SecretAccessKey=7)}, "TypeError"),
    "a bad expiration": ({"process": printed(Expiration=CANARY)}, "Expiration"),
    "a number for the expiration": ({"process": printed(Expiration=5)}, "Expiration"),
    "an expiration that is too large": ({"process": printed(Expiration="9" * 20)}, "Expiration"),
    "an expiration without a zone": ({"process": printed(Expiration="2100-01-01T00:00:00")}, "time zone"),
    "a past expiration": ({"process": printed(Expiration="2001-01-01T00:00:00Z")}, "expired"),
    "a token with a line break": ({"process": printed(SessionToken=f"a\nb{CANARY}")}, "line break"),
    "a web identity without a file": (
        {"config": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "/no/such", "AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/x"},
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    ),
    "a web identity with a folder": (
        {"config": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "/tmp", "AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/x"},
        "IsADirectoryError",
    ),
    "a web identity of bytes": (
        {"config": "", "token": "\xff\xfe", "AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/x"},
        "web identity",
    ),
    "an empty web identity": (
        {"config": "", "token": "", "AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/x"},
        "web identity",
    ),
    "a web identity without a role": ({"config": "", "token": "abc"}, "AWS_ROLE_ARN"),
    "a foreign host": ({"config": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://example.com/x"}, "container"),
    "a container without a scheme": ({"config": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "x"}, "container"),
    "a container that is not there": (
        {"config": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/x"},
        "container",
    ),
    "a container's token file": (
        {
            "config": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/x",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/no/such",
        },
        "FileNotFoundError",
    ),
    "a container's token": (
        {
            "config": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/x",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": f"a\n{CANARY}",
        },
        "container",
    ),
    "half of the keys": ({"AWS_SECRET_ACCESS_KEY": None}, "AWS_SECRET_ACCESS_KEY"),
    "a session token with a line break": ({"AWS_SESSION_TOKEN": f"{CANARY}\nx"}, "AWS_SESSION_TOKEN"),
    "a session token with a line break at its end": ({"AWS_SESSION_TOKEN": f"{CANARY}\r\n"}, "AWS_SESSION_TOKEN"),
    "a key id with a line break": ({"AWS_ACCESS_KEY_ID": f"AKIA\n{CANARY}"}, "AWS_ACCESS_KEY_ID"),
    "a loop of profiles": (
        {"config": f"[default]\n{ROLE}source_profile = b\n[profile b]\n{ROLE}source_profile = default\n"},
        "source_profile",
    ),
    "a source profile that is missing": ({"config": f"[default]\n{ROLE}source_profile = b\n"}, '"b"'),
    "an unknown credential_source": ({"config": f"[default]\n{ROLE}credential_source = Nope\n"}, "credential_source"),
    "two sources": ({"config": f"[default]\n{ROLE}credential_source = Environment\nsource_profile = x\n"}, "both"),
    "no source": ({"config": f"[default]\n{ROLE}"}, "source_profile"),
    "an empty source": ({"config": f"[default]\n{ROLE}credential_source = Environment\n"}, "credential_source"),
    "MFA without a terminal": (
        {"config": f"[default]\n{ROLE}mfa_serial = arn:aws:iam::111122223333:mfa/me\nsource_profile = b\n"
         f"[profile b]\n{KEYS}"},
        "MFA",
    ),
    "SSO without a login": (
        {"config": "[default]\nsso_start_url = https://x.awsapps.com/start\nsso_region = us-east-1\n"
         "sso_account_id = 111122223333\nsso_role_name = x\n"},
        "aws sso login",
    ),
    "an SSO session without a login": (
        {"AWS_PROFILE": "work", "config": "[profile work]\nsso_session = s\nsso_account_id = 111122223333\n"
         "sso_role_name = x\n[sso-session s]\nsso_start_url = https://x.awsapps.com/start\nsso_region = us-east-1\n"},
        "aws sso login --profile work",
    ),
    "an SSO session that is missing": (
        {"config": "[default]\nsso_session = s\nsso_account_id = 111122223333\nsso_role_name = x\n"},
        "sso_session",
    ),
}  # fmt: skip

SETTINGS: dict[str, tuple[Setting, str]] = {
    "an unknown profile": ({"AWS_PROFILE": "nope"}, "(nope)"),
    "a section twice": ({"config": "[default]\nregion = x\n[default]\n"}, "DuplicateSectionError, line 3"),
    "an option twice": ({"config": "[default]\nregion = x\nregion = y\n"}, "DuplicateOptionError"),
    "no section": ({"config": f"aws_secret_access_key = {CANARY}\n"}, "MissingSectionHeaderError, line 1"),
    "a line that is none": ({"credentials": f"[default]\n{CANARY}\n"}, "credentials"),
    "no UTF-8": ({"config": "[default]\n# \xe9\xff\n"}, "UnicodeDecodeError"),
    "a nested line that is none": ({"config": f"[default]\ns3 = \n  {CANARY}\n"}, "config"),
    "the timeout of the metadata service": ({"config": "", "AWS_METADATA_SERVICE_TIMEOUT": "abc"}, "'abc'"),
    "the attempts of the metadata service": ({"config": "", "AWS_METADATA_SERVICE_NUM_ATTEMPTS": "x"}, "'x'"),
    "a defaults mode": ({"AWS_DEFAULTS_MODE": "wrong"}, "wrong"),
    "regional endpoints of STS": ({"AWS_STS_REGIONAL_ENDPOINTS": "wrong"}, "wrong"),
    "checksums": ({"AWS_REQUEST_CHECKSUM_CALCULATION": "wrong"}, "wrong"),
    "the mode of the metadata service": (
        {"config": "", "AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "wrong"},
        "wrong",
    ),
    "the address of the metadata service": (
        {"config": "", "AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "nonsense"},
        "nonsense",
    ),
    "an endpoint without a scheme": ({"AWS_ENDPOINT_URL": "localhost:4566"}, "http://127.0.0.1:4566"),
    "an endpoint without a host": ({"AWS_ENDPOINT_URL": "http://"}, "AWS_ENDPOINT_URL"),
    "a port that is too large": ({"AWS_ENDPOINT_URL": "http://127.0.0.1:99999"}, "Port out of range"),
    "a port that is a word": ({"AWS_ENDPOINT_URL": "http://127.0.0.1:abc"}, "AWS_ENDPOINT_URL"),
    "an endpoint with a line break": ({"AWS_ENDPOINT_URL": "http://127.0.0.1:4566\n"}, "AWS_ENDPOINT_URL"),
    "an endpoint with a blank": ({"AWS_ENDPOINT_URL": "http://local host:1"}, "AWS_ENDPOINT_URL"),
    "a host that is too long": ({"AWS_ENDPOINT_URL": f"http://{'a' * 70}.example"}, "AWS_ENDPOINT_URL"),
    "an open bracket": ({"AWS_ENDPOINT_URL": "http://[::1"}, "AWS_ENDPOINT_URL"),
    "another scheme": ({"AWS_ENDPOINT_URL": "ftp://127.0.0.1/"}, "ftp"),
    "nobody there": ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "check the network"),
    "the endpoint of one service": ({"AWS_ENDPOINT_URL_SESV2": "localhost:4566"}, "localhost:4566"),
    "the port of one service": ({"AWS_ENDPOINT_URL_SESV2": "http://127.0.0.1:99999"}, "Port out of range"),
    "a proxy that is no URL": ({"HTTP_PROXY": "::::"}, "HTTPS_PROXY"),
    "the port of a proxy": ({"HTTP_PROXY": f"http://user:{CANARY}@127.0.0.1:99999"}, "HTTPS_PROXY"),
    "a proxy that is not there": ({"HTTP_PROXY": f"http://user:{CANARY}@127.0.0.1:1"}, "a proxy"),
}  # fmt: skip

WORKS: dict[str, Setting] = {
    "attempts": {"AWS_MAX_ATTEMPTS": "abc"},
    "retry mode": {"AWS_RETRY_MODE": "wrong"},
    "FIPS": {"AWS_USE_FIPS_ENDPOINT": "true"},
    "region": {"AWS_REGION": "us east", "AWS_DEFAULT_REGION": "us_east_1\n"},
    "a folder for the config": {"AWS_CONFIG_FILE": "/tmp"},
    "no config": {"AWS_CONFIG_FILE": "/no/such"},
    "no home": {"HOME": "/no/such"},
}
"""What recon decides itself, and boto reads but does not need."""


@pytest.mark.parametrize("name", CREDENTIALS | SETTINGS)
def test_a_wrong_setting_is_one_sentence(name: str, lone: House, monkeypatch: pytest.MonkeyPatch) -> None:
    setting, words = (CREDENTIALS | SETTINGS)[name]
    settle(lone, monkeypatch, dict(setting))
    found = one_object(lone.cli("plan", "state.yaml", "--format", "json"))
    assert words in found["text"], found["text"]


@pytest.mark.parametrize("name", WORKS)
def test_what_recon_decides_itself_cannot_be_wrong(name: str, lone: House, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(lone, monkeypatch, dict(WORKS[name]))
    ran = lone.cli("plan", "state.yaml", "--format", "json")
    assert ran.code == 0, ran


ANSWERS: dict[str, tuple[tuple[Any, ...], dict[str, str]]] = {
    "a page": ((b"<html>log in " + CANARY.encode(),), {}),
    "a page of an error": ((b"<html>log in " + CANARY.encode(), 404), {}),
    "a refusing page": ((b"<html>log in " + CANARY.encode(), 403), {}),
    "a busy page": ((b"<html>log in " + CANARY.encode(), 503), {}),
    "another JSON": ((b'{"x": 1}',), {}),
    "a list": ((b"[]",), {}),
    "a refusing list": ((b"[]", 403), {}),
    "bytes": ((b"\xff\xfe",), {}),
    "nothing": ((b"",), {}),
    "a body that was cut": ((b"<GetCaller",), {"Content-Length": "500"}),
    "a length that is a word": ((b"<GetCaller",), {"Content-Length": "abc"}),
    "a negative length": ((b"<GetCaller",), {"Content-Length": "-5"}),
    "a false encoding": ((b"no gzip",), {"Content-Encoding": "gzip"}),
    "false chunks": ((b"zzz",), {"Transfer-Encoding": "chunked"}),
    "a redirect to itself": ((b"", 302), {"Location": "/"}),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_of_a_stranger_is_one_sentence(
    name: str, lone: House, monkeypatch: pytest.MonkeyPatch, stranger: Callable[..., str]
) -> None:
    answer, headers = ANSWERS[name]
    monkeypatch.setenv("AWS_ENDPOINT_URL", stranger(*answer, **headers))
    ran = lone.cli("plan", "state.yaml", "--format", "json")
    assert ran.code == 1
    assert CANARY not in ran.out + ran.err
    message = ran.json["diagnostics"][0]["message"]
    assert message.startswith("sts GetCallerIdentity in us-east-1: "), message


@pytest.mark.parametrize("body", [b"[]", b"null", b"\xff", b'"x"', b"<html>", b'{"Code": "Success"}'])
def test_garbage_of_the_metadata_service_is_one_sentence(
    body: bytes, lone: House, monkeypatch: pytest.MonkeyPatch, stranger: Callable[..., str]
) -> None:
    for variables in (
        {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": stranger(body)},
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": stranger(body) + "/x"},
    ):
        settle(lone, monkeypatch, {"config": "", **variables})
        one_object(lone.cli("plan", "state.yaml", "--format", "json"))


@pytest.fixture(scope="module")
def over_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a certificate that it signed itself; its URL."""
    folder = tmp_path_factory.mktemp("tls")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(begin).not_valid_after(begin + timedelta(days=36500)).sign(key, hashes.SHA256())
    )  # fmt: skip
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "both.pem").write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("bundle", "words"),
    [(None, "no TLS connection"), ("/no/such", "cannot be read"), ("/tmp", "TLS"), ("state.yaml", "cannot be read")],
    ids=["unknown", "missing", "folder", "no PEM"],
)  # fmt: skip
def test_certificates_that_do_not_fit_are_one_sentence(
    bundle: str | None, words: str, lone: House, monkeypatch: pytest.MonkeyPatch, over_tls: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", over_tls)
    if bundle:
        monkeypatch.setenv("AWS_CA_BUNDLE", bundle)
    found = one_object(lone.cli("plan", "state.yaml", "--format", "json"))
    assert words in found["text"], found["text"]
    assert "AWS_CA_BUNDLE" in found["text"]


COMMANDS = [
    ("plan", "state.yaml"), ("apply", "state.yaml", "--auto-approve"), ("drift", "state.yaml"),
    ("destroy", "state.yaml", "--allow-deletes", "1"), ("doctor", "state.yaml", "--no-dns"),
    ("suppression", "list", "state.yaml"), ("account", "pause", "state.yaml", "--region", HOME, "--auto-approve"),
    ("smtp", "verify", "state.yaml"), ("import", "--stack", "acme", "--account", "111122223333", "--region", HOME),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize(
    "setting",
    [{"process": f"echo {CANARY}"}, {"process": printed(Expiration="2001-01-01T00:00:00Z")},
     {"AWS_ENDPOINT_URL": "http://127.0.0.1:99999"}],
    ids=["creation", "call", "endpoint"],
)  # fmt: skip
def test_every_command_prints_one_object(
    command: tuple[str, ...], setting: Setting, lone: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    lone.write(STATE | {"smtp_users": {"news": {"from_addresses": ["*@acme.com"], "credentials": {
        "secretsmanager": {"name": "recon/news"}}}}})  # fmt: skip
    settle(lone, monkeypatch, dict(setting))
    ran = lone.cli(*command, "--format", "json")
    assert ran.code == 1, ran
    assert "outcome" in ran.json
    assert CANARY not in ran.out + ran.err
    assert "internal-error" not in ran.out


# --- what AWS refuses of credentials --------------------------------------------------------------------------------

REFUSALS = [
    ("RequestExpired", "set the clock"), ("SignatureDoesNotMatch", "set the clock"),
    ("RequestTimeTooSkewed", "set the clock"), ("InvalidSignatureException", "set the clock"),
    ("ExpiredToken", "log in again"), ("ExpiredTokenException", "log in again"),
    ("InvalidAccessKeyId", "log in again"), ("IncompleteSignatureException", "log in again"),
    ("MissingAuthenticationTokenException", "log in again"), ("InvalidIdentityToken", "log in again"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "remedy"), REFUSALS)
def test_a_refusal_of_credentials_has_its_remedy(code: str, remedy: str) -> None:
    date = "Sun, 29 Nov 2026 16:00:00 GMT"
    more = f"\n\nThe Canonical String was 'token:{CANARY}'" if remedy == "set the clock" else ""
    response: dict[str, Any] = {
        "Error": {"Code": code, "Message": f"Signature expired.{more}"},
        "ResponseMetadata": {"HTTPStatusCode": 403, "HTTPHeaders": {"date": date}},
    }
    error = translate(boto.ClientError(response, "GetAccount"), "sesv2", "GetAccount", HOME)
    assert remedy in error.hint
    assert CANARY not in error.message + error.hint
    assert (date in error.hint) is (remedy == "set the clock")


def test_a_refused_role_is_not_the_absence_of_what_was_read() -> None:
    """``ResourceNotFoundException`` of SSO is not that of Secrets Manager, and needs no permission of its own."""
    response: dict[str, Any] = {"Error": {"Code": "ResourceNotFoundException", "Message": "no such role"}}
    error = translate(boto.ClientError(response, "GetRoleCredentials"), "secretsmanager", "GetSecretValue", HOME)
    assert not error.absent
    assert error.message.startswith("sso GetRoleCredentials in us-east-1: ")
    response["Error"]["Code"] = "AccessDenied"
    error = translate(boto.ClientError(response, "AssumeRole"), "sesv2", "GetAccount", HOME)
    assert "sts:AssumeRole" in error.hint
    assert "ses:GetAccount" not in error.hint


def test_a_login_that_is_missing_is_said_at_once(lone: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another attempt with the same credentials cannot succeed."""
    waited: list[float] = []
    monkeypatch.setattr("reconciler.aws.client._backoff", lambda first, failures: waited.append(first) or 0.0)
    for name in (
        "SSO without a login",
        "a past expiration",
        "MFA without a terminal",
        "a session token with a line break",
    ):
        settle(lone, monkeypatch, dict(CREDENTIALS[name][0]))
        assert lone.cli("plan", "state.yaml").code == 1
    assert not waited


# --- in the middle of an apply --------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [1, 3, 6])
def test_credentials_that_expire_in_the_middle_lose_no_result(
    left: int, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As boto raises it for a ``credential_process`` whose new credentials have expired, too: a RuntimeError."""
    house.write({"configuration_sets": {f"s{n:02}": {} for n in range(20)}})
    signed = client("sesv2")._request_signer._credentials.__class__
    frozen, calls = signed.get_frozen_credentials, [0]

    def expires(self: Any) -> Any:
        calls[0] += 1
        begun = any(call["operation"] == "CreateConfigurationSet" for call in house.sandbox.calls())
        if begun and calls[0] > left:
            raise RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired.")
        calls[0] = calls[0] if begun else 0
        return frozen(self)

    monkeypatch.setattr(signed, "get_frozen_credentials", expires)
    ran = house.cli("apply", "state.yaml", "--auto-approve", "--format", "json", "--parallelism", "1")
    monkeypatch.undo()
    assert ran.code == 1
    statuses = [change["status"] for change in ran.json["applied"]]
    assert {"done", "failed", "not_started"} == set(statuses), statuses
    assert ran.json["outcome"] == "partial"
    assert sum(status == "failed" for status in statuses) == 1, "what would fail alike is not tried"


def test_a_fault_in_one_step_loses_no_result(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A KeyError of our own is said as a fault of recon, once, beside what was done."""
    house.write({"configuration_sets": {"good": {}, "other": {}}})
    call = Aws.call

    def broken(self: Aws, service: str, operation: str, region: str | None = None, **parameters: Any) -> Any:
        if operation == "CreateConfigurationSet" and parameters["ConfigurationSetName"] == "other":
            raise KeyError("Surprise")
        return call(self, service, operation, region, **parameters)

    monkeypatch.setattr(Aws, "call", broken)
    ran = house.cli("apply", "state.yaml", "--auto-approve", "--format", "json")
    assert ran.code == 1
    assert "failed" in {change["status"] for change in ran.json["applied"]} <= {"done", "failed", "not_started"}
    fault = next(one for one in ran.json["diagnostics"] if one["code"] == "internal-error")
    assert "a fault of recon: KeyError: 'Surprise'" in fault["message"]
    assert "report it" in fault["hint"]


# --- faults of recon ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", [(), ("-v",)])
def test_a_fault_of_recon_is_one_sentence(
    flag: tuple[str, ...], house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

    def broken(*arguments: Any, **options: Any) -> Any:
        raise KeyError(f"no such thing: {secret}")

    monkeypatch.setattr("reconciler.running.make", broken)
    code = cli.run(["plan", str(house.write(STATE)), "--format", "json", *flag])
    out, err = capsys.readouterr()
    assert code == 1
    diagnostic = json.loads(out)["diagnostics"][0]
    assert diagnostic["code"] == "internal-error"
    assert "KeyError" in diagnostic["message"]
    assert ("Traceback" in err) is bool(flag)
    assert secret not in out + err


def test_a_full_disk_is_one_sentence(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **options: Any) -> Any:
        raise OSError(28, "No space left on device", "plan.json")

    house.write(STATE)
    monkeypatch.setattr("reconciler.running.make", full)
    ran = house.cli("plan", "state.yaml", "--format", "json")
    assert ran.json["diagnostics"][0]["message"] == "No space left on device: plan.json (OSError)"
