"""Faults on purpose, the rates of AWS, and the record of every call."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from reconciler.sandbox.protocol import ApiError

DEEDS: Final = ("throttle", "denied", "error", "partial", "reset", "lost", "delay")

THROTTLE: Final = {
    "sesv2": ("TooManyRequestsException", 429),
    "ses": ("Throttling", 400),
    "route53": ("Throttling", 400),
    "iam": ("Throttling", 400),
    "sts": ("Throttling", 400),
    "cloudwatch": ("Throttling", 400),
    "resourcegroupstaggingapi": ("ThrottledException", 400),
    "s3": ("SlowDown", 503),
}
DENIED: Final = {"sesv2": "AccessDeniedException", "s3": "AccessDenied", "iam": "AccessDenied", "sts": "AccessDenied",
                 "ses": "AccessDenied", "route53": "AccessDenied", "sns": "AuthorizationError",
                 "cloudwatch": "AccessDenied"}  # fmt: skip


def throttled(service: str) -> ApiError:
    """The service's own throttling error. Source: aws-doc "Error handling" pages and the service models."""
    code, status = THROTTLE.get(service, ("ThrottlingException", 400))
    return ApiError(code, "Rate exceeded" if service == "route53" else "Rate exceeded.", status)


def denied(service: str, action: str, arn: str, resource: str) -> ApiError:
    """The service's own access-denied error, in IAM's wording."""
    return ApiError(
        DENIED.get(service, "AccessDeniedException"),
        f"User: {arn} is not authorized to perform: {action} on resource: {resource} because no identity-based policy "
        f"allows the {action} action",
        403,
    )


JSON_SERVICES: Final = frozenset(
    {"sesv2", "secretsmanager", "ssm", "kms", "resourcegroupstaggingapi", "cloudtrail", "account"}
)


def invalid_token(service: str) -> ApiError:
    """The answer to a key that is unknown, inactive, deleted, or not valid in this region."""
    code = "UnrecognizedClientException" if service in JSON_SERVICES else "InvalidClientTokenId"
    if service == "s3":
        code = "InvalidAccessKeyId"
    return ApiError(code, "The security token included in the request is invalid.", 403)


def expired_token(service: str) -> ApiError:
    """The answer to a session whose time is over."""
    code = "ExpiredTokenException" if service in JSON_SERVICES else "ExpiredToken"
    return ApiError(code, "The security token included in the request is expired", 403)


@dataclass(slots=True)
class Fault:
    """One rule. ``service``, ``operation``, ``region`` and ``account`` are globs over the call's own.

    ``contains`` must be found in the call's parameters as text. Of the calls that match, the first ``skip`` go
    through, the next ``count`` are hit (None: all). ``do`` is one of:

    - ``throttle``: the service's throttling error
    - ``denied``: the service's access-denied error
    - ``error``: ``code``, ``message`` and ``status``
    - ``partial``: a batch is answered with 200 and ``code`` and ``message`` for one of its parts, and nothing is done
    - ``reset``: the connection is reset before anything is done
    - ``lost``: the call is carried out, but its answer never arrives
    - ``delay``: the call waits ``seconds`` first
    """

    do: str
    service: str = "*"
    operation: str = "*"
    region: str = "*"
    account: str = "*"
    contains: str = ""
    skip: int = 0
    count: int | None = 1
    code: str = "InternalFailure"
    message: str = "injected by the sandbox"
    status: int = 400
    seconds: float = 0.0
    seen: int = 0

    @classmethod
    def parse(cls, rule: Mapping[str, Any]) -> Fault:
        """A rule from JSON. Raises: ValueError naming an unknown key or deed."""
        known = set(cls.__dataclass_fields__) - {"seen"}
        if unknown := set(rule) - known:
            raise ValueError(f"a fault has no {sorted(unknown)}; it has {sorted(known)}")
        if rule.get("do") not in DEEDS:
            raise ValueError(f'a fault\'s "do" must be one of {", ".join(DEEDS)}, not {rule.get("do")!r}')
        return cls(**rule)

    def hits(self, service: str, operation: str, region: str, account: str, text: str) -> bool:
        """Whether this rule acts on the call; counts the calls that match."""
        if not (
            fnmatchcase(service, self.service)
            and fnmatchcase(operation, self.operation)
            and fnmatchcase(region, self.region)
            and fnmatchcase(account, self.account)
            and self.contains in text
        ):
            return False
        self.seen += 1
        return self.seen > self.skip and (self.count is None or self.seen <= self.skip + self.count)


TOLERANCE: Final = 0.1
"""Tokens a bucket may fall short by, so that a caller who keeps to the rate is not thrown by a late millisecond."""


@dataclass(slots=True)
class TokenBucket:
    """A token bucket: ``rate`` calls a second, at most ``burst`` at once."""

    rate: float
    burst: float
    tokens: float = field(init=False)
    filled: float | None = None

    def __post_init__(self) -> None:
        self.tokens = self.burst

    def take(self, now: float) -> bool:
        """Whether a call at ``now`` (seconds, any origin) is inside the rate."""
        if self.filled is not None:
            self.tokens = min(self.burst, self.tokens + (now - self.filled) * self.rate)
        self.filled = now
        if self.tokens < 1 - TOLERANCE:
            return False
        self.tokens -= 1
        return True


AWS_RATES: Final[dict[str, Any]] = {
    "ses": 1.0,
    "route53": 5.0,
    "cloudtrail": 2.0,
    "resourcegroupstaggingapi": 15.0,
}
"""The documented rates (SES "Service quotas", Route 53 "Quotas", CloudTrail LookupEvents); v1 and v2 of SES share one
bucket, the strictest reading. Sending is not limited. IAM's rates are not published."""

GLOBAL: Final = frozenset({"route53", "iam", "sts", "account"})
UNLIMITED: Final = frozenset({"SendEmail", "SendBulkEmail", "SendRawEmail", "SendTemplatedEmail"})


class Rates:
    """Limits per service: calls a second per account and region, or per account where the service is global.

    A limit is a number, or ``{"rate": 1.0, "burst": 1, "per": "service" | "action"}``. ``ses`` covers both versions
    of SES with one bucket unless ``sesv2`` has a limit of its own. ``ses/eu-west-1`` is a limit of that region alone.
    """

    def __init__(self) -> None:
        self.limits: dict[str, Any] = {}
        self.time_scale = 1.0
        self._buckets: dict[tuple[str, ...], TokenBucket] = {}

    def set(self, limits: Mapping[str, Any] | str | None, time_scale: float = 1.0) -> None:
        """Replace all limits; ``"aws"`` for the documented ones, None for none. ``time_scale`` 10 makes the seconds
        of the limits ten times shorter. Raises: ValueError."""
        if isinstance(limits, str):
            if limits not in ("aws", "off"):
                raise ValueError(f'rates are "aws", "off" or a mapping, not {limits!r}')
            limits = AWS_RATES if limits == "aws" else {}
        for name, limit in (limits or {}).items():
            rate = limit.get("rate") if isinstance(limit, Mapping) else limit
            if rate is not None and (not isinstance(rate, int | float) or rate <= 0):
                raise ValueError(f"the rate of {name!r} must be calls a second above 0, not {limit!r}")
        self.limits = {name: limit for name, limit in (limits or {}).items() if limit is not None}
        self.time_scale = time_scale
        self._buckets = {}

    def allows(self, service: str, operation: str, account: str, region: str, now: float) -> bool:
        """Whether the call is inside its limit, if there is one; ``now`` is real time in seconds."""
        name = "ses" if service == "sesv2" and "sesv2" not in self.limits else service
        limit = self.limits.get(f"{name}/{region}", self.limits.get(name))
        if limit is None or operation in UNLIMITED:
            return True
        options = limit if isinstance(limit, Mapping) else {"rate": limit}
        rate = float(options["rate"])
        key: tuple[str, ...] = (name, account, "" if service in GLOBAL else region)
        if options.get("per") == "action":
            key = (*key, operation)
        if key not in self._buckets:
            self._buckets[key] = TokenBucket(rate, float(options.get("burst", max(1.0, rate))))
        return self._buckets[key].take(now * self.time_scale)


class Ledger:
    """Every call in order, newest last; the oldest fall off after ``limit``."""

    def __init__(self, limit: int = 200_000) -> None:
        self.entries: deque[dict[str, Any]] = deque(maxlen=limit)

    def add(self, entry: dict[str, Any]) -> None:
        """Note a call; its outcome may still be filled in."""
        self.entries.append(entry)

    def select(self, **match: str) -> list[dict[str, Any]]:
        """The calls whose fields fit all globs, such as ``service="sesv2", operation="Put*"``."""
        return [e for e in list(self.entries) if all(fnmatchcase(str(e.get(k)), v) for k, v in match.items())]
