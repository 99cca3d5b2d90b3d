"""Create one access key and store its passwords; or finish, or undo, what an interrupted run began.

The intent is written on the user before the key is created, with the ids of its keys: any other key that appears later
was created by us (docs/smtp.md). The secret access key exists only in local variables of ``create_key``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from reconciler.errors import ReconError
from reconciler.kinds.iam_principals import retry_until_visible
from reconciler.kinds.ownership import KEY, KEY_INTENT, owner_of, pack
from reconciler.kinds.tags import tags_to_aws
from reconciler.resources.smtp_credential import keys, stores

if TYPE_CHECKING:
    from reconciler.aws import Aws

KEY_OLD = "recon:key-old"
"""User tag: the id of the key that is being rotated out."""
KEY_OFF = "recon:key-off"
"""User tag: when the old key was deactivated (ISO 8601)."""
KEY_OUT = "recon:key-out"
"""User tag: since when a key that recon did not create is being rotated out (ISO 8601)."""
KEY_SINCE = "recon:key-since"
"""User tag: when the current key was stored (ISO 8601); the overlap starts here."""
KEY_BEFORE = "recon:key-before"
"""User tag: the ids of the keys that the user had before the current one was created; missing where it had none."""
KEY_ACK = "recon:key-ack"
"""User tag, one a consumer: ``recon:key-ack.HASH`` = key id and time of ``recon smtp ack``."""


def key_request(
    user: str, wanted: list[dict[str, Any]], live: Mapping[str, Any] | None, tags: Mapping[str, str],
    *, previous: str | None = None, drop: Iterable[str] = (), off: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """The input of ``create_key``, as JSON; ``live`` is the observed spec of the credential.

    ``previous`` becomes the old key (``off``: it is inactive already). ``drop`` are our keys that are deleted first,
    since IAM allows two keys.
    """
    orphans = list(live["orphans"]) if live else []
    return {
        "user": user, "stores": wanted, "orphans": orphans, "drop": list(drop), "previous": previous, "off": off,
        "known": [k["id"] for k in (live["keys"] if live else ()) if k["id"] not in {*orphans, *drop}],
        "current": live["key"] if live else None, "stored": _relied_on(wanted, live),
        "old_stores": stores.in_tags(tags),
        "takes": _unowned(live),
    }  # fmt: skip


def _unowned(live: Mapping[str, Any] | None) -> list[str]:
    """The ids of the existing stores without an owner; a plan shows them before they are written."""
    there = live["stores"].items() if live else ()
    return sorted(i for i, seen in there if seen.get("exists") and not owner_of(seen.get("tags") or {}))


def _relied_on(wanted: list[dict[str, Any]], live: Mapping[str, Any] | None) -> bool:
    """Whether any store holds a password that works now."""
    key = next((k for k in live["keys"] if k["id"] == live["key"] and k["status"] == "Active"), None) if live else None
    if live is None or key is None:
        return False
    return any(stores.is_proven(live["stores"].get(stores.id_of(s)), s, key["id"]) for s in wanted)


def create_key(aws: Aws, scope: str, request: Mapping[str, Any], now: str) -> str:
    """Create one key, store it and record it on the user; returns its id. It may be interrupted anywhere.

    ``request`` comes from ``key_request``; ``now`` is the time that is recorded (ISO 8601). Raises ReconError;
    stores.Taken where this stack may not write a store, before a key is created wherever that can be seen then.
    """
    user, wanted, adoptable = request["user"], request["stores"], request["takes"]
    live_stores = {stores.id_of(s): stores.read_store(aws, s, adoptable) for s in wanted}
    _delete_keys(aws, scope, request, live_stores)
    removed = stores.without(request.get("old_stores") or (), wanted)
    intent = {KEY_INTENT: " ".join([now, *request["known"]]), **_store_tags([*wanted, *removed])}
    retry_until_visible(lambda: aws.call("iam", "TagUser", UserName=user, Tags=tags_to_aws(intent)))
    made, doubtful = keys.create(aws, user, set(request["known"]))
    key_id, secret = str(made["AccessKeyId"]), str(made["SecretAccessKey"])
    created = made["CreateDate"].isoformat() if made.get("CreateDate") else now
    if request.get("stored"):
        keys.wait_accepted(aws, made)
    for number, store in enumerate(wanted):
        try:
            text = stores.derive(store, key_id, secret, created)
            live = live_stores[stores.id_of(store)]
            # A new store is created, and AWS refuses where it exists by now; an existing one is read once more.
            stores.put(aws, scope, user, store, key_id, text, adoptable, None if live["exists"] else live)
        except stores.Taken:
            if not number:
                # Nothing is stored yet, and the id of the key is known for certain: undo.
                keys.delete(aws, user, key_id)
                aws.call("iam", "UntagUser", UserName=user, TagKeys=[KEY_INTENT])
            raise
    unexpected = {k["id"] for k in keys.list_keys(aws, user)} - {*request["known"], key_id} if doubtful else set()
    _record_key(aws, scope, request, key_id, now, close=not unexpected)
    if unexpected:
        raise ReconError(
            f"{key_id} was created and stored, but {', '.join(sorted(unexpected))} appeared too, from a call that "
            "AWS had reported as failed",
            hint="apply again: the plan names that key, then deletes it",
        )
    return key_id


def _delete_keys(
    aws: Aws, scope: str, request: Mapping[str, Any], live_stores: Mapping[str, Mapping[str, Any]]
) -> None:  # fmt: skip
    """Delete the orphans and ``drop``; stores with an orphan's passwords first get back those of the current key."""
    user = request["user"]
    for orphan in request["orphans"]:
        for store in request["stores"] if request.get("current") else ():
            if stores.is_proven(live_stores[stores.id_of(store)], store, orphan):
                stores.rewrite_kept_value(aws, scope, user, store, request["current"])
        keys.delete(aws, user, orphan)
    for key in request.get("drop") or ():
        keys.delete(aws, user, key)


def record(aws: Aws, scope: str, request: Mapping[str, Any], key_id: str, now: str) -> None:
    """Finish an interrupted ``create_key`` after which every store holds the key's value, current or not."""
    for store in request["stores"]:
        if not stores.is_proven(stores.describe(aws, store), store, key_id):
            stores.rewrite_kept_value(aws, scope, request["user"], store, key_id)
    _retag(aws, scope, request)
    _record_key(aws, scope, request, key_id, now)


def _retag(aws: Aws, scope: str, request: Mapping[str, Any]) -> None:
    for store in request.get("retag") or ():
        stores.read_store(aws, store, request["takes"])
        stores.retag(aws, scope, request["user"], store)


def _record_key(
    aws: Aws, scope: str, request: Mapping[str, Any], key_id: str, now: str, *, close: bool = True
) -> None:  # fmt: skip
    """Write on the user which key is stored, and close the intent; then delete stores that are no longer declared.

    Without ``close`` the intent stays open: there is a key that no answer named.
    """
    user = request["user"]
    removed = stores.without(request.get("old_stores") or (), request["stores"])
    tags = {KEY: key_id, KEY_SINCE: now}
    drop = [KEY_OUT, *([KEY_INTENT] if close else [])]
    if known := [key for key in request["known"] if key != key_id]:
        tags[KEY_BEFORE] = " ".join(known)
    else:
        drop.append(KEY_BEFORE)
    if request.get("previous"):
        tags[KEY_OLD] = request["previous"]
        if request.get("off"):
            tags[KEY_OFF] = now
        else:
            drop.append(KEY_OFF)
    aws.call("iam", "TagUser", UserName=user, Tags=tags_to_aws(tags))
    aws.call("iam", "UntagUser", UserName=user, TagKeys=drop)
    _delete_stores(aws, scope, user, removed, request["stores"])


def _delete_stores(
    aws: Aws, scope: str, user: str, removed: list[stores.Store], kept: Iterable[stores.Store]
) -> None:  # fmt: skip
    """Delete stores, and only then remove them from the user's tags: an interrupted run must still know them."""
    if not removed:
        return
    for store in removed:
        stores.delete(aws, scope, store)
    before, after = _store_tags([*kept, *removed]), _store_tags(kept)
    aws.call("iam", "TagUser", UserName=user, Tags=tags_to_aws(after))
    if set(before) - set(after):
        aws.call("iam", "UntagUser", UserName=user, TagKeys=sorted(set(before) - set(after)))


def _store_tags(kept: Iterable[stores.Store]) -> dict[str, str]:
    """The user tags that name the stores of its credential, and their regions."""
    known = list(kept)
    regions = {r for s in known for r in s["regions"]}
    return {
        **pack((stores.id_of(s) for s in known), stores.STORES),
        **pack(regions, stores.KEY_REGIONS),
    }


def repair(aws: Aws, scope: str, request: Mapping[str, Any]) -> None:
    """Fix what needs no new key: restore, copy, rewrite or retag stores, delete orphans, close an open intent."""
    user, wanted, key_id = request["user"], request["stores"], request["current"]
    for orphan in request["orphans"]:
        keys.delete(aws, user, orphan)
    if request.get("activate"):
        keys.switch(aws, user, request["activate"], on=True)
    for store in request.get("restore") or ():
        if not stores.rewrite_kept_value(aws, scope, user, store, key_id):
            raise ReconError(
                f"{stores.label(store)} no longer keeps the passwords of {key_id}", hint=f"recon smtp rotate {user}"
            )
    removed = list(request.get("gone") or ())
    if request.get("copy"):
        # The user's tags name them before they are created, so that an interrupted run finds them again.
        aws.call("iam", "TagUser", UserName=user, Tags=tags_to_aws(_store_tags([*wanted, *removed])))
        _copy_stores(aws, scope, request)
    for store in request.get("kms") or ():
        live = stores.read_store(aws, store, request["takes"])
        if store["type"] == "secretsmanager":
            stores.restore_secret(aws, store, live)
        else:
            text = json.dumps(stores.read(aws, store))
            stores.put(aws, scope, user, store, key_id, text, request["takes"], live)
    _retag(aws, scope, request)
    if request.get("close"):
        aws.call("iam", "UntagUser", UserName=user, TagKeys=[KEY_INTENT])
    _delete_stores(aws, scope, user, removed, wanted)


def _copy_stores(aws: Aws, scope: str, request: Mapping[str, Any]) -> None:
    """Write the stores in ``copy`` from the values of the proven ``sources``."""
    user, key_id = request["user"], request["current"]
    passwords: dict[str, str] = {}
    created, secret = "", None
    for source in request["sources"]:
        found = stores.read(aws, source)
        if found["username"] != key_id:
            raise ReconError(f"{stores.label(source)} no longer holds the key {key_id}", hint="plan again")
        passwords |= stores.passwords_in(found)
        created = str(found.get("created_at") or created)
        secret = stores.secret_key_in(found) or secret
    for store in request["copy"]:
        if secret:
            text = stores.derive(store, key_id, secret, created)
        elif set(store["regions"]) <= set(passwords) and not store.get("secret"):
            text = stores.value(store, key_id, passwords, created)
        else:
            raise ReconError(
                f"{stores.label(store)} cannot be made from what is stored: the password of a region is missing",
                hint=f"recon smtp rotate {user}",
            )
        stores.put(aws, scope, user, store, key_id, text, request["takes"])
