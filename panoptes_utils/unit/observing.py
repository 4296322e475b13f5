"""May services restart now? The lock fails safe: whatever is not surely idle defers the update."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from datetime import datetime, timezone
from email.utils import mktime_tz, parsedate_tz
from pathlib import Path
from typing import NamedTuple, Optional, Tuple

from .settings import Observing, Settings, Window


class Activity(NamedTuple):
    """What the unit is doing.

    Attributes:
        kind: `idle`, `observing`, `unknown`, `stale` or `unreadable`.
        detail: for a person: the state and where it was read.
    """

    kind: str
    detail: str

    @property
    def is_idle(self) -> bool:
        """Only this permits a restart."""
        return self.kind == "idle"


def activity(settings: Settings) -> Activity:
    """What the unit is doing, by the source that the settings name."""
    observing = settings.observing
    if observing.source == "none":
        return Activity("idle", "the settings name no source of the observing state")
    if observing.source == "file":
        return _from_file(observing)
    if observing.source == "config":
        return _from_config(settings)
    return Activity("unreadable", f"observing.source is {observing.source!r}; known are file, config, none")


def _from_file(observing: Observing) -> Activity:
    path = Path(observing.file)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        written = path.stat().st_mtime
    except FileNotFoundError:
        return Activity("unknown", f"{path} does not exist")
    except (OSError, ValueError) as error:
        return Activity("unreadable", f"{path}: {error}")
    return _judge(document, observing, str(path), written)


def _from_config(settings: Settings) -> Activity:
    key = settings.observing.key
    try:
        document = ask_config(settings.config_url, key, timeout=5)
    except (OSError, ValueError) as error:
        return Activity("unreadable", f"config server at {settings.config_url}: {error}")
    if document is None:
        return Activity("unknown", f"the config server has no key {key!r}")
    return _judge(document, settings.observing, f"config key {key}", None)


def _judge(document: object, observing: Observing, where: str, written: Optional[float]) -> Activity:
    """`document` is a state's name, {state, at}, or POCS's record {data: {source, dest}, date}."""
    state, at = document, written
    if isinstance(document, dict):
        data = document.get("data") if isinstance(document.get("data"), dict) else document
        state = data.get("dest") or data.get("state")
        at = _seconds(document.get("date") or data.get("at")) or written
    if not isinstance(state, str) or not state:
        return Activity("unknown", f"{where} names no state")
    if at is None:
        return Activity("unknown", f"{where} says {state!r}, but not since when")
    age = time.time() - at
    if age > observing.max_age_s or age < -60:
        return Activity("stale", f"{where} says {state!r}, {age / 3600:.1f} h ago")
    kind = "idle" if state in observing.idle else "observing"
    return Activity(kind, f"{where} says {state!r}")


def _seconds(stamp: object) -> Optional[float]:
    if isinstance(stamp, (int, float)):
        return float(stamp)
    if isinstance(stamp, str):
        try:
            moment = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
        except ValueError:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    return None


def ask_config(url: str, key: str, timeout: float) -> object:
    """One value from the config server; None where it has no such key.

    Raises:
        OSError, ValueError: it does not answer, or not with JSON.
    """
    return ask_config_and_clock(url, key, timeout)[0]


def ask_config_and_clock(url: str, key: str, timeout: float) -> Tuple[object, Optional[float]]:
    """One value from the config server, and its clock in seconds since 1970; None where it does not tell.

    Raises:
        OSError, ValueError: it does not answer, or not with JSON.
    """
    request = urllib.request.Request(  # noqa: S310 - a loopback URL from the settings
        f"{url}/get-config",
        data=json.dumps({"key": key}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with _DIRECT.open(request, timeout=timeout) as response:
        date = parsedate_tz(response.headers.get("Date", ""))
        return json.loads(response.read(1_000_000)), mktime_tz(date) if date else None


# The services are on this machine: a proxy for the outside has no say.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def solar_hour(longitude: float, now: Optional[float] = None) -> float:
    """Local mean solar time in hours [0, 24) at a longitude in degrees, east positive."""
    seconds = (time.time() if now is None else now) + longitude / 15 * 3600
    return seconds % 86400 / 3600


def in_window(window: Window, now: Optional[float] = None) -> bool:
    """Is it daytime at the unit, by its own longitude?"""
    hour = solar_hour(window.longitude, now)
    start, end = window.start_h, window.end_h
    if start == end:
        return True
    return start <= hour < end if start < end else hour >= start or hour < end
