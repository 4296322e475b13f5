"""Time as a unit keeps it: UTC now, compact time stamps, timers, waiting for events."""

from __future__ import annotations

import os
from datetime import datetime as _datetime
from datetime import timedelta, timezone
from numbers import Real
from time import monotonic
from time import sleep as _sleep
from typing import Any, Callable, Optional

from panoptes_utils.error import IllegalValue, Timeout
from panoptes_utils.logging import logger


def current_time(flatten: bool = False, datetime: bool = False, pretty: bool = False) -> Any:
    """Return the time now, in UTC.

    The environment variable `POCSTIME` (an ISO 8601 time) stands in for the clock when it is set; every call
    then moves it on by one second, so that simulated nights pass.

    Args:
        flatten: return a compact string as used in file names, `YYYYMMDDTHHMMSS`.
        datetime: return an aware `datetime.datetime`.
        pretty: return a string for people, `YYYY-MM-DD HH:MM:SS`.

    Returns:
        astropy.time.Time, or a string or datetime as asked.

    Raises:
        IllegalValue: `POCSTIME` is set and is not a time.

    Example:
        >>> import os
        >>> os.environ["POCSTIME"] = "2016-08-13 10:00:00"
        >>> current_time(flatten=True)
        '20160813T100000'
        >>> current_time(pretty=True)
        '2016-08-13 10:00:01'
        >>> current_time()
        <Time object: scale='utc' format='isot' value=2016-08-13T10:00:02.000>
        >>> del os.environ["POCSTIME"]
    """
    now = _pocs_time() or _datetime.now(timezone.utc)
    if flatten:
        return now.strftime("%Y%m%dT%H%M%S")
    if pretty:
        return now.strftime("%Y-%m-%d %H:%M:%S")
    if datetime:
        return now
    from astropy.time import Time  # costs a second on a Pi: only for callers that want a Time

    return Time(now.replace(tzinfo=None).isoformat(), format="isot", scale="utc")


def _pocs_time() -> Any:
    """The simulated time, or None; moves `POCSTIME` on by a second."""
    text = os.getenv("POCSTIME")
    if not text:
        return None
    try:
        now = _datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise IllegalValue(f"POCSTIME={text!r} is not a time; write it like 2016-08-13 10:00:00 or unset it") from None
    now = now.astimezone(timezone.utc) if now.tzinfo else now.replace(tzinfo=timezone.utc)
    os.environ["POCSTIME"] = (now + timedelta(seconds=1)).replace(tzinfo=None).isoformat(timespec="milliseconds")
    return now


def as_utc(t: Any) -> _datetime:
    """Return a time as a datetime in UTC.

    Args:
        t: astropy Time of any scale; or datetime.datetime, which is in UTC already where it has no zone.

    Returns:
        datetime.datetime: aware, but for one that came without a zone.

    Raises:
        AttributeError: it is neither.
    """
    if isinstance(t, _datetime):
        return t.astimezone(timezone.utc) if t.tzinfo is not None else t
    # UT1 is within a second of UTC, and to know it better takes tables of the Earth's rotation from the network.
    moment = t if t.scale in ("utc", "ut1", "local") else t.utc
    return moment.to_datetime().replace(tzinfo=timezone.utc)


def flatten_time(t: Any) -> str:
    """Return a time in UTC as `YYYYMMDDTHHMMSS`.

    Args:
        t: what `as_utc` takes.

    Example:
        >>> from datetime import datetime
        >>> flatten_time(datetime(2019, 5, 11, 1, 2, 3))
        '20190511T010203'
    """
    return as_utc(t).strftime("%Y%m%dT%H%M%S")


def _seconds(value: Any, name: str) -> float:
    """A duration in seconds from a number, timedelta or Quantity."""
    if isinstance(value, Real) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    try:
        return float(value.to_value("second"))
    except Exception:
        raise ValueError(f"{name}={value!r}: not a number of seconds, timedelta or Quantity of time") from None


class CountdownTimer:
    """A timer that counts down on the monotonic clock, whatever happens to the system clock.

    Args:
        duration: seconds, `timedelta` or Quantity of time; zero is a timer that has always expired and that
            callers use as «do not wait».
        name: shown when the timer is printed.

    Raises:
        ValueError: not a duration.
        AssertionError: a negative one.

    Example:
        >>> timer = CountdownTimer(60, name="cooling")
        >>> timer.expired()
        False
        >>> 59 < timer.time_left() <= 60
        True
        >>> CountdownTimer(0).expired()
        True
    """

    def __init__(self, duration: Any, name: str = "") -> None:
        self.duration = _seconds(duration, "duration")
        if not self.duration >= 0:
            raise AssertionError(f"duration={duration!r}: a timer cannot run for a negative time")
        self.name = name
        self.is_non_blocking = self.duration == 0
        self.restart()

    def __str__(self) -> str:
        left = self.time_left()
        return f"{'' if left else 'EXPIRED '}{self._label} {left:.02f}/{self.duration:.02f}"

    @property
    def _label(self) -> str:
        return f"{self.name} Timer".lstrip()

    def restart(self) -> None:
        """Start again at the full duration."""
        self.target_time = monotonic() + self.duration
        logger.debug(f"Restarting {self._label} ({self.duration:.02f} s)")

    def expired(self) -> bool:
        """Whether no time is left."""
        return self.time_left() <= 0

    def time_left(self) -> float:
        """Seconds left, never negative."""
        return 0.0 if self.is_non_blocking else max(0.0, self.target_time - monotonic())

    def sleep(self, max_sleep: Any = None, log_level: str = "DEBUG") -> bool:
        """Sleep until the timer expires, at most `max_sleep`.

        Args:
            max_sleep: seconds, timedelta or Quantity; None is the whole remaining time.
            log_level: level of the log line about it.

        Returns:
            bool: True if time was left when the sleep began and the sleep was shorter than that.
        """
        left = self.time_left()
        if left <= 0:
            return False
        pause = left if max_sleep is None else min(left, _seconds(max_sleep, "max_sleep"))
        logger.log(log_level.upper(), f"Sleeping {self._label} for {pause:.02f} seconds")
        _sleep(max(0.0, pause))
        return pause < left


def wait_for_events(
    events: Any, timeout: Any = 600, sleep_delay: Any = 5, callback: Optional[Callable[[], Any]] = None
) -> bool:
    """Wait until every event is set.

    Args:
        events: a `threading.Event` or a list of them.
        timeout: seconds, timedelta or Quantity.
        sleep_delay: pause between two looks, same kinds; an event that is set ends the pause.
        callback: called after each look; its returning False ends the wait.

    Returns:
        bool: True when all events are set, False when the callback ended the wait.

    Raises:
        Timeout: the time is up.

    Example:
        >>> from threading import Event
        >>> done = Event()
        >>> done.set()
        >>> wait_for_events(done, timeout=1)
        True
    """
    events = list(events) if isinstance(events, (list, tuple, set)) else [events]
    timer = CountdownTimer(timeout, name="wait_for_events")
    delay = _seconds(sleep_delay, "sleep_delay")
    started = monotonic()
    while True:
        waiting = [event for event in events if not event.is_set()]
        if not waiting:
            return True
        if timer.expired():
            raise Timeout(f"{len(waiting)} of {len(events)} events not set in {timer.duration:g} s")
        if callback is not None and callback() is False:
            logger.warning(f"Waiting for events ended by the callback after {monotonic() - started:.1f} s")
            return False
        waiting[0].wait(min(delay, timer.time_left()))
