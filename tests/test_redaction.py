"""`--redact`: no account id, access key id or local part of an address in what any command prints, in any format."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from support import ACCOUNT, HOME, House, client

from reconciler import cli, redaction
from reconciler.redaction import RedactedStream, Redactor
from reconciler.renderers.escape import safe, wrap
from reconciler.renderers.markdown import _cut
from reconciler.resources import KINDS

HERE = Path(__file__).parent
OTHER_ACCOUNT = "999900001111"
KEY, SESSION, ROLE = "AKIAO3YAR5IL5GUI82QC", "ASIAO3YAR5IL5GUI82QC", "AROA3XFRBF535PLBIFPI4"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        # accounts
        (f"account {ACCOUNT}, not {OTHER_ACCOUNT} but {ACCOUNT}",
         "account 000000000001, not 000000000002 but 000000000001"),
        (f"arn:aws:ses:us-east-1:{OTHER_ACCOUNT}:identity/acme.com",
         "arn:aws:ses:us-east-1:000000000002:identity/acme.com"),
        (f"arn%3Aaws%3Aiam%3A%3A{OTHER_ACCOUNT}%3Auser%2Fx", "arn%3Aaws%3Aiam%3A%3A000000000002%3Auser%2Fx"),
        ("1111-2222-3333 and cdk-111122223333-us-east-1", "000000000001 and cdk-000000000001-us-east-1"),
        (f"x{ACCOUNT}y", "x000000000001y"),
        # what only looks like one
        ("sha256:" + "5e" * 32 + " 2026-11-29T12:00:00Z 1234567890123 12345", None),
        # keys
        (f"{KEY} is not {SESSION}, but {KEY}; {ROLE}",
         "AKIAREDACTED00000001 is not ASIAREDACTED00000002, but AKIAREDACTED00000001; AROAREDACTED00000003"),
        # addresses, each with what may stand around it
        ("ann@big.example, Ann@big.example and bob@big.example",
         "recipient-1@big.example, recipient-1@big.example and recipient-2@big.example"),
        ("<ann+x@big.example>;'o'brien@big.example'", "<recipient-1@big.example>;'recipient-2@big.example'"),
        ("o&#39;brien@big.example **ann@big.example** | a\\_b@big.example",
         "recipient-1@big.example **recipient-2@big.example** | recipient-3@big.example"),
        ("ann%2Bx%40big.example, ann+x@big.example",
         "recipient-1%40big.example, recipient-1@big.example"),
        ("/v2/email/suppression/addresses/ann%40big.example",
         "/v2/email/suppression/addresses/recipient-1%40big.example"),
        ("bounce+ann=big.example@acme.com SRS0=x=tt=big.example=ann@fwd.example",
         "recipient-1@acme.com recipient-2@fwd.example"),
        ("rua=mailto:dmarc@acme.com; smtp.mailfrom=ann@big.example; header.i=@acme.com",
         "rua=mailto:recipient-1@acme.com; smtp.mailfrom=recipient-2@big.example; header.i=@acme.com"),
        ("rfc822;j\u00fcrgen@b\u00fccher.example ann@[192.0.2.1] ann@localhost",
         "rfc822;recipient-1@b\u00fccher.example recipient-2@[192.0.2.1] recipient-3@localhost"),
        ('"john doe"@big.example', "recipient-1@big.example"),
        ("ann\\u202ebob@big.example ann\u0301b@big.example", "recipient-1@big.example recipient-2@big.example"),
        ("email_identity/us-east-1/ceo@acme.com user/bob@corp.com assumed-role/A/bob@corp.com",
         "email_identity/us-east-1/recipient-1@acme.com user/recipient-2@corp.com assumed-role/A/recipient-2@corp.com"),
        ("first_name/ann@big.example, _dmarc/ann@big.example", "recipient-1@big.example, _recipient-2@big.example"),
        ("sns_subscription/us-east-1/mail-events/email/ops@acme.com",
         "sns_subscription/us-east-1/mail-events/email/recipient-1@acme.com"),
        # no addresses
        ("*@acme.com *@*.acme.com @media print uses: actions/checkout@v4 git+https://x/y@0f1e2d v@1.2.3", None),
    ],
)  # fmt: skip
def test_what_is_hidden_keeps_its_form(text: str, shown: str | None) -> None:
    redactor = Redactor(KINDS)
    redactor.know_account(ACCOUNT)
    assert redactor.text(text) == (text if shown is None else shown)
    assert redactor.text(redactor.text(text)) == redactor.text(text), "what is hidden stays as it is"


def test_json_stays_json_and_the_same_stays_the_same() -> None:
    document = {
        "a": '"john doe"@x.example\nann@big.example',
        "b": ["j\u00fcrgen@b.example", f"arn:{ACCOUNT}:x"],
        "n": 12,
    }
    for ascii_alone in (True, False):
        redacted = json.loads(Redactor().text(json.dumps(document, ensure_ascii=ascii_alone)))
        assert redacted == {
            "a": "recipient-1@x.example\nrecipient-2@big.example",
            "b": ["recipient-3@b.example", "arn:000000000001:x"], "n": 12,
        }  # fmt: skip


def test_a_word_that_is_written_in_parts_is_hidden() -> None:
    out = io.StringIO()
    stream = RedactedStream(out, Redactor().text)
    for part in ("ann", "@big.ex", "ample is ", "suppressed\nand b", "ob@big.example"):
        stream.write(part)
    assert out.getvalue() == "recipient-1@big.example is suppressed\n"
    stream.flush()
    assert out.getvalue().endswith("\nand recipient-2@big.example")


LEAK = re.compile(
    r"(?<![0-9A-Za-z])(?!0{6})\d{12}(?![0-9A-Za-z])"
    r"|A(?:KI|SI|RO|ID)A(?!REDACTED)[A-Z0-9]{16}"
    r"|(?<!recipient-\d)(?<!recipient-\d\d)(?<!recipient-\d\d\d)(?<=\w)@(?:[a-z0-9-]+\.)+[a-z]{2,}"
)
"""What must not be there, looked for in another way than it is hidden."""
PRINTED = sorted(
    path
    for path in (*(HERE / "golden").rglob("*.*"), *(HERE.parent / "docs" / "runbooks").glob("*.md"))
    if path.suffix != ".py" and "__pycache__" not in path.parts
)


@pytest.mark.parametrize("path", PRINTED, ids=lambda p: "/".join(p.parts[-2:]))
def test_nothing_of_any_format_comes_through(path: Path) -> None:
    """Every golden output of plans, drift and results, and all that commands print on the pages of the runbooks."""
    redacted = Redactor().text(path.read_text(encoding="utf-8"))
    assert not LEAK.search(redacted), LEAK.findall(redacted)[:5]
    if path.suffix == ".json":
        json.loads(redacted)


def test_the_search_finds_something() -> None:
    assert len(PRINTED) > 20
    every = "\n".join(path.read_text(encoding="utf-8") for path in PRINTED)
    assert len(LEAK.findall(every)) > 100


def test_a_narrow_terminal_cuts_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrapped, cut or put into columns is hidden before: half a name would not be known."""
    monkeypatch.setattr(redaction, "_current", Redactor())
    address = "a.very.long.name.of.somebody.who.has.many.of.them@big.example"
    for text in (*wrap(f"x {address} is suppressed", 24), safe(address), _cut(f"to {address}", 30)):
        assert "recipient-1" in text or not set(text) & {"@"}, text
        assert "long" not in text and "somebody" not in text, text


# --- every command -------------------------------------------------------------------------------------------------

STATE: dict[str, Any] = {
    "domains": {"acme.example": {"zone": "auto", "dmarc": {"p": "reject", "rua": ["mailto:dmarc@acme.example"]}}},
    "email_addresses": {"ceo@other.example": {}},
    "smtp_users": {
        "bookings": {"from_addresses": ["bookings@acme.example"], "credentials": {"secretsmanager": {"name": "x"}},
                     "consumers": [{"name": "webmail of ann@acme.example"}]},
    },
}  # fmt: skip
YES = ("--auto-approve", "--account", ACCOUNT, "--no-state", "--region", HOME)
COMMANDS: dict[str, list[str]] = {
    "init": ["elsewhere"], "validate": ["state.yaml"], "plan": ["state.yaml"], "show": ["plan.json"],
    "apply": ["state.yaml", "--auto-approve", "--allow-adopt"], "drift": ["state.yaml"],
    "destroy": ["state.yaml"], "import": ["--region", HOME], "doctor": ["--region", HOME],
    "senders": ["--region", HOME], "graph": ["state.yaml"], "schema": [], "history": ["state.yaml"],
    "unlock": ["state.yaml", "--force"], "iam-policy": ["apply", "state.yaml"], "account pause": [*YES],
    "account resume": [*YES], "account request-production": ["state.yaml", "--region", HOME],
    "smtp rotate": ["bookings", "state.yaml"], "smtp verify": ["state.yaml"],
    "smtp lock": ["crm-import", "--undeclared", *YES],
    "smtp ack": ["bookings", "webmail of ann@acme.example", "state.yaml"],
    "smtp password": ["bookings", "state.yaml", "--region", HOME, "--force"],
    "records": ["state.yaml", "--all"], "rule": ["dmarc-no-rua"], "list": ["state.yaml", "--owned"],
    "fleet validate": ["fleet.yaml"],
    "suppression list": ["state.yaml"], "suppression export": ["state.yaml"], "suppression stats": ["state.yaml"],
    "suppression add": ["dave@big.example", *YES], "suppression remove": ["victim1@bigmail.example", *YES],
}  # fmt: skip
"""What each command is given, in the order in which they are run; another gets the state alone."""
NOT_RUN = {"sandbox", "fleet plan", "fleet drift", "fleet doctor"}
"""The sandbox serves until it is stopped, with a key and an account of its own; a fleet is several processes, whose
output the one process prints that `fleet validate` shows, too."""
FORMATTED = ("plan", "show", "drift", "senders")


def commands(command: Any, name: str = "") -> list[str]:
    below = getattr(command, "commands", None)
    return [name] if below is None else [n for key, c in below.items() for n in commands(c, f"{name} {key}".strip())]


@pytest.fixture
def watched(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """A break-in, with YAML for half of what is there."""

    def make() -> None:
        house.sandbox.scenario("break-in")
        client("sesv2").create_email_identity(EmailIdentity="ceo@other.example")

    house.once("a break-in to redact", make)
    host, port = house.sandbox.serve_dns()
    monkeypatch.setenv("RECON_RESOLVER", f"{host}:{port}")
    monkeypatch.setenv("RECON_SMTP_ENDPOINT", "127.0.0.1:1")
    house.write(STATE)
    return house


def test_every_command_is_redacted(watched: House) -> None:
    (watched.home / "fleet.yaml").write_text(f"stacks: [{{state: state.yaml, labels: {{team: t{ACCOUNT}}}}}]\n")
    plain = watched.cli("plan", "state.yaml", "--out", "plan.json", "--redact")
    assert ACCOUNT in (watched.home / "plan.json").read_text(), "a saved plan is whole"
    assert "recipient-1@" in plain.out
    hidden = 0
    for name in sorted(set(commands(cli._command(""))) - NOT_RUN, key=lambda name: [*COMMANDS, name].index(name)):
        given = COMMANDS.get(name, ["state.yaml"])
        formats = ("text", "json", "markdown", "html") if name in FORMATTED else ("text",)
        for format in formats:
            ran = watched.cli(*name.split(), *given, "--format", format, "-v", "--redact")
            if "No such option" in ran.err:
                ran = watched.cli(*name.split(), *given, "--redact")
            assert "No such option" not in ran.err and "internal-error" not in ran.out + ran.err, ran
            for text in (ran.out, ran.err):
                assert not LEAK.search(text), (name, format, LEAK.search(text), text)
                hidden += len(re.findall(r"recipient-\d|REDACTED\d|000000000001", text))
    assert hidden > 100


def test_the_summary_of_a_step_is_redacted_and_help_names_the_option(
    watched: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = watched.home / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    watched.cli("plan", "state.yaml", "--redact")
    assert "recipient-1@" in summary.read_text() and not LEAK.search(summary.read_text())
    assert "--redact" in watched.cli("smtp", "rotate", "--help").out
    wrong = watched.cli("--redact", "doctor", f"x{ACCOUNT}", "a", "b", "c")
    assert wrong.code == 1 and ACCOUNT not in wrong.err
