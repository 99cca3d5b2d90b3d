"""What the tests of SMTP credentials share: looking into the sandbox's keys and stores, crashes, and the clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support import ACCOUNT, HOME, READS, House, sandbox

from reconciler.aws import Aws
from reconciler.desired import load
from reconciler.kinds.snapshot import Snapshot
from reconciler.mail.sigv4 import smtp_password
from reconciler.sandbox.iam import AccessKey, IamState, User
from reconciler.smtp import rotate

Store = tuple[str, str, str]
"""type, region, name"""


def world_clock() -> Any:
    return sandbox()._server.gateway.world.clock


class Clock:
    """Time for recon (``RECON_NOW``) and the sandbox together."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.sync()

    def sync(self) -> None:
        self.now = datetime.fromtimestamp(world_clock().now(), UTC)
        self._monkeypatch.setenv("RECON_NOW", self.now.isoformat())

    def forward(self, days: float) -> None:
        sandbox().advance(days * 86400)
        self.sync()


def users() -> dict[str, User]:
    """The users of IAM as they are, by name."""
    found: dict[str, User] = sandbox()._server.gateway.world.current("iam", ACCOUNT, "", IamState).users
    return found


def keys(user: str = "news") -> dict[str, AccessKey]:
    found = users().get(user.lower())
    return dict(found.keys) if found else {}


def find_key(key_id: str) -> AccessKey | None:
    return next((u.keys[key_id] for u in list(users().values()) if key_id in u.keys), None)


def use(key_id: str, *, at: datetime | None = None, service: str = "ses", region: str = HOME) -> bool:
    """Somebody logs in with a key; whether that works."""
    key = find_key(key_id)
    if key is None or not key.active:
        return False
    key.used = (at.timestamp() if at else world_clock().now(), region, service)
    return True


def stored_text(store: Store) -> str | None:
    """What is stored, from moto's own memory: None where there is nothing to be had."""
    kind, region, name = store
    if kind == "ssm":
        from moto.ssm.models import ssm_backends

        versions = ssm_backends[ACCOUNT][region]._parameters.get(name)
        return str(versions[-1].value).removeprefix("kms:alias/aws/ssm:") if versions else None
    from moto.secretsmanager.models import secretsmanager_backends

    secret: Any = secretsmanager_backends[ACCOUNT][region].secrets.get(name)
    if secret is None or secret.is_deleted():
        return None
    return str(next(v for v in secret.versions.values() if "AWSCURRENT" in v["version_stages"])["secret_string"])


def stored(store: Store) -> dict[str, Any]:
    return dict(json.loads(stored_text(store) or "{}"))


def problem(store: Store, user: str, regions: list[str] | None = None) -> str | None:
    """Why what is stored does not log in; None where it does, for every region that it is for."""
    text = stored_text(store)
    if text is None:
        return "nothing is stored"
    try:
        value = json.loads(text)
        key = keys(user).get(value["username"])
    except (ValueError, KeyError, TypeError):
        return "what is stored is not of recon's form"
    if key is None:
        return f"the stored key {value['username']} is gone"
    if not key.active:
        return f"the stored key {key.id} is off"
    if "recon-lock" in users()[user.lower()].policies:
        return "the user is locked"
    parts = value["regions"] if "regions" in value else {value["region"]: value}
    if regions is not None and sorted(parts) != sorted(regions):
        return f"it is for {sorted(parts)}, not {sorted(regions)}"
    wrong = [r for r, part in parts.items() if part["password"] != smtp_password(key.secret, r)]
    return f"the passwords for {wrong} do not derive from {key.id}" if wrong else None


# --- crashes -------------------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process is gone: nothing catches this."""


class Crasher:
    """Kills recon at its writes: ``dies(write number, operation)`` says ``before``, ``after`` or nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dies: Callable[[int, str], str] | None = None
        self.writes: list[str] = []
        self.crashed: list[str] = []
        call = Aws.call
        crasher = self

        def counted(aws: Aws, service: str, operation: str, *more: Any, **parameters: Any) -> dict[str, Any]:
            if operation.startswith(READS) or crasher.dies is None:
                return call(aws, service, operation, *more, **parameters)
            crasher.writes.append(f"{service}:{operation}")
            how = crasher.dies(len(crasher.writes), operation)
            if how == "before":
                crasher.crashed.append(f"before {operation}")
                raise Crash
            answer = call(aws, service, operation, *more, **parameters)
            if how == "after":
                crasher.crashed.append(f"after {operation}")
                raise Crash
            return answer

        monkeypatch.setattr(Aws, "call", counted)

    @contextmanager
    def armed(self, dies: Callable[[int, str], str]) -> Iterator[None]:
        self.writes.clear()
        self.dies = dies
        try:
            yield
        finally:
            self.dies = None


# --- recon in this process -----------------------------------------------------------------------------------------


def read_users(house: House, *, parallelism: int = 1) -> tuple[Snapshot, Aws]:
    from reconciler.kinds.snapshot import now

    state = load(house.home / "state.yaml").state
    aws = Aws(state.stack, purpose="apply", parallelism=parallelism)
    return rotate.read_users(state, aws, now()), aws


def rotate_due(house: House) -> list[rotate.Report]:
    """``recon smtp rotate --due`` without the command line; no step may fail."""
    snapshot, aws = read_users(house)
    return rotate.rotate_due(snapshot, aws)


def step_of(reports: list[rotate.Report], user: str = "news") -> tuple[str, str]:
    """(state, step taken) of one user."""
    report = next(r for r in reports if r.user == user)
    assert report.error is None, report.error
    return ("done" if report.done else report.state.phase), report.done


def days(number: float) -> timedelta:
    return timedelta(days=number)


def codes(plan: Any, address: str = "smtp_credential/news") -> set[str]:
    return {d.code for d in plan.diagnostics if d.address == address}


def message(plan: Any, code: str) -> str:
    return next(d.message for d in plan.diagnostics if d.code == code)
