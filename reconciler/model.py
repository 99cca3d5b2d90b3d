"""The values that flow one way: State -> Desired -> Observed -> Change -> Plan -> Result.

Everything here is frozen data without behaviour that touches the outside. JSON-able mappings are used for a
resource's fields ("documents"), so that a plan can be saved, compared, digested and rendered without per-kind code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

Address = str
"""KIND/PLACE.../NAME, for example ``email_identity/us-east-1/shop.acme.com``; stable over runs, known before apply."""


class AddressParts(NamedTuple):
    """An address taken apart. ``place`` is the region of an SES resource, the zone of a record, empty for IAM; ``name``
    is the rest: ``SET/NAME`` of an event destination, ``NAME/TYPE`` of a record."""

    kind: str
    place: str
    name: str


def address_parts(address: Address) -> AddressParts:
    """The kind, place and name in ``address``; what is missing is empty."""
    kind, _, rest = address.partition("/")
    place, slash, name = rest.partition("/")
    return AddressParts(kind, place, name) if slash else AddressParts(kind, "", place)


Document = Mapping[str, Any]
"""A resource's fields as plain JSON values, keys as in the YAML."""

ActionName = Literal["create", "adopt", "update", "replace", "delete"]
ACTIONS: Final[tuple[ActionName, ...]] = ("create", "adopt", "update", "replace", "delete")
SYMBOLS: Final[dict[str, str]] = {"create": "+", "adopt": ">", "update": "~", "replace": "-/+", "delete": "-"}

Severity = Literal["error", "warning", "note"]

OUTCOMES: Final = (
    "no_changes", "changes", "not_applied_yet", "applied", "partial", "not_started", "verify_timeout", "stale",
    "locked", "refused", "invalid", "error",
)  # fmt: skip


FINDINGS: Final = ("account-paused", "consumer-unacknowledged", "public-dns")
"""Codes of diagnostics with which drift exits 2 although nothing differs."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where in the YAML a value was asked for.

    ``via`` is empty when the place is the entry itself, else the layer that supplied the value, for people:
    ``defaults.domain``, ``class tenant``, ``environment production``, ``by_region eu-west-1``.
    Lines and columns count from 1.
    """

    file: str
    line: int
    column: int = 1
    via: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}"
        return f"{place} ({self.via})" if self.via else place


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing to tell the person: an input error, a refusal, something unread, a status."""

    severity: Severity
    code: str
    message: str
    hint: str = ""
    file: str = ""
    line: int = 0
    column: int = 0
    address: Address = ""
    stands: bool = False
    """Whether a rule finds it with this plan and without: the plan neither causes nor fixes it."""
    undated: bool = False
    """Whether it is a status of which nobody has noted when it began: drift asks CloudTrail."""

    def to_json(self) -> dict[str, Any]:
        found = {
            "severity": self.severity, "code": self.code, "message": self.message, "hint": self.hint or None,
            "file": self.file or None, "line": self.line or None, "column": self.column or None,
            "address": self.address or None,
        }  # fmt: skip
        return {**found, "stands": True} if self.stands else found


# --- desired -------------------------------------------------------------------------------------------------------


CLOUDFORMATION: Final = "cloudformation/"
"""How ``stack.formerly`` names a stack of CloudFormation."""


@dataclass(frozen=True, slots=True)
class Stack:
    """The ``stack:`` block after environment, defaults and variables.

    ``scope`` is the ownership scope: ``name`` or ``name/environment``; the value of the tag ``recon:stack``.
    """

    name: str
    environment: str | None
    account: str
    regions: tuple[str, ...]
    partition: str = "aws"
    plan_role_arn: str | None = None
    apply_role_arn: str | None = None
    dns_account: str | None = None
    dns_role_arn: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    max_deletes: int = 5
    backend: Mapping[str, Any] = field(default_factory=dict)
    source: Source = Source("", 0)
    formerly: tuple[str, ...] = ()
    """Owners from whom what is declared is taken over: scopes of stacks, and ``cloudformation/STACK``."""

    @property
    def scope(self) -> str:
        return f"{self.name}/{self.environment}" if self.environment else self.name

    @property
    def former_scopes(self) -> tuple[str, ...]:
        """The scopes of stacks among ``formerly``, sorted."""
        return tuple(sorted({one for one in self.formerly if not one.startswith(CLOUDFORMATION)} - {self.scope}))

    @property
    def scopes(self) -> tuple[str, ...]:
        """The stack's own scope and the former ones, sorted: the order in which their locks are taken."""
        return tuple(sorted({self.scope, *self.former_scopes}))


@dataclass(frozen=True, slots=True)
class Entry:
    """One declared thing, fully merged and interpolated, for one region (or ``None`` where it has none).

    ``values`` holds only what somebody wrote (entry, class, defaults, environment, by_region) with enum values in
    AWS's spelling and names folded; recon's own defaults are added by the kinds. ``sources`` maps each dotted path
    of ``values`` (``dkim.next_signing_key_length``; list items by index) to its place.

    A domain yields one entry per region (``region="us-east-1"``; none with ``identity: false``) and one with
    ``region=None`` for what is the domain's own: zone, dmarc, spf, bimi, null_mx, ttl.
    """

    section: str
    name: str
    region: str | None
    values: Document
    source: Source
    sources: Mapping[str, Source]
    takes_over: bool = False
    """Whether what it declares is another owner's until now (``stack.formerly``): what it does not write stays."""

    def source_of(self, path: str) -> Source:
        """The place that asks for ``path``, or of its nearest written parent, or the entry's own."""
        while path:
            if path in self.sources:
                return self.sources[path]
            path = path.rpartition(".")[0]
        return self.source


@dataclass(frozen=True, slots=True)
class Moved:
    """A rename said once: ``moved: [{from, to}]``."""

    from_address: Address
    to_address: Address
    source: Source


@dataclass(frozen=True, slots=True)
class Released:
    """An entry that is let go without being deleted: ``released: [SECTION.NAME]``, the name folded."""

    section: str
    name: str
    source: Source

    def __str__(self) -> str:
        return f"{self.section}.{self.name}"


@dataclass(frozen=True, slots=True)
class Waiver:
    """A rule finding accepted for a time: ``until`` is a date (ISO 8601), after which the rule reports again."""

    rule: str
    address: str
    reason: str
    until: str
    source: Source


@dataclass(frozen=True, slots=True)
class State:
    """The whole desired state of one stack and environment: what YAML loading returns."""

    stack: Stack
    entries: tuple[Entry, ...]
    moved: tuple[Moved, ...] = ()
    rules: Mapping[str, str] = field(default_factory=dict)
    waivers: tuple[Waiver, ...] = ()
    digest: str = ""
    root: str = "state"
    released: tuple[Released, ...] = ()
    _sections: dict[str, tuple[Entry, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def section(self, name: str) -> tuple[Entry, ...]:
        """The entries of one section in the order of the YAML."""
        found = self._sections.get(name)
        if found is None:
            found = self._sections[name] = tuple(entry for entry in self.entries if entry.section == name)
        return found


@dataclass(frozen=True, slots=True)
class Desired:
    """What the YAML says of one resource, normalised by its kind.

    ``spec`` holds only managed fields; a field that is absent is not managed, ``None`` means AWS's default.
    """

    address: Address
    kind: str
    region: str | None
    name: str
    spec: Document
    entry: Entry
    protect: bool = False

    def source_of(self, path: str) -> Source:
        return self.entry.source_of(path)


# --- observed ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Observed:
    """What a reader saw of one live resource, normalised to the same shape as ``Desired.spec``.

    ``tags`` are the live tags, ``facts`` what AWS alone decides (statuses, tokens, dates), never compared.
    ``unread`` are dotted paths that this read could not see.
    """

    address: Address
    kind: str
    region: str | None
    name: str
    spec: Document
    tags: Mapping[str, str] = field(default_factory=dict)
    facts: Document = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """A fingerprint of what a plan relies on: fields and tags, not statuses."""
        return digest_of({"spec": self.spec, "tags": dict(self.tags)})


# --- plan ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FieldDiff:
    """One leaf that differs; ``path`` is the YAML's own (``tags.team``, ``delivery_options.tls_policy``)."""

    path: str
    before: Any
    after: Any
    source: Source | None = None

    def to_json(self) -> dict[str, Any]:
        return {"path": self.path, "before": self.before, "after": self.after}


@dataclass(frozen=True, slots=True)
class Note:
    """What a change means for mail. ``rule`` is a stable id; ``severity`` error, warning or note. ``stands``: a rule
    finds it without this plan, too."""

    rule: str
    severity: Severity
    message: str
    stands: bool = False

    def to_json(self) -> dict[str, Any]:
        found = {"rule": self.rule, "severity": self.severity, "message": self.message}
        return {**found, "stands": True} if self.stands else found


class Refusal(NamedTuple):
    """Why one change is not carried out: a stable code, what is so, and what to do."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One resource's difference.

    ``before``/``after`` are documents (``None`` on create / delete); ``unknown`` are paths of ``after`` that AWS has
    not decided yet; ``moved_from`` is the address of what a rename replaces and deletes last.

    ``execution`` and ``moved`` are what carrying it out needs beside that. Planning makes them and no file holds them:
    a saved plan is planned again before it is applied (``reconciler/saved.py``).
    """

    address: Address
    kind: str
    action: ActionName
    before: Document | None
    after: Document | None
    diff: tuple[FieldDiff, ...] = ()
    unknown: tuple[str, ...] = ()
    depends_on: tuple[Address, ...] = ()
    notes: tuple[Note, ...] = ()
    source: Source | None = None
    observed_digest: str | None = None
    region: str | None = None
    execution: Document = field(default_factory=dict, compare=False)
    counts: bool = False
    """Whether deleting this counts against ``max_deletes`` (declared things, not records)."""
    moved_from: Address | None = None
    moved: Change | None = field(default=None, compare=False)
    """The deletion of ``moved_from``."""
    claims: bool = False
    """Whether nothing differs: what is live as declared is only remembered as this stack's from now on."""
    refused: Refusal | None = None
    """Why it is never carried out, although it is a difference; None for all that are."""

    def to_json(self) -> dict[str, Any]:
        return {
            "address": self.address, "kind": self.kind, "action": self.action, "region": self.region,
            "before": self.before, "after": self.after, "diff": [d.to_json() for d in self.diff],
            "unknown": list(self.unknown), "depends_on": list(self.depends_on),
            "notes": [n.to_json() for n in self.notes],
            "source": {"file": self.source.file, "line": self.source.line, "via": self.source.via or None}
            if self.source else None,
            "observed_digest": self.observed_digest, "counts": self.counts, "claims": self.claims,
            "moved_from": self.moved_from,
            "refused": self.refused._asdict() if self.refused else None,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """The ordered changes with everything a reader, a reviewer and the applier need; a value, not a process.

    ``calls`` counts the AWS calls that reading took, per service; ``write_calls`` and ``seconds`` estimate the apply
    at AWS's documented rates. ``scanned`` says in words what was looked at (regions swept, zones read).
    """

    stack: str
    environment: str | None
    account: str
    outcome: str
    created_at: str
    state_digest: str
    changes: tuple[Change, ...]
    diagnostics: tuple[Diagnostic, ...] = ()
    refresh: str = "full"
    unread: tuple[str, ...] = ()
    scanned: tuple[str, ...] = ()
    calls: Mapping[str, int] = field(default_factory=dict)
    write_calls: int = 0
    seconds: int = 0
    recon_version: str = ""
    scope: str = ""
    context: Document = field(default_factory=dict)
    """The stack, its roles and its limits, and how the plan was made. JSON-able, no secrets."""
    declared: Document | None = None
    """The declared state that the plan was made from (``desired/declared.py``); None where it was not saved with it."""
    digest: str = field(default="", compare=False)
    """The digest of the file that it was read from, which stays that of what was reviewed; empty of any other plan."""

    @property
    def summary(self) -> dict[str, int]:
        """The number of changes by action; a refused one counts as ``refused`` alone."""
        counts = dict.fromkeys((*ACTIONS, "refused"), 0)
        for change in self.changes:
            counts["refused" if change.refused else change.action] += 1
        return counts

    @property
    def findings(self) -> tuple[Diagnostic, ...]:
        """The diagnostics with which drift exits 2 although nothing differs."""
        return tuple(one for one in self.diagnostics if one.code in FINDINGS)


@dataclass(frozen=True, slots=True)
class Applied:
    """How one change ended: ``done``, ``failed``, ``not_started``, ``waiting`` (for AWS to verify) or ``skipped`` (it
    is refused, or needs what is refused)."""

    address: Address
    action: ActionName
    status: Literal["done", "failed", "not_started", "waiting", "skipped"]
    message: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """How an apply ended; rendered like a plan, with ``outcome`` and one line per change."""

    plan: Plan
    outcome: str
    applied: tuple[Applied, ...]
    diagnostics: tuple[Diagnostic, ...] = ()
    calls: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0


# --- helpers that every module needs -------------------------------------------------------------------------------


def canonical_json(value: Any) -> str:
    """One text per value: sorted keys, no spaces, UTF-8 kept. The form that every digest is taken over."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_of(value: Any) -> str:
    """``sha256:<hex>`` over the canonical JSON of ``value``."""
    return "sha256:" + hashlib.sha256(canonical_json(value).encode()).hexdigest()
