"""No secret comes out: not in plain, in base64 or URL-encoded, on any output of any command, in a file or in `ps`.

The secrets are those of the sandbox itself: the secret access keys that it made, the passwords that derive from them,
a BYODKIM private key, and the secret with which recon signs. Only `recon smtp password --force` may print one.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from smtp_support import find_key, keys, stored
from support import HOME, OTHER, House, Ran, client, sandbox

import reconciler
from reconciler.aws import Aws
from reconciler.mail.sigv4 import smtp_password

REGIONS = (HOME, OTHER)
SIGNING = "canary-signing+secret/Zm9v="
STATE: dict[str, Any] = {
    "domains": {
        "acme.com": {
            "zone": "manual",
            "dkim": {
                "signing_attributes_origin": "EXTERNAL", "domain_signing_selector": "s1",
                "domain_signing_private_key": {"secretsmanager": "dkim/acme"},
            },
        }
    },
    "smtp_users": {
        "news": {
            "from_addresses": ["*@acme.com"], "consumers": [{"name": "webmail"}],
            "access_key": {"max_age_days": 90, "overlap_days": 7},
            "credentials": {"secretsmanager": {"name": "recon/news"}, "include_secret_access_key": True},
        },
        "office": {"from_addresses": ["*@acme.com"], "credentials": {"ssm": {"name": "/recon/${region}/office"}}},
    },
}  # fmt: skip
FORMATS = ("text", "json", "markdown", "html")


class Canaries:
    """Every secret that there is by now, and every form of it that must not be seen."""

    def __init__(self, dkim: str) -> None:
        body = "".join(line for line in dkim.splitlines() if "-----" not in line)
        # An RSA private key begins with its public half, which stands in DNS (RFC 8017, appendix A.1.2).
        self.known: set[str] = {SIGNING, body[400:464], body[900:964], body[-64:]}
        self.raw = {base64.b64decode(body)[start : start + 48] for start in (300, 640, 900)}

    def learn(self) -> None:
        """Look up which keys exist by now; those that went stay secret."""
        for user in ("news", "office"):
            for key in keys(user).values():
                self.known |= {key.secret, *(smtp_password(key.secret, region) for region in REGIONS)}

    def forms(self) -> Iterator[tuple[str, str]]:
        for secret in self.known:
            raw = secret.encode()
            yield secret, secret
            yield secret, quote(secret, safe="")
            yield secret, quote_plus(secret)
            yield secret, json.dumps(secret)[1:-1]
            yield from ((secret, form) for form in _in_base64(raw))
            yield secret, raw.hex()
        for raw in self.raw:
            yield from (("x" * len(raw), form) for form in (*_in_base64(raw), raw.hex()))

    def search(self, text: str, where: str) -> None:
        flat = re.sub(r"\s+", "", text)
        for secret, form in self.forms():
            assert form not in text and form not in flat, f"{where}: a secret of {len(secret)} characters came out"


def _in_base64(raw: bytes) -> Iterator[str]:
    """The part of a base64 text that ``raw`` alone decides, for each place that it may begin at in a longer one."""
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        yield text[(0, 2, 3)[shift] : len(text) - 1]


@pytest.fixture
def canaries(house: House, monkeypatch: pytest.MonkeyPatch) -> Canaries:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()
    client("secretsmanager").create_secret(Name="dkim/acme", SecretString=pem)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SIGNING)
    monkeypatch.setenv("RECON_SMTP_ENDPOINT", "127.0.0.1:1")
    house.write(STATE, stack={"regions": list(REGIONS)})
    return Canaries(pem)


class Watch:
    """Runs commands and looks through what they said and left behind."""

    def __init__(self, house: House, canaries: Canaries) -> None:
        self.house = house
        self.canaries = canaries

    def __call__(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> Ran:
        ran = self.house.cli(*arguments)
        assert ran.code in codes, ran
        self.look(ran, " ".join(arguments))
        return ran

    def look(self, ran: Ran, where: str) -> None:
        self.canaries.learn()
        self.canaries.search(ran.out, f"standard output of {where}")
        self.canaries.search(ran.err, f"standard error of {where}")
        for path in self.house.home.rglob("*"):
            if path.is_file():
                self.canaries.search(path.read_text(encoding="utf-8", errors="replace"), f"{path.name} after {where}")


def everything(watch: Watch, logs: io.StringIO) -> None:
    """Every command, at every verbosity and in every format that it has."""
    state = "state.yaml"
    watch("validate", state, "--format", "json")
    for format in FORMATS:
        watch("plan", state, "--format", format, "-vv")
        watch("plan", state, "--out", "plan.json", "--format", format)
        watch("show", "plan.json", "--format", format, "-vv")
    watch("apply", state, "--auto-approve", "--allow-adopt", "-vv", codes=(0, 1))
    watch.canaries.learn()
    assert len(watch.canaries.known) > 8
    for format in FORMATS:
        watch("drift", state, "--format", format, "-vv", codes=(0, 1, 2))
        watch("apply", state, "--auto-approve", "--allow-adopt", "--format", format, codes=(0, 1))
    for command in (["graph", state], ["history", state], ["schema"], ["iam-policy", "apply", state]):
        watch(*command)
    for format in ("text", "json"):
        watch("smtp", "rotate", "--due", state, "--format", format, "-vv")
        watch("smtp", "rotate", "news", state, "--format", format, "-vv")
        watch("smtp", "ack", "news", "webmail", state, "--format", format)
        watch("smtp", "verify", state, "--format", format, "-vv", codes=(1, 2))
        watch("smtp", "lock", "news", state, "--format", format, "--auto-approve")
        watch("smtp", "password", "news", "--region", HOME, state, "--format", format, codes=(3,))
        watch("smtp", "rotate", "news", "--compromised", state, "--format", format, "-vv")
        watch("account", "pause", "--region", HOME, state, "--format", format, "--auto-approve")
        watch("account", "resume", "--region", HOME, state, "--format", format, "--auto-approve")
    watch("destroy", state, "--allow-deletes", "100", "--format", "json", codes=(0, 1))
    watch.canaries.search(logs.getvalue(), "the log at level DEBUG")


def test_no_command_says_a_secret(house: House, canaries: Canaries) -> None:
    logs = io.StringIO()
    handler = logging.StreamHandler(logs)
    ours = logging.getLogger("recon")
    before = ours.level
    ours.addHandler(handler)
    ours.setLevel(logging.DEBUG)
    try:
        everything(Watch(house, canaries), logs)
    finally:
        ours.removeHandler(handler)
        ours.setLevel(before)


@pytest.mark.parametrize("do", [pytest.param("error", marks=pytest.mark.slow), "lost"])
@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("secretsmanager", "CreateSecret"), ("ssm", "PutParameter"), ("iam", "TagUser"), ("iam", "CreateAccessKey"),
        ("sesv2", "CreateEmailIdentity"),
    ],
)  # fmt: skip
def test_no_failure_says_a_secret(house: House, canaries: Canaries, do: str, service: str, operation: str) -> None:
    house.sandbox.fault(do, service=service, operation=operation, count=3, code="ValidationException", status=400)
    watch = Watch(house, canaries)
    for format in ("text", "json"):
        watch("apply", "state.yaml", "--auto-approve", "--allow-adopt", "--format", format, "-vv", codes=(0, 1, 3))


def test_a_traceback_says_no_secret(
    house: House, canaries: Canaries, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Even an error of ours that nobody foresaw: its words, and those of what it came from."""
    call = Aws.call

    def broken(self: Aws, service: str, operation: str, *more: Any, **parameters: Any) -> dict[str, Any]:
        answer = call(self, service, operation, *more, **parameters)
        if operation in {"CreateSecret", "PutParameter"}:
            raise RuntimeError("unforeseen")
        return answer

    monkeypatch.setattr(Aws, "call", broken)
    with caplog.at_level(logging.DEBUG, "recon"):
        result = house.apply(expect=None)
    before = len(canaries.known)
    canaries.learn()
    # The other user's key may not be made any more: a run starts nothing new once it has met an error of ours.
    assert len(canaries.known) >= before + 1 + len(REGIONS), "no access key was made: nothing could be said"
    assert "RuntimeError: unforeseen" in caplog.text
    canaries.search(caplog.text + repr(result.diagnostics), "a traceback")


def test_a_request_that_does_not_fit_aws_says_no_secret(house: House, canaries: Canaries) -> None:
    from reconciler.desired import load
    from reconciler.errors import ReconError

    aws = Aws(load(house.home / "state.yaml").state.stack)
    for value in (SIGNING, {"text": SIGNING}, [SIGNING]):
        with pytest.raises(ReconError) as problem:
            aws.call("secretsmanager", "PutSecretValue", SecretId=["x"], SecretString=value, Unknown=SIGNING)
        canaries.search(problem.value.message + problem.value.hint, "a parameter error")


def test_no_process_shows_a_secret(house: House, canaries: Canaries) -> None:
    """The arguments of recon's process and of all below it, as `ps` shows them, while it writes secrets."""
    command = [sys.executable, "-m", "reconciler", "apply", "state.yaml", "--auto-approve", "--allow-adopt"]
    environment = {**os.environ, "PYTHONPATH": str(Path(reconciler.__file__).parents[1])}
    house.sandbox.fault("delay", service="iam", operation="TagUser", count=None, seconds=0.1)
    seen: set[str] = set()
    with subprocess.Popen(
        command, cwd=house.home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None:
            listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
            seen |= {line for line in listed.splitlines() if str(process.pid) in line.split()[:2]}
            if find_key(next(iter(keys("news")), "")):
                canaries.learn()
        out, err = process.communicate()
    canaries.learn()
    assert any("apply state.yaml" in line for line in seen), seen
    canaries.search("\n".join(sorted(seen)), "ps")
    canaries.search(out + err, "the process")


def test_the_search_finds_what_it_should(canaries: Canaries) -> None:
    """A search that finds nothing must be able to find something."""
    secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    canaries.known, canaries.raw = {secret}, set()
    for text in (
        f"x {secret} y", quote(secret, safe=""), base64.b64encode(secret.encode()).decode(), secret.encode().hex(),
        base64.b64encode(f"\0AKIA\0{secret}".encode()).decode(), base64.b64encode(f"ab{secret}cd".encode()).decode(),
        base64.b64encode(f"a{secret}".encode()).decode(), "\n".join(textwrap.wrap(secret, 10)),
    ):  # fmt: skip
        with pytest.raises(AssertionError):
            canaries.search(text, "here")
    canaries.search("nothing here", "here")


def test_only_the_store_holds_the_secret(house: House, canaries: Canaries) -> None:
    """What was asked for is stored; nothing beside the value says it."""
    house.apply(expect=None)
    canaries.learn()
    value = stored(("secretsmanager", HOME, "recon/news"))
    assert value["secret_access_key"] == next(iter(keys("news").values())).secret
    tags = json.dumps(client("iam").list_user_tags(UserName="news")["Tags"])
    canaries.search(tags, "the user's tags")
    described = json.dumps(client("secretsmanager").describe_secret(SecretId="recon/news"), default=str)
    canaries.search(described, "the secret's description")
    listed = json.dumps(client("ssm").describe_parameters()["Parameters"], default=str)
    canaries.search(listed, "the parameters' descriptions")
    assert sandbox().calls(operation="GetSecretValue", service="secretsmanager")
