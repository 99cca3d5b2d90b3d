"""Carrying out one plan: steps run as their needs are met, a failure stops only what depends on it, all is reported.

Nothing here decides what to do; it runs ``Kind.steps`` of the plan's changes. DNS edits of a zone are joined into
batches. Each resource that a step updates or deletes is read again just before (SES and IAM have no
compare-and-swap); Route 53 compares by itself, since a batch deletes exactly what was read.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from reconciler import secrets
from reconciler.errors import AwsError, ReconError, Stale
from reconciler.kinds import REGISTRY
from reconciler.kinds.base import Step, differences, project
from reconciler.kinds.dns import marker
from reconciler.kinds.dns.edits import Edit, Key, SetChange, batches, compose
from reconciler.kinds.dns.values import set_digest
from reconciler.kinds.dns.zones import Zone, load, record_from_aws
from reconciler.kinds.dns_record import untag_zone
from reconciler.kinds.reading import Rereading
from reconciler.mail import txt
from reconciler.model import Address, Applied, Change, Diagnostic, Plan, Result
from reconciler.names import to_route53
from reconciler.planner import VERIFICATION_HINTS
from reconciler.steps import Node, arrange, change_from_json, split_late, steps_of

if TYPE_CHECKING:
    from reconciler.aws import Aws

Say = Callable[[str, str], None]
"""``say(address, words)``: progress for people; called from several threads."""
OnStep = Callable[[str, str, str], None]
"""``on_step(step id, outcome, error code)``: ``done``, ``failed`` or ``skipped``; called from several threads."""


SEEN_SECONDS = 30.0
"""How long what a run has just made may take to be seen by AWS's other calls, and what it wrote by its reads."""


RECENT_SECONDS = 5.0
"""What was written before this is taken for seen when a run ends."""
LAST_FEW = 2
"""How many resources of a kind and region are looked at when a run ends."""


class VerifyTimeout(ReconError):
    """SES did not verify in time; says SES's own reason."""

    outcome = "verify_timeout"
    code = "verify-timeout"


class _Run:
    """The Runtime that steps see, and the shared state of one apply."""

    def __init__(
        self, plan: Plan, aws: Aws, zones: dict[str, Zone], verify_timeout: float, say: Say, stop: threading.Event
    ) -> None:
        stack = aws.stack
        self.aws = aws
        self.stop = stop
        self.scope = plan.scope
        self.account = stack.account
        self.partition = stack.partition
        self.regions = stack.regions
        self.zones = zones
        self.say = say
        self.root = str(plan.context.get("root") or ".")
        self.verify_timeout = verify_timeout
        self.deadline = 0.0
        self.inflight: dict[str, str] = {}
        self._learnt: dict[tuple[Address, str], Any] = {}
        self._verified: dict[tuple[str, str], threading.Lock] = {}
        self._done: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self.made: set[Address] = set()
        """What this run has created: where AWS does not know it, it is late and not gone."""
        aws.on_wait = lambda words: say("aws", words)
        self.look_again: Callable[[Address], ReconError | None] = lambda address: None

    def result(self, address: Address, key: str) -> Any:
        return self._learnt.get((address, key))

    def learn(self, address: Address, key: str, value: Any) -> None:
        with self._lock:
            self._learnt[address, key] = value

    def secret(self, reference: Mapping[str, Any], region: str | None) -> str:
        return secrets.fetch(reference, self.aws, self.regions[0] if self.regions else region or "", self.root)

    def still(self, address: Address) -> None:
        problem = self.look_again(address)
        if problem is not None:
            raise problem

    def wait_verified(self, region: str, domain: str) -> None:
        """Wait for the identity at or nearest above ``domain``; one poll for all who wait for the same."""
        with self._lock:
            if not self.deadline:
                self.deadline = time.monotonic() + self.verify_timeout
            mine = self._verified.setdefault((region, domain), threading.Lock())
        with mine:
            if (region, domain) in self._done:
                return
            self._poll_verified(region, domain)
            self._done.add((region, domain))

    def _poll_verified(self, region: str, domain: str) -> None:
        name, pause = domain, 1.0
        while True:
            try:
                live = self.aws.call("sesv2", "GetEmailIdentity", region, EmailIdentity=name)
            except AwsError as error:
                if error.aws_code == "NotFoundException" and f"email_identity/{region}/{name}" in self.made:
                    if time.monotonic() + pause > self.deadline or self.stop.wait(pause):
                        raise
                    pause = min(pause * 1.6, 15.0)
                    continue
                parent = name.partition(".")[2]
                if error.aws_code != "NotFoundException" or "@" in name:
                    raise
                if "." not in parent:
                    raise ReconError(
                        f"no identity at or above {domain} is in {region} any more",
                        hint=f"declare the domain for {region}: SES takes the name only below a verified identity",
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
                    hint=VERIFICATION_HINTS.get(
                        reason, "SES looks for the records for up to 72 hours: apply again later"
                    ),
                )
            self.say(f"email_identity/{region}/{name}", f"waiting for SES to verify: {status}")
            if self.stop.wait(pause):
                raise ReconError(f"stopped while SES verifies {name} in {region}", hint="apply again")
            pause = min(pause * 1.6, 15.0)


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
    stop = stop or threading.Event()
    run = _Run(plan, aws, dict(zones or {}), verify_timeout, say, stop)
    state = _Progress(plan, run, stop, on_step)
    steps = [step for change in plan.changes for step in steps_of(change)]
    now, late = split_late(steps)
    nodes = arrange(now)
    _load_zones(run, nodes, state)
    state.execute(nodes)
    if not stop.is_set():
        state.settle_dns()
        settled = dict(state.changed_zones)
        state.execute(arrange(late))
        state.settle_dns(settled)
        if wait_for_ses and not stop.is_set():
            state.wait_for_ses()
        state.tidy_zones()
        state.settle_reads()
    return state.result(time.monotonic() - started)


class _Progress:
    """What has been done, has failed, or must not start; and the loop that runs nodes side by side."""

    def __init__(self, plan: Plan, run: _Run, stop: threading.Event, on_step: OnStep) -> None:
        self.on_step = on_step
        self.plan = plan
        self.run = run
        run.look_again = self._look_again
        self.stop = stop
        self.changes = {change.address: change for change in plan.changes}
        for change in plan.changes:
            if change.execution.get("moved"):
                old = change_from_json(change.execution["moved"])
                self.changes[old.address] = old
        self.done: set[str] = set()
        self.failed: dict[str, ReconError] = {}
        self.skipped: dict[str, str] = {}
        self.diagnostics: list[Diagnostic] = []
        self.changed_zones: dict[str, str] = {}
        self.sent_zones: set[str] = set()
        self.wrote: dict[Address, float] = {}
        """When the last step of a resource ended, in the order of those moments."""
        self.checked: dict[Address, ReconError | None] = {}
        self.looking: dict[Address, threading.Lock] = {}
        self.writing: dict[str, threading.Lock] = {}
        self.lock = threading.Lock()

    # .. the loop ...................................................................................................

    def execute(self, nodes: Sequence[Node]) -> None:
        """Run every node once its needs have ended; a node whose needs failed is skipped, step by step."""
        waiting = {node.id: node for node in nodes}
        ended: set[str] = set()
        with ThreadPoolExecutor(max_workers=self.run.aws.parallelism) as pool:
            running: dict[Future[None], str] = {}
            while waiting or running:
                if not self.stop.is_set():
                    for node in [n for n in waiting.values() if n.needs <= ended]:
                        del waiting[node.id]
                        running[pool.submit(self._run_node, node)] = node.id
                if not running:
                    break
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    ended.add(running.pop(future))
                    future.result()

    def _run_node(self, node: Node) -> None:
        if self.stop.is_set():
            return  # it stood in the queue
        ready = list(node.steps)
        while True:
            needed = {s.id: next((n for n in s.needs if n in self.failed or n in self.skipped), None) for s in ready}
            blocked = {step: need for step, need in needed.items() if need is not None}
            if not blocked:
                break
            with self.lock:
                self.skipped |= blocked
            for step_id in blocked:
                self.on_step(step_id, "skipped", "")
            ready = [s for s in ready if s.id not in blocked]
        if not ready:
            return
        if ready[0].zone:
            self._run_zone(ready)
        else:
            self._run_step(ready[0])

    def _run_step(self, step: Step) -> None:
        problem = self._moved(step)
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
        if error.service != "sesv2" or error.aws_code != "NotFoundException":
            return False
        made = {step.address, *(need.partition("#")[0] for need in step.needs)} & self.run.made
        return bool(made) or (step.label == "create" and not error.operation.startswith("Create"))

    def settle_reads(self) -> None:
        """Wait until AWS's reads show what was written last, so that a plan right after this run is empty.

        Only what was written in the last seconds can be late, and where the last of a kind in a region is seen, those
        before it are.
        """
        begun = time.monotonic()
        recent: dict[tuple[str, str | None], list[Change]] = {}
        for address, moment in reversed(self.wrote.items()):
            change = self.changes.get(address)
            if change is None or begun - moment > RECENT_SECONDS or change.execution.get("moved"):
                continue
            if any(step.id not in self.done for step in steps_of(change)):
                continue
            group = recent.setdefault((change.kind, change.region), [])
            if len(group) < LAST_FEW:
                group.append(change)

        def one(change: Change) -> Address | None:
            pause = 0.3
            while not self._arrived(change):
                if time.monotonic() + pause > begun + SEEN_SECONDS:
                    return change.address
                self.run.say(
                    change.address, f"waiting up to {SEEN_SECONDS:.0f} seconds for AWS to show what was written"
                )
                if self.stop.wait(pause):
                    return None
                pause = min(pause * 1.7, 4.0)
            return None

        late = [a for a in self.run.aws.parallel(one, [c for group in recent.values() for c in group]) if a]
        if late:
            self.diagnostics.append(
                Diagnostic(
                    "warning",
                    "reads-late",
                    f"AWS does not show yet what was written, after {SEEN_SECONDS:.0f} seconds: {', '.join(late[:5])}",
                    "a plan made now may show it as a change; plan again in a minute",
                )
            )

    def _arrived(self, change: Change) -> bool:
        """Whether reads show a change already; what cannot be read is not waited for."""
        kind = REGISTRY[change.kind]
        try:
            if isinstance(kind, Rereading):
                return kind.arrived(self.run.aws, change)
            # What goes leaves a secret behind that waits for its end; what stays is no longer as it was.
            return change.action == "delete" or kind.reread(self.run.aws, change) != change.observed_digest
        except ReconError:
            return True

    def _told(self, step: Step, problem: ReconError | None) -> None:
        if problem is None:
            self.on_step(step.id, "done", "")
        else:
            self.on_step(step.id, "failed", problem.aws_code if isinstance(problem, AwsError) else problem.code)

    def _moved(self, step: Step) -> ReconError | None:
        """Before every step on an existing resource: is it still as it was planned, or as our own steps left it?"""
        change = self.changes.get(step.address)
        if change is None or change.observed_digest is None or change.kind == "dns_record" or not step.calls:
            return None
        with self.lock:
            mine = self.looking.setdefault(step.address, threading.Lock())
        with mine:  # Steps of one resource run side by side: none may write while another still looks.
            if step.address not in self.checked:
                self.checked[step.address] = self._look(change)
            elif self.checked[step.address] is None:
                self.checked[step.address] = self._look_again(step.address)
            return self.checked[step.address]

    def _look(self, change: Change) -> ReconError | None:
        """Read a resource again; why it must be left alone, or None where it is as planned (or gone, as it should)."""
        try:
            now = REGISTRY[change.kind].reread(self.run.aws, change)
        except ReconError as error:
            return error
        gone = now is None
        if now == change.observed_digest or (gone and change.action == "delete"):
            return None
        return Stale(
            f"{change.address} {'was deleted' if gone else 'changed'} since the plan; it was left alone",
            hint="somebody else is editing it: plan again and look",
        )

    def _look_again(self, address: Address) -> ReconError | None:
        """Read a resource whose first write is made: why the rest must be left undone, or None."""
        change = self.changes.get(address)
        kind = REGISTRY[change.kind] if change else None
        if change is None or not isinstance(kind, Rereading):
            return None
        try:
            found = kind.overtaken(self.run.aws, change)
        except ReconError as error:
            return error
        if found is None and change.action in {"delete", "create"}:
            return None  # Gone, as it should be; or not seen yet, and then the step itself waits for it.
        if found is not None and not found:
            return None
        what = "was deleted" if found is None else f"changed ({', '.join(found)})"
        return Stale(
            f"{address} {what} by somebody else while it was being applied; the rest of it was left alone",
            hint="somebody else is editing it: plan again and look",
        )

    # .. zones ......................................................................................................

    def _run_zone(self, steps: list[Step]) -> None:
        """Write all edits of these steps to their zone in as few batches as the limits allow.

        One batch a zone at a time: Route 53 refuses a second change while one is processed, and what this one leaves
        is what the next one finds.
        """
        with self.lock:
            mine = self.writing.setdefault(steps[0].zone, threading.Lock())
        with mine:
            self._edit_zone(steps)

    def _edit_zone(self, steps: list[Step]) -> None:
        zone = self.run.zones.get(steps[0].zone)
        edits: list[Edit] = []
        by_address: dict[Address, list[Step]] = {}
        for step in steps:
            by_address.setdefault(step.address, []).append(step)
            try:
                if zone is None or not zone.loaded:
                    raise ReconError(f"{step.address}: its zone could not be read", hint="apply again")
                edits += list(step.edits(self.run)) if step.edits else []
                self.run.say(step.address, step.label)
            except ReconError as error:
                with self.lock:
                    self.failed[step.id] = error
        if zone is None or not zone.loaded:
            for step in steps:
                self._told(step, self.failed.get(step.id))
            return
        edits = [e for e in edits if not any(s.id in self.failed for s in by_address.get(e.address, ()))]
        problems = self._write(zone, edits)
        with self.lock:
            for step in steps:
                if step.id in self.failed:
                    continue
                if step.address in problems:
                    self.failed[step.id] = problems[step.address]
                else:
                    self.done.add(step.id)
        for step in steps:
            self._told(step, self.failed.get(step.id))

    def _write(self, zone: Zone, edits: list[Edit]) -> dict[Address, ReconError]:
        """Compose and send; looks again where a batch is refused: done already, moved by a rival, or wrong."""
        problems: dict[Address, ReconError] = {}
        expected = {e.key: _raw(zone, e.key) for e in edits}
        for attempt in range(4):
            problems, keeping = self._held(edits, problems)
            todo = [e for e in edits if e.address not in problems and not (e.last and e.address in keeping)]
            changes = compose(todo, {k: v for k, v in expected.items() if v is not None})
            if not changes:
                return keeping | problems
            error = self._send(zone, changes)
            if error is None:
                return keeping | problems
            try:
                load(self.run.aws, zone)
            except AwsError:
                return problems | {a: error for c in changes for a in c.addresses}
            moved = self._judge(zone, changes, expected)
            for key, names in moved.items():
                text = f"{key[0]} {key[1]} in zone {zone.name} changed since it was read; it was left alone"
                for address in names:
                    problems[address] = Stale(text, hint="somebody else edited it: plan again and look")
            nothing_moved = not moved and all(_same(_raw(zone, c.key), c.before) for c in changes)
            named = _named(error, changes) if nothing_moved else []
            problems |= {a: error for c in named for a in c.addresses}
            if nothing_moved and attempt and not named:
                return problems | {a: error for c in changes for a in c.addresses}
            for key in expected:
                expected[key] = _raw(zone, key)
        return problems | {
            e.address: ReconError(f"zone {zone.name} kept changing", hint="apply again")
            for e in edits
            if e.address not in problems
        }

    def _held(
        self, edits: Iterable[Edit], problems: Mapping[Address, ReconError]
    ) -> tuple[dict[Address, ReconError], dict[Address, ReconError]]:
        """What waits because something that it needs in the same batch has failed: (whole addresses, markers that may
        not forget yet what has not been written)."""
        held, keeping = dict(problems), dict[Address, ReconError]()
        runs = {e.address: self.changes[e.address].execution for e in edits if e.address in self.changes}
        before = -1
        while before != len(held) + len(keeping):
            before = len(held) + len(keeping)
            for address, run in runs.items():
                for label, into in (("needs", held), ("after", keeping)):
                    need = next((a for n in run.get(label) or () if (a := n.partition("#")[0]) in held), None)
                    if need is not None and address not in held and address not in into:
                        into[address] = ReconError(f"{address} was left alone: it needs {need}", hint=held[need].hint)
        return held, keeping

    def _judge(
        self, zone: Zone, changes: list[SetChange], expected: Mapping[Key, Any]
    ) -> dict[Key, tuple[Address, ...]]:
        """Which sets a rival moved. What already is as we want it took effect earlier (a lost answer)."""
        moved = {}
        for change in changes:
            now = _raw(zone, change.key)
            if not _same(now, change.before) and not _same(now, change.after):
                moved[change.key] = change.addresses
        return moved

    def _send(self, zone: Zone, changes: list[SetChange]) -> AwsError | None:
        for batch in batches(changes):
            with self.lock:
                self.sent_zones.add(zone.id)
            try:
                self._tag_zone(zone, batch)
                answer = self.run.aws.call(
                    "route53",
                    "ChangeResourceRecordSets",
                    dns=True,
                    HostedZoneId=zone.id,
                    ChangeBatch={"Comment": "recon", "Changes": [c for change in batch for c in change.changes]},
                )
            except AwsError as error:
                return error
            with self.lock:
                self.changed_zones[zone.id] = answer["ChangeInfo"]["Id"]
            for change in batch:
                _remember(zone, change)
        return None

    def _tag_zone(self, zone: Zone, batch: list[SetChange]) -> None:
        """A zone that gets its first marker is tagged before, so that one tagging read finds it even when no
        declaration names it any more."""
        if zone.tagged or not any(_has_marker(c.after, self.run.scope) for c in batch):
            return
        self.run.aws.call(
            "route53",
            "ChangeTagsForResource",
            dns=True,
            ResourceType="hostedzone",
            ResourceId=zone.id,
            AddTags=[{"Key": f"recon:{self.run.scope}", "Value": "marker"}],
        )
        zone.tagged = True

    def tidy_zones(self) -> None:
        """Take our tag off zones that this run rid of their last marker."""
        for zone in self.run.zones.values():
            if not (zone.tagged and zone.loaded and zone.id in self.sent_zones):
                continue
            if any(
                t == "TXT" and n.startswith(f"{marker.LABEL}.") and _has_marker(_raw(zone, (n, t)), self.run.scope)
                for n, t in zone.records
            ):
                continue
            try:
                untag_zone(self.run.aws, self.run.scope, zone.id)
            except AwsError as error:
                self.diagnostics.append(
                    Diagnostic(
                        "warning", "zone-tag", f"zone {zone.name} keeps its tag recon:{self.run.scope}: {error.message}"
                    )
                )

    def settle_dns(self, settled: Mapping[str, str] | None = None) -> None:
        """Wait until every zone's last change is INSYNC (usually under a minute; Route 53 API, GetChange).

        ``settled`` are changes, by zone, that were waited for already.
        """
        pending = {z: c for z, c in self.changed_zones.items() if (settled or {}).get(z) != c}
        deadline = time.monotonic() + 180
        pause = 0.2
        while pending and time.monotonic() < deadline and not self.stop.is_set():
            zone_id, change_id = next(reversed(pending.items()))
            try:
                status = self.run.aws.call("route53", "GetChange", dns=True, Id=change_id.rpartition("/")[2])[
                    "ChangeInfo"
                ]["Status"]
            except AwsError as error:
                self.diagnostics.append(
                    Diagnostic(
                        "warning",
                        "insync-unknown",
                        f"whether DNS is in sync could not be read: {error.message}",
                        error.hint,
                    )
                )
                return
            if status == "INSYNC":
                del pending[zone_id]
                continue
            self.run.say("route53", f"waiting for {len(pending)} zone{'s' if len(pending) > 1 else ''} to be in sync")
            self.stop.wait(pause)
            pause = min(pause * 1.7, 10.0)
        if pending:
            self.diagnostics.append(
                Diagnostic(
                    "warning",
                    "insync-late",
                    f"{len(pending)} zones are not in sync after 3 minutes",
                    "Route 53 will finish by itself",
                )
            )

    # .. SES verification ...........................................................................................

    def wait_for_ses(self) -> None:
        """With --wait: until DKIM and MAIL FROM of every identity that this run touched are verified."""
        touched = {
            c.address
            for c in self.plan.changes
            if c.kind == "email_identity" and c.action != "delete" and "@" not in c.address
        }
        touched |= {
            a
            for c in self.plan.changes
            if c.kind == "dns_record"
            for a in c.depends_on
            if a.startswith("email_identity/")
        }
        run = self.run
        if not run.deadline:
            run.deadline = time.monotonic() + run.verify_timeout

        def one(address: Address) -> None:
            _, region, name = address.split("/", 2)
            pause = 1.0
            while not self.stop.is_set():
                try:
                    live = run.aws.call("sesv2", "GetEmailIdentity", region, EmailIdentity=name)
                except AwsError as error:
                    if error.aws_code != "NotFoundException":
                        self._late(address, error)
                    return
                dkim = live.get("DkimAttributes") or {}
                mail_from = live.get("MailFromAttributes") or {}
                states = {"verification": live.get("VerificationStatus"), "DKIM": dkim.get("Status")}
                if mail_from.get("MailFromDomain"):
                    states["MAIL FROM"] = mail_from.get("MailFromDomainStatus")
                left = {k: v for k, v in states.items() if v != "SUCCESS"}
                if not left:
                    return
                if time.monotonic() + pause > run.deadline:
                    reason = str((live.get("VerificationInfo") or {}).get("ErrorType") or "")
                    words = ", ".join(f"{k} {v}" for k, v in left.items())
                    hint = VERIFICATION_HINTS.get(reason, "SES looks for up to 72 hours; `recon plan` shows the status")
                    self._late(
                        address,
                        VerifyTimeout(
                            f"{name} in {region} is not verified in time: {words}" + (f" ({reason})" if reason else ""),
                            hint=hint,
                        ),
                    )
                    return
                run.say(address, "waiting for SES: " + ", ".join(f"{k} {v}" for k, v in left.items()))
                self.stop.wait(pause)
                pause = min(pause * 1.6, 15.0)

        run.aws.parallel(one, sorted(touched))

    def _late(self, address: Address, error: ReconError) -> None:
        with self.lock:
            self.failed[f"{address}#verified"] = error

    # .. the end ....................................................................................................

    def result(self, seconds: float) -> Result:
        applied = [self._outcome_of(change) for change in self.plan.changes]
        known = {a.address for a in applied if a.status != "done"}
        for step, error in self.failed.items():
            address = step.partition("#")[0]
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
            place = cause.partition("#")[0]
            if isinstance(self.failed.get(cause), VerifyTimeout):
                words = f"follows {place}, which waits for SES to verify"
                return Applied(change.address, change.action, "waiting", words)
            return Applied(change.address, change.action, "not_started", f"needs {place}, which failed")
        if all(step.id in self.done for step in steps):
            return Applied(change.address, change.action, "done")
        return Applied(change.address, change.action, "not_started", "the run was stopped before it")


def _load_zones(run: _Run, nodes: Sequence[Node], state: _Progress) -> None:
    """Read zones that the plan writes and that nobody handed in."""
    needed = {step.zone for node in nodes for step in node.steps if step.zone}
    missing = sorted(z for z in needed if z not in run.zones or not run.zones[z].loaded)

    def one(zone_id: str) -> None:
        try:
            run.zones[zone_id] = read_zone(run.aws, zone_id)
        except AwsError as error:
            state.diagnostics.append(Diagnostic("error", "unread", error.message, error.hint))

    run.aws.parallel(one, missing)


def read_zone(aws: Aws, zone_id: str) -> Zone:
    """One zone with its records and whether it carries our tag."""
    raw = aws.call("route53", "GetHostedZone", dns=True, Id=zone_id)["HostedZone"]
    zone = Zone(zone_id, raw["Name"].rstrip(".").lower(), bool((raw.get("Config") or {}).get("PrivateZone")))
    load(aws, zone)
    tags = aws.call("route53", "ListTagsForResource", dns=True, ResourceType="hostedzone", ResourceId=zone_id)
    zone.tagged = any(t["Key"] == f"recon:{aws.stack.scope}" for t in tags["ResourceTagSet"].get("Tags") or ())
    return zone


def check_form(plan: Plan) -> None:
    """Raise Stale for a plan that recon did not make: its digest fits, but its changes cannot be turned into steps."""
    for change in plan.changes:
        try:
            parts = change.address.split("/")
            known = parts[0] == change.kind and all(parts) and (change.action == "delete" or change.after is not None)
            regional = change.region if isinstance(REGISTRY[change.kind], Rereading) else None
            if not known or (regional and parts[1] != regional):
                raise ValueError(change.address)
            steps_of(change)
        except (LookupError, TypeError, ValueError, AttributeError):
            raise Stale(
                f"the plan file is none that recon made: {change.address} cannot be carried out as it stands there",
                hint="make a new one with `recon plan --out FILE`",
            ) from None


def verify_saved(plan: Plan, aws: Aws) -> dict[str, Zone]:
    """Read again exactly what a saved plan touches; raises Stale naming everything that moved. Returns the zones."""
    check_form(plan)
    zone_ids = sorted({str(c.execution["zone"]) for c in plan.changes if c.kind == "dns_record"})
    zones = dict(zip(zone_ids, aws.parallel(lambda z: read_zone(aws, z), zone_ids), strict=True))
    moved: list[str] = []

    def one(change: Change) -> str | None:
        if change.kind == "dns_record":
            run = change.execution
            if not run.get("name"):
                return None
            live = next(iter(zones[run["zone"]].sets(run["name"], run["type"])), None)
            now = set_digest(live) if live else None
        else:
            now = REGISTRY[change.kind].reread(aws, change)
        if now == change.observed_digest:
            return None
        if change.observed_digest is None:
            return f"{change.address} exists now"
        return f"{change.address} is gone" if now is None else f"{change.address} changed{_how(aws, change, zones)}"

    moved = [text for text in aws.parallel(one, plan.changes) if text]
    if moved:
        raise Stale(
            f"{len(moved)} of the plan's resources moved since it was made: {'; '.join(moved[:10])}",
            hint="plan again, and have the new plan reviewed",
            diagnostics=[
                Diagnostic(
                    "error", "stale", f"{text} since the plan was made", "plan again", address=text.partition(" ")[0]
                )
                for text in moved
            ],
        )
    return zones


def _how(aws: Aws, change: Change, zones: Mapping[str, Zone]) -> str:
    """What differs of a resource that moved, as far as the plan shows its fields: ``: p was "none", is "reject"``."""
    if change.kind == "dns_record":
        values = zones[change.execution["zone"]].sets(change.execution["name"], change.execution["type"])[0].values
        return f": it is now {_short(list(values))}"
    kind = REGISTRY[change.kind]
    if not isinstance(kind, Rereading):
        return ""
    rest = change.address.partition("/")[2]
    region, name = rest.split("/", 1) if change.region else ("", rest)
    live = kind.read(aws, region, name)
    before = change.before or {}
    shown = project({**live.spec, "tags": live.tags}, before) if live else {}
    found = [f"{d.path} was {_short(d.before)}, is {_short(d.after)}" for d in differences(before, shown)]
    return ": " + (
        "; ".join(found[:5]) or "something that the plan does not show, such as a field that it does not manage"
    )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:199] + "…"


def _named(error: AwsError, changes: Sequence[SetChange]) -> list[SetChange]:
    """The changes that Route 53 names as why it refused a whole batch, where it names some and not all: a name that
    a rival gave a CNAME must not hold up the other names of the zone (Route 53 API, InvalidChangeBatch)."""
    if error.aws_code != "InvalidChangeBatch":
        return []
    # "RRSet of type MX with DNS name x. is not permitted ... in zone y.", "Tried to create ... [name='x.', type='MX']"
    said = {name.rstrip(".").lower() for name in re.findall(r"(?:DNS name |name=')([^\s',\]]+)", error.message)}
    found = [c for c in changes if to_route53(c.key[0]).rstrip(".").lower() in said]
    return found if len(found) < len(changes) else []


def _raw(zone: Zone, key: Key) -> Mapping[str, Any] | None:
    found = zone.sets(*key)
    return found[0].raw if found else None


def _same(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    if one is None or other is None:
        return one is other
    return _values(one) == _values(other) and one.get("TTL") == other.get("TTL")


def _values(raw: Mapping[str, Any]) -> list[str]:
    return sorted(item["Value"] for item in raw.get("ResourceRecords") or ())


def _remember(zone: Zone, change: SetChange) -> None:
    """Bring the zone as we know it up to what was just written."""
    name, type_ = change.key
    zone.records.pop(change.key, None)
    zone.by_name[name] = [r for r in zone.by_name.get(name, []) if r.type != type_]
    if change.after is not None:
        zone.add(record_from_aws(change.after))


def _has_marker(raw: Mapping[str, Any] | None, scope: str) -> bool:
    for value in _values(raw or {}):
        try:
            if marker.is_ours(txt.decode(value), scope):
                return True
        except ValueError:
            continue
    return False
