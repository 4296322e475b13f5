"""What a person sees: progress on a terminal, one line a step in the journal, JSON for programs."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta, timezone

from .documents import printable

# Not gmtime: on a 32-bit unit, that knows no time after 2038.
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Report:
    """Lines go to standard error, so that standard output stays for the answer."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._shown = 0.0
        self._pending = False

    def step(self, name: str, text: str) -> None:
        """One step has something to say."""
        self._end_line()
        if not self._quiet:
            print(f"{name:<8} {printable(text)}", file=sys.stderr, flush=True)

    def progress(self, name: str, text: str) -> None:
        """Something is under way: one line that changes on a terminal, one line every 30 s elsewhere."""
        if self._quiet:
            return
        now = time.monotonic()
        if now - self._shown < (0.2 if self._terminal else 30):
            return
        self._shown = now
        text = printable(text, 160)
        if self._terminal:
            print(f"\r{name:<8} {text}\x1b[K", end="", file=sys.stderr, flush=True)
            self._pending = True
        else:
            print(f"{name:<8} {text}", file=sys.stderr, flush=True)

    def _end_line(self) -> None:
        if self._pending:
            print(file=sys.stderr)
            self._pending = False


def short(digest: str) -> str:
    """The first twelve digits of a digest or of an image's digest: what people compare."""
    return digest.partition("@")[2][7:19] if "@" in digest else digest[7:19]


def megabytes(count: float) -> str:
    """A number of bytes for a person."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def minutes(seconds: float) -> str:
    """How long something takes, for a person."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def ago(at: float) -> str:
    """How long ago a time was, for a person."""
    seconds = time.time() - at
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def stamp(at: float) -> str:
    """A time in UTC, to the second."""
    try:
        return f"{_EPOCH + timedelta(seconds=at):%Y-%m-%d %H:%M:%S}"
    except OverflowError:
        return f"{at:.0f} s after 1970"
