"""Stored passwords, tested by logins at an SMTP server on loopback, with STARTTLS, TLS, AUTH and certificates."""

from __future__ import annotations

import base64
import contextlib
import datetime
import ipaddress
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from smtp_support import keys, stored
from support import ACCOUNT, GUARD, HOME, House, Ran, client
from test_senders import policy

from reconciler.mail.sigv4 import smtp_password
from reconciler.smtp import verify
from reconciler.smtp.verify import Endpoint

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

STATE: dict[str, Any] = {
    "smtp_users": {
        "news": {"from_addresses": ["*@acme.com"], "credentials": {"secretsmanager": {"name": "recon/news"}}}
    }
}


class Server:
    """An SMTP server that knows one user; it notes every command, and answers AUTH with ``reply`` where one is set."""

    def __init__(self, certificate: Path, *, tls: bool = False, starttls: bool = True) -> None:
        self.user, self.password = "", ""
        self.reply: str | None = None
        self.commands: list[str] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        outer = self

        class Noting(SMTP):
            async def smtp_MAIL(self, arg: str | None) -> None:
                outer.commands.append("MAIL")
                await super().smtp_MAIL(arg)

            async def smtp_QUIT(self, arg: str | None) -> None:
                outer.commands.append("QUIT")
                await super().smtp_QUIT(arg)

        class Loopback(Controller):
            def _create_server(self) -> Any:
                """On a port that is taken already, so that nobody else can take it in between."""
                return self.loop.create_server(self._factory_invoker, sock=outer.socket, ssl=self.ssl_context)

            def factory(self) -> SMTP:
                options: dict[str, Any] = {"tls_context": outer.context} if starttls and not tls else {}
                return Noting(
                    self.handler,
                    authenticator=outer._log_in,
                    auth_required=True,
                    auth_require_tls=starttls and not tls,
                    hostname="localhost",
                    **options,
                )

        self.socket = taken_port()
        self.controller = Loopback(
            object(), hostname="127.0.0.1", port=self.socket.getsockname()[1], ready_timeout=GUARD,
            ssl_context=self.context if tls else None,
        )  # fmt: skip

    def _log_in(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.commands.append(f"AUTH {mechanism}")
        if self.reply is not None:
            return AuthResult(success=False, handled=False, message=self.reply)
        assert isinstance(data, LoginPassword)
        good = (data.login.decode(), data.password.decode()) == (self.user, self.password)
        return AuthResult(success=good, handled=False)

    @property
    def port(self) -> int:
        return int(self.controller.port)


def taken_port() -> socket.socket:
    """A socket with a port of its own, where nothing listens yet: connections are refused."""
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    return made


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    server.controller.start()
    try:
        yield server
    finally:
        server.controller.stop()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A certificate authority, and server certificates: good, for another name, expired, and of nobody's."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    home = tmp_path_factory.mktemp("ca")
    today = datetime.datetime.now(datetime.UTC)

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def issue(label: str, issuer: Any, san: list[Any], ends: int, ca: bool = False) -> Any:
        key = ec.generate_private_key(ec.SECP256R1())
        signer = issuer[0] if issuer else key
        ended = today + datetime.timedelta(days=ends)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(label))
            .issuer_name(issuer[1].subject if issuer else name(label))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(today - datetime.timedelta(days=30))
            .not_valid_after(ended)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if san:
            builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
        certificate = builder.sign(signer, hashes.SHA256())
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (home / f"{label}.pem").write_bytes(secret + pem)
        (home / f"{label}.crt").write_bytes(pem)
        return key, certificate

    root = issue("root", None, [], 30, ca=True)
    loopback = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    issue("good", root, loopback, 30)
    issue("other-name", root, [x509.DNSName("mail.example")], 30)
    issue("expired", root, loopback, -1)
    issue("self-made", None, loopback, 30)
    return {path.stem + path.suffix: path for path in home.iterdir()}


@pytest.fixture
def trust(authority: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    monkeypatch.setenv("RECON_SMTP_CA", str(authority["root.crt"]))
    return verify.context()


def place(server: Server, mode: str = "starttls") -> Endpoint:
    return Endpoint("127.0.0.1", server.port, mode)


# --- one login -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["starttls", "tls"])
def test_a_good_password_logs_in_and_leaves(authority: dict[str, Path], trust: ssl.SSLContext, mode: str) -> None:
    with running(Server(authority["good.pem"], tls=mode == "tls")) as server:
        server.user, server.password = "AKIAGOOD", "pass+word/="
        found = verify.log_in("AKIAGOOD", "pass+word/=", [place(server, mode)], trust)
        assert found.verdict == verify.HEALTHY, found
        assert server.commands[-1] == "QUIT"
        assert "MAIL" not in server.commands


@pytest.mark.parametrize("mode", ["starttls", "tls"])
def test_a_stale_password_is_reported(authority: dict[str, Path], trust: ssl.SSLContext, mode: str) -> None:
    with running(Server(authority["good.pem"], tls=mode == "tls")) as server:
        server.user, server.password = "AKIAGOOD", "new"
        found = verify.log_in("AKIAGOOD", "old", [place(server, mode)], trust)
        assert found.verdict == verify.STALE, found
        assert "535" in found.message


@pytest.mark.parametrize(
    ("reply", "verdict", "words"),
    [
        ("454 4.7.0 Temporary authentication failure", verify.POLICY, "for now"),
        ("421 4.4.2 Too many connections", verify.POLICY, "for now"),
        ("530 5.7.0 Must issue a STARTTLS command first", verify.POLICY, "by policy"),
        ("554 5.7.1 Access denied", verify.POLICY, "by policy"),
        ("535 5.7.8 Authentication Credentials Invalid", verify.STALE, "refused the password"),
    ],
)
def test_refusals_are_told_apart(
    authority: dict[str, Path], trust: ssl.SSLContext, reply: str, verdict: str, words: str
) -> None:
    with running(Server(authority["good.pem"])) as server:
        server.reply = reply
        found = verify.log_in("AKIAGOOD", "x", [place(server)], trust)
        assert (found.verdict, words in found.message) == (verdict, True), found


def test_no_connection_is_the_network_and_the_next_port_is_tried(
    authority: dict[str, Path], trust: ssl.SSLContext
) -> None:
    with taken_port() as one, taken_port() as two:
        closed = [Endpoint("127.0.0.1", taken.getsockname()[1], "starttls") for taken in (one, two)]
        found = verify.log_in("AKIAGOOD", "x", closed, trust)
        assert found.verdict == verify.NETWORK
        assert all(str(c.port) in found.message for c in closed)
        with running(Server(authority["good.pem"], tls=True)) as server:
            server.user, server.password = "AKIAGOOD", "x"
            found = verify.log_in("AKIAGOOD", "x", [*closed, place(server, "tls")], trust)
            assert found.verdict == verify.HEALTHY
            assert len(found.tried) == 2


def test_a_silent_firewall_is_the_network(trust: ssl.SSLContext) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        found = verify.log_in(
            "A", "x", [Endpoint("127.0.0.1", silent.getsockname()[1], "starttls")], trust, timeout=0.3
        )
        assert found.verdict == verify.NETWORK
        assert "0.3 s" in found.message


@pytest.mark.parametrize("certificate", ["other-name", "expired", "self-made"])
def test_a_wrong_certificate_gets_no_password(
    authority: dict[str, Path], trust: ssl.SSLContext, certificate: str
) -> None:
    with running(Server(authority[f"{certificate}.pem"])) as server:
        found = verify.log_in("AKIAGOOD", "x", [place(server)], trust)
        assert found.verdict == verify.CERTIFICATE, found
        assert not [c for c in server.commands if c.startswith("AUTH")]


def test_a_stripped_starttls_gets_no_password(authority: dict[str, Path], trust: ssl.SSLContext) -> None:
    with running(Server(authority["good.pem"], starttls=False)) as server:
        found = verify.log_in("AKIAGOOD", "x", [place(server)], trust)
        assert found.verdict == verify.CERTIFICATE, found
        assert not [c for c in server.commands if c.startswith("AUTH")]


def test_a_fresh_key_is_asked_again(
    authority: dict[str, Path], trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    with running(Server(authority["good.pem"])) as server:
        server.user, server.password = "AKIAGOOD", "later"

        def wait(seconds: float) -> None:
            waits.append(seconds)
            server.password = "x"

        monkeypatch.setattr(verify.time, "sleep", wait)
        assert verify.log_in("AKIAGOOD", "x", [place(server)], trust, fresh=True).verdict == verify.HEALTHY
    assert waits == [verify.FRESH_PAUSES[0]]


def test_a_server_that_repeats_the_password_is_not_repeated(authority: dict[str, Path], trust: ssl.SSLContext) -> None:
    with running(Server(authority["good.pem"])) as server:
        server.reply = "535 5.7.8 no such password: canary+pass/word="
        found = verify.log_in("AKIAGOOD", "canary+pass/word=", [place(server)], trust)
        assert "canary" not in found.message
        assert "(sensitive)" in found.message


def test_endpoints_are_sess_unless_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECON_SMTP_ENDPOINT", raising=False)
    host = "email-smtp.eu-west-1.amazonaws.com"
    assert [(e.host, e.port, e.mode) for e in verify.endpoints("eu-west-1")] == [
        (host, 587, "starttls"), (host, 2587, "starttls"), (host, 465, "tls"),
    ]  # fmt: skip
    monkeypatch.setenv("RECON_SMTP_ENDPOINT", "127.0.0.1:25, smtps://[::1]:465")
    assert verify.endpoints("x") == [Endpoint("127.0.0.1", 25, "starttls"), Endpoint("::1", 465, "tls")]
    monkeypatch.setenv("RECON_SMTP_ENDPOINT", "nowhere")
    with pytest.raises(verify.ReconError):
        verify.endpoints("x")


# --- the command ---------------------------------------------------------------------------------------------------


def test_the_command_proves_what_is_stored(
    house: House, authority: dict[str, Path], trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_SMTP_CA", str(authority["root.crt"]))
    house.settle(STATE)
    value = stored(("secretsmanager", HOME, "recon/news"))
    house.clear()
    with running(Server(authority["good.pem"])) as server:
        monkeypatch.setenv("RECON_SMTP_ENDPOINT", f"127.0.0.1:{server.port}")
        monkeypatch.setattr(verify, "FRESH_PAUSES", ())
        server.user, server.password = value["username"], value["regions"][HOME]["password"]
        for arguments in (["news", "state.yaml"], ["state.yaml"], ["news", "--region", HOME, "state.yaml"]):
            ran = house.cli("smtp", "verify", *arguments)
            assert ran.code == 0, ran
            assert f"news {HOME}: healthy" in ran.out
        server.password = "another"
        ran = house.cli("smtp", "verify", "state.yaml", "--format", "json")
        assert ran.code == 2
        assert ran.json["logins"][0]["verdict"] == "stale-password"
        assert ran.json["diagnostics"][0]["address"] == "smtp_credential/news"
        assert value["regions"][HOME]["password"] not in ran.out + ran.err
    ran = house.cli("smtp", "verify", "news", "state.yaml")
    assert (ran.code, "network" in ran.out) == (1, True), ran
    assert house.cli("smtp", "verify", "news", "--region", "eu-west-3", "state.yaml").code == 1
    assert house.writes() == []


def test_the_command_says_what_is_wrong_before_it_logs_in(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = taken_port()
    monkeypatch.setenv("RECON_SMTP_ENDPOINT", f"127.0.0.1:{closed.getsockname()[1]}")
    house.settle(STATE)
    key = next(iter(keys()))
    client("iam").update_access_key(UserName="news", AccessKeyId=key, Status="Inactive")
    ran = house.cli("smtp", "verify", "news", "state.yaml")
    assert (ran.code, "is Inactive" in ran.out) == (2, True), ran
    client("iam").delete_access_key(UserName="news", AccessKeyId=key)
    ran = house.cli("smtp", "verify", "news", "state.yaml")
    assert (ran.code, "does not exist any more" in ran.out) == (2, True), ran
    client("secretsmanager").put_secret_value(SecretId="recon/news", SecretString="mine")
    assert house.cli("smtp", "verify", "news", "state.yaml").code == 2
    client("secretsmanager").delete_secret(SecretId="recon/news", ForceDeleteWithoutRecovery=True)
    ran = house.cli("smtp", "verify", "news", "state.yaml")
    assert (ran.code, "not-stored" in ran.out) == (2, True), ran
    house.settle()
    house.sandbox.fault("denied", service="secretsmanager", operation="GetSecretValue", count=None)
    ran = house.cli("smtp", "verify", "news", "state.yaml")
    assert (ran.code, "secretsmanager:GetSecretValue" in ran.out) == (1, True), ran


# --- the password --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pipe", "directory", "missing", "no certificate"])
def test_an_authority_that_is_none_is_an_error(house: House, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    house.settle(STATE)
    path = house.home / "root.crt"
    {"pipe": os.mkfifo, "directory": Path.mkdir, "missing": str, "no certificate": Path.touch}[kind](path)
    monkeypatch.setenv("RECON_SMTP_CA", str(path))
    ran = house.cli("smtp", "verify", "state.yaml")
    assert ran.code == 1 and f"{path}" in ran.err and "RECON_SMTP_CA" in ran.err and "Traceback" not in ran.err, ran


def test_without_a_terminal_the_password_is_refused_before_anything_is_read(house: House) -> None:
    for state in ("missing", "broken.yaml"):
        (house.home / "broken.yaml").write_text("[")
        ran = house.cli("smtp", "password", "news", "--region", HOME, state)
        assert ran.code == 3 and "standard output is not a terminal" in ran.err, ran
    assert house.calls() == []


def test_the_password_is_shown_after_asking_or_with_force(house: House) -> None:
    house.settle(STATE)
    right = stored(("secretsmanager", HOME, "recon/news"))["regions"][HOME]["password"]
    ran = house.cli("smtp", "password", "news", "--region", HOME, "state.yaml")
    assert (ran.code, right in ran.out + ran.err) == (3, False), ran
    ran = house.cli("smtp", "password", "news", "--region", HOME, "state.yaml", "--force")
    assert (ran.code, ran.out) == (0, right + "\n")
    assert right not in ran.err
    ran = house.cli("smtp", "password", "news", "--region", HOME, "state.yaml", "--force", "--format", "json")
    assert json.loads(ran.out)["password"] == right
    assert house.cli("smtp", "password", "news", "--region", "eu-west-1", "state.yaml", "--force").code == 1


@pytest.mark.parametrize(("answer", "code"), [("yes\n", 0), ("no\n", 1), ("", 1)])
def test_the_password_asks_on_a_terminal(house: House, monkeypatch: pytest.MonkeyPatch, answer: str, code: int) -> None:
    import support

    house.settle(STATE)
    right = stored(("secretsmanager", HOME, "recon/news"))["regions"][HOME]["password"]
    monkeypatch.setattr(support.io, "StringIO", support.Terminal)
    ran = house.cli("smtp", "password", "news", "--region", HOME, "state.yaml", answer=answer)
    assert ran.code == code, ran
    assert (right in ran.out) == (code == 0)
    assert "Only `yes` is accepted" in ran.err


# --- a password that somebody holds --------------------------------------------------------------------------------


@pytest.fixture
def held(house: House, authority: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[House, Server]]:
    """A user with a key, an SMTP server that takes its password, and no YAML."""
    iam = client("iam")
    iam.create_user(UserName="webmail")
    iam.put_user_policy(UserName="webmail", PolicyName="send", PolicyDocument=policy())
    key = iam.create_access_key(UserName="webmail")["AccessKey"]
    monkeypatch.setenv("RECON_SMTP_CA", str(authority["root.crt"]))
    with running(Server(authority["good.pem"])) as server:
        server.user, server.password = key["AccessKeyId"], smtp_password(key["SecretAccessKey"], HOME)
        monkeypatch.setenv("RECON_SMTP_ENDPOINT", f"127.0.0.1:{server.port}")
        house.clear()
        yield house, server


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ("", 0, "healthy"),
        ("other region", 2, "or to another region than us-east-1"),
        ("inactive", 2, "of webmail is Inactive"),
        ("deleted", 2, "IAM knows no access key"),
        ("secret", 2, "has the form of a secret access key"),
        ("cut", 2, "44 characters"),
        ("old version", 2, "is of version 2"),
    ],
)
@pytest.mark.parametrize("format", ["text", "json"])
def test_a_held_password(held: tuple[House, Server], change: str, code: int, words: str, format: str) -> None:
    house, server = held
    key, good = server.user, server.password
    passwords = {
        "other region": smtp_password("x" * 40, "eu-west-1"), "secret": "x" * 40, "cut": good[:-3],
        "old version": base64.b64encode(b"\x02" + b"x" * 32).decode(),
    }  # fmt: skip
    if change in {"inactive", "deleted"}:
        server.password = "another"
        client("iam").update_access_key(UserName="webmail", AccessKeyId=key, Status="Inactive")
        if change == "deleted":
            client("iam").delete_access_key(UserName="webmail", AccessKeyId=key)
    house.clear()
    password = passwords.get(change, good)
    ran = verify_held(house, password, "--username", key, "--region", HOME, "--format", format)
    assert ran.code == code, ran
    assert words in ran.out, ran
    assert password not in ran.out + ran.err
    assert "MAIL" not in server.commands
    assert house.writes() == []
    if format == "json":
        (row,) = ran.json["logins"]
        assert (row["username"], row["region"], row["user"]) == (key, HOME, None)
        assert row["verdict"] == ("healthy" if code == 0 else "stale-password")


ONE_NETWORK = policy(Condition={"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "2001:db8::/32"]}})
ONE_FROM = policy(Condition={"StringLike": {"ses:FromAddress": ["*@acme.com", "ceo@acme.net"]}})
BOTH = policy(
    Resource=f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/acme.com",
    Condition={"StringLike": {"ses:FromAddress": "*@acme.com"}, "IpAddress": {"aws:SourceIp": "203.0.113.0/24"}},
)
TO_CEO = policy("Deny", Condition={"StringEquals": {"ses:FromAddress": "ceo@acme.com"}})


@pytest.mark.parametrize(
    ("documents", "options", "cause", "words"),
    [
        ([policy()], (), "", "logged in"),
        ([policy()], ("--from", "a@acme.com", "--source-ip", "192.0.2.1"), "", "logged in"),
        ([], (), "not-allowed", "no policy allows it"),
        ([policy(Action="ses:SendEmail")], (), "not-allowed", "SMTP needs ses:SendRawEmail"),
        ([policy(), policy("Deny", Action="ses:*")], (), "deny", "the policy p1 denies it"),
        ([policy(), policy("Deny", Action="*")], ("--from", "a@acme.com"), "deny", "the policy p1 denies it"),
        ([ONE_NETWORK], (), "", "it may send from 2001:db8::/32, 203.0.113.0/24 alone"),
        ([ONE_NETWORK], ("--source-ip", "203.0.113.9"), "", "logged in"),
        ([ONE_NETWORK], ("--source-ip", "2001:db8::9"), "", "logged in"),
        ([ONE_NETWORK], ("--source-ip", "192.0.2.1"), "network-condition", "SES refuses its mail from 192.0.2.1"),
        ([ONE_NETWORK], ("--from", "a@x.example", "--source-ip", "192.0.2.1"), "network-condition", "192.0.2.1"),
        ([ONE_NETWORK], ("--from", "a@x.example"), "", "whether the sender is there was not asked"),
        ([ONE_FROM], (), "", "it may send as *@acme.com, ceo@acme.net alone"),
        ([ONE_FROM], ("--from", "news@acme.com"), "", "logged in"),
        ([ONE_FROM], ("--from", "ann@acme.net"), "from-not-allowed", "it may send as *@acme.com, ceo@acme.net alone"),
        ([BOTH], ("--from", "a@acme.com", "--source-ip", "203.0.113.1"), "", "logged in"),
        ([BOTH], ("--from", "a@shop.acme.com", "--source-ip", "203.0.113.1"), "from-not-allowed", "a@shop.acme.com"),
        ([BOTH], ("--from", "a@acme.com", "--source-ip", "192.0.2.1"), "network-condition", "203.0.113.0/24 alone"),
        ([policy(), TO_CEO], ("--from", "ceo@acme.com"), "deny", "the policy p1 denies it"),
        ([policy(), TO_CEO], ("--from", "ann@acme.com"), "", "logged in"),
        ([policy(Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}})], (), "undecided", "aws:PrincipalOrgID"),
    ],
)
def test_a_login_that_works_says_whether_mail_will(
    house: House,
    monkeypatch: pytest.MonkeyPatch,
    documents: list[str],
    options: tuple[str, ...],
    cause: str,
    words: str,
) -> None:
    from reconciler.smtp import verify

    iam = client("iam")
    iam.create_user(UserName="webmail")
    for number, document in enumerate(documents):
        iam.put_user_policy(UserName="webmail", PolicyName=f"p{number}", PolicyDocument=document)
    key = iam.create_access_key(UserName="webmail")["AccessKey"]["AccessKeyId"]
    monkeypatch.setattr(verify, "log_in", lambda *given, **more: verify.Verdict(verify.HEALTHY, "logged in"))
    monkeypatch.setattr("getpass.getpass", lambda prompt: "secret")
    house.clear()
    held = ("--username", key, "--password-stdin", "--region", HOME, "--format", "json")
    ran = house.cli("smtp", "verify", *held, *options, answer="x")
    (row,) = ran.json["logins"]
    assert words in row["message"], row
    verdict = {"": "healthy", "undecided": "undecided"}.get(cause, "policy")
    code = {"healthy": 0, "undecided": 1, "policy": 2}[verdict]
    assert (ran.code, row["verdict"], row["cause"]) == (code, verdict, cause or None)
    assert house.writes() == []


def verify_held(house: House, password: str, *options: str) -> Ran:
    """`smtp verify` with a password on standard input, in a process of its own."""
    command = [sys.executable, "-m", "reconciler", "smtp", "verify", "--password-stdin", *options]
    done = subprocess.run(
        command, input=f"{password}\n", capture_output=True, text=True, cwd=house.home, timeout=GUARD * 4, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--username", "AKIAX"), "needs --username and"),
        (("--password-stdin",), "needs --username and"),
        (("news", "--username", "AKIAX", "--password-stdin"), "no USER"),
        (("--username", "AKIAX", "--password-stdin"), "standard input has no"),
        (("--username", "AKIAX", "--password-stdin", "--region", "moon-1"), "moon-1"),
        ((), "no YAML says where"),
        (("--username", "AKIAX", "--password-stdin", "--from", "ann"), "--from ann is not"),
        (("--username", "AKIAX", "--password-stdin", "--source-ip", "10.0.0.0/8"), "--source-ip 10.0.0.0/8 is not"),
    ],
)
def test_what_a_held_password_needs(house: House, options: tuple[str, ...], words: str) -> None:
    ran = house.cli("smtp", "verify", *options)
    assert (ran.code, words in ran.err) == (1, True), ran
