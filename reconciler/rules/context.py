"""What only the rules need of AWS; from a plan to the view that they check; from their findings back into the plan.

``read_facts`` makes a few calls a region, and a denied call does no harm: a rule that lacks a fact reports nothing.
All else is pure. Public DNS and HTTPS hosts are asked only through an ``Outside`` that the caller passes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import AwsError
from reconciler.kinds.externals import External, problem
from reconciler.kinds.registry import REGISTRY
from reconciler.kinds.ses_accounts import account_in
from reconciler.mail import dmarc, spf, txt
from reconciler.model import Address, Change, Desired, Diagnostic, Entry, Note, Observed, canonical_json
from reconciler.names import at_or_above, from_route53, parents
from reconciler.resources import KINDS, RECORD_GROUPS, fields_with_arns
from reconciler.resources.dns_record.intents import zones_written
from reconciler.resources.spec import at_path
from reconciler.rules import RULES, judge
from reconciler.rules.dns_view import HostedZoneView, RecordView
from reconciler.rules.outside import Outside
from reconciler.rules.registry import Finding, is_urgent
from reconciler.rules.view import RuleView, Topic, needs_https

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.kinds.plan_draft import PlanDraft
    from reconciler.kinds.snapshot import Snapshot
    from reconciler.resources.dns_record.zones import Zone

_MAX_OUTSIDE: Final = 500
"""The most names that one plan asks public DNS for."""
_MAX_HOSTS: Final = 100
"""The most hosts that one plan connects to."""


# --- facts from AWS ------------------------------------------------------------------------------------------------

READS: Final = (
    "sesv2:GetAccount", "sesv2:BatchGetMetricData", "sns:GetTopicAttributes", "kms:DescribeKey", "kms:GetKeyPolicy",
)  # fmt: skip
"""The calls of ``read_facts``, for the least-privilege policy. All of them are optional."""

_QUERIES: Final = 10
"""The most queries of one BatchGetMetricData call (SES v2 API)."""


def read_facts(aws: Aws, snapshot: Snapshot, *, declared: bool = True, live: bool = True) -> None:
    """Read what only the rules need into ``snapshot``: the SES account status of each region, SNS topics that
    declared resources name, and what identities that will be deleted have sent.

    It uses the declared resources, the live ones, or both: what the declared ones need can be read while the live ones
    are. A second call reads only what the first did not. Cost: one call for each region of the stack or with identities
    (with targets those with identities alone), one to three for each topic. What a denied or failed call would have
    answered is left out; an account status that could not be read is a warning.
    """
    groups = (*((snapshot.desired,) if declared else ()), *((snapshot.observed,) if live else ()))
    identities = (
        x for group in groups for x in group.values() if x.kind == "email_identity" and snapshot.includes(x.address)
    )
    asked = snapshot.rules_asked
    places = {one.region for one in identities if one.region}
    if snapshot.read_scope is None:
        places.update(snapshot.state.stack.regions)
    regions = sorted(places - asked)
    topics = _topics(snapshot) if declared else {}
    arns = sorted(topics.keys() - asked)
    asked.update(regions, arns)

    for region, status in zip(
        regions, aws.parallel(lambda region: account_in(aws, snapshot, region), regions), strict=True
    ):
        if isinstance(status, AwsError):
            words = f"whether AWS has shut down the account or put it on probation is unknown: {status.message}"
            snapshot.say("warning", "account-unread", words, hint=status.hint, address=f"account/{region}")
    for arn, answer in zip(arns, aws.parallel(lambda arn: _read_topic(aws, arn, topics[arn]), arns), strict=True):
        if answer is not _UNREAD:
            snapshot.sns_topics[arn] = answer if isinstance(answer, Topic) else None
    if declared:
        _read_externals(aws, snapshot)
    if live:
        _read_sent(aws, snapshot)


def _read_externals(aws: Aws, snapshot: Snapshot) -> None:
    """Ask of each key, stream and role that declared resources name whether it exists. Where AWS does not say, nothing
    is known, and nothing is reported."""
    wanted: dict[External, None] = {}
    for one in snapshot.desired.values():
        if snapshot.includes(one.address):
            wanted |= dict.fromkeys(REGISTRY[one.kind].externals(one, snapshot.state))

    def ask(one: External) -> str | None:
        try:
            return problem(aws, one)
        except AwsError:
            return None

    todo = [one for one in wanted if str(one) not in snapshot.rules_asked]
    snapshot.rules_asked.update(map(str, todo))
    found = zip(todo, aws.parallel(ask, todo), strict=True)
    snapshot.externals.update({one: answer for one, answer in found if answer is not None})


def _read_sent(aws: Aws, snapshot: Snapshot) -> None:
    """Count what each identity that will be deleted has sent since yesterday, in regions that have the Virtual
    Deliverability Manager: AWS has no other count by identity (CloudWatch has no such dimension). One call for ten
    identities.

    Zeros are left out: the metric does not count mail to several recipients (SES v2 API, BatchGetMetricDataQuery,
    SEND), so that a zero proves nothing.
    """
    now = datetime.fromisoformat(snapshot.now)
    doomed: dict[str, list[Observed]] = {}
    for live in snapshot.observed.values():
        if live.address in snapshot.desired or live.kind != "email_identity" or not snapshot.owns(live):
            continue
        vdm = snapshot.ses_accounts.get(str(live.region), {}).get("VdmAttributes") or {}
        if vdm.get("VdmEnabled") == "ENABLED":
            doomed.setdefault(str(live.region), []).append(live)
    jobs = [
        (region, some[i : i + _QUERIES])
        for region, some in sorted(doomed.items())
        for i in range(0, len(some), _QUERIES)
    ]
    if not jobs:
        return

    def one(job: tuple[str, list[Observed]]) -> list[tuple[str, int]]:
        region, some = job
        queries = [
            {
                "Id": f"q{number}", "Namespace": "VDM", "Metric": "SEND", "Dimensions": {"EMAIL_IDENTITY": live.name},
                "StartDate": now - timedelta(days=1), "EndDate": now,
            }
            for number, live in enumerate(some)
        ]  # fmt: skip
        try:
            answer = aws.call("sesv2", "BatchGetMetricData", region, Queries=queries)
        except AwsError:
            return []
        sums = {str(one.get("Id")): sum(one.get("Values") or ()) for one in answer.get("Results") or ()}
        return [(live.address, sums.get(f"q{number}", 0)) for number, live in enumerate(some)]

    found = (pair for answer in aws.parallel(one, jobs, lambda job: job[0]) for pair in answer)
    snapshot.sent_last_day = {address: number for address, number in found if number}


_UNREAD: Final = object()


def _topics(snapshot: Snapshot) -> dict[str, str | None]:
    """The ARNs of topics that declared resources name, and of declared ones with a key, which is the value then."""
    found: dict[str, str | None] = {}
    stack = snapshot.state.stack
    for one in [one for one in snapshot.desired.values() if snapshot.includes(one.address)]:
        for named in fields_with_arns(one.kind, one.spec):
            arns = (text for text in named.texts_in(one.spec) if text.split(":")[2:3] == ["sns"])
            found |= {arn: found.get(arn) for arn in arns if arn.count(":") == 5}
        if one.kind == "sns_topic" and one.spec.get("kms_master_key_id"):
            arn = f"arn:{stack.partition}:sns:{one.region}:{stack.account}:{one.name}"
            found[arn] = str(one.spec["kms_master_key_id"])
    return found


def _read_topic(aws: Aws, arn: str, wanted: str | None = None) -> object:
    """A Topic, None where SNS answers that it does not exist, or ``_UNREAD``. ``wanted`` is the key that a declared one
    will have: of that nothing but the key is read."""
    region = arn.split(":")[3]
    if wanted is not None:
        return Topic({}, wanted, _read_key_policy(aws, arn, wanted))
    try:
        answer = aws.call("sns", "GetTopicAttributes", region, TopicArn=arn).get("Attributes") or {}
    except AwsError as error:
        return None if error.absent else _UNREAD
    key = str(answer.get("KmsMasterKeyId") or "")
    return Topic(_document(answer.get("Policy")) or {}, key, _read_key_policy(aws, arn, key))


def _read_key_policy(aws: Aws, topic: str, key: str) -> Mapping[str, Any] | None:
    _, partition, _, region, account, _ = topic.split(":", 5)
    if not key or key.endswith("alias/aws/sns"):
        return None
    try:
        if key.startswith("alias/"):
            key = f"arn:{partition}:kms:{region}:{account}:{key}"
        if ":alias/" in key:  # GetKeyPolicy does not accept an alias (KMS API, GetKeyPolicy: KeyId)
            key = str(aws.call("kms", "DescribeKey", region, KeyId=key)["KeyMetadata"]["KeyId"])
        return _document(aws.call("kms", "GetKeyPolicy", region, KeyId=key, PolicyName="default").get("Policy"))
    except AwsError:
        return None


def _document(text: Any) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return None
    return found if isinstance(found, Mapping) else None


# --- the view ------------------------------------------------------------------------------------------------------


def view_of(snapshot: Snapshot, changes: Sequence[Change]) -> RuleView:
    """The view of the rules, for a snapshot and the changes that are planned for it. Pure."""
    zones = list(_zones_for_rules(snapshot))
    before: dict[tuple[str, str], RecordView] = {}
    raw: dict[tuple[str, str], tuple[str, ...]] = {}
    edits = list(_edits(changes, {zone.id for zone in zones}))
    judges = _judges_of(zones, {(zone, key) for zone, key, _, _ in edits})
    for zone in zones:
        answers = judges.get(zone.id)
        for key, sets in zone.records.items():
            if (key[1] == "NS" and key[0] == zone.name) or not (answers is None or answers(key)):
                continue
            first = sets[0]
            simple = len(sets) == 1 and first.simple
            raw[key] = first.values if simple else ()
            kind = "simple" if simple else "alias" if "AliasTarget" in first.raw else "routed"
            shown = _decoded(key[1], raw[key])
            if kind == "alias" and len(sets) == 1:
                shown = (from_route53(first.raw["AliasTarget"]["DNSName"]),)
            before[key] = RecordView(shown, kind, first.ttl)  # type: ignore[arg-type]
    after = before
    for zone_id, key, values, ttl in edits:
        answers = judges.get(zone_id)
        if not (answers is None or answers(key)):
            continue
        if after is before:
            after = dict(before)
        held = after.get(key)
        if held is not None and held.kind != "simple":
            continue
        removed, added = values
        kept = tuple(v for v in raw.get(key, ()) if v not in removed)
        raw[key] = (*kept, *(v for v in added if v not in kept))
        if raw[key]:
            after[key] = RecordView(_decoded(key[1], raw[key]), "simple", ttl or (held.ttl if held else None))
        else:
            after.pop(key, None)
    # A run that deletes everything has no declared entries, whatever the YAML says.
    state = replace(snapshot.state, entries=()) if snapshot.removing else snapshot.state
    return RuleView(
        state=state, changes=tuple(changes), desired=_included(snapshot), observed=snapshot.observed,
        zones=frozenset(zone.name for zone in zones), dns_before=before, dns_after=after,
        accounts=snapshot.ses_accounts, topics=snapshot.sns_topics,
        covering={a: s for a, s in snapshot.covering.items() if s},
        sent_last_day=snapshot.sent_last_day, feedback_topics=snapshot.feedback_topics,
        trails=snapshot.trails, unusable=_unusable(snapshot), dkim_keys=_dkim_keys(snapshot),
        undelegated={zone.name: words for zone in zones if (words := zone.undelegated())},
        hosted=_hosted(snapshot, zones),
        leaving={c.address: str(c.execution["zone"]) for c in changes if c.execution.get("leaves_zone")},
        unread=tuple(part.prefix for part in snapshot.unread), now=datetime.fromisoformat(snapshot.now),
    )  # fmt: skip


def _unusable(snapshot: Snapshot) -> dict[str, tuple[tuple[str, str], ...]]:
    """What each declared resource names outside the state that cannot be used, and why."""
    wrong = {one: why for one, why in snapshot.externals.items() if why}
    found = {}
    for address, desired in snapshot.desired.items() if wrong else ():
        named = REGISTRY[desired.kind].externals(desired, snapshot.state)
        if listed := tuple((one.text, wrong[one]) for one in named if one in wrong):
            found[address] = listed
    return found


def _dkim_keys(snapshot: Snapshot) -> dict[str, str]:
    """The public halves of the BYODKIM keys that the state names, by identity."""
    found = {}
    for desired in snapshot.desired.values():
        reference = at_path(desired.spec, "dkim.domain_signing_private_key")
        public = snapshot.keys.get(canonical_json(reference)) if reference else None
        if public:
            found[desired.address] = public
    return found


def _included(snapshot: Snapshot) -> Mapping[str, Desired]:
    """The declared resources, without those that a run with targets does not read: their live state is unknown."""
    if snapshot.read_scope is None:
        return snapshot.desired
    return {address: desired for address, desired in snapshot.desired.items() if snapshot.includes(address)}


def _zones_for_rules(snapshot: Snapshot) -> Iterator[Zone]:
    """The loaded public zones, one for each name: where several have it, the one that the YAML names by its id."""
    by_name: dict[str, list[Zone]] = {}
    for zone in snapshot.zones.values():
        if zone.loaded and not zone.private:
            by_name.setdefault(zone.name, []).append(zone)
    named = [*zones_written(snapshot)]
    order = {zone: place for place, zone in reversed([*enumerate(named)])}
    for group in by_name.values():
        chosen = [zone for zone in group if zone.id in order] if len(group) > 1 else group
        if chosen:
            yield min(chosen, key=lambda zone: (not zone.is_asked(), order.get(zone.id, 0)))


def _hosted(snapshot: Snapshot, zones: Iterable[Zone]) -> dict[str, tuple[HostedZoneView, ...]]:
    """All public hosted zones of the names of ``zones``, and which of them their parent zones delegate to."""
    first = {zone.name: zone for zone in zones}
    named = {*zones_written(snapshot)}
    found: dict[str, list[Zone]] = {name: [zone] for name, zone in first.items()}
    for zone in sorted(snapshot.zones.values(), key=lambda zone: zone.id):
        if zone.name in first and zone is not first[zone.name] and not zone.private:
            found[zone.name].append(zone)
    return {
        name: tuple(
            HostedZoneView(zone.id, zone.servers, zone.is_asked(), zone.id in named or len(group) == 1)
            for zone in group
        )
        for name, group in found.items()
    }


def _judges_of(
    zones: Iterable[Zone], edited: Container[tuple[str, tuple[str, str]]]
) -> dict[str, Callable[[tuple[str, str]], bool]]:
    """For each zone, by its id, that is above or below another: what says of the name and type of a record whether
    resolvers get that record from this zone: of zones below each other from the lowest. One that its parent zone does
    not delegate to comes after those above it, whose records at the name are what resolvers see; of a name that these
    have nothing at, it shows what is meant. Delegations (NS) are taken from wherever they are."""
    by_name = {zone.name: zone for zone in zones}
    above = {name: [one for higher in parents(name) if (one := by_name.get(higher))] for name in by_name}
    nested = {zone.id: zone for name, found in above.items() if found for zone in (by_name[name], *found)}
    hidden = {zone.id for zone in nested.values() if zone.undelegated()}

    def answers(zone: Zone, key: tuple[str, str]) -> bool:
        if key[1] == "NS":
            return True
        found = [by_name[name] for name in at_or_above(key[0]) if name in by_name]
        seen = next((one for one in found if one.id not in hidden), found[0])
        if zone is seen or zone.id not in hidden:
            return zone is seen
        return not seen.sets(*key) and (seen.id, key) not in edited

    return {zone.id: partial(answers, zone) for zone in nested.values()}


def _edits(
    changes: Iterable[Change], zones: Container[str]
) -> Iterator[tuple[str, tuple[str, str], tuple[tuple[str, ...], tuple[str, ...]], int | None]]:
    """For each record change: its zone's id, its key, the raw values that it removes and adds, and its TTL."""
    for change in changes:
        run = change.execution
        if change.kind != "dns_record" or not run.get("name") or str(run.get("zone")) not in zones:
            continue
        if run.get("token"):
            continue  # SES decides whether there is a new token; until then the record stays
        key = (str(run["name"]), str(run["type"]))
        yield str(run["zone"]), key, (tuple(run.get("remove") or ()), tuple(run.get("add") or ())), run.get("ttl")


def _decoded(kind: str, values: Iterable[str]) -> tuple[str, ...]:
    if kind == "TXT":
        return tuple(map(txt.decode, values))
    if kind in ("CNAME", "NS"):
        return tuple(map(from_route53, values))
    if kind == "MX":
        return tuple(map(_mx, values))
    return tuple(values)


def _mx(value: str) -> str:
    preference, _, host = value.strip().partition(" ")
    return f"{preference} {from_route53(host.strip()) or '.'}"


# --- public DNS ----------------------------------------------------------------------------------------------------


def outside_names(view: RuleView) -> frozenset[str]:
    """The names outside the stack's zones that rules need the TXT records of, and that were not asked yet."""
    wanted: set[str] = set()
    own = {*view.domain_names, *(str(i.will("mail_from.mail_from_domain") or "") for i in view.identities)} - {""}
    linked, names = set[str](), list(own)
    while names:  # through the stack's own zones, too
        texts = [text for text in view.txt_anywhere(names.pop()) or () if spf.is_record(text)]
        found = {target for text in texts for target in spf.targets(text)} - linked
        linked |= found
        names += found
    wanted |= linked
    for domain in view.domain_names:
        tags = view.dmarc_tags(domain) or {}
        for target in {dmarc.uri_domain(uri) for tag in dmarc.URI_LISTS for uri in dmarc.uris(tags.get(tag, ""))}:
            if target is not None:
                wanted |= {f"{domain}._report._dmarc.{target}", f"*._report._dmarc.{target}"}
    return frozenset(name for name in wanted if view.zone_of(name) is None and name not in view.outside_txt)


def with_public_dns(view: RuleView, outside: Outside) -> RuleView:
    """The view with the answers of public DNS and HTTPS hosts that its rules need. SPF includes are followed."""
    asked: set[str] = set()
    hosts = sorted(https_hosts(view))[:_MAX_HOSTS]
    if hosts:
        view = replace(view, certificates=outside.ask(outside.certify, hosts))
    zones = sorted(view.zones_with_domains & view.zones)
    if servers := outside.ask(outside.name_servers, zones[:_MAX_OUTSIDE]):
        view = replace(view, outside_servers=servers)
    while True:
        todo = sorted(outside_names(view) - asked)[: _MAX_OUTSIDE - len(asked)]
        if not todo:
            return view
        asked.update(todo)
        view = replace(view, outside_txt={**view.outside_txt, **outside.ask(outside.resolve, todo)})


def https_hosts(view: RuleView) -> frozenset[str]:
    """The tracking domains that need an HTTPS certificate."""
    blocks = [r.will("tracking_options") or {} for r in view.resources_after("configuration_set")]
    found = {str(b.get("custom_redirect_domain") or "") for b in blocks if needs_https(b.get("https_policy"))}
    return frozenset(found - {""})


# --- back into the plan --------------------------------------------------------------------------------------------


def _stands(finding: Finding, before: Container[Finding]) -> bool:
    return finding in before and not is_urgent(finding.rule)


def annotate(
    changes: Sequence[Change], findings: Iterable[Finding], before: Container[Finding] = ()
) -> tuple[tuple[Change, ...], tuple[Diagnostic, ...]]:
    """The changes with the findings as notes, and diagnostics for findings that are about no change. Those that are
    also in ``before`` stand.

    A kind's own note under the id of a rule is replaced by the finding, because the rule has the severity that the user
    has set. The code of a diagnostic is the rule's id, so ``RULES`` distinguishes errors of rules from others.
    """
    by_address: dict[str, list[Finding]] = {}
    for finding in findings:
        by_address.setdefault(finding.address, []).append(finding)
    out: list[Change] = []
    for change in changes:
        mine = by_address.pop(change.address, [])
        kept = tuple(note for note in change.notes if note.rule not in RULES)
        notes = tuple(
            Note(f.rule, f.severity, f.message + (f" ({f.hint})" if f.hint else ""), _stands(f, before)) for f in mine
        )
        out.append(change if not notes and kept == change.notes else replace(change, notes=(*kept, *notes)))
    rest = tuple(
        Diagnostic(f.severity, f.rule, f.message, f.hint, address=f.address, stands=_stands(f, before))
        for group in by_address.values()
        for f in group
    )
    return tuple(out), rest


def evaluate(
    draft: PlanDraft, changes: Sequence[Change], outside: Outside | None = None, made: Sequence[Change] | None = None,
    before: Container[Finding] = (),
) -> tuple[tuple[Change, ...], tuple[Diagnostic, ...]]:  # fmt: skip
    """``view_of``, ``judge`` and ``annotate`` in one, for the planner. The rules judge AWS as it will be with those of
    ``changes`` that are ``made`` (default: all). Asks public DNS and HTTPS hosts only with ``outside``."""
    refused = {one.address for one in draft.refusals if one.code == "no-tracking-identity"}
    found = judge(_seen(draft, changes if made is None else made, outside))
    kept = [f for f in found if f.rule != "tracking-identity" or f.address not in refused]
    return annotate(changes, kept, before)


def found_before(draft: PlanDraft, changes: Sequence[Change], outside: Outside | None = None) -> frozenset[Finding]:
    """What the rules find in AWS as it is, without ``changes``: what these create is not there, what they alter is as
    it was."""
    view = view_of(draft.snapshot, ())
    altered = {change.address for change in changes}
    made = {change.address for change in changes if change.action == "create"}
    entries: dict[tuple[str, str], bool] = {}  # whether anything of an entry is there
    for address, one in view.desired.items():
        key = one.entry.section, one.entry.name
        entries[key] = entries.get(key, False) or address not in made
    there = [one for one in view.state.entries if entries.get((one.section, one.name), True)]
    lived = _entries_before(view, changes)
    view = replace(
        view,
        desired={address: one for address, one in view.desired.items() if address not in altered},
        state=replace(view.state, entries=tuple(lived(one) for one in there)),
    )
    return frozenset(judge(view if outside is None else with_public_dns(view, outside)))


def _entries_before(view: RuleView, changes: Iterable[Change]) -> Callable[[Entry], Entry]:
    """For rules that read what the YAML says: the entry as it says what is live, where ``changes`` alter that. Of a
    record that changes it says nothing: then they look at what is live."""
    was: dict[tuple[str, str, str | None], dict[str, Any]] = {}
    for change in changes:
        desired = view.desired.get(change.address)
        if desired is not None and KINDS[change.kind].sections:  # whose fields are those of its entry
            entry, before = desired.entry, change.before or {}
            fields = {diff.path.partition(".")[0] for diff in change.diff}
            place = was.setdefault((entry.section, entry.name, entry.region), {})
            place |= {field: before.get(field) for field in fields}
        elif change.kind == "dns_record":
            name, type_ = str(change.execution.get("name")), str(change.execution.get("type"))
            groups = [(group.name, one) for _, group in RECORD_GROUPS.values() if not group.listed
                      and type_ in group.types for one in group.resources_of(name)]  # fmt: skip
            groups += [("spf", name)] if type_ == "TXT" else []
            if change.action == "create" or any(diff.path == "ttl" for diff in change.diff):
                groups += [("ttl", domain) for domain in at_or_above(name)]
            for group, domain in groups:
                was.setdefault(("domains", domain, None), {})[group] = None

    def lived(entry: Entry) -> Entry:
        before = was.get((entry.section, entry.name, entry.region))
        if before is None:
            return entry
        said = {**entry.values, **{key: value for key, value in before.items() if key in entry.values or value}}
        return replace(entry, values={key: value for key, value in said.items() if value is not None})

    return lived


def with_fixed(
    changes: Sequence[Change], findings: tuple[Diagnostic, ...], before: Iterable[Finding],
    absent: Container[Address] = (),
) -> tuple[list[Change], tuple[Diagnostic, ...]]:  # fmt: skip
    """The changes and ``findings`` of ``evaluate``, with a note ``fixed`` for each finding that this plan removes: of
    the change at its address, else a diagnostic. What is deleted is not fixed, nor what is ``absent``: declared and not
    live."""
    left = {(note.rule, change.address) for change in changes for note in change.notes}
    left |= {(one.code, one.address) for one in findings}
    gone = {change.address for change in changes if change.action == "delete"}
    fixed: dict[str, list[Finding]] = {}
    for one in sorted(before, key=lambda f: (f.rule, f.address, f.message)):
        if (one.rule, one.address) not in left and one.address not in gone and one.rule in RULES:
            fixed.setdefault(one.address, []).append(one)
    out = []
    for change in changes:
        notes = tuple(
            Note("fixed", "note", f"fixes {one.rule}: {one.message}") for one in fixed.pop(change.address, ())
        )
        out.append(replace(change, notes=(*change.notes, *notes)) if notes else change)
    rest = tuple(
        Diagnostic("note", "fixed", f"this plan fixes {one.rule}: {one.message}", address=address)
        for address, group in fixed.items()
        if address not in absent
        for one in group
    )
    return out, (*findings, *rest)


def finds_error(draft: PlanDraft, made: Sequence[Change], error: Diagnostic, outside: Outside | None = None) -> bool:
    """Whether a rule would still find an ``error`` of its own if only ``made`` were carried out."""
    found = judge(_seen(draft, made, outside), only=error.code)
    return any((f.rule, f.address, f.severity) == (error.code, error.address, "error") for f in found)


def _seen(draft: PlanDraft, made: Sequence[Change], outside: Outside | None) -> RuleView:
    view = view_of(draft.snapshot, made)
    return view if outside is None else with_public_dns(view, outside)


_SAME: Final = {
    "any-from-address": "smtp-any-from",
    "deterministic-parent": "dkim-replica",
    "mail-from-is-identity": "mail-from-in-use",
}
"""Codes of warnings about the YAML alone -> the rule of another name that checks the same."""


def not_from_rules(warnings: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """The warnings about the YAML alone that no rule covers: a plan reports the others by rules, which know what is
    live."""
    return tuple(one for one in warnings if _SAME.get(one.code, one.code) not in RULES)
