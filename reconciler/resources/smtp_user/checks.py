"""Values of SMTP users: who they are, what they may send, where their password is stored.

Sources: IAM User Guide "IAM and STS quotas", SES Developer Guide "IAM in SES", Secrets Manager CreateSecret, SSM
PutParameter.
"""

from __future__ import annotations

import re
from typing import Any, Final

from reconciler.desired.checks.place import EntryContext
from reconciler.desired.checks.principals import check_principal, check_principals
from reconciler.desired.checks.together import Together
from reconciler.desired.checks.values import REGION_NAME, refuse_pasted
from reconciler.desired.nodes import show
from reconciler.model import Entry, Stack
from reconciler.regions import UNPUBLISHED, partition_of

MAX_INLINE_POLICY: Final = 2048
"""Characters without white space (IAM User Guide, "IAM and STS quotas")."""
_SECRET_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
_SECRET_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}")
_PARAMETER_NAME = re.compile(r"[A-Za-z0-9_./-]{1,1011}")
_KMS_KEY = re.compile(r"[A-Za-z0-9:/_-]{1,256}")
_PARAMETER_DEPTH: Final = 15


def check(place: EntryContext, stack: Stack) -> None:
    """One user; its values do not depend on a region."""
    values = place.values
    check_principal(place, stack, "user")
    if closed := [region for region in stack.regions if region in UNPUBLISHED]:
        place.error(
            "", "unpublished-host", f"AWS has not published the name of SES's SMTP endpoint in {', '.join(closed)}",
            "take the user out, and send through the API there",
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
    check_principals(together, "smtp_users", "user", MAX_INLINE_POLICY)
    stores: dict[tuple[str, str, str], Entry] = {}
    for entry in together.section("smtp_users"):
        _stores(together, entry, stores)


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
