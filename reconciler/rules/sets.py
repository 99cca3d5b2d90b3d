"""Configuration sets and their tracking: what is sent under which rules, and what its links point at."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.names import parents
from reconciler.rules.registry import RawFinding, rule
from reconciler.rules.view import Resource, RuleView, needs_https


def sets_after(view: RuleView) -> Iterator[Resource]:
    """The configuration sets that are there once the plan is carried out."""
    return (r for r in view.resources("configuration_set") if r.after is not None)


@rule("sending-stops", "warning", "A configuration set stops sending", "SES API, PutConfigurationSetSendingOptions")
def sending_stops(view: RuleView) -> Iterator[RawFinding]:
    """sending_enabled goes from true to false, or a new set begins with it off."""
    path = "sending_options.sending_enabled"
    for resource in sets_after(view):
        if resource.will(path) is False and (resource.is_new or resource.alters(path)):
            yield RawFinding(
                resource.address,
                f"SES refuses all mail with {resource.name} in {resource.region} from then on",
                "leave sending_options.sending_enabled at true",
                new=resource.is_new,
            )


@rule(
    "tls-optional",
    "warning",
    "Mail may leave without TLS",
    "SES API, DeliveryOptions TlsPolicy; Gmail sender guidelines: TLS",
)
def tls_optional(view: RuleView) -> Iterator[RawFinding]:
    """tls_policy goes from REQUIRE to OPTIONAL."""
    path = "delivery_options.tls_policy"
    for resource in sets_after(view):
        if resource.was(path) == "REQUIRE" and resource.will(path) != "REQUIRE":
            yield RawFinding(
                resource.address,
                f"mail with {resource.name} in {resource.region} may then be delivered in the clear",
                "keep tls_policy: REQUIRE",
            )


@rule(
    "suppression-off",
    "warning",
    "Mail goes to addresses that bounced or complained",
    "SES Developer Guide, Configuration set-level suppression",
)
def suppression_off(view: RuleView) -> Iterator[RawFinding]:
    """suppressed_reasons: [] switches even the account's list off; a list without COMPLAINT or BOUNCE half of it."""
    for resource in sets_after(view):
        reasons = resource.will("suppression_options.suppressed_reasons")
        if not isinstance(reasons, list | tuple):
            continue
        missing = [reason for reason in ("BOUNCE", "COMPLAINT") if reason not in reasons]
        if missing:
            yield RawFinding(
                resource.address,
                f"{resource.name} in {resource.region} does not suppress after "
                f"{' and '.join(missing)}: repeated sends to such addresses cost reputation",
                "write suppressed_reasons: [BOUNCE, COMPLAINT], or leave it out for the account's rule",
            )


@rule(
    "reputation-off",
    "note",
    "No reputation metrics for a configuration set",
    "SES Developer Guide, Reputation metrics at configuration set level",
)
def reputation_off(view: RuleView) -> Iterator[RawFinding]:
    """Bounce and complaint rates of this stream stay hidden in the account's."""
    for resource in sets_after(view):
        if resource.desired is not None and resource.will("reputation_options.reputation_metrics_enabled") is not True:
            yield RawFinding(
                resource.address,
                f"bounce and complaint rates of {resource.name} in {resource.region} are not measured apart",
                "write reputation_options: {reputation_metrics_enabled: true}",
            )


@rule(
    "set-deleted",
    "warning",
    "A configuration set that may be in use is deleted",
    "SES Developer Guide, Understanding default configuration sets",
)
def set_deleted(view: RuleView) -> Iterator[RawFinding]:
    """Mail that names the set is refused from then on; an identity that has it as its default cannot send at all."""
    for resource in view.resources("configuration_set"):
        if resource.before is None or resource.after is not None:
            continue
        users = [
            i.name
            for i in view.resources("email_identity")
            if i.region == resource.region and i.stays and i.will("configuration_set_name") == resource.name
        ]
        effect = f"; it is the default of {users[0]}, whose mail then fails" if users else ""
        yield RawFinding(
            resource.address,
            f"mail that names {resource.name} in {resource.region} is refused from then on{effect}",
            "look for senders that name it (X-SES-CONFIGURATION-SET) first",
        )


@rule(
    "set-missing",
    "warning",
    "An identity names a configuration set that is not there",
    "SES Developer Guide, Understanding default configuration sets: sends fail",
)
def set_missing(view: RuleView) -> Iterator[RawFinding]:
    """Neither declared nor seen live by this run."""
    for identity in view.resources("email_identity"):
        name = identity.will("configuration_set_name")
        if identity.after is None or not name or not identity.region:
            continue
        address = f"configuration_set/{identity.region}/{name}"
        found = view.resource(address)
        if found is not None and found.after is None:
            yield RawFinding(
                identity.address,
                f"the default set {name} of {identity.name} will not exist in {identity.region}: its mail is refused",
                "declare the set in that region, or set configuration_set_name: null",
            )


# --- tracking ------------------------------------------------------------------------------------------------------


@rule(
    "tracking-cname",
    "warning",
    "A tracking domain without the right CNAME",
    "SES Developer Guide, Configuring custom domains for open and click tracking",
)
def tracking_cname(view: RuleView) -> Iterator[RawFinding]:
    """Links and pixels of sent mail lead nowhere."""
    from reconciler.regions import tracking_target

    for resource in sets_after(view):
        domain = str(resource.will("tracking_options.custom_redirect_domain") or "")
        target = tracking_target(resource.region or "")
        values = view.lookup(domain, "CNAME") if domain else None
        if values is None:
            continue
        secure = needs_https(resource.will("tracking_options.https_policy"))
        if not values and (not secure or _nothing_at(view, domain)):
            yield RawFinding(
                resource.address,
                f"{domain} has no CNAME: links and open pixels of {resource.name} in {resource.region} lead nowhere",
                f"point {domain} at {'your CDN' if secure else target}",
            )
        elif values and not secure and values[0] != target:
            yield RawFinding(
                resource.address,
                f"{domain} points at {values[0]}, not at {target}",
                "leave its CNAME to recon, or set https_policy: REQUIRE if a CDN stands in front",
            )


def _nothing_at(view: RuleView, name: str) -> bool:
    return all(view.dns_after.get((name, kind)) is None for kind in ("A", "AAAA", "CNAME"))


@rule(
    "tracking-https",
    "warning",
    "HTTPS tracking without a certificate for the name",
    "SES Developer Guide, Configuring custom domains for open and click tracking: HTTPS needs a CDN",
)
def tracking_https(view: RuleView) -> Iterator[RawFinding]:
    """https_policy REQUIRE with a CNAME to awstrack.me, or a host whose certificate readers would refuse."""
    for resource in _https_sets(view):
        domain = str(resource.will("tracking_options.custom_redirect_domain"))
        values = view.lookup(domain, "CNAME")
        if values and values[0].endswith(".awstrack.me"):
            yield RawFinding(
                resource.address,
                f"{domain} points at {values[0]}, which has no certificate for it: HTTPS links fail",
                "put a CDN with a certificate for the name in front, and point the CNAME at that",
            )
        elif problem := view.certificates.get(domain):
            yield RawFinding(
                resource.address,
                f"HTTPS links through {domain} fail: {problem}",
                "put a CDN with a certificate for the name in front, and point the name at that",
            )


@rule(
    "tracking-https-unchecked",
    "note",
    "The certificate of a tracking domain was not checked",
    "SES Developer Guide, Configuring custom domains for open and click tracking: HTTPS needs a CDN",
)
def tracking_https_unchecked(view: RuleView) -> Iterator[RawFinding]:
    """Its tracking begins with this plan, and nobody has connected to the host, or it could not be reached."""
    for resource in _https_sets(view):
        domain = str(resource.will("tracking_options.custom_redirect_domain"))
        if domain in view.certificates or not (resource.is_new or resource.alters("tracking_options")):
            continue
        yield RawFinding(
            resource.address,
            f"whether {domain} has a certificate that readers accept was not checked",
            "recon plan --check-public-dns connects to it, where the network lets it",
        )


def _https_sets(view: RuleView) -> Iterator[Resource]:
    """The sets that will send readers to HTTPS at a domain of their own."""
    for resource in sets_after(view):
        block = resource.will("tracking_options") or {}
        if block.get("custom_redirect_domain") and needs_https(block.get("https_policy")):
            yield resource


@rule(
    "tracking-identity",
    "warning",
    "A tracking domain that SES has not verified",
    "SES API, PutConfigurationSetTrackingOptions: a verified domain",
)
def tracking_identity(view: RuleView) -> Iterator[RawFinding]:
    """No domain identity at or above it in that region: the put is refused."""
    for resource in sets_after(view):
        domain = str(resource.will("tracking_options.custom_redirect_domain") or "")
        if not domain or not resource.region or view.covering_identity(resource.region, domain) is not None:
            continue
        above = [f"email_identity/{resource.region}/{name}" for name in (domain, *parents(domain))]
        live = next((view.covering[address] for address in above if address in view.covering), None)
        if live == "SUCCESS" or any(view.is_unread(address) for address in above):
            continue
        if resource.change is None or not resource.change.diff:
            continue
        if resource.is_new or resource.alters("tracking_options.custom_redirect_domain"):
            yield RawFinding(
                resource.address,
                f"no domain of this stack at or above {domain} is an identity in {resource.region}"
                + (f", and that of others there is {live}" if live else ""),
                f"declare the domain for {resource.region}; SES takes a tracking domain only below a verified one",
            )
