"""The World: everything a plan is made from, desired and observed, as plain data.

The kinds read into it (``observe``) and plan from it (``plan``); what could not be read is in it too (``Unread``), and
what a run with targets need not read (``ReadScope``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.model import Address, Desired, Diagnostic, Observed, Source, State, canonical_json

if TYPE_CHECKING:
    from reconciler.resources.dns_record.zones import Zone


@dataclass(frozen=True, slots=True)
class Unread:
    """A part that could not be read: every address that starts with ``prefix`` is unknown, for ``reason``."""

    prefix: str
    reason: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ReadScope:
    """What a run with targets reads: ``addresses``, declared or ours, and the zones of ``domains``."""

    addresses: frozenset[Address]
    domains: frozenset[str] = frozenset()

    def includes(self, address: Address) -> bool:
        kind, _, rest = address.partition("/")
        if kind == "dns_record" or not rest:
            return True  # records are those of what is taken
        if kind == "event_destination":
            region, _, name = rest.partition("/")
            return f"configuration_set/{region}/{name.partition('/')[0]}" in self.addresses
        return address in self.addresses


_PASSED = Unread("", "no target needs it")


@dataclass(slots=True)
class Snapshot:
    """Everything a plan is made from: desired and observed, as plain data. Filled by reading, then only read."""

    state: State
    now: str
    desired: dict[Address, Desired] = field(default_factory=dict)
    observed: dict[Address, Observed] = field(default_factory=dict)
    zones: dict[str, Zone] = field(default_factory=dict)
    unread: list[Unread] = field(default_factory=list)
    scanned: list[str] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    """BYODKIM public keys (base64 DER) by the canonical JSON of the reference that names the private key."""
    owned: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    """What the tagging sweep found of this stack: kind -> address -> tags."""
    facts: dict[str, Any] = field(default_factory=dict)
    refusals: int = 0
    blocks: int = 0
    read_scope: ReadScope | None = None
    """With targets: what they need. The rest is not read, and unknown without being a failure."""
    removing: bool = False
    """True while destroying: nothing is desired."""
    claims: dict[str, frozenset[str]] = field(default_factory=dict)
    """Record groups that this plan writes, by domain; filled by the DNS kind, read by the identities."""

    @property
    def scope(self) -> str:
        return self.state.stack.scope

    @property
    def partial(self) -> bool:
        """Whether anything is unknown at all."""
        return bool(self.unread) or self.read_scope is not None

    def unknown(self, address: Address) -> Unread | None:
        """Why ``address`` is unknown, or None where it was read: could-not-read is never does-not-exist."""
        if self.read_scope is not None and not self.read_scope.includes(address):
            return _PASSED
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

    def refuse(
        self, code: str, message: str, *, hint: str = "", address: str = "", source: Source | None = None
    ) -> None:
        """Record a refusal: the plan shows it, and apply will not write while it stands."""
        self.refusals += 1
        self.diagnostics.append(_diagnostic("error", code, message, hint, address, source))

    def blocked(
        self, code: str, message: str, *, hint: str = "", address: str = "", source: Source | None = None
    ) -> None:
        """Record that one part cannot go on; the rest of the plan does."""
        self.blocks += 1
        self.diagnostics.append(_diagnostic("error", code, message, hint, address, source))

    def say(
        self, severity: str, code: str, message: str, *, hint: str = "", address: str = "", source: Source | None = None
    ) -> None:
        self.diagnostics.append(_diagnostic(severity, code, message, hint, address, source))

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


def _diagnostic(severity: str, code: str, message: str, hint: str, address: str, source: Source | None) -> Diagnostic:
    return Diagnostic(
        severity,  # type: ignore[arg-type]
        code,
        message,
        hint,
        source.file if source else "",
        source.line if source else 0,
        source.column if source else 0,
        address,
    )


def ref_key(reference: Mapping[str, Any]) -> str:
    """The name under which a secret reference is known in ``Snapshot.keys``."""
    return canonical_json(reference)
