"""Whoever holds the policy of `recon iam-policy apply` can do what the state asks for, and none of what is listed here.

The sandbox judges the conditions of the policy as AWS documents them (``reconciler/sandbox/conditions.py``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from support import ACCOUNT, HOME, House, client

ADMIN = "arn:aws:iam::aws:policy/AdministratorAccess"
ONE, TWO = (f"arn:aws:iam::{ACCOUNT}:policy/{name}" for name in ("one", "two"))
ANYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
KEY = "AKIAHOLDERHOLDERHOLD"
TAG = {"Key": "recon:stack", "Value": "acme"}


def sender(name: str, **values: Any) -> dict[str, Any]:
    return {"from_addresses": ["*"], "credentials": {"secretsmanager": {"name": f"recon/{name}"}}, **values}


def document(zone: str) -> dict[str, Any]:
    return {
        "domains": {
            "mail.acme.com": {"dmarc": {"p": "none"}, "mail_from": {"mail_from_domain": "bounce.mail.acme.com"},
                              "configuration_set_name": "theirs"},
            "acme.net": {"zone": zone, "dmarc": {"p": "none"}},
        },
        "configuration_sets": {"main": {}},
        "smtp_users": {
            "news": sender("news", path="/ses-smtp/", permissions_boundary=ONE),
            "shop": sender("shop", permissions_boundary=TWO),
            "office": sender("office"),
        },
    }  # fmt: skip


@dataclass
class World:
    """An account with others' resources, in which the state was applied, and clients that hold its policy."""

    house: House
    zones: dict[str, str]
    key: str
    """The access key of a user that is not the stack's."""
    clients: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, service: str) -> Any:
        return client(service, HOME, KEY)

    def records(self, zone: str, *changes: tuple[str, str, str]) -> Any:
        """One batch of new records; each is a name, a type and a value."""
        sets = [
            {"Name": name, "Type": kind, "TTL": 60, "ResourceRecords": [{"Value": value}]}
            for name, kind, value in changes
        ]
        batch = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": one} for one in sets]}
        return self.route53.change_resource_record_sets(HostedZoneId=self.zones[zone], ChangeBatch=batch)


def grant(house: House, *options: str) -> None:
    """Give the holder what recon prints for the state as it is written."""
    ran = house.cli("iam-policy", "apply", "state.yaml", *options)
    assert ran.code == 0, ran
    house.sandbox.principal(KEY, arn=f"arn:aws:iam::{ACCOUNT}:role/recon", policies=[json.loads(ran.out)])


def others(house: House) -> tuple[dict[str, str], str]:
    """The zones, and the key of somebody else's user."""
    iam, ses = client("iam"), client("sesv2")
    for name in ("one", "two"):
        iam.create_policy(PolicyName=name, PolicyDocument=ANYTHING)
    iam.create_user(UserName="theirs")
    iam.put_user_policy(UserName="theirs", PolicyName="admin", PolicyDocument=ANYTHING)
    key = iam.create_access_key(UserName="theirs")["AccessKey"]["AccessKeyId"]
    iam.create_group(GroupName="admins")
    ses.create_email_identity(EmailIdentity="theirs.com")
    ses.create_configuration_set(ConfigurationSetName="theirs")
    client("secretsmanager").create_secret(Name="theirs", SecretString="x")
    client("ssm").put_parameter(Name="/theirs", Type="SecureString", Value="x")
    zones = {name: house.seed_zone(name, {}) for name in ("acme.com", "acme.net", "other.org")}
    twin = client("route53").create_hosted_zone(Name="acme.net", CallerReference="twin")["HostedZone"]["Id"]
    return {**zones, "twin of acme.net": twin.rpartition("/")[2]}, key


@pytest.fixture
def world(house: House) -> World:
    zones, key = others(house)
    house.settle(document(zones["acme.net"]))
    grant(house)
    return World(house, zones, key)


Try = Callable[[World], Any]

USERS: dict[str, Try] = {
    "remove the boundary of a declared user": lambda w: w.iam.delete_user_permissions_boundary(UserName="news"),
    "remove the boundary of another user": lambda w: w.iam.delete_user_permissions_boundary(UserName="theirs"),
    "give a declared user the boundary of another": lambda w: w.iam.put_user_permissions_boundary(
        UserName="news", PermissionsBoundary=TWO),
    "give a declared user a wider boundary": lambda w: w.iam.put_user_permissions_boundary(
        UserName="shop", PermissionsBoundary=ADMIN),
    "give a user that has none a boundary": lambda w: w.iam.put_user_permissions_boundary(
        UserName="office", PermissionsBoundary=ONE),
    "give a foreign user a boundary": lambda w: w.iam.put_user_permissions_boundary(
        UserName="theirs", PermissionsBoundary=ONE),
    "put a policy on a foreign user": lambda w: w.iam.put_user_policy(
        UserName="theirs", PolicyName="p", PolicyDocument=ANYTHING),
    "attach a policy to a declared user": lambda w: w.iam.attach_user_policy(UserName="news", PolicyArn=ADMIN),
    "create a user that is not declared": lambda w: w.iam.create_user(UserName="spy", PermissionsBoundary=ONE),
    "delete a foreign user": lambda w: w.iam.delete_user(UserName="theirs"),
    "delete the policy of a foreign user": lambda w: w.iam.delete_user_policy(UserName="theirs", PolicyName="admin"),
    "rename a foreign user": lambda w: w.iam.update_user(UserName="theirs", NewUserName="ours"),
    "tag a foreign user as the stack's": lambda w: w.iam.tag_user(UserName="theirs", Tags=[TAG]),
    "make a key for a foreign user": lambda w: w.iam.create_access_key(UserName="theirs"),
    "switch off the key of a foreign user": lambda w: w.iam.update_access_key(
        UserName="theirs", AccessKeyId=w.key, Status="Inactive"),
    "delete the key of a foreign user": lambda w: w.iam.delete_access_key(UserName="theirs", AccessKeyId=w.key),
    "give a declared user a password": lambda w: w.iam.create_login_profile(UserName="news", Password="x" * 20),
    "put a declared user into a group": lambda w: w.iam.add_user_to_group(GroupName="admins", UserName="news"),
    "take a user out of a group": lambda w: w.iam.remove_user_from_group(GroupName="admins", UserName="theirs"),
    "write the policy of a group": lambda w: w.iam.put_group_policy(
        GroupName="admins", PolicyName="p", PolicyDocument=ANYTHING),
    "widen the boundary itself": lambda w: w.iam.create_policy_version(
        PolicyArn=ONE, PolicyDocument=ANYTHING, SetAsDefault=True),
    "delete the boundary itself": lambda w: w.iam.delete_policy(PolicyArn=ONE),
    "create a role": lambda w: w.iam.create_role(RoleName="r", AssumeRolePolicyDocument=ANYTHING),
    "assume a role": lambda w: w.sts.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/admin", RoleSessionName="spy"),
}  # fmt: skip

RECORDS: dict[str, Try] = {
    "a foreign name of the zone": lambda w: w.records("acme.com", ("www.acme.com", "TXT", '"x"')),
    "a foreign CNAME": lambda w: w.records("acme.com", ("shop.acme.com", "CNAME", "evil.org.")),
    "the MX of the apex": lambda w: w.records("acme.com", ("acme.com", "MX", "1 evil.org.")),
    "a TXT of the apex": lambda w: w.records("acme.com", ("acme.com", "TXT", '"v=spf1 +all"')),
    "the DMARC record of the apex": lambda w: w.records("acme.com", ("_dmarc.acme.com", "TXT", '"v=DMARC1; p=none"')),
    "a DKIM key of the apex": lambda w: w.records("acme.com", ("s1._domainkey.acme.com", "TXT", '"p=x"')),
    "a wildcard of the zone": lambda w: w.records("acme.com", ("*.acme.com", "TXT", '"x"')),
    "a name that ends alike": lambda w: w.records("acme.com", ("evilmail.acme.com", "TXT", '"x"')),
    "a delegation of a declared name": lambda w: w.records("acme.com", ("mail.acme.com", "NS", "ns.evil.org.")),
    "an address of a declared name": lambda w: w.records("acme.com", ("mail.acme.com", "A", "192.0.2.1")),
    "a batch of which one name is foreign": lambda w: w.records(
        "acme.com", ("_dmarc.mail.acme.com", "TXT", '"x"'), ("www.acme.com", "TXT", '"x"')),
    "a batch of which one type is foreign": lambda w: w.records(
        "acme.com", ("mail.acme.com", "TXT", '"x"'), ("a.mail.acme.com", "A", "192.0.2.1")),
    "a foreign zone": lambda w: w.records("other.org", ("other.org", "TXT", '"x"')),
    "another zone of a name whose zone is declared": lambda w: w.records(
        "twin of acme.net", ("_dmarc.acme.net", "TXT", '"x"')),
    "delete a zone": lambda w: w.route53.delete_hosted_zone(Id=w.zones["other.org"]),
    "create a zone": lambda w: w.route53.create_hosted_zone(Name="evil.org", CallerReference="1"),
}  # fmt: skip

SES: dict[str, Try] = {
    "delete a foreign identity": lambda w: w.sesv2.delete_email_identity(EmailIdentity="theirs.com"),
    "create an identity that is not declared": lambda w: w.sesv2.create_email_identity(EmailIdentity="evil.org"),
    "tag a foreign identity as the stack's": lambda w: w.sesv2.tag_resource(
        ResourceArn=f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/theirs.com", Tags=[TAG]),
    "change DKIM of a foreign identity": lambda w: w.sesv2.put_email_identity_dkim_attributes(
        EmailIdentity="theirs.com", SigningEnabled=False),
    "delete the policy of a foreign identity": lambda w: w.sesv2.delete_email_identity_policy(
        EmailIdentity="theirs.com", PolicyName="p"),
    "delete a set that is only referred to": lambda w: w.sesv2.delete_configuration_set(ConfigurationSetName="theirs"),
    "change a set that is only referred to": lambda w: w.sesv2.put_configuration_set_delivery_options(
        ConfigurationSetName="theirs", TlsPolicy="OPTIONAL"),
    "send mail": lambda w: w.sesv2.send_email(
        FromEmailAddress="a@mail.acme.com", Destination={"ToAddresses": ["b@other.org"]},
        Content={"Raw": {"Data": b"x"}}),
    "pause sending in a region that is not the stack's": lambda w: client(
        "sesv2", "ap-south-1", KEY).put_account_sending_attributes(SendingEnabled=False),
}  # fmt: skip

STORES: dict[str, Try] = {
    "read a foreign secret": lambda w: w.secretsmanager.get_secret_value(SecretId="theirs"),
    "delete a foreign secret": lambda w: w.secretsmanager.delete_secret(SecretId="theirs"),
    "write a foreign secret": lambda w: w.secretsmanager.put_secret_value(SecretId="theirs", SecretString="y"),
    "tag a foreign secret as the stack's": lambda w: w.secretsmanager.tag_resource(SecretId="theirs", Tags=[TAG]),
    "read a foreign parameter": lambda w: w.ssm.get_parameter(Name="/theirs", WithDecryption=True),
    "delete a foreign parameter": lambda w: w.ssm.delete_parameter(Name="/theirs"),
    "write a foreign parameter": lambda w: w.ssm.put_parameter(
        Name="/theirs", Value="y", Overwrite=True, Type="SecureString"),
}  # fmt: skip

FORBIDDEN = {"users": USERS, "records": RECORDS, "ses": SES, "stores": STORES}


def denied(attempt: Callable[[], Any]) -> bool:
    """Whether AWS denies a call; any other error is one of the test."""
    from botocore.exceptions import ClientError

    try:
        attempt()
    except ClientError as error:
        if "AccessDenied" not in error.response["Error"]["Code"]:
            raise
        return True
    return False


@pytest.mark.parametrize("what", FORBIDDEN)
def test_a_holder_cannot(world: World, what: str) -> None:
    """Each by itself: what is denied changes nothing, so that one world does for all."""
    assert [name for name, attempt in FORBIDDEN[what].items() if not denied(lambda: attempt(world))] == []  # noqa: B023


ELSEWHERE = {"Path": "/elsewhere/"}


@pytest.mark.parametrize(
    "wrong",
    [{}, {"PermissionsBoundary": TWO}, {"PermissionsBoundary": ADMIN}, {"PermissionsBoundary": ONE, **ELSEWHERE}],
)
def test_a_declared_user_is_created_with_its_boundary_and_path_alone(world: World, wrong: dict[str, str]) -> None:
    world.house.settle({k: v for k, v in document(world.zones["acme.net"]).items() if k != "smtp_users"})
    assert denied(lambda: world.iam.create_user(UserName="news", **wrong))
    world.iam.create_user(UserName="news", Path="/ses-smtp/", PermissionsBoundary=ONE)
    world.iam.put_user_policy(UserName="news", PolicyName="recon-smtp", PolicyDocument=ANYTHING)


@pytest.mark.parametrize("live", [None, TWO, ADMIN])
def test_a_policy_is_put_only_where_the_declared_boundary_is(world: World, live: str | None) -> None:
    """Somebody has removed or changed the boundary: it comes back before any policy does."""
    iam = client("iam")
    if live is None:
        iam.delete_user_permissions_boundary(UserName="news")
    else:
        iam.put_user_permissions_boundary(UserName="news", PermissionsBoundary=live)
    put = lambda: world.iam.put_user_policy(  # noqa: E731
        UserName="news", PolicyName="recon-smtp", PolicyDocument=ANYTHING
    )
    assert denied(put)
    world.iam.put_user_permissions_boundary(UserName="news", PermissionsBoundary=ONE)
    put()


def test_the_output_says_who_has_no_boundary(house: House) -> None:
    house.write(document("Z0123456789ABC"))
    ran = house.cli("iam-policy", "apply", "state.yaml")
    assert "administrator" in ran.err
    assert "office" in ran.err
    assert "news" not in ran.err
    assert json.loads(ran.out)["Statement"]
    assert "administrator" not in house.cli("iam-policy", "plan", "state.yaml").err
    bounded = document("Z0123456789ABC")
    bounded["smtp_users"]["office"]["permissions_boundary"] = ONE
    house.write(bounded)
    ran = house.cli("iam-policy", "apply", "state.yaml")
    assert "administrator" not in ran.err
    for statement in json.loads(ran.out)["Statement"]:
        if {"iam:CreateUser", "iam:PutUserPolicy", "iam:PutUserPermissionsBoundary"} & set(statement["Action"]):
            assert statement["Condition"]["StringEquals"]["iam:PermissionsBoundary"] in (ONE, TWO)


# --- records --------------------------------------------------------------------------------------------------------


def test_what_was_taken_out_goes_with_removing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A denied delete says what to do; nothing else is needed for the domain."""
    house.seed_zone()
    both = {"domains": {name: {"dmarc": {"p": "none"}, "mail_from": {"mail_from_domain": f"bounce.{name}"}}
                        for name in ("old.acme.com", "shop.acme.com")}}  # fmt: skip
    house.settle(both)
    house.write({"domains": {"shop.acme.com": both["domains"]["shop.acme.com"]}})
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    grant(house)
    ran = house.cli("apply", "state.yaml", "--auto-approve")
    assert ran.code == 1, ran
    assert "recon iam-policy apply --removing old.acme.com" in ran.err + ran.out
    assert "--removing bounce" not in ran.err + ran.out, "what is above it will do"
    grant(house, "--removing", "Old.Acme.com.")
    ran = house.cli("apply", "state.yaml", "--auto-approve")
    assert ran.code == 0, ran
    assert not [name for name, _ in house.zone() if "old" in name]
    house.check_foreign()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("plan", "state.yaml", "--removing", "acme.org"), "--removing is for apply"),
        (("apply", "state.yaml", "--removing", "a..b"), "--removing"),
    ],
)
def test_removing_takes_domains_for_apply(house: House, arguments: tuple[str, ...], words: str) -> None:
    house.write({"domains": {"acme.com": {}}})
    ran = house.cli("iam-policy", *arguments)
    assert ran.code == 1
    assert words in ran.err


NAMES = "route53:ChangeResourceRecordSetsNormalizedRecordNames"


def names_by_zone(house: House, document: dict[str, Any], *options: str) -> dict[str, list[str]]:
    """Zone id -> the names of the one statement about its records."""
    house.write(document)
    ran = house.cli("iam-policy", "apply", "state.yaml", *options)
    assert ran.code == 0, ran
    return {
        statement["Resource"].rpartition("/")[2]: statement["Condition"]["ForAllValues:StringLike"][NAMES]
        for statement in json.loads(ran.out)["Statement"]
        if "route53:ChangeResourceRecordSets" in statement["Action"]
    }


ZONE = "Z0123456789ABC"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"domains": {"acme.com": {}}}, {"*": ["*.acme.com", "acme.com"]}),
        ({"domains": {"acme.com": {}, "shop.acme.com": {}}}, {"*": ["*.acme.com", "acme.com"]}),
        ({"domains": {"acme.com": {"identity": False, "null_mx": True}}}, {"*": ["*.acme.com", "acme.com"]}),
        ({"domains": {"bücher.example": {}}}, {"*": ["*.xn--bcher-kva.example", "xn--bcher-kva.example"]}),
        ({"domains": {"acme.com": {"zone": "manual"}}}, {}),
        ({"email_addresses": {"ceo@acme.com": {}}}, {}),
        ({"domains": {"acme.com": {"zone": ZONE}}}, {ZONE: ["*.acme.com", "acme.com"]}),
        # A batch of a zone matches one statement whole: that of a known zone also has what may be in it.
        (
            {"domains": {"acme.com": {"zone": ZONE}, "shop.acme.com": {}, "acme.org": {}}},
            {"*": ["*.acme.org", "*.shop.acme.com", "acme.org", "shop.acme.com"], ZONE: ["*.acme.com", "acme.com"]},
        ),
        (
            {"domains": {"shop.acme.com": {"zone": ZONE}, "acme.com": {}}},
            {"*": ["*.acme.com", "acme.com"], ZONE: ["*.acme.com", "acme.com"]},
        ),
        (
            {"configuration_sets": {"main": {"tracking_options": {"custom_redirect_domain": "click.acme.org"}}}},
            {"*": ["*.click.acme.org", "click.acme.org"]},
        ),
        (
            {"domains": {"acme.com": {"zone": ZONE}},
             "configuration_sets": {"main": {"tracking_options": {"custom_redirect_domain": "click.acme.com"}}}},
            {ZONE: ["*.acme.com", "acme.com"]},
        ),
        (
            {"domains": {"new.acme.com": {}},
             "moved": [{"from": f"email_identity/{HOME}/old.acme.com", "to": f"email_identity/{HOME}/new.acme.com"}]},
            {"*": ["*.new.acme.com", "*.old.acme.com", "new.acme.com", "old.acme.com"]},
        ),
    ],
)  # fmt: skip
def test_the_names_of_the_records(house: House, document: dict[str, Any], expected: dict[str, list[str]]) -> None:
    assert names_by_zone(house, document) == expected


def test_names_that_do_not_fit_are_given_by_their_parent(house: House) -> None:
    tenants = {f"tenant{n}.mail.acme.com": {"dmarc": {"p": "none"}} for n in range(300)}
    house.write({"domains": {**tenants, "acme.org": {}}})
    ran = house.cli("iam-policy", "apply", "state.yaml")
    assert names_by_zone(house, {"domains": {**tenants, "acme.org": {}}}) == {
        "*": ["*.acme.org", "*.mail.acme.com", "acme.org", "mail.acme.com"]
    }
    assert "at and below mail.acme.com" in ran.err
    few = {f"tenant{n}.mail.acme.com": {} for n in range(30)}
    assert len(names_by_zone(house, {"domains": few})["*"]) == 60


@pytest.mark.parametrize("zone", ["auto", "Z{}"])
def test_a_statement_about_records_fits_a_policy_of_its_own(house: House, zone: str) -> None:
    """However many domains of however many names: a batch must meet one statement whole."""
    from reconciler.iam_policy import MAX_CHARACTERS, MAX_POLICIES, parts, size

    domains = {f"tenant.brand{n}.com": {"identity": False, "dmarc": {"p": "reject"}, "zone": zone.format(n)}
               for n in range(10000, 11000)}  # fmt: skip
    house.write({"domains": domains})
    ran = house.cli("iam-policy", "apply", "state.yaml")
    assert ran.code == 0, ran
    pieces = parts(json.loads(ran.out))
    assert len(pieces) <= MAX_POLICIES
    assert all(size(piece) <= MAX_CHARACTERS for piece in pieces)


# --- names with wildcards in them -----------------------------------------------------------------------------------


def test_what_the_yaml_names_is_no_pattern_in_the_policy(house: House) -> None:
    """An ARN or a path with ``*`` is that one, so that a line of YAML grants no more than it names."""
    star = f"arn:aws:iam::{ACCOUNT}:role/*"
    destination = {
        "matching_event_types": ["SEND"],
        "kinesis_firehose_destination": {
            "iam_role_arn": star,
            "delivery_stream_arn": f"arn:aws:firehose:{HOME}:{ACCOUNT}:deliverystream/mail",
        },
    }
    house.write({
        "configuration_sets": {"main": {"event_destinations": {"all": destination}}},
        "smtp_users": {"news": sender("news", path="/*/", permissions_boundary=ONE)},
        "domains": {"acme.com": {"dkim": {
            "signing_attributes_origin": "EXTERNAL", "domain_signing_selector": "s1",
            "domain_signing_private_key": {"secretsmanager": f"arn:aws:secretsmanager:{HOME}:{ACCOUNT}:secret:*"}}}},
    })  # fmt: skip
    ran = house.cli("iam-policy", "apply", "state.yaml")
    if ran.code:  # what validation refuses cannot be granted
        house.write({"smtp_users": {"news": sender("news", path="/*/", permissions_boundary=ONE)}})
        assert "bad-arn" in ran.err, ran
        ran = house.cli("iam-policy", "apply", "state.yaml")
    granted = {
        resource
        for statement in json.loads(ran.out)["Statement"]
        for resource in (statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]])
        if not {"aws:ResourceTag/recon:stack"} & set((statement.get("Condition") or {}).get("StringEquals", {}))
    }
    assert f"arn:aws:iam::{ACCOUNT}:user/${{*}}/news" in granted
    assert (
        not {star, f"arn:aws:iam::{ACCOUNT}:user/*/news", f"arn:aws:secretsmanager:{HOME}:{ACCOUNT}:secret:*"} & granted
    )


@pytest.mark.parametrize("address", ["a*b@acme.com", "what?@acme.com", "plain@acme.com"])
def test_an_address_with_wildcards_is_that_address_in_the_policy_of_a_user(house: House, address: str) -> None:
    from reconciler.regions import iam_pattern, literal, meant

    house.seed_zone()
    house.settle({
        "email_addresses": {address: {}},
        "smtp_users": {"news": sender("news", identities=[address])},
    })  # fmt: skip
    document = client("iam").get_user_policy(UserName="news", PolicyName="recon-smtp")["PolicyDocument"]
    (arn,) = document["Statement"][0]["Resource"]
    prefix = f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/"
    assert arn == prefix + literal(address)
    assert iam_pattern(arn).fullmatch(prefix + address)
    assert not iam_pattern(arn).fullmatch(prefix + "axxb@acme.com")
    assert meant(arn) == prefix + address


def test_import_reads_the_address_back() -> None:
    from reconciler.importing.users import _identities

    base = f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/"
    assert _identities([f"{base}a${{*}}b@acme.com"]) == ["a*b@acme.com"]
    assert _identities([f"{base}a*b@acme.com"]) is None


def test_whatever_gives_rights_is_limited_by_a_boundary() -> None:
    """A kind that writes policies, users or roles must stand under the condition, and no kind may lift a boundary."""
    from reconciler.iam_policy import BOUNDED, actions

    gives = re.compile(r"iam:(Put|Attach|Add|Create|Set|UpdateAssumeRolePolicy|UpdateLoginProfile)")
    takes = re.compile(r"iam:(Delete\w+PermissionsBoundary|Remove\w+FromGroup)")
    found = {action for action in actions("apply") if gives.match(action) or takes.match(action)}
    assert found - {"iam:CreateAccessKey"} - BY_NAME == BOUNDED


BY_NAME = {"iam:UpdateAssumeRolePolicy", "iam:CreateInstanceProfile", "iam:AddRoleToInstanceProfile"}
"""For these IAM knows no condition on the boundary (Service Authorization Reference for IAM: UpdateAssumeRolePolicy has
the role alone, the other two the instance profile alone): they say who may use a role, whose rights the boundary
limits, and are allowed for declared names alone."""


def test_who_may_use_a_role_is_changed_of_declared_roles_alone(house: House) -> None:
    from reconciler.desired import load
    from reconciler.iam_policy import policy

    role = {"trust": {"service": "ec2.amazonaws.com"}, "from_addresses": ["*"]}
    house.write({"sending_roles": {"app": role}})
    document = policy(load(house.home / "state.yaml").state, "apply")
    for statement in document["Statement"]:
        if {*BY_NAME, "iam:PassRole"}.intersection(statement["Action"]):
            named = statement["Resource"]
            assert all(arn.endswith("/app") for arn in ([named] if isinstance(named, str) else named)), statement
