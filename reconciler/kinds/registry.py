"""The kinds of resources that recon knows. To add one: write its file, add its line here."""

from __future__ import annotations

from reconciler.kinds.kind import Kind
from reconciler.resources.configuration_set.kind import ConfigurationSet
from reconciler.resources.dedicated_ip_pool.kind import DedicatedIpPool
from reconciler.resources.dns_record.kind import DnsRecord
from reconciler.resources.email_identity.kind import EmailIdentity
from reconciler.resources.event_destination.kind import EventDestination
from reconciler.resources.smtp_credential.kind import SmtpCredential
from reconciler.resources.smtp_user.kind import SmtpUser

# In the order of planning: records and destinations come first, because they decide what the tags of identities and
# sets must remember.
REGISTRY: dict[str, Kind] = {
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
