"""A true SIGKILL: the command line as a process, dead in the middle of a write, and the next run takes over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import GUARD, READS, House, client, gate, until

BASE: dict[str, Any] = {
    "domains": {"acme.com": {"dkim": {}, "dmarc": {"p": "none"}, "mail_from": {"mail_from_domain": "b.acme.com"}}},
    "configuration_sets": {"main": {}},
    "smtp_users": {
        "news": {"from_addresses": ["*@acme.com"], "credentials": {"secretsmanager": {"name": "recon/news"}}}
    },
}


@pytest.mark.parametrize(
    "call",
    [
        pytest.param("sesv2:CreateEmailIdentity", marks=pytest.mark.slow),
        pytest.param("route53:ChangeResourceRecordSets", marks=pytest.mark.slow),
        "iam:CreateAccessKey",
        pytest.param("secretsmanager:CreateSecret", marks=pytest.mark.slow),
    ],
)
def test_a_killed_process_leaves_nothing_that_the_next_run_does_not_mend(house: House, call: str) -> None:
    """The call is on its way when the process dies, and takes effect all the same."""
    service, _, operation = call.partition(":")
    house.seed_zone()
    house.write(BASE)
    house.clear()
    with gate(operation, service=service) as struck:
        running = subprocess.Popen(
            [sys.executable, "-m", "reconciler", "apply", "state.yaml", "--auto-approve", "-q"],
            cwd=house.home, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        struck.wait()
        running.send_signal(signal.SIGKILL)
        assert running.wait(timeout=GUARD) == -signal.SIGKILL
        struck.open()
        until(lambda: house.sandbox.calls(service=service, operation=operation), f"{call} takes effect")
    again = house.process("apply", "state.yaml", "--auto-approve")
    assert again.code == 0, again
    assert "Took over the lock of a run that has died" in again.err
    house.clear()
    assert house.process("plan", "state.yaml", "--detailed-exitcode").code == 0
    assert not [c for c in house.sandbox.calls() if not c["operation"].startswith(READS)]
    assert len(client("iam").list_access_keys(UserName="news")["AccessKeyMetadata"]) == 1
    house.check_foreign()
