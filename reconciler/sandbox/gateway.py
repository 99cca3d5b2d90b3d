"""From an HTTP request to an answer: who calls, which service, faults and rates, the operation, the ledger."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any, Final

from botocore import xform_name

from reconciler.sandbox import faults, guards
from reconciler.sandbox.account import Account
from reconciler.sandbox.cloudformation import CloudFormation
from reconciler.sandbox.cloudtrail import CloudTrail
from reconciler.sandbox.dns import Resolver
from reconciler.sandbox.faults import Fault, Ledger, Rates
from reconciler.sandbox.iam import Iam
from reconciler.sandbox.kept import services
from reconciler.sandbox.passthrough import Moto
from reconciler.sandbox.policy import Decision
from reconciler.sandbox.protocol import Api, ApiError, Params, Request, Response, api, spoken
from reconciler.sandbox.route53 import Route53
from reconciler.sandbox.ses_state import Verifier
from reconciler.sandbox.ses_v1 import SesV1
from reconciler.sandbox.sesv2 import SesV2
from reconciler.sandbox.sts import Sts
from reconciler.sandbox.tagging import Tagging
from reconciler.sandbox.world import Call, World

BY_SIGNING_NAME: Final = {
    "tagging": "resourcegroupstaggingapi", "email": "ses",
    **{service.signed_as: service.name for service in services() if service.signed_as},
}  # fmt: skip
READ_PREFIXES: Final = ("Get", "List", "Describe", "Lookup", "Head", "Test", "Simulate", "Batch")
NOT_READS: Final = frozenset({"GetSessionToken"})
WITH_MODELS: Final = frozenset({"secretsmanager", "ssm", "sns", "kms", "firehose", "iam", "cloudtrail", "sts"})
OLD_ROUTES: Final = {
    "sesv2": (
        ("GET", "/v2/email/identities", "ListEmailIdentities"),
        ("GET", "/v2/email/configuration-sets", "ListConfigurationSets"),
    )
}
"""URIs of SDK releases before the two lists became POST; their parameters are in the query string."""

_CREDENTIAL = re.compile(r"Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")


@dataclass(slots=True)
class Outcome:
    """What to do with the connection: ``answer`` it, ``reset`` it, or ``drop`` it without an answer."""

    action: str
    answer: Response | None = None


class Gateway:
    """The front of the whole sandbox; :meth:`handle` may be called from many threads."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.resolver = Resolver(world)
        self.verifier = Verifier(world, self.resolver)
        self.moto = Moto()
        self.ledger = Ledger()
        self.rates = Rates()
        self.faults: list[Fault] = []
        self.sesv2 = SesV2(world, self.verifier)
        self.route53 = Route53(world)
        self.iam = Iam(world)
        self.cloudformation = CloudFormation(world)
        own: tuple[Any, ...] = (
            self.sesv2, SesV1(self.sesv2), self.route53, self.iam, Sts(world), Account(world),
            Tagging(world, self.sesv2, self.route53), CloudTrail(world, self.ledger), self.cloudformation,
            *(service(world) for service in services()),
        )  # fmt: skip
        self.services: dict[str, Any] = {service.name: service for service in own}
        self._apis: dict[tuple[str, str], Api] = {}

    def _api(self, service: str, request: Request) -> Api:
        """The API of a service in the protocol of a request."""
        key = service, spoken(service, request)
        if key not in self._apis:
            made = api(*key)
            for method, uri, operation in OLD_ROUTES.get(service, ()):
                made.add_route(method, uri, operation)
            self._apis[key] = made
        return self._apis[key]

    def handle(self, request: Request) -> Outcome:
        """Serve one request to AWS."""
        access_key, region, service = self._signature(request)
        started = time.perf_counter()
        entry: dict[str, Any] = {
            "id": request.id, "time": self.world.clock.now(), "account": "", "region": region, "service": service,
            "operation": "", "params": {}, "status": 0, "error": None, "access_key": access_key, "arn": "",
            "reads_only": False, "user_agent": request.headers.get("user-agent", ""), "milliseconds": 0.0,
        }  # fmt: skip
        try:
            outcome = self._serve(request, access_key, region, service, entry)
        except ApiError as error:
            outcome = Outcome("answer", self._error(service, error, request))
        finally:
            entry["milliseconds"] = round((time.perf_counter() - started) * 1000, 3)
            self.ledger.add(entry)
        if outcome.answer is not None:
            entry["status"] = outcome.answer.status
            entry["error"] = entry["error"] or outcome.answer.error_code
        return outcome

    @staticmethod
    def _signature(request: Request) -> tuple[str, str, str]:
        """Access key, region and service of a request; of unsigned ones only STS's (web identity) are served."""
        match = _CREDENTIAL.search(request.headers.get("authorization", "")) or _CREDENTIAL.search(
            request.query.replace("%2F", "/").replace("X-Amz-Credential=", "Credential=")
        )
        if match is None:
            return "", "us-east-1", "sts" if b"Action=AssumeRole" in request.body else ""
        access_key, region, service = match.groups()
        service = BY_SIGNING_NAME.get(service, service)
        if service == "ses" and request.path.startswith("/v2/"):
            service = "sesv2"
        return access_key, region, service

    def _error(self, service: str, error: ApiError, request: Request) -> Response:
        known = service in self.services or service in WITH_MODELS or service == "s3"
        return self._api(service if known else "sesv2", request).error(error, request.id)

    def _serve(self, request: Request, access_key: str, region: str, service: str, entry: dict[str, Any]) -> Outcome:
        if not service:
            raise ApiError("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
        world = self.world
        with world.lock:
            principal = world.principal(access_key)
        if principal is not None:
            entry |= {"account": principal.account, "arn": principal.arn}
        operation, params = self._understand(request, service, entry)
        reads_only = operation.startswith(READ_PREFIXES) and operation not in NOT_READS
        entry |= {"operation": operation, "reads_only": reads_only}
        modelled = service in self.services or service in WITH_MODELS
        if modelled:
            entry["params"] = self._api(service, request).redact(operation, params)
        else:
            entry["params"] = params
        if principal is None or (service not in faults.GLOBAL and self._refuses(region, access_key)):
            raise faults.invalid_token(service)
        if principal.expires is not None and principal.expires <= world.clock.now():
            raise faults.expired_token(service)
        fault = self._fault(service, operation, region, principal.account, str(entry["params"]))
        if fault is not None and fault.do == "partial":
            result = self._api(service, request).answer(operation, self._in_part(fault), request.id)
            return Outcome("answer", result)
        if fault is not None and fault.do != "lost":
            early = self._injure(fault, service, operation, principal.arn, entry)
            if early is not None:
                return early
        with world.lock:
            allowed = self.rates.allows(service, operation, principal.account, region, time.monotonic())
        if not allowed:
            raise faults.throttled(service)
        call = Call(world, service, operation, principal.account, region, principal, access_key,
                    world.clock.now(), reads_only)  # fmt: skip
        Decision(self.iam).check(call, params)
        answer = self._carry_out(call, params, request)
        if fault is not None and fault.do == "lost":
            entry["error"] = "lost"
            return Outcome("drop", None)
        return Outcome("answer", answer)

    def _refuses(self, region: str, access_key: str) -> bool:
        """Whether a region takes no key at all, or no session of STS's global endpoint."""
        settings = self.world.settings
        return region in settings.disabled_regions or (
            region in settings.no_global_tokens and access_key.startswith("ASIA")
        )

    def _understand(self, request: Request, service: str, entry: dict[str, Any]) -> tuple[str, Params]:
        """Operation and parameters; for services without a model of ours, what the request shows. The
        ledger's ``entry`` names the operation of a request whose parameters are refused, too."""
        if service in self.services or service in WITH_MODELS:
            model = self._api(service, request)
            operation, labels = model.operation_of(request)
            entry["operation"] = operation
            params = model.parse(request, operation, labels)
            if hasattr(self.services.get(service), xform_name(operation)):
                model.validate(operation, params)
            return operation, params
        if service == "s3":
            bucket, _, key = request.path.lstrip("/").partition("/")
            verb = {"PUT": "Put", "GET": "Get", "HEAD": "Head", "DELETE": "Delete", "POST": "Post"}[request.method]
            owner = request.headers.get("x-amz-expected-bucket-owner")
            given = (("Bucket", bucket), ("Key", key), ("ExpectedBucketOwner", owner))
            params = {name: value for name, value in given if value}
            listing = "ListObjects" if request.method == "GET" and bucket else "ListBuckets"
            if not key and request.method == "GET":
                return listing, params
            return verb + ("Object" if key else "Bucket"), params
        target = request.headers.get("x-amz-target", "").rpartition(".")[2]
        return target or f"{request.method} {request.path}", {}

    def _fault(self, service: str, operation: str, region: str, account: str, text: str) -> Fault | None:
        with self.world.lock:
            hit = [f for f in self.faults if f.hits(service, operation, region, account, text)]
        return hit[0] if hit else None

    @staticmethod
    def _injure(fault: Fault, service: str, operation: str, arn: str, entry: dict[str, Any]) -> Outcome | None:
        """Act a fault out before the operation; None if the operation still happens."""
        if fault.do == "delay":
            time.sleep(fault.seconds)
            return None
        if fault.do == "reset":
            entry["error"] = "reset"
            return Outcome("reset")
        if fault.do == "throttle":
            raise faults.throttled(service)
        if fault.do == "denied":
            raise faults.denied(service, Decision.action_of(service, operation), arn, "*")
        raise ApiError(fault.code, fault.message, fault.status)

    @staticmethod
    def _in_part(fault: Fault) -> Params:
        """The result of a batch of which one part has failed."""
        part = {"TargetId": "1", "ErrorCode": fault.code, "ErrorMessage": fault.message}
        return {"FailedEntryCount": 1, "FailedEntries": [part]}

    def _carry_out(self, call: Call, params: Params, request: Request) -> Response:
        service = self.services.get(call.service)
        method = getattr(service, xform_name(call.operation), None) if service is not None else None
        with self.world.lock:
            self.iam.note_use(call)
            if method is not None:
                result = method(call, params)
                return self._api(call.service, request).answer(call.operation, result, request.id)
        if service is not None and call.service not in ("iam", "cloudtrail"):
            raise ApiError(
                "UnknownOperationException", f"the sandbox does not have {call.service} {call.operation}", 501
            )
        guards.check(call, params)
        return self.moto.call(request, call.account)
