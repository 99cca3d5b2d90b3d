"""The table of docs/ownership.md: what happens in AWS when something is taken out of the YAML."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from support import ACCOUNT, HOME, OTHER, House

RESOURCE = f"arn:aws:ses:{HOME}:{ACCOUNT}:identity/acme.com"
ALLOW = {"Effect": "Allow", "Principal": {"AWS": "222233334444"}, "Action": "ses:SendEmail", "Resource": RESOURCE}
EVENT = {
    "matching_event_types": ["BOUNCE"],
    "event_bridge_destination": {"event_bus_arn": "arn:aws:events:${region}:${account}:event-bus/default"},
}
WHOLE: dict[str, Any] = {
    "domains": {
        "acme.com": {
            "dkim": {"signing_enabled": True},
            "dmarc": {"p": "none"},
            "bimi": {"l": "https://acme.com/logo.svg"},
            "spf": {"include": ["a.example", "b.example"]},
            "mail_from": {"mail_from_domain": "bounce-${region}.${domain}"},
            "policies": {"partner": {"Version": "2012-10-17", "Statement": [ALLOW]}},
            "tags": {"team": "mail"},
            "email_forwarding_enabled": True,
        },
        "two.acme.com": {"regions": [HOME, OTHER], "dkim": {}, "configuration_set_name": "main"},
        "parked.acme.com": {"identity": False, "dmarc": {"p": "reject"}, "null_mx": True},
    },
    "configuration_sets": {
        "main": {
            "regions": [HOME, OTHER],
            "sending_options": {"sending_enabled": True},
            "event_destinations": {"d": EVENT},
            "tracking_options": {"custom_redirect_domain": "click-${region}.two.acme.com"},
        },
        "other": {"event_destinations": {"d": EVENT}},
    },
    "email_templates": {"hello": {"subject": "Hello", "text": "Hello"}},
    "account": {"suppression_attributes": {"suppressed_reasons": ["BOUNCE"]}},
}
IDENTITY = f"email_identity/{HOME}/acme.com"
DNS = "dns_record/acme.com"
GONE: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "dmarc": (("domains", "acme.com", "dmarc"), {f"{DNS}/_dmarc.acme.com/TXT": "delete"}),
    "bimi": (("domains", "acme.com", "bimi"), {f"{DNS}/default._bimi.acme.com/TXT": "delete"}),
    "spf": (("domains", "acme.com", "spf"), {f"{DNS}/acme.com/TXT": "update"}),
    "mail_from": (
        ("domains", "acme.com", "mail_from"),
        {f"{DNS}/bounce-{HOME}.acme.com/MX": "delete", f"{DNS}/bounce-{HOME}.acme.com/TXT": "delete"},
    ),
    "dkim": (("domains", "acme.com", "dkim"), {}),
    "policy": (("domains", "acme.com", "policies"), {}),
    "tag": (("domains", "acme.com", "tags"), {}),
    "attribute": (("domains", "acme.com", "email_forwarding_enabled"), {}),
    "null_mx": (("domains", "parked.acme.com", "null_mx"), {f"{DNS}/parked.acme.com/MX": "delete"}),
    "set attribute": (("configuration_sets", "main", "sending_options"), {}),
    "tracking": (("configuration_sets", "main", "tracking_options"), {}),
    "destination": (
        ("configuration_sets", "main", "event_destinations"),
        {f"event_destination/{region}/main/d": "delete" for region in (HOME, OTHER)},
    ),
    "set": (
        ("configuration_sets", "other"),
        {f"configuration_set/{HOME}/other": "delete", f"event_destination/{HOME}/other/d": "delete"},
    ),
    "template": (("email_templates", "hello"), {f"email_template/{HOME}/hello": "delete"}),
    "account": (("account",), {}),
}
"""What is taken out -> its path, and the changes beside those of the resource that it is a part of."""
CHANGED = {"mail_from", "policy", "tag", "dmarc", "bimi", "null_mx", "spf", "destination"}
"""What also changes its owner: an attribute, or the tag or marker that remembers it."""


@pytest.fixture
def whole(house: House) -> House:
    def make() -> None:
        house.seed_zone("acme.com", {("acme.com", "TXT"): ["v=spf1 include:vendor.example -all"]})
        house.settle(WHOLE)

    house.once("taken out: the whole", make)
    return house


@pytest.mark.parametrize("what", GONE)
def test_what_is_taken_out_of_the_yaml(whole: House, what: str) -> None:
    path, wanted = GONE[what]
    document = copy.deepcopy(WHOLE)
    place = document
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    found = {c.address: c.action for c in whole.settle(document).changes}
    owners = (IDENTITY, f"configuration_set/{HOME}/main", f"configuration_set/{OTHER}/main")
    rest = {a for a in found.keys() - wanted.keys() if a not in owners and "/_recon." not in a}
    assert not rest
    assert {a: found[a] for a in wanted if a in found} == wanted
    assert bool(found) == (bool(wanted) or what in CHANGED)
    if what == "spf":
        assert whole.dns("acme.com") == ["v=spf1 include:vendor.example -all"]


def test_a_domain_takes_its_records_along(whole: House) -> None:
    document = copy.deepcopy(WHOLE)
    del document["domains"]["acme.com"]
    whole.settle(document)
    left = [name for name, _ in whole.zone() if "two" not in name and "parked" not in name and name != "acme.com"]
    assert left == []
    assert whole.dns("acme.com") == ["v=spf1 include:vendor.example -all"]
