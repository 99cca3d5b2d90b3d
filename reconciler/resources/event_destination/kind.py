"""SES event destination: where the events of a configuration set go.

Managed:  enabled, matching event types, and the one destination (SNS, CloudWatch, Firehose or EventBridge).
Reads:    sesv2 GetConfigurationSetEventDestinations: one call a set gives all of its destinations.
Writes:   Create/Update/DeleteConfigurationSetEventDestination. A change of the kind of destination is a replacement:
          AWS documents an update of the definition, not of its kind.
Owned:    those named in the set's tag ``recon:destinations``; others at the same set are foreign and stay.
Source:   SES v2 API reference, EventDestinationDefinition; SES Developer Guide, "Creating event destinations".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from reconciler.errors import AwsError
from reconciler.kinds.changes import alteration, creation, deletion
from reconciler.kinds.comparing import differences, project
from reconciler.kinds.kind import NEEDS, Runtime, Step, needs_from_json, needs_of
from reconciler.kinds.ownership import DESTINATIONS, PROTECT, left_alone, owner_of, unpack
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.reading import Reader, region_of, wanted_addresses
from reconciler.kinds.snapshot import Snapshot
from reconciler.kinds.spelling import from_aws, to_aws
from reconciler.model import Address, Change, Desired, Document, Entry, Note, Observed, State

if TYPE_CHECKING:
    from reconciler.aws import Aws

NAME = "event_destination"
OPTIONS = (
    "sns_destination",
    "cloud_watch_destination",
    "kinesis_firehose_destination",
    "event_bridge_destination",
    "pinpoint_destination",
)
"""Where events may go: a destination has one of these."""

MAX_DESTINATIONS = 10
"""A configuration set (SES "Service quotas")."""


def address_of(region: str, set_name: str, name: str) -> Address:
    return f"{NAME}/{region}/{set_name}/{name}"


def set_address(region: str, set_name: str) -> Address:
    """The address of the set that a destination is in."""
    return f"configuration_set/{region}/{set_name}"


class EventDestination(Reader):
    name = NAME
    reads = ("sesv2:GetConfigurationSetEventDestinations",)
    writes = (
        "sesv2:CreateConfigurationSetEventDestination",
        "sesv2:UpdateConfigurationSetEventDestination",
        "sesv2:DeleteConfigurationSetEventDestination",
    )

    read_calls = dict.fromkeys(
        ("enabled", "matching_event_types", *OPTIONS), "sesv2:GetConfigurationSetEventDestinations"
    )

    # -- desired ----------------------------------------------------------------------------------------------------

    def desired(self, state: State) -> Iterable[Desired]:
        for entry in state.section("configuration_sets"):
            region = entry.region or ""
            for name, written in (entry.values.get("event_destinations") or {}).items():
                # AWS reads an absent `enabled` as off; a destination that somebody declares is meant to work.
                spec = {"enabled": True, **{k: v for k, v in written.items() if v is not None}}
                own = _own_entry(entry, name, written)
                yield Desired(address_of(region, entry.name, name), NAME, region, name, normalise(spec), own)

    # -- observed ---------------------------------------------------------------------------------------------------

    def observe(self, aws: Aws, snapshot: Snapshot) -> None:
        sets = wanted_addresses("configuration_set", snapshot)

        def one(address: Address) -> tuple[Address, list[Observed], AwsError | None]:
            _, region, name = address.split("/", 2)
            try:
                return address, self.read_set(aws, region, name), None
            except AwsError as error:
                return address, [], error

        for address, found, error in aws.parallel(one, sets, region_of):
            if error is not None:
                snapshot.unreadable(f"{NAME}/{address.split('/', 1)[1]}", error.message, error.hint)
            for item in found:
                snapshot.observed[item.address] = item

    def read_set(self, aws: Aws, region: str, set_name: str) -> list[Observed]:
        """All destinations of one set; none where the set does not exist."""
        operation = "GetConfigurationSetEventDestinations"
        answer = aws.call_if_there("sesv2", operation, region, ConfigurationSetName=set_name) or {}
        out = []
        for item in answer.get("EventDestinations") or ():
            name = str(item["Name"])
            live = {k: v for k, v in from_aws(item).items() if k != "name"}
            spec = {"enabled": False, "matching_event_types": [], **{k: v for k, v in live.items() if v is not None}}
            out.append(Observed(address_of(region, set_name, name), NAME, region, name, normalise(spec)))
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
        for address in snapshot.addresses("configuration_set"):
            live = snapshot.observed.get(address)
            put[address] = set(unpack(live.tags, DESTINATIONS)) if live else set()
        for address in snapshot.addresses(NAME):
            region, set_name, name = address.split("/", 3)[1:]
            parent = set_address(region, set_name)
            desired, observed = snapshot.desired.get(address), snapshot.observed.get(address)
            if snapshot.unknown(address) or snapshot.unknown(parent):
                continue
            parent_live = snapshot.observed.get(parent)
            if parent_live is not None and owner_of(parent_live.tags) not in {None, snapshot.scope}:
                continue
            entry = snapshot.desired[parent].entry if parent in snapshot.desired else None
            ours = name in put.get(parent, set()) and not left_alone(entry, "event_destinations", name)
            change = self._plan_one(snapshot, address, parent, desired, observed, ours)
            if desired is not None and change is not None:
                put.setdefault(parent, set()).add(name)
            if desired is None:
                put.get(parent, set()).discard(name)
                if change is not None and parent in snapshot.desired:
                    draft.add_order(parent, after=[address])
            if change is not None:
                changes.append(change)
        yield from _within_the_limit(snapshot, changes)
        known: dict[Address, set[str]] = {}
        for address in snapshot.addresses(NAME):
            region, set_name, name = address.split("/", 3)[1:]
            known.setdefault(set_address(region, set_name), set()).add(name)
        for address, names in put.items():
            draft.remember(address, DESTINATIONS, names & known.get(address, set()))

    def _plan_one(
        self,
        snapshot: Snapshot,
        address: Address,
        parent: Address,
        desired: Desired | None,
        live: Observed | None,
        ours: bool,
    ) -> Change | None:
        parent_live = snapshot.observed.get(parent)
        if desired is None:
            if live is None or not ours:
                return None
            goes = parent not in snapshot.desired
            if goes and parent_live and parent_live.tags.get(PROTECT) == "true":
                return None
            return deletion(
                live,
                depends_on=(parent,) if goes else (),
                notes=() if goes else (Note("events-stop", "warning", "events no longer go there"),),
                counts=False,
                execution={"with_set": goes},
            )
        if live is None:
            return creation(desired, desired.spec, depends_on=(parent,))
        before = project(live.spec, {**desired.spec, **dict.fromkeys(k for k in OPTIONS if k in live.spec)})
        after: dict[str, Any] = dict(desired.spec)
        diff = differences(before, after, desired=desired)
        if not diff:
            return None
        replaces = _kind_of(live.spec) != _kind_of(desired.spec)
        gap = Note("events-gap", "warning", "events in the moment between delete and create are lost")
        return alteration(
            desired,
            live,
            before,
            after,
            diff,
            replaces=replaces,
            depends_on=(parent,),
            notes=(gap,) if replaces else (),
        )

    # -- written ----------------------------------------------------------------------------------------------------

    form: ClassVar[Document] = {
        "fields": {"enabled?": bool, "matching_event_types?": [str], "*": (dict, None)},
        "execution": {"with_set?": bool, "needs?": NEEDS},
    }

    def steps(self, change: Change) -> Iterable[Step]:
        region, set_name, name = change.address.split("/", 3)[1:]
        parent = set_address(region, set_name)
        keys: dict[str, Any] = {"ConfigurationSetName": set_name, "EventDestinationName": name}
        if change.action == "delete":
            if change.execution.get("with_set"):
                # The set takes its destinations along; nothing to call.
                yield Step(change.address, "delete", needs_of((parent,), "delete"), lambda rt: None, region=region)
            else:
                yield Step(
                    change.address,
                    "delete",
                    (),
                    lambda rt: _delete(rt, region, keys),
                    calls=("sesv2:DeleteConfigurationSetEventDestination",),
                    region=region,
                )
            return
        definition = to_aws(change.after or {})
        needs = needs_of((parent,), "create", "claim") + needs_from_json(change.execution.get("needs") or ())
        if change.action == "update":

            def update(rt: Runtime) -> None:
                rt.aws.call(
                    "sesv2", "UpdateConfigurationSetEventDestination", region, EventDestination=definition, **keys
                )

            yield Step(
                change.address,
                "update",
                needs,
                update,
                calls=("sesv2:UpdateConfigurationSetEventDestination",),
                region=region,
            )
            return

        def create(rt: Runtime) -> None:
            if change.action == "replace":
                _delete(rt, region, keys)
            _create(rt, region, keys, definition)

        deletes = ("sesv2:DeleteConfigurationSetEventDestination",) if change.action == "replace" else ()
        yield Step(
            change.address,
            "create",
            needs,
            create,
            calls=(*deletes, "sesv2:CreateConfigurationSetEventDestination"),
            region=region,
        )


def _within_the_limit(snapshot: Snapshot, changes: Iterable[Change]) -> Iterable[Change]:
    """Where a set has no place for what comes beside what goes, what goes goes first (SES "Service quotas")."""
    known = list(changes)
    inside: dict[Address, list[Change]] = {}
    count: dict[Address, int] = {}
    for change in known:
        inside.setdefault(change.address.rpartition("/")[0], []).append(change)
    for live in snapshot.live(NAME):
        parent = live.address.rpartition("/")[0]
        count[parent] = count.get(parent, 0) + 1
    for change in known:
        parent = change.address.rpartition("/")[0]
        siblings = inside[parent]
        gone = sorted(c.address for c in siblings if c.action == "delete")
        more = sum(c.action == "create" for c in siblings)
        if change.action == "create" and gone and count.get(parent, 0) + more > MAX_DESTINATIONS:
            change = replace(change, execution={**change.execution, "needs": [[address, "delete"] for address in gone]})
        yield change


def _create(rt: Runtime, region: str, keys: Mapping[str, Any], definition: Mapping[str, Any]) -> None:
    try:
        rt.aws.call("sesv2", "CreateConfigurationSetEventDestination", region, EventDestination=definition, **keys)
    except AwsError as error:
        if error.aws_code != "AlreadyExistsException":
            raise
        live = rt.aws.call(
            "sesv2", "GetConfigurationSetEventDestinations", region, ConfigurationSetName=keys["ConfigurationSetName"]
        )
        name = keys["EventDestinationName"]
        found = next((d for d in live.get("EventDestinations") or () if d["Name"] == name), None)
        wanted = normalise(from_aws(definition))
        if found is None or normalise({k: v for k, v in from_aws(found).items() if k != "name"}) != wanted:
            raise


def _delete(rt: Runtime, region: str, keys: Mapping[str, Any]) -> None:
    rt.aws.call_if_there("sesv2", "DeleteConfigurationSetEventDestination", region, **keys)


def _kind_of(spec: Mapping[str, Any]) -> str:
    return next((kind for kind in OPTIONS if spec.get(kind)), "")


def _own_entry(entry: Entry, name: str, written: Mapping[str, Any]) -> Entry:
    """The part of a set's entry that declares one destination, so that its lines are found under its own paths."""
    prefix = f"event_destinations.{name}"
    sources = {p[len(prefix) + 1 :]: s for p, s in entry.sources.items() if p.startswith(prefix + ".")}
    return Entry("event_destinations", name, entry.region, written, entry.source_of(prefix), sources)


def normalise(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Event types and CloudWatch dimensions are sets (CloudFormation, AWS::SES::ConfigurationSetEventDestination)."""
    out = dict(spec)
    if out.get("matching_event_types") is not None:
        out["matching_event_types"] = sorted(set(out["matching_event_types"]))
    metrics = out.get("cloud_watch_destination")
    if metrics:
        listed = metrics.get("dimension_configurations") or []
        out["cloud_watch_destination"] = {
            **metrics,
            "dimension_configurations": sorted((dict(d) for d in listed), key=lambda d: str(d.get("dimension_name"))),
        }
    return out


KIND = EventDestination()
