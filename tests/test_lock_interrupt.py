"""Around a run: Ctrl-C lets the call in flight end and reports, a re-run converges; --target brings what it needs."""

from __future__ import annotations

import json
import os

import support

from reconciler.journal import read_runs
from reconciler.lock import LocalLock
from reconciler.model import Stack


def test_an_interrupted_apply_ends_its_call_reports_and_converges(house: support.House) -> None:
    house.write({"configuration_sets": {f"set-{n}": {"tags": {"a": "b"}} for n in range(8)}})
    house.clear()
    # The second creation is in flight until the run has noticed the signal.
    with support.gate("CreateConfigurationSet", nth=2) as second:
        ran = support.interrupted(
            house, second, "apply", "state.yaml", "--auto-approve", "--parallelism", "1", "--format", "json"
        )
    assert ran.code == 130, ran
    told = json.loads(ran.out)
    statuses = [a["status"] for a in told["applied"]]
    made = [c for c in house.sandbox.calls(operation="CreateConfigurationSet") if c["error"] is None]
    # What was in flight ended and is reported as done; nothing else was started.
    assert statuses.count("done") == len(made) == 2
    assert statuses.count("not_started") == 6
    assert LocalLock("acme", os.environ["RECON_DIR"]).holder() is None
    (run,) = read_runs(Stack("acme", None, support.ACCOUNT, (support.HOME,)))
    assert run.outcome == "interrupted"
    house.settle()


def test_a_target_brings_what_it_needs_and_nothing_else(house: support.House) -> None:
    house.seed_zone()
    house.write({
        "domains": {"acme.com": {"configuration_set_name": "main", "dmarc": {"p": "none"}}},
        "configuration_sets": {"main": {}, "other": {}},
    })  # fmt: skip
    ran = house.cli("apply", "state.yaml", "--auto-approve", "--target", "email_identity/*", "--format", "json")
    assert ran.code == 0, ran
    done = {a["address"] for a in json.loads(ran.out)["applied"]}
    assert {"email_identity/us-east-1/acme.com", "configuration_set/us-east-1/main"} <= done
    assert "configuration_set/us-east-1/other" not in done
    assert house.cli("plan", "state.yaml", "--target", "configuration_set/us-east-1/othr").code == 1
    house.settle()
