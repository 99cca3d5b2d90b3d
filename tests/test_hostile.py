"""What somebody means ill by: YAML that is a bomb or reaches out, plans that were doctored, live values that act.

Each ends in an ordinary error or an ordinary plan: no traceback, no hang, no gigabytes, nothing that a terminal, a
browser, a forge or a workflow runner would act on.
"""

from __future__ import annotations

import copy
import functools
import json
import os
import random
import re
import time
import tracemalloc
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from faults import ledger
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import ACCOUNT, GUARD, HOME, House, client

from reconciler.aws import answers
from reconciler.desired import load
from reconciler.errors import InvalidState, ReconError
from reconciler.model import digest_of
from reconciler.secrets import fetch

STACK = 'stack: {name: acme, account: "111122223333", regions: [us-east-1]}\n'
SECONDS = 10.0
MEGABYTES = 400


# --- YAML that is a bomb -------------------------------------------------------------------------------------------


def _laughs() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    return "\n".join(lines)


def _merges() -> str:
    lines = ["m0: &m0 {k0: 1}"]
    lines += [f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}], k{n}: *m{n - 1}}}" for n in range(1, 40)]
    return "\n".join(lines)


def _variables() -> str:
    doubled = {f"v{n}": f"${{v{n - 1}}}${{v{n - 1}}}" for n in range(1, 60)}
    return yaml.safe_dump({"vars": {"v0": "x" * 100, **doubled}, "domains": {"${v59}.com": {}}})


BOMBS: dict[str, str] = {
    "a billion laughs": _laughs(),
    "merges of merges": _merges(),
    "variables that double": _variables(),
    "nested lists": "domains: " + "[" * 100_000,
    "nested maps": "domains: " + "{a: " * 50_000,
    "nested blocks": "\n".join(" " * n + "a:" for n in range(3_000)),
    "a huge number": "domains: {acme.com: {ttl: " + "9" * 200_000 + "}}",
    "a huge hexadecimal": "domains: {acme.com: {ttl: 0x" + "f" * 200_000 + "}}",
    "a huge exponent": "stack: {max_deletes: 1e999999999}",
    "a huge sexagesimal": "domains: {acme.com: {ttl: " + ":".join(["59"] * 20_000) + "}}",
    "a huge key": "domains: {? " + "k" * 3_000_000 + " : {}}",
    "a huge text": "domains: {acme.com: {dmarc: '" + "x" * 3_000_000 + "'}}",
    "a huge name": "domains: {" + "a." * 300_000 + "com: {}}",
    "a long name of one label": "domains: {" + "a" * 500_000 + ".com: {}}",
    "many documents": "---\n" * 50_000,
    "many anchors": "\n".join(f"x{n}: &x{n} 1" for n in range(4_000)),
    "many errors": "domains:\n" + "\n".join(f"  d{n}.com: {{nope: 1}}" for n in range(1_000)),
    "a long flow without an end": "domains: [" + "a, " * 200_000,
    "quotes": "'" * 100_001,
    "a slow pattern in DMARC": "domains: {acme.com: {dmarc: '" + "v=DMARC1;" + " ;" * 50_000 + "'}}",
    "a slow pattern in SPF": "domains: {acme.com: {spf: 'v=spf1 " + "include:a." * 20_000 + "'}}",
    "a slow pattern in an address": "email_addresses: {'" + "a." * 20_000 + "@" + "b." * 20_000 + "': {}}",
    "braces of variables": "domains: {acme.com: {dmarc: '" + "${" * 50_000 + "'}}",
    "digits of Unicode": "domains: {acme.com: {ttl: '" + "٣" * 50_000 + "'}}",
    "a slow IDNA name": "domains: {" + "ß" * 60_000 + ".com: {}}",
    "an xn-- name": "domains: {xn--" + "9" * 60_000 + ".com: {}}",
}


def explode(name: str, folder: Path) -> None:
    text = BOMBS[name] if "stack:" in BOMBS[name] else STACK + BOMBS[name]
    (folder / "state.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidState) as refused:
        load(folder / "state.yaml")
    said = refused.value.diagnostics
    assert said
    assert all(len(d.message) + len(d.hint) < 5_000 for d in said), "a bomb is not repeated to the reader"
    assert len(said) < 1_000


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_an_ordinary_error(name: str, tmp_path: Path) -> None:
    begun = time.process_time()
    explode(name, tmp_path)
    assert time.process_time() - begun < SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_little_memory(name: str, tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        explode(name, tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEGABYTES * 2**20


# --- YAML that reaches out -----------------------------------------------------------------------------------------

CANARY = "canary-b1946ac92492d2347c6235b4d2611184"


@pytest.mark.parametrize(
    "text",
    [
        "${AWS_SECRET_ACCESS_KEY}", "${env.AWS_SECRET_ACCESS_KEY}", "${env:AWS_SECRET_ACCESS_KEY}",
        "$AWS_SECRET_ACCESS_KEY",
        "$(printenv AWS_SECRET_ACCESS_KEY)", "`printenv AWS_SECRET_ACCESS_KEY`", "%(AWS_SECRET_ACCESS_KEY)s",
        "{AWS_SECRET_ACCESS_KEY}", "{{ env.AWS_SECRET_ACCESS_KEY }}", "${stack.__class__}", "${vars}", "~",
        "${file:/etc/passwd}", "{file: /etc/passwd}", "{env: AWS_SECRET_ACCESS_KEY}",
    ],
)  # fmt: skip
def test_interpolation_reaches_nothing_outside(house: House, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text stays as it is, or is an error; the environment and files are in neither."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    house.write({"domains": {"acme.com": {"zone": "manual", "tags": {"a": text}}}})
    for command in (("validate", "state.yaml"), ("plan", "state.yaml", "--format", "json")):
        ran = house.cli(*command)
        assert CANARY not in ran.out + ran.err
        assert "root:" not in ran.out + ran.err
        assert ran.code in {0, 1}


def _outside(tmp_path: Path) -> dict[str, Any]:
    root = tmp_path / "state"
    root.mkdir()
    (tmp_path / "secret").write_text(CANARY)
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path)
    (root / "circle").symlink_to(root / "circle")
    (root / "large").write_bytes(b"x" * 100_000)
    (root / "binary").write_bytes(b"\xff\x00" * 10)
    os.mkfifo(root / "pipe")
    return {"root": str(root)}


@pytest.mark.parametrize(
    "name",
    [
        "../secret", "x/../../secret", "./../secret", "link", "folder/secret", "circle", "large", "binary", "pipe", ".",
        "", "nothing", "a\x00b", "/dev/zero", "/dev/stdin", "x" * 5_000,
    ],
)  # fmt: skip
def test_a_file_reference_stays_inside(name: str, tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(ReconError) as refused:
        fetch({"file": name}, None, HOME, **_outside(tmp_path))  # type: ignore[arg-type]
    assert time.monotonic() - begun < GUARD
    assert CANARY not in str(refused.value.message) + refused.value.hint


def test_a_file_reference_inside_is_read(tmp_path: Path) -> None:
    root = _outside(tmp_path)["root"]
    (Path(root) / "keys").mkdir()
    (Path(root) / "keys" / "a.pem").write_text("inside")
    assert fetch({"file": "keys/a.pem"}, None, HOME, root) == "inside"  # type: ignore[arg-type]
    assert fetch({"file": "keys/../keys/a.pem"}, None, HOME, root) == "inside"  # type: ignore[arg-type]
    whole = str(Path(root) / "keys" / "a.pem")
    assert fetch({"file": whole}, None, HOME, "/elsewhere") == "inside"  # type: ignore[arg-type]


def test_what_a_reference_holds_is_never_said(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference to something that is no key: the error names the reference, not the text."""
    monkeypatch.setenv("NOT_A_KEY", CANARY)
    (house.home / "key.pem").write_text(CANARY)
    client("secretsmanager").create_secret(Name="dkim", SecretString=CANARY)
    for reference in (
        {"env": "NOT_A_KEY"},
        {"file": "key.pem"},
        {"file": "/proc/self/environ"},
        {"secretsmanager": "dkim"},
    ):
        house.write({"domains": {"acme.com": {"zone": "manual", "dkim": {
            "signing_attributes_origin": "EXTERNAL", "domain_signing_selector": "s1",
            "domain_signing_private_key": reference}}}})  # fmt: skip
        ran = house.cli("plan", "state.yaml", "-vv")
        assert ran.code == 1
        assert CANARY not in ran.out + ran.err
        assert "DKIM" in ran.out + ran.err


# --- texts that act ------------------------------------------------------------------------------------------------

ACTING = [
    "\x1b]0;owned\x07\x1b[2J", "\x9b31m", "a\rb", "a\nb", "a\n::error::owned", "::set-output name=x::y",
    "##[error]owned",
    "  ::add-mask::x", "\u202eevil\u2066", "\u200b\ufeff", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>', "</details></pre>", "[x](javascript:alert(1))", "![x](http://evil.example/p.png)",
    "```\n# owned",
    "@everyone #1", "a|b|c", "-->", "]]>", "${x}", "'; DROP TABLE", "%0A::error::owned", "\U000e0041", "{{7*7}}",
    "=cmd|' /C calc'!A0",
]  # fmt: skip
LIVE = [text for text in ACTING if "\n" not in text and "\r" not in text]
COMMAND = re.compile(r"^\s*::\w|##\[", re.MULTILINE)


def inert(text: str, format: str) -> None:
    """Nothing in ``text`` makes a terminal, a runner, a forge or a browser act."""
    hidden = {c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")}
    assert not hidden, hidden
    if format != "github":
        assert not COMMAND.search(text), COMMAND.search(text)
    if format == "markdown":
        rest = re.sub(r"(?s)(`{3,})[^\n]*\n.*?\n\1\n|(`+)[^`].*?\2", "", text)  # fenced blocks and code spans show
        assert not re.search(r"<(script|img|svg)|\]\(javascript|!\[|@everyone", rest)
    if format == "html":

        class Tags(HTMLParser):
            def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
                names = [name for name, _ in attrs]
                assert tag not in {"img", "iframe", "object", "embed"}
                assert not [n for n in names if n.startswith("on")]

        Tags(convert_charrefs=True).feed(text)


FORMATS = ("text", "json", "markdown", "html")


def shows_inert(house: House) -> None:
    """Every form of a plan, a drift and a graph of what is written in ``state.yaml``."""
    for format in FORMATS:
        for command in ("plan", "drift"):
            ran = house.cli(command, "state.yaml", "--format", format)
            assert ran.code in {0, 1, 2}, ran
            inert(ran.out, format)
            inert(ran.err, "text")
            if format == "json":
                ran.json  # noqa: B018
    ran = house.cli("drift", "state.yaml", "--format", "prometheus")
    inert(ran.out, "prometheus")
    for line in ran.out.splitlines():
        assert line.startswith("#") or re.fullmatch(r'\w+(\{(\w+="([^"\\]|\\.)*",?)+\})? -?[\d.e+]+', line), line
    for format in ("mermaid", "dot", "text"):
        ran = house.cli("graph", "state.yaml", "--format", format)
        inert(ran.out, format)
    for format in ("text", "json", "github", "sarif"):
        ran = house.cli("validate", "state.yaml", "--format", format)
        inert(ran.out, format)
        inert(ran.err, "text")
        if format == "github":
            assert all(re.match(r"::(error|warning|notice)[ :]", line) for line in ran.out.splitlines())


def test_texts_in_the_yaml_are_inert(house: House) -> None:
    house.seed_zone()
    policy = {"Version": "2012-10-17", "Statement": [{
        "Sid": "x", "Effect": "Allow", "Principal": {"AWS": "222233334444"}, "Action": "ses:SendEmail",
        "Resource": "*",
        "Condition": {"StringEquals": {f"aws:k{n}": text for n, text in enumerate(ACTING)}}}]}  # fmt: skip
    house.write({
        "domains": {"acme.com": {"dkim": {}, "policies": {"p": policy}}},
        "smtp_users": {"news": {"from_addresses": ["*"], "conditions": {"StringEquals": {"aws:x": ACTING}},
                                "credentials": {"secretsmanager": {"name": "recon/news"}}}},
    })  # fmt: skip
    shows_inert(house)


def naming(place: str, text: str) -> dict[str, Any]:
    """A state with ``text`` at one place, where it is wrong in most."""
    key = {"signing_attributes_origin": "EXTERNAL", "domain_signing_selector": "s1"}
    documents: dict[str, dict[str, Any]] = {
        "tag": {"domains": {"acme.com": {"zone": "manual", "tags": {"a": text}}}},
        "tag name": {"domains": {"acme.com": {"zone": "manual", "tags": {text: "a"}}}},
        "domain": {"domains": {text: {}}},
        "section": {text: {}},
        "rule": {"rules": {text: text}},
        "variable": {"vars": {text: text}, "domains": {"acme.com": {"dmarc": "${" + text + "}"}}},
        "set": {"configuration_sets": {text: {}}},
        "file": {"domains": {"acme.com": {"dkim": {**key, "domain_signing_private_key": {"file": text}}}}},
    }
    return documents[place]


PLACES = ("tag", "tag name", "domain", "section", "rule", "variable", "set", "file")


def refused_inert(house: House, place: str, text: str, formats: tuple[str, ...]) -> None:
    """What is wrong is repeated in the error, and acts there as little as anywhere."""
    house.write(naming(place, text))
    for format in formats:
        ran = house.cli("validate", "state.yaml", "--format", format)
        inert(ran.out, format)
        inert(ran.err, "text")


def test_refused_texts_in_the_yaml_are_inert(house: House) -> None:
    for number, text in enumerate(ACTING):
        refused_inert(house, PLACES[number % len(PLACES)], text, (("text", "github")[number // 8 % 2],))


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_every_refused_text_at_every_place_is_inert(house: House, place: str) -> None:
    for text in ACTING:
        refused_inert(house, place, text, ("text", "json", "github", "sarif"))


def test_live_texts_are_inert(house: House) -> None:
    """Values that others wrote into AWS: records, tags, policies, names."""
    house.seed_zone()
    ses = client("sesv2")
    records = [
        {"zone": "acme.com", "name": f"x{n}.acme.com", "type": "TXT", "values": [text]} for n, text in enumerate(LIVE)
    ]
    records.append({
        "zone": "acme.com", "name": "_dmarc.acme.com", "type": "TXT",
        "values": ["v=DMARC1; p=none; rua=mailto:<script>alert(1)</script>@a.example; x=::error::a"],
    })  # fmt: skip
    records.append({"zone": "acme.com", "name": "acme.com", "type": "TXT",
                    "values": ["v=spf1 include:a.example ~all", *LIVE]})  # fmt: skip
    house.sandbox.seed(records=records)
    tags = {f"t{n}": text for n, text in enumerate(LIVE)}
    house.sandbox.seed(identities=[{"names": ["acme.com"], "tags": tags}])
    house.sandbox.seed(verify=["acme.com"])
    ses.create_email_identity_policy(EmailIdentity="acme.com", PolicyName="p", Policy=json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Sid": "::error::x", "Effect": "Allow", "Principal": {"AWS": LIVE},
                                                 "Action": LIVE, "Resource": LIVE}]}))  # fmt: skip
    house.write({"domains": {"acme.com": {
        "dkim": {}, "dmarc": {"p": "reject"}, "spf": {"include": ["b.example"]},
        "tags": dict.fromkeys(list(tags)[:9], "x"),
        "policies": {"p": {"Version": "2012-10-17", "Statement": []}},
    }}})  # fmt: skip
    shows_inert(house)
    ran = house.cli("apply", "state.yaml", "--auto-approve", "--allow-adopt")
    inert(ran.out + ran.err, "text")


def test_errors_of_aws_are_inert(house: House) -> None:
    house.write({"configuration_sets": {"main": {}}})
    for number, text in enumerate(ACTING[::3]):
        house.sandbox.clear_faults()
        house.sandbox.fault("error", service="sesv2", code="BadRequestException", message=text, count=None)
        for format in ("text", "json")[number % 2 :][:1]:
            ran = house.cli("plan", "state.yaml", "--format", format)
            assert ran.code == 1
            inert(ran.out, format)
            inert(ran.err, "text")


def test_another_runs_words_are_inert(house: House) -> None:
    """The holder of a lock and the journal are files that others write."""
    house.write({"configuration_sets": {"main": {}}})
    assert house.cli("apply", "state.yaml", "--auto-approve").code == 0
    folder = house.home / "recon"
    journal = next(folder.glob("journal*"))
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    bad = "\x1b[2J\n::error::owned <script>"

    def spoil(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: spoil(v) if k not in {"v", "version", "time", "at"} else v for k, v in value.items()}
        return bad if isinstance(value, str) and not re.match(r"\d{4}-", value) else value

    journal.write_text("\n".join(json.dumps(spoil(line)) for line in lines) + "\nnot json\n[]\nnull\n")
    for format in ("text", "json"):
        ran = house.cli("history", "state.yaml", "--format", format)
        inert(ran.out, format)
        inert(ran.err, "text")


relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


# --- doctored plans ------------------------------------------------------------------------------------------------

PLANNED: dict[str, Any] = {
    "domains": {"acme.com": {"dkim": {}, "dmarc": {"p": "reject"}, "mail_from": {"mail_from_domain": "b.acme.com"},
                             "configuration_set_name": "main"}},
    "configuration_sets": {"main": {"event_destinations": {"d": {
        "matching_event_types": ["BOUNCE"],
        "event_bridge_destination": {"event_bus_arn": f"arn:aws:events:{HOME}:{ACCOUNT}:event-bus/default"}}}}},
    "dedicated_ip_pools": {"tx": {}},
    "smtp_users": {"news": {"from_addresses": ["*"], "credentials": {"secretsmanager": {"name": "recon/news"}}}},
}  # fmt: skip
ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    10**30,
    1.5,
    "",
    "x",
    "\x1b[2J",
    "us-east-1/a/b/c",
    [],
    [[]],
    {},
    {"a": {}},
    [None],
]


def spots(value: Any) -> list[tuple[Any, Any]]:
    """Every container of a tree with one of its keys."""
    found: list[tuple[Any, Any]] = []
    for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
        found.append((value, key))
        if isinstance(item, dict | list):
            found += spots(item)
    return found


@functools.lru_cache(maxsize=1)
def saved_text() -> str:
    import tempfile

    house = House(Path(tempfile.mkdtemp(prefix="recon-hostile-")))
    house.begin().seed_zone()
    house.write(PLANNED)
    assert house.cli("plan", "state.yaml", "--out", "plan.json").code == 0
    return (house.home / "plan.json").read_text()


@st.composite
def doctored(draw: st.DrawFn) -> tuple[dict[str, Any], bool]:
    """A saved plan with one to three members exchanged, removed, renamed or swapped; signed anew, or not."""
    document: dict[str, Any] = json.loads(saved_text())
    for _ in range(draw(st.integers(1, 3))):
        places = spots({"changes": document["changes"]} if draw(st.booleans()) else document)
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        if holder is document and key == "changes":
            continue
        match draw(st.sampled_from(["replace", "replace", "remove", "rename", "swap"])):
            case "remove":
                del holder[key]
            case "rename" if isinstance(holder, dict):
                holder[draw(st.sampled_from(["x", "", "__class__", "address"]))] = holder.pop(key)
            case "swap":
                other, where = places[draw(st.integers(0, len(places) - 1))]
                holder[key] = copy.deepcopy(other.get(where) if isinstance(other, dict) else None)
            case _:
                holder[key] = draw(st.sampled_from(ODD))
    sign = draw(st.booleans())
    if sign:
        document.pop("digest", None)
        document["digest"] = digest_of(document)
    return document, sign


@settings(relaxed, max_examples=10)
@given(data=st.data())
def test_a_doctored_plan_is_shown_or_refused(house: House, data: st.DataObject) -> None:
    saved_text()
    document, _ = data.draw(doctored())
    (house.home / "plan.json").write_text(json.dumps(document))
    for format in FORMATS:
        ran = house.cli("show", "plan.json", "--format", format)
        assert ran.code in {0, 1, 3}
        inert(ran.out, format)
        inert(ran.err, "text")


def doctor_and_apply(house: House, document: dict[str, Any], sign: bool) -> None:
    house.begin().seed_zone()
    (house.home / "plan.json").write_text(json.dumps(document))
    ran = house.cli("apply", "plan.json", "--format", "json")
    assert ran.code in {0, 1, 3}
    assert ran.json["outcome"]
    if not sign and document != json.loads(saved_text()):
        assert ran.code in {1, 3}, "an edited plan was applied"
        assert house.writes() == []
    house.check_foreign()


@settings(relaxed, max_examples=8)
@given(data=st.data())
def test_a_doctored_plan_is_refused(house: House, data: st.DataObject) -> None:
    saved_text()
    doctor_and_apply(house, *data.draw(doctored()))


@pytest.mark.slow
@settings(relaxed, max_examples=400)
@given(data=st.data())
def test_a_doctored_plan_is_refused_whatever_the_edit(house: House, data: st.DataObject) -> None:
    saved_text()
    doctor_and_apply(house, *data.draw(doctored()))


# --- answers of AWS that are odd -----------------------------------------------------------------------------------

WRONG: list[Any] = [
    None,
    "",
    "x",
    0,
    10**18,
    True,
    [],
    {},
    ["x"],
    {"x": "y"},
    "x" * 100_000,
    "\x1b[2J",
    "é" * 300,
    [None],
]


def odd(dice: random.Random, answer: Any) -> Any:
    """``answer`` with one member gone, of another type, huge, doubled, or beside one that nobody knows."""
    answer = copy.deepcopy(answer)
    places = spots(answer) if isinstance(answer, dict) else []
    if not places:
        return answer
    holder, key = dice.choice(places)
    match dice.choice(["wrong", "wrong", "gone", "doubled", "unknown"]):
        case "gone":
            del holder[key]
        case "doubled" if isinstance(holder[key], list):
            holder[key] = holder[key] * 3
        case "unknown" if isinstance(holder, dict):
            holder["SomethingNew"] = {"Deep": [holder[key]]}
        case _:
            holder[key] = copy.deepcopy(dice.choice(WRONG))
    return answer


def plan_with_odd_answers(house: House, seed: int) -> None:
    """A plan of an applied stack, with some answers of AWS spoiled: a plan or an error, and nothing said to be done."""
    house.clear()
    whole = answers.validated
    dice = random.Random(seed)
    which = dice.randint(0, 24)
    count = 0

    def spoilt(answer: Any, shape: Any, call: tuple[str, str, str]) -> Any:
        nonlocal count
        count += 1
        if call[1] != "GetCallerIdentity" and count % 25 == which:
            answer = odd(dice, answer)
        return whole(answer, shape, call)

    answers.validated = spoilt
    try:
        ran = house.cli("plan", "state.yaml", "--parallelism", "1")
    finally:
        answers.validated = whole
    assert ran.code in {0, 1, 3}
    inert(ran.out, "text")
    inert(ran.err, "text")
    assert not house.writes(), house.writes()


@functools.lru_cache(maxsize=1)
def _applied() -> Any:
    import tempfile

    house = House(Path(tempfile.mkdtemp(prefix="recon-odd-")))
    house.begin().seed_zone()
    house.settle(PLANNED)
    return ledger.take(house.sandbox)


def odd_answers(house: House, seed: int) -> None:
    ledger.restore(house.sandbox, _applied())
    house.write(PLANNED)
    plan_with_odd_answers(house, seed)


@pytest.mark.parametrize("seed", range(12))
def test_odd_answers(house: House, seed: int) -> None:
    odd_answers(house, seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(8))
def test_odd_answers_of_every_kind(house: House, block: int) -> None:
    for seed in range(1000 * (block + 1), 1000 * (block + 1) + 75):
        odd_answers(house, seed)


# --- tags of ours that somebody edits ------------------------------------------------------------------------------

SCRAWLS = (
    "",
    "x",
    ":",
    "a:b",
    "secretsmanager:nowhere",
    "ssm::",
    "=",
    "=zz",
    "é/+=",
    "us-east-1:",
    "true  false",
    "0",
    "2026-13-45",
)


def _tags_of_ours() -> list[tuple[str, str]]:
    """(what carries it, key) of every tag of recon's own: an ARN of SES, or the name of a user."""
    ses, iam = client("sesv2"), client("iam")
    arns = [
        f"arn:aws:ses:{HOME}:{ACCOUNT}:{name}"
        for name in ("identity/acme.com", "configuration-set/main", "dedicated-ip-pool/tx")
    ]
    found = [(arn, tag["Key"]) for arn in arns for tag in ses.list_tags_for_resource(ResourceArn=arn)["Tags"]]
    found += [("news", tag["Key"]) for tag in iam.list_user_tags(UserName="news")["Tags"]]
    return [(place, key) for place, key in found if key.startswith("recon:")]


def scrawl(house: House, values: tuple[str, ...]) -> int:
    """Plan with each tag of ours, one after the other, written over by hand; returns how many plans that were."""
    ledger.restore(house.sandbox, _applied())
    house.write(PLANNED)
    tags = _tags_of_ours()
    assert {key for _, key in tags} > {"recon:stack", "recon:records", "recon:stores"}
    for number, (place, key) in enumerate(tags):
        for value in values:
            ledger.restore(house.sandbox, _applied())
            if place.startswith("arn:"):
                client("sesv2").tag_resource(ResourceArn=place, Tags=[{"Key": key, "Value": value}])
            else:
                client("iam").tag_user(UserName=place, Tags=[{"Key": key, "Value": value}])
            house.clear()
            ran = house.cli("plan", "state.yaml", "--format", "json")
            assert ran.code in {0, 1, 3}, f"{number}: {place} {key}={value!r}"
            assert ran.json["outcome"] in {"changes", "no_changes", "refused", "error"}
            assert house.writes() == []
    return len(tags) * len(values)


def test_a_tag_of_ours_that_somebody_wrote_over(house: House) -> None:
    assert scrawl(house, ("x",)) > 8


@pytest.mark.slow
@pytest.mark.parametrize("value", SCRAWLS)
def test_a_tag_of_ours_that_somebody_wrote_anything_over(house: House, value: str) -> None:
    assert scrawl(house, (value,)) > 8
