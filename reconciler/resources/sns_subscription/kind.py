"""Subscriptions: they carry no tags, and wait for people.

The tag ``recon:subscriptions`` of the topic names those of this stack; others stay. One that waits for confirmation has
no ARN that could be read, so that it can be neither changed nor ended: it dies after three days by itself.

Source: SNS API reference, Subscribe, ListSubscriptionsByTopic and Unsubscribe; SNS Developer Guide, "Confirming a
subscription" (a link is valid for two days).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from reconciler.errors import AwsError
from reconciler.kinds import snapshot as clock
from reconciler.kinds.changes import alteration, creation, deletion
from reconciler.kinds.comparing import differences, overlay, project
from reconciler.kinds.fields import without_absent
from reconciler.kinds.kind import Runtime, Step, needs_of
from reconciler.kinds.lookups import Lookup, Said, said_under
from reconciler.kinds.ownership import SUBSCRIPTIONS, left_alone, owner_of, pack, unpack
from reconciler.kinds.plain import PlainKind
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.reading import region_of, wanted_addresses
from reconciler.kinds.snapshot import Snapshot
from reconciler.kinds.spelling import camel
from reconciler.kinds.tags import put_tags, tags_from_aws
from reconciler.model import Address, Change, Desired, Diagnostic, Document, Entry, Note, Observed, State
from reconciler.resources import KINDS, holder_of
from reconciler.resources.sns_subscription import CONFIRMED_BY_PEOPLE, PUT, SPEC, UNDECLARED

if TYPE_CHECKING:
    from reconciler.aws import Aws

TOPIC = KINDS[SPEC.parent]
LIST = "ListSubscriptionsByTopic"
PENDING = "recon:pending"
"""Topic tag: since when subscriptions wait that an apply has made, as ``email/ops@acme.com#TIME``."""
JSON_FIELDS = ("filter_policy", "redrive_policy", "delivery_policy")
TOLD_AFTER, LINK_DIES_AFTER = timedelta(hours=1), timedelta(days=2)
WAITS = "waits for confirmation"
HIDDEN = "hidden_due_to_security_reasons"
"""What CloudTrail shows of an e-mail address, in lower case."""


class SnsSubscription(PlainKind):
    more_reads = (f"sns:{LIST}", "sns:ListTagsForResource")

    def __init__(self) -> None:
        super().__init__(SPEC)
        self.writes = ("sns:Subscribe", f"sns:{PUT}", "sns:Unsubscribe", "sns:TagResource")

    # -- desired and observed ---------------------------------------------------------------------------------------

    def desired(self, state: State) -> Iterable[Desired]:
        for entry in state.section(TOPIC.section):
            for (protocol, endpoint), path, values in SPEC.held_in(entry.values):
                wanted = self.desired_of(_part(entry, path, values), entry.name, protocol, endpoint)
                yield replace(wanted, name=f"{entry.name}/{protocol}/{endpoint}", protect=False)

    def observe(self, aws: Aws, snapshot: Snapshot) -> None:
        """Those of each topic that declares some, or remembers some of ours; of others nothing is read."""
        declared = {holder_of(desired.address) for desired in snapshot.kind(self.name)}
        topics = [
            address for address in wanted_addresses(TOPIC.name, snapshot)
            if (live := snapshot.observed.get(address)) is not None
            and (address in declared or SUBSCRIPTIONS in live.tags or snapshot.imports(address))
        ]  # fmt: skip

        def one(topic: Address) -> tuple[Address, list[Observed], list[str], AwsError | None]:
            others: list[str] = []
            try:
                return topic, list(self._of_topic(aws, *TOPIC.located(topic), snapshot, others)), others, None
            except AwsError as error:
                return topic, [], [], error

        for topic, found, others, error in aws.parallel(one, topics, region_of):
            if error is not None:
                snapshot.unreadable(f"{self.name}/{topic.partition('/')[2]}", error.message, error.hint)
            if others:
                there = snapshot.observed[topic]
                snapshot.observed[topic] = replace(there, facts={**there.facts, UNDECLARED: sorted(others)})
            for live in found:
                snapshot.observed[live.address] = live

    def _of_topic(
        self,
        aws: Aws,
        region: str,
        topic: str,
        snapshot: Snapshot | None = None,
        others: list[str] | None = None,
        only: str = "",
    ) -> Iterator[Observed]:
        """The subscriptions of a topic. Attributes are read of those that a plan is about: a call each. What else
        there is goes to ``others``, as people may see it."""
        arn, holder = (
            TOPIC.arn_of(aws.stack.partition, region, aws.stack.account, topic),
            TOPIC.address_of(region, topic),
        )
        live = snapshot.observed.get(holder) if snapshot else None
        ours = unpack(live.tags, SUBSCRIPTIONS) if live else frozenset()
        whole = snapshot is not None and snapshot.imports(holder)
        for item in self._listed(aws, region, arn):
            name, own = f"{item['Protocol']}/{item['Endpoint']}", str(item["SubscriptionArn"])
            address = SPEC.address_of(region, topic, item["Protocol"], item["Endpoint"])
            wanted = name == only if snapshot is None else address in snapshot.desired or name in ours or whole
            if own == "Deleted":
                continue
            if not wanted:
                if others is not None:
                    others.append(_shown(item["Protocol"], item["Endpoint"]))
                continue
            spec: dict[str, Any] = {}
            if own.startswith("arn:"):
                answer = aws.call_if_there("sns", "GetSubscriptionAttributes", region, SubscriptionArn=own)
                if answer is None:
                    continue
                spec = _fields(answer.get("Attributes") or {})
            yield Observed(address, self.name, region, f"{topic}/{name}", spec, facts={"arn": own if spec else ""})

    def _listed(self, aws: Aws, region: str, arn: str) -> Iterator[Mapping[str, Any]]:
        try:
            yield from aws.pages("sns", LIST, "Subscriptions", region, TopicArn=arn)
        except AwsError as error:
            if not error.absent:
                raise

    def read(self, aws: Aws, region: str, name: str, snapshot: Snapshot | None = None) -> Observed | None:
        topic, _, own = name.partition("/")
        return next(self._of_topic(aws, region, topic, only=own), None)

    def is_visible(self, aws: Aws, change: Change) -> bool:
        live = self.read(aws, *SPEC.located(change.address))
        if live is None or change.action == "delete":
            return live is None and change.action == "delete"
        return not live.spec or overlay(change.after, live.spec) == live.spec

    # -- compared ---------------------------------------------------------------------------------------------------

    def plan(self, draft: PlanDraft) -> Iterable[Change]:
        snapshot = draft.snapshot
        for address in snapshot.addresses(self.name):
            topic, name = holder_of(address) or "", "/".join(address.split("/")[3:])
            there = snapshot.observed.get(topic)
            if snapshot.unknown(address) or snapshot.unknown(topic):
                continue
            if there is not None and not (owner_of(there.tags) is None or snapshot.owns(there)):
                continue
            desired, live = snapshot.desired.get(address), snapshot.observed.get(address)
            if desired is not None:
                draft.remember(topic, SUBSCRIPTIONS, [name])
                change = self._plan_declared(desired, live, topic)
            else:
                change = self._plan_gone(draft, live, topic, name)
            if change is not None:
                yield change

    def _plan_declared(self, desired: Desired, live: Observed | None, topic: Address) -> Change | None:
        if live is None:
            protocol = desired.name.split("/")[1]
            told = "who is behind it must confirm before anything arrives: a link, for two days"
            notes = (Note("confirm", "note", told),) if protocol in CONFIRMED_BY_PEOPLE else ()
            return creation(desired, without_absent(desired.spec), depends_on=(topic,), notes=notes)
        if not live.spec:
            return None  # it waits for confirmation: its attributes cannot be read
        before = project(live.spec, desired.spec)
        diff = differences(before, desired.spec, whole=JSON_FIELDS, desired=desired)
        if not diff:
            return None
        run = {"arn": live.facts["arn"]}
        return alteration(desired, live, before, desired.spec, diff, depends_on=(topic,), execution=run)

    def _plan_gone(self, draft: PlanDraft, live: Observed | None, topic: Address, name: str) -> Change | None:
        """The end of one that is taken out while its topic stays; with the topic it ends by itself."""
        declared, there = draft.snapshot.desired.get(topic), draft.snapshot.observed.get(topic)
        ours = there is not None and name in unpack(there.tags, SUBSCRIPTIONS)
        if live is None or declared is None or not ours or left_alone(declared.entry, SPEC.parent_key, name):
            return None
        if not live.spec:
            message = f"{live.address} waits for confirmation and cannot be ended: it dies after three days by itself"
            draft.say("note", "left", message, address=live.address)
            return None
        draft.add_order(topic, after=(live.address,))
        run = {"arn": live.facts["arn"]}
        return deletion(live, without_absent(live.spec), counts=SPEC.counts_deletes, execution=run)

    def statuses(self, snapshot: Snapshot) -> Iterable[Diagnostic]:
        """Those that wait for somebody to confirm: for how long, where an apply has noted when it began."""
        for live in snapshot.live(self.name):
            desired = snapshot.desired.get(live.address)
            if live.spec or desired is None:
                continue
            name = live.name.partition("/")[2]
            topic = snapshot.observed.get(holder_of(live.address) or "")
            since = _since(topic.tags if topic else {}).get(name)
            source = desired.entry.source
            one = Diagnostic(
                "note", "subscription-pending", f"{live.address} {WAITS} since an unknown time: it gets no messages",
                "whoever gets the mail must follow its link", source.file, source.line, source.column, live.address,
                undated=True,
            )  # fmt: skip
            if told := _with_age(one, since, snapshot.now):
                yield told

    def began(self, one: Diagnostic) -> Lookup:
        return Lookup(SPEC.located(one.address)[0], "EventName", SPEC.operation("Create"))

    def dated(self, one: Diagnostic, events: Sequence[tuple[str, Said]], now: str) -> Diagnostic | None:
        about = [(time, said) for time, said in events if _is_about(one.address, said)]
        known = [time for time, said in about if HIDDEN not in said_under(said, "endpoint")]
        # Where CloudTrail hides addresses, only the one request of its kind is known to be the right one.
        since = known[0] if known else about[0][0] if len(about) == 1 else None
        return _with_age(one, since, now)

    # -- written ----------------------------------------------------------------------------------------------------

    def steps(self, change: Change) -> Iterable[Step]:
        region, name = SPEC.located(change.address)
        topic, protocol, endpoint = name.split("/", 2)
        arn = str(change.execution.get("arn") or "")
        needs = needs_of(change.depends_on, "create", "claim")

        def subscribe(rt: Runtime) -> None:
            given = {camel(key): _text(value) for key, value in (change.after or {}).items()}
            rt.aws.call(
                "sns", "Subscribe", region, Protocol=protocol, Endpoint=endpoint, ReturnSubscriptionArn=True,
                TopicArn=TOPIC.arn_of(rt.partition, region, rt.account, topic), Attributes=given,
            )  # fmt: skip
            if protocol in CONFIRMED_BY_PEOPLE:
                _note_pending(rt, region, topic, f"{protocol}/{endpoint}")

        def update(rt: Runtime) -> None:
            for key in dict.fromkeys(one.path.partition(".")[0] for one in change.diff):
                value = _text((change.after or {}).get(key))
                rt.aws.call("sns", PUT, region, SubscriptionArn=arn, AttributeName=camel(key), AttributeValue=value)

        def end(rt: Runtime) -> None:
            rt.aws.call_if_there("sns", "Unsubscribe", region, SubscriptionArn=arn)

        if change.action == "create":
            noted = ("sns:TagResource",) if protocol in CONFIRMED_BY_PEOPLE else ()
            yield Step(change.address, "create", needs, subscribe, calls=("sns:Subscribe", *noted), region=region)
        elif change.action == "update":
            yield Step(change.address, "update", needs, update, calls=(f"sns:{PUT}",), region=region)
        else:
            yield Step(change.address, "delete", (), end, calls=("sns:Unsubscribe",), region=region)

    def concerns(self, change: Change, said: Said, lookup: Lookup) -> bool:
        """A request that names the endpoint, or a subscription of the topic."""
        return _is_about(change.address, said)


def _is_about(address: Address, said: Said) -> bool:
    """Whether a request is about a subscription, as far as it says: an ARN does not name the endpoint, and CloudTrail
    hides addresses."""
    topic, protocol, endpoint = SPEC.located(address.lower())[1].split("/", 2)
    arns = said_under(said, "subscriptionarn", "topicarn")
    if not any(one.split(":")[5:6] == [topic] for one in arns):
        return False
    named = said_under(said, "endpoint")
    return endpoint in named or not named or (HIDDEN in named and protocol in said_under(said, "protocol"))


def _with_age(one: Diagnostic, since: str | None, now: str) -> Diagnostic | None:
    """The status of one that waits since then; None where that is not long enough to be told."""
    if since is None:
        return one
    age = datetime.fromisoformat(now) - datetime.fromisoformat(since)
    if age < TOLD_AFTER:
        return None
    words = f"for {age.days} days" if age.days > 1 else f"for {int(age.total_seconds() // 3600)} hours"
    told = replace(one, message=f"{one.address} {WAITS} {words}: it gets no messages", undated=False)
    if age < LINK_DIES_AFTER:
        return told
    hint = "its link is no longer valid: once SNS has dropped it, the next apply makes it anew"
    return replace(told, severity="warning", hint=hint)


def _part(entry: Entry, path: str, values: Mapping[str, Any]) -> Entry:
    """The part of a topic's entry that declares one, so that its lines are found under its own paths."""
    sources = {p[len(path) + 1 :]: s for p, s in entry.sources.items() if p.startswith(path + ".")}
    return Entry(SPEC.parent_key, path, entry.region, values, entry.source_of(path), sources)


def _shown(protocol: str, endpoint: str) -> str:
    """A subscription in words: of a URL its host alone, since the rest is often a secret."""
    if protocol not in ("http", "https"):
        return f"{protocol} {endpoint}"
    try:
        return f"{protocol} {urlsplit(endpoint).hostname or ''}".rstrip()
    except ValueError:  # a host in brackets that is no address
        return protocol


def _fields(texts: Mapping[str, str]) -> dict[str, Any]:
    """The fields in the attributes of a subscription; policies are compared as JSON."""
    found: dict[str, Any] = {}
    for key, field in SPEC.fields.items():
        text = texts.get(camel(key))
        found[key] = field.default if not text else json.loads(text) if key in JSON_FIELDS else text
    found["raw_message_delivery"] = found["raw_message_delivery"] in (True, "true")
    return found


def _text(value: Any) -> str:
    """A value as SNS takes it; an empty text takes a policy away."""
    if isinstance(value, Mapping):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value or "")


def _since(tags: Mapping[str, str]) -> dict[str, str]:
    """``protocol/endpoint`` -> when it began to wait, as noted."""
    return {name: time for name, _, time in (one.rpartition("#") for one in unpack(tags, PENDING))}


def _note_pending(rt: Runtime, region: str, topic: str, name: str) -> None:
    """Note in a tag of the topic that ``name`` waits from now on; notes of more than four days ago are dropped."""
    named: Document = {"ResourceArn": TOPIC.arn_of(rt.partition, region, rt.account, topic)}
    tags = tags_from_aws(rt.aws.call("sns", "ListTagsForResource", region, **named).get("Tags"))
    now = clock.now()
    old = (datetime.fromisoformat(now) - timedelta(days=4)).isoformat()
    kept = {f"{one}#{time}" for one, time in _since(tags).items() if time >= old and one != name}
    put_tags(rt, TOPIC.name, region, topic, pack({*kept, f"{name}#{now}"}, PENDING))


KIND = SnsSubscription()
