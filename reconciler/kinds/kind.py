"""What a kind of resource is to the rest of recon: its interface, and the steps that carry a change out.

The planner calls ``desired`` -> ``observe`` -> ``plan``; the applier calls ``steps``.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, get_args

from reconciler.kinds.changes import release
from reconciler.kinds.externals import External
from reconciler.kinds.grants import Grant
from reconciler.kinds.lookups import Lookup, Said, names_item, said_under
from reconciler.kinds.obstacles import Found, tenants
from reconciler.kinds.ownership import owner_of
from reconciler.model import Address, Change, Desired, Diagnostic, Observed, Stack, State, address_parts
from reconciler.names import at_or_above
from reconciler.regions import literal, ses_arn
from reconciler.resources import KINDS, addresses_of, fields_with_arns
from reconciler.resources.spec import at_path

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.kinds.plan_draft import PlanDraft
    from reconciler.kinds.snapshot import Snapshot


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
        compare-and-swap, so a step of several writes reads again between them."""
        ...

    def wait_verified(self, region: str, domain: str) -> None:
        """Block until SES has verified ``domain`` in ``region``, or raise when the time limit passes."""
        ...


Run = Callable[[Runtime], None]

Label = Literal[
    "create", "claim", "update", "attributes", "dkim", "mail_from", "policies", "tracking", "release", "delete",
    "mark", "write", "untag", "verified",
]  # fmt: skip
"""What a step does to its resource. ``claim`` writes the tags that say what is ours before the rest is written,
``release`` those that forget it afterwards; ``mark`` and ``write`` are for records; ``verified`` has no step: it is the
wait for SES at the end of an apply."""

LABELS: Final[frozenset[str]] = frozenset(get_args(Label))


class Need(NamedTuple):
    """One step, named by its resource and what it does to it."""

    address: Address
    label: Label

    def __str__(self) -> str:
        return f"{self.address}#{self.label}"


def needs_of(addresses: Iterable[Address], *labels: Label) -> tuple[Need, ...]:
    """The steps ``labels`` of each of ``addresses``."""
    return tuple(Need(address, label) for address in addresses for label in labels)


class Order(NamedTuple):
    """What the steps of a resource wait for, by the addresses of other changes.

    ``before``: records that must be written before the resource is changed. ``marks``: markers that must name what the
    resource is about to forget. ``after``: what must be written or deleted before the tags (or the marker) of the
    resource forget it. Changes that are not in the plan count as done.
    """

    before: tuple[Address, ...] = ()
    marks: tuple[Address, ...] = ()
    after: tuple[Address, ...] = ()

    def execution(self) -> dict[str, Any]:
        """``{"order": Order}`` for ``Change.execution``; ``{}`` where there is nothing to wait for."""
        return {"order": self} if any(self) else {}

    def first(self) -> tuple[Need, ...]:
        """The steps that must have ended before the resource is changed."""
        return (*needs_of(self.before, "write"), *needs_of(self.marks, "mark"))

    def last(self) -> tuple[Need, ...]:
        """The steps that must have ended before the resource's tags forget something."""
        return needs_of(self.after, "write", "delete")


def order_of(change: Change) -> Order:
    """The order that planning has put into a change."""
    found: Order = change.execution.get("order") or Order()
    return found


@dataclass(frozen=True, slots=True)
class Step:
    """One part of carrying out a change.

    ``needs`` are steps that must have ended well before; those that are not in this run count as done. A DNS step has
    a ``zone`` and ``edits`` instead of ``run``: the applier joins all edits of a zone that may be written together into
    one batch. ``calls`` names the writes, for estimates and the fault matrix.
    """

    address: Address
    label: Label
    needs: tuple[Need, ...] = ()
    run: Run | None = None
    zone: str = ""
    edits: Callable[[Runtime], Iterable[Any]] | None = None
    calls: tuple[str, ...] = ()
    region: str | None = None
    after_verification: bool = False
    """Waits for SES to verify; runs after everything else."""
    unseen: tuple[str, ...] = ()
    """Error codes with which AWS refuses it while it does not see yet what the run has created of what it needs."""
    id: Need = dataclasses.field(init=False)
    """Kept, as an apply of many thousand steps has it in several sets and maps."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", Need(self.address, self.label))


class BaseKind(ABC):
    """One kind of resource, registered in ``reconciler.kinds.registry``."""

    name: str
    """As in addresses; what else the kind declares is in ``reconciler.resources.KINDS``."""
    reads: tuple[str, ...]
    """The AWS operations that reading calls, as ``service:Operation``."""
    writes: tuple[str, ...]
    """Those that applying calls, beside ``reads``."""
    read_calls: Mapping[str, str]
    """Attribute -> the call that a plan reads it with; docs/performance.md shows it, and a test checks it."""
    read_calls_bulk: Mapping[str, str] | None = None
    """The same with ``--refresh bulk``: what is not in it is not read then. None for kinds that bulk reads in full."""

    def desired(self, state: State) -> Iterable[Desired]:
        """What the state declares of this kind, normalised; nothing where all of it is derived while planning."""
        return ()

    @abstractmethod
    def observe(self, aws: Aws, snapshot: Snapshot) -> None:
        """Read what is live into ``snapshot``; failures are put into ``snapshot.unread``."""

    def after_reading(self, snapshot: Snapshot) -> None:
        """Adjust ``snapshot`` once every kind has been read, before it is frozen."""
        return

    @abstractmethod
    def reread(self, aws: Aws, change: Change) -> str | None:
        """The fingerprint of one resource as it is now, or None: read just before it is changed."""

    def conflicts(self, aws: Aws, change: Change) -> tuple[str, ...] | None:
        """The paths in the YAML of the fields that ``change`` writes and somebody else has changed since it began; None
        where the resource is gone. Empty for kinds that cannot tell: their steps compare by themselves."""
        return ()

    def is_visible(self, aws: Aws, change: Change) -> bool:
        """Whether AWS's reads already show what ``change`` has written: at least that it is not as it was before."""
        writes = change.action != "delete" and not (change.claims and not change.diff)
        return not writes or self.reread(aws, change) != change.observed_digest

    @abstractmethod
    def plan(self, draft: PlanDraft) -> Iterable[Change]:
        """The differences between desired and live in ``draft.snapshot``. No I/O; what later kinds must know is put
        into ``draft``."""

    def release(self, snapshot: Snapshot, live: Observed) -> Change | None:
        """What lets ``live`` go (``released``): recon's own tags taken off; None where it does not carry ours."""
        return release(live, live.tags) if owner_of(live.tags) == snapshot.scope else None

    def obstacles(self, aws: Aws, snapshot: Snapshot, going: Sequence[Observed]) -> Found:
        """What AWS would refuse the deletions of ``going`` for. Asked only about what a plan deletes."""
        return tenants(aws, going) if KINDS[self.name].in_tenants else {}

    def importable(self, aws: Aws, snapshot: Snapshot) -> Iterable[tuple[Observed, str]]:
        """What import takes that no call of ``listed`` names, each with why the YAML cannot say it, or "". Raises
        AwsError."""
        return ()

    def entry_of(self, live: Observed) -> dict[str, Any]:
        """The entry that says what is live, of a kind that has ``importable``."""
        raise NotImplementedError

    def known_addresses(self, snapshot: Snapshot) -> Iterable[Address]:
        """Addresses that a target may name although they are neither declared, nor live, nor changed."""
        return ()

    def statuses(self, snapshot: Snapshot) -> Iterable[Diagnostic]:
        """What AWS itself still works on or has found wrong: shown beside the changes, never a change."""
        return ()

    def began(self, one: Diagnostic) -> Lookup:
        """The look-up of the events that can have begun a status ``undated``."""
        raise NotImplementedError

    def dated(self, one: Diagnostic, events: Sequence[tuple[str, Said]], now: str) -> Diagnostic | None:
        """A status ``undated`` with its age, as ``events`` of ``began`` tell it: time and request, the newest first.
        None where it is too young to be told."""
        raise NotImplementedError

    @abstractmethod
    def steps(self, change: Change) -> Iterable[Step]:
        """How one change is carried out. Pure; the returned steps do the I/O when run."""

    # -- IAM and CloudTrail -----------------------------------------------------------------------------------------

    def own_grants(self, stack: Stack, address: Address) -> Iterable[Grant]:
        """What IAM calls the resource at ``address``; nothing where it is a part of another, or has no name in IAM."""
        spec = KINDS[self.name]
        if spec.swept:
            region, name = spec.located(address)
            yield Grant("own", spec.arn_of(stack.partition, region, stack.account, literal(name)))

    def grants(self, desired: Desired, state: State) -> Iterable[Grant]:
        """Everything that a plan or apply of ``desired`` touches: the resource, and what its fields refer to."""
        stack, region = state.stack, desired.region or ""
        yield from self.own_grants(stack, desired.address)
        for field in fields_with_arns(self.name, desired.spec):
            # What is declared as well is in its kind's own grants; of the rest recon reads the policy.
            topics = (text for text in field.texts_in(desired.spec) if text.split(":")[2:3] == ["sns"])
            yield from (Grant("topic", literal(text)) for text in topics if text.count(":") == 5)
        for reference in KINDS[self.name].references:
            named, arn = at_path(desired.spec, reference.path), KINDS[reference.kind].arn
            if isinstance(named, str) and named and arn:
                # Of a covering one, the identity that must be verified may be any at or above the name.
                names = [n for n in at_or_above(named) if "." in n] if reference.covering else [named]
                for name in names:
                    yield Grant("referred", ses_arn(stack.partition, region, stack.account, f"{arn}/{literal(name)}"))

    def externals(self, desired: Desired, state: State) -> Iterable[External]:
        """What ``desired`` names that recon does not manage, and cannot be without: it is asked whether that exists."""
        return ()

    def aws_default(self, path: str) -> Any:
        """What AWS gives a field of a new resource by itself; None for nothing."""
        return None

    def all_grants(self, state: State) -> Iterable[Grant]:
        """Everything that a plan or apply of ``state`` touches for this kind: what is declared, what ``moved`` renames,
        and what is let go."""
        for desired in self.desired(state):
            yield from self.grants(desired, state)
        for moved in state.moved:
            if address_parts(moved.from_address).kind == self.name:
                yield from self.own_grants(state.stack, moved.from_address)
        for one in state.released:
            # Read by name, also once it has lost the stack's tag; its own are taken off what carries it.
            for address in addresses_of(one.section, one.name, state.stack.regions):
                if address_parts(address).kind == self.name:
                    yield from (replace(g, role="released") for g in self.own_grants(state.stack, address))

    def lookups(self, change: Change) -> Iterable[Lookup]:
        """The questions to CloudTrail's history that find who made the difference ``change``."""
        spec = KINDS[self.name]
        names: Iterable[str] = dict.fromkeys(
            name for one in change.diff for name in spec.changed_by(one.path.partition(".")[0])
        )
        if change.action == "create":
            names = spec.deleted_by
        elif change.action == "delete":
            names = spec.created_by
        elif change.action == "adopt":
            names = (*spec.created_by, *spec.changed_by("tags"))
        for name in names:
            yield Lookup(change.region or "", "EventName", name)

    def explained(self, change: Change, event: str, said: Said) -> tuple[str, ...]:
        """The paths of the difference ``change`` that a call ``event`` with the request ``said`` can have made: an
        event counts for the attributes alone that it is about. A difference without paths has the path ""."""
        spec = KINDS[self.name]
        paths = tuple(one.path for one in change.diff) or ("",)
        whole = {
            "create": spec.deleted_by, "delete": spec.created_by, "adopt": (*spec.created_by, *spec.changed_by("tags")),
        }  # fmt: skip
        if change.action in whole:
            return paths if event in whole[change.action] else ()
        return tuple(p for p in paths if event in spec.changed_by(p.partition(".")[0]) and names_item(said, p))

    def concerns(self, change: Change, said: Said, lookup: Lookup) -> bool:
        """Whether an event that ``lookup`` has found is about the resource of ``change``: its request says ``said``."""
        spec, name = KINDS[self.name], address_parts(change.address).name.lower()
        if spec.address == ("REGION",):
            return True  # a region has one, so that no request names it
        arns = {f"{arn}/{name}" for arn in (spec.arn, *spec.arn_aliases)}
        if spec.service is not None:
            arns = {f"{spec.service.prefix}{name}"}
        return name in said_under(said, *spec.named_in) or any(
            arn.split(":", 5)[-1] in arns for arn in said_under(said, "resourcearn", *spec.named_in) if ":" in arn
        )
