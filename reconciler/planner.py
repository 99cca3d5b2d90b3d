"""The plan: a pure function of a World. No I/O, no clock, no environment.

Every kind says its differences; here they become one plan: renames joined, targets picked, put in order, judged.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from reconciler import __version__
from reconciler.errors import ReconError, Refused
from reconciler.kinds.comparing import differences
from reconciler.kinds.kind import Step
from reconciler.kinds.ownership import RECORDS, owner_of, unpack
from reconciler.kinds.registry import REGISTRY
from reconciler.kinds.snapshot import ReadScope, Snapshot
from reconciler.model import Address, Change, Diagnostic, Note, Plan, Stack
from reconciler.names import fold_domain, fold_identity, parents
from reconciler.resources.dns_record.kind import known_addresses
from reconciler.rules import RULES
from reconciler.rules import context as rules
from reconciler.rules.outside import Outside
from reconciler.steps import documented_seconds, steps_of

STATUSES = frozenset({"PENDING", "FAILED", "TEMPORARY_FAILURE", "NOT_STARTED"})


def make_plan(
    snapshot: Snapshot,
    *,
    targets: Sequence[str] = (),
    refresh: str = "full",
    calls: Mapping[str, int] | None = None,
    outside: Outside | None = None,
) -> Plan:
    """The plan for a world that has been read.

    ``targets`` are addresses or globs; what a targeted change needs comes along. Outcome is ``refused`` where a
    safeguard that no flag lifts stands, else ``changes`` or ``no_changes``. Rules look beyond AWS through ``outside``.
    """
    _rename_users(snapshot)
    changes: list[Change] = []
    for kind in REGISTRY.values():
        changes += kind.plan(snapshot)
    changes = _join_renames(snapshot, changes)
    judged, findings = rules.evaluate(snapshot, changes, outside)
    changes = list(judged)
    if targets:
        changes = select(changes, targets, _known(snapshot, changes, targets), _unread(snapshot))
    changes = in_order(changes)
    diagnostics = [
        *snapshot.diagnostics,
        *_unread(snapshot),
        *_statuses(snapshot, targets),
        *(findings if not targets else ()),
    ]
    stack = snapshot.state.stack
    refused = snapshot.refusals > 0
    steps = [step for change in changes for step in steps_of(change)]
    write_calls, seconds = documented_seconds(steps)
    return Plan(
        stack=stack.name,
        environment=stack.environment,
        account=stack.account,
        outcome="refused" if refused else "changes" if changes else "no_changes",
        created_at=snapshot.now,
        state_digest=snapshot.state.digest,
        changes=tuple(changes),
        diagnostics=tuple(_sorted(diagnostics)),
        refresh=refresh,
        unread=(*(part.prefix for part in snapshot.unread), *_skipped(snapshot)),
        scanned=tuple(snapshot.scanned),
        calls=dict(calls or {}),
        write_calls=write_calls,
        seconds=seconds,
        recon_version=__version__,
        scope=stack.scope,
        context=context_of(snapshot, targets),
    )


def context_of(snapshot: Snapshot, targets: Sequence[str]) -> dict[str, Any]:
    """What applying needs beside the changes, JSON-able: the stack's place, not its contents."""
    stack = snapshot.state.stack
    return {
        "stack": {
            "name": stack.name,
            "environment": stack.environment,
            "account": stack.account,
            "regions": list(stack.regions),
            "partition": stack.partition,
            "plan_role_arn": stack.plan_role_arn,
            "apply_role_arn": stack.apply_role_arn,
            "dns_account": stack.dns_account,
            "dns_role_arn": stack.dns_role_arn,
            "max_deletes": stack.max_deletes,
            "backend": dict(stack.backend),
        },
        "root": snapshot.facts.get("root", "."),
        "targets": list(targets),
        "removing": snapshot.removing,
        "blocked": snapshot.blocks,
        "unreadable": len(snapshot.unread),
    }


def stack_of_context(context: Mapping[str, Any]) -> Stack:
    """The Stack that a saved plan was made for. Raises ReconError where the plan does not say."""
    try:
        fields = dict(context["stack"])
        return Stack(**{**fields, "regions": tuple(fields["regions"])})
    except (KeyError, TypeError, ValueError) as problem:
        raise ReconError(f"the plan does not say which stack it is for ({problem})", hint="plan again") from None


# --- renames -------------------------------------------------------------------------------------------------------


def _rename_users(snapshot: Snapshot) -> None:
    """``moved`` of an SMTP user: IAM renames in place, so the live user (and its key) is planned under its new name."""
    for moved in snapshot.state.moved:
        kind, _, old = moved.from_address.partition("/")
        new = moved.to_address.partition("/")[2]
        live = snapshot.observed.get(moved.from_address)
        if kind != "smtp_user" or live is None or moved.to_address in snapshot.observed:
            continue
        if moved.to_address not in snapshot.desired or owner_of(live.tags) != snapshot.scope:
            continue
        for name in ("smtp_user", "smtp_credential"):
            found = snapshot.observed.pop(f"{name}/{old}", None)
            if found is not None:
                facts = {**found.facts, "live_name": old}
                snapshot.observed[f"{name}/{new}"] = replace(found, address=f"{name}/{new}", name=new, facts=facts)


def _join_renames(snapshot: Snapshot, changes: list[Change]) -> list[Change]:
    """``moved``: the delete of the old and the create of the new become one replacement, which counts as no delete."""
    by_address = {change.address: change for change in changes}
    for moved in snapshot.state.moved:
        old, new = by_address.get(moved.from_address), by_address.get(moved.to_address)
        if old is None or new is None or (old.action, new.action) != ("delete", "create") or old.kind != new.kind:
            continue
        joined = replace(
            new,
            action="replace",
            before=old.before,
            diff=differences(old.before, new.after),
            depends_on=tuple(sorted({*new.depends_on})),
            observed_digest=None,
            notes=(*new.notes, Note("renamed", "note", f"takes the place of {old.address}, which goes last")),
            execution={**new.execution, "moved": old.to_json()},
            source=moved.source,
        )
        changes = [joined if c.address == new.address else c for c in changes if c.address != old.address]
        by_address = {change.address: change for change in changes}
    return changes


# --- targets and order ---------------------------------------------------------------------------------------------


_TARGETED = (
    "email_identity", "configuration_set", "event_destination", "dedicated_ip_pool", "smtp_user", "smtp_credential",
)  # fmt: skip


_SWEPT = ("email_identity", "configuration_set", "dedicated_ip_pool")
"""The kinds of which the tagging sweep tells all that is ours."""


def normalise_target(target: str) -> str:
    """A target with its domain names in the form of addresses: lower case, A-labels; a glob stays as it is."""
    kind, *rest = target.split("/")
    if any(character in target for character in "*?["):
        return target
    try:
        if kind == "email_identity" and len(rest) == 2:
            rest[1] = fold_identity(rest[1])
        elif kind == "dns_record" and len(rest) == 3:
            name, colon, token = rest[1].partition(":")
            rest = [fold_domain(rest[0]), fold_domain(name, record=True) + colon + token, rest[2].upper()]
    except ValueError:
        return target
    return "/".join([kind, *rest])


def all_declared(snapshot: Snapshot, targets: Sequence[str]) -> bool:
    """Whether targets are given, and each is the address of something declared that is no record."""
    return bool(targets) and all(target in snapshot.desired for target in targets)


def scope_for_targets(snapshot: Snapshot, targets: Sequence[str]) -> ReadScope | None:
    """What must be read for these targets: what they name, declared or ours, and what that needs or shares.

    None where only a run over everything can say: a target without a kind, one that names nothing known, one that is
    to go. A domain is one thing with all its identities; a set goes with its destinations and its pool, a user with its
    credential.
    """
    known = {*snapshot.desired}
    for named in (*snapshot.owned.values(), *snapshot.facts.get("named", {}).values()):
        known |= {*named}
    taken: set[Address] = set()
    domains: set[str] = set()
    for target in targets:
        kind, _, rest = target.partition("/")
        if kind == "dns_record":
            zone, _, label = rest.partition("/")
            name = label.rpartition("/")[0].partition(":")[0]
            if not name or any(c in zone + name for c in "*?["):
                return None
            domains |= {name, *parents(name)}
            # a set may have put a tracking record that only it, live, still knows of
            sets = snapshot.owned.get("configuration_set", {}).items()
            taken |= {address for address, tags in sets if "tracking" in unpack(tags, RECORDS)}
            if name.startswith("_dmarc."):  # it governs what is below, too
                below = name.removeprefix("_dmarc")
                domains |= {a.split("/", 2)[2] for a in known if a.startswith("email_identity/") and a.endswith(below)}
            continue
        found = {a for a in known if a == target or fnmatch.fnmatchcase(a, target)}
        if not found and kind in _SWEPT and not any(c in target for c in "*?["):
            continue  # nothing that is declared or ours: refused once the rest is known (``select``)
        if kind not in _TARGETED or not found or found - snapshot.desired.keys():
            return None  # what goes may be used by things that only they, live, know of
        taken |= found
        if kind == "configuration_set":  # what may send through it says what a change of it means for mail
            regions = {a.split("/")[1] for a in found}
            taken |= {a for a in known if a.startswith("email_identity/") and a.split("/")[1] in regions}
    return _with_needs(snapshot, known, taken, domains)


def _with_needs(snapshot: Snapshot, known: set[Address], taken: set[Address], domains: set[str]) -> ReadScope:
    by_name: dict[str, list[Address]] = {}
    tracking: dict[str, list[Address]] = {}
    for address in known:
        if address.startswith("email_identity/"):
            by_name.setdefault(address.split("/", 2)[2], []).append(address)
    for desired in snapshot.kind("configuration_set"):
        redirect = (desired.spec.get("tracking_options") or {}).get("custom_redirect_domain")
        tracking.setdefault(str(redirect), []).append(desired.address)
    for name in domains:
        taken |= {*by_name.get(name, ()), *tracking.get(name, ())}
    todo = sorted(taken)
    taken.clear()
    while todo:
        address = todo.pop()
        if address in taken:
            continue
        taken.add(address)
        kind, _, rest = address.partition("/")
        region, _, name = rest.partition("/")
        spec = snapshot.desired[address].spec if address in snapshot.desired else {}
        if kind == "email_identity":
            domains.add(name)
            todo += by_name.get(name, ())
            if spec.get("configuration_set_name"):
                todo.append(f"configuration_set/{region}/{spec['configuration_set_name']}")
        elif kind == "configuration_set":
            pool = (spec.get("delivery_options") or {}).get("sending_pool_name")
            redirect = (spec.get("tracking_options") or {}).get("custom_redirect_domain")
            if redirect:  # SES takes it once an identity at or above it is verified
                todo += tracking.get(redirect, ())
                todo += [a for above in (redirect, *parents(redirect)) for a in by_name.get(above, ())]
            if pool:
                todo.append(f"dedicated_ip_pool/{region}/{pool}")
        elif kind == "event_destination":
            todo.append(f"configuration_set/{region}/{name.partition('/')[0]}")
        elif kind == "dedicated_ip_pool":  # addresses move from pool to pool
            todo += [a for a in known if a.startswith(f"dedicated_ip_pool/{region}/")]
        elif kind in ("smtp_user", "smtp_credential"):
            todo += [f"smtp_user/{rest}", f"smtp_credential/{rest}"]
            for arn in spec.get("identities") or ():
                todo += by_name.get(str(arn).rpartition(":identity/")[2], ())
        for moved in snapshot.state.moved:
            if address in (moved.from_address, moved.to_address):
                todo += [moved.from_address, moved.to_address]
    return ReadScope(frozenset(taken), frozenset(domains))


def _known(snapshot: Snapshot, changes: Iterable[Change], targets: Sequence[str]) -> set[Address]:
    """Every address that a target may name. Records have theirs only through what derives them: these are told where
    a target fits nothing else."""
    if snapshot.removing:  # what the state declares may be gone already: a run that ended early is run again
        declared = {one.address: one for kind in REGISTRY.values() for one in kind.desired(snapshot.state)}
        snapshot = replace(snapshot, removing=False, desired=declared, keys=defaultdict(str, snapshot.keys))
    known = {*snapshot.desired, *snapshot.observed}
    there = {*known, *(change.address for change in changes)}
    if all(any(a == target or fnmatch.fnmatchcase(a, target) for a in there) for target in targets):
        return known
    return known | set(known_addresses(snapshot))


def select(
    changes: Sequence[Change], targets: Sequence[str], known: Iterable[Address] = (), unread: Sequence[Diagnostic] = ()
) -> list[Change]:
    """The changes that match a target, with all that they need: what must be there first, and what remembers them.

    ``known`` are the addresses that exist or are declared, changed or not. Raises ReconError for targets that fit none
    of them, with what is near; and with what is ``unread``, which they might have fitted.
    """
    by_address = {change.address: change for change in changes}
    everything = sorted({*by_address, *known})
    wanted: set[Address] = set()
    strays = []
    for target in targets:
        found = [a for a in everything if a == target or fnmatch.fnmatchcase(a, target)]
        if not found:
            near = difflib.get_close_matches(target, everything, n=1)
            hint = f"did you mean {near[0]}?" if near else "`recon graph --format text` lists what is declared"
            strays.append(
                Diagnostic("error", "unknown-target", f"--target {target} fits nothing", hint, address=target)
            )
        wanted |= by_address.keys() & set(found)
    if strays:
        raise ReconError(strays[0].message, hint=strays[0].hint, diagnostics=(*strays, *unread))
    todo = list(wanted)
    while todo:
        change = by_address[todo.pop()]
        needs = {need.partition("#")[0] for step in steps_of(change) for need in step.needs}
        for need in sorted({*change.depends_on, *needs}):
            if need in by_address and need not in wanted:
                wanted.add(need)
                todo.append(need)
    return [change for change in changes if change.address in wanted]


def in_order(changes: Sequence[Change]) -> list[Change]:
    """By needs, then by kind and address; deletes last, in the reverse of needs. Raises ReconError naming a cycle."""
    rank = {
        name: number
        for number, name in enumerate(
            (
                "dedicated_ip_pool",
                "configuration_set",
                "event_destination",
                "email_identity",
                "dns_record",
                "smtp_user",
                "smtp_credential",
            )
        )
    }
    by_address = {change.address: change for change in changes}
    done: dict[Address, None] = {}
    under_way: list[Address] = []

    def visit(change: Change) -> None:
        if change.address in done:
            return
        if change.address in under_way:
            circle = " -> ".join([*under_way[under_way.index(change.address) :], change.address])
            raise ReconError(f"these changes need each other in a circle: {circle}")
        under_way.append(change.address)
        for need in change.depends_on:
            other = by_address.get(need)
            if other is not None and (other.action == "delete") == (change.action == "delete"):
                visit(other)
        under_way.pop()
        done[change.address] = None

    def place(change: Change) -> tuple[bool, int, str]:
        gone = change.action == "delete"
        number = rank.get(change.kind, 99)
        return gone, -number if gone else number, change.address

    for change in sorted(changes, key=place):
        visit(change)
    return [by_address[address] for address in done]


# --- what a plan says beside its changes ---------------------------------------------------------------------------


def _unread(snapshot: Snapshot) -> list[Diagnostic]:
    return [
        Diagnostic("error", "unread", f"could not read {part.prefix}: {part.reason}", part.hint, address=part.prefix)
        for part in snapshot.unread
    ]


def _skipped(snapshot: Snapshot) -> list[str]:
    """The declared attributes that a bulk read does not see, as ``ADDRESS:PATH``."""
    return sorted(f"{live.address}:{path}" for live in snapshot.observed.values() for path in live.unread)


def _statuses(snapshot: Snapshot, targets: Sequence[str]) -> list[Diagnostic]:
    """What AWS still verifies or has found wrong: a status, never a change."""
    found = []
    for live in snapshot.observed.values():
        if live.kind != "email_identity" or live.address not in snapshot.desired:
            continue
        if targets and not any(fnmatch.fnmatchcase(live.address, t) for t in targets):
            continue
        facts = live.facts
        wrong = {
            "verification": facts.get("verification_status"),
            "DKIM": facts.get("dkim_status"),
            "MAIL FROM": facts.get("mail_from_status"),
        }
        if "@" in live.name or not live.spec["dkim"]["signing_enabled"]:
            wrong.pop("DKIM")
        words = [f"{name} {status}" for name, status in wrong.items() if status in STATUSES]
        if not words:
            continue
        failed = any(status in {"FAILED", "TEMPORARY_FAILURE"} for status in wrong.values())
        why = (
            f" ({facts['error_type']})"
            if facts.get("error_type") and facts.get("verification_status") != "SUCCESS"
            else ""
        )
        found.append(
            Diagnostic(
                "warning" if failed else "note",
                "status",
                f"{live.name} in {live.region}: {', '.join(words)}{why}",
                VERIFICATION_HINTS.get(str(facts.get("error_type")), "") if why else "",
                address=live.address,
            )
        )
    return found


VERIFICATION_HINTS = {
    "HOST_NOT_FOUND": "SES found no record at the DKIM names: are they published, and is the zone the live one?",
    "TYPE_NOT_FOUND": "the DKIM names exist but have no CNAME (or TXT for BYODKIM)",
    "INVALID_VALUE": "the DKIM records do not hold the values that SES expects",
    "DNS_SERVER_ERROR": "the domain's name servers did not answer SES: check the delegation at the registrar",
    "SERVICE_ERROR": "SES had a problem of its own and will try again",
    "REPLICATION_ACCESS_DENIED": "allow ses:ReplicateEmailIdentityDkimSigningKey on the parent identity",
    "REPLICATION_PRIMARY_NOT_FOUND": "the parent region has no such identity: create it there first",
    "REPLICATION_PRIMARY_BYO_DKIM_NOT_SUPPORTED": "the parent uses BYODKIM; it must use Easy DKIM",
    "REPLICATION_REPLICA_AS_PRIMARY_NOT_SUPPORTED": "the parent is a replica itself: name the one with the keys",
    "REPLICATION_PRIMARY_INVALID_REGION": "the parent region cannot be one: name another",
}
"""What to do about each ErrorType of VerificationInfo (SES v2 API reference, VerificationInfo)."""


def _sorted(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    weight = {"error": 0, "warning": 1, "note": 2}
    unique = dict.fromkeys(diagnostics)
    return sorted(unique, key=lambda d: (weight[d.severity], d.code, d.address, d.message))


# --- safeguards ----------------------------------------------------------------------------------------------------


def check_safeguards(
    plan: Plan,
    *,
    allow_adopt: bool = False,
    allow_deletes: int | None = None,
    resume_sending: bool = False,
    max_deletes: int = 5,
    consent: bool = False,
) -> None:
    """Refuse, before anything is written, what the contract's safeguards guard. Raises Refused naming each.

    ``consent`` says that somebody saw the whole plan as a saved file (adoption) or typed the stack's name (destroy).
    """
    wrong: list[Diagnostic] = []
    if plan.outcome == "refused":
        wrong += [d for d in plan.diagnostics if d.severity == "error" and d.code != "unread"]
    adopted = [change.address for change in plan.changes if change.action == "adopt"]
    if adopted and not (allow_adopt or consent):
        wrong.append(
            Diagnostic(
                "error",
                "adopt",
                f"{len(adopted)} live things without an owner would be adopted: {_some(adopted)}",
                "look at the plan, then apply with --allow-adopt, or apply a saved plan that shows it",
            )
        )
    deleted = [change.address for change in plan.changes if change.action == "delete" and change.counts]
    allowed = allow_deletes if allow_deletes is not None else max_deletes
    if len(deleted) > allowed:
        wrong.append(
            Diagnostic(
                "error",
                "max-deletes",
                f"{len(deleted)} declared things would be deleted, more than {allowed}: {_some(deleted)}",
                f"if that is meant, apply with --allow-deletes {len(deleted)}",
            )
        )
    resumed = [c.address for c in plan.changes if any(n.rule == "sending-resumes" for n in c.notes)]
    if resumed and not resume_sending:
        wrong.append(
            Diagnostic(
                "error",
                "resume-sending",
                f"sending is off live and would be turned on again: {_some(resumed)}",
                "somebody may have stopped it on purpose; if it should run again, apply with --resume-sending",
            )
        )
    wrong += [
        Diagnostic(
            "error",
            n.rule,
            f"{c.address}: {n.message}",
            f"see docs/rules/{n.rule}.md; set the rule's severity or a waiver",
            address=c.address,
            file=c.source.file if c.source else "",
            line=c.source.line if c.source else 0,
        )
        for c in plan.changes
        for n in c.notes
        if n.severity == "error"
    ]
    wrong += [d for d in plan.diagnostics if plan.changes and d.severity == "error" and d.code in RULES]
    if wrong:
        raise Refused(wrong[0].message, hint=wrong[0].hint, diagnostics=tuple(wrong))


def _some(addresses: Sequence[str]) -> str:
    return ", ".join(addresses[:3]) + (f" and {len(addresses) - 3} more" if len(addresses) > 3 else "")


def count_calls(steps: Iterable[Step]) -> Counter[str]:
    return Counter(call for step in steps for call in step.calls)
