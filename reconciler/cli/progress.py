"""What a person sees while a plan is carried out: a bar with time left on a terminal, plain lines elsewhere.

Everything goes to standard error; names come from AWS and YAML, so control characters are shown escaped.
"""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from reconciler.cli.common import Out


class Progress:
    """A voice for the applier: ``say(address, words)`` and ``step(id, outcome, code)``, called from several threads.

    ``total`` is the number of steps; ``seconds`` the estimate at AWS's documented rates, shown until the run has its
    own pace to judge by.
    """

    def __init__(self, out: Out, total: int, seconds: int = 0) -> None:
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
            words = TextColumn("{task.description}", markup=False)
            self._bar = Bar(
                spinner,
                BarColumn(30),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                words,
                console=console,
                transient=True,
            )
            self._bar.start()
            about = f"about {self._seconds} s at AWS's rates" if self._seconds > 5 else ""
            self._task = self._bar.add_task(about, total=self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, address: str, words: str) -> None:
        """Tell what is under way; the same words of one address are told once."""
        with self._lock:
            if self._last.get(address) == words:
                return
            self._last[address] = words
            text = _inert(f"{address}: {words}")
            if self._bar is not None:
                self._bar.update(self._task, description=text)
            else:
                self._out.say(f"  {text}")

    def step(self, step: str, outcome: str, code: str) -> None:
        """Count a step that ended; a failed one is told at once."""
        with self._lock:
            if self._bar is not None:
                self._bar.advance(self._task)
                if outcome == "failed":
                    self._bar.console.print(f"  failed: {_inert(step)} {code}", markup=False, highlight=False)


def _inert(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
