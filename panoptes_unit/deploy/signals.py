"""Ctrl-C, a shutdown and a lost terminal: before the switch they end the run, after it they are noted.

Nothing may be left between two releases: from the switch on, a signal asks for the way back, and during the way back
and the commit it asks for nothing more. What is stopped harder than that is recovered by the next run.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from types import FrameType
from typing import Iterator, Optional

from ..errors import UnitError

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StoppedError(UnitError):
    """A signal asked the run to stop, and was noted until now."""


class Signals:
    """Use `handled` as a context around the run.

    Attributes:
        received: the last signal, such as SIGTERM; empty where there was none.
    """

    def __init__(self) -> None:
        self.received = ""
        self._held = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Take the signals over; in a thread other than the main one, they stay as they are."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._handle) for number in NUMBERS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: Optional[FrameType]) -> None:
        self.received = signal.Signals(number).name
        if not self._held:
            raise KeyboardInterrupt(self.received)

    def hold(self) -> None:
        """Only note them from now on."""
        self._held = True

    def release(self) -> None:
        """Let them end the run again.

        Raises:
            KeyboardInterrupt: one came in the meantime.
        """
        self._held = False
        if self.received:
            raise KeyboardInterrupt(self.received)

    def check(self) -> None:
        """Asked where the run can still turn back.

        Raises:
            StoppedError: one came.
        """
        if self.received:
            raise StoppedError(stopped_by(self.received))


def stopped_by(name: str) -> str:
    """A sentence for the record."""
    return "stopped by the operator" if name in ("", "SIGINT") else f"stopped by {name}"
