"""Progress of an apply: a bar with the remaining time on a terminal, plain lines elsewhere.

Everything is written to standard error. Names come from AWS and YAML, so control characters are escaped.
"""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from reconciler.renderers.escape import safe

if TYPE_CHECKING:
    from reconciler.cli.common import Output


class ProgressBar:
    """The applier's ``on_progress`` and ``on_step`` callbacks; called from several threads.

    ``total`` is the number of steps; ``seconds`` the estimate at AWS's documented rates, shown until the bar can
    estimate from its own progress.
    """

    def __init__(self, out: Output, total: int, seconds: int = 0) -> None:
        self._out = out
        self._total = total
        self._seconds = seconds
        self._last: dict[str, str] = {}
        self._lock = threading.Lock()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if not self._out.quiet and sys.stderr.isatty() and self._total:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            console = Console(stderr=True, no_color=not self._out.color, highlight=False)
            spinner = SpinnerColumn("dots" if self._out.unicode else "line")
            description = TextColumn("{task.description}", markup=False)
            columns = (spinner, BarColumn(30), MofNCompleteColumn(), TimeRemainingColumn(), description)
            self._bar = Bar(*columns, console=console, transient=True)
            self._bar.start()
            about = f"about {self._seconds} s at AWS's rates" if self._seconds > 5 else ""
            self._task = self._bar.add_task(about, total=self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def message(self, address: str, text: str) -> None:
        """Show what is in progress; the same text of one address only once."""
        with self._lock:
            if self._last.get(address) == text:
                return
            self._last[address] = text
            text = safe(f"{address}: {text}")
            if self._bar is not None:
                self._bar.update(self._task, description=text)
            else:
                self._out.info(f"  {text}")

    def step(self, step: str, outcome: str, code: str) -> None:
        """Count a step that ended, and show it if it failed."""
        with self._lock:
            if self._bar is not None:
                self._bar.advance(self._task)
                if outcome == "failed":
                    self._bar.console.print(f"  failed: {safe(step)} {code}", markup=False, highlight=False)
