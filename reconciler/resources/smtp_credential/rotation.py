"""When a user's key rotates, and what stands in the way. Pure: time, tags and what IAM says go in, a Turn comes out.

One cycle is four steps, one a run: ``create`` (a new key, stored; the old one keeps working), ``deactivate`` once the
overlap has ended and IAM says that the old key is no longer used, ``delete`` a day later, and then nothing until the
new key comes of age. A key counts as in use that was used within the last ``overlap_days`` (at least a day): who
sends at least once in that time is never cut off.

Source: IAM User Guide, "Rotating access keys": create, update applications, watch last used, deactivate, delete.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from reconciler.kinds.ownership import unpack
from reconciler.model import Desired, Observed
from reconciler.resources.smtp_credential import key_requests, stores

DEFAULT_OVERLAP = 7
"""Days, where ``overlap_days`` is not written."""
OFF_DAYS = 1
"""How long an old key stays switched off before it is deleted: whoever misses it can still switch it on."""
SLACK = timedelta(hours=1)
"""A daily job does not start at the same second every day; making and deleting a key an hour early harms nobody."""
LATE = timedelta(days=2)
"""From when on a step that is due is called overdue."""


@dataclass(frozen=True, slots=True)
class Health:
    """What is wrong with a stored credential, and what it takes to mend it.

    ``key`` is the key that the stores should hold: the current one, or ``unrecorded``, which every store proves to be
    ours though no tag says so (a run was cut off, or somebody took the tag away). ``restore`` and ``copy`` are the
    stores that need no new key: their value is there in another stage, or can be made up from ``sources``; ``lost``
    those that do.
    """

    key: Mapping[str, Any] | None
    unrecorded: str | None
    true: tuple[stores.Store, ...]
    restore: tuple[stores.Store, ...]
    copy: tuple[stores.Store, ...]
    sources: tuple[stores.Store, ...]
    lost: tuple[stores.Store, ...]

    @property
    def needs_key(self) -> bool:
        return self.key is None or bool(self.lost)

    @property
    def whole(self) -> bool:
        """Whether every store holds the password of an active key."""
        wrong = self.restore or self.copy or self.lost or self.unrecorded
        return self.key is not None and self.key["status"] == "Active" and not wrong


def health(wanted: Iterable[stores.Store], live: Observed | None) -> Health:
    """Judge a credential by what was observed of it."""
    every = tuple(wanted)
    if live is None:
        return Health(None, None, (), (), (), (), every)
    there: Mapping[str, Any] = live.spec["stores"]
    by_id = {k["id"]: k for k in live.spec["keys"]}
    unrecorded = next(
        (
            o
            for o in live.spec["orphans"]
            if every and all(stores.holds(there.get(stores.id_of(s)), s, o) for s in every)
        ),
        None,
    )
    if unrecorded is None and live.spec["key"] not in by_id:
        # Another tool may have taken our tags off the user; what the stores prove is ours all the same.
        unrecorded = next(
            (k for k in by_id if every and all(stores.is_true(there.get(stores.id_of(s)), s, k) for s in every)),
            None,
        )
    key = by_id.get(unrecorded or live.spec["key"] or "")
    if key is None:
        return Health(None, None, (), (), (), (), every)
    true, restore, rest = [], [], []
    for store in every:
        seen = there.get(stores.id_of(store))
        if stores.is_true(seen, store, key["id"]):
            true.append(store)
        elif stores.holds(seen, store, key["id"]):
            restore.append(store)
        else:
            rest.append(store)
    sources = _sources(every, there, key["id"], unpack(live.tags, stores.KEY_REGIONS)) if rest else []
    has_secret = any(s["secret"] for s in sources)
    regions = {r for s in sources for r in s["regions"]}
    copy = [s for s in rest if sources and (has_secret or (set(s["regions"]) <= regions and not s.get("secret")))]
    lost = [s for s in rest if s not in copy]
    return Health(key, unrecorded, tuple(true), tuple(restore), tuple(copy), tuple(sources), tuple(lost))


def _sources(
    wanted: tuple[stores.Store, ...], there: Mapping[str, Any], key_id: str, remembered: frozenset[str]
) -> list[dict[str, Any]]:
    """The stores that are proven to hold passwords of the key, and for which regions."""
    covered = sorted({r for s in wanted for r in s["regions"]})
    found = []
    for name, seen in there.items():
        form = stores.variants(key_id, seen, {*remembered, *covered}, sorted(remembered), covered)
        if form is not None:
            found.append({**stores.parse(name), **form})
    return found


# --- whose turn it is ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RotationState:
    """Where one user's rotation stands.

    ``state``: ``due`` (``step`` can be taken now), ``waiting`` (it comes at ``at``), ``held`` (due, but the old key is
    in use), ``blocked`` (there is no room), ``unhealthy`` (``recon apply`` mends first), ``locked``, or ``never`` (no
    ``max_age_days``). ``step``: ``create``, ``record``, ``deactivate``, ``delete``. ``key`` is the key it is about.
    """

    user: str
    state: str
    step: str = ""
    at: str | None = None
    key: str | None = None
    reason: str = ""
    hint: str = ""
    consumers: tuple[Mapping[str, Any], ...] = field(default=())
    """Those that have not been acknowledged for the current key."""
    behind: str = ""
    """What is older than it should be while the old key is still there; "" where nothing is."""

    @property
    def speaks(self) -> bool:
        """Whether a plan has something to say of it."""
        return self.state in {"due", "held", "blocked"} or bool(self.behind)


def status(desired: Desired, live: Observed | None, now: str) -> RotationState:
    """The next step of one declared user, and whether it may be taken ``now`` (ISO 8601)."""
    name = desired.name
    if live is not None and live.facts["locked"]:
        return RotationState(
            name, "locked", reason="the user is locked: sending is denied and its keys are off",
            hint=f"recon smtp rotate {name} makes a new key and unlocks; recon smtp lock {name} --unlock goes back",
        )  # fmt: skip
    state = health(desired.spec["stores"], live)
    if live is not None and state.unrecorded:
        return RotationState(
            name, "due", "record", now, state.unrecorded, "every store holds it, and no tag says that it is ours"
        )
    if live is not None and _half_stored(state, live):
        why = f"an interrupted run stored {', '.join(live.spec['orphans'])} in some of the stores"
        return RotationState(name, "due", "create", now, live.spec["key"], why, "", unacknowledged(desired, live))
    if live is None or not state.whole or state.key is None:
        return RotationState(
            name, "unhealthy", reason=_ill(state, live), hint="recon apply heals it; rotation waits until then",
        )  # fmt: skip
    left = unacknowledged(desired, live)
    max_age, overlap = limits(desired)
    current, tags = state.key, live.tags
    since = moment_of(tags.get(key_requests.KEY_SINCE)) or _time(current["created"])
    old = next((k for k in live.spec["keys"] if k["id"] == tags.get(key_requests.KEY_OLD)), None)
    if old is not None and old["id"] != current["id"]:
        found = _old(name, live, old, since, overlap, _time(now), left)
        return found if max_age is None else replace(found, behind=_behind(current, old, since, max_age, overlap, now))
    if max_age is None:
        return RotationState(name, "never", "create", reason="access_key.max_age_days is not written", consumers=left)
    due = since + timedelta(days=max_age)
    at = _text(due)
    if _time(now) + SLACK < due:
        return RotationState(name, "waiting", "create", at, current["id"], consumers=left)
    if len(live.spec["keys"]) - len(live.spec["orphans"]) >= 2:
        other = live.facts["foreign"][0]
        return RotationState(
            name, "blocked", "create", at, current["id"],
            f"the other place is taken by {describe_key(live, other, now)}, which recon did not make",
            f"delete it by hand, or have it rotated out: recon smtp rotate {name} --replace {other}", left,
        )  # fmt: skip
    age = (_time(now) - since).days
    return RotationState(
        name, "due", "create", at, current["id"], f"the key is {age} days old; {max_age} are allowed", "", left
    )


def _half_stored(state: Health, live: Observed) -> bool:
    """Whether the only thing wrong is that a run was cut off between two stores: it is gone on with from the start."""
    if state.key is None or state.key["status"] != "Active" or state.copy or state.lost or not state.restore:
        return False
    there: Mapping[str, Any] = live.spec["stores"]
    return all(
        any(stores.is_true(there.get(stores.id_of(s)), s, orphan) for orphan in live.spec["orphans"])
        for s in state.restore
    )


def _old(
    name: str, live: Observed, old: Mapping[str, Any], since: datetime, overlap: int, now: datetime,
    left: tuple[Mapping[str, Any], ...],
) -> RotationState:  # fmt: skip
    """While an old key is there: switch it off once nobody uses it, then delete it."""
    since = max(since, moment_of(live.tags.get(key_requests.KEY_OUT)) or since)
    end = since + timedelta(days=overlap)
    if old["status"] != "Active":
        off = moment_of(live.tags.get(key_requests.KEY_OFF)) or max(since, end - timedelta(days=OFF_DAYS))
        gone = off + timedelta(days=OFF_DAYS)
        state = "due" if now + SLACK >= gone else "waiting"
        return RotationState(name, state, "delete", _text(gone), old["id"], "it has been switched off", "", left)
    at = _text(end)
    if now < end:
        return RotationState(name, "waiting", "deactivate", at, old["id"], "the overlap has not ended", "", left)
    used = live.facts["last_used"].get(old["id"]) or {"unknown": "it was not read"}
    if "unknown" in used:
        return RotationState(
            name, "held", "deactivate", at, old["id"], f"whether it is in use could not be read: {used['unknown']}",
            "allow iam:GetAccessKeyLastUsed", left,
        )  # fmt: skip
    if in_use(used, now, overlap, since, _acknowledged(live, left)):
        hint = (
            f"find who still has the password of {old['id']}; it is off {quiet(overlap).days} days after its last use"
        )
        if left:
            hint = "give them the new password: " + "; ".join(consumer_words(c) for c in left) + f"; {hint}"
        return RotationState(
            name, "held", "deactivate", at, old["id"], f"it is in use: {use_words(used, _text(now))}", hint, left
        )
    why = f"the overlap has ended and it is unused: {use_words(used, _text(now))}"
    return RotationState(name, "due", "deactivate", at, old["id"], why, "", left)


def _behind(
    current: Mapping[str, Any], old: Mapping[str, Any], since: datetime, max_age: int, overlap: int, now: str
) -> str:  # fmt: skip
    """What is older than it should be while a rotation is under way: that is said every day until it is over."""
    moment = _time(now)
    if moment >= since + timedelta(days=max_age):
        age = (moment - since).days
        return f"the current key {current['id']} is {age} days old, {max_age} are allowed; it waits for {old['id']}"
    made = _time(old["created"]) if old["created"] else moment
    if old["status"] == "Active" and moment > made + timedelta(days=max_age + overlap):
        return f"{old['id']} is {(moment - made).days} days old; it should have ended after {max_age + overlap}"
    return ""


def in_use(
    used: Mapping[str, Any], now: datetime, overlap: int, since: datetime | None = None,
    acknowledged: datetime | None = None,
) -> bool:  # fmt: skip
    """Whether a key counts as in use: it was used in the quiet time before ``now``. Uses before ``since`` (when the new
    key was stored), and before every consumer was ``acknowledged``, say nothing. Unknown counts as in use."""
    if "unknown" in used:
        return True
    if not used.get("at"):
        return False
    floor = max(t for t in (now - quiet(overlap), since, acknowledged) if t is not None)
    return _time(used["at"]) > floor


def quiet(overlap: int) -> timedelta:
    """How long a key must have been unused before it is taken for unused."""
    return timedelta(days=max(overlap, 1))


def limits(desired: Desired) -> tuple[int | None, int]:
    """(max_age_days or None, overlap_days) of a declared user."""
    block = desired.entry.values.get("access_key") or {}
    overlap = block.get("overlap_days")
    return block.get("max_age_days"), DEFAULT_OVERLAP if overlap is None else int(overlap)


def after(step: str, desired: Desired, live: Observed, now: str) -> tuple[str, str | None]:
    """What comes once ``step`` has been taken ``now``, and when (None where no time brings it)."""
    max_age, overlap = limits(desired)
    moment = _time(now)
    if step in {"create", "record"}:
        return "deactivate", _text(moment + timedelta(days=overlap))
    if step == "deactivate":
        return "delete", _text(moment + timedelta(days=OFF_DAYS))
    since = moment_of(live.tags.get(key_requests.KEY_SINCE))
    if max_age is None or since is None:
        return "create", None
    return "create", _text(since + timedelta(days=max_age))


# --- consumers -----------------------------------------------------------------------------------------------------


def ack_tag(consumer: str) -> str:
    """The user tag of one consumer: its name may hold what a tag may not."""
    return f"{key_requests.KEY_ACK}.{hashlib.sha256(consumer.encode()).hexdigest()[:16]}"


def consumers_of(desired: Desired) -> list[dict[str, Any]]:
    return [dict(c) for c in desired.entry.values.get("consumers") or () if isinstance(c, Mapping)]


def unacknowledged(desired: Desired, live: Observed) -> tuple[Mapping[str, Any], ...]:
    """The consumers nobody has acknowledged to have the password of the current key."""
    current = live.spec["key"]
    acks: Mapping[str, str] = live.facts["acks"]
    return tuple(c for c in consumers_of(desired) if acks.get(ack_tag(c["name"]), "").partition(" ")[0] != current)


def _acknowledged(live: Observed, left: tuple[Mapping[str, Any], ...]) -> datetime | None:
    """When the last consumer was acknowledged, where all of them are."""
    current = live.spec["key"]
    acks = [t.partition(" ") for t in live.facts["acks"].values()]
    times = [moment_of(at) for key, _, at in acks if key == current]
    known = [at for at in times if at is not None]
    return max(known) if known and len(known) == len(times) and not left else None


def consumer_words(consumer: Mapping[str, Any]) -> str:
    return f"{consumer['name']} ({consumer['note']})" if consumer.get("note") else str(consumer["name"])


# --- words ---------------------------------------------------------------------------------------------------------


def code_of(status: RotationState, now: str) -> str:
    """The diagnostic code of a turn that ``speaks``."""
    if status.state not in {"due", "waiting"}:
        return f"rotation-{status.state}"
    if status.behind:
        return "rotation-overdue"
    return "rotation-overdue" if status.at and _time(status.at) + LATE < _time(now) else "rotation-due"


def words_of(status: RotationState) -> str:
    """A turn that ``speaks``, in a sentence."""
    what = {
        "create": "a new key", "record": f"recording {status.key}", "deactivate": f"switching off {status.key}",
        "delete": f"deleting {status.key}",
    }[status.step]  # fmt: skip
    day = status.at[:10] if status.at else ""
    stands = {
        "due": f"is due since {day}", "held": f"is due since {day} and held", "waiting": f"comes on {day}",
        "blocked": f"is due since {day} and cannot be",
    }[status.state]  # fmt: skip
    return f"rotation of {status.user}: {what} {stands}: {status.reason}" + (
        f"; {status.behind}" if status.behind else ""
    )


def describe_key(live: Observed, key_id: str, now: str) -> str:
    """A key for people: id, status, age and last use."""
    key = next((k for k in live.spec["keys"] if k["id"] == key_id), None)
    if key is None:
        return key_id
    age = f", {(_time(now) - _time(key['created'])).days} days old" if key["created"] else ""
    used = live.facts["last_used"].get(key_id)
    return f"{key_id} ({key['status']}{age}{', ' + use_words(used, now) if used else ''})"


BESIDE = timedelta(hours=1)
"""How far from the making of our key one may lie that the same trouble with CreateAccessKey has left."""


def may_be_lost(live: Observed, key_id: str) -> bool:
    """Whether a key that no tag names may be the late fruit of a CreateAccessKey whose answer was lost: made about when
    the current key was, and never used. It cannot be proven, so it is said, and left to a person."""
    key = next((k for k in live.spec["keys"] if k["id"] == key_id), None)
    since = moment_of(live.tags.get(key_requests.KEY_SINCE))
    used = live.facts["last_used"].get(key_id) or {"unknown": "it was not read"}
    if key is None or not key["created"] or since is None or "unknown" in used or used.get("at"):
        return False
    return abs(_time(key["created"]) - since) <= BESIDE


def use_words(used: Mapping[str, Any], now: str) -> str:
    if "unknown" in used:
        return "last use unknown"
    if not used.get("at"):
        return "never used"
    ago = _time(now) - _time(used["at"])
    hours = int(ago.total_seconds() // 3600)
    when = f"{ago.days} days ago" if ago.days > 1 else f"{hours} hours ago" if hours > 1 else "within two hours"
    return f"last used {when} ({used['at'][:10]}) by {used.get('service')} in {used.get('region')}"


def _ill(state: Health, live: Observed | None) -> str:
    if live is None or (state.key is None and not live.spec["key"]):
        return "it has no key of recon's yet"
    if state.key is None:
        return f"its key {live.spec['key']} is gone"
    if state.key["status"] != "Active":
        return f"its key {state.key['id']} is {state.key['status']}"
    wrong = (*state.restore, *state.copy, *state.lost)
    return f"not stored as it should be: {', '.join(stores.words(s) for s in wrong)}"


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def moment_of(text: object) -> datetime | None:
    """The time, in UTC, that a tag or a stored value tells; None where somebody wrote something else there."""
    try:
        found = datetime.fromisoformat(str(text))
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
