"""Apply one plan: each step runs when the steps that it needs are done; a failure stops only its dependents.

Nothing here decides what to do: it runs ``Kind.steps`` of the plan's changes. ``progress`` is the loop,
``precondition`` reads each resource again before it is written, ``zones`` batches the DNS edits of a zone,
``visibility`` waits at the end, ``run`` is the runtime that steps get.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.applier import visibility
from reconciler.applier.progress import OnStep, Progress
from reconciler.applier.run import VISIBLE_SECONDS, ApplyRun, OnProgress, VerifyTimeout
from reconciler.applier.visibility import LAST_FEW
from reconciler.model import Applied, Plan, Result
from reconciler.steps import held_back, schedule, split_after_verification, steps_of, to_do

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.kinds.kind import Step
    from reconciler.resources.dns_record.zones import Zone

__all__ = ["LAST_FEW", "VISIBLE_SECONDS", "VerifyTimeout", "apply_plan"]


def apply_plan(
    plan: Plan,
    aws: Aws,
    *,
    zones: Mapping[str, Zone] | None = None,
    wait_for_ses: bool = False,
    verify_timeout: float = 600.0,
    on_progress: OnProgress = lambda address, message: None,
    stop: threading.Event | None = None,
    on_step: OnStep = lambda step, outcome, code: None,
) -> Result:
    """Apply ``plan`` and return how each change ended; never raises for an error of AWS. Refused changes, and those
    that need them, are skipped.

    ``plan`` was just planned, a saved one again (``reconciler/saved.py``); ``zones`` are those that planning read.
    ``wait_for_ses`` also waits until DKIM and MAIL FROM of the changed identities are verified; ``verify_timeout`` is
    in seconds. Setting ``stop`` (Ctrl-C) lets calls in flight end and starts no more. ``on_progress`` gets messages for
    people, ``on_step`` the outcome of each step as it ends (the journal).
    """
    started = time.monotonic()
    whole, plan = plan, to_do(plan)
    run = ApplyRun(plan, aws, dict(zones or {}), verify_timeout, on_progress, stop or threading.Event())
    progress = Progress(plan, run, on_step)
    try:
        _carry_out(plan, run, progress, wait_for_ses)
    except Exception as problem:  # the result says what was done, whatever ended the run
        progress.add_unfinished(problem)
    return _with_skipped(progress.result(time.monotonic() - started), whole)


def _carry_out(plan: Plan, run: ApplyRun, progress: Progress, wait_for_ses: bool) -> None:
    """Run all steps, and wait until what they wrote is in sync, verified and visible."""
    now, after = split_after_verification([step for change in plan.changes for step in steps_of(change)])
    progress.zones.expect(step.zone for step in (*now, *after) if step.zone)
    progress.diagnostics += progress.zones.load(step.zone for step in now if step.zone)
    batches = schedule(now)
    del now  # only what has not ended yet keeps its steps
    progress.execute(batches)
    if not run.stop.is_set():
        # SES often sees the records before Route 53 says that they are everywhere: both are looked at side by side.
        written = progress.written()  # before steps go on in the other thread
        with ThreadPoolExecutor(max_workers=1) as pool:
            published = pool.submit(_publish, run, progress, after)
            waits = wait_for_ses and not run.stop.is_set()
            unverified, verified = visibility.wait_for_ses(run, plan, written) if waits else ({}, [])
            published.result()
        progress.add_unverified(unverified)
        progress.diagnostics += progress.zones.untag_unused()
        progress.diagnostics += verified
        progress.diagnostics += visibility.wait_until_visible(run, progress.written())


def _publish(run: ApplyRun, progress: Progress, after: Sequence[Step]) -> None:
    """Wait until Route 53 has published the records; run what needs them, and wait for its records."""
    try:
        progress.diagnostics += progress.zones.wait_insync()
    finally:
        run.start_verify_timeout()
    in_sync = dict(progress.zones.changed)
    progress.execute(schedule(after))
    progress.diagnostics += progress.zones.wait_insync(in_sync)


def _with_skipped(result: Result, whole: Plan) -> Result:
    """The result of a part of a plan as that of the ``whole``: the rest was skipped."""
    held = held_back(whole.changes)
    if not held:
        return result
    ended = {one.address: one for one in result.applied}
    applied = tuple(
        ended.get(c.address)
        or Applied(c.address, c.action, "skipped", held[c.address], c.refused.hint if c.refused else "")
        for c in whole.changes
    )
    outcome = {"applied": "partial", "no_changes": "refused"}.get(result.outcome, result.outcome)
    return replace(result, plan=whole, outcome=outcome, applied=applied)
