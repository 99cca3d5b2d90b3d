"""Whatever boto3, and the libraries below it, raise, as an AwsError: what happened, where, and what to do.

The class of the error decides; for a class that botocore does not own (ValueError, JSONDecodeError, OSError), the
module of botocore in which it was raised does. The class is always named. Its message is shown without what may come
from credentials: botocore quotes values, the output of a ``credential_process``, and bodies of responses.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import Any

from reconciler.aws.actions import iam_action
from reconciler.errors import ABSENT, DENIED, EXPIRED, NO_CREDENTIALS, NOT_ENABLED, AwsError

GLOBAL_SERVICES = frozenset({"iam", "route53"})

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
"""Throttled: waits for the limiter and is retried. LimitExceeded is a quota and is not in this set."""

CLOCK = frozenset(
    {
        "RequestExpired",
        "RequestInTheFuture",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "InvalidSignature",
        "InvalidSignatureException",
    }
)
"""The error codes of a signature that is too old, from the future, or made with another key (IAM User Guide,
"Troubleshoot signed requests for AWS API requests")."""
NOT_ACCEPTED = frozenset(
    {
        "InvalidAccessKeyId",
        "InvalidToken",
        "InvalidIdentityToken",
        "IDPRejectedClaim",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
    }
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """A group of errors with one remedy.

    ``status`` 0: AWS may have received the request. Only such a call is repeated, where that is safe.
    """

    code: str
    status: int
    what: str
    hint: str
    shown: bool = True
    """Whether the message can be shown. Not where it may quote credentials, or be a stranger's text."""


CREDENTIALS = Trouble(
    NO_CREDENTIALS, 401, "no usable AWS credentials",
    "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in with your SSO",
)  # fmt: skip
SOURCE = Trouble(
    NO_CREDENTIALS, 401, "no usable AWS credentials",
    "see what supplies them: an Expiration must be to come and name its time zone", shown=False,
)  # fmt: skip
PROCESS = replace(
    SOURCE, what="no usable AWS credentials from `credential_process`",
    hint="run the command of `credential_process` in ~/.aws/config by hand: it must end with 0 and print one JSON "
    "object with Version 1, AccessKeyId, SecretAccessKey and an Expiration to come",
)  # fmt: skip
CONTAINER = replace(
    SOURCE, what="no usable AWS credentials from the container's address",
    hint="see AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI, and AWS_CONTAINER_AUTHORIZATION_TOKEN or its "
    "_FILE",
)  # fmt: skip
METADATA = replace(
    SOURCE, what="no usable AWS credentials from the metadata service of EC2",
    hint="see AWS_EC2_METADATA_SERVICE_ENDPOINT; AWS_EC2_METADATA_DISABLED=true leaves it out",
)  # fmt: skip
WEB_IDENTITY = replace(
    SOURCE, what="no usable AWS credentials for the web identity",
    hint="AWS_WEB_IDENTITY_TOKEN_FILE, or `web_identity_token_file` of the profile, names a file with a token, and "
    "AWS_ROLE_ARN a role",
)  # fmt: skip
PROFILE = Trouble(
    NO_CREDENTIALS, 401, "no usable AWS credentials",
    "correct the profile in ~/.aws/config: `source_profile`, `credential_source`, `sso_session` and what they name",
)  # fmt: skip
SSO = Trouble(NO_CREDENTIALS, 401, "you are not logged in, or the login has expired", "log in: aws sso login")
LOGIN = Trouble(NO_CREDENTIALS, 401, "you are not logged in, or the login has expired", "log in: aws login")
MFA = Trouble(
    NO_CREDENTIALS, 401, "the profile asks for an MFA code, and there is no terminal, or the session needs a new code",
    "run it in a terminal, or get a session first (aws sts get-session-token) and set its variables",
)  # fmt: skip
NOT_A_HEADER = Trouble(
    NO_CREDENTIALS, 401, "the credentials cannot be sent",
    "is there a line break, a blank or a character that is not ASCII in AWS_ACCESS_KEY_ID, AWS_SESSION_TOKEN or in "
    "the profile? copy the value again", shown=False,
)  # fmt: skip
CONFIGURATION = Trouble(
    "Configuration", 400, "the AWS settings cannot be used",
    "see the variables AWS_* (AWS_PROFILE, AWS_REGION, AWS_CONFIG_FILE), ~/.aws/config and ~/.aws/credentials",
)  # fmt: skip
ENDPOINT = Trouble(
    "Configuration", 400, "the request cannot be sent to this address",
    "AWS_ENDPOINT_URL, its variables by service and HTTPS_PROXY want a full URL, such as http://127.0.0.1:4566",
)  # fmt: skip
CERTIFICATES = Trouble(
    "Configuration", 400, "the TLS certificates cannot be read", "AWS_CA_BUNDLE and `ca_bundle` name one PEM file"
)
TLS = Trouble(
    "Tls", 495, "no TLS connection",
    "if a proxy of your company ends TLS, name its certificate in AWS_CA_BUNDLE; else see AWS_ENDPOINT_URL and the "
    "clock of this machine",
)  # fmt: skip
ANSWER = Trouble(
    "BadAnswer", 0, "the response is not from AWS: it cannot be parsed",
    "is there a proxy between recon and AWS, or is AWS_ENDPOINT_URL wrong?", shown=False,
)  # fmt: skip
BROKEN_TLS = replace(TLS, status=0)
NETWORK = Trouble("Unreachable", 0, "no response", "check the network, a proxy, and AWS_ENDPOINT_URL")
REQUEST = Trouble("ParamValidation", 400, "the request does not match AWS's service model", "")
UNEXPECTED = Trouble(
    "Unexpected", 0, "botocore failed in a way that recon does not know", "please report it, with RECON_DEBUG=1 set"
)

_BY_CLASS = {
    "NoCredentialsError": CREDENTIALS,
    "PartialCredentialsError": CREDENTIALS,
    "CredentialRetrievalError": SOURCE,
    "MetadataRetrievalError": SOURCE,
    "InvalidIMDSEndpointError": CONFIGURATION,
    "InvalidIMDSEndpointModeError": CONFIGURATION,
    "UnknownCredentialError": PROFILE,
    "InvalidConfigError": PROFILE,
    "InfiniteLoopConfigError": PROFILE,
    "UnknownTokenProviderError": PROFILE,
    "MissingDependencyException": PROFILE,
    "SSOError": SSO,
    "TokenRetrievalError": SSO,
    "NoAuthTokenError": SSO,
    "LoginError": LOGIN,
    "RefreshWithMFAUnsupportedError": MFA,
    "EOFError": MFA,
    "ParamValidationError": REQUEST,
    "EndpointProviderError": ENDPOINT,
    "InvalidEndpointConfigurationError": ENDPOINT,
    "ConnectionError": NETWORK,
    "HTTPClientError": NETWORK,
    "IncompleteReadError": NETWORK,
    "ChecksumError": ANSWER,
    "FlexibleChecksumError": ANSWER,
    "ResponseParserError": ANSWER,
    "BotoCoreError": CONFIGURATION,
    "LocationParseError": ENDPOINT,
    "LocationValueError": ENDPOINT,
    "InvalidURL": ENDPOINT,
    "OverflowError": ENDPOINT,
    "HTTPException": NETWORK,
}
"""By the name of the class, or of the nearest base class."""

_BY_MODULE = (
    ("botocore.credentials", SOURCE),
    ("botocore.tokens", SSO),
    ("botocore.parsers", ANSWER),
    ("botocore.config", CONFIGURATION),
    ("botocore.session", CONFIGURATION),
    ("botocore.args", CONFIGURATION),
    ("botocore.regions", ENDPOINT),
    ("botocore.endpoint", ENDPOINT),
    ("botocore.httpsession", NETWORK),
    ("botocore.awsrequest", NETWORK),
    ("botocore.auth", NOT_A_HEADER),
    ("botocore.signers", NOT_A_HEADER),
)
"""By the innermost module of botocore, for errors of other libraries."""

_CREDENTIAL_OPERATIONS = {
    "AssumeRole": "sts",
    "AssumeRoleWithWebIdentity": "sts",
    "AssumeRoleWithSAML": "sts",
    "GetSessionToken": "sts",
    "GetRoleCredentials": "sso",
    "CreateToken": "sso-oidc",
    "CreateOAuth2Token": "signin",
}
"""What botocore calls by itself to get credentials, and the service. Its refusal is not one of the call that needed
them: an absent role is not an absent identity."""


_SOURCE_OF = {
    "ProcessProvider.": PROCESS,
    "ContainerProvider.": CONTAINER,
    "ContainerMetadataFetcher.": CONTAINER,
    "InstanceMetadata": METADATA,
    "AssumeRoleWithWebIdentity": WEB_IDENTITY,
    "FileWebIdentityTokenLoader.": WEB_IDENTITY,
}
"""Where credentials were to come from, by how the function of botocore begins that failed."""


def translate(problem: Exception, service: str, operation: str, region: str, profile: str = "") -> AwsError:
    """Our error for what boto raised: the operation, AWS's code and message, and what to do.

    ``operation`` is empty while a client is created; ``profile`` is named in the command that logs in.
    """
    from botocore.exceptions import ClientError

    if isinstance(problem, ClientError):
        asked = str(problem.operation_name)
        service = _CREDENTIAL_OPERATIONS.get(asked, service)
        operation = asked if asked in _CREDENTIAL_OPERATIONS else operation
    name = " ".join(part for part in (service, operation) if part)
    name += f" in {region}" if service not in GLOBAL_SERVICES else ""
    made = partial(AwsError, service=service, operation=operation, region=region)
    if isinstance(problem, ClientError):
        return _client_error(problem.response, name, made, service, operation)
    inner = _inner(problem)
    trouble = _trouble(inner)
    text = _words(inner, trouble)
    kind = type(inner).__name__
    said = f"{kind}: {text}" if text else kind
    hint = trouble.hint
    if profile and trouble in (SSO, LOGIN):
        hint = f"{hint} --profile {profile}"
    return made(f"{name}: {trouble.what}: {said}", aws_code=trouble.code, status=trouble.status, hint=hint)


def refuse_parts(response: Mapping[str, Any], operation: str) -> None:
    """Raise botocore's error where AWS has refused parts of a batch that it answers with 200: that of the first part.

    Source: EventBridge API reference, PutTargets and RemoveTargets (FailedEntries); Resource Groups Tagging API,
    TagResources (FailedResourcesMap); SNS and SQS API references, the batch operations (Failed).
    """
    for member in ("FailedEntries", "FailedResourcesMap", "Failed"):
        found = response.get(member)
        parts = list(found.values()) if isinstance(found, dict) else found if isinstance(found, list) else []
        if not parts or not isinstance(parts[0], dict):
            continue
        from botocore.exceptions import ClientError

        code, message = (
            next((str(parts[0][f"{before}{key}"]) for before in ("Error", "") if parts[0].get(f"{before}{key}")), "")
            for key in ("Code", "Message")
        )
        told = f"{message or 'AWS gave no reason'} ({len(parts)} of the batch failed)"
        metadata = {**(response.get("ResponseMetadata") or {}), "HTTPStatusCode": 200}
        error = {"Error": {"Code": code or "PartialFailure", "Message": told}, "ResponseMetadata": metadata}
        raise ClientError(error, operation)


def _inner(problem: Exception) -> Exception:
    """What botocore's "unhandled exception" wraps, where that says more."""
    inner = getattr(problem, "kwargs", {}).get("error") if type(problem).__name__ == "HTTPClientError" else None
    return inner if isinstance(inner, Exception) else problem


def _trouble(problem: Exception) -> Trouble:
    names = [cls.__name__ for cls in type(problem).__mro__]
    known = next((_BY_CLASS[name] for name in names if name in _BY_CLASS), None)
    if isinstance(problem, EOFError):
        return MFA
    frames = _frames(problem)
    modules = [module for module, _ in frames]
    foreign = not type(problem).__module__.startswith("botocore.")
    innermost = next((module for module in reversed(modules) if module.startswith("botocore.")), "")
    if known in (SOURCE, REQUEST) or (foreign and not innermost.startswith("botocore.config")):
        sources = (_SOURCE_OF[start] for _, name in reversed(frames) for start in _SOURCE_OF if name.startswith(start))
        source = next(sources, SOURCE if "botocore.credentials" in modules else None)
        if source is not None:
            return source
    by_text = _by_text(problem, names, modules)
    if by_text is not None:
        return by_text
    if known is not None and not isinstance(problem, OSError):
        return known
    for module in reversed(modules):
        for prefix, trouble in _BY_MODULE:
            if module.startswith(prefix):
                return trouble
    return known or (NETWORK if type(problem).__module__.startswith("urllib3") else UNEXPECTED)


def _by_text(problem: Exception, names: list[str], modules: list[str]) -> Trouble | None:
    """What no class says: where a text could not be encoded, which certificates were refused."""
    text = str(problem)
    if isinstance(problem, UnicodeEncodeError) and problem.encoding != "idna":
        return NOT_A_HEADER
    if text.startswith("Invalid header value"):
        return NOT_A_HEADER
    if "urllib.parse" in modules or "encodings.idna" in modules:
        return ENDPOINT
    if re.search(r"TLS CA certificate bundle|NO_CERTIFICATE_OR_CRL|SSL validation failed .*\[Errno", text):
        return CERTIFICATES
    if "SSLError" in names:
        return TLS if re.search("CERTIFICATE_VERIFY_FAILED|doesn't match", text) else BROKEN_TLS
    return None


def _frames(problem: Exception) -> list[tuple[str, str]]:
    """The (module, function) that the error passed through, the outermost first."""
    walked = traceback.walk_tb(problem.__traceback__)
    return [(str(frame.f_globals.get("__name__", "")), frame.f_code.co_qualname) for frame, _ in walked]


_SAFE = re.compile(
    r"Unsupported version|Missing required key in response: '\w+'|Received non 200 response \d+"
    r"|Received error when attempting to retrieve container metadata"
    r"|Unable to parse JSON returned from container metadata services|Unsupported host|No closing quotation"
    r"|No escaped character|Auth token value is not a legal header value|Invalid timestamp"
    r"|Invalid header value|the refreshed credentials are still expired|IMDSv1 has been disabled"
    r"|Credential refresh failed, response did not contain: [\w, ]+"
    r"|No credentials found in credential_source"
)
"""What botocore and the libraries below it say of credentials without quoting any."""


def _words(problem: Exception, trouble: Trouble) -> str:
    """What can be shown of the message of an error."""
    if type(problem).__name__ == "ParamValidationError":
        return without_values(str(problem))
    if type(problem).__name__ == "ConfigParseError":
        return _unparsed(problem)
    if trouble.shown:
        return " ".join(str(problem).split())
    if trouble is ANSWER:
        return ""
    if isinstance(problem, OSError) and problem.strerror:
        name = f": {problem.filename}" if isinstance(problem.filename, str) and len(problem.filename) < 256 else ""
        return problem.strerror + name
    found = list(dict.fromkeys(_SAFE.findall(str(problem))))
    provider = str(getattr(problem, "kwargs", {}).get("provider") or "")
    of_code = isinstance(problem, TypeError | AttributeError | LookupError | UnicodeError)
    found += [str(problem)] if of_code and not found else []
    return ": ".join([*filter(None, [provider]), *found])


def _unparsed(problem: Exception) -> str:
    """Which file could not be parsed, and why; configparser quotes whole lines, which may be secrets."""
    cause = getattr(problem, "kwargs", {}).get("error")
    errors = getattr(cause, "errors", None) or ()
    line = getattr(cause, "lineno", None) or next((number for number, _ in errors), None)
    why = f" ({type(cause).__name__}{f', line {line}' if line else ''})" if isinstance(cause, Exception) else ""
    return f"{problem}{why}"


def without_values(text: str) -> str:
    """botocore's message with only the names of the parameters: botocore quotes the value, which may be a secret and
    may contain anything, such as line breaks and botocore's own phrases."""
    invalid = r"Invalid \w+ for (?:document )?parameter [\w.\[\]]+"
    missing = r"(?:Missing required|Unknown) parameter in [\w.\[\]]+: \"\w+\""
    found = re.findall(rf"^(?:{invalid}|{missing})", text, flags=re.MULTILINE)
    return "; ".join(dict.fromkeys(found)) or "no parameter named"


def _client_error(response: Any, name: str, made: Callable[..., AwsError], service: str, operation: str) -> AwsError:
    """Our error for an error response of AWS."""
    error = response.get("Error", {})
    metadata = response.get("ResponseMetadata", {})
    code = str(error.get("Code") or "Unknown")
    message = str(error.get("Message") or error.get("message") or "").strip() or "no message"
    if isinstance(response.get("messages"), list):
        message = "; ".join(str(m) for m in response["messages"]) or message
    if isinstance(found := response.get("dashboardValidationMessages"), list):
        message += "".join(f"; {one.get('DataPath') or '/'}: {one.get('Message')}" for one in found[:5])
    if code in ABSENT.get(service, ()) and _NO_OPERATION.search(_NAME.sub(" ", message)):
        code = NO_OPERATION  # an emulator's word for a route that it does not have: nothing is absent
    if code.isdigit():
        # not a code of AWS but the HTTP status, as of a proxy or of S3 without a body; the text may be anything
        message = HTTPStatus(int(code)).phrase if int(code) in set(HTTPStatus) else "no message"
    if code in CLOCK:
        message = re.split(r"(?<=\S)\s+The Canonical String", message, maxsplit=1)[0]  # pages of the request follow
    request = str(metadata.get("RequestId") or "")
    return made(
        f"{name}: AWS said {code}: {message}" + (f" (request {request})" if request else ""),
        aws_code=code,
        request_id=request,
        hint=_clock_hint(metadata) if code in CLOCK else _hint(code, service, operation),
        status=int(metadata.get("HTTPStatusCode") or 400),
    )


NO_OPERATION = "UnknownOperationException"
_NO_OPERATIONS = frozenset({NO_OPERATION, "InvalidAction", "NotImplemented", "UnknownOperation", "404", "405", "501"})
"""What says that the endpoint does not have the operation; a number is the status of an answer without a code."""
_NAME = re.compile(r"<[^>]*>|\"[^\"]*\"|'[^']*'|[^\s<]*[-.@_:][^\s>.]+[^\s>]*")
"""A name of somebody's in a message."""
_OPERATION = r"\b(?:operation|action|route|endpoint|method|api|path)\b"
_NO_OPERATION = re.compile(
    rf"\b(?:unknown|unsupported|unimplemented|unrecogni[sz]ed|unable to determine|no)\b.{{0,30}}{_OPERATION}"
    rf"|{_OPERATION}.{{0,60}}\b(?:not (?:yet )?(?:supported|known|found)|unknown|unsupported)\b"
    r"|\bnot (?:yet )?implemented\b",
    re.IGNORECASE,
)


def _clock_hint(metadata: Any) -> str:
    headers = metadata.get("HTTPHeaders") or {}
    at = str(headers.get("date") or "")
    now = f": AWS's says {at}" if re.fullmatch(r"[\w ,:]{10,40}", at) else ""
    return f"set the clock of this machine{now}; if it is right, the secret access key belongs to another access key id"


def _hint(code: str, service: str, operation: str) -> str:
    if code in DENIED and service == "s3":
        return (
            f"allow {iam_action(service, operation)} for the role that recon runs as (see `recon iam-policy`); and the "
            "bucket must belong to the stack's account, or to stack.backend.s3.account"
        )
    if code in DENIED and operation.startswith("AssumeRole"):
        return "let these credentials call sts:AssumeRole on that role, and let the role's trust policy name them"
    if code in DENIED:
        return f"allow {iam_action(service, operation)} for the role that recon runs as (see `recon iam-policy`)"
    if code in EXPIRED:
        return "the credentials have expired: log in again and run the command again, which is safe"
    if code in NOT_ENABLED:
        return "is this region enabled for the account, and is the token still valid?"
    if code in NOT_ACCEPTED:
        return "AWS does not accept these credentials: log in again, or copy AWS_ACCESS_KEY_ID and its secret again"
    if code in _NO_OPERATIONS:
        return (
            f"this endpoint does not have {service} {operation}: an emulator without it (see AWS_ENDPOINT_URL), or a "
            "region where AWS does not offer it"
        )
    if code in THROTTLED:
        return "another program uses this account's API rate; running the command again is safe"
    return ""
