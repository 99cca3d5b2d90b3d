"""A region that refuses the credentials: the account has not enabled it, or nobody has looked there."""

from __future__ import annotations

from typing import Any

import pytest
from support import HOME, House, client

FAR = "af-south-1"
NEAR: dict[str, Any] = {"configuration_sets": {"main": {}}}
BOTH: dict[str, Any] = {"configuration_sets": {"main": {}, "far": {"regions": [FAR]}}}


@pytest.fixture
def session(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """The credentials are a session that the far region refuses, as of STS's global endpoint."""
    made = client("sts").get_session_token()["Credentials"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", made["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", made["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", made["SessionToken"])
    house.sandbox.settings(no_global_tokens=[FAR])
    return house


def deny(house: House) -> None:
    house.sandbox.fault("denied", operation="ListRegions", count=None)


@pytest.mark.parametrize("readable", [True, False])
def test_a_long_lived_key_is_refused_only_where_the_region_is_not_enabled(house: House, readable: bool) -> None:
    house.sandbox.settings(disabled_regions=[FAR])
    if not readable:
        deny(house)
    house.clear()
    plan = house.plan(NEAR)
    assert (plan.unread, plan.outcome) == ((), "changes")
    assert "1 regions skipped: not enabled for the account" in plan.scanned
    assert house.calls().count("account:ListRegions") == 1
    house.sandbox.settings(disabled_regions=[])
    house.clear()
    house.plan()
    assert "account:ListRegions" not in house.calls(), "nothing is asked where no region refuses"


def test_a_session_that_an_enabled_region_refuses_has_not_read_it(session: House) -> None:
    session.write(NEAR)
    ran = session.cli("plan", "state.yaml", "--format", "json")
    assert (ran.code, ran.json["unread"]) == (1, ["sweep"])
    said = next(d for d in ran.json["diagnostics"] if d["code"] == "unread")
    assert FAR in said["message"]
    assert "AWS_STS_REGIONAL_ENDPOINTS" in said["hint"]
    session.sandbox.settings(disabled_regions=[FAR])
    assert session.plan().unread == (), "AWS says that the account does not have it"


def test_where_nobody_can_say_it_is_a_note_as_long_as_nothing_of_ours_was_there(session: House) -> None:
    deny(session)
    session.write(NEAR)
    ran = session.cli("plan", "state.yaml", "--format", "json")
    assert (ran.code, ran.json["unread"]) == (0, [])
    notes = [d for d in ran.json["diagnostics"] if d["code"] == "regions-refused"]
    assert [(d["severity"], FAR in d["message"]) for d in notes] == [("note", True)]
    assert session.cli("drift", "state.yaml").code == 2, "the set is not made yet, and that is all"


def had_in_journal(house: House) -> dict[str, Any]:
    house.write(BOTH)
    assert house.cli("apply", "state.yaml", "--auto-approve").code == 0
    return NEAR


def had_in_marker(house: House) -> dict[str, Any]:
    house.seed_zone(foreign={})
    text = f'"v=recon1; stack=acme; own=b.acme.com MX 10 feedback-smtp.{FAR}.amazonses.com."'
    house.change("_recon.acme.com", "TXT", text)
    house.change("b.acme.com", "MX", f"10 feedback-smtp.{FAR}.amazonses.com.")
    return {"domains": {"acme.com": {"identity": False, "dmarc": {"p": "none"}}}}


def had_in_state(house: House) -> dict[str, Any]:
    return BOTH


@pytest.mark.parametrize("had", [had_in_journal, had_in_marker, had_in_state])
def test_it_is_unread_where_something_of_ours_was_there(
    house: House, had: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    document = had(house)
    request.getfixturevalue("session")
    deny(house)
    house.write(document)
    ran = house.cli("plan", "state.yaml", "--format", "json")
    assert (ran.code, "sweep" in ran.json["unread"]) == (1, True)
    assert not [c for c in ran.json["changes"] if FAR in c["address"]]
    assert house.cli("destroy", "state.yaml", "--allow-deletes", "9").code == 1
    if had is had_in_journal:
        assert client("sesv2", FAR).list_configuration_sets()["ConfigurationSets"] == ["far"]
        assert client("sesv2", HOME).list_configuration_sets()["ConfigurationSets"] == []


@pytest.mark.parametrize("readable", [True, False])
def test_import_does_not_say_that_nothing_is_live_where_it_could_not_look(session: House, readable: bool) -> None:
    client("sesv2", FAR, access_key="AKIASANDBOXSANDBOX00").create_configuration_set(ConfigurationSetName="far")
    if not readable:
        deny(session)
    ran = session.cli("import", "--out", "new")
    assert ran.code == 1
    assert FAR in ran.err
    assert "nothing live to import\n" not in ran.err
    client("sesv2").create_configuration_set(ConfigurationSetName="near")
    ran = session.cli("import", "--out", "new")
    assert (ran.code, FAR in ran.err) == (1 if readable else 0, True)
    assert "near" in (session.home / "new" / "sets.yaml").read_text()
