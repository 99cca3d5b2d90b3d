"""The classes of the kinds, and the kinds in the orders that follow from what they say of each other (``SPEC``)."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.kinds.kind import BaseKind
from reconciler.resources import PLAN_ORDER, PLANNING_ORDER
from reconciler.resources.configuration_set.kind import ConfigurationSet
from reconciler.resources.dedicated_ip_pool.kind import DedicatedIpPool
from reconciler.resources.dns_record.kind import DnsRecord
from reconciler.resources.email_identity.kind import EmailIdentity
from reconciler.resources.event_destination.kind import EventDestination
from reconciler.resources.smtp_credential.kind import SmtpCredential
from reconciler.resources.smtp_user.kind import SmtpUser

REGISTRY: dict[str, BaseKind] = {
    kind.name: kind
    for kind in (
        DnsRecord(),
        EventDestination(),
        ConfigurationSet(),
        DedicatedIpPool(),
        EmailIdentity(),
        SmtpCredential(),
        SmtpUser(),
    )
}


PLANNING: tuple[BaseKind, ...] = tuple(REGISTRY[name] for name in PLANNING_ORDER)
"""The kinds in the order in which they plan."""

RANK: Mapping[str, int] = {name: number for number, name in enumerate(PLAN_ORDER)}
"""The place of each kind's changes in a plan; deletions come in the reverse order."""
