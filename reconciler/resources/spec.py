"""The types in which a kind says what it is. Pure data on the ground floor: only the standard library is imported.

``KindSpec`` is what every kind declares, and what all tables are derived from: sections of the YAML, forms of
addresses, references, the tag sweep, IAM policies, CloudTrail look-ups, the headline, import and the docs.
``PlainSpec`` adds what ``reconciler.kinds.plain`` needs to read and write a kind of SES API v2 by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from reconciler.model import Change

Values = Mapping[str, Any]

Memory = Literal["recon:records", "recon:destinations", "recon:tracking", "recon:subscriptions"]
"""The tags of a resource that name what other kinds have planned for it (``reconciler.kinds.plan_draft``)."""

MAX_TAGS: Final = 50
"""Tags of one resource, those that AWS puts (``aws:``) left out (AWS General Reference, "Tag your AWS resources")."""


# --- records in DNS -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RecordGroup:
    """A group of DNS records that a resource's stack owns where the resource's tag ``recon:records`` names the group.

    ``at`` is the name of its records, with the resource's own ``{name}``, and ``{one}`` of those that the tag
    ``listed`` lists. ``shown``: where a spec has the one that AWS shows, for resources without that tag.
    """

    name: str
    words: str
    types: tuple[str, ...]
    at: str
    listed: str = ""
    shown: str = ""
    below: bool = False
    """Whether its records are below the resource's own name."""

    def record_names(self, name: str, listed: Iterable[str]) -> Iterator[str]:
        """The names of the records of a resource."""
        for one in listed if self.listed else ("",):
            yield self.at.format(name=name, one=one)

    def resources_of(self, record: str) -> tuple[str, ...]:
        """The names of all resources that can have a record at the name ``record``; empty where none can, or where
        nothing but their tags says which."""
        if self.below:
            labels = record.split(".")
            return tuple(".".join(labels[start:]) for start in range(1, len(labels) - 1))
        form = re.escape(self.at).replace(r"\{one\}", ".+").replace(r"\{name\}", "(?P<name>.+)")
        found = re.fullmatch(form, record) if "{name}" in self.at else None
        return (found["name"],) if found else ()

    def may_be_at(self, record: str) -> bool:
        """Whether the name ``record`` has the form that records of this group have."""
        return bool(self.resources_of(record)) or (
            self.at == "{one}" and not record.startswith("_") and "._" not in record
        )


# --- words of the headline ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Phrase:
    """What the headline says of ``n`` things: ``one`` and ``many`` with ``{n}``.

    ``rank`` is its place in the sentence: below 250 what begins or changes, below 300 what costs or gets weaker, from
    300 what is removed or stops. ``regions``: the regions concerned are named.
    """

    one: str
    many: str
    rank: int
    regions: bool = False
    dollars: float = 0.0
    """What it begins to cost a month, US dollars: once an account, whatever the number of things."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that a change means for mail: the key of a phrase, what it is about, and the region."""

    phrase: str
    thing: str
    region: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """What the headline says of a kind, by the action: ``new``, ``changed``, ``gone``. None: the change is counted.

    ``when`` names fields whose new value is worth a phrase of its own: path -> {value after: phrase}. A kind whose
    changes need more than that has ``facts``, which says what one change means; its keys are those of ``phrases``.
    """

    new: Phrase | None = None
    changed: Phrase | None = None
    gone: Phrase | None = None
    when: Mapping[str, Mapping[Any, Phrase]] = field(default_factory=dict)
    phrases: Mapping[str, Phrase] = field(default_factory=dict)
    facts: Callable[[Change], Iterable[Fact]] | None = None


# --- what every kind declares ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the YAML: name -> entry.

    ``entry`` is the name of one entry in ``defaults`` and ``classes``, and of its schema file in the kind's folder
    (``ENTRY.schema.json``). ``fold`` brings names to the form in which they are compared; it raises ValueError.
    """

    name: str
    entry: str
    title: str
    about: str
    file: str
    """Where ``recon import`` writes it, in a directory."""
    alike: tuple[str, ...] = ()
    """Keys that ``recon import`` writes once under ``defaults`` where many entries say the same."""
    everywhere: tuple[str, ...] = ()
    """Keys that hold in all regions of an entry, so that ``by_region`` cannot say them."""
    fold: Literal["", "domain", "address"] = ""
    name_hint: str = ""
    """What to write instead of a name that cannot be folded."""
    single: bool = False
    """The section is one entry, which has no name, and no map of names."""
    at_home: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Key -> values with which an entry is in the region of the partition's global services alone, whatever the regions
    of the stack are: what it is about arrives nowhere else."""
    drawn_as: str = ""
    """The preset of dashboards that draws its entries by their names."""
    dimension: str = ""
    """The dimension of SES's metrics that holds these names."""
    place: int = 100
    """Where it comes in the docs and in what ``recon import`` writes: smaller numbers first."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A field that names another resource of the same region.

    ``covering``: the field holds a domain name, and what it refers to is the identity at or nearest above that name.
    """

    path: str
    kind: str
    built_in: tuple[str, ...] = ()
    """Names of AWS's own, which need not exist as resources."""
    in_use: str = ""
    """Why a resource that is named here cannot be deleted: "{user} still sends from it". Empty: it can."""
    foreign_blocks: bool = False
    """Whether a resource of nobody or of others that names it prevents the deletion, too, since AWS refuses it then."""
    covering: bool = False

    def name_in(self, values: Values) -> str | None:
        """The name that ``values`` (an entry or a spec) refer to; None where there is none, or AWS's own."""
        found = at_path(values, self.path)
        return found if isinstance(found, str) and found and found not in self.built_in else None


@dataclass(frozen=True, slots=True)
class Named:
    """A field, a text, a list of them or a map by them, that has ARNs of another kind, of the same region or not.

    In the YAML the name alone will do of one that the state declares. ``service``: what publishes there, as a topic's
    ``publishers`` say it. ``in_use`` as in ``Reference``.
    """

    path: str
    kind: str
    service: str = ""
    in_use: str = "{user} still names it"

    def texts_in(self, values: Values) -> tuple[str, ...]:
        """The ARNs or names that ``values`` have there."""
        found = at_path(values, self.path)
        if not found:
            return ()
        if isinstance(found, Mapping):
            return tuple(text for text, item in found.items() if item is not None)
        listed = found if isinstance(found, list | tuple) else [found]
        return tuple(text for text in listed if isinstance(text, str) and text)

    def with_arns(self, values: Values, arn_of: Callable[[str], str]) -> Values:
        """``values`` with ARNs in the place of names."""
        return self.with_texts(values, lambda text: text if ":" in text else arn_of(text))

    def with_texts(self, values: Values, changed: Callable[[str], str]) -> Values:
        """``values`` with each text there changed; those of a map stay."""
        found = at_path(values, self.path)
        if not found:
            return values

        def one(text: Any) -> Any:
            return changed(text) if isinstance(text, str) else text

        head, *rest = self.path.split(".")
        if rest:
            return {**values, head: Named(".".join(rest), self.kind).with_texts(values[head], changed)}
        return {**values, head: [one(text) for text in found] if isinstance(found, list | tuple) else one(found)}


@dataclass(frozen=True, slots=True)
class Held:
    """Entries of another section that an entry may hold itself, as a map under ``key``: they become entries of that
    section, in the regions of the holder, named HOLDER-KEY.

    ``supplies`` are values that such an entry has where it does not write them, with ``{name}`` for the holder's name;
    not where it writes one of ``unless``.
    """

    key: str
    section: str
    supplies: Values = field(default_factory=dict)
    unless: tuple[str, ...] = ()

    def supplied(self, name: str, values: Values) -> dict[str, Any]:
        """What the holder ``name`` adds to an entry that says ``values``."""
        if any(values.get(key) is not None for key in self.unless):
            return {}
        return {key: _filled_in(value, name) for key, value in self.supplies.items() if key not in values}


def _filled_in(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled_in(one, name) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_filled_in(one, name) for one in value]
    return value.replace("{name}", name) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Service:
    """A service other than SES that has the resources of a kind."""

    name: str
    """As in ARNs and in IAM: ``cloudwatch``."""
    client: str
    """As botocore calls it."""
    swept_as: str = ""
    """The type of the resources for the tagging API: ``cloudwatch:alarm``; empty where they carry no tags."""
    prefix: str = ""
    """What precedes the name in an ARN: ``alarm:``."""
    arn_member: str = "ResourceArn"
    """The member of TagResource that has the ARN."""
    deletes: tuple[str, ...] = ()
    """Operations that a deletion needs beside those that begin with Delete."""


@dataclass(frozen=True, slots=True)
class CloudTrail:
    """The events that can have made a difference, beside those that follow from the operations of a plain kind.

    Names of older APIs are listed too: CloudTrail records the operation that was called.
    """

    made: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    naming: tuple[str, ...] = ()
    """Request parameters, in lower case, whose value is the resource's name."""


@dataclass(frozen=True)
class KindSpec:
    """What a kind is, special or plain."""

    name: str
    words: str
    """In a sentence: "configuration set"."""
    sections: tuple[Section, ...] = ()
    address: tuple[str, ...] = ("REGION", "NAME")
    """What follows the kind in an address."""
    parent: str = ""
    """The kind inside whose entry it is declared; it is read and deleted with it."""
    parent_key: str = ""
    """The key of the parent's entry that holds it."""
    item_key: tuple[str, ...] = ()
    """Where the parent holds a list: the keys of an item that its address ends with. Else it holds a map of names."""
    about: str = ""
    """What it is, for the docs, where it has no section of its own."""
    holds: tuple[Held, ...] = ()
    with_kinds: tuple[str, ...] = ()
    """Kinds that a target on this one brings along whole (a user and its credential, pools that trade addresses)."""
    read_with: tuple[str, ...] = ()
    """Kinds of the same region that are read with a target on this one: they decide what a change means for mail."""
    references: tuple[Reference, ...] = ()
    named: tuple[Named, ...] = ()
    service: Service | None = None
    """Where its resources are; None: SES."""
    remnant: Service | None = None
    """What of it carries the tag of the owner by itself, in the region of the global services, and may outlive it."""
    principal: Literal["", "user", "role"] = ""
    """What precedes its name in an ARN of IAM, where policies can name it as a principal. IAM ignores the case of its
    name and of the keys of its tags."""
    follows: tuple[str, ...] = ()
    """Kinds that a plan shows before this one although no field names them."""
    records: tuple[RecordGroup, ...] = ()
    """The DNS records that its resources have, as their tags say."""
    remembers: tuple[Memory, ...] = ()
    """Its tags in which other kinds remember what belongs to it (``recon:records``)."""
    plans_after: tuple[str, ...] = ()
    """Kinds, beside its children, that decide what this one's tags remember, so that they are planned first."""
    arn: str = ""
    """The resource type in SES ARNs, by which the tag sweep finds it; empty: it is not swept."""
    arn_aliases: tuple[str, ...] = ()
    quota: int | None = None
    """How many SES allows in a region (SES Developer Guide, "Service quotas")."""
    quota_fixed: bool = False
    """AWS does not raise the quota, so that more are an error and no warning."""
    pattern: str = ""
    """The form of a name; ``pattern_words`` says it to people."""
    pattern_words: str = ""
    reserved: tuple[str, ...] = ()
    """Names of AWS's own."""
    taggable: bool = True
    listed: tuple[str, str, str] = ("", "", "")
    """(operation, member, member of an item with the name or "" where items are names) that lists all of a region."""
    list_options: Values = field(default_factory=dict)
    for_mail: Callable[[Values], bool] = lambda item: True
    """Whether an item of that list is about mail, so that an import brings it."""
    anywhere: tuple[str, ...] = ()
    """IAM actions of this kind, beside the one that lists all, that IAM checks against no resource."""
    trail: CloudTrail = CloudTrail()
    in_tenants: bool = False
    """Whether it can be associated with a tenant of SES, which then keeps SES from deleting it."""
    says: Words = Words()
    read_last: bool = False
    """Whether what must be read of it depends on all other kinds."""
    cannot_move: str = ""
    """Why ``moved`` cannot rename it (a rename is a replacement); empty where it can."""
    counted_apart: bool = False
    """Whether the headline counts its changes as DNS records where no phrase says them."""
    counts_deletes: bool = True
    """Whether a deletion counts against ``max_deletes``."""
    permanent: bool = False
    """AWS always has it and it has no owner: nothing creates, adopts or deletes it, and it only has fields with a
    ``put``. What is taken out of the YAML stays as it is."""

    def held_in(self, entry: Values) -> Iterator[tuple[tuple[str, ...], str, Any]]:
        """What an entry of the parent holds of this kind: the end of the address, the path in the entry, the values."""
        held = entry.get(self.parent_key) if self.parent_key else None
        if self.item_key:
            for index, item in enumerate(held if isinstance(held, list | tuple) else ()):
                if isinstance(item, Mapping):
                    yield tuple(str(item.get(k, "")) for k in self.item_key), f"{self.parent_key}.{index}", item
        elif isinstance(held, Mapping):
            yield from (((name,), f"{self.parent_key}.{name}", values) for name, values in held.items())

    @property
    def section(self) -> str:
        """The first section of the YAML, empty for a kind that has none of its own."""
        return self.sections[0].name if self.sections else ""

    @property
    def regional(self) -> bool:
        return self.address[0] == "REGION"

    @property
    def all_fields(self) -> Mapping[str, Field]:
        """The declared fields of a plain kind; nothing of a special one."""
        return {}

    @property
    def swept(self) -> bool:
        return bool(self.arn) or bool(self.service and self.service.swept_as)

    @property
    def client(self) -> str:
        """What botocore calls the service whose operations read and write it."""
        return self.service.client if self.service else "sesv2"

    def arn_of(self, partition: str, region: str, account: str, name: str) -> str:
        """The ARN of one resource."""
        service, resource = "ses", f"{self.arn}/{name}"
        if self.service is not None:
            service, resource = self.service.name, f"{self.service.prefix}{name}"
        return f"arn:{partition}:{service}:{region}:{account}:{resource}"

    @property
    def created_by(self) -> tuple[str, ...]:
        """The operations of any API that create it, as CloudTrail names them."""
        return self.trail.made

    @property
    def deleted_by(self) -> tuple[str, ...]:
        """The operations of any API that delete it."""
        return self.trail.gone

    def changed_by(self, key: str) -> tuple[str, ...]:
        """The operations of any API that change the field ``key``, or its ``tags``."""
        if key == "tags" and self.taggable:
            return ("TagResource", "UntagResource")
        return self.trail.fields.get(key, ())

    @property
    def named_in(self) -> tuple[str, ...]:
        """The request parameters, in lower case, that hold its name; CloudTrail's own ``resourceName`` among them."""
        return (*self.trail.naming, "resourcename")

    def referring(self, kind: str) -> tuple[str, ...]:
        """The operations that IAM also checks against the resource of ``kind`` that a field refers to; of what is no
        kind of recon's for ``""``."""
        fields = [r.path.partition(".")[0] for r in self.references if r.kind == kind and not r.covering]
        return tuple(dict.fromkeys(name for key in fields for name in self.changed_by(key)))

    @property
    def a_words(self) -> str:
        """``words`` with its article: ``an SNS topic``."""
        vowels = "AEFHILMNORSX" if self.words[:2].isupper() else "aeiouAEIOU"
        return f"{'an' if self.words[0] in vowels else 'a'} {self.words}"

    @property
    def many(self) -> str:
        """``words`` for several: ``identities``."""
        return f"{self.words[:-1]}ies" if self.words.endswith("y") else f"{self.words.removesuffix('s')}s"

    def address_of(self, *parts: str) -> str:
        """``KIND/REGION/NAME``; the parts as ``address`` lists them. An empty one, of what has no name, is left out."""
        return "/".join((self.name, *filter(None, parts)))

    def located(self, address: str) -> tuple[str, str]:
        """The region and the name in an address; empty where the kind has none."""
        _, _, rest = address.partition("/")
        if not self.regional:
            return "", rest
        region, _, name = rest.partition("/")
        return region, name

    def named_badly(self, name: str) -> bool:
        """Whether AWS does not take ``name`` for a resource of this kind."""
        return bool(self.pattern) and re.fullmatch(self.pattern, name) is None


# --- what a plain kind declares beside it ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Field:
    """One key of an entry of a plain kind.

    ``default`` is what AWS has where nobody set it; ``null`` in the YAML asks for it. ``inner`` are the defaults of the
    keys of an option block (nested maps allowed). ``keyed`` says that AWS has a list where the YAML has a map: it names
    the member that holds the key.
    """

    declared: bool = True
    """False: AWS may have it, and the YAML cannot say it."""
    main: str = ""
    """The key of ``inner`` without which the block says nothing."""
    default: Any = None
    ours: Any = None
    """What a declared one has where the YAML says nothing or ``null``, where that is not AWS's default."""
    on_create: bool = False
    """Shown and sent on creation also where the YAML does not say it."""
    inner: Values = field(default_factory=dict)
    keyed: str = ""
    members: Values = field(default_factory=dict)
    """Defaults of the keys of each item of a ``keyed`` map."""
    set_of: bool = False
    """A list whose order has no meaning."""
    sets: tuple[str, ...] = ()
    """Keys of ``inner`` whose lists have no order."""
    within: str = ""
    """The AWS member that contains the field (``TemplateContent``), where it is not a member of the request itself."""
    arns: tuple[str, ...] = ()
    """Keys of ``inner`` that hold the ARN of another resource of SES: IAM checks the put against that, too."""
    put: str = ""
    """The operation that replaces this key alone; without it, the kind's update replaces all keys."""
    wraps: str = ""
    """The member of ``put`` that holds the block, where its keys are not members of the request."""
    read: str = ""
    """The call that reads it, where it is not the kind's own: ``sesv2:GetDedicatedIps``."""
    events: tuple[str, ...] = ()
    """Operations of older APIs that change it, for CloudTrail."""
    empty: Any = None
    """What a request says for a value that is absent, where leaving the member out would keep the old one."""
    after_create: bool = False
    """Put after the creation, which has no such member."""
    remembered: bool = False
    """Whether the tag ``recon:parts`` remembers which items of a ``keyed`` map we put; the items of others stay."""
    file: bool = False
    """The text may be given as ``{file: PATH}``, relative to the state directory."""
    needed: tuple[str, ...] = ()
    """Keys that each item of a ``keyed`` map must have."""
    one_way: tuple[Any, Any] | None = None
    """(from, to): a change that SES refuses."""
    one_way_code: str = ""
    one_way_hint: str = ""


@dataclass(frozen=True)
class PlainSpec(KindSpec):
    """A kind of SES API v2 that is created, read, updated, deleted and tagged by operations of the usual form."""

    key: str = ""
    """The member that holds the name: ``ContactListName``."""
    noun: str = ""
    """The operations are Create, Get, Update and Delete with this noun; empty: the kind's name in CamelCase."""
    verbs: Mapping[str, str] = field(default_factory=dict)
    """The operations that have another form: ``{"Get": "GetTopicAttributes"}``."""
    arn_key: str = ""
    """The member by which all operations but Create name it, where they want its ARN."""
    answer: str = ""
    """The member of Get's answer that holds the resource; empty: the answer itself."""
    fields: Mapping[str, Field] = field(default_factory=dict)
    one_of: tuple[str, ...] = ()
    """Fields of which an entry must have one."""
    max_bytes: int = 0
    """How many bytes the texts of an entry may have together; 0: no limit of AWS's is known."""
    exists_codes: tuple[str, ...] = ("AlreadyExistsException",)
    """What AWS answers to a creation of what exists."""
    tags_in_get: bool = True
    """Whether Get returns the tags; else ListTagsForResource is asked."""
    no_fields: tuple[str, ...] = ()
    """Keys of an entry that are no fields of the resource: of a command of its own, or of another kind."""
    preset_says: tuple[str, ...] = ()
    """Keys that a preset says: an import that leaves them all out for it must mean the same."""

    @property
    def all_fields(self) -> Mapping[str, Field]:
        return self.fields

    @property
    def operations(self) -> str:
        return self.noun or "".join(part.capitalize() for part in self.name.split("_"))

    def call(self, verb: str) -> str:
        """``sesv2:CreateContactList`` for "Create"."""
        return f"{self.client}:{self.verbs.get(verb) or verb + self.operations}"

    def operation(self, verb: str) -> str:
        """``CreateContactList`` for "Create"."""
        return self.call(verb).partition(":")[2]

    @property
    def created_by(self) -> tuple[str, ...]:
        return () if self.permanent else (self.operation("Create"), *super().created_by)

    @property
    def deleted_by(self) -> tuple[str, ...]:
        return () if self.permanent else (self.operation("Delete"), *super().deleted_by)

    def changed_by(self, key: str) -> tuple[str, ...]:
        field = self.fields.get(key)
        if field is None:
            return super().changed_by(key)
        return (field.put or self.operation("Update"), *field.events)

    @property
    def named_in(self) -> tuple[str, ...]:
        return (self.key.lower(), *super().named_in)

    def referring(self, kind: str) -> tuple[str, ...]:
        by_arn = [key for key, field in self.fields.items() if field.arns and not kind]
        found = (*super().referring(kind), *(name for key in by_arn for name in self.changed_by(key)))
        return (self.operation("Create"), *found) if found else ()

    @property
    def updates(self) -> bool:
        """Whether some field is written by the kind's own update."""
        return any(not one.put for one in self.fields.values())


def at_path(document: Any, path: str) -> Any:
    """The value at a dotted path of nested maps; None where there is none."""
    for part in _parts(path):
        # The exact class is checked first: a check against the abstract class costs ten times as much.
        if type(document) is not dict and (document is None or not isinstance(document, Mapping)):
            return None
        document = document.get(part)
    return document


@lru_cache(maxsize=1024)
def _parts(path: str) -> tuple[str, ...]:
    """The keys of a dotted path; few paths occur, nearly all of them in the code of kinds and rules."""
    return tuple(path.split("."))
