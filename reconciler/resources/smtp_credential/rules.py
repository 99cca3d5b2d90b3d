"""Rules about SMTP credentials: rotation, and who has to enter a new password."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial

from reconciler import regions
from reconciler.rules import registry
from reconciler.rules.registry import RawFinding
from reconciler.rules.view import Resource, RuleView

rule = partial(registry.rule, theme="SMTP credentials", example="smtp_credential/newsletter")


def _credential(name: str) -> str:
    return f"smtp_credential/{name}"


@rule(
    "smtp-no-rotation",
    "note",
    "An access key without a maximum age",
    "IAM User Guide, Rotating access keys",
    why="An access key that is never rotated is the one that leaks years later.",
    fix="`access_key: {max_age_days: 90, overlap_days: 7}`",
)
def no_rotation(view: RuleView) -> Iterator[RawFinding]:
    """An SMTP user has no `access_key.max_age_days`."""
    for entry in view.users:
        if not (entry.values.get("access_key") or {}).get("max_age_days"):
            yield RawFinding(
                _credential(entry.name),
                f"the access key of {entry.name} has no maximum age",
                "write access_key: {max_age_days: 90}",
            )


@rule(
    "smtp-no-overlap",
    "warning",
    "A key is replaced although consumers are updated by hand",
    "IAM User Guide, Rotating access keys: keep the old key while it is in use",
    why="They stop sending the moment the key is rotated, and it takes long to find the cause.",
    fix="`overlap_days: 7`",
)
def no_overlap(view: RuleView) -> Iterator[RawFinding]:
    """A user has consumers that are updated by hand, and `overlap_days: 0`."""
    for entry in view.users:
        if entry.values.get("consumers") and (entry.values.get("access_key") or {}).get("overlap_days") == 0:
            yield RawFinding(
                _credential(entry.name),
                f"the consumers of {entry.name} are updated by hand, and overlap_days is 0: they stop sending the "
                "moment the key is rotated",
                "write overlap_days: 7",
            )


@rule(
    "smtp-consumers",
    "warning",
    "Consumers need a new password",
    "SES Developer Guide, SMTP credentials: the password follows the access key",
    why='The SMTP password is derived from the access key. A mail program with the old one fails with "misconfigured '
    'or out of date".',
    fix="Tell the consumers, then record it with `recon smtp ack`.",
)
def consumers(view: RuleView) -> Iterator[RawFinding]:
    """The plan replaces or deletes a credential, and its declared consumers enter it by hand."""
    for entry in view.users:
        credential = view.resource(_credential(entry.name))
        if credential is None or credential.change is None or credential.before is None:
            continue
        if credential.change.action in ("replace", "delete"):
            names = [str(c.get("name")) for c in entry.values.get("consumers") or () if isinstance(c, Mapping)]
            if names:
                yield RawFinding(
                    credential.address,
                    f"the password of {entry.name} changes and has to be entered by hand at {', '.join(names)}",
                    "`recon smtp ack` records that a consumer has the new one",
                )


@rule(
    "smtp-key-old",
    "warning",
    "An access key older than its maximum age",
    "IAM User Guide, Rotating access keys",
    why="Only its age makes the key due, so no plan rotates it by itself.",
    fix="`recon smtp rotate newsletter`",
)
def key_old(view: RuleView) -> Iterator[RawFinding]:
    """A live access key is older than its `max_age_days`."""
    for entry in view.users:
        limit = (entry.values.get("access_key") or {}).get("max_age_days")
        credential = view.resource(_credential(entry.name))
        created = _created(credential) if credential is not None else None
        if created and limit:
            age = (view.now.date() - datetime.fromisoformat(str(created)).date()).days
            if age > limit:
                yield RawFinding(
                    _credential(entry.name),
                    f"the access key of {entry.name} is {age} days old; its maximum age is {limit} days",
                    f"run `recon smtp rotate {entry.name}`",
                )


def _created(credential: Resource) -> str | None:
    """When the live key of a credential was created (ISO 8601), or None where there is none."""
    keys = credential.was("keys") or ()
    return next((key.get("created") for key in keys if key.get("id") == credential.was("key")), None)


@rule(
    "smtp-no-endpoint",
    "warning",
    "A region without an SMTP endpoint",
    "AWS General Reference, Amazon SES endpoints and quotas",
    why="The password for that region cannot be used.",
    fix="Send through the API there, or through SMTP in another region.",
)
def no_endpoint(view: RuleView) -> Iterator[RawFinding]:
    """The stack has identities in a region without an SMTP endpoint."""
    lacking = [region for region in view.identity_regions if not regions.has_smtp(region)]
    if not lacking:
        return
    for entry in view.users:
        yield RawFinding(
            _credential(entry.name),
            f"SES has no SMTP endpoint in {', '.join(lacking)}: {entry.name} cannot log in there",
            "send through the API in these regions, or through SMTP in another",
        )
