"""A limit for a whole step: one that holds for each read is none, where a byte comes now and then."""

from __future__ import annotations

import signal
import threading
import traceback
from contextlib import contextmanager
from types import FrameType
from typing import Callable, Iterator, Optional

from ..errors import UnitError


class _Passed(BaseException):
    """No Exception, so that nobody on the way takes it for an answer of the registry."""


@contextmanager
def deadline(seconds: float, what: str, advice: str = "is the network up?") -> Iterator[Callable[[], None]]:
    """End what happens inside after `seconds`; in a thread other than the main one, it has no effect.

    Yields:
        What gives it all its seconds again: for a step that has no limit as long as it goes on.

    Raises:
        UnitError: the time is over; `what` says what took so long, `advice` what to look at.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    def ring(number: int, frame: Optional[FrameType]) -> None:
        raise _Passed

    def wind_up() -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)

    before = signal.signal(signal.SIGALRM, ring)
    wind_up()
    try:
        yield wind_up
    except _Passed as error:
        traceback.clear_frames(error.__traceback__)  # they hold what was waited for: a connection that has to end now
        raise UnitError(f"{what} took longer than {seconds:g} s: {advice}") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
