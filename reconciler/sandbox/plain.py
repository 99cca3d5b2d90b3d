"""Plain SES v2 kinds: one frozen value says what is particular to a kind, and its operations follow.

``reconciler/resources/KIND/sandbox.py`` defines them, ``PLAIN = Plain(...)``; every Plain of such a module counts, so
that a kind may come with what it holds (a contact list with its contacts). The operations Create, Get, Update and
Delete of the noun, the list and the puts are made here, and tags, the tagging API, IAM's resources and tenants'
associations ask :func:`plains`. Get and List show the members of botocore's output shapes; no Spec of recon is read.

Source: SES API v2 reference; botocore's sesv2 model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from reconciler.sandbox.protocol import ApiError, Params, api, page
from reconciler.sandbox.ses_state import Item, SesState, Verifier, merge_tags, refuse_if, refuse_if_tenant
from reconciler.sandbox.world import Call, moment, tag_list

RESOURCES: Final = Path(__file__).parent.parent / "resources"
VERBS: Final = ("Create", "Get", "Update", "Delete")

Operation = Callable[[Call, Params], Params]
Error = tuple[str, str]
"""An AWS error code and its message, in which {name}, {words}, {Words}, {quota} and {parent} are filled in."""


@dataclass(frozen=True, slots=True)
class Context:
    """One call, as the functions of a kind see it. ``holder`` has the kind's resources: the region, or the parent."""

    call: Call
    state: SesState
    verifier: Verifier
    holder: SesState | Item

    @property
    def parent(self) -> Item:
        """The resource that holds those of this kind; only for kinds that have a parent."""
        assert isinstance(self.holder, Item)
        return self.holder


Member = Callable[[Context, Any, Any], Any]
"""(context, value given, value stored before or None) -> value to store, None for none. Raises: ApiError."""


def at_most(characters: int, message: str) -> Member:
    """A text member that has a longest length, and AWS's message where it is longer."""

    def check(context: Context, given: str, before: str | None) -> str:
        refuse_if((len(given) > characters, message))
        return given

    return check


@dataclass(frozen=True)
class Listed:
    """A list operation: the member of its answer that has the rows, and how they are chosen and ordered.

    A page has ``page`` rows where the request has no PageSize, and never more than ``largest``.
    """

    operation: str
    member: str
    page: int = 1000
    largest: int = 1000
    newest_first: bool = False
    select: Callable[[Context, Sequence[Item], Params], Sequence[Item]] = lambda context, items, params: items


@dataclass(frozen=True, kw_only=True)
class Plain:
    """A plain kind. Its operations are Create, Get, Update and Delete + ``noun``, as far as SES has them.

    A request's members other than ``key``, the parent's key and Tags are stored, each through its function in
    ``members`` if it has one. Update keeps the members that it leaves out, except ``resets``, which take their default.
    """

    noun: str
    key: str
    """The member that has the name: ``ContactListName``."""
    listed: Listed
    words: str = "resource"
    """What the messages below call it: ``configuration set``."""
    arn: str = ""
    """The type in its ARN and, after ``ses:``, in the tagging API; "" where it has no ARN and so no tags."""
    aliases: tuple[str, ...] = ()
    """Further members of requests that name a resource of this kind, for IAM: ``DestinationPoolName``."""
    parent: str = ""
    """The noun of the kind that holds it: a configuration set its event destinations."""
    answer: str = ""
    """The member that Get nests its answer in: ``DedicatedIpPool``."""
    pattern: str = r"[A-Za-z0-9_-]{1,64}"
    reserved: frozenset[str] = frozenset()
    quota: int | None = None
    """The most that a region, or a parent, can have."""
    members: Mapping[str, Member] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """What Create takes as given where a member is left out."""
    resets: frozenset[str] = frozenset()
    puts: Mapping[str, str] = field(default_factory=dict)
    """Operation -> the member that it replaces, with the request's member of that name, else with its whole body."""
    tenant: str = ""
    """ResourceType of an association with a tenant, which refuses the delete; "" where there is none."""
    invalid: Error = ("BadRequestException", "{Words} name <{name}> is not valid.")
    exists: Error = ("AlreadyExistsException", "{Words} <{name}> already exists.")
    missing: Error = ("NotFoundException", "{Words} <{name}> does not exist.")
    full: Error = ("LimitExceededException", "You can have at most {quota} {words}s in a region.")
    check_delete: Callable[[Context, Item], None] = lambda context, item: None
    """Raises ApiError where AWS refuses the delete."""
    show: Callable[[Context, Item], Params] = lambda context, item: {}
    """Members of Get and List that are not stored, or are shown in another form."""

    def refusal(self, error: Error, name: str, holder: SesState | Item) -> ApiError:
        """An error of this kind about one name."""
        text = error[1].format(
            name=name, words=self.words, Words=self.words[:1].upper() + self.words[1:], quota=self.quota,
            parent=holder.name if isinstance(holder, Item) else "",
        )  # fmt: skip
        return ApiError(error[0], text)

    @property
    def operations(self) -> tuple[str, ...]:
        """The names of all operations, also those of the verbs that SES may not have for the noun."""
        return (*(verb + self.noun for verb in VERBS), self.listed.operation, *self.puts)


@cache
def plains() -> tuple[Plain, ...]:
    """Every plain kind, found by its file and imported once."""
    folders = sorted(file.parent.name for file in RESOURCES.glob("*/sandbox.py"))
    names = [f"reconciler.resources.{folder}.sandbox" for folder in folders]
    modules = [import_module(name) for name in (*names, "reconciler.sandbox.contacts")]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, Plain)]
    return tuple({plain.noun: plain for plain in found}.values())


@cache
def of_noun(noun: str) -> Plain:
    """The kind of a noun. Raises: StopIteration where no file defines it."""
    return next(plain for plain in plains() if plain.noun == noun)


def find(holder: SesState | Item, noun: str, name: str) -> Item:
    """A resource of a region, or of the one that holds it. Raises: ApiError, NotFoundException in the kind's words."""
    found = holder.of(noun).get(name)
    if found is None:
        plain = of_noun(noun)
        raise plain.refusal(plain.missing, name, holder)
    return found


def named(operation: str, params: Params) -> list[str]:
    """What a request names, as last parts of ARNs (``contact-list/news``), for IAM.

    Where two kinds have the same key (TemplateName), the one whose operation it is counts.
    """
    named_by = [
        (plain, f"{plain.arn}/{params[member]}")
        for plain in plains()
        if plain.arn
        for member in (plain.key, *plain.aliases)
        if isinstance(params.get(member), str)
    ]
    own = [resource for plain, resource in named_by if operation in plain.operations]
    return own or [resource for _, resource in named_by]


def operations(verifier: Verifier) -> dict[str, Operation]:
    """The operations of all plain kinds, by name: ``CreateContactList``."""
    return {name: act for plain in plains() for name, act in Operations(plain, verifier).by_name().items()}


class Operations:
    """The operations of one kind, in all accounts and regions. Each raises ApiError in the kind's words."""

    def __init__(self, plain: Plain, verifier: Verifier) -> None:
        self.plain = plain
        self.verifier = verifier
        self.parent_key = of_noun(plain.parent).key if plain.parent else ""

    def by_name(self) -> dict[str, Operation]:
        """Operation name -> function; the model of SES decides which of the verbs can be called."""
        acts: list[Operation] = [self.create, self.get, self.update, self.delete, self.list]
        acts += [partial(self.put, member) for member in self.plain.puts.values()]
        return dict(zip(self.plain.operations, acts, strict=True))

    def _context(self, call: Call, params: Params) -> Context:
        state = call.world.state(call, "ses", SesState)
        holder = find(state, self.plain.parent, params[self.parent_key]) if self.parent_key else state
        return Context(call, state, self.verifier, holder)

    def _item(self, call: Call, params: Params) -> tuple[Context, Item]:
        context = self._context(call, params)
        return context, find(context.holder, self.plain.noun, params[self.plain.key])

    def _given(self, params: Params) -> Params:
        """The members of a request that are stored."""
        apart = {self.plain.key, self.parent_key, "Tags"}
        return {member: value for member, value in params.items() if member not in apart}

    def _write(self, context: Context, item: Item, given: Params) -> None:
        """Store members; all or none. Raises: ApiError."""
        body = dict(item.body)
        for member, value in given.items():
            check = self.plain.members.get(member)
            body[member] = check(context, value, item.body.get(member)) if check and value is not None else value
        item.body = {member: value for member, value in body.items() if value is not None}
        item.updated = context.call.now

    def create(self, call: Call, params: Params) -> Params:
        plain, context, name = self.plain, self._context(call, params), params[self.plain.key]
        held = context.holder.of(plain.noun)
        if name in plain.reserved or not re.fullmatch(plain.pattern, name, re.DOTALL):
            raise plain.refusal(plain.invalid, name, context.holder)
        if name in held:
            raise plain.refusal(plain.exists, name, context.holder)
        if plain.quota is not None and len(held) >= plain.quota:
            raise plain.refusal(plain.full, name, context.holder)
        item = Item(name, call.now, call.now, tags=merge_tags({}, params.get("Tags", [])))
        self._write(context, item, {**plain.defaults, **self._given(params)})
        held[name] = item
        return {}

    def get(self, call: Call, params: Params) -> Params:
        plain, (context, item) = self.plain, self._item(call, params)
        shape = api("sesv2").model.operation_model("Get" + plain.noun).output_shape
        shown: Params = self._view(context, item, shape.members[plain.answer] if plain.answer else shape)
        return {plain.answer: shown} if plain.answer else shown

    def update(self, call: Call, params: Params) -> Params:
        context, item = self._item(call, params)
        resets = {member: self.plain.defaults.get(member) for member in self.plain.resets}
        self._write(context, item, {**resets, **self._given(params)})
        return {}

    def put(self, member: str, call: Call, params: Params) -> Params:
        context, item = self._item(call, params)
        given = self._given(params)
        self._write(context, item, {member: given.get(member, given)})
        return {}

    def delete(self, call: Call, params: Params) -> Params:
        plain, (context, item) = self.plain, self._item(call, params)
        if plain.tenant:
            refuse_if_tenant(call, context.state, f"{plain.arn}/{item.name}")
        plain.check_delete(context, item)
        del context.holder.of(plain.noun)[item.name]
        return {}

    def list(self, call: Call, params: Params) -> Params:
        listed, context = self.plain.listed, self._context(call, params)
        held = context.holder.of(self.plain.noun)
        items = list(reversed(held.values())) if listed.newest_first else [held[name] for name in sorted(held)]
        rows = listed.select(context, items, params)
        chosen, token = page(rows, params.get("NextToken"), params.get("PageSize") or listed.page, listed.largest)
        shape = api("sesv2").model.operation_model(listed.operation).output_shape
        row = shape.members[listed.member].member
        answer = {listed.member: [self._view(context, item, row) for item in chosen]}
        return {**answer, "NextToken": token} if "NextToken" in shape.members else answer

    def _view(self, context: Context, item: Item, shape: Any) -> Any:
        """An item as an output shape has it: its name alone where that is a text."""
        if shape.type_name == "string":
            return item.name
        shown = {
            self.plain.key: item.name,
            **item.body,
            "Tags": tag_list(item.tags),
            "CreatedTimestamp": moment(item.created),
            "LastUpdatedTimestamp": moment(item.updated),
            **self.plain.show(context, item),
        }
        if self.parent_key:
            shown[self.parent_key] = context.parent.name
        return {member: value for member, value in shown.items() if member in shape.members}
