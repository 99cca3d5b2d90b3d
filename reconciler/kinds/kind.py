"""What a kind of resource is to the rest of the house: its face, and the steps that carry a change out.

A kind is one file with one class; read any of them from top to bottom: its fields, how it is desired, observed,
compared, written and deleted. The planner calls ``desired`` -> ``observe`` -> ``plan``; the applier ``steps``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from reconciler.kinds.snapshot import Snapshot
from reconciler.model import Address, Change, Desired, Document, State

if TYPE_CHECKING:
    from reconciler.aws import Aws


class Runtime(Protocol):
    """What a step may use while it runs: AWS, the run's shared results, and a voice."""

    aws: Aws
    scope: str
    account: str
    partition: str
    regions: tuple[str, ...]

    def output(self, address: Address, key: str) -> Any:
        """A value that an earlier step of this run learnt (DKIM tokens), or None."""
        ...

    def set_output(self, address: Address, key: str, value: Any) -> None: ...

    def secret(self, reference: Mapping[str, Any], region: str | None) -> str:
        """The text of a secret reference ({secretsmanager|ssm|file|env}); never logged."""
        ...

    def ensure_unchanged(self, address: Address) -> None:
        """Raise Stale where somebody else has changed what the rest of a step would write: SES has no
        compare-and-swap, so a step of several writes looks again between them."""
        ...

    def wait_verified(self, region: str, domain: str) -> None:
        """Block until SES has verified ``domain`` in ``region``, or raise when the time limit passes."""
        ...


Run = Callable[[Runtime], None]


@dataclass(frozen=True, slots=True)
class Step:
    """One part of carrying out a change.

    ``needs`` are ``address#label`` of steps that must have ended well before; those that are not in this run count
    as done. A DNS step has a ``zone`` and ``edits`` instead of ``run``: the applier joins all edits of a zone that
    may go together into one batch. ``calls`` names the writes, for estimates and the fault matrix.
    """

    address: Address
    label: str
    needs: tuple[str, ...] = ()
    run: Run | None = None
    zone: str = ""
    edits: Callable[[Runtime], Iterable[Any]] | None = None
    calls: tuple[str, ...] = ()
    region: str | None = None
    after_verification: bool = False
    """Waits for SES to verify; runs after everything else."""

    @property
    def id(self) -> str:
        return f"{self.address}#{self.label}"


class Kind(Protocol):
    """One kind of resource. Registered in ``reconciler.kinds.REGISTRY``; nothing else needs to know it."""

    @property
    def name(self) -> str: ...

    @property
    def reads(self) -> tuple[str, ...]: ...

    @property
    def writes(self) -> tuple[str, ...]: ...

    @property
    def read_calls(self) -> Mapping[str, str]:
        """Attribute -> the call that a plan reads it with; docs/performance.md shows it, and a test holds it true."""
        ...

    def desired(self, state: State) -> Iterable[Desired]:
        """What the state declares of this kind, normalised."""
        ...

    def observe(self, aws: Aws, snapshot: Snapshot) -> None:
        """Read what is live into ``snapshot``; failures go to ``snapshot.unread``."""
        ...

    def reread(self, aws: Aws, change: Change) -> str | None:
        """The fingerprint of one resource as it is now, or None: read just before it is changed."""
        ...

    def plan(self, snapshot: Snapshot) -> Iterable[Change]:
        """The differences. Pure."""
        ...

    @property
    def form(self) -> Document:
        """``{"fields": shape, "after": shape, "execution": shape}``: what a change must be for its steps to run.

        ``fields`` is for ``before`` and ``after``; ``after`` may be missing, and so may ``create``, the ``after`` of a
        creation, and ``delete``, the ``execution`` of a deletion. A saved plan is held against it (``must_fit``)."""
        ...

    def steps(self, change: Change) -> Iterable[Step]:
        """How one change is carried out. Pure; the returned steps do the I/O when run."""
        ...


def ses_arn(rt: Runtime, region: str, name: str) -> str:
    """The ARN of an SES resource of the run's account: ``name`` is ``identity/x``, ``configuration-set/x`` ..."""
    return f"arn:{rt.partition}:ses:{region}:{rt.account}:{name}"
