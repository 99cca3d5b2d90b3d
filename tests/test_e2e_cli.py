"""The command line on the sandbox: exit codes, consent, safeguards, ownership, targets; stdout apart from stderr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from faults.matrix import hurried
from support import ACCOUNT, HOME, OTHER, House, client, gate, interrupted, merge

STATE = "state.yaml"
DOMAIN: dict[str, Any] = {"domains": {"acme.com": {"dkim": {}, "dmarc": {"p": "none"}}}}
SETS: dict[str, Any] = {"configuration_sets": {"one": {}, "two": {}, "three": {}}}
IDENTITY = f"email_identity/{HOME}/acme.com"
DMARC = "dns_record/acme.com/_dmarc.acme.com/TXT"
PLAN_KEYS = {
    "format_version",
    "stack",
    "environment",
    "account",
    "outcome",
    "created_at",
    "recon_version",
    "state_digest",
    "refresh",
    "unread",
    "summary",
    "changes",
    "diagnostics",
}


def tag(house: House, value: str, name: str = "one", key: str = "recon:stack") -> None:
    arn = f"arn:aws:ses:{HOME}:{ACCOUNT}:configuration-set/{name}"
    client("sesv2").tag_resource(ResourceArn=arn, Tags=[{"Key": key, "Value": value}])


def made(*names: str) -> None:
    for name in names:
        client("sesv2").create_configuration_set(ConfigurationSetName=name)


def sets() -> list[str]:
    found: list[str] = client("sesv2").list_configuration_sets().get("ConfigurationSets", [])
    return found


# --- as processes of their own -------------------------------------------------------------------------------------


def test_the_life_of_a_stack_as_processes(house: House) -> None:
    house.seed_zone()
    house.write(merge(DOMAIN, SETS))
    ran = house.process("validate", STATE)
    assert (ran.code, ran.err) == (0, "")
    assert "is valid" in ran.out

    ran = house.process("plan", STATE, "--detailed-exitcode")
    assert ran.code == 2
    assert ran.out.rstrip().endswith("Plan: 8 to create, 0 to adopt, 0 to update, 0 to replace, 0 to delete.")
    assert "\x1b" not in ran.out

    ran = house.process("apply", STATE)
    assert ran.code == 1
    assert "no terminal" in ran.err
    assert not house.writes()

    ran = house.process("apply", STATE, "--auto-approve", "--format", "json")
    assert ran.code == 0
    assert ran.json["outcome"] == "applied"
    assert house.zone()["_dmarc.acme.com", "TXT"]

    assert house.cli("plan", STATE, "--detailed-exitcode").out.rstrip().endswith("No changes.")
    assert house.cli("drift", STATE).code == 0
    house.change("_dmarc.acme.com", "TXT", '"v=DMARC1; p=none; ruf=mailto:x@acme.com; fo=1"', '"vendor-token=zzz"')
    ran = house.process("drift", STATE, "--format", "json")
    assert ran.code == 2
    paths = [d["path"] for c in ran.json["changes"] for d in c["diff"]]
    assert sorted(paths) == ["fo", "ruf"]
    assert house.process("apply", STATE, "--auto-approve", "-q").code == 0

    ran = house.process("destroy", STATE, "--auto-approve")
    assert ran.code == 3
    assert ", of which 4 count: " in ran.err and "run it again with --allow-deletes 4" in ran.err
    assert house.cli("destroy", STATE, "--allow-deletes", "3").code == 3
    assert house.process("destroy", STATE, "--allow-deletes", "4").code == 0
    house.check_foreign(alone=True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "nowhere"),
        ("plan", STATE, "--format", "yaml"),
        ("plan", STATE, "--no-such-option"),
        ("plan", STATE, "--env", "staging"),
        ("nonsense",),
        ("apply", STATE, "--auto-approve", "--lock-timeout", "soon"),
        ("apply", STATE, "--expect", "sha256:0"),
        ("apply", "plan.json"),
        ("show", "plan.json"),
        ("plan", STATE, "--refresh", "half"),
        ("plan", STATE, "--parallelism", "0"),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_exit_1_and_touches_nothing(house: House, arguments: tuple[str, ...]) -> None:
    house.write(SETS)
    ran = house.cli(*arguments)
    assert ran.code == 1
    assert ran.out == ""
    assert "error" in ran.err
    assert house.calls() == [] or "--refresh" in arguments
    ran = house.cli(*arguments, "--format", "json") if "--format" not in arguments else house.cli(*arguments)
    assert ran.code == 1


def test_no_command_prints_the_help(house: House) -> None:
    bare = house.cli()
    assert (bare.code, bare.out) == (0, house.cli("--help").out)
    assert house.cli("--version").out.startswith("recon ")


@pytest.mark.parametrize(
    "break_it",
    ["yaml", "reference", "account", "denied", "expired", "network", "credentials", "adopt"],
)
def test_every_failure_is_one_valid_json_object(house: House, break_it: str, monkeypatch: pytest.MonkeyPatch) -> None:
    house.seed_zone()
    path = house.write(merge(DOMAIN, SETS))
    code, outcome = 1, "error"
    if break_it == "yaml":
        path.write_text("stack: {name: [}\n")
        outcome = "invalid"
    elif break_it == "reference":
        house.write(merge(DOMAIN, {"domains": {"acme.com": {"configuration_set_name": "nowhere"}}}))
        code, outcome = 3, "refused"
    elif break_it == "account":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "999999999999")
        code, outcome = 3, "refused"
    elif break_it == "denied":
        house.sandbox.fault("denied", service="sts", count=None)
    elif break_it == "expired":
        house.sandbox.fault("error", code="ExpiredToken", message="expired", status=403, count=None)
    elif break_it == "network":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    elif break_it == "credentials":
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(house.home / "none"))
    elif break_it == "adopt":
        made("one")
        code, outcome = 3, "refused"
    house.clear()
    for command in (("plan", STATE), ("drift", STATE), ("apply", STATE, "--auto-approve")):
        if (break_it, command[0]) in {("adopt", "plan"), ("adopt", "drift"), ("reference", "drift")}:
            continue  # There these are changes to look at, no failures.
        with hurried():
            ran = house.cli(*command, "--format", "json")
        assert ran.code == code, ran
        found = ran.json
        assert found["outcome"] == outcome, ran
        problem = next(d for d in found["diagnostics"] if d["severity"] == "error")
        assert {"severity", "code", "message", "hint", "file", "line", "column", "address"} <= set(problem)
        assert problem["message"]
        assert found["format_version"] == 2
    assert house.writes() == []


def test_the_plan_as_json_has_what_the_contract_names(house: House) -> None:
    house.seed_zone()
    house.write(merge(DOMAIN, SETS))
    found = house.cli("plan", STATE, "--format", "json").json
    assert set(found) >= PLAN_KEYS
    assert found["summary"] == {"create": 8, "adopt": 0, "update": 0, "replace": 0, "delete": 0, "refused": 0}
    change = next(c for c in found["changes"] if c["address"] == DMARC)
    assert (change["kind"], change["action"], change["before"]) == ("dns_record", "create", None)
    assert change["diff"][0].keys() >= {"path", "before", "after"}
    assert change["depends_on"] == [IDENTITY]
    assert change["source"]["file"].endswith(STATE)
    assert change["source"]["line"] > 1
    token = next(c for c in found["changes"] if ":dkim:" in c["address"])
    assert token["unknown"] == ["name", "value"]
    assert token["address"] == f"dns_record/acme.com/acme.com:dkim:{HOME}:1/CNAME"
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(__file__).parents[1] / "schemas" / "plan.schema.json").read_text())
    jsonschema.validate(found, schema)


def test_ctrl_c_ends_with_130_and_the_next_run_goes_on(house: House) -> None:
    house.seed_zone()
    house.write(merge(DOMAIN, SETS))
    with gate("Create*") as first:
        ran = interrupted(house, first, "apply", STATE, "--auto-approve", "--parallelism", "1")
    assert ran.code == 130, ran
    assert house.cli("apply", STATE, "--auto-approve").code == 0
    house.quiet()


# --- consent -------------------------------------------------------------------------------------------------------


def test_apply_asks_on_a_terminal_and_only_yes_will_do(house: House) -> None:
    house.write(SETS)
    for answer, code in (("no\n", 1), ("y\n", 1), ("\n", 1), ("yes\n", 0)):
        ran = house.cli("apply", STATE, answer=answer)
        assert ran.code == code
        assert "Apply this plan?" in ran.err
        assert "Apply this plan?" not in ran.out
        assert bool(sets()) == (code == 0)


def test_destroy_wants_the_stacks_name(house: House) -> None:
    house.settle(SETS)
    for answer in ("yes\n", "acm\n", "\n"):
        assert house.cli("destroy", STATE, answer=answer).code == 1
        assert len(sets()) == 3
    assert house.cli("destroy", STATE, answer="acme\n").code == 0
    assert sets() == []
    assert house.cli("destroy", STATE, answer="acme\n").out.rstrip().endswith("No changes.")


def test_max_deletes_holds_and_is_lifted_by_number(house: House) -> None:
    house.settle(SETS)
    house.write({"configuration_sets": {"one": {}}}, stack={"max_deletes": 1})
    ran = house.cli("apply", STATE, "--auto-approve")
    assert ran.code == 3
    assert "--allow-deletes 2" in ran.err
    assert len(sets()) == 3
    assert house.cli("apply", STATE, "--auto-approve", "--allow-deletes", "1").code == 3
    assert house.cli("apply", STATE, "--auto-approve", "--allow-deletes", "2").code == 0
    assert sets() == ["one"]


def test_records_do_not_count_as_deletes(house: House) -> None:
    house.seed_zone()
    house.settle(
        merge(DOMAIN, {"domains": {"acme.com": {"bimi": {"l": "https://acme.com/l.svg"}, "spf": {"all": "-all"}}}})
    )
    house.write({"domains": {"acme.com": {"dkim": {}}}}, stack={"max_deletes": 0})
    assert house.cli("apply", STATE, "--auto-approve").code == 0


# --- ownership -----------------------------------------------------------------------------------------------------


def test_adoption_needs_consent_and_adds_the_tag(house: House) -> None:
    made("one", "two", "three")
    house.write(SETS)
    found = house.cli("plan", STATE, "--format", "json").json
    assert found["summary"]["adopt"] == 3
    change = found["changes"][0]
    assert ("tags.recon:stack", None, "acme") in [(d["path"], d["before"], d["after"]) for d in change["diff"]]
    ran = house.cli("apply", STATE, "--auto-approve")
    assert ran.code == 3
    assert "--allow-adopt" in ran.err
    assert house.cli("apply", STATE, "--auto-approve", "--allow-adopt").code == 0
    house.quiet()


def test_adoption_keeps_what_is_not_declared(house: House) -> None:
    made("one")
    client("sesv2").put_configuration_set_delivery_options(ConfigurationSetName="one", TlsPolicy="REQUIRE")
    house.settle({"configuration_sets": {"one": {"reputation_options": {"reputation_metrics_enabled": True}}}})
    assert house.set("one")["DeliveryOptions"]["TlsPolicy"] == "REQUIRE"


@pytest.mark.parametrize(
    ("key", "owner", "named"),
    [
        ("recon:stack", "other/production", "other/production"),
        ("aws:cloudformation:stack-name", "legacy", "CloudFormation stack legacy"),
    ],
)
def test_what_others_own_is_refused_by_name(house: House, key: str, owner: str, named: str) -> None:
    house.sandbox.seed(identities=[{"names": ["acme.com"], "tags": {key: owner}}])
    house.write({"domains": {"acme.com": {"zone": "manual"}}})
    plan = house.cli("plan", STATE)
    assert plan.code == 3
    assert named in plan.out + plan.err
    ran = house.cli("apply", STATE, "--auto-approve", "--allow-adopt")
    assert ran.code == 3
    assert named in ran.err + ran.out
    assert house.writes() == []


def test_what_lost_its_tag_is_nobodys(house: House) -> None:
    house.settle(SETS)
    arn = f"arn:aws:ses:{HOME}:{ACCOUNT}:configuration-set/one"
    client("sesv2").untag_resource(ResourceArn=arn, TagKeys=["recon:stack"])
    house.write({"configuration_sets": {"two": {}, "three": {}}})
    assert house.cli("apply", STATE, "--auto-approve").code == 0
    assert "one" in sets()


def test_environments_are_scopes_of_their_own(house: House) -> None:
    both = {
        "environments": {"production": {"vars": {"name": "p"}}, "staging": {"vars": {"name": "s"}}},
        "configuration_sets": {"${name}": {}},
    }
    house.write(both)
    assert house.cli("plan", STATE).code == 1
    for env in ("production", "staging"):
        assert house.cli("apply", STATE, "--env", env, "--auto-approve").code == 0
    assert sets() == ["p", "s"]
    assert house.cli("destroy", STATE, "--env", "staging", "--allow-deletes", "9").code == 0
    assert sets() == ["p"]
    tags = {t["Key"]: t["Value"] for t in house.set("p")["Tags"]}
    assert tags["recon:stack"] == "acme/production"


def test_regions_and_zones_no_longer_declared_are_swept(house: House) -> None:
    house.seed_zone()
    house.seed_zone("parked.net", {})
    house.settle(
        {
            "domains": {
                "acme.com": {"regions": [HOME, OTHER], "dkim": {}},
                "parked.net": {"identity": False, "dmarc": {"p": "reject"}, "spf": {"all": "-all"}},
            }
        }
    )
    plan = house.settle({"domains": {"acme.com": {"dkim": {}}}})
    gone = {c.address for c in plan.changes if c.action == "delete"}
    assert f"email_identity/{OTHER}/acme.com" in gone
    assert "dns_record/parked.net/_dmarc.parked.net/TXT" in gone
    assert any("regions for resources tagged" in s for s in plan.scanned)
    assert house.zone("parked.net") == {}


def test_a_region_that_is_not_enabled_is_not_unread(house: House) -> None:
    house.sandbox.settings(disabled_regions=["af-south-1"])
    house.settle(SETS)
    plan = house.plan()
    assert plan.unread == ()
    assert any("not enabled" in s for s in plan.scanned)


def test_two_stacks_share_a_zone(house: House) -> None:
    house.seed_zone()
    house.settle(
        {"domains": {"acme.com": {"identity": False, "spf": {"include": "a.example"}, "dmarc": {"p": "none"}}}}
    )
    house.write(
        {"domains": {"acme.com": {"identity": False, "spf": {"include": "b.example"}}}}, stack={"name": "second"}
    )
    assert house.cli("apply", STATE, "--auto-approve").code == 0
    assert "v=spf1 include:a.example include:b.example ~all" in house.dns("acme.com")
    assert len(house.dns("_recon.acme.com")) == 3
    assert house.cli("destroy", STATE, "--allow-deletes", "9").code == 0
    assert "v=spf1 include:a.example ~all" in house.dns("acme.com")
    house.write({"domains": {"acme.com": {"identity": False, "spf": {"include": "a.example"}, "dmarc": {"p": "none"}}}})
    house.quiet()
    house.destroy()
    house.check_foreign(alone=True)


def test_an_spf_term_of_two_stacks_stays_until_the_last_lets_go(house: House) -> None:
    house.seed_zone("acme.com", {("acme.com", "TXT"): ["v=spf1 include:_spf.google.com ~all"]})

    def stack(name: str, *terms: str) -> None:
        entry = {"identity": False, "dmarc": {"p": "reject", "rua": "mailto:d@acme.com"}, "spf": {"include": [*terms]}}
        house.write({}, stack={"name": name})
        if terms:
            house.write({"domains": {"acme.com": entry}}, stack={"name": name})

    def holds(*terms: str) -> None:
        text = " ".join(["v=spf1 include:_spf.google.com", *(f"include:{term}" for term in terms), "~all"])
        assert text in house.dns("acme.com")

    stack("one", "crm.example", "a.example")
    house.settle()
    stack("two", "crm.example")  # all of it stands already: said all the same, so that stack one knows
    assert {c.action for c in house.settle().changes} == {"adopt"}
    stack("three", "crm.example")
    house.settle()
    for name in ("one", "two", "three"):
        stack(name, "crm.example", *(["a.example"] if name == "one" else []))
        house.quiet()
    stack("one", "a.example")
    ran = house.cli("apply", STATE, "--auto-approve")
    assert ran.code == 0
    assert 'include:crm.example stays in the SPF record of acme.com: the recon stack "two' in ran.out
    house.quiet()
    holds("crm.example", "a.example")
    stack("two")
    house.settle()
    holds("crm.example", "a.example")
    stack("three", "crm.example")
    house.quiet()
    stack("three")
    house.settle()  # the last that declared it; what was there before recon came stays
    holds("a.example")
    stack("one")
    house.settle()
    house.check_foreign(alone=True)


@pytest.mark.parametrize("first", [0, 1, 2])
def test_an_spf_record_that_stacks_made_goes_with_the_last_of_them(house: House, first: int) -> None:
    house.seed_zone()
    stacks = {name: {"domains": {"acme.com": {"identity": False, "spf": {"include": [f"{name}.example"]}}}}
              for name in ("one", "two", "three")}  # fmt: skip
    for name, document in stacks.items():
        house.write(document, stack={"name": name})
        house.settle()
    order = [*stacks][first:] + [*stacks][:first]
    for left, name in enumerate(order, 1):
        house.write({}, stack={"name": name})
        house.settle()
        terms = [f"include:{other}.example" for other in stacks if other in order[left:]]
        found = [text for text in house.dns("acme.com") if text.startswith("v=spf1")]
        assert found == ([" ".join(["v=spf1", *terms, "~all"])] if terms else [])
    house.check_foreign(alone=True)


def test_what_another_stacks_marker_names_is_refused(house: House) -> None:
    house.seed_zone()
    first = {
        "identity": False, "dmarc": {"p": "reject"}, "bimi": {"l": "https://acme.com/a.svg"},
        "spf": {"all": "-all"}, "null_mx": True,
    }  # fmt: skip
    house.settle({"domains": {"parked.acme.com": first}})
    held, marker = house.zone(), ("_recon.parked.acme.com", "TXT")
    for change, address in (
        ({"dmarc": {"p": "none"}}, "_dmarc.parked.acme.com/TXT"),
        ({"dmarc": {"p": "reject"}, "ttl": 60}, "_dmarc.parked.acme.com/TXT"),
        ({"bimi": {"l": "https://acme.com/b.svg"}}, "default._bimi.parked.acme.com/TXT"),
        ({"spf": {"all": "~all"}}, "parked.acme.com/TXT"),
    ):
        house.write({"domains": {"parked.acme.com": {"identity": False, **change}}}, stack={"name": "second"})
        ran = house.cli("apply", STATE, "--auto-approve")
        assert ran.code == 3
        assert 'parked.acme.com belongs to the recon stack "acme"  [owned-elsewhere]' in ran.err
        assert f"dns_record/acme.com/{address}" in ran.err
        assert house.zone() == held
    # what is the same for both, or only added, is nobody's loss
    house.write(
        {"domains": {"parked.acme.com": {"identity": False, "dmarc": {"p": "reject"}, "spf": {"all": "-all"}}}},
        stack={"name": "second"},
    )
    assert house.cli("apply", STATE, "--auto-approve").code == 0
    assert {**house.zone(), marker: held[marker]} == held
    house.quiet()
    house.document = {}
    house.write({})
    house.settle()  # the first lets go: the SPF record is the second's, too
    assert house.zone()["parked.acme.com", "TXT"] == held["parked.acme.com", "TXT"]


def test_what_another_stacks_identity_names_is_refused(house: House) -> None:
    house.seed_zone()
    house.settle({"domains": {"acme.com": {"dkim": {}, "dmarc": {"p": "none"}, "regions": [OTHER]}}})
    held = house.zone()
    for entry in ({"identity": False}, {"dkim": {}}):
        house.write({"domains": {"acme.com": {**entry, "dmarc": {"p": "reject"}}}}, stack={"name": "second"})
        ran = house.cli("apply", STATE, "--auto-approve")
        assert ran.code == 3
        assert f'DMARC of acme.com belongs to the recon stack "acme": its identity in {OTHER}' in ran.err
        assert house.zone() == held
    # where a region of the stack cannot be asked, what might be another's is not taken over, and nothing else written
    house.change("_dmarc.free.acme.com", "TXT", '"v=DMARC1; p=none"')
    house.sandbox.fault("denied", service="resourcegroupstaggingapi", region=HOME, contains="ResourceARNList", count=2)
    house.write({"domains": {"free.acme.com": {"identity": False, "dmarc": {"p": "reject"}}}}, stack={"name": "second"})
    held = house.zone()
    assert house.cli("plan", STATE).code == 3
    ran = house.cli("apply", STATE, "--auto-approve")
    assert ran.code == 3
    assert "whether another stack owns the DMARC of free.acme.com, which would be taken over" in ran.err
    assert "[others-unread]" in ran.err
    assert house.zone() == held
    # a record that nobody owns is taken over as ever; that a region far away could not be asked is said
    house.sandbox.fault("denied", service="resourcegroupstaggingapi", region=OTHER, contains="ResourceARNList")
    ran = house.cli("apply", STATE, "--auto-approve")
    assert ran.code == 0
    assert "[others-unread]" in ran.out
    assert house.dns("_dmarc.free.acme.com") == ["v=DMARC1; p=reject"]


# --- roles ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chained", [True, False])
def test_the_role_of_the_zones_is_taken_on_from_the_stacks_role(house: House, chained: bool) -> None:
    """docs/permissions.md: the DNS role trusts the stack's roles, which may assume it; nobody else needs to."""
    zones = client("route53", access_key="999900001111")
    zones.create_hosted_zone(Name="acme.com", CallerReference="theirs")
    dns = {"account": "999900001111", "role_arn": "arn:aws:iam::999900001111:role/recon-dns"}
    roles = {kind: f"arn:aws:iam::{ACCOUNT}:role/{kind}" for kind in ("plan", "apply")} if chained else None
    house.write(DOMAIN, stack={"dns": dns, **({"role_arn": roles} if roles else {})})
    for command, role in (("plan", "plan"), ("apply", "apply")):
        house.clear()
        house.fresh_clients()
        assert house.cli(command, STATE, *(["--auto-approve"] if command == "apply" else [])).code == 0
        calls = house.sandbox.calls()
        taken = [(c["arn"], c["params"]["RoleArn"]) for c in calls if c["operation"] == "AssumeRole"]
        me = f"arn:aws:iam::{ACCOUNT}:root"
        stack_role = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/recon"
        if chained:
            assert set(taken) == {(me, f"arn:aws:iam::{ACCOUNT}:role/{role}"), (stack_role, dns["role_arn"])}
        else:
            assert set(taken) == {(me, dns["role_arn"])}
        assert {c["arn"] for c in calls if c["service"] == "route53"} == {
            "arn:aws:sts::999900001111:assumed-role/recon-dns/recon"
        }
        assert {c["arn"] for c in calls if c["service"] == "sesv2"} == {stack_role if chained else me}
    (zone,) = zones.list_hosted_zones()["HostedZones"]
    records = zones.list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]
    assert "_dmarc.acme.com." in {r["Name"] for r in records}


# --- safeguards and targets ----------------------------------------------------------------------------------------


def test_protection_is_lifted_alone(house: House) -> None:
    house.settle({"configuration_sets": {"one": {"protect": True}}})
    house.write({})
    ran = house.cli("apply", STATE, "--auto-approve", "--allow-deletes", "9")
    assert ran.code == 3
    assert "protect: false" in ran.err
    assert house.cli("destroy", STATE, "--allow-deletes", "9").code == 3
    house.write({"configuration_sets": {"one": {"protect": False}}})
    assert house.cli("apply", STATE, "--auto-approve").code == 0
    house.write({})
    assert house.cli("apply", STATE, "--auto-approve").code == 0
    assert sets() == []


def test_destroy_speaks_of_what_goes_alone(house: House) -> None:
    """What a rule would have of a domain that stays, or of a user's rotation, is beside the point then."""
    house.seed_zone()
    user = {"from_addresses": ["*"], "credentials": {"ssm": {"name": "/recon/news"}}}
    parked = {"identity": False, "dmarc": {"p": "none"}, "spf": {"include": "a.example"}}
    house.settle(merge(DOMAIN, {"domains": {"park.acme.com": parked}, "smtp_users": {"news": user}}))
    ran = house.cli("destroy", STATE, "--allow-deletes", "9", "--format", "json")
    assert ran.code == 0
    notes = {n["rule"]: n["message"] for c in ran.json["changes"] for n in c["notes"]}
    told = {*notes, *(d["code"] for d in ran.json["diagnostics"])}
    assert {"identity-deleted", "credential-deleted", "user-deleted"} <= told
    assert not told & {
        "smtp-no-rotation",
        "smtp-any-identity",
        "smtp-any-network",
        "smtp-any-from",
        "dmarc-parked-open",
    }
    assert notes["credential-deleted"] == "the key stops working at once; its parameter cannot be restored (SSM)"
    house.check_foreign(alone=True)


def test_a_rule_of_severity_error_refuses_and_a_waiver_lets_pass(house: House) -> None:
    house.seed_zone()
    rules = merge(DOMAIN, {"rules": {"dmarc-no-rua": "error"}})
    house.write(rules)
    ran = house.cli("apply", STATE, "--auto-approve")
    assert ran.code == 3
    assert "dmarc-no-rua" in ran.err + ran.out
    assert house.writes() == []
    house.write(
        merge(
            rules, {"waivers": [{"rule": "dmarc-no-rua", "address": DMARC, "reason": "later", "until": "2099-01-01"}]}
        )
    )
    assert house.cli("apply", STATE, "--auto-approve").code == 0


@pytest.mark.parametrize("target", [DMARC, "dns_record/acme.com/_dmarc*"])
def test_a_target_brings_what_it_needs_and_nothing_else(house: House, target: str) -> None:
    house.seed_zone()
    house.write(merge(DOMAIN, SETS))
    found = house.cli("plan", STATE, "--target", target, "--format", "json").json
    assert {c["address"] for c in found["changes"]} == {DMARC, IDENTITY}
    assert house.cli("apply", STATE, "--auto-approve", "--target", target).code == 0
    assert sets() == []
    assert ("_dmarc.acme.com", "TXT") in house.zone()
    found = house.cli("plan", STATE, "--format", "json").json
    assert {c["address"] for c in found["changes"]} >= {
        f"configuration_set/{HOME}/{n}" for n in ("one", "two", "three")
    }
    house.settle()


def test_a_target_that_fits_nothing_changes_nothing(house: House) -> None:
    house.write(SETS)
    ran = house.cli("apply", STATE, "--auto-approve", "--target", "configuration_set/us-east-1/oen")
    assert ran.code == 1
    assert sets() == []
    assert "did you mean configuration_set/us-east-1/one?" in ran.err
    house.settle()
    assert house.cli("plan", STATE, "--target", "configuration_set/us-east-1/one").code == 0


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("dns_record/acme.com/_dmrc.acme.com/TXT", f"did you mean {DMARC}"),
        ("dns_record/acne.com/_dmarc.acne.com/TXT", f"did you mean {DMARC}"),
        ("dns_record/acme.com/_dmrc*", "fits nothing"),
        ("dns_record/acme.com/www.acme.com/CNAME", "fits nothing"),  # lives, and is nobody's here
        ("email_identity/us-east-1/acme.org", f"did you mean {IDENTITY}"),
        ("event_destination/us-east-1/one/x", "fits nothing"),
        ("smtp_user/nobody", "fits nothing"),
        ("email_identity/eu-west-1/acme.com", f"did you mean {IDENTITY}"),
    ],
)
def test_a_target_with_a_typing_error_is_an_error(house: House, target: str, told: str) -> None:
    house.seed_zone()
    house.settle(merge(DOMAIN, SETS))
    for command in (["plan"], ["drift"], ["apply", "--auto-approve"], ["destroy", "--allow-deletes", "9"]):
        ran = house.cli(command[0], STATE, *command[1:], "--target", target, "--target", IDENTITY)
        assert ran.code == 1, ran
        assert f"--target {target} fits nothing" in ran.err
        assert told in ran.err
    ran = house.cli("plan", STATE, "--format", "json", "--target", target)
    assert [d["code"] for d in ran.json["diagnostics"]] == ["unknown-target"]
    assert house.identity()


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("email_identiy/us-east-1/acme.com", "did you mean email_identity?"),
        ("dns_records/acme.com/*", "did you mean dns_record?"),
        ("email_identity/acme.com", "email_identity/REGION/NAME"),
        ("email_identity/us-esat-1/acme.com", "SES has no region"),
        ("acme.com", "is no kind"),
        ("", "is no kind"),
    ],
)
def test_a_target_that_is_no_address_is_refused_before_aws_is_asked(house: House, target: str, told: str) -> None:
    house.write(DOMAIN)
    house.clear()
    ran = house.cli("apply", STATE, "--auto-approve", "--target", target, "--target", "configuration_sets/x/y")
    assert ran.code == 1
    assert told in ran.err
    assert "configuration_sets" in ran.err  # all of it at once
    assert house.calls() == []


TARGETS = (
    DMARC, "dns_record/acme.com/acme.com:dkim:us-east-1:1/CNAME", "dns_record/*/_dmarc*", "dns_record/acme.com/*",
    "dns_record/acme.com/_recon.none.acme.com/TXT", "dns_record/acme.com/_dmarc.none.acme.com/TXT",
    "dns_record/manual/_dmarc.hand.acme.com/TXT",
)  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_that_is_right_already_is_no_change(house: House, target: str) -> None:
    house.seed_zone()
    more = {"none.acme.com": {"identity": False, "dmarc": {"p": "none"}},
            "hand.acme.com": {"identity": False, "zone": "manual", "dmarc": {"p": "none"}}}  # fmt: skip
    house.settle(merge(DOMAIN, {"domains": more}))
    ran = house.cli("plan", STATE, "--target", target)
    assert ran.code == 0, ran
    assert "No changes." in ran.out
    assert house.cli("destroy", STATE, "--allow-deletes", "9").code == 0
    ran = house.cli("destroy", STATE, "--allow-deletes", "9", "--target", target)  # a run that ended early, run again
    assert ran.code == (1 if "_recon" in target else 0), ran


def test_a_target_that_fits_nothing_says_what_could_not_be_read(house: House) -> None:
    """Could not read is never taken for does not exist: the record may be one that only the zone remembers."""
    house.seed_zone()
    house.settle(DOMAIN)
    house.sandbox.fault("denied", operation="GetResources", count=None)
    ran = house.cli("plan", STATE, "--target", "dns_record/acme.com/_dmarc.gone.acme.com/TXT", "--format", "json")
    assert ran.code == 1
    assert {d["code"] for d in ran.json["diagnostics"]} == {"unknown-target", "unread"}


@pytest.mark.parametrize(
    "target", [IDENTITY, "dns_record/acme.com/bounce.acme.com/*", "dns_record/acme.com/acme.com/TXT"]
)
def test_a_target_never_forgets_what_is_ours(house: House, target: str) -> None:
    house.seed_zone()
    full = merge(
        DOMAIN,
        {
            "domains": {
                "acme.com": {"mail_from": {"mail_from_domain": "bounce.acme.com"}, "spf": {"include": "a.example"}}
            }
        },
    )
    house.write(full)
    assert house.cli("apply", STATE, "--auto-approve", "--target", target).code == 0
    house.settle()
    house.write(SETS)
    assert house.cli("apply", STATE, "--auto-approve", "--target", target).code == 0
    house.settle()
    house.check_foreign(alone=True)


def test_a_partial_failure_stops_only_what_depends_on_it(house: House) -> None:
    house.seed_zone()
    house.write(merge(DOMAIN, SETS))
    house.sandbox.fault("denied", operation="CreateEmailIdentity", count=None)
    ran = house.cli("apply", STATE, "--auto-approve", "--format", "json")
    assert ran.code == 1
    assert ran.json["outcome"] == "partial"
    assert sets() == ["one", "three", "two"]
    problem = next(d for d in ran.json["diagnostics"] if d["severity"] == "error")
    assert "ses:CreateEmailIdentity" in problem["hint"]
    assert problem["address"] == IDENTITY
    house.sandbox.clear_faults()
    assert house.cli("apply", STATE, "--auto-approve").code == 0
    house.quiet()


def test_wait_ends_when_ses_has_verified_or_says_why_not(house: House) -> None:
    house.seed_zone()
    house.write(DOMAIN)
    ran = house.cli("apply", STATE, "--auto-approve", "--wait")
    assert ran.code == 0 and "acme.com is verified in us-east-1" in ran.out
    house.sandbox.settings(verification_delay=3600.0)
    house.seed_zone("late.example", {})
    house.write(merge(DOMAIN, {"domains": {"late.example": {"dkim": {}}}}))
    ran = house.cli("apply", STATE, "--auto-approve", "--wait", "--verify-timeout", "1s", "--format", "json")
    assert ran.code == 1
    assert ran.json["outcome"] == "verify_timeout"
    assert any("late.example" in d["message"] and "not verified" in d["message"] for d in ran.json["diagnostics"])
    # A status is no change.
    assert house.cli("plan", STATE, "--detailed-exitcode").code == 0


def test_plan_and_drift_never_write(house: House) -> None:
    house.seed_zone()
    house.write(merge(DOMAIN, SETS))
    for command in ("validate", "plan", "drift", "graph"):
        house.cli(command, STATE)
    house.cli("plan", STATE, "--out", "p.json")
    house.cli("show", "p.json")
    assert house.writes() == []


def test_a_secret_never_shows(house: House) -> None:
    house.write(
        {
            "domains": {"acme.com": {"zone": "manual"}},
            "smtp_users": {
                "news": {"from_addresses": ["*@acme.com"], "credentials": {"secretsmanager": {"name": "recon/news"}}}
            },
        }
    )
    ran = house.cli("apply", STATE, "--auto-approve", "-v", "-v")
    assert ran.code == 0
    value = json.loads(client("secretsmanager").get_secret_value(SecretId="recon/news")["SecretString"])
    password = value["regions"][HOME]["password"]
    after = house.cli("plan", STATE, "--format", "json")
    written = "".join(p.read_text() for p in house.home.rglob("*") if p.is_file())
    assert password not in ran.out + ran.err + after.out + written
