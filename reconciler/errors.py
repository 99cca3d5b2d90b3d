"""One hierarchy of errors; each has a message, a hint, diagnostics and the exit code of the contract."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from reconciler.masking import mask
from reconciler.model import Diagnostic

log = logging.getLogger("recon.errors")
"""Gets the traceback of each fault of recon; ``-v`` and ``RECON_DEBUG`` print it."""


class ReconError(Exception):
    """The base class: a message, a hint, and optionally diagnostics for machines.

    ``outcome`` is the JSON outcome; ``exit_code`` is 1 (error) or 3 (refused by a safeguard). What ``masking`` knows to
    be a secret is masked in all texts, whoever wrote them.
    """

    outcome = "error"
    exit_code = 1
    code = "error"

    def __init__(self, message: str, *, hint: str = "", diagnostics: Iterable[Diagnostic] = ()) -> None:
        self.message, self.hint = mask(message), mask(hint)
        super().__init__(self.message)
        self.diagnostics: tuple[Diagnostic, ...] = tuple(
            replace(one, message=mask(one.message), hint=mask(one.hint)) for one in diagnostics
        ) or (Diagnostic("error", self.code, self.message, self.hint),)


class InvalidState(ReconError):
    """Invalid YAML: all errors at once, each with file and line. Raised before AWS is contacted."""

    outcome = "invalid"
    code = "invalid"

    def __init__(self, diagnostics: Iterable[Diagnostic], what: str = "the declared state") -> None:
        diagnostics = tuple(diagnostics)
        count = sum(1 for d in diagnostics if d.severity == "error")
        super().__init__(f"{count} error{'s' if count != 1 else ''} in {what}", diagnostics=diagnostics)


class Refused(ReconError):
    """A safeguard refused the run; nothing was written. Exit 3."""

    outcome = "refused"
    exit_code = 3
    code = "refused"


class Stale(Refused):
    """A saved plan no longer matches AWS, or was edited."""

    outcome = "stale"
    code = "stale"


class Locked(Refused):
    """Another run holds the stack's lock."""

    outcome = "locked"
    code = "locked"


class InternalError(ReconError):
    """A fault of recon itself: an error that no user can cause."""

    code = "internal-error"


def internal_error(problem: BaseException) -> InternalError:
    """``problem`` as an error that says where it happened, masked, and asks to report it."""
    log.debug("%s", mask("".join(traceback.format_exception(problem))))
    at = traceback.extract_tb(problem.__traceback__)[-1:]
    where = "".join(f", in {Path(frame.filename).name}:{frame.lineno}" for frame in at)
    said = mask(" ".join(str(problem).split()))[:500]
    return InternalError(
        f"a fault of recon: {type(problem).__name__}{f': {said}' if said else ''}{where}",
        hint="please report it, with the traceback that RECON_DEBUG=1 prints",
    )


def as_error(problem: Exception) -> ReconError:
    """``problem`` itself where it is one of ours, else as an internal error."""
    return problem if isinstance(problem, ReconError) else internal_error(problem)


ABSENT = {
    "sesv2": frozenset({"NotFoundException"}),
    "iam": frozenset({"NoSuchEntity"}),
    "secretsmanager": frozenset({"ResourceNotFoundException"}),
    "ssm": frozenset({"ParameterNotFound"}),
    "sns": frozenset({"NotFound", "NotFoundException"}),
    "kms": frozenset({"NotFoundException"}),
    "firehose": frozenset({"ResourceNotFoundException"}),
    "events": frozenset({"ResourceNotFoundException"}),
    "cloudwatch": frozenset({"ResourceNotFound", "ResourceNotFoundException", "DashboardNotFoundError"}),
}
"""The error codes of each service for a resource that does not exist (each API reference, "Common errors")."""


DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "NotAuthorized"}
)
NOT_ENABLED = frozenset({"UnrecognizedClientException", "InvalidClientTokenId", "AuthFailure", "OptInRequired"})
"""The error codes of a region that is not enabled for the account, for a token that STS accepts."""

EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
NO_CREDENTIALS = "NoCredentials"
"""Our code where there are no credentials, or none that can be renewed."""


class AwsError(ReconError):
    """A call to AWS failed: names the operation, the region, AWS's code and message, the request id and what to do."""

    code = "aws-error"

    def __init__(
        self, message: str, *, service: str, operation: str, region: str | None, aws_code: str, request_id: str = "",
        hint: str = "", status: int = 0, address: str = "",
    ) -> None:  # fmt: skip
        super().__init__(
            message, hint=hint, diagnostics=(Diagnostic("error", self.code, message, hint, address=address),)
        )
        self.service = service
        self.operation = operation
        self.region = region
        self.aws_code = mask(aws_code)
        self.request_id = mask(request_id)
        self.status = status

    @property
    def absent(self) -> bool:
        """Whether AWS says that the resource does not exist. False does not mean that it exists."""
        return self.aws_code in ABSENT.get(self.service, ())

    @property
    def credentials_lost(self) -> bool:
        """Whether every other call with these credentials fails alike."""
        return self.aws_code in EXPIRED or self.aws_code == NO_CREDENTIALS

    @property
    def closed(self) -> bool:
        """Whether the account cannot use the region: it is not enabled, or a service control policy denies it
        (IAM User Guide, "Troubleshoot access denied error messages": AWS names the type of the denying policy)."""
        by_organization = self.aws_code in DENIED and "service control policy" in str(self)
        return self.aws_code in NOT_ENABLED or by_organization
