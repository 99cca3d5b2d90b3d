"""Rules about SMTP credentials: rotation, and who has to enter a new password."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from reconciler import regions
from reconciler.model import Entry
from reconciler.rules.registry import Problem, RuleFor
from reconciler.rules.view import Resource, RuleView

user_rule = RuleFor(
    lambda view: ((address := f"smtp_credential/{entry.name}", entry, view.resource(address)) for entry in view.users),
    "SMTP credentials", "smtp_credential/newsletter",
)  # fmt: skip


@user_rule("smtp-no-rotation", "note", "An access key without a maximum age")
def no_rotation(view: RuleView, entry: Entry, credential: Resource | None) -> Iterator[Problem]:
    """An SMTP user has no `access_key.max_age_days`.

    Why: An access key that is never rotated is the one that leaks years later.
    Fix: `access_key: {max_age_days: 90, overlap_days: 7}`
    Source: IAM User Guide, Rotating access keys
    """
    if not (entry.values.get("access_key") or {}).get("max_age_days"):
        yield Problem(f"the access key of {entry.name} has no maximum age", "write access_key: {max_age_days: 90}")


@user_rule("smtp-no-overlap", "warning", "A key is replaced although consumers are updated by hand")
def no_overlap(view: RuleView, entry: Entry, credential: Resource | None) -> Iterator[Problem]:
    """A user has consumers that are updated by hand, and `overlap_days: 0`.

    Why: They stop sending the moment the key is rotated, and it takes long to find the cause.
    Fix: `overlap_days: 7`
    Source: IAM User Guide, Rotating access keys: keep the old key while it is in use
    """
    if entry.values.get("consumers") and (entry.values.get("access_key") or {}).get("overlap_days") == 0:
        yield Problem(
            f"the consumers of {entry.name} are updated by hand, and overlap_days is 0: they stop sending the "
            "moment the key is rotated",
            "write overlap_days: 7",
        )


@user_rule("smtp-consumers", "warning", "Consumers need a new password")
def consumers(view: RuleView, entry: Entry, credential: Resource | None) -> Iterator[Problem]:
    """The plan replaces or deletes a credential, and its declared consumers enter it by hand.

    Why: The SMTP password is derived from the access key. A mail program with the old one fails with "misconfigured or
    out of date".
    Fix: Tell the consumers, then record it with `recon smtp ack`.
    Source: SES Developer Guide, SMTP credentials: the password follows the access key
    """
    if credential is None or credential.change is None or credential.before is None:
        return
    if credential.change.action in ("replace", "delete"):
        names = [str(c.get("name")) for c in entry.values.get("consumers") or () if isinstance(c, Mapping)]
        if names:
            yield Problem(
                f"the password of {entry.name} changes and has to be entered by hand at {', '.join(names)}",
                "`recon smtp ack` records that a consumer has the new one",
            )


@user_rule("smtp-key-old", "warning", "An access key older than its maximum age")
def key_old(view: RuleView, entry: Entry, credential: Resource | None) -> Iterator[Problem]:
    """A live access key is older than its `max_age_days`.

    Why: Only its age makes the key due, so no plan rotates it by itself.
    Fix: `recon smtp rotate newsletter`
    Source: IAM User Guide, Rotating access keys
    """
    limit = (entry.values.get("access_key") or {}).get("max_age_days")
    created = _created(credential) if credential is not None else None
    if created and limit:
        age = (view.now.date() - datetime.fromisoformat(str(created)).date()).days
        if age > limit:
            yield Problem(
                f"the access key of {entry.name} is {age} days old; its maximum age is {limit} days",
                f"run `recon smtp rotate {entry.name}`",
            )


def _created(credential: Resource) -> str | None:
    """When the live key of a credential was created (ISO 8601), or None where there is none."""
    keys = credential.was("keys") or ()
    return next((key.get("created") for key in keys if key.get("id") == credential.was("key")), None)


@user_rule("smtp-store-key", "warning", "A KMS key of a store that cannot be used")
def store_key(view: RuleView, entry: Entry, credential: Resource | None) -> Iterator[Problem]:
    """KMS answers that the `kms_key_id` of `credentials` does not exist, is disabled, or is waiting for its deletion.

    Why: The new access key cannot be stored, after the user was created. A password that is stored with a key that is
    disabled cannot be read.
    Fix: Create or enable the key in the region of the store before you apply this plan, or correct `kms_key_id`.
    Source: KMS API, DescribeKey: KeyState
    """
    for key, why in view.unusable.get(f"smtp_credential/{entry.name}", ()):
        yield Problem(f"the KMS key {key} of {entry.name} {why}", "create or enable it, or correct kms_key_id")


@user_rule("smtp-no-endpoint", "warning", "A region without an SMTP endpoint")
def no_endpoint(view: RuleView, entry: Entry, credential: Resource | None) -> Iterator[Problem]:
    """The stack has identities in a region without an SMTP endpoint.

    Why: The password for that region cannot be used.
    Fix: Send through the API there, or through SMTP in another region.
    Source: AWS General Reference, Amazon SES endpoints and quotas
    """
    lacking = [region for region in view.identity_regions if not regions.has_smtp(region)]
    if not lacking:
        return
    yield Problem(
        f"no SMTP endpoint of SES is known in {', '.join(lacking)}: {entry.name} cannot log in there",
        "send through the API in these regions, or through SMTP in another",
    )
