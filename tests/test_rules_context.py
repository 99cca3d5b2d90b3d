"""From a snapshot to the view of the rules and back: zones after apply, facts that may be denied, notes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reconciler.errors import AwsError
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.snapshot import Snapshot, Unread
from reconciler.model import Change, Desired, Diagnostic, Entry, FieldDiff, Note, Source, Stack, State
from reconciler.resources.dns_record.zones import Zone, record_from_aws
from reconciler.rules import RULES, RuleView, Topic, context, judge
from reconciler.rules.outside import Outside
from reconciler.rules.registry import Finding

AT = Source("state/mail.yaml", 3)
SENT = "sesv2:BatchGetMetricData"  # asked of identities that go alone: tests/test_kinds_identity.py
TOPIC = "arn:aws:sns:us-east-1:111122223333:feedback"
POLICY = {"Version": "2012-10-17", "Statement": []}


def raw(name: str, kind: str, *values: str, **more: Any) -> dict[str, Any]:
    return {
        "Name": name, "Type": kind, "TTL": 300, "ResourceRecords": [{"Value": v} for v in values], **more
    }  # fmt: skip


def zone(name: str, *records: Mapping[str, Any], id_: str = "Z1", **more: Any) -> Zone:
    made = Zone(id_, name, loaded=True, **more)
    for record in records:
        made.add(record_from_aws(record))
    return made


def world(*zones: Zone, entries: tuple[Entry, ...] = ()) -> Snapshot:
    state = State(Stack("mail", None, "111122223333", ("us-east-1",)), entries)
    made = Snapshot(state, "2026-11-22T00:00:00Z")
    made.zones = {z.id: z for z in zones}
    return made


def record_change(
    name: str, kind: str, *, remove: tuple[str, ...] = (), add: tuple[str, ...] = (), **more: Any
) -> Change:
    return Change(
        f"dns_record/acme.com/{name}/{kind}", "dns_record", "update", {}, {}, (FieldDiff("value", 1, 2),),
        execution={"zone": "Z1", "name": name, "type": kind, "remove": list(remove), "add": list(add), **more},
    )  # fmt: skip


def test_zones_are_decoded() -> None:
    acme = zone(
        "acme.com",
        raw("acme.com.", "NS", "ns-1.awsdns.com."),
        raw("acme.com.", "TXT", '"v=spf1 " "-all"', r'"a\"b"'),
        raw("acme.com.", "MX", "10 MX.Example.", "0 ."),
        raw(r"\052.acme.com.", "CNAME", "Target.Example."),
        raw("sub.acme.com.", "NS", "ns.other.example."),
        raw("lb.acme.com.", "A", AliasTarget={"DNSName": "x."}),
        raw("geo.acme.com.", "A", "192.0.2.1", SetIdentifier="a"),
    )
    view = context.view_of(world(acme), ())
    assert view.zones == {"acme.com"}
    assert view.lookup("acme.com", "TXT") == ("v=spf1 -all", 'a"b')
    assert view.lookup("acme.com", "MX") == ("10 mx.example", "0 .")
    assert view.lookup("*.acme.com", "CNAME") == ("target.example",)
    assert view.lookup("lb.acme.com", "A") is None
    assert view.lookup("geo.acme.com", "A") is None
    assert view.lookup("x.sub.acme.com", "TXT") is None
    assert view.lookup("nothing.acme.com", "TXT") == ()
    assert view.zone_of("acme.com") == "acme.com"
    assert view.now.isoformat() == "2026-11-22T00:00:00+00:00"


def test_the_zone_as_it_will_be() -> None:
    acme = zone(
        "acme.com",
        raw("acme.com.", "TXT", '"v=spf1 -all"', '"foreign"'),
        raw("_dmarc.acme.com.", "TXT", '"v=DMARC1; p=none"'),
        raw("old.acme.com.", "CNAME", "x.example."),
    )
    changes = (
        record_change("acme.com", "TXT", remove=('"v=spf1 -all"',), add=('"v=spf1 mx -all"',)),
        record_change("old.acme.com", "CNAME", remove=("x.example.",)),
        record_change("bounce.acme.com", "MX", add=("10 feedback-smtp.us-east-1.amazonses.com.",), ttl=60),
        record_change("t._domainkey.acme.com", "CNAME", add=("x",), token={"identity": "i"}),
        Change(
            "dns_record/other.com/x.other.com/TXT", "dns_record", "create", None, {},
            execution={"zone": "Z9", "name": "x.other.com", "type": "TXT"},
        ),
    )  # fmt: skip
    view = context.view_of(world(acme), changes)
    assert view.spf_texts("acme.com", "before") == ("v=spf1 -all",)
    assert view.spf_texts("acme.com") == ("v=spf1 mx -all",)
    assert view.lookup("acme.com", "TXT") == ("foreign", "v=spf1 mx -all")
    assert view.lookup("old.acme.com", "CNAME", "before") == ("x.example",)
    assert view.lookup("old.acme.com", "CNAME") == ()
    assert view.lookup("bounce.acme.com", "MX") == ("10 feedback-smtp.us-east-1.amazonses.com",)
    assert view.dns_after["bounce.acme.com", "MX"].ttl == 60
    assert view.lookup("t._domainkey.acme.com", "CNAME") == ()
    assert view.dmarc_tags("acme.com") == {"p": "none"}


def test_private_unread_and_ambiguous_zones_are_left_out() -> None:
    text = raw("acme.com.", "TXT", '"v=spf1 -all"')
    unloaded = Zone("Z4", "later.com")
    private = zone("acme.com", text, id_="Z2", private=True)
    assert context.view_of(world(private, unloaded), ()).zones == frozenset()
    twins = (zone("acme.com", text), zone("acme.com", id_="Z3"))
    assert context.view_of(world(*twins), ()).zones == frozenset()
    entry = Entry("domains", "acme.com", None, {"zone": "Z1"}, AT, {})
    assert context.view_of(world(*twins, entries=(entry,)), ()).spf_texts("acme.com") == ("v=spf1 -all",)


def test_unread_parts_stay_unread() -> None:
    made = world()
    made.unread.append(Unread("email_identity/us-east-1", "denied"))
    assert context.view_of(made, ()).is_unread("email_identity/us-east-1/acme.com")


# --- facts ---------------------------------------------------------------------------------------------------------


class FakeAws:
    """Answers from a table; what is missing is denied."""

    def __init__(self, answers: Mapping[tuple[str, str], Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str, str]] = []

    def call(self, service: str, operation: str, region: str, **parameters: Any) -> Any:
        self.asked.append((service, operation, region))
        answer = self.answers.get((operation, region), "AccessDenied")
        if isinstance(answer, str):
            raise AwsError("no", service=service, operation=operation, region=region, aws_code=answer)
        return answer

    def parallel(self, work: Any, items: Any) -> list[Any]:
        return [work(item) for item in items]


def with_destination(topic: str = TOPIC) -> Snapshot:
    made = world()
    entry = Entry("configuration_sets", "tx", "us-east-1", {}, AT, {})
    for address, kind, spec in (
        ("email_identity/us-east-1/acme.com", "email_identity", {}),
        ("event_destination/us-east-1/tx/f", "event_destination", {"sns_destination": {"topic_arn": topic}}),
    ):
        made.desired[address] = Desired(address, kind, "us-east-1", "x", spec, entry)
    return made


def facts(answers: Mapping[tuple[str, str], Any], topic: str = TOPIC) -> tuple[RuleView, FakeAws]:
    made, aws = with_destination(topic), FakeAws(answers)
    context.read_facts(aws, made)  # type: ignore[arg-type]
    return context.view_of(made, ()), aws


def test_facts_are_read() -> None:
    attributes = {"Policy": json.dumps(POLICY), "KmsMasterKeyId": "key-1"}
    view, aws = facts(
        {
            ("GetAccount", "us-east-1"): {"SendingEnabled": True},
            ("GetTopicAttributes", "us-east-1"): {"Attributes": attributes},
            ("GetKeyPolicy", "us-east-1"): {"Policy": json.dumps(POLICY)},
        }
    )
    assert view.accounts == {"us-east-1": {"SendingEnabled": True}}
    assert view.topics == {TOPIC: Topic(POLICY, "key-1", POLICY)}
    assert {f"{service}:{operation}" for service, operation, _ in aws.asked} == set(context.READS) - {SENT} - {
        "kms:DescribeKey"
    }


def test_the_key_behind_an_alias_is_looked_up() -> None:
    """The alias of the topic's account, whichever that is."""
    answers: dict[tuple[str, str], Any] = {
        ("GetTopicAttributes", "us-east-1"): {
            "Attributes": {"Policy": json.dumps(POLICY), "KmsMasterKeyId": "alias/x"}
        },
        ("DescribeKey", "us-east-1"): {"KeyMetadata": {"KeyId": "key-1"}},
        ("GetKeyPolicy", "us-east-1"): {"Policy": json.dumps(POLICY)},
    }
    view, aws = facts(answers)
    assert view.topics == {TOPIC: Topic(POLICY, "alias/x", POLICY)}
    assert {f"{service}:{operation}" for service, operation, _ in aws.asked} == set(context.READS) - {SENT}
    del answers["DescribeKey", "us-east-1"]
    assert facts(answers)[0].topics == {TOPIC: Topic(POLICY, "alias/x", None)}


def test_denied_facts_are_left_out_and_missing_topics_are_known() -> None:
    view, _ = facts({})
    assert view.accounts == {}
    assert view.topics == {}
    view, _ = facts({("GetTopicAttributes", "us-east-1"): "NotFound"})
    assert view.topics == {TOPIC: None}
    assert any(finding.rule == "events-topic-missing" for finding in judge(view))
    view, _ = facts({("GetTopicAttributes", "us-east-1"): {"Attributes": {"Policy": "{", "KmsMasterKeyId": "alias/x"}}})
    assert view.topics == {TOPIC: Topic({}, "alias/x", None)}
    _, aws = facts({}, topic="not-an-arn")
    assert [operation for _, operation, _ in aws.asked] == ["GetAccount"]


# --- public DNS ----------------------------------------------------------------------------------------------------


def test_looking_outside_follows_includes_and_ends() -> None:
    acme = zone(
        "acme.com",
        raw("acme.com.", "TXT", '"v=spf1 include:a.example include:own.acme.com -all"'),
        raw("_dmarc.acme.com.", "TXT", '"v=DMARC1; p=none; rua=mailto:x@reports.example"'),
    )
    entry = Entry("domains", "acme.com", None, {}, AT, {})
    answers: dict[str, tuple[str, ...] | None] = {
        "a.example": ("v=spf1 include:b.example -all",), "b.example": ("v=spf1 include:a.example -all",),
        "acme.com._report._dmarc.reports.example": (), "*._report._dmarc.reports.example": None,
    }  # fmt: skip
    asked: list[str] = []

    def resolve(name: str) -> tuple[str, ...] | None:
        asked.append(name)
        return answers[name]

    view = context.view_of(world(acme, entries=(entry,)), ())
    view = context.with_public_dns(view, Outside(resolve, lambda host: None))
    assert sorted(asked) == sorted(answers)
    assert set(view.outside_txt) == {name for name, texts in answers.items() if texts is not None}


def test_a_value_that_is_written_again_with_another_ttl_stays() -> None:
    value = "t1.dkim.amazonses.com"
    acme = zone("acme.com", raw("t1._domainkey.acme.com.", "CNAME", value))
    change = record_change("t1._domainkey.acme.com", "CNAME", remove=(value,), add=(value,))
    view = context.view_of(world(acme), (change,))
    assert view.lookup("t1._domainkey.acme.com", "CNAME") == (value,)


def test_what_rules_judge_is_not_said_twice() -> None:
    told = [Diagnostic("warning", code, "x") for code in ("dmarc-pct", "any-from-address", "secret-suffix")]
    assert [one.code for one in context.not_from_rules(told)] == ["secret-suffix"]
    assert {"smtp-any-from", "dkim-replica", "mail-from-in-use"} <= RULES.keys()


# --- back ----------------------------------------------------------------------------------------------------------


def test_findings_become_notes_and_diagnostics() -> None:
    change = Change(
        "dns_record/acme.com/_dmarc.acme.com/TXT", "dns_record", "update", {}, {},
        notes=(Note("tls-optional", "warning", "a kind's own words"), Note("others-kept", "note", "stays")),
    )  # fmt: skip
    calm = Change("email_identity/us-east-1/acme.com", "email_identity", "update", {}, {})
    found = [
        Finding("dmarc-no-rua", "warning", change.address, "no reports", "add rua"),
        Finding("set-missing", "error", "email_identity/us-east-1/other.com", "gone", "keep it"),
    ]
    (noted, same), rest = context.annotate((change, calm), found)
    assert [(note.rule, note.severity) for note in noted.notes] == [
        ("others-kept", "note"),
        ("dmarc-no-rua", "warning"),
    ]
    assert noted.notes[1].message == "no reports (add rua)"
    assert same is calm
    assert [(d.severity, d.code, d.address) for d in rest] == [
        ("error", "set-missing", "email_identity/us-east-1/other.com")
    ]


def test_evaluate_is_all_in_one() -> None:
    acme = zone("acme.com", raw("_dmarc.acme.com.", "TXT", '"v=DMARC1; p=none"'))
    entry = Entry("domains", "acme.com", None, {}, AT, {})
    change = record_change("_dmarc.acme.com", "TXT", remove=('"v=DMARC1; p=none"',), add=('"v=DMARC1; p=reject"',))
    (noted,), rest = context.evaluate(
        PlanDraft(world(acme, entries=(entry,))), (change,), Outside(lambda name: None, lambda host: None)
    )
    assert "dmarc-no-rua" in {note.rule for note in noted.notes}
    assert rest == ()
