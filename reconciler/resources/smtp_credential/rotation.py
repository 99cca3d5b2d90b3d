"""When a user's key rotates, and what prevents it. Pure: a RotationState from the time, tags and last uses.

A cycle takes one step in a run: ``create`` (a new key is stored; the old one keeps working), ``deactivate`` once the
overlap has ended and IAM reports the old key as unused, and ``delete`` a day later. Then nothing is due until the new
key reaches its maximum age. A key used within the last ``overlap_days`` (at least a day) counts as in use: a sender
that sends at least once in that time is never cut off. A consumer that nobody has acknowledged may still have the old
password, however rarely it sends: it holds the old key until it is acknowledged, or until nobody has used the key for
``max_hold_days``.

Source: IAM User Guide, "Rotating access keys": create, update applications, watch last used, deactivate, delete.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from reconciler.kinds.ownership import unpack
from reconciler.model import Desired, Observed
from reconciler.resources.smtp_credential import key_requests, stores

DEFAULT_OVERLAP = 7
"""Days, where ``overlap_days`` is not written."""
OFF_DAYS = 1
"""How long an old key stays inactive before it is deleted: until then, somebody who needs it can activate it again."""
SLACK = timedelta(hours=1)
"""A daily job does not start at the same second every day: keys may be created and deleted up to this much early."""
LATE = timedelta(days=2)
"""How long after its due time a step is called overdue."""


@dataclass(frozen=True, slots=True)
class Health:
    """What is wrong with a stored credential, and what fixes it.

    ``key`` is the key that the stores should hold: the current one, or ``unrecorded``, which every store proves to be
    ours although no tag names it (a run was interrupted, or somebody removed the tag). The stores are ``proven`` (they
    hold the key's passwords), ``restore`` (they keep the value in another version), ``copy`` (the value can be made
    from ``sources``) or ``lost`` (only a new key helps).
    """

    key: Mapping[str, Any] | None
    unrecorded: str | None
    proven: tuple[stores.Store, ...]
    restore: tuple[stores.Store, ...]
    copy: tuple[stores.Store, ...]
    sources: tuple[stores.Store, ...]
    lost: tuple[stores.Store, ...]

    @property
    def needs_key(self) -> bool:
        return self.key is None or bool(self.lost)

    @property
    def intact(self) -> bool:
        """Whether every store holds the passwords of an active key."""
        wrong = self.restore or self.copy or self.lost or self.unrecorded
        return self.key is not None and self.key["status"] == "Active" and not wrong


def health(wanted: Iterable[stores.Store], live: Observed | None) -> Health:
    """The health of a credential with the stores ``wanted``, from what was observed of it."""
    every = tuple(wanted)
    unrecorded = _unrecorded_key(every, live) if live is not None else None
    by_id = {k["id"]: k for k in live.spec["keys"]} if live is not None else {}
    key = by_id.get(unrecorded or (live.spec["key"] if live is not None else None) or "")
    if live is None or key is None:
        return Health(None, None, (), (), (), (), every)
    there: Mapping[str, Any] = live.spec["stores"]
    proven, restore, rest = [], [], []
    for store in every:
        seen = there.get(stores.id_of(store))
        if stores.is_proven(seen, store, key["id"]):
            proven.append(store)
        elif stores.version_of(seen, store, key["id"]):
            restore.append(store)
        else:
            rest.append(store)
    sources = contents(every, live, key["id"]) if rest else []
    has_secret = any(s["secret"] for s in sources)
    regions = {r for s in sources for r in s["regions"]}
    copy = [s for s in rest if sources and (has_secret or (set(s["regions"]) <= regions and not s.get("secret")))]
    lost = [s for s in rest if s not in copy]
    return Health(key, unrecorded, tuple(proven), tuple(restore), tuple(copy), tuple(sources), tuple(lost))


def _unrecorded_key(wanted: tuple[stores.Store, ...], live: Observed) -> str | None:
    """The id of a key that stores hold and no tag names: an interrupted run created it, which every store then holds;
    or our tags were taken off (then the tagged key is missing)."""
    if not wanted:
        return None
    there: Mapping[str, Any] = live.spec["stores"]
    for orphan in live.spec["orphans"]:
        if all(stores.version_of(there.get(stores.id_of(s)), s, orphan) for s in wanted):
            return str(orphan)
    ids = [str(k["id"]) for k in live.spec["keys"]]
    if live.spec["key"] in ids:
        return None
    whole = next((k for k in ids if all(stores.is_proven(there.get(stores.id_of(s)), s, k) for s in wanted)), None)
    if whole or live.facts["intent"]:
        return whole  # what an interrupted run has stored in part is made anew
    # A user that was let go has no tags, and its stores may hold other regions than are covered now.
    return next((k for k in ids if any(stores.held(k, seen) for seen in there.values())), None)


def contents(wanted: Iterable[stores.Store], live: Observed, key_id: str) -> list[dict[str, Any]]:
    """The stores that are proven to hold passwords of the key, with the regions that they cover; of any
    regions, where no tag names the key."""
    covered = sorted({r for s in wanted for r in s["regions"]})
    remembered = unpack(live.tags, stores.KEY_REGIONS)
    found = []
    for name, seen in live.spec["stores"].items():
        form = stores.proven_content(key_id, seen, {*remembered, *covered}, sorted(remembered), covered)
        form = form or (stores.held(key_id, seen) if key_id not in ("", live.spec["key"]) else None)
        if form is not None:
            found.append({**stores.parse(name), **form})
    return found


# --- state ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RotationState:
    """The rotation of one user.

    ``phase``: ``due`` (``step`` can be taken now), ``waiting`` (it is due at ``at``), ``held`` (due, but the old key is
    in use), ``blocked`` (the user has two keys already), ``unhealthy`` (``recon apply`` must fix it first), ``locked``,
    or ``never`` (no ``max_age_days``). ``step``: ``create``, ``record``, ``deactivate``, ``delete``. ``key`` is the key
    that the step concerns.
    """

    user: str
    phase: str
    step: str = ""
    at: str | None = None
    key: str | None = None
    reason: str = ""
    hint: str = ""
    consumers: tuple[Mapping[str, Any], ...] = ()
    """Those that nobody has acknowledged for the current key."""
    overdue: str = ""
    """Which key is too old while the old key still exists; "" for none."""

    @property
    def held_for_consumers(self) -> bool:
        """Whether the old key is held while nobody has acknowledged a consumer."""
        return self.phase == "held" and bool(self.consumers)

    @property
    def is_reported(self) -> bool:
        """Whether a plan reports it."""
        return self.phase in {"due", "held", "blocked"} or bool(self.overdue)


def assess(desired: Desired, live: Observed | None, now: str) -> RotationState:
    """The next step of one declared user, and whether it can be taken ``now`` (ISO 8601)."""
    name = desired.name
    if live is not None and live.facts["locked"]:
        return RotationState(
            name, "locked", reason="the user is locked: sending is denied and its keys are inactive",
            hint=f"recon smtp rotate {name} creates a key and unlocks; recon smtp lock {name} --unlock only unlocks",
        )  # fmt: skip
    stored = health(desired.spec["stores"], live)
    if live is not None and stored.unrecorded:
        return RotationState(name, "due", "record", now, stored.unrecorded, "every store holds it, but no tag names it")
    if live is not None and _is_half_stored(stored, live):
        why = f"an interrupted run stored {', '.join(live.spec['orphans'])} in some of the stores"
        return RotationState(name, "due", "create", now, live.spec["key"], why, "", unacknowledged(desired, live))
    if live is None or not stored.intact or stored.key is None:
        return RotationState(name, "unhealthy", reason=_problem(stored, live), hint=_remedy(name, stored, live))
    max_age, overlap = limits(desired)
    since = parse_time(live.tags.get(key_requests.KEY_SINCE)) or _time(stored.key["created"])
    old = next((k for k in live.spec["keys"] if k["id"] == live.tags.get(key_requests.KEY_OLD)), None)
    if old is None or old["id"] == stored.key["id"]:
        return _assess_current_key(desired, live, stored.key, since, now)
    found = _assess_old_key(desired, live, old, since, _time(now))
    return found if max_age is None else replace(found, overdue=_overdue(stored.key, old, since, max_age, overlap, now))


def _is_half_stored(stored: Health, live: Observed) -> bool:
    """Whether a run was interrupted between two stores, and nothing else is wrong: a new key is then made again."""
    if stored.key is None or stored.key["status"] != "Active" or stored.copy or stored.lost or not stored.restore:
        return False
    there: Mapping[str, Any] = live.spec["stores"]
    return all(
        any(stores.is_proven(there.get(stores.id_of(s)), s, orphan) for orphan in live.spec["orphans"])
        for s in stored.restore
    )


def _assess_current_key(
    desired: Desired, live: Observed, current: Mapping[str, Any], since: datetime, now: str
) -> RotationState:  # fmt: skip
    """While there is no old key: a new key is due once the current one, stored ``since``, reaches its maximum age."""
    name, left = desired.name, unacknowledged(desired, live)
    max_age, _ = limits(desired)
    if max_age is None:
        return RotationState(name, "never", "create", reason="access_key.max_age_days is not set", consumers=left)
    due = since + timedelta(days=max_age)
    at = _iso(due)
    if _time(now) + SLACK < due:
        return RotationState(name, "waiting", "create", at, current["id"], consumers=left)
    if len(live.spec["keys"]) - len(live.spec["orphans"]) >= 2:
        other = live.facts["foreign"][0]
        return RotationState(
            name, "blocked", "create", at, current["id"],
            f"IAM allows two keys, and the second is {describe_key(live, other, now)}, which recon did not create",
            f"delete that key, or rotate it out: recon smtp rotate {name} --replace {other}", left,
        )  # fmt: skip
    age = (_time(now) - since).days
    return RotationState(
        name, "due", "create", at, current["id"], f"the key is {age} days old; {max_age} are allowed", "", left
    )


def _assess_old_key(
    desired: Desired, live: Observed, old: Mapping[str, Any], since: datetime, now: datetime
) -> RotationState:
    """While there is an old key: deactivate it once it is unused and every consumer has the new one, then delete it."""
    name, left = desired.name, unacknowledged(desired, live)
    _, overlap = limits(desired)
    since = max(since, parse_time(live.tags.get(key_requests.KEY_OUT)) or since)
    end = since + timedelta(days=overlap)
    used = live.facts["last_used"].get(old["id"]) or {"unknown": "it was not read"}

    def state(phase: str, step: str, at: datetime, reason: str, hint: str = "") -> RotationState:
        return RotationState(name, phase, step, _iso(at), old["id"], reason, hint, left)

    if old["status"] != "Active":
        off = parse_time(live.tags.get(key_requests.KEY_OFF))
        if off is None and (why := held_for(desired, live, used, since, now)):
            return state("held", "delete", end, f"somebody else has deactivated it, and {why}", _hold_hint(name, left))
        gone = (off or max(since, end - timedelta(days=OFF_DAYS))) + timedelta(days=OFF_DAYS)
        return state("due" if now + SLACK >= gone else "waiting", "delete", gone, "it is inactive")
    if now < end:
        return state("waiting", "deactivate", end, "the overlap has not ended")
    if "unknown" in used:
        why = f"its last use could not be read: {used['unknown']}"
        return state("held", "deactivate", end, why, "allow iam:GetAccessKeyLastUsed")
    if in_use(used, now, overlap, since, _acknowledged(live, left)):
        hint = (
            f"find out who still uses the password of {old['id']}; recon deactivates the key {idle_time(overlap).days} "
            "days after its last use"
        )
        if left:
            hint = f"{_hold_hint(name, left)}; {hint}, once they are acknowledged"
        return state("held", "deactivate", end, f"it is in use: {describe_use(used, _iso(now))}", hint)
    if why := held_for(desired, live, used, since, now):
        return state("held", "deactivate", end, f"{why}; {describe_use(used, _iso(now))}", _hold_hint(name, left))
    why = f"the overlap has ended and it is unused: {describe_use(used, _iso(now))}"
    return state("due", "deactivate", end, why)


def held_for(
    desired: Desired, live: Observed, used: Mapping[str, Any], since: datetime | None, now: datetime
) -> str:  # fmt: skip
    """Which consumers hold the old key, since nobody has acknowledged that they have the current password; "" for none.

    They hold it until nobody has used it for ``max_hold_days``, counted from its last use or from ``since``.
    """
    left = unacknowledged(desired, live)
    if not left:
        return ""
    days = (desired.entry.values.get("access_key") or {}).get("max_hold_days")
    times = [t for t in (since, parse_time(used.get("at")) if used.get("at") else None) if t is not None]
    if days is not None and times and "unknown" not in used and now >= max(times) + timedelta(days=int(days)):
        return ""
    until = f" until {_iso(max(times) + timedelta(days=int(days)))[:10]} at most" if days is not None and times else ""
    listed = ", ".join(describe_consumer(c) for c in left)
    return f"nobody has acknowledged that these have the new password: {listed}" + until


def has_consumers(desired: Desired, live: Observed, key: str, used: Mapping[str, Any], now: datetime) -> bool:
    """Whether consumers may have the password of a key and nowhere else to get mail out: of the current key those that
    are acknowledged, of the old one those that are not."""
    if key == live.spec["key"]:
        return len(unacknowledged(desired, live)) < len(consumers_of(desired))
    return bool(held_for(desired, live, used, parse_time(live.tags.get(key_requests.KEY_SINCE)), now))


def _hold_hint(name: str, left: tuple[Mapping[str, Any], ...]) -> str:
    """What to do for consumers that hold an old key."""
    acks = "; ".join(f'recon smtp ack {name} "{c["name"]}"' for c in left)
    listed = "; ".join(describe_consumer(c) for c in left)
    return (
        f"give them the new password: {listed}; then: {acks}. recon smtp rotate {name} --force does not wait for them"
    )


def _overdue(
    current: Mapping[str, Any], old: Mapping[str, Any], since: datetime, max_age: int, overlap: int, now: str
) -> str:  # fmt: skip
    """Which key is too old while a rotation is under way; reported every day until the rotation ends."""
    moment = _time(now)
    if moment >= since + timedelta(days=max_age):
        age = (moment - since).days
        return f"the current key {current['id']} is {age} days old ({max_age} are allowed) and waits for {old['id']}"
    made = _time(old["created"]) if old["created"] else moment
    if old["status"] == "Active" and moment > made + timedelta(days=max_age + overlap):
        return f"{old['id']} is {(moment - made).days} days old; at most {max_age + overlap} are allowed"
    return ""


def in_use(
    used: Mapping[str, Any], now: datetime, overlap: int, since: datetime | None = None,
    acknowledged: datetime | None = None,
) -> bool:  # fmt: skip
    """Whether a key counts as in use: it was used within ``idle_time`` before ``now``. Uses before ``since`` (when the
    new key was stored), or before the last consumer was ``acknowledged``, do not count. Unknown counts as in use."""
    if "unknown" in used:
        return True
    if not used.get("at"):
        return False
    floor = max(t for t in (now - idle_time(overlap), since, acknowledged) if t is not None)
    return _time(used["at"]) > floor


def idle_time(overlap: int) -> timedelta:
    """How long nobody may have used a key before it counts as unused."""
    return timedelta(days=max(overlap, 1))


def limits(desired: Desired) -> tuple[int | None, int]:
    """(max_age_days or None, overlap_days) of a declared user."""
    block = desired.entry.values.get("access_key") or {}
    overlap = block.get("overlap_days")
    return block.get("max_age_days"), DEFAULT_OVERLAP if overlap is None else int(overlap)


def following_step(step: str, desired: Desired, live: Observed, now: str) -> tuple[str, str | None]:
    """The step after ``step``, taken ``now``, and when it is due (None where only a person starts it)."""
    max_age, overlap = limits(desired)
    moment = _time(now)
    if step in {"create", "record"}:
        return "deactivate", _iso(moment + timedelta(days=overlap))
    if step == "deactivate":
        return "delete", _iso(moment + timedelta(days=OFF_DAYS))
    since = parse_time(live.tags.get(key_requests.KEY_SINCE))
    if max_age is None or since is None:
        return "create", None
    return "create", _iso(since + timedelta(days=max_age))


# --- consumers -----------------------------------------------------------------------------------------------------


def ack_tag(consumer: str) -> str:
    """The user tag of one consumer: a hash, since its name may contain characters that a tag may not."""
    return f"{key_requests.KEY_ACK}.{hashlib.sha256(consumer.encode()).hexdigest()[:16]}"


def consumers_of(desired: Desired) -> list[dict[str, Any]]:
    return [dict(c) for c in desired.entry.values.get("consumers") or () if isinstance(c, Mapping)]


def unacknowledged(desired: Desired, live: Observed) -> tuple[Mapping[str, Any], ...]:
    """The consumers that nobody has acknowledged to have the password of the current key."""
    current = live.spec["key"]
    acks: Mapping[str, str] = live.facts["acks"]
    return tuple(c for c in consumers_of(desired) if acks.get(ack_tag(c["name"]), "").partition(" ")[0] != current)


def _acknowledged(live: Observed, left: tuple[Mapping[str, Any], ...]) -> datetime | None:
    """When the last consumer was acknowledged, where all of them are."""
    current = live.spec["key"]
    acks = [t.partition(" ") for t in live.facts["acks"].values()]
    times = [parse_time(at) for key, _, at in acks if key == current]
    known = [at for at in times if at is not None]
    return max(known) if known and len(known) == len(times) and not left else None


def describe_consumer(consumer: Mapping[str, Any]) -> str:
    return f"{consumer['name']} ({consumer['note']})" if consumer.get("note") else str(consumer["name"])


# --- messages ------------------------------------------------------------------------------------------------------


def diagnostic_code(state: RotationState, now: str) -> str:
    """The diagnostic code of a rotation that ``is_reported``."""
    if state.held_for_consumers:
        return "consumer-unacknowledged"
    if state.phase not in {"due", "waiting"}:
        return f"rotation-{state.phase}"
    late = bool(state.at) and _time(str(state.at)) + LATE < _time(now)
    return "rotation-overdue" if state.overdue or late else "rotation-due"


def sentence(state: RotationState) -> str:
    """A rotation that ``is_reported``, in a sentence."""
    step = {
        "create": "a new key", "record": f"recording {state.key}", "deactivate": f"deactivating {state.key}",
        "delete": f"deleting {state.key}",
    }[state.step]  # fmt: skip
    day = state.at[:10] if state.at else ""
    phase = {
        "due": f"is due since {day}", "held": f"is due since {day}, but held", "waiting": f"is due on {day}",
        "blocked": f"is due since {day}, but blocked",
    }[state.phase]  # fmt: skip
    return f"rotation of {state.user}: {step} {phase}: {state.reason}" + (f"; {state.overdue}" if state.overdue else "")


def describe_key(live: Observed, key_id: str, now: str) -> str:
    """The id, status, age and last use of a key, in words."""
    key = next((k for k in live.spec["keys"] if k["id"] == key_id), None)
    if key is None:
        return key_id
    age = f", {(_time(now) - _time(key['created'])).days} days old" if key["created"] else ""
    used = live.facts["last_used"].get(key_id)
    return f"{key_id} ({key['status']}{age}{', ' + describe_use(used, now) if used else ''})"


def foreign_key(name: str, live: Observed, key_id: str, now: str) -> tuple[str, str]:
    """What to say of an access key that recon did not create, and what to do: it may be a forgotten copy, or a thief's
    way in."""
    key: Mapping[str, Any] = next((k for k in live.spec["keys"] if k["id"] == key_id), {})
    active, created = key.get("status") != "Inactive", key.get("created")
    words = f"recon did not create an access key of {name}: {describe_key(live, key_id, now)}"
    words += f", created at {created}" * bool(created)
    words += f". Whoever has its secret can send as {name}" if active else ". It cannot send while it is inactive"
    if may_be_from_lost_answer(live, key_id):
        words += (
            ". It was created just after recon asked for its own key: by a run that got no answer from AWS, and then "
            "nobody has its secret; or by somebody else"
        )
    off = f"aws iam update-access-key --user-name {name} --access-key-id {key_id} --status Inactive"
    hint = "ask who created it (CreateAccessKey in CloudTrail); "
    hint += f"if nobody knows it, switch it off now, which can be undone: {off}; " if active else ""
    hint += f"recon does not delete it by itself: recon smtp rotate {name} --replace {key_id} (run it three times to "
    return words, f"{hint}delete the key at once: rotated out, deactivated, deleted)"


LOST_ANSWER_WINDOW = timedelta(minutes=10)
"""A call whose answer was lost ends within the retries of one CreateAccessKey."""


def may_be_from_lost_answer(live: Observed, key_id: str) -> bool:
    """Whether a key that no tag names may come from a CreateAccessKey call whose answer was lost: it was not there
    before the current key, was created while that was asked for, and was never used. It cannot be proven, so it is
    reported and left to a person."""
    key = next((k for k in live.spec["keys"] if k["id"] == key_id), None)
    since = parse_time(live.tags.get(key_requests.KEY_SINCE))
    used = live.facts["last_used"].get(key_id) or {"unknown": "it was not read"}
    if key is None or not key["created"] or since is None or "unknown" in used or used.get("at"):
        return False
    if key_id in live.tags.get(key_requests.KEY_BEFORE, "").split():
        return False
    return since.replace(microsecond=0) <= _time(key["created"]) <= since + LOST_ANSWER_WINDOW


def describe_use(used: Mapping[str, Any], now: str) -> str:
    """The last use of a key, from ``keys.last_used``, in words."""
    if "unknown" in used:
        return "last use unknown"
    if not used.get("at"):
        return "never used"
    ago = _time(now) - _time(used["at"])
    hours = int(ago.total_seconds() // 3600)
    when = f"{ago.days} days ago" if ago.days > 1 else f"{hours} hours ago" if hours > 1 else "within two hours"
    said = ((word, used.get(key)) for word, key in (("by", "service"), ("in", "region")))
    known = [f" {word} {text}" for word, text in said if text not in (None, "", "N/A")]  # what IAM leaves out
    return f"last used {when} ({used['at'][:10]})" + "".join(known)


def _problem(stored: Health, live: Observed | None) -> str:
    if live is None or (stored.key is None and not live.spec["key"]):
        return "recon has not created a key for it yet"
    if stored.key is None:
        return f"its key {live.spec['key']} was deleted"
    if stored.key["status"] != "Active":
        return f"its key {stored.key['id']} is {stored.key['status']}"
    wrong = (*stored.restore, *stored.copy, *stored.lost)
    return f"wrong or missing passwords: {', '.join(stores.label(s) for s in wrong)}"


def _remedy(name: str, stored: Health, live: Observed | None) -> str:
    """What to do about a credential that is not intact. IAM allows two keys: with two foreign ones apply is refused."""
    foreign = live.facts["foreign"] if live is not None else ()
    if stored.needs_key and len(foreign) > 1:
        listed = " or ".join(foreign)
        return (
            f"recon apply is refused while the user has two keys of others: recon smtp rotate {name} --replace {listed}"
        )
    return "run recon apply, which fixes it; then rotate"


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def parse_time(text: object) -> datetime | None:
    """The time, in UTC, of a tag or a stored value; None where it is not a time."""
    try:
        found = datetime.fromisoformat(str(text))
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
