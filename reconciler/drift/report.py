"""The diagnostics of a drift run: what kind each difference is, who made it, what is new, and a sign of life.

A label never changes a verdict or an exit code; the journal, where there is one, only helps to tell an edit from a
declaration that nobody has applied yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.drift import causes
from reconciler.errors import AwsError, ReconError
from reconciler.model import Address, Change, Diagnostic, Plan, digest_of

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.journal import JournalRun


def explained(plan: Plan, aws: Aws, applied: JournalRun | None) -> Plan:
    """The plan with its differences labelled and their causes, its statuses told apart, and a heartbeat where clean.

    ``applied`` is the last run after which all was as declared, where the journal knows one. Codes: ``edited``,
    ``not-applied-yet``, ``edited-or-not-applied``, ``caused-by``, ``causes-unread``, ``still-verifying``,
    ``status-changed``, ``heartbeat``.
    """
    told = [_status(one) for one in plan.diagnostics]
    if plan.changes:
        since = applied.started if applied else ""
        found = causes.find(aws, plan.changes, since)
        if applied is not None:
            # What the apply itself wrote is no cause of what differs since.
            kept = {a: c for a, c in found.causes.items() if not (c.ours and c.time <= applied.ended[:19] + "Z")}
            found = replace(found, causes=kept)
        told += _labels(plan, applied, found.causes)
        told += [
            Diagnostic("note", "caused-by", f"{cause}", address=address)
            for address, cause in sorted(found.causes.items())
        ]
        told += _unexplained(plan, found)
    elif not plan.context.get("unreadable") and plan.outcome == "no_changes":
        told.append(Diagnostic("note", "heartbeat", _heartbeat(plan, applied)))
    return replace(plan, diagnostics=tuple(told))


def _status(one: Diagnostic) -> Diagnostic:
    if one.code != "status":
        return one
    if one.severity == "note":
        return replace(one, code="still-verifying", message=f"SES still verifies {one.message}")
    return replace(one, code="status-changed", message=f"AWS changed the status of {one.message}")


def _labels(plan: Plan, applied: JournalRun | None, found: Mapping[Address, causes.Cause]) -> Iterable[Diagnostic]:
    same = applied is not None and applied.state_digest == plan.state_digest
    for change in plan.changes:
        cause = found.get(change.address)
        if cause is not None and not cause.ours:
            code, words = "edited", "edited: somebody changed what is live"
        elif applied is None:
            code, words = "edited-or-not-applied", "edited, or not applied yet: no journal tells which"
        elif same:
            code, words = (
                "edited",
                f"edited: live is not what was applied at {applied.started[:19]}Z, and the state is the same",
            )
        else:
            code, words = (
                "not-applied-yet",
                (f"not applied yet: the state changed since it was applied at {applied.started[:19]}Z"),
            )
        yield Diagnostic("note", code, words, address=change.address)


def _unexplained(plan: Plan, found: causes.Causes) -> Iterable[Diagnostic]:
    rest = len([c for c in plan.changes if c.address not in found.causes])
    if found.unread:
        yield Diagnostic(
            "note", "causes-unread", f"who made the differences could not be read: {found.unread}", found.hint
        )
    elif rest:
        more = "; there was more to ask for than is asked in one run" if found.cut else ""
        yield Diagnostic(
            "note", "causes-unknown", f"CloudTrail has no event for {rest} of the differences{more}",
            "its history has 90 days, and an event may take 15 minutes to appear",
        )  # fmt: skip


def _heartbeat(plan: Plan, applied: JournalRun | None) -> str:
    last = f"; last applied at {applied.started[:19]}Z by {applied.who or applied.user}" if applied else ""
    calls = sum(plan.calls.values())
    return f"live is as declared: looked at {plan.created_at} with {calls} calls{last}"


# --- since the last report -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Since:
    """What is new against an earlier report: changes, and the addresses that no longer differ."""

    made: str
    new: tuple[Change, ...]
    same: int
    gone: tuple[Address, ...]

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to say."""
        return not self.new and not self.gone


def read_earlier(path: str) -> str | None:
    """The text of an earlier report; None where there is none yet, as in the first run of a cron. Raises ReconError."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as problem:
        raise ReconError(f"{path} could not be read: {getattr(problem, 'strerror', None) or 'not UTF-8'}") from None


def only_new(plan: Plan, seen: Since) -> Plan:
    """The plan with only what is new of its changes, and what is said of those, of what is gone, and of no address."""
    kept = {c.address for c in seen.new} | set(seen.gone)
    changed = {c.address for c in plan.changes}
    said = tuple(d for d in plan.diagnostics if not d.address or d.address in kept or d.address not in changed)
    return replace(plan, changes=seen.new, diagnostics=said)


def nothing_new(plan: Plan, seen: Since) -> str:
    """One line for people where nothing is new."""
    scope = plan.scope or plan.stack
    as_before = f"{seen.same} difference{'s' * (seen.same != 1)} as before" if seen.same else "live is as declared"
    return f"{scope}: nothing new since the report of {seen.made or 'an earlier time'}: {as_before}."


def worth_telling(plan: Plan, seen: Since | None) -> bool:
    """Whether somebody should be told: something differs (newly, or no longer) or could not be read."""
    unread = any(d.code == "unread" for d in plan.diagnostics)
    return unread or (bool(plan.changes) if seen is None else not seen.quiet)


def since(plan: Plan, text: str) -> Since:
    """Compare with an earlier report, the JSON of ``drift``. Raises ReconError where it is none, or another stack's."""
    hint = "give the file that an earlier `recon drift --out FILE` wrote"
    try:
        document: Any = json.loads(text)
        stack, changes = document.get("stack"), document.get("changes") or []
        before = {str(c["address"]): _digest(c["action"], c["diff"]) for c in changes}
        made = str(document.get("created_at") or "")
    except (ValueError, AttributeError, KeyError, TypeError):
        raise ReconError("the earlier report is not the JSON of a drift run", hint=hint) from None
    if stack is not None and (stack, document.get("environment")) != (plan.stack, plan.environment):
        raise ReconError(f"the earlier report is of stack {stack}, this is {plan.scope or plan.stack}", hint=hint)
    now = {c.address: _digest(c.action, [d.to_json() for d in c.diff]) for c in plan.changes}
    new = tuple(c for c in plan.changes if before.get(c.address) != now[c.address])
    gone = tuple(sorted(before.keys() - now.keys()))
    return Since(made, new, len(now) - len(new), gone)


def _digest(action: str, diff: Sequence[Mapping[str, Any]]) -> str:
    return digest_of([action, sorted(([d["path"], d["before"], d["after"]] for d in diff), key=lambda d: str(d[0]))])


def with_since(plan: Plan, seen: Since) -> Plan:
    """The plan with what is new and what is gone told as diagnostics (codes ``since-last``, ``new``, ``resolved``)."""
    made = seen.made or "an earlier time"
    told = [
        Diagnostic(
            "note", "since-last",
            f"since the report of {made}: {len(seen.new)} new, {seen.same} as before, {len(seen.gone)} resolved",
        )
    ]  # fmt: skip
    told += [Diagnostic("note", "new", f"new since the report of {made}", address=c.address) for c in seen.new]
    told += [
        Diagnostic("note", "resolved", f"no longer differs since the report of {made}", address=a) for a in seen.gone
    ]
    return replace(plan, diagnostics=(*plan.diagnostics, *told))


# --- telling somebody ----------------------------------------------------------------------------------------------


def summary(plan: Plan, seen: Since | None = None, limit: int = 30) -> tuple[str, str]:
    """A subject (ASCII, at most 100 characters: SNS API, Publish) and a text for people who are told."""
    count = len(plan.changes)
    unread = sum(1 for d in plan.diagnostics if d.code == "unread")
    words = f"{count} difference{'s' * (count != 1)}" if count else "could not look" if unread else "as declared"
    scope = plan.scope or plan.stack
    subject = f"recon drift {scope}: {words}"
    if seen is not None:
        subject += f", {len(seen.new)} new, {len(seen.gone)} resolved"
    by_address: dict[str, list[str]] = {}
    for one in plan.diagnostics:
        if one.address:
            by_address.setdefault(one.address, []).append(one.message)
    lines = [f"{scope}, account {plan.account}, looked at {plan.created_at}: {words}.", ""]
    shown = list(plan.changes if seen is None else seen.new)
    for change in shown[:limit]:
        paths = ", ".join(d.path for d in change.diff[:5])
        lines.append(f"{change.action} {change.address}" + (f": {paths}" if paths else ""))
        lines += [f"  {words}" for words in by_address.get(change.address, ())]
    if len(shown) > limit:
        lines.append(f"and {len(shown) - limit} more")
    if seen is not None:
        lines += [f"resolved {address}" for address in seen.gone[:limit]]
    lines += [f"{d.severity}: {d.message}" for d in plan.diagnostics if d.severity == "error"][:limit]
    return subject.encode("ascii", "replace").decode()[:100], "\n".join(lines)[:200_000] + "\n"


def topic_of(target: str) -> str:
    """The topic of ``--notify sns:ARN``. Raises ReconError for anything else."""
    kind, _, arn = target.partition(":")
    if kind != "sns" or not arn.startswith("arn:") or arn.count(":") != 5 or arn.split(":")[2] != "sns":
        raise ReconError(f"--notify {target} is not a topic", hint="write sns:arn:aws:sns:REGION:ACCOUNT:NAME")
    return arn


def publish(aws: Aws, topic: str, subject: str, text: str) -> Diagnostic | None:
    """Publish a summary; an error diagnostic where SNS refused. Drift's only write, to nothing that recon manages."""
    try:
        aws.call("sns", "Publish", topic.split(":")[3], TopicArn=topic, Subject=subject, Message=text)
    except AwsError as error:
        return Diagnostic("error", "notify-failed", f"nobody was told: {error.message}", error.hint)
    return None
