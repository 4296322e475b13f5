"""One HTML file about all units, from what is kept: nothing is asked, and nothing is loaded from elsewhere."""

from __future__ import annotations

import calendar
import math
import re
import time
import zoneinfo
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from . import rows, screen, sky
from .inventory import Inventory
from .looks import Attempt, Kept, Look

MOVED = {"updated", "installed", "restored"}
FAILED = {"failed", "rolled-back", "broken"}
LEFT, WIDTH = 90, 620
# So many releases, causes, months and dots are shown.
MOST, DOTS = 12, 200
DAY = "%Y-%m-%d"


@dataclass(frozen=True)
class Shown:
    """A unit as the page has it."""

    label: str
    place: str
    light: str
    state: str
    css: str
    release: str
    behind: str
    seen: str
    last: str
    backup: str
    backup_at: float
    what: str
    x: float | None
    y: float | None


def report(fleet: Inventory, kept: Kept, backups: Path, public: bool, now: float) -> str:
    """The page.

    Args:
        backups: the folder with a folder of backups for each unit.
        public: without addresses, names of accounts, and what units say in words of their own; places to 0.1 degrees.
        now: seconds since 1970, for ages and the shade of night.
    """
    looks = {name: kept.load(name) for name in fleet.units}
    offered = kept.offered(looks.values())
    found = [rows.row(unit, looks[name], offered, now) for name, unit in fleet.units.items()]
    units = [_shown(one, _newest(backups / one.name), public, now) for one in found]
    labels = dict(zip(fleet.units, (one.label for one in units), strict=True))
    attempts = [(labels[name], one) for name, look in looks.items() for one in _attempts(look, now)]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    releases, span = _releases(attempts, Counter(one.release for one in found))
    return environment.get_template("report.html.j2").render(
        when=time.strftime("%Y-%m-%d %H:%M", time.gmtime(now)),
        summary=screen.summary(found),
        units=units,
        towns=[(round(_x(longitude), 1), round(_y(latitude), 1)) for latitude, longitude in towns()],
        night=night(now),
        releases=releases,
        span=span,
        failures=_failures(attempts, public),
        bytes=_bytes(attempts),
        oldest=sorted(units, key=lambda one: one.backup_at)[:MOST],
    )


def _shown(one: rows.Row, backup_at: float, public: bool, now: float) -> Shown:
    # What the inventory calls a unit may be its address.
    label = (one.pan_id or one.title or "a unit") if public else one.name
    what = one.what
    if public:
        what = ", ".join(sorted({trouble["name"] for trouble in one.troubles if trouble["name"].isalpha()}))
    digits = 1 if public else 3
    placed = one.latitude is not None and one.longitude is not None
    return Shown(
        label=label,
        place=one.place,
        light=one.light,
        state=one.state,
        css=one.state.partition(" ")[0],
        release=one.release,
        behind=rows.behind_told(one),
        seen=f"{rows.age(now - one.seen)} ago" if one.seen else "never",
        last=rows.last_told(one, now),
        backup=f"{rows.age(max(0.0, now - backup_at))} ago" if backup_at else "none",
        backup_at=backup_at,
        what=what,
        x=round(_x(round(one.longitude or 0.0, digits)), 2) if placed else None,
        y=round(_y(round(one.latitude or 0.0, digits)), 2) if placed else None,
    )


def _newest(folder: Path) -> float:
    """When the newest backup in a folder was made, by its name; 0 where there is none."""
    found = [0.0]
    for path in folder.glob("*.tar.gz*") if folder.is_dir() else ():
        match = re.match(r"(\d{4}-\d\d-\d\dT\d{6}Z)\.tar\.gz", path.name)
        if match:
            try:
                found.append(float(calendar.timegm(time.strptime(match[1], "%Y-%m-%dT%H%M%SZ"))))
            except ValueError:
                continue
    return max(found)


def _attempts(look: Look, now: float) -> list[Attempt]:
    """Those at a time that there was; a unit without a clock begins in 1970."""
    last = [look.status.last_attempt] if look.status and look.status.last_attempt else []
    return [one for one in look.history or last if 1_400_000_000 < one.at < now + 86400]


def _x(longitude: float) -> float:
    return ((longitude + 180) % 360) * 2


def _y(latitude: float) -> float:
    return (90 - latitude) * 2


def night(at: float) -> str:
    """The path around the part of the map where the sun is down."""
    latitude, longitude = sky.subsolar(at)
    # At an equinox the line goes through both poles; a hundredth of a degree beside it, it can be drawn.
    tilt = math.tan(math.radians(latitude if abs(latitude) > 0.01 else math.copysign(0.01, latitude)))
    edge = []
    for east in range(-180, 181, 3):
        angle = math.radians(east - longitude)
        edge.append(f"{(east + 180) * 2} {_y(math.degrees(math.atan(-math.cos(angle) / tilt))):.1f}")
    pole = 360 if latitude >= 0 else 0
    return f"M0 {pole}L{'L'.join(edge)}L720 {pole}Z"


def towns() -> list[tuple[float, float]]:
    """Latitude and longitude of the towns that time zones are named after, which the system's own database has.

    It is in the public domain, and enough to see continents by.
    """
    for folder in zoneinfo.TZPATH:
        try:
            text = Path(folder, "zone.tab").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        return [(_iso6709(one[1]), _iso6709(one[2])) for one in re.findall(r"^(\w\w)\t([+-]\d+)([+-]\d+)", text, re.M)]
    return []


def _iso6709(text: str) -> float:
    digits = text[1:]
    seconds = digits[-2:] if len(digits) >= 6 else "0"
    rest = digits[:-2] if len(digits) >= 6 else digits
    return (-1 if text[0] == "-" else 1) * (int(rest[:-2]) + int(rest[-2:]) / 60 + int(seconds) / 3600)


def _day(at: float) -> str:
    return time.strftime(DAY, time.gmtime(at))


def _releases(attempts: list[tuple[str, Attempt]], now: Counter[str]) -> tuple[list[dict[str, Any]], tuple[str, str]]:
    """The newest releases with the times at which units came to them; and the first and last day of the picture."""
    moves: dict[str, list[float]] = defaultdict(list)
    for _, one in attempts:
        if one.verdict in MOVED and rows.short(one.new):
            moves[rows.short(one.new)].append(one.at)
    newest = sorted(moves, key=lambda name: min(moves[name]))[-MOST:]
    every = [at for name in newest for at in moves[name]]
    if not every:
        return [], ("", "")
    start, end = min(every), max(every)
    scale = WIDTH / max(end - start, 86400.0)
    found = []
    for name in newest:
        dots = sorted({round(LEFT + (at - start) * scale) for at in moves[name]})[:DOTS]
        first, last = _day(min(moves[name])), _day(max(moves[name]))
        found.append(
            {"name": name, "dots": dots, "first": first, "last": last, "moves": len(moves[name]), "now": now[name]}
        )
    return found, (_day(start), _day(end))


def _failures(attempts: list[tuple[str, Attempt]], public: bool) -> list[tuple[str, int, str]]:
    """Causes, how often, and with which units; numbers and digests do not make two causes of one."""
    causes: dict[str, list[str]] = defaultdict(list)
    for label, one in attempts:
        if one.verdict in FAILED:
            reason = "" if public else re.sub(r"\b[0-9a-f]{12,}\b|\d+(\.\d+)?", "…", rows.plain(one.reason))[:160]
            causes[f"{one.verdict}: {reason}" if reason else one.verdict].append(label)
    often = sorted(causes.items(), key=lambda item: -len(item[1]))[:MOST]
    return [(cause, len(names), _some(sorted(set(names)))) for cause, names in often]


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _bytes(attempts: list[tuple[str, Attempt]]) -> list[tuple[str, str, str]]:
    months: dict[str, Counter[str]] = defaultdict(Counter)
    for label, one in attempts:
        months[_day(one.at)[:7]][label] += int(max(0, one.bytes))
    found = []
    for month in sorted(months, reverse=True)[:MOST]:
        (label, most), total = months[month].most_common(1)[0], months[month].total()
        if total:
            found.append((month, f"{total / 1e6:.1f}", f"{label}: {most / 1e6:.1f} MB"))
    return found
