"""The planner as a function of a frozen snapshot: pure, in a stable order, with circles named; safeguards."""

from __future__ import annotations

import copy
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from support import HOME, House, merge
from test_e2e_interrupted import CHANGED, FULL, NEW_KEYS, USER, dkim_key

from reconciler.errors import ReconError, Refused
from reconciler.kinds.kind import LABELS
from reconciler.kinds.plain import PlainKind
from reconciler.kinds.registry import PLANNING, RANK, REGISTRY
from reconciler.model import Change, Note, Plan
from reconciler.planner import in_order, make_plan
from reconciler.resources import KINDS
from reconciler.safeguards import check_safeguards
from reconciler.steps import steps_of
from reconciler.targets import normalise_target, select


def change(address: str, action: Any = "create", needs: tuple[str, ...] = (), **more: Any) -> Change:
    return Change(address, address.partition("/")[0], action, None, None, depends_on=needs, **more)


def plan(*changes: Change, outcome: str = "changes") -> Plan:
    return Plan("acme", None, "1", outcome, "now", "d", changes)


SET, IDENTITY, POOL = "configuration_set/r/s", "email_identity/r/d", "dedicated_ip_pool/r/p"


def test_what_is_needed_comes_first_whatever_the_order_given() -> None:
    changes = [change(IDENTITY, needs=(SET,)), change(SET, needs=(POOL,)), change(POOL)]
    assert [c.address for c in in_order(changes)] == [POOL, SET, IDENTITY]
    assert in_order(changes) == in_order(changes[::-1])


def test_deletes_come_last_and_in_the_reverse() -> None:
    changes = [
        change(POOL, "delete", (SET,)),
        change(SET, "delete", (IDENTITY,)),
        change(IDENTITY, "delete"),
        change("smtp_user/u"),
    ]
    assert [c.address for c in in_order(changes)] == ["smtp_user/u", IDENTITY, SET, POOL]


def test_a_circle_is_an_error_that_names_its_members() -> None:
    with pytest.raises(ReconError) as caught:
        in_order([change(SET, needs=(IDENTITY,)), change(IDENTITY, needs=(SET,))])
    assert SET in caught.value.message
    assert IDENTITY in caught.value.message


def test_a_plan_is_a_pure_function_of_its_world(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.seed_zone()
    house.settle(FULL)
    later = merge(FULL, {"smtp_users": USER, "domains": {"acme.com": {"dmarc": {"p": "reject"}}}})
    planned = house.make(later)
    one, two = copy.deepcopy(planned.snapshot.thaw()), copy.deepcopy(planned.snapshot.thaw())
    house.clear()
    monkeypatch.setenv("RECON_NOW", "1999-01-01")
    assert make_plan(one) == make_plan(two)
    assert make_plan(planned.snapshot).changes == planned.plan.changes
    assert house.calls() == []


def test_a_snapshot_is_frozen_once_it_is_planned_from(house: House) -> None:
    house.seed_zone()
    house.settle(FULL)
    snapshot = house.make(FULL).snapshot
    for name in ("observed", "desired", "keys", "owned", "now", "refusals"):
        with pytest.raises(FrozenInstanceError):
            setattr(snapshot, name, {})
    with pytest.raises(TypeError):
        snapshot.observed["x"] = None  # type: ignore[index]
    with pytest.raises(AttributeError):
        snapshot.say("note", "x", "said too late")
    more = snapshot.thaw()
    assert more.freeze() == snapshot
    copied = snapshot.thaw()
    copied.observed.clear()
    copied.owned["email_identity"].clear()
    copied.say("note", "x", "said in time")
    assert snapshot.observed
    assert snapshot.owned["email_identity"]
    assert not snapshot.diagnostics


def test_every_label_is_one_that_steps_have(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A need that no step answers to counts as done, so that a wrong label would go unseen."""
    monkeypatch.setenv("DKIM_KEY", dkim_key())
    house.seed_zone()
    given: set[str] = set()
    needed: set[str] = set()
    kinds: set[str] = set()
    new_keys = merge(NEW_KEYS, {"domains": {"acme.com": {"configuration_set_name": None}}})
    topics = {"events": {"subscriptions": [{"protocol": "sqs", "endpoint": "arn:aws:sqs:us-east-1:111122223333:q"}]}}
    roles = {"blast": {"trust": {"service": "lambda.amazonaws.com"}, "from_addresses": ["*@acme.com"]}}
    more = {"smtp_users": USER, "sns_topics": topics, "sending_roles": roles}
    for document in (merge(FULL, more), CHANGED, new_keys, {}, None):
        result = house.apply(document, expect=None) if document is not None else house.destroy(expect=None)
        for one in result.plan.changes:
            kinds.add(one.kind)
            for step in steps_of(one):
                given.add(step.label)
                needed |= {need.label for need in step.needs}
    assert all(type(REGISTRY[kind]).steps is PlainKind.steps for kind in REGISTRY.keys() - kinds)
    assert needed <= given <= LABELS
    assert LABELS - given == {"verified", "untag"}  # no step, and one that only an interrupted run calls for


def test_planning_twice_in_one_world_is_planning_once(house: House) -> None:
    house.seed_zone()
    house.settle(FULL)
    planned = house.make({"domains": {"acme.com": {"dkim": {}}}})
    again = make_plan(planned.snapshot)
    assert again.changes == planned.plan.changes


def test_picking_brings_needs_and_refuses_typing_errors() -> None:
    changes = [change(IDENTITY, needs=(SET,), region="r"), change(SET, region="r"), change(POOL, region="r")]
    changes = [replace(c, after={"tags": {}, "policies": {}}) for c in changes]
    assert {c.address for c in select(changes, [IDENTITY])} == {IDENTITY, SET}
    assert {c.address for c in select(changes, ["*_pool/*"])} == {POOL}
    assert select(changes, ["email_identity/r/known"], ["email_identity/r/known"]) == []
    with pytest.raises(ReconError, match="fits nothing"):
        select(changes, ["email_identity/r/x"])


@pytest.mark.parametrize(
    ("given", "options", "code"),
    [
        (plan(change(SET, "adopt")), {}, "adopt"),
        (plan(change(SET, "adopt")), {"allow_adopt": True}, None),
        (plan(change(SET, "adopt")), {"consent": True}, None),
        (plan(*(change(f"{SET}{n}", "delete", counts=True) for n in range(6))), {}, "max-deletes"),
        (plan(*(change(f"{SET}{n}", "delete", counts=True) for n in range(6))), {"allow_deletes": 6}, None),
        (plan(*(change(f"{SET}{n}", "delete", counts=True) for n in range(6))), {"allow_deletes": 5}, "max-deletes"),
        (plan(*(change(f"{SET}{n}", "delete", counts=True) for n in range(6))), {"max_deletes": 6}, None),
        (plan(*(change(f"dns_record/z/{n}/TXT", "delete") for n in range(50))), {}, None),
        (plan(change(SET, "update", notes=(Note("sending-resumes", "warning", "on"),))), {}, "resume-sending"),
        (
            plan(change(SET, "update", notes=(Note("sending-resumes", "warning", "on"),))),
            {"resume_sending": True},
            None,
        ),
        (plan(change(SET, "update", notes=(Note("some-rule", "error", "bad"),))), {}, "some-rule"),
    ],
)
def test_safeguards(given: Plan, options: dict[str, Any], code: str | None) -> None:
    if code is None:
        check_safeguards(given, **options)
        return
    with pytest.raises(Refused) as caught:
        check_safeguards(given, **options)
    assert [d.code for d in caught.value.diagnostics] == [code]
    assert caught.value.diagnostics[0].hint


def test_every_safeguard_speaks_at_once() -> None:
    given = plan(change(SET, "adopt"), *(change(f"{POOL}{n}", "delete", counts=True) for n in range(9)))
    with pytest.raises(Refused) as caught:
        check_safeguards(given)
    assert {d.code for d in caught.value.diagnostics} == {"adopt", "max-deletes"}
    assert "9" in caught.value.diagnostics[1].message


def test_the_orders_of_kinds_follow_from_what_they_say_of_each_other() -> None:
    order = [
        "dedicated_ip_pool", "configuration_set", "event_destination", "email_identity", "dns_record", "smtp_user",
        "smtp_credential",
    ]  # fmt: skip
    assert [kind for kind in RANK if kind in order] == order
    place = {kind.name: number for number, kind in enumerate(PLANNING)}
    assert place.keys() == RANK.keys() == REGISTRY.keys()
    for kind in KINDS.values():
        assert all(place[other] < place[kind.name] for other in kind.plans_after), kind.name


def test_places_of_the_yaml_are_in_the_plan(house: House) -> None:
    house.write({"configuration_sets": {"main": {"sending_options": {"sending_enabled": False}}}})
    found = house.plan().changes[0]
    assert found.address == f"configuration_set/{HOME}/main"
    assert found.source is not None
    lines = (house.home / "state.yaml").read_text().splitlines()
    place = next(d.source for d in found.diff if d.path == "sending_options.sending_enabled")
    assert place is not None
    assert "sending_enabled" in lines[place.line - 1]


@pytest.mark.parametrize(
    ("target", "address"),
    [
        ("email_identity/us-east-1/ACME.com.", "email_identity/us-east-1/acme.com"),
        ("email_identity/us-east-1/CEO@Acme.com", "email_identity/us-east-1/CEO@acme.com"),
        ("dns_record/Acme.com/_DMARC.bücher.acme.com/txt", "dns_record/acme.com/_dmarc.xn--bcher-kva.acme.com/TXT"),
        ("dns_record/acme.com/Acme.com:dkim:us-east-1:1/CNAME", "dns_record/acme.com/acme.com:dkim:us-east-1:1/CNAME"),
        ("email_identity/*/Acme.com", "email_identity/*/Acme.com"),
        ("configuration_set/us-east-1/Main", "configuration_set/us-east-1/Main"),
        ("email_identity/us-east-1/a b", "email_identity/us-east-1/a b"),
    ],
)
def test_names_in_targets_are_folded(target: str, address: str) -> None:
    assert normalise_target(target) == address
