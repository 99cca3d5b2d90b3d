"""Reading what is declared or ours, one by one and side by side; "could not read" is never "absent"."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import AwsError
from reconciler.kinds.kind import BaseKind
from reconciler.kinds.ownership import STACK, owner_of
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.policy import principals
from reconciler.kinds.snapshot import Snapshot
from reconciler.model import Address, Change, Desired, Document, Observed, Stack, address_parts
from reconciler.resources import KINDS, fields_with_arns, references_to
from reconciler.resources.spec import KindSpec, Named

if TYPE_CHECKING:
    from reconciler.aws import Aws


def wanted_addresses(kind: str, snapshot: Snapshot) -> list[Address]:
    """The addresses of a kind that a plan must know: declared (or named by what is destroyed), or found to be ours by
    the tagging sweep; of these, what a target needs."""
    declared = [d.address for d in snapshot.kind(kind)]
    found = {*declared, *snapshot.named.get(kind, ()), *snapshot.owned.get(kind, {})}
    return sorted(filter(snapshot.includes, found))


def referenced(kind: str, snapshot: Snapshot) -> list[Address]:
    """What declared resources name without declaring it: it must exist live, or the plan refuses (``must_exist``)."""
    found: set[Address] = set()
    for spec, reference in references_to(kind):
        for desired in snapshot.kind(spec.name):
            name = reference.name_in(desired.spec)
            if name is not None and snapshot.includes(desired.address):
                found.add(f"{kind}/{desired.region}/{name}")
    return sorted(
        a for a in found - set(wanted_addresses(kind, snapshot)) if snapshot.includes(a) or a not in snapshot.desired
    )


def with_arns(spec: KindSpec, values: Document, region: str | None, stack: Stack) -> Document:
    """``values`` of a resource with ARNs in the place of the names of what the state declares (``Named``)."""
    for field in fields_with_arns(spec.name, values):
        values = field.with_arns(
            values, partial(KINDS[field.kind].arn_of, stack.partition, region or "", stack.account)
        )
    return values


def named_addresses(
    snapshot: Snapshot, kind: str, region: str | None, values: Document, only: Named | None = None
) -> tuple[Address, ...]:
    """What the ARNs in ``values`` of a resource of ``kind`` name (``Named``) of what is declared or read."""
    stack, found = snapshot.state.stack, dict[Address, None]()
    for field in fields_with_arns(kind, values) if only is None else (only,):
        spec = KINDS[field.kind]
        base = spec.arn_of(stack.partition, region or "", stack.account, "")
        names = [text.removeprefix(base) for text in field.texts_in(values) if text.startswith(base)]
        addresses = [spec.address_of(region or "", name) for name in names]
        found |= dict.fromkeys(a for a in addresses if a in snapshot.desired or a in snapshot.observed)
    return tuple(found)


def principal_addresses(snapshot: Snapshot, policies: Iterable[Any]) -> tuple[Address, ...]:
    """What the state declares of the principals that policies name: SES refuses one that does not exist."""
    account = snapshot.state.stack.account
    kinds = {spec.principal: spec for spec in KINDS.values() if spec.principal}
    found = set()
    for text in set[str]().union(*map(principals, policies)):
        _, _, service, _, owner, resource = (text.split(":", 5) + [""] * 6)[:6]
        type_, _, name = resource.partition("/")
        if (service, owner) == ("iam", account) and type_ in kinds:
            found.add(kinds[type_].address_of(name.rpartition("/")[2]))
    return tuple(sorted(found & snapshot.desired.keys()))


def covering_names(domain: str) -> list[str]:
    """``domain`` and the names above it that an identity could have, the most specific first."""
    labels = domain.split(".")
    return [".".join(labels[start:]) for start in range(len(labels) - 1)]


def read_covering(aws: Aws, snapshot: Snapshot) -> None:
    """Read into ``snapshot.covering`` the live identities at or above tracking domains that have no declared one. They
    are not planned."""
    wanted: dict[Address, None] = {}
    for spec, reference in references_to("email_identity", covering=True):
        for desired in snapshot.kind(spec.name):
            domain = reference.name_in(desired.spec)
            if domain is None or not snapshot.includes(desired.address):
                continue
            addresses = [f"email_identity/{desired.region}/{name}" for name in covering_names(domain)]
            if not any(address in snapshot.desired for address in addresses):
                wanted |= dict.fromkeys(a for a in addresses if a not in snapshot.observed)
    found = snapshot.covering

    def one(address: Address) -> tuple[Address, str | None, AwsError | None]:
        _, region, name = address_parts(address)
        try:
            live = aws.call_if_there("sesv2", "GetEmailIdentity", region, EmailIdentity=name)
        except AwsError as error:
            return address, None, error
        if live is None:
            return address, None, None
        status = live.get("VerificationStatus")
        return address, str(status or ("SUCCESS" if live.get("VerifiedForSendingStatus") else "PENDING")), None

    for address, status, error in aws.parallel(one, list(wanted), region_of):
        if error is not None:
            snapshot.unreadable(address, error.message, error.hint)
        else:
            found[address] = status


def must_exist(draft: PlanDraft, reference: Address, desired: Desired, path: str) -> None:
    """Refuse a reference to what is neither declared nor live; what could not be read is taken to exist."""
    snapshot = draft.snapshot
    if reference in snapshot.desired or snapshot.unknown(reference):
        return
    live = snapshot.observed.get(reference)
    if live is not None and not snapshot.owns(live):
        return
    kind, region, name = address_parts(reference)
    # What is ours and not declared any more is deleted by this plan.
    deleted = f"is no longer declared for {region}, so that this plan deletes it"
    why = deleted if live is not None else f"is neither declared nor live in {region}"
    draft.refuse(
        "missing-reference",
        f"{desired.address} names the {KINDS[kind].words} {name}, which {why}",
        hint=f"declare it, or correct {path}",
        address=desired.address,
        source=desired.source_of(path),
    )


def read_each(kind: Reader, aws: Aws, snapshot: Snapshot, addresses: list[Address] | None = None) -> None:
    """Read ``addresses`` (default: every wanted one) of a regional kind into ``snapshot.observed``, side by side."""

    def one(address: Address) -> tuple[Address, Observed | None, AwsError | None]:
        region, name = KINDS[kind.name].located(address)
        try:
            return address, kind.read(aws, region, name, snapshot), None
        except AwsError as error:
            return address, None, error

    wanted = wanted_addresses(kind.name, snapshot) if addresses is None else addresses
    for address, found, error in aws.parallel(one, wanted, region_of):
        if error is not None:
            snapshot.unreadable(address, error.message, error.hint)
        elif found is not None:
            snapshot.observed[address] = found


MOST_USERS: Final = 200
"""How many resources of others a deletion reads in a region, one call each, to see whether they use what is deleted."""


def read_users(aws: Aws, snapshot: Snapshot, going: Iterable[Observed], kinds: Mapping[str, BaseKind]) -> None:
    """Read into ``snapshot.observed`` the resources of others that use what is to be deleted, where AWS refuses such a
    deletion: the plan then names them. What cannot be read is said, and left to AWS to refuse."""
    names: dict[tuple[str, str], set[str]] = {}
    for live in going:
        names.setdefault((live.kind, live.region or ""), set()).add(live.name)
    for (kind, region), wanted in sorted(names.items()):
        for spec, reference in references_to(kind):
            reader = kinds[spec.name]
            if not reference.foreign_blocks or not isinstance(reader, Reader):
                continue
            try:
                found = _others(aws, snapshot, reader, region)
            except AwsError as error:
                words = f"whether another {spec.words} in {region} uses what is deleted is unknown: {error.message}"
                snapshot.say("warning", "users-unread", words, hint=error.hint)
                continue
            snapshot.observed |= {one.address: one for one in found if reference.name_in(one.spec) in wanted}


def _others(aws: Aws, snapshot: Snapshot, reader: Reader, region: str) -> list[Observed]:
    """Every resource of a kind in a region that was not read yet, up to ``MOST_USERS``. Raises AwsError."""
    spec = KINDS[reader.name]
    operation, member, key = spec.listed
    rows = aws.pages(spec.client, operation, member, region, **spec.list_options)
    listed = [spec.address_of(region, row[key] if key else row) for row in rows]
    others = [address for address in listed if address not in snapshot.observed and not snapshot.unknown(address)]
    if more := others[MOST_USERS:]:
        words = f"whether {len(more)} more {spec.many} in {region} use what is deleted was not read"
        snapshot.say("warning", "users-unread", words, hint="if one does, AWS refuses the deletion")
    found = aws.parallel(lambda a: reader.read(aws, region, address_parts(a).name), others[:MOST_USERS])
    return [one for one in found if one is not None]


def region_of(address: Address) -> str:
    """The region of a regional resource."""
    return KINDS[address_parts(address).kind].located(address)[0]


class Reader(BaseKind):
    """Base of the kinds that read one resource by itself: to plan it, and again just before it is written."""

    @abstractmethod
    def read(self, aws: Aws, region: str, name: str, snapshot: Snapshot | None = None) -> Observed | None:
        """One live resource, or None where AWS says that it does not exist."""

    def reread(self, aws: Aws, change: Change) -> str | None:
        """The fingerprint of the resource as it is now, None where it does not exist."""
        live = self.read_again(aws, change)
        return live.digest if live else None

    def read_again(self, aws: Aws, change: Change) -> Observed | None:
        """The resource of a change as it is now, as far as the plan had read it."""
        region, name = KINDS[self.name].located(change.address)
        return self.read(aws, region, name)

    create_defaults: Document = {}
    """What AWS gives the fields of a new resource by itself, where that is not nothing."""
    usual: Document = {}
    """What a field has where the YAML says nothing of it: an import leaves that out."""
    whole: tuple[str, ...] = ()
    """Fields below which every key is one value (``policies``)."""

    def written_fields(self, change: Change) -> Iterator[tuple[Document, Document]]:
        """(before, after) of what the steps of ``change`` write; a kind whose puts replace blocks adds those."""
        yield change.before or self.create_defaults, change.after or {}

    def conflicts(self, aws: Aws, change: Change) -> tuple[str, ...] | None:
        """The paths in the YAML of the fields that ``change`` writes and somebody else has changed since it began.

        A field is as it was planned, or as a step of this run left it; any other value is somebody else's. None where
        the resource is gone. Fields that the change does not write do not count.
        """
        live = self.read_again(aws, change)
        if live is None:
            return None
        now = {**live.spec, "tags": live.tags}
        fields = (
            (self.in_one_order(before), self.in_one_order(after)) for before, after in self.written_fields(change)
        )
        found = [path for before, after in fields for path in _foreign(before, after, now, self.whole)]
        owners = {owner_of((d or {}).get("tags") or {}) for d in (change.before, change.after)}
        if owner_of(live.tags) not in owners:
            found.append(f"tags.{STACK}")
        return tuple(dict.fromkeys(found))

    def is_visible(self, aws: Aws, change: Change) -> bool:
        """Whether AWS's reads already show everything that ``change`` has written."""
        live = self.read_again(aws, change)
        if live is None or change.action == "delete":
            return live is None and change.action == "delete"
        now = {**live.spec, "tags": live.tags}
        # A new name is not among the fields, and a policy that was shown whole is read back as single fields.
        unseen = {key for key in (change.after or {}) if key not in now or (key == "policy" and now[key] is None)}
        wanted = ({k: v for k, v in after.items() if k not in unseen} for _, after in self.written_fields(change))
        return all(_shows(self.in_one_order(after), now, self.whole) for after in wanted)

    def in_one_order(self, document: Document) -> Document:
        """``document`` with its lists that have no order as they are observed."""
        return document


def _shows(after: Document, now: Any, whole: tuple[str, ...], path: str = "") -> bool:
    """Whether ``now`` has every field of ``after``; a None is an absence."""
    for key, value in after.items():
        live = now.get(key) if isinstance(now, Mapping) else None
        place = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and path not in whole:
            if not _shows(value, live, whole, place):
                return False
        elif live != value:
            return False
    return True


def _foreign(before: Any, after: Any, now: Any, whole: tuple[str, ...], path: str = "") -> Iterator[str]:
    """The paths at which ``before`` and ``after`` differ and ``now`` is neither; recon's own tags left out."""
    for key, value in after.items():
        place = f"{path}.{key}" if path else str(key)
        if place.startswith("tags.recon:"):
            continue
        old = before.get(key) if isinstance(before, Mapping) else None
        live = now.get(key) if isinstance(now, Mapping) else None
        if isinstance(value, Mapping) and path not in whole:
            yield from _foreign(old, value, live, whole, place)
        elif old != value and live not in (old, value):
            yield place
