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
    lines = [
        "# HELP recon_drift_changes Differences between live and declared, by kind and action; refused ones apart.",
        "# TYPE recon_drift_changes gauge",
    ]
    lines += [
        f'recon_drift_changes{{stack="{stack}",kind="{_label(kind)}",action="{action}"}} {count}'
        for (kind, action), count in sorted(counts.items())
    ]
    lines += [
        "# HELP recon_drift_unread Attributes that the run could not or did not read.",
        "# TYPE recon_drift_unread gauge",
        f'recon_drift_unread{{stack="{stack}"}} {len(plan.unread)}',
        "# HELP recon_drift_last_run_timestamp_seconds When the run was made, in seconds since 1970.",
        "# TYPE recon_drift_last_run_timestamp_seconds gauge",
        f'recon_drift_last_run_timestamp_seconds{{stack="{stack}"}} {int(made.timestamp())}',
    ]
    return "\n".join(lines) + "\n"
