"""Dashboards: drawn from what is declared, the same from run to run, and compared by their meaning."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import ACCOUNT, HOME, OTHER, House, client

from reconciler.resources.cloudwatch_dashboard import MOST_WIDGETS

STATE = "state.yaml"
ADDRESS = "cloudwatch_dashboard/mail"


def metrics(*dimensions: str) -> dict[str, Any]:
    listed = [
        {"dimension_name": name, "dimension_value_source": "MESSAGE_TAG", "default_dimension_value": "none"}
        for name in dimensions
    ]
    return {"matching_event_types": ["SEND"], "cloud_watch_destination": {"dimension_configurations": listed}}


def state(preset: str = "domains", *destinations: dict[str, Any], **more: Any) -> dict[str, Any]:
    named = {f"metrics-{number}": one for number, one in enumerate(destinations)}
    return {
        "domains": {"acme.com": {"zone": "manual"}, "b.acme.com": {"zone": "manual", "regions": [OTHER]}},
        "configuration_sets": {"tx": {"regions": [HOME, OTHER], "event_destinations": named}},
        "cloudwatch_dashboards": {"mail": {"preset": preset}}, **more,
    }  # fmt: skip


def body() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(client("cloudwatch").get_dashboard(DashboardName="mail")["DashboardBody"])
    return found


def drawn() -> dict[str, list[Any]]:
    return {one["properties"]["title"]: one["properties"]["metrics"] for one in body()["widgets"]}


def codes(plan: Any) -> set[str]:
    return {d.code for d in plan.diagnostics} | {note.rule for change in plan.changes for note in change.notes}


def test_domains_are_drawn_by_the_dimension_that_sets_publish(house: House) -> None:
    plan = house.plan(state())
    assert {"costs", "dashboard-no-metrics"} <= codes(plan)
    house.settle()
    found = drawn()
    assert found.keys() == {f"acme.com in {HOME}", f"b.acme.com in {OTHER}"}
    assert found[f"acme.com in {HOME}"][2] == ["AWS/SES", "Bounce", "ses:from-domain", "acme.com"]
    assert {one["properties"]["region"] for one in body()["widgets"]} == {HOME, OTHER}
    # As the metrics are published, so they are drawn.
    by_set = metrics("ses:from-domain", "ses:configuration-set")
    assert "dashboard-no-metrics" not in codes(house.plan(state("domains", by_set)))
    house.settle()
    one = ["AWS/SES", "Send", "ses:configuration-set", "tx", "ses:from-domain", "acme.com"]
    assert drawn()[f"acme.com in {HOME}"][0] == one
    house.settle(state("domains", metrics("ses:from-domain", "campaign")))
    ((search,), *_) = drawn()[f"acme.com in {HOME}"]
    assert search == {
        "expression": """SEARCH('{AWS/SES,"campaign","ses:from-domain"} MetricName="Send" """
        """"ses:from-domain"="acme.com"', 'Sum', 3600)"""
    }


def test_sets_and_the_account(house: House) -> None:
    document = state("sets", metrics("ses:configuration-set"))
    house.settle(document)
    assert drawn().keys() == {f"{prefix}tx in {place}" for prefix in ("", "Rates of ") for place in (HOME, OTHER)}
    assert drawn()[f"Rates of tx in {HOME}"][0] == [
        "AWS/SES", "Reputation.BounceRate", "ses:configuration-set", "tx",
    ]  # fmt: skip
    house.settle({**document, "cloudwatch_dashboards": {"mail": {"preset": "account"}}})
    assert drawn()[f"Messages of {HOME}"][0] == ["AWS/SES", "Send"]
    places = [(one["x"], one["y"]) for one in body()["widgets"]]
    assert len(set(places)) == len(places), "no widget hides another"


def test_more_domains_than_widgets_are_searched(house: House) -> None:
    domains = {f"d{number}.acme.com": {"zone": "manual"} for number in range(MOST_WIDGETS + 1)}
    plan = house.plan({"domains": domains, "cloudwatch_dashboards": {"mail": {"preset": "domains"}}}, targets=[ADDRESS])
    (change,) = plan.changes
    assert change.after is not None
    widgets = change.after["body"]["widgets"]
    assert len(widgets) == 5
    assert widgets[0]["properties"]["metrics"] == [
        [{"expression": """SEARCH('{AWS/SES,"ses:from-domain"} MetricName="Send"', 'Sum', 3600)"""}]
    ]


@pytest.mark.parametrize("indent", [None, 3])
def test_a_body_is_compared_by_its_meaning(house: House, indent: int | None) -> None:
    house.settle(state("sets"))
    text = json.dumps(dict(reversed(body().items())), indent=indent)
    client("cloudwatch").put_dashboard(DashboardName="mail", DashboardBody=text)
    assert not house.plan().changes
    client("cloudwatch").put_dashboard(DashboardName="mail", DashboardBody=json.dumps({**body(), "start": "-P1D"}))
    (change,) = house.plan().changes
    assert [(d.path, d.before, d.after) for d in change.diff] == [("body.start", "-P1D", None)]
    house.settle()


def test_what_cloudwatch_finds_wrong_is_said(house: House) -> None:
    house.write({"cloudwatch_dashboards": {"mail": {"body": {"widgets": [{"type": "metric", "properties": {}}]}}}})
    ran = house.cli("apply", STATE, "--auto-approve")
    assert ran.code == 1
    assert "/widgets/0/properties: Should have required properties 'region' and 'metrics'" in ran.out + ran.err


def test_drift_names_who_changed_a_dashboard(house: House) -> None:
    house.apply(state("account"))
    house.sandbox.advance(60)
    house.sandbox.principal("AKIAEVEEVEEVEEVEEVE1", arn=f"arn:aws:iam::{ACCOUNT}:user/eve")
    theirs = house.sandbox.client("cloudwatch", HOME, access_key="AKIAEVEEVEEVEEVEEVE1")
    theirs.put_dashboard(DashboardName="mail", DashboardBody='{"widgets": []}')
    house.sandbox.advance(3600)
    ran = house.cli("drift", STATE)
    assert ran.code == 2, ran
    assert "eve" in ran.out[ran.out.index(ADDRESS) :], ran.out


def test_a_dashboard_that_the_search_by_tags_leaves_out_is_a_note(house: House) -> None:
    house.settle(state("account"))
    assert "dashboards-not-swept" not in codes(house.plan())
    house.sandbox.consistency(resourcegroupstaggingapi={"seconds": 600.0})
    house.apply({**state("account"), "cloudwatch_dashboards": {"other": {"preset": "account"}}})
    plan = house.plan()
    assert "dashboards-not-swept" in codes(plan)


def test_an_import_brings_dashboards_about_mail(house: House) -> None:
    put = client("cloudwatch").put_dashboard
    widget = {"type": "metric", "properties": {"region": HOME, "metrics": [["AWS/SES", "Send"]], "title": "${LABEL}"}}
    put(DashboardName="mail", DashboardBody=json.dumps({"widgets": [widget]}))
    put(DashboardName="machines", DashboardBody='{"widgets": []}')
    client("sesv2").create_configuration_set(ConfigurationSetName="tx")
    ran = house.cli("import", "--stack", "acme", "--region", HOME, "--region", OTHER, "--out", "live")
    assert ran.code == 0, ran
    text = (house.home / "live" / "watching.yaml").read_text(encoding="utf-8")
    assert "machines" not in text
    assert "mail:" in text
    assert "regions" not in text
    ran = house.cli("apply", "live", "--auto-approve", "--allow-adopt")
    assert ran.code == 0, ran
    assert body() == {"widgets": [widget]}


def test_a_stack_without_dashboards_makes_no_call_for_them(house: House) -> None:
    house.settle({"configuration_sets": {"main": {}}})
    house.plan()
    calls = house.sandbox.calls()
    assert not [call for call in calls if "Dashboard" in call["operation"]]
    asked = [c["params"]["ResourceTypeFilters"] for c in calls if c["operation"] == "GetResources"]
    assert all("cloudwatch" in types or types == ["route53:hostedzone"] for types in asked)
