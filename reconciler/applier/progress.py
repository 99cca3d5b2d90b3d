"""The loop of one apply: every step runs once its needs have ended, and how each ended is kept for the Result."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue

from reconciler.applier.precondition import Preconditions
from reconciler.applier.run import SEEN_SECONDS, ApplyRun, VerifyTimeout
from reconciler.applier.zones import Zones
from reconciler.errors import AwsError, ReconError, Stale
from reconciler.fair_queue import FairQueue
from reconciler.kinds.kind import Need, Step
from reconciler.model import Address, Applied, Change, Diagnostic, Plan, Result
from reconciler.steps import Batch, change_from_json, steps_of

OnStep = Callable[[str, str, str], None]
"""``on_step(step id, outcome, error code)``: ``done``, ``failed`` or ``skipped``; called from several threads."""

_Ended = SimpleQueue[tuple[Batch, Future[None]]]


class Progress:
    """What has been done, has failed, or must not start; and the loop that runs nodes side by side."""

    def __init__(self, plan: Plan, run: ApplyRun, on_step: OnStep) -> None:
        self.on_step = on_step
        self.plan = plan
        self.run = run
        self.stop = run.stop
        self.changes = {change.address: change for change in plan.changes}
        for change in plan.changes:
            if change.execution.get("moved"):
                old = change_from_json(change.execution["moved"])
                self.changes[old.address] = old
        self.preconditions = Preconditions(run.aws, self.changes)
        run.recheck = self.preconditions.recheck
        self.zones = Zones(run, self.changes)
        self.done: set[Need] = set()
        self.failed: dict[Need, ReconError] = {}
        self.skipped: dict[Need, Need] = {}
        self.diagnostics: list[Diagnostic] = []
        self.wrote: dict[Address, float] = {}
        """When the last step of a resource ended, in the order of those moments."""
        self.lock = threading.Lock()

    def execute(self, batches: Sequence[Batch]) -> None:
        """Run every node once its needs have ended; a node whose needs failed is skipped, step by step.

        What may run takes turns among AWS's limits, so that neither a region nor Route 53 waits behind another's queue.
        """
        followers: dict[str, list[Batch]] = {}
        missing = {batch.id: len(batch.needs) for batch in batches}
        for batch in batches:
            for need in batch.needs:
                followers.setdefault(need, []).append(batch)
        ready = FairQueue[Batch](_limit_of, (batch for batch in batches if not batch.needs))
        ended: _Ended = SimpleQueue()
        running = 0
        with ThreadPoolExecutor(max_workers=self.run.aws.parallelism) as pool:
            while True:
                while running < self.run.aws.parallelism and not self.stop.is_set():
                    free = ready.take()
                    if free is None:
                        break
                    running += 1
                    pool.submit(self._run_batch, free).add_done_callback(partial(_ended, ended, free))
                if not running:
                    return
                batch, future = ended.get()
                running -= 1
                ready.done(batch)
                future.result()
                for follower in followers.get(batch.id, ()):
                    missing[follower.id] -= 1
                    if not missing[follower.id]:
                        ready.put(follower)

    def _run_batch(self, batch: Batch) -> None:
        if self.stop.is_set():
            return  # it stood in the queue
        ready = list(batch.steps)
        while True:
            needed = {s.id: next((n for n in s.needs if n in self.failed or n in self.skipped), None) for s in ready}
            blocked = {step: need for step, need in needed.items() if need is not None}
            if not blocked:
                break
            with self.lock:
                self.skipped |= blocked
            for step_id in blocked:
                self.on_step(str(step_id), "skipped", "")
            ready = [s for s in ready if s.id not in blocked]
        if not ready:
            return
        if ready[0].zone:
            self._run_zone(ready)
        else:
            self._run_step(ready[0])

    def _run_step(self, step: Step) -> None:
        problem = self.preconditions.check(step)
        if problem is None:
            self.run.say(step.address, step.label)
            problem = self._carry_out(step)
        with self.lock:
            if problem is None:
                self.done.add(step.id)
                if step.label == "create":
                    self.run.made.add(step.address)
                if step.calls:
                    self.wrote.pop(step.address, None)
                    self.wrote[step.address] = time.monotonic()
            else:
                self.failed[step.id] = problem
        self._told(step, problem)

    def _carry_out(self, step: Step) -> ReconError | None:
        """Run a step; where SES does not see yet what this run has just made, wait and run it again."""
        pause, deadline = 0.3, 0.0
        while True:
            try:
                if step.run is not None:
                    step.run(self.run)
                return None
            except ReconError as error:
                if not (isinstance(error, AwsError) and self._not_seen_yet(step, error)):
                    return error
                deadline = deadline or time.monotonic() + SEEN_SECONDS
                if time.monotonic() + pause > deadline:
                    error.hint = f"SES did not see it within {SEEN_SECONDS:.0f} seconds of its creation: apply again"
                    return error
                self.run.say(step.address, f"waiting up to {SEEN_SECONDS:.0f} seconds for SES to see what was made")
                if self.stop.wait(pause):
                    return error
                pause = min(pause * 1.7, 4.0)

    def _not_seen_yet(self, step: Step, error: AwsError) -> bool:
        """Whether SES says of something that this run has created that it does not exist."""
        if error.service != "sesv2" or not error.absent:
            return False
        made = {step.address, *(need.address for need in step.needs)} & self.run.made
        return bool(made) or (step.label == "create" and not error.operation.startswith("Create"))

    def _run_zone(self, steps: Sequence[Step]) -> None:
        problems = self.zones.edit(steps)
        with self.lock:
            self.failed |= problems
            self.done |= {step.id for step in steps if step.id not in problems}
        for step in steps:
            self._told(step, problems.get(step.id))

    def _told(self, step: Step, problem: ReconError | None) -> None:
        if problem is None:
            self.on_step(str(step.id), "done", "")
        else:
            self.on_step(str(step.id), "failed", problem.aws_code if isinstance(problem, AwsError) else problem.code)

    def written(self) -> dict[Address, tuple[Change, float]]:
        """The changes that were carried out whole, and when the last write of each ended, in that order."""
        found = {}
        for address, moment in self.wrote.items():
            change = self.changes.get(address)
            if change is None or change.execution.get("moved"):
                continue
            if all(step.id in self.done for step in steps_of(change)):
                found[address] = (change, moment)
        return found

    def late(self, problems: Mapping[Address, ReconError]) -> None:
        """Keep that SES has not verified in time, or could not be asked."""
        self.failed |= {Need(address, "verified"): error for address, error in problems.items()}

    def result(self, seconds: float) -> Result:
        applied = [self._outcome_of(change) for change in self.plan.changes]
        known = {a.address for a in applied if a.status != "done"}
        for step, error in self.failed.items():
            address = step.address
            code = error.code if isinstance(error, VerifyTimeout | Stale) else error.diagnostics[0].code
            self.diagnostics.append(Diagnostic("error", code, error.message, error.hint, address=address))
            known.add(address)
        late = [e for e in self.failed.values() if isinstance(e, VerifyTimeout)]
        bad = [a for a in applied if a.status in {"failed", "not_started"}]
        if not self.plan.changes:
            outcome = "no_changes"
        elif not bad and not late:
            outcome = "applied"
        elif late and len(late) == len(self.failed) and not any(a.status == "not_started" for a in applied):
            outcome = "verify_timeout"
        elif bad and not any(a.status == "done" for a in applied) and not self.done:
            outcome = "error" if any(a.status == "failed" for a in applied) else "not_started"
        else:
            outcome = "partial"
        if outcome == "applied" and (self.plan.context.get("blocked") or self.plan.context.get("unreadable")):
            outcome = "partial"
        return Result(
            self.plan, outcome, tuple(applied), tuple(self.diagnostics), dict(self.run.aws.calls), round(seconds, 3)
        )

    def _outcome_of(self, change: Change) -> Applied:
        steps = steps_of(change)
        for step in steps:
            error = self.failed.get(step.id)
            if error is not None:
                status = "waiting" if isinstance(error, VerifyTimeout) else "failed"
                return Applied(change.address, change.action, status, error.message, error.hint)  # type: ignore[arg-type]
        blocked = next((self.skipped[s.id] for s in steps if s.id in self.skipped), None)
        if blocked is not None:
            cause = blocked
            while cause in self.skipped:
                cause = self.skipped[cause]
            place = cause.address
            if isinstance(self.failed.get(cause), VerifyTimeout):
                words = f"follows {place}, which waits for SES to verify"
                return Applied(change.address, change.action, "waiting", words)
            return Applied(change.address, change.action, "not_started", f"needs {place}, which failed")
        if all(step.id in self.done for step in steps):
            return Applied(change.address, change.action, "done")
        return Applied(change.address, change.action, "not_started", "the run was stopped before it")


def _ended(queue: _Ended, batch: Batch, future: Future[None]) -> None:
    queue.put((batch, future))


def _limit_of(batch: Batch) -> tuple[str, str | None]:
    """Which of AWS's limits the writes of a node stand under: (service, region)."""
    step = batch.steps[0]
    if step.zone:
        return ("route53", None)
    return (step.calls[0].partition(":")[0] if step.calls else "", step.region)
