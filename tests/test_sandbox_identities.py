"""SES identities in the sandbox: defaults, verification through DNS, DKIM of all kinds, MAIL FROM, policies, v1."""

from __future__ import annotations

import base64
import json
from functools import lru_cache
from typing import Any

import pytest
from test_sandbox_support import change, client, code_of, fresh, message_of, publish_dkim

from reconciler.sandbox import Sandbox

DAY = 24 * 3600


@pytest.fixture
def sandbox() -> Sandbox:
    return fresh()


@pytest.fixture
def zone(sandbox: Sandbox) -> str:
    return str(sandbox.seed(zones=[{"name": "acme.com"}])["zones"]["acme.com"])


def get(name: str, region: str = "us-east-1") -> dict[str, Any]:
    found: dict[str, Any] = client("sesv2", region).get_email_identity(EmailIdentity=name)
    del found["ResponseMetadata"]
    return found


def create(name: str, region: str = "us-east-1", **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = client("sesv2", region).create_email_identity(EmailIdentity=name, **more)
    return made


@lru_cache(maxsize=4)
def rsa(bits: int, form: str = "PKCS8") -> tuple[str, str]:
    """(private key, public key) of a new RSA key, base64 DER as SES and DNS want them."""
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = generate_private_key(65537, bits)
    private = key.private_bytes(Encoding.DER, getattr(PrivateFormat, form), NoEncryption())
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(private).decode(), base64.b64encode(public).decode()


# --- fresh ---------------------------------------------------------------------------------------------------------


def test_fresh_domain(sandbox: Sandbox) -> None:
    made = create("Acme.COM")
    assert (made["IdentityType"], made["VerifiedForSendingStatus"]) == ("DOMAIN", False)
    found = get("acme.com")
    dkim = found["DkimAttributes"]
    assert dkim.pop("LastKeyGenerationTimestamp")
    tokens = dkim.pop("Tokens")
    assert tokens == made["DkimAttributes"]["Tokens"]
    assert len(set(tokens)) == 3 and all(len(t) == 32 for t in tokens)
    assert dkim == {
        "SigningEnabled": True, "Status": "PENDING", "SigningAttributesOrigin": "AWS_SES",
        "NextSigningKeyLength": "RSA_2048_BIT", "CurrentSigningKeyLength": "RSA_2048_BIT",
        "SigningHostedZone": "dkim.amazonses.com",
    }  # fmt: skip
    assert found["VerificationStatus"] == "PENDING"
    assert found["VerificationInfo"]["ErrorType"] == "HOST_NOT_FOUND"
    assert found["MailFromAttributes"] == {"BehaviorOnMxFailure": "USE_DEFAULT_VALUE"}
    assert (found["FeedbackForwardingStatus"], found["Policies"], found["Tags"]) == (True, {}, [])
    assert "ConfigurationSetName" not in found


def test_fresh_address(sandbox: Sandbox) -> None:
    create("ceo@Other.example")
    found = get("ceo@Other.example")
    assert found["IdentityType"] == "EMAIL_ADDRESS"
    assert found["DkimAttributes"] == {
        "SigningEnabled": False, "Status": "NOT_STARTED", "SigningAttributesOrigin": "AWS_SES",
        "NextSigningKeyLength": "RSA_1024_BIT",
    }  # fmt: skip
    assert found["VerificationStatus"] == "PENDING"
    assert found["VerificationInfo"] == {}
    assert code_of(lambda: get("ceo@other.example")) == ("NotFoundException", 404)


def test_tokens_differ_by_domain_region_and_life(sandbox: Sandbox) -> None:
    seen = {tuple(create("acme.com", region)["DkimAttributes"]["Tokens"]) for region in ("us-east-1", "eu-west-1")}
    client("sesv2").delete_email_identity(EmailIdentity="acme.com")
    seen.add(tuple(create("acme.com")["DkimAttributes"]["Tokens"]))
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("region", "zone"),
    [("us-east-1", "dkim.amazonses.com"), ("af-south-1", "dkim.af-south-1.amazonses.com"),
     ("eu-central-2", "dkim.eu-central-2.amazonses.com"), ("us-gov-west-1", "dkim.amazonses.com")],
)  # fmt: skip
def test_signing_zone_is_the_region_s(sandbox: Sandbox, region: str, zone: str) -> None:
    assert create("acme.com", region)["DkimAttributes"]["SigningHostedZone"] == zone


@pytest.mark.parametrize("name", ["nodots", "-bad.com", "a b.com", "x@", "@x.com", "a@nodots", "acme..com"])
def test_bad_names(sandbox: Sandbox, name: str) -> None:
    assert code_of(lambda: create(name)) == ("BadRequestException", 400)


def test_create_is_not_idempotent(sandbox: Sandbox) -> None:
    create("acme.com")
    assert code_of(lambda: create("ACME.com")) == ("AlreadyExistsException", 400)


def test_create_takes_everything_at_once(sandbox: Sandbox) -> None:
    client("sesv2").create_configuration_set(ConfigurationSetName="tx")
    create(
        "acme.com", Tags=[{"Key": "recon:stack", "Value": "acme/prod"}], ConfigurationSetName="tx",
        DkimSigningAttributes={"NextSigningKeyLength": "RSA_1024_BIT"},
    )  # fmt: skip
    found = get("acme.com")
    assert found["Tags"] == [{"Key": "recon:stack", "Value": "acme/prod"}]
    assert found["ConfigurationSetName"] == "tx"
    assert found["DkimAttributes"]["NextSigningKeyLength"] == "RSA_1024_BIT"
    assert code_of(lambda: create("b.com", ConfigurationSetName="none")) == ("NotFoundException", 404)
    assert code_of(lambda: get("b.com"))[0] == "NotFoundException"


def test_list_pages_and_filters(sandbox: Sandbox) -> None:
    sandbox.seed(identities=[{"names": [f"d{n:04}.example" for n in range(1005)]}])
    create("one@d0001.example")
    sandbox.seed(verify=["one@d0001.example"])
    ses = client("sesv2")
    first = ses.list_email_identities(PageSize=2000)
    assert len(first["EmailIdentities"]) == 1000
    second = ses.list_email_identities(NextToken=first["NextToken"])
    assert (len(second["EmailIdentities"]), "NextToken" in second) == (6, False)
    by = lambda **f: [i["IdentityName"] for i in ses.list_email_identities(Filter=f)["EmailIdentities"]]  # noqa: E731
    assert by(IDENTITY_TYPE="EMAIL_ADDRESS") == ["one@d0001.example"]
    assert by(IDENTITY_NAME_CONTAINS="D0007") == ["d0007.example"]
    assert by(VERIFICATION_STATUS="SUCCESS") == ["one@d0001.example"]
    assert code_of(lambda: ses.list_email_identities(NextToken="bogus")) == ("InvalidNextTokenException", 400)


def test_older_sdks_list_with_get(sandbox: Sandbox) -> None:
    import http.client

    create("acme.com")
    connection = http.client.HTTPConnection(sandbox.url.removeprefix("http://"))
    scope = "AWS4-HMAC-SHA256 Credential=AKIA/20261122/us-east-1/ses/aws4_request, SignedHeaders=x, Signature=y"
    connection.request("GET", "/v2/email/identities?PageSize=10", headers={"Authorization": scope})
    assert json.loads(connection.getresponse().read())["EmailIdentities"][0]["IdentityName"] == "acme.com"
    connection.close()


# --- verification --------------------------------------------------------------------------------------------------


def test_easy_dkim_verifies_from_its_zone(zone: str) -> None:
    tokens = create("acme.com")["DkimAttributes"]["Tokens"]
    for token in tokens[:2]:
        change(zone, "CREATE", f"{token}._domainkey.acme.com", "CNAME", f"{token}.dkim.amazonses.com")
    assert get("acme.com")["VerificationStatus"] == "PENDING"
    change(zone, "CREATE", f"{tokens[2]}._domainkey.acme.com", "CNAME", f"{tokens[2]}.DKIM.amazonses.com.")
    found = get("acme.com")
    assert (found["VerificationStatus"], found["DkimAttributes"]["Status"]) == ("SUCCESS", "SUCCESS")
    assert found["VerifiedForSendingStatus"] is True
    assert "ErrorType" not in found["VerificationInfo"]
    assert found["VerificationInfo"]["SOARecord"]["PrimaryNameServer"]


@pytest.mark.parametrize(
    ("kind", "value", "error"),
    [("CNAME", "wrong.dkim.amazonses.com", "INVALID_VALUE"), ("TXT", '"x"', "TYPE_NOT_FOUND")],
)
def test_why_a_verification_is_pending(zone: str, kind: str, value: str, error: str) -> None:
    token = create("acme.com")["DkimAttributes"]["Tokens"][0]
    change(zone, "CREATE", f"{token}._domainkey.acme.com", kind, value)
    found = get("acme.com")
    assert (found["VerificationStatus"], found["VerificationInfo"]["ErrorType"]) == ("PENDING", error)


def test_private_zones_never_verify(sandbox: Sandbox) -> None:
    made = sandbox.seed(zones=[{"name": "acme.com", "private": True}])
    create("acme.com")
    publish_dkim(made["zones"]["acme.com"], "acme.com")
    assert get("acme.com")["VerificationStatus"] == "PENDING"


def test_verification_takes_its_time(sandbox: Sandbox, zone: str) -> None:
    sandbox.settings(verification_delay=60.0)
    create("acme.com")
    publish_dkim(zone, "acme.com")
    assert get("acme.com")["VerificationStatus"] == "PENDING"
    sandbox.advance(61)
    assert get("acme.com")["VerificationStatus"] == "SUCCESS"


def test_after_72_hours_it_has_failed_until_started_again(sandbox: Sandbox, zone: str) -> None:
    create("acme.com")
    sandbox.advance(3 * DAY + 1)
    assert get("acme.com")["VerificationStatus"] == "FAILED"
    publish_dkim(zone, "acme.com")
    assert get("acme.com")["VerificationStatus"] == "FAILED"
    client("ses").verify_domain_dkim(Domain="acme.com")
    assert get("acme.com")["VerificationStatus"] == "SUCCESS"


def test_lost_records_are_forgiven_for_72_hours(sandbox: Sandbox, zone: str) -> None:
    create("acme.com")
    publish_dkim(zone, "acme.com")
    assert get("acme.com")["VerificationStatus"] == "SUCCESS"
    token = get("acme.com")["DkimAttributes"]["Tokens"][0]
    record = (f"{token}._domainkey.acme.com", "CNAME", f"{token}.dkim.amazonses.com")
    change(zone, "DELETE", *record)
    found = get("acme.com")
    assert found["VerificationStatus"] == "TEMPORARY_FAILURE"
    assert found["VerifiedForSendingStatus"] is True
    change(zone, "CREATE", *record)
    assert get("acme.com")["VerificationStatus"] == "SUCCESS"
    change(zone, "DELETE", *record)
    sandbox.advance(3 * DAY + 1)
    found = get("acme.com")
    assert (found["VerificationStatus"], found["VerifiedForSendingStatus"]) == ("FAILED", False)


def test_addresses_verify_by_their_link(sandbox: Sandbox) -> None:
    create("ceo@acme.com")
    sandbox.seed(verify=["ceo@acme.com"])
    assert get("ceo@acme.com")["VerificationStatus"] == "SUCCESS"
    create("cto@acme.com")
    sandbox.advance(DAY + 1)
    assert get("cto@acme.com")["VerificationStatus"] == "FAILED"


def test_an_address_shows_its_domain_s_dkim(zone: str) -> None:
    create("acme.com")
    publish_dkim(zone, "acme.com")
    create("ceo@mail.acme.com")
    assert get("ceo@mail.acme.com")["DkimAttributes"]["Status"] == "SUCCESS"
    client("sesv2").put_email_identity_dkim_attributes(EmailIdentity="ceo@mail.acme.com", SigningEnabled=False)
    assert get("ceo@mail.acme.com")["DkimAttributes"]["SigningEnabled"] is True


def test_v1_domain_verification_by_txt(zone: str) -> None:
    token = client("ses").verify_domain_identity(Domain="acme.com")["VerificationToken"]
    assert get("acme.com")["DkimAttributes"]["Status"] == "NOT_STARTED"
    change(zone, "CREATE", "_amazonses.acme.com", "TXT", f'"{token}"')
    found = client("ses").get_identity_verification_attributes(Identities=["acme.com"])["VerificationAttributes"]
    assert found == {"acme.com": {"VerificationStatus": "Success", "VerificationToken": token}}


# --- DKIM ----------------------------------------------------------------------------------------------------------


def put_signing(name: str, origin: str, region: str = "us-east-1", **attributes: Any) -> dict[str, Any]:
    more = {"SigningAttributes": attributes} if attributes else {}
    found: dict[str, Any] = client("sesv2", region).put_email_identity_dkim_signing_attributes(
        EmailIdentity=name, SigningAttributesOrigin=origin, **more
    )
    return found


def test_signing_toggle_leaves_the_status(zone: str) -> None:
    create("acme.com")
    publish_dkim(zone, "acme.com")
    client("sesv2").put_email_identity_dkim_attributes(EmailIdentity="acme.com", SigningEnabled=False)
    found = get("acme.com")["DkimAttributes"]
    assert (found["SigningEnabled"], found["Status"]) == (False, "SUCCESS")
    client("sesv2").put_email_identity_dkim_attributes(EmailIdentity="acme.com", SigningEnabled=True)
    client("sesv2").put_email_identity_dkim_attributes(EmailIdentity="acme.com")
    assert get("acme.com")["DkimAttributes"]["SigningEnabled"] is False


def test_key_length(sandbox: Sandbox) -> None:
    create("acme.com")
    same = lambda: put_signing("acme.com", "AWS_SES", NextSigningKeyLength="RSA_2048_BIT")  # noqa: E731
    assert code_of(same) == ("BadRequestException", 400)
    put_signing("acme.com", "AWS_SES", NextSigningKeyLength="RSA_1024_BIT")
    found = get("acme.com")["DkimAttributes"]
    assert (found["NextSigningKeyLength"], found["CurrentSigningKeyLength"]) == ("RSA_1024_BIT", "RSA_2048_BIT")
    assert "24 hours" in message_of(same)
    sandbox.advance(DAY + 1)
    assert get("acme.com")["DkimAttributes"]["CurrentSigningKeyLength"] == "RSA_1024_BIT"
    same()
    assert get("acme.com")["DkimAttributes"]["NextSigningKeyLength"] == "RSA_2048_BIT"


def test_key_length_can_renew_the_tokens(sandbox: Sandbox) -> None:
    before = create("acme.com")["DkimAttributes"]["Tokens"]
    assert put_signing("acme.com", "AWS_SES", NextSigningKeyLength="RSA_1024_BIT")["DkimTokens"] == before
    sandbox.settings(doubt_new_tokens_with_key_length=True)
    create("b.com")
    before = get("b.com")["DkimAttributes"]["Tokens"]
    assert put_signing("b.com", "AWS_SES", NextSigningKeyLength="RSA_1024_BIT")["DkimTokens"] != before


@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
def test_own_key(zone: str, form: str) -> None:
    private, public = rsa(2048, form)
    create(
        "acme.com",
        DkimSigningAttributes={"DomainSigningSelector": "s1", "DomainSigningPrivateKey": private},
    )
    found = get("acme.com")["DkimAttributes"]
    assert found == {
        "SigningEnabled": True, "Status": "PENDING", "Tokens": ["s1"], "SigningAttributesOrigin": "EXTERNAL",
    }  # fmt: skip
    text = f"v=DKIM1; k=rsa; p={public}"
    change(zone, "CREATE", "s1._domainkey.acme.com", "TXT", f'"{text[:200]}" "{text[200:]}"')
    assert get("acme.com")["DkimAttributes"]["Status"] == "SUCCESS"
    _, other = rsa(1024)
    change(zone, "UPSERT", "s1._domainkey.acme.com", "TXT", f'"p={other}"')
    found = get("acme.com")
    assert (found["DkimAttributes"]["Status"], found["VerificationInfo"]["ErrorType"]) == (
        "TEMPORARY_FAILURE", "INVALID_VALUE",
    )  # fmt: skip


@pytest.mark.parametrize(
    "attributes",
    [
        {"DomainSigningSelector": "s1"},
        {"DomainSigningSelector": "s1", "DomainSigningPrivateKey": "bm90IGEga2V5"},
        {"DomainSigningSelector": "s.1", "DomainSigningPrivateKey": "KEY"},
        {"DomainSigningSelector": "s1", "DomainSigningPrivateKey": "-----BEGIN PRIVATE KEY-----"},
        {"DomainSigningSelector": "s1", "DomainSigningPrivateKey": "LONG"},
    ],
)
def test_own_keys_that_are_refused(sandbox: Sandbox, attributes: dict[str, str]) -> None:
    create("acme.com")
    keys = {"KEY": rsa(1024)[0], "LONG": rsa(3072)[0]}
    given = {k: keys.get(v, v) for k, v in attributes.items()}
    assert code_of(lambda: put_signing("acme.com", "EXTERNAL", **given)) == ("BadRequestException", 400)
    assert get("acme.com")["DkimAttributes"]["SigningAttributesOrigin"] == "AWS_SES"


def test_own_key_as_base64_of_pem(sandbox: Sandbox) -> None:
    """What Terraform's acceptance tests send, and AWS takes."""
    private, _ = rsa(1024)
    pem = f"-----BEGIN PRIVATE KEY-----\n{private}\n-----END PRIVATE KEY-----\n"
    wrapped = base64.b64encode(pem.encode()).decode()
    create("acme.com", DkimSigningAttributes={"DomainSigningSelector": "s1", "DomainSigningPrivateKey": wrapped})
    assert get("acme.com")["DkimAttributes"]["SigningAttributesOrigin"] == "EXTERNAL"


def test_moving_to_an_own_key_and_back_leaves_dkim_pending(zone: str) -> None:
    create("acme.com")
    publish_dkim(zone, "acme.com")
    before = get("acme.com")["DkimAttributes"]["Tokens"]
    private, _ = rsa(1024)
    put_signing("acme.com", "EXTERNAL", DomainSigningSelector="s1", DomainSigningPrivateKey=private)
    found = get("acme.com")
    assert (found["DkimAttributes"]["Status"], found["VerificationStatus"]) == ("PENDING", "SUCCESS")
    back = put_signing("acme.com", "AWS_SES")
    assert (back["DkimStatus"], back["SigningHostedZone"]) == ("PENDING", "dkim.amazonses.com")
    assert back["DkimTokens"] != before


def test_deterministic_dkim_shares_the_parent_s_records(zone: str) -> None:
    create("acme.com")
    made = create("acme.com", "eu-west-1", DkimSigningAttributes={"DomainSigningAttributesOrigin": "AWS_SES_US_EAST_1"})
    parent = get("acme.com")["DkimAttributes"]
    assert made["DkimAttributes"]["Tokens"] == parent["Tokens"]
    assert made["DkimAttributes"]["SigningAttributesOrigin"] == "AWS_SES_US_EAST_1"
    assert made["DkimAttributes"]["Status"] == "PENDING"
    publish_dkim(zone, "acme.com")
    assert get("acme.com", "eu-west-1")["DkimAttributes"]["Status"] == "SUCCESS"
    assert get("acme.com")["DkimAttributes"]["Status"] == "SUCCESS"


@pytest.mark.parametrize(
    ("parent", "origin", "error"),
    [
        (None, "AWS_SES_US_EAST_1", "REPLICATION_PRIMARY_NOT_FOUND"),
        ("AWS_SES", "AWS_SES_EU_WEST_1", "REPLICATION_PRIMARY_INVALID_REGION"),
        ("EXTERNAL", "AWS_SES_US_EAST_1", "REPLICATION_PRIMARY_BYO_DKIM_NOT_SUPPORTED"),
        ("AWS_SES_US_WEST_2", "AWS_SES_US_EAST_1", "REPLICATION_REPLICA_AS_PRIMARY_NOT_SUPPORTED"),
    ],
)
def test_replication_failures_show_as_status(sandbox: Sandbox, parent: str | None, origin: str, error: str) -> None:
    if parent == "EXTERNAL":
        own = {"DomainSigningSelector": "s1", "DomainSigningPrivateKey": rsa(1024)[0]}
        create("acme.com", DkimSigningAttributes=own)
    elif parent is not None:
        create("acme.com", DkimSigningAttributes={"DomainSigningAttributesOrigin": parent})
    create("acme.com", "eu-west-1", DkimSigningAttributes={"DomainSigningAttributesOrigin": origin})
    found = get("acme.com", "eu-west-1")
    assert (found["DkimAttributes"]["Status"], found["VerificationInfo"]["ErrorType"]) == ("FAILED", error)


def test_an_existing_identity_becomes_a_replica_by_put(zone: str) -> None:
    create("acme.com")
    publish_dkim(zone, "acme.com")
    create("acme.com", "eu-west-1")
    inner = {"DomainSigningAttributesOrigin": "AWS_SES_US_EAST_1"}
    assert code_of(lambda: put_signing("acme.com", "AWS_SES_US_EAST_1", "eu-west-1", **inner))[0] == (
        "BadRequestException"
    )
    found = put_signing("acme.com", "AWS_SES_US_EAST_1", "eu-west-1")
    assert found["DkimStatus"] == "SUCCESS"
    assert found["DkimTokens"] == get("acme.com")["DkimAttributes"]["Tokens"]
    length = {"NextSigningKeyLength": "RSA_1024_BIT"}
    assert code_of(lambda: put_signing("acme.com", "AWS_SES_US_EAST_1", "eu-west-1", **length))[0] == (
        "BadRequestException"
    )


def test_addresses_have_no_signing_attributes(sandbox: Sandbox) -> None:
    create("ceo@acme.com")
    assert "must be a valid domain" in message_of(lambda: put_signing("ceo@acme.com", "AWS_SES"))


def test_doubt_no_signing_zone(sandbox: Sandbox) -> None:
    sandbox.settings(doubt_signing_hosted_zone_absent=True)
    assert "SigningHostedZone" not in create("acme.com")["DkimAttributes"]
    assert "SigningHostedZone" not in put_signing("acme.com", "AWS_SES")


# --- MAIL FROM -----------------------------------------------------------------------------------------------------


def put_mail_from(domain: str = "", name: str = "acme.com", behavior: str = "USE_DEFAULT_VALUE") -> None:
    more = {"MailFromDomain": domain} if domain else {}
    client("sesv2").put_email_identity_mail_from_attributes(EmailIdentity=name, BehaviorOnMxFailure=behavior, **more)


def test_mail_from(zone: str) -> None:
    create("acme.com")
    put_mail_from("Bounce.acme.com", behavior="REJECT_MESSAGE")
    assert get("acme.com")["MailFromAttributes"] == {
        "MailFromDomain": "bounce.acme.com", "MailFromDomainStatus": "PENDING", "BehaviorOnMxFailure": "REJECT_MESSAGE",
    }  # fmt: skip
    change(zone, "CREATE", "bounce.acme.com", "MX", "10 feedback-smtp.us-east-1.amazonses.com")
    assert get("acme.com")["MailFromAttributes"]["MailFromDomainStatus"] == "PENDING"
    change(zone, "CREATE", "bounce.acme.com", "TXT", '"v=spf1 include:amazonses.com -all"')
    assert get("acme.com")["MailFromAttributes"]["MailFromDomainStatus"] == "SUCCESS"
    put_mail_from()
    assert get("acme.com")["MailFromAttributes"] == {"BehaviorOnMxFailure": "USE_DEFAULT_VALUE"}


@pytest.mark.parametrize(
    ("mx", "txt", "status"),
    [
        (["10 feedback-smtp.us-east-1.amazonses.com."], "v=spf1 include:amazonses.com ~all", "SUCCESS"),
        (
            ["10 feedback-smtp.us-east-1.amazonses.com", "20 mx.acme.com"],
            "v=spf1 include:amazonses.com ~all",
            "PENDING",
        ),
        (["20 feedback-smtp.us-east-1.amazonses.com"], "v=spf1 include:amazonses.com ~all", "PENDING"),
        (["10 feedback-smtp.eu-west-1.amazonses.com"], "v=spf1 include:amazonses.com ~all", "PENDING"),
        (["10 feedback-smtp.us-east-1.amazonses.com"], "v=spf1 -all", "PENDING"),
        (["10 feedback-smtp.us-east-1.amazonses.com"], "something else", "PENDING"),
    ],
)
def test_mail_from_needs_one_mx_and_the_include(zone: str, mx: list[str], txt: str, status: str) -> None:
    create("acme.com")
    put_mail_from("bounce.acme.com")
    change(zone, "CREATE", "bounce.acme.com", "MX", *mx)
    change(zone, "CREATE", "bounce.acme.com", "TXT", f'"{txt}"')
    assert get("acme.com")["MailFromAttributes"]["MailFromDomainStatus"] == status


def test_mail_from_fails_after_72_hours_and_a_put_starts_it_again(sandbox: Sandbox, zone: str) -> None:
    create("acme.com")
    put_mail_from("bounce.acme.com")
    sandbox.advance(3 * DAY + 1)
    assert get("acme.com")["MailFromAttributes"]["MailFromDomainStatus"] == "FAILED"
    put_mail_from("bounce.acme.com")
    assert get("acme.com")["MailFromAttributes"]["MailFromDomainStatus"] == "PENDING"


@pytest.mark.parametrize("domain", ["acme.com", "bounce.other.com", "notacme.com", "bounce..acme.com"])
def test_mail_from_must_be_below_the_identity(sandbox: Sandbox, domain: str) -> None:
    create("acme.com")
    assert code_of(lambda: put_mail_from(domain)) == ("BadRequestException", 400)


# --- feedback, default set, policies, tags -------------------------------------------------------------------------


def test_feedback_forwarding_and_topics(sandbox: Sandbox) -> None:
    create("acme.com")
    ses, v1 = client("sesv2"), client("ses")
    ses.put_email_identity_feedback_attributes(EmailIdentity="acme.com", EmailForwardingEnabled=False)
    assert get("acme.com")["FeedbackForwardingStatus"] is False
    ses.put_email_identity_feedback_attributes(EmailIdentity="acme.com", EmailForwardingEnabled=True)
    off = lambda: v1.set_identity_feedback_forwarding_enabled(Identity="acme.com", ForwardingEnabled=False)  # noqa: E731
    assert code_of(off) == ("InvalidParameterValue", 400)
    topic = "arn:aws:sns:us-east-1:111122223333:feedback"
    for kind in ("Bounce", "Complaint"):
        v1.set_identity_notification_topic(Identity="acme.com", NotificationType=kind, SnsTopic=topic)
    off()
    found = v1.get_identity_notification_attributes(Identities=["acme.com"])["NotificationAttributes"]["acme.com"]
    assert (found["ForwardingEnabled"], found["BounceTopic"], found["ComplaintTopic"]) == (False, topic, topic)
    sandbox.settings(doubt_feedback_needs_topics=True)
    create("b.com")
    assert code_of(
        lambda: ses.put_email_identity_feedback_attributes(EmailIdentity="b.com", EmailForwardingEnabled=False)
    )[0] == ("BadRequestException")


def test_default_configuration_set(sandbox: Sandbox) -> None:
    ses = client("sesv2")
    create("acme.com")
    put = lambda **n: ses.put_email_identity_configuration_set_attributes(EmailIdentity="acme.com", **n)  # noqa: E731
    assert code_of(lambda: put(ConfigurationSetName="tx")) == ("NotFoundException", 404)
    ses.create_configuration_set(ConfigurationSetName="tx")
    put(ConfigurationSetName="tx")
    assert get("acme.com")["ConfigurationSetName"] == "tx"
    ses.delete_configuration_set(ConfigurationSetName="tx")
    assert get("acme.com")["ConfigurationSetName"] == "tx"
    put()
    assert "ConfigurationSetName" not in get("acme.com")


POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "444455556666"}, "Action": "ses:SendEmail", "Resource": "*"}
    ],
}


def test_policies(zone: str) -> None:
    ses = client("sesv2")
    create("acme.com")
    text = json.dumps(POLICY, indent=2)
    add = lambda name="partner", body=text: ses.create_email_identity_policy(  # noqa: E731
        EmailIdentity="acme.com", PolicyName=name, Policy=body
    )
    assert "not verified" in message_of(add)
    publish_dkim(zone, "acme.com")
    add()
    assert code_of(add) == ("AlreadyExistsException", 400)
    stored = ses.get_email_identity_policies(EmailIdentity="acme.com")["Policies"]["partner"]
    assert stored == json.dumps(POLICY, separators=(",", ":"))
    assert get("acme.com")["Policies"] == {"partner": stored}
    for name, body in (("bad name", text), ("x", "{"), ("x", json.dumps({"Statement": []})), ("x", "y" * 5000)):
        assert code_of(lambda name=name, body=body: add(name, body))[0] == "BadRequestException"
    for n in range(19):
        add(f"p{n}")
    assert code_of(lambda: add("one-too-many")) == ("LimitExceededException", 400)
    update = lambda name: ses.update_email_identity_policy(  # noqa: E731
        EmailIdentity="acme.com", PolicyName=name, Policy=text
    )
    update("partner")
    assert code_of(lambda: update("missing")) == ("NotFoundException", 404)
    ses.delete_email_identity_policy(EmailIdentity="acme.com", PolicyName="partner")
    assert "partner" not in get("acme.com")["Policies"]


def test_tags(sandbox: Sandbox) -> None:
    ses = client("sesv2")
    create("acme.com", Tags=[{"Key": "b", "Value": "2"}, {"Key": "a", "Value": "1"}])
    arn = "arn:aws:ses:us-east-1:111122223333:identity/acme.com"
    assert [t["Key"] for t in ses.list_tags_for_resource(ResourceArn=arn)["Tags"]] == ["a", "b"]
    ses.tag_resource(ResourceArn=arn, Tags=[{"Key": "recon:records", "Value": "dkim dmarc + - = . _ : / @"}])
    ses.untag_resource(ResourceArn=arn, TagKeys=["a", "b"])
    assert [t["Key"] for t in get("acme.com")["Tags"]] == ["recon:records"]
    tag = lambda *tags, a=arn: ses.tag_resource(  # noqa: E731
        ResourceArn=a, Tags=[{"Key": k, "Value": v} for k, v in tags]
    )
    for bad in (("aws:x", "1"), ("k" * 129, "1"), ("k", "v" * 257), ("k", "a,b"), ("k;", "1")):
        assert code_of(lambda bad=bad: tag(bad))[0] == "BadRequestException"
    assert code_of(lambda: tag(*((f"k{n}", "") for n in range(50))))[0] == "BadRequestException"
    tag(*((f"k{n}", "") for n in range(49)))
    assert code_of(lambda: tag(("k", "v"), a=arn.replace("acme.com", "no.com"))) == ("NotFoundException", 404)
    assert code_of(lambda: tag(("k", "v"), a=arn.replace("us-east-1", "eu-west-1")))[0] == "BadRequestException"


def test_tenants_hold_their_identities(sandbox: Sandbox) -> None:
    ses = client("sesv2")
    create("acme.com")
    arn = "arn:aws:ses:us-east-1:111122223333:identity/acme.com"
    ses.create_tenant(TenantName="shop")
    ses.create_tenant_resource_association(TenantName="shop", ResourceArn=arn)
    assert ses.list_tenant_resources(TenantName="shop")["TenantResources"] == [
        {"ResourceType": "EMAIL_IDENTITY", "ResourceArn": arn}
    ]
    assert ses.list_resource_tenants(ResourceArn=arn)["ResourceTenants"][0]["TenantName"] == "shop"
    delete = lambda: ses.delete_email_identity(EmailIdentity="acme.com")  # noqa: E731
    assert code_of(delete)[0] == "BadRequestException"
    ses.delete_tenant(TenantName="shop")
    assert ses.list_tenants()["Tenants"] == []
    delete()


# --- v1 ------------------------------------------------------------------------------------------------------------


def test_v1_batch_reads(zone: str) -> None:
    v1 = client("ses")
    create("acme.com")
    create("ceo@other.example")
    publish_dkim(zone, "acme.com")
    put_mail_from("bounce.acme.com", behavior="REJECT_MESSAGE")
    names = ["acme.com", "ceo@other.example", "nobody.example"]
    assert v1.list_identities()["Identities"] == names[:2]
    assert v1.list_identities(IdentityType="Domain")["Identities"] == ["acme.com"]
    dkim = v1.get_identity_dkim_attributes(Identities=names)["DkimAttributes"]
    assert dkim["acme.com"]["DkimVerificationStatus"] == "Success"
    assert dkim["ceo@other.example"] == {"DkimEnabled": False, "DkimVerificationStatus": "NotStarted"}
    assert "nobody.example" not in dkim
    mail_from = v1.get_identity_mail_from_domain_attributes(Identities=names)["MailFromDomainAttributes"]
    assert mail_from["acme.com"] == {
        "MailFromDomain": "bounce.acme.com", "MailFromDomainStatus": "Pending", "BehaviorOnMXFailure": "RejectMessage",
    }  # fmt: skip
    too_many = [f"d{n}.example" for n in range(101)]
    assert code_of(lambda: v1.get_identity_dkim_attributes(Identities=too_many))[0] == "InvalidParameterValue"


@pytest.mark.parametrize(("doubt", "dkim"), [("omit", []), ("invent", ["no.example"])])
def test_doubt_v1_unknown_names(sandbox: Sandbox, doubt: str, dkim: list[str]) -> None:
    sandbox.settings(doubt_v1_unknown_identity=doubt)
    assert list(client("ses").get_identity_dkim_attributes(Identities=["no.example"])["DkimAttributes"]) == dkim


def test_doubt_v1_unknown_names_as_error(sandbox: Sandbox) -> None:
    sandbox.settings(doubt_v1_unknown_identity="error")
    call = lambda: client("ses").get_identity_dkim_attributes(Identities=["no.example"])  # noqa: E731
    assert code_of(call)[0] == "InvalidParameterValue"


def test_v1_writes_meet_v2_reads(sandbox: Sandbox) -> None:
    v1 = client("ses")
    v1.verify_email_identity(EmailAddress="ceo@acme.com")
    v1.verify_domain_dkim(Domain="acme.com")
    v1.set_identity_mail_from_domain(
        Identity="acme.com", MailFromDomain="m.acme.com", BehaviorOnMXFailure="RejectMessage"
    )
    assert get("acme.com")["MailFromAttributes"]["BehaviorOnMxFailure"] == "REJECT_MESSAGE"
    v1.set_identity_mail_from_domain(Identity="acme.com")
    assert "MailFromDomain" not in get("acme.com")["MailFromAttributes"]
    v1.put_identity_policy(Identity="acme.com", PolicyName="p", Policy=json.dumps(POLICY))
    assert v1.list_identity_policies(Identity="acme.com")["PolicyNames"] == ["p"]
    assert v1.get_identity_policies(Identity="acme.com", PolicyNames=["p"])["Policies"] == get("acme.com")["Policies"]
    v1.delete_identity_policy(Identity="acme.com", PolicyName="p")
    v1.delete_identity(Identity="acme.com")
    v1.delete_identity(Identity="acme.com")
    assert code_of(lambda: get("acme.com"))[0] == "NotFoundException"
    assert v1.get_account_sending_enabled()["Enabled"] is True
    v1.update_account_sending_enabled(Enabled=False)
    assert client("sesv2").get_account()["SendingEnabled"] is False


def test_regions_and_accounts_are_apart(sandbox: Sandbox) -> None:
    create("acme.com")
    assert code_of(lambda: get("acme.com", "eu-west-1"))[0] == "NotFoundException"
    other = client("sesv2", access_key="444455556666")
    assert other.list_email_identities()["EmailIdentities"] == []


def test_seeded_identities_come_published(sandbox: Sandbox) -> None:
    names = ["a.acme.com", "b.acme.com"]
    sandbox.seed(
        zones=[{"name": "acme.com"}],
        identities=[{"names": names, "publish": True, "mail_from": "bounce.${domain}", "tags": {"t": "1"}}],
    )
    for name in names:
        found = get(name)
        assert found["VerificationStatus"] == "SUCCESS"
        assert found["MailFromAttributes"]["MailFromDomainStatus"] == "SUCCESS"
        assert found["Tags"] == [{"Key": "t", "Value": "1"}]


def test_doubt_an_old_error_stays_after_success(sandbox: Sandbox, zone: str) -> None:
    sandbox.settings(doubt_stale_error_type=True)
    create("acme.com")
    assert get("acme.com")["VerificationInfo"]["ErrorType"] == "HOST_NOT_FOUND"
    publish_dkim(zone, "acme.com")
    found = get("acme.com")
    assert (found["VerificationStatus"], found["VerificationInfo"]["ErrorType"]) == ("SUCCESS", "HOST_NOT_FOUND")
