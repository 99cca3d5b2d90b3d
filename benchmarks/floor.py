"""The floor: the fewest AWS calls that can do a thing for the benchmark's stack, and the seconds that their rates cost.

``D`` domains in ``Z`` zones of a few dozen records, one configuration set, one region, nothing else in the account.
docs/performance.md derives each line; tests/test_calls.py holds recon to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

RATES: Mapping[str, float] = {"ses": 1.0, "route53": 5.0, "tagging": 15.0}
"""Calls a second: SES and Route 53 as documented ("Service quotas", "Quotas"; per account, SES also per region);
tagging as it is often said. For IAM and STS nothing is published, and a run needs one or two."""

SES_REGIONS = 27
"""Regions of the commercial partition that are swept for what is ours, each with its own limit."""

Calls = Mapping[str, int]
"""Calls by limit: ses, route53, tagging, iam, sts."""


def around(domains: int, zones: int) -> dict[str, int]:
    """What every plan asks beside the identities: whose account, the set's two parts and the account's status (SES),
    one page of zones a hundred and one of records a zone (Route 53), who owns what (tagging and IAM)."""
    return {
        "sts": 1,
        "iam": 1,
        "ses": 3,
        "route53": ceil(zones / 100) + zones,
        "tagging": 1 + SES_REGIONS - 1 + max(1, ceil((domains + 1) / 100)),
    }


def plan_full(domains: int, zones: int) -> dict[str, int]:
    """Every attribute of what is live: GetEmailIdentity alone tells the origin and length of the DKIM key, the default
    configuration set and the policies, of one identity a call."""
    calls = around(domains, zones)
    return {**calls, "ses": calls["ses"] + domains}


def plan_bulk(domains: int, zones: int) -> dict[str, int]:
    """What calls for many tell: the list (1,000 a call), DKIM and MAIL FROM (100 a call each); feedback is not
    declared."""
    calls = around(domains, zones)
    return {**calls, "ses": calls["ses"] + ceil(domains / 1000) + 2 * ceil(domains / 100)}


def plan_first(domains: int, zones: int) -> dict[str, int]:
    """Nothing is there: one list says so for a thousand identities, and one of them is read, since a list may trail; a
    set that is absent has one answer."""
    calls = around(0, zones)
    return {**calls, "ses": 2 + min(domains, 2)}


def apply_first(domains: int, zones: int) -> dict[str, int]:
    """The plan, then two writes a domain, one for the set, one batch a zone, and one look at it until it is in sync."""
    calls = plan_first(domains, zones)
    return {**calls, "ses": calls["ses"] + 2 * domains + 1, "route53": calls["route53"] + 2 * zones}


FLOORS = {
    "plan, first": plan_first,
    "apply, first": apply_first,
    "plan, nothing to do": plan_full,
    "plan in bulk": plan_bulk,
}


START = 1.6
"""Seconds until the first call has its answer: Python, the YAML, a connection, whose account it is."""
PACE = 0.94
"""recon's rate beside the documented one (``reconciler/aws/limiter.py``)."""
INSYNC = 30.0
"""Seconds that Route 53 often takes to publish a change."""


def expected(command: str, domains: int, zones: int) -> float:
    """About how long recon takes at the documented rates: the start, and the calls of the slowest limit at its pace. An
    apply creates identities first, so that their records are published while it goes on."""
    calls = FLOORS[command](domains, zones)
    found = max((calls[limit] - 1) / (rate * PACE) for limit, rate in RATES.items() if limit != "tagging")
    if command == "apply, first":
        found = max(found, (plan_first(domains, zones)["ses"] + 1 + domains) / PACE + INSYNC + 2)
    return START + found


def total(calls: Calls) -> int:
    return sum(calls.values())


def seconds(calls: Calls) -> float:
    """How long the calls take at the documented rates, with every limit used side by side."""
    return max(calls[limit] / rate for limit, rate in RATES.items() if limit != "tagging")
