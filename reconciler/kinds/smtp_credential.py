"""SMTP credential: one access key of an SMTP user, and the passwords derived from it, in Secrets Manager or SSM.

Managed:  that our key exists and is active, and that every store holds what derives from it.
Reads:    iam ListAccessKeys; secretsmanager DescribeSecret or ssm DescribeParameters. No secret value is read: a
          version id (or the parameter's description) that is the hash of key id, regions and format proves the value.
Writes:   CreateAccessKey, CreateSecret/PutSecretValue or PutParameter, TagUser; UpdateAccessKey, DeleteAccessKey.
Owned:    the key named in the user's tag ``recon:key`` (and ``recon:key-old``), and any key made since an open
          ``recon:key-intent``. Every other key is foreign, shown, and never touched.
Source:   SES Developer Guide, "Obtaining Amazon SES SMTP credentials"; Secrets Manager API, PutSecretValue
          (ClientRequestToken); SSM API, PutParameter; IAM User Guide, "Managing access keys".
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from reconciler import regions
from reconciler.errors import AwsError, ReconError
from reconciler.kinds import base, smtp_user
from reconciler.kinds.base import Step, World
from reconciler.mail.sigv4 import smtp_password
from reconciler.model import ActionName, Address, Change, Desired, Entry, Observed, State

if TYPE_CHECKING:
    from reconciler.aws import Aws

NAME = "smtp_credential"
KEY_OLD = "recon:key-old"
STORES = "recon:stores"
PORT = 587
FORMAT = "1"
REGION_MARK = "${region}"


def address_of(name: str) -> Address:
    return f"{NAME}/{name}"


class SmtpCredential:
    name = NAME
    reads = ("iam:ListAccessKeys", "secretsmanager:DescribeSecret", "ssm:DescribeParameters", "ssm:ListTagsForResource")
    writes = (
        "iam:TagUser",
        "iam:CreateAccessKey",
        "secretsmanager:CreateSecret",
        "secretsmanager:PutSecretValue",
        "secretsmanager:RestoreSecret",
        "secretsmanager:TagResource",
        "secretsmanager:UpdateSecret",
        "ssm:PutParameter",
        "ssm:AddTagsToResource",
        "iam:UntagUser",
        "iam:UpdateAccessKey",
        "iam:DeleteAccessKey",
        "secretsmanager:DeleteSecret",
        "ssm:DeleteParameter",
    )

    # -- desired ----------------------------------------------------------------------------------------------------

    def desired(self, state: State) -> Iterable[Desired]:
        covered = covered_regions(state)
        for entry in state.section("smtp_users"):
            stores = _stores(entry, state, covered)
            spec = {"regions": covered, "stores": stores, "credentials": dict(entry.values.get("credentials") or {})}
            yield Desired(address_of(entry.name), NAME, None, entry.name, spec, entry)

    # -- observed ---------------------------------------------------------------------------------------------------

    def observe(self, aws: Aws, world: World) -> None:
        """Needs the users (``smtp_user.observe`` comes first): their tags say which key is ours."""
        names = {o.name for o in world.observed.values() if o.kind == smtp_user.NAME}

        def one(name: str) -> tuple[str, Observed | None, ReconError | None]:
            if world.unknown(smtp_user.address_of(name)):
                return name, None, None
            try:
                return name, self._read(aws, world, name), None
            except ReconError as error:
                return name, None, error

        for name, found, error in aws.parallel(one, sorted({*names, *(d.name for d in world.kind(NAME))})):
            if error is not None:
                world.unreadable(address_of(name), error.message, error.hint)
            elif found is not None:
                world.observed[found.address] = found
            elif world.unknown(smtp_user.address_of(name)):
                world.unreadable(address_of(name), "its user could not be read")

    def _read(self, aws: Aws, world: World, name: str) -> Observed | None:
        desired = world.desired.get(address_of(name))
        declared = list(desired.spec["stores"]) if desired else []
        return self._read_one(aws, name, world.observed.get(smtp_user.address_of(name)), declared, world.scope)

    def _read_one(
        self, aws: Aws, name: str, user: Observed | None, declared: list[dict[str, Any]], scope: str = ""
    ) -> Observed | None:
        tags: Mapping[str, str] = user.facts["key_tags"] if user else {}
        keys = _list_keys(aws, name) if user else []
        remembered = [_parse_store(item) for item in base.unpack(tags, STORES)]
        stores = {}
        for store in declared + [s for s in remembered if not any(_same_store(s, d) for d in declared)]:
            stores[_store_id(store)] = _read_store(aws, store)
        if user is None and not any(s["exists"] for s in stores.values()):
            return None
        ours = {tags.get(base.KEY), tags.get(KEY_OLD)} - {None}
        orphans = []
        if base.KEY_INTENT in tags:
            known = set(tags[base.KEY_INTENT].split()[1:])
            orphans = [k["id"] for k in keys if k["id"] not in known and k["id"] not in ours]
        foreign = [k["id"] for k in keys if k["id"] not in ours and k["id"] not in orphans]
        spec = {"keys": keys, "stores": stores, "key": tags.get(base.KEY), "orphans": orphans, "old": tags.get(KEY_OLD)}
        facts = {
            "foreign": foreign,
            "ours": bool(user and base.owner_of(user.tags) == scope),
            "intent": base.KEY_INTENT in tags,
        }
        return Observed(address_of(name), NAME, None, name, spec, dict(tags), facts)

    def reread(self, aws: Aws, change: Change) -> str | None:
        """The fingerprint of the credential as it is now, None where nothing of it exists."""
        name = change.execution["user"]
        live = self._read_one(aws, name, smtp_user.SmtpUser().read(aws, "", name), list(change.execution["stores"]))
        return live.digest if live else None

    # -- compared ---------------------------------------------------------------------------------------------------

    def plan(self, world: World) -> Iterable[Change]:
        for address in world.addresses(NAME):
            user = smtp_user.address_of(address.split("/", 1)[1])
            if world.unknown(address) or world.unknown(user):
                continue
            owner = world.observed.get(user)
            if owner is not None and base.owner_of(owner.tags) not in {None, world.scope}:
                continue
            desired, live = world.desired.get(address), world.observed.get(address)
            change = self._plan_declared(world, desired, live) if desired else self._plan_delete(world, live)
            if change is not None:
                yield change

    def _plan_declared(self, world: World, desired: Desired, live: Observed | None) -> Change | None:
        user = smtp_user.address_of(desired.name)
        keys = list(live.spec["keys"]) if live else []
        current = next((k for k in keys if live and k["id"] == live.spec["key"]), None)
        stores: Mapping[str, Any] = live.spec["stores"] if live else {}
        for store in desired.spec["stores"]:
            there = stores.get(_store_id(store)) or {}
            owner = base.owner_of(there.get("tags") or {})
            if there.get("exists") and owner not in {None, world.scope}:
                world.refuse(
                    "owned-elsewhere",
                    f"{_store_words(store)} belongs to {owner}",
                    address=desired.address,
                    source=desired.source_of("credentials"),
                    hint="store this user's credential under another name",
                )
                return None
        wrong = [
            s for s in desired.spec["stores"] if not current or not _true(stores.get(_store_id(s)), s, current["id"])
        ]
        orphans = list(live.spec["orphans"]) if live else []
        shown = {"regions": desired.spec["regions"], "credentials": [_store_words(s) for s in desired.spec["stores"]]}
        execution: dict[str, Any] = {
            "user": desired.name,
            "stores": desired.spec["stores"],
            "orphans": orphans,
            "regions": desired.spec["regions"],
            "old_stores": [_parse_store(i) for i in sorted(base.unpack(live.tags, STORES))] if live else [],
            "known": [k["id"] for k in keys if k["id"] not in orphans],
        }
        if current and not wrong:
            return self._plan_small(desired, live, current, orphans, shown, execution)
        room = 2 - (len(keys) - len(orphans))
        if room < 1:
            assert live is not None
            listed = "; ".join(f"{k['id']} ({k['status']}, made {k['created']}{_who(k, live)})" for k in keys)
            world.blocked(
                "two-keys",
                f"{desired.address} needs a new access key, but the user has two already: {listed}",
                hint=f"name the one to replace: recon smtp rotate {desired.name} --replace KEYID",
                address=desired.address,
                source=desired.entry.source,
            )
            return None
        after = {"access_key": None, "status": "Active", **shown}
        execution["new_key"] = True
        execution["previous"] = current["id"] if current else None
        notes = []
        before = None
        adopted = [
            s
            for s in desired.spec["stores"]
            if (stores.get(_store_id(s)) or {}).get("exists")
            and not base.owner_of((stores.get(_store_id(s)) or {}).get("tags") or {})
        ]
        if adopted:
            notes.append(
                base.note(
                    "secret-taken-over",
                    "warning",
                    f"{', '.join(_store_words(s) for s in adopted)} exists and gets a new value",
                )
            )
        if live is not None and (live.spec["key"] or current):
            before = {
                "access_key": live.spec["key"],
                "status": current["status"] if current else "deleted",
                "regions": desired.spec["regions"],
                "credentials": [_store_words(s) for s in desired.spec["stores"] if s not in wrong],
            }
            why = "the key is gone" if current is None else "a store does not hold this key's passwords for all regions"
            notes.append(base.note("new-key", "warning", f"{why}: a new key is made and stored; the passwords change"))
            if current:
                notes.append(
                    base.note("old-key-stays", "note", f"{current['id']} stays active until it is rotated out")
                )
        if orphans:
            notes.append(
                base.note(
                    "orphan-key", "note", f"deletes {', '.join(orphans)}, made by an interrupted run and stored nowhere"
                )
            )
        diff = base.differences(before, after, desired=desired)
        action: ActionName = "create" if before is None else "update"
        if adopted and before is None:
            action = "adopt"
        return Change(
            desired.address,
            NAME,
            action,
            before,
            after,
            diff,
            ("access_key",),
            (user,),
            tuple(notes),
            desired.source_of("credentials"),
            live.digest if live else None,
            None,
            execution,
        )

    def _plan_small(
        self,
        desired: Desired,
        live: Observed | None,
        current: Mapping[str, Any],
        orphans: list[str],
        shown: Mapping[str, Any],
        execution: dict[str, Any],
    ) -> Change | None:
        """The key and the stores are right; what may be left is its status, an orphan, or a store's KMS key."""
        assert live is not None
        # An intent left open after its key was stored must be closed, or a later key of somebody else would be taken
        # for ours.
        before = {
            "access_key": current["id"],
            "status": current["status"],
            "orphan_keys": orphans or None,
            "open_intent": True if live.facts["intent"] else None,
        }
        after: dict[str, Any] = {
            "access_key": current["id"],
            "status": "Active",
            "orphan_keys": None,
            "open_intent": None,
        }
        kms = {}
        for store in desired.spec["stores"]:
            there = live.spec["stores"][_store_id(store)]
            if store.get("kms_key_id") and not _same_key(there.get("kms_key_id"), store["kms_key_id"]):
                before[f"kms_key_id.{store['region']}"] = there.get("kms_key_id")
                after[f"kms_key_id.{store['region']}"] = store["kms_key_id"]
                kms[_store_id(store)] = store
        gone = [s for s in execution["old_stores"] if not any(_same_store(s, d) for d in desired.spec["stores"])]
        if before == after and not gone:
            return None
        notes = []
        if orphans:
            notes.append(
                base.note(
                    "orphan-key", "note", f"deletes {', '.join(orphans)}, made by an interrupted run and stored nowhere"
                )
            )
        if current["status"] != "Active":
            notes.append(
                base.note("key-reactivated", "warning", "somebody switched this key off; it is switched on again")
            )
        if gone:
            before["credentials"], after["credentials"] = [_store_words(s) for s in gone], None
        execution |= {
            "close": live.facts["intent"],
            "activate": current["id"] if current["status"] != "Active" else None,
            "kms": list(kms.values()),
            "gone": gone,
        }
        before, after = (
            {k: v for k, v in d.items() if v is not None or k in both}
            for d, both in ((before, set(after)), (after, set(before)))
        )
        return Change(
            desired.address,
            NAME,
            "update",
            before,
            after,
            base.differences(before, after, desired=desired),
            (),
            (smtp_user.address_of(desired.name),),
            tuple(notes),
            desired.source_of("credentials"),
            live.digest,
            None,
            execution,
        )

    def _plan_delete(self, world: World, live: Observed | None) -> Change | None:
        user = world.observed.get(smtp_user.address_of(live.name)) if live else None
        if (
            live is None
            or user is None
            or base.owner_of(user.tags) != world.scope
            or user.tags.get(base.PROTECT) == "true"
        ):
            return None
        ours = [k["id"] for k in live.spec["keys"] if k["id"] not in live.facts["foreign"]]
        stores = [_parse_store(item) for item in sorted(base.unpack(live.tags, STORES))]
        stores = [s for s in stores if (live.spec["stores"].get(_store_id(s)) or {}).get("exists")]
        if not ours and not stores:
            return None
        before = {"access_keys": ours, "credentials": [_store_words(s) for s in stores]}
        return Change(
            live.address,
            NAME,
            "delete",
            before,
            None,
            base.differences(before, None),
            observed_digest=live.digest,
            notes=(
                base.note(
                    "credential-deleted",
                    "warning",
                    "the key ends at once; its secret can be restored for 30 days (Secrets Manager)",
                ),
            ),
            execution={"user": live.name, "keys": ours, "stores": stores},
        )

    # -- written ----------------------------------------------------------------------------------------------------

    def steps(self, change: Change) -> Iterable[Step]:
        run = change.execution
        user = smtp_user.address_of(run["user"])
        if change.action == "delete":
            yield Step(
                change.address,
                "delete",
                (),
                lambda rt: _delete(rt, run),
                calls=("iam:DeleteAccessKey", "secretsmanager:DeleteSecret"),
            )
            return
        needs = (f"{user}#create", f"{user}#update")
        if run.get("new_key"):
            yield Step(
                change.address,
                "create",
                needs,
                lambda rt: _issue(rt, run),
                calls=(
                    "iam:TagUser",
                    "iam:CreateAccessKey",
                    *("secretsmanager:PutSecretValue",) * len(run["stores"]),
                    "iam:TagUser",
                    "iam:UntagUser",
                ),
            )
            return
        yield Step(change.address, "update", needs, lambda rt: _mend(rt, run), calls=("iam:UpdateAccessKey",))


# --- stores --------------------------------------------------------------------------------------------------------


def covered_regions(state: State) -> list[str]:
    """Where passwords must work: every region in which the stack has an identity and SES has an SMTP endpoint."""
    found = {e.region for e in (*state.section("domains"), *state.section("email_addresses")) if e.region}
    return sorted(r for r in (found or set(state.stack.regions)) if regions.has_smtp(r))


def _stores(entry: Entry, state: State, covered: list[str]) -> list[dict[str, Any]]:
    """Where it is kept: ``[{type, region, name, regions, flat, kms_key_id?}]``; one a region with ``${region}``."""
    block = dict(entry.values.get("credentials") or {})
    kind = "secretsmanager" if "secretsmanager" in block else "ssm"
    target = dict(block.get(kind) or {})
    name = str(target.get("name"))
    region = block.get("region") or target.get("region")
    base_store: dict[str, Any] = {"type": kind}
    if target.get("kms_key_id"):
        base_store["kms_key_id"] = target["kms_key_id"]
    if REGION_MARK in name:
        return [
            {
                **base_store,
                "region": str(region or r),
                "name": name.replace(REGION_MARK, r),
                "regions": [r],
                "flat": True,
            }
            for r in covered
        ]
    return [
        {**base_store, "region": str(region or state.stack.regions[0]), "name": name, "regions": covered, "flat": False}
    ]


def _store_id(store: Mapping[str, Any]) -> str:
    return f"{store['type']}:{store['region']}:{store['name']}"


def _parse_store(text: str) -> dict[str, Any]:
    kind, region, name = text.split(":", 2)
    return {"type": kind, "region": region, "name": name, "regions": [], "flat": False}


def _same_store(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return _store_id(one) == _store_id(other)


def _store_words(store: Mapping[str, Any]) -> str:
    return f"{store['type']} {store['name']} in {store['region']}"


def proof(key_id: str, store: Mapping[str, Any]) -> str:
    """The hash that names a stored value without saying it: key id, regions, form. 64 hex digits, as Secrets Manager's
    ClientRequestToken allows (PutSecretValue)."""
    text = "|".join((key_id, ",".join(sorted(store["regions"])), "flat" if store["flat"] else "all", FORMAT))
    return hashlib.sha256(text.encode()).hexdigest()


def _true(there: Mapping[str, Any] | None, store: Mapping[str, Any], key_id: str) -> bool:
    return bool(there and there["exists"] and not there.get("deleted") and there.get("proof") == proof(key_id, store))


def _same_key(live: str | None, written: str) -> bool:
    """Whether a store's KMS key is the one written; AWS may answer with the ARN of what was given as id or alias."""
    return bool(live) and (live == written or str(live).endswith(("/" + written, ":" + written)))


def _read_store(aws: Aws, store: Mapping[str, Any]) -> dict[str, Any]:
    """What may be known of a store without reading its value: existence, proof, tags, KMS key."""
    if store["type"] == "secretsmanager":
        try:
            live = aws.call("secretsmanager", "DescribeSecret", store["region"], SecretId=store["name"])
        except AwsError as error:
            if error.aws_code == "ResourceNotFoundException":
                return {"exists": False}
            raise
        current = next(
            (v for v, stages in (live.get("VersionIdsToStages") or {}).items() if "AWSCURRENT" in stages), None
        )
        return {
            "exists": True,
            "proof": current,
            "tags": base.tags_from_aws(live.get("Tags")),
            "deleted": bool(live.get("DeletedDate")),
            "kms_key_id": live.get("KmsKeyId"),
        }
    answer = aws.call(
        "ssm",
        "DescribeParameters",
        store["region"],
        ParameterFilters=[{"Key": "Name", "Option": "Equals", "Values": [store["name"]]}],
    )
    found = next((p for p in answer.get("Parameters") or () if p["Name"] == store["name"]), None)
    if found is None:
        return {"exists": False}
    tags = aws.call(
        "ssm", "ListTagsForResource", store["region"], ResourceType="Parameter", ResourceId=store["name"]
    ).get("TagList")
    description = str(found.get("Description") or "")
    return {
        "exists": True,
        "proof": description.removeprefix("recon ") if description.startswith("recon ") else None,
        "tags": base.tags_from_aws(tags),
        "kms_key_id": found.get("KeyId"),
        "secure": found.get("Type") == "SecureString",
    }


def _list_keys(aws: Aws, name: str) -> list[dict[str, Any]]:
    try:
        listed = list(aws.pages("iam", "ListAccessKeys", "AccessKeyMetadata", token_in="Marker", UserName=name))
    except AwsError as error:
        if error.aws_code == "NoSuchEntity":
            return []
        raise
    return [
        {
            "id": k["AccessKeyId"],
            "status": k["Status"],
            "created": k["CreateDate"].isoformat() if k.get("CreateDate") else None,
        }
        for k in sorted(listed, key=lambda k: str(k["AccessKeyId"]))
    ]


def _who(key: Mapping[str, Any], live: Observed) -> str:
    return ", not made by recon" if key["id"] in live.facts["foreign"] else ""


# --- carrying out --------------------------------------------------------------------------------------------------


def _issue(rt: base.Runtime, run: Mapping[str, Any]) -> None:
    """Make one key, store what derives from it, and remember which key is ours; safe to be cut off anywhere.

    The intent is written before the key, with the ids that exist: whatever else appears later and is stored nowhere
    was made by us. The secret lives in local variables of this function and nowhere else.
    """
    user = run["user"]
    for orphan in run["orphans"]:
        _delete_key(rt, user, orphan)
    intent = " ".join([time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), *run["known"]])
    smtp_user.settle(
        lambda: rt.aws.call("iam", "TagUser", UserName=user, Tags=[{"Key": base.KEY_INTENT, "Value": intent}])
    )
    made = _create_key(rt, user, set(run["known"]))
    key_id = str(made["AccessKeyId"])
    created = (
        made["CreateDate"].isoformat() if made.get("CreateDate") else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    )
    for store in run["stores"]:
        _put_store(rt, store, key_id, _value(store, key_id, str(made["SecretAccessKey"]), created), user)
    tags = {base.KEY: key_id, **base.pack((_store_id(s) for s in run["stores"]), STORES)}
    if run.get("previous"):
        tags[KEY_OLD] = run["previous"]
    rt.aws.call("iam", "TagUser", UserName=user, Tags=base.tags_to_aws(tags))
    rt.aws.call("iam", "UntagUser", UserName=user, TagKeys=[base.KEY_INTENT])
    for old in run.get("old_stores") or ():
        if not any(_same_store(old, s) for s in run["stores"]):
            _delete_store(rt, old)


def _create_key(rt: base.Runtime, user: str, known: set[str]) -> Mapping[str, Any]:
    """CreateAccessKey, never blindly repeated: each call makes another key (IAM API, CreateAccessKey)."""
    from reconciler.aws.client import THROTTLED

    for attempt in range(5):
        try:
            answer: Mapping[str, Any] = rt.aws.call("iam", "CreateAccessKey", retry=False, UserName=user)["AccessKey"]
            return answer
        except AwsError as error:
            if error.aws_code in {*THROTTLED, "NoSuchEntity"}:
                time.sleep(min(0.5 * 2**attempt, 5.0))
                continue
            if error.status and error.status < 500:
                raise
            # The answer was lost; the key may exist all the same, and its secret is gone for good.
            last = error
        time.sleep(min(0.5 * 2**attempt, 5.0))
        for key in _list_keys(rt.aws, user):
            if key["id"] not in known:
                _delete_key(rt, user, key["id"])
    raise ReconError(
        f"no access key could be made for {user}: {last.message if 'last' in locals() else 'throttled'}",
        hint="run apply again; a key whose answer was lost is found and deleted",
    )


def _value(store: Mapping[str, Any], key_id: str, secret: str, created: str) -> str:
    """The JSON that is stored (contract, section 2): flat for one region, else all regions in one value."""

    def one(region: str) -> dict[str, Any]:
        return {"password": smtp_password(secret, region), "host": regions.smtp_host(region), "port": PORT}

    if store["flat"]:
        region = store["regions"][0]
        return json.dumps({"username": key_id, **one(region), "region": region, "created_at": created})
    return json.dumps({"username": key_id, "created_at": created, "regions": {r: one(r) for r in store["regions"]}})


def _put_store(rt: base.Runtime, store: Mapping[str, Any], key_id: str, value: str, user: str) -> None:
    token = proof(key_id, store)
    tags = [{"Key": base.STACK, "Value": rt.scope}, {"Key": "recon:user", "Value": user}]
    region, name = store["region"], store["name"]
    if store["type"] == "ssm":
        request: dict[str, Any] = {
            "Name": name,
            "Value": value,
            "Type": "SecureString",
            "Description": f"recon {token}",
        }
        if store.get("kms_key_id"):
            request["KeyId"] = store["kms_key_id"]
        if len(value) > 4096:
            request["Tier"] = "Advanced"
        rt.aws.call("ssm", "PutParameter", region, Overwrite=True, **request)
        rt.aws.call("ssm", "AddTagsToResource", region, ResourceType="Parameter", ResourceId=name, Tags=tags)
        return
    kms = {"KmsKeyId": store["kms_key_id"]} if store.get("kms_key_id") else {}
    try:
        rt.aws.call(
            "secretsmanager",
            "CreateSecret",
            region,
            Name=name,
            SecretString=value,
            ClientRequestToken=token,
            Tags=tags,
            Description=f"SMTP credential of {user}, kept by recon",
            **kms,
        )
        return
    except AwsError as error:
        scheduled = error.aws_code == "InvalidRequestException"
        if error.aws_code != "ResourceExistsException" and not scheduled:
            raise
    live = rt.aws.call("secretsmanager", "DescribeSecret", region, SecretId=name)
    owner = base.owner_of(base.tags_from_aws(live.get("Tags")))
    if owner not in {None, rt.scope}:
        raise ReconError(
            f"the secret {name} in {region} belongs to {owner}", hint="store this credential under another name"
        )
    if live.get("DeletedDate"):
        # A name that waits for deletion stays taken for up to 30 days (Secrets Manager API, DeleteSecret).
        rt.aws.call("secretsmanager", "RestoreSecret", region, SecretId=name)
    if kms and not _same_key(live.get("KmsKeyId"), kms["KmsKeyId"]):
        rt.aws.call("secretsmanager", "UpdateSecret", region, SecretId=name, **kms)
    rt.aws.call("secretsmanager", "PutSecretValue", region, SecretId=name, SecretString=value, ClientRequestToken=token)
    rt.aws.call("secretsmanager", "TagResource", region, SecretId=name, Tags=tags)


def _mend(rt: base.Runtime, run: Mapping[str, Any]) -> None:
    user = run["user"]
    for orphan in run["orphans"]:
        _delete_key(rt, user, orphan)
    if run.get("close"):
        rt.aws.call("iam", "UntagUser", UserName=user, TagKeys=[base.KEY_INTENT])
    if run.get("activate"):
        rt.aws.call("iam", "UpdateAccessKey", UserName=user, AccessKeyId=run["activate"], Status="Active")
    for store in run.get("kms") or ():
        if store["type"] == "secretsmanager":
            rt.aws.call(
                "secretsmanager", "UpdateSecret", store["region"], SecretId=store["name"], KmsKeyId=store["kms_key_id"]
            )
    gone = run.get("gone") or ()
    for store in gone:
        _delete_store(rt, store)
    if gone:
        rt.aws.call(
            "iam",
            "TagUser",
            UserName=user,
            Tags=base.tags_to_aws(base.pack((_store_id(s) for s in run["stores"]), STORES)),
        )


def _delete(rt: base.Runtime, run: Mapping[str, Any]) -> None:
    # Keys first: from then on nothing that is still stored can log in.
    for key in run["keys"]:
        _delete_key(rt, run["user"], key)
    for store in run["stores"]:
        _delete_store(rt, store)


def _delete_key(rt: base.Runtime, user: str, key: str) -> None:
    try:
        rt.aws.call("iam", "DeleteAccessKey", UserName=user, AccessKeyId=key)
    except AwsError as error:
        if error.aws_code != "NoSuchEntity":
            raise


def _delete_store(rt: base.Runtime, store: Mapping[str, Any]) -> None:
    try:
        if store["type"] == "ssm":
            rt.aws.call("ssm", "DeleteParameter", store["region"], Name=store["name"])
        else:
            rt.aws.call(
                "secretsmanager", "DeleteSecret", store["region"], SecretId=store["name"], RecoveryWindowInDays=30
            )
    except AwsError as error:
        if error.aws_code not in {"ResourceNotFoundException", "ParameterNotFound", "InvalidRequestException"}:
            raise
