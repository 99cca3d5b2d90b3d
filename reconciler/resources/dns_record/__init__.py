"""DNS records in Route 53: what identities, domains and tracking names need, value by value."""

from reconciler.resources.dns_record.headline import PHRASES, facts
from reconciler.resources.spec import KindSpec, Words

TRACKING_KIND = "configuration_set"
"""The kind whose resources have a tracking domain, for which there is a CNAME here."""

SPEC = KindSpec(
    name="dns_record",
    words="DNS record",
    address=("ZONE", "NAME", "TYPE"),
    follows=("email_identity", TRACKING_KIND),
    anywhere=("route53:ListHostedZones",),
    taggable=False,
    says=Words(phrases=PHRASES, facts=facts),
    read_last=True,
    counted_apart=True,
    counts_deletes=False,
)
