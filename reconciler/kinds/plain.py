"""A plain kind of SES API v2, from what its ``PlainSpec`` declares: read, compared and written field by field.

A kind that needs more subclasses ``PlainKind`` in the ``kind.py`` of its folder and overrides the hooks: the methods up
to the line "hooks end here", whose defaults do nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.kinds.changes import alteration, creation, deletion
from reconciler.kinds.comparing import covered, differences, overlay, project
from reconciler.kinds.fields import (
    desired_value,
    in_one_order,
    observed_value,
    ordered_like,
    request_value,
    usual_value,
    without_absent,
)
from reconciler.kinds.grants import Grant
from reconciler.kinds.kind import Need, Runtime, Step, needs_of, order_of
from reconciler.kinds.listing import not_listed
from reconciler.kinds.ownership import (
    PARTS,
    PROTECT,
    adopts,
    create_once,
    left_alone,
    means_none,
    owner_of,
    refuse_protected,
    takes_along,
    unpack,
)
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.reading import (
    Reader,
    must_exist,
    named_addresses,
    read_each,
    referenced,
    wanted_addresses,
    with_arns,
)
from reconciler.kinds.snapshot import Snapshot
from reconciler.kinds.spelling import camel, from_aws, snake
from reconciler.kinds.tags import (
    entry_tags,
    packed,
    plan_tags,
    present,
    put_tags,
    release_tags,
    tag_phases,
    tags_from_aws,
    tags_to_aws,
)
from reconciler.model import Address, Change, Desired, Document, Entry, FieldDiff, Note, Observed, Stack, State
from reconciler.regions import literal
from reconciler.resources import KINDS, naming, references_to
from reconciler.resources.spec import KindSpec, PlainSpec, at_path

if TYPE_CHECKING:
    from reconciler.aws import Aws

SWEEP = "resourcegroupstaggingapi:GetResources"
"""Names the tags of what is ours."""

Request = tuple[str, Mapping[str, Any]]
"""An operation of the kind's service and its members."""


class PlainKind(Reader):
    """The one class of all plain kinds."""

    def __init__(self, spec: PlainSpec) -> None:
        self.spec = spec
        self.name = spec.name
        fields = spec.fields
        client = spec.client
        tag_call = () if spec.tags_in_get or not spec.taggable else (f"{client}:ListTagsForResource",)
        more = tuple(field.read for field in fields.values() if field.read)
        self.reads = tuple(dict.fromkeys((spec.call("Get"), *tag_call, *more, *self.more_reads)))
        puts = tuple(dict.fromkeys(f"{client}:{field.put}" for field in fields.values() if field.put))
        tagging = (f"{client}:TagResource", f"{client}:UntagResource") if spec.taggable else ()
        update = (spec.call("Update"),) if spec.updates else ()
        self.writes = puts if spec.permanent else (spec.call("Create"), *update, *puts, *tagging, spec.call("Delete"))
        tags = {"tags": tag_call[0] if tag_call else spec.call("Get")} if spec.taggable else {}
        self.read_calls = {name: field.read or spec.call("Get") for name, field in fields.items()} | tags
        if tag_call and spec.swept and client == "sesv2":
            self.read_calls_bulk = {**self.read_calls, "tags": SWEEP}
        self.create_defaults = {n: field.inner for n, field in fields.items() if field.inner}
        self.usual = {n: field.inner or usual_value(field) for n, field in fields.items() if not field.keyed}

    def aws_default(self, path: str) -> Any:
        name, _, inner = path.partition(".")
        field = self.spec.fields.get(name)
        value = None if field is None else at_path(field.inner, inner) if inner else field.default
        return list(value) if isinstance(value, tuple) else value

    # -- hooks ------------------------------------------------------------------------------------------------------

    more_reads: tuple[str, ...] = ()
    """Operations that the kind's own code reads with."""

    def allowed(self, draft: PlanDraft, desired: Desired, live: Observed | None, diff: Sequence[FieldDiff]) -> bool:
        """Whether a creation (``live`` is None) or a change may be planned; says why not through ``draft``."""
        return True

    def may_delete(self, draft: PlanDraft, live: Observed) -> bool:
        """Whether a deletion may be planned; says why not through ``draft``."""
        return True

    def notes(self, snapshot: Snapshot, desired: Desired, live: Observed | None) -> tuple[Note, ...]:
        """What a creation or change means for mail."""
        return ()

    def deletion_notes(self, snapshot: Snapshot, live: Observed) -> tuple[Note, ...]:
        """What a deletion means for mail."""
        return ()

    def kept_items(self, desired: Desired, live: Observed) -> dict[str, Any]:
        """Fields of which parts are remembered, with what of them goes (``kept_items``)."""
        return kept_items(self.spec, desired, live)

    def about_mail(self, live: Observed) -> bool:
        """Whether an import brings ``live``, where a list of all cannot say that (``KindSpec.for_mail``)."""
        return True

    def as_entry(self, live: Observed) -> Document:
        """The fields of ``live`` as the YAML says them, for an import."""
        return live.spec

    def taken_along(self, snapshot: Snapshot, live: Observed) -> Document:
        """What AWS deletes with the resource, beside its fields: a plan shows it."""
        return {}

    def execution(
        self, snapshot: Snapshot, desired: Desired | None, live: Observed | None, full: Document
    ) -> dict[str, Any]:
        """What the steps need beside the fields; ``full`` is the resource as it will be (empty for a deletion)."""
        return {}

    def waits_for_verification(self, change: Change, key: str) -> str | None:
        """The domain that SES must have verified before it takes the field ``key``; None: it need not wait."""
        return None

    def requests(self, change: Change, key: str, value: Any) -> Iterable[Request]:
        """The requests that replace the field ``key``, one that has a ``put``: whole, since a put replaces it."""
        field, sent = self.spec.fields[key], request_value(self.spec.fields[key], value)
        members = {camel(key): sent}
        if field.inner:
            members = {field.wraps: sent} if field.wraps else dict(sent or {})
        yield field.put, {**self._named(self._place(change)[1]), **members}

    def send(self, rt: Runtime, change: Change, operation: str, members: Mapping[str, Any]) -> None:
        """Make one of the ``requests``; a kind may complete it with what is live by now."""
        rt.aws.call(self.spec.client, operation, change.region, **self._by_arn(rt, change), **members)

    def deletion_members(self, rt: Runtime, change: Change) -> Mapping[str, Any]:
        """The members of the request that deletes a resource."""
        return self._by_arn(rt, change) or self._named(self._place(change)[1])

    def before_delete(self, rt: Runtime, change: Change) -> None:
        """Prepare a deletion, or raise Stale where it must not be made any more."""

    # -- hooks end here; desired ------------------------------------------------------------------------------------

    def desired(self, state: State) -> Iterable[Desired]:
        for section in self.spec.sections:
            for entry in state.section(section.name):
                yield self.with_arns(self.desired_of(entry, entry.name), state.stack)

    def with_arns(self, desired: Desired, stack: Stack) -> Desired:
        """``desired`` with ARNs in the place of the names of what the state declares (``Named``)."""
        spec = with_arns(self.spec, desired.spec, desired.region, stack)
        return desired if spec is desired.spec else replace(desired, spec=spec)

    def desired_of(self, entry: Entry, *place: str) -> Desired:
        """What ``entry`` asks for, at the place that the kind's addresses name after the region."""
        region, values = entry.region or "", entry.values
        spec: dict[str, Any] = {}
        for key, field in self.spec.fields.items():
            if key in values:
                spec[key] = desired_value(field, values[key])
            elif field.ours is not None:
                spec[key] = usual_value(field)
        if self.spec.taggable:
            spec["tags"] = entry_tags(entry)
        address = self.spec.address_of(*((region,) if self.spec.regional else ()), *place)
        return Desired(address, self.name, region, place[-1], spec, entry, protect=bool(values.get("protect")))

    def grants(self, desired: Desired, state: State) -> Iterable[Grant]:
        yield from super().grants(desired, state)
        for key, field in self.spec.fields.items():
            for inner in field.arns:
                if arn := at_path(desired.spec, f"{key}.{inner}"):
                    yield Grant("referred", literal(str(arn)))

    # -- observed ---------------------------------------------------------------------------------------------------

    def observe(self, aws: Aws, snapshot: Snapshot) -> None:
        wanted = wanted_addresses(self.name, snapshot)
        absent = not_listed(aws, snapshot, self.name, wanted)
        there = [address for address in wanted if address not in absent]
        read_each(self, aws, snapshot, [*there, *referenced(self.name, snapshot)])

    def read(self, aws: Aws, region: str, name: str, snapshot: Snapshot | None = None) -> Observed | None:
        """One live resource, or None where SES says that it does not exist."""
        answer = self.got(aws, region, name, snapshot)
        if answer is None:
            return None
        body = answer[self.spec.answer] if self.spec.answer else answer
        spec = self.observed_fields(body)
        tags: Mapping[str, str] = {}
        address, facts = self.spec.address_of(region, name), dict[str, Any]()
        if self.spec.taggable:
            if self.spec.tags_in_get:
                tags = tags_from_aws(body.get("Tags"))
            elif (swept := self.swept_tags(snapshot, address)) is not None:
                tags, facts["bulk"] = swept, True
            else:
                tags = tags_from_aws(self._list_tags(aws, region, name))
            spec["tags"] = dict(tags)
        return Observed(address, self.name, region, name, spec, dict(tags), facts)

    def swept_tags(self, snapshot: Snapshot | None, address: Address) -> Mapping[str, str] | None:
        """The tags of a resource as the search for what is ours has found them, where they save a bulk read a call;
        else None. Tags are found some minutes after they were written: what a plan changes because of them is read
        again (``refine``)."""
        if snapshot is None or snapshot.refresh != "bulk" or address in snapshot.whole:
            return None
        return snapshot.owned.get(self.name, {}).get(address)

    def got(self, aws: Aws, region: str, name: str, snapshot: Snapshot | None) -> Mapping[str, Any] | None:
        """The answer of AWS about one resource, or None where it does not exist."""
        return aws.call_if_there(self.spec.client, self.spec.operation("Get"), region, **self._named(name))

    def observed_fields(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of one resource in an answer of AWS."""
        for key, field in self.spec.fields.items():
            for item in body.get(camel(key)) or () if field.keyed else ():
                item[field.keyed]  # raises AwsError where AWS leaves its name out
        live = from_aws(body)
        found: dict[str, Any] = {}
        for key, field in self.spec.fields.items():
            place = live.get(snake(field.within)) or {} if field.within else live
            found[key] = observed_value(field, place.get(key))
        return found

    def _list_tags(self, aws: Aws, region: str, name: str) -> Any:
        stack = aws.stack
        arn = self.spec.arn_of(stack.partition, region, stack.account, name)
        member = self.spec.service.arn_member if self.spec.service else "ResourceArn"
        named: dict[str, Any] = {member: arn}
        return aws.call(self.spec.client, "ListTagsForResource", region, **named).get("Tags")

    # -- compared ---------------------------------------------------------------------------------------------------

    def plan(self, draft: PlanDraft) -> Iterable[Change]:
        snapshot = draft.snapshot
        for address in snapshot.addresses(self.name):
            if snapshot.unknown(address):
                continue
            desired, live = snapshot.desired.get(address), snapshot.observed.get(address)
            change: Change | None = None
            if desired is not None and live is None:
                change = self._plan_create(draft, desired)
            elif desired is not None and live is not None:
                change = self._plan_update(draft, desired, live)
            elif live is not None and not self.spec.permanent:
                change = self._plan_delete(draft, live)
            if change is not None:
                yield change

    def _plan_create(self, draft: PlanDraft, desired: Desired) -> Change | None:
        needs = self._needs(draft, desired)
        if not self.allowed(draft, desired, None, ()):
            return None
        shown = {key: usual_value(field) for key, field in self.spec.fields.items() if field.on_create}
        after = {**shown, **without_absent(desired.spec)}
        if self.spec.taggable:
            after["tags"] = present(self._tags(draft, desired, None)["tags"])
        return creation(
            desired,
            after,
            depends_on=needs,
            notes=self.notes(draft.snapshot, desired, None),
            execution=self.execution(draft.snapshot, desired, None, after),
        )

    def _plan_update(self, draft: PlanDraft, desired: Desired, live: Observed) -> Change | None:
        needs = self._needs(draft, desired)
        wanted = {**desired.spec, **self.kept_items(desired, live)}
        adopted = False
        if self.spec.taggable:
            wanted |= self._tags(draft, desired, live)
            adopted = adopts(draft, desired.address, live.tags, desired.entry.source)
        there = ordered_like(self.spec.fields, live.spec, wanted)
        if not adopted and covered(there, wanted):
            return None
        before = project(there, wanted)
        after = overlay(wanted, before)
        diff = differences(before, after, desired=desired)
        if not (diff or adopted) or not self.allowed(draft, desired, live, diff):
            return None
        self._refuse_one_way(draft, desired, live)
        full = overlay({key: value for key, value in wanted.items() if key != "tags"}, there)
        return alteration(
            desired,
            live,
            before,
            after,
            diff,
            adopts=adopted,
            depends_on=needs,
            notes=(*self.notes(draft.snapshot, desired, live), *self._items_of_others(desired, live)),
            execution={
                "puts": self._puts(before, after, full),
                **self.execution(draft.snapshot, desired, live, full),
                **draft.order(desired.address).execution(),
            },
        )

    def in_one_order(self, document: Document) -> Document:
        return in_one_order(self.spec.fields, document)

    def _puts(self, before: Document, after: Document, full: Document) -> dict[str, Any]:
        """The fields that are sent, whole: those that differ, and with one of the kind's own update all of these."""
        changed = {key for key in self.spec.fields if key in after and before.get(key) != after.get(key)}
        together = {key for key, field in self.spec.fields.items() if not field.put}
        sent = changed | (together if changed & together else set())
        return {key: full[key] for key in self.spec.fields if key in sent}

    def _tags(self, draft: PlanDraft, desired: Desired, live: Observed | None) -> dict[str, Any]:
        """The tags that it should carry, recon's own among them."""
        there = live.tags if live else {}
        extra: dict[str, str | None] = {PROTECT: "true" if desired.protect else None}
        for tag in self.spec.remembers:
            extra |= packed(there, tag, draft.remembered(desired.address, tag))
        parts: set[str] = set()
        for key in [key for key, field in self.spec.fields.items() if field.remembered]:
            parts |= {f"{key}.{name}" for name in desired.spec.get(key) or ()}
        extra |= packed(there, PARTS, parts)
        return {"tags": plan_tags(desired.spec["tags"], there, draft.snapshot.scope, extra, desired.entry)}

    def _items_of_others(self, desired: Desired, live: Observed) -> tuple[Note, ...]:
        """What to say of items that go since an empty map says that there are none."""
        known = unpack(live.tags, PARTS)
        remembered = [key for key, field in self.spec.fields.items() if field.remembered]
        emptied = [key for key in remembered if means_none(desired.entry, key)]
        return takes_along(
            (n for key in emptied for n in live.spec.get(key) or () if f"{key}.{n}" not in known), "part"
        )

    def _needs(self, draft: PlanDraft, desired: Desired) -> tuple[Address, ...]:
        """What it names and cannot be created without."""
        needs = []
        for reference in self.spec.references:
            name = reference.name_in(desired.spec)
            if name is not None and not reference.covering:
                needs.append(KINDS[reference.kind].address_of(desired.region or "", name))
                must_exist(draft, needs[-1], desired, reference.path)
        return (*needs, *named_addresses(draft.snapshot, self.name, desired.region, desired.spec))

    def _refuse_one_way(self, draft: PlanDraft, desired: Desired, live: Observed) -> None:
        """Refuse a change of a field that SES would refuse."""
        for key, field in self.spec.fields.items():
            if field.one_way is None or (live.spec[key], desired.spec.get(key, live.spec[key])) != field.one_way:
                continue
            old, new = field.one_way
            draft.refuse(
                field.one_way_code,
                f"{desired.address} is {old} and cannot become {new} again",
                hint=field.one_way_hint,
                address=desired.address,
                source=desired.source_of(key),
            )

    def _plan_delete(self, draft: PlanDraft, live: Observed) -> Change | None:
        snapshot = draft.snapshot
        if not snapshot.owns(live) or not self.may_delete(draft, live):
            return None
        refuse_protected(draft, live.address, live.tags, "deleted")
        users: list[Address] = []
        for spec, reference in references_to(self.name):
            for user in snapshot.observed.values():
                if user.kind == spec.name and user.region == live.region and reference.name_in(user.spec) == live.name:
                    if _stays(snapshot, user, reference.path, live.name, reference.foreign_blocks):
                        draft.refuse(
                            "in-use",
                            f"{live.address} would be deleted while {reference.in_use.format(user=user.address)}",
                            hint=f"give that {spec.words} another {reference.path.rpartition('.')[2]} (or null) first",
                            address=live.address,
                        )
                    users.append(user.address)
        users += self._namers(draft, live)
        return deletion(
            live,
            {**live.spec, **self.taken_along(snapshot, live)},
            depends_on=tuple(sorted(users)),
            notes=self.deletion_notes(snapshot, live),
            counts=self.spec.counts_deletes,
            execution={**draft.order(live.address).execution(), **self.execution(snapshot, None, live, {})},
        )

    def _namers(self, draft: PlanDraft, live: Observed) -> Iterator[Address]:
        """What names the ARN of ``live``, which is to be deleted; refused where it will go on doing so."""
        snapshot = draft.snapshot
        for spec, field in naming(self.name):
            for user in snapshot.live(spec.name):
                if live.address not in named_addresses(snapshot, spec.name, user.region, user.spec, field):
                    continue
                kept = snapshot.desired.get(user.address)
                stays = {**kept.spec, **kept_items(spec, kept, user)} if kept is not None else {}
                if kept is not None and live.address in named_addresses(
                    snapshot, spec.name, user.region, overlay(stays, user.spec), field
                ):
                    draft.refuse(
                        "in-use",
                        f"{live.address} would be deleted while {field.in_use.format(user=user.address)}",
                        hint=f"give that {spec.words} another {field.path.rpartition('.')[2]} first",
                        address=live.address,
                    )
                yield user.address

    # -- written ----------------------------------------------------------------------------------------------------

    def written_fields(self, change: Change) -> Iterator[tuple[Document, Document]]:
        """A put replaces its block, so the fields that nobody wrote into the YAML are sent as they were planned."""
        yield from super().written_fields(change)
        for key, value in (change.execution.get("puts") or {}).items():
            if isinstance(value, Mapping):
                before = (change.before or {}).get(key) or {}
                yield {}, {key: {inner: v for inner, v in value.items() if inner not in before}}

    def steps(self, change: Change) -> Iterable[Step]:
        if change.action == "delete":
            yield self._delete_step(change)
        elif change.action == "create":
            yield from self._create_steps(change)
        else:
            yield from self._update_steps(change)

    def _place(self, change: Change) -> tuple[str, str]:
        return self.spec.located(change.address)

    def _named(self, name: str) -> dict[str, Any]:
        """The member of a request that names the resource; none where there is only one."""
        return {self.spec.key: name} if self.spec.key else {}

    def _delete_step(self, change: Change) -> Step:
        region, call = self._place(change)[0], self.spec.call("Delete")

        def run(rt: Runtime) -> None:
            self.before_delete(rt, change)
            members = self.deletion_members(rt, change)
            rt.aws.call_if_there(self.spec.client, self.spec.operation("Delete"), region, **members)

        users = needs_of(change.depends_on, "create", "update", "delete")
        needs = (*needs_of(order_of(change).marks, "mark"), *users)
        return Step(change.address, "delete", needs, run, calls=(call,), region=region)

    def _by_arn(self, rt: Runtime, change: Change) -> dict[str, Any]:
        """The member that names the resource in requests other than a creation, where these want its ARN."""
        if not self.spec.arn_key:
            return {}
        region, name = self._place(change)
        return {self.spec.arn_key: self.spec.arn_of(rt.partition, region, rt.account, name)}

    def _create_steps(self, change: Change) -> Iterator[Step]:
        region, name = self._place(change)
        after = change.after or {}
        fields = {key: after[key] for key in self.spec.fields if after.get(key) is not None}
        late = {key: fields.pop(key) for key in tuple(fields) if self.waits_for_verification(change, key)}
        apart = {key: fields.pop(key) for key in tuple(fields) if self.spec.fields[key].after_create}
        client, create = self.spec.client, self.spec.operation("Create")

        def run(rt: Runtime) -> None:
            tags: dict[str, Any] = {"Tags": tags_to_aws(after["tags"])} if self.spec.taggable else {}
            made = create_once(
                lambda: rt.aws.call(client, create, region, **self._named(name), **tags, **self._body(fields)),
                lambda: self._is_ours(rt, region, name),
                *self.spec.exists_codes,
            )
            for operation, members in self._requests(change, apart if made is not None else {**fields, **apart}):
                self.send(rt, change, operation, members)

        calls = (self.spec.call("Create"), *(f"{client}:{operation}" for operation, _ in self._requests(change, apart)))
        yield Step(change.address, "create", needs_of(change.depends_on, "create"), run, calls=calls, region=region)
        for key, value in late.items():
            yield self._late_step(change, key, value, (Need(change.address, "create"),))

    def _update_steps(self, change: Change) -> Iterator[Step]:
        region, name = self._place(change)
        address, order, client = change.address, order_of(change), self.spec.client
        put, release, drop = tag_phases(change)
        if put:
            yield Step(
                address,
                "claim",
                (),
                lambda rt: put_tags(rt, self.name, region, name, put),
                calls=(f"{client}:TagResource",),
                region=region,
            )
        puts: dict[str, Any] = dict(change.execution.get("puts") or {})
        late = {key: puts.pop(key) for key in tuple(puts) if self.waits_for_verification(change, key)}
        if puts:
            calls = tuple(f"{client}:{operation}" for operation, _ in self._requests(change, puts))
            needs = (Need(address, "claim"), *needs_of(change.depends_on, "create", "update"), *order.first())
            yield Step(address, "update", needs, lambda rt: self._update(rt, change, puts), calls=calls, region=region)
        for key, value in late.items():
            yield self._late_step(change, key, value, (Need(address, "update"), *order.first()))
        if release or drop:
            # What the tags remember is forgotten only once it is gone.
            tagging = (f"{client}:TagResource",) if release else ()
            yield Step(
                address,
                "release",
                (*needs_of((address,), "claim", "update"), *order.last()),
                lambda rt: release_tags(rt, self.name, region, name, release, drop),
                calls=(*tagging, *((f"{client}:UntagResource",) if drop else ())),
                region=region,
            )

    def _late_step(self, change: Change, key: str, value: Any, needs: tuple[Need, ...]) -> Step:
        """The step of a field that SES takes only once a domain is verified."""
        region = change.region or ""
        domain = self.waits_for_verification(change, key) or ""
        requests = list(self._requests(change, {key: value}))

        def run(rt: Runtime) -> None:
            rt.wait_verified(region, domain)
            rt.ensure_unchanged(change.address)
            for operation, members in requests:
                self.send(rt, change, operation, members)

        calls = tuple(f"{self.spec.client}:{operation}" for operation, _ in requests)
        return Step(change.address, "tracking", needs, run, calls=calls, region=region, after_verification=True)

    def _update(self, rt: Runtime, change: Change, puts: Mapping[str, Any]) -> None:
        written: set[str] = set()
        for operation, members in self._requests(change, puts):
            if written and operation not in written:
                rt.ensure_unchanged(change.address)
            written.add(operation)
            self.send(rt, change, operation, members)

    def _requests(self, change: Change, values: Mapping[str, Any]) -> Iterator[Request]:
        """The requests that replace the fields ``values``: the kind's own update, and one a field with a ``put``."""
        together = {key: value for key, value in values.items() if not self.spec.fields[key].put}
        if together:
            named = self._named(self._place(change)[1])
            yield self.spec.operation("Update"), {**named, **self._body(together)}
        for key, value in values.items():
            if key not in together:
                yield from self.requests(change, key, value)

    def _body(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The members of a creation or of the kind's own update."""
        body: dict[str, Any] = {}
        for key, value in values.items():
            field = self.spec.fields[key]
            sent = request_value(field, value)
            if sent is None or sent == {}:
                continue
            place = body.setdefault(field.within, {}) if field.within else body
            place[camel(key)] = sent
        return body

    def _is_ours(self, rt: Runtime, region: str, name: str) -> bool:
        live = self.read(rt.aws, region, name)
        return live is not None and owner_of(live.tags) == rt.scope


def kept_items(spec: KindSpec, desired: Desired, live: Observed) -> dict[str, Any]:
    """Keyed maps with None for the items that are ours and no longer declared: all where the map is declared to be
    empty."""
    out: dict[str, Any] = {}
    for key, field in spec.all_fields.items():
        if not field.remembered:
            continue
        declared, items = desired.spec.get(key), live.spec.get(key) or {}
        known = unpack(live.tags, PARTS)
        none = means_none(desired.entry, key)
        gone = [n for n in sorted(items) if (none or f"{key}.{n}" in known) and n not in (declared or ())]
        dropped = {name: None for name in gone if not left_alone(desired.entry, key, name)}
        if declared is not None or dropped:
            out[key] = {**(declared or {}), **dropped}
    return out


def _stays(snapshot: Snapshot, user: Observed, path: str, name: str, foreign_blocks: bool) -> bool:
    """Whether ``user`` still names ``name`` in its field ``path`` after this plan."""
    kept = snapshot.desired.get(user.address)
    if kept is None:
        return foreign_blocks and not snapshot.owns(user)
    block, _, field = path.rpartition(".")
    written = at_path(kept.spec, block) if block else kept.spec
    return bool((written or {}).get(field, name) == name)
