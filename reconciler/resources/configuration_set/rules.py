"""Rules about configuration sets: what they change for mail, and their open and click tracking."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.names import at_or_above, is_below
from reconciler.regions import UNPUBLISHED, tracking_target
from reconciler.rules.registry import Problem, RuleFor, resources_after
from reconciler.rules.view import Resource, RuleView, needs_https

_PAGE = ("Configuration sets", "configuration_set/us-east-1/transactional")
set_rule = RuleFor(resources_after("configuration_set"), *_PAGE)
every_set_rule = RuleFor(lambda view: ((one.address, one) for one in view.resources("configuration_set")), *_PAGE)
identity_rule = RuleFor(resources_after("email_identity"), _PAGE[0], "email_identity/us-east-1/acme.com")
https_rule = RuleFor(
    lambda view: ((one.address, one) for one in view.resources_after("configuration_set") if _redirects_https(one)),
    *_PAGE,
)

_DOMAIN = "tracking_options.custom_redirect_domain"
_HTTPS = "tracking_options.https_policy"


def _redirects_https(resource: Resource) -> bool:
    """Whether the set will redirect readers through HTTPS at a custom domain."""
    return bool(resource.will(_DOMAIN)) and needs_https(resource.will(_HTTPS))


@set_rule("sending-stops", "warning", "A configuration set stops sending")
def sending_stops(view: RuleView, resource: Resource) -> Iterator[Problem]:
    """`sending_options.sending_enabled` of a live configuration set changes from true to false, or a new one starts
    with false (a note).

    Why: SES rejects all mail that uses the configuration set.
    Fix: Leave it at true. If you stop sending on purpose, note that turning it on again needs `--resume-sending`.
    Source: SES API, PutConfigurationSetSendingOptions
    """
    path = "sending_options.sending_enabled"
    if resource.will(path) is False and (resource.is_new or resource.alters(path)):
        yield Problem(
            f"after this, SES rejects all mail that uses {resource.place}",
            "leave sending_options.sending_enabled at true",
            new=resource.is_new,
        )


@set_rule("tls-optional", "warning", "Mail may be delivered without TLS")
def tls_optional(view: RuleView, resource: Resource) -> Iterator[Problem]:
    """`tls_policy` changes from REQUIRE to OPTIONAL.

    Why: If a receiver does not support TLS, SES then delivers the mail unencrypted instead of failing.
    Fix: Keep `tls_policy: REQUIRE`.
    Source: SES API, DeliveryOptions TlsPolicy; Gmail sender guidelines: TLS
    """
    path = "delivery_options.tls_policy"
    if resource.was(path) == "REQUIRE" and resource.will(path) != "REQUIRE":
        yield Problem(
            f"after this, SES may deliver mail that uses {resource.place} unencrypted", "keep tls_policy: REQUIRE"
        )


@set_rule("suppression-off", "warning", "Mail is sent to addresses that bounced or complained")
def suppression_off(view: RuleView, resource: Resource) -> Iterator[Problem]:
    """`suppressed_reasons` is empty, or lacks BOUNCE or COMPLAINT.

    Why: An empty list turns off suppression for this configuration set, the account's suppression list included.
    Sending again to addresses that bounced or complained damages the sender's reputation.
    Fix: Write `suppressed_reasons: [BOUNCE, COMPLAINT]`, or remove the block to use the account's setting.
    Source: SES Developer Guide, Configuration set-level suppression
    """
    reasons = resource.will("suppression_options.suppressed_reasons")
    if not isinstance(reasons, list | tuple):
        return
    missing = [reason for reason in ("BOUNCE", "COMPLAINT") if reason not in reasons]
    if missing:
        yield Problem(
            f"{resource.place} does not suppress addresses after {' or '.join(missing)}: sending to them again "
            "damages your reputation",
            "write suppressed_reasons: [BOUNCE, COMPLAINT], or remove it to use the account's setting",
        )


@set_rule("reputation-off", "note", "A configuration set without reputation metrics")
def reputation_off(view: RuleView, resource: Resource) -> Iterator[Problem]:
    """A declared configuration set does not publish reputation metrics.

    Why: Its bounces and complaints are then visible in the account's average only. A marketing campaign can damage the
    delivery of receipts without anybody seeing the cause.
    Fix: `reputation_options: {reputation_metrics_enabled: true}`
    Source: SES Developer Guide, Reputation metrics at configuration set level
    """
    if resource.desired is not None and resource.will("reputation_options.reputation_metrics_enabled") is not True:
        yield Problem(
            f"{resource.place} does not publish its own bounce and complaint rates",
            "write reputation_options: {reputation_metrics_enabled: true}",
        )


@every_set_rule("set-deleted", "warning", "A configuration set that may be in use is deleted")
def set_deleted(view: RuleView, resource: Resource) -> Iterator[Problem]:
    """The plan deletes a configuration set.

    Why: SES then rejects mail that names the configuration set in a header or an API call. An identity that has it as
    its default cannot send at all.
    Fix: Search for senders that name it first. Give identities another default set in an earlier apply.
    Source: SES Developer Guide, Understanding default configuration sets
    """
    if resource.before is None or resource.after is not None:
        return
    users = [
        i.name
        for i in view.resources("email_identity")
        if i.region == resource.region and i.stays and i.will("configuration_set_name") == resource.name
    ]
    effect = f"; it is the default set of {users[0]}, which then cannot send" if users else ""
    yield Problem(
        f"after this, SES rejects mail that names {resource.place}{effect}",
        "search for senders that name it (X-SES-CONFIGURATION-SET) first",
    )


@identity_rule("set-missing", "warning", "An identity names a configuration set that will not exist")
def set_missing(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """The default configuration set of an identity is deleted by this plan.

    Why: SES rejects all mail of an identity if its default configuration set does not exist.
    Fix: Keep or declare the configuration set in that region, or set `configuration_set_name: null`.
    Source: SES Developer Guide, Understanding default configuration sets: sends fail
    """
    name = identity.will("configuration_set_name")
    if not name or not identity.region:
        return
    found = view.resource(f"configuration_set/{identity.region}/{name}")
    if found is not None and found.after is None:
        yield Problem(
            f"{name}, the default set of {identity.place}, will not exist there: SES rejects the identity's mail",
            "declare the set in that region, or set configuration_set_name: null",
        )


# --- tracking ------------------------------------------------------------------------------------------------------


@set_rule("tracking-cname", "warning", "A tracking domain without the right CNAME")
def tracking_cname(view: RuleView, resource: Resource) -> Iterator[Problem]:
    """The custom tracking domain has no record, the tracking host of another region, or without `https_policy: REQUIRE`
    something that is neither the tracking host of the region nor known as a CDN: an A or AAAA record, an alias or
    another CNAME. recon never writes over such a record that it did not make.

    Why: SES writes this domain into the links of every message. If its host does not pass requests on to SES, the links
    do not work, also those in mail that was sent before. A CDN or proxy in front of SES does pass them on; recon knows
    the names of the large ones only.
    Fix: If the host is a CDN or proxy of yours that forwards to `r.<region>.awstrack.me`, waive the finding. If it is
    not, choose another tracking domain: the record may be in use by somebody else.
    Source: SES Developer Guide, Configuring custom domains for open and click tracking
    """
    domain = str(resource.will(_DOMAIN) or "")
    target = tracking_target(resource.region or "")
    if not domain or view.zone_of(domain) is None or resource.region in UNPUBLISHED:
        return
    secure = needs_https(resource.will(_HTTPS))
    there = {kind: found for kind in ("CNAME", "A", "AAAA", "HTTPS") if (found := view.dns_after.get((domain, kind)))}
    if not there:
        yield Problem(
            f"{domain} has no CNAME: links and open pixels in mail of {resource.place} do not work",
            f"point {domain} at {'your CDN' if secure else target}",
        )
        return
    hosts = [
        value for kind, found in there.items() if kind == "CNAME" or found.kind == "alias" for value in found.values
    ]
    if secure or hosts == [target] or (hosts and all(_is_cdn(name) for name in hosts)):
        return
    if hosts and all(name.endswith(".awstrack.me") for name in hosts):
        yield Problem(f"{domain} points at {hosts[0]} instead of {target}", "leave its CNAME to recon")
        return
    shown = " and ".join(dict.fromkeys(hosts)) or f"its {' and '.join(there)} records"
    yield Problem(
        f"{domain} leads to {shown}, not to {target}: links in mail of {resource.place} work only if that host passes "
        "them on to SES; recon leaves the record alone",
        f"if it is your CDN or proxy in front of {target}, waive this; if not, choose another custom_redirect_domain",
    )


def _is_cdn(name: str) -> bool:
    return any(is_below(name, cdn) for cdn in CDNS)


CDNS = (
    "cloudfront.net", "cdn.cloudflare.net", "fastly.net", "fastlylb.net", "edgekey.net", "edgesuite.net", "akamai.net",
    "akamaiedge.net", "akamaized.net", "azureedge.net", "azurefd.net", "b-cdn.net", "cdn77.org", "kxcdn.com", "gcdn.co",
    "impervadns.net", "incapdns.net", "llnwd.net", "cachefly.net", "netlifyglobalcdn.com",
)  # fmt: skip
"""The names that large CDNs give to their customers' hosts."""


@https_rule("tracking-https", "warning", "HTTPS tracking without a certificate for the domain")
def tracking_https(view: RuleView, resource: Resource) -> Iterator[Problem]:
    """`https_policy` requires HTTPS, and the CNAME points directly at awstrack.me. With `--check-public-dns` also: the
    host behind the domain does not listen for HTTPS, does not support TLS, or has a certificate that browsers reject
    (for another name, expired, or from an unknown authority).

    Why: SES has no certificate for the domain, so browsers refuse to open the links and the reader does not reach the
    page. That is worse than no tracking.
    Fix: Put a CDN that has a certificate for the domain in front, and point the CNAME at it.
    Source: SES Developer Guide, Configuring custom domains for open and click tracking: HTTPS needs a CDN
    """
    domain = str(resource.will(_DOMAIN))
    values = view.lookup(domain, "CNAME")
    if values and values[0].endswith(".awstrack.me"):
        yield Problem(
            f"{domain} points at {values[0]}, which has no certificate for {domain}: HTTPS links fail",
            f"put a CDN that has a certificate for {domain} in front, and point the CNAME at it",
        )
    elif problem := view.certificates.get(domain):
        yield Problem(
            f"HTTPS links through {domain} fail: {problem}",
            f"put a CDN that has a certificate for {domain} in front, and point {domain} at it",
        )


@https_rule("tracking-https-unchecked", "note", "The certificate of a tracking domain was not checked")
def tracking_https_unchecked(view: RuleView, resource: Resource) -> Iterator[Problem]:
    """HTTPS tracking starts or changes with this plan, and the certificate of the host was not checked: the plan was
    made without `--check-public-dns`, or the host did not answer in time.

    Why: With `https_policy: REQUIRE` every link in the mail goes through that host. See
    [tracking-https](tracking-https.md).
    Fix: Run `recon plan --check-public-dns` where the network allows the connection, or open the domain in a browser.
    Source: SES Developer Guide, Configuring custom domains for open and click tracking: HTTPS needs a CDN
    """
    domain = str(resource.will(_DOMAIN))
    if domain in view.certificates or not (resource.is_new or resource.alters("tracking_options")):
        return
    yield Problem(
        f"the HTTPS certificate of {domain} was not checked",
        "recon plan --check-public-dns checks it, where the network allows the connection",
    )


@set_rule("tracking-identity", "warning", "A tracking domain that SES has not verified")
def tracking_identity(view: RuleView, resource: Resource) -> Iterator[Problem]:
    """No domain of this stack at or above a new tracking domain is an identity in that region, and a live identity
    there that recon does not manage is not verified. If there is no identity at all, the plan is refused
    (`no-tracking-identity`).

    Why: SES accepts a tracking domain only if it is a verified domain, or below one.
    Fix: Declare the domain for that region.
    Source: SES API, PutConfigurationSetTrackingOptions: a verified domain
    """
    domain = str(resource.will(_DOMAIN) or "")
    if not domain or not resource.region or view.covering_identity(resource.region, domain) is not None:
        return
    above = [f"email_identity/{resource.region}/{name}" for name in at_or_above(domain)]
    live = next((address for address in above if address in view.covering), "")
    status = view.covering.get(live)
    if status == "SUCCESS" or any(view.is_unread(address) for address in above):
        return
    if resource.change is None or not resource.change.diff:
        return
    if resource.is_new or resource.alters(_DOMAIN):
        yield Problem(
            f"no domain of this stack at or above {domain} is an identity in {resource.region}"
            + (f"; {live.rpartition('/')[2]}, which recon does not manage, is {status} there" if live else ""),
            f"declare the domain for {resource.region}: SES accepts tracking domains at or below a verified one",
        )
