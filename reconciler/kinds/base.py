"""What every kind shares: the World it plans in, ownership by tag, comparing, and the steps that carry a change out.

A kind is one file with one class; read any of them from top to bottom: its fields, how it is desired, observed,
compared, written and deleted. The planner calls ``desired`` -> ``observe`` -> ``plan``; the applier ``steps``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from reconciler.model import (
    Address,
    Change,
    Desired,
    Diagnostic,
    Document,
    Entry,
    FieldDiff,
    Note,
    Observed,
    Source,
    State,
    canonical_json,
)

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.kinds.dns.zones import Zone

# --- ownership: tags -----------------------------------------------------------------------------------------------

STACK = "recon:stack"
RECORDS = "recon:records"
TAGS = "recon:tags"
POLICIES = "recon:policies"
DESTINATIONS = "recon:destinations"
MAIL_FROM = "recon:mail_from"
PROTECT = "recon:protect"
DKIM_KEY = "recon:dkim-key"
KEY = "recon:key"
KEY_INTENT = "recon:key-intent"
PREFIX = "recon:"

LISTS = (RECORDS, TAGS, POLICIES, DESTINATIONS)

_TAG_VALUE = 256


def pack(items: Iterable[str], key: str) -> dict[str, str]:
    """A list of names as one tag, or several (``key``, ``key.2`` ...) where 256 characters do not hold it.

    Only letters, digits, space and ``+ - = . _ : / @`` may stand in a tag value (SES API, Tag): other characters, the
    separating space and the escape ``=`` itself are written ``=XX`` (hex of UTF-8). A name too long for one tag goes
    on in the next: the tag before then ends with a bare ``=``, which no escape does.
    """
    words = [part for item in sorted(set(items)) for part in _cut_word(_escape(item))]
    if not words:
        return {}
    tags: dict[str, str] = {}
    line = ""
    lines: list[str] = []
    for word in words:
        if line and len(line) + 1 + len(word) > _TAG_VALUE:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    if line:
        lines.append(line)
    for number, text in enumerate(lines, 1):
        tags[key if number == 1 else f"{key}.{number}"] = text
    return tags


def unpack(tags: Mapping[str, str], key: str) -> frozenset[str]:
    """The names that ``pack`` put into ``tags`` under ``key``."""
    if key not in tags:
        return frozenset()
    words: list[str] = []
    number = 1
    while (name := key if number == 1 else f"{key}.{number}") in tags:
        words += tags[name].split()
        number += 1
    whole: list[str] = []
    for word in words:
        if whole and whole[-1].endswith("="):
            whole[-1] = whole[-1][:-1] + word
        else:
            whole.append(word)
    return frozenset(_unescape(word) for word in whole)


def _cut_word(word: str) -> list[str]:
    """``word`` in parts that fit a tag value each, never cut inside an escape; all but the last end with ``=``."""
    parts = []
    while len(word) > _TAG_VALUE:
        end = _TAG_VALUE - 1
        while "=" in word[end - 2 : end]:
            end -= 1
        parts.append(word[:end] + "=")
        word = word[end:]
    return [*parts, word]


@lru_cache(maxsize=4096)
def _escape(text: str) -> str:
    if text.isascii() and text.isalnum():
        return text
    return "".join(c if c.isascii() and (c.isalnum() or c in "+-._:/@") else _hex(c) for c in text)


def _hex(character: str) -> str:
    return "".join(f"={byte:02X}" for byte in character.encode())


@lru_cache(maxsize=4096)
def _unescape(text: str) -> str:
    parts = text.split("=")
    out = bytearray(parts[0].encode())
    for part in parts[1:]:
        try:
            out.append(int(part[:2], 16))
        except ValueError:
            out += b"=" + part[:2].encode()
        out += part[2:].encode()
    return out.decode(errors="replace")


def user_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that people and other tools put: not ours and not AWS's own."""
    return {k: v for k, v in tags.items() if not k.startswith((PREFIX, "aws:"))}


def tags_from_aws(listed: Iterable[Mapping[str, str]] | None) -> dict[str, str]:
    """AWS's list of Key/Value pairs as a mapping."""
    return {tag["Key"]: tag.get("Value", "") for tag in listed or ()}


def tags_to_aws(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": tags[key]} for key in sorted(tags)]


def owner_of(tags: Mapping[str, str]) -> str | None:
    """Who owns a live resource: the stack scope in ``recon:stack``, a CloudFormation stack, or nobody (None)."""
    if STACK in tags:
        return tags[STACK]
    for key in ("aws:cloudformation:stack-name", "aws:cloudformation:stack-id"):
        if key in tags:
            return f"the CloudFormation stack {tags[key]}"
    return None


# --- the world -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unread:
    """A part that could not be read: every address that starts with ``prefix`` is unknown, for ``reason``."""

    prefix: str
    reason: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Aim:
    """What a run with targets reads: ``addresses``, declared or ours, and the zones of ``domains``."""

    addresses: frozenset[Address]
    domains: frozenset[str] = frozenset()

    def takes(self, address: Address) -> bool:
        kind, _, rest = address.partition("/")
        if kind == "dns_record" or not rest:
            return True  # records are those of what is taken
        if kind == "event_destination":
            region, _, name = rest.partition("/")
            return f"configuration_set/{region}/{name.partition('/')[0]}" in self.addresses
        return address in self.addresses


_PASSED = Unread("", "no target needs it")


@dataclass(slots=True)
class World:
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
    aim: Aim | None = None
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
        return bool(self.unread) or self.aim is not None

    def unknown(self, address: Address) -> Unread | None:
        """Why ``address`` is unknown, or None where it was read: could-not-read is never does-not-exist."""
        if self.aim is not None and not self.aim.takes(address):
            return _PASSED
        for part in self.unread:
            if address == part.prefix or address.startswith(part.prefix.rstrip("/") + "/"):
                return part
        return None

    def blind(self, name: str) -> Unread | None:
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

    def takes(self, address: Address) -> bool:
        """Whether this run reads ``address``: every run without targets does."""
        return self.aim is None or self.aim.takes(address)

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


# --- carrying out --------------------------------------------------------------------------------------------------


class Runtime(Protocol):
    """What a step may use while it runs: AWS, the run's shared results, and a voice."""

    aws: Aws
    scope: str
    account: str
    partition: str
    regions: tuple[str, ...]

    def result(self, address: Address, key: str) -> Any:
        """A value that an earlier step of this run learnt (DKIM tokens), or None."""
        ...

    def learn(self, address: Address, key: str, value: Any) -> None: ...

    def secret(self, reference: Mapping[str, Any], region: str | None) -> str:
        """The text of a secret reference ({secretsmanager|ssm|file|env}); never logged."""
        ...

    def still(self, address: Address) -> None:
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
    late: bool = False
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
    def told(self) -> Mapping[str, str]:
        """Attribute -> the call that a plan reads it with; docs/performance.md shows it, and a test holds it true."""
        ...

    def desired(self, state: State) -> Iterable[Desired]:
        """What the state declares of this kind, normalised."""
        ...

    def observe(self, aws: Aws, world: World) -> None:
        """Read what is live into ``world``; failures go to ``world.unread``."""
        ...

    def reread(self, aws: Aws, change: Change) -> str | None:
        """The fingerprint of one resource as it is now, or None: read just before it is changed."""
        ...

    def plan(self, world: World) -> Iterable[Change]:
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


# --- comparing -----------------------------------------------------------------------------------------------------


def _is_map(value: Any) -> bool:
    # Asking for the very class first spares most values the abstract one, which costs ten times as much.
    return type(value) is dict or (type(value) not in _LEAVES and isinstance(value, Mapping))


_LEAVES = frozenset({str, bool, int, type(None), list, tuple})


def overlay(desired: Any, observed: Any) -> Any:
    """``observed`` with every written field of ``desired`` laid over it; maps merge, everything else replaces."""
    if _is_map(desired) and _is_map(observed):
        merged = dict(observed)
        for key, value in desired.items():
            merged[key] = overlay(value, observed.get(key))
        return merged
    return desired


def project(observed: Any, desired: Any) -> Any:
    """The part of ``observed`` that ``desired`` names, so that unmanaged fields never show as a difference."""
    if _is_map(desired):
        if not _is_map(observed):
            return observed
        return {key: project(observed.get(key), value) for key, value in desired.items()}
    return observed


def differences(
    before: Document | None, after: Document | None, *, whole: tuple[str, ...] = (), desired: Desired | None = None
) -> tuple[FieldDiff, ...]:
    """Field by field, what ``after`` changes of ``before``; paths are the YAML's own.

    Lists are compared whole. ``whole`` names paths below which every key is one value (``policies``). deepdiff finds
    the places, but only once the cheap equality has failed: most resources of a run are unchanged.
    """
    if before == after:
        return ()
    old, new = _prune(before or {}), _prune(after or {})
    if old == new:
        return ()
    places: dict[tuple[str, ...], None] = {}
    for place in _places(old, new):
        path = _cut(place, whole)
        places |= dict.fromkeys(_leaves(path, _at(old, path), _at(new, path), whole))
    found = []
    for path in sorted(places):
        name = ".".join(path)
        found.append(FieldDiff(name, _at(old, path), _at(new, path), desired.source_of(name) if desired else None))
    return tuple(found)


def _places(old: Document, new: Document) -> Iterator[list[Any]]:
    """Where two documents differ; of one that is all new or all gone, every field."""
    if not (old and new):
        yield from ([key] for key in old or new)
        return
    from deepdiff import DeepDiff

    for group in DeepDiff(old, new, view="tree", threshold_to_diff_deeper=0).values():
        for item in group:
            yield item.path(output_format="list")


def _prune(value: Any) -> Any:
    """Tuples as lists, so that a document compares equal before and after a trip through JSON."""
    if isinstance(value, Mapping):
        return {k: _prune(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_prune(v) for v in value]
    return value


def _cut(path: list[Any], whole: tuple[str, ...]) -> tuple[str, ...]:
    out: list[str] = []
    for part in path:
        if isinstance(part, int):
            break
        out.append(str(part))
        if len(out) >= 2 and ".".join(out[:-1]) in whole:
            break
    return tuple(out)


def _leaves(path: tuple[str, ...], old: Any, new: Any, whole: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if len(path) >= 2 and ".".join(path[:-1]) in whole:
        yield path
        return
    branch = new if isinstance(new, dict) else old if isinstance(old, dict) else None
    if branch is None or (old is not None and new is not None and isinstance(old, dict) != isinstance(new, dict)):
        yield path
        return
    keys = dict.fromkeys([*(old if isinstance(old, dict) else {}), *(new if isinstance(new, dict) else {})])
    if not keys:
        yield path
    for key in keys:
        was = old.get(key) if isinstance(old, dict) else None
        now = new.get(key) if isinstance(new, dict) else None
        if was != now:
            yield from _leaves((*path, key), was, now, whole)


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        if not isinstance(document, Mapping):
            return None
        document = document.get(part)
    return document


def changed_paths(change: Change) -> frozenset[str]:
    return frozenset(diff.path for diff in change.diff)


def touches(change: Change, *prefixes: str) -> bool:
    """Whether a change alters any field at or below one of ``prefixes``."""
    return any(d.path == p or d.path.startswith(p + ".") for d in change.diff for p in prefixes)


def tag_phases(change: Change) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """The tags of a change in two phases: what is claimed before anything is written, what is released at the end.

    A tag that lists what we put must name a thing from before it is made until after it is gone, so lists that lose
    names are first written as the union. Returns (put first, put last, keys to drop last).
    """
    put, drop = tag_changes(change)
    before = present((change.before or {}).get("tags") or {})
    after = present((change.after or {}).get("tags") or {})
    first, last = dict(put), dict[str, str]()
    for key in LISTS:
        old, new = unpack(before, key), unpack({**before, **put}, key)
        if key in drop:
            new = frozenset()
        if old - new and new - old:
            mine = {k: v for k, v in after.items() if k == key or k.startswith(key + ".")}
            for k in mine:
                first.pop(k, None)
            first |= pack(old | new, key)
            last |= mine
        elif old - new:
            for k in [k for k in first if k == key or k.startswith(key + ".")]:
                last[k] = first.pop(k)
    old_key, new_key = before.get(DKIM_KEY, ""), put.get(DKIM_KEY)
    if old_key and new_key:
        # Two keys while one takes the place of the other: the record of the first is ours until it is gone.
        first[DKIM_KEY], last[DKIM_KEY] = " ".join(dict.fromkeys([*old_key.split(), new_key])), new_key
        if first[DKIM_KEY] == old_key:
            del first[DKIM_KEY]
    return first, last, drop


# --- tags of one resource ------------------------------------------------------------------------------------------


def left_alone(entry: Entry | None, *path: str) -> bool:
    """Whether the entry's ``unmanaged`` names this key or one above it: what we put there stays, and is forgotten."""
    named = (entry.values.get("unmanaged") or ()) if entry is not None else ()
    return any(".".join(path[:length]) in named for length in range(1, len(path) + 1))


def plan_tags(
    desired: Mapping[str, str],
    live: Mapping[str, str],
    scope: str,
    extra: Mapping[str, str | None] | None = None,
    entry: Entry | None = None,
) -> dict[str, str | None]:
    """The tags that a resource should carry, as far as we manage them; None marks one to take away.

    Ours are those the YAML names, those we put before and it no longer names (``recon:tags`` remembers), the owner
    tag, and ``extra`` recon tags. A tag found right that we did not put is not claimed: no change, and it stays when
    its line is taken out; so do those that ``entry`` leaves alone.
    """
    put_before = unpack(live, TAGS)
    wanted: dict[str, str | None] = dict(desired)
    for gone in put_before - desired.keys():
        if gone in live and not left_alone(entry, "tags", gone):
            wanted[gone] = None
    ours = {k for k in desired if k in put_before or live.get(k) != desired[k]}
    wanted[STACK] = scope
    _replace_packed(wanted, live, TAGS, ours)
    for key, value in (extra or {}).items():
        if value is not None or key in live:
            wanted[key] = value
    return wanted


def packed(live: Mapping[str, str], key: str, items: Iterable[str]) -> dict[str, str | None]:
    """``items`` packed under ``key``, with None for tags of an older, longer packing."""
    out: dict[str, str | None] = {}
    _replace_packed(out, live, key, items)
    return out


def _replace_packed(out: dict[str, str | None], live: Mapping[str, str], key: str, items: Iterable[str]) -> None:
    fresh = pack(items, key)
    out.update(fresh)
    for name in live:
        if (name == key or (name.startswith(key + ".") and name[len(key) + 1 :].isdigit())) and name not in fresh:
            out[name] = None


def present(tags: Mapping[str, str | None]) -> dict[str, str]:
    """Without those marked for removal."""
    return {k: v for k, v in tags.items() if v is not None}


def tag_changes(change: Change) -> tuple[dict[str, str], list[str]]:
    """The tags that a change sets and the keys that it takes away."""
    before = (change.before or {}).get("tags") or {}
    after = (change.after or {}).get("tags") or {}
    put = {k: v for k, v in after.items() if v is not None and before.get(k) != v}
    drop = [k for k, v in after.items() if v is None and before.get(k) is not None]
    return put, sorted(drop)


# --- shared planning -----------------------------------------------------------------------------------------------


def claim_or_refuse(world: World, address: Address, tags: Mapping[str, str], source: Source | None) -> str | None:
    """Whether we may manage a live resource: ``ours``, ``adopt``, or None after recording a refusal by name."""
    owner = owner_of(tags)
    if owner == world.scope:
        return "ours"
    if owner is None:
        return "adopt"
    who = owner if owner.startswith("the CloudFormation") else f'the recon stack "{owner}"'
    world.refuse(
        "owned-elsewhere",
        f"{address} belongs to {who}",
        address=address,
        source=source,
        hint=f"take it out of this stack's YAML, or release it there first (tag {STACK})",
    )
    return None


def protected(world: World, address: Address, tags: Mapping[str, str], verb: str) -> bool:
    """True after recording a refusal where the live tag ``recon:protect`` stands."""
    if tags.get(PROTECT) != "true":
        return False
    world.refuse(
        "protect",
        f"{address} is protected and would be {verb}",
        address=address,
        hint="declare it with `protect: false`, apply that alone, then remove it",
    )
    return True


def note(rule: str, severity: str, message: str) -> Note:
    return Note(rule, severity, message)  # type: ignore[arg-type]


def entry_tags(entry: Entry) -> dict[str, str]:
    return {str(k): str(v) for k, v in (entry.values.get("tags") or {}).items()}


def moment_of(text: object) -> datetime | None:
    """The time, in UTC, that a tag or a stored value tells; None where somebody wrote something else there."""
    try:
        found = datetime.fromisoformat(str(text))
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def ref_key(reference: Mapping[str, Any]) -> str:
    """The name under which a secret reference is known in ``World.keys``."""
    return canonical_json(reference)


def ses_arn(rt: Runtime, region: str, name: str) -> str:
    """The ARN of an SES resource of the run's account: ``name`` is ``identity/x``, ``configuration-set/x`` ..."""
    return f"arn:{rt.partition}:ses:{region}:{rt.account}:{name}"
