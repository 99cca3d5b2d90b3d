"""One tree of errors; each carries what the person at 3 a.m. needs and the exit code that the contract fixes."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.model import Diagnostic


class ReconError(Exception):
    """The root: a message, a hint, and optionally diagnostics that say the same for machines.

    ``outcome`` is the JSON outcome; ``exit_code`` is 1 (error) or 3 (refused by a safeguard).
    """

    outcome = "error"
    exit_code = 1
    code = "error"

    def __init__(self, message: str, *, hint: str = "", diagnostics: Iterable[Diagnostic] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics) or (
            Diagnostic("error", self.code, message, hint),
        )


class InvalidState(ReconError):
    """Bad input: every error found, at once, each with its place. Raised before AWS is contacted."""

    outcome = "invalid"
    code = "invalid"

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        found = tuple(diagnostics)
        count = sum(1 for d in found if d.severity == "error")
        super().__init__(f"{count} error{'s' if count != 1 else ''} in the declared state", diagnostics=found)


class Refused(ReconError):
    """A safeguard said no; nothing was written. Exit 3."""

    outcome = "refused"
    exit_code = 3
    code = "refused"


class Stale(Refused):
    """A saved plan no longer fits what is live, or was edited."""

    outcome = "stale"
    code = "stale"


class Locked(Refused):
    """Another run holds the stack's lock."""

    outcome = "locked"
    code = "locked"


ABSENT = {
    "sesv2": frozenset({"NotFoundException"}),
    "iam": frozenset({"NoSuchEntity"}),
    "secretsmanager": frozenset({"ResourceNotFoundException"}),
    "ssm": frozenset({"ParameterNotFound"}),
    "sns": frozenset({"NotFound", "NotFoundException"}),
}
"""With what each service says that a call names something that does not exist (each API reference, "Common errors")."""


DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "NotAuthorized"}
)
NOT_ENABLED = frozenset({"UnrecognizedClientException", "InvalidClientTokenId", "AuthFailure", "OptInRequired"})
"""What a region that is not enabled for the account answers to a token that STS accepts."""


class AwsError(ReconError):
    """A call to AWS failed: says operation, place, AWS's code and words, request id and what to do."""

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
        self.aws_code = aws_code
        self.request_id = request_id
        self.status = status

    @property
    def absent(self) -> bool:
        """Whether AWS says that what the call names does not exist; anything else is could-not-tell."""
        return self.aws_code in ABSENT.get(self.service, ())

    @property
    def closed(self) -> bool:
        """Whether the region is closed to the account: not enabled, or denied by the organization to all its roles
        (IAM User Guide, "Troubleshoot access denied error messages": AWS names the kind of policy that denied)."""
        by_organization = self.aws_code in DENIED and "service control policy" in str(self)
        return self.aws_code in NOT_ENABLED or by_organization
