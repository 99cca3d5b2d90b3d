"""Sessions, clients and ``Aws.call``, which sends every AWS request.

boto3 resolves credentials, profiles, roles and endpoints; this module adds rate limits, safe retries, readable errors
and a count of calls.
"""

from __future__ import annotations

import getpass
import logging
import os
import platform
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

from reconciler import activity
from reconciler.aws import answers, sensitive
from reconciler.aws.foreign_errors import GLOBAL_SERVICES, THROTTLED, refuse_parts, translate
from reconciler.aws.limiter import Limiter, Limiters
from reconciler.aws.one_account import OneAccount, know
from reconciler.aws.tls import SharedTls
from reconciler.errors import AwsError, Refused
from reconciler.fair_queue import FairQueue
from reconciler.model import Stack
from reconciler.regions import home_region

T = TypeVar("T")
R = TypeVar("R")

BUSY = frozenset(
    {
        "PriorRequestNotComplete",
        "ConcurrentModificationException",
        "ConcurrentModification",
        "EntityTemporarilyUnmodifiable",
    }
)
"""Refused because another change to the same resource is in progress: retried for up to BUSY_SECONDS."""

BRIEF_CONNECT, BRIEF_READ, BRIEF_ATTEMPTS = 3.0, 4.0, 2
"""Seconds and tries of a call that must not hold up a run: where a region does not answer, at most 8 seconds."""

_LIST_ATTEMPTS = 3
"""How often a list is read from its start: a token of the tagging API is valid for 15 minutes (GetResources)."""

BUSY_SECONDS = 120.0
"""A change to a zone usually takes up to a minute (Route 53 API, GetChange); after twice that something is wrong."""

RETRIED = frozenset(
    {
        "ServiceFailure",
        "InternalFailure",
        "InternalServiceError",
        "InternalServerError",
        "ServiceUnavailable",
        "RequestTimeout",
        "RequestTimeoutException",
    }
)
"""Transient errors of the service: retried with backoff."""

_LIMIT_OF = {"ses": "ses", "sesv2": "ses", "resourcegroupstaggingapi": "tagging"}

log = logging.getLogger("recon.aws")


class Aws:
    """All clients of one run, for the stack's account and, where given, the account that holds its zones.

    Args:
        stack: the stack, with the roles to assume; ``purpose`` selects ``role_arn.plan`` or ``role_arn.apply``.
        parallelism: how many calls may be in flight at once, over all services.
        max_attempts: attempts of one call for transient errors. Throttled attempts do not count as failures; they are
            limited to ``throttle_patience`` seconds instead.
    """

    def __init__(
        self,
        stack: Stack,
        *,
        purpose: str = "plan",
        parallelism: int = 16,
        max_attempts: int = 6,
        throttle_patience: float = 300.0,
    ) -> None:
        self.stack = stack
        self.parallelism = parallelism
        self.on_wait: Callable[[str], None] = lambda message: None
        """Gets a message when a call waits: why, and for how long at most; called from several threads."""
        self.calls: Counter[str] = Counter()
        self.throttled: Counter[str] = Counter()
        self._role = stack.plan_role_arn if purpose == "plan" else stack.apply_role_arn
        self._max_attempts = max_attempts
        self._patience = throttle_patience
        self._limiters = Limiters()
        self._clients: dict[tuple[str, str, bool, bool], Any] = {}
        self._sessions: dict[tuple[str, ...], Any] = {}
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._tls = SharedTls()
        self._account_regions: Mapping[str, str] | None = None
        self._accounts: dict[bool, str] = {}

    # -- clients ----------------------------------------------------------------------------------------------------

    def _session(self, *roles: str) -> Any:
        """A session with the last of ``roles``, each assumed from the one before; without roles, boto3's default."""
        if roles not in self._sessions:
            import boto3

            self._sessions[roles] = (
                _assume(self._session(*roles[:-1]), roles[-1], self.stack.regions[0] if self.stack.regions else None)
                if roles
                else boto3.session.Session()
            )
            if not roles:
                resolver = self._sessions[roles]._session.get_component("credential_provider")
                resolver.get_provider("assume-role")._prompter = _mfa_code
        return self._sessions[roles]

    def _roles(self, dns: bool) -> tuple[str, ...]:
        """The roles to assume for the stack's account, or for the account of its zones: there the stack's own role
        assumes the DNS role, so that only the stack's role needs to trust whoever runs recon."""
        chain = (self._role, self.stack.dns_role_arn if dns else None)
        return tuple(dict.fromkeys(role for role in chain if role))

    def _client(self, service: str, region: str, dns: bool, brief: bool = False) -> Any:
        key = (service, region, dns, brief)
        client = self._clients.get(key)
        if client is not None:
            return client
        # Creating clients from one boto3 session is not thread-safe.
        with self._lock:
            if key in self._clients:
                return self._clients[key]
            from botocore.config import Config

            roles = self._roles(dns)
            config = Config(
                retries={"mode": "standard", "total_max_attempts": 1},
                connect_timeout=BRIEF_CONNECT if brief else 10,
                read_timeout=BRIEF_READ if brief else 60,
                max_pool_connections=max(10, self.parallelism),
                user_agent=_user_agent(),
            )
            try:
                session = self._session(*roles)
                self._keep_to_account(session, dns and bool(self.stack.dns_role_arn))
                client = session.client(service, region_name=region, config=config)
                self._tls.share(client)
            except Exception as problem:  # any library below botocore may raise anything
                raise self._translated(problem, service, "", region) from None
            self._clients[key] = client
            return client

    def _translated(self, problem: Exception, service: str, operation: str, region: str) -> AwsError:
        """Our error for what boto raised. A library may repeat the credentials in use: they are masked from now on."""
        sessions = list(self._sessions.values())
        for session in sessions:
            sensitive.remember_credentials(session)
        profile = next((str(one._session.profile or "") for one in sessions), os.environ.get("AWS_PROFILE", ""))
        return translate(problem, service, operation, region, profile)

    def _keep_to_account(self, session: Any, dns: bool) -> None:
        """Have nothing signed for another account than the stack's, or that of its zones, as far as it is known."""
        core = session._session
        credentials, account = core.get_credentials(), self.stack.dns_account if dns else self.stack.account
        if credentials is not None and account and not isinstance(credentials, OneAccount):
            core._credentials = OneAccount(credentials, account, lambda: self._ask_account(dns))

    def _ask_account(self, dns: bool) -> str:
        return str(self.call("sts", "GetCallerIdentity", dns=dns)["Account"])

    def account_regions(self) -> Mapping[str, str]:
        """Region -> whether the account has it: ENABLED, ENABLED_BY_DEFAULT, DISABLED, ENABLING or DISABLING (Account
        Management API, ListRegions). Asked once. Raises AwsError."""
        if self._account_regions is None:
            rows = self.pages("account", "ListRegions", "Regions", MaxResults=50)
            self._account_regions = {row["RegionName"]: row["RegionOptStatus"] for row in rows}
        return self._account_regions

    @property
    def has_long_lived_key(self) -> bool:
        """Whether the credentials are an access key of a user, which every region takes that the account has enabled;
        not a session, whose token regions may refuse for its own sake."""
        credentials = self._client("sts", self.home_region, False)._request_signer._credentials
        return credentials is not None and not credentials.get_frozen_credentials().token

    def account(self, *, dns: bool = False) -> str:
        """The account of the credentials, with ``dns`` of those for the zones (sts GetCallerIdentity; needs no
        permission). Asked once; credentials that are renewed later sign for no other."""
        if dns not in self._accounts:
            credentials = self._client("sts", self.home_region, dns)._request_signer._credentials
            if isinstance(credentials, OneAccount):
                self._accounts[dns] = credentials.learn(lambda: self._ask_account(dns))
            else:
                key = credentials.get_frozen_credentials().access_key if credentials is not None else ""
                self._accounts[dns] = self._ask_account(dns)
                if key and credentials.get_frozen_credentials().access_key == key:
                    know(key, self._accounts[dns])
        return self._accounts[dns]

    def keep_to_own_account(self) -> str:
        """Take the account of the credentials for the stack's, where nothing names one: from now on nothing is signed
        for another. Returns it; raises AwsError."""
        self.stack = replace(self.stack, account=self.account())
        return self.stack.account

    # -- calls ------------------------------------------------------------------------------------------------------

    def call(
        self,
        service: str,
        operation: str,
        region: str | None = None,
        *,
        dns: bool = False,
        retry: bool = True,
        brief: bool = False,
        **parameters: Any,
    ) -> dict[str, Any]:
        """Make one API call within the rate limit, retried where that is safe; returns the parsed response.

        ``brief`` gives up soon where there is no answer: BRIEF_ATTEMPTS tries of a few seconds each.
        ``retry=False`` sends the request only once: for calls that create something new each time (CreateAccessKey).
        Parameters are never logged: they may contain secrets. Those that AWS's service model calls sensitive are masked
        in every message from now on, and so are the secrets in the response.

        Raises AwsError with AWS's code (or ``Unreachable``/``Timeout``), ReconError without credentials.
        """
        region = region or self.home_region
        client = self._client(service, region, dns, brief)
        method = getattr(client, _method_name(client, operation))
        model = client.meta.service_model.operation_model(operation)
        sensitive.remember_in(model.input_shape, parameters)
        limit_region = "global" if service in GLOBAL_SERVICES else region
        limit = _LIMIT_OF.get(service, service)
        limiter = self._limiters.get("dns" if dns else "main", limit, limit_region)
        attempts = min(BRIEF_ATTEMPTS, self._max_attempts) if brief else self._max_attempts
        retries = _Retries(self, limiter, enabled=retry, attempts=attempts)
        slow = limiter.slow if limiter else lambda: None
        with activity.calling(activity.Call(operation, region, limit, slow)):
            place = service, operation, region
            response = self._until_answered(lambda: method(**parameters), place, limiter, retries)
        if service in sensitive.SECRET_SERVICES:
            sensitive.remember_in(model.output_shape, response)
        return answers.validated(response, model.output_shape, (service, operation, region))

    def _until_answered(
        self,
        send: Callable[[], dict[str, Any]],
        place: tuple[str, str, str],
        limiter: Limiter | None,
        retries: _Retries,
    ) -> dict[str, Any]:
        """The response to a request, sent again as often as that is safe. Raises AwsError, or Refused."""
        service, operation, region = place
        while True:
            epoch = limiter.acquire() if limiter else 0
            with self._lock:
                self.calls[f"{service}:{operation}"] += 1
            try:
                response = send()
                refuse_parts(response, operation)
            except Refused:  # of OneAccount
                raise
            except Exception as problem:  # any library below botocore may raise anything
                error = self._translated(problem, service, operation, region)
                delay = retries.delay(error, epoch)
                if delay is None:
                    raise error from None
                time.sleep(delay)
                continue
            if limiter:
                limiter.served(service)
            response.pop("ResponseMetadata", None)
            return response

    def call_if_there(
        self, service: str, operation: str, region: str | None = None, **parameters: Any
    ) -> dict[str, Any] | None:
        """Like ``call``, but None if AWS says that the resource does not exist (``AwsError.absent``).

        Every other error is raised: a resource that could not be read is never taken for missing."""
        try:
            return self.call(service, operation, region, **parameters)
        except AwsError as error:
            if error.absent:
                return None
            raise

    def pages(
        self,
        service: str,
        operation: str,
        key: str,
        region: str | None = None,
        *,
        token_in: str = "NextToken",
        token_out: str | None = None,
        dns: bool = False,
        brief: bool = False,
        **parameters: Any,
    ) -> Iterator[Any]:
        """Yield the items under ``key`` of every page. botocore has no paginator for most SESv2 lists, and an empty
        page may still have a token. If a token has expired, the list is read again from its start, so that items may
        come twice (Resource Groups Tagging API, PaginationTokenExpiredException)."""
        token: str | None = None
        attempts = _LIST_ATTEMPTS
        with activity.working(activity.thing(operation)) as work:
            while True:
                position: dict[str, Any] = {token_in: token} if token else {}
                try:
                    page = self.call(service, operation, region, dns=dns, brief=brief, **parameters, **position)
                except AwsError as error:
                    attempts -= 1
                    if error.aws_code != "PaginationTokenExpiredException" or not token or not attempts:
                        raise
                    token = None
                    continue
                items = page.get(key) or ()
                work.count(region or "", len(items))
                yield from items
                token = page.get(token_out or token_in)
                if not token:
                    return

    def parallel(
        self,
        work: Callable[[T], R],
        items: Iterable[T],
        limit_of: Callable[[T], Hashable] = lambda item: None,
        about: str = "",
    ) -> list[R]:
        """Run ``work`` for every item in parallel; the results are in the order of the items.

        ``limit_of`` returns the rate limit (a region) of an item: the workers are shared among the limits, so that none
        waits for another. ``about`` says what an item is where no call of AWS does. After an error of ``work``, items
        in progress finish, no more are started, and the error is raised."""
        pending = list(items)
        if len(pending) <= 1:
            return [work(item) for item in pending]
        results: dict[int, R] = {}
        queue = FairQueue[int](lambda number: limit_of(pending[number]), range(len(pending)))
        lock = threading.Lock()
        finished = threading.Event()
        places = [place if isinstance(place := limit_of(item), str) else "" for item in pending]

        def worker() -> None:
            # Each thread takes items until none is left: ten thousand futures would cost more.
            try:
                with activity.part_of(shown):
                    while not finished.is_set():
                        with lock:
                            number = queue.get()
                        if number is None:
                            return
                        results[number] = work(pending[number])
                        with lock:
                            queue.task_done(number)
                            shown.count(places[number])
            finally:
                finished.set()  # after an error the other workers stop; at the end nothing is left for them

        threads = min(self.parallelism, len(pending))
        with activity.working(about, places) as shown, ThreadPoolExecutor(max_workers=threads) as pool:
            try:
                for future in [pool.submit(worker) for _ in range(threads)]:
                    future.result()
            finally:
                finished.set()
        return [results[number] for number in range(len(pending))]

    def stop(self) -> None:
        """Let calls in flight end, but retry none (Ctrl-C)."""
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        """Whether ``stop`` was called."""
        return self._stopping.is_set()

    @property
    def home_region(self) -> str:
        """The region of calls that name none: IAM, STS, Route 53, and the backend's bucket."""
        partition, regions = self.stack.partition, self.stack.regions
        if partition == "aws-us-gov" or not regions:  # GovCloud serves global APIs from its one home region
            return home_region(partition)
        return regions[0]

    def count_throttled(self, error: AwsError) -> None:
        """Count a throttled attempt of a call."""
        with self._lock:
            self.throttled[f"{error.service}:{error.operation}"] += 1


class _Retries:
    """Decides for one call whether, and after how many seconds, a failed attempt is repeated."""

    def __init__(self, aws: Aws, limiter: Limiter | None, *, enabled: bool, attempts: int) -> None:
        self._aws = aws
        self._attempts = attempts
        self._limiter = limiter
        self._enabled = enabled
        self._throttled_until = time.monotonic() + aws._patience
        self._busy_until = 0.0
        self._busy_pause = 0.2
        self._failures = 0

    def delay(self, error: AwsError, epoch: int) -> float | None:
        """Seconds until the next attempt, or None if ``error`` is to be raised. ``epoch`` is the limiter's."""
        if error.aws_code in THROTTLED:
            self._aws.count_throttled(error)
            if self._limiter:
                self._limiter.throttled(epoch)
            return self._after_throttling()
        if self._limiter and error.status:
            self._limiter.served(error.service)
        if not self._enabled:
            return None
        return self._while_busy(error) if error.aws_code in BUSY else self._after_failure(error)

    def _after_throttling(self) -> float | None:
        if not self._enabled or self._aws.stopping or time.monotonic() >= self._throttled_until:
            return None
        if self._limiter:
            return 0.0  # the limiter waits
        self._failures += 1
        return _backoff(0.05, self._failures)

    def _while_busy(self, error: AwsError) -> float | None:
        self._busy_until = self._busy_until or time.monotonic() + BUSY_SECONDS
        pause = self._busy_pause
        if time.monotonic() + pause > self._busy_until:
            error.hint = f"the same after {BUSY_SECONDS:.0f} seconds: find out who else changes it, then apply again"
            return None
        if self._aws.stopping:
            return None
        self._aws.on_wait(
            f"{error.service} {error.operation}: {error.aws_code}, waiting up to {BUSY_SECONDS:.0f} seconds"
        )
        self._busy_pause = min(pause * 1.7, 5.0)
        return pause * (0.8 + random.random() / 5)

    def _after_failure(self, error: AwsError) -> float | None:
        transient = error.aws_code in RETRIED or error.status in {0, 500, 502, 503, 504}
        self._failures += 1
        if not transient or self._failures >= self._attempts or self._aws.stopping:
            return None
        log.debug("%s %s in %s: %s; retrying", error.service, error.operation, error.region, error.aws_code)
        return _backoff(0.1, self._failures)


def _backoff(first: float, failures: int) -> float:
    """Seconds to wait after so many failures: exponential, at most 5, with jitter."""
    seconds: float = min(first * 2**failures, 5.0)
    return seconds * (0.5 + random.random() / 2)


@cache
def _user_agent() -> str:
    """The user agent that CloudTrail shows, in the form of AWS's SDKs. Set here because botocore would build its own
    twice for every request, which takes a quarter of a call's CPU time."""
    import boto3  # boto3 appends the version of botocore

    return f"Boto3/{boto3.__version__} lang/python#{platform.python_version()} app/recon"


def _method_name(client: Any, operation: str) -> str:
    mapping: dict[str, str] = client.meta.method_to_api_mapping
    cached: dict[str, str] = client.__dict__.setdefault("_recon_methods", {})
    if not cached:
        cached.update({api: method for method, api in mapping.items()})
    return cached[operation]


def _mfa_code(prompt: str) -> str:
    """Ask for the code of an MFA device. Raises EOFError without a terminal, where getpass would read anything."""
    if not sys.stdin.isatty():
        raise EOFError("there is no terminal")
    with activity.asking():
        return getpass.getpass(prompt)


def _assume(base: Any, role: str, region: str | None) -> Any:
    """A session with a role, which botocore refreshes before its hour ends. Raises boto's NoCredentialsError without
    credentials to assume the role with."""
    import boto3
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
    from botocore.exceptions import NoCredentialsError
    from botocore.session import get_session

    core = base._session
    source = core.get_credentials()
    if source is None:
        raise NoCredentialsError
    fetcher = AssumeRoleCredentialFetcher(
        client_creator=lambda name, **kw: core.create_client(name, **{"region_name": region, **kw}),
        source_credentials=source,
        role_arn=role,
        extra_args={"RoleSessionName": "recon"},
    )
    session = get_session()
    session._credentials = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
    if region:
        session.set_config_variable("region", region)
    return boto3.session.Session(botocore_session=session)
