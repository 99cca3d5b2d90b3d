"""What is let go takes nothing along that is somebody else's, or that something which stays relies on."""

from __future__ import annotations

from typing import Any

import pytest
from support import HOME, OTHER, House, client, told

from reconciler.aws import Aws
from reconciler.errors import AwsError
from reconciler.model import Plan

KEY = "s1._domainkey.acme.com"


def domain(**values: Any) -> dict[str, Any]:
    return {"domains": {"acme.com": {"dkim": {}, **values}}}


def codes(plan: Plan) -> list[str]:
    return [d.code for d in plan.diagnostics if d.severity == "error"]


@pytest.fixture(scope="module")
def keys() -> list[str]:
    """Two RSA keys as PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    how = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return [rsa.generate_private_key(65537, 2048).private_bytes(*how).decode() for _ in range(2)]


def byodkim(variable: str = "DKIM_KEY") -> dict[str, Any]:
    return {
        "signing_attributes_origin": "EXTERNAL", "domain_signing_selector": "s1",
        "domain_signing_private_key": {"env": variable},
    }  # fmt: skip


# --- two of a kind -------------------------------------------------------------------------------------------------

TWO = [
    ("dmarc", {"p": "none"}, "_dmarc.acme.com", "v=DMARC1; p=reject; rua=mailto:they@acme.com"),
    ("bimi", {"l": "https://acme.com/logo.svg"}, "default._bimi.acme.com", "v=BIMI1; l=https://they.acme.com/l.svg"),
    ("spf", {"include": ["_spf.crm.example"]}, "acme.com", "v=spf1 a -all"),
]


@pytest.mark.parametrize(("group", "value", "name", "theirs"), TWO)
@pytest.mark.parametrize("identity", [True, False])
def test_of_two_records_of_a_kind_none_is_taken_out(
    house: House, group: str, value: Any, name: str, theirs: str, identity: bool
) -> None:
    house.seed_zone(foreign={})
    base: dict[str, Any] = {"dkim": {}} if identity else {"identity": False, "null_mx": True}
    house.settle({"domains": {"acme.com": {**base, group: value}}})
    ours = house.dns(name)
    house.change(name, "TXT", f'"{theirs}"', *(f'"{text}"' for text in ours))
    for document in ({"domains": {"acme.com": base}}, {}):
        plan = house.plan(document)
        assert f"two-{group}" in codes(plan)
        assert plan.outcome == "refused"
        house.write(document)
        assert house.cli("apply", "state.yaml", "--auto-approve", "--allow-deletes", "9").code == 3
        assert sorted(house.dns(name)) == sorted([theirs, *ours])
    house.change(name, "TXT", *(f'"{text}"' for text in ours))
    house.settle({"domains": {"acme.com": base}})
    assert house.dns(name) == []


def test_two_keys_at_one_selector_are_left_to_people(
    house: House, keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    house.seed_zone()
    monkeypatch.setenv("DKIM_KEY", keys[0])
    house.settle(domain(dkim=byodkim()))
    ours = house.dns_values(KEY)
    house.change(KEY, "TXT", '"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="', *ours)
    before = house.dns_values(KEY)
    plan = house.plan()
    assert "two-keys" in codes(plan)
    assert house.dns_values(KEY) == before
    house.destroy()
    assert house.dns_values(KEY) == [v for v in before if v not in ours]


def test_beside_a_foreign_spf_record_the_one_of_the_mail_from_goes(house: House) -> None:
    house.seed_zone()
    house.settle(domain(mail_from={"mail_from_domain": "bounce.acme.com"}))
    house.change("bounce.acme.com", "TXT", '"v=spf1 a -all"', *house.dns_values("bounce.acme.com"))
    house.settle({})
    assert house.dns("bounce.acme.com") == ["v=spf1 a -all"]


# --- what stays relies on it ---------------------------------------------------------------------------------------


def test_a_key_that_another_region_signs_with_stays(
    house: House, keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    house.seed_zone()
    monkeypatch.setenv("DKIM_KEY", keys[0])
    house.settle(domain(dkim=byodkim(), regions=[HOME, OTHER]))
    key = house.dns(KEY)
    house.settle({"domains": {"acme.com": {"regions": [HOME, OTHER]}}})
    assert house.dns(KEY) == key
    house.settle({"domains": {"acme.com": {"regions": [HOME]}}})
    assert house.dns(KEY) == key, "SES in the region that stays signs with it"
    house.settle({})
    assert house.dns(KEY) == []


def test_a_tracking_name_that_another_set_uses_stays(house: House) -> None:
    house.seed_zone()
    options = {"tracking_options": {"custom_redirect_domain": "click.acme.com"}}
    house.settle({**domain(), "configuration_sets": {"one": options, "two": options}})
    there = house.zone()["click.acme.com", "CNAME"]
    house.settle({**domain(), "configuration_sets": {"one": {}, "two": options}})
    house.settle({**domain(), "configuration_sets": {"one": {}}})
    assert house.zone().get(("click.acme.com", "CNAME")) == there, "the set that stays goes on tracking through it"
    house.settle(domain())
    assert ("click.acme.com", "CNAME") not in house.zone()


def test_the_ttl_of_a_set_with_foreign_values_is_theirs(house: House) -> None:
    house.seed_zone()
    mail_from = {"mail_from_domain": "bounce.acme.com"}
    house.settle(domain(mail_from=mail_from))
    house.change("bounce.acme.com", "MX", "20 mx.they.example.", *house.dns_values("bounce.acme.com", "MX"), ttl=900)
    plan = house.plan(domain(mail_from=mail_from, ttl=60))
    change = next(c for c in plan.changes if c.address == "dns_record/acme.com/bounce.acme.com/MX")
    assert change.refused is not None
    assert "ttl" not in {diff.path for diff in change.diff}


# --- a zone that cannot be read again ------------------------------------------------------------------------------


def test_a_zone_that_was_read_in_part_is_not_taken_for_empty(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.seed_zone()
    parked: dict[str, Any] = {"identity": False, "spf": {"all": "-all"}}
    house.settle({"domains": {"acme.com": {"dkim": {}}, "parked.acme.com": {**parked, "dmarc": {"p": "none"}}}})
    house.sandbox.fault("denied", service="sesv2", operation="DeleteEmailIdentity", count=1)
    house.write({"domains": {"parked.acme.com": {**parked, "dmarc": {"p": "none"}}}})
    house.apply(expect="partial")
    # The marks of what goes are in the zone now: the next run begins with the identity.
    held = {key: values for key, values in house.zone().items() if "_domainkey" in key[0]}
    call, down = Aws.call, []

    def shaken(self: Aws, service: str, operation: str, *rest: Any, **given: Any) -> dict[str, Any]:
        if service == "route53" and (operation == "ChangeResourceRecordSets" or down) and len(down) < 2:
            down.append(operation)
            raise AwsError("down", service=service, operation=operation, region="", aws_code="Unreachable", status=0)
        return call(self, service, operation, *rest, **given)

    house.write({"domains": {"parked.acme.com": {**parked, "dmarc": {"p": "reject"}}}})
    monkeypatch.setattr(Aws, "call", shaken)
    result = house.apply(expect="partial")
    assert down == ["ChangeResourceRecordSets", "ListResourceRecordSets"]
    monkeypatch.setattr(Aws, "call", call)
    left = {key for key in held if key in house.zone()}
    done = {a.address for a in result.applied if a.status == "done" and ":dkim:" in a.address}
    assert not (done and left), told(result)
    tags = client("route53").list_tags_for_resource
    zone_id = client("route53").list_hosted_zones()["HostedZones"][0]["Id"].rpartition("/")[2]
    assert tags(ResourceType="hostedzone", ResourceId=zone_id)["ResourceTagSet"]["Tags"], "markers are still there"
    house.settle()
    assert not [key for key in house.zone() if "_domainkey" in key[0] or key[0] == "_recon.acme.com"]


def test_a_wrong_record_of_a_token_is_mended_with_the_new_key_length(house: House) -> None:
    house.seed_zone()
    house.settle(domain(dkim={"next_signing_key_length": "RSA_1024_BIT"}))
    name = next(n for n, kind in house.zone() if kind == "CNAME" and "_domainkey" in n)
    house.change(name, "CNAME", "elsewhere.example.")
    house.sandbox.advance(2 * 86_400)
    house.settle(domain(dkim={"next_signing_key_length": "RSA_2048_BIT"}, ttl=60))
    assert house.dns_values(name, "CNAME")[0].rstrip(".").endswith("amazonses.com")


# --- what is shared ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theirs", ["v=spf1 include:_spf.crm.example ~all", "v=spf1 a include:_spf.mail.example -all"])
def test_the_ttl_of_an_spf_record_that_others_made_stays_theirs(house: House, theirs: str) -> None:
    house.seed_zone(foreign={("acme.com", "TXT"): [f'"{theirs}"']})
    house.settle({"domains": {"acme.com": {"identity": False, "ttl": 60, "spf": {"include": ["_spf.mail.example"]}}}})
    assert [raw["TTL"] for raw in house.raw_zone() if raw["Type"] == "TXT" and raw["Name"] == "acme.com."] == [3600]
    house.destroy()
    assert house.dns("acme.com") == [theirs.replace(" include:_spf.mail.example", "")]


def test_the_ttl_of_a_mail_from_record_with_terms_of_others_stays_theirs(house: House) -> None:
    bounce = {("b.acme.com", "TXT"): ['"v=spf1 include:amazonses.com include:_spf.crm.example ~all"']}
    house.seed_zone(foreign=bounce)
    house.settle({"domains": {"acme.com": {"dkim": {}, "ttl": 60, "mail_from": {"mail_from_domain": "b.acme.com"}}}})
    ttls = {raw["Type"]: raw["TTL"] for raw in house.raw_zone() if raw["Name"] == "b.acme.com."}
    assert ttls == {"TXT": 3600, "MX": 60}


def test_the_ttl_of_an_spf_record_of_ours_is_as_written(house: House) -> None:
    house.seed_zone(foreign={})
    for ttl in (60, 90):
        house.settle({"domains": {"acme.com": {"identity": False, "ttl": ttl, "spf": {"include": ["a.example"]}}}})
        assert [raw["TTL"] for raw in house.raw_zone() if raw["Type"] == "TXT" and raw["Name"] == "acme.com."] == [ttl]


# --- what stacks of one account share -----------------------------------------------------------------------------

TRACKED = {"tracking_options": {"custom_redirect_domain": "click.acme.com"}}
NULL_MX: dict[str, Any] = {"identity": False, "null_mx": True}
BOUNCE = {"mail_from": {"mail_from_domain": "m.eu.acme.com"}}
Half = tuple[str, dict[str, Any], dict[str, Any]]
"""The region, and the state with the record and without."""
SHARED: dict[str, tuple[Half, Half, list[tuple[str, str]]]] = {
    "DMARC": ((HOME, {"domains": {"acme.com": {"dmarc": {"p": "none"}}}}, {}),
              (OTHER, {"domains": {"acme.com": {"dmarc": {"p": "none"}}}}, {}), [("_dmarc.acme.com", "TXT")]),
    "null MX": ((HOME, {"domains": {"no.acme.com": NULL_MX}}, {}), (HOME, {"domains": {"no.acme.com": NULL_MX}}, {}),
                [("no.acme.com", "MX")]),
    "MAIL FROM": ((HOME, {"domains": {"acme.com": BOUNCE}}, {"domains": {"acme.com": {}}}),
                  (HOME, {"domains": {"eu.acme.com": BOUNCE}}, {}),
                  [("m.eu.acme.com", "MX"), ("m.eu.acme.com", "TXT")]),
    "DKIM key": ((HOME, {"domains": {"acme.com": {"dkim": byodkim()}}}, {}),
                 (OTHER, {"domains": {"acme.com": {"dkim": byodkim()}}}, {}), [("s1._domainkey.acme.com", "TXT")]),
    "CNAME": ((HOME, {"domains": {"acme.com": {}}, "configuration_sets": {"one": TRACKED}},
               {"domains": {"acme.com": {}}}),
              (HOME, {"configuration_sets": {"two": TRACKED}},
               {"configuration_sets": {"two": {"tracking_options": None}}}),
              [("click.acme.com", "CNAME")]),
}  # fmt: skip


@pytest.mark.parametrize("what", SHARED)
def test_a_record_of_two_stacks_in_one_account_goes_with_the_last_of_them(
    house: House, what: str, keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tags of an identity or set of each name the same record; of a domain that never sends, the markers do."""
    monkeypatch.setenv("DKIM_KEY", keys[0])
    house.seed_zone()
    one, two, records = SHARED[what]

    def stack(name: str, region: str, document: dict[str, Any]) -> None:
        house.document = {}
        house.write(document, stack={"name": name, "regions": [region]})

    for name, (region, document, _) in (("one", one), ("two", two)):
        stack(name, region, document)
        shared = [c for c in house.plan().changes if "shared" in {note.rule for note in c.notes}]
        assert len(shared) == (len(records) if name == "two" else 0)
        assert {c.action for c in shared} <= {"adopt"}
        house.settle()
    values = {record: house.dns_values(*record) for record in records}
    assert all(values.values())
    stack("one", one[0], one[2])
    left = {d.message for d in house.plan().diagnostics if d.code in ("left", "shared")}
    assert {text.partition(" of ")[0] for text in left} == {f"the {what}"}
    assert all('the recon stack "two" declares it, too' in text for text in left)
    house.settle()
    assert {record: house.dns_values(*record) for record in records} == values
    stack("two", two[0], two[2])
    house.settle()
    assert {record: house.dns_values(*record) for record in records} == {
        record: [value for value in there if "vendor" in value] for record, there in values.items()
    }
    stack("one", one[0], {})
    house.settle()
    house.check_foreign(alone=True)


def test_what_another_stack_of_the_account_has_is_not_changed(house: House) -> None:
    """A tracking domain of another region's set, as its tag says, as AWS shows it where an earlier recon has put no
    such tag, and where that cannot be read."""
    house.seed_zone()
    domain: dict[str, Any] = {"domains": {"acme.com": {}}}
    house.write({**domain, "configuration_sets": {"one": TRACKED}}, stack={"name": "one"})
    house.settle()
    house.document = {}
    house.write({**domain, "configuration_sets": {"two": TRACKED}}, stack={"name": "two", "regions": [OTHER]})

    def refusal() -> tuple[str, str]:
        address = "dns_record/acme.com/click.acme.com/CNAME"
        (refused,) = [c.refused for c in house.plan().changes if c.address == address]
        assert refused is not None
        return refused.code, refused.message

    theirs = (
        "owned-elsewhere",
        f'the CNAME of click.acme.com belongs to the recon stack "one": its configuration set one in {HOME}',
    )
    assert refusal()[0] == theirs[0]
    assert theirs[1] in refusal()[1]
    arn = f"arn:aws:ses:{HOME}:111122223333:configuration-set/one"
    client("sesv2").untag_resource(ResourceArn=arn, TagKeys=["recon:tracking"])
    assert theirs[1] in refusal()[1]
    house.sandbox.fault("denied", operation="GetConfigurationSet", region=HOME)
    code, message = refusal()
    assert code == "others-unread"
    assert f'configuration_set/{HOME}/one of the recon stack "one" has no tag recon:tracking' in message
