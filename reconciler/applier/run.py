"""The runtime of one apply, which its steps share: AWS, outputs of earlier steps, waiting for SES to verify."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from reconciler import secrets
from reconciler.errors import ReconError
from reconciler.model import Address, Plan
from reconciler.resources.email_identity.statuses import VERIFICATION_HINTS

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.resources.dns_record.zones import Zone

OnProgress = Callable[[str, str], None]
"""``on_progress(address, message)``: progress for people; called from several threads."""

VISIBLE_SECONDS = 30.0
"""How long a run waits until AWS's other calls see what it created, and AWS's reads what it wrote."""

SES_POLL = (2.0, 5.0)
"""Seconds between two looks at an identity that SES verifies: at first, and after minutes. SES takes one call a second
and region: of many identities each has its turn less often."""
_SHARE = 0.025
"""The share of the time that SES takes which may pass until it is seen that it has ended."""


def next_pause(pause: float, since: float) -> float:
    """Seconds until the next look at an identity, after a pause of so many; ``since`` is when the wait began."""
    least, most = SES_POLL
    return min(pause * 1.6, max(least, min(_SHARE * (time.monotonic() - since), most)))


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
        self._looking: dict[tuple[str, str], threading.Lock] = {}
        self._looks: dict[tuple[str, str], tuple[float, dict[str, Any] | None]] = {}
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

    def look(self, region: str, name: str, *, age: float) -> dict[str, Any] | None:
        """A live identity as SES has shown it in the last ``age`` seconds, None where it has none: steps and ``--wait``
        may wait for the same one at the same time."""
        key = region, name
        with self._lock:
            looking = self._looking.setdefault(key, threading.Lock())
        with looking:
            seen, live = self._looks.get(key, (-math.inf, None))
            if time.monotonic() - seen >= age:
                live = self.aws.call_if_there("sesv2", "GetEmailIdentity", region, EmailIdentity=name)
                self._looks[key] = time.monotonic(), live
            return live

    def look_afresh(self) -> None:
        """Take no look of before for an answer from now on: what the run has written since may have changed it."""
        with self._lock:
            self._looks.clear()

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
        name, pause, since = domain, 1.0, time.monotonic()
        while True:
            live = self.look(region, name, age=pause / 2)
            if live is None and f"email_identity/{region}/{name}" not in self.created:
                if "@" in name:
                    raise ReconError(
                        f"{region} no longer has the identity {name}", hint="plan again: somebody deleted it"
                    )
                if "." not in (name := name.partition(".")[2]):
                    raise ReconError(
                        f"{region} no longer has an identity at or above {domain}",
                        hint=f"declare the domain for {region}: SES accepts the name only below a verified identity",
                    )
                continue
            status = (live or {}).get("VerificationStatus")
            if live is not None and status is None:
                status = "SUCCESS" if live.get("VerifiedForSendingStatus") else "PENDING"
            if status == "SUCCESS":
                return
            if time.monotonic() + pause > self.deadline:
                reason = str(((live or {}).get("VerificationInfo") or {}).get("ErrorType") or "")
                raise VerifyTimeout(
                    f"SES has not verified {name} in {region} within the time limit: {status or 'not visible yet'}"
                    + (f", {reason}" if reason else ""),
                    hint=VERIFICATION_HINTS.get(reason, "SES checks the records for up to 72 hours: apply again later"),
                )
            self.on_progress(f"email_identity/{region}/{name}", f"waiting for SES to verify: {status or 'PENDING'}")
            if self.stop.wait(pause):
                raise ReconError(f"stopped while waiting for SES to verify {name} in {region}", hint="apply again")
            pause = next_pause(pause, since)
