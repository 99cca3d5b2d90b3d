"""A secret that somebody pasted into the YAML: it is refused or passed over, and never repeated, in no format."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from support import ACCOUNT, House

from reconciler import masking

WORD = "Tr0ub4dorAndThree"
ACCESS_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TOKEN = "IQoJb3JpZ2luX2VjEXAMPLE" + "aB3/" * 30
PASSWORD = "BM" + "aB3/x7" * 7
PEM = rsa.generate_private_key(public_exponent=65537, key_size=1024).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
).decode()  # fmt: skip
PUBLIC = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTN"
DER = "".join(PEM.splitlines()[1:-1])
SHAPED = {"PEM": PEM, "DER": DER, "access key": ACCESS_KEY, "token": TOKEN, "password": PASSWORD}


def user(credentials: Any, **more: Any) -> dict[str, Any]:
    return {"smtp_users": {"news": {"from_addresses": ["*@acme.com"], "credentials": credentials, **more}}}


def key(reference: Any) -> dict[str, Any]:
    return {"domains": {"acme.com": {"zone": "manual", "dkim": {
        "signing_attributes_origin": "EXTERNAL", "domain_signing_selector": "s1",
        "domain_signing_private_key": reference}}}}  # fmt: skip


STORE = {"secretsmanager": {"name": "recon/news"}}


def places(secret: Any) -> dict[str, dict[str, Any]]:
    """A state with ``secret`` at each place where somebody may have pasted one."""
    found = {
        "credentials": user(secret),
        "a key of credentials": user({str(secret): "x"}),
        "a key beside a store": user({**STORE, str(secret): True}),
        "secretsmanager": user({"secretsmanager": secret}),
        "a key of secretsmanager": user({"secretsmanager": {str(secret): "x"}}),
        "a list": user({"secretsmanager": [secret]}),
        "ssm": user({"ssm": secret}),
        "region": user({**STORE, "region": secret}),
        "kms_key_id": user({"secretsmanager": {"name": "recon/news", "kms_key_id": f"{secret} !"}}),
        "include_secret_access_key": user({**STORE, "include_secret_access_key": secret}),
        "access_key": user(STORE, access_key=secret),
        "a key of access_key": user(STORE, access_key={str(secret): 1}),
        "max_age_days": user(STORE, access_key={"max_age_days": secret}),
        "a private key": key(secret),
        "a key of a private key": key({str(secret): "x"}),
        "a list of private keys": key([secret]),
        "the region of a private key": key({"env": "KEY", "region": f"{secret} !"}),
        "defaults": {"defaults": {"smtp_user": {"credentials": secret}}},
        "a class": {"classes": {"t": {"smtp_user": {"credentials": {str(secret): secret}}}}},
        "an environment": {"environments": {"e": {"smtp_users": {"news": {"credentials": secret}}}}},
    }
    return {name: {"stack": {"name": "acme", "account": ACCOUNT, "regions": ["us-east-1"]}, **one}
            for name, one in found.items()}  # fmt: skip


def parts(secret: str) -> set[str]:
    """What of a secret must not be seen: pieces of it that no message has by chance."""
    lines = [line for line in secret.splitlines() if "-----" not in line]
    return {line[at : at + 12] for line in lines for at in range(0, max(len(line) - 11, 1), 6)}


def says_nothing(house: House, secret: str, *more: str) -> None:
    for command in ("validate", "plan"):
        for format in ("text", "json", "markdown", "html", "github", "sarif"):
            if command == "plan" and format in {"github", "sarif"}:
                continue
            ran = house.cli(command, "state.yaml", "--format", format, *more)
            assert ran.code in {0, 1, 3}, ran
            shown = [part for part in parts(secret) if part in ran.out + ran.err]
            assert not shown, f"{command} --format {format}: {shown}\n{ran}"


@pytest.mark.parametrize("place", places(""))
def test_a_password_in_a_wrong_place_is_not_repeated(place: str, house: House) -> None:
    (house.home / "state.yaml").write_text(yaml.safe_dump(places(WORD)[place]))
    more = ("--env", "e") if place == "an environment" else ()
    assert house.cli("validate", "state.yaml", *more).code == 1
    says_nothing(house, WORD, *more)


@pytest.mark.parametrize("shape", SHAPED)
@pytest.mark.parametrize(
    "place", ["credentials", "a key of credentials", "secretsmanager", "kms_key_id", "access_key", "a private key"]
)
def test_what_is_shaped_like_a_secret_is_not_repeated(place: str, shape: str, house: House) -> None:
    (house.home / "state.yaml").write_text(yaml.safe_dump(places(SHAPED[shape])[place]))
    assert house.cli("validate", "state.yaml").code == 1
    says_nothing(house, SHAPED[shape])


REFERENCES = {
    "file": lambda secret: key({"file": secret}),
    "env": lambda secret: key({"env": secret}),
    "the name of a secret": lambda secret: key({"secretsmanager": secret}),
    "the name of a parameter": lambda secret: key({"ssm": secret}),
    "the name of a store": lambda secret: user({"secretsmanager": {"name": secret}}),
}


@pytest.mark.parametrize("shape", SHAPED)
@pytest.mark.parametrize("reference", REFERENCES)
def test_a_secret_in_the_place_of_its_name_is_refused(reference: str, shape: str, house: House) -> None:
    house.write(REFERENCES[reference](SHAPED[shape]))
    ran = house.cli("validate", "state.yaml", "--format", "json")
    assert ran.code == 1
    assert "bad-secret-reference" in {one["code"] for one in ran.json["diagnostics"]}
    says_nothing(house, SHAPED[shape])


@pytest.mark.parametrize("shape", SHAPED)
@pytest.mark.parametrize("place", ["a tag", "a section", "a domain", "a variable", "DMARC", "a rule", "a key"])
def test_a_secret_anywhere_is_not_repeated(place: str, shape: str, house: House) -> None:
    secret = SHAPED[shape]
    house.write({
        "a tag": {"configuration_sets": {"main": {"tags": {"a": secret}}}},
        "a section": {secret: {}},
        "a domain": {"domains": {secret: {}}},
        "a variable": {"vars": {"x": secret}, "configuration_sets": {"main": {"tags": {"a": "${y}"}}}},
        "DMARC": {"domains": {"acme.com": {"dmarc": secret}}},
        "a rule": {"rules": {secret: secret}},
        "a key": {"configuration_sets": {"main": {secret: "x"}}},
    }[place])  # fmt: skip
    says_nothing(house, secret)
    if shape in {"PEM", "DER", "token"} and place in {"a tag", "a variable"}:
        assert "secret-in-yaml" in house.cli("validate", "state.yaml", "--format", "json").out


@pytest.mark.parametrize(
    "text",
    [
        f"credentials: [{WORD}", f"credentials: *{WORD}", f"credentials: !{WORD} x", f"credentials: &{WORD} x",
        f"credentials: {{{WORD}: 1, {WORD}: 2}}", f'credentials: "{WORD}', f"credentials: @{WORD}",
        f"credentials: {WORD}: {WORD}", f"credentials: ${{{WORD}}}", f"credentials: {{secretsmanager: {WORD}: x}}",
    ],
)  # fmt: skip
def test_an_error_of_the_syntax_repeats_nothing(text: str, house: House) -> None:
    (house.home / "state.yaml").write_text(
        f'stack: {{name: acme, account: "{ACCOUNT}", regions: [us-east-1]}}\n'
        f'smtp_users:\n  news:\n    from_addresses: ["*@acme.com"]\n    {text}\n'
    )
    assert house.cli("validate", "state.yaml").code == 1
    says_nothing(house, WORD)


@pytest.mark.parametrize(
    "text",
    [
        f"v=DKIM1; k=rsa; p={PUBLIC}",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709", "google-site-verification=rXOxyZounnZasA8Z7oaD3c14JdjS9aKSWvsR1Eb",
        "arn:aws:iam::111122223333:role/service-role/ses-event-destination", "https://acme.com/path/to/logo.svg",
        "abcdefghijklmnopqrstuvwxyz123456._domainkey.acme.com", "sha256:" + "0123456789abcdef" * 4,
        "mailto:dmarc@acme.com!10m", "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=",
    ],
)  # fmt: skip
def test_what_is_no_secret_is_shown(text: str) -> None:
    assert masking.mask(text) == text
    assert json.dumps(text)


def test_names_are_still_shown(house: House) -> None:
    """Where a password is kept is no secret: the plan says it."""
    house.write(user(STORE))
    assert "recon/news" in house.cli("plan", "state.yaml").out
