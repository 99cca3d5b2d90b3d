"""The calls of each kind of resource: what 40 of it cost beyond a stack that has nothing, or has only what holds them.

``make bench-kinds`` rewrites the table of docs/performance.md. The commands
run against an embedded sandbox, in one region.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench

from reconciler import cli
from reconciler.sandbox import Sandbox

MANY = 40
ZONE = "bench.example"
COMMANDS = (
    ("plan, first", "plan"),
    ("apply, first", "apply --auto-approve"),
    ("plan, nothing to do", "plan"),
    ("plan in bulk", "plan --refresh bulk"),
)
EVERY_RUN = frozenset({"resourcegroupstaggingapi GetResources", "sts GetCallerIdentity"})
"""Left out: what every run calls, a region that does not answer in time twice."""
QUEUE = "arn:aws:sqs:us-east-1:111122223333:bench"
TOPIC = "arn:aws:sns:us-east-1:111122223333:bench"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table. ``values`` are those of an entry of ``section``; ``kinds`` what comes of it beside what
    the row ``beyond`` has."""

    kinds: tuple[str, ...]
    section: str
    values: Mapping[str, Any]
    count: int = MANY
    beyond: str = ""

    def document(self) -> dict[str, Any]:
        if self.section == "account":
            return {self.section: self.values}
        domain = f".{ZONE}" if self.section == "domains" else ""
        return {self.section: {f"n{number}{domain}": self.values for number in range(self.count)}}


_EVENTS = {"matching_event_types": ["BOUNCE"], "event_bridge_destination": {
    "event_bus_arn": "arn:aws:events:us-east-1:111122223333:event-bus/default"}}  # fmt: skip
ROWS = (
    Row(("email_identity",), "domains", {"zone": "manual"}),
    Row(("dns_record",), "domains", {"identity": False, "dmarc": {"p": "reject"}}),
    Row(("configuration_set",), "configuration_sets", {}),
    Row(("event_destination",), "configuration_sets", {"event_destinations": {"events": _EVENTS}},
        beyond="configuration_set"),
    Row(("dedicated_ip_pool",), "dedicated_ip_pools", {"scaling_mode": "MANAGED"}),
    Row(("contact_list",), "contact_lists", {"description": "Letters"}, count=1),
    Row(("email_template",), "email_templates", {"subject": "Welcome", "text": "Hello"}),
    Row(("account",), "account", {"suppression_attributes": {"suppressed_reasons": ["BOUNCE"]}}, count=1),
    Row(("smtp_user", "smtp_credential"), "smtp_users",
        {"from_addresses": ["*@acme.com"], "credentials": {"secretsmanager": {"name": "bench/${user}"}}}),
    Row(("sending_role",), "sending_roles",
        {"trust": {"service": "lambda.amazonaws.com"}, "from_addresses": ["*@acme.com"]}),
    Row(("sns_topic",), "sns_topics", {}),
    Row(("sns_subscription",), "sns_topics", {"subscriptions": [{"protocol": "sqs", "endpoint": QUEUE}]},
        beyond="sns_topic"),
    Row(("cloudwatch_alarm",), "cloudwatch_alarms", {"preset": "bounce_rate", "alarm_actions": [TOPIC]}),
    Row(("cloudwatch_dashboard",), "cloudwatch_dashboards", {"preset": "account"}),
    Row(("event_rule",), "event_rules", {"event_pattern": {"source": ["aws.ses"]}, "targets": [TOPIC]}),
)  # fmt: skip


def measured(folder: Path, document: Mapping[str, Any]) -> list[Counter[str]]:
    """The calls of each of ``COMMANDS``, by operation. Raises SystemExit where one fails."""
    stack = {"name": "bench", "account": "111122223333", "regions": ["us-east-1"], "max_deletes": 1000}
    (folder / "state").mkdir(parents=True)
    text = json.dumps({"stack": stack, **document})  # JSON is YAML
    for number in range(MANY):
        text = text.replace("bench/${user}", f"bench/n{number}", 1)
    (folder / "state" / "bench.yaml").write_text(text, encoding="utf-8")
    found = []
    os.chdir(folder)
    with Sandbox() as sandbox:
        sandbox.seed(zones=[{"name": ZONE}])
        os.environ |= sandbox.environment()
        for _, line in COMMANDS:
            sandbox.clear_calls()
            said = io.StringIO()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                code = cli.run([*line.split(), "-q"])
            if code:
                raise SystemExit(f"recon {line} ended with {code}:\n{said.getvalue()[-3000:]}")
            calls = Counter(f"{call['service']} {call['operation']}" for call in sandbox.calls())
            found.append(Counter({name: count for name, count in calls.items() if name not in EVERY_RUN}))
    return found


def rows(folder: Path) -> Iterator[str]:
    """The lines of the table."""
    yield "| kind | resources | " + " | ".join(command for command, _ in COMMANDS) + " |"
    yield "|---|--:|" + "--:|" * len(COMMANDS)
    found: dict[str, list[Counter[str]]] = {"": measured(folder / "nothing", {})}
    for row in ROWS:
        found[row.kinds[0]] = calls = measured(folder / row.kinds[0], row.document())
        before: Sequence[Counter[str]] = found[row.beyond]
        more = [Counter(one) for one in calls]
        for own, other in zip(more, before, strict=True):
            own.subtract(other)
        total = " | ".join(f"{sum(one.values()):,}" for one in more)
        sys.stderr.write(f"{', '.join(row.kinds)}: {total}\n")
        yield f"| {', '.join(row.kinds)} | {row.count} | {total} |"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="recon-kinds-") as name:
        bench.write({"calls by kind": "\n".join(rows(Path(name)))})
    return 0


if __name__ == "__main__":
    sys.exit(main())
