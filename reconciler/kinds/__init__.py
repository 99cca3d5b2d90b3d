"""The kinds of resources that recon knows. To add one: write its file, add its line here."""

from __future__ import annotations

from reconciler.kinds.configuration_set import ConfigurationSet
from reconciler.kinds.dedicated_ip_pool import DedicatedIpPool
from reconciler.kinds.dns_record import DnsRecord
from reconciler.kinds.email_identity import EmailIdentity
from reconciler.kinds.event_destination import EventDestination
from reconciler.kinds.kind import Kind
from reconciler.kinds.smtp_credential import SmtpCredential
from reconciler.kinds.smtp_user import SmtpUser

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
