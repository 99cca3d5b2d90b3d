"""What a valid state means: layers with their places, variables, regions, names, files, the digest."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.desired import Loaded, load
from reconciler.errors import InvalidState
from reconciler.model import Entry

EXAMPLE = Path(__file__).parent / "test_desired_example.yaml"
HEAD = 'stack: {name: acme-mail, account: "111122223333", regions: [us-east-1, eu-west-1]}\n'

Make = Callable[..., Loaded]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Write one file (after HEAD unless it has a stack) and load it by the relative path state.yaml."""
    monkeypatch.chdir(tmp_path)

    def build(text: str, environment: str | None = None, **options: Any) -> Loaded:
        Path("state.yaml").write_text(text if text.lstrip().startswith("stack:") else HEAD + text, encoding="utf-8")
        return load("state.yaml", environment, **options)

    return build


def pick(loaded: Loaded, section: str, name: str, region: str | None) -> Entry:
    found = [e for e in loaded.state.section(section) if (e.name, e.region) == (name, region)]
    assert len(found) == 1, [(e.section, e.name, e.region) for e in loaded.state.entries]
    return found[0]


def codes(error: pytest.ExceptionInfo[InvalidState]) -> list[str]:
    return sorted(d.code for d in error.value.diagnostics if d.severity == "error")


# --- the example of the documentation ---


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_the_example_is_valid(environment: str) -> None:
    loaded = load(EXAMPLE, environment)
    assert loaded.state.stack.scope == f"acme-mail/{environment}"
    assert {w.severity for w in loaded.warnings} <= {"warning"}


def test_the_example_in_production() -> None:
    state = load(EXAMPLE, "production").state
    assert [(e.section, e.name, e.region) for e in state.entries] == [
        ("domains", "acme.com", None),
        ("domains", "acme.com", "us-east-1"),
        ("domains", "acme.com", "eu-west-1"),
        ("domains", "shop.acme.com", None),
        ("domains", "shop.acme.com", "us-east-1"),
        ("domains", "acme.net", None),
        ("email_addresses", "ceo@acme.com", "us-east-1"),
        ("configuration_sets", "transactional", "us-east-1"),
        ("configuration_sets", "transactional", "eu-west-1"),
        ("dedicated_ip_pools", "tx", "us-east-1"),
        ("dedicated_ip_pools", "tx", "eu-west-1"),
        ("smtp_users", "newsletter", None),
    ]
    stack = state.stack
    assert (stack.account, stack.regions, stack.partition) == ("111122223333", ("us-east-1",), "aws")
    assert stack.plan_role_arn == "arn:aws:iam::111122223333:role/recon-read"
    assert stack.apply_role_arn == "arn:aws:iam::111122223333:role/recon"
    assert (stack.dns_account, stack.dns_role_arn) == ("999900001111", "arn:aws:iam::999900001111:role/recon-dns")
    assert (stack.max_deletes, stack.tags) == (5, {"team": "mail"})
    assert stack.backend == {"s3": {"bucket": "acme-recon", "prefix": "mail/"}}


def test_the_example_in_staging() -> None:
    loaded = load(EXAMPLE, "staging")
    names = {(e.section, e.name) for e in loaded.state.entries}
    assert ("dedicated_ip_pools", "tx") not in names
    assert ("domains", "shop.staging.acme.com") in names
    entry = pick(loaded, "configuration_sets", "transactional", "us-east-1")
    assert entry.values["delivery_options"]["sending_pool_name"] is None
    assert entry.source_of("delivery_options.sending_pool_name").via == "environment staging"
    assert entry.source_of("delivery_options.tls_policy").via == ""
    topic = entry.values["event_destinations"]["feedback"]["sns_destination"]["topic_arn"]
    assert topic == "arn:aws:sns:us-east-1:444455556666:feedback"


# --- layers ---

LAYERED = """
stack: {name: acme-mail, account: "111122223333", regions: [us-east-1, eu-west-1], tags: {team: mail, tier: none}}
environments:
  staging:
    defaults: {domain: {tags: {from-environment-defaults: "yes"}}}
    classes: {tenant: {domain: {tags: {tier: environment-class}}}}
    domains: {acme.com: {ttl: 60, tags: {stage: staging}}}
defaults:
  domain:
    ttl: 900
    email_forwarding_enabled: true
    dkim: {signing_attributes_origin: AWS_SES, next_signing_key_length: RSA_2048_BIT}
    dmarc: {p: none, rua: ["mailto:a@acme.com", "mailto:b@acme.com"]}
    tags: {tier: default}
classes:
  tenant:
    domain:
      dmarc: {p: quarantine}
      tags: {tier: class}
domains:
  acme.com:
    class: tenant
    email_forwarding_enabled: false
    dmarc: {rua: ["mailto:c@acme.com"]}
    by_region:
      eu-west-1: {email_forwarding_enabled: null, tags: {place: eu}}
"""


@pytest.mark.parametrize(
    ("region", "path", "value", "line", "via"),
    [
        (None, "dmarc.p", "quarantine", 18, "class tenant"),
        (None, "dmarc.rua", ["mailto:c@acme.com"], 24, ""),
        (None, "dmarc.rua.0", "mailto:c@acme.com", 24, ""),
        ("us-east-1", "dkim.next_signing_key_length", "RSA_2048_BIT", 12, "defaults.domain"),
        ("us-east-1", "email_forwarding_enabled", False, 23, ""),
        ("eu-west-1", "email_forwarding_enabled", None, 26, "by_region eu-west-1"),
        ("eu-west-1", "tags.place", "eu", 26, "by_region eu-west-1"),
        ("eu-west-1", "tags.team", "mail", 2, "stack.tags"),
        ("us-east-1", "tags.tier", "environment-class", 6, "environment staging, class tenant"),
        ("us-east-1", "tags.stage", "staging", 7, "environment staging"),
        ("us-east-1", "tags.from-environment-defaults", "yes", 5, "environment staging, defaults.domain"),
        (None, "ttl", 60, 7, "environment staging"),
    ],
)
def test_layers(make: Make, region: str | None, path: str, value: Any, line: int, via: str) -> None:
    entry = pick(make(LAYERED, "staging"), "domains", "acme.com", region)
    found: Any = entry.values
    for part in path.split("."):
        found = found[int(part)] if part.isdigit() else found[part]
    assert found == value
    source = entry.sources[path]
    assert (source.file, source.line, source.via) == ("state.yaml", line, via)


def test_steering_keys_are_no_values(make: Make) -> None:
    entry = pick(make(LAYERED, "staging"), "domains", "acme.com", "eu-west-1")
    assert not entry.values.keys() & {"class", "vars", "regions", "by_region"}
    assert entry.source.line == 21


@pytest.mark.parametrize(
    ("entry", "dkim"),
    [
        ("{}", {"signing_attributes_origin": "AWS_SES", "next_signing_key_length": "RSA_2048_BIT"}),
        (
            "{regions: [eu-west-1], dkim: {signing_attributes_origin: AWS_SES_US_EAST_1}}",
            {"signing_attributes_origin": "AWS_SES_US_EAST_1"},
        ),
        (
            "{by_region: {eu-west-1: {dkim: {signing_attributes_origin: aws_ses_us_east_1}}}}",
            {"signing_attributes_origin": "AWS_SES_US_EAST_1"},
        ),
        (
            ("{dkim: {signing_attributes_origin: EXTERNAL, domain_signing_selector: s1, "
            "domain_signing_private_key: {env: KEY}}}"),
            {
                "signing_attributes_origin": "EXTERNAL", "domain_signing_selector": "s1",
                "domain_signing_private_key": {"env": "KEY"},
            },
        ),
    ],
)  # fmt: skip
def test_a_new_origin_drops_what_does_not_go_with_it(make: Make, entry: str, dkim: dict[str, Any]) -> None:
    loaded = make(
        "defaults: {domain: {dkim: {signing_attributes_origin: AWS_SES, next_signing_key_length: RSA_2048_BIT}}}\n"
        f"domains: {{acme.com: {{regions: [eu-west-1]}}, shop.acme.com: {entry}}}\n"
    )
    assert pick(loaded, "domains", "shop.acme.com", "eu-west-1").values["dkim"] == dkim


@pytest.mark.parametrize(
    ("unmanaged", "kept"),
    [
        ("[]", {"dmarc": {"p": "none", "np": "reject"}, "spf": {"all": "~all"}, "tags": {"team": "mail", "a.b": "c"}}),
        ("[spf]", {"dmarc": {"p": "none", "np": "reject"}, "tags": {"team": "mail", "a.b": "c"}}),
        ("[dmarc.np, tags.team, tags.a.b]", {"dmarc": {"p": "none"}, "spf": {"all": "~all"}, "tags": {}}),
        ("[dmarc, spf, tags]", {}),
    ],
)
def test_unmanaged(make: Make, unmanaged: str, kept: dict[str, Any]) -> None:
    loaded = make(
        'stack: {name: acme-mail, account: "111122223333", regions: [us-east-1], tags: {team: mail}}\n'
        'defaults: {domain: {spf: {all: "~all"}, dmarc: {p: none, np: reject}, tags: {a.b: c}}}\n'
        f"domains: {{acme.com: {{unmanaged: {unmanaged}}}}}\n"
    )
    values = dict(pick(loaded, "domains", "acme.com", None).values)
    assert values.pop("unmanaged") == [part.strip() for part in unmanaged.strip("[]").split(",") if part]
    assert values == kept


def test_defaults_of_event_destinations(make: Make) -> None:
    loaded = make(
        "defaults: {event_destination: {enabled: true, matching_event_types: [BOUNCE]}}\n"
        "classes: {loud: {event_destination: {matching_event_types: [SEND, BOUNCE]}}}\n"
        "configuration_sets:\n"
        "  quiet: {event_destinations: {d: &d {sns_destination: "
        '{topic_arn: "arn:aws:sns:${region}:${account}:x"}}}}\n'
        "  loud: {class: loud, event_destinations: {d: *d, e: {<<: *d, enabled: false}}}\n"
    )
    quiet = pick(loaded, "configuration_sets", "quiet", "us-east-1").values["event_destinations"]["d"]
    loud = pick(loaded, "configuration_sets", "loud", "eu-west-1")
    assert (quiet["enabled"], quiet["matching_event_types"]) == (True, ["BOUNCE"])
    assert loud.values["event_destinations"]["d"]["matching_event_types"] == ["SEND", "BOUNCE"]
    assert loud.values["event_destinations"]["e"]["enabled"] is False
    assert loud.source_of("event_destinations.d.enabled").via == "defaults.event_destination"
    assert loud.source_of("event_destinations.e.matching_event_types").via == "class loud"


def test_a_domain_without_identity(make: Make) -> None:
    loaded = make(
        "defaults: {domain: {dkim: {signing_enabled: true}, configuration_set_name: x, ttl: 60, "
        "by_region: {us-east-1: {email_forwarding_enabled: true}}}}\n"
        'domains: {acme.net: {identity: false, dmarc: {p: reject}, spf: {all: "-all"}, null_mx: true}}\n'
    )
    assert loaded.warnings == ()
    assert [(e.region, dict(e.values)) for e in loaded.state.entries] == [
        (None, {"ttl": 60, "identity": False, "dmarc": {"p": "reject"}, "spf": {"all": "-all"}, "null_mx": True})
    ]


def test_an_environment_may_add_entries_and_settings(make: Make) -> None:
    loaded = make(
        "environments:\n  staging:\n    stack: {max_deletes: 1, tags: {stage: staging}}\n"
        "    domains: {new.acme.com: {}}\n    rules: {dmarc-no-rua: off}\n"
        "domains: {acme.com: {}}\nrules: {dmarc-no-rua: error, spf-lookups: Warning}\n",
        "staging",
    )
    assert {e.name for e in loaded.state.entries} == {"acme.com", "new.acme.com"}
    assert loaded.state.stack.max_deletes == 1
    assert loaded.state.rules == {"dmarc-no-rua": "off", "spf-lookups": "warning"}
    entry = pick(loaded, "domains", "acme.com", "us-east-1")
    assert entry.source_of("tags.stage").via == "environment staging, stack.tags"
    assert pick(loaded, "domains", "new.acme.com", None).source.via == "environment staging"


# --- variables ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${domain} ${region} ${stack} ${account} ${partition}", "acme.com us-east-1 acme-mail 111122223333 aws"),
        ("[${env}]", "[staging]"),
        ("${top} ${environment} ${class} ${entry}", "t e c n"),
        ("${shadowed}", "entry"),
        ("${nested}", "t-acme.com"),
        ("$${region} costs $5 and $$", "${region} costs $5 and $$"),
        ("${number} ${flag}", "7 true"),
    ],
)
def test_variables(make: Make, text: str, expected: str) -> None:
    loaded = make(
        "environments: {staging: {vars: {environment: e, shadowed: environment}}}\n"
        'vars: {top: t, shadowed: top, nested: "${top}-${domain}", number: 7, flag: true}\n'
        "classes: {c: {vars: {class: c, shadowed: class}}}\n"
        "domains:\n  acme.com:\n    class: c\n    vars: {entry: n, shadowed: entry}\n"
        f'    policies: {{p: {{Statement: [{{Sid: "{text}", Effect: Allow, Principal: "*", Action: "ses:*"}}]}}}}\n',
        "staging",
    )
    entry = pick(loaded, "domains", "acme.com", "us-east-1")
    assert entry.values["policies"]["p"]["Statement"][0]["Sid"] == expected


def test_variables_of_the_caller_win_over_the_states(make: Make) -> None:
    text = (
        "vars: {base: acme.com, set: a}\n"
        "domains: {'${base}': {}, 'x.${base}': {vars: {set: b}, configuration_set_name: '${set}'}}\n"
    )
    loaded = make(text, variables={"base": "acme.org", "set": "c"})
    assert {e.name for e in loaded.state.entries} == {"acme.org", "x.acme.org"}
    assert pick(loaded, "domains", "x.acme.org", "us-east-1").values["configuration_set_name"] == "b"


def test_a_whole_value_takes_the_type_of_its_variable(make: Make) -> None:
    loaded = make(
        "vars: {ttl: 600, seconds: 400, switch: true, number: 7}\n"
        "defaults: {domain: {ttl: '${ttl}'}}\n"
        "domains: {acme.com: {email_forwarding_enabled: '${switch}', tags: {n: '${number}'}}, "
        "acme.net: {vars: {ttl: 90}}}\n"
        "configuration_sets: {t: {delivery_options: {max_delivery_seconds: '${seconds}'}}}\n"
    )
    assert pick(loaded, "domains", "acme.com", None).values["ttl"] == 600
    assert pick(loaded, "domains", "acme.net", None).values["ttl"] == 90
    values = pick(loaded, "domains", "acme.com", "us-east-1").values
    assert values["email_forwarding_enabled"] is True
    assert values["tags"] == {"n": "7"}
    delivery = pick(loaded, "configuration_sets", "t", "us-east-1").values["delivery_options"]
    assert delivery == {"max_delivery_seconds": 400}
    for text in ("vars: {ttl: '600'}\ndomains: {acme.com: {ttl: '${ttl}'}}\n",
                 "vars: {ttl: 6}\ndomains: {acme.com: {ttl: '${ttl}0'}}\n"):  # fmt: skip
        with pytest.raises(InvalidState) as error:
            make(text)
        assert codes(error) == ["wrong-type"]


def test_a_tracking_name_behind_a_cdn_may_serve_two_regions(make: Make) -> None:
    for policy in ("REQUIRE", "REQUIRE_OPEN_ONLY"):
        make(
            "domains: {acme.com: {}}\nconfiguration_sets: {t: {tracking_options: "
            f"{{custom_redirect_domain: click.acme.com, https_policy: {policy}}}}}}}\n"
        )
    with pytest.raises(InvalidState) as error:
        make("configuration_sets: {t: {tracking_options: {custom_redirect_domain: c.acme.com}}}\n")
    assert codes(error) == ["tracking-two-regions"]


def test_regions_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "state.yaml").write_text(
        'stack: {name: acme-mail, account: "111122223333", regions: [US-EAST-1, eu-west-1]}\n'
        "domains: {x.com: {regions: [US-East-1], by_region: {us-EAST-1: {email_forwarding_enabled: false}},"
        ' mail_from: {mail_from_domain: "b-${region}.${domain}"}, bimi: {l: "https://x.com/${region}.svg"}}}\n',
        encoding="utf-8",
    )
    loaded = load(str(tmp_path))
    assert loaded.state.stack.regions == ("us-east-1", "eu-west-1")
    values = pick(loaded, "domains", "x.com", "us-east-1").values
    assert values["email_forwarding_enabled"] is False
    assert values["mail_from"]["mail_from_domain"] == "b-us-east-1.x.com"
    assert pick(loaded, "domains", "x.com", None).values["bimi"]["l"] == "https://x.com/us-east-1.svg"


def test_a_policy_that_leaves_something_out_is_only_warned_about(make: Make) -> None:
    loaded = make("domains: {acme.com: {policies: {p: {Statement: [{Effect: Allow, ...}]}}}}\n")
    assert [w.code for w in loaded.warnings] == ["bad-policy"]


def test_iam_variables_are_left_alone_in_policies_and_conditions(make: Make) -> None:
    loaded = make(
        "domains: {acme.com: {policies: {p: {Statement: [{Effect: Allow, Principal: '*', Action: 'ses:*', Resource: "
        '"arn:${partition}:ses:${region}:${aws:PrincipalAccount}:identity/${domain}"}]}}}}\n'
        'smtp_users: {u: {from_addresses: ["*@acme.com"], credentials: {ssm: {name: /u}}, '
        'conditions: {StringLike: {"aws:userid": "${aws:username}-${account}-${*}"}}}}\n'
    )
    resource = pick(loaded, "domains", "acme.com", "eu-west-1").values["policies"]["p"]["Statement"][0]["Resource"]
    assert resource == "arn:aws:ses:eu-west-1:${aws:PrincipalAccount}:identity/acme.com"
    user = pick(loaded, "smtp_users", "u", None)
    assert user.values["conditions"]["StringLike"]["aws:userid"] == "${aws:username}-111122223333-${*}"


def test_the_region_in_the_name_of_a_credential_stays(make: Make) -> None:
    loaded = make(
        'smtp_users: {news: {from_addresses: ["n-${region}@acme.com"], '
        'credentials: {secretsmanager: {name: "recon/${stack}/${region}"}}}}\n'
    )
    values = pick(loaded, "smtp_users", "news", None).values
    assert values["credentials"] == {"secretsmanager": {"name": "recon/acme-mail/${region}"}}
    assert values["from_addresses"] == ["n-us-east-1@acme.com"]


def test_the_stack_may_use_variables(make: Make) -> None:
    loaded = make(
        'stack: {name: "${who}-mail", account: "111122223333", regions: ["${home}"],'
        ' role_arn: "arn:${partition}:iam::${account}:role/${stack}"}\nvars: {who: acme, home: us-gov-west-1}\n'
    )
    stack = loaded.state.stack
    assert (stack.name, stack.regions, stack.partition) == ("acme-mail", ("us-gov-west-1",), "aws-us-gov")
    assert stack.plan_role_arn == stack.apply_role_arn == "arn:aws-us-gov:iam::111122223333:role/acme-mail"


def test_the_process_environment_is_not_read(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("tenant", "x")
    with pytest.raises(InvalidState) as error:
        make("domains: {acme.com: {configuration_set_name: '${tenant}'}}\n")
    assert codes(error) == ["undefined-variable"]


def test_what_is_wrong_with_credentials_is_told_once(make: Make) -> None:
    with pytest.raises(InvalidState) as error:
        make("smtp_users: {u: {from_addresses: ['*@acme.com'], credentials: {ssm: /u}}}\n")
    assert codes(error) == ["wrong-type"]


# --- names and spellings ---


@pytest.mark.parametrize(
    ("section", "written", "name"),
    [
        ("domains", "ACME.Com.", "acme.com"),
        ("domains", "Bücher.example", "xn--bcher-kva.example"),
        ("email_addresses", "CEO@Acme.COM", "CEO@acme.com"),
        ("email_addresses", "post@Bücher.example", "post@xn--bcher-kva.example"),
    ],
)
def test_names_are_folded(make: Make, section: str, written: str, name: str) -> None:
    loaded = make(f"{section}: {{{written}: {{}}}}\n")
    assert {e.name for e in loaded.state.entries} == {name}


def test_names_inside_values_are_folded(make: Make) -> None:
    loaded = make(
        "domains: {Acme.com: {regions: [us-east-1], mail_from: {mail_from_domain: BOUNCE.acme.com.}, zone: AUTO}}\n"
        "configuration_sets: {tx: {regions: [us-east-1], tracking_options: {custom_redirect_domain: Click.Acme.com}}}\n"
        'smtp_users: {u: {from_addresses: ["*@acme.com"], credentials: {ssm: {name: /u}}, identities: [ACME.com.]}}\n'
    )
    assert pick(loaded, "domains", "acme.com", "us-east-1").values["mail_from"] == {
        "mail_from_domain": "bounce.acme.com"
    }
    assert pick(loaded, "domains", "acme.com", None).values["zone"] == "auto"
    tracking = pick(loaded, "configuration_sets", "tx", "us-east-1").values["tracking_options"]
    assert tracking == {"custom_redirect_domain": "click.acme.com"}
    assert pick(loaded, "smtp_users", "u", None).values["identities"] == ["acme.com"]


def test_enums_are_written_as_aws_writes_them(make: Make) -> None:
    loaded = make(
        "domains: {acme.com: {dkim: {signing_attributes_origin: aws_ses, next_signing_key_length: rsa_1024_bit}, "
        "dmarc: {p: Reject, adkim: S}}}\n"
        "configuration_sets: {tx: {delivery_options: {tls_policy: require}, event_destinations: {d: "
        '{matching_event_types: [Bounce], sns_destination: {topic_arn: "arn:aws:sns:${region}:${account}:x"}}}}}\n'
        "dedicated_ip_pools: {tx: {scaling_mode: managed}}\n"
    )
    domain = pick(loaded, "domains", "acme.com", "us-east-1").values
    assert domain["dkim"] == {"signing_attributes_origin": "AWS_SES", "next_signing_key_length": "RSA_1024_BIT"}
    assert domain["dmarc"] == {"p": "reject", "adkim": "s"}
    values = pick(loaded, "configuration_sets", "tx", "us-east-1").values
    assert values["delivery_options"]["tls_policy"] == "REQUIRE"
    assert values["event_destinations"]["d"]["matching_event_types"] == ["BOUNCE"]
    assert pick(loaded, "dedicated_ip_pools", "tx", "us-east-1").values["scaling_mode"] == "MANAGED"


def test_null_means_reset_and_absent_means_unmanaged(make: Make) -> None:
    values = pick(
        make("configuration_sets: {tx: {tracking_options: null, delivery_options: {tls_policy: null}}}\n"),
        "configuration_sets", "tx", "us-east-1",
    ).values  # fmt: skip
    assert values == {"tracking_options": None, "delivery_options": {"tls_policy": None}}


# --- moved, rules, waivers ---


def test_moved_and_waivers(make: Make) -> None:
    loaded = make(
        "configuration_sets: {new: {}}\n"
        "moved: [{from: configuration_set/us-east-1/old, to: configuration_set/us-east-1/new}]\n"
        'waivers: [{rule: dmarc-no-rua, address: "dns_record/acme.net/*", reason: parked, until: 2027-01-31}]\n'
    )
    (moved,) = loaded.state.moved
    assert (moved.from_address, moved.to_address) == (
        "configuration_set/us-east-1/old",
        "configuration_set/us-east-1/new",
    )
    (waiver,) = loaded.state.waivers
    assert (waiver.rule, waiver.until, waiver.source.line) == ("dmarc-no-rua", "2027-01-31", 4)


# --- warnings ---


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("domains: {acme.com: {configuration_set_name: tx}}", "undeclared-reference", "tx is not declared"),
        (
            "domains: {acme.com: {configuration_set_name: tx}}\nconfiguration_sets: {tx: {regions: [us-east-1]}}",
            "undeclared-reference", "not declared for eu-west-1",
        ),
        ("configuration_sets: {tx: {delivery_options: {sending_pool_name: p}}}", "undeclared-reference", "pool p"),
        (
            "configuration_sets: {tx: {tracking_options: {custom_redirect_domain: 'c-${region}.acme.com'}}}",
            "undeclared-reference", "no declared domain covers",
        ),
        (
            "domains: {acme.com: {spf: {all: '-all'}, unmanaged: [spf]}}",
            "unmanaged-but-written", "written in the entry all the same",
        ),
        ("domains: {acme.com: {dmarc: {p: none, pct: 50}}}", "dmarc-pct", "pct was removed"),
        ("domains: {acme.com: {dmarc: 'v=DMARC1; p=none; pct=50'}}", "dmarc-pct", "pct was removed"),
        ("domains: {acme.com: {dmarc: {p: none, fo: d}}}", "dmarc-fo", "no effect without ruf"),
        ("domains: {acme.com: {dmarc: 'v=DMARC1; p=none; ruas=x'}}", "dmarc-unknown-tag", "did you mean rua?"),
        ("domains: {acme.com: {bimi: 'v=BIMI1; l=https://x.org/l.svg; lsp=x'}}", "bimi-unknown-tag", "mean lps?"),
        ("domains: {acme.com: {null_mx: true}}", "dns-null-mx-sends", "RFC 7505"),
        ("domains: {acme.com: {ttl: 2000000}}", "dns-long-ttl", "more than a week"),
        ("domains: {acme.com: {identity: false, tags: {a: b}}}", "no-identity", "nothing to set it on"),
        (
            "domains: {acme.com: {regions: [us-east-1], dkim: {signing_attributes_origin: AWS_SES_EU_WEST_1}}}",
            "deterministic-parent", "is not declared here",
        ),
        (
            ("domains: {acme.com: {dkim: {signing_attributes_origin: EXTERNAL, domain_signing_selector: s, "
            "domain_signing_private_key: {file: /etc/dkim.pem}}}}"),
            "absolute-path", "only on machines",
        ),
        (
            ("domains: {acme.com: {regions: [us-east-1], mail_from: {mail_from_domain: b.acme.com}}, "
            "b.acme.com: {regions: [us-east-1]}}"),
            "mail-from-is-identity", "also declared as a domain",
        ),
        (
            ("domains: {acme.com: {}}\n"
            "smtp_users: {u: {from_addresses: ['*'], credentials: {ssm: {name: /u}}}}"), "any-from-address", "anybody",
        ),
        (
            "smtp_users: {u: {from_addresses: ['a@acme.com'], credentials: {ssm: {name: /u}}}}",
            "undeclared-reference", "no declared identity covers acme.com",
        ),
        (
            ("domains: {acme.com: {}}\nsmtp_users: {u: {from_addresses: ['a@acme.com'], "
            "credentials: {secretsmanager: {name: mail-abc123}}}}"),
            "secret-suffix", "suffix",
        ),
        (
            "moved: [{from: configuration_set/us-east-1/a, to: configuration_set/us-east-1/b}]",
            "moved-not-declared", "is not declared",
        ),
    ],
)  # fmt: skip
def test_warnings(make: Make, text: str, code: str, says: str) -> None:
    warnings = make(text + "\n").warnings
    assert any(w.code == code and says in w.message and w.line and w.hint for w in warnings), warnings
    assert {w.code for w in warnings} == {code}


def test_an_undeclared_reference_carries_the_address_of_what_it_names(make: Make) -> None:
    (warning,) = make("domains: {acme.com: {regions: [us-east-1], configuration_set_name: tx}}\n").warnings
    assert warning.address == "configuration_set/us-east-1/tx"


def test_a_rule_that_is_off_is_silent_here_too(make: Make) -> None:
    assert make("domains: {acme.com: {ttl: 2000000}}\nrules: {dns-long-ttl: off}\n").warnings == ()


def test_one_line_of_defaults_is_one_warning_for_many(make: Make) -> None:
    loaded = make("defaults: {domain: {configuration_set_name: tx}}\ndomains: {a.com: {}, b.com: {}, c.com: {}}\n")
    assert len(loaded.warnings) == 2  # one a region
    assert all("2 more entries from this line" in w.message for w in loaded.warnings)


# --- files ---


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_a_directory_is_one_document(tmp_path: Path) -> None:
    root = write(
        tmp_path / "state",
        {
            "stack.yaml": HEAD,
            "a/domains.yml": "domains: {acme.com: {}}\nvars: {a: b}\n",
            "b.yaml": "domains: {acme.net: {}}\nvars: {c: d}\nmoved: []\n",
            "c.yaml": "moved: []\ndomains:\n",
            "empty.yaml": "# nothing yet\n",
            ".git/hidden.yaml": "domains: {hidden.com: {}}\n",
            ".hidden.yaml": "domains: {hidden.com: {}}\n",
            "notes.txt": "domains: {text.com: {}}\n",
        },
    )
    loaded = load(root)
    assert {e.name for e in loaded.state.entries} == {"acme.com", "acme.net"}
    assert [(w.code, Path(w.file).name) for w in loaded.warnings] == [("empty-file", "empty.yaml")]
    assert loaded.state.root == str(root)


def test_the_same_thing_in_two_files_names_both(tmp_path: Path) -> None:
    root = write(
        tmp_path / "state",
        {
            "a.yaml": HEAD + "domains:\n  acme.com: {}\n  ACME.net: {}\n",
            "b.yaml": "domains:\n  acme.com: {}\n  acme.net: {}\nstack: {name: other}\n",
        },
    )
    with pytest.raises(InvalidState) as error:
        load(root)
    assert codes(error) == ["duplicate-declaration"] * 3
    first = error.value.diagnostics
    assert all("a.yaml:" in d.message and "b.yaml:" in d.message for d in first)


def test_links_that_lead_out_are_not_read(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", {"x.yaml": "domains: {outside.com: {}}\n"})
    root = write(tmp_path / "state", {"stack.yaml": HEAD, "real.yaml": "domains: {acme.com: {}}\n"})
    (root / "link.yaml").symlink_to(outside / "x.yaml")
    (root / "folder").symlink_to(outside)
    loaded = load(root)
    assert {e.name for e in loaded.state.entries} == {"acme.com"}
    assert [w.code for w in loaded.warnings] == ["link-outside", "link-outside"]


def test_all_errors_of_all_files_at_once(tmp_path: Path) -> None:
    root = write(
        tmp_path / "state",
        {
            "a.yaml": HEAD + "domains: {acme.com: {ttl: x}}\n",
            "b.yaml": "domains: [\n",
            "c.yaml": "configuration_sets: {tx: {tags: {a: 1, b: 2}}}\nvars: {x: 010}\n",
        },
    )
    with pytest.raises(InvalidState) as error:
        load(root)
    found = [(Path(d.file).name, d.code) for d in error.value.diagnostics]
    assert sorted(found) == [
        ("a.yaml", "wrong-type"), ("b.yaml", "yaml-syntax"), ("c.yaml", "ambiguous-scalar"), ("c.yaml", "needs-quotes"),
        ("c.yaml", "needs-quotes"),
    ]  # fmt: skip
    assert "5 errors" in str(error.value)


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b"\xff\xfes\x00t\x00", "wrong-encoding", 1),
        (b"\x00\x00\xfe\xff", "wrong-encoding", 1),
        (b"stack: {}\nvars: {a: caf\xe9}\n", "wrong-encoding", 2),
        (b"stack: {}\nvars: {a: b\x00c}\n", "control-character", 2),
        (b"", "empty-state", 0),
        (b"# only a comment\n", "empty-state", 0),
        (b"x: " + b"[" * 200_000, "too-deep", 1),
        (b"a: 1\n" * 3, "duplicate-key", 2),
        (b"%YAML 9.9\n---\na: b\n", "yaml-syntax", 1),
        (b"a: 'x\n", "yaml-syntax", 2),
        (b"? {a: b}\n: c\n", "key-not-text", 1),
        (b"a: &a {b: *a}\n", "recursive-alias", 1),
    ],
)
def test_hostile_files(tmp_path: Path, content: bytes, code: str, line: int) -> None:
    file = tmp_path / "state.yaml"
    file.write_bytes(content)
    with pytest.raises(InvalidState) as error:
        load(file)
    assert any(d.code == code and d.line == line for d in error.value.diagnostics), error.value.diagnostics


def test_a_byte_order_mark_is_fine(tmp_path: Path) -> None:
    file = tmp_path / "state.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + HEAD.encode())
    assert load(file).state.stack.name == "acme-mail"


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "state.yaml"
    with file.open("wb") as handle:
        handle.truncate(33 * 1024 * 1024)
    with pytest.raises(InvalidState) as error:
        load(file)
    assert codes(error) == ["file-too-large"]


@pytest.mark.parametrize(
    ("name", "code"), [("missing", "no-such-path"), ("empty", "no-yaml-files"), ("a\0b", "no-such-path")]
)
def test_paths_that_lead_nowhere(tmp_path: Path, name: str, code: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidState) as error:
        load(str(tmp_path / name))
    assert codes(error) == [code]
    assert all(d.hint for d in error.value.diagnostics)


def test_plain_scalars(make: Make) -> None:
    loaded = make(
        "x-shared: &tags {released: 2026-01-31, address: 192.0.2.1, dotted: 1.2.3, signed: -all, yes-quoted: 'yes'}\n"
        "domains: {acme.com: {tags: *tags, policies: {p: {Version: 2012-10-17, Statement: "
        "{Effect: Allow, Principal: '*', Action: 'ses:*'}}}}}\n"
    )
    values = pick(loaded, "domains", "acme.com", "us-east-1").values
    assert values["tags"] == {
        "released": "2026-01-31", "address": "192.0.2.1", "dotted": "1.2.3", "signed": "-all", "yes-quoted": "yes",
    }  # fmt: skip
    assert values["policies"]["p"]["Version"] == "2012-10-17"


def test_what_an_alias_brings_is_placed_where_it_is_written(make: Make) -> None:
    loaded = make("x-a: &a\n  all: '-all'\ndomains:\n  acme.com:\n    spf: *a\n")
    entry = pick(loaded, "domains", "acme.com", None)
    assert (entry.sources["spf"].line, entry.sources["spf.all"].line) == (6, 3)


# --- the digest ---


def test_the_digest_is_of_what_is_meant(make: Make) -> None:
    one = make("domains: {acme.com: {ttl: 300, tags: {a: b, c: d}}, acme.net: {}}\n").state.digest
    same = make(
        "# a comment\ndomains:\n  ACME.net: {}\n  acme.com:\n    tags: {c: d, a: b}\n    ttl: 300\n"
    ).state.digest
    other = make("domains: {acme.com: {ttl: 301, tags: {a: b, c: d}}, acme.net: {}}\n").state.digest
    ruled = make(
        "domains: {acme.com: {ttl: 300, tags: {a: b, c: d}}, acme.net: {}}\nrules: {tls-optional: off}\n"
    ).state.digest
    assert one == same
    assert len({one, other, ruled}) == 3


# --- secrets ---


@pytest.mark.parametrize(
    "key", ["MIIEsecret", "{env: MIIE/secret}", "{file: ../MIIEsecret}", "{pem: MIIEsecret}", "{ssm: [MIIEsecret]}"]
)
def test_a_pasted_private_key_is_not_repeated(make: Make, key: str) -> None:
    dkim = f"{{signing_attributes_origin: EXTERNAL, domain_signing_selector: s1, domain_signing_private_key: {key}}}"
    with pytest.raises(InvalidState) as error:
        make(f"domains: {{acme.com: {{dkim: {dkim}}}}}\n")
    assert "secret" not in repr([d.message for d in error.value.diagnostics]).replace("secretsmanager", "")


# --- size ---


def test_a_thousand_domains_take_seconds_at_most(make: Make) -> None:
    lines = [
        HEAD, ("defaults: {domain: {dkim: {signing_attributes_origin: AWS_SES}, mail_from: "
        '{mail_from_domain: "b-${region}.${domain}"}, dmarc: {p: reject}}}\ndomains:\n'),
    ]  # fmt: skip
    lines += [f"  t{i}.acme.com: {{vars: {{tenant: t{i}}}, tags: {{tenant: t{i}}}, ttl: 300}}\n" for i in range(1000)]
    text = "".join(lines)
    begin = time.process_time()
    loaded = make(text)
    assert len(loaded.state.entries) == 3000
    assert time.process_time() - begin < 5


def test_a_thousand_errors_take_seconds_at_most(make: Make) -> None:
    text = "domains:\n" + "".join(f"  t{i}.acme.com: {{ttl: x, dmrac: {{}}}}\n" for i in range(1000))
    begin = time.process_time()
    with pytest.raises(InvalidState) as error:
        make(text)
    assert time.process_time() - begin < 20
    assert len(error.value.diagnostics) == 501
    assert "1500 more" in error.value.diagnostics[-1].message


def test_a_valid_state_loads_no_heavy_library() -> None:
    """Start-up time of every command: jsonschema alone takes longer than a thousand entries."""
    code = (
        "import sys; from reconciler.desired import load; load(sys.argv[1], 'production'); "
        "print(sorted({'jsonschema', 'boto3', 'botocore', 'idna', 'cryptography'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(EXAMPLE)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=EXAMPLE.parent.parent)
    assert run.stdout.strip() == "[]"


# --- what multiplies ---


def test_aliases_cannot_nest_without_end(make: Make) -> None:
    lines = ["x-0: &a0 " + "[" * 30 + "]" * 30]
    lines += [f"x-{i}: &a{i} " + "[" * 30 + f"*a{i - 1}" + "]" * 30 for i in range(1, 60)]
    with pytest.raises(InvalidState) as error:
        make("\n".join(lines) + "\n")
    assert codes(error) == ["too-deep"]


def test_variables_cannot_multiply_without_end(make: Make) -> None:
    def reference(number: int) -> str:
        return "${" + f"v{number}" + "}"

    variables = "".join(f'  v{i}: "{reference(i + 1) * 20}"\n' for i in range(7))
    begin = time.process_time()
    with pytest.raises(InvalidState) as error:
        make(f"vars:\n{variables}  v7: xx\ndomains: {{acme.com: {{configuration_set_name: '${{v0}}'}}}}\n")
    assert codes(error) == ["bad-variable"]
    make(f"vars:\n{variables}  v7: ''\ndomains: {{acme.com: {{configuration_set_name: 'tx${{v0}}'}}}}\n")
    assert time.process_time() - begin < 5


def test_an_environment_resets_parts_of_the_stack_with_null(make: Make) -> None:
    stack = make(
        'stack: {name: acme-mail, account: "111122223333", regions: [us-east-1], max_deletes: 9, '
        'role_arn: "arn:aws:iam::111122223333:role/recon", backend: {s3: {bucket: acme-recon}}}\n'
        "environments: {local: {stack: {role_arn: null, backend: null, max_deletes: null}}}\n",
        "local",
    ).state.stack
    assert (stack.plan_role_arn, stack.apply_role_arn, stack.backend, stack.max_deletes) == (None, None, {}, 5)
