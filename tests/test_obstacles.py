"""Deletions that AWS would refuse are refused by the plan, by name, before anything of the resource is taken away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support import ACCOUNT, HOME, OTHER, House, client

from reconciler.model import Plan

Document = dict[str, Any]
CODES = {"AuthenticationCode1": "123456", "AuthenticationCode2": "654321"}
ELSE = {"secretsmanager": {"name": "recon/else"}}
STORE = {"secretsmanager": {"name": "recon/news"}}
NEWS: Document = {"smtp_users": {"news": {"from_addresses": ["*@acme.com"], "credentials": STORE}}}


def refused(plan: Plan) -> dict[str, tuple[str, str]]:
    """Address -> code and message of what the plan refuses."""
    return {c.address: (c.refused.code, c.refused.message) for c in plan.changes if c.refused}


# --- users ---------------------------------------------------------------------------------------------------------


def password(iam: Any) -> Callable[[], Any]:
    iam.create_login_profile(UserName="news", Password="x" * 20)
    return lambda: iam.delete_login_profile(UserName="news")


def mfa(iam: Any) -> Callable[[], Any]:
    device = iam.create_virtual_mfa_device(VirtualMFADeviceName="phone")["VirtualMFADevice"]["SerialNumber"]
    iam.enable_mfa_device(UserName="news", SerialNumber=device, **CODES)
    return lambda: iam.deactivate_mfa_device(UserName="news", SerialNumber=device)


def ssh_key(iam: Any) -> Callable[[], Any]:
    made = iam.upload_ssh_public_key(UserName="news", SSHPublicKeyBody="ssh-rsa A")["SSHPublicKey"]["SSHPublicKeyId"]
    return lambda: iam.delete_ssh_public_key(UserName="news", SSHPublicKeyId=made)


def certificate(iam: Any) -> Callable[[], Any]:
    made = iam.upload_signing_certificate(UserName="news", CertificateBody="x")["Certificate"]["CertificateId"]
    return lambda: iam.delete_signing_certificate(UserName="news", CertificateId=made)


def service_credential(iam: Any) -> Callable[[], Any]:
    made = iam.create_service_specific_credential(UserName="news", ServiceName="codecommit.amazonaws.com")
    made = made["ServiceSpecificCredential"]["ServiceSpecificCredentialId"]
    return lambda: iam.delete_service_specific_credential(UserName="news", ServiceSpecificCredentialId=made)


HELD: dict[str, Callable[[Any], Callable[[], Any]]] = {
    "a password for the console": password, "the MFA device": mfa, "the SSH key": ssh_key,
    "the signing certificate": certificate, "the service credential": service_credential,
}  # fmt: skip


def test_what_a_person_has_with_a_user_keeps_it_whole(house: House) -> None:
    house.settle(NEWS)
    iam = client("iam")
    undo = [make(iam) for make in HELD.values()]
    plan = house.plan({})
    code, message = refused(plan)["smtp_user/news"]
    assert code == "delete-blocked"
    assert all(words in message for words in HELD)
    hint = next(d.hint for d in plan.diagnostics if d.code == code)
    assert hint.count("aws iam de") == len(HELD)
    assert house.make(removing=True).plan.outcome == "refused"
    for number, away in enumerate(undo):
        left = list(HELD)[number:]
        assert all((words in refused(house.plan())["smtp_user/news"][1]) is (words in left) for words in HELD)
        away()
    house.settle({})
    assert [u["UserName"] for u in iam.list_users()["Users"]] == []


def test_what_cannot_be_asked_is_not_deleted(house: House) -> None:
    house.settle(NEWS)
    house.sandbox.fault("denied", operation="ListMFADevices", count=None)
    plan = house.plan({})
    assert not plan.changes
    assert "smtp_user/news" in plan.unread
    assert "ListMFADevices" in next(d for d in plan.diagnostics if d.code == "unread").message


def test_nothing_is_asked_where_nothing_is_deleted(house: House) -> None:
    house.settle(NEWS)
    house.clear()
    house.plan()
    assert not {"iam:GetLoginProfile", "sesv2:ListTenants"} & set(house.calls())


# --- tenants -------------------------------------------------------------------------------------------------------

ASSOCIATED: dict[str, tuple[Document, str]] = {
    f"email_identity/{HOME}/acme.com": ({"domains": {"acme.com": {"zone": "manual"}}}, "identity/acme.com"),
    f"email_identity/{HOME}/ceo@acme.com": ({"email_addresses": {"ceo@acme.com": {}}}, "identity/ceo@acme.com"),
    f"configuration_set/{HOME}/main": ({"configuration_sets": {"main": {}}}, "configuration-set/main"),
    f"email_template/{HOME}/hi": ({"email_templates": {"hi": {"subject": "Hi", "text": "Hi"}}}, "template/hi"),
}


@pytest.mark.parametrize("address", ASSOCIATED)
def test_what_a_tenant_has_is_not_deleted(house: House, address: str) -> None:
    document, part = ASSOCIATED[address]
    house.apply(document)
    sesv2, arn = client("sesv2"), f"arn:aws:ses:{HOME}:{ACCOUNT}:{part}"
    assert house.plan({}).outcome == "changes"
    for name in ("shop", "blog"):
        sesv2.create_tenant(TenantName=name)
        sesv2.create_tenant_resource_association(TenantName=name, ResourceArn=arn)
    code, message = refused(house.plan({}))[address]
    assert code == "delete-blocked"
    assert "the tenant blog and an association with the tenant shop" in message
    house.sandbox.fault("denied", operation="ListResourceTenants", count=None)
    assert address in house.plan().unread
    house.sandbox.clear_faults()
    for name in ("shop", "blog"):
        sesv2.delete_tenant_resource_association(TenantName=name, ResourceArn=arn)
    house.settle({})


# --- in use by others ----------------------------------------------------------------------------------------------


def test_a_pool_that_a_set_of_others_sends_from_is_not_deleted(house: House) -> None:
    house.settle({"dedicated_ip_pools": {"tx": {}}})
    sesv2 = client("sesv2")
    sesv2.create_configuration_set(ConfigurationSetName="theirs", DeliveryOptions={"SendingPoolName": "tx"})
    sesv2.create_configuration_set(ConfigurationSetName="other")
    code, message = refused(house.plan({}))[f"dedicated_ip_pool/{HOME}/tx"]
    assert (code, "configuration_set/us-east-1/theirs still sends from it" in message) == ("in-use", True)
    # Where their sets may not be read the plan says so, and AWS decides.
    house.sandbox.fault("denied", operation="GetConfigurationSet", count=None)
    plan = house.plan()
    assert (plan.outcome, "users-unread" in {d.code for d in plan.diagnostics}) == ("changes", True)
    house.sandbox.clear_faults()
    sesv2.delete_configuration_set(ConfigurationSetName="theirs")
    house.settle({})


# --- stores --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("then", [{}, {"smtp_users": {"news": {**NEWS["smtp_users"]["news"], "credentials": ELSE}}}])
def test_a_secret_with_replicas_is_not_deleted(house: House, then: Document) -> None:
    house.settle(NEWS)
    secrets = client("secretsmanager")
    secrets.replicate_secret_to_regions(SecretId="recon/news", AddReplicaRegions=[{"Region": OTHER}])
    code, message = refused(house.plan(then))["smtp_credential/news"]
    assert (code, OTHER in message) == ("delete-blocked", True)
    secrets.remove_regions_from_replication(SecretId="recon/news", RemoveReplicaRegions=[OTHER])
    house.settle(then)
