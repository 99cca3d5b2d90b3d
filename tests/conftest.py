"""Fixtures of the engine's tests: a fresh AWS and an empty directory for every test, no pacing, no real credentials."""

from __future__ import annotations

import functools
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest
import support
from cryptography.hazmat.primitives import serialization
from faults.counting import pytest_terminal_summary as pytest_terminal_summary
from hypothesis import HealthCheck, settings

from reconciler import applier, masking, observing, regions
from reconciler.applier import progress
from reconciler.aws import Aws, client

# How long an example, or making it, takes on a busy machine says nothing. `make test` draws the same examples each
# time, so that it judges the change alone; `make test-slow` draws others.
settings.register_profile("recon", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("others", settings.get_profile("recon"), derandomize=False)
settings.load_profile("recon")

# Checking an RSA key takes longer than a few AWS calls; the tests use the same few keys over and over.
serialization.load_pem_private_key = functools.lru_cache(serialization.load_pem_private_key)
serialization.load_der_private_key = functools.lru_cache(serialization.load_der_private_key)

# Every session reads the models of AWS's services from their files anew; sessions that share a loader read them once.
botocore.session.create_loader = functools.lru_cache(botocore.session.create_loader)

SWEPT = ("us-east-1", "eu-west-1", "eu-central-1", "af-south-1")
"""The regions of SES in these tests: a sweep over all of them is tested once, not in every test."""


@pytest.fixture(autouse=True)
def no_secrets_of_other_tests() -> Iterator[None]:
    """Secrets are remembered for as long as a process lives, which is one command, not thousands of tests."""
    yield
    masking.forget()


@pytest.fixture(autouse=True)
def no_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls to an AWS in the same process take no time, so work is done in the thread that hands it out: starting
    thousands of threads takes longer than all of it. Marked ``threads``, a test has them as users do."""
    if not request.node.get_closest_marker("threads"):
        for module in (applier, observing, client, progress):
            monkeypatch.setattr(module, "ThreadPoolExecutor", support.AtOnce)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[support.House]:
    """A stack with an empty AWS of its own; the sandbox server is shared by the whole test process."""
    for name in [n for n in os.environ if n.startswith(("AWS_", "RECON_")) or n == "COLUMNS"]:
        monkeypatch.delenv(name)
    shared = support.sandbox()
    shared.reset()
    for name, value in shared.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RECON_DIR", str(tmp_path / "recon"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(regions, "SES_REGIONS", SWEPT)
    monkeypatch.setattr(Aws, "_client", support.shared_clients(Aws._client))
    yield support.House(tmp_path)
    shared.reset()  # moto is one for the whole process: a sandbox of another test must not find what is left here


def pytest_collection_finish() -> None:
    """What is imported and collected by now stays: the garbage collector need not look through it, as in ``main``."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
