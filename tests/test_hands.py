"""A stack that is renamed, split, merged or given environments, and entries that are let go."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import HOME, OTHER, House, client, killed_before, merge, until
from test_iam_policy import Roles

from reconciler.cli.common import backend_connection, lock_of
from reconciler.desired import load
from reconciler.errors import InvalidState, Refused
from reconciler.iam_policy import policy
from reconciler.lock import held_together

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
            "tracking_options": {"custom_redirect_domain": f"click.{DOMAIN}"},
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


SOME_OR_ALL = pytest.mark.parametrize(
    "some", [pytest.param([1, 3, 4, 6]), pytest.param(range(1, 50), marks=pytest.mark.slow)]
)
"""Before which writes a run is killed."""


@SOME_OR_ALL
def test_killed_anywhere_while_it_is_renamed(applied: House, some: Iterable[int]) -> None:
    """Killed before each write in turn; the new YAML finishes, or the old one takes all back."""
    before = mail(applied)
    for nth in some:
        applied.once("hands", lambda: None)
        with killed_before(nth):
            applied.apply(of_new(WORLD, "acme"))
            break
        back = nth % 2 == 0
        applied.settle(of_new(WORLD, "new", name="acme") if back else of_new(WORLD, "acme"))
        only = {"acme" if back else "new"}
        assert (set(owners().values()), markers(applied), mail(applied)) == (only, only, before), nth
    assert nth >= 6


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


def test_parts_that_are_declared_to_be_none_go_with_the_takeover(applied: House) -> None:
    """``{}`` says that there are none: the same apply deletes them, and says of none that it stays."""
    world = copy.deepcopy(WORLD)
    world["domains"]["acme.com"]["policies"] = {}
    world["configuration_sets"]["main"]["event_destinations"] = {}
    plan = applied.settle(of_new(world, "acme"))
    assert not [n for c in plan.changes for n in c.notes if n.rule == "left"]
    assert applied.identity()["Policies"] == {}
    found = client("sesv2").get_configuration_set_event_destinations(ConfigurationSetName="main")
    assert found["EventDestinations"] == []
    assert set(owners().values()) == {"new"}


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
    assert all("left" in {note.rule for note in c.notes} for c in plan.changes), "what stays is named"
    gone = set().union(*(LETTING_GO[name] for name in names))
    assert {name for name, owner in owners().items() if owner is None} == gone
    assert mail(applied) == before
    there = markers(applied)
    assert there == (set() if entry == "all" else {"acme"})
    applied.settle(WORLD)
    assert set(owners().values()) == {"acme"}, "declared again, it is adopted again"


def test_what_was_let_go_and_is_declared_again_goes_whole(house: House) -> None:
    """The SPF record that recon made, too, of which nothing says any more that recon made it."""
    house.seed_zone()
    entry = {"identity": False, "spf": {"include": ["b.example", "a.example"]}}
    world: dict[str, Any] = {"domains": {DOMAIN: entry}}
    for document in (world, {"released": [f"domains.{DOMAIN}"]}):
        house.document = {}
        house.settle(document)
    house.document = {}
    house.settle({"domains": {DOMAIN: {**entry, "spf": {"include": ["a.example", "b.example"]}}}})
    house.document = {}
    house.settle({})
    house.check_foreign(alone=True)


def test_a_lock_of_a_user_that_is_let_go_stays_and_is_named(applied: House) -> None:
    (key,) = client("iam").list_access_keys(UserName="app")["AccessKeyMetadata"]
    assert applied.cli("smtp", "lock", "app", "state.yaml", "--auto-approve").code == 0
    plan = applied.settle(without("smtp_users.app"))
    (change,) = [c for c in plan.changes if c.address == "smtp_user/app"]
    assert [note.rule for note in change.notes] == ["left", "left"]
    assert f"it stays locked: the policy recon-lock denies everything to it and its keys {key['AccessKeyId']}" in (
        change.notes[1].message
    )
    assert "recon smtp lock app --unlock --undeclared" in change.notes[1].message
    assert applied.cli("smtp", "lock", "app", "state.yaml", "--unlock", "--undeclared", "--auto-approve").code == 0
    assert client("iam").list_user_policies(UserName="app")["PolicyNames"] == ["recon-smtp"]
    assert client("iam").list_access_keys(UserName="app")["AccessKeyMetadata"][0]["Status"] == "Active"


@pytest.mark.parametrize(("before", "after", "kept"), [
    ([HOME, OTHER], [OTHER], True), ([HOME], [OTHER], False), ([HOME], [OTHER, HOME], False),
])  # fmt: skip
def test_the_key_of_a_user_that_was_let_go_is_known_in_other_regions(
    house: House, before: list[str], after: list[str], kept: bool
) -> None:
    """Its store holds its passwords for the regions that it covered; only a new key has those of others."""
    user = {"smtp_users": {"app": {"from_addresses": ["*"], "credentials": {**STORE, "region": HOME}}}}

    def stack(name: str, regions: list[str], document: dict[str, Any]) -> None:
        house.document = {}
        house.write(document, stack={"name": name, "regions": regions})

    def keys() -> list[str]:
        return [key["AccessKeyId"] for key in client("iam").list_access_keys(UserName="app")["AccessKeyMetadata"]]

    stack("one", before, user)
    house.settle()
    (old,) = keys()
    stack("one", before, {"released": ["smtp_users.app"]})
    house.settle()
    elsewhere = {**user["smtp_users"]["app"], "credentials": {"ssm": {"name": "/other"}}}
    stack("two", after, {"smtp_users": {"app": elsewhere}})
    (change,) = [c for c in house.plan().changes if c.kind == "smtp_credential"]
    assert f"{old} stays as it is: no declared store" in {n.rule: n.message for n in change.notes}["key-not-held"]
    stack("two", after, user)
    plan = house.plan()
    (change,) = [c for c in plan.changes if c.kind == "smtp_credential"]
    assert change.action == "adopt"
    assert "foreign-key" not in {d.code for d in plan.diagnostics}
    told = {note.rule: note.message for note in change.notes}
    assert ("new-key" in told, f"{old} stays active until it is rotated out" in told.get("old-key-stays", "")) == (
        not kept, not kept,
    )  # fmt: skip
    house.settle()
    assert (old in keys(), len(keys())) == (True, 1 if kept else 2)
    value = client("secretsmanager").get_secret_value(SecretId="recon/app")["SecretString"]
    assert [*json.loads(value)["regions"]] == after


def test_a_line_whose_entry_is_let_go_already_does_nothing(applied: House) -> None:
    applied.settle(without("configuration_sets.main", "domains.acme.com", "domains.parked.acme.com"))
    applied.settle(of_new(ELSE, name="other"))
    applied.settle(without("configuration_sets.main", "domains.acme.com", "domains.parked.acme.com"))
    assert owners()["acme.com"] == "other", "what another stack owns by now is left to it"


def test_what_is_let_go_changes_hands_in_either_order(applied: House) -> None:
    giver, taker = without("domains.parked.acme.com"), of_new(PARKED, "acme")
    before = mail(applied)
    for first, second in ((giver, taker), (taker, giver)):
        applied.once("hands", lambda: None)
        applied.settle(first)
        applied.settle(second)
        assert (markers(applied) >= {"acme", "new"} or first is giver, mail(applied)) == (True, before)
        applied.settle(first)


@SOME_OR_ALL
def test_a_release_that_is_killed_is_finished(applied: House, some: Iterable[int]) -> None:
    before = mail(applied)
    for nth in some:
        applied.once("hands", lambda: None)
        with killed_before(nth):
            applied.apply(without(*LETTING_GO))
            break
        applied.settle(without(*LETTING_GO))
        assert (set(owners().values()), markers(applied), mail(applied)) == ({None}, set(), before), nth
    assert nth >= 6


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        ({"released": ["domains.acme.com"]}, "released-and-declared", "domains.acme.com is also declared"),
        ({"released": ["domains.ACME.com."]}, "released-and-declared", "domains.acme.com is also declared"),
        ({"released": ["domain.acme.com"]}, "unknown-released", "domains"),
        ({"released": ["acme"]}, "unknown-released", "does not begin with a section"),
        ({"released": ["domains.not a name"]}, "unknown-released", "domains"),
        ({"released": ["domains.${nope}"]}, "undefined-variable", "nope"),
        ({"released": [7]}, "needs-quotes", "text"),
        ({"released": ["configuration_sets.old"],
          "moved": [{"from": "configuration_sets.old", "to": "configuration_sets.main"}]},
         "released-and-moved", "configuration_sets.old is also renamed"),
        ({"moved": [{"from": "configuration_sets.old", "to": "domains.new.acme.com"}]}, "bad-address", "cannot become"),
        ({"moved": [{"from": "sets.old", "to": "configuration_sets.main"}]}, "bad-address", "section"),
        ({"moved": [{"from": "configuration_sets.old", "to": "configuration_set/us-east-1/main"}]},
         "bad-address", "not an address"),
        ({"moved": [{"from": "configuration_sets.main", "to": "configuration_sets.main"}]},
         "moved-to-itself", "moved to itself"),
        ({"stack": {"formerly": ["a/b/c"]}}, "bad-name", "a/b/c"),
        ({"stack": {"formerly": ["cloudformation/no_such"]}}, "bad-name", "cloudformation/no_such"),
        ({"stack": {"formerly": "old"}}, "wrong-type", "list"),
    ],
)  # fmt: skip
def test_bad_input(tmp_path: Path, more: dict[str, Any], code: str, says: str) -> None:
    House(tmp_path).write(merge(WORLD, more))
    with pytest.raises(InvalidState) as refused:
        load(tmp_path / "state.yaml", None)
    found = [f"{d.message} {d.hint}" for d in refused.value.diagnostics if d.code == code]
    assert any(says in text for text in found), [(d.code, d.message, d.hint) for d in refused.value.diagnostics]


def test_moved_by_section_is_for_all_regions(applied: House) -> None:
    world = {
        "configuration_sets": {"new": {"regions": [HOME, OTHER]}},
        "smtp_users": {"mailer": WORLD["smtp_users"]["app"]},
    }
    moved = [{"from": "configuration_sets.main", "to": "configuration_sets.new"},
             {"from": "smtp_users.app", "to": "smtp_users.mailer"}]  # fmt: skip
    applied.write(world | {"moved": moved})
    state = load(applied.home / "state.yaml", None).state
    assert [(m.from_address, m.to_address) for m in state.moved] == [
        ("configuration_set/eu-west-1/main", "configuration_set/eu-west-1/new"),
        ("configuration_set/us-east-1/main", "configuration_set/us-east-1/new"),
        ("smtp_user/app", "smtp_user/mailer"),
    ]
    actions = {c.address: c.action for c in applied.plan(WORLD | world | {"moved": moved}).changes}
    assert actions["configuration_set/us-east-1/new"] == "replace"
    assert actions["configuration_set/eu-west-1/new"] == "create"


def test_a_stack_and_a_user_are_renamed_at_once(applied: House) -> None:
    """What `moved` renames is named by the state, so a former owner's changes hands, too."""
    key = client("iam").list_access_keys(UserName="app")["AccessKeyMetadata"][0]["AccessKeyId"]
    world = {**ELSE, **PARKED, "domains": WORLD["domains"], "smtp_users": {"mailer": WORLD["smtp_users"]["app"]},
             "moved": [{"from": "smtp_users.app", "to": "smtp_users.mailer"}]}  # fmt: skip
    applied.settle(of_new(world, "acme"))
    assert owners()["user mailer"] == owners()["secret recon/app"] == "new"
    assert client("iam").list_access_keys(UserName="mailer")["AccessKeyMetadata"][0]["AccessKeyId"] == key


TOPIC = {"sns_topics": {"ops": {"subscriptions": [
    {"protocol": "sqs", "endpoint": f"arn:aws:sqs:{HOME}:111122223333:{queue}"} for queue in ("one", "two")
]}}}  # fmt: skip


def test_topics_change_hands_and_are_let_go_like_all_else(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resources of another service, with parts that are held in a list."""
    sns = client("sns")

    def subscribed() -> int:
        return len(sns.list_subscriptions_by_topic(TopicArn=f"arn:aws:sns:{HOME}:111122223333:ops")["Subscriptions"])

    house.settle(TOPIC)
    house.settle(
        of_new({"sns_topics": {"ops": {"subscriptions": TOPIC["sns_topics"]["ops"]["subscriptions"][:1]}}}, "acme")
    )
    assert subscribed() == 2, "what a former owner put there and nobody declares stays"
    house.settle(of_new(TOPIC))
    house.write(of_new({"released": ["sns_topics.ops"]}))
    roles = Roles(house, monkeypatch)
    for purpose, command in (("plan", "plan"), ("apply", "apply"), ("plan", "plan")):
        roles.become(purpose, by_name=False)
        assert house.cli(command, "state.yaml", *["--auto-approve"] * (command == "apply")).code == 0
    assert roles.denied() == []
    arn = f"arn:aws:sns:{HOME}:111122223333:ops"
    tags = sns.list_tags_for_resource(ResourceArn=arn)["Tags"]
    assert not [tag for tag in tags if tag["Key"].startswith("recon:")]
    assert subscribed() == 2


# --- locks, journals, permissions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [{}, {"backend": {"s3": {"bucket": "acme-recon"}}}], ids=["folder", "bucket"])
def test_locks_and_journals_of_all_names(house: House, backend: dict[str, Any]) -> None:
    if backend:
        client("s3").create_bucket(Bucket="acme-recon")
    document = {"configuration_sets": {"main": {}}}
    old = {"stack": {"name": "zz", **backend}}
    new = {"stack": {"name": "mm", "formerly": ["zz", "aa/production"], **backend}}
    house.write(document | old)
    assert house.cli("apply", "state.yaml", "--auto-approve").code == 0
    house.write(document | new)
    stack = load(house.home / "state.yaml", None).state.stack
    assert stack.scopes == ("aa/production", "mm", "zz")
    with contextlib.chdir(house.home), lock_of(stack, "zz").held("apply") as other:
        locked = house.cli("apply", "state.yaml", "--auto-approve", "--allow-adopt")
        assert locked.code == 3
        assert "the lock of the stack zz, which `stack.formerly` names" in locked.err
        assert lock_of(stack, "aa/production").holder() is None, "what was taken first is released"
        unlocked = house.cli("unlock", "state.yaml", "--force")
        assert "The lock of the stack zz" in unlocked.out
        assert other.holder.id
    with (
        contextlib.chdir(house.home),
        held_together(stack, backend_connection(stack), "apply", 0, on_wait=print) as held,
    ):
        assert all(lock_of(stack, scope).holder() is not None for scope in stack.scopes)
        taken = lock_of(stack, "zz")
        holder = taken.holder()
        assert holder is not None
        assert taken.force_unlock(holder)
        until(held.lost.is_set, "the run notices that a former lock is lost") if not backend else None
    assert house.cli("apply", "state.yaml", "--auto-approve", "--allow-adopt").code == 0
    runs = house.cli("history", "state.yaml", "--format", "json").json["runs"]
    assert [run["scope"] for run in runs if run["outcome"] == "applied"] == ["mm", "zz"]


def test_permissions_for_what_is_let_go_and_for_all_locks(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.write(
        {"released": ["domains.acme.com"], "configuration_sets": {"main": {}}},
        stack={"formerly": ["old/staging"], "backend": {"s3": {"bucket": "acme-recon"}}},
    )
    state = load(tmp_path / "state.yaml", None).state
    text = json.dumps(policy(state, "apply"))
    for part in ("locks/old/staging.json", "journal/old/staging/*", "*.acme.com", "ses:UntagResource"):
        assert part in text, part
    assert "ses:UntagResource" not in json.dumps(policy(replace(state, released=()), "apply")["Statement"][-9:])


# --- CloudFormation ------------------------------------------------------------------------------------------------

RETAINED = {"Mail": {"type": "AWS::SES::EmailIdentity", "physical_id": DOMAIN, "retain": True}}
KEPT = {"Mail": {"type": "AWS::SES::EmailIdentity", "physical_id": DOMAIN}}
FORMERLY = {"domains": {DOMAIN: {"dkim": {}}}, "stack": {"formerly": ["cloudformation/Mail"]}}


@pytest.mark.parametrize(
    ("stack", "says"),
    [
        (None, ""),
        ({"status": "DELETE_COMPLETE", "resources": RETAINED}, ""),
        ({"status": "UPDATE_COMPLETE", "resources": {}}, ""),
        ({"resources": KEPT}, "CloudFormation still has it"),
        ({"status": "DELETE_FAILED", "resources": KEPT}, "CloudFormation still has it"),
        ({"denied": True, "resources": RETAINED}, "could not be read"),
        ({"other": True, "status": "DELETE_COMPLETE", "resources": RETAINED}, 'the CloudFormation stack Mail'),
    ],
    ids=["no such stack", "deleted", "retained by an update", "exists", "delete failed", "denied", "not named"],
)  # fmt: skip
def test_what_cloudformation_let_go_is_taken_over(house: House, stack: dict[str, Any] | None, says: str) -> None:
    """The tags stay for ever; whether the stack still manages it, CloudFormation says."""
    house.seed_zone()
    id_ = f"arn:aws:cloudformation:{HOME}:111122223333:stack/Mail/1"
    tags = {"aws:cloudformation:stack-name": "Mail", "aws:cloudformation:stack-id": id_}
    house.sandbox.seed(identities=[{"names": [DOMAIN, "left.acme.com"], "tags": tags}])
    given = dict(stack or {})
    other, denied = given.pop("other", False), given.pop("denied", False)
    if stack is not None:
        house.sandbox.seed(stacks=[{"name": "Mail", "id": id_, **given}])
    document = FORMERLY if not other else {**FORMERLY, "stack": {"formerly": ["cloudformation/Another"]}}
    if denied:
        house.sandbox.fault("denied", operation="DescribeStacks")
    plan = house.plan(document)
    (change,) = [c for c in plan.changes if c.address == f"email_identity/{HOME}/{DOMAIN}"]
    assert change.action == "adopt"
    if says:
        assert change.refused is not None
        assert says in change.refused.message
        assert plan.outcome == "refused"
        return
    assert change.refused is None
    assert {d.address for d in plan.diagnostics if d.code == "left"} == {f"email_identity/{HOME}/left.acme.com"}
    house.settle()
    assert {t["Key"] for t in house.identity()["Tags"]} >= {*tags, "recon:stack"}
    house.settle({"domains": FORMERLY["domains"]})
    house.settle({})
    assert [i["IdentityName"] for i in client("sesv2").list_email_identities()["EmailIdentities"]] == ["left.acme.com"]


def test_cloudformation_is_asked_only_where_it_is_named(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.write(FORMERLY)
    state = load(tmp_path / "state.yaml", None).state
    for purpose in ("plan", "apply"):
        text = json.dumps(policy(state, purpose))  # type: ignore[arg-type]
        assert "cloudformation:DescribeStacks" in text
        assert "cloudformation:*:111122223333:stack/Mail/*" in text
    assert "cloudformation" not in json.dumps(policy(replace(state, stack=replace(state.stack, formerly=())), "plan"))


@pytest.mark.parametrize("what", [pytest.param("rename", marks=pytest.mark.slow), "release"])
def test_least_privilege_is_enough(applied: House, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    client("s3").create_bucket(Bucket="acme-recon")
    document = of_new(WORLD, "acme") if what == "rename" else without(*LETTING_GO)
    applied.write(merge(document, {"stack": {"backend": {"s3": {"bucket": "acme-recon"}}}}))
    roles, by_name = Roles(applied, monkeypatch), what == "rename"
    roles.become("plan", by_name=by_name)
    assert applied.cli("plan", "state.yaml", "--detailed-exitcode").code == 2
    roles.become("apply", by_name=by_name)
    assert applied.cli("apply", "state.yaml", "--auto-approve", "--allow-adopt").code == 0
    roles.become("plan", by_name=by_name)
    assert applied.cli("plan", "state.yaml", "--detailed-exitcode").code == 0
    assert roles.denied() == []
