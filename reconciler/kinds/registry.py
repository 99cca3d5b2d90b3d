"""The kinds of resources that recon knows, and the orders that follow from what they say of each other.

To add a kind: write its file, add its line here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter

from reconciler.kinds.kind import BaseKind
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


def _sorted(earlier: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """The names so that each comes after those in ``earlier``; by name where that leaves a choice."""
    sorter = TopologicalSorter(earlier)
    sorter.prepare()
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        yield from ready
        sorter.done(*ready)


def _with_parts() -> Iterator[str]:
    """The kinds after those that they name, each directly followed by the kinds that are part of it."""
    for name in _sorted({k.name: k.references for k in REGISTRY.values() if k.parent is None}):
        yield name
        yield from sorted(kind.name for kind in REGISTRY.values() if kind.parent == name)


PLANNING: tuple[BaseKind, ...] = tuple(
    REGISTRY[name] for name in _sorted({kind.name: kind.plans_after for kind in REGISTRY.values()})
)
"""The kinds in the order in which they plan."""

RANK: Mapping[str, int] = {name: number for number, name in enumerate(_with_parts())}
"""The place of each kind's changes in a plan; deletions come in the reverse order."""
