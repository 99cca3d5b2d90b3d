"""SMTP credential: one access key of an SMTP user, and the passwords derived from it, in Secrets Manager or SSM.

Managed:  that our key exists and is active, and that every store holds its passwords. Rotation is a command of its
          own (``recon smtp rotate``); a plan only reports what is due.
Reads:    iam ListAccessKeys, GetAccessKeyLastUsed (of users with two keys, or a foreign key); secretsmanager
          DescribeSecret or ssm DescribeParameters. No secret value is read: the hash of key id, regions and form in
          the version id (or in the parameter's description) proves the value.
Writes:   CreateAccessKey, CreateSecret/PutSecretValue or PutParameter, TagUser; UpdateAccessKey, DeleteAccessKey.
Owned:    the key named in the user's tag ``recon:key`` (and ``recon:key-old``), and any key created since an open
          ``recon:key-intent``. Every other key is foreign: it is shown with its last use, and never changed.
Source:   SES Developer Guide, "Obtaining Amazon SES SMTP credentials"; Secrets Manager API, PutSecretValue
          (ClientRequestToken); SSM API, PutParameter; IAM User Guide, "Managing access keys".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reconciler import regions
from reconciler.errors import ReconError, Stale
from reconciler.kinds import externals
from reconciler.kinds.changes import release
from reconciler.kinds.comparing import differences
from reconciler.kinds.externals import External
from reconciler.kinds.grants import Grant, parameter_grant, secret_grants
from reconciler.kinds.kind import BaseKind, Runtime, Step, needs_of
from reconciler.kinds.lookups import Lookup, Said
from reconciler.kinds.ownership import (
    KEY,
    KEY_INTENT,
    PREFIX,
    PROTECT,
    STACK,
    formerly_of,
    may_write,
    named,
    owner_of,
    unpack,
)
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.snapshot import Snapshot, now
from reconciler.kinds.tags import tags_from_aws
from reconciler.model import ActionName, Address, Change, Desired, Note, Observed, State
from reconciler.resources.smtp_credential import key_requests, keys, rotation, stores, trail
from reconciler.resources.smtp_user import kind as smtp_user

if TYPE_CHECKING:
    from reconciler.aws import Aws

NAME = "smtp_credential"


def address_of(name: str) -> Address:
    return f"{NAME}/{name}"


def name_of(address: Address) -> str:
    """The user's name in ``smtp_credential/NAME``."""
    return address.removeprefix(f"{NAME}/")


def tagged_stores(scope: str, desired: Desired, live: Observed | None) -> list[dict[str, Any]]:
    """The declared stores of a credential, each with the tags that a write sets and removes (``stores.with_tags``)."""
    there: Mapping[str, Any] = live.spec["stores"] if live is not None else {}
    return [
        stores.with_tags(scope, store, there.get(stores.id_of(store)), desired.entry)
        for store in desired.spec["stores"]
    ]


class SmtpCredential(BaseKind):
    name = NAME
    reads = (
        "iam:ListAccessKeys", "iam:GetAccessKeyLastUsed", "secretsmanager:DescribeSecret", "ssm:DescribeParameters",
        "ssm:ListTagsForResource",
    )  # fmt: skip
    writes = (
        "iam:TagUser", "iam:CreateAccessKey", "secretsmanager:CreateSecret", "secretsmanager:PutSecretValue",
        "secretsmanager:RestoreSecret", "secretsmanager:TagResource", "secretsmanager:UpdateSecret",
        "secretsmanager:GetSecretValue", "secretsmanager:UntagResource", "ssm:PutParameter",
        "ssm:AddTagsToResource", "ssm:RemoveTagsFromResource", "ssm:GetParameter", "iam:UntagUser",
        "iam:UpdateAccessKey", "iam:DeleteAccessKey", "secretsmanager:DeleteSecret", "ssm:DeleteParameter",
    )  # fmt: skip

    read_calls: Mapping[str, str] = {
        "keys": "iam:ListAccessKeys",
        "key": "iam:GetAccountAuthorizationDetails",
        "stores (secretsmanager)": "secretsmanager:DescribeSecret",
        "stores (ssm)": "ssm:DescribeParameters",
    }

    # -- desired ----------------------------------------------------------------------------------------------------

    def desired(self, state: State) -> Iterable[Desired]:
        covered = _covered_regions(state)
        for entry in state.section("smtp_users"):
            kept = stores.declared(entry, state, covered)
            spec = {"regions": covered, "stores": kept, "credentials": dict(entry.values.get("credentials") or {})}
            yield Desired(address_of(entry.name), NAME, None, entry.name, spec, entry)

    def externals(self, desired: Desired, state: State) -> Iterable[External]:
        for store in desired.spec["stores"]:
            yield from externals.key(str(store["region"]), str(store.get("kms_key_id") or ""))

    def grants(self, desired: Desired, state: State) -> Iterable[Grant]:
        """Its stores, and the KMS keys that they are encrypted with."""
        for store in desired.spec["stores"]:
            service, region, name = str(store["type"]), str(store["region"]), str(store["name"])
            if service == "ssm":
                yield parameter_grant("parameter", state.stack, name, region)
            else:
                yield from secret_grants("secret", state.stack, name, region)
            if store.get("kms_key_id"):
                yield Grant("store_key", str(store["kms_key_id"]), f"{service}.{region}.amazonaws.com")

    def lookups(self, change: Change) -> Iterable[Lookup]:
        return trail.lookups(name_of(change.address), change)

    def concerns(self, change: Change, said: Said, lookup: Lookup) -> bool:
        return trail.concerns(name_of(change.address), change, said, lookup)

    def explained(self, change: Change, event: str, said: Said) -> tuple[str, ...]:
        return trail.explained(change, event, said)

    # -- observed ---------------------------------------------------------------------------------------------------

    def observe(self, aws: Aws, snapshot: Snapshot) -> None:
        """Needs the users (``smtp_user.observe`` runs first): their tags name our keys."""
        names = {o.name for o in snapshot.live(smtp_user.NAME)}

        def one(name: str) -> tuple[str, Observed | None, ReconError | None]:
            if snapshot.unknown(smtp_user.address_of(name)):
                return name, None, None
            try:
                return name, self._read(aws, snapshot, name), None
            except ReconError as error:
                return name, None, error

        wanted = sorted(n for n in {*names, *(d.name for d in snapshot.kind(NAME))} if snapshot.includes(address_of(n)))
        for name, found, error in aws.parallel(one, wanted):
            if error is not None:
                snapshot.unreadable(address_of(name), error.message, error.hint)
            elif found is not None:
                snapshot.observed[found.address] = found
            elif snapshot.unknown(smtp_user.address_of(name)):
                snapshot.unreadable(address_of(name), "its user could not be read")

    def _read(self, aws: Aws, snapshot: Snapshot, name: str) -> Observed | None:
        # A renamed user is planned under its new name, with the stores that are declared there.
        user = smtp_user.address_of(name)
        renamed = next((m.to_address for m in snapshot.state.moved if m.from_address == user), user)
        desired = snapshot.desired.get(address_of(smtp_user.name_of(renamed))) or snapshot.desired.get(address_of(name))
        declared = list(desired.spec["stores"]) if desired else []
        live = self._read_one(aws, name, snapshot.observed.get(smtp_user.address_of(name)), declared, snapshot.scope)
        if live is not None and (live.facts["foreign"] or len(live.spec["keys"]) > 1):
            live.facts["last_used"].update({k["id"]: keys.last_used(aws, k["id"]) for k in live.spec["keys"]})
        return live

    def _read_one(
        self, aws: Aws, name: str, user: Observed | None, declared: list[dict[str, Any]], scope: str = ""
    ) -> Observed | None:  # fmt: skip
        """``facts``: ``foreign`` key ids, ``ours``, ``intent``, ``locked``, ``acks`` (tags of ``recon smtp ack``), and
        ``last_used`` by key id, filled by ``_read`` alone."""
        tags: Mapping[str, str] = user.facts["key_tags"] if user else {}
        listed = keys.list_keys(aws, name) if user else []
        remembered = stores.in_tags(tags)
        found = {stores.id_of(s): stores.describe(aws, s) for s in [*declared, *stores.without(remembered, declared)]}
        if user is None and not any(s["exists"] for s in found.values()):
            return None
        ours = {tags.get(KEY), tags.get(key_requests.KEY_OLD)} - {None}
        orphans = []
        if KEY_INTENT in tags:
            known = set(tags[KEY_INTENT].split()[1:])
            orphans = [k["id"] for k in listed if k["id"] not in known and k["id"] not in ours]
        foreign = [k["id"] for k in listed if k["id"] not in ours and k["id"] not in orphans]
        old = tags.get(key_requests.KEY_OLD)
        spec = {"keys": listed, "stores": found, "key": tags.get(KEY), "orphans": orphans, "old": old}
        acks = {k: v for k, v in tags.items() if k.startswith(key_requests.KEY_ACK)}
        facts = {
            "foreign": foreign,
            "ours": bool(user and owner_of(user.tags) == scope),
            "intent": KEY_INTENT in tags,
            "locked": smtp_user.KEY_LOCKED in tags or bool(user and user.facts.get("locked")),
            "acks": acks,
            "last_used": {},
        }
        kept = {k: v for k, v in tags.items() if k not in acks}
        return Observed(address_of(name), NAME, None, name, spec, kept, facts)

    def reread(self, aws: Aws, change: Change) -> str | None:
        """The fingerprint of the live credential; None where nothing of it exists."""
        name, old = change.execution["user"], change.execution.get("rename")
        if old and smtp_user.SmtpUser().read(aws, "", old) is not None:
            name = old  # its user is not renamed yet
        left = change.execution.get("left_to_others") or ()
        return self.fingerprint(aws, name, list(change.execution["stores"]), left)

    def fingerprint(
        self, aws: Aws, name: str, declared: list[dict[str, Any]], left_to_others: Collection[str] = ()
    ) -> str | None:
        """``reread`` by name and declared stores."""
        live = self._read_one(aws, name, smtp_user.SmtpUser().read(aws, "", name), declared)
        return _apart_from(live, left_to_others).digest if live else None

    # -- compared ---------------------------------------------------------------------------------------------------

    def plan(self, draft: PlanDraft) -> Iterable[Change]:
        yield from _after_copies(list(_left_to_others(draft.snapshot, self._plan_each(draft))))

    def _plan_each(self, draft: PlanDraft) -> Iterator[Change]:
        snapshot = draft.snapshot
        for address in snapshot.addresses(NAME):
            user = smtp_user.address_of(name_of(address))
            if snapshot.unknown(address) or snapshot.unknown(user):
                continue
            owner = snapshot.observed.get(user)
            if owner is not None and not (owner_of(owner.tags) is None or snapshot.owns(owner)):
                continue
            desired, live = snapshot.desired.get(address), snapshot.observed.get(address)
            if desired is None:
                change = self._plan_delete(snapshot, live)
            else:
                change = self._plan_declared(draft, desired, live)
                if change is not None and live is not None and live.facts.get("live_name"):
                    change = replace(change, execution={**change.execution, "rename": live.facts["live_name"]})
                refused = any(one.address == address for one in draft.refusals)
                _report(draft, desired, live, None if refused else change)
            if change is not None:
                _refuse_held(draft, change, live)
                yield change

    def _plan_declared(self, draft: PlanDraft, desired: Desired, live: Observed | None) -> Change | None:
        if live is not None and live.facts["locked"]:
            return None
        wanted = tagged_stores(draft.snapshot.scope, desired, live)
        for store in wanted:
            _refuse_store(draft, desired, store, (live.spec["stores"] if live else {}).get(stores.id_of(store)) or {})
        state = rotation.health(wanted, live)
        if live is None or state.needs_key:
            return self._plan_key(draft, desired, live, state, wanted)
        return self._plan_repair(draft.snapshot, desired, live, state, wanted)

    def _plan_key(
        self, draft: PlanDraft, desired: Desired, live: Observed | None, state: rotation.Health,
        wanted: list[dict[str, Any]],
    ) -> Change | None:  # fmt: skip
        """A new key, stored everywhere: there is none, or a store lost what only CreateAccessKey returns."""
        name, current = desired.name, state.key
        drop = _keys_to_delete(draft, desired, live)
        previous = current["id"] if current and current["id"] not in drop else None
        execution = key_requests.key_request(
            name, wanted, live.spec if live else None, live.tags if live else {}, previous=previous, drop=drop
        )
        execution |= {"new_key": True, "regions": desired.spec["regions"]}
        execution["old_stores"] = _to_delete(draft.snapshot, name, execution["old_stores"], live)
        old_tags, new_tags = _tag_differences(wanted, live)
        gone = [*drop, *execution["orphans"], *map(stores.label, stores.without(execution["old_stores"], wanted))]
        shown = {"regions": desired.spec["regions"], "credentials": sorted(map(stores.described, wanted))}
        shown |= {"deletes": gone} if gone else {}
        after = {"access_key": None, "status": "Active", **shown, **({"tags": new_tags} if new_tags else {})}
        notes = _adoption_notes(wanted, live)
        action: ActionName = "adopt" if notes else "create"
        before: dict[str, Any] | None = None
        if live is not None and (live.spec["key"] or current):
            action = "adopt" if notes else "update"
            before = {
                "access_key": live.spec["key"] or state.unrecorded,
                "status": current["status"] if current else "deleted",
                **_stored(wanted, execution["old_stores"], live, state), **({"tags": old_tags} if old_tags else {}),
            }  # fmt: skip
            why = (
                "the key was deleted"
                if current is None
                else "a store does not hold this key's passwords for all regions"
            )
            notes.append(Note("new-key", "warning", f"{why}: a new key is created and stored; the passwords change"))
            if previous:
                notes.append(Note("old-key-stays", "note", f"{previous} stays active until it is rotated out"))
        elif live is not None and (held := [k for k in live.facts["foreign"] if k not in drop]):
            words = f"{', '.join(held)} stays as it is: no declared store is known to hold its passwords, so a new key "
            notes.append(Note("key-not-held", "note", words + "is created beside it"))
        if drop:
            words = f"deletes {', '.join(drop)}, which nobody uses: IAM allows two keys"
            notes.append(Note("key-makes-room", "warning", words))
        notes += [*_consumer_notes(desired), *_orphan_notes(execution["orphans"])]
        return Change(
            desired.address, NAME, action, before, after, differences(before, after, desired=desired), ("access_key",),
            (smtp_user.address_of(name),), tuple(notes), desired.source_of("credentials"),
            live.digest if live else None, None, execution,
        )  # fmt: skip

    def _plan_repair(
        self, snapshot: Snapshot, desired: Desired, live: Observed, state: rotation.Health,
        wanted: list[dict[str, Any]],
    ) -> Change | None:  # fmt: skip
        """Fixes that need no new key: an inactive key, a store, or what an interrupted run left."""
        key = state.key
        assert key is not None
        orphans = [o for o in live.spec["orphans"] if o != state.unrecorded]
        execution = key_requests.key_request(desired.name, wanted, {**live.spec, "orphans": orphans}, live.tags)
        execution["old_stores"] = _to_delete(snapshot, desired.name, execution["old_stores"], live)
        removed = stores.without(execution["old_stores"], wanted)
        before: dict[str, Any] = {
            "access_key": live.spec["key"], "status": key["status"], "orphan_keys": orphans or None,
            # An intent that stays open after its key was stored must be closed: a later key of somebody else would
            # count as ours.
            "open_intent": True if live.facts["intent"] else None,
        }  # fmt: skip
        after: dict[str, Any] = {"access_key": key["id"], "status": "Active", "orphan_keys": None, "open_intent": None}
        rekeyed = _kms_differences(state, live, before, after)
        old_tags, new_tags = _tag_differences(state.proven, live)
        if old_tags:
            before["tags"], after["tags"] = old_tags, new_tags
            execution["retag"] = [s for s in state.proven if _tag_differences([s], live)[0]]
        if state.restore or state.copy or removed:
            before |= _stored(wanted, removed, live, state)
            after |= {"regions": desired.spec["regions"], "credentials": sorted(map(stores.described, wanted))}
        if before == after and not (state.restore or state.copy):
            return None
        active = key["status"] == "Active"
        execution |= {"current": key["id"], "activate": None if active else key["id"], "kms": rekeyed}
        execution |= _repair_request(state, live, key, removed)
        before, after = (
            {k: v for k, v in d.items() if v is not None or k in both}
            for d, both in ((before, set(after)), (after, set(before)))
        )
        takes = STACK in old_tags or (not live.facts["ours"] and _adoption_notes((*state.restore, *state.copy), live))
        action: ActionName = "adopt" if takes else "update"
        return Change(
            desired.address, NAME, action, before, after, differences(before, after, desired=desired), (),
            (smtp_user.address_of(desired.name),), tuple(_repair_notes(desired, live, state, orphans)),
            desired.source_of("credentials"), live.digest, None, execution,
        )  # fmt: skip

    def _plan_delete(self, snapshot: Snapshot, live: Observed | None) -> Change | None:
        user = snapshot.observed.get(smtp_user.address_of(live.name)) if live else None
        if live is None or user is None or not snapshot.owns(user) or user.tags.get(PROTECT) == "true":
            return None
        ours = [k["id"] for k in live.spec["keys"] if k["id"] not in live.facts["foreign"]]
        kept = stores.in_tags(live.tags)
        # A store that another user of the stack declares now belongs to that user.
        kept = _unclaimed(snapshot, live.name, kept)
        kept = [s for s in kept if stores.is_owned(live.spec["stores"].get(stores.id_of(s)), snapshot.scope)]
        kept = [s for s in kept if not live.spec["stores"][stores.id_of(s)].get("deleted")]
        if not ours and not kept:
            return None
        before = {"access_keys": ours, "credentials": [stores.label(s) for s in kept]}
        types = {store["type"] for store in kept}
        effect = "the key stops working at once"
        effect += "; its secret can be restored for 30 days (Secrets Manager)" if "secretsmanager" in types else ""
        effect += "; its parameter cannot be restored (SSM)" if "ssm" in types else ""
        return Change(
            live.address, NAME, "delete", before, None, differences(before, None), observed_digest=live.digest,
            notes=(Note("credential-deleted", "warning", effect),),
            execution={"user": live.name, "keys": ours, "stores": kept},
        )  # fmt: skip

    def release(self, snapshot: Snapshot, live: Observed) -> Change | None:
        """The tags of its stores are taken off; its key stays, and works on."""
        there = {stores.id_of(s): live.spec["stores"].get(stores.id_of(s)) for s in stores.in_tags(live.tags)}
        ours = {i: seen["tags"] for i, seen in there.items() if seen and stores.is_owned(seen, snapshot.scope)}
        if not ours:
            return None
        tags = {key: value for tags in ours.values() for key, value in tags.items()}
        keys = {i: sorted(key for key in tags if key.startswith(PREFIX)) for i, tags in ours.items()}
        return release(live, tags, user=live.name, stores=[], untag=keys)

    # -- written ----------------------------------------------------------------------------------------------------

    def steps(self, change: Change) -> Iterable[Step]:
        run = change.execution
        user = smtp_user.address_of(run["user"])
        if change.action == "delete":
            yield Step(
                change.address, "delete", (), lambda rt: _delete(rt, run),
                calls=("iam:DeleteAccessKey", "secretsmanager:DeleteSecret"),
            )  # fmt: skip
            return
        if run.get("untag"):
            yield Step(
                change.address, "update", (), lambda rt: stores.untag(rt.aws, run["untag"]),
                calls=("secretsmanager:UntagResource",),
            )  # fmt: skip
            return
        needs = (*needs_of((user,), "create", "update"), *needs_of(run.get("waits_for") or (), "create", "update"))
        if run.get("new_key"):
            puts = ("secretsmanager:PutSecretValue",) * len(run["stores"])
            yield Step(
                change.address, "create", needs, lambda rt: _create_key(rt, run),
                calls=("iam:TagUser", "iam:CreateAccessKey", *puts, "iam:TagUser", "iam:UntagUser"),
            )  # fmt: skip
            return
        yield Step(change.address, "update", needs, lambda rt: _repair(rt, run), calls=("iam:UpdateAccessKey",))


# --- plan helpers --------------------------------------------------------------------------------------------------


def _covered_regions(state: State) -> list[str]:
    """Where passwords must work: every region in which the stack has an identity and SES has an SMTP endpoint."""
    found = {e.region for e in (*state.section("domains"), *state.section("email_addresses")) if e.region}
    return sorted(r for r in (found or set(state.stack.regions)) if regions.has_smtp(r))


def _after_copies(changes: list[Change]) -> Iterator[Change]:
    """The changes, with those that write a store waiting for the one that still copies from it."""
    readers: dict[str, Address] = {}
    for change in changes:
        if change.execution.get("copy"):
            readers |= {stores.id_of(store): change.address for store in change.execution["sources"]}
    waits = {
        change.address: {readers[i] for s in change.execution.get("stores") or () if (i := stores.id_of(s)) in readers}
        - {change.address}
        for change in changes
        if change.action != "delete"
    }
    for change in changes:
        # Two that trade their stores cannot both be first: the second finds the value gone and is planned again.
        found = sorted(a for a in waits.get(change.address, ()) if change.address not in waits.get(a, ()))
        yield replace(change, execution={**change.execution, "waits_for": found}) if found else change


def _left_to_others(snapshot: Snapshot, changes: Iterable[Change]) -> Iterator[Change]:
    """The changes, none of which depends on stores that other users take over: their writes may come before its own."""
    takers: dict[str, set[Address]] = {}
    for desired in snapshot.kind(NAME):
        for store in desired.spec["stores"]:
            takers.setdefault(stores.id_of(store), set()).add(desired.address)
    for change in changes:
        live = snapshot.observed.get(change.address)
        copied = {stores.id_of(store) for store in change.execution.get("sources") or ()}
        there = live.spec["stores"] if live else {}
        if left := sorted(i for i in there if i not in copied and takers.get(i, set()) - {change.address}):
            assert live is not None
            execution = {**change.execution, "left_to_others": left}
            change = replace(change, observed_digest=_apart_from(live, left).digest, execution=execution)
        yield change


def _apart_from(live: Observed, ids: Collection[str]) -> Observed:
    """``live`` without the stores ``ids``."""
    kept = {id_: store for id_, store in live.spec["stores"].items() if id_ not in ids}
    return replace(live, spec={**live.spec, "stores": kept}) if ids else live


def _unclaimed(snapshot: Snapshot, user: str, old: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The stores of ``old`` that no other declared user names: they may be deleted."""
    others = (d for d in snapshot.kind(NAME) if d.name != user)
    claimed = {stores.id_of(store) for d in others for store in d.spec["stores"]}
    return [store for store in old if stores.id_of(store) not in claimed]


def _to_delete(
    snapshot: Snapshot, user: str, old: list[dict[str, Any]], live: Observed | None
) -> list[dict[str, Any]]:  # fmt: skip
    """The unclaimed of ``old`` but those of a former owner, which stay."""
    there: Mapping[str, Any] = live.spec["stores"] if live is not None else {}
    stack = snapshot.state.stack
    return [
        store
        for store in _unclaimed(snapshot, user, old)
        if not formerly_of(stack, (there.get(stores.id_of(store)) or {}).get("tags") or {})
    ]


def _refuse_store(draft: PlanDraft, desired: Desired, store: Mapping[str, Any], there: Mapping[str, Any]) -> None:
    """Refuse to write a store that is not this stack's, or that SSM would refuse."""
    if not there.get("exists"):
        return
    owner = owner_of(there.get("tags") or {})
    if owner is not None and not may_write(draft.snapshot.state.stack, owner):
        draft.refuse(
            "owned-elsewhere", f"{stores.label(store)} belongs to {named(owner)}", address=desired.address,
            source=desired.source_of("credentials"), hint="store this user's credential under another name",
        )  # fmt: skip
    elif there.get("secure") is False:
        # SSM API, PutParameter: HierarchyTypeMismatchException, a String cannot become a SecureString.
        draft.refuse(
            "store-not-secure", f"{stores.label(store)} is not a SecureString, and SSM cannot convert it",
            address=desired.address, source=desired.source_of("credentials"),
            hint="delete that parameter, or use another name",
        )  # fmt: skip


def _refuse_held(draft: PlanDraft, change: Change, live: Observed | None) -> None:
    """Refuse a change that deletes a store which its service would not delete."""
    if live is None:
        return
    run = change.execution
    going = run["stores"] if change.action == "delete" else stores.without(run.get("old_stores") or (), run["stores"])
    for store in going:
        there = live.spec["stores"].get(stores.id_of(store)) or {}
        if there.get("held") and stores.is_owned(there, draft.snapshot.scope):
            draft.refuse(
                "delete-blocked", f"{stores.label(store)} cannot be deleted: {there['held']}", address=change.address,
                hint=f"if nobody needs them: {there['fix']}",
            )  # fmt: skip


def _keys_to_delete(draft: PlanDraft, desired: Desired, live: Observed | None) -> list[str]:
    """Which of our keys must be deleted, since IAM allows two; refused where both are needed."""
    if live is None:
        return []
    present = [k for k in live.spec["keys"] if k["id"] not in live.spec["orphans"]]
    if len(present) < 2:
        return []
    _, overlap = rotation.limits(desired)
    now_text = draft.snapshot.now
    moment = datetime.fromisoformat(now_text)
    ours = [k for wanted in (live.spec["old"], live.spec["key"]) for k in present if k["id"] == wanted]
    for key in ours:
        used = live.facts["last_used"].get(key["id"]) or {"unknown": "it was not read"}
        if key["status"] == "Active" and (
            rotation.in_use(used, moment, overlap) or rotation.has_consumers(desired, live, key["id"], used, moment)
        ):
            continue
        return [key["id"]]
    listed = "; ".join(
        rotation.describe_key(live, k["id"], now_text)
        + (", not created by recon" if k["id"] in live.facts["foreign"] else "")
        for k in present
    )
    draft.refuse(
        "two-keys", f"{desired.address} needs a new access key, but the user has two already: {listed}",
        hint=f"choose the key to replace: recon smtp rotate {desired.name} --replace KEYID", address=desired.address,
        source=desired.entry.source,
    )  # fmt: skip
    return []


def _report(draft: PlanDraft, desired: Desired, live: Observed | None, change: Change | None) -> None:
    """Record the diagnostics about keys, rotation and consumers: none of them is a change."""
    if live is None:
        return
    snapshot = draft.snapshot
    name = desired.name
    where: dict[str, Any] = {"address": desired.address, "source": desired.entry.source}
    _report_unknown_keys(draft, desired, live, change, where)
    state = rotation.assess(desired, live, snapshot.now)
    if state.phase == "locked":
        draft.say("warning", "locked", f"{name} is locked: {state.reason}", hint=state.hint, **where)
        return
    if state.is_reported and state.step != "record":
        hint = state.hint or "recon smtp rotate --due"
        code = rotation.diagnostic_code(state, snapshot.now)
        draft.say("warning", code, rotation.sentence(state), hint=hint, **where)
    for consumer in () if state.held_for_consumers else state.consumers:
        who = rotation.describe_consumer(consumer)
        draft.say(
            "note", "consumer-not-acknowledged",
            f"{name}: nobody has confirmed that {who} has the password of {live.spec['key']}",
            hint=f'recon smtp ack {name} "{consumer["name"]}"', **where,
        )  # fmt: skip


def _report_unknown_keys(
    draft: PlanDraft, desired: Desired, live: Observed, change: Change | None, where: dict[str, Any]
) -> None:  # fmt: skip
    """Warn of foreign keys, and of orphans that no change deletes."""
    name, now_text = desired.name, draft.snapshot.now
    unrecorded = rotation.health(desired.spec["stores"], live).unrecorded
    for key_id in (k for k in live.facts["foreign"] if k != unrecorded):
        words, hint = rotation.foreign_key(name, live, key_id, now_text)
        draft.say("warning", "foreign-key", words, hint=hint, **where)
    for key_id in live.spec["orphans"] if change is None else ():
        known = rotation.describe_key(live, key_id, now_text)
        draft.say(
            "warning", "orphan-key", f"an interrupted run created a key of {name} and did not store it: {known}",
            hint="fix the other problems of this user; then apply deletes or replaces the key", **where,
        )  # fmt: skip


def _kms_differences(
    state: rotation.Health, live: Observed, before: dict[str, Any], after: dict[str, Any]
) -> list[stores.Store]:  # fmt: skip
    """The stores whose KMS key changes; shown in ``before`` and ``after``."""
    changed = []
    for store in state.proven:
        there, wanted = live.spec["stores"][stores.id_of(store)].get("kms_key_id"), store.get("kms_key_id")
        if wanted and not stores.same_kms(there, wanted):
            before[f"kms_key_id.{store['region']}"] = there
            after[f"kms_key_id.{store['region']}"] = wanted
            changed.append(store)
    return changed


def _tag_differences(wanted: Iterable[stores.Store], live: Observed | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tags of stores that a write changes, before and after; each once, as in the first store that differs."""
    old: dict[str, Any] = {}
    new: dict[str, Any] = {}
    for store in wanted:
        seen = (live.spec["stores"].get(stores.id_of(store)) if live is not None else None) or {}
        there = seen.get("tags") or {}
        will = {k: v for k, v in {**there, **store.get("tags", {})}.items() if k not in store.get("untag", ())}
        for tag in sorted(there.keys() | will.keys()):
            if there.get(tag) != will.get(tag):
                old.setdefault(tag, there.get(tag))
                new.setdefault(tag, will.get(tag))
    return old, new


def _stored(
    wanted: list[dict[str, Any]], removed: Iterable[stores.Store], live: Observed, state: rotation.Health
) -> dict[str, list[str]]:  # fmt: skip
    """``regions`` and ``credentials`` of a change before it: the regions that the stored passwords cover (where no
    store holds any, those that were stored last), and the stores with what each of them holds."""
    key = state.key["id"] if state.key else live.spec["key"]
    held = {stores.id_of(one): one for one in rotation.contents(wanted, live, key or "")}
    covered = {region for one in held.values() for region in one["regions"]} or unpack(live.tags, stores.KEY_REGIONS)
    there: Mapping[str, Any] = live.spec["stores"]
    gone = [store for store in removed if not there.get(stores.id_of(store), {}).get("exists")]
    listed = [
        stores.described_live(store, there[id_], held.get(id_))
        for id_, store in {stores.id_of(store): store for store in (*removed, *wanted)}.items()
        if there.get(id_, {}).get("exists")
    ]
    # The user's tag still names it: an earlier run ended between the two.
    listed += [f"{stores.label(store)}, which is deleted already" for store in gone]
    return {"regions": sorted(covered), "credentials": sorted(listed)}


def _repair_request(
    state: rotation.Health, live: Observed, key: Mapping[str, Any], removed: list[stores.Store]
) -> dict[str, Any]:  # fmt: skip
    """What ``key_requests.record`` or ``repair`` need beside the key request."""
    copied = {"copy": list(state.copy), "sources": list(state.sources)}
    if state.unrecorded:
        present = {k["id"] for k in live.spec["keys"]}
        return {"record": key["id"], "previous": live.spec["key"] if live.spec["key"] in present else None, **copied}
    return {"close": live.facts["intent"], "gone": removed, "restore": list(state.restore), **copied}


def _repair_notes(desired: Desired, live: Observed, state: rotation.Health, orphans: list[str]) -> Iterable[Note]:
    yield from _adoption_notes(state.copy, live)
    yield from _orphan_notes(orphans)
    if state.unrecorded:
        yield Note("key-recorded", "note", "every store holds this key, but no tag names it; now recon records it")
        yield from _consumer_notes(desired)
    elif state.restore:
        listed = ", ".join(stores.label(s) for s in state.restore)
        yield Note("store-restored", "note", f"{listed}: the right value is still there and is restored")
    if state.copy:
        listed = ", ".join(stores.label(s) for s in state.copy)
        yield Note("store-copied", "note", f"{listed}: made from the stored passwords; the key stays")
    if state.key is not None and state.key["status"] != "Active":
        words = f"somebody deactivated this key; it is activated again; to keep it off: recon smtp lock {desired.name}"
        yield Note("key-reactivated", "warning", words)


def _adoption_notes(wanted: Iterable[stores.Store], live: Observed | None) -> list[Note]:
    """A note where a live store without an owner is overwritten."""
    there: Mapping[str, Any] = live.spec["stores"] if live else {}
    found = [s for s in wanted if (there.get(stores.id_of(s)) or {}).get("exists")]
    found = [s for s in found if not owner_of(there[stores.id_of(s)].get("tags") or {})]
    if not found:
        return []
    listed = ", ".join(stores.label(s) for s in found)
    return [Note("secret-taken-over", "warning", f"{listed} exists; its value is overwritten")]


def _consumer_notes(desired: Desired) -> list[Note]:
    return [
        Note("consumer-by-hand", "warning", f"by hand: give {rotation.describe_consumer(c)} the new password")
        for c in rotation.consumers_of(desired)
    ]


def _orphan_notes(orphans: Iterable[str]) -> list[Note]:
    listed = ", ".join(orphans)
    if not listed:
        return []
    return [Note("orphan-key", "note", f"deletes {listed}, which an interrupted run created and did not store")]


# --- write ---------------------------------------------------------------------------------------------------------


def _ensure_ours(rt: Runtime, user: str) -> None:
    """Raise Stale where another stack has the user by now: what is read to plan a key does not say whose it is."""
    found = rt.aws.call_if_there("iam", "GetUser", UserName=user) or {"User": {}}
    owner = owner_of(tags_from_aws(found["User"].get("Tags")))
    if owner and not may_write(rt.aws.stack, owner):  # one just made or adopted may not be seen, or not with its tags
        raise Stale(f"the IAM user {user} belongs to {named(owner)} now; its keys were left alone", hint="plan again")


def _create_key(rt: Runtime, run: Mapping[str, Any]) -> None:
    _ensure_ours(rt, run["user"])
    key_requests.create_key(rt.aws, rt.scope, run, now())


def _repair(rt: Runtime, run: Mapping[str, Any]) -> None:
    _ensure_ours(rt, run["user"])
    if run.get("copy"):  # what is recorded is in every store
        key_requests.repair(rt.aws, rt.scope, run)
    if run.get("record"):
        key_requests.record(rt.aws, rt.scope, run, run["record"], now())
    if not run.get("copy"):
        key_requests.repair(rt.aws, rt.scope, run)


def _delete(rt: Runtime, run: Mapping[str, Any]) -> None:
    _ensure_ours(rt, run["user"])
    # Keys first: after that, no stored password works any more.
    for key in run["keys"]:
        keys.delete(rt.aws, run["user"], key)
    for store in run["stores"]:
        stores.delete(rt.aws, rt.scope, store)


KIND = SmtpCredential()
