"""Values of dedicated IP pools."""

from __future__ import annotations

import ipaddress

from reconciler.desired.checks.place import EntryContext
from reconciler.desired.checks.together import Together
from reconciler.desired.nodes import show
from reconciler.model import Entry, Stack


def check(place: EntryContext, stack: Stack) -> None:
    """One pool in one region."""
    ips = place.values.get("dedicated_ips")
    if not isinstance(ips, list):
        return
    if ips and place.values.get("scaling_mode") == "MANAGED":
        place.error("dedicated_ips", "managed-pool-ips", "SES itself chooses the IPs of a MANAGED pool",
                    "take dedicated_ips out, or write `scaling_mode: STANDARD`")  # fmt: skip
    for index, ip in enumerate(ips):
        try:
            ipaddress.IPv4Address(ip)
        except ValueError:
            place.error(
                f"dedicated_ips.{index}", "bad-network", f"{show(ip)} is not an IPv4 address", "such as 192.0.2.1"
            )


def check_together(together: Together) -> None:
    """An address belongs to one pool of one region."""
    seen: dict[str, Entry] = {}
    for entry in together.section("dedicated_ip_pools"):
        for index, ip in enumerate(entry.values.get("dedicated_ips") or ()):
            before = seen.setdefault(ip, entry)
            if before is not entry:
                other = f"{before.name} in {before.region}"
                together.error(
                    entry, f"dedicated_ips.{index}", "ip-in-two-pools", f"{ip} is also in the pool {other}; an IP "
                    "belongs to one pool of one region", "keep it in one; by_region says what only one region has",
                )  # fmt: skip
