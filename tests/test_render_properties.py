"""Whatever a plan holds: every form renders, nothing in it acts, comments fit, and a saved plan is whole or refused."""

from __future__ import annotations

import json
import re
import unicodedata
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reconciler.errors import ReconError
from reconciler.model import ACTIONS, OUTCOMES, Applied, Change, Diagnostic, FieldDiff, Note, Plan, Result, Source
from reconciler.renderers import (
    load_saved,
    plan_from_json,
    plan_to_json,
    render,
    render_error,
    render_result,
    saved_plan,
)

QUICK = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])

nasty = st.sampled_from([
    "\x1b[2J", "\r\n", "\u202e", "\u2066", "\x9b", "```", "`", "|", "<script>", "</details>", "-->", "--", "]]>", "@a",
    "#1", "${name}", "\ue000", "(sensitive)", "\x00", "\u2028", "\U000e0041", "&#64;", "\\", '"', "v=DMARC1; p=none",
    "a.b", "e\u0301", "日本", "\ufeff", "javascript:", "-----BEGIN PRIVATE KEY-----", "{\"Statement\":[]}",
])  # fmt: skip
text = st.one_of(st.text(max_size=12), nasty, st.builds(lambda a, b, c: a + b + c, st.text(max_size=6), nasty, nasty))
name = st.one_of(st.sampled_from(["t1.acme.com", "t2.acme.com", "acme.com", "us-east-1", "_dmarc.t1.acme.com"]), text)
scalar = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), text)
value = st.recursive(
    scalar, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)), max_leaves=6
)
path = st.one_of(
    st.sampled_from(["p", "mail_from.mail_from_domain", "tags.team", "dkim.domain_signing_private_key", "values",
                     "scaling_mode", "delivery_options.tls_policy", "sending_options.sending_enabled"]),
    text,
)  # fmt: skip
document = st.dictionaries(st.one_of(path, st.sampled_from(["dkim", "tags", "value"])), value, max_size=4)
source = st.one_of(st.none(), st.builds(Source, text, st.integers(0, 10**6), st.integers(0, 500), text))
severity = st.sampled_from(["error", "warning", "note"])
note = st.builds(Note, text, severity, text)
kind = st.one_of(
    st.sampled_from(["email_identity", "dns_record", "configuration_set", "dedicated_ip_pool", "smtp_user",
                     "smtp_credential", "event_destination"]),
    text,
)  # fmt: skip


ODD = Plan("s", None, "", "changes", "", "", (Change("email_identity/x", "email_identity", "adopt", None,
           {"tags": True}, (FieldDiff("tags", None, True),)),))  # fmt: skip
"""A member of another type than recon writes: a plan file may hold anything."""


@st.composite
def changes(draw: st.DrawFn) -> Change:
    of_kind = draw(kind)
    address = "/".join([of_kind, *draw(st.lists(name, max_size=3))])
    action = draw(st.sampled_from(ACTIONS))
    return Change(
        address, of_kind, action,
        None if action == "create" else draw(st.one_of(st.none(), document)),
        None if action == "delete" else draw(st.one_of(st.none(), document)),
        tuple(draw(st.lists(st.builds(FieldDiff, path, value, value, source), max_size=3))),
        tuple(draw(st.lists(path, max_size=2))), tuple(draw(st.lists(name, max_size=2))),
        tuple(draw(st.lists(note, max_size=2))), draw(source), draw(st.one_of(st.none(), text)),
        draw(st.one_of(st.none(), name)), draw(document), draw(st.booleans()),
    )  # fmt: skip


diagnostic = st.builds(
    Diagnostic, severity, text, text, text, text, st.integers(0, 10**6), st.integers(0, 500), name
)  # fmt: skip
plans = st.builds(
    Plan,
    stack=text,
    environment=st.one_of(st.none(), text),
    account=text,
    outcome=st.sampled_from(OUTCOMES),
    created_at=text,
    state_digest=text,
    changes=st.lists(changes(), max_size=6).map(tuple),
    diagnostics=st.lists(diagnostic, max_size=4).map(tuple),
    refresh=st.sampled_from(["full", "bulk"]),
    unread=st.lists(text, max_size=3).map(tuple),
    scanned=st.lists(text, max_size=3).map(tuple),
    calls=st.dictionaries(text, st.integers(0, 10**6), max_size=3),
    write_calls=st.integers(0, 10**6),
    seconds=st.integers(0, 10**6),
    recon_version=text,
    scope=text,
    context=document,
)


def inert(shown: str, *, allow: str = "\n") -> None:
    """No control, format, private, unassigned or surrogate character but those allowed."""
    bad = {c for c in shown if c not in allow and unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")}
    assert not bad, bad


@QUICK
@given(
    plans, st.sampled_from([None, 20, 80, 140]), st.booleans(), st.sampled_from(["plan", "drift"]), st.integers(0, 1)
)
def test_text(plan: Plan, width: int | None, unicode: bool, mode: Any, verbose: int) -> None:
    shown = render(plan, "text", width=width, unicode=unicode, mode=mode, verbose=verbose)
    inert(shown)
    assert unicode or shown.isascii()
    assert not re.search(r" +$", shown, re.MULTILINE)
    assert re.match(r"Plan: \d|No changes", shown.splitlines()[-1])
    coloured = render(plan, "text", width=width, unicode=unicode, mode=mode, verbose=verbose, color=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == shown


@QUICK
@given(plans)
@example(ODD)
def test_json(plan: Plan) -> None:
    shown = render(plan, "json")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ufeff]", shown)
    saved = saved_plan(plan)  # what is printed has nothing that is shaped like a secret, the file has what was planned
    assert plan_from_json(json.loads(saved)) == plan
    assert load_saved(saved) == plan
    assert plan_from_json(plan_to_json(plan)) == plan


ALLOWED = frozenset(["h3", "h4", "p", "strong", "code", "details", "summary", "br", "pre", "ul", "li", "sub", "em"])


class Tags(HTMLParser):
    """The tags and attributes of a document, with the order of opening and closing checked."""

    VOID = frozenset({"br", "meta", "input"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.data: list[str] = []
        self.comments: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, (tag, self.open)

    def handle_data(self, data: str) -> None:
        self.data.append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    tags.close()
    assert not tags.open, tags.open
    return tags


def on_a_forge(markdown: str) -> Tags:
    """The comment as CommonMark makes HTML of it, raw HTML kept, as forges do before they sanitize."""
    from markdown_it import MarkdownIt

    return parsed(MarkdownIt("commonmark", {"html": True}).render(markdown))


def inert_comment(shown: str) -> None:
    inert(shown, allow="\n\ufe0f")
    assert len(shown.encode()) <= 60_000
    tags = on_a_forge(shown)
    assert {tag for tag, _ in tags.seen} <= ALLOWED
    assert all(not attributes.keys() - {"open", "class"} for _, attributes in tags.seen)
    assert len(tags.comments) == 1 and tags.comments[0].startswith(" recon:")
    assert shown.startswith("<!-- recon:")


@QUICK
@given(plans, st.sampled_from(["plan", "drift"]))
@example(ODD, "plan")
def test_markdown(plan: Plan, mode: Any) -> None:
    shown = render(plan, "markdown", mode=mode)
    inert_comment(shown)
    if plan.changes:
        assert "Plan: " in shown


@QUICK
@given(plans, st.sampled_from(["plan", "drift"]))
@example(ODD, "plan")
def test_html(plan: Plan, mode: Any) -> None:
    shown = render(plan, "html", mode=mode)
    inert(shown)
    inert_page(shown)


def inert_page(shown: str) -> None:
    tags = parsed(shown)
    assert [tag for tag, _ in tags.seen].count("script") == 1
    for tag, attributes in tags.seen:
        assert tag not in {"img", "iframe", "object", "embed", "link", "base", "form"}
        for key, content in attributes.items():
            assert not key.startswith("on") and key not in {"src", "style", "srcdoc", "formaction"}
            assert key != "href" or re.fullmatch(r"#b\d+", content or "")


@QUICK
@given(plans, st.sampled_from(["applied", "partial", "not_started", "verify_timeout", "no_changes"]), st.data())
def test_result(plan: Plan, outcome: str, data: st.DataObject) -> None:
    applied = tuple(
        Applied(change.address, change.action, data.draw(st.sampled_from(["done", "failed", "not_started", "waiting"])),
                data.draw(text), data.draw(text))
        for change in plan.changes
    )  # fmt: skip
    result = Result(plan, outcome, applied, plan.diagnostics, {"iam": 2}, 1.5)
    shown = render_result(result, "text", width=80)
    inert(shown)
    document = json.loads(render_result(result, "json"))
    assert document["outcome"] == outcome and len(document["applied"]) == len(applied)
    inert_comment(render_result(result, "markdown"))
    inert_page(render_result(result, "html"))
    with pytest.raises(ReconError):  # a report is not a plan
        load_saved(json.dumps(document))


@QUICK
@given(text, text, st.lists(diagnostic, max_size=3))
def test_error(message: str, hint: str, diagnostics: list[Diagnostic]) -> None:
    error = ReconError(message, hint=hint, diagnostics=diagnostics)
    inert(render_error(error, "text", width=60))
    document = json.loads(render_error(error, "json"))
    assert document["outcome"] == "error" and len(document["diagnostics"]) == max(1, len(diagnostics))
    inert_comment(render_error(error, "markdown"))
    inert_page(render_error(error, "html"))


@QUICK
@given(plans, st.data())
def test_any_edit_of_a_saved_plan_is_refused(plan: Plan, data: st.DataObject) -> None:
    saved = saved_plan(plan)
    document = json.loads(saved)
    key = data.draw(st.sampled_from(sorted(document)))
    edited = dict(document)
    if data.draw(st.booleans()):
        del edited[key]
    else:
        edited[key] = data.draw(value.filter(lambda other: json.dumps(other) != json.dumps(document[key])))
    with pytest.raises(ReconError):
        load_saved(json.dumps(edited))
    cut = data.draw(st.integers(0, len(saved) - 3))
    with pytest.raises(ReconError):
        load_saved(saved[:cut])
