"""How many faults were injected and survived, said at the end of a test run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

Count = Callable[..., None]

INJECTED, SURVIVED = "faults-injected", "faults-survived"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Add up what the tests recorded; works over the processes of pytest-xdist, since reports carry it."""
    counts: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()) if getattr(report, "when", "") == "call" else ():
                if name in {INJECTED, SURVIVED}:
                    counts[name] += int(value)
    if counts[INJECTED]:
        lost = counts[INJECTED] - counts[SURVIVED]
        terminalreporter.write_line(f"{counts[INJECTED]} faults injected, {counts[SURVIVED]} survived, {lost} losses")
