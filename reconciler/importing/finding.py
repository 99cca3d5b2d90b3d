"""What exists live and is wanted: listed region by region, picked by name, read by the kinds' own readers.

Source: SES v2 API, ListEmailIdentities, ListConfigurationSets, ListDedicatedIpPools; IAM API,
GetAccountAuthorizationDetails.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from reconciler.aws import opt_in
from reconciler.errors import NOT_ENABLED, AwsError
from reconciler.importing.users import SmtpUserFound, smtp_users
from reconciler.kinds.kind import BaseKind
from reconciler.kinds.ownership import owner_of
from reconciler.kinds.reading import region_of
from reconciler.kinds.registry import REGISTRY
from reconciler.kinds.snapshot import Snapshot
from reconciler.model import Address, address_parts
from reconciler.names import fold_identity, similar
from reconciler.resources import KINDS, PLAN_ORDER, children, naming, references_to
from reconciler.resources.dns_record.kind import read_zones
from reconciler.resources.spec import KindSpec

if TYPE_CHECKING:
    from reconciler.aws import Aws

LISTED: Final = tuple(spec for spec in KINDS.values() if spec.listed[0])
"""The kinds of which a call lists all names in a region."""

NAMED: Final = tuple(kind for kind in reversed(PLAN_ORDER) if any(naming(kind)) and KINDS[kind] not in LISTED)
"""The kinds of which only what others name by its ARN is imported: an account has many topics that are not for mail."""

READS: Final = tuple(f"{spec.client}:{spec.listed[0]}" for spec in LISTED)
"""What import calls beside the reads of the kinds."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """One live thing that was not imported, and why."""

    address: Address
    code: str
    why: str
    hint: str = ""


@dataclass(slots=True)
class Discovery:
    """Everything that was read. ``parked`` are named domains without an identity, ``closed`` regions not open to us."""

    snapshot: Snapshot
    users: dict[str, SmtpUserFound] = field(default_factory=dict)
    parked: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    left: list[Skipped] = field(default_factory=list)
    listed: set[str] = field(default_factory=set)
    """The name of everything that there is, wanted or not."""
    misses: list[tuple[str, str]] = field(default_factory=list)
    """Names that fit nothing, with a near one."""
    owned_alone: bool = False
    """Whether only what carries the stack's tag is wanted: nobody has named anything, and there is such."""


class NameFilter:
    """The NAMES of a command line: domains, addresses, ``KIND/NAME``, ``KIND/REGION/NAME``, users; with globs.

    Without any, everything is picked. Domains compare in any case and in IDNA's form.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        self.used: set[str] = set()

    @property
    def all(self) -> bool:
        return not self.patterns

    def pick(self, kind: str, name: str, region: str | None = None) -> bool:
        """Whether a live thing is asked for; remembers which patterns fitted."""
        forms = {name, f"{kind}/{name}", f"{kind}/{region}/{name}"}
        found = self.all
        for pattern in self.patterns:
            if any(_fits(pattern, form) for form in forms) or _folded(pattern) == name:
                self.used.add(pattern)
                found = True
        return found

    def domains(self) -> list[str]:
        """The plain domain names among the patterns, folded."""
        return [name for p in self.patterns if (name := _folded(p)) is not None and "@" not in name]


def _fits(pattern: str, form: str) -> bool:
    return pattern == form or fnmatch.fnmatchcase(form, pattern) or fnmatch.fnmatchcase(form, pattern.lower())


def _folded(pattern: str) -> str | None:
    try:
        return fold_identity(pattern)
    except ValueError:
        return None


def find(
    aws: Aws,
    snapshot: Snapshot,
    names: NameFilter,
    regions: Sequence[str],
    *,
    asked: bool,
    declared: Iterable[Address] = (),
    owned: Sequence[Address] = (),
) -> Discovery:
    """Read what ``names`` picks in ``regions`` into ``snapshot``, and what it refers to.

    ``asked`` says that somebody named the regions: one that is not enabled is then an error, else it is passed over.
    ``declared`` are addresses that the state has already; ``owned`` are what the stack owns, which is taken whether it
    is for mail or not: its plan would delete what the YAML leaves out. What cannot be read is in ``snapshot.unread``.
    """
    found = Discovery(snapshot)
    found.owned_alone = names.all and bool(owned)
    known = set(declared)
    mine = [a for a in owned if names.all and (not KINDS[address_parts(a).kind].regional or region_of(a) in regions)]
    with ThreadPoolExecutor(max_workers=2) as pool:
        ses = pool.submit(_ses, aws, found, names, regions, asked, known, mine)
        iam = pool.submit(_users, aws, snapshot)
        everyone = iam.result()
        ses.result()
    _pick_users(aws, found, names, everyone, known)
    for kind in REGISTRY.values():
        _pick_others(aws, found, names, kind, known)
    identities = [o for o in snapshot.observed.values() if o.kind == "email_identity"]
    parked = [d for d in names.domains() if not any(o.name == d for o in identities)]
    parked = [d for d in parked if d not in names.used and not any(a.split("/", 2)[2:] == [d] for a in known)]
    wanted: list[tuple[str, str | None]] = []
    for domain in sorted({*(o.name for o in identities if "@" not in o.name), *parked}):
        wanted.append((domain, "auto"))
    for live in snapshot.observed.values():
        block = live.spec.get("mail_from") or live.spec.get("tracking_options") or {}
        name = block.get("mail_from_domain") or block.get("custom_redirect_domain")
        if name:
            wanted.append((str(name).lower().rstrip("."), "auto"))
    read_zones(aws, snapshot, wanted)
    found.parked = parked
    return found


def missing(found: Discovery, names: NameFilter, parked: Iterable[str]) -> None:
    """Note the patterns that fitted nothing, once it is known which domains have records (``parked``)."""
    there = sorted(found.listed)
    for pattern in names.patterns:
        if pattern in names.used or _folded(pattern) in set(parked):
            continue
        near = similar(pattern, there)
        found.misses.append((pattern, near[0] if near else ""))


# --- SES -----------------------------------------------------------------------------------------------------------


def _ses(
    aws: Aws,
    found: Discovery,
    names: NameFilter,
    regions: Sequence[str],
    asked: bool,
    known: set[Address],
    owned: Iterable[Address],
) -> None:
    snapshot = found.snapshot
    listed = _listed(aws, found, regions, asked)
    named: dict[str, set[Address]] = {spec.name: set() for spec in LISTED}
    snapshot.named = named
    for kind, region, name in listed:
        if kind == "email_identity":
            _take_identity(found, names, region, name, known)
        elif name in KINDS[kind].reserved:
            continue
        elif names.pick(kind, name, region) and KINDS[kind].address_of(region, name) not in known:
            named[kind].add(KINDS[kind].address_of(region, name))
    mine: dict[str, set[Address]] = {}
    for address in owned:
        mine.setdefault(address_parts(address).kind, set()).add(address)
    for kind in named:
        named[kind] |= mine.get(kind, set())
    there = {KINDS[kind].address_of(region, name) for kind, region, name in listed} - known
    # What names others is read before them, so that they are read, too.
    for kind in [kind for kind in reversed(PLAN_ORDER) if kind in named]:
        _follow(snapshot, named, kind, there)
        for reader in (kind, *(child.name for child in children(kind))):
            REGISTRY[reader].observe(aws, snapshot)
    for kind in NAMED:
        named[kind] = (_named_by_arn(snapshot, kind) | mine.get(kind, set())) - known
        for reader in (kind, *(child.name for child in children(kind))):
            REGISTRY[reader].observe(aws, snapshot)
    for address in sorted(named["email_identity"]):
        if address not in snapshot.observed and snapshot.unknown(address) is None:
            why = "SES lists it, but does not know it by the name in the form that YAML is compared in"
            found.left.append(Skipped(address, "name-not-found", why))


def _listed(aws: Aws, found: Discovery, regions: Sequence[str], asked: bool) -> list[tuple[str, str, str]]:
    """(kind, region, name as SES returns it) of everything, all regions side by side."""
    snapshot = found.snapshot

    def one(job: tuple[KindSpec, str]) -> tuple[str, str, list[str], AwsError | None]:
        spec, region = job
        operation, member, name = spec.listed
        try:
            items = list(filter(spec.for_mail, aws.pages(spec.client, operation, member, region, **spec.list_options)))
        except AwsError as error:
            return spec.name, region, [], error
        return spec.name, region, [item[name] if name else item for item in items], None

    out: list[tuple[str, str, str]] = []
    closed: set[str] = set()
    refusing: dict[str, AwsError] = {}
    jobs = [(spec, r) for r in regions for spec in LISTED if spec.regional]
    jobs += [(spec, "") for spec in LISTED if not spec.regional]
    for kind, region, names, error in aws.parallel(one, jobs):
        if error is None:
            out += [(kind, region, name) for name in names]
        elif region and error.closed and not asked and error.aws_code in NOT_ENABLED:
            refusing[region] = error
        elif region and error.closed and not asked:
            closed.add(region)
        else:
            snapshot.unreadable(f"{kind}/{region}", error.message, error.hint)
    sorted_out = opt_in.sort_out(aws, refusing)
    for region in sorted_out.unread:
        for spec in LISTED:
            snapshot.unreadable(f"{spec.name}/{region}", refusing[region].message, opt_in.HINT)
    found.closed = sorted(closed.union(sorted_out.closed))
    snapshot.refused |= {region: refusing[region].message for region in sorted_out.unknown}
    found.listed |= {name for _, _, name in out}
    return sorted(out)


def _take_identity(found: Discovery, names: NameFilter, region: str, name: str, known: set[Address]) -> None:
    try:
        folded = fold_identity(name)
    except ValueError as problem:
        if names.pick("email_identity", name, region):
            found.left.append(Skipped(f"email_identity/{region}/{name}", "bad-name", str(problem)))
        return
    if "@" in name and folded != name:
        # To SES these are two identities: an address is compared with its case ("Creating and verifying identities").
        if names.pick("email_identity", folded, region):
            why = f"the domain of an address is declared in lower case, and to SES {folded} is another address"
            found.left.append(Skipped(f"email_identity/{region}/{name}", "address-case", why))
        return
    address = f"email_identity/{region}/{folded}"
    named = found.snapshot.named["email_identity"]
    if names.pick("email_identity", folded, region) and address not in known:
        named.add(address)


def _follow(snapshot: Snapshot, named: dict[str, set[Address]], kind: str, there: set[Address]) -> None:
    """Add what was picked refers to, where it exists: the sets of identities, the pools of sets."""
    for spec, reference in references_to(kind):
        for live in [o for o in snapshot.observed.values() if o.kind == spec.name]:
            address = f"{kind}/{live.region}/{reference.name_in(live.spec)}"
            if address in there:
                named[kind].add(address)


def _named_by_arn(snapshot: Snapshot, kind: str) -> set[Address]:
    """The resources of ``kind``, in this account and the same region, whose ARNs stand in what was read."""
    stack, found = snapshot.state.stack, set[Address]()
    for spec, named in naming(kind):
        for live in snapshot.live(spec.name):
            base = KINDS[kind].arn_of(stack.partition, live.region or "", stack.account, "")
            names = [text.removeprefix(base) for text in named.texts_in(live.spec) if text.startswith(base)]
            found |= {KINDS[kind].address_of(live.region or "", n) for n in names if not KINDS[kind].named_badly(n)}
    return found


# --- IAM -----------------------------------------------------------------------------------------------------------


def _users(aws: Aws, snapshot: Snapshot) -> list[SmtpUserFound]:
    try:
        return smtp_users(aws, snapshot)
    except AwsError as error:
        snapshot.unreadable("smtp_user", error.message, error.hint)
        return []


def _pick_others(aws: Aws, found: Discovery, names: NameFilter, kind: BaseKind, known: set[Address]) -> None:
    """What a kind finds by itself, of what is asked for."""
    try:
        for live, why in kind.importable(aws, found.snapshot):
            found.listed.add(live.name)
            if not names.pick(kind.name, live.name) or live.address in known:
                continue
            if why and owner_of(live.tags) == found.snapshot.scope:
                why = f"the stack owns it, and the plan of this YAML would delete it: {why}"
                hint = "say in the YAML what it may do, or let it go: `released: [SECTION.NAME]`"
                found.left.append(Skipped(live.address, "owned-already", why, hint))
            elif why:
                found.left.append(Skipped(live.address, "not-sayable", why))
            else:
                found.snapshot.observed[live.address] = live
    except AwsError as error:
        found.snapshot.unreadable(kind.name, error.message, error.hint)


def _pick_users(
    aws: Aws, found: Discovery, names: NameFilter, everyone: Iterable[SmtpUserFound], known: set[Address]
) -> None:
    domains = set(names.domains())
    chosen = []
    for user in everyone:
        found.listed.add(user.name)
        picked = names.pick("smtp_user", user.name)
        if not picked and domains:
            picked = bool(domains & user.domains())
        if picked and f"smtp_user/{user.name}" not in known:
            chosen.append(user)

    def keys_of(user: SmtpUserFound) -> AwsError | None:
        try:
            user.read_keys(aws)
        except AwsError as error:
            return error
        return None

    for user, error in zip(chosen, aws.parallel(keys_of, chosen), strict=True):
        if error is not None:
            found.snapshot.unreadable(f"smtp_credential/{user.name}", error.message, error.hint)
        found.users[user.name] = user
