"""The diagnostics of a drift run: the type of each difference, who made it, what is new, and a heartbeat.

They never change the differences or the exit code; the journal, if there is one, only helps to distinguish an edit in
AWS from YAML that nobody has applied yet.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from reconciler.drift import causes
from reconciler.errors import AwsError, ReconError
from reconciler.files import read_given
from reconciler.model import FINDINGS, Address, Change, Diagnostic, Plan, address_parts, digest_of
from reconciler.resources.dns_record import TRACKING_KIND

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.journal import JournalRun


def without_claims(plan: Plan) -> Plan:
    """The plan with a note ``unclaimed`` for each part that is live as declared and that the next apply only remembers:
    nothing differs there."""
    claims = [change for change in plan.changes if change.claims]
    if not claims:
        return plan
    notes = [
        Diagnostic(
            "note", "unclaimed", "live as declared, and not yet remembered as this stack's: the next apply adopts it, "
            "and changes nothing", address=change.address,
        )
        for change in claims
    ]  # fmt: skip
    changes = tuple(change for change in plan.changes if not change.claims)
    outcome = plan.outcome if changes or plan.outcome == "refused" else "no_changes"
    return replace(plan, changes=changes, outcome=outcome, diagnostics=(*plan.diagnostics, *notes))


def explained(plan: Plan, aws: Aws, applied: JournalRun | None, declared: Mapping[str, str]) -> Plan:
    """The plan with a label and, if known, the cause of each difference, labelled statuses, and a heartbeat if clean.
    Its outcome is ``not_applied_yet`` if the YAML that has changed since explains every difference.

    ``applied`` is the last run after which AWS was as declared, if the journal has one; ``declared`` are the digests of
    what is declared now, as the journal has those of then. Codes: ``edited``,
    ``not-applied-yet``, ``edited-or-not-applied``, ``caused-by``, ``causes-unread``, ``still-verifying``,
    ``status-changed``, ``status-failed``, ``heartbeat``.
    """
    diagnostics = [_status(one) for one in causes.dated(aws, plan.diagnostics, plan.created_at)]
    if plan.changes:
        since, until = (applied.started, applied.ended[:19] + "Z") if applied else ("", "")
        found = _inherited(causes.find(aws, plan.changes, since, until), plan.changes)
        labels = list(_labels(plan, applied, found.causes, declared))
        diagnostics += labels
        known = applied is not None and bool(applied.declared)
        if known and plan.outcome == "changes" and all(one.code == "not-applied-yet" for one in labels):
            plan = replace(plan, outcome="not_applied_yet")
        diagnostics += [
            Diagnostic("note", "caused-by", words, address=address)
            for address, of in sorted(found.causes.items())
            for words in _by_cause(of)
        ]
        diagnostics += _unexplained(plan, found, labels)
    elif not _in_doubt(plan):
        diagnostics.append(Diagnostic("note", "heartbeat", _heartbeat(plan, applied)))
    return replace(plan, diagnostics=tuple(diagnostics))


def _inherited(found: causes.Causes, changes: Iterable[Change]) -> causes.Causes:
    """The causes, and for each record whose name AWS has still to choose that of what it belongs to: the record of
    somebody's deleted identity is not what somebody has deleted."""
    more = {
        change.address: found.causes[owner]
        for change in changes
        if "name" in change.unknown and change.address not in found.causes
        for owner in change.depends_on
        if owner in found.causes
    }
    return replace(found, causes={**found.causes, **more})


def _in_doubt(plan: Plan) -> bool:
    """Whether a run without changes has found something else, or could not read all that it decides by."""
    unread = plan.context.get("unreadable") or any(one.code == "account-unread" for one in plan.diagnostics)
    return bool(unread or plan.findings) or plan.outcome != "no_changes"


def _by_cause(of: Mapping[str, causes.Cause]) -> list[str]:
    """Each cause of one difference in words, the newest first; with what it has changed, where there are several."""
    paths: dict[causes.Cause, list[str]] = {}
    for path, cause in of.items():
        paths.setdefault(cause, []).append(path)
    if len(paths) == 1:
        return [str(cause) for cause in paths]
    newest = sorted(paths.items(), key=lambda one: one[0].time, reverse=True)
    return [f"{_some(sorted(changed))}: {cause}" for cause, changed in newest]


def _some(paths: Sequence[str]) -> str:
    """Paths as words beside an address: of many the first two and the count, since the rows show all of them."""
    return ", ".join(paths) if len(paths) <= 3 else f"{', '.join(paths[:2])} and {len(paths) - 2} more"


def _status(one: Diagnostic) -> Diagnostic:
    if one.code == "status-changed":
        return replace(one, message=f"AWS changed the status of {one.message}")
    if one.code != "status":
        return one
    if one.severity == "note":
        return replace(one, code="still-verifying", message=f"SES is still verifying {one.message}")
    return replace(one, code="status-failed", message=f"SES reports of {one.message}")


def _labels(
    plan: Plan,
    applied: JournalRun | None,
    found: Mapping[Address, Mapping[str, causes.Cause]],
    declared: Mapping[str, str],
) -> Iterable[Diagnostic]:
    for change in plan.changes:
        if any(not cause.ours for cause in found.get(change.address, {}).values()):
            code, message = "edited", "changed outside recon"
        elif applied is None:
            code = "edited-or-not-applied"
            message = "changed outside recon, or not applied yet: there is no journal to tell"
        else:
            at = f"{applied.started[:19]}Z"
            if applied.state_digest == plan.state_digest:
                code = "edited"
                message = f"changed outside recon since the apply at {at} (the YAML has not changed)"
            elif applied.declared and not _is_explained(change, applied.declared, declared):
                code = "edited"
                message = f"changed outside recon since the apply at {at} (the YAML that asks for it has not changed)"
            else:
                code = "not-applied-yet"
                message = f"not applied yet: the YAML has changed since the apply at {at}"
        yield Diagnostic("note", code, message, address=change.address)


def _is_explained(change: Change, then: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether what asks for a resource is declared otherwise than when the state was last applied. Records follow from
    their domain and its identities, those of tracking domains from other resources."""
    changed = {key for key in {*then, *now} if then.get(key) != now.get(key)}
    if change.kind != "dns_record":
        return change.address in changed or (change.moved_from or "") in changed
    name = str((change.after or change.before or {}).get("name") or address_parts(change.address).name.split("/")[0])
    labels = name.split(":")[0].split(".")
    domains = [".".join(labels[n:]) for n in range(len(labels))]
    nearest = next((one for one in domains if f"domains.{one}" in {*then, *now}), "")
    if f"domains.{nearest}" in changed or any(key.split("/")[-1] == nearest for key in changed):
        return True
    tracks = change.address.endswith("/CNAME") and "_domainkey" not in labels
    return tracks and any(key.startswith(f"{TRACKING_KIND}/") for key in changed)


def _unexplained(plan: Plan, found: causes.Causes, labels: Iterable[Diagnostic]) -> Iterable[Diagnostic]:
    """That nobody is known to have made differences; nobody has made those that the YAML alone explains."""
    explained = {*found.causes, *(one.address for one in labels if one.code == "not-applied-yet")}
    rest = len([c for c in plan.changes if c.address not in explained])
    if found.unread:
        yield Diagnostic(
            "note", "causes-unread", f"could not read who made the differences: {found.unread}", found.hint
        )
    elif rest:
        more = "; not all events were looked up, because a run has a limit" if found.cut else ""
        yield Diagnostic(
            "note", "causes-unknown", f"CloudTrail has no event for {rest} of the differences{more}",
            "its event history covers 90 days, and an event may take 15 minutes to appear",
        )  # fmt: skip


def _heartbeat(plan: Plan, applied: JournalRun | None) -> str:
    last = f"; last applied at {applied.started[:19]}Z by {applied.who or applied.user}" if applied else ""
    calls = sum(plan.calls.values())
    return f"No drift. Checked at {plan.created_at} with {calls} calls{last}"


# --- since the last report -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SinceReport:
    """What is new since an earlier report: changes, findings, and the addresses that no longer have either."""

    created_at: str
    new: tuple[Change, ...]
    unchanged: int
    resolved: tuple[Address, ...]
    found: tuple[Diagnostic, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing is new or resolved."""
        return not (self.new or self.resolved or self.found)

    @property
    def when(self) -> str:
        """The time of the earlier report."""
        return self.created_at or "an earlier time"


def read_earlier(path: str) -> str | None:
    """The text of an earlier report; None if there is none yet, as in the first run of a cron. Raises ReconError."""
    return read_given(path) if os.path.lexists(path) else None


def only_new(plan: Plan, news: SinceReport) -> Plan:
    """The plan with only its new changes, and without the diagnostics about the other changes."""
    shown = {c.address for c in news.new} | set(news.resolved)
    changed = {c.address for c in plan.changes}
    diagnostics = tuple(d for d in plan.diagnostics if not d.address or d.address in shown or d.address not in changed)
    return replace(plan, changes=news.new, diagnostics=diagnostics)


def nothing_new(plan: Plan, news: SinceReport) -> str:
    """One line for people if nothing is new."""
    count = news.unchanged
    listed = [f"{count} difference{'s' * (count != 1)} as before"] if count else []
    state = "; ".join([*listed, *(one.message for one in plan.findings)]) or "no drift"
    return f"{plan.scope or plan.stack}: nothing new since the report of {news.when}: {state}."


def needs_notification(plan: Plan, news: SinceReport | None) -> bool:
    """Whether to notify people: something differs or is found (with an earlier report: newly, or no longer) or is
    unread."""
    unread = any(d.code == "unread" for d in plan.diagnostics)
    return unread or (bool(plan.changes or plan.findings) if news is None else not news.empty)


def since(plan: Plan, text: str) -> SinceReport:
    """Compare with an earlier report, the JSON of ``drift``. Raises ReconError for other text or another stack."""
    hint = "give the file that an earlier `recon drift --out FILE` wrote"
    try:
        document: Any = json.loads(text)
        stack, changes = document.get("stack"), document.get("changes") or []
        before = {str(c["address"]): _digest(c["action"], c["diff"]) for c in changes}
        known = {str(d["address"]): d["message"] for d in document.get("diagnostics") or () if d["code"] in FINDINGS}
        created_at = str(document.get("created_at") or "")
    except (ValueError, AttributeError, KeyError, TypeError):
        raise ReconError("the earlier report is not the JSON of a drift run", hint=hint) from None
    if stack is not None and (stack, document.get("environment")) != (plan.stack, plan.environment):
        raise ReconError(f"the earlier report is of stack {stack}, this is {plan.scope or plan.stack}", hint=hint)
    now = {c.address: _digest(c.action, [d.to_json() for d in c.diff]) for c in plan.changes}
    new = tuple(c for c in plan.changes if before.get(c.address) != now[c.address])
    found = tuple(one for one in plan.findings if known.get(one.address) != one.message)
    left = {*now, *(one.address for one in plan.findings)}
    resolved = tuple(sorted({*before, *known} - left))
    return SinceReport(created_at, new, len(now) - len(new), resolved, found)


def _digest(action: str, diff: Sequence[Mapping[str, Any]]) -> str:
    return digest_of([action, sorted(([d["path"], d["before"], d["after"]] for d in diff), key=lambda d: str(d[0]))])


def with_since(plan: Plan, news: SinceReport) -> Plan:
    """The plan with diagnostics for what is new and resolved (codes ``since-last``, ``new``, ``resolved``)."""
    when, resolved = news.when, news.resolved
    new = [*(change.address for change in news.new), *(one.address for one in news.found)]
    added = [
        Diagnostic(
            "note", "since-last",
            f"since the report of {when}: {len(new)} new, {news.unchanged} as before, {len(resolved)} resolved",
        )
    ]  # fmt: skip
    added += [Diagnostic("note", "new", f"new since the report of {when}", address=a) for a in new]
    added += [Diagnostic("note", "resolved", f"resolved since the report of {when}", address=a) for a in resolved]
    return replace(plan, diagnostics=(*plan.diagnostics, *added))


# --- notification --------------------------------------------------------------------------------------------------


def summary(plan: Plan, news: SinceReport | None = None, limit: int = 30) -> tuple[str, str]:
    """The subject (ASCII, at most 100 characters: SNS API, Publish) and the text of a notification."""
    count = len(plan.changes)
    unread = sum(1 for d in plan.diagnostics if d.code == "unread")
    listed = [f"{count} difference{'s' * (count != 1)}"] if count else []
    listed += [one.message for one in plan.findings]
    result = ", ".join(listed) or ("could not check" if unread else "no drift")
    scope = plan.scope or plan.stack
    subject = f"recon drift {scope}: {result}"
    if news is not None:
        subject += f", {len(news.new) + len(news.found)} new, {len(news.resolved)} resolved"
    by_address: dict[str, list[str]] = {}
    for one in plan.diagnostics:
        if one.address:
            by_address.setdefault(one.address, []).append(one.message)
    lines = [f"{scope}, account {plan.account}, checked at {plan.created_at}: {result}.", ""]
    shown = list(plan.changes if news is None else news.new)
    for change in shown[:limit]:
        paths = ", ".join(d.path for d in change.diff[:5])
        refused = f" (refused: {change.refused.message})" if change.refused else ""
        lines.append(f"{change.action} {change.address}" + (f": {paths}" if paths else "") + refused)
        lines += [f"  {message}" for message in by_address.get(change.address, ())]
    if len(shown) > limit:
        lines.append(f"and {len(shown) - limit} more")
    if news is not None:
        lines += [f"resolved {address}" for address in news.resolved[:limit]]
    lines += [f"{d.severity}: {d.message}" for d in plan.diagnostics if d.severity == "error"][:limit]
    return subject.encode("ascii", "replace").decode()[:100], "\n".join(lines)[:200_000] + "\n"


def topic_of(target: str) -> str:
    """The topic of ``--notify sns:ARN``. Raises ReconError for anything else."""
    kind, _, arn = target.partition(":")
    if kind != "sns" or not arn.startswith("arn:") or arn.count(":") != 5 or arn.split(":")[2] != "sns":
        raise ReconError(f"--notify {target} is not an SNS topic", hint="write sns:arn:aws:sns:REGION:ACCOUNT:NAME")
    return arn


def with_notification(plan: Plan, aws: Aws, topic: str, news: SinceReport | None) -> Plan:
    """Publish the summary to an SNS topic; returns the plan, with an error if that failed. This is the only write of
    drift, and the topic is not managed by recon."""
    subject, text = summary(plan, news)
    try:
        aws.call("sns", "Publish", topic.split(":")[3], TopicArn=topic, Subject=subject, Message=text)
    except AwsError as error:
        failed = Diagnostic("error", "notify-failed", f"the notification failed: {error.message}", error.hint)
        return replace(plan, diagnostics=(*plan.diagnostics, failed))
    return plan
