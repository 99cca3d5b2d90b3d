"""What AWS's answer repeats of a secret is masked by value, in whole or in part, however it is written."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from support import HOME, House, client, sandbox

from reconciler import masking
from reconciler.errors import AwsError, ReconError
from reconciler.mail.sigv4 import smtp_password
from reconciler.model import Diagnostic
from reconciler.sandbox.gateway import Gateway
from reconciler.sandbox.protocol import ApiError

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
FORMS: dict[str, Callable[[str], str]] = {
    "whole": lambda text: text,
    "its first half": lambda text: text[: len(text) // 2] + "...",
    "its second half": lambda text: "..." + text[len(text) // 2 :],
    "its first 24 characters": lambda text: text[:24],
    "from its middle": lambda text: text[len(text) // 3 :][:20],
    "without line breaks": lambda text: "".join(text.split()),
    "as JSON": json.dumps,
    "as JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "with slashes escaped": lambda text: text.replace("/", "\\/"),
    "with Unicode escapes": lambda text: re.sub(r"[^0-9A-Za-z]", lambda c: f"\\u{ord(c[0]):04X}", text),
    "in a URL": lambda text: quote(text, safe=""),
    "in a URL, small": lambda text: quote(text, safe="").lower(),
    "in HTML": lambda text: re.sub(r"[^0-9A-Za-z]", lambda c: f"&#{ord(c[0])};", html.escape(text)),
    "in hexadecimal HTML": lambda text: re.sub(r"[^0-9A-Za-z]", lambda c: f"&#x{ord(c[0]):X};", text),
    "in base64": lambda text: base64.b64encode(text.encode()).decode(),
    "in base64, within more": lambda text: base64.b64encode(f"a{text}b".encode()).decode(),
    "over lines": lambda text: "\n".join(textwrap.wrap(text, 20)),
    "indented": lambda text: "\n".join("    " + line for line in textwrap.wrap(text, 64)),
    "in other letters": str.swapcase,
}


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    masking.forget()
    yield
    masking.forget()


def bare(text: str) -> str:
    return re.sub(r"[^0-9a-z]", "", text.casefold())


def check_nothing_of(secrets: set[str], text: str, form: Callable[[str], str] = str) -> None:
    """No ten letters and digits of a secret are in a text, neither as it is nor in ``form``."""
    shown = bare(text)
    for secret in secrets:
        for written in {bare(secret), bare(form(secret))}:
            found = [written[at : at + 10] for at in range(len(written) - 9) if written[at : at + 10] in shown]
            assert not found, f"{len(found)} parts of a secret came out"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["key", "PEM", "document"])
def test_a_secret_is_masked_however_it_is_written(form: str, kind: str, pem: str) -> None:
    whole = {"key": SECRET, "PEM": pem, "document": json.dumps({"username": "AKIAX", "password": SECRET})}[kind]
    body = re.sub(r"-----[A-Z ]+-----", "", pem)
    masking.remember(whole)
    said = f"Value '{FORMS[form](whole)}' at 'value' failed to satisfy constraint (request 12345678-abcd)"
    shown = masking.mask(said)
    check_nothing_of({"key": {SECRET}, "PEM": {body}, "document": {SECRET}}[kind], shown, FORMS[form])
    assert shown.startswith("Value '") and shown.endswith(
        "at 'value' failed to satisfy constraint (request 12345678-abcd)"
    )


@pytest.mark.parametrize(
    ("secret", "said", "shown"),
    [
        ("hunter2", "wrong password hunter2 for user", "wrong password (sensitive) for user"),
        ("abc", "abc is an abbreviation", "abc is an abbreviation"),
        ("", "nothing", "nothing"),
        (None, "nothing", "nothing"),
        (SECRET.encode(), f"it is {SECRET}.", "it is (sensitive)."),
        (f"{SECRET}\n", f"b'{SECRET}\\n' is not a header", "b'(sensitive)' is not a header"),
        (SECRET, "Value at 'name' failed; the wJalr is no part", "Value at 'name' failed; the wJalr is no part"),
        ('{"host": "email-smtp.us-east-1.amazonaws.com", "password": "Zm9vYmFyYmF6"}',
         "email-smtp.us-east-1.amazonaws.com refused Zm9vYmFyYmF6",
         "email-smtp.us-east-1.amazonaws.com refused (sensitive)"),
        ("[" * 100_000, "deep", "deep"),
        # the message's next and last word begin and end as the secret goes on
        (f"{SECRET}atw", f"Value '{SECRET}' at 'x'", "Value '(sensitive)' at 'x'"),
        (f"xlue{SECRET}", f"Value '{SECRET}' at 'x'", "Value '(sensitive)' at 'x'"),
        (f"ab {SECRET} yz", f"it is 'ab {SECRET} yz'", "it is '(sensitive)'"),
        (f"{SECRET}at", f"it is {SECRET[:30]}\n  {SECRET[30:]}\n  at", "it is (sensitive)"),
    ],
)  # fmt: skip
def test_what_is_masked_and_what_is_not(secret: Any, said: str, shown: str) -> None:
    masking.remember(secret)
    assert masking.mask(said) == shown


def test_every_error_is_masked() -> None:
    masking.remember(SECRET)
    error = AwsError(
        f"AWS said {SECRET}", service="x", operation="Y", region=None, aws_code=SECRET, request_id=SECRET, hint=SECRET
    )
    other = ReconError("x", diagnostics=[Diagnostic("error", "code", f"line 1: {SECRET}", SECRET)])
    for one in (error, other):
        check_nothing_of({SECRET}, repr([str(one), one.message, one.hint, one.diagnostics, vars(one)]))


@pytest.mark.slow
def test_ten_thousand_secrets_cost_little() -> None:
    """A mask of one message must not search for every secret."""
    made = [smtp_password(f"{number:040}", HOME) for number in range(10_000)]
    for secret in made:
        masking.remember(secret)
    for secret in made[::100]:
        check_nothing_of({secret}, masking.mask(f"Value '{secret}' failed to satisfy constraint"))


# --- what commands say ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pem() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()  # fmt: skip


SENT = {
    "CreateEmailIdentity": lambda p: p["DkimSigningAttributes"]["DomainSigningPrivateKey"],
    "PutEmailIdentityDkimSigningAttributes": lambda p: p["SigningAttributes"]["DomainSigningPrivateKey"],
    "CreateSecret": lambda p: p["SecretString"],
    "PutSecretValue": lambda p: p["SecretString"],
    "PutParameter": lambda p: p["Value"],
}
"""The parameter of each call that is a secret."""


class Echo:
    """An AWS that repeats, in one form, the secret of each call in ``SENT``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, form: Callable[[str], str]) -> None:
        self.secrets: set[str] = set()
        carry_out = Gateway._carry_out

        def refuse(gateway: Gateway, call: Any, params: Any, request: Any) -> Any:
            if call.operation not in SENT or "AcmeEcho" in str(request):
                return carry_out(gateway, call, params, request)
            value = SENT[call.operation](params)
            self._learn(value)
            raise ApiError(
                "ValidationException",
                f"1 validation error detected: Value '{form(value)}' at 'value' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern",
                400,
            )

        monkeypatch.setattr(Gateway, "_carry_out", refuse)

    def _learn(self, value: str) -> None:
        if not value.startswith("{"):
            self.secrets.add(value[400:])  # its first half is in DNS (RFC 8017, appendix A.1.2)
            return
        document = json.loads(value)
        parts = [document, *(document.get("regions") or {}).values()]
        self.secrets |= {str(p[k]) for p in parts for k in ("password", "secret_access_key") if k in p}


def state(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "domains": {"acme.com": {"zone": "manual", "dkim": {
            "signing_attributes_origin": "EXTERNAL", "domain_signing_selector": "s1",
            "domain_signing_private_key": {"env": "DKIM_KEY"},
        }}},
        "smtp_users": {
            "news": {
                "from_addresses": ["*@acme.com"],
                "credentials": {"secretsmanager": {"name": "recon/news"}, "include_secret_access_key": True},
            },
            "office": {"from_addresses": ["*@acme.com"], "credentials": {"ssm": {"name": "/recon/office"}}},
        },
    }  # fmt: skip


@pytest.mark.parametrize("form", ["whole", "its second half", "as JSON", "in HTML", "indented"])
def test_apply_masks_what_aws_repeats(house: House, monkeypatch: pytest.MonkeyPatch, pem: str, form: str) -> None:
    monkeypatch.setenv("DKIM_KEY", pem)
    house.write(state())
    echo = Echo(monkeypatch, FORMS[form])
    for format in ("text", "json"):
        ran = house.cli("apply", "state.yaml", "--auto-approve", "--format", format)
        assert ran.code == 1, ran
        assert "1 validation error detected: Value '" in ran.out + ran.err
        assert "(sensitive)" in ran.out + ran.err
        assert len(echo.secrets) > 3
        check_nothing_of(echo.secrets, ran.out + ran.err, FORMS[form])
        files = [path.read_text() for path in house.home.rglob("*") if path.is_file()]
        check_nothing_of(echo.secrets, "\n".join(files), FORMS[form])


def test_apply_masks_the_key_of_an_identity_that_exists(
    house: House, monkeypatch: pytest.MonkeyPatch, pem: str
) -> None:
    """The same for the calls that change what is there already."""
    monkeypatch.setenv("DKIM_KEY", pem)
    document = state()
    document["domains"]["acme.com"]["dkim"] = {"signing_attributes_origin": "AWS_SES"}
    house.apply(document)
    client("secretsmanager").put_secret_value(SecretId="recon/news", SecretString="overwritten")
    client("ssm").put_parameter(Name="/recon/office", Value="overwritten", Overwrite=True, Type="SecureString")
    house.write(state())
    echo = Echo(monkeypatch, FORMS["whole"])
    ran = house.cli("apply", "state.yaml", "--auto-approve", "--format", "json")
    assert ran.code == 1, ran
    assert {c["operation"] for c in sandbox().calls() if c["error"]} >= {
        "PutEmailIdentityDkimSigningAttributes", "PutSecretValue", "PutParameter",
    }  # fmt: skip
    check_nothing_of(echo.secrets, ran.out + ran.err)


@pytest.mark.parametrize("variable", ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
@pytest.mark.parametrize("form", ["whole", "its first half", "in a URL"])
def test_credentials_are_masked(house: House, monkeypatch: pytest.MonkeyPatch, variable: str, form: str) -> None:
    """AWS repeats the session token in the canonical string of a SignatureDoesNotMatch."""
    monkeypatch.setenv(variable, SECRET)
    house.fresh_clients()
    house.write({"domains": {"acme.com": {"zone": "manual"}}})
    message = (
        f"The Canonical String for this request should have been 'GET x-amz-security-token:{FORMS[form](SECRET)} x'"
    )
    house.sandbox.fault("error", count=None, code="SignatureDoesNotMatch", message=message, status=403)
    for format in ("text", "json"):
        ran = house.cli("plan", "state.yaml", "--format", format)
        assert ran.code == 1 and "x-amz-security-token:(sensitive)" in ran.out + ran.err, ran
        check_nothing_of({SECRET}, ran.out + ran.err, FORMS[form])
    assert os.environ[variable] == SECRET
