"""The steps of rotation: one step for each user, safe to interrupt, each checked against a fresh read.

``resources/smtp_credential/rotation.py`` decides what is due and what prevents it; docs/smtp.md describes the cycle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reconciler.errors import ReconError, Refused
from reconciler.kinds.ownership import named, owner_of
from reconciler.kinds.registry import REGISTRY
from reconciler.kinds.snapshot import Snapshot
from reconciler.kinds.tags import tags_to_aws
from reconciler.model import Desired, Observed, State
from reconciler.names import similar
from reconciler.resources.smtp_credential import key_requests, keys, rotation
from reconciler.resources.smtp_credential import kind as smtp_credential
from reconciler.resources.smtp_user import kind as smtp_user
from reconciler.smtp import lock

if TYPE_CHECKING:
    from reconciler.aws import Aws

CREDENTIAL = smtp_credential.SmtpCredential()


@dataclass(frozen=True, slots=True)
class Report:
    """The result for one user: ``state`` is its rotation, ``done`` the step that was taken ("" for none).

    ``next_step`` is due at ``next_at`` (ISO 8601, or None where only a person starts it). ``consumers`` are those that
    need the new password by hand. ``error`` is why the step that ``state`` names failed.
    """

    state: rotation.RotationState
    done: str = ""
    message: str = ""
    next_step: str = ""
    next_at: str | None = None
    consumers: tuple[Mapping[str, Any], ...] = ()
    error: ReconError | None = None
    notes: tuple[str, ...] = ()

    @property
    def user(self) -> str:
        return self.state.user


def read_users(state: State, aws: Aws, now: str, names: Iterable[str] | None = None) -> Snapshot:
    """A snapshot of only the SMTP users and their credentials, or of only those in ``names``."""
    snapshot = Snapshot(state, now)
    wanted = None if names is None else set(names)
    for kind in (smtp_user.NAME, smtp_credential.NAME):
        for desired in REGISTRY[kind].desired(state):
            if wanted is None or desired.name in wanted:
                snapshot.desired[desired.address] = desired
    for kind in (smtp_user.NAME, smtp_credential.NAME):
        REGISTRY[kind].observe(aws, snapshot)
    return snapshot


def declared_credential(snapshot: Snapshot, name: str) -> Desired:
    """A declared credential by its user's name. Raises ReconError that lists the declared users."""
    found = snapshot.desired.get(smtp_credential.address_of(name))
    if found is None:
        there = sorted({entry.name for entry in snapshot.state.section("smtp_users")})  # not only those that were read
        near = similar(name, there)
        hint = f"did you mean {near[0]}?" if near else f"declared are: {', '.join(there)}"
        raise ReconError(f"no SMTP user {name} is declared", hint=hint if there else "declare it under `smtp_users:`")
    return found


def live_credential(snapshot: Snapshot, desired: Desired) -> Observed | None:
    """The live credential of a declared one. Raises ReconError where it could not be read or has another owner."""
    user = smtp_user.address_of(desired.name)
    unread = snapshot.unknown(desired.address) or snapshot.unknown(user)
    if unread is not None:
        raise ReconError(f"{desired.name} could not be read: {unread.reason}", hint=unread.hint)
    live = snapshot.observed.get(user)
    if live is not None and (owner := owner_of(live.tags)) != snapshot.scope:
        if owner is None:
            raise Refused(
                f"the IAM user {desired.name} has no owner", hint="adopt it first: recon apply --allow-adopt"
            )  # fmt: skip
        raise Refused(
            f"the IAM user {desired.name} belongs to {named(owner)}",
            hint="rotate it from the stack that owns it; or take it over first (`stack.formerly`): recon apply",
        )  # fmt: skip
    return snapshot.observed.get(desired.address)


# --- the cycle -----------------------------------------------------------------------------------------------------


def rotate_due(snapshot: Snapshot, aws: Aws) -> list[Report]:
    """Take every step that is due, one for each user, users in parallel. An error of one user is in its report."""

    def one(desired: Desired) -> Report:
        state = rotation.RotationState(desired.name, "unhealthy")
        try:
            live = live_credential(snapshot, desired)
            state = rotation.assess(desired, live, snapshot.now)
            if state.phase == "due" and live is not None:
                return take_step(aws, snapshot, desired, live, state)
        except ReconError as error:
            return Report(state, error=error)
        return report_state(state)

    return aws.parallel(one, sorted(snapshot.kind(smtp_credential.NAME), key=lambda d: d.name))


def report_state(state: rotation.RotationState) -> Report:
    """The report of a user for whom no step was taken."""
    return Report(
        state, message=state.reason, next_step=state.step, next_at=state.at, consumers=tuple(state.consumers)
    )  # fmt: skip


def take_step(
    aws: Aws, snapshot: Snapshot, desired: Desired, live: Observed, state: rotation.RotationState, *,
    force: bool = False,
) -> Report:  # fmt: skip
    """Take one step; with ``force`` also where the old key was used just now. Raises ReconError, also where the
    credential has changed since it was read."""
    name, now, scope = desired.name, snapshot.now, snapshot.scope
    if CREDENTIAL.fingerprint(aws, name, list(desired.spec["stores"])) != live.digest:
        raise ReconError(f"{name} changed after it was read, so it was not rotated", hint="run it again")
    key = str(state.key)
    if state.step == "create":
        made = key_requests.create_key(aws, scope, _key_request(scope, desired, live, previous=live.spec["key"]), now)
        message = f"{made} was created and stored; {live.spec['key']} still works"
    elif state.step == "record":
        present = {k["id"] for k in live.spec["keys"]}
        previous = live.spec["key"] if live.spec["key"] in present else None
        key_requests.record(aws, scope, _key_request(scope, desired, live, previous=previous), key, now)
        message = f"{key}, which every store holds, was recorded" + (f"; {previous} still works" if previous else "")
    elif state.step == "deactivate":
        used = keys.last_used(aws, key)
        if not force and used != live.facts["last_used"].get(key):
            return report_state(
                replace(state, phase="held", reason=f"it is in use: {rotation.describe_use(used, now)}")
            )
        aws.call("iam", "TagUser", UserName=name, Tags=[{"Key": key_requests.KEY_OFF, "Value": now}])
        keys.switch(aws, name, key, on=False)
        message = f"{key} was deactivated ({rotation.describe_use(used, now)})"
    else:
        keys.delete(aws, name, key)
        tags = [key_requests.KEY_OLD, key_requests.KEY_OFF, key_requests.KEY_OUT]
        aws.call("iam", "UntagUser", UserName=name, TagKeys=tags)
        message = f"{key} was deleted"
    next_step, next_at = rotation.following_step(state.step, desired, live, now)
    consumers = rotation.consumers_of(desired) if state.step in {"create", "record"} else state.consumers
    return Report(state, state.step, message, next_step, next_at, tuple(consumers))


def _key_request(scope: str, desired: Desired, live: Observed | None, **more: Any) -> dict[str, Any]:
    spec, tags = (live.spec, live.tags) if live else (None, {})
    return key_requests.key_request(
        desired.name, smtp_credential.tagged_stores(scope, desired, live), spec, tags, **more
    )


# --- one user, now -------------------------------------------------------------------------------------------------


def rotate_user(
    snapshot: Snapshot, aws: Aws, name: str, *, replacing: str | None = None, force: bool = False,
    compromised: bool = False,
) -> Report:  # fmt: skip
    """Start a cycle now, or take the step that is due; with ``force`` one that is held, too. The key of a locked user
    is replaced as ``compromised``.

    ``replacing`` names the key to replace: the old one, or one that recon did not create. Raises ReconError; Refused
    where a key that is in use or held would be cut off without ``force``, or where the user has two keys already.
    """
    desired = declared_credential(snapshot, name)
    live = live_credential(snapshot, desired)
    _require_user(snapshot, name)
    if live is None:
        raise ReconError(f"the IAM user {name} has no key yet", hint="recon apply creates one")
    if compromised or live.facts["locked"]:
        return _replace_compromised_key(snapshot, aws, desired, live)
    state = rotation.assess(desired, live, snapshot.now)
    if replacing is not None:
        return _replace_key(snapshot, aws, desired, live, state, replacing, force)
    if state.phase == "due" or (force and state.phase == "held"):
        return take_step(aws, snapshot, desired, live, state, force=force)
    if force:
        return report_state(replace(state, reason=f"nothing is held; {state.reason}".removesuffix("; ")))
    if state.step in {"deactivate", "delete"}:
        return report_state(state)
    present = _present_keys(live)
    if len(present) >= 2:
        listed = "; ".join(rotation.describe_key(live, k, snapshot.now) for k in present)
        raise Refused(
            f"{name} has two keys already, and IAM allows no more: {listed}",
            hint=f"choose the key to replace: recon smtp rotate {name} --replace KEYID",
        )
    current = live.spec["key"] if live.spec["key"] in present else None
    return _create_key(snapshot, aws, desired, live, state, previous=current)


def _require_user(snapshot: Snapshot, name: str) -> None:
    """Raises ReconError where IAM has no such user, though its stores may still be there: it was not created yet, or
    somebody deleted it."""
    if smtp_user.address_of(name) not in snapshot.observed:
        raise ReconError(f"the IAM user {name} does not exist", hint="run recon apply, which creates it; then rotate")


def _present_keys(live: Observed) -> list[str]:
    """The ids of the user's keys without those that an interrupted run left."""
    return [k["id"] for k in live.spec["keys"] if k["id"] not in live.spec["orphans"]]


def _replace_key(
    snapshot: Snapshot, aws: Aws, desired: Desired, live: Observed, state: rotation.RotationState, named: str,
    force: bool,
) -> Report:  # fmt: skip
    """Replace the named key: with an overlap where IAM allows another key, else at once."""
    name, now = desired.name, snapshot.now
    key = next((k for k in live.spec["keys"] if k["id"] == named), None)
    if key is None:
        there = ", ".join(k["id"] for k in live.spec["keys"]) or "none"
        raise ReconError(f"{name} has no access key {named}", hint=f"it has: {there}")
    intact = rotation.health(desired.spec["stores"], live).intact
    if named == live.spec["key"] and intact:
        raise Refused(
            f"{named} is the key that is stored",
            hint=f"recon smtp rotate {name} starts its rotation without --replace",
        )
    if intact and named != live.spec["old"]:
        return _rotate_out(snapshot, aws, desired, live, state, named)
    _, overlap = rotation.limits(desired)
    used = live.facts["last_used"].get(named) or keys.last_used(aws, named)
    if named == live.spec["old"] and not force and state.held_for_consumers:
        raise Refused(f"{named} is held: {state.reason}", hint=state.hint)
    if key["status"] == "Active" and not force and rotation.in_use(used, datetime.fromisoformat(now), overlap):
        raise Refused(
            f"{named} is in use, and its users would be cut off: {rotation.describe_use(used, now)}",
            hint="give them the stored password first, or use --force",
        )
    if intact:
        step = "deactivate" if key["status"] == "Active" else "delete"
        due = replace(state, phase="due", step=step, key=named, at=now)
        return take_step(aws, snapshot, desired, live, due, force=force)
    present = _present_keys(live)
    if len(present) < 2:
        return _create_key(snapshot, aws, desired, live, state, previous=named)
    current = live.spec["key"] if live.spec["key"] in present and live.spec["key"] != named else None
    return _create_key(snapshot, aws, desired, live, state, previous=current, drop=[named])


def _rotate_out(
    snapshot: Snapshot, aws: Aws, desired: Desired, live: Observed, state: rotation.RotationState, named: str
) -> Report:  # fmt: skip
    """Start the overlap after which ``rotate --due`` deactivates a key that recon did not create."""
    name, now = desired.name, snapshot.now
    tags = {key_requests.KEY_OLD: named, key_requests.KEY_OUT: now}
    aws.call("iam", "TagUser", UserName=name, Tags=tags_to_aws(tags))
    aws.call("iam", "UntagUser", UserName=name, TagKeys=[key_requests.KEY_OFF])
    _, overlap = rotation.limits(desired)
    next_step, next_at = rotation.following_step("create", desired, live, now)
    message = f"{named} is being rotated out; it works for {overlap} more days"
    state = replace(state, step="replace", key=named)
    return Report(state, "replace", message, next_step, next_at, tuple(state.consumers))


def _create_key(
    snapshot: Snapshot, aws: Aws, desired: Desired, live: Observed, state: rotation.RotationState, *,
    previous: str | None, drop: Sequence[str] = (),
) -> Report:  # fmt: skip
    request = _key_request(snapshot.scope, desired, live, previous=previous, drop=drop)
    made = key_requests.create_key(aws, snapshot.scope, request, snapshot.now)
    message = f"{made} was created and stored"
    message += f"; {', '.join(drop)} was deleted" if drop else ""
    message += f"; {previous} still works" if previous else ""
    next_step, next_at = rotation.following_step("create" if previous else "delete", desired, live, snapshot.now)
    consumers = tuple(rotation.consumers_of(desired))
    return Report(replace(state, step="create"), "create", message, next_step, next_at, consumers)


def _replace_compromised_key(snapshot: Snapshot, aws: Aws, desired: Desired, live: Observed) -> Report:
    """Deny everything, deactivate our keys, create and store a new one, remove the deny.

    The old keys stay inactive; ``rotate --due`` deletes them. If it is interrupted anywhere, the user stays locked;
    running it again continues. Raises ReconError.
    """
    name, now = desired.name, snapshot.now
    ours = {live.spec["key"], live.spec["old"], *live.spec["orphans"]} - {None}
    active = [k["id"] for k in live.spec["keys"] if k["id"] in ours and k["status"] == "Active"]
    lock.deny(aws, name)
    if smtp_user.KEY_LOCKED not in live.tags:
        aws.call("iam", "TagUser", UserName=name, Tags=[{"Key": smtp_user.KEY_LOCKED, "Value": now}])
    for key in active:
        keys.switch(aws, name, key, on=False)
    present = _present_keys(live)
    drop = [k for k in (live.spec["old"], live.spec["key"]) if k in present][:1] if len(present) > 1 else []
    if len(present) > 1 and not drop:
        raise Refused(
            f"{name} is locked, and has two keys that recon did not create: {', '.join(present)}",
            hint="delete one of them in IAM, then run it again",
        )
    previous = live.spec["key"] if live.spec["key"] in present and live.spec["key"] not in drop else None
    request = {**_key_request(snapshot.scope, desired, live, previous=previous, drop=drop, off=True), "stored": False}
    made = key_requests.create_key(aws, snapshot.scope, request, now)
    lock.remove_deny(aws, name)
    foreign = tuple(
        f"recon did not create {rotation.describe_key(live, k, now)}, and did not change it"
        for k in live.facts["foreign"]
    )
    message = f"{made} was created and stored, and the user may send again"
    message += f"; {previous} is inactive" if previous else ""
    message += f"; {', '.join(drop)} was deleted" if drop else ""
    next_step, next_at = rotation.following_step("deactivate" if previous else "delete", desired, live, now)
    consumers = tuple(rotation.consumers_of(desired))
    state = rotation.RotationState(name, "due", "renew", now, previous)
    return Report(state, "renew", message, next_step, next_at, consumers, notes=foreign)


# --- consumers -----------------------------------------------------------------------------------------------------


def acknowledge(snapshot: Snapshot, aws: Aws, name: str, consumer: str) -> list[str]:
    """Record that a consumer has the password of the current key; returns the consumers that do not have it yet.

    Raises ReconError where the consumer is not declared or there is no key.
    """
    desired = declared_credential(snapshot, name)
    live = live_credential(snapshot, desired)
    there = [c["name"] for c in rotation.consumers_of(desired)]
    if consumer not in there:
        raise ReconError(f"{name} has no consumer {consumer!r}", hint=f"declared are: {', '.join(there) or 'none'}")
    _require_user(snapshot, name)
    if live is None or not live.spec["key"]:
        raise ReconError(f"recon has not created a key for {name} yet", hint="recon apply creates one")
    value = f"{live.spec['key']} {snapshot.now}"
    aws.call("iam", "TagUser", UserName=name, Tags=[{"Key": rotation.ack_tag(consumer), "Value": value}])
    left = rotation.unacknowledged(desired, live)
    return [rotation.describe_consumer(c) for c in left if c["name"] != consumer]
