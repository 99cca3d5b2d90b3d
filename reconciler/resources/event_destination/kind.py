"""Event destinations: what their declaration cannot say.

One call reads all destinations of a set. A change of the kind of destination (SNS, Firehose ...) is a replacement: AWS
documents an update of the definition, not of its kind. Ours are those named in the set's tag ``recon:destinations``;
others at the same set are foreign and stay.

Source: SES v2 API reference, EventDestinationDefinition; SES Developer Guide, "Creating event destinations";
CloudFormation, AWS::SES::ConfigurationSetEventDestination (event types and dimensions are sets).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.errors import AwsError
from reconciler.kinds import externals
from reconciler.kinds.changes import alteration, claim, creation, deletion
from reconciler.kinds.comparing import differences, project
from reconciler.kinds.externals import External
from reconciler.kinds.fields import ordered_like, without_absent
from reconciler.kinds.grants import Grant
from reconciler.kinds.kind import Need, Runtime, Step, needs_of, order_of
from reconciler.kinds.lookups import Lookup, Said, said_under
from reconciler.kinds.ownership import (
    DESTINATIONS,
    PROTECT,
    create_once,
    left_alone,
    means_none,
    owner_of,
    takes_along,
    unpack,
)
from reconciler.kinds.plain import PlainKind
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.reading import named_addresses, region_of, wanted_addresses
from reconciler.kinds.snapshot import Snapshot
from reconciler.kinds.spelling import to_aws
from reconciler.model import Address, Change, Desired, Document, Entry, Note, Observed, State
from reconciler.regions import literal
from reconciler.resources import KINDS, holder_of
from reconciler.resources.event_destination import SPEC
from reconciler.resources.spec import PlainSpec, at_path

if TYPE_CHECKING:
    from reconciler.aws import Aws

ANY_OPTIONS = tuple(key for key in SPEC.fields if key.endswith("_destination"))
FIREHOSE = {"delivery_stream_arn": "firehose", "iam_role_arn": "iam"}
READ = "GetConfigurationSetEventDestinations"


class EventDestination(PlainKind):
    def __init__(self, spec: PlainSpec) -> None:
        super().__init__(spec)
        self.reads = (f"sesv2:{READ}",)
        self.read_calls = dict.fromkeys((*spec.fields,), f"sesv2:{READ}")
        self.parent = KINDS[spec.parent]

    # -- desired and observed ---------------------------------------------------------------------------------------

    def desired(self, state: State) -> Iterable[Desired]:
        for entry in state.section(self.parent.section):
            for name, written in (entry.values.get(self.spec.parent_key) or {}).items():
                wanted = self.desired_of(_own_entry(entry, self.spec.parent_key, name, written), entry.name, name)
                wanted = replace(wanted, spec=without_absent(wanted.spec), protect=False)
                yield self.with_arns(wanted, state.stack)

    def observe(self, aws: Aws, snapshot: Snapshot) -> None:
        def one(address: Address) -> tuple[Address, list[Observed], AwsError | None]:
            region, name = address.split("/", 2)[1:]
            try:
                return address, self.read_set(aws, region, name), None
            except AwsError as error:
                return address, [], error

        # A set that does not exist has none; where that is unknown, they are asked for all the same.
        sets = wanted_addresses(self.parent.name, snapshot)
        sets = [address for address in sets if address in snapshot.observed or snapshot.unknown(address)]
        for address, found, error in aws.parallel(one, sets, region_of):
            if error is not None:
                snapshot.unreadable(f"{self.name}/{address.split('/', 1)[1]}", error.message, error.hint)
            for item in found:
                snapshot.observed[item.address] = item

    def read_set(self, aws: Aws, region: str, set_name: str) -> list[Observed]:
        """All destinations of one set; none where the set does not exist."""
        answer = aws.call_if_there("sesv2", READ, region, ConfigurationSetName=set_name) or {}
        out = []
        for item in answer.get("EventDestinations") or ():
            name = str(item["Name"])
            spec = without_absent(self.observed_fields(item))
            out.append(Observed(self.spec.address_of(region, set_name, name), self.name, region, name, spec))
        return out

    def read(self, aws: Aws, region: str, name: str, snapshot: Snapshot | None = None) -> Observed | None:
        set_name, _, own = name.partition("/")
        return next((o for o in self.read_set(aws, region, set_name) if o.name == own), None)

    # -- compared ---------------------------------------------------------------------------------------------------

    def plan(self, draft: PlanDraft) -> Iterable[Change]:
        """The differences; also works out which names each set's ``recon:destinations`` must hold."""
        snapshot = draft.snapshot
        changes: list[Change] = []
        put: dict[Address, set[str]] = {}
        for address in snapshot.addresses(self.parent.name):
            live = snapshot.observed.get(address)
            put[address] = set(unpack(live.tags, DESTINATIONS)) if live else set()
        known: dict[Address, set[str]] = {}
        for address in snapshot.addresses(self.name):
            parent, name = holder_of(address) or "", address.rpartition("/")[2]
            known.setdefault(parent, set()).add(name)
            if not _can_be_planned(snapshot, address, parent):
                continue
            entry = snapshot.desired[parent].entry if parent in snapshot.desired else None
            ours = remembered = name in put.get(parent, set())
            if address not in snapshot.desired:
                ours = remembered or means_none(entry, self.spec.parent_key)
                ours = ours and not left_alone(entry, self.spec.parent_key, name)
            change = self._plan_one(snapshot, address, parent, ours)
            if change is not None and change.action == "delete" and not remembered:
                change = replace(change, notes=(*change.notes, *takes_along([name], self.spec.words)))
            if address not in snapshot.desired:
                put.get(parent, set()).discard(name)
                if change is not None:
                    draft.add_order(parent, after=(address,))
            elif change is not None:
                put.setdefault(parent, set()).add(name)
                if not change.claims:
                    draft.make_part(parent)
            if change is not None:
                changes.append(change)
        for address, names in put.items():
            draft.remember(address, DESTINATIONS, names & known.get(address, set()))
        yield from self._within_the_quota(snapshot, changes)

    def _plan_one(self, snapshot: Snapshot, address: Address, parent: Address, ours: bool) -> Change | None:
        desired, live = snapshot.desired.get(address), snapshot.observed.get(address)
        if desired is None:
            return self._plan_gone(snapshot, live, parent) if live is not None and ours else None
        needs = (parent, *named_addresses(snapshot, self.name, desired.region, desired.spec))
        if live is None:
            return creation(desired, desired.spec, depends_on=needs)
        there = ordered_like(self.spec.fields, live.spec, desired.spec)
        before = project(there, {**desired.spec, **dict.fromkeys(k for k in ANY_OPTIONS if k in live.spec)})
        after: dict[str, Any] = dict(desired.spec)
        diff = differences(before, after, desired=desired)
        if not diff:
            return None if ours else claim(desired, live, after, (parent,))
        replaces = _option_of(live.spec) != _option_of(desired.spec)
        gap = Note("events-gap", "warning", "events in the moment between delete and create are lost")
        notes = (gap,) if replaces else ()
        return alteration(desired, live, before, after, diff, replaces=replaces, depends_on=needs, notes=notes)

    def _plan_gone(self, snapshot: Snapshot, live: Observed, parent: Address) -> Change | None:
        """The deletion of one that the state no longer declares, by itself or with its set."""
        with_parent, parent_live = parent not in snapshot.desired, snapshot.observed.get(parent)
        if with_parent and parent_live and parent_live.tags.get(PROTECT) == "true":
            return None
        stop = Note("events-stop", "warning", "events are no longer published there")
        return deletion(
            live,
            depends_on=(parent,) if with_parent else (),
            notes=() if with_parent else (stop,),
            counts=self.spec.counts_deletes,
            execution={"with_parent": with_parent},
        )

    def _within_the_quota(self, snapshot: Snapshot, changes: list[Change]) -> Iterable[Change]:
        """Where a set has no place for the new beside the old, the old are deleted first."""
        inside: dict[Address, list[Change]] = {}
        count: dict[Address, int] = {}
        for change in changes:
            inside.setdefault(change.address.rpartition("/")[0], []).append(change)
        for live in snapshot.live(self.name):
            parent = live.address.rpartition("/")[0]
            count[parent] = count.get(parent, 0) + 1
        for change in changes:
            parent = change.address.rpartition("/")[0]
            gone = tuple(sorted(c.address for c in inside[parent] if c.action == "delete"))
            more = sum(c.action == "create" for c in inside[parent])
            if change.action == "create" and gone and count.get(parent, 0) + more > (self.spec.quota or 0):
                order = order_of(change)._replace(after=gone)
                change = replace(change, execution={**change.execution, **order.execution()})
            yield change

    # -- written ----------------------------------------------------------------------------------------------------

    def steps(self, change: Change) -> Iterable[Step]:
        region, set_name, name = change.address.split("/", 3)[1:]
        keys: dict[str, Any] = {"ConfigurationSetName": set_name, self.spec.key: name}
        parent = holder_of(change.address) or ""

        def step(label: Any, needs: tuple[Need, ...], run: Any, *verbs: str) -> Step:
            return Step(change.address, label, needs, run, calls=tuple(map(self.spec.call, verbs)), region=region)

        if change.action == "delete" and change.execution.get("with_parent"):
            # The set is deleted with its destinations; nothing to call.
            yield step("delete", (Need(parent, "delete"),), lambda rt: None)
            return
        if change.action == "delete":
            yield step("delete", (), lambda rt: self._delete(rt, region, keys), "Delete")
            return
        definition = to_aws(change.after or {})
        named = [address for address in change.depends_on if address != parent]
        needs = (
            *needs_of((parent,), "create", "claim"), *needs_of(named, "create", "update"),
            *needs_of(order_of(change).after, "delete"),
        )  # fmt: skip
        if change.claims:
            # The tag of the set remembers it; nothing to call.
            yield step("claim", needs, lambda rt: None)
            return
        if change.action == "update":
            update = f"Update{self.spec.operations}"
            yield step(
                "update",
                needs,
                lambda rt: rt.aws.call("sesv2", update, region, EventDestination=definition, **keys),
                "Update",
            )
            return

        def create(rt: Runtime) -> None:
            if change.action == "replace":
                self._delete(rt, region, keys)
            operation = f"Create{self.spec.operations}"
            create_once(
                lambda: rt.aws.call("sesv2", operation, region, EventDestination=definition, **keys),
                lambda: self._is_as(rt, region, set_name, name, change.after or {}),
            )

        yield step("create", needs, create, *(("Delete",) if change.action == "replace" else ()), "Create")

    # -- IAM and CloudTrail -----------------------------------------------------------------------------------------

    def externals(self, desired: Desired, state: State) -> Iterable[External]:
        for key, service in FIREHOSE.items():
            arn = str(at_path(desired.spec, f"kinesis_firehose_destination.{key}") or "")
            yield from externals.of_arn(service, desired.region or "", arn, state.stack)

    def grants(self, desired: Desired, state: State) -> Iterable[Grant]:
        yield from super().grants(desired, state)
        if stream := at_path(desired.spec, "kinesis_firehose_destination.delivery_stream_arn"):
            yield Grant("stream", literal(str(stream)))
        role = at_path(desired.spec, "kinesis_firehose_destination.iam_role_arn")
        if role:
            yield Grant("passed_role", literal(str(role)))

    def concerns(self, change: Change, said: Said, lookup: Lookup) -> bool:
        """A request that names its set, and it or (as the deletion of the set) none."""
        set_name, name = change.address.lower().split("/", 3)[2:]
        named = said_under(said, self.spec.key.lower())
        return set_name in said_under(said, *self.parent.named_in) and (not named or name in named)

    # -- helpers ----------------------------------------------------------------------------------------------------

    def _is_as(self, rt: Runtime, region: str, set_name: str, name: str, wanted: Document) -> bool:
        live = self.read(rt.aws, region, f"{set_name}/{name}")
        return live is not None and live.spec == self.in_one_order(wanted)

    def _delete(self, rt: Runtime, region: str, keys: Mapping[str, Any]) -> None:
        rt.aws.call_if_there("sesv2", f"Delete{self.spec.operations}", region, **keys)


def _can_be_planned(snapshot: Snapshot, address: Address, parent: Address) -> bool:
    """Whether it and its set are known, and the set is not another's."""
    if snapshot.unknown(address) or snapshot.unknown(parent):
        return False
    live = snapshot.observed.get(parent)
    return live is None or owner_of(live.tags) is None or snapshot.owns(live)


def _option_of(spec: Mapping[str, Any]) -> str:
    return next((option for option in ANY_OPTIONS if spec.get(option)), "")


def _own_entry(entry: Entry, key: str, name: str, written: Mapping[str, Any]) -> Entry:
    """The part of a set's entry that declares one destination, so that its lines are found under its own paths."""
    prefix = f"{key}.{name}"
    sources = {p[len(prefix) + 1 :]: s for p, s in entry.sources.items() if p.startswith(prefix + ".")}
    return Entry(key, name, entry.region, written, entry.source_of(prefix), sources)


KIND = EventDestination(SPEC)
