"""`recon doctor --message FILE`: one received message or bounce. Asks public DNS, and neither AWS nor credentials."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler.cli.common import FOUND_CODES, Output
from reconciler.errors import ReconError
from reconciler.model import Diagnostic

if TYPE_CHECKING:
    from reconciler.message import MessageFinding
    from reconciler.model import State


def diagnose_message(path: str, state: State | None, resolvers: list[str], no_dns: bool, out: Output) -> int:
    """Print what a message proves; the exit code. ``state`` is the YAML where there is any: it says what is declared of
    the sender. Raises ReconError for a file that is no message."""
    from reconciler.doctor.declared import declared_sender
    from reconciler.files import read_regular, reason
    from reconciler.kinds.snapshot import now
    from reconciler.message import LIMIT, examine, findings, headline, questions, read_message, to_json
    from reconciler.public_dns import PublicDns

    try:
        data = read_regular(path, path, LIMIT)
    except (OSError, ValueError) as problem:
        raise ReconError(f"{path} could not be read: {reason(problem)}") from None
    message = read_message(data, path)
    answers = {} if no_dns else PublicDns(resolvers).ask(questions(message))
    evidence = examine(message, answers)
    declared = "" if state is None else declared_sender(state, evidence.trace.from_address)
    found = findings(evidence, now(), declared)
    said, outcome = headline(found, evidence), _outcome(found)
    if out.format == "json":
        from reconciler.renderers.jsonform import json_text

        diagnostics = [Diagnostic("error" if f.status == "found" else "warning", f"doctor-{f.layer}", f.message, f.hint)
                       for f in found if f.status != "ok"]  # fmt: skip
        document = {"format_version": 1, "outcome": outcome, "headline": said, "checks": [f.to_json() for f in found],
                    "message": to_json(evidence), "diagnostics": [one.to_json() for one in diagnostics]}  # fmt: skip
        sys.stdout.write(json_text(document))
    else:
        _text(said, found, message.others, out)
    return FOUND_CODES[outcome]


def _outcome(found: list[MessageFinding]) -> str:
    seen = {one.status for one in found}
    return "changes" if "found" in seen else "error" if "unknown" in seen else "no_changes"


def _text(said: str, found: list[MessageFinding], others: int, out: Output) -> None:
    """The headline, then a line for each finding."""
    from reconciler.renderers.escape import safe

    marks, colors = {"ok": "ok", "found": "WRONG", "unknown": "?"}, {"ok": "32", "found": "31", "unknown": "33"}
    sys.stdout.write(f"{safe(said)}\n\n")
    for one in found:
        mark = marks[one.status].ljust(5)
        mark = f"\x1b[{colors[one.status]}m{mark}\x1b[0m" if out.color else mark
        sys.stdout.write(f"{mark}  {one.layer.ljust(11)}  {safe(one.message)}\n")
        if one.hint and (one.status != "ok" or out.verbose):
            sys.stdout.write(f"                      -> {safe(one.hint)}\n")
    if page := next((one.runbook for one in found if one.runbook), ""):
        sys.stdout.write(f"\nWhat to do, step by step: docs/runbooks/{page}\n")
    if others:
        more = "message follows" if others == 1 else "messages follow"
        out.info(f"The file is a mailbox: only its first message was read; {others:,} {more}.")
