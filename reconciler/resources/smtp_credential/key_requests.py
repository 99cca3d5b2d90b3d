"""Make one access key and store what derives from it; or finish, or take back, what an interrupted run began.

The intent is written on the user before the key is made, with the ids that exist: whatever else appears later was
made by us (docs/smtp.md). The secret access key lives in local variables of ``issue`` and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from reconciler.errors import ReconError
from reconciler.kinds.ownership import KEY, KEY_INTENT, owner_of, pack
from reconciler.kinds.shape import Shape
from reconciler.kinds.tags import tags_to_aws
from reconciler.resources.smtp_credential import keys, stores
from reconciler.resources.smtp_user import kind as smtp_user

if TYPE_CHECKING:
    from reconciler.aws import Aws

KEY_OLD = "recon:key-old"
"""User tag: the key that is being rotated out."""
KEY_OFF = "recon:key-off"
"""User tag: when the old key was switched off (ISO 8601)."""
KEY_OUT = "recon:key-out"
"""User tag: since when a key that recon did not make is being rotated out, on somebody's word (ISO 8601)."""
KEY_SINCE = "recon:key-since"
"""User tag: when the current key was stored (ISO 8601); the overlap counts from here."""
KEY_ACK = "recon:key-ack"
"""User tag, one a consumer: ``recon:key-ack.HASH`` = key id and time of ``recon smtp ack``."""


KEY_REQUEST: Shape = {
    "user": str, "stores": [stores.FORM], "orphans": [str], "drop": [str], "previous": (str, None), "off": bool,
    "known": [str], "current": (str, None), "stored": bool, "old_stores": [stores.FORM], "takes": [str],
}  # fmt: skip
"""The form of what ``order`` says."""
REPAIR: Shape = {
    "activate": (str, None), "kms": [stores.FORM], "retag?": [stores.FORM], "rename?": (str, None),
}  # fmt: skip
"""What is said beside it where the key stays."""


def key_request(
    user: str, wanted: list[dict[str, Any]], live: Mapping[str, Any] | None, tags: Mapping[str, str],
    *, previous: str | None = None, drop: Iterable[str] = (), off: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """What ``issue`` is to do, JSON-able: ``live`` is the observed spec of the credential.

    ``previous`` becomes the old key (``off``: it is switched off already); ``drop`` are keys of ours that go first,
    to make room.
    """
    orphans = list(live["orphans"]) if live else []
    return {
        "user": user, "stores": wanted, "orphans": orphans, "drop": list(drop), "previous": previous, "off": off,
        "known": [k["id"] for k in (live["keys"] if live else ()) if k["id"] not in {*orphans, *drop}],
        "current": live["key"] if live else None, "stored": _relied_on(wanted, live),
        "old_stores": stores.remembered(tags),
        "takes": _unowned(live),
    }  # fmt: skip


def _unowned(live: Mapping[str, Any] | None) -> list[str]:
    """The ids of the stores that were read and have no owner; a plan shows them before they are written."""
    there = live["stores"].items() if live else ()
    return sorted(i for i, seen in there if seen.get("exists") and not owner_of(seen.get("tags") or {}))


def _relied_on(wanted: list[dict[str, Any]], live: Mapping[str, Any] | None) -> bool:
    """Whether any store holds a password that works now."""
    key = next((k for k in live["keys"] if k["id"] == live["key"] and k["status"] == "Active"), None) if live else None
    if live is None or key is None:
        return False
    return any(stores.is_true(live["stores"].get(stores.id_of(s)), s, key["id"]) for s in wanted)


def create_key(aws: Aws, scope: str, run: Mapping[str, Any], now: str) -> str:
    """Make one key, store it, remember that it is ours; returns its id. Safe to be cut off anywhere.

    ``run`` comes from ``order``; ``now`` is the time that is written (ISO 8601). Raises ReconError; stores.Taken where
    a store is not ours to write, before a key is made wherever that can be seen then.
    """
    user, wanted, takes = run["user"], run["stores"], run["takes"]
    looked = {stores.id_of(s): stores.read_store(aws, scope, s, takes) for s in wanted}
    for orphan in run["orphans"]:
        if run.get("current"):
            for store in wanted:
                # The orphan's password may be in some of the stores: the one before it works, and comes back first.
                if stores.is_true(looked[stores.id_of(store)], store, orphan):
                    stores.bring_back(aws, scope, user, store, run["current"])
        keys.delete(aws, user, orphan)
    for key in run.get("drop") or ():
        keys.delete(aws, user, key)
    gone = stores.gone_from(run.get("old_stores") or (), wanted)
    intent = {KEY_INTENT: " ".join([now, *run["known"]]), **_store_tags([*wanted, *gone])}
    smtp_user.retry_until_visible(lambda: aws.call("iam", "TagUser", UserName=user, Tags=tags_to_aws(intent)))
    made, doubtful = keys.create(aws, user, set(run["known"]))
    key_id, secret = str(made["AccessKeyId"]), str(made["SecretAccessKey"])
    created = made["CreateDate"].isoformat() if made.get("CreateDate") else now
    if run.get("stored"):
        keys.wait_accepted(aws, made)
    for number, store in enumerate(wanted):
        try:
            text = stores.derive(store, key_id, secret, created)
            live = looked[stores.id_of(store)]
            # What was not there is made, and AWS refuses where it is; what was there is looked at once more.
            stores.put(aws, scope, user, store, key_id, text, takes, None if live["exists"] else live)
        except stores.Taken:
            if not number:
                # Stored nowhere, and its id is known for certain: it is taken back.
                keys.delete(aws, user, key_id)
                aws.call("iam", "UntagUser", UserName=user, TagKeys=[KEY_INTENT])
            raise
    more = {k["id"] for k in keys.list_keys(aws, user)} - {*run["known"], key_id} if doubtful else set()
    _remember(aws, scope, run, key_id, now, close=not more)
    if more:
        raise ReconError(
            f"beside {key_id}, which is stored, {', '.join(sorted(more))} appeared: AWS said that a call had failed",
            hint="apply again: the plan names that key, then deletes it",
        )
    return key_id


def record(aws: Aws, scope: str, run: Mapping[str, Any], key_id: str, now: str) -> None:
    """Finish what an interrupted ``issue`` had all but done: every store has the key's value, current or not."""
    for store in run["stores"]:
        if not stores.is_true(stores.describe(aws, store), store, key_id):
            stores.bring_back(aws, scope, user=run["user"], store=store, key_id=key_id)
    _remember(aws, scope, run, key_id, now)


def _remember(aws: Aws, scope: str, run: Mapping[str, Any], key_id: str, now: str, *, close: bool = True) -> None:
    """Write on the user which key is stored where, and close the intent; then delete stores no longer declared.

    Without ``close`` the intent stays open: there is a key more that no answer told of.
    """
    user = run["user"]
    gone = stores.gone_from(run.get("old_stores") or (), run["stores"])
    tags = {KEY: key_id, KEY_SINCE: now}
    drop = [KEY_OUT, *([KEY_INTENT] if close else [])]
    if run.get("previous"):
        tags[KEY_OLD] = run["previous"]
        if run.get("off"):
            tags[KEY_OFF] = now
        else:
            drop.append(KEY_OFF)
    aws.call("iam", "TagUser", UserName=user, Tags=tags_to_aws(tags))
    aws.call("iam", "UntagUser", UserName=user, TagKeys=drop)
    _forget(aws, scope, user, gone, run["stores"])


def _forget(aws: Aws, scope: str, user: str, gone: list[stores.Store], kept: Iterable[stores.Store]) -> None:
    """Delete stores, and only then take them off the user's tags: cut off in between, they are still known."""
    if not gone:
        return
    for store in gone:
        stores.delete(aws, scope, store)
    before, after = _store_tags([*kept, *gone]), _store_tags(kept)
    aws.call("iam", "TagUser", UserName=user, Tags=tags_to_aws(after))
    if set(before) - set(after):
        aws.call("iam", "UntagUser", UserName=user, TagKeys=sorted(set(before) - set(after)))


def _store_tags(kept: Iterable[stores.Store]) -> dict[str, str]:
    """The user's tags that say where its credential is stored, and for which regions."""
    known = list(kept)
    regions = {r for s in known for r in s["regions"]}
    return {
        **pack((stores.id_of(s) for s in known), stores.STORES),
        **pack(regions, stores.KEY_REGIONS),
    }


def repair(aws: Aws, scope: str, run: Mapping[str, Any]) -> None:
    """Heal what needs no new key: restore, restage, copy or rewrite stores, delete orphans, close an open intent."""
    user, wanted = run["user"], run["stores"]
    key_id = run["current"]
    for orphan in run["orphans"]:
        keys.delete(aws, user, orphan)
    if run.get("activate"):
        keys.switch(aws, user, run["activate"], on=True)
    for store in run.get("restore") or ():
        if not stores.bring_back(aws, scope, user, store, key_id):
            raise ReconError(
                f"{stores.words(store)} has no value of {key_id} to go back to", hint=f"recon smtp rotate {user}"
            )
    gone = list(run.get("gone") or ())
    if run.get("copy"):
        # Named on the user before they are made, so that whatever comes between, they are found again.
        aws.call("iam", "TagUser", UserName=user, Tags=tags_to_aws(_store_tags([*wanted, *gone])))
        _copy(aws, scope, run, key_id)
    for store in run.get("kms") or ():
        live = stores.read_store(aws, scope, store, run["takes"])
        if store["type"] == "secretsmanager":
            stores.restore(aws, store, live)
        else:
            stores.put(
                aws, scope, user, store, key_id, json.dumps(stores.read(aws, store)), run["takes"], live
            )  # fmt: skip
    for store in run.get("retag") or ():
        stores.read_store(aws, scope, store, run["takes"])
        stores.retag(aws, scope, user, store)
    if run.get("close"):
        aws.call("iam", "UntagUser", UserName=user, TagKeys=[KEY_INTENT])
    _forget(aws, scope, user, gone, wanted)


def _copy(aws: Aws, scope: str, run: Mapping[str, Any], key_id: str) -> None:
    """Make up the values of the stores in ``copy`` from the proven ``sources``; nothing is made known outside."""
    user = run["user"]
    passwords: dict[str, str] = {}
    created, secret = "", None
    for source in run["sources"]:
        found = stores.read(aws, source)
        if found["username"] != key_id:
            raise ReconError(f"{stores.words(source)} no longer holds the key {key_id}", hint="plan again")
        passwords |= stores.passwords_in(found)
        created = str(found.get("created_at") or created)
        secret = str(found["secret_access_key"]) if found.get("secret_access_key") else secret
    for store in run["copy"]:
        if secret:
            text = stores.derive(store, key_id, secret, created)
        elif set(store["regions"]) <= set(passwords) and not store.get("secret"):
            text = stores.value(store, key_id, passwords, created)
        else:
            raise ReconError(
                f"{stores.words(store)} cannot be made from what is stored: a region's password is missing",
                hint=f"recon smtp rotate {user}",
            )
        stores.put(aws, scope, user, store, key_id, text, run["takes"])
