"""What single parts of the renderers promise: folding, the headline, budgets, saved plans, schema, forge formats."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import InvalidState, ReconError, Refused, Stale
from reconciler.model import Applied, Change, Diagnostic, FieldDiff, Note, Plan, Result, Source, digest_of
from reconciler.renderers import (
    load_saved,
    plan_digest,
    plan_from_json,
    plan_to_json,
    render,
    render_diagnostics,
    render_error,
    render_result,
    saved_plan,
)
from reconciler.renderers.annotations import github_annotations, sarif
from reconciler.renderers.escape import cells, markdown_code, markdown_text, safe, wrap
from reconciler.renderers.graph import graph
from reconciler.renderers.headline import headline, monthly_dollars
from reconciler.renderers.prometheus import prometheus
from reconciler.renderers.values import hidden, one_line, with_unknown
from reconciler.renderers.view import view

ROOT = Path(__file__).parent.parent
CASES: dict[str, Plan] = runpy.run_path(str(Path(__file__).parent / "golden" / "cases.py"))["CASES"]


def change(
    address: str, action: Any = "update", diff: Mapping[str, tuple[Any, Any]] | None = None, **more: Any
) -> Change:
    """A change of ``path: (before, after)`` fields; create and delete take ``after`` or ``before``."""
    diffs = tuple(FieldDiff(path, old, new) for path, (old, new) in (diff or {}).items())
    before, after = more.pop("before", None), more.pop("after", None)
    return Change(address, address.split("/")[0], action, before, after, diffs, **more)


def plan(*changes: Change, **more: Any) -> Plan:
    return Plan(
        **{
            "stack": "s", "environment": None, "account": "111122223333", "outcome": "changes", "scope": "s",
            "created_at": "2026-11-22T00:00:00Z", "state_digest": "sha256:0", "changes": changes, **more,
        }
    )  # fmt: skip


# --- text ----------------------------------------------------------------------------------------------------------


def test_nothing_is_wider_than_the_terminal() -> None:
    for width in (60, 80, 140):
        for case in ("setup", "everything", "tenants"):
            for line in render(CASES[case], "text", width=width).splitlines():
                # an address is never broken, it is copied to --target; and scripts read the last line
                if not line.startswith("Plan: "):
                    assert cells(line) <= width or line.strip().split()[-1].count("/") >= 2, line


def test_known_after_apply_only_where_unknown() -> None:
    shown = render(
        plan(change("a/b", "create", after={"tokens": None, "x": {"y": 1}}, unknown=("tokens", "x.z"))), "text"
    )
    assert "tokens  (known after apply)" in shown and "x.z     (known after apply)" in shown and "x.y     1" in shown
    spoofed = render(plan(change("a/b", "create", after={"x": "(known after apply)"})), "text")
    assert '"(known after apply)"' in spoofed


def test_secret_references_and_secrets() -> None:
    key = "domain_signing_private_key"
    assert one_line(hidden({key: {"secretsmanager": "k"}})[key]) == "(from secretsmanager: k)"
    assert one_line(hidden({key: {"secretsmanager": {"name": "k", "region": "r"}}})[key]) == "(from secretsmanager: k)"
    assert one_line(hidden({key: {"ssm": "k", "more": "m"}})[key]) == "(sensitive)"
    assert one_line(hidden({"a": ["-----BEGIN RSA PRIVATE KEY-----"]})["a"][0]) == "(sensitive)"
    assert one_line(hidden({key: "sha256:" + "ab" * 32})[key]) == "(key sha256:abababababab)"
    for format in ("text", "markdown", "html"):
        assert "MIIE" not in render(CASES["hostile"], format)


def test_unknown_items_of_lists_and_keys_with_dots() -> None:
    assert one_line(with_unknown({"v": ["a", "b"]}, "", ("v.1",))["v"]) == "a, (known after apply)"
    assert one_line(with_unknown({"a.b": {"c": 1}}, "", ("a.b.c",))["a.b"]["c"]) == "(known after apply)"
    assert with_unknown({"a": 1}, "", ("b",)) == {"a": 1}


def test_equal_changes_fold_whatever_their_names() -> None:
    many = [
        change(f"email_identity/{region}/t{n}.acme.com", region=region,
               diff={"mail_from.mail_from_domain": (None, f"b-{region}.t{n}.acme.com")})
        for n in range(5) for region in ("us-east-1", "eu-west-1")
    ]  # fmt: skip
    (block,) = view(plan(*many)).blocks
    assert block.count == 10 and block.rows[0].after == "b-us-east-1.t0.acme.com"
    shown = render(plan(*many), "text")
    assert "10 × email_identity" in shown and "and 7 more" in shown and "(first of 10)" in shown
    # with -v, on the page and in an unfolded comment no address and no value is left out
    for whole in (render(plan(*many), "text", verbose=1), render(plan(*many), "html"), render(plan(*many), "markdown")):
        assert all(one.address in whole and one.diff[0].after in whole for one in many)


def test_what_differs_does_not_fold() -> None:
    many = [change(f"configuration_set/r/s{n}", diff={"x": (1, 1 + n % 2)}) for n in range(4)]
    assert [block.count for block in view(plan(*many)).blocks] == [1, 1, 1, 1]
    many = [
        change(f"dns_record/z/{kind}{n}.z/TXT", "delete", before={"v": 1}) for kind in ("", "_dmarc.") for n in "abc"
    ]
    assert [block.count for block in view(plan(*many)).blocks] == [3, 3]


def test_a_value_cannot_pose_as_a_name() -> None:
    many = [change(f"smtp_user/u{n}", diff={"path": ("/", "\ue000" if n else "u0")}) for n in range(3)]
    assert [block.count for block in view(plan(*many)).blocks] == [1, 1, 1]


def test_folded_deletes_are_listed_in_full() -> None:
    many = [change(f"dedicated_ip_pool/r/p{n}", "delete", before={"scaling_mode": "STANDARD"}) for n in range(50)]
    shown = render(plan(*many), "text")
    assert all(one.address in shown for one in many)


def test_deletes_come_first_and_the_rest_in_the_order_of_the_plan() -> None:
    order = [change("c/1"), change("a/1", "create", after={"x": 1}), change("d/1", "replace"), change("b/1", "delete")]
    assert [block.addresses[0] for block in view(plan(*order)).blocks] == ["b/1", "d/1", "c/1", "a/1"]


@pytest.mark.parametrize("action", ["delete", "replace"])
def test_every_summary_names_what_is_deleted(action: str) -> None:
    many = [change(f"dedicated_ip_pool/r/p{n}", action, before={"x": "y"}) for n in range(30)]
    folded = re.sub(r"</summary>.*?</details>", "", render(plan(*many), "markdown"), flags=re.DOTALL)
    page = re.sub(r"</summary>.*?</details>", "", render(plan(*many), "html"), flags=re.DOTALL)
    result = Result(plan(*many), "applied", tuple(Applied(one.address, one.action, "done") for one in many))
    for summary in (folded, page, render(plan(*many), "text"), render_result(result, "text")):
        assert all(re.search(rf"{re.escape(one.address)}\b", summary) for one in many)


def test_the_cause_is_the_line_that_asks() -> None:
    where = Source("state/d.yaml", 4, 1, "defaults.domain")
    one = replace(change("a/b", source=Source("state/e.yaml", 9)), diff=(FieldDiff("x", 1, 2, where),))
    assert "a/b  state/d.yaml:4 (defaults.domain)" in render(plan(one), "text")
    two = replace(one, diff=(FieldDiff("x", 1, 2, where), FieldDiff("y", 1, 2, Source("state/e.yaml", 10))))
    shown = render(plan(two), "text")
    assert "a/b  state/e.yaml:9" in shown and "1 → 2  (defaults.domain)" in shown


def test_order_of_a_policy_is_no_difference_and_json_text_is_read() -> None:
    old = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"a"}]}'
    new = {"Statement": [{"Action": "b", "Effect": "Allow"}], "Version": "2012-10-17"}
    shown = render(plan(change("a/b", diff={"policies.p": (old, new)})), "text")
    assert shown.count("-   - Action: a") == 1 and "- Version" not in shown


def test_types_that_look_the_same_are_distinguished() -> None:
    assert '300 → "300"' in render(plan(change("a/b", diff={"ttl": (300, "300")})), "text")


def test_refused_plan_says_so() -> None:
    refused = plan(outcome="refused", diagnostics=(Diagnostic("error", "protect", "a/b is protected"),))
    lines = render(refused, "text").splitlines()
    assert lines[-1].startswith("Plan: 0 to create") and any(line.startswith("Refused") for line in lines)


def test_wrap_keeps_every_character() -> None:
    text = "v=spf1 include:" + "x" * 50 + " ~all 日本日本日本"
    pieces = wrap(text, 20)
    assert all(cells(piece) <= 20 for piece in pieces)
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")


def test_the_same_message_for_many_is_shown_once() -> None:
    many = [
        Diagnostic(
            "error",
            "no-zone",
            f"no zone holds _dmarc.t{n}.com",
            "make it",
            "s.yaml",
            n,
            1,
            f"dns_record/?/_dmarc.t{n}.com/TXT",
        )
        for n in range(1, 6)
    ]
    other = Diagnostic("note", "status", "pending", address="email_identity/r/a.com")
    shown = render(plan(diagnostics=(other, *many, other)), "text", verbose=1)
    assert shown.count("no zone holds") == 1 and shown.count("pending") == 1
    assert "error: no zone holds _dmarc.t1.com (the same for 4 others)  [no-zone]\n  at       s.yaml\n" in shown
    assert all(one.address in shown for one in many)
    assert shown.index("no zone") < shown.index("pending")


def test_errors_of_a_refused_plan_come_first() -> None:
    refused = replace(CASES["setup"], outcome="refused", diagnostics=(Diagnostic("error", "protect", "PROTECTED"),))
    for format in ("markdown", "html"):
        shown = render(refused, format)
        assert shown.index("Refused") < shown.index("PROTECTED") < shown.index("Review these first")


def test_a_large_plan_is_saved_a_change_a_line() -> None:
    many = plan(*(change(f"a/b{n}", diff={"x": ("\u202e", '\n  "changes": []')}) for n in range(1_500)))
    saved = saved_plan(many)
    assert load_saved(saved) == many and 1_500 < saved.count("\n") < 1_560 and "\u202e" not in saved


BEGIN = '\n  "changes": ['
LARGE = plan(*(change(f"a/b{n}", diff={"x": ("\u202e", '\n  "changes": [')}) for n in range(1_001)))
EDITS_OF_LARGE: dict[str, tuple[Callable[[str], str], str]] = {
    "a value": (lambda text: text.replace('"a/b7"', '"a/c7"'), "edited"),
    "a change that is gone": (lambda text: "\n".join(ln for ln in text.split("\n") if '"a/b7"' not in ln), "edited"),
    "cut off": (lambda text: text[: len(text) // 2], "truncated"),
    "the changes twice": (lambda text: text.replace(BEGIN, f'\n  "changes": [],{BEGIN}', 1), "twice"),
    "the changes of another member": (
        lambda text: text.replace(BEGIN, '\n  "context": {' + BEGIN, 1).replace("\n  ],", "\n  ]},", 1), "twice",
    ),
    "no comma": (lambda text: text.replace("},\n    {", "}\n    {", 1), "not JSON"),
    "a key twice": (lambda text: text.replace('{"address":', '{"address": "x", "address":', 1), "twice"),
    "a member of a change": (lambda text: text.replace('{"address":', '{"more": 1, "address":', 1), "edited"),
    "no digest": (lambda text: re.sub(r'\n  "digest": "[^"]*"', '\n  "digest": null', text), "no digest"),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS_OF_LARGE)
def test_a_large_plan_that_was_edited_is_refused_as_a_small_one_is(name: str) -> None:
    edit, words = EDITS_OF_LARGE[name]
    text = saved_plan(LARGE)
    assert edit(text) != text
    with pytest.raises(ReconError, match=words):
        load_saved(edit(text))


def test_the_digest_of_a_large_plan_is_that_of_its_json() -> None:
    assert plan_digest(LARGE) == digest_of(plan_to_json(LARGE)) == json.loads(saved_plan(LARGE))["digest"]
    assert load_saved(json.dumps(json.loads(saved_plan(LARGE)), indent=1)) == LARGE, "written by another program"


def test_picture_of_many_folds_to_kinds() -> None:
    chain = [
        change(f"kind{n % 3}/r/n{n}", diff={"x": (n, n * n + 1)}, depends_on=(f"kind{(n + 2) % 3}/r/n{n - 1}",))
        for n in range(100)
    ]
    small, large = render(plan(*chain[:20]), "html"), render(plan(*chain), "html")
    assert small.count("<g class=") == 20 and small.count('class="edge"') == 19
    assert large.count("<g class=") == 3 and "34 to update" in large


# --- headline and cost ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (change("email_identity/r/a.com", "create", after={"dkim": {"signing_enabled": True}}),
         "1 domain starts signing with DKIM"),
        (change("email_identity/r/a.com", "create", after={}), "1 domain is set up to send"),
        (change("email_identity/r/a@a.com", "create", after={}), "1 address is set up to send"),
        (change("email_identity/r/a.com", diff={"dkim.signing_enabled": (True, False)}, region="r"),
         "1 domain stops signing with DKIM in r"),
        (change("email_identity/r/a.com", "delete", before={}, region="r"), "1 domain stops sending in r"),
        (change("email_identity/r/a.com", diff={"mail_from": (None, {"mail_from_domain": "b.a.com"})}),
         "1 domain gets a MAIL FROM of its own"),
        (change("email_identity/r/a.com", diff={"mail_from.mail_from_domain": ("a.a.com", "b.a.com")}),
         "1 domain changes its MAIL FROM"),
        (change("email_identity/r/a.com", diff={"mail_from.behavior_on_mx_failure": ("a", "b")}),
         "1 domain changes its MAIL FROM"),
        (change("email_identity/r/a.com", diff={"mail_from.mail_from_domain": ("a.a.com", None)}),
         "1 domain loses its MAIL FROM"),
        (change("email_identity/r/a.com", diff={"configuration_set_name": ("a", "b")}),
         "1 domain sends through another configuration set"),
        (change("dns_record/z/_dmarc.a.com/TXT", diff={"p": ("none", "reject")}), "1 DMARC policy is tightened"),
        (change("dns_record/z/_dmarc.a.com/TXT", diff={"p": ("reject", "quarantine")}), "1 DMARC policy is loosened"),
        (change("dns_record/z/_dmarc.a.com/TXT", diff={"p": ("none", "reject"), "t": (None, "y")}),
         "1 DMARC policy is tightened"),
        (change("dns_record/z/_dmarc.a.com/TXT", diff={"p": ("none", "quarantine"), "t": (None, "y")}),
         "1 DMARC record changes"),
        (change("dns_record/z/_dmarc.a.com/TXT", diff={"p": ("quarantine", "reject"), "t": (None, "y")}),
         "1 DMARC record changes"),
        (change("dns_record/z/_dmarc.a.com/TXT", before={"p": "quarantine", "t": "y"}, after={"p": "quarantine"}),
         "1 DMARC policy is tightened"),
        (change("dns_record/z/_dmarc.a.com/TXT", before={"p": "reject"}, after={"p": "reject", "t": "y"}),
         "1 DMARC policy is loosened"),
        (change("dns_record/z/_dmarc.a.com/TXT", before={"p": "quarantine"}, after={"p": "quarantine", "t": "y"}),
         "1 domain loses DMARC enforcement"),
        (change("dns_record/z/_dmarc.a.com/TXT", before={"p": "reject"}, after={"p": "reject", "sp": "none"}),
         "1 DMARC policy is loosened"),
        (change("dns_record/z/_dmarc.a.com/TXT", before={"p": "reject", "sp": "none"},
                after={"p": "reject", "sp": "none", "np": "reject"}),
         "1 DMARC policy is tightened"),
        (change("dns_record/z/_dmarc.a.com/TXT", before={"p": "reject"}, after={"p": "reject", "fo": "1"}),
         "1 DMARC record changes"),
        (change("dns_record/z/_dmarc.a.com/TXT", "delete", before={"p": "none", "sp": "none"}),
         "1 DMARC record is removed"),
        (change("dns_record/z/_dmarc.a.com/TXT", diff={"p": ("reject", "none")}), "1 domain loses DMARC enforcement"),
        (change("dns_record/z/_dmarc.a.com/TXT", "delete", before={"p": "reject"}), "1 domain loses DMARC enforcement"),
        (change("dns_record/z/_dmarc.a.com/TXT", "delete", before={"values": ["v=DMARC1; p=quarantine"]}),
         "1 domain loses DMARC enforcement"),
        (change("dns_record/z/_dmarc.a.com/TXT", "delete", before={"p": "none"}), "1 DMARC record is removed"),
        (change("dns_record/z/_dmarc.a.com/TXT", diff={"rua": (None, "mailto:a@b")}), "1 DMARC record changes"),
        (change("dns_record/z/a.com/TXT", "create", after={"value": "v=spf1 -all"}), "1 SPF record is added"),
        (change("dns_record/z/b.a.com/TXT", "create", after={"value": "v=spf1 include:amazonses.com ~all"}),
         "1 DNS record is written"),
        (change("configuration_set/r/s", diff={"sending_options.sending_enabled": (True, False)}),
         "1 configuration set stops sending"),
        (change("configuration_set/r/s", diff={"delivery_options.tls_policy": ("REQUIRE", "OPTIONAL")}),
         "TLS becomes optional on 1 configuration set"),
        (change("dedicated_ip_pool/r/p", "create", after={"scaling_mode": "MANAGED"}),
         "1 managed IP pool begins to cost $15 a month"),
        (change("smtp_credential/u", unknown=("access_key",), diff={"access_key": ("A", None)}),
         "1 SMTP password is issued"),
        (change("smtp_credential/u", "delete", before={}), "1 SMTP password stops working"),
        (change("tenant/r/x", "create", after={}), "1 resource is created"),
        (change("email_identity/r/a.com", "adopt", diff={"tags.recon:stack": (None, "s")}),
         "1 live resource is adopted"),
    ],
)  # fmt: skip
def test_headline(one: Change, expected: str) -> None:
    assert headline(plan(one)) == expected


def test_headline_counts_domains_not_resources() -> None:
    both = [change(f"email_identity/{r}/a.com", "delete", before={}, region=r) for r in ("eu-west-1", "us-east-1")]
    assert headline(plan(*both)) == "1 domain stops sending in eu-west-1 and us-east-1"


def test_cost_is_per_account_once_and_from_notes() -> None:
    pools = [change(f"dedicated_ip_pool/r{n}/p", "create", after={"scaling_mode": "MANAGED"}) for n in range(3)]
    assert monthly_dollars(plan(*pools)) == 15
    assert monthly_dollars(plan(change("dedicated_ip_pool/r/p", diff={"scaling_mode": ("STANDARD", "MANAGED")}))) == 15
    assert monthly_dollars(plan(change("dedicated_ip_pool/r/p", diff={"tags.a": (None, "b")}))) == 0
    noted = change("x/y", "create", after={}, notes=(Note("cost", "warning", "costs $24.95 a month"),))
    assert monthly_dollars(plan(*pools, noted)) == pytest.approx(39.95)


# --- errors --------------------------------------------------------------------------------------------------------


def test_error_text() -> None:
    error = Refused("no", hint="do that", diagnostics=[
        Diagnostic("error", "protect", "no", "", "state/a.yaml", 14, 16, "email_identity/r/a.com")])  # fmt: skip
    assert render_error(error, "text") == (
        "error: no  [protect]\n  at       state/a.yaml:14:16\n  address  email_identity/r/a.com\n  hint:    do that\n"
    )


def test_many_errors_end_with_their_count() -> None:
    error = InvalidState([Diagnostic("error", "x", f"bad {n}", file="a.yaml", line=n) for n in (1, 2)])
    lines = render_error(error, "text").splitlines()
    assert lines[0] == "error: bad 1  [x]" and lines[-1] == "error: 2 errors in the declared state"


def test_error_json_and_with_a_plan() -> None:
    error = Refused("no")
    document = json.loads(render_error(error, "json"))
    assert document["outcome"] == "refused" and document["diagnostics"][0]["code"] == "refused"
    with_plan = json.loads(render_error(error, "json", plan=CASES["setup"]))
    assert with_plan["outcome"] == "refused" and len(with_plan["changes"]) == 11 and len(with_plan["diagnostics"]) == 3


def test_unknown_format() -> None:
    with pytest.raises(ReconError, match="unknown format"):
        render(CASES["setup"], "yaml")


# --- JSON and its schema -------------------------------------------------------------------------------------------


def test_outputs_validate_against_the_schema() -> None:
    from jsonschema import Draft202012Validator

    schema = json.loads((ROOT / "schemas" / "plan.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    check = Draft202012Validator(schema)
    outputs = [render(one, "json") for one in CASES.values()]
    outputs += [file.read_text(encoding="utf-8") for file in (ROOT / "tests" / "golden").glob("result-*/*.json")]
    outputs += [
        render_error(Stale("moved"), "json"),
        render_error(InvalidState([Diagnostic("error", "x", "y")]), "json"),
        render_error(Refused("no"), "json", plan=CASES["setup"]),
        render_diagnostics([Diagnostic("note", "x", "y")], "json"),
    ]
    assert len(outputs) == len(CASES) + 6
    for output in outputs:
        check.validate(json.loads(output))
    broken = json.loads(outputs[0])
    del broken["changes"]
    assert not check.is_valid(broken)
    assert not check.is_valid({**json.loads(outputs[0]), "surprise": 1})


def test_json_has_the_keys_of_the_contract_in_order() -> None:
    document = plan_to_json(CASES["setup"])
    named = ["format_version", "stack", "environment", "account", "outcome", "created_at", "recon_version",
             "state_digest", "refresh", "unread", "summary", "changes", "diagnostics"]  # fmt: skip
    assert [key for key in document if key in named] == named
    assert list(document["summary"]) == ["create", "adopt", "update", "replace", "delete", "refused"]
    assert document["changes"][0].keys() >= {
        "address", "kind", "action", "before", "after", "diff", "unknown", "depends_on", "notes", "source",
        "observed_digest",
    }  # fmt: skip


# --- saved plans ---------------------------------------------------------------------------------------------------


def resigned(document: dict[str, Any]) -> str:
    """A file that somebody edited and gave a fitting digest."""
    rest = {key: value for key, value in document.items() if key != "digest"}
    return json.dumps({**rest, "digest": digest_of(rest)})


def test_digest_is_the_one_of_the_plan() -> None:
    saved = json.loads(saved_plan(CASES["setup"]))
    assert saved["digest"] == plan_digest(CASES["setup"])
    assert saved["digest"] in render(CASES["setup"], "markdown") and saved["digest"] in render(CASES["setup"], "html")


def test_white_space_is_no_edit() -> None:
    assert load_saved(json.dumps(json.loads(saved_plan(CASES["hostile"])))) == CASES["hostile"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "empty"),
        ("   \n", "empty"),
        ("not json", "not JSON"),
        ('{"format_version": 2, "changes": [', "truncated"),
        ('{"format_version": 2, "stack": "s', "truncated"),
        ("[]", "must be an object"),
        ("null", "must be an object"),
        ("{}", "format_version null"),
        ('{"format_version": 3, "digest": "x"}', "format_version 3"),
        ('{"format_version": 1, "digest": "x"}', "older recon .format 1.: make a new one"),
        ('{"format_version": true}', "format_version true"),
        ('{"format_version": 2}', "no digest"),
        ('{"format_version": 2, "digest": 7}', "no digest"),
        ('{"format_version": 2, "digest": "sha256:0"}', "was edited"),
        ('{"format_version": 2, "digest": "x", "digest": "y"}', "appears twice"),
        ('{"format_version": NaN}', "NaN"),
        ('{"format_version": 2, "digest": "x", "a": "\\ud800"}', "not Unicode"),
        ('{"a":' * 200 + "1" + "}" * 200, "deep"),
        ("[" * 200_000, "deep"),
        ('{"format_version": ' + "9" * 5_000 + "}", "not valid"),
    ],
)
def test_no_plan_at_all(text: str, expected: str) -> None:
    with pytest.raises(ReconError, match=expected):
        load_saved(text)


def test_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    from reconciler.renderers import jsonform

    monkeypatch.setattr(jsonform, "MAX_SAVED_CHARACTERS", 100)
    with pytest.raises(ReconError, match="a saved plan has at most"):
        load_saved(saved_plan(CASES["setup"]))


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        ({"changes": {}}, "plan.changes must be a list"),
        ({"changes": [1]}, r"changes\[0\] must be an object"),
        ({"summary": {"create": 1}}, "counts of its changes"),
        ({"outcome": "great"}, "one of"),
        ({"calls": {"iam": "1"}}, "calls.iam"),
        ({"unread": [1]}, r"unread\[0\]"),
        ({"estimate": {"write_calls": 1}}, "estimate.seconds"),
        ({"environment": 5}, "a string or null"),
        ({"context": None}, "plan.context must be an object"),
        ({"extra": 1}, "does not know"),
    ],
)
def test_wrong_members_are_named_even_with_a_fitting_digest(edit: dict[str, Any], expected: str) -> None:
    with pytest.raises(ReconError, match=expected):
        load_saved(resigned({**plan_to_json(CASES["setup"]), **edit}))


def test_wrong_members_of_a_change() -> None:
    for key, value in {
        "action": "explode",
        "before": [],
        "diff": {},
        "source": "x",
        "counts": "yes",
        "moved_from": 1,
    }.items():
        document = json.loads(saved_plan(CASES["setup"]))
        document["changes"][0][key] = value
        with pytest.raises(ReconError, match=rf"changes\[0\].{key}"):
            load_saved(resigned(document))


def test_stale_is_what_an_edit_raises() -> None:
    with pytest.raises(Stale, match="was edited"):
        load_saved(saved_plan(CASES["setup"]).replace("111122223333", "111122223334", 1))


def test_lone_surrogates_do_not_break_the_file() -> None:
    odd = plan(change("a/b", diff={"x": ("\ud800", 1)}))
    assert plan_from_json(json.loads(saved_plan(odd))).changes[0].diff[0].before == "\\ud800"


# --- Markdown budget -----------------------------------------------------------------------------------------------


def deletes(count: int, name: str = "tenant-{:05}.mail.acme.com") -> list[Change]:
    return [change(f"email_identity/us-east-1/{name.format(n)}", "delete", before={"n": n}) for n in range(count)]


@pytest.mark.parametrize("count", [1, 100, 700, 1_000])
def test_every_delete_and_replace_is_in_the_comment(count: int) -> None:
    gone = deletes(count)
    again = [change(f"event_destination/r/s/d{n}", "replace", diff={"x": (1, n)}) for n in range(20)]
    rest = [change(f"configuration_set/r/s{n}", diff={"x": (n, "y" * 500)}) for n in range(300)]
    shown = render(plan(*rest, *gone, *again), "markdown")
    assert len(shown.encode()) <= 60_000
    assert all(one.address in shown for one in (*gone, *again))
    assert f"Plan: 0 to create, 0 to adopt, 300 to update, 20 to replace, {count} to delete." in shown


def test_more_deletes_than_a_comment_holds_are_packed_then_counted() -> None:
    packed = render(plan(*deletes(3_000)), "markdown")
    assert len(packed.encode()) <= 60_000 and all(f"tenant-{n:05}" in packed for n in range(3_000))
    counted = render(plan(*deletes(30_000)), "markdown")
    assert len(counted.encode()) <= 60_000 and "30000 × `email_identity/us-east-1/`" in counted
    assert "30000 to delete." in counted


def test_wide_characters_count_as_bytes() -> None:
    wide = [change(f"smtp_user/{'日本' * 30}{n}", diff={"x": ("€" * 400, "𝄞" * 400 + str(n))}) for n in range(200)]
    shown = render(plan(*wide), "markdown")
    assert 50_000 < len(shown.encode()) <= 60_000


def test_the_marker_is_one_comment_whatever_the_stack_is_called() -> None:
    for name in ("a--b", "--><script>", "a b", "ä/ö", "-", "x-"):
        first = render(plan(scope=name), "markdown").splitlines()[0]
        assert first.startswith("<!-- recon:plan ") and first.endswith(" -->") and first.count("--") == 2, first


def test_mentions_references_and_links_are_inert() -> None:
    shown = markdown_text("@team #12 https://x.example www.y.example !3 ~label *b* _i_ `c` [d](e) <b> $1")
    for active in ("@t", "#1", "://", "www.y", "!3", "~l", "<b>", " *b*", " _i_", " `c`", "[d]("):
        assert active not in shown, active
    assert markdown_code("a`b``c") == "``` a`b``c ```"


def test_escaping_is_exact() -> None:
    assert safe("a\x1b[0m\u202e\n\x9b") == "a\\x1b[0m\\u202e\\n\\x9b"
    assert safe("é日", ascii_only=True) == "\\xe9\\u65e5"
    assert one_line(" a") == '" a"' and one_line("a\\\n") == '"a\\\\\\n"' and one_line([]) == "[]"
    assert one_line(["a, b", "c"]) == '"a, b", c'


# --- graphs --------------------------------------------------------------------------------------------------------

NODES = {
    "email_identity/r/a.com": ("configuration_set/r/s",),
    "configuration_set/r/s": ("dedicated_ip_pool/r/p",),
    'smtp_user/x"]; evil': (),
}


def test_mermaid() -> None:
    assert (
        graph(NODES, "mermaid")
        == """flowchart LR
  subgraph k0["configuration#95;set"]
    n0["configuration#95;set/r/s"]
  end
  subgraph k1["email#95;identity"]
    n1["email#95;identity/r/a.com"]
  end
  subgraph k2["smtp#95;user"]
    n2["smtp#95;user/x#34;#93;#59; evil"]
  end
  n3["dedicated#95;ip#95;pool/r/p"]:::outside
  n0 --> n1
  n3 --> n0
  classDef outside stroke-dasharray: 4 3
"""
    )


def test_dot() -> None:
    shown = graph(NODES, "dot")
    assert shown.startswith("digraph recon {") and shown.endswith("}\n")
    assert 'n2 [label="smtp_user/x\\"]; evil"];' in shown and "n0 -> n1;" in shown
    assert shown == graph(dict(reversed(NODES.items())), "dot")


def test_graph_as_text_is_addresses_to_copy() -> None:
    assert (
        graph(NODES, "text")
        == """configuration_set/r/s
  needs dedicated_ip_pool/r/p
email_identity/r/a.com
  needs configuration_set/r/s
smtp_user/x"]; evil
"""
    )


def test_graph_of_unknown_format() -> None:
    with pytest.raises(ReconError, match="unknown graph format"):
        graph({}, "svg")


# --- annotations, SARIF, Prometheus --------------------------------------------------------------------------------

FOUND = [
    Diagnostic("note", "", "all\nwell"),
    Diagnostic("warning", "w", "50% :: odd", "hint", "state/a,b:c.yaml", 3),
    Diagnostic("error", "e", "bad", "", "state/a b.yaml", 4, 5, "email_identity/r/x"),
]


def test_github_annotations() -> None:
    assert github_annotations(FOUND).splitlines() == [
        "::error file=state/a b.yaml,line=4,col=5,title=e::bad%0Aaddress: email_identity/r/x",
        "::warning file=state/a%2Cb%3Ac.yaml,line=3,title=w::50%25 :: odd%0Ahint: hint",
        "::notice::all\\nwell",
    ]


def test_sarif() -> None:
    log = json.loads(sarif(FOUND, version="0.1.0", base="mail"))
    (run,) = log["runs"]
    assert log["version"] == "2.1.0" and run["tool"]["driver"]["name"] == "recon"
    assert [one["level"] for one in run["results"]] == ["error", "warning", "note"]
    for one in run["results"]:
        assert run["tool"]["driver"]["rules"][one["ruleIndex"]]["id"] == one["ruleId"]
    where = run["results"][0]["locations"][0]["physicalLocation"]
    assert where == {"artifactLocation": {"uri": "mail/state/a%20b.yaml"}, "region": {"startLine": 4, "startColumn": 5}}
    assert "locations" not in run["results"][2]
    assert len(json.loads(sarif(FOUND * 2_000, version=""))["runs"][0]["results"]) == 5_000


def test_prometheus() -> None:
    lines = prometheus(CASES["tenants"]).splitlines()
    stack = 'stack="acme-mail/production"'
    assert f'recon_drift_changes{{{stack},kind="dns_record",action="update"}} 40' in lines
    assert f'recon_drift_changes{{{stack},kind="smtp_user",action="delete"}} 0' in lines
    assert f"recon_drift_unread{{{stack}}} 40" in lines
    assert f"recon_drift_last_run_timestamp_seconds{{{stack}}} 1795305600" in lines
    assert all(line.startswith("#") or line.rpartition(" ")[2].isdigit() for line in lines)
    assert 'stack="a\\"b\\\\x0ac"' in prometheus(replace(CASES["bulk"], scope='a"b\\x0ac'))
    with pytest.raises(ReconError, match="not a time"):
        prometheus(replace(CASES["bulk"], created_at="yesterday"))


LETTER = "<p>Dear {{name}},</p>\n<p>welcome.</p>\n<p>Yours</p>\n"


def test_a_text_of_several_lines_is_shown_line_by_line() -> None:
    """The lines of a template, each behind a bar; a change shows the lines that differ, wherever they are."""
    created = render(plan(change("email_template/r/welcome", "create", after={"html": LETTER})), "text")
    assert "| <p>Dear {{name}},</p>" in created
    assert "\\n" not in created
    long = LETTER * 400
    other = long.removesuffix("<p>Yours</p>\n") + "<p>Yours ever</p>\n"
    for format in ("text", "markdown", "html"):
        shown = render(plan(change("email_template/r/welcome", diff={"html": (long, other)})), format)
        assert "Yours ever" in shown
        assert shown.count("Dear {{name}}") <= 3, format
    bare = LETTER.removesuffix("\n")
    assert "no line break at its end" in render(
        plan(change("email_template/r/welcome", diff={"html": (LETTER, bare)})), "text"
    )
