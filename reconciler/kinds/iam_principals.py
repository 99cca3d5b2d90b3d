"""IAM users and roles that may send: what the two kinds share. Each kind adds what IAM has for it alone.

Everybody in the account is read at once (GetAccountAuthorizationDetails: 1,000 users and roles a call), so that what is
ours and no longer declared is found by its tag: the tagging API does not serve IAM. Ours of a principal is one inline
policy, made of the fields of the YAML (``send_policy``); the others stay, and are shown where it is deleted.

A permissions boundary is put and changed, and never removed: whoever could do that could lift every limit. One that
does not exist is found while reading, since IAM would refuse it in the middle of an apply.

Source: IAM API reference (GetAccountAuthorizationDetails, DeleteUser and DeleteRole: what must be deleted first); IAM
User Guide, "Troubleshooting IAM" (changes are eventually visible), "IAM and STS quotas".
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from reconciler.errors import DENIED, AwsError
from reconciler.kinds import other_policies, send_policy
from reconciler.kinds.changes import alteration, creation, deletion
from reconciler.kinds.comparing import differences, overlay, project, touches
from reconciler.kinds.grants import Grant
from reconciler.kinds.iam_account import Detail, everyone
from reconciler.kinds.kind import Runtime, Step, needs_of
from reconciler.kinds.lookups import Lookup, Said, names_item, said_under
from reconciler.kinds.other_policies import Judged, OtherPolicy
from reconciler.kinds.ownership import (
    BOUNDARY,
    KEY,
    PROTECT,
    adopts,
    create_once,
    formerly_of,
    owner_of,
    refuse_protected,
)
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.policy import normal_policy
from reconciler.kinds.reading import Reader, wanted_addresses
from reconciler.kinds.snapshot import Snapshot
from reconciler.kinds.tags import entry_tags, plan_tags, present, tag_phases, tags_from_aws, tags_to_aws
from reconciler.model import Address, Change, Desired, Entry, Note, Observed, Stack, canonical_json
from reconciler.resources import KINDS

if TYPE_CHECKING:
    from reconciler.aws import Aws

LOCK_POLICY: Final = "recon-lock"
"""The inline policy that denies everything, or sending, while somebody is locked (``recon smtp lock``)."""
VISIBLE_SECONDS: Final = 30.0
"""How long a new user or role may take to become visible."""
CallOf = tuple[str, dict[str, Any]]
"""An operation of IAM and its parameters."""

_OTHER_PARTS: Final = {"inline": "inline policies", "attached": "attached policies"}
"""What others may have added, by the facts of an ``Observed``: shown where it is deleted."""


def has_more(detail: Detail) -> bool:
    """Whether a principal has groups or attached policies, whose documents are not in the detail."""
    return bool(detail.get("GroupList") or detail.get("AttachedManagedPolicies"))


def retry_until_visible(
    work: Callable[[], Any], codes: tuple[str, ...] = ("NoSuchEntity",), seconds: float = VISIBLE_SECONDS
) -> Any:
    """Repeat ``work`` until IAM sees what was just created; raises the last error after ``seconds``."""
    deadline = time.monotonic() + seconds
    pause = 0.2
    while True:
        try:
            return work()
        except AwsError as error:
            if error.aws_code not in codes or time.monotonic() > deadline:
                raise
        time.sleep(pause)
        pause = min(pause * 2, 4.0)


def _others_of(aws: Aws, snapshot: Snapshot, details: Sequence[Detail], key: str) -> dict[str, tuple[OtherPolicy, ...]]:
    """Groups and attached policies, which only rules judge; none where they cannot be read: of what is not known, these
    say nothing."""
    try:
        return other_policies.read(aws, snapshot, details, key) if details else {}
    except AwsError:
        return {}


class IamPrincipal(Reader):
    """The kind of a user or role. ``noun`` is what IAM's operations call it, ``policy`` the name of our inline policy,
    ``sid`` that of its statement, ``most`` the characters that its inline policies may have together."""

    noun: ClassVar[str]
    policy: ClassVar[str]
    sid: ClassVar[str]
    most: ClassVar[int]
    fields: ClassVar[tuple[str, ...]]
    """The fields that its policy is made of."""
    changed_by: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Field -> the calls that change it, beside those that all have; fields that are not here are read from the
    policy."""
    whole: tuple[str, ...] = ("conditions",)

    @property
    def _key(self) -> str:
        return f"{self.noun}Name"

    def address_of(self, name: str) -> Address:
        return KINDS[self.name].address_of(name)

    def name_of(self, address: Address) -> str:
        return address.removeprefix(f"{self.name}/")

    @abstractmethod
    def policy_of(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """The policy that ``spec`` asks for."""

    @abstractmethod
    def fields_of(self, document: Any) -> dict[str, Any]:
        """The fields of a live policy, and ``policy``, which is all of it where they cannot express it."""

    # -- desired ----------------------------------------------------------------------------------------------------

    def common_spec(self, entry: Entry) -> dict[str, Any]:
        """The fields of an entry that both kinds have, without those that are ARNs."""
        values = entry.values
        spec: dict[str, Any] = {
            "from_addresses": sorted(set(values.get("from_addresses") or [])) or None,
            "source_ips": sorted(set(values.get("source_ips") or [])) or None,
            "conditions": send_policy.normal_conditions(values.get("conditions") or {}) or None,
            "tags": entry_tags(entry),
        }
        if "path" in values:
            spec["path"] = values["path"] or "/"
        if "permissions_boundary" in values:
            spec["permissions_boundary"] = values["permissions_boundary"]
        return spec

    def grants_at(self, stack: Stack, paths: Iterable[str], name: str, boundary: str) -> Iterator[Grant]:
        """A user or role at some paths, and its boundary, whose existence is asked for."""
        noun: Any = self.noun.lower()
        for path in dict.fromkeys(paths):
            yield Grant(noun, self.arn(stack, path, name), boundary=boundary)
        if boundary:
            yield Grant("boundary", boundary)

    def arn(self, stack: Stack, path: str, name: str) -> str:
        return f"arn:{stack.partition}:iam::{stack.account}:{self.noun.lower()}{path}{name}"

    # -- CloudTrail -------------------------------------------------------------------------------------------------

    def lookups(self, change: Change) -> Iterable[Lookup]:
        """CloudTrail lists the user or role among the resources of IAM's events."""
        yield Lookup("", "ResourceName", self.name_of(change.address))

    def concerns(self, change: Change, said: Said, lookup: Lookup) -> bool:
        return (self._key.lower(), self.name_of(change.address).lower()) in said

    def explained(self, change: Change, event: str, said: Said) -> tuple[str, ...]:
        noun = self.noun
        tagging, policies = (f"Tag{noun}", f"Untag{noun}"), (f"Put{noun}Policy", f"Delete{noun}Policy")
        paths = tuple(one.path for one in change.diff) or ("",)
        made = {"create": (f"Delete{noun}",), "delete": (f"Create{noun}",), "adopt": (f"Create{noun}", *tagging)}
        if change.action != "update":
            return paths if event in made.get(change.action, ()) else ()
        changed_by = {
            "tags": tagging,
            "permissions_boundary": (f"Put{noun}PermissionsBoundary", f"Delete{noun}PermissionsBoundary"),
            **self.changed_by,
        }
        found = tuple(p for p in paths if event in changed_by.get(p.partition(".")[0], policies))
        if event in policies:
            ours = str(change.execution.get("policy_name") or self.policy)
            return found if ours.lower() in said_under(said, "policyname") else ()
        return tuple(p for p in found if names_item(said, p))

    # -- observed ---------------------------------------------------------------------------------------------------

    def observe(self, aws: Aws, snapshot: Snapshot) -> None:
        """Everybody in the account in a few calls: ours by tag, declared ones by name in any case."""
        if snapshot.read_scope is not None and not any(
            a.startswith(f"{self.name}/") for a in snapshot.read_scope.addresses
        ):
            return
        declared = {d.name.lower(): d for d in snapshot.kind(self.name)}
        try:
            there = everyone(aws, snapshot)[self.noun]
            ours = [detail for detail in there if self._is_ours(aws, snapshot, detail, declared)]
            policies = _others_of(aws, snapshot, [one for one in ours if has_more(one)], self._key)
            for detail in self.completed(aws, snapshot, ours):
                found = self.observed_of(detail, policies.get(detail[self._key], ()))
                snapshot.observed[found.address] = found
            for found in self.remnants(aws, snapshot, there):
                snapshot.observed[found.address] = found
        except AwsError as error:
            if not any(KINDS[desired.kind].principal for desired in snapshot.desired.values()):
                snapshot.unreadable(self.name, error.message, error.hint)
                return
            if not declared:
                return  # the kind that is declared says it
            snapshot.say(
                "warning",
                "users-not-swept",
                "could not search for users and roles that this stack owns and no longer declares: " + error.message,
                hint=error.hint,
            )
            self._read_singly(aws, snapshot)
        self._read_boundaries(aws, snapshot)

    def remnants(self, aws: Aws, snapshot: Snapshot, there: Sequence[Detail]) -> Iterable[Observed]:
        """What is left of those of ours that somebody has deleted."""
        return ()

    def _read_singly(self, aws: Aws, snapshot: Snapshot) -> None:
        for address in wanted_addresses(self.name, snapshot):
            try:
                live = self.read(aws, "", self.name_of(address))
            except AwsError as error:
                snapshot.unreadable(address, error.message, error.hint)
                continue
            if live is not None:
                snapshot.observed[live.address] = live

    def _is_ours(self, aws: Aws, snapshot: Snapshot, detail: Detail, declared: Mapping[str, Desired]) -> bool:
        """Whether a live user or role is declared, or this stack's, or named; a former owner's is noted."""
        name, tags = detail[self._key], tags_from_aws(detail.get("Tags"))
        twin = declared.get(name.lower())
        if twin is not None and twin.name != name:
            noun = self.noun.lower()
            snapshot.refuse(
                f"{noun}-case",
                f"IAM has a {noun} {name}, and its names may not differ only by case",
                hint=f"declare it as {name}",
                address=twin.address,
                source=twin.entry.source,
            )
            return False
        address, owner = self.address_of(name), owner_of(tags)
        if former := formerly_of(aws.stack, tags):
            snapshot.former[address] = former
        named = address in snapshot.named.get(self.name, ())
        return twin is not None or owner == snapshot.scope or named or bool(former and snapshot.names(address))

    def completed(self, aws: Aws, snapshot: Snapshot, ours: Sequence[Detail]) -> Iterable[Detail]:
        """The details with what the bulk read leaves out."""
        return ours

    def read(self, aws: Aws, region: str, name: str, snapshot: Snapshot | None = None) -> Observed | None:
        """One user or role, in a few calls; None where it does not exist."""
        detail = self.detail_of(aws, name)
        return None if detail is None else self.observed_of(detail)

    def detail_of(self, aws: Aws, name: str) -> Detail | None:
        """One by its name, with our inline policy alone."""
        named: dict[str, Any] = {self._key: name}
        found = aws.call_if_there("iam", f"Get{self.noun}", **named)
        if found is None:
            return None
        policy = aws.call_if_there("iam", f"Get{self.noun}Policy", **named, PolicyName=self.policy)
        return {**found[self.noun], f"{self.noun}PolicyList": [policy] if policy else []}

    def observed_of(self, detail: Detail, policies: Iterable[OtherPolicy] = ()) -> Observed:
        """A live user or role; ``policies`` are those of its groups and the attached ones."""
        name, tags = detail[self._key], tags_from_aws(detail.get("Tags"))
        inline = {p["PolicyName"]: p.get("PolicyDocument") for p in detail.get(f"{self.noun}PolicyList") or ()}
        policy = self.policy_name(inline, tags)
        spec: dict[str, Any] = {
            "path": detail.get("Path") or "/",
            "permissions_boundary": (detail.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn"),
            **(self.fields_of(inline[policy]) if policy in inline else dict.fromkeys((*self.fields, "policy"))),
        }
        # The tags of a credential and of a lock (recon:key...) do not belong to the fingerprint.
        own_tags = {k: v for k, v in tags.items() if not k.startswith((KEY, "recon:stores"))}
        spec["tags"] = own_tags
        foreign = sorted(n for n in inline if n not in {policy, LOCK_POLICY})
        facts = {
            "attached": [p.get("PolicyArn") for p in detail.get("AttachedManagedPolicies") or ()],
            "inline": foreign,
            "policies": (*(OtherPolicy("inline policy", n, (inline[n],)) for n in foreign), *policies),
            "inline_documents": [document for name, document in inline.items() if name != policy],
            "policy_name": policy,
            "locked": LOCK_POLICY in inline,
            "id": detail.get(f"{self.noun}Id"),
            "key_tags": {k: v for k, v in tags.items() if k not in own_tags},
        }
        return Observed(self.address_of(name), self.name, None, name, spec, own_tags, facts)

    def policy_name(self, inline: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        """The name of the inline policy that is ours, or would be."""
        return self.policy

    def _read_boundaries(self, aws: Aws, snapshot: Snapshot) -> None:
        """Which of the boundaries that a plan would put do not exist. One that somebody has cannot be deleted, and is
        not asked for."""
        asked: dict[str, None] = {}
        for desired in snapshot.kind(self.name):
            live = snapshot.observed.get(desired.address)
            arn = desired.spec.get("permissions_boundary")
            if (
                arn
                and snapshot.includes(desired.address)
                and (live is None or live.spec["permissions_boundary"] != arn)
            ):
                asked[arn] = None
        used = {
            (detail.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn")
            for details_ in snapshot.principals.values()
            for detail in details_
        }
        for arn in asked.keys() - used:
            try:
                if aws.call_if_there("iam", "GetPolicy", PolicyArn=arn) is None:
                    snapshot.no_policies.add(arn)
            except AwsError as error:
                words = f"whether the permissions boundary {arn} exists is unknown: {error.message}"
                snapshot.say("warning", "boundary-unread", words, hint=error.hint)

    def judged(self, stack: Stack, desired: Desired | None, live: Observed | None) -> Judged | None:
        """What the other policies of a live, declared one let it send, or keep it from sending; None where there is
        nothing to judge."""
        if desired is None or live is None or not live.facts.get("policies"):
            return None
        return Judged(stack, live, self.policy_of(desired.spec), self.noun.lower())

    # -- compared ---------------------------------------------------------------------------------------------------

    def plan(self, draft: PlanDraft) -> Iterable[Change]:
        snapshot = draft.snapshot
        for address in snapshot.addresses(self.name):
            if snapshot.unknown(address):
                continue
            desired, live = snapshot.desired.get(address), snapshot.observed.get(address)
            change = self._plan_declared(draft, desired, live) if desired else self._plan_delete(draft, live)
            if change is not None:
                yield change

    def extra_tags(self, desired: Desired, live: Observed | None) -> dict[str, str | None]:
        """recon's own tags of a declared one, beside that of its owner; None where it has none."""
        bounded = desired.spec.get("permissions_boundary") is not None
        return {PROTECT: "true" if desired.protect else None, BOUNDARY: "true" if bounded else None}

    def refuse(self, draft: PlanDraft, desired: Desired, live: Observed | None) -> None:
        """Refuse what IAM would refuse."""
        arn = desired.spec.get("permissions_boundary")
        if arn in draft.snapshot.no_policies and (live is None or live.spec["permissions_boundary"] != arn):
            draft.refuse(
                "missing-boundary",
                f"{desired.address}: its permissions boundary {arn} does not exist",
                hint="create that managed policy first, or correct the ARN",
                address=desired.address,
                source=desired.source_of("permissions_boundary"),
            )

    def wanted_more(self, desired: Desired, live: Observed | None) -> dict[str, Any]:
        """What is wanted of a declared one beside its fields, since the live one has it of us."""
        return {}

    def execution_of(self, draft: PlanDraft, desired: Desired, live: Observed | None) -> dict[str, Any]:
        """What the steps need beside before and after."""
        name, renamed = (live.facts["policy_name"], live.facts.get("live_name")) if live else (self.policy, None)
        return {"policy": self.policy_of(desired.spec), "policy_name": name, "rename": renamed}

    def depends_on(self, draft: PlanDraft, desired: Desired) -> tuple[Address, ...]:
        """What must be made before a declared one."""
        return ()

    def _plan_declared(self, draft: PlanDraft, desired: Desired, live: Observed | None) -> Change | None:
        live_tags = live.tags if live else {}
        extra = self.extra_tags(desired, live)
        tags = plan_tags(desired.spec["tags"], live_tags, draft.snapshot.scope, extra, desired.entry)
        wanted = {**desired.spec, "tags": tags, **self.wanted_more(desired, live)}
        execution, depends_on = self.execution_of(draft, desired, live), self.depends_on(draft, desired)
        self.refuse(draft, desired, live)
        if live is None:
            after = _without_nothing({"path": "/", **wanted})
            after["tags"] = present(tags)
            return creation(desired, after, whole=self.whole, depends_on=depends_on, execution=execution)
        adopted = adopts(draft, desired.address, live.tags, desired.entry.source)
        if wanted.get("permissions_boundary") is None and self._loses_boundary(draft, desired, live):
            wanted["permissions_boundary"] = None
        if live.spec.get("policy") is not None:
            # recon cannot read this policy into its fields: it is shown and replaced as a whole.
            wanted = {k: v for k, v in wanted.items() if k not in self.fields}
            wanted["policy"] = normal_policy(self.policy_of(desired.spec))
        before = project(live.spec, wanted)
        after = overlay(wanted, before)
        if old_name := execution["rename"]:
            before, after = {"name": old_name, **before}, {"name": desired.name, **after}
        diff = differences(before, after, whole=self.whole, desired=desired)
        if not (diff or adopted):
            return None
        if live.facts["inline_documents"] and any(f.path.partition(".")[0] in (*self.fields, "policy") for f in diff):
            self._refuse_too_long(draft, desired, live, execution["policy"])
        return alteration(
            desired, live, before, after, diff, adopts=adopted, depends_on=depends_on, execution=execution
        )  # fmt: skip

    def _loses_boundary(self, draft: PlanDraft, desired: Desired, live: Observed) -> bool:
        """True, after refusing it, where the live boundary was declared and is not any more, or ``null`` asks for none.

        A boundary that somebody else has set, and that no YAML ever named, is not ours to speak of.
        """
        boundary = live.spec["permissions_boundary"]
        if boundary is None or not ("permissions_boundary" in desired.spec or BOUNDARY in live.tags):
            return False
        noun = self.noun.lower()
        draft.refuse(
            "boundary-removed",
            f"{desired.address}: the YAML no longer has its permissions boundary {boundary}, and recon never removes "
            f"one: without it, whoever may write the {noun}'s policy could give it any permission",
            hint=f"write it again; or an administrator of IAM removes it first: aws iam delete-{noun}-permissions-"
            f"boundary --{noun}-name {live.name}",
            address=desired.address,
            source=desired.source_of("permissions_boundary"),
        )
        return True

    def _refuse_too_long(
        self, draft: PlanDraft, desired: Desired, live: Observed, policy: Mapping[str, Any]
    ) -> None:  # fmt: skip
        own, others = other_policies.size([policy]), other_policies.size(live.facts["inline_documents"])
        if own + others > self.most:
            draft.refuse(
                "policy-too-long",
                f"the inline policies of {desired.name} would have {own + others:,} characters, {others:,} of them in "
                f"policies that recon did not write; IAM takes {self.most:,} for all of a {self.noun.lower()}",
                hint="move the other inline policies to a managed policy, or shorten from_addresses or identities",
                address=desired.address,
                source=desired.entry.source,
            )

    def reread(self, aws: Aws, change: Change) -> str | None:
        """The fingerprint of the live one, under its old name where the change renames it."""
        rename = change.execution.get("rename")
        live = self.read(aws, "", rename) if rename else self.read_again(aws, change)
        return live.digest if live else None

    def goes_with(self, live: Observed) -> dict[str, Any]:
        """What the steps of a deletion need, beside the policies."""
        return {}

    @abstractmethod
    def goes(self, draft: PlanDraft, live: Observed) -> tuple[Note, ...] | None:
        """What to say of a deletion, after refusing what must not be deleted; None where it cannot be planned."""

    def _plan_delete(self, draft: PlanDraft, live: Observed | None) -> Change | None:
        if live is None or not draft.snapshot.owns(live):
            return None
        refuse_protected(draft, live.address, live.tags, "deleted")
        notes = self.goes(draft, live)
        if notes is None:
            return None
        others = {what: list(live.facts.get(what) or ()) for what in _OTHER_PARTS}
        shown = {**live.spec, **{f"{what}_policies": names or None for what, names in others.items()}}
        ours = [live.facts["policy_name"], *([LOCK_POLICY] if live.facts.get("locked") else [])]
        if listed := "; ".join(f"{_OTHER_PARTS[what]} {', '.join(names)}" for what, names in others.items() if names):
            noun = self.noun.lower()
            words = f"also removes what recon did not add to the {noun}: {listed}"
            notes = (*notes, Note(f"{noun}-holds-more", "warning", words))
        return deletion(
            live,
            _without_nothing(shown),
            whole=self.whole,
            depends_on=tuple(f"{other}/{live.name}" for other in KINDS[self.name].with_kinds),
            notes=notes,
            execution={**others, "ours": ours, **self.goes_with(live)},
        )

    # -- written ----------------------------------------------------------------------------------------------------

    def create_request(self, change: Change) -> dict[str, Any]:
        """The members of the creation that not both kinds have."""
        return {}

    def calls_before(self, change: Change) -> list[CallOf]:
        """The calls of an update before the policy is written."""
        return []

    def calls_after(self, change: Change) -> list[CallOf]:
        """Those after it."""
        return []

    def settle(self, rt: Runtime, change: Change) -> None:
        """What a creation or update does at the end, before the tags forget anything."""

    def settled_by(self, change: Change) -> tuple[str, ...]:
        """The operations of ``settle``."""
        return ()

    def removals(self, change: Change) -> list[CallOf]:
        """What goes before a deletion, in order: our policies, and those of others that the plan has shown."""
        name = {self._key: self.name_of(change.address)}
        parts = change.execution
        return [
            *((f"Delete{self.noun}Policy", {**name, "PolicyName": p}) for p in (*parts["ours"], *parts["inline"])),
            *((f"Detach{self.noun}Policy", {**name, "PolicyArn": arn}) for arn in parts["attached"]),
        ]

    def steps(self, change: Change) -> Iterable[Step]:
        noun = self.noun
        if change.action == "delete":
            calls: tuple[str, ...] = (f"iam:Delete{noun}Policy", f"iam:Delete{noun}")
            needs = needs_of(change.depends_on, "delete")
            yield Step(change.address, "delete", needs, partial(self._delete, change), calls=calls)
            return
        if change.action == "create":
            calls = (f"iam:Create{noun}", f"iam:Put{noun}Policy", *self.settled_by(change))
            needs = needs_of(change.depends_on, "create")
            yield Step(change.address, "create", needs, partial(self._create, change), calls=calls)
            return
        first, last = self._update_calls(change)
        rename = (f"iam:Update{noun}",) if change.execution.get("rename") else ()
        settled = self.settled_by(change)
        calls = (*rename, *(f"iam:{c}" for c, _ in first), *settled, *(f"iam:{c}" for c, _ in last))
        needs = needs_of(change.depends_on, "create", "update")
        yield Step(change.address, "update", needs, partial(self._update, change), calls=calls)

    def _create(self, change: Change, rt: Runtime) -> None:
        after = change.after or {}
        name: dict[str, Any] = {self._key: self.name_of(change.address)}
        request = {**name, "Path": after["path"], "Tags": tags_to_aws(after["tags"]), **self.create_request(change)}
        if after.get("permissions_boundary"):
            request["PermissionsBoundary"] = after["permissions_boundary"]

        def is_ours() -> bool:
            found = rt.aws.call("iam", f"Get{self.noun}", **name)[self.noun]
            return owner_of(tags_from_aws(found.get("Tags"))) == rt.scope

        def create() -> Any:
            # A principal that a trust policy names may have been made a moment ago.
            work = partial(rt.aws.call, "iam", f"Create{self.noun}", **request)
            return retry_until_visible(work, ("MalformedPolicyDocument",) if self._waits(change) else ())

        create_once(create, is_ours, "EntityAlreadyExists")
        policy = canonical_json(change.execution["policy"])
        put = partial(
            rt.aws.call, "iam", f"Put{self.noun}Policy", **name, PolicyName=self.policy, PolicyDocument=policy
        )  # fmt: skip
        retry_until_visible(put, _not_seen_yet(after))
        self.settle(rt, change)

    def _waits(self, change: Change) -> bool:
        """Whether IAM may refuse a document because of what it does not see yet."""
        return False

    def _update(self, change: Change, rt: Runtime) -> None:
        name, rename = self.name_of(change.address), change.execution.get("rename")
        if rename:
            self._rename(rt, rename, name)
        codes = _not_seen_yet(change.after or {}) if touches(change, "permissions_boundary") else ()
        waits = ("MalformedPolicyDocument",) if self._waits(change) else ()
        first, last = self._update_calls(change)
        for operation, parameters in first:
            work = partial(rt.aws.call, "iam", operation, **{self._key: name, **parameters})
            retry_until_visible(work, codes if operation == f"Put{self.noun}Policy" else waits)
        self.settle(rt, change)
        for operation, parameters in last:
            call = rt.aws.call_if_there if operation == f"Untag{self.noun}" else rt.aws.call
            call("iam", operation, **{self._key: name, **parameters})

    def _rename(self, rt: Runtime, old: str, new: str) -> None:
        """IAM keeps keys, policies and tags of a renamed user (IAM API, UpdateUser)."""
        names: dict[str, Any] = {self._key: old, f"New{self._key}": new}
        if rt.aws.call_if_there("iam", f"Update{self.noun}", **names) is None:
            names = {self._key: new}  # an earlier call renamed it, and its answer was lost
            rt.aws.call("iam", f"Get{self.noun}", **names)

    def _update_calls(self, change: Change) -> tuple[list[CallOf], list[CallOf]]:
        """The calls of an update, in order: those before ``settle``, and those after it, with which tags forget."""
        noun, after = self.noun, change.after or {}
        put, release, drop = tag_phases(change)
        first: list[CallOf] = [(f"Tag{noun}", {"Tags": tags_to_aws(put)})] if put else []
        first += self.calls_before(change)
        # The boundary first: the policy of `recon iam-policy apply` lets a policy be put only where it is.
        if touches(change, "permissions_boundary"):
            boundary = {"PermissionsBoundary": after["permissions_boundary"]}
            first.append((f"Put{noun}PermissionsBoundary", boundary))
        if touches(change, *self.fields, "policy"):
            document = canonical_json(change.execution["policy"])
            named = {"PolicyName": change.execution["policy_name"], "PolicyDocument": document}
            first.append((f"Put{noun}Policy", named))
        first += self.calls_after(change)
        last: list[CallOf] = [(f"Untag{noun}", {"TagKeys": drop})] if drop else []
        if release:  # the tags that list what we manage shrink last
            last.append((f"Tag{noun}", {"Tags": tags_to_aws(release)}))
        return first, last

    def _delete(self, change: Change, rt: Runtime) -> None:
        """Remove what the plan has shown, and delete it. IAM refuses where somebody has added more since."""
        name: dict[str, Any] = {self._key: self.name_of(change.address)}
        for operation, parameters in (*self.removals(change), (f"Delete{self.noun}", name)):
            try:
                rt.aws.call_if_there("iam", operation, **parameters)
            except AwsError as error:
                if error.aws_code == "DeleteConflict":
                    error.hint = self.conflict_hint
                raise

    conflict_hint: ClassVar[str] = ""
    """What to do where somebody has added what IAM refuses a deletion for."""


def _not_seen_yet(after: Mapping[str, Any]) -> tuple[str, ...]:
    """What IAM answers to a policy for somebody that it does not see yet; where that is allowed under a boundary alone
    (`recon iam-policy apply`), it may deny the call as long as it does not see the boundary."""
    return ("NoSuchEntity", *(sorted(DENIED) if after.get("permissions_boundary") else ()))


def _without_nothing(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is not there, also in maps."""
    return {
        key: _without_nothing(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value is not None
    }
