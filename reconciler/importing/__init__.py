"""``recon import``: what exists live as YAML that a person would keep, whose plan adopts and changes nothing.

``finding`` lists and reads (with the kinds' own readers), ``describing`` says each thing as an entry, ``spelling``
leaves out what a person would not write, ``draft`` holds the entries with what was left out of them, ``writing`` makes
YAML of them, ``proving`` loads and plans that YAML against what was read and takes out what would change anything.
Nothing here writes to AWS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler import regions as known_regions
from reconciler.aws import opt_in
from reconciler.aws.default_region import default_region
from reconciler.errors import ReconError
from reconciler.importing.describing import describe
from reconciler.importing.draft import ImportDraft
from reconciler.importing.finding import NameFilter, find, missing
from reconciler.importing.proving import prove
from reconciler.importing.spelling import respell
from reconciler.importing.users import SmtpUserFound
from reconciler.kinds.ownership import owner_of
from reconciler.kinds.snapshot import Snapshot
from reconciler.model import Diagnostic, Plan, Stack, State
from reconciler.observing import guard_account, sweep_owned
from reconciler.rules import RULES

if TYPE_CHECKING:
    from reconciler.aws import Aws

SINGLE: Final = "imported.yaml"
HOME: Final = "us-east-1"


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What is asked for: names, where to look, the stack that it is for, and how it is to be written.

    ``state`` is the desired state that exists already, with its path and environment; without it ``stack_name`` and
    ``account`` (None: that of the credentials) say whose YAML it is. ``regions`` empty: all of SES.
    """

    names: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    stack_name: str = "mail"
    account: str | None = None
    state: State | None = None
    path: str | None = None
    environment: str | None = None
    declare_users: bool = False
    single: str | None = SINGLE


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it. ``texts`` by file name; ``addresses`` are what they declare; ``closed`` are regions that
    are not enabled; ``unread``: parts are unknown; ``missed``: a name fitted nothing."""

    stack: Stack
    texts: Mapping[str, str]
    addresses: tuple[str, ...]
    diagnostics: tuple[Diagnostic, ...]
    calls: Mapping[str, int]
    plan: Plan | None
    closed: tuple[str, ...]
    unread: bool
    missed: bool
    new_keys: bool
    """Whether the first apply makes access keys."""


def stack_for(request: ImportRequest) -> Stack:
    """The stack to connect as; its account is empty where only AWS can say it."""
    if request.state is not None:
        return request.state.stack
    places = request.regions or (_home(),)
    partition = known_regions.partition_of(places[0])
    return Stack(request.stack_name, None, request.account or "", tuple(places), partition)


def _home() -> str:
    """The region of the credentials, or one of its partition that has SES; without one ``HOME``."""
    region = default_region()
    if region is None or region in known_regions.SES_REGIONS:
        return region or HOME
    return known_regions.home_region(known_regions.partition_of(region), HOME)


def run(request: ImportRequest, aws: Aws, now: str) -> Imported:
    """Find, describe, prove. Raises Refused for another account, ReconError for what the request gets wrong."""
    stack = aws.stack
    places = _places(request, stack)
    if not stack.account:
        stack = replace(stack, account=aws.account())
        aws.stack = stack
    guard_account(aws)
    snapshot = Snapshot(State(replace(stack, environment=request.environment), ()), now)
    names = NameFilter(request.names)
    declared = _declared(request.state)
    unswept = _sweep(snapshot, aws) if request.state is None else []
    # Only after the reading is it what a plan would delete: an import reads what is asked for.
    owned, snapshot.owned = snapshot.owned, {}
    found = find(
        aws, snapshot, names, places, asked=bool(request.regions or request.state), declared=declared,
        owned=[address for some in owned.values() for address in some],
    )  # fmt: skip
    snapshot.owned = owned
    draft = ImportDraft(
        _order(request, snapshot, places), environment=request.environment, declare_users=request.declare_users
    )
    if request.state is None:
        draft.stack = {"name": stack.name, "account": stack.account, "regions": draft.regions}
    describe(found, draft)
    others = [e.name for e in request.state.section("domains")] if request.state is not None else []
    missing(found, names, [*others, *(i.name for i in draft.items.values() if i.own.get("identity") is False)])
    seen = _half_declared(draft, request.state)
    for item in list(draft.items.values()):
        if (item.section, item.name) in seen:
            draft.items.pop((item.section, item.name))
    respell(draft, stack)
    draft.unread = [f"{part.prefix}: {part.reason}" for part in snapshot.unread]
    texts: Mapping[str, str] = {}
    plan: Plan | None = None
    if draft.items or draft.users:
        proof = prove(draft, snapshot, single=request.single, beside=request.path if request.state else None)
        texts, plan = proof.texts, proof.plan
    elif draft.stack is not None and not request.names:
        raise _nothing(snapshot, found.misses, draft)
    diagnostics = [
        *seen.values(),
        *unswept,
        *_owned_already(draft, snapshot),
        *_diagnostics(draft, snapshot, found.misses, plan),
    ]
    return Imported(
        stack,
        texts,
        tuple(sorted(draft.by_address()))
        + tuple(f"smtp_user/{u.name}" for u in draft.users if u.values is not None and draft.declare_users),
        tuple(diagnostics),
        dict(sorted(aws.calls.items())),
        plan,
        tuple(found.closed),
        bool(snapshot.unread),
        bool(found.misses),
        any(user.needs_key for user in draft.users) and draft.declare_users,
    )


def _places(request: ImportRequest, stack: Stack) -> tuple[str, ...]:
    if request.regions:
        return request.regions
    if request.state is not None:
        return stack.regions
    return tuple(r for r in known_regions.SES_REGIONS if known_regions.partition_of(r) == stack.partition)


def _order(request: ImportRequest, snapshot: Snapshot, places: Sequence[str]) -> tuple[str, ...]:
    """The regions of the stack block: those asked for, else those that hold something."""
    if request.state is not None:
        return request.state.stack.regions
    if request.regions:
        return tuple(places)
    used = {o.region for o in snapshot.observed.values() if o.region}
    return tuple(r for r in places if r in used) or (_home(),)


def _declared(state: State | None) -> Iterable[str]:
    from reconciler.kinds.registry import REGISTRY

    if state is None:
        return ()
    return [d.address for kind in REGISTRY.values() for d in kind.desired(state)]


def _half_declared(draft: ImportDraft, state: State | None) -> dict[tuple[str, str], Diagnostic]:
    """What is declared for other regions than those where it is live too: a second entry would be declared twice."""
    found: dict[tuple[str, str], Diagnostic] = {}
    for entry in state.entries if state else ():
        key = (entry.section, entry.name)
        item = draft.items.get(key)
        if item is None or key in found:
            continue
        where = ", ".join(item.regional) or "Route 53"
        found[key] = Diagnostic(
            "warning", "declared-elsewhere",
            f"{entry.section}.{entry.name} is declared, and it is live in {where} too",
            f"add {where} to its regions at {entry.source}", entry.source.file, entry.source.line,
            address=next(item.addresses(), ""),
        )  # fmt: skip
    return found


def _sweep(snapshot: Snapshot, aws: Aws) -> list[Diagnostic]:
    """Search all regions for what carries the new stack's tag already. A plan would delete what this YAML leaves out,
    so a failed search is reported; what is imported does not depend on it."""
    read = list(snapshot.unread)
    sweep_owned(snapshot, aws)
    missed, snapshot.unread = snapshot.unread[len(read) :], read
    return [Diagnostic("warning", "owned-unknown", part.reason, part.hint) for part in missed]


def _owned_already(draft: ImportDraft, snapshot: Snapshot) -> Iterable[Diagnostic]:
    """What the stack of this name owns by its tag, and this YAML does not declare: its plan would delete it."""
    mine = draft.by_address()
    owned = {address for addresses in snapshot.owned.values() for address in addresses} - mine.keys()
    owned |= {user.live.address for user in draft.users if owner_of(user.live.tags) == snapshot.scope
              and (user.values is None or not draft.declare_users)}  # fmt: skip
    for address in sorted(owned):
        yield Diagnostic(
            "warning", "owned-already",
            f"{address} carries the tag of the stack {snapshot.scope}; the plan of this YAML would delete it",
            "import it too, add the YAML to that stack's state, or choose another --stack", address=address,
        )  # fmt: skip


def _nothing(snapshot: Snapshot, misses: Sequence[tuple[str, str]], draft: ImportDraft) -> ReconError:
    diagnostics = tuple(_diagnostics(draft, snapshot, misses, None))
    if snapshot.unread:
        return ReconError("nothing could be read that could be imported", diagnostics=diagnostics)
    theirs = draft.left and all(left.code == "owned-elsewhere" for left in draft.left)
    why = ": all of it belongs to others" if theirs else ": all of it is left out" if draft.left else ""
    return ReconError(
        f"nothing live to import{' in the regions that could be read' if snapshot.refused else ''}{why}",
        hint="check the account and --region" + ("; `--stack NAME` writes anew what that stack owns" if theirs else ""),
        diagnostics=diagnostics,
    )  # fmt: skip


def _diagnostics(
    draft: ImportDraft, snapshot: Snapshot, misses: Sequence[tuple[str, str]], plan: Plan | None
) -> Iterable[Diagnostic]:
    for part in snapshot.unread:
        yield Diagnostic(
            "error", "unread", f"could not read {part.prefix}: {part.reason}", part.hint, address=part.prefix
        )
    if snapshot.refused:
        yield Diagnostic("note", "regions-refused", opt_in.unread_in(snapshot.refused), opt_in.HINT)
    for name, near in misses:
        hint = f"did you mean {near}?" if near else "a domain, an address, KIND/NAME, or an SMTP user; globs in quotes"
        yield Diagnostic("error", "no-such-thing", f"nothing live is called {name}", hint)
    for left in draft.left:
        yield Diagnostic(
            "warning", left.code, f"{left.address} is left out: {left.why}", left.hint, address=left.address
        )
    if draft.unowned:
        yield Diagnostic(
            "note", "unowned",
            f"only what the stack {snapshot.scope} owns is written: {len(draft.unowned)} others have no owner, such as "
            f"{draft.unowned[0]}",
            "name those that you want, or import them for another --stack", address=draft.unowned[0],
        )  # fmt: skip
    for item in draft.items.values():
        address = next(item.addresses(), "")
        for words in item.passing:
            yield Diagnostic("note", "not-shown-yet", words, address=address)
        for lost in item.dropped:
            path = ".".join(lost.path)
            yield Diagnostic("note", "not-managed", f"{item.section}.{item.name}.{path}: {lost.why}", address=address)
    for user in draft.users:
        if user.values is None:
            yield Diagnostic(
                "note", "user-not-sayable", f"smtp_users.{user.name}: {user.why}", address=user.live.address
            )
        elif not draft.declare_users:
            yield Diagnostic(
                "note", "user-not-declared",
                f"smtp_users.{user.name} is only a comment: declaring it makes a key{_keys_of(user)}",
                "take the # off, or use --smtp-users", address=user.live.address,
            )  # fmt: skip
    for found in plan.diagnostics if plan is not None else ():
        if found.code in RULES and found.severity == "error":
            yield replace(found, severity="warning")


def _keys_of(user: SmtpUserFound) -> str:
    """The access keys of a user as they are now; the YAML does not say it, where it would soon be wrong."""
    keys = []
    for key in user.keys:
        used = key["used"]
        when = f"last used {used['at'][:10]} ({used['service']}, {used['region']})" if used.get("at") else "never used"
        if used.get("unknown"):
            when = f"last use unknown: {used['unknown']}"
        keys.append(f"{key['id']}, {key['status']}, made {(key['created'] or '?')[:10]}, {when}")
    return f" (it has {'; '.join(keys)})" if keys else ""


def read_state(path: str, environment: str | None) -> State | None:
    """The state at ``path``, or None where there is no YAML yet. Raises InvalidState."""
    from reconciler import desired

    place = Path(path)
    if not place.exists() or (place.is_dir() and not any(place.rglob("*.y*ml"))):
        return None
    return desired.load(path, environment).state


__all__ = ["ImportRequest", "Imported", "read_state", "run", "stack_for"]
