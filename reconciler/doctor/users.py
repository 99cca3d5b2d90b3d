"""The layer of those that send: whose password works, whom policies let send, which keys were lost. Pure.

Source: SES Developer Guide, "Obtaining SMTP credentials" (the password follows the access key) and "Amazon SES SMTP
issues" (a login with the password of a key that is gone fails; a Deny refuses the message after the login).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from reconciler.doctor import callers
from reconciler.doctor.checks import ADVICE, FOUND, LATELY, NOW, OK, UNKNOWN, Check
from reconciler.doctor.facts import DAYS, Facts, Sent, may_send
from reconciler.doctor.key_history import LostKey
from reconciler.doctor.sender_facts import SenderFacts, may_send_as
from reconciler.errors import ReconError
from reconciler.kinds.snapshot import Snapshot
from reconciler.model import Desired
from reconciler.policy_evaluation.evaluate import NOTHING
from reconciler.resources.smtp_credential import kind as smtp_credential
from reconciler.resources.smtp_credential import rotation
from reconciler.resources.smtp_user import kind as smtp_user
from reconciler.senders import Sender

_NAMED: Final = 10
"""So many senders are named in one line."""


def checks(facts: Facts) -> Iterator[Check]:
    """The declared users, then what IAM and CloudTrail say of everybody."""
    declared = sorted(facts.snapshot.kind(smtp_credential.NAME), key=lambda d: d.name)
    for desired in declared:
        domain = next((d for d in facts.domains if may_send(desired.entry, d)), "")
        yield replace(_declared_user(facts, desired), domain=domain)
    if facts.senders is not None:
        yield from _unread(facts, facts.senders)
        yield from _lost_keys(facts, facts.senders)
        yield from _live_senders(facts, facts.senders, {d.name for d in declared})


def _check(status: str, name: str, message: str, hint: str = "", rank: int = NOW) -> Check:
    return Check("smtp", status, message, hint, about="user", subject=name, rank=rank)


# --- declared users ------------------------------------------------------------------------------------------------


def _declared_user(facts: Facts, desired: Desired) -> Check:
    snapshot, name, address = facts.snapshot, desired.name, desired.address
    unread = snapshot.unknown(address) or snapshot.unknown(smtp_user.address_of(name))
    if unread is not None:
        return _check(UNKNOWN, name, f"{name} could not be read: {unread.reason}", unread.hint)
    live = snapshot.observed.get(address)
    state = rotation.assess(desired, live, snapshot.now)
    if live is None or state.phase in {"locked", "unhealthy"}:
        lost = _lost(facts.senders, str(live.spec["key"])) if live is not None else None
        more = f": it {lost.words()}" if lost is not None else ""
        return _check(FOUND, name, f"{name}: {state.reason}{more}", state.hint or "recon apply")
    sender = facts.senders.user(name) if facts.senders is not None else None
    if problem := _refused(snapshot, name, sender):
        return problem
    if left := rotation.unacknowledged(desired, live):
        listed = ", ".join(rotation.describe_consumer(c) for c in left)
        hint = f'give them the password, then: recon smtp ack {name} "{left[0]["name"]}"'
        message = f"{name}: nobody has confirmed that these have the current password: {listed}"
        return _check(FOUND, name, message, hint, ADVICE)
    for key, used in live.facts["last_used"].items():
        if "unknown" in used:
            message = f"{name}: whether {key} is still in use could not be read: {used['unknown']}"
            return _check(UNKNOWN, name, message, "allow iam:GetAccessKeyLastUsed")
    message = f"{name}: its key {live.spec['key']} is active, and every store holds its passwords"
    return _check(OK, name, message + _limits(sender), f"recon smtp verify {name} tests the login")


def _refused(snapshot: Snapshot, name: str, sender: Sender | None) -> Check | None:
    """What its policies refuse to a declared user whose password works; a check that says what is not known."""
    hint = "remove the statement that denies, or the user from the group"
    if denied := smtp_user.denied(snapshot, name):
        return _check(FOUND, name, f"{name}: the login works, but SES refuses its mail: {denied}", hint)
    if sender is None or sender.can_send == "yes":
        return None
    why = "; ".join(sender.reasons) or NOTHING
    if sender.can_send == "no":
        return _check(FOUND, name, f"{name}: the login works, but SES refuses its mail: {why}", hint)
    return _check(UNKNOWN, name, f"{name}: it is not known whether its policies let it send: {why}")


def _limits(sender: Sender | None) -> str:
    """From where alone a sender may send; "" for anywhere."""
    networks = sender.reach.networks if sender is not None else ()
    return f"; it may send from {', '.join(networks)} alone" if networks and "*" not in networks else ""


# --- keys that were lost -------------------------------------------------------------------------------------------


def _lost(senders: SenderFacts | None, key: str) -> LostKey | None:
    return next((one for one in senders.history.lost if one.id == key), None) if senders is not None else None


def _lost_keys(facts: Facts, senders: SenderFacts) -> Iterator[Check]:
    """The keys of senders that were deleted or switched off, and those of users that are gone: the latest first."""
    declared = {d.name for d in facts.snapshot.kind(smtp_credential.NAME)}
    region = facts.regions[0] if facts.regions else "REGION"
    for lost in senders.history.lost:
        sender = senders.user(lost.user)
        named = f"the access key {lost.id} of {lost.user} {lost.words()}"
        if lost.user in declared:
            if not lost.cause.ours and lost.id != _current(facts.snapshot, lost.user):
                yield _check(FOUND, lost.user, f"{named}: {_STALE}", _ask(lost, sender, region), LATELY)
        elif lost.user not in senders.users and not senders.account.undecided:
            message = f"{named}: that user is gone, and whether it sent mail is not known"
            yield _check(UNKNOWN, lost.user, message, _ask(lost, None, region), LATELY)
        elif sender is not None and sender.reach.administrator and not _uses_ses(sender):
            yield _check(OK, lost.user, f"{named}; it may do everything, sending too")
        elif sender is not None and (not facts.name or sender.can_send == "no" or may_send_as(sender, facts.name)):
            status = OK if lost.cause.ours and facts.live is not None else FOUND
            yield _check(status, lost.user, f"{named}: {_STALE}", _ask(lost, sender, region), LATELY)


_STALE: Final = "whatever still has its SMTP password cannot log in (535)"


def _current(snapshot: Snapshot, user: str) -> str:
    live = snapshot.observed.get(smtp_credential.address_of(user))
    return str(live.spec["key"]) if live is not None else ""


def _ask(lost: LostKey, sender: Sender | None, region: str) -> str:
    """How to test the copies of a password, and what works now."""
    test = f"recon smtp verify --username {lost.id} --password-stdin --region {region}"
    active = [str(k["id"]) for k in (sender.keys or () if sender else ()) if k["status"] == "Active" and k["id"]]
    more = f"; the key that works is {', '.join(active)}" if active else ""
    return f"test each copy that may still hold it (webmail, printers, plugins): {test}{more}"


# --- everybody that may send ---------------------------------------------------------------------------------------


def _unread(facts: Facts, senders: SenderFacts) -> Iterator[Check]:
    """What could not be read of IAM and CloudTrail. With YAML, its own users are read by themselves."""
    for one in senders.account.diagnostics:
        status = UNKNOWN if one.severity == "error" and facts.live is not None else OK
        yield Check("smtp", status, one.message, one.hint, rank=ADVICE)
    problem = senders.history.problem
    if problem is not None and (facts.live is not None or senders.everybody):
        message = f"whether an access key was deleted or switched off of late could not be read: {problem.message}"
        yield Check("smtp", UNKNOWN, message, problem.hint, rank=ADVICE)
    elif senders.history.cut:
        message = "CloudTrail has more events of access keys than were read: only the latest were looked at"
        yield Check("smtp", UNKNOWN, message, "look the user up in the event history", rank=ADVICE)


def _live_senders(facts: Facts, senders: SenderFacts, declared: set[str]) -> Iterator[Check]:
    """Who may send, undeclared ones by name; and whose policies refuse what its keys are there for."""
    may = [s for s in senders.report.senders if s.can_send != "no" and (not facts.name or may_send_as(s, facts.name))]
    for sender in senders.report.senders:
        if sender.name in declared or sender.type != "user":
            continue
        active = [k for k in sender.keys or () if k["status"] == "Active"]
        if sender.can_send == "no" and active and not facts.name:
            message = f"{sender.name}: the login works, but SES refuses its mail: {'; '.join(sender.reasons)}"
            hint = "take the right away whole, or remove what denies it: recon senders shows its policies"
            yield _check(FOUND, sender.name, message, hint, LATELY)
        elif sender.can_send == "unknown" and _uses_ses(sender):
            message = f"{sender.name}: it is not known whether it may send: {'; '.join(sender.reasons)}"
            yield _check(UNKNOWN, sender.name, message, rank=LATELY)
    if senders.account.undecided and not may:
        return
    if "@" in facts.name and not may:
        denied = [f"{s.name}: {'; '.join(s.reasons)}" for s in senders.report.senders if s.can_send == "no"]
        others = [_may(s) for s in senders.report.senders if s.can_send != "no"]
        some = "; ".join([*denied[:_NAMED], *others[:_NAMED]])
        message = f"no user or role may send as {facts.name}: its mail is refused after the login (554)"
        yield _check(FOUND, "", message + (f". {some}" if some else ""), "let one send from this address", NOW)
        return
    undeclared = [s.name for s in may if s.declared_by is None]
    words = "; ".join(_may(s) for s in may[:_NAMED]) + (f"; and {len(may) - _NAMED} more" if len(may) > _NAMED else "")
    subject = f" as {facts.name}" if facts.name else ""
    message = f"{len(may) or 'nobody'} may send{subject}" + (f": {words}" if words else "")
    if undeclared:
        more = f" and {len(undeclared) - _NAMED} more" if len(undeclared) > _NAMED else ""
        message += f". Nothing declares {', '.join(undeclared[:_NAMED])}{more}"
    yield Check("smtp", OK, message, "recon senders shows them with their keys and policies")


def _may(sender: Sender) -> str:
    """A sender, as what and from where it may send, and its last use."""
    found = sender.reach
    limits = [f"as {', '.join(found.from_addresses)}"] if "*" not in found.from_addresses else []
    limits += [f"from {', '.join(found.networks)}"] if "*" not in found.networks else []
    limits += [f"perhaps ({'; '.join(sender.reasons)})"] if sender.can_send == "unknown" else []
    if sender.keys and not any(k["status"] == "Active" for k in sender.keys):
        limits.append("no active key")
    if sender.last_used:
        limits.append(f"last used {sender.last_used[:10]}")
    return f"{sender.type} {sender.name}" + (f" ({', '.join(limits)})" if limits else "")


def _uses_ses(sender: Sender) -> bool:
    return any(key["last_service"] == "ses" for key in sender.keys or ())


# --- behind the bounces --------------------------------------------------------------------------------------------


def lately(facts: Facts, region: str) -> list[tuple[str, str, str]]:
    """(user, key, last use) of those whose key SES saw last in a region within the time of its statistics, the latest
    first. SES is the last service of these keys: others may have sent, too, and were used elsewhere since."""
    first = (datetime.fromisoformat(facts.snapshot.now) - timedelta(days=DAYS)).isoformat()
    found = [
        (sender.name, str(key["id"] or ""), str(key["last_used"]))
        for sender in (facts.senders.everybody if facts.senders is not None else ())
        if sender.can_send != "no"
        for key in sender.keys or ()
        if key["last_service"] == "ses" and key["last_region"] in {region, None} and (key["last_used"] or "") >= first
    ]
    return sorted(found, key=lambda one: one[2], reverse=True)


def behind(facts: Facts, region: str, what: str) -> tuple[str, str]:
    """(words, hint) about who sends what bounces or is complained about (``what``: ``bounces`` or ``complaints``) in a
    region: from the numbers of each sender where they are counted, else from who used SES of late."""
    counted, sent, said = _counted(facts, region), facts.sent[region], facts.callers.get(region)
    if isinstance(said, list) and isinstance(sent, Sent):
        words, one = callers.words_of(said, what, getattr(sent, what))
        if one:
            return words, f"{_lock(facts, one)}; {counted}"
        if words:
            return words, counted
    seen = _first_of_each(lately(facts, region))
    gone = _gone(facts, [user for user, _, _ in seen])
    if len(seen) == 1 and not gone:
        ((user, key, used),) = seen
        named = f"its key {key}" if key else "its key"
        words = f"one sender is behind them, {user}: {named} is the only one that SES saw there"
        return f"{words}, last on {used[:16].replace('T', ' ')} UTC", f"{_lock(facts, user)}; {counted}"
    if gone and not seen:
        return f"in that time the keys of these were switched off or deleted: {', '.join(gone[:5])}", counted
    if seen:
        known = [f"{user} ({used[:10]})" for user, _, used in seen] + [f"{user} (its key is off)" for user in gone]
        may = ", or may have" if gone else ""
        return f"{len(known)} senders have used SES there of late{may}: {', '.join(known[:5])}", counted
    return "", counted


def _lock(facts: Facts, name: str) -> str:
    """How to stop a sender."""
    declared = any(d.name == name for d in facts.snapshot.kind(smtp_credential.NAME))
    everybody = facts.senders.everybody if facts.senders is not None else []
    kind = "role" if any(s.type == "role" and s.name == name for s in everybody) else "user"
    return f"recon smtp lock {name if declared else f'{kind}/{name} --undeclared'} stops it at once"


def _counted(facts: Facts, region: str) -> str:
    """Where bounces are counted by sender, why they could not be read, or how to get that."""
    said = facts.callers.get(region)
    if isinstance(said, ReconError):
        return f"the numbers of each sender could not be read: {said.message}"
    if place := callers.counting(facts.snapshot, region):
        return (
            f"the event destination {place} counts by sender: CloudWatch, namespace AWS/SES, dimension "
            f"{callers.DIMENSION}"
        )
    if unread := callers.not_read(facts.snapshot, region):
        return f"whether something counts by sender is unknown: {unread.prefix} could not be read: {unread.reason}"
    return (
        f"an event destination to CloudWatch for SEND, BOUNCE and COMPLAINT with the dimension {callers.DIMENSION} "
        "(MESSAGE_TAG) counts by sender; until then SES does not say whose they are"
    )


def _gone(facts: Facts, users: Iterable[str]) -> list[str]:
    """Other users whose keys were lost within the time of the statistics: they may have sent what is in it, so that
    nobody else can be blamed alone. Not those of a key that is still there, was not used in that time, and was lost
    more than a day ago: IAM tells the last use some hours late."""
    lost = facts.senders.history.lost if facts.senders is not None else ()
    first = datetime.fromisoformat(facts.snapshot.now) - timedelta(days=DAYS)
    keys = {key["id"]: key for s in (facts.senders.everybody if facts.senders else ()) for key in s.keys or ()}
    idle = {id for id, key in keys.items() if (key["last_used"] or "") < first.isoformat()}
    day = datetime.fromisoformat(facts.snapshot.now) - timedelta(days=1)
    times = [(one, datetime.fromisoformat(one.cause.time)) for one in lost]
    late = [one.user for one, at in times if at >= first and (one.id not in idle or at >= day)]
    return [user for user in dict.fromkeys(late) if user not in set(users)]


def _first_of_each(seen: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    found: dict[str, tuple[str, str, str]] = {}
    for one in seen:
        found.setdefault(one[0], one)
    return list(found.values())
