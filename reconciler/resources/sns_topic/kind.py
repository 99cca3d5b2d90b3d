"""SNS topics: attributes are texts that are set one by one, and the policy is shared with others.

Ours are the statements of the policy whose Sid begins with ``Recon``, one a publisher. They are merged into the policy
as it is when it is written, so that the default statement and those of others stay.

Source: SNS API reference, SetTopicAttributes; SNS Developer Guide, "Allow any AWS resource to publish messages".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.kinds import externals
from reconciler.kinds.comparing import overlay
from reconciler.kinds.externals import External
from reconciler.kinds.grants import Grant
from reconciler.kinds.kind import Runtime
from reconciler.kinds.ownership import left_alone
from reconciler.kinds.plain import PlainKind, Request, kept_items
from reconciler.kinds.reading import named_addresses
from reconciler.kinds.spelling import camel
from reconciler.kinds.tags import tags_from_aws
from reconciler.model import Address, Change, Desired, Note, Observed, State
from reconciler.resources import naming
from reconciler.resources.sns_topic import SERVICES, SPEC

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.kinds.snapshot import Snapshot

SIDS = {f"ReconAllows{name.capitalize()}": name for name in SERVICES}


class SnsTopic(PlainKind):
    def desired(self, state: State) -> Iterable[Desired]:
        """The declared topics; where no publishers are written, they are those that the state makes publish there."""
        found = list(super().desired(state))
        used = publishers(state) if any("publishers" not in one.spec for one in found) else {}
        for one in found:
            if "publishers" in one.spec or left_alone(one.entry, "publishers"):
                yield one
            else:
                wanted = sorted(used.get((one.region or "", one.name), ()))
                yield replace(one, spec={**one.spec, "publishers": wanted})

    def after_reading(self, snapshot: Snapshot) -> None:
        """What a declared resource publishes to although nobody declares it, a field that was taken out, stays live: so
        must its right."""
        derived = [
            one for one in snapshot.kind(self.name)
            if "publishers" not in one.entry.values and not left_alone(one.entry, "publishers")
        ]  # fmt: skip
        if not derived:
            return
        used: dict[Address, set[str]] = {}
        for spec, field in naming(self.name):
            for live in snapshot.live(spec.name) if field.service else ():
                desired = snapshot.desired.get(live.address)
                if desired is not None and snapshot.owns(live):
                    stays = overlay({**desired.spec, **kept_items(spec, desired, live)}, live.spec)
                    for topic in named_addresses(snapshot, spec.name, live.region, stays, field):
                        used.setdefault(topic, set()).add(field.service)
        for one in derived:
            # With targets not all that publishes there was read: nobody loses the right.
            there = snapshot.observed.get(one.address) if snapshot.read_scope is not None else None
            unseen = there.spec["publishers"] if there is not None else ()
            wanted = sorted({*one.spec["publishers"], *used.get(one.address, ()), *unseen})
            snapshot.desired[one.address] = replace(one, spec={**one.spec, "publishers": wanted})

    def read(self, aws: Aws, region: str, name: str, snapshot: Snapshot | None = None) -> Observed | None:
        stack = aws.stack
        arn = SPEC.arn_of(stack.partition, region, stack.account, name)
        answer = aws.call_if_there("sns", "GetTopicAttributes", region, TopicArn=arn)
        tags = aws.call_if_there("sns", "ListTagsForResource", region, ResourceArn=arn) if answer is not None else None
        if answer is None or tags is None:
            return None
        texts = dict(answer.get("Attributes") or {})
        policy, delivery, size = (texts.pop(k, None) for k in ("Policy", "DeliveryPolicy", "MaximumMessageSize"))
        spec = self.observed_fields({"Attributes": texts})
        spec["maximum_message_size"] = int(size) if size else SPEC.fields["maximum_message_size"].default
        spec["delivery_policy"] = json.loads(delivery) if delivery else None
        spec["publishers"] = sorted(_allowed(policy, arn, stack.account))
        found = tags_from_aws(tags.get("Tags"))
        facts = {key: int(texts.get(f"Subscriptions{key.capitalize()}") or 0) for key in ("confirmed", "pending")}
        address = SPEC.address_of(region, name)
        return Observed(address, self.name, region, name, {**spec, "tags": found}, found, facts)

    def deletion_notes(self, snapshot: Snapshot, live: Observed) -> tuple[Note, ...]:
        count = live.facts["confirmed"] + live.facts["pending"]
        words = f"{count} subscription{'' if count == 1 else 's'} {'ends' if count == 1 else 'end'} with it"
        return (Note("subscriptions-lost", "warning", words),) if count else ()

    def externals(self, desired: Desired, state: State) -> Iterable[External]:
        return externals.key(desired.region or "", str(desired.spec.get("kms_master_key_id") or ""))

    def grants(self, desired: Desired, state: State) -> Iterable[Grant]:
        yield from super().grants(desired, state)
        if desired.spec.get("kms_master_key_id"):  # whose policy the rules read
            stack = state.stack
            yield Grant("topic", SPEC.arn_of(stack.partition, desired.region or "", stack.account, desired.name))

    def requests(self, change: Change, key: str, value: Any) -> Iterable[Request]:
        name = "Policy" if key == "publishers" else camel(key)
        yield SPEC.fields[key].put, {"AttributeName": name, "AttributeValue": _text(key, value)}

    def send(self, rt: Runtime, change: Change, operation: str, members: Mapping[str, Any]) -> None:
        if members.get("AttributeName") == "Policy":
            named = self._by_arn(rt, change)
            there = rt.aws.call("sns", "GetTopicAttributes", change.region, **named).get("Attributes") or {}
            wanted = members["AttributeValue"].split()
            policy = merged(there.get("Policy"), wanted, named["TopicArn"], rt.account)
            members = {**members, "AttributeValue": json.dumps(policy)}
        super().send(rt, change, operation, members)

    def _body(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {"Attributes": {camel(k): _text(k, v) for k, v in values.items()}} if values else {}


def _text(key: str, value: Any) -> str:
    """A value as SNS takes it. The publishers become a policy when it is written (``send``)."""
    if key == "publishers":
        return " ".join(value or ())
    return json.dumps(value) if isinstance(value, Mapping) else "" if value is None else str(value)


def publishers(state: State) -> dict[tuple[str, str], set[str]]:
    """(region, topic) -> the services that what ``state`` declares publishes through."""
    from reconciler.kinds.registry import REGISTRY

    found: dict[tuple[str, str], set[str]] = {}
    for spec, field in naming(SPEC.name):
        for desired in REGISTRY[spec.name].desired(state) if field.service else ():
            base = SPEC.arn_of(state.stack.partition, desired.region or "", state.stack.account, "")
            for text in field.texts_in(desired.spec):
                if text.startswith(base):
                    found.setdefault((desired.region or "", text.removeprefix(base)), set()).add(field.service)
    return found


def statement(name: str, arn: str, account: str) -> dict[str, Any]:
    """The statement that allows one publisher. EventBridge meets no condition (EventBridge User Guide)."""
    sid = next(sid for sid, service in SIDS.items() if service == name)
    found: dict[str, Any] = {
        "Sid": sid, "Effect": "Allow", "Principal": {"Service": SERVICES[name]}, "Action": "SNS:Publish",
        "Resource": arn,
    }  # fmt: skip
    condition = {"StringEquals": {"AWS:SourceAccount": account}}
    return found if name == "events" else {**found, "Condition": condition}


def merged(text: str | None, wanted: Iterable[str], arn: str, account: str) -> dict[str, Any]:
    """The policy ``text`` with our statements for ``wanted``, and no others of ours."""
    policy: dict[str, Any] = json.loads(text) if text else {"Version": "2012-10-17"}
    listed = policy.get("Statement") or []
    others = [one for one in (listed if isinstance(listed, list) else [listed]) if one.get("Sid") not in SIDS]
    return {**policy, "Statement": [*others, *(statement(name, arn, account) for name in sorted(wanted))]}


def _allowed(text: str | None, arn: str, account: str) -> set[str]:
    """The publishers whose statement of ours is in the policy, unchanged. SNS may write a list of one as a text."""
    listed = json.loads(text).get("Statement") or [] if text else []
    there = [one for one in (listed if isinstance(listed, list) else [listed]) if one.get("Sid") in SIDS]
    return {
        SIDS[one["Sid"]] for one in there if _plain(one) == _plain(statement(SIDS[one["Sid"]], arn, account))
    }  # fmt: skip


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return _plain(value[0]) if isinstance(value, list) and len(value) == 1 else value


KIND = SnsTopic(SPEC)
