"""One line on the terminal that says what is read or written just now, how much of it is done, and how long the rest
takes. It is drawn after a second, on standard error, and is gone before anything else is printed.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TextIO

from reconciler import activity
from reconciler.activity import Call, Work

if TYPE_CHECKING:
    from reconciler.cli.common import Output

AFTER: Final = 1.0
"""Seconds without output before the line is drawn, so that short commands show nothing and nothing flickers."""
_EVERY: Final = 0.2
_MOST: Final = 3
_LONG_LIST: Final = 100
_SERVICES: Final = {
    "ses": "SES", "iam": "IAM", "sts": "STS", "sns": "SNS", "s3": "S3", "ssm": "Systems Manager", "route53": "Route 53",
    "tagging": "the tagging API", "secretsmanager": "Secrets Manager", "cloudtrail": "CloudTrail",
    "cloudwatch": "CloudWatch", "events": "EventBridge",
}  # fmt: skip


def status(works: Sequence[Work], calls: Sequence[Call], now: float, width: int, ellipsis: str = "…") -> str:
    """The line for open works and calls in flight at ``now`` (of ``time.monotonic``), in at most ``width`` columns; ""
    where nothing is to be said."""
    from reconciler.renderers.escape import safe

    chosen = next(([work] for work in works if work.alone), [work for work in works if work.about])
    chosen.sort(key=lambda work: -_left(work, now))
    groups: dict[str, list[Work]] = {}
    for work in chosen:
        groups.setdefault(work.about, []).append(work)
    parts = [part for about, group in groups.items() for part in _counts(about, group)]
    if parts:
        hidden = len(parts) - _MOST
        first = f"{chosen[0].verb} {', '.join(parts[:_MOST])}" + (f" and {hidden} more" if hidden > 0 else "")
    elif calls:
        call = calls[0]
        first = f"{activity.verb(call.operation)} {activity.thing(call.operation)} in {call.region}"
    else:
        return ""
    seconds = max((_left(work, now) for work in chosen), default=0.0)
    details = [safe(work.detail) for work in chosen if work.detail]
    line = first
    for more in (_duration(seconds), _waiting(calls), *details):
        if more and len(line) + len(more) + 3 <= width:
            line += f" - {more}"
    return line if len(line) <= width else line[: max(width - len(ellipsis), 0)] + ellipsis


def _counts(about: str, group: Sequence[Work]) -> Iterator[str]:
    """``email identity 120 of 400 in us-east-1``, the places with most to do first; of lists, how much came so far."""
    # copies: other threads add places meanwhile
    done, total = (
        sum((Counter(dict(getattr(work, name))) for work in group), Counter[str]()) for name in ("done", "total")
    )
    left = [place for place in total if done[place] < total[place]]
    for place in sorted(left, key=lambda place: done[place] - total[place]):
        yield f"{about} {done[place]:,} of {total[place]:,}" + (f" in {place}" if place else "")
    if not total:
        long = [place for place, number in sorted(done.items()) if number >= _LONG_LIST]
        yield from (f"{about} {done[place]:,}" + (f" in {place}" if place else "") for place in long)
        if not long:
            yield about


def _left(work: Work, now: float) -> float:
    """The seconds that a work still takes: at its own pace, in each place; 0 where nobody can know."""
    passed = now - work.began
    found = max(
        (passed * (total - done) / done for place, total in dict(work.total).items() if (done := work.done[place]) > 2),
        default=max(work.seconds - passed, 0.0),
    )
    return found if passed >= AFTER else max(work.seconds, 0.0)


def _duration(seconds: float) -> str:
    if seconds < 1:
        return ""
    for most, unit, name in ((90, 1, "s"), (5400, 60, "min")):
        if seconds < most:
            return f"about {seconds / unit:.0f} {name} left"
    return f"about {seconds / 3600:.0f} h left"


def _waiting(calls: Sequence[Call]) -> str:
    """What calls wait for longest: ``waiting for SES, 1 call a second``."""
    slow = [(rate, call.limit) for call in calls if (rate := call.slow()) is not None]
    if not slow:
        return ""
    rate, limit = min(slow)
    pace = f"{rate:.0f} calls a second" if rate >= 1.5 else "1 call a second"
    pace = f"1 call in {1 / rate:.0f} seconds" if rate < 0.67 else pace
    return f"waiting for {_SERVICES.get(limit, limit)}, {pace}"


class StatusLine:
    """The line on one terminal. ``tick`` draws it, ``clear`` removes it; both from any thread."""

    def __init__(self, stream: TextIO, width: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._width, self._clock = stream, width, clock
        self._lock = threading.RLock()
        self._drawn = ""
        self._quiet_since = clock()
        self._mid_line = False
        self._asked = activity.questions()
        ascii_only = not (getattr(stream, "encoding", "") or "").lower().startswith("utf")
        self._ellipsis = "..." if ascii_only else "…"

    def tick(self) -> None:
        """Draw the line as it is now, unless something was printed in the last second."""
        with self._lock:
            now = self._clock()
            if self._asked != activity.questions():
                # The user has ended the line of the question.
                self._asked, self._mid_line, self._quiet_since = activity.questions(), False, now
            if self._mid_line or now - self._quiet_since < AFTER:
                return
            works, calls = activity.now()
            line = status(works, calls, now, self._width() - 1, self._ellipsis)
            if line != self._drawn:
                self._write(f"\r{line}\x1b[K")
                self._drawn = line

    def clear(self) -> None:
        """Take the line away, so that the cursor stands where it stood."""
        with self._lock:
            if self._drawn:
                self._write("\r\x1b[K")
                self._drawn = ""

    def printing(self, text: str, write: Callable[[str], Any]) -> None:
        """Print something else: what has no final newline is a question, behind which nothing is drawn."""
        with self._lock:
            self.clear()
            write(text)
            self._quiet_since = self._clock()
            if text:
                self._mid_line = not text.endswith("\n")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # the terminal has gone
            self._stream.write(text)
            self._stream.flush()


class _BesideStatus:
    """A standard stream on the same terminal: what is written to it is preceded by ``StatusLine.clear``."""

    def __init__(self, stream: TextIO, line: StatusLine) -> None:
        self._stream, self._line = stream, line

    def write(self, text: str) -> int:
        self._line.printing(text, self._stream.write)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for text in lines:
            self.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def wanted(arguments: Sequence[str], format: str) -> bool:
    """Whether a command line shows the status: on a terminal that can move its cursor, not in CI, not with --quiet, and
    not where another format than text is written to a file or pipe."""
    quiet = any(re.fullmatch(r"--quiet|-v*q[qv]*", argument) for argument in arguments)
    ci = os.environ.get("CI", "").lower() not in {"", "0", "false"}
    if quiet or ci or os.environ.get("TERM", "dumb") == "dumb" or not sys.stderr.isatty():
        return False
    return format == "text" or sys.stdout.isatty()


@contextlib.contextmanager
def shown(arguments: Sequence[str], format: str) -> Iterator[None]:
    """Show on the terminal what the block does, where that is wanted."""
    if not wanted(arguments, format):
        yield
        return
    out, err = sys.stdout, sys.stderr
    line = StatusLine(err, lambda: _columns(err))
    ended = threading.Event()

    def draw() -> None:
        while not ended.wait(_EVERY):
            if _in_foreground(err):
                line.tick()

    thread = threading.Thread(target=draw, daemon=True)
    sys.stderr = _BesideStatus(err, line)
    if out.isatty():
        sys.stdout = _BesideStatus(out, line)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        line.clear()
        sys.stdout, sys.stderr = out, err


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _in_foreground(stream: TextIO) -> bool:
    """Whether the terminal is ours: a job in the background must not draw over what is typed there."""
    try:
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return True  # not the terminal that controls this process


class StepProgress:
    """The applier's ``on_progress`` and ``on_step`` callbacks, called from several threads: the status line where it is
    shown, plain lines elsewhere."""

    def __init__(self, out: Output, work: Work) -> None:
        self._out, self._work = out, work
        self._last: dict[str, str] = {}
        self._lock = threading.Lock()

    def message(self, address: str, text: str) -> None:
        """Say what is in progress; the same text of one address only once."""
        with self._lock:
            if self._last.get(address) == text:
                return
            self._last[address] = text
            self._work.detail = f"{address}: {text}"
            if not isinstance(sys.stderr, _BesideStatus):
                self._out.info(f"  {address}: {text}")

    def step(self, step: str, outcome: str, code: str) -> None:
        """Count a step that ended, and show it if it failed."""
        with self._lock:
            self._work.count()
            if outcome == "failed" and isinstance(sys.stderr, _BesideStatus):
                self._out.info(f"  failed: {step} {code}")
