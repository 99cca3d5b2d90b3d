"""Saved plans: applied exactly, or refused with what moved and how; readable in every format; never with a secret."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import support

from reconciler import __version__
from reconciler.model import digest_of

DOCUMENT: dict[str, Any] = {
    "domains": {
        "acme.com": {
            "dkim": {"signing_attributes_origin": "AWS_SES"},
            "dmarc": {"p": "none", "rua": ["mailto:d@acme.com"]},
            "configuration_set_name": "main",
        }
    },
    "configuration_sets": {"main": {"reputation_options": {"reputation_metrics_enabled": True}}, "spare": {}},
}
CHANGED = support.merge(
    DOCUMENT,
    {
        "domains": {
            "acme.com": {
                "dmarc": {"p": "quarantine"},
                "email_forwarding_enabled": False,
                "mail_from": {"mail_from_domain": "bounce.acme.com"},
            }
        },
        "configuration_sets": {
            "main": {
                "reputation_options": {"reputation_metrics_enabled": False},
                "event_destinations": {
                    "bus": {
                        "enabled": True, "matching_event_types": ["BOUNCE"],
                        "event_bridge_destination": {
                            "event_bus_arn": "arn:aws:events:us-east-1:111122223333:event-bus/default"
                        },
                    }
                },
            },
            "spare": {"tags": {"a": "b"}},
        },
        "smtp_users": {
            "news": {"from_addresses": ["*@acme.com"], "credentials": {"secretsmanager": {"name": "recon/news"}}}
        },
    },
)  # fmt: skip


@pytest.fixture
def saved(house: support.House) -> support.House:
    """An applied stack, and a saved plan of changes to all of it."""

    def make() -> None:
        house.seed_zone()
        house.write(DOCUMENT)
        assert house.cli("apply", "state.yaml", "--auto-approve").code == 0
        house.write(CHANGED)
        ran = house.cli("plan", "state.yaml", "--out", "plan.json")
        assert ran.code == 0, ran

    house.once("a change saved as a plan", make)
    return house


def refused(house: support.House, *more: str, outcome: str = "stale") -> dict[str, Any]:
    """Apply the plan; it must be refused with nothing written. Returns the JSON."""
    house.clear()
    ran = house.cli("apply", "plan.json", "--format", "json", *more)
    assert ran.code == 3, ran
    told: dict[str, Any] = json.loads(ran.out)
    assert told["outcome"] == outcome
    assert house.writes() == []
    return told


def edit(path: Path, change: Callable[[dict[str, Any]], None], *, sign: bool = False) -> None:
    """Change a plan file; ``sign`` makes its digest fit again, as somebody who knows the format could."""
    document = json.loads(path.read_text())
    change(document)
    if sign:
        document.pop("digest")
        document["digest"] = digest_of(document)
    path.write_text(json.dumps(document))


# --- applied exactly -----------------------------------------------------------------------------------------------


def test_exactly_the_plan_is_applied(saved: support.House) -> None:
    document = json.loads((saved.home / "plan.json").read_text())
    saved.write({})  # what the YAML says by now does not matter without --state
    ran = saved.cli("apply", "plan.json", "--expect", document["digest"], "--format", "json")
    assert ran.code == 0, ran
    told = json.loads(ran.out)
    assert {(a["address"], a["action"]) for a in told["applied"]} == {
        (c["address"], c["action"]) for c in document["changes"]
    }
    assert told["plan_digest"] == document["digest"]
    saved.write(CHANGED)
    saved.quiet()


def test_the_same_state_may_be_named(saved: support.House) -> None:
    assert saved.cli("apply", "plan.json", "--state", "state.yaml").code == 0


def test_a_plan_is_applied_once(saved: support.House) -> None:
    assert saved.cli("apply", "plan.json").code == 0
    told = refused(saved)
    assert "has been applied already" in told["message"]
    document = json.loads((saved.home / "plan.json").read_text())
    assert {d["address"] for d in told["diagnostics"]} == {c["address"] for c in document["changes"]}
    ran = saved.cli("apply", "plan.json")
    assert ran.code == 3
    assert len(ran.err.splitlines()) < 12, ran.err


def test_an_empty_plan_is_applied_as_nothing(house: support.House) -> None:
    house.write({"configuration_sets": {"main": {}}})
    house.apply()
    assert house.cli("plan", "state.yaml", "--out", "plan.json").code == 0
    house.clear()
    assert house.cli("apply", "plan.json").code == 0
    assert house.writes() == []


def test_a_saved_adoption_is_consent(house: support.House) -> None:
    house.sandbox.seed(identities=[{"names": ["acme.com"]}])
    house.write({"domains": {"acme.com": {"zone": "manual"}}})
    assert house.cli("apply", "state.yaml", "--auto-approve").code == 3
    assert house.cli("plan", "state.yaml", "--out", "plan.json").code == 0
    assert house.cli("apply", "plan.json").code == 0


def test_a_destroying_plan_obeys_max_deletes(house: support.House) -> None:
    house.write({"configuration_sets": {f"s{n}": {} for n in range(3)}}, stack={"max_deletes": 2})
    house.apply()
    house.write({}, stack={"max_deletes": 2})
    assert house.cli("plan", "state.yaml", "--out", "plan.json").code == 0
    refused(house, outcome="refused")
    assert house.cli("apply", "plan.json", "--allow-deletes", "3").code == 0


# --- refused: the file ---------------------------------------------------------------------------------------------


def test_an_edited_plan(saved: support.House) -> None:
    edit(saved.home / "plan.json", lambda d: d["changes"][0].update(action="create"))
    assert "edited" in refused(saved)["message"]


def test_a_plan_cut_short(saved: support.House) -> None:
    path = saved.home / "plan.json"
    text = path.read_text()
    for length in (0, 1, len(text) // 2, len(text) - 3):
        path.write_text(text[:length])
        refused(saved)


@pytest.mark.parametrize("text", ["[]", "null", "{}", '{"format_version": 2}', "\x00\xff", "stack: {}"])
def test_a_file_that_is_no_plan(house: support.House, text: str) -> None:
    (house.home / "plan.json").write_bytes(text.encode("latin-1"))
    refused(house)


def test_a_plan_of_an_older_recon(saved: support.House) -> None:
    edit(saved.home / "plan.json", lambda d: d.update(format_version=1), sign=True)
    words = "plan.json was made by an older recon (format 1): make a new one with `recon plan --out FILE`"
    assert refused(saved)["message"] == words


def test_a_missing_file_is_an_error_of_the_command_line(house: support.House) -> None:
    assert house.cli("apply", "plan.json").code == 1


def test_another_reviewed_digest(saved: support.House) -> None:
    told = refused(saved, "--expect", "sha256:" + "0" * 64)
    assert "reviewed" in told["message"]


def test_another_major_version(saved: support.House) -> None:
    edit(saved.home / "plan.json", lambda d: d.update(recon_version=f"{int(__version__[0]) + 1}.0.0"), sign=True)
    assert __version__ in refused(saved)["message"]


def test_a_signed_forgery_writes_nothing_that_moved(saved: support.House) -> None:
    """A digest is no signature; what a forger cannot fake is what is live."""

    def forge(document: dict[str, Any]) -> None:
        for change in document["changes"]:
            if change["action"] == "update":
                change["observed_digest"] = "sha256:" + "1" * 64

    edit(saved.home / "plan.json", forge, sign=True)
    refused(saved)


def test_targets_do_not_go_with_a_saved_plan(saved: support.House) -> None:
    assert saved.cli("apply", "plan.json", "--target", "configuration_set/*").code == 1


# --- refused: the place --------------------------------------------------------------------------------------------


def test_credentials_of_another_account(saved: support.House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "444455556666")
    told = refused(saved, outcome="refused")
    assert "444455556666" in told["message"]
    assert support.ACCOUNT in told["message"]
    assert {c["operation"] for c in saved.sandbox.calls()} == {"GetCallerIdentity"}


def test_another_stack_account_or_state(saved: support.House) -> None:
    saved.write(CHANGED, stack={"name": "other"})
    assert "other" in refused(saved, "--state", "state.yaml")["message"]
    saved.write(CHANGED, stack={"account": "444455556666"})
    assert "444455556666" in refused(saved, "--state", "state.yaml")["message"]
    saved.write(support.put(CHANGED, ("domains", "acme.com", "dmarc", "p"), "reject"))
    assert "state.yaml" in refused(saved, "--state", "state.yaml")["message"]
    saved.write(CHANGED)
    assert "production" in refused(saved, "--env", "production")["message"]


# --- refused: what is live -----------------------------------------------------------------------------------------


def _identity(house: support.House) -> None:
    support.client("sesv2").put_email_identity_feedback_attributes(
        EmailIdentity="acme.com", EmailForwardingEnabled=False
    )


def _identity_gone(house: support.House) -> None:
    support.client("sesv2").delete_email_identity(EmailIdentity="acme.com")


def _record(house: support.House) -> None:
    house.change("_dmarc.acme.com", "TXT", '"v=DMARC1; p=reject"', '"vendor-token=zzz"')


def _record_gone(house: support.House) -> None:
    raw = next(r for r in house.raw_zone() if r["Name"] == "_dmarc.acme.com." and r["Type"] == "TXT")
    house.change(
        "_dmarc.acme.com", "TXT", *(v["Value"] for v in raw["ResourceRecords"]), action="DELETE", ttl=raw["TTL"]
    )


def _set_gone(house: support.House) -> None:
    support.client("sesv2").delete_configuration_set(ConfigurationSetName="spare")


def _set_tagged(house: support.House) -> None:
    support.client("sesv2").tag_resource(
        ResourceArn=f"arn:aws:ses:us-east-1:{support.ACCOUNT}:configuration-set/spare",
        Tags=[{"Key": "x", "Value": "y"}],
    )


def _destination(house: support.House) -> None:
    support.client("sesv2").create_configuration_set_event_destination(
        ConfigurationSetName="main", EventDestinationName="bus",
        EventDestination={"Enabled": True, "MatchingEventTypes": ["SEND"], "EventBridgeDestination": {
            "EventBusArn": "arn:aws:events:us-east-1:111122223333:event-bus/default"}},
    )  # fmt: skip


def _user(house: support.House) -> None:
    support.client("iam").create_user(UserName="news")


def _new_record(house: support.House) -> None:
    house.change("bounce.acme.com", "MX", "10 elsewhere.example.")


MOVES: list[tuple[Callable[[support.House], None], str, str]] = [
    (_identity, "email_identity/us-east-1/acme.com", "email_forwarding_enabled was true, is false"),
    (_identity_gone, "email_identity/us-east-1/acme.com", "is gone"),
    (_record, "dns_record/acme.com/_dmarc.acme.com/TXT", "v=DMARC1; p=reject"),
    (_record_gone, "dns_record/acme.com/_dmarc.acme.com/TXT", "is gone"),
    (_set_tagged, "configuration_set/us-east-1/spare", "changed: something that the plan does not show"),
    (_set_gone, "configuration_set/us-east-1/spare", "is gone"),
    (_destination, "event_destination/us-east-1/main/bus", "exists now"),
    (_user, "smtp_user/news", "exists now"),
    (_new_record, "dns_record/acme.com/bounce.acme.com/MX", "exists now"),
]


def test_anything_that_moved_is_named_with_how(saved: support.House) -> None:
    """One after the other: each refusal names what has moved so far."""
    moved: dict[str, str] = {}
    for move, address, how in MOVES:
        move(saved)
        moved[address] = how
        told = refused(saved)
        found = {d["address"]: d["message"] for d in told["diagnostics"]}
        assert found.keys() - moved.keys() <= {"smtp_credential/news"}  # its user is there
        for place, words in moved.items():
            assert words in found[place]
            assert place in told["message"]


def test_what_could_not_be_read_again_is_not_taken_as_unmoved(saved: support.House) -> None:
    saved.sandbox.fault("denied", service="sesv2", operation="GetEmailIdentity", count=None)
    saved.clear()
    assert saved.cli("apply", "plan.json").code in {1, 3}
    assert saved.writes() == []


def test_others_may_move_what_the_plan_does_not_touch(saved: support.House) -> None:
    saved.change("www.acme.com", "CNAME", "elsewhere.example.")
    support.client("sesv2").create_configuration_set(ConfigurationSetName="theirs")
    assert saved.cli("apply", "plan.json").code == 0


# --- read ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["text", "json", "markdown", "html"])
def test_show_is_what_plan_showed(saved: support.House, format: str) -> None:
    shown = saved.cli("show", "plan.json", "--format", format)
    assert shown.code == 0
    assert "dns_record/acme.com/_dmarc.acme.com/TXT" in shown.out
    planned = saved.cli("plan", "state.yaml", "--format", format)
    if format == "json":
        assert json.loads(shown.out)["changes"] == json.loads(planned.out)["changes"]
    elif format == "text":
        assert shown.out.splitlines()[-1] == planned.out.splitlines()[-1]


def test_show_refuses_what_is_no_plan(saved: support.House) -> None:
    edit(saved.home / "plan.json", lambda d: d["changes"].pop())
    assert saved.cli("show", "plan.json").code == 3
    assert saved.cli("show", "nothing.json").code == 1


def test_a_saved_plan_holds_no_secret(house: support.House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.seed_zone()
    keys = [
        subprocess.run(["openssl", "genrsa", "1024"], capture_output=True, text=True, check=True).stdout
        for _ in range(3)
    ]
    monkeypatch.setenv("DKIM_KEY", keys[0])
    (house.home / "dkim.pem").write_text(keys[1])
    support.client("secretsmanager").create_secret(Name="dkim", SecretString=keys[2])
    sources = ({"env": "DKIM_KEY"}, {"file": "dkim.pem"}, {"secretsmanager": "dkim"})
    document = {
        "domains": {
            f"d{n}.acme.com": {"dkim": {"signing_attributes_origin": "EXTERNAL", "domain_signing_selector": "s1",
                                        "domain_signing_private_key": source}}
            for n, source in enumerate(sources)
        },
        "smtp_users": CHANGED["smtp_users"],
    }  # fmt: skip
    house.write(document)
    texts = []
    ran = house.cli("plan", "state.yaml", "--out", "plan.json", "-vv")
    assert ran.code == 0, ran
    texts += [ran.out, ran.err, (house.home / "plan.json").read_text()]
    ran = house.cli("apply", "plan.json", "--format", "json", "-vv")
    assert ran.code == 0, ran
    texts += [ran.out, ran.err, (house.home / "recon" / "journal-acme.jsonl").read_text()]
    # The key is changed: the next plan has both sides of it.
    monkeypatch.setenv("DKIM_KEY", keys[1])
    ran = house.cli("plan", "state.yaml", "--out", "plan.json", "--format", "html")
    texts += [ran.out, ran.err, (house.home / "plan.json").read_text()]
    stored = support.client("secretsmanager").get_secret_value(SecretId="recon/news")["SecretString"]
    canaries = [region["password"] for region in json.loads(stored)["regions"].values()]
    canaries += [line for key in keys for line in key.splitlines()[1:-1]]
    for text in texts:
        assert not [c for c in canaries if c in text]
