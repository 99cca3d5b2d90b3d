"""Rotation carried out: one step a user, each safe to be cut off, what was read looked at again before it is changed.

What is due, and what stands in its way, is decided in ``kinds/smtp/rotation.py``; docs/smtp.md tells the whole cycle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reconciler.errors import ReconError, Refused
from reconciler.kinds.ownership import owner_of
from reconciler.kinds.registry import REGISTRY
from reconciler.kinds.snapshot import Snapshot
from reconciler.kinds.tags import tags_to_aws
from reconciler.model import Desired, Observed, State
from reconciler.resources.smtp_credential import key_requests, keys, rotation
from reconciler.resources.smtp_credential import kind as smtp_credential
from reconciler.resources.smtp_user import kind as smtp_user
from reconciler.smtp import lock

if TYPE_CHECKING:
    from reconciler.aws import Aws

CREDENTIAL = smtp_credential.SmtpCredential()


@dataclass(frozen=True, slots=True)
class Report:
    """How one user fared: ``status`` is what was found, ``done`` the step that was taken ("" for none).

    ``next_step`` comes at ``next_at`` (ISO 8601, or None where no time brings it). ``by_hand`` are the consumers that
    somebody must tell. ``error`` is what failed; ``status`` is then what should have been done.
    """

    status: rotation.RotationState
    done: str = ""
    message: str = ""
    next_step: str = ""
    next_at: str | None = None
    by_hand: tuple[Mapping[str, Any], ...] = ()
    error: ReconError | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def user(self) -> str:
        return self.status.user


def survey(state: State, aws: Aws, now: str, names: Iterable[str] | None = None) -> Snapshot:
    """A world with the SMTP users and credentials alone, read; ``names`` limits it to those."""
    snapshot = Snapshot(state, now)
    wanted = None if names is None else set(names)
    for kind in (smtp_user.NAME, smtp_credential.NAME):
        for desired in REGISTRY[kind].desired(state):
            if wanted is None or desired.name in wanted:
                snapshot.desired[desired.address] = desired
    for kind in (smtp_user.NAME, smtp_credential.NAME):
        REGISTRY[kind].observe(aws, snapshot)
    return snapshot


def declared(snapshot: Snapshot, name: str) -> Desired:
    """A declared credential by its user's name. Raises ReconError that lists those there are."""
    found = snapshot.desired.get(smtp_credential.address_of(name))
    if found is None:
        there = ", ".join(sorted(d.name for d in snapshot.kind(smtp_credential.NAME))) or "none"
        raise ReconError(f"no SMTP user {name} is declared", hint=f"there are: {there}")
    return found


def observed(snapshot: Snapshot, desired: Desired) -> Observed | None:
    """What was read of a declared credential. Raises ReconError where it could not be read or is another stack's."""
    user = smtp_user.address_of(desired.name)
    unread = snapshot.unknown(desired.address) or snapshot.unknown(user)
    if unread is not None:
        raise ReconError(f"{desired.name} could not be read: {unread.reason}", hint=unread.hint)
    live = snapshot.observed.get(user)
    if live is not None and (owner := owner_of(live.tags)) != snapshot.scope:
        raise Refused(
            f"the IAM user {desired.name} belongs to {owner or 'nobody'}",
            hint="adopt it first: recon apply --allow-adopt"
            if owner is None
            else "rotate it from the stack that owns it",
        )
    return snapshot.observed.get(desired.address)


# --- the cycle -----------------------------------------------------------------------------------------------------


def rotate_due(snapshot: Snapshot, aws: Aws) -> list[Report]:
    """Take every step that is due, one a user, users side by side; nothing is raised for a single user."""

    def one(desired: Desired) -> Report:
        status = rotation.RotationState(desired.name, "unhealthy")
        try:
            live = observed(snapshot, desired)
            status = rotation.status(desired, live, snapshot.now)
            if status.state == "due" and live is not None:
                return take(aws, snapshot, desired, live, status)
        except ReconError as error:
            return Report(status, error=error)
        return report_of(status)

    return aws.parallel(one, sorted(snapshot.kind(smtp_credential.NAME), key=lambda d: d.name))


def report_of(status: rotation.RotationState) -> Report:
    """The report of a user that nothing is done for."""
    by_hand = tuple(status.consumers)
    return Report(status, message=status.reason, next_step=status.step, next_at=status.at, by_hand=by_hand)


def take(
    aws: Aws, snapshot: Snapshot, desired: Desired, live: Observed, status: rotation.RotationState, *,
    force: bool = False,
) -> Report:  # fmt: skip
    """Take one step; with ``force`` also where the old key was used just now. Raises ReconError, also where the
    credential moved since it was read."""
    name, now, scope = desired.name, snapshot.now, snapshot.scope
    if CREDENTIAL.fingerprint(aws, name, list(desired.spec["stores"])) != live.digest:
        raise ReconError(f"{name} changed since it was read; it was left alone", hint="run it again")
    key = str(status.key)
    if status.step == "create":
        made = key_requests.create_key(aws, scope, _order(desired, live, previous=live.spec["key"]), now)
        message = f"{made} was made and stored; {live.spec['key']} still works"
    elif status.step == "record":
        present = {k["id"] for k in live.spec["keys"]}
        previous = live.spec["key"] if live.spec["key"] in present else None
        key_requests.record(aws, scope, _order(desired, live, previous=previous), key, now)
        message = f"{key}, which every store holds, is recorded as ours" + (
            f"; {previous} still works" if previous else ""
        )
    elif status.step == "deactivate":
        used = keys.last_used(aws, key)
        if not force and used != live.facts["last_used"].get(key):
            return report_of(replace(status, state="held", reason=f"it is in use: {rotation.use_words(used, now)}"))
        aws.call("iam", "TagUser", UserName=name, Tags=[{"Key": key_requests.KEY_OFF, "Value": now}])
        keys.switch(aws, name, key, on=False)
        message = f"{key} was switched off ({rotation.use_words(used, now)})"
    else:
        keys.delete(aws, name, key)
        aws.call(
            "iam",
            "UntagUser",
            UserName=name,
            TagKeys=[key_requests.KEY_OLD, key_requests.KEY_OFF, key_requests.KEY_OUT],
        )
        message = f"{key} was deleted"
    step, at = rotation.after(status.step, desired, live, now)
    consumers = rotation.consumers_of(desired) if status.step in {"create", "record"} else status.consumers
    by_hand = tuple(consumers)
    return Report(status, status.step, message, step, at, by_hand)


def _order(desired: Desired, live: Observed | None, **more: Any) -> dict[str, Any]:
    spec, tags = (live.spec, live.tags) if live else (None, {})
    return key_requests.key_request(desired.name, smtp_credential.tagged_stores(desired, live), spec, tags, **more)


# --- one user, now -------------------------------------------------------------------------------------------------


def rotate_user(
    snapshot: Snapshot, aws: Aws, name: str, *, replacing: str | None = None, force: bool = False
) -> Report:  # fmt: skip
    """Start a cycle now, or take the step that is due; unlock a locked user with a new key.

    ``replacing`` names a key that gives way: the old one, or one that recon did not make. Raises ReconError; Refused
    where a key in use would be cut off without ``force``, or where there is no room for a new key.
    """
    desired = declared(snapshot, name)
    live = observed(snapshot, desired)
    if live is None:
        raise ReconError(f"the IAM user {name} does not exist yet", hint="recon apply makes it")
    if live.facts["locked"]:
        return renew(snapshot, aws, desired, live)
    status = rotation.status(desired, live, snapshot.now)
    if replacing is not None:
        return _replace(snapshot, aws, desired, live, status, replacing, force)
    if status.state == "due":
        return take(aws, snapshot, desired, live, status)
    if status.step in {"deactivate", "delete"}:
        return report_of(status)
    present = [k for k in live.spec["keys"] if k["id"] not in live.spec["orphans"]]
    if len(present) >= 2:
        listed = "; ".join(rotation.describe_key(live, k["id"], snapshot.now) for k in present)
        raise Refused(
            f"{name} has two keys already, as many as IAM allows: {listed}",
            hint=f"name the one that gives way: recon smtp rotate {name} --replace KEYID",
        )
    current = next((k["id"] for k in present if k["id"] == live.spec["key"]), None)
    return _create(snapshot, aws, desired, live, status, previous=current)


def _replace(
    snapshot: Snapshot, aws: Aws, desired: Desired, live: Observed, status: rotation.RotationState, named: str,
    force: bool,
) -> Report:  # fmt: skip
    """Make the named key give way: gently where there is room, at once where there is none."""
    name, now = desired.name, snapshot.now
    key = next((k for k in live.spec["keys"] if k["id"] == named), None)
    if key is None:
        there = ", ".join(k["id"] for k in live.spec["keys"]) or "none"
        raise ReconError(f"{name} has no access key {named}", hint=f"it has: {there}")
    state = rotation.health(desired.spec["stores"], live)
    present = [k["id"] for k in live.spec["keys"] if k["id"] not in live.spec["orphans"]]
    if named == live.spec["key"] and state.whole:
        raise Refused(
            f"{named} is the key that is stored",
            hint=f"recon smtp rotate {name} starts its rotation; no --replace needed",
        )
    if state.whole and named != live.spec["old"]:
        # A key that recon did not make, beside ours: the stored password takes its place, with an overlap.
        tags = {key_requests.KEY_OLD: named, key_requests.KEY_OUT: now}
        aws.call("iam", "TagUser", UserName=name, Tags=tags_to_aws(tags))
        aws.call("iam", "UntagUser", UserName=name, TagKeys=[key_requests.KEY_OFF])
        _, overlap = rotation.limits(desired)
        step, at = rotation.after("create", desired, live, now)
        by_hand = tuple(status.consumers)
        message = f"{named} is being rotated out; it works for {overlap} more days"
        return Report(replace(status, step="replace", key=named), "replace", message, step, at, by_hand)
    _, overlap = rotation.limits(desired)
    used = live.facts["last_used"].get(named) or keys.last_used(aws, named)
    if key["status"] == "Active" and not force and rotation.in_use(used, datetime.fromisoformat(now), overlap):
        raise Refused(
            f"{named} is in use, and whoever uses it would be cut off: {rotation.use_words(used, now)}",
            hint="move them to the stored password first, or accept it with --force",
        )
    if state.whole:
        step = "deactivate" if key["status"] == "Active" else "delete"
        return take(
            aws, snapshot, desired, live, replace(status, state="due", step=step, key=named, at=now), force=force
        )
    if len(present) < 2:
        return _create(snapshot, aws, desired, live, status, previous=named)
    current = live.spec["key"] if live.spec["key"] in present and live.spec["key"] != named else None
    return _create(snapshot, aws, desired, live, status, previous=current, drop=[named])


def _create(
    snapshot: Snapshot, aws: Aws, desired: Desired, live: Observed, status: rotation.RotationState, *,
    previous: str | None, drop: Iterable[str] = (),
) -> Report:  # fmt: skip
    gone = list(drop)
    made = key_requests.create_key(
        aws, snapshot.scope, _order(desired, live, previous=previous, drop=gone), snapshot.now
    )
    message = f"{made} was made and stored"
    message += f"; {', '.join(gone)} was deleted" if gone else ""
    message += f"; {previous} still works" if previous else ""
    step, at = rotation.after("create" if previous else "delete", desired, live, snapshot.now)
    by_hand = tuple(rotation.consumers_of(desired))
    return Report(replace(status, step="create"), "create", message, step, at, by_hand)


def renew(snapshot: Snapshot, aws: Aws, desired: Desired, live: Observed) -> Report:
    """Replace a compromised key: deny everything, switch our keys off, make and store a new one, lift the deny.

    The old keys stay switched off; ``rotate --due`` deletes them. Cut off anywhere, the user stays locked, and
    running it again goes on. Raises ReconError.
    """
    name, now = desired.name, snapshot.now
    ours = {live.spec["key"], live.spec["old"], *live.spec["orphans"]} - {None}
    off = [k["id"] for k in live.spec["keys"] if k["id"] in ours and k["status"] == "Active"]
    lock.deny(aws, name)
    tag = {"Key": smtp_user.KEY_LOCKED, "Value": now}
    if smtp_user.KEY_LOCKED not in live.tags:
        aws.call("iam", "TagUser", UserName=name, Tags=[tag])
    for key in off:
        keys.switch(aws, name, key, on=False)
    present = [k["id"] for k in live.spec["keys"] if k["id"] not in live.spec["orphans"]]
    drop = [k for k in (live.spec["old"], live.spec["key"]) if k in present][:1] if len(present) > 1 else []
    if len(present) > 1 and not drop:
        raise Refused(
            f"{name} is locked, and has two keys that recon did not make: {', '.join(present)}",
            hint="delete one of them by hand, then run it again",
        )
    previous = live.spec["key"] if live.spec["key"] in present and live.spec["key"] not in drop else None
    run = {**_order(desired, live, previous=previous, drop=drop, off=True), "stored": False}
    made = key_requests.create_key(aws, snapshot.scope, run, now)
    lock.lift(aws, name)
    foreign = tuple(
        f"{rotation.describe_key(live, k, now)} was not made by recon and was left as it is"
        for k in live.facts["foreign"]
    )
    message = f"{made} was made and stored, and the user may send again"
    message += f"; {previous} is off" if previous else ""
    message += f"; {', '.join(drop)} was deleted" if drop else ""
    step, at = rotation.after("deactivate" if previous else "delete", desired, live, now)
    by_hand = tuple(rotation.consumers_of(desired))
    return Report(
        rotation.RotationState(name, "due", "renew", now, previous), "renew", message, step, at, by_hand, notes=foreign
    )


# --- consumers -----------------------------------------------------------------------------------------------------


def acknowledge(snapshot: Snapshot, aws: Aws, name: str, consumer: str) -> list[str]:
    """Record that a consumer has the current key's password; returns the consumers still to be told.

    Raises ReconError where the consumer is not declared or there is no key.
    """
    desired = declared(snapshot, name)
    live = observed(snapshot, desired)
    there = [c["name"] for c in rotation.consumers_of(desired)]
    if consumer not in there:
        raise ReconError(f"{name} has no consumer {consumer!r}", hint=f"declared are: {', '.join(there) or 'none'}")
    if live is None or not live.spec["key"]:
        raise ReconError(f"{name} has no key of recon's to acknowledge", hint="recon apply makes one")
    value = f"{live.spec['key']} {snapshot.now}"
    aws.call("iam", "TagUser", UserName=name, Tags=[{"Key": rotation.ack_tag(consumer), "Value": value}])
    left = rotation.unacknowledged(desired, live)
    return [rotation.consumer_words(c) for c in left if c["name"] != consumer]
