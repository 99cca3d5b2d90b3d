"""Drift as a Prometheus textfile, for the node exporter's textfile collector.

Source: Prometheus documentation, "Exposition formats", text format 0.0.4.
"""

from __future__ import annotations

from datetime import UTC, datetime

from reconciler.errors import ReconError
from reconciler.model import ACTIONS, Plan
from reconciler.renderers.escape import safe
from reconciler.resources import KINDS


def _label(text: str) -> str:
    return safe(text).replace("\\", "\\\\").replace('"', '\\"')


def prometheus(plan: Plan) -> str:
    """Gauges of one drift run; the time is the plan's ``created_at``.

    Every known kind and action has a series, zero where nothing differs, so that an alert sees the return to zero.
    Raises: ReconError when ``created_at`` is no ISO 8601 time.
    """
    stack = _label(plan.scope or plan.stack)
    try:
        made = datetime.fromisoformat(plan.created_at)
    except ValueError:
        raise ReconError(f"the plan's created_at is not a time: {plan.created_at[:60]!r}") from None
    if made.tzinfo is None:
        made = made.replace(tzinfo=UTC)
    counts = {(kind, action): 0 for kind in KINDS for action in (*ACTIONS, "refused")}
    for change in plan.changes:
        counts[change.kind, "refused" if change.refused else change.action] += 1
    differing = {f',kind="{_label(kind)}",action="{action}"': n for (kind, action), n in sorted(counts.items())}
    gauges = (
        ("changes", "Differences between live and declared, by kind and action; refused ones apart.", differing),
        ("findings", "What was found although it is no difference: the account's status.", {"": len(plan.findings)}),
        ("unread", "Attributes that the run could not or did not read.", {"": len(plan.unread)}),
        ("last_run_timestamp_seconds", "When the run was made, in seconds since 1970.", {"": int(made.timestamp())}),
    )
    lines = []
    for name, help, samples in gauges:
        lines += [f"# HELP recon_drift_{name} {help}", f"# TYPE recon_drift_{name} gauge"]
        lines += [f'recon_drift_{name}{{stack="{stack}"{labels}}} {value}' for labels, value in samples.items()]
    return "\n".join(lines) + "\n"
