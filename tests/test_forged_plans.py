"""A plan file that somebody has edited, with a digest that fits again: refused, or applied as an honest file is.

Every leaf of saved plans is changed, removed or given a neighbour. What apply then does is compared with what it does
of the honest file: either nothing at all, or every change that the file shows is one that the honest file shows, and
the same calls are made with the same parameters.
"""

from __future__ import annotations

import contextlib
import copy
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cases_support as cases
import pytest
import support
from faults import ledger
from faults.scenarios import SCENARIOS, Scenario, pem
from support import client

from reconciler import applier, running
from reconciler.desired import load
from reconciler.desired.declared import _escaped, from_document, to_document
from reconciler.errors import InvalidState, Stale
from reconciler.model import Plan, Result, Stack, State, digest_of
from reconciler.planner import stack_in_context
from reconciler.resources import KINDS

DECIDES = (
    "address", "kind", "action", "region", "before", "after", "diff", "unknown", "depends_on", "moved_from", "counts",
    "observed_digest",
)  # fmt: skip
"""The members of a change that say what will be written; places and notes are only told."""

OTHER_ACCOUNT = "444455556666"
NOW = "2026-11-22T12:00:00Z"


class Forgery(NamedTuple):
    """One edit: where, and the document that it gives."""

    place: str
    document: dict[str, Any]


def sign(document: dict[str, Any]) -> dict[str, Any]:
    """``document`` with a digest that fits, as anybody can compute it."""
    document.pop("digest", None)
    document["digest"] = digest_of(document)
    return document


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every leaf and every empty collection, with its path."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = False
    for key, item in inner:
        found = True
        yield from leaves(item, (*path, key))
    if not found:
        yield path, value


def sign_declared(document: dict[str, Any]) -> None:
    """Make the digest of the declared state right, too, where it still is one."""
    with contextlib.suppress(InvalidState):
        context = document["context"]
        state = from_document(context["stack"], document["declared"], context["root"])
        document["state_digest"] = state.digest


def forged(document: Mapping[str, Any], share: int, turn: int = 0) -> Iterator[Forgery]:
    """One in ``share`` of all edits, by a hash of their places: of every leaf another value, none, and a neighbour."""
    for path, value in leaves({k: v for k, v in document.items() if k != "digest"}):
        for what, edit in (("changed", _change), ("removed", _remove), ("added", _add)):
            name = f"{'.'.join(map(str, path))} {what}"
            if zlib.crc32(name.encode()) % share != turn:
                continue
            made = dict(document)
            place: Any = made
            for key in path[:-1]:  # the rest is shared with the document: a plan has thousands of leaves
                place[key] = copy.copy(place[key])
                place = place[key]
            edit(place, path[-1], value)
            if path[0] == "declared":
                sign_declared(made)
            yield Forgery(name, sign(made))


def _change(place: Any, key: Any, value: Any) -> None:
    place[key] = _other(value)


def _remove(place: Any, key: Any, value: Any) -> None:
    del place[key]


def _add(place: Any, key: Any, value: Any) -> None:
    if isinstance(place, list):
        place.append(_other(value))
    else:
        place[f"{key}_"] = value


_OTHERS: dict[str, str] = {
    "create": "update", "update": "delete", "delete": "create", "adopt": "update", "replace": "delete",
    support.ACCOUNT: OTHER_ACCOUNT, support.HOME: "eu-west-1", "none": "reject", "quarantine": "reject",
    "REQUIRE": "OPTIONAL", "OPTIONAL": "REQUIRE", "BOUNCE": "COMPLAINT", "AWS_SES": "EXTERNAL",
}  # fmt: skip


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return _OTHERS.get(value, f"{value}x")
    return "x" if value is None else ["x"]


# --- plans ---------------------------------------------------------------------------------------------------------


class Story(NamedTuple):
    """A plan to save: what is there before, and what the YAML says then."""

    id: str
    begin: Callable[[support.House], object]
    document: Mapping[str, Any]
    hours: int = 0


def _begin_case(house: support.House, case: cases.Case, before: tuple[Mapping[str, Any], ...]) -> None:
    cases.begin(house, case, *before)


def of_cases() -> Iterator[Story]:
    """Of every case of the registry a creation, a change and a deletion, where there is one."""
    for case in cases.all_cases():
        whole, hours = case.whole("a"), max((one.hours for one in case.fields), default=0)
        for name, before, after in (
            ("create", (), whole),
            ("change", (whole,), case.whole("b")),
            ("delete", (whole,), case.gone),
        ):
            if name == "delete" and case.permanent:
                continue  # nothing is planned
            yield Story(f"{case.id}-{name}", partial(_begin_case, case=case, before=before), after, hours)


def of_scenarios() -> Iterator[Story]:
    """The worlds of the fault matrix: many kinds at once, renames, adoptions, what an interrupted run left."""

    def begin(house: support.House, scenario: Scenario) -> None:
        scenario.others(house)
        for document in scenario.before:
            house.settle(document, parallelism=1)
        scenario.hands(house)

    for scenario in SCENARIOS:
        if scenario.target is not None and scenario.name.partition("-")[2] not in KINDS:
            yield Story(scenario.name, partial(begin, scenario=scenario), scenario.target)


def of_example() -> Story:
    """A first apply of ``state/`` as production, resolved, in this account."""
    state = load("state", "production").state
    document = _escaped(to_document(state))
    stack = {"stack": {"regions": list(state.stack.regions), "tags": dict(state.stack.tags)}}

    def begin(house: support.House) -> None:
        names = set(document["domains"])
        for name in sorted(names):
            if not any(name.endswith(f".{other}") for other in names):
                house.seed_zone(name)
        client("secretsmanager").create_secret(Name="recon/dkim/survey", SecretString=pem(1))

    return Story("example", begin, {**document, **stack})


STORIES = {story.id: story for story in (*of_cases(), *of_scenarios())}


class Honest(NamedTuple):
    """A saved plan, the world that it was made in, and what applying it does."""

    document: dict[str, Any]
    world: Any
    calls: Counter[str]
    end: Any


def writes(house: support.House) -> Counter[str]:
    """The writes since ``clear`` with their parameters. IAM and Route 53 have one place, wherever they are called."""
    found: Counter[str] = Counter()
    for call in house.sandbox.calls():
        if not call["operation"].startswith(support.READS):
            place = "" if call["service"] in {"iam", "route53"} else call["region"]
            params = {key: value for key, value in call["params"].items() if key != "ClientRequestToken"}
            found[json.dumps([call["service"], call["operation"], place, call["account"], params], default=str)] += 1
    return found


def apply(house: support.House, *options: str) -> support.Ran:
    more = ("--format", "json", "--parallelism", "1", "--resume-sending", "--verify-timeout", "1s")
    return house.cli("apply", "plan.json", *more, *options)


def honest(house: support.House, story: Story) -> Honest:
    """Save the plan of a story, and apply it."""
    story.begin(house)
    house.sandbox.advance(3600 * story.hours)
    house.write(story.document)
    ran = house.cli("plan", "state.yaml", "--out", "plan.json")
    assert ran.code == 0, ran
    plan = json.loads((house.home / "plan.json").read_text())
    world = ledger.take(house.sandbox)
    house.clear()
    ran = apply(house)
    assert ran.code == 0, ran
    found = Honest(plan, world, writes(house), ledger.of(house.sandbox))
    ledger.restore(house.sandbox, world)
    return found


def shown(document: Mapping[str, Any]) -> Any:
    """What ``recon show`` says will be written."""
    changes = [
        {**change, "diff": [{key: value for key, value in diff.items() if key != "source"} for diff in change["diff"]]}
        for change in document["changes"]
    ]
    return [{key: change.get(key) for key in DECIDES} for change in changes]


class Memo:
    """Plans and applies once for all forgeries that ask for the same.

    What ``running.make`` gives follows from its arguments and from AWS, which is the same before each forgery. What an
    apply does follows from the plan that was made so, and from the changes, context and scope that it is handed."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.runs: dict[str, running.PlannedRun] = {}
        self.results: dict[str, Result] = {}
        self.repeated = False
        self._make, self._apply = running.make, applier.apply_plan
        patch.setattr(running, "make", self.make)
        patch.setattr(applier, "apply_plan", self.apply)

    def make(self, state: State, *, again: Mapping[str, Any], **options: Any) -> running.PlannedRun:
        asked = [stack_in_context(state.stack), to_document(state), state.root, [*again.items()], options]
        key = json.dumps(asked, sort_keys=True)
        if key not in self.runs:
            self.runs[key] = self._make(state, again=again, **options)
        self.key = key
        return self.runs[key]

    def apply(self, plan: Plan, aws: Any, **options: Any) -> Result:
        handed = Plan("", None, "", "", "", "", plan.changes, scope=plan.scope, context=plan.context)
        key = f"{self.key} {handed!r}"
        self.repeated = key in self.results
        if not self.repeated:
            self.results[key] = self._apply(handed, aws, **options)
            del self.runs[self.key]  # it holds what this apply has changed
        return replace(self.results[key], plan=plan)


def check(house: support.House, plan: Honest, forgery: Forgery, memo: Memo) -> str:
    """Apply a forged file; the outcome, after nothing but what it shows was done."""
    (house.home / "plan.json").write_text(json.dumps(forgery.document))
    house.clear()
    memo.repeated = False
    ran = apply(house)
    made = writes(house)
    if memo.repeated:
        assert not made and ran.code == 0, (forgery.place, ran)
        assert shown(forgery.document) == shown(plan.document), forgery.place
        return "applied"
    if not made:
        assert ran.code == 3, (forgery.place, ran)
        return str(json.loads(ran.out)["outcome"])
    try:
        assert shown(forgery.document) == shown(plan.document), forgery.place
        assert made == plan.calls, (forgery.place, made - plan.calls, plan.calls - made)
        assert ledger.of(house.sandbox) == plan.end, forgery.place
    finally:
        ledger.restore(house.sandbox, plan.world)
    return "applied"


def forge(house: support.House, story: Story, share: int, turn: int = 0) -> Counter[str]:
    """Try one in ``share`` of the forgeries of a plan."""
    plan = honest(house, story)
    with pytest.MonkeyPatch.context() as patch:
        memo = Memo(patch)
        return Counter(check(house, plan, one, memo) for one in forged(plan.document, share, turn))


@pytest.fixture(autouse=True)
def steady(house: support.House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECON_NOW", NOW)


FEW = (
    "configuration_set-change", "dedicated_ip_pool-delete", "dns_record-change", "email_identity-1-delete",
    "email_template-create", "event_destination-2-change", "smtp_credential-1-create", "smtp_user-delete", "rename",
)  # fmt: skip


@pytest.mark.parametrize("name", FEW)
def test_some_forgeries(house: support.House, name: str) -> None:
    assert forge(house, STORIES[name], 60)["stale"]


@pytest.mark.slow
@pytest.mark.parametrize("story", [*of_cases()], ids=lambda story: story.id)
def test_every_forgery_of_every_case(house: support.House, story: Story) -> None:
    assert forge(house, story, 1)["stale"]


@pytest.mark.slow
@pytest.mark.parametrize("story", [*of_scenarios()], ids=lambda story: story.id)
def test_every_forgery_in_the_worlds_of_the_fault_matrix(house: support.House, story: Story) -> None:
    assert forge(house, story, 1)["stale"]


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(8))
def test_every_forgery_of_the_example(house: support.House, turn: int) -> None:
    assert forge(house, of_example(), 8, turn)["stale"]


# --- attacks -------------------------------------------------------------------------------------------------------

DOCUMENT: dict[str, Any] = {
    "domains": {"acme.com": {"dkim": {}, "dmarc": {"p": "none"}, "configuration_set_name": "main"}},
    "configuration_sets": {"main": {}, **{f"old{n}": {} for n in range(14)}},
    "smtp_users": {
        "news": {"from_addresses": ["*@acme.com"], "credentials": {"secretsmanager": {"name": "recon/news"}}}
    },
}
FOREIGN = {
    ("acme.com", "MX"): ["10 mail.acme.com."], ("www.acme.com", "CNAME"): ["host.example."],
    ("shop.acme.com", "NS"): ["ns1.shop.example."], ("acme.com", "TXT"): ["other"],
}  # fmt: skip
CHANGED = support.merge(
    DOCUMENT,
    {
        "domains": {"acme.com": {"dmarc": {"p": "quarantine"}, "mail_from": {"mail_from_domain": "bounce.acme.com"}}},
        "smtp_users": {
            "news": {"from_addresses": ["news@acme.com"]},
            "shop": {"from_addresses": ["*@acme.com"], "credentials": {"secretsmanager": {"name": "recon/shop"}}},
        },
    },
)


def _dmarc(document: dict[str, Any]) -> dict[str, Any]:
    return _change_at(document, "dns_record/acme.com/_dmarc.acme.com/TXT")


def _change_at(document: dict[str, Any], address: str) -> dict[str, Any]:
    return next(c for c in document["changes"] if c["address"] == address)


def _new_change(document: dict[str, Any], address: str, **members: Any) -> None:
    """Add a change that is whole, and counted in the summary."""
    model = {**copy.deepcopy(document["changes"][0]), "notes": [], "unknown": [], "depends_on": [], "source": None}
    before, after = members.get("before"), members.get("after")
    diff = [
        {"path": key, "before": (before or {}).get(key), "after": (after or {}).get(key), "source": None}
        for key in sorted({**(before or {}), **(after or {})})
        if (before or {}).get(key) != (after or {}).get(key)
    ]
    found = {"address": address, "kind": address.partition("/")[0], "diff": diff, "region": None, "counts": False}
    document["changes"].append({**model, "observed_digest": None, **found, **members})
    document["summary"][members["action"]] += 1


def another_record(document: dict[str, Any]) -> None:
    document["declared"]["domains"]["acme.com"]["dmarc"] = {"p": "reject", "rua": ["mailto:x@evil.example"]}


def another_record_in_after_alone(document: dict[str, Any]) -> None:
    _dmarc(document)["after"].update(p="reject", value="v=DMARC1; p=reject")


def an_execution(document: dict[str, Any]) -> None:
    _dmarc(document)["execution"] = {"zone": "Z1", "name": "evil.acme.com", "type": "TXT", "add": ['"x"'], "remove": []}


def a_foreign_cname(document: dict[str, Any]) -> None:
    place = {"name": "www.acme.com", "type": "CNAME", "ttl": 300}
    digest = digest_of({"ttl": 300, "values": ["host.example."]})
    _new_change(
        document, "dns_record/acme.com/www.acme.com/CNAME", action="update", before={**place, "value": "host.example"},
        after={**place, "value": "r.us-east-1.awstrack.me"}, observed_digest=digest,
    )  # fmt: skip
    tracking = {"tracking_options": {"custom_redirect_domain": "www.acme.com"}}
    document["declared"]["configuration_sets"]["main"].update(tracking)


def the_apex_mx(document: dict[str, Any]) -> None:
    place = {"name": "acme.com", "type": "MX", "ttl": 300}
    digest = digest_of({"ttl": 300, "values": ["10 mail.acme.com."]})
    _new_change(
        document, "dns_record/acme.com/acme.com/MX", action="update", before={**place, "value": "10 mail.acme.com"},
        after={**place, "value": "0 ."}, observed_digest=digest,
    )  # fmt: skip
    document["declared"]["domains"]["acme.com"]["null_mx"] = True


def a_delegation(document: dict[str, Any]) -> None:
    place = {"name": "shop.acme.com", "type": "NS", "ttl": 300}
    digest = digest_of({"ttl": 300, "values": ["ns1.shop.example."]})
    _new_change(
        document, "dns_record/acme.com/shop.acme.com/NS", action="update",
        before={**place, "value": "ns1.shop.example"}, after={**place, "value": "ns1.evil.example"},
        observed_digest=digest,
    )  # fmt: skip


def every_action(document: dict[str, Any]) -> None:
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    _change_at(document, "smtp_user/news")["after"]["policy"] = policy


def wider_conditions(document: dict[str, Any]) -> None:
    document["declared"]["smtp_users"]["news"]["from_addresses"] = ["*"]


def a_foreign_identity(document: dict[str, Any]) -> None:
    live = client("sesv2").get_email_identity(EmailIdentity="theirs.example")
    spec = {
        "dkim": {
            "signing_enabled": True, "signing_attributes_origin": "AWS_SES",
            "next_signing_key_length": live["DkimAttributes"]["NextSigningKeyLength"],
        },
        "mail_from": None, "configuration_set_name": None, "email_forwarding_enabled": True, "policies": {},
        "tags": {"recon:stack": "theirs"},
    }  # fmt: skip
    digest = digest_of({"spec": spec, "tags": spec["tags"]})
    _new_change(
        document, "email_identity/us-east-1/theirs.example", action="delete", before=spec, after=None,
        observed_digest=digest, region="us-east-1",
    )  # fmt: skip


def _a_key_of(document: dict[str, Any], name: str) -> None:
    credential = copy.deepcopy(_change_at(document, "smtp_credential/shop"))
    stored = {"credentials": [f"secretsmanager evil/{name} in us-east-1"]}
    members = {**credential, "after": {**credential["after"], **stored}}
    _new_change(document, f"smtp_credential/{name}", **{k: v for k, v in members.items() if k != "address"})
    document["declared"]["smtp_users"][name] = {"credentials": {"secretsmanager": {"name": f"evil/{name}"}}}


def a_key_of_a_foreign_user(document: dict[str, Any]) -> None:
    _a_key_of(document, "theirs")


def a_key_of_a_foreign_user_by_a_rename(document: dict[str, Any]) -> None:
    change = _change_at(document, "smtp_credential/shop")
    change.update(
        moved_from="smtp_credential/theirs", moved={"address": "smtp_credential/theirs", "kind": "smtp_credential"}
    )


def a_rename_of_a_foreign_user(document: dict[str, Any]) -> None:
    change = _change_at(document, "smtp_user/shop")
    change.update(action="replace", moved_from="smtp_user/theirs")
    document["summary"].update(create=document["summary"]["create"] - 1, replace=1)
    document["declared"]["moved"] = [{"from": "smtp_user/theirs", "to": "smtp_user/shop"}]


def another_store(document: dict[str, Any]) -> None:
    document["declared"]["smtp_users"]["shop"]["credentials"]["secretsmanager"]["name"] = "evil/shop"


def another_account(document: dict[str, Any]) -> None:
    document["context"]["stack"]["account"] = OTHER_ACCOUNT


def another_account_everywhere(document: dict[str, Any]) -> None:
    another_account(document)
    document["account"] = OTHER_ACCOUNT


def another_stack(document: dict[str, Any]) -> None:
    document["context"]["stack"]["name"] = document["stack"] = document["scope"] = "theirs"


def a_change_less(document: dict[str, Any]) -> None:
    gone = document["changes"].pop()
    document["summary"][gone["action"]] -= 1


ATTACKS = [
    another_record, another_record_in_after_alone, an_execution, a_foreign_cname, the_apex_mx, a_delegation,
    every_action, wider_conditions, a_foreign_identity, a_key_of_a_foreign_user, a_key_of_a_foreign_user_by_a_rename,
    a_rename_of_a_foreign_user, another_store, another_account, another_account_everywhere, another_stack,
]  # fmt: skip


@pytest.fixture
def company(house: support.House) -> support.House:
    """An applied stack among things of others, and a saved plan that changes it."""

    def make() -> None:
        house.seed_zone("acme.com", FOREIGN)
        house.sandbox.seed(identities=[{"names": ["theirs.example"], "tags": {"recon:stack": "theirs"}}])
        client("iam").create_user(UserName="theirs", Tags=[{"Key": "recon:stack", "Value": "theirs"}])
        house.write(DOCUMENT)
        assert house.cli("apply", "state.yaml", "--auto-approve").code == 0
        house.write(CHANGED)
        assert house.cli("plan", "state.yaml", "--out", "plan.json").code == 0

    house.once("a company whose plan is forged", make)
    return house


def edited(house: support.House, edit: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The saved plan of ``house`` with an edit, signed."""
    document = json.loads((house.home / "plan.json").read_text())
    edit(document)
    (house.home / "plan.json").write_text(json.dumps(sign(document)))
    house.clear()
    return document


@pytest.mark.parametrize("with_state", [False, True], ids=["alone", "with-state"])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_attack_is_refused(
    company: support.House, attack: Callable[[dict[str, Any]], None], with_state: bool
) -> None:
    document = edited(company, attack)
    more = ("--state", "state.yaml") if with_state else ()
    ran = apply(company, "--allow-deletes", "0", "--expect", document["digest"], *more)
    honest_with_state = with_state and attack in (another_record, wider_conditions, another_store, another_account)
    assert (ran.code == 0) == honest_with_state, ran
    if honest_with_state:  # what the file says is declared, and for which stack, does not matter: the YAML does
        company.quiet()
    else:
        assert writes(company) == Counter()


def test_no_file_is_read_for_what_a_plan_says_is_declared(company: support.House) -> None:
    """Whoever can edit the file must not learn what stands in files of the machine that applies it."""
    (company.home / "secret.txt").write_text("hunter2")

    def read_a_file(document: dict[str, Any]) -> None:
        letter = {"subject": {"file": "secret.txt"}, "text": "x"}
        document["declared"]["email_templates"] = {"welcome": letter, "by": {"by_region": {"us-east-1": letter}}}
        _new_change(document, "email_template/us-east-1/welcome", action="create", before=None, after={"subject": "x"})

    edited(company, read_a_file)
    ran = apply(company)
    assert ran.code == 3
    assert "hunter2" not in ran.out + ran.err
    assert writes(company) == Counter()


def test_deletions_are_counted_by_kinds(company: support.House) -> None:
    company.write({**DOCUMENT, "configuration_sets": {"main": {}}}, stack={"max_deletes": 1})
    assert company.cli("plan", "state.yaml", "--out", "plan.json").code == 0

    def uncounted(document: dict[str, Any]) -> None:
        for change in document["changes"]:
            change["counts"] = False

    edited(company, uncounted)
    ran = apply(company)
    assert ran.code == 3
    assert writes(company) == Counter()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("apply_role_arn", f"arn:aws:iam::{OTHER_ACCOUNT}:role/evil"),
        ("dns_role_arn", f"arn:aws:iam::{OTHER_ACCOUNT}:role/evil"),
        ("backend", {"s3": {"bucket": "evil-bucket", "prefix": "evil/"}}),
        ("max_deletes", 4711),
    ],
)
def test_what_a_plan_is_applied_with_is_shown_and_comes_from_the_yaml(
    company: support.House, key: str, value: Any
) -> None:  # fmt: skip
    """Who applies a file without the YAML has seen in ``show`` what it does beside its changes."""

    def forge_stack(document: dict[str, Any]) -> None:
        document["context"]["stack"][key] = value

    edited(company, forge_stack)
    words = "evil" if key != "max_deletes" else "4711"
    for format in ("text", "json", "markdown", "html"):
        assert words in company.cli("show", "plan.json", "--format", format).out
    assert apply(company, "--state", "state.yaml").code == 0
    assert not [c for c in company.sandbox.calls() if "evil" in json.dumps(c["params"], default=str)]


def test_with_state_the_yaml_may_say_more_elsewhere(company: support.House) -> None:
    company.write(support.merge(CHANGED, {"configuration_sets": {"more": {}}}))
    assert apply(company, "--state", "state.yaml").code == 0
    assert [c.address for c in company.plan().changes] == ["configuration_set/us-east-1/more"]


def test_with_state_what_differs_is_named(company: support.House) -> None:
    company.write(support.put(CHANGED, ("domains", "acme.com", "dmarc", "p"), "reject"))
    company.clear()
    ran = apply(company, "--state", "state.yaml")
    assert ran.code == 3
    told = json.loads(ran.out)
    assert "state.yaml" in told["message"]
    assert {d["address"] for d in told["diagnostics"]} == {"dns_record/acme.com/_dmarc.acme.com/TXT"}
    assert writes(company) == Counter()


def test_a_rename_is_shown_and_its_old_name_is_not_left_to_notes(company: support.House) -> None:
    moved = [{"from": "configuration_set/us-east-1/old1", "to": "configuration_set/us-east-1/new1"}]
    sets = {name: {} for name in (*DOCUMENT["configuration_sets"], "new1") if name != "old1"}
    company.write({**DOCUMENT, "configuration_sets": sets, "moved": moved})
    assert company.cli("plan", "state.yaml", "--out", "plan.json").code == 0

    def without_notes(document: dict[str, Any]) -> None:
        assert _change_at(document, "configuration_set/us-east-1/new1")["moved_from"] == moved[0]["from"]
        for change in document["changes"]:
            change["notes"] = []

    edited(company, without_notes)
    for format in ("text", "json", "markdown", "html"):
        assert moved[0]["from"] in company.cli("show", "plan.json", "--format", format).out
    ran = apply(company)
    assert ran.code == 0, ran.json["message"]


def test_a_user_that_another_stack_has_taken_meanwhile_gets_no_key(company: support.House) -> None:
    """Between the plan that was made again and the write: what is read to plan a key does not say whose the user is."""
    from reconciler.resources.smtp_credential import kind

    tags = [{"Key": "recon:stack", "Value": "theirs"}]

    class Run:
        scope = "acme"

        class aws:
            stack = Stack("acme", None, "111122223333", ())
            call_if_there = staticmethod(lambda *names, **parameters: {"User": {"Tags": tags}})

    with pytest.raises(Stale, match='belongs to the recon stack "theirs"'):
        kind._create_key(Run, {"user": "news"})  # type: ignore[arg-type]


# --- the declared state in the file --------------------------------------------------------------------------------


def same_again(state: State) -> None:
    """The state comes back from what a plan file holds of it, after a trip through JSON."""
    stack, document = json.loads(json.dumps([stack_in_context(state.stack), to_document(state)]))
    root = Path(state.root)
    again = from_document(stack, document, str(root if root.is_dir() else root.parent))
    assert again.digest == state.digest


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_the_example_comes_back(environment: str) -> None:
    same_again(load("state", environment).state)


@pytest.mark.parametrize("case", cases.all_cases(), ids=lambda case: case.id)
def test_every_case_comes_back(house: support.House, case: cases.Case) -> None:
    cases.write_files(house, case)
    for document in (case.whole("a"), case.whole("b")):
        same_again(load(house.write(document)).state)


def test_what_differs_by_region_and_what_looks_like_a_variable_comes_back(house: support.House) -> None:
    parent = "AWS_SES_US_EAST_1"
    document = {
        "defaults": {"domain": {"dkim": {"next_signing_key_length": "RSA_2048_BIT"}}},
        "configuration_sets": {
            "main": {
                "regions": ["us-east-1", "eu-west-1"],
                "delivery_options": {"tls_policy": "REQUIRE"},
                "by_region": {"eu-west-1": {"tags": {"only": "here"}, "delivery_options": {"tls_policy": "OPTIONAL"}}},
            }
        },
        "domains": {
            "acme.com": {
                "regions": ["us-east-1", "eu-west-1"],
                "mail_from": {"mail_from_domain": "bounce-${region}.acme.com"},
                "dmarc": {"p": "none"},
                "by_region": {"eu-west-1": {"dkim": {"signing_attributes_origin": parent}}},
                "unmanaged": ["spf"],
            },
            "acme.net": {"identity": False, "null_mx": True, "protect": True},
        },
        "email_templates": {"welcome": {"subject": "Hello $${name}", "text": "$${a} {{b}}"}},
        "smtp_users": {
            "news": {
                "from_addresses": ["*"],
                "credentials": {"secretsmanager": {"name": "recon/${region}"}},
                "conditions": {"StringLike": {"aws:PrincipalTag/x": "${aws:username}"}},
            }
        },
        "rules": {"dmarc-no-rua": "off"},
        "waivers": [{"rule": "dmarc-no-rua", "address": "*", "reason": "parked", "until": "2030-01-31"}],
    }
    same_again(load(house.write(document, stack={"tags": {"team": "mail"}, "dns": {"account": OTHER_ACCOUNT,
               "role_arn": f"arn:aws:iam::{OTHER_ACCOUNT}:role/dns"}})).state)  # fmt: skip


# --- the account ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [4, 13, 14, 15, 16, 17])
def test_credentials_that_change_the_account_write_nothing_there(
    house: support.House, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ``credential_process`` whose credentials expire at once, and are another account's after so many times."""
    house.seed_zone()
    house.write({"domains": {"acme.com": {"dmarc": {"p": "none"}}}, "configuration_sets": {"main": {}}})
    soon = datetime.now(UTC) + timedelta(minutes=5)  # so soon that they are renewed before each use
    found = {"Version": 1, "SecretAccessKey": "x", "Expiration": soon.isoformat()}
    for name, key in (("ours", "AKIASANDBOXSANDBOX00"), ("theirs", OTHER_ACCOUNT)):
        (house.home / name).write_text(json.dumps({**found, "AccessKeyId": key}))
    script = house.home / "credentials"
    script.write_text(
        f"cd {house.home}; printf x >> count; if [ $(wc -c < count) -le {after} ]; then cat ours; else cat theirs; fi\n"
    )
    (house.home / "config").write_text(f"[profile p]\nregion = us-east-1\ncredential_process = sh {script}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_PROFILE", "p")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(house.home / "config"))
    house.fresh_clients()
    house.clear()
    ran = house.cli("apply", "state.yaml", "--auto-approve", "--parallelism", "2")
    house.fresh_clients()
    assert ran.code in {1, 3}, ran
    assert OTHER_ACCOUNT in ran.out + ran.err and "a fault of recon" not in ran.out + ran.err
    assert {c["account"] for c in house.sandbox.calls() if c["operation"] != "GetCallerIdentity"} <= {support.ACCOUNT}
