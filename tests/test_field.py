"""What other tools, hand edits and emulators bring: white space, another spelling of a number, an unknown operation."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from support import House, client, lines, put

from reconciler import importing
from reconciler.aws.foreign_errors import translate
from reconciler.desired import load
from reconciler.errors import InvalidState, ReconError
from reconciler.kinds.comparing import differences
from reconciler.kinds.policy import normal_policy
from reconciler.mail.sigv4 import smtp_password
from reconciler.names import similar
from reconciler.regions import partition_of
from reconciler.resources.smtp_credential import rotation, stores

STORED = {"username": "AKIA1", "regions": {}}
SECRET = "some+secret+key"


@pytest.mark.parametrize("text", [SECRET, f" {SECRET}", f"{SECRET}\n", f"\t{SECRET} \r\n"])
def test_white_space_around_a_stored_key_does_not_count(text: str) -> None:
    password = stores.password_for({**STORED, "secret_access_key": text}, "eu-central-1")
    assert password == smtp_password(SECRET, "eu-central-1")
    assert stores.passwords_in({"region": "us-east-1", "password": f"{text} "}) == {"us-east-1": SECRET}


def test_white_space_around_a_stored_user_name_does_not_count() -> None:
    class Stored:
        def call(self, *_: Any, **more: Any) -> dict[str, str]:
            return {"SecretString": '{"username": " AKIA1\\n", "regions": {}}'}

    where = {"type": "secretsmanager", "region": "us-east-1", "name": "mail/x"}
    assert stores.read(Stored(), where)["username"] == "AKIA1"  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["some secret key", "some\nkey", "clé"])
def test_a_stored_key_that_is_none_gives_no_password(text: str) -> None:
    with pytest.raises(ReconError, match="no key has") as caught:
        stores.password_for({**STORED, "secret_access_key": text}, "eu-central-1")
    assert text not in caught.value.message


def policy(condition: Any, **more: Any) -> dict[str, Any]:
    return {"Statement": [{"Effect": "Allow", "Action": "ses:SendEmail", "Condition": condition, **more}]}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (policy({"NumericLessThan": {"k": 100.0}}), policy({"NumericLessThan": {"k": "100"}}), True),
        (policy({"NumericLessThan": {"k": "1e2"}}), policy({"NumericLessThan": {"k": "100.00"}}), True),
        (policy({"NumericEqualsIfExists": {"k": 0.50}}), policy({"NumericEqualsIfExists": {"k": ".5"}}), True),
        (policy({"NumericLessThan": {"k": 100.5}}), policy({"NumericLessThan": {"k": "100"}}), False),
        (policy({"StringEquals": {"k": "100.0"}}), policy({"StringEquals": {"k": "100"}}), False),
        (policy({"StringEquals": {"k": 100}}), policy({"StringEquals": {"k": "100"}}), True),
        (policy({"Bool": {"k": True}}), policy({"Bool": {"k": "True"}}), True),
        (policy({"StringEquals": {"k": "True"}}), policy({"StringEquals": {"k": "true"}}), False),
        (policy({}), {"Statement": {"Effect": "Allow", "Action": ["SES:sendemail"]}}, True),
        (policy({}, Sid=""), policy({}), True),
        (policy({}, Sid="a"), policy({}), False),
    ],
)
def test_policies_of_one_meaning_are_equal(one: Any, other: Any, same: bool) -> None:
    assert (normal_policy(one) == normal_policy(other)) is same


@pytest.mark.parametrize(
    ("code", "message", "absent"),
    [
        ("NotFoundException", "Unknown operation PutConfigurationSetTrackingOptions", False),
        ("NotFoundException", "No route matches PUT /v2/email/x", False),
        ("NotFoundException", "The requested operation is not supported", False),
        ("NotFoundException", "Unable to determine service/operation name to be authorized", False),
        ("UnknownOperationException", "", False),
        ("NotFoundException", "Configuration set <unknown-action> does not exist.", True),
        ("NotFoundException", "Email identity no-api.acme.com does not exist.", True),
    ],
)
def test_an_operation_that_an_endpoint_lacks_is_no_absence(code: str, message: str, absent: bool) -> None:
    from botocore.exceptions import ClientError

    problem = ClientError({"Error": {"Code": code, "Message": message}}, "GetConfigurationSet")
    error = translate(problem, "sesv2", "GetConfigurationSet", "us-east-1")
    assert error.absent is absent
    assert ("does not have sesv2 GetConfigurationSet" in error.hint) is not absent


@pytest.mark.parametrize(
    ("message", "hint"),
    [("No such operation.", "does not have sesv2"), ("Not found.", "does this endpoint have the operation")],
)
def test_an_operation_that_an_emulator_lacks_is_not_called_late(
    house: House, monkeypatch: pytest.MonkeyPatch, message: str, hint: str
) -> None:
    monkeypatch.setattr("reconciler.applier.progress.VISIBLE_SECONDS", 1.0 if message == "Not found." else 30.0)
    destination = {"matching_event_types": ["SEND"], "event_bridge_destination": {"event_bus_arn": BUS}}
    document = {"configuration_sets": {"main": {"event_destinations": {"d": destination}}}}
    house.sandbox.fault(
        "error", operation="CreateConfigurationSetEventDestination", code="NotFoundException", status=404, count=None,
        message=message,
    )  # fmt: skip
    began = time.monotonic()
    result = house.apply(document, expect=None)
    assert time.monotonic() - began < 15
    assert result.outcome == "partial"
    assert any(hint in one.hint for one in result.applied if one.status == "failed"), result.applied


BUS = "arn:aws:events:us-east-1:111122223333:event-bus/default"


@pytest.mark.parametrize(
    ("word", "known", "found"),
    [
        ("us-esat-1", ["us-east-1", "us-east-2", "us-west-1"], "us-east-1"),
        ("shop-back", ["shop-backend", "backup"], "shop-backend"),
        ("Newsleter", ["letters", "newsletter"], "newsletter"),
        ("domain", ["domains", "dedicated_ip_pools"], "domains"),
        ("xyz", ["newsletter"], ""),
        ("ad", ["a", "b"], ""),
    ],
)
def test_similar(word: str, known: list[str], found: str) -> None:
    assert (similar(word, known) or [""])[0] == found


def test_many_unknown_keys_are_looked_up_a_limited_number_of_times(tmp_path: Path) -> None:
    from reconciler.desired import variables

    asked: list[str] = []
    text = "stack: {name: a, account: '111122223333', regions: [us-east-1]}\n"
    text += "".join(f"unknown{number}x: 1\n" for number in range(1500))
    (tmp_path / "state.yaml").write_text(text)
    original = variables.similar
    variables.similar = lambda name, *rest: asked.append(name) or original(name, *rest)  # type: ignore[func-returns-value]
    try:
        with pytest.raises(InvalidState) as caught:
            load(tmp_path / "state.yaml")
    finally:
        variables.similar = original
    assert len(asked) <= variables.MAX_SEARCHES
    assert len(caught.value.diagnostics) == 501


# --- messages that misled ------------------------------------------------------------------------------------------

HEAD = "stack: {name: acme, account: '111122223333', regions: [us-east-1]}\n"


def found_in(tmp_path: Path, text: str) -> list[tuple[str, str, str]]:
    (tmp_path / "state.yaml").write_text(text)
    with pytest.raises(InvalidState) as caught:
        load(tmp_path / "state.yaml")
    return [(one.code, one.message, one.hint) for one in caught.value.diagnostics]


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ("dkim: {signing_enabled: 5, domain_signing_selector: a.b}", ["wrong-type", "bad-selector"]),
        (
            "mail_from: {mail_from_domain: other.org, behavior_on_mx_failure: X}",
            ["not-allowed-value", "mail-from-outside"],
        ),
        ("policies: {x: 5, y: {Version: '1'}}", ["wrong-type", "missing-key"]),
        ("dkim: {signing_attributes_origin: EXTERNL, domain_signing_selector: s1}", ["not-allowed-value"]),
        ("mail_from: {mail_from_domain: 5, behavior_on_mx_failure: X}", ["needs-quotes", "not-allowed-value"]),
    ],
)
def test_a_wrong_value_hides_no_other_error_of_its_block(tmp_path: Path, values: str, codes: list[str]) -> None:
    found = [code for code, *_ in found_in(tmp_path, HEAD + f"domains: {{acme.com: {{{values}}}}}\n")]
    assert set(codes) <= set(found), found
    assert len(found) <= len(codes) + 1, found


DESTINATION = "{matching_event_types: [SEND], sns_destination: {topic_arn: 'arn:aws:sns:us-east-1:111122223333:TOPIC'}}"
SNS = "configuration_sets: {a: {event_destinations: {d: " + DESTINATION + "}}}"
STATEMENT = "{Effect: Allow, Action: 'ses:SendEmail', Principal: {AWS: 'WHO'}, Resource: '*'}"
POLICY = "domains: {acme.com: {policies: {p: {Version: '2012-10-17', Statement: [" + STATEMENT + "]}}}}"
SUBSCRIPTIONS = HEAD + "sns_topics: {ops: {subscriptions: [{protocol: 5}, {protocol: email, endpoint: a@acme.com}]}}"
GOV = "arn:aws-us-gov:iam::111122223333:root"
GOV_HEAD, EUSC = HEAD.replace("us-east-1", "us-gov-west-1"), HEAD.replace("us-east-1", "eusc-de-east-1")
PARENT = "domains: {acme.com: {dkim: {signing_attributes_origin: X}}}"
TRACKED = "configuration_sets: {a: {tracking_options: {custom_redirect_domain: c.acme.com}}}"
DMARC = "domains: {acme.com: {dmarc: {p: X}}}"
RAW = HEAD + "domains: {acme.com: {dmarc: 'v=dmarc1; p=none; sp=reject'}}"


@pytest.mark.parametrize(
    ("text", "code", "says", "hint"),
    [
        (
            HEAD + "domains: {acme.com: {dmarc: {p: no}}}",
            "not-allowed-value",
            "reads no, off, false as",
            "did you mean none",
        ),
        (
            HEAD + "domains: {acme.com: {dmarc: {p: Yes}}}",
            "not-allowed-value",
            "reads yes, on, true as",
            "allowed: none",
        ),
        ('{"format_version": 1, "stack": "a", "changes": []}', "saved-plan", "is a saved plan", "recon show"),
        (RAW, "bad-dmarc", "'v=dmarc1; p=none; sp=reject'", "such as"),
        (HEAD.replace("us-east-1", "us-esat-1"), "not-allowed-value", "us-esat-1", "did you mean us-east-1"),
        (HEAD.replace("111122223333", "${ACCOUNT_ID}"), "undefined-variable", "ACCOUNT_ID", "environment are not read"),
        (SUBSCRIPTIONS, "not-allowed-value", "protocol", "allowed"),
        (HEAD + SNS.replace("TOPIC", "feedback.fifo"), "fifo-topic", "FIFO topics", "standard topic"),
        (HEAD + POLICY.replace("WHO", "11122223333"), "bad-account", "11122223333", "all 12 digits"),
        (HEAD + POLICY.replace("WHO", "arn:aws:iam::11122223333:root"), "bad-account", "11122223333", "all 12 digits"),
        (HEAD + POLICY.replace("WHO", GOV), "mixed-partitions", "aws-us-gov", "arn:aws:"),
        (HEAD + "domains: {acme.com: {regions: [us-gov-west-1]}}", "mixed-partitions", "us-gov-west-1", "one stack"),
        (GOV_HEAD + "domains: {acme.com: {regions: [us-gv-east-1]}}", "not-allowed-value", "us-gv", "us-gov-east-1 or"),
        (HEAD + "domains: {acme.com: {regions: [us-gov-wst-1]}}", "not-allowed-value", "wst", "mean us-gov-west-1"),
        (HEAD.replace("us-east-1", "cn-north-1"), "not-allowed-value", "cn-north-1", "no region in this partition"),
        (HEAD + PARENT.replace("X", "AWS_SES_US_ESAT_1"), "not-allowed-value", "ESAT", "AWS_SES_US_EAST_1 or"),
        (GOV_HEAD + PARENT.replace("X", "AWS_SES_US_EAST_9"), "not-allowed-value", "EAST_9", "AWS_SES_US_GOV_EAST_1"),
        (
            EUSC + "domains: {acme.com: {mail_from: {mail_from_domain: b.acme.com}}}",
            "unpublished-host",
            "MX",
            "take mail",
        ),
        (EUSC + TRACKED, "unpublished-host", "tracking host", "take it out"),
        (
            EUSC + "smtp_users: {a: {from_addresses: [x@a.com], credentials: {ssm: {name: /a}}}}",
            "unpublished-host",
            "SMTP endpoint",
            "through the API",
        ),
    ],
)
def test_messages(tmp_path: Path, text: str, code: str, says: str, hint: str) -> None:
    found = [(message, advice) for kind, message, advice in found_in(tmp_path, text) if kind == code]
    assert len(found) == 1
    assert says in found[0][0]
    assert hint in found[0][1]


@pytest.mark.parametrize(
    "text",
    [
        HEAD.replace("111122223333", "${ACCT}"),
        HEAD.replace("us-east-1", "'${REG}'"),
        HEAD + PARENT.replace("X", "'${origin}'"),
        HEAD + "domains: {acme.com: {dmarc: 'v=DMARC1; p=${pol}; sp=x', regions: [us-east-1]}}",
        HEAD + "domains: {acme.com: {zone: '${Z}'}}",
        HEAD + "released: ['domains.${x}']",
    ],
)
def test_a_text_with_an_undefined_variable_is_one_error(tmp_path: Path, text: str) -> None:
    assert [code for code, *_ in found_in(tmp_path, text)] == ["undefined-variable"]


def test_addresses_of_the_graph_are_targets_whatever_the_zones_are(house: House) -> None:
    house.seed_zone()
    house.sandbox.seed(zones=[{"name": "shop.acme.com"}])
    shop = {"dmarc": {"p": "none"}, "mail_from": {"mail_from_domain": "b.shop.acme.com"}}
    house.write({"domains": {"acme.com": {}, "shop.acme.com": shop}})
    listed = house.cli("graph", "state.yaml", "--format", "text").out.splitlines()
    for address in [line for line in listed if line.startswith("dns_record/acme.com/_dmarc.shop")]:
        ran = house.cli("plan", "state.yaml", "--target", address, "--format", "json")
        assert ran.code == 0, (address, ran.err)
        assert any(c["address"].split("/")[2] == address.split("/")[2] for c in ran.json["changes"]), address


def test_destroy_without_a_terminal_shows_what_it_would_delete(house: House) -> None:
    house.apply({"configuration_sets": {"main": {}, "other": {}}})
    ran = house.cli("destroy", "state.yaml")
    assert ran.code == 3
    assert "configuration_set/us-east-1/main" in ran.out
    assert "no terminal" in ran.err
    assert "--allow-deletes 2" in ran.err
    assert house.cli("destroy", "state.yaml", "--allow-deletes", "2").code == 0


def test_a_state_of_the_sovereign_cloud(house: House) -> None:
    """Only AWS knows which zone its DKIM tokens point into, and says so with the identity."""
    house.seed_zone()
    house.write({"domains": {"acme.com": {"dkim": {}, "dmarc": {"p": "none"}}}, "configuration_sets": {"main": {}}})
    house.write(house.document, stack={"regions": ["eusc-de-east-1"]})
    shown = house.cli("plan", "state.yaml").out
    assert "amazonses.com" not in shown.replace("mail_from", "")
    assert "mail-from-none" not in shown
    house.settle()
    told = house.identity(region="eusc-de-east-1")["DkimAttributes"]
    hosted, tokens = told["SigningHostedZone"], told["Tokens"]
    for token in tokens:
        assert house.dns_values(f"{token}._domainkey.acme.com", "CNAME") == [f"{token}.{hosted}"]
    house.destroy()
    house.check_foreign(alone=True)


ORDERED: dict[str, Any] = {
    "configuration_sets": {"main": {
        "suppression_options": {"suppressed_reasons": ["COMPLAINT", "BOUNCE"]},
        "event_destinations": {"d": {
            "matching_event_types": ["SEND", "BOUNCE", "DELIVERY"],
            "cloud_watch_destination": {"dimension_configurations": [
                {"dimension_name": name, "dimension_value_source": "MESSAGE_TAG", "default_dimension_value": "x"}
                for name in ("zeta", "alpha", "mid")]}}},
    }},
    "account": {"suppression_attributes": {"suppressed_reasons": ["COMPLAINT", "BOUNCE"]}},
}  # fmt: skip


def sent(house: House) -> list[list[str]]:
    """The lists as AWS keeps them."""
    ses = client("sesv2")
    made = ses.get_configuration_set_event_destinations(ConfigurationSetName="main")["EventDestinations"][0]
    dimensions = made["CloudWatchDestination"]["DimensionConfigurations"]
    return [
        house.set()["SuppressionOptions"]["SuppressedReasons"], made["MatchingEventTypes"],
        [one["DimensionName"] for one in dimensions],
    ]  # fmt: skip


def test_lists_that_are_sets_are_sent_as_written_and_compared_as_sets(house: House) -> None:
    written = [["COMPLAINT", "BOUNCE"], ["SEND", "BOUNCE", "DELIVERY"], ["zeta", "alpha", "mid"]]
    house.settle(ORDERED)
    assert sent(house) == written
    # Somebody else's order is no difference, and what changes beside it is sent in the order of the YAML.
    ses = client("sesv2")
    ses.put_configuration_set_suppression_options(
        ConfigurationSetName="main", SuppressedReasons=["BOUNCE", "COMPLAINT"]
    )
    ses.put_account_suppression_attributes(SuppressedReasons=["BOUNCE", "COMPLAINT"])
    house.quiet()
    destination = ("configuration_sets", "main", "event_destinations", "d")
    plan = house.plan(put(ORDERED, (*destination, "matching_event_types"), ["SEND", "OPEN", "BOUNCE"]))
    (change,) = plan.changes
    assert lines(change)["matching_event_types"] == (["BOUNCE", "DELIVERY", "SEND"], ["SEND", "OPEN", "BOUNCE"])
    house.settle()
    assert sent(house)[1:3] == [["SEND", "OPEN", "BOUNCE"], written[2]]


def sender(name: str, region: str = "us-east-1") -> dict[str, Any]:
    who = {"AWS": f"arn:${{partition}}:iam::${{account}}:user/mail/{name}"}
    statement = {"Effect": "Allow", "Principal": who, "Action": "ses:SendRawEmail", "Resource": "*"}
    user = {"from_addresses": ["*@acme.com"], "path": "/mail/", "credentials": {"ssm": {"name": f"/mail/{name}"}}}
    return {
        "domains": {"acme.com": {"dkim": {}, "policies": {name: {"Version": "2012-10-17", "Statement": [statement]}}}},
        "smtp_users": {name: user},
    }


def test_a_policy_waits_for_the_user_that_it_names(house: House) -> None:
    """SES refuses a policy with a principal that does not exist, or that IAM does not show yet."""
    house.seed_zone()
    house.settle({"domains": {"acme.com": {"dkim": {}}}})
    refused = {"code": "BadRequestException", "status": 400, "message": "Invalid principal in policy", "count": 1}
    house.sandbox.fault("error", operation="CreateEmailIdentityPolicy", **refused)
    plan = house.plan(sender("bulk"))
    (change,) = [c for c in plan.changes if c.kind == "email_identity"]
    assert "smtp_user/bulk" in change.depends_on
    chosen = house.plan(targets=["email_identity/us-east-1/acme.com"])
    assert {"smtp_user/bulk", "email_identity/us-east-1/acme.com"} <= {c.address for c in chosen.changes}
    house.clear()
    house.apply()
    made = [call for call in house.sandbox.calls() if call["operation"] == "CreateEmailIdentityPolicy"]
    assert made[0]["error"]
    assert not made[-1]["error"]
    assert set(house.identity()["Policies"]) == {"bulk"}


def test_a_policy_that_ses_refuses_for_good_says_so(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.applier.progress.VISIBLE_SECONDS", 0.5)
    house.seed_zone()
    house.settle({"domains": {"acme.com": {"dkim": {}}}})
    refused = {"code": "BadRequestException", "status": 400, "message": "Invalid principal in policy"}
    house.sandbox.fault("error", operation="CreateEmailIdentityPolicy", count=None, **refused)
    result = house.apply(sender("bulk"), expect="partial")
    (failed,) = [one for one in result.applied if one.status == "failed"]
    assert "smtp_user/bulk" in failed.hint


def test_addresses_of_a_pool_are_read_only_where_they_are_declared(house: House) -> None:
    house.sandbox.seed(dedicated_ips=[{"ip": "192.0.2.1"}])
    pools: dict[str, Any] = {"tx": {"tags": {"a": "b"}}, "rx": {"dedicated_ips": ["192.0.2.1"]}}
    house.settle({"dedicated_ip_pools": pools})
    denied = {"code": "AccessDeniedException", "status": 403, "message": "no", "count": None}
    house.sandbox.fault("error", operation="GetDedicatedIps", **denied)
    plan = house.plan(put(house.document, ("dedicated_ip_pools", "tx", "tags", "a"), "c"))
    assert [change.address for change in plan.changes] == ["dedicated_ip_pool/us-east-1/tx"]
    assert [d.address for d in plan.diagnostics if d.code == "unread"] == ["dedicated_ip_pool/us-east-1/rx"]
    assert house.apply(targets=["dedicated_ip_pool/us-east-1/tx"], expect=None).applied[0].status == "done"
    client("sesv2").create_dedicated_ip_pool(PoolName="theirs")
    ran = house.cli("import", "--region", "us-east-1")
    assert "theirs" in ran.out, ran


def findings(plan: Any, rule: str) -> list[str]:
    return [note.message for change in plan.changes for note in change.notes if note.rule == rule]


@pytest.mark.parametrize(
    ("name", "scripts"),
    [
        ("\u0430pple.com", "Cyrillic and Latin"),
        ("a\u03c0b.example.com", "Greek and Latin"),
        ("\u03b5\u03bb\u0441.com", "Cyrillic and Greek"),
        ("b\u00fccher.com", ""),
        ("\u043f\u0440\u0438\u0432\u0435\u0442.com", ""),
        ("\u65e5\u672c\u8a9e\u30ab\u30ca-abc.jp", ""),
        ("\ud55c\uad6dabc.kr", ""),
    ],
)
def test_a_domain_that_mixes_scripts(house: House, name: str, scripts: str) -> None:
    found = findings(house.plan({"domains": {name: {"zone": "manual"}}}), "identity-mixed-scripts")
    assert [scripts in message for message in found] == ([True] if scripts else [])


@pytest.mark.parametrize(("bits", "count"), [(1024, 1), (2048, 0)])
def test_a_short_key_of_ones_own(house: House, bits: int, count: int) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    pem = rsa.generate_private_key(65537, bits).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (house.home / "key.pem").write_bytes(pem)
    dkim = {"signing_attributes_origin": "EXTERNAL", "domain_signing_selector": "s1"}
    key = {"domain_signing_private_key": {"file": "key.pem"}}
    house.seed_zone()
    plan = house.plan({"domains": {"acme.com": {"dkim": {**dkim, **key}}}})
    assert len(findings(plan, "dkim-short-own-key")) == count
    if count:
        house.apply()
        live = house.plan({"domains": {"acme.com": {}}})  # SES never says a key; its record does
        assert ["of 1024 bits" in d.message for d in live.diagnostics if d.code == "dkim-short-own-key"] == [True]


def test_keys_streams_and_roles_that_do_not_exist_are_found_by_the_plan(house: House) -> None:
    destination = {
        "matching_event_types": ["SEND"],
        "kinesis_firehose_destination": {
            "delivery_stream_arn": "arn:aws:firehose:${region}:${account}:deliverystream/mail",
            "iam_role_arn": "arn:aws:iam::${account}:role/service/ses-to-firehose",
        },
    }
    store = {"secretsmanager": {"name": "mail/news", "kms_key_id": "alias/mail"}}
    document: dict[str, Any] = {
        "configuration_sets": {"main": {"event_destinations": {"d": destination}}},
        "sns_topics": {"ops": {"kms_master_key_id": "alias/mail"}, "own": {"kms_master_key_id": "alias/aws/sns"}},
        "smtp_users": {"news": {"from_addresses": ["*@acme.com"], "credentials": store}},
    }
    plan = house.plan(document)
    missing = findings(plan, "events-target-missing")
    assert len(missing) == 2
    assert all("does not exist" in message for message in missing)
    assert ["alias/mail" in message for message in findings(plan, "smtp-store-key")] == [True]
    assert ["ops in us-east-1" in message for message in findings(plan, "topic-key-missing")] == [True]
    key = client("kms").create_key()["KeyMetadata"]["KeyId"]
    client("kms").create_alias(AliasName="alias/mail", TargetKeyId=key)
    client("iam").create_role(
        RoleName="ses-to-firehose", Path="/service/",
        AssumeRolePolicyDocument='{"Statement": [{"Effect": "Allow", "Principal": {"Service": "ses.amazonaws.com"}, '
        '"Action": "sts:AssumeRole"}]}',
    )  # fmt: skip
    plan = house.plan()
    assert ["deliverystream/mail" in message for message in findings(plan, "events-target-missing")] == [True]
    assert not findings(plan, "smtp-store-key") + findings(plan, "topic-key-missing")
    client("kms").disable_key(KeyId=key)
    assert "Disabled" in findings(house.plan(), "smtp-store-key")[0]
    denied = {"code": "AccessDeniedException", "status": 403, "message": "no", "count": None}
    for operation in ("DescribeKey", "DescribeDeliveryStream"):
        house.sandbox.fault("error", operation=operation, **denied)
    plan = house.plan()
    assert not findings(plan, "events-target-missing") + findings(plan, "smtp-store-key")


@pytest.mark.parametrize(
    ("live", "same"),
    [
        ("v=DMARC1 ;p=none; aspf=r;  pct=100 ; sp=none; rua=mailto:b@acme.com , mailto:a@acme.com;", True),
        ("v=DMARC1; p=none; rua=mailto:b@acme.com,mailto:a@acme.com", True),
        ("v=DMARC1; p=none; rua=mailto:a@acme.com", False),
        ("v=DMARC1; p=none; rua=mailto:a@acme.com,mailto:b@acme.com,mailto:c@acme.com", False),
        ("v=DMARC1; p=none; sp=reject; rua=mailto:a@acme.com,mailto:b@acme.com", False),
    ],
)
def test_a_record_of_the_same_meaning_is_left_alone(house: House, live: str, same: bool) -> None:
    house.seed_zone("acme.com", {("_dmarc.acme.com", "TXT"): [live]})
    dmarc = {"p": "none", "rua": ["mailto:a@acme.com", "mailto:b@acme.com"]}
    plan = house.plan({"domains": {"acme.com": {"identity": False, "dmarc": dmarc}}})
    changed = [c.action for c in plan.changes if c.address == "dns_record/acme.com/_dmarc.acme.com/TXT"]
    assert ("update" in changed) is not same


@pytest.mark.parametrize(
    ("more", "end"),
    [
        ({}, "(2026-11-20)"),
        ({"service": "ses", "region": "N/A"}, "(2026-11-20) by ses"),
        ({"service": None, "region": "us-east-1"}, "(2026-11-20) in us-east-1"),
    ],
)
def test_what_iam_leaves_out_of_the_last_use_is_not_printed(more: dict[str, Any], end: str) -> None:
    used = {"at": "2026-11-20T00:00:00+00:00", **more}
    assert rotation.describe_use(used, "2026-11-29T00:00:00+00:00").endswith(end)


def test_near_names_of_smtp_users(house: House) -> None:
    user = {"from_addresses": ["*@acme.com"], "credentials": {"ssm": {"name": "/mail/shop"}}}
    house.write({"domains": {"acme.com": {}}, "smtp_users": {"shop-backend": user}})
    assert "did you mean shop-backend?" in house.cli("smtp", "rotate", "shop-back", "state.yaml").err
    house.write({"domains": {"acme.com": {}}})
    assert "declared are: none" not in house.cli("smtp", "rotate", "shop-back", "state.yaml").err


def test_two_dmarc_records_are_not_also_called_none(house: House) -> None:
    house.seed_zone("acme.com", {("_dmarc.acme.com", "TXT"): ["v=DMARC1; p=none", "v=DMARC1; p=reject"]})
    plan = house.plan({"domains": {"acme.com": {"dkim": {}}}})
    said = [*(d.code for d in plan.diagnostics), *(n.rule for c in plan.changes for n in c.notes)]
    assert "dmarc-duplicate" in said
    assert "dmarc-missing" not in said


def test_a_null_and_an_absent_field_do_not_differ() -> None:
    assert differences({"a": 1}, {"a": 1, "b": None}) == ()
    assert [one.path for one in differences({"a": 1}, {"a": 2, "b": None})] == ["a"]


@pytest.mark.parametrize(
    ("region", "partition"), [("us-east-1", "aws"), ("us-gov-west-1", "aws-us-gov"), ("eusc-de-east-1", "aws-eusc")]
)
def test_a_bare_account_is_at_rest_in_every_partition(region: str, partition: str) -> None:
    written = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "ses:SendEmail"}]}
    live = {"Statement": [{**written["Statement"][0], "Principal": {"AWS": f"arn:{partition}:iam::111122223333:root"}}]}
    assert normal_policy(written, partition_of(region)) == normal_policy(live)


@pytest.mark.parametrize(
    ("region", "home"),
    [
        ("us-gov-west-1", "us-gov-west-1"),
        ("eu-west-1", "eu-west-1"),
        ("us-gov-nowhere-1", "us-gov-west-1"),
        ("", "us-east-1"),
    ],
)
def test_import_asks_the_partition_of_the_credentials(monkeypatch: pytest.MonkeyPatch, region: str, home: str) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    if region:
        monkeypatch.setenv("AWS_REGION", region)
    request = importing.ImportRequest()
    assert importing.stack_for(request).regions == (home,)
    assert importing.stack_for(request).partition == partition_of(home)
