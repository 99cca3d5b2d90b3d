"""Nothing of ours is forgotten: a name is remembered before it is written, and not by what AWS answers later."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from support import HOME, House, client, killed_before, restore, snapshot

from reconciler.aws import Aws
from reconciler.errors import AwsError

Document = dict[str, Any]


@pytest.fixture(scope="module")
def key() -> str:
    """An RSA key as PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    how = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return rsa.generate_private_key(65537, 1024).private_bytes(*how).decode()


def domain(**values: Any) -> Document:
    return {"domains": {"acme.com": {"dkim": {}, **values}}}


def tracked(*names: str | None, **options: Any) -> Document:
    """A set for each of ``names``, which tracks through it."""
    sets = {
        f"set{n}": {"tracking_options": {"custom_redirect_domain": name, **options}} for n, name in enumerate(names)
    }
    return {**domain(), "configuration_sets": sets}


# --- a tracking domain that SES never took -------------------------------------------------------------------------

CLICK = "click.acme.com"
NEXT: dict[str, Document | None] = {
    "destroyed": None,
    "another name": tracked("go.acme.com"),
    "no name": tracked(None),
    "no options": {**domain(), "configuration_sets": {"set0": {}}},
    "no set": domain(),
    "another set": {**domain(), "configuration_sets": {"other": {}}},
}


def waiting(house: House, document: Document) -> None:
    """Apply until only SES's verification is missing."""
    house.seed_zone()
    house.sandbox.settings(verification_delay=7200.0)
    house.apply(document, expect="verify_timeout", verify_timeout=0.05)
    assert house.dns(CLICK, "CNAME") == [f"r.{HOME}.awstrack.me"]
    assert not house.set("set0").get("TrackingOptions")


@pytest.mark.parametrize("then", NEXT)
def test_the_record_of_a_tracking_domain_that_ses_never_took_goes_with_it(house: House, then: str) -> None:
    waiting(house, tracked(CLICK))
    document = NEXT[then]
    if document is not None:
        # The record goes although SES has not verified the domain yet.
        house.apply(document, expect=None, verify_timeout=0.05)
        assert house.dns(CLICK, "CNAME") == []
        house.sandbox.advance(10_000)
        house.settle(document)
    house.destroy()
    house.check_foreign(alone=True)


def test_it_stays_while_it_is_declared_and_another_set_that_takes_it_over_remembers_it(house: House) -> None:
    waiting(house, tracked(CLICK, CLICK))
    house.apply({**domain(), "configuration_sets": {"new": tracked(CLICK)["configuration_sets"]["set0"]}}, expect=None,
                verify_timeout=0.05)  # fmt: skip
    assert house.dns(CLICK, "CNAME") == [f"r.{HOME}.awstrack.me"]
    house.destroy()
    house.check_foreign(alone=True)


def test_two_names_that_ses_never_took_are_both_remembered(house: House) -> None:
    for nth in itertools.count(1):  # killed after each write, so that for a while both records are there
        waiting(house.begin(), tracked(CLICK))
        house.write(tracked("go.acme.com"))
        with killed_before(nth) as made:
            house.apply(expect=None, verify_timeout=0.05)
        house.destroy()
        house.check_foreign(alone=True)
        if len(made) < nth - 1:
            break


def test_what_ses_shows_may_be_somebody_elses_while_ours_is_remembered(house: House) -> None:
    """Somebody has pointed the set at another name by hand: the record of ours is still known."""
    house.seed_zone()
    house.settle(tracked(CLICK))
    client("sesv2").put_configuration_set_tracking_options(
        ConfigurationSetName="set0", CustomRedirectDomain="theirs.acme.com"
    )
    house.change("theirs.acme.com", "CNAME", "somewhere.example.")
    house.apply({**domain(), "configuration_sets": {"set0": {}}}, expect=None)
    assert house.dns(CLICK, "CNAME") == []
    assert house.dns("theirs.acme.com", "CNAME") == ["somewhere.example."]


def test_a_foreign_record_at_the_next_name_is_not_taken_for_ours(house: House) -> None:
    house.seed_zone()
    house.settle(tracked(CLICK))
    house.change("go.acme.com", "CNAME", "d111.cloudfront.net.")
    house.settle(tracked("go.acme.com"))
    assert house.dns("go.acme.com", "CNAME") == ["d111.cloudfront.net."]
    house.destroy()
    assert house.dns("go.acme.com", "CNAME") == ["d111.cloudfront.net."]


# --- what somebody deletes, and takes out of the YAML --------------------------------------------------------------


def test_records_of_what_somebody_has_deleted_and_taken_out_are_named(house: House) -> None:
    """Only the journal knows of them; what is live, or another stack's, is not named."""
    house.seed_zone()
    stays = {"domains": {"acme.com": {"dkim": {}}}}
    shop = {"dkim": {}, "mail_from": {"mail_from_domain": "m.shop.acme.com"}, "dmarc": {"p": "none"}}
    sets = {name: {"tracking_options": {"custom_redirect_domain": f"{name}.acme.com"}} for name in ("one", "two")}
    house.write({"domains": {**stays["domains"], "shop.acme.com": shop}, "configuration_sets": sets})
    assert house.cli("apply", "state.yaml", "--auto-approve").code == 0
    ses = client("sesv2")
    tokens = house.identity("shop.acme.com")["DkimAttributes"]["Tokens"]

    def left() -> list[str]:
        plan = house.cli("plan", "state.yaml", "--format", "json").json
        assert not plan["changes"]
        return sorted(d["message"] for d in plan["diagnostics"] if d["code"] == "left")

    ses.delete_email_identity(EmailIdentity="shop.acme.com")
    for name in sets:
        ses.delete_configuration_set(ConfigurationSetName=name)
    house.document = {}
    house.write(stays)
    of_sets, identity = left()
    assert of_sets.startswith("configuration_set/us-east-1/one or configuration_set/us-east-1/two was deleted by")
    assert "stay in the zone acme.com: one.acme.com CNAME, two.acme.com CNAME;" in of_sets
    listed = [*(f"{token}._domainkey.shop.acme.com CNAME" for token in tokens), "_dmarc.shop.acme.com TXT",
              "m.shop.acme.com MX"]  # fmt: skip
    assert f"stay in the zone acme.com: {', '.join(sorted(listed))};" in identity
    # Somebody's set tracks through one name; another stack's tags name the other; the identity lives on.
    ses.create_configuration_set(ConfigurationSetName="one", TrackingOptions={"CustomRedirectDomain": "one.acme.com"})
    tags = {"recon:stack": "other", "recon:records": "tracking", "recon:tracking": "two.acme.com"}
    ses.create_configuration_set(
        ConfigurationSetName="theirs", Tags=[{"Key": key, "Value": value} for key, value in tags.items()]
    )
    ses.create_email_identity(EmailIdentity="shop.acme.com")
    assert left() == []


def test_what_this_stack_has_deleted_itself_is_nobodys_business(house: House) -> None:
    """The records that stand there later are those of whoever has the domain now, such as another account."""
    house.seed_zone()
    stays = {"domains": {"acme.com": {"dkim": {}}}}
    house.write({"domains": {**stays["domains"], "shop.acme.com": {"dkim": {}}}})
    assert house.cli("apply", "state.yaml", "--auto-approve").code == 0
    house.document = {}
    house.write(stays)
    assert house.cli("apply", "state.yaml", "--auto-approve", "--allow-deletes", "9").code == 0
    theirs = "abcd._domainkey.shop.acme.com"
    house.change(theirs, "CNAME", "abcd.dkim.amazonses.com")
    plan = house.cli("plan", "state.yaml", "--format", "json").json
    assert not [d for d in plan["diagnostics"] if d["code"] == "left"]


# --- a zone that the search for tags leaves out --------------------------------------------------------------------


def test_a_zone_with_a_marker_gets_its_tag_back_before_it_is_forgotten(house: House) -> None:
    """A tool that manages all tags of the zone has taken it off."""
    route53 = client("route53")
    zone = house.seed_zone()
    house.seed_zone("other.com", {})
    house.kept = house.raw_foreign()
    parked = {"domains": {"parked.acme.com": {"identity": False, "null_mx": True}}}
    assert (
        "1 more zone not read: nothing declared or live is there, and no tag recon:acme" in house.plan(parked).scanned
    )
    house.settle()
    keys = {"ResourceType": "hostedzone", "ResourceId": zone.rpartition("/")[2]}
    route53.change_tags_for_resource(**keys, RemoveTagKeys=["recon:acme"])
    (change,) = house.plan().changes
    assert (change.action, change.before, change.after) == (
        "update", {"name": "_recon.acme.com", "type": "TXT", "zone_tag": None},
        {"name": "_recon.acme.com", "type": "TXT", "zone_tag": "recon:acme"},
    )  # fmt: skip
    house.sandbox.fault("denied", operation="ListTagsForResource")
    denied = house.plan()
    said = [(d.code, d.severity) for d in denied.diagnostics if d.code.startswith("zone")]
    assert (said, denied.changes) == ([("zone-tag", "warning")], ())
    house.sandbox.clear_faults()
    house.settle()
    assert [tag["Key"] for tag in route53.list_tags_for_resource(**keys)["ResourceTagSet"]["Tags"]] == ["recon:acme"]
    house.document = {}
    house.settle({})
    house.check_foreign(alone=True)


# --- a MAIL FROM name or a selector that SES never took ------------------------------------------------------------


def own_key(selector: str) -> Document:
    return {
        "signing_attributes_origin": "EXTERNAL", "domain_signing_selector": selector,
        "domain_signing_private_key": {"env": "ORPHAN_KEY"},
    }  # fmt: skip


def mail_from(name: str | None) -> Document:
    return domain(mail_from={"mail_from_domain": name} if name else None)


MOVES: dict[str, tuple[str, Document, Document, list[Document | None]]] = {
    "mail from": (
        "PutEmailIdentityMailFromAttributes", mail_from("one.acme.com"), mail_from("two.acme.com"),
        [mail_from("one.acme.com"), mail_from("three.acme.com"), mail_from(None), domain(), {}, None],
    ),
    "selector": (
        "PutEmailIdentityDkimSigningAttributes", domain(dkim=own_key("s1")), domain(dkim=own_key("s2")),
        [domain(dkim=own_key("s1")), domain(dkim=own_key("s3")), domain(), {}, None],
    ),
    "origin": (
        "PutEmailIdentityDkimSigningAttributes", domain(), domain(dkim=own_key("s2")),
        [domain(), domain(dkim=own_key("s3")), {}, None],
    ),
}  # fmt: skip
"""What moves -> the put that SES refuses; before, after, and what the YAML says next (None: it is destroyed)."""


def refuse(monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    """Have SES refuse an operation, as it does a key that it does not like."""
    call = Aws.call

    def refusing(self: Aws, service: str, named: str, *arguments: Any, **parameters: Any) -> dict[str, Any]:
        if named == operation:
            raise AwsError("no", service=service, operation=named, region=HOME, aws_code="BadRequestException")
        return call(self, service, named, *arguments, **parameters)

    monkeypatch.setattr(Aws, "call", refusing)


def names(house: House) -> set[str]:
    return {name for name, _ in house.zone() if name.startswith(("one.", "two.", "three.", "s1.", "s2.", "s3."))}


@pytest.mark.parametrize("what", MOVES)
def test_what_was_written_for_a_put_that_ses_refused_goes(
    house: House, what: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORPHAN_KEY", key)
    operation, before, after, following = MOVES[what]
    house.seed_zone()
    house.settle(before)
    with monkeypatch.context() as patch:
        refuse(patch, operation)
        house.apply(after, expect="partial")
    tried = "two.acme.com" if what == "mail from" else "s2._domainkey.acme.com"
    assert tried in names(house)
    kept = snapshot()
    for document in following:
        restore(kept)
        if document is not None:
            house.settle(document)
            assert tried not in names(house)
        house.destroy(expect=None)
        house.check_foreign(alone=True)


def test_the_records_of_tokens_that_ses_replaces_are_remembered(house: House) -> None:
    """SES may make new tokens with a new key length, and forgets the old ones: a run that is killed there leaves
    nothing behind."""
    for nth in itertools.count(1):
        house.begin().seed_zone()
        house.sandbox.settings(doubt_new_tokens_with_key_length=True)
        house.settle(domain())
        house.sandbox.advance(2 * 86400)
        house.write(domain(dkim={"next_signing_key_length": "RSA_1024_BIT"}))
        with killed_before(nth) as made:
            house.apply(expect=None)
        house.apply(expect=None)
        house.quiet()
        assert sum("_domainkey" in name for name, _ in house.zone()) == 3
        if len(made) < nth - 1:
            break
