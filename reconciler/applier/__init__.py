"""Carrying out one plan: steps run as their needs are met, a failure stops only what depends on it, all is reported.

Nothing here decides what to do; it runs ``Kind.steps`` of the plan's changes. ``saved`` holds a saved plan against
what is live, ``progress`` is the loop, ``precondition`` reads each resource again before it is written, ``zones`` joins
the DNS edits of a zone into batches, ``visibility`` waits at the end, ``run`` is what steps see.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from reconciler.applier import visibility
from reconciler.applier.progress import OnStep, Progress
from reconciler.applier.run import SEEN_SECONDS, ApplyRun, Say, VerifyTimeout
from reconciler.applier.saved import check_form, verify_saved
from reconciler.applier.visibility import LAST_FEW
from reconciler.model import Plan, Result
from reconciler.steps import schedule, split_after_verification, steps_of

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.resources.dns_record.zones import Zone

__all__ = ["LAST_FEW", "SEEN_SECONDS", "VerifyTimeout", "apply_plan", "check_form", "verify_saved"]


def apply_plan(
    plan: Plan,
    aws: Aws,
    *,
    zones: Mapping[str, Zone] | None = None,
    wait_for_ses: bool = False,
    verify_timeout: float = 600.0,
    say: Say = lambda address, words: None,
    stop: threading.Event | None = None,
    on_step: OnStep = lambda step, outcome, code: None,
) -> Result:
    """Carry out ``plan`` and say how each change ended; never raises for what AWS answers.

    ``zones`` are those that planning just read (a saved plan comes through ``verify_saved``, which reads them anew).
    ``wait_for_ses`` also waits until DKIM and MAIL FROM of what was touched are verified; ``verify_timeout`` is in
    seconds. ``stop`` set from outside (Ctrl-C) lets calls in flight end and starts nothing more.
    ``on_step`` hears how each step ended, as it ends (the journal).
    """
    started = time.monotonic()
    run = ApplyRun(plan, aws, dict(zones or {}), verify_timeout, say, stop or threading.Event())
    progress = Progress(plan, run, on_step)
    now, late = split_after_verification([step for change in plan.changes for step in steps_of(change)])
    progress.diagnostics += progress.zones.load(step.zone for step in now if step.zone)
    progress.execute(schedule(now))
    if not run.stop.is_set():
        progress.diagnostics += progress.zones.wait_insync()
        settled = dict(progress.zones.changed)
        progress.execute(schedule(late))
        progress.diagnostics += progress.zones.wait_insync(settled)
        if wait_for_ses and not run.stop.is_set():
            progress.late(visibility.wait_for_ses(run, plan, progress.written()))
        progress.diagnostics += progress.zones.tidy()
        progress.diagnostics += visibility.wait_until_visible(run, progress.written())
    return progress.result(time.monotonic() - started)
