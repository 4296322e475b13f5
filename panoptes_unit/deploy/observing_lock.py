"""May services restart now? The lock fails safe: whatever is not surely idle defers the update."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple, Optional

from ..documents import printable, read_json
from ..guarded import UnsafeError, open_folder
from ..services import ask_config
from ..settings import Observing, Settings, Window

# POCS writes a few hundred bytes; the file belongs to the account of the programs, and may be anything.
SIZE_LIMIT = 64 * 1024
_YEAR_3000 = 32503680000.0


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
        with open_folder(path.parent) as folder:
            content, info = folder.read(path.name, SIZE_LIMIT)
        document = read_json(content.decode("utf-8"), SIZE_LIMIT)
    except FileNotFoundError:
        return Activity("unknown", f"{path} does not exist")
    except UnsafeError as error:
        return Activity("unreadable", str(error))
    except (OSError, ValueError) as error:
        return Activity("unreadable", f"{path}: {error}")
    return _judge(document, observing, str(path), info.st_mtime)


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
        data = document.get("data")
        if not isinstance(data, dict):
            data = document
        state = data.get("dest") or data.get("state")
        at = _seconds(document.get("date") or data.get("at")) or written
    if not isinstance(state, str) or not state:
        return Activity("unknown", f"{where} names no state")
    said = f"{where} says {printable(repr(state), 80)}"
    if at is None:
        return Activity("unknown", f"{said}, but not since when")
    age = time.time() - at
    if not -60 <= age <= observing.max_age_s:
        return Activity("stale", f"{said}, {age / 3600:.1f} h ago")
    kind = "idle" if state in observing.idle else "observing"
    return Activity(kind, said)


def _seconds(stamp: object) -> Optional[float]:
    """Seconds since 1970; None for what is no time of this age, which includes NaN and infinity."""
    try:
        if isinstance(stamp, str):
            moment = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
        elif isinstance(stamp, (int, float)):
            seconds = float(stamp)
        else:
            return None
    except (ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds < _YEAR_3000 else None


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
