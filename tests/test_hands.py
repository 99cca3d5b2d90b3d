"""A stack that is renamed, split, merged or given environments, and entries that are let go."""

from __future__ import annotations

from typing import Any

import pytest
from support import HOME, House, client, killed_before

from reconciler.errors import Refused

DOMAIN = "acme.com"
STORE = {"secretsmanager": {"name": "recon/app"}}
WORLD: dict[str, Any] = {
    "domains": {
        DOMAIN: {
            "dkim": {}, "mail_from": {"mail_from_domain": f"bounce.{DOMAIN}"}, "dmarc": {"p": "none"},
            "spf": {"include": ["_spf.crm.example"]}, "configuration_set_name": "main", "tags": {"team": "mail"},
            "policies": {"partner": {"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::999988887777:root"},
                "Action": ["ses:SendEmail"], "Resource": f"arn:aws:ses:{HOME}:111122223333:identity/{DOMAIN}"}]}},
        },
        "parked.acme.com": {"identity": False, "dmarc": {"p": "reject"}, "null_mx": True, "spf": {"all": "-all"}},
    },
    "configuration_sets": {
        "main": {
            "reputation_options": {"reputation_metrics_enabled": True},
            "event_destinations": {
                "bus": {"enabled": True, "matching_event_types": ["BOUNCE"], "event_bridge_destination": {
                    "event_bus_arn": f"arn:aws:events:{HOME}:111122223333:event-bus/default"}},
            },
        },
    },
    "smtp_users": {"app": {"from_addresses": [f"*@{DOMAIN}"], "credentials": STORE}},
}  # fmt: skip


def owners() -> dict[str, str | None]:
    """Who owns what, by the tags and markers that are live."""
    ses, found = client("sesv2"), {}

    def of(tags: list[dict[str, str]]) -> str | None:
        return next((t["Value"] for t in tags if t["Key"] == "recon:stack"), None)

    for one in ses.list_email_identities()["EmailIdentities"]:
        name = one["IdentityName"]
        found[name] = of(ses.get_email_identity(EmailIdentity=name)["Tags"])
    for name in ses.list_configuration_sets()["ConfigurationSets"]:
        found[f"set {name}"] = of(ses.get_configuration_set(ConfigurationSetName=name)["Tags"])
    for user in client("iam").list_users()["Users"]:
        found[f"user {user['UserName']}"] = of(client("iam").list_user_tags(UserName=user["UserName"])["Tags"])
    for secret in client("secretsmanager").list_secrets()["SecretList"]:
        found[f"secret {secret['Name']}"] = of(secret.get("Tags", []))
    return found


@pytest.fixture
def applied(house: House) -> House:
    def make() -> None:
        house.seed_zone()
        house.apply(WORLD, wait_for_ses=True)

    house.once("hands", make)
    return house


def of_new(world: dict[str, Any] = WORLD, *formerly: str, name: str = "new") -> dict[str, Any]:
    """``world`` as the stack ``name``, which takes over from ``formerly``."""
    return {**world, "stack": {"name": name, "formerly": list(formerly)}}


def markers(house: House) -> set[str]:
    """The stacks that markers and the tags of the zone name."""
    texts = [v for (name, _), values in house.zone().items() if name.startswith("_recon.") for v in values]
    zones = client("route53").list_hosted_zones()["HostedZones"]
    tags = [
        tag["Key"].removeprefix("recon:")
        for zone in zones
        for tag in client("route53").list_tags_for_resource(
            ResourceType="hostedzone", ResourceId=zone["Id"].rpartition("/")[2]
        )["ResourceTagSet"]["Tags"]
    ]  # fmt: skip
    return {text.split("stack=")[1].split(";")[0] for text in texts} | set(tags)


def mail(house: House) -> dict[tuple[str, str], list[str]]:
    """The zone without markers: what mail depends on."""
    return {key: values for key, values in house.zone().items() if not key[0].startswith("_recon.")}


def test_a_stack_is_renamed_and_rolled_back(applied: House) -> None:
    before, key = mail(applied), client("iam").list_access_keys(UserName="app")["AccessKeyMetadata"]
    ran = applied.plan(of_new(WORLD, "acme"))
    assert {c.action for c in ran.changes} == {"adopt"}
    with pytest.raises(Refused, match="would be adopted"):
        applied.apply(allow_adopt=False)
    assert set(owners().values()) == {"acme"}, "nothing is taken over without consent"
    applied.settle()
    assert set(owners().values()) == {"new"}
    assert markers(applied) == {"new"}
    assert mail(applied) == before
    assert client("iam").list_access_keys(UserName="app")["AccessKeyMetadata"] == key
    assert applied.plan(WORLD).outcome == "refused", "the old YAML takes nothing back by itself"
    applied.settle(of_new(WORLD, "new", name="acme"))
    assert (set(owners().values()), markers(applied), mail(applied)) == ({"acme"}, {"acme"}, before)
    applied.settle(WORLD)


def test_killed_anywhere_while_it_is_renamed(applied: House) -> None:
    """Killed before each write in turn; the new YAML finishes, or the old one takes all back."""
    before = mail(applied)
    for nth in range(1, 50):
        applied.once("hands", lambda: None)
        with killed_before(nth):
            applied.apply(of_new(WORLD, "acme"))
            break
        back = nth % 2 == 0
        applied.settle(of_new(WORLD, "new", name="acme") if back else of_new(WORLD, "acme"))
        only = {"acme" if back else "new"}
        assert (set(owners().values()), markers(applied), mail(applied)) == (only, only, before), nth
    assert nth > 4


def part(*names: str) -> dict[str, Any]:
    """``WORLD`` with the entries SECTION.NAME alone."""
    found: dict[str, Any] = {}
    for section, _, name in (one.partition(".") for one in names):
        found.setdefault(section, {})[name] = WORLD[section][name]
    return found


def test_an_applied_stack_gets_environments(applied: House) -> None:
    before, environments = mail(applied), {"production": {"stack": {"formerly": ["acme"]}}, "staging": {}}
    applied.write(WORLD | {"environments": environments})
    assert applied.cli("apply", "state.yaml", "--env", "production", "--auto-approve", "--allow-adopt").code == 0
    only = {"acme/production"}
    assert (set(owners().values()), markers(applied), mail(applied)) == (only, only, before)
    assert applied.cli("plan", "state.yaml", "--env", "production", "--detailed-exitcode").code == 0
    history = applied.cli("history", "state.yaml", "--env", "production", "--format", "json").json
    assert [run["scope"] for run in history["runs"]] == ["acme/production"]


PARKED, ELSE = part("domains.parked.acme.com"), part("domains.acme.com", "configuration_sets.main")


def test_a_stack_is_split(applied: House) -> None:
    """Each takes what it declares; what neither declares is left and named."""
    before = mail(applied)
    applied.settle(of_new(PARKED, "acme"))
    left = {d.address for d in applied.plan().diagnostics if d.code == "left"}
    assert left == {
        "configuration_set/us-east-1/main", "email_identity/us-east-1/acme.com", "smtp_user/app",
        "dns_record/acme.com/_recon.acme.com/TXT",
    }  # fmt: skip
    assert markers(applied) == {"acme", "new"}
    applied.settle(of_new(ELSE, "acme", name="other"))
    assert owners() == {"acme.com": "other", "set main": "other", "user app": "acme", "secret recon/app": "acme"}
    assert (markers(applied), mail(applied)) == ({"new", "other"}, before)
    applied.settle(of_new(PARKED, "acme"))
    applied.settle(part("smtp_users.app"))


def test_two_stacks_are_merged(applied: House) -> None:
    before = mail(applied)
    applied.settle(of_new(PARKED, "acme"))
    applied.settle(of_new(WORLD, "acme", "new", name="one"))
    assert (set(owners().values()), markers(applied), mail(applied)) == ({"one"}, {"one"}, before)
    applied.destroy()
    applied.check_foreign(alone=True)


def test_parts_that_are_not_declared_stay_and_are_named(applied: House) -> None:
    """A region is split off, or a part forgotten: what the other may still declare is not deleted."""
    before = mail(applied)
    bare = WORLD["domains"]["acme.com"].keys() - {"dmarc", "spf", "mail_from", "policies", "tags"}
    domain = {key: WORLD["domains"]["acme.com"][key] for key in bare}
    plan = applied.settle(
        of_new({"domains": {"acme.com": domain}, "configuration_sets": {"main": {"reputation_options": {}}}}, "acme")
    )
    assert {c.action for c in plan.changes} == {"adopt"}
    notes = {c.address: n.message for c in plan.changes for n in c.notes if n.rule == "left"}
    assert all(
        word in notes["email_identity/us-east-1/acme.com"] for word in ("partner", "dmarc", "mail_from", "team")
    ), notes  # fmt: skip
    assert "bus" in notes["configuration_set/us-east-1/main"]
    assert mail(applied) == before
    identity = applied.identity()
    assert identity["Policies"].keys() == {"partner"}
    assert {"Key": "team", "Value": "mail"} in identity["Tags"]
    applied.settle({**of_new({}, "acme")})
    assert "_dmarc.acme.com" in {name for name, _ in mail(applied)}, "what is not ours is not deleted with ours"


LETTING_GO = {
    "domains.acme.com": {"acme.com"}, "domains.parked.acme.com": set(),
    "configuration_sets.main": {"set main"}, "smtp_users.app": {"user app", "secret recon/app"},
}  # fmt: skip


def without(*names: str) -> dict[str, Any]:
    kept = part(*(f"{s}.{n}" for s, entries in WORLD.items() for n in entries if f"{s}.{n}" not in names))
    return {**kept, "released": list(names)}


@pytest.mark.parametrize("entry", [*LETTING_GO, "all"])
def test_entries_are_let_go(applied: House, entry: str) -> None:
    before, names = mail(applied), [*LETTING_GO] if entry == "all" else [entry]
    plan = applied.settle(without(*names))
    assert {c.action for c in plan.changes} <= {"update", "delete"}
    assert {c.kind for c in plan.changes if c.action == "delete"} <= {"dns_record"}
    gone = set().union(*(LETTING_GO[name] for name in names))
    assert {name for name, owner in owners().items() if owner is None} == gone
    assert mail(applied) == before
    there = markers(applied)
    assert there == (set() if entry == "all" else {"acme"})
    applied.settle(WORLD)
    assert set(owners().values()) == {"acme"}, "declared again, it is adopted again"
