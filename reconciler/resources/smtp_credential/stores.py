"""Where a credential is kept: Secrets Manager or SSM. Read without its value, and written so that it is proven later.

A stored value is proven, not read: in Secrets Manager the id of the version that carries AWSCURRENT is the hash of key
id, regions and form (it was the ClientRequestToken of the write); in SSM the description says the hash and the version
that it belongs to, so that a later write of somebody else is seen even where SSM keeps the description.

A value of ours that is no longer current, after somebody wrote over it, can be written again: from AWSPREVIOUS, or from
the version that the description tells of. In Secrets Manager a version id is good for one write only, so the hash has a
few editions.

Source: Secrets Manager API, PutSecretValue, RestoreSecret, DeleteSecret; SSM API, PutParameter, GetParameter
(``NAME:VERSION``), DescribeParameters.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from reconciler import regions
from reconciler.errors import AwsError, ReconError
from reconciler.kinds.ownership import STACK, left_alone, owner_of, unpack
from reconciler.kinds.shape import TEXT_MAP, Shape
from reconciler.kinds.tags import plan_tags, present, tags_from_aws, tags_to_aws
from reconciler.mail.sigv4 import smtp_password
from reconciler.model import Entry, State

if TYPE_CHECKING:
    from reconciler.aws import Aws

USER = "recon:user"
"""Tag of a store: whose password it is."""
STORES = "recon:stores"
"""User tag: which stores hold this user's credential."""
_ID = re.compile(r"(?:secretsmanager|ssm):[a-z0-9-]+:.+")
KEY_REGIONS = "recon:key-regions"
"""User tag: the regions that the stored credential covers."""
PORT = 587
FORMAT = "1"
REGION_MARK = "${region}"
WINDOW_DAYS = 30
FORM: Shape = {
    "type": str, "region": str, "name": str, "regions": [str], "flat?": bool, "kms_key_id?": (str, None),
    "tags?": TEXT_MAP, "untag?": [str],
}  # fmt: skip
"""What a store is in a plan."""
EDITIONS = 4
"""How often one value can be written to one secret: a version id is never written twice."""
CURRENT = "AWSCURRENT"

Store = Mapping[str, Any]
"""``{type, region, name, regions, flat}``, where written with ``kms_key_id``, ``secret`` (the secret access key is
stored too) and ``tags``. ``type`` is ``secretsmanager`` or ``ssm``; ``flat`` marks the form for one region."""


# --- which ---------------------------------------------------------------------------------------------------------


def covered_regions(state: State) -> list[str]:
    """Where passwords must work: every region in which the stack has an identity and SES has an SMTP endpoint."""
    found = {e.region for e in (*state.section("domains"), *state.section("email_addresses")) if e.region}
    return sorted(r for r in (found or set(state.stack.regions)) if regions.has_smtp(r))


def declared(entry: Entry, state: State, covered: list[str]) -> list[dict[str, Any]]:
    """The stores that a user's ``credentials`` name: one, or with ``${region}`` in the name one a region."""
    block = dict(entry.values.get("credentials") or {})
    kind = "secretsmanager" if "secretsmanager" in block else "ssm"
    target = dict(block.get(kind) or {})
    name = str(target.get("name"))
    region = block.get("region")
    common: dict[str, Any] = {"type": kind}
    if target.get("kms_key_id"):
        common["kms_key_id"] = target["kms_key_id"]
    if block.get("include_secret_access_key"):
        common["secret"] = True
    # The entry's own tags are the IAM user's; the stack's are for every taggable resource.
    if tags := {k: str(v) for k, v in state.stack.tags.items() if not left_alone(entry, "tags", k)}:
        common["tags"] = tags
    if REGION_MARK in name:
        return [
            {**common, "region": str(region or r), "name": name.replace(REGION_MARK, r), "regions": [r], "flat": True}
            for r in covered
        ]
    return [
        {**common, "region": str(region or state.stack.regions[0]), "name": name, "regions": covered, "flat": False}
    ]


def tagged(store: Store, live: Mapping[str, Any] | None, entry: Entry) -> dict[str, Any]:
    """A declared store with what a write does to its tags: ``tags`` to set, the list of those that we put among them,
    and ``untag``, what we put before and nobody declares any more. A store whose user was renamed gets its new name."""
    there = (live or {}).get("tags") or {}
    wanted = plan_tags(store.get("tags") or {}, there, "", None, entry)
    put = {key: value for key, value in present(wanted).items() if key != STACK}
    put |= {USER: entry.name} if there.get(USER, entry.name) != entry.name else {}
    drop = sorted(key for key, value in wanted.items() if value is None and key in there)
    kept = {key: value for key, value in store.items() if key != "tags"}
    return {**kept, **({"tags": put} if put else {}), **({"untag": drop} if drop else {})}


def id_of(store: Store) -> str:
    return f"{store['type']}:{store['region']}:{store['name']}"


def parse(text: str) -> dict[str, Any]:
    """A store from ``id_of``; what it holds is not known then."""
    kind, region, name = text.split(":", 2)
    return {"type": kind, "region": region, "name": name, "regions": [], "flat": False}


def remembered(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    """The stores that a user's tags name; what others wrote there and names no store is passed over."""
    return [parse(item) for item in sorted(unpack(tags, STORES)) if _ID.fullmatch(item)]


def same(one: Store, other: Store) -> bool:
    return id_of(one) == id_of(other)


def words(store: Store) -> str:
    return f"{store['type']} {store['name']} in {store['region']}"


def gone_from(old: Iterable[Store], new: Iterable[Store]) -> list[Store]:
    """The stores of ``old`` that ``new`` does not have."""
    kept = {id_of(s) for s in new}
    return [s for s in old if id_of(s) not in kept]


# --- what is there -------------------------------------------------------------------------------------------------


def proof(key_id: str, store: Store, edition: int = 0) -> str:
    """The hash that names a stored value without saying it: key id, regions, form. 64 hex digits, as Secrets Manager's
    ClientRequestToken allows (PutSecretValue)."""
    form = ("flat" if store["flat"] else "all") + ("+secret" if store.get("secret") else "")
    parts = [key_id, ",".join(sorted(store["regions"])), form, FORMAT, *([str(edition)] if edition else [])]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def proofs(key_id: str, store: Store) -> list[str]:
    """Every edition of ``proof``."""
    return [proof(key_id, store, edition) for edition in range(EDITIONS)]


def describe(aws: Aws, store: Store) -> dict[str, Any]:
    """What may be known of a store without reading its value.

    ``{exists}``, and where it does: ``proof`` of the current value (None where it is not ours), ``staged`` (proofs of
    values that are kept beside it), ``tags``, ``kms_key_id``; of a secret ``deleted`` (it waits for its deletion); of a
    parameter ``secure``, its ``version``, and the one that was ``written`` by us (0: none).
    """
    if store["type"] == "secretsmanager":
        live = aws.call_if_there("secretsmanager", "DescribeSecret", store["region"], SecretId=store["name"])
        if live is None:
            return {"exists": False}
        versions = {v: stages for v, stages in (live.get("VersionIdsToStages") or {}).items() if stages}
        return {
            "exists": True, "proof": next((v for v, stages in versions.items() if CURRENT in stages), None),
            "staged": sorted(v for v, stages in versions.items() if CURRENT not in stages),
            "tags": tags_from_aws(live.get("Tags")), "deleted": bool(live.get("DeletedDate")),
            "kms_key_id": live.get("KmsKeyId"),
        }  # fmt: skip
    found = _parameter(aws, store)
    if found is None:
        return {"exists": False}
    try:
        tags = aws.call(
            "ssm", "ListTagsForResource", store["region"], ResourceType="Parameter", ResourceId=store["name"]
        )
    except AwsError as error:
        if error.aws_code == "InvalidResourceId":  # It went between the two reads.
            return {"exists": False}
        raise
    said, _, written = str(found.get("Description") or "").removeprefix("recon ").partition(" v")
    version = int(found.get("Version") or 1)
    # SSM keeps the description when somebody writes another value: what it tells of is an earlier version then.
    ours = int(written) if written.isdecimal() else 0
    return {
        "exists": True, "proof": said if ours == version else None, "staged": [said] if 0 < ours < version else [],
        "tags": tags_from_aws(tags.get("TagList")), "kms_key_id": found.get("KeyId"),
        "secure": found.get("Type") == "SecureString", "version": version, "written": ours,
    }  # fmt: skip


def _parameter(aws: Aws, store: Store) -> dict[str, Any] | None:
    answer = aws.pages(
        "ssm", "DescribeParameters", "Parameters", store["region"],
        ParameterFilters=[{"Key": "Name", "Option": "Equals", "Values": [store["name"]]}],
    )  # fmt: skip
    return next((p for p in answer if p["Name"] == store["name"]), None)


def is_true(live: Mapping[str, Any] | None, store: Store, key_id: str) -> bool:
    """Whether the store is proven to hold what derives from the key."""
    return bool(live and live["exists"] and not live.get("deleted") and live.get("proof") in proofs(key_id, store))


def holds(live: Mapping[str, Any] | None, store: Store, key_id: str) -> str | None:
    """The version that holds the key's value, current or not, waiting for its deletion or not; None where none does."""
    if not live or not live["exists"]:
        return None
    there = (live.get("proof"), *live.get("staged", ()))
    return next((version for version in there if version in proofs(key_id, store)), None)


def same_kms(live: str | None, written: str) -> bool:
    """Whether a store's KMS key is the one written; AWS may answer with the ARN of what was given as id or alias."""
    return bool(live) and (live == written or str(live).endswith(("/" + written, ":" + written)))


# --- what is in it -------------------------------------------------------------------------------------------------


def value(store: Store, key_id: str, passwords: Mapping[str, str], created: str, secret: str | None = None) -> str:
    """The JSON that is stored (contract, section 2): flat for one region, else all regions in one value."""

    def one(region: str) -> dict[str, Any]:
        return {"password": passwords[region], "host": regions.smtp_host(region), "port": PORT}

    more = {"secret_access_key": secret} if store.get("secret") else {}
    if store["flat"]:
        region = store["regions"][0]
        return json.dumps({"username": key_id, **one(region), "region": region, "created_at": created, **more})
    every = {r: one(r) for r in store["regions"]}
    return json.dumps({"username": key_id, "created_at": created, "regions": every, **more})


def derive(store: Store, key_id: str, secret: str, created: str) -> str:
    """The stored value from a secret access key."""
    return value(store, key_id, {r: smtp_password(secret, r) for r in store["regions"]}, created, secret)


def read(aws: Aws, store: Store, version: str | None = None) -> dict[str, Any]:
    """The parsed value of a store; a secret. ``version`` is a version id (Secrets Manager) or number (SSM).

    Raises AwsError, or ReconError where it is not of recon's form; neither says anything of the value.
    """
    if store["type"] == "ssm":
        name = f"{store['name']}:{version}" if version else store["name"]
        text = aws.call("ssm", "GetParameter", store["region"], Name=name, WithDecryption=True)["Parameter"]["Value"]
    else:
        more: dict[str, Any] = {"VersionId": version} if version else {}
        text = aws.call("secretsmanager", "GetSecretValue", store["region"], SecretId=store["name"], **more).get(
            "SecretString"
        )
    found: Any = None
    try:
        found = json.loads(text or "null")
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("username"), str):
        raise ReconError(
            f"{words(store)} does not hold a credential of recon's form", hint="recon apply writes it anew"
        )
    return found


def passwords_in(stored: Mapping[str, Any]) -> dict[str, str]:
    """Region -> password of a stored value, of either form."""
    if isinstance(stored.get("regions"), Mapping):
        return {r: str(part["password"]) for r, part in stored["regions"].items() if part.get("password")}
    if stored.get("region") and stored.get("password"):
        return {str(stored["region"]): str(stored["password"])}
    return {}


def variants(key_id: str, live: Mapping[str, Any], known: Iterable[str], *more: list[str]) -> dict[str, Any] | None:
    """What a store is proven to hold of a key, tried over the forms that it may have: ``{regions, flat, secret}``.

    ``known`` are regions that it may cover alone or together; ``more`` other lists of regions to try whole.
    """
    if not live.get("exists") or live.get("deleted") or not live.get("proof"):
        return None
    every = sorted(set(known))
    lists = [(r, False) for r in ([*every], *more) if r] + [([r], True) for r in every]
    for covers, flat in lists:
        for secret in (False, True):
            guess = {"regions": covers, "flat": flat, "secret": secret}
            if live["proof"] in proofs(key_id, guess):
                return guess
    return None


# --- writing -------------------------------------------------------------------------------------------------------


class Taken(ReconError):
    """A store is somebody else's, and was not written."""


def read_store(aws: Aws, scope: str, store: Store, takes: Container[str]) -> dict[str, Any]:
    """``describe`` right before a write. Raises Taken where the store is not this stack's to write: it has another
    owner, or it has none and is not among ``takes``, the ids of those that the plan showed without one."""
    live = describe(aws, store)
    if live["exists"]:
        owner = owner_of(live["tags"])
        if owner not in {None, scope}:
            raise Taken(f"{words(store)} belongs to {owner}", hint="store this credential under another name")
        if owner is None and id_of(store) not in takes:
            raise Taken(
                f"somebody made {words(store)} since it was read, and it was left alone",
                hint="plan again: it is then shown, and taken over with your consent",
            )
    return live


def put(
    aws: Aws, scope: str, user: str, store: Store, key_id: str, text: str, takes: Container[str] = (),
    live: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Store a value and make it the current one; AWS moves AWSPREVIOUS to the value that was.

    Takes over a store without an owner that is among ``takes``, restores one that waits for its deletion, and sets its
    KMS key. ``live`` is what ``look`` just said of it. Raises Taken where the store is not ours to write.
    """
    live = read_store(aws, scope, store, takes) if live is None else live
    if store["type"] == "ssm":
        _put_parameter(aws, scope, user, store, key_id, text, takes, live)
        return
    region, name, tags = store["region"], store["name"], _tags(scope, user, store)
    # CreateSecret with a token that some version has is answered as done and does nothing: for new names alone.
    if not live["exists"]:
        if _create_secret(aws, user, store, key_id, text, tags):
            return
        live = read_store(aws, scope, store, takes)
    restore(aws, store, live)
    # The owner is written before the value: cut off in between, the next run still knows whose it is.
    retag(aws, scope, user, store)
    for token in proofs(key_id, store):
        try:
            answer = aws.call(
                "secretsmanager", "PutSecretValue", region, SecretId=name, SecretString=text, ClientRequestToken=token
            )
        except AwsError as error:
            # The version is there with another text.
            if error.aws_code != "ResourceExistsException":
                raise
            continue
        # A version that was there already is left in the stage that it has: the next edition is written then.
        if CURRENT in answer.get("VersionStages", (CURRENT,)):
            break
    else:
        raise ReconError(
            f"{words(store)} was written over too often to take the same value again", hint=f"recon smtp rotate {user}"
        )


def _create_secret(aws: Aws, user: str, store: Store, key_id: str, text: str, tags: list[dict[str, str]]) -> bool:
    """CreateSecret; False where the name is taken after all (DescribeSecret trails, or it waits for deletion)."""
    kms = {"KmsKeyId": store["kms_key_id"]} if store.get("kms_key_id") else {}
    try:
        aws.call(
            "secretsmanager", "CreateSecret", store["region"], Name=store["name"], SecretString=text, Tags=tags,
            ClientRequestToken=proof(key_id, store), Description=f"SMTP credential of {user}, kept by recon", **kms,
        )  # fmt: skip
    except AwsError as error:
        # A name that waits for deletion stays taken for up to 30 days (Secrets Manager API, DeleteSecret).
        if error.aws_code not in {"ResourceExistsException", "InvalidRequestException"}:
            raise
        return False
    return True


def restore(aws: Aws, store: Store, live: Mapping[str, Any]) -> None:
    """Bring a secret back that waits for its deletion, and give it the KMS key that is written; ``live`` is from
    ``look``."""
    region, name = store["region"], store["name"]
    if live.get("deleted"):
        aws.call("secretsmanager", "RestoreSecret", region, SecretId=name)
    if store.get("kms_key_id") and not same_kms(live.get("kms_key_id"), store["kms_key_id"]):
        aws.call("secretsmanager", "UpdateSecret", region, SecretId=name, KmsKeyId=store["kms_key_id"])


def bring_back(aws: Aws, scope: str, user: str, store: Store, key_id: str) -> bool:
    """Make the key's value current again that the store holds in another stage; False where it does not.

    What holds our value is ours to write, with a tag or without. Raises Taken where it has another owner.
    """
    ours = {id_of(store)}
    if store["type"] == "ssm":
        return _bring_back_parameter(aws, scope, user, store, key_id)
    live = read_store(aws, scope, store, ours)
    version = holds(live, store, key_id)
    if version is None:
        return False
    restore(aws, store, live)
    if live["proof"] not in proofs(key_id, store):
        back = {**live, "deleted": False, "kms_key_id": store.get("kms_key_id")}
        put(aws, scope, user, store, key_id, json.dumps(read(aws, store, version)), ours, back)
    elif store.get("tags") or store.get("untag"):
        retag(aws, scope, user, store)
    return True


def _bring_back_parameter(aws: Aws, scope: str, user: str, store: Store, key_id: str) -> bool:
    """From the version that the description tells of, or else the one before the current: more than that was not
    written by a run that was cut off."""
    live = read_store(aws, scope, store, {id_of(store)})
    if not live["exists"]:
        return False
    version = live["written"] if holds(live, store, key_id) else live["version"] - 1
    if version < 1:
        return False
    try:
        before = read(aws, store, str(version))
    except ReconError:
        return False
    if before["username"] != key_id or set(passwords_in(before)) != set(store["regions"]):
        return False
    put(aws, scope, user, store, key_id, json.dumps(before), {id_of(store)}, live)
    return True


def is_of(live: Mapping[str, Any] | None, scope: str) -> bool:
    """Whether a store is there, and its tags say that it is this stack's: only then it may be deleted."""
    return bool(live and live["exists"]) and owner_of((live or {}).get("tags") or {}) == scope


def delete(aws: Aws, scope: str, store: Store) -> None:
    """Delete a store: a secret with AWS's 30-day window, a parameter at once. Nothing there is done already, and so is
    a secret that waits for its deletion; what is by now somebody else's stays. Raises AwsError where AWS refuses."""
    live = describe(aws, store)
    if live.get("deleted") or not is_of(live, scope):
        return
    if store["type"] == "ssm":
        aws.call_if_there("ssm", "DeleteParameter", store["region"], Name=store["name"])
        return
    window = {"RecoveryWindowInDays": WINDOW_DAYS}
    try:
        aws.call_if_there("secretsmanager", "DeleteSecret", store["region"], SecretId=store["name"], **window)
    except AwsError as error:
        # AWS also says it of a secret that another service manages (Secrets Manager API, DeleteSecret, "Errors").
        if error.aws_code != "InvalidRequestException" or not describe(aws, store).get("deleted"):
            raise


def _put_parameter(
    aws: Aws, scope: str, user: str, store: Store, key_id: str, text: str, takes: Container[str],
    live: Mapping[str, Any],
) -> None:  # fmt: skip
    """PutParameter with a description that names the version it makes; written again where another came between."""
    region, name, tags = store["region"], store["name"], _tags(scope, user, store)
    request: dict[str, Any] = {"Name": name, "Value": text, "Type": "SecureString"}
    if store.get("kms_key_id"):
        request["KeyId"] = store["kms_key_id"]
    if len(text) > 4096:
        request["Tier"] = "Advanced"
    if not live["exists"]:
        try:  # Tags go along with a new parameter alone (SSM API, PutParameter).
            aws.call("ssm", "PutParameter", region, Description=_said(key_id, store, 1), Tags=tags, **request)
            return
        except AwsError as error:
            if error.aws_code != "ParameterAlreadyExists":
                raise
        live = read_store(aws, scope, store, takes)  # Ours after a lost answer; else somebody was faster.
    retag(aws, scope, user, store)
    version = int(live.get("version", 0)) + 1
    for _ in range(3):
        answer = aws.call(
            "ssm", "PutParameter", region, Description=_said(key_id, store, version), Overwrite=True, **request
        )
        made = int(answer.get("Version") or version)
        if made == version:
            break
        version = made + 1


def _said(key_id: str, store: Store, version: int) -> str:
    return f"recon {proof(key_id, store)} v{version}"


def retag(aws: Aws, scope: str, user: str, store: Store) -> None:
    """Set the tags of a store that is there, its owner's first of all, and take off those that go: these first, since
    a list that has forgotten a tag would leave it behind for good."""
    region, name = store["region"], store["name"]
    tags, drop = _tags(scope, user, store), list(store.get("untag") or ())
    if store["type"] == "secretsmanager":
        if drop:
            aws.call("secretsmanager", "UntagResource", region, SecretId=name, TagKeys=drop)
        aws.call("secretsmanager", "TagResource", region, SecretId=name, Tags=tags)
        return
    where = {"ResourceType": "Parameter", "ResourceId": name}
    if drop:
        aws.call("ssm", "RemoveTagsFromResource", region, TagKeys=drop, **where)
    aws.call("ssm", "AddTagsToResource", region, Tags=tags, **where)


def _tags(scope: str, user: str, store: Store) -> list[dict[str, str]]:
    return tags_to_aws({**(store.get("tags") or {}), STACK: scope, USER: user})
