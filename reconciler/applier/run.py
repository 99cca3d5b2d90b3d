"""The runtime of one apply, which its steps share: AWS, outputs of earlier steps, waiting for SES to verify."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from reconciler import secrets
from reconciler.errors import AwsError, ReconError
from reconciler.model import Address, Plan
from reconciler.resources.email_identity.statuses import VERIFICATION_HINTS

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.resources.dns_record.zones import Zone

OnProgress = Callable[[str, str], None]
"""``on_progress(address, message)``: progress for people; called from several threads."""

VISIBLE_SECONDS = 30.0
"""How long a run waits until AWS's other calls see what it created, and AWS's reads what it wrote."""

SES_POLL = 3.0
"""Seconds between two looks at an identity that SES verifies, at most. SES takes one call a second and region: of many
identities each has its turn less often."""


class VerifyTimeout(ReconError):
    """SES did not verify an identity in time; the message has SES's own reason."""

    outcome = "verify_timeout"
    code = "verify-timeout"


class ApplyRun:
    """The ``Runtime`` that steps get, and the shared state of one apply."""

    def __init__(
        self,
        plan: Plan,
        aws: Aws,
        zones: dict[str, Zone],
        verify_timeout: float,
        on_progress: OnProgress,
        stop: threading.Event,
    ) -> None:
        stack = aws.stack
        self.aws = aws
        self.stop = stop
        self.scope = plan.scope
        self.account = stack.account
        self.partition = stack.partition
        self.regions = stack.regions
        self.zones = zones
        self.on_progress = on_progress
        self.root = str(plan.context.get("root") or ".")
        self.verify_timeout = verify_timeout
        self.deadline = math.inf
        """When waiting for SES to verify ends (``time.monotonic``): ``verify_timeout`` after DNS is published."""
        self._outputs: dict[tuple[Address, str], Any] = {}
        self._polls: dict[tuple[str, str], threading.Lock] = {}
        self._verified: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self.created: set[Address] = set()
        """What this run has created: if AWS does not show it, it is not visible yet and was not deleted."""
        aws.on_wait = lambda message: on_progress("aws", message)
        self.recheck: Callable[[Address], ReconError | None] = lambda address: None

    def start_verify_timeout(self) -> None:
        """Count ``verify_timeout`` from now on, unless it counts already."""
        self.deadline = min(self.deadline, time.monotonic() + self.verify_timeout)

    def output(self, address: Address, key: str) -> Any:
        return self._outputs.get((address, key))

    def set_output(self, address: Address, key: str, value: Any) -> None:
        with self._lock:
            self._outputs[address, key] = value

    def secret(self, reference: Mapping[str, Any], region: str | None) -> str:
        return secrets.fetch(reference, self.aws, self.regions[0] if self.regions else region or "", self.root)

    def ensure_unchanged(self, address: Address) -> None:
        problem = self.recheck(address)
        if problem is not None:
            raise problem

    def wait_verified(self, region: str, domain: str) -> None:
        """Wait for the identity at or nearest above ``domain``; all steps that wait for the same share one poll."""
        with self._lock:
            self.start_verify_timeout()
            poll = self._polls.setdefault((region, domain), threading.Lock())
        with poll:
            if (region, domain) in self._verified:
                return
            self._poll_verified(region, domain)
            self._verified.add((region, domain))

    def _poll_verified(self, region: str, domain: str) -> None:
        name, pause = domain, 1.0
        while True:
            try:
                live = self.aws.call("sesv2", "GetEmailIdentity", region, EmailIdentity=name)
            except AwsError as error:
                if error.absent and f"email_identity/{region}/{name}" in self.created:
                    if time.monotonic() + pause > self.deadline or self.stop.wait(pause):
                        raise
                    pause = min(pause * 1.6, SES_POLL)
                    continue
                parent = name.partition(".")[2]
                if not error.absent or "@" in name:
                    raise
                if "." not in parent:
                    raise ReconError(
                        f"{region} no longer has an identity at or above {domain}",
                        hint=f"declare the domain for {region}: SES accepts the name only below a verified identity",
                    ) from None
                name = parent
                continue
            status = live.get("VerificationStatus")
            if status is None:
                status = "SUCCESS" if live.get("VerifiedForSendingStatus") else "PENDING"
            if status == "SUCCESS":
                return
            info = live.get("VerificationInfo") or {}
            if time.monotonic() + pause > self.deadline:
                reason = str(info.get("ErrorType") or "")
                raise VerifyTimeout(
                    f"SES has not verified {name} in {region} within the time limit: {status}"
                    + (f", {reason}" if reason else ""),
                    hint=VERIFICATION_HINTS.get(reason, "SES checks the records for up to 72 hours: apply again later"),
                )
            self.on_progress(f"email_identity/{region}/{name}", f"waiting for SES to verify: {status}")
            if self.stop.wait(pause):
                raise ReconError(f"stopped while waiting for SES to verify {name} in {region}", hint="apply again")
            pause = min(pause * 1.6, SES_POLL)
