"""Every refusal that concerns one resource: it stands in the plan and in drift as the difference that it is, with who
made it, and blocks only what needs it. Beside each world lives another domain that somebody has edited: it is healed.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from jsonschema import Draft202012Validator
from support import ACCOUNT, HOME, OTHER, House, client, merge
from test_e2e_interrupted import dkim_key

HERE = Path(__file__).parents[1]
SCHEMA = Draft202012Validator(json.loads((HERE / "schemas" / "plan.schema.json").read_text(encoding="utf-8")))
STATE = "state.yaml"
HEALTHY: dict[str, Any] = {"domains": {"well.example": {"dkim": {}, "dmarc": {"p": "reject"}}}}
"""What needs nothing that is refused; somebody edits its DMARC record."""
WAIVED = {"address": "dns_record/well.example/*", "reason": "reports come from elsewhere", "until": "2999-01-01"}
HEALED = "dns_record/well.example/_dmarc.well.example/TXT"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DKIM_KEY", dkim_key())


@pytest.fixture
def beside(house: House) -> House:
    """A house in which the other domain lives."""

    def healthy() -> None:
        house.seed_zone("well.example", {})
        house.settle(HEALTHY)

    house.once("refused: the other domain", healthy)
    return house


def edit_the_other(house: House) -> None:
    house.change("_dmarc.well.example", "TXT", '"v=DMARC1; p=none"', zone="well.example")


def is_healed(house: House) -> bool:
    return house.dns("_dmarc.well.example") == ["v=DMARC1; p=reject"]


def settled(house: House, *documents: dict[str, Any]) -> dict[str, Any]:
    """``documents`` in force, beside the other domain; returns them as one."""
    whole: dict[str, Any] = {}
    for one in documents:
        whole = merge(whole, one)
    house.settle(merge(whole, HEALTHY))
    return whole


def zone(house: House, *records: tuple[str, str, list[str]]) -> str:
    """The zone acme.com with records of others, which an event of CloudTrail has made."""
    made = house.seed_zone("acme.com", {})
    for name, type_, values in records:
        house.change(name, type_, *(f'"{v}"' if type_ == "TXT" else v for v in values))
    return made


def tag_as(arn: str, stack: str, region: str = HOME, **more: str) -> None:
    tags = {"recon:stack": stack, **{f"recon:{key}": value for key, value in more.items()}}
    client("sesv2", region).tag_resource(
        ResourceArn=f"arn:aws:ses:{region}:{ACCOUNT}:{arn}", Tags=[{"Key": k, "Value": v} for k, v in tags.items()]
    )


def domain(**values: Any) -> dict[str, Any]:
    return {"domains": {"acme.com": {"dkim": {}, **values}}}


def own_records(**values: Any) -> dict[str, Any]:
    return {"domains": {"acme.com": {"identity": False, **values}}}


def smtp_user(**values: Any) -> dict[str, Any]:
    news = {"from_addresses": ["*@acme.com"], "credentials": {"secretsmanager": {"name": "recon/news"}}, **values}
    return {"smtp_users": {"news": news}}


EVENT = {
    "matching_event_types": ["BOUNCE"],
    "event_bridge_destination": {"event_bus_arn": f"arn:aws:events:{HOME}:{ACCOUNT}:event-bus/default"},
}

# --- another's -----------------------------------------------------------------------------------------------------


def anothers_identity(house: House) -> dict[str, Any]:
    zone(house)
    house.sandbox.seed(identities=[{"names": ["acme.com"], "tags": {"recon:stack": "another"}}])
    return domain(dmarc={"p": "none"})


def anothers_set(house: House) -> dict[str, Any]:
    client("sesv2").create_configuration_set(ConfigurationSetName="main")
    tag_as("configuration-set/main", "another")
    return {"configuration_sets": {"main": {"event_destinations": {"d": EVENT}}}}


def full_of_tags(house: House) -> dict[str, Any]:
    tags = [{"Key": f"cost-{number}", "Value": "mail"} for number in range(49)]
    client("sesv2").create_configuration_set(ConfigurationSetName="main", Tags=tags)
    return {"configuration_sets": {"main": {"tags": {"team": "mail"}}}}


def anothers_user(house: House) -> dict[str, Any]:
    client("iam").create_user(UserName="news", Tags=[{"Key": "recon:stack", "Value": "another"}])
    return smtp_user()


def anothers_store(house: House) -> dict[str, Any]:
    tags = [{"Key": "recon:stack", "Value": "another"}]
    client("secretsmanager").create_secret(Name="recon/news", SecretString="theirs", Tags=tags)
    return smtp_user()


def anothers_marker(house: House) -> dict[str, Any]:
    theirs = ("_recon.acme.com", "TXT", ["v=recon1; stack=another; groups=dmarc"])
    zone(house, ("_dmarc.acme.com", "TXT", ["v=DMARC1; p=none"]), theirs)
    return own_records(dmarc={"p": "reject"})


def anothers_record(house: House) -> dict[str, Any]:
    zone(house, ("_dmarc.acme.com", "TXT", ["v=DMARC1; p=none"]))
    client("sesv2", OTHER).create_email_identity(EmailIdentity="acme.com")
    tag_as("identity/acme.com", "another", OTHER, records="dmarc")
    return own_records(dmarc={"p": "reject"})


def owner_unread(house: House) -> dict[str, Any]:
    zone(house, ("_dmarc.acme.com", "TXT", ["v=DMARC1; p=none"]))
    house.sandbox.fault(
        "denied", service="resourcegroupstaggingapi", region=HOME, contains="ResourceARNList", count=None
    )
    return own_records(dmarc={"p": "reject"})


# --- records: names and zones --------------------------------------------------------------------------------------


def no_zone(house: House) -> dict[str, Any]:
    return domain()


def no_such_zone(house: House) -> dict[str, Any]:
    zone(house)
    return own_records(dmarc={"p": "reject"}, zone="Z00000000000000000")


def another_zone(house: House) -> dict[str, Any]:
    zone(house)
    made = house.sandbox.seed(zones=[{"name": "other.example"}])["zones"]["other.example"]
    return own_records(dmarc={"p": "reject"}, zone=made)


def private_zone(house: House) -> dict[str, Any]:
    made = house.sandbox.seed(zones=[{"name": "acme.com", "private": True}])["zones"]["acme.com"]
    return own_records(dmarc={"p": "reject"}, zone=made)


def two_zones(house: House) -> dict[str, Any]:
    zone(house)
    zone(house)
    return own_records(dmarc={"p": "reject"})


def delegated(house: House) -> dict[str, Any]:
    zone(house, ("shop.acme.com", "NS", ["ns1.example."]))
    return {"domains": {"shop.acme.com": {"identity": False, "dmarc": {"p": "none"}}}}


def cname_there(house: House) -> dict[str, Any]:
    zone(house, ("_dmarc.acme.com", "CNAME", ["dmarc.vendor.example."]))
    return domain(dmarc={"p": "reject"})


def tracking_name_taken(house: House) -> dict[str, Any]:
    zone(house, ("click.acme.com", "TXT", ["theirs"]))
    options = {"tracking_options": {"custom_redirect_domain": "click.acme.com"}}
    return merge(domain(), {"configuration_sets": {"main": options}})


def weighted(house: House) -> dict[str, Any]:
    zone(house)
    house.change("_dmarc.acme.com", "TXT", '"v=DMARC1; p=none"', SetIdentifier="a", Weight=1)
    return domain(dmarc={"p": "reject"})


# --- records: values -----------------------------------------------------------------------------------------------


def foreign_mx(house: House) -> dict[str, Any]:
    zone(house, ("bounce.acme.com", "MX", ["10 mail.other.example."]))
    return domain(mail_from={"mail_from_domain": "bounce.acme.com"})


def foreign_mx_of_a_live_domain(house: House) -> dict[str, Any]:
    zone(house)
    settled(house, domain())
    house.change("bounce.acme.com", "MX", "10 mail.other.example.")
    return domain(mail_from={"mail_from_domain": "bounce.acme.com"})


def mx_beside_ours(house: House) -> dict[str, Any]:
    zone(house)
    document = settled(house, domain(mail_from={"mail_from_domain": "bounce.acme.com"}))
    house.change("bounce.acme.com", "MX", f"10 feedback-smtp.{HOME}.amazonses.com", "20 mx.example.com")
    return document


def mx_beside_a_null_mx(house: House) -> dict[str, Any]:
    zone(house)
    document = settled(house, own_records(null_mx=True))
    house.change("acme.com", "MX", "0 .", "10 mx.example.com.")
    return document


def two_dmarc(house: House) -> dict[str, Any]:
    zone(house, ("_dmarc.acme.com", "TXT", ["v=DMARC1; p=none", "v=DMARC1; p=reject"]))
    return domain(dmarc={"p": "reject"})


def two_bimi(house: House) -> dict[str, Any]:
    zone(house, ("default._bimi.acme.com", "TXT", ["v=BIMI1; l=https://a.example/", "v=BIMI1; l=https://b.example/"]))
    return own_records(bimi={"l": "https://acme.com/logo.svg"})


def two_spf(house: House) -> dict[str, Any]:
    zone(house, ("acme.com", "TXT", ["v=spf1 -all", "v=spf1 ~all"]))
    return domain(spf={"include": ["_spf.crm.example"]})


def spf_at_the_mail_from(house: House) -> dict[str, Any]:
    zone(house, ("bounce.acme.com", "TXT", ["v=spf1 -all", "v=spf1 ~all"]))
    return domain(mail_from={"mail_from_domain": "bounce.acme.com"})


def two_dmarc_to_delete(house: House) -> dict[str, Any]:
    zone(house)
    settled(house, domain(dmarc={"p": "none"}))
    house.change("_dmarc.acme.com", "TXT", '"v=DMARC1; p=none"', '"v=DMARC1; p=reject"')
    return domain()


def two_spf_to_delete(house: House) -> dict[str, Any]:
    zone(house)
    settled(house, own_records(spf={"include": ["_spf.crm.example"]}))
    house.change("acme.com", "TXT", '"v=spf1 include:_spf.crm.example ~all"', '"v=spf1 -all"')
    return {}


def spf_denies_it(house: House) -> dict[str, Any]:
    zone(house, ("acme.com", "TXT", ["v=spf1 -include:_spf.crm.example ~all"]))
    return own_records(spf={"include": ["_spf.crm.example"]})


def spf_too_long(house: House) -> dict[str, Any]:
    theirs = "v=spf1 " + " ".join(f"ip4:192.0.2.{n % 250}/{n % 8 + 24}" for n in range(190)) + " ~all"
    zone(house)
    house.sandbox.seed(records=[{"zone": "acme.com", "name": "acme.com", "type": "TXT", "values": [theirs]}])
    return own_records(spf={"include": [f"{'s' * 50}{n}.example" for n in range(8)]})


def two_values(house: House) -> dict[str, Any]:
    """The SPF record of a MAIL FROM name, and that of the domain of the same name."""
    zone(house)
    here = domain(mail_from={"mail_from_domain": "bounce.acme.com"})
    return merge(here, {"domains": {"bounce.acme.com": {"identity": False, "spf": {"include": ["_spf.crm.example"]}}}})


def byodkim(selector: str = "s1") -> dict[str, Any]:
    private = {"domain_signing_selector": selector, "domain_signing_private_key": {"env": "DKIM_KEY"}}
    return {"signing_attributes_origin": "EXTERNAL", **private}


def text_beside_a_key(house: House) -> dict[str, Any]:
    zone(house)
    document = settled(house, domain(dkim=byodkim()))
    name = "s1._domainkey.acme.com"
    house.change(name, "TXT", *house.dns_values(name), '"site-verification=1"')
    return document


def two_keys(house: House) -> dict[str, Any]:
    zone(house)
    document = settled(house, domain(dkim=byodkim()))
    name = "s1._domainkey.acme.com"
    house.change(name, "TXT", *house.dns_values(name), '"v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQ=="')
    return document


# --- SES -----------------------------------------------------------------------------------------------------------


def key_length(house: House) -> dict[str, Any]:
    zone(house)
    settled(house, domain(dkim=byodkim()))
    return {"domains": {"acme.com": {"dkim": {"next_signing_key_length": "RSA_2048_BIT"}}}}


def set_in_use(house: House) -> dict[str, Any]:
    zone(house)
    settled(house, {"configuration_sets": {"main": {}}}, domain(configuration_set_name="main"))
    return domain()


def pool_in_use(house: House) -> dict[str, Any]:
    used = {"configuration_sets": {"main": {"delivery_options": {"sending_pool_name": "tx"}}}}
    settled(house, used, {"dedicated_ip_pools": {"tx": {}}})
    return {"configuration_sets": {"main": {}}}


def protected_set(house: House) -> dict[str, Any]:
    settled(house, {"configuration_sets": {"main": {"protect": True}}})
    return {}


def protected_domain(house: House) -> dict[str, Any]:
    zone(house)
    settled(house, domain(protect=True))
    return {}


def protected_user(house: House) -> dict[str, Any]:
    settled(house, smtp_user(protect=True))
    return {}


def one_way(house: House) -> dict[str, Any]:
    settled(house, {"dedicated_ip_pools": {"tx": {"scaling_mode": "MANAGED"}}})
    return {"dedicated_ip_pools": {"tx": {"scaling_mode": "STANDARD"}}}


def one_list(house: House) -> dict[str, Any]:
    client("sesv2").create_contact_list(ContactListName="theirs")
    return {"contact_lists": {"news": {}}}


def unknown_set(house: House) -> dict[str, Any]:
    zone(house)
    return domain(configuration_set_name="nowhere")


def unknown_pool(house: House) -> dict[str, Any]:
    return {"configuration_sets": {"main": {"delivery_options": {"sending_pool_name": "nowhere"}}}}


def set_gone(house: House) -> dict[str, Any]:
    """The set that an identity names is gone: nothing of the identity itself differs."""
    zone(house)
    client("sesv2").create_configuration_set(ConfigurationSetName="theirs")
    document = settled(house, domain(configuration_set_name="theirs"))
    client("sesv2").delete_configuration_set(ConfigurationSetName="theirs")
    return document


def insights_without_vdm(house: House) -> dict[str, Any]:
    off = {"vdm_enabled": "DISABLED", "guardian_attributes": {"optimized_shared_delivery": "ENABLED"}}
    client("sesv2").put_account_vdm_attributes(VdmAttributes={"VdmEnabled": "ENABLED"})
    return {"account": {"vdm_attributes": off}}


def nothing_to_track_on(house: House) -> dict[str, Any]:
    options = {"tracking_options": {"custom_redirect_domain": "click.acme.com"}}
    zone(house)
    return {"configuration_sets": {"main": options}}


# --- users ---------------------------------------------------------------------------------------------------------


def blocked_credential(house: House) -> dict[str, Any]:
    client("iam").create_user(UserName="news")
    for _ in range(2):
        client("iam").create_access_key(UserName="news")
    return smtp_user()


def foreign_key_of_a_user(house: House) -> dict[str, Any]:
    settled(house, smtp_user())
    client("iam").create_access_key(UserName="news")
    return {}


def user_in_a_group(house: House) -> dict[str, Any]:
    settled(house, smtp_user())
    client("iam").create_group(GroupName="senders")
    client("iam").add_user_to_group(GroupName="senders", UserName="news")
    return {}


def user_with_a_password(house: House) -> dict[str, Any]:
    settled(house, smtp_user())
    client("iam").create_login_profile(UserName="news", Password="x" * 20)
    return {}


def boundary_taken_out(house: House) -> dict[str, Any]:
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ses:*", "Resource": "*"}]}
    made = client("iam").create_policy(PolicyName="mail-boundary", PolicyDocument=json.dumps(allow))
    settled(house, smtp_user(permissions_boundary=made["Policy"]["Arn"]))
    return smtp_user()


def policy_too_long(house: House) -> dict[str, Any]:
    settled(house, smtp_user())
    long = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "x" * 1500}],
    }
    client("iam").put_user_policy(UserName="news", PolicyName="theirs", PolicyDocument=json.dumps(long))
    return smtp_user(from_addresses=[f"sender-{n}@acme.com" for n in range(30)])


def user_of_another_case(house: House) -> dict[str, Any]:
    client("iam").create_user(UserName="News")
    return smtp_user()


def store_not_secure(house: House) -> dict[str, Any]:
    client("ssm").put_parameter(Name="/recon/news", Value="mine", Type="String")
    return smtp_user(credentials={"ssm": {"name": "/recon/news"}})


TRUSTING = {"service": "lambda.amazonaws.com"}


def roles(trust: dict[str, Any] = TRUSTING, **more: Any) -> dict[str, Any]:
    return {"sending_roles": {"blast": {"trust": trust, "from_addresses": ["*@acme.com"], **more}}}


def another_path(house: House) -> dict[str, Any]:
    settled(house, roles(path="/mail/"))
    return roles(path="/other/")


def no_such_boundary(house: House) -> dict[str, Any]:
    settled(house, roles())
    return roles(permissions_boundary=f"arn:aws:iam::{ACCOUNT}:policy/none")


def profile_of_another_role(house: House) -> dict[str, Any]:
    iam, trust = client("iam"), {"service": "ec2.amazonaws.com"}
    iam.create_instance_profile(InstanceProfileName="blast")
    allow = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.create_role(RoleName="other", AssumeRolePolicyDocument=document)
    iam.add_role_to_instance_profile(InstanceProfileName="blast", RoleName="other")
    return roles(trust)


# --- what watches --------------------------------------------------------------------------------------------------


def quota_alarm(house: House) -> dict[str, Any]:
    house.sandbox.seed(accounts=[{"quota": {"Max24HourSend": -1}}])
    return {"cloudwatch_alarms": {"quota": {"preset": "quota"}}}


def watcher(*targets: str) -> dict[str, Any]:
    arns = [f"arn:aws:sns:{HOME}:{ACCOUNT}:{name}" for name in targets]
    return {"event_rules": {"keys": {"event_pattern": {"source": ["aws.ses"]}, "targets": arns}}}


def full_of_targets(house: House) -> dict[str, Any]:
    settled(house, watcher("ops"))
    theirs = [{"Id": f"{n}", "Arn": f"arn:aws:sns:{HOME}:{ACCOUNT}:theirs{n}"} for n in range(3)]
    client("events").put_targets(Rule="keys", Targets=theirs)
    return watcher("a", "b", "c")


def rule_of_aws(house: House) -> dict[str, Any]:
    client("events").put_rule(Name="keys", EventPattern='{"source":["aws.ses"]}')
    for _, _, state in house.sandbox._server.gateway.world.each("events"):
        state.of("Rule")["keys"].body["ManagedBy"] = "ssm.amazonaws.com"
    return watcher("ops")


def nobody_gets_bounces(house: House) -> dict[str, Any]:
    zone(house)
    topics = {f"{event}_topic": f"arn:aws:sns:{HOME}:{ACCOUNT}:feedback" for event in ("bounce", "complaint")}
    off = {"email_forwarding_enabled": False}
    settled(house, domain(notification_attributes=topics, **off))
    return domain(notification_attributes={**topics, "bounce_topic": None}, **off)


# --- rules ---------------------------------------------------------------------------------------------------------


def rule_set_to_error(house: House) -> dict[str, Any]:
    zone(house)
    return merge(
        domain(dmarc={"p": "reject"}),
        {"rules": {"dmarc-no-rua": "error"}, "waivers": [{**WAIVED, "rule": "dmarc-no-rua"}]},
    )


def rule_about_another(house: House) -> dict[str, Any]:
    """The logo needs an enforced DMARC policy: it is the record of the policy that changes."""
    zone(house)
    logo = own_records(bimi={"l": "https://acme.com/logo.svg"})
    settled(house, logo, own_records(dmarc={"p": "reject"}))
    return merge(merge(logo, own_records(dmarc={"p": "none"})), {"rules": {"bimi-not-enforced": "error"}})


class Case(NamedTuple):
    """A world, what is refused in it by its address and code, and what is skipped with that."""

    make: Callable[[House], dict[str, Any]]
    address: str
    action: str
    code: str
    also: tuple[str, ...] = ()
    """Other addresses that are not carried out, since they need it; a prefix ends with ``*``."""
    author: bool = False
    """Whether somebody has changed what is refused, of which there is an event."""


IDENTITY = f"email_identity/{HOME}/acme.com"
SET = f"configuration_set/{HOME}/main"
RECORDS = "dns_record/acme.com"
DMARC = f"{RECORDS}/_dmarc.acme.com/TXT"
SPF = f"{RECORDS}/acme.com/TXT"
KEY = f"{RECORDS}/s1._domainkey.acme.com/TXT"
CREDENTIAL = "smtp_credential/news"
USER = "smtp_user/news"
CASES = [
    Case(anothers_identity, IDENTITY, "adopt", "owned-elsewhere", (f"{RECORDS}/*",)),
    Case(full_of_tags, SET, "adopt", "too-many-tags"),
    Case(anothers_set, SET, "adopt", "owned-elsewhere", (f"event_destination/{HOME}/main/d",)),
    Case(anothers_user, USER, "adopt", "owned-elsewhere"),
    Case(anothers_store, CREDENTIAL, "create", "owned-elsewhere"),
    Case(anothers_marker, DMARC, "update", "owned-elsewhere", author=True),
    Case(anothers_record, DMARC, "update", "owned-elsewhere", author=True),
    Case(owner_unread, DMARC, "update", "others-unread", author=True),
    Case(no_zone, "dns_record/?/token._domainkey.acme.com/CNAME", "create", "no-zone"),
    Case(no_such_zone, "dns_record/?/_dmarc.acme.com/TXT", "create", "no-such-zone"),
    Case(another_zone, "dns_record/?/_dmarc.acme.com/TXT", "create", "zone-mismatch"),
    Case(private_zone, "dns_record/?/_dmarc.acme.com/TXT", "create", "private-zone"),
    Case(two_zones, "dns_record/?/_dmarc.acme.com/TXT", "create", "zones-same-name"),
    Case(delegated, f"{RECORDS}/_dmarc.shop.acme.com/TXT", "create", "delegated"),
    Case(cname_there, DMARC, "create", "cname-in-the-way"),
    Case(tracking_name_taken, f"{RECORDS}/click.acme.com/CNAME", "create", "name-taken"),
    Case(weighted, DMARC, "create", "not-simple"),
    Case(foreign_mx, f"{RECORDS}/bounce.acme.com/MX", "update", "mx-taken", author=True),
    Case(
        foreign_mx_of_a_live_domain,
        f"{RECORDS}/bounce.acme.com/MX",
        "update",
        "mx-taken",
        (IDENTITY, f"{RECORDS}/bounce.acme.com/TXT"),
        author=True,
    ),
    Case(mx_beside_ours, f"{RECORDS}/bounce.acme.com/MX", "update", "mx-not-alone", author=True),
    Case(mx_beside_a_null_mx, f"{RECORDS}/acme.com/MX", "update", "mx-not-alone", author=True),
    Case(two_dmarc, DMARC, "update", "two-dmarc", author=True),
    Case(two_bimi, f"{RECORDS}/default._bimi.acme.com/TXT", "update", "two-bimi", author=True),
    Case(two_spf, SPF, "update", "two-spf", author=True),
    Case(spf_at_the_mail_from, f"{RECORDS}/bounce.acme.com/TXT", "update", "two-spf", author=True),
    Case(two_dmarc_to_delete, DMARC, "delete", "two-dmarc", author=True),
    Case(two_spf_to_delete, SPF, "delete", "two-spf", author=True),
    Case(spf_denies_it, SPF, "update", "spf-conflict", author=True),
    Case(spf_too_long, SPF, "update", "dns-value"),
    Case(two_values, f"{RECORDS}/bounce.acme.com/TXT", "create", "two-values"),
    Case(text_beside_a_key, KEY, "update", "key-not-alone", author=True),
    Case(two_keys, KEY, "update", "two-keys", author=True),
    Case(key_length, IDENTITY, "update", "dkim-length-of-another-key"),
    Case(set_in_use, SET, "delete", "in-use"),
    Case(pool_in_use, f"dedicated_ip_pool/{HOME}/tx", "delete", "in-use"),
    Case(protected_set, SET, "delete", "protect"),
    Case(protected_domain, IDENTITY, "delete", "protect"),
    Case(protected_user, USER, "delete", "protect"),
    Case(one_way, f"dedicated_ip_pool/{HOME}/tx", "update", "pool-way-back"),
    Case(one_list, f"contact_list/{HOME}/news", "create", "one-list"),
    Case(unknown_set, IDENTITY, "create", "missing-reference", (f"{RECORDS}/*",)),
    Case(unknown_pool, SET, "create", "missing-reference"),
    Case(set_gone, IDENTITY, "update", "missing-reference"),
    Case(insights_without_vdm, f"account/{HOME}", "update", "vdm-off"),
    Case(nothing_to_track_on, SET, "create", "no-tracking-identity", (f"{RECORDS}/*",)),
    Case(blocked_credential, CREDENTIAL, "create", "two-keys"),
    Case(foreign_key_of_a_user, USER, "delete", "foreign-key"),
    Case(user_in_a_group, USER, "delete", "user-in-group"),
    Case(user_with_a_password, USER, "delete", "delete-blocked"),
    Case(boundary_taken_out, USER, "update", "boundary-removed"),
    Case(policy_too_long, USER, "update", "policy-too-long"),
    Case(user_of_another_case, USER, "create", "user-case", (CREDENTIAL,)),
    Case(store_not_secure, CREDENTIAL, "adopt", "store-not-secure"),
    Case(another_path, "sending_role/blast", "update", "path-fixed"),
    Case(no_such_boundary, "sending_role/blast", "update", "missing-boundary"),
    Case(profile_of_another_role, "sending_role/blast", "create", "profile-in-use"),
    Case(quota_alarm, f"cloudwatch_alarm/{HOME}/quota", "create", "quota-unlimited"),
    Case(full_of_targets, f"event_rule/{HOME}/keys", "update", "too-many-targets"),
    Case(rule_of_aws, f"event_rule/{HOME}/keys", "adopt", "managed-rule"),
    Case(nobody_gets_bounces, IDENTITY, "update", "feedback-lost"),
    Case(rule_set_to_error, DMARC, "create", "dmarc-no-rua"),
    Case(rule_about_another, DMARC, "update", "bimi-not-enforced"),
]
each = pytest.mark.parametrize("case", CASES, ids=[case.make.__name__ for case in CASES])
some = pytest.mark.parametrize("case", CASES[::13], ids=[case.make.__name__ for case in CASES[::13]])


@each
def test_it_stands_in_plan_and_drift_and_blocks_what_needs_it_alone(beside: House, case: Case) -> None:
    house = beside
    house.write(merge(case.make(house), HEALTHY))
    edit_the_other(house)
    planned = house.cli("plan", STATE, "--format", "json", "--out", "plan.json")
    assert planned.code == 3, planned
    shown = planned.json
    SCHEMA.validate(shown)
    found = {c["address"]: c for c in shown["changes"]}
    refused = {a for a, c in found.items() if c["refused"]}
    assert (found[case.address]["action"], found[case.address]["refused"]["code"]) == (case.action, case.code), planned
    assert found[case.address]["refused"]["message"]
    assert found[case.address]["refused"]["hint"]
    assert found[HEALED]["refused"] is None
    assert shown["summary"]["refused"] == len(refused)
    assert sum(shown["summary"].values()) == len(found)
    # drift counts it and says who made it
    drift = house.cli("drift", STATE, "--format", "json", "--metrics", "drift.prom")
    assert drift.code == 2, drift
    assert {c["address"] for c in drift.json["changes"] if c["refused"]} == refused
    told = {d["address"] for d in drift.json["diagnostics"] if d["code"] == "caused-by"}
    assert HEALED in told
    assert (case.address in told) >= case.author
    kind = case.address.partition("/")[0]
    count = sum(address.startswith(f"{kind}/") for address in refused)
    assert f'kind="{kind}",action="refused"}} {count}\n' in (house.home / "drift.prom").read_text(encoding="utf-8")
    # a target that does not need it goes on
    assert house.cli("apply", STATE, "--auto-approve", "--target", HEALED).code == 0
    assert is_healed(house)
    # so does the rest of the saved plan, but nothing of it without being told so
    edit_the_other(house)
    values = house.raw_foreign()
    assert house.cli("apply", "plan.json").code == 3
    assert not is_healed(house)
    ran = house.cli("apply", "plan.json", "--skip-refused", "--format", "json")
    assert (ran.code, ran.json["outcome"]) == (3, "partial"), ran
    assert is_healed(house)
    ended = {one["address"]: one for one in ran.json["applied"]}
    assert ended.keys() == found.keys()
    skipped = {address for address, one in ended.items() if one["status"] == "skipped"}
    assert refused <= skipped
    assert ended[case.address]["message"].startswith("refused: ")
    for address in skipped - refused:
        assert "needs " in ended[address]["message"]
        assert any(address == one or (one.endswith("*") and address.startswith(one[:-1])) for one in case.also), address
    assert {one["status"] for one in ended.values()} == {"done", "skipped"}
    if found[case.address]["kind"] == "dns_record":
        place = (found[case.address]["before"] or {}).get("name"), case.address.rpartition("/")[2]
        before, after = ({k: v for k, v in one.items() if k[1:] == place} for one in (values, house.raw_foreign()))
        assert before == after


def test_what_waits_for_it_is_named_beside_it_and_skipped(house: House) -> None:
    """Parts of a set that are no changes of the plan, and alarms on it, which are, however these name it."""
    anothers_set(house)
    dimension = {"name": "ses:configuration-set", "value": "main"}
    own = {"namespace": "AWS/SES", "metric_name": "Send", "dimensions": [dimension]}
    sums = [{"id": "m", "metric_stat": {"metric": own, "period": 300, "stat": "Sum"}, "return_data": True}]
    compared = {"evaluation_periods": 1, "threshold": 9, "comparison_operator": "GreaterThanThreshold"}
    alarms = {"bounces": {"preset": "bounce_rate"}, "sums": {"metrics": sums, **compared}}
    topic = {"matching_event_types": ["BOUNCE"], "sns_destination": {"topic_arn": f"arn:aws:sns:{HOME}:{ACCOUNT}:ops"}}
    sets = {"main": {"event_destinations": {"d": topic}, "alarms": alarms}}
    house.write({"configuration_sets": sets, "sns_topics": {"ops": {}}})
    plan = house.cli("plan", STATE, "--format", "json").json
    (refused,) = [c for c in plan["changes"] if c["refused"]]
    (told,) = [n["message"] for n in refused["notes"] if n["rule"] == "waits"]
    parts = [
        f"cloudwatch_alarm/{HOME}/main-bounces",
        f"cloudwatch_alarm/{HOME}/main-sums",
        f"event_destination/{HOME}/main/d",
    ]
    assert told == f"3 parts wait for it: {', '.join(parts)}"
    assert told in " ".join(house.cli("plan", STATE).out.split())
    assert "fixed" not in {d["code"] for d in plan["diagnostics"]}
    ran = house.cli("apply", STATE, "--auto-approve", "--skip-refused", "--format", "json")
    ended = {one["address"]: one["status"] for one in ran.json["applied"]}
    assert ended.pop(f"sns_topic/{HOME}/ops") == "done" and {*ended.values()} == {"skipped"}
    assert client("cloudwatch").describe_alarms()["MetricAlarms"] == []


@some
def test_apply_writes_nothing_or_skips_it(beside: House, case: Case) -> None:
    house = beside
    house.write(merge(case.make(house), HEALTHY))
    edit_the_other(house)
    house.clear()
    assert house.cli("apply", STATE, "--auto-approve", "--allow-adopt", "--format", "json").code == 3
    assert house.writes() == []
    assert house.cli("plan", STATE, "--detailed-exitcode").code == 3
    options = ("--auto-approve", "--allow-adopt", "--skip-refused", "--format", "json")
    ran = house.cli("apply", STATE, *options)
    SCHEMA.validate(ran.json)
    assert (ran.code, ran.json["outcome"]) == (3, "partial"), ran
    assert is_healed(house)
    house.clear()
    again = house.cli("apply", STATE, *options)
    assert (again.code, again.json["outcome"]) == (3, "refused")
    assert house.writes() == []
    assert f"{again.json['summary']['refused']} refused" in house.cli("history", STATE).out
    assert house.cli("apply", STATE, "--auto-approve", "--allow-adopt", "--target", case.address).code == 3


@some
def test_every_format_says_it(beside: House, case: Case) -> None:
    house = beside
    house.write(merge(case.make(house), HEALTHY))
    edit_the_other(house)
    found = house.cli("plan", STATE, "--format", "json", "--out", "plan.json").json
    message = next(c for c in found["changes"] if c["address"] == case.address)["refused"]["message"]
    text = house.cli("show", "plan.json").out
    count = found["summary"]["refused"]
    assert text.splitlines()[-1].endswith(f", {count} refused.")
    assert f"refused: {message}" in text
    assert f"{count} change{'s are' if count > 1 else ' is'} refused" in text
    for format in ("markdown", "html"):
        page = house.cli("show", "plan.json", "--format", format).out
        assert f"{count} refused" in page
        assert case.code in page


def test_every_refusal_is_in_the_table() -> None:
    """Every code that the source refuses with, but those that are made of a group's name."""
    codes: set[str] = set()
    for path in (HERE / "reconciler").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "refuse" and node.args:
                codes |= {one.value for one in ast.walk(node.args[0]) if isinstance(one, ast.Constant)}
    assert {code for code in codes if code not in {"two-", "-case"}} <= {case.code for case in CASES}
