"""Sessions, clients and the one ``call`` through which every AWS request goes.

boto3 resolves credentials, profiles, roles and endpoints; this module adds what recon promises: a pace per limit,
retries that know which answers may be repeated, errors for people, and a count of calls.
"""

from __future__ import annotations

import logging
import platform
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, TypeVar

from reconciler.aws import answers
from reconciler.aws.actions import iam_action
from reconciler.aws.limiter import Limiters
from reconciler.errors import DENIED, NOT_ENABLED, AwsError, ReconError
from reconciler.fair_queue import FairQueue
from reconciler.model import Stack

T = TypeVar("T")
R = TypeVar("R")

THROTTLED = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "SlowDown",
        "RequestThrottled",
        "TooManyUpdates",
    }
)
"""Refused for speed: waits for the limiter and is tried again. LimitExceeded is a quota and is not in this set."""

BUSY = frozenset(
    {
        "PriorRequestNotComplete",
        "ConcurrentModificationException",
        "ConcurrentModification",
        "EntityTemporarilyUnmodifiable",
    }
)
"""Refused because another change to the same thing is still under way: waited out, up to BUSY_SECONDS."""

_STARTS = 3
"""How often a list is read from its start: a token of the tagging API is good for 15 minutes (GetResources)."""

BUSY_SECONDS = 120.0
"""A change to a zone takes up to a minute as a rule (Route 53 API, GetChange); twice that, and something is wrong."""

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
"""Passing states of the service: tried again with backoff."""

EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})

_LIMIT_OF = {"ses": "ses", "sesv2": "ses", "resourcegroupstaggingapi": "tagging"}
_GLOBAL = frozenset({"iam", "route53"})

log = logging.getLogger("recon.aws")


class Aws:
    """All clients of one run, for the stack's account and, where given, the account that holds its zones.

    Args:
        stack: whose roles are assumed; ``purpose`` picks ``role_arn.plan`` or ``role_arn.apply``.
        parallelism: how many calls may be under way at once over all services.
        max_attempts: tries of one call for passing errors; throttled tries are bounded by ``throttle_patience``
            seconds instead, since waiting for one's turn is not failing.
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
        self.on_wait: Callable[[str], None] = lambda words: None
        """Hears why a call waits, and up to how long; called from several threads."""
        self.calls: Counter[str] = Counter()
        self.throttled: Counter[str] = Counter()
        self._role = stack.plan_role_arn if purpose == "plan" else stack.apply_role_arn
        self._max_attempts = max_attempts
        self._patience = throttle_patience
        self._limiters = Limiters()
        self._clients: dict[tuple[str, str, bool], Any] = {}
        self._sessions: dict[tuple[str, ...], Any] = {}
        self._lock = threading.RLock()
        self._stopping = threading.Event()

    # -- clients ----------------------------------------------------------------------------------------------------

    def _session(self, *roles: str) -> Any:
        """A session of the last of ``roles``, each taken on from the one before; without any, what boto3 finds."""
        if roles not in self._sessions:
            import boto3

            self._sessions[roles] = (
                _assume(self._session(*roles[:-1]), roles[-1], self.stack.regions[0] if self.stack.regions else None)
                if roles
                else boto3.session.Session()
            )
        return self._sessions[roles]

    def _roles(self, dns: bool) -> tuple[str, ...]:
        """The roles on the way to the stack's account, or to that of its zones: there the stack's own role takes the
        DNS role on, so that whoever runs recon needs to be trusted by the stack's role alone."""
        chain = (self._role, self.stack.dns_role_arn if dns else None)
        return tuple(dict.fromkeys(role for role in chain if role))

    def _client(self, service: str, region: str, dns: bool) -> Any:
        key = (service, region, dns)
        client = self._clients.get(key)
        if client is not None:
            return client
        # boto3 sessions are not safe to make clients from in several threads at once.
        with self._lock:
            if key in self._clients:
                return self._clients[key]
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError, ClientError

            roles = self._roles(dns)
            config = Config(
                retries={"mode": "standard", "total_max_attempts": 1},
                connect_timeout=10,
                read_timeout=60,
                max_pool_connections=max(10, self.parallelism),
                user_agent=_user_agent(),
            )
            try:
                client = self._session(*roles).client(service, region_name=region, config=config)
            except (BotoCoreError, ClientError) as problem:
                raise _translate(problem, service, "AssumeRole" if roles else "client", region) from None
            self._clients[key] = client
            return client

    def account(self) -> str:
        """The account that the credentials speak for (sts GetCallerIdentity; needs no permission)."""
        return str(self.call("sts", "GetCallerIdentity")["Account"])

    def dns_account(self) -> str:
        """The account that the zone credentials speak for."""
        return str(self.call("sts", "GetCallerIdentity", dns=True)["Account"])

    # -- calls ------------------------------------------------------------------------------------------------------

    def call(
        self,
        service: str,
        operation: str,
        region: str | None = None,
        *,
        dns: bool = False,
        retry: bool = True,
        **parameters: Any,
    ) -> dict[str, Any]:
        """Make one API call, paced, and repeated where that is safe; returns the parsed answer.

        ``retry=False`` sends the request once, whatever happens: for calls whose every repetition makes something
        new (CreateAccessKey). Parameters are never logged: they may hold secrets.

        Raises AwsError with AWS's code (or ``Unreachable``/``Timeout``), ReconError when there are no credentials.
        """
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        place = region or self._home_region()
        client = self._client(service, place, dns)
        method = getattr(client, _method_name(client, operation))
        limit = _LIMIT_OF.get(service, service)
        where = "global" if service in _GLOBAL else place
        limiter = self._limiters.get("dns" if dns else "main", limit, where)
        deadline = time.monotonic() + self._patience
        failures = 0
        busy_until, pause = 0.0, 0.2
        while True:
            epoch = limiter.acquire() if limiter else 0
            with self._lock:
                self.calls[f"{service}:{operation}"] += 1
            try:
                answer: dict[str, Any] = method(**parameters)
            except (ClientError, BotoCoreError, ResponseParserError) as problem:
                error = _translate(problem, service, operation, place)
                if error.aws_code in THROTTLED:
                    with self._lock:
                        self.throttled[f"{service}:{operation}"] += 1
                    if limiter:
                        limiter.throttled(epoch)
                    if retry and time.monotonic() < deadline and not self._stopping.is_set():
                        if not limiter:
                            failures += 1
                            time.sleep(min(0.05 * 2**failures, 5.0) * (0.5 + random.random() / 2))
                        continue
                    raise error from None
                if limiter and error.status:
                    limiter.served()
                if error.aws_code in BUSY and retry:
                    busy_until = busy_until or time.monotonic() + BUSY_SECONDS
                    if time.monotonic() + pause > busy_until:
                        error.hint = (
                            f"it was still so after {BUSY_SECONDS:.0f} seconds: see who changes it, apply again"
                        )
                    if time.monotonic() + pause > busy_until or self._stopping.is_set():
                        raise error from None
                    self.on_wait(f"{service} {operation}: {error.aws_code}, waiting up to {BUSY_SECONDS:.0f} seconds")
                    time.sleep(pause * (0.8 + random.random() / 5))
                    pause = min(pause * 1.7, 5.0)
                    continue
                passing = error.aws_code in RETRIED or error.status in {500, 502, 503, 504} or error.status == 0
                failures += 1
                if not (retry and passing and failures < self._max_attempts) or self._stopping.is_set():
                    raise error from None
                log.debug("%s %s in %s: %s; trying again", service, operation, place, error.aws_code)
                time.sleep(min(0.1 * 2**failures, 5.0) * (0.5 + random.random() / 2))
                continue
            if limiter:
                limiter.served()
            answer.pop("ResponseMetadata", None)
            shape = client.meta.service_model.operation_model(operation).output_shape
            return answers.understood(answer, shape, (service, operation, place))

    def call_if_there(
        self, service: str, operation: str, region: str | None = None, **parameters: Any
    ) -> dict[str, Any] | None:
        """As ``call``, and None where AWS says that what is read or deleted does not exist (``AwsError.absent``).

        Every other error is raised: could-not-read is never does-not-exist."""
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
        **parameters: Any,
    ) -> Iterator[Any]:
        """Yield the items under ``key`` of every page, following the token by hand: botocore has no paginator for
        most SESv2 lists, and an empty page may still carry a token. Where a token has expired the list is read again
        from its start, so that items may come twice (Resource Groups Tagging API, PaginationTokenExpiredException)."""
        token: str | None = None
        again = _STARTS
        while True:
            more: dict[str, Any] = {token_in: token} if token else {}
            try:
                answer = self.call(service, operation, region, dns=dns, **parameters, **more)
            except AwsError as error:
                again -= 1
                if error.aws_code != "PaginationTokenExpiredException" or not token or not again:
                    raise
                token = None
                continue
            yield from answer.get(key) or ()
            token = answer.get(token_out or token_in)
            if not token:
                return

    def parallel(
        self, work: Callable[[T], R], items: Iterable[T], lane: Callable[[T], Hashable] = lambda item: None
    ) -> list[R]:
        """Run ``work`` for every item side by side, results in the order of the items.

        ``lane`` says which items stand under the same limit of AWS (a region): the workers are shared out among the
        lanes, so that none waits for another. An error that ``work`` raises ends it: items under way end, no other is
        begun, and the error is raised."""
        todo = list(items)
        if len(todo) <= 1:
            return [work(item) for item in todo]
        results: dict[int, R] = {}
        lanes = FairQueue[int](lambda number: lane(todo[number]), range(len(todo)))
        lock = threading.Lock()
        over = threading.Event()

        def worker() -> None:
            # Each thread takes the next item until none is left: a future for each of ten thousand costs more.
            try:
                while not over.is_set():
                    with lock:
                        number = lanes.take()
                    if number is None:
                        return
                    results[number] = work(todo[number])
                    with lock:
                        lanes.done(number)
            finally:
                over.set()  # after an error nobody takes another; at the end there is none

        threads = min(self.parallelism, len(todo))
        with ThreadPoolExecutor(max_workers=threads) as pool:
            try:
                for done in [pool.submit(worker) for _ in range(threads)]:
                    done.result()
            finally:
                over.set()
        return [results[number] for number in range(len(todo))]

    def stop(self) -> None:
        """Let calls in flight end, but repeat none (Ctrl-C)."""
        self._stopping.set()

    def _home_region(self) -> str:
        if self.stack.partition == "aws-us-gov":
            return "us-gov-west-1"
        return self.stack.regions[0] if self.stack.regions else "us-east-1"


@cache
def _user_agent() -> str:
    """Who calls, as CloudTrail shows it, in the form of AWS's SDKs. Given whole: botocore would put its own together
    twice at every request, which is a quarter of the CPU of a call."""
    import boto3  # which adds the version of botocore at the end

    return f"Boto3/{boto3.__version__} lang/python#{platform.python_version()} app/recon"


def _method_name(client: Any, operation: str) -> str:
    mapping: dict[str, str] = client.meta.method_to_api_mapping
    cached: dict[str, str] = client.__dict__.setdefault("_recon_methods", {})
    if not cached:
        cached.update({api: method for method, api in mapping.items()})
    return cached[operation]


def _assume(base: Any, role: str, region: str | None) -> Any:
    """A session of a role, refreshed by botocore itself before its hour ends. Raises boto's NoCredentialsError where
    there is nobody to take the role on."""
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


def _translate(problem: Exception, service: str, operation: str, region: str) -> AwsError:
    """Our error for boto's: who refused what, in AWS's words, and what to do."""
    from botocore import exceptions as boto

    name = f"{service} {operation}" + (f" in {region}" if service not in _GLOBAL else "")
    made = partial(AwsError, service=service, operation=operation, region=region)
    if isinstance(problem, boto.ClientError):
        error = problem.response.get("Error", {})
        meta = problem.response.get("ResponseMetadata", {})
        code = str(error.get("Code") or "Unknown")
        words = str(error.get("Message") or error.get("message") or "").strip() or "no message"
        if isinstance(problem.response.get("messages"), list):
            words = "; ".join(str(m) for m in problem.response["messages"]) or words
        request = str(meta.get("RequestId") or "")
        return made(
            f"{name}: AWS said {code}: {words}" + (f" (request {request})" if request else ""),
            aws_code=code,
            request_id=request,
            hint=_hint(code, service, operation),
            status=int(meta.get("HTTPStatusCode") or 400),
        )
    if isinstance(problem, boto.NoCredentialsError | boto.PartialCredentialsError | boto.CredentialRetrievalError):
        return made(
            f"{name}: no usable AWS credentials: {problem}",
            aws_code="NoCredentials",
            status=401,
            hint="set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in with your SSO",
        )
    if isinstance(problem, boto.ParamValidationError):
        return made(
            f"{name}: the request does not fit AWS's model: {_without_values(str(problem))}",
            aws_code="ParamValidation",
            status=400,
        )
    if isinstance(problem, boto.ProfileNotFound | boto.NoRegionError | boto.InvalidRegionError | boto.ConfigParseError):
        return made(
            f"{name}: {problem}",
            aws_code="Configuration",
            status=400,
            hint="see AWS_PROFILE, AWS_REGION and ~/.aws/config",
        )
    if not isinstance(problem, boto.BotoCoreError):
        # What came back is no answer of AWS's; its text may be anything, and is not shown.
        return made(
            f"{name}: what answered is not AWS: its answer cannot be read",
            aws_code="BadAnswer",
            hint="look for a proxy or a wrong AWS_ENDPOINT_URL in between",
            status=0,
        )
    return made(
        f"{name}: no answer: {problem}",
        aws_code="Unreachable",
        hint="check the network, a proxy, and AWS_ENDPOINT_URL",
        status=0,
    )


def _without_values(text: str) -> str:
    """What is wrong with which parameter, without the rest: botocore quotes the value, which may be a secret and may
    hold anything, line breaks and botocore's own words included."""
    wrong = r"Invalid \w+ for (?:document )?parameter [\w.\[\]]+"
    absent = r"(?:Missing required|Unknown) parameter in [\w.\[\]]+: \"\w+\""
    found = re.findall(rf"^(?:{wrong}|{absent})", text, flags=re.MULTILINE)
    return "; ".join(dict.fromkeys(found)) or "no parameter named"


def _hint(code: str, service: str, operation: str) -> str:
    if code in DENIED:
        return f"allow {iam_action(service, operation)} for the role that recon runs as (see `recon iam-policy`)"
    if code in EXPIRED:
        return "the credentials have expired: log in again and re-run; re-running is safe"
    if code in NOT_ENABLED:
        return "is this region enabled for the account, and is the token still valid?"
    if code in THROTTLED:
        return "another program is using this account's API rate; running again is safe"
    return ""


def reason(error: ReconError) -> str:
    """One line of an error for a diagnostic."""
    return error.message
