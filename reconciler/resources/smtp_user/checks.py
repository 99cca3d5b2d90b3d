"""Values of SMTP users: who they are, what they may send, where their password is stored.

Sources: IAM User Guide "IAM and STS quotas", SES Developer Guide "IAM in SES", Secrets Manager CreateSecret, SSM
PutParameter.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any, Final

from reconciler.desired.checks.place import EntryContext
from reconciler.desired.checks.policies import check_conditions
from reconciler.desired.checks.together import Together
from reconciler.desired.checks.values import REGION_NAME, refuse_pasted
from reconciler.desired.nodes import show
from reconciler.desired.variables import suggestion
from reconciler.model import Entry, Stack, canonical_json
from reconciler.names import at_or_above, domain_of, fold_domain, fold_identity, parents
from reconciler.regions import UNPUBLISHED, identity_arn, literal, partition_of

MAX_INLINE_POLICY: Final = 2048
"""Characters without white space (IAM User Guide, "IAM and STS quotas")."""
USER_NAME: Final = re.compile(r"[A-Za-z0-9+=,.@_-]{1,64}")
_USER_PATH = re.compile(r"/(?:[\x21-\x2e\x30-\x7e]+/)*")
_BOUNDARY = re.compile(r"arn:(aws[a-z-]*):iam::([0-9]{12}|aws):policy/[\x21-\x7e]{1,512}")
_SECRET_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
_SECRET_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}")
_PARAMETER_NAME = re.compile(r"[A-Za-z0-9_./-]{1,1011}")
_KMS_KEY = re.compile(r"[A-Za-z0-9:/_-]{1,256}")
_PARAMETER_DEPTH: Final = 15
_FROM_PATTERN = re.compile(r"[^\s<>,;\"]{1,320}")


def check(place: EntryContext, stack: Stack) -> None:
    """One user; its values do not depend on a region."""
    values = place.values
    if closed := [region for region in stack.regions if region in UNPUBLISHED]:
        place.error(
            "", "unpublished-host", f"AWS has not published the name of SES's SMTP endpoint in {', '.join(closed)}",
            "take the user out, and send through the API there",
        )  # fmt: skip
    if not USER_NAME.fullmatch(place.name):
        place.error("", "bad-name", f"{show(place.name)} is not a name for an IAM user",
                    "1 to 64 letters, digits and + = , . @ _ -")  # fmt: skip
    path = values.get("path")
    if isinstance(path, str) and (not _USER_PATH.fullmatch(path) or len(path) > 512):
        place.error(
            "path", "bad-path", f"{show(path)} is not an IAM path", "it begins and ends with /, such as /ses-smtp/"
        )
    if not values.get("from_addresses") and "from_addresses" not in place.bad:
        place.error(
            "from_addresses", "empty-from-addresses", "nothing says what this user may send as",
            'write `from_addresses: ["*@acme.com"]`; for any address write "*"',
        )  # fmt: skip
    for index, pattern in enumerate(values.get("from_addresses") or ()):
        if not _FROM_PATTERN.fullmatch(pattern) or ("@" not in pattern and "*" not in pattern):
            place.error(f"from_addresses.{index}", "bad-name", f"{show(pattern)} is not an address or pattern",
                        "such as news@acme.com or *@acme.com")  # fmt: skip
        elif pattern == "*":
            place.warn(f"from_addresses.{index}", "any-from-address", "this user may send as anybody",
                       "name the addresses that it is for")  # fmt: skip
    _networks(place)
    _identities(place)
    boundary = values.get("permissions_boundary")
    if isinstance(boundary, str) and not _BOUNDARY.fullmatch(boundary):
        place.error("permissions_boundary", "bad-arn", f"{show(boundary)} is not the ARN of a managed policy",
                    f"write arn:{stack.partition}:iam::{stack.account or 'ACCOUNT'}:policy/NAME")  # fmt: skip
    conditions = values.get("conditions")
    if isinstance(conditions, dict):
        check_conditions(place, "conditions", conditions)
    for operator, name, own in (
        ("StringLike", "ses:FromAddress", "from_addresses"),
        ("IpAddress", "aws:SourceIp", "source_ips"),
    ):
        if isinstance(conditions, dict) and name in (conditions.get(operator) or {}) and values.get(own):
            place.error(
                f"conditions.{operator}", "condition-conflict", f"{name} under {operator} is what {own} writes already",
                f"move the values to {own}, or use another operator", name,
            )  # fmt: skip
    key = values.get("access_key")
    if isinstance(key, dict):
        age, overlap = key.get("max_age_days"), key.get("overlap_days")
        if isinstance(age, int) and isinstance(overlap, int) and overlap >= age:
            place.error("access_key.overlap_days", "overlap-too-long", f"{overlap} days reach the longest age, "
                        f"{age}: a third key would be due", f"write less than {age}")  # fmt: skip
    if place.lacks("credentials"):
        place.error(
            "", "missing-credentials", "nothing says where the password is stored",
            'write `credentials: {secretsmanager: {name: "recon/' + place.name + '"}}`',
        )  # fmt: skip
    elif isinstance(values.get("credentials"), dict):
        _credentials(place, values["credentials"], stack)


def _networks(place: EntryContext) -> None:
    for index, network in enumerate(place.values.get("source_ips") or ()):
        try:
            ipaddress.ip_network(network)
        except ValueError:
            try:
                right = str(ipaddress.ip_network(network, strict=False))
                hint = f"write {right}; the address has bits beyond its prefix"
            except ValueError:
                hint = "such as 203.0.113.0/24 or 2001:db8::/32"
            place.error(f"source_ips.{index}", "bad-network", f"{show(network)} is not an address or network", hint)


def _identities(place: EntryContext) -> None:
    identities = place.values.get("identities")
    if not isinstance(identities, list):
        return
    if not identities:
        place.warn("identities", "any-identity", "the list is empty, so this user may send with every identity",
                   "name the identities that it is for, or take the key out")  # fmt: skip
    for index, name in enumerate(identities):
        try:
            identities[index] = fold_identity(name)
        except ValueError as error:
            place.error(f"identities.{index}", "bad-name", str(error), "write a domain or an address")


def _credentials(place: EntryContext, block: dict[str, Any], stack: Stack) -> None:
    refuse_pasted(place, "credentials", block)
    stores = [store for store in ("secretsmanager", "ssm") if store in block]
    if len(stores) != 1:
        place.error("credentials", "exactly-one", f"exactly one of secretsmanager, ssm is wanted; found "
                    f"{' and '.join(stores) or 'none'}", "name one store")  # fmt: skip
    region = block.get("region")
    if isinstance(region, str):
        if not REGION_NAME.fullmatch(region):
            place.error("credentials.region", "unknown-region", f"{show(region)} is not the name of a region",
                        "such as us-east-1")  # fmt: skip
        elif partition_of(region) != stack.partition:
            place.error("credentials.region", "mixed-partitions", f"{region} is not in partition {stack.partition}",
                        "name a region of the stack's partition")  # fmt: skip
    for store in stores:
        target = block[store]
        if not isinstance(target, dict):
            continue
        path = f"credentials.{store}"
        name = target.get("name")
        if not isinstance(name, str):
            place.error(path, "missing-key", "name is missing", f'write `name: "recon/{place.name}"`')
            continue
        key = target.get("kms_key_id")
        if isinstance(key, str) and not _KMS_KEY.fullmatch(key):
            place.error(f"{path}.kms_key_id", "bad-name", f"{show(key)} cannot be a key of KMS",
                        "write its id, its ARN, or alias/NAME")  # fmt: skip
        reason = _store_name_problem(store, name.replace("${region}", "us-east-1"))
        if reason:
            place.error(f"{path}.name", "bad-name", f"{show(name)} cannot be its name: {reason[0]}", reason[1])
        elif store == "secretsmanager" and _SECRET_SUFFIX.fullmatch(name[-7:]):
            place.warn(
                f"{path}.name", "secret-suffix", f"{show(name)} ends like the suffix that Secrets Manager adds to ARNs",
                "choose a name that does not end in a hyphen and six characters",
            )  # fmt: skip


def _store_name_problem(store: str, name: str) -> tuple[str, str] | None:
    if store == "secretsmanager":
        if not _SECRET_NAME.fullmatch(name):
            return "Secrets Manager does not take it", "1 to 512 letters, digits and / _ + = . @ -"
        return None
    if not _PARAMETER_NAME.fullmatch(name):
        return "Parameter Store does not take it", "letters, digits and . - _ /"
    if "/" in name and not name.startswith("/"):
        return "with a / in it, it must begin with one", f"write /{name}"
    if name.endswith("/") or "//" in name:
        return "a part of it is empty", "such as /recon/newsletter"
    if name.lower().lstrip("/").startswith(("aws", "ssm")):
        return "names that begin with aws or ssm are AWS's own", "such as /recon/newsletter"
    if name.count("/") > _PARAMETER_DEPTH:
        return f"it is more than {_PARAMETER_DEPTH} levels deep", "use fewer /"
    return None


def check_together(together: Together) -> None:
    """How the users of one state fit together, and what they may send as."""
    names: dict[str, Entry] = {}
    stores: dict[tuple[str, str, str], Entry] = {}
    covered = {entry.name for section in ("domains", "email_addresses") for entry in together.section(section)}
    ordered = sorted(covered)  # once, and not for each name that is missing
    for entry in together.section("smtp_users"):
        before = names.setdefault(entry.name.lower(), entry)
        if before is not entry:
            together.error(
                entry, "", "duplicate-declaration", f"IAM takes it for the same name as {before.name} "
                f"({before.source}): user names differ by more than case", "choose another name",
            )  # fmt: skip
        _stores(together, entry, stores)
        size = _policy_size(together, entry)
        if size > MAX_INLINE_POLICY:
            together.error(
                entry, "", "policy-too-long", f"its policy would have at least {size} characters; IAM takes "
                f"{MAX_INLINE_POLICY} for a user",
                "use patterns with * in from_addresses, fewer identities or none (then all), or several users",
            )  # fmt: skip
        for index, name in enumerate(entry.values.get("identities") or ()):
            if name not in covered and not any(parent in covered for parent in _covering(name)):
                together.warn(
                    entry, f"identities.{index}", "undeclared-identity", f"the identity {name} is not declared",
                    suggestion(name, ordered) or "declare it under `domains:`",
                )  # fmt: skip
        for index, pattern in enumerate(entry.values.get("from_addresses") or ()):
            domain = pattern.rpartition("@")[2]
            if "*" in domain or not domain or "@" not in pattern:
                continue
            try:
                folded = fold_domain(domain)
            except ValueError as error:
                together.error(entry, f"from_addresses.{index}", "bad-name", str(error), "such as *@acme.com")
                continue
            if pattern not in covered and not any(name in covered for name in at_or_above(folded)):
                together.warn(
                    entry, f"from_addresses.{index}", "undeclared-reference",
                    f"no declared identity covers {domain}",
                    "declare the domain under `domains:`, or correct the address",
                )  # fmt: skip


def _policy_size(together: Together, entry: Entry) -> int:
    """The least that the user's policy can take; the ARNs of configuration sets in it are not counted."""
    values, stack = entry.values, together.stack
    resources = [
        identity_arn(stack.partition, region, stack.account, literal(name))
        for name in values.get("identities") or ()
        for region in _regions_of(together, name)
    ]
    statement = {
        "Effect": "Allow", "Action": ["ses:SendRawEmail"], "Resource": resources or ["*"],
        "Condition": {
            **(values.get("conditions") or {}),
            "StringLike": {"ses:FromAddress": values.get("from_addresses") or []},
            "IpAddress": {"aws:SourceIp": values.get("source_ips") or []},
        },
    }  # fmt: skip
    return len(canonical_json({"Version": "2012-10-17", "Statement": [statement]}))


def _regions_of(together: Together, identity: str) -> list[str]:
    for section in ("domains", "email_addresses"):
        found = together.index.get((section, identity))
        if found is not None:
            return [region for region in found if region is not None]
    return list(together.stack.regions[:1])


def _stores(together: Together, entry: Entry, stores: dict[tuple[str, str, str], Entry]) -> None:
    block = entry.values.get("credentials")
    if not isinstance(block, dict):
        return
    for store in ("secretsmanager", "ssm"):
        target = block.get(store)
        name = target.get("name") if isinstance(target, dict) else None
        if not isinstance(name, str):
            continue
        first = together.stack.regions[0] if together.stack.regions else ""
        region = str(block.get("region") or ("" if "${region}" in name else first))
        before = stores.setdefault((store, region, name), entry)
        if before is not entry:
            together.error(
                entry, f"credentials.{store}.name", "shared-secret", f"{show(name)} is also where the password of "
                f"{before.name} is stored ({before.source_of('credentials')}); one would overwrite the other",
                f'choose another name, such as "recon/{entry.name}"',
            )  # fmt: skip


def _covering(name: str) -> Iterable[str]:
    domain = domain_of(name)
    return (domain, *parents(domain)) if domain != name else parents(name)
