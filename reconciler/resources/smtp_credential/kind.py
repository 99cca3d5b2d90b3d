"""SMTP credential: one access key of an SMTP user, and the passwords derived from it, in Secrets Manager or SSM.

Managed:  that our key exists and is active, and that every store holds what derives from it. Rotation is a command of
          its own (``recon smtp rotate``); a plan only says what is due.
Reads:    iam ListAccessKeys, GetAccessKeyLastUsed (of users with two keys, or one that is not ours); secretsmanager
          DescribeSecret or ssm DescribeParameters. No secret value is read: a version id (or the parameter's
          description) that is the hash of key id, regions and form proves the value.
Writes:   CreateAccessKey, CreateSecret/PutSecretValue or PutParameter, TagUser; UpdateAccessKey, DeleteAccessKey.
Owned:    the key named in the user's tag ``recon:key`` (and ``recon:key-old``), and any key made since an open
          ``recon:key-intent``. Every other key is foreign, shown with its last use, and never touched.
Source:   SES Developer Guide, "Obtaining Amazon SES SMTP credentials"; Secrets Manager API, PutSecretValue
          (ClientRequestToken); SSM API, PutParameter; IAM User Guide, "Managing access keys".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from reconciler.aws.clock import now
from reconciler.errors import ReconError
from reconciler.kinds.comparing import differences
from reconciler.kinds.kind import BaseKind, Runtime, Step, needs_of
from reconciler.kinds.ownership import KEY, KEY_INTENT, PROTECT, owner_of
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.snapshot import Snapshot
from reconciler.model import ActionName, Address, Change, Desired, Document, Note, Observed, State
from reconciler.resources.smtp_credential import key_requests, keys, rotation, stores
from reconciler.resources.smtp_user import kind as smtp_user

if TYPE_CHECKING:
    from reconciler.aws import Aws

NAME = "smtp_credential"


def address_of(name: str) -> Address:
    return f"{NAME}/{name}"


def tagged_stores(desired: Desired, live: Observed | None) -> list[dict[str, Any]]:
    """The declared stores of a credential, each with what a write does to its tags (``stores.tagged``)."""
    there: Mapping[str, Any] = live.spec["stores"] if live is not None else {}
    return [stores.tagged(store, there.get(stores.id_of(store)), desired.entry) for store in desired.spec["stores"]]


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

    read_calls: ClassVar[Mapping[str, str]] = {
        "keys": "iam:ListAccessKeys",
        "key": "iam:GetAccountAuthorizationDetails",
        "stores (secretsmanager)": "secretsmanager:DescribeSecret",
        "stores (ssm)": "ssm:DescribeParameters",
    }

    # -- desired ----------------------------------------------------------------------------------------------------

    def desired(self, state: State) -> Iterable[Desired]:
        covered = stores.covered_regions(state)
        for entry in state.section("smtp_users"):
            kept = stores.declared(entry, state, covered)
            spec = {"regions": covered, "stores": kept, "credentials": dict(entry.values.get("credentials") or {})}
            yield Desired(address_of(entry.name), NAME, None, entry.name, spec, entry)

    # -- observed ---------------------------------------------------------------------------------------------------

    def observe(self, aws: Aws, snapshot: Snapshot) -> None:
        """Needs the users (``smtp_user.observe`` comes first): their tags say which key is ours."""
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
        # A user that is renamed will be planned under its new name, with the stores that are declared there.
        user = smtp_user.address_of(name)
        renamed = next((m.to_address for m in snapshot.state.moved if m.from_address == user), user)
        desired = snapshot.desired.get(address_of(renamed.partition("/")[2])) or snapshot.desired.get(address_of(name))
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
        remembered = stores.remembered(tags)
        found = {stores.id_of(s): stores.describe(aws, s) for s in [*declared, *stores.gone_from(remembered, declared)]}
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
        """The fingerprint of the credential as it is now, None where nothing of it exists."""
        name, old = change.execution["user"], change.execution.get("rename")
        if old and smtp_user.SmtpUser().read(aws, "", old) is not None:
            name = old  # its user is not renamed yet
        return self.fingerprint(aws, name, list(change.execution["stores"]))

    def fingerprint(self, aws: Aws, name: str, declared: list[dict[str, Any]]) -> str | None:
        """``reread`` by name and declared stores."""
        live = self._read_one(aws, name, smtp_user.SmtpUser().read(aws, "", name), declared)
        return live.digest if live else None

    # -- compared ---------------------------------------------------------------------------------------------------

    def plan(self, draft: PlanDraft) -> Iterable[Change]:
        snapshot = draft.snapshot
        for address in snapshot.addresses(NAME):
            user = smtp_user.address_of(address.split("/", 1)[1])
            if snapshot.unknown(address) or snapshot.unknown(user):
                continue
            owner = snapshot.observed.get(user)
            if owner is not None and owner_of(owner.tags) not in {None, snapshot.scope}:
                continue
            desired, live = snapshot.desired.get(address), snapshot.observed.get(address)
            if desired is None:
                change = self._plan_delete(snapshot, live)
            else:
                change = self._plan_declared(draft, desired, live)
                if change is not None and live is not None and live.facts.get("live_name"):
                    change = replace(change, execution={**change.execution, "rename": live.facts["live_name"]})
                _tell(draft, desired, live, change)
            if change is not None:
                yield change

    def _plan_declared(self, draft: PlanDraft, desired: Desired, live: Observed | None) -> Change | None:
        wanted = tagged_stores(desired, live)
        for store in wanted:
            if _taken(draft, desired, store, (live.spec["stores"] if live else {}).get(stores.id_of(store)) or {}):
                return None
        if live is not None and live.facts["locked"]:
            return None
        state = rotation.health(wanted, live)
        if live is None or state.needs_key:
            return self._plan_key(draft, desired, live, state, wanted)
        return self._plan_mend(draft.snapshot, desired, live, state, wanted)

    def _plan_key(
        self, draft: PlanDraft, desired: Desired, live: Observed | None, state: rotation.Health,
        wanted: list[dict[str, Any]],
    ) -> Change | None:  # fmt: skip
        """A new key, stored everywhere: there is none, or a store lost what only CreateAccessKey ever told."""
        name = desired.name
        current = state.key
        drop = _room(draft, desired, live)
        if drop is None:
            return None
        previous = current["id"] if current and current["id"] not in drop else None
        tags: Mapping[str, str] = live.tags if live else {}
        execution = key_requests.key_request(
            name, wanted, live.spec if live else None, tags, previous=previous, drop=drop
        )
        execution |= {"new_key": True, "regions": desired.spec["regions"]}
        execution["old_stores"] = _left(draft.snapshot, name, execution["old_stores"])
        shown = {"regions": desired.spec["regions"], "credentials": [stores.words(s) for s in wanted]}
        old, new = _tags_moved(wanted, live)
        shown |= {"tags": new} if new else {}
        after = {"access_key": None, "status": "Active", **shown}
        notes = _taken_over(wanted, live)
        adopted = bool(notes)
        before: dict[str, Any] | None = None
        if live is not None and (live.spec["key"] or current):
            before = {
                "access_key": live.spec["key"], "status": current["status"] if current else "deleted",
                "regions": desired.spec["regions"], "credentials": [stores.words(s) for s in state.true],
                **({"tags": old} if old else {}),
            }  # fmt: skip
            why = "the key is gone" if current is None else "a store does not hold this key's passwords for all regions"
            notes.append(Note("new-key", "warning", f"{why}: a new key is made and stored; the passwords change"))
            if previous:
                notes.append(Note("old-key-stays", "note", f"{previous} stays active until it is rotated out"))
        if drop:
            notes.append(
                Note("key-makes-room", "warning", f"deletes {', '.join(drop)}, which nobody uses: IAM allows two keys")
            )
        notes += _by_hand(desired)
        notes += _orphan_notes(execution["orphans"])
        diff = differences(before, after, desired=desired)
        action: ActionName = "update" if before is not None else "adopt" if adopted else "create"
        return Change(
            desired.address, NAME, action, before, after, diff, ("access_key",), (smtp_user.address_of(name),),
            tuple(notes), desired.source_of("credentials"), live.digest if live else None, None, execution,
        )  # fmt: skip

    def _plan_mend(
        self, snapshot: Snapshot, desired: Desired, live: Observed, state: rotation.Health, wanted: list[dict[str, Any]]
    ) -> Change | None:  # fmt: skip
        """The key is right and no new one is needed; what may be wrong is its status, a store, or what a cut left."""
        key = state.key
        assert key is not None
        orphans = [o for o in live.spec["orphans"] if o != state.unrecorded]
        execution = key_requests.key_request(desired.name, wanted, {**live.spec, "orphans": orphans}, live.tags)
        execution["old_stores"] = _left(snapshot, desired.name, execution["old_stores"])
        gone = stores.gone_from(execution["old_stores"], wanted)
        before: dict[str, Any] = {
            "access_key": live.spec["key"], "status": key["status"], "orphan_keys": orphans or None,
            # An intent left open after its key was stored must be closed, or a later key of somebody else would be
            # taken for ours.
            "open_intent": True if live.facts["intent"] else None,
        }  # fmt: skip
        after: dict[str, Any] = {"access_key": key["id"], "status": "Active", "orphan_keys": None, "open_intent": None}
        kms = []
        for store in state.true:
            there = live.spec["stores"][stores.id_of(store)]
            if store.get("kms_key_id") and not stores.same_kms(there.get("kms_key_id"), store["kms_key_id"]):
                before[f"kms_key_id.{store['region']}"] = there.get("kms_key_id")
                after[f"kms_key_id.{store['region']}"] = store["kms_key_id"]
                kms.append(store)
        old, new = _tags_moved(state.true, live)
        if old:
            before["tags"], after["tags"] = old, new
            execution["retag"] = [s for s in state.true if _tags_moved([s], live)[0]]
        if state.restore or state.copy or gone:
            before["credentials"] = sorted(stores.words(s) for s in [*state.true, *gone])
            after["credentials"] = sorted(stores.words(s) for s in wanted)
        if before == after and not (state.restore or state.copy):
            return None
        notes = [*_taken_over(state.copy, live), *_orphan_notes(orphans)]
        if state.unrecorded:
            why = "the stores hold this key and no tag says that it is ours; now one does"
            notes.append(Note("key-recorded", "note", why))
            notes += _by_hand(desired)
        elif state.restore:
            listed = ", ".join(stores.words(s) for s in state.restore)
            notes.append(Note("store-restored", "note", f"{listed}: the right value is still there and comes back"))
        if state.copy:
            listed = ", ".join(stores.words(s) for s in state.copy)
            notes.append(Note("store-copied", "note", f"{listed}: made from what is stored; the key stays"))
        if key["status"] != "Active":
            notes.append(Note("key-reactivated", "warning", "somebody switched this key off; it is switched on again"))
        execution |= {"current": key["id"], "activate": key["id"] if key["status"] != "Active" else None, "kms": kms}
        if state.unrecorded:
            present = {k["id"] for k in live.spec["keys"]}
            execution |= {"record": key["id"], "previous": live.spec["key"] if live.spec["key"] in present else None}
        else:
            execution |= {
                "close": live.facts["intent"],
                "gone": gone,
                "restore": list(state.restore),
                "copy": list(state.copy),
                "sources": list(state.sources),
            }
        before, after = (
            {k: v for k, v in d.items() if v is not None or k in both}
            for d, both in ((before, set(after)), (after, set(before)))
        )
        return Change(
            desired.address, NAME, "update", before, after, differences(before, after, desired=desired), (),
            (smtp_user.address_of(desired.name),), tuple(notes), desired.source_of("credentials"), live.digest, None,
            execution,
        )  # fmt: skip

    def _plan_delete(self, snapshot: Snapshot, live: Observed | None) -> Change | None:
        user = snapshot.observed.get(smtp_user.address_of(live.name)) if live else None
        if live is None or user is None or owner_of(user.tags) != snapshot.scope or user.tags.get(PROTECT) == "true":
            return None
        ours = [k["id"] for k in live.spec["keys"] if k["id"] not in live.facts["foreign"]]
        kept = stores.remembered(live.tags)
        # A name that another user of the stack has in the YAML now is that user's: its password goes there.
        taken = _claimed(snapshot, live.name)
        kept = [s for s in kept if stores.id_of(s) not in taken]
        kept = [s for s in kept if stores.is_of(live.spec["stores"].get(stores.id_of(s)), snapshot.scope)]
        kept = [s for s in kept if not live.spec["stores"][stores.id_of(s)].get("deleted")]
        if not ours and not kept:
            return None
        before = {"access_keys": ours, "credentials": [stores.words(s) for s in kept]}
        where = {store["type"] for store in kept}
        ends = "the key ends at once"
        ends += "; its secret can be restored for 30 days (Secrets Manager)" if "secretsmanager" in where else ""
        ends += "; its parameter is gone for good (SSM)" if "ssm" in where else ""
        return Change(
            live.address, NAME, "delete", before, None, differences(before, None), observed_digest=live.digest,
            notes=(Note("credential-deleted", "warning", ends),),
            execution={"user": live.name, "keys": ours, "stores": kept},
        )  # fmt: skip

    # -- written ----------------------------------------------------------------------------------------------------

    form: ClassVar[Document] = {
        "fields": {},
        "delete": {"user": str, "keys": [str], "stores": [stores.FORM]},
        "execution": (
            {**key_requests.KEY_REQUEST, "new_key": True, "rename?": (str, None)},
            {**key_requests.KEY_REQUEST, **key_requests.REPAIR, "record": str},
            {
                **key_requests.KEY_REQUEST,
                **key_requests.REPAIR,
                **{key: [stores.FORM] for key in ("gone", "restore", "copy", "sources")},
            },
        ),
    }

    def steps(self, change: Change) -> Iterable[Step]:
        run = change.execution
        user = smtp_user.address_of(run["user"])
        if change.action == "delete":
            yield Step(
                change.address, "delete", (), lambda rt: _delete(rt, run),
                calls=("iam:DeleteAccessKey", "secretsmanager:DeleteSecret"),
            )  # fmt: skip
            return
        needs = needs_of((user,), "create", "update")
        if run.get("new_key"):
            puts = ("secretsmanager:PutSecretValue",) * len(run["stores"])
            yield Step(
                change.address, "create", needs, lambda rt: _issue(rt, run),
                calls=("iam:TagUser", "iam:CreateAccessKey", *puts, "iam:TagUser", "iam:UntagUser"),
            )  # fmt: skip
            return
        yield Step(change.address, "update", needs, lambda rt: _mend(rt, run), calls=("iam:UpdateAccessKey",))


# --- judging -------------------------------------------------------------------------------------------------------


def _claimed(snapshot: Snapshot, user: str) -> frozenset[str]:
    """The ids of the stores that other declared users name."""
    others = (d for d in snapshot.kind(NAME) if d.name != user)
    return frozenset(stores.id_of(store) for d in others for store in d.spec["stores"])


def _left(snapshot: Snapshot, user: str, old: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the stores that a user had, those that no other user has taken over: they may be deleted."""
    taken = _claimed(snapshot, user)
    return [store for store in old if stores.id_of(store) not in taken]


def _taken(draft: PlanDraft, desired: Desired, store: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Whether a store is not ours to write; says so."""
    if not there.get("exists"):
        return False
    owner = owner_of(there.get("tags") or {})
    if owner not in {None, draft.snapshot.scope}:
        draft.refuse(
            "owned-elsewhere", f"{stores.words(store)} belongs to {owner}", address=desired.address,
            source=desired.source_of("credentials"), hint="store this user's credential under another name",
        )  # fmt: skip
        return True
    if there.get("secure") is False:
        # SSM API, PutParameter: HierarchyTypeMismatchException, a String cannot become a SecureString.
        draft.blocked(
            "store-not-secure", f"{stores.words(store)} is no SecureString, and SSM cannot make it one",
            address=desired.address, source=desired.source_of("credentials"),
            hint="delete that parameter, or name another",
        )  # fmt: skip
        return True
    return False


def _room(draft: PlanDraft, desired: Desired, live: Observed | None) -> list[str] | None:
    """Which keys of ours go to make room for a new one: none where there is room; None, said, where nothing may go."""
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
        if key["status"] != "Active" or not rotation.in_use(used, moment, overlap):
            return [key["id"]]
    listed = "; ".join(
        rotation.describe_key(live, k["id"], now_text)
        + (", not made by recon" if k["id"] in live.facts["foreign"] else "")
        for k in present
    )
    draft.blocked(
        "two-keys", f"{desired.address} needs a new access key, but the user has two already: {listed}",
        hint=f"name the one to replace: recon smtp rotate {desired.name} --replace KEYID", address=desired.address,
        source=desired.entry.source,
    )  # fmt: skip
    return None


def _tell(draft: PlanDraft, desired: Desired, live: Observed | None, change: Change | None) -> None:
    """What a plan says of keys and rotation beside its changes: nothing of it is a change."""
    if live is None:
        return
    snapshot = draft.snapshot
    name = desired.name
    where: dict[str, Any] = {"address": desired.address, "source": desired.entry.source}
    proven = rotation.health(desired.spec["stores"], live).unrecorded
    for key_id in live.facts["foreign"]:
        if key_id == proven:
            continue
        known = rotation.describe_key(live, key_id, snapshot.now)
        hint = f"recon never deletes it unasked; to rotate it out: recon smtp rotate {name} --replace {key_id}"
        if rotation.may_be_lost(live, key_id):
            known += (
                "; it was made within an hour of recon's own: likely one that a run asked for and got no answer about, "
                "and then nobody knows its secret"
            )
            hint += " (said three times it is gone at once: named, off, deleted)"
        draft.say("warning", "foreign-key", f"{name} has a key that recon did not make: {known}", hint=hint, **where)
    for key_id in live.spec["orphans"] if change is None else ():
        known = rotation.describe_key(live, key_id, snapshot.now)
        draft.say(
            "warning", "orphan-key", f"an interrupted run made a key of {name}, and it is not stored: {known}",
            hint="apply deletes or replaces it once what stands in the way is mended", **where,
        )  # fmt: skip
    status = rotation.status(desired, live, snapshot.now)
    if status.state == "locked":
        draft.say("warning", "locked", f"{name} is locked: {status.reason}", hint=status.hint, **where)
        return
    if status.speaks and status.step != "record":
        hint = status.hint or "recon smtp rotate --due"
        draft.say("warning", rotation.code_of(status, snapshot.now), rotation.words_of(status), hint=hint, **where)
    for consumer in status.consumers:
        draft.say(
            "note", "consumer-not-acknowledged",
            f"{name}: nobody has said that {rotation.consumer_words(consumer)} has the password of {live.spec['key']}",
            hint=f'recon smtp ack {name} "{consumer["name"]}"', **where,
        )  # fmt: skip


def _tags_moved(wanted: Iterable[stores.Store], live: Observed | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tags of stores that a write changes, before and after; each once, as the first store has it that differs."""
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


def _taken_over(wanted: Iterable[stores.Store], live: Observed | None) -> list[Note]:
    """A note where a live store without an owner gets our value."""
    there: Mapping[str, Any] = live.spec["stores"] if live else {}
    found = [s for s in wanted if (there.get(stores.id_of(s)) or {}).get("exists")]
    found = [s for s in found if not owner_of(there[stores.id_of(s)].get("tags") or {})]
    if not found:
        return []
    listed = ", ".join(stores.words(s) for s in found)
    return [Note("secret-taken-over", "warning", f"{listed} exists and gets a new value")]


def _by_hand(desired: Desired) -> list[Note]:
    listed = rotation.consumers_of(desired)
    return [
        Note("consumer-by-hand", "warning", f"work by hand: give {rotation.consumer_words(c)} the new password")
        for c in listed
    ]


def _orphan_notes(orphans: Iterable[str]) -> list[Note]:
    listed = ", ".join(orphans)
    if not listed:
        return []
    return [Note("orphan-key", "note", f"deletes {listed}, made by an interrupted run and stored nowhere")]


# --- carrying out --------------------------------------------------------------------------------------------------


def _issue(rt: Runtime, run: Mapping[str, Any]) -> None:
    key_requests.create_key(rt.aws, rt.scope, run, now())


def _mend(rt: Runtime, run: Mapping[str, Any]) -> None:
    if run.get("record"):
        key_requests.record(rt.aws, rt.scope, run, run["record"], now())
    key_requests.repair(rt.aws, rt.scope, run)


def _delete(rt: Runtime, run: Mapping[str, Any]) -> None:
    # Keys first: from then on nothing that is still stored can log in.
    for key in run["keys"]:
        keys.delete(rt.aws, run["user"], key)
    for store in run["stores"]:
        stores.delete(rt.aws, rt.scope, store)


KIND = SmtpCredential()
