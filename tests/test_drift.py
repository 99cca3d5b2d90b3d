"""`recon drift`: what kind each difference is, who did it, what is new since the last report, and who is output."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
import support
from botocore.session import get_session

from reconciler.drift import causes
from reconciler.kinds.lookups import Lookup
from reconciler.kinds.registry import REGISTRY
from reconciler.model import Change
from reconciler.resources import KINDS

ARN = f"arn:aws:iam::{support.ACCOUNT}:user/eva"
EVA = "AKIAEVAEVAEVAEVAEVA1"

DOCUMENT: dict[str, Any] = {
    "domains": {
        "acme.com": {
            "dkim": {"signing_attributes_origin": "AWS_SES"},
            "dmarc": {"p": "quarantine", "rua": ["mailto:d@acme.com"]},
            "mail_from": {"mail_from_domain": "bounce.acme.com"},
            "email_forwarding_enabled": True,
        }
    },
    "configuration_sets": {
        "main": {
            "delivery_options": {"tls_policy": "REQUIRE"},
            "event_destinations": {
                "bus": {"enabled": True, "matching_event_types": ["BOUNCE"],
                        "event_bridge_destination": {
                            "event_bus_arn": "arn:aws:events:us-east-1:111122223333:event-bus/default"}}
            },
        },
        "spare": {},
    },
    "dedicated_ip_pools": {"tx": {"scaling_mode": "STANDARD"}},
    "smtp_users": {
        "news": {"from_addresses": ["*@acme.com"], "credentials": {"secretsmanager": {"name": "recon/news"}}}
    },
}  # fmt: skip


@pytest.fixture
def live(house: support.House) -> support.House:
    """A stack as declared; Eva has a key of her own."""

    def make() -> None:
        house.seed_zone()
        house.write(DOCUMENT)
        assert house.cli("apply", "state.yaml", "--auto-approve").code == 0
        house.sandbox.principal(EVA, arn=ARN)

    house.once("applied, and then edited by Eva", make)
    return house


def drift(house: support.House, *more: str, code: int = 2) -> dict[str, Any]:
    ran = house.cli("drift", "state.yaml", "--format", "json", *more)
    assert ran.code == code, ran
    found: dict[str, Any] = json.loads(ran.out)
    return found


def messages(output: dict[str, Any], code: str) -> dict[str, str]:
    return {d["address"]: d["message"] for d in output["diagnostics"] if d["code"] == code}


def eva(service: str) -> Any:
    return support.client(service, access_key=EVA)


def test_a_clean_run_says_so(live: support.House) -> None:
    output = drift(live, code=0)
    (words,) = messages(output, "heartbeat").values()
    assert words.startswith("No drift. Checked at ")
    assert "root" in words
    assert "heartbeat" in live.cli("drift", "state.yaml").out


def test_records_of_an_identity_that_somebody_deleted_are_not_what_somebody_deleted(live: support.House) -> None:
    """Their names are those of tokens that only a new identity will have: who deleted the identity is their cause."""
    eva("sesv2").delete_email_identity(EmailIdentity="acme.com")
    output = drift(live)
    caused = messages(output, "caused-by")
    tokens = [c["address"] for c in output["changes"] if "name" in c["unknown"]]
    assert tokens and all("DeleteEmailIdentity" in caused[address] for address in tokens)
    text = live.cli("drift", "state.yaml").out
    (line,) = [line for line in text.splitlines() if "x dns_record CNAME" in line]
    assert "missing in AWS" not in line and "AWS chooses its name" in line


def test_every_edit_is_named_with_who_and_when(live: support.House) -> None:
    ses = eva("sesv2")
    ses.put_email_identity_mail_from_attributes(EmailIdentity="acme.com", MailFromDomain="other.acme.com")
    ses.put_configuration_set_delivery_options(ConfigurationSetName="main", TlsPolicy="OPTIONAL")
    ses.delete_configuration_set_event_destination(ConfigurationSetName="main", EventDestinationName="bus")
    ses.delete_configuration_set(ConfigurationSetName="spare")
    eva("iam").put_user_policy(UserName="news", PolicyName="recon-smtp", PolicyDocument=json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ses:*", "Resource": "*"}]}))  # fmt: skip
    route53 = eva("route53")
    zone = route53.list_hosted_zones()["HostedZones"][0]["Id"]
    raw = next(r for r in live.raw_zone() if r["Name"] == "_dmarc.acme.com." and r["Type"] == "TXT")
    raw["ResourceRecords"] = [{"Value": '"v=DMARC1; p=none; ruf=mailto:owner@acme.com"'}]
    route53.change_resource_record_sets(
        HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "UPSERT", "ResourceRecordSet": raw}]}
    )
    output = drift(live)
    caused = messages(output, "caused-by")
    expected = {
        "email_identity/us-east-1/acme.com": "PutEmailIdentityMailFromAttributes",
        "configuration_set/us-east-1/main": "PutConfigurationSetDeliveryOptions",
        "event_destination/us-east-1/main/bus": "DeleteConfigurationSetEventDestination",
        "configuration_set/us-east-1/spare": "DeleteConfigurationSet",
        "smtp_user/news": "PutUserPolicy",
        "dns_record/acme.com/_dmarc.acme.com/TXT": "ChangeResourceRecordSets",
    }
    for address, event in expected.items():
        assert re.fullmatch(rf"{event} at \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ by {ARN} from 127.0.0.1", caused[address])
        assert messages(output, "edited")[address] == "changed outside recon"
    # In text it is on the line of the difference.
    text = live.cli("drift", "state.yaml").out.splitlines()
    for address, event in expected.items():
        assert any(re.search(rf" {address}  .*{event} at \S+Z by {ARN}", line) for line in text), text
    assert not any(line.startswith("note: ") and "changed outside" in line for line in text)
    # Never in changes; never a value of a request.
    assert "eva" not in json.dumps(output["changes"])
    lookups = live.sandbox.calls(service="cloudtrail")
    assert len(lookups) <= 20
    text = live.cli("drift", "state.yaml").out
    assert ARN in text


@pytest.mark.parametrize("ssm", [False, True])
def test_tags_of_a_store_have_their_own_cause(house: support.House, ssm: bool) -> None:
    credentials = {"ssm": {"name": "/recon/news"}} if ssm else {"secretsmanager": {"name": "recon/news"}}
    user = {"from_addresses": ["*@acme.com"], "credentials": credentials}
    house.settle({"smtp_users": {"news": user}, "stack": {"tags": {"team": "mail"}}})
    house.sandbox.principal(EVA, arn=ARN)
    if ssm:
        eva("ssm").remove_tags_from_resource(ResourceType="Parameter", ResourceId="/recon/news", TagKeys=["team"])
    else:
        eva("secretsmanager").untag_resource(SecretId="recon/news", TagKeys=["team"])
    support.client("iam").tag_user(UserName="news", Tags=[{"Key": "seen", "Value": "x"}])  # later, and beside it
    output = drift(house)
    event = "RemoveTagsFromResource" if ssm else "UntagResource"
    assert messages(output, "caused-by")["smtp_credential/news"].startswith(f"{event} at ")
    assert ARN in messages(output, "caused-by")["smtp_credential/news"]


OLGA = "AKIAOLGAOLGAOLGAOLGA"
NOISE: dict[str, Any] = {"PolicyName": "theirs", "PolicyDocument": json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "ses:*", "Resource": "*"}]})}  # fmt: skip


def overwrites(who: str) -> None:
    support.client("secretsmanager", access_key=who).put_secret_value(SecretId="recon/news", SecretString="mine")


def beside_the_secret(who: str) -> None:
    secrets, iam = support.client("secretsmanager", access_key=who), support.client("iam", access_key=who)
    secrets.create_secret(Name="recon/newsletter", SecretString="another")
    secrets.put_secret_value(SecretId="recon/newsletter", SecretString="another")
    iam.put_user_policy(UserName="news", **NOISE)
    iam.put_user_policy(UserName="news", PolicyName="recon-smtp", PolicyDocument=NOISE["PolicyDocument"])
    iam.tag_user(UserName="news", Tags=[{"Key": "seen", "Value": "x"}])
    iam.untag_user(UserName="news", TagKeys=["seen"])


def deletes_the_key(who: str) -> None:
    iam = support.client("iam", access_key=who)
    (key,) = iam.list_access_keys(UserName="news")["AccessKeyMetadata"]
    iam.delete_access_key(UserName="news", AccessKeyId=key["AccessKeyId"])


def beside_the_key(who: str) -> None:
    iam = support.client("iam", access_key=who)
    made = iam.create_access_key(UserName="news")["AccessKey"]["AccessKeyId"]
    iam.delete_access_key(UserName="news", AccessKeyId=made)
    iam.put_user_policy(UserName="news", **NOISE)


def edits_the_policy(who: str) -> None:
    iam = support.client("iam", access_key=who)
    iam.put_user_policy(UserName="news", PolicyName="recon-smtp", PolicyDocument=json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ses:*", "Resource": "*"}]}))  # fmt: skip


def beside_the_policy(who: str) -> None:
    iam = support.client("iam", access_key=who)
    iam.put_user_policy(UserName="news", **NOISE)
    iam.tag_user(UserName="news", Tags=[{"Key": "seen", "Value": "x"}])


def writes_dmarc(who: str, name: str = "_dmarc.acme.com.", kind: str = "TXT") -> None:
    route53 = support.client("route53", access_key=who)
    zone = route53.list_hosted_zones()["HostedZones"][0]["Id"]
    value = '"v=DMARC1; p=none"' if kind == "TXT" else "10 mx.example."
    change = {"Name": name, "Type": kind, "TTL": 300, "ResourceRecords": [{"Value": value}]}
    others = {"Name": "x.acme.com.", "Type": "TXT", "TTL": 300, "ResourceRecords": [{"Value": '"x"'}]}
    batch = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": one} for one in (change, others)]}
    route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)


def beside_dmarc(who: str) -> None:
    """The same name with another type, and another name with the same type, in one batch."""
    writes_dmarc(who, kind="MX")


def stops_signing(who: str) -> None:
    support.client("sesv2", access_key=who).put_email_identity_dkim_attributes(
        EmailIdentity="acme.com", SigningEnabled=False
    )


def tags_beside(who: str) -> None:
    ses = support.client("sesv2", access_key=who)
    arn = f"arn:aws:ses:us-east-1:{support.ACCOUNT}:identity/acme.com"
    ses.tag_resource(ResourceArn=arn, Tags=[{"Key": "seen", "Value": "x"}])
    ses.put_email_identity_feedback_attributes(EmailIdentity="acme.com", EmailForwardingEnabled=True)


@pytest.mark.parametrize(
    ("deed", "beside", "address", "event"),
    [
        (overwrites, beside_the_secret, "smtp_credential/news", "PutSecretValue"),
        (deletes_the_key, beside_the_key, "smtp_credential/news", "DeleteAccessKey"),
        (edits_the_policy, beside_the_policy, "smtp_user/news", "PutUserPolicy"),
        (writes_dmarc, beside_dmarc, "dns_record/acme.com/_dmarc.acme.com/TXT", "ChangeResourceRecordSets"),
        (stops_signing, tags_beside, "email_identity/us-east-1/acme.com", "PutEmailIdentityDkimAttributes"),
    ],
)
def test_an_event_counts_for_what_it_is_about(
    live: support.House, deed: Any, beside: Any, address: str, event: str
) -> None:  # fmt: skip
    """Eva makes the difference; Olga, later, does something else to the same resource, or the same to another."""
    live.sandbox.principal(OLGA, arn=ARN.replace("eva", "olga"))
    deed(EVA)
    live.sandbox.advance(60)
    beside(OLGA)
    told = [
        d["message"] for d in drift(live)["diagnostics"] if d["code"] == "caused-by" and d["address"] == address
    ]  # fmt: skip
    assert len(told) == 1, told
    assert told[0].startswith(f"{event} at ")
    assert ARN in told[0]


def blocks_the_credential(who: str) -> None:
    deletes_the_key(who)
    for _ in range(2):
        support.client("iam", access_key=who).create_access_key(UserName="news")


def writes_a_second_dmarc(who: str) -> None:
    route53 = support.client("route53", access_key=who)
    zone = route53.list_hosted_zones()["HostedZones"][0]["Id"]
    found = route53.list_resource_record_sets(
        HostedZoneId=zone, StartRecordName="_dmarc.acme.com", StartRecordType="TXT", MaxItems="1"
    )["ResourceRecordSets"][0]
    found["ResourceRecords"].append({"Value": '"v=DMARC1; p=none"'})
    batch = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": found}]}
    route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)


def takes_the_set(who: str) -> None:
    support.client("sesv2", access_key=who).tag_resource(
        ResourceArn=f"arn:aws:ses:us-east-1:{support.ACCOUNT}:configuration-set/spare",
        Tags=[{"Key": "recon:stack", "Value": "another"}],
    )


@pytest.mark.parametrize(
    ("deed", "address", "code", "event"),
    [
        (blocks_the_credential, "smtp_credential/news", "two-keys", "DeleteAccessKey"),
        (writes_a_second_dmarc, "dns_record/acme.com/_dmarc.acme.com/TXT", "two-dmarc", "ChangeResourceRecordSets"),
        (takes_the_set, "configuration_set/us-east-1/spare", "owned-elsewhere", "TagResource"),
    ],
)
def test_a_refused_difference_has_its_author(
    live: support.House, deed: Any, address: str, code: str, event: str
) -> None:  # fmt: skip
    deed(EVA)
    output = drift(live, code=2)
    (change,) = [one for one in output["changes"] if one["address"] == address]
    assert change["refused"]["code"] == code
    assert output["summary"]["refused"] == 1
    caused = messages(output, "caused-by")[address]
    assert caused.startswith(f"{event} at ")
    assert ARN in caused


def test_two_edits_of_one_resource_have_two_causes(live: support.House) -> None:
    live.sandbox.principal(OLGA, arn=ARN.replace("eva", "olga"))
    stops_signing(EVA)
    live.sandbox.advance(60)
    support.client("sesv2", access_key=OLGA).put_email_identity_feedback_attributes(
        EmailIdentity="acme.com", EmailForwardingEnabled=False
    )
    found = [d["message"] for d in drift(live)["diagnostics"] if d["code"] == "caused-by"]
    assert [re.sub(r" at \S+| from .*", "", words) for words in found] == [
        f"email_forwarding_enabled: PutEmailIdentityFeedbackAttributes by {ARN.replace('eva', 'olga')}",
        f"dkim.signing_enabled: PutEmailIdentityDkimAttributes by {ARN}",
    ]


@pytest.mark.parametrize(("verified", "code"), [(True, "status-changed"), (False, "status-failed")])
def test_aws_changed_a_status_only_where_it_was_better(house: support.House, verified: bool, code: str) -> None:
    house.seed_zone()
    document = {"domains": {"acme.com": {"dkim": {}}}}
    if not verified:
        house.sandbox.settings(verification_delay=10_000_000.0)
    house.settle(document)
    house.sandbox.settings(verification_delay=0.0)
    for name, kind in [key for key in house.zone() if "_domainkey" in key[0]]:
        (value,) = house.zone()[name, kind]
        house.change(name, kind, value, action="DELETE")
    house.write({"domains": {"acme.com": {"dkim": {}, "zone": "manual"}}})
    house.sandbox.advance(30 * 86400)
    told = [d for d in drift(house, code=2 if house.plan().changes else 0)["diagnostics"] if "status" in d["code"]]
    assert [d["code"] for d in told] == [code]
    assert ("AWS changed" in told[0]["message"]) is verified


def test_not_applied_yet_differs_from_an_edit(live: support.House) -> None:
    live.write(support.merge(DOCUMENT, {"domains": {"acme.com": {"email_forwarding_enabled": False}}}))
    output = drift(live)
    assert "email_identity/us-east-1/acme.com" in messages(output, "not-applied-yet")
    assert not messages(output, "edited") and not messages(output, "causes-unknown")
    assert output["outcome"] == "not_applied_yet"
    # An edit is one also where nobody is seen to have made it: what asks for it is declared as it was.
    eva("sesv2").put_configuration_set_delivery_options(ConfigurationSetName="main", TlsPolicy="OPTIONAL")
    live.sandbox.fault("denied", service="cloudtrail", count=None)
    output = drift(live)
    assert messages(output, "edited").keys() == {"configuration_set/us-east-1/main"}
    assert output["outcome"] == "changes"
    live.sandbox.clear_faults()
    output = drift(live)
    assert messages(output, "edited").keys() == {"configuration_set/us-east-1/main"}
    assert messages(output, "not-applied-yet").keys() == {"email_identity/us-east-1/acme.com"}
    # The same state, applied, and an edit that nobody is seen to have made.
    live.write(DOCUMENT)
    live.clear()
    output = drift(live)
    assert messages(output, "edited").keys() == {"configuration_set/us-east-1/main"}
    assert messages(output, "causes-unknown")


def test_what_the_changed_yaml_implies_is_not_applied_yet(live: support.House) -> None:
    """Records, users and parts follow from what has changed; what is taken out, too."""
    changed = support.merge(copy.deepcopy(DOCUMENT), {"stack": {"tags": {"team": "mail"}}})
    changed = support.merge(changed, {"domains": {"shop.acme.com": {"dkim": {}, "dmarc": {"p": "none"}}}})
    changed["domains"]["acme.com"] = {**changed["domains"]["acme.com"], "dmarc": {"p": "reject"}}
    del changed["configuration_sets"]["spare"], changed["dedicated_ip_pools"]
    live.write(changed)
    output = drift(live)
    assert output["outcome"] == "not_applied_yet", messages(output, "edited")
    assert messages(output, "not-applied-yet").keys() == {one["address"] for one in output["changes"]}
    assert len(output["changes"]) > 8
    assert live.cli("drift", "state.yaml").code == 2


def test_without_a_journal_it_says_that_it_cannot_tell(live: support.House) -> None:
    (live.home / "recon" / "journal-acme.jsonl").unlink()
    live.clear()
    live.write(support.merge(DOCUMENT, {"domains": {"acme.com": {"email_forwarding_enabled": False}}}))
    assert messages(drift(live), "edited-or-not-applied").keys() == {"email_identity/us-east-1/acme.com"}


def test_a_trail_that_may_not_be_read_is_reported_once(live: support.House) -> None:
    eva("sesv2").put_configuration_set_delivery_options(ConfigurationSetName="main", TlsPolicy="OPTIONAL")
    eva("sesv2").put_email_identity_feedback_attributes(EmailIdentity="acme.com", EmailForwardingEnabled=False)
    live.sandbox.fault("denied", service="cloudtrail", count=None)
    output = drift(live)
    found = [d for d in output["diagnostics"] if d["code"] == "causes-unread"]
    assert len(found) == 1
    assert found[0]["severity"] == "note"
    assert "cloudtrail:LookupEvents" in found[0]["hint"]
    assert len(live.sandbox.calls(service="cloudtrail")) == 1


def test_failed_calls_and_reads_are_no_cause(live: support.House) -> None:
    with pytest.raises(Exception, match="NotFound"):
        eva("sesv2").put_configuration_set_delivery_options(ConfigurationSetName="nix", TlsPolicy="OPTIONAL")
    live.sandbox.fault("error", service="sesv2", operation="PutConfigurationSetDeliveryOptions", count=1, status=400)
    with pytest.raises(Exception, match="injected"):
        eva("sesv2").put_configuration_set_delivery_options(ConfigurationSetName="main", TlsPolicy="OPTIONAL")
    live.write(
        support.merge(DOCUMENT, {"configuration_sets": {"main": {"delivery_options": {"tls_policy": "OPTIONAL"}}}})
    )
    output = drift(live)
    assert not messages(output, "caused-by")
    assert messages(output, "not-applied-yet")


def test_statuses_are_labelled_and_are_not_drift(live: support.House) -> None:
    live.sandbox.settings(verification_delay=60.0)
    live.write({"domains": {"new.acme.com": {}, "acme.com": DOCUMENT["domains"]["acme.com"]}})
    live.apply()
    output = drift(live, code=0)
    assert "SES is still verifying" in messages(output, "still-verifying")["email_identity/us-east-1/new.acme.com"]


def test_what_could_not_be_read_is_neither_drift_nor_clean(live: support.House) -> None:
    live.sandbox.fault("denied", service="sesv2", operation="GetEmailIdentity", count=None)
    output = drift(live, code=1)
    assert messages(output, "unread")
    assert not messages(output, "heartbeat")


# --- since the last report -----------------------------------------------------------------------------------------


def test_only_what_is_new_is_shown_and_the_exit_code_stays(live: support.House) -> None:
    arguments = ("--since-last", "report.json", "--out", "report.json")
    # The first run of a cron has no earlier report.
    assert drift(live, *arguments, code=0)["changes"] == []
    eva("sesv2").put_configuration_set_delivery_options(ConfigurationSetName="main", TlsPolicy="OPTIONAL")
    output = drift(live, *arguments)
    assert messages(output, "new").keys() == {"configuration_set/us-east-1/main"}
    ran = live.cli("drift", "state.yaml", *arguments)
    assert ran.code == 2
    assert ran.out.splitlines() == [ran.out.strip()]
    assert "nothing new" in ran.out
    assert "1 difference as before" in ran.out
    eva("sesv2").put_email_identity_feedback_attributes(EmailIdentity="acme.com", EmailForwardingEnabled=False)
    ran = live.cli("drift", "state.yaml", *arguments)
    assert "email_identity/us-east-1/acme.com" in ran.out
    assert "tls_policy" not in ran.out
    live.apply()
    output = drift(live, *arguments, code=0)
    assert messages(output, "resolved").keys() == {
        "configuration_set/us-east-1/main",
        "email_identity/us-east-1/acme.com",
    }
    # The report holds everything, whatever was shown.
    assert json.loads((live.home / "report.json").read_text())["outcome"] == "no_changes"


@pytest.mark.parametrize("text", ["", "[]", "null", '{"changes": 3}', '{"changes": [{"a": 1}]}'])
def test_a_file_that_is_not_a_report(live: support.House, text: str) -> None:
    (live.home / "report.json").write_text(text)
    assert live.cli("drift", "state.yaml", "--since-last", "report.json").code == 1


def test_a_report_of_a_failed_run_or_another_stack(live: support.House) -> None:
    failed = {"format_version": 2, "outcome": "error", "message": "x", "diagnostics": []}
    (live.home / "report.json").write_text(json.dumps(failed))
    assert live.cli("drift", "state.yaml", "--since-last", "report.json").code == 0
    (live.home / "report.json").write_text(json.dumps({"stack": "other", "environment": None, "changes": []}))
    assert live.cli("drift", "state.yaml", "--since-last", "report.json").code == 1


# --- telling -------------------------------------------------------------------------------------------------------


def test_a_notification_names_what_is_new(live: support.House) -> None:
    topic = support.client("sns").create_topic(Name="drift")["TopicArn"]
    arguments = ("--notify", f"sns:{topic}", "--since-last", "report.json", "--out", "report.json")

    def published() -> list[dict[str, Any]]:
        found = [c["params"] for c in live.sandbox.calls(service="sns", operation="Publish")]
        live.clear()
        return found

    live.clear()
    assert live.cli("drift", "state.yaml", *arguments).code == 0
    assert published() == []  # a clean run mails nobody
    eva("sesv2").put_configuration_set_delivery_options(ConfigurationSetName="main", TlsPolicy="OPTIONAL")
    assert live.cli("drift", "state.yaml", *arguments).code == 2
    (message,) = [p for p in published() if p]
    assert message["Subject"].startswith("recon drift acme: 1 difference")
    assert "configuration_set/us-east-1/main: delivery_options.tls_policy" in message["Message"]
    assert ARN in message["Message"]
    assert live.cli("drift", "state.yaml", *arguments).code == 2
    assert published() == []  # nothing new
    live.apply()
    live.clear()
    assert live.cli("drift", "state.yaml", *arguments).code == 0
    assert "resolved" in published()[0]["Message"]
    assert not [w for w in live.writes() if not w.startswith("sns:")]


def test_a_notice_that_fails_is_an_error(live: support.House) -> None:
    arn = f"sns:arn:aws:sns:us-east-1:{support.ACCOUNT}:none"
    assert live.cli("drift", "state.yaml", "--notify", arn).code == 0  # nothing to tell
    eva("sesv2").put_configuration_set_delivery_options(ConfigurationSetName="main", TlsPolicy="OPTIONAL")
    assert messages(drift(live, "--notify", arn), "notify-failed")
    for wrong in ("arn:aws:sns:us-east-1:1:x", "sns:x", "mail:a@b"):
        assert live.cli("drift", "state.yaml", "--notify", wrong).code == 1


# --- formats -------------------------------------------------------------------------------------------------------


def test_metrics(live: support.House) -> None:
    eva("sesv2").put_configuration_set_delivery_options(ConfigurationSetName="main", TlsPolicy="OPTIONAL")
    ran = live.cli("drift", "state.yaml", "--format", "prometheus", "--metrics", "recon.prom")
    assert ran.code == 2
    assert 'recon_drift_changes{stack="acme",kind="configuration_set",action="update"} 1' in ran.out
    assert re.sub(r"\d{10}", "", (live.home / "recon.prom").read_text()) == re.sub(r"\d{10}", "", ran.out)
    assert not list(live.home.glob("*.part"))
    assert live.cli("drift", "state.yaml", "--metrics", "no/such/recon.prom").code == 1


@pytest.mark.parametrize("format", ["text", "markdown", "html"])
def test_people_read_who_it_was(live: support.House, format: str) -> None:
    eva("sesv2").put_configuration_set_delivery_options(ConfigurationSetName="main", TlsPolicy="OPTIONAL")
    ran = live.cli("drift", "state.yaml", "--format", format)
    assert ran.code == 2
    assert "user/eva" in ran.out.replace("\\", "").replace("&#8203;", "").replace("\u200b", "").replace("<wbr>", "")


def test_drift_writes_nothing(live: support.House) -> None:
    eva("sesv2").put_configuration_set_delivery_options(ConfigurationSetName="main", TlsPolicy="OPTIONAL")
    live.clear()
    drift(live)
    assert live.writes() == []


# --- events as CloudTrail writes them --------------------------------------------------------------------------------


def test_a_cause_reads_the_identities_of_cloudtrail() -> None:
    def event(who: dict[str, Any], **more: Any) -> dict[str, Any]:
        detail = {"userIdentity": who, "sourceIPAddress": "203.0.113.9", "readOnly": False, **more}
        return {"EventName": "DeleteUser", "CloudTrailEvent": json.dumps(detail)}

    assumed = event({"type": "AssumedRole", "arn": "arn:aws:sts::1:assumed-role/admin/eva"})
    assert (cause := causes.cause_of(assumed)) is not None
    assert cause.principal.endswith("admin/eva")
    service = event({"type": "AWSService", "invokedBy": "ses.amazonaws.com"})
    assert (cause := causes.cause_of(service)) is not None
    assert cause.principal == "ses.amazonaws.com"
    ours = event({"arn": "a"}, userAgent="Boto3/1 app/recon")
    assert (cause := causes.cause_of(ours)) is not None
    assert cause.ours
    assert "through recon" in str(cause)
    assert causes.cause_of(event({}, errorCode="AccessDenied")) is None
    assert causes.cause_of(event({}, readOnly=True)) is None
    assert causes.cause_of({"CloudTrailEvent": "{"}) is not None


def test_requests_are_understood_as_cloudtrail_writes_them() -> None:
    """CloudTrail writes parameters in lower camel case, Route 53's names with a dot and in any case."""
    batch = {
        "hostedZoneId": "Z1",
        "changeBatch": {
            "changes": [{"action": "UPSERT", "resourceRecordSet": {
                "name": "_DMARC.acme.com.", "type": "TXT", "tTL": 300, "resourceRecords": [{"value": "x"}]}}]
        },
    }  # fmt: skip

    def change(address: str, **execution: Any) -> Change:
        return Change(address, address.partition("/")[0], "update", {}, {}, region="us-east-1", execution=execution)

    def concerned(address: str, event: dict[str, Any], **execution: Any) -> bool:
        lookup = Lookup("us-east-1", "EventName", "Any")
        one = change(address, **execution)
        return REGISTRY[one.kind].concerns(one, causes._said(event), lookup)

    def event(parameters: Any, **more: Any) -> dict[str, Any]:
        return {"CloudTrailEvent": json.dumps({"requestParameters": parameters}), **more}

    record = "dns_record/acme.com/_dmarc.acme.com/TXT"
    assert concerned(record, event(batch), name="_dmarc.acme.com", type="TXT")
    assert not concerned(record, event(batch), name="acme.com", type="TXT")
    assert not concerned(record, event(batch), name="_dmarc.acme.com", type="MX")
    identity = "email_identity/us-east-1/acme.com"
    tagged = event({"resourceArn": "arn:aws:ses:us-east-1:1:identity/acme.com"})
    assert concerned(identity, tagged)
    assert not concerned("email_identity/us-east-1/other.com", tagged)
    assert not concerned("configuration_set/us-east-1/acme.com", tagged)
    assert concerned(identity, event(None, Resources=[{"ResourceName": "acme.com"}]))
    assert not concerned(identity, event({"configurationSetName": "acme.com"}))
    moved = event({"ip": "192.0.2.1", "destinationPoolName": "tx"})
    assert concerned("dedicated_ip_pool/us-east-1/tx", moved)
    own = event({"configurationSetName": "main", "eventDestinationName": "bus"})
    assert concerned("event_destination/us-east-1/main/bus", own)
    assert not concerned("event_destination/us-east-1/main/other", own)
    assert concerned("event_destination/us-east-1/main/other", event({"configurationSetName": "main"}))
    template = "email_template/us-east-1/Welcome"
    assert concerned(template, event({"templateName": "Welcome", "templateContent": {"subject": "Hello"}}))
    assert concerned(template, event({"template": {"templateName": "Welcome"}}))  # SES API v1
    assert not concerned(template, event({"contactListName": "Welcome"}))
    stored = event({"secretId": "recon/News-AbCdEf"})
    assert concerned("smtp_credential/news", stored, stores=[{"name": "recon/news"}])
    assert not concerned("smtp_credential/news", stored, stores=[{"name": "recon/office"}])


def test_every_event_is_an_operation_and_every_field_has_one() -> None:
    """Of either API of SES, or of the kind's own service: CloudTrail records the operation that was called."""
    clients = {"ses", "sesv2", *(spec.client for spec in KINDS.values())}
    api = {name for service in clients for name in get_session().get_service_model(service).operation_names}
    for spec in KINDS.values():
        changed = {key: spec.changed_by(key) for key in (*spec.all_fields, *spec.trail.fields, "tags")}
        named = {*spec.created_by, *spec.deleted_by, *(name for names in changed.values() for name in names)}
        assert named <= api, spec.name
        if spec.swept:
            assert spec.created_by and spec.deleted_by and all(changed.values()), spec.name


def test_a_hand_edit_is_not_explained_by_yaml_about_something_else(house: support.House) -> None:
    """Also where CloudTrail cannot be asked: the YAML that asks for the record has not changed."""
    house.seed_zone()
    document: dict[str, Any] = {"domains": {"acme.com": {"dmarc": {"p": "reject"}}}}
    house.write(document)
    assert house.cli("apply", "state.yaml", "--auto-approve").code == 0
    route53 = support.client("route53")
    zone = route53.list_hosted_zones()["HostedZones"][0]["Id"]
    values = [{"Value": '"v=DMARC1; p=none"'}]
    live = {"Name": "_dmarc.acme.com", "Type": "TXT", "TTL": 300, "ResourceRecords": values}
    batch = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": live}]}
    route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)
    house.write({**document, "configuration_sets": {"new": {}}})
    house.sandbox.fault("denied", operation="LookupEvents", count=None)
    output = drift(house)
    assert output["outcome"] == "changes"
    assert "edited" in {
        d["code"] for d in output["diagnostics"] if (d["address"] or "").endswith("_dmarc.acme.com/TXT")
    }
