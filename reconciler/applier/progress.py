"""The loop of one apply: runs every step when the steps that it needs have ended, and collects the Result."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue

from reconciler.applier.precondition import Preconditions
from reconciler.applier.run import VISIBLE_SECONDS, ApplyRun, VerifyTimeout
from reconciler.applier.zones import Zones
from reconciler.errors import AwsError, InternalError, ReconError, Stale, as_error
from reconciler.fair_queue import FairQueue
from reconciler.kinds.kind import Need, Step
from reconciler.kinds.reading import Reader
from reconciler.kinds.registry import REGISTRY
from reconciler.model import Address, Applied, Change, Diagnostic, Plan, Result, address_parts
from reconciler.steps import Batch, longest_chains, steps_of

OnStep = Callable[[str, str, str], None]
"""``on_step(step id, outcome, error code)``: ``done``, ``failed`` or ``skipped``; called from several threads."""

_Ended = SimpleQueue[tuple[Batch, Future[None]]]


class Progress:
    """Runs batches in parallel, and keeps which steps are done, failed or skipped."""

    def __init__(self, plan: Plan, run: ApplyRun, on_step: OnStep) -> None:
        self.on_step = on_step
        self.plan = plan
        self.run = run
        self.stop = run.stop
        self.changes = {change.address: change for change in plan.changes}
        for change in plan.changes:
            if change.moved is not None:
                self.changes[change.moved.address] = change.moved
        self.preconditions = Preconditions(run.aws, self.changes)
        run.recheck = self.preconditions.recheck
        self.zones = Zones(run, self.changes)
        self.done: set[Need] = set()
        self.failed: dict[Need, ReconError] = {}
        self.skipped: dict[Need, Need] = {}
        self.diagnostics: list[Diagnostic] = []
        self.lost_credentials = False
        self.unfinished = False
        """Whether what follows the last step ended in an error."""
        self.wrote: dict[Address, float] = {}
        """When the last step of each resource ended (``time.monotonic``), in that order."""
        self.lock = threading.Lock()

    def execute(self, batches: list[Batch]) -> None:
        """Run every batch when the batches that it needs have ended; steps that need a failed step are skipped. Takes
        the batches out of the list: what has ended is not kept, which of ten thousand domains would be much.

        Ready batches take turns among AWS's rate limits, so that no region or service waits for another. Of one limit,
        what most others wait for one after another goes first: a DNS batch waits for every identity that it is about.
        """
        followers: dict[str, list[str]] = {}
        for batch in batches:
            for need in batch.needs:
                followers.setdefault(need, []).append(batch.id)
        chain = longest_chains(batches)
        ready = FairQueue[Batch](
            _limit_of, (batch for batch in batches if not batch.needs), urgency=lambda batch: chain[batch.id]
        )
        waiting = {batch.id: batch for batch in batches if batch.needs}
        missing = {name: len(batch.needs) for name, batch in waiting.items()}
        batches.clear()
        ended: _Ended = SimpleQueue()
        running = 0
        with ThreadPoolExecutor(max_workers=self.run.aws.parallelism) as pool:
            while True:
                while running < self.run.aws.parallelism and not self.stop.is_set():
                    following = ready.get()
                    if following is None:
                        break
                    running += 1
                    pool.submit(self._run_batch, following).add_done_callback(partial(_ended, ended, following))
                if not running:
                    return
                batch, future = ended.get()
                running -= 1
                ready.task_done(batch)
                future.result()
                self.zones.ended(batch.steps)
                for follower in followers.pop(batch.id, ()):
                    missing[follower] -= 1
                    if not missing[follower]:
                        ready.put(waiting.pop(follower))

    def _run_batch(self, batch: Batch) -> None:
        if self.stop.is_set():
            return  # it was still queued
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
        try:
            if ready[0].zone:
                self._run_zone(ready)
            else:
                self._run_step(ready[0])
        except Exception as problem:  # what the other steps did must not be lost with a fault in this one
            error = as_error(problem)
            if isinstance(error, InternalError):
                self.stop.set()  # nothing new is begun after a fault of ours
            with self.lock:
                self.failed |= {step.id: error for step in ready if step.id not in self.done}
            for step in ready:
                self._report(step, self.failed.get(step.id))

    def _run_step(self, step: Step) -> None:
        problem = self.preconditions.check(step)
        if problem is None:
            self.run.on_progress(step.address, step.label)
            problem = self._run_with_retries(step)
        with self.lock:
            if problem is None:
                self.done.add(step.id)
                if step.label == "create":
                    self.run.created.add(step.address)
                if step.calls:
                    self.wrote.pop(step.address, None)
                    self.wrote[step.address] = time.monotonic()
            else:
                self.failed[step.id] = problem
        self._report(step, problem)

    def _run_with_retries(self, step: Step) -> ReconError | None:
        """Run a step; retry while what this run has just created is not visible to SES's other calls."""
        pause, deadline = 0.3, 0.0
        while True:
            try:
                if step.run is not None:
                    step.run(self.run)
                return None
            except ReconError as error:
                if not (isinstance(error, AwsError) and self._not_visible_yet(step, error)):
                    return error
                deadline = deadline or time.monotonic() + VISIBLE_SECONDS
                if time.monotonic() + pause > deadline:
                    error.hint = self._hint_if_never_found(step, error)
                    return error
                self.run.on_progress(
                    step.address, f"waiting up to {VISIBLE_SECONDS:.0f} seconds for SES to show what was created"
                )
                if self.stop.wait(pause):
                    return error
                pause = min(pause * 1.7, 4.0)

    def _not_visible_yet(self, step: Step, error: AwsError) -> bool:
        """Whether SES says that something does not exist which this run has created, or refuses what names it."""
        if error.aws_code in step.unseen and {need.address for need in step.needs} & self.run.created - {step.address}:
            return True
        if error.service != "sesv2" or not error.absent:
            return False
        created = {step.address, *(need.address for need in step.needs)} & self.run.created
        return bool(created) or (step.label == "create" and not error.operation.startswith("Create"))

    def _hint_if_never_found(self, step: Step, error: AwsError) -> str:
        if error.aws_code in step.unseen:
            named = sorted({need.address for need in step.needs} & self.run.created - {step.address})
            return (
                f"SES refused it for {VISIBLE_SECONDS:.0f} seconds, and this run has created {', '.join(named)}, which "
                "it names: apply again; if it is refused again, the policy is wrong"
            )
        if self._is_shown(step):
            return (
                f"SES shows it, and {error.operation} did not find it for {VISIBLE_SECONDS:.0f} seconds: apply again; "
                "does this endpoint have the operation (AWS_ENDPOINT_URL)?"
            )
        return f"SES did not show it within {VISIBLE_SECONDS:.0f} seconds of its creation: apply again"

    def _is_shown(self, step: Step) -> bool:
        """Whether SES's reads show all that this run has created and the step needs, as far as it is read alone."""
        created = {step.address, *(need.address for need in step.needs)} & self.run.created
        for address in created or {step.address}:
            kind, region, name = address_parts(address)
            try:
                one = REGISTRY[kind]
                if not isinstance(one, Reader) or one.read(self.run.aws, region, name) is None:
                    return False
            except ReconError:
                return False
        return True

    def _run_zone(self, steps: Sequence[Step]) -> None:
        problems = self.zones.edit(steps)
        with self.lock:
            self.failed |= problems
            self.done |= {step.id for step in steps if step.id not in problems}
        for step in steps:
            self._report(step, problems.get(step.id))

    def _report(self, step: Step, problem: ReconError | None) -> None:
        if isinstance(problem, AwsError) and problem.credentials_lost:
            self.lost_credentials = True
            self.stop.set()  # each other step would fail alike
        if problem is None:
            self.on_step(str(step.id), "done", "")
        else:
            self.on_step(str(step.id), "failed", problem.aws_code if isinstance(problem, AwsError) else problem.code)

    def written(self) -> dict[Address, tuple[Change, float]]:
        """The changes whose steps are all done, and when the last write of each ended, in that order."""
        found = {}
        for address, moment in self.wrote.items():
            change = self.changes.get(address)
            if change is None or change.moved is not None:
                continue
            if all(step.id in self.done for step in steps_of(change)):
                found[address] = (change, moment)
        return found

    def add_unverified(self, problems: Mapping[Address, ReconError]) -> None:
        """Add the identities that SES has not verified in time, or that could not be read."""
        self.failed |= {Need(address, "verified"): error for address, error in problems.items()}

    def add_unfinished(self, problem: Exception) -> None:
        """Add the error that ended the run after its last step."""
        error = as_error(problem)
        self.unfinished = True
        self.diagnostics += error.diagnostics

    def result(self, seconds: float) -> Result:
        applied = [self._outcome_of(change) for change in self.plan.changes]
        known = {a.address for a in applied if a.status != "done"}
        for step, error in self.failed.items():
            address = step.address
            code = error.code if isinstance(error, VerifyTimeout | Stale) else error.diagnostics[0].code
            self.diagnostics.append(Diagnostic("error", code, error.message, error.hint, address=address))
            known.add(address)
        return Result(
            self.plan,
            self._outcome({a.status for a in applied}),
            tuple(applied),
            tuple(self.diagnostics),
            dict(self.run.aws.calls),
            round(seconds, 3),
        )

    def _outcome(self, statuses: set[str]) -> str:
        """The outcome of the run, from the statuses of its changes."""
        if not self.plan.changes:
            return "no_changes"
        timeouts = sum(isinstance(error, VerifyTimeout) for error in self.failed.values())
        unfinished = bool(statuses & {"failed", "not_started"})
        if not unfinished and not timeouts:
            return "partial" if self.unfinished or self.plan.context.get("unreadable") else "applied"
        if timeouts and timeouts == len(self.failed) and "not_started" not in statuses:
            return "verify_timeout"
        if unfinished and "done" not in statuses and not self.done:
            return "error" if "failed" in statuses else "not_started"
        return "partial"

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
            needed = cause.address
            if isinstance(self.failed.get(cause), VerifyTimeout):
                return Applied(change.address, change.action, "waiting", f"needs {needed}, which SES has not verified")
            return Applied(change.address, change.action, "not_started", f"needs {needed}, which failed")
        if all(step.id in self.done for step in steps):
            return Applied(change.address, change.action, "done")
        why = "no AWS credentials were left for this change" if self.lost_credentials else ""
        why = why or "the run was stopped before this change"
        return Applied(change.address, change.action, "not_started", why)


def _ended(queue: _Ended, batch: Batch, future: Future[None]) -> None:
    queue.put((batch, future))


def _limit_of(batch: Batch) -> tuple[str, str | None]:
    """The rate limit of AWS that a batch counts against: (service, region)."""
    step = batch.steps[0]
    if step.zone:
        return ("route53", None)
    return (step.calls[0].partition(":")[0] if step.calls else "", step.region)
