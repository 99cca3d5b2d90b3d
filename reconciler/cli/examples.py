"""Examples of every command, shown at the end of its help; a test parses each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "account pause": ("recon account pause --region us-east-1",),
    "account request-production": ("recon account request-production --region eu-west-1",),
    "account resume": ("recon account resume --region us-east-1",),
    "apply": (
        "recon apply",
        "recon apply --target 'email_identity/*/acme.com' --wait",
        "recon apply plan.json --state state --expect sha256:0c5f...",
    ),
    "destroy": ("recon destroy --env staging", "recon destroy --target smtp_user/newsletter"),
    "doctor": (
        "recon doctor",
        "recon doctor acme.com --to ann@example.com",
        "recon doctor acme.com --no-state --region us-east-1",
        "recon doctor --message bounce.eml",
    ),
    "drift": (
        "recon drift --env production",
        "recon drift --check-public-dns --format markdown",
        "recon drift --out today.json --since-last yesterday.json",
    ),
    "fleet doctor": ("recon fleet doctor fleet.yaml",),
    "fleet drift": ("recon fleet drift fleet.yaml --select team=a --out reports",),
    "fleet plan": ("recon fleet plan fleet.yaml --workers 4",),
    "fleet validate": ("recon fleet validate fleet.yaml",),
    "graph": ("recon graph > mail.mmd", "recon graph --format dot | dot -Tsvg > mail.svg"),
    "history": ("recon history --limit 5", "recon history --env production --format json"),
    "iam-policy": ("recon iam-policy plan", "recon iam-policy apply --env production --part 1"),
    "import": ("recon import --region us-east-1 --out state", "recon import acme.com"),
    "init": (
        "recon init --domain acme.com --account 111122223333",
        "recon init --package git+https://github.com/OWNER/recon@COMMIT",
        "recon init --aws --repository acme/mail",
    ),
    "list": ("recon list", "recon list --env production --owned"),
    "plan": (
        "recon plan",
        "recon plan --env production --out plan.json",
        "recon plan --target 'dns_record/*' --detailed-exitcode",
        "recon plan --offline --against ../main/state",
    ),
    "records": (
        "recon records",
        "recon records customer.example --format markdown > sheet.md",
        "recon records --missing --format bind --out zones",
    ),
    "rule": ("recon rule dmarc-no-rua", "recon rule"),
    "sandbox": ("recon sandbox --dns-port 0", "recon sandbox --scenario break-in"),
    "schema": ("recon schema > state.schema.json",),
    "senders": ("recon senders", "recon senders --check --format json", "recon senders --format html > senders.html"),
    "show": ("recon show plan.json -v", "recon show plan.json --format html > plan.html"),
    "smtp ack": ("recon smtp ack newsletter webmail",),
    "smtp lock": (
        "recon smtp lock newsletter",
        "recon smtp lock AKIAIOSFODNN7EXAMPLE --undeclared --account 111122223333",
    ),
    "smtp password": ("recon smtp password newsletter --region us-east-1",),
    "smtp rotate": ("recon smtp rotate --due", "recon smtp rotate newsletter --compromised"),
    "smtp verify": (
        "recon smtp verify newsletter",
        "recon smtp verify --username AKIAIOSFODNN7EXAMPLE --password-stdin",
    ),
    "suppression add": ("recon suppression add ann@example.com --reason BOUNCE",),
    "suppression export": ("recon suppression export --since 2026-01-01 --out list.csv",),
    "suppression list": ("recon suppression list --match '*@example.com'",),
    "suppression remove": ("recon suppression remove ann@example.com",),
    "suppression stats": ("recon suppression stats --top 20",),
    "unlock": ("recon unlock --env production",),
    "validate": ("recon validate", "recon validate --env production --format github"),
}  # fmt: skip


def add_examples(command: Any, path: str = "") -> None:
    """Show the examples of a command and its subcommands at the end of their help."""
    for name, subcommand in getattr(command, "commands", {}).items():
        add_examples(subcommand, f"{path} {name}".strip())
    if path in EXAMPLES:
        # "\b": the lines are kept as they are (click, "Documenting scripts")
        command.epilog = "\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in EXAMPLES[path])])
