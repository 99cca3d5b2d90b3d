"""Values of configuration sets.

Source: SES API v2, TrackingOptions and ArchivingOptions.
"""

from __future__ import annotations

from typing import Any

from reconciler.desired.checks.place import EntryContext
from reconciler.desired.checks.together import Together
from reconciler.desired.nodes import show
from reconciler.model import Entry, Stack
from reconciler.names import fold_domain, parents
from reconciler.regions import UNPUBLISHED


def check(place: EntryContext, stack: Stack) -> None:
    """The options of one set in one region."""
    tracking = place.values.get("tracking_options")
    if isinstance(tracking, dict):
        _tracking(place, tracking)
    archiving = place.values.get("archiving_options")
    archive = archiving.get("archive_arn") if isinstance(archiving, dict) else None
    if isinstance(archive, str) and ":mailmanager-archive/" not in archive:
        place.warn("archiving_options.archive_arn", "bad-arn", f"{show(archive)} is not the ARN of an archive",
                    "write arn:aws:ses:REGION:ACCOUNT:mailmanager-archive/a-...")  # fmt: skip


def _tracking(place: EntryContext, tracking: dict[str, Any]) -> None:
    name = tracking.get("custom_redirect_domain")
    path = "tracking_options.custom_redirect_domain"
    if isinstance(name, str) and place.region in UNPUBLISHED:
        place.error(
            path, "unpublished-host", "a tracking domain leads to the tracking host of SES, whose name AWS has not "
            f"published for {place.region}", "take it out: links then lead to SES's own domain",
        )  # fmt: skip
    elif isinstance(name, str):
        try:
            tracking["custom_redirect_domain"] = fold_domain(name)
        except ValueError as error:
            place.error(path, "bad-name", str(error), 'write a host name, such as "click-${region}.acme.com"')
    elif tracking.get("https_policy") is not None:
        place.error(
            "tracking_options.https_policy", "missing-key", "https_policy needs a custom_redirect_domain",
            "write `custom_redirect_domain:`, or take https_policy out",
        )  # fmt: skip


def check_together(together: Together) -> None:
    """How the tracking domains of one state fit together."""
    seen: dict[str, Entry] = {}
    mail_from = {
        block["mail_from_domain"]: entry
        for entry in together.section("domains")
        if isinstance(block := entry.values.get("mail_from"), dict) and isinstance(block.get("mail_from_domain"), str)
    }
    for entry in together.section("configuration_sets"):
        options = entry.values.get("tracking_options")
        name = options.get("custom_redirect_domain") if isinstance(options, dict) else None
        if not isinstance(name, str) or entry.region is None:
            continue
        path = "tracking_options.custom_redirect_domain"
        if not any(("domains", covering) in together.index for covering in (name, *parents(name))):
            together.warn(
                entry, path, "undeclared-reference", f"no declared domain covers {name}: SES takes a tracking "
                "domain only below a verified identity", "declare its domain under `domains:`", f"{path} {name}",
            )  # fmt: skip
        if isinstance(options, dict) and options.get("https_policy") in ("REQUIRE", "REQUIRE_OPEN_ONLY"):
            continue
        before = seen.setdefault(name, entry)
        if before.region != entry.region:
            together.error(
                entry, path, "tracking-two-regions", f"{name} is the tracking domain in {before.region} and in "
                f"{entry.region}: its one CNAME can only point to one region",
                'put the region into it: "click-${region}.acme.com"', name,
            )  # fmt: skip
        if name in mail_from:
            together.error(
                entry, path, "tracking-is-mail-from", f"{name} is also MAIL FROM of {mail_from[name].name}: "
                "a CNAME takes no other record at its name", "choose another name",
            )  # fmt: skip
        own = together.index.get(("domains", name), {}).get(None)
        if own is not None and any(own.values.get(key) for key in ("spf", "null_mx")):
            together.error(
                entry, path, "tracking-is-domain", f"{name} is declared with records of its own ({own.source}): a "
                "CNAME takes no other record at its name", "choose a name for tracking alone",
            )  # fmt: skip
