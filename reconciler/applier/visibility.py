"""The end of an apply: waits until AWS's reads show what was written and, with --wait, until SES has verified it."""

from __future__ import annotations

import time
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any

from reconciler.applier.run import VISIBLE_SECONDS, ApplyRun, VerifyTimeout, next_pause
from reconciler.errors import AwsError, ReconError
from reconciler.kinds.registry import REGISTRY
from reconciler.model import Address, Change, Diagnostic, Plan, address_parts
from reconciler.resources.email_identity.statuses import VERIFICATION_HINTS

if TYPE_CHECKING:
    from reconciler.aws import Aws

RECENT_SECONDS = 5.0
"""What was written longer ago counts as visible when a run ends."""
LAST_FEW = 2
"""How many resources of a kind and region are read when a run ends."""


def wait_until_visible(run: ApplyRun, written: dict[Address, tuple[Change, float]]) -> list[Diagnostic]:
    """Wait until AWS's reads show what was written last, so that a plan right after this run is empty.

    ``written`` are the changes that are done and when the last write of each ended (``time.monotonic``), in that order.
    Only the writes of the last seconds may be invisible, and if the last of a kind in a region is visible, the earlier
    ones are, too.
    """
    started = time.monotonic()
    recent: dict[tuple[str, str | None], list[Change]] = {}
    for change, moment in reversed(written.values()):
        group = recent.setdefault((change.kind, change.region), [])
        if started - moment <= RECENT_SECONDS and len(group) < LAST_FEW:
            group.append(change)

    def wait(change: Change) -> Address | None:
        """The address if AWS still does not show the change in the end."""
        pause = 0.3
        while not _is_visible(run.aws, change):
            if time.monotonic() + pause > started + VISIBLE_SECONDS:
                return change.address
            run.on_progress(change.address, _WAITING)
            if run.stop.wait(pause):
                return None
            pause = min(pause * 1.7, 4.0)
        return None

    invisible = [a for a in run.aws.parallel(wait, [c for group in recent.values() for c in group]) if a]
    if not invisible:
        return []
    return [
        Diagnostic(
            "warning",
            "reads-late",
            f"after {VISIBLE_SECONDS:.0f} seconds AWS still does not show what was written: {', '.join(invisible[:5])}",
            "a plan made now may show it as a change; plan again in a minute",
        )
    ]


_WAITING = f"waiting up to {VISIBLE_SECONDS:.0f} seconds for AWS to show what was written"


def _is_visible(aws: Aws, change: Change) -> bool:
    """Whether reads show a change already; what cannot be read is not waited for."""
    try:
        return REGISTRY[change.kind].is_visible(aws, change)
    except ReconError:
        return True


def wait_for_ses(
    run: ApplyRun, plan: Plan, written: Container[Address]
) -> tuple[dict[Address, ReconError], list[Diagnostic]]:
    """For --wait: wait until SES has verified DKIM and MAIL FROM of every identity that the plan touches.

    Returns why an identity is not verified, by address, and a note for each that is. SES may not show ``written`` (the
    changes that are done) for a while; another identity that does not exist was never created, and is skipped.
    ``run.deadline`` ends it, which may be set while it waits."""
    run.look_afresh()
    touched = {
        c.address for c in plan.changes if c.kind == "email_identity" and c.action != "delete" and "@" not in c.address
    }
    touched |= {
        a for c in plan.changes if c.kind == "dns_record" for a in c.depends_on if a.startswith("email_identity/")
    }
    visible_by = time.monotonic() + VISIBLE_SECONDS

    def wait(address: Address) -> ReconError | Diagnostic | None:
        _, region, name = address_parts(address)
        pause, since = 1.0, time.monotonic()
        while not run.stop.is_set():
            try:
                live = run.look(region, name, age=pause / 2)
            except AwsError as error:
                return error
            if live is None:
                if address not in written and address not in run.created:
                    return None
                if time.monotonic() + pause > min(visible_by, run.deadline):
                    return VerifyTimeout(
                        f"SES does not show {name} in {region}, which this run wrote: not visible yet, or deleted",
                        hint="`recon plan` shows which",
                    )
                run.on_progress(address, _WAITING)
                run.stop.wait(pause)
                continue
            pending = _pending(live)
            if not pending:
                return Diagnostic("note", "verified", f"{name} is verified in {region}", address=address)
            if time.monotonic() + pause > run.deadline:
                reason = str((live.get("VerificationInfo") or {}).get("ErrorType") or "")
                return VerifyTimeout(
                    f"{name} in {region} is not verified in time: {pending}" + (f" ({reason})" if reason else ""),
                    hint=VERIFICATION_HINTS.get(reason, "SES checks for up to 72 hours; `recon plan` shows the status"),
                )
            run.on_progress(address, f"waiting for SES: {pending}")
            run.stop.wait(pause)
            pause = next_pause(pause, since)
        return None

    addresses = sorted(touched)
    regional = run.aws.parallel(wait, addresses, lambda address: address_parts(address).place)
    found = dict(zip(addresses, regional, strict=True))
    errors = {address: one for address, one in found.items() if isinstance(one, ReconError)}
    return errors, [one for one in found.values() if isinstance(one, Diagnostic)]


def _pending(live: Mapping[str, Any]) -> str:
    """What SES has not verified of an identity, as ``DKIM PENDING, MAIL FROM FAILED``; empty if everything is."""
    mail_from = live.get("MailFromAttributes") or {}
    states = {
        "verification": live.get("VerificationStatus"),
        "DKIM": (live.get("DkimAttributes") or {}).get("Status"),
    }
    if mail_from.get("MailFromDomain"):
        states["MAIL FROM"] = mail_from.get("MailFromDomainStatus")
    return ", ".join(f"{name} {status}" for name, status in states.items() if status != "SUCCESS")
