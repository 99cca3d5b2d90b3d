"""What all sandbox services share: the clock, accounts and keys, who calls, and delayed visibility.

The world is one process-wide simulation. Everything is in memory and guarded by one lock (``World.lock``); services
are written as plain single-threaded code that runs while the lock is held.
"""

from __future__ import annotations

import copy
import itertools
import random
import string
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar

DEFAULT_ACCOUNT: Final = "111122223333"
TAGGING: Final = "resourcegroupstaggingapi"
PARTITIONS: Final = {"us-gov-": "aws-us-gov", "cn-": "aws-cn", "eusc-": "aws-eusc"}

T = TypeVar("T")


def partition_of(region: str) -> str:
    """The ARN partition of a region: ``aws``, ``aws-us-gov``, ``aws-cn`` or ``aws-eusc``."""
    return next((name for prefix, name in PARTITIONS.items() if region.startswith(prefix)), "aws")


class Clock:
    """Seconds since the epoch that tests can push forward, never back."""

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> float:
        return time.time() + self.offset

    def advance(self, seconds: float) -> None:
        """Push the clock forward. Raises: ValueError on a negative number."""
        if seconds < 0:
            raise ValueError("the sandbox clock cannot go back")
        self.offset += seconds


def moment(seconds: float) -> datetime:
    """Epoch seconds as a time in UTC, for answers."""
    return datetime.fromtimestamp(seconds, UTC)


@dataclass(slots=True)
class Principal:
    """Who signs with an access key. ``policies`` are IAM documents that limit it; None means it may do anything."""

    account: str
    arn: str
    user_id: str
    expires: float | None = None
    policies: list[Mapping[str, Any]] | None = None
    works_from: float = 0.0


@dataclass(slots=True)
class Settings:
    """How the sandbox can behave differently; all set through ``POST /_sandbox/settings``.

    Seconds are seconds of the sandbox's clock. The ``doubt_`` settings choose between behaviours that AWS does not
    document, so that a tool can be tested against each.
    """

    verification_delay: float = 0.0
    """Seconds from the last needed DNS record to SUCCESS."""
    verification_deadline: float = 72 * 3600.0
    """Seconds after which a pending verification, or one whose records were lost, is FAILED."""
    insync_delay: float = 0.0
    """Seconds a Route 53 change stays PENDING."""
    key_rotation_delay: float = 3600.0
    """Seconds until a new DKIM key length becomes the current one."""
    prior_request_conflicts: bool = False
    """Whether a change to a zone with a change still PENDING is refused with PriorRequestNotComplete."""
    key_delay: float = 0.0
    """Seconds until a new access key is accepted."""
    report_delay: float = 0.0
    """Seconds until a credential report that was asked for can be read."""
    enforce_iam: bool = False
    """Whether keys of IAM users are limited to what the users' policies allow."""
    check_targets: bool = False
    """Whether an SNS topic named by an event destination must exist in the sandbox."""
    production_access: bool = True
    """Whether SES accounts are out of the SES sandbox, where not set per region by a seed."""
    disabled_regions: list[str] = field(default_factory=list)
    """Regions that the accounts have not enabled: their calls fail with UnrecognizedClientException."""
    no_global_tokens: list[str] = field(default_factory=list)
    """Regions that refuse every session: as opt-in regions do with those that STS's global endpoint has made (IAM User
    Guide, "Manage AWS STS in an AWS Region")."""
    doubt_signing_hosted_zone_absent: bool = False
    doubt_new_tokens_with_key_length: bool = False
    doubt_reputation_metrics_default: bool = False
    doubt_feedback_needs_topics: bool = False
    doubt_stale_error_type: bool = False
    """Whether a verified identity still shows the ErrorType of its last failed check."""
    doubt_delivery_options_shown: bool = False
    """Whether DeliveryOptions is returned, with TlsPolicy OPTIONAL, while nothing in it was set. Terraform's acceptance
    tests, which expect an empty plan for a bare set, speak for no."""
    doubt_v1_unknown_identity: str = "omit"
    """``omit``, ``invent`` (NotStarted entries for DKIM and notifications) or ``error``."""

    def update(self, values: Mapping[str, Any]) -> None:
        """Set several at once. Raises: ValueError naming what does not exist or has the wrong type."""
        for name, value in values.items():
            if name not in self.__dataclass_fields__:
                raise ValueError(f"no setting {name!r}; there are {', '.join(self.__dataclass_fields__)}")
            now = getattr(self, name)
            if isinstance(now, float) and isinstance(value, int):
                value = float(value)
            if type(value) is not type(now):
                raise ValueError(f"setting {name!r} must be a {type(now).__name__}, not {value!r}")
            setattr(self, name, value)


class Lagged(Generic[T]):
    """A state whose reads may trail its writes, as in a store that is eventually consistent.

    Before each write the state is copied, if a lag is set. A read then gets the oldest copy that is still inside the
    lag: ``seconds`` since it was replaced, or as long as ``reads`` reads have not been served from it. Readers that
    trail by themselves (the tagging API beside the service) have each a history of their own.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self.current = make()
        self._histories: dict[str, list[tuple[float, int, T]]] = {}

    def writing(self, lags: Mapping[str, Mapping[str, float]], now: float) -> T:
        """The state to write to; ``lags`` are those of its readers, by reader."""
        if lags:
            old = copy.deepcopy(self.current)
            for reader, lag in lags.items():
                self._histories.setdefault(reader, []).append((now, int(lag.get("reads", 0)), old))
        return self.current

    def reading(self, reader: str, lag: Mapping[str, float] | None, now: float) -> T:
        """The state as ``reader`` sees it."""
        history = self._histories.setdefault(reader, [])
        if not lag:
            history.clear()
            return self.current
        if "reads" in lag:
            while history and history[0][1] <= 0:
                history.pop(0)
            if not history:
                return self.current
            replaced, left, state = history[0]
            history[0] = (replaced, left - 1, state)
            return state
        while history and history[0][0] <= now - lag.get("seconds", 0.0):
            history.pop(0)
        return history[0][2] if history else self.current


@dataclass(slots=True)
class Call:
    """One call as a service sees it: who, where, when, and the world around it."""

    world: World
    service: str
    operation: str
    account: str
    region: str
    principal: Principal
    access_key: str
    now: float
    reads_only: bool
    states: dict[tuple[str, str], Any] = field(default_factory=dict)
    """The states this call has looked at: one call sees, and counts as, one read or one write."""

    @property
    def partition(self) -> str:
        return partition_of(self.region)

    def arn(self, service: str, resource: str, region: str | None = None) -> str:
        """``arn:<partition>:<service>:<region>:<account>:<resource>``; region "" for global services."""
        return f"arn:{self.partition}:{service}:{self.region if region is None else region}:{self.account}:{resource}"


class World:
    """The whole simulated AWS: every account, every region."""

    def __init__(self, account: str = DEFAULT_ACCOUNT, seed: int = 0) -> None:
        self.account = account
        self.seed = seed
        self.lock = threading.RLock()
        self.zone_version = 0
        """Counts up with every zone that is created or deleted, for caches."""
        self.reset()

    def reset(self) -> None:
        """Forget all resources, keys, settings and time shifts."""
        self.clock = Clock()
        self.settings = Settings()
        self.random = random.Random(self.seed)
        self.consistency: dict[str, dict[str, float]] = {}
        self.states: dict[tuple[str, str, str], Lagged[Any]] = {}
        self.principals: dict[str, Principal] = {}
        self.dead_keys: set[str] = set()
        self.zone_version += 1
        self._serial = itertools.count(1)

    # --- state -----------------------------------------------------------------------------------------------------

    def state(self, call: Call, service: str, make: Callable[[], T], *, region: str | None = None) -> T:
        """A service's state in the caller's account; the lag set for the service applies to reads.

        ``region`` is "" for global services, else by default the caller's.
        """
        place = call.region if region is None else region
        if (service, place) not in call.states:
            lagged = self._lagged(service, call.account, place, make)
            if call.reads_only:
                seen = lagged.reading(service, self.consistency.get(service), call.now)
            else:
                readers = {r: lag for r in (service, TAGGING) if (lag := self.consistency.get(r))}
                seen = lagged.writing(readers, call.now)
            call.states[service, place] = seen
        found: T = call.states[service, place]
        return found

    def tagged(self, service: str, call: Call, region: str) -> Any:
        """A service's state as the tagging API sees it, which trails by its own lag or else by the service's."""
        lagged = self.states[service, call.account, region]
        reader = TAGGING if TAGGING in self.consistency else service
        return lagged.reading(reader, self.consistency.get(reader), call.now)

    def current(self, service: str, account: str, region: str, make: Callable[[], T]) -> T:
        """A service's state as it is, without any lag."""
        return self._lagged(service, account, region, make).current

    def seen(self, service: str, call: Call, make: Callable[[], T]) -> T:
        """A global service's state as another service sees it, with the lag of its reads."""
        return self._lagged(service, call.account, "", make).reading(service, self.consistency.get(service), call.now)

    def _lagged(self, service: str, account: str, region: str, make: Callable[[], T]) -> Lagged[T]:
        key = (service, account, region)
        if key not in self.states:
            self.states[key] = Lagged(make)
        return self.states[key]

    def each(self, service: str) -> list[tuple[str, str, Any]]:
        """(account, region, state) of every place where a service was used."""
        return [
            (account, region, lagged.current) for (s, account, region), lagged in self.states.items() if s == service
        ]

    # --- who calls -------------------------------------------------------------------------------------------------

    def principal(self, access_key: str) -> Principal | None:
        """Who a key belongs to; None for deleted, inactive, not yet working and expired ones.

        Any key that the sandbox did not make acts as root in the default account, or in the account that it names if
        it is twelve digits.
        """
        if access_key in self.dead_keys:
            return None
        known = self.principals.get(access_key)
        if known is None:
            account = access_key if len(access_key) == 12 and access_key.isdigit() else self.account
            return Principal(account, f"arn:aws:iam::{account}:root", account)
        return known if known.works_from <= self.clock.now() else None

    def token(self, length: int, alphabet: str = string.ascii_uppercase + string.digits) -> str:
        """A random identifier; the same sequence in every run of a world."""
        return "".join(self.random.choices(alphabet, k=length))

    def serial(self) -> int:
        """1, 2, 3 and so on."""
        return next(self._serial)


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags in AWS's list form, by key: AWS promises no order, so ours is not the one they were set in."""
    return [{"Key": key, "Value": tags[key]} for key in sorted(tags)]
