"""The snapshot: everything a plan is made from, desired and observed, as plain data.

The kinds read into it (``observe``); it is frozen before they plan from it (``plan``). What could not be read is in it
too (``Unread``), and what a run with targets does not read (``ReadScope``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import FrozenInstanceError, dataclass, field, fields
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.errors import AwsError, ReconError
from reconciler.kinds.ownership import may_write, owner_of
from reconciler.model import (
    Address,
    Desired,
    Diagnostic,
    Observed,
    Severity,
    Source,
    State,
    address_parts,
    canonical_json,
)
from reconciler.resources import entries_of, holder_of

if TYPE_CHECKING:
    from reconciler.kinds.externals import External
    from reconciler.kinds.obstacles import Obstacle
    from reconciler.resources.dns_record.zones import Zone
    from reconciler.rules.view import Topic


def now() -> str:
    """The time in ISO 8601, UTC; ``RECON_NOW`` overrides the clock in tests. Raises ReconError if that is invalid."""
    given = os.environ.get("RECON_NOW")
    if not given:
        return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise ReconError(f"RECON_NOW is not an ISO 8601 time: {given!r}") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Unread:
    """A part that could not be read: every address that starts with ``prefix`` is unknown, for ``reason``."""

    prefix: str
    reason: str
    hint: str = ""


class RecordOwner(NamedTuple):
    """The stack that owns a record, by its scope, and the resource whose tags say so."""

    scope: str
    address: Address


@dataclass(frozen=True, slots=True)
class ReadScope:
    """What a run with targets reads: ``addresses``, declared or ours, and the zones of ``domains``."""

    addresses: frozenset[Address]
    domains: frozenset[str] = frozenset()

    def includes(self, address: Address) -> bool:
        kind, _, name = address_parts(address)
        if kind == "dns_record" or not name:
            return True  # records are read with the resources that derive them
        return (holder_of(address) or address) in self.addresses


_OUT_OF_SCOPE = Unread("", "no target needs it")


@dataclass(slots=True)
class Diagnostics:
    """Diagnostics as they are found, and apart from them the refusals."""

    diagnostics: list[Diagnostic] = field(default_factory=list, kw_only=True)
    refusals: list[Diagnostic] = field(default_factory=list, kw_only=True)

    def refuse(
        self, code: str, message: str, *, hint: str = "", address: str = "", source: Source | None = None
    ) -> None:
        """Refuse the change at ``address``: it is planned and shown as a difference, and never carried out. Apply
        writes nothing while it is in the plan, unless it is told to skip it and what needs it."""
        self.refusals.append(_diagnostic("error", code, message, hint, address, source))

    def say(
        self,
        severity: Severity,
        code: str,
        message: str,
        *,
        hint: str = "",
        address: str = "",
        source: Source | None = None,
    ) -> None:
        self.diagnostics.append(_diagnostic(severity, code, message, hint, address, source))


def _diagnostic(
    severity: Severity, code: str, message: str, hint: str, address: str, source: Source | None
) -> Diagnostic:  # fmt: skip
    place = (source.file, source.line, source.column) if source else ("", 0, 0)
    return Diagnostic(severity, code, message, hint, *place, address)


@dataclass(slots=True)
class Snapshot(Diagnostics):
    """Everything a plan is made from: desired and observed, as plain data. Filled by reading, then frozen.

    Its own diagnostics are what reading found; what planning finds is in the ``PlanDraft``.
    """

    state: State
    now: str
    """ISO 8601."""
    desired: dict[Address, Desired] = field(default_factory=dict)
    observed: dict[Address, Observed] = field(default_factory=dict)
    zones: dict[str, Zone] = field(default_factory=dict)
    """Hosted zones by id. An apply keeps them up to date with what it writes, also in a frozen snapshot."""
    unread: list[Unread] = field(default_factory=list)
    scanned: list[str] = field(default_factory=list)
    """For people: which regions were searched and which zones were read."""
    keys: dict[str, str] = field(default_factory=dict)
    """BYODKIM public keys (base64 DER) by the canonical JSON of the reference that names the private key."""
    read_scope: ReadScope | None = None
    """With targets: what they need. The rest is not read, and unknown without being a failure."""
    removing: bool = False
    """True while destroying: nothing is desired."""
    root: str = "."
    """The directory that relative paths in the state start from."""
    refresh: str = "full"
    """``full`` or ``bulk``: with ``bulk`` most identities are read many at a time, and in part."""
    whole: set[Address] = field(default_factory=set)
    """What a bulk read reads whole all the same: those that a saved plan changes or depends on."""
    turn: int | None = None
    """The share of the identities that a bulk read reads whole today; None for none."""
    owned: dict[str, dict[Address, dict[str, str]]] = field(default_factory=dict)
    """What the tagging sweep found of this stack: kind -> address -> tags."""
    swept: set[str] = field(default_factory=set)
    """The regions in which the tagging sweep was answered."""
    refused: dict[str, str] = field(default_factory=dict)
    """Regions that refused this run's credentials, and of which nobody could say whether the account has them, with
    what they answered."""
    listed: dict[str, frozenset[str]] = field(default_factory=dict)
    """``KIND/REGION`` -> the names of everything there, in lower case, where a list was read."""
    unlisted: set[Address] = field(default_factory=set)
    """What is taken to be absent since a list does not have it (``listing``)."""
    sampled: set[Address] = field(default_factory=set)
    """What a list does not have and was read all the same."""
    former: dict[Address, str] = field(default_factory=dict)
    """What carries the tag of an owner that ``stack.formerly`` names -> that owner."""
    cloudformation: dict[Address, str] = field(default_factory=dict)
    """Declared resources with the tags of a CloudFormation stack that ``stack.formerly`` names -> why that stack still
    has it; empty where it has let it go."""
    named: dict[str, set[Address]] = field(default_factory=dict)
    """Kind -> addresses to read although nothing desires them: what is destroyed or imported."""
    tagged_zones: dict[str, list[str]] = field(default_factory=dict)
    """The ids of zones -> the stacks, this one and former ones, whose tag says that the zone has a marker of theirs."""
    zones_tried: set[str] | None = None
    """The ids of the zones that reading has tried; None before the zones were listed."""
    covering: dict[Address, str | None] = field(default_factory=dict)
    """Live identities that are not this stack's to plan and that tracking domains may need -> verification status,
    None where there is no such identity."""
    in_the_way: dict[Address, str] = field(default_factory=dict)
    """Declared addresses that cannot be created -> the name of what AWS has in their place."""
    twins: dict[Address, list[str]] = field(default_factory=dict)
    """Declared addresses that SES does not have -> names that it has and that differ in case only."""
    record_owners: dict[tuple[str, str], RecordOwner | Unread | None] = field(default_factory=dict)
    """(name of a record, its group) -> the other stack whose tags name it as its own, or why that could not be read;
    None where no tag does; absent where nobody asked."""
    ses_accounts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """The answer of GetAccount by region, where it was not denied."""
    ses_refusals: dict[str, AwsError] = field(default_factory=dict)
    """Why GetAccount had no answer, by region."""
    sns_topics: dict[str, Topic | None] = field(default_factory=dict)
    """Topics that declared resources name, by ARN; None where SNS does not have it, absent if not read."""
    externals: dict[External, str] = field(default_factory=dict)
    """What declared resources name and recon does not manage: why it cannot be used, empty where it can."""
    obstacles: dict[Address, tuple[Obstacle, ...]] = field(default_factory=dict)
    """What AWS would refuse a planned deletion for; absent where nobody asked."""
    sent_last_day: dict[Address, int] = field(default_factory=dict)
    """Messages that each identity that is to be deleted has sent in the last 24 hours, where more than none."""
    feedback_topics: dict[Address, frozenset[str] | None] = field(default_factory=dict)
    """Identity -> which of BOUNCE and COMPLAINT go to a topic of its own; None where that could not be read, absent
    where nobody asked."""
    principals: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    """``User`` and ``Role`` -> everybody in the account, as IAM describes them; ``Group`` and ``Policies`` -> what more
    rights come from. Absent where nobody asked."""
    no_policies: set[str] = field(default_factory=set)
    """ARNs of managed policies that were looked for and do not exist."""
    trails: dict[str, bool] = field(default_factory=dict)
    """Region -> whether some trail logs the calls there that change something; absent where nobody asked, or where that
    could not be read."""
    rules_asked: set[str] = field(default_factory=set)
    """The regions and topic ARNs that were read for the rules, or tried."""
    _frozen: bool = field(default=False, init=False, repr=False, compare=False)

    def __setattr__(self, name: str, value: Any) -> None:
        if getattr(self, "_frozen", False):
            raise FrozenInstanceError(f"{name}: the snapshot was frozen after reading")
        object.__setattr__(self, name, value)

    def freeze(self) -> Snapshot:
        """Make this snapshot read-only, in place: assignment raises, mappings and lists cannot be changed. What is live
        is sorted by address, so that a plan does not depend on which answer came first."""
        if not self._frozen:
            self.observed = dict(sorted(self.observed.items()))
            for one in fields(self):
                object.__setattr__(self, one.name, _read_only(getattr(self, one.name)))
            object.__setattr__(self, "_frozen", True)
        return self

    def thaw(self) -> Snapshot:
        """A copy that can be read into. What it holds (resources, zones) is shared, not copied."""
        return Snapshot(**{one.name: _writable(getattr(self, one.name)) for one in fields(self) if one.init})

    @property
    def scope(self) -> str:
        return self.state.stack.scope

    def owns(self, live: Observed) -> bool:
        """Whether this stack may change and delete ``live``: it carries our tag and is not let go (``released``), or a
        former owner's and is declared."""
        if owner_of(live.tags) != self.scope:
            return self.takes_over(live)
        return not self.lets_go(live.address)

    def takes_over(self, live: Observed) -> bool:
        """Whether ``live`` is a former owner's, and the state names it: then it changes hands, with its parts."""
        if not self.names(live.address) or owner_of(live.tags) in {None, self.scope}:
            return False
        return may_write(self.state.stack, owner_of(live.tags)) or self.cloudformation.get(live.address) == ""

    def names(self, address: Address) -> bool:
        """Whether the state declares ``address``, or renames it."""
        if address in self.desired:
            return True
        return not self.removing and any(moved.from_address == address for moved in self.state.moved)

    @property
    def released(self) -> frozenset[str]:
        """The entries that are let go, as SECTION.NAME."""
        return frozenset(map(str, self.state.released))

    def lets_go(self, address: Address) -> bool:
        """Whether ``released`` names the entry of ``address``, or the one that holds it; never what is declared, which
        only has the name of what a released one could hold."""
        if not self.state.released or address in self.desired:
            return False
        return not self.released.isdisjoint(entries_of(address))

    def imports(self, address: Address) -> bool:
        """Whether an import asks for ``address``: of all else that is named without being desired, parts are enough."""
        named = address in self.named.get(address_parts(address).kind, ())
        return named and not self.removing and not self.lets_go(address)

    @property
    def regions(self) -> frozenset[str]:
        """The regions that the state names: of the stack, of entries, of what is renamed."""
        old = (address_parts(moved.from_address).place for moved in self.state.moved)
        return frozenset(filter(None, (*self.state.stack.regions, *(e.region for e in self.state.entries), *old)))

    @property
    def partial(self) -> bool:
        """Whether anything is unknown at all."""
        return bool(self.unread) or self.read_scope is not None

    def unknown(self, address: Address) -> Unread | None:
        """Why ``address`` is unknown, or None where it was read: could-not-read is never does-not-exist."""
        if self.read_scope is not None and not self.read_scope.includes(address):
            return _OUT_OF_SCOPE
        for part in self.unread:
            if address == part.prefix or address.startswith(part.prefix.rstrip("/") + "/"):
                return part
        return None

    def zone_unread(self, name: str) -> Unread | None:
        """Why the records at ``name`` are unknown: its zone, or all zones, could not be read. None where they are."""
        for part in self.unread:
            kind, _, zone = part.prefix.partition("/")
            if kind == "dns_record" and (not zone or name == zone or name.endswith(f".{zone}")):
                return part
        return None

    def unreadable(self, prefix: str, reason: str, hint: str = "") -> None:
        self.unread.append(Unread(prefix, reason, hint))

    def includes(self, address: Address) -> bool:
        """Whether this run reads ``address``: every run without targets does."""
        return self.read_scope is None or self.read_scope.includes(address)

    def kind(self, name: str) -> Iterator[Desired]:
        return (d for d in self.desired.values() if d.kind == name)

    def live(self, kind: str) -> list[Observed]:
        """Every resource of a kind that was read so far. Services are read side by side into one dictionary, so nobody
        may walk through it while reading: it is copied first, in one step."""
        return [o for o in list(self.observed.values()) if o.kind == kind]

    def addresses(self, kind: str) -> list[Address]:
        """Every address of a kind, declared or live and ours, sorted."""
        found = {a for a, d in self.desired.items() if d.kind == kind}
        found |= {a for a, o in self.observed.items() if o.kind == kind}
        return sorted(found)


def _read_only(value: Any, inner: bool = True) -> Any:
    """``value`` read-only. A mapping is shared, and copied only where its own values are collections."""
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, set):
        return frozenset(value)
    if not isinstance(value, dict):
        return value
    if inner and isinstance(next(iter(value.values()), None), dict | list | set):
        value = {key: _read_only(one, inner=False) for key, one in value.items()}
    return MappingProxyType(value)


def _writable(value: Any) -> Any:
    """The opposite of ``_read_only``, as a copy."""
    kind = type(value)
    if kind is tuple:
        return list(value)
    if kind is frozenset:
        return set(value)
    if kind is not MappingProxyType:
        return value
    if type(next(iter(value.values()), None)) in {tuple, frozenset, MappingProxyType}:
        return {key: _writable(one) for key, one in value.items()}
    return dict(value)


def ref_key(reference: Mapping[str, Any]) -> str:
    """The name under which a secret reference is known in ``Snapshot.keys``."""
    return canonical_json(reference)
