"""Identities through their lives: origins of keys, MAIL FROM, regions, with and without identity, protection, tags."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import ACCOUNT, HOME, OTHER, House, client, lines, merge, words

from reconciler.errors import Refused
from reconciler.model import Change, Plan
from reconciler.renderers.headline import headline
from reconciler.sandbox.sesv2 import SesV2
from reconciler.secrets import DkimKey

IDENTITY = f"email_identity/{HOME}/acme.com"


def domain(**values: Any) -> dict[str, Any]:
    return {"domains": {"acme.com": {"dkim": {}, **values}}}


def of(plan: Plan, address: str) -> Change:
    found = [c for c in plan.changes if c.address == address]
    assert found, "\n".join(map(words, plan.changes))
    return found[0]


@pytest.fixture(scope="module")
def keys() -> list[str]:
    """Three RSA keys as PEM; made once, since that takes time."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    form = serialization.PrivateFormat
    return [
        rsa.generate_private_key(65537, 2048)
        .private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
        .decode()
        for kind in (form.TraditionalOpenSSL, form.PKCS8, form.PKCS8)
    ]


def byodkim(selector: str = "s1", **where: Any) -> dict[str, Any]:
    return {
        "signing_attributes_origin": "EXTERNAL",
        "domain_signing_selector": selector,
        "domain_signing_private_key": where or {"env": "DKIM_KEY"},
    }


def key_record(house: House, selector: str = "s1") -> list[str]:
    return house.dns(f"{selector}._domainkey.acme.com")


def verified(house: House, name: str = "acme.com", region: str = HOME) -> None:
    found = house.identity(name, region)
    assert found["VerificationStatus"] == "SUCCESS"
    assert found["DkimAttributes"]["Status"] == "SUCCESS"


def test_null_brings_back_what_aws_does_by_itself(
    house: House, keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    house.seed_zone()
    monkeypatch.setenv("DKIM_KEY", keys[0])
    house.settle(domain(dkim={**byodkim(), "signing_enabled": False}))
    defaults = {"defaults": {"domain": {"dkim": {**byodkim(), "signing_enabled": False}}}}
    house.settle({**defaults, **domain(dkim={"signing_attributes_origin": None})})
    assert house.identity()["DkimAttributes"]["SigningAttributesOrigin"] == "AWS_SES"
    assert house.identity()["DkimAttributes"]["SigningEnabled"] is False
    house.settle({**defaults, **domain(dkim=None)})
    assert house.identity()["DkimAttributes"]["SigningEnabled"] is True
    assert key_record(house) == []


# --- where keys come from ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["env", "file", "secretsmanager", "ssm"])
def test_byodkim_key_from_everywhere(
    house: House, keys: list[str], where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.seed_zone()
    pem = keys[0]
    reference: dict[str, str] = {}
    if where == "env":
        monkeypatch.setenv("DKIM_KEY", pem.replace("\n", "\\n"))
        reference = {"env": "DKIM_KEY"}
    elif where == "file":
        (tmp_path / "keys").mkdir()
        (tmp_path / "keys" / "acme.pem").write_text(pem)
        reference = {"file": "keys/acme.pem"}
    elif where == "secretsmanager":
        client("secretsmanager").create_secret(Name="dkim/acme", SecretString=pem)
        reference = {"secretsmanager": "dkim/acme"}
    else:
        client("ssm").put_parameter(Name="/dkim/acme", Value=pem, Type="SecureString")
        reference = {"ssm": "/dkim/acme"}
    plan = house.settle(domain(dkim=byodkim(**reference)))
    assert key_record(house) == [f"p={DkimKey(pem).public}"]
    verified(house)
    body = pem.split("\n")[-5]  # the first lines hold the modulus, which is public
    assert body not in repr([c.to_json() for c in plan.changes])
    for call in house.sandbox.calls():
        assert body not in repr(call)
    house.destroy()
    house.check_foreign(alone=True)


def test_byodkim_key_is_rotated_under_the_same_selector(
    house: House, keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    house.seed_zone()
    monkeypatch.setenv("DKIM_KEY", keys[0])
    house.settle(domain(dkim=byodkim()))
    monkeypatch.setenv("DKIM_KEY", keys[1])
    change = of(house.plan(), IDENTITY)
    assert set(lines(change)) == {"dkim.domain_signing_private_key"}
    assert lines(change)["dkim.domain_signing_private_key"] == (
        DkimKey(keys[0]).fingerprint,
        DkimKey(keys[1]).fingerprint,
    )
    house.settle()
    assert key_record(house) == [f"p={DkimKey(keys[1]).public}"]
    verified(house)


def test_byodkim_key_is_rotated_to_a_new_selector(
    house: House, keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    house.seed_zone()
    monkeypatch.setenv("DKIM_KEY", keys[0])
    monkeypatch.setenv("OTHER_KEY", keys[1])
    house.settle(domain(dkim=byodkim()))
    change = of(house.plan(domain(dkim=byodkim("s2", env="OTHER_KEY"))), IDENTITY)
    assert lines(change)["dkim.domain_signing_selector"] == ("s1", "s2")
    house.settle()
    assert key_record(house, "s2") == [f"p={DkimKey(keys[1]).public}"]
    assert key_record(house, "s1") == []
    assert ("_recon.acme.com", "TXT") not in house.zone()
    verified(house)
    house.destroy()
    house.check_foreign(alone=True)


def test_byodkim_selector_alone_is_renamed(house: House, keys: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    house.seed_zone()
    monkeypatch.setenv("DKIM_KEY", keys[0])
    house.settle(domain(dkim=byodkim()))
    assert lines(of(house.plan(domain(dkim=byodkim("s2"))), IDENTITY)) == {"dkim.domain_signing_selector": ("s1", "s2")}
    house.settle()
    assert (key_record(house, "s1"), len(key_record(house, "s2"))) == ([], 1)


def test_a_missing_byodkim_key_stops_only_its_identity(house: House) -> None:
    house.seed_zone()
    document = merge(domain(dkim=byodkim(env="NOWHERE")), {"configuration_sets": {"main": {}}})
    plan = house.plan(document)
    assert [c.address for c in plan.changes] == [f"configuration_set/{HOME}/main"]
    assert any("NOWHERE" in d.message for d in plan.diagnostics if d.code == "unread")
    assert house.cli("plan", "state.yaml").code == 1


def test_origins_are_switched_both_ways(house: House, keys: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    house.seed_zone()
    monkeypatch.setenv("DKIM_KEY", keys[0])
    house.settle(domain())
    easy = {n for n, t in house.zone() if "_domainkey" in n}
    assert len(easy) == 3
    plan = house.plan(domain(dkim=byodkim()))
    assert lines(of(plan, IDENTITY))["dkim.signing_attributes_origin"] == ("AWS_SES", "EXTERNAL")
    assert any(n.rule == "dkim-origin" for n in of(plan, IDENTITY).notes)
    house.settle()
    assert not easy & {n for n, _ in house.zone()}
    verified(house)
    house.settle(domain())
    house.settle(domain(dkim={"signing_attributes_origin": "AWS_SES"}))
    assert key_record(house) == []
    assert sum("_domainkey" in n for n, _ in house.zone()) == 3
    assert ("_recon.acme.com", "TXT") not in house.zone()
    verified(house)
    house.destroy()
    house.check_foreign(alone=True)


def test_a_key_of_ones_own_that_is_no_longer_written_stays_as_it_is(
    house: House, keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    house.seed_zone()
    monkeypatch.setenv("DKIM_KEY", keys[0])
    house.settle(domain(dkim=byodkim()))
    there = key_record(house)
    for less in (domain(), {"domains": {"acme.com": {}}}):
        house.write(less)
        house.quiet()
        assert house.plan(refresh="bulk").changes == ()
    assert key_record(house) == there
    verified(house)
    house.settle(domain(dkim=byodkim("s2")))
    assert key_record(house) == []
    house.settle({})
    house.check_foreign(alone=True)


def test_a_bulk_read_looks_whole_at_keys_that_are_not_as_declared(
    house: House, keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No bulk call tells the origin of a key, and which records belong to it hangs on that."""
    house.seed_zone()
    monkeypatch.setenv("DKIM_KEY", keys[0])
    house.settle(domain(dkim={"signing_attributes_origin": "AWS_SES"}))
    (change,) = [c for c in house.plan(domain(dkim=byodkim()), refresh="bulk").changes if c.kind == "email_identity"]
    assert lines(change)["dkim.signing_attributes_origin"] == ("AWS_SES", "EXTERNAL")
    house.settle()
    (change,) = [c for c in house.plan({}, refresh="bulk").changes if c.kind == "dns_record" and ":" not in c.address]
    assert (change.action, change.address) == ("delete", "dns_record/acme.com/s1._domainkey.acme.com/TXT")


def test_the_key_length_is_said_when_easy_dkim_takes_the_place_of_an_own_key(
    house: House, keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    house.seed_zone()
    monkeypatch.setenv("DKIM_KEY", keys[0])
    house.settle(domain(dkim=byodkim()))
    easy = {"signing_attributes_origin": "AWS_SES", "next_signing_key_length": "RSA_1024_BIT"}
    live = {"SigningAttributesOrigin": "EXTERNAL", "NextSigningKeyLength": "RSA_1024_BIT", "Tokens": ["s1"]}
    attributes = {"SigningEnabled": True, "Status": "SUCCESS", **live}
    real = SesV2.get_email_identity

    def told(self: Any, call: Any, params: Any) -> Any:
        found = real(self, call, params)
        external = found["DkimAttributes"]["SigningAttributesOrigin"] == "EXTERNAL"
        return {**found, "DkimAttributes": attributes} if external else found

    with monkeypatch.context() as patch:  # whether SES tells a length with a key that is not its own is not written
        patch.setattr(SesV2, "get_email_identity", told)
        house.settle(domain(dkim=easy))
    assert house.identity()["DkimAttributes"]["NextSigningKeyLength"] == "RSA_1024_BIT"


def test_a_refused_change_of_origin_is_not_taken_for_done(
    house: House, keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    house.seed_zone()
    monkeypatch.setenv("DKIM_KEY", keys[0])
    house.settle(domain(dkim=byodkim()))
    live = {"SigningAttributesOrigin": "EXTERNAL", "NextSigningKeyLength": "RSA_2048_BIT", "Tokens": ["s1"]}
    real = SesV2.get_email_identity
    monkeypatch.setattr(
        SesV2,
        "get_email_identity",
        lambda self, call, params: {**real(self, call, params), "DkimAttributes": {"SigningEnabled": True, **live}},
    )
    house.sandbox.fault("error", service="sesv2", operation="PutEmailIdentityDkimSigningAttributes",
                        code="BadRequestException", status=400)  # fmt: skip
    easy = {"signing_attributes_origin": "AWS_SES", "next_signing_key_length": "RSA_2048_BIT"}
    result = house.apply(domain(dkim=easy), expect=None)
    assert result.outcome in {"partial", "error"}
    assert [a.status for a in result.applied if a.address == IDENTITY] == ["failed"]


REPLICA = {"by_region": {OTHER: {"dkim": {"signing_attributes_origin": "AWS_SES_US_EAST_1"}}}, "regions": [HOME, OTHER]}


def test_deterministic_easy_dkim_signs_with_the_parents_records(house: House) -> None:
    house.seed_zone()
    house.settle(domain(**REPLICA))
    assert sum("_domainkey" in n for n, _ in house.zone()) == 3
    verified(house, region=OTHER)
    assert house.identity(region=OTHER)["DkimAttributes"]["SigningAttributesOrigin"] == "AWS_SES_US_EAST_1"
    house.destroy()
    house.check_foreign(alone=True)


def test_a_replica_becomes_an_identity_of_its_own_and_back(house: House) -> None:
    house.seed_zone()
    house.settle(domain(regions=[HOME, OTHER]))
    assert sum("_domainkey" in n for n, _ in house.zone()) == 6
    house.settle(domain(**REPLICA))
    assert sum("_domainkey" in n for n, _ in house.zone()) == 3
    verified(house, region=OTHER)
    own = {"by_region": {OTHER: {"dkim": {"signing_attributes_origin": "AWS_SES"}}}, "regions": [HOME, OTHER]}
    house.settle(domain(**own))
    assert sum("_domainkey" in n for n, _ in house.zone()) == 6
    verified(house, region=OTHER)
    house.destroy()
    house.check_foreign(alone=True)


def test_the_parent_of_a_replica_may_go_last_only(house: House) -> None:
    house.seed_zone()
    house.settle(domain(**REPLICA))
    house.clear()
    house.destroy()
    deleted = [c["region"] for c in house.sandbox.calls(operation="DeleteEmailIdentity")]
    assert deleted == [OTHER, HOME]


def test_a_replica_stays_while_tokens_are_the_parents(house: House) -> None:
    """Taking the replica's region out must not take the records that the parent signs with."""
    house.seed_zone()
    house.settle(domain(**REPLICA))
    house.settle(domain())
    assert sum("_domainkey" in n for n, _ in house.zone()) == 3
    verified(house)


def test_new_tokens_with_a_new_key_length_get_their_records(house: House) -> None:
    house.sandbox.settings(doubt_new_tokens_with_key_length=True)
    house.seed_zone()
    house.settle(domain())
    old = {n for n, t in house.zone() if "_domainkey" in n}
    house.sandbox.advance(2 * 86400)
    house.settle(domain(dkim={"next_signing_key_length": "RSA_1024_BIT"}))
    new = {n for n, t in house.zone() if "_domainkey" in n}
    assert len(new) == 3
    assert not new & old
    house.destroy()
    house.check_foreign(alone=True)


def test_without_a_signing_hosted_zone_the_regions_own_is_used(house: House) -> None:
    house.sandbox.settings(doubt_signing_hosted_zone_absent=True)
    house.seed_zone()
    house.settle(domain(regions=[HOME, "af-south-1"]))
    targets = {v[0].rstrip(".").split(".", 1)[1] for (n, t), v in house.zone().items() if "_domainkey" in n}
    assert targets == {"dkim.amazonses.com", "dkim.af-south-1.amazonses.com"}


# --- MAIL FROM -----------------------------------------------------------------------------------------------------


def test_mail_from_moves_to_another_name_and_leaves_nothing_behind(house: House) -> None:
    house.seed_zone()
    house.settle(domain(mail_from={"mail_from_domain": "one.acme.com"}))
    change = of(house.plan(domain(mail_from={"mail_from_domain": "two.acme.com"})), IDENTITY)
    assert lines(change) == {"mail_from.mail_from_domain": ("one.acme.com", "two.acme.com")}
    house.settle()
    zone = house.zone()
    assert ("one.acme.com", "MX") not in zone
    assert ("one.acme.com", "TXT") not in zone
    assert zone["two.acme.com", "TXT"] == ['"v=spf1 include:amazonses.com ~all"']
    assert ("_recon.acme.com", "TXT") not in zone
    assert house.identity()["MailFromAttributes"]["MailFromDomainStatus"] == "SUCCESS"


def test_an_identity_that_takes_over_a_mail_from_name_of_ours_remembers_it(house: House) -> None:
    house.seed_zone()
    named = {"dkim": {}, "mail_from": {"mail_from_domain": "bounce.shop.acme.com"}}
    house.settle({"domains": {"acme.com": named, "shop.acme.com": {"dkim": {}}}})
    house.settle({"domains": {"acme.com": {"dkim": {}, "mail_from": None}, "shop.acme.com": named}})
    assert ("bounce.shop.acme.com", "MX") in house.zone()
    house.settle({"domains": {"acme.com": {"dkim": {}}, "shop.acme.com": {"dkim": {}, "mail_from": None}}})
    assert ("bounce.shop.acme.com", "MX") not in house.zone()
    house.destroy()
    house.check_foreign(alone=True)


def test_mail_from_null_and_taken_out_both_switch_it_off(house: House) -> None:
    house.seed_zone()
    for off in (domain(mail_from=None), domain()):
        house.settle(domain(mail_from={"mail_from_domain": "one.acme.com"}))
        house.settle(off)
        assert not house.identity()["MailFromAttributes"].get("MailFromDomain")
        assert ("one.acme.com", "MX") not in house.zone()
        assert ("one.acme.com", "TXT") not in house.zone()
    house.destroy()
    house.check_foreign(alone=True)


def test_the_spf_of_a_mail_from_name_keeps_what_others_put_there(house: House) -> None:
    house.seed_zone()
    house.change("one.acme.com", "TXT", '"v=spf1 include:crm.example -all"', '"other"', ttl=60)
    house.settle(domain(mail_from={"mail_from_domain": "one.acme.com"}))
    assert "v=spf1 include:crm.example include:amazonses.com ~all" in house.dns("one.acme.com")
    house.settle(domain())
    assert house.dns("one.acme.com")[0] == "other"
    assert "include:amazonses.com" not in house.dns("one.acme.com")[1]
    assert "include:crm.example" in house.dns("one.acme.com")[1]


def test_a_mail_from_that_others_set_is_not_taken_down_when_never_declared(house: House) -> None:
    house.seed_zone()
    house.settle(domain())
    client("sesv2").put_email_identity_mail_from_attributes(EmailIdentity="acme.com", MailFromDomain="hand.acme.com")
    house.quiet()
    assert house.identity()["MailFromAttributes"]["MailFromDomain"] == "hand.acme.com"


# --- with and without an identity ----------------------------------------------------------------------------------

PARKED = {
    "domains": {"acme.com": {"identity": False, "dmarc": {"p": "reject"}, "spf": {"all": "-all"}, "null_mx": True}}
}


def test_a_parked_domain_is_made_changed_and_taken_out(house: House) -> None:
    house.seed_zone(foreign={("acme.com", "TXT"): ["keep"]})
    house.settle(PARKED)
    assert house.dns("acme.com") == ["keep", "v=spf1 -all"]
    assert house.zone()["acme.com", "MX"] == ["0 ."]
    house.settle(merge(PARKED, {"domains": {"acme.com": {"dmarc": {"p": "quarantine"}}}}))
    assert house.dns("_dmarc.acme.com") == ["v=DMARC1; p=quarantine"]
    house.settle({"domains": {"acme.com": {"identity": False, "dmarc": {"p": "reject"}}}})
    assert house.dns("acme.com") == ["keep"]
    assert ("acme.com", "MX") not in house.zone()
    house.settle({})
    house.check_foreign(alone=True)


def test_identity_goes_and_comes_back_while_its_records_stay(house: House) -> None:
    house.seed_zone(foreign={("acme.com", "TXT"): ["keep"]})
    full = domain(
        dmarc={"p": "reject"}, spf={"all": "-all"}, null_mx=True, mail_from={"mail_from_domain": "b.acme.com"}
    )
    house.settle(full)
    house.settle(PARKED)
    zone = house.zone()
    assert not [n for n, _ in zone if "_domainkey" in n or n == "b.acme.com"]
    assert house.dns("_dmarc.acme.com") == ["v=DMARC1; p=reject"]
    assert house.zone()["acme.com", "MX"] == ["0 ."]
    house.settle(full)
    verified(house)
    house.settle(PARKED)
    house.settle({})
    house.check_foreign(alone=True)


def test_a_domain_taken_out_goes_with_everything_of_its_own(house: House) -> None:
    house.seed_zone()
    house.settle(
        domain(
            dmarc={"p": "none"},
            spf={"include": "a.example"},
            bimi={"l": "https://acme.com/l.svg"},
            mail_from={"mail_from_domain": "b.acme.com"},
        )
    )
    plan = house.plan({"configuration_sets": {"main": {}}})
    gone = of(plan, IDENTITY)
    assert gone.action == "delete"
    assert gone.counts
    house.settle()
    house.check_foreign(alone=True)


def test_regions_are_added_and_taken_out(house: House) -> None:
    house.seed_zone()
    records = {"dmarc": {"p": "none"}}
    house.settle(domain(**records))
    house.settle(domain(regions=[HOME, OTHER], **records))
    verified(house, region=OTHER)
    house.settle(domain(regions=[OTHER], **records))
    assert house.dns("_dmarc.acme.com") == ["v=DMARC1; p=none", "vendor-token=zzz"]
    verified(house, region=OTHER)
    with pytest.raises(client("sesv2").exceptions.NotFoundException):
        house.identity()
    house.settle(domain(regions=[OTHER]))
    assert house.dns("_dmarc.acme.com") == ["vendor-token=zzz"]
    house.destroy()
    house.check_foreign(alone=True)


def test_unmanaged_opts_out_of_what_defaults_ask_for(house: House) -> None:
    house.seed_zone()
    base = {
        "defaults": {"domain": {"dmarc": {"p": "none"}, "configuration_set_name": "main"}},
        "configuration_sets": {"main": {}},
    }
    house.settle(merge(base, domain(unmanaged=["dmarc", "configuration_set_name", "dkim"])))
    assert house.dns("_dmarc.acme.com") == ["vendor-token=zzz"]
    assert not house.identity().get("ConfigurationSetName")
    assert not [n for n, _ in house.zone() if "_domainkey" in n]


def test_unmanaged_lets_go_of_what_was_put_there(house: House) -> None:
    """Records, MAIL FROM, policies, destinations and tags stay as they are; nobody takes them for ours afterwards."""
    house.seed_zone(foreign={})
    statement = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "ses:SendEmail", "Resource": "*",
                 "Condition": {"StringEquals": {"ses:FromAddress": "a@acme.com"}}}  # fmt: skip
    arn = f"arn:aws:events:{HOME}:{ACCOUNT}:event-bus/default"
    bus = {"enabled": True, "matching_event_types": ["BOUNCE"], "event_bridge_destination": {"event_bus_arn": arn}}
    supplied = {
        "defaults": {
            "domain": {
                "dkim": {}, "dmarc": {"p": "reject"}, "bimi": {"l": "https://acme.com/l.svg"},
                "spf": {"include": "a.example"},
                "mail_from": {"mail_from_domain": "bounce.${domain}"}, "tags": {"team": "mail"},
                "policies": {"partner": {"Version": "2012-10-17", "Statement": [statement]}},
            },
            "configuration_set": {"event_destinations": {"bus": bus}},
        },
    }  # fmt: skip
    parked = {"p.acme.com": {"identity": False}}
    house.settle(merge(supplied, {"domains": {"acme.com": {}, **parked}, "configuration_sets": {"main": {}}}))
    before = house.zone()
    assert house.identity()["MailFromAttributes"]["MailFromDomain"] == "bounce.acme.com"
    keys = ["dmarc", "bimi", "spf", "mail_from", "policies", "tags"]
    let_go = merge(
        supplied,
        {
            "domains": {
                "acme.com": {"unmanaged": keys},
                "p.acme.com": {"identity": False, "unmanaged": ["dmarc", "bimi", "spf"]},
            },
            "configuration_sets": {"main": {"unmanaged": ["event_destinations.bus"]}},
        },
    )
    plan = house.plan(let_go)
    assert not [words(c) for c in plan.changes if c.action == "delete" and "_recon" not in c.address]
    house.settle(let_go)
    markers = {("_recon.acme.com", "TXT"), ("_recon.p.acme.com", "TXT")}
    assert {k: v for k, v in house.zone().items() if k not in markers} == {
        k: v for k, v in before.items() if k not in markers
    }
    live = house.identity()
    assert live["MailFromAttributes"]["MailFromDomain"] == "bounce.acme.com"
    assert live["Policies"].keys() == {"partner"}
    tags = {t["Key"]: t["Value"] for t in live["Tags"]}
    assert tags["team"] == "mail"
    assert "recon:mail_from" not in tags and "dmarc" not in tags["recon:records"]
    # Taken out of the YAML altogether afterwards: not ours, so nothing goes.
    without = {"domains": {"acme.com": {"dkim": {}}, **parked}, "configuration_sets": {"main": {}}}
    assert not [words(c) for c in house.plan(without).changes]


# --- protection, tags, addresses -----------------------------------------------------------------------------------


def test_protection_is_lifted_by_an_apply_of_its_own(house: House) -> None:
    house.seed_zone()
    house.settle(domain(protect=True))
    plan = house.plan({})
    assert plan.outcome == "refused"
    assert {c.refused.code if c.refused else "" for c in plan.changes if c.action == "delete"} == {"protect"}
    with pytest.raises(Refused):
        house.destroy()
    verified(house)
    house.settle(domain(protect=False))
    house.settle({})
    house.check_foreign(alone=True)


def test_protect_taken_out_with_the_entry_still_holds(house: House) -> None:
    house.seed_zone()
    house.settle(domain(protect=True))
    house.settle(domain())
    assert house.plan({}).outcome in {"changes", "refused"}


def test_foreign_and_aws_tags_cause_no_difference_and_stay(house: House) -> None:
    house.seed_zone()
    house.settle(domain(tags={"team": "mail"}))
    arn = f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/acme.com"
    client("sesv2").tag_resource(ResourceArn=arn, Tags=[{"Key": "billing", "Value": "42"}])
    house.quiet()
    house.settle(domain(tags={"team": "other"}))
    house.settle(domain())
    tags = {t["Key"]: t["Value"] for t in house.identity()["Tags"]}
    assert tags["billing"] == "42"
    assert "team" not in tags


def test_a_tag_of_ours_that_others_changed_is_drift(house: House) -> None:
    house.seed_zone()
    house.settle(domain(tags={"team": "mail"}))
    arn = f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/acme.com"
    client("sesv2").tag_resource(ResourceArn=arn, Tags=[{"Key": "team", "Value": "else"}])
    assert lines(of(house.plan(), IDENTITY)) == {"tags.team": ("else", "mail")}
    house.settle()


def test_stack_tags_are_on_every_taggable_resource(house: House) -> None:
    house.seed_zone()
    document = merge(
        domain(),
        {"configuration_sets": {"main": {}}, "dedicated_ip_pools": {"tx": {}}, "email_addresses": {"ceo@acme.com": {}}},
    )
    document["smtp_users"] = {
        "news": {"from_addresses": ["*@acme.com"], "credentials": {"secretsmanager": {"name": "recon/news"}}}
    }
    house.settle(merge(document, {"stack": {"tags": {"team": "mail"}}}))
    tagging = client("resourcegroupstaggingapi")
    found = tagging.get_resources(TagFilters=[{"Key": "team", "Values": ["mail"]}])["ResourceTagMappingList"]
    assert len({f["ResourceARN"] for f in found if ":ses:" in f["ResourceARN"]}) == 4
    assert {"Key": "team", "Value": "mail"} in client("iam").list_user_tags(UserName="news")["Tags"]
    house.settle(document)
    found = tagging.get_resources(TagFilters=[{"Key": "team"}])["ResourceTagMappingList"]
    assert not found


def test_addresses_keep_the_case_of_their_local_part(house: House) -> None:
    document = {
        "email_addresses": {"CEO@acme.com": {"email_forwarding_enabled": False}},
        "configuration_sets": {"main": {}},
    }
    house.settle(document)
    house.settle(
        merge(document, {"email_addresses": {"CEO@acme.com": {"configuration_set_name": "main", "tags": {"a": "b"}}}})
    )
    assert client("sesv2").get_email_identity(EmailIdentity="CEO@acme.com")["ConfigurationSetName"] == "main"
    house.settle(merge(document, {"email_addresses": {"CEO@acme.com": {"configuration_set_name": None}}}))
    house.settle({})
    assert client("sesv2").list_email_identities()["EmailIdentities"] == []


def test_policies_in_other_clothes_are_no_change(house: House) -> None:
    house.seed_zone()
    arn = f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/acme.com"
    policy = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"AWS": "222233334444"},
            "Action": ["ses:SendEmail", "ses:SendRawEmail"],
            "Resource": arn,
            "Condition": {"StringLike": {"ses:FromAddress": "*@acme.com"}},
        },
    }
    done = house.settle(domain(policies={"partner": policy}))
    shown = of(done, IDENTITY).after
    assert shown is not None
    assert shown["policies"]["partner"]["Statement"][0]["Action"] == ["ses:SendEmail", "ses:SendRawEmail"]
    rewritten = (
        '{ "Version": "2012-10-17", "Statement": [ {"Action": ["SES:sendRawEmail", "ses:SendEmail"], "Effect": "Allow",'
        f' "Resource": ["{arn}"], "Principal": {{"AWS": ["arn:aws:iam::222233334444:root"]}},'
        ' "Condition": {"StringLike": {"ses:FromAddress": ["*@acme.com"]}} } ] }'
    )
    client("sesv2").update_email_identity_policy(EmailIdentity="acme.com", PolicyName="partner", Policy=rewritten)
    house.quiet()
    client("sesv2").update_email_identity_policy(
        EmailIdentity="acme.com", PolicyName="partner", Policy=rewritten.replace("*@acme.com", "*")
    )
    assert set(lines(of(house.plan(), IDENTITY))) == {"policies.partner"}
    house.settle()


def test_what_a_bulk_read_would_change_is_read_whole_and_applied(house: House) -> None:
    """No bulk call tells all of an identity: what would change is asked for, so that the plan is exact and apply finds
    what was planned."""
    house.seed_zone()
    written = {"tags": {"a": "b"}, "policies": {}, "configuration_set_name": None}
    document = {"domains": {n: {"dkim": {}, **written} for n in ("acme.com", "shop.acme.com")}}
    house.settle(document)
    client("sesv2").put_email_identity_mail_from_attributes(EmailIdentity="acme.com", MailFromDomain="m.acme.com")
    client("sesv2").put_email_identity_configuration_set_attributes(EmailIdentity="shop.acme.com")
    changed = merge(document, {"domains": {"acme.com": {"mail_from": None, "tags": {"a": "c"}}}})
    house.clear()
    plan = house.plan(changed, refresh="bulk")
    assert [c.address for c in plan.changes] == [IDENTITY]
    assert set(lines(plan.changes[0])) == {"tags.a", "mail_from.mail_from_domain", "mail_from.behavior_on_mx_failure"}
    assert house.calls().count("sesv2:GetEmailIdentity") == 1
    ran = house.cli("plan", "state.yaml", "--refresh", "bulk", "--out", "plan.json")
    assert ran.code == 0, ran
    assert house.cli("apply", "plan.json").code == 0
    house.apply(merge(changed, {"domains": {"acme.com": {"tags": {"a": "d"}}}}), refresh="bulk")
    house.quiet()


@pytest.mark.parametrize("origin", ["EXTERNAL", "AWS_SES_US_EAST_1"])
def test_a_key_length_alone_is_refused_where_the_key_is_not_ses_own(
    house: House, keys: list[str], monkeypatch: pytest.MonkeyPatch, origin: str
) -> None:
    house.seed_zone()
    monkeypatch.setenv("DKIM_KEY", keys[0])
    document = domain(dkim=byodkim()) if origin == "EXTERNAL" else domain(**REPLICA)
    house.settle(document)
    alone = {"dkim": {"next_signing_key_length": "RSA_2048_BIT"}}
    plan = house.plan(domain(**alone, regions=[HOME] if origin == "EXTERNAL" else [HOME, OTHER]))
    assert plan.outcome == "refused"
    (found,) = [d for d in plan.diagnostics if d.code == "dkim-length-of-another-key"]
    assert origin in found.message
    assert found.line


def test_a_bulk_read_forgets_no_policy_of_ours(house: House) -> None:
    house.seed_zone()
    arn = f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/acme.com"
    statement = {"Effect": "Allow", "Principal": {"AWS": "222233334444"}, "Action": "ses:SendEmail", "Resource": arn}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    house.settle(domain(policies={"partner": policy}))
    assert house.plan(refresh="bulk").changes == ()
    client("sesv2").untag_resource(ResourceArn=arn, TagKeys=["recon:policies"])
    assert [c.claims for c in house.plan(refresh="bulk").changes] == [True]
    house.settle()
    house.apply(domain(), refresh="bulk")
    assert house.identity()["Policies"] == {}
    house.quiet()


def test_policies_of_others_stay(house: House) -> None:
    house.seed_zone()
    arn = f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/acme.com"
    statement = {"Effect": "Allow", "Principal": {"AWS": "222233334444"}, "Action": "ses:SendEmail", "Resource": arn}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    house.settle(domain())
    client("sesv2").create_email_identity_policy(EmailIdentity="acme.com", PolicyName="hand", Policy=json.dumps(policy))
    house.settle(domain(policies={"partner": policy}))
    house.settle(domain())
    assert set(house.identity()["Policies"]) == {"hand"}


def test_policies_change_places_where_ses_takes_no_more(house: House) -> None:
    """20 an identity: what comes stands before what goes, but for the last place."""
    house.seed_zone()
    arn = f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/acme.com"
    statement = {"Effect": "Allow", "Principal": {"AWS": "222233334444"}, "Action": "ses:SendEmail", "Resource": arn}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    house.settle(domain(policies={f"p{n}": policy for n in range(20)}))
    house.settle(domain(policies={f"p{n}": policy for n in range(2, 22)}))
    assert set(house.identity()["Policies"]) == {f"p{n}" for n in range(2, 22)}


def test_idn_domains_are_sent_in_punycode(house: House) -> None:
    house.seed_zone("xn--bcher-kva.example", {})
    house.settle({"domains": {"bücher.example": {"dkim": {}, "dmarc": {"p": "none"}}}})
    verified(house, "xn--bcher-kva.example")
    house.write({"domains": {"XN--BCHER-KVA.example.": {"dkim": {}, "dmarc": {"p": "none"}}}})
    house.quiet()


def test_tags_of_aws_are_no_ones_business(house: House) -> None:
    house.seed_zone()
    house.sandbox.seed(
        identities=[{"names": ["acme.com"], "tags": {"aws:servicecatalog:portfolio": "x"}, "publish": True}]
    )
    assert of(house.plan(domain()), IDENTITY).action == "adopt"
    house.settle()
    tags = {t["Key"] for t in house.identity()["Tags"]}
    assert tags == {"aws:servicecatalog:portfolio", "recon:stack", "recon:records"}


def test_an_address_that_differs_from_a_live_one_in_the_case_of_its_domain_is_told(house: House) -> None:
    """SES has two then ("Creating and verifying identities"); another local part is another mailbox to everybody."""
    for name in ("ceo@ACME.com", "CEO@acme.com"):
        client("sesv2").create_email_identity(EmailIdentity=name)
    house.write({"email_addresses": {"ceo@Acme.com": {}, "hr@acme.com": {}}})
    ran = house.cli("plan", "state.yaml", "--format", "json")
    assert ran.code == 0
    notes = {c["address"]: c["notes"] for c in ran.json["changes"]}
    assert {n["rule"] for n in notes[f"email_identity/{HOME}/hr@acme.com"]} == {"address-mail"}
    told = next(n for n in notes[f"email_identity/{HOME}/ceo@acme.com"] if n["rule"] != "address-mail")
    assert (told["rule"], told["severity"]) == ("address-twin", "warning")
    assert "SES already has ceo@ACME.com" in told["message"]
    house.settle()
    assert house.calls().count("sesv2:ListEmailIdentities") == 0  # nothing is new any more
    found = client("sesv2").list_email_identities()["EmailIdentities"]
    assert {"ceo@ACME.com", "CEO@acme.com", "ceo@acme.com"} <= {i["IdentityName"] for i in found}


def test_what_an_identity_that_goes_has_sent_is_asked_for_where_aws_can_tell(house: House) -> None:
    """Only the metrics of the Virtual Deliverability Manager have an identity for a dimension."""
    house.seed_zone()
    names = [f"d{number}.acme.com" for number in range(11)]
    house.settle(
        {"domains": {"acme.com": {}, **{name: {} for name in names}, "d3.acme.com": {"regions": [HOME, OTHER]}}}
    )
    house.sandbox.seed(
        accounts=[
            {"region": region, "quota": {"SentLast24Hours": 9.0}, "sent_by": {"d3.acme.com": 7}}
            for region in (HOME, OTHER)
        ]
    )
    client("sesv2").put_account_vdm_attributes(VdmAttributes={"VdmEnabled": "ENABLED"})
    house.clear()
    house.plan()
    house.write({"domains": {"d0.acme.com": {}}})
    assert "sesv2:BatchGetMetricData" not in house.calls()
    ran = house.cli("apply", "state.yaml", "--auto-approve", "--allow-deletes", "99")
    assert ran.code == 3
    assert f"email_identity/{HOME}/d3.acme.com" in ran.err
    assert "it sent 7 messages in the last day" in ran.err
    assert ran.err.count("[identity-deleted]") == 1
    assert house.calls().count("sesv2:BatchGetMetricData") == 2  # ten a call, and only where it is enabled
    house.sandbox.fault("denied", operation="BatchGetMetricData", count=2)
    ran = house.cli("plan", "state.yaml", "--format", "json")
    assert ran.code == 0
    notes = [n for c in ran.json["changes"] for n in c["notes"] if n["rule"] == "identity-deleted"]
    assert {n["severity"] for n in notes} == {"warning"}
    assert all("SES has no number for each identity" in n["message"] for n in notes)


# --- tokens that SES has replaced ----------------------------------------------------------------------------------


def made_anew_by_recon(house: House) -> None:
    client("sesv2").delete_email_identity(EmailIdentity="acme.com")


def made_anew_by_hand(house: House) -> None:
    client("sesv2").delete_email_identity(EmailIdentity="acme.com")
    client("sesv2").create_email_identity(EmailIdentity="acme.com")


def nothing_happens(house: House) -> None:
    pass


@pytest.mark.parametrize(
    ("deed", "named"), [(made_anew_by_recon, 3), (made_anew_by_hand, 3), (nothing_happens, 0)]
)  # fmt: skip
def test_records_of_replaced_tokens_are_named(house: House, deed: Callable[[House], None], named: int) -> None:
    """SES gives new tokens; nothing says whose the old records are, so they stay, and each plan names them."""
    house.seed_zone()
    house.settle(domain())
    old = {name for name, kind in house.zone() if "_domainkey" in name}
    deed(house)
    for _ in range(2):
        said = {d.address for d in house.plan().diagnostics if d.code == "dkim-stale"}
        assert len(said) == named
        assert {address.split("/")[2] for address in said} <= old
        house.settle()
    assert old <= {name for name, _ in house.zone()}
    waiver = {"rule": "dkim-stale", "address": "dns_record/acme.com/*", "reason": "theirs", "until": "2099-01-01"}
    house.settle({**domain(), "waivers": [waiver]})
    assert "dkim-stale" not in {d.code for d in house.plan().diagnostics}


def test_below_an_identity_that_stays_mail_goes_on(house: House) -> None:
    house.seed_zone()
    house.settle({"domains": {"acme.com": {}, "shop.acme.com": {}, "acme.net": {"zone": "manual"}}})
    plan = house.plan({"domains": {"acme.com": {}}})
    said = {
        change.address.rpartition("/")[2]: (note.severity, note.message)
        for change in plan.changes for note in change.notes if note.rule.startswith("identity-")
    }  # fmt: skip
    assert said["shop.acme.com"][0] == "note"
    assert "goes on under the identity acme.com" in said["shop.acme.com"][1]
    assert "SES rejects mail" in said["acme.net"][1]
    assert headline(plan).startswith(
        "1 domain sends under the identity of its parent domain, 1 domain stops sending in us-east-1"
    )
