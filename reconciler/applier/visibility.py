"""The end of an apply: waiting until AWS's reads show what was written and, where asked, until SES has verified it."""

from __future__ import annotations

import time
from collections.abc import Container
from typing import TYPE_CHECKING

from reconciler.applier.run import SEEN_SECONDS, ApplyRun, VerifyTimeout
from reconciler.errors import AwsError, ReconError
from reconciler.kinds.registry import REGISTRY
from reconciler.model import Address, Change, Diagnostic, Plan, address_parts
from reconciler.resources.email_identity.statuses import VERIFICATION_HINTS

if TYPE_CHECKING:
    from reconciler.aws import Aws

RECENT_SECONDS = 5.0
"""What was written before this is taken for seen when a run ends."""
LAST_FEW = 2
"""How many resources of a kind and region are looked at when a run ends."""


def wait_until_visible(run: ApplyRun, written: dict[Address, tuple[Change, float]]) -> list[Diagnostic]:
    """Wait until AWS's reads show what was written last, so that a plan right after this run is empty.

    ``written`` are the changes that were carried out whole and when the last write of each ended (``time.monotonic``),
    in that order. Only what was written in the last seconds can be late, and where the last of a kind in a region is
    seen, those before it are.
    """
    begun = time.monotonic()
    recent: dict[tuple[str, str | None], list[Change]] = {}
    for change, moment in reversed(written.values()):
        group = recent.setdefault((change.kind, change.region), [])
        if begun - moment <= RECENT_SECONDS and len(group) < LAST_FEW:
            group.append(change)

    def one(change: Change) -> Address | None:
        pause = 0.3
        while not _is_visible(run.aws, change):
            if time.monotonic() + pause > begun + SEEN_SECONDS:
                return change.address
            run.say(change.address, f"waiting up to {SEEN_SECONDS:.0f} seconds for AWS to show what was written")
            if run.stop.wait(pause):
                return None
            pause = min(pause * 1.7, 4.0)
        return None

    late = [a for a in run.aws.parallel(one, [c for group in recent.values() for c in group]) if a]
    if not late:
        return []
    return [
        Diagnostic(
            "warning",
            "reads-late",
            f"AWS does not show yet what was written, after {SEEN_SECONDS:.0f} seconds: {', '.join(late[:5])}",
            "a plan made now may show it as a change; plan again in a minute",
        )
    ]


def _is_visible(aws: Aws, change: Change) -> bool:
    """Whether reads show a change already; what cannot be read is not waited for."""
    try:
        return REGISTRY[change.kind].is_visible(aws, change)
    except ReconError:
        return True


def wait_for_ses(run: ApplyRun, plan: Plan, written: Container[Address]) -> dict[Address, ReconError]:
    """With --wait: until SES has verified DKIM and MAIL FROM of every identity that the plan touches; what is late.

    Of ``written``, the changes that were carried out, SES's reads may know nothing for a while; what else is not there
    was never made."""
    touched = {
        c.address for c in plan.changes if c.kind == "email_identity" and c.action != "delete" and "@" not in c.address
    }
    touched |= {
        a for c in plan.changes if c.kind == "dns_record" for a in c.depends_on if a.startswith("email_identity/")
    }
    if not run.deadline:
        run.deadline = time.monotonic() + run.verify_timeout
    seen = time.monotonic() + SEEN_SECONDS

    def one(address: Address) -> ReconError | None:
        _, region, name = address_parts(address)
        pause = 1.0
        while not run.stop.is_set():
            try:
                live = run.aws.call_if_there("sesv2", "GetEmailIdentity", region, EmailIdentity=name)
            except AwsError as error:
                return error
            if live is None:
                if address not in written:
                    return None
                if time.monotonic() + pause > min(seen, run.deadline):
                    return VerifyTimeout(
                        f"SES does not show {name} in {region}, which this run wrote: it is late or deleted again",
                        hint="`recon plan` says which",
                    )
                run.say(address, f"waiting up to {SEEN_SECONDS:.0f} seconds for AWS to show what was written")
                run.stop.wait(pause)
                continue
            dkim = live.get("DkimAttributes") or {}
            mail_from = live.get("MailFromAttributes") or {}
            states = {"verification": live.get("VerificationStatus"), "DKIM": dkim.get("Status")}
            if mail_from.get("MailFromDomain"):
                states["MAIL FROM"] = mail_from.get("MailFromDomainStatus")
            left = {k: v for k, v in states.items() if v != "SUCCESS"}
            if not left:
                return None
            words = ", ".join(f"{k} {v}" for k, v in left.items())
            if time.monotonic() + pause > run.deadline:
                reason = str((live.get("VerificationInfo") or {}).get("ErrorType") or "")
                return VerifyTimeout(
                    f"{name} in {region} is not verified in time: {words}" + (f" ({reason})" if reason else ""),
                    hint=VERIFICATION_HINTS.get(reason, "SES looks for up to 72 hours; `recon plan` shows the status"),
                )
            run.say(address, "waiting for SES: " + words)
            run.stop.wait(pause)
            pause = min(pause * 1.6, 15.0)
        return None

    addresses = sorted(touched)
    answers = zip(
        addresses, run.aws.parallel(one, addresses, lambda address: address_parts(address).place), strict=True
    )
    return {address: error for address, error in answers if error is not None}
