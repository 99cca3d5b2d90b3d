"""Route 53 in the sandbox, by the documents: names, atomic batches and their limits, paging, changes, tags."""

from __future__ import annotations

from typing import Any

import pytest
from test_sandbox_support import change, client, code_of, entry, fresh, message_of

from reconciler.sandbox import Sandbox


@pytest.fixture
def sandbox() -> Sandbox:
    return fresh()


@pytest.fixture
def zone(sandbox: Sandbox) -> str:
    made = client("route53").create_hosted_zone(Name="Acme.COM", CallerReference="one")
    assert made["HostedZone"]["Name"] == "acme.com."
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    return str(made["HostedZone"]["Id"]).removeprefix("/hostedzone/")


def records(zone: str, **start: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client("route53").list_resource_record_sets(HostedZoneId=zone, **start)[
        "ResourceRecordSets"
    ]
    return found


def test_a_new_zone_has_ns_and_soa_that_stay(zone: str) -> None:
    assert [(r["Name"], r["Type"]) for r in records(zone)] == [("acme.com.", "NS"), ("acme.com.", "SOA")]
    ns, soa = records(zone)
    for record in (ns, soa):
        values = [r["Value"] for r in record["ResourceRecords"]]
        delete = entry("DELETE", "acme.com", record["Type"], *values, ttl=record["TTL"])
        batch = {"Changes": [delete]}
        assert code_of(
            lambda batch=batch: client("route53").change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)
        ) == ("InvalidChangeBatch", 400)
    found = client("route53").get_hosted_zone(Id=zone)
    assert len(found["DelegationSet"]["NameServers"]) == 4
    assert found["HostedZone"]["ResourceRecordSetCount"] == 2
    assert found["HostedZone"]["Id"] == f"/hostedzone/{zone}"


@pytest.mark.parametrize(
    ("given", "returned"),
    [
        ("WWW.acme.com", "www.acme.com."),
        ("*.acme.com.", "\\052.acme.com."),
        ("\\052.acme.com", "\\052.acme.com."),
        ("_dmarc.Acme.com", "_dmarc.acme.com."),
        ("a@b.acme.com", "a\\100b.acme.com."),
    ],
)
def test_names_come_back_lower_case_and_escaped(zone: str, given: str, returned: str) -> None:
    change(zone, "CREATE", given, "A", "192.0.2.1")
    assert [r["Name"] for r in records(zone) if r["Type"] == "A"] == [returned]
    change(zone, "DELETE", returned, "A", "192.0.2.1")


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("TXT", "v=spf1 -all", "enclosed in quotation marks"),
        ("TXT", '"open', "enclosed in quotation marks"),
        ("TXT", '"a" b', "enclosed in quotation marks"),
        ("TXT", '"' + "x" * 256 + '"', "CharacterStringTooLong"),
        ("TXT", '"' + "x" * 255 + '" "' + "y" * 256 + '"', "CharacterStringTooLong"),
        ("TXT", '"grün"', "UnsupportedCharacter"),
        ("A", "999.1.1.1", "not a valid address"),
        ("AAAA", "192.0.2.1", "not a valid address"),
        ("MX", "mail.acme.com", "2 fields"),
        ("MX", "ten mail.acme.com", "2 fields"),
        ("CNAME", "a..b", "DomainLabelEmpty"),
    ],
)
def test_bad_values_are_refused(zone: str, kind: str, value: str, words: str) -> None:
    found = message_of(lambda: change(zone, "CREATE", "x.acme.com", kind, value))
    assert words in found
    assert found.startswith("[") and found.endswith("]")


@pytest.mark.parametrize(
    "value",
    ['"v=spf1 -all"', '"' + "x" * 255 + '" "' + "y" * 255 + '"', '"a\\"b"', '"\\303\\274"', '"a"\t"b"', '"a""b"', '""'],
)
def test_good_txt_values_are_kept_as_sent(zone: str, value: str) -> None:
    change(zone, "CREATE", "x.acme.com", "TXT", value)
    assert records(zone)[-1]["ResourceRecords"] == [{"Value": value}]


@pytest.mark.parametrize(
    ("name", "kind", "value", "words"),
    [
        ("x.other.com", "A", "192.0.2.1", "RRSet with DNS name x.other.com. is not permitted in zone acme.com."),
        ("notacme.com", "A", "192.0.2.1", "is not permitted in zone acme.com."),
        ("acme.com", "CNAME", "x.example", "is not permitted at apex in zone acme.com."),
        ("taken.acme.com", "CNAME", "x.example", "conflicts with other records"),
        ("alias.acme.com", "TXT", '"x"', "conflicts with other records"),
        ("taken.acme.com", "A", "192.0.2.9", "[name='taken.acme.com.', type='A'] but it already exists"),
        ("a..acme.com", "A", "192.0.2.1", "DomainLabelEmpty"),
        ("a" * 64 + ".acme.com", "A", "192.0.2.1", "DomainLabelTooLong"),
    ],
)
def test_where_a_record_may_not_stand(zone: str, name: str, kind: str, value: str, words: str) -> None:
    change(zone, "CREATE", "taken.acme.com", "A", "192.0.2.1")
    change(zone, "CREATE", "alias.acme.com", "CNAME", "x.example")
    assert words in message_of(lambda: change(zone, "CREATE", name, kind, value))


@pytest.mark.parametrize(
    ("value", "ttl", "words"),
    [
        ("192.0.2.2", 300, "but the values provided do not match the current values"),
        ("192.0.2.1", 60, "but the values provided do not match the current values"),
    ],
)
def test_delete_needs_the_exact_set(zone: str, value: str, ttl: int, words: str) -> None:
    change(zone, "CREATE", "x.acme.com", "A", "192.0.2.1")
    assert words in message_of(lambda: change(zone, "DELETE", "x.acme.com", "A", value, ttl=ttl))
    assert "but it was not found" in message_of(lambda: change(zone, "DELETE", "y.acme.com", "A", "192.0.2.1"))


def test_delete_ignores_the_order_of_values(zone: str) -> None:
    change(zone, "CREATE", "x.acme.com", "TXT", '"a"', '"b"')
    change(zone, "DELETE", "X.acme.com.", "TXT", '"b"', '"a"')
    assert len(records(zone)) == 2


def batch(zone: str, *changes: dict[str, Any]) -> Any:
    return client("route53").change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": list(changes)})


def test_a_batch_lands_whole_or_not_at_all(zone: str) -> None:
    before = records(zone)
    good, bad = entry("CREATE", "a.acme.com", "A", "192.0.2.1"), entry("DELETE", "b.acme.com", "A", "192.0.2.1")
    assert code_of(lambda: batch(zone, good, bad)) == ("InvalidChangeBatch", 400)
    assert records(zone) == before


def test_every_reason_is_listed(zone: str) -> None:
    bad = [entry("DELETE", f"{n}.acme.com", "A", "192.0.2.1") for n in "ab"]
    found = message_of(lambda: batch(zone, *bad))
    assert found.count("but it was not found") == 2
    assert "', type='A'] but it was not found, Tried to delete" in found


def test_delete_and_create_of_one_set_is_compare_and_swap(zone: str) -> None:
    change(zone, "CREATE", "x.acme.com", "TXT", '"old"')
    batch(zone, entry("DELETE", "x.acme.com", "TXT", '"old"'), entry("CREATE", "x.acme.com", "TXT", '"new"'))
    assert records(zone)[-1]["ResourceRecords"] == [{"Value": '"new"'}]
    swap = (entry("DELETE", "x.acme.com", "TXT", '"old"'), entry("CREATE", "x.acme.com", "TXT", '"newer"'))
    assert "do not match the current values" in message_of(lambda: batch(zone, *swap))
    assert records(zone)[-1]["ResourceRecords"] == [{"Value": '"new"'}]


def test_a_cname_can_take_a_name_in_the_batch_that_frees_it(zone: str) -> None:
    change(zone, "CREATE", "x.acme.com", "A", "192.0.2.1")
    batch(zone, entry("DELETE", "x.acme.com", "A", "192.0.2.1"), entry("CREATE", "x.acme.com", "CNAME", "y.example"))
    assert [r["Type"] for r in records(zone)][-1] == "CNAME"


@pytest.mark.parametrize("second", ["CREATE", "UPSERT"])
def test_one_set_twice_in_a_batch_is_refused(zone: str, second: str) -> None:
    changes = [entry("CREATE", "x.acme.com", "A", "192.0.2.1"), entry(second, "x.acme.com", "A", "192.0.2.2")]
    assert "invalid set of changes for a resource record set 'A x.acme.com.'" in message_of(
        lambda: batch(zone, *changes)
    )


def test_upsert_overwrites(zone: str) -> None:
    change(zone, "UPSERT", "x.acme.com", "A", "192.0.2.1")
    change(zone, "UPSERT", "x.acme.com", "A", "192.0.2.2", ttl=60)
    assert (records(zone)[-1]["TTL"], records(zone)[-1]["ResourceRecords"]) == (60, [{"Value": "192.0.2.2"}])


@pytest.mark.parametrize(("action", "fits", "over"), [("CREATE", 1000, 1001), ("UPSERT", 500, 501)])
def test_element_limit_counts_upsert_twice(zone: str, action: str, fits: int, over: int) -> None:
    changes = [entry(action, f"h{n}.acme.com", "A", "192.0.2.1") for n in range(over)]
    assert "limit of 1000 exceeded" in message_of(lambda: batch(zone, *changes))
    batch(zone, *changes[:fits])


@pytest.mark.parametrize(("action", "fits", "over"), [("CREATE", 128, 129), ("UPSERT", 64, 65)])
def test_character_limit_counts_upsert_twice(zone: str, action: str, fits: int, over: int) -> None:
    text = '"' + "x" * 248 + '"'
    changes = [entry(action, f"h{n}.acme.com", "TXT", text) for n in range(over)]
    assert "limit of 32000 exceeded" in message_of(lambda: batch(zone, *changes))
    batch(zone, *changes[:fits])


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"Name": "x.acme.com", "Type": "A"}, "but found none"),
        ({"Name": "x.acme.com", "Type": "A", "TTL": 300}, "but found none"),
        (
            {
                "Name": "x.acme.com", "Type": "A", "TTL": 300, "ResourceRecords": [{"Value": "192.0.2.1"}],
                "AliasTarget": {"HostedZoneId": "Z2", "DNSName": "x.example", "EvaluateTargetHealth": False},
            },
            "but found more than one",
        ),
        (
            {
                "Name": "x.acme.com", "Type": "A", "TTL": 300, "ResourceRecords": [{"Value": "192.0.2.1"}],
                "Weight": 1,
            },
            "Missing field 'SetIdentifier'",
        ),
    ],
)  # fmt: skip
def test_malformed_changes(zone: str, record: dict[str, Any], words: str) -> None:
    assert words in message_of(lambda: batch(zone, {"Action": "CREATE", "ResourceRecordSet": record}))
    assert code_of(lambda: batch(zone, {"Action": "CREATE", "ResourceRecordSet": record})) == ("InvalidInput", 400)


def test_alias_and_weighted_sets(zone: str) -> None:
    target = {"HostedZoneId": "Z2FDTNDATAQYW2", "DNSName": "D1.cloudfront.net", "EvaluateTargetHealth": False}
    alias = {"Name": "acme.com", "Type": "A", "AliasTarget": target}
    batch(zone, {"Action": "CREATE", "ResourceRecordSet": alias})
    change(zone, "CREATE", "w.acme.com", "A", "192.0.2.1", SetIdentifier="one", Weight=1)
    change(zone, "CREATE", "w.acme.com", "A", "192.0.2.2", SetIdentifier="two", Weight=2)
    found = records(zone)
    assert found[0]["AliasTarget"]["DNSName"] == "d1.cloudfront.net."
    assert "TTL" not in found[0] and "ResourceRecords" not in found[0]
    assert [r.get("SetIdentifier") for r in found if r["Name"] == "w.acme.com."] == ["one", "two"]
    assert "another routing policy" in message_of(lambda: change(zone, "CREATE", "w.acme.com", "A", "192.0.2.3"))
    again = client("route53").list_resource_record_sets(
        HostedZoneId=zone, StartRecordName="w.acme.com", StartRecordType="A", StartRecordIdentifier="two"
    )
    assert [r["SetIdentifier"] for r in again["ResourceRecordSets"]] == ["two"]
    batch(zone, {"Action": "DELETE", "ResourceRecordSet": alias})


def test_pages_follow_reversed_labels(zone: str) -> None:
    for name in ("b.a.acme.com", "a.b.acme.com", "a.acme.com", "b.acme.com"):
        change(zone, "CREATE", name, "A", "192.0.2.1")
    wanted = ["a.acme.com.", "b.a.acme.com.", "b.acme.com.", "a.b.acme.com."]
    assert [r["Name"] for r in records(zone) if r["Type"] == "A"] == wanted
    names, start = [], {}
    while True:
        found = client("route53").list_resource_record_sets(HostedZoneId=zone, MaxItems="1", **start)
        names += [r["Name"] for r in found["ResourceRecordSets"]]
        if not found["IsTruncated"]:
            break
        start = {"StartRecordName": found["NextRecordName"], "StartRecordType": found["NextRecordType"]}
    assert names == ["acme.com.", "acme.com.", *wanted]


def test_a_page_holds_300_records(sandbox: Sandbox, zone: str) -> None:
    many = [{"name": f"h{n}.acme.com", "type": "A", "values": ["192.0.2.1"]} for n in range(400)]
    sandbox.seed(records=[{"zone": zone, **record} for record in many])
    found = client("route53").list_resource_record_sets(HostedZoneId=zone, MaxItems="1000")
    assert (len(found["ResourceRecordSets"]), found["IsTruncated"], found["MaxItems"]) == (300, True, "300")
    pages = client("route53").get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone)
    assert sum(len(p["ResourceRecordSets"]) for p in pages) == 402


def test_start_needs_name_before_type(zone: str) -> None:
    call = lambda: client("route53").list_resource_record_sets(HostedZoneId=zone, StartRecordType="A")  # noqa: E731
    assert code_of(call) == ("InvalidInput", 400)


def test_changes_are_pending_then_in_sync(sandbox: Sandbox, zone: str) -> None:
    sandbox.settings(insync_delay=30.0)
    made = change(zone, "CREATE", "x.acme.com", "A", "192.0.2.1")["ChangeInfo"]
    assert made["Status"] == "PENDING"
    assert records(zone)[-1]["Name"] == "x.acme.com."
    assert client("route53").get_change(Id=made["Id"])["ChangeInfo"]["Status"] == "PENDING"
    sandbox.advance(31)
    assert client("route53").get_change(Id=made["Id"])["ChangeInfo"]["Status"] == "INSYNC"
    assert code_of(lambda: client("route53").get_change(Id="CNONE")) == ("NoSuchChange", 404)


def test_prior_request_not_complete(sandbox: Sandbox, zone: str) -> None:
    sandbox.settings(insync_delay=30.0, prior_request_conflicts=True)
    change(zone, "CREATE", "x.acme.com", "A", "192.0.2.1")
    again = lambda: change(zone, "CREATE", "y.acme.com", "A", "192.0.2.1")  # noqa: E731
    assert code_of(again) == ("PriorRequestNotComplete", 400)
    sandbox.advance(31)
    again()


def test_zones_same_name_private_and_references(sandbox: Sandbox, zone: str) -> None:
    route53 = client("route53")
    assert code_of(lambda: route53.create_hosted_zone(Name="x.com", CallerReference="one")) == (
        "HostedZoneAlreadyExists", 409,
    )  # fmt: skip
    twin = route53.create_hosted_zone(Name="acme.com", CallerReference="two")["HostedZone"]["Id"]
    inner = route53.create_hosted_zone(
        Name="acme.com", CallerReference="three", VPC={"VPCRegion": "us-east-1", "VPCId": "vpc-1"}
    )
    assert inner["HostedZone"]["Config"]["PrivateZone"] is True
    found = route53.list_hosted_zones()["HostedZones"]
    assert [(z["Name"], z["Config"]["PrivateZone"]) for z in found] == [
        ("acme.com.", False), ("acme.com.", False), ("acme.com.", True),
    ]  # fmt: skip
    assert twin.removeprefix("/hostedzone/") != zone
    assert code_of(lambda: route53.create_hosted_zone(Name="bad..com", CallerReference="4")) == (
        "InvalidDomainName", 400,
    )  # fmt: skip


def test_listing_zones_pages_and_by_name(sandbox: Sandbox) -> None:
    names = [f"z{n}.example" for n in range(105)]
    sandbox.seed(zones=[{"name": name} for name in reversed(names)])
    route53 = client("route53")
    first = route53.list_hosted_zones()
    assert (len(first["HostedZones"]), first["IsTruncated"]) == (100, True)
    second = route53.list_hosted_zones(Marker=first["NextMarker"])
    assert (len(second["HostedZones"]), second["IsTruncated"]) == (5, False)
    by_name = route53.list_hosted_zones_by_name(DNSName="z42.example", MaxItems="2")
    assert [z["Name"] for z in by_name["HostedZones"]] == ["z42.example.", "z43.example."]
    assert by_name["NextDNSName"] == "z44.example."
    assert route53.get_hosted_zone_count()["HostedZoneCount"] == 105


def test_delete_zone(zone: str) -> None:
    change(zone, "CREATE", "x.acme.com", "A", "192.0.2.1")
    assert code_of(lambda: client("route53").delete_hosted_zone(Id=zone)) == ("HostedZoneNotEmpty", 400)
    change(zone, "DELETE", "x.acme.com", "A", "192.0.2.1")
    client("route53").delete_hosted_zone(Id=zone)
    assert code_of(lambda: client("route53").get_hosted_zone(Id=zone)) == ("NoSuchHostedZone", 404)


def test_tags(zone: str) -> None:
    route53 = client("route53")
    tags = [{"Key": "recon:stack", "Value": "acme/prod"}, {"Key": "a", "Value": "b"}]
    route53.change_tags_for_resource(ResourceType="hostedzone", ResourceId=zone, AddTags=tags)
    found = route53.list_tags_for_resources(ResourceType="hostedzone", ResourceIds=[zone])["ResourceTagSets"]
    assert found[0]["Tags"] == sorted(tags, key=lambda t: t["Key"])
    route53.change_tags_for_resource(ResourceType="hostedzone", ResourceId=zone, RemoveTagKeys=["a"])
    left = route53.list_tags_for_resource(ResourceType="hostedzone", ResourceId=zone)["ResourceTagSet"]["Tags"]
    assert [t["Key"] for t in left] == ["recon:stack"]
    more = [{"Key": f"k{n}", "Value": ""} for n in range(10)]
    assert code_of(
        lambda: route53.change_tags_for_resource(ResourceType="hostedzone", ResourceId=zone, AddTags=more)
    ) == ("InvalidInput", 400)
    assert code_of(lambda: route53.list_tags_for_resource(ResourceType="hostedzone", ResourceId="ZNONE"))[0] == (
        "NoSuchHostedZone"
    )


def test_protected_sets_fail_the_whole_batch(zone: str) -> None:
    route53 = client("route53")
    change(zone, "CREATE", "x.acme.com", "TXT", '"keep"')
    route53.create_resource_record_set_protections(
        HostedZoneId=zone, Protections=[{"RecordName": "x.acme.com", "RecordType": "TXT", "Comment": "do not touch"}]
    )
    listed = route53.list_resource_record_set_protections(HostedZoneId=zone)["ResourceRecordSetProtections"]
    assert listed == [{"RecordName": "x.acme.com.", "RecordType": "TXT", "Comment": "do not touch"}]
    changes = [entry("CREATE", "y.acme.com", "A", "192.0.2.1"), entry("UPSERT", "x.acme.com", "TXT", '"new"')]
    assert "x.acme.com." in message_of(lambda: batch(zone, *changes))
    assert len(records(zone)) == 3
    route53.delete_resource_record_set_protections(
        HostedZoneId=zone, Protections=[{"RecordName": "x.acme.com", "RecordType": "TXT"}]
    )
    batch(zone, *changes)


def test_zone_of_another_service_cannot_be_edited(sandbox: Sandbox) -> None:
    made = sandbox.seed(zones=[{"name": "svc.example", "linked_service": {"ServicePrincipal": "servicediscovery"}}])
    zone = made["zones"]["svc.example"]
    assert client("route53").get_hosted_zone(Id=zone)["HostedZone"]["LinkedService"]
    assert code_of(lambda: change(zone, "CREATE", "x.svc.example", "A", "192.0.2.1"))[0] == "InvalidInput"


def test_public_dns(sandbox: Sandbox) -> None:
    """The most specific public zone answers; delegation, wildcards and private zones as in DNS."""
    sandbox.seed(
        zones=[
            {"name": "acme.com", "records": [
                {"name": "acme.com", "type": "TXT", "values": ["v=spf1 -all"]},
                {"name": "*.wild.acme.com", "type": "TXT", "values": ["any"]},
                {"name": "here.wild.acme.com", "type": "A", "values": ["192.0.2.1"]},
                {"name": "gone.acme.com", "type": "NS", "values": ["ns.elsewhere.example."]},
                {"name": "x.gone.acme.com", "type": "TXT", "values": ["hidden"]},
                {"name": "c.acme.com", "type": "CNAME", "values": ["ACME.com."]},
                {"name": "long.acme.com", "type": "TXT", "values": ["y" * 600]},
            ]},
            {"name": "acme.com", "private": True, "records": [
                {"name": "secret.acme.com", "type": "TXT", "values": ["inner"]}]},
            {"name": "sub.acme.com", "records": [{"name": "sub.acme.com", "type": "TXT", "values": ["child"]}]},
            {"name": "twin.example", "records": [{"name": "twin.example", "type": "TXT", "values": ["older"]}]},
            {"name": "twin.example", "delegated": True,
             "records": [{"name": "twin.example", "type": "TXT", "values": ["live"]}]},
        ]
    )  # fmt: skip
    cases = {
        "acme.com": ["v=spf1 -all"], "c.acme.com": ["v=spf1 -all"], "a.wild.acme.com": ["any"],
        "here.wild.acme.com": [], "wild.acme.com": [], "x.gone.acme.com": [], "secret.acme.com": [],
        "sub.acme.com": ["child"], "x.sub.acme.com": [], "twin.example": ["live"], "nowhere.example": [],
        "long.acme.com": ["y" * 600],
    }  # fmt: skip
    assert {name: sandbox.dns(name) for name in cases} == cases


def test_dns_over_the_wire(sandbox: Sandbox) -> None:
    """The same answers through a real resolver; large ones over TCP."""
    import dns.resolver

    sandbox.seed(
        zones=[{"name": "acme.com", "records": [
            {"name": "acme.com", "type": "TXT", "values": ["v=spf1 -all", 'say "hi"; \\ ok']},
            {"name": "acme.com", "type": "MX", "values": ["10 mx.acme.com"]},
            {"name": "*.acme.com", "type": "A", "values": ["192.0.2.1"]},
            {"name": "c.acme.com", "type": "CNAME", "values": ["Long.acme.com"]},
            {"name": "long.acme.com", "type": "TXT", "values": ["y" * 900]},
        ]}]
    )  # fmt: skip
    host, port = sandbox.serve_dns()
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [host], port

    def ask(name: str, kind: str) -> list[str]:
        found = resolver.resolve(name, kind, lifetime=5)
        if kind == "TXT":
            return sorted(b"".join(r.strings).decode() for r in found)
        return sorted(r.to_text() for r in found)

    assert ask("ACME.com", "TXT") == ['say "hi"; \\ ok', "v=spf1 -all"]
    assert ask("acme.com", "MX") == ["10 mx.acme.com."]
    assert ask("any.acme.com", "A") == ["192.0.2.1"]
    assert ask("c.acme.com", "TXT") == ["y" * 900]
    assert len(ask("acme.com", "NS")) == 4
    for name, kind, error in (
        ("acme.com", "AAAA", dns.resolver.NoAnswer),
        ("a.b.other.com", "A", dns.resolver.NXDOMAIN),
        ("long.acme.com", "A", dns.resolver.NoAnswer),
    ):
        with pytest.raises(error):
            ask(name, kind)
