"""Where a credential is stored: Secrets Manager or SSM. Checked without reading its value.

A hash of key id, regions and form proves a stored value. In Secrets Manager it is the id of the version (the
ClientRequestToken of the write). In SSM the description holds the hash and the version number that it was written for,
so that a later write is noticed even though SSM keeps the description.

After somebody has overwritten a value of ours, it can be written again: from AWSPREVIOUS, or from the version that the
description names. In Secrets Manager a version id can be written only once, so the hash has a few editions.

Source: Secrets Manager API, PutSecretValue, RestoreSecret, DeleteSecret; SSM API, PutParameter, GetParameter
(``NAME:VERSION``), DescribeParameters.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reconciler import regions
from reconciler.errors import AwsError, ReconError
from reconciler.kinds.ownership import STACK, create_once, left_alone, may_write, named, owner_of, unpack
from reconciler.kinds.tags import plan_tags, present, tags_from_aws, tags_to_aws
from reconciler.mail.sigv4 import smtp_password
from reconciler.masking import remember
from reconciler.model import Entry, State

if TYPE_CHECKING:
    from reconciler.aws import Aws

USER = "recon:user"
"""Tag of a store: the user whose password it holds."""
STORES = "recon:stores"
"""User tag: which stores hold this user's credential."""
_ID = re.compile(r"(?:secretsmanager|ssm):[a-z0-9-]+:.+")
KEY_REGIONS = "recon:key-regions"
"""User tag: the regions that the stored credential covers."""
PORT = 587
FORMAT = "1"
REGION_MARK = "${region}"
_NAME = re.compile(r"[\w/+=.@-]+", re.ASCII)
"""What Secrets Manager and Systems Manager take as a name."""
_REGION = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, regions.SES_REGIONS))})(?![\w-])")
WINDOW_DAYS = 30
EDITIONS = 4
"""How often one value can be written to one secret, since a version id cannot be written twice."""
CURRENT = "AWSCURRENT"

Store = Mapping[str, Any]
"""``{type, region, name, regions, flat}``, where written with ``kms_key_id``, ``secret`` (the secret access key is
stored too) and ``tags``. ``type`` is ``secretsmanager`` or ``ssm``; ``flat`` marks the form for one region."""


# --- declared ------------------------------------------------------------------------------------------------------


def declared(entry: Entry, state: State, covered: list[str]) -> list[dict[str, Any]]:
    """The stores that a user's ``credentials`` declare: one, or one for each region with ``${region}`` in the name."""
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
    # The entry's own tags are for the IAM user; the stack's are for every taggable resource.
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


def with_tags(scope: str, store: Store, live: Mapping[str, Any] | None, entry: Entry) -> dict[str, Any]:
    """A declared store with the tags that a write sets (``tags``, with the list of those that recon manages) and those
    that it removes (``untag``: set by recon, no longer declared). After a rename of the user they hold its new name;
    of a store that is not ours yet, the stack's scope."""
    there = (live or {}).get("tags") or {}
    wanted = plan_tags(store.get("tags") or {}, there, "", None, entry)
    put = {key: value for key, value in present(wanted).items() if key != STACK}
    put |= {USER: entry.name} if there.get(USER, entry.name) != entry.name else {}
    put |= {STACK: scope} if live and live.get("exists") and there.get(STACK) != scope else {}
    drop = sorted(key for key, value in wanted.items() if value is None and key in there)
    kept = {key: value for key, value in store.items() if key != "tags"}
    return {**kept, **({"tags": put} if put else {}), **({"untag": drop} if drop else {})}


def id_of(store: Store) -> str:
    return f"{store['type']}:{store['region']}:{store['name']}"


def parse(text: str) -> dict[str, Any]:
    """The store of an id from ``id_of``; its regions and form are unknown."""
    kind, region, name = text.split(":", 2)
    return {"type": kind, "region": region, "name": name, "regions": [], "flat": False}


def in_tags(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    """The stores that a user's tags name. Text in the tags that is not a store id is ignored."""
    return [parse(item) for item in sorted(unpack(tags, STORES)) if _ID.fullmatch(item)]


def as_credentials(found: Sequence[Store]) -> dict[str, Any] | None:
    """The ``credentials`` of an entry that declares these stores (``in_tags``); None where no entry can."""
    patterns = {(str(store["type"]), _REGION.sub(lambda _: REGION_MARK, str(store["name"]))) for store in found}
    if len(patterns) != 1 or not all(_NAME.fullmatch(str(store["name"])) for store in found):
        return None
    ((kind, name),) = patterns
    places = {str(store["region"]) for store in found}
    if REGION_MARK not in name or name.count(REGION_MARK) > 1:
        return {kind: {"name": str(found[0]["name"])}, "region": found[0]["region"]} if len(found) == 1 else None
    own = all(name.replace(REGION_MARK, str(store["region"])) == store["name"] for store in found)
    if not own and len(places) > 1:
        return None
    return {kind: {"name": name}} if own else {kind: {"name": name}, "region": places.pop()}


def label(store: Store) -> str:
    return f"{store['type']} {store['name']} in {store['region']}"


def described(store: Store) -> str:
    """A declared store for a plan: ``label``, and what else decides on what is written there."""
    text = label(store)
    text += f", for {', '.join(store['regions'])}" if store["flat"] else ""
    text += f", encrypted with {store['kms_key_id']}" if store.get("kms_key_id") else ""
    return text + (", with the secret access key" if store.get("secret") else "")


def described_live(store: Store, there: Mapping[str, Any], holds: Store | None) -> str:
    """What is live in a store, as ``described`` says it; ``holds`` is the form of the key's value that it is proven to
    hold (``proven_content``), None for any other value."""
    if there.get("deleted") or holds is None:
        return f"{label(store)}, " + ("scheduled for deletion" if there.get("deleted") else "with another value")
    wanted, live = store.get("kms_key_id"), there.get("kms_key_id")
    return described({**holds, "kms_key_id": wanted if wanted and same_kms(live, wanted) else wanted and live})


def without(old: Iterable[Store], new: Iterable[Store]) -> list[Store]:
    """The stores of ``old`` that are not in ``new``."""
    kept = {id_of(s) for s in new}
    return [s for s in old if id_of(s) not in kept]


# --- live ----------------------------------------------------------------------------------------------------------


def proof(key_id: str, store: Store, edition: int = 0) -> str:
    """The hash of key id, regions and form that identifies a stored value. 64 hex digits, as Secrets Manager's
    ClientRequestToken allows (PutSecretValue)."""
    form = ("flat" if store["flat"] else "all") + ("+secret" if store.get("secret") else "")
    parts = [key_id, ",".join(sorted(store["regions"])), form, FORMAT, *([str(edition)] if edition else [])]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def proofs(key_id: str, store: Store) -> list[str]:
    """Every edition of ``proof``."""
    return [proof(key_id, store, edition) for edition in range(EDITIONS)]


def describe(aws: Aws, store: Store) -> dict[str, Any]:
    """A store without its value.

    ``{exists}``, and where it exists: ``proof`` of the current value (None where recon did not write it), ``staged``
    (proofs of the other versions), ``tags``, ``kms_key_id``; of a secret ``deleted`` (it is scheduled for deletion); of
    a parameter ``secure``, its ``version``, and the version that recon has ``written`` last (0: none).
    """
    return _describe_secret(aws, store) if store["type"] == "secretsmanager" else _describe_parameter(aws, store)


def _describe_secret(aws: Aws, store: Store) -> dict[str, Any]:
    live = aws.call_if_there("secretsmanager", "DescribeSecret", store["region"], SecretId=store["name"])
    if live is None:
        return {"exists": False}
    versions = {v: stages for v, stages in (live.get("VersionIdsToStages") or {}).items() if stages}
    return {
        "exists": True, "proof": next((v for v, stages in versions.items() if CURRENT in stages), None),
        "staged": sorted(v for v, stages in versions.items() if CURRENT not in stages),
        "tags": tags_from_aws(live.get("Tags")), "deleted": bool(live.get("DeletedDate")),
        "kms_key_id": live.get("KmsKeyId"), **_held(store, live),
    }  # fmt: skip


def _held(store: Store, live: Mapping[str, Any]) -> dict[str, Any]:
    """``held``: why Secrets Manager would refuse to delete a secret, and ``fix``, what a person can do about it; empty
    where it would not (Secrets Manager API, DeleteSecret and ReplicateSecretToRegions)."""
    command = f"aws secretsmanager remove-regions-from-replication --secret-id {store['name']}"
    primary = live.get("PrimaryRegion") or store["region"]
    replicas = sorted(str(one["Region"]) for one in live.get("ReplicationStatus") or () if one.get("Region"))
    if primary != store["region"]:
        fix = f"{command} --region {primary} --remove-replica-regions {store['region']}"
        return {"held": f"it is a replica of the secret in {primary}", "fix": fix}
    if replicas:
        fix = f"{command} --region {primary} --remove-replica-regions {' '.join(replicas)}"
        return {"held": f"it has replicas in {', '.join(replicas)}", "fix": fix}
    if service := live.get("OwningService"):
        return {"held": f"the service {service} manages it", "fix": f"delete it in {service}"}
    return {}


def _describe_parameter(aws: Aws, store: Store) -> dict[str, Any]:
    region, name = store["region"], store["name"]
    listed = aws.pages(
        "ssm", "DescribeParameters", "Parameters", region,
        ParameterFilters=[{"Key": "Name", "Option": "Equals", "Values": [name]}],
    )  # fmt: skip
    found = next((p for p in listed if p["Name"] == name), None)
    if found is None:
        return {"exists": False}
    try:
        tags = aws.call("ssm", "ListTagsForResource", region, ResourceType="Parameter", ResourceId=name)
    except AwsError as error:
        if error.aws_code == "InvalidResourceId":  # it was deleted between the two reads
            return {"exists": False}
        raise
    proof, _, number = str(found.get("Description") or "").removeprefix("recon ").partition(" v")
    version = int(found.get("Version") or 1)
    # SSM keeps the description when somebody writes another value: it then describes an earlier version.
    written = int(number) if number.isdecimal() else 0
    return {
        "exists": True, "proof": proof if written == version else None,
        "staged": [proof] if 0 < written < version else [], "tags": tags_from_aws(tags.get("TagList")),
        "kms_key_id": found.get("KeyId"), "secure": found.get("Type") == "SecureString", "version": version,
        "written": written,
    }  # fmt: skip


def is_proven(live: Mapping[str, Any] | None, store: Store, key_id: str) -> bool:
    """Whether the current value of the store is proven to derive from the key."""
    return bool(live and live["exists"] and not live.get("deleted") and live.get("proof") in proofs(key_id, store))


def version_of(live: Mapping[str, Any] | None, store: Store, key_id: str) -> str | None:
    """The proof of the version that holds the key's value, current or not, also in a deleted secret; None for none."""
    if not live or not live["exists"]:
        return None
    there = (live.get("proof"), *live.get("staged", ()))
    return next((version for version in there if version in proofs(key_id, store)), None)


def same_kms(live: str | None, written: str) -> bool:
    """Whether a store's KMS key is the declared one; AWS may return the ARN of a declared id or alias."""
    return bool(live) and (live == written or str(live).endswith(("/" + written, ":" + written)))


# --- values --------------------------------------------------------------------------------------------------------


def value(store: Store, key_id: str, passwords: Mapping[str, str], created: str, secret: str | None = None) -> str:
    """The JSON that is stored (docs/yaml.md): flat for one region, else all regions in one value."""

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
    return value(store, key_id, {r: _password(secret, r) for r in store["regions"]}, created, secret)


def _password(secret: str, region: str) -> str:
    password = smtp_password(secret, region)
    remember(password)
    return password


def read(aws: Aws, store: Store, version: str | None = None) -> dict[str, Any]:
    """The parsed value of a store: a secret. ``version`` is a version id (Secrets Manager) or number (SSM).

    Raises AwsError, or ReconError where it does not have recon's form; neither contains the value.
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
            f"{label(store)} does not hold a credential in recon's format", hint="recon apply writes it again"
        )
    return {**found, "username": found["username"].strip()}  # an editor may have left white space around it


def passwords_in(stored: Mapping[str, Any]) -> dict[str, str]:
    """Region -> password of a stored value in either form, without white space that an editor left around it."""
    if isinstance(stored.get("regions"), Mapping):
        return {r: str(part["password"]).strip() for r, part in stored["regions"].items() if part.get("password")}
    if stored.get("region") and stored.get("password"):
        return {str(stored["region"]): str(stored["password"]).strip()}
    return {}


def secret_key_in(stored: Mapping[str, Any]) -> str | None:
    """The secret access key of a stored value, without white space around it.

    Raises ReconError for one with other white space or characters that no key has: it would give a useless password.
    """
    secret = str(stored.get("secret_access_key") or "").strip()
    if not re.fullmatch(r"[!-~]*", secret):
        raise ReconError(
            "the stored secret_access_key has a blank or another character that no key has",
            hint="correct it in the store, or replace the key: recon smtp rotate",
        )
    return secret or None


def password_for(stored: Mapping[str, Any], region: str) -> str | None:
    """The password of a stored value for a region, derived from its secret access key where that is stored."""
    found = passwords_in(stored).get(region)
    if found is None and (secret := secret_key_in(stored)):
        return _password(secret, region)
    return found


def _has_value(live: Mapping[str, Any]) -> bool:
    """Whether a store has a current value that recon wrote."""
    return bool(live.get("exists") and not live.get("deleted") and live.get("proof"))


def proven_content(
    key_id: str, live: Mapping[str, Any], known: Iterable[str], *more: list[str]
) -> dict[str, Any] | None:
    """``{regions, flat, secret}`` of the value that a store is proven to hold for a key, or None: every form is tried.

    ``known`` are regions that it may cover, alone or together; ``more`` are other lists of regions to try.
    """
    if not _has_value(live):
        return None
    every = sorted(set(known))
    lists = [(r, False) for r in ([*every], *more) if r] + [([r], True) for r in every]
    for covers, flat in lists:
        for secret in (False, True):
            guess = {"regions": covers, "flat": flat, "secret": secret}
            if live["proof"] in proofs(key_id, guess):
                return guess
    return None


TOGETHER = 3
"""How many regions one value may cover for ``held`` to find them."""


def held(key_id: str, live: Mapping[str, Any]) -> dict[str, Any] | None:
    """As ``proven_content``, where nothing names the regions: up to ``TOGETHER`` of all with SMTP are tried."""
    found = _searched(key_id, str(live["proof"])) if _has_value(live) else None
    return {**found, "regions": [*found["regions"]]} if found else None


@functools.lru_cache(maxsize=1024)
def _searched(key_id: str, proof: str) -> dict[str, Any] | None:
    places = [region for region in regions.SES_REGIONS if regions.has_smtp(region)]
    for number in range(1, TOGETHER + 1):
        for some in itertools.combinations(places, number):
            for flat, secret in itertools.product((False, True)[: 2 if number == 1 else 1], (False, True)):
                guess = {"regions": some, "flat": flat, "secret": secret}
                if proof in proofs(key_id, guess):
                    return guess
    return None


# --- write ---------------------------------------------------------------------------------------------------------


class Taken(ReconError):
    """A store belongs to somebody else, and was not written."""


def read_store(aws: Aws, store: Store, adoptable: Container[str]) -> dict[str, Any]:
    """``describe`` right before a write. Raises Taken where this stack may not write the store: it has another owner,
    or it has none and is not among ``adoptable``, the ids of those that the plan showed without an owner."""
    live = describe(aws, store)
    if live["exists"]:
        owner = owner_of(live["tags"])
        if owner is not None and not may_write(aws.stack, owner):
            raise Taken(f"{label(store)} belongs to {named(owner)}", hint="store this credential under another name")
        if owner is None and id_of(store) not in adoptable:
            raise Taken(
                f"somebody created {label(store)} after the plan was made, so it was not written",
                hint="plan again: the plan then shows it, and apply asks before it adopts it",
            )
    return live


def put(
    aws: Aws, scope: str, user: str, store: Store, key_id: str, text: str, adoptable: Container[str] = (),
    live: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Store a value as the current one; AWS moves AWSPREVIOUS to the value before it.

    Adopts a store without an owner that is among ``adoptable``, restores a deleted secret, and sets the KMS key.
    ``live`` is the store as ``read_store`` has just read it. Raises Taken where this stack may not write the store.
    """
    live = read_store(aws, store, adoptable) if live is None else live
    if store["type"] == "ssm":
        _put_parameter(aws, scope, user, store, key_id, text, adoptable, live)
        return
    if not live["exists"]:
        if _create_secret(aws, scope, user, store, key_id, text):
            return
        live = read_store(aws, store, adoptable)
    restore_secret(aws, store, live)
    # The owner is written before the value: if the run is interrupted in between, the next one still knows the owner.
    retag(aws, scope, user, store)
    for token in proofs(key_id, store):
        try:
            answer = aws.call(
                "secretsmanager", "PutSecretValue", store["region"], SecretId=store["name"], SecretString=text,
                ClientRequestToken=token,
            )  # fmt: skip
        except AwsError as error:
            # The version exists with another text.
            if error.aws_code != "ResourceExistsException":
                raise
            continue
        # AWS leaves an existing version in its stage: then write the next edition.
        if CURRENT in answer.get("VersionStages", (CURRENT,)):
            return
    raise ReconError(
        f"{label(store)} was overwritten too often to store the same value again", hint=f"recon smtp rotate {user}"
    )


def _create_secret(aws: Aws, scope: str, user: str, store: Store, key_id: str, text: str) -> bool:
    """CreateSecret; False where the name is taken (DescribeSecret is behind, or a deleted secret has it for 30 days).

    Only for new names: CreateSecret with the token of an existing version succeeds and does nothing.
    """
    kms = {"KmsKeyId": store["kms_key_id"]} if store.get("kms_key_id") else {}
    created = create_once(
        lambda: aws.call(
            "secretsmanager", "CreateSecret", store["region"], Name=store["name"], SecretString=text,
            Tags=_tags(scope, user, store), ClientRequestToken=proof(key_id, store),
            Description=f"SMTP credential of {user}, managed by recon", **kms,
        ),
        lambda: True,
        "ResourceExistsException", "InvalidRequestException",
    )  # fmt: skip
    return created is not None


def restore_secret(aws: Aws, store: Store, live: Mapping[str, Any]) -> None:
    """Restore a deleted secret, and set the declared KMS key; ``live`` is from ``read_store``."""
    region, name = store["region"], store["name"]
    if live.get("deleted"):
        aws.call("secretsmanager", "RestoreSecret", region, SecretId=name)
    if store.get("kms_key_id") and not same_kms(live.get("kms_key_id"), store["kms_key_id"]):
        aws.call("secretsmanager", "UpdateSecret", region, SecretId=name, KmsKeyId=store["kms_key_id"])


def rewrite_kept_value(aws: Aws, scope: str, user: str, store: Store, key_id: str) -> bool:
    """Make the key's value current again where the store holds it in another version; False where it does not.

    A store that holds our value may be written, with a tag or without. Raises Taken where it has another owner.
    """
    ours = {id_of(store)}
    if store["type"] == "ssm":
        return _bring_back_parameter(aws, scope, user, store, key_id)
    live = read_store(aws, store, ours)
    version = version_of(live, store, key_id)
    if version is None:
        return False
    restore_secret(aws, store, live)
    if live["proof"] not in proofs(key_id, store):
        back = {**live, "deleted": False, "kms_key_id": store.get("kms_key_id")}
        put(aws, scope, user, store, key_id, json.dumps(read(aws, store, version)), ours, back)
    elif store.get("tags") or store.get("untag"):
        retag(aws, scope, user, store)
    return True


def _bring_back_parameter(aws: Aws, scope: str, user: str, store: Store, key_id: str) -> bool:
    """From the version that the description names, or else the one before the current: an interrupted run writes only
    one."""
    live = read_store(aws, store, {id_of(store)})
    if not live["exists"]:
        return False
    version = live["written"] if version_of(live, store, key_id) else live["version"] - 1
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


def is_owned(live: Mapping[str, Any] | None, scope: str) -> bool:
    """Whether a store exists and its tags name this stack as the owner: only then may it be deleted."""
    return bool(live and live["exists"]) and owner_of((live or {}).get("tags") or {}) == scope


def delete(aws: Aws, scope: str, store: Store) -> None:
    """Delete a store: a secret with AWS's 30-day recovery window, a parameter at once. Does nothing where it is deleted
    already, or belongs to somebody else by now. Raises AwsError where AWS refuses."""
    live = describe(aws, store)
    if live.get("deleted") or not is_owned(live, scope):
        return
    if store["type"] == "ssm":
        aws.call_if_there("ssm", "DeleteParameter", store["region"], Name=store["name"])
        return
    window = {"RecoveryWindowInDays": WINDOW_DAYS}
    try:
        aws.call_if_there("secretsmanager", "DeleteSecret", store["region"], SecretId=store["name"], **window)
    except AwsError as error:
        # AWS returns the same code for a secret that another service manages (DeleteSecret, "Errors").
        if error.aws_code != "InvalidRequestException" or not describe(aws, store).get("deleted"):
            raise


def _put_parameter(
    aws: Aws, scope: str, user: str, store: Store, key_id: str, text: str, adoptable: Container[str],
    live: Mapping[str, Any],
) -> None:  # fmt: skip
    """PutParameter with a description that names the version it creates; again where another write came in between."""
    region = store["region"]
    request: dict[str, Any] = {"Name": store["name"], "Value": text, "Type": "SecureString"}
    if store.get("kms_key_id"):
        request["KeyId"] = store["kms_key_id"]
    if len(text) > 4096:
        request["Tier"] = "Advanced"
    if not live["exists"]:
        # Only a new parameter can be written with tags (SSM API, PutParameter).
        new = {**request, "Description": _parameter_description(key_id, store, 1), "Tags": _tags(scope, user, store)}
        create = functools.partial(aws.call, "ssm", "PutParameter", region, **new)
        if create_once(create, lambda: True, "ParameterAlreadyExists") is not None:
            return
        live = read_store(aws, store, adoptable)  # ours after a lost answer; Taken if somebody else was faster
    retag(aws, scope, user, store)
    version = int(live.get("version", 0)) + 1
    for _ in range(3):
        description = _parameter_description(key_id, store, version)
        answer = aws.call("ssm", "PutParameter", region, Description=description, Overwrite=True, **request)
        made = int(answer.get("Version") or version)
        if made == version:
            break
        version = made + 1


def _parameter_description(key_id: str, store: Store, version: int) -> str:
    return f"recon {proof(key_id, store)} v{version}"


def retag(aws: Aws, scope: str, user: str, store: Store) -> None:
    """Set the tags of an existing store and remove ``untag``. Removal comes first: once the list of managed tags has
    been written without a tag, nobody would remove that tag any more."""
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


def untag(aws: Aws, keys: Mapping[str, list[str]]) -> None:
    """Take tags off stores, given by their ids; a store that is gone by now has none."""
    for id_, names in keys.items():
        store = parse(id_)
        region, name = store["region"], store["name"]
        if store["type"] == "secretsmanager":
            aws.call_if_there("secretsmanager", "UntagResource", region, SecretId=name, TagKeys=names)
        else:
            where = {"ResourceType": "Parameter", "ResourceId": name}
            aws.call_if_there("ssm", "RemoveTagsFromResource", region, TagKeys=names, **where)


def _tags(scope: str, user: str, store: Store) -> list[dict[str, str]]:
    return tags_to_aws({**(store.get("tags") or {}), STACK: scope, USER: user})
