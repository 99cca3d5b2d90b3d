"""IAM, STS, tagging and CloudTrail in the sandbox, with roles, enforced policies and delayed visibility."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest
from test_sandbox_support import change, client, code_of, entry, fresh, message_of

from reconciler.sandbox import Sandbox

SEND = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "ses:SendRawEmail", "Resource": "*"}]})  # fmt: skip
DENIED = ("AccessDenied", 403)


@pytest.fixture
def sandbox() -> Sandbox:
    return fresh()


@pytest.fixture
def iam(sandbox: Sandbox) -> Any:
    return client("iam")


@pytest.fixture
def user(iam: Any) -> Any:
    iam.create_user(UserName="News", Path="/ses-smtp/", Tags=[{"Key": "owner", "Value": "growth"}])
    return iam


# --- users ---------------------------------------------------------------------------------------------------------


def test_user_life(user: Any) -> None:
    found = user.get_user(UserName="news")["User"]
    assert (found["UserName"], found["Path"]) == ("News", "/ses-smtp/")
    assert found["Arn"] == "arn:aws:iam::111122223333:user/ses-smtp/News"
    assert found["Tags"] == [{"Key": "owner", "Value": "growth"}]
    assert code_of(lambda: user.create_user(UserName="NEWS")) == ("EntityAlreadyExists", 409)
    assert code_of(lambda: user.get_user(UserName="nobody")) == ("NoSuchEntity", 404)
    assert code_of(lambda: user.create_user(UserName="a b"))[0] == "ValidationError"
    user.create_user(UserName="root-path")
    listed = user.list_users(PathPrefix="/ses-smtp/")["Users"]
    assert [u["UserName"] for u in listed] == ["News"]
    assert "Tags" not in listed[0]
    user.update_user(UserName="News", NewUserName="Letters", NewPath="/x/")
    assert user.get_user(UserName="letters")["User"]["Arn"].endswith(":user/x/Letters")


def test_tags(user: Any) -> None:
    user.tag_user(UserName="News", Tags=[{"Key": "OWNER", "Value": "sales"}, {"Key": "recon:key", "Value": "AKIA1"}])
    tags = {t["Key"]: t["Value"] for t in user.list_user_tags(UserName="News")["Tags"]}
    assert tags == {"owner": "sales", "recon:key": "AKIA1"}
    user.untag_user(UserName="News", TagKeys=["recon:key"])
    assert [t["Key"] for t in user.get_user(UserName="News")["User"]["Tags"]] == ["owner"]
    many = [{"Key": f"k{n}", "Value": ""} for n in range(50)]
    assert code_of(lambda: user.tag_user(UserName="News", Tags=many))[0] == "LimitExceeded"


def test_two_keys_at_most(user: Any) -> None:
    first, second = (user.create_access_key(UserName="News")["AccessKey"] for _ in range(2))
    assert (len(first["AccessKeyId"]), len(first["SecretAccessKey"]), first["Status"]) == (20, 40, "Active")
    user.update_access_key(UserName="News", AccessKeyId=first["AccessKeyId"], Status="Inactive")
    assert code_of(lambda: user.create_access_key(UserName="News")) == ("LimitExceeded", 409)
    listed = user.list_access_keys(UserName="News")["AccessKeyMetadata"]
    assert [(k["AccessKeyId"], k["Status"]) for k in listed] == [
        (first["AccessKeyId"], "Inactive"), (second["AccessKeyId"], "Active"),
    ]  # fmt: skip
    assert "SecretAccessKey" not in str(listed)
    user.delete_access_key(UserName="News", AccessKeyId=first["AccessKeyId"])
    user.create_access_key(UserName="News")
    assert code_of(lambda: user.delete_access_key(UserName="News", AccessKeyId="AKIANONE"))[0] == "ValidationError"
    missing = "AKIA" + "0" * 16
    assert code_of(lambda: user.delete_access_key(UserName="News", AccessKeyId=missing)) == ("NoSuchEntity", 404)


def test_keys_work_until_they_do_not(sandbox: Sandbox, user: Any) -> None:
    sandbox.settings(key_delay=10.0)
    key = user.create_access_key(UserName="News")["AccessKey"]["AccessKeyId"]
    last = lambda: user.get_access_key_last_used(AccessKeyId=key)["AccessKeyLastUsed"]  # noqa: E731
    sts, ses = client("sts", access_key=key), client("sesv2", "eu-west-1", key)
    assert code_of(sts.get_caller_identity) == ("InvalidClientTokenId", 403)
    assert last() == {"ServiceName": "N/A", "Region": "N/A"}
    sandbox.advance(11)
    assert sts.get_caller_identity()["Arn"] == "arn:aws:iam::111122223333:user/ses-smtp/News"
    ses.get_account()
    assert (last()["ServiceName"], last()["Region"]) == ("ses", "eu-west-1")
    user.update_access_key(UserName="News", AccessKeyId=key, Status="Inactive")
    assert code_of(ses.get_account) == ("UnrecognizedClientException", 403)
    user.update_access_key(UserName="News", AccessKeyId=key, Status="Active")
    ses.get_account()
    user.delete_access_key(UserName="News", AccessKeyId=key)
    assert code_of(ses.get_account)[0] == "UnrecognizedClientException"


def test_delete_user_needs_everything_gone(user: Any) -> None:
    arn = user.create_policy(PolicyName="b", PolicyDocument=SEND)["Policy"]["Arn"]
    key = user.create_access_key(UserName="News")["AccessKey"]["AccessKeyId"]
    user.create_login_profile(UserName="News", Password="x")
    user.put_user_policy(UserName="News", PolicyName="send", PolicyDocument=SEND)
    user.attach_user_policy(UserName="News", PolicyArn=arn)
    user.create_group(GroupName="senders")
    user.add_user_to_group(GroupName="senders", UserName="News")
    user.put_user_permissions_boundary(UserName="News", PermissionsBoundary=arn)
    user.create_virtual_mfa_device(VirtualMFADeviceName="phone")
    device = "arn:aws:iam::111122223333:mfa/phone"
    codes = {"AuthenticationCode1": "123456", "AuthenticationCode2": "654321"}
    user.enable_mfa_device(UserName="News", SerialNumber=device, **codes)
    ssh = user.upload_ssh_public_key(UserName="News", SSHPublicKeyBody="ssh-rsa A")["SSHPublicKey"]["SSHPublicKeyId"]
    signing = user.upload_signing_certificate(UserName="News", CertificateBody="x")["Certificate"]["CertificateId"]
    git = user.create_service_specific_credential(UserName="News", ServiceName="codecommit.amazonaws.com")
    git = git["ServiceSpecificCredential"]["ServiceSpecificCredentialId"]
    delete = lambda: user.delete_user(UserName="News")  # noqa: E731
    steps = (
        lambda: user.deactivate_mfa_device(UserName="News", SerialNumber=device),
        lambda: user.delete_ssh_public_key(UserName="News", SSHPublicKeyId=ssh),
        lambda: user.delete_signing_certificate(UserName="News", CertificateId=signing),
        lambda: user.delete_service_specific_credential(UserName="News", ServiceSpecificCredentialId=git),
        lambda: user.delete_login_profile(UserName="News"),
        lambda: user.delete_access_key(UserName="News", AccessKeyId=key),
        lambda: user.delete_user_policy(UserName="News", PolicyName="send"),
        lambda: user.detach_user_policy(UserName="News", PolicyArn=arn),
        lambda: user.remove_user_from_group(GroupName="senders", UserName="News"),
    )
    for step in steps:
        assert code_of(delete) == ("DeleteConflict", 409)
        step()
    delete()
    user.delete_policy(PolicyArn=arn)
    user.delete_group(GroupName="senders")
    assert code_of(delete) == ("NoSuchEntity", 404)


def test_inline_policies(user: Any) -> None:
    user.put_user_policy(UserName="News", PolicyName="send", PolicyDocument=SEND)
    assert user.get_user_policy(UserName="News", PolicyName="send")["PolicyDocument"] == json.loads(SEND)
    assert user.list_user_policies(UserName="News")["PolicyNames"] == ["send"]
    put = lambda text: user.put_user_policy(UserName="News", PolicyName="p", PolicyDocument=text)  # noqa: E731
    for bad in ("{", '{"Statement": []}', '{"Statement": {"Effect": "Maybe"}}', '{"Statement": {"Effect": "Allow"}}'):
        if bad != '{"Statement": []}':
            assert code_of(lambda bad=bad: put(bad)) == ("MalformedPolicyDocument", 400)
    long = json.dumps({"Statement": [{"Effect": "Allow", "Action": "x:" + "y" * 2048, "Resource": "*"}]})
    assert code_of(lambda: put(long)) == ("LimitExceeded", 409)
    user.delete_user_policy(UserName="News", PolicyName="send")
    assert code_of(lambda: user.get_user_policy(UserName="News", PolicyName="send")) == ("NoSuchEntity", 404)


def test_boundary_must_exist(user: Any) -> None:
    put = lambda arn: user.put_user_permissions_boundary(UserName="News", PermissionsBoundary=arn)  # noqa: E731
    assert code_of(lambda: put("arn:aws:iam::111122223333:policy/none")) == ("NoSuchEntity", 404)
    put("arn:aws:iam::aws:policy/PowerUserAccess")
    found = user.get_user(UserName="News")["User"]["PermissionsBoundary"]
    assert found["PermissionsBoundaryArn"] == "arn:aws:iam::aws:policy/PowerUserAccess"
    user.delete_user_permissions_boundary(UserName="News")
    assert "PermissionsBoundary" not in user.get_user(UserName="News")["User"]


def test_account_authorization_details(user: Any) -> None:
    arn = user.create_policy(PolicyName="b", PolicyDocument=SEND, Path="/m/")["Policy"]["Arn"]
    user.put_user_policy(UserName="News", PolicyName="send", PolicyDocument=SEND)
    user.put_user_permissions_boundary(UserName="News", PermissionsBoundary=arn)
    user.attach_user_policy(UserName="News", PolicyArn=arn)
    user.create_group(GroupName="AWSSESSendingGroupDoNotRename")
    user.put_group_policy(GroupName="AWSSESSendingGroupDoNotRename", PolicyName="all", PolicyDocument=SEND)
    user.add_user_to_group(GroupName="AWSSESSendingGroupDoNotRename", UserName="News")
    found = user.get_account_authorization_details(Filter=["User"])
    assert (found["GroupDetailList"], found["Policies"], found["IsTruncated"]) == ([], [], False)
    (detail,) = found["UserDetailList"]
    assert detail["Tags"] == [{"Key": "owner", "Value": "growth"}]
    assert detail["UserPolicyList"] == [{"PolicyName": "send", "PolicyDocument": json.loads(SEND)}]
    assert detail["GroupList"] == ["AWSSESSendingGroupDoNotRename"]
    assert detail["AttachedManagedPolicies"] == [{"PolicyName": "b", "PolicyArn": arn}]
    assert detail["PermissionsBoundary"]["PermissionsBoundaryArn"] == arn
    whole = user.get_account_authorization_details()
    assert whole["GroupDetailList"][0]["GroupPolicyList"][0]["PolicyDocument"] == json.loads(SEND)
    assert whole["Policies"][0]["PolicyVersionList"][0]["Document"] == json.loads(SEND)
    for n in range(5):
        user.create_user(UserName=f"u{n}")
    pages = list(user.get_paginator("get_account_authorization_details").paginate(
        Filter=["User"], PaginationConfig={"PageSize": 2}))  # fmt: skip
    assert [len(p["UserDetailList"]) for p in pages] == [2, 2, 2]


def test_managed_policies_and_versions(iam: Any) -> None:
    arn = iam.create_policy(PolicyName="b", PolicyDocument=SEND)["Policy"]["Arn"]
    assert code_of(lambda: iam.create_policy(PolicyName="b", PolicyDocument=SEND)) == ("EntityAlreadyExists", 409)
    other = SEND.replace("SendRawEmail", "SendEmail")
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=other, SetAsDefault=True)
    assert iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"] == "v2"
    version = iam.get_policy_version(PolicyArn=arn, VersionId="v2")["PolicyVersion"]
    assert version["Document"] == json.loads(other)
    assert [v["VersionId"] for v in iam.list_policy_versions(PolicyArn=arn)["Versions"]] == ["v1", "v2"]
    assert code_of(lambda: iam.delete_policy(PolicyArn=arn)) == ("DeleteConflict", 409)
    assert code_of(lambda: iam.delete_policy_version(PolicyArn=arn, VersionId="v2")) == ("DeleteConflict", 409)
    iam.delete_policy_version(PolicyArn=arn, VersionId="v1")
    assert [p["Arn"] for p in iam.list_policies(Scope="Local")["Policies"]] == [arn]
    iam.delete_policy(PolicyArn=arn)


def test_groups(user: Any) -> None:
    user.create_group(GroupName="g", Path="/x/")
    user.add_user_to_group(GroupName="G", UserName="news")
    user.add_user_to_group(GroupName="g", UserName="News")
    assert [u["UserName"] for u in user.get_group(GroupName="g")["Users"]] == ["News"]
    assert [g["GroupName"] for g in user.list_groups_for_user(UserName="News")["Groups"]] == ["g"]
    assert [g["GroupName"] for g in user.list_groups()["Groups"]] == ["g"]
    assert code_of(lambda: user.delete_group(GroupName="g")) == ("DeleteConflict", 409)
    user.put_group_policy(GroupName="g", PolicyName="p", PolicyDocument=SEND)
    assert user.get_group_policy(GroupName="g", PolicyName="p")["PolicyDocument"] == json.loads(SEND)
    user.attach_group_policy(GroupName="g", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    attached = user.list_attached_group_policies(GroupName="g")["AttachedPolicies"]
    assert attached[0]["PolicyName"] == "ReadOnlyAccess"
    user.remove_user_from_group(GroupName="g", UserName="News")
    assert code_of(lambda: user.remove_user_from_group(GroupName="g", UserName="News")) == ("NoSuchEntity", 404)


def test_credential_report(sandbox: Sandbox, user: Any) -> None:
    assert code_of(user.get_credential_report) == ("ReportNotPresent", 410)
    user.create_access_key(UserName="News")
    sandbox.settings(report_delay=10)
    assert user.generate_credential_report()["State"] == "STARTED"
    assert user.generate_credential_report()["State"] == "INPROGRESS"
    assert code_of(user.get_credential_report) == ("ReportInProgress", 404)
    sandbox.advance(10)
    assert user.generate_credential_report()["State"] == "COMPLETE"
    rows = list(csv.DictReader(user.get_credential_report()["Content"].decode().splitlines()))
    assert rows[0]["user"] == "News"
    assert (rows[0]["access_key_1_active"], rows[0]["access_key_2_active"]) == ("true", "false")
    user.create_access_key(UserName="News")
    user.generate_credential_report()
    rows = list(csv.DictReader(user.get_credential_report()["Content"].decode().splitlines()))
    assert rows[0]["access_key_2_active"] == "false", "a report is kept for four hours"
    sandbox.advance(4 * 3600)
    assert code_of(user.get_credential_report) == ("ReportExpired", 410)
    assert user.generate_credential_report()["State"] == "STARTED"
    assert user.get_account_summary()["SummaryMap"]["Users"] == 1


TRUST = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}]})  # fmt: skip


TEAM = [{"Key": "team", "Value": "mail"}]


def test_roles(iam: Any) -> None:
    bad = code_of(lambda: iam.create_role(RoleName="r", AssumeRolePolicyDocument="{}"))
    assert bad == ("MalformedPolicyDocument", 400)
    made = iam.create_role(RoleName="Blast", Path="/mail/", AssumeRolePolicyDocument=TRUST, Tags=TEAM)
    assert made["Role"]["Arn"] == "arn:aws:iam::111122223333:role/mail/Blast"
    again = code_of(lambda: iam.create_role(RoleName="blast", AssumeRolePolicyDocument=TRUST))
    assert again == ("EntityAlreadyExists", 409)
    iam.put_role_policy(RoleName="blast", PolicyName="p", PolicyDocument=SEND)
    iam.attach_role_policy(RoleName="Blast", PolicyArn="arn:aws:iam::aws:policy/AmazonSESFullAccess")
    bounded = iam.create_policy(PolicyName="edge", PolicyDocument=SEND)["Policy"]["Arn"]
    iam.put_role_permissions_boundary(RoleName="Blast", PermissionsBoundary=bounded)
    assert iam.get_role_policy(RoleName="Blast", PolicyName="p")["PolicyDocument"] == json.loads(SEND)
    role = iam.get_role(RoleName="Blast")["Role"]
    assert role["AssumeRolePolicyDocument"] == json.loads(TRUST)
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == bounded
    assert "Tags" not in iam.list_roles()["Roles"][0]
    assert code_of(lambda: iam.delete_role(RoleName="Blast")) == ("DeleteConflict", 409)
    assert code_of(lambda: iam.delete_policy(PolicyArn=bounded)) == ("DeleteConflict", 409)
    detail = iam.get_account_authorization_details(Filter=["Role", "AWSManagedPolicy"])
    (found,) = detail["RoleDetailList"]
    assert found["RolePolicyList"][0]["PolicyDocument"] == json.loads(SEND)
    assert found["AttachedManagedPolicies"][0]["PolicyName"] == "AmazonSESFullAccess"
    assert (found["RoleLastUsed"], found["Tags"]) == ({}, TEAM)
    assert [p["PolicyName"] for p in detail["Policies"]] == ["AmazonSESFullAccess"]
    document = detail["Policies"][0]["PolicyVersionList"][0]["Document"]
    assert document["Statement"][0]["Action"] == "ses:*"
    for undo in (
        lambda: iam.delete_role_policy(RoleName="Blast", PolicyName="p"),
        lambda: iam.detach_role_policy(RoleName="Blast", PolicyArn="arn:aws:iam::aws:policy/AmazonSESFullAccess"),
        lambda: iam.delete_role_permissions_boundary(RoleName="Blast"),
        lambda: iam.delete_role(RoleName="Blast"),
    ):
        undo()
        assert code_of(undo) == ("NoSuchEntity", 404)


def test_a_role_remembers_its_last_use(sandbox: Sandbox, iam: Any) -> None:
    iam.create_role(RoleName="Blast", AssumeRolePolicyDocument=TRUST)
    arn = "arn:aws:iam::111122223333:role/Blast"
    key = client("sts").assume_role(RoleArn=arn, RoleSessionName="session")["Credentials"]["AccessKeyId"]
    client("sesv2", region="eu-west-1", access_key=key).get_account()
    assert iam.get_role(RoleName="Blast")["Role"]["RoleLastUsed"]["Region"] == "eu-west-1"


def test_what_the_sandbox_does_not_have_of_iam(iam: Any) -> None:
    assert code_of(lambda: iam.simulate_principal_policy(
        PolicySourceArn="arn:aws:iam::111122223333:user/u", ActionNames=["ses:GetAccount"]))[1] == 501  # fmt: skip


# --- delayed visibility --------------------------------------------------------------------------------------------


def test_reads_can_trail_writes_by_reads(sandbox: Sandbox, iam: Any) -> None:
    sandbox.consistency(iam={"reads": 2})
    iam.create_user(UserName="u")
    for _ in range(2):
        assert code_of(lambda: iam.get_user(UserName="u")) == ("NoSuchEntity", 404)
    iam.get_user(UserName="u")
    assert code_of(lambda: iam.create_user(UserName="u")) == ("EntityAlreadyExists", 409)


def test_reads_can_trail_writes_by_seconds(sandbox: Sandbox, iam: Any) -> None:
    sandbox.consistency(iam={"seconds": 5})
    iam.create_user(UserName="u")
    assert iam.list_users()["Users"] == []
    sandbox.advance(3)
    iam.tag_user(UserName="u", Tags=[{"Key": "a", "Value": "b"}])
    iam.create_access_key(UserName="u")
    assert code_of(lambda: iam.get_user(UserName="u"))[0] == "NoSuchEntity"
    sandbox.advance(2.5)
    assert "Tags" not in iam.get_user(UserName="u")["User"]
    sandbox.advance(3)
    assert iam.get_user(UserName="u")["User"]["Tags"] == [{"Key": "a", "Value": "b"}]
    assert len(iam.list_access_keys(UserName="u")["AccessKeyMetadata"]) == 1
    sandbox.consistency(iam=None)


def test_ses_reads_can_trail(sandbox: Sandbox) -> None:
    ses = client("sesv2")
    sandbox.consistency(ses={"reads": 1})
    ses.create_email_identity(EmailIdentity="acme.com")
    assert code_of(lambda: ses.get_email_identity(EmailIdentity="acme.com"))[0] == "NotFoundException"
    ses.get_email_identity(EmailIdentity="acme.com")


# --- STS and accounts ----------------------------------------------------------------------------------------------


def test_assumed_roles_act_in_their_account(sandbox: Sandbox) -> None:
    made = client("sts").assume_role(RoleArn="arn:aws:iam::444455556666:role/ops/recon", RoleSessionName="run1")
    key = made["Credentials"]["AccessKeyId"]
    found = client("sts", access_key=key).get_caller_identity()
    assert found["Account"] == "444455556666"
    assert found["Arn"] == "arn:aws:sts::444455556666:assumed-role/recon/run1"
    client("sesv2", access_key=key).create_email_identity(EmailIdentity="acme.com")
    client("secretsmanager", access_key=key).create_secret(Name="s", SecretString="x")
    client("iam", access_key=key).create_user(UserName="u")
    client("route53", access_key=key).create_hosted_zone(Name="acme.com", CallerReference="1")
    assert client("sesv2").list_email_identities()["EmailIdentities"] == []
    assert client("secretsmanager").list_secrets()["SecretList"] == []
    assert client("iam").list_users()["Users"] == []
    assert client("route53").list_hosted_zones()["HostedZones"] == []
    arn = client("secretsmanager", access_key=key).describe_secret(SecretId="s")["ARN"]
    assert ":444455556666:" in arn
    sandbox.advance(3601)
    assert code_of(client("sts", access_key=key).get_caller_identity) == ("ExpiredToken", 403)
    assert code_of(client("sesv2", access_key=key).get_account) == ("ExpiredTokenException", 403)


def test_identity_verification_sees_zones_of_other_accounts(sandbox: Sandbox) -> None:
    made = sandbox.seed(zones=[{"name": "acme.com", "account": "999900001111"}])
    found = client("sesv2").create_email_identity(EmailIdentity="acme.com")["DkimAttributes"]
    records = [
        {"zone": made["zones"]["acme.com"], "name": f"{t}._domainkey.acme.com", "type": "CNAME",
         "values": [f"{t}.{found['SigningHostedZone']}"]}
        for t in found["Tokens"]
    ]  # fmt: skip
    sandbox.seed(records=records)
    assert client("sesv2").get_email_identity(EmailIdentity="acme.com")["VerificationStatus"] == "SUCCESS"


def test_a_region_that_is_not_enabled(sandbox: Sandbox) -> None:
    sandbox.settings(disabled_regions=["af-south-1"])
    assert code_of(client("sesv2", "af-south-1").get_account) == ("UnrecognizedClientException", 403)
    assert code_of(client("resourcegroupstaggingapi", "af-south-1").get_resources)[0] == "UnrecognizedClientException"
    client("sts", "af-south-1").get_caller_identity()


# --- enforced policies ---------------------------------------------------------------------------------------------


def limited(sandbox: Sandbox, *statements: dict[str, Any]) -> str:
    sandbox.principal("AKIALIMITED000000000", policies=[{"Version": "2012-10-17", "Statement": list(statements)}])
    return "AKIALIMITED000000000"


def test_a_read_only_key_reads_and_does_not_write(sandbox: Sandbox) -> None:
    actions = ["ses:Get*", "ses:List*", "route53:List*", "tag:GetResources"]
    key = limited(sandbox, {"Effect": "Allow", "Action": actions, "Resource": "*"})
    ses = client("sesv2", access_key=key)
    ses.list_email_identities()
    client("ses", access_key=key).list_identities()
    client("route53", access_key=key).list_hosted_zones()
    client("resourcegroupstaggingapi", access_key=key).get_resources()
    client("sts", access_key=key).get_caller_identity()
    assert code_of(lambda: ses.create_email_identity(EmailIdentity="acme.com")) == ("AccessDeniedException", 403)
    assert "not authorized to perform: ses:CreateEmailIdentity on resource: arn:aws:ses:us-east-1:" in message_of(
        lambda: ses.create_email_identity(EmailIdentity="acme.com")
    )
    assert code_of(client("iam", access_key=key).list_users) == ("AccessDenied", 403)
    assert code_of(client("secretsmanager", access_key=key).list_secrets) == ("AccessDeniedException", 403)
    assert code_of(lambda: client("s3", access_key=key).get_object(Bucket="bkt", Key="k")) == ("AccessDenied", 403)


def test_resources_and_denies(sandbox: Sandbox) -> None:
    ses = client("sesv2")
    for name in ("a.acme.com", "b.acme.com"):
        ses.create_email_identity(EmailIdentity=name)
    key = limited(
        sandbox,
        {"Effect": "Allow", "Action": "ses:*", "Resource": "arn:aws:ses:*:111122223333:identity/*.acme.com"},
        {"Effect": "Deny", "Action": "ses:Delete*", "Resource": "*"},
    )
    mine = client("sesv2", access_key=key)
    mine.get_email_identity(EmailIdentity="a.acme.com")
    denied = (
        lambda: mine.get_email_identity(EmailIdentity="acme.com"),
        lambda: mine.delete_email_identity(EmailIdentity="a.acme.com"),
        lambda: mine.get_account(),
        lambda: mine.create_configuration_set(ConfigurationSetName="tx"),
    )
    for call in denied:
        assert code_of(call) == ("AccessDeniedException", 403)


BOUNDARIES = {"mine": "arn:aws:iam::aws:policy/PowerUserAccess", "other": "arn:aws:iam::aws:policy/ReadOnlyAccess"}


def test_the_boundary_is_that_of_the_request_or_of_the_user(sandbox: Sandbox, iam: Any) -> None:
    """Source: Service Authorization Reference for IAM, condition key ``iam:PermissionsBoundary``."""
    condition = {"StringEquals": {"iam:PermissionsBoundary": BOUNDARIES["mine"]}}
    key = limited(sandbox, {"Effect": "Allow", "Action": "iam:*", "Resource": "*", "Condition": condition})
    mine = client("iam", access_key=key)
    for name, boundary in (("none", {}), ("other", {"PermissionsBoundary": BOUNDARIES["other"]})):
        assert code_of(lambda name=name, more=boundary: mine.create_user(UserName=name, **more)) == DENIED
        iam.create_user(UserName=name, **boundary)
        put = lambda name=name: mine.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=SEND)  # noqa: E731
        assert code_of(put) == DENIED, "the boundary of the user counts"
        change_it = lambda name=name: mine.put_user_permissions_boundary(  # noqa: E731
            UserName=name, PermissionsBoundary=BOUNDARIES["other"]
        )
        assert code_of(change_it) == DENIED, "the boundary of the request counts"
        mine.put_user_permissions_boundary(UserName=name, PermissionsBoundary=BOUNDARIES["mine"])
        put()
    mine.create_user(UserName="new", PermissionsBoundary=BOUNDARIES["mine"])
    mine.delete_user(UserName="new")


NAMES = "route53:ChangeResourceRecordSetsNormalizedRecordNames"
TYPES = "route53:ChangeResourceRecordSetsRecordTypes"
ACTIONS = "route53:ChangeResourceRecordSetsActions"


@pytest.mark.parametrize(
    ("condition", "changes", "allowed"),
    [
        ({"ForAllValues:StringEquals": {NAMES: "a.acme.com"}}, [("UPSERT", "A.acme.com.", "TXT")], True),
        ({"ForAllValues:StringEquals": {NAMES: "A.acme.com"}}, [("UPSERT", "A.acme.com", "TXT")], False),
        ({"ForAllValues:StringEquals": {NAMES: "a.acme.com."}}, [("UPSERT", "a.acme.com", "TXT")], False),
        ({"ForAllValues:StringEquals": {NAMES: "\\052.acme.com"}}, [("UPSERT", "*.acme.com", "TXT")], True),
        ({"ForAllValues:StringEquals": {NAMES: "*.acme.com"}}, [("UPSERT", "a.acme.com", "TXT")], False),
        ({"ForAllValues:StringLike": {NAMES: "*.acme.com"}}, [("UPSERT", "a.b.acme.com", "TXT")], True),
        ({"ForAllValues:StringLike": {NAMES: "*.acme.com"}}, [("UPSERT", "acme.com", "TXT")], False),
        (
            {"ForAllValues:StringLike": {NAMES: ["*.acme.com"]}},
            [("UPSERT", "a.acme.com", "TXT"), ("UPSERT", "acme.com", "TXT")],
            False,
        ),
        ({"ForAnyValue:StringLike": {NAMES: "*.acme.com"}},
         [("UPSERT", "a.acme.com", "TXT"), ("UPSERT", "acme.com", "TXT")], True),
        ({"ForAllValues:StringEquals": {TYPES: ["TXT", "MX"]}}, [("UPSERT", "a.acme.com", "NS")], False),
        ({"ForAllValues:StringEquals": {ACTIONS: "CREATE", TYPES: "TXT"}}, [("CREATE", "a.acme.com", "TXT")], True),
        ({"ForAllValues:StringEquals": {ACTIONS: "CREATE"}}, [("UPSERT", "a.acme.com", "TXT")], False),
        ({"ForAllValues:StringEquals": {"iam:PermissionsBoundary": "x"}}, [("UPSERT", "a.acme.com", "TXT")], True),
        ({"StringEquals": {"iam:PermissionsBoundary": "x"}}, [("UPSERT", "a.acme.com", "TXT")], False),
        ({"StringEqualsIfExists": {"iam:PermissionsBoundary": "x"}}, [("UPSERT", "a.acme.com", "TXT")], True),
        ({"StringNotEquals": {"iam:PermissionsBoundary": "x"}}, [("UPSERT", "a.acme.com", "TXT")], True),
        ({"Null": {"iam:PermissionsBoundary": "true"}}, [("UPSERT", "a.acme.com", "TXT")], True),
        ({"Null": {NAMES: "true"}}, [("UPSERT", "a.acme.com", "TXT")], False),
        ({"ForAnyValue:StringEquals": {"iam:PermissionsBoundary": "x"}}, [("UPSERT", "a.acme.com", "TXT")], False),
    ],
)  # fmt: skip
def test_conditions_on_a_batch_of_records(
    sandbox: Sandbox, condition: dict[str, Any], changes: list[tuple[str, str, str]], allowed: bool
) -> None:
    """Source: Route 53 Developer Guide, "Using IAM policy conditions for fine-grained access control"."""
    values = {"TXT": '"x"', "NS": "ns.acme.net."}
    zone = client("route53").create_hosted_zone(Name="acme.com", CallerReference="1")["HostedZone"]["Id"]
    key = limited(sandbox, {"Effect": "Allow", "Action": "route53:*", "Resource": "*", "Condition": condition})
    batch = {"Changes": [entry(verb, name, kind, values[kind]) for verb, name, kind in changes]}
    write = lambda: client("route53", access_key=key).change_resource_record_sets(  # noqa: E731
        HostedZoneId=zone, ChangeBatch=batch
    )
    if allowed:
        write()
    else:
        assert code_of(write) == DENIED


def test_a_deny_with_a_condition_counts_where_it_is_met(sandbox: Sandbox) -> None:
    zone = client("route53").create_hosted_zone(Name="acme.com", CallerReference="1")["HostedZone"]["Id"]
    deny = {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"ForAnyValue:StringEquals": {TYPES: "NS"}}}
    key = limited(sandbox, {"Effect": "Allow", "Action": "*", "Resource": "*"}, deny)
    mine = client("route53", access_key=key)
    for kind, value in (("TXT", '"x"'), ("NS", "ns.acme.net.")):
        batch = {"Changes": [entry("UPSERT", "a.acme.com", kind, value)]}
        write = lambda batch=batch: mine.change_resource_record_sets(  # noqa: E731
            HostedZoneId=zone, ChangeBatch=batch
        )
        if kind == "TXT":
            write()
        else:
            assert code_of(write) == DENIED


def test_tags_limit_what_can_be_done_to_users_and_identities(sandbox: Sandbox, iam: Any) -> None:
    tag = [{"Key": "owner", "Value": "mail"}]
    iam.create_user(UserName="ours", Tags=tag)
    iam.create_user(UserName="theirs")
    for name, tags in (("ours.com", tag), ("theirs.com", [])):
        client("sesv2").create_email_identity(EmailIdentity=name, Tags=tags)
    owned = {"StringEquals": {"aws:ResourceTag/owner": "mail"}}
    key = limited(sandbox, {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": owned})
    mine, ses = client("iam", access_key=key), client("sesv2", access_key=key)
    mine.delete_user(UserName="ours")
    ses.delete_email_identity(EmailIdentity="ours.com")
    assert code_of(lambda: mine.delete_user(UserName="theirs")) == DENIED
    assert code_of(lambda: ses.delete_email_identity(EmailIdentity="theirs.com")) == ("AccessDeniedException", 403)


def test_users_can_be_held_to_their_policies(sandbox: Sandbox, user: Any) -> None:
    user.put_user_policy(UserName="News", PolicyName="send", PolicyDocument=SEND)
    key = user.create_access_key(UserName="News")["AccessKey"]["AccessKeyId"]
    ses = client("sesv2", access_key=key)
    ses.get_account()
    sandbox.settings(enforce_iam=True)
    assert code_of(ses.get_account) == ("AccessDeniedException", 403)
    client("sesv2").get_account()


def test_session_policies_limit_a_role(sandbox: Sandbox) -> None:
    policy = json.dumps({"Statement": [{"Effect": "Allow", "Action": "ses:Get*", "Resource": "*"}]})
    made = client("sts").assume_role(
        RoleArn="arn:aws:iam::444455556666:role/r", RoleSessionName="run", Policy=policy
    )["Credentials"]  # fmt: skip
    ses = client("sesv2", access_key=made["AccessKeyId"])
    ses.get_account()
    assert code_of(ses.list_email_identities)[0] == "AccessDeniedException"


# --- tagging API ---------------------------------------------------------------------------------------------------


def arns(region: str = "us-east-1", **given: Any) -> list[str]:
    found = client("resourcegroupstaggingapi", region).get_resources(**given)
    assert found["PaginationToken"] == ""
    return [r["ResourceARN"] for r in found["ResourceTagMappingList"]]


def test_tagging_finds_ses_and_zones(sandbox: Sandbox) -> None:
    ses = client("sesv2")
    tags = [{"Key": "recon:stack", "Value": "acme/prod"}]
    ses.create_email_identity(EmailIdentity="acme.com", Tags=tags)
    ses.create_email_identity(EmailIdentity="plain.com")
    ses.create_configuration_set(ConfigurationSetName="tx", Tags=tags)
    ses.create_dedicated_ip_pool(PoolName="tx", Tags=[{"Key": "recon:stack", "Value": "other"}])
    zone = sandbox.seed(zones=[{"name": "acme.com", "tags": {"recon:marker": "1"}}])["zones"]["acme.com"]
    client("secretsmanager").create_secret(Name="s", SecretString="x", Tags=tags)
    base = "arn:aws:ses:us-east-1:111122223333:"
    identity, tx, pool = base + "identity/acme.com", base + "configuration-set/tx", base + "dedicated-ip-pool/tx"
    hosted = f"arn:aws:route53:::hostedzone/{zone}"
    assert arns(ResourceTypeFilters=["ses"]) == [tx, pool, identity]
    assert arns(ResourceTypeFilters=["ses:identity"]) == [identity]
    assert arns(ResourceTypeFilters=["ses:configuration-set", "ses:dedicated-ip-pool"]) == [tx, pool]
    assert arns(ResourceTypeFilters=["route53"]) == arns(ResourceTypeFilters=["route53:hostedzone"]) == [hosted]
    assert arns("eu-west-1") == []
    mine = arns(TagFilters=[{"Key": "recon:stack", "Values": ["acme/prod", "x"]}])
    assert mine[1:] == [tx, identity] and mine[0].startswith("arn:aws:secretsmanager:")
    assert arns(TagFilters=[{"Key": "recon:stack"}], ResourceTypeFilters=["ses"]) == [tx, pool, identity]
    assert arns(ResourceARNList=[tx]) == [tx]
    tagging = client("resourcegroupstaggingapi")
    assert tagging.get_tag_keys()["TagKeys"] == ["recon:marker", "recon:stack"]
    assert tagging.get_tag_values(Key="recon:stack")["TagValues"] == ["acme/prod", "other"]
    failed = tagging.tag_resources(ResourceARNList=[tx, hosted, base + "identity/no.com"], Tags={"a": "b"})
    assert list(failed["FailedResourcesMap"]) == [base + "identity/no.com"]
    tagging.untag_resources(ResourceARNList=[tx, hosted], TagKeys=["a"])
    assert "a" not in tagging.get_tag_keys()["TagKeys"]


def test_tagging_pages(sandbox: Sandbox) -> None:
    sandbox.seed(identities=[{"names": [f"d{n}.example" for n in range(120)], "tags": {"t": "1"}}])
    tagging = client("resourcegroupstaggingapi")
    sizes, token = [], ""
    while True:
        found = tagging.get_resources(ResourcesPerPage=100, PaginationToken=token)
        sizes.append(len(found["ResourceTagMappingList"]))
        token = found["PaginationToken"]
        if not token:
            break
    assert sizes == [100, 20]
    assert code_of(lambda: tagging.get_resources(ResourcesPerPage=101))[0] == "InvalidParameterException"
    assert code_of(lambda: tagging.get_resources(PaginationToken="x"))[0] == "PaginationTokenExpiredException"


def test_tagging_can_trail(sandbox: Sandbox) -> None:
    sandbox.consistency(ses={"seconds": 60})
    client("sesv2").create_email_identity(EmailIdentity="acme.com", Tags=[{"Key": "t", "Value": "1"}])
    assert arns() == []
    sandbox.advance(61)
    assert len(arns()) == 1


def test_tagging_can_trail_alone(sandbox: Sandbox) -> None:
    """What the service itself shows at once, the tagging API shows later; each trails by itself."""
    ses = client("sesv2")
    sandbox.consistency(resourcegroupstaggingapi={"reads": 2})
    ses.create_email_identity(EmailIdentity="acme.com", Tags=[{"Key": "t", "Value": "1"}])
    assert ses.get_email_identity(EmailIdentity="acme.com")["Tags"]
    assert [len(arns()) for _ in range(3)] == [0, 0, 1]
    sandbox.consistency(resourcegroupstaggingapi={"seconds": 60}, ses={"reads": 1})
    ses.delete_email_identity(EmailIdentity="acme.com")
    assert ses.get_email_identity(EmailIdentity="acme.com")["Tags"]
    assert code_of(lambda: ses.get_email_identity(EmailIdentity="acme.com"))[0] == "NotFoundException"
    assert len(arns()) == 1
    sandbox.advance(61)
    assert arns() == []


# --- CloudTrail ----------------------------------------------------------------------------------------------------


def test_lookup_events_says_who_did_it(sandbox: Sandbox, user: Any) -> None:
    key = user.create_access_key(UserName="News")["AccessKey"]["AccessKeyId"]
    zone = sandbox.seed(zones=[{"name": "acme.com"}])["zones"]["acme.com"]
    client("sesv2", access_key=key).create_configuration_set(ConfigurationSetName="tx")
    change(zone, "CREATE", "x.acme.com", "A", "192.0.2.1")
    trail = client("cloudtrail")
    look = lambda k, v: trail.lookup_events(LookupAttributes=[{"AttributeKey": k, "AttributeValue": v}])["Events"]  # noqa: E731
    (event,) = look("ResourceName", "tx")
    assert (event["EventName"], event["Username"], event["EventSource"]) == (
        "CreateConfigurationSet", "News", "ses.amazonaws.com",
    )  # fmt: skip
    assert json.loads(event["CloudTrailEvent"])["userIdentity"]["arn"].endswith("user/ses-smtp/News")
    assert [e["EventName"] for e in look("EventSource", "route53.amazonaws.com")] == ["ChangeResourceRecordSets"]
    assert look("EventName", "CreateUser")[0]["ReadOnly"] == "false"
    twice = [{"AttributeKey": "EventName", "AttributeValue": "x"}] * 2
    assert code_of(lambda: trail.lookup_events(LookupAttributes=twice))[0] == "InvalidLookupAttributesException"
    assert client("cloudtrail", "eu-west-1").lookup_events()["Events"] == []
