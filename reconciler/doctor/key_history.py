"""Which access keys were deleted or switched off of late, by whom and when: CloudTrail's history.

Source: IAM API, DeleteAccessKey and UpdateAccessKey (UserName may be left out: then it is the caller's own); CloudTrail
API, LookupEvents (90 days; IAM is recorded in one region of the partition).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from reconciler.drift.causes import MAX_PAGES, Cause, cause_of, detail_of, history
from reconciler.errors import AwsError
from reconciler.kinds.lookups import Lookup
from reconciler.regions import home_region

if TYPE_CHECKING:
    from reconciler.aws import Aws

READS: Final = ("cloudtrail:LookupEvents",)
DAYS: Final = 90
_EVENTS: Final = ("DeleteAccessKey", "UpdateAccessKey")


@dataclass(slots=True)
class LostKey:
    """A key that works no more: when it was ``deleted`` or ``off`` (made Inactive), and by whom."""

    id: str
    user: str
    off: Cause | None = None
    deleted: Cause | None = None

    @property
    def cause(self) -> Cause:
        """What ended it: whoever switched it off did, even where another deleted it later."""
        found = self.off or self.deleted
        assert found is not None, "a lost key has an event"
        return found

    def words(self) -> str:
        """What happened to it, when and by whom."""
        said = f"was {'switched off' if self.off else 'deleted'} on {_moment(self.cause)} by {_who(self.cause)}"
        if self.off and self.deleted:
            by = f" by {_who(self.deleted)}" if self.deleted.principal != self.off.principal else ""
            said += f", and deleted on {_moment(self.deleted)}{by}"
        return said


@dataclass(slots=True)
class KeyHistory:
    """The keys that were lost, the latest first. ``problem`` is why the history could not be read; ``cut`` whether
    there is more of it than was read."""

    lost: list[LostKey] = field(default_factory=list)
    problem: AwsError | None = None
    cut: bool = False


def read(aws: Aws, now: str) -> KeyHistory:
    """The keys that were deleted or switched off in the last 90 days and not switched on since. Two look-ups."""
    found = KeyHistory()
    since = (datetime.fromisoformat(now) - timedelta(days=DAYS)).isoformat()
    home = home_region(aws.stack.partition)
    try:
        seen = aws.parallel(lambda name: list(history(aws, Lookup(home, "EventName", name), since)), _EVENTS)
    except AwsError as error:
        found.problem = error
        return found
    found.cut = any(len(some) >= MAX_PAGES * 50 for some in seen)
    events = [event for some in seen for event in some]
    found.lost = sorted(_lost(events), key=lambda one: one.cause.time, reverse=True)
    return found


def _lost(events: Iterable[Mapping[str, Any]]) -> Iterator[LostKey]:
    """What became of each key, from its events in the order of time."""
    told = [(cause, event) for event in events if (cause := cause_of(event)) is not None]
    keys: dict[str, LostKey] = {}
    told.reverse()  # they came newest first, and those of one second must keep their order
    told.sort(key=lambda one: one[0].time)
    for cause, event in told:
        detail = detail_of(event)
        asked = detail.get("requestParameters") or {}
        asked = {str(k).lower(): v for k, v in asked.items()} if isinstance(asked, Mapping) else {}
        key = str(asked.get("accesskeyid") or "")
        if not key:
            continue
        user = str(asked.get("username") or cause.principal.rpartition("/")[2])
        one = keys.setdefault(key, LostKey(key, user))
        if cause.event == "DeleteAccessKey":
            one.deleted = cause
        else:
            one.off = (one.off or cause) if asked.get("status") == "Inactive" else None
    yield from (one for one in keys.values() if one.off or one.deleted)


def _moment(cause: Cause) -> str:
    return cause.time.replace("T", " ").removesuffix("Z")[:16] + " UTC"


def _who(cause: Cause) -> str:
    return (cause.principal or "an unknown principal") + (" through recon" if cause.ours else "")
