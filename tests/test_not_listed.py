"""What is new costs a list and not a call each; and what a list does not have is not absent for that alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from support import House, client

from reconciler.aws import Aws
from reconciler.kinds import listing

MANY: dict[str, Any] = {
    "domains": {f"d{n}.example": {"zone": "manual", "configuration_set_name": f"s{n}"} for n in range(6)},
    "configuration_sets": {f"s{n}": {} for n in range(6)},
    "dedicated_ip_pools": {f"p{n}": {} for n in range(3)},
    "email_templates": {f"t{n}": {"subject": "x", "text": "y"} for n in range(3)},
}
NEW = {"create": 6 + 6 + 3 + 3}
GETS = (
    "GetEmailIdentity", "GetConfigurationSet", "GetConfigurationSetEventDestinations", "GetDedicatedIpPool",
    "GetEmailTemplate",
)  # fmt: skip
LISTS = ("ListEmailIdentities", "ListConfigurationSets", "ListDedicatedIpPools", "ListEmailTemplates")


def counted(house: House, *operations: str) -> list[int]:
    found = Counter(call.partition(":")[2] for call in house.calls())
    return [found[one] for one in operations]


def actions(plan: Any) -> dict[str, int]:
    return dict(Counter(c.action for c in plan.changes if c.kind != "dns_record"))


@pytest.fixture
def trailing(house: House, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lists trail: they leave out names that the rule of the test says; all where it says nothing."""

    def set_up(hides: Callable[[str], bool] = lambda name: True, tags: bool = True) -> None:
        call = Aws.call

        def stale(self: Aws, service: str, operation: str, *rest: Any, **more: Any) -> Any:
            answer = call(self, service, operation, *rest, **more)
            if operation in LISTS:
                for member, rows in answer.items():
                    if isinstance(rows, list):
                        answer[member] = [row for row in rows if not hides(_name(row))]
            if operation == "GetResources" and tags:
                answer["ResourceTagMappingList"] = []
            return answer

        monkeypatch.setattr(Aws, "call", stale)

    return set_up


def _name(row: Any) -> str:
    return row if isinstance(row, str) else str(row.get("IdentityName") or row.get("TemplateName"))


@pytest.mark.parametrize("refresh", ["full", "bulk"])
def test_what_is_new_costs_one_list_and_one_reading_a_kind(house: House, refresh: str) -> None:
    plan = house.plan(MANY, refresh=refresh)
    assert (actions(plan), plan.unread) == (NEW, ())
    assert counted(house, *LISTS) == [1, 1, 1, 1]
    assert counted(house, *GETS) == [1, 1, 0, 1, 1]


def test_what_is_there_is_read_as_ever(house: House) -> None:
    house.settle(MANY)
    assert counted(house, *LISTS) == [0, 0, 0, 0]
    more = {"configuration_sets": {f"s{n}": {} for n in range(12)}}
    house.write({**MANY, **more})
    house.clear()
    assert actions(house.plan()) == {"create": 6}
    assert counted(house, "ListConfigurationSets", "GetConfigurationSet") == [1, 6 + 1]


def test_two_are_read_and_not_listed(house: House) -> None:
    house.plan({"configuration_sets": {"a": {}, "b": {}}})
    assert counted(house, "ListConfigurationSets", "GetConfigurationSet") == [0, 2]


def test_a_list_that_may_not_be_read_says_nothing(house: House) -> None:
    for operation in LISTS:
        house.sandbox.fault("denied", operation=operation, count=None)
    plan = house.plan(MANY)
    assert (actions(plan), plan.unread) == (NEW, ())
    assert counted(house, *GETS) == [6, 6, 0, 3, 3]


def test_a_list_of_many_pages_is_left_for_few(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six names are worth three pages, and no more."""
    for n in range(8):
        client("sesv2").create_configuration_set(ConfigurationSetName=f"theirs{n}")
    monkeypatch.setitem(listing.KINDS["configuration_set"].list_options, "PageSize", 2)  # type: ignore[index]
    house.clear()
    assert actions(house.plan({"configuration_sets": MANY["configuration_sets"]})) == {"create": 6}
    assert counted(house, "ListConfigurationSets", "GetConfigurationSet") == [3, 6]


@pytest.mark.parametrize("refresh", ["full", "bulk"])
@pytest.mark.parametrize(
    "hides",
    [lambda name: True, lambda name: "5" in name, lambda name: name.startswith("d")],
    ids=["everything", "the last of each kind", "all of one kind"],
)
def test_the_plan_right_after_an_apply_is_empty_although_lists_and_tags_trail(
    hides: Callable[[str], bool], refresh: str, house: House, trailing: Callable[..., None]
) -> None:
    house.apply(MANY)
    trailing(hides)
    plan = house.plan(refresh=refresh)
    assert plan.changes == ()
    assert plan.unread in ((), ("sweep",))


@pytest.mark.parametrize("refresh", ["full", "bulk"])
def test_what_the_search_finds_is_there_whatever_a_list_says(
    refresh: str, house: House, trailing: Callable[..., None]
) -> None:
    house.apply(MANY)
    trailing(tags=False)
    plan = house.plan(refresh=refresh)
    assert (plan.changes, plan.unread) == ((), ())


def test_one_of_others_that_a_list_does_not_have_yet_makes_it_doubtful(
    house: House, trailing: Callable[..., None]
) -> None:
    for n in range(6):
        client("sesv2").create_configuration_set(ConfigurationSetName=f"s{n}")
    trailing()
    plan = house.plan({"configuration_sets": MANY["configuration_sets"]})
    assert actions(plan) == {"adopt": 6}


def test_a_pool_that_is_only_referred_to_is_read_by_name(house: House, trailing: Callable[..., None]) -> None:
    """A list that trails must not refuse a plan."""
    for n in range(4):
        client("sesv2").create_dedicated_ip_pool(PoolName=f"q{n}")
    trailing()
    sets = {f"s{n}": {"delivery_options": {"sending_pool_name": f"q{n}"}} for n in range(4)}
    plan = house.plan({"configuration_sets": sets})
    assert (actions(plan), plan.outcome) == ({"create": 4}, "changes")


def test_bulk_asks_for_feedback_only_where_it_is_declared(house: House) -> None:
    domains = {f"d{n}.example": {"zone": "manual"} for n in range(3)}
    house.settle({"domains": domains})
    house.clear()
    assert house.plan(refresh="bulk").changes == ()
    assert counted(house, "GetIdentityDkimAttributes", "GetIdentityNotificationAttributes") == [1, 0]
    domains["d1.example"]["email_forwarding_enabled"] = True  # type: ignore[assignment]
    for name in domains:
        client("sesv2").put_email_identity_feedback_attributes(EmailIdentity=name, EmailForwardingEnabled=False)
    house.write({"domains": domains})
    house.clear()
    plan = house.plan(refresh="bulk")
    assert [c.address for c in plan.changes] == ["email_identity/us-east-1/d1.example"]
    (call,) = house.sandbox.calls(operation="GetIdentityNotificationAttributes")
    assert call["params"]["Identities"] == ["d1.example"]
