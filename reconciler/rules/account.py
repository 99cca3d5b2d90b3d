"""Accounts, configuration sets, pools and identities: what may send, how well, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reconciler.names import parents
from reconciler.rules.registry import Draft, rule
from reconciler.rules.view import Resource, RuleView, needs_https

_LOW_QUOTA = 0.25
"""A secondary region below this share of the primary's quota could not take over."""


def _sets(view: RuleView) -> Iterator[Resource]:
    return (r for r in view.resources("configuration_set") if r.after is not None)


def _account(region: str) -> str:
    return f"account/{region}"


def _used_regions(view: RuleView) -> list[str]:
    return [
        region for region in view.accounts if any(i.region == region and i.after is not None for i in view.identities)
    ]


# --- regions -------------------------------------------------------------------------------------------------------


@rule(
    "region-sandbox",
    "warning",
    "A region is still in the SES sandbox",
    "SES Developer Guide, Request production access",
)
def sandbox(view: RuleView) -> Iterator[Draft]:
    """Mail only to verified addresses, 200 a day."""
    for region in _used_regions(view):
        if view.accounts[region].get("ProductionAccessEnabled") is False:
            yield Draft(
                _account(region),
                f"{region} is in the sandbox: mail goes to verified addresses only, 200 a day",
                "ask for production access in that region's console",
            )


@rule(
    "region-paused",
    "warning",
    "Sending is off in a region",
    "SES API, GetAccount: SendingEnabled and EnforcementStatus SHUTDOWN",
)
def paused(view: RuleView) -> Iterator[Draft]:
    """By the account's own switch or by AWS."""
    for region in _used_regions(view):
        account = view.accounts[region]
        if account.get("EnforcementStatus") == "SHUTDOWN":
            yield Draft(
                _account(region), f"AWS has shut down sending in {region}", "answer the case in the AWS console"
            )
        elif account.get("SendingEnabled") is False:
            yield Draft(_account(region), f"sending is paused in {region}", "`recon account resume` starts it again")


@rule("region-probation", "warning", "A region is on probation", "SES Developer Guide, Sending review process")
def probation(view: RuleView) -> Iterator[Draft]:
    """AWS watches bounces and complaints and may stop sending."""
    for region in _used_regions(view):
        if view.accounts[region].get("EnforcementStatus") == "PROBATION":
            yield Draft(
                _account(region),
                f"{region} is on probation: AWS may stop sending",
                "mend the cause that the AWS case names before sending more",
            )


@rule(
    "region-quota",
    "warning",
    "A region's quota is far below the primary's",
    "SES Developer Guide, Regions: quotas are per region",
)
def quota(view: RuleView) -> Iterator[Draft]:
    """It could not take over in a failure."""
    primary = view.state.stack.regions[0] if view.state.stack.regions else ""
    most = _daily(view, primary)
    for region in _used_regions(view):
        mine = _daily(view, region)
        if region != primary and most is not None and mine is not None and 0 <= mine < most * _LOW_QUOTA:
            yield Draft(
                _account(region),
                f"{region} may send {mine:.0f} messages a day, {primary} {most:.0f}: it cannot take over",
                "ask for the same quota in Service Quotas",
            )


def _daily(view: RuleView, region: str) -> float | None:
    value: Any = (view.accounts.get(region, {}).get("SendQuota") or {}).get("Max24HourSend")
    return float(value) if isinstance(value, int | float) and value >= 0 else None


# --- configuration sets --------------------------------------------------------------------------------------------


@rule("sending-stops", "warning", "A configuration set stops sending", "SES API, PutConfigurationSetSendingOptions")
def sending_stops(view: RuleView) -> Iterator[Draft]:
    """sending_enabled goes from true to false, or a new set begins with it off."""
    path = "sending_options.sending_enabled"
    for resource in _sets(view):
        if resource.will(path) is False and (resource.is_new or resource.alters(path)):
            yield Draft(
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
def tls_optional(view: RuleView) -> Iterator[Draft]:
    """tls_policy goes from REQUIRE to OPTIONAL."""
    path = "delivery_options.tls_policy"
    for resource in _sets(view):
        if resource.was(path) == "REQUIRE" and resource.will(path) != "REQUIRE":
            yield Draft(
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
def suppression_off(view: RuleView) -> Iterator[Draft]:
    """suppressed_reasons: [] switches even the account's list off; a list without COMPLAINT or BOUNCE half of it."""
    for resource in _sets(view):
        reasons = resource.will("suppression_options.suppressed_reasons")
        if not isinstance(reasons, list | tuple):
            continue
        missing = [reason for reason in ("BOUNCE", "COMPLAINT") if reason not in reasons]
        if missing:
            yield Draft(
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
def reputation_off(view: RuleView) -> Iterator[Draft]:
    """Bounce and complaint rates of this stream stay hidden in the account's."""
    for resource in _sets(view):
        if resource.desired is not None and resource.will("reputation_options.reputation_metrics_enabled") is not True:
            yield Draft(
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
def set_deleted(view: RuleView) -> Iterator[Draft]:
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
        yield Draft(
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
def set_missing(view: RuleView) -> Iterator[Draft]:
    """Neither declared nor seen live by this run."""
    for identity in view.resources("email_identity"):
        name = identity.will("configuration_set_name")
        if identity.after is None or not name or not identity.region:
            continue
        address = f"configuration_set/{identity.region}/{name}"
        found = view.resource(address)
        if found is not None and found.after is None:
            yield Draft(
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
def tracking_cname(view: RuleView) -> Iterator[Draft]:
    """Links and pixels of sent mail lead nowhere."""
    from reconciler.regions import tracking_target

    for resource in _sets(view):
        domain = str(resource.will("tracking_options.custom_redirect_domain") or "")
        target = tracking_target(resource.region or "")
        values = view.lookup(domain, "CNAME") if domain else None
        if values is None:
            continue
        secure = needs_https(resource.will("tracking_options.https_policy"))
        if not values and (not secure or _nothing_at(view, domain)):
            yield Draft(
                resource.address,
                f"{domain} has no CNAME: links and open pixels of {resource.name} in {resource.region} lead nowhere",
                f"point {domain} at {'your CDN' if secure else target}",
            )
        elif values and not secure and values[0] != target:
            yield Draft(
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
def tracking_https(view: RuleView) -> Iterator[Draft]:
    """https_policy REQUIRE with a CNAME to awstrack.me, or a host whose certificate readers would refuse."""
    for resource in _https_sets(view):
        domain = str(resource.will("tracking_options.custom_redirect_domain"))
        values = view.lookup(domain, "CNAME")
        if values and values[0].endswith(".awstrack.me"):
            yield Draft(
                resource.address,
                f"{domain} points at {values[0]}, which has no certificate for it: HTTPS links fail",
                "put a CDN with a certificate for the name in front, and point the CNAME at that",
            )
        elif problem := view.certificates.get(domain):
            yield Draft(
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
def tracking_https_unchecked(view: RuleView) -> Iterator[Draft]:
    """Its tracking begins with this plan, and nobody has connected to the host, or it could not be reached."""
    for resource in _https_sets(view):
        domain = str(resource.will("tracking_options.custom_redirect_domain"))
        if domain in view.certificates or not (resource.is_new or resource.alters("tracking_options")):
            continue
        yield Draft(
            resource.address,
            f"whether {domain} has a certificate that readers accept was not checked",
            "recon plan --look-outside connects to it, where the network lets it",
        )


def _https_sets(view: RuleView) -> Iterator[Resource]:
    """The sets that will send readers to HTTPS at a domain of their own."""
    for resource in _sets(view):
        block = resource.will("tracking_options") or {}
        if block.get("custom_redirect_domain") and needs_https(block.get("https_policy")):
            yield resource


@rule(
    "tracking-identity",
    "warning",
    "A tracking domain that SES has not verified",
    "SES API, PutConfigurationSetTrackingOptions: a verified domain",
)
def tracking_identity(view: RuleView) -> Iterator[Draft]:
    """No domain identity at or above it in that region: the put is refused."""
    for resource in _sets(view):
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
            yield Draft(
                resource.address,
                f"no domain of this stack at or above {domain} is an identity in {resource.region}"
                + (f", and that of others there is {live}" if live else ""),
                f"declare the domain for {resource.region}; SES takes a tracking domain only below a verified one",
            )


# --- pools ---------------------------------------------------------------------------------------------------------


@rule(
    "pool-charges",
    "warning",
    "A dedicated IP pool begins to cost",
    "SES pricing, Dedicated IPs (managed): monthly charge from creation",
)
def pool_cost(view: RuleView) -> Iterator[Draft]:
    """A MANAGED pool is created, or a STANDARD one becomes MANAGED."""
    for pool in view.resources("dedicated_ip_pool"):
        if pool.after is not None and pool.will("scaling_mode") == "MANAGED" and pool.was("scaling_mode") != "MANAGED":
            yield Draft(
                pool.address,
                f"the managed pool {pool.name} in {pool.region} costs from its creation on ($15 a month for "
                "the account, and a price a message)",
                "there is no way back to STANDARD; deleting the pool ends the charge",
            )


@rule(
    "pool-empty",
    "warning",
    "A configuration set sends through a pool without addresses",
    "SES Developer Guide, Creating standard dedicated IP pools",
)
def pool_empty(view: RuleView) -> Iterator[Draft]:
    """A STANDARD pool starts empty, and mail through it is not delivered."""
    for resource in _sets(view):
        name = resource.will("delivery_options.sending_pool_name")
        pool = view.resource(f"dedicated_ip_pool/{resource.region}/{name}") if name else None
        if pool is None or pool.after is None or pool.will("scaling_mode") == "MANAGED" or pool.will("dedicated_ips"):
            continue
        yield Draft(
            resource.address,
            f"{resource.name} in {resource.region} sends through {name}, a STANDARD pool without addresses",
            "lease addresses and list them under dedicated_ips, or use scaling_mode: MANAGED",
        )


@rule(
    "pool-switch",
    "warning",
    "A stream moves to other sending addresses",
    "SES Developer Guide, Warming up dedicated IP addresses",
)
def pool_switch(view: RuleView) -> Iterator[Draft]:
    """Receivers do not know the new addresses yet."""
    path = "delivery_options.sending_pool_name"
    for resource in _sets(view):
        if resource.alters(path) and resource.will(path) not in (None, "ses-shared-pool"):
            yield Draft(
                resource.address,
                f"{resource.name} in {resource.region} moves from "
                f"{resource.was(path) or 'the shared addresses'} to the pool {resource.will(path)}: receivers do not "
                "know its addresses",
                "move a small stream first, or let a managed pool warm up by itself",
            )


# --- identities ----------------------------------------------------------------------------------------------------


@rule(
    "identity-deleted",
    "error",
    "An identity that sends is deleted",
    "SES API, DeleteEmailIdentity: mail from it is refused at once",
)
def identity_deleted(view: RuleView) -> Iterator[Draft]:
    """An error where it is known to have sent in the last day; a note where its whole region is known to have not."""
    for identity in view.resources("email_identity"):
        if identity.before is None or identity.after is not None:
            continue
        sent = view.sent_last_day.get(identity.address)
        region = (view.accounts.get(identity.region or "", {}).get("SendQuota") or {}).get("SentLast24Hours")
        known = ""
        if sent:
            known = f"; it sent {sent} messages in the last day"
        elif region:
            known = f"; the region sent {region:.0f} messages in the last day, and SES does not say for whom"
        elif region is not None:
            known = "; nothing was sent there in the last day"
        yield Draft(
            identity.address,
            f"mail from {identity.name} is refused in {identity.region} from then on{known}",
            "move its senders first, or waive this with a date",
            hurts=bool(sent),
            new=not sent and region == 0,
        )


@rule(
    "identity-shadows-parent",
    "warning",
    "A new identity takes over mail that its parent sends today",
    "SES Developer Guide, Creating and verifying identities: the most specific identity counts",
)
def shadows_parent(view: RuleView) -> Iterator[Draft]:
    """Until it is verified and has DKIM and MAIL FROM of its own, mail from it may go unsigned."""
    for identity in view.resources("email_identity"):
        if not identity.is_new or not identity.region:
            continue
        domain = identity.name.rpartition("@")[2]
        above = parents(domain) if "@" not in identity.name else (domain, *parents(domain))
        for name in above:
            parent = view.resource(f"email_identity/{identity.region}/{name}")
            if parent is not None and parent.stays and view.can_send(parent):
                yield Draft(
                    identity.address,
                    f"mail from {identity.name} flows through {name} in {identity.region} today; its own "
                    "identity takes over as soon as it exists, before it is verified",
                    "apply at a quiet hour, and give it the settings of its parent (set, MAIL FROM, DKIM)",
                )
                break


@rule(
    "address-mail",
    "note",
    "SES sends a verification mail",
    "SES Developer Guide, Creating and verifying identities: the link lives 24 hours",
)
def verification_mail(view: RuleView) -> Iterator[Draft]:
    """A new single-address identity."""
    for identity in view.resources("email_identity"):
        if identity.is_new and "@" in identity.name:
            yield Draft(
                identity.address,
                f"SES mails a link to {identity.name}; somebody has to follow it within 24 hours",
                "tell the owner of the mailbox",
            )


@rule(
    "policy-anyone",
    "warning",
    "A sending policy that lets any AWS account send",
    "SES Developer Guide, Sending authorization policy anatomy",
)
def policy_anyone(view: RuleView) -> Iterator[Draft]:
    """Principal * in an Allow without a condition."""
    for identity in view.resources("email_identity"):
        for name, policy in (identity.will("policies") or {}).items():
            statements = policy.get("Statement") or () if isinstance(policy, dict) else ()
            for statement in statements if isinstance(statements, list | tuple) else [statements]:
                if (
                    statement.get("Effect") == "Allow"
                    and _anyone(statement.get("Principal"))
                    and not statement.get("Condition")
                ):
                    yield Draft(
                        identity.address,
                        f"the policy {name} of {identity.name} in {identity.region} lets every AWS "
                        "account send in its name",
                        "name the account, or add a condition",
                    )


def _anyone(principal: Any) -> bool:
    if isinstance(principal, dict):
        values = principal.get("AWS")
        return values == "*" or (isinstance(values, list | tuple) and "*" in values)
    return bool(principal == "*")
